//! Behaviours by choice: every axis that topology files have, and every value of it that the loader takes.
//!
//! The axes are read from the published schema, so that a new one is fuzzed from the day it stands there. Values that
//! are no words (durations, ranges, counts) are those of a fixed list that the loader accepts in that place.

use std::sync::{Arc, LazyLock};

use natbox::nat::Behavior;
use natbox::plan::Plan;
use serde_json::{Map, Value, json};

use super::input::{Input, Named};

/// Keys of a NAT that say where it is, not how it behaves.
const WIRING: [&str; 8] = ["behind", "address", "addresses", "inside", "inside6", "link", "forward", "control"];

/// An axis, or one key of it, with those that it stands below: `ports.allocation`; and what may stand there.
struct Axis {
    path: String,
    values: Vec<Named<Value>>,
}

/// Every axis of the schema.
static AXES: LazyLock<Vec<Named<Axis>>> = LazyLock::new(|| {
    let schema = natbox::topology::json_schema();
    let mut axes = Vec::new();
    if let Some(forms) = schema.pointer("/properties/nats/additionalProperties/anyOf").and_then(Value::as_array) {
        for properties in forms.iter().filter_map(|form| form.get("properties")?.as_object()) {
            let behaviors = properties.iter().filter(|(key, _)| !WIRING.contains(&key.as_str()));
            behaviors.for_each(|(key, schema)| walk(key, schema, &mut axes));
        }
    }
    assert!(axes.len() > 10, "the schema of a NAT has its axes where they are looked for");
    // An axis without a value would be fuzzed by nobody: give `quantities` a text that it takes.
    let bare: Vec<&str> = axes.iter().filter(|axis| axis.values.is_empty()).map(|axis| axis.path.as_str()).collect();
    assert!(bare.is_empty(), "no value is known for {bare:?}");
    axes.into_iter().map(|axis| Named::new(&axis.path.clone(), axis)).collect()
});

fn walk(path: &str, schema: &Value, axes: &mut Vec<Axis>) {
    if let Some(properties) = schema.get("properties").and_then(Value::as_object) {
        return properties.iter().for_each(|(key, schema)| walk(&format!("{path}.{key}"), schema, axes));
    }
    if let Some(forms) = schema.get("anyOf").and_then(Value::as_array) {
        return forms.iter().for_each(|form| walk(path, form, axes));
    }
    let words = schema.get("oneOf").and_then(Value::as_array);
    let words = words.map(|words| words.iter().filter_map(|word| word.get("const").cloned()).collect());
    let values: Vec<Value> = words.unwrap_or_else(|| {
        let fits = |value: &Value| load(&settings([(path, value)])).is_some();
        quantities(schema).into_iter().filter(fits).collect()
    });
    if axes.last().is_none_or(|last| last.path != path) {
        axes.push(Axis { path: path.to_owned(), values: Vec::new() });
    }
    let Some(axis) = axes.last_mut() else { return };
    axis.values.extend(values.into_iter().map(|value| Named::new(&value.to_string(), value)));
}

/// What may stand where no word stands, by the type that the schema asks for; not all of it fits.
fn quantities(schema: &Value) -> Vec<Value> {
    match schema.get("type").and_then(Value::as_str) {
        Some("integer") => {
            let edges = ["minimum", "maximum"].into_iter().filter_map(|edge| schema.get(edge).cloned());
            edges.chain(COUNTS.map(|count| json!(count))).collect()
        }
        Some("array") => {
            let single = schema.get("items").map(quantities).unwrap_or_default();
            let pairs = single.windows(2).map(|pair| json!(pair));
            single.iter().map(|value| json!([value])).chain(pairs).collect()
        }
        _ => COUNTS.map(|count| json!(count)).into_iter().chain(TEXTS.map(|text| json!(text))).collect(),
    }
}

/// Small counts, where the edges are near.
const COUNTS: [u32; 9] = [0, 1, 2, 3, 4, 8, 16, 512, 1024];
/// Short lifetimes, small ranges, the addresses and ports that the packets have, and whatever else an axis takes.
const TEXTS: [&str; 27] = [
    "0s",
    "1ms",
    "1s",
    "5s",
    "30s",
    "2h",
    "53=5s",
    "5000=1s",
    "1024-65535",
    "40000-40003",
    "4998-5003",
    "1-40",
    "5000-5000",
    "0%",
    "50%",
    "192.0.2.0/30",
    "10.0.2.0/24",
    "10.0.2.1",
    "198.51.100.1",
    "10.0.2.77=192.0.2.1",
    "10.0.2.78=192.0.2.2",
    "10.0.2.2:5000",
    "address-dependent/address-dependent",
    "endpoint-independent/address-and-port-dependent",
    "n",
    "on",
    "off",
];

/// A NAT's entry with these values.
fn settings<'a>(chosen: impl IntoIterator<Item = (&'a str, &'a Value)>) -> Map<String, Value> {
    let mut entry = Map::new();
    for (path, value) in chosen {
        let mut keys: Vec<&str> = path.split('.').collect();
        let Some(last) = keys.pop() else { continue };
        let mut below = &mut entry;
        for key in keys {
            let next = below.entry(key).or_insert_with(|| json!({}));
            if !next.is_object() {
                *next = json!({});
            }
            let Value::Object(next) = next else { return entry };
            below = next;
        }
        below.insert(last.to_owned(), value.clone());
    }
    entry
}

fn load(entry: &Map<String, Value>) -> Option<Arc<Behavior>> {
    let text = json!({ "internet": { "prefix6": "2001:db8::/48" }, "nats": { "n": entry } }).to_string();
    Plan::from_yaml("fuzz", &text).ok().map(|plan| plan.nats[0].behavior.clone())
}

/// The behaviour that an input chooses: some axes at some values. Where the loader finds a contradiction, the last
/// choices do not count.
pub fn behavior(input: &mut Input<'_>) -> Arc<Behavior> {
    let mut chosen = Vec::new();
    for _ in 0..input.byte() % 12 {
        let axis = input.pick_named(&AXES);
        chosen.push((axis.path.as_str(), input.pick_named(&axis.values)));
    }
    loop {
        if let Some(behavior) = load(&settings(chosen.iter().copied())) {
            return behavior;
        }
        if chosen.pop().is_none() {
            return Arc::default();
        }
    }
}

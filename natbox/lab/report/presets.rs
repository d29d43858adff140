//! The presets, for people and for programs.

use std::fmt::Write;

use comfy_table::{ContentArrangement, Table};
use natbox_nat::Behavior;
use natbox_nat::preset::{Preset, all};
use serde_json::{Map, Value, json};

use crate::paint::Paint;

/// A table of all presets.
pub fn list(paint: Paint) -> String {
    let mut table = Table::new();
    table.load_style(comfy_table::presets::NOTHING).set_content_arrangement(ContentArrangement::Dynamic);
    table.set_header(["NAME", "MAPPING", "FILTERING", "WHAT IT IS"]);
    for preset in all() {
        let behavior = &preset.behavior;
        let mapping = if translates(behavior) { behavior.mapping.to_string() } else { "none".to_owned() };
        table.add_row([preset.name, &mapping, &behavior.filtering.to_string(), preset.summary]);
    }
    let text = trimmed(&table.to_string());
    let (head, rest) = text.split_once('\n').unwrap_or((&text, ""));
    format!("{}\n{rest}", paint.strong(head))
}

/// One preset with its source and every axis.
pub fn show(preset: &Preset, paint: Paint) -> String {
    let axes = preset.behavior.axes();
    let width = axes.iter().map(|(axis, _)| axis.len()).max().unwrap_or(0);
    let mut text = format!("{}: {}\n\n", paint.strong(preset.name), preset.summary);
    for (axis, word) in axes {
        writeln!(text, "  {axis:<width$}  {word}").ok();
    }
    writeln!(text, "\n{}", paint.faint(format!("Source: {}", preset.source))).ok();
    text
}

/// All presets as JSON.
pub fn list_json() -> String {
    let presets = all().iter().map(preset_json).collect::<Vec<_>>();
    pretty(&json!({ "natbox": 1, "presets": presets }))
}

/// One preset as JSON.
pub fn show_json(preset: &Preset) -> String {
    pretty(&json!({ "natbox": 1, "preset": preset_json(preset) }))
}

fn preset_json(preset: &Preset) -> Value {
    json!({
        "name": preset.name,
        "summary": preset.summary,
        "source": preset.source,
        "behavior": behavior_json(&preset.behavior),
    })
}

/// Every axis, under the keys of topology files.
pub fn behavior_json(behavior: &Behavior) -> Value {
    let mut object = Map::new();
    for (axis, word) in behavior.axes() {
        let nested = axis.split_once('.').or_else(|| Some(("ports", axis.strip_prefix("port_")?)));
        match nested {
            Some((group, key)) => {
                let group = object.entry(group).or_insert_with(|| Value::Object(Map::new()));
                group[key] = Value::String(word);
            }
            None => {
                object.insert(axis.to_owned(), Value::String(word));
            }
        }
    }
    Value::Object(object)
}

fn translates(behavior: &Behavior) -> bool {
    behavior.translation == natbox_nat::behavior::TranslationKind::Napt
}

fn pretty(value: &Value) -> String {
    // A value without maps of other keys than text always has a text.
    format!("{value:#}\n")
}

/// A table pads its last column and its left border; neither is wanted.
fn trimmed(table: &str) -> String {
    table.lines().map(|line| format!("{}\n", line.strip_prefix(' ').unwrap_or(line).trim_end())).collect()
}

//! `natbox schema` and the checker accept the same keys, words and forms.

use natbox::plan::Plan;
use natbox::topology::{json_schema, reference};
use serde_json::{Map, Value, json};

use crate::golden::golden;
use crate::resolved::{DESIGN, EVERYTHING};

/// The alternatives of a schema, itself if it has none.
fn alternatives(schema: &Value) -> Vec<&Value> {
    schema["anyOf"].as_array().map_or_else(|| vec![schema], |any| any.iter().collect())
}

/// A document with something in one place of it.
type Around<'a> = dyn Fn(Value) -> Value + 'a;

/// Calls `visit` with every mapping with known keys in the schema, and a document in which `hole` stands in its place.
fn mappings(schema: &Value, document: &Around<'_>, visit: &mut dyn FnMut(&Map<String, Value>, &Around<'_>)) {
    for schema in alternatives(schema) {
        if let Some(properties) = schema["properties"].as_object() {
            visit(properties, document);
            for (key, inner) in properties {
                // A step is only one with its action in it.
                let action =
                    schema["required"][0].as_str().filter(|action| properties.contains_key("expect") && *action != key);
                let around = |hole: Value| {
                    let mut object = json!({ key: hole });
                    if let Some(action) = action {
                        object[action] = json!("x");
                    }
                    document(object)
                };
                mappings(inner, &around, visit);
            }
        }
        if schema["additionalProperties"].is_object() {
            mappings(&schema["additionalProperties"], &|hole| document(json!({ "x": hole })), visit);
        }
        if schema["items"].is_object() {
            mappings(&schema["items"], &|hole| document(json!([hole])), visit);
        }
    }
}

fn told(document: &Value) -> Vec<(String, String)> {
    let Err(mistakes) = Plan::from_yaml("t.yaml", &document.to_string()) else { return Vec::new() };
    mistakes.list.into_iter().map(|mistake| (mistake.message, mistake.expected.unwrap_or_default())).collect()
}

#[test]
fn the_checker_accepts_every_published_key_and_publishes_every_key_it_accepts() {
    let mut visited = 0;
    mappings(&json_schema(), &|hole| hole, &mut |properties, document| {
        visited += 1;
        for key in properties.keys() {
            let unknown = format!("unknown key `{key}`");
            let mistakes = told(&document(json!({ key: null })));
            assert!(mistakes.iter().all(|(message, _)| *message != unknown), "{key}: {mistakes:?}");
        }
        let mistakes = told(&document(json!({ "zzzz": 1 })));
        let accepted = mistakes.iter().find(|(message, _)| message == "unknown key `zzzz`");
        let (_, accepted) = accepted.unwrap_or_else(|| panic!("{properties:?} {mistakes:?}"));
        let mut accepted: Vec<&str> = accepted.split(", ").map(|word| word.trim_matches('`')).collect();
        accepted.sort_unstable();
        let mut published: Vec<&str> = properties.keys().map(String::as_str).collect();
        // The published schema has a form for each action; the checker tells of all of them.
        if properties.contains_key("expect") || (properties.len() == 2 && properties.contains_key("name")) {
            published.push("expect");
            published.dedup();
            assert!(published.iter().all(|key| accepted.contains(key)), "{published:?} {accepted:?}");
        } else {
            published.sort_unstable();
            assert_eq!(accepted, published);
        }
    });
    assert!(visited > 25, "{visited} mappings");
}

/// What a value breaks of the schema; enough of JSON Schema for what is published. Patterns are not judged here.
fn broken(value: &Value, schema: &Value) -> bool {
    let kinds: Vec<&str> = match &schema["type"] {
        Value::String(kind) => vec![kind],
        Value::Array(kinds) => kinds.iter().filter_map(Value::as_str).collect(),
        _ => Vec::new(),
    };
    let kind = match value {
        Value::Null => "null",
        Value::Number(_) => "integer",
        Value::Array(_) => "array",
        Value::Object(_) => "object",
        _ => "string",
    };
    let wrong_kind = !kinds.is_empty() && !kinds.contains(&kind);
    let wrong_word = schema.get("const").is_some_and(|word| word != value);
    let no_choice = ["anyOf", "oneOf"]
        .iter()
        .any(|any| schema[any].as_array().is_some_and(|choices| choices.iter().all(|choice| broken(value, choice))));
    let missing = schema["required"].as_array().is_some_and(|required| {
        value.is_object() && required.iter().any(|key| value.get(key.as_str().unwrap()).is_none())
    });
    let wrong_entry = value.as_object().is_some_and(|object| {
        object.iter().any(|(key, value)| match (&schema["properties"][key], &schema["additionalProperties"]) {
            (Value::Null, Value::Bool(false)) => true,
            (Value::Null, Value::Null) => false,
            (Value::Null, inner) | (inner, _) => broken(value, inner),
        })
    });
    let wrong_item = value.as_array().is_some_and(|items| items.iter().any(|item| broken(item, &schema["items"])));
    wrong_kind || wrong_word || no_choice || missing || wrong_entry || wrong_item
}

#[test]
fn what_the_checker_accepts_satisfies_the_published_schema() {
    let schema = json_schema();
    for text in [DESIGN, EVERYTHING] {
        let plan = Plan::from_yaml("t.yaml", text).unwrap();
        let mut document = serde_json::to_value(&plan).unwrap();
        document.as_object_mut().unwrap().remove("natbox");
        assert!(!broken(&document, &schema));
        document["hosts"]["alice"]["behint"] = json!("home");
        assert!(broken(&document, &schema));
    }
    assert!(broken(&json!({ "nats": { "a": "full-cones" } }), &schema));
    assert!(!broken(&json!({ "nats": { "a": "full-cone" } }), &schema));
}

#[test]
fn the_reference_in_the_docs_is_made_from_the_same_table() {
    golden("docs/topology.md", reference().as_bytes());
}

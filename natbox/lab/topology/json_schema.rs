//! The shapes as JSON Schema (draft 2020-12), for editors.

use serde_json::{Map, Value, json};

use super::shape::{Action, Field, STEP_EXPECT, STEP_NAME, Shape, may_be_empty};
use super::units::{NAME, TEXT};

/// The schema of topology files, draft 2020-12.
pub fn json_schema() -> Value {
    titled(&super::schema::TOPOLOGY, "natbox topology")
}

/// The schema of population files, draft 2020-12.
pub fn population_schema() -> Value {
    titled(&super::population::POPULATION, "natbox population")
}

fn titled(shape: &Shape, title: &str) -> Value {
    let mut schema = of(shape);
    if let Value::Object(schema) = &mut schema {
        schema.insert("$schema".to_owned(), json!("https://json-schema.org/draft/2020-12/schema"));
        schema.insert("title".to_owned(), json!(title));
    }
    schema
}

fn of(shape: &Shape) -> Value {
    match shape {
        // What reads a text also reads a bare number that stands for it.
        Shape::Leaf(leaf) => match (leaf.check)("7") {
            Ok(()) => json!({ "type": ["string", "integer"], "pattern": leaf.pattern }),
            Err(_) => json!({ "type": "string", "pattern": leaf.pattern }),
        },
        Shape::Count { min, max, .. } => json!({ "type": "integer", "minimum": min, "maximum": max }),
        Shape::Word { choices, .. } => {
            let choices =
                choices().into_iter().map(|choice| json!({ "const": choice.word, "description": choice.meaning }));
            json!({ "oneOf": choices.collect::<Vec<_>>() })
        }
        Shape::Object(fields) => object(fields, may_be_empty(shape)),
        Shape::Named(inner) => json!({
            "type": ["object", "null"],
            "propertyNames": { "pattern": NAME.pattern },
            "additionalProperties": of(inner),
        }),
        Shape::ByWord { choices, value, .. } => {
            let inner = of(value);
            let words: Map<String, Value> = choices()
                .into_iter()
                .map(|choice| (choice.word.to_owned(), described(inner.clone(), choice.meaning)))
                .collect();
            json!({ "type": "object", "properties": words, "additionalProperties": false, "minProperties": 1 })
        }
        Shape::OneOrMany(inner) => {
            json!({ "anyOf": [of(inner), { "type": "array", "items": of(inner), "minItems": 1 }] })
        }
        Shape::Either(scalar, mapping) => json!({ "anyOf": [of(scalar), of(mapping)] }),
        Shape::Steps(actions) => {
            let steps: Vec<Value> = actions.iter().map(step).collect();
            json!({ "type": ["array", "null"], "items": { "anyOf": steps } })
        }
    }
}

fn object(fields: &[Field], null: bool) -> Value {
    let mut properties = Map::new();
    for field in fields {
        properties.insert(field.key.to_owned(), described(of(field.shape), field.doc));
    }
    let required: Vec<&str> = fields.iter().filter(|field| field.required).map(|field| field.key).collect();
    let kind = if null { json!(["object", "null"]) } else { json!("object") };
    json!({ "type": kind, "properties": properties, "required": required, "additionalProperties": false })
}

fn step(action: &Action) -> Value {
    let mut properties = Map::new();
    properties.insert(action.key.to_owned(), described(of(action.shape), action.doc));
    if let Some(expect) = action.expect {
        properties.insert(STEP_EXPECT.to_owned(), described(of(expect), "What must come of it."));
    }
    let name =
        json!({ "type": "string", "pattern": TEXT.pattern, "description": "What the step is called in reports." });
    properties.insert(STEP_NAME.to_owned(), name);
    json!({ "type": "object", "properties": properties, "required": [action.key], "additionalProperties": false })
}

fn described(mut schema: Value, doc: &str) -> Value {
    if let Value::Object(schema) = &mut schema {
        schema.insert("description".to_owned(), json!(doc));
    }
    schema
}

//! `natbox matrix` and `natbox report`: what cells come to, and what becomes of them.

#![allow(missing_docs, reason = "tests")]

mod bad;
mod conditions;
mod documents;
mod engine;
mod expect;
#[path = "../cli/lab.rs"]
mod lab;
mod parts;
#[path = "../traversal/predict.rs"]
#[allow(dead_code, reason = "shared with the tests of punching")]
mod predict;

use lab::{Lab, Said};
use serde_json::Value;

/// A matrix as JSON, run with these options in a lab's folder.
fn matrix(lab: &Lab, options: &[&str]) -> Value {
    let said = run(lab, &[&["--format", "json"], options].concat());
    assert_eq!((said.code, said.err.as_str()), (0, ""), "{options:?}");
    serde_json::from_str(&said.out).unwrap()
}

fn run(lab: &Lab, options: &[&str]) -> Said {
    lab.run(&[&["matrix"], options].concat())
}

fn cells(document: &Value) -> &Vec<Value> {
    document["cells"].as_array().unwrap()
}

fn paths(document: &Value) -> Vec<&str> {
    cells(document).iter().map(|cell| cell["path"].as_str().unwrap()).collect()
}

//! `natbox population`: draws, figures, parts, bad files, and the shipped populations.

#![allow(missing_docs, reason = "tests")]

mod bad;
mod check;
mod draws;
#[path = "../cli/lab.rs"]
mod lab;
mod shipped;

use lab::{Lab, Said};
use serde_json::Value;

/// A population as JSON, run with these options in a lab's folder.
fn population(lab: &Lab, options: &[&str]) -> Value {
    let said = run(lab, &[&["--format", "json"], options].concat());
    assert_eq!((said.code, said.err.as_str()), (0, ""), "{options:?}");
    serde_json::from_str(&said.out).unwrap()
}

fn run(lab: &Lab, options: &[&str]) -> Said {
    lab.run(&[&["population"], options].concat())
}

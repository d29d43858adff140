//! The command as a user meets it: output, exit codes, files.

#![allow(missing_docs, reason = "tests")]

mod check;
mod conform;
mod help;
mod inspect;
mod lab;
mod nat;
mod replay;
mod run;
#[path = "../capture/scene.rs"]
#[allow(dead_code, reason = "shared with the tests of captures")]
mod scene;

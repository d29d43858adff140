//! The examples for Rust users, compiled and run: what came of each is held against what it says.

#[path = "../../natbox/lab/examples/ice.rs"]
mod ice;
#[path = "../../natbox/lab/examples/own_program.rs"]
mod own_program;

#[path = "../../natbox/lab/examples/quic.rs"]
mod quic;

mod programs;
mod sans_io;
mod ten_lines;

//! Topology files, scenarios, captures and reports: what a Rust test depends on.

pub mod record;

//! Topology files, scenarios, captures and reports: what a Rust test depends on.

pub mod capture;
pub mod output;
pub mod paint;
pub mod record;
pub mod suggest;

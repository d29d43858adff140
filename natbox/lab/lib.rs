//! Topology files, scenarios, captures and reports: what a Rust test depends on.

pub mod plan;
pub mod topology;
pub mod words;

pub use natbox_nat as nat;
pub use natbox_wire as wire;
pub use natbox_world as world;

//! Topology files, scenarios, captures and reports: what a Rust test depends on.

pub mod capture;
pub mod output;
pub mod paint;
pub mod plan;
pub mod record;
pub mod report;
pub mod suggest;
pub mod topology;
pub mod words;

pub use natbox_nat as nat;
pub use natbox_wire as wire;
pub use natbox_world as world;

//! Topology files, scenarios, captures and reports: what a Rust test depends on.
//!
//! [`Lab`] runs a topology file; [`build::Built`] is its network for programs of one's own. The rooms below are here
//! too, for worlds built by hand: [`world`], [`nat`], [`host`], [`probes`], [`wire`].

#[cfg(doctest)]
#[doc = include_str!("../../README.md")]
struct Readme;

pub mod build;
pub mod capture;
pub mod conform;
mod lab;
pub mod matrix;
pub mod outcome;
pub mod output;
pub mod paint;
pub mod plan;
pub mod population;
pub mod record;
pub mod report;
pub mod scenario;
pub mod suggest;
pub mod topology;
pub mod words;

pub use lab::{Lab, LabError, Recording};
pub use natbox_host as host;
pub use natbox_nat as nat;
pub use natbox_probes as probes;
pub use natbox_wire as wire;
pub use natbox_world as world;

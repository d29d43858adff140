//! Topology files, scenarios, captures and reports: what a Rust test depends on.
//!
//! | to | take |
//! | --- | --- |
//! | run a topology file or a text, and hold it against what it expects | [`Lab`] |
//! | run every NAT against every NAT, technique by technique | [`matrix::Matrix`] |
//! | run real programs on the hosts of a lab, at wall-clock speed (Linux) | [`Lab::live`] |
//! | run a program of one's own on the hosts of a lab | [`Lab::start`], [`host::Host`] |
//! | the same with a library that does no I/O of its own | [`probes::sans_io`] |
//! | run one of natbox's techniques in such a program | [`probes::technique`] |
//! | see what happened, packet by packet | [`record`], [`capture`] |
//! | build a world by hand, without a file | [`world::World`], [`nat::preset`], [`nat::Behavior`] |
//! | push packets through a NAT alone | [`nat::Nat`] |
//!
//! The rooms below are here whole: [`wire`], [`nat`], [`host`], [`world`], [`probes`]. Whole programs stand in
//! `natbox/lab/examples`.

#[cfg(doctest)]
#[doc = include_str!("../../README.md")]
struct Readme;

mod anyhost;
pub mod build;
pub mod capture;
pub mod conform;
mod lab;
#[cfg(target_os = "linux")]
pub mod live;
pub mod matrix;
pub mod measure;
pub mod outcome;
pub mod output;
pub mod paint;
pub mod plan;
pub mod population;
pub mod record;
pub mod replay;
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

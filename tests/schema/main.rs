//! Topology files: what is read, what is refused, and how mistakes are told.

mod fuzz;
#[path = "../common/golden.rs"]
mod golden;
mod mistakes;
mod published;
mod resolved;

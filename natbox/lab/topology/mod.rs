//! Topology files: text in, a checked tree out, or every mistake with its place.

pub(crate) mod actions;
pub(crate) mod axes;
pub(crate) mod control;
mod json_schema;
mod measure;
pub(crate) mod mistake;
mod packets;
pub(crate) mod places;
pub(crate) mod population;
mod program;
mod reference;
pub(crate) mod schema;
pub(crate) mod shape;
pub(crate) mod tree;
pub(crate) mod units;

pub use json_schema::{json_schema, population_schema};
pub use mistake::{Mistake, Mistakes};
pub use reference::reference;
pub use units::Allowed;

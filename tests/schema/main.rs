//! Topology files: what is read, what is refused, and how mistakes are told.

mod fuzz;
mod mistakes;
mod published;
mod resolved;

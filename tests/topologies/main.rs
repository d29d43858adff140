//! Topology files that the house ships, and what labs come to.

mod shipped;
mod steps;

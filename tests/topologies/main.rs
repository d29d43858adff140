//! Topology files that the house ships, and what labs come to.

mod changes;
mod control;
mod crafted;
mod every_axis;
mod facade;
mod family;
mod program;
mod random;
mod shipped;
mod steps;

//! The network in virtual time: event queue, links, routers, gateways with NATs, and virtual hosts.
//!
//! Knows addresses, never names of presets or files. No clock, no thread, no socket: the world jumps from event to
//! event. Two worlds built alike from one seed do the same, byte for byte.

pub mod attach;
pub mod link;
pub mod note;
pub(crate) mod stack;

pub use link::LinkConfig;
pub use note::{Note, Observer};

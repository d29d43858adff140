//! The programs that hosts run: servers, probes and traversal techniques.
//!
//! Written against the `host` traits alone: a probe that could look inside the network would be no probe. Every wait
//! has a deadline, every table a bound, and all chance comes from [`Host::random`](natbox_host::Host::random).

pub mod call;
pub mod connect;
pub mod discovery;
pub mod echo;
pub mod error;
pub mod path;
pub mod ping;
pub mod punch;
pub mod rendezvous;
pub mod stun;
pub mod turn;
mod wait;

pub use error::ProbeError;
pub use path::{Path, Paths};

//! The programs that hosts run: servers, probes and traversal techniques.
//!
//! Written against the `host` traits alone: a probe that could look inside the network would be no probe.

pub mod turn;

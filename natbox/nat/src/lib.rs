//! A NAT of any behaviour: one engine, behaviour as data.
//!
//! A packet and a time go in; the packet, rewritten, and a [`Verdict`] come out. Sans-IO: no clock, no socket,
//! no thread. Knows nothing of links, routes, hosts, or files, and never sees the name of a preset once it is
//! resolved to a [`Behavior`].

mod alg;
mod around;
pub mod behavior;
mod change;
mod classify;
mod early;
mod engine;
mod expiry;
mod explicit;
mod filter;
mod fragments;
mod hairpin;
mod icmp;
mod identification;
mod key;
mod lifetime;
mod near;
mod policy;
mod ports;
pub mod preset;
mod realm;
mod record;
mod short;
mod table;
mod tcp;
mod timers;
mod udp;
mod uses;
pub mod verdict;

pub use behavior::Behavior;
pub use engine::Nat;
pub use ports::deterministic::PortPlan;
pub use verdict::{
    Answer, Ended, HoldId, MappingEnd, MappingId, MappingView, Output, Refusal, SessionView, Side, Translation, Verdict,
};

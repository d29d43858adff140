//! The bodies of the fuzz targets: one function a target, from bytes to nothing, which panics where natbox is wrong.
//!
//! One text for both: cargo-fuzz runs them as the crate `natbox_fuzz`, `tests/fuzz/replay.rs` has them as a module and
//! runs them over the corpora. They know natbox through its library alone.
#![allow(unreachable_pub, reason = "public in the crate natbox_fuzz, not in the replay test")]

pub mod behaviors;
pub mod input;
pub mod nat;
pub mod packet_path;
pub mod packets;
pub mod pcapng;
pub mod rendezvous;
pub mod stun;
pub mod topology;
pub mod turn;
pub mod world;

/// A fuzz target: its name, which is also its corpus folder's, and what it does with an input.
pub type Target = (&'static str, fn(&[u8]));

/// Every target.
pub const TARGETS: &[Target] = &[
    ("packet_path", packet_path::run),
    ("nat", nat::run),
    ("world", world::run),
    ("topology", topology::run),
    ("pcapng", pcapng::run),
    ("stun", stun::run),
    ("turn", turn::run),
    ("rendezvous", rendezvous::run),
];

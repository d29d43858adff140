//! The programs that hosts run: servers, probes and traversal techniques.
//!
//! Written against the `host` traits alone: a probe that could look inside the network would be no probe. Every wait
//! has a deadline, every table a bound, and all chance comes from [`Host::random`](natbox_host::Host::random).
//!
//! | module | answers |
//! | --- | --- |
//! | [`stun`], [`turn`] | where am I seen from outside; who relays for me |
//! | [`discovery`], [`nat_check`] | what does the NAT in front of me do; would holes be punched through it |
//! | [`measure`] | every axis of the NAT in front of me that can be seen from inside |
//! | [`rendezvous`], [`signal`] | where is the other, how do we meet, and what have we to tell each other before |
//! | [`technique`], [`contact`] | every way to come to talk, by name; what it needs, and what comes of it |
//! | [`punch`], [`connect`] | how do we talk: through holes, or by the best of all ways |
//! | [`tcp_punch`] | the same over TCP, by simultaneous opens |
//! | [`dcutr`], [`bep55`] | how libp2p and BitTorrent do it |
//! | [`portmap`] | how do I ask my gateway for a mapping, and how does it answer |
//! | [`ice`] | how do two hosts find the best of all pairs of their endpoints |
//! | [`observe`], [`predict`], [`birthday`] | which port is next; how is it hit, or one of many |
//! | [`quic`] | how does a connection outlive its NAT's memory |
//! | [`tls`] | which certificates do two programs know each other by |
//! | [`sans_io`], [`wait`] | how does a protocol without I/O of its own run here; how does one wait no longer than this |
//! | [`direct`], [`reversal`], [`local`], [`hairpin`], [`low_ttl`], [`relayed`], [`relay_first`] | one way alone |
//! | [`call`], [`ping`], [`echo`] | how good is the way |

pub mod bep55;
pub mod birthday;
pub mod call;
pub mod connect;
pub mod contact;
pub mod dcutr;
pub mod direct;
pub mod discovery;
pub mod echo;
pub mod error;
pub mod hairpin;
pub mod ice;
pub mod local;
pub mod low_ttl;
pub mod mapped;
pub mod measure;
pub mod nat_check;
pub mod observe;
pub mod path;
pub mod ping;
pub mod portmap;
pub mod predict;
pub mod punch;
pub mod quic;
pub mod relay_first;
pub mod relayed;
pub mod rendezvous;
pub mod reversal;
pub mod sans_io;
pub mod signal;
mod stream;
pub mod stun;
mod talk;
pub mod tcp_punch;
pub mod technique;
pub mod tls;
pub mod turn;
pub mod wait;

pub use error::ProbeError;
pub use path::{Path, Paths, Transport};

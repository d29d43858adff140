//! Bytes and their meaning: time, packets, checksums, and why a packet may die.
//!
//! Remembers nothing: no function here keeps state, reads a clock or draws a random number. Parsing never
//! panics; whatever is not a well-formed IPv4 or IPv6 packet comes back with a [`DropReason`].

pub mod address;
pub mod build;
pub mod checksum;
pub mod control;
mod field;
mod fragment;
mod gather;
pub mod icmp;
mod layout;
mod offload;
pub mod packet;
mod payload;
mod plain;
mod quote;
pub mod reason;
mod rewrite;
mod summary;
pub mod time;
pub mod transport;
pub mod word;

pub use control::{ControlEvent, ExplicitMapping, MapRefusal, MapRequest, MappedBy, RemoteFilter, Traffic};
pub use icmp::IcmpError;
pub use offload::Offload;
pub use packet::{Fragment, Malformed, Packet, Quoted};
pub use plain::PlainUdp;
pub use reason::DropReason;
pub use rewrite::Side;
pub use time::Time;
pub use transport::{Protocol, TcpFlags, Transport};
pub use word::Word;

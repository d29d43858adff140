//! STUN (RFC 8489) and its NAT behaviour discovery attributes (RFC 5780).
//!
//! [`codec`] reads and writes messages (TURN and the checks of hole punching use it too), [`client`] asks, [`server`]
//! answers; [`tcp`] does both over TCP.

pub mod client;
pub mod codec;
pub mod server;
pub mod tcp;

/// The port of a STUN server (RFC 8489 section 18.6).
pub const PORT: u16 = 3478;
/// The second port of a server for NAT behaviour discovery: the one after the first, as deployed servers have it.
pub const ALTERNATE_PORT: u16 = 3479;

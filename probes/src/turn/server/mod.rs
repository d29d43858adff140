//! The TURN server: `state` is the machine without sockets, `driver` gives it sockets and timers, `serve`
//! makes it a program.
//!
//! ```text
//!  client --- datagram ---> Server::receive ----------> Output::Relay --> peer
//!  client <-- Output::Reply -- Server::receive_relayed <-- datagram ---- peer
//! ```
//!
//! Choices that the RFC leaves open, and departures from it:
//!
//! * Loopback, multicast, broadcast and unspecified peers are forbidden (403).
//! * An allocation with two relayed addresses has one lifetime; Refresh with lifetime 0 and an address family gives up
//!   the relayed address of that family alone.
//! * The server does not let the number or the peer of a channel be bound otherwise until 5 minutes after the
//!   binding's end (the RFC asks it of the client).
//! * The ICMP attribute carries its type and its code in a byte each, as turn-types and ice4j write it; stun-rs reads
//!   the RFC's figure as 7 and 9 bits.
//! * ChannelData from the client needs the channel alone; a datagram from a peer needs the permission.

mod allocate;
mod allocation;
mod auth;
mod config;
mod data;
mod driver;
mod requests;
mod serve;
mod splice;
mod state;
mod streams;
mod tcp;
#[cfg(test)]
mod tests;

pub use config::{InvalidConfig, Quotas, ServerConfig, TlsConfig};
pub use driver::Service;
pub use serve::{serve, serve_with_stun};
pub use state::{Discard, FiveTuple, Output, Server};
pub use tcp::ConnectionId;

/// Whether a datagram that came to a port shared with other protocols is for a TURN server: ChannelData, or a STUN
/// message with one of TURN's methods. Binding requests are not counted, though [`Server::receive`] answers them.
pub fn handles(datagram: &[u8]) -> bool {
    use super::message::{Kind, kind, parse};
    match kind(datagram) {
        Kind::Channel => true,
        Kind::Stun => parse(datagram).is_some_and(|message| requests::METHODS.contains(&message.method())),
        Kind::Other => false,
    }
}

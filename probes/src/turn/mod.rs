//! TURN (RFC 8656) over UDP, TCP and TLS: a relay that lends a client an address, and the client that borrows it.
//!
//! [`server`] is the relay: a state machine without sockets ([`server::Server`]), and the programs that run it on a
//! host: [`server::serve`], [`server::serve_with_stun`] where a STUN server has the same port, and [`server::Service`]
//! for a socket that another program reads. [`Client`] is the other side.
//!
//! Supported: Allocate with long-term credentials (MD5 key, MESSAGE-INTEGRITY with SHA-1) and nonces that expire,
//! Refresh, CreatePermission, ChannelBind, Send and Data indications, ChannelData, EVEN-PORT, RESERVATION-TOKEN,
//! DONT-FRAGMENT, both address families (REQUESTED- and ADDITIONAL-ADDRESS-FAMILY), ICMP errors from the peers' side
//! (ICMP attribute), quotas, and STUN Binding on the same port. Over a stream ([`Carrier`]) messages follow each other without
//! a frame, ChannelData is padded to four bytes, and the allocation ends with the connection; there may be TCP
//! allocations (RFC 6062: Connect, ConnectionBind, ConnectionAttempt).
//!
//! **Not** supported: TURN over DTLS; mobility (RFC 8016); SHA-256 passwords,
//! USERHASH and third-party authorization; 300 Try Alternate (a client reports it as a refusal); copying of DSCP, ECN
//! and TTL between the two sides; SASLprep and OpaqueString (usernames, realms and passwords are taken as they are).

pub mod client;
mod error;
mod message;
pub(crate) mod notify;
pub mod server;
mod stream;

pub use stream::Carrier;

pub use client::{Client, Credentials, Options, PeerError, PeerStream};

pub use error::Error;

use std::time::Duration;

/// The port of TURN over TLS.
pub const TLS_PORT: u16 = 5349;
/// How long a permission lasts, always (RFC 8656 section 9).
pub const PERMISSION_LIFETIME: Duration = Duration::from_secs(300);
/// How long a channel binding lasts (RFC 8656 section 12).
pub const CHANNEL_LIFETIME: Duration = Duration::from_secs(600);
/// How long after its end neither the number nor the peer of a channel may be bound otherwise (RFC 8656 section 12).
pub const CHANNEL_QUARANTINE: Duration = Duration::from_secs(300);
/// An allocation's lifetime where the client asks for none or for less (RFC 8656 section 3.2).
pub const DEFAULT_LIFETIME: Duration = Duration::from_secs(600);
/// The longest UDP payload of IPv4, in bytes.
pub(crate) const MAX_DATAGRAM_BYTES: usize = 65_507;

//! A directory where hosts register, look each other up and are introduced to each other, over UDP or TCP.
//!
//! The protocol is natbox's own. Every datagram is one message; over TCP, to the same port, a message has its length in
//! front (2 bytes). Numbers are big-endian.
//!
//! ```text
//! caller                    directory                    callee
//!   |                           | <---- register (1) ------ |    again every keep-alive interval
//!   |                           | ----- registered (2) ---> |    tells the callee its reflexive endpoint
//!   | --- introduce (5) ------> |                           |    the caller's candidates, the allowed paths
//!   | <-- introduced (6) ------ | ----- invitation (7) ---> |    to each the other's candidates, one token for both
//!   |                           | <---- accepted (8) ------ |
//!   | --- signal (10) --------> | ----- signal (10) ------> |    what the two have to tell each other, either way:
//!   | <-- heard (11) ---------- | <---- heard (11) -------- |    forwarded as it came (see `signal`)
//! ```
//!
//! Requests (1, 3, 5) are sent again with the same id until their response comes, invitations until they are
//! accepted; both ends answer a repetition as they answered the original, so that any message may be lost. A lookup
//! (3) is answered by found (4), any request by error (9). Signals are forwarded to where the other side was heard last;
//! that they arrive, once and in order, is a matter of the two ends.
//!
//! ```text
//! header      D1 52            2 bytes   first byte 128-191: neither STUN nor ChannelData (RFC 7983)
//!             version          1 byte    1
//!             kind             1 byte    1-11
//!             id               8 bytes   chosen by whoever asks, repeated in the answer
//! 1 register    name, lifetime, candidates        2 registered  endpoint (as seen), lifetime (as granted)
//! 3 lookup      name                              4 found       peer
//! 5 introduce   own name, wanted name, paths, candidates
//! 6 introduced  token, endpoint (as seen), peer   7 invitation  token, paths, peer
//! 8 accepted    nothing                           9 error       code
//! 10 signal     token, side, sequence, payload   11 heard       token, side, sequence (of the next that is missing)
//!
//! name        length 1-64 (1 byte), UTF-8          endpoint    4 or 6 (1 byte), port (2), address (4 or 16)
//! lifetime    seconds (4 bytes); 0 unregisters     candidates  count 0-16 (1 byte), each: kind (1 byte), endpoint
//! token       16 bytes                             peer        name, endpoint (as seen), candidates
//! paths       1 byte, bit n is path n, best first  code        1 unknown name, 2 full, 3 unknown session (1 byte)
//! side        0 the caller, 1 the callee (1 byte)  payload     length 0-1200 (2 bytes), bytes
//! sequence    4 bytes, from 0
//! ```
//!
//! The server's table is bounded, and whatever is malformed is ignored. Leaves out authentication: whoever registers a
//! name last has it. The token authenticates the checks between the two that were introduced.

mod client;
mod directory;
mod message;
mod server;

use std::net::SocketAddr;

use natbox_wire::words;

use crate::path::Transport;

pub(crate) use client::{EXPECTED, refused, unexpected};
pub use client::{Introduced, Introduction, Registered, introduce, keep_registered, lookup, register};
pub use directory::{Directory, Limits, Transmit};
pub(crate) use message::LONGEST_MESSAGE_BYTES;
pub use message::{Body, ErrorKind, MOST_SIGNAL_BYTES, Message, RequestId};
pub use server::{PORT, ServerConfig, serve};

words! {
    /// Where a candidate endpoint comes from (RFC 8445 section 5.1.1).
    pub enum CandidateKind: "candidate kind" {
        Host = "host", "an address of the machine itself";
        Reflexive = "reflexive", "what a server saw";
        Relayed = "relayed", "an endpoint of a relay";
        Mapped = "mapped", "what the host's gateway has mapped for it";
    }
}

/// An endpoint at which a host may be reached.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Candidate {
    /// Where it comes from.
    pub kind: CandidateKind,
    /// The endpoint.
    pub endpoint: SocketAddr,
}

/// What the directory tells about a host.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Peer {
    /// Its name.
    pub name: String,
    /// Where the directory saw it.
    pub reflexive: SocketAddr,
    /// What it says itself.
    pub candidates: Vec<Candidate>,
}

/// A secret that the directory gives to the two hosts that it introduces to each other.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Token(pub [u8; 16]);

/// How a host is reached from the directory: at an endpoint, over UDP or the TCP connection that it opened from there.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Way {
    /// The protocol.
    pub transport: Transport,
    /// The endpoint that the directory sees.
    pub endpoint: SocketAddr,
}

impl Way {
    /// Over UDP.
    pub fn udp(endpoint: SocketAddr) -> Way {
        Way { transport: Transport::Udp, endpoint }
    }

    /// Over TCP.
    pub fn tcp(endpoint: SocketAddr) -> Way {
        Way { transport: Transport::Tcp, endpoint }
    }
}

#[cfg(test)]
mod tests;

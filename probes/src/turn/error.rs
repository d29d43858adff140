//! What can go wrong for a TURN client.

use std::fmt;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use crate::ProbeError;

/// Why a TURN client could not do what it was asked.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Error {
    /// The socket failed.
    Io {
        /// What the socket was to do.
        doing: &'static str,
        /// The kind of error.
        kind: io::ErrorKind,
        /// The error in words.
        message: String,
    },
    /// No answer came to any of the retransmissions (RFC 8489 section 6.2.1).
    TimedOut {
        /// The request.
        method: &'static str,
        /// The server that did not answer.
        server: SocketAddr,
        /// How long the client tried.
        after: Duration,
    },
    /// The server answered with an error.
    Refused {
        /// The request.
        method: &'static str,
        /// The error code, for example 486.
        code: u16,
        /// The server's words.
        reason: String,
    },
    /// The server does not accept the username and password.
    BadCredentials {
        /// The server's realm.
        realm: String,
    },
    /// The server's answer does not make sense.
    BadAnswer {
        /// The request.
        method: &'static str,
        /// What is missing or wrong in the answer.
        expected: &'static str,
    },
    /// The allocation has no permission for this peer, so the server would drop the data silently.
    NoPermission {
        /// The peer.
        peer: IpAddr,
    },
    /// The payload does not fit into a datagram to the server.
    TooLong {
        /// The payload's length, in bytes.
        length_bytes: usize,
    },
    /// All 4096 channel numbers are bound or resting.
    NoChannelLeft,
    /// The allocation is gone: it was not refreshed in time, or the server lost it.
    Gone {
        /// What ended it.
        why: String,
    },
}

impl Error {
    pub(crate) fn io(doing: &'static str, error: &io::Error) -> Error {
        Error::Io { doing, kind: error.kind(), message: error.to_string() }
    }

    /// The same as a probe's error, about this server.
    pub fn into_probe_error(self, server: SocketAddr) -> ProbeError {
        let expected = "a relayed address that works";
        match self {
            Error::Io { doing, kind, message } => ProbeError::Io { doing, kind, message },
            Error::TimedOut { after, .. } => {
                ProbeError::Silence { expected, from: server, waited: after, sent: super::client::SENDS }
            }
            Error::Refused { code, reason, .. } => ProbeError::Refused { expected, from: server, code, reason },
            Error::BadCredentials { .. } => {
                ProbeError::Refused { expected, from: server, code: 401, reason: self.to_string() }
            }
            _ => ProbeError::Unexpected { expected, from: server, came: self.to_string() },
        }
    }

    /// The TURN error code, if it is the server that refused.
    pub fn code(&self) -> Option<u16> {
        match self {
            Error::Refused { code, .. } => Some(*code),
            Error::BadCredentials { .. } => Some(401),
            _ => None,
        }
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Error::Io { doing, message, .. } => write!(f, "cannot {doing}: {message}"),
            Error::TimedOut { method, server, after } => {
                write!(f, "{method}: no answer from {server} within {:.1}s", after.as_secs_f64())
            }
            Error::Refused { method, code, reason } => write!(f, "{method}: the server refused with {code} ({reason})"),
            Error::BadCredentials { realm } => {
                write!(f, "the server of realm `{realm}` does not know this username and password")
            }
            Error::BadAnswer { method, expected } => write!(f, "{method}: expected {expected} in the server's answer"),
            Error::NoPermission { peer } => {
                write!(f, "no permission for {peer}: call `create_permission` or `channel_bind` first")
            }
            Error::TooLong { length_bytes } => {
                write!(f, "{length_bytes} bytes do not fit into one datagram to the TURN server")
            }
            Error::NoChannelLeft => f.write_str("all channel numbers 0x4000-0x4FFF are in use; send without a channel"),
            Error::Gone { why } => write!(f, "the allocation is gone ({why}): allocate again"),
        }
    }
}

impl std::error::Error for Error {}

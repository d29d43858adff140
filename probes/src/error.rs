//! Why a probe has no result: what was expected, and what came instead.

use std::fmt;
use std::io;
use std::net::SocketAddr;
use std::time::Duration;

/// Why a probe has no result.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ProbeError {
    /// Nothing came in time.
    Silence {
        /// What was expected.
        expected: &'static str,
        /// Whom it was expected from.
        from: SocketAddr,
        /// How long the probe waited.
        waited: Duration,
        /// How often the request was sent.
        sent: u32,
    },
    /// A protocol's error response came.
    Refused {
        /// What was expected.
        expected: &'static str,
        /// Who answered.
        from: SocketAddr,
        /// The error code (STUN: 300-699).
        code: u16,
        /// The reason phrase that came with it.
        reason: String,
    },
    /// An answer came that makes no sense.
    Unexpected {
        /// What was expected.
        expected: &'static str,
        /// Who answered.
        from: SocketAddr,
        /// What came.
        came: String,
    },
    /// The machine could not do it.
    Io {
        /// What was being done.
        doing: &'static str,
        /// The kind of error.
        kind: io::ErrorKind,
        /// The machine's own words.
        message: String,
    },
}

impl ProbeError {
    /// The error of a machine that could not do something.
    pub fn io(doing: &'static str) -> impl Fn(io::Error) -> ProbeError {
        move |error| ProbeError::Io { doing, kind: error.kind(), message: error.to_string() }
    }
}

impl fmt::Display for ProbeError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            ProbeError::Silence { expected, from, waited, sent } => {
                write!(f, "expected {expected} from {from}, nothing came in {waited:?} ({sent} sent)")
            }
            ProbeError::Refused { expected, from, code, reason } => {
                write!(f, "expected {expected} from {from}, got error {code} {reason}")
            }
            ProbeError::Unexpected { expected, from, came } => {
                write!(f, "expected {expected} from {from}, got {came}")
            }
            ProbeError::Io { doing, message, .. } => write!(f, "cannot {doing}: {message}"),
        }
    }
}

impl std::error::Error for ProbeError {}

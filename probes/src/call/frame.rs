//! The frames of a call. Numbers are big-endian.
//!
//! ```text
//! "call", kind (1 byte), id (8 bytes), then
//! 1 start    interval in ns (8), size in bytes (2), count (4)
//! 2 started  nothing
//! 3 voice    sequence (4), sent at, in ns (8), zeros up to the size
//! 4 finish   nothing
//! 5 report   sent (4), received (4), delay in ns: least (8), sum (16), most (8); jitter in ns (8)
//! ```

use std::time::Duration;

use natbox_wire::Time;

use super::meter::Heard;

const MAGIC: [u8; 4] = *b"call";
/// Bytes of a voice frame without its padding.
pub(super) const VOICE_HEADER_BYTES: usize = 25;

/// What the caller wants to be sent, and sends itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Terms {
    pub(super) interval: Duration,
    pub(super) size_bytes: u16,
    pub(super) count: u32,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Frame {
    Start { id: u64, terms: Terms },
    Started { id: u64 },
    Voice { id: u64, sequence: u32, at: Time },
    Finish { id: u64 },
    Report { id: u64, sent: u32, heard: Heard },
}

impl Frame {
    pub(super) fn id(&self) -> u64 {
        match *self {
            Frame::Start { id, .. }
            | Frame::Started { id }
            | Frame::Voice { id, .. }
            | Frame::Finish { id }
            | Frame::Report { id, .. } => id,
        }
    }

    /// The bytes, with zeros behind them up to `size_bytes`.
    pub(super) fn encode(&self, size_bytes: usize) -> Vec<u8> {
        let mut out = Vec::with_capacity(size_bytes.max(64));
        out.extend(MAGIC);
        let kind = match self {
            Frame::Start { .. } => 1,
            Frame::Started { .. } => 2,
            Frame::Voice { .. } => 3,
            Frame::Finish { .. } => 4,
            Frame::Report { .. } => 5,
        };
        out.push(kind);
        out.extend(self.id().to_be_bytes());
        match self {
            Frame::Start { terms, .. } => {
                out.extend(nanos(terms.interval).to_be_bytes());
                out.extend(terms.size_bytes.to_be_bytes());
                out.extend(terms.count.to_be_bytes());
            }
            Frame::Voice { sequence, at, .. } => {
                out.extend(sequence.to_be_bytes());
                out.extend(at.as_nanos().to_be_bytes());
            }
            Frame::Report { sent, heard, .. } => {
                out.extend(sent.to_be_bytes());
                heard.encode(&mut out);
            }
            Frame::Started { .. } | Frame::Finish { .. } => {}
        }
        out.resize(out.len().max(size_bytes), 0);
        out
    }

    /// Reads a frame; bytes behind it are padding.
    pub(super) fn decode(bytes: &[u8]) -> Option<Frame> {
        let mut input = Input(bytes);
        if input.take()? != MAGIC {
            return None;
        }
        let [kind] = input.take()?;
        let id = u64::from_be_bytes(input.take()?);
        Some(match kind {
            1 => Frame::Start {
                id,
                terms: Terms {
                    interval: Duration::from_nanos(u64::from_be_bytes(input.take()?)),
                    size_bytes: u16::from_be_bytes(input.take()?),
                    count: u32::from_be_bytes(input.take()?),
                },
            },
            2 => Frame::Started { id },
            3 => Frame::Voice {
                id,
                sequence: u32::from_be_bytes(input.take()?),
                at: Time::from_nanos(u64::from_be_bytes(input.take()?)),
            },
            4 => Frame::Finish { id },
            5 => Frame::Report { id, sent: u32::from_be_bytes(input.take()?), heard: Heard::decode(&mut input)? },
            _ => return None,
        })
    }
}

/// What is left to read.
pub(super) struct Input<'a>(pub(super) &'a [u8]);

impl Input<'_> {
    pub(super) fn take<const N: usize>(&mut self) -> Option<[u8; N]> {
        let (taken, rest) = self.0.split_first_chunk::<N>()?;
        self.0 = rest;
        Some(*taken)
    }
}

/// Whole nanoseconds, up to the end of time.
pub(super) fn nanos(duration: Duration) -> u64 {
    u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX)
}

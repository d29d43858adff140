//! One datagram in pieces: what its fragments have in common, where each belongs, and what is decided about it.
//!
//! Knows no other datagram and no bound: those are [`super::cache`]'s.

use std::net::IpAddr;

use natbox_wire::{Packet, Time};

use crate::verdict::{HoldId, Refusal, Side, Verdict};

/// What the fragments of one datagram have in common (RFC 791 section 3.2), and the side that they come from.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Key {
    pub(crate) from: Side,
    pub(crate) source: IpAddr,
    pub(crate) destination: IpAddr,
    /// Zero for IPv6, where it is no part of the key (RFC 8200 section 4.5).
    pub(crate) protocol: u8,
    pub(crate) identification: u32,
}

/// Where a fragment's bytes belong in the datagram, in bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Place {
    pub(crate) start: usize,
    pub(crate) end: usize,
    /// Whether the datagram ends here.
    pub(crate) last: bool,
    /// Tells an exact repetition from an overlap.
    pub(crate) digest: u64,
}

/// How the fragments of a datagram go on, once the first has: they get its addresses and its identification.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Way {
    pub(crate) verdict: Verdict,
    pub(crate) source: IpAddr,
    pub(crate) destination: IpAddr,
    pub(crate) identification: Option<u16>,
}

/// What is decided about a datagram.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Decision {
    /// Nothing yet.
    Waiting,
    /// Its fragments go this way.
    Open(Way),
    /// They are dropped.
    Refused(Refusal),
}

/// A fragment that came.
pub(super) struct Piece {
    pub(super) place: Place,
    pub(super) held: Option<(HoldId, Packet)>,
}

/// A datagram of which fragments came.
pub(super) struct Datagram {
    pub(super) key: Key,
    pub(super) deadline: Time,
    pub(super) decision: Decision,
    /// Sorted by offset, none overlapping.
    pub(super) pieces: Vec<Piece>,
    /// How many of its bytes have come.
    pub(super) come: usize,
    /// How many it has; known when its end has come.
    pub(super) total: Option<usize>,
    /// What it counts.
    pub(super) bytes: usize,
}

/// Where a fragment belongs among those that came.
pub(super) enum Fit {
    /// Before the fragment of this index.
    At(usize),
    /// It came before.
    Repeated,
    /// It overlaps others, or lies beyond the end.
    Contradiction,
}

impl Datagram {
    pub(super) fn fit(&self, place: Place) -> Fit {
        let index = self.pieces.partition_point(|piece| piece.place.start < place.start);
        if self.pieces.get(index).is_some_and(|piece| piece.place == place) {
            return Fit::Repeated;
        }
        let overlaps_before = index > 0 && self.pieces[index - 1].place.end > place.start;
        let overlaps_after = self.pieces.get(index).is_some_and(|piece| piece.place.start < place.end);
        let past_the_end = match self.total {
            Some(total) => place.last || place.end > total,
            None => place.last && self.pieces.last().is_some_and(|piece| piece.place.end > place.start),
        };
        if overlaps_before || overlaps_after || past_the_end { Fit::Contradiction } else { Fit::At(index) }
    }
}

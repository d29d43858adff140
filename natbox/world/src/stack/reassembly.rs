//! Puts fragments together again (RFC 791 section 3.2, RFC 8200 section 4.5).
//!
//! Fragments come in any order. A datagram whose fragments overlap is dropped whole, and so is what comes of it later
//! (RFC 5722; for IPv4 as Linux does since the FragmentSmack fixes); an exact repetition of a fragment, which a
//! duplicating link makes, is no overlap. Memory is bounded: the oldest datagrams go first. Knows no sockets and
//! sends nothing; the ICMP error for a timeout is its caller's business.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::time::Duration;

use natbox_wire::{DropReason, Packet, Time, build};

/// How long fragments wait for the others: Linux's `net.ipv4.ipfrag_time`, and RFC 8200 section 4.5.
const TIMEOUT4: Duration = Duration::from_secs(30);
const TIMEOUT6: Duration = Duration::from_secs(60);
/// Linux's `ipfrag_high_thresh`.
const LIMIT_BYTES: usize = 4 << 20;
/// What a fragment counts beyond its bytes, so that tiny ones are bounded too: about Linux's `sk_buff`.
const OVERHEAD_BYTES: usize = 256;
/// The most that an IP datagram carries.
const MAX_PAYLOAD_BYTES: usize = 65_535;

/// What became of a fragment.
#[derive(Debug)]
pub(crate) enum Step {
    /// It waits for the others.
    Held,
    /// It was the last one missing; here is the whole datagram.
    Complete(Packet),
    /// It is no use.
    Dropped(DropReason),
}

/// A fragment that was held and is dropped after all.
#[derive(Debug)]
pub(crate) struct Abandoned<T> {
    pub(crate) packet: Packet,
    pub(crate) tag: T,
    pub(crate) reason: DropReason,
    /// The first fragment of a datagram that timed out: its sender is owed an ICMP error.
    pub(crate) timed_out_first: bool,
}

/// The datagrams of which some fragments have come, each fragment with what its owner knows of it.
#[derive(Debug)]
pub(crate) struct Reassembly<T> {
    partials: BTreeMap<u64, Partial<T>>,
    by_key: BTreeMap<Key, u64>,
    deadlines: BTreeSet<(Time, u64)>,
    next_serial: u64,
    held_bytes: usize,
    abandoned: Vec<Abandoned<T>>,
}

impl<T> Default for Reassembly<T> {
    fn default() -> Reassembly<T> {
        Reassembly {
            partials: BTreeMap::new(),
            by_key: BTreeMap::new(),
            deadlines: BTreeSet::new(),
            next_serial: 0,
            held_bytes: 0,
            abandoned: Vec::new(),
        }
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Key {
    source: IpAddr,
    destination: IpAddr,
    identification: u32,
    /// Zero for IPv6, where it is no part of the key (RFC 8200 section 4.5).
    protocol: u8,
}

#[derive(Debug)]
struct Partial<T> {
    key: Key,
    deadline: Time,
    /// Sorted by offset, none overlapping.
    pieces: Vec<Piece<T>>,
    /// How many of the datagram's bytes have come.
    come: usize,
    /// How many it has; known when the last fragment has come.
    total: Option<usize>,
    /// Why whatever comes is dropped until the deadline: fragments overlapped, or nobody wants the datagram.
    spoilt: Option<DropReason>,
}

#[derive(Debug)]
struct Piece<T> {
    start: usize,
    end: usize,
    packet: Packet,
    tag: T,
}

impl Key {
    /// The datagram that a fragment is of.
    fn of(packet: &Packet) -> Option<Key> {
        Some(Key {
            source: packet.source(),
            destination: packet.destination(),
            identification: packet.fragment()?.identification,
            protocol: if packet.is_ipv6() { 0 } else { packet.protocol_number() },
        })
    }
}

impl<T> Reassembly<T> {
    /// Takes a fragment.
    pub(crate) fn receive(&mut self, packet: Packet, tag: T, now: Time) -> Step {
        let (Some(fragment), Some(key)) = (packet.fragment(), Key::of(&packet)) else {
            return Step::Dropped(DropReason::BadFragment);
        };
        let start = usize::from(fragment.offset_bytes);
        let length = packet.fragment_data().len();
        let end = start + length;
        if end > MAX_PAYLOAD_BYTES || length == 0 || (fragment.more && !length.is_multiple_of(8)) {
            return Step::Dropped(DropReason::BadFragment);
        }
        let piece = Piece { start, end, packet, tag };
        self.insert(key, piece, fragment.more, now)
    }

    /// Nobody wants the datagram that a fragment is of: what came of it is abandoned, and what comes is dropped.
    pub(crate) fn refuse(&mut self, fragment: &Packet, reason: DropReason, now: Time) {
        let Some(key) = Key::of(fragment) else { return };
        let serial = self.partial(key, now);
        self.spoil(serial, reason);
        self.evict(serial);
    }

    /// Forgets everything.
    pub(crate) fn abandon_all(&mut self, reason: DropReason) {
        while let Some(serial) = self.partials.keys().next().copied() {
            self.abandon(serial, reason);
        }
    }

    fn insert(&mut self, key: Key, piece: Piece<T>, more: bool, now: Time) -> Step {
        let serial = self.partial(key, now);
        let Some(partial) = self.partials.get_mut(&serial) else {
            return Step::Dropped(DropReason::ReassemblyLimit);
        };
        if let Some(reason) = partial.spoilt {
            return Step::Dropped(reason);
        }
        match partial.place(&piece, more) {
            Place::Repeated => return Step::Held,
            Place::Contradiction => {
                self.spoil(serial, DropReason::FragmentOverlap);
                return Step::Dropped(DropReason::FragmentOverlap);
            }
            Place::At(index) => {
                self.held_bytes += piece.packet.bytes().len() + OVERHEAD_BYTES;
                if !more {
                    partial.total = Some(piece.end);
                }
                partial.come += piece.end - piece.start;
                partial.pieces.insert(index, piece);
            }
        }
        if partial.is_complete() {
            return self.finish(serial);
        }
        self.evict(serial);
        Step::Held
    }

    /// The datagram that a fragment belongs to, a new one if it is the first to come.
    fn partial(&mut self, key: Key, now: Time) -> u64 {
        if let Some(serial) = self.by_key.get(&key) {
            return *serial;
        }
        let serial = self.next_serial;
        self.next_serial += 1;
        let deadline = now + if key.source.is_ipv6() { TIMEOUT6 } else { TIMEOUT4 };
        self.by_key.insert(key, serial);
        self.deadlines.insert((deadline, serial));
        self.held_bytes += OVERHEAD_BYTES;
        self.partials.insert(serial, Partial { key, deadline, pieces: Vec::new(), come: 0, total: None, spoilt: None });
        serial
    }

    fn remove(&mut self, serial: u64) -> Option<Partial<T>> {
        let partial = self.partials.remove(&serial)?;
        self.by_key.remove(&partial.key);
        self.deadlines.remove(&(partial.deadline, serial));
        self.held_bytes -= OVERHEAD_BYTES + partial.held_bytes();
        Some(partial)
    }

    fn finish(&mut self, serial: u64) -> Step {
        let whole = self.remove(serial).and_then(|partial| partial.assemble());
        whole.map_or(Step::Dropped(DropReason::BadFragment), Step::Complete)
    }

    /// Drops what came of a datagram and remembers that the rest is to be dropped too.
    fn spoil(&mut self, serial: u64, reason: DropReason) {
        let Some(partial) = self.partials.get_mut(&serial) else { return };
        partial.spoilt = Some(reason);
        let pieces = std::mem::take(&mut partial.pieces);
        for piece in pieces {
            self.held_bytes -= piece.packet.bytes().len() + OVERHEAD_BYTES;
            let (packet, tag) = (piece.packet, piece.tag);
            self.abandoned.push(Abandoned { packet, tag, reason, timed_out_first: false });
        }
    }

    /// Makes room, oldest first, sparing the datagram that a fragment has just come for.
    fn evict(&mut self, spared: u64) {
        while self.held_bytes > LIMIT_BYTES {
            let Some(oldest) = self.partials.keys().copied().find(|serial| *serial != spared) else { return };
            self.abandon(oldest, DropReason::ReassemblyLimit);
        }
    }

    fn abandon(&mut self, serial: u64, reason: DropReason) {
        let Some(partial) = self.remove(serial) else { return };
        let owed = reason == DropReason::ReassemblyTimeout;
        for piece in partial.pieces {
            let timed_out_first = owed && piece.start == 0;
            self.abandoned.push(Abandoned { packet: piece.packet, tag: piece.tag, reason, timed_out_first });
        }
    }

    /// When the next datagram times out.
    pub(crate) fn poll_timeout(&self) -> Option<Time> {
        self.deadlines.first().map(|(deadline, _)| *deadline)
    }

    /// Gives up the datagrams whose time is over.
    pub(crate) fn handle_timeout(&mut self, now: Time) {
        while let Some(&(deadline, serial)) = self.deadlines.first() {
            if deadline > now {
                return;
            }
            self.abandon(serial, DropReason::ReassemblyTimeout);
        }
    }

    /// The fragments that were held and are now dropped.
    pub(crate) fn take_abandoned(&mut self) -> Vec<Abandoned<T>> {
        std::mem::take(&mut self.abandoned)
    }
}

enum Place {
    At(usize),
    Repeated,
    Contradiction,
}

impl<T> Partial<T> {
    fn place(&self, piece: &Piece<T>, more: bool) -> Place {
        if self.contradicts_total(piece, more) {
            return Place::Contradiction;
        }
        let index = self.pieces.partition_point(|held| held.start < piece.start);
        if let Some(held) = self.pieces.get(index).filter(|held| held.start == piece.start && held.end == piece.end) {
            return if held.packet.fragment_data() == piece.packet.fragment_data() {
                Place::Repeated
            } else {
                Place::Contradiction
            };
        }
        let overlaps_before = index > 0 && self.pieces[index - 1].end > piece.start;
        let overlaps_after = self.pieces.get(index).is_some_and(|held| held.start < piece.end);
        if overlaps_before || overlaps_after { Place::Contradiction } else { Place::At(index) }
    }

    fn contradicts_total(&self, piece: &Piece<T>, more: bool) -> bool {
        match self.total {
            Some(total) => piece.end > total || (!more && piece.end != total) || (more && piece.end == total),
            None => !more && self.pieces.last().is_some_and(|held| held.end > piece.start),
        }
    }

    fn is_complete(&self) -> bool {
        // Nothing overlaps and nothing lies past the end, so that much is all.
        self.total == Some(self.come)
    }

    fn assemble(self) -> Option<Packet> {
        let mut payload = Vec::with_capacity(self.total?);
        for piece in &self.pieces {
            payload.extend_from_slice(piece.packet.fragment_data());
        }
        // What was not yet visible in the fragments (a transport header that contradicts the length) shows now.
        build::join(&self.pieces.first()?.packet, &payload)
    }

    fn held_bytes(&self) -> usize {
        self.pieces.iter().map(|piece| piece.packet.bytes().len() + OVERHEAD_BYTES).sum()
    }
}

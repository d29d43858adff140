//! The datagrams in pieces that a NAT follows: which fragments came, which are held, and what was decided.
//!
//! Knows no translation. Bounded in bytes, in datagrams, and in datagrams of one source. Every fragment counts its bytes
//! while it is held and [`PIECE_BYTES`] as long as it is remembered, so that small ones are bounded too.
//!
//! # Who goes when there is no room
//!
//! A datagram whose first fragment has been let through is *open*; every other one is *expendable*: it waits for its
//! first, or for all its fragments, or it only remembers that the rest is to be dropped. A source that has more datagrams
//! than it may loses its own oldest, expendable ones first. If the whole is full, the source that has most (datagrams or
//! bytes, whichever is short) loses its oldest expendable one; if that is the one that asks for more, it gets no more.
//! Only if nothing is expendable does the oldest open one go.
//! So a flood of fragments without a first displaces itself: not other sources' fragments, and nobody's datagrams whose
//! first fragment comes first.
//!
//! All datagrams are followed equally long, so the order of their numbers is the order of their deadlines.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::net::IpAddr;

use natbox_wire::{DropReason, Packet, Time};

use super::datagram::{Datagram, Decision, Fit, Key, Piece, Place, Way};
use super::discard;
use crate::behavior::FragmentRules;
use crate::verdict::{HoldId, Output, Refusal, Side, refuse};

/// What a fragment that came counts beyond its bytes.
const PIECE_BYTES: isize = 64;
/// What a datagram counts beyond its fragments.
const DATAGRAM_BYTES: isize = 256;

/// The expendable datagrams of one source, and what they count. All datagrams count for `all`.
#[derive(Default)]
struct Source {
    all: BTreeSet<u64>,
    expendable: BTreeSet<u64>,
    bytes: usize,
}

/// What filing a fragment came to.
pub(crate) enum Filed {
    /// It belongs to the datagram of this number.
    New(u64),
    /// It has come before.
    Again(u64),
}

/// The datagrams of which some fragments have come.
#[derive(Default)]
pub(crate) struct Cache {
    datagrams: BTreeMap<u64, Datagram>,
    by_key: BTreeMap<Key, u64>,
    sources: BTreeMap<IpAddr, Source>,
    /// Sources with expendable datagrams, by how many, and by what these count.
    by_count: BTreeSet<(usize, IpAddr)>,
    by_bytes: BTreeSet<(usize, IpAddr)>,
    /// The datagrams that hold fragments.
    holding: BTreeSet<u64>,
    next: u64,
    bytes: usize,
}

impl Cache {
    /// When the next datagram is given up that holds fragments.
    pub(crate) fn next_deadline(&self) -> Option<Time> {
        self.holding.first().map(|serial| self.datagrams[serial].deadline)
    }

    /// Gives up the datagrams whose time is over.
    pub(crate) fn expire(&mut self, now: Time, output: &mut VecDeque<Output>) {
        while let Some((&serial, _)) = self.datagrams.first_key_value().filter(|(_, oldest)| oldest.deadline <= now) {
            self.give_up(serial, refuse(DropReason::ReassemblyTimeout), output);
        }
    }

    /// Gives everything up by then.
    pub(crate) fn hasten(&mut self, latest: Time) {
        self.datagrams.values_mut().for_each(|one| one.deadline = one.deadline.min(latest));
    }

    /// The datagram of this key, if a fragment of it is known.
    pub(crate) fn find(&self, key: Key) -> Option<u64> {
        self.by_key.get(&key).copied()
    }

    /// Takes note of a fragment. An overlap ends in a refusal of the whole datagram (RFC 5722).
    pub(crate) fn file(
        &mut self,
        key: Key,
        place: Place,
        now: Time,
        rules: &FragmentRules,
        output: &mut VecDeque<Output>,
    ) -> Result<Filed, DropReason> {
        let serial = match self.find(key) {
            Some(serial) => serial,
            None => self.follow(key, now, rules, output)?,
        };
        let Some(datagram) = self.datagrams.get_mut(&serial) else { return Err(DropReason::ReassemblyLimit) };
        match datagram.fit(place) {
            Fit::At(index) => {
                datagram.pieces.insert(index, Piece { place, held: None });
                datagram.come += place.end - place.start;
                datagram.total = if place.last { Some(place.end) } else { datagram.total };
                if !self.make_room(serial, PIECE_BYTES as usize, rules, output) {
                    self.unfile(serial, place);
                    return Err(DropReason::ReassemblyLimit);
                }
                self.count(serial, PIECE_BYTES);
                Ok(Filed::New(serial))
            }
            Fit::Repeated => Ok(Filed::Again(serial)),
            Fit::Contradiction => {
                self.decide(serial, Decision::Refused(refuse(DropReason::FragmentOverlap)));
                for held in self.take_held(serial) {
                    output.push_back(discard(key.from, held, refuse(DropReason::FragmentOverlap)));
                }
                Err(DropReason::FragmentOverlap)
            }
        }
    }

    /// Keeps a fragment that was just filed; gives it up if there is no room.
    pub(crate) fn hold(
        &mut self,
        serial: u64,
        place: Place,
        held: (HoldId, Packet),
        rules: &FragmentRules,
        output: &mut VecDeque<Output>,
    ) -> Result<(), DropReason> {
        let bytes = held.1.bytes().len();
        if !self.make_room(serial, bytes, rules, output) {
            self.count(serial, -PIECE_BYTES);
            self.unfile(serial, place);
            return Err(DropReason::ReassemblyLimit);
        }
        let datagram = self.datagrams.get_mut(&serial).ok_or(DropReason::ReassemblyLimit)?;
        let piece = datagram.pieces.iter_mut().find(|piece| piece.place == place).ok_or(DropReason::ReassemblyLimit)?;
        piece.held = Some(held);
        self.holding.insert(serial);
        self.count(serial, bytes as isize);
        Ok(())
    }

    /// What was decided about a datagram.
    pub(crate) fn decision(&self, serial: u64) -> Decision {
        self.datagrams.get(&serial).map_or(Decision::Waiting, |datagram| datagram.decision)
    }

    /// Decides about a datagram.
    pub(crate) fn decide(&mut self, serial: u64, decision: Decision) {
        let Some(datagram) = self.datagrams.get_mut(&serial) else { return };
        let (source, bytes) = (datagram.key.source, datagram.bytes);
        datagram.decision = decision;
        let open = matches!(decision, Decision::Open(_));
        self.weigh(source, |known| {
            if open && known.expendable.remove(&serial) {
                known.bytes -= bytes;
            } else if !open && known.expendable.insert(serial) {
                known.bytes += bytes;
            }
        });
    }

    /// Whether all bytes of a datagram have come.
    pub(crate) fn is_complete(&self, serial: u64) -> bool {
        // Nothing overlaps and nothing lies past the end, so that much is all.
        self.datagrams.get(&serial).is_some_and(|datagram| datagram.total == Some(datagram.come))
    }

    /// The held fragments of a datagram, in the order of their offsets.
    pub(crate) fn take_held(&mut self, serial: u64) -> Vec<(HoldId, Packet)> {
        self.holding.remove(&serial);
        let Some(datagram) = self.datagrams.get_mut(&serial) else { return Vec::new() };
        let held: Vec<_> = datagram.pieces.iter_mut().filter_map(|piece| piece.held.take()).collect();
        let bytes: usize = held.iter().map(|(_, packet)| packet.bytes().len()).sum();
        self.count(serial, -(bytes as isize));
        held
    }

    /// Forgets a datagram. What it held must have been taken.
    pub(crate) fn forget(&mut self, serial: u64) {
        let Some(datagram) = self.datagrams.get(&serial) else { return };
        let (key, bytes) = (datagram.key, datagram.bytes);
        self.count(serial, -(bytes as isize));
        self.datagrams.remove(&serial);
        self.by_key.remove(&key);
        self.holding.remove(&serial);
        self.weigh(key.source, |known| {
            known.all.remove(&serial);
            known.expendable.remove(&serial);
        });
    }

    /// Forgets the datagrams whose fragments go a way that is closed.
    pub(crate) fn forget_ways(&mut self, closed: impl Fn(&Key, &Way) -> bool) {
        let is_closed = |one: &Datagram| matches!(&one.decision, Decision::Open(way) if closed(&one.key, way));
        let gone = self.datagrams.iter().filter(|(_, one)| is_closed(one)).map(|(serial, _)| *serial);
        gone.collect::<Vec<u64>>().into_iter().for_each(|serial| self.forget(serial));
    }

    /// Begins to follow a datagram.
    fn follow(
        &mut self,
        key: Key,
        now: Time,
        rules: &FragmentRules,
        output: &mut VecDeque<Output>,
    ) -> Result<u64, DropReason> {
        let full = |cache: &Cache| cache.datagrams.len() >= rules.max_datagrams as usize;
        while self.sources.get(&key.source).is_some_and(|known| known.all.len() >= rules.per_source as usize) {
            let known = &self.sources[&key.source];
            let Some(&oldest) = known.expendable.first().or(known.all.first()) else { break };
            self.give_up(oldest, refuse(DropReason::ReassemblyLimit), output);
        }
        while full(self) && !self.datagrams.is_empty() {
            self.evict(|cache| cache.by_count.last().map(|(_, source)| *source), None, output);
        }
        let serial = self.next;
        let fits = self.make_room(serial, DATAGRAM_BYTES as usize, rules, output);
        if rules.per_source == 0 || full(self) || !fits {
            return Err(DropReason::ReassemblyLimit);
        }
        self.next += 1;
        let deadline = now + rules.timeout;
        let (decision, pieces) = (Decision::Waiting, Vec::new());
        self.datagrams.insert(serial, Datagram { key, deadline, decision, pieces, come: 0, total: None, bytes: 0 });
        self.by_key.insert(key, serial);
        self.weigh(key.source, |known| {
            known.all.insert(serial);
            known.expendable.insert(serial);
        });
        self.count(serial, DATAGRAM_BYTES);
        Ok(serial)
    }

    /// Makes room for so many bytes more, sparing one datagram. Whether there is room then.
    fn make_room(&mut self, spared: u64, bytes: usize, rules: &FragmentRules, output: &mut VecDeque<Output>) -> bool {
        let limit = rules.max_bytes as usize;
        let own = self.datagrams.get(&spared).map_or(0, |datagram| datagram.bytes);
        while own + bytes <= limit && self.bytes + bytes > limit {
            let heaviest = |cache: &Cache| cache.by_bytes.last().map(|(_, source)| *source);
            if self.is_all_of(heaviest(self), spared) || !self.evict(heaviest, Some(spared), output) {
                break;
            }
        }
        self.bytes + bytes <= limit
    }

    /// Whether a source has no expendable datagram but this one.
    fn is_all_of(&self, source: Option<IpAddr>, serial: u64) -> bool {
        let known = source.and_then(|source| self.sources.get(&source));
        known.is_some_and(|known| known.expendable.len() == 1 && known.expendable.contains(&serial))
    }

    /// Gives up the oldest expendable datagram of a source, or of any, or the oldest of all. Whether there was one.
    fn evict(
        &mut self,
        source: impl Fn(&Cache) -> Option<IpAddr>,
        spared: Option<u64>,
        output: &mut VecDeque<Output>,
    ) -> bool {
        let other = |serial: &&u64| Some(**serial) != spared;
        let of_source = source(self).and_then(|source| self.sources[&source].expendable.iter().find(other));
        let expendable = || self.sources.values().find_map(|known| known.expendable.iter().find(other));
        let Some(&serial) = of_source.or_else(expendable).or_else(|| self.datagrams.keys().find(other)) else {
            return false;
        };
        self.give_up(serial, refuse(DropReason::ReassemblyLimit), output);
        true
    }

    /// Forgets a datagram; what it holds is dropped.
    fn give_up(&mut self, serial: u64, refusal: Refusal, output: &mut VecDeque<Output>) {
        let from = self.datagrams.get(&serial).map_or(Side::Inside, |datagram| datagram.key.from);
        output.extend(self.take_held(serial).into_iter().map(|held| discard(from, held, refusal)));
        self.forget(serial);
    }

    /// Takes back the note of a fragment that there is no room for.
    fn unfile(&mut self, serial: u64, place: Place) {
        let Some(datagram) = self.datagrams.get_mut(&serial) else { return };
        datagram.pieces.retain(|piece| piece.place != place);
        datagram.come -= place.end - place.start;
        datagram.total = datagram.total.filter(|_| !place.last);
        if datagram.pieces.is_empty() {
            self.forget(serial);
        }
    }

    /// A datagram counts so many bytes more.
    fn count(&mut self, serial: u64, bytes: isize) {
        let Some(datagram) = self.datagrams.get_mut(&serial) else { return };
        datagram.bytes = datagram.bytes.saturating_add_signed(bytes);
        self.bytes = self.bytes.saturating_add_signed(bytes);
        let source = datagram.key.source;
        self.weigh(source, |known| {
            if known.expendable.contains(&serial) {
                known.bytes = known.bytes.saturating_add_signed(bytes);
            }
        });
    }

    /// Changes what is known of a source, and its place among the others.
    fn weigh(&mut self, source: IpAddr, change: impl FnOnce(&mut Source)) {
        let known = self.sources.entry(source).or_default();
        self.by_count.remove(&(known.expendable.len(), source));
        self.by_bytes.remove(&(known.bytes, source));
        change(known);
        if !known.expendable.is_empty() {
            self.by_count.insert((known.expendable.len(), source));
            self.by_bytes.insert((known.bytes, source));
        }
        if known.all.is_empty() {
            self.sources.remove(&source);
        }
    }
}

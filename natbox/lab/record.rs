//! The record of a run: the world's notes, kept in order and asked questions afterwards.
//!
//! A [`Recorder`] is handed to the world as its observer; its [`Log`] is what captures, text and JSON read. Knows
//! notes, not worlds: names come from a [`Names`] table, and nothing here decides whether a run went well.
//!
//! Bounded: past [`Limits::records`] nothing more is kept, past [`Limits::bytes`] no more packet bytes, and
//! [`Log::missed`] says how much is not there.

mod comment;
mod facts;
mod names;

use std::cell::{Ref, RefCell};
use std::collections::BTreeMap;
use std::net::{IpAddr, SocketAddr};
use std::rc::Rc;

use natbox_nat::{Ended, MappingEnd, MappingId};
use natbox_wire::{DropReason, Protocol, Time};
use natbox_world::note::{Event, InterfaceId, LinkFate, NodeId, Note, Observer, Outcome, PacketId, PacketRef};

pub use comment::{DropSite, comment, dropped};
pub use facts::Facts;
pub use names::{InterfaceName, Names, NodeKind, NodeName};

/// How much a recorder keeps.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Records.
    pub records: usize,
    /// Packet bytes, over all records. 0 keeps none: enough for everything but captures.
    pub bytes: usize,
    /// Whether packets are summed up in a line for people; else only their endpoints are shown.
    pub summaries: bool,
}

impl Limits {
    /// A million records, no packet bytes: for timelines and verdicts.
    pub const TIMELINE: Limits = Limits { records: 1_000_000, bytes: 0, summaries: false };
    /// A million records with what people want to read: for lists of packets.
    pub const PACKETS: Limits = Limits { records: 1_000_000, bytes: 0, summaries: true };
    /// A million records with up to 512 MiB of packets: for captures.
    pub const CAPTURE: Limits = Limits { records: 1_000_000, bytes: 512 << 20, summaries: true };
}

/// What a recorder had no room for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Missed {
    /// Notes that were not kept.
    pub records: u64,
    /// Packets whose bytes were not kept.
    pub packets: u64,
}

/// One note, owned.
#[derive(Clone, Debug, PartialEq)]
pub struct Record {
    /// When.
    pub at: Time,
    /// Where.
    pub node: NodeId,
    /// What.
    pub what: What,
}

/// What a record is about.
#[derive(Clone, Debug, PartialEq)]
pub enum What {
    /// A packet was sent, received or dropped.
    Packet(Box<Sighting>),
    /// A mapping of this gateway's NAT ended.
    MappingEnded(Ended),
    /// The gateway rebooted.
    Rebooted,
    /// The gateway has other external addresses.
    Readdressed,
    /// An interface's link was cut.
    Cut(InterfaceId),
    /// An interface's link was mended.
    Mended(InterfaceId),
}

/// A packet, seen at a node.
#[derive(Clone, Debug, PartialEq)]
pub struct Sighting {
    /// Its number.
    pub id: PacketId,
    /// The packet on whose account it was sent.
    pub cause: Option<PacketId>,
    /// The interface; `None` for what a node dropped by itself.
    pub interface: Option<InterfaceId>,
    /// What happened.
    pub step: Step,
    /// What its headers say; `Err` with the reason for bytes that are no packet.
    pub facts: Result<Facts, DropReason>,
    /// For a packet that the node sent on: the same packet on the other side of the node.
    pub beyond: Option<Beyond>,
    /// What had happened before that explains a drop.
    pub history: Option<History>,
    /// Its bytes, from the IP header on, if they were kept.
    pub bytes: Option<Box<[u8]>>,
}

/// What happened to a packet at a node.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Step {
    /// It was sent, and the link did this.
    Sent(LinkFate),
    /// It came, and the node did this.
    Received(Outcome),
    /// The node dropped it, and it came through no interface just then.
    Dropped(DropReason),
}

/// A forwarded packet on the other side of the node that forwarded it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Beyond {
    /// Its source there.
    pub source: SocketAddr,
    /// Its destination there.
    pub destination: SocketAddr,
    /// What the node did when it came.
    pub outcome: Outcome,
}

/// Something earlier that explains why a NAT refused a packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum History {
    /// The external endpoint had a mapping once.
    Ended {
        /// That mapping.
        mapping: MappingId,
        /// When it ended.
        at: Time,
        /// Why.
        why: MappingEnd,
    },
    /// The remote's address had been contacted, last at this time: the permission has ended since.
    Contacted {
        /// When.
        at: Time,
        /// Whether its port too.
        exactly: bool,
    },
}

/// A drop: a packet's end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Drop {
    /// Why.
    pub reason: DropReason,
    /// Whether a link lost it, rather than the node itself.
    pub on_link: bool,
    /// The mapping that it was addressed to, where a NAT dropped it and there is one.
    pub mapping: Option<MappingId>,
}

impl Sighting {
    /// The drop, if this is one.
    pub fn dropped(&self) -> Option<Drop> {
        let drop = |reason| Some(Drop { reason, on_link: false, mapping: None });
        match self.step {
            Step::Sent(LinkFate::Dropped(reason)) => Some(Drop { reason, on_link: true, mapping: None }),
            Step::Received(Outcome::Refused(refusal)) => {
                Some(Drop { reason: refusal.reason, on_link: false, mapping: refusal.mapping })
            }
            Step::Received(Outcome::Dropped(reason)) | Step::Dropped(reason) => drop(reason),
            Step::Sent(_) | Step::Received(_) => None,
        }
    }

    /// Whether the packet reached a socket here.
    pub fn delivered(&self) -> bool {
        self.step == Step::Received(Outcome::Delivered)
    }

    /// Whether the packet left this node.
    pub fn sent(&self) -> bool {
        matches!(self.step, Step::Sent(_))
    }
}

impl Record {
    /// The packet, if the record is about one.
    pub fn sighting(&self) -> Option<&Sighting> {
        match &self.what {
            What::Packet(sighting) => Some(sighting),
            _ => None,
        }
    }
}

/// Records the notes of a world. Clones share one log: hand one to the world, keep the other.
#[derive(Clone, Debug)]
pub struct Recorder(Rc<RefCell<Log>>);

impl Recorder {
    /// An empty recorder.
    pub fn new(limits: Limits) -> Recorder {
        Recorder(Rc::new(RefCell::new(Log::new(limits))))
    }

    /// The log so far. The world must not run while this is held.
    pub fn log(&self) -> Ref<'_, Log> {
        self.0.borrow()
    }

    /// The log, taken out; the recorder goes on with an empty one.
    pub fn take(&self) -> Log {
        let limits = self.0.borrow().limits;
        self.0.replace(Log::new(limits))
    }
}

impl Observer for Recorder {
    fn note(&mut self, note: &Note<'_>) {
        self.0.borrow_mut().add(note);
    }
}

/// The records of a run, in order.
#[derive(Debug)]
pub struct Log {
    limits: Limits,
    records: Vec<Record>,
    /// For each record about a packet, the one before about the same packet, plus one; 0 if there is none.
    previous: Vec<u32>,
    /// Each packet's last record.
    last: BTreeMap<PacketId, u32>,
    /// Each packet that was caused by another, under that other.
    effects: BTreeMap<PacketId, Vec<PacketId>>,
    ended: BTreeMap<(NodeId, Protocol, SocketAddr), History>,
    contacted: BTreeMap<(NodeId, MappingId, SocketAddr), Time>,
    kept_bytes: usize,
    missed: Missed,
}

impl Log {
    /// An empty log.
    pub fn new(limits: Limits) -> Log {
        // The chain of a packet's records is kept in 32 bits.
        let limits = Limits { records: limits.records.min(u32::MAX as usize - 1), ..limits };
        Log {
            limits,
            records: Vec::new(),
            previous: Vec::new(),
            last: BTreeMap::new(),
            effects: BTreeMap::new(),
            ended: BTreeMap::new(),
            contacted: BTreeMap::new(),
            kept_bytes: 0,
            missed: Missed::default(),
        }
    }

    /// Every record, in order.
    pub fn records(&self) -> &[Record] {
        &self.records
    }

    /// What there was no room for.
    pub fn missed(&self) -> Missed {
        self.missed
    }

    /// Whether there was no room for something.
    pub fn truncated(&self) -> bool {
        self.missed != Missed::default()
    }

    /// The records of one packet, in order.
    pub fn packet(&self, id: PacketId) -> Vec<&Record> {
        let mut chain =
            self.back_from(self.last.get(&id).copied()).map(|index| &self.records[index]).collect::<Vec<_>>();
        chain.reverse();
        chain
    }

    /// The packets that this one caused: ICMP errors about it, the reply to an echo request, a RST.
    pub fn effects(&self, id: PacketId) -> &[PacketId] {
        self.effects.get(&id).map_or(&[], Vec::as_slice)
    }

    /// The drops, in order; `reason` and `node` narrow them down.
    pub fn drops(
        &self,
        reason: Option<DropReason>,
        node: Option<NodeId>,
    ) -> impl Iterator<Item = (&Record, &Sighting, Drop)> {
        let here = self.records.iter().filter(move |record| node.is_none_or(|node| record.node == node));
        here.filter_map(|record| {
            let sighting = record.sighting()?;
            Some((record, sighting, sighting.dropped()?))
        })
        .filter(move |(_, _, drop)| reason.is_none_or(|reason| drop.reason == reason))
    }

    /// What is not about packets: mappings that ended, reboots, new addresses, links cut and mended; and the
    /// packets that made a mapping. In order.
    pub fn milestones(&self) -> impl Iterator<Item = &Record> {
        self.records.iter().filter(|record| record.sighting().is_none_or(made_mapping))
    }

    fn back_from(&self, last: Option<u32>) -> impl Iterator<Item = usize> {
        std::iter::successors(last.map(|index| index as usize), |&index| (self.previous[index] as usize).checked_sub(1))
    }

    fn add(&mut self, note: &Note<'_>) {
        if self.records.len() >= self.limits.records {
            self.missed.records += 1;
            return;
        }
        let what = match note.event {
            Event::Sent { interface, packet, fate } => self.sight(note, packet, Some(interface), Step::Sent(fate)),
            Event::Received { interface, packet, outcome } => {
                self.sight(note, packet, Some(interface), Step::Received(outcome))
            }
            Event::Dropped { packet, reason } => self.sight(note, packet, None, Step::Dropped(reason)),
            Event::MappingEnded(ended) => {
                self.remember_end(note, ended);
                What::MappingEnded(ended)
            }
            Event::Rebooted => What::Rebooted,
            Event::Readdressed => What::Readdressed,
            Event::Cut(interface) => What::Cut(interface),
            Event::Mended(interface) => What::Mended(interface),
        };
        self.push(Record { at: note.at, node: note.node, what });
    }

    fn push(&mut self, record: Record) {
        let index = self.records.len() as u32;
        let previous = match record.sighting() {
            Some(sighting) => self.last.insert(sighting.id, index).map_or(0, |before| before + 1),
            None => 0,
        };
        self.previous.push(previous);
        self.records.push(record);
    }

    fn sight(&mut self, note: &Note<'_>, packet: PacketRef<'_>, interface: Option<InterfaceId>, step: Step) -> What {
        if let Some(cause) = packet.cause
            && !self.last.contains_key(&packet.id)
        {
            self.effects.entry(cause).or_default().push(packet.id);
        }
        let facts = Facts::of(packet.bytes, self.limits.summaries);
        let (mut beyond, mut history) = (None, None);
        if let Ok(facts) = &facts {
            match step {
                Step::Sent(_) => beyond = self.join(note.node, packet.id, facts),
                Step::Received(outcome) => {
                    self.remember_contact(note, outcome, facts);
                    history = self.explain(note.node, outcome, facts);
                }
                Step::Dropped(_) => {}
            }
        }
        let bytes = self.keep(packet.bytes);
        What::Packet(Box::new(Sighting {
            id: packet.id,
            cause: packet.cause,
            interface,
            step,
            facts,
            beyond,
            history,
            bytes,
        }))
    }

    /// Ties a packet that is sent on to its arrival at the same node, and the arrival to it.
    fn join(&mut self, node: NodeId, id: PacketId, sent: &Facts) -> Option<Beyond> {
        let last = self.last.get(&id).copied();
        let arrival = self.back_from(last).find(|&index| {
            let record = &self.records[index];
            record.node == node && record.sighting().is_some_and(|sighting| !sighting.sent())
        })?;
        let What::Packet(came) = &mut self.records[arrival].what else { return None };
        let (Step::Received(outcome), Ok(facts)) = (came.step, &came.facts) else { return None };
        let back = Beyond { source: facts.source, destination: facts.destination, outcome };
        came.beyond.get_or_insert(Beyond { source: sent.source, destination: sent.destination, outcome });
        Some(back)
    }

    fn remember_end(&mut self, note: &Note<'_>, ended: Ended) {
        let key = (note.node, ended.mapping.protocol, ended.mapping.external);
        self.ended.insert(key, History::Ended { mapping: ended.mapping.id, at: note.at, why: ended.why });
    }

    fn remember_contact(&mut self, note: &Note<'_>, outcome: Outcome, facts: &Facts) {
        let mapping = match outcome {
            Outcome::Translated(translation) if !translation.quoted => translation.mapping,
            Outcome::Hairpinned { source, .. } => source.mapping,
            _ => return,
        };
        self.contacted.insert((note.node, mapping, facts.destination), note.at);
    }

    fn explain(&self, node: NodeId, outcome: Outcome, facts: &Facts) -> Option<History> {
        let Outcome::Refused(refusal) = outcome else { return None };
        match refusal.reason {
            DropReason::NoMapping => self.ended.get(&(node, facts.protocol()?, facts.destination)).copied(),
            DropReason::Filtered => self.contact(node, refusal.mapping?, facts.source),
            _ => None,
        }
    }

    fn contact(&self, node: NodeId, mapping: MappingId, remote: SocketAddr) -> Option<History> {
        if let Some(&at) = self.contacted.get(&(node, mapping, remote)) {
            return Some(History::Contacted { at, exactly: true });
        }
        let port = |port| (node, mapping, SocketAddr::new(remote.ip(), port));
        let same_address = self.contacted.range(port(0)..=port(u16::MAX));
        same_address.map(|(_, &at)| History::Contacted { at, exactly: false }).next_back()
    }

    fn keep(&mut self, bytes: &[u8]) -> Option<Box<[u8]>> {
        if self.limits.bytes == 0 {
            return None;
        }
        if self.kept_bytes + bytes.len() > self.limits.bytes {
            self.missed.packets += 1;
            return None;
        }
        self.kept_bytes += bytes.len();
        Some(bytes.into())
    }
}

fn made_mapping(sighting: &Sighting) -> bool {
    match sighting.step {
        Step::Received(Outcome::Translated(translation)) => translation.new_mapping,
        Step::Received(Outcome::Hairpinned { source, destination }) => source.new_mapping || destination.new_mapping,
        _ => false,
    }
}

/// An endpoint as people write it: without the port where there is none.
pub(crate) fn endpoint(endpoint: SocketAddr) -> String {
    if endpoint.port() == 0 { endpoint.ip().to_string() } else { endpoint.to_string() }
}

/// An address as it stands in an endpoint without a port.
pub(crate) fn bare(address: IpAddr) -> SocketAddr {
    SocketAddr::new(address, 0)
}

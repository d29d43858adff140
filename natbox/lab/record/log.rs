//! The records themselves: kept in order, tied together by packet, and asked questions.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::Arc;

use natbox_nat::{Behavior, Ended, MappingId};
use natbox_wire::{DropReason, Protocol, Time};
use natbox_world::note::{Event, InterfaceId, NodeId, Note, Outcome, PacketId, PacketRef};

use super::{Asked, Beyond, Drop, Facts, History, Limits, Missed, Record, Sighting, Step, What};

/// How much of what explains drops a log that [forgets](Log::forget) keeps, of each kind.
const STORIES: usize = 65_536;

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
    /// What was asked of a NAT last, and not told of with a packet yet.
    asked: Option<(Time, NodeId, Box<Asked>)>,
    /// How NATs behave that did not always behave so.
    behaviors: BTreeMap<NodeId, Arc<Behavior>>,
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
            asked: None,
            behaviors: BTreeMap::new(),
            kept_bytes: 0,
            missed: Missed::default(),
        }
    }

    /// How much is kept.
    pub fn limits(&self) -> Limits {
        self.limits
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

    /// How many packets there are records of.
    pub fn packet_count(&self) -> usize {
        self.last.len()
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

    /// What is not about packets: mappings that ended, reboots, new addresses and behaviours, links changed, cut and mended; and the
    /// packets that made a mapping. In order.
    pub fn milestones(&self) -> impl Iterator<Item = &Record> {
        self.records.iter().filter(|record| record.sighting().is_none_or(made_mapping))
    }

    fn back_from(&self, last: Option<u32>) -> impl Iterator<Item = usize> {
        std::iter::successors(last.map(|index| index as usize), |&index| (self.previous[index] as usize).checked_sub(1))
    }

    pub(crate) fn add(&mut self, note: &Note<'_>) {
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
            Event::Released { packet, outcome } => self.sight(note, packet, None, Step::Released(outcome)),
            Event::Made { packet, mapping } => self.sight(note, packet, None, Step::Made(mapping)),
            Event::MappingEnded(ended) => {
                self.remember_end(note, ended);
                What::MappingEnded(ended)
            }
            Event::Control { mapping, what } => {
                self.asked = Some((note.at, note.node, Box::new((mapping.clone(), what))));
                What::Control(Box::new(mapping.clone()), what)
            }
            Event::Reconfigured { before, after } => {
                self.behaviors.insert(note.node, after.clone());
                What::Reconfigured(before.clone(), after.clone())
            }
            Event::Relinked(interface) => What::Relinked(interface),
            Event::Rebooted => What::Rebooted,
            Event::Readdressed => What::Readdressed,
            Event::Cut(interface) => What::Cut(interface),
            Event::Moved(interface) => What::Moved(interface),
            Event::Preferred(interface) => What::Preferred(interface),
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
        let (facts, bytes) = self.read(packet.bytes);
        let (mut beyond, mut history) = (None, None);
        let made_for = self.last.get(&packet.id).and_then(|last| match self.records[*last as usize].sighting()?.step {
            Step::Made(mapping) => Some(mapping),
            _ => None,
        });
        if let Ok(facts) = &facts {
            match step {
                Step::Sent(_) => beyond = self.join(note.node, packet.id, facts),
                Step::Received(outcome) | Step::Released(outcome) => {
                    self.remember_contact(note, outcome, facts);
                    history = self.explain(note.node, outcome, facts);
                }
                Step::Dropped(_) | Step::Made(_) => {}
            }
        }
        let own = matches!(step, Step::Sent(_)) && beyond.is_none();
        let asked = self.asked.take_if(|(at, node, _)| *node == note.node && *at == note.at && own);
        let control = asked.map(|(.., what)| what);
        What::Packet(Box::new(Sighting {
            id: packet.id,
            cause: packet.cause,
            interface,
            step,
            facts,
            beyond,
            made_for,
            control,
            history,
            behavior: self.behaviors.get(&note.node).cloned(),
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
        let (Step::Received(outcome) | Step::Released(outcome), Ok(facts)) = (came.step, &came.facts) else {
            return None;
        };
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
            DropReason::Filtered if refusal.mapping.is_some() => self.contact(node, refusal.mapping?, facts.source),
            DropReason::NoMapping | DropReason::Filtered => {
                self.ended.get(&(node, facts.protocol()?, facts.destination)).copied()
            }
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

    /// What a packet's headers say, and its bytes if there is room for them.
    fn read(&mut self, bytes: &[u8]) -> (Result<Facts, DropReason>, Option<Box<[u8]>>) {
        let (facts, whole) = Facts::of_owned(bytes.to_vec(), self.limits.summaries);
        if self.limits.bytes == 0 {
            return (facts, None);
        }
        if self.limits.bytes - self.kept_bytes < bytes.len() {
            self.missed.packets += 1;
            return (facts, None);
        }
        self.kept_bytes += bytes.len();
        (facts, Some(whole.map_or_else(|| bytes.into(), Vec::into_boxed_slice)))
    }

    /// Packet bytes that are held.
    pub(crate) fn kept_bytes(&self) -> usize {
        self.kept_bytes
    }

    /// Gives up the bytes of the record with this index.
    pub(crate) fn release_bytes(&mut self, index: usize) {
        let record = self.records.get_mut(index).map(|record| &mut record.what);
        if let Some(What::Packet(sighting)) = record
            && let Some(bytes) = sighting.bytes.take()
        {
            self.kept_bytes -= bytes.len();
        }
    }

    /// Forgets the first records, for a log that others have read so far. What explains later drops (mappings that ended,
    /// remotes contacted) is kept longer, up to [`STORIES`] of each, the latest.
    pub(crate) fn forget(&mut self, count: usize) {
        let count = count.min(self.records.len());
        (0..count).for_each(|index| self.release_bytes(index));
        self.records.drain(..count);
        self.previous.drain(..count);
        let gone = count as u32;
        self.previous.iter_mut().for_each(|before| *before = before.saturating_sub(gone));
        self.last.retain(|_, index| *index >= gone);
        self.last.values_mut().for_each(|index| *index -= gone);
        self.effects.retain(|cause, _| self.last.contains_key(cause));
        shed(&mut self.contacted, |at| *at);
        shed(&mut self.ended, |history| match history {
            History::Ended { at, .. } | History::Contacted { at, .. } => *at,
        });
    }
}

/// Keeps the later half of what is too much.
fn shed<K: Ord, V>(stories: &mut BTreeMap<K, V>, at: impl Fn(&V) -> Time) {
    if stories.len() <= STORIES {
        return;
    }
    let mut times: Vec<Time> = stories.values().map(&at).collect();
    let middle = times.len() / 2;
    let (_, median, _) = times.select_nth_unstable(middle);
    let median = *median;
    let mut room = STORIES / 2;
    stories.retain(|_, story| {
        let stays = at(story) >= median && room > 0;
        room -= usize::from(stays);
        stays
    });
}

fn made_mapping(sighting: &Sighting) -> bool {
    match sighting.step {
        Step::Received(Outcome::Translated(translation)) | Step::Released(Outcome::Translated(translation)) => {
            translation.new_mapping
        }
        Step::Received(Outcome::Hairpinned { source, destination })
        | Step::Released(Outcome::Hairpinned { source, destination }) => source.new_mapping || destination.new_mapping,
        _ => false,
    }
}

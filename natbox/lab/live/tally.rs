//! What goes through a live lab: packets and bytes of each host, mappings and drops of each NAT.
//!
//! Counted from the first time that somebody asks: a lab that nobody watches counts nothing.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::rc::Rc;

use natbox_live::LiveError;
use natbox_wire::{DropReason, Time};
use natbox_world::note::{Event, LinkFate, NodeId, Note, Observer, Outcome, PacketRef};

use super::LiveLab;
use super::world::Lively;

/// What has gone through a lab since it was first asked for.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Tally {
    /// When, from the beginning of the lab.
    pub at: Time,
    /// The hosts, in the topology's order.
    pub hosts: Vec<HostTally>,
    /// The NATs, in the topology's order.
    pub nats: Vec<NatTally>,
}

/// What a host has sent and got. A segment that was left for others to cut is one packet.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct HostTally {
    /// Its name.
    pub name: String,
    /// Packets that came to it.
    pub packets_in: u64,
    /// Their bytes, IP headers included.
    pub bytes_in: u64,
    /// Packets that it sent.
    pub packets_out: u64,
    /// Their bytes.
    pub bytes_out: u64,
}

/// What a NAT has, and what it has dropped, its links included.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct NatTally {
    /// Its name.
    pub name: String,
    /// Its mappings now.
    pub mappings: usize,
    /// Packets that were dropped there, by reason.
    pub drops: BTreeMap<DropReason, u64>,
}

/// The counts of one node.
#[derive(Clone, Debug, Default)]
struct Count {
    packets_in: u64,
    bytes_in: u64,
    packets_out: u64,
    bytes_out: u64,
    drops: BTreeMap<DropReason, u64>,
}

/// The counts of a world.
#[derive(Clone, Default)]
pub(super) struct Counts(Rc<RefCell<Vec<Count>>>);

impl Counts {
    /// What counts, and hands on to who observed before.
    pub(super) fn observer(&self, next: Option<Box<dyn Observer>>) -> Box<dyn Observer> {
        Box::new(Counting { counts: self.clone(), next })
    }

    fn of(&self, node: Option<NodeId>) -> Count {
        node.and_then(|node| self.0.borrow().get(node.0 as usize).cloned()).unwrap_or_default()
    }
}

struct Counting {
    counts: Counts,
    next: Option<Box<dyn Observer>>,
}

impl Observer for Counting {
    fn note(&mut self, note: &Note<'_>) {
        self.count(note);
        if let Some(next) = &mut self.next {
            next.note(note);
        }
    }
}

impl Counting {
    fn count(&self, note: &Note<'_>) {
        let mut counts = self.counts.0.borrow_mut();
        let index = note.node.0 as usize;
        if counts.len() <= index {
            counts.resize(index + 1, Count::default());
        }
        let count = &mut counts[index];
        let length = |packet: PacketRef<'_>| packet.bytes.len() as u64;
        let mut dropped = |reason| *count.drops.entry(reason).or_default() += 1;
        match note.event {
            Event::Sent { packet, fate, .. } => {
                if let LinkFate::Dropped(reason) = fate {
                    dropped(reason);
                }
                count.packets_out += 1;
                count.bytes_out += length(packet);
            }
            Event::Received { packet, outcome, .. } => {
                outcome_dropped(outcome).into_iter().for_each(&mut dropped);
                count.packets_in += 1;
                count.bytes_in += length(packet);
            }
            Event::Released { outcome, .. } => outcome_dropped(outcome).into_iter().for_each(&mut dropped),
            Event::Dropped { reason, .. } => dropped(reason),
            _ => {}
        }
    }
}

fn outcome_dropped(outcome: Outcome) -> Option<DropReason> {
    match outcome {
        Outcome::Refused(refusal) => Some(refusal.reason),
        Outcome::Dropped(reason) => Some(reason),
        _ => None,
    }
}

impl Lively {
    fn tally(&mut self) -> Tally {
        let counts = self.counts();
        let world = &self.built.world;
        let hosts = self.plan.hosts.iter().map(|host| {
            let Count { packets_in, bytes_in, packets_out, bytes_out, .. } = counts.of(self.built.node(&host.name));
            HostTally { name: host.name.clone(), packets_in, bytes_in, packets_out, bytes_out }
        });
        let nats = self.plan.nats.iter().map(|nat| {
            let node = self.built.node(&nat.name);
            let mappings = node.map_or(0, |node| world.mappings(node).len());
            NatTally { name: nat.name.clone(), mappings, drops: counts.of(node).drops }
        });
        Tally { at: world.now(), hosts: hosts.collect(), nats: nats.collect() }
    }
}

impl LiveLab {
    /// What has gone through the lab since this was first asked.
    ///
    /// # Errors
    /// [`LiveError::Stopped`] if the world has.
    pub fn tally(&self) -> Result<Tally, LiveError> {
        self.world.ask(Lively::tally)
    }
}

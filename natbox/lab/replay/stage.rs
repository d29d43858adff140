//! The machines of a replay: they send what is written, when it is written, and take whatever comes.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::rc::Rc;
use std::task::Waker;

use natbox_wire::{DropReason, Packet, Time};
use natbox_world::note::NodeId;
use natbox_world::{Arrived, InterfaceId, Outside};

use super::Exit;
use super::past::{Past, Piece, exit_at};
use crate::build::Built;
use crate::record::{Log, Recorder, Step};

/// What is known of the replay so far.
pub(super) struct Told {
    /// The unit of each packet of the replay.
    units: BTreeMap<u64, usize>,
    /// The external endpoints that each unit was given.
    exits: Vec<Vec<Exit>>,
    /// Where units were sent that were not sent to where they went.
    pub(super) sent_to: BTreeMap<usize, SocketAddr>,
    /// Records that have been read.
    read: usize,
    /// What was sent last: its packet is the next new one of this node.
    last: Option<(NodeId, usize)>,
    /// The NAT of each outside.
    outsides: BTreeMap<InterfaceId, String>,
    nodes: BTreeMap<InterfaceId, NodeId>,
}

impl Told {
    pub(super) fn new(past: &Past, built: &Built) -> Told {
        let mut outsides = BTreeMap::new();
        let mut nodes = BTreeMap::new();
        for (id, interface) in built.names.interfaces() {
            nodes.insert(id, interface.node);
            if let Some((nat, "outside")) = interface.name.rsplit_once(':') {
                outsides.insert(id, nat.to_owned());
            }
        }
        let exits = vec![Vec::new(); past.units.len()];
        Told { units: BTreeMap::new(), exits, sent_to: BTreeMap::new(), read: 0, last: None, outsides, nodes }
    }

    /// The unit of a packet of the replay.
    pub(super) fn unit_of(&self, packet: u64) -> Option<usize> {
        self.units.get(&packet).copied()
    }

    /// Reads what has happened since.
    pub(super) fn catch_up(&mut self, log: &Log) {
        for record in &log.records()[self.read..] {
            let Some(sighting) = record.sighting() else { continue };
            let id = sighting.id.0;
            if let Some((node, unit)) = self.last
                && node == record.node
                && !self.units.contains_key(&id)
                && matches!(sighting.step, Step::Sent(_) | Step::Dropped(_))
            {
                self.units.insert(id, unit);
                self.last = None;
            }
            let (Step::Sent(_), Some(interface), Ok(facts)) = (sighting.step, sighting.interface, &sighting.facts)
            else {
                continue;
            };
            if let (Some(unit), Some(nat)) = (self.units.get(&id), self.outsides.get(&interface))
                && sighting.beyond.is_some_and(|beyond| beyond.source != facts.source)
            {
                self.exits[*unit].push(Exit { nat: nat.clone(), external: facts.source });
            }
        }
        self.read = log.records().len();
    }
}

/// The machines.
pub(super) struct Stage {
    past: Past,
    next: usize,
    recorder: Recorder,
    told: Rc<RefCell<Told>>,
}

impl Stage {
    pub(super) fn new(past: Past, recorder: Recorder, told: Rc<RefCell<Told>>) -> Stage {
        Stage { past, next: 0, recorder, told }
    }

    /// The piece's bytes, to where they go now.
    fn bytes(&self, piece: &Piece) -> Vec<u8> {
        let unit = &self.past.units[piece.unit];
        let mut told = self.told.borrow_mut();
        let Some(towards) = &unit.towards else { return piece.bytes.clone() };
        let Some(exit) = exit_at(&told.exits[towards.unit], &towards.nat) else { return piece.bytes.clone() };
        let external = exit.external;
        if Some(external) == unit.destination {
            return piece.bytes.clone();
        }
        let Ok(mut packet) = Packet::parse(piece.bytes.clone()) else { return piece.bytes.clone() };
        packet.rewrite_destination(external);
        told.sent_to.insert(piece.unit, external);
        packet.into_bytes()
    }
}

impl Outside for Stage {
    fn deliver(&mut self, _interface: InterfaceId, _packet: &Packet) -> Result<(), DropReason> {
        Ok(())
    }

    /// One packet at a time, so that each is told from the others.
    fn wait(&mut self, deadline: Time, arrived: &mut Vec<Arrived>) -> Time {
        self.told.borrow_mut().catch_up(&self.recorder.log());
        let pieces = self.past.pieces.clone();
        let Some(piece) = pieces.get(self.next).filter(|piece| piece.at <= deadline) else { return deadline };
        self.next += 1;
        arrived.push(Arrived { interface: piece.interface, bytes: self.bytes(piece), offload: piece.offload });
        let mut told = self.told.borrow_mut();
        told.last = told.nodes.get(&piece.interface).map(|node| (*node, piece.unit));
        piece.at
    }

    fn alarm(&self) -> Waker {
        Waker::noop().clone()
    }
}

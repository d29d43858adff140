//! Into a node: parse, let the node decide, note the packet as received, and only then send on what follows from it.
//!
//! The packet's bytes are copied for the note only where the node rewrites or keeps them, and only for an observer.

use natbox_wire::{DropReason, Offload, Packet};

use super::{Body, Flight, Place, State};
use crate::gateway::Held;
use crate::note::{Event, InterfaceId, NodeId, Outcome, PacketId, PacketRef};
use crate::router::{self, Reply, Step};

/// A packet that came, but for its bytes.
#[derive(Clone, Copy)]
pub(super) struct Arrival {
    pub(super) node: NodeId,
    pub(super) through: InterfaceId,
    pub(super) id: PacketId,
    pub(super) cause: Option<PacketId>,
}

impl State {
    /// A packet at the end of a link.
    pub(super) fn arrive(&mut self, place: Place, flight: Flight) {
        let (node, through) = match place {
            Place::Core(through) => match self.fabric.core(self.fabric.interface(through).network) {
                Some(node) => (node, through),
                None => return,
            },
            Place::Node(through) => (self.fabric.interface(through).node, through),
            Place::Switch(from, to) => return self.switch(from, to, flight),
        };
        let arrival = Arrival { node, through, id: flight.id, cause: flight.cause };
        match Packet::parse(flight.bytes) {
            Ok(packet) => self.receive(arrival, packet.with_offload(flight.offload)),
            Err(malformed) => self.note_received(arrival, &malformed.bytes, Outcome::Dropped(malformed.reason)),
        }
    }

    fn receive(&mut self, arrival: Arrival, packet: Packet) {
        match self.node(arrival.node).body {
            Body::Core => self.core_receives(arrival, packet),
            Body::Gateway(_) => self.gateway_receives(arrival, packet),
            Body::Host(_) => self.host_receives(arrival, packet),
            Body::Outlet => self.outlet_receives(arrival, packet),
        }
    }

    fn core_receives(&mut self, arrival: Arrival, mut packet: Packet) {
        let network = self.fabric.interface(arrival.through).network;
        let step = router::core(&self.fabric, network, &packet);
        let step = match step.part {
            None => step,
            Some(part) => self.take_part(arrival, part, packet.clone(), step),
        };
        self.note_received(arrival, packet.bytes(), step.outcome);
        if let Some(hop) = step.onward {
            packet.decrement_ttl();
            self.send(arrival.node, hop, arrival.id, arrival.cause, packet);
        }
        if let Some(answer) = step.answer {
            self.reply(arrival.node, arrival.through, arrival.id, answer);
        }
    }

    fn gateway_receives(&mut self, arrival: Arrival, mut packet: Packet) {
        self.expire(arrival.node, self.now);
        if self.is_for_machine(arrival.node, arrival.through, &packet) {
            return self.delivered_to(arrival, 0, packet);
        }
        self.keep(&packet);
        let Body::Gateway(gateway) = &mut self.nodes[arrival.node.0 as usize].body else { return };
        let mut step = gateway.receive(&self.fabric, arrival.through, &mut packet, self.now);
        if let Some(part) = step.part {
            step = self.take_part(arrival, part, packet.clone(), step);
        }
        let Body::Gateway(gateway) = &mut self.nodes[arrival.node.0 as usize].body else { return };
        if let Some(hold) = step.hold {
            let bytes = if self.observer.is_some() { self.scratch.clone() } else { Vec::new() };
            gateway.hold(hold, Held::new(arrival.through, arrival.id, arrival.cause, &packet, bytes));
        }
        self.note_kept(arrival, step.outcome);
        self.follow(arrival, packet, step);
        self.depart(arrival.node);
        self.set_timer(arrival.node);
    }

    /// What follows from a gateway's decision.
    pub(super) fn follow(&mut self, arrival: Arrival, packet: Packet, step: Step) {
        if let Some(hop) = step.onward {
            self.send(arrival.node, hop, arrival.id, arrival.cause, packet);
        }
        if let Some(answer) = step.answer {
            self.reply(arrival.node, arrival.through, arrival.id, answer);
        }
    }

    /// What a router says about a packet that came through an interface.
    pub(super) fn reply(&mut self, node: NodeId, through: InterfaceId, cause: PacketId, reply: Reply) {
        let id = self.new_packet();
        match reply {
            Reply::Sent(packet) => {
                let hop = match self.node(node).body {
                    Body::Core => {
                        let network = self.fabric.interface(through).network;
                        router::core_hop(&self.fabric, network, packet.destination())
                    }
                    _ => self.fabric.next_hop(through, packet.destination()),
                };
                self.originate(node, hop, id, cause, packet);
            }
            Reply::Withheld(packet) => {
                let packet = PacketRef { id, cause: Some(cause), bytes: packet.bytes() };
                self.note_dropped(node, packet, DropReason::RateLimited);
            }
        }
    }

    fn host_receives(&mut self, arrival: Arrival, packet: Packet) {
        let uplink = arrival.through.0 - self.node(arrival.node).first_interface;
        self.delivered_to(arrival, uplink as usize, packet);
    }

    /// A packet for the sockets of a host or of a gateway's own machine.
    fn delivered_to(&mut self, arrival: Arrival, uplink: usize, packet: Packet) {
        if packet.offload() != Offload::NONE {
            return packet.into_wire().into_iter().for_each(|piece| self.delivered_to(arrival, uplink, piece));
        }
        self.keep(&packet);
        let now = self.now;
        let outcome = self.host(arrival.node).stack.receive(uplink, packet, arrival.id, now);
        self.note_kept(arrival, outcome);
        self.flush(arrival.node);
    }

    /// Keeps a packet's bytes for its note.
    fn keep(&mut self, packet: &Packet) {
        if self.observer.is_some() {
            self.scratch.clear();
            self.scratch.extend_from_slice(packet.bytes());
        }
    }

    fn note_kept(&mut self, arrival: Arrival, outcome: Outcome) {
        if self.observer.is_some() {
            let bytes = std::mem::take(&mut self.scratch);
            self.note_received(arrival, &bytes, outcome);
            self.scratch = bytes;
        }
    }

    fn note_received(&mut self, arrival: Arrival, bytes: &[u8], outcome: Outcome) {
        let packet = PacketRef { id: arrival.id, cause: arrival.cause, bytes };
        self.note(arrival.node, Event::Received { interface: arrival.through, packet, outcome });
    }
}

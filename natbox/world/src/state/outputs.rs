//! What a gateway's NAT does of its own accord, brought on its way.
//!
//! A packet that was held keeps its number and its cause, and is noted as it came. A packet of the NAT's own making is a
//! new one, caused by none: it is about a session, not about a packet.

use natbox_wire::{DropReason, Time};

use super::arrive::Arrival;
use super::{Body, State};
use crate::gateway::{Departure, Gateway, Held};
use crate::note::{Event, NodeId, Outcome, PacketRef};

impl State {
    /// Lets go what a gateway's NAT releases, discards and makes.
    pub(super) fn depart(&mut self, node: NodeId) {
        while let Some(departure) = self.next_departure(node) {
            match departure {
                Departure::Held(held, packet, step) => {
                    let Held { through, id, cause, ref bytes, .. } = *held;
                    let bytes = if bytes.is_empty() { packet.bytes() } else { bytes };
                    let arrival = Arrival { node, through, id, cause };
                    let step = match step.part {
                        None => step,
                        Some(part) => self.take_part(arrival, part, packet.clone(), step),
                    };
                    // What the router itself goes on holding has not been let go.
                    if step.outcome != Outcome::Held {
                        let packet_ref = PacketRef { id, cause, bytes };
                        self.note(node, Event::Released { packet: packet_ref, outcome: step.outcome });
                    }
                    self.follow(arrival, packet, step);
                }
                Departure::Made(through, packet, mapping) => {
                    let id = self.new_packet();
                    let packet_ref = PacketRef { id, cause: None, bytes: packet.bytes() };
                    self.note(node, Event::Made { packet: packet_ref, mapping });
                    self.transmit(node, through, id, None, packet);
                }
            }
        }
    }

    fn next_departure(&mut self, node: NodeId) -> Option<Departure> {
        let Body::Gateway(gateway) = &mut self.nodes[node.0 as usize].body else { return None };
        gateway.next_departure(&self.fabric, self.now)
    }

    /// A gateway has lost its memory, and the packets in it.
    pub(super) fn lose_held(&mut self, node: NodeId) {
        let Some(gateway) = self.gateway(node) else { return };
        for held in std::mem::take(&mut gateway.held).into_values() {
            let packet = PacketRef { id: held.id, cause: held.cause, bytes: &held.bytes };
            self.note(node, Event::Released { packet, outcome: Outcome::Dropped(DropReason::Rebooted) });
        }
    }

    /// Sets the timer by which a gateway lets packets go, if it has any to let go and is not set for earlier.
    pub(super) fn set_wake(&mut self, node: NodeId) {
        let due = match &self.node(node).body {
            Body::Gateway(gateway) => gateway.nat.poll_wake(),
            _ => None,
        };
        let known = self.node(node).wake;
        let Some(due) = due.map(|due| due.max(self.now)).filter(|due| *due < known) else { return };
        self.node_mut(node).wake = due;
        self.queue.push(due, super::Pending::Departure(node));
    }

    /// The time has come at which a gateway wanted to let packets go; false if it does no more.
    pub(super) fn departure(&mut self, at: Time, node: NodeId) -> bool {
        if self.node(node).wake != at {
            return false;
        }
        self.node_mut(node).wake = Time::MAX;
        let due = self.gateway(node).and_then(|gateway| gateway.nat.poll_wake()).is_some_and(|due| due <= at);
        if due {
            self.now = self.now.max(at);
            self.expire(node, at);
        }
        self.set_timer(node);
        due
    }

    pub(crate) fn gateway_of(&mut self, node: NodeId) -> Option<&mut Gateway> {
        self.gateway(node)
    }

    pub(super) fn gateway(&mut self, node: NodeId) -> Option<&mut Gateway> {
        match &mut self.nodes[node.0 as usize].body {
            Body::Gateway(gateway) => Some(gateway),
            Body::Core | Body::Host(_) | Body::Outlet => None,
        }
    }
}

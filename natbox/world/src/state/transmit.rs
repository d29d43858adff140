//! Out of a node: number the packet, choose its hop, cut it to the MTU, note it as sent, let the link decide its
//! fate, and queue its arrival.

use std::task::Waker;

use natbox_wire::{DropReason, Offload, Packet, Time, build};

use super::{Body, Flight, Pending, Place, State};
use crate::network::Hop;
use crate::note::{Event, InterfaceId, LinkFate, NodeId, PacketId, PacketRef};

impl State {
    /// Sends what a host's sockets want sent, notes what they dropped, wakes who waits for them, and sets the host's
    /// timer.
    pub(super) fn flush(&mut self, node: NodeId) {
        if self.host(node).stack.has_output() {
            self.drain(node);
        }
        self.set_timer(node);
    }

    fn drain(&mut self, node: NodeId) {
        while let Some(outgoing) = self.host(node).stack.outbox() {
            let id = self.new_packet();
            let through = self.uplink_of(node, outgoing.uplink as u32);
            self.transmit(node, through, id, outgoing.cause, outgoing.packet);
        }
        while let Some((packet, id, reason)) = self.host(node).stack.drops() {
            let id = id.unwrap_or_else(|| self.new_packet());
            self.note_dropped(node, PacketRef { id, cause: None, bytes: packet.bytes() }, reason);
        }
        // An executor's waker only marks its task as ready: no program runs here.
        let mut wakes = self.host(node).stack.take_wakes();
        self.woken |= !wakes.is_empty();
        wakes.drain(..).for_each(Waker::wake);
        self.host(node).stack.keep_wakes(wakes);
    }

    /// A packet of a node's own: a host's, or a gateway's answer.
    pub(super) fn transmit(
        &mut self,
        node: NodeId,
        through: InterfaceId,
        id: PacketId,
        cause: Option<PacketId>,
        packet: Packet,
    ) {
        let hop = self.fabric.next_hop(through, packet.destination());
        self.send_or_drop(node, hop, id, cause, packet);
    }

    /// Sends a packet of a node's own, or notes why it cannot be sent.
    pub(super) fn send_or_drop(
        &mut self,
        node: NodeId,
        hop: Result<Hop, DropReason>,
        id: PacketId,
        cause: Option<PacketId>,
        packet: Packet,
    ) {
        match hop {
            Ok(hop) => self.send(node, hop, id, cause, packet),
            Err(reason) => self.note_dropped(node, PacketRef { id, cause, bytes: packet.bytes() }, reason),
        }
    }

    /// Sends a packet on its next hop, in as many fragments as that takes.
    pub(super) fn send(&mut self, node: NodeId, hop: Hop, id: PacketId, cause: Option<PacketId>, packet: Packet) {
        let mtu_bytes = self.fabric.mtu_bytes(hop);
        let whole = packet.offload().segment_bytes.is_none() || self.fabric.carries_whole(hop);
        if whole && packet.largest_bytes() <= mtu_bytes {
            return self.cross(node, hop, Flight::new(id, cause, packet));
        }
        if packet.offload() != Offload::NONE {
            return packet.into_wire().into_iter().for_each(|piece| self.send(node, hop, id, cause, piece));
        }
        // IPv6 packets, which say so, and IPv4 packets that forbid it are not fragmented on the way (RFC 8200 4.5).
        let whole = self.observer.is_some().then(|| packet.bytes().to_vec());
        let fragments = if packet.dont_fragment() { None } else { build::fragments(packet, mtu_bytes, 0) };
        let Some(fragments) = fragments else {
            let bytes = whole.as_deref().unwrap_or_default();
            return self.note_dropped(node, PacketRef { id, cause, bytes }, DropReason::TooBig);
        };
        for fragment in fragments {
            self.cross(node, hop, Flight::new(id, cause, fragment));
        }
    }

    /// Puts a packet on its first link.
    pub(super) fn cross(&mut self, node: NodeId, hop: Hop, flight: Flight) {
        let (link, length_bytes) = (hop.link(), flight.bytes.len());
        let mut fate = match self.is_crowded(&flight) {
            true => LinkFate::Dropped(DropReason::QueueFull),
            false => self.fabric.carry(link, length_bytes, self.now),
        };
        let mut place = match hop {
            Hop::ToCore(interface) => Place::Core(interface),
            Hop::FromCore(interface) => Place::Node(interface),
            Hop::Across { from, to } => Place::Switch(from, to),
        };
        // At the switch at once: its second link is decided here too, and one event is saved.
        if let (Place::Switch(_, Some(to)), LinkFate::Carried { arrives }) = (place, fate)
            && arrives == self.now
        {
            fate = self.fabric.carry((to, crate::link::Direction::Down), length_bytes, self.now);
            place = Place::Node(to);
        }
        self.statistics.sent += 1;
        self.note(node, Event::Sent { interface: link.0, packet: flight.packet_ref(), fate });
        self.launch(fate, place, flight);
    }

    /// At the switch: on, to one or to all the others.
    pub(super) fn switch(&mut self, from: InterfaceId, to: Option<InterfaceId>, flight: Flight) {
        let Some(to) = to else {
            return self.flood(from, &flight);
        };
        self.last_stretch(to, flight);
    }

    fn flood(&mut self, from: InterfaceId, flight: &Flight) {
        let network = self.fabric.interface(from).network;
        let mut next = 0;
        while let Some(to) = self.fabric.network(network).attached(next) {
            next += 1;
            if to != from && self.fabric.joins(from, to) {
                self.last_stretch(to, flight.clone());
            }
        }
    }

    fn last_stretch(&mut self, to: InterfaceId, flight: Flight) {
        let fate = self.fabric.carry((to, crate::link::Direction::Down), flight.bytes.len(), self.now);
        if let LinkFate::Dropped(reason) = fate {
            let node = self.fabric.interface(to).node;
            self.note_dropped(node, flight.packet_ref(), reason);
        }
        self.launch(fate, Place::Node(to), flight);
    }

    /// Queues what a link lets through.
    fn launch(&mut self, fate: LinkFate, place: Place, mut flight: Flight) {
        if let LinkFate::Carried { arrives } = fate {
            match self.at_once(arrives, place, flight) {
                Ok(()) => return,
                Err(later) => flight = later,
            }
        }
        match fate {
            LinkFate::Carried { arrives } => self.enqueue(arrives, place, flight),
            LinkFate::Duplicated { arrives, again } => {
                self.enqueue(arrives, place, flight.clone());
                self.enqueue(again, place, flight);
            }
            LinkFate::Dropped(_) => {}
        }
    }

    fn enqueue(&mut self, arrives: Time, place: Place, flight: Flight) {
        if let Some(door) = &mut self.door {
            door.flying_bytes += flight.bytes.capacity();
        }
        self.queue.push(arrives, Pending::Arrival(place, flight));
    }

    /// Bytes sent from an interface as if its node had sent them, well-formed or not.
    pub(crate) fn inject(&mut self, through: InterfaceId, bytes: Vec<u8>) -> PacketId {
        let id = self.new_packet();
        let node = self.fabric.interface(through).node;
        let flight = Flight { id, cause: None, bytes, offload: Offload::NONE };
        match self.fabric.raw_hop(through, &flight.bytes) {
            Ok(hop) if flight.bytes.len() > self.fabric.mtu_bytes(hop) => {
                self.note_dropped(node, flight.packet_ref(), DropReason::TooBig);
            }
            Ok(hop) => self.cross(node, hop, flight),
            Err(reason) => self.note_dropped(node, flight.packet_ref(), reason),
        }
        id
    }

    /// The next packet's number.
    pub(super) fn new_packet(&mut self) -> PacketId {
        self.statistics.packets += 1;
        PacketId(self.statistics.packets)
    }

    /// Tells the observer, if there is one.
    pub(super) fn note(&mut self, node: NodeId, event: Event<'_>) {
        if let Some(observer) = &mut self.observer {
            observer.note(&crate::note::Note { at: self.now, node, event });
        }
    }

    pub(super) fn note_dropped(&mut self, node: NodeId, packet: PacketRef<'_>, reason: DropReason) {
        self.note(node, Event::Dropped { packet, reason });
    }

    pub(super) fn host(&mut self, node: NodeId) -> &mut super::Host {
        match &mut self.node_mut(node).body {
            Body::Host(host) => host,
            Body::Gateway(gateway) if gateway.machine.is_some() => gateway.machine_host(),
            _ => panic!("{node:?} is no host"),
        }
    }
}

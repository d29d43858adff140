//! A world at wall-clock speed: outlets to machines that are not simulated, and waiting instead of jumping.

use natbox_wire::{DropReason, Packet, Time};

use super::arrive::Arrival;
use super::{Body, Flight, Place, State};
use crate::note::{Event, Outcome, PacketRef};
use crate::outside::{Arrived, Outside};

/// How many bytes may be on the way in a world that cannot stop to say that they are too many.
const FLYING_LIMIT_BYTES: usize = 256 << 20;

/// Packets are waited for so many times in a row before all programs are asked whether they can go on.
const ROUNDS: usize = 64;

/// What a world at wall-clock speed has beside the others.
pub(crate) struct Door {
    pub(crate) outside: Box<dyn Outside>,
    /// What has come and has not had its turn, the first one last.
    arrived: Vec<Arrived>,
    /// What arrives now, before all that the queue holds: it need not go through the queue.
    next: Option<(Place, Flight)>,
    /// Memory of all packets in the queue, in bytes.
    pub(super) flying_bytes: usize,
}

impl Door {
    pub(crate) fn new(outside: Box<dyn Outside>) -> Door {
        Door { outside, arrived: Vec::new(), next: None, flying_bytes: 0 }
    }
}

impl State {
    /// A packet for a machine outside.
    pub(super) fn outlet_receives(&mut self, arrival: Arrival, mut packet: Packet) {
        packet.restate_partial_checksum();
        let outcome = match &mut self.door {
            None => Outcome::Dropped(DropReason::NoNeighbour),
            Some(door) => match door.outside.deliver(arrival.through, &packet) {
                Ok(()) => Outcome::Delivered,
                Err(reason) => Outcome::Dropped(reason),
            },
        };
        let packet_ref = PacketRef { id: arrival.id, cause: arrival.cause, bytes: packet.bytes() };
        self.note(arrival.node, Event::Received { interface: arrival.through, packet: packet_ref, outcome });
        if let Some(door) = &mut self.door {
            door.outside.reuse(packet.into_bytes());
        }
    }

    /// Lets what is due happen and waits for the next event, for `deadline`, for machines outside or for the alarm: again and
    /// again, until a program has been woken, the wait has ended for another reason than packets, or whoever was woken from
    /// outside has waited long enough. False if `deadline` has come.
    pub(super) fn live(&mut self, deadline: Time, woken: &dyn Fn() -> bool) -> bool {
        self.pace.event();
        self.happen_until(self.now.min(deadline), woken);
        for _ in 0..ROUNDS {
            // One packet at a time, and all that it brings about now: it stays in the processor's cache.
            while !self.woken && !woken() {
                let Some(arrived) = self.door.as_mut().and_then(|door| door.arrived.pop()) else { break };
                self.enter(arrived);
                self.happen_until(self.now.min(deadline), woken);
            }
            let Some(door) = &mut self.door else { return false };
            door.outside.flush();
            if self.woken || woken() {
                return true;
            }
            if self.now >= deadline {
                return false;
            }
            let until = self.queue.next_time().map_or(deadline, |at| at.min(deadline));
            let now = door.outside.wait(until, &mut door.arrived);
            door.arrived.reverse();
            let nothing_came = door.arrived.is_empty();
            self.happen_until(now.min(deadline), woken);
            self.now = self.now.max(now);
            if nothing_came {
                break;
            }
        }
        true
    }

    /// Lets events happen up to `now`, or until a program has been woken.
    fn happen_until(&mut self, now: Time, woken: &dyn Fn() -> bool) {
        while !self.woken && !woken() {
            if let Some((place, flight)) = self.door.as_mut().and_then(|door| door.next.take()) {
                self.arrive(place, flight);
                self.statistics.events += 1;
                continue;
            }
            let Some((at, pending)) = self.queue.pop_until(now) else { break };
            let happened = self.happen(at, pending);
            self.statistics.events += u64::from(happened);
        }
    }

    /// Takes the way past the queue, if a packet arrives now and nothing else is due before it; gives it back if not.
    pub(super) fn at_once(&mut self, arrives: Time, place: Place, flight: Flight) -> Result<(), Flight> {
        let Some(door) = &mut self.door else { return Err(flight) };
        if arrives > self.now || door.next.is_some() || self.queue.next_time().is_some_and(|at| at <= arrives) {
            return Err(flight);
        }
        door.next = Some((place, flight));
        Ok(())
    }

    /// What a machine outside has sent.
    fn enter(&mut self, arrived: Arrived) {
        let node = self.fabric.interface(arrived.interface).node;
        if !matches!(self.node(node).body, Body::Outlet) {
            return;
        }
        match Packet::parse(arrived.bytes) {
            Ok(packet) => {
                let id = self.new_packet();
                self.transmit(node, arrived.interface, id, None, packet.with_offload(arrived.offload));
            }
            Err(malformed) => {
                let id = self.new_packet();
                let packet = PacketRef { id, cause: None, bytes: &malformed.bytes };
                self.note_dropped(node, packet, malformed.reason);
            }
        }
    }

    /// Whether a packet would be one too many on the way, in a world that goes on whatever happens.
    pub(super) fn is_crowded(&self, flight: &Flight) -> bool {
        self.door.as_ref().is_some_and(|door| {
            self.queue.is_over(self.pending_limit.saturating_sub(1))
                || door.flying_bytes.saturating_add(flight.bytes.capacity()) > FLYING_LIMIT_BYTES
        })
    }
}

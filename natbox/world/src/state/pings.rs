//! Pings in fragments to routers: taken, answered when they are whole, given up in time.
//!
//! A fragment is noted as held when it comes; the one that completes the ping as delivered, and the answer is on its account.
//! One that turns out to be of no ping is noted as what the router would have made of it at once.

use natbox_wire::{DropReason, IcmpError, Packet, Time, build};

use super::arrive::Arrival;
use super::{Body, Pending, State};
use crate::network::Hop;
use crate::note::{Event, NodeId, Outcome, PacketId, PacketRef};
use crate::pings::{Collected, Lost, Part, Pings};
use crate::router::{self, Reply, Step};

/// What a router keeps of pings to itself.
#[derive(Default)]
pub(crate) struct RouterPings {
    pings: Pings<Kept>,
    /// When the timer is set for, if it is.
    timer: Option<Time>,
    /// Answers so far: the last one's number.
    answers: u16,
}

/// What is known of a fragment.
pub(super) struct Kept {
    arrival: Arrival,
    /// What becomes of it if it is of no ping.
    otherwise: Outcome,
}

impl State {
    /// Takes a fragment that may be of a ping to this router. `packet` is as it came, `step` what else becomes of it.
    pub(super) fn take_part(&mut self, arrival: Arrival, part: Part, packet: Packet, step: Step) -> Step {
        let now = self.now;
        self.give_up_pings(arrival.node, now);
        let known = self.node_mut(arrival.node).pings.get_or_insert_default();
        let kept = Kept { arrival, otherwise: step.outcome };
        let step = match known.pings.receive(part, packet, kept, now) {
            Collected::Held => Step::silent(Outcome::Held),
            Collected::Whole(whole) => self.answer_whole(arrival.node, &whole),
            Collected::Refused => step,
            Collected::Dropped(reason) => Step::silent(Outcome::Dropped(reason)),
        };
        self.tell_lost_pings(arrival.node);
        self.set_pings_timer(arrival.node);
        step
    }

    /// What a router says to a whole message.
    fn answer_whole(&mut self, node: NodeId, whole: &Packet) -> Step {
        let (now, known) = (self.now, &mut self.nodes[node.0 as usize]);
        match &mut known.body {
            Body::Gateway(gateway) => gateway.local(whole, now),
            _ => {
                let mut step = router::local(whole);
                // Answers in fragments that had one number could not be told apart.
                if let (Some(Reply::Sent(answer)), Some(pings)) = (&mut step.answer, &mut known.pings) {
                    pings.answers = pings.answers.wrapping_add(1);
                    answer.rewrite_identification(pings.answers);
                }
                step
            }
        }
    }

    /// Sends a router's own packet: as its source it may cut IPv6 too (RFC 8200 section 4.5).
    pub(super) fn originate(
        &mut self,
        node: NodeId,
        hop: Result<Hop, DropReason>,
        id: PacketId,
        cause: PacketId,
        packet: Packet,
    ) {
        let mtu_bytes = hop.map_or(usize::MAX, |hop| self.fabric.mtu_bytes(hop));
        if packet.is_ipv6()
            && packet.bytes().len() > mtu_bytes
            && let Some(pieces) = build::fragments(packet.clone(), mtu_bytes, id.0 as u32)
        {
            return pieces.into_iter().for_each(|piece| self.send_or_drop(node, hop, id, Some(cause), piece));
        }
        self.send_or_drop(node, hop, id, Some(cause), packet);
    }

    /// The timer of a router's pings. It may have been moved.
    pub(super) fn pings_timer(&mut self, at: Time, node: NodeId) -> bool {
        let Some(known) = self.node_mut(node).pings.as_deref_mut().filter(|known| known.timer == Some(at)) else {
            return false;
        };
        known.timer = None;
        let due = known.pings.poll_timeout().is_some_and(|due| due <= at);
        if due {
            self.now = self.now.max(at);
            self.give_up_pings(node, at);
        }
        self.set_pings_timer(node);
        due
    }

    /// A router has lost its memory.
    pub(super) fn lose_pings(&mut self, node: NodeId) {
        if let Some(known) = self.node_mut(node).pings.as_deref_mut() {
            known.pings.forget(DropReason::Rebooted);
            self.tell_lost_pings(node);
        }
    }

    fn give_up_pings(&mut self, node: NodeId, now: Time) {
        if let Some(known) = self.node_mut(node).pings.as_deref_mut() {
            known.pings.handle_timeout(now);
            self.tell_lost_pings(node);
        }
    }

    /// Tells of the fragments that were given up, and their senders where that is owed.
    fn tell_lost_pings(&mut self, node: NodeId) {
        let Some(known) = self.node_mut(node).pings.as_deref_mut() else { return };
        for Lost { packet, tag: Kept { arrival, otherwise }, reason, owed } in known.pings.take_lost() {
            let outcome = reason.map_or(otherwise, Outcome::Dropped);
            let packet_ref = PacketRef { id: arrival.id, cause: arrival.cause, bytes: packet.bytes() };
            self.note(node, Event::Released { packet: packet_ref, outcome });
            if owed && let Some(error) = self.timed_out(node, &packet) {
                self.reply(node, arrival.through, arrival.id, error);
            }
        }
    }

    /// The error that a router owes for a ping whose first fragment came, and not all others.
    fn timed_out(&mut self, node: NodeId, first: &Packet) -> Option<Reply> {
        let now = self.now;
        match self.gateway(node) {
            Some(gateway) => gateway.timed_out(first, now),
            None => build::icmp_error(IcmpError::ReassemblyTimeExceeded, first.destination(), first).map(Reply::Sent),
        }
    }

    fn set_pings_timer(&mut self, node: NodeId) {
        let Some(known) = self.nodes[node.0 as usize].pings.as_deref_mut() else { return };
        let Some(due) = known.pings.poll_timeout() else { return };
        if known.timer.is_none_or(|timer| due < timer) {
            known.timer = Some(due);
            self.queue.push(due, Pending::Pings(node));
        }
    }
}

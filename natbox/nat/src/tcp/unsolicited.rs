//! What becomes of packets from outside that nobody asked for, and of segments of no session (RFC 5382 REQ-4 and
//! section 5, RFC 6092 section 3.3.1).
//!
//! A SYN may be held: its sender learns of the refusal only when the time is over in which a simultaneous open could
//! still explain it. A SYN from inside for the same connection ends the wait in silence: the sender will repeat its
//! own. Copies of a held SYN change nothing. What does not fit is dropped in silence, which REQ-4 allows too.

use std::collections::VecDeque;

use natbox_wire::{DropReason, IcmpError, Packet, Protocol, Time};

use crate::behavior::{Switch, TcpMachine, TcpNoState, UnsolicitedSyn, UnsolicitedUdp};
use crate::classify::Flow;
use crate::key::{Address, Endpoint};
use crate::realm::{Realm, Shared};
use crate::timers::Side;
use crate::verdict::{Answer, HoldId, MappingId, Output, Refusal, Verdict};

/// SYNs that one address family holds at most, and their bytes.
const MOST_SYNS: usize = 1024;
const MOST_BYTES: usize = 1 << 18;

/// The SYNs that are being held, oldest first: all wait equally long.
pub(crate) struct HeldSyns<A> {
    queue: VecDeque<HeldSyn<A>>,
    bytes: usize,
    /// When the first one is due; the end of time if there is none.
    next: Time,
}

struct HeldSyn<A> {
    hold: HoldId,
    /// Its destination and its source, as the outside sees them.
    external: Endpoint<A>,
    remote: Endpoint<A>,
    from: Side,
    packet: Packet,
    /// What its sender is told in the end.
    refusal: Refusal,
    due: Time,
}

impl<A> Default for HeldSyns<A> {
    fn default() -> HeldSyns<A> {
        HeldSyns { queue: VecDeque::new(), bytes: 0, next: Time::MAX }
    }
}

impl<A: Address> HeldSyns<A> {
    /// When something will be due.
    pub(crate) fn next_deadline(&self) -> Option<Time> {
        self.queue.front().map(|held| held.due)
    }

    #[inline(always)]
    pub(crate) fn is_due(&self, now: Time) -> bool {
        self.next <= now
    }

    /// Holds nothing for longer than until then.
    pub(crate) fn hasten(&mut self, latest: Time) {
        self.queue.iter_mut().for_each(|held| held.due = held.due.min(latest));
        self.next = self.next_deadline().unwrap_or(Time::MAX);
    }

    fn find(&self, external: Endpoint<A>, remote: Endpoint<A>) -> Option<usize> {
        self.queue.iter().position(|held| held.external == external && held.remote == remote)
    }

    fn has_room_for(&self, packet: &Packet) -> bool {
        self.queue.len() < MOST_SYNS && self.bytes + packet.bytes().len() <= MOST_BYTES
    }

    fn push(&mut self, held: HeldSyn<A>) {
        self.bytes += held.packet.bytes().len();
        self.queue.push_back(held);
        self.next = self.next_deadline().unwrap_or(Time::MAX);
    }

    fn take(&mut self, index: usize) -> Option<HeldSyn<A>> {
        let held = self.queue.remove(index)?;
        self.bytes -= held.packet.bytes().len();
        self.next = self.next_deadline().unwrap_or(Time::MAX);
        Some(held)
    }

    /// A SYN leaves from `external` to `remote`: one that is held for the same connection is forgotten.
    #[cold]
    fn cross(&mut self, nat: &mut Shared, external: Endpoint<A>, remote: Endpoint<A>, mapping: MappingId) {
        if let Some(held) = self.find(external, remote).and_then(|index| self.take(index)) {
            held.discard(nat, Refusal { reason: DropReason::SynCrossed, mapping: Some(mapping), answer: None });
        }
    }

    /// Discards what is due.
    #[cold]
    pub(crate) fn expire(&mut self, nat: &mut Shared, now: Time) {
        while self.is_due(now) {
            let Some(held) = self.take(0) else { return };
            let refusal = held.refusal;
            held.discard(nat, refusal);
        }
    }
}

impl<A> HeldSyn<A> {
    fn discard(self, nat: &mut Shared, refusal: Refusal) {
        let HeldSyn { hold, from, packet, .. } = self;
        nat.output.push_back(Output::Discard { hold, from, packet, refusal });
    }
}

impl<A: Address> Realm<A> {
    /// What becomes of a packet that the inbound half has refused. `flow` is as the outside sees it; `from` is where
    /// the packet really came from.
    #[cold]
    pub(crate) fn unsolicited(
        &mut self,
        nat: &mut Shared,
        packet: &Packet,
        from: Side,
        flow: Flow<A>,
        refusal: Refusal,
        now: Time,
    ) -> Verdict {
        let unwanted =
            matches!(refusal.reason, DropReason::NoMapping | DropReason::Filtered | DropReason::EarlyInbound);
        if unwanted && flow.opens && flow.protocol == Protocol::Tcp {
            return self.unsolicited_syn(nat, packet, from, flow, refusal, now);
        }
        // What Linux does not translate for being invalid is for the box itself, like what no mapping wants.
        let invalid = matches!(refusal.reason, DropReason::InvalidSegment | DropReason::OutOfWindow)
            && nat.behavior.tcp_machine == TcpMachine::Netfilter;
        let stray = refusal.reason == DropReason::NoSession;
        let answer = if unwanted || stray || invalid { told_at_once(nat, packet, flow) } else { None };
        Verdict::Drop(Refusal { answer: answer.or(refusal.answer), ..refusal })
    }

    fn unsolicited_syn(
        &mut self,
        nat: &mut Shared,
        packet: &Packet,
        from: Side,
        flow: Flow<A>,
        refusal: Refusal,
        now: Time,
    ) -> Verdict {
        let (answer, waits) = match nat.behavior.unsolicited_syn {
            UnsolicitedSyn::Drop => (None, false),
            UnsolicitedSyn::IcmpNow => (icmp(nat, packet), false),
            UnsolicitedSyn::RstNow => (Some(Answer::Reset), false),
            UnsolicitedSyn::IcmpAfter6s => (icmp(nat, packet), true),
            UnsolicitedSyn::RstAfter => (Some(Answer::Reset), true),
        };
        if !waits {
            return Verdict::Drop(Refusal { answer, ..refusal });
        }
        let (external, remote) = (flow.destination, flow.source);
        if self.syns.find(external, remote).is_some() {
            return Verdict::Drop(Refusal { reason: DropReason::SynHeld, ..refusal });
        }
        if !self.syns.has_room_for(packet) {
            return Verdict::Drop(refusal);
        }
        let (hold, due) = (nat.hold(), now + nat.behavior.timeouts.tcp_inbound_syn);
        let (packet, refusal) = (packet.clone(), Refusal { answer, ..refusal });
        self.syns.push(HeldSyn { hold, external, remote, from, packet, refusal, due });
        Verdict::Hold(hold)
    }

    /// A SYN leaves through a session.
    pub(super) fn cross_syn(&mut self, nat: &mut Shared, session: u32) {
        if self.syns.next < Time::MAX {
            let session = self.table.session(session);
            self.syns.cross(nat, session.external, session.remote, session.id);
        }
    }
}

/// What the sender of a packet is told at once that is for the box itself, which listens to nothing.
pub(crate) fn told_at_once<A>(nat: &Shared, packet: &Packet, flow: Flow<A>) -> Option<Answer> {
    match (flow.protocol, nat.behavior.unsolicited_syn) {
        (Protocol::Udp, _) if nat.behavior.unsolicited_udp == UnsolicitedUdp::Icmp => icmp(nat, packet),
        (Protocol::Tcp, UnsolicitedSyn::RstNow) if !flow.flags.rst => Some(Answer::Reset),
        (Protocol::Tcp, UnsolicitedSyn::IcmpNow) if flow.opens => icmp(nat, packet),
        (Protocol::Tcp, _) if !flow.opens => no_state(nat, flow),
        _ => None,
    }
}

/// The error about an unsolicited packet: port unreachable, and for IPv6 what RFC 6092 section 3.3.1 asks for.
fn icmp(nat: &Shared, packet: &Packet) -> Option<Answer> {
    let error = match packet.is_ipv6() {
        false => IcmpError::PortUnreachable,
        true => IcmpError::AdminProhibited,
    };
    (nat.behavior.icmp_originate == Switch::On).then_some(Answer::Icmp(error))
}

/// What the sender of a segment without a session is told. Nobody resets a RST (RFC 9293 section 3.10.7.1).
pub(super) fn no_state<A>(nat: &Shared, flow: Flow<A>) -> Option<Answer> {
    let stray = flow.protocol == Protocol::Tcp && !flow.flags.rst;
    let resets = stray && nat.behavior.tcp_no_state == TcpNoState::Rst;
    resets.then_some(Answer::Reset)
}

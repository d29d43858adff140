//! What the road of a packet does with segments: the machine, the axes that refuse some, and the mappings that
//! connections get for themselves.

use std::time::Duration;

use natbox_wire::{DropReason, Packet, Protocol, Time};

use crate::behavior::{
    ExpiryNotify, Filtering, Mapping as MappingRule, TcpMachine, TcpNoState, TcpSimultaneousOpen, TcpWindow,
};
use crate::classify::Flow;
use crate::key::Address;
use crate::realm::{Passage, Realm, Shared};
use crate::tcp::unsolicited::no_state;
use crate::tcp::{Entry, Stage, Step, Tcp, Timer, Track, netfilter};
use crate::timers::Side;
use crate::verdict::{MappingEnd, Refusal, refuse};

impl<A: Address> Realm<A> {
    /// A segment from inside, of a known session.
    #[inline(never)]
    pub(crate) fn leave_segment(
        &mut self,
        nat: &mut Shared,
        packet: &Packet,
        index: u32,
        flow: Flow<A>,
        now: Time,
    ) -> Result<Passage, Refusal> {
        let tcp = self.table.session(index).tcp;
        if flow.opens && tcp.is_over() && self.renews(nat) {
            return self.leave_through_another(nat, packet, flow, true, now);
        }
        if tcp.crossed() && flow.flags.syn && flow.flags.ack && self.translates {
            match nat.behavior.tcp_simopen {
                TcpSimultaneousOpen::BlockOutSynack => return Err(self.refusal(index, DropReason::SimultaneousOpen)),
                TcpSimultaneousOpen::MistranslateOutSynack => {
                    return self.leave_through_another(nat, packet, flow, false, now);
                }
                TcpSimultaneousOpen::Ok | TcpSimultaneousOpen::BlockInSyn => {}
            }
        }
        if self.pass_segment(nat, packet, index, Side::Inside, flow, now)? == Passed::Anew {
            self.end_session(nat, index, MappingEnd::Closed);
            let remote = flow.destination.as_remote(flow.protocol);
            return self.leave_anew(nat, packet, flow, remote, now);
        }
        if flow.opens {
            self.cross_syn(nat, index);
        }
        Ok(Passage { session: index, new_mapping: false })
    }

    /// A segment from outside, of a known session that the filter lets in.
    #[inline(never)]
    pub(crate) fn enter_segment(
        &mut self,
        nat: &mut Shared,
        packet: &Packet,
        index: u32,
        flow: Flow<A>,
        judged: bool,
        now: Time,
    ) -> Result<Passage, Refusal> {
        let tcp = self.table.session(index).tcp;
        if judged && flow.opens && tcp.is_over() && nat.behavior.filtering.tcp == Filtering::ConnectionDependent {
            return Err(self.refusal(index, DropReason::Filtered));
        }
        let crosses =
            flow.opens && tcp.opener() == Side::Inside && matches!(tcp.stage(), Stage::Opening | Stage::Crossed);
        if crosses && nat.behavior.tcp_simopen == TcpSimultaneousOpen::BlockInSyn {
            return Err(self.refusal(index, DropReason::SimultaneousOpen));
        }
        if self.pass_segment(nat, packet, index, Side::Outside, flow, now)? == Passed::Anew {
            let refusal = self.refusal(index, DropReason::Filtered);
            self.end_session(nat, index, MappingEnd::Closed);
            return Err(refusal);
        }
        if !self.renews(nat) || self.leader_is_over(index) {
            self.pin(nat, index);
        }
        Ok(Passage { session: index, new_mapping: false })
    }

    /// A segment of no session, from inside: whether it may open one.
    pub(crate) fn may_open(&self, nat: &Shared, flow: Flow<A>) -> Result<(), Refusal> {
        let flags = flow.flags;
        let running = flags.ack && !flags.syn && !flags.fin && !flags.rst;
        match flow.protocol {
            Protocol::Tcp if running && nat.behavior.tcp_no_state == TcpNoState::Pickup => Ok(()),
            Protocol::Tcp => Err(Refusal { answer: no_state(nat, flow), ..refuse(DropReason::NoSession) }),
            Protocol::Udp | Protocol::Icmp => Err(refuse(DropReason::NoSession)),
        }
    }

    /// A SYN of no session, from inside: whether it may open one.
    pub(crate) fn may_begin(&self, nat: &Shared, flow: Flow<A>) -> Result<(), Refusal> {
        match nat.behavior.tcp_machine == TcpMachine::Rfc7857 || netfilter::is_sound(flow.flags) {
            true => Ok(()),
            false => Err(refuse(DropReason::InvalidSegment)),
        }
    }

    /// A segment has opened this session.
    pub(crate) fn segment_opened(
        &mut self,
        nat: &mut Shared,
        packet: &Packet,
        index: u32,
        side: Side,
        flow: Flow<A>,
        now: Time,
    ) {
        if !flow.flags.syn {
            self.pick_up(nat, index, side, now);
        } else if flow.opens && side == Side::Inside {
            self.cross_syn(nat, index);
        }
        if side == Side::Inside && self.renews(nat) {
            self.table.hide(self.table.mapping_of(index));
        }
        if nat.behavior.tcp_machine == TcpMachine::Netfilter {
            self.entries.set(index, Entry::begun_by(side, packet, flow.flags));
        }
        if tracks(nat) {
            let mut track = Track::default();
            track.learn(side, packet, flow.flags, true);
            self.tracks.set(index, track);
        }
    }

    /// A session was opened in the middle of a connection.
    fn pick_up(&mut self, nat: &Shared, index: u32, side: Side, now: Time) {
        let stage = match nat.behavior.tcp_machine {
            TcpMachine::Rfc7857 => Stage::PickedUp,
            TcpMachine::Netfilter => Stage::Established,
        };
        self.table.session_mut(index).tcp = Tcp::found_by(side, stage);
        let lifetime = nat.timers.tcp.after(Timer::Short, stage);
        self.table.set_due(index, lifetime.map_or(Time::MAX, |lifetime| now + lifetime));
    }

    /// Steps the machine, or says what refuses the segment.
    fn pass_segment(
        &mut self,
        nat: &mut Shared,
        packet: &Packet,
        index: u32,
        side: Side,
        flow: Flow<A>,
        now: Time,
    ) -> Result<Passed, Refusal> {
        let before = self.table.session(index).tcp;
        let (after, timer) = match self.step(nat, packet, index, side, flow) {
            Step::To(after, timer) => (after, timer),
            Step::Ignored => return Ok(Passed::On),
            Step::Refused(reason) => return Err(self.refusal(index, reason)),
            Step::Doubted(reason) => {
                self.shorten(nat, index, now);
                return Err(self.refusal(index, reason));
            }
            Step::Anew => return Ok(Passed::Anew),
        };
        if tracks(nat) {
            let reopened = before.is_over() && after.stage() == Stage::Opening;
            self.track(nat, packet, index, side, flow, reopened)?;
        }
        self.table.session_mut(index).tcp = after;
        if let Some(lifetime) = nat.timers.tcp.after(timer, after.stage()) {
            self.table.set_deadline(index, now + lifetime);
            self.moved(index);
        }
        if side == Side::Inside && !self.table.session(index).permits() {
            self.table.permit(index);
        }
        Ok(Passed::On)
    }

    /// A connection of which both ends say that it is over, in segments that cannot be believed.
    fn shorten(&mut self, nat: &Shared, index: u32, now: Time) {
        let due = now + nat.behavior.timeouts.tcp_unacknowledged();
        if self.table.session(index).deadline >= (now + SHORT).max(due) {
            self.table.set_due(index, due);
        }
    }

    fn step(&mut self, nat: &Shared, packet: &Packet, index: u32, side: Side, flow: Flow<A>) -> Step {
        let tcp = self.table.session(index).tcp;
        match (nat.behavior.tcp_machine, self.entries.get_mut(index)) {
            (TcpMachine::Netfilter, Some(entry)) => entry.step(tcp, side, packet, flow.flags, nat.behavior.tcp_window),
            _ => tcp.step(side, flow.flags, &nat.behavior),
        }
    }

    /// Looks at a segment's sequence numbers, and remembers them if it may pass.
    #[inline(never)]
    fn track(
        &mut self,
        nat: &Shared,
        packet: &Packet,
        index: u32,
        side: Side,
        flow: Flow<A>,
        reopened: bool,
    ) -> Result<(), Refusal> {
        let stage = self.table.session(index).tcp.stage();
        let opening = reopened || matches!(stage, Stage::Opening | Stage::Crossed | Stage::Partial);
        if reopened || self.tracks.get(index).is_none() {
            self.tracks.set(index, Track::default());
        }
        let Some(track) = self.tracks.get_mut(index) else { return Ok(()) };
        let judged = nat.behavior.tcp_machine == TcpMachine::Rfc7857;
        if judged && !track.admits(nat.behavior.tcp_window, side, packet, flow.flags) {
            return Err(self.refusal(index, DropReason::OutOfWindow));
        }
        track.learn(side, packet, flow.flags, opening);
        Ok(())
    }

    /// Whether every connection gets a mapping of its own.
    pub(crate) fn renews(&self, nat: &Shared) -> bool {
        self.translates && nat.behavior.mapping.tcp == MappingRule::ConnectionDependent
    }

    /// Whether the session that outbound segments of the same endpoints use has ended.
    fn leader_is_over(&self, index: u32) -> bool {
        let session = self.table.session(index);
        let leader = self.table.find_outbound(session.protocol, session.internal, session.remote);
        leader.is_none_or(|leader| self.table.session(leader).tcp.is_over())
    }

    /// A segment from inside leaves through a mapping made for it alone. `leads` tells whether what follows does too.
    fn leave_through_another(
        &mut self,
        nat: &mut Shared,
        packet: &Packet,
        flow: Flow<A>,
        leads: bool,
        now: Time,
    ) -> Result<Passage, Refusal> {
        self.admit_session(nat, flow.source, Side::Inside)?;
        let towards = self.table.towards(flow.protocol, flow.destination);
        let mapping = self.open_mapping(nat, &flow, towards, now)?;
        self.table.hide(mapping);
        let session = self.open_session(nat, mapping, flow.destination, Side::Inside, now);
        if leads {
            self.table.lead(session);
        }
        self.segment_opened(nat, packet, session, Side::Inside, flow, now);
        Ok(Passage { session, new_mapping: true })
    }

    fn refusal(&self, session: u32, reason: DropReason) -> Refusal {
        Refusal { reason, mapping: Some(self.table.session(session).id), answer: None }
    }
}

/// Connections that end sooner than this are not worth shortening (nf_conntrack_proto_tcp.c, nf_tcp_handle_invalid).
const SHORT: Duration = Duration::from_secs(120);

/// How a segment passes.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Passed {
    /// As one of its session.
    On,
    /// As the first of another.
    Anew,
}

/// Whether anybody asks about sequence numbers, apart from the machine of Linux, which sees to that itself.
pub(crate) fn tracks(nat: &Shared) -> bool {
    let judges = nat.behavior.tcp_window != TcpWindow::Off && nat.behavior.tcp_machine == TcpMachine::Rfc7857;
    judges || nat.behavior.expiry_notify == ExpiryNotify::RstBoth
}

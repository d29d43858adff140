//! What the road of a packet does with segments: the machine, the axes that refuse some, and the mappings that
//! connections get for themselves.

use std::time::Duration;

use natbox_wire::{DropReason, Packet, Protocol, Time};

use crate::behavior::{
    ExpiryNotify, Filtering, Mapping as MappingRule, TcpMachine, TcpNoState, TcpSimultaneousOpen, TcpWindow,
};
use crate::classify::Flow;
use crate::key::Address;
use crate::realm::{Passage, Realm, Shared, refuse};
use crate::tcp::netfilter::{Connection, Followed};
use crate::tcp::unsolicited::no_state;
use crate::tcp::{Stage, Tcp, Timer, Track};
use crate::timers::Side;
use crate::verdict::{MappingEnd, Refusal};

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
        if self.pass_segment(nat, packet, index, Side::Inside, flow, now)? == Passed::BeginsAnew {
            return self.leave_anew(nat, packet, flow, flow.destination, now);
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
        if self.pass_segment(nat, packet, index, Side::Outside, flow, now)? == Passed::BeginsAnew {
            return self.enter_anew(nat, packet, flow, flow.source, judged, now);
        }
        if !self.renews(nat) || self.leader_is_over(index) {
            self.pin(nat, index);
        }
        Ok(Passage { session: index, new_mapping: false })
    }

    /// A packet of no session, from inside: whether it may open one.
    pub(crate) fn may_open(&self, nat: &Shared, flow: Flow<A>) -> Result<(), Refusal> {
        let flags = flow.flags;
        let netfilter = flow.protocol == Protocol::Tcp && nat.behavior.tcp_machine == TcpMachine::Netfilter;
        if flow.opens && (!netfilter || Connection::begins(flags)) {
            return Ok(());
        }
        let running = flags.ack && !flags.syn && !flags.fin && !flags.rst;
        match flow.protocol {
            Protocol::Tcp if running && nat.behavior.tcp_no_state == TcpNoState::Pickup => Ok(()),
            Protocol::Tcp => Err(Refusal { answer: no_state(nat, flow), ..refuse(DropReason::NoSession) }),
            Protocol::Udp | Protocol::Icmp => Err(refuse(DropReason::NoSession)),
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
        if nat.behavior.tcp_machine == TcpMachine::Netfilter {
            let (rule, lifetimes) = (nat.behavior.tcp_window, &nat.timers.tcp);
            let (connection, followed) = Connection::begin(packet, flow.flags, side, rule, lifetimes);
            let tcp = Tcp::opened_from(side).at(connection.stage());
            self.connections.set(index, connection);
            self.table.session_mut(index).tcp = tcp;
            if let Followed::Lives(lifetime) = followed {
                self.table.set_due(index, now + lifetime);
            }
        } else if !flow.flags.syn {
            self.table.session_mut(index).tcp = Tcp::picked_up_from(side);
            let lifetime = nat.timers.tcp.at(Stage::PickedUp);
            self.table.set_due(index, lifetime.map_or(Time::MAX, |lifetime| now + lifetime));
        }
        if flow.opens && side == Side::Inside {
            self.cross_syn(nat, index);
        }
        if side == Side::Inside && self.renews(nat) {
            self.table.hide(self.table.mapping_of(index));
        }
        if tracks(nat) {
            let mut track = Track::default();
            track.learn(side, packet, flow.flags, true);
            self.tracks.set(index, track);
        }
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
        if nat.behavior.tcp_machine == TcpMachine::Netfilter {
            return self.follow_segment(nat, packet, index, side, flow, now);
        }
        let before = self.table.session(index).tcp;
        let (after, timer) = before.step(side, flow.flags, &nat.behavior);
        let reopened = before.is_over() && after.stage() == Stage::Opening;
        if tracks(nat) {
            self.track(nat, packet, index, side, flow, reopened)?;
        }
        self.table.session_mut(index).tcp = after;
        match timer {
            Timer::Keep => {}
            Timer::Restart => {
                if let Some(lifetime) = nat.timers.tcp.at(after.stage()) {
                    self.table.set_deadline(index, now + lifetime);
                }
            }
        }
        self.permit_from(index, side);
        Ok(Passed::On)
    }

    fn permit_from(&mut self, index: u32, side: Side) {
        if side == Side::Inside && !self.table.session(index).permits() {
            self.table.permit(index);
        }
    }

    /// Follows the connection as Linux does, or says what refuses the segment.
    fn follow_segment(
        &mut self,
        nat: &mut Shared,
        packet: &Packet,
        index: u32,
        side: Side,
        flow: Flow<A>,
        now: Time,
    ) -> Result<Passed, Refusal> {
        let (rule, lifetimes) = (nat.behavior.tcp_window, &nat.timers.tcp);
        let Some(connection) = self.connections.get_mut(index) else { return Ok(Passed::On) };
        let followed = connection.follow(packet, flow.flags, side, rule, lifetimes);
        let (stage, crossed) = (connection.stage(), connection.crossed());
        match followed {
            Followed::Passes => {}
            Followed::Lives(lifetime) => self.table.set_deadline(index, now + lifetime),
            Followed::Ends => self.table.set_deadline(index, now),
            Followed::BeginsAnew => {
                self.end_session(nat, index, MappingEnd::Killed);
                return Ok(Passed::BeginsAnew);
            }
            Followed::Invalid => return Err(self.refusal(index, DropReason::InvalidSegment)),
            Followed::OutOfWindow(at_most) => {
                self.shorten(index, at_most, now);
                return Err(self.refusal(index, DropReason::OutOfWindow));
            }
        }
        let tcp = Tcp::opened_from(self.table.session(index).tcp.opener()).at(stage);
        self.table.session_mut(index).tcp = if crossed { tcp.crossing() } else { tcp };
        if tracks(nat) && !self.table.session(index).tcp.is_over() {
            self.track(nat, packet, index, side, flow, false)?;
        }
        self.permit_from(index, side);
        Ok(Passed::On)
    }

    /// A connection that seems to be out of step lives for so long at most; Linux leaves the last two minutes alone.
    fn shorten(&mut self, index: u32, at_most: Option<Duration>, now: Time) {
        const LEFT_ALONE: Duration = Duration::from_secs(120);
        let deadline = self.table.session(index).deadline;
        if let Some(at_most) = at_most
            && deadline >= now + at_most.max(LEFT_ALONE)
        {
            self.table.set_deadline(index, now + at_most);
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
        let judges = nat.behavior.tcp_machine == TcpMachine::Rfc7857;
        let rule = if judges { nat.behavior.tcp_window } else { TcpWindow::Off };
        if !track.admits(rule, side, packet, flow.flags) {
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
        if self.table.is_full() {
            return Err(refuse(DropReason::SessionsExhausted));
        }
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

/// Whether anybody asks about sequence numbers.
fn tracks(nat: &Shared) -> bool {
    let judges = nat.behavior.tcp_window != TcpWindow::Off && nat.behavior.tcp_machine == TcpMachine::Rfc7857;
    judges || nat.behavior.expiry_notify == ExpiryNotify::RstBoth
}

/// What became of a segment of a session.
#[derive(PartialEq, Eq)]
enum Passed {
    /// It goes on.
    On,
    /// Its session has ended, and it is to be looked at as if there had been none.
    BeginsAnew,
}

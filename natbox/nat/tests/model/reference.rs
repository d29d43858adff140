//! The reference: a NAT of lists and linear search, every rule written down as it is said.
//!
//! Where a rule draws, the engine draws: the reference is told what was given out, and says whether it might have been.
//! What it leaves out, and what is held to account for that instead, stands in `model.rs`.

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use natbox_nat::behavior::*;
use natbox_nat::{Answer, Behavior, Ended, HoldId, MappingEnd, MappingId, MappingView, Output};
use natbox_nat::{Refusal, Side, Side::*, Translation, Verdict};
use natbox_wire::{DropReason, DropReason::*, IcmpError, Packet, Protocol, Protocol::*, Time};

use crate::{Flow, common};

/// What a mapping rule sees of a remote; an external endpoint, or why there is none.
type Towards = Option<SocketAddr>;
pub(crate) type Given = Result<SocketAddr, Refusal>;

/// How far a connection has come (RFC 7857 figure 1).
#[derive(Clone, Copy, PartialEq)]
enum Stage {
    Opening,
    Partial,
    Established,
    PickedUp,
    HalfClosed,
    CloseWait,
    Closing,
    TimeWait,
    Transitory,
}
use Stage::*;

#[derive(Clone, Copy)]
struct Session {
    on: MappingView,
    remote: SocketAddr,
    opened: Time,
    opener: Side,
    deadline: Time,
    /// Whether what the inside sends takes it.
    leads: bool,
    /// Which sides have sent; and of UDP, whether they still did after a while.
    sent: [bool; 2],
    stream: bool,
    /// Of TCP, and which sides have sent what the stage waits for.
    stage: Stage,
    marks: [bool; 2],
}

/// A SYN that nobody asked for: between which endpoints, as the outside sees them; and what becomes of it.
struct Held {
    between: [SocketAddr; 2],
    hold: HoldId,
    from: Side,
    packet: Packet,
    refusal: Refusal,
    due: Time,
}

#[derive(Default)]
pub(crate) struct Model {
    rules: Arc<Behavior>,
    pub(crate) translates: bool,
    external: Vec<IpAddr>,
    pub(crate) mappings: Vec<MappingView>,
    sessions: Vec<Session>,
    held: Vec<Held>,
    pub(crate) last_id: u64,
    last_hold: u64,
    ended: Vec<Ended>,
    pub(crate) output: Vec<Output>,
    now: Time,
}

fn no(on: Option<&MappingView>, reason: DropReason) -> Refusal {
    Refusal { reason, mapping: on.map(|on| on.id), answer: None }
}

fn told(on: &MappingView, new_mapping: bool) -> Translation {
    Translation { mapping: on.id, new_mapping, quoted: false }
}

impl Model {
    pub(crate) fn new(rules: Arc<Behavior>, external: &[IpAddr], ipv6: bool) -> Model {
        let translates = if ipv6 { rules.ipv6 == Ipv6::Napt } else { rules.translation == TranslationKind::Napt };
        Model { rules, translates, external: external.to_vec(), ..Model::default() }
    }

    /// A packet from inside; `given` is the external endpoint that the engine has drawn, or why it drew none.
    pub(crate) fn outbound(&mut self, flow: Flow, given: Given, now: Time) -> (Verdict, Flow) {
        self.expire(now);
        let outcome = match self.translates && self.external.contains(&flow.destination.ip()) {
            true => self.turn_round(flow, given),
            false => self.leave(flow, given).map(|(on, told)| (Verdict::Forward(told), flow.from(on.external))),
        };
        outcome.unwrap_or_else(|refusal| (Verdict::Drop(refusal), flow))
    }

    pub(crate) fn inbound(&mut self, flow: Flow, now: Time) -> (Verdict, Flow) {
        self.expire(now);
        match self.enter(flow, true) {
            Ok(on) => (Verdict::Forward(told(&on, false)), flow.to(on.internal)),
            Err(refusal) => (self.unsolicited(Outside, &flow, flow, refusal), flow),
        }
    }

    /// Out, and in again as if it had been outside; what the first half opened stays open if the second refuses.
    fn turn_round(&mut self, flow: Flow, given: Given) -> Result<(Verdict, Flow), Refusal> {
        let kind = *self.rules.hairpin.of(flow.protocol);
        match (kind, flow.protocol) {
            (Hairpin::Off, _) => return Err(Refusal { answer: self.answer(&flow, true), ..no(None, HairpinOff) }),
            (_, Icmp) => return Err(no(None, NoMapping)),
            _ => {}
        }
        let (sender, source) = self.leave(flow, given)?;
        let outside = flow.from(sender.external);
        match self.enter(outside, self.rules.hairpin_filter == HairpinFilter::Apply) {
            Err(refusal) => Ok((self.unsolicited(Inside, &outside, flow, refusal), flow)),
            Ok(receiver) => {
                let shown = if kind == Hairpin::InternalSource { flow } else { outside };
                let destination = told(&receiver, false);
                Ok((Verdict::Hairpin { source, destination }, shown.to(receiver.internal)))
            }
        }
    }

    fn leave(&mut self, flow: Flow, given: Given) -> Result<(MappingView, Translation), Refusal> {
        let remote = flow.remote(flow.destination);
        let rule = (flow.protocol, flow.source, self.towards(flow.protocol, remote));
        let named = self.mappings.iter().find(|one| (one.protocol, one.internal, one.towards) == rule).copied();
        let leader = self.leader(flow.protocol, flow.source, remote);
        let picks_up = self.rules.tcp_no_state == TcpNoState::Pickup && flow.protocol == Tcp;
        if leader.is_none() && !flow.opens() && !(picks_up && flow.flags == common::ACK) {
            return Err(Refusal { answer: self.answer(&flow, false), ..no(None, NoSession) });
        }
        let known = leader.map(|at| self.sessions[at].on).or(named);
        let on = known.map_or_else(|| self.open_mapping(&flow, rule.2, given), Ok)?;
        match leader {
            Some(at) => self.pass(at, Inside, &flow),
            None => self.open_session(on, remote, Inside, &flow),
        };
        // A SYN that is held for the same connection is forgotten.
        let crosses = |held: &Held| flow.protocol == Tcp && flow.opens() && held.between == [on.external, remote];
        if let Some(at) = self.held.iter().position(crosses) {
            let Held { hold, from, packet, .. } = self.held.remove(at);
            self.output.push(Output::Discard { hold, from, packet, refusal: no(Some(&on), SynCrossed) });
        }
        Ok((on, told(&on, known.is_none())))
    }

    fn enter(&mut self, flow: Flow, judged: bool) -> Result<MappingView, Refusal> {
        let remote = flow.remote(flow.source);
        let at_it = |one: &&MappingView| (one.protocol, one.external) == (flow.protocol, flow.destination);
        let nobodys = no(None, if self.translates { NoMapping } else { Filtered });
        let on = self.mappings.iter().find(at_it).copied().ok_or(nobodys)?;
        let known = self.sessions.iter().position(|one| (one.on, one.remote) == (on, remote));
        let at = match known {
            _ if judged && !self.admits(&on, remote) => return Err(no(Some(&on), Filtered)),
            None if flow.protocol == Tcp && !flow.opens() => return Err(no(Some(&on), NoSession)),
            None => self.open_session(on, remote, Outside, &flow),
            Some(at) => self.pass(at, Outside, &flow),
        };
        if self.rules.session_affinity == SessionAffinity::On {
            let former = self.leader(flow.protocol, on.internal, remote);
            former.into_iter().for_each(|former| self.sessions[former].leads = false);
            self.sessions[at].leads = true;
        }
        Ok(on)
    }

    fn admits(&self, to: &MappingView, remote: SocketAddr) -> bool {
        let whole = self.rules.filter_scope == FilterScope::Endpoint;
        let same = |one: &MappingView| one == to || whole && (one.protocol, one.internal) == (to.protocol, to.internal);
        let mut sent_to = self.sessions.iter().filter(|one| one.sent[Inside as usize] && same(&one.on));
        match self.rules.filtering.of(to.protocol) {
            Filtering::AddressDependent => sent_to.any(|one| one.remote.ip() == remote.ip()),
            Filtering::AddressAndPortDependent => sent_to.any(|one| one.remote == remote),
            _ => true,
        }
    }

    fn pass(&mut self, at: usize, from: Side, flow: &Flow) -> usize {
        let (refreshes, one) = (self.refreshes(from), &mut self.sessions[at]);
        one.stream |= one.sent == [true; 2] && self.now >= one.opened + self.rules.timeouts.udp_stream_after;
        one.sent[from as usize] = true;
        let restarts = if flow.protocol == Tcp { one.step(from, flow, &self.rules) } else { refreshes };
        if restarts {
            self.restart(at);
        }
        at
    }

    fn open_session(&mut self, on: MappingView, remote: SocketAddr, from: Side, flow: &Flow) -> usize {
        let leads = match self.rules.session_affinity {
            SessionAffinity::On => self.leader(on.protocol, on.internal, remote).is_none(),
            SessionAffinity::Off => on.towards == self.towards(on.protocol, remote),
        };
        let (opened, opener, deadline, sent) = (self.now, from, self.now, [from == Inside, from == Outside]);
        let (stream, stage, marks) = (false, if flow.flags.syn { Opening } else { PickedUp }, [false; 2]);
        self.sessions.push(Session { on, remote, opened, opener, deadline, leads, sent, stream, stage, marks });
        self.restart(self.sessions.len() - 1);
        self.sessions.len() - 1
    }

    fn leader(&self, protocol: Protocol, internal: SocketAddr, remote: SocketAddr) -> Option<usize> {
        self.sessions.iter().position(|one| one.leads && one.between(protocol, internal, remote))
    }

    /// What the mapping rule sees of a remote.
    fn towards(&self, protocol: Protocol, remote: SocketAddr) -> Option<SocketAddr> {
        match self.rules.mapping.of(protocol) {
            _ if !self.translates => None,
            Mapping::EndpointIndependent => None,
            Mapping::AddressDependent => Some(SocketAddr::new(remote.ip(), 0)),
            Mapping::AddressAndPortDependent | Mapping::ConnectionDependent => Some(remote),
        }
    }

    fn open_mapping(&mut self, flow: &Flow, towards: Towards, given: Given) -> Result<MappingView, Refusal> {
        let external = if self.translates { given? } else { flow.source };
        self.last_id += 1;
        let (id, Flow { protocol, source: internal, .. }) = (MappingId(self.last_id), *flow);
        let on = MappingView { id, protocol, internal, external, towards, created: self.now };
        self.mappings.push(on);
        Ok(on)
    }

    /// What becomes of a packet that was refused on its way in: `outside` is how the outside sees it.
    fn unsolicited(&mut self, from: Side, outside: &Flow, came: Flow, refusal: Refusal) -> Verdict {
        let (unwanted, syn) =
            (matches!(refusal.reason, NoMapping | Filtered), outside.protocol == Tcp && outside.opens());
        let answer = if unwanted || refusal.reason == NoSession { self.answer(outside, true) } else { refusal.answer };
        let answer = match self.rules.unsolicited_syn {
            UnsolicitedSyn::IcmpAfter6s if unwanted && syn => self.unreachable(outside),
            UnsolicitedSyn::RstAfter if unwanted && syn => Some(Answer::Reset),
            _ => return Verdict::Drop(Refusal { answer, ..refusal }),
        };
        let between = [outside.destination, outside.source];
        if self.held.iter().any(|held| held.between == between) {
            return Verdict::Drop(Refusal { reason: SynHeld, ..refusal });
        }
        self.last_hold += 1;
        let (hold, due) = (HoldId(self.last_hold), self.now + self.rules.timeouts.tcp_inbound_syn);
        let (packet, refusal) = (came.packet(), Refusal { answer, ..refusal });
        self.held.push(Held { between, hold, from, packet, refusal, due });
        Verdict::Hold(hold)
    }

    /// What the sender of a packet is told at once that nothing inside wants: by the box `itself`, or by its NAT.
    fn answer(&self, flow: &Flow, itself: bool) -> Option<Answer> {
        let stray = flow.protocol == Tcp && !flow.flags.rst && !flow.opens();
        match (flow.protocol, self.rules.unsolicited_syn) {
            (Udp, _) if self.rules.unsolicited_udp == UnsolicitedUdp::Icmp => self.unreachable(flow),
            (Tcp, UnsolicitedSyn::RstNow) if itself && !flow.flags.rst => Some(Answer::Reset),
            (Tcp, UnsolicitedSyn::IcmpNow) if flow.opens() => self.unreachable(flow),
            _ => (stray && self.rules.tcp_no_state == TcpNoState::Rst).then_some(Answer::Reset),
        }
    }

    fn unreachable(&self, flow: &Flow) -> Option<Answer> {
        let error = if flow.source.is_ipv6() { IcmpError::AdminProhibited } else { IcmpError::PortUnreachable };
        (self.rules.icmp_originate == Switch::On).then_some(Answer::Icmp(error))
    }

    /// Whether packets from this side restart the timers of UDP and queries.
    fn refreshes(&self, from: Side) -> bool {
        let these = if from == Inside { Refresh::Outbound } else { Refresh::Inbound };
        [these, Refresh::Both].contains(&self.rules.refresh)
    }

    fn restart(&mut self, at: usize) {
        let one = &mut self.sessions[at];
        let end = self.rules.timeouts.absolute.map_or(Time::MAX, |age| one.on.created + age);
        let lifetime = one.lifetime(&self.rules.timeouts);
        one.deadline = lifetime.map_or(one.deadline, |lifetime| (self.now + lifetime).min(end));
    }

    pub(crate) fn expire(&mut self, now: Time) {
        self.now = now;
        while self.held.first().is_some_and(|held| held.due <= now) {
            let Held { hold, from, packet, refusal, .. } = self.held.remove(0);
            self.output.push(Output::Discard { hold, from, packet, refusal });
        }
        while let Some(one) = self.sessions.iter().min_by_key(|one| one.deadline).filter(|one| one.deadline <= now) {
            let one = *one;
            self.end_sessions(|other| (other.on, other.remote) == (one.on, one.remote));
            let holds =
                |other: &Session| other.sent[Inside as usize] || other.on.protocol == Tcp || self.refreshes(Outside);
            let aged = self.rules.timeouts.absolute.is_some_and(|age| one.deadline >= one.on.created + age);
            if aged || !self.sessions.iter().any(|other| other.on == one.on && holds(other)) {
                let why = if aged { MappingEnd::Aged } else { MappingEnd::Expired };
                self.end_mappings(|on| *on == one.on, why);
            }
        }
    }

    fn end_mappings(&mut self, which: impl Fn(&MappingView) -> bool, why: MappingEnd) {
        let gone: Vec<MappingView> = self.mappings.extract_if(.., |one| which(one)).collect();
        self.end_sessions(|one| gone.contains(&one.on));
        self.ended.extend(gone.into_iter().map(|mapping| Ended { mapping, why }));
    }

    /// Sessions end; where one led its pair of endpoints, the one on the oldest mapping leads.
    fn end_sessions(&mut self, which: impl Fn(&Session) -> bool) {
        let gone: Vec<Session> = self.sessions.extract_if(.., |one| which(one)).collect();
        for one in gone.iter().filter(|one| one.leads && self.rules.session_affinity == SessionAffinity::On) {
            let pair =
                self.sessions.iter_mut().filter(|other| other.between(one.on.protocol, one.on.internal, one.remote));
            pair.min_by_key(|one| one.on.id).into_iter().for_each(|one| one.leads = true);
        }
    }

    /// What has ended since this was asked last.
    pub(crate) fn ended(&mut self) -> Vec<Ended> {
        self.ended.sort_by_key(|one| one.mapping.id);
        std::mem::take(&mut self.ended)
    }

    pub(crate) fn readdress(&mut self, external: &[IpAddr]) {
        self.external = external.to_vec();
        let translates = self.translates;
        self.end_mappings(|one| translates && !external.contains(&one.external.ip()), MappingEnd::Readdressed);
    }

    pub(crate) fn reboot(&mut self) {
        self.held.clear();
        self.end_mappings(|_| true, MappingEnd::Rebooted);
    }

    /// When something will be due next; and something that others see.
    pub(crate) fn next(&self) -> (Option<Time>, Option<Time>) {
        let held = self.held.iter().map(|held| held.due).min();
        (self.sessions.iter().map(|one| one.deadline).chain(held).min(), held)
    }
}

impl Session {
    fn between(&self, protocol: Protocol, internal: SocketAddr, remote: SocketAddr) -> bool {
        (self.on.protocol, self.on.internal, self.remote) == (protocol, internal, remote)
    }

    /// How long it lives after what has just come; as long as it would have if the stage says nothing.
    fn lifetime(&self, times: &Timeouts) -> Option<Duration> {
        let of_port = times.udp_ports.iter().find(|(port, _)| *port == self.remote.port()).map(|(_, time)| *time);
        Some(match (self.on.protocol, self.stage) {
            (Icmp, _) => times.icmp,
            (Udp, _) if of_port.is_some() => return of_port,
            (Udp, _) if self.stream => times.udp_stream(),
            (Udp, _) if self.sent == [true; 2] => times.udp,
            (Udp, _) => times.udp_unreplied(),
            (_, Opening) => times.tcp_opening,
            (_, Partial) => times.tcp_partial_open(),
            (_, Established) => times.tcp_established,
            (_, PickedUp) => times.tcp_established.min(times.tcp_unacknowledged()),
            (_, HalfClosed) => times.tcp_half_closed(),
            (_, CloseWait) => times.tcp_close_wait(),
            (_, Closing) => times.tcp_closing,
            (_, TimeWait) => return times.tcp_time_wait,
            (_, Transitory) => times.tcp_reset(),
        })
    }

    /// A segment, by RFC 7857 figure 1 with the choices that the axes name; whether it restarts the timer.
    fn step(&mut self, from: Side, flow: &Flow, rules: &Behavior) -> bool {
        let (flags, me, marked) = (flow.flags, from as usize, self.marks[from as usize]);
        let (none, mine) = ([false; 2], [from == Inside, from == Outside]);
        let both = if rules.tcp_established_on == TcpEstablishedOn::ServerSyn { Established } else { Partial };
        (self.stage, self.marks) = match self.stage {
            Closing | TimeWait | Transitory if flow.opens() && rules.tcp_reopen == TcpReopen::On => {
                self.opener = from;
                (Opening, none)
            }
            Opening if !flags.syn || flags.rst => return false,
            Opening if from == self.opener => (Opening, self.marks),
            Opening => (both, if flags.ack { mine } else { none }),
            Closing if flags.ack && !flags.fin && !flags.rst && !marked => (TimeWait, none),
            Closing | TimeWait => return false,
            Transitory if flags.rst => return false,
            Transitory => (Established, none),
            _ if flags.rst => (Transitory, none),
            HalfClosed | CloseWait if flags.fin && !marked => (Closing, mine),
            HalfClosed | CloseWait if flags.fin => (self.stage, self.marks),
            _ if flags.fin => (HalfClosed, mine),
            HalfClosed if flags.ack && !marked => (CloseWait, self.marks),
            Partial if flags.ack && self.marks[1 - me] => (Established, none),
            Partial if flags.ack => (Partial, mine),
            PickedUp if from != self.opener => (Established, none),
            stage => (stage, self.marks),
        };
        true
    }
}

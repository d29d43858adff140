//! The model: every rule written down as it is said, over lists, with nothing to be clever about.
//!
//! Chance is the engine's: where a rule draws, the model knows what may be drawn, and takes what the engine drew.
//! What it does not know of stands in `model.rs`, where the behaviours are made. Formatted by hand, a rule to a line.

#[path = "ports.rs"]
mod ports;

use std::{net::{IpAddr, SocketAddr}, sync::Arc, time::Duration};

use natbox_nat::{Side::*, behavior::{EarlyInbound, *}, *};
use natbox_wire::{DropReason, DropReason::*, IcmpError, Packet, Protocol, Protocol::*, Time, Transport};

use crate::{Flow, common};

type Passage = Result<(Session, Translation), Refusal>;
type Outcome = Result<(Verdict, Flow), Refusal>;
/// An external endpoint, and whether the mappings on it end; or why there is none.
type Offer = Result<(SocketAddr, bool), DropReason>;

#[derive(Clone, Copy, PartialEq)]
enum Stage { Opening, Partial, Established, PickedUp, HalfClosed, CloseWait, Closing, TimeWait, Transitory }
use Stage::*;

#[derive(Clone, Copy)]
struct Session {
    on: MappingId, protocol: Protocol, internal: SocketAddr, external: SocketAddr, remote: SocketAddr,
    opened: Time, opener: Side, deadline: Time, permits: bool, holds: bool, leads: bool,
    /// UDP: packets of both sides have come; and one long after the first.
    replied: bool, stream: bool,
    /// TCP: how far it has come, which sides have sent what the stage waits for, whether SYNs have crossed.
    stage: Stage, marks: [bool; 2], crossed: bool,
}

/// All that a reboot takes away, in the order in which it came.
#[derive(Default)]
struct State {
    mappings: Vec<MappingView>, sessions: Vec<Session>,
    /// Mappings that the rule names no more.
    hidden: Vec<MappingId>,
    /// SYNs that nobody asked for: endpoints as the outside sees them, where it came from, what it was, its end.
    held: Vec<(HoldId, [SocketAddr; 2], Side, Flow, Refusal, Time)>,
    /// Tuples that the box holds itself, and sources that it refuses (without endpoint), until when.
    early: Vec<(Protocol, Option<SocketAddr>, SocketAddr, Time)>,
    /// Internal addresses and their external ones.
    pairs: Vec<(IpAddr, IpAddr)>,
    /// Ports that rest, until when; since a reboot, from when the next is asked for.
    resting: Vec<(Option<Time>, Protocol, SocketAddr)>,
    /// Ports that are kept: for whom, above which, which.
    kept: Vec<(Protocol, SocketAddr, SocketAddr, SocketAddr)>,
    /// The last port of the counting rules: whose, of which protocol and class.
    last: Vec<((IpAddr, Protocol, u16), u16)>,
    /// Hosts, once for each time that another had their port; and once for each mapping, when. Whose turn it is.
    conflicts: Vec<IpAddr>, recent: Vec<(IpAddr, Time)>, turn: usize,
}

pub(crate) struct Model {
    rules: Arc<Behavior>, plan: Option<PortPlan>, translates: bool, basic: bool, external: Vec<IpAddr>, s: State,
    pub(crate) last_id: u64, last_hold: u64, ended: Vec<Ended>, pub(crate) output: Vec<Output>,
    /// What hashes have chosen: for whom, which address.
    homes: Vec<((IpAddr, Option<IpAddr>), IpAddr)>,
    /// Of the packet that is handled: when it came, and the endpoint that the engine has given out for it.
    now: Time, choice: Option<SocketAddr>,
}

const PORTS: [ProtocolSharing; 2] = [ProtocolSharing::Mapping, ProtocolSharing::Both];
const FILTERS: [ProtocolSharing; 2] = [ProtocolSharing::Filtering, ProtocolSharing::Both];

fn no(reason: DropReason) -> Refusal { Refusal { reason, mapping: None, answer: None } }
fn no_on(mapping: MappingId, reason: DropReason) -> Refusal { Refusal { mapping: Some(mapping), ..no(reason) } }
fn no_but(reason: DropReason, error: IcmpError) -> Refusal { Refusal { answer: Some(Answer::Icmp(error)), ..no(reason) } }
fn told(mapping: MappingId, new_mapping: bool, quoted: bool) -> Translation { Translation { mapping, new_mapping, quoted } }

impl Model {
    pub(crate) fn new(nat: &Nat, ipv6: bool) -> Model {
        let (rules, external, plan) = (nat.behavior().clone(), nat.external().to_vec(), nat.port_plan());
        let basic = rules.translation == TranslationKind::Basic && !ipv6;
        let translates = basic || if ipv6 { rules.ipv6 == Ipv6::Napt } else { rules.translation == TranslationKind::Napt };
        let (ended, output, homes, now) = (vec![], vec![], vec![], Time::ZERO);
        Model { rules, plan, translates, basic, external, s: State::default(), last_id: 0, last_hold: 0, ended, output, homes, now, choice: None }
    }

    // Packets.

    pub(crate) fn outbound(&mut self, flow: Flow, choice: Option<SocketAddr>, now: Time) -> (Verdict, Flow) {
        (self.now, self.choice) = (now, choice);
        let outcome = match (self.passes(), self.denied(&flow)) {
            (true, denied) if denied.is_some() || self.reaches(&flow) => Ok((Verdict::Pass, flow)),
            (true, _) => Err(no_but(OutboundBlocked, IcmpError::AdminProhibited)),
            (_, denied) => { self.expire(); denied.map_or_else(|| self.go_out(flow), |reason| Err(match reason {
                QueryDenied => no_but(reason, IcmpError::AdminProhibited),
                _ => no(reason),
            })) }
        };
        outcome.unwrap_or_else(|refusal| (Verdict::Drop(refusal), flow))
    }

    fn go_out(&mut self, flow: Flow) -> Outcome {
        if !self.owns(flow.destination) {
            let (session, told) = self.leave(flow)?;
            return Ok((Verdict::Forward(told), flow.from(session.external)));
        }
        let kind = *self.rules.hairpin.of(flow.protocol);
        if kind == Hairpin::Off { return Err(Refusal { answer: self.told_at_once(&flow), ..no(HairpinOff) }) }
        if flow.protocol == Icmp && !self.basic { return Err(no(NoMapping)) }
        // Out, and in again as if it had been outside; what the first half opened stays open if the second refuses.
        let (sender, source) = self.leave(flow)?;
        let outside = flow.from(sender.external);
        match self.enter(outside, self.rules.hairpin_filter == HairpinFilter::Apply) {
            Err(refusal) => Ok((self.unsolicited(Inside, &outside, flow, refusal), flow)),
            Ok((receiver, destination)) => {
                let shown = if kind == Hairpin::InternalSource { flow } else { outside };
                Ok((Verdict::Hairpin { source, destination }, shown.to(receiver.internal)))
            }
        }
    }

    pub(crate) fn inbound(&mut self, flow: Flow, now: Time) -> (Verdict, Flow) {
        (self.now, self.choice) = (now, None);
        if self.passes() { return (Verdict::Pass, flow) }
        self.expire();
        if let Some(reason) = self.denied(&flow).or(self.holds_early(Udp, None, host_of(flow.source)).then_some(Blacklisted)) {
            return (Verdict::Drop(no(reason)), flow);
        }
        match self.enter(flow, true) {
            Ok((session, told)) => (Verdict::Forward(told), flow.to(session.internal)),
            Err(refusal) => (self.unsolicited(Outside, &flow, flow, refusal), flow),
        }
    }

    fn passes(&self) -> bool { !self.translates && self.rules.filtering.udp == Filtering::Off }
    fn owns(&self, one: SocketAddr) -> bool { self.translates && self.external.contains(&one.ip()) }

    fn denied(&self, flow: &Flow) -> Option<DropReason> {
        match self.rules.icmp_query {
            _ if flow.protocol != Icmp => None,
            IcmpQuery::Deny => Some(QueryDenied),
            IcmpQuery::EchoOnly => (!matches!(flow.query, 0 | 8 | 128 | 129)).then_some(IcmpUntranslatable),
            IcmpQuery::Permit => matches!(flow.query, 15 | 16).then_some(IcmpUntranslatable),
            IcmpQuery::All => None,
        }
    }

    fn reaches(&self, flow: &Flow) -> bool {
        let (outbound, port) = (&self.rules.outbound, flow.destination.port());
        match flow.protocol { Udp => outbound.udp.contains(port), Tcp => outbound.tcp.contains(port), Icmp => outbound.icmp == Switch::On }
    }

    // Sessions.

    fn leave(&mut self, flow: Flow) -> Passage {
        let Some(at) = self.leader(flow.protocol, flow.source, flow.remote(flow.destination)) else { return self.leave_anew(flow) };
        let (one, strict) = (self.s.sessions[at], self.rules.filtering.icmp == Filtering::ConnectionDependent);
        let answers = one.crossed && flow.flags.syn && flow.flags.ack && self.translates;
        match self.rules.tcp_simopen {
            _ if flow.protocol == Icmp && strict && !flow.opens() => Err(no(NoSession)),
            _ if flow.protocol == Tcp && flow.opens() && one.is_over() && self.renews() => self.leave_by_another(flow, true),
            TcpSimultaneousOpen::BlockOutSynack if answers => Err(no_on(one.on, SimultaneousOpen)),
            TcpSimultaneousOpen::MistranslateOutSynack if answers => self.leave_by_another(flow, false),
            _ => Ok(self.pass(at, Inside, &flow)),
        }
    }

    fn leave_anew(&mut self, flow: Flow) -> Passage {
        let (remote, picks_up) = (flow.remote(flow.destination), self.rules.tcp_no_state == TcpNoState::Pickup);
        if !(flow.opens() || flow.protocol == Tcp && flow.flags == common::ACK && picks_up) {
            return Err(Refusal { answer: self.no_state(&flow), ..no(NoSession) });
        }
        let answers = self.s.sessions.iter().any(|one| one.between(flow.protocol, flow.source, remote));
        if !self.owns(flow.destination) && !self.reaches(&flow) && !answers {
            return Err(no_but(OutboundBlocked, IcmpError::AdminProhibited));
        }
        self.admit_session(flow.source.ip(), Inside)?;
        let towards = self.towards(flow.protocol, flow.source.ip(), remote);
        let known = self.usable(&flow, towards);
        let mapping = match known { Some(mapping) => mapping, None => self.open_mapping(&flow, towards)? };
        Ok((self.open_session(mapping, remote, Inside, &flow), told(mapping.id, known.is_none(), false)))
    }

    /// Out by a mapping made for this packet alone; what follows leaves by it too, if it `leads`.
    fn leave_by_another(&mut self, flow: Flow, leads: bool) -> Passage {
        self.admit_session(flow.source.ip(), Inside)?;
        let mapping = self.open_mapping(&flow, rule(self.rules.mapping.tcp, flow.destination))?;
        self.s.hidden.push(mapping.id);
        let session = self.open_session(mapping, flow.destination, Inside, &flow);
        if leads { self.lead(self.s.sessions.len() - 1) }
        Ok((session, told(mapping.id, true, false)))
    }

    fn enter(&mut self, flow: Flow, judged: bool) -> Passage {
        let (remote, strict) = (flow.remote(flow.source), *self.rules.filtering.of(flow.protocol) == Filtering::ConnectionDependent);
        let Some(at) = self.session_at(flow.protocol, flow.destination, remote) else { return self.enter_anew(flow, remote, judged) };
        let one = self.s.sessions[at];
        let refused = !one.permits && !self.admits(&self.mapping(one.on), remote);
        if judged && (refused || strict && flow.protocol == Icmp && flow.opens()) {
            self.uninvited(&flow, Some(one.on));
            return Err(no_on(one.on, Filtered));
        }
        if flow.protocol == Tcp && flow.opens() {
            if judged && strict && one.is_over() { return Err(no_on(one.on, Filtered)) }
            let crosses = (one.opener, one.stage) == (Inside, Opening);
            if crosses && self.rules.tcp_simopen == TcpSimultaneousOpen::BlockInSyn { return Err(no_on(one.on, SimultaneousOpen)) }
        }
        let passage = self.pass(at, Outside, &flow);
        let leader = self.leader(one.protocol, one.internal, remote);
        if flow.protocol != Tcp || !self.renews() || leader.is_none_or(|at| self.s.sessions[at].is_over()) { self.pin(at) }
        Ok(passage)
    }

    fn enter_anew(&mut self, flow: Flow, remote: SocketAddr, judged: bool) -> Passage {
        if self.holds_early(flow.protocol, Some(flow.destination), remote) {
            self.occupy(&flow);
            return Err(no(DropReason::EarlyInbound));
        }
        let all: Vec<MappingView> = self.on(flow.protocol, flow.destination).copied().collect();
        let admitting = all.iter().find(|one| !judged || self.admits(one, remote));
        let known = admitting.or(all.first()).copied();
        let Some(mapping) = known.or_else(|| self.open_from_outside(&flow, remote, judged)) else {
            self.uninvited(&flow, None);
            return Err(no(if self.translates { NoMapping } else { Filtered }));
        };
        if known.is_some() && admitting.is_none() {
            self.uninvited(&flow, Some(mapping.id));
            return Err(no_on(mapping.id, Filtered));
        }
        if flow.protocol == Tcp && !flow.opens() { return Err(no_on(mapping.id, NoSession)) }
        if known.is_some() { self.admit_session(mapping.internal.ip(), Outside).map_err(|why| no_on(mapping.id, why.reason))? }
        let session = self.open_session(mapping, remote, Outside, &flow);
        self.pin(self.s.sessions.len() - 1);
        Ok((session, told(mapping.id, known.is_none(), false)))
    }

    /// A mapping where the other protocol's filter, or one that looks at no remote, lets a packet in.
    fn open_from_outside(&mut self, flow: &Flow, remote: SocketAddr, judged: bool) -> Option<MappingView> {
        let (protocol, external) = (flow.protocol, flow.destination);
        let sibling = self.other(protocol, FILTERS).and_then(|other| self.on(other, external).next());
        let sibling = sibling.filter(|one| !judged || self.admits_alone(one, remote)).map(|one| one.internal);
        let open = self.basic && *self.rules.filtering.of(protocol) == Filtering::EndpointIndependent;
        let owner = self.s.pairs.iter().find(|(_, address)| open && *address == external.ip());
        let internal = sibling.or(owner.map(|(host, _)| SocketAddr::new(*host, external.port())))?;
        let free = self.basic || self.other(protocol, PORTS).is_some() || !self.taken(protocol, external);
        if protocol == Tcp && !flow.opens() || self.admit_session(internal.ip(), Outside).is_err() || !free { return None }
        Some(self.enter_mapping(protocol, internal, external, self.towards(protocol, internal.ip(), remote)))
    }

    /// A packet of a known session.
    fn pass(&mut self, at: usize, from: Side, flow: &Flow) -> (Session, Translation) {
        let (rules, now, refreshes) = (self.rules.clone(), self.now, self.refreshes(from));
        let one = &mut self.s.sessions[at];
        one.stream |= one.replied && now >= one.opened + rules.timeouts.udp_stream_after;
        one.replied |= from != one.opener;
        (one.permits, one.holds) = (one.permits || from == Inside, one.holds || from == Inside);
        if if flow.protocol == Tcp { one.step(from, flow, &rules) } else { refreshes } { self.restart(at) }
        if from == Inside && flow.protocol == Tcp && flow.opens() { self.cross(at) }
        (self.s.sessions[at], told(self.s.sessions[at].on, false, false))
    }

    fn open_session(&mut self, mapping: MappingView, remote: SocketAddr, from: Side, flow: &Flow) -> Session {
        let MappingView { id: on, protocol, internal, external, .. } = mapping;
        let leads = match self.rules.session_affinity {
            SessionAffinity::On => self.leader(protocol, internal, remote).is_none(),
            SessionAffinity::Off => mapping.towards == self.towards(protocol, internal.ip(), remote),
        };
        let holds = from == Inside || protocol == Tcp || self.refreshes(Outside);
        let stage = if flow.flags.syn { Opening } else { PickedUp };
        if protocol == Tcp && from == Inside && self.renews() { self.s.hidden.push(on) }
        self.s.sessions.push(Session {
            on, protocol, internal, external, remote, opened: self.now, opener: from, deadline: self.now, permits: from == Inside,
            holds, leads, replied: false, stream: false, stage, marks: [false; 2], crossed: false,
        });
        let at = self.s.sessions.len() - 1;
        self.restart(at);
        if protocol == Tcp && from == Inside && flow.opens() { self.cross(at) }
        self.s.sessions[at]
    }

    fn leader(&self, protocol: Protocol, internal: SocketAddr, remote: SocketAddr) -> Option<usize> {
        self.s.sessions.iter().position(|one| one.leads && one.between(protocol, internal, remote))
    }

    fn session_at(&self, protocol: Protocol, external: SocketAddr, remote: SocketAddr) -> Option<usize> {
        self.s.sessions.iter().position(|one| (one.protocol, one.external, one.remote) == (protocol, external, remote))
    }

    fn lead(&mut self, at: usize) {
        let Session { protocol, internal, remote, .. } = self.s.sessions[at];
        if let Some(former) = self.leader(protocol, internal, remote) { self.s.sessions[former].leads = false }
        self.s.sessions[at].leads = true;
    }

    /// With affinity, replies use the mapping that let the packet in.
    fn pin(&mut self, at: usize) { if self.rules.session_affinity == SessionAffinity::On { self.lead(at) } }

    fn mapping(&self, id: MappingId) -> MappingView { *self.s.mappings.iter().find(|one| one.id == id).expect("it lives") }

    /// The mappings on an external endpoint, oldest first.
    fn on(&self, protocol: Protocol, external: SocketAddr) -> impl Iterator<Item = &MappingView> {
        self.s.mappings.iter().filter(move |one| (one.protocol, one.external) == (protocol, external))
    }

    /// Whether every connection gets a mapping of its own.
    fn renews(&self) -> bool { self.translates && self.rules.mapping.tcp == Mapping::ConnectionDependent }

    fn level(&self, host: IpAddr) -> Option<&Degraded> {
        let (levels, times) = (&self.rules.degraded, self.s.conflicts.iter().filter(|one| **one == host).count());
        levels.get(times.min(levels.len()).checked_sub(1)?)
    }

    fn towards(&self, protocol: Protocol, host: IpAddr, remote: SocketAddr) -> Option<SocketAddr> {
        let level = self.level(host).map(|level| level.mapping);
        rule(level.unwrap_or(*self.rules.mapping.of(protocol)), remote).filter(|_| self.translates)
    }

    /// The mapping that the rule names, of those that may be used towards the remote.
    fn usable(&self, flow: &Flow, towards: Option<SocketAddr>) -> Option<MappingView> {
        let (remote, shares) = (flow.remote(flow.destination), self.rules.ports.overlap == PortOverlap::ByDestination);
        let named = |one: &&MappingView| (one.protocol, one.internal, one.towards) == (flow.protocol, flow.source, towards) && !self.s.hidden.contains(&one.id);
        let used = |one: &&MappingView| shares && self.session_at(flow.protocol, one.external, remote).is_some() || self.holds_early(flow.protocol, Some(one.external), remote);
        let mut named = self.s.mappings.iter().filter(named).filter(|one| !used(one));
        if shares || !self.s.early.is_empty() { named.next_back() } else { named.next() }.copied()
    }

    // Filters.

    fn admits(&self, mapping: &MappingView, remote: SocketAddr) -> bool {
        let twin = self.other(mapping.protocol, FILTERS).and_then(|other| self.on(other, mapping.external).find(|one| one.internal == mapping.internal));
        self.admits_alone(mapping, remote) || twin.is_some_and(|twin| self.admits_alone(twin, remote))
    }

    fn admits_alone(&self, to: &MappingView, remote: SocketAddr) -> bool {
        let whole = self.rules.filter_scope == FilterScope::Endpoint;
        let mut sent_to = self.s.sessions.iter().filter(|one| one.permits && (one.on == to.id || whole && (one.protocol, one.internal) == (to.protocol, to.internal)));
        match self.level(to.internal.ip()).map_or(*self.rules.filtering.of(to.protocol), |level| level.filtering) {
            Filtering::EndpointIndependent | Filtering::Off => true,
            Filtering::AddressDependent => sent_to.any(|one| one.remote.ip() == remote.ip()),
            Filtering::ConnectionDependent if to.protocol != Udp => false,
            Filtering::AddressAndPortDependent | Filtering::ConnectionDependent => sent_to.any(|one| one.remote == remote),
        }
    }

    /// The protocol that shares with this one.
    fn other(&self, protocol: Protocol, what: [ProtocolSharing; 2]) -> Option<Protocol> {
        what.contains(&self.rules.protocol_sharing).then_some(match protocol { Udp => Tcp, Tcp => Udp, Icmp => return None })
    }

    /// A packet from outside that no mapping wants, or that the filter of one refuses: what that does to the box.
    fn uninvited(&mut self, flow: &Flow, mapping: Option<MappingId>) {
        if self.owns(flow.source) { return }
        let of_mapping = |one: &Session| Some(one.on) == mapping;
        for at in (0..self.s.sessions.len()).filter(|at| of_mapping(&self.s.sessions[*at])).collect::<Vec<usize>>() {
            if self.rules.refresh_on_filtered == Switch::On { self.touch(at, Outside) }
        }
        match (self.rules.early_inbound, mapping) {
            (EarlyInbound::Remap, _) => self.occupy(flow),
            (EarlyInbound::Destroy, Some(mapping)) => self.end_mapping(mapping, MappingEnd::Killed),
            (EarlyInbound::Blacklist, _) => self.remember((Udp, None, host_of(flow.source), self.now + self.rules.timeouts.early_inbound)),
            _ => {}
        }
    }

    /// The box takes (external endpoint, remote) for itself.
    fn occupy(&mut self, flow: &Flow) {
        let takes = flow.protocol == Udp || flow.protocol == Tcp && flow.opens() && self.rules.unsolicited_syn != UnsolicitedSyn::RstNow;
        let times = &self.rules.timeouts;
        let lifetime = if flow.protocol == Udp { of_port(times, flow.source.port()).unwrap_or(times.udp_unreplied()) } else { times.tcp_opening };
        if takes && self.owns(flow.destination) { self.remember((flow.protocol, Some(flow.destination), flow.source, self.now + lifetime)) }
    }

    fn remember(&mut self, visitor: (Protocol, Option<SocketAddr>, SocketAddr, Time)) {
        self.s.early.retain(|one| (one.0, one.1, one.2) != (visitor.0, visitor.1, visitor.2));
        self.s.early.push(visitor);
    }

    fn holds_early(&self, protocol: Protocol, external: Option<SocketAddr>, remote: SocketAddr) -> bool {
        self.s.early.iter().any(|one| (one.0, one.1, one.2) == (protocol, external, remote) && one.3 > self.now)
    }

    // What nobody asked for.

    /// What becomes of a packet that the inbound half has refused: `outside` is how the outside sees it.
    fn unsolicited(&mut self, from: Side, outside: &Flow, came: Flow, refusal: Refusal) -> Verdict {
        let unwanted = matches!(refusal.reason, NoMapping | Filtered | DropReason::EarlyInbound);
        if !(unwanted && outside.protocol == Tcp && outside.opens()) {
            let answer = if unwanted || refusal.reason == NoSession { self.told_at_once(outside) } else { None };
            return Verdict::Drop(Refusal { answer: answer.or(refusal.answer), ..refusal });
        }
        let (answer, waits) = match self.rules.unsolicited_syn {
            UnsolicitedSyn::Drop => (None, false),
            UnsolicitedSyn::IcmpNow => (self.unreachable(outside), false),
            UnsolicitedSyn::RstNow => (Some(Answer::Reset), false),
            UnsolicitedSyn::IcmpAfter6s => (self.unreachable(outside), true),
            UnsolicitedSyn::RstAfter => (Some(Answer::Reset), true),
        };
        let ends = [outside.destination, outside.source];
        match (waits, self.s.held.iter().any(|held| held.1 == ends)) {
            (false, _) => Verdict::Drop(Refusal { answer, ..refusal }),
            (true, true) => Verdict::Drop(Refusal { reason: SynHeld, ..refusal }),
            (true, false) => {
                self.last_hold += 1;
                let (hold, due) = (HoldId(self.last_hold), self.now + self.rules.timeouts.tcp_inbound_syn);
                self.s.held.push((hold, ends, from, came, Refusal { answer, ..refusal }, due));
                Verdict::Hold(hold)
            }
        }
    }

    /// What the sender of a packet is told that is for the box itself.
    fn told_at_once(&self, flow: &Flow) -> Option<Answer> {
        match (flow.protocol, self.rules.unsolicited_syn) {
            (Udp, _) if self.rules.unsolicited_udp == UnsolicitedUdp::Icmp => self.unreachable(flow),
            (Tcp, UnsolicitedSyn::RstNow) if !flow.flags.rst => Some(Answer::Reset),
            (Tcp, UnsolicitedSyn::IcmpNow) if flow.opens() => self.unreachable(flow),
            (Tcp, _) if !flow.opens() => self.no_state(flow),
            _ => None,
        }
    }

    fn unreachable(&self, flow: &Flow) -> Option<Answer> {
        let error = if flow.source.is_ipv6() { IcmpError::AdminProhibited } else { IcmpError::PortUnreachable };
        (self.rules.icmp_originate == Switch::On).then_some(Answer::Icmp(error))
    }

    fn no_state(&self, flow: &Flow) -> Option<Answer> {
        (flow.protocol == Tcp && !flow.flags.rst && self.rules.tcp_no_state == TcpNoState::Rst).then_some(Answer::Reset)
    }

    /// A SYN leaves: one that is held for the same connection is forgotten.
    fn cross(&mut self, at: usize) {
        let Session { external, remote, on, .. } = self.s.sessions[at];
        if let Some(held) = self.s.held.iter().position(|held| held.1 == [external, remote]) {
            let (hold, _, from, came, ..) = self.s.held.remove(held);
            self.output.push(Output::Discard { hold, from, packet: came.packet(), refusal: no_on(on, SynCrossed) });
        }
    }

    // Errors.

    pub(crate) fn error(&mut self, from: Side, packet: &mut Packet, now: Time) -> Verdict {
        (self.now, self.choice) = (now, None);
        if self.passes() { return Verdict::Pass }
        self.expire();
        let before = packet.clone();
        self.translate_error(from, packet).unwrap_or_else(|refusal| { *packet = before; Verdict::Drop(refusal) })
    }

    fn translate_error(&mut self, from: Side, packet: &mut Packet) -> Result<Verdict, Refusal> {
        let (rules, quoted) = (self.rules.clone(), packet.quoted().expect("the tests quote packets of sessions"));
        let (protocol, sender, receiver) = (quoted.protocol, quoted.source, quoted.destination);
        let remote = |endpoint: SocketAddr| if protocol == Icmp { host_of(endpoint) } else { endpoint };
        let how = if from == Inside { rules.icmp_error.outbound } else { rules.icmp_error.inbound };
        let quench = matches!(packet.transport(), Transport::IcmpError(IcmpError::Other { kind: 4 | 5, .. }));
        if rules.icmp_verify == Switch::On && !packet.transport_checksum_ok() { return Err(no(BadTransportChecksum)) }
        if rules.icmp_verify == Switch::On && !packet.quoted_ip_checksum_ok() { return Err(no(BadQuotedChecksum)) }
        if quench && !packet.is_ipv6() { return Err(no(IcmpUntranslatable)) }
        if how == IcmpErrors::Drop { return Err(no(IcmpErrorOff)) }
        if packet.destination() != sender.ip() { return Err(no(IcmpNoSession)) }
        if from == Outside {
            let at = self.session_at(protocol, sender, remote(receiver)).ok_or(no(IcmpNoSession))?;
            let one = self.s.sessions[at];
            if rules.icmp_source_filter == Switch::On && packet.source() != receiver.ip() { return Err(no_on(one.on, Filtered)) }
            self.show_inside(packet, how, at);
            return Ok(Verdict::Forward(told(one.on, false, true)));
        }
        let back = self.owns(sender);
        if back && *rules.hairpin.of(protocol) == Hairpin::Off { return Err(no(HairpinOff)) }
        let between = |one: &&Session| one.between(protocol, receiver, remote(sender));
        let own = self.s.sessions.iter().filter(between).min_by_key(|one| (!one.leads, one.on)).copied().ok_or(no(IcmpNoSession))?;
        // A query's one identifier is the receiver's by now.
        let sender = if protocol == Icmp { SocketAddr::new(sender.ip(), own.external.port()) } else { sender };
        let other = if back { Some(self.session_at(protocol, sender, remote(own.external)).ok_or(no(IcmpNoSession))?) } else { None };
        if other.is_some() && rules.icmp_error.inbound == IcmpErrors::Drop { return Err(no_on(self.s.sessions[other.unwrap_or(0)].on, IcmpErrorOff)) }
        if self.translates {
            edit(packet, how, |packet| packet.rewrite_quoted_destination(own.external));
            let router = self.s.pairs.iter().find(|(host, _)| self.basic && *host == packet.source()).map(|(_, address)| *address);
            packet.rewrite_source(SocketAddr::new(router.unwrap_or(own.external.ip()), own.external.port()));
        }
        let at = self.s.sessions.iter().position(|one| (one.on, one.remote) == (own.on, own.remote)).expect("it is there");
        if rules.refresh_on_error == Switch::On { self.touch(at, Inside) }
        let source = told(own.on, false, true);
        Ok(other.map_or(Verdict::Forward(source), |at| {
            let destination = told(self.s.sessions[at].on, false, true);
            self.show_inside(packet, rules.icmp_error.inbound, at);
            Verdict::Hairpin { source, destination }
        }))
    }

    /// An error about a session goes to its host, and does to the session what errors do.
    fn show_inside(&mut self, packet: &mut Packet, how: IcmpErrors, at: usize) {
        let one = self.s.sessions[at];
        if self.translates {
            edit(packet, how, |packet| packet.rewrite_quoted_source(one.internal));
            packet.rewrite_destination(one.internal);
        }
        if self.rules.refresh_on_error == Switch::On { self.touch(at, Outside) }
        if self.rules.icmp_kills_mapping == Switch::On { self.end_mapping(one.on, MappingEnd::Killed) }
    }

    // Time, and ends.

    /// Whether packets from this side restart the timers of UDP and queries.
    fn refreshes(&self, from: Side) -> bool {
        self.rules.refresh == Refresh::Both || self.rules.refresh == if from == Inside { Refresh::Outbound } else { Refresh::Inbound }
    }

    /// Something that is no packet of a session restarts its timer as one would.
    fn touch(&mut self, at: usize, from: Side) { if self.s.sessions[at].protocol == Tcp || self.refreshes(from) { self.restart(at) } }

    fn restart(&mut self, at: usize) {
        let one = self.s.sessions[at];
        let end = self.rules.timeouts.absolute.map(|age| self.mapping(one.on).created + age);
        let deadline = one.lifetime(&self.rules.timeouts).map(|lifetime| self.now + lifetime);
        self.s.sessions[at].deadline = deadline.map_or(one.deadline, |deadline| end.map_or(deadline, |end| deadline.min(end)));
    }

    fn expire(&mut self) {
        while self.s.held.first().is_some_and(|held| held.5 <= self.now) {
            let (hold, _, from, came, refusal, _) = self.s.held.remove(0);
            self.output.push(Output::Discard { hold, from, packet: came.packet(), refusal });
        }
        while let Some(one) = self.s.sessions.iter().filter(|one| one.deadline <= self.now).min_by_key(|one| one.deadline).copied() {
            let at = self.s.sessions.iter().position(|other| (other.on, other.remote) == (one.on, one.remote)).expect("it is there");
            let open = one.protocol == Tcp && matches!(one.stage, Established | PickedUp | HalfClosed | CloseWait);
            if self.rules.timeouts.absolute.is_some_and(|age| one.deadline >= self.mapping(one.on).created + age) {
                self.end_mapping(one.on, MappingEnd::Aged);
                continue;
            }
            match self.rules.expiry_notify {
                ExpiryNotify::RstBoth if open => {
                    self.tell(Inside, common::RST, &one);
                    if !self.owns(one.remote) { self.tell(Outside, common::RST, &one) }
                    self.end_session(at, MappingEnd::Expired);
                }
                ExpiryNotify::KeepaliveProbe if open => {
                    self.s.sessions[at].stage = Transitory;
                    self.restart(at);
                    if self.s.sessions[at].deadline > one.deadline { self.tell(Inside, common::ACK, &one) } else { self.end_session(at, MappingEnd::Expired) }
                }
                _ => self.end_session(at, MappingEnd::Expired),
            }
        }
    }

    /// A segment of the box's own making; its numbers are not the model's business.
    fn tell(&mut self, to: Side, flags: natbox_wire::TcpFlags, one: &Session) {
        let (source, destination) = if to == Inside { (one.remote, one.internal) } else { (one.external, one.remote) };
        let packet = Flow { protocol: Tcp, source, destination, flags, query: 0 }.packet();
        self.output.push(Output::Send { to, packet, mapping: one.on });
    }

    fn end_session(&mut self, at: usize, why: MappingEnd) {
        let one = self.s.sessions.remove(at);
        self.promote(&one);
        if !self.s.sessions.iter().any(|other| other.on == one.on && other.holds) { self.end_mapping(one.on, why) }
    }

    fn end_mapping(&mut self, id: MappingId, why: MappingEnd) {
        let mapping = self.mapping(id);
        self.s.mappings.retain(|one| one.id != id);
        let gone: Vec<Session> = self.s.sessions.iter().filter(|one| one.on == id).copied().collect();
        self.s.sessions.retain(|one| one.on != id);
        gone.iter().for_each(|one| self.promote(one));
        self.ended.push(Ended { mapping, why });
        self.release(&mapping, why == MappingEnd::Overridden);
    }

    /// Where the leading session of a pair is gone, the one on the oldest mapping leads.
    fn promote(&mut self, gone: &Session) {
        if self.rules.session_affinity == SessionAffinity::Off || self.leader(gone.protocol, gone.internal, gone.remote).is_some() { return }
        let rest = self.s.sessions.iter_mut().filter(|one| one.between(gone.protocol, gone.internal, gone.remote));
        rest.min_by_key(|one| one.on).into_iter().for_each(|one| one.leads = true);
    }

    pub(crate) fn handle_timeout(&mut self, now: Time) -> Vec<Ended> {
        self.now = now;
        self.expire();
        self.ends()
    }

    pub(crate) fn readdress(&mut self, nat: &Nat) -> Vec<Ended> {
        (self.external, self.plan) = (nat.external().to_vec(), nat.port_plan());
        if self.translates {
            for one in self.s.mappings.clone() { if !self.owns(one.external) { self.end_mapping(one.id, MappingEnd::Readdressed) } }
            self.move_house();
        }
        self.ends()
    }

    pub(crate) fn reboot(&mut self) -> Vec<Ended> {
        self.ended.extend(self.s.mappings.iter().map(|one| Ended { mapping: *one, why: MappingEnd::Rebooted }));
        let must: Vec<(Protocol, SocketAddr)> = self.s.mappings.iter().map(|one| (one.protocol, one.external)).filter(|one| self.translates && self.rests(one.0)).collect();
        let resting = std::mem::take(&mut self.s).resting.into_iter().chain(must.into_iter().map(|one| (None, one.0, one.1)));
        self.s.resting = resting.collect();
        self.let_rest_less();
        self.ends()
    }

    fn ends(&mut self) -> Vec<Ended> {
        self.ended.sort_by_key(|one| one.mapping.id);
        std::mem::take(&mut self.ended)
    }

    pub(crate) fn views(&self) -> &[MappingView] { &self.s.mappings }

    /// When something will be due next; and something that others see.
    pub(crate) fn next(&self) -> (Option<Time>, Option<Time>) {
        let held = || self.s.held.iter().map(|held| held.5);
        let told = |one: &&Session| one.protocol == Tcp && self.rules.expiry_notify != ExpiryNotify::None && self.rules.timeouts.absolute.is_none();
        let open = |one: &&Session| told(one) && matches!(one.stage, Established | PickedUp | HalfClosed | CloseWait);
        (self.s.sessions.iter().map(|one| one.deadline).chain(held()).min(), self.s.sessions.iter().filter(open).map(|one| one.deadline).chain(held()).min())
    }
}

impl Session {
    fn between(&self, protocol: Protocol, internal: SocketAddr, remote: SocketAddr) -> bool {
        (self.protocol, self.internal, self.remote) == (protocol, internal, remote)
    }

    fn is_over(&self) -> bool { matches!(self.stage, Closing | TimeWait | Transitory) }

    /// Whether nothing has shown that both ends want it.
    fn is_unassured(&self) -> bool {
        match self.protocol { Udp => !self.replied, Icmp => true, Tcp => matches!(self.stage, Opening | Partial | PickedUp) }
    }

    /// How long it lives after what has just come; as long as it would have if the stage says nothing.
    fn lifetime(&self, times: &Timeouts) -> Option<Duration> {
        Some(match (self.protocol, self.stage) {
            (Icmp, _) => times.icmp,
            (Udp, _) => of_port(times, self.remote.port()).unwrap_or(if self.stream { times.udp_stream() } else if self.replied { times.udp } else { times.udp_unreplied() }),
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
        let mut mine = [false; 2];
        mine[me] = true;
        (self.stage, self.marks) = match self.stage {
            Closing | TimeWait | Transitory if flow.opens() && rules.tcp_reopen == TcpReopen::On => {
                (self.opener, self.crossed) = (from, false);
                (Opening, [false; 2])
            }
            Opening if !flags.syn || flags.rst => return false,
            Opening if from == self.opener => (Opening, self.marks),
            Opening => {
                self.crossed = !flags.ack;
                let established = rules.tcp_established_on == TcpEstablishedOn::ServerSyn;
                (if established { Established } else { Partial }, if flags.ack { mine } else { [false; 2] })
            }
            TimeWait => return false,
            Closing if flags.ack && !flags.fin && !flags.rst && !marked => (TimeWait, [false; 2]),
            Closing => return false,
            Transitory if flags.rst => return false,
            Transitory => (Established, [false; 2]),
            _ if flags.rst => (Transitory, [false; 2]),
            HalfClosed | CloseWait if flags.fin => if marked { (self.stage, self.marks) } else { (Closing, mine) },
            _ if flags.fin => (HalfClosed, mine),
            HalfClosed if flags.ack && !marked => (CloseWait, self.marks),
            Partial if flags.ack && self.marks[1 - me] => (Established, [false; 2]),
            Partial if flags.ack => (Partial, mine),
            PickedUp if from != self.opener => (Established, [false; 2]),
            stage => (stage, self.marks),
        };
        true
    }
}

/// What a mapping rule sees of a remote.
fn rule(mapping: Mapping, remote: SocketAddr) -> Option<SocketAddr> {
    match mapping {
        Mapping::EndpointIndependent => None,
        Mapping::AddressDependent => Some(host_of(remote)),
        Mapping::AddressAndPortDependent | Mapping::ConnectionDependent => Some(remote),
    }
}

fn host_of(endpoint: SocketAddr) -> SocketAddr { SocketAddr::new(endpoint.ip(), 0) }

fn of_port(times: &Timeouts, port: u16) -> Option<Duration> { times.udp_ports.iter().find(|(of, _)| *of == port).map(|(_, time)| *time) }

/// Changes what an error quotes, as well as the box knows how.
fn edit(packet: &mut Packet, how: IcmpErrors, edit: impl FnOnce(&mut Packet)) {
    let checksum = packet.quoted_ip_checksum();
    if how != IcmpErrors::OuterOnly { edit(packet) }
    if let (IcmpErrors::BadInnerChecksum, Some(checksum)) = (how, checksum) { packet.set_quoted_ip_checksum(checksum) }
}

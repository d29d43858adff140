//! The model: every rule written down as it is said, over lists.

#[path = "errors.rs"]
mod errors;

use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use natbox_nat::behavior::*;
use natbox_nat::{Behavior, Ended, MappingEnd, MappingId, MappingView, Refusal, Translation, Verdict};
use natbox_wire::{DropReason, Protocol, TcpFlags, Time};

/// A packet of a session; for echo both ports are the identifier, and SYN says that it is a request.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Flow {
    pub(crate) protocol: Protocol,
    pub(crate) source: SocketAddr,
    pub(crate) destination: SocketAddr,
    pub(crate) flags: TcpFlags,
}

#[derive(Clone, Copy, PartialEq)]
enum Side {
    Inside,
    Outside,
}

struct Session {
    mapping: MappingId,
    remote: SocketAddr,
    deadline: Time,
    permits: bool,
    leads: bool,
    /// Which sides have sent a SYN, and a FIN; and whether a RST came.
    syn: [bool; 2],
    fin: [bool; 2],
    reset: bool,
}

type Answer = Result<(SocketAddr, Translation), Refusal>;

pub(crate) struct Model {
    behavior: Behavior,
    translates: bool,
    external: Vec<IpAddr>,
    mappings: Vec<MappingView>,
    sessions: Vec<Session>,
    last_id: u64,
    /// The last port of the sequential rule, by address and protocol.
    sequential: Vec<(IpAddr, Protocol, u16)>,
    ended: Vec<Ended>,
}

fn refuse(reason: DropReason) -> Refusal {
    Refusal { reason, mapping: None, answer: None }
}

/// An echo's remote has no port.
fn remote_of(protocol: Protocol, endpoint: SocketAddr) -> SocketAddr {
    if protocol == Protocol::Icmp { SocketAddr::new(endpoint.ip(), 0) } else { endpoint }
}

impl Model {
    pub(crate) fn new(behavior: Behavior, ipv6: bool, external: Vec<IpAddr>) -> Model {
        let translates = if ipv6 { behavior.ipv6 == Ipv6::Napt } else { behavior.translation == TranslationKind::Napt };
        let (mappings, sessions, sequential, ended) = (Vec::new(), Vec::new(), Vec::new(), Vec::new());
        Model { behavior, translates, external, mappings, sessions, last_id: 0, sequential, ended }
    }

    pub(crate) fn outbound(&mut self, flow: &Flow, choice: Option<SocketAddr>, now: Time) -> (Verdict, Flow) {
        if self.passes() {
            return (Verdict::Pass, *flow);
        }
        self.expire(now);
        let back = self.translates && self.external.contains(&flow.destination.ip());
        let outcome = if back { self.hairpin(flow, choice, now) } else { self.forward(flow, choice, now) };
        outcome.unwrap_or_else(|refusal| (Verdict::Drop(refusal), *flow))
    }

    fn forward(&mut self, flow: &Flow, choice: Option<SocketAddr>, now: Time) -> Result<(Verdict, Flow), Refusal> {
        let (external, translation) = self.leave(flow, choice, now)?;
        Ok((Verdict::Forward(translation), with_source(flow, external)))
    }

    fn hairpin(&mut self, flow: &Flow, choice: Option<SocketAddr>, now: Time) -> Result<(Verdict, Flow), Refusal> {
        if self.behavior.hairpin.udp == Hairpin::Off {
            return Err(refuse(DropReason::HairpinOff));
        }
        if flow.protocol == Protocol::Icmp {
            return Err(refuse(DropReason::NoMapping));
        }
        let (external, source) = self.leave(flow, choice, now)?;
        let outside = with_source(flow, external);
        let (internal, destination) =
            self.enter(&outside, self.behavior.hairpin_filter == HairpinFilter::Apply, now)?;
        let shown = if self.behavior.hairpin.udp == Hairpin::ExternalSource { outside } else { *flow };
        Ok((Verdict::Hairpin { source, destination }, with_destination(&shown, internal)))
    }

    pub(crate) fn inbound(&mut self, flow: &Flow, now: Time) -> (Verdict, Flow) {
        if self.passes() {
            return (Verdict::Pass, *flow);
        }
        self.expire(now);
        match self.enter(flow, true, now) {
            Ok((internal, translation)) => (Verdict::Forward(translation), with_destination(flow, internal)),
            Err(refusal) => (Verdict::Drop(refusal), *flow),
        }
    }

    fn passes(&self) -> bool {
        !self.translates && self.behavior.filtering.udp == Filtering::Off
    }

    fn leave(&mut self, flow: &Flow, choice: Option<SocketAddr>, now: Time) -> Answer {
        let remote = remote_of(flow.protocol, flow.destination);
        if let Some(index) = self.leader(flow.protocol, flow.source, remote) {
            return Ok(self.pass(index, Side::Inside, flow, now));
        }
        let reply = flow.protocol == Protocol::Icmp && !flow.flags.syn;
        if reply || flow.protocol == Protocol::Tcp && !opens(flow.flags) {
            return Err(refuse(DropReason::NoSession));
        }
        let towards = self.towards(remote);
        let same =
            |one: &&MappingView| one.protocol == flow.protocol && one.internal == flow.source && one.towards == towards;
        let known = self.mappings.iter().find(same).map(|one| one.id);
        let mapping = match known {
            Some(id) => id,
            None => self.open_mapping(flow, towards, choice, now)?,
        };
        self.open_session(mapping, remote, Side::Inside, now);
        let translation = Translation { mapping, new_mapping: known.is_none(), quoted: false };
        Ok((self.mapping(mapping).external, translation))
    }

    fn enter(&mut self, flow: &Flow, judged: bool, now: Time) -> Answer {
        let remote = remote_of(flow.protocol, flow.source);
        let addressed = |one: &&MappingView| one.protocol == flow.protocol && one.external == flow.destination;
        let Some(mapping) = self.mappings.iter().find(addressed).copied() else {
            return Err(refuse(if self.translates { DropReason::NoMapping } else { DropReason::Filtered }));
        };
        if judged && !self.admits(&mapping, remote) {
            return Err(Refusal { reason: DropReason::Filtered, mapping: Some(mapping.id), answer: None });
        }
        if let Some(index) = self.sessions.iter().position(|one| one.mapping == mapping.id && one.remote == remote) {
            self.pin(index);
            return Ok(self.pass(index, Side::Outside, flow, now));
        }
        if flow.protocol == Protocol::Tcp && !opens(flow.flags) {
            return Err(Refusal { reason: DropReason::NoSession, mapping: Some(mapping.id), answer: None });
        }
        self.open_session(mapping.id, remote, Side::Outside, now);
        self.pin(self.sessions.len() - 1);
        Ok((mapping.internal, Translation { mapping: mapping.id, new_mapping: false, quoted: false }))
    }

    /// Whether a packet from inside has gone to the remote, through the mapping or from the endpoint, lately enough.
    fn admits(&self, mapping: &MappingView, remote: SocketAddr) -> bool {
        let of_scope = |session: &&Session| match self.behavior.filter_scope {
            FilterScope::Mapping => session.mapping == mapping.id,
            FilterScope::Endpoint => {
                let other = self.mapping(session.mapping);
                (other.protocol, other.internal) == (mapping.protocol, mapping.internal)
            }
        };
        let mut sent_to = self.sessions.iter().filter(|session| session.permits).filter(of_scope);
        match self.behavior.filtering.udp {
            Filtering::EndpointIndependent | Filtering::Off => true,
            Filtering::AddressDependent => sent_to.any(|session| session.remote.ip() == remote.ip()),
            Filtering::AddressAndPortDependent | Filtering::ConnectionDependent => {
                sent_to.any(|session| session.remote == remote)
            }
        }
    }

    fn towards(&self, remote: SocketAddr) -> Option<SocketAddr> {
        match self.behavior.mapping.udp {
            _ if !self.translates => None,
            Mapping::EndpointIndependent => None,
            Mapping::AddressDependent => Some(SocketAddr::new(remote.ip(), 0)),
            Mapping::AddressAndPortDependent | Mapping::ConnectionDependent => Some(remote),
        }
    }

    /// With affinity, replies use the mapping that let the packet in.
    fn pin(&mut self, index: usize) {
        if self.behavior.session_affinity == SessionAffinity::On {
            let mapping = self.mapping(self.sessions[index].mapping);
            let leader = self.leader(mapping.protocol, mapping.internal, self.sessions[index].remote);
            leader.into_iter().for_each(|former| self.sessions[former].leads = false);
            self.sessions[index].leads = true;
        }
    }

    fn leader(&self, protocol: Protocol, internal: SocketAddr, remote: SocketAddr) -> Option<usize> {
        self.sessions.iter().position(|session| {
            let mapping = self.mapping(session.mapping);
            session.leads && session.remote == remote && (mapping.protocol, mapping.internal) == (protocol, internal)
        })
    }

    fn mapping(&self, id: MappingId) -> MappingView {
        *self.mappings.iter().find(|mapping| mapping.id == id).expect("a session's mapping lives")
    }

    fn open_mapping(
        &mut self,
        flow: &Flow,
        towards: Option<SocketAddr>,
        choice: Option<SocketAddr>,
        now: Time,
    ) -> Result<MappingId, Refusal> {
        let external = if self.translates { self.choose(flow, choice)? } else { flow.source };
        self.last_id += 1;
        let id = MappingId(self.last_id);
        let (protocol, internal) = (flow.protocol, flow.source);
        self.mappings.push(MappingView { id, protocol, internal, external, towards, created: now });
        Ok(id)
    }

    /// The engine's choice, if the rules allow it.
    fn choose(&mut self, flow: &Flow, choice: Option<SocketAddr>) -> Result<SocketAddr, Refusal> {
        let may_use = self.addresses_for(flow);
        let free: Vec<(IpAddr, Vec<u16>)> = may_use.iter().map(|one| (*one, self.free(flow.protocol, *one))).collect();
        if free.iter().all(|(_, ports)| ports.is_empty()) {
            return Err(refuse(DropReason::PortsExhausted));
        }
        let choice = choice.expect("a mapping was to be opened");
        let (_, ports) = free.iter().find(|(address, _)| *address == choice.ip()).expect("an address that it may use");
        assert!(ports.contains(&choice.port()), "{choice} is not free, or not in the range");
        let wanted = flow.source.port();
        let rule = match (flow.protocol, self.behavior.icmp_identifier) {
            (Protocol::Icmp, IcmpIdentifier::Random) => PortAllocation::Random,
            (Protocol::Icmp, IcmpIdentifier::Preserve) => PortAllocation::Preserve,
            _ => self.behavior.ports.allocation,
        };
        match rule {
            PortAllocation::Preserve if ports.contains(&wanted) => assert_eq!(choice.port(), wanted),
            PortAllocation::Sequential => self.check_sequence(flow.protocol, choice, ports),
            _ => {}
        }
        Ok(choice)
    }

    fn check_sequence(&mut self, protocol: Protocol, choice: SocketAddr, free: &[u16]) {
        let key = (choice.ip(), protocol);
        let last = self.sequential.iter().find(|(address, of, _)| (*address, *of) == key).map(|(_, _, last)| *last);
        let next = free.iter().find(|port| last.is_none_or(|last| **port > last)).or(free.first());
        assert_eq!(Some(&choice.port()), next, "after {last:?}");
        self.sequential.retain(|(address, of, _)| (*address, *of) != key);
        self.sequential.push((choice.ip(), protocol, choice.port()));
    }

    fn addresses_for(&self, flow: &Flow) -> Vec<IpAddr> {
        if self.behavior.pooling == Pooling::Arbitrary {
            return self.external.clone();
        }
        let pair = self.mappings.iter().find(|mapping| mapping.internal.ip() == flow.source.ip());
        let internals_on = |address: &IpAddr| {
            let on = self.mappings.iter().filter(|mapping| mapping.external.ip() == *address);
            on.map(|mapping| mapping.internal.ip()).collect::<std::collections::BTreeSet<IpAddr>>().len()
        };
        let with_room = self.external.iter().filter(|address| !self.free(flow.protocol, **address).is_empty());
        let emptiest = with_room.min_by_key(|address| internals_on(address)).copied();
        pair.map(|mapping| mapping.external.ip()).or(emptiest).into_iter().collect()
    }

    fn free(&self, protocol: Protocol, address: IpAddr) -> Vec<u16> {
        let range =
            if protocol == Protocol::Icmp { 0..=u16::MAX } else { self.behavior.ports.range.ranges()[0].clone() };
        let same = self.mappings.iter().filter(|one| one.protocol == protocol && one.external.ip() == address);
        let taken: Vec<u16> = same.map(|mapping| mapping.external.port()).collect();
        range.filter(|port| !taken.contains(port)).collect()
    }

    fn open_session(&mut self, id: MappingId, remote: SocketAddr, side: Side, now: Time) {
        let mapping = self.mapping(id);
        let leads = match self.behavior.session_affinity {
            SessionAffinity::On => self.leader(mapping.protocol, mapping.internal, remote).is_none(),
            SessionAffinity::Off => mapping.towards == self.towards(remote),
        };
        let timeouts = &self.behavior.timeouts;
        let lifetime = match mapping.protocol {
            Protocol::Udp => timeouts.udp,
            Protocol::Tcp => timeouts.tcp_opening,
            Protocol::Icmp => timeouts.icmp,
        };
        let syn = [side == Side::Inside, side == Side::Outside];
        let (permits, deadline) = (side == Side::Inside, now + lifetime);
        self.sessions.push(Session {
            mapping: id,
            remote,
            deadline,
            permits,
            leads,
            syn,
            fin: [false; 2],
            reset: false,
        });
    }

    fn pass(&mut self, index: usize, side: Side, flow: &Flow, now: Time) -> (SocketAddr, Translation) {
        let (timeouts, refresh) = (&self.behavior.timeouts, self.behavior.refresh);
        let refreshes = match side {
            Side::Inside => matches!(refresh, Refresh::Outbound | Refresh::Both),
            Side::Outside => matches!(refresh, Refresh::Inbound | Refresh::Both),
        };
        let session = &mut self.sessions[index];
        session.permits |= side == Side::Inside;
        let lifetime = match flow.protocol {
            Protocol::Udp => refreshes.then_some(timeouts.udp),
            Protocol::Icmp => refreshes.then_some(timeouts.icmp),
            Protocol::Tcp => session.segment(side as usize, flow.flags, timeouts),
        };
        session.deadline = lifetime.map_or(session.deadline, |lifetime| now + lifetime);
        let mapping = self.mapping(self.sessions[index].mapping);
        let endpoint = if side == Side::Inside { mapping.external } else { mapping.internal };
        (endpoint, Translation { mapping: mapping.id, new_mapping: false, quoted: false })
    }

    fn expire(&mut self, now: Time) {
        self.sessions.retain(|session| now < session.deadline);
        self.end(MappingEnd::Expired, |_| false);
    }

    /// Ends mappings that nothing holds, or that are chosen, with all that hangs on them.
    fn end(&mut self, why: MappingEnd, chosen: impl Fn(&MappingView) -> bool) {
        let from_outside = matches!(self.behavior.refresh, Refresh::Inbound | Refresh::Both);
        let holds = |session: &Session, mapping: &MappingView| {
            session.mapping == mapping.id && (session.permits || from_outside || mapping.protocol == Protocol::Tcp)
        };
        let dead = |mapping: &&MappingView| chosen(mapping) || !self.sessions.iter().any(|one| holds(one, mapping));
        let gone: Vec<MappingView> = self.mappings.iter().filter(dead).copied().collect();
        self.mappings.retain(|mapping| !gone.contains(mapping));
        self.sessions.retain(|session| !gone.iter().any(|mapping| mapping.id == session.mapping));
        self.ended.extend(gone.into_iter().map(|mapping| Ended { mapping, why }));
        if self.behavior.session_affinity == SessionAffinity::On {
            self.promote();
        }
    }

    /// Where the leading session of a pair is gone, the one on the oldest mapping leads.
    fn promote(&mut self) {
        let mut oldest_first: Vec<usize> = (0..self.sessions.len()).collect();
        oldest_first.sort_by_key(|index| self.sessions[*index].mapping);
        for index in oldest_first {
            let session = &self.sessions[index];
            let mapping = self.mapping(session.mapping);
            let leaderless = self.leader(mapping.protocol, mapping.internal, session.remote).is_none();
            self.sessions[index].leads |= leaderless;
        }
    }

    fn tell(&mut self) -> Vec<Ended> {
        self.ended.sort_by_key(|one| one.mapping.id);
        std::mem::take(&mut self.ended)
    }

    pub(crate) fn handle_timeout(&mut self, now: Time) -> Vec<Ended> {
        self.expire(now);
        self.tell()
    }

    pub(crate) fn readdress(&mut self, external: Vec<IpAddr>) -> Vec<Ended> {
        if self.translates {
            self.end(MappingEnd::Readdressed, |mapping| !external.contains(&mapping.external.ip()));
            self.sequential.retain(|(address, _, _)| external.contains(address));
        }
        self.external = external;
        self.tell()
    }

    pub(crate) fn reboot(&mut self) -> Vec<Ended> {
        self.end(MappingEnd::Rebooted, |_| true);
        self.sequential.clear();
        self.tell()
    }

    pub(crate) fn views(&self) -> Vec<MappingView> {
        self.mappings.clone()
    }

    /// When a session will be the next to end.
    pub(crate) fn next_end(&self) -> Option<Time> {
        self.sessions.iter().map(|session| session.deadline).min()
    }
}

impl Session {
    /// A TCP segment; how long the session lives from now on, if the segment counts at all.
    fn segment(&mut self, side: usize, flags: TcpFlags, timeouts: &Timeouts) -> Option<Duration> {
        if self.syn != [true; 2] {
            let syn = flags.syn && !flags.rst;
            self.syn[side] |= syn;
            return syn.then_some(if self.syn == [true; 2] { timeouts.tcp_established } else { timeouts.tcp_opening });
        }
        if self.fin == [true; 2] || (self.reset && flags.rst) {
            return None;
        }
        if self.reset || flags.rst {
            (self.reset, self.fin) = (flags.rst, [false; 2]);
        } else {
            self.fin[side] |= flags.fin;
        }
        let over = self.reset || self.fin == [true; 2];
        Some(if over { timeouts.tcp_closing } else { timeouts.tcp_established })
    }
}

fn opens(flags: TcpFlags) -> bool {
    flags.syn && !flags.ack && !flags.rst
}

fn with_source(flow: &Flow, source: SocketAddr) -> Flow {
    let mut destination = flow.destination;
    if flow.protocol == Protocol::Icmp {
        destination.set_port(source.port());
    }
    Flow { source, destination, ..*flow }
}

fn with_destination(flow: &Flow, destination: SocketAddr) -> Flow {
    let mut source = flow.source;
    if flow.protocol == Protocol::Icmp {
        source.set_port(destination.port());
    }
    Flow { source, destination, ..*flow }
}

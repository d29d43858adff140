//! One address family behind a NAT: the road of a packet, top to bottom.
//!
//! Outbound: classify, find or open the session, touch its timers, rewrite, send. Inbound: classify, find the
//! session or the mapping, ask the filter, touch the timers, rewrite, send. Hairpinning is the one after the
//! other, as if the packet had been outside in between (RFC 4787 section 6): what the first half opened stays open
//! when the second refuses.
//!
//! Where nothing is translated the same road serves as a stateful firewall: every external endpoint is the
//! internal one, and the mapping rule, which could only name it, counts as endpoint-independent.
//!
//! Hairpinned echo has a single identifier for both ends. It leaves with the sender's external identifier, and that
//! is what the second half looks up: behind one external address a host that pings it reaches itself (RFC 5508
//! REQ-7 asks no more of a NAT that rewrites identifiers).

use std::collections::VecDeque;
use std::sync::Arc;

use natbox_wire::{DropReason, Packet, Protocol, Side as End, Time};
use rand_pcg::Pcg64Mcg;

use crate::Behavior;
use crate::behavior::{ExpiryNotify, Hairpin, HairpinFilter, Mapping as MappingRule, SessionAffinity};
use crate::classify::{Class, Flow, classify};
use crate::early::Early;
use crate::filter::{self, Permissions};
use crate::icmp;
use crate::key::{Address, Endpoint, Hash};
use crate::pool::Pool;
use crate::record::{Mapping, Opening};
use crate::short::Short;
use crate::table::{Aside, Table};
use crate::tcp::{Connection, HeldSyns, Tcp, Track};
use crate::timers::{Side, Timers};
use crate::udp::Datagrams;
use crate::uses::Uses;
use crate::verdict::{Ended, HoldId, MappingEnd, MappingId, Output, Refusal, Translation, Verdict};

/// What both families of one NAT share.
pub(crate) struct Shared {
    pub(crate) behavior: Arc<Behavior>,
    pub(crate) timers: Timers,
    /// Which rare axes are in use.
    pub(crate) uses: Uses,
    pub(crate) random: Pcg64Mcg,
    /// The number of the next mapping.
    pub(crate) next_id: u64,
    /// Endings that nobody has been told of yet.
    pub(crate) ended: Vec<Ended>,
    /// What nobody has asked for yet.
    pub(crate) output: VecDeque<Output>,
    /// The number of the next packet that is held.
    pub(crate) next_hold: u64,
}

impl Shared {
    /// A number for a packet that is held.
    pub(crate) fn hold(&mut self) -> HoldId {
        self.next_hold += 1;
        HoldId(self.next_hold)
    }
}

/// One address family: its table and its external addresses.
pub(crate) struct Realm<A> {
    /// Whether addresses are rewritten; else this is a firewall.
    pub(crate) translates: bool,
    pub(crate) table: Table<A>,
    pub(crate) pool: Pool<A>,
    /// SYNs that nobody asked for.
    pub(crate) syns: HeldSyns<A>,
    /// Where connections stand in their sequence spaces, where an axis asks.
    pub(crate) tracks: Aside<Track>,
    /// Connections, where they are followed as Linux does it.
    pub(crate) connections: Aside<Connection>,
    /// The short way, where the behaviour has one.
    pub(crate) short: Option<Short>,
    /// The stages of UDP sessions, where they count.
    pub(crate) datagrams: Aside<Datagrams>,
    /// Who came uninvited.
    pub(crate) early: Early<A>,
}

/// One half of a packet's way: the session that it takes.
pub(crate) struct Passage {
    pub(crate) session: u32,
    pub(crate) new_mapping: bool,
}

/// A refusal without a mapping.
pub(crate) fn refuse(reason: DropReason) -> Refusal {
    Refusal { reason, mapping: None, answer: None }
}

/// What the rare ways end with.
fn verdict(result: Result<Verdict, Refusal>) -> Verdict {
    result.unwrap_or_else(Verdict::Drop)
}

impl<A: Address> Realm<A> {
    pub(crate) fn new(
        behavior: &Behavior,
        translates: bool,
        external: impl Iterator<Item = A>,
        hash: Hash,
    ) -> Realm<A> {
        let affinity = behavior.session_affinity == SessionAffinity::On;
        // Where nothing is translated, the rule could only name what it has: the internal endpoint.
        let rules = [Protocol::Udp, Protocol::Tcp, Protocol::Icmp].map(|protocol| match translates {
            true => *behavior.mapping.of(protocol),
            false => MappingRule::EndpointIndependent,
        });
        let table = Table::new(hash.clone(), rules, affinity, Permissions::of(behavior, hash.clone()));
        let (pool, datagrams, early) = (Pool::new(external, hash.clone()), Aside::default(), Early::new(hash));
        let (short, syns, tracks) = (Short::of(behavior, translates), HeldSyns::default(), Aside::default());
        let connections = Aside::default();
        Realm { translates, table, pool, syns, tracks, connections, short, datagrams, early }
    }

    /// A packet from inside.
    #[inline]
    pub(crate) fn outbound(&mut self, nat: &mut Shared, packet: &mut Packet, now: Time) -> Verdict {
        self.expire(nat, now);
        let flow = match classify(packet) {
            Ok(Class::Flow(flow)) => flow,
            Ok(Class::Error) => return verdict(icmp::outbound(self, &nat.behavior, packet)),
            Err(reason) => return Verdict::Drop(refuse(reason)),
        };
        if self.translates && self.pool.owns(flow.destination.address) {
            return verdict(self.hairpin(nat, packet, flow, now));
        }
        match self.leave(nat, packet, flow, now) {
            Ok(passage) => self.forward(packet, Side::Inside, passage),
            Err(refusal) => Verdict::Drop(refusal),
        }
    }

    /// A packet from outside.
    #[inline]
    pub(crate) fn inbound(&mut self, nat: &mut Shared, packet: &mut Packet, now: Time) -> Verdict {
        self.expire(nat, now);
        let flow = match classify(packet) {
            Ok(Class::Flow(flow)) => flow,
            Ok(Class::Error) => return verdict(icmp::inbound(self, packet)),
            Err(reason) => return Verdict::Drop(refuse(reason)),
        };
        if nat.uses.any(Uses::BLACKLIST)
            && let Err(refusal) = self.refuse_listed(&flow, now)
        {
            return Verdict::Drop(refusal);
        }
        match self.enter(nat, packet, flow, true, now) {
            Ok(passage) => self.forward(packet, Side::Outside, passage),
            Err(refusal) => self.unsolicited(nat, packet, Side::Outside, flow, refusal, now),
        }
    }

    /// A packet from one side goes on to the other, with the endpoint that its session gives it.
    #[inline(always)]
    fn forward(&mut self, packet: &mut Packet, from: Side, passage: Passage) -> Verdict {
        let session = self.table.session(passage.session);
        if self.translates {
            match from {
                Side::Inside => session.external.write(End::Source, packet),
                Side::Outside => session.internal.write(End::Destination, packet),
            }
        }
        Verdict::Forward(self.translation(passage))
    }

    /// A packet from inside to one of the NAT's own addresses.
    #[inline(never)]
    fn hairpin(&mut self, nat: &mut Shared, packet: &mut Packet, flow: Flow<A>, now: Time) -> Result<Verdict, Refusal> {
        if *nat.behavior.hairpin.of(flow.protocol) == Hairpin::Off {
            return Err(refuse(DropReason::HairpinOff));
        }
        let sender = self.leave(nat, packet, flow, now)?;
        let external = self.table.session(sender.session).external;
        let judged = nat.behavior.hairpin_filter == HairpinFilter::Apply;
        let flow = flow.leaving_as(external);
        let receiver = match self.enter(nat, packet, flow, judged, now) {
            Ok(receiver) => receiver,
            Err(refusal) => return Ok(self.unsolicited(nat, packet, Side::Inside, flow, refusal, now)),
        };
        if *nat.behavior.hairpin.of(flow.protocol) == Hairpin::ExternalSource {
            external.write(End::Source, packet);
        }
        self.table.session(receiver.session).internal.write(End::Destination, packet);
        Ok(Verdict::Hairpin { source: self.translation(sender), destination: self.translation(receiver) })
    }

    /// The outbound half: by which external endpoint the packet leaves.
    #[inline(always)]
    fn leave(&mut self, nat: &mut Shared, packet: &Packet, flow: Flow<A>, now: Time) -> Result<Passage, Refusal> {
        let remote = flow.destination.as_remote(flow.protocol);
        match self.table.find_outbound(flow.protocol, flow.source, remote) {
            Some(session) if flow.protocol == Protocol::Tcp => self.leave_segment(nat, packet, session, flow, now),
            Some(session) => Ok(self.pass(nat, session, Side::Inside, flow, now)),
            None => self.leave_anew(nat, packet, flow, remote, now),
        }
    }

    /// An outbound packet of no session: opens one, on the mapping that the rule names.
    #[inline(never)]
    pub(crate) fn leave_anew(
        &mut self,
        nat: &mut Shared,
        packet: &Packet,
        flow: Flow<A>,
        remote: Endpoint<A>,
        now: Time,
    ) -> Result<Passage, Refusal> {
        if !flow.opens || flow.protocol == Protocol::Tcp {
            self.may_open(nat, flow)?;
        }
        if self.table.is_full() {
            return Err(refuse(DropReason::SessionsExhausted));
        }
        let towards = self.table.towards(flow.protocol, remote);
        let key = towards.unwrap_or(Endpoint::unspecified());
        let known = match nat.uses.any(Uses::EARLY) {
            false => self.table.find_rule(flow.protocol, flow.source, key),
            true => self.find_unoccupied(&flow, key, now),
        };
        let mapping = match known {
            Some(index) => index,
            None => self.open_mapping(nat, &flow, towards, now).map_err(refuse)?,
        };
        let session = self.open_session(nat, mapping, remote, Side::Inside, now);
        if flow.protocol == Protocol::Tcp {
            self.segment_opened(nat, packet, session, Side::Inside, flow, now);
        }
        Ok(Passage { session, new_mapping: known.is_none() })
    }

    pub(crate) fn open_mapping(
        &mut self,
        nat: &mut Shared,
        flow: &Flow<A>,
        towards: Option<Endpoint<A>>,
        now: Time,
    ) -> Result<u32, DropReason> {
        let external = match self.translates {
            false => flow.source,
            true if nat.uses.any(Uses::EARLY) => self.take_unoccupied(nat, flow, now)?,
            true => self.take_external(nat, flow)?,
        };
        let (protocol, internal, id) = (flow.protocol, flow.source, MappingId(nat.next_id));
        nat.next_id += 1;
        let mapping = Mapping { protocol, internal, external, towards, findable: true, id, created: now };
        Ok(self.table.open_mapping(mapping))
    }

    pub(crate) fn take_external(&mut self, nat: &mut Shared, flow: &Flow<A>) -> Result<Endpoint<A>, DropReason> {
        if self.pool.is_empty() {
            return Err(DropReason::NoRoute);
        }
        let (pooling, ports) = (nat.behavior.pooling, &nat.behavior.ports);
        let taken = self.pool.take(flow.protocol, flow.source, pooling, ports, &mut nat.random);
        taken.ok_or(DropReason::PortsExhausted)
    }

    pub(crate) fn open_session(
        &mut self,
        nat: &Shared,
        mapping: u32,
        remote: Endpoint<A>,
        side: Side,
        now: Time,
    ) -> u32 {
        let (protocol, internal) = (self.table.mapping(mapping).protocol, self.table.mapping(mapping).internal);
        let leads = match nat.behavior.session_affinity {
            SessionAffinity::On => self.table.find_outbound(protocol, internal, remote).is_none(),
            SessionAffinity::Off => self.table.leads_to(mapping, remote),
        };
        let session = self.table.open_session(Opening {
            mapping,
            remote,
            tcp: Tcp::opened_from(side),
            permits: side == Side::Inside,
            holds: nat.timers.holds(protocol, side),
            leads,
            deadline: nat.timers.first_deadline(protocol, remote.port, now),
        });
        self.began(nat, session, side, now);
        session
    }

    /// The inbound half: to which internal endpoint the packet goes. `judged` says whether the filter has a say.
    #[inline(always)]
    fn enter(
        &mut self,
        nat: &mut Shared,
        packet: &Packet,
        flow: Flow<A>,
        judged: bool,
        now: Time,
    ) -> Result<Passage, Refusal> {
        let remote = flow.source.as_remote(flow.protocol);
        let Some(index) = self.table.find_inbound(flow.protocol, flow.destination, remote) else {
            return self.enter_anew(nat, packet, flow, remote, judged, now);
        };
        let session = self.table.session(index);
        let mapping = session.mapping_of(index);
        if judged && !session.permits() && !filter::admits(&self.table, &nat.behavior, mapping, remote) {
            let refusal = Refusal { reason: DropReason::Filtered, mapping: Some(session.id), answer: None };
            self.uninvited(nat, &flow, Some(mapping), now);
            return Err(refusal);
        }
        if flow.protocol == Protocol::Tcp {
            return self.enter_segment(nat, packet, index, flow, judged, now);
        }
        self.pin(nat, index);
        Ok(self.pass(nat, index, Side::Outside, flow, now))
    }

    /// With affinity, replies use the mapping that let the packet in.
    #[inline]
    pub(crate) fn pin(&mut self, nat: &Shared, index: u32) {
        if !self.table.session(index).leads() && nat.behavior.session_affinity == SessionAffinity::On {
            self.table.lead(index);
        }
    }

    /// An inbound packet of no session: opens one, on the mapping that it is addressed to, if the filter admits it.
    #[inline(never)]
    pub(crate) fn enter_anew(
        &mut self,
        nat: &mut Shared,
        packet: &Packet,
        flow: Flow<A>,
        remote: Endpoint<A>,
        judged: bool,
        now: Time,
    ) -> Result<Passage, Refusal> {
        if nat.uses.any(Uses::EARLY) {
            self.refuse_occupied(nat, &flow, now)?;
        }
        let Some(mapping) = self.table.find_endpoint(flow.protocol, flow.destination) else {
            self.uninvited(nat, &flow, None, now);
            return Err(refuse(if self.translates { DropReason::NoMapping } else { DropReason::Filtered }));
        };
        let refuse = |reason| Err(Refusal { reason, mapping: Some(self.table.mapping(mapping).id), answer: None });
        if judged && !filter::admits(&self.table, &nat.behavior, mapping, remote) {
            let refusal = refuse(DropReason::Filtered);
            self.uninvited(nat, &flow, Some(mapping), now);
            return refusal;
        }
        // An echo reply from a remote that the filter admits passes like any datagram: it has no handshake.
        if flow.protocol == Protocol::Tcp && !flow.opens {
            return refuse(DropReason::NoSession);
        }
        if self.table.is_full() {
            return refuse(DropReason::SessionsExhausted);
        }
        let index = self.open_session(nat, mapping, remote, Side::Outside, now);
        if flow.protocol == Protocol::Tcp {
            self.segment_opened(nat, packet, index, Side::Outside, flow, now);
        }
        self.pin(nat, index);
        Ok(Passage { session: index, new_mapping: false })
    }

    /// A packet of a known session passes: it gives permission and touches the timers.
    #[inline(always)]
    fn pass(&mut self, nat: &Shared, index: u32, side: Side, flow: Flow<A>, now: Time) -> Passage {
        let permits = self.table.session(index).permits();
        let deadline = match nat.timers.stages.is_some() && flow.protocol == Protocol::Udp {
            false => nat.timers.after(flow.protocol, side, now),
            true => self.after_datagram(nat, index, side, now),
        };
        if side == Side::Inside && !permits {
            self.table.permit(index);
        }
        if let Some(deadline) = deadline {
            self.table.set_deadline(index, deadline);
        }
        Passage { session: index, new_mapping: false }
    }

    /// How a passage is told.
    #[inline(always)]
    fn translation(&mut self, passage: Passage) -> Translation {
        let session = self.table.session(passage.session);
        let (mapping, index) = (session.id, session.mapping_of(passage.session));
        self.table.remember(index);
        Translation { mapping, new_mapping: passage.new_mapping, quoted: false }
    }

    /// Ends what is due.
    #[inline]
    pub(crate) fn expire(&mut self, nat: &mut Shared, now: Time) {
        if self.table.next_deadline().is_some_and(|next| next <= now) || self.syns.is_due(now) {
            self.expire_due(nat, now);
        }
    }

    /// When something will be due next.
    pub(crate) fn next_deadline(&self) -> Option<Time> {
        [self.table.next_deadline(), self.syns.next_deadline()].into_iter().flatten().min()
    }

    /// When a packet that is held may go on or die next, or one of the NAT's own making may leave.
    pub(crate) fn next_output(&self, nat: &Shared) -> Option<Time> {
        let tells = nat.behavior.expiry_notify != ExpiryNotify::None;
        let notice = self.table.next_deadline().filter(|_| tells);
        [notice, self.syns.next_deadline()].into_iter().flatten().min()
    }

    #[cold]
    fn expire_due(&mut self, nat: &mut Shared, now: Time) {
        self.syns.expire(nat, now);
        while let Some(index) = self.table.next_due(now) {
            self.end_due(nat, index, now);
        }
    }

    /// Ends a session, and tells if its mapping ends with it, and why.
    pub(crate) fn end_session(&mut self, nat: &mut Shared, index: u32, why: MappingEnd) {
        if let Some(mapping) = self.table.close_session(index) {
            self.release(nat, &mapping);
            nat.ended.push(Ended { mapping: mapping.view(), why });
        }
    }

    /// Ends a mapping with all its sessions, and tells why.
    pub(crate) fn end_mapping(&mut self, nat: &mut Shared, index: u32, why: MappingEnd) {
        let mapping = self.table.close_mapping(index);
        self.release(nat, &mapping);
        nat.ended.push(Ended { mapping: mapping.view(), why });
    }

    fn release(&mut self, nat: &Shared, mapping: &Mapping<A>) {
        if self.translates {
            self.pool.release(mapping.protocol, mapping.internal.address, mapping.external, nat.behavior.pooling);
        }
    }

    /// Replaces the external addresses; mappings on addresses that are gone end.
    pub(crate) fn readdress(&mut self, nat: &mut Shared, external: impl Iterator<Item = A>) {
        if !self.translates {
            return;
        }
        self.pool.readdress(external);
        let gone = self.table.mappings().filter(|(_, mapping)| !self.pool.owns(mapping.external.address));
        for index in gone.map(|(index, _)| index).collect::<Vec<u32>>() {
            let mapping = self.table.close_mapping(index);
            nat.ended.push(Ended { mapping: mapping.view(), why: MappingEnd::Readdressed });
        }
        if nat.behavior.pooling == crate::behavior::Pooling::Paired {
            self.table
                .mappings()
                .for_each(|(_, mapping)| self.pool.pair(mapping.internal.address, mapping.external.address));
        }
    }
}

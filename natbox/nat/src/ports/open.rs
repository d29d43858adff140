//! The road of a new mapping: limits, an external endpoint, somebody who gives way if there is none; and its end.
//!
//! Limits are those of an internal address (RFC 6888 REQ-4 and REQ-5), and count where addresses are translated. A packet
//! for which nothing is left dies, and its sender is told as `exhausted` says, or somebody else's mapping ends: the one
//! that would end first of those whose end helps. Where the table itself is full, `table_full` says whose session ends. New mappings a second are a rate, which nobody's end makes room in.

use natbox_wire::{DropReason, IcmpError, Protocol, Time};

use crate::behavior::{Exhausted, PortAllocation, TableFull};
use crate::classify::Flow;
use crate::key::{Address, Endpoint};
use crate::ports::evict::Candidate;
use crate::ports::quarantine::Waiting;
use crate::ports::share::other;
use crate::ports::take::{Ask, Grant, InUse, Miss};
use crate::realm::{Realm, Shared};
use crate::record::Mapping;
use crate::table::Table;
use crate::tcp::Stage;
use crate::verdict::{Answer, MappingEnd, MappingId, Refusal, Side, refuse};

/// What the table knows of external endpoints, to one who asks for one.
struct Known<'a, A> {
    table: &'a Table<A>,
    early: &'a crate::early::Early<A>,
    explicit: &'a crate::explicit::Explicit<A>,
    protocol: Protocol,
    remote: Endpoint<A>,
    now: Time,
}

impl<A: Address> InUse<A> for Known<'_, A> {
    fn is_mapped(&self, external: Endpoint<A>) -> bool {
        // What was asked for nobody shares or takes over: to those who would, it is a port that is only kept.
        self.table.find_endpoint(self.protocol, external).is_some_and(|mapping| !self.explicit.is_on(mapping))
    }

    fn is_anothers(&self, external: Endpoint<A>, internal: A) -> bool {
        let mapping = self.table.find_endpoint(self.protocol, external);
        mapping.is_some_and(|index| self.table.mapping(index).internal.address != internal)
    }

    fn is_used(&self, external: Endpoint<A>) -> bool {
        self.table.find_inbound(self.protocol, external, self.remote).is_some() || self.is_occupied(external)
    }

    fn is_occupied(&self, external: Endpoint<A>) -> bool {
        self.early.occupies(self.protocol, external, self.remote, self.now)
    }
}

/// Where there is room to be made.
#[derive(Clone, Copy)]
enum Lack<A> {
    /// Among the ports that this internal endpoint may get.
    Port(Protocol, Endpoint<A>),
    /// Among what this internal address may have.
    Host(A),
}

impl<A: Address> Realm<A> {
    /// Refuses a packet for which nothing is left, and says what its sender is told.
    fn exhausted(nat: &Shared, reason: DropReason) -> Refusal {
        let answer = match nat.behavior.exhausted {
            Exhausted::DropIcmp13 => Some(IcmpError::AdminProhibited),
            Exhausted::DropIcmp1 => Some(IcmpError::HostUnreachable),
            Exhausted::DropSilent | Exhausted::EvictLru | Exhausted::EvictUnassured => None,
        };
        Refusal { answer: answer.map(Answer::Icmp), ..refuse(reason) }
    }

    /// Whether an internal endpoint may have one session more. `side` is where its first packet comes from: one from
    /// outside makes nobody give way, and is answered nothing.
    pub(crate) fn admit_session(&mut self, nat: &mut Shared, internal: Endpoint<A>, side: Side) -> Result<(), Refusal> {
        let refusal = |nat: &Shared, reason| match side {
            Side::Inside => Self::exhausted(nat, reason),
            Side::Outside => refuse(reason),
        };
        if self.table.is_full(nat.behavior.table_size) && !(side == Side::Inside && self.make_room_in_table(nat)) {
            return Err(refusal(nat, DropReason::SessionsExhausted));
        }
        let Some(most) = nat.behavior.quota.sessions.filter(|_| self.translates) else { return Ok(()) };
        let is_full =
            |realm: &Realm<A>| realm.pool.hosts.find(internal.address).is_some_and(|one| one.sessions >= most);
        if is_full(self) && side == Side::Inside {
            self.make_room(nat, Lack::Host(internal.address));
        }
        if is_full(self) { Err(refusal(nat, DropReason::QuotaExceeded)) } else { Ok(()) }
    }

    /// The mapping that the rule names for a packet from inside, of those that may be used towards its remote.
    pub(crate) fn find_usable(&self, flow: &Flow<A>, towards: Endpoint<A>, now: Time) -> Option<u32> {
        if let Some(mapping) = self.explicit.leaving(flow.protocol, flow.source) {
            return Some(mapping);
        }
        let remote = flow.destination.as_remote(flow.protocol);
        let (table, early, explicit) = (&self.table, &self.early, &self.explicit);
        let known = Known { table, early, explicit, protocol: flow.protocol, remote, now };
        let mut named = self.table.find_rules(flow.protocol, flow.source, towards);
        match self.pool.by_destination() {
            // The newest first, as Linux looks for them (`find_appropriate_src`): C.7 (b) of the ledger.
            true => named.filter(|index| !known.is_used(self.table.mapping(*index).external)).last(),
            false if self.early.is_empty() => named.next(),
            false => named.filter(|index| !known.is_occupied(self.table.mapping(*index).external)).last(),
        }
    }

    /// An external endpoint for a new mapping of this packet's source.
    pub(crate) fn take_external(
        &mut self,
        nat: &mut Shared,
        flow: &Flow<A>,
        towards: Option<Endpoint<A>>,
        now: Time,
    ) -> Result<Endpoint<A>, Refusal> {
        self.admit_mapping(nat, flow.source.address, now)?;
        let remote = flow.destination.as_remote(flow.protocol);
        let sibling = self.sibling(nat, flow.protocol, flow.source, towards);
        let ask = Ask { protocol: flow.protocol, internal: flow.source, remote, sibling, now };
        let granted = match self.ask(nat, &ask) {
            Err(Miss::Full) if self.make_room(nat, Lack::Port(flow.protocol, flow.source)) => self.ask(nat, &ask),
            granted => granted,
        };
        let Grant { external, overrides } = granted.map_err(|miss| match miss {
            Miss::NoAddress => refuse(DropReason::NoRoute),
            Miss::AddressesGone => Self::exhausted(nat, DropReason::AddressesExhausted),
            Miss::Full => Self::exhausted(nat, DropReason::PortsExhausted),
            Miss::Taken => Self::exhausted(nat, DropReason::PortTaken),
        })?;
        if overrides {
            self.pool.hold(Some((flow.protocol, external)));
            for mapping in self.table.find_endpoints(flow.protocol, external).collect::<Vec<u32>>() {
                self.end_mapping(nat, mapping, MappingEnd::Overridden);
            }
            self.pool.hold(None);
        }
        Ok(external)
    }

    fn ask(&mut self, nat: &mut Shared, ask: &Ask<A>) -> Result<Grant<A>, Miss> {
        let (protocol, remote, now) = (ask.protocol, ask.remote, ask.now);
        let (table, early, explicit) = (&self.table, &self.early, &self.explicit);
        let known = Known { table, early, explicit, protocol, remote, now };
        self.pool.take(ask, &nat.behavior, &mut nat.random, &known)
    }

    /// Whether an internal address may have one mapping more.
    pub(crate) fn admit_mapping(&mut self, nat: &mut Shared, internal: A, now: Time) -> Result<(), Refusal> {
        let quota = nat.behavior.quota;
        if let Some(most) = quota.ports {
            let is_full = |realm: &Realm<A>| realm.pool.hosts.find(internal).is_some_and(|host| host.mappings >= most);
            if is_full(self) {
                self.make_room(nat, Lack::Host(internal));
            }
            if is_full(self) {
                return Err(Self::exhausted(nat, DropReason::QuotaExceeded));
            }
        }
        if let Some(most) = quota.new_per_second {
            let recent = self.pool.hosts.find_mut(internal).map_or(0, |host| host.new_ones(now));
            if recent >= most as usize {
                return Err(Self::exhausted(nat, DropReason::RateExceeded));
            }
        }
        Ok(())
    }

    /// A mapping has been opened.
    pub(crate) fn opened(&mut self, nat: &Shared, mapping: u32, now: Time) {
        if !self.translates {
            return;
        }
        let record = self.table.mapping(mapping);
        if nat.behavior.quota.new_per_second.is_some() {
            self.pool.hosts.meet(record.internal.address).got_one(now);
        }
        if self.pool.evicts() {
            self.pool.enlist(record.protocol, record.internal.address, record.external, record.id, mapping, now);
        }
    }

    /// The deadline of a session has moved, perhaps nearer: its mapping's place among those that may give way.
    #[inline]
    pub(crate) fn moved(&mut self, session: u32) {
        if self.pool.evicts() && self.translates {
            self.stamp(self.table.mapping_of(session));
        }
    }

    #[cold]
    fn stamp(&mut self, mapping: u32) {
        let until = self.table.sessions_of(mapping).map(|session| self.table.session(session).deadline).max();
        let record = self.table.mapping(mapping);
        let (protocol, internal, external, id) = (record.protocol, record.internal.address, record.external, record.id);
        self.pool.strike(protocol, internal, external, id);
        self.pool.enlist(protocol, internal, external, id, mapping, until.unwrap_or(Time::ZERO));
    }

    /// A session has been opened.
    #[inline]
    pub(crate) fn count_session(&mut self, nat: &Shared, session: u32) {
        if nat.behavior.quota.sessions.is_some() && self.translates {
            self.pool.hosts.meet(self.table.session(session).internal.address).sessions += 1;
        }
    }

    /// How many sessions a mapping has, where they are counted.
    pub(crate) fn counted_sessions(&self, nat: &Shared, mapping: u32) -> u32 {
        match nat.behavior.quota.sessions {
            Some(_) if self.translates => self.table.sessions_of(mapping).count() as u32,
            _ => 0,
        }
    }

    /// Sessions of an internal address have ended.
    pub(crate) fn discount_sessions(&mut self, internal: A, sessions: u32) {
        if sessions > 0
            && let Some(host) = self.pool.hosts.find_mut(internal)
        {
            host.sessions = host.sessions.saturating_sub(sessions);
            self.pool.hosts.rest(internal);
        }
    }

    /// A mapping has left the table: its endpoint may be given out again.
    pub(crate) fn release(&mut self, nat: &Shared, mapping: &Mapping<A>, now: Time) {
        if !self.translates {
            return;
        }
        let Mapping { protocol, internal, external, id, .. } = *mapping;
        if self.pool.evicts() {
            self.pool.strike(protocol, internal.address, external, id);
        }
        let is_mapped = |protocol| self.table.find_endpoint(protocol, external).is_some();
        let shared = other(protocol).filter(|_| self.pool.has_one_set()).is_some_and(is_mapped);
        let still_mapped = shared || self.pool.shares() && is_mapped(protocol);
        self.pool.release(&nat.behavior, protocol, internal, external, still_mapped, now);
    }

    /// Replaces the external addresses; mappings on addresses that are gone end.
    pub(crate) fn readdress(&mut self, nat: &mut Shared, external: impl Iterator<Item = A>) {
        if !self.translates {
            return;
        }
        self.pool.readdress(&nat.behavior, external);
        let gone = self.table.mappings().filter(|(_, mapping)| !self.pool.owns(mapping.external.address));
        for index in gone.map(|(index, _)| index).collect::<Vec<u32>>() {
            self.end_mapping(nat, index, MappingEnd::Readdressed);
        }
        // Only now: a host that seems to have nothing when something of it ends is forgotten.
        self.pool.recount();
        let mut stays: Vec<_> = self.table.mappings().collect();
        stays.sort_by_key(|(_, mapping)| mapping.id);
        for (index, mapping) in stays {
            let sessions = self.counted_sessions(nat, index);
            self.pool.keep(mapping.protocol, mapping.internal.address, mapping.external, sessions);
        }
    }

    /// What outlives a reboot: the ports that rest.
    pub(crate) fn resting(self, nat: &Shared) -> Vec<Waiting<A>> {
        let Realm { table, pool, translates, explicit, .. } = self;
        let lost = table.mappings().filter(|(index, _)| translates && !explicit.is_static(*index));
        let mut mapped: Vec<_> = lost.map(|(_, mapping)| mapping).collect();
        mapped.sort_by_key(|mapping| mapping.id);
        pool.into_resting(&nat.behavior, mapped.into_iter().map(|mapping| (mapping.protocol, mapping.external)))
    }

    /// Ends a session so that another may take its place in the table.
    fn make_room_in_table(&mut self, nat: &mut Shared) -> bool {
        let gives_way = |realm: &Realm<A>, session| match nat.behavior.table_full {
            _ if realm.table.session(session).is_hold() => false,
            TableFull::Drop => false,
            TableFull::EvictLru => true,
            TableFull::EvictUnassured => realm.is_unassured(session),
        };
        if nat.behavior.table_full == TableFull::Drop {
            return false;
        }
        let Some(session) = self.table.soonest().filter(|session| gives_way(self, *session)) else { return false };
        self.end_session(nat, session, MappingEnd::Evicted);
        true
    }

    /// Ends the mapping that would end first of those that leave room; tells whether there was one.
    #[cold]
    fn make_room(&mut self, nat: &mut Shared, lack: Lack<A>) -> bool {
        if !self.pool.evicts() {
            return false;
        }
        let any = nat.behavior.exhausted == Exhausted::EvictLru;
        let of_host = matches!(nat.behavior.ports.allocation, PortAllocation::Block | PortAllocation::Deterministic);
        let (table, datagrams, explicit) = (&self.table, &self.datagrams, &self.explicit);
        let judge = |suits: &dyn Fn(u16) -> bool, index: u32| {
            let mapping = table.mapping(index);
            let until = table.sessions_of(index).map(|session| table.session(session).deadline).max();
            let gives_way = any || table.sessions_of(index).all(|session| is_unassured(table, datagrams, session));
            let helps = match lack {
                Lack::Port(_, internal) => {
                    suits(mapping.external.port) && (!of_host || mapping.internal.address == internal.address)
                }
                Lack::Host(_) => true,
            };
            Candidate { until: until.unwrap_or(Time::ZERO), fits: gives_way && helps && !explicit.is_on(index) }
        };
        let found = match lack {
            Lack::Port(protocol, internal) => self.pool.oldest_on(&nat.behavior, protocol, internal, &judge),
            Lack::Host(internal) => self.pool.oldest_of(internal, &judge),
        };
        let Some(mapping) = found else { return false };
        self.end_mapping(nat, mapping, MappingEnd::Evicted);
        true
    }

    fn is_unassured(&self, session: u32) -> bool {
        is_unassured(&self.table, &self.datagrams, session)
    }

    /// Adds a mapping to the table.
    pub(crate) fn enter_mapping(
        &mut self,
        nat: &mut Shared,
        protocol: Protocol,
        internal: Endpoint<A>,
        external: Endpoint<A>,
        towards: Option<Endpoint<A>>,
        now: Time,
    ) -> u32 {
        let id = MappingId(nat.next_id);
        nat.next_id += 1;
        let mapping = Mapping { protocol, internal, external, towards, findable: true, id, created: now };
        let index = self.table.open_mapping(mapping);
        self.opened(nat, index, now);
        index
    }
}

/// Whether nothing has shown that both ends of a session want it: datagrams of one side only, a connection that is
/// still being opened, or a query (conntrack never assures those).
fn is_unassured<A: Address>(
    table: &Table<A>,
    datagrams: &crate::table::Aside<crate::udp::Datagrams>,
    session: u32,
) -> bool {
    let record = table.session(session);
    match record.protocol {
        Protocol::Udp => datagrams.get(session).is_none_or(|kept| !kept.is_replied()),
        Protocol::Tcp => {
            matches!(record.tcp.stage(), Stage::Opening | Stage::Crossed | Stage::Partial | Stage::PickedUp)
        }
        Protocol::Icmp => true,
    }
}

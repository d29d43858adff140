//! An external endpoint for a new mapping: the address that pooling names, and the port that the rules give on it.
//!
//! Order of decisions: what is kept for the asker, the address, preservation, conflict, the rule. What comes out is marked
//! as taken.

use natbox_wire::{Protocol, Time};
use rand_core::Rng;

use crate::Behavior;
use crate::behavior::{IcmpIdentifier, PoolExhausted, Pooling, PortAllocation, PortClass, PortConflict, PortCounter};
use crate::key::{Address, Endpoint};
use crate::ports::blocks::Wanted;
use crate::ports::choose::{Choice, Free, Keys, mixed, scaled};
use crate::ports::hosts::place;
use crate::ports::pool::{External, Pool, Ports};
use crate::ports::set::PortSet;
use crate::ports::traits::Traits;

/// Who asks for an external endpoint.
pub(crate) struct Ask<A> {
    pub(crate) protocol: Protocol,
    pub(crate) internal: Endpoint<A>,
    pub(crate) remote: Endpoint<A>,
    /// The external endpoint of the other protocol's mapping, where the two share.
    pub(crate) sibling: Option<Endpoint<A>>,
    pub(crate) now: Time,
}

/// What the table knows of external endpoints.
pub(crate) trait InUse<A> {
    /// Whether a mapping of the asking protocol is on it.
    fn is_mapped(&self, external: Endpoint<A>) -> bool;
    /// Whether a mapping of another host is on it.
    fn is_anothers(&self, external: Endpoint<A>, internal: A) -> bool;
    /// Whether a session, or the box itself, uses it towards the asking remote.
    fn is_used(&self, external: Endpoint<A>) -> bool;
    /// Whether the box itself does.
    fn is_occupied(&self, external: Endpoint<A>) -> bool;
}

/// An external endpoint for a new mapping.
pub(crate) struct Grant<A> {
    pub(crate) external: Endpoint<A>,
    /// Whether the mappings on it end.
    pub(crate) overrides: bool,
}

/// Why there is none.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Miss {
    /// There is no external address at all.
    NoAddress,
    /// Every external address belongs to another internal one.
    AddressesGone,
    /// No port is free.
    Full,
    /// The port is taken, and no other may be given.
    Taken,
}

impl<A: Address> Pool<A> {
    /// An external endpoint for a new mapping.
    pub(crate) fn take(
        &mut self,
        ask: &Ask<A>,
        behavior: &Behavior,
        random: &mut impl Rng,
        table: &impl InUse<A>,
    ) -> Result<Grant<A>, Miss> {
        if self.externals.is_empty() {
            return Err(Miss::NoAddress);
        }
        self.free_waiting(ask.now);
        let granted = match self.wished(ask, table) {
            Some(external) => Ok(Grant { external, overrides: false }),
            None if self.traits.basic => self.take_address(ask),
            None if self.plan.is_some() => self.take_planned(ask, behavior, random, table),
            None => self.take_somewhere(ask, behavior, random, table),
        };
        let Ok(grant) = granted else {
            // Looking for one may have made its acquaintance.
            self.hosts.rest(ask.internal.address);
            return granted;
        };
        self.note(ask.protocol, ask.internal.address, grant.external);
        if self.traits.contiguous && !self.traits.basic {
            self.reserve_next(ask, grant.external);
        }
        Ok(grant)
    }

    /// The endpoint that is kept for this one: beside that of the port below, or with that of the other protocol.
    fn wished(&mut self, ask: &Ask<A>, table: &impl InUse<A>) -> Option<Endpoint<A>> {
        if let Some(external) = self.reserved.claim(ask.protocol, ask.internal) {
            return Some(external);
        }
        let external = ask.sibling.filter(|external| !self.traits.basic && !table.is_mapped(*external))?;
        self.index(external.address).map(|_| external)
    }

    /// Basic NAT: the host's address, or one that nobody has.
    fn take_address(&mut self, ask: &Ask<A>) -> Result<Grant<A>, Miss> {
        let nobodys = self.by_load.first().filter(|(internals, _)| *internals == 0).map(|(_, index)| *index as usize);
        let index = self.paired(ask.internal.address).or(nobodys).ok_or(Miss::AddressesGone)?;
        let external = Endpoint { address: self.externals[index].address, port: ask.internal.port };
        Ok(Grant { external, overrides: false })
    }

    /// An endpoint of the address that pooling names, or of another one if that is full and the rules allow it.
    fn take_somewhere(
        &mut self,
        ask: &Ask<A>,
        behavior: &Behavior,
        random: &mut impl Rng,
        table: &impl InUse<A>,
    ) -> Result<Grant<A>, Miss> {
        let count = self.externals.len();
        let is_new = self.pairs && self.paired(ask.internal.address).is_none();
        let first = self.route(ask, behavior.pooling, random);
        let granted = self.take_on(first, ask, behavior, random, table);
        let bound = match behavior.pooling {
            Pooling::Arbitrary | Pooling::ArbitraryRoundRobin => false,
            Pooling::Paired => !is_new && behavior.pool_exhausted == PoolExhausted::Drop,
            Pooling::HashSource | Pooling::HashSourceDestination => behavior.pool_exhausted == PoolExhausted::Drop,
        };
        if !matches!(granted, Err(Miss::Full)) || bound || count == 1 {
            return granted;
        }
        let others: Vec<usize> = match self.pairs {
            true => self.by_load.iter().map(|(_, index)| *index as usize).filter(|index| *index != first).collect(),
            false => (1..count).map(|step| (first + step) % count).collect(),
        };
        let mut tried = others.into_iter().map(|index| self.take_on(index, ask, behavior, random, table));
        tried.find(Result::is_ok).unwrap_or(granted)
    }

    /// The index of the address that pooling names.
    fn route(&mut self, ask: &Ask<A>, pooling: Pooling, random: &mut impl Rng) -> usize {
        let count = self.externals.len() as u32;
        if count == 1 {
            return 0;
        }
        let host = Endpoint { port: 0, ..ask.internal };
        let index = match pooling {
            Pooling::Paired => {
                let emptiest = self.by_load.first().map_or(0, |(_, index)| *index);
                self.paired(ask.internal.address).map_or(emptiest, |index| index as u32)
            }
            Pooling::Arbitrary => scaled(random.next_u32(), count),
            Pooling::ArbitraryRoundRobin => {
                let turn = self.turn % count;
                self.turn = turn + 1;
                turn
            }
            Pooling::HashSource => self.by_source(host.address),
            Pooling::HashSourceDestination => {
                // The protocol does not count: one host's TCP and UDP towards one remote leave alike.
                let remote = Endpoint { port: 0, ..ask.remote };
                scaled(mixed(self.hash.two(Protocol::Udp, host, remote)), count)
            }
        };
        index as usize
    }

    /// The index of the address that a host's own address names.
    pub(super) fn by_source(&self, internal: A) -> u32 {
        scaled(mixed(self.hash.address(internal)), self.externals.len() as u32)
    }

    fn take_on(
        &mut self,
        index: usize,
        ask: &Ask<A>,
        behavior: &Behavior,
        random: &mut impl Rng,
        table: &impl InUse<A>,
    ) -> Result<Grant<A>, Miss> {
        let rule = rule(behavior, ask.protocol);
        if behavior.ports.allocation == PortAllocation::Block {
            return self.take_of_block(index, ask, behavior, random, table);
        }
        let wanted = ask.internal.port;
        let preserves = rule == PortAllocation::Preserve && self.choices.allows(ask.protocol, wanted);
        if preserves {
            if self.take_as_it_is(index, ask, table) {
                let address = self.externals[index].address;
                return Ok(Grant { external: Endpoint { address, port: wanted }, overrides: false });
            }
            let external = Endpoint { address: self.externals[index].address, port: wanted };
            if self.traits.counts_conflicts && table.is_anothers(external, ask.internal.address) {
                self.hosts.meet(ask.internal.address).more().conflicts += 1;
            }
            // The rule for conflicts is one of ports; a taken identifier gets a random one.
            let conflict = if ask.protocol == Protocol::Icmp { PortConflict::Random } else { behavior.ports.conflict };
            if let Some(granted) = self.conflict(index, ask, conflict, table) {
                return granted;
            }
        }
        let set = self.place(ask.protocol);
        let External { address, ports, .. } = &mut self.externals[index];
        let Ports { taken, last, counters } = &mut **ports[set].get_or_insert_default();
        let is_free = self.traits.is_free(table, *address);
        let free = self.traits.free(taken, &is_free, behavior);
        let (class, candidates) = self.choices.of(ask.protocol, wanted);
        let mut choice = Choice { ports: &behavior.ports, candidates, class, free, random };
        let keys = Keys { hash: &self.hash, protocol: ask.protocol, internal: ask.internal, remote: ask.remote };
        let last = match behavior.ports.counter {
            PortCounter::Global => last,
            PortCounter::PerHost => &mut self.hosts.meet(ask.internal.address).more().last[place(ask.protocol)],
        };
        let port =
            match preserves && ask.protocol != Protocol::Icmp && behavior.ports.conflict == PortConflict::NextFree {
                true => choice.above(wanted),
                false => choice.by_rule(rule, &keys, last, counters),
            };
        let port = port.ok_or(Miss::Full)?;
        taken.insert(port);
        Ok(Grant { external: Endpoint { address: *address, port }, overrides: false })
    }

    /// Takes the external port that is the internal one, if it is free.
    fn take_as_it_is(&mut self, index: usize, ask: &Ask<A>, table: &impl InUse<A>) -> bool {
        let set = self.place(ask.protocol);
        let External { address, ports, .. } = &mut self.externals[index];
        let taken = &mut ports[set].get_or_insert_default().taken;
        let is_free = self.traits.is_free(table, *address)(ask.internal.port, taken.contains(ask.internal.port));
        if is_free {
            taken.insert(ask.internal.port);
        }
        is_free
    }

    fn take_of_block(
        &mut self,
        index: usize,
        ask: &Ask<A>,
        behavior: &Behavior,
        random: &mut impl Rng,
        table: &impl InUse<A>,
    ) -> Result<Grant<A>, Miss> {
        let set = self.place(ask.protocol);
        let External { address, ports, blocks: given, .. } = &mut self.externals[index];
        let taken = &mut ports[set].get_or_insert_default().taken;
        let is_free = self.traits.is_free(table, *address);
        let wanted = Wanted {
            external: index as u32,
            protocol: place(ask.protocol),
            internal: ask.internal.port,
            free: self.traits.free(taken, &is_free, behavior),
            most: behavior.ports.blocks_per_host,
        };
        let given = &**given.get_or_insert_default();
        let blocks = &self.hosts.meet(ask.internal.address).more().blocks;
        let port = blocks.take(&wanted, self.cut, &self.choices, given, random).ok_or(Miss::Full)?;
        taken.insert(port);
        Ok(Grant { external: Endpoint { address: *address, port }, overrides: false })
    }

    /// What comes of a port that is taken, unless it is another port of the same address.
    fn conflict(
        &mut self,
        index: usize,
        ask: &Ask<A>,
        rule: PortConflict,
        table: &impl InUse<A>,
    ) -> Option<Result<Grant<A>, Miss>> {
        let set = self.place(ask.protocol);
        let wanted = Endpoint { address: self.externals[index].address, port: ask.internal.port };
        match rule {
            PortConflict::Random | PortConflict::NextFree => None,
            PortConflict::OtherAddress => {
                let count = self.externals.len();
                let other = (1..count).map(|step| (index + step) % count).find(|other| {
                    let External { address, ports, .. } = &self.externals[*other];
                    let taken = ports[set].as_ref().is_some_and(|ports| ports.taken.contains(wanted.port));
                    self.traits.is_free(table, *address)(wanted.port, taken)
                })?;
                let other = &mut self.externals[other];
                other.ports[set].get_or_insert_default().taken.insert(wanted.port);
                Some(Ok(Grant { external: Endpoint { address: other.address, ..wanted }, overrides: false }))
            }
            // Ports that are only kept, for somebody or from everybody, nobody can share or take.
            PortConflict::OverrideOld if !table.is_mapped(wanted) => None,
            PortConflict::Overload if !table.is_mapped(wanted) => None,
            PortConflict::OverrideOld => Some(Ok(Grant { external: wanted, overrides: true })),
            PortConflict::Overload => Some(Ok(Grant { external: wanted, overrides: false })),
            PortConflict::Drop => Some(Err(Miss::Taken)),
        }
    }

    /// Keeps the port above an even one for the port above an even one (RFC 4787 section 4.2.3).
    fn reserve_next(&mut self, ask: &Ask<A>, external: Endpoint<A>) {
        let even = ask.internal.port.is_multiple_of(2) && external.port.is_multiple_of(2);
        let (next, above) = (ask.internal.port | 1, Endpoint { port: external.port | 1, ..external });
        if ask.protocol == Protocol::Icmp || !even || !self.choices.allows(ask.protocol, above.port) {
            return;
        }
        let set = self.place(ask.protocol);
        let Some(index) = self.index(external.address) else { return };
        let ports = self.externals[index].ports[set].get_or_insert_default();
        let internal = Endpoint { port: next, ..ask.internal };
        if !ports.taken.contains(above.port) && self.reserved.add(ask.protocol, internal, external, above) {
            ports.taken.insert(above.port);
        }
    }
}

impl Traits {
    /// Whether a port of an address is free towards the remote, told whether it is taken.
    pub(super) fn is_free<'a, A: Address, T: InUse<A>>(
        &self,
        table: &'a T,
        address: A,
    ) -> impl Fn(u16, bool) -> bool + use<'a, A, T> {
        let by_destination = self.by_destination;
        move |port, taken| {
            let external = Endpoint { address, port };
            match taken {
                // What is taken and not mapped is kept, for somebody or from everybody.
                true => by_destination && table.is_mapped(external) && !table.is_used(external),
                false => !table.is_occupied(external),
            }
        }
    }

    /// Which ports of a set are free.
    pub(super) fn free<'a>(
        &self,
        taken: &'a PortSet,
        is_free: &'a dyn Fn(u16, bool) -> bool,
        behavior: &Behavior,
    ) -> Free<'a> {
        let rounds = self.by_destination && behavior.ports.class == PortClass::Netfilter;
        Free { taken, towards: (self.by_destination || self.early).then_some(is_free), rounds }
    }
}

/// The rule by which a protocol gets its ports.
fn rule(behavior: &Behavior, protocol: Protocol) -> PortAllocation {
    match (protocol, behavior.icmp_identifier) {
        (Protocol::Icmp, IcmpIdentifier::Random) => PortAllocation::Random,
        (Protocol::Icmp, IcmpIdentifier::Preserve) => PortAllocation::Preserve,
        _ => behavior.ports.allocation,
    }
}

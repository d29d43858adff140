//! An external endpoint where ports are dealt out by arithmetic (RFC 7422): the host's own, then dynamic ones.
//!
//! `deterministic` is the arithmetic.

use rand_core::Rng;

use crate::Behavior;
use crate::key::{Address, Endpoint};
use crate::ports::choose::{Choice, scaled};
use crate::ports::deterministic::Arithmetic;
use crate::ports::hosts::place;
use crate::ports::pool::{External, Pool};
use crate::ports::set::PortSet;
use crate::ports::take::{Ask, Grant, InUse, Miss};

/// Random tries among a host's own ports before they are searched one by one.
const TRIES: u32 = 8;

impl<A: Address> Pool<A> {
    /// A port of the host's own by arithmetic, or a dynamic one when those are used up (RFC 7422 section 2.3).
    pub(super) fn take_planned(
        &mut self,
        ask: &Ask<A>,
        behavior: &Behavior,
        random: &mut impl Rng,
        table: &impl InUse<A>,
    ) -> Result<Grant<A>, Miss> {
        let own = self.own_port(ask, random, table);
        let external = own.or_else(|| self.dynamic_port(ask, behavior, random, table)).ok_or(Miss::Full)?;
        let (set, index) = (self.place(ask.protocol), self.index(external.address).ok_or(Miss::Full)?);
        self.externals[index].ports[set].get_or_insert_default().taken.insert(external.port);
        Ok(Grant { external, overrides: false })
    }

    /// A random free port of the host's own.
    fn own_port(&self, ask: &Ask<A>, random: &mut impl Rng, table: &impl InUse<A>) -> Option<Endpoint<A>> {
        let (plan, set) = (self.plan.as_ref()?, self.place(ask.protocol));
        let is_free = |(index, port): (u32, u16)| {
            let External { address, ports, .. } = self.externals.get(index as usize)?;
            let taken = ports[set].as_ref().is_some_and(|set| set.taken.contains(port));
            let is_free = self.traits.is_free(table, *address)(port, taken);
            (is_free && self.choices.suits(ask.internal.port, port)).then_some(Endpoint { address: *address, port })
        };
        let host = plan.host(ask.internal.address).filter(|_| plan.per_host > 0)?;
        let (used, _) = self.planned(ask);
        if used >= plan.per_host && !self.traits.by_destination {
            return None;
        }
        let mut index = 0;
        for _ in 0..TRIES {
            index = scaled(random.next_u32(), plan.per_host);
            let found = plan.external(host, index).and_then(is_free);
            if found.is_some() {
                return found;
            }
        }
        let mut all = (0..plan.per_host).map(|step| (index + step) % plan.per_host);
        all.find_map(|index| plan.external(host, index).and_then(is_free))
    }

    /// A random free port of those that are dealt out as they are needed.
    fn dynamic_port(
        &self,
        ask: &Ask<A>,
        behavior: &Behavior,
        random: &mut impl Rng,
        table: &impl InUse<A>,
    ) -> Option<Endpoint<A>> {
        let (plan, set) = (self.plan.as_ref()?, self.place(ask.protocol));
        let (own, dynamic) = self.planned(ask);
        if own + dynamic >= plan.most {
            return None;
        }
        let External { address, ports, .. } = &self.externals[self.dynamic_address(plan, ask.internal.address)];
        let none = PortSet::default();
        let taken = ports[set].as_ref().map_or(&none, |ports| &ports.taken);
        let is_free = self.traits.is_free(table, *address);
        let free = self.traits.free(taken, &is_free, behavior);
        let (class, _) = self.choices.of(ask.protocol, ask.internal.port);
        let candidates = plan.dynamic(ask.internal.port);
        let port = Choice { ports: &behavior.ports, candidates, class, free, random }.any()?;
        Some(Endpoint { address: *address, port })
    }

    /// How many ports of its own, and dynamic ones, the asking host uses.
    fn planned(&self, ask: &Ask<A>) -> (u32, u32) {
        self.hosts.find(ask.internal.address).map_or((0, 0), |host| host.planned(place(ask.protocol)))
    }

    /// The index of the address on which a host gets dynamic ports: where its own are.
    fn dynamic_address(&self, plan: &Arithmetic, internal: A) -> usize {
        let own = plan.host(internal).and_then(|host| plan.external(host, 0)).map(|(address, _)| address as usize);
        own.unwrap_or_else(|| self.by_source(internal) as usize)
    }
}

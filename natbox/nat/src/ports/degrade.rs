//! Hosts whose port was taken, and boxes that treat them worse from then on (RFC 4787 REQ-11 forbids such boxes).
//!
//! Each time that a host's port cannot be preserved because another host has it, its mapping and filtering behaviour goes one level down, to the last
//! that there is. It stays there while the box remembers the host. Sessions that it has go on as they are.

use natbox_wire::Protocol;

use crate::behavior::{Degraded, Mapping as Rule};
use crate::filter;
use crate::key::{Address, Endpoint};
use crate::realm::{Realm, Shared};

impl<A: Address> Realm<A> {
    /// What a host's mapping rule sees of a remote; `None` if it looks at no remote.
    pub(crate) fn towards(
        &self,
        nat: &Shared,
        protocol: Protocol,
        internal: A,
        remote: Endpoint<A>,
    ) -> Option<Endpoint<A>> {
        match self.degraded(nat, internal) {
            None => self.table.towards(protocol, remote),
            Some(Degraded { mapping: Rule::EndpointIndependent, .. }) => None,
            Some(Degraded { mapping: Rule::AddressDependent, .. }) => Some(Endpoint { port: 0, ..remote }),
            Some(_) => Some(remote),
        }
    }

    /// How a host behaves whose port was taken: after the first time, the second, and so on.
    fn degraded<'a>(&self, nat: &'a Shared, internal: A) -> Option<&'a Degraded> {
        let levels = &nat.behavior.degraded;
        if levels.is_empty() || !self.translates {
            return None;
        }
        let conflicts = self.pool.hosts.find(internal)?.conflicts();
        levels.get(conflicts.min(levels.len()).checked_sub(1)?)
    }

    /// Whether the rule would lead a host's packets to this remote to this mapping.
    pub(crate) fn leads(&self, nat: &Shared, mapping: u32, remote: Endpoint<A>) -> bool {
        let record = self.table.mapping(mapping);
        if let Some(explicit) = self.explicit.leaving(record.protocol, record.internal) {
            return explicit == mapping;
        }
        let towards = self.towards(nat, record.protocol, record.internal.address, remote);
        towards.unwrap_or(Endpoint::unspecified()) == record.towards()
    }

    /// Whether a remote may send through a mapping, by its host's filter.
    pub(super) fn admits_itself(&self, nat: &Shared, mapping: u32, remote: Endpoint<A>) -> bool {
        if let Some(admitted) = self.explicit.admits(mapping, remote) {
            return admitted;
        }
        let record = self.table.mapping(mapping);
        match self.degraded(nat, record.internal.address) {
            None => filter::admits(&self.table, &nat.behavior, mapping, remote),
            Some(level) => filter::admits_by(&self.table, level.filtering, nat.behavior.filter_scope, mapping, remote),
        }
    }
}

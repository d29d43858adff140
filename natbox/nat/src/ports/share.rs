//! External endpoints with several mappings, and mappings that the two protocols share (RFC 7857 sections 5 and 6).
//!
//! `mapping`: UDP and TCP of one internal endpoint get one external port; both count as one set of ports. `filtering`: a
//! remote that the one admits is admitted by the other, also where the other has no mapping yet: the packet from outside
//! opens it. Basic NAT lets packets from outside open mappings too, where its filter looks at no remote: its binding is
//! of the address, not of the port (RFC 2663 section 4.1.1).

use natbox_wire::{Protocol, Time};

use crate::behavior::{Filtering, ProtocolSharing};
use crate::classify::Flow;
use crate::key::{Address, Endpoint};
use crate::realm::{Realm, Shared};
use crate::verdict::Side;

impl<A: Address> Realm<A> {
    /// Whether a remote may send through a mapping, by its host's filter or by what the other protocol lets in.
    pub(crate) fn admits(&self, nat: &Shared, mapping: u32, remote: Endpoint<A>) -> bool {
        if self.admits_itself(nat, mapping, remote) {
            return true;
        }
        let record = self.table.mapping(mapping);
        let Some(protocol) = other(record.protocol).filter(|_| shares_filtering(nat)) else { return false };
        let mut siblings = self.table.find_endpoints(protocol, record.external);
        let sibling = siblings.find(|index| self.table.mapping(*index).internal == record.internal);
        sibling.is_some_and(|index| self.admits_itself(nat, index, remote))
    }

    /// The mapping that a packet from outside is addressed to: of several on one endpoint the oldest that admits it.
    /// Opens one where that of the other protocol, or the host's address, admits it.
    pub(crate) fn find_addressed(
        &mut self,
        nat: &mut Shared,
        flow: &Flow<A>,
        remote: Endpoint<A>,
        judged: bool,
        now: Time,
    ) -> Option<(u32, bool)> {
        let mut all = self.table.find_endpoints(flow.protocol, flow.destination);
        if let Some(first) = all.next() {
            let admits = |index: &u32| !judged || self.admits(nat, *index, remote);
            let mut rest = all.peekable();
            return match rest.peek().is_none() || admits(&first) {
                true => Some((first, false)),
                false => Some((rest.find(admits).unwrap_or(first), false)),
            };
        }
        drop(all);
        let opens = flow.opens || flow.protocol != Protocol::Tcp;
        let internal = self.addressed_otherwise(nat, flow, remote, judged).filter(|_| opens)?;
        self.admit_session(nat, internal, Side::Outside).ok()?;
        let claims = !self.translates || self.pool.claim(flow.protocol, internal.address, flow.destination);
        claims.then_some(())?;
        let towards = self.towards(nat, flow.protocol, internal.address, remote);
        Some((self.enter_mapping(nat, flow.protocol, internal, flow.destination, towards, now), true))
    }

    /// Whose an external endpoint is that has no mapping: the other protocol's, or the one whose address it is.
    fn addressed_otherwise(
        &self,
        nat: &Shared,
        flow: &Flow<A>,
        remote: Endpoint<A>,
        judged: bool,
    ) -> Option<Endpoint<A>> {
        let twin = other(flow.protocol).filter(|_| shares_filtering(nat));
        let sibling = twin.and_then(|protocol| self.table.find_endpoint(protocol, flow.destination));
        if let Some(sibling) = sibling.filter(|sibling| !judged || self.admits_itself(nat, *sibling, remote)) {
            return Some(self.table.mapping(sibling).internal);
        }
        let open = *nat.behavior.filtering.of(flow.protocol) == Filtering::EndpointIndependent;
        let owner = self.pool.owner(flow.destination.address).filter(|_| open)?;
        Some(Endpoint { address: owner, ..flow.destination })
    }

    /// The external endpoint of the other protocol's mapping, where the two share.
    pub(super) fn sibling(
        &self,
        nat: &Shared,
        protocol: Protocol,
        internal: Endpoint<A>,
        towards: Option<Endpoint<A>>,
    ) -> Option<Endpoint<A>> {
        let shares = matches!(nat.behavior.protocol_sharing, ProtocolSharing::Mapping | ProtocolSharing::Both);
        let protocol = other(protocol).filter(|_| shares)?;
        let sibling = self.table.find_rule(protocol, internal, towards.unwrap_or(Endpoint::unspecified()))?;
        Some(self.table.mapping(sibling).external)
    }
}

/// Whether permissions count for the other protocol too.
fn shares_filtering(nat: &Shared) -> bool {
    matches!(nat.behavior.protocol_sharing, ProtocolSharing::Filtering | ProtocolSharing::Both)
}

/// The protocol that shares ports with this one, where protocols share.
pub(super) fn other(protocol: Protocol) -> Option<Protocol> {
    match protocol {
        Protocol::Udp => Some(Protocol::Tcp),
        Protocol::Tcp => Some(Protocol::Udp),
        Protocol::Icmp => None,
    }
}

//! Explicit mappings: those that somebody asked for in so many words, in the configuration or by port control (RFC 6886,
//! RFC 6887, UPnP-IGD). What is kept of them.
//!
//! ```text
//!   asked    the road of a request: renew, lay over, or take an endpoint            (of `realm`)
//!   ended    how they end, and what becomes of their traffic                        (of `realm`)
//!   driver   what the gateway asks of the NAT; what outlives a reboot               (of `engine`)
//! ```
//!
//! An explicit mapping is a mapping of the table with a *hold* on it: a session of no packet's, which keeps it alive until
//! its lifetime is over, and which no packet finds (`table/holds`). So it costs packets nothing, and mappings without holds
//! know nothing of it. While a hold without a remote is on a mapping,
//!
//! * anybody may send to it whom its filters admit, whatever the NAT's filter says (RFC 6887 section 11);
//! * what its internal endpoint sends to a remote that has no session leaves through it, whatever the mapping rule says
//!   (RFC 6886 section 3.9);
//! * nobody else gets its external endpoint, not even a box that shares or takes over ports; nor does it give way.
//!
//! A hold with a remote (PCP's PEER) is on the mapping that a packet to that remote would have made, and keeps its
//! session alive as well; the NAT's own filter stays in force.

mod asked;
mod driver;
mod ended;

use std::collections::{BTreeMap, BTreeSet};

use natbox_wire::{ExplicitMapping, MappedBy, Protocol, RemoteFilter, Time};

use crate::key::{Address, Endpoint};
use crate::verdict::MappingId;

/// Holds of one address family: one for each port of either protocol.
const MOST: usize = 1 << 17;

/// One explicit mapping.
pub(crate) struct Hold<A> {
    /// The index of the mapping that it is on.
    mapping: u32,
    id: MappingId,
    protocol: Protocol,
    internal: Endpoint<A>,
    external: Endpoint<A>,
    remote: Option<Endpoint<A>>,
    filters: Vec<RemoteFilter>,
    by: MappedBy,
    /// Whether the other protocol's port is kept for the same host.
    pair: bool,
    since: Time,
    until: Option<Time>,
    /// Until when it has kept its session alive, whose own time was over.
    kept_until: Option<Time>,
}

impl<A: Address> Hold<A> {
    fn view(&self) -> ExplicitMapping {
        ExplicitMapping {
            mapping: self.id.0,
            by: self.by,
            protocol: self.protocol,
            internal: self.internal.to_socket(),
            external: self.external.to_socket(),
            remote: self.remote.map(Endpoint::to_socket),
            filters: self.filters.clone(),
            since: self.since,
            until: self.until,
        }
    }
}

/// The explicit mappings of one address family. Nothing is allocated before the first.
pub(crate) struct Explicit<A>(Option<Box<Holds<A>>>);

/// What is kept, by the index of the hold's record in the table.
struct Holds<A> {
    holds: BTreeMap<u32, Hold<A>>,
    /// Those without a remote, by internal endpoint: the oldest mapping first.
    by_internal: BTreeSet<(u8, Endpoint<A>, MappingId, u32)>,
    by_mapping: BTreeSet<(u32, u32)>,
    by_session: BTreeMap<(u8, Endpoint<A>, Endpoint<A>), u32>,
    /// External endpoints that are kept for a host which has that port of the other protocol.
    pairs: BTreeMap<(u8, Endpoint<A>), A>,
}

impl<A> Default for Explicit<A> {
    fn default() -> Explicit<A> {
        Explicit(None)
    }
}

impl<A> Default for Holds<A> {
    fn default() -> Holds<A> {
        Holds {
            holds: BTreeMap::new(),
            by_internal: BTreeSet::new(),
            by_mapping: BTreeSet::new(),
            by_session: BTreeMap::new(),
            pairs: BTreeMap::new(),
        }
    }
}

impl<A: Address> Explicit<A> {
    /// The mapping through which an internal endpoint's packets leave, where it has an explicit one.
    #[inline]
    pub(crate) fn leaving(&self, protocol: Protocol, internal: Endpoint<A>) -> Option<u32> {
        let holds = self.0.as_deref()?;
        holds.of(protocol, internal).next().map(|(_, hold)| hold.mapping)
    }

    /// Whether a remote may send to a mapping; `None` where that is the NAT's filter's to say.
    #[inline]
    pub(crate) fn admits(&self, mapping: u32, remote: Endpoint<A>) -> Option<bool> {
        let mut open = self.0.as_deref()?.on(mapping).filter(|(_, hold)| hold.remote.is_none()).peekable();
        open.peek()?;
        let remote = remote.to_socket();
        Some(open.any(|(_, hold)| hold.filters.is_empty() || hold.filters.iter().any(|filter| filter.admits(remote))))
    }

    /// Whether an explicit mapping is on this one.
    #[inline]
    pub(crate) fn is_on(&self, mapping: u32) -> bool {
        self.0.as_deref().is_some_and(|holds| holds.on(mapping).next().is_some())
    }

    /// Whether a person asked for this mapping.
    pub(crate) fn is_static(&self, mapping: u32) -> bool {
        self.0.as_deref().is_some_and(|holds| holds.on(mapping).any(|(_, hold)| hold.by == MappedBy::Static))
    }

    /// The hold that keeps the session of a mapping with this remote alive.
    fn keeper(&mut self, mapping: u32, key: (Protocol, Endpoint<A>, Endpoint<A>)) -> Option<&mut Hold<A>> {
        let (protocol, internal, remote) = key;
        let hold = self.with_remote(protocol, internal, remote)?;
        self.get_mut(hold).filter(|hold| hold.mapping == mapping)
    }

    fn len(&self) -> usize {
        self.0.as_ref().map_or(0, |holds| holds.holds.len())
    }

    fn get_mut(&mut self, hold: u32) -> Option<&mut Hold<A>> {
        self.0.as_deref_mut()?.holds.get_mut(&hold)
    }

    /// The holds of an internal endpoint without a remote, on the oldest mapping first.
    fn of(&self, protocol: Protocol, internal: Endpoint<A>) -> impl Iterator<Item = (u32, &Hold<A>)> {
        self.0.iter().flat_map(move |holds| holds.of(protocol, internal))
    }

    fn on(&self, mapping: u32) -> impl Iterator<Item = (u32, &Hold<A>)> {
        self.0.iter().flat_map(move |holds| holds.on(mapping))
    }

    fn with_remote(&self, protocol: Protocol, internal: Endpoint<A>, remote: Endpoint<A>) -> Option<u32> {
        self.0.as_deref()?.by_session.get(&(protocol as u8, internal, remote)).copied()
    }

    fn add(&mut self, index: u32, hold: Hold<A>) {
        let holds = self.0.get_or_insert_default();
        let protocol = hold.protocol as u8;
        match hold.remote {
            Some(remote) => drop(holds.by_session.insert((protocol, hold.internal, remote), index)),
            None => drop(holds.by_internal.insert((protocol, hold.internal, hold.id, index))),
        }
        holds.by_mapping.insert((hold.mapping, index));
        holds.holds.insert(index, hold);
    }

    fn remove(&mut self, index: u32) -> Option<Hold<A>> {
        let holds = self.0.as_deref_mut()?;
        let hold = holds.holds.remove(&index)?;
        let protocol = hold.protocol as u8;
        match hold.remote {
            Some(remote) => drop(holds.by_session.remove(&(protocol, hold.internal, remote))),
            None => drop(holds.by_internal.remove(&(protocol, hold.internal, hold.id, index))),
        }
        holds.by_mapping.remove(&(hold.mapping, index));
        Some(hold)
    }

    /// Every explicit mapping, in no order that means anything.
    fn views(&self) -> impl Iterator<Item = ExplicitMapping> {
        self.0.iter().flat_map(|holds| holds.holds.values()).map(Hold::view)
    }

    /// Nothing is kept for anybody any more on the other protocol's account; for whom it should be, by what it has.
    pub(crate) fn forget_pairs(&mut self) -> Vec<(Protocol, A, Endpoint<A>)> {
        let Some(holds) = self.0.as_deref_mut() else { return Vec::new() };
        holds.pairs.clear();
        let pairs = holds.holds.values().filter(|hold| hold.pair);
        pairs.map(|hold| (hold.protocol, hold.internal.address, hold.external)).collect()
    }

    /// For whom an external endpoint is kept.
    fn kept_for(&self, protocol: Protocol, external: Endpoint<A>) -> Option<A> {
        self.0.as_deref()?.pairs.get(&(protocol as u8, external)).copied()
    }

    fn keep_for(&mut self, protocol: Protocol, external: Endpoint<A>, host: A) {
        self.0.get_or_insert_default().pairs.insert((protocol as u8, external), host);
    }

    /// An external endpoint is kept no more; whether it was.
    fn keep_no_more(&mut self, protocol: Protocol, external: Endpoint<A>) -> bool {
        self.0.as_deref_mut().is_some_and(|holds| holds.pairs.remove(&(protocol as u8, external)).is_some())
    }
}

impl<A: Address> Holds<A> {
    fn of(&self, protocol: Protocol, internal: Endpoint<A>) -> impl Iterator<Item = (u32, &Hold<A>)> {
        let key = |id, index| (protocol as u8, internal, MappingId(id), index);
        let found = self.by_internal.range(key(0, 0)..=key(u64::MAX, u32::MAX));
        found.filter_map(|(.., index)| Some((*index, self.holds.get(index)?)))
    }

    fn on(&self, mapping: u32) -> impl Iterator<Item = (u32, &Hold<A>)> {
        let found = self.by_mapping.range((mapping, 0)..=(mapping, u32::MAX));
        found.filter_map(|(_, index)| Some((*index, self.holds.get(index)?)))
    }
}

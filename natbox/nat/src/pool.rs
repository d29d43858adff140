//! The external addresses of one family, and who gets which (RFC 4787 section 4.1).
//!
//! Paired: an internal address that has mappings keeps its external address for all protocols, and gets nothing
//! where that one is full (RFC 7857 section 4); a new one gets the external address with the fewest internal
//! addresses that is not full, the first of several. Pairs are kept only where there is a choice. Knows nothing of
//! sessions.

use std::ops::RangeInclusive;

use hashbrown::HashTable;
use natbox_wire::Protocol;
use rand_core::Rng;

use crate::behavior::{self, Pooling};
use crate::key::{Address, Endpoint, Hash};
use crate::ports::Ports;

/// One external address.
struct External<A> {
    address: A,
    /// Taken ports, by protocol; made when first needed.
    ports: [Option<Box<Ports>>; 3],
    /// Internal addresses paired with it.
    internals: u32,
}

impl<A> External<A> {
    fn new(address: A) -> External<A> {
        External { address, ports: [const { None }; 3], internals: 0 }
    }
}

/// An internal address and its external address, while it has mappings.
struct Pair<A> {
    internal: A,
    external: A,
    mappings: u32,
}

/// The external addresses of one family.
pub(crate) struct Pool<A> {
    externals: Vec<External<A>>,
    /// The same addresses, in order of value: every packet asks whether it is for one of them.
    sorted: Vec<A>,
    pairs: HashTable<Pair<A>>,
    hash: Hash,
}

impl<A: Address> Pool<A> {
    pub(crate) fn new(addresses: impl Iterator<Item = A>, hash: Hash) -> Pool<A> {
        let mut pool = Pool { externals: Vec::new(), sorted: Vec::new(), pairs: HashTable::new(), hash };
        pool.readdress(addresses);
        pool
    }

    /// Whether there is no address at all.
    pub(crate) fn is_empty(&self) -> bool {
        self.externals.is_empty()
    }

    /// Whether this is one of the external addresses.
    #[inline]
    pub(crate) fn owns(&self, address: A) -> bool {
        let [first, .., last] = self.sorted[..] else { return self.sorted.first() == Some(&address) };
        first <= address && address <= last && self.sorted.binary_search(&address).is_ok()
    }

    /// Replaces the addresses; ports taken on those that stay remain taken. Pairs are forgotten: see
    /// [`Pool::pair`].
    pub(crate) fn readdress(&mut self, addresses: impl Iterator<Item = A>) {
        let mut old = std::mem::take(&mut self.externals);
        self.sorted.clear();
        for address in addresses {
            if let Err(place) = self.sorted.binary_search(&address) {
                self.sorted.insert(place, address);
                let kept = old.iter().position(|external| external.address == address);
                self.externals.push(kept.map_or_else(|| External::new(address), |index| old.swap_remove(index)));
            }
        }
        self.pairs.clear();
        self.externals.iter_mut().for_each(|external| external.internals = 0);
    }

    /// An external endpoint for a new mapping; `None` if the addresses that it may use are full.
    pub(crate) fn take(
        &mut self,
        protocol: Protocol,
        internal: Endpoint<A>,
        pooling: Pooling,
        ports: &behavior::Ports,
        random: &mut impl Rng,
    ) -> Option<Endpoint<A>> {
        let count = self.externals.len();
        let whole = ports.range.ranges().first().cloned().unwrap_or(RangeInclusive::new(1, 0));
        let range = range_of(protocol, &whole);
        let drawn = match pooling {
            Pooling::Arbitrary if count > 1 => ((u64::from(random.next_u32()) * count as u64) >> 32) as usize,
            _ => 0,
        };
        let mut take_on = |pool: &mut Pool<A>, index: usize| {
            let external = pool.externals.get_mut(index)?;
            let set = external.ports[protocol as usize].get_or_insert_with(|| Box::new(Ports::new()));
            let port = set.take(ports.allocation, internal.port, &range, random)?;
            Some(Endpoint { address: external.address, port })
        };
        let endpoint = match pooling {
            _ if count <= 1 => take_on(self, 0),
            Pooling::Paired => match self.paired(internal.address) {
                Some(index) => take_on(self, index),
                None => self.emptiest_first().into_iter().find_map(|index| take_on(self, index)),
            },
            _ => (0..count).find_map(|step| take_on(self, (drawn + step) % count)),
        }?;
        if pooling == Pooling::Paired {
            self.pair(internal.address, endpoint.address);
        }
        Some(endpoint)
    }

    /// Gives an external endpoint back.
    pub(crate) fn release(&mut self, protocol: Protocol, internal: A, endpoint: Endpoint<A>, pooling: Pooling) {
        let external = self.externals.iter_mut().find(|external| external.address == endpoint.address);
        if let Some(set) = external.and_then(|external| external.ports[protocol as usize].as_mut()) {
            set.release(endpoint.port);
        }
        if pooling == Pooling::Paired {
            self.unpair(internal);
        }
    }

    /// Notes one more mapping between two addresses, where there are several external ones.
    pub(crate) fn pair(&mut self, internal: A, external: A) {
        if self.externals.len() <= 1 {
            return;
        }
        let hash = self.hash.address(internal);
        if let Some(pair) = self.pairs.find_mut(hash, |pair| pair.internal == internal) {
            pair.mappings += 1;
            return;
        }
        let rehash = self.hash.clone();
        self.pairs.insert_unique(hash, Pair { internal, external, mappings: 1 }, |pair| rehash.address(pair.internal));
        if let Some(external) = self.externals.iter_mut().find(|one| one.address == external) {
            external.internals += 1;
        }
    }

    fn unpair(&mut self, internal: A) {
        let hash = self.hash.address(internal);
        let Ok(mut entry) = self.pairs.find_entry(hash, |pair| pair.internal == internal) else { return };
        entry.get_mut().mappings -= 1;
        if entry.get().mappings == 0 {
            let (pair, _) = entry.remove();
            if let Some(external) = self.externals.iter_mut().find(|one| one.address == pair.external) {
                external.internals -= 1;
            }
        }
    }

    /// The index of the external address of an internal one that has mappings.
    fn paired(&self, internal: A) -> Option<usize> {
        let pair = self.pairs.find(self.hash.address(internal), |pair| pair.internal == internal)?;
        self.externals.iter().position(|one| one.address == pair.external)
    }

    /// The external addresses by index, those with the fewest internal addresses first.
    fn emptiest_first(&self) -> Vec<usize> {
        let mut order: Vec<usize> = (0..self.externals.len()).collect();
        order.sort_by_key(|index| self.externals[*index].internals);
        order
    }
}

/// What may be given out: any echo identifier (RFC 5508 section 3.1), but never port 0.
fn range_of(protocol: Protocol, range: &RangeInclusive<u16>) -> RangeInclusive<u16> {
    match protocol {
        Protocol::Icmp => 0..=u16::MAX,
        Protocol::Udp | Protocol::Tcp => (*range.start()).max(1)..=*range.end(),
    }
}

//! The external addresses of one family, and who gets which endpoint of them (RFC 4787 sections 4.1 and 4.2).
//!
//! Paired: an internal address that has mappings keeps its external address for all protocols; a new one gets the external
//! address with the fewest internal addresses that is not full, the first of several. What happens where that one is full
//! is an axis (RFC 7857 section 4). Basic NAT pairs one to one and leaves ports alone. `take` chooses; what is kept of
//! hosts, ports and reservations lies here.

use std::collections::BTreeSet;

use natbox_wire::{Protocol, Time};
use prefetch_index::prefetch_index;

use crate::Behavior;
use crate::behavior::Pooling;
use crate::key::{Address, Endpoint, Hash};
use crate::ports::blocks::Cut;
use crate::ports::candidates::Choices;
use crate::ports::choose::{Counters, Last};
use crate::ports::deterministic::{Arithmetic, is_own};
use crate::ports::evict::Oldest;
use crate::ports::hosts::{Host, Hosts, place};
use crate::ports::quarantine::{Quarantine, Waiting};
use crate::ports::reserve::Reserved;
use crate::ports::set::PortSet;
use crate::ports::traits::Traits;
use crate::record::NONE;

/// The ports of one external address and protocol.
#[derive(Default)]
pub(super) struct Ports {
    pub(super) taken: PortSet,
    pub(super) last: Last,
    pub(super) counters: Counters,
}

/// One external address.
pub(super) struct External<A> {
    pub(super) address: A,
    /// By protocol; made when first needed.
    pub(super) ports: [Option<Box<Ports>>; 3],
    /// Blocks given out.
    pub(super) blocks: Option<Box<PortSet>>,
    /// Its mappings by protocol, where one may have to give way.
    pub(super) oldest: Option<Box<[Oldest; 3]>>,
    /// Internal addresses paired with it.
    internals: u32,
    /// The last of them.
    owner: Option<A>,
}

impl<A> Pool<A> {
    /// Brings near what every packet asks about: the addresses.
    pub(crate) fn bring(&self, step: u32) {
        match step {
            0 => crate::near::bring(&self.sorted),
            1 => prefetch_index(&self.sorted, 0),
            _ => {}
        }
    }
}

impl<A> External<A> {
    fn new(address: A) -> External<A> {
        External { address, ports: [const { None }; 3], blocks: None, oldest: None, internals: 0, owner: None }
    }
}

/// The external addresses of one family.
pub(crate) struct Pool<A> {
    pub(super) externals: Vec<External<A>>,
    /// The same addresses, in order of value: every packet asks whether it is for one of them.
    sorted: Vec<A>,
    /// Their indices.
    places: Vec<u32>,
    /// Indices by number of internal addresses, where addresses are paired.
    pub(super) by_load: BTreeSet<(u32, u32)>,
    pub(crate) hosts: Hosts<A>,
    pub(super) traits: Traits,
    pub(super) pairs: bool,
    pub(super) choices: Choices,
    pub(super) cut: Cut,
    pub(super) plan: Option<Arithmetic>,
    pub(super) quarantine: Quarantine<A>,
    pub(super) reserved: Reserved<A>,
    /// An endpoint that changes hands just now.
    held: Option<(Protocol, Endpoint<A>)>,
    /// The next address in turn.
    pub(super) turn: u32,
    pub(super) hash: Hash,
}

impl<A: Address> Pool<A> {
    /// A pool of these addresses; `basic` where they are given out one to one.
    pub(crate) fn new(behavior: &Behavior, basic: bool, addresses: impl Iterator<Item = A>, hash: Hash) -> Pool<A> {
        let traits = Traits::of(behavior, basic);
        let choices = Choices::new(&behavior.ports);
        let cut = Cut::of(&behavior.ports, &choices.all);
        let mut pool = Pool {
            externals: Vec::new(),
            sorted: Vec::new(),
            places: Vec::new(),
            by_load: BTreeSet::new(),
            hosts: Hosts::new(hash.clone(), traits.remembers(behavior)),
            pairs: basic || behavior.pooling == Pooling::Paired,
            traits,
            choices,
            cut,
            plan: None,
            quarantine: Quarantine::new(behavior),
            reserved: Reserved::default(),
            held: None,
            turn: 0,
            hash,
        };
        pool.readdress(behavior, addresses);
        pool.recount();
        pool
    }

    /// Whether this is one of the external addresses.
    #[inline]
    pub(crate) fn owns(&self, address: A) -> bool {
        let [first, .., last] = self.sorted[..] else { return self.sorted.first() == Some(&address) };
        first <= address && address <= last && self.sorted.binary_search(&address).is_ok()
    }

    /// The place of a protocol's set of ports.
    pub(super) fn place(&self, protocol: Protocol) -> usize {
        if self.traits.one_set && protocol == Protocol::Tcp { place(Protocol::Udp) } else { place(protocol) }
    }

    /// The index of an external address.
    pub(super) fn index(&self, address: A) -> Option<usize> {
        self.sorted.binary_search(&address).ok().map(|at| self.places[at] as usize)
    }

    /// Whether internal addresses are remembered.
    pub(crate) fn tracks(&self) -> bool {
        self.traits.keeps_hosts || self.pairs && self.externals.len() > 1
    }

    /// Whether mappings may have to give way.
    pub(crate) fn evicts(&self) -> bool {
        self.traits.evicts
    }

    /// Whether mappings may share an external endpoint, or a port of the one set of UDP and TCP.
    pub(crate) fn shares(&self) -> bool {
        self.traits.shares || self.traits.shared
    }

    /// Whether UDP and TCP have one set of ports.
    pub(crate) fn has_one_set(&self) -> bool {
        self.traits.one_set
    }

    /// Whether an external endpoint may be used towards several remotes by several mappings.
    pub(crate) fn by_destination(&self) -> bool {
        self.traits.by_destination || self.traits.shared
    }

    /// Replaces the addresses; ports taken on those that stay remain taken. When the mappings on the others have ended,
    /// [`Pool::recount`], and every mapping that stays must be told again, with [`Pool::keep`].
    pub(crate) fn readdress(&mut self, behavior: &Behavior, addresses: impl Iterator<Item = A>) {
        let mut old = std::mem::take(&mut self.externals);
        self.sorted.clear();
        for address in addresses {
            if let Err(at) = self.sorted.binary_search(&address) {
                self.sorted.insert(at, address);
                let kept = old.iter().position(|external| external.address == address);
                self.externals.push(kept.map_or_else(|| External::new(address), |index| old.swap_remove(index)));
            }
        }
        let place = |address: &A| self.externals.iter().position(|one| one.address == *address).unwrap_or_default();
        self.places = self.sorted.iter().map(|address| place(address) as u32).collect();
        self.plan = Arithmetic::of(&behavior.ports, self.externals.len(), &self.hash);
        let sorted = &self.sorted;
        self.quarantine.retain(|address| sorted.binary_search(&address).is_ok());
        self.reserved.retain(|address| sorted.binary_search(&address).is_ok());
    }

    /// Forgets what hosts have.
    pub(crate) fn recount(&mut self) {
        self.by_load = (0..self.externals.len() as u32).map(|index| (0, index)).collect();
        self.externals.iter_mut().for_each(|external| {
            external.internals = 0;
            external.blocks = None;
            external.owner = None;
        });
        self.hosts.all_mut().for_each(Host::reset);
    }

    /// Notes one more mapping of a host.
    pub(super) fn note(&mut self, protocol: Protocol, internal: A, external: Endpoint<A>) {
        if !self.tracks() {
            return;
        }
        let index = self.index(external.address);
        let number = self.cut.number(&self.choices.all, external.port).filter(|_| self.traits.blocks);
        if let (Some(index), Some(number)) = (index, number) {
            self.hosts.meet(internal).more().blocks.hold(index as u32, place(protocol), number);
            self.externals[index].blocks.get_or_insert_default().insert(number);
        }
        if let Some(plan) = &self.plan {
            let dynamic = !is_own(plan, index, internal, external);
            self.hosts.meet(internal).more().use_planned(place(protocol), dynamic);
        }
        let pairs = self.pairs;
        let host = self.hosts.meet(internal);
        host.mappings += 1;
        if let Some(index) = index.filter(|_| pairs && host.external == NONE) {
            host.external = index as u32;
            self.externals[index].owner = Some(internal);
            self.load(index, 1);
        }
    }

    /// Changes the number of internal addresses that are paired with an external one.
    pub(super) fn load(&mut self, index: usize, change: i32) {
        let internals = &mut self.externals[index].internals;
        self.by_load.remove(&(*internals, index as u32));
        *internals = internals.saturating_add_signed(change);
        self.by_load.insert((*internals, index as u32));
    }

    /// Tells of a mapping that stays although the addresses have changed.
    pub(crate) fn keep(&mut self, protocol: Protocol, internal: A, external: Endpoint<A>, sessions: u32) {
        self.note(protocol, internal, external);
        if self.tracks() {
            self.hosts.meet(internal).sessions += sessions;
        }
    }

    /// A mapping has ended. `still_mapped` says whether others are on its external endpoint.
    pub(crate) fn release(
        &mut self,
        behavior: &Behavior,
        protocol: Protocol,
        internal: Endpoint<A>,
        external: Endpoint<A>,
        still_mapped: bool,
        now: Time,
    ) {
        let kept = self.traits.contiguous.then(|| self.reserved.end(protocol, internal, external)).flatten();
        if let Some(above) = kept {
            self.give_back(protocol, above);
        }
        let index = self.index(external.address);
        if self.tracks() {
            self.release_host(protocol, internal.address, external, index);
        }
        if still_mapped || self.traits.basic || index.is_none() || self.held == Some((protocol, external)) {
            return;
        }
        let waits = self.quarantine.keeps(behavior, protocol);
        let freed = if waits { self.quarantine.add(protocol, external, now) } else { Some((protocol, external)) };
        if let Some((protocol, external)) = freed {
            self.give_back(protocol, external);
        }
    }

    fn release_host(&mut self, protocol: Protocol, internal: A, external: Endpoint<A>, index: Option<usize>) {
        let own = self.plan.as_ref().map(|plan| is_own(plan, index, internal, external));
        let Some(host) = self.hosts.find_mut(internal) else { return };
        host.mappings = host.mappings.saturating_sub(1);
        if let Some(own) = own {
            host.more().release_planned(place(protocol), !own);
        }
        let (rests, paired) = (host.mappings == 0, host.external);
        if rests {
            host.external = NONE;
        }
        if self.traits.blocks {
            let freed = index.and_then(|index| {
                host.more().blocks.release(index as u32, place(protocol), self.cut, &self.choices.all, external.port)
            });
            if let (Some(number), Some(blocks)) = (freed, index.and_then(|index| self.externals[index].blocks.as_mut()))
            {
                blocks.remove(number);
            }
        }
        if rests && paired != NONE && (paired as usize) < self.externals.len() {
            self.externals[paired as usize].owner = None;
            self.load(paired as usize, -1);
        }
        if rests {
            self.hosts.rest(internal);
        }
    }

    /// A port may be given out again.
    pub(super) fn give_back(&mut self, protocol: Protocol, external: Endpoint<A>) {
        let set = self.place(protocol);
        let Some(index) = self.index(external.address) else { return };
        if let Some(ports) = &mut self.externals[index].ports[set] {
            ports.taken.remove(external.port);
        }
    }

    /// Keeps an endpoint taken while the mappings on it end.
    pub(crate) fn hold(&mut self, endpoint: Option<(Protocol, Endpoint<A>)>) {
        self.held = endpoint;
    }

    /// Takes an endpoint that a packet from outside names, for a host that has one like it.
    pub(crate) fn claim(&mut self, protocol: Protocol, internal: A, external: Endpoint<A>) -> bool {
        let set = self.place(protocol);
        let Some(index) = self.index(external.address) else { return false };
        let claims = self.traits.basic
            || self.externals[index].ports[set].get_or_insert_default().taken.insert(external.port)
            || self.traits.one_set;
        if claims {
            self.note(protocol, internal, external);
        }
        claims
    }

    /// Whether hosts get their ports by the block.
    pub(super) fn gives_blocks(&self) -> bool {
        self.traits.blocks
    }

    /// Basic NAT: whose an external address is.
    pub(crate) fn owner(&self, external: A) -> Option<A> {
        self.traits.basic.then(|| self.externals[self.index(external)?].owner).flatten()
    }

    /// Lets ports rest, of a NAT that has lost everything else.
    pub(crate) fn rest(&mut self, ports: Vec<Waiting<A>>) {
        self.quarantine.resume(ports);
        for Waiting { protocol, external, .. } in self.quarantine.iter() {
            let set = self.place(*protocol);
            if let Some(index) = self.index(external.address) {
                self.externals[index].ports[set].get_or_insert_default().taken.insert(external.port);
            }
        }
    }

    /// The ports that rest, and of those that are `mapped` the ones that must from now on.
    pub(crate) fn into_resting(
        self,
        behavior: &Behavior,
        mapped: impl Iterator<Item = (Protocol, Endpoint<A>)>,
    ) -> Vec<Waiting<A>> {
        let must: Vec<Waiting<A>> = mapped
            .filter(|(protocol, _)| self.quarantine.keeps(behavior, *protocol))
            .map(|(protocol, external)| Waiting { until: None, protocol, external })
            .collect();
        self.quarantine.into_waiting().into_iter().chain(must).collect()
    }

    /// Basic NAT: the external address that a host has, if it has one.
    pub(crate) fn address_of(&self, internal: A) -> Option<A> {
        self.traits.basic.then(|| self.paired(internal).map(|index| self.externals[index].address)).flatten()
    }

    pub(super) fn free_waiting(&mut self, now: Time) {
        while let Some((protocol, external)) = self.quarantine.pop(now) {
            self.give_back(protocol, external);
        }
    }

    /// The index of the external address of an internal one that has mappings.
    pub(super) fn paired(&self, internal: A) -> Option<usize> {
        let host = self.hosts.find(internal)?;
        (host.external != NONE).then_some(host.external as usize)
    }
}

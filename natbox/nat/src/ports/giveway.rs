//! Who gives way where nothing is left: the lines in which mappings stand, by external address and by host.

use natbox_wire::{Protocol, Time};

use crate::Behavior;
use crate::behavior::{PoolExhausted, Pooling};
use crate::key::{Address, Endpoint};
use crate::ports::evict::Candidate;
use crate::ports::hosts::place;
use crate::ports::pool::Pool;
use crate::verdict::MappingId;

/// Judges a mapping, told which ports would help.
type Judge<'a> = dyn Fn(&dyn Fn(u16) -> bool, u32) -> Candidate + 'a;

/// Who gives way.
impl<A: Address> Pool<A> {
    /// Lists a mapping among those that may have to give way.
    pub(crate) fn enlist(
        &mut self,
        protocol: Protocol,
        internal: A,
        external: Endpoint<A>,
        id: MappingId,
        index: u32,
        now: Time,
    ) {
        if let Some(at) = self.index(external.address) {
            let oldest = self.externals[at].oldest.get_or_insert_default();
            oldest[place(protocol)].add(id, index, now);
        }
        if self.tracks() {
            self.hosts.meet(internal).more().oldest.add(id, index, now);
        }
    }

    /// Strikes a mapping off that list.
    pub(crate) fn strike(&mut self, protocol: Protocol, internal: A, external: Endpoint<A>, id: MappingId) {
        let at = self.index(external.address);
        if let Some(oldest) = at.and_then(|at| self.externals[at].oldest.as_mut()) {
            oldest[place(protocol)].remove(id);
        }
        if let Some(host) = self.hosts.find_mut(internal) {
            host.more().oldest.remove(id);
        }
    }

    /// The mapping that would end first on the addresses that an internal endpoint may use.
    pub(crate) fn oldest_on(
        &mut self,
        behavior: &Behavior,
        protocol: Protocol,
        internal: Endpoint<A>,
        judge: &Judge<'_>,
    ) -> Option<u32> {
        let keeps = behavior.pooling == Pooling::Paired && behavior.pool_exhausted == PoolExhausted::Drop;
        let only = self.paired(internal.address).filter(|_| keeps);
        let candidates = self.choices.of(protocol, internal.port).1;
        let planned = self.plan.is_some();
        let suits = |port: u16| planned || candidates.contains(port);
        let mut first = None;
        for (at, external) in self.externals.iter_mut().enumerate() {
            let Some(oldest) = external.oldest.as_mut().filter(|_| only.is_none_or(|only| only == at)) else {
                continue;
            };
            let found = oldest[place(protocol)].first(|index| judge(&suits, index));
            let until = found.map(|index| (judge(&suits, index).until, at, index));
            first = first.into_iter().chain(until).min();
        }
        first.map(|(_, _, index)| index)
    }

    /// The mapping of an internal address that would end first.
    pub(crate) fn oldest_of(&mut self, internal: A, judge: &Judge<'_>) -> Option<u32> {
        self.hosts.find_mut(internal)?.more().oldest.first(|index| judge(&|_| true, index))
    }
}

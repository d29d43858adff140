//! Other rules for a pool that is in use. What mappings have is told again, one by one.

use natbox_wire::{Protocol, Time};

use crate::Behavior;
use crate::behavior::Pooling;
use crate::key::{Address, Endpoint};
use crate::ports::blocks::Cut;
use crate::ports::candidates::Choices;
use crate::ports::deterministic::Arithmetic;
use crate::ports::hosts::Hosts;
use crate::ports::pool::Pool;
use crate::ports::reserve::Reserved;
use crate::ports::traits::Traits;

impl<A: Address> Pool<A> {
    /// Gives out endpoints by other rules. No mapping has any until [`Pool::retake`] and [`Pool::keep`] say so of each.
    /// `shared` says that some mappings share an endpoint, which they go on doing. Counters go on too; ports rest no
    /// longer than the new time from now on.
    pub(crate) fn reconfigure(&mut self, behavior: &Behavior, shared: bool, now: Time) {
        let one_set = self.traits.one_set;
        self.traits = Traits { shared, ..Traits::of(behavior, self.traits.basic) };
        self.choices = Choices::new(&behavior.ports);
        self.cut = Cut::of(&behavior.ports, &self.choices.all);
        self.pairs = self.traits.basic || behavior.pooling == Pooling::Paired;
        self.plan = Arithmetic::of(&behavior.ports, self.externals.len(), &self.hash);
        let remembers = self.traits.remembers(behavior);
        if !self.tracks() || self.hosts.remembers() != remembers {
            self.hosts = Hosts::new(self.hash.clone(), remembers);
        }
        self.quarantine.reconfigure(behavior, now);
        // Where one set becomes two or two become one, a port that is kept may be in use on the other side.
        if one_set != self.traits.one_set {
            self.quarantine.retain(|_| false);
        }
        if one_set != self.traits.one_set || !self.traits.contiguous {
            self.reserved = Reserved::default();
        }
        self.recount();
        self.hosts.all_mut().for_each(|host| host.forget_order());
        for external in &mut self.externals {
            external.oldest = None;
            external.ports.iter_mut().flatten().for_each(|ports| ports.taken = Default::default());
        }
        let resting = self.quarantine.iter().map(|one| (one.protocol, one.external));
        let kept: Vec<_> = resting.chain(self.reserved.iter()).collect();
        kept.into_iter().for_each(|(protocol, external)| self.retake(protocol, external));
    }

    /// An endpoint is taken as before.
    pub(crate) fn retake(&mut self, protocol: Protocol, external: Endpoint<A>) {
        if !self.traits.basic {
            self.keep_wished(protocol, external);
        }
    }
}

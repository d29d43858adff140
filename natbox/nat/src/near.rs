//! Brings a NAT near before its packet comes, where a driver has many of them: each is small, and none of it is in a near
//! cache when its turn comes. Changes nothing. What a batch of packets brings near for one NAT is told in `short`.

use prefetch_index::prefetch_index;

use crate::Nat;
use crate::key::Address;
use crate::realm::Realm;

/// Brings a value near, or its first line.
pub(crate) fn bring<T>(value: &T) {
    prefetch_index(std::slice::from_ref(value), 0);
}

impl Nat {
    /// Asks the processor for the NAT itself, without waiting. To be called for several NATs, then for each of them
    /// [`Nat::bring_realm`] with 0, 1 and 2, one after the other: each step finds what the one before has asked for.
    pub fn bring(&self) {
        bring(&self.shared.behavior);
        bring(&self.shared.timers);
        bring(&self.shared.uses);
        bring(&self.shared.ended);
        bring(&self.shared.output);
        bring(&self.shared.control);
        bring(&self.external);
        bring(&self.v4);
    }

    /// Asks the processor for one step of what an IPv4 packet will need.
    pub fn bring_realm(&self, step: u32) {
        if step == 0 {
            prefetch_index(&self.external, 0);
        }
        if let Some(realm) = &self.v4 {
            realm.bring(step);
        }
    }
}

impl<A: Address> Realm<A> {
    fn bring(&self, step: u32) {
        if step == 0 {
            bring(&self.pool);
            bring(&self.syns);
            bring(&self.early);
            bring(&self.identification);
            bring(&self.masks);
            bring(&self.short);
            bring(&self.explicit);
        }
        self.table.bring(step);
        self.pool.bring(step);
        self.identification.bring(step);
    }
}

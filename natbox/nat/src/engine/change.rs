//! The whole box behaves otherwise from now on. What that means for what it has is told in `crate::change`.

use std::sync::Arc;

use natbox_wire::Time;

use super::Nat;
use crate::Behavior;
use crate::around::Aliases;
use crate::key::Hash;
use crate::timers::Timers;
use crate::uses::Uses;

impl Nat {
    /// Behaves otherwise from now on; mappings stay. What has fallen due by `now` must have been handled
    /// ([`Nat::handle_timeout`]), and the next deadline may be another one than before.
    ///
    /// # Errors
    /// The axes that cannot change; nothing has changed then.
    pub fn reconfigure(&mut self, behavior: Arc<Behavior>, now: Time) -> Result<(), Vec<&'static str>> {
        let fixed = self.shared.behavior.fixed(&behavior);
        if !fixed.is_empty() {
            return Err(fixed);
        }
        let before = std::mem::replace(&mut self.shared.behavior, behavior);
        self.shared.timers = Timers::of(&self.shared.behavior);
        self.shared.uses = Uses::of(&self.shared.behavior);
        self.shared.now = now;
        let behavior = &self.shared.behavior;
        if before.alg != behavior.alg
            && let Some(algs) = &mut self.algs
        {
            algs.forget_announced();
        }
        if self.algs.is_some() {
            // The numbers of connections whose text was changed stay moved.
            self.shared.uses = self.shared.uses.and(Uses::PAYLOADS);
        }
        if let Some(fragments) = &mut self.fragments {
            fragments.hasten(now + behavior.fragments.timeout);
        }
        Aliases::replace(&mut self.aliases, &behavior.aliases);
        if self.aliases.is_some() {
            self.shared.uses = self.shared.uses.and(Uses::AROUND);
        }
        let hash = Hash::with_seed(self.seed);
        if let Some(realm) = &mut self.v4 {
            realm.reconfigure(&mut self.shared, &before, hash.clone(), now);
        }
        if let Some(realm) = &mut self.v6 {
            realm.reconfigure(&mut self.shared, &before, hash, now);
        }
        Ok(())
    }
}

//! Ports that are kept for the internal port above an even one (RFC 4787 section 4.2.3: contiguity).
//!
//! A reservation ends when it is claimed, or with the mapping that made it.

use std::collections::BTreeMap;

use natbox_wire::Protocol;

use crate::key::{Address, Endpoint};

/// A port that is kept.
struct Kept<A> {
    /// The external endpoint of the mapping that keeps it.
    below: Endpoint<A>,
    external: Endpoint<A>,
}

/// Kept ports, by whom they are kept for.
pub(crate) struct Reserved<A>(BTreeMap<(u8, Endpoint<A>), Kept<A>>);

impl<A> Default for Reserved<A> {
    fn default() -> Reserved<A> {
        Reserved(BTreeMap::new())
    }
}

impl<A: Address> Reserved<A> {
    /// Keeps an endpoint for an internal one; not if that has one already.
    pub(crate) fn add(
        &mut self,
        protocol: Protocol,
        internal: Endpoint<A>,
        below: Endpoint<A>,
        external: Endpoint<A>,
    ) -> bool {
        let key = (protocol as u8, internal);
        let is_new = !self.0.contains_key(&key);
        if is_new {
            self.0.insert(key, Kept { below, external });
        }
        is_new
    }

    /// The endpoint that was kept for this one, which now has it.
    pub(crate) fn claim(&mut self, protocol: Protocol, internal: Endpoint<A>) -> Option<Endpoint<A>> {
        self.0.remove(&(protocol as u8, internal)).map(|kept| kept.external)
    }

    /// A mapping has ended; gives back the endpoint that it kept.
    pub(crate) fn end(
        &mut self,
        protocol: Protocol,
        internal: Endpoint<A>,
        external: Endpoint<A>,
    ) -> Option<Endpoint<A>> {
        let key = (protocol as u8, Endpoint { port: internal.port.checked_add(1)?, ..internal });
        let its = self.0.get(&key).is_some_and(|kept| kept.below == external);
        its.then(|| self.0.remove(&key)).flatten().map(|kept| kept.external)
    }

    /// The endpoints that are kept.
    pub(crate) fn iter(&self) -> impl Iterator<Item = (Protocol, Endpoint<A>)> {
        let protocols = [Protocol::Udp, Protocol::Tcp, Protocol::Icmp];
        self.0.iter().filter_map(move |((protocol, _), kept)| {
            protocols.into_iter().find(|one| *one as u8 == *protocol).map(|protocol| (protocol, kept.external))
        })
    }

    /// Forgets what was kept on addresses that are gone.
    pub(crate) fn retain(&mut self, stays: impl Fn(A) -> bool) {
        self.0.retain(|_, kept| stays(kept.external.address));
    }
}

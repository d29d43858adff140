//! External endpoints that are asked for by name: whether they are free, and how they are taken.
//!
//! A name is honoured whatever the range of the ports given out otherwise; not where ports are dealt out by the block or by
//! arithmetic, where a host has its own.

use natbox_wire::Protocol;

use crate::key::{Address, Endpoint};
use crate::ports::pool::Pool;

impl<A: Address> Pool<A> {
    /// Whether a host may name its external port at all.
    pub(crate) fn honours_wishes(&self) -> bool {
        !self.traits.basic && self.plan.is_none() && !self.gives_blocks()
    }

    /// Whether a port is in the range of those given out.
    pub(crate) fn gives(&self, protocol: Protocol, port: u16) -> bool {
        self.choices.allows(protocol, port)
    }

    /// Whether ports stay as they are.
    pub(crate) fn is_basic(&self) -> bool {
        self.traits.basic
    }

    /// The external address on which a host may name a port: the one that it is paired with, the one that it wishes for,
    /// or the next in turn.
    pub(crate) fn address_for(&self, internal: A, wished: Option<A>) -> Option<A> {
        let paired = if self.pairs { self.paired(internal) } else { None };
        let emptiest = self.by_load.first().map(|(_, index)| *index as usize).filter(|_| self.pairs);
        let named = wished.and_then(|wished| self.index(wished));
        let index = paired.or(named).or(emptiest).unwrap_or(0);
        Some(self.externals.get(index)?.address)
    }

    /// Whether an endpoint is taken or kept.
    pub(crate) fn is_taken(&self, protocol: Protocol, external: Endpoint<A>) -> bool {
        let set = self.place(protocol);
        let ports = self.index(external.address).and_then(|index| self.externals[index].ports[set].as_ref());
        ports.is_some_and(|ports| ports.taken.contains(external.port))
    }

    /// Takes an endpoint for a host, if it is free or `kept` for it.
    pub(crate) fn take_wished(&mut self, protocol: Protocol, internal: A, external: Endpoint<A>, kept: bool) -> bool {
        let takes = self.keep_wished(protocol, external) || kept;
        if takes {
            self.note(protocol, internal, external);
        }
        takes
    }

    /// Keeps an endpoint from everybody; false if it was taken.
    pub(crate) fn keep_wished(&mut self, protocol: Protocol, external: Endpoint<A>) -> bool {
        let set = self.place(protocol);
        let Some(index) = self.index(external.address) else { return false };
        self.externals[index].ports[set].get_or_insert_default().taken.insert(external.port)
    }

    /// Keeps it no more.
    pub(crate) fn keep_no_more(&mut self, protocol: Protocol, external: Endpoint<A>) {
        self.give_back(protocol, external);
    }

    /// Keeps these UDP ports from everybody for a moment; those that were free.
    pub(crate) fn shun(&mut self, ports: &[u16]) -> Vec<Endpoint<A>> {
        let addresses: Vec<A> = self.externals.iter().map(|external| external.address).collect();
        let all =
            addresses.into_iter().flat_map(|address| ports.iter().map(move |port| Endpoint { address, port: *port }));
        all.filter(|external| self.keep_wished(Protocol::Udp, *external)).collect()
    }

    /// Gives them free again.
    pub(crate) fn shun_no_more(&mut self, shunned: &[Endpoint<A>]) {
        shunned.iter().for_each(|external| self.give_back(Protocol::Udp, *external));
    }
}

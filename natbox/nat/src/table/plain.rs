//! How the short way finds its sessions: those that lie in their mappings' records, in one look.

use crate::key::{Address, Endpoint};
use crate::record::{NONE, Record};
use crate::table::Table;
use crate::table::index::Index;
use crate::timers::Side;

impl<A: Address> Table<A> {
    /// The session that an outbound packet uses, if it is plain. The hash is that of [`Table::outbound_hash`].
    #[inline(always)]
    pub(crate) fn find_plain_outbound(&self, hash: u64, internal: Endpoint<A>, remote: Endpoint<A>) -> Option<u32> {
        self.by_rule.find(hash, |index| self.session(index).is_plain_outbound(internal, remote))
    }

    /// The session that an inbound packet uses, if it is plain. The hash is that of [`Table::inbound_hash`].
    #[inline(always)]
    pub(crate) fn find_plain_inbound(&self, hash: u64, external: Endpoint<A>, remote: Endpoint<A>) -> Option<u32> {
        self.by_endpoint.find(hash, |index| self.session(index).is_plain_inbound(external, remote))
    }

    /// Whether [`Table::find_plain_outbound`] would find this session.
    #[inline(always)]
    pub(crate) fn is_plain_outbound(&self, session: u32, internal: Endpoint<A>, remote: Endpoint<A>) -> bool {
        self.records.get(session).is_some_and(|record| record.is_plain_outbound(internal, remote))
    }

    /// Whether [`Table::find_plain_inbound`] would find this session.
    #[inline(always)]
    pub(crate) fn is_plain_inbound(&self, session: u32, external: Endpoint<A>, remote: Endpoint<A>) -> bool {
        self.records.get(session).is_some_and(|record| record.is_plain_inbound(external, remote))
    }

    /// Brings the place of a hash near, for a search to come.
    #[inline(always)]
    pub(crate) fn prefetch(&self, from: Side, hash: u64) {
        self.index_for(from).prefetch(hash);
    }

    /// Brings near what a packet of a new flow would wait for, its place in the index, and gives the mapping opened
    /// last its place there meanwhile, which still stands outside. Nothing happens if no mapping has been opened since the
    /// last time.
    #[inline(always)]
    pub(crate) fn settle_before(&mut self, from: Side, hash: u64) {
        if self.by_rule.is_unsettled() {
            self.prefetch(from, hash);
            self.by_rule.settle();
        }
    }

    /// The same for a packet whose place is near already.
    #[inline(always)]
    pub(crate) fn settle_near(&mut self) {
        if self.by_rule.is_unsettled() {
            self.by_rule.settle();
        }
    }

    /// Brings the record near that a search is likely to find; its index, or `NONE`.
    #[inline(always)]
    pub(crate) fn prefetch_record(&self, from: Side, hash: u64) -> u32 {
        let index = self.index_for(from).find(hash, |_| true).unwrap_or(NONE);
        self.records.prefetch(index);
        index
    }

    #[inline(always)]
    fn index_for(&self, from: Side) -> &Index {
        match from {
            Side::Inside => &self.by_rule,
            Side::Outside => &self.by_endpoint,
        }
    }
}

impl<A: Address> Record<A> {
    #[inline(always)]
    fn is_plain_outbound(&self, internal: Endpoint<A>, remote: Endpoint<A>) -> bool {
        self.remote == remote && self.internal == internal && self.is_plain()
    }

    #[inline(always)]
    fn is_plain_inbound(&self, external: Endpoint<A>, remote: Endpoint<A>) -> bool {
        self.remote == remote && self.external == external && self.is_plain()
    }
}

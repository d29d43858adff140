//! By which keys a mapping is found, and who heads those that share one.

use crate::key::Address;
use crate::record::mapping as of_mapping;
use crate::table::Table;

impl<A: Address> Table<A> {
    /// A mapping's hash in `by_rule`.
    fn rule_hash(&self, index: u32) -> u64 {
        let record = self.mapping(index);
        self.hash.two(record.protocol, record.internal, record.towards())
    }

    /// A mapping's hash in `by_endpoint`.
    fn endpoint_hash(&self, index: u32) -> u64 {
        let record = self.mapping(index);
        self.hash.one(record.protocol, record.external)
    }

    /// The mapping that heads those of a mapping's rule key, which has this hash.
    #[inline]
    fn head_by_rule(&self, index: u32, hash: u64) -> Option<u32> {
        let record = self.mapping(index);
        self.find_rule_hashed(hash, record.protocol, record.internal, record.towards())
    }

    /// The mapping that heads those of a mapping's external endpoint.
    fn head_by_endpoint(&self, index: u32) -> Option<u32> {
        let record = self.mapping(index);
        self.find_endpoint(record.protocol, record.external)
    }

    /// Lets a new mapping be found by its rule key.
    pub(super) fn link_by_rule(&mut self, index: u32) {
        let hash = self.rule_hash(index);
        match self.head_by_rule(index, hash) {
            None => {
                self.by_rule.insert(hash, index);
                self.records[index].mapping |= of_mapping::HEADS_RULE;
            }
            Some(head) => {
                self.behind_rule.add(head, index);
                self.records[head].mapping |= of_mapping::SHARES_RULE;
            }
        }
    }

    /// Lets a new mapping be found by its external endpoint.
    pub(super) fn link_by_endpoint(&mut self, index: u32) {
        debug_assert!(!self.exclusive || self.head_by_endpoint(index).is_none(), "two mappings on one endpoint");
        match if self.exclusive { None } else { self.head_by_endpoint(index) } {
            None => {
                self.by_endpoint.insert(self.endpoint_hash(index), index);
                self.by_endpoint.prefetch_last();
                self.records[index].mapping |= of_mapping::HEADS_ENDPOINT;
            }
            Some(head) => {
                self.behind_endpoint.add(head, index);
                self.records[head].mapping |= of_mapping::SHARES_ENDPOINT;
            }
        }
    }

    /// Brings the places of a mapping's keys near, without waiting for them; its hashes in `by_rule` and `by_endpoint`.
    #[inline]
    pub(super) fn prefetch_keys(&self, index: u32) -> (u64, u64) {
        let (by_rule, by_endpoint) = (self.rule_hash(index), self.endpoint_hash(index));
        self.by_rule.prefetch(by_rule);
        self.by_endpoint.prefetch(by_endpoint);
        (by_rule, by_endpoint)
    }

    pub(super) fn unlink_by_rule(&mut self, index: u32, hash: u64) {
        if !self.mapping(index).has(of_mapping::HEADS_RULE) {
            if let Some(head) = self.head_by_rule(index, hash) {
                self.behind_rule.remove(head, index);
            }
            return;
        }
        self.by_rule.remove(hash, index);
        if !self.mapping(index).has(of_mapping::SHARES_RULE) {
            return;
        }
        if let Some(successor) = self.behind_rule.succeed(index) {
            self.by_rule.insert(hash, successor);
            self.records[successor].mapping |= of_mapping::HEADS_RULE | of_mapping::SHARES_RULE;
        }
    }

    pub(super) fn unlink_by_endpoint(&mut self, index: u32, hash: u64) {
        if !self.mapping(index).has(of_mapping::HEADS_ENDPOINT) {
            if let Some(head) = self.head_by_endpoint(index) {
                self.behind_endpoint.remove(head, index);
            }
            return;
        }
        self.by_endpoint.remove(hash, index);
        if !self.mapping(index).has(of_mapping::SHARES_ENDPOINT) {
            return;
        }
        if let Some(successor) = self.behind_endpoint.succeed(index) {
            self.by_endpoint.insert(hash, successor);
            self.records[successor].mapping |= of_mapping::HEADS_ENDPOINT | of_mapping::SHARES_ENDPOINT;
        }
    }
}

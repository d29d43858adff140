//! The table of a NAT: mappings, the sessions on them, and four ways to find them.
//!
//! # Theory of operation
//!
//! A *mapping* lends an external endpoint to an internal one. A *session* is the traffic between an internal
//! endpoint and one remote through one mapping (RFC 6146 calls them BIB and STE).
//!
//! ```text
//!   internal --------------- mapping --------------- external        remote
//!   10.0.0.2:5000            number 4                198.18.0.3:40001
//!        |                      | holders: 1                            |
//!        |                      +-- session -- permits, leads -------- 198.18.0.9:3478
//!        |                      +-- session -- (guest) --------------- 198.18.0.8:53
//!
//!   by_rule      (protocol, internal, towards)  -> mapping, and the session in its record
//!   by_endpoint  (protocol, external)           -> mapping, and the session in its record
//!   by_internal  (protocol, internal, remote)   -> further session   an outbound packet
//!   by_external  (protocol, external, remote)   -> further session   an inbound packet
//! ```
//!
//! Most mappings have one session. It lies in the mapping's own record of 64 bytes (IPv4), so that a packet of it
//! searches one index and reads one record, and the mapping costs no more than that. *Further* sessions have records of
//! their own and stand in `by_internal` and `by_external`, so that a packet on a mapping of many sessions searches
//! twice. A session's index is that of its record; it never changes. The indices hold `u32`, never records.
//!
//! Mappings may share a key: several of one internal endpoint under one rule, or several on one external endpoint.
//! The oldest *heads* the others: it stands in the index, the others in a bunch behind it. Only a mapping that heads
//! both its keys, and a session whose remote the rule would lead to it, share a record; whatever is not in its
//! mapping's record is a further session. So no search walks a bunch.
//!
//! What a session may be, apart from its TCP state:
//!
//! * It *permits* once a packet from inside has gone through it: it is then a permission for its remote, and stays
//!   one as long as it lives. A session opened by an admitted packet from outside does not permit before its first reply.
//! * It *leads* if outbound packets to its remote use it. At most one session of an (internal, remote) pair leads:
//!   with session affinity the one through which the remote's last packet came, or if none came the one that was
//!   there first, and when it ends the one on the oldest mapping; without affinity only the one on the mapping that the
//!   rule names.
//! * It *holds* its mapping if it permits, or if packets from outside keep mappings alive. A session that does not
//!   hold is a *guest*: it goes when the last holder goes, and its mapping with it.
//!
//! Timers: each session has its own deadline (`timers`), and one live entry in `expiry`. A session is alive while
//! `now < deadline`; at its deadline it is gone. Mappings have no timer: they end with their last holder.
//!
//! Rejected: mapping deadlines beside session deadlines. Two clocks for one thing drift, and every packet would
//! touch two records.

mod aside;
mod bunch;
mod change;
mod deadlines;
mod holds;
mod index;
mod keys;
mod look;
mod plain;
mod slots;
#[cfg(test)]
mod tests;

use natbox_wire::{Protocol, Time};

use crate::behavior::Mapping as Rule;
use crate::expiry::Expiry;
use crate::filter::Permissions;
use crate::key::{Address, Endpoint, Hash};
use crate::near::bring;
use crate::record::{Mapping, NONE, Opening, Record, Role, mapping as of_mapping, session as of_session};

pub(crate) use aside::Aside;
use bunch::Bunches;
use index::Index;
use slots::{Chunks, Slots};

/// Records that one table holds at most: 256 MiB of IPv4. Only the filter and the timers limit how many
/// sessions outsiders may open, so there must be an end.
pub(crate) const MAX_RECORDS: usize = 1 << 22;

/// Mappings and sessions of one address family.
pub(crate) struct Table<A> {
    records: Slots<Record<A>>,
    /// When each mapping was made, by index: nothing that a packet asks about.
    created: Chunks<Time>,
    by_rule: Index,
    behind_rule: Bunches,
    by_endpoint: Index,
    behind_endpoint: Bunches,
    by_internal: Index,
    by_external: Index,
    /// Permissions by remote address, where the filter asks for them.
    pub(crate) permissions: Option<Permissions<A>>,
    expiry: Expiry,
    /// Absolute ends.
    ends: Aside<Time>,
    hash: Hash,
    /// Which remotes share a mapping, by protocol.
    rules: [Rule; 3],
    /// Whether no two mappings share an external endpoint: then none is sought before another is added.
    pub(crate) exclusive: bool,
    /// Whether another session takes over when a leading one ends.
    affinity: bool,
    /// The mapping looked at last: whoever asks about a mapping asks about the packet just handled.
    recent: [u32; 2],
}

impl<A: Address> Table<A> {
    /// An empty table. `rules` say which remotes share a mapping, by protocol.
    pub(crate) fn new(hash: Hash, rules: [Rule; 3], affinity: bool, permissions: Option<Permissions<A>>) -> Table<A> {
        Table {
            records: Slots::default(),
            created: Chunks::default(),
            by_rule: Index::default(),
            behind_rule: Bunches::default(),
            by_endpoint: Index::default(),
            behind_endpoint: Bunches::default(),
            by_internal: Index::default(),
            by_external: Index::default(),
            permissions,
            expiry: Expiry::default(),
            ends: Aside::default(),
            hash,
            rules,
            exclusive: false,
            affinity,
            recent: [NONE; 2],
        }
    }

    /// Brings near what every packet asks about: the table itself (step 0), then what a small one consists of.
    pub(crate) fn bring(&self, step: u32) {
        if step == 0 {
            bring(&self.records);
            bring(&self.by_rule);
            bring(&self.by_endpoint);
            self.expiry.bring();
            return bring(&self.recent);
        }
        if step == 1 {
            self.by_rule.prefetch(0);
            self.by_endpoint.prefetch(0);
        }
        self.records.prefetch(0);
    }

    /// A session, by its index.
    #[inline(always)]
    pub(crate) fn session(&self, index: u32) -> &Record<A> {
        &self.records[index]
    }

    #[inline(always)]
    pub(crate) fn session_mut(&mut self, index: u32) -> &mut Record<A> {
        &mut self.records[index]
    }

    /// A mapping, by its index.
    #[inline]
    pub(crate) fn mapping(&self, index: u32) -> &Record<A> {
        &self.records[index]
    }

    /// The index of a session's mapping.
    #[inline(always)]
    pub(crate) fn mapping_of(&self, session: u32) -> u32 {
        self.session(session).mapping_of(session)
    }

    /// Whether no further session may be opened, where there may be so many.
    pub(crate) fn is_full(&self, most: Option<u32>) -> bool {
        self.records.len() >= most.map_or(MAX_RECORDS, |most| MAX_RECORDS.min(most as usize))
    }

    /// Adds a mapping. It ends when its last holder ends, so a session must be opened on it at once.
    pub(crate) fn open_mapping(&mut self, mapping: Mapping<A>) -> u32 {
        let record = Record::of_mapping(&mapping);
        let index = self.records.insert(record);
        while self.created.len() <= index as usize {
            self.created.push(Time::ZERO);
        }
        if let Some(created) = self.created.get_mut(index) {
            *created = mapping.created;
        }
        self.link_by_rule(index);
        self.link_by_endpoint(index);
        index
    }

    /// Lets the rule name this mapping for no further session.
    pub(crate) fn hide(&mut self, mapping: u32) {
        self.records[mapping].mapping &= !of_mapping::FINDABLE;
    }

    /// Adds a session to a mapping.
    pub(crate) fn open_session(&mut self, opening: Opening<A>) -> u32 {
        let Opening { mapping, remote, tcp, permits, holds, leads, deadline } = opening;
        let index = if self.has_room_for(mapping, remote) { mapping } else { self.add_record(mapping, remote) };
        let record = &mut self.records[index];
        record.remote = remote;
        record.tcp = tcp;
        record.session = of_session::LIVE;
        record.session |= if leads { of_session::LEADS } else { 0 };
        record.marks = 0;
        record.deadline = deadline;
        record.armed = deadline;
        self.expiry.arm(deadline, index);
        if holds {
            self.hold(index);
        }
        if permits {
            self.permit(index);
        }
        index
    }

    /// Whether a session with this remote may lie in a mapping's own record.
    fn has_room_for(&self, mapping: u32, remote: Endpoint<A>) -> bool {
        let record = self.mapping(mapping);
        !record.is(of_session::LIVE)
            && record.has(of_mapping::HEADS_RULE | of_mapping::HEADS_ENDPOINT)
            && self.leads_to(mapping, remote)
    }

    /// Whether a session with this remote would be the first of its internal endpoint and remote, for all that can be told
    /// without a search: it lies where the search begins, and there are none that the search would come to after that.
    pub(crate) fn is_first(&self, mapping: u32, remote: Endpoint<A>) -> bool {
        self.by_internal.is_empty() && self.has_room_for(mapping, remote)
    }

    /// A record of its own for a further session.
    fn add_record(&mut self, mapping: u32, remote: Endpoint<A>) -> u32 {
        let &Record { internal, external, protocol, id, next, .. } = self.mapping(mapping);
        let index = self.records.insert(Record {
            internal,
            external,
            remote,
            protocol,
            tcp: crate::tcp::Tcp::NONE,
            session: 0,
            mapping: 0,
            marks: 0,
            role: Role::Further { mapping, previous: mapping },
            next,
            id,
            deadline: Time::MAX,
            armed: Time::MAX,
        });
        self.records[mapping].next = index;
        self.set_previous(next, index);
        self.by_internal.insert(self.hash.two(protocol, internal, remote), index);
        self.by_external.insert(self.hash.two(protocol, external, remote), index);
        index
    }

    fn set_previous(&mut self, session: u32, before: u32) {
        if let Some(Record { role: Role::Further { previous, .. }, .. }) = self.records.get_mut(session) {
            *previous = before;
        }
    }

    /// The session holds its mapping from now on.
    fn hold(&mut self, index: u32) {
        let record = &mut self.records[index];
        if !record.is(of_session::HOLDS) {
            record.session |= of_session::HOLDS;
            let mapping = record.mapping_of(index);
            self.count_holders(mapping, 1);
        }
    }

    /// Changes the number of a mapping's holders; gives the new number.
    fn count_holders(&mut self, mapping: u32, change: i32) -> u32 {
        match &mut self.records[mapping].role {
            Role::Mapping { holders, .. } => {
                *holders = holders.saturating_add_signed(change);
                *holders
            }
            Role::Further { .. } => 0,
        }
    }

    /// A packet from inside has gone through a session for the first time.
    #[inline(never)]
    pub(crate) fn permit(&mut self, index: u32) {
        self.records[index].session |= of_session::PERMITS;
        self.hold(index);
        let record = &self.records[index];
        if let Some(permissions) = &mut self.permissions {
            permissions.add(record, index);
        }
    }

    /// Removes a session. Gives the mapping back if this was its last holder; guests that were left go with it.
    pub(crate) fn close_session(&mut self, index: u32) -> Option<Mapping<A>> {
        let mapping = self.mapping_of(index);
        let held = self.session(index).is(of_session::HOLDS);
        self.unlink_session(index);
        let left = self.count_holders(mapping, -i32::from(held));
        (left == 0).then(|| self.close_mapping(mapping))
    }

    /// Removes a mapping and all its sessions.
    pub(crate) fn close_mapping(&mut self, index: u32) -> Mapping<A> {
        let (by_rule, by_endpoint) = self.prefetch_keys(index);
        while self.mapping(index).next != NONE {
            self.unlink_session(self.mapping(index).next);
        }
        if self.mapping(index).is(of_session::LIVE) {
            self.unlink_session(index);
        }
        self.unlink_by_rule(index, by_rule);
        self.unlink_by_endpoint(index, by_endpoint);
        let record = self.mapping(index);
        let mapping = Mapping {
            protocol: record.protocol,
            internal: record.internal,
            external: record.external,
            towards: record.has(of_mapping::DEPENDENT).then(|| record.towards()),
            findable: record.has(of_mapping::FINDABLE),
            id: record.id,
            created: self.created(index),
        };
        self.records.remove(index);
        mapping
    }

    /// Takes a session out of everything that finds it.
    fn unlink_session(&mut self, index: u32) {
        let record = &mut self.records[index];
        let (was, role, next) = (record.session, record.role, record.next);
        let (protocol, internal, external, remote) = (record.protocol, record.internal, record.external, record.remote);
        if let Some(permissions) = self.permissions.as_mut().filter(|_| record.permits()) {
            permissions.remove(record, index);
        }
        if was & of_session::ENDS != 0 {
            self.ends.clear(index);
        }
        match role {
            Role::Mapping { .. } => {
                record.session = 0;
                record.deadline = Time::MAX;
                record.armed = Time::MAX;
            }
            Role::Further { previous, .. } => {
                self.records.remove(index);
                self.records[previous].next = next;
                self.set_previous(next, previous);
                self.by_internal.remove(self.hash.two(protocol, internal, remote), index);
                self.by_external.remove(self.hash.two(protocol, external, remote), index);
            }
        }
        // Who could take over from a session in a mapping's record is a further one.
        let alone = matches!(role, Role::Mapping { .. }) && self.by_internal.is_empty();
        if was & of_session::LEADS != 0 && self.affinity && !alone {
            self.promote(protocol, internal, remote);
        }
    }

    /// Lets this session lead instead of the one that does.
    #[cold]
    pub(crate) fn lead(&mut self, index: u32) {
        let &Record { protocol, internal, remote, .. } = self.session(index);
        if let Some(former) = self.find_outbound(protocol, internal, remote) {
            self.records[former].session &= !of_session::LEADS;
        }
        self.records[index].session |= of_session::LEADS;
    }

    /// Lets the session on the oldest mapping lead.
    fn promote(&mut self, protocol: Protocol, internal: Endpoint<A>, remote: Endpoint<A>) {
        if let Some(index) = self.oldest(protocol, internal, remote) {
            self.records[index].session |= of_session::LEADS;
        }
    }

    /// Remembers which mapping a packet used.
    #[inline]
    pub(crate) fn remember(&mut self, mapping: u32) {
        self.recent = [mapping, self.recent[0]];
    }
}

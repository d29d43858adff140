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
//!   by_internal  (protocol, internal, remote)   -> session   an outbound packet of a known session
//!   by_external  (protocol, external, remote)   -> session   an inbound packet of a known session
//!   by_rule      (protocol, internal, towards)  -> mapping   an outbound packet of a new session
//!   by_endpoint  (protocol, external)           -> mapping   an inbound packet of a new session
//! ```
//!
//! A session record repeats the endpoints of its mapping, so that a packet of a known session looks at one hash
//! group and one record of 64 bytes (IPv4). The tables hold `u32` indices into the two slabs, never records.
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

use hashbrown::HashTable;
use natbox_wire::{Protocol, Time};
use slab::Slab;

use crate::expiry::Expiry;
use crate::filter::Permissions;
use crate::key::{Address, Endpoint, Hash};
use crate::record::{Mapping, NONE, Opening, Session};
use crate::verdict::{MappingId, MappingView};

/// Sessions that one table holds at most: 256 MiB of IPv4 records. Only the filter and the timers limit how many
/// sessions outsiders may open, so there must be an end.
pub(crate) const MAX_SESSIONS: usize = 1 << 22;

/// Mappings and sessions of one address family.
pub(crate) struct Table<A> {
    sessions: Slab<Session<A>>,
    mappings: Slab<Mapping<A>>,
    by_internal: HashTable<u32>,
    by_external: HashTable<u32>,
    by_rule: HashTable<u32>,
    by_endpoint: HashTable<u32>,
    /// Permissions by remote address, where the filter asks for them.
    pub(crate) permissions: Option<Permissions<A>>,
    expiry: Expiry,
    hash: Hash,
    /// Whether another session takes over when a leading one ends.
    affinity: bool,
    /// The mapping looked at last: whoever asks about a mapping asks about the packet just handled.
    recent: [u32; 2],
}

impl<A: Address> Table<A> {
    pub(crate) fn new(hash: Hash, affinity: bool, permissions: Option<Permissions<A>>) -> Table<A> {
        Table {
            sessions: Slab::new(),
            mappings: Slab::new(),
            by_internal: HashTable::new(),
            by_external: HashTable::new(),
            by_rule: HashTable::new(),
            by_endpoint: HashTable::new(),
            permissions,
            expiry: Expiry::default(),
            hash,
            affinity,
            recent: [NONE; 2],
        }
    }

    /// The session that outbound packets to this remote use.
    #[inline(always)]
    pub(crate) fn find_outbound(&self, protocol: Protocol, internal: Endpoint<A>, remote: Endpoint<A>) -> Option<u32> {
        let hash = self.hash.two(protocol, internal, remote);
        let found = self.by_internal.find(hash, |&index| {
            let session = &self.sessions[index as usize];
            session.remote == remote && session.internal == internal && session.protocol == protocol && session.leads
        });
        found.copied()
    }

    /// The session that an error from inside speaks of: the one that outbound packets use, or else any through which
    /// the quoted packet may have come in (RFC 5508 REQ-5). Without affinity none need lead.
    pub(crate) fn find_quoted(&self, protocol: Protocol, internal: Endpoint<A>, remote: Endpoint<A>) -> Option<u32> {
        self.find_outbound(protocol, internal, remote).or_else(|| self.oldest(protocol, internal, remote))
    }

    /// The session that inbound packets from this remote to this external endpoint use.
    #[inline(always)]
    pub(crate) fn find_inbound(&self, protocol: Protocol, external: Endpoint<A>, remote: Endpoint<A>) -> Option<u32> {
        let hash = self.hash.two(protocol, external, remote);
        let found = self.by_external.find(hash, |&index| {
            let session = &self.sessions[index as usize];
            session.remote == remote && session.external == external && session.protocol == protocol
        });
        found.copied()
    }

    /// The mapping of this internal endpoint towards these remotes.
    pub(crate) fn find_rule(&self, protocol: Protocol, internal: Endpoint<A>, towards: Endpoint<A>) -> Option<u32> {
        let found = self.by_rule.find(self.hash.two(protocol, internal, towards), |&index| {
            let mapping = &self.mappings[index as usize];
            mapping.internal == internal && mapping.towards == towards && mapping.protocol == protocol
        });
        found.copied()
    }

    /// The mapping of this external endpoint.
    pub(crate) fn find_endpoint(&self, protocol: Protocol, external: Endpoint<A>) -> Option<u32> {
        let found = self.by_endpoint.find(self.hash.one(protocol, external), |&index| {
            let mapping = &self.mappings[index as usize];
            mapping.external == external && mapping.protocol == protocol
        });
        found.copied()
    }

    /// Whether any session of this internal endpoint, on whichever mapping, permits this remote.
    pub(crate) fn is_permitted_anywhere(&self, protocol: Protocol, internal: Endpoint<A>, remote: Endpoint<A>) -> bool {
        self.siblings(protocol, internal, remote).any(|index| self.sessions[index as usize].permits)
    }

    /// The sessions between an internal endpoint and a remote, on all mappings.
    fn siblings(&self, protocol: Protocol, internal: Endpoint<A>, remote: Endpoint<A>) -> impl Iterator<Item = u32> {
        let all = self.by_internal.iter_hash(self.hash.two(protocol, internal, remote)).copied();
        all.filter(move |index| {
            let session = &self.sessions[*index as usize];
            session.remote == remote && session.internal == internal && session.protocol == protocol
        })
    }

    #[inline]
    pub(crate) fn session(&self, index: u32) -> &Session<A> {
        &self.sessions[index as usize]
    }

    #[inline]
    pub(crate) fn session_mut(&mut self, index: u32) -> &mut Session<A> {
        &mut self.sessions[index as usize]
    }

    #[inline]
    pub(crate) fn mapping(&self, index: u32) -> &Mapping<A> {
        &self.mappings[index as usize]
    }

    /// Whether no further session may be opened.
    pub(crate) fn is_full(&self) -> bool {
        self.sessions.len() >= MAX_SESSIONS
    }

    /// Adds a mapping. It ends when its last holder ends, so a session must be opened on it at once.
    pub(crate) fn open_mapping(&mut self, mapping: Mapping<A>) -> u32 {
        let by_rule = self.hash.two(mapping.protocol, mapping.internal, mapping.towards);
        let by_endpoint = self.hash.one(mapping.protocol, mapping.external);
        let index = self.mappings.insert(mapping) as u32;
        let (hash, mappings) = (&self.hash, &self.mappings);
        self.by_rule.insert_unique(by_rule, index, |&index| {
            let mapping = &mappings[index as usize];
            hash.two(mapping.protocol, mapping.internal, mapping.towards)
        });
        self.by_endpoint.insert_unique(by_endpoint, index, |&index| {
            let mapping = &mappings[index as usize];
            hash.one(mapping.protocol, mapping.external)
        });
        index
    }

    /// Adds a session to a mapping.
    pub(crate) fn open_session(&mut self, opening: Opening<A>) -> u32 {
        let Opening { mapping: index, remote, tcp, permits, holds, leads, deadline } = opening;
        let mapping = &mut self.mappings[index as usize];
        let (protocol, internal, external, next) =
            (mapping.protocol, mapping.internal, mapping.external, mapping.first);
        let session = Session {
            internal,
            remote,
            external,
            protocol,
            tcp,
            permits: false,
            leads,
            mapping: index,
            id: mapping.id,
            deadline,
            armed: deadline,
            previous: NONE,
            next,
        };
        let index = self.sessions.insert(session) as u32;
        mapping.first = index;
        mapping.holders += u32::from(holds && !permits);
        if next != NONE {
            self.sessions[next as usize].previous = index;
        }
        let (hash, sessions) = (&self.hash, &self.sessions);
        self.by_internal.insert_unique(hash.two(protocol, internal, remote), index, |&index| {
            let session = &sessions[index as usize];
            hash.two(session.protocol, session.internal, session.remote)
        });
        self.by_external.insert_unique(hash.two(protocol, external, remote), index, |&index| {
            let session = &sessions[index as usize];
            hash.two(session.protocol, session.external, session.remote)
        });
        self.expiry.arm(deadline, index);
        if permits {
            self.permit(index, false);
        }
        index
    }

    /// A packet from inside has gone through a session for the first time. `holds` tells whether the session held
    /// its mapping before.
    #[inline(never)]
    pub(crate) fn permit(&mut self, index: u32, holds: bool) {
        let session = &mut self.sessions[index as usize];
        session.permits = true;
        let mapping = &mut self.mappings[session.mapping as usize];
        mapping.holders += u32::from(!holds);
        if let Some(permissions) = &mut self.permissions {
            permissions.add(session.protocol, session.internal, session.external, session.remote.address);
        }
    }

    /// Moves a session's deadline.
    #[inline]
    pub(crate) fn set_deadline(&mut self, index: u32, deadline: Time) {
        let session = &mut self.sessions[index as usize];
        session.deadline = deadline;
        if deadline < session.armed {
            session.armed = deadline;
            self.expiry.arm(deadline, index);
        }
    }

    /// When the next entry comes up; perhaps earlier than the next end.
    #[inline]
    pub(crate) fn next_deadline(&self) -> Option<Time> {
        self.expiry.next()
    }

    /// The next session whose deadline has come, without removing it.
    pub(crate) fn next_due(&mut self, now: Time) -> Option<u32> {
        while let Some((armed, index)) = self.expiry.pop(now) {
            let Some(session) = self.sessions.get_mut(index as usize) else { continue };
            if session.armed != armed {
                continue;
            }
            if session.deadline <= now {
                return Some(index);
            }
            session.armed = session.deadline;
            self.expiry.arm(session.deadline, index);
        }
        None
    }

    /// Removes a session. `held` tells whether sessions that do not permit hold their mapping. Gives the mapping
    /// back if this was its last holder; guests that were left go with it.
    pub(crate) fn close_session(&mut self, index: u32, held: bool) -> Option<Mapping<A>> {
        let session = self.unlink_session(index);
        let mapping = &mut self.mappings[session.mapping as usize];
        mapping.holders -= u32::from(held || session.permits);
        (mapping.holders == 0).then(|| self.close_mapping(session.mapping))
    }

    /// Removes a mapping and all its sessions.
    pub(crate) fn close_mapping(&mut self, index: u32) -> Mapping<A> {
        while self.mappings[index as usize].first != NONE {
            self.unlink_session(self.mappings[index as usize].first);
        }
        let mapping = self.mappings.remove(index as usize);
        let by_rule = self.hash.two(mapping.protocol, mapping.internal, mapping.towards);
        remove(&mut self.by_rule, by_rule, index);
        remove(&mut self.by_endpoint, self.hash.one(mapping.protocol, mapping.external), index);
        mapping
    }

    fn unlink_session(&mut self, index: u32) -> Session<A> {
        let session = self.sessions.remove(index as usize);
        match session.previous {
            NONE => self.mappings[session.mapping as usize].first = session.next,
            previous => self.sessions[previous as usize].next = session.next,
        }
        if session.next != NONE {
            self.sessions[session.next as usize].previous = session.previous;
        }
        let Session { protocol, internal, external, remote, .. } = session;
        remove(&mut self.by_internal, self.hash.two(protocol, internal, remote), index);
        remove(&mut self.by_external, self.hash.two(protocol, external, remote), index);
        if let Some(permissions) = self.permissions.as_mut().filter(|_| session.permits) {
            permissions.remove(protocol, internal, external, remote.address);
        }
        if session.leads && self.affinity {
            self.promote(protocol, internal, remote);
        }
        session
    }

    /// Lets this session lead instead of the one that does.
    #[cold]
    pub(crate) fn lead(&mut self, index: u32) {
        let Session { protocol, internal, remote, .. } = self.sessions[index as usize];
        if let Some(former) = self.find_outbound(protocol, internal, remote) {
            self.sessions[former as usize].leads = false;
        }
        self.sessions[index as usize].leads = true;
    }

    /// The session on the oldest mapping.
    fn oldest(&self, protocol: Protocol, internal: Endpoint<A>, remote: Endpoint<A>) -> Option<u32> {
        self.siblings(protocol, internal, remote).min_by_key(|index| self.sessions[*index as usize].id)
    }

    /// Lets the session on the oldest mapping lead.
    fn promote(&mut self, protocol: Protocol, internal: Endpoint<A>, remote: Endpoint<A>) {
        if let Some(index) = self.oldest(protocol, internal, remote) {
            self.sessions[index as usize].leads = true;
        }
    }

    /// Remembers which mapping a packet used.
    #[inline]
    pub(crate) fn remember(&mut self, mapping: u32) {
        self.recent = [mapping, self.recent[0]];
    }

    /// A live mapping by its number: at once if one of the last two packets used it, else by searching.
    pub(crate) fn view(&self, id: MappingId) -> Option<MappingView> {
        let recent = self.recent.iter().filter_map(|index| self.mappings.get(*index as usize));
        let all = self.mappings.iter().map(|(_, mapping)| mapping);
        recent.chain(all).find(|mapping| mapping.id == id).map(Mapping::view)
    }

    /// The live mappings with their indices, in no order that means anything.
    pub(crate) fn mappings(&self) -> impl Iterator<Item = (u32, &Mapping<A>)> {
        self.mappings.iter().map(|(index, mapping)| (index as u32, mapping))
    }
}

fn remove(table: &mut HashTable<u32>, hash: u64, index: u32) {
    if let Ok(entry) = table.find_entry(hash, |&other| other == index) {
        entry.remove();
    }
}

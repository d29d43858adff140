//! Packets from outside that nobody inside has asked for, and what they do to the box besides dying (`early_inbound`,
//! `refresh_on_filtered`): the race that hole punching loses on some boxes.
//!
//! * `remap`. A box that lets such packets reach itself keeps a flow of its own for (external endpoint, remote), as
//!   Linux does whose INPUT chain accepts: nf_conntrack confirms an entry for the packet, and a later packet from inside
//!   finds the tuple taken. The packet from inside then leaves by another mapping of its internal endpoint, the newest
//!   that is free towards this remote, or a new one; so further destinations follow the port that was remapped to. The
//!   remote's packets to the old port go on dying at the box, and keep the tuple taken. TCP tuples are not taken where
//!   the box answers with a RST at once: Linux forgets the entry then. Echo tuples never are: a request from outside and
//!   one from inside differ in their type.
//! * `destroy`. A packet that the filter refuses ends the mapping that it was sent to.
//! * `blacklist`. The address of the source is refused for `timeouts.early_inbound` from its first such packet on,
//!   whatever is sent to it meanwhile.
//!
//! What is remembered is bounded: at most [`MAX_VISITORS`], and no more where all of these are still good. Its end is
//! nothing that anybody is told of, so that it needs no deadline.

use hashbrown::HashTable;
use natbox_wire::{DropReason, Protocol, Time};

use crate::behavior::{EarlyInbound, UnsolicitedSyn};
use crate::classify::Flow;
use crate::key::{Address, Endpoint, Hash};
use crate::realm::{Realm, Shared};
use crate::uses::Uses;
use crate::verdict::{MappingEnd, Refusal, refuse};

/// Tuples, or sources, remembered at once: as many as one address has ports.
pub(crate) const MAX_VISITORS: usize = 1 << 16;

/// One remembered tuple; for a blacklisted source the external endpoint is unspecified and the protocol UDP.
struct Visitor<A> {
    protocol: Protocol,
    external: Endpoint<A>,
    remote: Endpoint<A>,
    until: Time,
}

/// Who came too early, and until when that counts.
pub(crate) struct Early<A> {
    visitors: HashTable<Visitor<A>>,
    hash: Hash,
    /// When the next of them is over, as of the last look; until then none can be forgotten.
    full_until: Time,
}

impl<A: Address> Early<A> {
    pub(crate) fn new(hash: Hash) -> Early<A> {
        Early { visitors: HashTable::new(), hash, full_until: Time::ZERO }
    }

    fn remember(&mut self, visitor: Visitor<A>, now: Time) {
        let key = self.hash.two(visitor.protocol, visitor.external, visitor.remote);
        if let Some(known) = self.visitors.find_mut(key, |known| known.is_like(&visitor)) {
            known.until = visitor.until;
            return;
        }
        if self.visitors.len() >= MAX_VISITORS && now >= self.full_until {
            self.forget(now);
        }
        if self.visitors.len() < MAX_VISITORS {
            let rehash = |one: &Visitor<A>| self.hash.two(one.protocol, one.external, one.remote);
            self.visitors.insert_unique(key, visitor, rehash);
        }
    }

    /// Forgets those that are over.
    fn forget(&mut self, now: Time) {
        let mut next = Time::MAX;
        self.visitors.retain(|one| {
            next = if one.until > now { next.min(one.until) } else { next };
            one.until > now
        });
        self.full_until = next;
    }

    fn knows(&self, protocol: Protocol, external: Endpoint<A>, remote: Endpoint<A>, now: Time) -> bool {
        let key = self.hash.two(protocol, external, remote);
        let same = |one: &Visitor<A>| one.protocol == protocol && one.external == external && one.remote == remote;
        self.visitors.find(key, same).is_some_and(|one| one.until > now)
    }

    /// Whether the box itself holds (external endpoint, remote), so that no session from inside may use it.
    pub(crate) fn occupies(&self, protocol: Protocol, external: Endpoint<A>, remote: Endpoint<A>, now: Time) -> bool {
        !self.visitors.is_empty() && self.knows(protocol, external, remote, now)
    }

    /// Whether nobody has come.
    pub(crate) fn is_empty(&self) -> bool {
        self.visitors.is_empty()
    }

    /// Whether packets from this address are refused.
    fn lists(&self, remote: Endpoint<A>, now: Time) -> bool {
        self.knows(Protocol::Udp, Endpoint::unspecified(), Endpoint { port: 0, ..remote }, now)
    }
}

impl<A: Address> Visitor<A> {
    fn is_like(&self, other: &Visitor<A>) -> bool {
        (self.protocol, self.external, self.remote) == (other.protocol, other.external, other.remote)
    }
}

impl<A: Address> Realm<A> {
    /// A packet from outside that no mapping wants, or that the filter of `mapping` refuses: what that does to the box.
    pub(crate) fn uninvited(&mut self, nat: &mut Shared, flow: &Flow<A>, mapping: Option<u32>, now: Time) {
        if nat.uses.any(Uses::UNINVITED) && !self.pool.owns(flow.source.address) {
            self.uninvited_by_some(nat, flow, mapping, now);
        }
    }

    #[cold]
    fn uninvited_by_some(&mut self, nat: &mut Shared, flow: &Flow<A>, mapping: Option<u32>, now: Time) {
        if let Some(mapping) = mapping.filter(|_| nat.uses.any(Uses::REFRESH_ON_FILTERED)) {
            self.restart_mapping(nat, mapping, now);
        }
        match nat.behavior.early_inbound {
            EarlyInbound::Ignore => {}
            EarlyInbound::Remap => self.occupy(nat, flow, now),
            EarlyInbound::Destroy => {
                if let Some(mapping) = mapping {
                    self.end_mapping(nat, mapping, MappingEnd::Killed);
                }
            }
            EarlyInbound::Blacklist => {
                let (external, remote) = (Endpoint::unspecified(), Endpoint { port: 0, ..flow.source });
                let until = now + nat.behavior.timeouts.early_inbound;
                self.early.remember(Visitor { protocol: Protocol::Udp, external, remote, until }, now);
            }
        }
    }

    /// The box takes (external endpoint, remote) for itself.
    fn occupy(&mut self, nat: &Shared, flow: &Flow<A>, now: Time) {
        let answered_by_reset = nat.behavior.unsolicited_syn == UnsolicitedSyn::RstNow;
        let takes = match flow.protocol {
            Protocol::Udp => true,
            Protocol::Tcp => flow.opens && !answered_by_reset,
            Protocol::Icmp => false,
        };
        if takes && self.translates && self.pool.owns(flow.destination.address) {
            let (protocol, external, remote) = (flow.protocol, flow.destination, flow.source);
            let until = nat.timers.first_deadline(protocol, remote.port, now);
            self.early.remember(Visitor { protocol, external, remote, until }, now);
        }
    }

    /// Refuses a packet from outside whose source is blacklisted.
    #[cold]
    pub(crate) fn refuse_listed(&self, flow: &Flow<A>, now: Time) -> Result<(), Refusal> {
        match self.early.lists(flow.source, now) {
            true => Err(refuse(DropReason::Blacklisted)),
            false => Ok(()),
        }
    }

    /// Refuses a packet from outside for a tuple that the box holds itself, and goes on holding.
    #[cold]
    pub(crate) fn refuse_occupied(&mut self, nat: &Shared, flow: &Flow<A>, now: Time) -> Result<(), Refusal> {
        let remote = flow.source.as_remote(flow.protocol);
        if !self.early.occupies(flow.protocol, flow.destination, remote, now) {
            return Ok(());
        }
        self.occupy(nat, flow, now);
        Err(refuse(DropReason::EarlyInbound))
    }
}

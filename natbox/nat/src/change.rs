//! Another behaviour for a box that runs: what it has goes on, what comes is done the new way.
//!
//! * What judges packets (filters, policies, hairpinning, what is answered) judges the next one. A session that the
//!   outside has begun is asked about again as long as nothing from inside has gone through it.
//! * Lifetimes count from the next packet that restarts a timer. `timeouts.absolute` counts from a mapping's making, also
//!   for those that there are; one that is too old already ends at once. What is held (SYNs, fragments, ports that
//!   rest) is held no longer than the new time from now on.
//! * Rules about new mappings (mapping, pooling, ports, limits) are for new mappings. One that there is keeps its external
//!   endpoint, be it in the range or not, and all its sessions keep it, whatever the new rule would name; the rule leads
//!   further sessions to it only where it would have made the same one.
//! * Connections that are open when `tcp_machine` changes are followed by RFC 7857's machine from then on: what the other
//!   needs to know of them, nobody has kept.
//! * What is remembered only for a rule is forgotten where that rule goes: who came too early, what an ALG has announced,
//!   who hides behind the gateway.
//!
//! What a mapping *is* cannot change under it: see [`Behavior::fixed`].
//!
//! The parts that depend on a behaviour are made anew from what the table has, in order of the mappings' numbers, as if
//! the mappings had been made so.

use natbox_wire::{Protocol, Time};

use crate::Behavior;
use crate::behavior::{Mapping as Rule, PortConflict, PortOverlap, SessionAffinity, TcpMachine, TranslationKind};
use crate::classify::Flow;
use crate::early::Early;
use crate::filter::Permissions;
use crate::key::{Address, Endpoint, Hash};
use crate::realm::{Realm, Shared};
use crate::short::Short;
use crate::table::Aside;
use crate::tcp::passage::tracks;
use crate::udp::Datagrams;
use crate::uses::Uses;

impl Behavior {
    /// The axes that `other` has another value of and that a running NAT cannot change, because they say what its
    /// mappings are.
    pub fn fixed(&self, other: &Behavior) -> Vec<&'static str> {
        let differs = [("translation", self.translation != other.translation), ("ipv6", self.ipv6 != other.ipv6)];
        differs.into_iter().filter(|(_, differs)| *differs).map(|(axis, _)| axis).collect()
    }
}

impl<A: Address> Realm<A> {
    /// Behaves as the NAT does from now on, and not as `before`.
    pub(crate) fn reconfigure(&mut self, nat: &mut Shared, before: &Behavior, hash: Hash, now: Time) {
        let behavior = nat.behavior.clone();
        self.short = Short::of(&behavior, self.translates);
        self.identification.set_rule(behavior.ip_id);
        self.syns.hasten(now + behavior.timeouts.tcp_inbound_syn);
        if before.early_inbound != behavior.early_inbound {
            self.early = Early::new(hash.clone());
        }
        if !nat.uses.any(Uses::ROUTER_SOURCE) {
            self.masks.forget();
        }
        self.lead_by(&behavior, hash);
        self.follow(nat, now);
        if self.translates {
            self.pool_by(nat, now);
        }
    }

    /// The rules by which mappings and sessions are found and remotes admitted.
    fn lead_by(&mut self, behavior: &Behavior, hash: Hash) {
        let rules = rules(behavior, self.translates);
        for (from, to) in self.table.reconfigure(rules, behavior.session_affinity == SessionAffinity::On) {
            self.tracks.rename(from, to);
            self.entries.rename(from, to);
            self.datagrams.rename(from, to);
        }
        self.table.admit_by(Permissions::of(behavior, hash));
        self.table.exclusive = exclusive::<A>(behavior) && !self.table.shares_endpoints();
        self.mixed = true;
    }

    /// What is kept of sessions where an axis asks, and their absolute ends.
    fn follow(&mut self, nat: &Shared, now: Time) {
        if nat.behavior.tcp_machine != TcpMachine::Netfilter {
            self.entries = Aside::default();
        }
        if !tracks(nat) {
            self.tracks = Aside::default();
        }
        if nat.timers.stages.is_none() {
            self.datagrams = Aside::default();
        }
        let mut mappings: Vec<u32> = self.table.mappings().map(|(index, _)| index).collect();
        mappings.sort_unstable_by_key(|index| self.table.mapping(*index).id);
        for mapping in mappings {
            let (udp, created) = (self.table.mapping(mapping).protocol == Protocol::Udp, self.table.created(mapping));
            let end = nat.timers.absolute.filter(|_| !self.explicit.is_on(mapping)).map(|age| (created + age).max(now));
            for session in self.table.sessions_of(mapping).collect::<Vec<u32>>() {
                if udp && nat.timers.stages.is_some() && self.datagrams.get(session).is_none() {
                    let replied = self.table.session(session).permits();
                    self.datagrams.set(session, Datagrams::found(replied, created));
                }
                match end {
                    Some(end) => self.table.set_end(session, end),
                    None => self.table.clear_end(session),
                }
            }
        }
    }

    /// Who has which external endpoint, and what it counts for.
    fn pool_by(&mut self, nat: &mut Shared, now: Time) {
        self.pool.reconfigure(&nat.behavior, self.table.shares_endpoints(), now);
        let mut mappings: Vec<u32> = self.table.mappings().map(|(index, _)| index).collect();
        mappings.sort_unstable_by_key(|index| self.table.mapping(*index).id);
        for index in mappings {
            let (sessions, mapping) = (self.counted_sessions(nat, index), self.table.mapping(index));
            let (protocol, internal, external) = (mapping.protocol, mapping.internal.address, mapping.external);
            let id = mapping.id;
            self.pool.retake(protocol, external);
            self.pool.keep(protocol, internal, external, sessions);
            if self.pool.evicts() {
                self.pool.enlist(protocol, internal, external, id, index, Time::ZERO);
            }
        }
        for (protocol, host, external) in self.explicit.forget_pairs() {
            self.keep_pair(protocol, host, external);
        }
    }

    /// The session that a packet from inside is for although none leads to its remote: there may be one on the mapping
    /// that the rule names, where the rule was another when it began. It leads from now on.
    #[cold]
    pub(crate) fn lead_again(&mut self, nat: &Shared, flow: &Flow<A>, remote: Endpoint<A>, now: Time) -> Option<u32> {
        let towards = self.towards(nat, flow.protocol, flow.source.address, remote);
        let mapping = self.find_usable(flow, towards.unwrap_or(Endpoint::unspecified()), now)?;
        let session = self.table.find_on(mapping, remote)?;
        self.table.lead(session);
        Some(session)
    }
}

/// Which remotes share a mapping, by protocol. Where nothing is translated, the rule could only name what it has: the
/// internal endpoint.
pub(crate) fn rules(behavior: &Behavior, translates: bool) -> [Rule; 3] {
    [Protocol::Udp, Protocol::Tcp, Protocol::Icmp].map(|protocol| match translates {
        true => *behavior.mapping.of(protocol),
        false => Rule::EndpointIndependent,
    })
}

/// Whether no two mappings get one external endpoint.
pub(crate) fn exclusive<A: Address>(behavior: &Behavior) -> bool {
    !is_basic::<A>(behavior)
        && behavior.ports.overlap == PortOverlap::None
        && behavior.ports.conflict != PortConflict::Overload
}

/// Whether addresses of this family are given out one to one.
pub(crate) fn is_basic<A: Address>(behavior: &Behavior) -> bool {
    behavior.translation == TranslationKind::Basic && !A::unspecified().to_ip().is_ipv6()
}

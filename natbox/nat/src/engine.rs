//! The NAT engine's driver contract.

mod change;
mod content;

use std::collections::VecDeque;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::sync::Arc;

use natbox_wire::{Packet, Time};
use rand_core::SeedableRng;
use rand_pcg::Pcg64Mcg;

use crate::alg::Algs;
use crate::around::Aliases;
use crate::behavior::{Filtering, Ipv6, TranslationKind};
use crate::fragments::Fragments;
use crate::key::{Address, Hash};
use crate::policy;
use crate::realm::{Realm, Shared};
use crate::short::STAGE;
use crate::timers::{Side, Timers};
use crate::uses::Uses;
use crate::{Behavior, Ended, MappingEnd, MappingId, MappingView, Output, PortPlan, SessionView, Verdict};

/// A NAT.
///
/// Four verbs: [`outbound`](Nat::outbound) and [`inbound`](Nat::inbound) take packets, [`poll_timeout`](Nat::poll_timeout)
/// announces the next deadline, [`handle_timeout`](Nat::handle_timeout) ends what is due. Nothing happens
/// between announced deadlines: `handle_timeout` before the deadline is silent. It may also be silent at a
/// deadline: a deadline is announced when a session is opened, and asked about again when it comes.
///
/// A session lives while `now` is before its deadline. A packet that comes late, at or after a deadline that nobody
/// has handled yet, finds the session gone; the ending is told at the next `handle_timeout`, which is then due at
/// once.
pub struct Nat {
    pub(crate) shared: Shared,
    pub(crate) external: Box<[IpAddr]>,
    /// Where there are any.
    pub(crate) aliases: Option<Box<Aliases>>,
    /// The inside addresses of the gateway that it is on.
    inside: Box<[IpAddr]>,
    seed: u64,
    // Made when the first packet of the family needs them: an idle NAT is small.
    pub(crate) v4: Option<Box<Realm<Ipv4Addr>>>,
    pub(crate) v6: Option<Box<Realm<Ipv6Addr>>>,
    // Made when the first fragment comes.
    fragments: Option<Box<Fragments>>,
    // Made when the first packet comes that an ALG may look at.
    algs: Option<Box<Algs>>,
}

impl Nat {
    /// A NAT with these external addresses, in order of preference. `seed` feeds its own stream of chance.
    pub fn new(behavior: Arc<Behavior>, external: &[IpAddr], seed: u64) -> Nat {
        let (timers, uses) = (Timers::of(&behavior), Uses::of(&behavior));
        let random = Pcg64Mcg::seed_from_u64(seed);
        let (ended, output) = (Vec::new(), VecDeque::new());
        let (next_id, next_hold, first) = (1, 0, Time::ZERO);
        let control = Vec::new();
        let shared = Shared { behavior, timers, uses, random, now: first, next_id, ended, output, next_hold, control };
        let aliases = Aliases::of(&shared.behavior.aliases);
        let (external, inside) = (external.into(), Box::default());
        Nat { shared, external, aliases, inside, seed, v4: None, v6: None, fragments: None, algs: None }
    }

    /// Tells it the inside addresses of the gateway that it is on, preferred first: the source of hairpinned packets
    /// where that is `router-source`. Unless they are told, such packets show their external source.
    pub fn set_inside(&mut self, inside: &[IpAddr]) {
        self.inside = inside.into();
        if let Some(realm) = &mut self.v4 {
            realm.masks.set_routers(of_family(inside));
        }
        if let Some(realm) = &mut self.v6 {
            realm.masks.set_routers(of_family(inside));
        }
    }

    /// Whether a packet from inside to one of the gateway's own inside addresses is the NAT's business and not the
    /// gateway's: an answer to a host that hides behind that address (`hairpin: router-source`).
    pub fn is_hairpin_answer(&self, packet: &Packet) -> bool {
        match packet.is_ipv6() {
            false => self.v4.as_ref().is_some_and(|realm| realm.is_for_mask(packet)),
            true => self.v6.as_ref().is_some_and(|realm| realm.is_for_mask(packet)),
        }
    }

    /// How it behaves.
    pub fn behavior(&self) -> &Arc<Behavior> {
        &self.shared.behavior
    }

    /// Its external addresses.
    pub fn external(&self) -> &[IpAddr] {
        &self.external
    }

    /// Who has which ports, where they are dealt out by arithmetic (RFC 7422).
    pub fn port_plan(&self) -> Option<PortPlan> {
        let external: Vec<Ipv4Addr> = of_family(&self.external).collect();
        PortPlan::new(&self.shared.behavior.ports, &external, self.seed)
    }

    /// A packet from inside. The caller has routed it, by [`Nat::outside_of`] its destination: it is for the outside, for
    /// an external address, or [`Nat::is_hairpin_answer`] says that it is for a host that hides behind the gateway.
    #[inline]
    pub fn outbound(&mut self, packet: &mut Packet, now: Time) -> Verdict {
        let short = self.v4.as_mut().and_then(|realm| realm.short_way(Side::Inside, packet, now));
        short.unwrap_or_else(|| self.outbound_at_length(packet, now))
    }

    #[inline(never)]
    fn outbound_at_length(&mut self, packet: &mut Packet, now: Time) -> Verdict {
        match self.shared.uses.any(Uses::AROUND) {
            false => self.cross(Side::Inside, packet, now),
            true => self.around(Side::Inside, packet, now),
        }
    }

    #[inline(always)]
    fn leave(&mut self, packet: &mut Packet, now: Time) -> Verdict {
        let own = [&*self.external, &*self.inside];
        if packet.is_ipv6() {
            realm(&mut self.v6, &self.shared, own, self.seed).outbound(&mut self.shared, packet, now)
        } else {
            realm(&mut self.v4, &self.shared, own, self.seed).outbound(&mut self.shared, packet, now)
        }
    }

    /// A packet from outside.
    #[inline]
    pub fn inbound(&mut self, packet: &mut Packet, now: Time) -> Verdict {
        let short = self.v4.as_mut().and_then(|realm| realm.short_way(Side::Outside, packet, now));
        short.unwrap_or_else(|| self.inbound_at_length(packet, now))
    }

    #[inline(never)]
    fn inbound_at_length(&mut self, packet: &mut Packet, now: Time) -> Verdict {
        match self.shared.uses.any(Uses::AROUND) {
            false => self.cross(Side::Outside, packet, now),
            true => self.around(Side::Outside, packet, now),
        }
    }

    #[inline(always)]
    fn enter(&mut self, packet: &mut Packet, now: Time) -> Verdict {
        let own = [&*self.external, &*self.inside];
        if packet.is_ipv6() {
            realm(&mut self.v6, &self.shared, own, self.seed).inbound(&mut self.shared, packet, now)
        } else {
            realm(&mut self.v4, &self.shared, own, self.seed).inbound(&mut self.shared, packet, now)
        }
    }

    /// A packet from either side, with the addresses that the outside knows for outside hosts.
    #[inline]
    pub(crate) fn cross(&mut self, from: Side, packet: &mut Packet, now: Time) -> Verdict {
        if self.passes(packet) {
            return self.pass(from, packet);
        }
        if packet.is_fragment() {
            return self.fragment(from, packet, now);
        }
        if self.shared.uses.any(Uses::PAYLOADS) {
            return self.payload(from, packet, now);
        }
        match from {
            Side::Inside => self.leave(packet, now),
            Side::Outside => self.enter(packet, now),
        }
    }

    /// A packet that is neither translated nor filtered, on a box that may have rules all the same.
    #[inline]
    fn pass(&self, from: Side, packet: &Packet) -> Verdict {
        let allowed = match from == Side::Inside && self.shared.uses.any(Uses::POLICY) {
            false => Ok(()),
            true if packet.is_ipv6() => policy::may_pass::<Ipv6Addr>(&self.shared.behavior, packet),
            true => policy::may_pass::<Ipv4Addr>(&self.shared.behavior, packet),
        };
        allowed.map_or_else(Verdict::Drop, |()| Verdict::Pass)
    }

    /// Packets that came at one time, from either side: the same as [`Nat::outbound`] and [`Nat::inbound`] one after
    /// the other, and the same verdicts, which are added to `verdicts` in order. With a large table and packets of many
    /// flows it takes less than half the time, if there are eight packets or more.
    pub fn batch(&mut self, packets: &mut [(Side, Packet)], now: Time, verdicts: &mut Vec<Verdict>) {
        for stage in packets.chunks_mut(STAGE) {
            let fetched = self.v4.as_ref().map(|realm| realm.fetch(stage));
            for (place, (from, packet)) in stage.iter_mut().enumerate() {
                let short = match (&mut self.v4, &fetched) {
                    (Some(realm), Some(fetched)) => realm.short_way_fetched(fetched[place], packet, now),
                    _ => None,
                };
                verdicts.push(short.unwrap_or_else(|| match from {
                    Side::Inside => self.outbound_at_length(packet, now),
                    Side::Outside => self.inbound_at_length(packet, now),
                }));
            }
        }
    }

    /// Whether packets of this version are neither translated nor filtered.
    #[inline]
    fn passes(&self, packet: &Packet) -> bool {
        let behavior = &self.shared.behavior;
        behavior.filtering.udp == Filtering::Off && !translates(behavior, packet.is_ipv6())
    }

    /// When something will be due next.
    pub fn poll_timeout(&self) -> Option<Time> {
        let late = self.shared.ended.first().map(|_| Time::ZERO);
        let v4 = self.v4.as_ref().and_then(|realm| realm.next_deadline());
        let v6 = self.v6.as_ref().and_then(|realm| realm.next_deadline());
        [late, v4, v6, self.poll_wake()].into_iter().flatten().min()
    }

    /// When a packet may leave of itself next, because one is held or because the NAT tells of what has ended; never
    /// before [`poll_timeout`](Nat::poll_timeout). A driver must not miss this deadline: what is announced here is seen
    /// by others, where all else that falls due is seen by the NAT alone.
    pub fn poll_wake(&self) -> Option<Time> {
        let fragments = self.fragments.as_ref().and_then(|fragments| fragments.next_deadline());
        let v4 = self.v4.as_ref().and_then(|realm| realm.next_output(&self.shared));
        let v6 = self.v6.as_ref().and_then(|realm| realm.next_output(&self.shared));
        [fragments, v4, v6].into_iter().flatten().min()
    }

    /// Ends what is due, and tells `ended` of each mapping that went, by number.
    pub fn handle_timeout(&mut self, now: Time, ended: &mut dyn FnMut(Ended)) {
        if let Some(fragments) = &mut self.fragments {
            fragments.expire(now, &mut self.shared.output);
        }
        if let Some(realm) = &mut self.v4 {
            realm.expire(&mut self.shared, now);
        }
        if let Some(realm) = &mut self.v6 {
            realm.expire(&mut self.shared, now);
        }
        self.tell(ended);
    }

    /// Loses all state, as a power cut does, but for the ports that rest and those that must from now on (RFC 6888
    /// REQ-8). Mapping numbers go on. Held packets are lost without an output.
    pub fn reboot(&mut self, ended: &mut dyn FnMut(Ended)) {
        let lasting = self.lose_explicit();
        let lost = self.mappings().into_iter().map(|mapping| Ended { mapping, why: MappingEnd::Rebooted });
        self.shared.ended.extend(lost);
        let resting = (
            self.v4.take().map(|realm| realm.resting(&self.shared)),
            self.v6.take().map(|realm| realm.resting(&self.shared)),
        );
        if let Some(ports) = resting.0.filter(|ports| !ports.is_empty()) {
            realm(&mut self.v4, &self.shared, [&self.external, &self.inside], self.seed).pool.rest(ports);
        }
        if let Some(ports) = resting.1.filter(|ports| !ports.is_empty()) {
            realm(&mut self.v6, &self.shared, [&self.external, &self.inside], self.seed).pool.rest(ports);
        }
        (self.fragments, self.algs) = (None, None);
        if let Some(aliases) = &mut self.aliases {
            aliases.forget();
        }
        self.shared.output.clear();
        self.map_again(lasting);
        self.tell(ended);
    }

    /// Replaces the external addresses; mappings on addresses that are gone end.
    pub fn readdress(&mut self, external: &[IpAddr], ended: &mut dyn FnMut(Ended)) {
        let moving = self.explicit_to_move(external);
        self.external = external.into();
        if let Some(fragments) = &mut self.fragments {
            fragments.readdress(external);
        }
        if let Some(realm) = &mut self.v4 {
            realm.readdress(&mut self.shared, of_family(external));
        }
        if let Some(realm) = &mut self.v6 {
            realm.readdress(&mut self.shared, of_family(external));
        }
        self.map_again(moving);
        self.tell(ended);
    }

    /// Gives a packet that the box itself sends the identification that goes with its source.
    pub fn identify(&mut self, packet: &mut Packet) {
        if !packet.is_ipv6() {
            self.own_realm().identification.give(packet);
        }
    }

    fn own_realm(&mut self) -> &mut Realm<Ipv4Addr> {
        realm(&mut self.v4, &self.shared, [&self.external, &self.inside], self.seed)
    }

    /// One live mapping.
    ///
    /// At once for a mapping that one of the last two translations used, else by a search.
    pub fn mapping(&self, id: MappingId) -> Option<MappingView> {
        let v4 = self.v4.as_ref().and_then(|realm| realm.table.view(id));
        v4.or_else(|| self.v6.as_ref().and_then(|realm| realm.table.view(id)))
    }

    /// The live mappings, by number.
    pub fn mappings(&self) -> Vec<MappingView> {
        let v4 = self.v4.iter().flat_map(|realm| realm.table.views());
        let v6 = self.v6.iter().flat_map(|realm| realm.table.views());
        let mut all: Vec<MappingView> = v4.chain(v6).collect();
        all.sort_unstable_by_key(|mapping| mapping.id);
        all
    }

    /// The live sessions, by the number of their mapping, then by remote.
    pub fn sessions(&self) -> Vec<SessionView> {
        let v4 = self.v4.iter().flat_map(|realm| realm.table.session_views());
        let v6 = self.v6.iter().flat_map(|realm| realm.table.session_views());
        let mut all: Vec<SessionView> = v4.chain(v6).collect();
        all.sort_unstable_by_key(|session| (session.mapping, session.remote));
        all
    }

    /// When a mapping ends, if nothing more comes: with the last of the sessions that keep it alive. A TCP connection may
    /// get another chance then (`expiry_notify`). `None` if there is no such mapping.
    pub fn deadline(&self, id: MappingId) -> Option<Time> {
        let v4 = self.v4.as_ref().and_then(|realm| realm.table.deadline_of(id));
        v4.or_else(|| self.v6.as_ref().and_then(|realm| realm.table.deadline_of(id)))
    }

    /// What the NAT does of its own accord or with packets that it held, oldest first.
    pub fn poll_output(&mut self) -> Option<Output> {
        let mut output = self.shared.output.pop_front()?;
        if let Some(aliases) = &mut self.aliases {
            aliases.translate_output(&mut output);
        }
        Some(output)
    }

    /// The realm of a family, made when it is first needed, and what both share.
    pub(crate) fn realms_for(
        &mut self,
        ipv6: bool,
    ) -> (Option<&mut Realm<Ipv4Addr>>, Option<&mut Realm<Ipv6Addr>>, &mut Shared) {
        let own = [&*self.external, &*self.inside];
        match ipv6 {
            false => (Some(realm(&mut self.v4, &self.shared, own, self.seed)), None, &mut self.shared),
            true => (None, Some(realm(&mut self.v6, &self.shared, own, self.seed)), &mut self.shared),
        }
    }

    pub(crate) fn tell(&mut self, ended: &mut dyn FnMut(Ended)) {
        self.shared.ended.sort_unstable_by_key(|one| one.mapping.id);
        self.shared.ended.drain(..).for_each(ended);
        self.shared.ended.shrink_to(64);
    }
}

/// Whether a behaviour rewrites addresses of IPv4, or of IPv6.
fn translates(behavior: &Behavior, ipv6: bool) -> bool {
    match ipv6 {
        false => behavior.translation != TranslationKind::None,
        true => behavior.ipv6 == Ipv6::Napt,
    }
}

/// The realm of a family, made when it is first needed.
#[inline]
fn realm<'a, A: Address>(
    slot: &'a mut Option<Box<Realm<A>>>,
    shared: &Shared,
    [external, inside]: [&[IpAddr]; 2],
    seed: u64,
) -> &'a mut Realm<A> {
    slot.get_or_insert_with(|| {
        let ipv6 = A::unspecified().to_ip().is_ipv6();
        let translates = translates(&shared.behavior, ipv6);
        let mut realm = Realm::new(&shared.behavior, translates, of_family(external), Hash::with_seed(seed));
        realm.masks.set_routers(of_family(inside));
        Box::new(realm)
    })
}

fn of_family<A: Address>(external: &[IpAddr]) -> impl Iterator<Item = A> {
    external.iter().filter_map(|address| A::from_ip(*address))
}

//! The short way: a packet of an established UDP session to which no axis has anything to say.
//!
//! Such a packet is most of what a NAT sees, and all that its way has to do is to find the session, to move its
//! deadline and to rewrite an endpoint. Whatever else may have to be done or asked, the way does nothing and leaves the
//! packet to the road in `realm`, which would have done the same to it; the model holds both to one account. A
//! session that an axis wants to see every packet of sets one of its `marks`; an axis that concerns every session is
//! named in [`Short::of`].
//!
//! It takes the road's steps once more on purpose. The road first asks what the packet is, which of three protocols, and
//! how that one's filter and timers go; the short way knows one answer to all of that beforehand. What works is not there
//! twice: both search, prolong and write by the same table, record and packet.
//!
//! A batch goes this way in stages, so that the processor waits for the memory of many packets at once: first it reads
//! the place in the index for every packet, then every session's record, then it does to one packet after the other what
//! it would have done to it alone. The first two change nothing, and what they found is looked at again before it is
//! used, because the packets before may have changed it.

use natbox_wire::{Packet, Protocol, Time};

use crate::Behavior;
use crate::behavior::{GenericAlg, Refresh, Switch};
use crate::key::{Address, Endpoint};
use crate::realm::Realm;
use crate::record::NONE;
use crate::timers::Side;
use crate::uses::Uses;
use crate::verdict::{Translation, Verdict};

/// What the short way needs to know.
#[derive(Clone, Copy)]
pub(crate) struct Short {
    /// By how many nanoseconds packets from inside, and from outside, prolong a session.
    prolong: [Option<u64>; 2],
}

impl Short {
    /// `None` if the behaviour asks more of every UDP packet.
    pub(crate) fn of(behavior: &Behavior, translates: bool) -> Option<Short> {
        let Behavior { refresh, timeouts, alg, .. } = behavior;
        let one_stage = timeouts.udp_unreplied() == timeouts.udp
            && timeouts.udp_stream() == timeouts.udp
            && timeouts.udp_ports.is_empty();
        let payloads = alg.generic == GenericAlg::Off && alg.sip == Switch::Off && alg.tftp == Switch::Off;
        let others = behavior.degraded.is_empty() && timeouts.absolute.is_none();
        let others = others && !behavior.spares_assured();
        let others = others && !Uses::of(behavior).any(Uses::EVERY_PACKET);
        let lifetime = u64::try_from(timeouts.udp.as_nanos()).unwrap_or(u64::MAX);
        let prolong = |refresh: bool| refresh.then_some(lifetime);
        (translates && one_stage && payloads && others).then(|| Short {
            prolong: [
                prolong(matches!(refresh, Refresh::Outbound | Refresh::Both)),
                prolong(matches!(refresh, Refresh::Inbound | Refresh::Both)),
            ],
        })
    }
}

/// Packets of a batch whose memory is fetched at once: more than the processor has in flight gain nothing.
pub(crate) const STAGE: usize = 32;

/// A packet that may go the short way.
#[derive(Clone, Copy)]
struct Plain<A> {
    from: Side,
    source: Endpoint<A>,
    destination: Endpoint<A>,
    /// Of the key by which its session is found.
    hash: u64,
}

/// What was fetched for a packet of a batch.
#[derive(Clone, Copy)]
pub(crate) struct Fetched<A> {
    plain: Option<Plain<A>>,
    /// The session that it is likely to use, or `NONE`.
    session: u32,
}

impl<A: Address> Realm<A> {
    /// Takes a packet the short way, if that is its way.
    #[inline(always)]
    pub(crate) fn short_way(&mut self, from: Side, packet: &mut Packet, now: Time) -> Option<Verdict> {
        let plain = self.plain(from, packet)?;
        self.table.settle_before(from, plain.hash);
        if self.table.is_due(now) || self.syns.is_due(now) {
            return None;
        }
        let session = match from {
            Side::Inside => self.table.find_plain_outbound(plain.hash, plain.source, plain.destination),
            Side::Outside => self.table.find_plain_inbound(plain.hash, plain.destination, plain.source),
        };
        self.go(plain, session?, packet, now)
    }

    /// Brings near what the packets of a batch will need; [`STAGE`] packets at most.
    #[inline(always)]
    pub(crate) fn fetch(&self, batch: &[(Side, Packet)]) -> [Fetched<A>; STAGE] {
        let mut fetched = [Fetched { plain: None, session: NONE }; STAGE];
        for (fetched, (from, packet)) in fetched.iter_mut().zip(batch) {
            fetched.plain = self.plain(*from, packet);
            if let Some(plain) = fetched.plain {
                self.table.prefetch(plain.from, plain.hash);
            }
        }
        for fetched in &mut fetched[..batch.len().min(STAGE)] {
            if let Some(plain) = fetched.plain {
                fetched.session = self.table.prefetch_record(plain.from, plain.hash);
            }
        }
        fetched
    }

    /// Takes a packet the short way for which everything has been fetched, if that is its way.
    #[inline(always)]
    pub(crate) fn short_way_fetched(&mut self, fetched: Fetched<A>, packet: &mut Packet, now: Time) -> Option<Verdict> {
        let (plain, session) = (fetched.plain?, fetched.session);
        self.table.settle_near();
        if self.table.is_due(now) || self.syns.is_due(now) {
            return None;
        }
        let is_it = match plain.from {
            Side::Inside => self.table.is_plain_outbound(session, plain.source, plain.destination),
            Side::Outside => self.table.is_plain_inbound(session, plain.destination, plain.source),
        };
        if is_it { self.go(plain, session, packet, now) } else { None }
    }

    /// What the short way needs of a packet, if it may go there.
    #[inline(always)]
    fn plain(&self, from: Side, packet: &Packet) -> Option<Plain<A>> {
        self.short?;
        let (source, destination) = A::plain_udp(packet)?;
        let hash = match from {
            Side::Inside if self.pool.owns(destination.address) => return None,
            Side::Inside => self.table.outbound_hash(Protocol::Udp, source, destination),
            Side::Outside => self.table.inbound_hash(Protocol::Udp, destination),
        };
        Some(Plain { from, source, destination, hash })
    }

    /// A packet of this session goes the short way, unless its deadline must be armed anew.
    #[inline(always)]
    fn go(&mut self, plain: Plain<A>, index: u32, packet: &mut Packet, now: Time) -> Option<Verdict> {
        let session = self.table.session_mut(index);
        if let Some(nanos) = self.short?.prolong[plain.from as usize] {
            session.prolong(Time::from_nanos(now.as_nanos().saturating_add(nanos)))?;
        }
        match plain.from {
            Side::Inside => {
                session.external.write_plain(natbox_wire::Side::Source, packet);
                self.identification.give(packet);
            }
            Side::Outside => session.internal.write_plain(natbox_wire::Side::Destination, packet),
        }
        let mapping = session.id;
        self.table.remember(index);
        Some(Verdict::Forward(Translation { mapping, new_mapping: false, quoted: false }))
    }
}

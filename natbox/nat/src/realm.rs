//! One address family behind a NAT: the road of a packet, top to bottom.
//!
//! Outbound: classify, find or open the session, touch its timers, rewrite, send. Inbound: classify, find the
//! session or the mapping, ask the filter, touch the timers, rewrite, send. Hairpinning is the one after the
//! other, as if the packet had been outside in between (RFC 4787 section 6): what the first half opened stays open
//! when the second refuses.
//!
//! Where nothing is translated the same road serves as a stateful firewall: every external endpoint is the
//! internal one, and the mapping rule, which could only name it, counts as endpoint-independent.
//!
//! How what the road opened ends is told in `lifetime`.

mod shared;

use natbox_wire::{DropReason, Packet, Protocol, Side as End, Time};

use crate::Behavior;
use crate::behavior::SessionAffinity;
use crate::change;
use crate::classify::{Class, Flow, classify};
use crate::early::Early;
use crate::explicit::Explicit;
use crate::filter::{self, Permissions};
use crate::hairpin::Masks;
use crate::icmp;
use crate::identification::Identification;
use crate::key::{Address, Endpoint, Hash};
use crate::ports::pool::Pool;
use crate::record::Opening;
use crate::short::Short;
use crate::table::{Aside, Table};
use crate::tcp::{Entry, HeldSyns, Tcp, Track};
use crate::timers::Side;
use crate::udp::Datagrams;
use crate::uses::Uses;
use crate::verdict::{Refusal, Translation, Verdict, refuse};

pub(crate) use shared::Shared;

/// One address family: its table and its external addresses.
pub(crate) struct Realm<A> {
    /// Whether addresses are rewritten; else this is a firewall.
    pub(crate) translates: bool,
    pub(crate) table: Table<A>,
    pub(crate) pool: Pool<A>,
    /// SYNs that nobody asked for.
    pub(crate) syns: HeldSyns<A>,
    /// Where connections stand in their sequence spaces, where an axis asks.
    pub(crate) tracks: Aside<Track>,
    /// What Linux keeps of connections, where its machine follows them.
    pub(crate) entries: Aside<Entry>,
    /// The stages of UDP sessions, where they count.
    pub(crate) datagrams: Aside<Datagrams>,
    /// Who came uninvited.
    pub(crate) early: Early<A>,
    pub(crate) identification: Identification,
    /// Who hides behind the gateway's address.
    pub(crate) masks: Masks<A>,
    /// The short way, where the behaviour has one.
    pub(crate) short: Option<Short>,
    /// What was asked for.
    pub(crate) explicit: Explicit<A>,
    /// Whether there may be sessions that other rules have opened.
    pub(crate) mixed: bool,
}

/// One half of a packet's way: the session that it takes.
pub(crate) struct Passage {
    pub(crate) session: u32,
    pub(crate) new_mapping: bool,
}

/// What the rare ways end with.
fn verdict(result: Result<Verdict, Refusal>) -> Verdict {
    result.unwrap_or_else(Verdict::Drop)
}

impl<A: Address> Realm<A> {
    pub(crate) fn new(
        behavior: &Behavior,
        translates: bool,
        external: impl Iterator<Item = A>,
        hash: Hash,
    ) -> Realm<A> {
        let affinity = behavior.session_affinity == SessionAffinity::On;
        let rules = change::rules(behavior, translates);
        let mut table = Table::new(hash.clone(), rules, affinity, Permissions::of(behavior, hash.clone()));
        let basic = change::is_basic::<A>(behavior);
        let identification = Identification::new(behavior.ip_id, hash.address(A::unspecified()));
        table.exclusive = change::exclusive::<A>(behavior);
        let pool = Pool::new(behavior, basic, external, hash.clone());
        let (datagrams, early, masks) = (Aside::default(), Early::new(hash.clone()), Masks::new(hash));
        let (short, syns) = (Short::of(behavior, translates), HeldSyns::default());
        let (tracks, entries, explicit) = (Aside::default(), Aside::default(), Explicit::default());
        Realm {
            translates,
            table,
            pool,
            syns,
            tracks,
            entries,
            short,
            datagrams,
            early,
            masks,
            identification,
            explicit,
            mixed: false,
        }
    }

    /// A packet from inside.
    #[inline]
    pub(crate) fn outbound(&mut self, nat: &mut Shared, packet: &mut Packet, now: Time) -> Verdict {
        self.expire(nat, now);
        let flow = match classify(packet, nat.behavior.icmp_query) {
            Ok(Class::Flow(flow)) => flow,
            Ok(Class::Error) => {
                let verdict = self.error_from_inside(nat, packet, now);
                return verdict.unwrap_or_else(|refusal| self.turn_back(nat, packet, refusal));
            }
            Err(reason) => return Verdict::Drop(Refusal { answer: icmp::answer_to(reason), ..refuse(reason) }),
        };
        if self.may_be_for_mask(nat, flow.destination.address)
            && let Some(answered) = self.answer_mask(nat, packet, flow, now)
        {
            return verdict(answered);
        }
        if self.translates && self.pool.owns(flow.destination.address) {
            return verdict(self.hairpin(nat, packet, flow, now));
        }
        match self.leave(nat, packet, flow, now) {
            Ok(passage) => self.forward(packet, Side::Inside, passage),
            Err(refusal) => self.turn_back(nat, packet, refusal),
        }
    }

    /// A packet from outside.
    #[inline]
    pub(crate) fn inbound(&mut self, nat: &mut Shared, packet: &mut Packet, now: Time) -> Verdict {
        self.inbound_judged(nat, packet, true, now)
    }

    /// A packet from outside. `judged` says whether the filter has a say: not about what an ALG expects.
    #[inline(always)]
    pub(crate) fn inbound_judged(&mut self, nat: &mut Shared, packet: &mut Packet, judged: bool, now: Time) -> Verdict {
        self.expire(nat, now);
        let flow = match classify(packet, nat.behavior.icmp_query) {
            Ok(Class::Flow(flow)) => flow,
            Ok(Class::Error) => return verdict(icmp::inbound(self, nat, packet, now)),
            Err(reason) => return Verdict::Drop(refuse(reason)),
        };
        if nat.uses.any(Uses::BLACKLIST)
            && let Err(refusal) = self.refuse_listed(&flow, now)
        {
            return Verdict::Drop(refusal);
        }
        match self.enter(nat, packet, flow, judged, now) {
            Ok(passage) => self.forward(packet, Side::Outside, passage),
            Err(refusal) => self.unsolicited(nat, packet, Side::Outside, flow, refusal, now),
        }
    }

    /// A packet from one side goes on to the other, with the endpoint that its session gives it.
    #[inline(always)]
    fn forward(&mut self, packet: &mut Packet, from: Side, passage: Passage) -> Verdict {
        let session = self.table.session(passage.session);
        if self.translates {
            match from {
                Side::Inside => {
                    session.external.write(End::Source, packet);
                    self.identification.give(packet);
                }
                Side::Outside => session.internal.write(End::Destination, packet),
            }
        }
        Verdict::Forward(self.translation(passage))
    }

    /// The outbound half: by which external endpoint the packet leaves.
    #[inline(always)]
    pub(crate) fn leave(
        &mut self,
        nat: &mut Shared,
        packet: &Packet,
        flow: Flow<A>,
        now: Time,
    ) -> Result<Passage, Refusal> {
        let remote = flow.destination.as_remote(flow.protocol);
        match self.table.find_outbound(flow.protocol, flow.source, remote) {
            Some(session) if flow.protocol == Protocol::Tcp => self.leave_segment(nat, packet, session, flow, now),
            Some(_)
                if flow.protocol == Protocol::Icmp
                    && filter::against_the_session(&nat.behavior, &flow, Side::Inside) =>
            {
                Err(refuse(DropReason::NoSession))
            }
            Some(session) => Ok(self.pass(nat, session, Side::Inside, flow, now)),
            None => self.leave_anew(nat, packet, flow, remote, now),
        }
    }

    /// An outbound packet of no session: opens one, on the mapping that the rule names.
    #[inline(never)]
    pub(crate) fn leave_anew(
        &mut self,
        nat: &mut Shared,
        packet: &Packet,
        flow: Flow<A>,
        remote: Endpoint<A>,
        now: Time,
    ) -> Result<Passage, Refusal> {
        if !flow.opens {
            self.may_open(nat, flow)?;
        } else if flow.protocol == Protocol::Tcp {
            self.may_begin(nat, flow)?;
        }
        if nat.uses.any(Uses::POLICY) {
            self.may_leave(nat, &flow, remote)?;
        }
        if self.mixed
            && let Some(session) = self.lead_again(nat, &flow, remote, now)
        {
            return match flow.protocol {
                Protocol::Tcp => self.leave_segment(nat, packet, session, flow, now),
                _ => Ok(self.pass(nat, session, Side::Inside, flow, now)),
            };
        }
        self.admit_session(nat, flow.source, Side::Inside)?;
        let towards = self.towards(nat, flow.protocol, flow.source.address, remote);
        let known = self.find_usable(&flow, towards.unwrap_or(Endpoint::unspecified()), now);
        let mapping = match known {
            Some(index) => index,
            None => self.open_mapping(nat, &flow, towards, now)?,
        };
        let session = self.open_session(nat, mapping, remote, Side::Inside, now);
        if flow.protocol == Protocol::Tcp {
            self.segment_opened(nat, packet, session, Side::Inside, flow, now);
        }
        Ok(Passage { session, new_mapping: known.is_none() })
    }

    pub(crate) fn open_mapping(
        &mut self,
        nat: &mut Shared,
        flow: &Flow<A>,
        towards: Option<Endpoint<A>>,
        now: Time,
    ) -> Result<u32, Refusal> {
        let external = match self.translates {
            false => flow.source,
            true => self.take_external(nat, flow, towards, now)?,
        };
        Ok(self.enter_mapping(nat, flow.protocol, flow.source, external, towards, now))
    }

    pub(crate) fn open_session(
        &mut self,
        nat: &Shared,
        mapping: u32,
        remote: Endpoint<A>,
        side: Side,
        now: Time,
    ) -> u32 {
        let (protocol, internal) = (self.table.mapping(mapping).protocol, self.table.mapping(mapping).internal);
        let leads = match nat.behavior.session_affinity {
            SessionAffinity::On => {
                self.table.is_first(mapping, remote) || self.table.find_outbound(protocol, internal, remote).is_none()
            }
            SessionAffinity::Off if self.mixed && self.table.find_outbound(protocol, internal, remote).is_some() => {
                false
            }
            SessionAffinity::Off => self.leads(nat, mapping, remote),
        };
        let session = self.table.open_session(Opening {
            mapping,
            remote,
            tcp: Tcp::opened_from(side),
            permits: side == Side::Inside,
            holds: nat.timers.holds(protocol, side),
            leads,
            deadline: nat.timers.first_deadline(protocol, remote.port, now),
        });
        self.began(nat, session, side, now);
        self.count_session(nat, session);
        session
    }

    /// The inbound half: to which internal endpoint the packet goes. `judged` says whether the filter has a say.
    #[inline(always)]
    pub(crate) fn enter(
        &mut self,
        nat: &mut Shared,
        packet: &Packet,
        flow: Flow<A>,
        judged: bool,
        now: Time,
    ) -> Result<Passage, Refusal> {
        let remote = flow.source.as_remote(flow.protocol);
        let Some(index) = self.table.find_inbound(flow.protocol, flow.destination, remote) else {
            return self.enter_anew(nat, packet, flow, remote, judged, now);
        };
        let session = self.table.session(index);
        let mapping = session.mapping_of(index);
        let refused = !session.permits() && !self.admits(nat, mapping, remote)
            || flow.protocol == Protocol::Icmp && filter::against_the_session(&nat.behavior, &flow, Side::Outside);
        if judged && refused {
            let refusal = Refusal { reason: DropReason::Filtered, mapping: Some(session.id), answer: None };
            self.uninvited(nat, &flow, Some(mapping), now);
            return Err(refusal);
        }
        if flow.protocol == Protocol::Tcp {
            return self.enter_segment(nat, packet, index, flow, judged, now);
        }
        self.pin(nat, index);
        Ok(self.pass(nat, index, Side::Outside, flow, now))
    }

    /// With affinity, replies use the mapping that let the packet in.
    #[inline]
    pub(crate) fn pin(&mut self, nat: &Shared, index: u32) {
        if !self.table.session(index).leads() && nat.behavior.session_affinity == SessionAffinity::On {
            self.table.lead(index);
        }
    }

    /// An inbound packet of no session: opens one, on the mapping that it is addressed to, if the filter admits it.
    #[inline(never)]
    fn enter_anew(
        &mut self,
        nat: &mut Shared,
        packet: &Packet,
        flow: Flow<A>,
        remote: Endpoint<A>,
        judged: bool,
        now: Time,
    ) -> Result<Passage, Refusal> {
        if nat.uses.any(Uses::EARLY) {
            self.refuse_occupied(nat, &flow, now)?;
        }
        let Some((mapping, new_mapping)) = self.find_addressed(nat, &flow, remote, judged, now) else {
            self.uninvited(nat, &flow, None, now);
            return Err(refuse(if self.translates { DropReason::NoMapping } else { DropReason::Filtered }));
        };
        let refuse = |reason| Err(Refusal { reason, mapping: Some(self.table.mapping(mapping).id), answer: None });
        if judged && !new_mapping && !self.admits(nat, mapping, remote) {
            let refusal = refuse(DropReason::Filtered);
            self.uninvited(nat, &flow, Some(mapping), now);
            return refusal;
        }
        // An echo reply from a remote that the filter admits passes like any datagram: it has no handshake.
        if flow.protocol == Protocol::Tcp && !flow.opens {
            return refuse(DropReason::NoSession);
        }
        if !new_mapping {
            let (internal, id) = (self.table.mapping(mapping).internal, self.table.mapping(mapping).id);
            let admitted = self.admit_session(nat, internal, Side::Outside);
            admitted.map_err(|refusal| Refusal { mapping: Some(id), ..refusal })?;
        }
        let index = self.open_session(nat, mapping, remote, Side::Outside, now);
        if flow.protocol == Protocol::Tcp {
            self.segment_opened(nat, packet, index, Side::Outside, flow, now);
        }
        self.pin(nat, index);
        Ok(Passage { session: index, new_mapping })
    }

    /// A packet of a known session passes: it gives permission and touches the timers.
    #[inline(always)]
    fn pass(&mut self, nat: &Shared, index: u32, side: Side, flow: Flow<A>, now: Time) -> Passage {
        let permits = self.table.session(index).permits();
        let deadline = match nat.timers.stages.is_some() && flow.protocol == Protocol::Udp {
            false => nat.timers.after(flow.protocol, side, now),
            true => self.after_datagram(nat, index, side, now),
        };
        if side == Side::Inside && !permits {
            self.table.permit(index);
        }
        if let Some(deadline) = deadline {
            self.table.set_deadline(index, deadline);
            if nat.timers.stages.is_some() {
                self.moved(index);
            }
        }
        Passage { session: index, new_mapping: false }
    }

    /// How a passage is told.
    #[inline(always)]
    pub(crate) fn translation(&mut self, passage: Passage) -> Translation {
        let session = self.table.session(passage.session);
        let (mapping, index) = (session.id, session.mapping_of(passage.session));
        self.table.remember(index);
        Translation { mapping, new_mapping: passage.new_mapping, quoted: false }
    }
}

//! A gateway: a router with two interfaces and a NAT between them. What the NAT holds and makes itself: `outputs`; what
//! the gateway tells the senders of packets that it drops: `owed`.
//!
//! Decides only, like `router.rs`. On the way out it routes first and translates last, on the way in the other way
//! round, so that both decisions see inside addresses inside and outside addresses outside. The TTL is therefore
//! judged before the translation on the way out and after it on the way in: a packet that no mapping wants dies of
//! that, whatever its TTL. ICMP errors that the gateway owes quote the packet as its sender knows it; where it has
//! been rewritten already, its endpoints are put back first.

pub(crate) mod machine;
mod outputs;
mod owed;
mod realms;

use std::collections::BTreeMap;
use std::net::SocketAddr;

use natbox_nat::behavior::{Ipv6, Switch, TooBig, TranslationKind, Ttl};
use natbox_nat::{HoldId, Nat, Refusal, Verdict};
use natbox_wire::{DropReason, IcmpError, Packet, Time, Transport};

use self::machine::Machine;
pub(crate) use self::outputs::{Departure, Held};
use self::owed::ErrorLimit;
use crate::network::{Fabric, Hop};
use crate::note::{InterfaceId, Outcome};
use crate::pings::{self, Part};
use crate::router::{self, Step};
use crate::state::bring;

/// A gateway.
pub(crate) struct Gateway {
    pub(crate) nat: Nat,
    pub(crate) inside: InterfaceId,
    pub(crate) outside: InterfaceId,
    limit: ErrorLimit,
    /// The packets that the NAT holds. It bounds their number.
    pub(crate) held: BTreeMap<HoldId, Box<Held>>,
    /// Its own programs run here, if it has any.
    pub(crate) machine: Option<Box<Machine>>,
}

/// Why a packet goes no further, and what its sender is told of it.
type Trouble = (DropReason, Option<IcmpError>);

impl Gateway {
    pub(crate) fn new(nat: Nat, inside: InterfaceId, outside: InterfaceId) -> Gateway {
        Gateway { nat, inside, outside, limit: ErrorLimit::default(), held: BTreeMap::new(), machine: None }
    }

    /// Brings near what the next packet needs, step by step: of many gateways the first, then of all the second.
    pub(crate) fn bring(&self, step: u32) {
        match step {
            0 => {
                bring(&self.inside);
                bring(&self.limit);
                self.nat.bring();
            }
            step => self.nat.bring_realm(step - 1),
        }
    }

    /// A packet that came through one of its interfaces.
    pub(crate) fn receive(&mut self, fabric: &Fabric, through: InterfaceId, packet: &mut Packet, now: Time) -> Step {
        if fabric.interface(through).is_group(packet.destination()) {
            return Step::silent(Outcome::Dropped(DropReason::NotForThisHost));
        }
        match through == self.inside {
            true => self.outbound(fabric, packet, now),
            false => self.inbound(fabric, packet, now),
        }
    }

    fn outbound(&mut self, fabric: &Fabric, packet: &mut Packet, now: Time) -> Step {
        let own = fabric.interface(self.inside).owns(packet.destination()) && !self.nat.is_hairpin_answer(packet);
        if own || self.is_own_outside(fabric, packet) {
            return self.local(packet, now);
        }
        if let Err(reason) = self.check_realms(fabric) {
            return Step::silent(Outcome::Dropped(reason));
        }
        let hop = match self.hop_outside(fabric, packet) {
            Ok(hop) => hop,
            Err(reason) => {
                return self.refuse(fabric, self.inside, (reason, Some(IcmpError::HostUnreachable)), packet, now);
            }
        };
        if let Some(trouble) = self.trouble_on_the_way_out(fabric, hop, packet) {
            return self.refuse(fabric, self.inside, trouble, packet, now);
        }
        let endpoints = Endpoints::of(packet);
        self.count_hop(packet);
        let verdict = self.nat.outbound(packet, now);
        self.leaves(fabric, verdict, hop, endpoints, packet, now)
    }

    /// As [`Gateway::leaves`], for a packet that was held: what its way was by then has been forgotten.
    fn leaves_late(
        &mut self,
        fabric: &Fabric,
        verdict: Verdict,
        endpoints: Endpoints,
        packet: &mut Packet,
        now: Time,
    ) -> Step {
        match self.hop_outside(fabric, packet) {
            Ok(hop) => self.leaves(fabric, verdict, hop, endpoints, packet, now),
            Err(reason) => {
                endpoints.restore(packet);
                self.refuse(fabric, self.inside, (reason, Some(IcmpError::HostUnreachable)), packet, now)
            }
        }
    }

    /// What becomes of a packet from inside by its verdict. `hop` is where it goes outside.
    fn leaves(
        &mut self,
        fabric: &Fabric,
        verdict: Verdict,
        hop: Option<Hop>,
        endpoints: Endpoints,
        packet: &mut Packet,
        now: Time,
    ) -> Step {
        match (verdict, hop) {
            (Verdict::Pass, Some(hop)) => Step::onward(Outcome::Routed, hop),
            (Verdict::Forward(translation), Some(hop)) => Step::onward(Outcome::Translated(translation), hop),
            (Verdict::Pass | Verdict::Forward(_), None) => self.local(packet, now),
            (Verdict::Hairpin { source, destination }, _) => {
                self.inwards(fabric, self.inside, Outcome::Hairpinned { source, destination }, endpoints, packet, now)
            }
            (Verdict::Hold(hold), _) => Step::hold(hold),
            (Verdict::Drop(_), None) if is_ping(packet) => self.local(packet, now),
            (Verdict::Drop(refusal), _) => {
                endpoints.restore(packet);
                self.refused_or_part(fabric, self.inside, refusal, packet, now)
            }
        }
    }

    fn inbound(&mut self, fabric: &Fabric, packet: &mut Packet, now: Time) -> Step {
        if let Err(reason) = self.check_realms(fabric) {
            return Step::silent(Outcome::Dropped(reason));
        }
        let endpoints = Endpoints::of(packet);
        let verdict = self.nat.inbound(packet, now);
        self.enters(fabric, verdict, endpoints, packet, now)
    }

    /// What becomes of a packet from outside by its verdict.
    fn enters(
        &mut self,
        fabric: &Fabric,
        verdict: Verdict,
        endpoints: Endpoints,
        packet: &mut Packet,
        now: Time,
    ) -> Step {
        let outcome = match verdict {
            Verdict::Pass => Outcome::Routed,
            Verdict::Forward(translation) => Outcome::Translated(translation),
            Verdict::Hairpin { source, destination } => Outcome::Hairpinned { source, destination },
            Verdict::Hold(hold) => return Step::hold(hold),
            Verdict::Drop(_) if self.answers_ping(fabric, packet) => return self.local(packet, now),
            Verdict::Drop(refusal) => return self.refused_or_part(fabric, self.outside, refusal, packet, now),
        };
        if self.is_own_outside(fabric, packet) {
            return self.local(packet, now);
        }
        let step = self.inwards(fabric, self.outside, outcome, endpoints, packet, now);
        if step.onward.is_some() {
            self.count_hop(packet);
        }
        step
    }

    /// Whether a packet is for the gateway's own outside address. Where that address is translated it is the mappings'
    /// alone, and may even be a host's address inside, as private ranges repeat.
    fn is_own_outside(&self, fabric: &Fabric, packet: &Packet) -> bool {
        let behavior = self.nat.behavior();
        let translated = match packet.is_ipv6() {
            true => behavior.ipv6 == Ipv6::Napt,
            false => behavior.translation != TranslationKind::None,
        };
        !translated && fabric.interface(self.outside).owns(packet.destination())
    }

    /// Whether a packet from outside that nothing inside wants is a ping that the gateway answers itself. From inside,
    /// pings to any of its addresses are answered.
    fn answers_ping(&self, fabric: &Fabric, packet: &Packet) -> bool {
        is_ping(packet) && self.answers_pings(fabric, self.outside, packet)
    }

    /// Whether pings to the destination of a packet, which nothing inside wants, are answered on a side.
    fn answers_pings(&self, fabric: &Fabric, through: InterfaceId, packet: &Packet) -> bool {
        match through == self.inside {
            true => self.nat.external().contains(&packet.destination()),
            false => {
                let wanted = self.nat.behavior().answer_ping == Switch::On;
                wanted && fabric.interface(self.outside).owns(packet.destination())
            }
        }
    }

    /// As [`Gateway::refused`]; but fragments of pings that the gateway answers are its own, in whatever way the NAT
    /// refuses them.
    fn refused_or_part(
        &mut self,
        fabric: &Fabric,
        through: InterfaceId,
        refusal: Refusal,
        packet: &Packet,
        now: Time,
    ) -> Step {
        let own = self.answers_pings(fabric, through, packet);
        match pings::refused_part(packet, refusal.reason).filter(|_| own) {
            Some(Part::Ping) => Step::of_part(Outcome::Refused(refusal), Part::Ping),
            part => Step { part, ..self.refused(fabric, through, refusal, packet, now) },
        }
    }

    /// Takes one from the TTL, if the box is a hop.
    fn count_hop(&self, packet: &mut Packet) {
        if self.nat.behavior().ttl != Ttl::Transparent {
            packet.decrement_ttl();
        }
    }

    /// A translated packet goes inside, if it can.
    fn inwards(
        &mut self,
        fabric: &Fabric,
        came_through: InterfaceId,
        outcome: Outcome,
        endpoints: Endpoints,
        packet: &mut Packet,
        now: Time,
    ) -> Step {
        let hop = match fabric.next_hop(self.inside, packet.destination()) {
            Ok(hop) => hop,
            Err(reason) => {
                endpoints.restore(packet);
                return self.refuse(fabric, came_through, (reason, Some(IcmpError::HostUnreachable)), packet, now);
            }
        };
        // A hairpinned packet has paid for its hop before the translation.
        let expired = if came_through == self.inside { None } else { self.expired(packet) };
        match expired.or_else(|| self.too_big(fabric, hop, packet)) {
            None => Step::onward(outcome, hop),
            Some(trouble) => {
                endpoints.restore(packet);
                self.refuse(fabric, came_through, trouble, packet, now)
            }
        }
    }

    /// What stops a packet before it is translated: its TTL, or its size.
    fn trouble_on_the_way_out(&self, fabric: &Fabric, hop: Option<Hop>, packet: &mut Packet) -> Option<Trouble> {
        self.expired(packet).or_else(|| self.too_big(fabric, hop?, packet))
    }

    /// Whether this hop is one too many (RFC 5508 section 7.2).
    fn expired(&self, packet: &Packet) -> Option<Trouble> {
        let answer = match self.nat.behavior().ttl {
            Ttl::Decrement => Some(IcmpError::TtlExceeded),
            Ttl::DecrementSilent => None,
            Ttl::Transparent => return None,
        };
        (packet.ttl() <= 1).then_some((DropReason::TtlExpired, answer))
    }

    /// Whether a packet does not get through the next link; makes it one that does, where the box breaks path MTU
    /// discovery so (RFC 4787 REQ-13, RFC 5508 section 7.1). IPv6 has no bit to clear.
    fn too_big(&self, fabric: &Fabric, hop: Hop, packet: &mut Packet) -> Option<Trouble> {
        let mtu = router::too_big(fabric, hop, packet)?;
        let answer = match self.nat.behavior().too_big {
            TooBig::ClearDf if !packet.is_ipv6() => {
                packet.clear_dont_fragment();
                return None;
            }
            TooBig::FragNeeded | TooBig::ClearDf => Some(IcmpError::PacketTooBig { mtu }),
            TooBig::WrongMtu => Some(IcmpError::PacketTooBig { mtu: 0 }),
            TooBig::SilentDrop => None,
        };
        Some((DropReason::TooBig, answer))
    }
}

/// An echo request in one piece.
fn is_ping(packet: &Packet) -> bool {
    matches!(packet.transport(), Transport::Echo { request: true, .. }) && !packet.is_fragment()
}

/// What a translation changes, as it was before: errors quote it so.
#[derive(Clone, Copy)]
pub(crate) struct Endpoints {
    source: SocketAddr,
    destination: SocketAddr,
    identification: Option<u16>,
    ttl: u8,
}

impl Endpoints {
    fn of(packet: &Packet) -> Endpoints {
        Endpoints {
            source: packet.source_endpoint(),
            destination: packet.destination_endpoint(),
            identification: packet.identification(),
            ttl: packet.ttl(),
        }
    }

    fn restore(&self, packet: &mut Packet) {
        packet.rewrite_source(self.source);
        packet.rewrite_destination(self.destination);
        packet.rewrite_identification(self.identification.unwrap_or(0));
        packet.set_ttl(self.ttl);
    }
}

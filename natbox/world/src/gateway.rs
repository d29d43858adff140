//! A gateway: a router with two interfaces and a NAT between them.
//!
//! Decides only, like `router.rs`. On the way out it routes first and translates last, on the way in the other way
//! round, so that both decisions see inside addresses inside and outside addresses outside. The TTL is therefore
//! judged before the translation on the way out and after it on the way in: a packet that no mapping wants dies of
//! that, whatever its TTL. ICMP errors that the gateway owes quote the packet as its sender knows it; where it has
//! been rewritten already, its endpoints are put back first.

use std::net::SocketAddr;

use natbox_nat::behavior::{Ipv6, TranslationKind};
use natbox_nat::{Nat, Verdict};
use natbox_wire::{DropReason, IcmpError, Packet, Time};

use crate::network::{Fabric, Hop};
use crate::note::{InterfaceId, Outcome};
use crate::router::{self, Step};

/// A gateway.
pub(crate) struct Gateway {
    pub(crate) nat: Nat,
    pub(crate) inside: InterfaceId,
    pub(crate) outside: InterfaceId,
}

impl Gateway {
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
        if fabric.interface(self.inside).owns(packet.destination()) || self.is_own_outside(fabric, packet) {
            return router::local(packet);
        }
        let own_external = self.nat.external().contains(&packet.destination());
        // A packet for an external address of this NAT is turned round: it never meets the outside network.
        let hop = match own_external {
            true => None,
            false => match fabric.next_hop(self.outside, packet.destination()) {
                Ok(hop) => Some(hop),
                Err(reason) => return self.refuse(fabric, self.inside, (reason, IcmpError::HostUnreachable), packet),
            },
        };
        if let Some(step) = self.unfit(fabric, self.inside, hop, packet) {
            return step;
        }
        let endpoints = Endpoints::of(packet);
        packet.decrement_ttl();
        match (self.nat.outbound(packet, now), hop) {
            (Verdict::Pass, Some(hop)) => Step::onward(Outcome::Routed, hop),
            (Verdict::Forward(translation), Some(hop)) => Step::onward(Outcome::Translated(translation), hop),
            (Verdict::Pass | Verdict::Forward(_), None) => router::local(packet),
            (Verdict::Hairpin { source, destination }, _) => {
                self.inwards(fabric, self.inside, Outcome::Hairpinned { source, destination }, endpoints, packet)
            }
            (Verdict::Hold(_), _) => Step::silent(Outcome::Held),
            (Verdict::Drop(refusal), _) => Step::silent(Outcome::Refused(refusal)),
        }
    }

    fn inbound(&mut self, fabric: &Fabric, packet: &mut Packet, now: Time) -> Step {
        let endpoints = Endpoints::of(packet);
        let outcome = match self.nat.inbound(packet, now) {
            Verdict::Pass => Outcome::Routed,
            Verdict::Forward(translation) => Outcome::Translated(translation),
            Verdict::Hairpin { source, destination } => Outcome::Hairpinned { source, destination },
            Verdict::Hold(_) => return Step::silent(Outcome::Held),
            Verdict::Drop(refusal) => return Step::silent(Outcome::Refused(refusal)),
        };
        if self.is_own_outside(fabric, packet) {
            return router::local(packet);
        }
        let step = self.inwards(fabric, self.outside, outcome, endpoints, packet);
        if step.onward.is_some() {
            packet.decrement_ttl();
        }
        step
    }

    /// Whether a packet is for the gateway's own outside address. Where that address is translated it is the mappings'
    /// alone, and may even be a host's address inside, as private ranges repeat.
    fn is_own_outside(&self, fabric: &Fabric, packet: &Packet) -> bool {
        let behavior = self.nat.behavior();
        let translated = match packet.is_ipv6() {
            true => behavior.ipv6 == Ipv6::Napt,
            false => behavior.translation == TranslationKind::Napt,
        };
        !translated && fabric.interface(self.outside).owns(packet.destination())
    }

    /// A translated packet goes inside, if it can.
    fn inwards(
        &self,
        fabric: &Fabric,
        came_through: InterfaceId,
        outcome: Outcome,
        endpoints: Endpoints,
        packet: &mut Packet,
    ) -> Step {
        let hop = fabric.next_hop(self.inside, packet.destination());
        // A hairpinned packet has paid for its hop before the translation.
        let expired = came_through != self.inside && packet.ttl() <= 1;
        let trouble = match hop {
            Err(reason) => Some((reason, IcmpError::HostUnreachable)),
            Ok(_) if expired => Some((DropReason::TtlExpired, IcmpError::TtlExceeded)),
            Ok(hop) => too_big(fabric, hop, packet),
        };
        match (trouble, hop) {
            (None, Ok(hop)) => Step::onward(outcome, hop),
            (Some(why), _) => {
                endpoints.restore(packet);
                self.refuse(fabric, came_through, why, packet)
            }
            (None, Err(reason)) => Step::silent(Outcome::Dropped(reason)),
        }
    }

    /// What stops a packet before it is translated: its TTL, or its size.
    fn unfit(&self, fabric: &Fabric, through: InterfaceId, hop: Option<Hop>, packet: &Packet) -> Option<Step> {
        let why = match packet.ttl() {
            0 | 1 => (DropReason::TtlExpired, IcmpError::TtlExceeded),
            _ => too_big(fabric, hop?, packet)?,
        };
        Some(self.refuse(fabric, through, why, packet))
    }

    /// Drops a packet and tells its sender, from the address that faces it.
    fn refuse(&self, fabric: &Fabric, through: InterfaceId, why: (DropReason, IcmpError), packet: &Packet) -> Step {
        Step::refuse(why.0, why.1, fabric.interface(through).address(packet.is_ipv6()), packet)
    }
}

fn too_big(fabric: &Fabric, hop: Hop, packet: &Packet) -> Option<(DropReason, IcmpError)> {
    let mtu = router::too_big(fabric, hop, packet)?;
    Some((DropReason::TooBig, IcmpError::PacketTooBig { mtu }))
}

/// A packet's endpoints before the translation.
struct Endpoints {
    source: SocketAddr,
    destination: SocketAddr,
}

impl Endpoints {
    fn of(packet: &Packet) -> Endpoints {
        Endpoints { source: packet.source_endpoint(), destination: packet.destination_endpoint() }
    }

    fn restore(&self, packet: &mut Packet) {
        packet.rewrite_source(self.source);
        packet.rewrite_destination(self.destination);
    }
}

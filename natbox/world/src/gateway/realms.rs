//! A gateway whose inside and outside share addresses (RFC 4787 REQ-7): a home behind a NAT behind a NAT, both with
//! 10.0.0.0/24.
//!
//! A gateway of this world routes by the side that a packet comes from, so that such a network works as it stands: what
//! comes from inside and reaches the gateway is for the outside, whatever its address. A host inside reaches a host
//! outside that has an address of its own prefix by a third endpoint, an external one of a NAT further out; the address
//! itself it looks for on its own network. Real boxes have one table of routes for both sides, and this is where they
//! fail: those that notice refuse to work, those that do not look for their next hop inside.

use std::net::IpAddr;

use natbox_nat::behavior::OverlappingRealms;
use natbox_wire::{DropReason, Packet};

use super::Gateway;
use crate::network::{Fabric, Hop};

impl Gateway {
    /// Why nothing passes at all, if so.
    pub(super) fn check_realms(&self, fabric: &Fabric) -> Result<(), DropReason> {
        let refuses = self.nat.behavior().overlapping_realms == OverlappingRealms::Refuse;
        match refuses && self.realms_overlap(fabric) {
            true => Err(DropReason::OverlappingRealms),
            false => Ok(()),
        }
    }

    /// Whether an address of one side lies in the prefix of the other.
    fn realms_overlap(&self, fabric: &Fabric) -> bool {
        let (inside, outside) = (fabric.interface(self.inside), fabric.interface(self.outside));
        outside.addresses.iter().any(|own| inside.is_on_link(own.address))
            || inside.addresses.iter().any(|own| outside.is_on_link(own.address))
    }

    /// Where a packet from inside goes outside. `None` for one that turns round and never meets the outside network: for an
    /// external address of this NAT, or for a host that hides behind the gateway.
    pub(super) fn hop_outside(&self, fabric: &Fabric, packet: &Packet) -> Result<Option<Hop>, DropReason> {
        if self.nat.external().contains(&packet.destination()) || self.nat.is_hairpin_answer(packet) {
            return Ok(None);
        }
        let destination = self.nat.outside_of(packet.destination());
        if self.nat.behavior().overlapping_realms == OverlappingRealms::Broken {
            self.check_next_hop(fabric, destination)?;
        }
        fabric.next_hop(self.outside, destination).map(Some)
    }

    /// Refuses what a box would look for inside that knows addresses, and not sides: a next hop of the inside's prefix.
    fn check_next_hop(&self, fabric: &Fabric, destination: IpAddr) -> Result<(), DropReason> {
        let (inside, outside) = (fabric.interface(self.inside), fabric.interface(self.outside));
        let next = match outside.is_on_link(destination) {
            true => Some(destination),
            false => fabric.default_gateway(outside.network, destination.is_ipv6()),
        };
        match inside.is_on_link(destination) || next.is_some_and(|next| inside.is_on_link(next)) {
            true => Err(DropReason::OverlappingRealms),
            false => Ok(()),
        }
    }
}

//! One host's sockets, sans-IO. (The seam: signatures that the world drives; the sockets come from the stack builder.)

use std::net::IpAddr;

use natbox_wire::{DropReason, Packet, Time};

use crate::attach::InterfaceAddress;
use crate::note::{Outcome, PacketId};

/// What a host knows of one of its uplinks.
#[derive(Clone, Debug)]
pub(crate) struct UplinkConfig {
    /// Its addresses there; with their prefix lengths they say what is on-link.
    pub(crate) addresses: Vec<InterfaceAddress>,
    /// The default gateway for IPv4.
    pub(crate) gateway_v4: Option<IpAddr>,
    /// The default gateway for IPv6.
    pub(crate) gateway_v6: Option<IpAddr>,
    /// Largest packet, in bytes.
    pub(crate) mtu_bytes: usize,
}

/// A packet that the host sends.
pub(crate) struct Outgoing {
    /// Through which uplink.
    pub(crate) uplink: usize,
    /// The packet.
    pub(crate) packet: Packet,
    /// The packet that it answers.
    pub(crate) cause: Option<PacketId>,
}

/// The sockets of one host.
pub(crate) struct Stack {}

impl Stack {
    pub(crate) fn new(_uplinks: Vec<UplinkConfig>, _seed: u64) -> Stack {
        Stack {}
    }

    pub(crate) fn receive(&mut self, _uplink: usize, _packet: Packet, _id: PacketId, _now: Time) -> Outcome {
        Outcome::Dropped(DropReason::NotForThisHost)
    }

    pub(crate) fn outbox(&mut self) -> Option<Outgoing> {
        None
    }

    pub(crate) fn drops(&mut self) -> Option<(Packet, Option<PacketId>, DropReason)> {
        None
    }

    pub(crate) fn poll_timeout(&self) -> Option<Time> {
        None
    }

    pub(crate) fn handle_timeout(&mut self, _now: Time) {}
}

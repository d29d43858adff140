//! The machine that a gateway is itself, where programs run on it: sockets at its inside addresses.
//!
//! What is sent to those addresses from inside, and to everybody there, is its sockets'; but pings, which the gateway answers
//! as it always does. From outside nothing reaches it: that is the NAT's. It survives reboots of the NAT, sockets and all.

use std::task::Waker;

use natbox_wire::{Packet, Time};

use super::{Gateway, is_ping};
use crate::network::Fabric;
use crate::note::InterfaceId;
use crate::state::Host;

/// A gateway's own machine.
pub(crate) struct Machine {
    pub(crate) host: Host,
    /// When its timer is set for; `Time::MAX` when it is not.
    pub(crate) timer: Time,
    /// When the NAT lost its memory last.
    pub(crate) up_since: Time,
    /// How often it has been told of a change.
    pub(crate) changes: u64,
    /// Who waits for the next.
    pub(crate) waiting: Vec<Waker>,
}

impl Machine {
    pub(crate) fn new(host: Host) -> Machine {
        Machine { host, timer: Time::MAX, up_since: Time::ZERO, changes: 0, waiting: Vec::new() }
    }
}

impl Gateway {
    /// Whether a packet that came through an interface is for the sockets of the gateway's own machine.
    pub(crate) fn is_for_machine(&self, fabric: &Fabric, through: InterfaceId, packet: &Packet) -> bool {
        if self.machine.is_none() || through != self.inside {
            return false;
        }
        let inside = fabric.interface(through);
        let own = inside.owns(packet.destination()) && !is_ping(packet) && !self.nat.is_hairpin_answer(packet);
        own || inside.is_group(packet.destination())
    }

    /// The host that the machine is.
    ///
    /// # Panics
    ///
    /// If there is none.
    pub(crate) fn machine_host(&mut self) -> &mut Host {
        match &mut self.machine {
            Some(machine) => &mut machine.host,
            None => panic!("this gateway runs no programs"),
        }
    }
}

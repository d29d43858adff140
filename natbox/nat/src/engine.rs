//! The NAT engine's driver contract.

use std::net::IpAddr;
use std::sync::Arc;

use natbox_wire::{Packet, Time};

use crate::{Behavior, Ended, MappingId, MappingView, Verdict};

/// A NAT.
///
/// Four verbs: [`outbound`](Nat::outbound) and [`inbound`](Nat::inbound) take packets, [`poll_timeout`](Nat::poll_timeout)
/// announces the next deadline, [`handle_timeout`](Nat::handle_timeout) ends what is due. Nothing happens
/// between announced deadlines: `handle_timeout` before the deadline is silent.
pub struct Nat {
    behavior: Arc<Behavior>,
}

impl Nat {
    /// A NAT with these external addresses, in order of preference. `seed` feeds its own stream of chance.
    pub fn new(behavior: Arc<Behavior>, external: &[IpAddr], seed: u64) -> Nat {
        todo!()
    }

    /// How it behaves.
    pub fn behavior(&self) -> &Arc<Behavior> {
        &self.behavior
    }

    /// Its external addresses.
    pub fn external(&self) -> &[IpAddr] {
        todo!()
    }

    /// A packet from inside. The caller has routed it: it is for the outside, or for an external address.
    pub fn outbound(&mut self, packet: &mut Packet, now: Time) -> Verdict {
        todo!()
    }

    /// A packet from outside.
    pub fn inbound(&mut self, packet: &mut Packet, now: Time) -> Verdict {
        todo!()
    }

    /// When something will be due next.
    pub fn poll_timeout(&self) -> Option<Time> {
        todo!()
    }

    /// Ends what is due, and tells `ended` of each mapping that went.
    pub fn handle_timeout(&mut self, now: Time, ended: &mut dyn FnMut(Ended)) {
        todo!()
    }

    /// Loses all state, as a power cut does. Mapping numbers go on.
    pub fn reboot(&mut self, ended: &mut dyn FnMut(Ended)) {
        todo!()
    }

    /// Replaces the external addresses; mappings on addresses that are gone end.
    pub fn readdress(&mut self, external: &[IpAddr], ended: &mut dyn FnMut(Ended)) {
        todo!()
    }

    /// One live mapping.
    pub fn mapping(&self, id: MappingId) -> Option<MappingView> {
        todo!()
    }

    /// The live mappings, by number.
    pub fn mappings(&self) -> Vec<MappingView> {
        todo!()
    }
}

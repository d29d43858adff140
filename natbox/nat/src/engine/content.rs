//! What fragments and payload rewriters need of the engine, and how packets get to them.

use std::collections::VecDeque;
use std::net::SocketAddrV4;

use natbox_wire::{Packet, Time};

use super::{Nat, realm, translates};
use crate::alg::Helper;
use crate::classify::{Class, classify};
use crate::fragments::Road;
use crate::key::{Address, Endpoint};
use crate::realm::{Realm, Shared};
use crate::uses::Uses;
use crate::verdict::{HoldId, Output, Side, Verdict};

impl Nat {
    #[cold]
    pub(super) fn fragment(&mut self, from: Side, packet: &mut Packet, now: Time) -> Verdict {
        let behavior = self.shared.behavior.clone();
        let mut fragments = self.fragments.take().unwrap_or_default();
        let verdict = fragments.receive(self, &behavior.fragments, from, packet, now);
        self.fragments = Some(fragments);
        verdict
    }

    /// A whole packet whose payload may be looked at.
    #[cold]
    pub(super) fn payload(&mut self, from: Side, packet: &mut Packet, now: Time) -> Verdict {
        let rules = self.shared.behavior.alg;
        let mut algs = self.algs.take().unwrap_or_default();
        let verdict = algs.receive(self, &rules, from, packet, now);
        self.algs = Some(algs);
        verdict
    }
}

impl Road for Nat {
    fn travel(&mut self, from: Side, packet: &mut Packet, now: Time) -> Verdict {
        if self.shared.uses.any(Uses::PAYLOADS) {
            return self.payload(from, packet, now);
        }
        self.carry(from, false, packet, now)
    }

    fn identify(&mut self, first: &mut Packet) {
        if !first.is_ipv6() && translates(&self.shared.behavior, false) {
            self.own_realm().identification.give(first);
        }
    }

    fn hold(&mut self) -> HoldId {
        self.shared.hold()
    }

    fn output(&mut self) -> &mut VecDeque<Output> {
        &mut self.shared.output
    }
}

impl Helper for Nat {
    fn carry(&mut self, from: Side, expected: bool, packet: &mut Packet, now: Time) -> Verdict {
        match (from, &mut self.v4) {
            (Side::Inside, _) => self.leave(packet, now),
            (Side::Outside, Some(realm)) if expected => realm.inbound_judged(&mut self.shared, packet, false, now),
            (Side::Outside, _) => self.enter(packet, now),
        }
    }

    fn reserve(&mut self, packet: &Packet, now: Time) -> Option<SocketAddrV4> {
        let own = [&*self.external, &*self.inside];
        let realm = realm(&mut self.v4, &self.shared, own, self.seed);
        let external = realm.reserve(&mut self.shared, packet, now)?;
        Some(SocketAddrV4::new(external.address, external.port))
    }
}

impl<A: Address> Realm<A> {
    /// The external endpoint at which the source of a packet from inside is to be reached, as if it had been sent.
    fn reserve(&mut self, nat: &mut Shared, packet: &Packet, now: Time) -> Option<Endpoint<A>> {
        let Ok(Class::Flow(flow)) = classify(packet, nat.behavior.icmp_query) else { return None };
        let passage = self.leave(nat, packet, flow, now).ok()?;
        Some(self.table.session(passage.session).external)
    }
}

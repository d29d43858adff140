//! A small lab and what happened in it: alice behind home-a, relay and bob's NAT home-b on the network internet.

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use natbox::record::{Limits, Log, Names, NodeKind, Recorder};
use natbox_nat::behavior::{Filtering, Mapping};
use natbox_nat::{Behavior, Ended, MappingEnd, MappingId, MappingView, Refusal, Translation};
use natbox_wire::build::{self, IpFields};
use natbox_wire::{DropReason, Protocol, Time};
use natbox_world::note::{Event, InterfaceId, LinkFate, NodeId, Note, Observer, Outcome, PacketId, PacketRef};

pub(crate) const INTERNET: NodeId = NodeId(0);
pub(crate) const ALICE: NodeId = NodeId(1);
pub(crate) const HOME_A: NodeId = NodeId(2);
pub(crate) const RELAY: NodeId = NodeId(3);

pub(crate) const AT_ALICE: InterfaceId = InterfaceId(0);
pub(crate) const INSIDE: InterfaceId = InterfaceId(1);
pub(crate) const OUTSIDE: InterfaceId = InterfaceId(2);
pub(crate) const AT_RELAY: InterfaceId = InterfaceId(3);

pub(crate) fn address(text: &str) -> IpAddr {
    text.parse().unwrap()
}

pub(crate) fn endpoint(text: &str) -> SocketAddr {
    text.parse().unwrap()
}

pub(crate) fn ms(millis: u64) -> Time {
    Time::ZERO + Duration::from_millis(millis)
}

pub(crate) fn behavior() -> Behavior {
    Behavior {
        mapping: Mapping::EndpointIndependent.into(),
        filtering: Filtering::AddressAndPortDependent.into(),
        ..Behavior::default()
    }
}

pub(crate) fn names() -> Names {
    names_with(behavior())
}

pub(crate) fn names_with(behavior: Behavior) -> Names {
    let mut names = Names::new();
    names.add_node(INTERNET, "internet", NodeKind::Network, &[]);
    names.add_node(ALICE, "alice", NodeKind::Host, &[address("10.0.0.2")]);
    names.add_node(HOME_A, "home-a", NodeKind::Nat(Arc::new(behavior)), &[address("198.18.0.3")]);
    names.add_node(RELAY, "relay", NodeKind::Host, &[address("198.18.0.9"), address("2001:db8::9")]);
    names.add_interface(AT_ALICE, "alice", ALICE);
    names.add_interface(INSIDE, "home-a:inside", HOME_A);
    names.add_interface(OUTSIDE, "home-a:outside", HOME_A);
    names.add_interface(AT_RELAY, "relay", RELAY);
    names
}

pub(crate) fn udp(source: &str, destination: &str) -> Vec<u8> {
    build::udp(endpoint(source), endpoint(destination), IpFields::default(), b"hello").unwrap().into_bytes()
}

/// Feeds notes to a recorder, one a call, and counts time by the millisecond.
pub(crate) struct Diary {
    pub(crate) recorder: Recorder,
    now: u64,
}

impl Diary {
    pub(crate) fn new(limits: Limits) -> Diary {
        Diary { recorder: Recorder::new(limits), now: 0 }
    }

    pub(crate) fn at(&mut self, millis: u64) -> &mut Diary {
        self.now = millis;
        self
    }

    pub(crate) fn note(&mut self, node: NodeId, event: Event<'_>) {
        self.recorder.note(&Note { at: ms(self.now), node, event });
    }

    pub(crate) fn sent(&mut self, node: NodeId, interface: InterfaceId, id: u64, bytes: &[u8]) {
        let fate = LinkFate::Carried { arrives: ms(self.now + 5) };
        self.sent_with(node, interface, (id, None), bytes, fate);
    }

    pub(crate) fn sent_with(
        &mut self,
        node: NodeId,
        interface: InterfaceId,
        (id, cause): (u64, Option<u64>),
        bytes: &[u8],
        fate: LinkFate,
    ) {
        let packet = PacketRef { id: PacketId(id), cause: cause.map(PacketId), bytes };
        self.note(node, Event::Sent { interface, packet, fate });
    }

    pub(crate) fn received(&mut self, node: NodeId, interface: InterfaceId, id: u64, bytes: &[u8], outcome: Outcome) {
        let packet = PacketRef { id: PacketId(id), cause: None, bytes };
        self.note(node, Event::Received { interface, packet, outcome });
    }

    pub(crate) fn dropped(&mut self, node: NodeId, id: u64, bytes: &[u8], reason: DropReason) {
        let packet = PacketRef { id: PacketId(id), cause: None, bytes };
        self.note(node, Event::Dropped { packet, reason });
    }

    pub(crate) fn log(&self) -> Log {
        self.recorder.take()
    }
}

pub(crate) fn by_mapping(id: u64, new_mapping: bool) -> Translation {
    Translation { mapping: MappingId(id), new_mapping, quoted: false }
}

pub(crate) fn refused(reason: DropReason, mapping: Option<u64>) -> Outcome {
    Outcome::Refused(Refusal { reason, mapping: mapping.map(MappingId), answer: None })
}

pub(crate) fn ended(id: u64, why: MappingEnd) -> Ended {
    let mapping = MappingView {
        id: MappingId(id),
        protocol: Protocol::Udp,
        internal: endpoint("10.0.0.2:5000"),
        external: endpoint("198.18.0.3:40001"),
        towards: None,
        created: ms(5),
    };
    Ended { mapping, why }
}

pub(crate) const INTERNAL: &str = "10.0.0.2:5000";
pub(crate) const EXTERNAL: &str = "198.18.0.3:40001";
pub(crate) const RELAY_7777: &str = "198.18.0.9:7777";

/// Packet 1 from alice reaches the relay through home-a. Packet 2 answers from another port and is filtered.
/// Packet 3 from alice is lost on home-a's link. Packet 4 goes to a private address and dies in the core.
/// Packet 5 comes after the mapping has expired. Packet 6 never leaves alice: no route.
pub(crate) fn walk(limits: Limits) -> Log {
    let mut diary = Diary::new(limits);
    let (before, after) = (udp(INTERNAL, RELAY_7777), udp(EXTERNAL, RELAY_7777));
    diary.at(0).sent(ALICE, AT_ALICE, 1, &before);
    diary.at(5).received(HOME_A, INSIDE, 1, &before, Outcome::Translated(by_mapping(4, true)));
    diary.sent(HOME_A, OUTSIDE, 1, &after);
    diary.at(10).received(INTERNET, OUTSIDE, 1, &after, Outcome::Routed);
    diary.sent(INTERNET, AT_RELAY, 1, &after);
    diary.at(15).received(RELAY, AT_RELAY, 1, &after, Outcome::Delivered);

    let other_port = udp("198.18.0.9:7778", EXTERNAL);
    diary.at(20).sent(RELAY, AT_RELAY, 2, &other_port);
    diary.at(25).received(HOME_A, OUTSIDE, 2, &other_port, refused(DropReason::Filtered, Some(4)));

    diary.at(30).sent(ALICE, AT_ALICE, 3, &before);
    diary.at(35).received(HOME_A, INSIDE, 3, &before, Outcome::Translated(by_mapping(4, false)));
    diary.sent_with(HOME_A, OUTSIDE, (3, None), &after, LinkFate::Dropped(DropReason::Loss));

    let lost = udp(EXTERNAL, "10.1.0.2:7000");
    diary.at(40).received(INTERNET, OUTSIDE, 4, &lost, Outcome::Dropped(DropReason::PrivateDestination));

    diary.at(70).note(HOME_A, Event::MappingEnded(ended(4, MappingEnd::Expired)));
    diary.at(80).received(HOME_A, OUTSIDE, 5, &udp(RELAY_7777, EXTERNAL), refused(DropReason::NoMapping, None));
    diary.at(90).dropped(ALICE, 6, &udp(INTERNAL, "203.0.113.1:80"), DropReason::NoRoute);
    diary.log()
}

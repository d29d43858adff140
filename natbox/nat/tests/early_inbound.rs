//! Packets from outside that come before the inside has sent: the race that hole punching loses on some boxes.

mod common;

use std::net::SocketAddr;
use std::time::Duration;

use common::*;
use natbox_nat::behavior::*;
use natbox_nat::{Behavior, MappingEnd, Refusal, Verdict};
use natbox_wire::{DropReason, Packet};

const PEER: &str = "192.0.2.77:6000";
const OTHER: &str = "192.0.2.99:53";

/// A box with strict filtering that preserves ports, with Linux's timers.
fn strict(early_inbound: EarlyInbound) -> Rig {
    Rig::new(behavior(early_inbound))
}

fn behavior(early_inbound: EarlyInbound) -> Behavior {
    Behavior {
        early_inbound,
        filtering: Filtering::AddressAndPortDependent.into(),
        ports: Ports { allocation: PortAllocation::Preserve, ..Ports::default() },
        timeouts: Timeouts { udp_unreplied: Some(Duration::from_secs(30)), ..Timeouts::default() },
        refresh: Refresh::Both,
        ..Behavior::default()
    }
}

fn refused(nat: &mut Rig, packet: Packet) -> DropReason {
    nat.receive(packet).expect_err("a packet that nobody asked for")
}

/// The peer's packet comes to the port that a STUN server has seen, before the inside punches.
fn race(nat: &mut Rig) -> SocketAddr {
    let seen = nat.send(udp(X1, Y1));
    assert_eq!(refused(nat, udp(PEER, seen)), DropReason::Filtered);
    seen
}

#[test]
fn ignored_packets_leave_no_trace() {
    let mut nat = strict(EarlyInbound::Ignore);
    let seen = race(&mut nat);
    assert_eq!(nat.send(udp(X1, PEER)), seen);
    assert_eq!(nat.receive(udp(PEER, seen)), Ok(at(X1)));
}

#[test]
fn an_early_packet_remaps_the_port_towards_its_sender_and_further_remotes_follow() {
    let mut nat = strict(EarlyInbound::Remap);
    let seen = race(&mut nat);
    assert_eq!(seen.port(), 5000, "STUN said 5000");
    let punched = nat.send(udp(X1, PEER));
    assert_ne!(punched, seen, "the punch left from another port");
    assert_eq!(nat.send(udp(X1, OTHER)), punched, "further destinations follow");
    assert_eq!(nat.send(udp(X1, Y1)), seen, "the flow that was there stays");
    assert_eq!(refused(&mut nat, udp(PEER, seen)), DropReason::EarlyInbound, "the box eats the peer's packets");
    assert_eq!(nat.receive(udp(PEER, punched)), Ok(at(X1)), "had it known the port");
    assert_eq!(nat.nat.mappings().len(), 2);
    assert_eq!(nat.nat.mappings()[0].internal, nat.nat.mappings()[1].internal);
}

#[test]
fn an_early_packet_to_a_port_that_nobody_has_remaps_too() {
    let mut nat = strict(EarlyInbound::Remap);
    assert_eq!(refused(&mut nat, udp(PEER, "198.51.100.1:5000")), DropReason::NoMapping);
    assert_ne!(nat.send(udp(X1, PEER)).port(), 5000);
    let mut nat = strict(EarlyInbound::Remap);
    assert_eq!(refused(&mut nat, udp(PEER, "198.51.100.1:5000")), DropReason::NoMapping);
    let first = nat.send(udp(X1, Y1));
    assert_eq!(first.port(), 5000, "free towards everybody else");
    assert_ne!(nat.send(udp(X1, PEER)), first);
}

#[test]
fn a_rejected_port_is_not_lost() {
    let mut nat = strict(EarlyInbound::Remap);
    refused(&mut nat, udp(PEER, "198.51.100.1:5000"));
    nat.send(udp(X1, PEER));
    assert_eq!(nat.send(udp(X2, Y1)).port(), 5000);
}

#[test]
fn a_tuple_is_taken_for_the_unreplied_lifetime_after_the_last_early_packet() {
    for (silence, taken) in [(29_999_999_999, true), (30_000_000_000, false)] {
        let mut nat = strict(EarlyInbound::Remap);
        let seen = race(&mut nat);
        nat.wait_seconds(20);
        assert_eq!(refused(&mut nat, udp(PEER, seen)), DropReason::EarlyInbound);
        nat.wait(Duration::from_nanos(silence));
        assert_eq!(nat.send(udp(X1, PEER)) != at("198.51.100.1:5000"), taken);
    }
}

#[test]
fn a_taken_tuple_is_told_neither_to_the_driver_nor_in_a_mapping() {
    let mut nat = strict(EarlyInbound::Remap);
    assert_eq!(refused(&mut nat, udp(PEER, "198.51.100.1:5000")), DropReason::NoMapping);
    assert_eq!((nat.nat.poll_timeout(), nat.nat.mappings()), (None, Vec::new()));
}

#[test]
fn packets_that_are_asked_for_take_nothing() {
    let mut nat = strict(EarlyInbound::Remap);
    let seen = nat.send(udp(X1, PEER));
    assert_eq!(nat.receive(udp(PEER, seen)), Ok(at(X1)));
    nat.wait_seconds(301);
    assert_eq!(nat.send(udp(X1, PEER)), seen);
    let mut nat =
        Rig::new(Behavior { filtering: Filtering::EndpointIndependent.into(), ..behavior(EarlyInbound::Remap) });
    let seen = nat.send(udp(X1, Y1));
    assert_eq!(nat.receive(udp(PEER, seen)), Ok(at(X1)), "whoever admits everybody has no early packets");
    assert_eq!(nat.send(udp(X1, PEER)), seen);
}

#[test]
fn a_syn_takes_its_tuple_unless_the_box_resets_it_at_once() {
    for (unsolicited_syn, taken) in [(UnsolicitedSyn::Drop, true), (UnsolicitedSyn::RstNow, false)] {
        let mut nat = Rig::new(Behavior { unsolicited_syn, ..behavior(EarlyInbound::Remap) });
        let seen = nat.send(tcp(X1, Y1, SYN));
        assert_eq!(refused(&mut nat, tcp(PEER, seen, SYN)), DropReason::Filtered);
        assert_eq!(nat.send(tcp(X1, PEER, SYN)) != seen, taken, "{unsolicited_syn}");
    }
    let mut nat = Rig::new(Behavior { unsolicited_syn: UnsolicitedSyn::Drop, ..behavior(EarlyInbound::Remap) });
    let seen = nat.send(tcp(X1, Y1, SYN));
    assert_eq!(refused(&mut nat, tcp(PEER, seen, ACK)), DropReason::Filtered);
    assert_eq!(nat.send(tcp(X1, PEER, SYN)), seen, "a segment that opens nothing takes nothing");
}

#[test]
fn a_ping_from_outside_takes_no_identifier() {
    let mut nat = strict(EarlyInbound::Remap);
    let seen = nat.send(ping(X1, "192.0.2.1"));
    refused(&mut nat, ping(format!("192.0.2.77:{}", seen.port()), EXTERNAL));
    assert_eq!(nat.send(ping(X1, "192.0.2.77")), seen);
}

#[test]
fn hairpinned_packets_are_never_early() {
    for early_inbound in [EarlyInbound::Remap, EarlyInbound::Destroy, EarlyInbound::Blacklist] {
        let mut nat = strict(early_inbound);
        let (first, second) = (nat.send(udp(X1, Y1)), nat.send(udp(X2, Y1)));
        assert_eq!(nat.hairpin(udp(X1, second)), Err(DropReason::Filtered));
        assert_eq!(nat.hairpin(udp(X2, first)), Ok((second, at(X1))), "{early_inbound}");
    }
}

#[test]
fn a_flood_of_early_packets_is_remembered_within_bounds_and_forgotten_in_time() {
    let mut nat = strict(EarlyInbound::Remap);
    let flood = |nat: &mut Rig, net: u16| {
        for n in 0..70_000u32 {
            let source = format!("203.0.{}.{}:{}", net + (n >> 16) as u16, n >> 8 & 0xff, 1 + (n & 0xff));
            refused(nat, udp(source, "198.51.100.1:5000"));
        }
    };
    flood(&mut nat, 0);
    assert_eq!(refused(&mut nat, udp(PEER, "198.51.100.1:5000")), DropReason::NoMapping, "no room to remember it");
    assert_eq!(nat.send(udp(X1, PEER)).port(), 5000);
    nat.wait_seconds(31);
    assert_eq!(refused(&mut nat, udp(OTHER, "198.51.100.1:5000")), DropReason::NoMapping);
    assert_eq!(refused(&mut nat, udp(OTHER, "198.51.100.1:5000")), DropReason::EarlyInbound, "room again");
}

#[test]
fn an_early_packet_destroys_the_mapping_that_it_was_sent_to() {
    let mut nat = strict(EarlyInbound::Destroy);
    let seen = nat.send(udp(X1, Y1));
    nat.send(udp(X1, OTHER));
    let mut early = udp(PEER, seen);
    let before = nat.nat.mappings()[0];
    let verdict = nat.inbound(&mut early);
    let Verdict::Drop(Refusal { reason, mapping, .. }) = verdict else { panic!("{verdict:?}") };
    assert_eq!((reason, mapping), (DropReason::Filtered, Some(before.id)));
    let ended = nat.wait_seconds(0);
    assert_eq!((ended.len(), ended[0].why, ended[0].mapping), (1, MappingEnd::Killed, before));
    assert_eq!(nat.receive(udp(Y1, seen)), Err(DropReason::NoMapping), "for everybody");
}

#[test]
fn an_admitted_packet_destroys_nothing() {
    let mut nat = strict(EarlyInbound::Destroy);
    let seen = nat.send(udp(X1, PEER));
    assert_eq!(nat.receive(udp(PEER, seen)), Ok(at(X1)));
    assert_eq!(nat.nat.mappings().len(), 1);
}

#[test]
fn an_early_source_is_refused_for_its_time_also_after_it_has_been_sent_to() {
    let mut nat = strict(EarlyInbound::Blacklist);
    let seen = race(&mut nat);
    assert_eq!(nat.send(udp(X1, PEER)), seen);
    for _ in 0..3 {
        assert_eq!(refused(&mut nat, udp(PEER, seen)), DropReason::Blacklisted);
        assert_eq!(refused(&mut nat, udp("192.0.2.77:1", seen)), DropReason::Blacklisted, "the address, not the port");
        nat.wait_seconds(10);
        nat.send(udp(X1, PEER));
        nat.send(udp(X1, Y1));
    }
    assert_eq!(nat.receive(udp(PEER, seen)), Ok(at(X1)), "30 s after its first packet");
    assert_eq!(nat.receive(udp(Y1, seen)), Ok(at(X1)), "others never noticed");
}

#[test]
fn a_firewall_destroys_and_blacklists_what_it_does_not_translate() {
    for (translation, source, internal) in [
        (TranslationKind::None, "192.0.2.77:6000", "10.0.0.2:5000"),
        (TranslationKind::Napt, "[2001:db8::77]:6000", "[2001:db8:1::2]:5000"),
    ] {
        let server = if source.starts_with('[') { "[2001:db8::1]:1000" } else { Y1 };
        let mut nat = Rig::new(Behavior { translation, ..behavior(EarlyInbound::Blacklist) });
        nat.send(udp(internal, server));
        refused(&mut nat, udp(source, internal));
        nat.send(udp(internal, source));
        assert_eq!(refused(&mut nat, udp(source, internal)), DropReason::Blacklisted);
        let mut nat = Rig::new(Behavior { translation, ..behavior(EarlyInbound::Destroy) });
        nat.send(udp(internal, server));
        refused(&mut nat, udp(source, internal));
        assert_eq!(nat.nat.mappings(), []);
    }
}

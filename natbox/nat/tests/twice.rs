//! Twice NAT (RFC 2663 section 4.3): outside hosts that go by other addresses inside.

mod common;

use common::*;
use natbox_nat::behavior::*;
use natbox_nat::{Behavior, Output, Verdict};
use natbox_wire::{DropReason, Packet};

/// The example of RFC 2663 section 4.3: 200.200.200.100 outside goes by 172.16.1.100 inside, where the same network is.
fn twice() -> Rig {
    let aliases = vec![Alias { inside: ip("172.16.1.100"), outside: ip("200.200.200.100") }];
    Rig::with_addresses(Behavior { aliases, ..Behavior::default() }, &["138.76.28.1"])
}

fn leaving(nat: &mut Rig, mut packet: Packet) -> Packet {
    assert!(matches!(nat.outbound(&mut packet), Verdict::Forward(_)));
    packet
}

fn arriving(nat: &mut Rig, mut packet: Packet) -> Packet {
    assert!(matches!(nat.inbound(&mut packet), Verdict::Forward(_)));
    packet
}

#[test]
fn both_addresses_change_on_the_way_out_and_back() {
    let mut nat = twice();
    for (request, answer) in [
        (udp("200.200.200.1:5000", "172.16.1.100:53"), None),
        (tcp("200.200.200.1:5000", "172.16.1.100:53", SYN), Some(SYN_ACK)),
    ] {
        let left = leaving(&mut nat, request.clone());
        assert_eq!((left.source(), left.destination_endpoint()), (ip("138.76.28.1"), at("200.200.200.100:53")));
        assert!(left.transport_checksum_ok());
        let (from, to) = (left.destination_endpoint(), left.source_endpoint());
        let back = arriving(&mut nat, answer.map_or_else(|| udp(from, to), |flags| tcp(from, to, flags)));
        assert_eq!(
            (back.source_endpoint(), back.destination_endpoint()),
            (at("172.16.1.100:53"), at("200.200.200.1:5000"))
        );
        assert!(back.transport_checksum_ok());
    }
    let left = leaving(&mut nat, ping("200.200.200.1:7", "172.16.1.100"));
    assert_eq!((left.source(), left.destination()), (ip("138.76.28.1"), ip("200.200.200.100")));
    let back = arriving(&mut nat, pong("200.200.200.100", left.source_endpoint()));
    assert_eq!((back.source(), back.destination_endpoint()), (ip("172.16.1.100"), at("200.200.200.1:7")));
}

#[test]
fn a_host_inside_may_have_the_address_of_the_host_outside() {
    let mut nat = twice();
    let left = leaving(&mut nat, udp("200.200.200.100:5000", "172.16.1.100:5000"));
    assert_eq!(left.destination_endpoint(), at("200.200.200.100:5000"));
    let back = arriving(&mut nat, udp(left.destination_endpoint(), left.source_endpoint()));
    assert_eq!(back.source_endpoint(), at("172.16.1.100:5000"));
    assert_eq!(back.destination_endpoint(), at("200.200.200.100:5000"));
}

#[test]
fn it_is_to_be_routed_by_its_address_outside() {
    let nat = twice();
    assert_eq!(nat.nat.outside_of(ip("172.16.1.100")), ip("200.200.200.100"));
    assert_eq!(nat.nat.outside_of(ip("172.16.1.101")), ip("172.16.1.101"));
}

#[test]
fn an_error_from_outside_quotes_what_the_inside_sent() {
    for from in ["200.200.200.100", "203.0.113.9"] {
        let mut nat = twice();
        let sent = udp("200.200.200.1:5000", "172.16.1.100:53");
        let left = leaving(&mut nat, sent.clone());
        let told = arriving(&mut nat, error(from, &left));
        let quoted = told.quoted().expect("a quote");
        assert_eq!((quoted.source, quoted.destination), (sent.source_endpoint(), sent.destination_endpoint()));
        let shown = if from == "200.200.200.100" { "172.16.1.100" } else { from };
        assert_eq!((told.source(), told.destination()), (ip(shown), ip("200.200.200.1")));
        assert!(told.transport_checksum_ok());
    }
}

#[test]
fn an_error_from_inside_quotes_what_the_outside_sent() {
    let mut nat = twice();
    let left = leaving(&mut nat, udp("200.200.200.1:5000", "172.16.1.100:53"));
    let answer = udp(left.destination_endpoint(), left.source_endpoint());
    let arrived = arriving(&mut nat, answer.clone());
    let told = leaving(&mut nat, error("200.200.200.1", &arrived));
    let quoted = told.quoted().expect("a quote");
    assert_eq!((quoted.source, quoted.destination), (answer.source_endpoint(), answer.destination_endpoint()));
    assert_eq!((told.source(), told.destination()), (ip("138.76.28.1"), ip("200.200.200.100")));
    assert!(told.transport_checksum_ok());
}

#[test]
fn a_refused_packet_keeps_its_alias() {
    let aliases = vec![Alias { inside: ip("172.16.1.100"), outside: ip("200.200.200.100") }];
    let outbound = Outbound { udp: Reach::Nothing, ..Behavior::default().outbound };
    let mut nat = Rig::new(Behavior { aliases, outbound, ..Behavior::default() });
    // `Rig::outbound` checks that a dropped packet is as it came.
    assert_eq!(nat.refusal(udp("200.200.200.1:5000", "172.16.1.100:53")), DropReason::OutboundBlocked);
    assert_eq!(nat.receive(udp("200.200.200.100:1", "198.51.100.1:9")), Err(DropReason::NoMapping));
}

#[test]
fn a_fragment_that_was_held_in_vain_is_told_of_as_it_came() {
    // The host answers to both of its addresses; what becomes of a packet must not say which one was used.
    for called in ["172.16.1.100:53", "200.200.200.100:53"] {
        let mut nat = twice();
        let sent = pieces::datagram("200.200.200.1:5000", called, 7, 3000);
        let later = pieces::cut(&sent, 1500).pop().expect("a last fragment");
        assert!(matches!(nat.outbound(&mut later.clone()), Verdict::Hold(_)));
        nat.wait_seconds(30);
        match &nat.outputs()[..] {
            [Output::Discard { packet, .. }] => assert_eq!(*packet, later, "sent to {called}"),
            other => panic!("{other:?}"),
        }
    }
}

#[test]
fn an_outside_host_that_begins_is_shown_by_its_alias() {
    let mut nat = twice();
    let external = nat.send(udp("200.200.200.1:5000", Y1));
    let arrived = arriving(&mut nat, udp("200.200.200.100:9", external));
    assert_eq!(arrived.source_endpoint(), at("172.16.1.100:9"));
    let answered = leaving(&mut nat, udp("200.200.200.1:5000", "172.16.1.100:9"));
    assert_eq!((answered.source_endpoint(), answered.destination_endpoint()), (external, at("200.200.200.100:9")));
}

#[test]
fn others_keep_their_addresses() {
    let mut nat = twice();
    let left = leaving(&mut nat, udp("200.200.200.1:5000", Y1));
    assert_eq!(left.destination_endpoint(), at(Y1));
    let back = arriving(&mut nat, udp(Y1, left.source_endpoint()));
    assert_eq!(back.source_endpoint(), at(Y1));
}

#[test]
fn a_firewall_has_aliases_too_and_so_has_ipv6() {
    let aliases = vec![
        Alias { inside: ip("172.16.1.100"), outside: ip("192.0.2.1") },
        Alias { inside: ip("fd00::100"), outside: ip("2001:db8::1") },
    ];
    let firewall = Behavior { translation: TranslationKind::None, aliases, ..Behavior::default() };
    let router = Behavior { filtering: Filtering::Off.into(), ..firewall.clone() };
    for behavior in [firewall, router] {
        for (host, alias, own) in [
            ("10.0.0.2:5000", "172.16.1.100:53", "192.0.2.1:53"),
            ("[2001:db8:1::2]:5000", "[fd00::100]:53", "[2001:db8::1]:53"),
        ] {
            // Without state the verdict is `Pass`, which this test does not insist on.
            let mut nat = Rig::new(behavior.clone());
            let mut packet = udp(host, alias);
            let _ = nat.nat.outbound(&mut packet, nat.now);
            assert_eq!((packet.source_endpoint(), packet.destination_endpoint()), (at(host), at(own)));
            let mut packet = udp(own, host);
            let _ = nat.nat.inbound(&mut packet, nat.now);
            assert_eq!((packet.source_endpoint(), packet.destination_endpoint()), (at(alias), at(host)));
        }
    }
}

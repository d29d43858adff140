//! RFC 5508 (ICMP), requirement by requirement, as far as this NAT claims them.
//!
//! Not claimed here: what the gateway sends itself (REQ-8 to REQ-10), queries other than echo (REQ-1 names them).

mod common;

use common::*;
use natbox_nat::behavior::*;
use natbox_nat::{Behavior, Verdict};
use natbox_wire::{DropReason, Packet};

fn dropped(verdict: Verdict) -> DropReason {
    match verdict {
        Verdict::Drop(refusal) => refusal.reason,
        other => panic!("was to be dropped: {other:?}"),
    }
}

#[test]
fn req_01_an_echo_reply_reaches_the_sender_with_its_own_identifier() {
    let mut nat = Rig::new(Behavior::default());
    let external = nat.send(ping(X1, "192.0.2.1"));
    assert_ne!(external.port(), 5000, "the identifier is rewritten");
    assert_eq!(nat.receive(pong("192.0.2.1", external)), Ok(at(X1)));
}

#[test]
fn req_01_a_session_begins_with_a_request_not_with_a_reply() {
    let mut nat = Rig::new(Behavior::default());
    assert_eq!(nat.refusal(pong("10.0.0.2", at("192.0.2.1:5000"))), DropReason::NoSession);
    assert!(nat.nat.mappings().is_empty());
}

#[test]
fn req_01_two_hosts_with_one_identifier_get_two() {
    let mut nat = Rig::new(Behavior::default());
    let (first, second) = (nat.send(ping(X1, "192.0.2.1")), nat.send(ping(X2, "192.0.2.1")));
    assert_ne!(first, second);
    assert_eq!(nat.receive(pong("192.0.2.1", second)), Ok(at(X2)));
}

#[test]
fn req_01a_one_identifier_has_one_mapping_towards_every_remote() {
    let mut nat = Rig::new(Behavior::default());
    assert_eq!(nat.send(ping(X1, "192.0.2.1")), nat.send(ping(X1, "192.0.2.2")));
}

#[test]
fn req_02_an_echo_session_lives_sixty_seconds() {
    let mut nat = Rig::new(Behavior::default());
    let external = nat.send(ping(X1, "192.0.2.1"));
    nat.wait_seconds(59);
    assert_eq!(nat.receive(pong("192.0.2.1", external)), Ok(at(X1)));
    nat.wait_seconds(1);
    assert_eq!(nat.receive(pong("192.0.2.1", external)), Err(DropReason::NoMapping));
}

#[test]
fn echo_filtering_knows_addresses_only() {
    for filtering in [Filtering::AddressDependent, Filtering::AddressAndPortDependent] {
        let mut nat = Rig::new(Behavior { filtering: filtering.into(), ..Behavior::default() });
        let external = nat.send(ping(X1, "192.0.2.1"));
        assert_eq!(nat.receive(pong("192.0.2.1", external)), Ok(at(X1)));
        assert_eq!(nat.receive(pong("192.0.2.2", external)), Err(DropReason::Filtered));
    }
}

/// A NAT that leaves identifications alone: what it quotes can be held against what was sent.
fn copying() -> Behavior {
    Behavior { ip_id: IpId::Copy, ..Behavior::default() }
}

/// A packet of every protocol from X1 to Y1, as sent.
fn every_protocol() -> [Packet; 3] {
    [udp(X1, Y1), tcp(X1, Y1, SYN), ping(X1, "192.0.2.1")]
}

#[test]
fn req_03_an_error_with_a_wrong_checksum_is_dropped() {
    let mut nat = Rig::new(Behavior::default());
    let mut sent = udp(X1, Y1);
    nat.outbound(&mut sent);
    let mut bytes = error("192.0.2.1", &sent).into_bytes();
    *bytes.last_mut().expect("bytes") ^= 1;
    let mut spoilt = Packet::parse(bytes).expect("the transport checksum is not the parser's business");
    assert_eq!(dropped(nat.inbound(&mut spoilt)), DropReason::BadTransportChecksum);
}

#[test]
fn req_04_an_inbound_error_without_a_session_is_dropped() {
    let mut nat = Rig::new(Behavior::default());
    let external = nat.send(udp(X1, Y1));
    let stray = udp(external, Y2);
    assert_eq!(dropped(nat.inbound(&mut error("192.0.2.2", &stray))), DropReason::IcmpNoSession);
}

#[test]
fn req_04_an_inbound_error_is_translated_inside_and_out() {
    for mut packet in every_protocol() {
        let mut nat = Rig::new(copying());
        let (internal, before) = (packet.source_endpoint(), packet.clone());
        nat.outbound(&mut packet);
        let mut told = error("203.0.113.77", &packet);
        assert!(forwarded(nat.inbound(&mut told)).quoted);
        assert_eq!((told.source(), told.destination()), (ip("203.0.113.77"), internal.ip()));
        let quote = told.quoted().expect("a quote");
        assert_eq!((quote.source, quote.destination), (internal, before.destination_endpoint()));
        assert!(told.transport_checksum_ok());
        let whole = quoted_packet(&told);
        assert_eq!(whole.bytes(), before.bytes(), "the quote is what the host sent, checksums and all");
    }
}

/// The packet quoted by an error that quotes all of it.
fn quoted_packet(error: &Packet) -> Packet {
    Packet::parse(error.payload().to_vec()).expect("a whole packet is quoted")
}

#[test]
fn req_05_an_outbound_error_is_translated_inside_and_out() {
    for from in ["10.0.0.2", "10.0.0.254"] {
        for sent in every_protocol() {
            let mut nat = Rig::new(Behavior::default());
            let external = nat.send(sent.clone());
            let mut answer = match sent.protocol().expect("a session's packet") {
                natbox_wire::Protocol::Icmp => pong("192.0.2.1", external),
                protocol => packet(protocol, at(Y1), external, SYN_ACK),
            };
            let outside = answer.clone();
            nat.inbound(&mut answer);
            let mut told = error(from, &answer);
            assert!(forwarded(nat.outbound(&mut told)).quoted);
            assert_eq!((told.source(), told.destination()), (external.ip(), ip("192.0.2.1")));
            assert_eq!(quoted_packet(&told).bytes(), outside.bytes());
        }
    }
}

#[test]
fn req_05_an_outbound_error_needs_no_session_affinity() {
    for session_affinity in [SessionAffinity::On, SessionAffinity::Off] {
        let mut nat = Rig::new(Behavior {
            mapping: Mapping::AddressAndPortDependent.into(),
            session_affinity,
            ..Behavior::default()
        });
        let external = nat.send(udp(X1, Y1));
        let mut probe = udp(Y2, external);
        forwarded(nat.inbound(&mut probe));
        let mut told = error("10.0.0.2", &probe);
        assert!(forwarded(nat.outbound(&mut told)).quoted, "affinity {session_affinity}");
        assert_eq!(told.source(), external.ip());
        assert_eq!(told.quoted().expect("a quote").destination, external);
    }
}

#[test]
fn req_05_an_outbound_error_without_a_session_is_dropped() {
    let mut nat = Rig::new(Behavior::default());
    assert_eq!(dropped(nat.outbound(&mut error("10.0.0.2", &udp(Y1, X1)))), DropReason::IcmpNoSession);
}

#[test]
fn req_06_an_error_about_a_query_neither_refreshes_nor_ends_its_session() {
    let mut nat = Rig::new(Behavior { refresh: Refresh::Both, ..Behavior::default() });
    let mut sent = ping(X1, "192.0.2.1");
    nat.outbound(&mut sent);
    let external = sent.source_endpoint();
    nat.wait_seconds(40);
    assert!(matches!(nat.inbound(&mut error("203.0.113.77", &sent)), Verdict::Forward(_)));
    assert!(nat.wait_seconds(19).is_empty());
    assert_eq!(nat.wait_seconds(1).len(), 1);
    assert_eq!(nat.receive(pong("192.0.2.1", external)), Err(DropReason::NoMapping));
}

#[test]
fn req_07_a_hairpinned_error_is_translated_both_ways_in_one_pass() {
    let mut nat = Rig::new(copying());
    let (first, second) = (nat.send(udp(X1, Y1)), nat.send(udp(X2, Y1)));
    let sent = udp(X1, second);
    let mut arrived = sent.clone();
    nat.outbound(&mut arrived);
    let mut told = error("10.0.0.3", &arrived);
    assert!(matches!(nat.outbound(&mut told), Verdict::Hairpin { .. }));
    assert_eq!((told.source(), told.destination()), (second.ip(), ip("10.0.0.2")));
    assert_eq!(quoted_packet(&told).bytes(), sent.bytes());
    assert_eq!(first.ip(), second.ip());
}

#[test]
fn req_07_a_napt_hairpins_no_query_since_its_one_identifier_cannot_name_both_ends() {
    let mut nat = Rig::with_addresses(Behavior::default(), &["198.51.100.1", "198.51.100.2"]);
    let external = nat.send(ping(X2, "192.0.2.1"));
    for destination in [external, at("198.51.100.2:1")] {
        let request = ping(X1, &destination.ip().to_string());
        assert_eq!(nat.hairpin(request), Err(DropReason::NoMapping));
    }
    assert_eq!(nat.nat.mappings().len(), 1, "nothing is opened");
}

#[test]
fn an_error_to_anybody_but_the_sender_of_the_quoted_packet_is_dropped() {
    let mut nat = Rig::with_addresses(Behavior::default(), &["198.51.100.1", "198.51.100.2"]);
    let mut sent = udp(X1, Y1);
    nat.outbound(&mut sent);
    let mut told = error("192.0.2.1", &sent);
    told.rewrite_destination(at("198.51.100.2:0"));
    assert_eq!(dropped(nat.inbound(&mut told)), DropReason::IcmpNoSession);
}

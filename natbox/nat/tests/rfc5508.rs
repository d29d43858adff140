//! RFC 5508 (ICMP), requirement by requirement, as far as a NAT alone can meet them. What the box sends itself (REQ-8 to
//! REQ-10) is the gateway's: its tests are in natbox-world.

mod common;

use common::*;
use natbox_nat::behavior::*;
use natbox_nat::{Answer, Refusal};
use natbox_nat::{Behavior, Verdict};
use natbox_wire::build::{self, IpFields};
use natbox_wire::{DropReason, IcmpError, Packet, Protocol, Transport};
use proptest::prelude::*;

/// A query of any type with the identifier of `source` (its destination's, in a reply).
fn query(kind: u8, source: &str, destination: &str) -> Packet {
    let (source, destination) = (at(source), at(destination));
    let identifier = if kind % 2 == 1 { source.port() } else { destination.port() };
    let mut message = vec![kind, 0, 0, 0, 0, 0, 0, 1, 0xA, 0xB, 0xC, 0xD];
    message[4..6].copy_from_slice(&identifier.to_be_bytes());
    let sum = natbox_wire::checksum::checksum(&message);
    message[2..4].copy_from_slice(&sum.to_be_bytes());
    build::ip(source.ip(), destination.ip(), 1, IpFields::default(), &message).expect("a packet")
}

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
fn req_01_every_query_with_an_identifier_is_translated_like_echo() {
    let behavior = Behavior { icmp_query: IcmpQuery::All, ..Behavior::default() };
    let mut nat = Rig::new(behavior);
    for request in [13, 15, 17] {
        let mut sent = query(request, X1, "192.0.2.1:0");
        forwarded(nat.outbound(&mut sent));
        let external = sent.source_endpoint();
        assert!(external != at(X1) && sent.transport_checksum_ok());
        let mut reply = query(request + 1, "192.0.2.1:0", &external.to_string());
        forwarded(nat.inbound(&mut reply));
        assert_eq!((reply.destination_endpoint(), reply.transport_checksum_ok()), (at(X1), true));
        assert_eq!(reply.payload(), [0xA, 0xB, 0xC, 0xD]);
    }
    assert_eq!(nat.nat.mappings().len(), 1, "one identifier, one mapping");
}

#[test]
fn req_01_which_queries_pass_is_policy_and_req_08_who_is_refused_is_told() {
    let passes = |icmp_query, packet: Packet| {
        let mut nat = Rig::new(Behavior { icmp_query, ..Behavior::default() });
        match nat.outbound(&mut packet.clone()) {
            Verdict::Forward(_) => Ok(()),
            Verdict::Drop(refusal) => Err((refusal.reason, refusal.answer)),
            other => panic!("{other:?}"),
        }
    };
    let [echo, timestamp, information] = [ping(X1, "192.0.2.1"), query(13, X1, Y1), query(15, X1, Y1)];
    let unknown = Err((DropReason::IcmpUntranslatable, None));
    assert_eq!(passes(IcmpQuery::Permit, timestamp.clone()), Ok(()));
    assert_eq!(passes(IcmpQuery::Permit, information.clone()), unknown, "REQ-10c");
    assert_eq!(passes(IcmpQuery::EchoOnly, timestamp), unknown);
    assert_eq!(passes(IcmpQuery::EchoOnly, echo.clone()), Ok(()));
    let prohibited = Err((DropReason::QueryDenied, Some(Answer::Icmp(IcmpError::AdminProhibited))));
    assert_eq!(passes(IcmpQuery::Deny, echo), prohibited);
    assert_eq!(passes(IcmpQuery::Deny, udp(X1, Y1)), Ok(()));
}

#[test]
fn req_01_nobody_outside_is_told_of_the_policy() {
    let mut nat = Rig::new(Behavior { icmp_query: IcmpQuery::Deny, ..Behavior::default() });
    let verdict = nat.inbound(&mut pong("192.0.2.1", at("198.51.100.1:1")));
    let silent = Refusal { reason: DropReason::QueryDenied, mapping: None, answer: None };
    assert_eq!(verdict, Verdict::Drop(silent));
}

#[test]
fn req_01_any_identifier_may_be_kept_and_two_hosts_never_share_one() {
    for identifier in [0, 1, 5000, 65_535] {
        let behavior = Behavior { icmp_identifier: IcmpIdentifier::Preserve, ..Behavior::default() };
        let mut nat = Rig::new(behavior);
        let of = |host: &str| ping(format!("{host}:{identifier}"), "192.0.2.1");
        assert_eq!(nat.send(of("10.0.0.2")).port(), identifier);
        let second = nat.send(of("10.0.0.3"));
        assert_ne!(second.port(), identifier);
        assert_eq!(nat.receive(pong("192.0.2.1", second)), Ok(at(&format!("10.0.0.3:{identifier}"))));
    }
}

#[test]
fn rfc7857_req_11_an_identifier_is_free_again_with_its_last_session() {
    let mut behavior = Behavior { icmp_identifier: IcmpIdentifier::Preserve, ..Behavior::default() };
    behavior.ports.quarantine = std::time::Duration::ZERO;
    let mut nat = Rig::new(behavior);
    assert_eq!(nat.send(ping(X1, "192.0.2.1")).port(), 5000);
    nat.wait_seconds(30);
    assert_eq!(nat.send(ping(X1, "192.0.2.2")).port(), 5000);
    nat.wait_seconds(59);
    assert_ne!(nat.send(ping(X2, "192.0.2.1")).port(), 5000, "its second session lives");
    nat.wait_seconds(1);
    assert_eq!(nat.send(ping("10.0.0.4:5000", "192.0.2.1")).port(), 5000);
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

/// An error with this type, code and second word about a packet, quoting `quote`, from a router outside or inside.
fn raw_error(router: &str, to: &Packet, kind: [u8; 2], word: [u8; 4], quote: &[u8]) -> Packet {
    let mut message = [&kind[..], &[0, 0], &word, quote].concat();
    let sum = natbox_wire::checksum::checksum(&message);
    message[2..4].copy_from_slice(&sum.to_be_bytes());
    build::ip(ip(router), to.source(), 1, IpFields::default(), &message).expect("a packet")
}

const ROUTER: &str = "203.0.113.77";

/// A packet's bytes with its IP checksum made wrong.
fn with_bad_ip_checksum(packet: &Packet) -> Vec<u8> {
    let mut bytes = packet.bytes().to_vec();
    bytes[10] ^= 0xFF;
    bytes
}

#[test]
fn req_03a_an_error_that_quotes_a_wrong_ip_checksum_is_dropped() {
    let mut nat = Rig::new(Behavior::default());
    let mut sent = udp(X1, Y1);
    nat.outbound(&mut sent);
    let mut told = raw_error(ROUTER, &sent, [3, 3], [0; 4], &with_bad_ip_checksum(&sent));
    assert_eq!(dropped(nat.inbound(&mut told)), DropReason::BadQuotedChecksum);
}

#[test]
fn boxes_that_verify_nothing_let_wrong_checksums_pass_and_leave_them_wrong() {
    let mut nat = Rig::new(Behavior { icmp_verify: Switch::Off, ..Behavior::default() });
    let mut sent = udp(X1, Y1);
    nat.outbound(&mut sent);
    let mut told = raw_error(ROUTER, &sent, [3, 3], [0; 4], &with_bad_ip_checksum(&sent));
    forwarded(nat.inbound(&mut told));
    assert!(told.transport_checksum_ok() && !told.quoted_ip_checksum_ok());
    assert_eq!(told.quoted().expect("a quote").source, at(X1));
    let mut bytes = error(ROUTER, &sent).into_bytes();
    *bytes.last_mut().expect("bytes") ^= 1;
    let mut spoilt = Packet::parse(bytes).expect("a packet");
    forwarded(nat.inbound(&mut spoilt));
    assert!(!spoilt.transport_checksum_ok() && spoilt.quoted().expect("a quote").source == at(X1));
}

#[test]
fn req_03c_a_quote_of_eight_bytes_is_enough_and_one_of_seven_is_not() {
    for sent in every_protocol() {
        let mut nat = Rig::new(copying());
        let (before, mut sent) = (sent.clone(), sent);
        nat.outbound(&mut sent);
        let mut told = raw_error(ROUTER, &sent, [11, 0], [0; 4], &sent.bytes()[..28]);
        forwarded(nat.inbound(&mut told));
        assert_eq!(told.payload(), &before.bytes()[..28]);
        let mut cut = raw_error(ROUTER, &sent, [11, 0], [0; 4], &sent.bytes()[..27]);
        assert_eq!(dropped(nat.inbound(&mut cut)), DropReason::IcmpNoSession);
    }
}

#[test]
fn req_03c_a_wrong_transport_checksum_in_a_quote_hinders_nothing_and_stays_wrong() {
    for sent in [udp(X1, Y1), tcp(X1, Y1, SYN)] {
        let mut nat = Rig::new(Behavior::default());
        let mut sent = sent;
        nat.outbound(&mut sent);
        let mut quote = sent.bytes().to_vec();
        *quote.last_mut().expect("bytes") ^= 1;
        let mut told = raw_error(ROUTER, &sent, [3, 1], [0; 4], &quote);
        forwarded(nat.inbound(&mut told));
        assert!(told.transport_checksum_ok() && !quoted_packet(&told).transport_checksum_ok());
    }
}

#[test]
fn req_03d_extensions_are_no_part_of_the_quoted_packet() {
    // RFC 4884: 128 bytes of quote, padded with zeros, then an MPLS label stack of eight bytes.
    let extension = [0x20, 0, 0xDF, 0xFF, 0, 8, 1, 1, 0, 0x10, 0x1, 0xFF];
    for sent in every_protocol() {
        let mut nat = Rig::new(copying());
        let (before, mut sent) = (sent.clone(), sent);
        nat.outbound(&mut sent);
        let mut quote = sent.bytes().to_vec();
        quote.resize(128, 0);
        quote.extend_from_slice(&extension);
        let mut told = raw_error(ROUTER, &sent, [11, 0], [0, 32, 0, 0], &quote);
        forwarded(nat.inbound(&mut told));
        let length = before.bytes().len();
        assert_eq!(&told.payload()[..length], before.bytes());
        assert_eq!(told.payload()[length..128], vec![0; 128 - length]);
        assert_eq!(told.payload()[128..], extension);
        assert_eq!(told.ip_payload()[4..8], [0, 32, 0, 0]);
    }
}

#[test]
fn req_04_type_code_and_second_word_stay_as_they_are() {
    let mut nat = Rig::new(Behavior::default());
    let mut sent = udp(X1, Y1);
    nat.outbound(&mut sent);
    let codes = |kind, codes: std::ops::RangeInclusive<u8>| codes.map(move |code| [kind, code]);
    for kind in codes(3, 0..=15).chain(codes(11, 0..=1)).chain(codes(12, 0..=2)) {
        let word = if kind == [3, 4] { [0, 0, 5, 0xDC] } else { [8, 0, 0, 0] };
        let mut told = raw_error(ROUTER, &sent, kind, word, sent.bytes());
        forwarded(nat.inbound(&mut told));
        assert_eq!((told.ip_payload()[..2].to_vec(), told.ip_payload()[4..8].to_vec()), (kind.to_vec(), word.to_vec()));
        assert!(told.transport_checksum_ok());
    }
}

#[test]
fn req_10c_and_11_source_quench_redirect_and_what_is_neither_query_nor_error_are_dropped() {
    let mut nat = Rig::new(Behavior::default());
    let mut sent = udp(X1, Y1);
    nat.outbound(&mut sent);
    for kind in [[4, 0], [5, 1], [9, 0], [10, 0], [30, 0], [40, 0], [42, 0]] {
        let mut told = raw_error(ROUTER, &sent, kind, [0; 4], sent.bytes());
        assert_eq!(dropped(nat.inbound(&mut told)), DropReason::IcmpUntranslatable, "{kind:?}");
        let mut out = raw_error("10.0.0.2", &udp(Y1, X1), kind, [0; 4], udp(Y1, X1).bytes());
        assert_eq!(dropped(nat.outbound(&mut out)), DropReason::IcmpUntranslatable, "{kind:?}");
    }
}

#[test]
fn req_04_no_error_is_translated_by_an_error_a_later_fragment_or_a_protocol_without_sessions() {
    let mut nat = Rig::new(Behavior::default());
    let mut sent = udp(X1, Y1);
    nat.outbound(&mut sent);
    let inner = error("198.51.100.1", &udp(Y1, sent.source_endpoint()));
    let mut later = sent.bytes().to_vec();
    later[6..8].copy_from_slice(&[0, 1]);
    let later = with_right_ip_checksum(later);
    let mut other = sent.bytes().to_vec();
    other[9] = 47;
    let other = with_right_ip_checksum(other);
    for quote in [inner.bytes(), &later, &other, &[]] {
        let mut told = raw_error(ROUTER, &sent, [3, 3], [0; 4], quote);
        assert_eq!(dropped(nat.inbound(&mut told)), DropReason::IcmpNoSession);
    }
}

fn with_right_ip_checksum(mut bytes: Vec<u8>) -> Vec<u8> {
    bytes[10..12].fill(0);
    let header = usize::from(bytes[0] & 15) * 4;
    let sum = natbox_wire::checksum::checksum(&bytes[..header]);
    bytes[10..12].copy_from_slice(&sum.to_be_bytes());
    bytes
}

/// A packet with as many no-operation options as fit into `words` of four bytes.
fn with_options(packet: &Packet, words: u8) -> Packet {
    let mut bytes = packet.bytes()[..20].to_vec();
    bytes.extend(std::iter::repeat_n(1, usize::from(words) * 4));
    bytes.extend_from_slice(&packet.bytes()[20..]);
    bytes[0] = 0x45 + words;
    let total = bytes.len() as u16;
    bytes[2..4].copy_from_slice(&total.to_be_bytes());
    Packet::parse(with_right_ip_checksum(bytes)).expect("a packet")
}

#[test]
fn section_7_3_no_error_that_quotes_a_source_route_goes_through() {
    let mut nat = Rig::new(Behavior::default());
    let mut sent = udp(X1, Y1);
    nat.outbound(&mut sent);
    for (option, passes) in [(131, false), (137, false), (7, true)] {
        let mut quote = sent.bytes().to_vec();
        quote.splice(20..20, [1, option, 7, 4, 0, 0, 0, 0]);
        (quote[0], quote[3]) = (0x47, quote[3] + 8);
        let quote = with_right_ip_checksum(quote);
        let verdict = nat.inbound(&mut raw_error(ROUTER, &sent, [11, 0], [0; 4], &quote));
        match passes {
            true => assert!(forwarded(verdict).quoted),
            false => assert_eq!(dropped(verdict), DropReason::SourceRoute),
        }
    }
}

prop_compose! {
    /// A packet of a session of X1's, as X1 sends it: any transport, IHL 5 to 15, with or without a UDP checksum.
    fn any_sent()(
        protocol in prop::sample::select(vec![Protocol::Udp, Protocol::Tcp, Protocol::Icmp]), words in 0..=10_u8,
        payload in prop::collection::vec(any::<u8>(), 0..60), checksum: bool, host in 1..4_u8, port: u16,
    ) -> Packet {
        let (from, to) = (at(&format!("10.0.0.{host}:{}", port.max(1))), at(Y1));
        let fields = IpFields { dont_fragment: true, ..IpFields::default() };
        let plain = match protocol {
            Protocol::Udp => build::udp(from, to, fields, &payload),
            Protocol::Tcp => build::tcp(from, to, fields, SYN, 7, 9, 1000, &payload),
            Protocol::Icmp => build::echo(true, from.ip(), to.ip(), fields, port, 1, &payload),
        };
        let mut bytes = with_options(&plain.expect("one version"), words).into_bytes();
        if protocol == Protocol::Udp && !checksum {
            let at = 26 + usize::from(words) * 4;
            bytes[at..at + 2].fill(0);
        }
        Packet::parse(bytes).expect("a packet")
    }
}

proptest! {
    /// An error about any packet, quoting any part of it, shows its sender that part as it was sent, and is as sound as
    /// if somebody had written it anew.
    #[test]
    fn req_03_to_05_a_translated_error_quotes_what_its_receiver_sent(
        sent in any_sent(), kind in prop::sample::select(vec![[3, 0], [3, 3], [3, 4], [3, 13], [11, 0], [12, 0]]),
        cut in any::<prop::sample::Index>(), extension in any::<bool>(),
    ) {
        let mut nat = Rig::new(Behavior::default());
        let mut outside = sent.clone();
        forwarded(nat.outbound(&mut outside));
        let least = sent.bytes().len() - sent.ip_payload().len() + 8;
        let mut length = least + cut.index(sent.bytes().len() - least + 1);
        // Half a TCP checksum cannot be mended.
        length -= usize::from(sent.protocol() == Some(Protocol::Tcp) && length == least + 9);
        let mut quote = outside.bytes()[..length].to_vec();
        let mut word = [0; 4];
        if extension {
            quote.resize(length.next_multiple_of(4), 0);
            word[1] = (quote.len() / 4) as u8;
            quote.extend_from_slice(&[0x20, 0, 0, 0, 0, 8, 1, 1, 1, 2, 3, 4]);
        }
        let mut told = raw_error(ROUTER, &outside, kind, word, &quote);
        let rest = told.payload()[length..].to_vec();
        prop_assert!(forwarded(nat.inbound(&mut told)).quoted);
        prop_assert_eq!((told.source(), told.destination()), (ip(ROUTER), sent.source()));
        prop_assert_eq!((&told.payload()[..length], &told.payload()[length..]), (&sent.bytes()[..length], &rest[..]));
        let anew = raw_error(ROUTER, &sent, kind, word, told.payload());
        prop_assert_eq!(told.bytes(), anew.bytes(), "every checksum as computed anew");
    }

    /// And the other way: what comes in, and the inside cannot use.
    #[test]
    fn req_05_a_translated_error_from_inside_quotes_what_came(sent in any_sent(), router: bool) {
        let mut nat = Rig::new(Behavior::default());
        let mut out = sent.clone();
        forwarded(nat.outbound(&mut out));
        let external = out.source_endpoint();
        let came = match sent.protocol() {
            Some(Protocol::Icmp) => pong("192.0.2.1", external),
            protocol => packet(protocol.expect("a session's packet"), at(Y1), external, SYN_ACK),
        };
        let mut inside = came.clone();
        forwarded(nat.inbound(&mut inside));
        let from = if router { "10.0.0.254".to_owned() } else { sent.source().to_string() };
        let mut told = raw_error(&from, &inside, [3, 3], [0; 4], inside.bytes());
        forwarded(nat.outbound(&mut told));
        prop_assert_eq!((told.source(), told.destination()), (external.ip(), ip("192.0.2.1")));
        prop_assert_eq!(told.payload(), came.bytes());
        prop_assert!(told.transport_checksum_ok());
    }
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
                Protocol::Icmp => pong("192.0.2.1", external),
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

#[test]
fn rfc7857_req_12_hairpinned_errors_pass_for_every_protocol_that_hairpins() {
    for protocol in [Protocol::Udp, Protocol::Tcp] {
        let mut nat = Rig::new(copying());
        let second = nat.send(packet(protocol, at(X2), at(Y1), SYN));
        let sent = packet(protocol, at(X1), second, SYN);
        let mut arrived = sent.clone();
        assert!(matches!(nat.outbound(&mut arrived), Verdict::Hairpin { .. }));
        let mut told = error("10.0.0.254", &arrived);
        let Verdict::Hairpin { source, destination } = nat.outbound(&mut told) else { panic!("to be turned round") };
        assert!(source.quoted && destination.quoted && source.mapping != destination.mapping);
        assert_eq!((told.source(), told.destination()), (second.ip(), ip("10.0.0.2")), "an inner router is hidden");
        assert_eq!(quoted_packet(&told).bytes(), sent.bytes());
        assert!(matches!(told.transport(), Transport::IcmpError(IcmpError::PortUnreachable)));
    }
}

#[test]
fn req_08_a_flow_without_a_port_is_prohibited_and_no_live_session_is_stolen() {
    let mut behavior = Behavior::default();
    behavior.ports.range = (4000..=4000).into();
    let mut rig = Rig::new(behavior);
    let external = rig.send(udp(X1, Y1));
    let mut second = udp(X2, Y1);
    let Verdict::Drop(refusal) = rig.outbound(&mut second) else { panic!("no port is left") };
    assert_eq!(refusal.answer, Some(natbox_nat::Answer::Icmp(natbox_wire::IcmpError::AdminProhibited)));
    assert_eq!(rig.receive(udp(Y1, external)), Ok(at(X1)));
}

/// Basic NAT, where alice and bob have spoken, alice first.
fn basic(filtering: Filtering) -> Rig {
    let translation = TranslationKind::Basic;
    let behavior = Behavior { translation, filtering: filtering.into(), ip_id: IpId::Copy, ..Behavior::default() };
    let mut nat = Rig::with_addresses(behavior, &["198.51.100.1", "198.51.100.2", "198.51.100.3"]);
    assert_eq!(nat.send(ping(X1, "192.0.2.1")), at("198.51.100.1:5000"));
    assert_eq!(nat.send(ping(X2, "192.0.2.1")), at("198.51.100.2:5000"));
    nat
}

#[test]
fn req_07_and_rfc7857_req_12_basic_nat_hairpins_queries_and_their_replies() {
    let mut nat = basic(Filtering::EndpointIndependent);
    let mut request = ping("10.0.0.2:77", "198.51.100.2");
    assert!(matches!(nat.outbound(&mut request), Verdict::Hairpin { .. }));
    assert_eq!((request.source_endpoint(), request.destination_endpoint()), (at("198.51.100.1:77"), at("10.0.0.3:77")));
    let mut reply = pong("10.0.0.3", at("198.51.100.1:77"));
    assert!(matches!(nat.outbound(&mut reply), Verdict::Hairpin { .. }));
    assert_eq!((reply.source_endpoint(), reply.destination_endpoint()), (at("198.51.100.2:77"), at("10.0.0.2:77")));
}

#[test]
fn req_07_a_hairpinned_query_is_filtered_as_any_other_packet() {
    let mut nat = basic(Filtering::AddressDependent);
    assert!(nat.hairpin(ping("10.0.0.2:77", "198.51.100.2")).is_err(), "bob has not spoken to alice");
}

#[test]
fn req_05c_behind_basic_nat_a_router_with_an_address_of_its_own_speaks_from_it() {
    for (router, spoken, source) in [("10.0.0.254", false, "198.51.100.1"), ("10.0.0.3", true, "198.51.100.2")] {
        let mut nat = basic(Filtering::EndpointIndependent);
        let mut came = pong("192.0.2.1", at("198.51.100.1:5000"));
        let outside = came.clone();
        forwarded(nat.inbound(&mut came));
        let mut told = error(router, &came);
        forwarded(nat.outbound(&mut told));
        assert_eq!(told.source(), ip(source), "spoken: {spoken}");
        assert_eq!(quoted_packet(&told).bytes(), outside.bytes());
    }
}

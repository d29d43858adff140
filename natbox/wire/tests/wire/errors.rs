//! ICMP errors: what they quote, when they may be sent, and how their quotes are translated.

use std::net::SocketAddr;

use natbox_wire::build::{self, IpFields};
use natbox_wire::{IcmpError, Packet, Protocol, Quoted, TcpFlags, Transport};
use proptest::prelude::*;

use crate::generate::{address, endpoint, host, packet, parsed, recomputed};

const ERRORS: [IcmpError; 9] = [
    IcmpError::NetUnreachable,
    IcmpError::HostUnreachable,
    IcmpError::ProtocolUnreachable,
    IcmpError::PortUnreachable,
    IcmpError::PacketTooBig { mtu: 1400 },
    IcmpError::AdminProhibited,
    IcmpError::TtlExceeded,
    IcmpError::ReassemblyTimeExceeded,
    IcmpError::Other { kind: 3, code: 9 },
];

/// An ICMP error with this quote in place of its own.
fn with_quote(error: &Packet, quote: &[u8]) -> Packet {
    let ip_header = error.bytes().len() - error.ip_payload().len();
    let fields = IpFields { ttl: error.ttl(), ..IpFields::default() };
    let message = [&error.bytes()[ip_header..ip_header + 8], quote].concat();
    let (from, to) = (error.source(), error.destination());
    recomputed(build::ip(from, to, error.protocol_number(), fields, &message).unwrap())
}

fn offender(ipv6: bool) -> impl Strategy<Value = Packet> {
    packet(ipv6).prop_filter("no group", |packet| !packet.destination().is_multicast())
}

/// How many bytes of a packet must be quoted: eight of its transport (RFC 792).
fn needed_bytes(packet: &Packet) -> usize {
    packet.bytes().len() - packet.ip_payload().len() + 8
}

/// Half a checksum cannot be mended and is left as it is: cut before it.
fn not_within_the_checksum(packet: &Packet, quoted_bytes: usize) -> usize {
    let header = packet.bytes().len() - packet.ip_payload().len();
    match packet.protocol() {
        Some(Protocol::Tcp) if quoted_bytes == header + 17 => quoted_bytes - 1,
        _ => quoted_bytes,
    }
}

proptest! {
    #[test]
    fn a_translated_quote_is_the_quote_of_the_translated_packet(
        (offender, router, source, destination) in any::<bool>()
            .prop_flat_map(|ipv6| (offender(ipv6), host(ipv6), host(ipv6), host(ipv6))),
        error in prop::sample::select(&ERRORS[..]),
        cut in any::<prop::sample::Index>(),
    ) {
        prop_assume!(offender.destination() != address("255.255.255.255"));
        let whole = build::icmp_error(error, router.ip(), &offender).unwrap();
        let quoted_bytes = not_within_the_checksum(&offender, cut.index(offender.bytes().len() + 1));
        let mut packet = with_quote(&whole, &offender.bytes()[..quoted_bytes]);
        if offender.protocol().is_none() || quoted_bytes < needed_bytes(&offender) {
            let before = packet.clone();
            prop_assert_eq!(packet.quoted(), None);
            packet.rewrite_quoted_source(source);
            packet.rewrite_quoted_destination(destination);
            prop_assert_eq!(packet, before);
            return Ok(());
        }
        let quoted = Quoted {
            protocol: offender.protocol().unwrap(),
            source: offender.source_endpoint(),
            destination: offender.destination_endpoint(),
        };
        prop_assert_eq!(packet.quoted(), Some(quoted));
        let mut translated = offender.clone();
        packet.rewrite_quoted_source(source);
        translated.rewrite_source(source);
        prop_assert_eq!(packet.payload(), &translated.bytes()[..quoted_bytes]);
        prop_assert!(packet.transport_checksum_ok());
        packet.rewrite_quoted_destination(destination);
        translated.rewrite_destination(destination);
        prop_assert_eq!(packet.payload(), &translated.bytes()[..quoted_bytes]);
        prop_assert_eq!(&packet, &recomputed(packet.clone()));
        packet.rewrite_destination(source);
        packet.rewrite_source(destination);
        prop_assert_eq!(&packet, &recomputed(packet.clone()));
    }

    #[test]
    fn an_error_says_what_and_to_whom(
        (offender, router) in any::<bool>().prop_flat_map(|ipv6| (offender(ipv6), host(ipv6))),
        error in prop::sample::select(&ERRORS[..8]),
    ) {
        prop_assume!(offender.destination() != address("255.255.255.255"));
        let packet = build::icmp_error(error, router.ip(), &offender).unwrap();
        prop_assert_eq!(packet.transport(), Transport::IcmpError(error));
        prop_assert_eq!((packet.source(), packet.destination()), (router.ip(), offender.source()));
        prop_assert_eq!(packet.payload(), offender.bytes());
        prop_assert_eq!(packet.traffic_class(), offender.traffic_class() & 0xFC);
        prop_assert_eq!(packet.identification(), offender.identification());
        prop_assert_eq!(&packet, &recomputed(packet.clone()));
        prop_assert_eq!(build::icmp_error(error, router.ip(), &packet), None, "no error about an error");
    }
}

fn udp(source: &str, destination: &str, payload_bytes: usize) -> Packet {
    build::udp(endpoint(source), endpoint(destination), IpFields::default(), &vec![0x5A; payload_bytes]).unwrap()
}

#[test]
fn a_packet_too_big_is_built_byte_for_byte() {
    let offender = udp("10.0.0.2:5000", "192.0.2.1:3478", 0);
    let error = build::icmp_error(IcmpError::PacketTooBig { mtu: 1400 }, address("10.0.0.1"), &offender).unwrap();
    assert_eq!(&error.bytes()[..20], [0x45, 0, 0, 56, 0, 0, 0, 0, 64, 1, 0x66, 0xC3, 10, 0, 0, 1, 10, 0, 0, 2]);
    assert_eq!(&error.bytes()[20..22], [3, 4]);
    assert_eq!(&error.bytes()[24..28], [0, 0, 0x05, 0x78]);
    assert_eq!(&error.bytes()[28..], offender.bytes());
}

#[test]
fn an_mtu_fills_two_bytes_in_icmp_and_four_in_icmpv6() {
    let error = IcmpError::PacketTooBig { mtu: 70_000 };
    let too_big =
        |from: &str, offender: &Packet| build::icmp_error(error, address(from), offender).unwrap().transport();
    let cut = IcmpError::PacketTooBig { mtu: 65_535 };
    assert_eq!(too_big("10.0.0.1", &udp("10.0.0.2:1", "10.0.0.3:2", 0)), Transport::IcmpError(cut));
    assert_eq!(too_big("2001:db8::1", &udp("[2001:db8::2]:1", "[2001:db8::3]:2", 0)), Transport::IcmpError(error));
}

#[test]
fn errors_stay_below_576_and_1280_bytes() {
    let long = udp("10.0.0.2:5000", "192.0.2.1:3478", 1400);
    let error = build::icmp_error(IcmpError::TtlExceeded, address("10.0.0.1"), &long).unwrap();
    assert_eq!((error.bytes().len(), error.payload()), (576, &long.bytes()[..548]));
    let long = udp("[2001:db8::2]:5000", "[2001:db8::3]:3478", 1400);
    let error = build::icmp_error(IcmpError::TtlExceeded, address("2001:db8::1"), &long).unwrap();
    assert_eq!((error.bytes().len(), error.payload()), (1280, &long.bytes()[..1232]));
}

#[test]
fn icmpv6_names_the_next_header_it_does_not_know_by_its_place() {
    let (from, to) = (address("2001:db8::2"), address("2001:db8::3"));
    let offender = build::ip(from, to, 200, IpFields::default(), &[1, 2, 3]).unwrap();
    let error = build::icmp_error(IcmpError::ProtocolUnreachable, to, &offender).unwrap();
    assert_eq!(&error.ip_payload()[..2], [4, 1]);
    assert_eq!(&error.ip_payload()[4..8], [0, 0, 0, 6]);
}

#[test]
fn some_packets_are_owed_no_error() {
    let (error, router) = (IcmpError::TtlExceeded, address("10.0.0.1"));
    let owed = |offender: &Packet| build::icmp_error(error, router, offender).is_some();
    assert!(owed(&udp("10.0.0.2:1", "10.0.0.3:2", 0)));
    assert!(!owed(&udp("10.0.0.2:1", "224.0.0.251:5353", 0)));
    assert!(!owed(&udp("10.0.0.2:1", "255.255.255.255:67", 0)));
    let pieces = build::fragments(udp("10.0.0.2:1", "10.0.0.3:2", 100), 80, 0).unwrap();
    assert!(owed(&pieces[0]) && !owed(&pieces[1]));
    let echo = build::echo(true, address("10.0.0.2"), address("10.0.0.3"), IpFields::default(), 1, 1, &[]).unwrap();
    assert!(owed(&echo));
    assert_eq!(build::icmp_error(error, address("2001:db8::1"), &echo), None, "another version");
    assert_eq!(build::icmp_error(error, address("127.0.0.1"), &echo), None, "from nobody");
    assert_eq!(build::icmp_error(IcmpError::Other { kind: 8, code: 0 }, router, &echo), None, "no error at all");
}

#[test]
fn an_icmpv6_redirect_is_owed_no_error() {
    let (router, host) = (address("2001:db8::1"), address("2001:db8::2"));
    let message = |kind: u8| build::ip(router, host, 58, IpFields::default(), &[kind, 0, 0, 0, 0, 0, 0, 0]).unwrap();
    assert_eq!(build::icmp_error(IcmpError::TtlExceeded, host, &message(137)), None);
    assert!(build::icmp_error(IcmpError::TtlExceeded, host, &message(136)).is_some());
}

#[test]
fn only_packet_too_big_answers_an_ipv6_multicast() {
    let (offender, router) = (udp("[2001:db8::2]:1", "[ff0e::1]:2", 1300), address("2001:db8::1"));
    assert_eq!(build::icmp_error(IcmpError::TtlExceeded, router, &offender), None);
    assert!(build::icmp_error(IcmpError::PacketTooBig { mtu: 1280 }, router, &offender).is_some());
}

/// RFC 4884: the quote padded to 128 bytes, then an extension structure.
fn extended(offender: &Packet, extension: &[u8]) -> Packet {
    let error = build::icmp_error(IcmpError::TtlExceeded, address("10.0.0.1"), offender).unwrap();
    let mut quote = offender.bytes()[..offender.bytes().len().min(128)].to_vec();
    quote.resize(128, 0);
    quote.extend_from_slice(extension);
    let mut bytes = with_quote(&error, &quote).into_bytes();
    bytes[25] = 128 / 4;
    recomputed(parsed(bytes))
}

#[test]
fn extensions_behind_a_quote_are_left_alone() {
    let (a, b) = (endpoint("10.0.0.2:5000"), endpoint("192.0.2.1:80"));
    let flags = TcpFlags { syn: true, ..TcpFlags::default() };
    let offender = build::tcp(a, b, IpFields::default(), flags, 1, 0, 1000, &[]).unwrap();
    let extension = [0x20, 0, 0, 0, 0, 8, 1, 1, 0xAA, 0xBB, 0xCC, 0xDD];
    let mut packet = extended(&offender, &extension);
    let new: SocketAddr = endpoint("198.51.100.1:20000");
    packet.rewrite_quoted_source(new);
    let mut translated = offender.clone();
    translated.rewrite_source(new);
    assert_eq!(&packet.payload()[..40], translated.bytes());
    assert_eq!(packet.payload()[40..128], [0; 88]);
    assert_eq!(&packet.payload()[128..], extension);
    assert_eq!(packet.ip_payload()[5], 32);
    assert_eq!(packet, recomputed(packet.clone()));
}

#[test]
fn extension_bytes_are_not_taken_for_a_quoted_checksum() {
    // The quote is cut to eight bytes of TCP: what follows it at the checksum's place is an extension.
    let (a, b) = (endpoint("10.0.0.2:5000"), endpoint("192.0.2.1:80"));
    let offender = build::tcp(a, b, IpFields::default(), TcpFlags::default(), 1, 0, 1000, &[]).unwrap();
    let error = build::icmp_error(IcmpError::TtlExceeded, address("10.0.0.1"), &offender).unwrap();
    let extension = [0x20, 0, 0, 0, 0, 8, 1, 1, 0xAA, 0xBB, 0xCC, 0xDD];
    let mut bytes = with_quote(&error, &[&offender.bytes()[..28], &extension].concat()).into_bytes();
    bytes[25] = 28 / 4;
    let mut packet = recomputed(parsed(bytes));
    packet.rewrite_quoted_source(endpoint("198.51.100.1:20000"));
    assert_eq!(&packet.payload()[28..], extension);
    assert_eq!(packet.quoted().unwrap().source, endpoint("198.51.100.1:20000"));
    assert_eq!(packet, recomputed(packet.clone()));
}

#[test]
fn icmpv6_counts_the_quote_before_an_extension_in_eight_bytes() {
    let offender = build::ip(address("2001:db8::2"), address("2001:db8::3"), 6, IpFields::default(), &{
        let mut segment = [7; 40];
        segment[12] = 0x50;
        segment
    });
    let offender = offender.unwrap();
    let error = build::icmp_error(IcmpError::TtlExceeded, address("2001:db8::1"), &offender).unwrap();
    let quote = |bytes: usize| {
        let mut packet = with_quote(&error, &[&offender.bytes()[..bytes], &[0xEE; 32]].concat()).into_bytes();
        packet[44] = (bytes / 8) as u8;
        let mut packet = recomputed(parsed(packet));
        packet.rewrite_quoted_source(endpoint("[2001:db8::99]:99"));
        packet
    };
    assert_eq!(quote(40).quoted(), None, "the extension is not taken for ports");
    assert_eq!(&quote(48).payload()[48..], [0xEE; 32], "nor for a TCP checksum");
    assert_eq!(quote(48).quoted().unwrap().source, endpoint("[2001:db8::99]:99"));
    let long = quote(64);
    assert_ne!(long.payload()[56..58], offender.bytes()[56..58], "this checksum is in the quote");
    assert_eq!(long, recomputed(long.clone()));
}

#[test]
fn a_quote_of_no_session_is_no_quote() {
    let offender = udp("10.0.0.2:5000", "192.0.2.1:3478", 100);
    let error = |offender: &Packet| {
        build::icmp_error(IcmpError::TtlExceeded, address("10.0.0.1"), offender).expect("an error is owed")
    };
    let whole = error(&offender);
    assert!(whole.quoted().is_some());
    assert!(with_quote(&whole, &offender.bytes()[..28]).quoted().is_some(), "eight bytes of transport are enough");
    assert_eq!(with_quote(&whole, &offender.bytes()[..27]).quoted(), None, "seven are not");
    let pieces = build::fragments(offender.clone(), 80, 0).unwrap();
    assert_eq!(with_quote(&whole, pieces[1].bytes()).quoted(), None, "a later fragment");
    assert!(with_quote(&whole, pieces[0].bytes()).quoted().is_some(), "the first fragment has the ports");
    assert_eq!(with_quote(&whole, whole.bytes()).quoted(), None, "an error");
    assert_eq!(with_quote(&whole, udp("[2001:db8::2]:1", "[2001:db8::3]:2", 0).bytes()).quoted(), None, "IPv6 in ICMP");
    assert_eq!(offender.quoted(), None, "not an error itself");
    assert_eq!(
        with_quote(&whole, &[]).summary(),
        "ICMP ttl-exceeded 10.0.0.1 > 10.0.0.2, about a packet of no session"
    );
}

#[test]
fn an_absent_udp_checksum_stays_absent_in_a_quote() {
    let mut bytes = udp("10.0.0.2:5000", "192.0.2.1:3478", 4).into_bytes();
    bytes[26..28].fill(0);
    let offender = parsed(bytes);
    let mut packet = build::icmp_error(IcmpError::PortUnreachable, address("192.0.2.1"), &offender).unwrap();
    packet.rewrite_quoted_source(endpoint("198.51.100.1:20000"));
    assert_eq!(&packet.payload()[26..28], [0, 0]);
    assert_eq!(packet, recomputed(packet.clone()));
}

#[test]
fn a_wrong_checksum_in_a_quoted_header_is_told_and_stays_wrong() {
    let offender = udp("10.0.0.2:5000", "192.0.2.1:3478", 4);
    let whole = build::icmp_error(IcmpError::PortUnreachable, address("192.0.2.1"), &offender).unwrap();
    assert!(whole.quoted_ip_checksum_ok());
    let mut spoilt = whole.clone();
    spoilt.set_quoted_ip_checksum(whole.quoted_ip_checksum().unwrap() ^ 0x0101);
    assert!(spoilt.transport_checksum_ok() && !spoilt.quoted_ip_checksum_ok());
    assert_eq!(spoilt.quoted(), whole.quoted());
    spoilt.rewrite_quoted_source(endpoint("198.51.100.1:20000"));
    assert!(spoilt.transport_checksum_ok() && !spoilt.quoted_ip_checksum_ok());
    assert!(offender.quoted_ip_checksum_ok() && offender.quoted_ip_checksum().is_none(), "no error, no quote");
}

#[test]
fn options_of_a_quoted_header_do_not_hide_the_ports() {
    let plain = udp("10.0.0.2:5000", "192.0.2.1:3478", 4);
    let whole = build::icmp_error(IcmpError::PortUnreachable, address("192.0.2.1"), &plain).unwrap();
    for words in 1..=10_u8 {
        // No-operation options, as many as fit.
        let mut bytes = plain.bytes()[..20].to_vec();
        bytes.extend(std::iter::repeat_n(1, usize::from(words) * 4));
        bytes.extend_from_slice(&plain.bytes()[20..]);
        bytes[0] = 0x45 + words;
        bytes[3] += words * 4;
        let offender = recomputed(parsed(checked(bytes)));
        let mut packet = with_quote(&whole, offender.bytes());
        packet.rewrite_quoted_source(endpoint("198.51.100.1:20000"));
        let mut translated = offender.clone();
        translated.rewrite_source(endpoint("198.51.100.1:20000"));
        assert_eq!(packet.payload(), translated.bytes(), "IHL {}", words + 5);
        assert_eq!(packet, recomputed(packet.clone()));
    }
}

/// An IPv4 header with its checksum put right.
fn checked(mut bytes: Vec<u8>) -> Vec<u8> {
    let header = usize::from(bytes[0] & 15) * 4;
    bytes[10..12].fill(0);
    let sum = natbox_wire::checksum::checksum(&bytes[..header]);
    bytes[10..12].copy_from_slice(&sum.to_be_bytes());
    bytes
}

#[test]
fn padding_is_not_taken_for_a_quoted_tcp_checksum() {
    let (a, b) = (endpoint("10.0.0.2:5000"), endpoint("192.0.2.1:80"));
    let offender = build::tcp(a, b, IpFields::default(), TcpFlags::default(), 1, 0, 1000, &[]).unwrap();
    let error = build::icmp_error(IcmpError::TtlExceeded, address("10.0.0.1"), &offender).unwrap();
    let mut quote = offender.bytes()[..28].to_vec();
    quote.resize(128, 0);
    let mut bytes = with_quote(&error, &[&quote[..], &[0x20, 0, 0, 0]].concat()).into_bytes();
    bytes[25] = 128 / 4;
    let mut packet = recomputed(parsed(bytes));
    packet.rewrite_quoted_source(endpoint("198.51.100.1:20000"));
    assert_eq!(packet.payload()[28..128], [0; 100]);
    assert_eq!(packet, recomputed(packet.clone()));
}

#[test]
fn a_query_has_its_identifier_for_a_port_in_a_quote_too() {
    for kind in 13..=18_u8 {
        let message = [kind, 0, 0, 0, 0x12, 0x34, 0, 1, 9, 9, 9, 9];
        let query = build::ip(address("10.0.0.2"), address("192.0.2.1"), 1, IpFields::default(), &message).unwrap();
        let mut query = recomputed(query);
        assert_eq!(query.transport(), Transport::Query { kind, identifier: 0x1234 });
        assert_eq!(query.source_endpoint(), endpoint("10.0.0.2:4660"));
        let mut error = build::icmp_error(IcmpError::HostUnreachable, address("192.0.2.9"), &query).unwrap();
        query.rewrite_source(endpoint("198.51.100.1:7"));
        assert_eq!(query, recomputed(query.clone()));
        error.rewrite_quoted_source(endpoint("198.51.100.1:7"));
        assert_eq!(error.payload(), query.bytes());
        assert_eq!(error, recomputed(error.clone()));
    }
}

fn segment(flags: TcpFlags, payload: &[u8]) -> Packet {
    let (a, b) = (endpoint("10.0.0.2:5000"), endpoint("192.0.2.1:80"));
    build::tcp(a, b, IpFields::default(), flags, u32::MAX, 77, 1000, payload).unwrap()
}

#[test]
fn a_reset_answers_what_the_segment_would_have_been_answered_with() {
    let flags = |syn, ack, fin| TcpFlags { syn, ack, fin, ..TcpFlags::default() };
    let answer = |packet: &Packet| build::reset(packet).expect("a RST is owed");
    let to_data = answer(&segment(flags(false, true, false), b"data"));
    assert_eq!((to_data.tcp_sequence(), to_data.tcp_acknowledgement()), (Some(77), Some(0)));
    assert_eq!(
        (to_data.source_endpoint(), to_data.destination_endpoint()),
        (endpoint("192.0.2.1:80"), endpoint("10.0.0.2:5000"))
    );
    let to_syn = answer(&segment(flags(true, false, false), b""));
    assert_eq!((to_syn.tcp_sequence(), to_syn.tcp_acknowledgement()), (Some(0), Some(0)), "sequence and SYN wrap");
    let to_fin = answer(&segment(flags(false, false, true), b"1234"));
    assert_eq!(to_fin.tcp_acknowledgement(), Some(4));
    assert!(matches!(
        to_fin.transport(),
        Transport::Tcp { flags: TcpFlags { rst: true, ack: true, syn: false, .. }, .. }
    ));
    assert_eq!(to_fin, recomputed(to_fin.clone()));
}

#[test]
fn some_segments_are_owed_no_reset() {
    let syn = TcpFlags { syn: true, ..TcpFlags::default() };
    assert_eq!(build::reset(&segment(TcpFlags { rst: true, ..syn }, b"")), None, "a RST");
    assert_eq!(build::reset(&udp("10.0.0.2:1", "10.0.0.3:2", 0)), None, "no segment");
    let mut spoilt = segment(syn, b"data").into_bytes();
    *spoilt.last_mut().unwrap() ^= 1;
    assert_eq!(build::reset(&parsed(spoilt)), None, "a wrong checksum");
    let pieces = build::fragments(segment(syn, &[7; 100]), 80, 0).unwrap();
    assert!(pieces.iter().all(|piece| build::reset(piece).is_none()), "a fragment");
    let mut to_many = segment(syn, b"");
    to_many.rewrite_destination(endpoint("224.0.0.251:80"));
    assert_eq!(build::reset(&to_many), None, "a group");
}

//! Bytes that are no packet: refused for the right reason, and never a panic.

use std::net::SocketAddr;

use natbox_wire::build::{self, IpFields};
use natbox_wire::{DropReason, IcmpError, Packet, Transport};
use proptest::collection::vec;
use proptest::prelude::*;
use smoltcp::wire::Ipv4Packet;

use crate::generate::{any_packet, endpoint, parsed, with_extension, with_raw_options};

fn ipv4() -> Vec<u8> {
    build::udp(endpoint("10.0.0.2:5000"), endpoint("192.0.2.1:3478"), IpFields::default(), b"hello")
        .unwrap()
        .into_bytes()
}

fn ipv6() -> Vec<u8> {
    let (source, destination) = (endpoint("[2001:db8::2]:5000"), endpoint("[2001:db8::3]:3478"));
    build::udp(source, destination, IpFields::default(), b"hello").unwrap().into_bytes()
}

fn tcp() -> Vec<u8> {
    let (source, destination) = (endpoint("10.0.0.2:5000"), endpoint("192.0.2.1:80"));
    build::tcp(source, destination, IpFields::default(), Default::default(), 1, 2, 3, &[9; 40]).unwrap().into_bytes()
}

/// Changes some bytes and mends the IPv4 header checksum.
fn changed(mut bytes: Vec<u8>, changes: &[(usize, u8)]) -> Vec<u8> {
    changes.iter().for_each(|(at, byte)| bytes[*at] = *byte);
    if bytes[0] >> 4 == 4 && usize::from(bytes[0] & 15) * 4 <= bytes.len() {
        Ipv4Packet::new_unchecked(&mut bytes).fill_checksum();
    }
    bytes
}

#[track_caller]
fn refused(bytes: Vec<u8>, reason: DropReason) {
    let malformed = Packet::parse(bytes.clone()).expect_err("malformed bytes");
    assert_eq!(malformed.reason, reason);
    assert_eq!(malformed.bytes, bytes, "the bytes come back unchanged");
}

#[test]
fn a_packet_cut_anywhere_is_truncated() {
    for whole in [ipv4(), ipv6(), tcp(), with_raw_options(parsed(ipv4()), &[1; 8])] {
        for length in 0..whole.len() {
            refused(whole[..length].to_vec(), DropReason::Truncated);
        }
    }
}

#[test]
fn link_padding_is_cut_off() {
    for whole in [ipv4(), ipv6(), tcp()] {
        let padded = [&whole[..], &[0xEE; 6]].concat();
        assert_eq!(parsed(padded).into_bytes(), whole);
    }
}

#[test]
fn ip_headers_that_contradict_themselves_are_refused() {
    refused(changed(ipv4(), &[(0, 0x55)]), DropReason::BadVersion);
    refused(changed(ipv6(), &[(0, 0x00)]), DropReason::BadVersion);
    let mut short_header = ipv4();
    short_header[0] = 0x44;
    refused(short_header, DropReason::BadHeaderLength);
    let mut long_header = ipv4();
    long_header[0] = 0x4F;
    refused(long_header, DropReason::BadHeaderLength);
    refused(changed(ipv4(), &[(3, 19)]), DropReason::BadLength);
    refused(changed(ipv4(), &[(3, 34)]), DropReason::Truncated);
    refused(changed(ipv6(), &[(5, 14)]), DropReason::Truncated);
    let mut wrong_checksum = ipv4();
    wrong_checksum[8] = 63;
    refused(wrong_checksum, DropReason::BadIpChecksum);
}

#[test]
fn ipv4_options_must_be_well_formed() {
    let with = |options: &[u8]| with_raw_options(parsed(ipv4()), options);
    parsed(with(&[7, 3, 4, 1, 0, 9, 9, 9])); // what follows the end of options is padding
    refused(with(&[7, 0, 4, 0]), DropReason::BadOptions);
    refused(with(&[7, 1, 4, 0]), DropReason::BadOptions);
    refused(with(&[7, 5, 4, 0]), DropReason::BadOptions);
    refused(with(&[1, 1, 1, 7]), DropReason::BadOptions);
    refused(with(&[131, 3, 4, 0]), DropReason::SourceRoute);
    refused(with(&[1, 137, 3, 4]), DropReason::SourceRoute);
}

#[test]
fn ipv6_extension_headers_must_be_well_formed() {
    let with = |number: u8, header: [u8; 8]| with_extension(ipv6(), number, &header);
    assert_eq!(parsed(with(0, [0, 0, 1, 4, 0, 0, 0, 0])).protocol_number(), 17);
    refused(with(0, [0, 0, 1, 5, 0, 0, 0, 0]), DropReason::BadOptions);
    refused(with(60, [0, 9, 1, 4, 0, 0, 0, 0]), DropReason::BadOptions);
    refused(with(43, [0, 0, 0, 0, 0, 0, 0, 0]), DropReason::SourceRoute);
    refused(with(43, [0, 0, 4, 1, 0, 0, 0, 0]), DropReason::SourceRoute);
    let hop_by_hop_second = with_extension(with(0, [0, 0, 1, 4, 0, 0, 0, 0]), 60, &[0, 0, 1, 4, 0, 0, 0, 0]);
    refused(hop_by_hop_second, DropReason::BadOptions);
    let two_fragment_headers = with_extension(with(44, [0; 8]), 44, &[0; 8]);
    refused(two_fragment_headers, DropReason::BadOptions);
    let chain =
        |length: usize| (0..length).fold(ipv6(), |bytes, _| with_extension(bytes, 60, &[0, 0, 1, 4, 0, 0, 0, 0]));
    assert_eq!(parsed(chain(8)).payload(), b"hello");
    refused(chain(9), DropReason::BadOptions);
}

#[test]
fn udp_lengths_follow_linux() {
    for (bytes, at) in [(ipv4(), 24), (ipv6(), 44)] {
        refused(changed(bytes.clone(), &[(at + 1, 14)]), DropReason::BadTransportHeader);
        refused(changed(bytes.clone(), &[(at + 1, 7)]), DropReason::BadTransportHeader);
        refused(changed(bytes.clone(), &[(at + 1, 0)]), DropReason::BadTransportHeader);
        assert_eq!(parsed(changed(bytes, &[(at + 1, 10)])).payload(), b"he");
    }
    refused(changed(ipv4(), &[(3, 27)]), DropReason::BadTransportHeader);
}

#[test]
fn tcp_headers_must_be_whole() {
    refused(changed(tcp(), &[(32, 0x40)]), DropReason::BadTransportHeader);
    refused(changed(tcp(), &[(3, 39)]), DropReason::BadTransportHeader);
    refused(changed(tcp(), &[(3, 40), (32, 0x60)]), DropReason::BadTransportHeader);
    assert_eq!(parsed(changed(tcp(), &[(32, 0xF0)])).payload(), &[]);
}

#[test]
fn fragments_that_hide_tcp_flags_are_refused() {
    refused(changed(tcp(), &[(7, 1)]), DropReason::BadTransportHeader); // RFC 3128: offset 1
    refused(changed(tcp(), &[(6, 0x20), (3, 36)]), DropReason::BadTransportHeader); // RFC 1858: tiny first fragment
    assert_eq!(parsed(changed(tcp(), &[(7, 2)])).transport(), Transport::LaterFragment);
    assert_eq!(parsed(changed(ipv4(), &[(7, 1)])).transport(), Transport::LaterFragment);
    let mut ipv6_tcp = with_extension(ipv6(), 44, &[0, 0, 0, 8, 0, 0, 0, 1]);
    ipv6_tcp[40] = 6;
    refused(ipv6_tcp, DropReason::BadTransportHeader);
}

#[test]
fn icmp_messages_have_eight_bytes() {
    let (source, destination) = (endpoint("10.0.0.2:0").ip(), endpoint("10.0.0.3:0").ip());
    let echo = build::echo(true, source, destination, IpFields::default(), 1, 2, &[]).unwrap().into_bytes();
    for length in 20..28 {
        let cut = changed(echo[..usize::from(length)].to_vec(), &[(3, length)]);
        refused(cut, DropReason::BadTransportHeader);
    }
}

#[test]
fn sources_that_no_packet_may_carry_are_refused() {
    for source in [[224, 0, 0, 1], [255, 255, 255, 255], [127, 0, 0, 1], [0, 0, 0, 0]] {
        let changes: Vec<(usize, u8)> = (12..16).zip(source).collect();
        refused(changed(ipv4(), &changes), DropReason::BadSource);
    }
    for (first, last) in [(0xFF, 1), (0, 1), (0, 0)] {
        let mut changes: Vec<(usize, u8)> = (8..24).map(|at| (at, 0)).collect();
        (changes[0].1, changes[15].1) = (first, last);
        refused(changed(ipv6(), &changes), DropReason::BadSource);
    }
}

/// Does everything that can be done with a packet. What is left must still parse, to the same packet.
fn exercise(mut packet: Packet) {
    let other = |ipv6: bool| -> SocketAddr { endpoint(if ipv6 { "[2001:db8::9]:9" } else { "198.51.100.9:9" }) };
    let router = other(packet.is_ipv6());
    let length = packet.bytes().len();
    let _ = (packet.summary(), packet.transport(), packet.fragment(), packet.quoted(), packet.traffic_class());
    let _ = (packet.payload().len(), packet.fragment_data().len(), packet.transport_checksum_ok(), packet.protocol());
    let _ = (packet.tcp_sequence(), packet.tcp_acknowledgement(), packet.tcp_window(), packet.dont_fragment());
    for error in [IcmpError::ProtocolUnreachable, IcmpError::PacketTooBig { mtu: 1 }] {
        if let Some(error) = build::icmp_error(error, router.ip(), &packet) {
            assert!(error.transport_checksum_ok());
            assert_eq!(error.destination(), packet.source());
        }
    }
    let checksum_was_ok = packet.transport_checksum_ok();
    packet.rewrite_quoted_source(router);
    packet.rewrite_quoted_destination(router);
    packet.rewrite_source(router);
    packet.rewrite_destination(router);
    packet.rewrite_identification(7);
    packet.decrement_ttl();
    packet.clear_dont_fragment();
    assert_eq!((packet.source(), packet.destination()), (router.ip(), router.ip()));
    assert_eq!(packet.bytes().len(), length);
    assert_eq!(packet.transport_checksum_ok(), checksum_was_ok);
    assert_eq!(parsed(packet.bytes().to_vec()), packet);
    for mtu_bytes in [0, 28, 48, 56, 100] {
        if let Some(pieces) = build::fragments(packet.clone(), mtu_bytes, 5) {
            let data: Vec<u8> = pieces.iter().flat_map(|piece| piece.fragment_data().to_vec()).collect();
            let whole = build::join(&pieces[0], &data);
            assert!(packet.fragment().is_some() || pieces.len() == 1 || whole.as_ref() == Some(&packet));
        }
    }
}

proptest! {
    #[test]
    fn arbitrary_bytes_never_panic(mut bytes in vec(any::<u8>(), 0..120), version in 0_u8..3) {
        if let (Some(first), 1..) = (bytes.first_mut(), version) {
            *first = if version == 1 { 0x45 } else { 0x60 };
        }
        if let Ok(packet) = Packet::parse(bytes.clone()) {
            exercise(packet);
        }
        // A right length, header checksum and source let far more of them through to the later checks.
        if bytes.len() >= 40 && version > 0 {
            let length = bytes.len() as u8;
            let changes = if version == 1 { vec![(2, 0), (3, length), (12, 10)] } else { vec![(4, 0), (5, length - 40), (8, 0x20)] };
            if let Ok(packet) = Packet::parse(changed(bytes, &changes)) {
                exercise(packet);
            }
        }
    }

    #[test]
    fn valid_packets_cut_or_corrupted_never_panic(
        packet in any_packet(), quoted: bool, at in any::<prop::sample::Index>(), byte: u8,
    ) {
        let router = if packet.is_ipv6() { endpoint("[2001:db8::9]:9") } else { endpoint("198.51.100.9:9") };
        let error = build::icmp_error(IcmpError::TtlExceeded, router.ip(), &packet);
        let bytes = if quoted { error.unwrap_or(packet) } else { packet }.into_bytes();
        let at = at.index(bytes.len());
        prop_assert!(Packet::parse(bytes[..at].to_vec()).is_err());
        let mut corrupted = bytes.clone();
        corrupted[at] = byte;
        for bytes in [bytes, changed(corrupted.clone(), &[]), corrupted] {
            if let Ok(packet) = Packet::parse(bytes) {
                exercise(packet);
            }
        }
    }
}

#[test]
fn every_corruption_of_every_byte_of_some_packets_is_survived() {
    let echo =
        build::echo(true, endpoint("10.0.0.2:0").ip(), endpoint("10.0.0.3:0").ip(), IpFields::default(), 1, 2, b"x");
    let offender = parsed(ipv4());
    let error = build::icmp_error(IcmpError::PortUnreachable, offender.destination(), &offender).unwrap().into_bytes();
    let offender = parsed(ipv6());
    let error6 = build::icmp_error(IcmpError::PortUnreachable, offender.destination(), &offender).unwrap().into_bytes();
    let fragment6 = with_extension(ipv6(), 44, &[0, 0, 0, 1, 1, 2, 3, 4]);
    let mut survivors = 0;
    for bytes in [ipv4(), ipv6(), tcp(), echo.unwrap().into_bytes(), error, error6, fragment6] {
        for at in 0..bytes.len() {
            for flip in [0x01, 0x02, 0x04, 0x08, 0x10, 0x20, 0x40, 0x80, 0xFF] {
                let mut corrupted = bytes.clone();
                corrupted[at] ^= flip;
                for candidate in [changed(corrupted.clone(), &[]), corrupted] {
                    if let Ok(packet) = Packet::parse(candidate) {
                        survivors += 1;
                        exercise(packet);
                    }
                }
            }
        }
    }
    assert!(survivors > 1000, "{survivors} corrupted packets were still well-formed");
}

//! Rewriting is recomputation, there and back is where it began, and what was built is what is read.

use std::net::SocketAddr;

use natbox_wire::build::{self, IpFields};
use natbox_wire::{Packet, TcpFlags, Transport};
use proptest::collection::vec;
use proptest::prelude::*;

use crate::generate::{any_packet, host, packet, parsed, recomputed};

/// A packet, and two endpoints to give it.
fn packet_and_endpoints() -> impl Strategy<Value = (Packet, SocketAddr, SocketAddr)> {
    any::<bool>().prop_flat_map(|ipv6| (packet(ipv6), host(ipv6), host(ipv6)))
}

/// What an endpoint of this packet reads after it was set.
fn as_shown(packet: &Packet, endpoint: SocketAddr) -> SocketAddr {
    let port = if packet.protocol().is_some() { endpoint.port() } else { 0 };
    SocketAddr::new(endpoint.ip(), port)
}

/// Payloads of even length whose last word makes the UDP checksum of a datagram come to 0, which is written 0xFFFF.
fn with_checksum_ffff(source: SocketAddr, destination: SocketAddr, mut payload: Vec<u8>) -> Packet {
    payload.truncate(payload.len() / 2 * 2);
    payload.extend([0, 0]);
    let end = payload.len();
    let draft = build::udp(source, destination, IpFields::default(), &payload).unwrap();
    let checksum: [u8; 2] = draft.ip_payload()[6..8].try_into().unwrap();
    payload[end - 2..].copy_from_slice(&checksum);
    build::udp(source, destination, IpFields::default(), &payload).unwrap()
}

proptest! {
    #[test]
    fn a_rewrite_is_a_full_recomputation((mut packet, source, destination) in packet_and_endpoints()) {
        let before = packet.clone();
        packet.rewrite_source(source);
        prop_assert_eq!(&packet, &recomputed(packet.clone()));
        prop_assert_eq!(packet.source_endpoint(), as_shown(&before, source));
        packet.rewrite_destination(destination);
        prop_assert_eq!(&packet, &recomputed(packet.clone()));
        prop_assert_eq!(packet.destination_endpoint(), as_shown(&before, destination));
        prop_assert_eq!(packet.payload(), before.payload());
        prop_assert_eq!(packet.ttl(), before.ttl());
        prop_assert_eq!(&parsed(packet.bytes().to_vec()), &packet);
    }

    #[test]
    fn a_rewrite_there_and_back_is_no_rewrite((mut packet, source, destination) in packet_and_endpoints()) {
        let before = packet.clone();
        packet.rewrite_source(source);
        packet.rewrite_destination(destination);
        packet.rewrite_destination(before.destination_endpoint());
        packet.rewrite_source(before.source_endpoint());
        prop_assert_eq!(packet, before);
    }

    #[test]
    fn another_payload_is_a_full_recomputation(mut packet in any_packet(), payload in vec(any::<u8>(), 0..200)) {
        let before = packet.clone();
        if !packet.replace_payload(&payload) {
            prop_assert_eq!(&packet, &before);
            let carries = matches!(packet.transport(), Transport::Udp { .. } | Transport::Tcp { .. });
            prop_assert!(!carries || packet.is_fragment());
            return Ok(());
        }
        prop_assert_eq!(packet.payload(), payload);
        prop_assert_eq!(&packet, &recomputed(packet.clone()));
        prop_assert_eq!(&parsed(packet.bytes().to_vec()), &packet);
        prop_assert_eq!(packet.transport(), before.transport());
        prop_assert_eq!(packet.source_endpoint(), before.source_endpoint());
        prop_assert_eq!(packet.transport_checksum_ok(), before.transport_checksum_ok());
    }

    #[test]
    fn another_sequence_number_is_a_full_recomputation(mut packet in any_packet(), sequence: u32, acknowledgement: u32) {
        packet.rewrite_tcp_numbers(sequence, acknowledgement);
        prop_assert_eq!(&packet, &recomputed(packet.clone()));
        if matches!(packet.transport(), Transport::Tcp { .. }) {
            prop_assert_eq!((packet.tcp_sequence(), packet.tcp_acknowledgement()), (Some(sequence), Some(acknowledgement)));
        }
        packet.rewrite_tcp_sack(|edge| edge.wrapping_add(sequence));
        prop_assert_eq!(&packet, &recomputed(packet.clone()));
    }

    #[test]
    fn selective_acknowledgements_are_found_wherever_they_stand(padding in 0_usize..3, edges in vec(any::<u32>(), 2..7)) {
        let edges = &edges[..edges.len() / 2 * 2];
        let (from, to) = ("192.0.2.1:1".parse().unwrap(), "192.0.2.2:2".parse().unwrap());
        let bytes = build::tcp(from, to, IpFields::default(), TcpFlags::default(), 1, 2, 3, b"").unwrap().into_bytes();
        let mut options = vec![1; padding];
        options.extend([5, 2 + edges.len() as u8 * 4]);
        options.extend(edges.iter().flat_map(|edge| edge.to_be_bytes()));
        options.resize(options.len().next_multiple_of(4), 1);
        let mut bytes = [bytes, options].concat();
        bytes[32] = ((bytes.len() - 20) as u8 / 4) << 4;
        let length = bytes.len() as u16;
        bytes[2..4].copy_from_slice(&length.to_be_bytes());
        bytes[10..12].fill(0);
        let sum = natbox_wire::checksum::checksum(&bytes[..20]);
        bytes[10..12].copy_from_slice(&sum.to_be_bytes());
        let mut packet = recomputed(parsed(bytes));
        let mut seen = Vec::new();
        packet.rewrite_tcp_sack(|edge| { seen.push(edge); edge.wrapping_sub(7) });
        prop_assert_eq!(&seen[..], edges);
        prop_assert_eq!(&packet, &recomputed(packet.clone()));
        seen.clear();
        packet.rewrite_tcp_sack(|edge| { seen.push(edge.wrapping_add(7)); edge });
        prop_assert_eq!(&seen[..], edges);
    }

    #[test]
    fn a_wrong_checksum_stays_wrong((packet, source, _) in packet_and_endpoints(), flip in 1_u16..0xFFFF) {
        let at = match packet.transport() {
            Transport::Tcp { .. } => 16,
            Transport::Udp { .. } => 6,
            Transport::Other => return Ok(()),
            _ => 2,
        };
        let at = packet.bytes().len() - packet.ip_payload().len() + at;
        let mut bytes = packet.into_bytes();
        let right = u16::from_be_bytes([bytes[at], bytes[at + 1]]);
        let wrong = right ^ flip;
        // 0 is no checksum in UDP, and the other zero of one's complement elsewhere.
        prop_assume!(right != 0 && wrong != 0);
        bytes[at..at + 2].copy_from_slice(&wrong.to_be_bytes());
        let mut packet = parsed(bytes);
        prop_assert!(!packet.transport_checksum_ok());
        packet.rewrite_source(source);
        prop_assert!(!packet.transport_checksum_ok());
    }

    #[test]
    fn a_udp_checksum_that_comes_to_zero_is_sent_as_ffff(
        (source, destination, other) in any::<bool>().prop_flat_map(|ipv6| (host(ipv6), host(ipv6), host(ipv6))),
        payload in vec(any::<u8>(), 0..40),
    ) {
        let corner = with_checksum_ffff(source, destination, payload);
        prop_assert_eq!(&corner.ip_payload()[6..8], &[0xFF, 0xFF]);
        prop_assert!(corner.transport_checksum_ok());
        let mut packet = corner.clone();
        packet.rewrite_source(source);
        prop_assert_eq!(&packet, &corner); // no net change: the formula says 0
        packet.rewrite_source(other);
        prop_assert_eq!(&packet, &recomputed(packet.clone()));
        packet.rewrite_source(source);
        prop_assert_eq!(&packet, &corner); // back at the corner from elsewhere
    }

    #[test]
    fn an_endpoint_of_the_other_version_changes_nothing(
        (mut packet, other) in any::<bool>().prop_flat_map(|ipv6| (packet(ipv6), host(!ipv6))),
    ) {
        let before = packet.clone();
        packet.rewrite_source(other);
        packet.rewrite_destination(other);
        prop_assert_eq!(packet, before);
    }

    #[test]
    fn edits_of_the_ip_header_keep_its_checksum_right(mut packet in any_packet(), identification: u16, ttl: u8) {
        let before = packet.clone();
        packet.decrement_ttl();
        prop_assert_eq!(packet.ttl(), before.ttl().saturating_sub(1));
        packet.set_ttl(ttl);
        packet.rewrite_identification(identification);
        packet.clear_dont_fragment();
        prop_assert_eq!(packet.ttl(), ttl);
        prop_assert_eq!(packet.dont_fragment(), packet.is_ipv6());
        prop_assert_eq!(packet.identification(), (!packet.is_ipv6()).then_some(identification));
        prop_assert_eq!(packet.ip_payload(), before.ip_payload());
        prop_assert_eq!(&packet, &recomputed(packet.clone()));
    }

    #[test]
    fn udp_is_read_as_it_was_built(
        (source, destination) in any::<bool>().prop_flat_map(|ipv6| (host(ipv6), host(ipv6))),
        payload in vec(any::<u8>(), 0..100), ttl: u8, dont_fragment: bool, identification: u16,
    ) {
        let ip = IpFields { ttl, dont_fragment, identification };
        let packet = build::udp(source, destination, ip, &payload).unwrap();
        prop_assert_eq!(
            packet.transport(), Transport::Udp { source: source.port(), destination: destination.port() });
        prop_assert_eq!((packet.source_endpoint(), packet.destination_endpoint()), (source, destination));
        prop_assert_eq!(packet.payload(), &payload[..]);
        prop_assert_eq!((packet.ttl(), packet.protocol_number()), (ttl, 17));
        prop_assert_eq!(packet.dont_fragment(), dont_fragment || packet.is_ipv6());
        prop_assert_eq!(packet.fragment(), None);
        prop_assert!(packet.transport_checksum_ok());
        prop_assert_eq!(&parsed(packet.bytes().to_vec()), &packet);
    }

    #[test]
    fn tcp_is_read_as_it_was_built(
        (source, destination) in any::<bool>().prop_flat_map(|ipv6| (host(ipv6), host(ipv6))),
        [syn, ack, fin, rst, psh]: [bool; 5], sequence: u32, acknowledgement: u32, window: u16,
        payload in vec(any::<u8>(), 0..100),
    ) {
        let (flags, ip) = (TcpFlags { syn, ack, fin, rst, psh }, IpFields::default());
        let packet = build::tcp(source, destination, ip, flags, sequence, acknowledgement, window, &payload).unwrap();
        let transport = Transport::Tcp { source: source.port(), destination: destination.port(), flags };
        prop_assert_eq!(packet.transport(), transport);
        prop_assert_eq!(packet.tcp_sequence(), Some(sequence));
        prop_assert_eq!(packet.tcp_acknowledgement(), Some(acknowledgement));
        prop_assert_eq!(packet.tcp_window(), Some(window));
        prop_assert_eq!(packet.payload(), &payload[..]);
        prop_assert!(packet.transport_checksum_ok());
    }

    #[test]
    fn echo_is_read_as_it_was_built(
        (source, destination) in any::<bool>().prop_flat_map(|ipv6| (host(ipv6), host(ipv6))),
        request: bool, identifier: u16, sequence: u16, payload in vec(any::<u8>(), 0..100),
    ) {
        let (from, to) = (source.ip(), destination.ip());
        let packet = build::echo(request, from, to, IpFields::default(), identifier, sequence, &payload).unwrap();
        prop_assert_eq!(packet.transport(), Transport::Echo { request, identifier, sequence });
        prop_assert_eq!(packet.source_endpoint(), SocketAddr::new(from, identifier));
        prop_assert_eq!(packet.destination_endpoint(), SocketAddr::new(to, identifier));
        prop_assert_eq!(packet.payload(), &payload[..]);
        prop_assert!(packet.transport_checksum_ok());
    }
}

#[test]
fn what_does_not_fit_into_a_packet_is_not_built() {
    let (a, b): (SocketAddr, SocketAddr) = ("10.0.0.1:1".parse().unwrap(), "10.0.0.2:2".parse().unwrap());
    let (c, d): (SocketAddr, SocketAddr) = ("[2001:db8::1]:1".parse().unwrap(), "[2001:db8::2]:2".parse().unwrap());
    let ip = IpFields::default();
    assert_eq!(build::udp(a, b, ip, &vec![7; 65_507]).unwrap().payload().len(), 65_507);
    assert_eq!(build::udp(a, b, ip, &vec![7; 65_508]), None);
    assert_eq!(build::udp(c, d, ip, &vec![7; 65_527]).unwrap().payload().len(), 65_527);
    assert_eq!(build::udp(c, d, ip, &vec![7; 65_528]), None);
    assert_eq!(build::udp(a, d, ip, &[]), None);
    assert_eq!(build::udp("224.0.0.1:1".parse().unwrap(), b, ip, &[]), None);
    assert_eq!(build::ip(a.ip(), b.ip(), 17, ip, &[1, 2, 3]), None);
}

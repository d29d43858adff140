//! Packets of every kind, and the full recomputation of their checksums by smoltcp.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use natbox_wire::address::is_bad_source;
use natbox_wire::build::{self, IpFields};
use natbox_wire::{Packet, TcpFlags, Transport};
use proptest::collection::vec;
use proptest::prelude::*;
use smoltcp::wire::{Icmpv4Packet, Icmpv6Packet, Ipv4Packet, TcpPacket, UdpPacket};

pub(crate) fn endpoint(text: &str) -> SocketAddr {
    text.parse().unwrap()
}

pub(crate) fn address(text: &str) -> IpAddr {
    text.parse().unwrap()
}

pub(crate) fn parsed(bytes: Vec<u8>) -> Packet {
    Packet::parse(bytes).expect("a well-formed packet")
}

/// An endpoint of a host.
pub(crate) fn host(ipv6: bool) -> impl Strategy<Value = SocketAddr> {
    // All-zeros and all-ones words are where one's complement has two zeros.
    let word = prop_oneof![4 => any::<u16>(), 1 => Just(0_u16), 1 => Just(0xFFFF_u16)];
    let address = vec(word.clone(), 8).prop_map(move |words| match ipv6 {
        true => IpAddr::from(Ipv6Addr::from(<[u16; 8]>::try_from(words).unwrap())),
        false => IpAddr::from(Ipv4Addr::from(u32::from(words[0]) << 16 | u32::from(words[1]))),
    });
    let address = address.prop_filter("a source that a packet may carry", |address| !is_bad_source(*address));
    (address, word).prop_map(|(address, port)| SocketAddr::new(address, port))
}

fn ip_fields() -> impl Strategy<Value = IpFields> {
    (any::<u8>(), any::<bool>(), any::<u16>()).prop_map(|(ttl, dont_fragment, identification)| IpFields {
        ttl,
        dont_fragment,
        identification,
    })
}

#[derive(Clone, Debug)]
enum Body {
    Udp,
    UdpWithoutChecksum,
    UdpBeforePadding,
    Tcp {
        flags: TcpFlags,
        sequence: u32,
        acknowledgement: u32,
        window: u16,
        options: Vec<u32>,
    },
    Echo {
        request: bool,
        sequence: u16,
    },
    /// Of one of six types; in IPv6, which has none with an identifier, another message.
    Query {
        kind: u8,
        sequence: u16,
    },
    OtherIcmp {
        code: u8,
    },
    Other,
}

fn body() -> impl Strategy<Value = Body> {
    let flags = any::<[bool; 5]>().prop_map(|[syn, ack, fin, rst, psh]| TcpFlags { syn, ack, fin, rst, psh });
    prop_oneof![
        3 => Just(Body::Udp),
        1 => Just(Body::UdpWithoutChecksum),
        1 => Just(Body::UdpBeforePadding),
        2 => (flags, any::<u32>(), any::<u32>(), any::<u16>(), vec(any::<u32>(), 0..=10)).prop_map(
            |(flags, sequence, acknowledgement, window, options)| {
                Body::Tcp { flags, sequence, acknowledgement, window, options }
            }
        ),
        2 => (any::<bool>(), any::<u16>()).prop_map(|(request, sequence)| Body::Echo { request, sequence }),
        1 => (13..=18_u8, any::<u16>()).prop_map(|(kind, sequence)| Body::Query { kind, sequence }),
        1 => any::<u8>().prop_map(|code| Body::OtherIcmp { code }),
        1 => Just(Body::Other),
    ]
}

fn with_body(source: SocketAddr, destination: SocketAddr, ip: IpFields, body: Body, payload: &[u8]) -> Packet {
    let (from, to) = (source.ip(), destination.ip());
    let ipv6 = from.is_ipv6();
    let icmp = if ipv6 { 58 } else { 1 };
    let packet = match body {
        Body::Udp => build::udp(source, destination, ip, payload),
        Body::UdpWithoutChecksum => {
            let mut bytes = build::udp(source, destination, ip, payload).unwrap().into_bytes();
            let at = if ipv6 { 40 } else { 20 } + 6;
            bytes[at..at + 2].fill(0);
            Some(parsed(bytes))
        }
        Body::UdpBeforePadding => {
            let datagram = build::udp(source, destination, ip, payload).unwrap().ip_payload().to_vec();
            build::ip(from, to, 17, ip, &[&datagram[..], &[1, 2, 3]].concat())
        }
        Body::Tcp { flags, sequence, acknowledgement, window, options } => {
            let bare = build::tcp(source, destination, ip, flags, sequence, acknowledgement, window, &[]).unwrap();
            let mut segment = bare.ip_payload().to_vec();
            segment[12] = (5 + options.len() as u8) << 4;
            options.iter().for_each(|option| segment.extend(option.to_be_bytes()));
            segment.extend_from_slice(payload);
            build::ip(from, to, 6, ip, &segment)
        }
        Body::Echo { request, sequence } => build::echo(request, from, to, ip, source.port(), sequence, payload),
        Body::Query { kind, sequence } => {
            let ([a, b], [c, d]) = (source.port().to_be_bytes(), sequence.to_be_bytes());
            let kind = if ipv6 { kind + 130 } else { kind };
            build::ip(from, to, icmp, ip, &[&[kind, 0, 0, 0, a, b, c, d], payload].concat())
        }
        Body::OtherIcmp { code } => {
            build::ip(from, to, icmp, ip, &[&[if ipv6 { 135 } else { 9 }, code, 0, 0, 1, 2, 3, 4], payload].concat())
        }
        Body::Other => build::ip(from, to, 47, ip, payload),
    };
    packet.expect("a buildable packet")
}

/// A packet of any protocol, with or without options or extension headers, its checksums right.
pub(crate) fn packet(ipv6: bool) -> impl Strategy<Value = Packet> {
    let payload = vec(prop_oneof![3 => any::<u8>(), 1 => Just(0), 1 => Just(0xFF)], 0..90);
    (host(ipv6), host(ipv6), ip_fields(), body(), payload, vec(0_usize..4, 0..3), any::<u8>()).prop_map(
        |(source, destination, ip, body, payload, extras, traffic_class)| {
            let packet = with_body(source, destination, ip, body, &payload);
            let mut bytes =
                if packet.is_ipv6() { with_extensions(packet, &extras) } else { with_options(packet, &extras) };
            if bytes[0] == 0x60 {
                bytes[0] |= traffic_class >> 4;
                bytes[1] |= traffic_class << 4;
            } else {
                bytes[1] = traffic_class;
                Ipv4Packet::new_unchecked(&mut bytes).fill_checksum();
            }
            recomputed(parsed(bytes))
        },
    )
}

/// A packet of either version.
pub(crate) fn any_packet() -> impl Strategy<Value = Packet> {
    any::<bool>().prop_flat_map(packet)
}

/// Record route, router alert (copied to all fragments), no operation, end of options.
pub(crate) const IPV4_OPTIONS: [&[u8]; 4] = [&[7, 7, 4, 0, 0, 0, 0], &[0x94, 4, 0, 0], &[1], &[0]];

/// Puts options behind an IPv4 header.
pub(crate) fn with_options(packet: Packet, which: &[usize]) -> Vec<u8> {
    let mut options: Vec<u8> = which.iter().flat_map(|which| IPV4_OPTIONS[*which].iter().copied()).collect();
    options.resize(options.len().next_multiple_of(4), 0);
    with_raw_options(packet, &options)
}

/// Puts these bytes, a multiple of four, behind an IPv4 header.
pub(crate) fn with_raw_options(packet: Packet, options: &[u8]) -> Vec<u8> {
    let mut bytes = packet.into_bytes();
    bytes.splice(20..20, options.iter().copied());
    bytes[0] = 0x45 + (options.len() / 4) as u8;
    let total = bytes.len() as u16;
    bytes[2..4].copy_from_slice(&total.to_be_bytes());
    Ipv4Packet::new_unchecked(&mut bytes).fill_checksum();
    bytes
}

/// Hop-by-hop options (first only), destination options, a routing header without segments left, an atomic fragment.
const IPV6_EXTENSIONS: [(u8, [u8; 8]); 4] = [
    (0, [0, 0, 5, 2, 0, 0, 1, 0]),
    (60, [0, 0, 1, 4, 9, 9, 9, 9]),
    (43, [0, 0, 4, 0, 0, 0, 0, 0]),
    (44, [0, 0, 0, 0, 1, 2, 3, 4]),
];

fn with_extensions(packet: Packet, which: &[usize]) -> Vec<u8> {
    let mut which = which.to_vec();
    which.sort_unstable();
    which.dedup();
    which.iter().rev().fold(packet.into_bytes(), |bytes, which| {
        let (number, header) = IPV6_EXTENSIONS[*which];
        with_extension(bytes, number, &header)
    })
}

/// Puts an extension header directly behind the IPv6 header.
pub(crate) fn with_extension(mut bytes: Vec<u8>, number: u8, header: &[u8]) -> Vec<u8> {
    let following = bytes[6];
    bytes[6] = number;
    bytes.splice(40..40, header.iter().copied());
    bytes[40] = following;
    let length = (bytes.len() - 40) as u16;
    bytes[4..6].copy_from_slice(&length.to_be_bytes());
    bytes
}

/// The packet with all its checksums computed anew by smoltcp. A UDP checksum of 0 stays.
pub(crate) fn recomputed(packet: Packet) -> Packet {
    let (source, destination) = (packet.source(), packet.destination());
    let (transport, udp_length) = (packet.transport(), packet.payload().len() + 8);
    let (from, to) = (source.into(), destination.into());
    let at = packet.bytes().len() - packet.ip_payload().len();
    let mut bytes = packet.into_bytes();
    let part = &mut bytes[at..];
    match (transport, source, destination) {
        (Transport::Udp { .. }, ..) if part[6..8] == [0, 0] => {}
        (Transport::Udp { .. }, ..) => UdpPacket::new_unchecked(&mut part[..udp_length]).fill_checksum(&from, &to),
        (Transport::Tcp { .. }, ..) => TcpPacket::new_unchecked(part).fill_checksum(&from, &to),
        (Transport::LaterFragment | Transport::Other, ..) => {}
        (_, IpAddr::V4(_), _) => Icmpv4Packet::new_unchecked(part).fill_checksum(),
        (_, IpAddr::V6(from), IpAddr::V6(to)) => Icmpv6Packet::new_unchecked(part).fill_checksum(&from, &to),
        _ => unreachable!("versions differ"),
    }
    if source.is_ipv4() {
        Ipv4Packet::new_unchecked(&mut bytes).fill_checksum();
    }
    parsed(bytes)
}

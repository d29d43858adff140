//! Bytes as they come from a wire: parsed, read by every accessor, edited, cut and joined, answered with errors.
//!
//! The input is the packet. It is taken as it is, and once more with lengths and checksums made right.

use std::hint::black_box;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use natbox::wire::{IcmpError, Packet, Side, Transport, build};

use super::input::hash;
use super::packets::{assert_sound, mended};

/// Runs one input.
pub fn run(data: &[u8]) {
    for bytes in [data.to_vec(), mended(data)] {
        match Packet::parse(bytes.clone()) {
            Ok(packet) => explore(&packet),
            Err(malformed) => assert_eq!(malformed.bytes, bytes, "refused bytes come back unchanged"),
        }
    }
}

fn explore(packet: &Packet) {
    assert_eq!(Packet::parse(packet.bytes().to_vec()).as_ref(), Ok(packet));
    read(packet);
    edit(packet);
    for mtu_bytes in [28, 68, 100, 576, 1280, packet.bytes().len().saturating_sub(1)] {
        cut_and_join(packet, mtu_bytes);
    }
    for error in [
        IcmpError::NetUnreachable,
        IcmpError::PortUnreachable,
        IcmpError::PacketTooBig { mtu: 1280 },
        IcmpError::TtlExceeded,
        IcmpError::ProtocolUnreachable,
        IcmpError::Other { kind: packet.ttl(), code: 1 },
    ] {
        answer(packet, error);
    }
    refuse(packet);
}

fn read(packet: &Packet) {
    let endpoints = (packet.source_endpoint(), packet.destination_endpoint());
    assert_eq!((endpoints.0.ip(), endpoints.1.ip()), (packet.source(), packet.destination()));
    assert!(packet.ipv4_addresses().is_some() != packet.ipv6_addresses().is_some());
    assert!(packet.ip_payload().len() <= packet.bytes().len());
    assert!(packet.payload().len() <= packet.ip_payload().len());
    assert!(packet.fragment_data().len() < packet.bytes().len());
    assert_eq!(packet.fragment().is_some(), packet.is_fragment());
    assert_eq!(packet.quoted().is_some(), packet.quoted_transport().is_some());
    assert_eq!(packet.tcp_sequence().is_some(), matches!(packet.transport(), Transport::Tcp { .. }));
    black_box((packet.tcp_acknowledgement(), packet.tcp_window(), packet.traffic_class(), packet.identification()));
    assert!(!packet.summary().chars().any(char::is_control), "one line");
}

/// A RST is owed to some segments, and to nothing else.
fn refuse(packet: &Packet) {
    let Some(reset) = build::reset(packet) else { return };
    assert!(matches!(reset.transport(), Transport::Tcp { flags, .. } if flags.rst), "{reset:?}");
    assert!(reset.transport_checksum_ok() && build::reset(&reset).is_none());
    assert_eq!(reset.source_endpoint(), packet.destination_endpoint());
    assert_eq!(reset.destination_endpoint(), packet.source_endpoint());
}

/// The short way of plain datagrams is no other way.
fn edit_plainly(packet: &Packet, endpoint: SocketAddr) {
    let SocketAddr::V4(new) = endpoint else { return };
    for side in [Side::Source, Side::Destination] {
        let (mut short, mut long) = (packet.clone(), packet.clone());
        short.rewrite_plain_udp(side, *new.ip(), new.port());
        if packet.plain_udp().is_some() {
            long.rewrite_ipv4(side, *new.ip(), new.port());
        }
        assert_eq!(short, long);
    }
}

/// Every edit, one after another.
fn edit(packet: &Packet) {
    let mut chance = hash(packet.bytes());
    let mut edited = packet.clone();
    edited.decrement_ttl();
    assert_eq!(edited.ttl(), packet.ttl().saturating_sub(1));
    edited.set_ttl(chance as u8);
    assert_eq!(edited.ttl(), chance as u8);
    edited.rewrite_identification(chance as u16);
    edited.clear_dont_fragment();
    assert_eq!(edited.dont_fragment(), packet.is_ipv6());
    assert_sound(packet, &edited);
    for _ in 0..2 {
        let (source, destination) = (endpoint(packet, &mut chance), endpoint(packet, &mut chance));
        edited.rewrite_source(source);
        assert_eq!(edited.source(), source.ip());
        assert!(edited.protocol().is_none() || edited.source_endpoint() == source);
        edited.rewrite_destination(destination);
        assert!(edited.protocol().is_none() || edited.destination_endpoint() == destination);
        assert_eq!((edited.source(), edited.destination()), (source.ip(), destination.ip()));
        assert_sound(packet, &edited);
        edited.rewrite_quoted_source(destination);
        assert_eq!(edited.quoted().map(|quote| quote.source), packet.quoted().map(|_| destination));
        edited.rewrite_quoted_destination(source);
        assert_eq!(edited.quoted().map(|quote| quote.destination), packet.quoted().map(|_| source));
        assert_sound(packet, &edited);
        edit_plainly(packet, source);
        if let Some(checksum) = edited.quoted_ip_checksum() {
            edited.set_quoted_ip_checksum(!checksum);
            assert_eq!(edited.quoted_ip_checksum(), Some(!checksum));
            edited.set_quoted_ip_checksum(checksum);
            assert_sound(packet, &edited);
        }
    }
    edited.rewrite_source(packet.source_endpoint());
    edited.rewrite_destination(packet.destination_endpoint());
    assert_eq!(edited.source_endpoint(), packet.source_endpoint());
    assert_eq!(edited.destination_endpoint(), packet.destination_endpoint());
    assert_sound(packet, &edited);
}

/// An endpoint of the packet's version that it may come from. Ports at the edges are the likely ones.
fn endpoint(packet: &Packet, chance: &mut u64) -> SocketAddr {
    *chance = chance.wrapping_mul(0x5851_F42D_4C95_7F2D).wrapping_add(1);
    let address = match packet.is_ipv6() {
        false => IpAddr::V4(Ipv4Addr::from(0x0A00_0000 | (*chance >> 40) as u32)),
        true => IpAddr::V6(Ipv6Addr::from(0x2001_0db8 << 96 | u128::from(*chance >> 8))),
    };
    let port = [0, 1, 0xFFFF, (*chance >> 16) as u16][(*chance >> 61) as usize % 4];
    SocketAddr::new(address, port)
}

fn cut_and_join(packet: &Packet, mtu_bytes: usize) {
    let Some(pieces) = build::fragments(packet.clone(), mtu_bytes, 7) else { return };
    if let [only] = &pieces[..] {
        return assert_eq!(only, packet);
    }
    assert!(pieces.iter().all(|piece| piece.bytes().len() <= mtu_bytes && piece.is_fragment()));
    let data: Vec<u8> = pieces.iter().flat_map(|piece| piece.fragment_data()).copied().collect();
    assert_eq!(data.len(), data_bytes(packet), "nothing is lost");
    let joined = build::join(&pieces[0], &data);
    if packet.is_fragment() {
        return;
    }
    // The header checksum is made anew: the two ways to write a sum of nothing are one.
    let mut expected = packet.clone();
    expected.set_ttl(packet.ttl());
    assert_eq!(joined, Some(expected));
}

/// How much of a packet is cut: an IPv6 packet's headers that belong to every fragment are not.
fn data_bytes(packet: &Packet) -> usize {
    match packet.is_ipv6() {
        false => packet.ip_payload().len(),
        true => fragmentable(packet.bytes()),
    }
}

/// RFC 8200 section 4.5: behind the hop-by-hop options, or behind the last routing header.
fn fragmentable(bytes: &[u8]) -> usize {
    let (mut next, mut at, mut begin) = (bytes[6], 40, 40);
    while let (0 | 43 | 60, Some([following, units])) = (next, bytes.get(at..at + 2)) {
        at += (usize::from(*units) + 1) * 8;
        if next != 60 {
            begin = at;
        }
        next = *following;
    }
    bytes.len() - begin
}

fn answer(packet: &Packet, error: IcmpError) {
    let from: IpAddr =
        if packet.is_ipv6() { [0x2001, 0xdb8, 9, 0, 0, 0, 0, 9].into() } else { [203, 0, 113, 9].into() };
    let Some(reply) = build::icmp_error(error, from, packet) else { return };
    assert!(reply.transport_checksum_ok() && !reply.is_fragment());
    assert!(reply.bytes().len() <= if packet.is_ipv6() { 1280 } else { 576 });
    assert_eq!((reply.source(), reply.destination()), (from, packet.source()));
    assert!(matches!(reply.transport(), Transport::IcmpError(_)), "{reply:?}");
    if let Some(quoted) = reply.quoted() {
        assert_eq!((quoted.source, quoted.destination), (packet.source_endpoint(), packet.destination_endpoint()));
        assert_eq!(Some(quoted.protocol), packet.protocol());
    }
    assert!(build::icmp_error(error, from, &reply).is_none(), "no error about an error");
    read(&reply);
    edit(&reply);
}

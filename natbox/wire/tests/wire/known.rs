//! Known packets, byte for byte.

use crate::generate::endpoint;

use natbox_wire::build::{self, IpFields};
use natbox_wire::{IcmpError, Packet, Protocol, Quoted, Transport};

/// nat-behaviour vector: 10.0.0.2:5000 to 192.0.2.1:3478, payload B7 ED, checksum 0x5ACB.
fn vector() -> Packet {
    build::udp(endpoint("10.0.0.2:5000"), endpoint("192.0.2.1:3478"), IpFields::default(), &[0xB7, 0xED]).unwrap()
}

#[test]
fn a_udp_datagram_is_built_byte_for_byte() {
    assert_eq!(
        vector().bytes(),
        [
            0x45, 0, 0, 30, 0, 0, 0, 0, 64, 17, 0xAE, 0xCC, 10, 0, 0, 2, 192, 0, 2, 1, // IPv4
            0x13, 0x88, 0x0D, 0x96, 0, 10, 0x5A, 0xCB, // UDP
            0xB7, 0xED,
        ]
    );
}

#[test]
fn a_udp_checksum_that_comes_to_zero_is_written_ffff_and_leads_back() {
    let mut packet = vector();
    packet.rewrite_source(endpoint("198.51.100.1:20000"));
    assert_eq!(&packet.bytes()[26..28], &[0xFF, 0xFF]);
    assert!(packet.transport_checksum_ok());
    packet.rewrite_source(endpoint("198.51.100.1:20000")); // no net change: 0 by the formula, still 0xFFFF
    assert_eq!(&packet.bytes()[26..28], &[0xFF, 0xFF]);
    packet.rewrite_source(endpoint("10.0.0.2:5000"));
    assert_eq!(packet, vector());
}

#[test]
fn an_icmp_error_quotes_and_its_quote_is_translated() {
    let offender = vector();
    let router = "198.18.0.1".parse().unwrap();
    let mut error = build::icmp_error(IcmpError::PacketTooBig { mtu: 1400 }, router, &offender).unwrap();
    assert_eq!(error.transport(), Transport::IcmpError(IcmpError::PacketTooBig { mtu: 1400 }));
    assert_eq!(error.payload(), offender.bytes());
    assert!(error.transport_checksum_ok());
    let quoted =
        Quoted { protocol: Protocol::Udp, source: endpoint("10.0.0.2:5000"), destination: endpoint("192.0.2.1:3478") };
    assert_eq!(error.quoted(), Some(quoted));
    error.rewrite_quoted_source(endpoint("198.51.100.1:20000"));
    assert!(error.transport_checksum_ok());
    let mut translated = offender.clone();
    translated.rewrite_source(endpoint("198.51.100.1:20000"));
    assert_eq!(error.payload(), translated.bytes());
}

#[test]
fn packets_read_aloud_in_one_line() {
    let offender = vector();
    assert_eq!(offender.summary(), "UDP 10.0.0.2:5000 > 192.0.2.1:3478, 2 bytes");
    let error = build::icmp_error(IcmpError::PortUnreachable, "192.0.2.1".parse().unwrap(), &offender).unwrap();
    assert_eq!(error.summary(), "ICMP port-unreachable 192.0.2.1 > 10.0.0.2, about UDP 10.0.0.2:5000 > 192.0.2.1:3478");
}

#[test]
fn a_checksum_is_right_whichever_zero_its_sums_come_to() {
    // The pseudo-header alone sums to 0xFFFF: 0A00 + 0001 + C612 + 2FD3 + 0011 + 0008.
    let (source, destination) = (endpoint("10.0.0.1:5000"), endpoint("198.18.47.211:53"));
    let packet = build::udp(source, destination, IpFields::default(), &[]).unwrap();
    assert_eq!(&packet.bytes()[26..28], &(!(5000_u16 + 53 + 8)).to_be_bytes());
    assert!(packet.transport_checksum_ok());
}

#[test]
fn an_echo_reply_of_nothing_but_zeros_keeps_a_right_checksum() {
    let (from, to) = ("192.0.2.1".parse().unwrap(), "198.51.100.1".parse().unwrap());
    let mut reply = build::echo(false, from, to, IpFields::default(), 77, 0, &[0; 8]).unwrap();
    reply.rewrite_destination(endpoint("10.0.0.2:0"));
    assert_eq!(&reply.bytes()[22..24], &[0xFF, 0xFF]);
    assert!(reply.transport_checksum_ok());
    assert_eq!(
        reply,
        build::echo(false, from, "10.0.0.2".parse().unwrap(), IpFields::default(), 0, 0, &[0; 8]).unwrap()
    );
    reply.rewrite_destination(endpoint("198.51.100.1:77"));
    assert!(reply.transport_checksum_ok());
    // With anything else in it, a sum of zero stays the 0 that a computation from scratch gives.
    let mut other = build::echo(false, from, to, IpFields::default(), 77, 0, &[0xFF, 0xFF]).unwrap();
    other.rewrite_destination(endpoint("10.0.0.2:0"));
    assert_eq!(
        other,
        build::echo(false, from, "10.0.0.2".parse().unwrap(), IpFields::default(), 0, 0, &[0xFF, 0xFF]).unwrap()
    );
}

//! Every accessor says what smoltcp says of the same bytes.

use std::net::IpAddr;

use natbox_wire::{Packet, TcpFlags, Transport};
use proptest::prelude::*;
use smoltcp::wire::{
    Icmpv4Message, Icmpv4Packet, Icmpv6Message, Icmpv6Packet, Ipv4Packet, Ipv6ExtHeader, Ipv6Packet, TcpPacket,
    UdpPacket,
};

use crate::generate::any_packet;

/// The protocol number and IP payload that smoltcp finds.
fn ip_agrees(packet: &Packet) -> Result<(u8, Vec<u8>), TestCaseError> {
    if packet.is_ipv6() {
        let theirs = Ipv6Packet::new_checked(packet.bytes()).unwrap();
        prop_assert_eq!(packet.source(), IpAddr::from(theirs.src_addr()));
        prop_assert_eq!(packet.destination(), IpAddr::from(theirs.dst_addr()));
        prop_assert_eq!((packet.ttl(), packet.traffic_class()), (theirs.hop_limit(), theirs.traffic_class()));
        let (mut number, mut rest) = (u8::from(theirs.next_header()), theirs.payload());
        while matches!(number, 0 | 43 | 44 | 60) {
            let header = Ipv6ExtHeader::new_checked(rest).unwrap();
            let length = if number == 44 { 8 } else { (usize::from(header.header_len()) + 1) * 8 };
            number = header.next_header().into();
            rest = &rest[length..];
        }
        return Ok((number, rest.to_vec()));
    }
    let theirs = Ipv4Packet::new_checked(packet.bytes()).unwrap();
    prop_assert!(theirs.verify_checksum());
    prop_assert_eq!(packet.source(), IpAddr::from(theirs.src_addr()));
    prop_assert_eq!(packet.destination(), IpAddr::from(theirs.dst_addr()));
    prop_assert_eq!(packet.ttl(), theirs.hop_limit());
    prop_assert_eq!(packet.traffic_class() >> 2, theirs.dscp());
    prop_assert_eq!(packet.dont_fragment(), theirs.dont_frag());
    prop_assert_eq!(packet.identification(), Some(theirs.ident()));
    prop_assert_eq!(packet.fragment().is_some(), theirs.more_frags() || theirs.frag_offset() != 0);
    Ok((theirs.next_header().into(), theirs.payload().to_vec()))
}

fn transport_agrees(packet: &Packet, part: &[u8]) -> Result<(), TestCaseError> {
    let (from, to) = (packet.source().into(), packet.destination().into());
    let ok = packet.transport_checksum_ok();
    match packet.transport() {
        Transport::Udp { source, destination } => {
            let theirs = UdpPacket::new_checked(part).unwrap();
            prop_assert_eq!((source, destination), (theirs.src_port(), theirs.dst_port()));
            prop_assert_eq!(packet.payload(), theirs.payload());
            let missing = packet.is_ipv6() && theirs.checksum() == 0;
            prop_assert_eq!(ok, theirs.verify_checksum(&from, &to) && !missing);
        }
        Transport::Tcp { source, destination, flags } => {
            let theirs = TcpPacket::new_checked(part).unwrap();
            prop_assert_eq!((source, destination), (theirs.src_port(), theirs.dst_port()));
            let [syn, ack, fin] = [theirs.syn(), theirs.ack(), theirs.fin()];
            prop_assert_eq!(flags, TcpFlags { syn, ack, fin, rst: theirs.rst(), psh: theirs.psh() });
            prop_assert_eq!(packet.tcp_sequence(), Some(theirs.seq_number().0 as u32));
            prop_assert_eq!(packet.tcp_acknowledgement(), Some(theirs.ack_number().0 as u32));
            prop_assert_eq!(packet.tcp_window(), Some(theirs.window_len()));
            prop_assert_eq!(packet.payload(), theirs.payload());
            prop_assert_eq!(ok, theirs.verify_checksum(&from, &to));
        }
        Transport::Echo { request, identifier, sequence } if packet.is_ipv6() => {
            let theirs = Icmpv6Packet::new_checked(part).unwrap();
            prop_assert_eq!(request, theirs.msg_type() == Icmpv6Message::EchoRequest);
            prop_assert_eq!((identifier, sequence), (theirs.echo_ident(), theirs.echo_seq_no()));
            prop_assert_eq!(packet.payload(), theirs.payload());
        }
        Transport::Echo { request, identifier, sequence } => {
            let theirs = Icmpv4Packet::new_checked(part).unwrap();
            prop_assert_eq!(request, theirs.msg_type() == Icmpv4Message::EchoRequest);
            prop_assert_eq!((identifier, sequence), (theirs.echo_ident(), theirs.echo_seq_no()));
            prop_assert_eq!(packet.payload(), theirs.data());
            prop_assert_eq!(ok, theirs.verify_checksum());
        }
        Transport::Query { kind, identifier } => {
            prop_assert!((13..=18).contains(&kind));
            prop_assert_eq!((kind, &identifier.to_be_bytes()), (part[0], &part[4..6].try_into().unwrap()));
        }
        Transport::OtherIcmp { kind, code } => prop_assert_eq!(&[kind, code], &part[..2]),
        Transport::Other => prop_assert_eq!(packet.payload(), part),
        Transport::IcmpError(_) | Transport::LaterFragment => prop_assert!(false, "not generated"),
    }
    if let (1.., IpAddr::V6(from), IpAddr::V6(to), 58) =
        (part.len(), packet.source(), packet.destination(), packet.protocol_number())
    {
        prop_assert_eq!(ok, Icmpv6Packet::new_unchecked(part).verify_checksum(&from, &to));
    }
    Ok(())
}

proptest! {
    #[test]
    fn accessors_agree_with_smoltcp(packet in any_packet(), corrupt in prop::option::of(any::<prop::sample::Index>())) {
        let mut bytes = packet.into_bytes();
        if let Some(index) = corrupt {
            // In the last bytes, so that headers stay whole while checksums become wrong.
            let at = bytes.len() - 1 - index.index(4);
            bytes[at] ^= 0x10;
        }
        let Ok(packet) = Packet::parse(bytes) else { return Ok(()) };
        let (number, part) = ip_agrees(&packet)?;
        prop_assert_eq!(packet.protocol_number(), number);
        prop_assert_eq!(packet.ip_payload(), &part[..]);
        prop_assert_eq!(packet.fragment_data().len() >= part.len(), true);
        transport_agrees(&packet, &part)?;
    }
}

//! Cutting and joining.

use natbox_wire::build::{self, IpFields};
use natbox_wire::{Fragment, Packet, Protocol, Transport};
use proptest::collection::vec;
use proptest::prelude::*;

use crate::generate::{IPV4_OPTIONS, any_packet, endpoint, host, parsed, with_extension, with_options};

fn joined(pieces: &[Packet]) -> Packet {
    let data: Vec<u8> = pieces.iter().flat_map(|piece| piece.fragment_data().iter().copied()).collect();
    build::join(&pieces[0], &data).unwrap()
}

/// Each fragment fits, and begins where the one before it ended.
fn in_order(pieces: &[Packet], mtu_bytes: usize) -> Result<(), TestCaseError> {
    let mut next = 0;
    for (index, piece) in pieces.iter().enumerate() {
        let place = piece.fragment().unwrap();
        prop_assert!(piece.bytes().len() <= mtu_bytes);
        prop_assert_eq!(usize::from(place.offset_bytes), next);
        prop_assert_eq!(place.more, index + 1 < pieces.len());
        prop_assert_eq!(Some(place.identification), pieces[0].fragment().map(|place| place.identification));
        prop_assert!(piece.transport_checksum_ok());
        prop_assert_eq!(piece.transport() == Transport::LaterFragment, index > 0);
        next += piece.fragment_data().len();
    }
    Ok(())
}

proptest! {
    #[test]
    fn joined_fragments_are_the_packet_again(mut packet in any_packet(), mtu_bytes in 28_usize..200, identification: u32) {
        packet.clear_dont_fragment();
        let fits = packet.bytes().len() <= mtu_bytes;
        let Some(pieces) = build::fragments(packet.clone(), mtu_bytes, identification) else {
            prop_assert!(!fits);
            return Ok(());
        };
        if fits {
            prop_assert_eq!(pieces, vec![packet]);
            return Ok(());
        }
        in_order(&pieces, mtu_bytes)?;
        prop_assert_eq!(joined(&pieces), packet);
    }

    #[test]
    fn translated_fragments_join_to_the_translated_packet(
        (source, destination, new) in any::<bool>().prop_flat_map(|ipv6| (host(ipv6), host(ipv6), host(ipv6))),
        payload in vec(any::<u8>(), 1300..1500), mtu_bytes in 128_usize..1280,
    ) {
        let mut packet = build::udp(source, destination, IpFields::default(), &payload).unwrap();
        let mut pieces = build::fragments(packet.clone(), mtu_bytes, 77).unwrap();
        pieces.iter_mut().for_each(|piece| piece.rewrite_source(new));
        packet.rewrite_source(new);
        prop_assert_eq!(joined(&pieces), packet);
    }

    #[test]
    fn fragments_of_fragments_join_as_well(payload in vec(any::<u8>(), 1000..3000), first in 500_usize..900) {
        let ip = IpFields { identification: 9, ..IpFields::default() };
        let packet = build::udp(endpoint("10.0.0.1:1"), endpoint("10.0.0.2:2"), ip, &payload).unwrap();
        let pieces = build::fragments(packet.clone(), first, 0).unwrap();
        let finer: Vec<Packet> =
            pieces.into_iter().flat_map(|piece| build::fragments(piece, 300, 0).unwrap()).collect();
        in_order(&finer, 300)?;
        prop_assert_eq!(joined(&finer), packet);
    }
}

fn datagram(payload_bytes: usize, dont_fragment: bool) -> Packet {
    let ip = IpFields { dont_fragment, identification: 0x1234, ..IpFields::default() };
    build::udp(endpoint("10.0.0.1:1000"), endpoint("10.0.0.2:2000"), ip, &vec![7; payload_bytes]).unwrap()
}

#[test]
fn a_datagram_is_cut_at_multiples_of_eight_bytes() {
    let pieces = build::fragments(datagram(3000, false), 1500, 0).unwrap();
    let places: Vec<_> = pieces.iter().map(|piece| (piece.fragment().unwrap(), piece.bytes().len())).collect();
    let place = |offset_bytes, more| Fragment { identification: 0x1234, offset_bytes, more };
    assert_eq!(places, [(place(0, true), 1500), (place(1480, true), 1500), (place(2960, false), 68)]);
    assert_eq!(pieces[0].protocol(), Some(Protocol::Udp));
    assert_eq!(pieces[0].source_endpoint(), endpoint("10.0.0.1:1000"));
    assert_eq!(pieces[1].source_endpoint(), endpoint("10.0.0.1:0"));
    assert_eq!(pieces[0].summary(), "UDP 10.0.0.1:1000 > 10.0.0.2:2000, 1472 bytes, first fragment of datagram 4660");
    assert_eq!(
        pieces[2].summary(),
        "fragment of protocol 17 10.0.0.1 > 10.0.0.2, 48 bytes at 2960 of datagram 4660, the last"
    );
}

#[test]
fn an_ipv6_datagram_gets_a_fragment_header_behind_its_hop_by_hop_options() {
    let bare = build::udp(endpoint("[2001:db8::1]:1"), endpoint("[2001:db8::2]:2"), IpFields::default(), &[7; 2000]);
    let with_destination_options = with_extension(bare.unwrap().into_bytes(), 60, &[0, 0, 1, 4, 0, 0, 0, 0]);
    let packet = parsed(with_extension(with_destination_options, 0, &[0, 0, 5, 2, 0, 0, 1, 0]));
    let pieces = build::fragments(packet.clone(), 1280, 0xABCD_EF01).unwrap();
    assert_eq!(pieces.len(), 2);
    assert_eq!(pieces[0].bytes()[6], 0);
    assert_eq!(&pieces[0].bytes()[40..48], &[44, 0, 5, 2, 0, 0, 1, 0]);
    assert_eq!(&pieces[0].bytes()[48..56], &[60, 0, 0, 1, 0xAB, 0xCD, 0xEF, 0x01]);
    assert_eq!(pieces[0].fragment_data().len(), pieces[0].ip_payload().len() + 8);
    assert_eq!(pieces[1].fragment().unwrap().identification, 0xABCD_EF01);
    assert_eq!(joined(&pieces), packet);
    assert_eq!(build::fragments(pieces[0].clone(), 600, 1), None, "only its source may fragment an IPv6 packet");
}

#[test]
fn only_copied_options_stand_in_later_fragments() {
    let packet = parsed(with_options(datagram(100, false), &[0, 1]));
    let pieces = build::fragments(packet.clone(), 80, 0).unwrap();
    let options = |piece: &Packet| piece.bytes()[20..piece.bytes().len() - piece.ip_payload().len()].to_vec();
    assert_eq!(options(&pieces[0]), [IPV4_OPTIONS[0], IPV4_OPTIONS[1], &[0]].concat());
    assert_eq!(options(&pieces[1]), IPV4_OPTIONS[1]);
    assert_eq!(joined(&pieces), packet);
}

#[test]
fn what_must_not_or_cannot_be_cut_is_not() {
    assert_eq!(build::fragments(datagram(1000, true), 500, 0), None, "don't fragment");
    assert_eq!(build::fragments(datagram(1000, false), 27, 0), None, "no room for eight bytes");
    assert!(build::fragments(datagram(1000, false), 28, 0).is_some());
    let (a, b) = (endpoint("10.0.0.1:1"), endpoint("10.0.0.2:2"));
    let segment = build::tcp(a, b, IpFields::default(), Default::default(), 1, 2, 3, &[0; 100]).unwrap();
    assert_eq!(build::fragments(segment.clone(), 36, 0), None, "the TCP header would not be in the first");
    assert!(build::fragments(segment, 48, 0).is_some());
}

#[test]
fn only_a_first_fragment_is_joined_and_only_to_a_whole_packet() {
    let pieces = build::fragments(datagram(3000, false), 1500, 0).unwrap();
    assert_eq!(build::join(&pieces[1], &[0; 3008]), None);
    assert_eq!(build::join(&datagram(10, false), &[0; 18]), None);
    assert_eq!(build::join(&pieces[0], pieces[0].fragment_data()), None, "shorter than the UDP length says");
    assert_eq!(build::join(&pieces[0], &[0; 65_535]), None);
}

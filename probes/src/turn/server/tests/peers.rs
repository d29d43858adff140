//! Ledger rows perm, send/data, chdata, demux, icmp.

use super::*;
use natbox_wire::IcmpError;
use stun_types::attribute::{Attribute, AttributeStaticType, RawAttribute};
use turn_types::attribute::{DontFragment, Icmp};
use turn_types::message::DATA;

fn ready() -> (Table, SocketAddr) {
    let mut table = Table::new();
    let relay = table.allocated();
    table.permit(&[addr(PEER)]).expect_success();
    (table, relay)
}

#[test]
fn data_to_a_permitted_peer_leaves_the_relayed_address() {
    let (mut table, relay) = ready();
    let relayed = table.indicate(b"hello", addr(PEER)).unwrap();
    let payload = b"hello".to_vec();
    assert_eq!(relayed, [Output::Relay { relay, peer: addr(PEER), payload, dont_fragment: false }]);
}

#[test]
fn an_empty_data_attribute_is_an_empty_datagram() {
    let (mut table, relay) = ready();
    let relayed = table.indicate(b"", addr(PEER)).unwrap();
    assert_eq!(relayed, [Output::Relay { relay, peer: addr(PEER), payload: vec![], dont_fragment: false }]);
}

#[test]
fn nothing_is_relayed_before_the_socket_is_open() {
    let mut table = Table::new();
    let request = table.request(ALLOCATE, &[&RequestedTransport::new(RequestedTransport::UDP)]);
    let id = table.id();
    let permission = table.request_as(id, CREATE_PERMISSION, &[&XorPeerAddress::new(addr(PEER), id)]);
    let writer = Writer::new(MessageClass::Indication, SEND, id).with(&XorPeerAddress::new(addr(PEER), id));
    let (five_tuple, now) = (table.five_tuple(), table.now);
    table.server.receive(&request, five_tuple, now).unwrap();
    let Some(Output::Open { relay }) = table.server.poll_output() else { panic!("a socket is asked for") };
    table.server.receive(&permission, five_tuple, now).unwrap();
    let send = writer.with(&Data::new(b"early")).finish(None, false);
    assert_eq!(table.server.receive(&send, five_tuple, now), Err(Discard::InProgress));
    table.server.opened(relay, true, now);
    table.drain();
    table.send(&send).unwrap();
    assert!(matches!(table.outputs.as_slice(), [Output::Relay { .. }]));
}

#[test]
fn dont_fragment_in_a_send_indication_forbids_fragments() {
    let (mut table, _) = ready();
    let id = table.id();
    let writer = Writer::new(MessageClass::Indication, SEND, id).with(&XorPeerAddress::new(addr(PEER), id));
    let datagram = writer.with(&Data::new(b"x")).with(&DontFragment::new()).finish(None, false);
    table.send(&datagram).unwrap();
    assert!(matches!(table.outputs.as_slice(), [Output::Relay { dont_fragment: true, .. }]));
    let mut table = Table::with(ServerConfig { dont_fragment: false, ..config() });
    table.allocated();
    table.permit(&[addr(PEER)]).expect_success();
    assert_eq!(table.send(&datagram), Err(Discard::UnknownAttribute));
}

#[test]
fn a_send_indication_without_peer_data_or_permission_is_dropped() {
    let (mut table, _) = ready();
    assert_eq!(table.indicate(b"x", addr("203.0.113.10:7000")), Err(Discard::NoPermission));
    let id = table.id();
    let no_data = Writer::new(MessageClass::Indication, SEND, id).with(&XorPeerAddress::new(addr(PEER), id));
    assert_eq!(table.send(&no_data.finish(None, false)), Err(Discard::MissingAttribute));
    let no_peer = Writer::new(MessageClass::Indication, SEND, id).with(&Data::new(b"x"));
    assert_eq!(table.send(&no_peer.finish(None, false)), Err(Discard::MissingAttribute));
    table.client = addr(OTHER_CLIENT);
    assert_eq!(table.indicate(b"x", addr(PEER)), Err(Discard::NoAllocation));
}

#[test]
fn a_send_indication_with_an_unknown_attribute_is_dropped() {
    let (mut table, _) = ready();
    let id = table.id();
    let writer = Writer::new(MessageClass::Indication, SEND, id).with(&XorPeerAddress::new(addr(PEER), id));
    let strange = RawAttribute::new(0x7ABC.into(), &[]);
    let datagram = writer.with(&Data::new(b"x")).with(&strange).finish(None, false);
    assert_eq!(table.send(&datagram), Err(Discard::UnknownAttribute));
}

#[test]
fn a_permission_is_for_the_address_whatever_the_port_and_data_names_the_port() {
    let (mut table, relay) = ready();
    for port in [7000, 1, 65535] {
        let peer = SocketAddr::new(addr(PEER).ip(), port);
        let answer = Answer(table.arrive(b"hi", peer, relay).unwrap());
        let message = answer.message();
        assert_eq!((message.class(), message.method()), (MessageClass::Indication, DATA));
        let named = message.attribute::<XorPeerAddress>().unwrap().addr(message.transaction_id());
        assert_eq!(named, peer);
        assert_eq!(message.attribute::<Data<'_>>().unwrap().data(), b"hi");
    }
}

#[test]
fn a_datagram_without_permission_is_dropped_so_the_relay_filters_by_address() {
    let (mut table, relay) = ready();
    assert_eq!(table.arrive(b"hi", addr("203.0.113.10:7000"), relay), Err(Discard::NoPermission));
    let unlent = SocketAddr::new(relay.ip(), 1);
    assert_eq!(table.arrive(b"hi", addr(PEER), unlent), Err(Discard::NoAllocation));
}

#[test]
fn a_permission_lasts_exactly_300_seconds_and_data_does_not_refresh_it() {
    let (mut table, relay) = ready();
    table.wait(seconds(150));
    assert!(table.indicate(b"out", addr(PEER)).is_ok());
    assert!(table.arrive(b"in", addr(PEER), relay).is_ok());
    table.wait(seconds(150) - Duration::from_nanos(1));
    assert!(table.arrive(b"in", addr(PEER), relay).is_ok());
    assert!(table.indicate(b"out", addr(PEER)).is_ok());
    table.wait(Duration::from_nanos(1));
    assert_eq!(table.arrive(b"in", addr(PEER), relay), Err(Discard::NoPermission));
    assert_eq!(table.indicate(b"out", addr(PEER)), Err(Discard::NoPermission));
}

#[test]
fn create_permission_and_channel_bind_refresh_a_permission() {
    let (mut table, relay) = ready();
    table.wait(seconds(200));
    table.permit(&[addr(PEER)]).expect_success();
    table.wait(seconds(299));
    table.bind(0x4000, addr(PEER)).expect_success();
    table.wait(seconds(99));
    assert!(table.arrive(b"in", addr(PEER), relay).is_ok(), "598 s after the first permission");
}

#[test]
fn channel_data_does_not_refresh_a_permission_and_the_channel_outlives_it() {
    let mut table = Table::new();
    let relay = table.allocated();
    table.bind(0x4000, addr(PEER)).expect_success();
    table.wait(seconds(299));
    assert_eq!(table.send(&[0x40, 0x00, 0, 1, b'x']), Ok(()));
    assert!(table.arrive(b"in", addr(PEER), relay).is_ok());
    table.wait(seconds(1));
    assert_eq!(table.arrive(b"in", addr(PEER), relay), Err(Discard::NoPermission));
    assert_eq!(table.send(&[0x40, 0x00, 0, 1, b'x']), Ok(()));
}

#[test]
fn data_from_a_bound_peer_comes_as_channel_data_and_from_its_other_ports_as_indications() {
    let (mut table, relay) = ready();
    table.bind(0x4ABC, addr(PEER)).expect_success();
    assert_eq!(table.arrive(b"hello", addr(PEER), relay).unwrap(), b"\x4A\xBC\x00\x05hello");
    let other = SocketAddr::new(addr(PEER).ip(), 7001);
    let indication = table.arrive(b"hello", other, relay).unwrap();
    assert_eq!(indication[..2], [0x00, 0x17], "Data indication");
}

#[test]
fn channel_data_may_be_padded_and_may_be_empty() {
    let (mut table, relay) = ready();
    table.bind(0x4000, addr(PEER)).expect_success();
    for (datagram, payload) in [
        (vec![0x40, 0x00, 0, 1, b'x', 0, 0, 0], b"x".to_vec()),
        (vec![0x40, 0x00, 0, 1, b'x'], b"x".to_vec()),
        (vec![0x40, 0x00, 0, 0], vec![]),
    ] {
        table.send(&datagram).unwrap();
        assert_eq!(table.outputs, [Output::Relay { relay, peer: addr(PEER), payload, dont_fragment: false }]);
    }
}

#[test]
fn channel_data_that_is_short_unbound_or_out_of_range_is_dropped() {
    let (mut table, _) = ready();
    table.bind(0x4000, addr(PEER)).expect_success();
    assert_eq!(table.send(&[0x40, 0x00, 0, 2, b'x']), Err(Discard::Malformed));
    assert_eq!(table.send(&[0x40, 0x00, 0]), Err(Discard::Malformed));
    assert_eq!(table.send(&[0x40, 0x01, 0, 1, b'x']), Err(Discard::NoChannel));
    assert_eq!(table.send(&[0x50, 0x00, 0, 1, b'x']), Err(Discard::NoChannel));
    assert_eq!(table.send(&[0x80, 0x00, 0, 1, b'x']), Err(Discard::NotTurn));
    assert_eq!(table.send(&[]), Err(Discard::NotTurn));
    table.client = addr(OTHER_CLIENT);
    assert_eq!(table.send(&[0x40, 0x00, 0, 1, b'x']), Err(Discard::NoAllocation));
}

#[test]
fn the_longest_payload_is_what_still_fits_into_a_datagram() {
    let (mut table, relay) = ready();
    let too_long = vec![0; 65_507];
    assert_eq!(table.arrive(&too_long, addr(PEER), relay), Err(Discard::TooLong));
    assert!(table.arrive(&too_long[..65_400], addr(PEER), relay).unwrap().len() <= 65_507);
    table.bind(0x4000, addr(PEER)).expect_success();
    assert_eq!(table.arrive(&too_long, addr(PEER), relay), Err(Discard::TooLong));
    assert_eq!(table.arrive(&too_long[4..], addr(PEER), relay).unwrap().len(), 65_507);
}

#[test]
fn an_icmp_error_comes_as_a_data_indication_with_type_code_and_mtu() {
    let (mut table, relay) = ready();
    for (error, bytes) in [
        (IcmpError::PortUnreachable, [0, 0, 3, 3, 0, 0, 0, 0]),
        (IcmpError::PacketTooBig { mtu: 1400 }, [0, 0, 3, 4, 0, 0, 0x05, 0x78]),
        (IcmpError::TtlExceeded, [0, 0, 11, 0, 0, 0, 0, 0]),
    ] {
        table.outputs.clear();
        table.server.receive_icmp(error, addr(PEER), relay, table.now).unwrap();
        table.drain();
        let [Output::Reply { payload, .. }] = table.outputs.as_slice() else { panic!("{:?}", table.outputs) };
        let answer = Answer(payload.clone());
        let message = answer.message();
        let raw = message.raw_attribute(Icmp::TYPE).unwrap();
        assert_eq!((raw.get_type().value(), &*raw.value), (0x8004, bytes.as_slice()));
        assert_eq!(message.attribute::<XorPeerAddress>().unwrap().addr(message.transaction_id()), addr(PEER));
        assert!(!message.has_attribute(Data::TYPE));
    }
}

#[test]
fn an_icmp_error_of_another_type_or_about_a_peer_without_permission_is_dropped() {
    let (mut table, relay) = ready();
    let redirect = IcmpError::Other { kind: 5, code: 0 };
    assert_eq!(table.server.receive_icmp(redirect, addr(PEER), relay, table.now), Err(Discard::IcmpType));
    let stranger = addr("203.0.113.10:7000");
    let unreachable = IcmpError::PortUnreachable;
    assert_eq!(table.server.receive_icmp(unreachable, stranger, relay, table.now), Err(Discard::NoPermission));
    assert_eq!(table.server.poll_output(), None);
}

#[test]
fn two_clients_of_one_relay_talk_through_it() {
    let mut table = Table::new();
    let first = table.allocated();
    table.client = addr(OTHER_CLIENT);
    let second = table.allocated();
    table.permit(&[first]).expect_success();
    table.client = addr(CLIENT);
    table.permit(&[second]).expect_success();
    let relayed = table.indicate(b"ping", second).unwrap();
    let [Output::Relay { relay, peer, payload, .. }] = relayed.as_slice() else { panic!("{relayed:?}") };
    let (payload, relay, peer) = (payload.clone(), *relay, *peer);
    assert!(table.arrive(&payload, relay, peer).is_ok());
    let five_tuple = FiveTuple { client: addr(OTHER_CLIENT), server: addr(SERVER), carrier: crate::turn::Carrier::Udp };
    assert!(matches!(&table.outputs[0], Output::Reply { five_tuple: to, .. } if *to == five_tuple));
}

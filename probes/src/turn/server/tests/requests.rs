//! Ledger rows createperm, channel, methods, and the rules that all requests share.

use super::*;
use stun_types::AddressFamily;
use stun_types::attribute::{AttributeStaticType, RawAttribute};
use turn_types::attribute::{AdditionalAddressFamily, RequestedAddressFamily};

#[test]
fn refresh_with_lifetime_0_gives_the_address_back_and_a_second_one_is_437() {
    let mut table = Table::new();
    let relay = table.allocated();
    assert_eq!(table.refresh(0).expect_success().lifetime(), 0);
    assert!(table.outputs.contains(&Output::Close { relay }));
    assert_eq!(table.server.next_deadline(), None);
    assert_eq!(table.refresh(0).code(), Some(437));
}

#[test]
fn requests_without_an_allocation_are_437_and_by_another_user_441() {
    let mut table = Table::new();
    assert_eq!(table.refresh(600).code(), Some(437));
    assert_eq!(table.permit(&[addr(PEER)]).code(), Some(437));
    assert_eq!(table.bind(0x4000, addr(PEER)).code(), Some(437));
    table.allocated();
    table.user = ("bob", "hidden");
    assert_eq!(table.refresh(600).code(), Some(441));
    assert_eq!(table.permit(&[addr(PEER)]).code(), Some(441));
    assert_eq!(table.bind(0x4000, addr(PEER)).code(), Some(441));
}

#[test]
fn refresh_for_a_family_that_the_allocation_lacks_is_443() {
    let mut table = Table::new();
    table.allocated();
    let answer = table.ask(REFRESH, &[&RequestedAddressFamily::new(AddressFamily::IPV6)]);
    assert_eq!(answer.code(), Some(443));
    table.ask(REFRESH, &[&RequestedAddressFamily::new(AddressFamily::IPV4)]).expect_success();
}

#[test]
fn refresh_0_for_one_family_keeps_the_other() {
    let ipv6 = Some("2001:db8::1".parse().unwrap());
    let mut table = Table::with(ServerConfig { additional_relay_address: ipv6, ..config() });
    table.allocate(&[&AdditionalAddressFamily::new(AddressFamily::IPV6)]).expect_success();
    let family = RequestedAddressFamily::new(AddressFamily::IPV4);
    table.ask(REFRESH, &[&Lifetime::new(0), &family]).expect_success();
    let left = table.server.relayed_addresses(table.five_tuple());
    assert!(left.len() == 1 && left[0].is_ipv6(), "{left:?}");
    table.refresh(0).expect_success();
    assert_eq!(table.server.allocation_count(), 0);
}

#[test]
fn a_malformed_lifetime_is_400() {
    let mut table = Table::new();
    table.allocated();
    let short = RawAttribute::new(Lifetime::TYPE, &[1, 2]);
    assert_eq!(table.ask(REFRESH, &[&short]).code(), Some(400));
}

#[test]
fn create_permission_needs_a_peer_and_takes_several() {
    let mut table = Table::new();
    let relay = table.allocated();
    assert_eq!(table.permit(&[]).code(), Some(400));
    table.permit(&[addr(PEER), addr("203.0.113.10:1")]).expect_success();
    assert!(table.arrive(b"a", addr(PEER), relay).is_ok());
    assert!(table.arrive(b"b", addr("203.0.113.10:9"), relay).is_ok());
    assert_eq!(table.arrive(b"c", addr("203.0.113.11:9"), relay), Err(Discard::NoPermission));
}

#[test]
fn a_peer_of_another_family_is_443_and_nothing_of_the_request_is_done() {
    let mut table = Table::new();
    let relay = table.allocated();
    assert_eq!(table.permit(&[addr(PEER), addr("[2001:db8::9]:1")]).code(), Some(443));
    assert_eq!(table.bind(0x4000, addr("[2001:db8::9]:1")).code(), Some(443));
    assert_eq!(table.arrive(b"a", addr(PEER), relay), Err(Discard::NoPermission));
}

#[test]
fn loopback_multicast_broadcast_and_unspecified_peers_are_403() {
    let mut table = Table::new();
    table.allocated();
    for peer in ["127.0.0.1:1", "224.0.0.1:1", "255.255.255.255:1", "0.0.0.0:1"] {
        assert_eq!(table.permit(&[addr(peer)]).code(), Some(403), "{peer}");
        assert_eq!(table.bind(0x4000, addr(peer)).code(), Some(403), "{peer}");
    }
}

#[test]
fn permissions_and_channels_beyond_the_quota_are_508() {
    let quotas = super::super::Quotas { permissions: 2, channels: 1, ..Default::default() };
    let mut table = Table::with(ServerConfig { quotas, ..config() });
    table.allocated();
    table.permit(&[addr("203.0.113.1:1"), addr("203.0.113.2:1"), addr("203.0.113.2:2")]).expect_success();
    assert_eq!(table.permit(&[addr("203.0.113.3:1")]).code(), Some(508));
    table.permit(&[addr("203.0.113.1:1")]).expect_success();
    table.bind(0x4000, addr("203.0.113.1:1")).expect_success();
    assert_eq!(table.bind(0x4001, addr("203.0.113.2:1")).code(), Some(508));
    table.wait(seconds(300));
    table.permit(&[addr("203.0.113.3:1")]).expect_success();
}

#[test]
fn a_channel_number_is_from_0x4000_to_0x4fff() {
    let mut table = Table::new();
    table.allocated();
    for number in [0x0000, 0x3FFF, 0x5000, 0x7FFF, 0xFFFF] {
        assert_eq!(table.bind(number, addr(PEER)).code(), Some(400), "{number:#x}");
    }
    table.bind(0x4000, addr(PEER)).expect_success();
    table.bind(0x4FFF, addr("203.0.113.9:7001")).expect_success();
}

#[test]
fn a_server_may_grant_the_channel_numbers_of_rfc5766_too() {
    let mut table = Table::with(ServerConfig { channel_numbers: 0x4000..=0x7FFF, ..config() });
    table.allocated();
    table.bind(0x7FFF, addr(PEER)).expect_success();
    assert_eq!(table.bind(0x8000, addr("203.0.113.9:7001")).code(), Some(400));
    table.send(&[0x7F, 0xFF, 0, 1, b'x']).expect("it leads to the peer");
    for numbers in [0x3FFF..=0x4000, 0x7000..=0x8000, std::ops::RangeInclusive::new(0x5000, 0x4000)] {
        assert!(Server::new(ServerConfig { channel_numbers: numbers, ..config() }, Dice(7)).is_err());
    }
}

#[test]
fn a_channel_bind_without_number_or_peer_is_400() {
    let mut table = Table::new();
    table.allocated();
    assert_eq!(table.ask(CHANNEL_BIND, &[&ChannelNumber::new(0x4000)]).code(), Some(400));
    assert_eq!(table.ask(CHANNEL_BIND, &[]).code(), Some(400));
}

#[test]
fn a_number_bound_to_another_peer_or_a_peer_bound_to_another_number_is_400() {
    let mut table = Table::new();
    table.allocated();
    table.bind(0x4000, addr(PEER)).expect_success();
    table.bind(0x4000, addr(PEER)).expect_success();
    assert_eq!(table.bind(0x4000, addr("203.0.113.9:7001")).code(), Some(400));
    assert_eq!(table.bind(0x4001, addr(PEER)).code(), Some(400));
}

#[test]
fn a_binding_ends_after_600_seconds_and_rests_300_before_it_is_bound_otherwise() {
    let mut table = Table::new();
    table.allocated();
    table.refresh(3600).expect_success();
    table.bind(0x4000, addr(PEER)).expect_success();
    let data = [0x40, 0x00, 0, 1, b'x'];
    table.wait(seconds(600) - Duration::from_nanos(1));
    assert_eq!(table.send(&data), Ok(()));
    table.wait(Duration::from_nanos(1));
    assert_eq!(table.send(&data), Err(Discard::NoChannel));
    table.wait(seconds(300) - Duration::from_nanos(1));
    assert_eq!(table.bind(0x4000, addr("203.0.113.9:7001")).code(), Some(400));
    assert_eq!(table.bind(0x4001, addr(PEER)).code(), Some(400));
    table.wait(Duration::from_nanos(1));
    table.bind(0x4001, addr(PEER)).expect_success();
    table.bind(0x4000, addr("203.0.113.9:7001")).expect_success();
}

#[test]
fn an_ended_binding_may_be_made_again_at_once() {
    let mut table = Table::new();
    table.allocated();
    table.refresh(3600).expect_success();
    table.bind(0x4000, addr(PEER)).expect_success();
    table.wait(seconds(601));
    table.bind(0x4000, addr(PEER)).expect_success();
    assert_eq!(table.send(&[0x40, 0x00, 0, 0]), Ok(()));
}

#[test]
fn methods_that_are_not_turn_are_ignored() {
    let mut table = Table::new();
    for method in [SEND, turn_types::message::DATA, turn_types::message::CONNECTION_ATTEMPT, Method::new(0x7F)] {
        let request = table.request(method, &[]);
        assert_eq!(table.send(&request), Err(Discard::UnknownMethod), "{method}");
    }
    let id = table.id();
    let answer = Writer::new(MessageClass::Success, ALLOCATE, id).finish(None, false);
    assert_eq!(table.send(&answer), Err(Discard::UnknownMethod));
}

#[test]
fn a_configuration_that_makes_no_sense_is_refused_with_the_reason() {
    let empty = std::ops::RangeInclusive::new(2, 1);
    let wrong = [
        (ServerConfig { realm: String::new(), ..config() }, "realm"),
        (ServerConfig { relay_ports: empty, ..config() }, "relay_ports"),
        (ServerConfig { relay_address: "0.0.0.0".parse().unwrap(), ..config() }, "relay_address"),
        (
            ServerConfig { additional_relay_address: Some("192.0.2.7".parse().unwrap()), ..config() },
            "additional_relay_address",
        ),
    ];
    for (config, what) in wrong {
        let error = Server::new(config, Dice(1)).err().expect(what).to_string();
        assert!(error.contains(what), "{error}");
    }
}

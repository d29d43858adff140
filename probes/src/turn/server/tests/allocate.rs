//! Ledger rows alloc, life, resp, ports.

use super::*;
use stun_types::AddressFamily;
use stun_types::attribute::{Attribute, AttributeStaticType, Fingerprint, RawAttribute, UnknownAttributes};
use stun_types::message::BINDING;
use turn_types::attribute::{
    AdditionalAddressFamily, AddressErrorCode, DontFragment, EvenPort, RequestedAddressFamily,
};

const UDP: u8 = RequestedTransport::UDP;

fn dual_stack() -> ServerConfig {
    ServerConfig { additional_relay_address: Some("2001:db8::1".parse().unwrap()), ..config() }
}

#[test]
fn an_allocate_request_without_credentials_is_challenged_with_401_realm_and_nonce() {
    let mut table = Table::new();
    let id = table.id();
    let bare = Writer::new(MessageClass::Request, ALLOCATE, id).with(&RequestedTransport::new(UDP)).finish(None, false);
    let answer = table.exchange(&bare);
    assert_eq!(answer.code(), Some(401));
    assert_eq!(answer.message().attribute::<Realm>().unwrap().realm(), "natbox");
    assert!(answer.nonce().starts_with("obMatJos2AAAA"), "{}", answer.nonce());
    assert_eq!(table.server.allocation_count(), 0);
}

#[test]
fn a_wrong_password_and_an_unknown_user_are_both_401() {
    let mut table = Table::new();
    for user in [("alice", "wrong"), ("mallory", "secret")] {
        table.user = user;
        let request = table.request(ALLOCATE, &[&RequestedTransport::new(UDP)]);
        assert_eq!(table.exchange(&request).code(), Some(401), "{user:?}");
    }
    assert_eq!(table.server.allocation_count(), 0);
}

#[test]
fn integrity_without_username_or_nonce_is_400() {
    let mut table = Table::new();
    let id = table.id();
    let request = Writer::new(MessageClass::Request, ALLOCATE, id).finish(Some(&table.key()), false);
    assert_eq!(table.exchange(&request).code(), Some(400));
}

#[test]
fn a_nonce_that_ended_or_that_was_given_to_another_address_is_438_with_a_new_one() {
    let mut table = Table::new();
    let nonce = table.nonce();
    let id = table.id();
    let request = table.signed(id, ALLOCATE, &[&RequestedTransport::new(UDP)], &nonce);
    table.client = addr(OTHER_CLIENT);
    assert_eq!(table.exchange(&request).code(), Some(438));
    table.client = addr(CLIENT);
    table.now = table.now + seconds(3600);
    let stale = table.exchange(&request);
    assert_eq!(stale.code(), Some(438));
    let request = table.signed(id, ALLOCATE, &[&RequestedTransport::new(UDP)], &stale.nonce());
    table.exchange(&request).expect_success();
}

#[test]
fn a_forged_nonce_is_438() {
    let mut table = Table::new();
    for nonce in
        ["", "x", "obMatJos2AAAA", "obMatJos2AAAAffffffffffffffff0000000000000000", "obMatJos2AAAAffffffffffffffé"]
    {
        let id = table.id();
        let request = table.signed(id, ALLOCATE, &[&RequestedTransport::new(UDP)], nonce);
        assert_eq!(table.exchange(&request).code(), Some(438), "{nonce}");
    }
}

#[test]
fn an_allocation_answers_with_relayed_address_lifetime_and_mapped_address() {
    let mut table = Table::new();
    let answer = table.allocate(&[]).expect_success();
    assert_eq!(answer.relayed().ip(), addr(SERVER).ip());
    assert!(answer.relayed().port() >= 49152);
    assert_eq!(answer.mapped(), addr(CLIENT));
    assert_eq!(answer.lifetime(), 600);
    assert_eq!(answer.token(), None);
    assert!(answer.message().has_attribute(Fingerprint::TYPE), "a fingerprint answers a fingerprint");
    assert_eq!(table.server.relayed_addresses(table.five_tuple()), [answer.relayed()]);
    assert!(table.outputs.contains(&Output::Open { relay: answer.relayed() }));
}

#[test]
fn the_attributes_of_an_answer_have_the_bytes_of_the_rfc() {
    let mut table = Table::new();
    let answer = table.allocate(&[]).expect_success();
    assert_eq!(answer.0[..2], [0x01, 0x03], "Allocate success");
    let port = answer.relayed().port() ^ 0x2112;
    let mut relayed = vec![0x00, 0x16, 0, 8, 0, 1];
    relayed.extend(port.to_be_bytes());
    relayed.extend([198 ^ 0x21, 51 ^ 0x12, 100 ^ 0xA4, 1 ^ 0x42]);
    assert_eq!(answer.0[20..32], relayed, "XOR-RELAYED-ADDRESS");
    assert_eq!(answer.0[32..40], [0x00, 0x0D, 0, 4, 0, 0, 0x02, 0x58], "LIFETIME 600 s");
    assert_eq!(answer.0[40..44], [0x00, 0x20, 0, 8], "XOR-MAPPED-ADDRESS");
}

#[test]
fn a_retransmitted_allocate_gets_the_same_bytes_and_another_one_437() {
    let mut table = Table::new();
    let request = table.request(ALLOCATE, &[&RequestedTransport::new(UDP)]);
    let first = table.exchange(&request).expect_success();
    table.wait(seconds(1));
    assert_eq!(table.exchange(&request), first);
    assert_eq!(table.server.allocation_count(), 1);
    assert_eq!(table.allocate(&[]).code(), Some(437));
}

#[test]
fn a_retransmission_while_the_socket_is_being_opened_waits_for_the_one_answer() {
    let mut table = Table::new();
    let request = table.request(ALLOCATE, &[&RequestedTransport::new(UDP)]);
    let five_tuple = table.five_tuple();
    assert_eq!(table.server.receive(&request, five_tuple, table.now), Ok(()));
    assert_eq!(table.server.receive(&request, five_tuple, table.now), Err(Discard::InProgress));
    table.outputs.clear();
    table.drain();
    let replies = table.outputs.iter().filter(|output| matches!(output, Output::Reply { .. }));
    assert_eq!(replies.count(), 1);
}

#[test]
fn requested_transport_is_400_when_missing_and_442_when_neither_udp_nor_tcp() {
    let mut table = Table::new();
    assert_eq!(table.ask(ALLOCATE, &[]).code(), Some(400));
    assert_eq!(table.ask(ALLOCATE, &[&RequestedTransport::new(33)]).code(), Some(442));
    let malformed = RawAttribute::new(RequestedTransport::TYPE, &[17]);
    assert_eq!(table.ask(ALLOCATE, &[&malformed]).code(), Some(400));
}

#[test]
fn the_5_tuple_is_checked_before_the_transport() {
    let mut table = Table::new();
    table.allocated();
    assert_eq!(table.ask(ALLOCATE, &[&RequestedTransport::new(6)]).code(), Some(437));
}

#[test]
fn dont_fragment_is_420_only_where_the_host_cannot_do_it() {
    let mut table = Table::with(ServerConfig { dont_fragment: false, ..config() });
    let answer = table.allocate(&[&DontFragment::new()]);
    assert_eq!(answer.code(), Some(420));
    let unknown = answer.message().attribute::<UnknownAttributes>().unwrap();
    assert!(unknown.has_attribute(DontFragment::TYPE));
    Table::new().allocate(&[&DontFragment::new()]).expect_success();
}

#[test]
fn an_unknown_comprehension_required_attribute_is_420_and_an_optional_one_is_ignored() {
    let mut table = Table::new();
    let required = RawAttribute::new(0x7ABC.into(), &[1, 2, 3, 4]);
    let answer = table.allocate(&[&required]);
    assert_eq!(answer.code(), Some(420));
    assert!(answer.message().attribute::<UnknownAttributes>().unwrap().has_attribute(required.get_type()));
    let optional = RawAttribute::new(0xC0DE.into(), &[1]);
    table.allocate(&[&optional]).expect_success();
}

#[test]
fn a_family_that_the_server_lacks_is_440() {
    let mut table = Table::new();
    assert_eq!(table.allocate(&[&RequestedAddressFamily::new(AddressFamily::IPV6)]).code(), Some(440));
    let strange = RawAttribute::new(RequestedAddressFamily::TYPE, &[9, 0, 0, 0]);
    assert_eq!(table.allocate(&[&strange]).code(), Some(440));
    let only_ipv6 = ServerConfig { relay_address: "2001:db8::1".parse().unwrap(), ..config() };
    let mut table = Table::with(only_ipv6);
    assert_eq!(table.allocate(&[]).code(), Some(440), "no family asked for means IPv4");
    let answer = table.allocate(&[&RequestedAddressFamily::new(AddressFamily::IPV6)]).expect_success();
    assert!(answer.relayed().is_ipv6());
}

#[test]
fn both_family_attributes_are_400_and_so_is_an_additional_ipv4() {
    let mut table = Table::with(dual_stack());
    let requested = RequestedAddressFamily::new(AddressFamily::IPV6);
    let additional = AdditionalAddressFamily::new(AddressFamily::IPV6);
    assert_eq!(table.allocate(&[&requested, &additional]).code(), Some(400));
    let ipv4 = RawAttribute::new(AdditionalAddressFamily::TYPE, &[1, 0, 0, 0]);
    assert_eq!(table.allocate(&[&ipv4]).code(), Some(400));
}

#[test]
fn an_additional_family_gives_two_relayed_addresses_or_says_why_not() {
    let additional = AdditionalAddressFamily::new(AddressFamily::IPV6);
    let mut table = Table::with(dual_stack());
    table.allocate(&[&additional]).expect_success();
    let relayed = table.server.relayed_addresses(table.five_tuple());
    assert!(relayed[0].is_ipv4() && relayed[1].is_ipv6(), "{relayed:?}");
    let answer = Table::new().allocate(&[&additional]).expect_success();
    let error = answer.message().attribute::<AddressErrorCode>().unwrap();
    assert_eq!((error.family(), error.error().code()), (AddressFamily::IPV6, 440));
}

#[test]
fn an_additional_socket_that_cannot_be_opened_is_508_for_that_family_alone() {
    let mut table = Table::with(ServerConfig { relay_ports: 50000..=50000, ..dual_stack() });
    let request =
        table.request(ALLOCATE, &[&RequestedTransport::new(UDP), &AdditionalAddressFamily::new(AddressFamily::IPV6)]);
    table.outputs.clear();
    table.server.receive(&request, table.five_tuple(), table.now).unwrap();
    table.server.opened(addr("[2001:db8::1]:50000"), false, table.now);
    table.server.opened(addr("198.51.100.1:50000"), true, table.now);
    let answer = std::iter::from_fn(|| table.server.poll_output()).find_map(|output| match output {
        Output::Reply { payload, .. } => Some(Answer(payload)),
        _ => None,
    });
    let answer = answer.unwrap().expect_success();
    assert_eq!(answer.message().attribute::<AddressErrorCode>().unwrap().error().code(), 508);
}

#[test]
fn an_even_port_is_even_and_with_r_the_next_one_is_held_for_30_seconds() {
    let mut table = Table::new();
    assert!(table.allocate(&[&EvenPort::new(false)]).expect_success().relayed().port().is_multiple_of(2));
    table.client = addr(OTHER_CLIENT);
    let answer = table.allocate(&[&EvenPort::new(true)]).expect_success();
    let token = answer.token().expect("RESERVATION-TOKEN");
    table.client = addr("192.0.2.3:5000");
    table.wait(seconds(30) - Duration::from_nanos(1));
    let next = table.allocate(&[&ReservationToken::new(token)]).expect_success();
    assert_eq!(next.relayed().port(), answer.relayed().port() + 1);
    assert_eq!(table.server.reservation_count(), 0);
}

#[test]
fn a_reservation_that_ended_or_never_was_is_508() {
    let mut table = Table::new();
    let token = table.allocate(&[&EvenPort::new(true)]).token().unwrap();
    table.client = addr(OTHER_CLIENT);
    assert_eq!(table.allocate(&[&ReservationToken::new(token ^ 1)]).code(), Some(508));
    table.wait(seconds(30));
    assert_eq!(table.server.reservation_count(), 0);
    assert_eq!(table.allocate(&[&ReservationToken::new(token)]).code(), Some(508));
}

#[test]
fn another_users_reservation_is_508() {
    let mut table = Table::new();
    let token = table.allocate(&[&EvenPort::new(true)]).token().unwrap();
    (table.client, table.user) = (addr(OTHER_CLIENT), ("bob", "hidden"));
    assert_eq!(table.allocate(&[&ReservationToken::new(token)]).code(), Some(508));
}

#[test]
fn a_reservation_token_excludes_even_port_and_the_families() {
    let mut table = Table::new();
    let token = ReservationToken::new(1);
    assert_eq!(table.allocate(&[&token, &EvenPort::new(false)]).code(), Some(400));
    let requested = RequestedAddressFamily::new(AddressFamily::IPV4);
    assert_eq!(table.allocate(&[&token, &requested]).code(), Some(400));
    let additional = AdditionalAddressFamily::new(AddressFamily::IPV6);
    assert_eq!(table.allocate(&[&token, &additional]).code(), Some(400));
}

#[test]
fn an_even_pair_excludes_an_additional_family() {
    let mut table = Table::with(dual_stack());
    let additional = AdditionalAddressFamily::new(AddressFamily::IPV6);
    assert_eq!(table.allocate(&[&EvenPort::new(true), &additional]).code(), Some(400));
}

#[test]
fn no_port_left_is_508_and_an_even_pair_needs_two() {
    let mut table = Table::with(ServerConfig { relay_ports: 50001..=50002, ..config() });
    assert_eq!(table.allocate(&[&EvenPort::new(true)]).code(), Some(508));
    for client in [CLIENT, OTHER_CLIENT] {
        table.client = addr(client);
        table.allocated();
    }
    table.client = addr("192.0.2.3:5000");
    assert_eq!(table.allocate(&[]).code(), Some(508));
}

#[test]
fn a_port_that_the_host_will_not_open_is_replaced_and_16_of_them_are_508() {
    let mut table = Table::new();
    table.refusals = 15;
    table.allocated();
    let opened = table.outputs.iter().filter(|output| matches!(output, Output::Open { .. })).count();
    assert_eq!(opened, 16);
    table.client = addr(OTHER_CLIENT);
    table.refusals = 16;
    assert_eq!(table.allocate(&[]).code(), Some(508));
    assert_eq!(table.server.allocation_count(), 1);
}

#[test]
fn an_even_pair_whose_port_is_taken_holds_the_next_of_the_port_it_got() {
    let mut table = Table::new();
    table.refusals = 3;
    let answer = table.allocate(&[&EvenPort::new(true)]).expect_success();
    assert_eq!(table.server.reservation_count(), 1);
    let token = answer.token().unwrap();
    table.client = addr(OTHER_CLIENT);
    let next = table.allocate(&[&ReservationToken::new(token)]).expect_success();
    assert_eq!(next.relayed().port(), answer.relayed().port() + 1);
}

#[test]
fn a_users_quota_is_486_and_the_servers_508() {
    let quotas = super::super::Quotas { allocations: 3, allocations_per_user: 2, ..Default::default() };
    let mut table = Table::with(ServerConfig { quotas, ..config() });
    let mut allocate_from = |client: &str, user| {
        (table.client, table.user) = (addr(client), user);
        table.allocate(&[]).code()
    };
    let (alice, bob) = (("alice", "secret"), ("bob", "hidden"));
    assert_eq!(allocate_from("192.0.2.1:1", alice), None);
    assert_eq!(allocate_from("192.0.2.1:2", alice), None);
    assert_eq!(allocate_from("192.0.2.1:3", alice), Some(486));
    assert_eq!(allocate_from("192.0.2.1:4", bob), None);
    assert_eq!(allocate_from("192.0.2.1:5", bob), Some(508));
}

#[test]
fn the_lifetime_is_between_600_seconds_and_the_servers_hour() {
    let mut table = Table::new();
    assert_eq!(table.allocate(&[&Lifetime::new(5)]).lifetime(), 600);
    for (asked, granted) in [(1, 600), (600, 600), (1800, 1800), (7200, 3600), (u32::MAX, 3600)] {
        assert_eq!(table.refresh(asked).lifetime(), granted);
    }
    assert_eq!(table.ask(REFRESH, &[]).lifetime(), 600);
}

#[test]
fn an_allocation_ends_with_its_lifetime_and_closes_its_socket() {
    let mut table = Table::new();
    let relay = table.allocated();
    assert_eq!(table.server.next_deadline(), Some(table.now + seconds(600)));
    table.wait(seconds(600) - Duration::from_nanos(1));
    assert_eq!(table.server.allocation_count(), 1);
    table.outputs.clear();
    table.wait(Duration::from_nanos(1));
    assert_eq!(table.outputs, [Output::Close { relay }]);
    assert_eq!((table.server.allocation_count(), table.server.next_deadline()), (0, None));
}

#[test]
fn the_same_seed_lends_the_same_ports_and_gives_the_same_bytes() {
    let answers = || {
        let mut table = Table::new();
        let allocated = table.allocate(&[]);
        table.permit(&[addr(PEER)]);
        let relayed = allocated.relayed();
        (allocated, table.arrive(b"hello", addr(PEER), relayed))
    };
    assert_eq!(answers(), answers());
}

#[test]
fn a_binding_request_is_answered_without_credentials() {
    let mut table = Table::new();
    let id = table.id();
    let request = Writer::new(MessageClass::Request, BINDING, id).finish(None, true);
    let answer = table.exchange(&request).expect_success();
    assert_eq!(answer.mapped(), addr(CLIENT));
    assert!(!super::super::handles(&request), "a combined server answers it itself");
}

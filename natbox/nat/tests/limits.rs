//! Limits of an internal address, and who gives way where nothing is left.

mod common;

use std::time::Duration;

use common::*;
use natbox_nat::behavior::*;
use natbox_nat::{Answer, Behavior, Ended, MappingEnd, Refusal, Verdict};
use natbox_wire::{DropReason, IcmpError, Packet};

fn small(exhausted: Exhausted) -> Behavior {
    let mut behavior = Behavior { exhausted, ..Behavior::default() };
    behavior.ports.range = (4000..=4003).into();
    behavior
}

fn flow(host: u8, port: u16) -> Packet {
    udp(format!("10.0.0.{host}:{port}"), Y1)
}

/// The mappings that have ended by now, without time passing.
fn ended(rig: &mut Rig) -> Vec<Ended> {
    rig.wait(Duration::ZERO)
}

fn refused(rig: &mut Rig, mut packet: Packet) -> Refusal {
    match rig.outbound(&mut packet) {
        Verdict::Drop(refusal) => refusal,
        other => panic!("was to be refused: {other:?}"),
    }
}

#[test]
fn the_sender_is_told_what_the_rule_says() {
    let answers = [
        (Exhausted::DropIcmp13, Some(IcmpError::AdminProhibited)),
        (Exhausted::DropIcmp1, Some(IcmpError::HostUnreachable)),
        (Exhausted::DropSilent, None),
    ];
    for (rule, answer) in answers {
        let mut rig = Rig::new(small(rule));
        (0..4).for_each(|port| _ = rig.send(flow(2, 5000 + port)));
        let refusal = refused(&mut rig, flow(3, 5000));
        assert_eq!((refusal.reason, refusal.answer), (DropReason::PortsExhausted, answer.map(Answer::Icmp)), "{rule}");
        (0..4).for_each(|port| _ = rig.send(flow(2, 5000 + port)));
        assert_eq!(rig.nat.mappings().len(), 4, "who had something keeps it");
    }
}

#[test]
fn the_mapping_that_would_end_first_gives_way() {
    let mut rig = Rig::new(small(Exhausted::EvictLru));
    for port in 0..4 {
        rig.send(flow(2, 5000 + port));
        rig.wait_seconds(1);
    }
    rig.send(flow(2, 5000));
    rig.wait_seconds(1);
    rig.send(flow(2, 5001));
    let [first, second] = [5002, 5003].map(|port| {
        rig.send(flow(3, port));
        let ended = ended(&mut rig);
        assert_eq!((ended.len(), ended[0].why), (1, MappingEnd::Evicted));
        ended[0].mapping.internal
    });
    assert_eq!([first, second], [at("10.0.0.2:5002"), at("10.0.0.2:5003")], "not those that were used since");
    assert_eq!(rig.nat.mappings().len(), 4);
}

#[test]
fn only_a_mapping_whose_end_helps_gives_way() {
    let mut behavior = small(Exhausted::EvictLru);
    behavior.ports.range = PortRanges::new([1000..=1001, 4000..=4001]);
    let mut rig = Rig::with_addresses(behavior, &["198.51.100.1", "198.51.100.2"]);
    rig.send(udp("10.0.0.3:5000", Y1));
    rig.send(tcp("10.0.0.2:5000", Y1, SYN));
    rig.send(udp("10.0.0.2:900", Y1));
    rig.wait_seconds(9);
    rig.send(udp("10.0.0.2:5000", Y1));
    rig.send(udp("10.0.0.2:5001", Y1));
    rig.send(udp("10.0.0.2:5002", Y1));
    let gone = ended(&mut rig);
    assert_eq!(gone.len(), 1);
    let gone = gone[0].mapping;
    assert_eq!(gone.internal, at("10.0.0.2:5000"), "not another address, another protocol or another class");
    assert_eq!(gone.protocol, natbox_wire::Protocol::Udp);
}

#[test]
fn a_mapping_with_a_live_session_is_as_young_as_that() {
    let mut rig = Rig::new(small(Exhausted::EvictLru));
    (0..4).for_each(|port| _ = rig.send(flow(2, 5000 + port)));
    rig.wait_seconds(5);
    rig.send(udp("10.0.0.2:5000", Y2));
    rig.send(flow(3, 5000));
    assert_ne!(ended(&mut rig)[0].mapping.internal, at("10.0.0.2:5000"), "its second session is new");
}

#[test]
fn mappings_that_saw_a_reply_are_spared_where_only_the_others_give_way() {
    let mut rig = Rig::new(small(Exhausted::EvictUnassured));
    for port in 0..4 {
        let external = rig.send(flow(2, 5000 + port));
        if port != 2 {
            rig.receive(udp(Y1, external)).expect("a reply");
        }
        rig.wait_seconds(1);
    }
    rig.send(flow(3, 5000));
    assert_eq!(ended(&mut rig)[0].mapping.internal, at("10.0.0.2:5002"));
    let external = rig.nat.mappings().last().expect("a mapping").external;
    rig.receive(udp(Y1, external)).expect("a reply");
    let refusal = refused(&mut rig, flow(4, 5000));
    assert_eq!((refusal.reason, refusal.answer), (DropReason::PortsExhausted, None), "all are assured");
}

#[test]
fn a_connection_is_assured_once_it_is_established() {
    let mut rig = Rig::new(small(Exhausted::EvictUnassured));
    let external: Vec<_> = (0..4).map(|port| rig.send(tcp(format!("10.0.0.2:{}", 5000 + port), Y1, SYN))).collect();
    rig.receive(tcp(Y1, external[0], SYN_ACK)).expect("an answer");
    rig.send(tcp("10.0.0.2:5000", Y1, ACK));
    (0..3).for_each(|port| _ = rig.send(tcp(format!("10.0.0.3:{}", 5000 + port), Y1, SYN)));
    let gone: Vec<_> = ended(&mut rig).iter().map(|one| one.mapping.internal.port()).collect();
    assert_eq!(gone, [5001, 5002, 5003]);
}

/// RFC 6888 REQ-4 is about mappings, whatever their protocol.
#[test]
fn a_quota_of_mappings_counts_all_protocols_of_a_host() {
    let quota = Quota { ports: Some(3), ..Quota::default() };
    let mut rig = Rig::new(Behavior { quota, ..Behavior::default() });
    rig.send(udp(X1, Y1));
    rig.send(tcp(X1, Y1, SYN));
    rig.send(ping(X1, "192.0.2.1"));
    assert_eq!(rig.refusal(udp("10.0.0.2:5001", Y1)), DropReason::QuotaExceeded);
    rig.send(udp(X1, Y2));
    rig.send(udp(X2, Y1));
    rig.wait_seconds(61);
    rig.send(udp("10.0.0.2:5001", Y1));
    assert_eq!(rig.refusal(udp("10.0.0.2:5002", Y1)), DropReason::QuotaExceeded, "the query's end made room for one");
}

#[test]
fn a_quota_of_sessions_counts_those_from_outside_too() {
    let quota = Quota { sessions: Some(3), ..Quota::default() };
    let mut rig = Rig::new(Behavior { quota, ..Behavior::default() });
    let external = rig.send(udp(X1, Y1));
    rig.send(udp(X1, Y2));
    rig.receive(udp("192.0.2.9:1", external)).expect("there is room for one");
    assert_eq!(rig.receive(udp("192.0.2.9:2", external)), Err(DropReason::QuotaExceeded));
    assert_eq!(rig.refusal(udp(X1, "192.0.2.9:3")), DropReason::QuotaExceeded);
    assert_eq!(rig.send(udp(X1, Y1)), external, "what there is goes on");
    rig.send(udp(X2, Y1));
    rig.wait_seconds(301);
    (1..4).for_each(|port| _ = rig.send(udp(X1, format!("192.0.2.9:{port}"))));
    assert_eq!(rig.refusal(udp(X1, Y1)), DropReason::QuotaExceeded);
}

#[test]
fn a_host_gives_way_to_itself_where_its_quota_is_used_up() {
    for quota in [Quota { ports: Some(2), ..Quota::default() }, Quota { sessions: Some(2), ..Quota::default() }] {
        let mut rig = Rig::new(Behavior { quota, exhausted: Exhausted::EvictLru, ..Behavior::default() });
        rig.send(udp("10.0.0.3:9", Y1));
        rig.wait_seconds(1);
        for port in 0..4 {
            rig.send(flow(2, 5000 + port));
            rig.wait_seconds(1);
        }
        let ended = rig.nat.mappings();
        let left: Vec<_> = ended.iter().map(|mapping| mapping.internal.port()).collect();
        assert_eq!(left, [9, 5002, 5003], "the other host keeps what it has");
    }
}

#[test]
fn a_rate_of_new_mappings_holds_for_any_one_second() {
    let quota = Quota { new_per_second: Some(3), ..Quota::default() };
    let mut rig = Rig::new(Behavior { quota, ..Behavior::default() });
    let tenths = |tenths: u64| Duration::from_millis(100 * tenths);
    for port in 0..3 {
        rig.send(flow(2, 5000 + port));
        rig.wait(tenths(3));
    }
    assert_eq!(rig.refusal(flow(2, 6000)), DropReason::RateExceeded, "0.9 s after the first");
    assert_eq!(rig.refusal(flow(2, 6000)), DropReason::RateExceeded);
    rig.send(flow(3, 6000));
    rig.send(udp("10.0.0.2:5000", Y2));
    rig.wait(tenths(1));
    rig.send(flow(2, 6000));
    assert_eq!(rig.refusal(flow(2, 6001)), DropReason::RateExceeded, "that of 0.3 s still counts");
    rig.wait(tenths(3));
    rig.send(flow(2, 6001));
}

#[test]
fn the_rate_is_remembered_of_a_host_that_has_nothing_left() {
    let quota = Quota { new_per_second: Some(1), ..Quota::default() };
    let mut behavior = Behavior { quota, ..Behavior::default() };
    behavior.timeouts.udp = Duration::from_millis(10);
    let mut rig = Rig::new(behavior);
    rig.send(flow(2, 5000));
    rig.wait(Duration::from_millis(500));
    assert!(rig.nat.mappings().is_empty());
    assert_eq!(rig.refusal(flow(2, 5000)), DropReason::RateExceeded);
    rig.wait(Duration::from_millis(500));
    rig.send(flow(2, 5000));
}

/// A table of two sessions, one of which has seen a reply.
fn full(table_full: TableFull, exhausted: Exhausted) -> Rig {
    let mut rig = Rig::new(Behavior { table_size: Some(2), table_full, exhausted, ..Behavior::default() });
    let external = rig.send(flow(2, 5000));
    rig.receive(udp(Y1, external)).expect("a reply");
    rig.wait_seconds(1);
    rig.send(flow(2, 5001));
    rig.wait_seconds(1);
    rig
}

#[test]
fn a_full_table_refuses_or_somebody_gives_way_whatever_is_done_for_lack_of_a_port() {
    for exhausted in [Exhausted::DropSilent, Exhausted::EvictLru] {
        let mut rig = full(TableFull::Drop, exhausted);
        let refusal = refused(&mut rig, flow(3, 5000));
        assert_eq!((refusal.reason, refusal.answer), (DropReason::SessionsExhausted, None));

        let mut rig = full(TableFull::EvictLru, exhausted);
        rig.send(flow(3, 5000));
        assert_eq!(ended(&mut rig)[0].mapping.internal, at("10.0.0.2:5000"), "it would have ended first");

        let mut rig = full(TableFull::EvictUnassured, exhausted);
        let refusal = refused(&mut rig, flow(3, 5000));
        assert_eq!(refusal.reason, DropReason::SessionsExhausted, "what would end first has seen a reply");
        rig.send(flow(2, 5000));
        rig.send(flow(3, 5000));
        assert_eq!(ended(&mut rig)[0].mapping.internal, at("10.0.0.2:5001"));
    }
    let mut rig = full(TableFull::Drop, Exhausted::DropIcmp13);
    let refusal = refused(&mut rig, flow(3, 5000));
    assert_eq!(refusal.answer, Some(Answer::Icmp(IcmpError::AdminProhibited)));
}

#[test]
fn outsiders_make_nobody_give_way() {
    let mut rig = full(TableFull::EvictLru, Exhausted::EvictLru);
    let external = rig.nat.mappings()[0].external;
    assert_eq!(rig.receive(udp(Y2, external)), Err(DropReason::SessionsExhausted));
}

//! What fuzzing and the model found, a test each.

mod common;

use std::time::Duration;

use common::*;
use natbox_nat::behavior::*;
use natbox_nat::{Behavior, MappingEnd, Output, Verdict};
use natbox_wire::Protocol;

/// A seed of `tests/fuzz/corpus/nat`.
#[test]
fn the_highest_internal_port_has_no_next_one_to_reserve() {
    let mut behavior = Behavior::default();
    behavior.ports.contiguity = PortContiguity::ReserveNext;
    let mut rig = Rig::new(behavior);
    rig.send(udp("10.0.0.2:65535", Y1));
    assert_eq!(rig.nat.mappings().len(), 1);
}

#[test]
fn basic_nat_admits_as_much_where_protocols_share_filters_as_where_they_do_not() {
    let translation = TranslationKind::Basic;
    let mut rig =
        Rig::new(Behavior { translation, protocol_sharing: ProtocolSharing::Filtering, ..Behavior::default() });
    rig.send(udp(X1, Y1));
    assert_eq!(rig.receive(udp(Y2, "198.51.100.1:7")), Ok(at("10.0.0.2:7")));
}

#[test]
fn a_firewall_shares_filters_between_protocols_though_the_other_has_no_mapping() {
    let filtering = Filtering::AddressAndPortDependent.into();
    let (translation, protocol_sharing) = (TranslationKind::None, ProtocolSharing::Filtering);
    let mut rig = Rig::new(Behavior { translation, filtering, protocol_sharing, ..Behavior::default() });
    rig.send(udp(X1, Y1));
    assert_eq!(rig.receive(tcp(Y1, X1, SYN)), Ok(at(X1)));
    assert!(rig.refused(tcp(Y2, X1, SYN)).is_ok(), "one that nobody asked for is held");
}

#[test]
fn a_taken_identifier_gets_a_random_one_whatever_taken_ports_get() {
    let mut behavior = Behavior { icmp_identifier: IcmpIdentifier::Preserve, ..Behavior::default() };
    behavior.ports.conflict = PortConflict::NextFree;
    let mut rig = Rig::new(behavior);
    assert_eq!(rig.send(ping(X1, "192.0.2.1")).port(), 5000);
    assert!(!(5000..5016).contains(&rig.send(ping(X2, "192.0.2.1")).port()));
}

#[test]
fn no_other_address_is_given_out_whose_port_the_box_holds_itself() {
    let mut behavior = Behavior { early_inbound: EarlyInbound::Remap, pooling: Pooling::Paired, ..Behavior::default() };
    (behavior.ports.allocation, behavior.ports.conflict) = (PortAllocation::Preserve, PortConflict::OtherAddress);
    let mut rig = Rig::with_addresses(behavior, &[EXTERNAL, "198.51.100.2"]);
    rig.receive(udp(Y1, "198.51.100.1:5000")).expect_err("nobody asked for it");
    rig.receive(udp(Y1, "198.51.100.2:5000")).expect_err("nobody asked for it");
    assert_ne!(rig.send(udp(X1, Y1)).port(), 5000);
}

fn blocks() -> Behavior {
    let mut behavior = Behavior::default();
    behavior.ports.allocation = PortAllocation::Block;
    (behavior.ports.range, behavior.ports.block_size, behavior.ports.blocks_per_host) = ((5000..=5003).into(), 2, 1);
    behavior
}

#[test]
fn a_host_keeps_its_block_when_other_addresses_change() {
    let mut rig = Rig::with_addresses(blocks(), &[EXTERNAL, "198.51.100.2"]);
    let first = rig.send(udp(X1, Y1)).port();
    rig.nat.readdress(&[ip(EXTERNAL)], &mut |ended| panic!("{ended:?}"));
    let others: Vec<u16> = (0..2).map(|port| rig.send(udp(format!("10.0.0.3:{}", 7000 + port), Y1)).port()).collect();
    assert!(others.iter().all(|port| port / 2 != first / 2), "{others:?} are not of the block of {first}");
    assert_eq!(rig.send(udp("10.0.0.2:7000", Y1)).port() / 2, first / 2);
}

#[test]
fn a_block_whose_ports_all_rest_is_no_reason_to_refuse_another() {
    for seed in 0..20 {
        let mut behavior = blocks();
        behavior.ports.quarantine = Duration::from_secs(3600);
        let mut rig = Rig::new(behavior.clone());
        rig.nat = natbox_nat::Nat::new(behavior.into(), &[ip(EXTERNAL)], seed);
        let rested = [rig.send(udp(X1, Y1)), rig.send(udp("10.0.0.2:5001", Y1))];
        assert_eq!(rig.wait_seconds(300).len(), 2);
        let given = rig.send(udp(X2, Y1));
        assert!(!rested.contains(&given), "{given} rests");
    }
}

#[test]
fn the_ports_that_rest_after_a_reboot_are_those_of_the_youngest_mappings() {
    let mut behavior = Behavior { icmp_kills_mapping: Switch::On, ..Behavior::default() };
    (behavior.ports.allocation, behavior.ports.range) = (PortAllocation::Sequential, (5000..=5003).into());
    (behavior.ports.quarantine, behavior.ports.quarantine_max) = (Duration::from_secs(60), Some(1));
    let mut rig = Rig::new(behavior);
    let mut first = udp(X1, Y1);
    rig.outbound(&mut first);
    rig.send(udp("10.0.0.2:5001", Y1));
    rig.inbound(&mut error("192.0.2.1", &first));
    rig.send(udp("10.0.0.2:5002", Y1));
    assert_eq!(rig.wait_seconds(0).len(), 1);
    rig.nat.reboot(&mut |ended| assert_eq!(ended.why, MappingEnd::Rebooted));
    let given: Vec<u16> = (0..3).map(|port| rig.send(udp(format!("10.0.0.3:{}", 7000 + port), Y1)).port()).collect();
    assert_eq!(given, [5000, 5001, 5003], "5002 was given out last");
}

#[test]
fn ports_that_were_kept_for_a_host_count_as_its_own() {
    let mut behavior = Behavior::default();
    behavior.ports.allocation = PortAllocation::Block;
    (behavior.ports.range, behavior.ports.block_size, behavior.ports.blocks_per_host) = ((5000..=5001).into(), 2, 1);
    behavior.ports.contiguity = PortContiguity::ReserveNext;
    behavior.ports.parity = PortParity::Preserve;
    behavior.timeouts.udp_ports = vec![(1000, Duration::from_secs(10))];
    let mut rig = Rig::new(behavior);
    assert_eq!([rig.send(udp(X1, Y1)).port(), rig.send(udp("10.0.0.2:5001", Y1_OTHER_PORT)).port()], [5000, 5001]);
    assert_eq!(rig.wait_seconds(11).len(), 1, "the lower of the two");
    rig.refusal(packet(Protocol::Udp, at(X2), at(Y1), NONE));
}

#[test]
fn a_held_packet_to_a_host_by_its_own_name_dies_with_that_name_although_it_has_an_alias() {
    let aliases = vec![Alias { inside: ip("172.16.0.1"), outside: ip("192.0.2.1") }];
    let fragments = FragmentRules { outbound: FragmentMode::Reassemble, ..FragmentRules::default() };
    let mut rig = Rig::new(Behavior { aliases, fragments, ..Behavior::default() });
    for destination in [Y1, "172.16.0.1:1000"] {
        let whole = common::pieces::datagram(X1, destination, 9, 100);
        let mut first = common::pieces::cut(&whole, 60).remove(0);
        let before = first.clone();
        assert!(matches!(rig.outbound(&mut first), Verdict::Hold(_)));
        rig.wait_seconds(60);
        let outputs = rig.outputs();
        assert!(matches!(&outputs[..], [Output::Discard { packet, .. }] if *packet == before), "{outputs:?}");
    }
}

#[test]
fn a_host_that_loses_one_of_its_addresses_still_gives_way_on_the_others() {
    let quota = Quota { ports: Some(2), ..Quota::default() };
    let (pooling, exhausted) = (Pooling::ArbitraryRoundRobin, Exhausted::EvictLru);
    let behavior = Behavior { pooling, quota, exhausted, ..Behavior::default() };
    let mut rig = Rig::with_addresses(behavior, &[EXTERNAL, "198.51.100.2"]);
    rig.send(udp(X1, Y1));
    rig.send(udp("10.0.0.2:5001", Y1));
    rig.nat.readdress(&[ip("198.51.100.2")], &mut |ended| assert_eq!(ended.why, MappingEnd::Readdressed));
    rig.send(udp("10.0.0.2:5002", Y1));
    rig.send(udp("10.0.0.2:5003", Y1));
    assert_eq!(rig.wait_seconds(0).iter().map(|ended| ended.why).collect::<Vec<_>>(), [MappingEnd::Evicted]);
}

#[test]
fn what_falls_due_while_nobody_looks_ends_in_the_order_of_deadlines() {
    let mut behavior = Behavior::default();
    (behavior.ports.allocation, behavior.ports.range) = (PortAllocation::Sequential, (5000..=5001).into());
    (behavior.ports.quarantine, behavior.ports.quarantine_max) = (Duration::from_secs(60), Some(1));
    let mut rig = Rig::new(behavior);
    for (second, source) in [X1, X2, X1].into_iter().enumerate() {
        rig.now = seconds(second as u64);
        rig.send(udp(source, Y1));
    }
    rig.now = seconds(1000);
    assert_eq!(rig.send(udp("10.0.0.4:1", Y1)).port(), 5001, "the port of the first, which ended last, rests");
}

#[test]
fn a_range_too_small_for_a_port_each_leaves_the_dynamic_ones() {
    let mut behavior = Behavior::default();
    (behavior.ports.allocation, behavior.ports.range) = (PortAllocation::Deterministic, (5000..=5002).into());
    behavior.ports.deterministic.first = Some([10, 0, 0, 2].into());
    behavior.ports.deterministic.algorithm = DeterministicAlgorithm::Random;
    behavior.ports.deterministic.max_ports = Some(1);
    let mut rig = Rig::new(behavior);
    assert!((5000..=5002).contains(&rig.send(udp(X1, Y1)).port()));
}

#[test]
fn a_connection_that_was_closed_gives_way_before_one_that_would_end_later() {
    let (quota, exhausted) = (Quota { ports: Some(2), ..Quota::default() }, Exhausted::EvictLru);
    let mut rig = Rig::new(Behavior { quota, exhausted, ..Behavior::default() });
    let external = rig.send(tcp(X1, Y1, SYN));
    rig.receive(tcp(Y1, external, SYN_ACK)).expect("an answer");
    rig.send(udp(X1, Y1));
    // Whoever looks for one to give way now, sees a connection that lives for hours.
    rig.send(udp("10.0.0.2:5001", Y1));
    rig.send(tcp(X1, Y1, FIN));
    rig.receive(tcp(Y1, external, FIN)).expect("its end");
    rig.wait_seconds(1);
    rig.send(udp("10.0.0.2:5002", Y1));
    assert!(rig.nat.mappings().iter().all(|one| one.protocol == Protocol::Udp), "{:?}", rig.nat.mappings());
}

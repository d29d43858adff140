//! External ports: conflicts, sharing between remotes, classes, parity, contiguity, blocks.

mod common;

use std::collections::BTreeSet;
use std::net::SocketAddr;

use common::*;
use natbox_nat::behavior::*;
use natbox_nat::{Behavior, MappingEnd};
use natbox_wire::{DropReason, Protocol, Word};
use proptest::prelude::*;

const TWO: [&str; 2] = ["198.51.100.1", "198.51.100.2"];

fn with(change: impl FnOnce(&mut Ports)) -> Behavior {
    let mut behavior = Behavior { filtering: Filtering::AddressAndPortDependent.into(), ..Behavior::default() };
    behavior.ports.allocation = PortAllocation::Preserve;
    change(&mut behavior.ports);
    behavior
}

fn conflict(rule: PortConflict) -> Behavior {
    with(|ports| ports.conflict = rule)
}

/// The class and the ports of netfilter (nat-behaviour.md C.7).
fn linux() -> Behavior {
    with(|ports| {
        ports.overlap = PortOverlap::ByDestination;
        ports.class = PortClass::Netfilter;
    })
}

fn remote(number: u8) -> String {
    format!("192.0.2.{number}:1000")
}

#[test]
fn a_port_that_is_taken_gives_way_to_a_random_one() {
    let mut rig = Rig::new(conflict(PortConflict::Random));
    assert_eq!(rig.send(udp(X1, Y1)).port(), 5000);
    let ports: BTreeSet<u16> = (3..40).map(|host| rig.send(udp(format!("10.0.0.{host}:5000"), Y1)).port()).collect();
    assert_eq!(ports.len(), 37);
    assert!(!ports.contains(&5000) && ports.iter().all(|port| *port >= 1024));
    assert!(ports.iter().filter(|port| (4900..5100).contains(*port)).count() < 5, "not near the one that was taken");
}

#[test]
fn next_free_gives_the_next_one_above() {
    let mut rig = Rig::new(conflict(PortConflict::NextFree));
    let ports: Vec<u16> = (2..6).map(|host| rig.send(udp(format!("10.0.0.{host}:5000"), Y1)).port()).collect();
    assert_eq!(ports, [5000, 5001, 5002, 5003]);
    assert_eq!(rig.send(udp("10.0.0.2:65535", Y1)).port(), 65_535);
    assert_eq!(rig.send(udp("10.0.0.3:65535", Y1)).port(), 1024, "the class begins again");
}

#[test]
fn other_address_keeps_the_port_as_long_as_some_address_has_it() {
    let behavior = Behavior { pooling: Pooling::ArbitraryRoundRobin, ..conflict(PortConflict::OtherAddress) };
    let mut rig = Rig::with_addresses(behavior, &["198.51.100.1", "198.51.100.2", "198.51.100.3"]);
    let given: Vec<SocketAddr> = (2..5).map(|host| rig.send(udp(format!("10.0.0.{host}:5000"), Y1))).collect();
    assert!(given.iter().all(|external| external.port() == 5000), "{given:?}");
    assert_eq!(given.iter().collect::<BTreeSet<_>>().len(), 3);
    assert_ne!(rig.send(udp("10.0.0.9:5000", Y1)).port(), 5000);
}

#[test]
fn override_old_ends_the_older_mapping() {
    let mut rig = Rig::new(conflict(PortConflict::OverrideOld));
    let first = rig.send(udp(X1, Y1));
    assert_eq!(rig.send(udp(X2, Y1)), first);
    let ended = rig.wait_seconds(0);
    assert_eq!(ended.len(), 1);
    assert_eq!((ended[0].mapping.internal, ended[0].why), (at(X1), MappingEnd::Overridden));
    assert_eq!(rig.receive(udp(Y1, first)), Ok(at(X2)));
    assert_eq!(rig.send(udp(X1, Y1)), first, "and so on");
    assert_eq!(rig.nat.mappings().len(), 1);
    rig.wait_seconds(300);
    assert_eq!(rig.send(udp("10.0.0.9:5000", Y1)), first, "the port has come free");
}

#[test]
fn overload_lets_both_share_the_endpoint() {
    let mut rig = Rig::new(conflict(PortConflict::Overload));
    let shared = rig.send(udp(X1, Y1));
    assert_eq!(rig.send(udp(X2, Y1)), shared);
    assert_eq!(rig.send(udp(X2, Y2)), shared);
    assert_eq!(rig.nat.mappings().len(), 2);
    assert_eq!(rig.receive(udp(Y1, shared)), Ok(at(X1)), "the older session has the remote");
    assert_eq!(rig.receive(udp(Y2, shared)), Ok(at(X2)), "the filter tells the two apart");
    rig.wait_seconds(299);
    assert_eq!(rig.send(udp(X2, Y2)), shared);
    rig.wait_seconds(2);
    assert_eq!(rig.nat.mappings().len(), 1);
    assert_eq!(rig.send(udp("10.0.0.9:5000", Y1)), shared, "still mapped, so still shared");
    rig.wait_seconds(301);
    assert_eq!(rig.send(udp(X1, Y1)), shared);
}

#[test]
fn drop_gives_no_other_port() {
    let mut rig = Rig::new(conflict(PortConflict::Drop));
    rig.send(udp(X1, Y1));
    assert_eq!(rig.refusal(udp(X2, Y1)), DropReason::PortTaken);
    assert_eq!(rig.send(udp("10.0.0.3:5001", Y1)).port(), 5001);
    rig.wait_seconds(301);
    assert_eq!(rig.send(udp(X2, Y1)).port(), 5000);
}

/// nat-behaviour.md C.7, measured: a port is free as long as no session uses it towards the remote.
#[test]
fn netfilter_shares_a_port_between_remotes() {
    let mut rig = Rig::new(linux());
    assert_eq!(rig.send(udp(X1, remote(1))).port(), 5000);
    assert_eq!(rig.send(udp(X2, remote(2))).port(), 5000, "overlap");
    let remapped = rig.send(udp(X2, remote(1)));
    assert_ne!(remapped.port(), 5000, "X1 has it towards this one");
    let other = rig.send(udp(X1, remote(2)));
    assert!(other.port() != 5000 && other != remapped, "and X2 towards that one");
    assert_eq!(rig.receive(udp(remote(1), "198.51.100.1:5000")), Ok(at(X1)));
    assert_eq!(rig.receive(udp(remote(2), "198.51.100.1:5000")), Ok(at(X2)));
    assert_eq!(rig.receive(udp(remote(1), remapped)), Ok(at(X2)));
    assert_eq!(rig.receive(udp(remote(3), "198.51.100.1:5000")), Err(DropReason::Filtered));
}

#[test]
fn netfilter_keeps_a_remapped_port_for_the_next_destination() {
    let mut rig = Rig::new(linux());
    assert_eq!((1..4).map(|one| rig.send(udp(X1, remote(one))).port()).collect::<Vec<u16>>(), [5000, 5000, 5000]);
    let remapped = rig.send(udp(X2, remote(1)));
    assert_ne!(remapped.port(), 5000);
    assert_eq!([2, 3, 4].map(|one| rig.send(udp(X2, remote(one)))), [remapped; 3], "EIM look, with conflict");
    assert_eq!(rig.nat.mappings().len(), 2);
}

#[test]
fn netfilter_picks_from_three_classes() {
    let mut rig = Rig::new(linux());
    for (port, class) in [(500, 1..=511), (511, 1..=511), (700, 600..=1023), (550, 600..=1023), (1024, 1024..=65_535)] {
        assert_eq!(rig.send(udp(format!("10.0.0.2:{port}"), Y1)).port(), port, "kept, where it is free");
        let other = rig.send(udp(format!("10.0.0.3:{port}"), Y1)).port();
        assert!(class.contains(&other) && other != port, "{port}: {other}");
    }
}

/// Measured: `masquerade to :20000-20003`, the fifth flow towards one remote is dropped; towards another it is not.
#[test]
fn netfilter_gives_up_when_the_range_is_used_towards_the_remote() {
    let mut behavior = linux();
    behavior.ports.range = (20_000..=20_003).into();
    let mut rig = Rig::new(behavior);
    let ports: BTreeSet<u16> = (2..6).map(|host| rig.send(udp(format!("10.0.0.{host}:5000"), Y1)).port()).collect();
    assert_eq!(ports, (20_000..=20_003).collect());
    assert_eq!(rig.refusal(udp("10.0.0.9:5000", Y1)), DropReason::PortsExhausted);
    assert!(ports.contains(&rig.send(udp("10.0.0.9:5000", Y2)).port()));
}

#[test]
fn a_random_nat_shares_ports_between_remotes_when_all_are_taken() {
    let mut behavior = with(|ports| {
        ports.allocation = PortAllocation::Random;
        ports.overlap = PortOverlap::ByDestination;
        ports.range = (3000..=3009).into();
    });
    behavior.mapping = Mapping::AddressAndPortDependent.into();
    let mut rig = Rig::new(behavior);
    for number in 1..4 {
        let ports: BTreeSet<u16> =
            (0..10).map(|port| rig.send(udp(format!("10.0.0.2:{}", 5000 + port), remote(number))).port()).collect();
        assert_eq!(ports.len(), 10, "every port once towards each");
        assert_eq!(rig.refusal(udp("10.0.0.2:6000", remote(number))), DropReason::PortsExhausted);
    }
}

proptest! {
    /// Two live mappings share an external endpoint only by destination, and then never towards one remote.
    #[test]
    fn no_two_sessions_share_an_external_tuple(
        allocation in prop::sample::select(PortAllocation::ALL), rule in prop::sample::select(vec![
            PortConflict::Random, PortConflict::NextFree, PortConflict::OtherAddress, PortConflict::OverrideOld,
        ]),
        overlap in prop::sample::select(PortOverlap::ALL), class in prop::sample::select(PortClass::ALL),
        parity in prop::sample::select(PortParity::ALL), contiguity in prop::sample::select(PortContiguity::ALL),
        mapping in prop::sample::select(Mapping::ALL), pooling in prop::sample::select(Pooling::ALL),
        sharing in prop::sample::select(ProtocolSharing::ALL), exhausted in prop::sample::select(Exhausted::ALL),
        flows in prop::collection::vec((0..6_u8, 0..8_u16, 0..4_u8, 0..3_usize, 0..40_u64), 1..120),
    ) {
        let mut behavior = with(|ports| {
            *ports = Ports { allocation, conflict: rule, overlap, class, parity, contiguity, ..ports.clone() };
            ports.range = PortRanges::new([996..=1003, 5000..=5007]);
            (ports.block_size, ports.blocks_per_host) = (4, 2);
            ports.deterministic.first = Some([10, 0, 0, 2].into());
            (ports.deterministic.compression, ports.deterministic.max_ports) = (2, Some(6));
        });
        (behavior.mapping, behavior.pooling) = (mapping.into(), pooling);
        (behavior.protocol_sharing, behavior.exhausted) = (sharing, exhausted);
        behavior.timeouts.udp = std::time::Duration::from_secs(60);
        let mut rig = Rig::with_addresses(behavior.clone(), &TWO);
        for (host, port, to, kind, wait) in flows {
            rig.wait_seconds(wait);
            let source = SocketAddr::new([10, 0, 0, 2 + host].into(), if port < 3 { 1000 + port } else { 5000 + port });
            let protocol = [Protocol::Udp, Protocol::Udp, Protocol::Tcp][kind];
            let mut sent = packet(protocol, source, at(&remote(to)), SYN);
            if let natbox_nat::Verdict::Forward(_) = rig.outbound(&mut sent) {
                let external = sent.source_endpoint();
                prop_assert!(behavior.ports.range.contains(external.port()), "{external}");
                prop_assert_eq!(rig.receive(packet(protocol, at(&remote(to)), external, SYN_ACK)), Ok(source));
                let keeps = parity == PortParity::Preserve && rule != PortConflict::OverrideOld;
                let shares = sharing != ProtocolSharing::Off;
                prop_assert!(!keeps || shares || external.port() % 2 == source.port() % 2, "{source} {external}");
            }
            let live = rig.nat.mappings();
            for one in &live {
                let same = live.iter().filter(|other| (other.protocol, other.external) == (one.protocol, one.external));
                let others = same.filter(|other| other.id != one.id).count();
                prop_assert!(others == 0 || overlap == PortOverlap::ByDestination, "{one:?} is not alone");
            }
        }
        rig.wait_seconds(100_000);
        prop_assert!(rig.nat.mappings().is_empty());
    }
}

#[test]
fn contiguity_keeps_the_port_above_an_even_one() {
    let mut behavior = with(|ports| {
        ports.allocation = PortAllocation::Sequential;
        ports.range = (4000..=4010).into();
        ports.contiguity = PortContiguity::ReserveNext;
    });
    behavior.ports.parity = PortParity::Preserve;
    let mut rig = Rig::new(behavior);
    assert_eq!(rig.send(udp("10.0.0.2:6000", Y1)).port(), 4000);
    assert_eq!(rig.send(udp("10.0.0.3:7001", Y1)).port(), 4003, "4001 is kept");
    assert_eq!(rig.send(udp("10.0.0.2:6001", Y1)).port(), 4001, "(X+1)' = X'+1");
    assert_eq!(rig.send(udp("10.0.0.4:6000", Y1)).port(), 4004);
    rig.wait_seconds(301);
    assert_eq!(rig.send(udp("10.0.0.9:9001", Y1)).port(), 4005, "what was kept and not claimed is free again");
}

#[test]
fn ports_of_a_host_come_from_its_blocks() {
    let behavior = with(|ports| {
        ports.allocation = PortAllocation::Block;
        ports.range = (1024..=65_535).into();
        (ports.block_size, ports.blocks_per_host) = (16, 2);
    });
    let mut rig = Rig::new(behavior);
    let flow = |host: u8, port: u16| udp(format!("10.0.0.{host}:{port}"), Y1);
    let block = |external: SocketAddr| (external.port() - 1024) / 16;
    let first: Vec<SocketAddr> = (0..16).map(|port| rig.send(flow(2, 5000 + port))).collect();
    assert_eq!(first.iter().map(|one| block(*one)).collect::<BTreeSet<u16>>().len(), 1);
    assert_eq!(first.iter().collect::<BTreeSet<_>>().len(), 16);
    let tcp_port = rig.send(tcp("10.0.0.2:5000", Y1, SYN));
    assert_eq!(block(tcp_port), block(first[0]), "a block serves all protocols");
    let second: BTreeSet<u16> = (16..32).map(|port| block(rig.send(flow(2, 5000 + port)))).collect();
    assert_eq!(second.len(), 1);
    assert!(!second.contains(&block(first[0])));
    assert_eq!(rig.refusal(flow(2, 6000)), DropReason::PortsExhausted);
    let other = block(rig.send(flow(3, 5000)));
    assert!(other != block(first[0]) && !second.contains(&other));
}

#[test]
fn blocks_go_back_when_nothing_of_them_is_in_use() {
    let behavior = with(|ports| {
        ports.allocation = PortAllocation::Block;
        ports.range = (1024..=1055).into();
        (ports.block_size, ports.blocks_per_host) = (16, 4);
    });
    let mut rig = Rig::new(behavior);
    rig.send(udp("10.0.0.2:5000", Y1));
    rig.send(udp("10.0.0.3:5000", Y1));
    assert_eq!(rig.refusal(udp("10.0.0.4:5000", Y1)), DropReason::PortsExhausted, "both blocks are given out");
    rig.wait_seconds(301);
    rig.send(udp("10.0.0.4:5000", Y1));
}

#[test]
fn counters_are_the_boxs_or_the_hosts() {
    for (counter, second) in [(PortCounter::Global, 1026), (PortCounter::PerHost, 1025)] {
        let mut rig = Rig::new(with(|ports| {
            ports.allocation = PortAllocation::Sequential;
            ports.counter = counter;
        }));
        rig.send(udp("10.0.0.2:5000", Y1));
        rig.send(udp("10.0.0.2:5001", Y1));
        rig.wait_seconds(301);
        assert_eq!(rig.send(udp("10.0.0.2:5000", Y1)).port(), 1026, "counters go on");
        rig.wait_seconds(301);
        let of_other = rig.send(udp("10.0.0.3:5000", Y1)).port();
        assert_eq!(of_other, if counter == PortCounter::Global { 1027 } else { 1024 });
        rig.wait_seconds(301);
        let again = rig.send(udp("10.0.0.3:5000", Y1)).port();
        assert_eq!(again, if counter == PortCounter::Global { 1028 } else { second });
    }
}

/// RFC 7597 section 5.1: the example of its appendix A (PSID 0x34, a = 6, k = 8).
#[test]
fn a_map_customer_edge_keeps_to_its_port_set() {
    let set = PortRanges::map(6, 8, 0x34);
    assert_eq!((set.ranges().len(), set.count()), (63, 252));
    assert_eq!(set.ranges()[..2], [1232..=1235, 2256..=2259]);
    assert_eq!(set.ranges()[62], 64_720..=64_723);
    let mut rig = Rig::new(with(|ports| ports.range = set.clone()));
    let ports: BTreeSet<u16> =
        (0..252).map(|port| rig.send(udp(format!("10.0.0.2:{}", 5000 + port), Y1)).port()).collect();
    assert!(ports.len() == 252 && ports.iter().all(|port| set.contains(*port)));
    assert_eq!(rig.refusal(udp("10.0.0.2:9000", Y1)), DropReason::PortsExhausted);
}

#[test]
fn map_port_sets_share_out_all_ports_from_the_offset_on() {
    for (offset, bits) in [(6, 8), (4, 4), (0, 3), (1, 15), (16, 0), (0, 0)] {
        let sets: Vec<PortRanges> = (0..1_u32 << bits).map(|psid| PortRanges::map(offset, bits, psid as u16)).collect();
        let all: u32 = sets.iter().map(PortRanges::count).sum();
        let from = if offset == 0 { 0 } else { 65_536 >> offset };
        assert_eq!(all, 65_536 - from, "a = {offset}, k = {bits}");
        let union = PortRanges::new(sets.iter().flat_map(|set| set.ranges().to_vec()));
        assert_eq!(union.count(), all, "no port is in two sets");
    }
    assert_eq!(PortRanges::map(6, 8, 256).count(), 0, "no such identifier");
    assert_eq!(PortRanges::map(9, 8, 0).count(), 0, "more than 16 bits");
}

/// A full range is found to be full in a few steps: 200,000 refusals over 16 full addresses take no time to speak of.
#[test]
fn a_full_pool_refuses_quickly_and_exactly() {
    let addresses: Vec<String> = (1..=16).map(|host| format!("198.51.100.{host}")).collect();
    let addresses: Vec<&str> = addresses.iter().map(String::as_str).collect();
    let mut behavior = with(|ports| ports.range = (60_000..=60_099).into());
    (behavior.pooling, behavior.exhausted) = (Pooling::Arbitrary, Exhausted::DropSilent);
    let mut rig = Rig::with_addresses(behavior, &addresses);
    let distinct: BTreeSet<SocketAddr> =
        (0..1600).map(|port| rig.send(udp(format!("10.0.0.2:{}", 1024 + port), Y1))).collect();
    assert_eq!(distinct.len(), 1600);
    (0..20_000).for_each(|port| {
        assert_eq!(rig.refusal(udp(format!("10.0.0.3:{}", 1024 + port), Y1)), DropReason::PortsExhausted);
    });
}

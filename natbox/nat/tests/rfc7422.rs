//! RFC 7422 (deterministic ports), claim by claim. The round trip over all ports and the RFC's numbers are tested beside
//! the arithmetic (`ports/deterministic.rs`).

mod common;

use std::collections::BTreeSet;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};

use common::*;
use natbox_nat::behavior::*;
use natbox_nat::{Behavior, PortPlan};
use natbox_wire::{DropReason, Packet, Word};

/// The example of section 2.3, with M as nat-behaviour.md E.5 has it.
fn example(algorithm: DeterministicAlgorithm) -> Behavior {
    let mut behavior = Behavior::default();
    behavior.ports.allocation = PortAllocation::Deterministic;
    behavior.ports.range = (1024..=65_535).into();
    let first = Some([10, 0, 0, 1].into());
    behavior.ports.deterministic =
        Deterministic { first, max_ports: Some(5040), algorithm, ..Deterministic::default() };
    behavior
}

fn flow(host: u8, port: u16) -> Packet {
    udp(format!("10.0.0.{host}:{port}"), Y1)
}

fn port(external: SocketAddr) -> u16 {
    external.port()
}

#[test]
fn flows_use_the_hosts_own_range_while_it_lasts_then_dynamic_ports_up_to_m() {
    let mut rig = Rig::new(example(DeterministicAlgorithm::Sequential));
    let own: BTreeSet<u16> = (0..4032).map(|number| port(rig.send(flow(2, 1024 + number)))).collect();
    assert_eq!(own, (5056..=9087).collect());
    let dynamic: BTreeSet<u16> = (4032..5040).map(|number| port(rig.send(flow(2, 1024 + number)))).collect();
    assert!(dynamic.len() == 1008 && dynamic.iter().all(|port| *port >= 57_472), "from the 4033rd flow on");
    assert_eq!(rig.refusal(flow(2, 9000)), DropReason::PortsExhausted);
    assert!((1024..=5055).contains(&port(rig.send(flow(1, 9000)))), "the others have theirs");
    assert!((1024..=5055).contains(&port(rig.send(ping("10.0.0.1:9", "192.0.2.1")))), "identifiers too");
    rig.wait_seconds(301);
    assert!((5056..=9087).contains(&port(rig.send(flow(2, 9000)))), "its own come first again");
}

#[test]
fn without_m_the_own_range_is_all() {
    let mut behavior = example(DeterministicAlgorithm::Sequential);
    behavior.ports.deterministic.max_ports = None;
    behavior.ports.range = (1024..=1183).into();
    let mut rig = Rig::new(behavior);
    (0..10).for_each(|number| _ = rig.send(flow(2, 5000 + number)));
    assert_eq!(rig.refusal(flow(2, 6000)), DropReason::PortsExhausted);
}

#[test]
fn ports_inside_the_range_are_random() {
    let mut rig = Rig::new(example(DeterministicAlgorithm::Sequential));
    let given: Vec<u16> = (0..200).map(|number| port(rig.send(flow(2, 5000 + number)))).collect();
    assert!(given.windows(2).filter(|pair| pair[1].abs_diff(pair[0]) <= 1).count() < 5, "{given:?}");
}

#[test]
fn reserved_ports_are_given_to_nobody() {
    let mut rig = Rig::new(example(DeterministicAlgorithm::Random));
    assert!((0..2000).all(|number| port(rig.send(flow(1, number))) >= 1024), "not even to system ports");
}

#[test]
fn an_operator_finds_every_subscriber_by_arithmetic() {
    for algorithm in DeterministicAlgorithm::ALL {
        let behavior = example(*algorithm);
        let addresses: [Ipv4Addr; 2] = [[198, 51, 100, 1].into(), [198, 51, 100, 2].into()];
        let mut rig = Rig::with_addresses(behavior, &["198.51.100.1", "198.51.100.2"]);
        let plan = rig.nat.port_plan().expect("deterministic");
        for host in 1..=28 {
            let inside = Ipv4Addr::new(10, 0, 0, host);
            let own = plan.outside(inside);
            for number in 0..20 {
                let external = rig.send(flow(host, 5000 + number));
                let IpAddr::V4(address) = external.ip() else { panic!("IPv4") };
                assert!(addresses.contains(&address));
                assert_eq!(plan.inside(address, external.port()), Some(inside), "{algorithm}");
                assert!(own.iter().any(|(one, ports)| *one == address && ports.contains(external.port())));
            }
        }
        assert_eq!(plan.outside(Ipv4Addr::new(10, 0, 0, 29)), []);
    }
}

#[test]
fn a_host_without_a_range_gets_dynamic_ports_or_none() {
    let mut rig = Rig::new(example(DeterministicAlgorithm::Sequential));
    assert!(port(rig.send(flow(99, 5000))) >= 57_472);
    let mut behavior = example(DeterministicAlgorithm::Sequential);
    behavior.ports.deterministic.dynamic_factor = 0;
    assert_eq!(Rig::new(behavior).refusal(flow(99, 5000)), DropReason::PortsExhausted);
}

#[test]
fn a_nat_with_other_rules_has_no_plan() {
    assert!(Rig::new(Behavior::default()).nat.port_plan().is_none());
    assert!(PortPlan::new(&Ports::default(), &[], 1).is_none());
}

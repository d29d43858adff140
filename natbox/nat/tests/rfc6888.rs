//! RFC 6888 (common requirements for carrier-grade NATs), requirement by requirement.
//!
//! Not claimed here: REQ-1 (the other files), REQ-9 (`explicit.rs`), REQ-11C and REQ-12 (events and logs
//! are the notes of whoever drives the NAT).

mod common;

use std::collections::BTreeSet;
use std::net::{IpAddr, SocketAddr};

use common::*;
use natbox_nat::behavior::*;
use natbox_nat::{Answer, Behavior, Refusal, Verdict};
use natbox_wire::{DropReason, IcmpError, Packet};

const POOL: [&str; 4] = ["198.51.100.1", "198.51.100.2", "198.51.100.3", "203.0.113.9"];

fn flow(host: u8, port: u16) -> Packet {
    udp(format!("10.0.0.{host}:{port}"), Y1)
}

#[test]
fn req_02_a_subscriber_has_one_external_address_for_all_protocols() {
    let mut rig = Rig::with_addresses(Behavior::default(), &POOL);
    for host in 2..12 {
        let internal = format!("10.0.0.{host}:5000");
        let [udp, tcp, icmp] =
            [udp(&internal, Y1), tcp(&internal, Y2, SYN), ping(&internal, "192.0.2.3")].map(|one| rig.send(one).ip());
        assert_eq!([udp, udp], [tcp, icmp]);
    }
}

#[test]
fn req_03_all_of_a_pool_of_several_ranges_is_used() {
    let mut rig = Rig::with_addresses(Behavior::default(), &POOL);
    let used: BTreeSet<IpAddr> = (2..12).map(|host| rig.send(flow(host, 5000)).ip()).collect();
    assert_eq!(used, POOL.iter().map(|address| ip(address)).collect());
}

#[test]
fn req_04_a_limit_of_ports_stops_one_subscriber_and_no_other() {
    let quota = Quota { ports: Some(100), ..Quota::default() };
    let mut rig = Rig::new(Behavior { quota, ..Behavior::default() });
    (0..100).for_each(|port| _ = rig.send(flow(2, 5000 + port)));
    assert_eq!(rig.refusal(flow(2, 6000)), DropReason::QuotaExceeded);
    rig.send(flow(3, 6000));
    rig.wait_seconds(300);
    rig.send(flow(2, 6000));
}

#[test]
fn req_04_c_new_mappings_have_a_rate() {
    let quota = Quota { new_per_second: Some(10), ..Quota::default() };
    let mut rig = Rig::new(Behavior { quota, ..Behavior::default() });
    (0..10).for_each(|port| _ = rig.send(flow(2, 5000 + port)));
    assert_eq!(rig.refusal(flow(2, 6000)), DropReason::RateExceeded);
    rig.send(flow(3, 6000));
    rig.wait_seconds(1);
    rig.send(flow(2, 6000));
}

#[test]
fn req_05_sessions_of_a_subscriber_have_a_limit() {
    let quota = Quota { sessions: Some(50), ..Quota::default() };
    let mut rig = Rig::new(Behavior { quota, ..Behavior::default() });
    (0..50).for_each(|port| _ = rig.send(udp(X1, format!("192.0.2.1:{}", 1 + port))));
    assert_eq!(rig.refusal(udp(X1, Y2)), DropReason::QuotaExceeded);
    rig.send(udp(X2, Y2));
}

fn quarantined(change: impl FnOnce(&mut Behavior)) -> Rig {
    let mut behavior = Behavior::default();
    (behavior.ports.quarantine, behavior.ports.range) = (std::time::Duration::from_secs(120), (4000..=4001).into());
    change(&mut behavior);
    Rig::new(behavior)
}

#[test]
fn req_08_a_port_rests_for_its_time_before_anybody_gets_it_again() {
    let mut rig = quarantined(|_| {});
    let first = rig.send(flow(2, 5000));
    rig.wait_seconds(300);
    let second = rig.send(flow(2, 5000));
    assert_ne!(first, second, "not even the host that had it");
    rig.wait_seconds(119);
    assert_eq!(rig.refusal(flow(3, 5000)), DropReason::PortsExhausted);
    rig.wait_seconds(1);
    assert_eq!(rig.send(flow(3, 5000)), first);
}

#[test]
fn req_08_ports_rest_across_a_reboot() {
    let mut rig = quarantined(|_| {});
    let first = rig.send(flow(2, 5000));
    rig.wait_seconds(310);
    let second = rig.send(flow(2, 5000));
    rig.wait_seconds(60);
    rig.nat.reboot(&mut |_| {});
    assert_eq!(rig.refusal(flow(3, 5000)), DropReason::PortsExhausted);
    rig.wait_seconds(50);
    assert_eq!(rig.send(flow(3, 5000)), first, "120 s after its mapping ended");
    rig.wait_seconds(69);
    assert_eq!(rig.refusal(flow(3, 5001)), DropReason::PortsExhausted);
    rig.wait_seconds(1);
    assert_eq!(rig.send(flow(3, 5001)), second, "120 s after the reboot");
}

#[test]
fn req_08_the_number_of_ports_that_rest_is_configurable() {
    let mut rig = quarantined(|behavior| behavior.ports.quarantine_max = Some(1));
    rig.send(flow(2, 5000));
    rig.wait_seconds(10);
    rig.send(flow(2, 5001));
    let first = rig.nat.mappings()[0].external;
    rig.wait_seconds(300);
    assert_eq!(rig.send(flow(3, 5000)), first, "the one that has rested for longer came back early");
    assert_eq!(rig.refusal(flow(3, 5001)), DropReason::PortsExhausted);
}

#[test]
fn req_08_exempts_tracked_tcp_static_ranges_and_filtered_ports() {
    let again = |mut rig: Rig, one: Packet| {
        let ports: BTreeSet<SocketAddr> = (0..5)
            .map(|_| {
                let external = rig.send(one.clone());
                rig.wait_seconds(400);
                external
            })
            .collect();
        ports.len() <= 2
    };
    assert!(again(quarantined(|_| {}), tcp(X1, Y1, SYN)), "TCP is followed to its end");
    let filtered = |behavior: &mut Behavior| behavior.filtering = Filtering::AddressDependent.into();
    assert!(again(quarantined(filtered), udp(X1, Y1)));
    let fixed = |behavior: &mut Behavior| {
        behavior.ports.allocation = PortAllocation::Deterministic;
        behavior.ports.deterministic = Deterministic {
            first: Some([10, 0, 0, 2].into()),
            compression: 1,
            dynamic_factor: 0,
            ..Deterministic::default()
        };
    };
    assert!(again(quarantined(fixed), udp(X1, Y1)));
}

#[test]
fn req_11_without_a_port_the_packet_dies_its_sender_learns_it_and_nobody_else_suffers() {
    let mut behavior = Behavior { exhausted: Exhausted::DropIcmp1, ..Behavior::default() };
    behavior.ports.range = (4000..=4009).into();
    let mut rig = Rig::new(behavior);
    let given: Vec<SocketAddr> = (0..10).map(|port| rig.send(flow(2, 5000 + port))).collect();
    let mut eleventh = flow(3, 5000);
    let Verdict::Drop(Refusal { reason, answer, .. }) = rig.outbound(&mut eleventh) else { panic!("no port is left") };
    assert_eq!((reason, answer), (DropReason::PortsExhausted, Some(Answer::Icmp(IcmpError::HostUnreachable))));
    for (port, external) in (0..10).zip(&given) {
        assert_eq!(rig.receive(udp(Y1, external)), Ok(at(&format!("10.0.0.2:{}", 5000 + port))));
    }
}

/// REQ-13 to REQ-15 score what a rule makes of ports, logs and guessing: blocks need a line for each block, random ports
/// cannot be guessed, and every rule uses every port of what it may use.
#[test]
fn req_13_15_blocks_save_lines_and_random_ports_cannot_be_guessed() {
    let lines = |allocation| {
        let mut behavior = Behavior::default();
        (behavior.ports.allocation, behavior.ports.range) = (allocation, (1024..=65_535).into());
        (behavior.ports.block_size, behavior.ports.blocks_per_host) = (64, 32);
        let mut rig = Rig::new(behavior);
        let ports: Vec<u16> = (0..1000).map(|port| rig.send(flow(2, 5000 + port)).port()).collect();
        let blocks: BTreeSet<u16> = ports.iter().map(|port| (port - 1024) / 64).collect();
        (blocks.len(), ports.windows(2).filter(|pair| pair[1].abs_diff(pair[0]) == 1).count())
    };
    let (of_blocks, _) = lines(PortAllocation::Block);
    assert_eq!(of_blocks, 16, "1,000 flows in 16 blocks of 64");
    let (of_random, steps) = lines(PortAllocation::Random);
    assert!(of_random > 400 && steps < 5);
    assert_eq!(lines(PortAllocation::Sequential).1, 999);
}

fn bypassing() -> Rig {
    let bypass = vec!["192.0.2.0/24".parse().expect("a prefix")];
    let filtering = Filtering::AddressAndPortDependent.into();
    Rig::new(Behavior { bypass, filtering, ..Behavior::default() })
}

#[test]
fn req_06_packets_to_a_bypassed_destination_leave_as_they_are_and_are_answered() {
    let mut nat = bypassing();
    for (mut request, mut answer) in [
        (udp(X1, Y1), udp(Y1, X1)),
        (tcp(X1, Y1, SYN), tcp(Y1, X1, SYN_ACK)),
        (ping(X1, "192.0.2.1"), pong("192.0.2.1", at(X1))),
    ] {
        // `check` insists that a packet that passes is as it came.
        assert_eq!(nat.outbound(&mut request), Verdict::Pass);
        assert_eq!(nat.inbound(&mut answer), Verdict::Pass);
    }
    assert_eq!(nat.inbound(&mut udp(Y1_OTHER_PORT, X2)), Verdict::Pass, "without state: uninvited too");
    assert_eq!(nat.nat.mappings(), []);
}

#[test]
fn req_06_errors_about_packets_that_bypassed_pass_whoever_sends_them() {
    let mut nat = bypassing();
    let sent = udp(X1, Y1);
    assert_eq!(nat.inbound(&mut error("203.0.113.1", &sent)), Verdict::Pass);
    assert_eq!(nat.outbound(&mut error("10.0.0.2", &udp(Y1, X1))), Verdict::Pass);
}

#[test]
fn req_06_other_destinations_are_translated() {
    let mut nat = bypassing();
    assert_eq!(nat.send(udp(X1, "203.0.113.1:9")).ip(), ip(EXTERNAL));
    assert_eq!(nat.receive(udp(Y1, "198.51.100.1:9")), Err(DropReason::NoMapping), "to an external address of its own");
    assert_eq!(nat.receive(udp("203.0.113.1:9", X1)), Err(DropReason::NoMapping));
}

#[test]
fn req_06_the_boxs_own_address_is_never_bypassed() {
    let bypass = vec!["198.51.100.0/24".parse().expect("a prefix that holds its own address")];
    let mut nat = Rig::new(Behavior { bypass, ..Behavior::default() });
    let external = nat.send(udp(X1, Y1));
    assert_eq!(nat.hairpin(udp(X2, external)).expect("it turns round").1, at(X1));
    assert_eq!(nat.receive(udp("198.51.100.9:9", external)), Ok(at(X1)), "translated, though its sender is listed");
    assert_eq!(nat.outbound(&mut udp(X1, "198.51.100.9:9")), Verdict::Pass);
}

#[test]
fn req_06_errors_to_the_boxs_own_address_are_never_bypassed() {
    let mut nat = bypassing();
    let external = nat.send(udp(X1, "203.0.113.1:9"));
    // Nobody inside has sent that: a listed destination in the quote does not make it the inside's.
    let forged = error("203.0.113.1", &udp(external, Y1));
    assert!(matches!(nat.inbound(&mut forged.clone()), Verdict::Drop(_)));
    assert!(matches!(nat.inbound(&mut error("192.0.2.1", &udp(external, "203.0.113.1:9"))), Verdict::Forward(_)));
}

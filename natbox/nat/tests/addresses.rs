//! External addresses: pooling, what happens where an address is full, Basic NAT.

mod common;

use std::collections::BTreeSet;
use std::net::{IpAddr, SocketAddr};

use common::*;
use natbox_nat::Behavior;
use natbox_nat::behavior::*;
use natbox_wire::DropReason;

const POOL: [&str; 3] = ["198.51.100.1", "198.51.100.2", "198.51.100.3"];

fn pooled(pooling: Pooling) -> Rig {
    Rig::with_addresses(Behavior { pooling, ..Behavior::default() }, &POOL)
}

fn addresses(rig: &mut Rig, host: u8, flows: u16) -> Vec<IpAddr> {
    (0..flows).map(|port| rig.send(udp(format!("10.0.0.{host}:{}", 5000 + port), Y1)).ip()).collect()
}

fn distinct(addresses: &[IpAddr]) -> usize {
    addresses.iter().collect::<BTreeSet<_>>().len()
}

#[test]
fn round_robin_takes_the_addresses_in_turn() {
    let mut rig = pooled(Pooling::ArbitraryRoundRobin);
    let given = addresses(&mut rig, 2, 7);
    let expected: Vec<IpAddr> = (0..7).map(|turn| ip(POOL[turn % 3])).collect();
    assert_eq!(given, expected);
}

#[test]
fn arbitrary_draws_every_address() {
    let given = addresses(&mut pooled(Pooling::Arbitrary), 2, 60);
    for one in POOL {
        assert!((8..=35).contains(&given.iter().filter(|address| **address == ip(one)).count()), "{given:?}");
    }
}

#[test]
fn hash_source_keeps_a_host_on_its_address_without_remembering_it() {
    let mut rig = pooled(Pooling::HashSource);
    let first = addresses(&mut rig, 2, 20);
    assert_eq!(distinct(&first), 1);
    rig.wait_seconds(301);
    assert_eq!(addresses(&mut rig, 2, 1), first[..1], "the same after all is forgotten");
    let all: Vec<IpAddr> = (10..60).map(|host| addresses(&mut rig, host, 1)[0]).collect();
    assert_eq!(distinct(&all), 3, "hosts spread over the pool");
}

#[test]
fn hash_source_destination_spreads_a_host_over_the_pool_by_remote() {
    let mut rig =
        Rig::with_addresses(Behavior { pooling: Pooling::HashSourceDestination, ..Behavior::default() }, &POOL);
    let towards = |rig: &mut Rig, remote: u8, port: u16| {
        rig.send(udp(format!("10.0.0.2:{port}"), format!("192.0.2.{remote}:9"))).ip()
    };
    let given: Vec<IpAddr> = (1..40).map(|remote| towards(&mut rig, remote, 5000 + u16::from(remote))).collect();
    assert_eq!(distinct(&given), 3);
    for remote in 1..40 {
        assert_eq!(towards(&mut rig, remote, 6000 + u16::from(remote)), given[usize::from(remote) - 1]);
    }
}

#[test]
fn a_full_address_spills_over_where_the_rule_says_so() {
    for pooling in [Pooling::Paired, Pooling::HashSource, Pooling::HashSourceDestination] {
        for (rule, spills) in [(PoolExhausted::Drop, false), (PoolExhausted::OtherAddress, true)] {
            let mut behavior = Behavior { pooling, pool_exhausted: rule, ..Behavior::default() };
            behavior.ports.range = (4000..=4003).into();
            let mut rig = Rig::with_addresses(behavior, &POOL);
            let given = addresses(&mut rig, 2, 4);
            assert_eq!(distinct(&given), 1);
            let mut fifth = udp("10.0.0.2:6000", Y1);
            let left = matches!(rig.outbound(&mut fifth), natbox_nat::Verdict::Forward(_));
            assert_eq!(left, spills, "{pooling} {rule}");
            assert!(!left || fifth.source() != given[0]);
        }
    }
}

#[test]
fn pairs_survive_a_change_of_the_pool_as_far_as_their_addresses_do() {
    let mut rig = pooled(Pooling::Paired);
    let before: Vec<IpAddr> = (2..5).map(|host| addresses(&mut rig, host, 1)[0]).collect();
    assert_eq!(distinct(&before), 3);
    let mut ended = Vec::new();
    rig.nat.readdress(&[before[2], before[0], ip("198.51.100.9")], &mut |one| ended.push(one));
    assert_eq!(ended.len(), 1);
    let after = rig.send(udp("10.0.0.2:7000", Y1)).ip();
    assert_eq!(after, before[0], "10.0.0.2 has kept its address");
    assert_eq!(rig.send(udp("10.0.0.3:5000", Y1)).ip(), ip("198.51.100.9"), "the one that nobody has");
}

fn basic() -> Behavior {
    Behavior { translation: TranslationKind::Basic, ..Behavior::default() }
}

/// RFC 2663 section 4.1.1, RFC 3022 section 2.1.
#[test]
fn basic_nat_gives_each_host_an_address_and_leaves_ports_alone() {
    let mut rig = Rig::with_addresses(basic(), &POOL[..2]);
    let first = rig.send(udp("10.0.0.2:77", Y1));
    assert_eq!(first, at("198.51.100.1:77"));
    assert_eq!(rig.send(tcp("10.0.0.2:5000", Y1, SYN)), at("198.51.100.1:5000"));
    assert_eq!(rig.send(ping("10.0.0.2:9", "192.0.2.1")), at("198.51.100.1:9"), "identifiers are left alone");
    assert_eq!(rig.send(udp("10.0.0.3:77", Y1)), at("198.51.100.2:77"));
    assert_eq!(rig.refusal(udp("10.0.0.4:77", Y1)), DropReason::AddressesExhausted);
    assert_eq!(rig.receive(udp(Y1, first)), Ok(at("10.0.0.2:77")));
    rig.wait_seconds(7441);
    assert_eq!(rig.send(udp("10.0.0.4:77", Y1)), at("198.51.100.1:77"), "the address has come free");
}

#[test]
fn basic_nat_lets_anybody_in_to_any_port_where_the_filter_does() {
    let mut rig = Rig::with_addresses(basic(), &POOL[..2]);
    assert_eq!(rig.receive(udp(Y1, "198.51.100.1:53")), Err(DropReason::NoMapping), "nobody has the address yet");
    rig.send(udp("10.0.0.2:77", Y1));
    assert_eq!(rig.receive(udp(Y2, "198.51.100.1:53")), Ok(at("10.0.0.2:53")));
    assert_eq!(rig.send(udp("10.0.0.2:53", Y2)), at("198.51.100.1:53"));
    let strict = Behavior { filtering: Filtering::AddressDependent.into(), ..basic() };
    let mut rig = Rig::with_addresses(strict, &POOL[..2]);
    rig.send(udp("10.0.0.2:77", Y1));
    assert_eq!(rig.receive(udp(Y1, "198.51.100.1:53")), Err(DropReason::NoMapping));
}

/// RFC 5508 REQ-7: hairpinned queries pass a Basic NAT, and find their receiver by its address.
#[test]
fn basic_nat_hairpins_queries() {
    let mut rig = Rig::with_addresses(basic(), &POOL[..2]);
    let [first, second] = ["10.0.0.2:9", "10.0.0.3:8"].map(|host| rig.send(ping(host, "192.0.2.1")));
    let turned = rig.hairpin(ping("10.0.0.2:9", &second.ip().to_string()));
    assert_eq!(turned, Ok((first, at("10.0.0.3:9"))));
}

fn shared(sharing: ProtocolSharing, filtering: Filtering) -> Rig {
    Rig::new(Behavior { protocol_sharing: sharing, filtering: filtering.into(), ..Behavior::default() })
}

/// RFC 7857 section 5.
#[test]
fn protocols_share_a_port_where_mapping_is_shared() {
    for (sharing, same) in
        [(ProtocolSharing::Mapping, true), (ProtocolSharing::Both, true), (ProtocolSharing::Filtering, false)]
    {
        let mut rig = shared(sharing, Filtering::EndpointIndependent);
        let pairs: Vec<(SocketAddr, SocketAddr)> = (0..20)
            .map(|port| format!("10.0.0.2:{}", 5000 + port))
            .map(|internal| (rig.send(tcp(&internal, Y1, SYN)), rig.send(udp(&internal, Y2))))
            .collect();
        assert_eq!(pairs.iter().all(|(tcp, udp)| tcp == udp), same, "{sharing}");
    }
}

/// A port that one host has of either protocol belongs to no other, or the two could not be shared.
#[test]
fn shared_ports_are_one_set() {
    let mut behavior = Behavior { protocol_sharing: ProtocolSharing::Mapping, ..Behavior::default() };
    (behavior.ports.range, behavior.ports.allocation) = ((4000..=4001).into(), PortAllocation::Sequential);
    let mut rig = Rig::new(behavior);
    assert_eq!(rig.send(udp(X1, Y1)).port(), 4000);
    assert_eq!(rig.send(tcp(X2, Y1, SYN)).port(), 4001);
    assert_eq!(rig.refusal(udp("10.0.0.9:5000", Y1)), DropReason::PortsExhausted);
    assert_eq!(rig.send(tcp(X1, Y1, SYN)).port(), 4000);
    rig.wait_seconds(301);
    assert_eq!(rig.nat.mappings().len(), 0);
    assert_eq!(rig.send(udp("10.0.0.9:5000", Y1)).port(), 4000);
}

/// RFC 7857 section 6.
#[test]
fn a_permission_counts_for_both_protocols_where_filtering_is_shared() {
    for sharing in [ProtocolSharing::Off, ProtocolSharing::Mapping, ProtocolSharing::Filtering, ProtocolSharing::Both] {
        let mut rig = shared(sharing, Filtering::AddressDependent);
        let external = rig.send(tcp(X1, Y1, SYN));
        let shares = matches!(sharing, ProtocolSharing::Filtering | ProtocolSharing::Both);
        let came = rig.receive(udp(Y1_OTHER_PORT, external));
        assert_eq!(came, if shares { Ok(at(X1)) } else { Err(DropReason::NoMapping) }, "{sharing}");
        assert!(rig.receive(udp(Y2, external)).is_err(), "nobody has been contacted there");
        if shares {
            assert_eq!(rig.send(udp(X1, Y1_OTHER_PORT)), external, "the answer leaves by the same endpoint");
        }
    }
}

/// RFC 4787 REQ-11, violated on purpose: each conflict makes the host's NAT a worse one.
#[test]
fn a_degrading_nat_treats_a_host_worse_after_each_conflict() {
    let worse = |mapping, filtering| Degraded { mapping, filtering };
    let mut behavior = Behavior {
        degraded: vec![
            worse(Mapping::AddressDependent, Filtering::AddressDependent),
            worse(Mapping::AddressAndPortDependent, Filtering::AddressAndPortDependent),
        ],
        ..Behavior::default()
    };
    behavior.ports.allocation = PortAllocation::Preserve;
    let mut rig = Rig::new(behavior);
    let class = |rig: &mut Rig, internal: &str| {
        let [a, b, c] = [Y1, Y1_OTHER_PORT, Y2].map(|remote| rig.send(udp(internal, remote)));
        let strangers = ["192.0.2.1:7", "192.0.2.9:7"].map(|remote| rig.receive(udp(remote, a)).is_ok());
        (a == b, a == c, strangers)
    };
    for port in [5000, 5001, 5002] {
        assert_eq!(class(&mut rig, &format!("10.0.0.2:{port}")), (true, true, [true, true]), "nobody was there first");
    }
    // The first conflict: address-dependent from the next mapping on.
    rig.send(udp("10.0.0.3:5000", Y1));
    assert_eq!(class(&mut rig, "10.0.0.3:6000"), (true, false, [true, false]));
    // The second, and a third that changes nothing any more.
    rig.send(udp("10.0.0.3:5001", Y1));
    rig.send(udp("10.0.0.3:5002", Y1));
    assert_eq!(class(&mut rig, "10.0.0.3:7000"), (false, false, [false, false]));
    assert_eq!(class(&mut rig, "10.0.0.2:7007"), (true, true, [true, true]), "the others have what they had");
}

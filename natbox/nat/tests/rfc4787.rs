//! RFC 4787 (UDP), requirement by requirement, as far as this NAT claims them.
//!
//! Not claimed here: REQ-13 (too big: the gateway's business).

mod common;

use std::net::SocketAddr;

use common::pieces::{Seen, behavior as fragments, cut, datagram, same_datagram};
use common::*;
use natbox_nat::behavior::*;
use natbox_nat::{Behavior, Nat, Side, Verdict};
use natbox_wire::{DropReason, Time, Word};

fn mapping(mapping: Mapping) -> Rig {
    Rig::new(Behavior { mapping: mapping.into(), ..Behavior::default() })
}

fn filtering(filtering: Filtering) -> Rig {
    Rig::new(Behavior { filtering: filtering.into(), ..Behavior::default() })
}

/// The external endpoints of X1 towards Y1, another port of Y1, and Y2.
fn externals(nat: &mut Rig) -> [SocketAddr; 3] {
    [Y1, Y1_OTHER_PORT, Y2].map(|remote| nat.send(udp(X1, remote)))
}

#[test]
fn req_01_mapping_is_endpoint_independent() {
    let [first, second, third] = externals(&mut mapping(Mapping::EndpointIndependent));
    assert_eq!((first, first), (second, third));
}

#[test]
fn req_01_mapping_is_address_dependent() {
    let [first, second, third] = externals(&mut mapping(Mapping::AddressDependent));
    assert_eq!(first, second);
    assert_ne!(first, third);
}

#[test]
fn req_01_mapping_is_address_and_port_dependent() {
    let [first, second, third] = externals(&mut mapping(Mapping::AddressAndPortDependent));
    assert!(first != second && first != third && second != third);
}

#[test]
fn req_02_a_host_without_a_pair_gets_an_address_that_is_not_full() {
    let ports = Ports { allocation: PortAllocation::Random, range: (4000..=4000).into(), ..Ports::default() };
    let behavior = Behavior { ports, ..Behavior::default() };
    let mut nat = Rig::with_addresses(behavior, &[EXTERNAL, "198.51.100.2"]);
    let first = nat.send(udp(X1, Y1));
    nat.send(ping("10.0.0.3:1", "192.0.2.1"));
    nat.send(ping("10.0.0.4:1", "192.0.2.1"));
    nat.send(ping("10.0.0.5:1", "192.0.2.1"));
    assert_eq!(first.ip(), ip(EXTERNAL), "as many hosts on either address, and the first is full for UDP");
    let second = nat.send(udp("10.0.0.6:5000", Y1));
    assert_eq!(second.ip(), ip("198.51.100.2"));
    assert_eq!(nat.refusal(udp("10.0.0.2:5001", Y1)), DropReason::PortsExhausted, "a pair is kept");
}

#[test]
fn req_02_paired_pooling_keeps_one_address_for_all_protocols() {
    let mut nat = Rig::with_addresses(Behavior::default(), &["198.51.100.1", "198.51.100.2", "198.51.100.3"]);
    let other = nat.send(udp(X2, Y1)).ip();
    let mine: Vec<SocketAddr> = (5000..5020).map(|port| nat.send(udp(format!("10.0.0.2:{port}"), Y1))).collect();
    assert!(mine.iter().all(|external| external.ip() == mine[0].ip()));
    assert_ne!(other, mine[0].ip(), "two hosts share the pool evenly");
    assert_eq!(nat.send(tcp(X1, Y1, SYN)).ip(), mine[0].ip());
    assert_eq!(nat.send(ping(X1, "192.0.2.1")).ip(), mine[0].ip());
}

#[test]
fn req_02_arbitrary_pooling_uses_the_whole_pool() {
    let behavior = Behavior { pooling: Pooling::Arbitrary, ..Behavior::default() };
    let mut nat = Rig::with_addresses(behavior, &["198.51.100.1", "198.51.100.2", "198.51.100.3"]);
    let used = (5000..5040).map(|port| nat.send(udp(format!("10.0.0.2:{port}"), Y1)).ip());
    assert_eq!(used.collect::<std::collections::BTreeSet<_>>().len(), 3);
}

#[test]
fn req_03_no_external_port_serves_two_internal_endpoints() {
    let ports = Ports { allocation: PortAllocation::Preserve, range: (1024..=65535).into(), ..Ports::default() };
    let mut nat = Rig::new(Behavior { ports, ..Behavior::default() });
    let (first, second) = (nat.send(udp(X1, Y1)), nat.send(udp(X2, Y1)));
    assert_eq!(first.port(), 5000, "preserved");
    assert_ne!(first, second);
    assert_eq!(nat.receive(udp(Y1, first)), Ok(at(X1)));
    assert_eq!(nat.receive(udp(Y1, second)), Ok(at(X2)));
    assert_eq!(nat.send(tcp(X2, Y1, SYN)).port(), 5000, "protocols do not share ports");
}

#[test]
fn req_05_a_mapping_outlives_silence_just_shorter_than_its_timer() {
    for last_nanosecond in [false, true] {
        let mut nat = filtering(Filtering::AddressAndPortDependent);
        let external = nat.send(udp(X1, Y1));
        nat.now = seconds(300);
        if last_nanosecond {
            nat.now = Time::from_nanos(nat.now.as_nanos() - 1);
            assert_eq!(nat.receive(udp(Y1, external)), Ok(at(X1)));
        } else {
            assert_eq!(nat.receive(udp(Y1, external)), Err(DropReason::NoMapping));
        }
    }
}

#[test]
fn req_05_a_box_with_a_shorter_timer_forgets_earlier() {
    for seconds in [30, 60, 120] {
        let timeouts = Timeouts { udp: std::time::Duration::from_secs(seconds), ..Timeouts::default() };
        let mut nat = Rig::new(Behavior { timeouts, ..Behavior::default() });
        let external = nat.send(udp(X1, Y1));
        assert!(nat.wait_seconds(seconds - 1).is_empty());
        assert_eq!(nat.receive(udp(Y1, external)), Ok(at(X1)));
        assert_eq!(nat.wait_seconds(1).len(), 1, "packets from outside do not refresh");
    }
}

#[test]
fn req_05a_a_shorter_timer_for_a_well_known_port_concerns_that_remote_port_alone() {
    let short = std::time::Duration::from_secs(20);
    let timeouts = Timeouts { udp_ports: vec![(123, short * 2), (53, short)], ..Timeouts::default() };
    let mut nat = Rig::new(Behavior { timeouts, refresh: Refresh::Both, ..Behavior::default() });
    for (local, remote, lives) in [(5000, "192.0.2.1:53", 20), (5001, "192.0.2.1:123", 40), (5002, Y1, 300)] {
        let external = nat.send(udp(format!("10.0.0.2:{local}"), remote));
        nat.wait_seconds(10);
        nat.receive(udp(remote, external)).expect("an answer");
        assert!(nat.wait_seconds(lives - 1).is_empty(), "{remote}");
        assert_eq!(nat.wait_seconds(1).len(), 1, "{remote}: from the last packet on, whatever its stage");
    }
    let external = nat.send(udp(X1, "192.0.2.1:53"));
    nat.send(udp(X1, Y1));
    nat.wait_seconds(250);
    assert_eq!(nat.send(udp(X1, "192.0.2.1:53")), external, "the mapping lives as long as its longest session");
}

#[test]
fn req_05c_the_default_timer_is_five_minutes() {
    let mut nat = Rig::new(Behavior::default());
    nat.send(udp(X1, Y1));
    assert_eq!(nat.nat.poll_timeout(), Some(seconds(300)));
    assert!(nat.wait_seconds(299).is_empty());
    assert_eq!(nat.wait_seconds(1).len(), 1);
    assert_eq!(nat.nat.poll_timeout(), None);
}

fn lives_on(refresh: Refresh, inbound: bool, remote: &str) -> bool {
    let mut nat = Rig::new(Behavior { refresh, ..Behavior::default() });
    let external = nat.send(udp(X1, Y1));
    for round in 1..10 {
        nat.wait_seconds(150);
        // Every round comes from another port where `remote` leaves it open.
        let remote = remote.replace('*', &(2000 + round).to_string());
        let refused =
            if inbound { nat.receive(udp(remote, external)).is_err() } else { nat.send(udp(X1, Y1)) != external };
        if refused {
            return false;
        }
    }
    nat.nat.mappings().len() == 1
}

#[test]
fn req_06_outbound_packets_keep_a_mapping_alive() {
    assert!(lives_on(Refresh::Outbound, false, Y1) && lives_on(Refresh::Both, false, Y1));
    assert!(!lives_on(Refresh::Inbound, false, Y1) && !lives_on(Refresh::None, false, Y1));
}

#[test]
fn req_06a_inbound_packets_keep_a_mapping_alive_only_where_they_refresh() {
    for remote in [Y1, Y2, "192.0.2.2:*"] {
        assert!(lives_on(Refresh::Inbound, true, remote) && lives_on(Refresh::Both, true, remote), "{remote}");
        assert!(!lives_on(Refresh::Outbound, true, remote) && !lives_on(Refresh::None, true, remote), "{remote}");
    }
}

/// Whether Y1, another port of Y1, and Y2 may send to X1 once X1 has sent to Y1.
fn admitted(kind: Filtering) -> [bool; 3] {
    let mut nat = filtering(kind);
    let external = nat.send(udp(X1, Y1));
    [Y1, Y1_OTHER_PORT, Y2].map(|remote| match nat.receive(udp(remote, external)) {
        Ok(internal) => internal == at(X1),
        Err(reason) => {
            assert_eq!(reason, DropReason::Filtered);
            false
        }
    })
}

#[test]
fn req_08_filtering_is_endpoint_independent() {
    assert_eq!(admitted(Filtering::EndpointIndependent), [true, true, true]);
}

#[test]
fn req_08_filtering_is_address_dependent() {
    assert_eq!(admitted(Filtering::AddressDependent), [true, true, false]);
}

#[test]
fn req_08_filtering_is_address_and_port_dependent() {
    assert_eq!(admitted(Filtering::AddressAndPortDependent), [true, false, false]);
}

#[test]
fn req_08_a_permission_ends_with_the_session_that_gave_it() {
    let mut nat = filtering(Filtering::AddressDependent);
    let external = nat.send(udp(X1, Y1));
    nat.wait_seconds(200);
    nat.send(udp(X1, Y2));
    nat.wait_seconds(100);
    assert_eq!(nat.receive(udp(Y1, external)), Err(DropReason::Filtered));
    assert_eq!(nat.receive(udp(Y2, external)), Ok(at(X1)));
}

#[test]
fn req_09_hairpinned_packets_come_from_the_external_endpoint() {
    let mut nat = Rig::new(Behavior::default());
    let (first, second) = (nat.send(udp(X1, Y1)), nat.send(udp(X2, Y1)));
    assert_eq!(nat.hairpin(udp(X1, second)), Ok((first, at(X2))));
    assert_eq!(nat.hairpin(udp(X2, first)), Ok((second, at(X1))));
    assert_eq!(nat.hairpin(udp(X1, first)), Ok((first, at(X1))), "to itself");
}

#[test]
fn req_09_hairpinning_can_leave_the_internal_source_or_be_off() {
    let with = |hairpin: Hairpin| Rig::new(Behavior { hairpin: hairpin.into(), ..Behavior::default() });
    let mut nat = with(Hairpin::InternalSource);
    let second = nat.send(udp(X2, Y1));
    assert_eq!(nat.hairpin(udp(X1, second)), Ok((at(X1), at(X2))));
    let mut nat = with(Hairpin::Off);
    let second = nat.send(udp(X2, Y1));
    assert_eq!(nat.hairpin(udp(X1, second)), Err(DropReason::HairpinOff));
}

#[test]
fn req_09_a_hairpinned_packet_to_a_port_that_expired_finds_no_mapping() {
    let mut nat = Rig::new(Behavior::default());
    let second = nat.send(udp(X2, Y1));
    nat.wait_seconds(300);
    assert_eq!(nat.hairpin(udp(X1, second)), Err(DropReason::NoMapping));
}

#[test]
fn req_09_the_hairpin_filter_applies_or_not() {
    for (hairpin_filter, first_try) in
        [(HairpinFilter::Apply, Err(DropReason::Filtered)), (HairpinFilter::Bypass, Ok(()))]
    {
        let filtering = Filtering::AddressAndPortDependent;
        let mut nat = Rig::new(Behavior { filtering: filtering.into(), hairpin_filter, ..Behavior::default() });
        let (first, second) = (nat.send(udp(X1, Y1)), nat.send(udp(X2, Y1)));
        assert_eq!(nat.hairpin(udp(X1, second)).map(|_| ()), first_try);
        // The refused packet opened the way back all the same, as if it had been outside.
        assert_eq!(nat.hairpin(udp(X2, first)), Ok((second, at(X1))));
    }
}

#[test]
fn req_11_three_hosts_on_one_port_see_one_behaviour() {
    let mut nat = mapping(Mapping::EndpointIndependent);
    for host in ["10.0.0.2:5000", "10.0.0.3:5000", "10.0.0.4:5000"] {
        let external = nat.send(udp(host, Y1));
        assert_eq!(nat.send(udp(host, Y2)), external);
        assert_eq!(nat.receive(udp("203.0.113.9:9", external)), Ok(at(host)));
    }
}

#[test]
fn req_12_an_icmp_error_neither_ends_a_mapping_nor_needs_a_known_sender() {
    let mut nat = filtering(Filtering::AddressAndPortDependent);
    let mut sent = udp(X1, Y1);
    nat.outbound(&mut sent);
    let external = sent.source_endpoint();
    let mut told = error("203.0.113.77", &sent);
    assert!(matches!(nat.inbound(&mut told), Verdict::Forward(_)));
    assert_eq!(told.source(), ip("203.0.113.77"));
    assert_eq!(nat.send(udp(X1, Y1)), external);
    assert_eq!(nat.receive(udp(Y1, external)), Ok(at(X1)));
}

#[test]
fn req_10_no_payload_is_touched_unless_an_alg_is_switched_on() {
    let mut nat = Rig::new(Behavior::default());
    let text = b"c=IN IP4 10.0.0.2\r\nPORT 10,0,0,2,19,136\r\n\x0a\x00\x00\x02\x13\x88";
    for remote in ["192.0.2.1:5060", "192.0.2.1:69", "192.0.2.1:3478"] {
        let mut packet = natbox_wire::build::udp(at(X1), at(remote), Default::default(), text).expect("a packet");
        mapping_of(nat.outbound(&mut packet));
        assert_eq!(packet.payload(), text);
    }
    nat.send(tcp(X1, "192.0.2.1:21", SYN));
    let control = natbox_wire::build::tcp(at(X1), at("192.0.2.1:21"), Default::default(), ACK, 8, 1, 9, text);
    let mut control = control.expect("a packet");
    mapping_of(nat.outbound(&mut control));
    assert_eq!(control.payload(), text);
}

#[test]
fn req_14_a_datagram_in_three_fragments_comes_in_whatever_their_order() {
    for mode in [FragmentMode::OutOfOrder, FragmentMode::Reassemble, FragmentMode::Collect] {
        for order in [[0, 1, 2], [0, 2, 1], [1, 0, 2], [1, 2, 0], [2, 0, 1], [2, 1, 0]] {
            let mut nat = Rig::new(fragments(mode));
            let mut whole = datagram(Y1, &nat.send(udp(X1, Y1)).to_string(), 7, 3000);
            let pieces = cut(&whole, 1500);
            let seen = Seen::of(&mut nat, Side::Outside, order.map(|index| pieces[index].clone()));
            mapping_of(nat.inbound(&mut whole));
            let joined = seen.joined().expect("a whole datagram");
            assert!(same_datagram(&joined, &whole) && joined.destination_endpoint() == at(X1), "{mode} {order:?}");
            assert!(seen.held.is_empty() && seen.dropped.is_empty());
        }
    }
}

#[test]
fn req_14_in_order_is_the_least_and_is_not_enough_for_other_orders() {
    let mut nat = Rig::new(fragments(FragmentMode::InOrder));
    let external = nat.send(udp(X1, Y1)).to_string();
    let pieces = cut(&datagram(Y1, &external, 7, 3000), 1500);
    assert!(Seen::of(&mut nat, Side::Outside, pieces.clone()).joined().is_some());
    let turned = Seen::of(&mut nat, Side::Outside, [1, 0, 2].map(|index| pieces[index].clone()));
    assert_eq!((turned.out.len(), turned.dropped), (2, vec![DropReason::FragmentWithoutFirst]));
}

#[test]
fn req_14a_a_flood_of_fragments_without_a_first_hurts_nobody_else() {
    for mode in [FragmentMode::OutOfOrder, FragmentMode::Reassemble, FragmentMode::Collect] {
        let mut nat = Rig::new(fragments(mode));
        let external = nat.send(udp(X1, Y1)).to_string();
        let other = cut(&datagram(Y2, &external, 7, 3000), 1500);
        // Another source's fragment came before the flood.
        let mut seen = Seen::of(&mut nat, Side::Outside, [other[2].clone()]);
        let mut most = 0;
        for id in 0..5000 {
            seen.take(&mut nat, Side::Outside, cut(&datagram(Y1, &external, id, 1400), 1000).remove(1));
            most = most.max(seen.held.len());
        }
        assert!(most <= 65, "{most} held: 64 of one source, and the other's");
        assert!(seen.dropped.iter().all(|reason| *reason == DropReason::ReassemblyLimit));
        assert_eq!(nat.receive(udp(Y1, &external)), Ok(at(X1)), "unfragmented, of the flooder itself");
        let in_order = cut(&datagram(Y1, &external, 9000, 3000), 1500);
        in_order.into_iter().for_each(|piece| seen.take(&mut nat, Side::Outside, piece));
        assert!(seen.joined().is_some(), "in order, of the flooder itself");
        seen.out.clear();
        other[..2].iter().for_each(|piece| seen.take(&mut nat, Side::Outside, piece.clone()));
        assert!(seen.joined().is_some(), "out of order, of another source");
    }
}

#[test]
fn a_full_range_refuses_new_mappings_and_steals_none() {
    for allocation in [PortAllocation::Preserve, PortAllocation::Sequential, PortAllocation::Random] {
        let mut nat = Rig::new(Behavior {
            ports: Ports { allocation, range: (4000..=4002).into(), ..Ports::default() },
            ..Behavior::default()
        });
        let taken: Vec<SocketAddr> = (1..4).map(|host| nat.send(udp(format!("10.0.0.{host}:9"), Y1))).collect();
        assert_eq!(nat.refusal(udp("10.0.0.4:9", Y1)), DropReason::PortsExhausted);
        for (host, external) in (1..4).zip(taken) {
            assert_eq!(nat.receive(udp(Y1, external)), Ok(at(&format!("10.0.0.{host}:9"))));
        }
    }
}

#[test]
fn sequential_ports_count_up_and_wrap() {
    let ports = Ports { allocation: PortAllocation::Sequential, range: (4000..=4003).into(), ..Ports::default() };
    let mut nat = Rig::new(Behavior { ports, ..Behavior::default() });
    let mut next = |host: u8| nat.send(udp(format!("10.0.0.{host}:9"), Y1)).port();
    assert_eq!([next(1), next(2), next(3)], [4000, 4001, 4002]);
    nat.now = seconds(300);
    let mut next = |host: u8| nat.send(udp(format!("10.0.0.{host}:9"), Y1)).port();
    assert_eq!([next(4), next(5)], [4003, 4000]);
}

#[test]
fn affinity_decides_whether_a_reply_uses_the_mapping_that_was_addressed() {
    let with = |session_affinity| {
        let mapping = Mapping::AddressAndPortDependent;
        let mut nat = Rig::new(Behavior { mapping: mapping.into(), session_affinity, ..Behavior::default() });
        let external = nat.send(udp(X1, Y1));
        assert_eq!(nat.receive(udp(Y2, external)), Ok(at(X1)));
        nat.send(udp(X1, Y2)) == external
    };
    assert!(with(SessionAffinity::On));
    assert!(!with(SessionAffinity::Off));
}

#[test]
fn scope_decides_whether_a_permission_counts_for_other_mappings() {
    let with = |filter_scope, filtering: Filtering| {
        let mapping = Mapping::AddressAndPortDependent;
        let mut nat = Rig::new(Behavior {
            mapping: mapping.into(),
            filtering: filtering.into(),
            filter_scope,
            ..Behavior::default()
        });
        let external = nat.send(udp(X1, Y1));
        nat.send(udp(X1, Y2));
        nat.receive(udp(Y2, external))
    };
    for filtering in [Filtering::AddressDependent, Filtering::AddressAndPortDependent] {
        assert_eq!(with(FilterScope::Mapping, filtering), Err(DropReason::Filtered));
        assert_eq!(with(FilterScope::Endpoint, filtering), Ok(at(X1)));
    }
}

#[test]
fn with_affinity_a_reply_leaves_as_the_last_packet_came_and_when_that_mapping_ends_as_another_did() {
    let mut nat = Rig::new(Behavior { mapping: Mapping::AddressAndPortDependent.into(), ..Behavior::default() });
    let (first, own) = (nat.send(udp(X1, Y1)), nat.send(udp(X1, Y2)));
    assert_eq!(nat.send(udp(X1, Y2)), own, "nothing has come yet");
    nat.wait_seconds(100);
    assert_eq!(nat.receive(udp(Y2, first)), Ok(at(X1)));
    assert_eq!(nat.send(udp(X1, Y2)), first);
    nat.wait_seconds(50);
    assert_eq!(nat.receive(udp(Y2, own)), Ok(at(X1)));
    assert!(nat.wait_seconds(149).is_empty());
    assert_eq!(nat.wait_seconds(1).len(), 1, "nothing left through it since the beginning");
    assert_eq!(nat.send(udp(X1, Y2)), first);
}

#[test]
fn a_firewall_translates_nothing_and_admits_only_answers() {
    let behavior = natbox_nat::preset::find("symmetric-udp-firewall").expect("a preset").behavior;
    let mut nat = Rig::new(behavior);
    assert_eq!(nat.receive(udp(Y1, X1)), Err(DropReason::Filtered));
    assert_eq!(nat.send(udp(X1, Y1)), at(X1));
    assert_eq!(nat.receive(udp(Y1, X1)), Ok(at(X1)));
    assert_eq!(nat.receive(udp(Y1_OTHER_PORT, X1)), Err(DropReason::Filtered));
}

#[test]
fn a_router_passes_everything_and_remembers_nothing() {
    let behavior = natbox_nat::preset::find("none").expect("a preset").behavior;
    let mut nat = Rig::new(behavior);
    assert_eq!(nat.inbound(&mut udp(Y1, X1)), Verdict::Pass);
    assert_eq!(nat.outbound(&mut tcp(X1, Y1, ACK)), Verdict::Pass);
    assert!(nat.nat.mappings().is_empty() && nat.nat.poll_timeout().is_none());
}

#[test]
fn a_nat_without_an_address_of_the_version_has_no_way_out() {
    let mut nat = Rig::with_addresses(Behavior::default(), &["2001:db8::1"]);
    assert_eq!(nat.refusal(udp(X1, Y1)), DropReason::NoRoute);
}

#[test]
fn readdressing_ends_the_mappings_on_addresses_that_are_gone() {
    let mut nat = Rig::with_addresses(Behavior::default(), &["198.51.100.1", "198.51.100.2"]);
    let (kept, gone) = (nat.send(udp(X1, Y1)), nat.send(udp(X2, Y1)));
    assert_eq!((kept.ip(), gone.ip()), (ip("198.51.100.1"), ip("198.51.100.2")));
    let mut told = Vec::new();
    nat.nat.readdress(&[ip("198.51.100.1"), ip("198.51.100.9")], &mut |one| told.push(one));
    assert_eq!(told.iter().map(|one| one.mapping.external).collect::<Vec<_>>(), [gone]);
    assert_eq!(nat.receive(udp(Y1, kept)), Ok(at(X1)));
    assert_eq!(nat.receive(udp(Y1, gone)), Err(DropReason::NoMapping));
    assert_eq!(nat.send(udp(X2, Y1)).ip(), ip("198.51.100.9"));
}

#[test]
fn a_reboot_loses_every_mapping_and_goes_on_counting() {
    let mut nat = Rig::new(Behavior::default());
    let external = nat.send(udp(X1, Y1));
    nat.send(udp(X2, Y1));
    let mut told = Vec::new();
    nat.nat.reboot(&mut |one| told.push(one.mapping.id.0));
    assert_eq!(told, [1, 2]);
    assert_eq!(nat.receive(udp(Y1, external)), Err(DropReason::NoMapping));
    assert_eq!(mapping_of(nat.outbound(&mut udp(X1, Y1))).0, 3);
}

#[test]
fn one_seed_gives_one_run() {
    let run = |seed| {
        let mut nat = Nat::new(std::sync::Arc::new(Behavior::default()), &[ip(EXTERNAL)], seed);
        let ports = (5000..5050).map(|port| {
            let mut packet = udp(format!("10.0.0.2:{port}"), Y1);
            nat.outbound(&mut packet, Time::ZERO);
            packet.source_endpoint().port()
        });
        ports.collect::<Vec<u16>>()
    };
    assert_eq!(run(1), run(1));
    assert_ne!(run(1), run(2));
}

#[test]
fn req_03_two_hosts_on_one_port_towards_one_remote_have_two_endpoints() {
    for allocation in PortAllocation::ALL {
        for conflict in [PortConflict::Random, PortConflict::NextFree, PortConflict::OtherAddress] {
            let mut behavior = Behavior::default();
            (behavior.ports.allocation, behavior.ports.conflict) = (*allocation, conflict);
            (behavior.ports.deterministic.first, behavior.ports.range) =
                (Some([10, 0, 0, 2].into()), (1024..=65_535).into());
            let mut nat = Rig::new(behavior);
            let [first, second] = [X1, X2].map(|internal| nat.send(udp(internal, Y1)));
            assert_ne!(first, second, "{allocation} {conflict}");
            assert_eq!([first, second].map(|one| nat.receive(udp(Y1, one))), [Ok(at(X1)), Ok(at(X2))]);
        }
    }
}

#[test]
fn req_03a_system_ports_get_system_ports_and_others_get_others() {
    // Blocks and deterministic ranges are what they are: their hosts have no other ports.
    let of_host = [PortAllocation::Block, PortAllocation::Deterministic];
    for allocation in PortAllocation::ALL.iter().filter(|one| !of_host.contains(one)) {
        let mut behavior = Behavior::default();
        behavior.ports.allocation = *allocation;
        let mut nat = Rig::new(behavior);
        for host in 2..42 {
            let [system, other] = [500, 5000].map(|port| nat.send(udp(format!("10.0.0.{host}:{port}"), Y1)).port());
            assert!((1..=1023).contains(&system) && other >= 1024, "{allocation}: {system} {other}");
        }
    }
}

#[test]
fn req_04_parity_is_kept_where_the_rule_says_so() {
    for allocation in PortAllocation::ALL {
        let mut behavior = Behavior::default();
        behavior.ports = Ports { allocation: *allocation, parity: PortParity::Preserve, ..behavior.ports };
        behavior.ports.deterministic.first = Some([10, 0, 0, 2].into());
        (behavior.ports.range, behavior.ports.conflict) = ((1024..=65_535).into(), PortConflict::NextFree);
        let mut nat = Rig::new(behavior);
        for port in
            (5000..5060).chain(5000..5060).zip(0..).map(|(port, turn)| format!("10.0.0.{}:{port}", 2 + turn / 60))
        {
            let external = nat.send(udp(&port, Y1));
            assert_eq!(external.port() % 2, at(&port).port() % 2, "{allocation} {port}");
        }
    }
}

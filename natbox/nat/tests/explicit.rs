//! Explicit mappings: what they let in, what leaves through them, how long they live, and who gets what.

mod common;

use std::net::SocketAddr;
use std::time::Duration;

use common::*;
use natbox_nat::behavior::{
    Exhausted, Filtering, Mapping, PortAllocation, PortConflict, PortOverlap, PortRanges, SessionAffinity,
};
use natbox_nat::{Behavior, MappingEnd, Refusal, Verdict};
use natbox_wire::{
    ControlEvent, DropReason, ExplicitMapping, MapRefusal, MapRequest, MappedBy, Protocol, RemoteFilter, Traffic,
};
use proptest::prelude::*;

fn request(protocol: Protocol, internal: &str) -> MapRequest {
    MapRequest {
        protocol,
        internal: at(internal),
        external_address: None,
        external_port: 0,
        exact: false,
        remote: None,
        filters: Vec::new(),
        lifetime: Some(Duration::from_secs(7200)),
        pair: false,
        by: MappedBy::Pcp,
    }
}

fn udp_request(internal: &str, external_port: u16) -> MapRequest {
    MapRequest { external_port, ..request(Protocol::Udp, internal) }
}

fn symmetric() -> Behavior {
    Behavior {
        mapping: Mapping::AddressAndPortDependent.into(),
        filtering: Filtering::AddressAndPortDependent.into(),
        ..Behavior::default()
    }
}

impl Rig {
    fn map(&mut self, request: &MapRequest) -> Result<ExplicitMapping, MapRefusal> {
        self.nat.map(request, self.now)
    }

    fn external(&mut self, request: &MapRequest) -> SocketAddr {
        self.map(request).expect("a mapping").external
    }

    fn unmap(&mut self, mapping: &ExplicitMapping, traffic: Traffic) -> Vec<MappingEnd> {
        let mut ended = Vec::new();
        assert!(self.nat.unmap(mapping, traffic, self.now, &mut |one| ended.push(one.why)));
        ended
    }
}

#[test]
fn anybody_may_send_to_an_explicit_mapping_whatever_the_filter() {
    let mut rig = Rig::new(symmetric());
    let external = rig.external(&udp_request(X1, 40_000));
    assert_eq!(external, at("198.51.100.1:40000"));
    assert_eq!(rig.receive(udp(Y1, external)), Ok(at(X1)));
    assert_eq!(rig.receive(udp(Y2, external)), Ok(at(X1)));
    let external = rig.external(&request(Protocol::Tcp, X1));
    assert_eq!(rig.receive(tcp(Y1, external, SYN)), Ok(at(X1)));
}

#[test]
fn what_its_internal_endpoint_sends_leaves_through_it_whatever_the_mapping_rule() {
    for session_affinity in [SessionAffinity::On, SessionAffinity::Off] {
        let mut rig = Rig::new(Behavior { session_affinity, ..symmetric() });
        let before = rig.send(udp(X1, Y1));
        let external = rig.external(&udp_request(X1, 40_000));
        assert_ne!(before, external);
        assert_eq!(rig.send(udp(X1, Y2)), external, "{session_affinity}");
        rig.receive(udp(Y1_OTHER_PORT, external)).expect("anybody may send");
        assert_eq!(rig.send(udp(X1, Y1_OTHER_PORT)), external, "a reply, {session_affinity}");
        assert_eq!(rig.send(udp(X1, Y1)), before, "a session keeps its mapping");
        assert_ne!(rig.send(udp("10.0.0.2:5001", Y2)).port(), external.port());
    }
}

#[test]
fn an_explicit_mapping_is_hairpinned_to() {
    let mut rig = Rig::new(symmetric());
    let external = rig.external(&udp_request(X1, 40_000));
    let (_, destination) = rig.hairpin(udp(X2, external)).expect("hairpinning is on");
    assert_eq!(destination, at(X1));
}

#[test]
fn it_lives_for_its_lifetime_without_a_packet_and_then_ends() {
    let mut rig = Rig::new(Behavior::default());
    let external = rig.external(&MapRequest { lifetime: Some(Duration::from_secs(600)), ..udp_request(X1, 0) });
    assert_eq!(rig.wait_seconds(599), []);
    assert_eq!(rig.receive(udp(Y1, external)), Ok(at(X1)));
    let ended = rig.wait_seconds(1);
    assert_eq!(ended.iter().map(|one| one.why).collect::<Vec<_>>(), [MappingEnd::Expired]);
    assert_eq!(rig.receive(udp(Y1, external)), Err(DropReason::NoMapping));
    let told: Vec<ControlEvent> = rig.nat.poll_control().into_iter().map(|(_, event)| event).collect();
    assert_eq!(told, [ControlEvent::Made, ControlEvent::Expired]);
}

#[test]
fn a_renewal_gives_the_same_endpoint_a_new_lifetime_longer_or_shorter() {
    for (asked, lives) in [(7200, 7200), (60, 60)] {
        let mut rig = Rig::new(Behavior::default());
        let first =
            rig.map(&MapRequest { lifetime: Some(Duration::from_secs(600)), ..udp_request(X1, 40_000) }).unwrap();
        rig.wait_seconds(300);
        let again = MapRequest { lifetime: Some(Duration::from_secs(asked)), ..udp_request(X1, 50_000) };
        let again = rig.map(&again).unwrap();
        assert_eq!((again.mapping, again.external), (first.mapping, first.external));
        assert_eq!(rig.wait_seconds(lives - 1), []);
        assert_eq!(rig.nat.mappings().len(), 1);
        assert_eq!(rig.wait_seconds(1).len(), 1);
        let told: Vec<ControlEvent> = rig.nat.poll_control().into_iter().map(|(_, event)| event).collect();
        assert_eq!(told, [ControlEvent::Made, ControlEvent::Renewed, ControlEvent::Expired]);
    }
}

#[test]
fn the_end_of_a_connection_does_not_shorten_it() {
    let mut rig = Rig::new(Behavior::default());
    let external = rig.external(&request(Protocol::Tcp, X1));
    rig.receive(tcp(Y1, external, SYN)).expect("anybody may connect");
    rig.send(tcp(X1, Y1, SYN_ACK));
    rig.receive(tcp(Y1, external, ACK)).expect("established");
    rig.receive(tcp(Y1, external, RST)).expect("reset");
    assert_eq!(rig.wait_seconds(7000), []);
    assert_eq!(rig.receive(tcp(Y2, external, SYN)), Ok(at(X1)));
}

#[test]
fn over_an_implicit_mapping_it_has_that_ones_endpoint_and_leaves_it_behind() {
    let mut rig = Rig::new(Behavior::default());
    let external = rig.send(udp(X1, Y1));
    let mapping = rig.map(&udp_request(X1, 40_000)).unwrap();
    assert_eq!(mapping.external, external);
    assert_eq!(rig.nat.mappings().len(), 1);
    assert_eq!(rig.unmap(&mapping, Traffic::Stays), []);
    assert_eq!(rig.send(udp(X1, Y1)), external, "the traffic keeps it");
    let mapping = rig.map(&udp_request(X1, 0)).unwrap();
    assert_eq!(rig.unmap(&mapping, Traffic::Ends), [MappingEnd::Unmapped]);
    assert_eq!(rig.nat.mappings(), []);
}

#[test]
fn what_only_the_outside_began_ends_with_it() {
    let mut rig = Rig::new(Behavior { refresh: natbox_nat::behavior::Refresh::Outbound, ..Behavior::default() });
    let mapping = rig.map(&udp_request(X1, 40_000)).unwrap();
    rig.receive(udp(Y1, mapping.external)).expect("anybody may send");
    assert_eq!(rig.unmap(&mapping, Traffic::Stays), [MappingEnd::Unmapped]);
    assert_eq!(rig.receive(udp(Y1, mapping.external)), Err(DropReason::NoMapping));
}

#[test]
fn a_taken_endpoint_is_refused_where_no_other_will_do_and_else_another_is_given() {
    let mut rig = Rig::new(Behavior::default());
    rig.external(&udp_request(X1, 40_000));
    let exact = MapRequest { exact: true, ..udp_request(X2, 40_000) };
    assert_eq!(rig.map(&exact), Err(MapRefusal::Taken));
    assert_eq!(rig.nat.mappings().len(), 1, "a refusal changes nothing");
    let other = rig.external(&udp_request(X2, 40_000));
    assert_ne!(other.port(), 40_000);
    assert_eq!(rig.external(&MapRequest { exact: true, ..udp_request(X1, 41_000) }).port(), 41_000);
    assert_eq!(rig.nat.explicit().len(), 3, "one endpoint inside may have several outside");
    let refused = MapRequest { internal: at("10.0.0.2:0"), ..udp_request(X1, 1) };
    assert_eq!(rig.map(&refused), Err(MapRefusal::Unsuitable));
    assert_eq!(rig.map(&request(Protocol::Icmp, X1)), Err(MapRefusal::Unsuitable));
}

#[test]
fn the_ports_of_port_control_are_never_mapped() {
    let ports = PortRanges::new(vec![5350..=5352]);
    let mut behavior = Behavior::default();
    (behavior.ports.allocation, behavior.ports.range) = (PortAllocation::Sequential, ports);
    behavior.ports.class = natbox_nat::behavior::PortClass::All;
    let mut rig = Rig::new(behavior);
    assert_eq!(rig.external(&udp_request(X1, 5351)).port(), 5352);
    assert_eq!(rig.map(&udp_request(X2, 5350)), Err(MapRefusal::Exhausted));
    assert_eq!(rig.external(&MapRequest { external_port: 5351, ..request(Protocol::Tcp, X1) }).port(), 5351);
    assert_ne!(rig.send(udp(X2, Y1)).port(), 5352, "implicit mappings may have them");
}

#[test]
fn a_filter_admits_its_remotes_alone_and_a_renewal_without_one_everybody() {
    let mut rig = Rig::new(Behavior { filtering: Filtering::EndpointIndependent.into(), ..Behavior::default() });
    let filter = |address: &str, prefix_len, port| RemoteFilter { address: ip(address), prefix_len, port };
    let filters = vec![filter("192.0.2.1", 32, 0), filter("192.0.2.2", 31, 1001)];
    let external = rig.external(&MapRequest { filters, ..udp_request(X1, 40_000) });
    assert_eq!(rig.receive(udp(Y1, external)), Ok(at(X1)));
    assert_eq!(rig.receive(udp(Y2, external)), Err(DropReason::Filtered));
    assert_eq!(rig.receive(udp("192.0.2.3:1001", external)), Ok(at(X1)));
    rig.external(&udp_request(X1, 40_000));
    assert_eq!(rig.receive(udp(Y2, external)), Ok(at(X1)));
}

#[test]
fn nobody_takes_over_shares_or_evicts_an_explicit_mapping() {
    let port = PortRanges::new(vec![5000..=5000]);
    let behavior = |change: &dyn Fn(&mut Behavior)| {
        let mut behavior = Behavior::default();
        behavior.ports.allocation = PortAllocation::Preserve;
        behavior.ports.range = port.clone();
        behavior.ports.class = natbox_nat::behavior::PortClass::All;
        change(&mut behavior);
        behavior
    };
    for behavior in [
        behavior(&|behavior| behavior.ports.conflict = PortConflict::OverrideOld),
        behavior(&|behavior| behavior.ports.conflict = PortConflict::Overload),
        behavior(&|behavior| behavior.ports.overlap = PortOverlap::ByDestination),
        behavior(&|behavior| behavior.exhausted = Exhausted::EvictLru),
    ] {
        let mut rig = Rig::new(behavior);
        let external = rig.external(&udp_request(X1, 5000));
        assert_eq!(rig.refusal(udp(X2, Y1)), DropReason::PortsExhausted);
        assert_eq!(rig.receive(udp(Y1, external)), Ok(at(X1)));
    }
}

#[test]
fn an_absolute_lifetime_is_that_of_what_nobody_asked_for() {
    let mut behavior = Behavior::default();
    behavior.timeouts.absolute = Some(Duration::from_secs(60));
    let mut rig = Rig::new(behavior);
    let external = rig.external(&udp_request(X1, 40_000));
    rig.wait_seconds(120);
    rig.receive(udp(Y1, external)).expect("still there");
    assert_eq!(rig.send(udp(X1, Y1)), external);
    assert_eq!(rig.wait_seconds(30), []);
    assert_eq!(rig.receive(udp(Y1, external)), Ok(at(X1)));
}

#[test]
fn a_reboot_loses_it_unless_a_person_asked_for_it_and_another_address_moves_it() {
    let mut rig = Rig::new(Behavior::default());
    rig.external(&udp_request(X1, 40_000));
    let forward = MapRequest { lifetime: None, by: MappedBy::Static, exact: true, ..udp_request(X2, 50_000) };
    rig.external(&forward);
    rig.nat.poll_control();
    rig.nat.reboot(&mut |_| {});
    let left: Vec<u16> = rig.nat.explicit().iter().map(|one| one.external.port()).collect();
    assert_eq!(left, [50_000]);
    assert_eq!(rig.receive(udp(Y1, "198.51.100.1:50000")), Ok(at(X2)));
    let told: Vec<ControlEvent> = rig.nat.poll_control().into_iter().map(|(_, event)| event).collect();
    assert_eq!(told, [ControlEvent::Lost, ControlEvent::Made]);
    let moved = rig.map(&udp_request(X1, 40_001)).unwrap();
    rig.nat.readdress(&[ip("198.51.100.9")], &mut |_| {});
    assert_eq!(rig.receive(udp(Y1, "198.51.100.9:50000")), Ok(at(X2)));
    assert_eq!(rig.receive(udp(Y1, "198.51.100.9:40001")), Ok(at(X1)));
    assert_eq!(rig.nat.explicit_of(Protocol::Udp, at(X1)).unwrap().until, moved.until);
}

#[test]
fn an_explicit_session_lives_for_its_lifetime_behind_the_nats_own_filter() {
    let mut rig = Rig::new(symmetric());
    let remote = Some(at(Y1));
    let first = rig.send(udp(X1, Y1));
    let request = MapRequest { remote, lifetime: Some(Duration::from_secs(5000)), ..udp_request(X1, 0) };
    assert_eq!(rig.external(&request), first, "the session that there is");
    assert_eq!(rig.wait_seconds(4999), []);
    assert_eq!(rig.receive(udp(Y1, first)), Ok(at(X1)));
    assert_eq!(rig.receive(udp(Y2, first)), Err(DropReason::Filtered));
    let ended = rig.wait_seconds(500);
    assert_eq!(ended.len(), 1);
    // One that no packet has opened, at an endpoint of its own choice.
    let named = MapRequest { external_port: 40_000, exact: true, ..request };
    let external = rig.external(&named);
    assert_eq!(external.port(), 40_000);
    assert_eq!(rig.send(udp(X1, Y1)), external);
    let other = MapRequest { external_port: 40_001, remote: Some(at(Y1)), ..named };
    assert_eq!(rig.map(&other).map(|one| one.external), Ok(external), "renewed, as it is the same session");
    let taken = MapRequest { internal: at(X2), ..other };
    let taken = MapRequest { external_port: 40_000, ..taken };
    assert_eq!(rig.map(&taken), Err(MapRefusal::Taken));
}

#[test]
fn the_other_protocols_port_is_kept_for_the_same_host() {
    let mut rig = Rig::new(Behavior::default());
    let paired = |protocol, internal: &str, external_port| MapRequest {
        external_port,
        pair: true,
        by: MappedBy::NatPmp,
        ..request(protocol, internal)
    };
    let mapping = rig.map(&paired(Protocol::Tcp, X1, 40_000)).unwrap();
    assert_eq!(rig.receive(udp(Y1, "198.51.100.1:40000")), Err(DropReason::NoMapping), "kept, not mapped");
    assert_eq!(rig.external(&paired(Protocol::Udp, X2, 40_000)).port(), 40_001, "another host gets the next");
    let own = rig.map(&paired(Protocol::Udp, "10.0.0.2:6000", 40_000)).unwrap();
    assert_eq!(own.external.port(), 40_000);
    rig.unmap(&own, Traffic::Ends);
    let exact =
        |protocol, internal: &str| MapRequest { exact: true, pair: false, ..paired(protocol, internal, 40_000) };
    assert_eq!(rig.map(&exact(Protocol::Udp, X2)), Err(MapRefusal::Taken), "kept again");
    rig.unmap(&mapping, Traffic::Ends);
    assert_eq!(rig.external(&exact(Protocol::Udp, "10.0.0.3:7000")).port(), 40_000);
}

#[test]
fn where_nothing_is_translated_it_is_a_hole_in_the_firewall() {
    let behavior = Behavior { translation: natbox_nat::behavior::TranslationKind::None, ..symmetric() };
    let mut rig = Rig::new(behavior);
    assert_eq!(rig.receive(udp(Y1, X1)), Err(DropReason::Filtered));
    assert_eq!(rig.external(&udp_request(X1, 40_000)), at(X1));
    assert_eq!(rig.receive(udp(Y1, X1)), Ok(at(X1)));
    assert_eq!(rig.map(&MapRequest { exact: true, ..udp_request(X2, 40_000) }), Err(MapRefusal::Taken));
}

#[test]
fn a_quota_counts_what_is_asked_for() {
    let mut behavior = Behavior::default();
    (behavior.quota.ports, behavior.quota.sessions) = (Some(2), Some(2));
    let mut rig = Rig::new(behavior);
    let first = rig.map(&udp_request(X1, 40_000)).unwrap();
    rig.external(&udp_request("10.0.0.2:5001", 40_001));
    assert_eq!(rig.map(&udp_request("10.0.0.2:5002", 40_002)), Err(MapRefusal::Quota));
    rig.unmap(&first, Traffic::Stays);
    rig.external(&udp_request("10.0.0.2:5002", 40_002));
    assert_eq!(rig.receive(udp(Y1, "198.51.100.1:40002")), Ok(at("10.0.0.2:5002")));
}

/// An operation of the property test, on small numbers, so that they meet.
#[derive(Clone, Debug)]
enum Step {
    Map { host: u8, port: u16, external: u16, tcp: bool, exact: bool, pair: bool, peer: bool, seconds: u64 },
    Unmap { which: usize, ends: bool },
    Send { host: u8, port: u16, remote: u8 },
    Receive { external: u16, remote: u8 },
    Wait(u64),
    Reboot,
    Readdress(u8),
}

fn step() -> impl Strategy<Value = Step> {
    let flags = (any::<bool>(), any::<bool>(), any::<bool>(), any::<bool>());
    prop_oneof![
        4 => (0..3_u8, 5000..5003_u16, 4999..5004_u16, flags, 1..400_u64).prop_map(
            |(host, port, external, (tcp, exact, pair, peer), seconds)| Step::Map {
                host, port, external, tcp, exact, pair, peer: peer && exact, seconds
            }
        ),
        2 => (any::<usize>(), any::<bool>()).prop_map(|(which, ends)| Step::Unmap { which, ends }),
        4 => (0..3_u8, 5000..5003_u16, 0..3_u8).prop_map(|(host, port, remote)| Step::Send { host, port, remote }),
        3 => (4999..5004_u16, 0..3_u8).prop_map(|(external, remote)| Step::Receive { external, remote }),
        2 => (0..400_u64).prop_map(Step::Wait),
        1 => Just(Step::Reboot),
        1 => (0..3_u8).prop_map(Step::Readdress),
    ]
}

fn behaviors() -> impl Strategy<Value = Behavior> {
    let changes: [fn(&mut Behavior); 6] = [
        |_| {},
        |behavior| behavior.mapping = Mapping::AddressDependent.into(),
        |behavior| behavior.ports.overlap = PortOverlap::ByDestination,
        |behavior| behavior.ports.conflict = PortConflict::OverrideOld,
        |behavior| behavior.exhausted = Exhausted::EvictLru,
        |behavior| (behavior.quota.sessions, behavior.quota.ports) = (Some(5), Some(4)),
    ];
    prop::sample::select(changes.to_vec()).prop_map(|change| {
        let mut behavior = Behavior::default();
        behavior.ports.allocation = PortAllocation::Preserve;
        behavior.ports.range = PortRanges::new(vec![5000..=5003]);
        behavior.ports.class = natbox_nat::behavior::PortClass::All;
        behavior.ports.quarantine = Duration::ZERO;
        change(&mut behavior);
        behavior
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(300))]

    /// However requests, packets and time are mixed: an explicit mapping is found by its endpoints, two never share
    /// one, and when all is over every port is free again.
    #[test]
    fn explicit_mappings_come_and_go_without_a_trace(behavior in behaviors(), steps in prop::collection::vec(step(), 1..60)) {
        let mut rig = Rig::new(behavior);
        for step in steps {
            match step {
                Step::Map { host, port, external, tcp, exact, pair, peer, seconds } => {
                    let internal = at(&format!("10.0.0.{}:{port}", host + 2));
                    let before = rig.nat.explicit();
                    let asked = MapRequest {
                        protocol: if tcp { Protocol::Tcp } else { Protocol::Udp },
                        internal,
                        external_port: external,
                        exact,
                        pair,
                        remote: peer.then(|| at(Y1)),
                        lifetime: Some(Duration::from_secs(seconds)),
                        ..request(Protocol::Udp, X1)
                    };
                    match rig.map(&asked) {
                        Err(_) => prop_assert_eq!(rig.nat.explicit(), before),
                        Ok(made) => {
                            prop_assert_eq!(made.internal, internal);
                            prop_assert!(!exact || peer || made.external.port() == external);
                        }
                    }
                }
                Step::Unmap { which, ends } => {
                    let all = rig.nat.explicit();
                    if !all.is_empty() {
                        rig.unmap(&all[which % all.len()], if ends { Traffic::Ends } else { Traffic::Stays });
                    }
                }
                Step::Send { host, port, remote } => {
                    let source = at(&format!("10.0.0.{}:{port}", host + 2));
                    let mut packet = udp(source, format!("192.0.2.{remote}:1000"));
                    rig.outbound(&mut packet);
                }
                Step::Receive { external, remote } => {
                    let address = rig.nat.external()[0];
                    let mut packet = udp(format!("192.0.2.{remote}:1000"), SocketAddr::new(address, external));
                    rig.inbound(&mut packet);
                }
                Step::Wait(seconds) => drop(rig.wait_seconds(seconds)),
                Step::Reboot => rig.nat.reboot(&mut |_| {}),
                Step::Readdress(last) => rig.nat.readdress(&[ip(&format!("198.51.100.{}", last + 1))], &mut |_| {}),
            }
            let live = rig.nat.mappings();
            let explicit = rig.nat.explicit();
            let now = rig.now;
            for one in &explicit {
                prop_assert!(one.until.is_some_and(|until| until > now));
                prop_assert!(live.iter().any(|mapping| mapping.id.0 == one.mapping && mapping.external == one.external));
                let others = live.iter().filter(|mapping| mapping.external == one.external && mapping.protocol == one.protocol);
                prop_assert!(one.remote.is_some() || others.count() == 1, "{one:?} shares its endpoint");
            }
        }
        for one in rig.nat.explicit() {
            rig.nat.unmap(&one, Traffic::Ends, rig.now, &mut |_| {});
        }
        rig.wait_seconds(10_000);
        prop_assert_eq!(rig.nat.mappings(), []);
        for port in 5000..5004 {
            for protocol in [Protocol::Udp, Protocol::Tcp] {
                let internal = format!("10.0.1.{}:80", port - 4990);
                let asked = MapRequest { external_port: port, exact: true, ..request(protocol, &internal) };
                prop_assert!(rig.map(&asked).is_ok(), "{protocol:?} {port} is free again");
            }
        }
    }
}

#[test]
fn rfc6888_9_a_subscriber_is_given_the_mapping_that_it_asks_for() {
    let mut rig =
        Rig::new(natbox_nat::preset::find("rfc6888").map_or_else(Behavior::default, |preset| preset.behavior));
    let mapping = rig.map(&udp_request(X1, 40_000)).unwrap();
    assert_eq!(mapping.external.port(), 40_000);
    let mut packet = udp(Y1, mapping.external);
    let refusal = |verdict| matches!(verdict, Verdict::Drop(Refusal { .. }));
    assert!(!refusal(rig.inbound(&mut packet)));
}

/// RFC 6887 section 12: a session that a PEER mapping has kept alive does not outlive it.
#[test]
fn a_session_that_an_explicit_mapping_alone_kept_alive_ends_with_it() {
    for lifetime in [None, Some(Duration::from_secs(7200))] {
        let mut rig = Rig::new(symmetric());
        let peer = MapRequest { remote: Some(at(Y1)), lifetime, ..udp_request(X1, 0) };
        let made = rig.map(&peer).unwrap();
        rig.send(udp(X1, Y1));
        assert_eq!(rig.wait_seconds(400), [], "longer than it would live itself");
        assert_eq!(rig.receive(udp(Y1, made.external)), Ok(at(X1)));
        rig.unmap(&made, Traffic::Stays);
        assert_eq!(rig.receive(udp(Y1, made.external)), Err(DropReason::NoMapping), "{lifetime:?}");
        assert_eq!(rig.nat.mappings(), []);
    }
}

#[test]
fn a_session_that_is_used_goes_on_without_its_explicit_mapping_for_as_long_as_any() {
    let mut rig = Rig::new(symmetric());
    let made = rig.map(&MapRequest { remote: Some(at(Y1)), lifetime: None, ..udp_request(X1, 0) }).unwrap();
    rig.wait_seconds(400);
    assert_eq!(rig.send(udp(X1, Y1)), made.external);
    rig.wait_seconds(100);
    rig.unmap(&made, Traffic::Stays);
    rig.wait_seconds(199);
    assert_eq!(rig.receive(udp(Y1, made.external)), Ok(at(X1)));
    rig.wait_seconds(1);
    assert_eq!(rig.nat.mappings(), []);
}

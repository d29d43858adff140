//! A box that behaves otherwise while it runs: what there is stays, what comes is done the new way.

mod common;

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use common::*;
use natbox_nat::Behavior;
use natbox_nat::behavior::*;
use natbox_wire::DropReason;

impl Rig {
    fn set(&mut self, change: impl FnOnce(&mut Behavior)) {
        let mut behavior = Behavior::clone(self.nat.behavior());
        change(&mut behavior);
        self.nat.reconfigure(Arc::new(behavior), self.now).expect("it can be changed");
    }
}

#[test]
fn a_filter_judges_from_the_next_packet_and_sessions_that_outsiders_began_too() {
    let mut rig = Rig::new(Behavior::default());
    let external = rig.send(udp(X1, Y1));
    assert_eq!(rig.receive(udp(Y2, external)), Ok(at(X1)));
    rig.set(|behavior| behavior.filtering = Filtering::AddressAndPortDependent.into());
    assert_eq!(rig.receive(udp(Y2, external)), Err(DropReason::Filtered));
    assert_eq!(rig.receive(udp(Y1, external)), Ok(at(X1)), "whom the inside has sent to");
    rig.set(|behavior| behavior.filtering = Filtering::AddressDependent.into());
    assert_eq!(
        rig.receive(udp(Y1_OTHER_PORT, external)),
        Ok(at(X1)),
        "the permission was given before the filter asked"
    );
    assert_eq!(rig.receive(udp(Y2, external)), Err(DropReason::Filtered));
    rig.set(|behavior| behavior.filtering = Filtering::EndpointIndependent.into());
    assert_eq!(rig.receive(udp(Y2, external)), Ok(at(X1)));
}

#[test]
fn sessions_keep_their_endpoint_and_further_ones_get_theirs_by_the_new_rule() {
    let mut rig = Rig::new(Behavior::default());
    let shared = rig.send(udp(X1, Y1));
    assert_eq!(rig.send(udp(X1, Y2)), shared);
    rig.set(|behavior| behavior.mapping = Mapping::AddressAndPortDependent.into());
    assert_eq!([rig.send(udp(X1, Y1)), rig.send(udp(X1, Y2))], [shared; 2]);
    let own = rig.send(udp(X1, Y1_OTHER_PORT));
    assert_ne!(own, shared);
    assert_eq!([rig.receive(udp(Y1, shared)), rig.receive(udp(Y1_OTHER_PORT, own))], [Ok(at(X1)); 2]);
    rig.set(|behavior| behavior.mapping = Mapping::EndpointIndependent.into());
    assert_eq!([rig.send(udp(X1, Y1)), rig.send(udp(X1, Y1_OTHER_PORT))], [shared, own]);
    assert_eq!(rig.send(udp(X1, "192.0.2.9:9")), shared, "the rule names the mapping that it made again");
}

#[test]
fn whoever_was_led_elsewhere_is_led_back_to_the_session_that_there_is_without_affinity_too() {
    let mut rig = Rig::new(Behavior { session_affinity: SessionAffinity::Off, ..Behavior::default() });
    let shared = rig.send(udp(X1, Y1));
    rig.set(|behavior| behavior.mapping = Mapping::AddressAndPortDependent.into());
    assert_eq!(rig.receive(udp(Y2, shared)), Ok(at(X1)));
    let own = rig.send(udp(X1, Y2));
    assert_ne!(own, shared);
    rig.set(|behavior| {
        behavior.mapping = Mapping::EndpointIndependent.into();
        behavior.icmp_kills_mapping = Switch::On;
    });
    rig.inbound(&mut error("192.0.2.2", &udp(own, Y2)));
    assert_eq!(rig.send(udp(X1, Y2)), shared, "its own mapping has ended");
    let sessions = rig.nat.sessions();
    let pairs: BTreeSet<_> = sessions.iter().map(|session| (session.mapping, session.remote)).collect();
    assert_eq!(pairs.len(), sessions.len(), "one session each: {sessions:?}");
}

#[test]
fn lifetimes_count_from_the_next_packet_that_restarts_the_timer() {
    let mut rig = Rig::new(Behavior::default());
    let external = rig.send(udp(X1, Y1));
    rig.set(|behavior| {
        behavior.timeouts.udp = Duration::from_secs(30);
        behavior.timeouts.udp_stream = Some(Duration::from_secs(90));
    });
    assert_eq!(rig.wait_seconds(100).len(), 0, "it had five minutes");
    rig.receive(udp(Y1, external)).expect("it lives");
    assert_eq!(rig.send(udp(X1, Y1)), external);
    assert_eq!(rig.wait_seconds(89).len(), 0, "by now it is a stream");
    assert_eq!(rig.wait_seconds(1).len(), 1);
}

#[test]
fn an_age_that_none_may_reach_ends_those_that_have() {
    let mut rig = Rig::new(Behavior::default());
    rig.send(udp(X1, Y1));
    rig.wait_seconds(60);
    rig.send(udp(X2, Y1));
    rig.set(|behavior| behavior.timeouts.absolute = Some(Duration::from_secs(50)));
    assert_eq!(rig.nat.poll_timeout(), Some(rig.now));
    assert_eq!(rig.wait_seconds(0).len(), 1);
    assert_eq!(rig.wait_seconds(50).len(), 1);
    rig.send(udp(X1, Y1));
    rig.set(|behavior| behavior.timeouts.absolute = None);
    rig.send(udp(X1, Y1));
    assert_eq!(rig.wait_seconds(299).len(), 0);
}

#[test]
fn a_mapping_outside_of_the_new_range_stays_and_its_port_is_nobody_elses_in_between() {
    let ports = Ports { allocation: PortAllocation::Sequential, range: (4000..=4003).into(), ..Ports::default() };
    let mut rig = Rig::new(Behavior { ports, ..Behavior::default() });
    let before = rig.send(udp(X1, Y1));
    let ranges = [(4100..=4101, 2), (4000..=4001, 1)];
    let mut others = BTreeSet::new();
    for (host, (range, free)) in (10..).zip(ranges) {
        rig.set(|behavior| behavior.ports.range = range.into());
        for port in 0..free {
            others.insert(rig.send(udp(format!("10.0.0.{host}:{}", 7000 + port), Y1)));
        }
        assert_eq!(rig.refusal(udp(format!("10.0.0.{host}:8000"), Y1)), DropReason::PortsExhausted);
        assert_eq!(rig.send(udp(X1, Y1)), before);
    }
    assert!(others.len() == 3 && !others.contains(&before), "{others:?}");
    rig.wait_seconds(300);
    assert_eq!(rig.nat.mappings(), vec![]);
    assert_eq!(
        (0..2).map(|port| rig.send(udp(format!("10.0.0.2:{port}00"), Y1)).port()).collect::<BTreeSet<_>>().len(),
        2
    );
}

#[test]
fn blocks_quotas_and_pairs_count_what_there_was_before_them() {
    let mut rig = Rig::with_addresses(
        Behavior { pooling: Pooling::Arbitrary, ..Behavior::default() },
        &[EXTERNAL, "198.51.100.2"],
    );
    let first = rig.send(udp(X1, Y1));
    rig.set(|behavior| {
        behavior.pooling = Pooling::Paired;
        behavior.quota.ports = Some(2);
        behavior.ports.allocation = PortAllocation::Block;
    });
    let second = rig.send(udp("10.0.0.2:5001", Y1));
    assert_eq!(second.ip(), first.ip());
    assert_eq!(rig.refusal(udp("10.0.0.2:5002", Y1)), DropReason::QuotaExceeded);
    rig.set(|behavior| behavior.quota.ports = None);
    rig.send(udp("10.0.0.2:5002", Y1));
}

#[test]
fn what_two_hosts_share_they_go_on_sharing_and_never_towards_one_remote() {
    let ports = Ports { allocation: PortAllocation::Preserve, overlap: PortOverlap::ByDestination, ..Ports::default() };
    let mut rig = Rig::new(Behavior { ports, ..Behavior::default() });
    let shared = rig.send(udp(X1, Y1));
    assert_eq!(rig.send(udp(X2, Y2)), shared);
    rig.set(|behavior| behavior.ports.overlap = PortOverlap::None);
    assert_eq!([rig.send(udp(X1, Y1)), rig.send(udp(X2, Y2))], [shared; 2]);
    assert_ne!(rig.send(udp(X2, Y1)), shared, "the other has that");
    assert_eq!([rig.receive(udp(Y1, shared)), rig.receive(udp(Y2, shared))], [Ok(at(X1)), Ok(at(X2))]);
    assert_ne!(rig.send(udp("10.0.0.4:5000", "192.0.2.9:9")), shared, "no third");
}

#[test]
fn open_connections_survive_another_machine() {
    let mut rig = Rig::new(Behavior::default());
    let external = rig.send(tcp(X1, Y1, SYN));
    rig.receive(tcp(Y1, external, SYN_ACK)).expect("an answer");
    rig.send(tcp(X1, Y1, ACK));
    for (machine, window) in [
        (TcpMachine::Netfilter, TcpWindow::Strict),
        (TcpMachine::Rfc7857, TcpWindow::Strict),
        (TcpMachine::Rfc7857, TcpWindow::Off),
        (TcpMachine::Netfilter, TcpWindow::Off),
    ] {
        rig.set(|behavior| (behavior.tcp_machine, behavior.tcp_window) = (machine, window));
        assert_eq!(rig.send(tcp(X1, Y1, ACK)), external);
        assert_eq!(rig.receive(tcp(Y1, external, ACK)), Ok(at(X1)));
    }
}

#[test]
fn what_a_mapping_is_cannot_change_and_nothing_else_does_then() {
    let mut rig = Rig::new(Behavior::default());
    let before = rig.nat.behavior().clone();
    let after = Behavior {
        translation: TranslationKind::Basic,
        ipv6: Ipv6::Napt,
        filtering: Filtering::AddressDependent.into(),
        ..Behavior::default()
    };
    assert_eq!(rig.nat.reconfigure(Arc::new(after), rig.now), Err(vec!["translation", "ipv6"]));
    assert_eq!(*rig.nat.behavior(), before);
}

#[test]
fn ports_rest_no_longer_than_the_new_rule_says() {
    let ports = Ports { range: (4000..=4000).into(), quarantine: Duration::from_secs(120), ..Ports::default() };
    let mut rig = Rig::new(Behavior { ports, ..Behavior::default() });
    rig.send(udp(X1, Y1));
    rig.wait_seconds(300);
    assert_eq!(rig.refusal(udp(X2, Y1)), DropReason::PortsExhausted);
    rig.set(|behavior| behavior.ports.quarantine = Duration::from_secs(5));
    rig.wait_seconds(4);
    assert_eq!(rig.refusal(udp(X2, Y1)), DropReason::PortsExhausted);
    rig.wait_seconds(1);
    rig.send(udp(X2, Y1));
}

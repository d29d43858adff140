//! Ping and echo: who can be reached, and what it says when nobody can.

use std::io;
use std::time::Duration;

use natbox_host::Host;
use natbox_probes::ProbeError;
use natbox_probes::echo;
use natbox_probes::ping::{PingConfig, Rtt, ping};
use natbox_probes::stun::client::Retransmission;
use natbox_wire::IcmpError;
use natbox_world::LinkConfig;

use crate::lab::{Lab, endpoint, link, preset, serving};

const MS: Duration = Duration::from_millis(1);

#[test]
fn a_ping_takes_the_time_of_the_way() {
    let mut lab = Lab::new(1);
    let home = lab.home("home", "198.18.0.2", preset("symmetric"));
    let alice = lab.inside(home, "alice", "10.0.0.2");
    lab.public("bob", &["198.18.0.3"]);
    let report = lab.run(ping(&alice, "198.18.0.3".parse().unwrap(), &PingConfig::default())).expect("a report");
    assert_eq!((report.sent, report.received, report.lost_share()), (4, 4, 0.0));
    assert_eq!(report.rtt, Some(Rtt { least: 42 * MS, mean: 42 * MS, most: 42 * MS }));
    assert_eq!(lab.world.now().as_nanos(), 3_042_000_000);
}

#[test]
fn a_lossy_way_loses_pings() {
    let mut lab = Lab::new(1);
    let alice = lab.public("alice", &["198.18.0.2"]);
    lab.public_on("bob", &["198.18.0.3"], LinkConfig { loss: 0.2, ..link(10) });
    let config = PingConfig { count: 1000, interval: 10 * MS, ..PingConfig::default() };
    let report = lab.run(ping(&alice, "198.18.0.3".parse().unwrap(), &config)).expect("a report");
    // Either way may lose it: 1 - 0.8 * 0.8.
    assert!((0.32..0.40).contains(&report.lost_share()), "{}", report.lost_share());
}

#[test]
fn nobody_there_is_reported_with_the_reason() {
    let mut lab = Lab::new(1);
    let alice = lab.public("alice", &["198.18.0.2"]);
    let report = lab.run(ping(&alice, "198.18.0.99".parse().unwrap(), &PingConfig::default())).expect("a report");
    assert_eq!((report.received, report.rtt), (0, None));
    let reasons: Vec<_> = report.errors.iter().map(|report| report.error).collect();
    assert_eq!(reasons, [IcmpError::NetUnreachable; 4]);
}

#[test]
fn an_echo_server_does_not_answer_itself() {
    let mut lab = Lab::new(1);
    let bob = lab.public("bob", &["198.18.0.3"]);
    let alice = lab.public("alice", &["198.18.0.2"]);
    bob.spawn(serving(echo::serve_udp(bob.clone(), endpoint("198.18.0.3:7"))));
    lab.world.run_for(MS).expect("a quiet world");
    let forged = natbox_wire::build::udp(
        endpoint("198.18.0.3:7"),
        endpoint("198.18.0.3:7"),
        natbox_wire::build::IpFields::default(),
        b"from yourself",
    );
    let from = lab.world.interfaces().last().expect("alice's interface");
    lab.world.inject(from, forged.expect("a datagram").into_bytes());
    lab.world.run_for(1000 * MS).expect("an end");
    let came = lab.run(echo::udp(&alice, endpoint("198.18.0.3:7"), b"payload", &Retransmission::PROBE));
    assert!(came.is_ok(), "it serves on: {came:?}");
}

#[test]
fn udp_comes_back_and_a_closed_port_refuses() {
    let mut lab = Lab::new(1);
    let home = lab.home("home", "198.18.0.2", preset("port-restricted-cone"));
    let alice = lab.inside(home, "alice", "10.0.0.2");
    let bob = lab.public("bob", &["198.18.0.3"]);
    bob.spawn(serving(echo::serve_udp(bob.clone(), endpoint("198.18.0.3:7"))));
    let plan = Retransmission::PROBE;
    let came = lab.run(echo::udp(&alice, endpoint("198.18.0.3:7"), b"payload", &plan)).expect("an echo");
    assert_eq!((came.elapsed, came.sent), (42 * MS, 1));
    let refused = lab.run(echo::udp(&alice, endpoint("198.18.0.3:9"), b"payload", &plan));
    assert!(matches!(refused, Err(ProbeError::Io { kind: io::ErrorKind::ConnectionRefused, .. })), "{refused:?}");
}

#[test]
fn udp_that_is_filtered_is_a_silence() {
    let mut lab = Lab::new(1);
    let alice = lab.public("alice", &["198.18.0.2"]);
    let home = lab.home("home", "198.18.0.3", preset("full-cone"));
    lab.inside(home, "bob", "10.0.0.2");
    let silent = lab.run(echo::udp(&alice, endpoint("198.18.0.3:7"), b"payload", &Retransmission::PROBE));
    assert!(matches!(silent, Err(ProbeError::Silence { sent: 4, .. })), "{silent:?}");
}

#[test]
fn tcp_comes_back_in_every_size_and_a_closed_port_refuses() {
    let mut lab = Lab::new(1);
    let home = lab.home("home", "198.18.0.2", preset("port-restricted-cone"));
    let alice = lab.inside(home, "alice", "10.0.0.2");
    let bob = lab.public("bob", &["198.18.0.3"]);
    bob.spawn(serving(echo::serve_tcp(bob.clone(), endpoint("198.18.0.3:7"), Duration::from_secs(60))));
    let (server, timeout) = (endpoint("198.18.0.3:7"), Duration::from_secs(10));
    for size in [0, 1, 1460, 100_000] {
        let payload: Vec<u8> = (0..size).map(|byte| (byte % 251) as u8).collect();
        let came = lab.run(echo::tcp(&alice, server, &payload, timeout));
        assert_eq!(came.map(|came| came.source), Ok(server), "{size} bytes");
    }
    let refused = lab.run(echo::tcp(&alice, endpoint("198.18.0.3:9"), b"payload", timeout));
    assert!(matches!(refused, Err(ProbeError::Io { kind: io::ErrorKind::ConnectionRefused, .. })), "{refused:?}");
    let nobody = lab.run(echo::tcp(&alice, endpoint("198.18.0.1:7"), b"payload", timeout));
    assert!(nobody.is_err());
}

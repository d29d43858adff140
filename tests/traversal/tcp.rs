//! TCP hole punching (Ford 2005 section 4, RFC 5382): where it must work, where it must fail, and why.

use std::net::SocketAddr;
use std::time::Duration;

use natbox::Lab;
use natbox::host::Host;
use natbox::outcome::StepResult;
use natbox::probes::signal::look_up;
use natbox::probes::technique::{Contact, Setting, Technique, answer, call};
use natbox::probes::{Path, echo, rendezvous};
use natbox::record::{Limits, Recorder, What};
use natbox::wire::{Protocol, Time};
use natbox::world::VirtualHost;

use super::techniques::{apart, connect, path, together};

const MANNERS: [&str; 3] = ["tcp-punch", "tcp-punch-listen", "tcp-punch-low-ttl"];
/// Maps endpoint-independently, drops what is unsolicited, follows connections by RFC 7857's machine.
const SILENT: &str = "{ type: port-restricted-cone, unsolicited_syn: drop }";

/// Alice and bob, each so far from his NAT.
fn far(nat_a: &str, nat_b: &str, latencies: [&str; 2], technique: &str) -> StepResult {
    let [a, b] = latencies;
    let hosts = format!(
        "alice: {{ behind: home-a, link: {{ latency: {a} }} }}\n  bob: {{ behind: home-b, link: {{ latency: {b} }} }}"
    );
    connect(&format!("home-a: {nat_a}, home-b: {nat_b}"), &hosts, &format!("technique: {technique}"))
}

/// What became of the endpoints that were tried, where none worked.
fn attempts(step: &StepResult) -> String {
    assert_eq!(path(step), "none", "{step:#?}");
    step.facts["attempts"].to_string()
}

#[test]
fn tcp_is_punched_through_nats_that_map_endpoint_independently_and_keep_silent() {
    for technique in MANNERS {
        for nat in [SILENT, "full-cone", "restricted-cone", "port-restricted-cone", "linux-masquerade"] {
            let step = apart(nat, nat, &format!("technique: {technique}"));
            assert_eq!(path(&step), "punched", "{technique} {nat} {step:#?}");
            assert_eq!(step.facts["transport"], "tcp", "{technique} {nat}");
        }
    }
}

#[test]
fn either_machine_that_follows_connections_lets_either_syn_come_first() {
    let rfc =
        |machine: &str| format!("{{ type: port-restricted-cone, unsolicited_syn: drop, tcp_machine: {machine} }}");
    for machine in ["rfc7857", "netfilter"] {
        for latencies in [["1ms", "1ms"], ["300ms", "1ms"], ["1ms", "300ms"], ["100ms", "100ms"]] {
            for technique in MANNERS {
                let step = far(&rfc(machine), &rfc(machine), latencies, technique);
                assert_eq!(path(&step), "punched", "{machine} {latencies:?} {technique} {step:#?}");
            }
        }
    }
}

#[test]
fn a_syn_that_is_held_for_six_seconds_does_no_harm() {
    for held in ["icmp-after-6s", "rst-after"] {
        let nat = format!("{{ type: port-restricted-cone, unsolicited_syn: {held} }}");
        for latencies in [["300ms", "1ms"], ["1ms", "300ms"]] {
            assert_eq!(path(&far(&nat, &nat, latencies, "tcp-punch")), "punched", "{held} {latencies:?}");
        }
    }
}

/// Bob is near his NAT and alice far from hers, so that his SYN is there before her own.
fn early(nat: &str, technique: &str) -> StepResult {
    far(nat, nat, ["100ms", "1ms"], technique)
}

#[test]
fn a_nat_that_answers_an_early_syn_ends_the_connection_unless_the_syn_dies_before_it() {
    for answer in ["rst-now", "icmp-now"] {
        let nat = format!("{{ type: port-restricted-cone, unsolicited_syn: {answer} }}");
        attempts(&early(&nat, "tcp-punch, timeout: 3s"));
        let step = early(&nat, "tcp-punch-low-ttl, timeout: 3s");
        assert_eq!((path(&step), &step.facts["refused"]), ("punched", &0.into()), "{answer} {step:#?}");
    }
}

#[test]
fn where_the_hole_outlives_the_answer_a_listener_behind_it_takes_the_next_syn() {
    // RFC 7857 section 2.2: the session goes on for a while after a RST.
    let nat = "{ type: port-restricted-cone, unsolicited_syn: rst-now }";
    assert_eq!(path(&early(nat, "tcp-punch-listen, timeout: 3s")), "punched");
}

#[test]
fn linux_with_an_input_chain_that_accepts_refuses_who_is_early() {
    for technique in ["tcp-punch", "tcp-punch-listen"] {
        let step = early("linux-masquerade-open", &format!("{technique}, timeout: 3s"));
        let found = attempts(&step);
        assert!(found.contains("refused"), "{technique} {found}");
    }
}

#[test]
fn a_low_ttl_rescues_linux_only_where_it_does_not_hold_the_second_syn_against_the_first() {
    // The second SYN has a number of its own. After the peer's SYN, conntrack takes it for one outside the window.
    assert_eq!(path(&early("linux-masquerade-open", "tcp-punch-low-ttl")), "none");
    let liberal = "{ type: linux-masquerade-open, tcp_window: liberal }";
    assert_eq!(path(&early(liberal, "tcp-punch, timeout: 3s")), "none");
    let step = early(liberal, "tcp-punch-low-ttl");
    assert_eq!((path(&step), &step.facts["low_ttl"]), ("punched", &2.into()), "{step:#?}");
    for (low_ttl, found) in [(2, "punched"), (1, "none"), (64, "none")] {
        let technique = format!("tcp-punch-low-ttl, low_ttl: {low_ttl}, timeout: 4s");
        assert_eq!(path(&early(liberal, &technique)), found, "{low_ttl}");
    }
}

#[test]
fn syns_that_cross_between_the_nats_are_early_for_neither() {
    let open = "linux-masquerade-open";
    for technique in MANNERS {
        assert_eq!(path(&far(open, open, ["5ms", "5ms"], technique)), "punched", "{technique}");
    }
}

#[test]
fn a_nat_that_maps_by_the_remote_endpoint_cannot_be_met_at_the_port_that_the_directory_saw() {
    for technique in MANNERS {
        for (a, b) in [(SILENT, "symmetric"), ("symmetric", SILENT), ("symmetric", "symmetric")] {
            attempts(&apart(a, b, &format!("technique: {technique}")));
        }
    }
}

#[test]
fn a_listener_takes_the_syn_of_a_nat_that_maps_by_the_remote_endpoint_where_the_other_lets_it_in() {
    for open in ["full-cone", "restricted-cone"] {
        for (a, b) in [(open, "symmetric"), ("symmetric", open)] {
            assert_eq!(path(&apart(a, b, "technique: tcp-punch")), "none", "{a} {b}");
            let step = apart(a, b, "technique: tcp-punch-listen");
            assert_eq!(path(&step), "punched", "{a} {b} {step:#?}");
            let opened = if a == open { "accept" } else { "connect" };
            assert_eq!(step.facts["opened_by"], opened, "{a} {b}");
        }
    }
}

#[test]
fn a_box_that_breaks_simultaneous_opens_fails_those_that_need_one() {
    for broken in ["block-in-syn", "block-out-synack", "mistranslate-out-synack"] {
        let nat = format!("{{ type: port-restricted-cone, unsolicited_syn: drop, tcp_simopen: {broken} }}");
        for technique in MANNERS {
            let found = attempts(&apart(&nat, &nat, &format!("technique: {technique}")));
            assert!(found.contains("no answer") || found.contains("attempts"), "{broken} {technique} {found}");
        }
    }
}

#[test]
fn filtering_tcp_by_nothing_joins_without_a_simultaneous_open() {
    // The SYN of whoever is late finds a hole, and a connection that is being opened or a listener behind it.
    for technique in ["tcp-punch", "tcp-punch-listen"] {
        let step = far("full-cone", "full-cone", ["1ms", "300ms"], technique);
        assert_eq!(path(&step), "punched", "{technique}");
    }
}

#[test]
fn where_only_tcp_gets_out_tcp_is_punched_still() {
    let nat = "{ type: port-restricted-cone, outbound: { udp: off } }";
    for technique in MANNERS {
        let step = apart(nat, nat, &format!("technique: {technique}"));
        assert_eq!((path(&step), &step.facts["transport"]), ("punched", &"tcp".into()), "{technique}");
    }
}

#[test]
fn where_tcp_does_not_get_out_it_is_said_so() {
    let nat = "{ type: port-restricted-cone, outbound: { tcp: off } }";
    let step = apart(nat, "full-cone", "technique: tcp-punch");
    assert_eq!(path(&step), "none");
    assert!(step.got.contains("connect to the directory by TCP"), "{step:#?}");
}

#[test]
fn hosts_of_one_network_meet_there_and_hosts_without_nats_directly() {
    for technique in MANNERS {
        assert_eq!(path(&together("full-cone", &format!("technique: {technique}"))), "local", "{technique}");
        assert_eq!(path(&apart("public", "public", &format!("technique: {technique}"))), "direct", "{technique}");
        assert_eq!(path(&apart("full-cone", "public", &format!("technique: {technique}"))), "direct", "{technique}");
        assert_eq!(path(&apart("public", "full-cone", &format!("technique: {technique}"))), "reversed", "{technique}");
    }
}

#[test]
fn two_runs_are_alike() {
    for technique in MANNERS {
        let run = || apart(SILENT, "linux-masquerade", &format!("technique: {technique}"));
        assert_eq!(format!("{:?}", run()), format!("{:?}", run()), "{technique}");
    }
}

/// Where a call from alice to bob led, and whether mallory, who has bob's private address on alice's network and sends back
/// whatever she hears, took a connection on this port.
fn beside_mallory(technique: Technique, port: Option<u16>) -> (Contact<VirtualHost>, Vec<SocketAddr>, bool) {
    let text = "
nats:
  home-a: { type: port-restricted-cone, inside: 10.0.0.0/24 }
  home-b: { type: port-restricted-cone, inside: 10.0.0.0/24 }
hosts:
  alice: { behind: home-a, address: 10.0.0.2 }
  mallory: { behind: home-a, address: 10.0.0.3 }
  bob: { behind: home-b, address: 10.0.0.3 }
  server: { services: [stun, rendezvous] }
";
    let mut built = Lab::from_yaml(text).unwrap().start().unwrap();
    let recorder = built.record(Limits::PACKETS);
    let [alice, mallory, bob] = ["alice", "mallory", "bob"].map(|name| built.host(name).unwrap());
    let directory = SocketAddr::new(built.addresses("server")[0], rendezvous::PORT);
    let stranger = SocketAddr::new(mallory.addresses()[0], port.unwrap_or(9));
    mallory.clone().spawn(async move {
        echo::serve_tcp(mallory, stranger, Duration::from_secs(60)).await.map(drop).expect("mallory listens");
    });
    let waiting = Setting::new(directory, "bob");
    bob.clone().spawn(async move {
        let mut contact = answer(&bob, technique, &waiting).await.expect("bob is reached");
        let _ = contact.recv(Time::MAX).await;
    });
    let met = built.world.run_until(async {
        look_up(&alice, directory, "bob", Time::MAX).await.expect("bob is registered");
        call(&alice, technique, &Setting::new(directory, "alice"), "bob").await
    });
    let tried: Vec<SocketAddr> = sightings(&recorder).into_iter().map(|(_, destination)| destination).collect();
    let took = sightings(&recorder).iter().any(|(source, _)| *source == stranger);
    (met.unwrap().unwrap_or_else(|failure| panic!("{failure}")), tried, took)
}

/// The endpoints of all TCP segments on alice's network between hosts of it.
fn sightings(recorder: &Recorder) -> Vec<(SocketAddr, SocketAddr)> {
    let log = recorder.log();
    let packets = log.records().iter().filter_map(|record| match &record.what {
        What::Packet(sighting) => sighting
            .facts
            .as_ref()
            .ok()
            .filter(|facts| facts.protocol() == Some(Protocol::Tcp))
            .map(|facts| (facts.source, facts.destination)),
        _ => None,
    });
    packets
        .filter(|(source, destination)| {
            [source, destination].iter().all(|end| end.ip().to_string().starts_with("10.0.0."))
        })
        .collect()
}

#[test]
fn a_stranger_who_takes_the_connection_at_the_callees_private_address_is_refused() {
    for technique in [Technique::TcpPunch, Technique::TcpPunchListen, Technique::TcpPunchLowTtl] {
        // What port bob has is his dice's to say: the first run finds it, in the second mallory waits there.
        let (_, tried, _) = beside_mallory(technique, None);
        let bob =
            tried.iter().find(|endpoint| endpoint.ip().to_string() == "10.0.0.3").expect("alice tried his address");
        let (contact, _, took) = beside_mallory(technique, Some(bob.port()));
        assert!(took, "{technique}: mallory's machine took the connection");
        assert_eq!(contact.path(), Path::Punched, "{technique}");
        assert_eq!(contact.remote().ip().to_string(), "198.18.0.3", "{technique}: bob's NAT, not {}", contact.remote());
    }
}

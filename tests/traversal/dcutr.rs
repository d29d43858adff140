//! libp2p's upgrade of a relayed connection: where it works, over which transport, in how many attempts.

use natbox::outcome::StepResult;

use super::techniques::{apart, connect, path, together};

const UPGRADE: &str = "technique: dcutr";
const NO_UDP: &str = "{ type: port-restricted-cone, outbound: { udp: off } }";
const NO_TCP: &str = "{ type: port-restricted-cone, outbound: { tcp: off } }";

fn transport(step: &StepResult) -> &str {
    assert_ne!(path(step), "none", "{step:#?}");
    step.fact("transport").expect("a transport")
}

#[test]
fn dcutr_joins_hosts_whose_nats_map_endpoint_independently_at_the_first_attempt() {
    for nat in ["full-cone", "restricted-cone", "port-restricted-cone", "linux-masquerade"] {
        let step = apart(nat, nat, UPGRADE);
        assert_eq!((path(&step), &step.facts["tries"]), ("punched", &1.into()), "{nat} {step:#?}");
    }
}

#[test]
fn dcutr_goes_over_tcp_where_udp_is_blocked_and_over_quic_where_tcp_is() {
    assert_eq!(transport(&apart(NO_UDP, NO_UDP, UPGRADE)), "tcp");
    assert_eq!(transport(&apart(NO_TCP, NO_TCP, UPGRADE)), "udp");
    assert_eq!(path(&apart(NO_TCP, NO_UDP, UPGRADE)), "none", "they have no transport in common");
}

#[test]
fn over_quic_only_a_dials_so_that_b_may_not_hide_behind_a_nat_that_maps_by_the_remote_endpoint() {
    let by_port = "{ type: symmetric, outbound: { tcp: off } }";
    let open = "{ type: full-cone, outbound: { tcp: off } }";
    let step = apart(by_port, open, UPGRADE);
    assert_eq!((path(&step), transport(&step)), ("punched", "udp"), "B answers wherever A's packet comes from");
    // B's random bytes do not tell A from where they come: A dials the endpoint that was told, and its NAT lets nothing in.
    let step = apart(open, by_port, UPGRADE);
    assert_eq!((path(&step), &step.facts["tries"]), ("none", &3.into()), "{step:#?}");
}

#[test]
fn three_attempts_are_made_each_from_connect_on_and_then_it_is_over() {
    for (a, b) in [("symmetric", "port-restricted-cone"), ("symmetric", "symmetric")] {
        let step = apart(a, b, UPGRADE);
        assert_eq!((path(&step), &step.facts["tries"]), ("none", &3.into()), "{a} {b} {step:#?}");
        let attempts = step.facts["attempts"].as_array().expect("a list");
        assert_eq!(attempts.iter().filter(|line| line.to_string().contains("quic")).count(), 3, "{a} {b}");
        assert!(step.ended_ns - step.started_ns < 25_000_000_000, "{step:#?}");
    }
}

#[test]
fn both_begin_at_once_so_that_nats_that_answer_early_syns_are_joined_if_neither_host_is_far_from_its_own() {
    let nats = format!(
        "home-a: {open}, home-b: {open}",
        open =
            "{ type: linux-masquerade-open, mapping: { udp: address-and-port-dependent, tcp: endpoint-independent } }"
    );
    for (latency, found) in [("5ms", "punched"), ("150ms", "none")] {
        let hosts = format!("alice: {{ behind: home-a, link: {{ latency: {latency} }} }}\n  bob: {{ behind: home-b }}");
        let step = connect(&nats, &hosts, UPGRADE);
        assert_eq!(path(&step), found, "{latency} {step:#?}");
        if found == "none" {
            assert!(step.facts["attempts"].to_string().contains("refused"), "{step:#?}");
        }
    }
}

#[test]
fn hosts_without_nats_between_them_are_told_so() {
    assert_eq!(path(&together("full-cone", UPGRADE)), "none", "only observed addresses are dialled: no hairpinning");
    let hairpin = "{ type: full-cone, hairpin: external-source }";
    assert_eq!(path(&together(hairpin, UPGRADE)), "hairpinned");
    assert_eq!(path(&apart("public", "public", UPGRADE)), "direct");
}

#[test]
fn two_runs_are_alike() {
    let run = || apart("port-restricted-cone", "linux-masquerade", UPGRADE);
    assert_eq!(format!("{:?}", run()), format!("{:?}", run()));
}

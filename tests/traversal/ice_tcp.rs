//! ICE over TCP (RFC 6544): which pairs of candidates work through which NATs, and what is said where none does.

use natbox::outcome::StepResult;

use super::techniques::{NATS, apart, connect, path, together};

const SILENT: &str = "{ type: port-restricted-cone, unsolicited_syn: drop }";
/// No relay to fall back to.
const NO_RELAY: &str = "stun, rendezvous";
const TECHNIQUE: &str = "technique: ice-tcp";

/// Two homes, and a server of these services.
fn homes(a: &str, b: &str, services: &str) -> StepResult {
    let text = format!(
        "nats: {{ home-a: {a}, home-b: {b} }}\nhosts: {{ alice: {{ behind: home-a }}, bob: {{ behind: home-b }}, \
         server: {{ services: [{services}] }} }}\nscenario:\n  - connect: {{ from: alice, to: bob, {TECHNIQUE} }}\n"
    );
    let lab = natbox::Lab::from_yaml(&text).unwrap_or_else(|error| panic!("{error}\n{text}"));
    lab.run().unwrap_or_else(|error| panic!("{error}\n{text}")).steps.remove(0)
}

/// Path, and the types of both candidates.
fn pair(step: &StepResult) -> (&str, &str, &str) {
    let path = path(step);
    assert_eq!(step.fact("transport"), Some("tcp"), "{step:#?}");
    (path, step.fact("local_candidate").unwrap(), step.fact("remote_candidate").unwrap())
}

#[test]
fn rfc6544_simultaneous_opens_pass_nats_that_map_endpoint_independently_and_keep_silent() {
    for nat in [SILENT, "restricted-cone", "port-restricted-cone", "linux-masquerade"] {
        let step = homes(nat, nat, NO_RELAY);
        assert_eq!(pair(&step), ("punched", "server-reflexive", "server-reflexive"), "{nat} {step:#?}");
    }
}

#[test]
fn rfc6544_an_active_candidate_finds_a_passive_one_behind_a_nat_that_filters_nothing_or_no_nat() {
    for nat in ["symmetric", "port-restricted-cone", "linux-masquerade"] {
        let step = homes(nat, "full-cone", NO_RELAY);
        let (found, _, remote) = pair(&step);
        assert_eq!((found, remote), ("punched", "server-reflexive"), "{nat}");
        assert_eq!(path(&apart(nat, "public", TECHNIQUE)), "direct", "{nat}");
        assert_eq!(path(&apart("public", nat, TECHNIQUE)), "reversed", "{nat}");
    }
    assert_eq!(path(&apart("public", "public", TECHNIQUE)), "direct");
}

#[test]
fn hosts_of_one_network_meet_there() {
    for nat in NATS {
        let step = together(nat, TECHNIQUE);
        let (found, _, remote) = pair(&step);
        assert_eq!((found, remote), ("local", "host"), "{nat}: from any port of an active candidate to a passive one");
    }
}

#[test]
fn what_breaks_simultaneous_opens_or_maps_by_the_remote_endpoint_leaves_no_path_and_the_step_says_what_was_tried() {
    let broken = "{ type: port-restricted-cone, unsolicited_syn: drop, tcp_simopen: block-in-syn }";
    for (a, b) in [("symmetric", "symmetric"), ("symmetric", "port-restricted-cone"), (broken, broken)] {
        let step = homes(a, b, NO_RELAY);
        assert_eq!(path(&step), "none", "{a} {b} {step:#?}");
        let attempts = step.facts["attempts"].to_string();
        assert!(attempts.contains("so host 10.") && attempts.contains("active host 10."), "{a} {b} {attempts}");
        assert!(step.got.contains("tcp 10.0.0.2:9 to ") && step.got.contains(", the last "), "{a} {b} {}", step.got);
    }
    let blocked = "{ type: symmetric, outbound: { tcp: off } }";
    let step = homes(blocked, "full-cone", NO_RELAY);
    assert_eq!(path(&step), "none");
    assert!(step.got.contains("no TCP candidate: "), "{}", step.got);
}

#[test]
fn rfc6062_a_tcp_allocation_is_used_where_nothing_else_works_and_nowhere_else() {
    let no_udp = "{ type: symmetric, outbound: { udp: off } }";
    for (a, b) in [("symmetric", "symmetric"), ("symmetric", "port-restricted-cone"), (no_udp, no_udp)] {
        assert_eq!(path(&apart(a, b, TECHNIQUE)), "relayed", "{a} {b}");
    }
    assert_eq!(path(&apart(SILENT, SILENT, TECHNIQUE)), "punched");
    let strict = "{ type: symmetric, outbound: { udp: off, tcp: [3478, 3490] } }";
    assert_eq!(path(&apart(strict, strict, TECHNIQUE)), "relayed", "from one relayed address to the other");
}

#[test]
fn a_nat_that_answers_an_early_syn_ends_the_connection_and_the_next_check_tries_again() {
    let nat = |answer: &str| format!("{{ type: port-restricted-cone, unsolicited_syn: {answer} }}");
    // As far from each other as they are from their NATs: SYNs cross between the NATs, early for neither.
    let step = homes(&nat("rst-now"), &nat("rst-now"), NO_RELAY);
    assert!(["punched", "none"].contains(&path(&step)), "{step:#?}");
    let hosts = "alice: { behind: home-a, link: { latency: 100ms } }\n  bob: { behind: home-b }";
    let nats = format!("home-a: {}, home-b: {}", nat("drop"), nat("drop"));
    assert_eq!(path(&connect(&nats, hosts, TECHNIQUE)), "punched", "silence does no harm to who is early");
}

#[test]
fn two_runs_are_alike() {
    let [one, again] = [0, 1].map(|_| homes(SILENT, SILENT, "stun, turn, rendezvous"));
    assert_eq!((one.facts, one.got), (again.facts, again.got));
}

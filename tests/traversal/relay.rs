//! Relays over TCP and TLS, where UDP is blocked or nearly everything is.

use natbox::outcome::StepResult;

use super::techniques::{apart, path};

const OPEN: &str = "port-restricted-cone";
const NO_UDP: &str = "{ type: symmetric, outbound: { udp: off } }";
/// HTTPS, and the directory, which the lab has nowhere else.
const HTTPS: &str = "{ type: symmetric, outbound: { udp: off, tcp: [443, 3490] } }";
const TURN_TLS: &str = "{ type: symmetric, outbound: { udp: off, tcp: [5349, 3490] } }";

fn relay(step: &StepResult) -> (&str, &str) {
    assert_eq!(path(step), "relayed", "{step:#?}");
    assert_eq!(step.fact("transport"), Some("tcp"), "{step:#?}");
    (step.fact("relay_carrier").unwrap(), step.fact("relay").unwrap().rsplit(':').next().unwrap())
}

#[test]
fn a_relay_over_udp_is_of_no_use_where_udp_is_blocked_and_one_over_tcp_or_tls_is() {
    for (a, b) in [(NO_UDP, NO_UDP), (NO_UDP, OPEN), (OPEN, NO_UDP)] {
        assert_eq!(path(&apart(a, b, "technique: turn")), "none", "{a} {b}");
        assert_eq!(relay(&apart(a, b, "technique: turn-tcp")), ("tcp", "3478"), "{a} {b}");
        assert_eq!(relay(&apart(a, b, "technique: turn-tls")), ("tls", "5349"), "{a} {b}");
    }
}

#[test]
fn where_https_alone_leaves_the_relay_is_reached_by_tls_on_its_port() {
    let refused = apart(HTTPS, OPEN, "technique: turn-tcp");
    assert_eq!(path(&refused), "none");
    assert!(refused.got.contains("relayed over tcp: "), "{}", refused.got);
    assert_eq!(relay(&apart(HTTPS, OPEN, "technique: turn-tls")), ("tls", "443"));
    assert_eq!(relay(&apart(TURN_TLS, HTTPS, "technique: turn-tls")), ("tls", "5349"), "the caller's own");
}

#[test]
fn relay_first_has_a_relay_over_tcp_or_tls_where_there_is_none_over_udp() {
    for (a, b) in [(NO_UDP, NO_UDP), (NO_UDP, OPEN), (OPEN, NO_UDP), (HTTPS, OPEN), (OPEN, HTTPS), (HTTPS, HTTPS)] {
        assert_eq!(path(&apart(a, b, "technique: relay-first")), "relayed", "{a} {b}");
    }
}

#[test]
fn a_relay_over_tls_repeats_in_what_happens_and_when() {
    let [one, again] = [0, 1].map(|_| apart(NO_UDP, NO_UDP, "technique: turn-tls"));
    assert_eq!((one.facts, one.got), (again.facts, again.got));
}

/// How two came together over TCP, and by which relay.
fn way(step: &StepResult) -> &str {
    assert_eq!((path(step), step.fact("transport")), ("relayed", Some("tcp")), "{step:#?}");
    step.fact("way").unwrap()
}

#[test]
fn rfc6062_a_tcp_allocation_serves_every_nat_that_lets_tcp_out() {
    for a in ["public", "full-cone", "port-restricted-cone", "symmetric", "linux-masquerade", NO_UDP] {
        for b in ["public", "full-cone", "symmetric", NO_UDP] {
            let way = way(&apart(a, b, "technique: turn-tcp-allocation")).to_owned();
            assert_eq!(way, "accept", "{a} {b}: the callee connects to the address that the caller's relay lends");
        }
    }
}

#[test]
fn rfc6062_where_relayed_ports_are_out_of_reach_one_relayed_address_connects_to_the_other() {
    let strict = "{ type: symmetric, outbound: { udp: off, tcp: [3478, 3490] } }";
    for (a, b) in [(OPEN, strict), (strict, OPEN), (strict, strict), (strict, HTTPS), (HTTPS, TURN_TLS)] {
        way(&apart(a, b, "technique: turn-tcp-allocation"));
    }
    let blocked = "{ type: symmetric, outbound: { udp: off, tcp: [3490] } }";
    // The caller reaches its own relay, and the callee none.
    let step = apart(OPEN, blocked, "technique: turn-tcp-allocation");
    assert_eq!(path(&step), "none");
    assert!(step.got.contains("nobody connected to 198.18.0."), "{}", step.got);
    // The callee's relay serves where the caller reaches none, if the caller's TCP gets to relayed ports; here it does not.
    let step = apart(blocked, OPEN, "technique: turn-tcp-allocation");
    assert_eq!(path(&step), "none");
    assert!(step.got.contains("relayed over tcp: "), "{}", step.got);
}

#[test]
fn connect_goes_from_relay_to_relay_where_a_side_reaches_servers_alone() {
    let shut = "{ type: symmetric, outbound: { udp: [3478, 3479, 3490], tcp: [3478, 3479, 3490] } }";
    for (a, b) in [(OPEN, shut), (shut, OPEN), (shut, shut), (NO_UDP, shut), (shut, NO_UDP), ("public", shut)] {
        assert_eq!(path(&apart(a, b, "timeout: 30s")), "relayed", "{a} {b}");
    }
    let refused = apart(OPEN, shut, "allow: [direct, punched]");
    assert_eq!(path(&refused), "none", "no relay is allowed");
}

#[test]
fn a_call_goes_over_tcp_where_udp_is_blocked() {
    for (a, b) in [(NO_UDP, OPEN), (OPEN, NO_UDP), (NO_UDP, NO_UDP)] {
        let text = format!(
            "nats: {{ home-a: {a}, home-b: {b} }}\nhosts: {{ alice: {{ behind: home-a }}, bob: {{ behind: home-b }}, \
             server: {{ services: [stun, turn, rendezvous] }} }}\nscenario:\n  \
             - call: {{ from: alice, to: bob, for: 2s }}\n    expect: {{ path: relayed, loss: 0% }}\n"
        );
        let lab = natbox::Lab::from_yaml(&text).unwrap_or_else(|error| panic!("{error}\n{text}"));
        let outcome = lab.run().unwrap_or_else(|error| panic!("{error}\n{text}"));
        assert!(outcome.ok, "{a} {b} {outcome:#?}");
    }
}

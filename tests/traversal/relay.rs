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
fn a_relay_over_tls_repeats_in_what_happens_and_when() {
    let [one, again] = [0, 1].map(|_| apart(NO_UDP, NO_UDP, "technique: turn-tls"));
    assert_eq!((one.facts, one.got), (again.facts, again.got));
}

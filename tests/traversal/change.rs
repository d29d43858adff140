//! What becomes of a connection when its network changes: NATs that reboot or move, timers that run out, a relay that dies.

use natbox::Lab;
use natbox::outcome::{Outcome, StepResult};

/// Two homes with these NATs, a server of everything, and these steps.
fn run(a: &str, b: &str, scenario: &str) -> Outcome {
    let text = format!(
        "nats: {{ home-a: {a}, home-b: {b} }}\nhosts:\n  alice: {{ behind: home-a }}\n  bob: {{ behind: home-b }}\n  \
         relay: {{ services: turn }}\n  server: {{ services: [stun, rendezvous] }}\nscenario:\n{scenario}"
    );
    let lab = Lab::from_yaml(&text).unwrap_or_else(|error| panic!("{error}\n{text}"));
    lab.run().unwrap_or_else(|error| panic!("{error}\n{text}"))
}

/// The steps, all of which come to what is expected of them.
fn steps(a: &str, b: &str, scenario: &str) -> Vec<StepResult> {
    let outcome = run(a, b, scenario);
    let failed: Vec<_> = outcome.failures().collect();
    assert!(failed.is_empty(), "{a} {b}\n{failed:#?}");
    outcome.steps
}

/// After a reboot it gives other ports.
const CONE: &str = "{ type: port-restricted-cone, ports: { allocation: random } }";
const SYMMETRIC: &str = "symmetric";

#[test]
fn a_connection_that_rests_is_kept_alive_and_looks_for_nothing() {
    let steps = steps(
        CONE,
        CONE,
        "  - connect: { from: alice, to: bob, as: link }
    expect: punched
  - wait: 600s
  - talk: link
    expect: { path: punched, loss: 0% }
",
    );
    assert_eq!(steps[2].facts["paths"].as_array().unwrap().len(), 1, "{:#?}", steps[2]);
    assert_eq!(steps[2].facts.get("restarts"), None);
}

#[test]
fn when_either_nat_reboots_the_connection_punches_anew() {
    for nat in ["home-a", "home-b"] {
        let steps = steps(
            CONE,
            CONE,
            &format!(
                "  - connect: {{ from: alice, to: bob, as: link, keep_alive: 5s }}
    expect: punched
  - reboot: {nat}
  - talk: {{ on: link, for: 60s }}
    expect: {{ path: punched, outage: 0s..20s }}
"
            ),
        );
        let paths = steps[2].facts["paths"].as_array().unwrap();
        let paths: Vec<_> = paths.iter().map(|path| path["path"].as_str().unwrap()).collect();
        assert_eq!(paths, ["punched", "none", "punched"], "{nat}");
    }
}

#[test]
fn when_a_nat_gets_another_address_the_connection_punches_anew() {
    for nat in ["home-a", "home-b"] {
        steps(
            CONE,
            CONE,
            &format!(
                "  - connect: {{ from: alice, to: bob, as: link, keep_alive: 5s }}
    expect: punched
  - readdress: {nat}
  - talk: {{ on: link, for: 60s }}
    expect: {{ path: punched, outage: 0s..20s }}
"
            ),
        );
    }
}

#[test]
fn through_a_relay_a_connection_outlives_a_reboot_too() {
    for nat in ["home-a", "home-b"] {
        steps(
            SYMMETRIC,
            SYMMETRIC,
            &format!(
                "  - connect: {{ from: alice, to: bob, as: link, keep_alive: 5s }}
    expect: relayed
  - reboot: {nat}
  - talk: {{ on: link, for: 90s }}
    expect: {{ path: relayed, outage: 0s..40s }}
"
            ),
        );
    }
}

#[test]
fn a_mapping_that_lives_shorter_than_the_keep_alive_breaks_the_connection_and_is_made_again() {
    let forgetful = "{ type: port-restricted-cone, ports: { allocation: random }, timeouts: { udp: 10s } }";
    let steps_with = |keep_alive: &str, loss: &str| {
        let scenario = format!(
            "  - connect: {{ from: alice, to: bob, as: link, keep_alive: {keep_alive} }}
    expect: punched
  - wait: 40s
  - talk: {{ on: link, for: 30s }}
    expect: {{ path: punched, loss: {loss} }}
"
        );
        steps(forgetful, forgetful, &scenario).remove(2)
    };
    let (long, short) = (steps_with("15s", "0%..100%"), steps_with("8s", "0%"));
    assert!(long.facts["restarts"].as_u64() >= Some(1), "{long:#?}");
    assert_eq!(short.facts.get("restarts"), None, "{short:#?}");
}

#[test]
fn a_relay_that_dies_leaves_nothing_and_the_step_says_why() {
    let steps = steps(
        SYMMETRIC,
        SYMMETRIC,
        "  - connect: { from: alice, to: bob, as: link, keep_alive: 5s }
    expect: relayed
  - cut: relay
  - talk: { on: link, for: 60s }
    expect: { path: none }
  - mend: relay
  - talk: { on: link, for: 60s }
    expect: { path: relayed }
",
    );
    let trouble = steps[2].facts["trouble"].as_str().unwrap();
    assert!(trouble.contains("relayed: ") && trouble.contains("no answer to 10 checks"), "{trouble}");
    assert_eq!(steps[4].facts.get("trouble"), None);
}

#[test]
fn relay_first_goes_back_to_its_relay_at_once_and_up_again_a_minute_later() {
    let steps = steps(
        CONE,
        CONE,
        "  - connect: { from: alice, to: bob, technique: relay-first, as: link }
    expect: punched
  - reboot: home-b
  - talk: { on: link, for: 30s }
    expect: { path: relayed, outage: 0s..8s }
  - wait: 60s
  - talk: link
    expect: { path: punched, loss: 0% }
",
    );
    let paths = steps[4].facts["paths"].as_array().unwrap();
    let paths: Vec<_> = paths.iter().map(|path| path["path"].as_str().unwrap()).collect();
    assert_eq!(paths, ["relayed", "punched", "relayed", "punched"]);
}

#[test]
fn a_technique_without_a_second_way_stays_silent() {
    let steps = steps(
        CONE,
        CONE,
        "  - connect: { from: alice, to: bob, technique: punch, as: link }
    expect: punched
  - talk: link
    expect: { path: punched, loss: 0%, outage: 0s..200ms }
  - reboot: home-b
  - talk: { on: link, for: 5s }
    expect: { loss: 100% }
",
    );
    assert_eq!(steps[3].facts["outage_ns"].as_u64(), Some(5_000_000_000), "{:#?}", steps[3]);
}

#[test]
fn a_host_that_goes_to_another_network_is_reached_there() {
    for (host, behind) in [("alice", "behind: home-c"), ("bob", "behind: home-c"), ("alice", ""), ("bob", "")] {
        let found = match (host, behind) {
            ("alice", "") => "reversed",
            ("bob", "") => "direct",
            _ => "punched",
        };
        let text = format!(
            "nats: {{ home-a: {CONE}, home-b: {CONE}, home-c: {CONE} }}
hosts:
  alice: {{ behind: home-a }}
  bob: {{ behind: home-b }}
  server: {{ services: [stun, turn, rendezvous] }}
scenario:
  - connect: {{ from: alice, to: bob, as: link, keep_alive: 5s }}
    expect: punched
  - move: {{ host: {host}{comma}{behind} }}
  - talk: {{ on: link, for: 60s }}
    expect: {{ path: {found}, outage: 0s..25s }}
",
            comma = if behind.is_empty() { "" } else { ", " }
        );
        let outcome = Lab::from_yaml(&text).unwrap_or_else(|error| panic!("{error}")).run().unwrap();
        assert!(outcome.ok, "{host} {behind} {:#?}", outcome.failures().collect::<Vec<_>>());
    }
}

#[test]
fn a_host_that_has_its_new_network_before_it_leaves_the_old_one_is_hardly_silent() {
    let text = format!(
        "nats: {{ home: {CONE}, mobile: {CONE}, home-b: {CONE} }}
hosts:
  alice: {{ behind: [home, mobile] }}
  bob: {{ behind: home-b }}
  server: {{ services: [stun, turn, rendezvous] }}
scenario:
  - connect: {{ from: alice, to: bob, as: link }}
    expect: punched
  - move: {{ host: alice, behind: mobile }}
  - talk: {{ on: link, for: 5s }}
    expect: {{ path: punched, outage: 0s..500ms }}
  - cut: {{ node: alice, behind: home }}
  - talk: {{ on: link, for: 5s }}
    expect: {{ path: punched, loss: 0% }}
"
    );
    let outcome = Lab::from_yaml(&text).unwrap_or_else(|error| panic!("{error}")).run().unwrap();
    assert!(outcome.ok, "{:#?}", outcome.failures().collect::<Vec<_>>());
    assert_eq!(outcome.steps[1].got, "now at 10.0.1.2");
}

#[test]
fn where_udp_is_blocked_and_no_relay_is_allowed_connect_says_so_in_bounded_time() {
    let scenario = "  - connect: { from: alice, to: bob, allow: [direct, punched] }\n    expect: none\n";
    let outcome = run("{ outbound: { udp: off } }", CONE, scenario);
    assert!(outcome.ok, "{outcome:#?}");
    let step = &outcome.steps[0];
    assert!(step.got.contains("198.18.0.5:3490, nothing came in 5.5s"), "{}", step.got);
}

#[test]
fn a_talk_over_a_connection_that_nobody_made_is_a_mistake_with_a_suggestion() {
    let text = "nats: { home: full-cone }\nhosts: { alice: { behind: home }, bob: {}, server: { services: [stun, rendezvous] } }
scenario:
  - connect: { from: alice, to: bob, as: link }
  - talk: lnik
";
    let error = Lab::from_yaml(text).map(drop).unwrap_err().to_string();
    assert!(error.contains("no earlier connection is called `lnik`") && error.contains("`link`"), "{error}");
}

#[test]
fn an_option_that_the_technique_does_not_read_is_a_mistake() {
    let text = "nats: { home: full-cone }\nhosts: { alice: { behind: home }, bob: {}, server: { services: [stun, rendezvous] } }
scenario:
  - connect: { from: alice, to: bob, technique: direct, low_ttl: 3 }
  - connect: { from: alice, to: bob, technique: punhc }
";
    let error = Lab::from_yaml(text).map(drop).unwrap_err().to_string();
    assert!(error.contains("`low_ttl` means nothing to the technique `direct`"), "{error}");
    assert!(error.contains("did you mean `punch`"), "{error}");
}

const NO_UDP: &str = "{ type: port-restricted-cone, outbound: { udp: off } }";

#[test]
fn where_udp_is_blocked_on_either_side_connect_goes_through_a_relay_over_tcp() {
    for (a, b) in [(NO_UDP, CONE), (CONE, NO_UDP), (NO_UDP, NO_UDP), (NO_UDP, SYMMETRIC)] {
        let steps = steps(
            a,
            b,
            "  - connect: { from: alice, to: bob, as: link }
    expect: { path: relayed, within: 12s }
  - talk: { on: link, for: 30s }
    expect: { path: relayed, loss: 0% }
",
        );
        let transport = if a == NO_UDP { "tcp" } else { "udp" };
        assert_eq!(steps[0].fact("transport"), Some(transport), "{a} {b} {:#?}", steps[0]);
    }
}

#[test]
fn where_https_alone_leaves_connect_goes_through_a_relay_over_tls_and_says_what_it_tried_where_that_is_shut_too() {
    let https = "{ type: symmetric, outbound: { udp: off, tcp: [443, 3490] } }";
    let call = |expect: &str| format!("  - connect: {{ from: alice, to: bob }}\n    expect: {expect}\n");
    for (a, b) in [(https, CONE), (CONE, https), (https, https)] {
        steps(a, b, &call("{ path: relayed, within: 25s }"));
    }
    let shut = "{ type: symmetric, outbound: { udp: off, tcp: [3490] } }";
    let steps = steps(shut, CONE, &call("none"));
    for tried in ["relayed over tcp: 198.18.0.4:3478", "relayed over tls: 198.18.0.4:5349", "198.18.0.4:443"] {
        assert!(steps[0].got.contains(tried), "{tried}: {}", steps[0].got);
    }
}

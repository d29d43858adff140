//! Options of techniques: each that a file may say changes what comes of it, and what would change nothing is refused.

use natbox::Lab;
use natbox::outcome::Outcome;
use natbox::probes::technique::{OPTIONS, Technique};
use natbox::wire::Word;
use serde_json::Value;

const SERVER: &str = "server: { services: [stun, turn, rendezvous] }";

/// NATs and hosts between which a technique comes to a path.
fn lab(technique: Technique) -> (&'static str, &'static str) {
    use Technique as T;
    let two_homes = "alice: { behind: a }, bob: { behind: b }";
    match technique {
        T::Direct => ("a: port-restricted-cone", "alice: { behind: a }, bob: {}"),
        T::Reversal => ("b: port-restricted-cone", "alice: {}, bob: { behind: b }"),
        T::Local => ("a: symmetric", "alice: { behind: a }, bob: { behind: a }"),
        T::Hairpin => ("a: { type: rfc4787, client_isolation: on }", "alice: { behind: a }, bob: { behind: a }"),
        T::Predict => ("a: symmetric-sequential, b: port-restricted-cone", two_homes),
        T::Birthday => ("a: symmetric, b: port-restricted-cone", two_homes),
        T::NatPmp => ("a: symmetric, b: { type: symmetric, control: nat-pmp }", two_homes),
        T::Pcp => ("a: symmetric, b: { type: symmetric, control: pcp }", two_homes),
        T::Upnp => ("a: symmetric, b: { type: symmetric, control: igd2 }", two_homes),
        _ => ("a: port-restricted-cone, b: port-restricted-cone", two_homes),
    }
}

/// What comes of a connection that is kept for a while, whatever the file says of it.
fn came((nats, hosts): (&str, &str), technique: Technique, option: &str) -> (String, Value) {
    let text = format!(
        "nats: {{ {nats} }}\nhosts: {{ {hosts}, {SERVER} }}\nscenario:\n  \
         - connect: {{ from: alice, to: bob, technique: {technique}, as: link{option} }}\n  - wait: 40s\n"
    );
    let lab = Lab::from_yaml(&text).unwrap_or_else(|error| panic!("{technique}{option}: {error}"));
    let Outcome { steps, packets, drops, elapsed_ns, .. } = lab.run().expect("the world goes on");
    let path = steps[0].fact("path").expect("a path").to_owned();
    let facts: Vec<_> = steps.iter().map(|step| (&step.facts, &step.got)).collect();
    (path, serde_json::json!([facts, packets, drops, elapsed_ns]))
}

/// Two values of an option, and where they make a difference if that is not where the technique succeeds.
fn values(technique: Technique, option: &str) -> ([&'static str; 2], Option<(&'static str, &'static str)>) {
    let both_hard = Some(("a: symmetric, b: symmetric", "alice: { behind: a }, bob: { behind: b }"));
    let one_hard = Some(("a: symmetric, b: restricted-cone", "alice: { behind: a }, bob: { behind: b }"));
    match option {
        "timeout" => (["30ms", "30s"], None),
        "keep_alive" => (["5s", "20s"], None),
        "allow" => (["relayed", "[punched, relayed]"], None),
        "relay_first" => (["on", "off"], None),
        "peer_reflexive" => (["on", "off"], one_hard),
        "low_ttl" => (["1", "4"], None),
        "sockets" => (["64", "256"], None),
        "probes" => (["20", "40"], both_hard),
        "ports" => (["1025-65535", "30000-40000"], None),
        "window" => (["0", "7"], None),
        other => panic!("{technique} reads `{other}`: say here where that makes a difference"),
    }
}

#[test]
fn every_technique_comes_to_a_path_where_it_should() {
    for technique in Technique::ALL {
        let (path, came) = came(lab(*technique), *technique, "");
        assert_ne!(path, "none", "{technique}: {came:#}");
    }
}

#[test]
fn every_option_that_a_technique_takes_makes_a_difference() {
    for technique in Technique::ALL {
        for option in technique.reads() {
            let (values, place) = values(*technique, option);
            let place = place.unwrap_or_else(|| lab(*technique));
            let [one, other] = values.map(|value| came(place, *technique, &format!(", {option}: {value}")));
            assert_ne!(one, other, "{technique}: `{option}: {}` is as `{option}: {}`", values[0], values[1]);
        }
    }
}

#[test]
fn a_time_that_no_technique_can_keep_is_kept() {
    for technique in Technique::ALL {
        let (path, came) = came(lab(*technique), *technique, ", timeout: 30ms");
        assert_eq!(path, "none", "{technique}: {came:#}");
    }
}

#[test]
fn an_option_that_would_change_nothing_is_refused() {
    for technique in Technique::ALL {
        for option in OPTIONS.iter().filter(|option| !technique.reads().contains(option)) {
            let (nats, hosts) = lab(*technique);
            let value = values(*technique, option).0[0];
            let text = format!(
                "nats: {{ {nats} }}\nhosts: {{ {hosts}, {SERVER} }}\nscenario:\n  \
                 - connect: {{ from: alice, to: bob, technique: {technique}, {option}: {value} }}\n"
            );
            let refused = Lab::from_yaml(&text).map(drop).expect_err("refused").to_string();
            assert!(refused.contains(&format!("`{option}` means nothing to the technique `{technique}`")), "{refused}");
        }
    }
}

#[test]
fn a_call_goes_over_whatever_technique_is_asked_for() {
    for technique in Technique::ALL {
        let (nats, hosts) = lab(*technique);
        let text = format!(
            "nats: {{ {nats} }}\nhosts: {{ {hosts}, {SERVER} }}\nscenario:\n  \
             - call: {{ from: alice, to: bob, for: 2s, technique: {technique}, size: 1150 }}\n    expect: {{ loss: 0% }}\n"
        );
        let outcome = Lab::from_yaml(&text).expect("a lab").run().expect("the world goes on");
        let step = &outcome.steps[0];
        assert!(outcome.ok, "{technique}: {}", step.got);
        assert_eq!((step.fact("technique"), step.fact("path") == Some("none")), (Some(technique.as_str()), false));
        assert_eq!(step.facts["received"], 200, "{technique}");
    }
}

#[test]
fn a_call_in_datagrams_that_a_technique_has_no_room_for_is_refused() {
    let text = |technique: &str| {
        format!(
            "hosts: {{ alice: {{}}, bob: {{}}, {SERVER} }}\nscenario:\n  \
             - call: {{ from: alice, to: bob, technique: {technique}, size: 1151 }}\n"
        )
    };
    let refused = Lab::from_yaml(&text("punch")).map(drop).expect_err("refused").to_string();
    assert!(refused.contains("datagrams of 1151 bytes over `punch`"), "{refused}");
    assert!(Lab::from_yaml(&text("connect")).is_ok());
}

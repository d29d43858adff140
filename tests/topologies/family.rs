//! `family: ipv6`: discovery and meetings over IPv6, through firewalls and through translators.

use std::collections::BTreeSet;
use std::net::SocketAddr;

use natbox::nat::behavior::{Filtering, Mapping};
use natbox::outcome::{Outcome, StepResult};
use natbox::wire::Word;
use natbox::{Lab, Recording};

fn record(text: &str) -> Recording {
    let lab = Lab::from_yaml(text).unwrap_or_else(|error| panic!("{error}\n{text}"));
    lab.run_recorded().unwrap_or_else(|error| panic!("{error}\n{text}"))
}

fn run(text: &str) -> Outcome {
    record(text).outcome
}

/// A dual-stack lab of two homes, a public host and every server that a meeting needs.
fn two_homes(home: &str, away: &str, scenario: &str) -> String {
    format!(
        "internet: {{ prefix6: '2001:db8::/32' }}
nats:
  home: {{ {home} }}
  away: {{ {away} }}
hosts:
  alice: {{ behind: home }}
  anna: {{ behind: home }}
  bob: {{ behind: away }}
  pub: {{}}
  server: {{ services: [stun, turn, rendezvous] }}
scenario:
{scenario}"
    )
}

const FIREWALL: &str = "filtering: address-and-port-dependent, ipv6: firewall";
const CONE: &str = "filtering: address-and-port-dependent, ipv6: napt";
const SYMMETRIC: &str = "type: symmetric, ipv6: napt";

/// The endpoints of every packet that anybody sent.
fn endpoints(recording: &Recording) -> BTreeSet<SocketAddr> {
    let sightings = recording.log.records().iter().filter_map(|record| record.sighting());
    sightings
        .filter_map(|sighting| sighting.facts.as_ref().ok())
        .flat_map(|facts| [facts.source, facts.destination])
        .collect()
}

fn discovered(axes: &str, family: &str) -> StepResult {
    let scenario = format!("  - discover: {{ from: alice, family: {family} }}\n");
    run(&two_homes(axes, "", &scenario)).steps.remove(0)
}

/// The nine classes of RFC 4787: every mapping with every filtering.
fn classes() -> impl Iterator<Item = (Mapping, Filtering)> {
    Mapping::ALL[..3].iter().flat_map(|mapping| Filtering::ALL[..3].iter().map(|filtering| (*mapping, *filtering)))
}

#[test]
fn behind_an_ipv6_firewall_nothing_is_translated_and_the_filter_is_found() {
    for (mapping, filtering) in classes() {
        let step = discovered(&format!("mapping: {mapping}, filtering: {filtering}, ipv6: firewall"), "ipv6");
        assert_eq!(step.fact("mapping"), Some("none"), "{step:#?}");
        assert_eq!(step.fact("filtering"), Some(filtering.as_str()), "{step:#?}");
        assert!(step.fact("mapped").is_some_and(|mapped| mapped.starts_with("[2001:db8:0:1::2]:")), "{step:#?}");
    }
}

#[test]
fn behind_an_ipv6_translator_all_nine_classes_are_found_over_either_family() {
    for (mapping, filtering) in classes() {
        for (family, external) in [("ipv6", "[2001:db8::2]:"), ("ipv4", "198.18.0.2:")] {
            let step = discovered(&format!("mapping: {mapping}, filtering: {filtering}, ipv6: napt"), family);
            assert_eq!(step.fact("mapping"), Some(mapping.as_str()), "{family} {step:#?}");
            assert_eq!(step.fact("filtering"), Some(filtering.as_str()), "{family} {step:#?}");
            assert!(step.fact("mapped").is_some_and(|mapped| mapped.starts_with(external)), "{family} {step:#?}");
        }
    }
}

#[test]
fn a_box_that_filters_nothing_is_found_so_over_ipv6() {
    let step = discovered("type: none", "ipv6");
    assert_eq!((step.fact("filtering"), step.fact("classic")), (Some("off"), Some("open")), "{step:#?}");
}

#[test]
fn every_path_comes_about_over_ipv6_where_it_must() {
    let to_bob = |allow: &str, path: &str| {
        format!("  - connect: {{ from: alice, to: bob, family: ipv6{allow} }}\n    expect: {path}\n")
    };
    let punch = |path: &str| format!("  - punch: {{ from: alice, to: bob, family: ipv6 }}\n    expect: {path}\n");
    let to_anna = |allow: &str, path: &str| {
        format!("  - connect: {{ from: alice, to: anna, family: ipv6{allow} }}\n    expect: {path}\n")
    };
    for (home, away, scenario) in [
        (FIREWALL, FIREWALL, [to_bob("", "direct"), punch("direct"), to_anna("", "local")].concat()),
        (CONE, FIREWALL, [to_bob("", "direct"), punch("direct")].concat()),
        (FIREWALL, CONE, [to_bob("", "reversed"), punch("reversed")].concat()),
        (CONE, CONE, [to_bob("", "punched"), punch("punched"), to_anna("", "local")].concat()),
        (SYMMETRIC, SYMMETRIC, [to_bob("", "relayed"), punch("none")].concat()),
        (SYMMETRIC, SYMMETRIC, to_bob(", allow: [direct, punched]", "none")),
        (FIREWALL, FIREWALL, to_bob(", allow: relayed", "relayed")),
        ("type: full-cone, ipv6: napt, hairpin: external-source", CONE, to_anna(", allow: hairpinned", "hairpinned")),
    ] {
        let text = two_homes(home, away, &scenario);
        let recording = record(&text);
        let failed: Vec<_> = recording.outcome.failures().collect();
        assert!(failed.is_empty(), "{text}\n{failed:#?}");
        let other: Vec<_> = endpoints(&recording).into_iter().filter(SocketAddr::is_ipv4).collect();
        assert!(other.is_empty(), "{text}\nnot over IPv6: {other:?}");
    }
}

#[test]
fn behind_firewalls_hosts_talk_at_their_own_addresses() {
    let scenario = "  - connect: { from: alice, to: bob, family: ipv6 }\n";
    let step = run(&two_homes(FIREWALL, FIREWALL, scenario)).steps.remove(0);
    assert!(step.fact("endpoint").is_some_and(|endpoint| endpoint.starts_with("[2001:db8:0:2::2]:")), "{step:#?}");
    assert_eq!(step.description, "connect alice to bob over IPv6");
}

#[test]
fn a_call_over_ipv6_takes_the_path_of_its_family() {
    let scenario = "  - call: { from: alice, to: bob, for: 1s, family: ipv6 }
    expect: { path: direct, loss: 0%, delay: 20ms }
  - call: { from: alice, to: bob, for: 1s, relay_first: on, family: ipv6 }
    expect: { path: direct, loss: 0% }
  - call: { from: alice, to: bob, for: 1s }
    expect: { path: relayed, loss: 0% }
";
    let firewall = "type: symmetric, ipv6: firewall";
    let outcome = run(&two_homes(firewall, firewall, scenario));
    let failed: Vec<_> = outcome.failures().collect();
    assert!(failed.is_empty(), "{failed:#?}");
    assert_eq!(outcome.steps[1].facts["paths"][0]["path"], "relayed");
}

#[test]
fn a_host_answers_over_both_families_at_once() {
    let scenario = "  - connect: { from: pub, to: alice }
    expect: reversed
  - connect: { from: pub, to: alice, family: ipv6 }
    expect: direct
  - connect: { from: pub, to: alice }
    expect: reversed
";
    let outcome = run(&two_homes(FIREWALL, "", scenario));
    let failed: Vec<_> = outcome.failures().collect();
    assert!(failed.is_empty(), "{failed:#?}");
}

#[test]
fn a_relay_is_on_the_usual_port_with_stun_beside_it_and_without() {
    for (services, turn) in [
        ("server: { services: [stun, turn, rendezvous] }", ["198.18.0.4:3478", "[2001:db8::4]:3478"]),
        (
            "server: { services: [stun, rendezvous] }\n  relay: { services: turn }",
            ["198.18.0.6:3478", "[2001:db8::6]:3478"],
        ),
    ] {
        for (family, turn) in ["ipv4", "ipv6"].into_iter().zip(turn) {
            let recording = record(&format!(
                "internet: {{ prefix6: '2001:db8::/32' }}
nats: {{ home: symmetric, away: symmetric }}
hosts:
  alice: {{ behind: home }}
  bob: {{ behind: away }}
  {services}
scenario:
  - connect: {{ from: alice, to: bob, family: {family}, allow: relayed }}
    expect: relayed
"
            ));
            assert!(recording.outcome.ok, "{:#?}", recording.outcome.steps);
            let endpoints = endpoints(&recording);
            let served = |port| endpoints.iter().filter(move |endpoint| endpoint.port() == port);
            assert!(endpoints.contains(&turn.parse().unwrap()), "{endpoints:?}");
            assert_eq!(served(3480).count(), 0, "{endpoints:?}");
            assert!(served(3478).all(|endpoint| endpoint.is_ipv6() == (family == "ipv6")), "{endpoints:?}");
        }
    }
}

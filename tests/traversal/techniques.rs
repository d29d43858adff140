//! Every technique by itself, where it must work and where it must fail by its definition.

use natbox::Lab;
use natbox::outcome::StepResult;

/// One `connect` step in a lab of these NATs and hosts, and a server of everything.
pub(super) fn connect(nats: &str, hosts: &str, step: &str) -> StepResult {
    let text = format!(
        "nats: {{ {nats} }}\nhosts:\n  {hosts}\n  server: {{ services: [stun, turn, rendezvous] }}\n\
         scenario:\n  - connect: {{ from: alice, to: bob, {step} }}\n"
    );
    let lab = Lab::from_yaml(&text).unwrap_or_else(|error| panic!("{error}\n{text}"));
    lab.run().unwrap_or_else(|error| panic!("{error}\n{text}")).steps.remove(0)
}

/// Alice and bob behind a NAT each, or none where it says so.
pub(super) fn apart(a: &str, b: &str, step: &str) -> StepResult {
    let behind = |name: &str, host: &str, nat: &str| match nat {
        "public" => (String::new(), format!("{host}: {{}}")),
        nat => (format!("{name}: {nat}, "), format!("{host}: {{ behind: {name} }}")),
    };
    let ((nat_a, alice), (nat_b, bob)) = (behind("home-a", "alice", a), behind("home-b", "bob", b));
    connect(&format!("{nat_a}{nat_b}"), &format!("{alice}\n  {bob}"), step)
}

/// Alice and bob behind one NAT.
pub(super) fn together(nat: &str, step: &str) -> StepResult {
    connect(&format!("home: {nat}"), "alice: { behind: home }\n  bob: { behind: home }", step)
}

pub(super) fn path(step: &StepResult) -> &str {
    assert!(step.ok, "{step:#?}");
    step.fact("path").expect("a path")
}

pub(super) const NATS: [&str; 5] =
    ["full-cone", "restricted-cone", "port-restricted-cone", "symmetric", "linux-masquerade"];

#[test]
fn direct_needs_a_callee_with_nothing_in_front_of_it() {
    for nat in NATS {
        assert_eq!(path(&apart(nat, "public", "technique: direct")), "direct", "{nat}");
        assert_eq!(path(&apart("public", nat, "technique: direct")), "none", "{nat}");
        assert_eq!(path(&apart(nat, nat, "technique: direct")), "none", "{nat}");
        assert_eq!(path(&together(nat, "technique: direct")), "local", "{nat}");
    }
    assert_eq!(path(&apart("public", "public", "technique: direct")), "direct");
    assert_eq!(path(&apart("public", "symmetric-udp-firewall", "technique: direct")), "none");
    assert_eq!(path(&apart("symmetric-udp-firewall", "none", "technique: direct")), "direct");
}

#[test]
fn reversal_needs_a_caller_with_nothing_in_front_of_it() {
    for nat in NATS {
        assert_eq!(path(&apart("public", nat, "technique: reversal")), "reversed", "{nat}");
        assert_eq!(path(&apart(nat, "public", "technique: reversal")), "none", "{nat}");
        assert_eq!(path(&apart(nat, nat, "technique: reversal")), "none", "{nat}");
    }
    assert_eq!(path(&apart("public", "public", "technique: reversal")), "direct");
    assert_eq!(path(&apart("symmetric-udp-firewall", "full-cone", "technique: reversal")), "none");
}

#[test]
fn local_needs_one_network_that_lets_its_hosts_talk() {
    for nat in NATS {
        assert_eq!(path(&together(nat, "technique: local")), "local", "{nat}");
        assert_eq!(path(&apart(nat, nat, "technique: local")), "none", "{nat}");
    }
    let isolated = "{ type: full-cone, client_isolation: on }";
    assert_eq!(path(&together(isolated, "technique: local")), "none");
}

#[test]
fn a_stranger_at_the_same_private_address_is_not_mistaken_for_the_callee() {
    // Mallory answers calls, too, at the address that bob has elsewhere.
    let text = "
nats:
  home-a: { type: full-cone, inside: 10.0.0.0/24 }
  home-b: { type: full-cone, inside: 10.0.0.0/24 }
hosts:
  alice: { behind: home-a, address: 10.0.0.2 }
  mallory: { behind: home-a, address: 10.0.0.3 }
  bob: { behind: home-b, address: 10.0.0.3 }
  server: { services: [stun, rendezvous] }
scenario:
  - connect: { from: alice, to: mallory, technique: local }
    expect: local
  - connect: { from: alice, to: bob, technique: local }
    expect: none
  - connect: { from: alice, to: bob, technique: punch }
    expect: punched
";
    let outcome = Lab::from_yaml(text).unwrap().run().unwrap();
    assert!(outcome.ok, "{:#?}", outcome.failures().collect::<Vec<_>>());
    let attempts = outcome.steps[1].facts["attempts"].to_string();
    assert!(attempts.contains("10.0.0.3:"), "{attempts}");
}

#[test]
fn hairpin_needs_a_nat_that_turns_packets_round_with_their_external_source() {
    for (nat, found) in [
        ("{ type: full-cone, hairpin: external-source }", "hairpinned"),
        ("{ type: port-restricted-cone, hairpin: external-source }", "hairpinned"),
        ("{ type: full-cone, hairpin: internal-source }", "none"),
        ("{ type: full-cone, hairpin: off }", "none"),
        ("linux-masquerade", "none"),
    ] {
        assert_eq!(path(&together(nat, "technique: hairpin")), found, "{nat}");
    }
    assert_eq!(path(&apart("full-cone", "full-cone", "technique: hairpin")), "none");
}

#[test]
fn behind_one_carrier_hairpin_joins_hosts_of_two_homes() {
    let hosts = "alice: { behind: home-a }\n  bob: { behind: home-b }";
    for (hairpin, found) in [("external-source", "hairpinned"), ("off", "none")] {
        let carrier = format!(
            "carrier: {{ type: full-cone, hairpin: {hairpin} }}, home-a: {{ type: port-restricted-cone, behind: carrier }}, \
             home-b: {{ type: port-restricted-cone, behind: carrier }}"
        );
        assert_eq!(path(&connect(&carrier, hosts, "technique: hairpin")), found, "{hairpin}");
    }
}

#[test]
fn punch_needs_what_the_definitions_say() {
    for (a, b, found) in [
        ("full-cone", "symmetric", "punched"),
        ("port-restricted-cone", "port-restricted-cone", "punched"),
        ("port-restricted-cone", "symmetric", "none"),
        ("symmetric", "symmetric", "none"),
    ] {
        assert_eq!(path(&apart(a, b, "technique: punch")), found, "{a} {b}");
    }
}

/// Bob is far from his NAT, so that alice's first packet is there before his own: it takes his port away.
fn early(step: &str) -> StepResult {
    let open = "home-a: linux-masquerade-open, home-b: linux-masquerade-open";
    connect(open, "alice: { behind: home-a }\n  bob: { behind: home-b, link: { latency: 40ms } }", step)
}

#[test]
fn a_low_ttl_rescues_linux_with_an_input_chain_that_accepts() {
    assert_eq!(path(&early("technique: punch")), "none");
    let step = early("technique: punch-low-ttl");
    assert_eq!(path(&step), "punched");
    assert_eq!(
        (&step.facts["low_ttl"], &step.facts["hops"]),
        (&2.into(), &serde_json::json!(["10.0.0.1", "198.18.0.1"]))
    );
    for (low_ttl, found) in [(2, "punched"), (1, "none"), (64, "none")] {
        assert_eq!(path(&early(&format!("technique: punch-low-ttl, low_ttl: {low_ttl}"))), found, "{low_ttl}");
    }
}

#[test]
fn a_low_ttl_changes_nothing_where_a_nat_maps_by_the_remote_endpoint() {
    for (a, b, found) in [
        ("port-restricted-cone", "port-restricted-cone", "punched"),
        ("full-cone", "symmetric", "punched"),
        ("symmetric", "port-restricted-cone", "none"),
        ("symmetric", "symmetric", "none"),
    ] {
        assert_eq!(path(&apart(a, b, "technique: punch-low-ttl")), found, "{a} {b}");
    }
}

#[test]
fn behind_two_nats_the_low_ttl_crosses_both() {
    let nats = "carrier: linux-masquerade-open, home-a: { type: linux-masquerade-open, behind: carrier }, \
                home-b: linux-masquerade-open";
    let step = connect(nats, "alice: { behind: home-a }\n  bob: { behind: home-b }", "technique: punch-low-ttl");
    assert_eq!((path(&step), &step.facts["low_ttl"]), ("punched", &3.into()));
}

#[test]
fn turn_serves_every_pair_of_nats() {
    for a in NATS.into_iter().chain(["public"]) {
        for b in NATS.into_iter().chain(["public"]) {
            assert_eq!(path(&apart(a, b, "technique: turn")), "relayed", "{a} {b}");
        }
    }
}

#[test]
fn turn_over_udp_is_of_no_use_where_udp_is_blocked() {
    let blocked = "{ type: full-cone, outbound: { udp: off } }";
    for (a, b) in [(blocked, "full-cone"), ("full-cone", blocked)] {
        let step = apart(a, b, "technique: turn, timeout: 20s");
        assert_eq!(path(&step), "none", "{step:#?}");
        assert!(step.ended_ns - step.started_ns <= 45_000_000_000, "{step:#?}");
    }
}

#[test]
fn relay_first_begins_over_the_relay_and_ends_on_the_best_path() {
    for (a, b, last) in [
        ("port-restricted-cone", "port-restricted-cone", "punched"),
        ("symmetric", "symmetric", "relayed"),
        ("symmetric", "public", "direct"),
        ("public", "symmetric", "reversed"),
    ] {
        let step = apart(a, b, "technique: relay-first");
        assert_eq!(path(&step), last, "{a} {b}");
        assert_eq!(step.facts["paths"][0]["path"], "relayed", "{a} {b}");
    }
}

//! Single steps: what they come to, and what they say when an expectation does not hold.

use natbox::Lab;
use natbox::outcome::{Outcome, StepResult};

fn run(text: &str) -> Outcome {
    Lab::from_yaml(text).unwrap_or_else(|error| panic!("{error}")).run().unwrap_or_else(|error| panic!("{error}"))
}

/// Runs a lab of two homes and a server with these steps.
fn steps(scenario: &str) -> Vec<StepResult> {
    steps_with("full-cone", scenario)
}

fn steps_with(nat: &str, scenario: &str) -> Vec<StepResult> {
    let steps: String = scenario.lines().map(|line| format!("  {line}\n")).collect();
    let lab = format!(
        "nats: {{ home: {nat}, away: {nat} }}\nhosts:\n  alice: {{ behind: home }}\n  bob: {{ behind: away }}\n  \
         server: {{ services: [stun, turn, rendezvous, echo] }}\n  other: {{}}\nscenario:\n{steps}"
    );
    run(&lab).steps
}

#[test]
fn a_wrong_expectation_fails_the_step_and_the_outcome_and_tells_what_came() {
    let outcome = run("
nats: { home: symmetric }
hosts: { alice: { behind: home }, server: {} }
scenario:
  - send: { from: 'alice:1234', to: 'server:5678' }
    expect: { dropped: filtered, at: home }
  - ping: { from: alice, to: server }
    expect: { rtt: 1ms }
");
    assert!(!outcome.ok);
    assert_eq!(outcome.failures().count(), 2);
    let send = &outcome.steps[0];
    assert_eq!(send.expected.as_deref(), Some("dropped filtered, at home"));
    assert!(send.got.starts_with("delivered to server from 198.18.0.2:"), "{}", send.got);
    assert!(send.got.contains("not dropped for filtered") && send.got.contains("not dropped at home"), "{}", send.got);
    assert!(send.reasons.last().unwrap().contains("delivered to server"), "{:?}", send.reasons);
    assert_eq!(outcome.steps[1].facts["rtt_min_ns"], 40_000_000);
}

#[test]
fn every_expectation_of_a_packet_can_fail() {
    for (expect, broken) in [
        ("delivered: other", "not delivered to other"),
        ("from: 'home:1'", "another source"),
        ("from: 'other:*'", "another source"),
        ("dropped: loss", "not dropped for loss"),
        ("at: home", "not dropped at home"),
        ("rejected: port-unreachable", "not rejected with port-unreachable"),
        ("mapped: { same-as: before }", "before to"),
        ("mapped: { port: 9 }", "mapped to port"),
        ("mapped: { address: other }", "mapped to address"),
    ] {
        let before = "- send: { from: 'alice:1', to: 'server:2', as: before }";
        let closed = if expect.contains("unreachable") { "\n- send: { from: 'bob:1', to: 'server:2000' }" } else { "" };
        let steps = steps(&format!(
            "{before}\n- send: {{ from: 'alice:1000', to: 'server:2000' }}\n  expect: {{ {expect} }}{closed}"
        ));
        assert!(!steps[1].ok && steps[1].got.contains(broken), "{expect}: {}", steps[1].got);
    }
}

#[test]
fn a_closed_port_rejects_and_an_open_one_delivers() {
    let steps = steps(
        "- send: { from: 'alice:1000', to: 'server:9' }\n  expect: { dropped: port-unreachable, at: server, rejected: port-unreachable }\n- send: { from: 'alice:1000', to: 'server:10' }\n  expect: { delivered: server }",
    );
    assert!(steps.iter().all(|step| step.ok), "{steps:#?}");
    assert_eq!(steps[0].fact("rejected"), Some("port-unreachable"));
}

#[test]
fn a_firewall_that_filters_by_endpoint_alone_says_that_nothing_opened_it() {
    let steps = steps_with(
        "{ type: symmetric-udp-firewall, filtering: endpoint-independent }",
        "- send: { from: 'server:9', to: 'alice:1000' }\n  expect: { dropped: filtered, at: home }",
    );
    let why = steps[0].reasons.last().expect("a reason");
    assert!(why.contains("nothing has been sent from 198.19.0.2:1000"), "{why}");
}

#[test]
fn a_ping_tells_errors_by_their_names() {
    let outcome = run("
internet: { prefix6: '2001:db8::/32' }
hosts: { alice: { behind: narrow }, server: {} }
nats: { narrow: { type: none, link: { mtu: 1280 } } }
scenario:
  - ping: { from: alice, to: '2001:db8::2', size: 1400, count: 1 }
");
    assert!(outcome.steps[0].got.ends_with("reports packet-too-big"), "{}", outcome.steps[0].got);
}

#[test]
fn a_packet_that_its_sender_cuts_is_followed_in_all_its_fragments() {
    let steps = run(&format!(
        "
hosts: {{ alice: {{ link: {{ mtu: 100 }} }}, bob: {{}}, lost: {{ link: {{ loss: 100% }} }} }}
scenario:
  - send: {{ from: 'alice:1000', to: 'bob:2000', payload: '{payload}' }}
    expect: {{ delivered: bob, from: 'alice:1000' }}
  - send: {{ from: 'alice:1000', to: 'bob:2001', payload: '{payload}' }}
    expect: {{ dropped: port-unreachable, at: bob, rejected: port-unreachable }}
  - send: {{ from: 'alice:1000', to: 'lost:2000', payload: '{payload}' }}
    expect: {{ dropped: loss }}
",
        payload = "x".repeat(200)
    ));
    assert!(steps.ok, "{:#?}", steps.steps);
}

#[test]
fn a_packet_that_a_nat_drops_on_its_way_out_is_mapped_to_nothing() {
    let outcome = run("
nats: { home: { type: symmetric, ports: { range: 4000-4000 } } }
hosts: { alice: { behind: home }, server: {} }
scenario:
  - send: { from: 'alice:1', to: 'server:1', as: first }
  - send: { from: 'alice:1', to: 'server:2', as: second }
    expect: { dropped: ports-exhausted, mapped: { different-from: first } }
  - send: { from: 'server:2', to: second.mapped }
");
    let [_, second, third] = &outcome.steps[..] else { panic!("three steps") };
    assert!(!second.ok && second.got.contains("it was given no external endpoint"), "{}", second.got);
    assert!(!third.ok && third.got.contains("`second.mapped` is nowhere"), "{}", third.got);
}

#[test]
fn a_nat_may_come_back_to_an_address_that_it_had() {
    let there = "- readdress: { nat: home, address: 198.18.0.77 }\n- readdress: home\n";
    let steps = steps(&format!("{there}{there}- send: {{ from: 'server:1', to: 'home:1' }}\n  expect: {{ at: home }}"));
    assert!(steps.iter().all(|step| step.ok), "{steps:#?}");
    assert_eq!(steps[2].got, "now at 198.18.0.77");
}

#[test]
fn a_packet_to_the_sender_itself_is_there_at_once() {
    let steps = steps(
        "- send: { from: 'alice:1000', to: 'alice:2000', as: own }\n  expect: { delivered: alice, from: 'alice:1000', mapped: { address: alice } }\n- send: { from: 'alice:1000', to: 'alice:3000' }\n  expect: { dropped: port-unreachable, at: alice }",
    );
    assert!(steps.iter().all(|step| step.ok), "{steps:#?}");
    assert!(steps.iter().all(|step| step.ended_ns == 0), "{steps:#?}");
}

#[test]
fn a_packet_that_runs_out_of_hops_is_rejected_by_the_router() {
    let steps = steps(
        "- send: { from: 'alice:1000', to: 'server:10', ttl: 2 }\n  expect: { dropped: ttl-expired, at: internet, rejected: ttl-exceeded }",
    );
    assert!(steps[0].ok, "{steps:#?}");
}

#[test]
fn a_packet_to_nobody_on_the_outer_network_is_rejected_by_the_gateway() {
    let text = "
nats: { carrier: cgn, home: { type: full-cone, behind: carrier } }
hosts: { alice: { behind: home } }
scenario:
  - send: { from: 'alice:1000', to: '10.0.0.77:9' }
    expect: { dropped: no-neighbour, at: home, rejected: host-unreachable }
";
    let outcome = Lab::from_yaml(text).unwrap().run().unwrap();
    assert!(outcome.ok, "{outcome:#?}");
}

#[test]
fn a_mapping_expires_and_its_successor_is_another() {
    let steps = steps_with(
        "symmetric",
        "\
- send: { from: 'alice:1234', to: 'server:5678', as: p1 }
- send: { from: 'server:5678', to: p1.mapped }
  expect: { delivered: alice, from: 'server:5678' }
- send: { from: 'server:7777', to: p1.mapped }
  expect: { dropped: filtered, at: home }
- wait: 301s
- send: { from: 'server:5678', to: p1.mapped }
  expect: { dropped: no-mapping, at: home }
- send: { from: 'alice:1234', to: 'server:5678', as: p2 }
  expect: { delivered: server, mapped: { different-from: p1, address: home } }
- send: { from: 'alice:1234', to: 'server:5678', as: p3 }
  expect: { mapped: { same-as: p2 } }",
    );
    assert!(steps.iter().all(|step| step.ok), "{steps:#?}");
    assert!(steps[4].reasons.last().unwrap().contains("it was idle for its whole lifetime"), "{:?}", steps[4].reasons);
    assert_eq!(steps[3].ended_ns - steps[3].started_ns, 301_000_000_000);
}

#[test]
fn a_reboot_loses_mappings_and_a_new_address_moves_the_nat() {
    let steps = steps(
        "\
- send: { from: 'alice:1234', to: 'server:5678', as: p1 }
- reboot: home
- send: { from: 'server:5678', to: p1.mapped }
  expect: { dropped: no-mapping, at: home }
- send: { from: 'alice:1234', to: 'server:5678', as: p2 }
- readdress: { nat: home, address: 198.18.9.9 }
- send: { from: 'server:5678', to: p2.mapped }
  expect: { dropped: no-route, at: internet, rejected: net-unreachable }
- send: { from: 'alice:1234', to: 'server:5678' }
  expect: { delivered: server, from: 'home:1234', mapped: { address: 198.18.9.9 } }",
    );
    let told: Vec<_> = steps.iter().filter(|step| !step.ok).collect();
    assert!(told.is_empty(), "{told:#?}");
}

#[test]
fn a_cut_link_loses_everything_until_it_is_mended() {
    let steps = steps(
        "\
- cut: home
- send: { from: 'alice:1', to: 'server:1' }
  expect: { dropped: link-cut, at: home }
- connect: { from: alice, to: bob }
  expect: none
- mend: home
- connect: { from: alice, to: bob }
  expect: punched",
    );
    assert!(steps.iter().all(|step| step.ok), "{steps:#?}");
}

#[test]
fn every_path_comes_about_where_it_must() {
    let lab = "
nats:
  home: { type: port-restricted-cone, hairpin: external-source }
  away: symmetric
hosts:
  alice: { behind: home }
  anna: { behind: home }
  bob: { behind: away }
  pub-a: {}
  pub-b: {}
  server: { services: [stun, turn, rendezvous] }
scenario:
  - connect: { from: alice, to: anna }
    expect: local
  - connect: { from: alice, to: anna, allow: hairpinned }
    expect: hairpinned
  - connect: { from: alice, to: pub-a }
    expect: direct
  - connect: { from: pub-a, to: pub-b }
    expect: direct
  - connect: { from: pub-b, to: alice }
    expect: reversed
  - connect: { from: alice, to: bob }
    expect: relayed
  - connect: { from: alice, to: bob, allow: [direct, punched] }
    expect: none
  - call: { from: pub-a, to: pub-b, for: 1s, rate: 64kbit, size: 200 }
    expect: { path: direct, loss: 0%, delay: 20ms }
";
    let outcome = run(lab);
    let failed: Vec<_> = outcome.failures().collect();
    assert!(failed.is_empty(), "{failed:#?}");
    assert_eq!(outcome.steps[7].facts["sent"], 80);
}

#[test]
fn a_punch_needs_peer_reflexive_learning_where_one_side_maps_by_destination() {
    let lab = |learning: &str, expect: &str| {
        format!(
            "
nats: {{ home: restricted-cone, away: symmetric }}
hosts:
  alice: {{ behind: home }}
  bob: {{ behind: away }}
  server: {{ services: [stun, turn, rendezvous] }}
scenario:
  - punch: {{ from: alice, to: bob, peer_reflexive: {learning} }}
    expect: {expect}
"
        )
    };
    for text in [lab("on", "punched"), lab("off", "none")] {
        let outcome = run(&text);
        assert!(outcome.ok, "{:#?}", outcome.steps);
    }
}

#[test]
fn a_path_that_takes_too_long_fails_its_step() {
    let steps = steps("- connect: { from: alice, to: bob }\n  expect: { path: punched, within: 1ms }");
    assert!(!steps[0].ok && steps[0].got.contains("not within 1ms"), "{}", steps[0].got);
}

#[test]
fn a_host_with_two_uplinks_can_lose_one() {
    let outcome = run("
nats: { home: full-cone, away: full-cone }
hosts:
  carol: { behind: [home, away] }
  server: {}
scenario:
  - send: { from: 'carol:2000', to: 'server:2000' }
    expect: { delivered: server, from: 'home:2000' }
  - cut: { node: carol, behind: home }
  - send: { from: 'carol:2000', to: 'server:2000' }
    expect: { dropped: link-cut, at: carol }
  - send: { from: '10.0.1.2:2000', to: 'server:2000' }
    expect: { delivered: server, from: 'away:2000' }
");
    let failed: Vec<_> = outcome.failures().collect();
    assert!(failed.is_empty(), "{failed:#?}");
}

#[test]
fn the_outcome_names_its_mappings_drops_and_choices() {
    let outcome = run("
nats: { home: full-cone }
hosts: { alice: { behind: home }, server: {} }
scenario:
  - send: { from: 'alice:2000', to: 'server:2000' }
  - send: { from: 'server:2000', to: 'alice:2000' }
");
    let json: serde_json::Value = serde_json::from_str(&outcome.to_json()).unwrap();
    assert_eq!(json["natbox"], 1);
    assert_eq!(json["drops"]["private-destination"], 1);
    assert_eq!(json["mappings"][0]["nat"], "home");
    assert_eq!(json["mappings"][0]["external"], "198.18.0.2:2000");
    assert_eq!(json["nats"]["home"]["filter_scope"], "mapping");
    assert_eq!(json["steps"][1]["facts"]["dropped"], "private-destination");
    assert_eq!(json["elapsed_ns"], 30_000_000);
}

#[test]
fn behind_a_box_that_translates_nothing_hosts_have_public_addresses() {
    let outcome = run("
nats:
  router: none
  fire: symmetric-udp-firewall
  inner: { type: none, behind: router }
  home: full-cone
  flat: { type: none, behind: home, inside: 192.168.7.0/24 }
hosts:
  open: { behind: router }
  deep: { behind: inner }
  shut: { behind: fire }
  poor: { behind: flat }
  pub: { services: [stun, turn, rendezvous] }
scenario:
  - send: { from: 'pub:2000', to: 'open:2000' }
    expect: { delivered: open, from: 'pub:2000' }
  - send: { from: 'pub:2000', to: 'deep:2000' }
    expect: { delivered: deep, from: 'pub:2000' }
  - send: { from: 'deep:3000', to: 'open:2000' }
    expect: { delivered: open, from: 'deep:3000' }
  - send: { from: 'pub:2000', to: 'shut:2000' }
    expect: { dropped: filtered, at: fire }
  - send: { from: 'shut:2000', to: 'pub:2000' }
    expect: { delivered: pub, from: 'shut:2000' }
  - send: { from: 'pub:2000', to: 'shut:2000' }
    expect: { delivered: shut }
  - send: { from: 'poor:2000', to: 'pub:2000', as: poor }
    expect: { delivered: pub, from: 'home:2000' }
  - send: { from: 'pub:2000', to: poor.mapped }
    expect: { delivered: poor }
  - discover: shut
    expect: { mapping: none, classic: symmetric-udp-firewall }
  - connect: { from: pub, to: open }
    expect: direct
");
    let failed: Vec<_> = outcome.failures().collect();
    assert!(failed.is_empty(), "{failed:#?}");
}

#[test]
fn ipv6_is_delegated_through_nested_firewalls_and_translated_where_asked() {
    let outcome = run("
internet: { prefix6: '2001:db8::/48' }
nats:
  home: {}
  inner: { behind: home }
  own: { ipv6: napt, behind: inner }
  last: { behind: own }
hosts:
  alice: { behind: inner, address: '2001:db8:0:2::a' }
  nora: { behind: own }
  lena: { behind: last }
  server: { address: '2001:db8::99' }
scenario:
  - ping: { from: alice, to: '2001:db8::99' }
    expect: { loss: 0% }
  - ping: { from: nora, to: '2001:db8::99' }
    expect: { loss: 0% }
  - ping: { from: lena, to: '2001:db8::99' }
    expect: { loss: 0% }
  - send: { from: 'alice:5000', to: '[2001:db8::99]:5000', as: alice }
    expect: { delivered: server, from: '[2001:db8:0:2::a]:5000' }
  - send: { from: 'nora:5000', to: '[2001:db8::99]:5000' }
    expect: { delivered: server, from: 'own:*' }
  - send: { from: 'lena:5000', to: '[2001:db8::99]:5000' }
    expect: { delivered: server, from: 'own:*' }
  - send: { from: 'server:5000', to: alice.mapped }
    expect: { delivered: alice }
");
    let failed: Vec<_> = outcome.failures().collect();
    assert!(failed.is_empty(), "{failed:#?}");
}

#[test]
fn a_lab_without_a_scenario_runs_and_holds() {
    let outcome = run("hosts: { a: }");
    assert!(outcome.ok && outcome.steps.is_empty());
    assert_eq!((outcome.elapsed_ns, outcome.packets), (0, 0));
}

#[test]
fn the_reasons_of_a_packet_tell_each_hop_once_though_a_router_takes_it_and_sends_it_on() {
    let step = &steps("- send: { from: 'server:1', to: 'home:2' }")[0];
    let expected = [
        "0.000s: sent by server",
        "0.010s: routed by internet",
        "0.020s: dropped at home: no-mapping: nothing inside has 198.18.0.2:2",
    ];
    assert_eq!(step.reasons, expected);
}

#[test]
fn a_path_that_works_but_is_not_allowed_is_told_where_nothing_else_came_through() {
    let outcome = run("
nats: { home: full-cone }
hosts: { alice: { behind: home }, bob: {}, server: { services: [stun, rendezvous] } }
scenario:
  - connect: { from: alice, to: bob, allow: punched }
");
    let got: Vec<&str> = outcome.steps.iter().map(|step| step.got.as_str()).collect();
    assert!(got[0].starts_with("none: nothing that is allowed came through within "), "{got:?}");
    assert!(got[0].contains(": works (direct), but that was not asked for"), "{got:?}");
}

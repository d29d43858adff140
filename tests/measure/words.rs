//! Each word of each axis that can be seen is found where it is configured.

use natbox::Lab;

/// The same lab with these axes of its NAT, and what `measure` is to find.
fn finds(axes: &str, expect: &str) {
    let text = format!(
        "nats: {{ home: {{ {axes} }} }}\n\
         hosts: {{ alice: {{ behind: home }}, server: {{ services: stun }} }}\n\
         scenario:\n  - measure: {{ from: alice, timers: 5min }}\n    expect: {{ {expect} }}\n"
    );
    let lab = Lab::from_yaml(&text).unwrap_or_else(|error| panic!("{text}{error}"));
    let outcome = lab.run().expect("a run");
    let step = &outcome.steps[0];
    assert!(step.ok, "{axes}: expected {expect}, got {}; {}", step.got, step.facts["unknown"]);
}

#[test]
fn all_nine_combinations_of_mapping_and_filtering_are_found_over_udp_and_the_mapping_over_tcp() {
    let words = ["endpoint-independent", "address-dependent", "address-and-port-dependent"];
    for mapping in words {
        for filtering in words {
            finds(
                &format!("mapping: {mapping}, filtering: {filtering}"),
                &format!("mapping: {mapping}, tcp_mapping: {mapping}, filtering: {filtering}"),
            );
        }
    }
    let axes = "mapping: { udp: endpoint-independent, tcp: address-dependent }";
    finds(axes, "mapping: endpoint-independent, tcp_mapping: address-dependent");
}

#[test]
fn what_permissions_are_tied_to_is_found_where_a_host_has_several_mappings() {
    for mapping in ["address-dependent", "address-and-port-dependent"] {
        for filtering in ["address-dependent", "address-and-port-dependent"] {
            for scope in ["mapping", "endpoint"] {
                let axes = format!("mapping: {mapping}, filtering: {filtering}, filter_scope: {scope}");
                finds(&axes, &format!("filter_scope: {scope}"));
            }
        }
    }
}

#[test]
fn session_affinity_is_found_where_somebody_comes_in_who_was_not_sent_to() {
    for (mapping, filtering) in [
        ("address-dependent", "endpoint-independent"),
        ("address-and-port-dependent", "endpoint-independent"),
        ("address-and-port-dependent", "address-dependent"),
    ] {
        for affinity in ["on", "off"] {
            let axes = format!("mapping: {mapping}, filtering: {filtering}, session_affinity: {affinity}");
            finds(&axes, &format!("session_affinity: {affinity}"));
        }
    }
}

#[test]
fn hairpinning_is_found_with_its_source_and_its_filter() {
    for hairpin in ["external-source", "internal-source", "router-source", "off"] {
        finds(&format!("hairpin: {hairpin}"), &format!("hairpin: {hairpin}"));
    }
    for filter in ["apply", "bypass"] {
        let axes = format!("filtering: address-and-port-dependent, hairpin_filter: {filter}");
        finds(&axes, &format!("hairpin_filter: {filter}"));
    }
}

#[test]
fn early_inbound_is_found_where_ports_are_preserved() {
    for word in ["ignore", "remap"] {
        let axes = format!("type: linux-masquerade, early_inbound: {word}");
        finds(&axes, &format!("early_inbound: {word}"));
    }
}

#[test]
fn the_rule_of_the_ports_is_found() {
    finds("ports: { allocation: preserve }", "allocation: preserve");
    finds("ports: { allocation: random }", "allocation: random");
    for delta in [1, 2, 7] {
        let axes = format!("ports: {{ allocation: sequential, delta: {delta} }}, mapping: address-and-port-dependent");
        finds(&axes, "allocation: sequential");
    }
    for parity in ["preserve", "ignore"] {
        finds(&format!("ports: {{ parity: {parity} }}"), &format!("parity: {parity}"));
    }
    for class in ["same", "netfilter"] {
        finds(&format!("ports: {{ class: {class} }}"), &format!("class: {class}"));
    }
    for contiguity in ["none", "reserve-next"] {
        finds(&format!("ports: {{ contiguity: {contiguity} }}"), &format!("contiguity: {contiguity}"));
    }
}

#[test]
fn a_pool_of_addresses_is_found_as_far_as_one_host_uses_it() {
    for pooling in ["arbitrary", "arbitrary-round-robin"] {
        finds(&format!("addresses: 4, pooling: {pooling}"), &format!("pooling: {pooling}"));
    }
}

#[test]
fn every_stage_has_a_lifetime_of_its_own() {
    let axes = "timeouts: { udp_unreplied: 17s, udp: 44s, udp_stream: 151s }";
    finds(axes, "udp_unreplied: 17s, udp: 44s, udp_stream: 151s");
    finds(
        "type: symmetric, timeouts: { udp_unreplied: 61s, udp: 33s, udp_stream: 12s }",
        "udp_unreplied: 61s, udp: 33s, udp_stream: 12s",
    );
    finds("timeouts: { udp: 1500ms }", "udp: 1500ms, udp_unreplied: 1500ms");
}

#[test]
fn the_direction_that_refreshes_is_found() {
    for refresh in ["outbound", "inbound", "both", "none"] {
        for filtering in ["endpoint-independent", "address-and-port-dependent"] {
            let axes = format!("refresh: {refresh}, filtering: {filtering}, timeouts: {{ udp: 60s }}");
            finds(&axes, &format!("refresh: {refresh}"));
        }
    }
}

#[test]
fn a_firewall_that_translates_nothing_has_timers_too() {
    finds(
        "type: symmetric-udp-firewall, refresh: both, timeouts: { udp: 30s, udp_stream: 120s }",
        "filtering: address-and-port-dependent, udp: 30s, udp_stream: 120s, refresh: both",
    );
}

#[test]
fn ipv6_is_measured_like_ipv4() {
    let text = "
internet: { prefix6: '2001:db8::/32' }
nats: { home: { ipv6: napt, mapping: address-and-port-dependent, filtering: address-dependent, hairpin: 'off' } }
hosts: { alice: { behind: home }, server: { services: stun } }
scenario:
  - measure: { from: alice, family: ipv6 }
    expect: { mapping: address-and-port-dependent, filtering: address-dependent, filter_scope: mapping }
";
    let outcome = Lab::from_yaml(text).expect("a lab").run().expect("a run");
    assert!(outcome.ok, "{}", outcome.to_json());
}

#[test]
fn a_lifetime_that_is_not_searched_for_cannot_be_expected() {
    let text = "
nats: { home: symmetric }
hosts: { alice: { behind: home }, server: { services: stun } }
scenario:
  - measure: alice
    expect: { udp: 30s }
";
    let mistakes = Lab::from_yaml(text).expect_err("a mistake").to_string();
    assert!(mistakes.contains("expected but not searched for") && mistakes.contains("timers: 5min"), "{mistakes}");
}

#[test]
fn what_is_found_is_in_the_facts_and_what_is_not_is_there_with_its_reason() {
    let text = "
nats: { home: linux-masquerade }
hosts: { alice: { behind: home }, server: { services: stun } }
scenario:
  - measure: alice
";
    let outcome = Lab::from_yaml(text).expect("a lab").run().expect("a run");
    let facts = &outcome.steps[0].facts;
    assert_eq!(facts["axes"]["mapping.udp"], "endpoint-independent");
    assert_eq!(facts["unknown"]["timeouts.udp"], "timers were not asked for");
    assert_eq!(facts["ports_seen"]["preserved"], 16);
}

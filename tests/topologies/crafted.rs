//! Steps whose packets no socket sends: TCP segments, ICMP messages, fragments and wrong checksums by hand.

use natbox::Lab;
use natbox::outcome::StepResult;

fn steps_with(nat: &str, scenario: &str) -> Vec<StepResult> {
    let steps: String = scenario.trim().lines().map(|line| format!("  {line}\n")).collect();
    let text = format!(
        "nats: {{ home: {nat} }}\nhosts:\n  alice: {{ behind: home }}\n  server: {{ services: echo }}\n  other: {{}}\n\
         scenario:\n{steps}"
    );
    let lab = Lab::from_yaml(&text).unwrap_or_else(|error| panic!("{error}"));
    lab.run().unwrap_or_else(|error| panic!("{error}")).steps
}

fn hold(nat: &str, scenario: &str) -> Vec<StepResult> {
    let steps = steps_with(nat, scenario);
    assert!(steps.iter().all(|step| step.ok), "{steps:#?}");
    steps
}

fn mistakes(scenario: &str) -> String {
    let text = format!(
        "hosts: {{ alice: {{}}, bob: {{}} }}\nscenario:\n  - send: {{ from: 'alice:1', to: 'bob:2', as: p }}\n  - {scenario}\n"
    );
    Lab::from_yaml(&text).map(|_| ()).expect_err(scenario).to_string()
}

#[test]
fn a_handshake_by_hand_passes_a_nat_and_no_host_answers_for_it() {
    let steps = hold(
        "symmetric",
        "
- send: { from: 'alice:1000', to: 'server:80', tcp: syn, seq: 100, as: syn }
  expect: { delivered: server, from: 'home:*' }
- send: { from: 'server:80', to: syn.mapped, tcp: syn-ack, seq: 300, ack: 101 }
  expect: { delivered: alice, from: 'server:80' }
- send: { from: 'alice:1000', to: 'server:80', tcp: ack, seq: 101, ack: 301, as: ack }
  expect: { delivered: server, mapped: { same-as: syn } }
- send: { from: 'other:80', to: syn.mapped, tcp: [syn, ack] }
  expect: { dropped: filtered, at: home }
",
    );
    assert_eq!(steps[0].description, "send tcp syn alice:1000 -> server:80");
    // One way takes 20 ms, and nothing is left under way that a step would wait for.
    assert_eq!(steps[2].ended_ns - steps[0].started_ns, 60_000_000);
}

#[test]
fn a_segment_to_a_closed_port_is_answered_by_the_host_with_a_rst_and_a_server_by_itself() {
    hold(
        "symmetric",
        "
- send: { from: 'alice:1000', to: 'server:81', tcp: syn }
  expect: { dropped: port-unreachable, at: server, rejected: rst }
- send: { from: 'alice:1000', to: 'server:7', tcp: syn }
  expect: { delivered: server }
",
    );
}

#[test]
fn an_echo_keeps_the_identifier_of_its_mapping() {
    hold(
        "symmetric",
        "
- send: { from: alice, to: server, icmp: echo, id: 77, as: echo }
  expect: { delivered: server, from: 'home:*' }
- send: { from: server, to: echo.mapped, icmp: echo-reply }
  expect: { delivered: alice, from: 'server:77' }
- send: { from: other, to: echo.mapped, icmp: echo-reply }
  expect: { dropped: filtered, at: home }
",
    );
}

#[test]
fn an_icmp_error_reaches_whoever_sent_the_packet_that_it_is_about() {
    let steps = hold(
        "symmetric",
        "
- send: { from: 'alice:1000', to: 'server:80', tcp: syn, as: syn }
- send: { from: other, icmp: { error: packet-too-big, about: syn, mtu: 1280 } }
  expect: { delivered: alice, from: 'other:*' }
- send: { from: 'alice:1000', to: 'server:53', as: query }
- send: { from: server, icmp: { error: port-unreachable, about: query } }
  expect: { delivered: alice }
- send: { from: server, icmp: { error: port-unreachable, about: query }, checksum: wrong }
  expect: { dropped: bad-transport-checksum }
- reboot: home
- send: { from: server, icmp: { error: host-unreachable, about: query } }
  expect: { at: home }
",
    );
    assert_eq!(steps[1].description, "send packet-too-big about syn from other");
}

#[test]
fn a_wrong_checksum_is_found_by_the_receiver() {
    for packet in ["to: 'other:9'", "to: 'other:9', tcp: syn", "to: 'other:9', payload: ''"] {
        let send = format!("- send: {{ from: 'server:1', {packet}, checksum: wrong }}");
        let right = send.replace("wrong", "right");
        hold(
            "none",
            &format!(
                "{send}\n  expect: {{ dropped: bad-transport-checksum, at: other }}\n{right}\n  expect: {{ delivered: other }}"
            ),
        );
    }
}

#[test]
fn fragments_come_in_any_order_and_not_without_one_of_them() {
    let payload = "x".repeat(150);
    let send = |order: &str, expect: &str| {
        format!(
            "- send: {{ from: 'server:1', to: 'other:2', payload: {payload}, fragments: {{ mtu: 84{order} }} }}\n  expect: {{ {expect} }}\n"
        )
    };
    hold(
        "none",
        &[
            send("", "delivered: other"),
            send(", order: [3, 1, 2]", "delivered: other"),
            send(", order: [1, 3]", "held: other"),
            send(", order: [2, 3]", "dropped: reassembly-timeout, at: other, after: 30s..31s"),
        ]
        .concat(),
    );
}

#[test]
fn a_packet_that_nobody_may_fragment_is_rejected_by_the_narrow_link() {
    let outcome = Lab::from_yaml(&format!(
        "
hosts: {{ alice: {{}}, narrow: {{ link: {{ mtu: 100 }} }} }}
scenario:
  - send: {{ from: 'alice:1', to: 'narrow:2', payload: {payload}, dont_fragment: on }}
    expect: {{ dropped: too-big, at: internet, rejected: packet-too-big }}
  - send: {{ from: 'alice:1', to: 'narrow:2', payload: {payload} }}
    expect: {{ delivered: narrow }}
",
        payload = "x".repeat(150)
    ))
    .unwrap()
    .run()
    .unwrap();
    assert!(outcome.ok, "{:#?}", outcome.steps);
}

#[test]
fn every_expectation_of_a_crafted_packet_can_fail() {
    for (expect, broken) in [
        ("held: home", "not held at home"),
        ("after: ..1ms", "under way for 20ms"),
        ("rejected: rst", "not rejected with rst"),
        ("mapped: { class: dynamic }", "mapped to port 1000"),
        ("mapped: { parity: odd }", "mapped to port 1000"),
        ("expires: 241s", "another lifetime: 240000ms"),
        ("expires: { home: ..239s }", "another lifetime: 240000ms"),
    ] {
        let steps = steps_with(
            "full-cone",
            &format!(
                "- send: {{ from: 'alice:5000', to: 'server:80', tcp: syn }}\n  expect: {{ {expect} }}\n- send: {{ from: 'other:1', to: 'server:80', tcp: syn }}"
            ),
        );
        let broken = broken.trim_end_matches("1000");
        assert!(!steps[0].ok && steps[0].got.contains(broken), "{expect}: {}", steps[0].got);
    }
}

#[test]
fn what_contradicts_itself_is_a_mistake() {
    for (step, mistake) in [
        ("send: { from: 'alice:1', to: 'bob:2', tcp: syn, icmp: echo }", "TCP and ICMP"),
        ("send: { from: 'alice:1', to: 'bob:2', seq: 1 }", "does not have"),
        ("send: { from: 'alice:1', to: 'bob:2', tcp: syn, id: 1 }", "does not have"),
        ("send: { from: 'alice:1', to: bob, icmp: echo }", "ICMP has no ports"),
        ("send: { from: alice, to: 'bob:1', icmp: echo }", "ICMP has no ports"),
        ("send: { from: alice, to: 'bob:1' }", "no port"),
        ("send: { from: 'alice:1' }", "`to` is missing"),
        ("send: { from: alice, icmp: { error: rst, about: p } }", "rst"),
        ("send: { from: alice, to: bob, icmp: { error: port-unreachable, about: p } }", "`to` of an ICMP error"),
        ("send: { from: bob, icmp: { error: packet-too-big, about: p } }", "MTU"),
        ("send: { from: bob, icmp: { error: port-unreachable, about: q } }", "no earlier packet is called `q`"),
        ("send: { from: 'alice:1', to: 'bob:2', dont_fragment: on, fragments: { mtu: 68 } }", "nobody may fragment"),
        ("{ send: { from: 'alice:1', to: 'bob:2' }, expect: { held: bob, delivered: bob } }", "not come to its end"),
    ] {
        let told = mistakes(step);
        assert!(told.contains(mistake), "{step}: {told}");
    }
}

#[test]
fn what_cannot_be_sent_or_answered_is_a_mistake_of_the_file() {
    for (step, mistake) in [
        ("send: { from: 'alice:1', to: 'bob:2', size: 99, fragments: { mtu: 68, order: [4] } }", "it comes in 3"),
        ("send: { from: 'alice:1', to: 'bob:2', fragments: { mtu: 68 } }", "34 bytes: it fits, and is not cut"),
        ("send: { from: 'alice:1', to: '[2001:db8::9]:2', dont_fragment: on }", "no IPv6 address"),
        ("send: { from: 'alice:1', to: '127.0.0.1:2' }", "no link leads to 127.0.0.1"),
        ("send: { from: 'alice:1', to: 'alice:2', tcp: syn }", "for its own sender"),
        ("send: { from: 'alice:1', to: 'bob:2', tcp: syn, size: 65507 }", "no IP packet can be so large"),
        ("send: { from: 'alice:1', to: 'bob:2', payload: '', size: 5 }", "a size of an empty payload"),
        ("send: { from: 'alice:1', to: 'bob:2', tcp: ack, mss: 1400 }", "an option that only a SYN has"),
        ("send: { from: 'alice:1', to: 'bob:2', window_scale: 3 }", "does not have"),
        ("{ send: { from: 'alice:1', to: 'bob:2' }, expect: { rejected: rst } }", "a RST answers TCP"),
        ("{ send: { from: 'alice:1', to: 'bob:2', tcp: rst }, expect: { rejected: rst } }", "a RST with a RST"),
        ("{ send: { from: 'alice:1', to: 'bob:2' }, expect: { rejected: packet-too-big } }", "dont_fragment: on"),
        ("{ send: { from: 'alice:1', to: 'bob:2' }, expect: { rejected: reassembly-time-exceeded } }", "is not cut"),
        (
            "{ send: { from: bob, icmp: { error: port-unreachable, about: p } }, expect: { rejected: port-unreachable } }",
            "nobody answers an ICMP error",
        ),
        ("{ send: { from: 'alice:1', to: 'bob:2' }, expect: { held: bob } }", "never holds such a packet"),
        ("{ send: { from: 'alice:1', to: 'bob:2', tcp: syn }, expect: { held: internet } }", "never holds"),
        ("{ send: { from: 'alice:1', to: 'bob:2' }, expect: { after: 61s.. } }", "followed for 1min at most"),
        ("{ send: { from: 'alice:1', to: 'bob:2' }, expect: { expires: 30s } }", "a lab without a NAT"),
    ] {
        let told = mistakes(step);
        assert!(told.contains(mistake), "{step}: {told}");
    }
    for (lab, mistake) in [
        ("send: { from: 'alice:1', to: '[2001:db8::9]:2', dont_fragment: on }", "nobody but the sender fragments"),
        ("send: { from: '198.18.9.9:1', to: '[2001:db8::9]:2' }", "two IP versions"),
        ("send: { from: 'bob:7', to: 'alice:1' }", "`echo` on `bob` has UDP port 7"),
        ("{ send: { from: 'alice:1', to: 'bob:2' }, expect: { expires: { bob: 30s } } }", "`bob` is a host"),
        ("{ count: home, expect: { drops: { filterd: 1 } } }", "did you mean `filtered`"),
    ] {
        let text = format!(
            "internet: {{ prefix6: '2001:db8::/32' }}\nnats: {{ home: {{}} }}\nhosts: {{ alice: {{ behind: home }}, bob: {{ services: echo, address: 198.18.9.9 }} }}\nscenario:\n  - {lab}\n"
        );
        let told = Lab::from_yaml(&text).map(|_| ()).expect_err(lab).to_string();
        assert!(told.contains(mistake), "{lab}: {told}");
    }
}

#[test]
fn a_lifetime_is_read_off_every_nat_on_the_way_without_waiting() {
    let outcome = Lab::from_yaml(
        "
nats:
  carrier: { timeouts: { udp: 200s } }
  home: { behind: carrier, timeouts: { udp: 100s } }
hosts: { alice: { behind: home }, server: {} }
scenario:
  - send: { from: 'alice:1', to: 'server:2', as: p }
    expect: { expires: { home: 100s, carrier: 200s } }
  - wait: 50s
  - send: { from: 'server:2', to: p.mapped }
    expect: { delivered: alice, expires: 49.96s }
  - send: { from: 'alice:1', to: 'server:2' }
    expect: { expires: 200s }
  - wait: 100s
  - send: { from: 'server:2', to: p.mapped }
    expect: { dropped: no-mapping, at: home, expires: { carrier: 99.96s } }
",
    )
    .unwrap()
    .run()
    .unwrap();
    assert!(outcome.ok, "{:#?}", outcome.steps);
}

#[test]
fn a_syn_carries_the_options_that_it_is_given() {
    // A window scale multiplies what fits into a window: without one, the same segment is beyond it.
    for (options, expect) in [(", window_scale: 7, mss: 1400", "delivered: server"), ("", "dropped: out-of-window")] {
        let scenario = format!(
            "
- send: {{ from: 'alice:1000', to: 'server:80', tcp: syn, seq: 100{options}, as: syn }}
- send: {{ from: 'server:80', to: syn.mapped, tcp: syn-ack, seq: 300, ack: 101, window: 1000{options} }}
- send: {{ from: 'alice:1000', to: 'server:80', tcp: ack, seq: 101, ack: 301 }}
- send: {{ from: 'server:80', to: syn.mapped, tcp: ack, seq: 301, ack: 101, window: 1000 }}
- send: {{ from: 'alice:1000', to: 'server:80', tcp: ack, seq: 50101, ack: 301, size: 100 }}
  expect: {{ {expect} }}
"
        );
        hold("{ tcp_window: strict }", &scenario);
    }
}

#[test]
fn mappings_and_drops_of_a_nat_are_counted() {
    let scenario = "
- count: home
  expect: { mappings: 0, dropped: 0 }
- send: { from: 'alice:1000', to: 'server:80', tcp: syn, as: syn }
- send: { from: 'alice:1000', to: 'server:53' }
- send: { from: alice, to: server, icmp: echo }
- send: { from: 'other:1', to: syn.mapped, tcp: ack }
- count: home
  expect: { mappings: 3, sessions: 3, dropped: 1, drops: { no-session: 1, filtered: 0 } }
- wait: 61s
- count: home
  expect: { mappings: 2 }
";
    hold("{ timeouts: { icmp: 60s } }", scenario);
    let steps = steps_with("{}", "- count: home\n  expect: { mappings: 1, dropped: 2 }");
    assert_eq!(steps[0].got, "mappings 0, sessions 0, dropped 0 (not 1 mappings; not 2 dropped)");
    let steps = steps_with(
        "symmetric",
        "- send: { from: 'other:1', to: 'home:9' }\n- count: home\n  expect: { sessions: 1, drops: { no-mapping: 2, filtered: 1 } }",
    );
    let got = "mappings 0, sessions 0, dropped 1: 1 no-mapping (not 1 sessions; not 2 no-mapping; not 1 filtered)";
    assert_eq!(steps[1].got, got);
}

#[test]
fn a_mapping_is_waited_for_until_it_ends() {
    let scenario = "
- send: { from: 'alice:1000', to: 'server:80', as: datagram }
- send: { from: 'alice:1000', to: 'server:80', tcp: syn, as: syn }
- expire: datagram
  expect: { after: 29s..30s }
- expire: syn
  expect: { after: 200s..211s }
- count: home
  expect: { mappings: 0 }
";
    hold("{ timeouts: { udp: 30s, tcp_opening: 4min } }", scenario);
    let steps = steps_with(
        "{ timeouts: { udp: 30s } }",
        "- send: { from: 'alice:1', to: 'server:2', as: p }\n- expire: p\n  expect: { after: 40s.. }\n- expire: p",
    );
    assert!(!steps[1].ok && steps[1].got.contains("expired after 29980ms (earlier or later"), "{}", steps[1].got);
    assert!(!steps[2].ok && steps[2].got.contains("no NAT has a mapping"), "{}", steps[2].got);
}

//! Steps that change a NAT or a link in use.

use natbox::{Lab, LabError};

const LAB: &str = "nats: { home: full-cone, inner: { type: symmetric, behind: home } }\n\
                   hosts: { alice: { behind: [home, inner] }, server: {}, stranger: {} }\nscenario:\n";

fn run(steps: &str) -> natbox::outcome::Outcome {
    let text = format!("{LAB}{steps}");
    Lab::from_yaml(&text).and_then(|lab| lab.run()).unwrap_or_else(|error| panic!("{error}\n{text}"))
}

fn holds(steps: &str) {
    let outcome = run(steps);
    assert!(outcome.ok, "{:#?}", outcome.failures().collect::<Vec<_>>());
}

/// What is wrong with these steps.
fn mistakes(steps: &str) -> String {
    match Lab::from_yaml(&format!("{LAB}{steps}")) {
        Err(LabError::Topology(mistakes)) => mistakes.to_string(),
        Err(other) => panic!("{other}"),
        Ok(_) => panic!("nothing is wrong with {steps}"),
    }
}

#[test]
fn every_change_begins_with_what_the_ones_before_it_came_to() {
    holds(
        "  - set: { nat: home, timeouts: { udp: 30s }, filtering: { udp: address-dependent } }
  - set: { nat: home, timeouts: { icmp: 5s } }
  - send: { from: 'alice:1', to: 'server:2', as: p }
    expect: { expires: 30s }
  - send: { from: 'stranger:3', to: p.mapped }
    expect: { dropped: filtered }
  - set: { nat: home, filtering: endpoint-independent }
  - send: { from: 'stranger:3', to: p.mapped }
    expect: { delivered: alice }
",
    );
}

#[test]
fn a_host_that_moved_sends_and_is_sent_to_where_it_is_now() {
    holds(
        "  - send: { from: 'stranger:3', to: 'server:2' }
    expect: { delivered: server }
  - move: { host: stranger, behind: home }
  - send: { from: 'stranger:3', to: 'server:2', as: p }
    expect: { delivered: server, from: 'home:*' }
  - send: { from: 'server:2', to: p.mapped }
    expect: { delivered: stranger }
  - send: { from: 'alice:1', to: 'stranger:3' }
    expect: { delivered: stranger }
",
    );
}

#[test]
fn what_a_step_changed_stands_in_the_capture_and_explains_drops_after_it() {
    let lab = format!(
        "{LAB}  - send: {{ from: 'alice:1', to: 'server:2', as: p }}
  - set: {{ nat: home, filtering: address-and-port-dependent }}
  - link: {{ of: home, loss: 100% }}
  - send: {{ from: 'stranger:3', to: p.mapped }}
    expect: {{ dropped: loss }}
  - link: {{ of: home, loss: 0% }}
  - send: {{ from: 'stranger:3', to: p.mapped }}
    expect: {{ dropped: filtered }}
"
    );
    let outcome = Lab::from_yaml(&lab).and_then(|lab| lab.run()).expect("it runs");
    let told: Vec<&str> = outcome.steps.iter().map(|step| step.description.as_str()).collect();
    assert_eq!(told[1], "set filtering address-and-port-dependent of home");
    assert_eq!(told[2], "link home: loss 100%");
    assert_eq!(outcome.steps[1].got, "filtering address-and-port-dependent, 1 mapping kept");
    let why = outcome.steps[5].reasons.join("\n");
    assert!(outcome.ok, "{:#?}", outcome.failures().collect::<Vec<_>>());
    assert!(why.contains("filtered (address-and-port-dependent)"), "{why}");
}

#[test]
fn every_link_of_a_host_changes_or_the_one_that_is_named() {
    holds(
        "  - link: { of: alice, latency: 50ms }
  - ping: { from: alice, to: server, count: 1 }
    expect: { rtt: 140ms }
  - link: { of: alice, behind: home, latency: 0ms }
  - ping: { from: alice, to: server, count: 1 }
    expect: { rtt: 40ms }
  - link: { of: stranger, jitter: 1ms, duplicate: 1%, reorder: 1%, queue: 3, rate: 10mbit }
  - ping: { from: stranger, to: server, count: 3 }
",
    );
}

#[test]
fn steps_that_change_things_are_printed_as_they_are_read() {
    let text = format!(
        "{LAB}  - set: {{ nat: home, ports: {{ range: [1-9, 20-29] }}, aliases: '172.16.9.1=198.18.9.9', ttl: transparent }}
  - link: {{ of: alice, behind: inner, loss: 0.5%, rate: none }}
"
    );
    let printed = natbox::plan::Plan::from_yaml("lab.yaml", &text).expect("a lab").to_yaml();
    assert!(
        printed.contains(
            "{ nat: home, ports: { range: [1-9, 20-29] }, aliases: \"172.16.9.1=198.18.9.9\", ttl: transparent }"
        ),
        "{printed}"
    );
    assert!(printed.contains("{ of: alice, behind: inner, loss: 0.5%, rate: none }"), "{printed}");
    assert_eq!(natbox::plan::Plan::from_yaml("lab.yaml", &printed).expect("a lab").to_yaml(), printed);
}

#[test]
fn mistakes_have_their_place_and_say_what_was_expected() {
    let cases = [
        ("set: { nat: home, filterng: address-dependent }", "filterng", "did you mean `filtering`?"),
        ("set: { nat: home, filtering: address }", "address", "unknown filtering"),
        ("set: { nat: hme, filtering: address-dependent }", "hme", "did you mean `home`?"),
        ("set: { nat: alice, filtering: address-dependent }", "alice", "`alice`"),
        ("set: { nat: home, translation: basic }", "basic", "`translation` cannot change while a NAT runs"),
        ("set: { nat: home, ipv6: napt }", "napt", "`ipv6` cannot change while a NAT runs"),
        ("set: { nat: home, filtering: off }", "off", "needs a box that translates nothing"),
        ("set: { nat: home, ports: { range: 0-9 } }", "0-9", "port 0"),
        ("set: { nat: home }", "nat", "nothing is set"),
        ("set: { filtering: address-dependent }", "filtering", "`nat` is missing"),
        ("set: { nat: home, behind: inner }", "behind", "unknown key `behind`"),
        ("set: home", "home", "`home` is not allowed here"),
        ("link: { of: alice, mtu: 900 }", "mtu", "unknown key `mtu`"),
        ("link: { of: alice, latncy: 9ms }", "latncy", "did you mean `latency`?"),
        ("link: { of: alice, rate: 5 }", "5", "a number without a unit"),
        ("link: { of: nobody, loss: 5% }", "nobody", "`nobody`"),
        ("link: { of: alice }", "of", "nothing changes"),
        ("link: { of: server, behind: home, loss: 1% }", "home", "is not behind"),
        ("link: { loss: 5% }", "loss", "`of` is missing"),
    ];
    for (step, place, part) in cases {
        let told = mistakes(&format!("  - {step}\n"));
        assert!(told.contains(part), "{step}: {told}");
        let (line, marks) =
            told.lines().zip(told.lines().skip(1)).find(|(_, marks)| marks.contains('^')).expect("marks");
        let at = marks.find('^').expect("a mark");
        let marked = &line[at..];
        assert!(
            marked.starts_with(place) || marked.starts_with('{') || marked.starts_with(&format!("{{ {place}")),
            "{told}"
        );
    }
}

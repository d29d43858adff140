//! Port control in topology files: what is written, what comes of it, and who is told.

use natbox::Lab;
use natbox::outcome::{Outcome, StepResult};
use natbox::plan::Plan;
use natbox::record::{Limits, Recorder, comment};
use natbox::scenario;

fn run(text: &str) -> Outcome {
    Lab::from_yaml(text).unwrap_or_else(|error| panic!("{error}")).run().unwrap_or_else(|error| panic!("{error}"))
}

/// Runs these steps behind a symmetric NAT with this `control`.
fn steps(control: &str, scenario: &str) -> Vec<StepResult> {
    let steps: String = scenario.lines().map(|line| format!("  {line}\n")).collect();
    run(&format!(
        "nats: {{ home: {{ type: symmetric, control: {control} }} }}\nhosts:\n  alice: {{ behind: home }}\n  \
         bob: {{ behind: home }}\n  server: {{}}\nscenario:\n{steps}"
    ))
    .steps
}

fn one(control: &str, step: &str) -> StepResult {
    steps(control, step).pop().expect("a step")
}

/// What is wrong with a lab, in its own words.
fn mistakes(nat: &str) -> String {
    let lab = format!(
        "nats:\n  home: {{ {nat} }}\n  other: full-cone\nhosts: {{ alice: {{ behind: home }}, bob: {{ behind: other }} }}\n"
    );
    match Plan::from_yaml("lab.yaml", &lab) {
        Ok(_) => panic!("{nat} is fine"),
        Err(mistakes) => mistakes.to_string(),
    }
}

#[test]
fn every_method_maps_where_the_gateway_speaks_it_and_is_told_where_not() {
    for (control, by) in [("nat-pmp", "nat-pmp"), ("pcp", "pcp"), ("igd1", "upnp"), ("igd2", "upnp")] {
        let asked = format!("- map: {{ from: alice, port: 5000, by: {by}, external_port: 40000, timeout: 5s }}");
        let step = one(control, &asked);
        assert_eq!(step.fact("outcome"), Some("granted"), "{control}: {}", step.got);
        assert_eq!((step.fact("external"), step.fact("by")), (Some("198.18.0.2:40000"), Some(by)));
        assert_eq!(step.facts["lifetime_ns"], 7_200_000_000_000_u64);
        assert_eq!(one("none", &asked).fact("outcome"), Some("silent"), "{control}");
    }
}

#[test]
fn what_is_expected_of_a_request_can_fail() {
    let refused = "{ speaks: [igd1, pcp], faults: { refuses_renewal: on } }";
    let first = "- map: { from: alice, port: 5000, by: pcp, external_port: 40000 }\n";
    for (expect, broken) in [
        ("refused", "granted, not refused"),
        ("{ external: 'home:40001' }", "another endpoint"),
        ("{ external: 'server:*' }", "another endpoint"),
        ("{ lifetime: ..1h }", "not for ..1h"),
        ("{ code: 718 }", "no error"),
    ] {
        let step = one("pcp", &format!("{first}  expect: {expect}"));
        assert!(!step.ok && step.got.contains(broken), "{expect}: {}", step.got);
    }
    for (expect, broken) in [
        ("granted", "refused, not granted"),
        ("{ code: 1 }", "not code 1"),
        ("{ lifetime: 2h }", "nothing was granted"),
    ] {
        let step = one(refused, &format!("{first}{first}  expect: {expect}"));
        assert!(!step.ok && step.got.contains(broken), "{expect}: {}", step.got);
    }
    assert!(one(refused, &format!("{first}{first}  expect: {{ code: 11 }}")).ok);
}

#[test]
fn mappings_that_were_asked_for_are_counted_and_say_by_whom() {
    let outcome = run("
nats: { home: { control: [pcp, nat-pmp, igd2], forward: [{ port: 80, to: alice, protocol: tcp }, { port: 53, to: alice, to_port: 5353 }] } }
hosts: { alice: { behind: home }, server: {} }
scenario:
  - map: { from: alice, port: 5000, by: pcp }
  - map: { from: alice, port: 5001, by: nat-pmp, protocol: tcp }
  - map: { from: alice, port: 5002, by: upnp }
  - send: { from: 'alice:7', to: 'server:7' }
  - send: { from: 'server:7', to: 'home:53' }
    expect: { delivered: alice }
  - count: home
    expect: { mappings: 7, explicit: 6 }
  - reboot: home
  - count: home
    expect: { mappings: 3, explicit: 3 }
  - map: { from: alice, port: 5000, by: pcp }
");
    assert!(outcome.ok, "{}", outcome.to_json());
    let by: Vec<_> = outcome.mappings.iter().map(|one| (one.protocol, one.by.unwrap_or("packets"))).collect();
    assert_eq!(by, [("tcp", "static"), ("udp", "static"), ("tcp", "static"), ("udp", "pcp")]);
    assert!(outcome.steps[5].got.starts_with("mappings 7 (6 explicit), sessions"), "{}", outcome.steps[5].got);
    assert!(outcome.to_json().contains("\"by\": \"pcp\""));
    assert!(outcome.steps[6].got.contains("4 mappings lost"), "{}", outcome.steps[6].got);
}

#[test]
fn captures_and_timelines_tell_what_was_asked_beside_the_answer() {
    let plan = Plan::from_yaml(
        "lab.yaml",
        "
nats: { home: { control: pcp } }
hosts: { alice: { behind: home } }
scenario:
  - map: { from: alice, port: 5000, by: pcp, external_port: 40000, lifetime: 10min }
  - wait: 10min
",
    )
    .unwrap_or_else(|mistakes| panic!("{mistakes}"));
    let recorder = Recorder::new(Limits::CAPTURE);
    let finished = scenario::run(&plan, 0, &recorder).unwrap_or_else(|stuck| panic!("{stuck}"));
    let told: Vec<String> = recorder.log().records().iter().map(|record| comment(record, &finished.names)).collect();
    let made = "explicit mapping #1 10.0.0.2:5000 -> 198.18.0.2:40000 made by pcp for 10min";
    assert!(told.contains(&format!("{made} of home")), "{told:#?}");
    assert!(told.contains(&format!("sent by home; {made}")), "{told:#?}");
    assert!(told.iter().any(|line| line.contains("has come to the end of its lifetime of home")), "{told:#?}");
}

#[test]
fn what_is_resolved_reads_back_as_the_same() {
    let text = "
nats:
  home:
    control:
      speaks: [nat-pmp, pcp, igd1]
      secure_mode: off
      third_party: on
      min_lifetime: 30s
      max_lifetime: 2h
      faults: { ghost: on, true_lifetime: 1min, epoch_restarts: 5min, refuses_other_port: on, refuses_renewal: on, only_permanent: on, answer_port: 6666, delay: 3s }
    forward: { port: 80, to: alice, to_port: 8080 }
  plain: { control: none }
hosts: { alice: { behind: home }, bob: { behind: plain } }
scenario:
  - map: { from: alice, port: 5000, protocol: tcp, by: upnp, external_port: 40000, lifetime: 1h, keep: on, timeout: 9s }
    expect: { outcome: granted, external: 'home:*', lifetime: 1h..2h }
  - map: { from: bob, port: 5000, by: pcp }
    expect: { code: 11 }
";
    let plan = Plan::from_yaml("lab.yaml", text).unwrap_or_else(|mistakes| panic!("{mistakes}"));
    let again = Plan::from_yaml("lab.yaml", &plan.to_yaml()).unwrap_or_else(|mistakes| panic!("{mistakes}"));
    assert_eq!(plan.nats[0].control, again.nats[0].control);
    assert_eq!(plan.nats[0].forward, again.nats[0].forward);
    assert_eq!(plan.nats[0].forward.len(), 2, "both protocols");
    assert_eq!((plan.nats[1].control.as_ref(), again.nats[1].control.as_ref()), (None, None));
    let actions = |plan: &Plan| plan.steps.iter().map(|step| step.action.clone()).collect::<Vec<_>>();
    assert_eq!(actions(&plan), actions(&again));
}

#[test]
fn contradictions_are_mistakes() {
    for (nat, told) in [
        ("control: [none, pcp]", "`none` beside something"),
        ("control: [pcp, pcp]", "`pcp` stands here a second time"),
        ("control: upnp", "unknown port control protocol `upnp`"),
        ("control: []", "at least one"),
        ("control: { secure_mode: on }", "`speaks` is missing"),
        ("control: { speaks: pcp, faults: { slow: on } }", "unknown key `slow`"),
        ("control: { speaks: pcp, min_lifetime: 2h, max_lifetime: 1h }", "least lifetime is longer"),
        ("forward: { port: 80, to: bob }", "`bob` is not behind `home`"),
        ("forward: { port: 80, to: nobody }", "unknown host `nobody`"),
        (
            "forward: [{ port: 80, to: alice }, { port: 80, to: alice, to_port: 81, protocol: tcp }]",
            "forwarded already",
        ),
        ("forward: { to: alice }", "`port` is missing"),
    ] {
        let said = mistakes(nat);
        assert!(said.contains(told), "{nat}: {said}");
    }
}

#[test]
fn connect_goes_through_a_mapping_where_a_gateway_grants_one_and_punches_nowhere_else() {
    let lab = |control: &str| {
        run(&format!(
            "
nats: {{ home: {{ type: symmetric, control: {control} }}, away: symmetric }}
hosts: {{ alice: {{ behind: home }}, bob: {{ behind: away }}, server: {{ services: [stun, turn, rendezvous] }} }}
scenario:
  - connect: {{ from: bob, to: alice }}
  - connect: {{ from: alice, to: bob }}
  - call: {{ from: bob, to: alice, for: 1s }}
"
        ))
    };
    for control in ["pcp", "nat-pmp", "igd1", "igd2"] {
        let paths: Vec<_> = lab(control).steps.iter().map(|step| step.fact("path").map(str::to_owned)).collect();
        assert_eq!(paths, vec![Some("mapped".to_owned()); 3], "{control}");
    }
    for control in ["none", "{ speaks: pcp, faults: { ghost: on } }"] {
        let paths: Vec<_> = lab(control).steps.iter().map(|step| step.fact("path").map(str::to_owned)).collect();
        assert_eq!(paths, vec![Some("relayed".to_owned()); 3], "{control}");
    }
}

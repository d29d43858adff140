//! Steps that start real programs: what is written, what is refused, and that nothing is started in virtual time.

use natbox::plan::Plan;
use natbox::{Lab, LabError};

fn lab(scenario: &str) -> String {
    format!("hosts: {{ alice: {{}}, bob: {{}} }}\nscenario:\n{scenario}")
}

const STEPS: &str =
    "  - run: { on: alice, command: [nc, -l, 80], as: server, wait_for: { port: 80, line: 'Listening' } }
  - run: { on: bob, command: 'echo hello | nc alice 80', timeout: 5s }
    expect: { exit: 0, line: hello, no_line: [refused, timeout] }
  - await: server
    expect: 0
  - await: { program: server, wait_for: { line: hello }, timeout: 1s }
    expect: { line: hello }
  - await: { program: server, stop: on }
";

#[test]
fn programs_have_no_part_in_virtual_time_and_the_error_says_what_helps() {
    let lab = Lab::from_yaml(&lab(STEPS)).unwrap_or_else(|error| panic!("{error}"));
    let Err(error @ LabError::NeedsLive { .. }) = lab.run() else { panic!("it ran") };
    let told =
        "lab:3: `run` starts a real program, which has no part in virtual time: run the file live (natbox run --live)";
    assert_eq!(error.to_string(), told);
}

#[test]
fn what_check_prints_reads_back_as_the_same_steps() {
    let plan = Plan::from_yaml("lab", &lab(STEPS)).unwrap_or_else(|error| panic!("{error}"));
    let again = Plan::from_yaml("lab", &plan.to_yaml()).unwrap_or_else(|error| panic!("{error}\n{}", plan.to_yaml()));
    let actions = |plan: &Plan| plan.steps.iter().map(|step| step.action.clone()).collect::<Vec<_>>();
    assert_eq!(actions(&plan), actions(&again), "{}", plan.to_yaml());
    assert_eq!(plan.steps[1].action.to_string(), "run echo hello | nc alice 80 on bob");
    assert_eq!(plan.steps[2].action.expected().as_deref(), Some("exit 0"));
}

#[test]
fn contradictions_are_mistakes_with_their_places() {
    for (steps, place, told) in [
        ("  - run: { on: carol, command: [true] }", "3:16", "unknown host `carol`"),
        ("  - run: { on: alice }", "3:10", "`command` is missing"),
        ("  - run: { on: alice, command: '' }", "3:32", "no program"),
        ("  - run: { on: alice, command: [] }", "3:32", "at least one"),
        ("  - run: { on: alice, command: [x], wait_for: { port: 1 } }", "3:47", "waited for until it ends"),
        ("  - run: { on: alice, command: [x], as: a, wait_for: {} }", "3:54", "nothing is waited for"),
        ("  - run: { on: alice, command: [x], as: a }\n    expect: 0", "4:13", "has not ended"),
        ("  - run: { on: alice, command: [x] }\n    expect: { exit: 256 }", "4:21", "an exit code"),
        ("  - await: a", "3:12", "no earlier program is called `a`"),
        (
            "  - run: { on: alice, command: [x], as: a }\n  - run: { on: alice, command: [x], as: a }",
            "4:41",
            "the name of an earlier program",
        ),
        (
            "  - run: { on: alice, command: [x], as: a }\n  - await: { program: a, stop: on, wait_for: { port: 1 } }",
            "4:46",
            "waited for until it has",
        ),
        (
            "  - run: { on: bob, command: [x] }\n  - send: { from: 'alice:1', to: 'bob:2', tcp: syn }",
            "3:16",
            "`bob` is simulated",
        ),
    ] {
        let said = match Plan::from_yaml("lab.yaml", &lab(steps)) {
            Ok(_) => panic!("{steps} is fine"),
            Err(mistakes) => mistakes.to_string(),
        };
        assert!(said.contains(told), "{steps}: {said}");
        assert!(said.contains(&format!("lab.yaml:{place}")), "{steps}: expected at {place}: {said}");
    }
}

//! `natbox run`.

use std::fs;

use serde_json::Value;

use super::lab::{Lab, said};

/// The callee is private: both calls die, and the file expects the first to arrive.
const FAILING: &str = "\
name: private callee
nats: { n2: port-restricted-cone }
hosts: { a: {}, s: { behind: n2 } }
scenario:
  - send: { from: \"a:5060\", to: \"s:5060\" }
    name: the call
    expect: { delivered: s }
  - send: { from: \"a:5060\", to: \"n2:5060\" }
    expect: { dropped: no-mapping, at: n2 }
";

/// As expected, and with chance in it.
const HOLDING: &str = "\
name: one home
seed: 7
nats: { home: { type: symmetric, link: { jitter: 3ms } } }
hosts: { alice: { behind: home }, relay: { services: stun } }
scenario:
  - send: { from: \"alice:5000\", to: \"relay:9999\" }
    expect: { dropped: port-unreachable, at: relay, rejected: port-unreachable }
  - discover: alice
    expect: { mapping: address-and-port-dependent, filtering: address-and-port-dependent }
";

fn lab() -> Lab {
    let lab = Lab::new();
    lab.write("failing.yaml", FAILING);
    lab.write("holding.yaml", HOLDING);
    lab
}

#[test]
fn the_exit_code_is_0_when_all_holds_and_1_when_not() {
    let lab = lab();
    let holding = lab.run(&["run", "holding.yaml"]);
    assert_eq!((holding.code, holding.err.as_str()), (0, ""), "{}", holding.out);
    let failing = lab.run(&["run", "failing.yaml"]);
    assert_eq!((failing.code, failing.err.as_str()), (1, ""), "{}", failing.out);
    assert_eq!(lab.run(&["run", "holding.yaml", "failing.yaml"]).code, 1);
}

#[test]
fn the_report_shows_the_lab_the_steps_and_why() {
    let said = lab().run(&["run", "failing.yaml"]);
    let expected = "\
private callee  failing.yaml, seed 0

internet  198.18.0.0/15
|- n2  NAT port-restricted-cone; 198.18.0.2; link 10ms
|  `- s  10.0.0.2
`- a  198.18.0.3; link 10ms
";
    assert!(said.out.starts_with(expected), "{}", said.out);
    for expected in [
        "the call: send a:5060 -> s:5060  FAILED\n",
        "expected: delivered s\n",
        "dropped at internet: private-destination: 10.0.0.2 is a private address (RFC 1918), which means nothing here",
        "2. send a:5060 -> n2:5060  ok\n",
        "dropped at n2: no-mapping: nothing inside has 198.18.0.2:5060",
        "private callee: 1 of 2 expectations hold; ",
        "2 packets, 2 dropped (1 no-mapping, 1 private-destination)\n",
    ] {
        assert!(said.out.contains(expected), "{expected}: {}", said.out);
    }
    assert!(!said.out.contains('\u{1b}'));
}

#[test]
fn verbose_tells_packets_and_mappings_and_quiet_only_failures() {
    let lab = lab();
    let verbose = lab.run(&["run", "-v", "holding.yaml"]).out;
    assert!(verbose.contains("new mapping #1"), "{verbose}");
    assert!(verbose.contains("home:inside") && verbose.contains("sent by relay because of packet 1"), "{verbose}");
    assert!(!lab.run(&["run", "holding.yaml"]).out.contains("home:inside"));
    assert_eq!(lab.run(&["run", "--quiet", "holding.yaml"]).out, "");
    let quiet = lab.run(&["run", "--quiet", "failing.yaml"]).out;
    assert!(quiet.contains("the call") && quiet.contains("FAILED"), "{quiet}");
    assert!(!quiet.contains("n2:5060  ok") && !quiet.contains("internet  198"), "{quiet}");
}

#[test]
fn json_is_an_outcome_or_a_list_of_them() {
    let lab = lab();
    let one: Value = serde_json::from_str(&lab.run(&["run", "failing.yaml", "--format", "json"]).out).unwrap();
    assert_eq!((&one["natbox"], &one["ok"], &one["file"]), (&1.into(), &false.into(), &"failing.yaml".into()));
    assert_eq!(one["steps"][1]["ok"], true);
    let two = lab.run(&["run", "holding.yaml", "failing.yaml", "--format", "json"]);
    assert_eq!(two.code, 1);
    let two: Value = serde_json::from_str(&two.out).unwrap();
    assert_eq!((&two["natbox"], &two["ok"]), (&1.into(), &false.into()));
    assert_eq!(two["runs"][1], one);
}

#[test]
fn a_seed_can_be_given_and_decides_everything() {
    let lab = lab();
    let run = |seed: &str| {
        let arguments = ["run", "holding.yaml", "--seed", seed, "--format", "json", "--capture", "c.pcapng"];
        let said = lab.run(&arguments);
        (said.out, fs::read(lab.path("c.pcapng")).unwrap())
    };
    let (first, capture) = run("11");
    let json: Value = serde_json::from_str(&first).unwrap();
    assert_eq!(json["seed"], 11);
    assert_eq!(run("11"), (first.clone(), capture.clone()));
    let (other, other_capture) = run("12");
    assert_ne!(other, first);
    assert_ne!(other_capture, capture);
}

#[test]
fn a_capture_is_written_and_can_be_inspected() {
    let lab = lab();
    let said = lab.run(&["run", "failing.yaml", "--capture", "out.pcapng"]);
    assert!(said.out.ends_with("capture: out.pcapng\n"), "{}", said.out);
    let listed = lab.run(&["inspect", "out.pcapng", "--reason", "private-destination"]);
    assert!(listed.out.contains("dropped at internet"), "{}", listed.out);
    assert_eq!(lab.files(), ["failing.yaml", "holding.yaml", "out.pcapng"]);
}

#[test]
fn several_files_get_a_capture_each_in_a_folder_and_a_verdict_each_at_the_end() {
    let lab = lab();
    let said = lab.run(&["run", "holding.yaml", "failing.yaml", "--capture", "captures"]);
    assert!(lab.path("captures/holding.pcapng").is_file() && lab.path("captures/failing.pcapng").is_file());
    let end = "\
one home: 2 of 2 expectations hold  holding.yaml
private callee: 1 of 2 expectations hold  failing.yaml
1 of 2 files hold
";
    assert!(said.out.ends_with(end), "{}", said.out);
    fs::create_dir(lab.path("other")).unwrap();
    lab.write("other/failing.yaml", FAILING);
    let twice = lab.run(&["run", "failing.yaml", "other/failing.yaml", "--capture", "captures"]);
    assert_eq!(twice.code, 2);
    assert!(twice.err.contains("two captures would have one name"), "{}", twice.err);
    // A folder does for one file too.
    assert_eq!(lab.run(&["run", "holding.yaml", "--capture", "other"]).code, 0);
    assert!(lab.path("other/holding.pcapng").is_file());
}

#[test]
fn the_report_can_go_to_a_file_and_is_never_coloured_there() {
    let lab = lab();
    let said = lab.run(&["run", "failing.yaml", "-o", "report.txt", "--color", "always"]);
    assert_eq!((said.code, said.out.as_str(), said.err.as_str()), (1, "", ""));
    assert_eq!(lab.read("report.txt"), lab.run(&["run", "failing.yaml"]).out);
    lab.run(&["run", "failing.yaml", "--format", "json", "--output", "report.json"]);
    assert!(serde_json::from_str::<Value>(&lab.read("report.json")).is_ok());
}

#[test]
fn outputs_that_cannot_be_written_exit_2() {
    let lab = lab();
    for arguments in [["-o", "no/such/report.txt"], ["--capture", "no/such/c.pcapng"], ["--capture", "holding.yaml/c/"]]
    {
        let said = lab.run(&[&["run", "holding.yaml"], &arguments[..]].concat());
        assert_eq!(said.code, 2, "{arguments:?}");
        assert!(said.err.starts_with("error: cannot "), "{}", said.err);
    }
    assert_eq!(lab.files(), ["failing.yaml", "holding.yaml"]);
}

#[test]
fn one_bad_file_keeps_all_from_running() {
    let lab = lab();
    lab.write("bad.yaml", "hosts: { a: { behind: nobody } }\n");
    let said = lab.run(&["run", "holding.yaml", "bad.yaml", "missing.yaml", "--capture", "captures"]);
    assert_eq!((said.code, said.out.as_str()), (2, ""));
    assert!(said.err.contains("bad.yaml:1:23") && said.err.contains("cannot read missing.yaml"), "{}", said.err);
    assert!(!lab.path("captures").exists());
}

#[test]
fn colours_are_there_when_asked_for() {
    let lab = lab();
    let colored = said(&mut lab.command(&["run", "failing.yaml", "--color", "always"])).out;
    assert!(colored.contains("\u{1b}[31mFAILED\u{1b}[0m"), "{colored}");
    let plain = said(lab.command(&["run", "failing.yaml"]).env("NO_COLOR", "1").env("CLICOLOR_FORCE", "1")).out;
    assert!(!plain.contains('\u{1b}'), "{plain}");
}

#[test]
fn no_output_takes_the_place_of_a_topology_or_of_another_output() {
    let lab = lab();
    for arguments in
        [&["--capture", "holding.yaml"][..], &["-o", "./holding.yaml"], &["--capture", "same", "-o", "same"]]
    {
        let said = lab.run(&[&["run", "holding.yaml"], arguments].concat());
        assert_eq!(said.code, 2, "{arguments:?}");
        assert!(said.err.contains("would be overwritten"), "{}", said.err);
    }
    assert_eq!(lab.read("holding.yaml"), HOLDING);
    assert_eq!(lab.files(), ["failing.yaml", "holding.yaml"]);
}

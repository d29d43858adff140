//! Scenarios at wall-clock speed: `Lab::run_live` and `natbox run --live`.

use natbox::live::LiveError;
use natbox::{Lab, LabError, Recording};

use crate::common::{has, skip, text};

const MEET: &str = "
nats: { home: port-restricted-cone, office: { type: restricted-cone, forward: [{ port: 7000, to: bob }] } }
hosts:
  alice: { behind: home }
  bob: { behind: office }
  carol: {}
  dave: {}
  relay: { services: [stun, turn, rendezvous, echo] }
scenario:
  - ping: { from: alice, to: relay, count: 2 }
    expect: { loss: 0% }
  - connect: { from: alice, to: bob }
    expect: punched
  - send: { from: 'alice:4000', to: 'office:7000' }
    expect: { delivered: bob, from: 'home:*' }
  - connect: { from: bob, to: alice, technique: tcp-punch }
    expect: punched
  - reboot: home
  - send: { from: 'carol:4001', to: 'dave:9', tcp: syn }
    expect: { delivered: dave }
  - send: { from: 'bob:4002', to: 'relay:4002' }
    expect: { dropped: port-unreachable }
";

/// What comes of a lab's scenario; `None`, and a word about it, where the system allows no live lab.
pub(crate) fn run(lab: &Lab) -> Option<Recording> {
    match lab.run_live_recorded() {
        Ok(recording) => Some(recording),
        Err(LabError::Live(error @ (LiveError::Namespaces { .. } | LiveError::Tun { .. }))) => {
            skip(&error.to_string());
            None
        }
        Err(error) => panic!("{error}"),
    }
}

#[test]
fn a_scenario_runs_on_the_sockets_of_real_hosts_and_says_which_were_real() {
    let lab = Lab::from_yaml(MEET).unwrap_or_else(|error| panic!("{error}"));
    let Some(Recording { outcome, log, .. }) = run(&lab) else { return };
    assert!(outcome.ok, "{}", outcome.to_json());
    let live = outcome.live.as_ref().expect("it was live");
    assert_eq!(live.real_hosts, ["alice", "bob"], "packets of carol are made by hand, and dave is where they go");
    assert!(log.records().len() > 100, "the record is kept as in virtual time");
    assert!(outcome.to_json().contains("\"real_hosts\": ["), "{}", outcome.to_json());
    assert!(!lab.run().expect("virtual time").to_json().contains("real_hosts"), "nothing is real there");
}

#[test]
fn what_does_not_hold_live_is_exit_code_1_and_the_capture_is_there() {
    let folder = tempfile::tempdir().expect("a folder");
    let (file, capture) = (folder.path().join("lab.yaml"), folder.path().join("lab.pcapng"));
    let scenario = "scenario:\n  - ping: { from: alice, to: server, count: 1 }\n    expect: { loss: 100% }\n";
    std::fs::write(&file, format!("hosts: {{ alice: {{}}, server: {{}} }}\n{scenario}")).expect("a file");
    let mut natbox = std::process::Command::new(env!("CARGO_BIN_EXE_natbox"));
    let said = natbox.args(["run", "--live", "--capture"]).arg(&capture).arg(&file).output().expect("natbox");
    if said.status.code() == Some(2) {
        return skip(text(&said).trim());
    }
    assert_eq!(said.status.code(), Some(1), "{}", text(&said));
    for word in ["1 of 1 answered", "of the wall's time", "real: alice, server"] {
        assert!(text(&said).contains(word), "no {word:?} in {}", text(&said));
    }
    let mut natbox = std::process::Command::new(env!("CARGO_BIN_EXE_natbox"));
    let told = text(&natbox.arg("inspect").arg(&capture).output().expect("natbox"));
    assert!(told.contains("sent by alice") && told.contains("delivered to server"), "{told}");
}

/// A lab with these steps, of which some start programs.
fn steps(scenario: &str) -> Lab {
    let hosts = "hosts: { alice: {}, server: {}, relay: { services: [stun] } }";
    Lab::from_yaml(&format!("{hosts}\nscenario:\n{scenario}")).unwrap_or_else(|error| panic!("{error}"))
}

#[test]
fn programs_are_started_waited_for_and_held_against_what_is_expected() {
    let lab = steps(
        r"
  - run: { on: server, command: 'echo ready; while :; do sleep 0.1; done', as: server, wait_for: { line: ready } }
  - run: { on: alice, command: [sh, -c, 'echo to the one; echo to the other >&2; exit 3'] }
    expect: { exit: 3, line: [to the one, to the other], no_line: nonsense }
  - run: { on: relay, command: hostname }
    expect: { line: relay }
  - run: { on: alice, command: 'sleep 1000 & echo its child has its output' }
    expect: { exit: 0, line: its child }
  - await: { program: server, stop: on }
    expect: 143
",
    );
    let Some(Recording { outcome, .. }) = run(&lab) else { return };
    assert!(outcome.ok, "{}", outcome.to_json());
    let facts = &outcome.steps[1].facts;
    assert_eq!((facts["stdout"].as_str(), facts["exit"].as_u64()), (Some("to the one\n"), Some(3)));
    assert_eq!(facts["stderr"].as_str(), Some("to the other\n"));
    let real = outcome.live.map(|live| live.real_hosts);
    assert_eq!(real.unwrap_or_default(), ["alice", "relay", "server"], "who is to run a program is real");
}

#[test]
fn programs_that_fail_hang_or_are_not_there_fail_their_step_and_the_scenario_goes_on() {
    let lab = steps(
        r"
  - run: { on: alice, command: [no-such-program] }
  - run: { on: alice, command: [sleep, 1000], timeout: 100ms }
  - run: { on: alice, command: exit 1, as: short, wait_for: { port: 80 }, timeout: 20s }
  - run: { on: alice, command: [sleep, 1000], as: long, wait_for: { line: never }, timeout: 100ms }
  - run: { on: alice, command: exit 1 }
    expect: 0
  - run: { on: alice, command: 'yes | head -c 3000000' }
    expect: 0
",
    );
    let Some(Recording { outcome, .. }) = run(&lab) else { return };
    let told: Vec<&str> = outcome.failures().map(|step| step.got.as_str()).collect();
    let expected = [
        "cannot start `no-such-program` on `alice`",
        "not ended within 100ms",
        "it ended before what was waited for",
        "what was waited for is not there within 100ms",
        "not exit 0",
    ];
    assert_eq!(told.len(), expected.len(), "{told:#?}");
    for (told, expected) in told.iter().zip(expected) {
        assert!(told.contains(expected), "{told}, not {expected}");
    }
    let last = &outcome.steps[5].facts;
    assert_eq!(last["stdout"].as_str().map(str::len), Some(1 << 20), "what is kept of a program's words is bounded");
    assert_eq!(last["truncated"].as_bool(), Some(true));
}

#[test]
fn the_shipped_topologies_with_real_programs_hold() {
    if !(has("python3") && has("curl")) {
        return;
    }
    let folder = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("topologies/live");
    for entry in std::fs::read_dir(folder).expect("a folder") {
        let lab = Lab::from_file(entry.expect("a file").path()).unwrap_or_else(|error| panic!("{error}"));
        let Some(Recording { outcome, .. }) = run(&lab) else { return };
        assert!(outcome.ok, "{}", outcome.to_json());
    }
}

/// Whether a process has this word among its arguments.
fn runs(word: &str) -> bool {
    let processes = std::fs::read_dir("/proc").expect("processes").flatten();
    let mut commands = processes.filter_map(|process| std::fs::read(process.path().join("cmdline")).ok());
    commands.any(|command| command.split(|byte| *byte == 0).any(|argument| argument == word.as_bytes()))
}

fn until(what: &str, mut holds: impl FnMut() -> bool) {
    for _ in 0..1_000 {
        if holds() {
            return;
        }
        std::thread::sleep(std::time::Duration::from_millis(20));
    }
    panic!("{what}: not within 20 s");
}

#[test]
fn an_interrupt_ends_the_run_and_its_programs() {
    let folder = tempfile::tempdir().expect("a folder");
    let (file, word) = (folder.path().join("lab.yaml"), format!("100000.{}", std::process::id()));
    let scenario = format!("[{{ run: {{ on: alice, command: [sleep, {word}], timeout: 1h }} }}]");
    std::fs::write(&file, format!("hosts: {{ alice: {{}} }}\nscenario: {scenario}\n")).expect("a file");
    let mut natbox = std::process::Command::new(env!("CARGO_BIN_EXE_natbox"));
    natbox.args(["run", "--live"]).arg(&file).stderr(std::process::Stdio::piped());
    let mut natbox = natbox.spawn().expect("natbox");
    let mut refused = false;
    until("the program runs", || {
        refused = natbox.try_wait().expect("natbox").is_some();
        refused || runs(&word)
    });
    if refused {
        return skip(text(&natbox.wait_with_output().expect("natbox")).trim());
    }
    let id = natbox.id().to_string();
    assert!(std::process::Command::new("kill").args(["-INT", &id]).status().expect("kill").success());
    assert!(!natbox.wait().expect("natbox").success());
    until("the program is gone", || !runs(&word));
}

//! Scenarios at wall-clock speed: `Lab::run_live` and `natbox run --live`.

use natbox::live::LiveError;
use natbox::{Lab, LabError, Recording};

use crate::common::{skip, text};

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

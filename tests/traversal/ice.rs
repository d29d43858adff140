//! ICE (RFC 8445, 7675): which pair of candidates wins, what it takes, and what becomes of it later.

use std::time::Duration;

use futures::future::join;
use natbox::Lab;
use natbox::host::Host;
use natbox::outcome::{Outcome, StepResult};
use natbox::probes::contact::{Contact, Fact, Failure, Setting};
use natbox::probes::ice::{self, Config};
use natbox::probes::path::Path;
use natbox::probes::rendezvous;
use natbox::world::VirtualHost;

const CONE: &str = "{ type: port-restricted-cone, ports: { allocation: random } }";
const NATS: [&str; 5] = ["full-cone", "restricted-cone", "port-restricted-cone", "symmetric", "public"];

fn run(text: &str) -> Outcome {
    let lab = Lab::from_yaml(text).unwrap_or_else(|error| panic!("{error}\n{text}"));
    lab.run().unwrap_or_else(|error| panic!("{error}\n{text}"))
}

/// Two homes, or none where it says `public`, and a server of these services.
fn lab(a: &str, b: &str, services: &str, scenario: &str) -> String {
    let home = |name: &str, nat: &str| if nat == "public" { String::new() } else { format!("  {name}: {nat}\n") };
    let host = |name: &str, nat: &str| if nat == "public" { "{}".to_owned() } else { format!("{{ behind: {name} }}") };
    let (homes, alice, bob) = (home("home-a", a) + &home("home-b", b), host("home-a", a), host("home-b", b));
    let nats = if homes.is_empty() { String::new() } else { format!("nats:\n{homes}") };
    format!(
        "{nats}hosts:\n  alice: {alice}\n  bob: {bob}\n  server: {{ services: [{services}] }}\nscenario:\n{scenario}"
    )
}

const CONNECT: &str = "  - connect: { from: alice, to: bob, technique: ice, as: link }\n";

/// What one `connect` comes to.
fn connect(a: &str, b: &str, services: &str) -> StepResult {
    let outcome = run(&lab(a, b, services, CONNECT));
    assert!(outcome.ok, "{a} {b} {outcome:#?}");
    outcome.steps.into_iter().next().expect("a step")
}

fn path(step: &StepResult) -> &str {
    step.fact("path").expect("a path")
}

/// Whether RFC 4787's behaviours let two sides meet: both predict their endpoints, or the one that does not meets a
/// filter that asks for no port.
fn can_meet(a: &str, b: &str) -> bool {
    let unpredictable = |nat: &str| nat == "symmetric";
    let asks_for_ports = |nat: &str| matches!(nat, "symmetric" | "port-restricted-cone");
    !(unpredictable(a) && asks_for_ports(b) || unpredictable(b) && asks_for_ports(a))
}

#[test]
fn rfc8445_without_a_relay_it_works_where_the_definitions_say() {
    for a in NATS {
        for b in NATS {
            let step = connect(a, b, "stun, rendezvous");
            let expected = match (a, b) {
                ("public", "public") | (_, "public") => "direct",
                ("public", _) => "reversed",
                _ if can_meet(a, b) => "punched",
                _ => "none",
            };
            assert_eq!(path(&step), expected, "{a} {b} {step:#?}");
        }
    }
}

#[test]
fn rfc8445_the_relay_is_used_where_it_is_needed_and_nowhere_else() {
    for a in NATS {
        for b in NATS {
            let step = connect(a, b, "stun, turn, rendezvous");
            let found = path(&step);
            assert_eq!(found == "relayed", !can_meet(a, b), "{a} {b} {step:#?}");
            assert_ne!(found, "none", "{a} {b}");
        }
    }
}

#[test]
fn the_step_tells_which_candidates_made_the_pair_who_decides_and_what_it_took() {
    let step = connect("port-restricted-cone", "port-restricted-cone", "stun, rendezvous");
    assert_eq!(step.facts["local_candidate"], "server-reflexive");
    assert_eq!(step.facts["remote_candidate"], "server-reflexive");
    assert_eq!(step.facts["role"], "controlling");
    assert_eq!(step.facts["restarts"], 0);
    assert!((2..=20).contains(&step.facts["checks_sent"].as_u64().unwrap()), "{step:#?}");
    assert!((1..=2_000_000_000).contains(&step.facts["nominated_after_ns"].as_u64().unwrap()), "{step:#?}");
}

#[test]
fn rfc8445_7_3_1_3_a_source_that_nobody_told_of_becomes_a_peer_reflexive_candidate() {
    let step = connect("restricted-cone", "symmetric", "stun, rendezvous");
    assert_eq!((path(&step), &step.facts["remote_candidate"]), ("punched", &"peer-reflexive".into()), "{step:#?}");
    let step = connect("symmetric", "restricted-cone", "stun, rendezvous");
    assert_eq!((path(&step), &step.facts["local_candidate"]), ("punched", &"peer-reflexive".into()), "{step:#?}");
}

#[test]
fn hosts_of_one_network_meet_there_and_behind_one_carrier_at_its_outside() {
    let text = format!(
        "nats: {{ home: port-restricted-cone }}
hosts: {{ alice: {{ behind: home }}, bob: {{ behind: home }}, server: {{ services: [stun, turn, rendezvous] }} }}
scenario:\n{CONNECT}"
    );
    assert_eq!(path(&run(&text).steps[0]), "local");
    for (hairpin, found) in [("external-source", "hairpinned"), ("off", "relayed")] {
        let text = format!(
            "nats:
  carrier: {{ type: full-cone, hairpin: {hairpin} }}
  home-a: {{ type: port-restricted-cone, behind: carrier }}
  home-b: {{ type: port-restricted-cone, behind: carrier }}
hosts:
  alice: {{ behind: home-a }}
  bob: {{ behind: home-b }}
  server: {{ services: [stun, turn, rendezvous] }}
scenario:\n{CONNECT}"
        );
        assert_eq!(path(&run(&text).steps[0]), found, "{hairpin}");
    }
}

#[test]
fn a_stranger_at_the_same_private_address_is_not_mistaken_for_the_callee() {
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
  - connect: { from: alice, to: mallory, technique: ice, as: stranger }
    expect: local
  - connect: { from: alice, to: bob, technique: ice }
    expect: punched
";
    let outcome = run(text);
    assert!(outcome.ok, "{outcome:#?}");
}

#[test]
fn a_failure_names_every_pair_that_was_checked() {
    let step = connect("symmetric", "symmetric", "stun, rendezvous");
    let attempts = step.facts["attempts"].to_string();
    for pair in ["host 10.0.0.2:", "to host 10.0.1.2:", "to server-reflexive 198.18.0."] {
        assert!(attempts.contains(pair), "{attempts}");
    }
    assert!(step.ended_ns - step.started_ns <= 31_000_000_000, "{step:#?}");
}

/// The words of the paths that a connection took.
fn paths(step: &StepResult) -> Vec<&str> {
    step.facts["paths"].as_array().expect("paths").iter().map(|path| path["path"].as_str().unwrap()).collect()
}

#[test]
fn rfc8445_9_when_a_nat_reboots_or_moves_ice_restarts_and_recovers() {
    for change in ["reboot: home-a", "reboot: home-b", "readdress: home-b"] {
        for (nat, services, found) in
            [(CONE, "stun, rendezvous", "punched"), ("symmetric", "stun, turn, rendezvous", "relayed")]
        {
            let scenario = format!("{CONNECT}  - {change}\n  - talk: {{ on: link, for: 120s }}\n");
            let outcome = run(&lab(nat, nat, services, &scenario));
            assert!(outcome.ok, "{change} {nat} {outcome:#?}");
            let talk = &outcome.steps[2];
            assert_eq!(paths(talk).last(), Some(&found), "{change} {nat} {talk:#?}");
            let outage = talk.facts["outage_ns"].as_u64().expect("an outage");
            assert!(outage <= 60_000_000_000, "{change} {nat} {talk:#?}");
        }
    }
}

#[test]
fn rfc7675_consent_ends_30_seconds_after_the_last_answer() {
    let scenario = format!("{CONNECT}  - wait: 3s\n  - cut: bob\n  - wait: 60s\n  - talk: {{ on: link, for: 1s }}\n");
    let outcome = run(&lab(CONE, CONE, "stun, rendezvous", &scenario));
    let talk = &outcome.steps[4];
    let paths = talk.facts["paths"].as_array().unwrap();
    assert_eq!(paths[1]["path"], "none", "{talk:#?}");
    let (cut, ended) = (outcome.steps[2].started_ns, paths[1]["at_ns"].as_u64().expect("a time"));
    let (after, consent) = (ended - cut, 30_000_000_000);
    assert!((consent - 5_100_000_000..=consent).contains(&after), "{after} {talk:#?}");
}

#[test]
fn rfc7675_consent_checks_keep_a_resting_pair_and_its_mappings_alive() {
    let forgetful = "{ type: port-restricted-cone, ports: { allocation: random }, timeouts: { udp: 10s } }";
    let scenario = format!("{CONNECT}  - wait: 600s\n  - talk: link\n    expect: {{ path: punched, loss: 0% }}\n");
    let outcome = run(&lab(forgetful, forgetful, "stun, rendezvous", &scenario));
    assert!(outcome.ok, "{outcome:#?}");
    assert_eq!(paths(&outcome.steps[2]), ["punched"]);
}

#[test]
fn two_runs_of_one_seed_are_alike_to_the_byte() {
    let text =
        lab("symmetric", CONE, "stun, turn, rendezvous", &format!("{CONNECT}  - reboot: home-b\n  - wait: 60s\n"));
    let folder = tempfile::tempdir().expect("a folder");
    let capture = |name: &str, seed| {
        let file = folder.path().join(name);
        Lab::from_yaml(&text).unwrap().seed(seed).capture(&file).run().unwrap();
        std::fs::read(file).unwrap()
    };
    fastrand::seed(1);
    let first = capture("first", 7);
    fastrand::seed(2);
    assert!(first == capture("second", 7), "whatever else the thread draws");
    assert!(first != capture("third", 8));
}

type Met = Result<Contact<VirtualHost>, Failure>;

/// Both sides at once, each as its configuration says.
fn meet(text: &str, caller: Config, callee: Config) -> (Met, Met) {
    let mut built = Lab::from_yaml(text).expect("a lab").plan().build(3);
    let [alice, bob, server] = ["alice", "bob", "server"].map(|name| built.host(name).expect("a host"));
    let address = server.addresses()[0];
    let directory = (address, rendezvous::PORT).into();
    let config = rendezvous::ServerConfig { listen: directory, limits: rendezvous::Limits::default() };
    built.world.spawn(async move { drop(rendezvous::serve(server, config).await) });
    let setting = |me: &str| Setting::new(directory, me);
    let (from, to) = (setting("alice"), setting("bob"));
    let calling = async {
        alice.sleep(Duration::from_secs(1)).await;
        ice::call_with(&alice, &from, "bob", caller).await
    };
    built.world.run_until(join(calling, ice::answer_with(&bob, &to, callee))).expect("the world goes on")
}

#[test]
fn rfc8445_7_3_1_1_a_role_conflict_is_resolved_and_one_side_decides() {
    let text = "nats: { home: port-restricted-cone }
hosts: { alice: { behind: home }, bob: {}, server: {} }
";
    for controlling in [true, false] {
        let config = Config { controlling: Some(controlling), ..Config::default() };
        let (caller, callee) = meet(text, config, config);
        let (caller, callee) = (caller.expect("a contact"), callee.expect("a contact"));
        assert_eq!((caller.path(), callee.path()), (Path::Direct, Path::Direct));
        let mut roles = [caller.facts()["role"].clone(), callee.facts()["role"].clone()];
        roles.sort_by_key(|role| format!("{role:?}"));
        assert_eq!(roles, [Fact::from("controlled"), Fact::from("controlling")]);
    }
}

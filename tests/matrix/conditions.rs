//! Where NATs come from, and what a run sets for all of them.

use serde_json::Value;

use super::lab::Lab;
use super::{cells, matrix, paths, run};

const FILE: &str = "\
nats:
  home: { type: symmetric, addresses: 2, link: { latency: 3ms, loss: 1% } }
  carrier: { type: cgn }
  flat: { type: full-cone, behind: carrier }
  fixed: { ports: { allocation: deterministic, deterministic: { compression: 16 } } }
hosts: { alice: { behind: flat } }
";

fn names(document: &Value) -> Vec<&str> {
    let mut names: Vec<&str> = cells(document).iter().map(|cell| cell["a"]["name"].as_str().unwrap()).collect();
    names.dedup();
    names
}

fn lab() -> Lab {
    let lab = Lab::new();
    lab.write("lab.yaml", FILE);
    lab
}

#[test]
fn nats_are_named_by_preset_by_class_by_file_and_by_groups() {
    let lab = lab();
    let asked = |nats: &str| names(&matrix(&lab, &["--nats", nats])).into_iter().map(str::to_owned).collect::<Vec<_>>();
    assert_eq!(asked("cgn,symmetric"), ["cgn", "symmetric"]);
    assert_eq!(asked("endpoint-independent/address-dependent"), ["endpoint-independent/address-dependent"]);
    assert_eq!(asked("lab.yaml:home,lab.yaml:flat"), ["lab.yaml:home", "lab.yaml:flat"]);
    assert_eq!(asked("./lab.yaml"), ["home", "carrier", "flat", "fixed"]);
    assert_eq!(asked("classes").len(), 9);
    assert_eq!(asked("symmetric,classes,symmetric").len(), 10, "each once");
    assert_eq!(names(&matrix(&lab, &["lab.yaml"])), ["home", "carrier", "flat", "fixed"]);
    assert_eq!(names(&matrix(&lab, &["lab.yaml", "--nats", "home,symmetric"])), ["home", "symmetric"]);
}

#[test]
fn a_nat_of_a_file_takes_its_link_its_addresses_and_the_nats_that_it_is_behind_along() {
    let document = matrix(&lab(), &["lab.yaml", "--nats", "home,flat"]);
    let [cell] = &cells(&document)[1..2] else { panic!() };
    let (home, flat) = (&cell["a"], &cell["b"]);
    assert_eq!(
        (&home["addresses"], &home["link"]["latency"], &home["link"]["loss"]),
        (&2.into(), &"3ms".into(), &"1%".into())
    );
    assert_eq!((&flat["type"], &flat["behind"]["type"]), (&"full-cone".into(), &"cgn".into()));
    assert_eq!((&flat["link"]["latency"], &flat["behind"]["link"]["latency"]), (&"0s".into(), &"10ms".into()));
}

#[test]
fn links_and_the_two_open_choices_are_set_for_every_nat_and_reported() {
    let options =
        ["lab.yaml", "--filter-scope", "endpoint", "--session-affinity", "off", "--latency", "25ms", "--mtu", "1400"];
    let document = matrix(&lab(), &options);
    let semantics = &document["semantics"];
    assert_eq!((&semantics["filter_scope"], &semantics["session_affinity"]), (&"endpoint".into(), &"off".into()));
    assert_eq!(semantics["link"], serde_json::json!({ "latency": "25ms", "mtu": "1400" }));
    for cell in cells(&document) {
        let outermost = if cell["a"]["behind"].is_null() { &cell["a"] } else { &cell["a"]["behind"] };
        assert_eq!((&outermost["link"]["latency"], &outermost["link"]["mtu"]), (&"25ms".into(), &1400.into()));
        assert_eq!((&cell["a"]["filter_scope"], &outermost["session_affinity"]), (&"endpoint".into(), &"off".into()));
    }
    let own = matrix(&lab(), &["lab.yaml", "--nats", "home"]);
    assert_eq!(own["semantics"]["link"], serde_json::json!({}));
    let lab = lab();
    lab.write("mixed.yaml", "nats: { one: { filter_scope: endpoint }, other: { filter_scope: mapping } }\n");
    let mixed = matrix(&lab, &["mixed.yaml"]);
    assert_eq!(
        (&mixed["semantics"]["filter_scope"], &mixed["semantics"]["session_affinity"]),
        (&"per-nat".into(), &"on".into())
    );
}

#[test]
fn seeds_begin_where_they_are_told_to() {
    let document = matrix(&Lab::new(), &["--nats", "symmetric", "--seed", "40", "--seeds", "3"]);
    let seeds: Vec<u64> = cells(&document).iter().map(|cell| cell["seed"].as_u64().unwrap()).collect();
    assert_eq!(seeds, [40, 41, 42]);
}

#[test]
fn without_any_server_on_the_way_shares_stand_in_the_table_with_a_legend() {
    let said = run(
        &Lab::new(),
        &["--nats", "symmetric,full-cone", "--seeds", "10", "--loss", "30%", "--techniques", "punch,connect"],
    );
    assert_eq!((said.code, said.err.as_str()), (0, ""));
    for expected in
        ["punch, 10 seeds from 0: callers in rows", "connect, 10 seeds", "1 symmetric", "2 full-cone", "P punched"]
    {
        assert!(said.out.contains(expected), "{expected}: {}", said.out);
    }
    assert!(said.out.contains("P95 a path in 95 % of runs"), "{}", said.out);
    assert!(
        said.out.contains("semantics: filter_scope mapping, session_affinity on, peer_reflexive on, link loss 30%")
    );
    assert!(!said.out.contains('\u{1b}'));
    let colored = run(&Lab::new(), &["--nats", "symmetric", "--color", "always"]).out;
    assert!(colored.contains("\u{1b}[36m"), "{colored}");
    let verbose = run(&Lab::new(), &["-v", "--nats", "symmetric"]).out;
    assert!(
        verbose.contains("symmetric -> symmetric  relayed") && verbose.contains("100.0% (20.7% to 100.0%)"),
        "{verbose}"
    );
    assert_eq!(run(&Lab::new(), &["-q", "--nats", "symmetric"]).out, "");
}

#[test]
fn a_file_with_deterministic_ports_gives_them_to_the_hosts_of_the_matrix() {
    let document = matrix(&lab(), &["lab.yaml", "--nats", "fixed"]);
    assert_eq!(paths(&document), ["punched"]);
    assert_eq!(cells(&document)[0]["a"]["ports"]["deterministic"]["first"], "none");
}

#[test]
fn nats_speak_for_port_mappings_what_the_run_or_their_file_lets_them() {
    let techniques = ["--techniques", "nat-pmp,pcp,upnp"];
    let spoken =
        |words: &str| matrix(&Lab::new(), &[&["--nats", "symmetric", "--control", words], &techniques[..]].concat());
    let pcp = spoken("pcp");
    assert_eq!(paths(&pcp), ["none", "mapped", "none"]);
    assert_eq!(
        (&pcp["semantics"]["control"], &cells(&pcp)[0]["b"]["control"]["speaks"]),
        (&"pcp".into(), &serde_json::json!(["pcp"]))
    );
    assert_eq!(paths(&spoken("igd2,nat-pmp")), ["mapped", "none", "mapped"]);
    let lab = Lab::new();
    lab.write("lab.yaml", "nats: { home: { type: symmetric, control: nat-pmp } }\n");
    let own = matrix(&lab, &[&["lab.yaml"], &techniques[..]].concat());
    assert_eq!((paths(&own), &own["semantics"]["control"]), (vec!["mapped", "none", "none"], &Value::Null));
    let none = matrix(&lab, &[&["lab.yaml", "--control", "none"], &techniques[..]].concat());
    assert_eq!(paths(&none), ["none", "none", "none"]);
    lab.run(&["matrix", "lab.yaml", "-o", "whole.json"]);
    assert_eq!(lab.run(&["report", "whole.json", "--format", "json"]).out, lab.read("whole.json"));
}

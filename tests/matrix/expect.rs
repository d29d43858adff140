//! Expectations: written down, held against, differences explained and made small.

use natbox::Lab as Topology;

use super::lab::Lab;
use super::{cells, run};

const NATS: [&str; 2] = ["--nats", "symmetric,full-cone"];
const EXPECT: [&str; 2] = ["--expect", "e.json"];

fn blessed(options: &[&str]) -> Lab {
    let lab = Lab::new();
    let said = run(&lab, &[options, &EXPECT, &["--bless"]].concat());
    assert_eq!((said.code, said.err.as_str()), (0, ""));
    lab
}

/// Writes another path into the file of expectations, for one pair.
fn alter(lab: &Lab, a: &str, b: &str, path: &str) {
    let text = lab.read("e.json");
    let pair = format!("{{\"a\":\"{a}\",\"b\":\"{b}\"");
    let line = text.lines().find(|line| line.contains(&pair)).unwrap();
    let (head, paths) = line.split_once("\"paths\":[").unwrap();
    let first = paths.split([',', ']']).next().unwrap();
    let altered = format!("{head}\"paths\":[{}", paths.replacen(first, &format!("\"{path}\""), 1));
    lab.write("e.json", &text.replacen(line, &altered, 1));
}

#[test]
fn what_is_blessed_holds_until_something_differs() {
    let lab = blessed(&NATS);
    let said = run(&lab, &[NATS, EXPECT].concat());
    assert_eq!((said.code, said.err.as_str()), (0, ""));
    assert!(said.out.ends_with("4 cells: 3 punched, 1 relayed; all as expected\n"), "{}", said.out);
    alter(&lab, "symmetric", "symmetric", "punched");
    let said = run(&lab, &[NATS, EXPECT].concat());
    assert_eq!((said.code, said.err.as_str()), (1, ""));
    for expected in [
        "1 not as expected",
        "! not as expected",
        "connect from symmetric to symmetric, seed 0: expected punched, came to relayed",
        "dropped at home-b: filtered (address-and-port-dependent): 198.18.0.2:",
        "made small: natbox run e.differs/connect--symmetric--symmetric--seed-0.yaml",
    ] {
        assert!(said.out.contains(expected), "{expected}: {}", said.out);
    }
    let again = run(&lab, &[&NATS[..], &EXPECT, &["--bless"]].concat());
    assert_eq!(again.code, 0);
    assert_eq!(run(&lab, &[NATS, EXPECT].concat()).code, 0);
}

#[test]
fn blessing_writes_the_same_file_every_time_and_leaves_nothing_beside_it() {
    let lab = blessed(&NATS);
    let first = lab.read("e.json");
    run(&lab, &[&NATS[..], &EXPECT, &["--bless", "--jobs", "1"]].concat());
    assert_eq!((lab.read("e.json"), lab.files()), (first, vec!["e.json".to_owned()]));
}

#[test]
fn expected_and_ok_stand_in_every_document_and_json_keeps_standard_output_to_itself() {
    let lab = blessed(&NATS);
    alter(&lab, "full-cone", "symmetric", "relayed");
    let said = run(&lab, &[&NATS[..], &EXPECT, &["--format", "json"]].concat());
    assert_eq!(said.code, 1);
    let document: serde_json::Value = serde_json::from_str(&said.out).unwrap();
    let differing: Vec<_> = cells(&document).iter().filter(|cell| cell["ok"] == false).collect();
    assert_eq!(differing.len(), 1);
    assert_eq!((&differing[0]["expected"], &differing[0]["path"]), (&"relayed".into(), &"punched".into()));
    assert!(cells(&document).iter().all(|cell| cell["expected"].is_string()));
    assert!(said.err.contains("expected relayed, came to punched"), "{}", said.err);
    let junit = run(&lab, &[&NATS[..], &EXPECT, &["--format", "junit"]].concat()).out;
    assert!(
        junit.contains("failures=\"1\"") && junit.contains("<failure message=\"expected relayed, came to punched\""),
        "{junit}"
    );
    let markdown = run(&lab, &[&NATS[..], &EXPECT, &["--format", "markdown"]].concat()).out;
    assert!(markdown.contains("**P!**"), "{markdown}");
    let html = run(&lab, &[&NATS[..], &EXPECT, &["--format", "html"]].concat()).out;
    assert!(html.contains("P!") && html.contains("stroke:#b3261e"));
}

#[test]
fn a_cell_that_differs_is_made_as_small_as_it_can_be_and_still_shows_it() {
    let lab = Lab::new();
    // Much that does not matter: a preset with axes of its own, links, addresses, a carrier, a seed.
    lab.write(
        "lab.yaml",
        "\
nats:
  carrier: { type: full-cone, link: { latency: 20ms } }
  home: { type: symmetric, behind: carrier, hairpin: internal-source, timeouts: { udp: 45s } }
  office: { type: symmetric, addresses: 3, link: { jitter: 3ms, loss: 0.1%, mtu: 1400 }, ports: { allocation: random } }
",
    );
    let options = ["lab.yaml", "--nats", "home,office", "--seed", "41", "--seeds", "2"];
    run(&lab, &[&options[..], &EXPECT, &["--bless"]].concat());
    alter(&lab, "home", "office", "punched");
    let said = run(&lab, &[&options[..], &EXPECT, &["--shrink-to", "small"]].concat());
    assert_eq!(said.code, 1, "{}", said.err);
    let file = "small/connect--home--office--seed-41.yaml";
    assert!(said.out.contains(file), "{}", said.out);
    let text = lab.read(file);
    for gone in ["seed", "link:", "carrier", "behind: home-a-2", "addresses", "timeouts", "random", "hairpin"] {
        assert!(!text.lines().skip(1).any(|line| line.contains(gone)), "{gone}: {text}");
    }
    let axes = text
        .lines()
        .filter(|line| line.contains("home-a: {") || line.contains("home-b: {"))
        .flat_map(|line| line.match_indices("ing: "));
    assert_eq!(axes.count(), 3, "either side's filtering, and one mapping: {text}");
    let outcome = Topology::from_file(lab.path(file)).unwrap().run().unwrap();
    assert_eq!((outcome.ok, outcome.steps[0].fact("path")), (false, Some("relayed")));
    assert_eq!(outcome.steps[0].expected.as_deref(), Some("path punched"));
    assert_eq!(lab.run(&["run", file]).code, 1);
}

#[test]
fn a_path_that_only_an_impairment_explains_keeps_the_impairment() {
    let lab = Lab::new();
    let options =
        ["--nats", "full-cone", "--techniques", "punch", "--seeds", "12", "--loss", "60%", "--latency", "1ms"];
    run(&lab, &[&options[..], &EXPECT, &["--bless"]].concat());
    let text = lab.read("e.json");
    assert!(text.contains(",\"none\""), "with 60 % of loss some fail: {text}");
    let (head, expected) = text.split_once("\"expected\":").unwrap();
    lab.write("e.json", &format!("{head}\"expected\":{}", expected.replace("\"none\"", "\"punched\"")));
    let said = run(&lab, &[&options[..], &EXPECT].concat());
    assert_eq!(said.code, 1);
    let file = said.out.lines().find_map(|line| line.strip_prefix("made small: natbox run ")).unwrap();
    let small = lab.read(file);
    assert_eq!(lab.run(&["run", file]).code, 1);
    assert!(!small.contains("latency"), "{small}");
}

#[test]
fn a_file_for_another_matrix_is_an_error_that_says_in_what_it_differs() {
    let lab = blessed(&[&NATS[..], &["--seeds", "2"]].concat());
    let text = lab.read("e.json");
    for (options, message) in [
        (&["--nats", "symmetric", "--seeds", "2"][..], "nats: symmetric, full-cone there, symmetric here"),
        (&["--nats", "symmetric,full-cone"], "seeds: 2 there, 1 here"),
        (&["--nats", "symmetric,full-cone", "--seeds", "2", "--seed", "1"], "first_seed: 0 there, 1 here"),
        (
            &["--nats", "symmetric,full-cone", "--seeds", "2", "--techniques", "punch"],
            "techniques: connect there, punch here",
        ),
        (&["--nats", "symmetric,full-cone", "--seeds", "2", "--loss", "1%"], "link.loss: nothing there, 1% here"),
        (
            &["--nats", "symmetric,full-cone", "--seeds", "2", "--filter-scope", "endpoint"],
            "filter_scope: mapping there, endpoint here",
        ),
        (
            &["--nats", "symmetric,full-cone", "--seeds", "2", "--session-affinity", "off"],
            "session_affinity: on there, off here",
        ),
    ] {
        let said = run(&lab, &[options, &EXPECT, &["-o", "never.json"]].concat());
        assert_eq!((said.code, said.out.as_str()), (2, ""), "{options:?}");
        assert!(
            said.err.starts_with("error: e.json was written for another matrix:") && said.err.contains(message),
            "{message}: {}",
            said.err
        );
    }
    let options = [&NATS[..], &["--seeds", "2"], &EXPECT].concat();
    for (from, to, message) in [
        ("\"version\":\"", "\"version\":\"9.", "version: 9."),
        ("\"natbox\": 1", "\"natbox\": 3", "natbox: 3 there, 1 here"),
        (
            "\"hairpin_filter\":\"apply\"",
            "\"hairpin_filter\":\"bypass\"",
            "NAT `full-cone` has other axes: hairpin_filter bypass there, apply here",
        ),
        (
            "[\"relayed\",\"relayed\"]",
            "[\"relayed\"]",
            "e.json has no path for connect from symmetric to symmetric, seed 1",
        ),
        (
            "[\"relayed\",\"relayed\"]",
            "[\"relayed\",\"tunnelled\"]",
            "e.json has no path for connect from symmetric to symmetric, seed 1",
        ),
        ("\"expected\"", "\"awaited\"", "this is no file of expectations"),
    ] {
        assert!(text.contains(from), "{from}: {text}");
        lab.write("e.json", &text.replacen(from, to, 1));
        let said = run(&lab, &options);
        assert_eq!((said.code, said.out.as_str()), (2, ""), "{from}");
        assert!(said.err.contains(message), "{message}: {}", said.err);
    }
    lab.write("e.json", &text[..text.len() / 2]);
    assert_eq!(run(&lab, &options).code, 2);
    assert_eq!(lab.files(), ["e.json"]);
}

#[test]
fn parts_are_held_against_the_whole_s_file_and_cannot_be_blessed_alone() {
    let lab = blessed(&NATS);
    for part in ["1/2", "2/2"] {
        let said = run(&lab, &[&NATS[..], &EXPECT, &["--shard", part]].concat());
        assert_eq!((said.code, said.err.as_str()), (0, ""), "{part}");
        let said = run(&lab, &[&NATS[..], &["--expect", "part.json", "--bless", "--shard", part]].concat());
        assert_eq!(said.code, 2);
        assert!(said.err.contains("a part of a sweep cannot be blessed"), "{}", said.err);
    }
    assert_eq!(lab.files(), ["e.json"]);
    for part in [1, 2] {
        let (shard, file) = (format!("{part}/2"), format!("p{part}.json"));
        run(&lab, &[&NATS[..], &["--shard", &shard, "-o", &file]].concat());
    }
    alter(&lab, "symmetric", "symmetric", "none");
    let said = lab.run(&["report", "p1.json", "p2.json", "--expect", "e.json"]);
    assert_eq!(said.code, 1, "{}", said.err);
    assert!(said.out.contains("expected none, came to relayed"), "{}", said.out);
    let said = lab.run(&["report", "p1.json", "p2.json", "--expect", "new.json", "--bless"]);
    assert_eq!((said.code, said.err.as_str()), (0, ""));
    assert_eq!(run(&lab, &[&NATS[..], &["--expect", "new.json"]].concat()).code, 0);
}

//! `natbox replay`, and `inspect --follow` where there is nothing to follow.

use assert_cmd::Command;

const ROOT: &str = env!("CARGO_MANIFEST_DIR");

fn natbox(arguments: &[&str]) -> (String, String, Option<i32>) {
    let mut command = Command::cargo_bin("natbox").unwrap();
    let output = command.env("NO_COLOR", "1").current_dir(ROOT).args(arguments).output().unwrap();
    let text = |bytes| String::from_utf8(bytes).unwrap();
    (text(output.stdout), text(output.stderr), output.status.code())
}

/// The topology of the page's example, and what the page shows.
fn example() -> (tempfile::TempDir, String, String) {
    let page = std::fs::read_to_string("docs/live.md").unwrap();
    let begin = "$ natbox replay captures/two-callees.pcapng stricter.yaml\n";
    let shown = page.split_once(begin).and_then(|(_, rest)| rest.split_once("```")).unwrap().0.to_owned();
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("stricter.yaml").display().to_string();
    let yaml = std::fs::read_to_string("topologies/lecture/two-callees.yaml").unwrap();
    std::fs::write(&file, yaml.replace("full-cone", "port-restricted-cone")).unwrap();
    (folder, file, shown)
}

#[test]
fn what_fares_differently_is_told_as_the_page_shows_and_is_exit_code_1() {
    let (_folder, file, shown) = example();
    assert_eq!(natbox(&["replay", "captures/two-callees.pcapng", &file]), (shown.clone(), String::new(), Some(1)));
    let (short, _, code) = natbox(&["replay", "-q", "captures/two-callees.pcapng", &file]);
    assert_eq!((short.as_str(), code), ("4 packets replayed, 2 fare differently: 2 now dropped\n", Some(1)));
    assert!(shown.ends_with(&short));
}

#[test]
fn a_replay_is_json_too_also_in_a_file() {
    let (folder, file, _) = example();
    let (text, _, code) = natbox(&["replay", "captures/two-callees.pcapng", &file, "--format", "json"]);
    assert_eq!(code, Some(1));
    let json: serde_json::Value = serde_json::from_str(&text).unwrap();
    assert_eq!((&json["natbox"], &json["packets"], &json["same"]), (&1.into(), &4.into(), &2.into()));
    let first = &json["differences"][0];
    assert_eq!((&first["kind"], &first["host"]), (&"now-dropped".into(), &"a".into()));
    assert_eq!((&first["then"]["end"], &first["then"]["at"]), (&"arrived".into(), &"s1".into()));
    assert_eq!((&first["now"]["end"], &first["now"]["reason"]), (&"dropped".into(), &"filtered".into()));
    let out = folder.path().join("report.json").display().to_string();
    let there = natbox(&["replay", "captures/two-callees.pcapng", &file, "--format", "json", "-o", &out]);
    assert_eq!(there, (String::new(), String::new(), Some(1)));
    assert_eq!(std::fs::read_to_string(out).unwrap(), text);
}

#[test]
fn what_cannot_be_replayed_is_exit_code_2_and_says_why() {
    let topology = "topologies/lecture/two-callees.yaml";
    let cases = [
        (vec!["replay", "no-such.pcapng", topology], "error: no-such.pcapng: No such file"),
        (vec!["replay", "README.md", topology], "error: README.md: not a pcapng capture"),
        (vec!["replay", "captures/two-callees.pcapng", "README.md"], "error"),
        (
            vec!["replay", "captures/two-callees.pcapng", "topologies/two-homes.yaml"],
            "error: captures/two-callees.pcapng: `s1` sends packets in the capture, and is no host of the topology; it has ",
        ),
        (
            vec!["replay", "captures/two-callees.pcapng", topology, "-o", "no/such/file"],
            "error: cannot write no/such/file",
        ),
        (vec!["inspect", "--follow", "no-such.pcapng"], "error: no-such.pcapng: No such file"),
        (vec!["inspect", "--follow", "README.md"], "error: README.md: not a pcapng capture"),
        (
            vec!["inspect", "--follow", "captures/two-callees.pcapng", "--nat", "n3"],
            "error: captures/two-callees.pcapng: no NAT `n3` in this capture; did you mean `n2`?",
        ),
    ];
    for (arguments, said) in cases {
        let (stdout, stderr, code) = natbox(&arguments);
        assert_eq!((stdout.as_str(), code), ("", Some(2)), "{arguments:?}");
        assert!(stderr.starts_with(said), "{arguments:?}: {stderr}");
    }
}

#[test]
fn a_capture_that_is_whole_is_followed_to_its_end() {
    let (followed, _, code) = natbox(&["inspect", "--follow", "captures/two-callees.pcapng", "-q"]);
    let (whole, ..) = natbox(&["inspect", "captures/two-callees.pcapng", "-q"]);
    assert_eq!((followed, code), (whole, Some(0)));
}

//! `natbox inspect`.

use natbox::capture::save;
use natbox::record::Limits;
use serde_json::Value;

use super::lab::{Lab, said};
use super::scene::{names, walk};

fn lab() -> Lab {
    let lab = Lab::new();
    save(&lab.path("walk.pcapng"), &walk(Limits::CAPTURE), &names()).unwrap();
    lab
}

#[test]
fn packets_are_listed_with_what_happened_to_them() {
    let said = lab().run(&["inspect", "walk.pcapng"]);
    assert_eq!((said.code, said.err.as_str()), (0, ""));
    assert_eq!(said.out.lines().count(), 13);
    assert!(said.out.contains("10.0.0.2:5000 -> 198.18.0.3:40001, new mapping #4"), "{}", said.out);
    assert!(
        said.out
            .ends_with("12 lines, 5 dropped: 1 loss, 1 no-route, 1 private-destination, 1 no-mapping, 1 filtered\n")
    );
}

#[test]
fn filters_narrow_the_list_down() {
    let lab = lab();
    let lines = |arguments: &[&str]| {
        let said = lab.run(&[&["inspect", "walk.pcapng", "--quiet"], arguments].concat());
        assert_eq!(said.code, 0, "{}", said.err);
        said.out.lines().count()
    };
    assert_eq!(lines(&["--host", "alice"]), 8);
    assert_eq!(lines(&["--nat", "home-a"]), 6);
    assert_eq!(lines(&["--reason", "filtered"]), 1);
    assert_eq!(lines(&["--flow", "alice-relay"]), 7);
    assert_eq!(lines(&["--host", "alice", "--nat", "home-a", "--reason", "loss"]), 1);
    assert_eq!(lines(&["--reason", "queue-full"]), 0);
}

#[test]
fn the_ladder_has_the_nodes_as_columns() {
    let said = lab().run(&["inspect", "walk.pcapng", "--ladder"]);
    assert_eq!(said.code, 0);
    let head = said.out.lines().next().unwrap().split_whitespace().collect::<Vec<_>>();
    assert_eq!(head, ["alice", "home-a", "relay", "internet"]);
}

#[test]
fn json_parses_and_colours_are_for_people() {
    let lab = lab();
    let json = lab.run(&["inspect", "walk.pcapng", "--format", "json", "--color", "always"]).out;
    let document: Value = serde_json::from_str(&json).unwrap();
    assert_eq!(document["packets"].as_array().unwrap().len(), 12);
    let mut command = lab.command(&["inspect", "walk.pcapng", "--color", "always"]);
    assert!(said(&mut command).out.contains("\u{1b}[31mdropped at home-a"));
}

#[test]
fn names_and_reasons_that_are_not_there_exit_2_with_a_suggestion() {
    let lab = lab();
    let error = |arguments: &[&str]| {
        let said = lab.run(&[&["inspect", "walk.pcapng"], arguments].concat());
        assert_eq!((said.code, said.out.as_str()), (2, ""), "{arguments:?}");
        said.err
    };
    assert_eq!(error(&["--reason", "filterd"]), "error: unknown drop reason `filterd`; did you mean `filtered`?\n");
    let host = error(&["--host", "alcie"]);
    assert_eq!(host, "error: walk.pcapng: no host `alcie` in this capture; did you mean `alice`?\n");
    assert!(error(&["--nat", "bob"]).contains("no NAT `bob`"));
    assert!(error(&["--flow", "alice"]).contains("expected A-B"));
}

#[test]
fn files_that_are_no_captures_exit_2() {
    let lab = lab();
    lab.write("lab.yaml", "hosts: {}\n");
    std::fs::write(lab.path("cut.pcapng"), &std::fs::read(lab.path("walk.pcapng")).unwrap()[..500]).unwrap();
    for (file, why) in [
        ("lab.yaml", "not a pcapng capture: it does not begin with a section header"),
        ("missing.pcapng", "No such file"),
        (".", "directory"),
        ("cut.pcapng", "of the capture is broken"),
    ] {
        let said = lab.run(&["inspect", file]);
        assert_eq!(said.code, 2, "{file}");
        assert!(said.err.starts_with("error: ") && said.err.contains(why), "{file}: {}", said.err);
    }
}

#[cfg(unix)]
#[test]
fn what_can_be_read_only_once_is_refused() {
    let said = lab().run(&["inspect", "/dev/null"]);
    assert_eq!(said.code, 2);
    assert!(said.err.contains("/dev/null is no regular file"), "{}", said.err);
}

//! `natbox nat`.

use natbox::nat::preset;
use serde_json::Value;

use super::lab::{Lab, said};

#[test]
fn the_list_has_a_line_for_every_preset() {
    let said = Lab::new().run(&["nat", "list"]);
    assert_eq!(said.code, 0);
    let names = said.out.lines().skip(1).map(|line| line.split_whitespace().next().unwrap()).collect::<Vec<_>>();
    assert_eq!(names, preset::all().iter().map(|preset| preset.name).collect::<Vec<_>>());
    for expected in
        ["full-cone", "restricted-cone", "port-restricted-cone", "symmetric", "symmetric-udp-firewall", "none"]
    {
        assert!(names.contains(&expected), "{expected}");
    }
}

#[test]
fn a_quiet_list_is_the_names_alone() {
    let said = Lab::new().run(&["nat", "list", "--quiet"]);
    assert_eq!(
        said.out.lines().collect::<Vec<_>>(),
        preset::all().iter().map(|preset| preset.name).collect::<Vec<_>>()
    );
}

#[test]
fn every_preset_shows_its_source_and_every_axis() {
    let lab = Lab::new();
    for preset in preset::all() {
        let said = lab.run(&["nat", "show", preset.name]);
        assert_eq!(said.code, 0);
        assert!(said.out.starts_with(&format!("{}: {}\n", preset.name, preset.summary)), "{}", said.out);
        assert!(said.out.contains(&format!("Source: {}", preset.source)), "{}", said.out);
        assert!(said.out.contains(&format!("Observed on: {}", preset.observed)), "{}", said.out);
        assert_eq!(preset.unknown().is_empty(), !said.out.contains("not known; the default"), "{}", said.out);
        for (axis, word) in preset.behavior.axes() {
            let line = |line: &str| {
                let line = line.trim_end_matches(" (not known; the default)").trim();
                line.strip_prefix(axis).is_some_and(|rest| rest.starts_with(' ') && rest.trim() == word)
            };
            assert!(said.out.lines().any(line), "{axis} {word}: {}", said.out);
        }
    }
}

#[test]
fn json_has_the_keys_of_topology_files() {
    let lab = Lab::new();
    let shown: Value = serde_json::from_str(&lab.run(&["nat", "show", "symmetric", "--format", "json"]).out).unwrap();
    assert_eq!(shown["natbox"], 1);
    let behavior = &shown["preset"]["behavior"];
    assert_eq!(behavior["mapping"], "address-and-port-dependent");
    assert_eq!(behavior["ports"]["allocation"], "random");
    assert_eq!(behavior["timeouts"]["udp"], "300s");
    let list: Value = serde_json::from_str(&lab.run(&["nat", "list", "--format", "json"]).out).unwrap();
    assert_eq!(list["presets"].as_array().unwrap().len(), preset::all().len());
}

#[test]
fn a_misspelt_name_gets_a_suggestion_and_a_strange_one_the_list() {
    let lab = Lab::new();
    let near = lab.run(&["nat", "show", "symetric"]);
    assert_eq!((near.code, near.out.as_str()), (2, ""));
    assert_eq!(near.err, "error: no preset is called `symetric`; did you mean `symmetric`?\n");
    let far = lab.run(&["nat", "show", "zzz"]);
    assert_eq!(far.code, 2);
    assert!(far.err.contains("known: full-cone, restricted-cone"), "{}", far.err);
}

#[test]
fn colours_follow_the_flag_and_no_color() {
    let lab = Lab::new();
    let colored = |arguments: &[&str], no_color: bool, force: bool| {
        let mut command = lab.command(arguments);
        if no_color {
            command.env("NO_COLOR", "1");
        }
        if force {
            command.env("CLICOLOR_FORCE", "1");
        }
        said(&mut command).out.contains('\u{1b}')
    };
    let (auto, always, never) = (
        &["nat", "show", "cgn"][..],
        &["nat", "show", "cgn", "--color", "always"][..],
        &["--color", "never", "nat", "show", "cgn"][..],
    );
    assert!(!colored(auto, false, false), "a pipe is no terminal");
    assert!(colored(auto, false, true));
    assert!(!colored(auto, true, false));
    assert!(colored(always, false, false));
    assert!(colored(always, true, false), "what is typed counts more than the environment");
    assert!(!colored(never, false, true));
}

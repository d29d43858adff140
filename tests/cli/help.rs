//! Help, usage errors, version, completions, schema.

use clap_complete::Shell;
use serde_json::Value;

use super::lab::Lab;

#[test]
fn the_help_of_each_command_shows_examples() {
    let lab = Lab::new();
    for command in [
        "",
        "run",
        "check",
        "inspect",
        "matrix",
        "population",
        "report",
        "up",
        "exec",
        "shell",
        "down",
        "reboot",
        "readdress",
        "move",
        "set",
        "link",
        "cut",
        "mend",
        "conform",
        "nat",
        "nat list",
        "nat show",
        "probe nat",
        "schema",
        "completions",
    ] {
        let mut arguments = command.split_whitespace().collect::<Vec<_>>();
        arguments.push("--help");
        let said = lab.run(&arguments);
        assert_eq!((said.code, said.err.as_str()), (0, ""), "{command}");
        let (_, examples) = said.out.split_once("Examples:").unwrap_or_else(|| panic!("{command}: {}", said.out));
        assert!(examples.contains(&format!("natbox {command}")), "{command}: {examples}");
        assert!(!said.out.contains('\u{1b}'), "{command}");
    }
}

#[test]
fn the_help_names_no_command_that_is_not_there() {
    let lab = Lab::new();
    let help = lab.run(&["--help"]).out;
    let commands = help.split_once("Commands:").unwrap().1.split_once("Options:").unwrap().0;
    let names = commands.lines().filter_map(|line| line.split_whitespace().next()).collect::<Vec<_>>();
    assert_eq!(
        names,
        [
            "run",
            "check",
            "inspect",
            "matrix",
            "population",
            "report",
            "conform",
            "nat",
            "up",
            "exec",
            "shell",
            "down",
            "reboot",
            "readdress",
            "move",
            "set",
            "link",
            "cut",
            "mend",
            "probe",
            "schema",
            "completions",
            "help"
        ]
    );
}

#[test]
fn wrong_usage_exits_2() {
    let lab = Lab::new();
    for arguments in [
        &[][..],
        &["frobnicate"],
        &["run"],
        &["check"],
        &["check", "--format", "html", "x.yaml"],
        &["inspect", "--no-such-flag", "x"],
        &["inspect", "x", "--ladder", "--format", "json"],
        &["run", "x.yaml", "--seed", "many"],
        &["completions", "tcsh"],
        &["nat"],
        &["--quiet", "--verbose", "nat", "list"],
    ] {
        let said = lab.run(arguments);
        assert_eq!(said.code, 2, "{arguments:?}: {said:?}");
        assert!(said.out.is_empty() && !said.err.is_empty(), "{arguments:?}: {said:?}");
    }
}

#[test]
fn the_version_is_the_package_s() {
    let said = Lab::new().run(&["--version"]);
    assert_eq!((said.code, said.out), (0, format!("natbox {}\n", env!("CARGO_PKG_VERSION"))));
}

#[test]
fn completions_name_the_commands_in_every_shell() {
    let lab = Lab::new();
    for shell in [Shell::Bash, Shell::Elvish, Shell::Fish, Shell::PowerShell, Shell::Zsh] {
        let said = lab.run(&["completions", &shell.to_string()]);
        assert_eq!(said.code, 0);
        assert!(said.out.contains("inspect") && said.out.contains("natbox"), "{shell}");
    }
}

#[test]
fn the_schema_is_a_json_schema_of_the_files_keys() {
    let said = Lab::new().run(&["schema"]);
    let schema: Value = serde_json::from_str(&said.out).unwrap();
    assert_eq!((said.code, &schema["$schema"]), (0, &"https://json-schema.org/draft/2020-12/schema".into()));
    for key in ["name", "seed", "internet", "nats", "hosts", "scenario"] {
        assert!(schema["properties"][key].is_object(), "{key}");
    }
}

#[cfg(unix)]
#[test]
fn a_reader_that_has_seen_enough_is_no_failure() {
    use std::process::{Command, Stdio};
    for arguments in [&["schema"][..], &["nat", "list"], &["completions", "bash"]] {
        let mut child = Command::new(env!("CARGO_BIN_EXE_natbox"))
            .args(arguments)
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        // Closed before anything was read.
        drop(child.stdout.take());
        let output = child.wait_with_output().unwrap();
        assert_eq!((output.status.code(), output.stderr), (Some(0), Vec::new()), "{arguments:?}");
    }
}

#[cfg(target_os = "linux")]
#[test]
fn an_output_that_cannot_be_written_exits_2() {
    use std::fs::File;
    use std::process::Command;
    let full = File::options().write(true).open("/dev/full").unwrap();
    let output = Command::new(env!("CARGO_BIN_EXE_natbox")).arg("schema").stdout(full).output().unwrap();
    assert_eq!(output.status.code(), Some(2));
    assert!(String::from_utf8(output.stderr).unwrap().starts_with("error: cannot write the output"));
}

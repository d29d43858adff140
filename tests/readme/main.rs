//! The README holds: its commands print what it shows, its topologies run, its links lead somewhere.
//!
//! Its Rust is a doctest of the library. With NATBOX_BLESS set, what the commands print is written into it anew.

#![allow(missing_docs, reason = "tests")]

#[path = "../common/golden.rs"]
mod golden;

use std::fs;
use std::path::Path;

use assert_cmd::Command;
use natbox::Lab;
use natbox::probes::technique::Technique;
use natbox::wire::Word;

const ROOT: &str = env!("CARGO_MANIFEST_DIR");

fn readme() -> String {
    fs::read_to_string(Path::new(ROOT).join("README.md")).unwrap()
}

/// The texts of the fenced blocks in this language.
fn blocks<'a>(readme: &'a str, language: &str) -> Vec<&'a str> {
    let begin = format!("```{language}\n");
    let ended = |rest: &'a str| rest.split_once("```\n").expect("a fence that ends").0;
    let blocks: Vec<&str> = readme.split(&begin).skip(1).map(ended).collect();
    assert!(!blocks.is_empty(), "no block of {language}");
    blocks
}

/// What a command line of the README prints when it is run at the root of the repository.
fn printed(line: &str) -> String {
    let mut words = line.split_whitespace();
    assert_eq!(words.next(), Some("natbox"), "{line}");
    let mut command = Command::cargo_bin("natbox").unwrap();
    for variable in ["NO_COLOR", "CLICOLOR", "CLICOLOR_FORCE", "RUST_BACKTRACE"] {
        command.env_remove(variable);
    }
    let output = command.current_dir(ROOT).args(words).output().unwrap();
    assert_eq!(String::from_utf8(output.stderr).unwrap(), "", "{line}");
    assert!(output.status.success(), "{line}: {}", output.status);
    String::from_utf8(output.stdout).unwrap()
}

/// A block of console, with every command's output as it is.
fn replayed(block: &str) -> String {
    let commands = block.lines().filter_map(|line| line.strip_prefix("$ "));
    commands.map(|command| format!("$ {command}\n{}", printed(command))).collect()
}

#[test]
fn commands_print_what_it_shows() {
    let mut text = readme();
    for block in blocks(&readme(), "console") {
        let fresh = replayed(block);
        assert!(fresh.starts_with("$ natbox "), "{block}");
        text = text.replacen(&format!("```console\n{block}```\n"), &format!("```console\n{fresh}```\n"), 1);
    }
    golden::golden("README.md", text.as_bytes());
}

#[test]
fn topologies_run_and_their_expectations_hold() {
    for block in blocks(&readme(), "yaml") {
        let outcome = Lab::from_yaml(block).unwrap_or_else(|error| panic!("{error}")).run().unwrap();
        assert!(outcome.ok, "{}", outcome.to_json());
        assert!(outcome.steps.iter().any(|step| step.expected.is_some()), "{block}");
        // One that says which file it is, is that file without the comment at its top.
        if let Some(file) = block.lines().next().and_then(|line| line.strip_prefix("# topologies/")) {
            let file = fs::read_to_string(Path::new(ROOT).join("topologies").join(file)).unwrap();
            let body =
                |text: &str| text.lines().skip_while(|line| line.starts_with('#')).collect::<Vec<_>>().join("\n");
            assert_eq!(body(block), body(&file));
        }
    }
}

#[test]
fn links_and_names_of_files_lead_to_files() {
    let text = readme();
    let links = text.split("](").skip(1).map(|rest| rest.split(')').next().unwrap());
    let links = links.filter(|link| !link.contains("://") && !link.starts_with('#'));
    let quoted = text.split('`').filter(|word| {
        let folder = ["topologies/", "captures/", "docs/", "tests/"].iter().any(|folder| word.starts_with(folder));
        folder && !word.contains(char::is_whitespace)
    });
    let missing: Vec<&str> = links.chain(quoted).filter(|name| !Path::new(ROOT).join(name).exists()).collect();
    assert!(missing.is_empty(), "{missing:?}");
}

#[test]
fn every_shipped_topology_is_in_its_table() {
    let text = readme();
    for folder in ["topologies", "topologies/lecture", "topologies/scripts", "topologies/techniques", "topologies/live"]
    {
        for entry in fs::read_dir(Path::new(ROOT).join(folder)).unwrap() {
            let name = entry.unwrap().file_name().into_string().unwrap();
            let row = format!("| `{folder}/{name}` |");
            assert!(!name.ends_with(".yaml") || text.contains(&row), "{row}");
        }
    }
}

#[test]
fn every_technique_is_in_its_table() {
    let text = readme();
    let section = text.split("## Techniques").nth(1).and_then(|rest| rest.split("\n## ").next()).unwrap();
    for technique in Technique::ALL {
        assert!(section.contains(&format!("`{technique}`")), "{technique}");
    }
}

#[test]
fn its_rust_tests_are_run_word_for_word() {
    let (readme, run) = (readme(), include_str!("../examples/ten_lines.rs"));
    let tests: Vec<&str> = blocks(&readme, "rust").into_iter().filter(|block| block.contains("#[test]")).collect();
    assert_eq!(tests.len(), 2, "one pair, and a matrix");
    for test in tests {
        assert!(run.contains(test.trim()), "tests/examples/ten_lines.rs does not have this:\n{test}");
        assert!(test.trim().lines().count() <= 14, "a test is ten lines, and its imports:\n{test}");
    }
}

#[test]
fn its_examples_are_those_there_are() {
    let readme = readme();
    for entry in fs::read_dir(Path::new(ROOT).join("natbox/lab/examples")).expect("examples") {
        let name = entry.expect("an example").file_name().to_string_lossy().replace(".rs", "");
        assert!(readme.contains(&format!("| `{name}` |")), "the README does not name the example `{name}`");
    }
}

//! Every topology file runs, and what it expects holds.

use std::path::{Path, PathBuf};

use natbox::Lab;

/// Every shipped topology file.
fn files() -> Vec<PathBuf> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("topologies");
    let mut files = Vec::new();
    for folder in [root.clone(), root.join("lecture")] {
        let entries = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
        files.extend(entries.filter(|path| path.extension().is_some_and(|extension| extension == "yaml")));
    }
    files.sort();
    files
}

#[test]
fn every_file_runs_and_its_expectations_hold() {
    let mut failed = String::new();
    for file in files() {
        let outcome = Lab::from_file(&file).unwrap_or_else(|error| panic!("{error}")).run().unwrap_or_else(|error| panic!("{}: {error}", file.display()));
        for step in &outcome.steps {
            let line = format!("{}:{} {} -> {} [{}]\n", outcome.name, step.line, step.description, step.got, step.ok);
            if !step.ok { failed.push_str(&line); failed.push_str(&format!("  expected {:?}\n  {}\n", step.expected, step.reasons.join("\n  "))); }
            print!("{line}");
        }
    }
    assert!(failed.is_empty(), "{failed}");
}

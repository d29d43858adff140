//! Every topology file that is shipped runs, says what it shows, and comes to what it expects.

use std::path::{Path, PathBuf};

use natbox::record::Limits;
use natbox::{Lab, capture};

/// Every shipped topology file.
fn files() -> Vec<PathBuf> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("topologies");
    let mut files = Vec::new();
    for folder in [root.clone(), root.join("lecture"), root.join("scripts"), root.join("techniques")] {
        let entries = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
        files.extend(entries.filter(|path| path.extension().is_some_and(|extension| extension == "yaml")));
    }
    files.sort();
    assert!(files.len() >= 10, "{files:?}");
    files
}

fn lab(file: &Path) -> Lab {
    Lab::from_file(file).unwrap_or_else(|error| panic!("{error}"))
}

#[test]
fn every_file_runs_and_its_expectations_hold() {
    let mut failed = Vec::new();
    for file in files() {
        let outcome = lab(&file).run().unwrap_or_else(|error| panic!("{}: {error}", file.display()));
        let told = |step: &natbox::outcome::StepResult| format!("{}:{} {step:#?}", file.display(), step.line);
        failed.extend(outcome.failures().map(told));
        assert!(outcome.steps.iter().any(|step| step.expected.is_some()), "{} expects nothing", file.display());
    }
    assert!(failed.is_empty(), "{}", failed.join("\n"));
}

#[test]
fn expectations_hold_for_other_seeds_too() {
    for file in files() {
        // How much a lossy link loses depends on the seed: that file's ranges are for its own.
        if file.ends_with("lossy-link.yaml") {
            continue;
        }
        for seed in [1, 2, 99] {
            let outcome = lab(&file).seed(seed).run().unwrap();
            let failed: Vec<_> = outcome.failures().collect();
            assert!(failed.is_empty(), "{} seed {seed}: {failed:#?}", file.display());
        }
    }
}

#[test]
fn two_runs_of_one_seed_are_alike_to_the_byte_in_outcome_and_capture() {
    let run = |file: &Path| {
        let recording = lab(file).limits(Limits::CAPTURE).run_recorded().unwrap();
        let mut bytes = Vec::new();
        let written = capture::write(&mut bytes, &recording.log, &recording.names).unwrap();
        (recording.outcome.to_json(), bytes, written.packets)
    };
    for file in files() {
        let (first, second) = (run(&file), run(&file));
        assert_eq!(first.0, second.0, "{}", file.display());
        assert_eq!(first.2, second.2, "{}", file.display());
        // The keys of TLS come from the operating system: what happens is alike, the bytes of QUIC's and TLS's packets are not.
        let seeded = !file.ends_with("quic.yaml") && !file.ends_with("turn-tls.yaml");
        assert!(!seeded || first.1 == second.1, "{}: the captures differ", file.display());
    }
}

#[test]
fn another_seed_gives_other_dice() {
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("topologies/lossy-link.yaml");
    let loss = |seed| lab(&file).seed(seed).run().unwrap().steps[0].facts["rtt_mean_ns"].clone();
    assert_ne!(loss(1), loss(2));
}

#[test]
fn every_file_says_in_its_first_comment_what_it_shows() {
    for file in files() {
        let text = std::fs::read_to_string(&file).unwrap();
        let comment: String = text.lines().take_while(|line| line.starts_with("# ")).collect();
        assert!(comment.to_lowercase().contains("expect"), "{}", file.display());
    }
}

//! The fuzz targets over their committed corpora, on the stable compiler: every input as it stands, cut short, and with
//! single bytes changed. Nothing here is random: a failure comes back.
//!
//! How to fuzz: `tests/fuzz/README.md`.

mod bodies;

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use bodies::TARGETS;

fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fuzz")
}

/// The names of what lies in a folder, in order.
fn names(folder: &Path) -> Vec<String> {
    let entries = std::fs::read_dir(folder).unwrap_or_else(|error| panic!("{}: {error}", folder.display()));
    let mut names: Vec<String> =
        entries.map(|entry| entry.expect("a folder entry").file_name().to_string_lossy().into_owned()).collect();
    names.sort();
    names
}

/// Says which input it was, if the target panics.
struct Running<'a>(&'a str, &'a [u8]);

impl Drop for Running<'_> {
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!("the input was {}: {:02x?}", self.0, self.1);
        }
    }
}

/// Runs a target over its corpus. Of each input, `variants` shorter ones and as many with a byte changed are run too.
fn replay(name: &str, variants: usize) {
    let (_, target) = TARGETS.iter().find(|(known, _)| *known == name).expect("a target of this name");
    let corpus = folder().join("corpus").join(name);
    let files = names(&corpus);
    assert!(!files.is_empty(), "{name} has no corpus");
    for file in &files {
        let whole = std::fs::read(corpus.join(file)).expect("a readable input");
        let run = |what: &str, input: &[u8]| {
            let _running = Running(what, input);
            target(input);
        };
        run(file, &whole);
        for at in spread(whole.len(), variants) {
            run(&format!("{file}, {at} bytes of it"), &whole[..at]);
            let mut changed = whole.clone();
            changed[at] ^= 1 << (at % 8) | (at as u8).rotate_left(4);
            run(&format!("{file} with byte {at} changed"), &changed);
        }
    }
}

/// So many places, or all there are, spread evenly over a length.
fn spread(length: usize, places: usize) -> impl Iterator<Item = usize> {
    let places = places.min(length);
    (0..places).map(move |place| place * length / places)
}

#[test]
fn every_input_of_the_packet_path_goes_its_way() {
    replay("packet_path", 24);
}

#[test]
fn every_sequence_of_the_nat_keeps_what_all_nats_keep() {
    replay("nat", 6);
}

#[test]
fn every_packet_into_the_world_harms_nobody() {
    replay("world", 4);
}

#[test]
fn every_text_of_the_topology_loader_is_refused_or_runs() {
    replay("topology", 4);
}

#[test]
fn every_capture_is_refused_or_printed() {
    replay("pcapng", 24);
}

#[test]
fn every_datagram_of_stun_is_answered_or_not() {
    replay("stun", 24);
}

#[test]
fn every_sequence_of_the_turn_server_stays_within_its_quotas() {
    replay("turn", 8);
}

#[test]
fn every_sequence_of_the_rendezvous_directory_comes_to_rest() {
    replay("rendezvous", 16);
}

#[test]
fn every_target_has_a_body_a_binary_and_a_corpus() {
    let known: BTreeSet<String> = TARGETS.iter().map(|(name, _)| (*name).to_owned()).collect();
    let manifest = std::fs::read_to_string(folder().join("Cargo.toml")).expect("the manifest of the fuzz crate");
    let manifest: toml::Table = manifest.parse().expect("a manifest");
    let binaries = manifest["bin"].as_array().expect("binaries").iter();
    let binaries: BTreeSet<String> =
        binaries.map(|binary| binary["name"].as_str().expect("a name").to_owned()).collect();
    assert_eq!(binaries, known);
    assert_eq!(names(&folder().join("corpus")).into_iter().collect::<BTreeSet<_>>(), known);
    for name in &known {
        let text = std::fs::read_to_string(folder().join(format!("targets/{name}.rs"))).expect("a target");
        let expected =
            format!("#![no_main]\n\nlibfuzzer_sys::fuzz_target!(|data: &[u8]| natbox_fuzz::{name}::run(data));\n");
        assert_eq!(text, expected, "a target is its body and nothing else");
    }
}

#[test]
fn the_corpora_stay_small() {
    let corpus = folder().join("corpus");
    let inputs = names(&corpus).into_iter().flat_map(|target| {
        let folder = corpus.join(target);
        names(&folder).into_iter().map(move |file| folder.join(file))
    });
    let total: u64 = inputs.map(|input| std::fs::metadata(input).expect("an input").len()).sum();
    assert!(total < 1 << 20, "{total} bytes: minimise them (tests/fuzz/README.md)");
}

//! The import law: who may know whom. Read from the manifests; any other edge is refused.

use std::collections::BTreeSet;
use std::path::Path;

/// Room, its manifest, and the rooms it may know.
const LAW: &[(&str, &str, &[&str])] = &[
    ("wire", "natbox/wire/Cargo.toml", &[]),
    ("nat", "natbox/nat/Cargo.toml", &["wire"]),
    ("host", "natbox/host/Cargo.toml", &["wire"]),
    ("world", "natbox/world/Cargo.toml", &["wire", "nat", "host"]),
    ("probes", "probes/Cargo.toml", &["wire", "host"]),
    ("live", "natbox/live/Cargo.toml", &["wire", "host", "world"]),
    ("lab", "Cargo.toml", &["wire", "nat", "host", "world", "probes", "live"]),
];

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

fn manifest(path: &str) -> toml::Table {
    let text = std::fs::read_to_string(root().join(path)).unwrap_or_else(|error| panic!("{path}: {error}"));
    text.parse().unwrap_or_else(|error| panic!("{path}: {error}"))
}

/// The rooms that a manifest's `[dependencies]` (of every target) name.
fn rooms_known(manifest: &toml::Table) -> BTreeSet<String> {
    let targets = manifest.get("target").and_then(|targets| targets.as_table());
    let tables = std::iter::once(manifest)
        .chain(targets.into_iter().flat_map(|targets| targets.values()).filter_map(|target| target.as_table()));
    tables
        .filter_map(|table| table.get("dependencies")?.as_table())
        .flat_map(|dependencies| dependencies.iter())
        .map(|(key, value)| value.get("package").and_then(|package| package.as_str()).unwrap_or(key))
        .filter_map(|name| name.strip_prefix("natbox-").map(str::to_owned))
        .collect()
}

#[test]
fn every_room_knows_only_the_rooms_that_the_law_allows() {
    for (room, path, allowed) in LAW {
        let allowed: BTreeSet<String> = allowed.iter().map(|name| (*name).to_owned()).collect();
        let known = rooms_known(&manifest(path));
        let forbidden: Vec<_> = known.difference(&allowed).collect();
        assert!(forbidden.is_empty(), "{room} ({path}) must not depend on {forbidden:?}");
    }
}

#[test]
fn the_law_covers_every_member_of_the_workspace() {
    let workspace = manifest("Cargo.toml");
    let members: BTreeSet<String> = workspace["workspace"]["members"]
        .as_array()
        .expect("members")
        .iter()
        .map(|member| format!("{}/Cargo.toml", member.as_str().expect("a path")))
        .chain(["Cargo.toml".to_owned()])
        .collect();
    let lawful: BTreeSet<String> = LAW.iter().map(|(_, path, _)| (*path).to_owned()).collect();
    assert_eq!(members, lawful);
}

#[test]
fn the_fuzz_targets_know_the_library_alone_and_stand_outside_of_the_workspace() {
    let fuzz = manifest("tests/fuzz/Cargo.toml");
    assert!(rooms_known(&fuzz).is_empty(), "fuzz targets reach the rooms through the library, as tests do");
    assert!(fuzz["dependencies"].get("natbox").is_some() && fuzz.contains_key("workspace"));
    assert!(manifest("Cargo.toml")["dev-dependencies"].get("libfuzzer-sys").is_none(), "stable compilers build natbox");
}

fn sources(folder: &str) -> Vec<(String, String)> {
    let mut found = Vec::new();
    let mut folders = vec![root().join(folder)];
    while let Some(next) = folders.pop() {
        for entry in std::fs::read_dir(&next).unwrap_or_else(|error| panic!("{}: {error}", next.display())) {
            let path = entry.expect("a folder entry").path();
            if path.is_dir() {
                folders.push(path);
            } else if path.extension().is_some_and(|extension| extension == "rs") {
                let text = std::fs::read_to_string(&path).expect("source text");
                found.push((path.display().to_string(), text));
            }
        }
    }
    found.sort();
    found
}

#[test]
fn the_command_knows_the_lab_alone() {
    let commands = sources("natbox/cli");
    assert!(!commands.is_empty());
    for (path, text) in commands {
        for room in ["natbox_wire", "natbox_nat", "natbox_host", "natbox_world", "natbox_probes", "natbox_live"] {
            assert!(!text.contains(room), "{path} names {room}: the command goes through the library");
        }
    }
}

#[test]
fn unsafe_code_stands_nowhere_but_where_the_system_is_spoken_to() {
    for folder in ["natbox", "probes/src"] {
        for (path, text) in sources(folder) {
            let in_tests = path.contains("/tests/") || path.contains("/benches/") || path.contains("/examples/");
            if path.contains("natbox/live/") {
                continue;
            }
            let has_unsafe = text.lines().any(|line| {
                let code = line.split("//").next().unwrap_or_default();
                code.contains("unsafe {") || code.contains("unsafe fn") || code.contains("unsafe impl")
            });
            assert!(in_tests || !has_unsafe, "{path} contains unsafe code");
        }
    }
}

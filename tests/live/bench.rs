//! Whether tests/bench/live works. How fast anything is, is not asserted: that is for a machine without other work.

use std::path::Path;
use std::process::{Command, Stdio};

use crate::common::{has, skip, text};

#[test]
fn the_benchmark_measures_in_its_quick_mode_and_leaves_nothing_behind() {
    if !["ip", "nft", "iperf3", "taskset", "rustc"].into_iter().all(has) {
        return;
    }
    if !is_root() || !Path::new("/dev/net/tun").exists() {
        return skip("tests/bench/live needs root and /dev/net/tun");
    }
    let script = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/bench/live");
    let mut bench = Command::new(script);
    bench.arg("--quick").env("NATBOX", env!("CARGO_BIN_EXE_natbox")).stdout(Stdio::piped()).stderr(Stdio::piped());
    let bench = bench.spawn().expect("bash");
    let own = format!("-{}", bench.id());
    let ran = bench.wait_with_output().expect("an end");
    let told = text(&ran);
    assert!(ran.status.success(), "{told}");
    for (row, columns) in [("veth, nftables", 6), ("natbox ", 6), ("natbox, capture on", 5)] {
        let line = told.lines().find(|line| line.starts_with(row)).unwrap_or_else(|| panic!("no {row}: {told}"));
        let figures = line[24..].split_whitespace();
        let measured = figures.filter(|figure| figure.parse().is_ok_and(|figure: f64| figure > 0.0)).count();
        assert_eq!(measured, columns, "{line}\n{told}");
    }
    let spaces = Command::new("ip").args(["netns", "list"]).output().expect("ip");
    let left = text(&spaces).split_whitespace().any(|name| name.starts_with("natbox-bench-") && name.ends_with(&own));
    assert!(!left, "{}", text(&spaces));
}

#[test]
fn the_benchmark_says_what_it_expects() {
    let script = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/bench/live");
    for (arguments, expected) in [(["--runs", "many"], "whole number"), (["--slow", ""], "expected --quick")] {
        let ran = Command::new(script).args(arguments).output().expect("bash");
        assert_eq!(ran.status.code(), Some(2));
        assert!(text(&ran).contains(expected), "{}", text(&ran));
    }
}

/// Who owns this process.
fn is_root() -> bool {
    use std::os::unix::fs::MetadataExt as _;
    std::fs::metadata("/proc/self").is_ok_and(|own| own.uid() == 0)
}

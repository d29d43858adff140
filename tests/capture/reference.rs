//! The captures of `captures/`, with their text beside them, are what the topologies give today, to the byte.

use std::io::Cursor;
use std::path::Path;

use natbox::Lab;
use natbox::capture::{Filter, Format, inspect, write};
use natbox::paint::Paint;
use natbox::record::Limits;

use super::golden::golden;

fn check(topology: &str, name: &str) {
    let lab = Lab::from_file(Path::new(env!("CARGO_MANIFEST_DIR")).join(topology)).unwrap();
    let recording = lab.limits(Limits::CAPTURE).run_recorded().unwrap();
    assert!(recording.outcome.ok, "{}", recording.outcome.to_json());
    let (mut capture, mut lines) = (Vec::new(), Vec::new());
    write(&mut capture, &recording.log, &recording.names).unwrap();
    let open = || Ok(Cursor::new(&capture[..]));
    inspect(&open, &Filter::default(), Format::Lines, Paint::PLAIN, &mut lines).unwrap();
    assert!(capture.len() < 300_000, "{name} has {} bytes: too many for a file to read", capture.len());
    golden(&format!("captures/{name}.pcapng"), &capture);
    golden(&format!("captures/{name}.txt"), &lines);
}

#[test]
fn the_call_to_a_private_callee_is_as_captured() {
    check("topologies/lecture/private-callee.yaml", "private-callee");
}

#[test]
fn the_calls_to_two_callees_are_as_captured() {
    check("topologies/lecture/two-callees.yaml", "two-callees");
}

#[test]
fn the_call_that_leaves_the_relay_is_as_captured() {
    check("captures/voip-relay.yaml", "voip-relay");
}

#[test]
fn hairpinning_is_as_captured() {
    check("topologies/hairpin.yaml", "hairpin");
}

//! Every shipped topology whose scenario allows it runs live too, and comes to the same as in virtual time: the same paths, the
//! same behaviour found, the same ends of packets. Times are not compared: a real machine adds to them.

use std::path::{Path, PathBuf};
use std::sync::Mutex;
use std::time::Duration;

use natbox::live::LiveError;
use natbox::outcome::{Outcome, StepResult};
use natbox::{Lab, LabError};

use crate::common::skip;

/// A scenario that takes longer is left out, unless NATBOX_PARITY_SECONDS allows more.
const LONGEST: Duration = Duration::from_secs(40);

/// What is left out, and what makes it long.
const LEFT_OUT: &[(&str, &str)] = &[
    ("change.yaml", "8 minutes: connections outlive reboots, moves and cuts, one after another"),
    ("ice-tcp.yaml", "5 minutes: a connection idles that long"),
    ("ice.yaml", "12 minutes: a connection waits until its consent has gone"),
    ("lifetimes.yaml", "5 minutes: mappings are waited for until they end"),
    ("lossy-link.yaml", "51 s: a link is cut and mended; what is lost is chance"),
    ("measure.yaml", "26 minutes: lifetimes of idle mappings are searched"),
    ("port-control.yaml", "12 hours: leases end"),
    ("quic.yaml", "130 s: connections idle until their NATs forget them"),
    ("relay.yaml", "102 s: the same"),
    ("tcp-probes.yaml", "2 hours: an established connection's timeout"),
    ("turn-tcp-allocation.yaml", "15 minutes: connections idle"),
    ("turn-tcp.yaml", "16 minutes: connections idle"),
    ("two-homes.yaml", "27 minutes: the lifetime of an idle mapping is searched"),
];

/// So many labs run beside each other: they wait most of the time.
const LABS: usize = 10;

/// Facts that are the same on the same network.
const SAME: &[&str] = &[
    "path",
    "transport",
    "mapping",
    "filtering",
    "hairpin",
    "classic",
    "payload_rewritten",
    "port_preserved",
    "delivered",
    "dropped",
    "at",
    "rejected",
    "held",
    "outcome",
    "mappings",
    "sessions",
];

/// Steps whose facts differ, by file, step and fact, with the reason.
const DIFFERENT: &[(&str, usize, &str, &str)] = &[(
    "hairpin.yaml",
    8,
    "hairpin",
    "Linux drops a packet from its own address (a martian source) that comes in by a device, so that the host never sees it",
)];

/// Every topology file for `natbox run`.
fn files() -> Vec<PathBuf> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("topologies");
    let folders = [root.clone(), root.join("lecture"), root.join("scripts"), root.join("techniques")];
    let entries = folders.iter().flat_map(|folder| std::fs::read_dir(folder).expect("a folder"));
    let files = entries.map(|entry| entry.expect("an entry").path());
    let mut files: Vec<PathBuf> = files.filter(|file| file.extension().is_some_and(|end| end == "yaml")).collect();
    files.sort();
    files
}

fn name(file: &Path) -> String {
    file.file_name().expect("a name").to_string_lossy().into_owned()
}

fn longest() -> Duration {
    let wanted = std::env::var("NATBOX_PARITY_SECONDS").ok().and_then(|seconds| seconds.parse().ok());
    wanted.map_or(LONGEST, Duration::from_secs)
}

/// What differs between two runs of one file, in words.
fn differences(file: &str, there: &Outcome, here: &Outcome) -> Vec<String> {
    let mut told = Vec::new();
    for (one, other) in there.steps.iter().zip(&here.steps) {
        let known =
            |key: &str| DIFFERENT.iter().any(|(name, step, fact, _)| (*name, *step, *fact) == (file, one.index, key));
        for key in SAME.iter().filter(|key| one.facts.get(**key) != other.facts.get(**key) && !known(key)) {
            let value = |step: &StepResult| step.facts.get(*key).map_or("nothing".to_owned(), ToString::to_string);
            let (in_virtual_time, live) = (value(one), value(other));
            told.push(format!(
                "{file} step {} ({}): {key} is {in_virtual_time} in virtual time, {live} live: {}",
                one.index, one.description, other.got
            ));
        }
    }
    told
}

#[test]
fn what_is_shipped_comes_to_the_same_live_as_in_virtual_time() {
    let (mut fit, mut late) = (Vec::new(), Vec::new());
    for file in files() {
        let lab = Lab::from_file(&file).unwrap_or_else(|error| panic!("{error}"));
        let outcome = lab.run().unwrap_or_else(|error| panic!("{error}"));
        match outcome.elapsed() <= longest() {
            true => fit.push((file, lab, outcome)),
            false => late.push(name(&file)),
        }
    }
    if longest() == LONGEST {
        late.sort();
        assert_eq!(late, LEFT_OUT.iter().map(|(file, _)| *file).collect::<Vec<_>>(), "what is left out is said above");
    }
    // The longest first, so that nobody waits for it at the end.
    fit.sort_by_key(|(.., outcome)| std::cmp::Reverse(outcome.elapsed()));
    let (queue, told, refused) = (Mutex::new(fit.into_iter()), Mutex::new(Vec::new()), Mutex::new(None));
    let work = || {
        loop {
            let Some((file, lab, expected)) = queue.lock().expect("a queue").next() else { return };
            let name = name(&file);
            match lab.run_live() {
                Ok(outcome) => told.lock().expect("a list").extend(differences(&name, &expected, &outcome)),
                Err(LabError::Live(error @ (LiveError::Namespaces { .. } | LiveError::Tun { .. }))) => {
                    *refused.lock().expect("a reason") = Some(error.to_string());
                    return;
                }
                Err(error) => told.lock().expect("a list").push(format!("{name}: {error}")),
            }
        }
    };
    std::thread::scope(|scope| (0..LABS).for_each(|_| drop(scope.spawn(work))));
    if let Some(why) = refused.into_inner().expect("a reason") {
        return skip(&why);
    }
    let told = told.into_inner().expect("a list");
    assert!(told.is_empty(), "{}", told.join("\n"));
}

//! Labs for tests, and when to skip.

use std::io::Write as _;
use std::process::Output;

use natbox::Lab;
use natbox::live::{LiveError, LiveLab};

/// The lab at wall-clock speed; `None`, and a word about it, where the system does not allow any.
pub(crate) fn live(yaml: &str) -> Option<LiveLab> {
    begin(&Lab::from_yaml(yaml).unwrap_or_else(|error| panic!("{error}")))
}

/// As [`live`], of a lab that has been read.
pub(crate) fn begin(lab: &Lab) -> Option<LiveLab> {
    match lab.live() {
        Ok(live) => Some(live),
        Err(error @ (LiveError::Namespaces { .. } | LiveError::Tun { .. })) => {
            skip(&error.to_string());
            None
        }
        Err(error) => panic!("{error}"),
    }
}

/// Whether a program is there that a test judges by.
pub(crate) fn has(program: &str) -> bool {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let there = std::env::split_paths(&path).any(|folder| folder.join(program).is_file());
    if !there {
        skip(&format!("there is no `{program}`"));
    }
    there
}

/// Counted by tests/run.
pub(crate) fn skip(why: &str) {
    let test = std::thread::current().name().unwrap_or("a test").to_owned();
    eprintln!("skipped: {why}");
    if let Some(list) = std::env::var_os("NATBOX_SKIPPED") {
        let file = std::fs::OpenOptions::new().append(true).open(list);
        let _ = file.and_then(|mut file| writeln!(file, "live::{test}: {why}"));
    }
}

pub(crate) fn text(output: &Output) -> String {
    format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr))
}

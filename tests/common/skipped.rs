//! Tests that cannot be done on this machine say so: `tests/run` reads it from the file that NATBOX_SKIPPED names.

use std::fs::OpenOptions;
use std::io::Write as _;

/// Says that the calling test is skipped, and why: on standard error, and in a line of its own in the file.
pub(crate) fn skipped(why: &str) {
    let test = std::thread::current().name().unwrap_or("a test").to_owned();
    let line = format!("{test}: {why}");
    eprintln!("SKIPPED: {line}");
    if let Some(path) = std::env::var_os("NATBOX_SKIPPED") {
        let mut file = OpenOptions::new().append(true).create(true).open(path).expect("the file of NATBOX_SKIPPED");
        // One write a line: tests run beside one another.
        file.write_all(format!("{line}\n").as_bytes()).expect("the file of NATBOX_SKIPPED");
    }
}

//! Topology files as arguments: all are read and checked before any is run.

use std::fs::File;
use std::io::{self, Read};
use std::path::{Path, PathBuf};

use natbox::plan::Plan;

use crate::Failure;

/// The plans of these files; everything that is wrong with any of them, otherwise.
pub(crate) fn plans(files: &[PathBuf]) -> Result<Vec<Plan>, Failure> {
    let (mut plans, mut wrong) = (Vec::new(), Vec::new());
    for file in files {
        match plan(file) {
            Ok(plan) => plans.push(plan),
            Err(message) => wrong.push(message.trim_end().to_owned()),
        }
    }
    if wrong.is_empty() { Ok(plans) } else { Err(Failure::Said(wrong.join("\n\n"))) }
}

fn plan(file: &Path) -> Result<Plan, String> {
    let text = read(file).map_err(|error| format!("error: cannot read {}: {error}", file.display()))?;
    Plan::from_yaml(&file.display().to_string(), &text).map_err(|mistakes| mistakes.to_string())
}

/// Larger files are refused by the check, and need not be read to their end for that.
const READ_LIMIT_BYTES: u64 = 4 << 20;

fn read(file: &Path) -> io::Result<String> {
    let mut text = String::new();
    File::open(file)?.take(READ_LIMIT_BYTES).read_to_string(&mut text)?;
    Ok(text)
}

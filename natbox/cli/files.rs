//! Topology files as arguments: all are read and checked before any is run.

use std::path::PathBuf;

use natbox::{Lab, LabError};

use crate::Failure;

/// The labs of these files; everything that is wrong with any of them, otherwise.
pub(crate) fn labs(files: &[PathBuf]) -> Result<Vec<Lab>, Failure> {
    let (mut labs, mut wrong) = (Vec::new(), Vec::new());
    for file in files {
        match Lab::from_file(file) {
            Ok(lab) => labs.push(lab),
            // Mistakes say themselves that they are errors.
            Err(LabError::Topology(mistakes)) => wrong.push(mistakes.to_string().trim_end().to_owned()),
            Err(other) => wrong.push(format!("error: {other}")),
        }
    }
    if wrong.is_empty() { Ok(labs) } else { Err(Failure::Said(wrong.join("\n\n"))) }
}

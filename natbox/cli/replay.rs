//! `natbox replay`.

use std::fs::File;

use natbox::output::write_file;
use natbox::paint::Paint;
use natbox::replay::Replayed;

use crate::arguments::{Format, Replay};
use crate::files::labs;
use crate::terminal::Terminal;
use crate::{Failure, Verdict};

pub(crate) fn execute(replay: &Replay, terminal: &mut Terminal) -> Result<Verdict, Failure> {
    let mut lab = labs(std::slice::from_ref(&replay.file))?.remove(0);
    if let Some(seed) = replay.seed {
        lab = lab.seed(seed);
    }
    let name = replay.capture.display();
    let said = |error: &dyn std::fmt::Display| Failure::Said(format!("error: {name}: {error}"));
    let capture = File::open(&replay.capture).map_err(|error| said(&error))?;
    let replayed = lab.replay(capture).map_err(|error| said(&error))?;
    let short = terminal.quiet;
    match &replay.output {
        None => {
            let report = shown(&replayed, replay.format, short, terminal.paint);
            write!(terminal.out(), "{report}")?;
        }
        Some(path) => {
            let report = shown(&replayed, replay.format, short, Paint::PLAIN);
            let written = write_file(path, |out| out.write_all(report.as_bytes()));
            written.map_err(|error| Failure::Said(format!("error: cannot write {}: {error}", path.display())))?;
        }
    }
    Ok(if replayed.differences.is_empty() { Verdict::Holds } else { Verdict::Fails })
}

fn shown(replayed: &Replayed, format: Format, short: bool, paint: Paint) -> String {
    match format {
        Format::Text => replayed.to_text(short, paint),
        Format::Json => replayed.to_json() + "\n",
    }
}

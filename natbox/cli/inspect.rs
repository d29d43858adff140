//! `natbox inspect`.

use std::fs::{self, File};

use natbox::capture::{self, Filter, InspectError};
use natbox::suggest::did_you_mean;
use natbox::wire::{DropReason, Word};

use crate::arguments::{Format, Inspect};
use crate::terminal::Terminal;
use crate::{Failure, Verdict};

pub(crate) fn execute(inspect: &Inspect, terminal: &mut Terminal) -> Result<Verdict, Failure> {
    let filter = Filter {
        host: inspect.host.clone(),
        nat: inspect.nat.clone(),
        reason: inspect.reason.as_deref().map(reason).transpose()?,
        flow: inspect.flow.clone(),
    };
    let format = match inspect.format {
        _ if inspect.ladder => capture::Format::Ladder,
        Format::Text if terminal.quiet => capture::Format::Lines,
        Format::Text => capture::Format::Text,
        Format::Json => capture::Format::Json,
    };
    let (paint, file) = (terminal.paint, &inspect.file);
    if fs::metadata(file).is_ok_and(|there| !there.is_file() && !there.is_dir()) {
        let name = file.display();
        return Err(Failure::Said(format!(
            "error: {name} is no regular file; a capture is read more than once: save it first"
        )));
    }
    let shown = match inspect.follow {
        true => capture::follow(file, &filter, format, paint, terminal.out()),
        false => capture::inspect(&|| File::open(file), &filter, format, paint, terminal.out()),
    };
    shown.map(|()| Verdict::Holds).map_err(|error| match error {
        InspectError::Output(error) => Failure::from(error),
        InspectError::Capture(_) | InspectError::Filter(_) => {
            Failure::Said(format!("error: {}: {error}", file.display()))
        }
    })
}

fn reason(word: &str) -> Result<DropReason, Failure> {
    DropReason::from_word(word).ok_or_else(|| {
        let words = || DropReason::ALL.iter().map(|reason| reason.as_str());
        let hint = did_you_mean(word, words()).map_or_else(
            || format!("known: {}", words().collect::<Vec<_>>().join(", ")),
            |near| format!("did you mean `{near}`?"),
        );
        Failure::Said(format!("error: unknown drop reason `{word}`; {hint}"))
    })
}

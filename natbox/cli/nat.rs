//! `natbox nat`.

use natbox::nat::preset;
use natbox::report::presets;
use natbox::suggest::did_you_mean;

use crate::arguments::{Format, Nat, NatCommand};
use crate::terminal::Terminal;
use crate::{Failure, Verdict};

pub(crate) fn execute(nat: &Nat, terminal: &mut Terminal) -> Result<Verdict, Failure> {
    let paint = terminal.paint;
    let text = match &nat.command {
        NatCommand::List { format: Format::Json } => presets::list_json(),
        NatCommand::List { format: Format::Text } if terminal.quiet => {
            preset::all().iter().map(|preset| format!("{}\n", preset.name)).collect()
        }
        NatCommand::List { format: Format::Text } => presets::list(paint),
        NatCommand::Show { name, format } => {
            let preset = preset::find(name).ok_or_else(|| unknown(name))?;
            match format {
                Format::Json => presets::show_json(&preset),
                Format::Text => presets::show(&preset, paint),
            }
        }
    };
    terminal.out().write_all(text.as_bytes())?;
    Ok(Verdict::Holds)
}

/// What is to be said about a preset that is not there.
pub(crate) fn unknown(name: &str) -> Failure {
    let presets = preset::all();
    let names = || presets.iter().map(|preset| preset.name);
    let hint = did_you_mean(name, names()).map_or_else(
        || format!("known: {}", names().collect::<Vec<_>>().join(", ")),
        |near| format!("did you mean `{near}`?"),
    );
    Failure::Said(format!("error: no preset is called `{name}`; {hint}"))
}

//! `natbox probe`.

use crate::arguments::{Probe, ProbeCommand};
use crate::terminal::Terminal;
use crate::{Failure, Verdict};

#[cfg(target_os = "linux")]
pub(crate) fn execute(probe: &Probe, terminal: &mut Terminal) -> Result<Verdict, Failure> {
    use natbox::measure::{self, Options};
    use natbox::output::write_file;
    use natbox::report;

    use crate::arguments::Format;
    use crate::progress::Progress;

    let ProbeCommand::Nat(nat) = &probe.command;
    let timers = nat.timers.as_deref().map(measure::search_up_to).transpose();
    let timers = timers.map_err(|why| Failure::Said(format!("error: --timers: {why}")))?;
    let options = Options { timers, tcp: !nat.no_tcp, ..Options::default() };
    let family = nat.family.map(Into::into);
    let progress = Progress::new(1, terminal.quiet);
    let measured =
        measure::real(&nat.server, family, &options).map_err(|why| Failure::Said(format!("error: {why}")))?;
    drop(progress);
    if let Some(file) = &nat.output {
        let fragment = measure::checked_fragment(&measured, &options).map_err(Failure::new)?;
        write_file(file, |out| out.write_all(fragment.as_bytes()))
            .map_err(|why| Failure::Said(format!("error: cannot write {}: {why}", file.display())))?;
    }
    let text = match nat.format {
        Format::Json => report::measure::json(&measured),
        Format::Text => report::measure::text(&measured, terminal.quiet, terminal.paint),
    };
    terminal.out().write_all(text.as_bytes())?;
    Ok(Verdict::Holds)
}

#[cfg(not(target_os = "linux"))]
pub(crate) fn execute(_probe: &Probe, _terminal: &mut Terminal) -> Result<Verdict, Failure> {
    Err(Failure::Said("error: `natbox probe` needs Linux".to_owned()))
}

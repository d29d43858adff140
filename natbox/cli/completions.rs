//! `natbox completions`.

use clap::CommandFactory;

use crate::arguments::{Arguments, Completions};
use crate::terminal::Terminal;
use crate::{Failure, Verdict};

pub(crate) fn execute(completions: &Completions, terminal: &mut Terminal) -> Result<Verdict, Failure> {
    // The generator panics where the output fails: it writes to memory first.
    let mut script = Vec::new();
    clap_complete::generate(completions.shell, &mut Arguments::command(), "natbox", &mut script);
    terminal.out().write_all(&script)?;
    Ok(Verdict::Holds)
}

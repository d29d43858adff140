//! The command `natbox`: arguments in, exit code out. Everything that it does is the library's.

mod arguments;
mod check;
mod completions;
mod conform;
mod files;
mod inspect;
#[cfg(target_os = "linux")]
mod live;
mod matrix;
mod nat;
mod population;
mod probe;
mod progress;
mod replay;
mod report;
mod run;
mod schema;
mod terminal;

use std::io::{self, Write};
use std::process::ExitCode;

use arguments::{Arguments, Command};
use clap::Parser;
use terminal::Terminal;

/// Whether what was expected is so.
enum Verdict {
    /// All expectations hold, or there was nothing to expect.
    Holds,
    /// Some do not.
    Fails,
    /// What a program on a live host ended with.
    #[cfg(target_os = "linux")]
    Program(u8),
}

/// Why a command could not do its work.
enum Failure {
    /// What is to be said about it.
    Said(String),
    /// Whoever read the output has enough, as `head` does.
    BrokenPipe,
}

impl Failure {
    fn new(message: impl ToString) -> Failure {
        Failure::Said(message.to_string())
    }
}

/// Writing to standard output.
impl From<io::Error> for Failure {
    fn from(error: io::Error) -> Failure {
        match error.kind() {
            io::ErrorKind::BrokenPipe => Failure::BrokenPipe,
            _ => Failure::Said(format!("error: cannot write the output: {error}")),
        }
    }
}

/// The exit code is decided here: 0 all expectations hold, 1 some do not, 2 the command could not do its work.
/// Wrong usage is also 2 (clap's own code for it), and a reader that has seen enough is no failure.
fn main() -> ExitCode {
    let arguments = Arguments::parse();
    match execute(&arguments) {
        Ok(Verdict::Holds) | Err(Failure::BrokenPipe) => ExitCode::SUCCESS,
        Ok(Verdict::Fails) => ExitCode::from(1),
        #[cfg(target_os = "linux")]
        Ok(Verdict::Program(code)) => ExitCode::from(code),
        Err(Failure::Said(message)) => {
            // If even standard error is gone, the code alone has to say it.
            writeln!(io::stderr(), "{}", message.trim_end()).ok();
            ExitCode::from(2)
        }
    }
}

fn execute(arguments: &Arguments) -> Result<Verdict, Failure> {
    let mut terminal = Terminal::new(&arguments.global);
    let verdict = match &arguments.command {
        Command::Run(run) => run::execute(run, &mut terminal),
        Command::Check(check) => check::execute(check, &mut terminal),
        Command::Inspect(inspect) => inspect::execute(inspect, &mut terminal),
        Command::Replay(replay) => replay::execute(replay, &mut terminal),
        Command::Matrix(matrix) => matrix::execute(matrix, &mut terminal),
        Command::Population(population) => population::execute(population, &mut terminal),
        Command::Report(report) => report::execute(report, &mut terminal),
        Command::Conform(conform) => conform::execute(conform, &mut terminal),
        Command::Nat(nat) => nat::execute(nat, &mut terminal),
        #[cfg(target_os = "linux")]
        Command::Live(live) => live::execute(live, &mut terminal),
        Command::Probe(probe) => probe::execute(probe, &mut terminal),
        Command::Schema(schema) => schema::execute(schema, &mut terminal),
        Command::Completions(completions) => completions::execute(completions, &mut terminal),
    }?;
    terminal.out().flush()?;
    Ok(verdict)
}

//! `run` and `await`: real programs on real hosts.

use std::collections::BTreeMap;
use std::time::Duration;

use futures::channel::oneshot;
use futures::future::{Either, select};
use natbox_host::Host as _;
use natbox_live::{Machine as LiveHost, Seen, Watched};
use natbox_world::Stalled;

use super::shown::{nanos, shown};
use super::{Report, Runner};
use crate::anyhost::Any;
use crate::live::Resident;
use crate::plan::program::{Await, Command, ExpectProgram, Run, WaitFor};
use crate::topology::units::show_duration;

/// What a program has left behind in its pipes is waited for so long after its end.
const REST: Duration = Duration::from_millis(200);
/// How often is looked whether a port is open.
const LOOK: Duration = Duration::from_millis(20);
/// Most characters of a line in a report.
const LINE_CHARACTERS: usize = 100;

/// Programs that go on beside the steps, by name, and their hosts.
pub(super) type Programs = BTreeMap<String, (Resident, Watched)>;

/// How a wait came to its end.
enum Waited {
    /// What was waited for is there.
    Met,
    /// The program ended before.
    Ended,
    /// Time was up.
    Late,
}

impl Runner<'_> {
    pub(super) fn run_program(&mut self, step: &Run) -> Result<Report, Stalled> {
        let host = match self.host(&step.on) {
            Ok(Any::Real(host)) => host,
            Ok(Any::Virtual(_)) => return Ok(Report::impossible("real programs run live alone")),
            Err(report) => return Ok(report),
        };
        let began = self.built.world.now();
        let program = match self.built.world.run_until(start(host.machine().clone(), step.command.clone()))? {
            Ok(program) => program,
            Err(error) => return Ok(Report::impossible(error)),
        };
        if let Some(label) = &step.label {
            self.programs.insert(label.clone(), (host.clone(), program.clone()));
            if step.wait_for.is_nothing() {
                return Ok(Report::new("started"));
            }
        }
        let waited = self.built.world.run_until(wait(&host, &program, &step.wait_for, step.timeout))?;
        if matches!(waited, Waited::Late) {
            program.kill();
        }
        let elapsed = self.built.world.now().since(began);
        Ok(told(&program.seen(), &waited, elapsed, &step.wait_for, step.timeout, step.expect.as_ref()))
    }

    pub(super) fn await_program(&mut self, step: &Await) -> Result<Report, Stalled> {
        let Some((host, program)) = self.programs.get(&step.label).cloned() else {
            return Ok(Report::impossible(format!("`{}` did not come about", step.label)));
        };
        let began = self.built.world.now();
        if step.stop {
            program.stop();
        }
        let waited = self.built.world.run_until(wait(&host, &program, &step.wait_for, step.timeout))?;
        let elapsed = self.built.world.now().since(began);
        Ok(told(&program.seen(), &waited, elapsed, &step.wait_for, step.timeout, step.expect.as_ref()))
    }
}

/// Starts a program, on a thread of its own: the network goes on meanwhile.
async fn start(machine: LiveHost, command: Command) -> Result<Watched, String> {
    let (started, result) = oneshot::channel();
    let words = match command {
        Command::Shell(line) => vec!["/bin/sh".to_owned(), "-c".to_owned(), line],
        Command::Words(words) => words,
    };
    let work = move || {
        let program = words.first().map_or("", String::as_str);
        let _ = started.send(machine.command(program).args(words.iter().skip(1)).watch());
    };
    let thread = std::thread::Builder::new().name("natbox-start".into()).spawn(work);
    thread.map_err(|error| format!("no thread: {error}"))?;
    let gone = |_| "the thread that was to start it has panicked".to_owned();
    result.await.map_err(gone)?.map_err(|error| error.to_string())
}

/// Waits for what is to be waited for, or for the program's end if that is nothing.
async fn wait(host: &Resident, program: &Watched, goal: &WaitFor, timeout: Duration) -> Waited {
    let met = Box::pin(async {
        let ended = program.until(|seen| match &goal.line {
            Some(line) if seen.has(line) => Some(false),
            None if goal.port.is_some() => Some(false),
            _ => seen.exit.map(|_| true),
        });
        if ended.await {
            let closed = Box::pin(program.until(|seen| (seen.open == 0).then_some(())));
            select(closed, Box::pin(host.sleep(REST))).await;
            // What it wrote last may be what was waited for.
            let met = goal.is_nothing()
                || goal.port.is_none() && goal.line.as_ref().is_some_and(|line| program.seen().has(line));
            return if met { Waited::Met } else { Waited::Ended };
        }
        while let Some(port) = goal.port {
            match host.machine().listens(port) {
                true => break,
                false if program.seen().exit.is_some() => return Waited::Ended,
                false => host.sleep(LOOK).await,
            }
        }
        Waited::Met
    });
    match select(met, Box::pin(host.sleep(timeout))).await {
        Either::Left((waited, _)) => waited,
        Either::Right(_) => Waited::Late,
    }
}

fn told(
    seen: &Seen,
    waited: &Waited,
    elapsed: Duration,
    goal: &WaitFor,
    timeout: Duration,
    expect: Option<&ExpectProgram>,
) -> Report {
    let (stdout, stderr) = (String::from_utf8_lossy(&seen.stdout), String::from_utf8_lossy(&seen.stderr));
    let end = match seen.exit {
        Some(code) => format!("exit {code}"),
        None => "running".to_owned(),
    };
    let last = |text: &str| text.lines().rfind(|line| !line.trim().is_empty()).map(str::to_owned);
    let line =
        goal.line.as_ref().and_then(|line| seen.line_with(line)).or_else(|| last(&stdout)).or_else(|| last(&stderr));
    let line = line.map_or_else(String::new, |line| format!(": {}", printable(&line)));
    let mut report = Report::new(format!("{end} after {}{line}", shown(elapsed)));
    match waited {
        Waited::Met => {}
        Waited::Ended => report.broken.push("it ended before what was waited for".to_owned()),
        Waited::Late if goal.is_nothing() => {
            report.broken.push(format!("not ended within {}", show_duration(&timeout)))
        }
        Waited::Late => {
            report.broken.push(format!("what was waited for is not there within {}", show_duration(&timeout)))
        }
    }
    report.fact("exit", seen.exit);
    report.fact("stdout", stdout.as_ref());
    report.fact("stderr", stderr.as_ref());
    report.fact("truncated", seen.truncated);
    report.fact("elapsed_ns", nanos(elapsed));
    let expect = expect.cloned().unwrap_or_default();
    if let Some(code) = expect.exit {
        report.demand(seen.exit == Some(code), || format!("not exit {code}"));
    }
    for line in &expect.lines {
        report.demand(seen.has(line), || format!("no line with {line:?}"));
    }
    for line in &expect.no_lines {
        report.demand(!seen.has(line), || format!("a line with {line:?}"));
    }
    report.explain = seen.exit.is_some_and(|code| code != 0);
    report
}

/// A line for people: not too long, and nothing that a terminal would obey.
fn printable(line: &str) -> String {
    let shown = |character: char| if character.is_control() { ' ' } else { character };
    let mut text: String = line.trim_end().chars().take(LINE_CHARACTERS).map(shown).collect();
    if line.trim_end().chars().count() > LINE_CHARACTERS {
        text.push_str("...");
    }
    text
}

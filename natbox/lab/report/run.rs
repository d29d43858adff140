//! A run for people: the lab, what happened step by step, and the verdict.
//!
//! Reads what a run came to; decides nothing.

use std::fmt::Write;

use natbox_wire::Time;

use super::lab::picture;
use crate::capture::{Widths, clock, line, placed_frames};
use crate::outcome::{Outcome, StepResult};
use crate::paint::Paint;
use crate::plan::Plan;
use crate::record::{Log, Names, Record, comment, moment};

/// How much is told.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Detail {
    /// Only what failed.
    Failures,
    /// Every step.
    Steps,
    /// Every step, every packet and every mapping.
    Packets,
}

/// What a run came to, and what it left behind.
#[derive(Clone, Copy, Debug)]
pub struct RunView<'a> {
    /// The lab.
    pub plan: &'a Plan,
    /// What came of it.
    pub outcome: &'a Outcome,
    /// Everything that happened.
    pub log: &'a Log,
    /// What things are called.
    pub names: &'a Names,
}

/// The report of a run.
pub fn text(run: &RunView<'_>, detail: Detail, paint: Paint) -> String {
    let (outcome, mut text) = (run.outcome, String::new());
    if detail == Detail::Failures && outcome.ok {
        return text;
    }
    let about = paint.faint(format!("{}, seed {}", outcome.file, outcome.seed));
    writeln!(text, "{}  {about}\n", paint.strong(&outcome.name)).ok();
    if detail > Detail::Failures {
        writeln!(text, "{}", picture(run.plan, paint)).ok();
    }
    let mut events = events(run, detail).into_iter().peekable();
    for step in &outcome.steps {
        while let Some((_, event)) = events.next_if(|(record, _)| *record < step.first_record) {
            writeln!(text, "{event}").ok();
        }
        if detail > Detail::Failures || !step.ok {
            text.push_str(&told(step, paint));
        }
    }
    for (_, event) in events {
        writeln!(text, "{event}").ok();
    }
    writeln!(text, "\n{}", summary(run, paint)).ok();
    text
}

/// A step: when, what, and whether it came as expected.
fn told(step: &StepResult, paint: Paint) -> String {
    let begins = clock(Time::from_nanos(step.started_ns), Time::ZERO);
    let verdict = match (&step.expected, step.ok) {
        (_, false) => format!("  {}", paint.bad("FAILED")),
        (Some(_), true) => format!("  {}", paint.good("ok")),
        (None, true) => String::new(),
    };
    let name = step.name.as_ref().map_or_else(String::new, |name| format!("{}: ", paint.strong(name)));
    let mut text = format!("{begins:>12}  {:>2}. {name}{}{verdict}\n", step.index, step.description);
    let mut lines = Vec::new();
    match &step.expected {
        Some(expected) if !step.ok => {
            lines.push(format!("expected: {expected}"));
            lines.push(format!("got:      {}", step.got));
        }
        // These can come to nothing else.
        None if step.ok && matches!(step.action, "wait" | "cut" | "mend") => {}
        _ => lines.push(step.got.clone()),
    }
    for (number, reason) in step.reasons.iter().enumerate() {
        let label = if number == 0 { "why:" } else { "" };
        lines.push(paint.faint(format!("{label:<5}{reason}")));
    }
    for line in lines {
        writeln!(text, "{:18}{line}", "").ok();
    }
    text
}

/// Every packet and milestone, each with the place of its record, where they are wanted.
fn events(run: &RunView<'_>, detail: Detail) -> Vec<(usize, String)> {
    if detail < Detail::Packets {
        return Vec::new();
    }
    let names = run.names;
    let interface = names.interfaces().map(|(_, interface)| interface.name.len()).max().unwrap_or(0);
    let widths = Widths { interface, summary: SUMMARY_WIDTH };
    let told = placed_frames(run.log, names).map(|(record, frame)| match frame {
        Some(frame) => Some(line(&frame, Time::ZERO, widths, Paint::PLAIN)),
        // What routers merely pass on is told by the nodes on both sides.
        None => record.sighting().is_none().then(|| milestone(record, names)),
    });
    told.enumerate().filter_map(|(place, told)| Some((place, told?))).collect()
}

/// Room for most packets' summaries: what comes behind them is aligned.
const SUMMARY_WIDTH: usize = 52;

fn milestone(record: &Record, names: &Names) -> String {
    format!("{:>12}  {:>5}  {}", clock(record.at, Time::ZERO), "", comment(record, names))
}

/// One line: expectations, time, packets, drops.
fn summary(run: &RunView<'_>, paint: Paint) -> String {
    let outcome = run.outcome;
    let took = moment(Time::from_nanos(outcome.elapsed_ns));
    let reasons =
        outcome.drops.iter().map(|(reason, count)| format!("{count} {reason}")).collect::<Vec<_>>().join(", ");
    let dropped = outcome.drops.values().sum::<u64>();
    let dropped = if dropped == 0 { "none dropped".to_owned() } else { format!("{dropped} dropped ({reasons})") };
    let missed = run.log.missed();
    let missed = match missed.records + missed.packets {
        0 => String::new(),
        _ => format!(
            "; the record was full: it, and a capture, lack {} notes and the bytes of {} packets",
            missed.records, missed.packets
        ),
    };
    let packets = match outcome.packets {
        1 => "1 packet".to_owned(),
        several => format!("{several} packets"),
    };
    let (time, real) = match &outcome.live {
        None => ("virtual time", String::new()),
        Some(live) if live.real_hosts.is_empty() => ("the wall's time", "; no host was real".to_owned()),
        Some(live) => ("the wall's time", format!("; real: {}", live.real_hosts.join(", "))),
    };
    format!("{}; {took} of {time}, {packets}, {dropped}{missed}{real}", verdict(outcome, paint))
}

/// How many expectations hold. A step that could not be done counts as one that does not.
pub fn verdict(outcome: &Outcome, paint: Paint) -> String {
    let (failed, held) = (outcome.failures().count(), held(outcome));
    let verdict = format!("{}: {held} of {} expectations hold", outcome.name, held + failed);
    match (failed, held) {
        (0, 0) => format!("{}: nothing was expected", outcome.name),
        (0, _) => paint.good(verdict),
        _ => paint.bad(verdict),
    }
}

fn held(outcome: &Outcome) -> usize {
    outcome.steps.iter().filter(|step| step.expected.is_some() && step.ok).count()
}

//! A run for people: the lab, what happened step by step, and the verdict.
//!
//! Reads what a run came to; decides nothing.

use std::collections::BTreeMap;
use std::fmt::Write;
use std::time::Duration;

use natbox_wire::{DropReason, Time};

use super::lab::picture;
use crate::capture::{Widths, frames, line};
use crate::paint::Paint;
use crate::plan::Plan;
use crate::record::{Log, Names, Record, comment};
use crate::topology::units::show_duration;

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

/// One step of a run.
#[derive(Clone, Debug)]
pub struct StepView<'a> {
    /// What it does: its name in the file, or its action in words.
    pub what: String,
    /// When it began.
    pub begins: Time,
    /// When it ended.
    pub ends: Time,
    /// What was expected, if anything was.
    pub expected: Option<String>,
    /// What came of it, if there is something to tell.
    pub got: Option<String>,
    /// Whether what was expected came.
    pub ok: bool,
    /// Where and why packets died, for a step that failed.
    pub why: &'a [String],
}

/// What a run came to, as far as people want to know it.
#[derive(Clone, Debug)]
pub struct RunView<'a> {
    /// The lab.
    pub plan: &'a Plan,
    /// The seed that it ran with.
    pub seed: u64,
    /// The steps, in order.
    pub steps: Vec<StepView<'a>>,
    /// When it ended.
    pub ended: Time,
    /// Everything that happened.
    pub log: &'a Log,
    /// What things are called.
    pub names: &'a Names,
}

/// The report of a run.
pub fn text(run: &RunView<'_>, detail: Detail, paint: Paint) -> String {
    let mut text = String::new();
    let failed = run.steps.iter().any(|step| !step.ok);
    if detail == Detail::Failures && !failed {
        return text;
    }
    let (name, file) = (paint.strong(&run.plan.name), paint.faint(format!("{}, seed {}", run.plan.file, run.seed)));
    writeln!(text, "{name}  {file}\n").ok();
    if detail > Detail::Failures {
        writeln!(text, "{}", picture(run.plan, paint)).ok();
    }
    let mut events = events(run, detail).into_iter().peekable();
    for (number, step) in (1..).zip(&run.steps) {
        if detail > Detail::Failures || !step.ok {
            text.push_str(&told(number, step, paint));
        }
        while let Some((_, event)) = events.next_if(|(at, _)| *at <= step.ends) {
            writeln!(text, "{event}").ok();
        }
    }
    for (_, event) in events {
        writeln!(text, "{event}").ok();
    }
    writeln!(text, "\n{}", summary(run, paint)).ok();
    text
}

/// A step: when, what, and whether it came as expected.
fn told(number: usize, step: &StepView<'_>, paint: Paint) -> String {
    let begins = step.begins.to_string();
    let verdict = match (&step.expected, step.ok) {
        (_, false) => format!("  {}", paint.bad("FAILED")),
        (Some(_), true) => format!("  {}", paint.good("ok")),
        (None, true) => String::new(),
    };
    let mut text = format!("{begins:>12}  {number:>3}. {}{verdict}\n", step.what);
    let mut detail = |name: &str, what: &str| writeln!(text, "{:19}{name} {what}", "").ok();
    match (&step.expected, &step.got) {
        // What came as expected is said once.
        (Some(_) | None, Some(got)) if step.ok => detail("->", got),
        (Some(expected), got) if !step.ok => {
            detail("expected:", expected);
            detail("got:     ", got.as_deref().unwrap_or("nothing"))
        }
        (None, Some(got)) => detail("got:     ", got),
        _ => None,
    };
    for reason in step.why {
        writeln!(text, "{:19}{}", "", paint.bad(format!("because {reason}"))).ok();
    }
    text
}

/// Every packet and milestone, each with its time, where they are wanted.
fn events(run: &RunView<'_>, detail: Detail) -> Vec<(Time, String)> {
    if detail < Detail::Packets {
        return Vec::new();
    }
    let (log, names) = (run.log, run.names);
    let interface = names.interfaces().map(|(_, interface)| interface.name.len()).max().unwrap_or(0);
    let widths = Widths { interface, summary: 0 };
    let packets = frames(log, names).map(|frame| (frame.at, line(&frame, Time::ZERO, widths, Paint::PLAIN)));
    let others = log.records().iter().filter(|record| record.sighting().is_none());
    let others = others.map(|record| (record.at, milestone(record, names)));
    let mut events = packets.chain(others).collect::<Vec<_>>();
    // Stable: packets of one instant stay in order, and come before what they led to.
    events.sort_by_key(|(at, _)| *at);
    events
}

fn milestone(record: &Record, names: &Names) -> String {
    format!("{:>12}  {:>5}  {}", record.at.to_string(), "", comment(record, names))
}

/// One line: expectations, time, packets, drops.
fn summary(run: &RunView<'_>, paint: Paint) -> String {
    let expected = run.steps.iter().filter(|step| step.expected.is_some() || !step.ok).count();
    let held = run.steps.iter().filter(|step| step.expected.is_some() && step.ok).count();
    let verdict = match (expected, held) {
        (0, _) => "nothing was expected".to_owned(),
        (all, held) if all == held => paint.good(format!("{}: {held} of {all} expectations hold", run.plan.name)),
        (all, held) => paint.bad(format!("{}: {held} of {all} expectations hold", run.plan.name)),
    };
    let took = show_duration(&rounded(run.ended.since(Time::ZERO)));
    let mut drops = BTreeMap::<DropReason, u64>::new();
    for (_, _, drop) in run.log.drops(None, None) {
        *drops.entry(drop.reason).or_default() += 1;
    }
    let packets = run.log.packet_count();
    let reasons = drops.iter().map(|(reason, count)| format!("{count} {reason}")).collect::<Vec<_>>().join(", ");
    let dropped = drops.values().sum::<u64>();
    let dropped = if dropped == 0 { "none dropped".to_owned() } else { format!("{dropped} dropped ({reasons})") };
    let missed = run.log.missed().records;
    let missed = if missed == 0 { String::new() } else { format!("; the record is cut short by {missed} notes") };
    format!("{verdict}; {took} of virtual time, {packets} packets, {dropped}{missed}")
}

/// To the millisecond: nobody reads nanoseconds in a summary.
fn rounded(duration: Duration) -> Duration {
    Duration::from_millis(u64::try_from(duration.as_millis()).unwrap_or(u64::MAX))
}

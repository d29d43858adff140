//! `measure`: what a host can find out of the NATs in front of it.

use natbox_probes::measure::{Options, measure};
use natbox_world::Stalled;

use super::{Report, Runner, servers};
use crate::measure::{Axis, EXPECTED, Found, axes, search};
use crate::plan::measure::{Expected, Measure};
use crate::report;
use crate::topology::units::show_duration;

impl Runner<'_> {
    pub(super) fn measure(&mut self, step: &Measure) -> Result<Report, Stalled> {
        let host = match self.host(&step.from) {
            Ok(host) => host,
            Err(report) => return Ok(report),
        };
        let Some(server) = self.address(&step.via, step.family).map(servers::stun) else {
            return Ok(Report::impossible(format!("`{}` has no {} address", step.via, step.family.name())));
        };
        let options = Options { timers: step.timers.map(search), ..Options::default() };
        let measured = match self.built.world.run_until(measure(&host, &[server], &options))? {
            Ok(measured) => measured,
            Err(error) => return Ok(Report::impossible(error.to_string())),
        };
        let axes = axes(&measured);
        let mut report = Report::new(told(&axes));
        report.facts.extend(report::measure::facts(&measured));
        for (key, expected) in &step.expect {
            let axis = EXPECTED.iter().find(|(other, _)| other == key).map_or(*key, |(_, axis)| axis);
            let found = axes.iter().find(|one| one.name == axis).map(|one| &one.found);
            report.demand(found.is_some_and(|found| holds(expected, found)), || match found {
                Some(Found::Word(word)) => format!("{key} {word}"),
                Some(Found::Between { alive_after, expired_after }) => {
                    format!("{key} {}..{}", show_duration(alive_after), show_duration(expired_after))
                }
                Some(Found::Unknown(why)) => format!("{key} unknown: {why}"),
                None => format!("no {key}"),
            });
        }
        Ok(report)
    }
}

/// What is known, in a line.
fn told(axes: &[Axis]) -> String {
    let known = axes.iter().filter_map(|axis| match &axis.found {
        Found::Word(word) => Some(format!("{} {word}", axis.name)),
        Found::Between { alive_after, expired_after } => {
            Some(format!("{} {:.1}..{:.1}s", axis.name, alive_after.as_secs_f64(), expired_after.as_secs_f64()))
        }
        Found::Unknown(_) => None,
    });
    known.collect::<Vec<_>>().join(", ")
}

/// A lifetime is as expected where what is allowed and what was found have one in common.
fn holds(expected: &Expected, found: &Found) -> bool {
    match (expected, found) {
        (Expected::Word(wanted), Found::Word(word)) => wanted == word,
        (Expected::Word(wanted), Found::Unknown(_)) => wanted == "unknown",
        (Expected::Lifetime(allowed), Found::Between { alive_after, expired_after }) => {
            allowed.low.is_none_or(|low| low <= *expired_after) && allowed.high.is_none_or(|high| high >= *alive_after)
        }
        _ => false,
    }
}

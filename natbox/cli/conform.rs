//! `natbox conform`.

use std::path::PathBuf;
use std::sync::Arc;

use natbox::conform::{Judgement, Rfc, judge};
use natbox::nat::{Behavior, preset};
use natbox::report::conform;

use crate::arguments::{Conform, ReportFormat};
use crate::files::labs;
use crate::nat::unknown;
use crate::terminal::Terminal;
use crate::{Failure, Verdict};

pub(crate) fn execute(conform: &Conform, terminal: &mut Terminal) -> Result<Verdict, Failure> {
    let behavior = behavior(&conform.nat)?;
    let rfcs = match conform.rfc.as_slice() {
        [] => Rfc::ANY_NAT.to_vec(),
        numbers => numbers.iter().map(|number| rfc(*number)).collect::<Result<_, _>>()?,
    };
    let judgements = judge(&behavior, &rfcs);
    let fails = judgements.iter().any(Judgement::fails);
    let text = match conform.format {
        ReportFormat::Text => conform::text(&conform.nat, &judgements, terminal.quiet, terminal.paint),
        ReportFormat::Json => conform::json(&conform.nat, &judgements),
        ReportFormat::Markdown => conform::markdown(&[(&conform.nat, judgements)]),
    };
    terminal.out().write_all(text.as_bytes())?;
    Ok(if fails { Verdict::Fails } else { Verdict::Holds })
}

fn rfc(number: u16) -> Result<Rfc, Failure> {
    let known = || Rfc::ALL.map(|rfc| rfc.number().to_string()).join(", ");
    Rfc::numbered(number).ok_or_else(|| Failure::Said(format!("error: RFC {number} is not judged; known: {}", known())))
}

/// A preset's, or that of a NAT of a file.
fn behavior(nat: &str) -> Result<Arc<Behavior>, Failure> {
    if let Some(preset) = preset::find(nat) {
        return Ok(Arc::new(preset.behavior));
    }
    let Some((file, name)) = nat.rsplit_once(':') else { return Err(unknown(nat)) };
    let labs = labs(&[PathBuf::from(file)])?;
    let plan = labs.first().map(natbox::Lab::plan);
    let found = plan.and_then(|plan| plan.nat(name)).map(|nat| nat.behavior.clone());
    let names = || plan.map_or_else(Vec::new, |plan| plan.nats.iter().map(|nat| nat.name.as_str()).collect());
    found.ok_or_else(|| Failure::Said(format!("error: {file} has no NAT `{name}`; it has: {}", names().join(", "))))
}

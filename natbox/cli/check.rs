//! `natbox check`.

use natbox::Lab;
use natbox::plan::Plan;
use natbox::report::lab::picture;

use crate::arguments::{Check, Format};
use crate::files::labs;
use crate::terminal::Terminal;
use crate::{Failure, Verdict};

pub(crate) fn execute(check: &Check, terminal: &mut Terminal) -> Result<Verdict, Failure> {
    let labs = labs(&check.files)?;
    let plans = labs.iter().map(Lab::plan).collect::<Vec<_>>();
    if terminal.quiet {
        return Ok(Verdict::Holds);
    }
    match check.format {
        Format::Json => {
            let json = match plans.as_slice() {
                [plan] => serde_json::to_string_pretty(plan),
                plans => serde_json::to_string_pretty(&serde_json::json!({ "natbox": 1, "labs": plans })),
            };
            writeln!(terminal.out(), "{}", json.map_err(Failure::new)?)?;
        }
        Format::Text => {
            for (number, plan) in plans.iter().enumerate() {
                let separator = if number > 0 { "---\n" } else { "" };
                let text = describe(plan, terminal);
                write!(terminal.out(), "{separator}{text}")?;
            }
        }
    }
    Ok(Verdict::Holds)
}

/// The picture as comments, then the resolved lab as a topology file: the whole can be run again.
fn describe(plan: &Plan, terminal: &Terminal) -> String {
    let paint = terminal.paint;
    let picture = picture(plan, paint);
    let comments = picture.lines().map(|line| format!("# {line}\n")).collect::<String>();
    let live = match plan.needs_live() {
        Some(step) => format!("# line {} starts a real program: run it live (natbox run --live)\n", step.line),
        None => String::new(),
    };
    format!("{}\n{live}{comments}\n{}", paint.good(format!("# {}: no mistakes", plan.file)), plan.to_yaml())
}

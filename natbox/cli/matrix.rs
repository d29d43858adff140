//! `natbox matrix`.

use std::path::PathBuf;

use natbox::matrix::{Conditions, MatrixError, Shard, Wanted, sides, techniques};
use natbox::nat::behavior::{FilterScope, SessionAffinity};
use natbox::suggest::did_you_mean;
use natbox::wire::Word;

use crate::arguments::Matrix;
use crate::progress::Progress;
use crate::report::{Targets, deliver, refused};
use crate::terminal::Terminal;
use crate::{Failure, Verdict};

pub(crate) fn execute(matrix: &Matrix, terminal: &mut Terminal) -> Result<Verdict, Failure> {
    let inputs: Vec<PathBuf> = matrix.file.iter().cloned().collect();
    let shard = matrix.shard.as_deref().map(Shard::parse).transpose().map_err(refused)?;
    let sides = sides(&matrix.nats, matrix.file.as_deref()).map_err(refused)?;
    let techniques = techniques(&matrix.techniques).map_err(refused)?;
    let targets = Targets::new(&matrix.outputs, &inputs)?;
    let seeds = (matrix.seed, matrix.seeds.get());
    let mut planned = natbox::matrix::Matrix::new(sides, techniques, conditions(matrix)?, seeds).map_err(refused)?;
    if let Some(shard) = shard {
        planned = planned.shard(shard);
    }
    targets.fit(&planned.empty())?;
    let progress = Progress::of_cells(planned.len(), terminal.quiet);
    let wanted = Wanted { jobs: matrix.jobs, reasons: targets.reasons() };
    let sweep = planned.run(wanted, &|| progress.step()).map_err(refused)?;
    drop(progress);
    deliver(sweep, &targets, terminal)
}

fn conditions(matrix: &Matrix) -> Result<Conditions, Failure> {
    let mut conditions = Conditions::default();
    conditions.filter_scope = matrix.filter_scope.as_deref().map(word::<FilterScope>).transpose()?;
    conditions.session_affinity = matrix.session_affinity.as_deref().map(word::<SessionAffinity>).transpose()?;
    if !matrix.control.is_empty() {
        conditions.set_control(&matrix.control).map_err(refused)?;
    }
    let link = &matrix.link;
    let keys = [
        ("latency", &link.latency),
        ("jitter", &link.jitter),
        ("loss", &link.loss),
        ("duplicate", &link.duplicate),
        ("reorder", &link.reorder),
        ("rate", &link.rate),
        ("queue", &link.queue),
        ("mtu", &link.mtu),
    ];
    for (key, value) in keys {
        if let Some(value) = value {
            conditions.set_link(key, value).map_err(refused)?;
        }
    }
    Ok(conditions)
}

fn word<W: Word>(text: &str) -> Result<W, Failure> {
    let words = || W::ALL.iter().map(|word| word.as_str());
    W::from_word(text).ok_or_else(|| {
        let hint = did_you_mean(text, words()).map_or_else(
            || format!("known: {}", words().collect::<Vec<_>>().join(", ")),
            |near| format!("did you mean `{near}`?"),
        );
        refused(MatrixError::Said(format!("no {} is called `{text}`; {hint}", W::KIND)))
    })
}

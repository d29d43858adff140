//! `natbox population`, and what `natbox report` does with parts of one.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use natbox::matrix::Shard;
use natbox::output::write_file;
use natbox::paint::Paint;
use natbox::population::{Census, join, read};
use natbox::report::population::{markdown, text};

use crate::arguments::{MatrixFormat, Outputs, Population, ReportFormat};
use crate::progress::Progress;
use crate::report::refused;
use crate::terminal::Terminal;
use crate::{Failure, Verdict};

pub(crate) fn execute(arguments: &Population, terminal: &mut Terminal) -> Result<Verdict, Failure> {
    let shard = arguments.shard.as_deref().map(Shard::parse).transpose().map_err(refused)?;
    let file = &arguments.file;
    let name = file.display().to_string();
    let source = natbox::population::Population::from_yaml(&name, &read_text(file)?).map_err(Failure::new)?;
    let targets = Targets::new(&arguments.output, arguments.format, std::slice::from_ref(file))?;
    let mut population = match arguments.seed {
        Some(seed) => source.seed(seed),
        None => source,
    };
    if let Some(draws) = arguments.draws {
        population = population.draws(draws).map_err(refused)?;
    }
    if let Some(shard) = shard {
        population = population.shard(shard);
    }
    let progress = Progress::of_cells(usize::try_from(population.len()).unwrap_or(usize::MAX), terminal.quiet);
    let census = population.run(arguments.jobs, &|draws| progress.steps(draws)).map_err(refused)?;
    drop(progress);
    deliver(&census, &targets, terminal)
}

/// Joins parts, and shows the whole.
pub(crate) fn report(
    parts: Vec<(String, String)>,
    outputs: &Outputs,
    files: &[PathBuf],
    terminal: &mut Terminal,
) -> Result<Verdict, Failure> {
    if outputs.expect.is_some() {
        return Err(Failure::Said("error: --expect is for matrices: nothing is expected of a population".to_owned()));
    }
    let format = outputs.format.map(of_matrix).transpose()?;
    let targets = Targets::new(&outputs.output, format, files)?;
    let parts = parts.into_iter().map(|(name, text)| Ok((name.clone(), read(&name, &text).map_err(refused)?)));
    let census = join(parts.collect::<Result<_, Failure>>()?).map_err(refused)?;
    deliver(&census, &targets, terminal)
}

fn of_matrix(format: MatrixFormat) -> Result<ReportFormat, Failure> {
    match format {
        MatrixFormat::Text => Ok(ReportFormat::Text),
        MatrixFormat::Json => Ok(ReportFormat::Json),
        MatrixFormat::Markdown => Ok(ReportFormat::Markdown),
        _ => Err(Failure::Said("error: a population is reported as text, json or markdown".to_owned())),
    }
}

fn read_text(file: &Path) -> Result<String, Failure> {
    let name = file.display();
    let bytes = fs::read(file).map_err(|error| Failure::Said(format!("error: cannot read {name}: {error}")))?;
    String::from_utf8(bytes).map_err(|_| Failure::Said(format!("error: {name}: this is no text")))
}

/// Where the reports go, known before anything is run.
struct Targets<'a> {
    format: Option<ReportFormat>,
    files: Vec<(&'a Path, ReportFormat)>,
}

impl<'a> Targets<'a> {
    /// No output may take the place of an input or of another output.
    fn new(outputs: &'a [PathBuf], format: Option<ReportFormat>, inputs: &[PathBuf]) -> Result<Targets<'a>, Failure> {
        let real = |path: &Path| fs::canonicalize(path).unwrap_or_else(|_| path.to_owned());
        let mut taken: Vec<PathBuf> = inputs.iter().map(|path| real(path)).collect();
        let mut files = Vec::new();
        for file in outputs {
            let device = fs::metadata(file).is_ok_and(|there| !there.is_file() && !there.is_dir());
            if !device && taken.contains(&real(file)) {
                let file = file.display();
                return Err(Failure::Said(format!(
                    "error: {file} would be overwritten: name another file for each output"
                )));
            }
            taken.push(real(file));
            files.push((file.as_path(), format.unwrap_or_else(|| by_name(file))));
        }
        Ok(Targets { format, files })
    }
}

fn by_name(file: &Path) -> ReportFormat {
    match file.extension().and_then(|extension| extension.to_str()) {
        Some("json") => ReportFormat::Json,
        Some("md") => ReportFormat::Markdown,
        _ => ReportFormat::Text,
    }
}

fn rendered(census: &Census, format: ReportFormat, brief: bool, paint: Paint) -> String {
    match format {
        ReportFormat::Text => text(census, brief, paint),
        ReportFormat::Json => census.to_json(),
        ReportFormat::Markdown => markdown(census),
    }
}

fn deliver(census: &Census, targets: &Targets<'_>, terminal: &mut Terminal) -> Result<Verdict, Failure> {
    for (file, format) in &targets.files {
        let text = rendered(census, *format, false, Paint::PLAIN);
        let written = write_file(file, |out| out.write_all(text.as_bytes()));
        written
            .map_err(|error: io::Error| Failure::Said(format!("error: cannot write {}: {error}", file.display())))?;
    }
    if targets.files.is_empty() {
        let format = targets.format.unwrap_or(ReportFormat::Text);
        let report = rendered(census, format, terminal.quiet, terminal.paint);
        terminal.out().write_all(report.as_bytes())?;
    }
    Ok(if census.ok() { Verdict::Holds } else { Verdict::Fails })
}

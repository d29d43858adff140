//! `natbox report`, and what `natbox matrix` does with what it ran: files, expectations, small labs.

use std::collections::BTreeSet;
use std::fs;
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use natbox::matrix::{Expectations, MatrixError, Sweep, join, read, shrink};
use natbox::output::{may_write, write_file};
use natbox::paint::Paint;
use natbox::population::is_census;
use natbox::report::matrix::{Detail, csv, differences, html, junit, markdown, text};

use crate::arguments::{MatrixFormat, Outputs, Report};
use crate::progress::Progress;
use crate::terminal::Terminal;
use crate::{Failure, Verdict};

/// Cells that differ and are made small: the first of each pair, so many at most.
const SHRUNK: usize = 20;

pub(crate) fn execute(report: &Report, terminal: &mut Terminal) -> Result<Verdict, Failure> {
    let mut texts = Vec::new();
    for part in &report.parts {
        let name = part.display().to_string();
        let bytes = fs::read(part).map_err(|error| Failure::Said(format!("error: cannot read {name}: {error}")))?;
        let text = String::from_utf8(bytes).map_err(|_| Failure::Said(format!("error: {name}: this is no text")))?;
        texts.push((name, text));
    }
    if texts.first().is_some_and(|(_, text)| is_census(text)) {
        return crate::population::report(texts, &report.outputs, &report.parts, terminal);
    }
    let targets = Targets::new(&report.outputs, &report.parts)?;
    let parts = texts.into_iter().map(|(name, text)| Ok((name.clone(), read(&name, &text).map_err(refused)?)));
    let parts = parts.collect::<Result<Vec<_>, Failure>>()?;
    let sweep = join(parts).map_err(refused)?;
    deliver(sweep, &targets, terminal)
}

/// What cannot be done, for people. Mistakes of topology files say themselves that they are errors.
pub(crate) fn refused(error: MatrixError) -> Failure {
    match error {
        MatrixError::Topology(mistakes) => Failure::new(mistakes),
        other => Failure::Said(format!("error: {other}")),
    }
}

/// Where everything goes, known before anything is run.
pub(crate) struct Targets<'a> {
    outputs: &'a Outputs,
    files: Vec<(&'a Path, MatrixFormat)>,
    /// The file of expectations, and what is in it. Nothing where it is to be written anew.
    expected: Option<(&'a Path, Option<Expectations>)>,
}

impl<'a> Targets<'a> {
    /// Reads the expectations. No output may take the place of an input or of another output, and each can be written: what
    /// ran for an hour is not lost for a folder that is not there.
    pub(crate) fn new(outputs: &'a Outputs, inputs: &[PathBuf]) -> Result<Targets<'a>, Failure> {
        let real = |path: &Path| fs::canonicalize(path).unwrap_or_else(|_| path.to_owned());
        let mut taken: Vec<PathBuf> = inputs.iter().chain(&outputs.expect).map(|path| real(path)).collect();
        let mut files = Vec::new();
        for file in &outputs.output {
            let device = fs::metadata(file).is_ok_and(|there| !there.is_file() && !there.is_dir());
            if !device && taken.contains(&real(file)) {
                let file = file.display();
                return Err(Failure::Said(format!(
                    "error: {file} would be overwritten: name another file for each output"
                )));
            }
            taken.push(real(file));
            files.push((file.as_path(), outputs.format.unwrap_or_else(|| by_name(file))));
        }
        let expected = match &outputs.expect {
            None => None,
            Some(file) if outputs.bless => Some((file.as_path(), None)),
            Some(file) => {
                let name = file.display();
                let text = fs::read_to_string(file)
                    .map_err(|error| Failure::Said(format!("error: cannot read {name}: {error}; --bless writes it")))?;
                Some((file.as_path(), Some(Expectations::read(&name.to_string(), &text).map_err(refused)?)))
            }
        };
        let blessed = expected.iter().filter(|(_, known)| known.is_none()).map(|(file, _)| *file);
        for file in files.iter().map(|(file, _)| *file).chain(blessed) {
            may_write(file).map_err(|error| unwritable(file, &error))?;
        }
        Ok(Targets { outputs, files, expected })
    }

    /// Whether somebody wants to know why.
    pub(crate) fn reasons(&self) -> bool {
        let formats = self.files.iter().map(|(_, format)| *format).chain(self.outputs.format);
        formats
            .into_iter()
            .any(|format| !matches!(format, MatrixFormat::Text | MatrixFormat::Csv | MatrixFormat::Markdown))
    }

    /// Whether a sweep like this one can be held against the expectations: asked before it is run.
    pub(crate) fn fit(&self, sweep: &Sweep) -> Result<(), Failure> {
        match &self.expected {
            Some((file, Some(expected))) => expected.fits(&file.display().to_string(), sweep).map_err(refused),
            Some((_, None)) => Expectations::of(sweep).map(drop).map_err(refused),
            None => Ok(()),
        }
    }
}

fn by_name(file: &Path) -> MatrixFormat {
    match file.extension().and_then(|extension| extension.to_str()) {
        Some("json") => MatrixFormat::Json,
        Some("xml") => MatrixFormat::Junit,
        Some("md") => MatrixFormat::Markdown,
        Some("csv") => MatrixFormat::Csv,
        Some("html" | "htm") => MatrixFormat::Html,
        _ => MatrixFormat::Text,
    }
}

/// Judges a sweep, writes its reports, and makes small what differs.
pub(crate) fn deliver(mut sweep: Sweep, targets: &Targets<'_>, terminal: &mut Terminal) -> Result<Verdict, Failure> {
    match &targets.expected {
        Some((file, Some(expected))) => {
            expected.judge(&file.display().to_string(), &mut sweep).map_err(refused)?;
        }
        Some((file, None)) => {
            let text = Expectations::of(&sweep).map_err(refused)?.to_json();
            save(file, &text)?;
        }
        None => {}
    }
    for (file, format) in &targets.files {
        save(file, &rendered(&sweep, *format, Detail::Tables, Paint::PLAIN, terminal.quiet))?;
    }
    let detail = match (terminal.quiet, terminal.verbose) {
        (true, _) => Detail::Sum,
        (_, true) => Detail::Pairs,
        _ => Detail::Tables,
    };
    let shown = targets.outputs.format.unwrap_or(MatrixFormat::Text);
    let to_terminal = targets.files.is_empty();
    if to_terminal && !(terminal.quiet && shown == MatrixFormat::Text && sweep.ok()) {
        let report = rendered(&sweep, shown, detail, terminal.paint, terminal.quiet);
        terminal.out().write_all(report.as_bytes())?;
    }
    let told = told(&sweep, targets, terminal.paint)?;
    // Documents for programs keep standard output to themselves.
    if to_terminal && shown != MatrixFormat::Text {
        write!(io::stderr(), "{told}").ok();
    } else {
        terminal.out().write_all(told.as_bytes())?;
    }
    Ok(if sweep.ok() { Verdict::Holds } else { Verdict::Fails })
}

fn save(file: &Path, text: &str) -> Result<(), Failure> {
    let written = write_file(file, |out| out.write_all(text.as_bytes()));
    written.map_err(|error: io::Error| unwritable(file, &error))
}

fn unwritable(file: &Path, error: &io::Error) -> Failure {
    Failure::Said(format!("error: cannot write {}: {error}", file.display()))
}

fn rendered(sweep: &Sweep, format: MatrixFormat, detail: Detail, paint: Paint, quiet: bool) -> String {
    match format {
        MatrixFormat::Text => text(sweep, detail, paint),
        MatrixFormat::Json => sweep.to_json(),
        MatrixFormat::Junit => junit(sweep),
        MatrixFormat::Markdown => markdown(sweep),
        MatrixFormat::Csv => csv(sweep),
        MatrixFormat::Html => {
            let progress = Progress::of_cells(sweep.groups().count(), quiet);
            progress.say("drawing ladders");
            html(sweep, &|| progress.step())
        }
    }
}

/// What is not as expected, and the files that show it.
fn told(sweep: &Sweep, targets: &Targets<'_>, paint: Paint) -> Result<String, Failure> {
    let mut told = differences(sweep, paint);
    if !told.is_empty() {
        told.insert(0, '\n');
    }
    let Some((expect, Some(_))) = &targets.expected else { return Ok(told) };
    let beside = expect.with_extension("differs");
    let folder = targets.outputs.shrink_to.clone().unwrap_or(beside);
    let mut seen = BTreeSet::new();
    let differing = sweep.cells.iter().filter(|cell| cell.expected.is_some_and(|expected| expected != cell.path));
    for cell in differing.filter(|cell| seen.insert(cell.key())).take(SHRUNK) {
        match shrink(sweep, cell) {
            Ok(shrunk) => {
                let cannot =
                    |error| Failure::Said(format!("error: cannot make the folder {}: {error}", folder.display()));
                fs::create_dir_all(&folder).map_err(cannot)?;
                let file = folder.join(&shrunk.file_name);
                save(&file, &shrunk.yaml)?;
                told.push_str(&format!("made small: natbox run {}\n", file.display()));
            }
            Err(error) => told.push_str(&format!("not made small: {error}\n")),
        }
    }
    Ok(told)
}

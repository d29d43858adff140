//! `natbox run`.

use std::fs;
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use natbox::outcome::Outcome;
use natbox::output::write_file;
use natbox::paint::Paint;
use natbox::record::Limits;
use natbox::report::run::{Detail, RunView, text, verdict};
use natbox::{Lab, LabError, Recording};

use crate::arguments::{Format, Run};
use crate::files::labs;
use crate::progress::Progress;
use crate::terminal::Terminal;
use crate::{Failure, Verdict};

pub(crate) fn execute(run: &Run, terminal: &mut Terminal) -> Result<Verdict, Failure> {
    let labs = labs(&run.files)?;
    let captures = captures(run)?;
    let outputs = captures.iter().flatten().chain(&run.output).map(PathBuf::as_path).collect::<Vec<_>>();
    keep_apart(&run.files, &outputs)?;
    prepare(run)?;
    let mut outcomes = Vec::new();
    let progress = Progress::new(labs.len(), terminal.quiet);
    let mut report = Report::new(run, terminal);
    for ((lab, capture), file) in labs.into_iter().zip(captures).zip(&run.files) {
        progress.begin(file);
        let recording = record(run, lab.clone(), capture.as_deref(), report.detail)?;
        progress.end(|| report.add(&lab, &recording, capture.as_deref()))?;
        outcomes.push(recording.outcome);
    }
    drop(progress);
    report.finish(&outcomes)?;
    Ok(if outcomes.iter().all(|outcome| outcome.ok) { Verdict::Holds } else { Verdict::Fails })
}

fn record(run: &Run, lab: Lab, capture: Option<&Path>, detail: Detail) -> Result<Recording, Failure> {
    let file = lab.plan().file.clone();
    let mut lab = lab.limits(if detail == Detail::Packets { Limits::PACKETS } else { Limits::TIMELINE });
    if let Some(seed) = run.seed {
        lab = lab.seed(seed);
    }
    if let Some(capture) = capture {
        lab = lab.capture(capture);
    }
    begin(run, &lab).map_err(|error| match error {
        LabError::Stuck(stuck) => Failure::Said(format!("error: {file}: {stuck}")),
        other => Failure::Said(format!("error: {other}")),
    })
}

/// A live run needs rights, and they are the whole process's: before there is any other thread.
#[cfg(target_os = "linux")]
fn prepare(run: &Run) -> Result<(), Failure> {
    let gained = if run.live { natbox::live::privilege::gain() } else { Ok(()) };
    gained.map_err(|error| Failure::Said(format!("error: {error}")))
}

#[cfg(target_os = "linux")]
fn begin(run: &Run, lab: &Lab) -> Result<Recording, LabError> {
    if run.live { lab.run_live_recorded() } else { lab.run_recorded() }
}

#[cfg(not(target_os = "linux"))]
fn prepare(_: &Run) -> Result<(), Failure> {
    Ok(())
}

#[cfg(not(target_os = "linux"))]
fn begin(_: &Run, lab: &Lab) -> Result<Recording, LabError> {
    lab.run_recorded()
}

/// Where each file's capture goes. One file: that file, or a folder to put it into. Several: a folder.
fn captures(run: &Run) -> Result<Vec<Option<PathBuf>>, Failure> {
    let Some(target) = &run.capture else { return Ok(vec![None; run.files.len()]) };
    let folder = run.files.len() > 1 || target.is_dir() || target.as_os_str().to_string_lossy().ends_with('/');
    if !folder {
        return Ok(vec![Some(target.clone())]);
    }
    let cannot = |error| Failure::Said(format!("error: cannot make the folder {}: {error}", target.display()));
    fs::create_dir_all(target).map_err(cannot)?;
    let mut captures = Vec::<Option<PathBuf>>::new();
    for file in &run.files {
        let name = Path::new(file.file_stem().unwrap_or(file.as_os_str())).with_extension("pcapng");
        let capture = Some(target.join(name));
        if captures.contains(&capture) {
            let name = file.display();
            return Err(Failure::Said(format!(
                "error: two captures would have one name: rename {name}, or run it alone"
            )));
        }
        captures.push(capture);
    }
    Ok(captures)
}

/// No output may take the place of a topology file or of another output.
fn keep_apart(files: &[PathBuf], outputs: &[&Path]) -> Result<(), Failure> {
    // Paths that do not exist yet are told apart as they are written.
    let real = |path: &Path| fs::canonicalize(path).unwrap_or_else(|_| path.to_owned());
    let mut taken = files.iter().map(|file| real(file)).collect::<Vec<_>>();
    for output in outputs {
        let device = fs::metadata(output).is_ok_and(|there| !there.is_file());
        if !device && taken.contains(&real(output)) {
            let output = output.display();
            return Err(Failure::Said(format!(
                "error: {output} would be overwritten: name another file for each output"
            )));
        }
        taken.push(real(output));
    }
    Ok(())
}

/// The report under construction: written as it comes to standard output, at the end to a file.
struct Report<'a> {
    run: &'a Run,
    terminal: &'a mut Terminal,
    paint: Paint,
    detail: Detail,
    /// What goes to a file.
    held_back: Vec<u8>,
}

impl<'a> Report<'a> {
    fn new(run: &'a Run, terminal: &'a mut Terminal) -> Report<'a> {
        let detail = match (terminal.quiet, terminal.verbose) {
            (true, _) => Detail::Failures,
            (_, true) => Detail::Packets,
            _ => Detail::Steps,
        };
        let paint = if run.output.is_some() { Paint::PLAIN } else { terminal.paint };
        Report { run, terminal, paint, detail, held_back: Vec::new() }
    }

    fn out(&mut self) -> &mut dyn Write {
        if self.run.output.is_some() { &mut self.held_back } else { self.terminal.out() }
    }

    /// One run, as text. JSON waits for all.
    fn add(&mut self, lab: &Lab, recording: &Recording, capture: Option<&Path>) -> io::Result<()> {
        if self.run.format == Format::Json {
            return Ok(());
        }
        let Recording { outcome, log, names } = recording;
        let (detail, paint) = (self.detail, self.paint);
        let told = text(&RunView { plan: lab.plan(), outcome, log, names }, detail, paint);
        self.out().write_all(told.as_bytes())?;
        if let Some(capture) = capture.filter(|_| detail > Detail::Failures) {
            writeln!(self.out(), "capture: {}", capture.display())?;
        }
        if self.run.files.len() > 1 && !told.is_empty() {
            writeln!(self.out())?;
        }
        self.out().flush()
    }

    fn finish(mut self, outcomes: &[Outcome]) -> Result<(), Failure> {
        match self.run.format {
            Format::Json => {
                let json = json(outcomes).map_err(Failure::new)?;
                self.out().write_all(json.as_bytes())?;
            }
            Format::Text if outcomes.len() > 1 && self.detail > Detail::Failures => self.tally(outcomes)?,
            Format::Text => {}
        }
        let Some(output) = &self.run.output else { return Ok(()) };
        let written = write_file(output, |file| file.write_all(&self.held_back));
        written.map_err(|error| Failure::Said(format!("error: cannot write {}: {error}", output.display())))
    }

    /// All files' verdicts, at the end of several.
    fn tally(&mut self, outcomes: &[Outcome]) -> io::Result<()> {
        let paint = self.paint;
        for outcome in outcomes {
            writeln!(self.out(), "{}  {}", verdict(outcome, paint), paint.faint(&outcome.file))?;
        }
        let (all, good) = (outcomes.len(), outcomes.iter().filter(|outcome| outcome.ok).count());
        let tally = format!("{good} of {all} files hold");
        let tally = if good == all { paint.good(tally) } else { paint.bad(tally) };
        writeln!(self.out(), "{tally}")
    }
}

/// One run is an outcome; several are a list of them.
fn json(outcomes: &[Outcome]) -> Result<String, serde_json::Error> {
    match outcomes {
        [outcome] => Ok(outcome.to_json()),
        several => {
            let ok = several.iter().all(|outcome| outcome.ok);
            let document = serde_json::json!({ "natbox": 1, "ok": ok, "runs": several });
            serde_json::to_string_pretty(&document).map(|text| text + "\n")
        }
    }
}

//! The facade: a topology in, an outcome out.

use std::fmt;
use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use crate::build::Built;
use crate::capture::{self, CaptureError};
use crate::outcome::Outcome;
use crate::plan::Plan;
use crate::record::{Limits, Log, Names, Recorder};
use crate::scenario::{self, Finished, Stuck};
use crate::topology::Mistakes;
use crate::topology::tree::TEXT_LIMIT_BYTES;

/// A lab: a topology that was read and checked, and how to run it.
///
/// A whole test:
///
/// ```
/// use natbox::Lab;
///
/// let lab = Lab::from_yaml("
/// nats: { home: symmetric, office: symmetric }
/// hosts: { alice: { behind: home }, bob: { behind: office }, relay: { services: [stun, turn, rendezvous] } }
/// scenario:
///   - connect: { from: alice, to: bob }
///     expect: relayed
/// ")?;
/// let outcome = lab.seed(7).run()?;
/// assert!(outcome.ok, "{}", outcome.to_json());
/// assert_eq!(outcome.steps[0].fact("path"), Some("relayed"));
/// # Ok::<(), natbox::LabError>(())
/// ```
#[derive(Clone, Debug)]
pub struct Lab {
    plan: Plan,
    seed: Option<u64>,
    capture: Option<PathBuf>,
    limits: Limits,
}

/// Everything that a run leaves behind.
pub struct Recording {
    /// What came of it.
    pub outcome: Outcome,
    /// Everything that happened, as far as it was kept.
    pub log: Log,
    /// What things are called in it.
    pub names: Names,
}

impl Lab {
    /// Reads and checks a topology file.
    ///
    /// # Errors
    /// [`LabError::Read`] if it cannot be read, [`LabError::Topology`] with every mistake in it.
    pub fn from_file(path: impl AsRef<Path>) -> Result<Lab, LabError> {
        let path = path.as_ref();
        let failed = |error| LabError::Read { path: path.to_owned(), error };
        let text = read(path).map_err(failed)?;
        Lab::from_text(&path.display().to_string(), &text)
    }

    /// Checks a topology.
    ///
    /// # Errors
    /// [`LabError::Topology`] with every mistake in it.
    pub fn from_yaml(text: &str) -> Result<Lab, LabError> {
        Lab::from_text("lab", text)
    }

    fn from_text(file: &str, text: &str) -> Result<Lab, LabError> {
        Plan::from_yaml(file, text).map(Lab::from).map_err(LabError::Topology)
    }

    /// Runs from this seed instead of the file's.
    #[must_use]
    pub fn seed(self, seed: u64) -> Lab {
        Lab { seed: Some(seed), ..self }
    }

    /// Writes a capture of the run to this file.
    #[must_use]
    pub fn capture(self, path: impl Into<PathBuf>) -> Lab {
        Lab { capture: Some(path.into()), ..self }
    }

    /// How much of the run is kept for [`Lab::run_recorded`].
    #[must_use]
    pub fn limits(self, limits: Limits) -> Lab {
        Lab { limits, ..self }
    }

    /// The resolved lab.
    pub fn plan(&self) -> &Plan {
        &self.plan
    }

    /// The seed that it runs from.
    pub(crate) fn chosen_seed(&self) -> u64 {
        self.seed.unwrap_or(self.plan.seed)
    }

    /// The network of the lab with the servers of its hosts and gateways running, for programs of one's own: an example is at
    /// [`Built`]. The scenario is left aside.
    ///
    /// # Errors
    /// [`LabError::Stuck`] if the world did not go on.
    pub fn start(&self) -> Result<Built, LabError> {
        let mut built = self.plan.build(self.seed.unwrap_or(self.plan.seed));
        scenario::servers::start(&self.plan, &built);
        let stuck = |why| Stuck { step: 0, line: 0, why };
        built.world.run_for(Duration::ZERO).map_err(stuck)?;
        Ok(built)
    }

    /// The lab at wall-clock speed, with real programs: see [`LiveLab`](crate::live::LiveLab). The scenario is left aside.
    ///
    /// # Errors
    /// What the system refused, and what would help. Nothing is left behind.
    #[cfg(target_os = "linux")]
    pub fn live(&self) -> Result<crate::live::LiveLab, crate::live::LiveError> {
        crate::live::LiveLab::start(&self.plan, self.seed.unwrap_or(self.plan.seed), self.capture.clone())
    }

    /// Runs the scenario. That an expectation does not hold is no error: see [`Outcome::ok`].
    ///
    /// # Errors
    /// [`LabError::Stuck`] if the world did not go on, [`LabError::Capture`] if the capture cannot be written,
    /// [`LabError::NeedsLive`] if the scenario starts real programs.
    pub fn run(&self) -> Result<Outcome, LabError> {
        self.run_recorded().map(|recording| recording.outcome)
    }

    /// Runs the scenario, and gives the record too.
    ///
    /// # Errors
    /// As [`Lab::run`].
    pub fn run_recorded(&self) -> Result<Recording, LabError> {
        if let Some(step) = self.plan.needs_live() {
            return Err(LabError::NeedsLive { file: self.plan.file.clone(), line: step.line });
        }
        let limits = if self.capture.is_some() { Limits::CAPTURE } else { self.limits };
        let recorder = Recorder::new(limits);
        let finished = scenario::run(&self.plan, self.seed.unwrap_or(self.plan.seed), &recorder)?;
        self.record(finished, &recorder)
    }

    /// Runs the scenario at wall-clock speed, with real hosts: [`Outcome::live`] says which. Needs what [`Lab::live`] needs.
    ///
    /// ```no_run
    /// use natbox::Lab;
    ///
    /// let lab = Lab::from_yaml("
    /// nats: { home: symmetric, office: full-cone }
    /// hosts: { alice: { behind: home }, bob: { behind: office }, relay: { services: [stun, turn, rendezvous] } }
    /// scenario:
    ///   - connect: { from: alice, to: bob }
    ///     expect: punched
    ///   - run: { on: alice, command: [ping, -c, 1, relay] }
    ///     expect: { exit: 0, line: 1 received }
    /// ")?;
    /// let outcome = lab.run_live()?;
    /// assert!(outcome.ok, "{}", outcome.to_json());
    /// # Ok::<(), natbox::LabError>(())
    /// ```
    ///
    /// # Errors
    /// As [`Lab::run`]; [`LabError::Live`] if the system refuses what is needed. Nothing is left behind.
    #[cfg(target_os = "linux")]
    pub fn run_live(&self) -> Result<Outcome, LabError> {
        self.run_live_recorded().map(|recording| recording.outcome)
    }

    /// As [`Lab::run_live`], and gives the record too.
    ///
    /// # Errors
    /// As [`Lab::run_live`].
    #[cfg(target_os = "linux")]
    pub fn run_live_recorded(&self) -> Result<Recording, LabError> {
        let limits = if self.capture.is_some() { Limits::CAPTURE } else { self.limits };
        let recorder = Recorder::new(limits);
        let finished = crate::live::run(&self.plan, self.seed.unwrap_or(self.plan.seed), &recorder)?;
        self.record(finished, &recorder)
    }

    fn record(&self, finished: Finished, recorder: &Recorder) -> Result<Recording, LabError> {
        let (log, names) = (recorder.take(), finished.names);
        if let Some(path) = &self.capture {
            capture::save(path, &log, &names).map_err(|error| LabError::Capture { path: path.clone(), error })?;
        }
        Ok(Recording { outcome: finished.outcome, log, names })
    }
}

impl From<Plan> for Lab {
    fn from(plan: Plan) -> Lab {
        Lab { plan, seed: None, capture: None, limits: Limits::TIMELINE }
    }
}

/// Reads a text; no more of it than is needed to see that it is too large.
fn read(path: &Path) -> io::Result<String> {
    use std::io::Read as _;
    let mut bytes = Vec::new();
    std::fs::File::open(path)?.take(TEXT_LIMIT_BYTES as u64 + 4).read_to_end(&mut bytes)?;
    if bytes.len() > TEXT_LIMIT_BYTES {
        return Ok(String::from_utf8_lossy(&bytes).into_owned());
    }
    String::from_utf8(bytes).map_err(|_| io::Error::new(io::ErrorKind::InvalidData, "not UTF-8 text"))
}

/// Why a lab could not be run.
#[derive(Debug)]
pub enum LabError {
    /// The topology file cannot be read.
    Read {
        /// The file.
        path: PathBuf,
        /// Why.
        error: io::Error,
    },
    /// The topology is wrong.
    Topology(Mistakes),
    /// The scenario starts real programs, which have no part in virtual time.
    NeedsLive {
        /// The topology file.
        file: String,
        /// The line of the first step that does.
        line: u32,
    },
    /// The world did not go on.
    Stuck(Stuck),
    /// The system refuses what a live lab needs.
    #[cfg(target_os = "linux")]
    Live(crate::live::LiveError),
    /// The capture cannot be written.
    Capture {
        /// The file.
        path: PathBuf,
        /// Why.
        error: CaptureError,
    },
}

impl fmt::Display for LabError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            LabError::Read { path, error } => write!(f, "cannot read {}: {error}", path.display()),
            LabError::Topology(mistakes) => mistakes.fmt(f),
            LabError::NeedsLive { file, line } => write!(
                f,
                "{file}:{line}: `run` starts a real program, which has no part in virtual time: run the file live (natbox run --live)"
            ),
            LabError::Stuck(stuck) => stuck.fmt(f),
            #[cfg(target_os = "linux")]
            LabError::Live(error) => error.fmt(f),
            LabError::Capture { path, error } => write!(f, "cannot write {}: {error}", path.display()),
        }
    }
}

impl std::error::Error for LabError {}

impl From<Stuck> for LabError {
    fn from(stuck: Stuck) -> LabError {
        LabError::Stuck(stuck)
    }
}

#[cfg(target_os = "linux")]
impl From<crate::live::LiveError> for LabError {
    fn from(error: crate::live::LiveError) -> LabError {
        LabError::Live(error)
    }
}

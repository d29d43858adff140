//! The witness on the stand: asked once for everything, then again where its word and natbox's differ.

use std::collections::BTreeMap;
use std::process::Command;
use std::sync::{Mutex, OnceLock};

use crate::kernel::Kernel;
use crate::script::Script;
use crate::{natbox, shrink};

/// What the kernel says, or why nobody can ask it.
pub(crate) struct Witness {
    asked: Vec<Script>,
    answer: OnceLock<Result<Stand, String>>,
    absent: Option<String>,
}

struct Stand {
    /// By sequence, what it said each of the two times that it was asked.
    said: BTreeMap<String, [Script; 2]>,
    kernel: Mutex<Kernel>,
}

/// Says so in the environment of the process that runs in the namespace.
const INSIDE: &str = "NATBOX_IN_NAMESPACE";
/// A difference counts when the kernel says so each time of so many: random ports coincide now and then.
const ASKED_AGAIN: usize = 3;

/// Runs this program again in a network namespace of its own and leaves with its exit code. Comes back in that process, or
/// where no namespace can be had: then it says why.
pub(crate) fn enter_namespace() -> Result<(), String> {
    if std::env::var_os(INSIDE).is_some() {
        return Ok(());
    }
    let unshare = |program: &mut Command| {
        let user = if is_root() { &[][..] } else { &["--map-root-user"][..] };
        let mut command = Command::new("unshare");
        command.args(user).args(["--net", "--"]).arg(program.get_program()).args(program.get_args());
        command
    };
    let tried = unshare(&mut Command::new("true")).output().map_err(|error| format!("no `unshare`: {error}"))?;
    if !tried.status.success() {
        let why = String::from_utf8_lossy(&tried.stderr).trim().to_owned();
        return Err(format!("no right to a network namespace ({why})"));
    }
    let program = std::env::current_exe().map_err(|error| error.to_string())?;
    let mut again = Command::new(program);
    again.args(std::env::args_os().skip(1));
    let status = unshare(&mut again).env(INSIDE, "1").status().map_err(|error| error.to_string())?;
    std::process::exit(status.code().unwrap_or(101));
}

fn is_root() -> bool {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    status.lines().any(|line| line.starts_with("Uid:") && line.split_whitespace().nth(2) == Some("0"))
}

impl Witness {
    /// A witness that is to be asked about these.
    pub(crate) fn new(asked: Vec<Script>, absent: Option<String>) -> Witness {
        Witness { asked, answer: OnceLock::new(), absent }
    }

    /// What the kernel does with one of the sequences; `Err` if it cannot be asked.
    pub(crate) fn says(&self, script: &Script) -> Result<Script, String> {
        let stand = self.stand()?;
        Ok(stand.said[&script.without_outcomes().to_string()][0].clone())
    }

    /// A sequence with which it did one thing, and then another, if there is one. Both times are told.
    pub(crate) fn contradicts_itself(&self) -> Result<Option<[Script; 2]>, String> {
        let differing: Vec<&[Script; 2]> =
            self.stand()?.said.values().filter(|[one, two]| one.steps != two.steps).collect();
        let again = self.asked_again(differing.iter().map(|twice| &twice[0]))?;
        // Random ports coincide now and then; what it says most often is what it means.
        let unsure = |said: &[Script]| {
            let votes = said.iter().map(|one| said.iter().filter(|other| other.steps == one.steps).count());
            votes.max().is_none_or(|most| most * 2 <= said.len())
        };
        Ok(differing.into_iter().zip(&again).find(|(_, said)| unsure(said)).map(|(twice, _)| twice.clone()))
    }

    /// What the kernel says about each of these when it is asked again, several times.
    pub(crate) fn asked_again<'a>(
        &self,
        scripts: impl Iterator<Item = &'a Script>,
    ) -> Result<Vec<Vec<Script>>, String> {
        let each: Vec<Script> = scripts.flat_map(|script| vec![script.without_outcomes(); ASKED_AGAIN]).collect();
        if each.is_empty() {
            return Ok(Vec::new());
        }
        Ok(self.says_now(&each)?.chunks_exact(ASKED_AGAIN).map(<[Script]>::to_vec).collect())
    }

    /// The timers that the kernel ships with other than the table says.
    pub(crate) fn ships_otherwise(&self) -> Result<Vec<String>, String> {
        let kernel = self.stand()?.kernel.lock().map_err(|_| "the kernel's thread panicked".to_owned())?;
        Ok(kernel.shipped_otherwise())
    }

    /// Asks about other sequences.
    pub(crate) fn says_now(&self, scripts: &[Script]) -> Result<Vec<Script>, String> {
        let stand = self.stand()?;
        stand.kernel.lock().map_err(|_| "the kernel's thread panicked".to_owned())?.testify(scripts)
    }

    /// Whether the kernel says something else than `expected` each time it is asked.
    pub(crate) fn contradicts(&self, expected: &Script) -> Result<bool, String> {
        let again = self.asked_again(std::iter::once(expected))?;
        Ok(again.iter().flatten().all(|said| said.steps != expected.steps))
    }

    /// The shortest sequence found in which the kernel and natbox differ as they do in this one.
    pub(crate) fn shrink(&self, script: &Script) -> Result<Script, String> {
        let mut shortest = script.clone();
        for _ in 0..40 {
            let simpler = shrink::simpler(&shortest);
            let candidates: Vec<Script> = simpler.into_iter().flat_map(|one| vec![one; 2]).collect();
            let said = self.says_now(&candidates)?;
            let differs = |said: &Script| natbox::play(said).is_some_and(|natbox| natbox.steps != said.steps);
            match said.chunks(2).find(|twice| twice.iter().all(differs)) {
                Some(twice) => shortest = twice[0].without_outcomes(),
                None => break,
            }
        }
        Ok(shortest)
    }

    fn stand(&self) -> Result<&Stand, String> {
        if let Some(why) = &self.absent {
            return Err(why.clone());
        }
        let answer = self.answer.get_or_init(|| {
            let mut kernel = Kernel::new()?;
            let twice: Vec<Script> = self.asked.iter().flat_map(|script| [script.clone(), script.clone()]).collect();
            let said = kernel.testify(&twice)?;
            let asked = self.asked.iter().map(|script| script.without_outcomes().to_string());
            let twice = said.chunks_exact(2).map(|twice| [twice[0].clone(), twice[1].clone()]);
            Ok(Stand { said: asked.zip(twice).collect(), kernel: Mutex::new(kernel) })
        });
        answer.as_ref().map_err(Clone::clone)
    }
}

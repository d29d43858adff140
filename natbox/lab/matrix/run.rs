//! Which cells a matrix has, and how they are run: on as many cores as are wanted, in an order that nobody sees.

use std::collections::BTreeSet;
use std::num::NonZeroUsize;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;

use natbox_probes::Path;
use natbox_wire::Word;

use super::cell::{Cell, Semantics, Sweep};
use super::lab::{self, Templates};
use super::parts::Shard;
use super::side::Side;
use super::{Conditions, MAX_CELLS, MatrixError, Technique};
use crate::plan::Plan;

/// A matrix that can be run.
#[derive(Debug)]
pub struct Matrix {
    sides: Vec<Side>,
    techniques: Vec<Technique>,
    first_seed: u64,
    seeds: usize,
    shard: Option<Shard>,
    conditions: Conditions,
    templates: Templates,
}

/// How a matrix is run. None of it changes what comes of it.
#[derive(Clone, Copy, Debug)]
pub struct Wanted {
    /// On how many cores; all that there are if absent.
    pub jobs: Option<NonZeroUsize>,
    /// Whether cells without a direct path tell why: that takes a second, recorded run of each.
    pub reasons: bool,
}

/// A worker takes so many cells at a time.
const BITE: usize = 4;

impl Matrix {
    /// Every pair of `sides`, by each technique, once a seed.
    ///
    /// # Errors
    /// No cells at all, more seeds than there are, sides that no lab has room for.
    pub fn new(
        mut sides: Vec<Side>,
        techniques: Vec<Technique>,
        conditions: Conditions,
        (first_seed, seeds): (u64, usize),
    ) -> Result<Matrix, MatrixError> {
        sides.iter_mut().for_each(|side| conditions.apply(side));
        let pairs = sides.len().checked_mul(sides.len());
        match pairs.and_then(|pairs| pairs.checked_mul(techniques.len())?.checked_mul(seeds)) {
            Some(0) => return Err(MatrixError::said("a matrix needs a NAT, a technique and a seed")),
            Some(_) if first_seed.checked_add(seeds as u64).is_some() => {}
            _ => return Err(MatrixError::said("there are not so many seeds")),
        }
        let templates = Templates::new(&sides, &techniques)?;
        Ok(Matrix { sides, techniques, first_seed, seeds, shard: None, conditions, templates })
    }

    /// Every pair of these NATs, by each technique, once from seed 0, under no conditions: names as the command
    /// `natbox matrix` takes them.
    ///
    /// ```
    /// use natbox::matrix::{Matrix, MatrixError};
    /// use natbox::probes::Path;
    ///
    /// let sweep = Matrix::of(&["symmetric", "full-cone"], &["punch", "connect"])?.sweep()?;
    /// let path = |a, b, technique| sweep.between(a, b, technique).map(|group| group.path());
    /// assert_eq!(path("symmetric", "full-cone", "punch"), Some(Path::Punched));
    /// assert_eq!(path("symmetric", "symmetric", "punch"), Some(Path::None));
    /// assert_eq!(path("symmetric", "symmetric", "connect"), Some(Path::Relayed));
    /// # Ok::<(), MatrixError>(())
    /// ```
    ///
    /// # Errors
    /// A name that nothing has; as [`Matrix::new`].
    pub fn of(nats: &[&str], techniques: &[&str]) -> Result<Matrix, MatrixError> {
        let names = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect::<Vec<_>>();
        let (sides, techniques) = (super::sides(&names(nats), None)?, super::techniques(&names(techniques))?);
        Matrix::new(sides, techniques, Conditions::default(), (0, 1))
    }

    /// The same with so many seeds, from `first` on.
    ///
    /// # Errors
    /// None, or more than there are.
    pub fn seeds(self, first: u64, seeds: usize) -> Result<Matrix, MatrixError> {
        Matrix::new(self.sides, self.techniques, self.conditions, (first, seeds))
            .map(|matrix| Matrix { shard: self.shard, ..matrix })
    }

    /// A part of it.
    #[must_use]
    pub fn shard(self, shard: Shard) -> Matrix {
        Matrix { shard: Some(shard), ..self }
    }

    /// How many cells it has.
    pub fn len(&self) -> usize {
        self.groups().len() * self.seeds
    }

    /// Never: there is no matrix without cells, but a part of one may have none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The pairs with their techniques, those of other parts left out.
    fn groups(&self) -> Vec<(usize, usize, usize)> {
        let (sides, techniques) = (self.sides.len(), self.techniques.len());
        let all = (0..sides * sides * techniques).filter(|group| self.shard.is_none_or(|shard| shard.has(*group)));
        let place = |group: usize| {
            let (pair, technique) = (group / techniques, group % techniques);
            (pair / sides, pair % sides, technique)
        };
        all.map(place).collect()
    }

    /// What it runs under.
    pub fn semantics(&self) -> Semantics {
        let behaviors = || self.sides.iter().flat_map(|side| side.nats.iter().map(|nat| &nat.behavior));
        let words = |words: BTreeSet<&'static str>| match words.into_iter().collect::<Vec<_>>().as_slice() {
            [word] => (*word).to_owned(),
            _ => "per-nat".to_owned(),
        };
        Semantics {
            version: env!("CARGO_PKG_VERSION").to_owned(),
            filter_scope: words(behaviors().map(|behavior| behavior.filter_scope.as_str()).collect()),
            session_affinity: words(behaviors().map(|behavior| behavior.session_affinity.as_str()).collect()),
            peer_reflexive: "on".to_owned(),
            control: self.conditions.control().map(str::to_owned),
            link: self.conditions.link().map(|(key, value)| (key.to_owned(), value.to_owned())).collect(),
            nats: self.sides.iter().map(|side| side.name.clone()).collect(),
            techniques: self.techniques.iter().map(|technique| technique.as_str().to_owned()).collect(),
            first_seed: self.first_seed,
            seeds: self.seeds as u64,
            shard: self.shard,
        }
    }

    /// What it will come to, without any cell.
    pub fn empty(&self) -> Sweep {
        Sweep { semantics: self.semantics(), sides: self.sides.clone(), cells: Vec::new() }
    }

    /// Runs every cell, on all cores; those without a direct path tell why.
    ///
    /// # Errors
    /// As [`Matrix::run`].
    pub fn sweep(&self) -> Result<Sweep, MatrixError> {
        self.run(Wanted { jobs: None, reasons: true }, &|| {})
    }

    /// Runs every cell. `done` is told of each, from any thread.
    ///
    /// # Errors
    /// More than [`MAX_CELLS`] cells.
    pub fn run(&self, wanted: Wanted, done: &(dyn Fn() + Sync)) -> Result<Sweep, MatrixError> {
        if self.len() > MAX_CELLS {
            let cells = self.len();
            return Err(MatrixError::Said(format!(
                "{cells} cells, and at most {MAX_CELLS} are run at once: split the sweep with --shard K/N"
            )));
        }
        let (groups, next) = (self.groups(), AtomicUsize::new(0));
        let jobs = wanted.jobs.or_else(|| thread::available_parallelism().ok()).map_or(1, NonZeroUsize::get);
        let jobs = jobs.clamp(1, self.len().div_ceil(BITE).max(1));
        let work = || self.work(&groups, &next, wanted.reasons, done);
        let mut cells = thread::scope(|scope| {
            let others: Vec<_> = (1..jobs).map(|_| scope.spawn(work)).collect();
            let mut cells = work();
            for other in others {
                match other.join() {
                    Ok(more) => cells.extend(more),
                    Err(panic) => std::panic::resume_unwind(panic),
                }
            }
            cells
        });
        cells.sort_unstable_by_key(|cell| (cell.key(), cell.seed));
        Ok(Sweep { cells, ..self.empty() })
    }

    /// One worker: takes cells until none is left.
    fn work(
        &self,
        groups: &[(usize, usize, usize)],
        next: &AtomicUsize,
        reasons: bool,
        done: &(dyn Fn() + Sync),
    ) -> Vec<Cell> {
        let (all, mut cells) = (groups.len() * self.seeds, Vec::new());
        let mut at: Option<(usize, Plan)> = None;
        loop {
            let begin = next.fetch_add(BITE, Ordering::Relaxed);
            if begin >= all {
                return cells;
            }
            for index in begin..(begin + BITE).min(all) {
                let group = index / self.seeds;
                let (a, b, technique) = groups[group];
                if at.as_ref().is_none_or(|(planned, _)| *planned != group) {
                    let plan = self.templates.fill(&self.sides[a], &self.sides[b], self.techniques[technique]);
                    at = plan.map(|plan| (group, plan));
                }
                let Some((_, plan)) = &at else { continue };
                let seed = self.first_seed + (index % self.seeds) as u64;
                cells.push(cell(plan, (a, b, technique), seed, reasons));
                done();
            }
        }
    }
}

fn cell(plan: &Plan, (a, b, technique): (usize, usize, usize), seed: u64, reasons: bool) -> Cell {
    let came = lab::run(plan, seed);
    let ok = came.trouble.is_none();
    let explained = reasons && matches!(came.path, Path::None | Path::Relayed);
    let mut reasons: Vec<String> = came.trouble.into_iter().collect();
    if explained {
        reasons.extend(lab::explain(plan, seed, None));
    }
    let (path, elapsed_ns, packets) = (came.path, came.elapsed_ns, came.packets);
    Cell { a, b, technique, seed, path, expected: None, ok, elapsed_ns, packets, reasons }
}

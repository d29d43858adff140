//! Draws on many cores. What each core counted is added up: who drew what does not show.

use std::collections::BTreeMap;
use std::num::NonZeroUsize;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;

use natbox_wire::Word;

use super::census::{Census, Checked, Pair, direct};
use super::draw::{Draw, Urn};
use super::{Population, Subject, check, shut};
use crate::matrix::lab::{self, Templates};
use crate::matrix::{MatrixError, Technique};
use crate::plan::Plan;

/// A worker takes so many draws at a time.
const BITE: u64 = 64;
/// Labs that a worker keeps ready; when there are more, it begins anew.
const READY: usize = 2_000;

/// What a worker has counted.
#[derive(Default)]
struct Tally {
    pairs: BTreeMap<(usize, usize), Pair>,
    checked: BTreeMap<usize, Checked>,
}

/// What a worker has made and may want again.
#[derive(Default)]
struct Ready {
    labs: BTreeMap<Lab, Plan>,
    templates: Templates,
}

/// A lab by everything that decides its plan.
type Lab = (usize, usize, (bool, bool), bool);

impl Population {
    /// Runs every draw of its part. `done` is told of each handful, from any thread: how many.
    ///
    /// # Errors
    /// NATs that no lab has room for.
    pub fn run(&self, jobs: Option<NonZeroUsize>, done: &(dyn Fn(u64) + Sync)) -> Result<Census, MatrixError> {
        let (urn, next) = (Urn::new(self), AtomicU64::new(0));
        let jobs = jobs.or_else(|| thread::available_parallelism().ok()).map_or(1, NonZeroUsize::get);
        let bites = usize::try_from(self.len().div_ceil(BITE)).unwrap_or(usize::MAX);
        let jobs = jobs.clamp(1, bites.max(1));
        let work = || self.work(&urn, &next, done);
        let tallies = thread::scope(|scope| {
            let others: Vec<_> = (1..jobs).map(|_| scope.spawn(work)).collect();
            let mut tallies = vec![work()];
            for other in others {
                match other.join() {
                    Ok(tally) => tallies.push(tally),
                    Err(panic) => std::panic::resume_unwind(panic),
                }
            }
            tallies
        });
        let mut census = Census { about: self.about.clone(), pairs: BTreeMap::new(), checked: BTreeMap::new() };
        for tally in tallies {
            let tally = tally?;
            census.add(&tally.pairs, &tally.checked);
        }
        Ok(census)
    }

    fn work(&self, urn: &Urn, next: &AtomicU64, done: &(dyn Fn(u64) + Sync)) -> Result<Tally, MatrixError> {
        let (all, mut tally, mut ready) = (self.len(), Tally::default(), Ready::default());
        loop {
            let begin = next.fetch_add(BITE, Ordering::Relaxed);
            if begin >= all {
                return Ok(tally);
            }
            let end = (begin + BITE).min(all);
            for place in begin..end {
                let number = self.about.shard.map_or(place, |shard| shard.draw(place));
                let draw = self.draw(urn, number);
                if ready.labs.len() >= READY {
                    ready.labs.clear();
                }
                match self.subject {
                    Subject::Pairs(technique) => self.pair(technique, draw, &mut ready, &mut tally)?,
                    Subject::NatCheck => self.check(draw, &mut ready, &mut tally)?,
                }
            }
            done(end - begin);
        }
    }

    fn pair(&self, technique: Technique, draw: Draw, ready: &mut Ready, tally: &mut Tally) -> Result<(), MatrixError> {
        let Ready { labs, templates } = ready;
        let plan = plan(labs, (draw.a, draw.b, draw.shut, draw.together), || self.lab(technique, draw, templates))?;
        let came = lab::run(plan, draw.seed);
        let pair = tally.pairs.entry((draw.a, draw.b)).or_default();
        pair.draws += 1;
        pair.shut += u64::from(draw.shut.0 || draw.shut.1);
        pair.together += u64::from(draw.together);
        pair.packets += came.packets;
        pair.broken += u64::from(came.trouble.is_some());
        if direct(came.path) {
            pair.elapsed_ns += came.elapsed_ns;
        }
        *pair.paths.entry(came.path.as_str().to_owned()).or_default() += 1;
        Ok(())
    }

    /// The lab of a pair.
    fn lab(&self, technique: Technique, draw: Draw, templates: &mut Templates) -> Result<Plan, MatrixError> {
        let side = |kind: usize, is_shut| match is_shut {
            true => shut(&self.drawn[kind].side),
            false => self.drawn[kind].side.clone(),
        };
        if draw.together {
            return lab::together(&side(draw.a, draw.shut.0 || draw.shut.1), technique);
        }
        let (a, b) = (side(draw.a, draw.shut.0), side(draw.b, draw.shut.1));
        templates.add(&a, &b, technique)?;
        templates.fill(&a, &b, technique).ok_or_else(|| MatrixError::said("the lab has no plan"))
    }

    fn check(&self, draw: Draw, ready: &mut Ready, tally: &mut Tally) -> Result<(), MatrixError> {
        let kind = &self.drawn[draw.a];
        let plan = plan(&mut ready.labs, (draw.a, 0, (false, false), false), || check::lab(&kind.side))?;
        let found = check::run(plan, draw.seed, &kind.tests);
        let checked = tally.checked.entry(draw.a).or_default();
        checked.runs += 1;
        checked.broken += u64::from(found.broken);
        for (test, passed) in found.tests {
            let count = checked.tests.entry(test.as_str().to_owned()).or_default();
            *count = (count.0 + u64::from(passed), count.1 + 1);
        }
        Ok(())
    }
}

/// The plan of a lab, made when it is first wanted.
fn plan(
    labs: &mut BTreeMap<Lab, Plan>,
    lab: Lab,
    make: impl FnOnce() -> Result<Plan, MatrixError>,
) -> Result<&Plan, MatrixError> {
    use std::collections::btree_map::Entry;
    match labs.entry(lab) {
        Entry::Occupied(known) => Ok(known.into_mut()),
        Entry::Vacant(free) => Ok(free.insert(make()?)),
    }
}

impl Census {
    /// Adds what others counted.
    pub(super) fn add(&mut self, pairs: &BTreeMap<(usize, usize), Pair>, checked: &BTreeMap<usize, Checked>) {
        for (key, more) in pairs {
            let pair = self.pairs.entry(*key).or_default();
            pair.draws += more.draws;
            (pair.shut, pair.together) = (pair.shut + more.shut, pair.together + more.together);
            pair.elapsed_ns = pair.elapsed_ns.saturating_add(more.elapsed_ns);
            pair.packets = pair.packets.saturating_add(more.packets);
            pair.broken += more.broken;
            more.paths.iter().for_each(|(path, count)| *pair.paths.entry(path.clone()).or_default() += count);
        }
        for (kind, more) in checked {
            let own = self.checked.entry(*kind).or_default();
            (own.runs, own.broken) = (own.runs + more.runs, own.broken + more.broken);
            for (test, count) in &more.tests {
                let sum = own.tests.entry(test.clone()).or_default();
                *sum = (sum.0 + count.0, sum.1 + count.1);
            }
        }
    }
}

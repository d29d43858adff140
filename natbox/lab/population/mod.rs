//! Populations: NATs by their shares, pairs of them drawn, and what comes of each pair by a technique.
//!
//! [`Population`] is a file, read and checked; [`Population::run`] draws and runs on many cores; [`Census`] is what came of
//! it, counted by pair: its size does not depend on how many draws there were. Draw number N is the same whoever runs
//! it, in whatever part. Every draw is run, from a seed of its own: nothing is looked up that was not measured.
//!
//! Instead of pairs, a procedure can be run against each NAT alone: NAT Check, whose table was published.
//!
//! Knows no terminal and no format but its own JSON: renderings are in [`crate::report::population`].

mod census;
mod check;
mod document;
mod draw;
mod file;
mod join;
mod run;

use std::sync::Arc;

use natbox_nat::behavior::{Filtering, PortRanges, Reach};
use natbox_probes::nat_check::Test;
use natbox_probes::{rendezvous, stun};

use crate::matrix::{MatrixError, Shard, Side, Technique};
use crate::topology::Mistakes;

pub use census::{About, Census, Checked, Figures, Kind, Pair, Published, PublishedCounts, PublishedPair};
pub use document::{is_census, read};
pub use join::join;

/// Pairs that are drawn where a file does not say how many.
const DRAWS: u64 = 10_000;
/// Most kinds of NAT: what is known of each pair is kept.
const MOST_KINDS: usize = 400;

/// What is run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Subject {
    /// A technique between the two of each pair.
    Pairs(Technique),
    /// NAT Check against each NAT.
    NatCheck,
}

/// A kind of NAT with what is needed to run it.
#[derive(Clone, Debug)]
pub(crate) struct Drawn {
    pub(crate) side: Side,
    /// Hundred-millionths.
    pub(crate) failure: u64,
    /// As that.
    pub(crate) together: u64,
    /// The tests of a procedure that count.
    pub(crate) tests: Vec<Test>,
}

/// A population that can be run.
#[derive(Clone, Debug)]
pub struct Population {
    about: About,
    subject: Subject,
    /// Beside the kinds of `about`.
    drawn: Vec<Drawn>,
}

impl Population {
    /// Reads and checks a population. `file` is its name in messages.
    ///
    /// # Errors
    /// Every mistake of the text, with its place.
    pub fn from_yaml(file: &str, text: &str) -> Result<Population, Mistakes> {
        file::read(file, text)
    }

    /// With chance that begins elsewhere.
    #[must_use]
    pub fn seed(mut self, seed: u64) -> Population {
        self.about.seed = seed;
        self
    }

    /// With so many draws. A procedure then draws NATs too, instead of taking each once.
    ///
    /// # Errors
    /// None at all, or more than can be counted.
    pub fn draws(mut self, draws: u64) -> Result<Population, MatrixError> {
        let most = crate::topology::population::MOST_DRAWS;
        if draws == 0 || draws > most {
            return Err(MatrixError::said(format!("{draws} draws: 1 to {most} can be counted")));
        }
        self.about.draws = draws;
        self.about.each_once = false;
        Ok(self)
    }

    /// A part of it.
    #[must_use]
    pub fn shard(mut self, shard: Shard) -> Population {
        self.about.shard = Some(shard);
        self
    }

    /// What it is, without what comes of it.
    pub fn about(&self) -> &About {
        &self.about
    }

    /// How many draws this part of it has.
    pub fn len(&self) -> u64 {
        self.about.own_draws()
    }

    /// Whether the part has none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

/// The side behind a strict firewall, too: out go packets to the servers' ports alone, in come answers alone.
pub(crate) fn shut(side: &Side) -> Side {
    let servers = [stun::PORT..=stun::PORT, stun::ALTERNATE_PORT..=stun::ALTERNATE_PORT];
    let ports = PortRanges::new(servers.into_iter().chain([rendezvous::PORT..=rendezvous::PORT]));
    let mut side = side.clone();
    if let Some(own) = side.nats.first_mut() {
        let behavior = Arc::make_mut(&mut own.behavior);
        (behavior.outbound.udp, behavior.outbound.tcp) = (Reach::Ports(ports.clone()), Reach::Ports(ports));
        behavior.filtering = Filtering::AddressAndPortDependent.into();
    }
    side
}

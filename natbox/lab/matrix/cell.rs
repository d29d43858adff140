//! What came of a matrix: cells in a fixed order, and the semantics that they ran under.

use std::collections::BTreeMap;

use natbox_probes::Path;
use serde::{Deserialize, Serialize};

use super::parts::Shard;
use super::share::Share;
use super::side::Side;

/// Under what a matrix ran: everything that decides what its cells come to, beside the NATs' own axes.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Semantics {
    /// The version of natbox that ran it.
    pub version: String,
    /// What permissions are tied to: the word of all NATs, or `per-nat` where they differ.
    pub filter_scope: String,
    /// Whether replies use the mapping that let the packet in: the word of all NATs, or `per-nat`.
    pub session_affinity: String,
    /// Whether the programs learn endpoints from the packets that come from them.
    pub peer_reflexive: String,
    /// What the run let each host's own NAT speak, where it set that.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub control: Option<String>,
    /// What the run set of every link to the public network, in the words of topology files.
    pub link: BTreeMap<String, String>,
    /// The names of the NATs, in order.
    pub nats: Vec<String>,
    /// The techniques, in order.
    pub techniques: Vec<String>,
    /// The first seed.
    pub first_seed: u64,
    /// How many seeds, one after the other.
    pub seeds: u64,
    /// Which part of the sweep this is, if it is a part.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub shard: Option<Shard>,
}

/// One run of one technique between two sides.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Cell {
    /// The caller's side, by its place among the sides.
    pub a: usize,
    /// The callee's side.
    pub b: usize,
    /// The technique, by its place among the techniques.
    pub technique: usize,
    /// Where its chance began.
    pub seed: u64,
    /// How the hosts came to talk.
    pub path: Path,
    /// How they were expected to, if anything was.
    pub expected: Option<Path>,
    /// Whether that is so, and nothing went wrong beside it. True where nothing was expected.
    pub ok: bool,
    /// Virtual time from the call to the path; where there is none, to the end of all attempts.
    pub elapsed_ns: u64,
    /// Packets that were made in the cell's lab: by the two hosts, the servers, and routers.
    pub packets: u64,
    /// Of cells without a path, over the relay, or not ok: which packets died, where and why, each way to die once.
    pub reasons: Vec<String>,
}

/// What came of a matrix, or of a part of one.
#[derive(Clone, Debug, PartialEq)]
pub struct Sweep {
    /// What it ran under.
    pub semantics: Semantics,
    /// The sides, in the order of their names in `semantics`.
    pub sides: Vec<Side>,
    /// The cells, by caller, callee, technique and seed.
    pub cells: Vec<Cell>,
}

/// The cells of one technique between two sides: one for each seed.
#[derive(Clone, Copy, Debug)]
pub struct Group<'a>(&'a [Cell]);

impl Sweep {
    /// Whether every expectation holds.
    pub fn ok(&self) -> bool {
        self.cells.iter().all(|cell| cell.ok)
    }

    /// The cells by technique and pair.
    pub fn groups(&self) -> impl Iterator<Item = Group<'_>> {
        self.cells.chunk_by(|one, next| one.key() == next.key()).map(Group)
    }

    /// The cells of a technique between two sides; none in a part that does not have them.
    pub fn group(&self, a: usize, b: usize, technique: usize) -> Option<Group<'_>> {
        let key = (a, b, technique);
        let from = self.cells.partition_point(|cell| cell.key() < key);
        let to = self.cells.partition_point(|cell| cell.key() <= key);
        (from < to).then(|| Group(&self.cells[from..to]))
    }

    /// The cells of a technique from one side to another, by their names; none if there are no such cells.
    pub fn between(&self, a: &str, b: &str, technique: &str) -> Option<Group<'_>> {
        let side = |name: &str| self.semantics.nats.iter().position(|known| known == name);
        let technique = self.semantics.techniques.iter().position(|known| known == technique)?;
        self.group(side(a)?, side(b)?, technique)
    }

    /// The name of a side.
    pub fn name(&self, side: usize) -> &str {
        self.sides.get(side).map_or("", |side| &side.name)
    }

    /// The word of a technique.
    pub fn technique(&self, technique: usize) -> &str {
        self.semantics.techniques.get(technique).map_or("", String::as_str)
    }
}

impl Cell {
    /// What it shares with the cells of other seeds.
    pub fn key(&self) -> (usize, usize, usize) {
        (self.a, self.b, self.technique)
    }
}

impl<'a> Group<'a> {
    /// The cells, by seed. At least one.
    pub fn cells(self) -> &'a [Cell] {
        self.0
    }

    /// The first cell, which stands for what all have in common.
    pub fn first(self) -> &'a Cell {
        &self.0[0]
    }

    /// Why those without a direct path came to none: which packets died, where and why, each way to die once.
    pub fn reasons(self) -> impl Iterator<Item = &'a str> {
        let mut told = std::collections::BTreeSet::new();
        let all = self.0.iter().flat_map(|cell| &cell.reasons).map(String::as_str);
        all.filter(move |reason| told.insert(*reason))
    }

    /// How many came to a path.
    pub fn share(self) -> Share {
        let connected = self.0.iter().filter(|cell| cell.path != Path::None).count();
        Share { connected, runs: self.0.len() }
    }

    /// How many came to which path, best path first.
    pub fn paths(self) -> BTreeMap<Path, usize> {
        let mut paths = BTreeMap::new();
        self.0.iter().for_each(|cell| *paths.entry(cell.path).or_default() += 1);
        paths
    }

    /// The path that most came to; of several the worst.
    pub fn path(self) -> Path {
        self.paths().into_iter().max_by_key(|(_, count)| *count).map_or(Path::None, |(path, _)| path)
    }

    /// The median of the times to connect, of those that did.
    pub fn elapsed_ns(self) -> Option<u64> {
        median(self.0.iter().filter(|cell| cell.path != Path::None).map(|cell| cell.elapsed_ns))
    }

    /// The median of the numbers of packets.
    pub fn packets(self) -> Option<u64> {
        median(self.0.iter().map(|cell| cell.packets))
    }

    /// Whether every expectation holds.
    pub fn ok(self) -> bool {
        self.0.iter().all(|cell| cell.ok)
    }
}

/// The middle one; of an even number the lower of the two.
fn median(values: impl Iterator<Item = u64>) -> Option<u64> {
    let mut values: Vec<u64> = values.collect();
    values.sort_unstable();
    values.get(values.len().checked_sub(1)? / 2).copied()
}

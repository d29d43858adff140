//! What came of a population: counts by pair of kinds, or by kind, and the figures that people read off them.

use std::collections::BTreeMap;

use natbox_probes::Path;
use natbox_probes::nat_check::Test;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::matrix::{Shard, Share};

/// What was drawn from, and under what.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct About {
    /// The version of natbox that ran it.
    pub version: String,
    /// What the population is called.
    pub name: String,
    /// Where its chance begins.
    pub seed: u64,
    /// How many draws the whole has.
    pub draws: u64,
    /// Whether every NAT is taken once, instead of drawn.
    pub each_once: bool,
    /// The technique between pairs, or the procedure against each NAT.
    pub runs: String,
    /// The kinds of NAT, in order.
    pub kinds: Vec<Kind>,
    /// What others have measured.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub published: Option<Published>,
    /// Which part this is, if it is one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub shard: Option<Shard>,
}

/// A kind of NAT.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Kind {
    /// Its name in the file.
    pub name: String,
    /// The row of the tables that it is counted in.
    pub group: String,
    /// Its weight: of all kinds' weights together.
    pub weight: u64,
    /// Share of these sides whose way out is shut, in per cent.
    pub failure: String,
    /// Share of the pairs that it calls whose callee is behind the same NAT, in per cent.
    pub together: String,
    /// Which tests of a procedure count.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub tests: Vec<String>,
    /// Every axis of its NATs, as in the cells of a matrix.
    pub nat: Value,
}

/// What others have measured. Shares are in per cent, as the file has them.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Published {
    /// Where the figures come from.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub source: Option<String>,
    /// Share of pairs that came to talk without a relay.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub success: Option<f64>,
    /// Its uncertainty, to both sides.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub margin: Option<f64>,
    /// The same by pair of groups.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub pairs: Vec<PublishedPair>,
    /// Counts of a procedure by group.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub counts: Vec<PublishedCounts>,
}

/// A published share of a pair of groups.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PublishedPair {
    /// The caller's group.
    pub from: String,
    /// The callee's.
    pub to: String,
    /// In per cent.
    pub success: f64,
}

/// Published counts of a group: how many of how many, by test.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PublishedCounts {
    /// The group; `All` is the sum.
    pub group: String,
    /// By the word of the test.
    pub tests: BTreeMap<String, (u64, u64)>,
}

/// What came of a pair of kinds.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Pair {
    /// How often it was drawn.
    pub draws: u64,
    /// How many of the draws had a side whose way out was shut.
    pub shut: u64,
    /// How many had both hosts behind one NAT.
    pub together: u64,
    /// How many came to which path.
    pub paths: BTreeMap<String, u64>,
    /// Virtual time to all paths that need no relay, together.
    pub elapsed_ns: u64,
    /// Packets of all its labs together.
    pub packets: u64,
    /// Labs in which a server or a step failed.
    pub broken: u64,
}

/// What came of a procedure against a kind: how many passed, of how many that were tested, by test.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Checked {
    /// How many were run.
    pub runs: u64,
    /// By the word of the test: passed, tested.
    pub tests: BTreeMap<String, (u64, u64)>,
    /// How many gave no answer to some test.
    pub broken: u64,
}

/// What came of a population, or of a part of one.
#[derive(Clone, Debug, PartialEq)]
pub struct Census {
    /// What it was.
    pub about: About,
    /// By kinds of caller and callee: those that were drawn.
    pub pairs: BTreeMap<(usize, usize), Pair>,
    /// By kind, of a procedure.
    pub checked: BTreeMap<usize, Checked>,
}

/// Counts that a row, a column or everything comes to.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Figures {
    /// Draws.
    pub draws: u64,
    /// Of them without a relay.
    pub success: u64,
    /// By path, best first.
    pub paths: BTreeMap<Path, u64>,
    /// With a side whose way out was shut.
    pub shut: u64,
    /// With both hosts behind one NAT.
    pub together: u64,
    /// In which something failed beside the technique.
    pub broken: u64,
    elapsed_ns: u64,
    packets: u64,
}

impl About {
    /// How many draws this part has.
    pub fn own_draws(&self) -> u64 {
        self.shard.map_or(self.draws, |shard| shard.of_draws(self.draws))
    }

    /// The groups, in the order of their first kinds.
    pub fn groups(&self) -> Vec<&str> {
        let mut groups = Vec::new();
        for kind in self.kinds.iter().filter(|kind| kind.weight > 0) {
            if !groups.contains(&kind.group.as_str()) {
                groups.push(kind.group.as_str());
            }
        }
        groups
    }

    /// The share of a group in the population, 0 to 1.
    pub fn share(&self, group: &str) -> f64 {
        let sum = |wanted: &dyn Fn(&Kind) -> bool| {
            self.kinds.iter().filter(|kind| wanted(kind)).map(|kind| kind.weight).sum::<u64>()
        };
        sum(&|kind| kind.group == group) as f64 / sum(&|_| true).max(1) as f64
    }
}

impl Census {
    /// What all pairs come to, of which `wanted` says so by the groups of caller and callee.
    pub fn figures(&self, wanted: impl Fn(&str, &str) -> bool) -> Figures {
        use natbox_wire::Word;
        let mut figures = Figures::default();
        let group = |kind: usize| self.about.kinds.get(kind).map_or("", |kind| kind.group.as_str());
        for ((a, b), pair) in self.pairs.iter().filter(|((a, b), _)| wanted(group(*a), group(*b))) {
            debug_assert!(*a < self.about.kinds.len() && *b < self.about.kinds.len());
            figures.draws += pair.draws;
            (figures.shut, figures.together) = (figures.shut + pair.shut, figures.together + pair.together);
            figures.broken += pair.broken;
            figures.elapsed_ns += pair.elapsed_ns;
            figures.packets += pair.packets;
            for (word, count) in &pair.paths {
                let path = Path::from_word(word).unwrap_or(Path::None);
                *figures.paths.entry(path).or_default() += count;
                figures.success += if direct(path) { *count } else { 0 };
            }
        }
        figures
    }

    /// What a group passed of a test; of all groups where none is named. Passed, tested.
    pub fn passed(&self, group: Option<&str>, test: Test) -> (u64, u64) {
        let of_group = |kind: &usize| group.is_none_or(|group| self.about.kinds[*kind].group == group);
        let counts = self.checked.iter().filter(|(kind, _)| of_group(kind));
        let counts = counts.filter_map(|(_, checked)| checked.tests.get(natbox_wire::Word::as_str(test)));
        counts.fold((0, 0), |sum, count| (sum.0 + count.0, sum.1 + count.1))
    }

    /// The published counts of a group.
    pub fn published_counts(&self, group: &str, test: Test) -> Option<(u64, u64)> {
        let rows = &self.about.published.as_ref()?.counts;
        rows.iter().find(|row| row.group == group)?.tests.get(natbox_wire::Word::as_str(test)).copied()
    }

    /// The published share of a pair of groups, in per cent.
    pub fn published_pair(&self, from: &str, to: &str) -> Option<f64> {
        let pairs = &self.about.published.as_ref()?.pairs;
        pairs.iter().find(|pair| pair.from == from && pair.to == to).map(|pair| pair.success)
    }

    /// Whether every lab did what it should, whatever came of it.
    pub fn ok(&self) -> bool {
        self.pairs.values().all(|pair| pair.broken == 0) && self.checked.values().all(|checked| checked.broken == 0)
    }
}

impl Figures {
    /// The share without a relay.
    pub fn share(&self) -> Share {
        let whole = |number: u64| usize::try_from(number).unwrap_or(usize::MAX);
        Share { connected: whole(self.success), runs: whole(self.draws) }
    }

    /// The mean time to paths that need no relay.
    pub fn mean_elapsed_ns(&self) -> Option<u64> {
        self.elapsed_ns.checked_div(self.success)
    }

    /// The mean number of packets.
    pub fn mean_packets(&self) -> Option<u64> {
        self.packets.checked_div(self.draws)
    }
}

/// Whether a path needs no relay.
pub(super) fn direct(path: Path) -> bool {
    !matches!(path, Path::Relayed | Path::None)
}

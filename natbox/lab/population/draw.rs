//! Draws: who is drawn by number N, from the population's seed and N alone.

use super::Population;
use crate::topology::population::WHOLE;

/// One pair, or one NAT.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Draw {
    /// The caller's kind.
    pub(super) a: usize,
    /// The callee's.
    pub(super) b: usize,
    /// Whose way out is shut.
    pub(super) shut: (bool, bool),
    /// Whether both are behind one NAT.
    pub(super) together: bool,
    /// Where the chance of their lab begins.
    pub(super) seed: u64,
}

/// Who is drawn from which number, by the sum of the weights before it.
#[derive(Debug)]
pub(super) struct Urn {
    ends: Vec<u64>,
}

impl Urn {
    pub(super) fn new(population: &Population) -> Urn {
        let mut sum = 0;
        let ends = population.about.kinds.iter().map(|kind| {
            sum += kind.weight;
            sum
        });
        Urn { ends: ends.collect() }
    }

    fn whole(&self) -> u64 {
        self.ends.last().copied().unwrap_or(0)
    }

    fn kind(&self, at: u64) -> usize {
        self.ends.partition_point(|end| *end <= at).min(self.ends.len().saturating_sub(1))
    }
}

impl Population {
    /// Draw number `number`. The dice are thrown in one order whatever comes of them, so that a share that changes
    /// leaves the others' throws as they are.
    pub(super) fn draw(&self, urn: &Urn, number: u64) -> Draw {
        let mut dice = Dice::new(self.about.seed, number);
        let (first, second) = (dice.below(urn.whole()), dice.below(urn.whole()));
        let (first_way, second_way, one_network) = (dice.below(WHOLE), dice.below(WHOLE), dice.below(WHOLE));
        let seed = dice.next();
        let a = urn.kind(if self.about.each_once { number } else { first });
        let together = one_network < self.drawn[a].together;
        let b = if together { a } else { urn.kind(second) };
        let shut = (first_way < self.drawn[a].failure, second_way < self.drawn[b].failure);
        Draw { a, b, shut, together, seed }
    }
}

/// splitmix64 (Steele, Lea and Flood 2014), from a state of its own for each number.
struct Dice(u64);

impl Dice {
    fn new(seed: u64, number: u64) -> Dice {
        Dice(mix(mix(seed.wrapping_add(STEP)).wrapping_add(number)))
    }

    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(STEP);
        mix(self.0)
    }

    /// Below `end`: the high half of a product, which is off by less than `end` in 2^64.
    fn below(&mut self, end: u64) -> u64 {
        ((u128::from(self.next()) * u128::from(end)) >> 64) as u64
    }
}

const STEP: u64 = 0x9e37_79b9_7f4a_7c15;

fn mix(value: u64) -> u64 {
    let value = (value ^ (value >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let value = (value ^ (value >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    value ^ (value >> 31)
}

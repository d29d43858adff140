//! The ports of one external address and protocol: which are taken, and which is next.
//!
//! A bitmap in pages that exist only where a port is taken. Picking tries a few random ports first; when most are
//! taken it walks the bitmap from the last try, a word at a time, so that it is exact and bounded (1,024 words).

use std::ops::RangeInclusive;

use rand_core::Rng;

use crate::behavior::PortAllocation;

const PAGE_WORDS: usize = 32;
const PAGE_PORTS: usize = PAGE_WORDS * 64;
const PAGES: usize = 65_536 / PAGE_PORTS;
/// Random tries before walking: with half of the ports free, one allocation in 256 walks.
const TRIES: u32 = 8;

/// The taken ports of one external address and protocol.
pub(crate) struct Ports {
    pages: [Option<Box<[u64; PAGE_WORDS]>>; PAGES],
    /// Where the sequential rule goes on; `None` before the first.
    next: Option<u16>,
}

impl Ports {
    pub(crate) fn new() -> Ports {
        Ports { pages: [const { None }; PAGES], next: None }
    }

    /// Takes a free port of the range for an internal port, by the rule; `None` if all are taken.
    pub(crate) fn take(
        &mut self,
        rule: PortAllocation,
        internal: u16,
        range: &RangeInclusive<u16>,
        random: &mut impl Rng,
    ) -> Option<u16> {
        if range.is_empty() {
            return None;
        }
        let port = match rule {
            PortAllocation::Preserve if range.contains(&internal) && !self.is_taken(internal) => internal,
            PortAllocation::Sequential => self.sequential(range)?,
            _ => self.random(range, random)?,
        };
        self.mark(port);
        Some(port)
    }

    /// Gives a port back.
    pub(crate) fn release(&mut self, port: u16) {
        let (page, word, bit) = Ports::place(port);
        if let Some(page) = &mut self.pages[page] {
            page[word] &= !bit;
        }
    }

    fn random(&self, range: &RangeInclusive<u16>, random: &mut impl Rng) -> Option<u16> {
        let mut port = *range.start();
        for _ in 0..TRIES {
            port = draw(range, random);
            if !self.is_taken(port) {
                return Some(port);
            }
        }
        self.free_from(port, range)
    }

    fn sequential(&mut self, range: &RangeInclusive<u16>) -> Option<u16> {
        let start = self.next.filter(|next| range.contains(next)).unwrap_or(*range.start());
        let port = self.free_from(start, range)?;
        self.next = port.checked_add(1);
        Some(port)
    }

    /// The first free port at or after `start`, wrapping inside the range.
    fn free_from(&self, start: u16, range: &RangeInclusive<u16>) -> Option<u16> {
        self.free_in(start, *range.end()).or_else(|| self.free_in(*range.start(), start))
    }

    fn free_in(&self, first: u16, last: u16) -> Option<u16> {
        let mut port = u32::from(first);
        while port <= u32::from(last) {
            let (page, word, _) = Ports::place(port as u16);
            let taken = self.pages[page].as_ref().map_or(0, |page| page[word]);
            // Bits below `port` do not count; a full word has only ones above it.
            let ones = (taken >> (port % 64)).trailing_ones().min(64 - port % 64);
            if ones < 64 - port % 64 {
                return u16::try_from(port + ones).ok().filter(|port| *port <= last);
            }
            port += ones;
        }
        None
    }

    fn is_taken(&self, port: u16) -> bool {
        let (page, word, bit) = Ports::place(port);
        self.pages[page].as_ref().is_some_and(|page| page[word] & bit != 0)
    }

    fn mark(&mut self, port: u16) {
        let (page, word, bit) = Ports::place(port);
        self.pages[page].get_or_insert_with(|| Box::new([0; PAGE_WORDS]))[word] |= bit;
    }

    fn place(port: u16) -> (usize, usize, u64) {
        let port = usize::from(port);
        (port / PAGE_PORTS, port % PAGE_PORTS / 64, 1 << (port % 64))
    }
}

/// An even draw from the range, from one random word (the bias, below 2^-16, is the price of one draw).
fn draw(range: &RangeInclusive<u16>, random: &mut impl Rng) -> u16 {
    let count = u64::from(range.end() - range.start()) + 1;
    let offset = (u64::from(random.next_u32()) * count) >> 32;
    range.start() + offset as u16
}

#[cfg(test)]
mod tests {
    use rand_core::SeedableRng;
    use rand_pcg::Pcg64Mcg;

    use super::*;

    #[test]
    fn every_port_of_a_range_is_given_out_once_and_then_none() {
        for rule in [PortAllocation::Preserve, PortAllocation::Sequential, PortAllocation::Random] {
            for range in [1024..=65_535, 0..=65_535, 63..=64, 4000..=4131] {
                let (mut ports, mut random) = (Ports::new(), Pcg64Mcg::seed_from_u64(1));
                let count = usize::from(range.end() - range.start()) + 1;
                let mut given: Vec<u16> = (0..count).filter_map(|_| ports.take(rule, 9, &range, &mut random)).collect();
                assert_eq!(ports.take(rule, 9, &range, &mut random), None);
                given.sort_unstable();
                assert!(given.iter().copied().eq(range.clone()), "{rule} {range:?}");
                ports.release(*range.end());
                assert_eq!(ports.take(rule, 9, &range, &mut random), Some(*range.end()));
            }
        }
    }
}

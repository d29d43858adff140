//! A set of ports: one bit each, with a summary, so that the next port that is not in it is found in a few steps
//! however full it is.
//!
//! Pages exist only where a port is in the set. Above the bits stand two more for each word of 64 ports: whether all its
//! even ports are in the set, and whether all its odd ones are; and the same again for each page. A search for a port
//! that is not in the set reads 32 page summaries and, where one is not full, a word or two: it never loops over ports.

const PAGE_WORDS: usize = 32;
const PAGE_PORTS: u32 = PAGE_WORDS as u32 * 64;
const PAGES: usize = 65_536 / PAGE_PORTS as usize;
const EVEN: u64 = 0x5555_5555_5555_5555;

/// Which ports count: all, or those of one parity.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Parity {
    Any,
    Even,
    Odd,
}

impl Parity {
    /// The parity of a port.
    pub(crate) fn of(port: u16) -> Parity {
        if port.is_multiple_of(2) { Parity::Even } else { Parity::Odd }
    }

    fn mask(self) -> u64 {
        match self {
            Parity::Any => u64::MAX,
            Parity::Even => EVEN,
            Parity::Odd => !EVEN,
        }
    }
}

/// Which of 32 parts are full, a bit each: of even ports, and of odd ones.
#[derive(Clone, Copy, Default)]
struct Full {
    even: u32,
    odd: u32,
}

impl Full {
    /// The parts that have no port of this parity left.
    fn of(self, parity: Parity) -> u32 {
        match parity {
            Parity::Any => self.even & self.odd,
            Parity::Even => self.even,
            Parity::Odd => self.odd,
        }
    }

    fn note(&mut self, part: u32, even: bool, odd: bool) {
        self.even = self.even & !(1 << part) | u32::from(even) << part;
        self.odd = self.odd & !(1 << part) | u32::from(odd) << part;
    }
}

struct Page {
    words: [u64; PAGE_WORDS],
    full: Full,
}

/// A set of ports, or of other numbers of 16 bits.
pub(crate) struct PortSet {
    pages: [Option<Box<Page>>; PAGES],
    full: Full,
}

impl Default for PortSet {
    /// The empty set.
    fn default() -> PortSet {
        PortSet { pages: [const { None }; PAGES], full: Full::default() }
    }
}

impl PortSet {
    pub(crate) fn contains(&self, port: u16) -> bool {
        let (page, word, bit) = place(port);
        self.pages[page].as_ref().is_some_and(|page| page.words[word] & bit != 0)
    }

    /// Adds a port; tells whether it is new.
    pub(crate) fn insert(&mut self, port: u16) -> bool {
        let (page, word, bit) = place(port);
        let words =
            self.pages[page].get_or_insert_with(|| Box::new(Page { words: [0; PAGE_WORDS], full: Full::default() }));
        let is_new = words.words[word] & bit == 0;
        words.words[word] |= bit;
        self.summarise(page, word);
        is_new
    }

    /// Removes a port; tells whether it was there.
    pub(crate) fn remove(&mut self, port: u16) -> bool {
        let (page, word, bit) = place(port);
        let Some(words) = &mut self.pages[page] else { return false };
        let was_there = words.words[word] & bit != 0;
        words.words[word] &= !bit;
        self.summarise(page, word);
        was_there
    }

    fn summarise(&mut self, page: usize, word: usize) {
        let Some(words) = &mut self.pages[page] else { return };
        let bits = words.words[word];
        words.full.note(word as u32, bits & EVEN == EVEN, bits & !EVEN == !EVEN);
        self.full.note(page as u32, words.full.even == u32::MAX, words.full.odd == u32::MAX);
    }

    /// The first port from `first` to `last` of this parity that is not in the set.
    pub(crate) fn free_in(&self, first: u16, last: u16, parity: Parity) -> Option<u16> {
        let last = u32::from(last);
        let mut port = u32::from(first);
        while port <= last {
            let page = port / PAGE_PORTS;
            let open = !self.full.of(parity) >> page;
            if open & 1 == 0 {
                // 32 trailing zeros: no page is open from here on.
                port = (page + open.trailing_zeros()) * PAGE_PORTS;
                continue;
            }
            let free = match &self.pages[page as usize] {
                None => free_of(0, port, parity),
                Some(words) => {
                    let word = port % PAGE_PORTS / 64;
                    let open = !words.full.of(parity) >> word;
                    if open & 1 == 0 {
                        port = page * PAGE_PORTS + (word + open.trailing_zeros()).min(PAGE_WORDS as u32) * 64;
                        continue;
                    }
                    free_of(words.words[word as usize], port, parity)
                }
            };
            match free {
                Some(free) => return u16::try_from(free).ok().filter(|free| u32::from(*free) <= last),
                None => port = (port / 64 + 1) * 64,
            }
        }
        None
    }
}

/// The first port at or after this one in its word that is free and of this parity.
fn free_of(taken: u64, port: u32, parity: Parity) -> Option<u32> {
    let free = !taken & parity.mask() & (u64::MAX << (port % 64));
    (free != 0).then(|| port / 64 * 64 + free.trailing_zeros())
}

fn place(port: u16) -> (usize, usize, u64) {
    let port = u32::from(port);
    ((port / PAGE_PORTS) as usize, (port % PAGE_PORTS / 64) as usize, 1 << (port % 64))
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use proptest::prelude::*;

    use super::*;

    fn first_free(model: &BTreeSet<u16>, first: u16, last: u16, parity: Parity) -> Option<u16> {
        (first..=last).find(|port| !model.contains(port) && (parity == Parity::Any || parity == Parity::of(*port)))
    }

    proptest! {
        #[test]
        fn the_next_free_port_is_the_one_that_a_list_finds(
            runs in prop::collection::vec((any::<u16>(), 0..4000_u16, 1..3_usize), 0..12),
            removed in prop::collection::vec(any::<u16>(), 0..40),
            asked in prop::collection::vec((any::<u16>(), any::<u16>()), 1..20),
        ) {
            let (mut set, mut model) = (PortSet::default(), BTreeSet::new());
            for (first, length, step) in runs {
                for port in (first..=first.saturating_add(length)).step_by(step) {
                    prop_assert_eq!(set.insert(port), model.insert(port));
                }
            }
            for port in removed {
                prop_assert_eq!(set.remove(port), model.remove(&port));
            }
            for (first, last) in asked {
                for parity in [Parity::Any, Parity::Even, Parity::Odd] {
                    prop_assert_eq!(set.free_in(first, last, parity), first_free(&model, first, last, parity));
                }
            }
        }
    }

    #[test]
    fn a_full_set_has_nothing_left_of_either_parity() {
        let mut set = PortSet::default();
        (0..=u16::MAX).filter(|port| port % 2 == 0).for_each(|port| _ = set.insert(port));
        assert_eq!(set.free_in(0, u16::MAX, Parity::Even), None);
        assert_eq!(set.free_in(0, u16::MAX, Parity::Any), Some(1));
        (0..=u16::MAX).filter(|port| port % 2 == 1).for_each(|port| _ = set.insert(port));
        assert_eq!(set.free_in(0, u16::MAX, Parity::Any), None);
        set.remove(40_001);
        assert_eq!(set.free_in(0, u16::MAX, Parity::Odd), Some(40_001));
    }
}

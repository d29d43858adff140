//! Which external ports an internal port may get: the range, of it the class, of that the parity.
//!
//! A list of candidates counts its ports from 0, so that every rule of choice is arithmetic on indices. Knows nothing of
//! which ports are taken.

use std::ops::{Deref, RangeInclusive};

use natbox_wire::Protocol;

use crate::behavior::{self, PortClass, PortParity, PortRanges};
use crate::ports::set::{Parity, PortSet};

/// Consecutive ports, or every second one.
#[derive(Clone, Debug)]
struct Run {
    first: u16,
    last: u16,
    /// Candidates before it.
    before: u32,
}

/// Runs in ascending order; nearly always there is one.
#[derive(Clone, Debug)]
enum Runs {
    One([Run; 1]),
    Some(Box<[Run]>),
}

impl Deref for Runs {
    type Target = [Run];

    #[inline]
    fn deref(&self) -> &[Run] {
        match self {
            Runs::One(run) => run,
            Runs::Some(runs) => runs,
        }
    }
}

/// Ports that may be given out, in ascending order.
#[derive(Clone, Debug)]
pub(crate) struct Candidates {
    runs: Runs,
    parity: Parity,
    count: u32,
}

impl Candidates {
    /// The ports of these ranges that have this parity.
    pub(crate) fn new(ranges: &PortRanges, parity: Parity) -> Candidates {
        let (mut runs, mut latest) = (Vec::new(), None);
        let mut count = 0;
        for range in ranges.ranges() {
            let (mut first, mut last) = (*range.start(), *range.end());
            if parity != Parity::Any {
                let (up, down) = (Parity::of(first) != parity, Parity::of(last) != parity);
                if up && first == u16::MAX || down && last == 0 {
                    continue;
                }
                (first, last) = (first + u16::from(up), last - u16::from(down));
            }
            if first <= last {
                runs.extend(latest.replace(Run { first, last, before: count }));
                count += u32::from(last - first) / step(parity) + 1;
            }
        }
        let runs = match latest {
            Some(run) if runs.is_empty() => Runs::One([run]),
            last => Runs::Some(runs.into_iter().chain(last).collect()),
        };
        Candidates { runs, parity, count }
    }

    /// How many there are.
    pub(crate) fn count(&self) -> u32 {
        self.count
    }

    /// The candidate of this index; indices beyond the last begin again with the first.
    pub(crate) fn at(&self, index: u32) -> Option<u16> {
        let index = index.checked_rem(self.count)?;
        let run = &self.runs[self.runs.partition_point(|run| run.before <= index) - 1];
        Some(run.first + ((index - run.before) * step(self.parity)) as u16)
    }

    /// Whether a port is among them.
    pub(crate) fn contains(&self, port: u16) -> bool {
        self.index_of(port).is_some()
    }

    /// The index of a candidate.
    pub(crate) fn index_of(&self, port: u16) -> Option<u32> {
        let run = &self.runs[self.runs.partition_point(|run| run.first <= port).checked_sub(1)?];
        let is_one = port <= run.last && (self.parity == Parity::Any || self.parity == Parity::of(port));
        is_one.then(|| run.before + u32::from(port - run.first) / step(self.parity))
    }

    /// The index of the first candidate at or above a port; that of the first of all if there is none.
    pub(crate) fn index_from(&self, port: u16) -> u32 {
        match self.runs.partition_point(|run| run.last < port) {
            past if past == self.runs.len() => 0,
            at => {
                let run = &self.runs[at];
                run.before + u32::from(port.saturating_sub(run.first)).div_ceil(step(self.parity))
            }
        }
    }

    /// The first candidate that is not taken, at or after this index, wrapping.
    pub(crate) fn free_from(&self, taken: &PortSet, index: u32) -> Option<u16> {
        let start = self.at(index)?;
        let at = self.runs.partition_point(|run| run.last < start);
        let free = |first: u16, run: &Run| taken.free_in(first, run.last, self.parity);
        let here = free(start, &self.runs[at]);
        here.or_else(|| self.runs[at + 1..].iter().find_map(|run| free(run.first, run)))
            .or_else(|| self.runs[..=at].iter().find_map(|run| free(run.first, run)))
    }
}

fn step(parity: Parity) -> u32 {
    if parity == Parity::Any { 1 } else { 2 }
}

/// Internal ports that have the same external ports to choose from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Class(u8);

/// How many classes there are.
pub(crate) const CLASSES: usize = 4;

impl Class {
    /// Echo identifiers, which have no classes.
    const ECHO: Class = Class(3);

    /// The class of an internal port.
    pub(crate) fn of(protocol: Protocol, classes: PortClass, port: u16) -> Class {
        match (protocol, classes, port) {
            (Protocol::Icmp, ..) => Class::ECHO,
            (_, PortClass::All, _) => Class(0),
            (_, PortClass::Same, 0..=1023) | (_, PortClass::Netfilter, 0..=511) => Class(1),
            (_, PortClass::Netfilter, 512..=1023) => Class(2),
            _ => Class(0),
        }
    }

    /// Its number, below [`CLASSES`].
    pub(crate) fn number(self) -> usize {
        usize::from(self.0)
    }

    /// The ports that it may get, of all that exist.
    fn window(self, classes: PortClass) -> RangeInclusive<u16> {
        match (classes, self.0) {
            (PortClass::All, _) => 1..=u16::MAX,
            (_, 0) => 1024..=u16::MAX,
            (PortClass::Same, _) => 1..=1023,
            (PortClass::Netfilter, 1) => 1..=511,
            (PortClass::Netfilter, _) => 600..=1023,
        }
    }
}

/// The candidates of one behaviour, by class and parity.
pub(crate) struct Choices {
    classes: PortClass,
    parity: PortParity,
    /// All ports of the range, without port 0.
    pub(crate) all: Candidates,
    /// By class, then even and odd where parity counts.
    lists: Box<[[Candidates; 2]]>,
}

impl Choices {
    pub(crate) fn new(ports: &behavior::Ports) -> Choices {
        let usable = intersection(&ports.range, &(1..=u16::MAX));
        let lists = (0..CLASSES as u8).map(|class| {
            let part = match Class(class) {
                // Any identifier may be given out (RFC 5508 section 3.1).
                Class::ECHO => Some(PortRanges::from(0..=u16::MAX)),
                class => match class.window(ports.class) {
                    window if *window.start() <= 1 && *window.end() == u16::MAX => None,
                    window => Some(intersection(&usable, &window)).filter(|part| part.count() > 0),
                },
            };
            let ranges = part.as_ref().unwrap_or(&usable);
            match ports.parity {
                PortParity::Ignore => {
                    let any = Candidates::new(ranges, Parity::Any);
                    [any.clone(), any]
                }
                PortParity::Preserve => [Parity::Even, Parity::Odd].map(|parity| Candidates::new(ranges, parity)),
            }
        });
        let lists = lists.collect();
        Choices { classes: ports.class, parity: ports.parity, all: Candidates::new(&usable, Parity::Any), lists }
    }

    /// The class of an internal port, and what it may get.
    pub(crate) fn of(&self, protocol: Protocol, port: u16) -> (Class, &Candidates) {
        let class = Class::of(protocol, self.classes, port);
        (class, &self.lists[class.number()][usize::from(port % 2)])
    }

    /// Whether an internal port may be kept as it is.
    pub(crate) fn allows(&self, protocol: Protocol, port: u16) -> bool {
        protocol == Protocol::Icmp || self.all.contains(port)
    }

    /// Whether an external port has the parity that an internal one asks for.
    pub(crate) fn suits(&self, internal: u16, external: u16) -> bool {
        self.parity == PortParity::Ignore || internal % 2 == external % 2
    }
}

/// The part of a set that lies in a range.
pub(crate) fn intersection(ranges: &PortRanges, window: &RangeInclusive<u16>) -> PortRanges {
    let parts = ranges.ranges().iter().map(|range| *range.start().max(window.start())..=*range.end().min(window.end()));
    PortRanges::new(parts)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn ranges() -> impl Strategy<Value = PortRanges> {
        let range = (any::<u16>(), 0..300_u16).prop_map(|(first, length)| first..=first.saturating_add(length));
        prop::collection::vec(range, 0..5).prop_map(PortRanges::new)
    }

    proptest! {
        #[test]
        fn indices_and_ports_are_each_others_inverse(ranges in ranges(), asked in any::<u16>(), parity in 0..3_usize) {
            let parity = [Parity::Any, Parity::Even, Parity::Odd][parity];
            let candidates = Candidates::new(&ranges, parity);
            let all: Vec<u16> = (0..=u16::MAX)
                .filter(|port| ranges.contains(*port) && (parity == Parity::Any || Parity::of(*port) == parity))
                .collect();
            prop_assert_eq!(candidates.count() as usize, all.len());
            for (index, port) in (0_u32..).zip(&all) {
                prop_assert_eq!(candidates.at(index), Some(*port));
                prop_assert_eq!(candidates.index_of(*port), Some(index));
            }
            prop_assert_eq!(candidates.contains(asked), all.contains(&asked));
            let from = all.iter().position(|port| *port >= asked).unwrap_or(0);
            prop_assert_eq!(candidates.index_from(asked) as usize, from);
        }

        #[test]
        fn the_free_candidate_found_is_the_next_one_round_the_ring(
            ranges in ranges(), start in any::<u32>(), taken in prop::collection::vec(any::<prop::sample::Index>(), 0..400),
        ) {
            let candidates = Candidates::new(&ranges, Parity::Any);
            let mut set = PortSet::default();
            if candidates.count() > 0 {
                let ports = taken.iter().filter_map(|index| candidates.at(index.index(candidates.count() as usize) as u32));
                ports.for_each(|port| _ = set.insert(port));
            }
            let round = (0..candidates.count()).filter_map(|step| candidates.at((start % candidates.count()) + step));
            let expected = round.into_iter().find(|port| !set.contains(*port));
            prop_assert_eq!(candidates.free_from(&set, start), expected);
        }
    }

    #[test]
    fn a_class_without_a_port_in_the_range_gets_the_whole_range() {
        let ports = behavior::Ports { range: (40_000..=40_003).into(), ..behavior::Ports::default() };
        let choices = Choices::new(&ports);
        assert_eq!(choices.of(Protocol::Udp, 500).1.count(), 4);
        assert_eq!(choices.of(Protocol::Icmp, 500).1.count(), 65_536);
    }

    #[test]
    fn netfilter_has_three_classes() {
        let ports = behavior::Ports { class: PortClass::Netfilter, ..behavior::Ports::default() };
        let choices = Choices::new(&ports);
        let ends = |port| {
            let list = choices.of(Protocol::Tcp, port).1;
            (list.at(0), list.at(list.count() - 1))
        };
        assert_eq!(ends(511), (Some(1), Some(511)));
        assert_eq!(ends(512), (Some(600), Some(1023)));
        assert_eq!(ends(1024), (Some(1024), Some(65_535)));
    }
}

//! Mappings in the order in which they would end: who gives way when nothing is left.
//!
//! A stamp is the latest deadline of a mapping's sessions when it was last looked at. Packets prolong sessions without
//! telling anybody here; a mapping that comes up with an old stamp gets a new one and goes back. So whoever comes up
//! with a right stamp is the one that would end first, and each packet costs one step of some later search at most.

use std::collections::{BTreeMap, BTreeSet};

use natbox_wire::Time;

use crate::verdict::MappingId;

/// Mappings that a search passes over before it gives up.
const UNFIT: usize = 1024;

/// What a search learns of a mapping.
pub(crate) struct Candidate {
    /// The latest deadline of its sessions.
    pub(crate) until: Time,
    /// Whether it may be taken, and would help.
    pub(crate) fits: bool,
}

/// Mappings, the one that would end first in front.
#[derive(Default)]
pub(crate) struct Oldest {
    order: BTreeSet<(Time, MappingId, u32)>,
    stamps: BTreeMap<MappingId, Time>,
}

impl Oldest {
    /// Adds a mapping by number and index, with a stamp that is not too late.
    pub(crate) fn add(&mut self, id: MappingId, index: u32, stamp: Time) {
        self.order.insert((stamp, id, index));
        self.stamps.insert(id, stamp);
    }

    /// Removes a mapping.
    pub(crate) fn remove(&mut self, id: MappingId) {
        if let Some(stamp) = self.stamps.remove(&id) {
            let its = (stamp, id, 0)..=(stamp, id, u32::MAX);
            if let Some(entry) = self.order.range(its).next().copied() {
                self.order.remove(&entry);
            }
        }
    }

    /// The index of the fitting mapping that would end first.
    pub(crate) fn first(&mut self, judge: impl Fn(u32) -> Candidate) -> Option<u32> {
        let (mut unfit, mut passed) = (0, None);
        while unfit < UNFIT {
            let next = match passed {
                None => self.order.first(),
                Some(entry) => self.order.range((std::ops::Bound::Excluded(entry), std::ops::Bound::Unbounded)).next(),
            };
            let entry @ (stamp, id, index) = *next?;
            let Candidate { until, fits } = judge(index);
            if until > stamp {
                self.order.remove(&entry);
                self.add(id, index, until);
            } else if fits {
                return Some(index);
            } else {
                passed = Some(entry);
                unfit += 1;
            }
        }
        None
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    fn at(seconds: u64) -> Time {
        Time::ZERO + Duration::from_secs(seconds)
    }

    #[test]
    fn the_one_that_would_end_first_comes_first_whatever_its_stamp_said() {
        let mut oldest = Oldest::default();
        let until = [50, 20, 30];
        (0..3).for_each(|index| oldest.add(MappingId(u64::from(index)), index, Time::ZERO));
        let judge = |index: u32| Candidate { until: at(until[index as usize]), fits: true };
        assert_eq!(oldest.first(judge), Some(1));
        oldest.remove(MappingId(1));
        assert_eq!(oldest.first(judge), Some(2));
        let only_the_first = |index: u32| Candidate { until: at(until[index as usize]), fits: index == 0 };
        assert_eq!(oldest.first(only_the_first), Some(0));
        oldest.remove(MappingId(0));
        assert_eq!(oldest.first(only_the_first), None);
        oldest.remove(MappingId(2));
        assert_eq!(oldest.first(judge), None);
    }
}

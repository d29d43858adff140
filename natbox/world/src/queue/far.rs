//! Keys of events that are not near yet; the smallest comes out first.
//!
//! Few lie in a binary heap. Of many, most are strewn over slots of time, and a slot is sorted when its turn comes: a
//! heap of 100,000 would wait for distant memory on each of its levels. Knows nothing of what the keys stand for but
//! that their upper half is a time in nanoseconds.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BinaryHeap};

/// A slot is 2^17 ns long: as long as some hundred events take in a world that is large.
const SLOT_BITS: u32 = 64 + 17;
/// So many keys need no slots.
const FEW: usize = 1024;
/// The memory of so many slots is kept for others.
const SPARE: usize = 16;

/// The keys.
#[derive(Default)]
pub(super) struct Far {
    /// Few keys, or those that came for the open slot or before it.
    heap: BinaryHeap<Reverse<u128>>,
    /// The open slot's keys, the smallest last.
    open: Vec<u128>,
    /// The number of the slot that was opened last.
    opened: u64,
    /// The slots after it, in no order within.
    slots: BTreeMap<u64, Vec<u128>>,
    /// Keys in `slots`.
    strewn: usize,
    spare: Vec<Vec<u128>>,
}

impl Far {
    pub(super) fn len(&self) -> usize {
        self.heap.len() + self.open.len() + self.strewn
    }

    pub(super) fn is_empty(&self) -> bool {
        self.len() == 0
    }

    pub(super) fn push(&mut self, key: u128) {
        let slot = slot_of(key);
        let is_few = self.slots.is_empty() && self.heap.len() < FEW;
        if is_few || slot <= self.opened {
            return self.heap.push(Reverse(key));
        }
        self.slots.entry(slot).or_insert_with(|| self.spare.pop().unwrap_or_default()).push(key);
        self.strewn += 1;
    }

    /// The smallest, without taking it.
    pub(super) fn peek(&self) -> Option<u128> {
        let first = if self.open.is_empty() { self.slots.first_key_value() } else { None };
        let strewn = first.and_then(|(_, keys)| keys.iter().min());
        let heap = self.heap.peek().map(|Reverse(key)| key);
        [heap, self.open.last(), strewn].into_iter().flatten().min().copied()
    }

    /// Takes the smallest.
    pub(super) fn pop(&mut self) -> Option<u128> {
        if self.open.is_empty() {
            self.open_next();
        }
        match (self.open.last(), self.heap.peek()) {
            (Some(open), Some(Reverse(key))) if open < key => self.open.pop(),
            (_, Some(_)) => self.heap.pop().map(|Reverse(key)| key),
            (_, None) => self.open.pop(),
        }
    }

    /// Opens the next slot, unless what is in the heap comes before it.
    fn open_next(&mut self) {
        let Some(next) = self.slots.first_entry() else { return };
        if self.heap.peek().is_some_and(|Reverse(key)| slot_of(*key) < *next.key()) {
            return;
        }
        let (slot, mut keys) = next.remove_entry();
        self.strewn -= keys.len();
        keys.sort_unstable_by_key(|key| Reverse(*key));
        self.opened = slot;
        let emptied = std::mem::replace(&mut self.open, keys);
        if self.spare.len() < SPARE {
            self.spare.push(emptied);
        }
    }
}

fn slot_of(key: u128) -> u64 {
    (key >> SLOT_BITS) as u64
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn whatever_comes_when_the_smallest_goes_first(
            steps in prop::collection::vec((any::<bool>(), 0..6_u32, any::<u16>()), 0..8_000),
        ) {
            let (mut far, mut model) = (Far::default(), BTreeSet::new());
            for (number, (comes, spread, time)) in (0_u128..).zip(steps) {
                // Of nanoseconds to minutes; the more that come, the more that is strewn.
                if comes || number < 3_000 {
                    let key = u128::from(time) << (64 + 4 * spread) | number;
                    far.push(key);
                    model.insert(key);
                } else {
                    prop_assert_eq!(far.peek(), model.first().copied());
                    prop_assert_eq!(far.pop(), model.pop_first());
                }
                prop_assert_eq!(far.len(), model.len());
            }
            prop_assert!(std::iter::from_fn(|| far.pop()).eq(model));
            prop_assert!(far.is_empty() && far.peek().is_none());
        }
    }
}

//! When sessions end: one entry each, re-armed lazily, in a wheel that is exact to the nanosecond.
//!
//! A packet that prolongs a session only writes the new deadline into its record. When the old entry comes up, it
//! is armed again for the deadline that then stands. A session whose deadline comes *closer* (TCP closing) gets a
//! second entry; the record's `armed` names the one that counts, and the other is thrown away when it comes up.
//! So an entry may come up with nothing due, which is silent, and none is ever missing.
//!
//! # The wheel
//!
//! Times are numbers of eleven digits to the base 64. An entry lies at the level of the highest digit in which it
//! differs from `position`, in the slot that this digit names. So all of a level comes before all of the next, and
//! all of a slot before all of the next. When the first slot is due, `position` moves to its earliest entry, and the
//! slot's entries move to lower levels: each entry moves at most eleven times, three or four times as a rule, however
//! many there are, where a heap of a million takes twenty steps to distant places.
//!
//! As long as there are few entries, they lie in a list: most NATs of a lab have no more.
//!
//! Who takes entries is told of them some hundred in advance, a slot at a time, so that what their sessions' ends need
//! can be brought near: else each would wait for distant memory several times.
//!
//! `position` never moves past an entry; what is armed before it (rare: only after [`Expiry::pop`] was asked about
//! the future) goes into a heap.

use std::cmp::Reverse;
use std::collections::BinaryHeap;

use natbox_wire::Time;

use crate::near::bring;

const DIGIT_BITS: u32 = 6;
const LEVELS: usize = 11;

/// A time and a session's index, in 12 bytes.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Entry {
    upper: u32,
    lower: u32,
    pub(crate) session: u32,
}

impl Entry {
    fn new(at: u64, session: u32) -> Entry {
        Entry { upper: (at >> 32) as u32, lower: at as u32, session }
    }

    pub(crate) fn at(self) -> u64 {
        u64::from(self.upper) << 32 | u64::from(self.lower)
    }
}

/// Entries that agree in all digits down to that of their level.
struct Slot {
    /// The time of the earliest.
    earliest: u64,
    entries: Vec<Entry>,
}

/// The slots of one digit: only those that hold anything, in order.
#[derive(Default)]
struct Level {
    /// Which slots there are, a bit each.
    present: u64,
    slots: Vec<Slot>,
}

impl Level {
    fn push(&mut self, digit: u32, entry: Entry, spare: &mut Vec<Vec<Entry>>) {
        let bit = 1_u64 << digit;
        let place = (self.present & (bit - 1)).count_ones() as usize;
        if self.present & bit == 0 {
            self.present |= bit;
            let entries = spare.pop().unwrap_or_default();
            self.slots.insert(place, Slot { earliest: entry.at(), entries });
        }
        let slot = &mut self.slots[place];
        slot.earliest = slot.earliest.min(entry.at());
        slot.entries.push(entry);
    }

    /// Removes the first slot.
    fn take_first(&mut self) -> Slot {
        self.present &= self.present - 1;
        self.slots.remove(0)
    }
}

/// The pending deadlines of one table, earliest first.
pub(crate) struct Expiry {
    position: u64,
    /// Up to this time, whoever takes entries has been told of them.
    told: u64,
    /// The earliest entry's time; `u64::MAX` if there is none.
    next: u64,
    /// The entries as long as they are few, latest first; then the wheel is empty.
    few: Vec<Entry>,
    /// Made when there are more.
    levels: Option<Box<[Level; LEVELS]>>,
    /// Entries before `position`.
    past: BinaryHeap<Reverse<Entry>>,
    /// Room of slots that were emptied, for those to come.
    spare: Vec<Vec<Entry>>,
}

/// So many entries need no wheel.
const FEW: usize = 16;

/// Entries of a slot of which somebody is told in advance, at most: what their ends need must stay near.
const FORETOLD: usize = 512;

/// What is kept of emptied slots: so many, of so many entries at most.
const SPARE: (usize, usize) = (16, 64);

impl Default for Expiry {
    fn default() -> Expiry {
        Expiry {
            position: 0,
            told: 0,
            next: u64::MAX,
            few: Vec::new(),
            levels: None,
            past: BinaryHeap::new(),
            spare: Vec::new(),
        }
    }
}

impl Expiry {
    /// Brings near what every packet asks about.
    pub(crate) fn bring(&self) {
        bring(&self.next);
        bring(&self.few);
    }

    /// Asks for a session to come up at `at`. The end of time never comes.
    pub(crate) fn arm(&mut self, at: Time, session: u32) {
        if at < Time::MAX {
            let entry = Entry::new(at.as_nanos(), session);
            let is_empty = self.next == u64::MAX;
            self.next = self.next.min(at.as_nanos());
            match self.few.len() < FEW && (is_empty || !self.few.is_empty()) {
                true => self.few.insert(self.few.partition_point(|other| *other > entry), entry),
                false => self.file_all(entry),
            }
        }
    }

    /// Files an entry, and before it those that were few.
    fn file_all(&mut self, entry: Entry) {
        if !self.few.is_empty() {
            std::mem::take(&mut self.few).into_iter().rev().for_each(|entry| self.file(entry));
        }
        self.file(entry);
    }

    fn file(&mut self, entry: Entry) {
        let at = entry.at();
        if at < self.position {
            return self.past.push(Reverse(entry));
        }
        let level = (at ^ self.position).checked_ilog2().map_or(0, |bit| bit / DIGIT_BITS);
        let digit = (at >> (level * DIGIT_BITS)) as u32 % (1 << DIGIT_BITS);
        self.levels.get_or_insert_default()[level as usize].push(digit, entry, &mut self.spare);
    }

    /// When the next entry comes up.
    #[inline]
    pub(crate) fn next(&self) -> Option<Time> {
        (self.next < u64::MAX).then(|| Time::from_nanos(self.next))
    }

    /// Whether an entry has come up, or time itself has come to its end.
    #[inline(always)]
    pub(crate) fn is_due(&self, now: Time) -> bool {
        self.next <= now.as_nanos()
    }

    /// Takes the next entry if it has come up: the time it was armed for, and its session. Entries of one time come
    /// in an order that depends on nothing but what was asked before. `foretell` is told of many that come soon.
    #[inline]
    pub(crate) fn pop(&mut self, now: Time, foretell: impl FnMut(&[Entry])) -> Option<(Time, u32)> {
        if now.as_nanos() < self.next || self.next == u64::MAX { None } else { self.take(foretell) }
    }

    fn take(&mut self, foretell: impl FnMut(&[Entry])) -> Option<(Time, u32)> {
        let near = self.few.pop().or_else(|| self.past.pop().map(|Reverse(entry)| entry));
        let entry = near.or_else(|| self.take_from_wheel(foretell))?;
        self.next = self.earliest();
        Some((Time::from_nanos(entry.at()), entry.session))
    }

    /// Takes an entry of the earliest time in the wheel.
    fn take_from_wheel(&mut self, mut foretell: impl FnMut(&[Entry])) -> Option<Entry> {
        loop {
            let levels = self.levels.as_deref_mut()?;
            let level = levels.iter().position(|level| level.present != 0)?;
            let first = levels[level].slots.first_mut()?;
            if level == 0 || first.entries.len() == 1 {
                let entry = first.entries.pop();
                if first.entries.is_empty() {
                    let slot = levels[level].take_first();
                    self.keep(slot.entries);
                }
                return entry;
            }
            let Slot { earliest, mut entries } = levels[level].take_first();
            self.position = earliest;
            if earliest > self.told && entries.len() <= FORETOLD {
                // All that the slot can hold, of times that agree down to its level.
                self.told = earliest | ((1 << (level as u32 * DIGIT_BITS)) - 1);
                foretell(&entries);
            }
            entries.drain(..).for_each(|entry| self.file(entry));
            self.keep(entries);
        }
    }

    /// Keeps the room of an emptied slot.
    fn keep(&mut self, entries: Vec<Entry>) {
        if self.spare.len() < SPARE.0 && entries.capacity() <= SPARE.1 {
            self.spare.push(entries);
        }
    }

    /// The earliest entry's time.
    fn earliest(&self) -> u64 {
        if let Some(entry) = self.few.last() {
            return entry.at();
        }
        if let Some(Reverse(entry)) = self.past.peek() {
            return entry.at();
        }
        let first = self.levels.iter().flat_map(|levels| levels.iter()).find_map(|level| level.slots.first());
        first.map_or(u64::MAX, |slot| slot.earliest)
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use proptest::prelude::*;

    use super::*;

    #[derive(Clone, Debug)]
    enum Step {
        /// Arms an entry so far from the time of the last one popped.
        Arm(u64),
        /// Pops what is due so much later.
        Pop(u64),
        /// Pops the next, whenever it is due.
        PopNext,
    }

    fn steps() -> impl Strategy<Value = Vec<Step>> {
        let distance = || prop_oneof![0..3_u64, 0..200_u64, 0..300_000_000_000_u64, any::<u64>()];
        let step = prop_oneof![
            5 => distance().prop_map(Step::Arm),
            2 => distance().prop_map(Step::Pop),
            1 => Just(Step::PopNext),
        ];
        prop::collection::vec(step, 1..200)
    }

    proptest! {
        #[test]
        fn entries_come_up_in_the_order_of_their_times(steps in steps()) {
            let (mut expiry, mut model, mut now) = (Expiry::default(), BTreeSet::new(), 0_u64);
            for (session, step) in (0..).zip(steps) {
                let until = match step {
                    Step::Arm(distance) => {
                        let at = now.saturating_add(distance);
                        expiry.arm(Time::from_nanos(at), session);
                        (at < u64::MAX).then(|| model.insert((at, session)));
                        continue;
                    }
                    Step::Pop(distance) => now.saturating_add(distance),
                    // The next, from the future: `now` stays, and what is armed next may come before it.
                    Step::PopNext => u64::MAX,
                };
                while let Some((at, session)) = expiry.pop(Time::from_nanos(until), |_| ()) {
                    prop_assert!(at.as_nanos() <= until);
                    prop_assert_eq!(Some(at.as_nanos()), model.first().map(|(at, _)| *at));
                    prop_assert!(model.remove(&(at.as_nanos(), session)));
                    if until == u64::MAX {
                        break;
                    }
                }
                prop_assert!(until == u64::MAX || model.first().is_none_or(|(at, _)| *at > until));
                now = if until == u64::MAX { now } else { until };
                prop_assert_eq!(expiry.next(), model.first().map(|(at, _)| Time::from_nanos(*at)));
            }
        }
    }
}

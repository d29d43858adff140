//! From a hash to an index: a sorted array with gaps.
//!
//! A slot is the upper part of a hash and a `u32`. Slots are sorted by hash, and each stands at the place that its
//! hash has in the range of all hashes (`home`), or as close behind it as the others let it. So a search reads one
//! cache line as a rule, knows what is not there without reading to the next gap, and looks at no record whose
//! hash differs.
//!
//! What is added stays outside until the next is added: by then its place, asked for between the two, has come near, and
//! nobody has waited for it.
//!
//! Own code, because the ready-made tables of indices cost more where it counts: they keep tags and
//! indices apart (two cache misses a search), and to grow they must hash every record anew in random order. This one
//! grows by copying in order, by a half or a third at a time, which also wastes less.
//!
//! Knows nothing of what the indices mean: equality is the caller's.

use std::hint::select_unpredictable;

use prefetch_index::prefetch_index;

/// An empty slot: above every hash, so that it ends every search.
const EMPTY: u64 = u64::MAX;
/// Slots behind the last home, for entries pushed behind it.
const SLACK: usize = NEAR;
/// Slots of a cache line.
const LINE: usize = 8;
/// Slots that a search looks at in one go.
const NEAR: usize = 4;

/// A multimap from hashes to indices.
pub(crate) struct Index {
    slots: Vec<u64>,
    /// How many slots are a home.
    homes: usize,
    /// Entries, the last one included.
    len: usize,
    /// The entry that was added last, if it has no slot yet; else `EMPTY`.
    last: u64,
}

impl Default for Index {
    fn default() -> Index {
        Index { slots: Vec::new(), homes: 0, len: 0, last: EMPTY }
    }
}

/// The part of a hash that counts: 31 bits.
#[inline(always)]
fn upper(hash: u64) -> u32 {
    (hash >> 33) as u32
}

#[inline(always)]
fn hash_of(slot: u64) -> u32 {
    (slot >> 32) as u32
}

impl Index {
    pub(crate) fn is_empty(&self) -> bool {
        self.len == 0
    }

    #[inline(always)]
    fn home(&self, hash: u32) -> usize {
        ((u64::from(hash) * self.homes as u64) >> 31) as usize
    }

    /// The first index under this hash, oldest first, that is the one sought.
    #[inline(always)]
    pub(crate) fn find(&self, hash: u64, mut is_sought: impl FnMut(u32) -> bool) -> Option<u32> {
        let hash = upper(hash);
        let from = &self.slots[self.home(hash)..];
        let Some(near) = from.first_chunk::<NEAR>() else { return self.find_from(from, hash, is_sought) };
        let slot =
            near.iter().rev().fold(EMPTY, |found, slot| select_unpredictable(hash_of(*slot) == hash, *slot, found));
        if slot != EMPTY && is_sought(slot as u32) {
            return Some(slot as u32);
        }
        let from = if slot == EMPTY && hash_of(near[NEAR - 1]) > hash { &[] } else { from };
        self.find_from(from, hash, is_sought)
    }

    #[inline(always)]
    fn find_from(&self, slots: &[u64], hash: u32, mut is_sought: impl FnMut(u32) -> bool) -> Option<u32> {
        for slot in slots {
            if hash_of(*slot) > hash {
                break;
            }
            if hash_of(*slot) == hash && is_sought(*slot as u32) {
                return Some(*slot as u32);
            }
        }
        (hash_of(self.last) == hash && is_sought(self.last as u32)).then_some(self.last as u32)
    }

    /// Brings the place of a hash near, without waiting for it.
    #[inline(always)]
    pub(crate) fn prefetch(&self, hash: u64) {
        prefetch_index(&self.slots, self.home(upper(hash)));
    }

    /// All indices under this hash, oldest first.
    pub(crate) fn all(&self, hash: u64) -> impl Iterator<Item = u32> {
        let hash = upper(hash);
        let run = self.slots[self.home(hash)..].iter().take_while(move |slot| hash_of(**slot) <= hash);
        run.chain([&self.last]).filter(move |slot| hash_of(**slot) == hash).map(|slot| *slot as u32)
    }

    /// Adds an index, which must not be `u32::MAX`.
    pub(crate) fn insert(&mut self, hash: u64, index: u32) {
        self.settle();
        if self.len * 3 >= self.homes * 2 {
            self.grow();
        }
        self.len += 1;
        self.last = u64::from(upper(hash)) << 32 | u64::from(index);
    }

    /// Brings the place near that the entry added last will get, without waiting for it.
    #[inline(always)]
    pub(crate) fn prefetch_last(&self) {
        self.prefetch_change(u64::from(hash_of(self.last)) << 33);
    }

    /// Brings the place of a hash near for a change, which may move others over the end of a cache line.
    #[inline(always)]
    pub(crate) fn prefetch_change(&self, hash: u64) {
        let home = self.home(upper(hash));
        prefetch_index(&self.slots, home);
        prefetch_index(&self.slots, home + LINE);
    }

    /// Whether what was added last stands outside.
    #[inline(always)]
    pub(crate) fn is_unsettled(&self) -> bool {
        self.last != EMPTY
    }

    /// Gives the entry that was added last its slot. Whoever adds another need not ask for it.
    #[inline(never)]
    pub(crate) fn settle(&mut self) {
        let entry = std::mem::replace(&mut self.last, EMPTY);
        if entry == EMPTY {
            return;
        }
        let hash = hash_of(entry);
        let mut at = self.home(hash);
        while self.slots.get(at).is_some_and(|slot| hash_of(*slot) <= hash) {
            at += 1;
        }
        self.put(at, entry);
    }

    /// Puts an entry into a slot, and what stood there into the next, up to the next gap.
    fn put(&mut self, mut at: usize, mut entry: u64) {
        loop {
            if at == self.slots.len() {
                self.slots.reserve_exact(SLACK);
                self.slots.resize(at + SLACK, EMPTY);
            }
            let displaced = std::mem::replace(&mut self.slots[at], entry);
            if displaced == EMPTY {
                return;
            }
            entry = displaced;
            at += 1;
        }
    }

    /// Removes an index; nothing happens if it is not there.
    pub(crate) fn remove(&mut self, hash: u64, index: u32) {
        let hash = upper(hash);
        let home = self.home(hash);
        let sought = u64::from(hash) << 32 | u64::from(index);
        if self.last == sought {
            self.last = EMPTY;
            self.len -= 1;
            return;
        }
        let run = self.slots[home..].iter().take_while(|slot| hash_of(**slot) <= hash);
        let Some(mut at) = run.into_iter().position(|slot| *slot == sought).map(|place| home + place) else { return };
        self.len -= 1;
        // Those behind the gap move up until one stands at its home.
        while let Some(next) = self.slots.get(at + 1).copied() {
            if next == EMPTY || self.home(hash_of(next)) > at {
                break;
            }
            self.slots[at] = next;
            at += 1;
        }
        self.slots[at] = EMPTY;
    }

    #[cold]
    fn grow(&mut self) {
        self.homes += match self.homes {
            few @ 0..8 => 4.max(few),
            homes if homes.is_power_of_two() => homes / 2,
            homes => homes / 3,
        };
        let mut packed = self.pack(self.homes + SLACK);
        let mut next = 0;
        while let Some(entry) = self.slots.get(packed).copied() {
            let at = self.home(hash_of(entry)).max(next);
            if at > packed {
                return self.lengthen(packed, next);
            }
            self.slots[packed] = EMPTY;
            self.slots[at] = entry;
            (packed, next) = (packed + 1, at + 1);
        }
    }

    /// Gives the array at least so many slots and moves all entries to its end, in order; the first one's place.
    /// Memory that is there already is used on: what is new must be asked of the system page by page.
    fn pack(&mut self, least: usize) -> usize {
        let before = self.slots.len();
        let length = least.max(before);
        self.slots.reserve_exact(length - before);
        self.slots.resize(length, EMPTY);
        let mut packed = length;
        for at in (0..before).rev() {
            // Without a branch: whether a slot is empty cannot be guessed. What an empty one overwrites is empty.
            let slot = std::mem::replace(&mut self.slots[at], EMPTY);
            self.slots[packed - 1] = slot;
            packed -= usize::from(slot != EMPTY);
        }
        packed
    }

    /// Places the rest of the packed entries where they need more slots than there are.
    #[cold]
    fn lengthen(&mut self, packed: usize, mut next: usize) {
        for entry in self.slots.split_off(packed) {
            let at = self.home(hash_of(entry)).max(next);
            self.slots.resize(self.slots.len().max(at), EMPTY);
            self.put(at, entry);
            next = at + 1;
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        /// Hashes of few values, so that runs collide, and at the upper end, so that they reach over the last home.
        #[test]
        fn it_holds_what_a_list_holds(
            steps in prop::collection::vec((any::<bool>(), prop_oneof![0..9_u64, u64::MAX - 9..=u64::MAX], 0..4_u32), 0..400),
        ) {
            let spread = |hash: u64| if hash < 9 { hash << 60 } else { u64::MAX - ((u64::MAX - hash) << 33) };
            let (mut index, mut list) = (Index::default(), Vec::new());
            for (number, (insert, hash, age)) in steps.into_iter().enumerate() {
                let hash = spread(hash);
                if insert {
                    index.insert(hash, number as u32);
                    list.push((hash, number as u32));
                } else if let Some(at) = list.iter().position(|(of, _)| *of == hash) {
                    let at = (at + age as usize).min(list.len() - 1);
                    let (hash, number) = list.remove(at);
                    index.remove(hash, number);
                }
                prop_assert_eq!(index.is_empty(), list.is_empty());
                for hash in list.iter().map(|(hash, _)| *hash).chain([hash]) {
                    let same = |other: u64| upper(other) == upper(hash);
                    let expected: Vec<u32> = list.iter().filter(|(of, _)| same(*of)).map(|(_, number)| *number).collect();
                    prop_assert_eq!(index.all(hash).collect::<Vec<u32>>(), expected.clone());
                    prop_assert_eq!(index.find(hash, |one| Some(&one) == expected.last()), expected.last().copied());
                }
            }
        }
    }

    #[test]
    fn what_was_never_inserted_is_neither_found_nor_removed() {
        let mut index = Index::default();
        assert_eq!(index.find(7, |_| true), None);
        index.remove(7, 7);
        index.insert(1 << 40, 3);
        index.remove(1 << 40, 4);
        assert_eq!(index.find(1 << 40, |_| true), Some(3));
        assert_eq!(index.find(1 << 41, |_| true), None);
    }
}

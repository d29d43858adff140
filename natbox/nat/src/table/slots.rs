//! Records by index: slots that are filled again when they have been emptied.
//!
//! Own code, because a slot must be brought near without being read, which no ready-made slab allows, and because a
//! large table should grow without being copied, and by less than its own size.

use std::ops::{Index, IndexMut};

use prefetch_index::prefetch_index;

/// Values in one chunk; only the first chunk is ever smaller.
const CHUNK: usize = 1024;

/// A list that grows by chunks, so that nothing moves.
pub(crate) struct Chunks<T>(Vec<Vec<T>>);

impl<T> Default for Chunks<T> {
    fn default() -> Chunks<T> {
        Chunks(Vec::new())
    }
}

impl<T> Chunks<T> {
    pub(crate) fn len(&self) -> usize {
        self.0.last().map_or(0, |last| (self.0.len() - 1) * CHUNK + last.len())
    }

    pub(crate) fn push(&mut self, value: T) {
        match self.0.last_mut() {
            Some(last) if last.len() < CHUNK => last.push(value),
            last => {
                let mut chunk = Vec::with_capacity(if last.is_some() { CHUNK } else { 1 });
                chunk.push(value);
                self.0.push(chunk);
            }
        }
    }

    #[inline(always)]
    pub(crate) fn get(&self, index: u32) -> Option<&T> {
        self.0.get(index as usize / CHUNK)?.get(index as usize % CHUNK)
    }

    #[inline(always)]
    pub(crate) fn get_mut(&mut self, index: u32) -> Option<&mut T> {
        self.0.get_mut(index as usize / CHUNK)?.get_mut(index as usize % CHUNK)
    }
}

/// Values under indices that stay theirs.
pub(crate) struct Slots<T> {
    values: Chunks<Option<T>>,
    /// Empty slots, the last emptied last.
    free: Vec<u32>,
}

impl<T> Default for Slots<T> {
    fn default() -> Slots<T> {
        Slots { values: Chunks::default(), free: Vec::new() }
    }
}

impl<T> Slots<T> {
    pub(crate) fn len(&self) -> usize {
        self.values.len() - self.free.len()
    }

    pub(crate) fn insert(&mut self, value: T) -> u32 {
        if let Some(index) = self.free.pop()
            && let Some(slot) = self.values.get_mut(index)
        {
            *slot = Some(value);
            return index;
        }
        self.values.push(Some(value));
        self.values.len() as u32 - 1
    }

    /// Empties a slot; `None` if it was empty.
    pub(crate) fn remove(&mut self, index: u32) -> Option<T> {
        let value = self.values.get_mut(index)?.take()?;
        self.free.push(index);
        Some(value)
    }

    #[inline(always)]
    pub(crate) fn get(&self, index: u32) -> Option<&T> {
        self.values.get(index)?.as_ref()
    }

    #[inline(always)]
    pub(crate) fn get_mut(&mut self, index: u32) -> Option<&mut T> {
        self.values.get_mut(index)?.as_mut()
    }

    /// Brings a slot near, without waiting for it.
    #[inline(always)]
    pub(crate) fn prefetch(&self, index: u32) {
        if let Some(chunk) = self.values.0.get(index as usize / CHUNK) {
            prefetch_index(chunk, index as usize % CHUNK);
        }
    }

    /// The values with their indices, by index.
    pub(crate) fn iter(&self) -> impl Iterator<Item = (u32, &T)> {
        let slots = (0..).zip(self.values.0.iter().flatten());
        slots.filter_map(|(index, value)| Some((index, value.as_ref()?)))
    }
}

impl<T> Index<u32> for Slots<T> {
    type Output = T;

    #[inline(always)]
    fn index(&self, index: u32) -> &T {
        self.get(index).expect("an index names a live record")
    }
}

impl<T> IndexMut<u32> for Slots<T> {
    #[inline(always)]
    fn index_mut(&mut self, index: u32) -> &mut T {
        self.get_mut(index).expect("an index names a live record")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_slot_is_filled_again_once_it_is_empty() {
        let mut slots = Slots::default();
        let [first, second] = ["a", "b"].map(|value| slots.insert(value));
        assert_eq!(slots.remove(first), Some("a"));
        assert_eq!((slots.remove(first), slots.get(first), slots.get(9)), (None, None, None));
        assert_eq!((slots.insert("c"), slots.insert("d")), (first, 2));
        assert_eq!((slots[first], slots[second], slots.len()), ("c", "b", 3));
        assert!(slots.iter().eq([(0, &"c"), (1, &"b"), (2, &"d")]));
    }

    #[test]
    fn indices_go_on_over_the_end_of_a_chunk() {
        let mut slots = Slots::default();
        let count = 2 * CHUNK as u32 + 7;
        assert!((0..count).all(|value| slots.insert(value) == value));
        assert!((0..count).all(|index| slots[index] == index));
        assert_eq!((slots.len(), slots.get(count)), (count as usize, None));
        assert!(slots.iter().map(|(index, _)| index).eq(0..count));
    }
}

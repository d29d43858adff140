//! A heap of keys, smallest first, with four children a node.
//!
//! Four keys of 16 bytes are as much as a cache line: a heap of 100,000 has 9 levels, each a line to wait for, where the
//! standard library's binary one has 17. Knows nothing of what the keys mean; of two that are alike either comes first.

const CHILDREN: usize = 4;

/// Keys in the order of a heap.
#[derive(Default)]
pub(crate) struct Heap(Vec<u128>);

impl Heap {
    /// An empty one, with room for so many keys.
    pub(crate) fn with_capacity(keys: usize) -> Heap {
        Heap(Vec::with_capacity(keys))
    }

    pub(crate) fn len(&self) -> usize {
        self.0.len()
    }

    /// The smallest key.
    #[inline]
    pub(crate) fn peek(&self) -> Option<u128> {
        self.0.first().copied()
    }

    pub(crate) fn push(&mut self, key: u128) {
        let mut at = self.0.len();
        self.0.push(key);
        while at > 0 {
            let parent = (at - 1) / CHILDREN;
            if self.0[parent] <= key {
                break;
            }
            self.0[at] = self.0[parent];
            at = parent;
        }
        self.0[at] = key;
    }

    /// Takes the smallest key away.
    pub(crate) fn pop(&mut self) -> Option<u128> {
        let last = self.0.pop()?;
        let Some(smallest) = self.peek() else { return Some(last) };
        let mut at = 0;
        while let Some((child, key)) = self.smallest_child(at).filter(|(_, key)| *key < last) {
            self.0[at] = key;
            at = child;
        }
        self.0[at] = last;
        Some(smallest)
    }

    #[inline(always)]
    fn smallest_child(&self, at: usize) -> Option<(usize, u128)> {
        let first = at * CHILDREN + 1;
        let children = match self.0.get(first..first + CHILDREN) {
            Some(all) => all,
            None => self.0.get(first..)?,
        };
        let smaller = |one: (usize, u128), other: (usize, u128)| if other.1 < one.1 { other } else { one };
        children.iter().enumerate().map(|(place, key)| (first + place, *key)).reduce(smaller)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn the_smallest_comes_first_whatever_was_put_in_between(
            steps in prop::collection::vec(prop::option::weighted(0.6, 0_u128..50), 0..300),
        ) {
            let (mut heap, mut model) = (Heap::default(), Vec::new());
            for step in steps {
                match step {
                    Some(key) => {
                        heap.push(key);
                        model.push(key);
                        model.sort_unstable_by(|one, other| other.cmp(one));
                    }
                    None => prop_assert_eq!(heap.pop(), model.pop()),
                }
                prop_assert_eq!((heap.peek(), heap.len()), (model.last().copied(), model.len()));
            }
        }
    }
}

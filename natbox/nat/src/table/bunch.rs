//! Mappings that share a key: one stands in the index, the others behind it.
//!
//! Costs nothing where every key is one mapping's.

use std::collections::BTreeMap;

/// Those behind each head, oldest first.
#[derive(Default)]
pub(crate) struct Bunches(BTreeMap<u32, Vec<u32>>);

impl Bunches {
    /// Whether every key is one mapping's.
    pub(crate) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Puts one more behind a head.
    pub(crate) fn add(&mut self, head: u32, index: u32) {
        self.0.entry(head).or_default().push(index);
    }

    /// Those behind a head, oldest first.
    pub(crate) fn behind(&self, head: u32) -> &[u32] {
        self.0.get(&head).map_or(&[], Vec::as_slice)
    }

    /// Takes one away from behind a head.
    pub(crate) fn remove(&mut self, head: u32, index: u32) {
        if let Some(rest) = self.0.get_mut(&head) {
            rest.retain(|one| *one != index);
            if rest.is_empty() {
                self.0.remove(&head);
            }
        }
    }

    /// A head goes: the oldest behind it, which is the head from now on, if there is any.
    pub(crate) fn succeed(&mut self, head: u32) -> Option<u32> {
        let mut rest = self.0.remove(&head)?;
        let successor = rest.remove(0);
        if !rest.is_empty() {
            self.0.insert(successor, rest);
        }
        Some(successor)
    }
}

//! When sessions end: one heap entry each, re-armed lazily.
//!
//! A packet that prolongs a session only writes the new deadline into its record. When the old entry comes up, it
//! is armed again for the deadline that then stands. A session whose deadline comes *closer* (TCP closing) gets a
//! second entry; the record's `armed` names the one that counts, and the other is thrown away when it comes up.
//! So an entry may come up with nothing due, which is silent, and none is ever missing.

use std::cmp::Reverse;
use std::collections::BinaryHeap;

use natbox_wire::Time;

/// The pending deadlines of one table, earliest first.
#[derive(Default)]
pub(crate) struct Expiry {
    /// Time and session index in one integer, which compares in one step.
    heap: BinaryHeap<Reverse<u128>>,
}

impl Expiry {
    /// Asks for a session to come up at `at`. The end of time never comes.
    pub(crate) fn arm(&mut self, at: Time, session: u32) {
        if at < Time::MAX {
            self.heap.push(Reverse(u128::from(at.as_nanos()) << 32 | u128::from(session)));
        }
    }

    /// When the next entry comes up.
    #[inline]
    pub(crate) fn next(&self) -> Option<Time> {
        self.heap.peek().map(|Reverse(entry)| Expiry::time(*entry))
    }

    /// Takes the next entry if it has come up: the time it was armed for, and its session.
    pub(crate) fn pop(&mut self, now: Time) -> Option<(Time, u32)> {
        let entry = self.heap.peek_mut().filter(|entry| Expiry::time(entry.0) <= now)?;
        let Reverse(entry) = std::collections::binary_heap::PeekMut::pop(entry);
        Some((Expiry::time(entry), entry as u32))
    }

    fn time(entry: u128) -> Time {
        Time::from_nanos((entry >> 32) as u64)
    }
}

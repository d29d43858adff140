//! What will happen: events in the order of (time, order of asking).
//!
//! A binary heap of one `u128` key an event, the events themselves in slots: twice as fast as a heap of tuples when
//! many are pending. Background events (those that only observers ask for) do not keep a world going.

use std::cmp::Reverse;
use std::collections::BinaryHeap;

use natbox_wire::Time;
use slab::Slab;

/// The pending events.
pub(crate) struct Queue<E> {
    /// (key, slot), smallest first.
    heap: BinaryHeap<Reverse<(u128, u32)>>,
    slots: Slab<Slot<E>>,
    sequence: u64,
    /// Pending events that are neither cancelled nor in the background.
    foreground: usize,
}

struct Slot<E> {
    key: u128,
    /// `None` when cancelled: the key stays in the heap until its turn.
    event: Option<E>,
    background: bool,
}

/// A pending event that may be changed or cancelled.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Ticket {
    slot: u32,
    key: u128,
}

impl<E> Queue<E> {
    pub(crate) fn new() -> Queue<E> {
        Queue { heap: BinaryHeap::new(), slots: Slab::new(), sequence: 0, foreground: 0 }
    }

    /// Asks for `event` at `at`. What is asked for at the end of time never happens.
    pub(crate) fn push(&mut self, at: Time, event: E) -> Ticket {
        self.insert(at, event, false)
    }

    /// Asks for an event that does not keep the world going.
    pub(crate) fn push_background(&mut self, at: Time, event: E) {
        self.insert(at, event, true);
    }

    fn insert(&mut self, at: Time, event: E, background: bool) -> Ticket {
        self.sequence += 1;
        let key = u128::from(at.as_nanos()) << 64 | u128::from(self.sequence);
        if at == Time::MAX {
            return Ticket { slot: u32::MAX, key };
        }
        self.foreground += usize::from(!background);
        let slot = self.slots.insert(Slot { key, event: Some(event), background }) as u32;
        self.heap.push(Reverse((key, slot)));
        Ticket { slot, key }
    }

    /// How many events are pending, cancelled ones among them.
    pub(crate) fn len(&self) -> usize {
        self.heap.len()
    }

    /// Whether anything in the foreground is still to happen.
    pub(crate) fn is_idle(&self) -> bool {
        self.foreground == 0
    }

    /// The time of the next event that was not cancelled.
    pub(crate) fn next_time(&mut self) -> Option<Time> {
        while let Some(&Reverse((key, slot))) = self.heap.peek() {
            if self.slots[slot as usize].event.is_some() {
                return Some(Time::from_nanos((key >> 64) as u64));
            }
            self.heap.pop();
            self.slots.remove(slot as usize);
        }
        None
    }

    /// The next event, and when it happens.
    pub(crate) fn pop(&mut self) -> Option<(Time, E)> {
        let at = self.next_time()?;
        let Reverse((_, slot)) = self.heap.pop()?;
        let slot = self.slots.remove(slot as usize);
        self.foreground -= usize::from(!slot.background);
        slot.event.map(|event| (at, event))
    }

    /// A pending event; `None` if it has happened.
    pub(crate) fn get_mut(&mut self, ticket: Ticket) -> Option<&mut E> {
        let slot = self.slots.get_mut(ticket.slot as usize)?;
        if slot.key == ticket.key { slot.event.as_mut() } else { None }
    }

    /// Takes an event back; nothing if it has happened.
    pub(crate) fn cancel(&mut self, ticket: Ticket) -> Option<E> {
        let slot = self.slots.get_mut(ticket.slot as usize).filter(|slot| slot.key == ticket.key)?;
        let event = slot.event.take()?;
        self.foreground -= usize::from(!slot.background);
        Some(event)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(nanos: u64) -> Time {
        Time::from_nanos(nanos)
    }

    #[test]
    fn events_come_by_time_and_ties_in_the_order_of_asking() {
        let mut queue = Queue::new();
        for (time, event) in [(5, 'd'), (1, 'a'), (3, 'b'), (3, 'c')] {
            queue.push(at(time), event);
        }
        let order: Vec<char> = std::iter::from_fn(|| queue.pop()).map(|(_, event)| event).collect();
        assert_eq!(order, ['a', 'b', 'c', 'd']);
    }

    #[test]
    fn a_cancelled_event_never_comes_and_an_old_ticket_cancels_nothing() {
        let mut queue = Queue::new();
        let first = queue.push(at(1), 'a');
        assert_eq!(queue.cancel(first), Some('a'));
        assert!(queue.is_idle());
        assert_eq!(queue.pop(), None);
        queue.push(at(2), 'b');
        assert_eq!(queue.cancel(first), None, "the slot is another event's now");
        assert_eq!(queue.pop(), Some((at(2), 'b')));
    }

    #[test]
    fn background_events_do_not_keep_the_world_going() {
        let mut queue = Queue::new();
        queue.push_background(at(1), 'a');
        assert!(queue.is_idle());
        queue.push(at(2), 'b');
        assert!(!queue.is_idle());
        assert_eq!(queue.pop(), Some((at(1), 'a')));
        assert_eq!(queue.pop(), Some((at(2), 'b')));
        assert!(queue.is_idle());
    }

    #[test]
    fn the_end_of_time_never_comes() {
        let mut queue = Queue::new();
        let ticket = queue.push(Time::MAX, 'a');
        assert_eq!(queue.get_mut(ticket), None);
        assert_eq!(queue.pop(), None);
    }
}

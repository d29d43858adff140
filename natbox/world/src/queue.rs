//! What will happen: events in the order of (time, order of asking).
//!
//! One `u128` an event, the events themselves in slots. The `u128` says when the event's turn is and where it lies: time
//! above, then the order of asking, then the slot. So an entry has 16 bytes and is compared with one instruction or two, which
//! counts where many are pending. The next few entries stand in a sorted list, all others [far away](far): a small world
//! needs the list alone, and a large one can be told in advance whom it concerns next. Background events (those that only
//! observers ask for) do not keep a world going.

mod far;

use std::hint::black_box;

use natbox_wire::Time;
use slab::Slab;

use far::Far;

/// Room for so many events is made at first: as many as a world of a few hosts needs.
const FIRST: usize = 16;
/// So many entries come near at once: what is brought near for them must not push one another out.
pub(crate) const BATCH: usize = 32;
/// So many entries stand in the sorted list at most.
const NEAR: usize = 2 * BATCH;

/// The pending events. A slot's number has so many bits, and the order of asking the rest of 64: it begins anew after 10^12
/// events, months of running, when only those that are asked for at that very moment for one and the same nanosecond may
/// change places.
pub(crate) struct Queue<E, const SLOT_BITS: u32 = 24> {
    /// The smallest keys, the very smallest last.
    near: Vec<u128>,
    /// The others, none smaller than any of `near`.
    far: Far,
    /// Whether keys have come near whose events nobody has been told of.
    is_fresh: bool,
    slots: Slab<Slot<E>>,
    sequence: u64,
    /// Pending events that are neither cancelled nor in the background.
    foreground: usize,
    /// Whether there was no slot left for an event: what comes now is not what was asked for.
    has_lost: bool,
}

struct Slot<E> {
    key: u128,
    /// `None` when cancelled: the key stays until its turn.
    event: Option<E>,
    background: bool,
}

/// A pending event that may be changed or cancelled.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Ticket {
    key: u128,
}

impl<E, const SLOT_BITS: u32> Queue<E, SLOT_BITS> {
    /// So many events may be pending, whatever a world allows. What one event asks for may be more: as many again.
    pub(crate) const MOST: usize = 1 << (SLOT_BITS - 1);

    pub(crate) fn new() -> Self {
        let (near, slots) = (Vec::with_capacity(FIRST), Slab::with_capacity(FIRST));
        Queue { near, far: Far::default(), is_fresh: false, slots, sequence: 0, foreground: 0, has_lost: false }
    }

    fn slot_of(key: u128) -> usize {
        key as usize & ((1 << SLOT_BITS) - 1)
    }

    /// Asks for `event` at `at`. What is asked for at the end of time never happens.
    #[inline]
    pub(crate) fn push(&mut self, at: Time, event: E) -> Ticket {
        self.insert(at, event, false)
    }

    /// Asks for an event that does not keep the world going.
    pub(crate) fn push_background(&mut self, at: Time, event: E) {
        self.insert(at, event, true);
    }

    #[inline]
    fn insert(&mut self, at: Time, event: E, background: bool) -> Ticket {
        let entry = self.slots.vacant_entry();
        let slot = entry.key();
        if at == Time::MAX || slot >> SLOT_BITS != 0 {
            self.has_lost |= at < Time::MAX;
            return Ticket { key: u128::MAX };
        }
        self.sequence = (self.sequence + 1) & ((1 << (64 - SLOT_BITS)) - 1);
        let key = u128::from(at.as_nanos()) << 64 | u128::from(self.sequence << SLOT_BITS | slot as u64);
        entry.insert(Slot { key, event: Some(event), background });
        self.foreground += usize::from(!background);
        self.place(key);
        Ticket { key }
    }

    #[inline]
    fn place(&mut self, key: u128) {
        let is_near = self.far.is_empty() || self.near.first().is_some_and(|last| key < *last);
        if !is_near {
            return self.far.push(key);
        }
        let later = self.near.iter().rev().take_while(|other| **other < key).count();
        self.near.insert(self.near.len() - later, key);
        if self.near.len() > NEAR {
            self.near.drain(..BATCH).for_each(|key| self.far.push(key));
        }
    }

    /// Brings the next keys near, where none is.
    fn refill(&mut self) {
        while self.near.len() < BATCH
            && let Some(key) = self.far.pop()
        {
            self.near.push(key);
        }
        self.near.reverse();
        self.is_fresh = true;
    }

    /// Whether events have come near since they were asked for last.
    #[inline]
    pub(crate) fn has_fresh(&self) -> bool {
        self.is_fresh
    }

    /// The events that have come near, in their order, for those who want to prepare for them.
    pub(crate) fn fresh(&mut self) -> impl Iterator<Item = &E> {
        self.is_fresh = false;
        let slots = &self.slots;
        // All at once, before anything depends on one of them.
        let keys = self.near.iter().filter_map(|key| slots.get(Self::slot_of(*key))).map(|slot| slot.key);
        black_box(keys.fold(0, |all, key| all ^ key));
        self.near.iter().rev().filter_map(|key| slots.get(Self::slot_of(*key))?.event.as_ref())
    }

    /// Whether more is pending than this, cancelled events among them, or than a queue holds; for good once it has had to
    /// let one go.
    pub(crate) fn is_over(&self, limit: usize) -> bool {
        self.near.len() + self.far.len() > limit.min(Self::MOST) || self.has_lost
    }

    /// Whether anything in the foreground is still to happen.
    pub(crate) fn is_idle(&self) -> bool {
        self.foreground == 0
    }

    /// The next event that was not cancelled and when it happens, if that is no later than `deadline`.
    pub(crate) fn pop_until(&mut self, deadline: Time) -> Option<(Time, E)> {
        loop {
            if self.near.is_empty() && !self.far.is_empty() {
                self.refill();
            }
            let &key = self.near.last()?;
            let at = Time::from_nanos((key >> 64) as u64);
            if at > deadline && self.slots[Self::slot_of(key)].event.is_some() {
                return None;
            }
            self.near.pop();
            let slot = self.slots.remove(Self::slot_of(key));
            if let Some(event) = slot.event {
                self.foreground -= usize::from(!slot.background);
                return Some((at, event));
            }
        }
    }

    /// When the next event's turn is, if not cancelled by then: what waits for it may wait too short, but never too long.
    pub(crate) fn next_time(&self) -> Option<Time> {
        self.near.last().copied().or_else(|| self.far.peek()).map(|key| Time::from_nanos((key >> 64) as u64))
    }

    /// A pending event; `None` if it has happened.
    pub(crate) fn get_mut(&mut self, ticket: Ticket) -> Option<&mut E> {
        let slot = self.slots.get_mut(Self::slot_of(ticket.key))?;
        if slot.key == ticket.key { slot.event.as_mut() } else { None }
    }

    /// Takes an event back; nothing if it has happened.
    pub(crate) fn cancel(&mut self, ticket: Ticket) -> Option<E> {
        let slot = self.slots.get_mut(Self::slot_of(ticket.key)).filter(|slot| slot.key == ticket.key)?;
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
        let mut queue = Queue::<char>::new();
        for (time, event) in [(5, 'd'), (1, 'a'), (3, 'b'), (3, 'c')] {
            queue.push(at(time), event);
        }
        let order: Vec<char> = std::iter::from_fn(|| queue.pop_until(Time::MAX)).map(|(_, event)| event).collect();
        assert_eq!(order, ['a', 'b', 'c', 'd']);
    }

    #[test]
    fn a_cancelled_event_never_comes_and_an_old_ticket_cancels_nothing() {
        let mut queue = Queue::<char>::new();
        let first = queue.push(at(1), 'a');
        assert_eq!(queue.cancel(first), Some('a'));
        assert!(queue.is_idle());
        assert_eq!(queue.pop_until(Time::MAX), None);
        queue.push(at(2), 'b');
        assert_eq!(queue.cancel(first), None, "the slot is another event's now");
        assert_eq!(queue.pop_until(Time::MAX), Some((at(2), 'b')));
    }

    #[test]
    fn background_events_do_not_keep_the_world_going() {
        let mut queue = Queue::<char>::new();
        queue.push_background(at(1), 'a');
        assert!(queue.is_idle());
        queue.push(at(2), 'b');
        assert!(!queue.is_idle());
        assert_eq!(queue.pop_until(Time::MAX), Some((at(1), 'a')));
        assert_eq!(queue.pop_until(Time::MAX), Some((at(2), 'b')));
        assert!(queue.is_idle());
    }

    #[test]
    fn many_events_come_in_their_order_whenever_they_were_asked_for() {
        let mut queue = Queue::<(u64, u64)>::new();
        let mut model = std::collections::BTreeSet::new();
        let (mut chance, mut now) = (1_u64, 0);
        for count in 0..10_000 {
            chance = chance.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            // More come than go at first, then fewer: the list overflows, runs dry and is filled again.
            if chance >> 60 < if count < 5_000 { 11 } else { 5 } {
                let event = (now + (chance >> 40) % 1_000, count);
                queue.push(at(event.0), event);
                model.insert(event);
            } else {
                let next = queue.pop_until(Time::MAX).map(|(_, event)| event);
                assert_eq!(next, model.pop_first());
                assert_eq!(queue.next_time(), model.first().map(|event| at(event.0)));
                now = next.map_or(now, |event| event.0);
            }
        }
        assert!(std::iter::from_fn(|| queue.pop_until(Time::MAX)).map(|(_, event)| event).eq(model));
    }

    #[test]
    fn events_that_come_near_are_told_of_once_and_in_their_order() {
        let mut queue = Queue::<u64>::new();
        for event in 0..200 {
            queue.push(at(event), event);
        }
        assert!(!queue.has_fresh(), "the list is filled as they are asked for");
        let mut told = Vec::new();
        while queue.pop_until(Time::MAX).is_some() {
            if queue.has_fresh() {
                told.push(queue.fresh().copied().collect::<Vec<u64>>());
            }
        }
        assert!(told.len() > 3 && told.iter().all(|events| events.is_sorted() && events.len() < BATCH));
        assert!(told.iter().flatten().is_sorted());
    }

    #[test]
    fn the_end_of_time_never_comes() {
        let mut queue = Queue::<char>::new();
        let ticket = queue.push(Time::MAX, 'a');
        assert_eq!(queue.get_mut(ticket), None);
        assert_eq!(queue.pop_until(Time::MAX), None);
    }

    #[test]
    fn a_queue_that_had_no_room_for_an_event_is_over_for_good() {
        let mut queue = Queue::<u32, 4>::new();
        for event in 0..16 {
            assert_eq!(queue.is_over(usize::MAX), event > 8, "half are for what one event asks for");
            queue.push(at(1), event);
        }
        let lost = queue.push(at(1), 16);
        assert_eq!(queue.cancel(lost), None);
        assert!(std::iter::from_fn(|| queue.pop_until(Time::MAX)).map(|(_, event)| event).eq(0..16));
        assert!(queue.is_over(usize::MAX));
    }
}

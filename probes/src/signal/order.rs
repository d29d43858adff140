//! Once and in order: which messages have to be sent again, and which have come. Knows no socket and no clock.

use std::collections::{BTreeMap, VecDeque};
use std::time::Duration;

use natbox_wire::Time;

/// The most messages under way, either way.
pub(super) const WINDOW: usize = 32;
/// The first wait for a message to be heard; the next are twice as long each, up to [`LONGEST_WAIT`].
const FIRST_WAIT: Duration = Duration::from_millis(500);
const LONGEST_WAIT: Duration = Duration::from_secs(8);
/// How often a message is sent: at 0, 0.5, 1.5, 3.5, 7.5, 15.5, 23.5 and 31.5 s.
pub(super) const SENDINGS: u32 = 8;

/// Both directions of a channel, as one end sees them.
#[derive(Debug, Default)]
pub(super) struct Order {
    next_out: u32,
    /// What the other end has not heard, oldest first.
    unheard: VecDeque<Outgoing>,
    next_in: u32,
    /// What has come and was not yet taken.
    come: BTreeMap<u32, Vec<u8>>,
}

#[derive(Debug)]
struct Outgoing {
    sequence: u32,
    payload: Vec<u8>,
    sent: u32,
    due: Time,
}

impl Order {
    /// Whether one more message may be under way.
    pub(super) fn has_room(&self) -> bool {
        self.unheard.len() < WINDOW
    }

    /// Whether the other end has heard everything.
    pub(super) fn all_heard(&self) -> bool {
        self.unheard.is_empty()
    }

    /// Takes a message to be sent.
    pub(super) fn push(&mut self, payload: Vec<u8>, now: Time) {
        self.unheard.push_back(Outgoing { sequence: self.next_out, payload, sent: 0, due: now });
        self.next_out = self.next_out.wrapping_add(1);
    }

    /// A message that is due, with its number.
    pub(super) fn due(&mut self, now: Time) -> Option<(u32, Vec<u8>)> {
        let outgoing = self.unheard.iter_mut().find(|outgoing| outgoing.due <= now && outgoing.sent < SENDINGS)?;
        let wait = FIRST_WAIT.saturating_mul(1 << outgoing.sent.min(16)).min(LONGEST_WAIT);
        outgoing.sent += 1;
        outgoing.due = now + wait;
        Some((outgoing.sequence, outgoing.payload.clone()))
    }

    /// When something is due, or known to be lost.
    pub(super) fn next_deadline(&self) -> Option<Time> {
        self.unheard.iter().map(|outgoing| outgoing.due).min()
    }

    /// Whether a message was sent for the last time, and in vain.
    pub(super) fn is_lost(&self, now: Time) -> bool {
        self.unheard.iter().any(|outgoing| outgoing.sent >= SENDINGS && outgoing.due <= now)
    }

    /// The other end has heard everything before `next`.
    pub(super) fn heard(&mut self, next: u32) {
        // Nothing that was never sent can have been heard.
        if next.wrapping_sub(self.next_out) as i32 <= 0 {
            self.unheard.retain(|outgoing| outgoing.sequence.wrapping_sub(next) as i32 >= 0);
        }
    }

    /// A message has come. One from before, or from beyond the window, changes nothing.
    pub(super) fn came(&mut self, sequence: u32, payload: Vec<u8>) {
        if (sequence.wrapping_sub(self.next_in) as usize) < WINDOW {
            self.come.entry(sequence).or_insert(payload);
        }
    }

    /// The next message in order, if it has come. It counts as heard once it is [taken](Order::take).
    pub(super) fn front(&self) -> Option<&Vec<u8>> {
        self.come.get(&self.next_in)
    }

    /// Takes the next message in order off.
    pub(super) fn take(&mut self) -> Option<Vec<u8>> {
        let payload = self.come.remove(&self.next_in)?;
        self.next_in = self.next_in.wrapping_add(1);
        Some(payload)
    }

    /// The number of the next message that is missing, or has come and was not taken.
    pub(super) fn next_in(&self) -> u32 {
        self.next_in
    }
}

//! Counting what arrives, and how long it took.

use std::time::Duration;

use super::frame::{Input, nanos};

/// How many sequence numbers back a duplicate is recognised.
const WINDOW: u32 = 64;

/// What became of the datagrams of one direction.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Stream {
    /// How many were sent.
    pub sent: u32,
    /// How many arrived, duplicates not counted.
    pub received: u32,
    /// One-way delays, if anything arrived.
    pub delay: Option<Delay>,
    /// Interarrival jitter (RFC 3550 section 6.4.1).
    pub jitter: Duration,
}

impl Stream {
    /// The share that was lost, 0 to 1.
    pub fn lost_share(&self) -> f64 {
        if self.sent == 0 { 0.0 } else { f64::from(self.sent.saturating_sub(self.received)) / f64::from(self.sent) }
    }
}

/// One-way delays.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Delay {
    /// The least.
    pub least: Duration,
    /// The mean.
    pub mean: Duration,
    /// The most.
    pub most: Duration,
}

/// What one side has heard of the other.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Heard {
    received: u32,
    least_nanos: u64,
    sum_nanos: u128,
    most_nanos: u64,
    jitter_nanos: u64,
}

impl Heard {
    pub(super) fn encode(&self, out: &mut Vec<u8>) {
        out.extend(self.received.to_be_bytes());
        out.extend(self.least_nanos.to_be_bytes());
        out.extend(self.sum_nanos.to_be_bytes());
        out.extend(self.most_nanos.to_be_bytes());
        out.extend(self.jitter_nanos.to_be_bytes());
    }

    pub(super) fn decode(input: &mut Input<'_>) -> Option<Heard> {
        Some(Heard {
            received: u32::from_be_bytes(input.take()?),
            least_nanos: u64::from_be_bytes(input.take()?),
            sum_nanos: u128::from_be_bytes(input.take()?),
            most_nanos: u64::from_be_bytes(input.take()?),
            jitter_nanos: u64::from_be_bytes(input.take()?),
        })
    }

    /// The stream of which `sent` datagrams were sent.
    pub(super) fn of(&self, sent: u32) -> Stream {
        let mean = self.sum_nanos.checked_div(u128::from(self.received));
        let delay = mean.map(|mean| Delay {
            least: Duration::from_nanos(self.least_nanos),
            mean: Duration::from_nanos(u64::try_from(mean).unwrap_or(u64::MAX)),
            most: Duration::from_nanos(self.most_nanos),
        });
        Stream { sent, received: self.received, delay, jitter: Duration::from_nanos(self.jitter_nanos) }
    }
}

/// Meters a stream as it arrives.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Meter {
    heard: Heard,
    /// The highest sequence number so far, and which of the ones before it have come (bit n: highest - n).
    highest: u32,
    window: u64,
    last_nanos: u64,
    /// Jitter times 16, as RFC 3550's own code keeps it.
    scaled_jitter: u64,
}

impl Meter {
    /// A datagram arrived, so long after it was sent.
    pub(super) fn take(&mut self, sequence: u32, delay: Duration) {
        if !self.is_new(sequence) {
            return;
        }
        let delay = nanos(delay);
        let heard = &mut self.heard;
        heard.least_nanos = if heard.received == 0 { delay } else { heard.least_nanos.min(delay) };
        heard.most_nanos = heard.most_nanos.max(delay);
        heard.sum_nanos = heard.sum_nanos.saturating_add(u128::from(delay));
        if heard.received > 0 {
            let difference = delay.abs_diff(self.last_nanos);
            let decayed = self.scaled_jitter - self.scaled_jitter.div_ceil(16);
            self.scaled_jitter = decayed.saturating_add(difference);
        }
        heard.received = heard.received.saturating_add(1);
        heard.jitter_nanos = self.scaled_jitter / 16;
        self.last_nanos = delay;
    }

    /// How many have arrived.
    pub(super) fn received(&self) -> u32 {
        self.heard.received
    }

    /// What was heard.
    pub(super) fn stream(&self) -> Heard {
        self.heard
    }

    /// Notes a sequence number; duplicates, and what is older than the window, do not count.
    fn is_new(&mut self, sequence: u32) -> bool {
        if self.window == 0 || sequence > self.highest {
            let ahead = if self.window == 0 { 0 } else { sequence - self.highest };
            self.window = self.window.checked_shl(ahead).unwrap_or(0) | 1;
            self.highest = sequence;
            return true;
        }
        let behind = self.highest - sequence;
        let fresh = behind < WINDOW && self.window & (1 << behind) == 0;
        if fresh {
            self.window |= 1 << behind;
        }
        fresh
    }
}

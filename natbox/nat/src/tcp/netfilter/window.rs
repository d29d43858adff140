//! Whether a segment is in the window on Linux, after Guido van Rooij's "Real Stateful TCP Packet Filtering in IP
//! Filter", with the leniency that Linux has learnt.

use crate::behavior::TcpWindow;
use crate::tcp::{Segment, Stage};
use crate::timers::Side;

/// What one end has sent and announced.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct End {
    /// One past the last sequence number that it has sent.
    end: u32,
    /// The right edge of the window that it may send in.
    edge: u32,
    /// The largest window that it has announced; 0 if nothing has come from it.
    window: u32,
    scale: Option<u8>,
    /// Whether the scales of both ends apply.
    scaled: bool,
    /// The highest sequence number that it has acknowledged.
    pub(super) acked: Option<u32>,
    /// The other end has not acknowledged all.
    pub(super) unacknowledged: bool,
    /// Nothing is enforced, because its opening was not seen.
    pub(super) liberal: bool,
}

/// Where a segment lies.
pub(super) enum Place {
    Within,
    /// Not within, but it passes and counts for nothing.
    Ignored,
    Outside,
}

/// What has come of placing it.
pub(super) enum Placed {
    /// It is in the window, and both ends have been updated.
    Learnt,
    /// It passes as if it were, and nothing has been learnt.
    Tolerated,
    Ignored,
    Outside,
}

impl Placed {
    pub(super) fn place(self) -> Place {
        match self {
            Placed::Learnt | Placed::Tolerated => Place::Within,
            Placed::Ignored => Place::Ignored,
            Placed::Outside => Place::Outside,
        }
    }
}

/// Acknowledgements may lag by this much, or by the largest window.
const ACK_LAG: u32 = 66_000;

/// Whether `a` lies before `b`.
pub(super) fn before(a: u32, b: u32) -> bool {
    (a.wrapping_sub(b) as i32) < 0
}

impl End {
    /// What a first segment tells of its sender.
    pub(super) fn begun_by(segment: &Segment) -> End {
        let window = u32::from(segment.window).max(1);
        let edge = if segment.flags.syn { segment.end } else { segment.end.wrapping_add(window) };
        End { end: segment.end, edge, window, scale: segment.scale, ..End::default() }
    }

    /// What an earlier SYN has told that did not count when it came.
    pub(super) fn restarted(end: u32, window: u16, scale: Option<u8>) -> End {
        End { end, edge: end, window: u32::from(window).max(1), scale, ..End::default() }
    }

    fn shift(&self) -> u8 {
        if self.scaled { self.scale.unwrap_or(0).min(14) } else { 0 }
    }
}

/// Places a segment from `side` of a connection at this stage, and learns from it if it is in the window.
pub(super) fn place(ends: &mut [End; 2], side: Side, segment: &Segment, stage: Stage, rule: TcpWindow) -> Placed {
    let (mut sender, mut receiver) = (ends[side as usize], ends[1 - side as usize]);
    let placed = place_between(&mut sender, &mut receiver, segment, stage, rule);
    (ends[side as usize], ends[1 - side as usize]) = (sender, receiver);
    placed
}

fn place_between(sender: &mut End, receiver: &mut End, segment: &Segment, stage: Stage, rule: TcpWindow) -> Placed {
    if segment.flags.syn && begins(sender, segment, stage) {
        *sender = End { liberal: sender.liberal, ..End::begun_by(segment) };
        let scaled = sender.scale.is_some() && receiver.scale.is_some();
        (sender.scaled, receiver.scaled) = (scaled, scaled);
        if !segment.flags.ack && receiver.window != 0 {
            return Placed::Tolerated;
        }
    } else if sender.window == 0 {
        first_seen_running(sender, receiver, segment);
    }
    let (sequence, acknowledgement, end) = corrected(sender, receiver, segment, stage);
    let tolerated = |placed| match rule {
        TcpWindow::Strict if !sender.liberal => placed,
        _ => Placed::Tolerated,
    };
    let oldest = receiver.end.wrapping_sub(sender.window.max(ACK_LAG));
    let acknowledges_sent = !before(receiver.end, acknowledgement);
    let reaches_in = !before(end, sender.end.wrapping_sub(receiver.window));
    if before(sender.edge, sequence) {
        let excess = end.wrapping_sub(sender.edge).wrapping_add(1);
        let window = receiver.window != 0 && excess <= receiver.window;
        if window && reaches_in && acknowledges_sent && !before(acknowledgement, oldest) {
            // More than was allowed: its acknowledgement must not be taken for wrong.
            (sender.end, sender.unacknowledged) = (end, true);
            return tolerated(Placed::Ignored);
        }
        return tolerated(Placed::Outside);
    }
    if !acknowledges_sent {
        return tolerated(Placed::Outside);
    }
    if receiver.window != 0 && !reaches_in || before(acknowledgement, oldest) {
        return tolerated(Placed::Ignored);
    }
    learn(sender, receiver, segment, acknowledgement, end);
    Placed::Learnt
}

/// Whether a SYN begins its end's sequence space.
fn begins(sender: &End, segment: &Segment, stage: Stage) -> bool {
    let opening = matches!(stage, Stage::Opening | Stage::Partial);
    sender.window == 0 || opening && before(sender.end, segment.end)
}

/// An end whose SYN was not seen.
fn first_seen_running(sender: &mut End, receiver: &mut End, segment: &Segment) {
    let window = (u32::from(segment.window) << sender.shift()).max(1);
    (sender.end, sender.window, sender.edge) = (segment.end, window, segment.end.wrapping_add(window));
    if receiver.window == 0 {
        (receiver.end, receiver.edge) = (segment.acknowledgement, segment.acknowledgement);
    } else if segment.acknowledgement == receiver.end.wrapping_add(1) {
        // The answer to a keepalive that was not seen.
        receiver.end = segment.acknowledgement;
    }
}

/// Sequence, acknowledgement and end as they are meant where they say nothing.
fn corrected(sender: &End, receiver: &End, segment: &Segment, stage: Stage) -> (u32, u32, u32) {
    let silent = !segment.flags.ack || segment.flags.rst && segment.acknowledgement == 0;
    let acknowledgement = if silent { receiver.end } else { segment.acknowledgement };
    match segment.flags.rst && segment.sequence == 0 && stage == Stage::Opening {
        true => (sender.end, acknowledgement, sender.end),
        false => (segment.sequence, acknowledgement, segment.end),
    }
}

fn learn(sender: &mut End, receiver: &mut End, segment: &Segment, acknowledgement: u32, end: u32) {
    let shift = if segment.flags.syn { 0 } else { sender.shift() };
    let window = u32::from(segment.window) << shift;
    sender.window = sender.window.max(window);
    if before(sender.end, end) {
        (sender.end, sender.unacknowledged) = (end, true);
    }
    if segment.flags.ack {
        let later = sender.acked.is_none_or(|acked| before(acked, acknowledgement));
        sender.acked = if later { Some(acknowledgement) } else { sender.acked };
    }
    if receiver.window != 0 && before(sender.edge, end) {
        receiver.window = receiver.window.saturating_add(end.wrapping_sub(sender.edge));
    }
    let edge = acknowledgement.wrapping_add(window);
    if !before(edge, receiver.edge) {
        receiver.edge = edge.wrapping_add(u32::from(window == 0));
    }
    if acknowledgement == receiver.end {
        receiver.unacknowledged = false;
    }
}

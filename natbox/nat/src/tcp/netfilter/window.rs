//! Whether a segment is in the window on Linux, after Guido van Rooij's "Real Stateful TCP Packet Filtering in IP
//! Filter", with the leniency that Linux has learnt.

use crate::behavior::TcpWindow;
use crate::tcp::segment::before;
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
    /// What its windows are shifted by.
    scale: u8,
    scale_offered: bool,
    /// It takes selective acknowledgements; so it does when nobody saw it say otherwise.
    pub(super) sack_permitted: bool,
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

impl End {
    /// What a first segment tells of its sender.
    pub(super) fn begun_by(segment: &Segment) -> End {
        let window = u32::from(segment.window).max(1);
        let edge = if segment.flags.syn { segment.end } else { segment.end.wrapping_add(window) };
        End { end: segment.end, edge, window, ..End::default() }.offering(segment.scale, segment.sack_permitted)
    }

    /// What an earlier SYN has told that did not count when it came.
    pub(super) fn restarted(end: u32, window: u16, scale: Option<u8>, sack_permitted: bool) -> End {
        End { end, edge: end, window: u32::from(window).max(1), ..End::default() }.offering(scale, sack_permitted)
    }

    fn offering(self, scale: Option<u8>, sack_permitted: bool) -> End {
        End { scale: scale.unwrap_or(0).min(14), scale_offered: scale.is_some(), sack_permitted, ..self }
    }

    /// An end that begins anew with its next SYN. One whose opening was not seen is still believed everything.
    pub(super) fn forgotten(self) -> End {
        End { liberal: self.liberal, ..End::default() }
    }

    /// The same end after a SYN. One without options takes nothing back.
    fn reopened_by(self, segment: &Segment) -> End {
        let begun = End { liberal: self.liberal, ..End::begun_by(segment) };
        match segment.has_options {
            true => begun,
            false => End {
                scale: self.scale,
                scale_offered: self.scale_offered,
                sack_permitted: self.sack_permitted,
                ..begun
            },
        }
    }
}

/// Places a segment from a side of a connection at this stage (and whether that side began it), and learns from it if it is in the window.
pub(super) fn place(
    ends: &mut [End; 2],
    (side, original): (Side, bool),
    segment: &Segment,
    stage: Stage,
    rule: TcpWindow,
) -> Placed {
    let (mut sender, mut receiver) = (ends[side as usize], ends[1 - side as usize]);
    if segment.flags.syn && begins(&sender, segment, stage) {
        sender = sender.reopened_by(segment);
        if !(original || sender.scale_offered && receiver.scale_offered) {
            (sender.scale, receiver.scale) = (0, 0);
        }
        // The other end's SYN has been seen: this one crosses it.
        if !segment.flags.ack && receiver.window != 0 {
            (ends[side as usize], ends[1 - side as usize]) = (sender, receiver);
            return Placed::Tolerated;
        }
    }
    let placed = place_between(&mut sender, &mut receiver, segment, stage, rule);
    (ends[side as usize], ends[1 - side as usize]) = (sender, receiver);
    placed
}

fn place_between(sender: &mut End, receiver: &mut End, segment: &Segment, stage: Stage, rule: TcpWindow) -> Placed {
    let sacks = receiver.sack_permitted;
    if sender.window == 0 {
        first_seen_running(sender, receiver, segment, sacks);
    }
    let Corrected { sequence, acknowledgement, sacked, end } = corrected(sender, receiver, segment, stage, sacks);
    let tolerated = |placed| match rule {
        TcpWindow::Strict if !sender.liberal => placed,
        _ => Placed::Tolerated,
    };
    let oldest = receiver.end.wrapping_sub(sender.window.max(ACK_LAG));
    let acknowledges_sent = !before(receiver.end, sacked);
    let reaches_in = !before(end, sender.end.wrapping_sub(receiver.window));
    if before(sender.edge, sequence) {
        let excess = end.wrapping_sub(sender.edge).wrapping_add(1);
        let window = receiver.window != 0 && excess <= receiver.window;
        if window && reaches_in && acknowledges_sent && !before(sacked, oldest) {
            // More than was allowed: its acknowledgement must not be taken for wrong.
            (sender.end, sender.unacknowledged) = (end, true);
            return tolerated(Placed::Ignored);
        }
        return tolerated(Placed::Outside);
    }
    if !acknowledges_sent {
        return tolerated(Placed::Outside);
    }
    if receiver.window != 0 && !reaches_in || before(sacked, oldest) {
        return tolerated(Placed::Ignored);
    }
    learn(sender, receiver, segment, Corrected { sequence, acknowledgement, sacked, end });
    Placed::Learnt
}

/// Whether a SYN begins its end's sequence space.
fn begins(sender: &End, segment: &Segment, stage: Stage) -> bool {
    let opening = matches!(stage, Stage::Opening | Stage::Partial);
    sender.window == 0 || opening && before(sender.end, segment.end)
}

/// An end whose SYN was not seen.
fn first_seen_running(sender: &mut End, receiver: &mut End, segment: &Segment, sacks: bool) {
    let sacked = if sacks { segment.sacked } else { segment.acknowledgement };
    let window = (u32::from(segment.window) << sender.scale).max(1);
    (sender.end, sender.window, sender.edge) = (segment.end, window, segment.end.wrapping_add(window));
    if receiver.window == 0 {
        (receiver.end, receiver.edge) = (sacked, sacked);
    } else if sacked == receiver.end.wrapping_add(1) {
        // The answer to a keepalive that was not seen.
        receiver.end = sacked;
    }
}

/// A segment's numbers, as they are meant where they say nothing.
struct Corrected {
    sequence: u32,
    acknowledgement: u32,
    /// The highest sequence number acknowledged, selectively or not.
    sacked: u32,
    end: u32,
}

/// `sacks` says whether the receiver allows selective acknowledgements: else nobody reads them.
fn corrected(sender: &End, receiver: &End, segment: &Segment, stage: Stage, sacks: bool) -> Corrected {
    let silent = !segment.flags.ack || segment.flags.rst && segment.acknowledgement == 0;
    let (acknowledgement, sacked) = match silent {
        true => (receiver.end, receiver.end),
        false if sacks => (segment.acknowledgement, segment.sacked),
        false => (segment.acknowledgement, segment.acknowledgement),
    };
    match segment.flags.rst && segment.sequence == 0 && stage == Stage::Opening {
        true => Corrected { sequence: sender.end, acknowledgement, sacked, end: sender.end },
        false => Corrected { sequence: segment.sequence, acknowledgement, sacked, end: segment.end },
    }
}

fn learn(sender: &mut End, receiver: &mut End, segment: &Segment, corrected: Corrected) {
    let Corrected { acknowledgement, sacked, end, .. } = corrected;
    let shift = if segment.flags.syn { 0 } else { sender.scale };
    let window = u32::from(segment.window) << shift;
    sender.window = sender.window.max(window.wrapping_add(sacked.wrapping_sub(acknowledgement)));
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
    let edge = sacked.wrapping_add(window);
    if !before(edge, receiver.edge) {
        receiver.edge = edge.wrapping_add(u32::from(window == 0));
    }
    if acknowledgement == receiver.end {
        receiver.unacknowledged = false;
    }
}

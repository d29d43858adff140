//! Where a connection stands in its sequence space: which segments are in the window, and what both ends expect next.
//!
//! The bounds are those of Guido van Rooij's "Real Stateful TCP Packet Filtering in IP Filter", which Linux and the
//! BSDs use: a segment must reach into the window that the other side has announced, and acknowledge nothing that has
//! not been sent. Nothing is enforced of a side whose SYN was not seen, because its window scale is then unknown
//! (RFC 6092 section 3.3.1), and segments with SYN are left to the machine.
//!
//! Left out: SACK blocks, which only widen what the bounds admit anyway; timestamps.

use natbox_wire::{Packet, TcpFlags};

use crate::behavior::TcpWindow;
use crate::tcp::Segment;
use crate::timers::Side;

/// What both sides have sent and announced so far.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Track {
    sides: [Sent; 2],
}

/// What one side has sent and announced.
#[derive(Clone, Copy, Debug, Default)]
struct Sent {
    /// Anything at all.
    seen: bool,
    /// Its SYN, with this window scale if it offers scaling.
    syn: Option<Option<u8>>,
    /// One past the last sequence number that it has sent.
    end: u32,
    /// The right edge of the window that it may send in.
    edge: u32,
    /// The largest window that it has announced.
    window: u32,
    /// The highest sequence number that it has acknowledged.
    acked: Option<u32>,
}

/// Acknowledgements may lag by this much, or by the largest window (the constant of Linux).
const ACK_LAG: u32 = 66_000;

/// Whether `a` lies before `b`, or is the same.
fn up_to(a: u32, b: u32) -> bool {
    b.wrapping_sub(a) as i32 >= 0
}

fn later(a: u32, b: u32) -> u32 {
    if up_to(a, b) { b } else { a }
}

impl Track {
    /// Whether a segment from `side` may pass.
    pub(crate) fn admits(&self, rule: TcpWindow, side: Side, packet: &Packet, flags: TcpFlags) -> bool {
        let judged = match rule {
            TcpWindow::Off => false,
            TcpWindow::Liberal => flags.rst,
            TcpWindow::Strict => true,
        };
        !judged || flags.syn || self.contains(side, Segment::of(packet, flags))
    }

    fn contains(&self, side: Side, segment: Segment) -> bool {
        let (sender, receiver) = (&self.sides[side as usize], &self.sides[1 - side as usize]);
        // Some stacks send RST|ACK that acknowledges nothing.
        let acknowledges = segment.flags.ack && !(segment.flags.rst && segment.acknowledgement == 0);
        if acknowledges && receiver.syn.is_some() {
            let lag = sender.window.max(ACK_LAG);
            let oldest = receiver.end.wrapping_sub(lag);
            if !up_to(segment.acknowledgement, receiver.end) || !up_to(oldest, segment.acknowledgement) {
                return false;
            }
        }
        if sender.syn.is_none() || receiver.syn.is_none() {
            return true;
        }
        if segment.flags.rst {
            // RFC 5961 section 3: anywhere else in the window a RST is at most worth a challenge.
            let expected = receiver.acked.unwrap_or(sender.end.wrapping_sub(receiver.window));
            return up_to(expected, segment.sequence) && up_to(segment.sequence, sender.edge);
        }
        let empty = segment.sequence == segment.end;
        let oldest = sender.end.wrapping_sub(receiver.window);
        empty || up_to(segment.sequence, sender.edge) && up_to(oldest, segment.end)
    }

    /// Learns from a segment that passes. `opening` tells whether its SYN may be the first of its side.
    pub(crate) fn learn(&mut self, side: Side, packet: &Packet, flags: TcpFlags, opening: bool) {
        let segment = Segment::of(packet, flags);
        if flags.syn && opening {
            self.learn_syn(side, segment);
        }
        if flags.rst || flags.syn && !up_to(segment.end, self.sides[side as usize].end) {
            return;
        }
        let scale = match (self.sides[0].syn, self.sides[1].syn) {
            (Some(Some(_)), Some(Some(_))) if !flags.syn => self.sides[side as usize].syn.flatten().unwrap_or(0),
            _ => 0,
        };
        let window = u32::from(segment.window) << scale.min(14);
        let [inside, outside] = &mut self.sides;
        let (sender, receiver) = if side == Side::Inside { (inside, outside) } else { (outside, inside) };
        if sender.seen && up_to(sender.edge, segment.end) {
            // A probe of a closed window, or a segment that only begins in it.
            receiver.window = receiver.window.saturating_add(segment.end.wrapping_sub(sender.edge));
        }
        sender.end = if sender.seen { later(sender.end, segment.end) } else { segment.end };
        sender.edge = if sender.seen { sender.edge } else { segment.end };
        sender.window = sender.window.max(window.max(1));
        sender.seen = true;
        if flags.ack {
            let acked = segment.acknowledgement;
            sender.acked = Some(sender.acked.map_or(acked, |before| later(before, acked)));
            let edge = acked.wrapping_add(window.max(1));
            receiver.edge = if receiver.seen { later(receiver.edge, edge) } else { edge };
        }
    }

    /// A SYN begins its side's sequence space; a later one begins it again while the connection is being opened.
    fn learn_syn(&mut self, side: Side, segment: Segment) {
        let answered = self.sides[1 - side as usize].seen;
        let sent = &mut self.sides[side as usize];
        if sent.syn.is_some() && answered && up_to(segment.end, sent.end) {
            return;
        }
        *sent = Sent { syn: Some(segment.scale), end: segment.end, edge: segment.end, seen: true, ..Sent::default() };
    }

    /// The sequence number that the end on this side expects next, and the one that it will send next.
    pub(crate) fn expected(&self, side: Side) -> (u32, u32) {
        let next = |side: Side| {
            let (own, other) = (&self.sides[side as usize], &self.sides[1 - side as usize]);
            own.acked.unwrap_or(other.end)
        };
        let other = if side == Side::Inside { Side::Outside } else { Side::Inside };
        (next(side), next(other))
    }
}

//! The machine of Linux: what nf_conntrack makes of segments, by name what tests/kernel holds it to.
//!
//! It differs from RFC 7857's in what a user can see: a RST ends a connection for good, and at once if nothing had
//! answered; segments that the stage does not allow are invalid; nearly every other one restarts the timer, closing
//! stages included; data that nobody acknowledges, or that is repeated, and closed windows make it short. And it
//! follows sequence numbers, because they decide what a RST means.
//!
//! `stages` says which stage a segment leads to, `window` whether it is in the window; this file what comes before and
//! after: segments that pass without counting, connections that begin anew, resets, timers.

mod stages;
mod window;

use natbox_wire::{DropReason, Packet, TcpFlags};

use crate::behavior::TcpWindow;
use crate::tcp::segment::before;
use crate::tcp::{Segment, Stage, Step, Tcp, Timer};
use crate::timers::Side;
use stages::{Next, next};
use window::{End, Place};

/// What a segment is by its flags.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Kind {
    #[default]
    None,
    Syn,
    SynAck,
    Fin,
    Ack,
    Rst,
}

impl Kind {
    /// `None` where flags contradict one another.
    fn of(flags: TcpFlags) -> Option<Kind> {
        let TcpFlags { syn, ack, fin, rst, .. } = flags;
        match (rst, syn, fin, ack) {
            (true, false, false, _) => Some(Kind::Rst),
            (false, true, false, false) => Some(Kind::Syn),
            (false, true, false, true) => Some(Kind::SynAck),
            (false, false, true, true) => Some(Kind::Fin),
            (false, false, false, true) => Some(Kind::Ack),
            _ => None,
        }
    }
}

/// Whether Linux takes a segment for one that may begin anything.
pub(crate) fn is_sound(flags: TcpFlags) -> bool {
    Kind::of(flags).is_some()
}

/// The segment that counted last, or that passed last without counting.
#[derive(Clone, Copy, Debug, Default)]
struct Last {
    kind: Kind,
    outside: bool,
    sequence: u32,
    acknowledgement: u32,
    end: u32,
    window: u16,
    scale: Option<u8>,
    sack_permitted: bool,
    /// It was a SYN on a closing connection: an ACK may be the challenge of RFC 5961, and not that of the last FIN.
    challenges: bool,
    /// What it acknowledged, if it was an ACK that passed without counting: a RST of this number answers it (RFC 9293 section 3.10.7.3).
    asks_for_reset: Option<u32>,
}

/// What Linux keeps of a connection beside its stage.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Entry {
    ends: [End; 2],
    last: Last,
    /// How often the last segment has come again.
    copies: u8,
    /// Something has come from the side that did not begin.
    replied: bool,
    /// Both sides have shown that they take it for established.
    assured: bool,
    /// A SYN has been answered by a SYN.
    simultaneous: bool,
    /// A FIN has begun to close it.
    closed: bool,
}

/// Copies of one acknowledgement from which on the timer is short (`tcp_max_retrans`).
const MOST_COPIES: u8 = 3;

impl Entry {
    /// The entry that a first segment from `side` makes.
    pub(crate) fn begun_by(side: Side, packet: &Packet, flags: TcpFlags) -> Entry {
        let segment = Segment::of(packet, flags);
        let mut entry = Entry::default();
        entry.ends[side as usize] = End::begun_by(&segment);
        if !flags.syn {
            entry.ends.iter_mut().for_each(|end| (end.liberal, end.sack_permitted) = (true, true));
        }
        let kind = Kind::of(flags).unwrap_or_default();
        if flags.syn {
            window::place(&mut entry.ends, (side, true), &segment, Stage::Opening, TcpWindow::Strict);
        }
        entry.last = Last { kind, outside: side == Side::Outside, ..Last::default() };
        entry
    }

    /// What a segment does.
    pub(crate) fn step(&mut self, tcp: Tcp, side: Side, packet: &Packet, flags: TcpFlags, rule: TcpWindow) -> Step {
        let Some(kind) = Kind::of(flags) else { return Step::Refused(DropReason::InvalidSegment) };
        let segment = Segment::of(packet, flags);
        let original = side == tcp.opener();
        let mut old = tcp.stage();
        let mut stage = match next(old, original, kind) {
            Next::Invalid => return Step::Refused(DropReason::InvalidSegment),
            Next::To(Stage::Opening) if old.is_ended() && self.may_begin_anew(side) => return Step::Anew,
            Next::To(stage) if stage != Stage::Opening || !old.is_ended() => stage,
            Next::To(_) | Next::Ignored if self.answers_ignored_syn(kind, side, &segment) => {
                self.begin_again(side);
                old = Stage::Opening;
                Stage::Partial
            }
            Next::To(_) | Next::Ignored => return self.ignore(kind, side, &segment, old, original),
        };
        let mut unquestioned = false;
        match stage {
            Stage::TimeWait if old == Stage::Closing && kind == Kind::Ack && self.is_challenge(side) => {
                self.last.challenges = false;
                return Step::Ignored;
            }
            Stage::Crossed => self.simultaneous = true,
            Stage::Partial if !original && kind == Kind::Ack && self.simultaneous => stage = Stage::Established,
            Stage::Transitory if kind == Kind::Rst => match self.reset(old, side, &segment) {
                Reset::Invalid if rule == TcpWindow::Off => {}
                Reset::Invalid => return Step::Refused(DropReason::OutOfWindow),
                Reset::Unquestioned => unquestioned = true,
                Reset::Exact => {}
                Reset::Inexact => stage = old,
            },
            _ => {}
        }
        if !unquestioned {
            match self.place((side, original), kind, &segment, old, rule) {
                Place::Within => {}
                Place::Ignored => {
                    self.replied |= !original;
                    return Step::Ignored;
                }
                Place::Outside => return self.refuse(kind, side),
            }
        }
        self.count(tcp, side, kind, old, stage)
    }

    /// Whether a SYN on an ended connection forgets it: where a FIN closed it, or the side that sends it reset it.
    fn may_begin_anew(&self, side: Side) -> bool {
        self.closed || self.last.kind == Kind::Rst && self.last.outside == (side == Side::Outside)
    }

    /// Whether this is the answer to a SYN that passed without counting: then both ends know better.
    fn answers_ignored_syn(&self, kind: Kind, side: Side, segment: &Segment) -> bool {
        let last = &self.last;
        let answers = kind == Kind::SynAck && last.kind == Kind::Syn && last.outside != (side == Side::Outside);
        answers && segment.acknowledgement == last.end
    }

    fn begin_again(&mut self, side: Side) {
        let last = self.last;
        self.ends[1 - side as usize] = End::restarted(last.end, last.window, last.scale, last.sack_permitted);
        self.ends[side as usize] = self.ends[side as usize].forgotten();
        self.last.challenges = false;
    }

    fn ignore(&mut self, kind: Kind, side: Side, segment: &Segment, old: Stage, original: bool) -> Step {
        self.last = Last {
            kind,
            outside: side == Side::Outside,
            sequence: segment.sequence,
            acknowledgement: self.last.acknowledgement,
            end: segment.end,
            window: segment.window,
            scale: if kind == Kind::Syn { segment.scale } else { self.last.scale },
            sack_permitted: if kind == Kind::Syn { segment.sack_permitted } else { self.last.sack_permitted },
            challenges: kind == Kind::Syn && original && old == Stage::Closing,
            asks_for_reset: (kind == Kind::Ack).then_some(segment.acknowledgement),
        };
        self.replied |= !original;
        Step::Ignored
    }

    fn is_challenge(&self, side: Side) -> bool {
        let last = &self.last;
        last.kind == Kind::Syn && last.challenges && last.outside != (side == Side::Outside)
    }

    /// What the sequence number of a RST makes of it. Connections that are closing are not worth the question.
    fn reset(&self, old: Stage, side: Side, segment: &Segment) -> Reset {
        if old.is_closing() {
            return Reset::Unquestioned;
        }
        let (last, established) = (&self.last, old == Stage::Established && self.assured);
        let acked = self.ends[1 - side as usize].acked.filter(|_| last.kind != Kind::Syn);
        let mut verdict = Reset::Exact;
        if let Some(acked) = acked {
            if segment.sequence == 0 && !established {
                return Reset::Exact;
            }
            if before(segment.sequence, acked) {
                return Reset::Invalid;
            }
            let follows =
                last.kind == Kind::Ack && last.outside == (side == Side::Outside) && segment.sequence == last.end;
            if !established || segment.sequence == acked || follows {
                return Reset::Exact;
            }
            verdict = Reset::Inexact;
        }
        let answers_ignored = (self.replied && last.kind == Kind::Syn) || (!self.assured && last.kind == Kind::Ack);
        let is_asked_for = last.outside != (side == Side::Outside) && last.asks_for_reset == Some(segment.sequence);
        if answers_ignored && segment.acknowledgement == last.end || is_asked_for {
            return Reset::Unquestioned;
        }
        verdict
    }

    /// Where a segment lies; one that is in the window is remembered.
    fn place(
        &mut self,
        (side, original): (Side, bool),
        kind: Kind,
        segment: &Segment,
        old: Stage,
        rule: TcpWindow,
    ) -> Place {
        let placed = window::place(&mut self.ends, (side, original), segment, old, rule);
        if !matches!(placed, window::Placed::Learnt) {
            return placed.place();
        }
        if kind == Kind::Ack {
            let outside = side == Side::Outside;
            let acknowledgement = segment.acknowledgement;
            let last = Last {
                kind,
                outside,
                sequence: segment.sequence,
                acknowledgement,
                end: segment.end,
                window: segment.window,
                ..self.last
            };
            let same =
                (self.last.outside, self.last.sequence, self.last.acknowledgement, self.last.end, self.last.window)
                    == (outside, last.sequence, acknowledgement, last.end, last.window);
            self.copies = if same { self.copies.saturating_add(1) } else { 0 };
            self.last = last;
        }
        Place::Within
    }

    /// An out-of-window segment; FINs and RSTs among them are remembered. When they come from both sides, what is known of
    /// the connection is wrong, and it has probably ended.
    fn refuse(&mut self, kind: Kind, side: Side) -> Step {
        let outside = side == Side::Outside;
        if self.assured && matches!(kind, Kind::Fin | Kind::Rst) {
            if self.last.outside != outside && matches!(self.last.kind, Kind::Fin | Kind::Rst) {
                return Step::Doubted(DropReason::OutOfWindow);
            }
            (self.last.kind, self.last.outside) = (kind, outside);
        }
        Step::Refused(DropReason::OutOfWindow)
    }

    /// A segment that counts.
    fn count(&mut self, tcp: Tcp, side: Side, kind: Kind, old: Stage, stage: Stage) -> Step {
        (self.last.kind, self.last.outside, self.last.asks_for_reset) = (kind, side == Side::Outside, None);
        self.closed |= old != stage && stage == Stage::HalfClosed;
        let unacknowledged = self.ends.iter().any(|end| end.unacknowledged);
        let mut timer = match kind {
            _ if self.copies >= MOST_COPIES => Timer::Short,
            Kind::Rst => Timer::Reset,
            _ if unacknowledged || self.last.window == 0 => Timer::Short,
            _ => Timer::Restart,
        };
        if !self.replied {
            timer = match kind {
                Kind::Rst => Timer::End,
                // A host that goes on asking in vain keeps no mapping.
                Kind::Syn if old == Stage::Opening => Timer::Keep,
                _ if stage == Stage::Established => Timer::Short,
                _ => timer,
            };
        } else if matches!(old, Stage::Partial | Stage::Established) && stage == Stage::Established {
            self.assured = true;
        }
        self.replied |= side != tcp.opener();
        let next = if stage == Stage::Crossed { tcp.crossing() } else { tcp };
        Step::To(next.at(stage), timer)
    }
}

/// What a RST is by its sequence number.
enum Reset {
    /// Older than what has been acknowledged.
    Invalid,
    /// No window is looked at.
    Unquestioned,
    /// It ends the connection, if it is in the window.
    Exact,
    /// It may be forged (RFC 5961): the timer runs as after a RST, and any other segment cures that.
    Inexact,
}

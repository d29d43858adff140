//! A connection as Linux follows it: what net/netfilter/nf_conntrack_proto_tcp.c makes of segments.
//!
//! It differs from RFC 7857's machine in what a user can see: segments that the state does not allow, or that lie far
//! outside the window, are invalid; a RST ends the connection for good, and at once if nothing had been answered;
//! every segment that counts restarts the timer, closing states included; data that nobody acknowledges, the same
//! acknowledgement again and again and a closed window shorten it.
//!
//! Linux also remembers SYNs that do not fit, and gets in step when a SYN/ACK answers one: the ends may have begun anew
//! behind its back. `tests/kernel` holds all of this against the kernel.
//!
//! Left out: SACK blocks; URG; the table's pressure, under which Linux ends closing connections early.

mod states;
mod window;

use std::time::Duration;

use natbox_wire::{Packet, TcpFlags};

use crate::behavior::TcpWindow;
use crate::tcp::{Lifetimes, Stage};
use crate::timers::Side;

use states::{Kind, Next, State};
use window::{Judgement, Segment, Sent, before};

/// What is known of a connection.
#[derive(Clone, Debug)]
pub(crate) struct Connection {
    /// `None` until its first segment has been judged.
    state: Option<State>,
    opener: Side,
    /// By side.
    sent: [Sent; 2],
    last: Last,
    /// A segment of the side that did not begin has passed.
    replied: bool,
    /// So has one in an established connection after that (ASSURED).
    assured: bool,
    /// SYNs have crossed.
    crossed: bool,
    /// The same acknowledgement, so many times after the first.
    repeats: u8,
}

/// The last segment that was looked at, or ignored.
#[derive(Clone, Copy, Debug, Default)]
struct Last {
    kind: Option<Kind>,
    side: Option<Side>,
    sequence: u32,
    end: u32,
    acknowledgement: u32,
    window: u16,
    /// The window scale that an ignored SYN offered.
    scale: Option<u8>,
    /// An ignored SYN may be answered with a challenge (RFC 5961), which acknowledges no FIN.
    challenged: bool,
}

/// What becomes of a segment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Followed {
    /// It passes and moves no timer.
    Passes,
    /// It passes, and the connection lives for so long.
    Lives(Duration),
    /// It passes, and the connection ends.
    Ends,
    /// The connection ends, and the segment is to be looked at anew.
    BeginsAnew,
    /// It does not pass: its state or its flags do not allow it.
    Invalid,
    /// It does not pass: it lies outside of the window. It may show that the connection, if it is to live for much
    /// longer, should live for so long at most.
    OutOfWindow(Option<Duration>),
}

/// The number of repeated acknowledgements that count as retransmissions without an answer (tcp_max_retrans).
const MOST_REPEATS: u8 = 3;

impl Connection {
    /// Whether a connection may begin with a segment: a SYN, or an ACK that it is picked up with.
    pub(crate) fn begins(flags: TcpFlags) -> bool {
        matches!(Kind::of(flags), Some(Kind::Syn | Kind::Ack))
    }

    /// A connection that begins with a segment from this side, and what becomes of the segment.
    pub(crate) fn begin(
        packet: &Packet,
        flags: TcpFlags,
        opener: Side,
        rule: TcpWindow,
        lifetimes: &Lifetimes,
    ) -> (Connection, Followed) {
        let segment = Segment::of(packet, flags);
        let mut connection = Connection {
            state: None,
            opener,
            sent: [Sent::default(); 2],
            last: Last::default(),
            replied: false,
            assured: false,
            crossed: false,
            repeats: 0,
        };
        let sent = &mut connection.sent[opener as usize];
        if flags.syn {
            sent.begin(segment);
        } else {
            sent.begin_late(segment);
            connection.sent.iter_mut().for_each(|sent| sent.liberal = true);
        }
        let followed = connection.follow(packet, flags, opener, rule, lifetimes);
        (connection, followed)
    }

    /// What the rest of the engine takes its state for.
    pub(crate) fn stage(&self) -> Stage {
        match self.state {
            Some(State::Established) if !self.replied => Stage::PickedUp,
            state => state.map_or(Stage::Opening, State::stage),
        }
    }

    /// Whether SYNs have crossed.
    pub(crate) fn crossed(&self) -> bool {
        self.crossed
    }

    /// What becomes of a segment from this side.
    pub(crate) fn follow(
        &mut self,
        packet: &Packet,
        flags: TcpFlags,
        side: Side,
        rule: TcpWindow,
        lifetimes: &Lifetimes,
    ) -> Followed {
        let segment = Segment::of(packet, flags);
        let Some(kind) = Kind::of(flags) else { return Followed::Invalid };
        let followed = self.step(segment, kind, side, rule, lifetimes);
        let passes = matches!(followed, Followed::Passes | Followed::Lives(_) | Followed::Ends);
        if passes && side != self.opener {
            self.replied = true;
        }
        followed
    }

    fn step(&mut self, segment: Segment, kind: Kind, side: Side, rule: TcpWindow, lifetimes: &Lifetimes) -> Followed {
        let original = side == self.opener;
        let mut old = self.state;
        let next = match old {
            Some(state) => state.next(kind, original),
            None if kind == Kind::Syn => Next::To(State::SynSent),
            None => Next::To(State::Established),
        };
        let mut new = match next {
            Next::Invalid => return Followed::Invalid,
            Next::To(State::SynSent) if matches!(old, Some(State::TimeWait | State::Close)) => {
                if self.may_begin_anew(side) {
                    return Followed::BeginsAnew;
                }
                return self.ignore(segment, kind, side);
            }
            Next::Ignore if self.answers_ignored_syn(segment, kind, side) => {
                self.get_in_step(side);
                old = Some(State::SynSent);
                State::SynRecv
            }
            Next::Ignore => return self.ignore(segment, kind, side),
            Next::To(state) => state,
        };
        match new {
            State::TimeWait if old == Some(State::LastAck) && self.is_challenge(kind, side) => {
                self.last.challenged = false;
                return Followed::Passes;
            }
            State::SynSent2 => self.crossed = true,
            State::SynRecv if !original && kind == Kind::Ack && self.crossed => new = State::Established,
            _ => {}
        }
        let judged = match (kind, old) {
            (Kind::Rst, Some(state)) => match self.judge_reset(state, segment, side, rule) {
                Reset::Counts => false,
                Reset::InWindow(state) => {
                    new = state;
                    true
                }
                Reset::Invalid => return Followed::OutOfWindow(None),
            },
            _ => true,
        };
        if judged {
            match self.judge(segment, kind, side, rule) {
                Judgement::Accept | Judgement::Believed => {}
                Judgement::Ignore => return Followed::Passes,
                Judgement::Invalid => return Followed::OutOfWindow(self.out_of_step(kind, side, lifetimes)),
            }
        }
        self.reach(old, new, kind, side, lifetimes)
    }

    /// The segment counts: the state changes, the timer starts anew.
    fn reach(&mut self, old: Option<State>, new: State, kind: Kind, side: Side, lifetimes: &Lifetimes) -> Followed {
        (self.last.kind, self.last.side) = (Some(kind), Some(side));
        self.state = Some(new);
        if new == State::FinWait && old != Some(new) {
            self.sent[side as usize].closed_first = true;
        }
        let mut lifetime = self.lifetime(new, kind, lifetimes);
        if !self.replied {
            // A RST as the only answer says that there is no connection (and so does one of the side that began).
            if kind == Kind::Rst {
                return Followed::Ends;
            }
            // Repeated SYNs do not keep the port of a host that nobody answers.
            if kind == Kind::Syn && old == Some(State::SynSent) {
                return Followed::Passes;
            }
            if new == State::Established {
                lifetime = lifetime.min(lifetimes.unanswered());
            }
        } else if new == State::Established && matches!(old, Some(State::SynRecv | State::Established)) {
            self.assured = true;
        }
        Followed::Lives(lifetime)
    }

    fn lifetime(&self, new: State, kind: Kind, lifetimes: &Lifetimes) -> Duration {
        let own = lifetimes.of_stage(new.stage());
        let waits = self.sent.iter().any(|sent| sent.waits);
        match kind {
            _ if self.repeats >= MOST_REPEATS && own > lifetimes.unanswered() => lifetimes.unanswered(),
            Kind::Rst => lifetimes.of_stage(Stage::Transitory),
            _ if waits || self.last.window == 0 => own.min(lifetimes.unanswered()),
            _ => own,
        }
    }

    /// Whether a SYN on a closed connection begins another: after FINs, or after a RST of the same side.
    fn may_begin_anew(&self, side: Side) -> bool {
        let closed = self.sent.iter().any(|sent| sent.closed_first);
        closed || self.last.side == Some(side) && self.last.kind == Some(Kind::Rst)
    }

    /// A segment passes and is remembered: it may tell what the ends know better.
    fn ignore(&mut self, segment: Segment, kind: Kind, side: Side) -> Followed {
        self.last.kind = Some(kind);
        self.last.side = Some(side);
        self.last.sequence = segment.sequence;
        self.last.end = segment.end;
        self.last.window = segment.window;
        let original = side == self.opener;
        if kind == Kind::Syn && original {
            self.last.scale = segment.scale();
            self.last.challenged = self.state == Some(State::LastAck);
            self.crossed = false;
        }
        if kind == Kind::Ack && !original && self.state == Some(State::SynSent) {
            self.last.acknowledgement = segment.acknowledgement;
        }
        Followed::Passes
    }

    /// Whether a SYN/ACK answers the SYN that was ignored last.
    fn answers_ignored_syn(&self, segment: Segment, kind: Kind, side: Side) -> bool {
        kind == Kind::SynAck
            && self.last.kind == Some(Kind::Syn)
            && self.last.side.is_some_and(|last| last != side)
            && segment.acknowledgement == self.last.end
    }

    /// The ends have begun anew with the ignored SYN: so does the box. `side` answers.
    fn get_in_step(&mut self, side: Side) {
        let Last { end, window, scale, .. } = self.last;
        self.last.challenged = false;
        let liberal = self.sent[side as usize].liberal;
        self.sent[side as usize] = Sent { liberal, ..Sent::default() };
        let other = &mut self.sent[1 - side as usize];
        *other = Sent {
            end,
            edge: end,
            window: u32::from(window).max(1),
            scale: scale.unwrap_or(0),
            scales: scale.is_some(),
            ..Sent::default()
        };
    }

    /// Whether an ACK is the challenge (RFC 5961 section 4) that an ignored SYN was answered with.
    fn is_challenge(&self, kind: Kind, side: Side) -> bool {
        kind == Kind::Ack
            && self.last.challenged
            && self.last.kind == Some(Kind::Syn)
            && self.last.side.is_some_and(|last| last != side)
    }

    fn is_established(&self) -> bool {
        self.state == Some(State::Established) && self.assured
    }

    /// What a RST is worth (RFC 5961 section 3): exact, it ends the connection; elsewhere in the window it leaves the
    /// state as it is, for it may be challenged.
    fn judge_reset(&self, old: State, segment: Segment, side: Side, rule: TcpWindow) -> Reset {
        if old.is_closing() {
            return Reset::Counts;
        }
        let mut new = State::Close;
        let last = &self.last;
        if let Some(expected) = self.sent[1 - side as usize].acknowledged
            && last.kind != Some(Kind::Syn)
        {
            if segment.sequence == 0 && !self.is_established() {
                return Reset::InWindow(new);
            }
            if before(segment.sequence, expected) && rule != TcpWindow::Off {
                return Reset::Invalid;
            }
            let follows = last.kind == Some(Kind::Ack) && last.side == Some(side) && segment.sequence == last.end;
            if !self.is_established() || segment.sequence == expected || follows {
                return Reset::InWindow(new);
            }
            new = old;
        }
        let answers_syn = self.replied && last.kind == Some(Kind::Syn);
        let answers_ack = !self.assured && last.kind == Some(Kind::Ack);
        if (answers_syn || answers_ack) && segment.acknowledgement == last.end {
            return Reset::Counts;
        }
        let answers_challenge = old == State::SynSent
            && last.kind == Some(Kind::Ack)
            && last.side.is_some_and(|last| last != self.opener)
            && segment.sequence == last.acknowledgement;
        if answers_challenge { Reset::Counts } else { Reset::InWindow(new) }
    }

    /// Judges a segment by the window.
    fn judge(&mut self, segment: Segment, kind: Kind, side: Side, rule: TcpWindow) -> Judgement {
        let [inside, outside] = &mut self.sent;
        let (sender, receiver) = match side {
            Side::Inside => (inside, outside),
            Side::Outside => (outside, inside),
        };
        let reply = side != self.opener;
        let liberal = rule != TcpWindow::Strict;
        let judgement = window::judge(sender, receiver, segment, self.state, reply, liberal);
        if judgement == Judgement::Accept && kind == Kind::Ack {
            self.count_repeats(segment, side);
        }
        judgement
    }

    /// The same acknowledgement again is a sign that nobody answers.
    fn count_repeats(&mut self, segment: Segment, side: Side) {
        let last = &mut self.last;
        let seen = (last.side, last.sequence, last.acknowledgement, last.end, last.window);
        let Segment { sequence, acknowledgement, end, window, .. } = segment;
        if seen == (Some(side), sequence, acknowledgement, end, window) {
            self.repeats = self.repeats.saturating_add(1);
            return;
        }
        (last.side, last.sequence, last.acknowledgement) = (Some(side), sequence, acknowledgement);
        (last.end, last.window) = (end, window);
        self.repeats = 0;
    }

    /// A FIN or RST lies outside of the window. After one of the other side the ends are likely to be done, and the box
    /// out of step: tells how long the connection may then live at most.
    fn out_of_step(&mut self, kind: Kind, side: Side, lifetimes: &Lifetimes) -> Option<Duration> {
        let ends = |kind: Kind| matches!(kind, Kind::Fin | Kind::Rst);
        if !self.assured || !ends(kind) {
            return None;
        }
        if self.last.side.is_some_and(|last| last != side) && self.last.kind.is_some_and(ends) {
            return Some(lifetimes.unanswered());
        }
        (self.last.kind, self.last.side) = (Some(kind), Some(side));
        None
    }
}

/// What a RST is worth.
enum Reset {
    /// It ends the connection, wherever it lies.
    Counts,
    /// It leads to this state, if it lies in the window.
    InWindow(State),
    /// It does not pass.
    Invalid,
}

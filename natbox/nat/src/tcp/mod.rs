//! What a NAT knows of a TCP connection (RFC 5382, RFC 7857 section 2, RFC 6146 section 3.5.2).
//!
//! `machine` steps a connection on flags, `netfilter` does it as Linux does, sequence numbers included; `lifetimes`
//! says how long each stage lives. `window` follows sequence numbers where an axis asks for them. `passage` is what the road of a packet
//! (`realm`) does with segments, `unsolicited` what becomes of packets from outside that nobody asked for, `notice`
//! what the two ends are told when a connection has been idle for too long.
//!
//! ```text
//!            SYN of one side            SYN of the other          ACKs both ways
//!   (none) ------------------> Opening ------------------> Partial --------------> Established
//!                                        (or at once, as tcp_established_on says)
//!
//!                  FIN            ACK              FIN of the other       ACK
//!   Established -------> HalfClosed ---> CloseWait ----------------> Closing ---> TimeWait
//!        |                                                             |             |
//!        +--- RST (also half closed) ---> Transitory ---+--------------+--- SYN -----+---> Opening (tcp_reopen)
//!        +<-------- anything but RST -------------------+
//! ```
//!
//! Departures from the figure in RFC 7857: a RST counts in the half-closed stages too (its section 2.2 speaks of any
//! matching RST), and a new SYN may open a closed connection again. A machine only observes; what refuses a segment
//! is an axis of its own.

mod lifetimes;
mod machine;
mod netfilter;
mod notice;
pub(crate) mod passage;
mod segment;
pub(crate) mod unsolicited;
mod window;

use natbox_wire::{DropReason, TcpFlags};

use crate::timers::Side;

pub(crate) use lifetimes::Lifetimes;
pub(crate) use netfilter::Entry;
pub(crate) use segment::Segment;
pub(crate) use unsolicited::HeldSyns;
pub(crate) use window::Track;

/// How far a connection has come. In brackets what Linux calls it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub(crate) enum Stage {
    /// A SYN of one side (SYN_SENT).
    Opening,
    /// A SYN of both sides, and no ACK yet (SYN_SENT2); only the machine of Linux tells it from `Partial`.
    Crossed,
    /// SYNs of both sides (SYN_RECV).
    Partial,
    /// Data may flow (ESTABLISHED).
    Established,
    /// As established, but nobody saw it opened, and the other side has not answered.
    PickedUp,
    /// A FIN of one side; data of the other may go on for as long as it likes (FIN_WAIT).
    HalfClosed,
    /// That FIN has been acknowledged (CLOSE_WAIT).
    CloseWait,
    /// FINs both ways (LAST_ACK).
    Closing,
    /// The last FIN has been acknowledged (TIME_WAIT).
    TimeWait,
    /// A RST came, or nothing for the whole lifetime; whatever follows in time shows that the connection lives (CLOSE).
    Transitory,
}

const STAGES: [Stage; 10] = [
    Stage::Opening,
    Stage::Crossed,
    Stage::Partial,
    Stage::Established,
    Stage::PickedUp,
    Stage::HalfClosed,
    Stage::CloseWait,
    Stage::Closing,
    Stage::TimeWait,
    Stage::Transitory,
];

/// The state of a connection in one byte: its stage, which side opened it, whether both have sent a SYN without ACK,
/// and a mark for each side that the stage gives its meaning: who has sent an ACK (partial), a FIN (half closed,
/// close-wait), the last FIN (closing). Linux uses no marks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Tcp(u8);

const STAGE: u8 = 0x0F;
const OPENER: u8 = 0x10;
const MARKS: u8 = 0x60;
const CROSSED: u8 = 0x80;

/// What a segment does to a connection's timer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Timer {
    /// Nothing.
    Keep,
    /// It runs anew, for as long as the stage that was reached lives.
    Restart,
    /// The same, but at most for as long as unacknowledged data is waited for.
    Short,
    /// It runs anew as after a RST, whatever the stage.
    Reset,
    /// The session is over at once.
    End,
}

/// What a machine makes of a segment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Step {
    /// It passes, and this is how the connection goes on.
    To(Tcp, Timer),
    /// It passes and counts for nothing.
    Ignored,
    /// It is dropped.
    Refused(DropReason),
    /// It is dropped, and a connection that would live for long lives only for as long as unacknowledged data is waited for.
    Doubted(DropReason),
    /// The connection is forgotten; the segment is a first one.
    Anew,
}

impl Stage {
    /// Whether the connection has been closed, or reset.
    fn is_ended(self) -> bool {
        matches!(self, Stage::TimeWait | Stage::Transitory)
    }

    /// Whether it has at least begun to close.
    fn is_closing(self) -> bool {
        matches!(self, Stage::HalfClosed | Stage::CloseWait | Stage::Closing) || self.is_ended()
    }
}

impl Tcp {
    /// What a record that holds no session has.
    pub(crate) const NONE: Tcp = Tcp(Stage::Established as u8);

    /// Whether a segment may open a session: a SYN, and no answer to one.
    pub(crate) fn opens(flags: TcpFlags) -> bool {
        flags.syn && !flags.ack && !flags.rst
    }

    /// The state that a session opened from this side begins in.
    pub(crate) fn opened_from(side: Side) -> Tcp {
        Tcp(Stage::Opening as u8 | if side == Side::Outside { OPENER } else { 0 })
    }

    /// The state of a connection that this side was first seen to use, at this stage.
    pub(crate) fn found_by(side: Side, stage: Stage) -> Tcp {
        Tcp::opened_from(side).at(stage)
    }

    /// The same connection, of which nobody knows whether it still lives.
    pub(crate) fn transitory(self) -> Tcp {
        self.at(Stage::Transitory)
    }

    /// How far it has come.
    pub(crate) fn stage(self) -> Stage {
        STAGES.get(usize::from(self.0 & STAGE)).copied().unwrap_or(Stage::Established)
    }

    /// The side whose packet opened it.
    pub(crate) fn opener(self) -> Side {
        if self.0 & OPENER == 0 { Side::Inside } else { Side::Outside }
    }

    /// Whether both sides have sent a SYN without ACK: a simultaneous open.
    pub(crate) fn crossed(self) -> bool {
        self.0 & CROSSED != 0
    }

    /// Whether the connection has ended, as far as FINs and RSTs tell.
    pub(crate) fn is_over(self) -> bool {
        matches!(self.stage(), Stage::Closing | Stage::TimeWait | Stage::Transitory)
    }

    fn bit(side: Side) -> u8 {
        match side {
            Side::Inside => 0x20,
            Side::Outside => 0x40,
        }
    }

    fn is_marked(self, side: Side) -> bool {
        self.0 & Tcp::bit(side) != 0
    }

    fn is_marked_twice(self) -> bool {
        self.0 & MARKS == MARKS
    }

    /// The same at another stage, without marks.
    fn at(self, stage: Stage) -> Tcp {
        Tcp(self.0 & (OPENER | CROSSED) | stage as u8)
    }

    fn marked(self, side: Side) -> Tcp {
        Tcp(self.0 | Tcp::bit(side))
    }

    fn crossing(self) -> Tcp {
        Tcp(self.0 | CROSSED)
    }
}

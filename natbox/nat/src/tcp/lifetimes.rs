//! How long a connection may be idle at each stage.

use std::time::Duration;

use crate::behavior::Timeouts;
use crate::tcp::{Stage, Timer};

/// The lifetimes of TCP, ready for the packet path.
#[derive(Clone, Debug)]
pub(crate) struct Lifetimes {
    opening: Duration,
    partial_open: Duration,
    established: Duration,
    unacknowledged: Duration,
    half_closed: Duration,
    close_wait: Duration,
    closing: Duration,
    time_wait: Option<Duration>,
    reset: Duration,
}

impl Lifetimes {
    pub(crate) fn of(timeouts: &Timeouts) -> Lifetimes {
        Lifetimes {
            opening: timeouts.tcp_opening,
            partial_open: timeouts.tcp_partial_open(),
            established: timeouts.tcp_established,
            unacknowledged: timeouts.tcp_unacknowledged(),
            half_closed: timeouts.tcp_half_closed(),
            close_wait: timeouts.tcp_close_wait(),
            closing: timeouts.tcp_closing,
            time_wait: timeouts.tcp_time_wait,
            reset: timeouts.tcp_reset(),
        }
    }

    /// How long a connection lives that has come so far; `None` if it goes on with what it had: where TIME-WAIT has
    /// no lifetime of its own, the closing one goes on (RFC 6146 section 3.5.2.2).
    pub(crate) fn at(&self, stage: Stage) -> Option<Duration> {
        Some(match stage {
            Stage::Opening | Stage::Crossed => self.opening,
            Stage::Partial => self.partial_open,
            Stage::Established => self.established,
            Stage::PickedUp => self.established.min(self.unacknowledged),
            Stage::HalfClosed => self.half_closed,
            Stage::CloseWait => self.close_wait,
            Stage::Closing => self.closing,
            Stage::TimeWait => return self.time_wait,
            Stage::Transitory => self.reset,
        })
    }

    /// How long a connection at this stage lives after a segment; `None` if the segment moves nothing.
    pub(crate) fn after(&self, timer: Timer, stage: Stage) -> Option<Duration> {
        match timer {
            Timer::Keep => None,
            Timer::Restart => self.at(stage),
            Timer::Short => self.at(stage).map(|lifetime| lifetime.min(self.unacknowledged)),
            Timer::Reset => Some(self.reset),
            Timer::End => Some(Duration::ZERO),
        }
    }

    /// How long a connection lives after the SYN that opens it.
    pub(crate) fn opening(&self) -> Duration {
        self.opening
    }
}

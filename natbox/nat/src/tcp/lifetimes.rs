//! How long a connection may be idle at each stage.

use std::time::Duration;

use crate::behavior::Timeouts;
use crate::tcp::Stage;

/// The lifetimes of TCP, ready for the packet path.
#[derive(Clone, Debug)]
pub(crate) struct Lifetimes {
    opening: Duration,
    partial_open: Duration,
    established: Duration,
    pickup: Duration,
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
            pickup: timeouts.tcp_pickup(),
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
            Stage::PickedUp => self.pickup,
            Stage::HalfClosed => self.half_closed,
            Stage::CloseWait => self.close_wait,
            Stage::Closing => self.closing,
            Stage::TimeWait => return self.time_wait,
            Stage::Transitory => self.reset,
        })
    }

    /// How long a connection lives at this stage, TIME-WAIT as closing where it has no lifetime of its own.
    pub(crate) fn of_stage(&self, stage: Stage) -> Duration {
        self.at(stage).unwrap_or(self.closing)
    }

    /// How long a connection lives whose segments nobody answers.
    pub(crate) fn unanswered(&self) -> Duration {
        self.pickup
    }

    /// How long a connection lives after the SYN that opens it.
    pub(crate) fn opening(&self) -> Duration {
        self.opening
    }
}

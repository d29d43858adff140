//! How much programs do while no time passes.
//!
//! What a host sends to itself arrives at once: programs that feed each other there would keep the executor busy for ever,
//! and never let an event happen. Every call that may wait counts for its host; one too many waits until somebody runs the
//! world again, and the run ends with an error that names the host.
//!
//! A program that computes for ever without calling its host is nobody's business here.

use std::task::{Poll, Waker};

use super::State;
use crate::note::NodeId;

/// The calls of all hosts' programs.
pub(crate) struct Pace {
    /// How many calls the programs of a host may make in a row.
    pub(crate) limit: u64,
    /// Rows so far.
    row: u64,
    spinning: Option<NodeId>,
    /// Who waits for the world to be run again.
    paused: Vec<Waker>,
}

/// The calls of one host's programs in a row.
#[derive(Clone, Copy, Default)]
pub(crate) struct Calls {
    row: u64,
    count: u64,
}

impl Pace {
    pub(crate) fn new(limit: u64) -> Pace {
        Pace { limit, row: 1, spinning: None, paused: Vec::new() }
    }

    /// Something else has happened: counting begins anew.
    pub(crate) fn event(&mut self) {
        self.row += 1;
    }

    /// The first host whose programs have called too often.
    pub(crate) fn spinning(&self) -> Option<NodeId> {
        self.spinning
    }

    /// The world is run again: those who wait for it may go on.
    pub(crate) fn resume(&mut self) -> Vec<Waker> {
        self.event();
        self.spinning = None;
        std::mem::take(&mut self.paused)
    }
}

impl State {
    /// Counts a call of a host's program, which may go on when this is ready.
    pub(crate) fn take_turn(&mut self, node: NodeId, waker: &Waker) -> Poll<()> {
        let (row, limit) = (self.pace.row, self.pace.limit);
        let calls = &mut self.host(node).calls;
        if calls.row != row {
            *calls = Calls { row, count: 0 };
        }
        if calls.count < limit {
            calls.count += 1;
            return Poll::Ready(());
        }
        self.pace.spinning.get_or_insert(node);
        self.pace.paused.push(waker.clone());
        Poll::Pending
    }
}

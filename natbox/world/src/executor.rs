//! Programs in virtual time: run them until all wait, then let the next event happen.
//!
//! Programs are futures on one thread, woken in the order of events and asking. The clock jumps from event to event
//! and never rounds.

use std::cell::RefCell;
use std::fmt;
use std::future::Future;
use std::pin::{Pin, pin};
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll, Wake, Waker};
use std::time::Duration;

use futures::executor::LocalPool;
use natbox_wire::Time;

use crate::queue::Ticket;
use crate::state::State;

/// Why a world did not go on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stalled {
    /// Every program waits, and nothing is left that could wake one.
    Idle {
        /// The time.
        at: Time,
    },
    /// As many events happened as one call allows: somebody answers somebody for ever.
    TooManyEvents {
        /// The time.
        at: Time,
        /// How many happened.
        limit: u64,
    },
}

impl fmt::Display for Stalled {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Stalled::Idle { at } => write!(
                f,
                "at {at} every program waits and nothing is left to happen: what is waited for never comes, \
                 so give the wait a deadline"
            ),
            Stalled::TooManyEvents { at, limit } => write!(
                f,
                "stopped at {at} after {limit} events: look for two that answer each other for ever, or raise the limit"
            ),
        }
    }
}

impl std::error::Error for Stalled {}

/// Runs programs and events until `future` is done. It goes first whenever it can go on.
pub(crate) fn run_until<F: Future>(
    pool: &mut LocalPool,
    state: &RefCell<State>,
    limit: u64,
    future: F,
) -> Result<F::Output, Stalled> {
    let mut future = pin!(future);
    let woken = Arc::new(Woken(AtomicBool::new(true)));
    let waker = Waker::from(woken.clone());
    let mut context = Context::from_waker(&waker);
    let mut budget = limit;
    loop {
        if woken.take()
            && let Poll::Ready(result) = future.as_mut().poll(&mut context)
        {
            return Ok(result);
        }
        pool.run_until_stalled();
        if !woken.is_set() && !state.borrow_mut().advance(Time::MAX, &mut budget) {
            return Err(stalled(state.borrow().now(), budget, limit));
        }
    }
}

/// Runs programs and events for this long.
pub(crate) fn run_for(
    pool: &mut LocalPool,
    state: &RefCell<State>,
    limit: u64,
    duration: Duration,
) -> Result<(), Stalled> {
    let deadline = state.borrow().now() + duration;
    let mut budget = limit;
    loop {
        pool.run_until_stalled();
        if !state.borrow_mut().advance(deadline, &mut budget) {
            break;
        }
    }
    if budget == 0 {
        return Err(stalled(state.borrow().now(), budget, limit));
    }
    state.borrow_mut().rest_until(deadline);
    Ok(())
}

fn stalled(at: Time, budget: u64, limit: u64) -> Stalled {
    match budget {
        0 => Stalled::TooManyEvents { at, limit },
        _ => Stalled::Idle { at },
    }
}

/// Whether the awaited future has been woken.
struct Woken(AtomicBool);

impl Woken {
    fn take(&self) -> bool {
        self.0.swap(false, Ordering::Relaxed)
    }

    fn is_set(&self) -> bool {
        self.0.load(Ordering::Relaxed)
    }
}

impl Wake for Woken {
    fn wake(self: Arc<Self>) {
        self.0.store(true, Ordering::Relaxed);
    }
}

/// Waits until `deadline`; at once if it has passed.
pub(crate) fn sleep_until(state: Rc<RefCell<State>>, deadline: Time) -> Sleep {
    Sleep { state, deadline, ticket: None }
}

/// A program's wait. Dropping it takes the event back, so that nobody's patience prolongs a world's life.
pub(crate) struct Sleep {
    state: Rc<RefCell<State>>,
    deadline: Time,
    ticket: Option<Ticket>,
}

impl Future for Sleep {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<()> {
        let state = self.state.clone();
        let mut state = state.borrow_mut();
        if state.now() >= self.deadline {
            return Poll::Ready(());
        }
        match self.ticket {
            Some(ticket) => state.rewake(ticket, context.waker()),
            None => self.ticket = Some(state.wake_at(self.deadline, context.waker().clone())),
        }
        Poll::Pending
    }
}

impl Drop for Sleep {
    fn drop(&mut self) {
        if let Some(ticket) = self.ticket {
            self.state.borrow_mut().forget_wake(ticket);
        }
    }
}

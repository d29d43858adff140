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

use crate::note::NodeId;
use crate::queue::Ticket;
use crate::state::State;

/// Why a world did not go on.
#[derive(Clone, Debug, PartialEq, Eq)]
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
    /// The programs of one host made as many calls as they may while nothing else happens: they feed each other, or one
    /// feeds itself, and no time passes.
    Spinning {
        /// The time.
        at: Time,
        /// The host's name.
        host: Box<str>,
        /// How many calls they made.
        limit: u64,
    },
    /// More is under way at once than a world holds: packets beget packets.
    TooManyPending {
        /// The time.
        at: Time,
        /// How many events may be pending.
        limit: usize,
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
            Stalled::Spinning { at, host, limit } => write!(
                f,
                "stopped at {at} after {limit} calls of programs on {host} with no event between them: look for one that \
                 answers itself, or two that answer each other on one host"
            ),
            Stalled::TooManyPending { at, limit } => write!(
                f,
                "stopped at {at} with more than {limit} packets and timers pending: look for packets that multiply, \
                 as in a loop with duplication"
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
    let woken = Arc::new(Woken { set: AtomicBool::new(true), alarm: alarm(state) });
    let waker = Waker::from(woken.clone());
    let mut context = Context::from_waker(&waker);
    let mut budget = limit;
    resume(state);
    loop {
        if woken.take()
            && let Poll::Ready(result) = future.as_mut().poll(&mut context)
        {
            return Ok(result);
        }
        pool.run_until_stalled();
        if let Some(spinning) = spinning(&state.borrow()) {
            return Err(spinning);
        }
        if !woken.is_set() && !state.borrow_mut().advance(Time::MAX, &mut budget, &|| woken.is_set()) {
            return Err(stalled(&state.borrow(), budget, limit));
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
    resume(state);
    loop {
        pool.run_until_stalled();
        if let Some(spinning) = spinning(&state.borrow()) {
            return Err(spinning);
        }
        if !state.borrow_mut().advance(deadline, &mut budget, &|| false) {
            break;
        }
    }
    if budget == 0 || state.borrow().is_overfull() && state.borrow().door.is_none() {
        return Err(stalled(&state.borrow(), budget, limit));
    }
    state.borrow_mut().rest_until(deadline);
    Ok(())
}

/// Lets programs go on that were stopped for spinning.
fn resume(state: &RefCell<State>) {
    let paused = state.borrow_mut().pace.resume();
    paused.into_iter().for_each(Waker::wake);
}

/// What ends the wait of a world that waits.
fn alarm(state: &RefCell<State>) -> Option<Waker> {
    state.borrow().door.as_ref().map(|door| door.outside.alarm())
}

fn spinning(state: &State) -> Option<Stalled> {
    let host = state.node(state.pace.spinning()?).name.clone();
    Some(Stalled::Spinning { at: state.now(), host, limit: state.pace.limit })
}

fn stalled(state: &State, budget: u64, limit: u64) -> Stalled {
    let at = state.now();
    match budget {
        _ if state.is_overfull() => Stalled::TooManyPending { at, limit: state.most_pending() },
        0 => Stalled::TooManyEvents { at, limit },
        _ => Stalled::Idle { at },
    }
}

/// Whether the awaited future has been woken.
struct Woken {
    set: AtomicBool,
    /// Ends the wait of a world that waits.
    alarm: Option<Waker>,
}

impl Woken {
    fn take(&self) -> bool {
        self.set.swap(false, Ordering::Acquire)
    }

    fn is_set(&self) -> bool {
        self.set.load(Ordering::Acquire)
    }
}

impl Wake for Woken {
    fn wake(self: Arc<Self>) {
        self.set.store(true, Ordering::Release);
        if let Some(alarm) = &self.alarm {
            alarm.wake_by_ref();
        }
    }
}

/// Waits until `deadline`; at once if it has passed. A host's programs may do so only so often.
pub(crate) fn sleep_until(state: Rc<RefCell<State>>, host: Option<NodeId>, deadline: Time) -> Sleep {
    Sleep { state, host, deadline, ticket: None }
}

/// A program's wait. Dropping it takes the event back, so that nobody's patience prolongs a world's life.
pub(crate) struct Sleep {
    state: Rc<RefCell<State>>,
    host: Option<NodeId>,
    deadline: Time,
    ticket: Option<Ticket>,
}

impl Future for Sleep {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<()> {
        let state = self.state.clone();
        let mut state = state.borrow_mut();
        if state.now() >= self.deadline {
            return self.host.map_or(Poll::Ready(()), |host| state.take_turn(host, context.waker()));
        }
        match self.ticket {
            Some(ticket) => state.rewake(ticket, context.waker()),
            None => self.ticket = Some(state.wake_at(self.deadline, context.waker().clone(), self.host)),
        }
        Poll::Pending
    }
}

impl Drop for Sleep {
    fn drop(&mut self) {
        if let Some(ticket) = self.ticket {
            // A state that is borrowed is being dropped itself, and its events with it.
            if let Ok(mut state) = self.state.try_borrow_mut() {
                state.forget_wake(ticket);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MS: Duration = Duration::from_millis(1);

    type Log = Rc<RefCell<Vec<(u32, Time)>>>;

    /// A pool, a state, and a list that programs write to.
    fn world() -> (LocalPool, Rc<RefCell<State>>, Log) {
        let pool = LocalPool::new();
        let state = Rc::new(RefCell::new(State::new(1, pool.spawner())));
        (pool, state, Rc::default())
    }

    fn ms(millis: u32) -> Time {
        Time::ZERO + MS * millis
    }

    #[test]
    fn programs_wake_by_time_and_ties_in_the_order_of_asking() {
        let (mut pool, state, log) = world();
        for (program, deadline) in [(1, 20), (2, 10), (3, 20), (4, 0)] {
            let (sleep, state, log) = (sleep_until(state.clone(), None, ms(deadline)), state.clone(), log.clone());
            let spawner = state.clone();
            spawner.borrow().spawn(async move {
                sleep.await;
                log.borrow_mut().push((program, state.borrow().now()));
            });
        }
        run_for(&mut pool, &state, 100, MS * 15).expect("no storm");
        assert_eq!(*log.borrow(), [(4, ms(0)), (2, ms(10))]);
        assert_eq!(state.borrow().now(), ms(15));
        run_for(&mut pool, &state, 100, MS * 15).expect("no storm");
        assert_eq!(log.borrow()[2..], [(1, ms(20)), (3, ms(20))]);
        assert_eq!(state.borrow().now(), ms(30));
    }

    #[test]
    fn a_wait_that_is_given_up_does_not_move_the_clock() {
        let (mut pool, state, _) = world();
        let patience = futures::future::select(
            Box::pin(sleep_until(state.clone(), None, ms(5))),
            Box::pin(sleep_until(state.clone(), None, ms(1_000_000))),
        );
        run_until(&mut pool, &state, 100, patience).expect("the first ends");
        let stalled = run_until(&mut pool, &state, 100, std::future::pending::<()>());
        assert_eq!(stalled, Err(Stalled::Idle { at: ms(5) }));
    }

    #[test]
    fn a_program_may_start_others_and_wait_for_them() {
        let (mut pool, state, _) = world();
        let (sender, receiver) = futures::channel::oneshot::channel();
        let result = run_until(&mut pool, &state, 100, async {
            let sleep = sleep_until(state.clone(), None, ms(3));
            state.borrow().spawn(async move {
                sleep.await;
                let _ = sender.send(7);
            });
            receiver.await
        });
        assert_eq!(result, Ok(Ok(7)));
        assert_eq!(state.borrow().now(), ms(3));
    }

    #[test]
    fn a_program_that_never_rests_ends_with_an_error() {
        let (mut pool, state, _) = world();
        let busy = async {
            loop {
                let next = state.borrow().now() + MS;
                sleep_until(state.clone(), None, next).await;
            }
        };
        let stalled: Result<(), Stalled> = run_until(&mut pool, &state, 100, busy);
        assert_eq!(stalled, Err(Stalled::TooManyEvents { at: ms(100), limit: 100 }));
    }

    #[test]
    fn the_end_of_time_never_comes() {
        let (mut pool, state, _) = world();
        let for_ever = sleep_until(state.clone(), None, Time::MAX);
        assert_eq!(run_until(&mut pool, &state, 100, for_ever), Err(Stalled::Idle { at: Time::ZERO }));
    }
}

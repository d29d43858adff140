//! One program tells others on its thread that something changed. Knows nothing of what.

use std::cell::{Cell, RefCell};
use std::future::{Future, poll_fn};
use std::task::{Poll, Waker};

/// A counter of changes that programs can wait on.
#[derive(Default)]
pub(crate) struct Notify {
    changes: Cell<u64>,
    wakers: RefCell<Vec<Waker>>,
}

impl Notify {
    /// Wakes all who wait.
    pub(crate) fn notify(&self) {
        self.changes.set(self.changes.get().wrapping_add(1));
        for waker in self.wakers.take() {
            waker.wake();
        }
    }

    /// Resolves at the first change after this call (not after the first poll).
    pub(crate) fn changed(&self) -> impl Future<Output = ()> {
        let seen = self.changes.get();
        poll_fn(move |context| {
            if self.changes.get() != seen {
                return Poll::Ready(());
            }
            let mut wakers = self.wakers.borrow_mut();
            if !wakers.iter().any(|waker| waker.will_wake(context.waker())) {
                wakers.push(context.waker().clone());
            }
            Poll::Pending
        })
    }
}

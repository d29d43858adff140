//! Where a host's sockets are opened: on the calling thread, or on a machine of a lab.
//!
//! A socket belongs to the network namespace that it was opened in, and works from every thread afterwards. So a program
//! need not be where its sockets are.

use std::fmt;
use std::io;
use std::thread::JoinHandle;

use futures::channel::oneshot;
use tokio::runtime::{Builder, EnterGuard, Handle};

use crate::machine::Machine;

/// Watches sockets on a thread of its own, for programs that run on none of tokio's threads.
pub struct Reactor {
    handle: Handle,
    end: Option<oneshot::Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

impl Reactor {
    /// Starts it.
    ///
    /// # Errors
    /// The system has no room for another thread or reactor.
    pub fn start() -> io::Result<Reactor> {
        let runtime = Builder::new_current_thread().enable_io().enable_time().build()?;
        let (handle, (end, ended)) = (runtime.handle().clone(), oneshot::channel::<()>());
        let watch = move || {
            let _ = runtime.block_on(ended);
        };
        let thread = std::thread::Builder::new().name("natbox-reactor".into()).spawn(watch)?;
        Ok(Reactor { handle, end: Some(end), thread: Some(thread) })
    }

    /// As long as what this gives lives, sockets may be used on the calling thread.
    pub fn enter(&self) -> EnterGuard<'_> {
        self.handle.enter()
    }
}

impl Drop for Reactor {
    fn drop(&mut self) {
        self.end = None;
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

/// Where a host is: here if nowhere else.
#[derive(Clone, Default)]
pub(super) struct Home(Option<(Machine, Handle)>);

impl Home {
    pub(super) fn of(machine: &Machine, reactor: &Reactor) -> Home {
        Home(Some((machine.clone(), reactor.handle.clone())))
    }

    /// Does something at home.
    pub(super) fn there<R: Send + 'static>(&self, act: impl FnOnce() -> R + Send + 'static) -> io::Result<R> {
        let Some((machine, reactor)) = self.0.clone() else { return Ok(act()) };
        machine.namespace().enter(move || {
            let _reactor = reactor.enter();
            act()
        })
    }
}

impl fmt::Debug for Home {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Home").field(&self.0.as_ref().map(|(machine, _)| machine)).finish()
    }
}

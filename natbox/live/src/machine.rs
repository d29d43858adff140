//! A host: namespaces, with a TUN device for each of its interfaces.

use std::ffi::OsStr;
use std::future::Future;
use std::io;
use std::sync::Arc;
use std::thread::JoinHandle;

use crate::error::LiveError;
use crate::mounts::Files;
use crate::moving;
use crate::namespace::{Doors, Household, Namespace};
use crate::netlink::{Interface, set_up};
use crate::program::Command;
use crate::tun::Tun;

/// A host that programs run on.
#[derive(Clone)]
pub struct Machine {
    name: Arc<str>,
    namespace: Arc<Namespace>,
}

impl Machine {
    /// A host of this name with these interfaces, and the devices behind them in the same order.
    ///
    /// # Errors
    /// What the system refused. Nothing is left behind.
    pub fn new(
        name: &str,
        files: &Files,
        interfaces: Vec<Interface>,
        household: &Household,
    ) -> Result<(Machine, Vec<Tun>), LiveError> {
        let namespace = Namespace::new(name, files, household).map_err(LiveError::namespaces)?;
        let host = name.to_owned();
        let furnish = move || -> Result<Vec<Tun>, LiveError> {
            let tuns = interfaces.iter().map(|interface| Tun::open(&interface.name)).collect::<io::Result<_>>();
            let tuns = tuns.map_err(|error| LiveError::Tun { host: host.clone(), error })?;
            set_up(&interfaces).map_err(|error| LiveError::Interface { host, error })?;
            Ok(tuns)
        };
        let tuns = namespace.enter(furnish).map_err(LiveError::system(format!("enter `{name}`")))??;
        Ok((Machine { name: name.into(), namespace: Arc::new(namespace) }, tuns))
    }

    /// The host's name.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// A program to be started on the host.
    pub fn command(&self, program: impl AsRef<OsStr>) -> Command {
        Command::new(self.clone(), program.as_ref())
    }

    /// Does something on the host, on a thread of its own there: sockets that it opens are the host's. Others may do
    /// something there meanwhile. Programs are better started by [`Machine::command`]: those end with the lab.
    ///
    /// # Panics
    /// If `job` does, or if no thread can be started.
    pub fn enter<R: Send + 'static>(&self, job: impl FnOnce() -> R + Send + 'static) -> R {
        Task(self.start(job)).join()
    }

    /// Runs a future on the host, on a tokio runtime of its own there (current thread; I/O and time).
    ///
    /// # Panics
    /// If no thread can be started.
    pub fn spawn<F>(&self, future: F) -> Task<F::Output>
    where
        F: Future + Send + 'static,
        F::Output: Send + 'static,
    {
        Task(self.start(|| {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
            runtime.expect("a tokio runtime on a fresh thread").block_on(future)
        }))
    }

    /// How many packets the host's own kernel has dropped because they were not taken from its devices in time, or `None` if
    /// it does not say.
    pub fn overrun(&self) -> Option<u64> {
        let counters = self.namespace.enter(|| std::fs::read_to_string("/proc/thread-self/net/dev"));
        counters.ok()?.ok().map(|text| text.lines().filter_map(sent_and_dropped).sum())
    }

    /// Takes the addresses of the interface of this number away, and all routes through it. Sockets stay; those that are
    /// bound to an address that is gone cannot send any more.
    ///
    /// # Errors
    /// What the system refused.
    pub fn leave(&self, number: u32) -> Result<(), LiveError> {
        self.change(move || moving::leave(number))
    }

    /// Gives the interface of this number, which has none, other addresses, and its default routes.
    ///
    /// # Errors
    /// What the system refused.
    pub fn arrive(&self, number: u32, interface: Interface) -> Result<(), LiveError> {
        self.change(move || moving::arrive(number, &interface))
    }

    /// Prefers the default routes of the interface of this number to those of the others, which stay.
    ///
    /// # Errors
    /// What the system refused.
    pub fn prefer(&self, number: u32) -> Result<(), LiveError> {
        self.change(move || moving::prefer(number))
    }

    /// Replaces the host's `/etc/hosts`.
    ///
    /// # Errors
    /// What the system refused.
    pub fn rename(&self, hosts: String) -> Result<(), LiveError> {
        self.namespace.rename(hosts).map_err(LiveError::system(format!("write /etc/hosts of `{}`", self.name)))
    }

    /// Does something to the host's interfaces.
    fn change(&self, change: impl FnOnce() -> io::Result<()> + Send + 'static) -> Result<(), LiveError> {
        let done = self.namespace.enter(change).map_err(LiveError::system(format!("enter `{}`", self.name)))?;
        done.map_err(|error| LiveError::Interface { host: self.name.to_string(), error })
    }

    /// The ways in, for another process.
    pub fn doors(&self) -> &Doors {
        self.namespace.doors()
    }

    fn start<R: Send + 'static>(&self, job: impl FnOnce() -> R + Send + 'static) -> JoinHandle<R> {
        self.namespace.beside(job).expect("a thread on the host")
    }

    pub(crate) fn namespace(&self) -> &Namespace {
        &self.namespace
    }
}

impl std::fmt::Debug for Machine {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_tuple("Machine").field(&self.name).finish()
    }
}

/// Something under way on a host.
pub struct Task<R>(JoinHandle<R>);

impl<R> Task<R> {
    /// Waits for its end.
    ///
    /// # Panics
    /// If it did.
    pub fn join(self) -> R {
        self.0.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))
    }

    /// Whether it has ended.
    pub fn is_finished(&self) -> bool {
        self.0.is_finished()
    }
}

/// The counter of packets that were dropped on their way out, in an interface's line of `/proc/net/dev`; loopback has none.
fn sent_and_dropped(line: &str) -> Option<u64> {
    /// Behind eight counters of what was received: bytes, packets, errors, drops.
    const DROPS: usize = 11;
    let (name, counters) = line.split_once(':')?;
    if name.trim() == "lo" { None } else { counters.split_whitespace().nth(DROPS)?.parse().ok() }
}

#[cfg(test)]
mod tests {
    use super::sent_and_dropped;

    #[test]
    fn drops_of_an_interface_are_read_where_the_kernel_writes_them() {
        let table = "Inter-|   Receive                                                |  Transmit\n \
            face |bytes    packets errs drop fifo frame compressed multicast|bytes    packets errs drop fifo colls carrier compressed\n \
            \u{20} lo:       1       2    3    4    5     6          7         8        9      10   11   12    13    14      15         16\n \
            \u{20}eth0:53649984  583152    0    7    0     0          0         0      100      20    1 1871184    0     0       0          0\n";
        assert_eq!(table.lines().filter_map(sent_and_dropped).collect::<Vec<_>>(), [1_871_184]);
    }
}

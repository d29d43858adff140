//! Namespaces that die with the process: one for all programs of a lab, one for each of its hosts.
//!
//! A host is a thread that has left for namespaces of its own (network, mounts, host name): what is done on it happens
//! there. Nothing has a name in the file system, so nothing can be left behind. Programs run in a PID namespace whose
//! first process does nothing but bury the dead; the kernel kills it when the lab's process ends, however it ends, and
//! everything in the namespace with it.

use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::thread::JoinHandle;
use std::time::Duration;

use rustix::process::{Pid, Signal, WaitOptions};
use rustix::thread::{LinkNameSpaceType, UnshareFlags, move_into_link_name_space};

use crate::calls::{fork, open_own, unshare};
use crate::mounts::{Files, furnish, go_to, mounts_of_programs};

type Job = Box<dyn FnOnce() + Send>;

/// The PID namespace of a lab's programs, and the process that holds it.
pub struct Household {
    processes: OwnedFd,
    first: Pid,
    /// The kernel ends the first process with the thread that started it.
    _warden: Agent,
}

impl Household {
    /// A new PID namespace.
    ///
    /// # Errors
    /// What the system says: no right to make one, no memory.
    pub fn new() -> io::Result<Household> {
        let warden = Agent::start("natbox-warden")?;
        let (processes, first) = warden.run(|| -> io::Result<_> {
            unshare(UnshareFlags::NEWPID)?;
            let first = fork(bury_the_dead)?;
            Ok((open_own("pid_for_children")?, first))
        })??;
        Ok(Household { processes, first, _warden: warden })
    }
}

/// Waits a moment for the first process of a household; true if it has ended.
#[allow(clippy::disallowed_methods, reason = "the kernel takes its time, and tells nobody who has no signal handler")]
fn has_ended(first: Pid) -> bool {
    (0..50).any(|_| match rustix::process::waitpid(Some(first), WaitOptions::NOHANG) {
        Ok(None) => {
            std::thread::sleep(Duration::from_millis(1));
            false
        }
        _ => true,
    })
}

/// Kills all programs. The first process ends after the last of them, and so not before this process has waited for those
/// that it started itself: whoever holds a `Child` may do so later.
impl Drop for Household {
    fn drop(&mut self) {
        let first = self.first;
        let _ = rustix::process::kill_process(first, Signal::KILL);
        if has_ended(first) {
            return;
        }
        let wait = move || rustix::process::waitpid(Some(first), WaitOptions::empty());
        let _ = std::thread::Builder::new().name("natbox-undertaker".into()).stack_size(64 << 10).spawn(wait);
    }
}

/// A host's namespaces.
pub struct Namespace {
    agent: Agent,
    doors: Doors,
    /// Whether `/etc/hosts` is the host's own.
    names: bool,
}

/// The ways into a host's namespaces: whoever holds them can join, from another process too .
#[derive(Debug)]
pub struct Doors {
    /// The user namespace that the others belong to.
    pub user: OwnedFd,
    /// The lab's PID namespace.
    pub processes: OwnedFd,
    /// The host's network.
    pub network: OwnedFd,
    /// The mounts that the host's programs see: those of its thread, and the lab's processes in `/proc`.
    pub mounts: OwnedFd,
    /// The host's name.
    pub host_name: OwnedFd,
}

impl Doors {
    /// The namespaces that the calling thread is in, and those of its programs.
    fn own(processes: OwnedFd) -> io::Result<Doors> {
        let mounts = mounts_of_programs(&processes)?;
        Ok(Doors { user: open_own("user")?, processes, network: open_own("net")?, mounts, host_name: open_own("uts")? })
    }
}

impl Namespace {
    /// New namespaces under this host name.
    ///
    /// # Errors
    /// What the system says, with what was being done.
    pub fn new(name: &str, files: &Files, household: &Household) -> io::Result<Namespace> {
        let agent = Agent::start(name)?;
        let (name, files, processes) = (name.to_owned(), files.clone(), household.processes.try_clone()?);
        let (doors, names) = agent.run(move || -> io::Result<(Doors, bool)> {
            unshare(UnshareFlags::NEWNET | UnshareFlags::NEWNS | UnshareFlags::NEWUTS)?;
            rustix::system::sethostname(name.as_bytes())?;
            let names = furnish(&files)?;
            Ok((Doors::own(processes)?, names))
        })??;
        Ok(Namespace { agent, doors, names })
    }

    /// Replaces the host's `/etc/hosts`, if it has one of its own.
    ///
    /// # Errors
    /// What the system says.
    pub fn rename(&self, hosts: String) -> io::Result<()> {
        match self.names {
            true => self.enter(move || std::fs::write("/etc/hosts", hosts))?,
            false => Ok(()),
        }
    }

    /// Does something on the host: in its namespaces, on its thread. What it starts there stays there; programs outlive
    /// the lab, though, unless [`Namespace::household`] starts them.
    ///
    /// # Errors
    /// The host's thread is gone, because something that it did before panicked.
    pub fn enter<R: Send + 'static>(&self, job: impl FnOnce() -> R + Send + 'static) -> io::Result<R> {
        self.agent.run(job)
    }

    /// Does something on the host beside everything else: on a thread of its own in its namespaces.
    ///
    /// # Errors
    /// No thread can be started.
    pub fn beside<R: Send + 'static>(&self, job: impl FnOnce() -> R + Send + 'static) -> io::Result<JoinHandle<R>> {
        self.enter(|| std::thread::Builder::new().name("natbox-host".into()).spawn(job))?
    }

    /// As [`Namespace::beside`], for what starts programs: they belong to the lab's household. The thread cannot start
    /// others, because the kernel keeps the threads of a process in one PID namespace.
    ///
    /// # Errors
    /// No thread can be started.
    pub fn household<R: Send + 'static>(
        &self,
        job: impl FnOnce() -> io::Result<R> + Send + 'static,
    ) -> io::Result<JoinHandle<io::Result<R>>> {
        let (processes, mounts) = (self.doors.processes.try_clone()?, self.doors.mounts.try_clone()?);
        self.beside(move || {
            go_to(&mounts)?;
            move_into_link_name_space(processes.as_fd(), Some(LinkNameSpaceType::ProcessID))?;
            job()
        })
    }

    /// The ways in.
    pub fn doors(&self) -> &Doors {
        &self.doors
    }
}

/// A thread that does what it is told until nobody can tell it anything any more.
struct Agent {
    jobs: Option<Sender<Job>>,
    thread: Option<JoinHandle<()>>,
}

impl Agent {
    fn start(name: &str) -> io::Result<Agent> {
        let (jobs, inbox): (Sender<Job>, Receiver<Job>) = channel();
        let work = move || inbox.into_iter().for_each(|job| job());
        let thread = std::thread::Builder::new().name(name.to_owned()).stack_size(256 << 10).spawn(work)?;
        Ok(Agent { jobs: Some(jobs), thread: Some(thread) })
    }

    fn run<R: Send + 'static>(&self, job: impl FnOnce() -> R + Send + 'static) -> io::Result<R> {
        let gone = || io::Error::other("the host's thread has panicked");
        let (answer, result) = channel();
        let job: Job = Box::new(move || drop(answer.send(job())));
        self.jobs.as_ref().ok_or_else(gone)?.send(job).map_err(|_| gone())?;
        result.recv().map_err(|_| gone())
    }
}

impl Drop for Agent {
    fn drop(&mut self) {
        self.jobs = None;
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

/// What the first process does: it waits for the children that nobody else waits for, until its parent ends.
#[allow(unsafe_code, reason = "system calls alone")]
fn bury_the_dead() -> ! {
    // SAFETY: system calls with arguments of this function's own, allowed after a fork.
    unsafe {
        libc::prctl(libc::PR_SET_PDEATHSIG, libc::SIGKILL);
        libc::prctl(libc::PR_SET_NAME, c"natbox-init".as_ptr());
        libc::close_range(0, libc::c_uint::MAX, 0);
        libc::setsid();
        let mut all: libc::sigset_t = std::mem::zeroed();
        libc::sigfillset(&mut all);
        libc::sigprocmask(libc::SIG_BLOCK, &all, std::ptr::null_mut());
        let mut children: libc::sigset_t = std::mem::zeroed();
        libc::sigemptyset(&mut children);
        libc::sigaddset(&mut children, libc::SIGCHLD);
        loop {
            let mut signal = 0;
            libc::sigwait(&children, &mut signal);
            while libc::waitpid(-1, std::ptr::null_mut(), libc::WNOHANG) > 0 {}
        }
    }
}

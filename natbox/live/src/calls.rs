//! The system calls that namespaces are made with, as safe functions.

use std::io;
use std::os::fd::OwnedFd;

use rustix::fs::{Mode, OFlags};
use rustix::process::Pid;
use rustix::thread::UnshareFlags;

/// Leaves namespaces of these kinds for new ones; some concern the calling thread, others its children alone.
#[allow(
    unsafe_code,
    reason = "unshare is unsafe where other code counts on shared file descriptors; none are unshared"
)]
pub(crate) fn unshare(flags: UnshareFlags) -> io::Result<()> {
    // SAFETY: neither the table of file descriptors nor memory is concerned.
    Ok(unsafe { rustix::thread::unshare_unsafe(flags) }?)
}

/// The namespace of this kind that the calling thread is in, or puts its children into.
pub(crate) fn open_own(kind: &str) -> io::Result<OwnedFd> {
    let path = format!("/proc/thread-self/ns/{kind}");
    Ok(rustix::fs::open(path, OFlags::RDONLY | OFlags::CLOEXEC, Mode::empty())?)
}

/// Starts a process that needs no program, in the namespaces that the calling thread has for its children. It has one
/// thread, so `child` may do nothing but system calls.
#[allow(unsafe_code, reason = "no safe interface offers fork")]
pub(crate) fn fork(child: fn() -> !) -> io::Result<Pid> {
    // SAFETY: the child does what may be done after a fork in a process of many threads, and never returns.
    match unsafe { libc::fork() } {
        -1 => Err(io::Error::last_os_error()),
        0 => child(),
        process => Pid::from_raw(process).ok_or_else(io::Error::last_os_error),
    }
}

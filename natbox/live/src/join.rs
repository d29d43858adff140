//! Joining a host from another process, to run a program there in one's own terminal.

use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::process::{CommandExt as _, ExitStatusExt as _};
use std::process::Command;

use rustix::thread::{LinkNameSpaceType, move_into_link_name_space};

use crate::mounts::go_to;
use crate::namespace::Doors;

/// Takes this process, which has no other thread, into a host's namespaces. Its working folder stays.
///
/// # Errors
/// The system refuses: the lab is somebody else's, or gone.
pub fn join(doors: &Doors) -> io::Result<()> {
    if !is_own(&doors.user)? {
        move_into_link_name_space(doors.user.as_fd(), Some(LinkNameSpaceType::User))?;
    }
    move_into_link_name_space(doors.processes.as_fd(), Some(LinkNameSpaceType::ProcessID))?;
    move_into_link_name_space(doors.host_name.as_fd(), Some(LinkNameSpaceType::HostNameAndNISDomainName))?;
    move_into_link_name_space(doors.network.as_fd(), Some(LinkNameSpaceType::Network))?;
    go_to(&doors.mounts)
}

/// Whether this process is in that user namespace already: it cannot join it once more.
fn is_own(user: &OwnedFd) -> io::Result<bool> {
    let (theirs, own) = (rustix::fs::fstat(user)?, rustix::fs::stat("/proc/self/ns/user")?);
    Ok((theirs.st_dev, theirs.st_ino) == (own.st_dev, own.st_ino))
}

/// Runs a program in this one's place, as far as others can see: the terminal's signals are the program's, it ends when
/// this process is killed, and its exit code is the result (128 and the signal's number, as shells have it).
///
/// # Errors
/// It cannot be started.
#[allow(unsafe_code, reason = "signals of the child, set between fork and exec")]
pub fn run(command: &mut Command) -> io::Result<u8> {
    const TERMINAL: [libc::c_int; 2] = [libc::SIGINT, libc::SIGQUIT];
    // SAFETY: system calls that are allowed after a fork; dispositions are set while there is one thread.
    unsafe {
        TERMINAL.iter().for_each(|signal| {
            libc::signal(*signal, libc::SIG_IGN);
        });
        command.pre_exec(|| {
            TERMINAL.iter().for_each(|signal| {
                libc::signal(*signal, libc::SIG_DFL);
            });
            libc::prctl(libc::PR_SET_PDEATHSIG, libc::SIGKILL);
            Ok(())
        });
    }
    let status = command.status()?;
    let code = status.code().or_else(|| status.signal().map(|signal| 128 + signal));
    Ok(code.and_then(|code| u8::try_from(code).ok()).unwrap_or(u8::MAX))
}

//! The signals that end a lab: an interrupt, a hang-up, and what `kill` sends.

use std::io;

const ENDING: [libc::c_int; 3] = [libc::SIGINT, libc::SIGTERM, libc::SIGHUP];

/// From now on, in this thread and those that it starts, these signals wait for [`wait`].
pub fn hold() {
    // SAFETY: the set is this function's own.
    #[allow(unsafe_code, reason = "a system call that rustix does not have")]
    unsafe {
        libc::pthread_sigmask(libc::SIG_BLOCK, &ending(), std::ptr::null_mut());
    }
}

/// Waits for one of them, and says which it was.
///
/// # Errors
/// The system cannot wait.
#[allow(unsafe_code, reason = "a system call that rustix does not have")]
pub fn wait() -> io::Result<&'static str> {
    let mut signal = 0;
    // SAFETY: both arguments are this function's own.
    match unsafe { libc::sigwait(&ending(), &mut signal) } {
        0 if signal == libc::SIGINT => Ok("SIGINT"),
        0 if signal == libc::SIGHUP => Ok("SIGHUP"),
        0 => Ok("SIGTERM"),
        error => Err(io::Error::from_raw_os_error(error)),
    }
}

#[allow(unsafe_code, reason = "sets of signals are filled by functions of the C library")]
fn ending() -> libc::sigset_t {
    // SAFETY: all zeros is a valid set, emptied before anything is added.
    unsafe {
        let mut set: libc::sigset_t = std::mem::zeroed();
        libc::sigemptyset(&mut set);
        for signal in ENDING {
            libc::sigaddset(&mut set, signal);
        }
        set
    }
}

//! What a host and its programs find in their file system instead of the machine's: names in `/etc`, devices in `/sys`,
//! processes in `/proc`. All else is the machine's.

use std::io;
use std::os::fd::{AsFd, OwnedFd};

use rustix::mount::{MountFlags, MountPropagationFlags, UnmountFlags};
use rustix::process::{Pid, WaitOptions};
use rustix::thread::{LinkNameSpaceType, UnshareFlags, move_into_link_name_space};

use crate::namespace::{open_own, unshare};

/// What no file system of the kernel's own needs to offer.
const QUIET: MountFlags = MountFlags::NOSUID.union(MountFlags::NODEV).union(MountFlags::NOEXEC);

/// What a host finds in its `/etc`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Files {
    /// `/etc/hosts`.
    pub hosts: String,
    /// `/etc/resolv.conf`.
    pub resolv: String,
}

/// Gives the calling thread's mount namespace files of its own in `/etc`. They live in a file system without a name.
/// Tells whether `/etc/hosts` is one of them.
pub(crate) fn furnish(files: &Files) -> io::Result<bool> {
    let mut names = false;
    let shelf = "/tmp";
    rustix::mount::mount_change("/", MountPropagationFlags::PRIVATE | MountPropagationFlags::REC)?;
    rustix::mount::mount("tmpfs", shelf, "tmpfs", MountFlags::NOSUID | MountFlags::NODEV, None)?;
    for (name, text) in [("hosts", &files.hosts), ("resolv.conf", &files.resolv)] {
        let (own, public) = (format!("{shelf}/{name}"), format!("/etc/{name}"));
        std::fs::write(&own, text)?;
        // A system without the file has nothing that could be covered: programs there do without, too.
        if std::path::Path::new(&public).exists() {
            rustix::mount::mount_bind(&own, &public)?;
            names |= name == "hosts";
        }
    }
    show_devices(shelf)?;
    rustix::mount::unmount(shelf, UnmountFlags::DETACH)?;
    Ok(names)
}

/// Puts the host's own devices where the machine's are seen in `/sys`. Where the system refuses, those stay: containers may
/// have no whole `/sys`.
fn show_devices(shelf: &str) -> io::Result<()> {
    let own = format!("{shelf}/sys");
    std::fs::create_dir(&own)?;
    if rustix::mount::mount("sysfs", &own, "sysfs", QUIET, None).is_ok() {
        for folder in ["class/net", "devices/virtual/net"] {
            let _ = rustix::mount::mount_bind(format!("{own}/{folder}"), format!("/sys/{folder}"));
        }
    }
    Ok(())
}

/// A mount namespace like the calling thread's, where `/proc` shows the processes of this PID namespace: what threads of this
/// process read in theirs would not be there.
pub(crate) fn mounts_of_programs(processes: &OwnedFd) -> io::Result<OwnedFd> {
    let processes = processes.try_clone()?;
    let make = move || -> io::Result<OwnedFd> {
        unshare(UnshareFlags::NEWNS)?;
        let own = open_own("mnt")?;
        move_into_link_name_space(processes.as_fd(), Some(LinkNameSpaceType::ProcessID))?;
        show_processes()?;
        Ok(own)
    };
    let maker = std::thread::Builder::new().name("natbox-host".into()).stack_size(64 << 10).spawn(make)?;
    maker.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))
}

/// Mounts a `/proc` of the PID namespace that the calling thread's children are in: one of them must do it. Where the system
/// refuses, the machine's stays: containers may have no whole `/proc`.
#[allow(unsafe_code, reason = "a process that needs no program: fork, and in the child nothing but system calls")]
fn show_processes() -> io::Result<()> {
    // SAFETY: the child calls only what may be called after a fork in a process of many threads, and never returns.
    let child = unsafe {
        match libc::fork() {
            0 => {
                let flags = u64::from(QUIET.bits()) as libc::c_ulong;
                libc::mount(c"proc".as_ptr(), c"/proc".as_ptr(), c"proc".as_ptr(), flags, std::ptr::null());
                libc::_exit(0)
            }
            child => Pid::from_raw(child.max(0)).ok_or_else(io::Error::last_os_error)?,
        }
    };
    rustix::io::retry_on_intr(|| rustix::process::waitpid(Some(child), WaitOptions::empty()))?;
    Ok(())
}

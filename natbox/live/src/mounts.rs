//! What a host and its programs find in their file system instead of the machine's: names in `/etc`, devices in `/sys`,
//! processes in `/proc`. All else is the machine's.

use std::io;
use std::os::fd::{AsFd, OwnedFd};

use rustix::mount::{MountFlags, MountPropagationFlags, UnmountFlags};
use rustix::process::WaitOptions;
use rustix::thread::{LinkNameSpaceType, UnshareFlags, move_into_link_name_space};

use crate::calls::{fork, open_own, unshare};

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
        // What is in the second leads to the first.
        let mut folders = ["devices/virtual/net", "class/net"].into_iter();
        let _ = folders
            .try_for_each(|folder| rustix::mount::mount_bind(format!("{own}/{folder}"), format!("/sys/{folder}")));
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

/// Takes the calling thread, and no other, to these mounts. Its working folder stays; where there is none of that name, the
/// thread is left at the root.
pub(crate) fn go_to(mounts: &OwnedFd) -> io::Result<()> {
    let folder = std::env::current_dir();
    unshare(UnshareFlags::FS)?;
    move_into_link_name_space(mounts.as_fd(), Some(LinkNameSpaceType::Mount))?;
    folder.and_then(std::env::set_current_dir).or(Ok(()))
}

/// Mounts a `/proc` of the PID namespace that the calling thread's children are in: one of them must do it. Where the system
/// refuses, the machine's stays: containers may have no whole `/proc`.
fn show_processes() -> io::Result<()> {
    let child = fork(mount_proc)?;
    rustix::io::retry_on_intr(|| rustix::process::waitpid(Some(child), WaitOptions::empty()))?;
    Ok(())
}

#[allow(unsafe_code, reason = "system calls alone")]
fn mount_proc() -> ! {
    let (proc, flags) = (c"proc".as_ptr(), libc::c_ulong::from(QUIET.bits()));
    // SAFETY: system calls with constants, allowed after a fork.
    unsafe {
        libc::mount(proc, c"/proc".as_ptr(), proc, flags, std::ptr::null());
        libc::_exit(0)
    }
}

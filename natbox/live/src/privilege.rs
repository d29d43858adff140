//! The right to make namespaces, for a process that does not have it: a user namespace of its own.

use std::io;

use rustix::thread::UnshareFlags;

use crate::calls::unshare;
use crate::error::LiveError;

/// Gives this process the right to make namespaces, if it is not root: it becomes the root of a user namespace of its own.
/// To be called while the process has no other thread.
///
/// # Errors
/// The system does not allow it; the error says what would.
pub fn gain() -> Result<(), LiveError> {
    let (user, group) = (rustix::process::geteuid(), rustix::process::getegid());
    if user.is_root() {
        return Ok(());
    }
    own_user_namespace(user.as_raw(), group.as_raw()).map_err(LiveError::namespaces)
}

fn own_user_namespace(user: u32, group: u32) -> io::Result<()> {
    unshare(UnshareFlags::NEWUSER)?;
    std::fs::write("/proc/self/setgroups", "deny")?;
    std::fs::write("/proc/self/uid_map", format!("0 {user} 1"))?;
    std::fs::write("/proc/self/gid_map", format!("0 {group} 1"))
}

/// The user that this process acts for. To be asked before [`gain`].
pub fn user() -> u32 {
    rustix::process::geteuid().as_raw()
}

//! What a live lab can fail of, and the one command that would help.

use std::fmt;
use std::io;
use std::path::Path;

/// Why a live lab cannot be made, or something in it not be done.
#[derive(Debug)]
pub enum LiveError {
    /// No right to make namespaces, or no room for more.
    Namespaces {
        /// What the system says.
        error: io::Error,
        /// What would help.
        advice: String,
    },
    /// No TUN device.
    Tun {
        /// Whose.
        host: String,
        /// What the system says.
        error: io::Error,
    },
    /// A host's interface cannot be as the topology has it: an MTU, an address, a route.
    Interface {
        /// Whose.
        host: String,
        /// What was being done, and what the system says.
        error: io::Error,
    },
    /// A program cannot be started.
    Program {
        /// On which host.
        host: String,
        /// Which.
        program: String,
        /// What the system says.
        error: io::Error,
    },
    /// No host of this name, or none that programs can run on.
    NoHost {
        /// The name.
        name: String,
        /// The hosts that there are.
        expected: Vec<String>,
    },
    /// What was asked for cannot be done: what was expected instead.
    Refused(String),
    /// The world has stopped.
    Stopped(String),
    /// Something else that the system refuses.
    System {
        /// What was being done.
        what: String,
        /// What the system says.
        error: io::Error,
    },
}

impl LiveError {
    /// The system refused namespaces.
    pub fn namespaces(error: io::Error) -> LiveError {
        let advice = advice(&error);
        LiveError::Namespaces { error, advice }
    }

    /// For [`Result::map_err`].
    pub fn system(what: impl Into<String>) -> impl FnOnce(io::Error) -> LiveError {
        let what = what.into();
        move |error| LiveError::System { what, error }
    }
}

impl fmt::Display for LiveError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            LiveError::Namespaces { error, advice } => write!(f, "cannot make namespaces: {error}; {advice}"),
            LiveError::Tun { host, error } => {
                write!(f, "cannot make a TUN device for `{host}`: {error}; {}", tun_advice(error))
            }
            LiveError::Interface { host, error } => write!(f, "cannot set up the network of `{host}`: {error}"),
            LiveError::Program { host, program, error } => {
                write!(f, "cannot start `{program}` on `{host}`: {error}")
            }
            LiveError::NoHost { name, expected } if expected.is_empty() => {
                write!(f, "no program can run on `{name}`: the lab has no host without `services`")
            }
            LiveError::NoHost { name, expected } => {
                write!(f, "no program can run on `{name}`: expected one of {}", expected.join(", "))
            }
            LiveError::Refused(why) => f.write_str(why),
            LiveError::Stopped(why) => write!(f, "the lab has stopped: {why}"),
            LiveError::System { what, error } => write!(f, "cannot {what}: {error}"),
        }
    }
}

impl std::error::Error for LiveError {}

/// What would let this process make namespaces.
fn advice(error: &io::Error) -> String {
    let setting = |name: &str| std::fs::read_to_string(Path::new("/proc/sys").join(name)).unwrap_or_default();
    let command = |text: &str| format!("this allows it: {text}");
    if error.raw_os_error() == Some(libc::ENOSPC) || setting("user/max_user_namespaces").trim() == "0" {
        return command("sudo sysctl -w user.max_user_namespaces=15000 user.max_net_namespaces=15000");
    }
    if rustix::process::geteuid().is_root() {
        return command("give the container the right: docker run --privileged ...");
    }
    if setting("kernel/apparmor_restrict_unprivileged_userns").trim() == "1" {
        return command("sudo sysctl -w kernel.apparmor_restrict_unprivileged_userns=0");
    }
    if setting("kernel/unprivileged_userns_clone").trim() == "0" {
        return command("sudo sysctl -w kernel.unprivileged_userns_clone=1");
    }
    command("run it as root, or with `unshare --user --map-root-user` before the command")
}

fn tun_advice(error: &io::Error) -> &'static str {
    match error.raw_os_error() {
        Some(libc::ENOENT | libc::ENODEV | libc::ENXIO) => {
            "this helps: sudo modprobe tun (in a container: docker run --device /dev/net/tun ...)"
        }
        Some(libc::EACCES) => "this helps: sudo chmod 666 /dev/net/tun (or run it as root)",
        _ => "this helps: run it as root (in a container: docker run --cap-add NET_ADMIN --device /dev/net/tun ...)",
    }
}

//! Live labs: the same topology at wall-clock speed, with real programs on its hosts.
//!
//! A host without `services` is real: network, mount and host-name namespaces of its own, with a TUN device for each of
//! its uplinks. Hosts with services stay simulated, as do all NATs and links; a thread runs that world. Linux only.
//! Knows no command line.

mod change;
mod control;
mod hosts;
mod moving;
mod resident;
mod run;
mod tally;
mod world;

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::path::PathBuf;

use natbox_live::Household;
pub use natbox_live::{Command, LiveError, Machine as LiveHost, Task, privilege, signals};

pub use self::control::{Change, Control, End, Shared, change, exec, take_down};

pub use self::hosts::is_real;
pub(crate) use self::hosts::names;
pub(crate) use self::moving::take;
pub(crate) use self::resident::Resident;
pub(crate) use self::run::run;
pub use self::tally::{HostTally, NatTally, Tally};
use self::world::WorldThread;
use crate::plan::Plan;

/// A lab that runs, until this is dropped: then its programs are killed, and everything that was made for it is gone.
///
/// Needs the right to make namespaces: to be root, or to run under `unshare --user --map-root-user`.
///
/// ```no_run
/// use natbox::Lab;
///
/// let lab = Lab::from_yaml("
/// nats: { home: symmetric }
/// hosts: { alice: { behind: home }, server: { address: 198.18.0.9 } }
/// ")?;
/// let live = lab.live()?;
/// let server = live.host("server")?.enter(|| std::net::UdpSocket::bind("198.18.0.9:7000"))?;
/// let said = live.host("alice")?.command("ping").args(["-c", "1", "server"]).output()?;
/// assert!(said.status.success());
/// live.host("alice")?.enter(|| std::net::UdpSocket::bind("0.0.0.0:0")?.send_to(b"hello", "198.18.0.9:7000"))?;
/// let (_, source) = server.recv_from(&mut [0; 100])?;
/// assert_eq!(source.ip(), live.addresses("home")?[0], "the NAT's address, not alice's");
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub struct LiveLab {
    // Ended in this order: nothing is sent any more, then programs die, then their hosts.
    world: WorldThread,
    _household: Household,
    hosts: BTreeMap<String, LiveHost>,
}

impl LiveLab {
    pub(crate) fn start(plan: &Plan, seed: u64, capture: Option<PathBuf>) -> Result<LiveLab, LiveError> {
        let household = Household::new().map_err(LiveError::namespaces)?;
        let (machines, devices) = hosts::make(plan, &is_real, &household)?;
        let world = WorldThread::start(plan, seed, devices, capture)?;
        Ok(LiveLab { world, _household: household, hosts: machines })
    }

    /// The real host of this name.
    ///
    /// # Errors
    /// [`LiveError::NoHost`] if there is none.
    pub fn host(&self, name: &str) -> Result<&LiveHost, LiveError> {
        let missing = || LiveError::NoHost { name: name.to_owned(), expected: self.hosts.keys().cloned().collect() };
        self.hosts.get(name).ok_or_else(missing)
    }

    /// The addresses of a host, or the external ones of a NAT; none if nothing is called so.
    ///
    /// # Errors
    /// [`LiveError::Stopped`] if the world has.
    pub fn addresses(&self, name: &str) -> Result<Vec<IpAddr>, LiveError> {
        let name = name.to_owned();
        self.world.ask(move |lively| lively.built.addresses(&name).to_vec())
    }

    /// The real hosts that have sent faster than the lab took it, and how many packets their own kernels have dropped for that,
    /// before the lab saw them.
    pub fn overrun(&self) -> BTreeMap<String, u64> {
        let counted = self.hosts.iter().filter_map(|(name, host)| Some((name.clone(), host.overrun()?)));
        counted.filter(|(_, packets)| *packets > 0).collect()
    }

    /// Ends the lab, and writes its capture.
    ///
    /// # Errors
    /// What went wrong with the world or with the capture. The lab has ended all the same.
    pub fn stop(mut self) -> Result<(), LiveError> {
        self.world.stop()
    }
}

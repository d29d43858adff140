//! The resolved lab: every default filled in, every name looked up, every address given out.
//!
//! `natbox check` prints it, the world is built from it. A plan exists only for a topology without a mistake.

mod behavior;
pub mod change;
pub mod control;
mod describe;
mod knobs;
pub mod measure;
mod meeting;
pub mod message;
mod network;
pub(crate) mod packet;
mod pool;
mod possible;
pub mod program;
mod real;
mod resolve;
mod scenario;
pub mod step;
mod steps;

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use ipnet::{IpNet, Ipv4Net, Ipv6Net};
use natbox_nat::Behavior;
use natbox_world::LinkConfig;

pub(crate) use control::show as control_entries;
pub(crate) use describe::{Shown, axes, flow, link as link_entries, some_axes};
pub(crate) use real::expects_closed;
pub(crate) use resolve::plan as of_tree;
pub use step::{Action, Step};

use crate::topology::Mistakes;
use crate::words::{Service, Switch};

/// A resolved lab.
#[derive(Clone, Debug)]
pub struct Plan {
    /// The file that it came from, as messages name it.
    pub file: String,
    /// What the lab is called.
    pub name: String,
    /// Where its chance begins.
    pub seed: u64,
    /// The public network.
    pub internet: Internet,
    /// The NATs, in order of appearance.
    pub nats: Vec<Nat>,
    /// The hosts, in order of appearance.
    pub hosts: Vec<Host>,
    /// Routes that the networks' routers need beside those to what is attached to them.
    pub routes: Vec<Route>,
    /// The steps of the scenario.
    pub steps: Vec<Step>,
}

impl Plan {
    /// Reads, checks and resolves a topology. `file` is its name in messages.
    ///
    /// # Errors
    /// Every mistake of the text, with its place.
    pub fn from_yaml(file: &str, text: &str) -> Result<Plan, Mistakes> {
        resolve::resolve(file, text)
    }

    /// The host of this name.
    pub fn host(&self, name: &str) -> Option<&Host> {
        self.hosts.iter().find(|host| host.name == name)
    }

    /// The NAT of this name.
    pub fn nat(&self, name: &str) -> Option<&Nat> {
        self.nats.iter().find(|nat| nat.name == name)
    }
}

/// The public network.
#[derive(Clone, Debug)]
pub struct Internet {
    /// Its IPv4 addresses.
    pub prefix: Ipv4Net,
    /// Its IPv6 addresses, if the lab is dual-stack.
    pub prefix6: Option<Ipv6Net>,
    /// One-way delay of attachments whose link says nothing else.
    pub latency: Duration,
    /// The addresses of its router.
    pub router: Vec<IpAddr>,
}

/// A network that something is attached to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Network {
    /// The public network.
    Internet,
    /// The network behind the NAT of this index.
    Behind(usize),
}

/// An attachment to a network.
#[derive(Clone, Debug)]
pub struct Uplink {
    /// The network.
    pub network: Network,
    /// The addresses there, in order of preference; IPv4 first.
    pub addresses: Vec<IpAddr>,
    /// The link, alike in both directions.
    pub link: LinkConfig,
}

/// A NAT.
#[derive(Clone, Debug)]
pub struct Nat {
    /// Its name.
    pub name: String,
    /// The preset that it began with, if any.
    pub preset: Option<&'static str>,
    /// How it behaves.
    pub behavior: Arc<Behavior>,
    /// Its outside.
    pub outside: Uplink,
    /// Its inside.
    pub inside: Lan,
    /// How hosts behind it may ask it for mappings; `None` if not at all.
    pub control: Option<natbox_probes::portmap::server::Config>,
    /// The ports that a person has forwarded.
    pub forward: Vec<control::Forward>,
}

impl Nat {
    /// Gives the NAT another behaviour. Whether it translates is part of the network's plan, and must stay as it is.
    pub(crate) fn behave(&mut self, behavior: &Arc<Behavior>) {
        self.behavior = network::with_first(behavior, &self.inside);
    }
}

/// The network behind a NAT.
#[derive(Clone, Debug)]
pub struct Lan {
    /// Its IPv4 addresses.
    pub prefix: Ipv4Net,
    /// Its IPv6 addresses, if the lab is dual-stack.
    pub prefix6: Option<Ipv6Net>,
    /// The addresses of the NAT in it, one a prefix.
    pub gateway: Vec<IpAddr>,
    /// Whether its hosts reach nobody but the NAT.
    pub client_isolation: Switch,
}

/// A host.
#[derive(Clone, Debug)]
pub struct Host {
    /// Its name.
    pub name: String,
    /// Its uplinks, in order of preference.
    pub uplinks: Vec<Uplink>,
    /// The servers that run on it.
    pub services: Vec<Service>,
}

impl Host {
    /// All its addresses, in the order of its uplinks.
    pub fn addresses(&self) -> impl Iterator<Item = IpAddr> + '_ {
        self.uplinks.iter().flat_map(|uplink| uplink.addresses.iter().copied())
    }
}

/// A route of the router of a network.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Route {
    /// The network.
    pub network: Network,
    /// Where packets go.
    pub prefix: IpNet,
    /// The gateway on that network through which they go.
    pub via: IpAddr,
}

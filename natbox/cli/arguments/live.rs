//! What can be typed about live labs.

use std::path::PathBuf;

use clap::{Args, Subcommand};

#[derive(Debug, Subcommand)]
pub(crate) enum Live {
    Up(Up),
    Exec(Exec),
    Shell(Shell),
    Down(Down),
    /// Reboot a NAT of a live lab: it loses its mappings
    #[command(after_help = CHANGE_EXAMPLES)]
    Reboot(Name),
    Readdress(Addresses),
    Move(Move),
    /// Give axes of a NAT of a live lab other values; its mappings stay
    #[command(after_help = SET_EXAMPLES)]
    Set(Values),
    /// Give the links of a host or NAT of a live lab other properties (a NAT's outer one)
    #[command(after_help = LINK_EXAMPLES)]
    Link(Values),
    /// Cut the links of a host or NAT of a live lab (a NAT's outer one)
    #[command(after_help = CHANGE_EXAMPLES)]
    Cut(Name),
    /// Mend the links of a host or NAT of a live lab
    #[command(after_help = CHANGE_EXAMPLES)]
    Mend(Name),
}

const CHANGE_EXAMPLES: &str = "\
Examples:
  natbox reboot home
  natbox readdress home 198.18.0.77
  natbox cut home; sleep 5; natbox mend home";

const SET_EXAMPLES: &str = "\
Examples:
  natbox set home filtering=address-dependent
  natbox set home mapping.udp=address-and-port-dependent timeouts.udp=30s ports.range=5000-5999

The keys and values are those of a NAT in a topology file (docs/topology.md), with a dot for each level.";

const LINK_EXAMPLES: &str = "\
Examples:
  natbox link alice latency=200ms loss=5%
  natbox link home rate=1mbit queue=20
  natbox link home rate=none

Keys: latency, jitter, loss, duplicate, reorder, rate, queue. What is under way arrives as it would have.";

/// Build a live lab, real programs behind emulated NATs, and stay until Ctrl-C
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  natbox up topologies/two-homes.yaml
  natbox exec alice -- ping -c 3 relay                from another terminal
  natbox shell bob
  natbox down
  natbox up lab.yaml --lab second --capture lab.pcapng
  natbox inspect --follow lab.pcapng

Hosts without `services` are network namespaces; hosts with services, NATs and links are emulated. Needs root, or
unprivileged user namespaces. Nothing is left behind, however it ends. At a terminal, a table shows what goes through.

Exit codes: 0 it was taken down, 2 it could not be built.")]
pub(crate) struct Up {
    /// A topology file
    #[arg(value_name = "FILE")]
    pub(crate) file: PathBuf,
    /// What to call the lab, where several are up [default: the file's name]
    #[arg(long, value_name = "NAME")]
    pub(crate) lab: Option<String>,
    /// Begin all chance here, instead of at the file's own seed
    #[arg(long, value_name = "N")]
    pub(crate) seed: Option<u64>,
    /// Write a capture (pcapng) while the lab runs; `natbox inspect --follow` shows it as it grows
    #[arg(long, value_name = "FILE")]
    pub(crate) capture: Option<PathBuf>,
}

/// Run a program on a host of a live lab
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  natbox exec alice -- ping -c 3 relay
  natbox exec --lab second alice -- iperf3 -s

The exit code is the program's (128 and the signal's number if it was killed), or 2 if it could not be started.")]
pub(crate) struct Exec {
    /// A host without `services`
    #[arg(value_name = "HOST")]
    pub(crate) host: String,
    /// The program and its arguments
    #[arg(required = true, trailing_var_arg = true, allow_hyphen_values = true, value_name = "COMMAND")]
    pub(crate) command: Vec<std::ffi::OsString>,
    /// Which lab, where several are up
    #[arg(long, value_name = "NAME")]
    pub(crate) lab: Option<String>,
}

/// Start a shell on a host of a live lab
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  natbox shell alice
  SHELL=/bin/sh natbox shell alice")]
pub(crate) struct Shell {
    /// A host without `services`
    #[arg(value_name = "HOST")]
    pub(crate) host: String,
    /// Which lab, where several are up
    #[arg(long, value_name = "NAME")]
    pub(crate) lab: Option<String>,
}

/// Take a live lab down, and wait until it is gone
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  natbox down
  natbox down --lab second")]
pub(crate) struct Down {
    /// Which lab, where several are up
    #[arg(long, value_name = "NAME")]
    pub(crate) lab: Option<String>,
}

#[derive(Debug, Args)]
pub(crate) struct Name {
    /// Its name in the topology file
    #[arg(value_name = "NAME")]
    pub(crate) name: String,
    /// Which lab, where several are up
    #[arg(long, value_name = "NAME")]
    pub(crate) lab: Option<String>,
}

/// Take a host of a live lab to another network: behind another NAT, or to `internet`
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  natbox move alice --to cafe
  natbox move alice --to internet

Over an uplink that the host has there, its default route leads from now on. Without one, its first uplink goes there: it gets another
address and other routes, and sockets that are bound to the old address cannot send any more.")]
pub(crate) struct Move {
    /// A host
    #[arg(value_name = "HOST")]
    pub(crate) host: String,
    /// A NAT, or `internet`
    #[arg(long, value_name = "NETWORK")]
    pub(crate) to: String,
    /// Which lab, where several are up
    #[arg(long, value_name = "NAME")]
    pub(crate) lab: Option<String>,
}

#[derive(Debug, Args)]
pub(crate) struct Values {
    /// Its name in the topology file
    #[arg(value_name = "NAME")]
    pub(crate) name: String,
    /// What it gets
    #[arg(required = true, value_name = "KEY=VALUE")]
    pub(crate) values: Vec<String>,
    /// Which lab, where several are up
    #[arg(long, value_name = "NAME")]
    pub(crate) lab: Option<String>,
}

/// Give a NAT of a live lab other external addresses
#[derive(Debug, Args)]
#[command(after_help = CHANGE_EXAMPLES)]
pub(crate) struct Addresses {
    /// A NAT
    #[arg(value_name = "NAT")]
    pub(crate) nat: String,
    /// Addresses of the network outside of it
    #[arg(required = true, value_name = "ADDRESS")]
    pub(crate) addresses: Vec<std::net::IpAddr>,
    /// Which lab, where several are up
    #[arg(long, value_name = "NAME")]
    pub(crate) lab: Option<String>,
}

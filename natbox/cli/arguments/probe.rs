//! What can be typed after `natbox probe`.

use std::path::PathBuf;

use clap::{Args, Subcommand, ValueEnum};

use super::Format;

/// Run a probe from this machine, on the real network
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  natbox probe nat --server stun.example.net
  natbox probe nat --server 192.0.2.1:3478 --timers 5m -o measured.yaml")]
pub(crate) struct Probe {
    #[command(subcommand)]
    pub(crate) command: ProbeCommand,
}

#[derive(Debug, Subcommand)]
pub(crate) enum ProbeCommand {
    Nat(ProbeNat),
}

/// Measure the NAT in front of this machine, and write it down as a topology file
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  natbox probe nat --server stun.example.net
  natbox probe nat --server stun.example.net --timers 5m -o measured.yaml   then: natbox run measured.yaml
  natbox probe nat --server 192.0.2.1 --server 198.51.100.1:19302           plain STUN servers: mapping and ports alone
  natbox probe nat --server stun.example.net --format json | jq .axes

A server that knows RFC 5780 (OTHER-ADDRESS, CHANGE-REQUEST, RESPONSE-PORT; coturn with `rfc5780` and two addresses) tells most.
What cannot be known is called unknown, with the reason. The file has no address of the real network.

Exit codes: 0 it was measured, 2 it was not: a name without an address, no answer, an output that cannot be written.")]
pub(crate) struct ProbeNat {
    /// A STUN server, once or several times; port 3478 if none is named
    #[arg(long, required = true, value_name = "HOST[:PORT]")]
    pub(crate) server: Vec<String>,
    /// Search for the lifetimes of idle mappings too, up to this long, such as `5m`; takes a few times as long as they are
    #[arg(long, value_name = "TIME")]
    pub(crate) timers: Option<String>,
    /// Over which IP version [default: that of the first server's first address]
    #[arg(long, value_name = "FAMILY")]
    pub(crate) family: Option<Version>,
    /// Do not connect over TCP
    #[arg(long)]
    pub(crate) no_tcp: bool,
    /// How to report
    #[arg(long, value_name = "FORMAT", default_value = "text")]
    pub(crate) format: Format,
    /// Write a topology file with this NAT: `natbox check` and `natbox run` take it
    #[arg(short, long, value_name = "FILE")]
    pub(crate) output: Option<PathBuf>,
}

/// A version of the Internet Protocol.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Version {
    Ipv4,
    Ipv6,
}

impl From<Version> for natbox::words::Family {
    fn from(version: Version) -> natbox::words::Family {
        match version {
            Version::Ipv4 => natbox::words::Family::Ipv4,
            Version::Ipv6 => natbox::words::Family::Ipv6,
        }
    }
}

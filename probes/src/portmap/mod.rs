//! Port control: how a host asks the gateway for a mapping, and how the gateway answers.
//!
//! ```text
//!   host                                    gateway                      outside
//!    |-- map TCP 5000, for 2 h ------------->|                              |
//!    |<------------ 198.18.0.2:40000, 2 h ---| 198.18.0.2:40000 -> host:5000|
//!    |                                       |<---------- to 40000 ---------|
//!    |<--------------------------------------|                              |
//!    |-- the same, at half of the lifetime ->|                              |
//!    |      (the gateway reboots)            |                              |
//!    |<------------- epoch 0, to everybody --|  what was asked for is gone  |
//!    |-- the same, anew -------------------->|                              |
//! ```
//!
//! | room | speaks |
//! | --- | --- |
//! | [`natpmp`] | NAT-PMP (RFC 6886): UDP port 5351, IPv4 |
//! | [`pcp`] | PCP (RFC 6887): the same port, version 2; MAP, PEER, ANNOUNCE; THIRD_PARTY, PREFER_FAILURE, FILTER |
//! | [`upnp`] | UPnP-IGD, version 1 and 2: SSDP, descriptions, SOAP |
//! | [`server`] | all of them, on a gateway, with the faults of real boxes |
//! | [`keep`] | a host's side of all of them: map, renew, notice a loss, map again |
//!
//! Left out: PCP's authentication (RFC 7652), its mappings of all ports or all protocols (answered UNSUPP_PROTOCOL) and
//! its proxy; UPnP's eventing (no client of port mappings needs it), access rights of IGD version 2, and IPv6 firewall
//! control.

pub(crate) mod candidate;
pub mod keep;
pub mod natpmp;
pub mod pcp;
pub mod server;
pub mod upnp;

use std::fmt;
use std::net::SocketAddr;
use std::time::Duration;

use natbox_wire::{Protocol, words};

use crate::ProbeError;

/// Where NAT-PMP and PCP are asked.
pub const PORT: u16 = 5351;
/// Where their announcements go.
pub const ANNOUNCE_PORT: u16 = 5350;
/// The lifetime that is asked for where nobody says another (RFC 6886 section 3.3).
pub const LIFETIME: Duration = Duration::from_secs(7200);

words! {
    /// A protocol by which a host asks its gateway for mappings.
    pub enum Control: "port control protocol" {
        NatPmp = "nat-pmp", "NAT-PMP (RFC 6886)";
        Pcp = "pcp", "PCP (RFC 6887)";
        Igd1 = "igd1", "UPnP-IGD, version 1";
        Igd2 = "igd2", "UPnP-IGD, version 2";
    }
}

words! {
    /// A protocol by which a host asks, whatever version the gateway speaks.
    pub enum Method: "mapping method" {
        NatPmp = "nat-pmp", "NAT-PMP (RFC 6886)";
        Pcp = "pcp", "PCP (RFC 6887)";
        Upnp = "upnp", "UPnP-IGD of whichever version";
    }
}

/// What a host asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Wish {
    /// UDP or TCP.
    pub protocol: Protocol,
    /// The endpoint inside: an address of this host.
    pub internal: SocketAddr,
    /// The port wished for outside; 0 for any.
    pub external_port: u16,
    /// For how long.
    pub lifetime: Duration,
}

/// What a host was given.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Granted {
    /// Who gave it.
    pub gateway: SocketAddr,
    /// The endpoint outside.
    pub external: SocketAddr,
    /// For how long, from now on; `None`: until the gateway forgets.
    pub lifetime: Option<Duration>,
    /// The gateway's epoch, where its protocol has one.
    pub epoch_seconds: Option<u32>,
}

/// Why a host was given nothing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Failure {
    /// No answer, or one that makes no sense.
    Probe(ProbeError),
    /// The gateway refused.
    Refused {
        /// How it was asked.
        method: Method,
        /// The code of that protocol.
        code: u16,
        /// What the code means.
        meaning: String,
        /// How long the refusal lasts, where the gateway says so.
        lasts: Option<Duration>,
    },
    /// There is no gateway.
    NoGateway,
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Failure::Probe(error) => error.fmt(f),
            Failure::Refused { method, code, meaning, .. } => write!(f, "refused by {method}: {code} {meaning}"),
            Failure::NoGateway => f.write_str("this host has no gateway to ask"),
        }
    }
}

impl std::error::Error for Failure {}

impl From<ProbeError> for Failure {
    fn from(error: ProbeError) -> Failure {
        Failure::Probe(error)
    }
}

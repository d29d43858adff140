//! What port control asks of a NAT, and what the NAT answers: plain values that the two exchange.
//!
//! An *explicit* mapping is one that somebody asked for in so many words: a person (`static`), or a host through NAT-PMP,
//! PCP or UPnP-IGD. All others are implicit: a packet made them. Knows no message of any of those protocols.

use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use crate::{Protocol, Time};

crate::words! {
    /// Who asked for an explicit mapping.
    pub enum MappedBy: "port control" {
        Static = "static", "a person, in the NAT's configuration: it has no end, and outlives reboots";
        NatPmp = "nat-pmp", "a host, by NAT-PMP (RFC 6886)";
        Pcp = "pcp", "a host, by PCP (RFC 6887)";
        Upnp = "upnp", "a host, by UPnP-IGD";
    }
}

/// Asks a NAT for an explicit mapping, or for a longer life of one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MapRequest {
    /// UDP or TCP.
    pub protocol: Protocol,
    /// The endpoint inside. Its port is not 0.
    pub internal: SocketAddr,
    /// The external address that is wished for, if any.
    pub external_address: Option<IpAddr>,
    /// The external port that is wished for; 0 for any.
    pub external_port: u16,
    /// Whether another external endpoint than the one wished for is of no use.
    pub exact: bool,
    /// The only remote that it is for (PCP's PEER): then a session with that remote is opened as if the inside had sent to it,
    /// and the NAT's own filter stays in force. Without it anybody may send to the external endpoint whom `filters` admit.
    pub remote: Option<SocketAddr>,
    /// Who may send to the external endpoint; anybody if empty.
    pub filters: Vec<RemoteFilter>,
    /// How long it lives from now on; `None`: until the NAT forgets everything.
    pub lifetime: Option<Duration>,
    /// Whether the same external port of the other protocol is kept from other hosts (RFC 6886 section 3.3).
    pub pair: bool,
    /// Who asks.
    pub by: MappedBy,
}

/// Remotes that may send to the external endpoint of an explicit mapping.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RemoteFilter {
    /// The network.
    pub address: IpAddr,
    /// How many bits of the address count.
    pub prefix_len: u8,
    /// The port; 0 for any.
    pub port: u16,
}

impl RemoteFilter {
    /// Whether a remote may send.
    pub fn admits(&self, remote: SocketAddr) -> bool {
        let alike = |own: u128, other: u128, width: u32| {
            (own ^ other) << (128 - width) == 0
                || ((own ^ other) << (128 - width)).leading_zeros() >= u32::from(self.prefix_len)
        };
        let within = match (self.address, remote.ip()) {
            (IpAddr::V4(own), IpAddr::V4(other)) => alike(u32::from(own).into(), u32::from(other).into(), 32),
            (IpAddr::V6(own), IpAddr::V6(other)) => alike(own.into(), other.into(), 128),
            _ => false,
        };
        within && (self.port == 0 || self.port == remote.port())
    }
}

/// A live explicit mapping.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ExplicitMapping {
    /// The mapping's number at its NAT: never used twice, not even after a reboot. Several explicit mappings may share it
    /// where they lend one external endpoint to one internal endpoint for several remotes.
    pub mapping: u64,
    /// Who asked for it.
    pub by: MappedBy,
    /// UDP or TCP.
    pub protocol: Protocol,
    /// The endpoint inside.
    pub internal: SocketAddr,
    /// The endpoint that the outside sees.
    pub external: SocketAddr,
    /// The only remote that it is for, if there is one.
    pub remote: Option<SocketAddr>,
    /// Who may send to it; anybody if empty.
    pub filters: Vec<RemoteFilter>,
    /// When it was asked for first.
    pub since: Time,
    /// When it ends, unless it is renewed; `None`: never.
    pub until: Option<Time>,
}

/// Why there is no explicit mapping.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MapRefusal {
    /// The external endpoint is somebody else's, and no other will do.
    Taken,
    /// No external port or address is left.
    Exhausted,
    /// The internal address has as much as it may.
    Quota,
    /// The NAT has no external address.
    NoAddress,
    /// It is nothing that this NAT maps: another transport, a port 0, endpoints of different versions.
    Unsuitable,
}

/// What becomes of the traffic of an explicit mapping that is given up.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Traffic {
    /// What the inside began goes on as if no mapping had been asked for (RFC 6887 section 15).
    Stays,
    /// It ends (RFC 6886 section 3.4).
    Ends,
}

/// What happened to an explicit mapping.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ControlEvent {
    /// It was made, or laid over an implicit one.
    Made,
    /// It was given another lifetime.
    Renewed,
    /// Its lifetime was over.
    Expired,
    /// It was given up by request.
    Deleted,
    /// The NAT lost it: rebooted, readdressed, or hurt by a packet from outside.
    Lost,
}

//! Words of topology files and reports that no lower room needs.

use std::net::IpAddr;

pub use natbox_nat::behavior::Switch;
use natbox_wire::words;

words! {
    /// A server that a host runs.
    pub enum Service: "service" {
        Stun = "stun", "STUN with two addresses and two ports (RFC 8489, RFC 5780)";
        Turn = "turn", "a relay over UDP (RFC 8656)";
        Rendezvous = "rendezvous", "a directory where hosts register and meet";
        Echo = "echo", "UDP and TCP echo (RFC 862)";
    }
}

words! {
    /// A version of the Internet Protocol.
    pub enum Family: "address family" {
        Ipv4 = "ipv4", "IPv4 (RFC 791)";
        Ipv6 = "ipv6", "IPv6 (RFC 8200)";
    }
}

impl Family {
    /// Whether an address is of this family.
    pub fn has(self, address: &IpAddr) -> bool {
        address.is_ipv6() == (self == Family::Ipv6)
    }

    /// Its name for people.
    pub fn name(self) -> &'static str {
        match self {
            Family::Ipv4 => "IPv4",
            Family::Ipv6 => "IPv6",
        }
    }
}

words! {
    /// An ICMP or ICMPv6 error by which a datagram of a script may be refused.
    pub enum Rejection: "rejection" {
        NetUnreachable = "net-unreachable", "no route";
        HostUnreachable = "host-unreachable", "nobody has this address";
        PortUnreachable = "port-unreachable", "no socket on the port";
        TtlExceeded = "ttl-exceeded", "too many hops";
    }
}

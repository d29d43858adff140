//! How a NAT behaves: closed lists of choices, one value per axis.
//!
//! The words are those of RFC 4787 and its kin; the same word stands in Rust, YAML, JSON and captures.

use std::ops::RangeInclusive;
use std::time::Duration;

use natbox_wire::words;

words! {
    /// Whether addresses are rewritten at all (RFC 2663).
    pub enum TranslationKind: "translation" {
        Napt = "napt", "address and port are rewritten (RFC 2663: NAPT)";
        None = "none", "nothing is rewritten: a router, or with filtering a stateful firewall";
    }
}

words! {
    /// When an internal endpoint keeps its external endpoint (RFC 4787 section 4.1).
    pub enum Mapping: "mapping behaviour" {
        EndpointIndependent = "endpoint-independent", "one external endpoint towards every remote";
        AddressDependent = "address-dependent", "one external endpoint per remote address";
        AddressAndPortDependent = "address-and-port-dependent", "one external endpoint per remote address and port";
    }
}

words! {
    /// Which remotes may send to an external endpoint (RFC 4787 section 5).
    pub enum Filtering: "filtering behaviour" {
        EndpointIndependent = "endpoint-independent", "anybody, while the mapping lives";
        AddressDependent = "address-dependent", "remotes whose address has been sent to";
        AddressAndPortDependent = "address-and-port-dependent", "remotes whose address and port have been sent to";
        Off = "off", "no filter and no state: everything passes (only where nothing is translated)";
    }
}

words! {
    /// By what a remote must have been sent to before it is admitted: RFC 4787 section 5 can be read both ways.
    pub enum FilterScope: "filter scope" {
        Mapping = "mapping", "permissions are kept per external mapping";
        Endpoint = "endpoint", "permissions are kept per internal endpoint, whichever mapping the packet left through";
    }
}

words! {
    /// Whether a reply uses the mapping that let the packet in (RFC 6146's session table, RFC 6886 section 3.9).
    pub enum SessionAffinity: "session affinity" {
        On = "on", "a session pins the mapping that its replies use";
        Off = "off", "every outbound packet is keyed afresh by the mapping rule";
    }
}

words! {
    /// How a new mapping gets its external port (RFC 4787 section 4.2).
    pub enum PortAllocation: "port allocation" {
        Preserve = "preserve", "the internal port if it is free, else a random one";
        Sequential = "sequential", "the port after the last one given out, wrapping inside the range";
        Random = "random", "a random free port of the range";
    }
}

words! {
    /// Whether one internal address keeps one external address (RFC 4787 section 4.1, REQ-2).
    pub enum Pooling: "address pooling" {
        Paired = "paired", "all mappings of one internal address share one external address";
        Arbitrary = "arbitrary", "every mapping gets any external address of the pool, at random";
    }
}

words! {
    /// What happens to a packet from inside to the NAT's own external address (RFC 4787 section 6).
    pub enum Hairpin: "hairpinning" {
        ExternalSource = "external-source", "delivered inside, with the sender's external endpoint as source (REQ-9a)";
        InternalSource = "internal-source", "delivered inside, with the sender's internal endpoint left as source";
        Off = "off", "dropped";
    }
}

words! {
    /// Whether the filter also judges hairpinned packets (nothing in RFC 4787 says).
    pub enum HairpinFilter: "hairpin filter" {
        Apply = "apply", "a hairpinned packet is filtered as if it came from outside";
        Bypass = "bypass", "a hairpinned packet is always admitted";
    }
}

words! {
    /// Which packets restart a session's idle timer (RFC 4787 section 4.3, REQ-6).
    pub enum Refresh: "mapping refresh" {
        Outbound = "outbound", "packets from inside only";
        Both = "both", "packets in either direction";
        Inbound = "inbound", "packets from outside only";
        None = "none", "no packet: the lifetime is absolute";
    }
}

words! {
    /// What the box does with IPv6.
    pub enum Ipv6: "IPv6 mode" {
        Firewall = "firewall", "addresses are left alone; the filter alone applies (RFC 6092)";
        Napt = "napt", "addresses and ports are rewritten as for IPv4 (NAT66)";
    }
}

/// How external ports are chosen.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ports {
    /// The rule.
    pub allocation: PortAllocation,
    /// The external ports (UDP, TCP) that may be given out. Echo identifiers use all of 0-65535.
    pub range: RangeInclusive<u16>,
}

/// How long idle sessions live.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Timeouts {
    /// UDP sessions (RFC 4787 REQ-5: at least 2 minutes, 5 recommended).
    pub udp: Duration,
    /// ICMP echo sessions (RFC 5508 REQ-2: 60 seconds).
    pub icmp: Duration,
    /// TCP before a packet of the handshake came back (RFC 5382 REQ-5: 4 minutes).
    pub tcp_opening: Duration,
    /// Established TCP (RFC 5382 REQ-5: 2 hours 4 minutes).
    pub tcp_established: Duration,
    /// TCP after FINs both ways, or a RST (RFC 5382 REQ-5: 4 minutes).
    pub tcp_closing: Duration,
}

/// Everything that makes one NAT differ from another.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Behavior {
    /// Whether IPv4 addresses are rewritten.
    pub translation: TranslationKind,
    /// What happens to IPv6.
    pub ipv6: Ipv6,
    /// When an internal endpoint keeps its external endpoint.
    pub mapping: Mapping,
    /// Which remotes may send to an external endpoint.
    pub filtering: Filtering,
    /// What permissions are tied to.
    pub filter_scope: FilterScope,
    /// Whether replies use the mapping that let the packet in.
    pub session_affinity: SessionAffinity,
    /// How external ports are chosen.
    pub ports: Ports,
    /// How external addresses are chosen.
    pub pooling: Pooling,
    /// Packets from inside to an external address of this NAT.
    pub hairpin: Hairpin,
    /// Whether hairpinned packets are filtered.
    pub hairpin_filter: HairpinFilter,
    /// Which packets restart idle timers.
    pub refresh: Refresh,
    /// How long idle sessions live.
    pub timeouts: Timeouts,
}

impl Default for Behavior {
    /// What RFC 4787, 5382 and 5508 require, and recommend where they leave a choice.
    fn default() -> Behavior {
        Behavior {
            translation: TranslationKind::Napt,
            ipv6: Ipv6::Firewall,
            mapping: Mapping::EndpointIndependent,
            filtering: Filtering::EndpointIndependent,
            filter_scope: FilterScope::Mapping,
            session_affinity: SessionAffinity::On,
            ports: Ports { allocation: PortAllocation::Random, range: 1024..=65535 },
            pooling: Pooling::Paired,
            hairpin: Hairpin::ExternalSource,
            hairpin_filter: HairpinFilter::Apply,
            refresh: Refresh::Outbound,
            timeouts: Timeouts {
                udp: Duration::from_secs(300),
                icmp: Duration::from_secs(60),
                tcp_opening: Duration::from_secs(240),
                tcp_established: Duration::from_secs(7440),
                tcp_closing: Duration::from_secs(240),
            },
        }
    }
}

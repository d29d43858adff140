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
    /// What a population runs against each NAT alone.
    pub enum Procedure: "procedure" {
        NatCheck = "nat-check", "NAT Check (Ford, Srisuresh and Kegel 2005, section 6.1)";
    }
}

/// Where echo is (RFC 862).
pub(crate) const ECHO_PORT: u16 = 7;

words! {
    /// A protocol whose ports a gateway can be asked for.
    pub enum Carrier: "transport with ports" {
        Udp = "udp", "UDP (RFC 768)";
        Tcp = "tcp", "TCP (RFC 9293)";
    }
}

words! {
    /// What comes of asking a gateway for a mapping.
    pub enum MapOutcome: "outcome of a request" {
        Granted = "granted", "the gateway says that there is one";
        Refused = "refused", "the gateway says why not";
        Silent = "silent", "nobody answers, or nothing that makes sense";
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
    /// The answer by which a packet of a script may be refused: a RST, an ICMP or an ICMPv6 error.
    pub enum Rejection: "rejection" {
        Rst = "rst", "a TCP segment that resets (RFC 9293)";
        NetUnreachable = "net-unreachable", "no route";
        HostUnreachable = "host-unreachable", "nobody has this address";
        PortUnreachable = "port-unreachable", "no socket on the port";
        TtlExceeded = "ttl-exceeded", "too many hops";
        AdminProhibited = "admin-prohibited", "forbidden by those who run the network";
        PacketTooBig = "packet-too-big", "larger than the next link's MTU, and not to be fragmented";
        ReassemblyTimeExceeded = "reassembly-time-exceeded", "some of its fragments never came";
    }
}

words! {
    /// A TCP control flag, or two that belong together.
    pub enum Flag: "TCP flag" {
        Syn = "syn", "opens a connection";
        SynAck = "syn-ack", "answers a SYN";
        Ack = "ack", "acknowledges";
        Fin = "fin", "no more data";
        Rst = "rst", "resets";
        Psh = "psh", "pushes";
    }
}

words! {
    /// An ICMP query or a reply to one.
    pub enum EchoKind: "ICMP query" {
        Request = "echo", "an echo request";
        Reply = "echo-reply", "an echo reply";
        Timestamp = "timestamp", "a timestamp request (RFC 792; IPv4)";
        Information = "information", "an information request (RFC 792, deprecated by RFC 6918; IPv4)";
        AddressMask = "address-mask", "an address mask request (RFC 950, deprecated by RFC 6918; IPv4)";
    }
}

words! {
    /// What a transport checksum is to be.
    pub enum Checksum: "checksum" {
        Right = "right", "as it must be";
        Wrong = "wrong", "a wrong one";
    }
}

words! {
    /// A range of ports within which NATs keep a port (RFC 4787 section 4.2.3, RFC 6335 section 6).
    pub enum PortClass: "class of ports" {
        Same = "same", "as the internal port's";
        System = "system", "0 to 1023";
        User = "user", "1024 to 49151";
        Dynamic = "dynamic", "49152 to 65535";
    }
}

words! {
    /// Whether a port is even (RFC 4787 section 4.2.2).
    pub enum Parity: "parity" {
        Same = "same", "as the internal port's";
        Even = "even", "even";
        Odd = "odd", "odd";
    }
}

impl PortClass {
    /// The class of a port.
    pub fn of(port: u16) -> PortClass {
        match port {
            0..1024 => PortClass::System,
            1024..49_152 => PortClass::User,
            49_152.. => PortClass::Dynamic,
        }
    }
}

impl Parity {
    /// The parity of a port.
    pub fn of(port: u16) -> Parity {
        if port.is_multiple_of(2) { Parity::Even } else { Parity::Odd }
    }
}

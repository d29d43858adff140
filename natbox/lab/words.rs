//! Words of topology files and reports that no lower room needs.

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
    /// An option that is on or off.
    pub enum Switch: "switch" {
        On = "on", "yes";
        Off = "off", "no";
    }
}

words! {
    /// An ICMP or ICMPv6 error by which a packet is refused.
    pub enum Rejection: "rejection" {
        NetUnreachable = "net-unreachable", "no route";
        HostUnreachable = "host-unreachable", "nobody has this address";
        ProtocolUnreachable = "protocol-unreachable", "the host does not speak the protocol";
        PortUnreachable = "port-unreachable", "no socket on the port";
        TooBig = "too-big", "larger than a link on the way";
        AdminProhibited = "admin-prohibited", "refused by an administrator";
        TtlExceeded = "ttl-exceeded", "too many hops";
    }
}

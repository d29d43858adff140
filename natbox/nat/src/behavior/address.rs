//! Words of translation and filtering: which external endpoint, for whom, open to whom (RFC 4787 sections 4 to 6).

use natbox_wire::words;

words! {
    /// Whether addresses are rewritten at all (RFC 2663).
    pub enum TranslationKind: "translation" {
        Napt = "napt", "address and port are rewritten (RFC 2663: NAPT)";
        Basic = "basic", "the address alone is rewritten, one external address for each internal one (RFC 2663: Basic NAT)";
        None = "none", "nothing is rewritten: a router, or with filtering a stateful firewall";
    }
}

words! {
    /// When an internal endpoint keeps its external endpoint (RFC 4787 section 4.1).
    pub enum Mapping: "mapping behaviour" {
        EndpointIndependent = "endpoint-independent", "one external endpoint towards every remote";
        AddressDependent = "address-dependent", "one external endpoint per remote address";
        AddressAndPortDependent = "address-and-port-dependent", "one external endpoint per remote address and port";
        ConnectionDependent = "connection-dependent", "a new external endpoint for every TCP connection; for other protocols as address-and-port-dependent";
    }
}

words! {
    /// Which remotes may send to an external endpoint (RFC 4787 section 5).
    pub enum Filtering: "filtering behaviour" {
        EndpointIndependent = "endpoint-independent", "anybody, while the mapping lives";
        AddressDependent = "address-dependent", "remotes whose address has been sent to";
        AddressAndPortDependent = "address-and-port-dependent", "remotes whose address and port have been sent to";
        ConnectionDependent = "connection-dependent", "no TCP connection and no ICMP query may be begun from outside, and nothing answered from inside; for UDP as address-and-port-dependent";
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
        On = "on", "a reply uses the mapping that let the packet in";
        Off = "off", "every outbound packet is keyed afresh by the mapping rule";
    }
}

words! {
    /// Whether UDP and TCP of one internal endpoint share what one of them opened (RFC 7857 sections 5 and 6).
    pub enum ProtocolSharing: "protocol sharing" {
        Off = "off", "each protocol has its own mappings and permissions";
        Mapping = "mapping", "UDP and TCP of one internal endpoint get the same external port";
        Filtering = "filtering", "a remote that one of the two has sent to is admitted by the other";
        Both = "both", "mappings and permissions are shared";
    }
}

words! {
    /// What happens to a packet from inside to the NAT's own external address (RFC 4787 section 6).
    pub enum Hairpin: "hairpinning" {
        ExternalSource = "external-source", "delivered inside, with the sender's external endpoint as source (REQ-9a)";
        InternalSource = "internal-source", "delivered inside, with the sender's internal endpoint left as source";
        RouterSource = "router-source", "delivered inside, with the gateway's inside address and the sender's external port as source";
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
    /// What an unsolicited packet from outside to an external port does to a box that is about to use that port
    /// itself: the race that hole punching loses on some boxes.
    pub enum EarlyInbound: "early inbound behaviour" {
        Ignore = "ignore", "it is dropped and forgotten";
        Remap = "remap", "it occupies (external endpoint, remote): the outbound packet that follows gets another port (Linux with an accepting INPUT chain)";
        Destroy = "destroy", "it ends the mapping that it was sent to";
        Blacklist = "blacklist", "its source is refused for a while, also after it has been sent to";
    }
}

words! {
    /// What the box does with IPv6.
    pub enum Ipv6: "IPv6 mode" {
        Firewall = "firewall", "addresses are left alone; the filter alone applies (RFC 6092)";
        Napt = "napt", "addresses and ports are rewritten as for IPv4 (NAT66)";
    }
}

words! {
    /// A network inside that has the prefix that the NAT is attached to outside (RFC 4787 REQ-7).
    pub enum OverlappingRealms: "overlapping realms" {
        Translate = "translate", "an address is taken for one inside or outside by the side that the packet comes from";
        Refuse = "refuse", "the box does not work until its inside is renumbered: everything is dropped";
        Broken = "broken", "destinations of the shared prefix are taken for inside ones, whatever the packet wanted";
    }
}

//! Words of ICMP, TTL, size and fragments (RFC 5508, RFC 4787 REQ-12 to REQ-14, RFC 6864).

use std::time::Duration;

use natbox_wire::words;

words! {
    /// What becomes of ICMP errors about a session (RFC 5508 REQ-3 to REQ-5).
    pub enum IcmpErrors: "ICMP error behaviour" {
        Translate = "translate", "outer and quoted addresses are translated and every checksum is mended";
        Drop = "drop", "they are dropped";
        OuterOnly = "outer-only", "the quoted packet is left as it was";
        BadInnerChecksum = "bad-inner-checksum", "the quoted packet is translated, its IP checksum left as it was";
    }
}

words! {
    /// Whether something is done.
    pub enum Switch: "switch" {
        Off = "off", "no";
        On = "on", "yes";
    }
}

impl From<bool> for Switch {
    fn from(on: bool) -> Switch {
        if on { Switch::On } else { Switch::Off }
    }
}

words! {
    /// Which queries with an identifier pass (RFC 5508 REQ-1, REQ-10).
    pub enum IcmpQuery: "ICMP query policy" {
        Permit = "permit", "echo, timestamp and address mask requests open sessions; information requests do not (REQ-10c)";
        All = "all", "information requests do too, as in netfilter";
        EchoOnly = "echo-only", "echo requests alone do";
        Deny = "deny", "none is translated, nor turned round inside: ICMP administratively prohibited (REQ-8)";
    }
}

words! {
    /// Which identifier a query gets outside.
    pub enum IcmpIdentifier: "ICMP identifier allocation" {
        Random = "random", "a random free one";
        Preserve = "preserve", "its own if free, else a random one";
    }
}

words! {
    /// What becomes of a packet with don't-fragment set that is too big for the next link (RFC 4787 REQ-13).
    pub enum TooBig: "too-big behaviour" {
        FragNeeded = "frag-needed", "dropped; ICMP fragmentation needed with the link's MTU";
        SilentDrop = "silent-drop", "dropped in silence: a path MTU black hole";
        ClearDf = "clear-df", "its don't-fragment bit is cleared, and it is fragmented";
        WrongMtu = "wrong-mtu", "dropped; ICMP fragmentation needed with an MTU of 0 (RFC 1191 section 3)";
    }
}

words! {
    /// What the box does to the time to live (RFC 5508 section 7.2).
    pub enum Ttl: "TTL behaviour" {
        Decrement = "decrement", "one less; ICMP time exceeded when it runs out";
        DecrementSilent = "decrement-silent", "one less; nothing is said when it runs out";
        Transparent = "transparent", "left alone: the box is no hop";
    }
}

words! {
    /// What the box does to the identification of outbound IPv4 packets (RFC 7857 section 10, RFC 6864).
    pub enum IpId: "IP identification" {
        Unique = "unique", "packets that may be fragmented get one of the box's own, so that two hosts never clash";
        Copy = "copy", "left alone";
        ZeroIfAtomic = "zero-if-atomic", "as `unique`, and zero where don't-fragment is set";
    }
}

words! {
    /// How fragments pass (RFC 4787 REQ-14).
    pub enum FragmentMode: "fragment behaviour" {
        OutOfOrder = "out-of-order", "those that come before the first are held until it comes";
        Reassemble = "reassemble", "held until the datagram is whole, which goes on in one piece or anew in fragments";
        Collect = "collect", "held until the datagram is whole, which goes on in the fragments that it came in, the first first (Linux)";
        InOrder = "in-order", "those that come before the first are dropped";
        None = "none", "every fragment is dropped";
    }
}

/// How fragments pass, and what they may cost.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FragmentRules {
    /// From outside.
    pub inbound: FragmentMode,
    /// From inside, hairpinned ones included.
    pub outbound: FragmentMode,
    /// Bytes held at most.
    pub max_bytes: u32,
    /// Datagrams followed at most.
    pub max_datagrams: u32,
    /// Of these, with one source address.
    pub per_source: u32,
    /// How long a datagram's fragments are waited for and remembered (RFC 6146 section 3.4: at least 2 s).
    pub timeout: Duration,
}

//! Words of TCP: what the box knows of connections, and what it does about segments that do not fit (RFC 5382,
//! RFC 7857 section 2, RFC 6146 section 3.5.2).

use natbox_wire::words;

words! {
    /// What becomes of a SYN from outside that no mapping wants or the filter refuses (RFC 5382 REQ-4).
    pub enum UnsolicitedSyn: "unsolicited SYN behaviour" {
        IcmpAfter6s = "icmp-after-6s", "held for six seconds, then ICMP port unreachable; nothing if a SYN for it leaves in time";
        Drop = "drop", "dropped in silence";
        IcmpNow = "icmp-now", "ICMP port unreachable at once";
        RstNow = "rst-now", "a RST at once, as to any other segment that nobody asked for (a box that lets it reach itself)";
        RstAfter = "rst-after", "held for six seconds, then a RST; nothing if a SYN for it leaves in time";
    }
}

words! {
    /// What becomes of a datagram from outside that no mapping wants.
    pub enum UnsolicitedUdp: "unsolicited UDP behaviour" {
        Drop = "drop", "dropped in silence";
        Icmp = "icmp", "ICMP port unreachable at once (a box that lets it reach itself)";
    }
}

words! {
    /// What becomes of a segment that belongs to no session and opens none (RFC 5382 section 5).
    pub enum TcpNoState: "TCP segment without state" {
        Drop = "drop", "dropped in silence";
        Rst = "rst", "dropped, and its sender gets a RST";
        Pickup = "pickup", "one from inside opens an established session (Linux: nf_conntrack_tcp_loose)";
    }
}

words! {
    /// Whose state machine follows connections.
    pub enum TcpMachine: "TCP state machine" {
        Rfc7857 = "rfc7857", "RFC 7857 figure 1: every segment passes, and data after a RST shows that the connection lives";
        Netfilter = "netfilter", "Linux: what the state does not allow is dropped, a RST ends for good, every segment refreshes; says itself when a connection is established and when it may be opened again";
    }
}

words! {
    /// When a connection counts as established (RFC 7857 figure 1, RFC 5382 section 5).
    pub enum TcpEstablishedOn: "TCP established when" {
        ServerSyn = "server-syn", "a SYN of both sides has passed";
        AckBothWays = "ack-both-ways", "an ACK of both sides has passed; until then it is partially open";
    }
}

words! {
    /// What the box makes of a simultaneous open (RFC 5382 REQ-2a).
    pub enum TcpSimultaneousOpen: "TCP simultaneous open" {
        Ok = "ok", "all four segments are translated";
        BlockInSyn = "block-in-syn", "a SYN from outside to a connection that is being opened from inside is dropped";
        BlockOutSynack = "block-out-synack", "the SYN/ACK that answers it is dropped";
        MistranslateOutSynack = "mistranslate-out-synack", "the SYN/ACK that answers it leaves from another external port";
    }
}

words! {
    /// Whether sequence numbers are looked at.
    pub enum TcpWindow: "TCP window tracking" {
        Off = "off", "never";
        Liberal = "liberal", "a RST outside the window is dropped";
        Strict = "strict", "any segment outside the window is dropped";
    }
}

words! {
    /// What becomes of a packet from inside that belongs to no session and opens none, or that its connection does not
    /// allow: TCP segments, echo replies, ICMP errors (the state `invalid` of Linux).
    pub enum InvalidOutbound: "invalid outbound packet" {
        Drop = "drop", "dropped";
        Leak = "leak", "it leaves as it came, with its internal address: nobody drops what the NAT does not know (Linux without `ct state invalid drop`)";
    }
}

words! {
    /// Whom the box tells that an established connection has been idle for its whole lifetime.
    pub enum ExpiryNotify: "expiry notice" {
        None = "none", "nobody";
        RstBoth = "rst-both", "both ends get a RST";
        KeepaliveProbe = "keepalive-probe", "the inside gets an empty ACK; an answer keeps the session (RFC 6146 section 3.5.2.2)";
    }
}

words! {
    /// Whether a new SYN on the endpoints of a connection that has been closed begins a new session.
    pub enum TcpReopen: "TCP reopening" {
        On = "on", "a SYN after FINs both ways or a RST begins anew, on the same mapping";
        Off = "off", "after FINs both ways it passes and changes nothing, after a RST it counts as any segment (RFC 6146)";
    }
}

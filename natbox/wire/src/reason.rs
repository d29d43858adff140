//! Why a packet died: one closed list for the whole house.
//!
//! It lives at the bottom of the house because every room drops packets and every report names the reason.

crate::words! {
    /// Why a packet was dropped.
    pub enum DropReason: "drop reason" {
        // Malformed: the bytes are not a packet that a router may forward or a host may read.
        Truncated = "truncated", "fewer bytes than the header needs or announces";
        BadVersion = "bad-version", "the IP version is neither 4 nor 6";
        BadHeaderLength = "bad-header-length", "the IPv4 header length is below 20 bytes or beyond the packet";
        BadLength = "bad-length", "the IP length field contradicts the bytes that came";
        BadIpChecksum = "bad-ip-checksum", "the IPv4 header checksum is wrong (RFC 1812 section 5.2.2)";
        BadOptions = "bad-options", "an IP option or extension header is malformed";
        SourceRoute = "source-route", "the packet asks for source routing, which nobody here grants (RFC 7126, RFC 5095)";
        BadTransportHeader = "bad-transport-header", "a UDP, TCP or ICMP header that its own fields or the packet's end contradict";
        BadTransportChecksum = "bad-transport-checksum", "the UDP, TCP or ICMP checksum is wrong";
        BadSource = "bad-source", "a source address that no packet may carry: multicast, broadcast, loopback, unspecified";
        // Links.
        Loss = "loss", "lost by the link's configured chance";
        QueueFull = "queue-full", "the link's queue was full";
        LinkCut = "link-cut", "the link is cut";
        TooBig = "too-big", "larger than the link's MTU and not allowed to be fragmented";
        // Routing.
        NoRoute = "no-route", "no route to the destination";
        PrivateDestination = "private-destination", "a private destination (RFC 1918, RFC 4193, RFC 6598) in the public core, where it means nothing";
        TtlExpired = "ttl-expired", "the time to live, or hop limit, ran out";
        ClientIsolation = "client-isolation", "the local network lets its clients reach nobody but the gateway";
        NoNeighbour = "no-neighbour", "nobody on the local network has this address";
        // NATs and firewalls.
        NoMapping = "no-mapping", "nothing inside has this external endpoint";
        Filtered = "filtered", "the mapping exists, but the filter refuses this remote";
        EarlyInbound = "early-inbound", "the remote came before the inside sent to it, and the box keeps what that opened for itself";
        Blacklisted = "blacklisted", "the source has come uninvited before, and is refused for a while";
        OverlappingRealms = "overlapping-realms", "the box's outside has addresses of its inside, and the box cannot tell the two apart";
        OutboundBlocked = "outbound-blocked", "the firewall lets nothing of this protocol, or to this port, leave";
        PortsExhausted = "ports-exhausted", "no free external port for a new mapping";
        PortTaken = "port-taken", "the internal port is taken on the external address, and this NAT gives out no other";
        AddressesExhausted = "addresses-exhausted", "every external address of this Basic NAT belongs to another internal one";
        QuotaExceeded = "quota-exceeded", "the internal address has all the mappings or sessions that it may have";
        RateExceeded = "rate-exceeded", "the internal address has got as many new mappings within a second as it may";
        SessionsExhausted = "sessions-exhausted", "the NAT's table of sessions is full";
        NoSession = "no-session", "a TCP segment or an echo reply of no session of this NAT, which cannot open one";
        SynHeld = "syn-held", "a copy of an unsolicited SYN that is being held (RFC 5382 REQ-4)";
        SynCrossed = "syn-crossed", "an unsolicited SYN, forgotten because a SYN for its connection left in time (RFC 5382 REQ-4)";
        SimultaneousOpen = "simultaneous-open", "a segment of a simultaneous open, which this NAT breaks";
        InvalidSegment = "invalid-segment", "a TCP segment that the state of its connection does not allow";
        OutOfWindow = "out-of-window", "a TCP segment whose sequence or acknowledgement number is outside the window";
        HairpinOff = "hairpin-off", "sent from inside to an external address of the same NAT, which does not hairpin";
        UnsupportedProtocol = "unsupported-protocol", "a protocol that this NAT does not translate";
        FragmentUntranslatable = "fragment-untranslatable", "a fragment, and this NAT or firewall handles whole packets only";
        FragmentWithoutFirst = "fragment-without-first", "a later fragment of a datagram whose first has not been seen, and this NAT or firewall holds none";
        FragmentRepeated = "fragment-repeated", "a fragment that the box holds already";
        RateLimited = "rate-limited", "an ICMP error of the box's own, beyond what it may send a second (RFC 1812 section 4.3.2.8)";
        QueryDenied = "query-denied", "an ICMP query, and this NAT lets none pass";
        IcmpErrorOff = "icmp-error-off", "an ICMP error, and this NAT translates none that goes this way";
        IcmpUntranslatable = "icmp-untranslatable", "an ICMP message that this NAT does not translate: neither a query that it knows nor an error about a session";
        BadQuotedChecksum = "bad-quoted-checksum", "an ICMP error that quotes an IP header whose checksum is wrong (RFC 5508 REQ-3)";
        IcmpNoSession = "icmp-no-session", "an ICMP error about a packet of no session of this NAT";
        Rebooted = "rebooted", "held by a box that has rebooted";
        // Hosts.
        NotForThisHost = "not-for-this-host", "addressed to somebody else, and hosts do not forward";
        PortUnreachable = "port-unreachable", "no socket on this port; an ICMP port unreachable or a RST answers";
        ProtocolUnreachable = "protocol-unreachable", "a protocol that the host does not speak; an ICMP protocol unreachable answers";
        BufferFull = "buffer-full", "the socket's receive buffer was full";
        ReassemblyTimeout = "reassembly-timeout", "the other fragments did not come in time";
        ReassemblyLimit = "reassembly-limit", "the memory for fragments was full";
        BadFragment = "bad-fragment", "fragments that run past 65,535 bytes or have a crooked length, or whose whole is no packet";
        FragmentOverlap = "fragment-overlap", "fragments that overlap, or contradict one another about the end (RFC 5722)";
        IcmpUnconcerned = "icmp-unconcerned", "an ICMP message that concerns no socket of this host";
    }
}

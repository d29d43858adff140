//! The axes of a NAT's behaviour, key by key: the part of the schema's table that says how a NAT behaves.
//!
//! Each key is an axis of `natbox_nat::Behavior`, under the name that its `axes` gives it.

use natbox_nat::behavior::{
    DeterministicAlgorithm, EarlyInbound, Exhausted, ExpiryNotify, FilterScope, Filtering, FragmentMode, GenericAlg,
    Hairpin, HairpinFilter, IcmpErrors, IcmpIdentifier, IcmpQuery, InvalidOutbound, IpId, Ipv6, Mapping,
    OverlappingRealms, PoolExhausted, Pooling, PortAllocation, PortClass, PortConflict, PortContiguity, PortCounter,
    PortOverlap, PortParity, ProtocolSharing, Refresh, SessionAffinity, Switch, TableFull, TcpEstablishedOn,
    TcpMachine, TcpNoState, TcpReopen, TcpSimultaneousOpen, TcpWindow, TooBig, TranslationKind, Ttl, UnsolicitedSyn,
    UnsolicitedUdp,
};

use super::schema::{optional, word};
use super::shape::{Field, Shape};
use super::{places, units};

static POSITIVE: Shape = Shape::Leaf(&units::POSITIVE);
static DURATION: Shape = Shape::Leaf(&units::DURATION);
static LIFETIME: Shape = Shape::Leaf(&units::LIFETIME);
static LIMIT: Shape = Shape::Leaf(&units::LIMIT);
static SWITCH: Shape = word::<Switch>();
static REACH_LEAF: Shape = Shape::Leaf(&places::REACH);
static REACH: Shape = Shape::OneOrMany(&REACH_LEAF);
static RANGE_LEAF: Shape = Shape::Leaf(&places::PORTS);
static RANGE: Shape = Shape::OneOrMany(&RANGE_LEAF);
static DEGRADED_LEAF: Shape = Shape::Leaf(&places::DEGRADED);
static DEGRADED: Shape = Shape::OneOrMany(&DEGRADED_LEAF);
static ALIAS_LEAF: Shape = Shape::Leaf(&places::ALIAS);
static ALIASES: Shape = Shape::OneOrMany(&ALIAS_LEAF);
static DESTINATIONS_LEAF: Shape = Shape::Leaf(&places::DESTINATIONS);
static DESTINATIONS: Shape = Shape::OneOrMany(&DESTINATIONS_LEAF);
static PORT_LIFETIME_LEAF: Shape = Shape::Leaf(&places::PORT_LIFETIME);
static PORT_LIFETIMES: Shape = Shape::OneOrMany(&PORT_LIFETIME_LEAF);
static U16: Shape = Shape::Count { what: "a whole number", min: 1, max: 65_535 };
static U32: Shape = Shape::Count { what: "a whole number", min: 1, max: u32::MAX as u64 };
static FACTOR: Shape = Shape::Count { what: "a whole number", min: 0, max: 65_535 };

/// One shape, or one for each protocol.
macro_rules! per_protocol {
    ($name:ident, $word:ty) => {
        static $name: Shape = Shape::Either(
            &word::<$word>(),
            &Shape::Object(&[
                optional("udp", &word::<$word>(), "For UDP."),
                optional("tcp", &word::<$word>(), "For TCP."),
                optional("icmp", &word::<$word>(), "For ICMP queries."),
            ]),
        );
    };
}

per_protocol!(MAPPING, Mapping);
per_protocol!(FILTERING, Filtering);
per_protocol!(HAIRPIN, Hairpin);

/// Every axis.
pub(crate) const AXES: &[Field] = &[
    optional("translation", &word::<TranslationKind>(), "Whether IPv4 addresses are rewritten at all (RFC 2663)."),
    optional("ipv6", &word::<Ipv6>(), "What happens to IPv6."),
    optional(
        "mapping",
        &MAPPING,
        "When an internal endpoint keeps its external endpoint (RFC 4787 section 4.1); one word, or one for each protocol.",
    ),
    optional(
        "filtering",
        &FILTERING,
        "Which remotes may send to an external endpoint (RFC 4787 section 5); one word, or one for each protocol.",
    ),
    optional("filter_scope", &word::<FilterScope>(), "What permissions are tied to."),
    optional("session_affinity", &word::<SessionAffinity>(), "Whether replies use the mapping that let the packet in."),
    optional("protocol_sharing", &word::<ProtocolSharing>(), "What UDP and TCP share (RFC 7857 sections 5 and 6)."),
    optional(
        "degraded",
        &DEGRADED,
        "`MAPPING/FILTERING` of hosts whose port was taken once, and twice (RFC 4787 REQ-11 forbids it).",
    ),
    optional("ports", &PORTS, "How external ports are chosen (RFC 4787 section 4.2)."),
    optional(
        "pooling",
        &word::<Pooling>(),
        "How external addresses are chosen where there are several (RFC 4787 section 4.1).",
    ),
    optional(
        "pool_exhausted",
        &word::<PoolExhausted>(),
        "What happens when the external address of a pair is full (RFC 7857 section 4).",
    ),
    optional("exhausted", &word::<Exhausted>(), "What happens when no port, address or quota is left."),
    optional("table_size", &LIMIT, "Sessions at once, for each IP version; 4194304 at most, and where it is `none`."),
    optional("table_full", &word::<TableFull>(), "What happens when the table of sessions is full."),
    optional("quota", &QUOTA, "What one internal address may have at most (RFC 6888 REQ-4 and REQ-5)."),
    optional(
        "hairpin",
        &HAIRPIN,
        "Packets from inside to an external address of this NAT (RFC 4787 section 6); one word, or one for each protocol.",
    ),
    optional("hairpin_filter", &word::<HairpinFilter>(), "Whether hairpinned packets are filtered."),
    optional(
        "early_inbound",
        &word::<EarlyInbound>(),
        "What an unsolicited packet does to a port that is about to be used.",
    ),
    optional(
        "overlapping_realms",
        &word::<OverlappingRealms>(),
        "What becomes of an inside that has the prefix of the outside (RFC 4787 REQ-7).",
    ),
    optional(
        "aliases",
        &ALIASES,
        "`INSIDE=OUTSIDE`: an outside host that goes by another address inside (RFC 2663: Twice NAT).",
    ),
    optional("bypass", &DESTINATIONS, "Destinations to which packets leave untranslated (RFC 6888 REQ-6)."),
    optional("refresh", &word::<Refresh>(), "Which packets restart idle timers (RFC 4787 section 4.3)."),
    optional("refresh_on_error", &SWITCH, "Whether ICMP errors restart them (RFC 5508 REQ-6 forbids it)."),
    optional(
        "refresh_on_filtered",
        &SWITCH,
        "Whether packets that the filter refuses restart them (RFC 7857 section 7 forbids it).",
    ),
    optional("timeouts", &TIMEOUTS, "How long idle sessions live."),
    optional("unsolicited_syn", &word::<UnsolicitedSyn>(), "SYNs from outside that nobody asked for (RFC 5382 REQ-4)."),
    optional("unsolicited_udp", &word::<UnsolicitedUdp>(), "Datagrams from outside that nobody asked for."),
    optional("tcp_no_state", &word::<TcpNoState>(), "Segments of no session that open none (RFC 5382 section 5)."),
    optional("tcp_machine", &word::<TcpMachine>(), "Whose state machine follows connections."),
    optional(
        "tcp_established_on",
        &word::<TcpEstablishedOn>(),
        "When a connection counts as established (RFC 7857 figure 1).",
    ),
    optional(
        "tcp_simopen",
        &word::<TcpSimultaneousOpen>(),
        "What the box makes of a simultaneous open (RFC 5382 REQ-2).",
    ),
    optional("tcp_window", &word::<TcpWindow>(), "Whether sequence numbers are looked at."),
    optional("tcp_reopen", &word::<TcpReopen>(), "Whether a SYN on a closed connection's endpoints begins anew."),
    optional(
        "invalid_outbound",
        &word::<InvalidOutbound>(),
        "Packets from inside that belong to no session and open none.",
    ),
    optional("expiry_notify", &word::<ExpiryNotify>(), "Whom the box tells that a connection has expired."),
    optional("icmp_error", &ICMP_ERROR, "ICMP errors about sessions (RFC 5508 REQ-3 to REQ-5)."),
    optional("icmp_verify", &SWITCH, "Whether errors with a wrong checksum are dropped (RFC 5508 REQ-3)."),
    optional(
        "icmp_kills_mapping",
        &SWITCH,
        "Whether an ICMP error from outside ends the mapping (RFC 4787 REQ-12 forbids it).",
    ),
    optional(
        "icmp_source_filter",
        &SWITCH,
        "Whether ICMP errors from addresses that the session does not concern are dropped (RFC 4787 REQ-12a).",
    ),
    optional("icmp_originate", &SWITCH, "Whether the box originates ICMP errors (RFC 5508 REQ-9)."),
    optional(
        "answer_ping",
        &SWITCH,
        "Whether the box answers pings from outside that nothing inside wants (RFC 1812 section 4.3.3.6 asks for it).",
    ),
    optional("icmp_query", &word::<IcmpQuery>(), "Which ICMP queries pass (RFC 5508 REQ-1, REQ-10)."),
    optional("icmp_identifier", &word::<IcmpIdentifier>(), "Which identifier a query gets outside."),
    optional("too_big", &word::<TooBig>(), "Packets too big for the next link that may not be fragmented."),
    optional("ttl", &word::<Ttl>(), "What the box does to the time to live."),
    optional(
        "ip_id",
        &word::<IpId>(),
        "What the box does to the identification of IPv4 packets (RFC 7857 section 10).",
    ),
    optional("fragments", &FRAGMENTS, "How fragments pass (RFC 4787 REQ-14)."),
    optional("outbound", &OUTBOUND, "What may leave, apart from translation."),
    optional("alg", &ALG, "Application-layer gateways (RFC 4787 REQ-10)."),
];

static PORTS: Shape = Shape::Object(&[
    optional("allocation", &word::<PortAllocation>(), "The rule by which a new mapping gets its port."),
    optional("conflict", &word::<PortConflict>(), "What `preserve` does where the port is taken."),
    optional("overlap", &word::<PortOverlap>(), "Whether mappings towards different remotes may share a port."),
    optional("range", &RANGE, "The external ports that may be given out."),
    optional("class", &word::<PortClass>(), "Which part of the range an internal port may get."),
    optional("parity", &word::<PortParity>(), "Whether the lowest bit is kept (RFC 4787 REQ-4)."),
    optional("contiguity", &word::<PortContiguity>(), "Whether the next port is reserved (RFC 4787 section 4.2.3)."),
    optional("delta", &U16, "The step of `sequential`."),
    optional("increment", &U16, "The largest step of `rfc6056-5`."),
    optional("table_length", &U16, "Counters in the table of `rfc6056-4`."),
    optional("counter", &word::<PortCounter>(), "Whose counter the counting rules use."),
    optional("block_size", &U16, "Ports in a block, for `block`."),
    optional("blocks_per_host", &U16, "Blocks that one internal address may hold, for `block`."),
    optional("deterministic", &DETERMINISTIC, "The arithmetic of `deterministic` (RFC 7422)."),
    optional("quarantine", &DURATION, "How long a port that was given back rests (RFC 6888 REQ-8)."),
    optional("quarantine_max", &LIMIT, "Ports that rest at most, the one that has rested for longest freed first."),
]);

static DETERMINISTIC: Shape = Shape::Object(&[
    optional(
        "first",
        &Shape::Leaf(&places::FIRST),
        "The first internal address that has a range; the first host of the network inside if `none`.",
    ),
    optional("compression", &U32, "Internal addresses to an external one (C)."),
    optional("dynamic_factor", &FACTOR, "Parts of the ports left to the dynamic pool (D)."),
    optional("max_ports", &LIMIT, "Ports that one internal address may use in all (M)."),
    optional("algorithm", &word::<DeterministicAlgorithm>(), "How ranges are dealt out (A)."),
]);

static QUOTA: Shape = Shape::Object(&[
    optional("ports", &LIMIT, "Mappings at once."),
    optional("sessions", &LIMIT, "Sessions at once."),
    optional("new_per_second", &LIMIT, "New mappings in any one second."),
]);

static TIMEOUTS: Shape = Shape::Object(&[
    optional("udp", &POSITIVE, "UDP sessions with packets both ways (RFC 4787 REQ-5)."),
    optional("udp_unreplied", &POSITIVE, "UDP sessions with packets one way only; as `udp` if absent."),
    optional("udp_stream", &POSITIVE, "UDP sessions that count as streams; as `udp` if absent."),
    optional("udp_stream_after", &DURATION, "How old a UDP session must be to become a stream."),
    optional("udp_ports", &PORT_LIFETIMES, "`PORT=TIME`: UDP sessions by remote port (RFC 4787 REQ-5a)."),
    optional("icmp", &POSITIVE, "ICMP query sessions (RFC 5508 REQ-2)."),
    optional("tcp_opening", &POSITIVE, "TCP after a SYN of one side (RFC 5382 REQ-5)."),
    optional("tcp_partial_open", &POSITIVE, "TCP after SYNs of both, before ACKs of both; as `tcp_opening` if absent."),
    optional("tcp_established", &POSITIVE, "Established TCP (RFC 5382 REQ-5)."),
    optional(
        "tcp_unacknowledged",
        &POSITIVE,
        "TCP picked up running or with data unacknowledged, at most; as `tcp_established` if absent.",
    ),
    optional("tcp_half_closed", &POSITIVE, "TCP after a FIN of one side; as `tcp_established` if absent."),
    optional("tcp_close_wait", &POSITIVE, "TCP after that FIN's ACK; as `tcp_half_closed` if absent."),
    optional("tcp_closing", &POSITIVE, "TCP after FINs both ways (RFC 5382 REQ-5)."),
    optional(
        "tcp_time_wait",
        &POSITIVE,
        "TCP after the last FIN's ACK, from then on; if absent the closing one goes on.",
    ),
    optional("tcp_reset", &POSITIVE, "TCP after a RST (RFC 7857 section 2.2); as `tcp_closing` if absent."),
    optional("tcp_inbound_syn", &POSITIVE, "How long an unsolicited SYN is held (RFC 5382 REQ-4)."),
    optional("absolute", &LIFETIME, "How long any mapping lives at most, whatever passes."),
    optional("early_inbound", &POSITIVE, "How long an early inbound packet is remembered."),
]);

static ICMP_ERROR: Shape = Shape::Either(
    &word::<IcmpErrors>(),
    &Shape::Object(&[
        optional("inbound", &word::<IcmpErrors>(), "From outside."),
        optional("outbound", &word::<IcmpErrors>(), "From inside."),
    ]),
);

static FRAGMENTS: Shape = Shape::Either(
    &word::<FragmentMode>(),
    &Shape::Object(&[
        optional("inbound", &word::<FragmentMode>(), "From outside."),
        optional("outbound", &word::<FragmentMode>(), "From inside, hairpinned ones included."),
        optional("max_bytes", &U32, "Bytes held at most."),
        optional("max_datagrams", &U32, "Datagrams followed at most."),
        optional("per_source", &U32, "Of these, with one source address."),
        optional("timeout", &POSITIVE, "How long a datagram's fragments are waited for."),
    ]),
);

static OUTBOUND: Shape = Shape::Object(&[
    optional("udp", &REACH, "UDP by remote port."),
    optional("tcp", &REACH, "TCP by remote port."),
    optional(
        "icmp",
        &SWITCH,
        "ICMP queries. Those that turn round inside pass all the same; `icmp_query: deny` forbids them too.",
    ),
]);

static ALG: Shape = Shape::Object(&[
    optional("ftp", &SWITCH, "FTP (RFC 959, RFC 2428)."),
    optional("sip", &SWITCH, "SIP over UDP (RFC 3261) with SDP."),
    optional("tftp", &SWITCH, "TFTP (RFC 1350)."),
    optional("generic", &word::<GenericAlg>(), "Whatever looks like the address."),
]);

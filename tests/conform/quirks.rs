//! What a quirk on an otherwise conforming NAT violates: axis by axis, with everything that it violates and nothing else.

use std::time::Duration;

use natbox::nat::Behavior;
use natbox::nat::behavior::*;

/// A quirk: its name, how it is configured, and the ids of the MUSTs and SHOULDs that it violates.
pub(crate) type Quirk = (&'static str, fn(&mut Behavior), &'static [&'static str]);

const fn seconds(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

pub(crate) const MAPPING_AND_FILTERING: &[Quirk] = &[
    ("address-dependent", |it| it.mapping = Mapping::AddressDependent.into(), EDM),
    ("address-and-port-dependent", |it| it.mapping = Mapping::AddressAndPortDependent.into(), EDM),
    ("connection-dependent", |it| it.mapping = Mapping::ConnectionDependent.into(), EDM),
    ("filter by address", |it| it.filtering = Filtering::AddressDependent.into(), &[]),
    (
        "filter by port",
        |it| it.filtering = Filtering::AddressAndPortDependent.into(),
        &["RFC4787 REQ-8", "RFC5382 REQ-3"],
    ),
    ("degraded", degraded, &["RFC4787 REQ-11"]),
    ("protocols share mappings", |it| it.protocol_sharing = ProtocolSharing::Mapping, &["RFC7857 5"]),
    ("protocols share permissions", |it| it.protocol_sharing = ProtocolSharing::Filtering, &["RFC7857 6"]),
    ("refusing realms", |it| it.overlapping_realms = OverlappingRealms::Refuse, &["RFC4787 REQ-7"]),
    ("broken realms", |it| it.overlapping_realms = OverlappingRealms::Broken, &["RFC4787 REQ-7"]),
    ("remapping", |it| it.early_inbound = EarlyInbound::Remap, &["RFC7857 2 (1)", "RFC7857 2 (2)"]),
];

const EDM: &[&str] = &["RFC4787 REQ-1", "RFC5382 REQ-1", "RFC5508 REQ-1a"];

fn degraded(it: &mut Behavior) {
    it.ports.allocation = PortAllocation::Preserve;
    let worst = Mapping::AddressAndPortDependent;
    it.degraded = vec![Degraded { mapping: worst, filtering: Filtering::EndpointIndependent }];
}

pub(crate) const PORTS_AND_ADDRESSES: &[Quirk] = &[
    (
        "overloading",
        |it| (it.ports.allocation, it.ports.conflict) = (PortAllocation::Preserve, PortConflict::Overload),
        &["RFC4787 REQ-3", "RFC4787 REQ-11", "RFC5382 REQ-7", "RFC7857 3"],
    ),
    (
        "overriding",
        |it| (it.ports.allocation, it.ports.conflict) = (PortAllocation::Preserve, PortConflict::OverrideOld),
        &["RFC4787 REQ-3", "RFC5382 REQ-7", "RFC7857 3"],
    ),
    ("any class", |it| it.ports.class = PortClass::All, &["RFC4787 REQ-3a"]),
    ("sequential", |it| it.ports.allocation = PortAllocation::Sequential, &["RFC7857 9"]),
    // Wishes for a port are not heard where ports come by the block.
    ("blocks", |it| it.ports.allocation = PortAllocation::Block, &["RFC4787 REQ-3a", "RFC7857 8 (request)"]),
    ("arbitrary", |it| it.pooling = Pooling::Arbitrary, &["RFC4787 REQ-2"]),
    ("round robin", |it| it.pooling = Pooling::ArbitraryRoundRobin, &["RFC4787 REQ-2"]),
    ("hashed pool", |it| it.pooling = Pooling::HashSourceDestination, &["RFC4787 REQ-2"]),
    ("soft pairs", |it| it.pool_exhausted = PoolExhausted::OtherAddress, &["RFC7857 4", "RFC7857 4 (TCP)"]),
    ("host unreachable", |it| it.exhausted = Exhausted::DropIcmp1, &["RFC5508 REQ-8"]),
    ("silent when full", |it| it.exhausted = Exhausted::DropSilent, &["RFC5508 REQ-8"]),
    ("copied identification", |it| it.ip_id = IpId::Copy, &["RFC7857 10"]),
];

pub(crate) const HAIRPINNING: &[Quirk] = &[
    ("no hairpin", |it| it.hairpin = Hairpin::Off.into(), &["RFC4787 REQ-9", "RFC5382 REQ-8"]),
    ("internal source", |it| it.hairpin = Hairpin::InternalSource.into(), &["RFC4787 REQ-9a", "RFC5382 REQ-8a"]),
    (
        "Basic NAT without hairpin",
        |it| (it.translation, it.hairpin) = (TranslationKind::Basic, Hairpin::Off.into()),
        &["RFC4787 REQ-9", "RFC5382 REQ-8", "RFC5508 REQ-7 (queries)", "RFC7857 12 (queries)"],
    ),
    ("Basic NAT", |it| it.translation = TranslationKind::Basic, &[]),
];

pub(crate) const TIMERS: &[Quirk] = &[
    ("UDP 180 s", |it| it.timeouts.udp = seconds(180), &["RFC4787 REQ-5c"]),
    ("UDP 60 s", |it| it.timeouts.udp = seconds(60), &["RFC4787 REQ-5", "RFC4787 REQ-5c"]),
    ("SIP 60 s", |it| it.timeouts.udp_ports = vec![(5060, seconds(60))], &["RFC4787 REQ-5", "RFC4787 REQ-5c"]),
    ("DNS 10 s", |it| it.timeouts.udp_ports = vec![(53, seconds(10))], &[]),
    ("TCP 1 h", |it| it.timeouts.tcp_established = seconds(3600), &["RFC5382 REQ-5", "RFC7857 2 (4)"]),
    (
        "opening 60 s",
        |it| it.timeouts.tcp_opening = seconds(60),
        &["RFC5382 REQ-5 (transitory)", "RFC7857 2 (6)", "RFC7857 2.1 (default)"],
    ),
    ("opening 3 h", |it| it.timeouts.tcp_opening = seconds(10_800), &["RFC7857 2 (6)", "RFC7857 2.1 (default)"]),
    (
        "closing 60 s",
        |it| it.timeouts.tcp_closing = seconds(60),
        &[
            "RFC5382 REQ-5 (transitory)",
            "RFC7857 2 (3)",
            "RFC7857 2 (5)",
            "RFC7857 2.1 (default)",
            "RFC7857 2.2 (wait)",
        ],
    ),
    ("time-wait 60 s", |it| it.timeouts.tcp_time_wait = Some(seconds(60)), &["RFC7857 2 (5)", "RFC7857 2.1 (default)"]),
    ("half-closed 10 min", |it| it.timeouts.tcp_half_closed = Some(seconds(600)), &["RFC7857 2 (4)"]),
    (
        "half-closed 900 ms",
        |it| it.timeouts.tcp_half_closed = Some(Duration::from_millis(900)),
        &["RFC5382 REQ-2", "RFC7857 2 (4)"],
    ),
    ("RST 10 s", |it| it.timeouts.tcp_reset = Some(seconds(10)), &["RFC7857 2 (3)", "RFC7857 2.2 (wait)"]),
    ("query 30 s", |it| it.timeouts.icmp = seconds(30), &["RFC5508 REQ-2"]),
    ("refresh both ways", |it| it.refresh = Refresh::Both, &[]),
    ("inbound refresh only", |it| it.refresh = Refresh::Inbound, &["RFC4787 REQ-6"]),
    ("errors refresh", |it| it.refresh_on_error = Switch::On, &["RFC7857 7.1"]),
    (
        "errors refresh both ways",
        |it| (it.refresh, it.refresh_on_error) = (Refresh::Both, Switch::On),
        &["RFC5508 REQ-6", "RFC7857 7.1"],
    ),
    ("refused packets refresh", refused, &["RFC7857 7", "RFC7857 7 (TCP)"]),
];

fn refused(it: &mut Behavior) {
    (it.refresh, it.refresh_on_filtered) = (Refresh::Both, Switch::On);
    it.filtering = Filtering::AddressDependent.into();
}

pub(crate) const TCP: &[Quirk] = &[
    ("no SYN in", |it| it.tcp_simopen = TcpSimultaneousOpen::BlockInSyn, CROSSING),
    ("no SYN/ACK out", |it| it.tcp_simopen = TcpSimultaneousOpen::BlockOutSynack, CROSSING),
    ("other SYN/ACK", |it| it.tcp_simopen = TcpSimultaneousOpen::MistranslateOutSynack, CROSSING),
    ("ICMP at once", |it| it.unsolicited_syn = UnsolicitedSyn::IcmpNow, &["RFC5382 REQ-4", "RFC5382 REQ-4 (crossed)"]),
    (
        "RST at once",
        |it| it.unsolicited_syn = UnsolicitedSyn::RstNow,
        &["RFC5382 REQ-4", "RFC5382 REQ-4 (crossed)", "RFC5382 REQ-4 (told)", "RFC5382 REQ-4a"],
    ),
    ("RST after 6 s", |it| it.unsolicited_syn = UnsolicitedSyn::RstAfter, &["RFC5382 REQ-4 (told)", "RFC5382 REQ-4a"]),
    ("unsolicited SYNs dropped", |it| it.unsolicited_syn = UnsolicitedSyn::Drop, &["RFC5382 REQ-4 (told)"]),
    ("ACKs establish", |it| it.tcp_established_on = TcpEstablishedOn::AckBothWays, &["RFC7857 2 (7)"]),
    ("pickup", |it| it.tcp_no_state = TcpNoState::Pickup, &["RFC7857 2 (9)"]),
    ("RST without state", |it| it.tcp_no_state = TcpNoState::Rst, &[]),
    ("no reopening", |it| it.tcp_reopen = TcpReopen::Off, &[]),
];

const CROSSING: &[&str] = &["RFC5382 REQ-2a", "RFC7857 2 (1)"];

pub(crate) const ICMP_AND_FRAGMENTS: &[Quirk] = &[
    (
        "errors kill",
        |it| it.icmp_kills_mapping = Switch::On,
        &["RFC4787 REQ-12", "RFC4787 REQ-12a", "RFC5382 REQ-10", "RFC5508 REQ-6"],
    ),
    ("errors of the remote only", |it| it.icmp_source_filter = Switch::On, &["RFC4787 REQ-12a"]),
    ("errors unverified", |it| it.icmp_verify = Switch::Off, &["RFC5508 REQ-3", "RFC5508 REQ-3a"]),
    ("no errors", |it| it.icmp_error = IcmpErrors::Drop.into(), NO_ERRORS),
    ("outer only", |it| it.icmp_error = IcmpErrors::OuterOnly.into(), OUTER_ONLY),
    ("bad inner checksum", |it| it.icmp_error = IcmpErrors::BadInnerChecksum.into(), BAD_INNER_CHECKSUM),
    ("no queries", |it| it.icmp_query = IcmpQuery::Deny, &["RFC5508 REQ-1", "RFC5508 REQ-10a (3)"]),
    ("all queries", |it| it.icmp_query = IcmpQuery::All, &["RFC5508 REQ-10c (2)"]),
    ("too big, silent", |it| it.too_big = TooBig::SilentDrop, &["RFC4787 REQ-13", "RFC5508 REQ-10a (1)"]),
    ("too big, cut", |it| it.too_big = TooBig::ClearDf, &["RFC4787 REQ-13", "RFC5508 REQ-10a (1)"]),
    ("too big, no MTU", |it| it.too_big = TooBig::WrongMtu, &["RFC5508 REQ-10a (1)"]),
    ("silent hop", |it| it.ttl = Ttl::DecrementSilent, &["RFC5508 REQ-10a (2)"]),
    ("no hop", |it| it.ttl = Ttl::Transparent, &["RFC5508 REQ-10a (2)"]),
    ("no ICMP of its own", |it| it.icmp_originate = Switch::Off, &["RFC4787 REQ-13", "RFC5382 REQ-4 (told)"]),
    ("text ALG", |it| it.alg.generic = GenericAlg::RewriteText, &["RFC4787 REQ-10", "RFC5382 REQ-6"]),
    ("SIP ALG", |it| it.alg.sip = Switch::On, &["RFC4787 REQ-10"]),
    ("FTP ALG", |it| it.alg.ftp = Switch::On, &[]),
    ("fragments in order", |it| it.fragments.inbound = FragmentMode::InOrder, &["RFC4787 REQ-14"]),
    ("no fragments", |it| it.fragments.inbound = FragmentMode::None, &["RFC4787 REQ-14"]),
];

const NO_ERRORS: &[&str] = &[
    "RFC4787 REQ-12b",
    "RFC5382 REQ-9",
    "RFC5508 REQ-4a",
    "RFC5508 REQ-4b",
    "RFC5508 REQ-4c",
    "RFC5508 REQ-5a",
    "RFC5508 REQ-5b",
    "RFC5508 REQ-5c",
    "RFC5508 REQ-7 (errors)",
    "RFC5508 REQ-7a",
    "RFC7857 12 (errors)",
];

const OUTER_ONLY: &[&str] = &[
    "RFC4787 REQ-12b",
    "RFC5382 REQ-9",
    "RFC5508 REQ-3b",
    "RFC5508 REQ-3d",
    "RFC5508 REQ-4a",
    "RFC5508 REQ-5a",
    "RFC5508 REQ-7 (errors)",
    "RFC7857 12 (errors)",
];

const BAD_INNER_CHECKSUM: &[&str] = &[
    "RFC4787 REQ-12b",
    "RFC5382 REQ-9",
    "RFC5508 REQ-3d",
    "RFC5508 REQ-4a",
    "RFC5508 REQ-5a",
    "RFC5508 REQ-7 (errors)",
    "RFC7857 12 (errors)",
];

/// On the preset `rfc6888`, and judged by RFC 6888.
pub(crate) const CARRIER: &[Quirk] = &[
    ("no quota", |it| it.quota = Quota::default(), &["RFC6888 REQ-4"]),
    ("no rest", |it| it.ports.quarantine = Duration::ZERO, &["RFC6888 REQ-8"]),
    ("arbitrary", |it| it.pooling = Pooling::Arbitrary, &["RFC6888 REQ-2"]),
    ("prohibited when full", |it| it.exhausted = Exhausted::DropIcmp13, &["RFC6888 REQ-11b"]),
    ("filter by address", |it| it.filtering = Filtering::AddressDependent.into(), &["RFC6888 REQ-7"]),
    // Ports that are taken away rest, too: in the end there is none to take.
    ("evicting", |it| it.exhausted = Exhausted::EvictLru, &["RFC6888 REQ-11b", "RFC6888 REQ-11d"]),
    (
        "symmetric",
        |it| it.mapping = Mapping::AddressAndPortDependent.into(),
        &["RFC6888 REQ-1", "RFC6888 REQ-12", "RFC6888 REQ-14"],
    ),
    (
        "overloading",
        |it| (it.ports.allocation, it.ports.conflict) = (PortAllocation::Preserve, PortConflict::Overload),
        &["RFC6888 REQ-1", "RFC6888 REQ-11a", "RFC6888 REQ-11d", "RFC6888 REQ-15"],
    ),
    ("blocks", |it| it.ports.allocation = PortAllocation::Block, &["RFC6888 REQ-13", "RFC6888 REQ-15"]),
];

//! Behaviours over all axes, drawn so that they matter: few ports, few addresses, short lives.

use std::net::{IpAddr, Ipv4Addr};
use std::time::Duration;

use natbox_nat::Behavior;
use natbox_nat::behavior::*;
use natbox_wire::Word;
use proptest::prelude::*;

/// An address of the internal (10), external (198) or remote (192) network, of either version.
pub(crate) fn address(ipv6: bool, network: u8, host: u8) -> IpAddr {
    match ipv6 {
        false => [network, 0, 2, host].into(),
        true => [0x2001, 0xdb8, u16::from(network), 0, 0, 0, 0, u16::from(host)].into(),
    }
}

fn word<W: Word + std::fmt::Debug>() -> impl Strategy<Value = W> {
    prop::sample::select(W::ALL)
}

/// Mostly this, else any.
fn mostly<W: Word + std::fmt::Debug>(usual: W) -> impl Strategy<Value = W> {
    prop_oneof![4 => Just(usual), 1 => word()]
}

fn one_of<T: Clone + std::fmt::Debug + 'static>(all: Vec<T>) -> impl Strategy<Value = T> {
    prop::sample::select(all)
}

/// Mostly nothing.
fn rarely<T: Clone + std::fmt::Debug + 'static>(all: Vec<T>) -> impl Strategy<Value = Option<T>> {
    prop_oneof![3 => Just(None), 1 => one_of(all).prop_map(Some)]
}

/// Mostly the same for all protocols.
fn each<W: Word + std::fmt::Debug + PartialEq + 'static>(all: Vec<W>) -> impl Strategy<Value = PerProtocol<W>> {
    let one = one_of(all.clone()).prop_map(PerProtocol::from);
    let three = (one_of(all.clone()), one_of(all.clone()), one_of(all)).prop_map(|(udp, tcp, icmp)| PerProtocol {
        udp,
        tcp,
        icmp,
    });
    prop_oneof![2 => one, 1 => three]
}

fn seconds(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

prop_compose! {
    fn ports()(
        allocation in prop_oneof![3 => Just(PortAllocation::Preserve), 2 => Just(PortAllocation::Sequential), 4 => word()],
        conflict in word(), overlap in mostly(PortOverlap::None), class in word(), parity in mostly(PortParity::Ignore),
        range in one_of(vec![vec![4998..=5003_u16], vec![40_000..=40_003], vec![890..=1030], vec![505..=513, 598..=602], vec![1..=3, 4999..=5007], vec![1024..=1700], vec![900..=900, 5000..=5001]]),
        contiguity in mostly(PortContiguity::None), counter in word(), (delta, increment) in (1..4_u16, one_of(vec![1, 500])),
        (block_size, blocks_per_host) in (1..4_u16, 1..3_u16),
        (quarantine, quarantine_max) in (rarely(vec![seconds(3), seconds(20)]), rarely(vec![0, 1, 2])),
        (first, compression, dynamic_factor, max_ports, algorithm) in
            (prop::bool::weighted(0.8), 1..3_u32, 0..3_u32, rarely(vec![1, 2]), word()),
    ) -> Ports {
        let deterministic = Deterministic { first: first.then_some(Ipv4Addr::new(10, 0, 2, 1)), compression, dynamic_factor, max_ports, algorithm };
        let quarantine = quarantine.unwrap_or(Duration::ZERO);
        Ports { allocation, conflict, overlap, range: PortRanges::new(range), class, parity, contiguity, delta, increment, table_length: 3, counter, block_size, blocks_per_host, deterministic, quarantine, quarantine_max }
    }
}

prop_compose! {
    fn timeouts()(
        (udp_unreplied, udp_stream, stream_after, ports) in (rarely(vec![seconds(10)]), rarely(vec![seconds(60)]), one_of(vec![seconds(2), seconds(3), seconds(0)]), rarely(vec![vec![(1000, seconds(5)), (5000, seconds(45))]])),
        (partial, unacknowledged, half_closed) in (rarely(vec![seconds(8)]), rarely(vec![seconds(12)]), rarely(vec![seconds(25)])),
        (close_wait, time_wait, reset) in (rarely(vec![seconds(15)]), rarely(vec![seconds(7)]), rarely(vec![seconds(9)])),
        absolute in rarely(vec![seconds(25), seconds(50)]),
    ) -> Timeouts {
        Timeouts {
            udp: seconds(30), udp_unreplied, udp_stream, udp_stream_after: stream_after, udp_ports: ports.unwrap_or_default(), icmp: seconds(10),
            tcp_opening: seconds(20), tcp_partial_open: partial, tcp_established: seconds(100), tcp_unacknowledged: unacknowledged, tcp_half_closed: half_closed,
            tcp_close_wait: close_wait, tcp_closing: seconds(40), tcp_time_wait: time_wait, tcp_reset: reset, tcp_inbound_syn: seconds(6), absolute, early_inbound: seconds(15),
        }
    }
}

prop_compose! {
    fn tcp_axes()(
        unsolicited_syn in word(), unsolicited_udp in word(), tcp_no_state in word(), tcp_established_on in word(),
        tcp_simopen in mostly(TcpSimultaneousOpen::Ok), tcp_reopen in word(), expiry_notify in word(),
    ) -> Behavior {
        Behavior { unsolicited_syn, unsolicited_udp, tcp_no_state, tcp_established_on, tcp_simopen, tcp_reopen, expiry_notify, ..Behavior::default() }
    }
}

prop_compose! {
    fn icmp_axes()(
        base in tcp_axes(), icmp_error in prop_oneof![2 => Just(PerDirection::from(IcmpErrors::Translate)), 1 => (word(), word()).prop_map(|(inbound, outbound)| PerDirection { inbound, outbound })],
        icmp_verify in word(), icmp_kills_mapping in mostly(Switch::Off), icmp_source_filter in mostly(Switch::Off), icmp_originate in word(),
        icmp_query in prop_oneof![3 => Just(IcmpQuery::Permit), 2 => word()], icmp_identifier in word(), ip_id in word(),
        refresh in word(), refresh_on_error in mostly(Switch::Off), refresh_on_filtered in mostly(Switch::Off),
    ) -> Behavior {
        Behavior { icmp_error, icmp_verify, icmp_kills_mapping, icmp_source_filter, icmp_originate, icmp_query, icmp_identifier, ip_id, refresh, refresh_on_error, refresh_on_filtered, ..base }
    }
}

prop_compose! {
    fn policy()(
        base in icmp_axes(), udp in rarely(vec![Reach::Nothing, Reach::Ports((1000..=1000).into())]), tcp in rarely(vec![Reach::Nothing, Reach::Ports((1001..=5000).into())]), icmp in mostly(Switch::On),
        quota in (rarely(vec![1, 2, 4]), rarely(vec![1, 3, 5]), rarely(vec![1, 2])).prop_map(|(ports, sessions, new_per_second)| Quota { ports, sessions, new_per_second }),
        exhausted in word(), pool_exhausted in word(), pooling in prop_oneof![1 => Just(Pooling::Paired), 1 => word()],
        early_inbound in mostly(EarlyInbound::Ignore), (alias, bypass) in (prop::bool::weighted(0.1), prop::bool::weighted(0.1)),
    ) -> Behavior {
        let outbound = Outbound { udp: udp.unwrap_or(Reach::All), tcp: tcp.unwrap_or(Reach::All), icmp };
        let aliases = if alias { [false, true].map(|ipv6| Alias { inside: address(ipv6, 172, 1), outside: address(ipv6, 192, 1) }).to_vec() } else { vec![] };
        let bypass = if bypass { [false, true].map(|ipv6| address(ipv6, 192, 3).into()).to_vec() } else { vec![] };
        Behavior { outbound, quota, exhausted, pool_exhausted, pooling, early_inbound, aliases, bypass, ..base }
    }
}

prop_compose! {
    /// All axes that the model may know.
    pub(crate) fn behaviors()(
        base in policy(), ports in ports(), timeouts in timeouts(),
        translation in prop_oneof![5 => Just(TranslationKind::Napt), 1 => word()], ipv6 in word(),
        mapping in each(Mapping::ALL.to_vec()),
        filtering in each(vec![Filtering::EndpointIndependent, Filtering::AddressDependent, Filtering::AddressAndPortDependent, Filtering::ConnectionDependent]),
        (off, filter_scope, session_affinity) in (prop::bool::weighted(0.1), word(), word()), protocol_sharing in prop_oneof![2 => Just(ProtocolSharing::Off), 1 => word()],
        degraded in rarely(vec![vec![(Mapping::AddressDependent, Filtering::AddressDependent)], vec![(Mapping::EndpointIndependent, Filtering::EndpointIndependent), (Mapping::AddressAndPortDependent, Filtering::AddressAndPortDependent)]]),
        hairpin in each(vec![Hairpin::ExternalSource, Hairpin::InternalSource, Hairpin::Off]), hairpin_filter in word(),
    ) -> Behavior {
        let firewall = translation == TranslationKind::None && ipv6 == Ipv6::Firewall;
        let filtering = if off && firewall { Filtering::Off.into() } else { filtering };
        let degraded: Vec<Degraded> = degraded.unwrap_or_default().into_iter().map(|(mapping, filtering)| Degraded { mapping, filtering }).collect();
        Behavior { ports, timeouts, translation, ipv6, mapping, filtering, filter_scope, session_affinity, protocol_sharing, degraded, hairpin, hairpin_filter, ..base }
    }
}

prop_compose! {
    fn fragments()(inbound in word(), outbound in word(), max_bytes in one_of(vec![400, 1 << 20]), max_datagrams in one_of(vec![2, 1024])) -> FragmentRules {
        FragmentRules { inbound, outbound, max_bytes, max_datagrams, per_source: 2, timeout: seconds(4) }
    }
}

prop_compose! {
    /// All axes.
    #[allow(dead_code, reason = "the model takes the others")]
    pub(crate) fn all_behaviors()(
        base in behaviors(), fragments in fragments(), (ftp, sip, tftp) in (word(), word(), word()), generic in word(), alg in prop::bool::weighted(0.5),
        tcp_machine in word(), tcp_window in word(), router_source in prop::bool::weighted(0.2),
        (ttl, too_big, answer_ping, overlapping_realms) in (word(), word(), word(), word()),
    ) -> Behavior {
        let alg = if alg { Alg { ftp, sip, tftp, generic } } else { base.alg };
        let hairpin = if router_source { Hairpin::RouterSource.into() } else { base.hairpin };
        Behavior { fragments, alg, tcp_machine, tcp_window, hairpin, ttl, too_big, answer_ping, overlapping_realms, ..base }
    }
}

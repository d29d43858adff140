//! Linux netfilter, and boxes built on it.
//!
//! Netfilter tracks 5-tuples: an external port is free as long as nothing uses it towards the same remote. An internal
//! endpoint keeps the port of any of its live flows, keeps its own port if it is free, else gets a random one of its
//! class. That looks endpoint-independent as long as no two hosts want one port towards one remote.

use std::time::Duration;

use super::{EVERYTHING, Preset};
use crate::Behavior;
use crate::behavior::{
    EarlyInbound, Exhausted, Filtering, FragmentMode, FragmentRules, Hairpin, IcmpIdentifier, IcmpQuery,
    InvalidOutbound, IpId, Mapping, PerProtocol, Pooling, PortAllocation, PortClass, PortOverlap, Ports, Refresh,
    Switch, TableFull, TcpEstablishedOn, TcpMachine, TcpNoState, TcpWindow, Timeouts, UnsolicitedSyn, UnsolicitedUdp,
};

const KERNEL: &str = "Linux 6.18, nftables, in network namespaces";
const SOURCE: &str = "torvalds/linux net/netfilter/nf_nat_core.c, nf_conntrack_proto_tcp.c, \
                      Documentation/networking/nf_conntrack-sysctl.rst; sysctl defaults and packet sequences read on a live kernel.";

pub(super) fn presets() -> Vec<Preset> {
    vec![
        masquerade(),
        masquerade_open(),
        masquerade_random(),
        openwrt(),
        full_cone(),
        mikrotik(),
        mikrotik_independent(),
    ]
}

const fn seconds(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

pub(super) fn netfilter() -> Behavior {
    Behavior {
        mapping: Mapping::EndpointIndependent.into(),
        // A query from outside is no reply: its type is part of the tuple.
        filtering: PerProtocol {
            icmp: Filtering::ConnectionDependent,
            ..PerProtocol::from(Filtering::AddressAndPortDependent)
        },
        ports: Ports {
            allocation: PortAllocation::Preserve,
            overlap: PortOverlap::ByDestination,
            class: PortClass::Netfilter,
            ..Ports::default()
        },
        pooling: Pooling::HashSourceDestination,
        exhausted: Exhausted::DropSilent,
        // nf_conntrack_core.c, `early_drop`. How many there may be (nf_conntrack_max) goes by the machine's memory.
        table_full: TableFull::EvictUnassured,
        hairpin: Hairpin::Off.into(),
        refresh: Refresh::Both,
        timeouts: timeouts(),
        answer_ping: Switch::Off,
        unsolicited_syn: UnsolicitedSyn::Drop,
        tcp_no_state: TcpNoState::Pickup,
        tcp_machine: TcpMachine::Netfilter,
        tcp_established_on: TcpEstablishedOn::AckBothWays,
        tcp_window: TcpWindow::Strict,
        invalid_outbound: InvalidOutbound::Leak,
        icmp_query: IcmpQuery::All,
        icmp_identifier: IcmpIdentifier::Preserve,
        ip_id: IpId::Copy,
        fragments: FragmentRules {
            inbound: FragmentMode::Collect,
            outbound: FragmentMode::Collect,
            ..FragmentRules::default()
        },
        ..Behavior::default()
    }
}

/// The sysctl defaults, in natbox's words.
fn timeouts() -> Timeouts {
    Timeouts {
        udp: seconds(30),
        udp_unreplied: Some(seconds(30)),
        udp_stream: Some(seconds(120)),
        udp_stream_after: seconds(2),
        icmp: seconds(30),
        tcp_opening: seconds(120),
        tcp_partial_open: Some(seconds(60)),
        tcp_established: seconds(432_000),
        tcp_unacknowledged: Some(seconds(300)),
        tcp_half_closed: Some(seconds(120)),
        tcp_close_wait: Some(seconds(60)),
        tcp_closing: seconds(30),
        tcp_time_wait: Some(seconds(120)),
        tcp_reset: Some(seconds(10)),
        ..Timeouts::default()
    }
}

fn masquerade() -> Preset {
    Preset {
        name: "linux-masquerade",
        summary: "Linux masquerading with an INPUT chain that drops: a home router",
        observed: KERNEL,
        source: SOURCE,
        known: EVERYTHING,
        behavior: netfilter(),
    }
}

fn masquerade_open() -> Preset {
    Preset {
        name: "linux-masquerade-open",
        summary: "Linux masquerading with an INPUT chain that accepts: early packets take ports away from hole punching",
        behavior: Behavior {
            early_inbound: EarlyInbound::Remap,
            answer_ping: Switch::On,
            unsolicited_syn: UnsolicitedSyn::RstNow,
            unsolicited_udp: UnsolicitedUdp::Icmp,
            ..netfilter()
        },
        ..masquerade()
    }
}

fn masquerade_random() -> Preset {
    let base = netfilter();
    let ports = Ports { allocation: PortAllocation::Random, ..base.ports.clone() };
    Preset {
        name: "linux-masquerade-random",
        summary: "Linux masquerading with `random` or `fully-random`: another port for every remote",
        behavior: Behavior {
            mapping: Mapping::AddressAndPortDependent.into(),
            ports,
            icmp_identifier: IcmpIdentifier::Random,
            ..base
        },
        ..masquerade()
    }
}

fn openwrt() -> Preset {
    let base = netfilter();
    let timeouts = Timeouts {
        udp: seconds(60),
        udp_unreplied: Some(seconds(60)),
        udp_stream: Some(seconds(180)),
        tcp_established: seconds(7440),
        ..base.timeouts.clone()
    };
    Preset {
        name: "openwrt",
        summary: "OpenWrt as it is installed (fw4): Linux masquerading, unsolicited packets rejected",
        observed: "its configuration, on Linux 6.18 (nftables, INPUT reject)",
        source: "openwrt/openwrt package/kernel/linux/files/sysctl-nf-conntrack.conf (UDP 60 and 180 s, TCP 7440 s); WAN input \
                 REJECT: TCP is reset and UDP answered with port unreachable, and no entry is confirmed; its rule Allow-Ping lets \
                 pings in; what is invalid does not leave by a masquerading zone unless \
                 `masq_allow_invalid` is set, whatever `drop_invalid` says (openwrt/firewall4 root/usr/share/firewall4/templates/\
                 zone-drop-invalid.uc, \"Prevent NAT leakage\", since October 2022). Reflection for port forwards is left out.",
        known: EVERYTHING,
        behavior: Behavior {
            timeouts,
            unsolicited_syn: UnsolicitedSyn::RstNow,
            unsolicited_udp: UnsolicitedUdp::Icmp,
            invalid_outbound: InvalidOutbound::Drop,
            answer_ping: Switch::On,
            ..base
        },
    }
}

fn full_cone() -> Preset {
    let base = netfilter();
    Preset {
        name: "linux-fullcone",
        summary: "Linux with a full-cone extension: nft fullcone, einat, Broadcom's",
        observed: "Linux with nft fullcone: RFC 5780 discovery said endpoint-independent mapping and filtering",
        source: "patchbay and einat-ebpf documentation (endpoint-independent mapping and filtering, 300 s); discovery run on it.",
        known: &["mapping", "filtering", "timeouts.udp"],
        behavior: Behavior {
            filtering: Filtering::EndpointIndependent.into(),
            ports: Ports { overlap: PortOverlap::None, ..base.ports.clone() },
            pooling: Pooling::Paired,
            timeouts: Timeouts { udp: seconds(300), udp_unreplied: None, udp_stream: None, ..base.timeouts.clone() },
            ..base
        },
    }
}

fn mikrotik() -> Preset {
    let base = netfilter();
    let timeouts = Timeouts {
        udp: seconds(30),
        udp_unreplied: Some(seconds(10)),
        udp_stream: Some(seconds(180)),
        icmp: seconds(10),
        tcp_established: seconds(86_400),
        ..base.timeouts.clone()
    };
    Preset {
        name: "mikrotik",
        summary: "MikroTik RouterOS: Linux masquerading with shorter timers",
        observed: "configuration dumps of RouterOS 6 and 7",
        source: "published `/ip firewall connection tracking print` dumps: UDP 10 s (newer 30 s) and 180 s, TCP established one day, ICMP \
                 10 s; `/ip firewall filter` of its default configuration: \"defconf: drop invalid\" in input and forward, \"defconf: accept \
                 ICMP\" in input, whoever asks. The rest as Linux, which it is built on.",
        known: &["mapping"],
        behavior: Behavior { timeouts, invalid_outbound: InvalidOutbound::Drop, answer_ping: Switch::On, ..base },
    }
}

fn mikrotik_independent() -> Preset {
    let base = mikrotik();
    let ports = Ports { overlap: PortOverlap::None, ..base.behavior.ports.clone() };
    Preset {
        name: "mikrotik-endpoint-independent",
        summary: "MikroTik RouterOS 7 with `endpoint-independent-nat`",
        observed: "its documentation",
        source: "MikroTik documentation of `endpoint-independent-nat`; filtering and timers as `mikrotik`.",
        behavior: Behavior { ports, ..base.behavior.clone() },
        ..base
    }
}

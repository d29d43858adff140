//! NATs of cloud providers.

use std::time::Duration;

use super::Preset;
use crate::Behavior;
use crate::behavior::{
    Filtering, Mapping, PortAllocation, PortOverlap, Ports, Refresh, TcpNoState, Timeouts, TranslationKind,
};

pub(super) fn presets() -> Vec<Preset> {
    vec![aws(), aws_security_group(), gcp(), gcp_independent(), azure(), huawei(), twilio()]
}

const fn seconds(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

/// Another external port for every remote, shared between remotes.
fn dependent() -> Behavior {
    Behavior {
        mapping: Mapping::AddressAndPortDependent.into(),
        filtering: Filtering::AddressAndPortDependent.into(),
        ports: Ports { overlap: PortOverlap::ByDestination, ..Ports::default() },
        ..Behavior::default()
    }
}

fn aws() -> Preset {
    Preset {
        name: "aws-nat-gateway",
        summary: "AWS NAT gateway: 350 s, then a RST to whoever goes on",
        observed: "its documentation",
        source: "AWS documentation, NAT gateways (a connection that is idle for 350 seconds or more is reset; ports are used again for \
                 other destinations).",
        known: &["ports.allocation"],
        behavior: Behavior {
            timeouts: Timeouts { udp: seconds(350), tcp_established: seconds(350), ..Timeouts::default() },
            tcp_no_state: TcpNoState::Rst,
            ..dependent()
        },
    }
}

fn aws_security_group() -> Preset {
    Preset {
        name: "aws-security-group",
        summary: "AWS security group: a stateful firewall, no NAT",
        observed: "its documentation",
        source: "AWS EC2 API, connection tracking configuration (UDP 30 s, streams 180 s, TCP 432000 s).",
        known: &["timeouts.udp_stream_after"],
        behavior: Behavior {
            translation: TranslationKind::None,
            filtering: Filtering::AddressAndPortDependent.into(),
            refresh: Refresh::Both,
            timeouts: Timeouts {
                udp: seconds(30),
                udp_stream: Some(seconds(180)),
                tcp_established: seconds(432_000),
                ..Timeouts::default()
            },
            ..Behavior::default()
        },
    }
}

/// Timers and port blocks of both modes.
fn gcp_timeouts() -> Timeouts {
    Timeouts {
        udp: seconds(30),
        icmp: seconds(30),
        tcp_opening: seconds(30),
        tcp_established: seconds(1200),
        tcp_closing: seconds(30),
        tcp_time_wait: Some(seconds(120)),
        ..Timeouts::default()
    }
}

const GCP_SOURCE: &str = "Google Cloud API, RouterNat (minPortsPerVm 64, UDP 30 s, ICMP 30 s, TCP established 1200 s, transitory 30 s, TIME_WAIT \
                          120 s; enableEndpointIndependentMapping).";

fn gcp() -> Preset {
    let ports = Ports { allocation: PortAllocation::Block, blocks_per_host: 1, ..dependent().ports };
    Preset {
        name: "gcp-cloud-nat",
        summary: "Google Cloud NAT: 64 ports a machine, another one for every remote",
        observed: "its documentation",
        source: GCP_SOURCE,
        known: &["mapping"],
        behavior: Behavior { ports, timeouts: gcp_timeouts(), ..dependent() },
    }
}

fn gcp_independent() -> Preset {
    let base = Behavior::default();
    let ports = Ports { allocation: PortAllocation::Block, blocks_per_host: 1, ..base.ports.clone() };
    Preset {
        name: "gcp-cloud-nat-endpoint-independent",
        summary: "Google Cloud NAT with endpoint-independent mapping",
        observed: "its documentation",
        source: GCP_SOURCE,
        known: &["mapping"],
        behavior: Behavior {
            filtering: Filtering::AddressAndPortDependent.into(),
            ports,
            timeouts: gcp_timeouts(),
            ..base
        },
    }
}

fn azure() -> Preset {
    Preset {
        name: "azure-nat-gateway",
        summary: "Azure NAT gateway: ports shared between destinations",
        observed: "its documentation",
        source: "Microsoft documentation, NAT gateway (SNAT ports used again for other destinations; TCP idle timeout 240 s by default).",
        known: &[],
        behavior: Behavior {
            timeouts: Timeouts { tcp_established: seconds(240), ..Timeouts::default() },
            ..dependent()
        },
    }
}

fn huawei() -> Preset {
    Preset {
        name: "huawei-cloud-nat",
        summary: "Huawei Cloud NAT gateway",
        observed: "its documentation",
        source: "support.huaweicloud.com, NAT gateway (5-tuple SNAT; UDP 300 s, TCP 900 s).",
        known: &["timeouts.udp"],
        behavior: Behavior {
            timeouts: Timeouts { udp: seconds(300), tcp_established: seconds(900), ..Timeouts::default() },
            ..dependent()
        },
    }
}

fn twilio() -> Preset {
    Preset {
        name: "twilio-super-sim",
        summary: "Twilio Super SIM's carrier NAT",
        observed: "its documentation",
        source: "Twilio documentation, Super SIM (UDP 30 s, streams 12 s, TCP 21600 s).",
        known: &[],
        behavior: Behavior {
            timeouts: Timeouts {
                udp: seconds(30),
                udp_stream: Some(seconds(12)),
                tcp_established: seconds(21_600),
                ..Timeouts::default()
            },
            ..Behavior::default()
        },
    }
}

//! Routers and firewalls by vendor.

use std::time::Duration;

use super::Preset;
use crate::Behavior;
use crate::behavior::{Filtering, Hairpin, Mapping, PortOverlap, Ports, Timeouts};

pub(super) fn presets() -> Vec<Preset> {
    vec![
        cisco_ios(),
        cisco_asa(),
        juniper_srx(),
        juniper_any(),
        juniper_target_host(),
        juniper_port(),
        vpp_dependent(),
        vpp_independent(),
    ]
}

const fn seconds(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

fn dependent() -> Behavior {
    Behavior {
        mapping: Mapping::AddressAndPortDependent.into(),
        filtering: Filtering::AddressAndPortDependent.into(),
        ..Behavior::default()
    }
}

fn cisco_ios() -> Preset {
    Preset {
        name: "cisco-ios",
        summary: "Cisco IOS NAT overload",
        observed: "its documentation",
        source: "IOS in a Nutshell, `ip nat translation` (UDP 300 s, DNS 60 s, TCP one day, after FIN or RST 60 s).",
        known: &["timeouts.udp"],
        behavior: Behavior {
            timeouts: Timeouts {
                udp: seconds(300),
                udp_ports: vec![(53, seconds(60))],
                tcp_established: seconds(86_400),
                tcp_closing: seconds(60),
                ..Timeouts::default()
            },
            ..Behavior::default()
        },
    }
}

fn cisco_asa() -> Preset {
    Preset {
        name: "cisco-asa",
        summary: "Cisco ASA dynamic PAT",
        observed: "default configuration lines of eight and more machines; patchbay's documentation for the mapping",
        source: "`timeout conn 1:00:00 half-closed 0:10:00 udp 0:02:00 icmp 0:00:02` in published configurations; patchbay: \
                 address-and-port-dependent.",
        known: &[],
        behavior: Behavior {
            hairpin: Hairpin::Off.into(),
            timeouts: Timeouts {
                udp: seconds(120),
                icmp: seconds(2),
                tcp_established: seconds(3600),
                tcp_half_closed: Some(seconds(600)),
                ..Timeouts::default()
            },
            ..dependent()
        },
    }
}

fn juniper_srx() -> Preset {
    let base = dependent();
    Preset {
        name: "juniper-srx",
        summary: "Juniper SRX source NAT: another port for every remote, ports shared between remotes",
        observed: "its configuration language",
        source: "Juniper documentation of source NAT with port overloading.",
        known: &[],
        behavior: Behavior { ports: Ports { overlap: PortOverlap::ByDestination, ..base.ports.clone() }, ..base },
    }
}

fn persistent(name: &'static str, summary: &'static str, filtering: Filtering) -> Preset {
    Preset {
        name,
        summary,
        observed: "its configuration language",
        source: "Juniper documentation of `persistent-nat permit` (any-remote-host, target-host, target-host-port) and its \
                 inactivity-timeout of 300 s.",
        known: &["mapping", "filtering", "timeouts.udp"],
        behavior: Behavior { filtering: filtering.into(), ..Behavior::default() },
    }
}

fn juniper_any() -> Preset {
    persistent(
        "juniper-srx-any-remote-host",
        "Juniper SRX with `persistent-nat permit any-remote-host`",
        Filtering::EndpointIndependent,
    )
}

fn juniper_target_host() -> Preset {
    persistent(
        "juniper-srx-target-host",
        "Juniper SRX with `persistent-nat permit target-host`",
        Filtering::AddressDependent,
    )
}

fn juniper_port() -> Preset {
    persistent(
        "juniper-srx-target-host-port",
        "Juniper SRX with `persistent-nat permit target-host-port`",
        Filtering::AddressAndPortDependent,
    )
}

/// The timers of both modes.
fn vpp() -> Timeouts {
    Timeouts {
        udp: seconds(300),
        icmp: seconds(60),
        tcp_opening: seconds(240),
        tcp_established: seconds(7440),
        tcp_closing: seconds(240),
        ..Timeouts::default()
    }
}

fn vpp_dependent() -> Preset {
    let base = dependent();
    Preset {
        name: "vpp-nat44-ed",
        summary: "FD.io VPP and TNSR in endpoint-dependent mode",
        observed: "its documentation",
        source: "FD.io nat.api and Netgate TNSR documentation (300, 7440, 240, 60 s).",
        known: &["timeouts"],
        behavior: Behavior {
            ports: Ports { overlap: PortOverlap::ByDestination, ..base.ports.clone() },
            timeouts: vpp(),
            ..base
        },
    }
}

fn vpp_independent() -> Preset {
    Preset {
        name: "vpp-nat44-ei",
        summary: "FD.io VPP and TNSR in endpoint-independent mode",
        observed: "its documentation",
        source: "FD.io nat.api and Netgate TNSR documentation (300, 7440, 240, 60 s).",
        known: &["mapping", "timeouts"],
        behavior: Behavior { timeouts: vpp(), ..Behavior::default() },
    }
}

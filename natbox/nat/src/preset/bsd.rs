//! pf, libalias, and what is built on them.

use std::time::Duration;

use super::Preset;
use crate::Behavior;
use crate::behavior::{
    Filtering, Hairpin, Mapping, PortAllocation, PortClass, PortConflict, PortOverlap, Ports, Refresh, Timeouts,
};

pub(super) fn presets() -> Vec<Preset> {
    vec![pf(), pf_static_port(), pf_endpoint_independent(), libalias(), realtek()]
}

const fn seconds(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

/// pf.conf(5): udp.first 60, udp.single 30, udp.multiple 60.
fn timeouts() -> Timeouts {
    Timeouts { udp: seconds(60), udp_unreplied: Some(seconds(60)), ..Timeouts::default() }
}

fn pf() -> Preset {
    Preset {
        name: "freebsd-pf",
        summary: "FreeBSD pf, OPNsense, pfSense: another random port above 50000 for every remote",
        observed: "its source code",
        source: "freebsd/freebsd-src sys/netpfil/pf/pf_lb.c (ports 50001 to 65535, random start, unique for each state); published \
                 timeouts UDP first 60 s, multiple 60 s.",
        known: &[],
        behavior: Behavior {
            mapping: Mapping::AddressAndPortDependent.into(),
            filtering: Filtering::AddressAndPortDependent.into(),
            ports: Ports {
                allocation: PortAllocation::Random,
                overlap: PortOverlap::ByDestination,
                class: PortClass::All,
                range: (50_001..=65_535).into(),
                ..Ports::default()
            },
            hairpin: Hairpin::Off.into(),
            refresh: Refresh::Both,
            timeouts: timeouts(),
            ..Behavior::default()
        },
    }
}

fn pf_static_port() -> Preset {
    let base = pf();
    let ports = Ports {
        allocation: PortAllocation::Preserve,
        conflict: PortConflict::Drop,
        range: (1..=65_535).into(),
        ..base.behavior.ports.clone()
    };
    Preset {
        name: "freebsd-pf-static-port",
        summary: "FreeBSD pf with `static-port`: the internal port, or nothing",
        source: "freebsd/freebsd-src sys/netpfil/pf/pf_lb.c (no port range: the source port if the state is unique, else failure); \
                 timeouts as `freebsd-pf`.",
        behavior: Behavior { ports, ..base.behavior.clone() },
        ..base
    }
}

fn pf_endpoint_independent() -> Preset {
    let base = pf();
    let mut behavior = base.behavior.clone();
    behavior.mapping.udp = Mapping::EndpointIndependent;
    Preset {
        name: "freebsd-pf-endpoint-independent",
        summary: "FreeBSD pf with `endpoint-independent`: one port for every remote, for UDP alone",
        source: "freebsd/freebsd-src sys/netpfil/pf/pf_lb.c (PF_POOL_ENDPI, pf_udp_mapping); timeouts as `freebsd-pf`.",
        behavior,
        ..base
    }
}

fn libalias() -> Preset {
    Preset {
        name: "freebsd-libalias",
        summary: "FreeBSD ipfw nat and natd (libalias)",
        observed: "its source code",
        source: "freebsd/freebsd-src sys/netinet/libalias/alias_db.c (UDP_EXPIRE_TIME 60, ICMP_EXPIRE_TIME 60).",
        known: &["timeouts.icmp"],
        behavior: Behavior {
            timeouts: Timeouts { udp: seconds(60), icmp: seconds(60), ..Timeouts::default() },
            ..Behavior::default()
        },
    }
}

fn realtek() -> Preset {
    let base = libalias();
    let timeouts = Timeouts { udp: seconds(15), ..base.behavior.timeouts.clone() };
    Preset {
        name: "realtek-soc",
        summary: "routers on Realtek chips (a fork of libalias): UDP forgotten after 15 s",
        observed: "its source code",
        source: "Realtek SDK's fork of libalias (UDP_EXPIRE_TIME 15, ICMP_EXPIRE_TIME 60).",
        behavior: Behavior { timeouts, ..base.behavior.clone() },
        ..base
    }
}

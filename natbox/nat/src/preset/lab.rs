//! The NATs of other labs, so that their results can be compared.

use std::time::Duration;

use super::Preset;
use crate::Behavior;
use crate::behavior::{Filtering, Mapping, Ports, Timeouts};

pub(super) fn presets() -> Vec<Preset> {
    vec![
        natlab_hard(),
        patchbay(
            "patchbay-home",
            "patchbay's Home",
            Mapping::EndpointIndependent,
            Filtering::AddressAndPortDependent,
            300,
        ),
        patchbay(
            "patchbay-corporate",
            "patchbay's Corporate",
            Mapping::AddressAndPortDependent,
            Filtering::AddressAndPortDependent,
            120,
        ),
        patchbay(
            "patchbay-cloud",
            "patchbay's CloudNat",
            Mapping::AddressAndPortDependent,
            Filtering::AddressAndPortDependent,
            350,
        ),
        patchbay(
            "patchbay-full-cone",
            "patchbay's FullCone",
            Mapping::EndpointIndependent,
            Filtering::EndpointIndependent,
            300,
        ),
    ]
}

fn natlab_hard() -> Preset {
    let base = Behavior::default();
    Preset {
        name: "natlab-hard",
        summary: "the hard NAT of Tailscale's natlab: another random port for every remote",
        observed: "its source code",
        source: "tailscale/tailscale tstest/natlab (ports 32768 to 65535, 30 s).",
        known: &["ports.allocation"],
        behavior: Behavior {
            mapping: Mapping::AddressAndPortDependent.into(),
            filtering: Filtering::AddressAndPortDependent.into(),
            ports: Ports { range: (32_768..=65_535).into(), ..base.ports.clone() },
            timeouts: Timeouts { udp: Duration::from_secs(30), ..Timeouts::default() },
            ..base
        },
    }
}

fn patchbay(name: &'static str, summary: &'static str, mapping: Mapping, filtering: Filtering, seconds: u64) -> Preset {
    Preset {
        name,
        summary,
        observed: "its documentation",
        source: "n0-computer/patchbay, documentation of its NAT presets before 0.7 (300, 120, 350, 300 s).",
        known: &["mapping", "filtering", "timeouts.udp"],
        behavior: Behavior {
            mapping: mapping.into(),
            filtering: filtering.into(),
            timeouts: Timeouts { udp: Duration::from_secs(seconds), ..Timeouts::default() },
            ..Behavior::default()
        },
    }
}

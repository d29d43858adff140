//! Carriers as they were measured, not as RFC 6888 wants them.

use std::time::Duration;

use super::Preset;
use crate::Behavior;
use crate::behavior::{Filtering, Mapping, Timeouts};

pub(super) fn presets() -> Vec<Preset> {
    vec![cellular(), fixed()]
}

const fn seconds(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

fn cellular() -> Preset {
    Preset {
        name: "cgn-cellular-bad",
        summary: "a bad cellular carrier: another random port for every remote, short timers",
        observed: "cellular carriers worldwide",
        source: "Wang et al. 2011 (An Untold Story of Middleboxes in Cellular Networks); Richter et al. 2016 (A Multi-perspective Analysis of \
                 Carrier-Grade NAT Deployment): median UDP timeout 65 s, minimum 10 s. The median is taken here.",
        known: &["ports.allocation"],
        behavior: Behavior {
            mapping: Mapping::AddressAndPortDependent.into(),
            filtering: Filtering::AddressAndPortDependent.into(),
            timeouts: Timeouts { udp: seconds(65), ..Timeouts::default() },
            ..Behavior::default()
        },
    }
}

fn fixed() -> Preset {
    let base = cellular();
    let timeouts = Timeouts { udp: seconds(35), ..Timeouts::default() };
    Preset {
        name: "cgn-fixed-bad",
        summary: "a bad fixed-line carrier: symmetric, 35 s",
        observed: "fixed-line carriers worldwide",
        source: "Richter et al. 2016: 11 % of carriers symmetric, median UDP timeout 35 s, minimum 10 s. The symmetric case with the \
                 median is taken here.",
        behavior: Behavior { timeouts, ..base.behavior.clone() },
        ..base
    }
}

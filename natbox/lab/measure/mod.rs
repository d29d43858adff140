//! What was measured of a NAT, in the words of topology files: axis by axis, and as a file that runs.
//!
//! Every axis of a behaviour has a value here, or a reason why it has none: a measurement claims nothing that was not
//! seen. [`real`] measures on this machine's own network.

mod axes;
mod fits;
mod fragment;
#[cfg(target_os = "linux")]
mod real;

pub use axes::{Axis, Found, axes};
pub(crate) use axes::{lines, unknown};
pub use fits::fits;
pub use fragment::fragment;
pub use natbox_probes::measure::{Measurement, Options};
#[cfg(target_os = "linux")]
pub use real::{Failure, real};

use std::time::Duration;

use natbox_probes::discovery::LifetimeSearch;

use crate::plan::Plan;
use crate::topology::units;

/// A search for lifetimes up to `longest`, to the second.
pub fn search(longest: Duration) -> LifetimeSearch {
    let default = LifetimeSearch::default();
    LifetimeSearch { shortest: default.shortest.min(longest / 2), longest, ..default }
}

/// The same, from a text such as `5m`: above zero, a day at most.
///
/// # Errors
/// What is expected instead.
pub fn search_up_to(text: &str) -> Result<LifetimeSearch, String> {
    let day = Duration::from_secs(24 * 3600);
    let longest = units::positive_duration(text).ok().filter(|longest| *longest <= day);
    let expected = || format!("`{text}` is no duration from above zero to a day with its unit, such as `5m`");
    longest.map(search).ok_or_else(expected)
}

/// The file of [`fragment`], once it was read and checked like any topology file.
///
/// # Errors
/// Where what was measured makes no behaviour that a NAT can have.
pub fn checked_fragment(measurement: &Measurement, options: &Options) -> Result<String, String> {
    let text = fragment(measurement, options);
    match Plan::from_yaml("what was measured", &text) {
        Ok(_) => Ok(text),
        Err(mistakes) => Err(mistakes.to_string()),
    }
}

/// The keys of `expect`, and the axes that they are about.
pub(crate) const EXPECTED: &[(&str, &str)] = &[
    ("mapping", "mapping.udp"),
    ("tcp_mapping", "mapping.tcp"),
    ("filtering", "filtering.udp"),
    ("filter_scope", "filter_scope"),
    ("session_affinity", "session_affinity"),
    ("hairpin", "hairpin.udp"),
    ("hairpin_filter", "hairpin_filter"),
    ("early_inbound", "early_inbound"),
    ("allocation", "ports.allocation"),
    ("class", "ports.class"),
    ("parity", "ports.parity"),
    ("contiguity", "ports.contiguity"),
    ("pooling", "pooling"),
    ("refresh", "refresh"),
    ("udp", "timeouts.udp"),
    ("udp_unreplied", "timeouts.udp_unreplied"),
    ("udp_stream", "timeouts.udp_stream"),
];

//! Which presets do what was seen.

use std::time::Duration;

use natbox_nat::{Behavior, preset};
use natbox_probes::discovery::Mapping;
use natbox_probes::measure::{Allocation, Measurement};

use super::{Found, axes};

/// The presets that contradict nothing that was found, in the order in which lists show them. Where little was found, many.
pub fn fits(measurement: &Measurement) -> Vec<&'static str> {
    let found = axes(measurement);
    // All remotes see one external endpoint: it may be one mapping, or one for each with the same preserved port.
    let alike = measurement.mapping == Ok(Mapping::EndpointIndependent)
        && measurement.ports.allocation == Ok(Allocation::Preserve);
    let agrees = |behavior: &Behavior| {
        let rows = behavior.axes();
        found.iter().all(|axis| {
            let configured = configured(&rows, axis.name);
            (alike && axis.name.starts_with("mapping")) || configured.is_some_and(|word| agree(&axis.found, word))
        })
    };
    preset::all().into_iter().filter(|preset| agrees(&preset.behavior)).map(|preset| preset.name).collect()
}

/// What a behaviour says of an axis; of one that is alike for all protocols, under the name of the whole.
fn configured<'a>(rows: &'a [(&'static str, String)], axis: &str) -> Option<&'a str> {
    let of = |name: &str| rows.iter().find(|(other, _)| *other == name).map(|(_, word)| word.as_str());
    of(axis).or_else(|| of(axis.split_once('.')?.0))
}

fn agree(found: &Found, configured: &str) -> bool {
    match found {
        Found::Word(word) => word == configured,
        Found::Between { alive_after, expired_after } => {
            let lifetime =
                configured.strip_suffix('s').and_then(|seconds| seconds.parse().ok()).map(Duration::from_secs);
            lifetime.is_some_and(|lifetime| (*alive_after..=*expired_after).contains(&lifetime))
        }
        Found::Unknown(_) => true,
    }
}

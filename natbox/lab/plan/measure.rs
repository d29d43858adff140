//! The step `measure`: read, and shown again.

use std::time::Duration;

use super::behavior::parsed;
use super::describe::Shown;
use super::scenario::Reader;
use crate::measure::EXPECTED;
use crate::topology::Allowed;
use crate::topology::tree::Node;
use crate::topology::units::{self, show_duration};
use crate::words::{Family, Service};

/// The expectations that only a search for timers can meet.
const SEARCHED: [&str; 4] = ["refresh", "udp", "udp_unreplied", "udp_stream"];

/// A measurement.
#[derive(Clone, Debug, PartialEq)]
pub struct Measure {
    /// The host that measures.
    pub from: String,
    /// The STUN server.
    pub via: String,
    /// Over which IP version.
    pub family: Family,
    /// Up to where lifetimes are searched for, if they are.
    pub timers: Option<Duration>,
    /// What is expected, by its key.
    pub expect: Vec<(&'static str, Expected)>,
}

/// What is expected of an axis.
#[derive(Clone, Debug, PartialEq)]
pub enum Expected {
    /// This word.
    Word(String),
    /// A lifetime that these allow.
    Lifetime(Allowed<Duration>),
}

impl Reader<'_, '_> {
    pub(super) fn measure(&mut self, node: &Node, expect: Option<&Node>) -> Option<Measure> {
        let asked = node.get("from").unwrap_or(node);
        let from = self.host(asked);
        let via = self.offering(node, "via", asked, Service::Stun);
        let family = self.family(node);
        let timers = parsed(node, "timers", units::positive_duration);
        let searched = expect.and_then(|expect| SEARCHED.iter().find_map(|key| expect.get(key)));
        if let Some(unasked) = searched.filter(|_| node.get("timers").is_none()) {
            self.mistakes
                .at(unasked.place, "a lifetime is expected but not searched for")
                .hint("say `timers: 5min` under `measure`");
        }
        let expect = expect.map(|expect| {
            let expected = |key: &'static str| match key {
                "udp" | "udp_unreplied" | "udp_stream" => parsed(expect, key, units::durations).map(Expected::Lifetime),
                _ => Some(Expected::Word(expect.get(key)?.text()?.to_owned())),
            };
            EXPECTED.iter().filter_map(|(key, _)| Some((*key, expected(key)?))).collect()
        });
        Some(Measure { from: from?, via: via?, family, timers, expect: expect.unwrap_or_default() })
    }
}

pub(super) fn show(measure: &Measure) -> Shown {
    let mut entries = vec![
        ("from", Shown::word(&measure.from)),
        ("via", Shown::word(&measure.via)),
        ("family", Shown::word(measure.family)),
    ];
    entries.extend(measure.timers.map(|timers| ("timers", Shown::word(show_duration(&timers)))));
    Shown::Map(entries)
}

/// `None` where nothing is expected.
pub(super) fn show_expected(measure: &Measure) -> Option<Vec<(&'static str, Shown)>> {
    let shown = |expected: &Expected| match expected {
        Expected::Word(word) => Shown::word(word),
        Expected::Lifetime(allowed) => Shown::word(allowed.show(show_duration)),
    };
    let entries: Vec<_> = measure.expect.iter().map(|(key, expected)| (*key, shown(expected))).collect();
    (!entries.is_empty()).then_some(entries)
}

//! Names for behaviours. A preset is resolved to a [`Behavior`] once; nothing below sees its name.
//!
//! A preset says where its behaviour was observed and by whom it is stated, and tells the axes of which its source says
//! nothing: those stand at the defaults of [`Behavior`], and nothing about them is invented. `classic` has RFC 3489's
//! words, `standard` what the RFCs ask for, the other files real boxes by kind.

mod bsd;
mod carrier;
mod classic;
mod cloud;
mod home;
mod lab;
mod linux;
mod standard;
mod vendor;

use crate::Behavior;

/// A named behaviour.
#[derive(Clone, Debug)]
pub struct Preset {
    /// Its name in topology files, kebab-case.
    pub name: &'static str,
    /// What it is, one line.
    pub summary: &'static str,
    /// What it was observed on, or that it was not observed but defined.
    pub observed: &'static str,
    /// By whom its behaviour is stated.
    pub source: &'static str,
    /// Axes that stand at their defaults because the source says so; a prefix such as `timeouts` means all below it.
    /// Any other axis at its default is one of which the source says nothing: see [`Preset::unknown`].
    pub known: &'static [&'static str],
    /// What it stands for.
    pub behavior: Behavior,
}

/// The source speaks of every axis, if only by following a standard.
const EVERYTHING: &[&str] = &[""];

/// What is set up on a box and is no behaviour of its kind.
const SETTINGS: &[&str] = &[
    "translation",
    "aliases",
    "bypass",
    "degraded",
    "outbound",
    "quota",
    "table_size",
    "alg",
    "ports.delta",
    "ports.increment",
    "ports.table_length",
    "ports.block_size",
    "ports.blocks_per_host",
    "ports.deterministic",
    "ports.quarantine_max",
    "timeouts.absolute",
    "timeouts.early_inbound",
    "timeouts.udp_ports",
];

impl Preset {
    /// The axes of which the source says nothing. They stand at their defaults.
    pub fn unknown(&self) -> Vec<&'static str> {
        let defaults = Behavior::default().axes();
        let silent = |axis: &str| !self.known.iter().chain(SETTINGS).any(|whole| is_within(axis, whole));
        let axes = self.behavior.axes().into_iter().filter(|row| defaults.contains(row) && silent(row.0));
        axes.map(|(axis, _)| axis).collect()
    }
}

/// Whether an axis is this one or below it.
fn is_within(axis: &str, whole: &str) -> bool {
    whole.is_empty() || axis.strip_prefix(whole).is_some_and(|rest| rest.is_empty() || rest.starts_with('.'))
}

/// Every preset, in the order in which lists show them.
pub fn all() -> Vec<Preset> {
    [
        classic::presets(),
        standard::presets(),
        linux::presets(),
        bsd::presets(),
        home::presets(),
        vendor::presets(),
        cloud::presets(),
        carrier::presets(),
        lab::presets(),
    ]
    .concat()
}

/// The preset of this name.
pub fn find(name: &str) -> Option<Preset> {
    all().into_iter().find(|preset| preset.name == name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_preset_is_found_by_its_name_and_contradicts_nothing() {
        for preset in all() {
            let found = find(preset.name).expect("a preset is found by its own name");
            assert_eq!(found.behavior, preset.behavior);
            assert_eq!(preset.behavior.contradictions(), Vec::<String>::new(), "{}", preset.name);
            assert!(!preset.source.is_empty() && !preset.observed.is_empty(), "{} names no source", preset.name);
        }
        assert!(find("full_cone").is_none());
    }

    #[test]
    fn no_two_presets_share_a_name() {
        let names: std::collections::BTreeSet<&str> = all().iter().map(|preset| preset.name).collect();
        assert_eq!(names.len(), all().len());
    }

    #[test]
    fn what_a_preset_knows_is_an_axis_and_what_it_does_not_know_stands_at_its_default() {
        let defaults = Behavior::default().axes();
        for preset in all() {
            let own = preset.behavior.axes();
            for known in preset.known.iter().chain(SETTINGS) {
                assert!(own.iter().any(|(axis, _)| is_within(axis, known)), "{}: {known} is no axis", preset.name);
            }
            for unknown in preset.unknown() {
                let row = own.iter().find(|(axis, _)| *axis == unknown).expect("an axis of its own");
                assert!(defaults.contains(row), "{}: {row:?} is called unknown and is no default", preset.name);
            }
        }
    }

    #[test]
    fn a_preset_of_which_one_axis_is_stated_knows_no_other() {
        let realtek = find("realtek-soc").expect("a preset");
        assert!(realtek.unknown().contains(&"mapping") && realtek.unknown().contains(&"ttl"));
        assert!(!realtek.unknown().contains(&"timeouts.udp") && !realtek.unknown().contains(&"timeouts.icmp"));
        assert_eq!(find("linux-masquerade").expect("a preset").unknown(), Vec::<&str>::new());
    }
}

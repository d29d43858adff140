//! Names for behaviours. A preset is resolved to a [`Behavior`] once; nothing below sees its name.
//!
//! A preset says where its behaviour was observed and by whom it is stated, and lists the axes of which its source says
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
    /// Axes of which the source says nothing, left at their defaults; a prefix such as `timeouts` means all below it.
    pub unknown: &'static [&'static str],
    /// What it stands for.
    pub behavior: Behavior,
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
    fn what_a_preset_does_not_know_is_an_axis_and_stands_at_its_default() {
        let defaults = Behavior::default().axes();
        for preset in all() {
            let own = preset.behavior.axes();
            for unknown in preset.unknown {
                let of = |axis: &str| {
                    axis == *unknown || axis.strip_prefix(*unknown).is_some_and(|rest| rest.starts_with('.'))
                };
                let known: Vec<_> = own.iter().filter(|(axis, _)| of(axis)).collect();
                assert!(!known.is_empty(), "{}: {unknown} is no axis", preset.name);
                for row in known {
                    assert!(defaults.contains(row), "{}: {row:?} is called unknown and is no default", preset.name);
                }
            }
        }
    }
}

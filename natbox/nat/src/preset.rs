//! Names for behaviours. A preset is resolved to a [`Behavior`] once; nothing below sees its name.

use crate::Behavior;

/// A named behaviour.
#[derive(Clone, Debug)]
pub struct Preset {
    /// Its name in topology files, kebab-case.
    pub name: &'static str,
    /// What it is, one line.
    pub summary: &'static str,
    /// Where its behaviour was observed, and by whom it is stated.
    pub source: &'static str,
    /// What it stands for.
    pub behavior: Behavior,
}

/// Every preset, in the order in which lists show them.
pub fn all() -> Vec<Preset> {
    todo!()
}

/// The preset of this name.
pub fn find(name: &str) -> Option<Preset> {
    all().into_iter().find(|preset| preset.name == name)
}

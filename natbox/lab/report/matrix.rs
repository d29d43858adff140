//! A matrix for people and for programs that read documents: what its cells came to, in six formats.
//!
//! Reads a sweep; decides nothing. JSON is the sweep's own ([`Sweep::to_json`]).

mod csv;
mod html;
mod junit;
mod markdown;
mod text;

use natbox_probes::Path;

#[cfg(doc)]
use crate::matrix::Sweep;
use crate::matrix::{Group, Semantics, Share};

pub use csv::csv;
pub use html::html;
pub use junit::junit;
pub use markdown::markdown;
pub use text::{Detail, differences, text};

/// A path in one letter.
fn letter(path: Path) -> char {
    match path {
        Path::Local => 'L',
        Path::Direct => 'D',
        Path::Reversed => 'B',
        Path::Mapped => 'M',
        Path::Hairpinned => 'H',
        Path::Punched => 'P',
        Path::Relayed => 'R',
        Path::None => '-',
    }
}

/// What the letter stands for.
fn meaning(path: Path) -> &'static str {
    match path {
        Path::Reversed => "reversed (the callee called back)",
        Path::None => "no path",
        other => natbox_wire::Word::as_str(other),
    }
}

/// A group in few characters: the letter of the path that most runs came to, the share that came to any where that is not
/// all, and marks.
fn brief(group: Group<'_>) -> String {
    let share = group.share();
    let percent = match (share.connected, share.runs) {
        (connected, runs) if connected == runs || connected == 0 => String::new(),
        // Not all and not none, whatever it rounds to.
        _ => format!("{:.0}", (share.value() * 100.0).clamp(1.0, 99.0)),
    };
    let mixed = if group.paths().keys().filter(|path| **path != Path::None).count() > 1 { "*" } else { "" };
    let differs = if group.ok() { "" } else { "!" };
    format!("{}{percent}{mixed}{differs}", letter(group.path()))
}

/// A share with its interval: `95.0% (76.4% to 99.1%)`.
fn share(share: Share) -> String {
    let (low, high) = share.interval();
    format!("{:.1}% ({:.1}% to {:.1}%)", share.value() * 100.0, low * 100.0, high * 100.0)
}

/// Nanoseconds as people read them.
fn milliseconds(nanos: u64) -> String {
    format!("{:.1} ms", nanos as f64 / 1e6)
}

/// Under what it ran, in a line.
fn semantics(semantics: &Semantics) -> String {
    let Semantics { filter_scope, session_affinity, peer_reflexive, control, link, .. } = semantics;
    let mut text =
        format!("filter_scope {filter_scope}, session_affinity {session_affinity}, peer_reflexive {peer_reflexive}");
    control.iter().for_each(|words| text.push_str(&format!(", control {words}")));
    link.iter().for_each(|(key, value)| text.push_str(&format!(", link {key} {value}")));
    text
}

/// The seeds, in a few words.
fn seeds(semantics: &Semantics) -> String {
    match semantics.seeds {
        1 => format!("seed {}", semantics.first_seed),
        seeds => format!("{seeds} seeds from {}", semantics.first_seed),
    }
}

//! A matrix for documents: a Markdown table a technique.

use std::collections::BTreeSet;
use std::fmt::Write;

use natbox_probes::Path;

use super::{brief, letter, meaning, seeds, semantics, share};
use crate::matrix::{Group, Sweep};

/// The tables with a legend; below them what is not as expected.
pub fn markdown(sweep: &Sweep) -> String {
    let mut text = String::new();
    let sides = 0..sweep.sides.len();
    for technique in 0..sweep.semantics.techniques.len() {
        writeln!(text, "## {}, {}\n", sweep.technique(technique), seeds(&sweep.semantics)).ok();
        let numbers: String = sides.clone().map(|b| format!(" {} |", b + 1)).collect();
        writeln!(text, "| caller \\ callee |{numbers}\n| --- |{}", " --- |".repeat(sides.len())).ok();
        for a in sides.clone() {
            let cells: String = sides
                .clone()
                .map(|b| format!(" {} |", sweep.group(a, b, technique).map(shown).unwrap_or_default()))
                .collect();
            writeln!(text, "| {} {} |{cells}", a + 1, escaped(sweep.name(a))).ok();
        }
        text.push('\n');
    }
    let paths: BTreeSet<Path> = sweep.groups().map(Group::path).collect();
    let legend: Vec<String> = paths.into_iter().map(|path| format!("{} {}", letter(path), meaning(path))).collect();
    writeln!(text, "{}. Share in per cent where not all runs connect, with its 95 % interval; `*` several paths; **bold**: not as expected.\n", legend.join(", ")).ok();
    writeln!(text, "Semantics: {}.", semantics(&sweep.semantics)).ok();
    for cell in sweep.cells.iter().filter(|cell| !cell.ok) {
        let expected = cell.expected.map_or_else(String::new, |expected| format!("expected {expected}, "));
        let (a, b) = (escaped(sweep.name(cell.a)), escaped(sweep.name(cell.b)));
        writeln!(
            text,
            "\n* {} from {a} to {b}, seed {}: {expected}{}",
            sweep.technique(cell.technique),
            cell.seed,
            cell.path
        )
        .ok();
        cell.reasons.iter().for_each(|reason| _ = writeln!(text, "  * {}", escaped(reason)));
    }
    text
}

fn shown(group: Group<'_>) -> String {
    let connected = group.share();
    let partly = connected.connected > 0 && connected.connected < connected.runs;
    let brief = escaped(&brief(group));
    let text = if partly { format!("{brief} {}", share(connected)) } else { brief };
    if group.ok() { text } else { format!("**{text}**") }
}

/// What has a meaning in a table of Markdown, without it.
fn escaped(text: &str) -> String {
    text.replace('\\', "\\\\").replace('|', "\\|").replace('*', "\\*").replace('<', "&lt;")
}

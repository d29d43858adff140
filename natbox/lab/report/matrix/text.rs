//! A matrix on a terminal: a table a technique, a letter a pair, callers in rows, callees in columns.

use std::collections::BTreeMap;
use std::fmt::Write;

use natbox_probes::Path;

use super::{brief, letter, meaning, milliseconds, seeds, semantics, share};
use crate::matrix::{Group, Sweep};
use crate::paint::Paint;

/// How much is told.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Detail {
    /// The sum alone.
    Sum,
    /// Tables.
    Tables,
    /// Tables, and a line for each pair.
    Pairs,
}

/// Columns of a terminal that tables keep to, where names leave room.
const WIDTH: usize = 120;
/// Cells that are listed when they differ; more are counted.
const LISTED: usize = 20;

/// The tables with their legend and a sum.
pub fn text(sweep: &Sweep, detail: Detail, paint: Paint) -> String {
    let mut text = String::new();
    for technique in 0..sweep.semantics.techniques.len() {
        if detail >= Detail::Tables {
            table(sweep, technique, paint, &mut text);
        }
        if detail >= Detail::Pairs {
            pairs(sweep, technique, paint, &mut text);
        }
    }
    if detail >= Detail::Tables {
        legend(sweep, paint, &mut text);
        writeln!(text, "{}", paint.faint(format!("semantics: {}", semantics(&sweep.semantics)))).ok();
    }
    writeln!(text, "{}", sum(sweep, paint)).ok();
    text
}

fn table(sweep: &Sweep, technique: usize, paint: Paint, text: &mut String) {
    let sides = sweep.sides.len();
    let label = sweep.sides.iter().map(|side| side.name.chars().count()).max().unwrap_or(0);
    let number = sides.to_string().len();
    let groups = sweep.groups().filter(|group| group.first().technique == technique);
    let widest = groups.map(|group| brief(group).chars().count()).max().unwrap_or(1).max(number);
    let begin = number + 1 + label;
    let block = (WIDTH.saturating_sub(begin) / (widest + 2)).clamp(8, sides.max(8));
    let head = format!("{}, {}", sweep.technique(technique), seeds(&sweep.semantics));
    writeln!(text, "{}: callers in rows, callees in columns\n", paint.strong(head)).ok();
    for first in (0..sides).step_by(block) {
        let columns = first..(first + block).min(sides);
        let heads: String = columns.clone().map(|b| format!("  {:>widest$}", b + 1)).collect();
        writeln!(text, "{:begin$}{}", "", paint.faint(heads)).ok();
        for a in 0..sides {
            let cells: String = columns.clone().map(|b| cell(sweep.group(a, b, technique), widest, paint)).collect();
            writeln!(text, "{:>number$} {:<label$}{cells}", a + 1, sweep.name(a)).ok();
        }
        text.push('\n');
    }
}

fn cell(group: Option<Group<'_>>, width: usize, paint: Paint) -> String {
    let Some(group) = group else { return format!("  {:>width$}", "") };
    let padded = format!("  {:>width$}", brief(group));
    if group.ok() { colored(group.path(), padded, paint) } else { paint.bad(padded) }
}

fn colored(path: Path, text: String, paint: Paint) -> String {
    match path {
        Path::None => paint.bad(text),
        Path::Relayed => paint.notable(text),
        _ => paint.good(text),
    }
}

fn pairs(sweep: &Sweep, technique: usize, paint: Paint, text: &mut String) {
    let groups = || sweep.groups().filter(|group| group.first().technique == technique);
    let pair = |group: &Group<'_>| format!("{} -> {}", sweep.name(group.first().a), sweep.name(group.first().b));
    let width = groups().map(|group| pair(&group).chars().count()).max().unwrap_or(0);
    for group in groups() {
        let paths = group.paths().into_iter().map(|(path, count)| match count == group.cells().len() {
            true => path.to_string(),
            false => format!("{path} {count}"),
        });
        let path = colored(group.path(), format!("{:<12}", paths.collect::<Vec<_>>().join(", ")), paint);
        let time = group.elapsed_ns().map_or_else(|| "-".to_owned(), milliseconds);
        let packets = group.packets().unwrap_or(0);
        writeln!(text, "{:<width$}  {path}  {}  {time:>12}  {packets:>5} packets", pair(&group), share(group.share()))
            .ok();
    }
    text.push('\n');
}

fn legend(sweep: &Sweep, paint: Paint, text: &mut String) {
    let groups: Vec<Group<'_>> = sweep.groups().collect();
    let mut seen = BTreeMap::<Path, ()>::new();
    groups.iter().for_each(|group| _ = seen.insert(group.path(), ()));
    let mut parts: Vec<String> =
        seen.into_keys().map(|path| colored(path, format!("{} {}", letter(path), meaning(path)), paint)).collect();
    let briefs: Vec<String> = groups.iter().map(|group| brief(*group)).collect();
    let any = |mark: fn(char) -> bool| briefs.iter().any(|brief| brief.contains(mark));
    parts.extend(any(|c| c.is_ascii_digit()).then(|| "P95 a path in 95 % of runs".to_owned()));
    parts.extend(any(|c| c == '*').then(|| "* several paths, the most frequent shown".to_owned()));
    parts.extend(any(|c| c == '!').then(|| paint.bad("! not as expected")));
    writeln!(text, "{}", parts.join("   ")).ok();
}

/// How many runs came to which path.
fn sum(sweep: &Sweep, paint: Paint) -> String {
    let mut paths = BTreeMap::<Path, usize>::new();
    sweep.cells.iter().for_each(|cell| *paths.entry(cell.path).or_default() += 1);
    let counts: Vec<String> = paths.into_iter().map(|(path, count)| format!("{count} {path}")).collect();
    let cells = sweep.cells.len();
    let sum = format!("{cells} cell{}: {}", if cells == 1 { "" } else { "s" }, counts.join(", "));
    let broken = sweep.cells.iter().filter(|cell| !cell.ok).count();
    match (broken, sweep.cells.iter().any(|cell| cell.expected.is_some())) {
        (0, false) => sum,
        (0, true) => paint.good(format!("{sum}; all as expected")),
        (broken, _) => paint.bad(format!("{sum}; {broken} not as expected")),
    }
}

/// The cells that are not as expected, each with its reasons; empty if there are none.
pub fn differences(sweep: &Sweep, paint: Paint) -> String {
    let mut text = String::new();
    let differing: Vec<_> = sweep.cells.iter().filter(|cell| !cell.ok).collect();
    for cell in differing.iter().take(LISTED) {
        let (a, b, technique) = (sweep.name(cell.a), sweep.name(cell.b), sweep.technique(cell.technique));
        let what = match cell.expected {
            Some(expected) => format!("expected {expected}, came to {}", cell.path),
            None => format!("{}, and something went wrong", cell.path),
        };
        writeln!(text, "{}", paint.bad(format!("{technique} from {a} to {b}, seed {}: {what}", cell.seed))).ok();
        for reason in &cell.reasons {
            writeln!(text, "  {}", paint.faint(reason)).ok();
        }
    }
    if differing.len() > LISTED {
        writeln!(text, "and {} more cells that are not as expected", differing.len() - LISTED).ok();
    }
    text
}

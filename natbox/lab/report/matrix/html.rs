//! A matrix as one page that needs nothing else: no script, no style sheet, no network.
//!
//! The heat map is SVG; each of its cells is a link to the cell's own section, which is hidden until it is the target. There
//! stand the figures over all seeds, the reasons, and the packets of one run as a ladder.

use std::collections::BTreeSet;

use maud::{DOCTYPE, Markup, PreEscaped, html as markup};
use natbox_probes::Path;

use super::{brief, letter, meaning, milliseconds, seeds, semantics, share};
use crate::matrix::{Cell, Group, Sweep, ladder};

const STYLE: &str = "\
body{font:15px/1.45 system-ui,sans-serif;margin:1.5rem auto;max-width:80rem;padding:0 1rem;color:#1c2126;background:#fff}\
h1{font-size:1.4rem}h2{font-size:1.15rem;margin-top:2rem}svg{max-width:100%;height:auto}svg text{font:11px system-ui,sans-serif}\
svg .mark{font-weight:600;text-anchor:middle}svg a:hover rect{stroke:#1c2126;stroke-width:2}\
.cell{display:none;border-top:3px solid #4a5560;margin-top:1rem}.cell:target{display:block}\
table{border-collapse:collapse}td,th{padding:.15rem .8rem .15rem 0;text-align:left}\
pre{font:11.5px/1.35 ui-monospace,monospace;overflow-x:auto;background:#f6f7f8;padding:.7rem}\
.died{color:#b3261e}.faint{color:#5c6670}.key{display:inline-block;width:1em;height:1em;vertical-align:-.15em;margin:0 .3em 0 1em}\
@media(prefers-color-scheme:dark){body{color:#e4e7ea;background:#16191c}pre{background:#1f2428}.died{color:#ff8a80}svg text{fill:#e4e7ea}svg .mark{fill:#111}}";

/// A cell of the heat map, in units of the picture.
const CELL: usize = 30;
/// Width of a letter of a name, about.
const LETTER: usize = 6;

/// The page. Every pair's ladder is that of its first run which is not as the others, or not as expected; else of its
/// first. `done` is told of each pair.
pub fn html(sweep: &Sweep, done: &dyn Fn()) -> String {
    let groups: Vec<Group<'_>> = sweep.groups().collect();
    let page = markup! {
        (DOCTYPE)
        html lang="en" {
            head {
                meta charset="utf-8";
                meta name="viewport" content="width=device-width, initial-scale=1";
                title { "natbox matrix" }
                style { (PreEscaped(STYLE)) }
            }
            body {
                h1 { "natbox matrix" }
                p class="faint" { (seeds(&sweep.semantics)) "; " (semantics(&sweep.semantics)) "; natbox " (sweep.semantics.version) }
                (key(&groups))
                @for technique in 0..sweep.semantics.techniques.len() {
                    h2 { (sweep.technique(technique)) }
                    (heat_map(sweep, technique))
                }
                p class="faint" { "Callers in rows, callees in columns. A cell opens its packets." }
                @for group in &groups { (section(sweep, *group, done)) }
            }
        }
    };
    page.into_string()
}

/// The colour of a path, and how pale: shares below one fade.
fn fill(group: Group<'_>) -> (String, f64) {
    let share = group.share().value();
    let strength = if group.path() == Path::None { 1.0 } else { 0.35 + 0.65 * share };
    (hue(group.path()).to_owned(), strength)
}

fn hue(path: Path) -> &'static str {
    match path {
        Path::Local | Path::Direct => "#5bb974",
        Path::Reversed | Path::Mapped | Path::Hairpinned => "#8fce8f",
        Path::Punched => "#7cc3e8",
        Path::Relayed => "#f2c464",
        Path::None => "#e5867e",
    }
}

fn key(groups: &[Group<'_>]) -> Markup {
    let paths: BTreeSet<Path> = groups.iter().map(|group| group.path()).collect();
    markup! {
        p {
            @for path in paths {
                span class="key" style=(format!("background:{}", hue(path))) {}
                (letter(path)) " " (meaning(path))
            }
            " · a number: connected runs in per cent · * several paths · ! not as expected"
        }
    }
}

fn heat_map(sweep: &Sweep, technique: usize) -> Markup {
    let sides = sweep.sides.len();
    let longest = sweep.sides.iter().map(|side| side.name.chars().count()).max().unwrap_or(0);
    let left = (longest + 5) * LETTER;
    let (width, height) = (left + sides * CELL + 2, (sides + 1) * CELL);
    markup! {
        svg xmlns="http://www.w3.org/2000/svg" width=(width) height=(height) viewBox=(format!("0 0 {width} {height}")) role="img" {
            @for b in 0..sides {
                text class="mark" style="fill:currentColor" x=(left + b * CELL + CELL / 2) y=(CELL - 8) { (b + 1) title { (sweep.name(b)) } }
            }
            @for a in 0..sides {
                @let top = (a + 1) * CELL;
                text x="0" y=(top + CELL / 2 + 4) style="fill:currentColor" { (a + 1) " " (sweep.name(a)) }
                @for b in 0..sides {
                    @if let Some(group) = sweep.group(a, b, technique) {
                        (square(sweep, group, left + b * CELL, top))
                    }
                }
            }
        }
    }
}

fn square(sweep: &Sweep, group: Group<'_>, x: usize, y: usize) -> Markup {
    let (color, strength) = fill(group);
    let frame = if group.ok() { "none" } else { "#b3261e" };
    let style = format!("fill:{color};fill-opacity:{strength:.2};stroke:{frame};stroke-width:3");
    markup! {
        a href=(format!("#{}", id(group))) {
            rect x=(x + 1) y=(y + 1) width=(CELL - 2) height=(CELL - 2) rx="3" style=(style) {}
            text class="mark" x=(x + CELL / 2) y=(y + CELL / 2 + 4) { (brief(group)) }
            title { (sweep.name(group.first().a)) " to " (sweep.name(group.first().b)) ": " (paths(group)) ", " (share(group.share())) }
        }
    }
}

fn id(group: Group<'_>) -> String {
    let (a, b, technique) = group.first().key();
    format!("cell-{}-{}-{}", technique + 1, a + 1, b + 1)
}

fn paths(group: Group<'_>) -> String {
    let runs = group.cells().len();
    let paths = group.paths().into_iter();
    let told =
        paths.map(|(path, count)| if count == runs { path.to_string() } else { format!("{path} {count} of {runs}") });
    told.collect::<Vec<_>>().join(", ")
}

/// The run of a group that is worth looking at.
fn example<'a>(group: Group<'a>) -> &'a Cell {
    let cells = group.cells();
    let usual = group.path();
    cells.iter().find(|cell| !cell.ok).or_else(|| cells.iter().find(|cell| cell.path != usual)).unwrap_or(group.first())
}

fn section(sweep: &Sweep, group: Group<'_>, done: &dyn Fn()) -> Markup {
    let shown = example(group);
    let packets = ladder(sweep, shown).unwrap_or_else(|error| error.to_string());
    done();
    let row = |what: &str, figure: String| markup! { tr { th { (what) } td { (figure) } } };
    markup! {
        section class="cell" id=(id(group)) {
            h2 { (sweep.technique(shown.technique)) ": " (sweep.name(shown.a)) " to " (sweep.name(shown.b)) }
            table {
                (row("path", paths(group)))
                (row("connected (95 % interval)", share(group.share())))
                (row("time to connect, median", group.elapsed_ns().map_or_else(|| "none".to_owned(), milliseconds)))
                (row("packets, median", group.packets().unwrap_or(0).to_string()))
                @if let Some(expected) = shown.expected { (row("expected", expected.to_string())) }
            }
            @if !shown.reasons.is_empty() {
                p { "Packets that died (seed " (shown.seed) "):" }
                ul { @for reason in &shown.reasons { li { (reason) } } }
            }
            p { "Every packet of seed " (shown.seed) ", which came to " (shown.path) ":" }
            pre {
                @for line in packets.lines() {
                    @if line.contains("dropped at ") || line.contains("dropped on ") { span class="died" { (line) } } @else { (line) }
                    "\n"
                }
            }
        }
    }
}

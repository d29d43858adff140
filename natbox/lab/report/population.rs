//! A population for people: measured figures beside published ones, as text and as Markdown.
//!
//! Reads a census; decides nothing. JSON is the census's own ([`Census::to_json`]).

use std::fmt::Write;

use natbox_probes::nat_check::Test;
use natbox_wire::Word;

use crate::matrix::Share;
use crate::paint::Paint;
use crate::population::{Census, Figures};

/// The row that is the sum.
const ALL: &str = "All";

/// A table of either rendering.
struct Table {
    title: String,
    head: Vec<String>,
    rows: Vec<Vec<String>>,
}

/// The figures on a terminal; without the tables where `brief`.
pub fn text(census: &Census, brief: bool, paint: Paint) -> String {
    let mut text = format!("{}\n", paint.strong(title(census)));
    for (what, figure) in facts(census) {
        writeln!(text, "  {what:<24}{figure}").ok();
    }
    for table in tables(census).iter().filter(|_| !brief) {
        writeln!(text, "\n{}", table.title).ok();
        let rows = || std::iter::once(&table.head).chain(&table.rows);
        let width = |column: usize| rows().filter_map(|row| row.get(column)).map(|cell| cell.chars().count()).max();
        for (number, row) in rows().enumerate() {
            let cells = row.iter().enumerate().map(|(column, cell)| match (column, width(column).unwrap_or(0)) {
                (0, width) => format!("{cell:<width$}"),
                (_, width) => format!("  {cell:>width$}"),
            });
            let line = cells.collect::<String>();
            let line = line.trim_end();
            writeln!(text, "  {}", if number == 0 { paint.faint(line) } else { line.to_owned() }).ok();
        }
    }
    if let Some(source) = census.about.published.as_ref().and_then(|published| published.source.as_ref()) {
        writeln!(text, "\n{}", paint.faint(format!("published: {source}"))).ok();
    }
    text
}

/// The figures for documents.
pub fn markdown(census: &Census) -> String {
    let mut text = format!("## {}\n\n", escaped(&title(census)));
    for (what, figure) in facts(census) {
        writeln!(text, "* {what}: {}", escaped(&figure)).ok();
    }
    for table in tables(census) {
        writeln!(text, "\n{}\n", escaped(&table.title)).ok();
        let row = |cells: &[String]| cells.iter().map(|cell| format!(" {} |", escaped(cell))).collect::<String>();
        writeln!(text, "|{}\n| --- |{}", row(&table.head), " ---: |".repeat(table.head.len() - 1)).ok();
        table.rows.iter().for_each(|cells| _ = writeln!(text, "|{}", row(cells)));
    }
    if let Some(source) = census.about.published.as_ref().and_then(|published| published.source.as_ref()) {
        writeln!(text, "\nPublished: {}.", escaped(source)).ok();
    }
    text
}

fn escaped(text: &str) -> String {
    text.replace('\\', "\\\\").replace('|', "\\|").replace('*', "\\*").replace('<', "&lt;")
}

fn title(census: &Census) -> String {
    let about = &census.about;
    let what = match (census.checked.is_empty(), about.each_once) {
        (true, _) => format!("{} pairs drawn", about.own_draws()),
        (false, true) => format!("every one of {} NATs", about.own_draws()),
        (false, false) => format!("{} NATs drawn", about.own_draws()),
    };
    let part = about.shard.map(|shard| shard.numbers());
    let part = part.map_or_else(String::new, |(index, of)| format!(" (part {index} of {of})"));
    format!("{}: {what}{part}, each run by {}, seed {}", about.name, about.runs, about.seed)
}

/// The figures of the whole, in lines.
fn facts(census: &Census) -> Vec<(&'static str, String)> {
    if census.pairs.is_empty() {
        let broken = census.checked.values().map(|checked| checked.broken).sum::<u64>();
        return if broken == 0 { Vec::new() } else { vec![("could not be checked", broken.to_string())] };
    }
    let all = census.figures(|_, _| true);
    let mut facts = vec![("success without a relay", success(census, &all))];
    let paths = all.paths.iter().map(|(path, count)| format!("{path} {}", percent(*count, all.draws)));
    facts.push(("paths", paths.collect::<Vec<_>>().join(", ")));
    if let Some(mean) = all.mean_elapsed_ns() {
        facts.push(("mean time to connect", format!("{:.1} ms", mean as f64 / 1e6)));
    }
    if let Some(mean) = all.mean_packets() {
        facts.push(("mean packets of a pair", mean.to_string()));
    }
    for (what, count) in [
        ("a way out was shut in", all.shut),
        ("both behind one NAT in", all.together),
        ("something broke in", all.broken),
    ] {
        if count > 0 {
            facts.push((what, format!("{} ({count} pairs)", percent(count, all.draws))));
        }
    }
    facts
}

fn success(census: &Census, all: &Figures) -> String {
    let share = all.share();
    let (low, high) = share.interval();
    let measured = format!("{:.2}% (95% interval {:.2}% to {:.2}%)", share.value() * 100.0, low * 100.0, high * 100.0);
    let published = census.about.published.as_ref();
    match published.and_then(|published| Some((published.success?, published.margin))) {
        Some((figure, Some(margin))) => format!("{measured}; published {figure}% +- {margin}"),
        Some((figure, None)) => format!("{measured}; published {figure}%"),
        None => measured,
    }
}

fn percent(count: u64, of: u64) -> String {
    format!("{:.2}%", 100.0 * count as f64 / of.max(1) as f64)
}

fn tables(census: &Census) -> Vec<Table> {
    if census.pairs.is_empty() { vec![checks(census)] } else { vec![pairs(census)] }
}

/// Success by pair of groups: in per cent, with the published figure behind it.
fn pairs(census: &Census) -> Table {
    let groups = census.about.groups();
    let published = census.about.published.as_ref().is_some_and(|published| !published.pairs.is_empty());
    let beside = if published { ", (published)" } else { "" };
    let title = format!("success in per cent by pair, callers in rows, callees in columns{beside}:");
    let mut head = vec![String::new(), "share".to_owned()];
    head.extend(groups.iter().map(|group| (*group).to_owned()));
    let row = |from: &&str| {
        let mut row = vec![(*from).to_owned(), format!("{:.1}%", census.about.share(from) * 100.0)];
        row.extend(groups.iter().map(|to| {
            let share = census.figures(|a, b| a == *from && b == *to).share();
            let published = census.published_pair(from, to).map(|figure| format!(" ({figure})"));
            format!("{}{}", brief(share), published.unwrap_or_default())
        }));
        row
    };
    Table { title, rows: groups.iter().map(row).collect(), head }
}

fn brief(share: Share) -> String {
    if share.runs == 0 { "-".to_owned() } else { format!("{:.1}", share.value() * 100.0) }
}

/// How many of how many passed each test, by group; the published counts behind it.
fn checks(census: &Census) -> Table {
    let published = |group: &str, test| census.published_counts(group, test);
    let mut groups: Vec<Option<&str>> = census.about.groups().into_iter().map(Some).collect();
    groups.push(None);
    let beside =
        Test::ALL.iter().any(|test| groups.iter().any(|group| published(group.unwrap_or(ALL), *test).is_some()));
    let mut head = vec![String::new()];
    for test in Test::ALL {
        head.push(test.to_string());
        head.extend(beside.then(|| "published".to_owned()));
    }
    let row = |group: &Option<&str>| {
        let name = group.unwrap_or(ALL);
        let mut row = vec![name.to_owned()];
        for test in Test::ALL {
            row.push(of(census.passed(*group, *test)));
            row.extend(beside.then(|| published(name, *test).map_or_else(|| "-".to_owned(), of)));
        }
        row
    };
    let title = "passed, of those that were tested:".to_owned();
    Table { title, rows: groups.iter().map(row).collect(), head }
}

fn of((passed, of): (u64, u64)) -> String {
    if of == 0 {
        "-".to_owned()
    } else {
        format!("{passed}/{of} ({:.0}%)", (100.0 * passed as f64 / of as f64 + 0.5).floor())
    }
}

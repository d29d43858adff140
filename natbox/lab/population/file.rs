//! A population file: read as topology files are, with every mistake at its place.
//!
//! Its NATs become a topology of NATs alone, by taking from each entry what topologies do not have and writing out what it
//! begins with; the topology's own reader does the rest, places included.

use std::collections::BTreeSet;

use natbox_nat::preset;
use natbox_probes::nat_check::Test;
use natbox_wire::Word;

use super::census::{About, Kind, Published, PublishedCounts, PublishedPair};
use super::{DRAWS, Drawn, MOST_KINDS, Population, Subject};
use crate::matrix::{Side, Technique};
use crate::plan::{self, Plan};
use crate::suggest::did_you_mean;
use crate::topology::Mistakes;
use crate::topology::mistake::{Collector, Place};
use crate::topology::population::{Begun, POPULATION, WHOLE, Weight, behavior, passed, weight};
use crate::topology::shape::{self, count, crop};
use crate::topology::tree::{self, Key, Node, Value};
use crate::topology::units::{percent, show_percent};

/// The keys of an entry that a topology's NATs do not have.
const OWN: [&str; 5] = ["share", "group", "failure", "together", "tests"];
/// The row of published counts that is the sum.
pub(super) const ALL: &str = "All";

pub(super) fn read(file: &str, text: &str) -> Result<Population, Mistakes> {
    let mut mistakes = Collector::new(file, text);
    let population = tree::parse(text, &mut mistakes).and_then(|root| {
        shape::check(&root, &POPULATION, &mut mistakes);
        if mistakes.is_empty() { population(file, &root, &mut mistakes) } else { None }
    });
    match population {
        Some(population) if mistakes.is_empty() => Ok(population),
        _ => Err(mistakes.finish()),
    }
}

/// What an entry says of itself, beside how its NAT behaves.
struct Entry<'a> {
    name: &'a str,
    place: Place,
    weight: Option<Weight>,
    weight_place: Place,
    group: String,
    failure: u64,
    together: u64,
    tests: Vec<Test>,
}

fn population(file: &str, root: &Node, mistakes: &mut Collector<'_>) -> Option<Population> {
    let Some(nats) = root.get("nats") else {
        let place =
            root.entries().iter().find(|(key, _)| key.text == "nats").map_or(root.place, |(_, node)| node.place);
        empty(place, mistakes);
        return None;
    };
    let subject = subject(root, mistakes)?;
    let entries: Vec<Entry<'_>> = nats.entries().iter().map(|(key, node)| entry(key, node, root)).collect();
    if entries.len() > MOST_KINDS {
        mistakes.at(nats.place, format!("{} NATs", entries.len())).expected(format!("at most {MOST_KINDS} kinds"));
        return None;
    }
    let counted = weights(nats, &entries, mistakes);
    procedure_keys(root, nats, subject, mistakes);
    let plan = plan(file, root, nats, mistakes)?;
    referenced(&entries, &plan, mistakes);
    let sides: Vec<Side> = plan.nats.iter().map(|nat| Side::of_plan(nat.name.clone(), &plan, nat)).collect();
    let kinds: Vec<Kind> = entries.iter().zip(&sides).map(|(entry, side)| kind(entry, side)).collect();
    let published = root.get("published").map(|node| published(node, &kinds, mistakes));
    let drawn = entries.iter().zip(sides).map(|(entry, side)| Drawn {
        side,
        failure: entry.failure,
        together: entry.together,
        tests: entry.tests.clone(),
    });
    let total = kinds.iter().map(|kind| kind.weight).sum();
    let draws = root.get("draws").and_then(Node::text).and_then(count);
    let each_once = draws.is_none() && counted && subject == Subject::NatCheck;
    let stem = std::path::Path::new(file).file_stem().map(|stem| stem.to_string_lossy().into_owned());
    let about = About {
        version: env!("CARGO_PKG_VERSION").to_owned(),
        name: root.get("name").and_then(Node::text).map(str::to_owned).or(stem).unwrap_or_default(),
        seed: root.get("seed").and_then(Node::text).and_then(count).unwrap_or(0),
        draws: draws.unwrap_or(if each_once { total } else { DRAWS }),
        each_once,
        runs: subject.word().to_owned(),
        kinds,
        published,
        shard: None,
    };
    Some(Population { about, subject, drawn: drawn.collect() })
}

impl Subject {
    pub(super) fn word(self) -> &'static str {
        match self {
            Subject::Pairs(technique) => technique.as_str(),
            Subject::NatCheck => crate::words::Procedure::NatCheck.as_str(),
        }
    }
}

fn subject(root: &Node, mistakes: &mut Collector<'_>) -> Option<Subject> {
    let technique = root.get("technique").and_then(Node::text).and_then(Technique::from_word);
    match (technique, root.get("procedure")) {
        (Some(_), Some(node)) => {
            mistakes.at(node.place, "`procedure` beside `technique`").expected("one of them");
            None
        }
        (technique, None) => Some(Subject::Pairs(technique.unwrap_or(Technique::Punch))),
        (None, Some(_)) => Some(Subject::NatCheck),
    }
}

/// A share under `key`, in hundred-millionths.
fn share(node: &Node, key: &str) -> Option<u64> {
    let share = node.get(key).and_then(Node::text).and_then(|text| percent(text).ok())?;
    Some((share * WHOLE as f64).round() as u64)
}

fn entry<'a>(key: &'a Key, node: &Node, root: &Node) -> Entry<'a> {
    let of_all = |key: &str| share(node, key).or_else(|| share(root, key)).unwrap_or(0);
    let stated = if node.text().is_some() { Some(node) } else { node.get("share") };
    let tests = node.get("tests").map(|tests| {
        let words = tests.items().iter().filter_map(Node::text);
        words.filter_map(Test::from_word).collect()
    });
    Entry {
        name: &key.text,
        place: key.place,
        weight: stated.and_then(Node::text).and_then(|text| weight(text).ok()),
        weight_place: stated.map_or(key.place, |node| node.place),
        group: node.get("group").and_then(Node::text).unwrap_or(&key.text).to_owned(),
        failure: of_all("failure"),
        together: of_all("together"),
        tests: tests.unwrap_or_else(|| Test::ALL.to_vec()),
    }
}

/// All shares, and then 100 % together, or all counts: whether it is the latter.
fn weights(nats: &Node, entries: &[Entry<'_>], mistakes: &mut Collector<'_>) -> bool {
    let weights = || entries.iter().filter_map(|entry| Some((entry, entry.weight?)));
    let Some((_, first)) = weights().next() else {
        empty(nats.place, mistakes);
        return false;
    };
    let counted = matches!(first, Weight::Count(_));
    let same = |weight: Weight| matches!(weight, Weight::Count(_)) == counted;
    if let Some((entry, _)) = weights().find(|(_, weight)| !same(*weight)) {
        let (this, others) = if counted { ("a share", "counts") } else { ("a count", "shares") };
        mistakes
            .at(entry.weight_place, format!("{this} beside {others}"))
            .expected("shares in per cent everywhere, or whole numbers everywhere");
        return counted;
    }
    let sum: u64 = weights().map(|(_, weight)| amount(weight)).sum();
    if !counted && sum != WHOLE {
        let place = weights().next_back().map_or(nats.place, |(entry, _)| entry.weight_place);
        mistakes
            .at(place, format!("the shares are {} together", shown(sum)))
            .expected("`100%`")
            .hint("whole numbers are taken as they are, whatever their sum");
    }
    counted
}

fn empty(place: Place, mistakes: &mut Collector<'_>) {
    mistakes.at(place, "the population is empty").expected("NATs with a share each, such as `symmetric: 11%`");
}

fn amount(weight: Weight) -> u64 {
    match weight {
        Weight::Share(amount) | Weight::Count(amount) => amount,
    }
}

/// Keys that only a procedure has, and keys that only pairs have.
fn procedure_keys(root: &Node, nats: &Node, subject: Subject, mistakes: &mut Collector<'_>) {
    let entries = || std::iter::once(root).chain(nats.entries().iter().map(|(_, node)| node));
    let (keys, beside): (&[&str], _) = match subject {
        Subject::Pairs(_) => (&["tests"], "only a `procedure` has tests"),
        Subject::NatCheck => {
            (&["failure", "together"], "only pairs have that: a procedure is run against each NAT alone")
        }
    };
    for (key, node) in entries().flat_map(|node| keys.iter().filter_map(move |key| Some((key, node.get(key)?)))) {
        mistakes.at(node.place, format!("`{key}` means nothing here: {beside}")).expected("no such key");
    }
}

/// NATs that are never drawn, and that nothing is behind.
fn referenced(entries: &[Entry<'_>], plan: &Plan, mistakes: &mut Collector<'_>) {
    let outer: BTreeSet<usize> = plan
        .nats
        .iter()
        .filter_map(|nat| match nat.outside.network {
            plan::Network::Behind(outer) => Some(outer),
            plan::Network::Internet => None,
        })
        .collect();
    for (index, entry) in entries.iter().enumerate() {
        if entry.weight.is_none() && !outer.contains(&index) {
            mistakes
                .at(entry.place, format!("`{}` has no share, and no other NAT is behind it", crop(entry.name)))
                .expected("a `share`, such as `11%`");
        }
    }
}

fn kind(entry: &Entry<'_>, side: &Side) -> Kind {
    let all = entry.tests.len() == Test::ALL.len();
    Kind {
        name: entry.name.to_owned(),
        group: entry.group.clone(),
        weight: entry.weight.map_or(0, amount),
        failure: shown(entry.failure),
        together: shown(entry.together),
        tests: if all { Vec::new() } else { entry.tests.iter().map(|test| test.as_str().to_owned()).collect() },
        nat: side.to_value(),
    }
}

fn shown(share: u64) -> String {
    show_percent(&(share as f64 / WHOLE as f64))
}

/// The NATs as a topology has them.
fn plan(file: &str, root: &Node, nats: &Node, mistakes: &mut Collector<'_>) -> Option<Plan> {
    let link = root.get("link");
    let entries = nats.entries().iter().map(|(key, node)| (key.clone(), topology_entry(key, node, link, mistakes)));
    let nats = Node { place: nats.place, value: Value::Map(entries.collect()) };
    let key = Key { place: nats.place, text: "nats".to_owned() };
    let root = Node { place: root.place, value: Value::Map(vec![(key, nats)]) };
    if mistakes.is_empty() { plan::of_tree(file, &root, mistakes) } else { None }
}

/// An entry without what topologies do not have, its behaviour and its link written out.
fn topology_entry(key: &Key, node: &Node, link: Option<&Node>, mistakes: &mut Collector<'_>) -> Node {
    let mut entries: Vec<(Key, Node)> = node.entries().to_vec();
    let begins = node.get("type").and_then(Node::text).map(behavior);
    entries.retain(|(key, _)| !OWN.contains(&key.text.as_str()));
    match begins {
        Some(Ok(Begun::Class(mapping, filtering))) => {
            let place = node.get("type").map_or(key.place, |node| node.place);
            entries.retain(|(key, _)| key.text != "type");
            for (axis, word) in [("mapping", mapping.as_str()), ("filtering", filtering.as_str())] {
                if node.get(axis).is_none() {
                    entries.push(scalar(axis, word, place));
                }
            }
        }
        Some(_) => {}
        None if preset::find(&key.text).is_some() => entries.push(scalar("type", &key.text, key.place)),
        None if node.text().is_some() => unknown(key, mistakes),
        None => {}
    }
    if let (Some(link), None) = (link, node.get("behind")) {
        lay_under(&mut entries, link);
    }
    Node { place: node.place, value: Value::Map(entries) }
}

/// A share alone stands beside what is no preset.
fn unknown(key: &Key, mistakes: &mut Collector<'_>) {
    let presets = preset::all();
    let near = did_you_mean(&key.text, presets.iter().map(|preset| preset.name));
    let hint = near.map_or_else(
        || format!("`{}: {{ share: ..., type: ... }}`", crop(&key.text)),
        |near| format!("did you mean `{near}`?"),
    );
    mistakes
        .at(key.place, format!("no preset is called `{}`", crop(&key.text)))
        .expected("the name of a preset (`natbox nat list`), or an entry that says how the NAT behaves")
        .hint(hint);
}

/// The keys of the common link that the entry's own does not have.
fn lay_under(entries: &mut Vec<(Key, Node)>, common: &Node) {
    match entries.iter_mut().find(|(key, _)| key.text == "link") {
        Some((_, own)) => {
            if let Value::Map(own) = &mut own.value {
                let missing =
                    common.entries().iter().filter(|(key, _)| own.iter().all(|(known, _)| known.text != key.text));
                let missing: Vec<_> = missing.cloned().collect();
                own.extend(missing);
            }
        }
        None => entries.push((Key { place: common.place, text: "link".to_owned() }, common.clone())),
    }
}

fn scalar(key: &str, value: &str, place: Place) -> (Key, Node) {
    (Key { place, text: key.to_owned() }, Node { place, value: Value::Scalar(value.to_owned()) })
}

fn published(node: &Node, kinds: &[Kind], mistakes: &mut Collector<'_>) -> Published {
    let text = |node: &Node, key: &str| node.get(key).and_then(Node::text).unwrap_or_default().to_owned();
    let items = |key: &str| node.get(key).map(Node::items).unwrap_or_default();
    for (key, item) in [("from", "pairs"), ("to", "pairs"), ("group", "counts")] {
        items(item).iter().filter_map(|item| item.get(key)).for_each(|name| group(name, item, kinds, mistakes));
    }
    let pair = |item: &Node| PublishedPair {
        from: text(item, "from"),
        to: text(item, "to"),
        success: percentage(item, "success").unwrap_or_default(),
    };
    let counts = |item: &Node| {
        let count = |test: &Test| {
            let key = test.as_str().replace('-', "_");
            Some((test.as_str().to_owned(), item.get(&key).and_then(Node::text).and_then(|text| passed(text).ok())?))
        };
        PublishedCounts { group: text(item, "group"), tests: Test::ALL.iter().filter_map(count).collect() }
    };
    Published {
        source: node.get("source").and_then(Node::text).map(str::to_owned),
        success: percentage(node, "success"),
        margin: percentage(node, "margin"),
        pairs: items("pairs").iter().map(pair).collect(),
        counts: items("counts").iter().map(counts).collect(),
    }
}

/// A published figure is of a row that there is.
fn group(node: &Node, of: &str, kinds: &[Kind], mistakes: &mut Collector<'_>) {
    let Some(name) = node.text() else { return };
    let groups = || kinds.iter().filter(|kind| kind.weight > 0).map(|kind| kind.group.as_str());
    if groups().all(|group| group != name) && !(of == "counts" && name == ALL) {
        mistakes
            .at(node.place, format!("no NAT is in the row `{}`", crop(name)))
            .expected("the name of a NAT with a share, or its `group`")
            .suggest(name, groups());
    }
}

/// A share in per cent.
fn percentage(node: &Node, key: &str) -> Option<f64> {
    share(node, key).map(|share| share as f64 / 1e6)
}

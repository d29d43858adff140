//! What can be changed about a NAT or a link that is in use: the axes or keys that get another value, read from a step or
//! from the words of a command by the same shapes.
//!
//! A change knows what is changed and not what it is changed from: that is asked when it is made.

use std::fmt;
use std::sync::Arc;

use natbox_nat::Behavior;
use natbox_world::LinkConfig;

use super::behavior::{self, parsed};
use super::describe::Shown;
use super::resolve::number;
use super::step::{Relink, Set};
use super::{Nat, network};
use crate::topology::actions::{CHANGED_AXES, CHANGED_LINK};
use crate::topology::mistake::{Collector, Place};
use crate::topology::shape::{self, Shape};
use crate::topology::tree::{self, Key, Node, Value};
use crate::topology::units;

/// What a running NAT cannot change, and what to do then.
pub(super) const FIXED: &str = "an axis that does not say what a mapping is; start a lab with another NAT for this one";

/// Axes of a NAT that get other values.
#[derive(Clone, Debug)]
pub struct Axes(Node);

impl Axes {
    /// Those of a checked entry, but for the key that names the NAT.
    pub(super) fn of(entry: &Node) -> Axes {
        Axes(without(entry, &["nat"]))
    }

    /// From the words of a command, `AXIS=VALUE` each: `filtering=address-dependent`, `timeouts.udp=30s`.
    ///
    /// # Errors
    /// Every mistake, with its place among the words.
    pub fn from_words(nat: &str, words: &[String]) -> Result<Axes, String> {
        checked(&format!("set {nat}"), words, &CHANGED_AXES).map(Axes)
    }

    /// Whether nothing changes.
    pub(super) fn is_empty(&self) -> bool {
        self.0.entries().is_empty()
    }

    pub(super) fn entry(&self) -> &Node {
        &self.0
    }

    /// How a NAT behaves then that behaved like this before. Whether that can be is another question.
    pub(super) fn applied(&self, before: &Behavior) -> Behavior {
        let mut behavior = before.clone();
        behavior::apply(&self.0, &mut behavior);
        behavior
    }
}

impl PartialEq for Axes {
    fn eq(&self, other: &Axes) -> bool {
        self.to_string() == other.to_string()
    }
}

/// `filtering address-dependent, timeouts.udp 30s`.
impl fmt::Display for Axes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&told(&self.0))
    }
}

impl Nat {
    /// How it behaves with these axes changed, where it behaved like `before`.
    ///
    /// # Errors
    /// What contradicts itself, or cannot change; a sentence.
    pub(crate) fn changed(&self, before: &Behavior, axes: &Axes) -> Result<Arc<Behavior>, String> {
        let after = network::with_first(&Arc::new(axes.applied(before)), &self.inside);
        match (before.fixed(&after).first(), after.contradictions().first()) {
            (Some(axis), _) => Err(format!("`{axis}` cannot change while a NAT runs: expected {FIXED}")),
            (_, Some(contradiction)) => Err(format!("{contradiction}: expected a behaviour that a NAT can have")),
            (None, None) => Ok(after),
        }
    }
}

/// Properties of a link that get other values.
#[derive(Clone, Debug)]
pub struct LinkChange(Node);

impl LinkChange {
    /// Those of a checked entry, but for the keys that name the link.
    pub(super) fn of(entry: &Node) -> LinkChange {
        LinkChange(without(entry, &["of", "behind"]))
    }

    /// From the words of a command, `KEY=VALUE` each: `latency=200ms`.
    ///
    /// # Errors
    /// Every mistake, with its place among the words.
    pub fn from_words(name: &str, words: &[String]) -> Result<LinkChange, String> {
        checked(&format!("link {name}"), words, &CHANGED_LINK).map(LinkChange)
    }

    /// Whether nothing changes.
    pub(super) fn is_empty(&self) -> bool {
        self.0.entries().is_empty()
    }

    /// What a link is then that was this before.
    pub(crate) fn applied(&self, before: &LinkConfig) -> LinkConfig {
        let share = |key, before| parsed(&self.0, key, units::percent).unwrap_or(before);
        LinkConfig {
            latency: parsed(&self.0, "latency", units::duration).unwrap_or(before.latency),
            jitter: parsed(&self.0, "jitter", units::duration).unwrap_or(before.jitter),
            loss: share("loss", before.loss),
            duplicate: share("duplicate", before.duplicate),
            reorder: share("reorder", before.reorder),
            rate_bits_per_second: parsed(&self.0, "rate", units::rate_or_none).unwrap_or(before.rate_bits_per_second),
            queue_packets: number(&self.0, "queue").unwrap_or(before.queue_packets),
            mtu_bytes: before.mtu_bytes,
        }
    }
}

impl PartialEq for LinkChange {
    fn eq(&self, other: &LinkChange) -> bool {
        self.to_string() == other.to_string()
    }
}

/// `latency 200ms, loss 5%`.
impl fmt::Display for LinkChange {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&told(&self.0))
    }
}

/// A step `set`, as an entry has it.
pub(super) fn show_set(step: &Set) -> Shown {
    let nat = ("nat".to_owned(), Shown::word(&step.nat));
    Shown::Named(std::iter::once(nat).chain(shown(&step.axes.0)).collect())
}

/// A step `link`, as an entry has it.
pub(super) fn show_link(step: &Relink) -> Shown {
    let of = ("of".to_owned(), Shown::word(&step.cable.node));
    let behind = step.cable.text.split_once(" behind ").map(|(_, behind)| ("behind".to_owned(), Shown::word(behind)));
    Shown::Named(std::iter::once(of).chain(behind).chain(shown(&step.change.0)).collect())
}

/// A mapping without some of its keys, and without those that have no value.
fn without(entry: &Node, keys: &[&str]) -> Node {
    let kept = entry
        .entries()
        .iter()
        .filter(|(key, value)| !keys.contains(&key.text.as_str()) && !matches!(value.value, Value::Null));
    Node { place: entry.place, value: Value::Map(kept.cloned().collect()) }
}

/// A mapping as a file has it.
fn shown(node: &Node) -> Vec<(String, Shown)> {
    node.entries().iter().map(|(key, value)| (key.text.clone(), show_value(value))).collect()
}

fn show_value(node: &Node) -> Shown {
    let is_plain = |sign: char| sign.is_ascii_alphanumeric() || "._/%-".contains(sign);
    match &node.value {
        Value::Map(_) => Shown::Named(shown(node)),
        Value::List(items) => Shown::List(items.iter().map(show_value).collect()),
        Value::Scalar(text) if text.chars().all(is_plain) && !text.is_empty() => Shown::word(text),
        Value::Scalar(text) => Shown::text(text),
        Value::Null => Shown::word("null"),
    }
}

/// Every value of a mapping with its path, in a line.
fn told(node: &Node) -> String {
    fn leaves(path: &str, node: &Node, all: &mut Vec<String>) {
        match &node.value {
            Value::Map(entries) => entries.iter().for_each(|(key, value)| {
                let path = if path.is_empty() { key.text.clone() } else { format!("{path}.{}", key.text) };
                leaves(&path, value, all);
            }),
            Value::List(items) => {
                let items: Vec<&str> = items.iter().filter_map(Node::text).collect();
                all.push(format!("{path} {}", items.join(" ")));
            }
            Value::Scalar(text) => all.push(format!("{path} {text}")),
            Value::Null => {}
        }
    }
    let mut all = Vec::new();
    leaves("", node, &mut all);
    all.join(", ")
}

/// The mapping that the words of a command stand for, if it has this shape.
fn checked(command: &str, words: &[String], shape: &'static Shape) -> Result<Node, String> {
    let line = format!("natbox {command} {}", words.join(" ")).replace(['\n', '\r'], " ");
    let mut mistakes = Collector::new("command line", &line);
    let whole = Place { line: 1, column: 1, length: length(&line) };
    let mut root = Node { place: whole, value: Value::Map(Vec::new()) };
    let mut column = "natbox ".len() as u32 + length(command) + 2;
    for word in words {
        let place = Place { line: 1, column, length: length(word) };
        column += length(word) + 1;
        let Some((path, value)) = word.split_once('=').filter(|(path, _)| !path.is_empty()) else {
            mistakes.at(place, format!("`{}` gives nothing a value", shape::crop(word))).expected("`KEY=VALUE`");
            continue;
        };
        let from = Place { column: place.column + length(path) + 1, length: length(value).max(1), ..place };
        let Some(value) = value_of(value, from, &mut mistakes) else { continue };
        let keys: Vec<&str> = path.split('.').collect();
        insert(&mut root, &keys, Place { length: length(path), ..place }, value);
    }
    if words.is_empty() {
        mistakes.at(whole, "nothing is given a value").expected("`KEY=VALUE`");
    }
    shape::check(&root, shape, &mut mistakes);
    match mistakes.is_empty() {
        true => Ok(root),
        false => Err(mistakes.finish().to_string().trim_start_matches("error: ").trim_end().to_owned()),
    }
}

fn length(text: &str) -> u32 {
    u32::try_from(text.chars().count()).unwrap_or(u32::MAX)
}

/// A value as it would stand in a file; several with commas between them.
fn value_of(text: &str, place: Place, mistakes: &mut Collector<'_>) -> Option<Node> {
    let mut aside = Collector::new("", text);
    let read = if text.is_empty() { Some(Node { place, value: Value::Null }) } else { tree::parse(text, &mut aside) };
    let Some(mut node) = read.filter(|_| aside.is_empty()) else {
        mistakes.at(place, format!("`{}` is no value", shape::crop(text))).expected("a value as in a topology file");
        return None;
    };
    if let Some(items) = node.text().filter(|text| text.contains(',')) {
        let items = items.split(',').map(|item| Node { place, value: Value::Scalar(item.trim().to_owned()) });
        node.value = Value::List(items.collect());
    }
    put(&mut node, place);
    Some(node)
}

/// Says of a value and of all in it that it stands here.
fn put(node: &mut Node, place: Place) {
    node.place = place;
    match &mut node.value {
        Value::Map(entries) => entries.iter_mut().for_each(|(key, value)| {
            key.place = place;
            put(value, place);
        }),
        Value::List(items) => items.iter_mut().for_each(|item| put(item, place)),
        Value::Null | Value::Scalar(_) => {}
    }
}

/// Puts a value where its keys lead.
fn insert(node: &mut Node, keys: &[&str], place: Place, value: Node) {
    let (Value::Map(entries), [first, rest @ ..]) = (&mut node.value, keys) else { return };
    let known = entries.iter_mut().find(|(key, known)| key.text == *first && matches!(known.value, Value::Map(_)));
    match (known, rest) {
        (Some((_, inner)), [_, ..]) => insert(inner, rest, place, value),
        (_, []) => entries.push((Key { place, text: (*first).to_owned() }, value)),
        (None, _) => {
            let mut inner = Node { place, value: Value::Map(Vec::new()) };
            insert(&mut inner, rest, place, value);
            entries.push((Key { place, text: (*first).to_owned() }, inner));
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    fn words(words: &[&str]) -> Vec<String> {
        words.iter().map(|word| (*word).to_owned()).collect()
    }

    #[test]
    fn words_are_read_as_a_file_is() {
        let axes = Axes::from_words(
            "home",
            &words(&[
                "filtering.tcp=address-dependent",
                "timeouts.udp=30s",
                "timeouts.icmp=9s",
                "ports.range=1-9,20-29",
            ]),
        );
        let axes = axes.expect("all of it is right");
        assert_eq!(
            axes.to_string(),
            "filtering.tcp address-dependent, timeouts.udp 30s, timeouts.icmp 9s, ports.range 1-9 20-29"
        );
        let after = axes.applied(&Behavior::default());
        assert_eq!(after.timeouts.icmp, Duration::from_secs(9));
        assert_eq!(after.ports.range.count(), 19);
        let link = LinkChange::from_words("alice", &words(&["latency=200ms", "rate=none"])).expect("right");
        let before = LinkConfig { rate_bits_per_second: Some(9), loss: 0.5, ..LinkConfig::default() };
        let after = link.applied(&before);
        assert_eq!((after.latency, after.rate_bits_per_second), (Duration::from_millis(200), None));
        assert_eq!((after.loss, after.mtu_bytes), (0.5, 1500));
    }

    #[test]
    fn every_mistake_among_words_has_its_place_and_says_what_was_expected() {
        let told = Axes::from_words("home", &words(&["filterng=address-dependent", "timeouts.udp=30", "x"]));
        let told = told.expect_err("nothing of it is right");
        for part in [
            "unknown key `filterng`",
            "command line:1:17",
            "did you mean `filtering`?",
            "`30`: a number without a unit",
            "`x` gives nothing a value",
        ] {
            assert!(told.contains(part), "{part} in {told}");
        }
        let told =
            LinkChange::from_words("alice", &words(&["mtu=900", "loss=", "rate=[", "latency=1ms", "latency=2ms"]));
        let told = told.expect_err("nothing of it is right");
        for part in
            ["unknown key `mtu`", "`loss` has no value", "`[` is no value", "`latency` stands here a second time"]
        {
            assert!(told.contains(part), "{part} in {told}");
        }
        assert!(LinkChange::from_words("alice", &[]).is_err());
        assert!(Axes::from_words("home", &words(&["a.b.c.d=1", "=", "=1", "a..b=2", ".=3", "\n=\n"])).is_err());
    }

    #[test]
    fn what_cannot_change_is_refused_in_words() {
        let plan = crate::plan::Plan::from_yaml("lab.yaml", "nats: { home: symmetric }\n").expect("a lab");
        let refused = |word: &str| {
            let axes = Axes::from_words("home", &words(&[word])).expect("an axis");
            plan.nats[0].changed(&plan.nats[0].behavior, &axes).expect_err("it cannot change")
        };
        assert!(refused("translation=basic").starts_with("`translation` cannot change while a NAT runs"));
        assert!(refused("filtering=off").contains("needs a box that translates nothing"));
    }
}

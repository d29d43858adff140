//! What a valid tree looks like: shapes as data, and the one walk that holds a tree against them.
//!
//! The checker and the published JSON Schema read the same shapes, so they cannot drift. Knows forms only: whether
//! a name means anything is the plan's business.

use std::collections::BTreeSet;

use natbox_wire::Word;

use super::mistake::{Collector, Place};
use super::tree::{Node, Value};
use super::units::{Leaf, NAME, TEXT};

/// The form of a value.
pub(crate) enum Shape {
    /// A text of one kind.
    Leaf(&'static Leaf),
    /// A whole number without a unit.
    Count {
        /// What it is: `a whole number of ...`.
        what: &'static str,
        /// The least.
        min: u64,
        /// The most.
        max: u64,
    },
    /// One of a closed list of words.
    Word {
        /// What kind of word.
        kind: &'static str,
        /// The words and what they mean.
        choices: fn() -> Vec<Choice>,
    },
    /// A mapping with known keys.
    Object(&'static [Field]),
    /// A mapping from names to values of one form.
    Named(&'static Shape),
    /// A mapping from words of a closed list to values of one form.
    ByWord {
        /// What kind of word.
        kind: &'static str,
        /// The words and what they mean.
        choices: fn() -> Vec<Choice>,
        /// What stands beside each.
        value: &'static Shape,
    },
    /// One value, or a list of at least one.
    OneOrMany(&'static Shape),
    /// The first form where a scalar stands (or a list, if that is one or many), the second where a mapping stands.
    Either(&'static Shape, &'static Shape),
    /// The steps of a scenario: a list of mappings, each with the key of one action.
    Steps(&'static [Action]),
}

/// A word of a closed list.
pub(crate) struct Choice {
    /// The word.
    pub(crate) word: &'static str,
    /// What it means, one line.
    pub(crate) meaning: &'static str,
}

/// A key of a mapping.
#[derive(Clone, Copy)]
pub(crate) struct Field {
    pub(crate) key: &'static str,
    /// What it means, one or two sentences.
    pub(crate) doc: &'static str,
    pub(crate) shape: &'static Shape,
    pub(crate) required: bool,
}

/// An action of a scenario.
pub(crate) struct Action {
    pub(crate) key: &'static str,
    pub(crate) doc: &'static str,
    pub(crate) shape: &'static Shape,
    /// What may be expected of it.
    pub(crate) expect: Option<&'static Shape>,
}

/// The keys of a step beside its action.
pub(crate) const STEP_NAME: &str = "name";
/// As [`STEP_NAME`].
pub(crate) const STEP_EXPECT: &str = "expect";

static STEP_TEXT: Shape = Shape::Leaf(&TEXT);

/// The words of a closed list.
pub(crate) fn words<W: Word>() -> Vec<Choice> {
    W::ALL.iter().map(|word| Choice { word: word.as_str(), meaning: word.meaning() }).collect()
}

/// Holds `node` against `shape` and notes every mistake of form.
pub(crate) fn check(node: &Node, shape: &'static Shape, mistakes: &mut Collector<'_>) {
    if mistakes.full() {
        return;
    }
    match shape {
        Shape::Leaf(leaf) => check_leaf(node, leaf, mistakes),
        Shape::Count { what, min, max } => check_count(node, what, *min, *max, mistakes),
        Shape::Word { kind, choices } => check_word(node, kind, &choices(), mistakes),
        Shape::Object(fields) => check_object(node, fields, mistakes),
        Shape::Named(inner) => check_named(node, inner, mistakes),
        Shape::ByWord { kind, choices, value } => check_by_word(node, kind, &choices(), value, mistakes),
        Shape::OneOrMany(inner) => check_items(node, inner, mistakes),
        Shape::Either(scalar, mapping) => match node.value {
            Value::Scalar(_) => check(node, scalar, mistakes),
            Value::Map(_) => check(node, mapping, mistakes),
            Value::List(_) if matches!(scalar, Shape::OneOrMany(_)) => check(node, scalar, mistakes),
            _ => wrong(node, &format!("{}, or {}", describe(scalar), describe(mapping)), mistakes),
        },
        Shape::Steps(actions) => check_steps(node, actions, mistakes),
    }
}

fn check_leaf(node: &Node, leaf: &Leaf, mistakes: &mut Collector<'_>) {
    let Some(text) = node.text() else { return wrong(node, leaf.expected, mistakes) };
    if let Err(why) = (leaf.check)(text) {
        let message = if why.is_empty() {
            format!("`{}` is not allowed here", crop(text))
        } else {
            format!("`{}`: {why}", crop(text))
        };
        mistakes.at(node.place, message).expected(leaf.expected);
    }
}

fn check_count(node: &Node, what: &str, min: u64, max: u64, mistakes: &mut Collector<'_>) {
    let expected = format!("{what}, {min} to {max}");
    let Some(text) = node.text() else { return wrong(node, &expected, mistakes) };
    if count(text).is_none_or(|number| !(min..=max).contains(&number)) {
        mistakes.at(node.place, format!("`{}` is not allowed here", crop(text))).expected(expected);
    }
}

/// A whole number in decimal digits.
pub(crate) fn count(text: &str) -> Option<u64> {
    let canonical = text == "0" || !text.starts_with('0');
    (canonical && text.bytes().all(|byte| byte.is_ascii_digit())).then(|| text.parse().ok()).flatten()
}

fn check_word(node: &Node, kind: &str, choices: &[Choice], mistakes: &mut Collector<'_>) {
    let words = || choices.iter().map(|choice| choice.word);
    let Some(text) = node.text() else { return wrong(node, &list_of(words()), mistakes) };
    if words().all(|word| word != text) {
        let expected = list_of(words());
        mistakes.at(node.place, format!("unknown {kind} `{}`", crop(text))).expected(expected).suggest(text, words());
    }
}

fn check_object(node: &Node, fields: &'static [Field], mistakes: &mut Collector<'_>) {
    let keys = || fields.iter().map(|field| field.key);
    let entries = match &node.value {
        Value::Map(entries) => entries.as_slice(),
        Value::Null => &[],
        _ => return wrong(node, &format!("a mapping with {}", list_of(keys())), mistakes),
    };
    duplicates(node, mistakes);
    for (key, value) in entries {
        match fields.iter().find(|field| field.key == key.text) {
            Some(field) if matches!(value.value, Value::Null) => absent(field, value.place, mistakes),
            Some(field) => check(value, field.shape, mistakes),
            None => unknown_key(key.place, &key.text, keys, mistakes),
        }
    }
    for field in fields.iter().filter(|field| field.required && entries.iter().all(|(key, _)| key.text != field.key)) {
        mistakes.at(node.place, format!("`{}` is missing", field.key)).expected(describe(field.shape));
    }
}

fn unknown_key<'a, I: Iterator<Item = &'a str>>(
    place: Place,
    key: &str,
    keys: impl Fn() -> I,
    mistakes: &mut Collector<'_>,
) {
    mistakes.at(place, format!("unknown key `{}`", crop(key))).expected(list_of(keys())).suggest(key, keys());
}

/// A key without a value: as good as absent for a mapping without required keys, a mistake for all else.
fn absent(field: &Field, place: Place, mistakes: &mut Collector<'_>) {
    if !may_be_empty(field.shape) {
        mistakes.at(place, format!("`{}` has no value", field.key)).expected(describe(field.shape));
    }
}

/// Whether nothing may stand where this form is due.
pub(crate) fn may_be_empty(shape: &Shape) -> bool {
    match shape {
        Shape::Object(fields) => fields.iter().all(|field| !field.required),
        Shape::Named(_) | Shape::Steps(_) => true,
        _ => false,
    }
}

fn check_named(node: &Node, inner: &'static Shape, mistakes: &mut Collector<'_>) {
    if !matches!(node.value, Value::Map(_) | Value::Null) {
        return wrong(node, "a mapping from names", mistakes);
    }
    duplicates(node, mistakes);
    for (key, value) in node.entries() {
        if (NAME.check)(&key.text).is_err() {
            mistakes.at(key.place, format!("`{}` is no name", crop(&key.text))).expected(NAME.expected);
        }
        match value.value {
            Value::Null if may_be_empty(inner) => {}
            _ => check(value, inner, mistakes),
        }
    }
}

fn check_by_word(node: &Node, kind: &str, choices: &[Choice], value: &'static Shape, mistakes: &mut Collector<'_>) {
    if node.entries().is_empty() {
        return wrong(node, &format!("a mapping from at least one {kind}"), mistakes);
    }
    duplicates(node, mistakes);
    let words = || choices.iter().map(|choice| choice.word);
    for (key, inner) in node.entries() {
        match words().any(|word| word == key.text) {
            true => check(inner, value, mistakes),
            false => unknown_key(key.place, &key.text, words, mistakes),
        }
    }
}

fn check_items(node: &Node, inner: &'static Shape, mistakes: &mut Collector<'_>) {
    match &node.value {
        Value::List(items) if items.is_empty() => wrong(node, &format!("at least one: {}", describe(inner)), mistakes),
        Value::List(items) => items.iter().for_each(|item| check(item, inner, mistakes)),
        _ => check(node, inner, mistakes),
    }
}

fn check_steps(node: &Node, actions: &'static [Action], mistakes: &mut Collector<'_>) {
    match &node.value {
        Value::Null => {}
        Value::List(steps) => steps.iter().for_each(|step| check_step(step, actions, mistakes)),
        _ => wrong(node, "a list of steps, each beginning with `-`", mistakes),
    }
}

fn check_step(step: &Node, actions: &'static [Action], mistakes: &mut Collector<'_>) {
    let verbs = || actions.iter().map(|action| action.key);
    if !matches!(step.value, Value::Map(_)) {
        return wrong(step, &format!("a mapping with one of {}", list_of(verbs())), mistakes);
    }
    duplicates(step, mistakes);
    let mut chosen: Option<&Action> = None;
    let mut misspelt = false;
    for (key, value) in step.entries() {
        match actions.iter().find(|action| action.key == key.text) {
            Some(action) => {
                if let Some(first) = chosen.filter(|first| first.key != action.key) {
                    let message = format!("`{}` in a step that already has `{}`", action.key, first.key);
                    mistakes
                        .at(key.place, message)
                        .expected("one action a step")
                        .hint(format!("begin a new step: `- {}:`", action.key));
                }
                chosen = chosen.or(Some(action));
                check(value, action.shape, mistakes);
            }
            None if key.text == STEP_NAME => check(value, &STEP_TEXT, mistakes),
            None if key.text == STEP_EXPECT => {}
            None => {
                misspelt = true;
                unknown_key(key.place, &key.text, || verbs().chain([STEP_EXPECT, STEP_NAME]), mistakes);
            }
        }
    }
    match chosen {
        Some(action) => check_expectation(step, action, mistakes),
        None if misspelt => {}
        None => {
            mistakes.at(step.place, "a step without an action").expected(format!("one of {}", list_of(verbs())));
        }
    }
}

fn check_expectation(step: &Node, action: &Action, mistakes: &mut Collector<'_>) {
    let Some((key, value)) = step.entries().iter().find(|(key, _)| key.text == STEP_EXPECT) else { return };
    match action.expect {
        Some(shape) => check(value, shape, mistakes),
        None => {
            let message = format!("`expect` beside `{}`, of which nothing can be expected", action.key);
            mistakes.at(key.place, message).expected("no `expect` here");
        }
    }
}

fn duplicates(node: &Node, mistakes: &mut Collector<'_>) {
    let mut seen = BTreeSet::new();
    for (key, _) in node.entries() {
        if !seen.insert(key.text.as_str()) {
            mistakes
                .at(key.place, format!("`{}` stands here a second time", crop(&key.text)))
                .expected("each key once");
        }
    }
}

fn wrong(node: &Node, expected: &str, mistakes: &mut Collector<'_>) {
    let found = match &node.value {
        Value::Null => "nothing".to_owned(),
        Value::Scalar(text) => format!("`{}`", crop(text)),
        Value::List(_) => "a list".to_owned(),
        Value::Map(_) => "a mapping".to_owned(),
    };
    mistakes.at(node.place, format!("{found} is not allowed here")).expected(expected);
}

/// What is expected where this form is due.
fn describe(shape: &Shape) -> String {
    match shape {
        Shape::Leaf(leaf) => leaf.expected.to_owned(),
        Shape::Count { what, min, max } => format!("{what}, {min} to {max}"),
        Shape::Word { kind, choices } => format!("a {kind}: {}", list_of(choices().iter().map(|choice| choice.word))),
        Shape::Object(fields) => format!("a mapping with {}", list_of(fields.iter().map(|field| field.key))),
        Shape::Named(_) => "a mapping from names".to_owned(),
        Shape::ByWord { kind, value, .. } => format!("a mapping from each {kind} to {}", describe(value)),
        Shape::OneOrMany(inner) => format!("{}, or a list of such", describe(inner)),
        Shape::Either(scalar, mapping) => format!("{}, or {}", describe(scalar), describe(mapping)),
        Shape::Steps(_) => "a list of steps".to_owned(),
    }
}

fn list_of<'a>(words: impl Iterator<Item = &'a str>) -> String {
    words.map(|word| format!("`{word}`")).collect::<Vec<_>>().join(", ")
}

/// A text short enough for a message, on one line.
pub(crate) fn crop(text: &str) -> String {
    let clean = text.chars().map(|c| if c.is_control() { ' ' } else { c });
    let short: String = clean.take(60).collect();
    if text.chars().nth(60).is_some() { format!("{short}...") } else { short }
}

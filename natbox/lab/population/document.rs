//! A census as JSON, and back: what programs read, and what parts are joined from.
//!
//! ```json
//! { "natbox": 1, "population": { ... }, "pairs": [ { "a": "symmetric", "b": "cgn", "draws": 120, "paths": { ... } } ] }
//! ```
//!
//! What is read is checked whole: a document that was cut short, or whose counts are not those that it announces, is
//! refused.

use std::collections::BTreeMap;

use natbox_probes::Path;
use natbox_wire::Word;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::census::{About, Census, Checked, Pair};
use crate::matrix::MatrixError;

/// The version of the shape.
const SHAPE: u32 = 1;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Document {
    natbox: u32,
    population: About,
    /// Read off the counts again.
    #[serde(rename = "success")]
    _success: Option<Value>,
    pairs: Vec<ReadPair>,
    checked: Vec<ReadChecked>,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct ReadPair {
    a: String,
    b: String,
    counts: Pair,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct ReadChecked {
    nat: String,
    counts: Checked,
}

impl Census {
    /// As JSON, a line a pair, with a newline at the end.
    pub fn to_json(&self) -> String {
        let name = |kind: usize| self.about.kinds[kind].name.clone();
        let pairs = self
            .pairs
            .iter()
            .map(|((a, b), counts)| line(&ReadPair { a: name(*a), b: name(*b), counts: counts.clone() }));
        let checked =
            self.checked.iter().map(|(kind, counts)| line(&ReadChecked { nat: name(*kind), counts: counts.clone() }));
        let about = line(&self.about);
        format!(
            "{{\n  \"natbox\": {SHAPE},\n  \"population\": {about},\n  \"success\": {},\n  \"pairs\": [{}],\n  \"checked\": [{}]\n}}\n",
            self.success(),
            lines(pairs),
            lines(checked)
        )
    }

    /// The share without a relay, with its interval; null of a procedure.
    fn success(&self) -> Value {
        if self.pairs.is_empty() {
            return Value::Null;
        }
        let figures = self.figures(|_, _| true);
        let (share, interval) = (figures.share(), figures.share().interval());
        let paths: BTreeMap<&str, u64> = figures.paths.iter().map(|(path, count)| (path.as_str(), *count)).collect();
        json!({
            "draws": figures.draws, "without_relay": figures.success, "share": share.value(),
            "low": interval.0, "high": interval.1, "paths": paths,
            "mean_elapsed_ns": figures.mean_elapsed_ns(), "mean_packets": figures.mean_packets(),
        })
    }
}

fn line(value: &impl Serialize) -> String {
    // Words and numbers under text keys always have a JSON form.
    serde_json::to_string(value).unwrap_or_default()
}

fn lines(lines: impl Iterator<Item = String>) -> String {
    let lines: Vec<String> = lines.map(|line| format!("\n    {line}")).collect();
    if lines.is_empty() { String::new() } else { format!("{}\n  ", lines.join(",")) }
}

/// Whether a document is a census, or means to be one.
pub fn is_census(text: &str) -> bool {
    text.get(..200.min(text.len())).unwrap_or(text).contains("\"population\"")
}

/// Reads a census, or a part of one. `file` is its name in messages.
///
/// # Errors
/// What is no such document, was cut short, was written by another version, or has other draws than it announces.
pub fn read(file: &str, text: &str) -> Result<Census, MatrixError> {
    let said = |what: String| MatrixError::Said(format!("{file}: {what}"));
    let document: Document = serde_json::from_str(text).map_err(|error| match error.classify() {
        serde_json::error::Category::Eof => said("it is cut short: the end is missing".to_owned()),
        _ => said(format!("this is no population of `natbox population --format json`: {error}")),
    })?;
    let (about, version) = (document.population, env!("CARGO_PKG_VERSION"));
    if document.natbox != SHAPE || about.version != version {
        let (other, shape) = (&about.version, document.natbox);
        return Err(said(format!("it was written by natbox {other} (shape {shape}), and this is natbox {version}")));
    }
    let kind = |name: &str| about.kinds.iter().position(|kind| kind.name == name);
    let mut census = Census { about: about.clone(), pairs: BTreeMap::new(), checked: BTreeMap::new() };
    for (number, pair) in document.pairs.into_iter().enumerate() {
        let key = kind(&pair.a).zip(kind(&pair.b)).filter(|_| whole(&pair.counts));
        let fresh = key.is_some_and(|key| census.pairs.insert(key, pair.counts).is_none());
        fresh.then_some(()).ok_or_else(|| said(format!("pair {} is broken", number + 1)))?;
    }
    for (number, checked) in document.checked.into_iter().enumerate() {
        let key = kind(&checked.nat)
            .filter(|_| checked.counts.tests.values().all(|(passed, of)| passed <= of && *of <= checked.counts.runs));
        let fresh = key.is_some_and(|key| census.checked.insert(key, checked.counts).is_none());
        fresh.then_some(()).ok_or_else(|| said(format!("check {} is broken", number + 1)))?;
    }
    announced(&census).map_err(said)?;
    Ok(census)
}

/// Whether a pair's paths are as many as its draws.
fn whole(pair: &Pair) -> bool {
    let known = pair.paths.keys().all(|path| Path::from_word(path).is_some());
    let sum = pair.paths.values().try_fold(0_u64, |sum, count| sum.checked_add(*count));
    known && sum == Some(pair.draws)
}

fn announced(census: &Census) -> Result<(), String> {
    let about = &census.about;
    if about.shard.is_some_and(|shard| !shard.possible()) {
        return Err("there is no such part".to_owned());
    }
    let counts = census.pairs.values().map(|pair| pair.draws).chain(census.checked.values().map(|one| one.runs));
    let there = counts.fold(0_u64, u64::saturating_add);
    let due = about.own_draws();
    match there == due {
        true => Ok(()),
        false => Err(format!("it has {there} draws, and announces {due}: it is not whole")),
    }
}

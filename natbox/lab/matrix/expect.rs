//! What a sweep is expected to come to: a file that `--bless` writes and `--expect` holds sweeps against.
//!
//! ```json
//! { "natbox": 1, "semantics": { ... }, "nats": { "symmetric": { ... } },
//!   "expected": [ { "a": "symmetric", "b": "symmetric", "technique": "connect", "paths": [ "relayed" ] } ] }
//! ```
//!
//! One path a seed, in their order. The file says under which semantics and with which axes it was written: what a
//! sweep with others comes to says nothing about it, and is no difference but an error.

use std::collections::BTreeMap;
use std::fmt::Write;

use natbox_probes::Path;
use natbox_wire::Word;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::cell::{Cell, Semantics, Sweep};
use super::document::SHAPE;
use super::lab::{self, Templates};
use super::{MatrixError, Technique};

/// What is expected of every cell of a sweep.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Expectations {
    natbox: u32,
    semantics: Semantics,
    nats: BTreeMap<String, Value>,
    expected: Vec<Expected>,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Expected {
    a: String,
    b: String,
    technique: String,
    paths: Vec<String>,
}

/// Axes that are named when NATs differ; more are counted.
const NAMED: usize = 4;

impl Expectations {
    /// That a sweep comes to what this one came to.
    ///
    /// # Errors
    /// A part of a sweep: the file would not be whole.
    pub fn of(sweep: &Sweep) -> Result<Expectations, MatrixError> {
        if sweep.semantics.shard.is_some() {
            return Err(MatrixError::said("a part of a sweep cannot be blessed: join the parts with `natbox report`"));
        }
        let words = |cells: &[Cell]| cells.iter().map(|cell| cell.path.as_str().to_owned()).collect();
        let expected = sweep.groups().map(|group| Expected {
            a: sweep.name(group.first().a).to_owned(),
            b: sweep.name(group.first().b).to_owned(),
            technique: sweep.technique(group.first().technique).to_owned(),
            paths: words(group.cells()),
        });
        let nats = sweep.sides.iter().map(|side| (side.name.clone(), side.to_value())).collect();
        Ok(Expectations { natbox: SHAPE, semantics: sweep.semantics.clone(), nats, expected: expected.collect() })
    }

    /// As JSON, a line a NAT and a line a pair, with a newline at the end.
    pub fn to_json(&self) -> String {
        let lines = |lines: Vec<String>| lines.join(",\n    ");
        let nats = self.nats.iter().map(|(name, axes)| format!("{}: {axes}", Value::from(name.as_str())));
        let expected = self.expected.iter().map(|one| serde_json::to_string(one).unwrap_or_default());
        format!(
            "{{\n  \"natbox\": {},\n  \"semantics\": {},\n  \"nats\": {{\n    {}\n  }},\n  \"expected\": [\n    {}\n  ]\n}}\n",
            self.natbox,
            serde_json::to_string(&self.semantics).unwrap_or_default(),
            lines(nats.collect()),
            lines(expected.collect()),
        )
    }

    /// Reads a file. `file` is its name in messages.
    ///
    /// # Errors
    /// What is no such file.
    pub fn read(file: &str, text: &str) -> Result<Expectations, MatrixError> {
        let no = |error| {
            MatrixError::Said(format!("{file}: this is no file of expectations (`--bless` writes one): {error}"))
        };
        serde_json::from_str(text).map_err(no)
    }

    /// Whether the file is about such a sweep.
    ///
    /// # Errors
    /// It was written by another version, under other semantics, or for NATs with other axes.
    pub fn fits(&self, file: &str, sweep: &Sweep) -> Result<(), MatrixError> {
        let mut wrong = Vec::new();
        if self.natbox != SHAPE {
            wrong.push(format!("natbox: {} there, {SHAPE} here", self.natbox));
        }
        wrong.extend(self.semantics.differing(&sweep.semantics));
        for side in &sweep.sides {
            match self.nats.get(&side.name) {
                // A part of a sweep may know nothing of a NAT but its name.
                _ if side.nats.is_empty() => {}
                Some(there) => wrong.extend(other_axes(&side.name, there, &side.to_value())),
                None => wrong.push(format!("NAT `{}` is not there", side.name)),
            }
        }
        if wrong.is_empty() {
            return Ok(());
        }
        let mut text = format!("{file} was written for another matrix:");
        wrong.iter().for_each(|wrong| _ = write!(text, "\n  {wrong}"));
        text.push_str("\nrun with the same options, or write it anew with --bless");
        Err(MatrixError::Said(text))
    }

    /// Says of every cell of a sweep what was expected of it and whether that is so; of a cell that differs also why.
    ///
    /// # Errors
    /// As [`Expectations::fits`]; cells that the file does not have.
    pub fn judge(&self, file: &str, sweep: &mut Sweep) -> Result<(), MatrixError> {
        self.fits(file, sweep)?;
        let mut known = BTreeMap::new();
        for one in &self.expected {
            known.insert((one.a.as_str(), one.b.as_str(), one.technique.as_str()), &one.paths);
        }
        let first = sweep.semantics.first_seed;
        let mut judged = Vec::with_capacity(sweep.cells.len());
        for cell in &sweep.cells {
            let key = (sweep.name(cell.a), sweep.name(cell.b), sweep.technique(cell.technique));
            let seed = usize::try_from(cell.seed.wrapping_sub(first)).unwrap_or(usize::MAX);
            let word = known.get(&key).and_then(|paths| paths.get(seed));
            let path = word.and_then(|word| Path::from_word(word)).ok_or_else(|| {
                let (a, b, technique) = key;
                MatrixError::Said(format!("{file} has no path for {technique} from {a} to {b}, seed {}", cell.seed))
            })?;
            judged.push(path);
        }
        for (index, path) in judged.into_iter().enumerate() {
            let cell = &mut sweep.cells[index];
            cell.expected = Some(path);
            if cell.path != path {
                cell.ok = false;
                if cell.reasons.is_empty() {
                    let reasons = reasons(sweep, &sweep.cells[index]);
                    sweep.cells[index].reasons = reasons;
                }
            }
        }
        Ok(())
    }
}

fn reasons(sweep: &Sweep, cell: &Cell) -> Vec<String> {
    let sides = sweep.sides.get(cell.a).zip(sweep.sides.get(cell.b));
    let technique = Technique::from_word(sweep.technique(cell.technique));
    let plan = sides.zip(technique).and_then(|((a, b), technique)| Templates::plan(a, b, technique).ok());
    plan.map(|plan| lab::explain(&plan, cell.seed, cell.expected)).unwrap_or_default()
}

impl Semantics {
    /// Where these differ from others, which part it is left aside: `KEY: theirs there, ours here`.
    pub(super) fn differing(&self, here: &Semantics) -> Vec<String> {
        let whole = |semantics: &Semantics| {
            let whole = Semantics { shard: None, ..semantics.clone() };
            serde_json::to_value(whole).unwrap_or_default()
        };
        let mut differing = Vec::new();
        differences("", &whole(self), &whole(here), &mut differing);
        differing.into_iter().map(|(key, there, here)| format!("{key}: {there} there, {here} here")).collect()
    }
}

fn other_axes(name: &str, there: &Value, here: &Value) -> Option<String> {
    let mut differing = Vec::new();
    differences("", there, here, &mut differing);
    let more = differing.len().saturating_sub(NAMED);
    let mut told: Vec<String> = differing
        .into_iter()
        .take(NAMED)
        .map(|(key, there, here)| format!("{key} {there} there, {here} here"))
        .collect();
    told.extend((more > 0).then(|| format!("{more} more")));
    (!told.is_empty()).then(|| format!("NAT `{name}` has other axes: {}", told.join("; ")))
}

/// The leaves in which two values differ: their path, and both values.
fn differences(path: &str, there: &Value, here: &Value, found: &mut Vec<(String, String, String)>) {
    if let (Value::Object(one), Value::Object(other)) = (there, here) {
        let mut keys: Vec<&String> = one.keys().chain(other.keys()).collect();
        keys.sort_unstable();
        keys.dedup();
        for key in keys {
            let path = if path.is_empty() { key.clone() } else { format!("{path}.{key}") };
            differences(&path, one.get(key).unwrap_or(&Value::Null), other.get(key).unwrap_or(&Value::Null), found);
        }
    } else if there != here {
        found.push((path.to_owned(), shown(there), shown(here)));
    }
}

fn shown(value: &Value) -> String {
    match value {
        Value::Null => "nothing".to_owned(),
        Value::String(text) => text.clone(),
        Value::Array(items) => items.iter().map(shown).collect::<Vec<_>>().join(", "),
        other => other.to_string(),
    }
}

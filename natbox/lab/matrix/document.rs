//! A sweep as JSON, and back: what programs read, and what parts of a sweep are joined from.
//!
//! ```json
//! { "natbox": 1, "semantics": { ... }, "cells": [ { "a": { ... }, "b": { ... }, "technique": "connect", ... } ] }
//! ```
//!
//! One line a cell. A side has every axis of the host's own NAT under its key of topology files, its `name`, `type`,
//! `addresses` and `link`, and under `behind` the same of the NAT that it is behind. What is read is checked whole: a
//! document that was cut short, or whose cells are not those that its semantics announce, is refused.

use std::collections::BTreeMap;

use natbox_probes::Path;
use natbox_wire::Word;
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use serde_json::{Map, Value};

use super::cell::{Cell, Semantics, Sweep};
use super::side::{Side, SideNat};
use super::{MAX_CELLS, MatrixError};
use crate::plan::{Plan, Shown, axes, control_entries, link_entries};

/// The version of the shape.
pub(super) const SHAPE: u32 = 1;

#[derive(Serialize)]
struct Written<'a> {
    a: &'a RawValue,
    b: &'a RawValue,
    technique: &'a str,
    seed: u64,
    path: &'static str,
    expected: Option<&'static str>,
    ok: bool,
    elapsed_ns: u64,
    packets: u64,
    reasons: &'a [String],
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Read {
    a: Box<RawValue>,
    b: Box<RawValue>,
    technique: String,
    seed: u64,
    path: String,
    expected: Option<String>,
    ok: bool,
    elapsed_ns: u64,
    packets: u64,
    reasons: Vec<String>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Document {
    natbox: u32,
    semantics: Semantics,
    cells: Vec<Read>,
}

impl Sweep {
    /// As JSON, a line a cell, with a newline at the end.
    pub fn to_json(&self) -> String {
        let sides: Vec<Box<RawValue>> = self.sides.iter().filter_map(|side| raw(&side.to_value())).collect();
        let semantics = serde_json::to_string(&self.semantics).unwrap_or_default();
        let mut text = format!("{{\n  \"natbox\": {SHAPE},\n  \"semantics\": {semantics},\n  \"cells\": [");
        for (number, cell) in self.cells.iter().enumerate() {
            // A cell's sides are among the sweep's.
            let (Some(a), Some(b)) = (sides.get(cell.a), sides.get(cell.b)) else { continue };
            let written = Written {
                a,
                b,
                technique: self.technique(cell.technique),
                seed: cell.seed,
                path: cell.path.as_str(),
                expected: cell.expected.map(Word::as_str),
                ok: cell.ok,
                elapsed_ns: cell.elapsed_ns,
                packets: cell.packets,
                reasons: &cell.reasons,
            };
            text.push_str(if number == 0 { "\n    " } else { ",\n    " });
            text.push_str(&serde_json::to_string(&written).unwrap_or_default());
        }
        text.push_str("\n  ]\n}\n");
        text
    }
}

fn raw(value: &Value) -> Option<Box<RawValue>> {
    RawValue::from_string(value.to_string()).ok()
}

impl Side {
    /// The side as cells show it.
    pub(crate) fn to_value(&self) -> Value {
        let mut whole = Value::Null;
        for nat in self.nats.iter().rev() {
            let mut entries = nat.to_map();
            if !whole.is_null() {
                entries.insert("behind".to_owned(), whole);
            }
            whole = Value::Object(entries);
        }
        if let Value::Object(entries) = &mut whole {
            entries.insert("name".to_owned(), self.name.as_str().into());
        }
        whole
    }

    /// The side that such a value shows.
    fn from_value(value: Value) -> Option<Side> {
        let Value::Object(mut entries) = value else { return None };
        let name = entries.remove("name")?.as_str()?.to_owned();
        let (mut nats, mut next) = (Vec::new(), Some(Value::Object(entries)));
        while let Some(Value::Object(mut entries)) = next {
            next = entries.remove("behind");
            nats.push(SideNat::from_map(entries)?);
        }
        Some(Side { name, nats })
    }
}

impl SideNat {
    /// The NAT's entry of a topology file, nothing left to default.
    fn to_map(&self) -> Map<String, Value> {
        let shown = Shown::Map(vec![
            ("type", Shown::word(self.preset)),
            ("addresses", Shown::Count(self.addresses as u64)),
            ("link", link_entries(&self.link)),
        ]);
        let object = |shown: &Shown| match serde_json::to_value(shown) {
            Ok(Value::Object(entries)) => entries,
            _ => Map::new(),
        };
        let mut entries = object(&axes(&self.behavior));
        entries.extend(object(&shown));
        entries.extend(object(&Shown::Map(control_entries(self.control.as_ref(), &[]))));
        entries
    }

    /// Read by the topology reader: JSON is YAML.
    fn from_map(mut entries: Map<String, Value>) -> Option<SideNat> {
        if entries.get("addresses").is_some_and(|addresses| *addresses == 1) {
            // Where nothing is translated, a topology file does not say how many.
            entries.remove("addresses");
        }
        let text = format!("nats: {{ nat: {} }}\n", Value::Object(entries));
        let plan = Plan::from_yaml("side", &text).ok()?;
        Some(SideNat::of(plan.nats.first()?))
    }
}

/// Reads a sweep, or a part of one. `file` is its name in messages.
///
/// # Errors
/// What is no such document, was cut short, was written by another version, or has other cells than it announces.
pub fn read(file: &str, text: &str) -> Result<Sweep, MatrixError> {
    let said = |what: String| MatrixError::Said(format!("{file}: {what}"));
    let document: Document = serde_json::from_str(text).map_err(|error| match error.classify() {
        serde_json::error::Category::Eof => said("it is cut short: the end is missing".to_owned()),
        _ => said(format!("this is no matrix of `natbox matrix --format json`: {error}")),
    })?;
    let semantics = document.semantics;
    let version = env!("CARGO_PKG_VERSION");
    if document.natbox != SHAPE || semantics.version != version {
        let other = &semantics.version;
        return Err(said(format!(
            "it was written by natbox {other} (shape {}), and this is natbox {version}",
            document.natbox
        )));
    }
    let mut reader = Reader { semantics: &semantics, known: BTreeMap::new(), sides: vec![None; semantics.nats.len()] };
    let cells = document.cells.iter().enumerate();
    let cells =
        cells.map(|(number, cell)| reader.cell(cell).ok_or_else(|| said(format!("cell {} is broken", number + 1))));
    let cells = cells.collect::<Result<Vec<_>, _>>()?;
    let sides = reader.sides;
    announced(&semantics, &cells).map_err(said)?;
    let (mut found, names) = (Vec::new(), &semantics.nats);
    for (side, name) in sides.into_iter().zip(names) {
        // A part may have no cell of a NAT: another part has it.
        found.push(side.unwrap_or_else(|| Side { name: name.clone(), nats: Vec::new() }));
    }
    Ok(Sweep { semantics, sides: found, cells })
}

/// Whether these are the cells that such a run has, in order.
fn announced(semantics: &Semantics, cells: &[Cell]) -> Result<(), String> {
    let (sides, techniques) = (semantics.nats.len(), semantics.techniques.len());
    let seeds = usize::try_from(semantics.seeds).unwrap_or(usize::MAX);
    let groups = sides.checked_mul(sides).and_then(|pairs| pairs.checked_mul(techniques));
    let groups = groups.filter(|groups| groups.checked_mul(seeds).is_some()).ok_or("it announces too many cells")?;
    let has = |group: &usize| semantics.shard.is_none_or(|shard| shard.has(*group));
    let due = (0..groups).filter(has).count() * seeds;
    if due != cells.len() || due > MAX_CELLS.max(cells.len()) {
        return Err(format!("it has {} cells, and announces {due}: it is not whole", cells.len()));
    }
    let mut places = (0..groups).filter(has).flat_map(|group| (0..semantics.seeds).map(move |seed| (group, seed)));
    let in_order = cells.iter().all(|cell| {
        let group = (cell.a * sides + cell.b) * techniques + cell.technique;
        places
            .next()
            .is_some_and(|(due, seed)| due == group && semantics.first_seed.checked_add(seed) == Some(cell.seed))
    });
    if in_order { Ok(()) } else { Err("its cells are not those that it announces".to_owned()) }
}

struct Reader<'a> {
    semantics: &'a Semantics,
    /// Sides as they are written, and their places.
    known: BTreeMap<String, usize>,
    sides: Vec<Option<Side>>,
}

impl Reader<'_> {
    fn cell(&mut self, read: &Read) -> Option<Cell> {
        Some(Cell {
            a: self.side(&read.a)?,
            b: self.side(&read.b)?,
            technique: self.semantics.techniques.iter().position(|technique| *technique == read.technique)?,
            seed: read.seed,
            path: Path::from_word(&read.path)?,
            expected: read.expected.as_deref().map(|word| Path::from_word(word).ok_or(())).transpose().ok()?,
            ok: read.ok,
            elapsed_ns: read.elapsed_ns,
            packets: read.packets,
            reasons: read.reasons.clone(),
        })
    }

    /// The place of a side. One name stands for one side.
    fn side(&mut self, written: &RawValue) -> Option<usize> {
        if let Some(place) = self.known.get(written.get()) {
            return Some(*place);
        }
        let side = Side::from_value(serde_json::from_str(written.get()).ok()?)?;
        let place = self.semantics.nats.iter().position(|name| *name == side.name)?;
        if self.sides[place].as_ref().is_some_and(|other| *other != side) {
            return None;
        }
        self.sides[place] = Some(side);
        self.known.insert(written.get().to_owned(), place);
        Some(place)
    }
}

//! A cell once more, with a record: every packet, where it went, and what was done to it.

use natbox_wire::Word;

use super::cell::{Cell, Sweep};
use super::lab::{HOSTS, Templates, nat_name};
use super::side::Side;
use super::{MatrixError, Technique};
use crate::build::INTERNET;
use crate::capture::{drawn, frames};
use crate::record::{Limits, Recorder};
use crate::scenario;

/// The packets of a cell as a ladder: the names of the nodes, then a line a packet.
///
/// # Errors
/// A cell that cannot be run here.
pub fn ladder(sweep: &Sweep, cell: &Cell) -> Result<String, MatrixError> {
    let (Some(a), Some(b)) = (sweep.sides.get(cell.a), sweep.sides.get(cell.b)) else {
        return Err(MatrixError::said("the cell is of no side"));
    };
    let technique = Technique::from_word(sweep.technique(cell.technique));
    let technique = technique.ok_or_else(|| MatrixError::said("the cell is of no technique"))?;
    let plan = Templates::plan(a, b, technique)?;
    let recorder = Recorder::new(Limits { records: RECORDS, ..Limits::PACKETS });
    let finished = scenario::run(&plan, cell.seed, &recorder).map_err(|stuck| MatrixError::Said(stuck.to_string()))?;
    let log = recorder.take();
    Ok(drawn(&columns(a, b), frames(&log, &finished.names)))
}

/// Packets that people look through, times the nodes that they pass.
const RECORDS: usize = 4_000;

/// From the caller to the callee, the servers in the middle.
fn columns(a: &Side, b: &Side) -> Vec<String> {
    let [alice, bob, server] = HOSTS.map(str::to_owned);
    let mut columns = vec![alice];
    columns.extend((0..a.nats.len()).map(|depth| nat_name(0, depth)));
    columns.extend([INTERNET.to_owned(), server]);
    columns.extend((0..b.nats.len()).rev().map(|depth| nat_name(1, depth)));
    columns.push(bob);
    columns
}

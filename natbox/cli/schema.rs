//! `natbox schema`.

use natbox::topology::{json_schema, population_schema};

use crate::arguments::Schema;
use crate::terminal::Terminal;
use crate::{Failure, Verdict};

pub(crate) fn execute(arguments: &Schema, terminal: &mut Terminal) -> Result<Verdict, Failure> {
    let schema = if arguments.population { population_schema() } else { json_schema() };
    let schema = serde_json::to_string_pretty(&schema).map_err(Failure::new)?;
    writeln!(terminal.out(), "{schema}")?;
    Ok(Verdict::Holds)
}

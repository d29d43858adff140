//! `natbox schema`.

use crate::terminal::Terminal;
use crate::{Failure, Verdict};

pub(crate) fn execute(terminal: &mut Terminal) -> Result<Verdict, Failure> {
    let schema = serde_json::to_string_pretty(&natbox::topology::json_schema()).map_err(Failure::new)?;
    writeln!(terminal.out(), "{schema}")?;
    Ok(Verdict::Holds)
}

//! The traversal matrix: every NAT against every NAT, technique by technique, seed by seed.
//!
//! A cell is a lab of its own: two hosts behind a NAT each, one public host with every server, one step. [`Matrix`] says
//! which cells there are, [`Matrix::run`] runs them on many cores, and [`Sweep`] is what came of it, in an order that does
//! not depend on how many cores there were. `expect` holds a sweep against what was written down before, `shrink` makes
//! of a cell that differs the smallest lab that shows the difference, `parts` splits and joins.
//!
//! Knows no terminal and no format but its own JSON: renderings are in [`crate::report::matrix`].

mod cell;
mod conditions;
mod document;
mod expect;
pub(crate) mod lab;
mod ladder;
mod parts;
mod run;
mod share;
mod shrink;
mod side;
mod technique;

use std::fmt;

use crate::topology::Mistakes;

pub use natbox_probes::technique::Technique;

pub use cell::{Cell, Group, Semantics, Sweep};
pub use conditions::{Conditions, LINK_KEYS};
pub use document::read;
pub use expect::Expectations;
pub use ladder::ladder;
pub use parts::{Shard, join};
pub use run::{Matrix, Wanted};
pub use share::Share;
pub use shrink::{Shrunk, shrink};
pub use side::{Side, sides};
pub use technique::techniques;

/// Most cells of one run: what is known of each is kept.
pub const MAX_CELLS: usize = 250_000;

/// Why a matrix cannot be run, read, joined or compared.
#[derive(Debug)]
pub enum MatrixError {
    /// What is wrong, in a sentence or two.
    Said(String),
    /// A topology file that NATs are taken from is wrong.
    Topology(Mistakes),
}

impl MatrixError {
    pub(crate) fn said(message: impl Into<String>) -> MatrixError {
        MatrixError::Said(message.into())
    }
}

impl fmt::Display for MatrixError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            MatrixError::Said(message) => f.write_str(message),
            MatrixError::Topology(mistakes) => mistakes.fmt(f),
        }
    }
}

impl std::error::Error for MatrixError {}

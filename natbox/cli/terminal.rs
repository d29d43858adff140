//! Standard output: colours where a terminal wants them, and how much is said.

use std::io::{BufWriter, Stdout, Write};

use anstream::{AutoStream, ColorChoice};
use natbox::paint::Paint;

use crate::arguments::{Color, Global};

pub(crate) struct Terminal {
    out: BufWriter<Stdout>,
    /// Colours of standard output; files are never coloured.
    pub(crate) paint: Paint,
    pub(crate) quiet: bool,
    pub(crate) verbose: bool,
}

impl Terminal {
    pub(crate) fn new(global: &Global) -> Terminal {
        let stdout = std::io::stdout();
        let colored = match global.color {
            Color::Always => true,
            Color::Never => false,
            // Knows terminals, NO_COLOR, CLICOLOR and CLICOLOR_FORCE.
            Color::Auto => AutoStream::choice(&stdout) != ColorChoice::Never,
        };
        let paint = if colored { Paint::COLORED } else { Paint::PLAIN };
        Terminal { out: BufWriter::new(stdout), paint, quiet: global.quiet, verbose: global.verbose }
    }

    pub(crate) fn out(&mut self) -> &mut dyn Write {
        &mut self.out
    }
}

//! Colours, where the output is a terminal; the caller decides that.

use std::fmt::Display;

use anstyle::{AnsiColor, Style};

/// Paints text, or leaves it alone.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Paint {
    colored: bool,
}

impl Paint {
    /// No colours.
    pub const PLAIN: Paint = Paint { colored: false };
    /// Colours.
    pub const COLORED: Paint = Paint { colored: true };

    /// What went as expected.
    pub fn good(self, text: impl Display) -> String {
        self.paint(AnsiColor::Green.on_default(), text)
    }

    /// What failed, and packets that died.
    pub fn bad(self, text: impl Display) -> String {
        self.paint(AnsiColor::Red.on_default(), text)
    }

    /// What is worth noticing.
    pub fn notable(self, text: impl Display) -> String {
        self.paint(AnsiColor::Cyan.on_default(), text)
    }

    /// What may be overlooked.
    pub fn faint(self, text: impl Display) -> String {
        self.paint(Style::new().dimmed(), text)
    }

    /// Headings.
    pub fn strong(self, text: impl Display) -> String {
        self.paint(Style::new().bold(), text)
    }

    fn paint(self, style: Style, text: impl Display) -> String {
        if self.colored { format!("{style}{text}{style:#}") } else { text.to_string() }
    }
}

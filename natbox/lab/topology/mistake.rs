//! What is wrong with a topology file, and where: one value a mistake, all of them shown at once.
//!
//! Knows places in a text and how to show them; knows nothing of topologies.

use std::fmt;

use crate::suggest::did_you_mean;

/// Mistakes beyond this number are counted, not kept.
const KEPT: usize = 200;
/// Names beyond this number are not searched for a near miss.
const SEARCHED: usize = 2_000;
/// Characters of a line that are shown.
const SHOWN: usize = 120;

/// A place in the text.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Place {
    /// Line, from 1.
    pub(crate) line: u32,
    /// Column in characters, from 1.
    pub(crate) column: u32,
    /// Characters that the place covers on its first line, at least 1.
    pub(crate) length: u32,
}

/// One mistake in a topology file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Mistake {
    /// Line, from 1.
    pub line: u32,
    /// Column in characters, from 1.
    pub column: u32,
    /// Characters that are underlined.
    pub length: u32,
    /// What is wrong, with the offending text.
    pub message: String,
    /// What was expected, if that can be said.
    pub expected: Option<String>,
    /// What to do about it, if there is a good guess.
    pub hint: Option<String>,
    shown: String,
    indent: String,
}

impl Mistake {
    /// Says what was expected instead.
    pub(crate) fn expected(&mut self, expected: impl Into<String>) -> &mut Mistake {
        self.expected = Some(expected.into());
        self
    }

    /// Says what to do.
    pub(crate) fn hint(&mut self, hint: impl Into<String>) -> &mut Mistake {
        self.hint = Some(hint.into());
        self
    }

    /// Proposes the candidate that `word` is probably a misspelling of.
    pub(crate) fn suggest<'a>(&mut self, word: &str, candidates: impl IntoIterator<Item = &'a str>) -> &mut Mistake {
        if let Some(near) = did_you_mean(word, candidates.into_iter().take(SEARCHED)).filter(|near| *near != word) {
            self.hint = Some(format!("did you mean `{near}`?"));
        }
        self
    }
}

/// Every mistake of one file, in the order of the text.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Mistakes {
    /// The file's name as it is shown.
    pub file: String,
    /// The mistakes; at most 200 are kept.
    pub list: Vec<Mistake>,
    /// How many more there were.
    pub more: usize,
}

impl std::error::Error for Mistakes {}

/// One block a mistake: message, place, the line with the offending text underlined, what was expected, a hint.
impl fmt::Display for Mistakes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, mistake) in self.list.iter().enumerate() {
            if index > 0 {
                writeln!(f)?;
            }
            write_mistake(f, &self.file, mistake)?;
        }
        if self.more > 0 {
            writeln!(f, "\nand {} more", self.more)?;
        }
        Ok(())
    }
}

fn write_mistake(f: &mut fmt::Formatter<'_>, file: &str, mistake: &Mistake) -> fmt::Result {
    let number = mistake.line.to_string();
    let margin = " ".repeat(number.len());
    writeln!(f, "error: {}", mistake.message)?;
    writeln!(f, "{margin}--> {file}:{}:{}", mistake.line, mistake.column)?;
    writeln!(f, "{margin} |")?;
    writeln!(f, "{number} | {}", mistake.shown)?;
    writeln!(f, "{margin} | {}{}", mistake.indent, "^".repeat(mistake.length as usize))?;
    if let Some(expected) = &mistake.expected {
        writeln!(f, "{margin} = expected: {expected}")?;
    }
    if let Some(hint) = &mistake.hint {
        writeln!(f, "{margin} = hint: {hint}")?;
    }
    Ok(())
}

/// Collects mistakes while a text is checked.
pub(crate) struct Collector<'a> {
    file: &'a str,
    lines: Vec<&'a str>,
    list: Vec<Mistake>,
    more: usize,
    spare: Mistake,
}

impl<'a> Collector<'a> {
    pub(crate) fn new(file: &'a str, text: &'a str) -> Collector<'a> {
        let spare = Mistake {
            line: 0,
            column: 0,
            length: 0,
            message: String::new(),
            expected: None,
            hint: None,
            shown: String::new(),
            indent: String::new(),
        };
        // A carriage return alone ends a line in YAML (1.2.2 section 5.4).
        let lines = text.lines().flat_map(|line| line.split('\r')).collect();
        Collector { file, lines, list: Vec::new(), more: 0, spare }
    }

    /// Notes a mistake at `place`. The same mistake at the same place (through an alias) is noted once.
    pub(crate) fn at(&mut self, place: Place, message: impl Into<String>) -> &mut Mistake {
        let message = message.into();
        let same =
            |known: &Mistake| (known.line, known.column) == (place.line, place.column) && known.message == message;
        if let Some(index) = self.list.iter().rposition(same) {
            return &mut self.list[index];
        }
        if self.list.len() >= KEPT {
            self.more += 1;
            return &mut self.spare;
        }
        let mistake = self.located(place, message);
        self.list.push(mistake);
        let last = self.list.len() - 1;
        &mut self.list[last]
    }

    /// Whether further mistakes are only counted.
    pub(crate) fn full(&self) -> bool {
        self.list.len() >= KEPT
    }

    /// Whether nothing is wrong so far.
    pub(crate) fn is_empty(&self) -> bool {
        self.list.is_empty()
    }

    /// Everything that was noted.
    pub(crate) fn finish(mut self) -> Mistakes {
        self.list.sort_by_key(|mistake| (mistake.line, mistake.column));
        Mistakes { file: self.file.to_owned(), list: self.list, more: self.more }
    }

    fn located(&self, place: Place, message: String) -> Mistake {
        let line = self.lines.get(place.line.saturating_sub(1) as usize).copied().unwrap_or("");
        let before = place.column.saturating_sub(1) as usize;
        let skipped = if before > SHOWN * 2 / 3 { before - SHOWN / 3 } else { 0 };
        let shown: String = line.chars().skip(skipped).take(SHOWN).collect();
        let indent = line.chars().skip(skipped).take(before - skipped).map(|c| if c == '\t' { '\t' } else { ' ' });
        let room = shown.chars().count().saturating_sub(before - skipped).max(1);
        Mistake {
            line: place.line,
            column: place.column,
            length: place.length.clamp(1, u32::try_from(room).unwrap_or(1)),
            message,
            expected: None,
            hint: None,
            indent: indent.collect(),
            shown: shown.trim_end().to_owned(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_mistake_underlines_the_text_even_far_out_in_a_long_line() {
        let text = format!("{}bad", " ".repeat(500));
        let mut mistakes = Collector::new("f.yaml", &text);
        mistakes.at(Place { line: 1, column: 501, length: 3 }, "`bad`").expected("good");
        let shown = mistakes.finish().to_string();
        let lines: Vec<&str> = shown.lines().collect();
        assert_eq!(lines[1], " --> f.yaml:1:501");
        assert_eq!(lines[3].find("bad"), lines[4].find("^^^"));
        assert!(lines[3].len() < 140);
    }
}

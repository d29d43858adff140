//! The shapes as a page for people: every key, what may stand there, and what it means.

use std::fmt::Write;

use natbox_wire::Word;

use super::shape::{Choice, Field, STEP_EXPECT, Shape};
use crate::words::Switch;

/// The reference of topology files, in Markdown: `docs/topology.md`.
pub fn reference() -> String {
    let mut page = Page::default();
    page.section("the file", &super::schema::TOPOLOGY);
    let mut text = INTRODUCTION.to_owned();
    text.push_str(&page.text);
    text.push_str("\n## Values\n\n");
    for value in &page.values {
        writeln!(text, "* {value}").ok();
    }
    text.push_str("\n## Words\n");
    for (kind, choices) in &page.words {
        write!(text, "\n### {kind}\n\n| word | meaning |\n| --- | --- |\n").ok();
        for choice in choices {
            writeln!(text, "| `{}` | {} |", choice.word, cell(choice.meaning)).ok();
        }
    }
    text
}

const INTRODUCTION: &str = "\
# Topology files, key by key

Made from the table that `natbox check` and `natbox schema` read; a test keeps it so. All keys may be absent but those that
are required. An axis of a NAT that is absent is as its `type` has it (`natbox nat show NAME`); `natbox check FILE` prints a file
with all its defaults filled in.
";

#[derive(Default)]
struct Page {
    text: String,
    /// The mappings that have a section, so that one used twice is told once.
    told: Vec<(&'static [Field], String)>,
    /// What texts look like, each kind once.
    values: Vec<&'static str>,
    /// The words of each kind, in order of their appearance.
    words: Vec<(&'static str, Vec<Choice>)>,
}

impl Page {
    /// The section of a mapping, and those of the mappings in it.
    fn section(&mut self, title: &str, shape: &'static Shape) {
        match shape {
            Shape::Object(fields) => self.object(title, fields),
            Shape::Named(inner) => self.section(&below(title, "NAME"), inner),
            Shape::OneOrMany(inner) => self.section(title, inner),
            Shape::Either(_, mapping) => self.section(title, mapping),
            Shape::Steps(_) => self.steps(shape),
            Shape::Leaf(_) | Shape::Count { .. } | Shape::Word { .. } => {}
        }
    }

    fn object(&mut self, title: &str, fields: &'static [Field]) {
        if self.told.iter().any(|(known, _)| std::ptr::eq(*known, fields)) {
            return;
        }
        self.told.push((fields, title.to_owned()));
        let heading = if title == "the file" { "The file".to_owned() } else { format!("`{title}`") };
        write!(self.text, "\n## {heading}\n\n| key | value | meaning |\n| --- | --- | --- |\n").ok();
        for field in fields {
            let must = if field.required { " Required." } else { "" };
            let value = self.value(field.shape, &below(title, field.key));
            writeln!(self.text, "| `{}` | {} | {}{must} |", field.key, cell(&value), cell(field.doc)).ok();
        }
        for field in fields {
            self.section(&below(title, field.key), field.shape);
        }
    }

    fn steps(&mut self, shape: &'static Shape) {
        let Shape::Steps(actions) = shape else { return };
        let rule = "A list of steps, each a mapping with one of these actions; beside it, a step may have a `name`, by which \
                    reports call it, and an `expect`, where the action has one.";
        write!(
            self.text,
            "\n## `scenario`\n\n{rule}\n\n| action | value | does | `expect` |\n| --- | --- | --- | --- |\n"
        )
        .ok();
        for action in *actions {
            let value = self.value(action.shape, action.key);
            let expect = match action.expect {
                Some(shape) => self.value(shape, &expectation(action.key)),
                None => "nothing".to_owned(),
            };
            let (value, doc, expect) = (cell(&value), cell(action.doc), cell(&expect));
            writeln!(self.text, "| `{}` | {value} | {doc} | {expect} |", action.key).ok();
        }
        for action in *actions {
            self.section(action.key, action.shape);
            if let Some(shape) = action.expect {
                self.section(&expectation(action.key), shape);
            }
        }
    }

    /// What may stand where this form is due. A mapping has a section of its own, under `title` if it has none yet.
    fn value(&mut self, shape: &'static Shape, title: &str) -> String {
        match shape {
            Shape::Leaf(leaf) => self.leaf(leaf.expected),
            Shape::Count { what, min, max } => format!("{what}, {min} to {max}"),
            Shape::Word { kind, choices } => self.word(kind, choices()),
            Shape::Object(fields) => {
                let told = self.told.iter().find(|(known, _)| std::ptr::eq(*known, *fields));
                let title = told.map_or(title, |(_, title)| title);
                format!("a mapping: see `{title}`")
            }
            Shape::Named(inner) => format!("names, each with {}", self.value(inner, &below(title, "NAME"))),
            Shape::OneOrMany(inner) => format!("{}, or a list of such", self.value(inner, title)),
            Shape::Either(scalar, mapping) => {
                format!("{}, or {}", self.value(scalar, title), self.value(mapping, title))
            }
            Shape::Steps(_) => "a list of steps: see `scenario`".to_owned(),
        }
    }

    /// A text by the name of its kind, which the list of values spells out.
    fn leaf(&mut self, expected: &'static str) -> String {
        if !self.values.contains(&expected) {
            self.values.push(expected);
        }
        let name = [": ", ", such as", " such as", " of at most"].iter().filter_map(|end| expected.find(end)).min();
        let range = if expected.contains("or a range") { " or a range" } else { "" };
        format!("{}{range}", &expected[..name.unwrap_or(expected.len())])
    }

    /// A word: those of a short list stand there, and all of them under the words of their kind.
    fn word(&mut self, kind: &'static str, choices: Vec<Choice>) -> String {
        let list = choices.iter().map(|choice| format!("`{}`", choice.word)).collect::<Vec<_>>().join(", ");
        let text = if choices.len() > SHORT_LIST { format!("{} {kind} (see Words)", article(kind)) } else { list };
        if kind == Switch::KIND {
            return text;
        }
        let place = self.words.iter().position(|(known, _)| *known == kind).unwrap_or_else(|| {
            self.words.push((kind, Vec::new()));
            self.words.len() - 1
        });
        let known = &mut self.words[place].1;
        for choice in choices {
            if known.iter().all(|other| other.word != choice.word) {
                known.push(choice);
            }
        }
        text
    }
}

/// How many words may stand in a table's cell.
const SHORT_LIST: usize = 6;

fn article(noun: &str) -> &'static str {
    // "An RFC", as it is spoken.
    if noun.starts_with(['a', 'e', 'i', 'o', 'u', 'R']) { "an" } else { "a" }
}

fn expectation(action: &str) -> String {
    format!("{STEP_EXPECT} of {action}")
}

fn below(title: &str, key: &str) -> String {
    if title == "the file" { key.to_owned() } else { format!("{title}.{key}") }
}

/// A text that ends no cell of a table.
fn cell(text: &str) -> String {
    text.replace('|', "\\|")
}

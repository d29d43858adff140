//! The shapes as a page for people: every key, what stands there, what it means; every word of every closed list.

use std::fmt::Write;

use super::actions::ACTIONS;
use super::population::{BESIDE, ENTRY, POPULATION};
use super::schema::TOPOLOGY;
use super::shape::{Choice, Field, Shape};
use super::units::Leaf;

const HEAD: &str = "\
# Topology files, key by key

This page is made from the table that the checker reads: `natbox schema` prints the same as JSON Schema. How to write a file is
shown by the README and by `topologies/`. An axis of a NAT that is absent is as its `type` has it (`natbox nat show NAME`);
`natbox check FILE` prints a file with all its defaults filled in.

A quantity carries its unit in the text (`30s`, `20mbit`, `0.5%`); a count stands bare. A range is `40ms..45ms`, `..45ms`
or `40ms..`; a single value means exactly that. Where one or several are allowed, one stands bare and several in a list.
Files are YAML 1.2, at most 1 MiB, with at most 100,000 hosts and NATs; aliases work, tags and merge keys do not.
";

/// The page, as Markdown.
pub fn reference() -> String {
    let mut page = Page { text: HEAD.to_owned(), told: Vec::new(), leaves: Vec::new(), words: Vec::new() };
    page.mapping("The file", "", &TOPOLOGY);
    page.actions();
    page.populations();
    page.lists();
    page.text
}

struct Page {
    text: String,
    /// Mappings that have a table already.
    told: Vec<*const Shape>,
    leaves: Vec<&'static Leaf>,
    words: Vec<(&'static str, Vec<Choice>)>,
}

impl Page {
    /// A table of the keys of a mapping, then of those below it.
    fn mapping(&mut self, title: &str, path: &str, shape: &'static Shape) {
        let Shape::Object(fields) = shape else { return };
        if self.told.contains(&std::ptr::from_ref(shape)) {
            return;
        }
        self.told.push(shape);
        let _ = write!(self.text, "\n## {title}\n\n| key | value | meaning |\n| --- | --- | --- |\n");
        for field in *fields {
            let value = self.value(field.shape);
            let needed = if field.required { " (needed)" } else { "" };
            let _ = writeln!(self.text, "| `{}`{needed} | {value} | {} |", field.key, field.doc);
        }
        for field in *fields {
            self.below(path, field);
        }
    }

    fn below(&mut self, path: &str, field: &'static Field) {
        let path = if path.is_empty() { field.key.to_owned() } else { format!("{path}.{}", field.key) };
        self.inside(&path, field.shape);
    }

    fn inside(&mut self, path: &str, shape: &'static Shape) {
        match shape {
            Shape::Object(_) => self.mapping(&format!("`{path}`"), path, shape),
            Shape::Named(inner) => self.inside(&format!("{path}.NAME"), inner),
            Shape::Either(_, mapping) => self.inside(path, mapping),
            Shape::OneOrMany(inner) => self.inside(path, inner),
            _ => {}
        }
    }

    fn populations(&mut self) {
        // Its axes are those above.
        self.told.push(&ENTRY);
        self.mapping("Population files", "", &POPULATION);
        self.mapping("`nats.NAME` of a population", "", &BESIDE);
        self.text.push_str("\nBeside these it has the axes of `nats.NAME` above.\n");
    }

    fn actions(&mut self) {
        self.text.push_str("\n## The steps of `scenario`\n\n");
        self.text.push_str(
            "A step is a mapping with the key of one action; beside it `name` (what the step is called in reports)\n",
        );
        self.text.push_str(
            "and, where the table has one, `expect`. Steps run in order, each when the one before has ended.\n\n",
        );
        self.text.push_str("| action | value | `expect` | what it does |\n| --- | --- | --- | --- |\n");
        for action in ACTIONS {
            let expect = action.expect.map_or("-".to_owned(), |expect| self.value(expect));
            let (key, value, doc) = (action.key, self.value(action.shape), action.doc);
            let _ = writeln!(self.text, "| `{key}` | {value} | {expect} | {doc} |");
        }
        for action in ACTIONS {
            self.inside(action.key, action.shape);
            if let Some(expect) = action.expect {
                self.inside(&format!("{}: expect", action.key), expect);
            }
        }
    }

    /// What stands for a shape, in a cell of a table.
    fn value(&mut self, shape: &'static Shape) -> String {
        match shape {
            Shape::Leaf(leaf) => {
                if self.leaves.iter().all(|known| known.kind != leaf.kind) {
                    self.leaves.push(leaf);
                }
                leaf.kind.to_owned()
            }
            Shape::Count { what, min, max } if *max == u64::MAX => format!("{what}, {min} or more"),
            Shape::Count { what, min, max } => format!("{what}, {min} to {max}"),
            Shape::Word { kind, choices } => self.word(kind, *choices),
            Shape::ByWord { kind, choices, value } => {
                format!("mapping from {} to {}", self.word(kind, *choices), self.value(value))
            }
            Shape::Object(_) => "mapping".to_owned(),
            Shape::Named(_) => "mapping from names".to_owned(),
            Shape::OneOrMany(inner) => format!("{}, or several", self.value(inner)),
            Shape::Either(scalar, mapping) => format!("{}, or {}", self.value(scalar), self.value(mapping)),
            Shape::Steps(_) => "list of steps".to_owned(),
        }
    }

    /// A closed list, told of below.
    fn word(&mut self, kind: &'static str, choices: fn() -> Vec<Choice>) -> String {
        if self.words.iter().all(|(known, _)| *known != kind) {
            self.words.push((kind, choices()));
        }
        format!("[{kind}](#{})", kind.to_lowercase().replace(' ', "-"))
    }

    fn lists(&mut self) {
        self.text.push_str("\n## Kinds of text\n\n| kind | what stands there |\n| --- | --- |\n");
        for leaf in std::mem::take(&mut self.leaves) {
            let _ = writeln!(self.text, "| {} | {} |", leaf.kind, leaf.expected);
        }
        self.text.push_str("\n## Words\n");
        for (kind, choices) in std::mem::take(&mut self.words) {
            let _ = write!(self.text, "\n### {kind}\n\n| word | meaning |\n| --- | --- |\n");
            for choice in choices {
                let _ = writeln!(self.text, "| `{}` | {} |", choice.word, choice.meaning);
            }
        }
    }
}

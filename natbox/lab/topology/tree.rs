//! YAML text as a tree in which every value knows its place.
//!
//! Serde stops at the first mistake; a tree can be walked for all of them. Built from the events of the parser that
//! serde-saphyr stands on. Bounded: text, nesting, values (those that aliases repeat included). Leaves out what topology files
//! have no use for: tags, merge keys, several documents, keys that are not plain words.

use serde_yaml::granit_parser::{Event, Options, Parser, ScalarStyle, ScanError, Span};

use super::mistake::{Collector, Place};

/// Largest topology file, in bytes.
pub(crate) const TEXT_LIMIT_BYTES: usize = 1 << 20;
/// Deepest nesting of lists and mappings.
const NESTING_LIMIT: usize = 32;
/// Most values in one file, with those that aliases repeat.
const VALUE_LIMIT: usize = 500_000;

/// A value and its place.
#[derive(Clone, Debug)]
pub(crate) struct Node {
    pub(crate) place: Place,
    pub(crate) value: Value,
}

/// What a value is. Scalars stay text: what they mean is the reader's business.
#[derive(Clone, Debug)]
pub(crate) enum Value {
    /// Nothing: empty, `~` or `null`.
    Null,
    /// A scalar.
    Scalar(String),
    /// A list.
    List(Vec<Node>),
    /// A mapping, in the order of the text.
    Map(Vec<(Key, Node)>),
}

/// A key of a mapping.
#[derive(Clone, Debug)]
pub(crate) struct Key {
    pub(crate) place: Place,
    pub(crate) text: String,
}

impl Node {
    /// The value of `key`, if this is a mapping that has it with a value.
    pub(crate) fn get(&self, key: &str) -> Option<&Node> {
        let (_, node) = self.entries().iter().find(|(known, _)| known.text == key)?;
        (!matches!(node.value, Value::Null)).then_some(node)
    }

    /// The entries of a mapping; none for anything else.
    pub(crate) fn entries(&self) -> &[(Key, Node)] {
        match &self.value {
            Value::Map(entries) => entries,
            _ => &[],
        }
    }

    /// The text of a scalar.
    pub(crate) fn text(&self) -> Option<&str> {
        match &self.value {
            Value::Scalar(text) => Some(text),
            _ => None,
        }
    }

    /// The items of a list, or the one value that stands for a list of one.
    pub(crate) fn items(&self) -> &[Node] {
        match &self.value {
            Value::List(items) => items,
            Value::Null => &[],
            _ => std::slice::from_ref(self),
        }
    }

    fn count(&self) -> usize {
        1 + match &self.value {
            Value::List(items) => items.iter().map(Node::count).sum(),
            Value::Map(entries) => entries.iter().map(|(_, node)| 1 + node.count()).sum(),
            _ => 0,
        }
    }
}

/// Reads `text`. Notes one mistake and gives nothing back where it is no YAML that a tree can be made of; notes
/// every key that stands twice in a mapping and keeps the first.
pub(crate) fn parse(text: &str, mistakes: &mut Collector<'_>) -> Option<Node> {
    let start = Place { line: 1, column: 1, length: 1 };
    if text.len() > TEXT_LIMIT_BYTES {
        let size = text.len();
        mistakes.at(start, format!("the file is too large: {size} bytes")).expected("at most 1 MiB (1048576 bytes)");
        return None;
    }
    let mut options = Options::default();
    options.flow_nesting_limit = 2 * NESTING_LIMIT;
    options.block_nesting_limit = 2 * NESTING_LIMIT;
    options.set_emit_comments(false);
    let parser = Parser::new_from_str_with_options(text, options);
    let mut tree = Tree { text, mistakes, stack: Vec::new(), anchors: Vec::new(), values: 0, root: None };
    for event in parser {
        let (event, span) = match event {
            Ok(event) => event,
            Err(error) => return tree.syntax(&error),
        };
        tree.event(event, span)?;
    }
    if tree.root.is_none() {
        tree.mistakes
            .at(start, "the file is empty")
            .expected("a mapping with `hosts`, and `nats` and `scenario` as needed");
    }
    tree.root
}

/// A list or mapping that is not finished.
struct Open {
    node: Node,
    key: Option<Key>,
    anchor: usize,
}

struct Tree<'a, 'c, 'f> {
    text: &'a str,
    mistakes: &'c mut Collector<'f>,
    stack: Vec<Open>,
    anchors: Vec<(usize, Node)>,
    values: usize,
    root: Option<Node>,
}

impl Tree<'_, '_, '_> {
    /// Takes one event; `None` when nothing more can be made of the text.
    fn event(&mut self, event: Event<'_>, span: Span) -> Option<()> {
        let place = place(&span, self.text);
        match event {
            Event::Scalar(text, style, anchor, tag) => {
                self.refuse_tag(tag.is_some(), place)?;
                let null = style == ScalarStyle::Plain && matches!(&*text, "" | "~" | "null");
                let value = if null { Value::Null } else { Value::Scalar(text.into_owned()) };
                self.value(Node { place, value }, anchor)
            }
            Event::SequenceStart(_, anchor, tag) => {
                self.refuse_tag(tag.is_some(), place)?;
                self.open(Node { place, value: Value::List(Vec::new()) }, anchor)
            }
            Event::MappingStart(_, anchor, tag) => {
                self.refuse_tag(tag.is_some(), place)?;
                self.open(Node { place, value: Value::Map(Vec::new()) }, anchor)
            }
            Event::SequenceEnd | Event::MappingEnd => {
                let open = self.stack.pop()?;
                self.value(open.node, open.anchor)
            }
            Event::Alias(anchor) => self.alias(anchor, place),
            Event::DocumentStart(..) if self.root.is_some() => {
                self.mistakes.at(place, "a second YAML document").expected("one document a file");
                None
            }
            _ => Some(()),
        }
    }

    fn open(&mut self, node: Node, anchor: usize) -> Option<()> {
        if self.stack.len() >= NESTING_LIMIT {
            self.mistakes.at(node.place, "nested too deeply").expected(format!("at most {NESTING_LIMIT} levels"));
            return None;
        }
        self.stack.push(Open { node, key: None, anchor });
        Some(())
    }

    /// Puts a finished value where it belongs: into the open list or mapping (as key, then as value), or at the root.
    fn value(&mut self, node: Node, anchor: usize) -> Option<()> {
        self.count(1, node.place)?;
        if anchor > 0 {
            self.anchors.push((anchor, node.clone()));
            let repeated = node.count();
            self.count(repeated, node.place)?;
        }
        let Some(open) = self.stack.last_mut() else {
            self.root = Some(node);
            return Some(());
        };
        match (&mut open.node.value, open.key.take()) {
            (Value::List(items), _) => items.push(node),
            (Value::Map(entries), Some(key)) => entries.push((key, node)),
            (_, None) => return self.key(node),
            (_, Some(_)) => {}
        }
        Some(())
    }

    fn key(&mut self, node: Node) -> Option<()> {
        let text = match node.value {
            Value::Scalar(text) => text,
            Value::Null => "null".to_owned(),
            _ => {
                self.mistakes.at(node.place, "a list or mapping as a key").expected("a word as a key");
                return None;
            }
        };
        let open = self.stack.last_mut()?;
        open.key = Some(Key { place: node.place, text });
        Some(())
    }

    fn alias(&mut self, anchor: usize, place: Place) -> Option<()> {
        let Some((_, node)) = self.anchors.iter().find(|(known, _)| *known == anchor) else {
            self.mistakes.at(place, "an alias inside the value that it names").expected("an alias of a finished value");
            return None;
        };
        let node = node.clone();
        self.count(node.count(), place)?;
        self.value(node, 0)
    }

    fn count(&mut self, values: usize, place: Place) -> Option<()> {
        self.values += values;
        if self.values <= VALUE_LIMIT {
            return Some(());
        }
        self.mistakes
            .at(place, "too many values, with those that aliases repeat")
            .expected(format!("at most {VALUE_LIMIT}"));
        None
    }

    fn refuse_tag(&mut self, tagged: bool, place: Place) -> Option<()> {
        if !tagged {
            return Some(());
        }
        self.mistakes.at(place, "a YAML tag (`!...`)").expected("a value without a tag");
        None
    }

    fn syntax(&mut self, error: &ScanError) -> Option<Node> {
        let marker = error.marker();
        let place = Place { line: small(marker.line()).max(1), column: small(marker.col()) + 1, length: 1 };
        self.mistakes.at(place, format!("not YAML: {}", error.info()));
        None
    }
}

fn place(span: &Span, text: &str) -> Place {
    let (line, column) = (small(span.start.line()), small(span.start.col()) + 1);
    let covered = span.slice(text).and_then(|slice| slice.lines().next()).unwrap_or("").trim_end();
    Place { line: line.max(1), column, length: small(covered.chars().count()).max(1) }
}

/// Texts are at most a mebibyte, so that every position fits.
fn small(position: usize) -> u32 {
    u32::try_from(position).unwrap_or(u32::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parsed(text: &str) -> Result<Node, String> {
        let mut mistakes = Collector::new("t.yaml", text);
        let tree = parse(text, &mut mistakes);
        if mistakes.is_empty() { Ok(tree.expect("a tree or a mistake")) } else { Err(mistakes.finish().to_string()) }
    }

    #[test]
    fn every_value_knows_its_place() {
        let tree = parsed("a: {b: 'x y'}\nlist:\n  - 5ms\n").unwrap();
        let scalar = tree.get("a").unwrap().get("b").unwrap();
        assert_eq!((scalar.place.line, scalar.place.column, scalar.place.length), (1, 8, 5));
        let item = &tree.get("list").unwrap().items()[0];
        assert_eq!((item.place.line, item.place.column, item.place.length), (3, 5, 3));
    }

    #[test]
    fn an_alias_repeats_its_value_and_an_alias_bomb_is_refused() {
        assert_eq!(parsed("a: &x [1, 2]\nb: *x\n").unwrap().get("b").unwrap().items().len(), 2);
        let mut bomb = String::from("a0: &a0 [x, x, x, x, x, x, x, x, x, x]\n");
        for level in 1..9 {
            let inside = vec![format!("*a{}", level - 1); 10].join(", ");
            bomb.push_str(&format!("a{level}: &a{level} [{inside}]\n"));
        }
        assert!(parsed(&bomb).unwrap_err().contains("too many values"));
        assert!(parsed("a: &x [*x]\n").unwrap_err().contains("inside the value"));
    }

    #[test]
    fn nesting_size_tags_and_second_documents_are_refused() {
        assert!(parsed(&"[".repeat(100)).unwrap_err().contains("error:"));
        assert!(parsed(&format!("{}1{}", "[".repeat(40), "]".repeat(40))).unwrap_err().contains("nested too deeply"));
        assert!(parsed(&"#".repeat(TEXT_LIMIT_BYTES + 1)).unwrap_err().contains("too large"));
        assert!(parsed("a: !x 1\n").unwrap_err().contains("tag"));
        assert!(parsed("a: 1\n---\nb: 1\n").unwrap_err().contains("second YAML document"));
        assert!(parsed("").unwrap_err().contains("empty"));
        assert!(parsed("a: [1\n").unwrap_err().contains("not YAML"));
    }
}

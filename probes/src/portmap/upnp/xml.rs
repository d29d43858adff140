//! As much XML as UPnP needs: elements with their local names and their text, read by `quick-xml`. Attributes, comments and
//! namespaces are passed over; a document has bounds.

use quick_xml::Reader;
use quick_xml::escape::{escape, resolve_predefined_entity};
use quick_xml::events::Event;

/// Elements that a document may have, and levels.
const MOST: (usize, usize) = (4096, 16);

/// An element.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Element {
    /// Its name, without a prefix.
    pub name: String,
    /// Its own text.
    pub text: String,
    /// What is in it.
    pub children: Vec<Element>,
}

impl Element {
    /// Reads a document; `None` if it is none, or too large.
    pub fn parse(document: &[u8]) -> Option<Element> {
        let mut reader = Reader::from_reader(document);
        let mut open = vec![Element::default()];
        let mut count = 0;
        loop {
            match reader.read_event().ok()? {
                Event::Start(start) => {
                    count += 1;
                    if count > MOST.0 || open.len() > MOST.1 {
                        return None;
                    }
                    open.push(named(start.local_name().as_ref()));
                }
                Event::Empty(start) => {
                    count += 1;
                    let empty = named(start.local_name().as_ref());
                    open.last_mut().filter(|_| count <= MOST.0)?.children.push(empty);
                }
                Event::End(_) => {
                    let mut done = open.pop()?;
                    done.text = done.text.trim().to_owned();
                    open.last_mut()?.children.push(done);
                }
                Event::Text(text) => open.last_mut()?.text.push_str(&text.decode().ok()?),
                Event::CData(text) => open.last_mut()?.text.push_str(&text.decode().ok()?),
                Event::GeneralRef(entity) => {
                    let character = entity.resolve_char_ref().ok()?;
                    let name = entity.decode().ok()?;
                    let text = &mut open.last_mut()?.text;
                    match character {
                        Some(character) => text.push(character),
                        None => text.push_str(resolve_predefined_entity(&name)?),
                    }
                }
                Event::Eof => break,
                _ => {}
            }
        }
        match open.as_mut_slice() {
            [root] if root.children.len() == 1 => root.children.pop(),
            _ => None,
        }
    }

    /// The first child of this name.
    pub fn child(&self, name: &str) -> Option<&Element> {
        self.children.iter().find(|child| child.name == name)
    }

    /// Every element of this name, at any depth.
    pub fn all(&self, name: &str) -> Vec<&Element> {
        let mut found: Vec<&Element> = self.children.iter().filter(|child| child.name == name).collect();
        found.extend(self.children.iter().flat_map(|child| child.all(name)));
        found
    }

    /// The text of the first child of this name.
    pub fn text_of(&self, name: &str) -> Option<&str> {
        self.child(name).map(|child| child.text.as_str())
    }
}

fn named(name: &[u8]) -> Element {
    Element { name: String::from_utf8_lossy(name).into_owned(), ..Element::default() }
}

/// An element with text in it.
pub fn element(name: &str, text: &str) -> String {
    format!("<{name}>{}</{name}>", escape(text))
}

/// An element with a document in it, unescaped: miniupnpc takes what is inside of NewPortListing as it stands.
pub fn enclosing(name: &str, document: &str) -> String {
    format!("<{name}><![CDATA[{}]]></{name}>", document.replace("]]>", "]]]]><![CDATA[>"))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn elements_are_found_by_their_local_names() {
        let document = br#"<?xml version="1.0"?><s:Envelope xmlns:s="x"><s:Body><u:Get a="b"><NewPort>80</NewPort>
            <Empty/></u:Get></s:Body></s:Envelope>"#;
        let root = Element::parse(document).expect("a document");
        let get = root.child("Body").and_then(|body| body.child("Get")).expect("an action");
        assert_eq!((get.text_of("NewPort"), get.text_of("Empty")), (Some("80"), Some("")));
        assert_eq!(root.all("NewPort").len(), 1);
        assert_eq!(Element::parse(b"<a><b></a>"), None);
        assert_eq!(Element::parse("<a>".repeat(100).as_bytes()), None);
    }

    proptest! {
        #[test]
        fn text_comes_back_as_it_was(text in "[ -~]{0,40}") {
            let document = element("a", &text);
            let read = Element::parse(document.as_bytes()).expect("a document");
            prop_assert_eq!(&read.text, text.trim());
            let read = Element::parse(enclosing("a", &text).as_bytes()).expect("a document");
            prop_assert_eq!(&read.text, text.trim());
        }

        #[test]
        fn any_bytes_are_read_without_a_panic(bytes in prop::collection::vec(any::<u8>(), 0..200), text in "[<>&;a/\"' ]{0,80}") {
            let _ = (Element::parse(&bytes), Element::parse(text.as_bytes()));
        }
    }
}

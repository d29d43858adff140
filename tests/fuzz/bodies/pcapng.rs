//! Bytes as a capture: read, and whatever is read is printed in every format and through every filter.

use std::io;

use natbox::capture::{Filter, Format, InspectError, Reader, inspect};
use natbox::paint::Paint;
use natbox::wire::Word;

/// Runs one input.
pub fn run(data: &[u8]) {
    let read = read(data);
    for format in [Format::Text, Format::Lines, Format::Ladder, Format::Json] {
        let printed = show(data, &Filter::default(), format);
        assert_eq!(printed.is_ok(), read.is_some() && !too_wide(&printed), "{format:?} {:?}", printed.as_ref().err());
    }
    let Some(seen) = read else { return };
    for (interface, node, endpoints) in seen.into_iter().take(2) {
        let host = endpoints.map_or(node.clone(), |(source, _)| source.ip().to_string());
        let flow = endpoints.map(|(source, destination)| format!("{source}-{destination}"));
        for filter in [
            Filter { host: Some(host), ..Filter::default() },
            Filter { nat: Some(node), ..Filter::default() },
            Filter { nat: Some(interface), ..Filter::default() },
            Filter { flow, ..Filter::default() },
            Filter { reason: Word::ALL.first().copied(), ..Filter::default() },
        ] {
            let _ = show(data, &filter, Format::Json);
        }
    }
}

type Seen = (String, String, Option<(std::net::SocketAddr, std::net::SocketAddr)>);

/// The frames; `None` if there is anything that cannot be read.
fn read(data: &[u8]) -> Option<Vec<Seen>> {
    let mut reader = Reader::new(data).map_err(|error| assert!(!error.to_string().is_empty())).ok()?;
    let mut seen = Vec::new();
    for frame in reader.by_ref() {
        let frame = frame.map_err(|error| assert!(!error.to_string().is_empty())).ok()?;
        assert!(frame.bytes.len() <= data.len());
        assert!(frame.comment.iter().all(|comment| !comment.chars().any(char::is_control)));
        assert!(frame.interface.starts_with(frame.node()));
        assert!(!frame.content.to_string().is_empty());
        let _ = frame.dropped();
        seen.push((frame.interface.clone(), frame.node().to_owned(), frame.endpoints()));
    }
    assert!(reader.next().is_none(), "the end is the end");
    Some(seen)
}

/// Whether a ladder was refused because it has too many columns.
fn too_wide(printed: &Result<(), InspectError>) -> bool {
    matches!(printed, Err(InspectError::Filter(_)))
}

fn show(data: &[u8], filter: &Filter, format: Format) -> Result<(), InspectError> {
    let mut out = Vec::new();
    inspect(&|| io::Result::Ok(data), filter, format, Paint::PLAIN, &mut out)?;
    assert!(String::from_utf8(out.clone()).is_ok(), "text");
    match format {
        Format::Json => assert!(serde_json::from_slice::<serde_json::Value>(&out).is_ok(), "JSON"),
        _ => assert!(!out.iter().any(|byte| *byte < b' ' && *byte != b'\n'), "nothing that a terminal would obey"),
    }
    Ok(())
}

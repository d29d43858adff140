//! FTP (RFC 959, RFC 2428): addresses in the text of a control connection.
//!
//! A client inside says where it waits for data (`PORT`, `EPRT`), a server inside where (`227`, `229`). Only an address that
//! is the speaker's own is rewritten: one that names somebody else is a bounce (RFC 2577 section 3). A line that does not
//! begin and end within one segment passes as it is.

use std::net::{Ipv4Addr, SocketAddrV4};
use std::ops::Range;

use super::Edit;
use super::text::{lines, number};

/// The control port.
pub(super) const PORT: u16 = 21;

/// What the text says to an endpoint that waits for data, and what is to stand there instead. `expect` gives the external
/// endpoint of an internal one at which data is expected. `client` says who speaks.
pub(super) fn edits(
    payload: &[u8],
    client: bool,
    internal: Ipv4Addr,
    expect: &mut dyn FnMut(SocketAddrV4) -> Option<SocketAddrV4>,
) -> Vec<Edit> {
    let mut edits = Vec::new();
    for line in lines(payload, false) {
        let text = &payload[line.clone()];
        let found = if client { command(text) } else { reply(text, internal) };
        let own = |found: &Waiting| *found.endpoint.ip() == internal && found.endpoint.port() != 0;
        let Some(Waiting { at, endpoint, form }) = found.filter(own) else { continue };
        let Some(external) = expect(endpoint) else { continue };
        edits.push(Edit::new(line.start + at.start..line.start + at.end, form.written(external)));
    }
    edits
}

/// An endpoint in the text.
struct Waiting {
    at: Range<usize>,
    endpoint: SocketAddrV4,
    form: Form,
}

/// How an endpoint is written.
enum Form {
    /// `10,0,0,2,19,136`
    Commas,
    /// `10.0.0.2|5000`, with this delimiter.
    Extended(char),
    /// `5000`
    PortAlone,
}

impl Form {
    fn written(&self, endpoint: SocketAddrV4) -> String {
        let (address, port) = (endpoint.ip(), endpoint.port());
        match self {
            Form::Commas => {
                let [a, b, c, d] = address.octets();
                format!("{a},{b},{c},{d},{},{}", port >> 8, port & 0xFF)
            }
            Form::Extended(delimiter) => format!("{address}{delimiter}{port}"),
            Form::PortAlone => port.to_string(),
        }
    }
}

fn command(line: &[u8]) -> Option<Waiting> {
    let (verb, at) = (line.get(..5)?.to_ascii_uppercase(), 5);
    match verb.as_slice() {
        b"PORT " => commas(line, at),
        b"EPRT " => extended(line, at),
        _ => None,
    }
}

/// A reply that names an endpoint, or the port alone of the speaker's own address.
fn reply(line: &[u8], internal: Ipv4Addr) -> Option<Waiting> {
    match line.get(..4)? {
        // Not all put the numbers in parentheses (RFC 1123 section 4.1.2.6).
        b"227 " => (4..line.len()).find_map(|at| commas(line, at).filter(|_| !line[at - 1].is_ascii_digit())),
        b"229 " => {
            let open = line.iter().position(|byte| *byte == b'(')?;
            let [first, second, third] = *line.get(open + 1..open + 4)? else { return None };
            let (port, end) = number(line, open + 4)?;
            let delimited = first == second && second == third && line.get(end) == Some(&first);
            let endpoint = SocketAddrV4::new(internal, port);
            delimited.then_some(Waiting { at: open + 4..end, endpoint, form: Form::PortAlone })
        }
        _ => None,
    }
}

/// Six numbers and five commas.
fn commas(line: &[u8], start: usize) -> Option<Waiting> {
    let (mut bytes, mut at) = ([0; 6], start);
    for (index, byte) in bytes.iter_mut().enumerate() {
        if index > 0 {
            at = (line.get(at) == Some(&b',')).then_some(at + 1)?;
        }
        let (value, end) = number(line, at)?;
        (*byte, at) = (u8::try_from(value).ok()?, end);
    }
    let [a, b, c, d, high, low] = bytes;
    let endpoint = SocketAddrV4::new(Ipv4Addr::new(a, b, c, d), u16::from_be_bytes([high, low]));
    Some(Waiting { at: start..at, endpoint, form: Form::Commas })
}

/// `|1|10.0.0.2|5000|`, with any delimiter.
fn extended(line: &[u8], start: usize) -> Option<Waiting> {
    let delimiter = *line.get(start).filter(|delimiter| (33..=126).contains(*delimiter))?;
    if line.get(start + 1..start + 3)? != [b'1', delimiter] {
        return None;
    }
    let begin = start + 3;
    let length = line[begin..].iter().position(|byte| *byte == delimiter)?;
    let address = std::str::from_utf8(&line[begin..begin + length]).ok()?.parse().ok()?;
    let (port, end) = number(line, begin + length + 1)?;
    if line.get(end) != Some(&delimiter) {
        return None;
    }
    let (endpoint, form) = (SocketAddrV4::new(address, port), Form::Extended(char::from(delimiter)));
    Some(Waiting { at: begin..end, endpoint, form })
}

//! SIP over UDP (RFC 3261) with SDP (RFC 8866): addresses in its text.
//!
//! From inside: where the sender is to be found (`Via`, `Contact`, `Record-Route`) and where it waits for media (`c=`, `o=`,
//! `m=`, `a=rtcp:`). From outside: what it had said comes back to it (start line, `Via`, `Contact`, `Route`,
//! `Record-Route`). `received` and `rport` are left alone: they say what the other side saw. A body that is compressed,
//! encrypted or in several parts passes as it is, as does SIP over TCP and TLS.

use std::net::{Ipv4Addr, SocketAddrV4};
use std::ops::Range;

use super::Edit;
use super::text::{addresses, lines, number};

/// The port of SIP.
pub(super) const PORT: u16 = 5060;

/// What stands for an endpoint in the text.
pub(super) type Translate<'a> = &'a mut dyn FnMut(SocketAddrV4) -> Option<SocketAddrV4>;

/// What is to be changed in a message. `own` is the address that is being translated, `new` what becomes of it;
/// `signalling` and `media` translate endpoints that have it.
pub(super) fn edits(
    message: &[u8],
    outbound: bool,
    own: Ipv4Addr,
    new: Ipv4Addr,
    signalling: Translate<'_>,
    media: Translate<'_>,
) -> Vec<Edit> {
    let Some((head, body)) = parts(message) else { return Vec::new() };
    let mut edits = Vec::new();
    for (index, line) in lines(&message[..head], true).enumerate() {
        if is_concerned(&message[line.clone()], outbound, index) {
            endpoints(message, line, own, signalling, &mut edits);
        }
    }
    if outbound {
        let changes = description(message, body, own, new, media);
        edits.extend(content_length(message, head, &changes));
        edits.extend(changes);
    }
    edits.sort_by_key(|edit| edit.at.start);
    edits
}

/// Where the head ends and the body begins, if this is a SIP message.
fn parts(message: &[u8]) -> Option<(usize, usize)> {
    let first = lines(message, true).next()?;
    let first = &message[first];
    if !first.starts_with(b"SIP/2.0 ") && !first.ends_with(b" SIP/2.0") {
        return None;
    }
    let end = message.windows(4).position(|window| window == b"\r\n\r\n");
    Some(end.map_or((message.len(), message.len()), |end| (end + 2, end + 4)))
}

/// Whether a line of the head names the endpoints that are translated.
fn is_concerned(line: &[u8], outbound: bool, index: usize) -> bool {
    if index == 0 {
        return !outbound && !line.starts_with(b"SIP/2.0 ");
    }
    let name = line.split(|byte| *byte == b':').next().unwrap_or_default().trim_ascii().to_ascii_lowercase();
    match name.as_slice() {
        b"via" | b"v" | b"contact" | b"m" | b"record-route" => true,
        b"route" => !outbound,
        _ => false,
    }
}

/// The endpoints in a line: the address, and behind it the port, 5060 if there is none.
fn endpoints(message: &[u8], line: Range<usize>, own: Ipv4Addr, translate: Translate<'_>, edits: &mut Vec<Edit>) {
    let text = &message[line.clone()];
    for at in addresses(text, own) {
        if text[..at.start].ends_with(b"received=") {
            continue;
        }
        let written = if text.get(at.end) == Some(&b':') { number(text, at.end + 1) } else { None };
        let (port, end) = written.unwrap_or((PORT, at.end));
        if let Some(new) = translate(SocketAddrV4::new(own, port)).filter(|new| *new != SocketAddrV4::new(own, port)) {
            edits.push(Edit::new(line.start + at.start..line.start + end, new));
        }
    }
}

/// The session description in the body. A stream whose port cannot be had keeps it.
fn description(message: &[u8], body: usize, own: Ipv4Addr, new: Ipv4Addr, media: Translate<'_>) -> Vec<Edit> {
    let mut edits = Vec::new();
    let connects_here = lines(&message[body..], true).any(|line| {
        let text = &message[body + line.start..body + line.end];
        text.starts_with(b"c=IN IP4 ") && !addresses(text, own).is_empty()
    });
    for line in lines(&message[body..], true) {
        let (start, text) = (body + line.start, &message[body + line.start..body + line.end]);
        let port_at = match text.get(..2) {
            Some(b"c=" | b"o=") if own != new => {
                edits.extend(
                    addresses(text, own).into_iter().map(|at| Edit::new(start + at.start..start + at.end, new)),
                );
                None
            }
            Some(b"m=") => text.iter().position(|byte| *byte == b' ').map(|at| at + 1),
            Some(b"a=") if text.starts_with(b"a=rtcp:") => Some(7),
            _ => None,
        };
        let port = port_at.filter(|_| connects_here).and_then(|at| Some((at, number(text, at)?)));
        let Some((at, (port, end))) = port.filter(|(_, (port, _))| *port != 0) else { continue };
        if let Some(external) = media(SocketAddrV4::new(own, port)).filter(|external| external.port() != port) {
            edits.push(Edit::new(start + at..start + end, external.port()));
        }
    }
    edits
}

/// The length of the body, if that changes.
fn content_length(message: &[u8], head: usize, changes: &[Edit]) -> Option<Edit> {
    let grown: isize = changes.iter().map(|edit| edit.new.len() as isize - edit.at.len() as isize).sum();
    if grown == 0 {
        return None;
    }
    lines(&message[..head], true).find_map(|line| {
        let text = &message[line.clone()];
        let colon = text.iter().position(|byte| *byte == b':')?;
        let name = text[..colon].trim_ascii().to_ascii_lowercase();
        if !matches!(name.as_slice(), b"content-length" | b"l") {
            return None;
        }
        let blanks = text[colon + 1..].iter().take_while(|byte| byte.is_ascii_whitespace()).count();
        let at = colon + 1 + blanks;
        let (length, end) = number(text, at)?;
        let length = usize::from(length).checked_add_signed(grown)?;
        Some(Edit::new(line.start + at..line.start + end, length))
    })
}

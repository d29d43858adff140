//! Addresses and numbers in text.

use std::net::Ipv4Addr;
use std::ops::Range;

/// Bytes of a payload, and what stands there instead.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Edit {
    pub(super) at: Range<usize>,
    pub(super) new: Vec<u8>,
}

impl Edit {
    pub(super) fn new(at: Range<usize>, new: impl ToString) -> Edit {
        Edit { at, new: new.to_string().into_bytes() }
    }
}

/// A payload with edits made. They must be in order and must not overlap.
pub(super) fn edited(payload: &[u8], edits: &[Edit]) -> Vec<u8> {
    let (mut new, mut at) = (Vec::with_capacity(payload.len() + 32), 0);
    for edit in edits {
        new.extend_from_slice(&payload[at..edit.at.start]);
        new.extend_from_slice(&edit.new);
        at = edit.at.end;
    }
    new.extend_from_slice(&payload[at..]);
    new
}

/// Where in some bytes an address stands as a dotted decimal, and is not a part of a longer one.
pub(super) fn addresses(bytes: &[u8], address: Ipv4Addr) -> Vec<Range<usize>> {
    let text = address.to_string();
    let whole = |at: &Range<usize>| {
        let before = at.start.checked_sub(1).map(|before| bytes[before]);
        let (next, after) = (bytes.get(at.end), bytes.get(at.end + 1));
        let longer =
            next.is_some_and(u8::is_ascii_digit) || next == Some(&b'.') && after.is_some_and(u8::is_ascii_digit);
        !longer && !before.is_some_and(|before| before.is_ascii_digit() || before == b'.')
    };
    places(bytes, text.as_bytes()).into_iter().filter(whole).collect()
}

/// Where some bytes stand in others, not overlapping.
pub(super) fn places(bytes: &[u8], wanted: &[u8]) -> Vec<Range<usize>> {
    let (mut found, mut at) = (Vec::new(), 0);
    while let Some(rest) = bytes.get(at..).filter(|rest| rest.len() >= wanted.len()) {
        match rest.windows(wanted.len()).position(|window| window == wanted) {
            Some(offset) => {
                found.push(at + offset..at + offset + wanted.len());
                at += offset + wanted.len();
            }
            None => break,
        }
    }
    found
}

/// The decimal number that begins at an offset, and where it ends; nothing beyond 65,535.
pub(super) fn number(bytes: &[u8], at: usize) -> Option<(u16, usize)> {
    let digits = bytes.get(at..)?.iter().take(6).take_while(|byte| byte.is_ascii_digit()).count();
    let text = std::str::from_utf8(&bytes[at..at + digits]).ok()?;
    Some((text.parse().ok()?, at + digits))
}

/// The lines of a text that are whole: where they are, without their line ends. The last is one only if `ended`.
pub(super) fn lines(bytes: &[u8], ended: bool) -> impl Iterator<Item = Range<usize>> {
    let mut at = 0;
    std::iter::from_fn(move || {
        let rest = bytes.get(at..).filter(|rest| !rest.is_empty())?;
        let (length, skip) = match rest.iter().position(|byte| *byte == b'\n') {
            Some(length) => (length, 1),
            None if ended => (rest.len(), 0),
            None => return None,
        };
        let line = &rest[..length];
        let trimmed = line.strip_suffix(b"\r").unwrap_or(line).len();
        let range = at..at + trimmed;
        at += length + skip;
        Some(range)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_is_found_whole() {
        let address = Ipv4Addr::new(10, 0, 0, 2);
        let found = |text: &str| addresses(text.as_bytes(), address).len();
        assert_eq!(found("10.0.0.2"), 1);
        assert_eq!(found("at 10.0.0.2. And 10.0.0.2:5060,10.0.0.2"), 3);
        assert_eq!(found("110.0.0.2 10.0.0.20 1.10.0.0.2 10.0.0.2.5"), 0);
    }

    #[test]
    fn numbers_end_where_their_digits_do() {
        assert_eq!(number(b"x5060;", 1), Some((5060, 5)));
        assert_eq!(number(b"65535", 0), Some((65535, 5)));
        for bad in ["", "x", "65536", "123456"] {
            assert_eq!(number(bad.as_bytes(), 0), None, "{bad}");
        }
        assert_eq!(number(b"1", 9), None);
    }

    #[test]
    fn lines_are_whole_or_none() {
        let all = |text: &'static str, ended| lines(text.as_bytes(), ended).map(|at| &text[at]).collect::<Vec<_>>();
        assert_eq!(all("a\r\nb\n\r\nc", false), ["a", "b", ""]);
        assert_eq!(all("a\r\nb\n\r\nc", true), ["a", "b", "", "c"]);
        assert_eq!(all("", true), [""; 0]);
    }
}

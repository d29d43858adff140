//! Clients of RFC 3489, which know no magic cookie: RFC 5389 section 12.2 asks servers to go on answering them.
//!
//! The transaction id is 16 bytes then, where newer messages have the cookie in the first four. So a request is read as if
//! it had one, and the answer gets the client's bytes back in its place. The answer holds MAPPED-ADDRESS, SOURCE-ADDRESS
//! and CHANGED-ADDRESS, and its texts and lists are filled up to four bytes inside their values (RFC 3489 section 11.2).
//!
//! Leaves out RESPONSE-ADDRESS, which would send answers to others than who asks (refused with 420), and shared secrets.

use std::net::SocketAddr;

use super::{BOTH, BindingRefused, Reply, ServerConfig};
use crate::stun::codec::{self, AttributeType, BINDING, Message, MessageClass, Writer, attribute};

/// The magic cookie (RFC 8489 section 5), and where it stands.
const COOKIE: [u8; 4] = 0x2112_A442_u32.to_be_bytes();
const COOKIE_AT: std::ops::Range<usize> = 4..8;

/// The required attributes that a request may carry. Credentials are known and not asked for.
const KNOWN: [AttributeType; 3] = [attribute::CHANGE_REQUEST, attribute::USERNAME, attribute::MESSAGE_INTEGRITY];

/// Whether this may come from a client of RFC 3489.
pub(super) fn is_classic(datagram: &[u8]) -> bool {
    datagram.get(COOKIE_AT).is_some_and(|bytes| bytes != COOKIE)
}

/// The answer to such a client's Binding request.
pub(super) fn respond(config: &ServerConfig, datagram: &[u8], source: SocketAddr, local: SocketAddr) -> Option<Reply> {
    let mut datagram = datagram.to_vec();
    let id = datagram.get(COOKIE_AT)?.to_owned();
    datagram.get_mut(COOKIE_AT)?.copy_from_slice(&COOKIE);
    let request = codec::parse(&datagram)?;
    if !(request.has_class(MessageClass::Request) && request.has_method(BINDING)) {
        return None;
    }
    let (from, answer) = match origin(config, &request, local) {
        Ok(from) => (from, success(config, &request, source, local, from)),
        Err(BindingRefused::BadRequest) => (local, Writer::error(&request, 400, "Bad Request ")),
        Err(BindingRefused::UnknownAttributes(mut unknown)) => {
            if unknown.len() % 2 == 1 {
                unknown.extend(unknown.last().copied());
            }
            (local, unknown_attributes(&request, &unknown))
        }
    };
    let mut datagram = answer.finish();
    datagram.get_mut(COOKIE_AT)?.copy_from_slice(&id);
    Some(Reply { from, to: source, datagram })
}

/// Where the answer comes from.
fn origin(config: &ServerConfig, request: &Message<'_>, local: SocketAddr) -> Result<SocketAddr, BindingRefused> {
    let kinds = request.iter_attributes().map(|(_, raw)| raw.header.get_type());
    let unknown: Vec<_> = kinds.filter(|kind| kind.comprehension_required() && !KNOWN.contains(kind)).collect();
    if !unknown.is_empty() {
        return Err(BindingRefused::UnknownAttributes(unknown));
    }
    let change = codec::change_request(request).transpose().map_err(|_| BindingRefused::BadRequest)?;
    // Clients of that time name a change of nothing as well.
    let unable = || BindingRefused::UnknownAttributes(vec![attribute::CHANGE_REQUEST]);
    config.changed(local, change.unwrap_or_default()).ok_or_else(unable)
}

fn success(
    config: &ServerConfig,
    request: &Message<'_>,
    source: SocketAddr,
    local: SocketAddr,
    from: SocketAddr,
) -> Writer {
    let answer =
        Writer::success(request).address(attribute::MAPPED_ADDRESS, source).address(attribute::SOURCE_ADDRESS, from);
    // Section 8.1 wants it in every answer; a server with nothing to change to leaves it out.
    match config.changed(local, BOTH) {
        Some(other) => answer.address(attribute::CHANGED_ADDRESS, other),
        None => answer,
    }
}

fn unknown_attributes(request: &Message<'_>, unknown: &[AttributeType]) -> Writer {
    let value: Vec<u8> = unknown.iter().flat_map(|kind| kind.value().to_be_bytes()).collect();
    Writer::error(request, 420, "Unknown Attribute   ").raw(attribute::UNKNOWN_ATTRIBUTES, &value)
}

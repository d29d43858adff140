//! From bytes to attributes. Whatever is malformed is `None`; nothing here panics.

use std::net::SocketAddr;

use stun_types::attribute::{Attribute, AttributeType, ErrorCode, MappedSocketAddr, RawAttribute, XorSocketAddr};
use stun_types::message::Message;

use super::attribute;

/// Bytes of the header of a message.
const HEADER_BYTES: usize = 20;

/// Reads a datagram that is one STUN message, or `None`: then it is no STUN message, or a malformed one.
///
/// Stricter than RFC 8489 asks for in one point: bytes behind the message make it malformed. Attributes behind
/// MESSAGE-INTEGRITY are not seen through the result, FINGERPRINT excepted (section 14.5).
pub fn parse(datagram: &[u8]) -> Option<Message<'_>> {
    let length = usize::from(u16::from_be_bytes([*datagram.get(2)?, *datagram.get(3)?]));
    let whole = length.is_multiple_of(4) && datagram.len() == HEADER_BYTES + length;
    if !whole || !attributes_fit(datagram.get(HEADER_BYTES..)?) {
        return None;
    }
    Message::from_bytes(datagram).ok()
}

/// Whether the attributes fill `bytes` exactly, padding included.
fn attributes_fit(mut bytes: &[u8]) -> bool {
    while let Some((header, rest)) = bytes.split_at_checked(4) {
        let padded = usize::from(u16::from_be_bytes([header[2], header[3]])).next_multiple_of(4);
        match rest.get(padded..) {
            Some(next) => bytes = next,
            None => return false,
        }
    }
    bytes.is_empty()
}

/// Where the sender of a request was seen: XOR-MAPPED-ADDRESS, or MAPPED-ADDRESS if there is no other.
pub fn mapped_address(message: &Message<'_>) -> Option<SocketAddr> {
    xor_address(message, attribute::XOR_MAPPED_ADDRESS).or_else(|| address(message, attribute::MAPPED_ADDRESS))
}

/// The address in an attribute of the form of MAPPED-ADDRESS (RFC 8489 section 14.1).
pub fn address(message: &Message<'_>, kind: AttributeType) -> Option<SocketAddr> {
    let raw = message.raw_attribute(kind)?;
    MappedSocketAddr::from_raw(&raw).ok().map(|address| address.addr())
}

/// The address in an attribute of the form of XOR-MAPPED-ADDRESS (RFC 8489 section 14.2).
pub fn xor_address(message: &Message<'_>, kind: AttributeType) -> Option<SocketAddr> {
    let raw = message.raw_attribute(kind)?;
    XorSocketAddr::from_raw(&raw).ok().map(|address| address.addr(message.transaction_id()))
}

/// The code and the reason of an error response.
pub fn error_code(message: &Message<'_>) -> Option<(u16, String)> {
    let error = message.attribute::<ErrorCode>().ok()?;
    Some((error.code(), error.reason().to_owned()))
}

/// What CHANGE-REQUEST asks for (RFC 5780 section 7.2).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ChangeRequest {
    /// Answer from the other address.
    pub address: bool,
    /// Answer from the other port.
    pub port: bool,
}

impl ChangeRequest {
    const ADDRESS: u32 = 0x4;
    const PORT: u32 = 0x2;

    /// The flags as they stand in the attribute.
    pub fn to_bytes(self) -> [u8; 4] {
        let address = if self.address { Self::ADDRESS } else { 0 };
        let port = if self.port { Self::PORT } else { 0 };
        (address | port).to_be_bytes()
    }
}

/// CHANGE-REQUEST: `None` if there is none, an error if it is malformed.
pub fn change_request(message: &Message<'_>) -> Option<Result<ChangeRequest, Malformed>> {
    let raw = message.raw_attribute(attribute::CHANGE_REQUEST)?;
    let flags = fixed::<4>(&raw).map(u32::from_be_bytes);
    Some(flags.map(|flags| ChangeRequest {
        address: flags & ChangeRequest::ADDRESS != 0,
        port: flags & ChangeRequest::PORT != 0,
    }))
}

/// RESPONSE-PORT: `None` if there is none, an error if it is malformed (RFC 5780 section 7.5).
///
/// The attribute has a 16-bit port; implementations pad it inside the value or behind it, so both are read.
pub fn response_port(message: &Message<'_>) -> Option<Result<u16, Malformed>> {
    let raw = message.raw_attribute(attribute::RESPONSE_PORT)?;
    let port = fixed::<2>(&raw).or_else(|_| fixed::<4>(&raw).map(|[high, low, ..]| [high, low]));
    Some(port.map(u16::from_be_bytes))
}

/// An attribute that has not the form that its type asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Malformed;

fn fixed<const N: usize>(raw: &RawAttribute<'_>) -> Result<[u8; N], Malformed> {
    <[u8; N]>::try_from(&*raw.value).map_err(|_| Malformed)
}

/// USERNAME.
pub fn username<'a>(message: &Message<'a>) -> Option<String> {
    text(message, attribute::USERNAME)
}

/// REALM.
pub fn realm(message: &Message<'_>) -> Option<String> {
    text(message, attribute::REALM)
}

/// NONCE.
pub fn nonce(message: &Message<'_>) -> Option<String> {
    text(message, attribute::NONCE)
}

/// The text of an attribute, if it is UTF-8.
pub fn text(message: &Message<'_>, kind: AttributeType) -> Option<String> {
    let raw = message.raw_attribute(kind)?;
    debug_assert_eq!(raw.get_type(), kind);
    std::str::from_utf8(&raw.value).ok().map(str::to_owned)
}

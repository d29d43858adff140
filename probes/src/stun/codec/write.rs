//! From attributes to bytes.

use std::net::SocketAddr;

use stun_types::attribute::{AttributeType, MappedSocketAddr, RawAttribute, XorSocketAddr};
use stun_types::message::{IntegrityAlgorithm, IntegrityKey, Message, MessageClass, MessageType};
use stun_types::message::{MessageWrite, MessageWriteExt, MessageWriteVec, Method, TransactionId};

use super::attribute;
use super::read::ChangeRequest;

/// The longest value that an attribute can have: its length field has 16 bits, its padding ends at a multiple of 4.
const LONGEST_VALUE_BYTES: usize = 65_532;

/// Writes one message, attribute after attribute, in the order of the calls.
///
/// [`integrity`](Writer::integrity) and [`fingerprint`](Writer::fingerprint) come last, in this order.
#[derive(Debug)]
pub struct Writer {
    message: MessageWriteVec,
    id: TransactionId,
}

impl Writer {
    /// A message of any class.
    pub fn new(class: MessageClass, method: Method, id: TransactionId) -> Writer {
        let kind = MessageType::from_class_method(class, method);
        Writer { message: Message::builder(kind, id, MessageWriteVec::with_capacity(128)), id }
    }

    /// A request.
    pub fn request(method: Method, id: TransactionId) -> Writer {
        Writer::new(MessageClass::Request, method, id)
    }

    /// An indication: nothing answers it.
    pub fn indication(method: Method, id: TransactionId) -> Writer {
        Writer::new(MessageClass::Indication, method, id)
    }

    /// The success response to `request`.
    pub fn success(request: &Message<'_>) -> Writer {
        Writer::new(MessageClass::Success, request.method(), request.transaction_id())
    }

    /// The error response to `request`, with its ERROR-CODE (RFC 8489 section 14.8).
    pub fn error(request: &Message<'_>, code: u16, reason: &str) -> Writer {
        let mut value = vec![0, 0, (code / 100) as u8, (code % 100) as u8];
        value.extend_from_slice(reason.as_bytes());
        let writer = Writer::new(MessageClass::Error, request.method(), request.transaction_id());
        writer.raw(attribute::ERROR_CODE, &value)
    }

    /// The error response 420 to `request`, with the attributes that were not understood (RFC 8489 section 6.3.1).
    pub fn unknown_attributes(request: &Message<'_>, unknown: &[AttributeType]) -> Writer {
        let value: Vec<u8> = unknown.iter().flat_map(|kind| kind.value().to_be_bytes()).collect();
        Writer::error(request, 420, "Unknown Attribute").raw(attribute::UNKNOWN_ATTRIBUTES, &value)
    }

    /// An attribute of any type. A value is cut at 65,532 bytes, more than any datagram can carry.
    pub fn raw(mut self, kind: AttributeType, value: &[u8]) -> Writer {
        let value = &value[..value.len().min(LONGEST_VALUE_BYTES)];
        self.message.push_attribute_unchecked(&RawAttribute::new(kind, value));
        self
    }

    /// An attribute that is text: USERNAME, REALM, NONCE, SOFTWARE.
    pub fn text(self, kind: AttributeType, text: &str) -> Writer {
        self.raw(kind, text.as_bytes())
    }

    /// An address in the form of MAPPED-ADDRESS.
    pub fn address(self, kind: AttributeType, address: SocketAddr) -> Writer {
        let mut value = [0; 20];
        let address = MappedSocketAddr::new(address);
        let length = usize::from(address.length());
        address.write_into_unchecked(&mut value);
        self.raw(kind, &value[..length])
    }

    /// An address in the form of XOR-MAPPED-ADDRESS.
    pub fn xor_address(self, kind: AttributeType, address: SocketAddr) -> Writer {
        let mut value = [0; 20];
        let address = XorSocketAddr::new(address, self.id);
        let length = usize::from(address.length());
        address.write_into_unchecked(&mut value);
        self.raw(kind, &value[..length])
    }

    /// CHANGE-REQUEST.
    pub fn change_request(self, change: ChangeRequest) -> Writer {
        self.raw(attribute::CHANGE_REQUEST, &change.to_bytes())
    }

    /// RESPONSE-PORT.
    pub fn response_port(self, port: u16) -> Writer {
        self.raw(attribute::RESPONSE_PORT, &port.to_be_bytes())
    }

    /// MESSAGE-INTEGRITY over everything so far.
    pub fn integrity(mut self, key: &IntegrityKey) -> Writer {
        let added = self.message.add_message_integrity_with_key(key, IntegrityAlgorithm::Sha1);
        debug_assert!(added.is_ok(), "MESSAGE-INTEGRITY comes once, before FINGERPRINT");
        self
    }

    /// FINGERPRINT over everything so far.
    pub fn fingerprint(mut self) -> Writer {
        let added = self.message.add_fingerprint();
        debug_assert!(added.is_ok(), "FINGERPRINT comes once");
        self
    }

    /// The bytes.
    pub fn finish(self) -> Vec<u8> {
        self.message.finish()
    }
}

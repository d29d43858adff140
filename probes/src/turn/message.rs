//! The bytes of TURN: STUN messages with their integrity, and ChannelData. Knows no state and no time.
//!
//! turn-types and stun-types give the attributes. Integrity is checked here on the whole message, since their
//! `validate_integrity` asserts more about the attributes after MESSAGE-INTEGRITY than a received message promises.

use std::net::IpAddr;
use std::ops::RangeInclusive;

use natbox_wire::IcmpError;
use stun_types::AddressFamily;
use stun_types::attribute::{
    AttributeStaticType, AttributeType, AttributeWrite, ErrorCode, Fingerprint, MessageIntegrity,
    MessageIntegritySha256, Realm, Software,
};
use stun_types::message::{
    IntegrityAlgorithm, IntegrityKey, LongTermKeyCredentials, Message, MessageClass, MessageType, MessageWrite,
    MessageWriteExt, MessageWriteVec, Method, TransactionId,
};
use turn_types::attribute::Icmp;

/// The numbers that a channel may have (RFC 8656 section 12).
pub(crate) const CHANNEL_NUMBERS: RangeInclusive<u16> = 0x4000..=0x4FFF;
/// The numbers that a channel could have before (RFC 5766 section 11): what begins so is read as ChannelData.
pub(crate) const OLD_CHANNEL_NUMBERS: RangeInclusive<u16> = 0x4000..=0x7FFF;
/// Channel number and length.
pub(crate) const CHANNEL_HEADER_BYTES: usize = 4;
pub(crate) const STUN_HEADER_BYTES: usize = 20;
const INTEGRITY_BYTES: usize = 24;

/// What the first byte says a datagram is (RFC 7983 section 7; RFC 5766 section 11.4).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    Stun,
    Channel,
    Other,
}

pub(crate) fn kind(datagram: &[u8]) -> Kind {
    match datagram.first() {
        Some(0..=3) => Kind::Stun,
        Some(64..=127) => Kind::Channel,
        _ => Kind::Other,
    }
}

/// A STUN message that fills the datagram, with a fitting fingerprint if it has one.
pub(crate) fn parse(datagram: &[u8]) -> Option<Message<'_>> {
    let length = usize::from(u16::from_be_bytes([*datagram.get(2)?, *datagram.get(3)?]));
    if length % 4 != 0 || datagram.len() != STUN_HEADER_BYTES + length {
        return None;
    }
    Message::from_bytes(datagram).ok()
}

/// The long-term key MD5(username ":" realm ":" password) (RFC 8489 section 9.2.2).
pub(crate) fn long_term_key(username: &str, realm: &str, password: &str) -> IntegrityKey {
    LongTermKeyCredentials::new(username.to_owned(), password.to_owned(), realm.to_owned())
        .make_key(IntegrityAlgorithm::Sha1)
}

/// Whether the message's MESSAGE-INTEGRITY was made with this key.
pub(crate) fn is_intact(message: &Message<'_>, key: &IntegrityKey) -> bool {
    let Some((offset, raw)) = message.raw_attribute_and_offset(MessageIntegrity::TYPE) else { return false };
    let Ok(integrity) = MessageIntegrity::try_from(&raw) else { return false };
    let bytes = message.as_bytes();
    let Ok(length) = u16::try_from(offset + INTEGRITY_BYTES - STUN_HEADER_BYTES) else { return false };
    let [high, low] = length.to_be_bytes();
    MessageIntegrity::verify(&[&[bytes[0], bytes[1], high, low], &bytes[4..offset]], key, integrity.hmac())
}

/// The comprehension-required attributes of the message that are not in `known`.
///
/// What every message may carry is known always: integrity, fingerprint.
pub(crate) fn unknown_attributes(message: &Message<'_>, known: &[AttributeType]) -> Vec<AttributeType> {
    let always = [MessageIntegrity::TYPE, MessageIntegritySha256::TYPE, Fingerprint::TYPE];
    let mut unknown = Vec::new();
    for (_, raw) in message.iter_attributes() {
        let kind = stun_types::prelude::Attribute::get_type(&raw);
        if kind.comprehension_required()
            && !known.contains(&kind)
            && !always.contains(&kind)
            && !unknown.contains(&kind)
        {
            unknown.push(kind);
        }
    }
    unknown
}

/// The channel number and payload of a ChannelData datagram; padding after the payload is allowed over UDP.
pub(crate) fn parse_channel_data(datagram: &[u8]) -> Option<(u16, &[u8])> {
    let (header, rest) = datagram.split_first_chunk::<CHANNEL_HEADER_BYTES>()?;
    let number = u16::from_be_bytes([header[0], header[1]]);
    let length = usize::from(u16::from_be_bytes([header[2], header[3]]));
    OLD_CHANNEL_NUMBERS.contains(&number).then_some(())?;
    Some((number, rest.get(..length)?))
}

/// A ChannelData datagram, without the padding that UDP does not need. None if the payload is too long for one.
pub(crate) fn channel_data(number: u16, payload: &[u8]) -> Option<Vec<u8>> {
    if payload.len() > super::MAX_DATAGRAM_BYTES - CHANNEL_HEADER_BYTES {
        return None;
    }
    let mut bytes = Vec::with_capacity(CHANNEL_HEADER_BYTES + payload.len());
    bytes.extend_from_slice(&number.to_be_bytes());
    bytes.extend_from_slice(&u16::try_from(payload.len()).ok()?.to_be_bytes());
    bytes.extend_from_slice(payload);
    Some(bytes)
}

/// Writes one message. Attributes that cannot be written were checked for length before they came here.
pub(crate) struct Writer(MessageWriteVec);

impl Writer {
    pub(crate) fn new(class: MessageClass, method: Method, transaction: TransactionId) -> Writer {
        let kind = MessageType::from_class_method(class, method);
        Writer(Message::builder(kind, transaction, MessageWriteVec::new()))
    }

    pub(crate) fn with(mut self, attribute: &dyn AttributeWrite) -> Writer {
        let written = self.0.add_attribute(attribute);
        debug_assert!(written.is_ok(), "{written:?}");
        self
    }

    pub(crate) fn with_error(self, code: u16) -> Writer {
        match ErrorCode::builder(code).build() {
            Ok(error) => self.with(&error),
            Err(_) => self,
        }
    }

    /// SOFTWARE should be in every request and response (RFC 8656 section 5).
    pub(crate) fn with_software(self) -> Writer {
        match Software::new("natbox") {
            Ok(software) => self.with(&software),
            Err(_) => self,
        }
    }

    /// The bytes, protected with `key` if there is one, and closed with a FINGERPRINT if wanted.
    pub(crate) fn finish(mut self, key: Option<&IntegrityKey>, fingerprint: bool) -> Vec<u8> {
        if let Some(key) = key {
            let added = self.0.add_message_integrity_with_key(key, IntegrityAlgorithm::Sha1);
            debug_assert!(added.is_ok(), "{added:?}");
        }
        if fingerprint {
            let added = self.0.add_fingerprint();
            debug_assert!(added.is_ok(), "{added:?}");
        }
        self.0.finish()
    }
}

/// Whether a realm can stand in a message.
pub(crate) fn is_valid_realm(realm: &str) -> bool {
    !realm.is_empty() && Realm::new(realm).is_ok()
}

pub(crate) fn family(address: IpAddr) -> AddressFamily {
    match address {
        IpAddr::V4(_) => AddressFamily::IPV4,
        IpAddr::V6(_) => AddressFamily::IPV6,
    }
}

/// The ICMP attribute for an error that came back for a relayed datagram; none for the types that a relay keeps to
/// itself (RFC 8656 section 11.5: ICMP 3 and 11, ICMPv6 1, 2 and 3 are passed on).
pub(crate) fn icmp_attribute(error: IcmpError, ipv6: bool) -> Option<Icmp> {
    let (kind, code) = if ipv6 { icmpv6_numbers(error) } else { icmpv4_numbers(error) };
    let passed_on: &[u8] = if ipv6 { &[1, 2, 3] } else { &[3, 11] };
    let data = match error {
        IcmpError::PacketTooBig { mtu } => mtu,
        _ => 0,
    };
    passed_on.contains(&kind).then(|| Icmp::new(kind, code, data))
}

fn icmpv4_numbers(error: IcmpError) -> (u8, u8) {
    match error {
        IcmpError::NetUnreachable => (3, 0),
        IcmpError::HostUnreachable => (3, 1),
        IcmpError::ProtocolUnreachable => (3, 2),
        IcmpError::PortUnreachable => (3, 3),
        IcmpError::PacketTooBig { .. } => (3, 4),
        IcmpError::AdminProhibited => (3, 13),
        IcmpError::TtlExceeded => (11, 0),
        IcmpError::ReassemblyTimeExceeded => (11, 1),
        IcmpError::Other { kind, code } => (kind, code),
    }
}

fn icmpv6_numbers(error: IcmpError) -> (u8, u8) {
    match error {
        IcmpError::NetUnreachable => (1, 0),
        IcmpError::HostUnreachable => (1, 3),
        IcmpError::ProtocolUnreachable => (4, 1),
        IcmpError::PortUnreachable => (1, 4),
        IcmpError::PacketTooBig { .. } => (2, 0),
        IcmpError::AdminProhibited => (1, 1),
        IcmpError::TtlExceeded => (3, 0),
        IcmpError::ReassemblyTimeExceeded => (3, 1),
        IcmpError::Other { kind, code } => (kind, code),
    }
}

/// The error that an ICMP attribute tells of.
pub(crate) fn icmp_error(attribute: &Icmp, ipv6: bool) -> IcmpError {
    match (ipv6, attribute.icmp_type(), attribute.code()) {
        (false, 3, 0) | (true, 1, 0) => IcmpError::NetUnreachable,
        (false, 3, 1) | (true, 1, 3) => IcmpError::HostUnreachable,
        (false, 3, 2) | (true, 4, 1) => IcmpError::ProtocolUnreachable,
        (false, 3, 3) | (true, 1, 4) => IcmpError::PortUnreachable,
        (false, 3, 4) | (true, 2, 0) => IcmpError::PacketTooBig { mtu: attribute.data() },
        (false, 3, 13) | (true, 1, 1) => IcmpError::AdminProhibited,
        (false, 11, 0) | (true, 3, 0) => IcmpError::TtlExceeded,
        (false, 11, 1) | (true, 3, 1) => IcmpError::ReassemblyTimeExceeded,
        (_, kind, code) => IcmpError::Other { kind, code },
    }
}

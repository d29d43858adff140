//! What holds of every packet, whoever edits it; and how arbitrary bytes come to be packets.

use natbox::wire::{Packet, Transport, checksum};

/// Makes lengths and checksums of arbitrary bytes fit, so that what lies behind those checks is reached too. What is
/// no packet for another reason stays none.
pub fn mended(bytes: &[u8]) -> Vec<u8> {
    let mut bytes = bytes.to_vec();
    mend_ip(&mut bytes);
    let Ok(packet) = Packet::parse(bytes.clone()) else { return bytes };
    let whole = mend_transport(&packet);
    whole.unwrap_or(bytes)
}

fn mend_ip(bytes: &mut [u8]) {
    let length = bytes.len();
    match bytes.first().map(|first| first >> 4) {
        Some(4) if length >= 20 => {
            let header = (usize::from(bytes[0] & 0x0F) * 4).clamp(20, length);
            let total = u16::try_from(length).unwrap_or(u16::MAX);
            if u16::from_be_bytes([bytes[2], bytes[3]]) > total {
                bytes[2..4].copy_from_slice(&total.to_be_bytes());
            }
            bytes[10..12].fill(0);
            let sum = checksum::checksum(&bytes[..header]);
            bytes[10..12].copy_from_slice(&sum.to_be_bytes());
        }
        Some(6) if length >= 40 => {
            let payload = u16::try_from(length - 40).unwrap_or(u16::MAX);
            if u16::from_be_bytes([bytes[4], bytes[5]]) > payload {
                bytes[4..6].copy_from_slice(&payload.to_be_bytes());
            }
        }
        _ => {}
    }
}

/// The packet with its transport checksum computed anew; `None` where it has none, or not all that it covers is there.
fn mend_transport(packet: &Packet) -> Option<Vec<u8>> {
    let part = packet.ip_payload();
    let (at, end, pseudo) = match packet.transport() {
        _ if packet.is_fragment() => return None,
        Transport::Udp { .. } => (6, usize::from(u16::from_be_bytes([part[4], part[5]])), true),
        Transport::Tcp { .. } => (16, part.len(), true),
        Transport::Echo { .. } | Transport::Query { .. } | Transport::IcmpError(_) | Transport::OtherIcmp { .. } => {
            (2, part.len(), packet.is_ipv6())
        }
        Transport::LaterFragment | Transport::Other => return None,
    };
    let begin = packet.bytes().len() - part.len();
    let mut bytes = packet.bytes().to_vec();
    let part = &mut bytes[begin..begin + end];
    part[at..at + 2].fill(0);
    let sum = match pseudo {
        true => checksum::transport_checksum(packet.source(), packet.destination(), packet.protocol_number(), part),
        false => checksum::checksum(part),
    };
    // RFC 768: a computed 0 is sent as all ones.
    let sum = if at == 6 && sum == 0 { 0xFFFF } else { sum };
    part[at..at + 2].copy_from_slice(&sum.to_be_bytes());
    let again = Packet::parse(bytes.clone());
    assert!(again.is_ok_and(|packet| packet.transport_checksum_ok()), "{bytes:02x?}");
    Some(bytes)
}

/// What an edit in place never does: break the packet, change its length or its kind, mend or spoil a checksum.
pub fn assert_sound(before: &Packet, after: &Packet) {
    let again = Packet::parse(after.bytes().to_vec());
    assert_eq!(again.as_ref(), Ok(after), "an edited packet parses to itself");
    assert_eq!(before.bytes().len(), after.bytes().len());
    assert_eq!(before.protocol_number(), after.protocol_number());
    assert_eq!(before.protocol(), after.protocol());
    assert_eq!(before.fragment().map(|place| place.offset_bytes), after.fragment().map(|place| place.offset_bytes));
    // Nothing but zeros, the checksum among them, is the one wrong checksum that cannot be told from a right one.
    if before.ip_payload().iter().any(|byte| *byte != 0) {
        assert_eq!(before.transport_checksum_ok(), after.transport_checksum_ok(), "{before:02x?} {after:02x?}");
    }
    assert_eq!(before.quoted().map(|quote| quote.protocol), after.quoted().map(|quote| quote.protocol));
}

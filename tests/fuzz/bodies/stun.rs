//! A datagram as a STUN message: read by every accessor, written again, and answered by servers of one and two
//! addresses.
//!
//! The input is the datagram. It is taken as it is, and once more with the length and cookie of a message.

use std::hint::black_box;
use std::net::{IpAddr, SocketAddr};

use natbox::probes::stun::codec::{self, Message, Writer, attribute};
use natbox::probes::stun::server::{ServerConfig, respond};

/// Runs one input.
pub fn run(data: &[u8]) {
    datagram(data);
    let mut framed = data.to_vec();
    framed.resize(framed.len().max(20).next_multiple_of(4).min(65_532), 0);
    let length = (framed.len() - 20) as u16;
    framed[0] &= 0x3F;
    framed[2..4].copy_from_slice(&length.to_be_bytes());
    framed[4..8].copy_from_slice(&[0x21, 0x12, 0xA4, 0x42]);
    datagram(&framed);
}

fn datagram(data: &[u8]) {
    let parsed = codec::parse(data);
    if let Some(message) = &parsed {
        read(message);
        rewrite(message);
    }
    let answered = [false, true].map(|ipv6| answer(data, ipv6, false) | answer(data, ipv6, true));
    let is_message = codec::parse(&with_cookie(data)).is_some();
    assert!(is_message || answered == [false; 2], "what is no message is not answered");
}

fn read(message: &Message<'_>) {
    black_box((codec::mapped_address(message), codec::error_code(message), codec::username(message)));
    black_box((codec::realm(message), codec::nonce(message), codec::change_request(message)));
    black_box((codec::response_port(message), codec::address(message, attribute::OTHER_ADDRESS)));
    for (_, raw) in message.iter_attributes() {
        let kind = raw.header.get_type();
        black_box((codec::text(message, kind), codec::address(message, kind), codec::xor_address(message, kind)));
    }
    let key = codec::short_term_key("secret");
    black_box(message.validate_integrity_with_key(&key).is_ok());
    black_box(message.to_string());
}

/// The same attributes, written by our writer, are read again as they were.
fn rewrite(message: &Message<'_>) {
    let closing = [attribute::MESSAGE_INTEGRITY, attribute::MESSAGE_INTEGRITY_SHA256, attribute::FINGERPRINT];
    let mut writer = Writer::new(message.class(), message.method(), message.transaction_id());
    let mut written = Vec::new();
    for (_, raw) in message.iter_attributes() {
        let kind = raw.header.get_type();
        if !closing.contains(&kind) {
            writer = writer.raw(kind, &raw.value);
            written.push((kind, raw.value.to_vec()));
        }
    }
    let key = codec::short_term_key("secret");
    let bytes = writer.integrity(&key).fingerprint().finish();
    if bytes.len() > 65_535 {
        return;
    }
    let Some(again) = codec::parse(&bytes) else { panic!("{bytes:02x?} is not read again") };
    let read = again.iter_attributes().map(|(_, raw)| (raw.header.get_type(), raw.value.to_vec()));
    let read: Vec<_> = read.filter(|(kind, _)| !closing.contains(kind)).collect();
    assert_eq!(read, written);
    assert_eq!((again.class(), again.method()), (message.class(), message.method()));
    assert_eq!(again.transaction_id(), message.transaction_id());
    assert!(again.validate_integrity_with_key(&key).is_ok());
}

/// The transaction id of RFC 3489; newer ones have the cookie in its first four bytes.
const ID: std::ops::Range<usize> = 4..20;

/// A message as newer clients and servers write it, whoever wrote this one.
fn with_cookie(data: &[u8]) -> Vec<u8> {
    let mut data = data.to_vec();
    if let Some(cookie) = data.get_mut(4..8) {
        cookie.copy_from_slice(&[0x21, 0x12, 0xA4, 0x42]);
    }
    data
}

/// Whether a server answers; if it does, with a message of the same transaction.
fn answer(data: &[u8], ipv6: bool, two: bool) -> bool {
    let at = |host: u16| -> IpAddr {
        if ipv6 { [0x2001, 0xdb8, 0, 0, 0, 0, 0, host].into() } else { [198, 18, 0, host as u8].into() }
    };
    let mut config = ServerConfig::new(at(1), two.then(|| at(2)));
    config.software = two.then(|| "natbox".to_owned());
    let mut answered = false;
    for local in config.endpoints() {
        let Some(reply) = respond(&config, data, SocketAddr::new(at(9), 5000), local) else { continue };
        assert!(config.endpoints().contains(&reply.from), "{reply:?}");
        assert_eq!(reply.to.ip(), at(9), "an answer goes to whoever asked");
        assert!(reply.to.port() != 0);
        assert!(reply.datagram.len() <= data.len() + 120, "no amplifier: {} for {}", reply.datagram.len(), data.len());
        let [request, response] = [data, &reply.datagram].map(with_cookie);
        let (Some(_), Some(response)) = (codec::parse(&request), codec::parse(&response)) else {
            panic!("{data:02x?} was answered with {reply:?}")
        };
        assert_eq!(reply.datagram[ID], data[ID]);
        assert!(response.is_response());
        read(&response);
        answered = true;
    }
    answered
}

use proptest::prelude::*;

use super::*;
use crate::stun::client::BindingRequest;

const CLIENT: &str = "203.0.113.9:40000";

fn two() -> ServerConfig {
    ServerConfig::new("198.18.0.1".parse().unwrap(), Some("198.18.0.2".parse().unwrap()))
}

fn one() -> ServerConfig {
    ServerConfig::new("198.18.0.1".parse().unwrap(), None)
}

fn ask(config: &ServerConfig, request: BindingRequest, local: &str) -> Reply {
    let datagram = request.to_bytes(7.into());
    respond(config, &datagram, CLIENT.parse().unwrap(), local.parse().unwrap()).unwrap()
}

fn code(reply: &Reply) -> Option<u16> {
    codec::error_code(&codec::parse(&reply.datagram).unwrap()).map(|(code, _)| code)
}

#[test]
fn rfc5780_table_1_decides_where_the_answer_comes_from() {
    for (local, other) in [
        ("198.18.0.1:3478", "198.18.0.2:3479"),
        ("198.18.0.1:3479", "198.18.0.2:3478"),
        ("198.18.0.2:3478", "198.18.0.1:3479"),
        ("198.18.0.2:3479", "198.18.0.1:3478"),
    ] {
        let (here, there): (SocketAddr, SocketAddr) = (local.parse().unwrap(), other.parse().unwrap());
        for (address, port) in [(false, false), (false, true), (true, false), (true, true)] {
            let change = ChangeRequest { address, port };
            let reply = ask(&two(), BindingRequest { change, ..Default::default() }, local);
            let expected = SocketAddr::new(
                if address { there.ip() } else { here.ip() },
                if port { there.port() } else { here.port() },
            );
            assert_eq!((reply.from, reply.to), (expected, CLIENT.parse().unwrap()));
            let message = codec::parse(&reply.datagram).unwrap();
            assert_eq!(codec::address(&message, attribute::OTHER_ADDRESS), Some(there));
            assert_eq!(codec::address(&message, attribute::RESPONSE_ORIGIN), Some(expected));
            assert_eq!(codec::address(&message, attribute::MAPPED_ADDRESS), Some(CLIENT.parse().unwrap()));
            assert_eq!(codec::mapped_address(&message), Some(CLIENT.parse().unwrap()));
        }
    }
}

/// Only there, where coturn's client is misled by it (see the module).
#[test]
fn a_quiet_alternate_leaves_other_address_out_of_its_plain_answers() {
    let config = ServerConfig { quiet_alternate: true, ..two() };
    for (local, change, tells) in [
        ("198.18.0.1:3478", false, true),
        ("198.18.0.1:3479", false, true),
        ("198.18.0.1:3478", true, true),
        ("198.18.0.2:3478", false, false),
        ("198.18.0.2:3479", false, false),
        ("198.18.0.2:3478", true, true),
    ] {
        let change = ChangeRequest { address: false, port: change };
        let reply = ask(&config, BindingRequest { change, ..Default::default() }, local);
        let other = codec::address(&codec::parse(&reply.datagram).unwrap(), attribute::OTHER_ADDRESS);
        assert_eq!(other.is_some(), tells, "{local} {change:?}");
    }
}

#[test]
fn a_server_with_one_address_refuses_change_request_and_tells_of_no_other() {
    let plain = ask(&one(), BindingRequest::default(), "198.18.0.1:3478");
    let message = codec::parse(&plain.datagram).unwrap();
    assert_eq!(codec::address(&message, attribute::OTHER_ADDRESS), None);
    let change = ChangeRequest { address: false, port: true };
    let refused = ask(&one(), BindingRequest { change, ..Default::default() }, "198.18.0.1:3478");
    assert_eq!(code(&refused), Some(420));
    let message = codec::parse(&refused.datagram).unwrap();
    assert_eq!(&*message.raw_attribute(attribute::UNKNOWN_ATTRIBUTES).unwrap().value, [0, 3]);
}

#[test]
fn response_port_redirects_the_answer_to_another_port_of_the_same_address() {
    let request = BindingRequest { response_port: Some(5000), ..Default::default() };
    assert_eq!(ask(&two(), request, "198.18.0.1:3478").to, "203.0.113.9:5000".parse().unwrap());
    let zero = BindingRequest { response_port: Some(0), ..Default::default() };
    let refused = ask(&two(), zero, "198.18.0.1:3478");
    assert_eq!((code(&refused), refused.to), (Some(400), CLIENT.parse().unwrap()));
}

#[test]
fn padding_is_echoed_in_its_own_length_and_never_with_response_port() {
    for length in [0, 1, 1300] {
        let request = BindingRequest { padding_bytes: Some(length), ..Default::default() };
        let reply = ask(&two(), request, "198.18.0.1:3478");
        let message = codec::parse(&reply.datagram).unwrap();
        assert_eq!(message.raw_attribute(attribute::PADDING).unwrap().value.len(), usize::from(length));
    }
    let both = BindingRequest { padding_bytes: Some(8), response_port: Some(5000), ..Default::default() };
    let refused = ask(&two(), both, "198.18.0.1:3478");
    assert_eq!((code(&refused), refused.to), (Some(400), CLIENT.parse().unwrap()));
}

#[test]
fn unknown_required_attributes_are_refused_and_unknown_optional_ones_ignored() {
    let (source, local) = (CLIENT.parse().unwrap(), "198.18.0.1:3478".parse().unwrap());
    let required = Writer::request(BINDING, 1.into()).raw(AttributeType::new(0x7FF0), &[]).finish();
    assert_eq!(code(&respond(&two(), &required, source, local).unwrap()), Some(420));
    let optional = Writer::request(BINDING, 1.into()).raw(AttributeType::new(0xFFF0), &[1]).finish();
    assert_eq!(code(&respond(&two(), &optional, source, local).unwrap()), None);
}

#[test]
fn malformed_attributes_are_a_bad_request() {
    let (source, local) = (CLIENT.parse().unwrap(), "198.18.0.1:3478".parse().unwrap());
    for kind in [attribute::CHANGE_REQUEST, attribute::RESPONSE_PORT] {
        let request = Writer::request(BINDING, 1.into()).raw(kind, &[1, 2, 3, 4, 5]).finish();
        assert_eq!(code(&respond(&two(), &request, source, local).unwrap()), Some(400));
    }
}

#[test]
fn only_binding_requests_are_answered() {
    let (source, local) = (CLIENT.parse().unwrap(), "198.18.0.1:3478".parse().unwrap());
    for message in [
        Writer::indication(BINDING, 1.into()),
        Writer::new(MessageClass::Success, BINDING, 1.into()),
        Writer::request(codec::Method::new(3), 1.into()),
    ] {
        assert_eq!(respond(&two(), &message.finish(), source, local), None);
    }
}

#[test]
fn a_request_with_a_fingerprint_is_answered_with_one() {
    let (source, local) = (CLIENT.parse().unwrap(), "[2001:db8::1]:3478".parse().unwrap());
    let config = ServerConfig::new("2001:db8::1".parse().unwrap(), None);
    let request = Writer::request(BINDING, 1.into()).fingerprint().finish();
    let reply = respond(&config, &request, source, local).unwrap();
    assert!(codec::parse(&reply.datagram).unwrap().has_attribute(attribute::FINGERPRINT));
}

fn with_cookie(mut datagram: Vec<u8>) -> Vec<u8> {
    datagram[4..8].copy_from_slice(&[0x21, 0x12, 0xA4, 0x42]);
    datagram
}

/// A request as RFC 3489 has it, with 16 bytes of transaction id.
fn classic(attributes: &[u8]) -> Vec<u8> {
    let mut datagram = vec![0, 1, 0, attributes.len() as u8];
    datagram.extend(1..=16);
    datagram.extend(attributes);
    datagram
}

#[test]
fn a_client_of_rfc_3489_is_answered_with_the_attributes_that_it_knows() {
    let (source, local): (SocketAddr, SocketAddr) = (CLIENT.parse().unwrap(), "198.18.0.1:3478".parse().unwrap());
    for (flags, from) in
        [(0, "198.18.0.1:3478"), (2, "198.18.0.1:3479"), (4, "198.18.0.2:3478"), (6, "198.18.0.2:3479")]
    {
        let request = classic(&[0, 3, 0, 4, 0, 0, 0, flags]);
        let reply = respond(&two(), &request, source, local).unwrap();
        assert_eq!((reply.from, reply.to), (from.parse().unwrap(), source));
        assert_eq!(reply.datagram[4..20], request[4..20], "the id comes back, all 16 bytes of it");
        let datagram = with_cookie(reply.datagram);
        let message = codec::parse(&datagram).unwrap();
        let kinds: Vec<u16> = message.iter_attributes().map(|(_, raw)| raw.header.get_type().value()).collect();
        assert_eq!(kinds, [1, 4, 5], "XOR-MAPPED-ADDRESS is not among them");
        assert_eq!(codec::address(&message, attribute::MAPPED_ADDRESS), Some(source));
        assert_eq!(codec::address(&message, attribute::SOURCE_ADDRESS), Some(reply.from));
        let other = Some("198.18.0.2:3479".parse().unwrap());
        assert_eq!(codec::address(&message, attribute::CHANGED_ADDRESS), other);
    }
}

#[test]
fn a_client_of_rfc_3489_is_refused_with_values_that_fill_four_bytes() {
    let (source, local): (SocketAddr, SocketAddr) = (CLIENT.parse().unwrap(), "198.18.0.1:3478".parse().unwrap());
    let elsewhere = [0, 2, 0, 8, 0, 1, 0x13, 0x88, 192, 0, 2, 1];
    for (config, attributes, code, list) in [
        (two(), &elsewhere[..], 420, Some(vec![0, 2, 0, 2])),
        (one(), &[0, 3, 0, 4, 0, 0, 0, 2][..], 420, Some(vec![0, 3, 0, 3])),
        (two(), &[0, 3, 0, 0][..], 400, None),
    ] {
        let reply = respond(&config, &classic(attributes), source, local).unwrap();
        assert_eq!((reply.from, reply.to), (local, source), "nobody else hears of it");
        let datagram = with_cookie(reply.datagram);
        let message = codec::parse(&datagram).unwrap();
        assert_eq!(codec::error_code(&message).map(|(code, _)| code), Some(code));
        assert_eq!(message.raw_attribute(attribute::UNKNOWN_ATTRIBUTES).map(|raw| raw.value.to_vec()), list);
        assert!(message.iter_attributes().all(|(_, raw)| raw.value.len() % 4 == 0));
    }
    let alone = respond(&one(), &classic(&[0, 3, 0, 4, 0, 0, 0, 0]), source, local).unwrap();
    assert_eq!(alone.from, local, "a change of nothing needs no other address");
}

proptest! {
    #[test]
    fn no_datagram_makes_the_server_panic_or_amplify(
        kinds in proptest::collection::vec((prop_oneof![0u16..0x30, 0x8000u16..0x8030], 0usize..40), 0..6),
        noise in proptest::collection::vec(any::<u8>(), 0..64),
        damage in any::<Option<(usize, u8)>>(),
    ) {
        let mut request = Writer::request(BINDING, 1.into());
        for (kind, length) in kinds {
            if !matches!(kind, 0x8 | 0x1C | 0x8028) {
                request = request.raw(AttributeType::new(kind), &noise[..length.min(noise.len())]);
            }
        }
        let mut datagram = request.finish();
        if let Some((at, value)) = damage {
            let at = at % datagram.len();
            datagram[at] = value;
        }
        let local = "198.18.0.1:3478".parse().unwrap();
        for datagram in [&datagram, &noise] {
            if let Some(reply) = respond(&two(), datagram, CLIENT.parse().unwrap(), local) {
                // Four addresses and a header, the request's own padding, or a list of its own attributes.
                prop_assert!(reply.datagram.len() <= datagram.len() + 100);
                prop_assert_eq!(&reply.datagram[4..20], &datagram[4..20]);
                prop_assert!(codec::parse(&with_cookie(reply.datagram)).is_some());
            }
        }
    }
}

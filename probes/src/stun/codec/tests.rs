use std::net::SocketAddr;

use proptest::prelude::*;

use super::*;

/// RFC 5769 section 2.1: a request with short-term credentials.
const REQUEST: &str = "000100582112a442b7e7a701bc34d686fa87dfae802200105354554e207465737420636c69656e74002400046e0001ff\
    80290008932ff9b151263b36000600096576746a3a68367659202020000800149aeaa70cbfd8cb56781ef2b5b2d3f249c1b571a2\
    80280004e57a3bcf";
/// RFC 5769 section 2.2: its IPv4 response.
const RESPONSE_IPV4: &str = "0101003c2112a442b7e7a701bc34d686fa87dfae8022000b7465737420766563746f722000200008\
    0001a147e112a643000800142b91f599fd9e90c38c7489f92af9ba53f06be7d780280004c07d4c96";
/// RFC 5769 section 2.3: its IPv6 response.
const RESPONSE_IPV6: &str = "010100482112a442b7e7a701bc34d686fa87dfae8022000b7465737420766563746f722000200014\
    0002a1470113a9faa5d3f179bc25f4b5bed2b9d900080014a382954e4be67bf11784c97c8292c275bfe3ed4180280004c8fb0b4c";
/// RFC 5769 section 2.4: a request with long-term credentials.
const REQUEST_LONG_TERM: &str = "000100602112a44278ad3433c6ad72c029da412e00060012e3839ee38388e383aae38383e382afe3\
    82b900000015001c662f2f3439396b39353464364f4c33346f4c394653547679363473410014000b6578616d706c652e6f726700\
    00080014f67024656dd64a3e02b8e0712e85c9a28ca89666";
/// RFC 8489 appendix B.1: a request with long-term credentials, MESSAGE-INTEGRITY-SHA256 and USERHASH.
const REQUEST_SHA256: &str = "000100902112a44278ad3433c6ad72c029da412e001e00204a3cf38fef6992bda952c6780417da0f24819415\
    569e60b205c46e41407f1704001500296f624d61744a6f733241414143662f2f3439396b39353464364f4c33346f4c394653547679\
    363473410000000014000b6578616d706c652e6f726700001d000400020000001c0020b5c7bf005b6c52a21c51c5e892f81924136296\
    cb927c43149309278cc6518e65";

const PASSWORD: &str = "VOkJxbRl1RmTxUk/WvJxBt";

fn bytes(hex: &str) -> Vec<u8> {
    (0..hex.len()).step_by(2).map(|at| u8::from_str_radix(&hex[at..at + 2], 16).unwrap()).collect()
}

#[test]
fn rfc5769_request_has_a_right_integrity_and_fingerprint() {
    let datagram = bytes(REQUEST);
    let message = parse(&datagram).unwrap();
    assert!(message.has_class(MessageClass::Request) && message.has_method(BINDING));
    assert_eq!(username(&message).as_deref(), Some("evtj:h6vY"));
    assert!(message.validate_integrity_with_key(&short_term_key(PASSWORD)).is_ok());
    assert!(message.validate_integrity_with_key(&short_term_key("wrong")).is_err());
}

#[test]
fn rfc5769_responses_tell_the_mapped_address() {
    for (hex, expected) in
        [(RESPONSE_IPV4, "192.0.2.1:32853"), (RESPONSE_IPV6, "[2001:db8:1234:5678:11:2233:4455:6677]:32853")]
    {
        let datagram = bytes(hex);
        let message = parse(&datagram).unwrap();
        assert_eq!(mapped_address(&message), Some(expected.parse().unwrap()));
        assert!(message.validate_integrity_with_key(&short_term_key(PASSWORD)).is_ok());
    }
}

#[test]
fn rfc5769_long_term_request_is_authentic_with_the_prepared_password() {
    let datagram = bytes(REQUEST_LONG_TERM);
    let message = parse(&datagram).unwrap();
    let user = username(&message).unwrap();
    assert_eq!(realm(&message).as_deref(), Some("example.org"));
    let key = long_term_key(&user, "example.org", "TheMatrIX");
    assert!(message.validate_integrity_with_key(&key).is_ok());
}

#[test]
fn rfc8489_appendix_b_is_authentic_with_sha256() {
    let datagram = bytes(REQUEST_SHA256);
    let message = parse(&datagram).unwrap();
    let credentials = LongTermKeyCredentials::new("マトリックス".into(), "TheMatrIX".into(), "example.org".into());
    let key = credentials.make_key(IntegrityAlgorithm::Sha256);
    assert!(matches!(message.validate_integrity_with_key(&key), Ok(IntegrityAlgorithm::Sha256)));
}

#[test]
fn the_long_term_key_is_the_md5_of_user_realm_and_password() {
    let key = bytes("8493fbc53ba582fb4c044c456bdc40eb");
    assert!(format!("{:?}", long_term_key("user", "realm", "pass")).contains(&format!("{key:?}")));
}

#[test]
fn a_written_response_has_the_bytes_of_rfc5769() {
    let id = parse(&bytes(REQUEST)).unwrap().transaction_id();
    let written = Writer::new(MessageClass::Success, BINDING, id)
        .text(attribute::SOFTWARE, "test vector")
        .xor_address(attribute::XOR_MAPPED_ADDRESS, "192.0.2.1:32853".parse().unwrap())
        .integrity(&short_term_key(PASSWORD))
        .fingerprint()
        .finish();
    // The vector pads with a space, the writer with a zero, as RFC 8489 asks for: so integrity and fingerprint differ.
    let vector = bytes(RESPONSE_IPV4);
    assert_eq!(written.len(), vector.len());
    assert_eq!(written[..35], vector[..35]);
    assert_eq!(written[36..52], vector[36..52]);
    assert!(parse(&written).unwrap().validate_integrity_with_key(&short_term_key(PASSWORD)).is_ok());
}

#[test]
fn an_error_lists_the_unknown_attributes() {
    let datagram = bytes(REQUEST);
    let request = parse(&datagram).unwrap();
    let unknown = [AttributeType::new(0x0003), AttributeType::new(0x7F00)];
    let answer = Writer::unknown_attributes(&request, &unknown).fingerprint().finish();
    let answer = parse(&answer).unwrap();
    assert_eq!(answer.transaction_id(), request.transaction_id());
    assert_eq!(error_code(&answer), Some((420, "Unknown Attribute".into())));
    assert_eq!(&*answer.raw_attribute(attribute::UNKNOWN_ATTRIBUTES).unwrap().value, [0, 3, 0x7F, 0]);
}

#[test]
fn every_truncation_is_refused_and_no_flipped_bit_passes_for_authentic() {
    let datagram = bytes(REQUEST);
    for length in 0..datagram.len() {
        assert!(parse(&datagram[..length]).is_none(), "{length} bytes were taken for a message");
    }
    for bit in 0..datagram.len() * 8 {
        let mut damaged = datagram.clone();
        damaged[bit / 8] ^= 1 << (bit % 8);
        // Damage to lengths or types may hide FINGERPRINT; what it hides from, MESSAGE-INTEGRITY still sees, but for
        // the FINGERPRINT attribute itself, which stands behind it.
        let key = short_term_key(PASSWORD);
        let missed = parse(&damaged).is_some_and(|message| message.validate_integrity_with_key(&key).is_ok());
        assert!(!missed || bit / 8 >= 100, "flipped bit {bit} was not noticed");
    }
}

#[test]
fn trailing_bytes_are_not_part_of_a_message() {
    let mut datagram = bytes(REQUEST);
    datagram.extend([0; 4]);
    assert!(parse(&datagram).is_none());
}

fn any_address() -> impl Strategy<Value = SocketAddr> {
    (any::<std::net::IpAddr>(), any::<u16>()).prop_map(SocketAddr::from)
}

proptest! {
    #[test]
    fn what_is_written_is_read(id: u128, mapped in any_address(), other in any_address(), port: u16, address: bool) {
        let change = ChangeRequest { address, port: !address };
        let datagram = Writer::request(BINDING, id.into())
            .xor_address(attribute::XOR_MAPPED_ADDRESS, mapped)
            .address(attribute::OTHER_ADDRESS, other)
            .change_request(change)
            .response_port(port)
            .fingerprint()
            .finish();
        let message = parse(&datagram).unwrap();
        prop_assert_eq!(mapped_address(&message), Some(mapped));
        prop_assert_eq!(super::address(&message, attribute::OTHER_ADDRESS), Some(other));
        prop_assert_eq!(change_request(&message), Some(Ok(change)));
        prop_assert_eq!(response_port(&message), Some(Ok(port)));
    }

    #[test]
    fn no_datagram_makes_the_reader_panic(start in 0usize..4, tail in proptest::collection::vec(any::<u8>(), 0..120)) {
        let mut datagram = bytes([REQUEST, RESPONSE_IPV6, REQUEST_LONG_TERM, REQUEST_SHA256][start]);
        datagram.truncate(20);
        datagram.extend(&tail);
        datagram[2..4].copy_from_slice(&(tail.len() as u16).to_be_bytes());
        if let Some(message) = parse(&datagram) {
            let _ = (mapped_address(&message), error_code(&message), change_request(&message), response_port(&message));
            let _ = (username(&message), realm(&message), nonce(&message));
            let _ = message.validate_integrity_with_key(&short_term_key(PASSWORD));
        }
    }
}

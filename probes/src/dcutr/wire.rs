//! The bytes of DCUtR: a length as unsigned varint, then protobuf (libp2p/specs, relay/DCUtR.md).
//!
//! ```text
//! message HolePunch { required Type type = 1 (CONNECT 100, SYNC 300); repeated bytes ObsAddrs = 2; }
//! multiaddr   ip4 (4), 4 bytes | ip6 (41), 16 bytes, then: tcp (6), port | udp (273), port, quic-v1 (461)
//! ```
//!
//! Fields and protocols that are not known are passed over: whoever speaks a later version is understood.

use std::net::{IpAddr, SocketAddr};

use crate::path::Transport;

/// The most addresses of a message that are read.
const MOST_ADDRESSES: usize = 16;
const IP4: u64 = 4;
const TCP: u64 = 6;
const IP6: u64 = 41;
const UDP: u64 = 273;
const QUIC_V1: u64 = 461;

/// Which message it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    Connect = 100,
    Sync = 300,
}

/// An address: TCP, or QUIC over UDP.
pub(super) type Address = (Transport, SocketAddr);

#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct HolePunch {
    pub(super) kind: Kind,
    pub(super) addresses: Vec<Address>,
}

impl HolePunch {
    pub(super) fn to_bytes(&self) -> Vec<u8> {
        let mut body = vec![1 << 3];
        put_varint(&mut body, self.kind as u64);
        for address in self.addresses.iter().take(MOST_ADDRESSES) {
            let address = multiaddr(*address);
            body.push(2 << 3 | 2);
            put_varint(&mut body, address.len() as u64);
            body.extend(address);
        }
        let mut out = Vec::new();
        put_varint(&mut out, body.len() as u64);
        out.extend(body);
        out
    }

    pub(super) fn from_bytes(mut bytes: &[u8]) -> Option<HolePunch> {
        let length = take_varint(&mut bytes)?;
        if u64::try_from(bytes.len()).ok()? != length {
            return None;
        }
        let (mut kind, mut addresses) = (None, Vec::new());
        while !bytes.is_empty() {
            match take_varint(&mut bytes)? {
                0x08 => {
                    kind = Some(match take_varint(&mut bytes)? {
                        100 => Kind::Connect,
                        300 => Kind::Sync,
                        _ => return None,
                    });
                }
                0x12 => {
                    let address = take_bytes(&mut bytes)?;
                    addresses.extend(endpoint(address).filter(|_| addresses.len() < MOST_ADDRESSES));
                }
                other => skip(&mut bytes, other & 7)?,
            }
        }
        Some(HolePunch { kind: kind?, addresses })
    }
}

fn multiaddr((transport, endpoint): Address) -> Vec<u8> {
    let mut out = Vec::new();
    match endpoint.ip() {
        IpAddr::V4(address) => {
            put_varint(&mut out, IP4);
            out.extend(address.octets());
        }
        IpAddr::V6(address) => {
            put_varint(&mut out, IP6);
            out.extend(address.octets());
        }
    }
    put_varint(&mut out, if transport == Transport::Tcp { TCP } else { UDP });
    out.extend(endpoint.port().to_be_bytes());
    if transport == Transport::Udp {
        put_varint(&mut out, QUIC_V1);
    }
    out
}

fn endpoint(mut bytes: &[u8]) -> Option<Address> {
    let address: IpAddr = match take_varint(&mut bytes)? {
        IP4 => take_array::<4>(&mut bytes)?.into(),
        IP6 => take_array::<16>(&mut bytes)?.into(),
        _ => return None,
    };
    let transport = take_varint(&mut bytes)?;
    let endpoint = SocketAddr::new(address, u16::from_be_bytes(take_array(&mut bytes)?));
    match transport {
        TCP if bytes.is_empty() => Some((Transport::Tcp, endpoint)),
        UDP if take_varint(&mut bytes)? == QUIC_V1 && bytes.is_empty() => Some((Transport::Udp, endpoint)),
        _ => None,
    }
}

fn put_varint(out: &mut Vec<u8>, mut value: u64) {
    while value >= 0x80 {
        out.push(value as u8 | 0x80);
        value >>= 7;
    }
    out.push(value as u8);
}

fn take_varint(bytes: &mut &[u8]) -> Option<u64> {
    let mut value = 0;
    // Nine bytes at most (multiformats/unsigned-varint).
    for shift in (0..63).step_by(7) {
        let (byte, rest) = bytes.split_first()?;
        *bytes = rest;
        value |= u64::from(byte & 0x7F) << shift;
        if byte & 0x80 == 0 {
            return Some(value);
        }
    }
    None
}

fn take_bytes<'a>(bytes: &mut &'a [u8]) -> Option<&'a [u8]> {
    let length = usize::try_from(take_varint(bytes)?).ok()?;
    let (taken, rest) = bytes.split_at_checked(length)?;
    *bytes = rest;
    Some(taken)
}

fn take_array<const N: usize>(bytes: &mut &[u8]) -> Option<[u8; N]> {
    let (taken, rest) = bytes.split_first_chunk()?;
    *bytes = rest;
    Some(*taken)
}

/// Passes over a field of this wire type.
fn skip(bytes: &mut &[u8], wire_type: u64) -> Option<()> {
    match wire_type {
        0 => take_varint(bytes).map(drop),
        1 => take_array::<8>(bytes).map(drop),
        2 => take_bytes(bytes).map(drop),
        5 => take_array::<4>(bytes).map(drop),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_message_has_the_bytes_of_the_specification() {
        let addresses = vec![
            (Transport::Tcp, "192.0.2.1:4001".parse().unwrap()),
            (Transport::Udp, "192.0.2.1:4001".parse().unwrap()),
        ];
        let bytes = HolePunch { kind: Kind::Connect, addresses }.to_bytes();
        let tcp = [0x04, 192, 0, 2, 1, 0x06, 0x0F, 0xA1];
        let quic = [0x04, 192, 0, 2, 1, 0x91, 0x02, 0x0F, 0xA1, 0xCD, 0x03];
        let expected = [&[25, 0x08, 100, 0x12, 8][..], &tcp, &[0x12, 11], &quic].concat();
        assert_eq!(bytes, expected);
        assert_eq!(HolePunch { kind: Kind::Sync, addresses: vec![] }.to_bytes(), [3, 0x08, 0xAC, 0x02]);
    }

    #[test]
    fn fields_and_addresses_that_are_not_known_are_passed_over() {
        let bytes = [12, 0x08, 0xAC, 0x02, 0x12, 1, 99, 0x18, 5, 0x22, 2, 1, 1];
        assert_eq!(HolePunch::from_bytes(&bytes), Some(HolePunch { kind: Kind::Sync, addresses: vec![] }));
    }

    proptest! {
        #[test]
        fn what_is_written_is_read(sync: bool, list in prop::collection::vec((any::<bool>(), any::<IpAddr>(), any::<u16>()), 0..=16)) {
            let address = |(tcp, ip, port)| {
                (if tcp { Transport::Tcp } else { Transport::Udp }, SocketAddr::new(ip, port))
            };
            let kind = if sync { Kind::Sync } else { Kind::Connect };
            let message = HolePunch { kind, addresses: list.into_iter().map(address).collect() };
            prop_assert_eq!(HolePunch::from_bytes(&message.to_bytes()), Some(message));
        }

        #[test]
        fn nothing_that_comes_panics(bytes: Vec<u8>) {
            let _ = HolePunch::from_bytes(&bytes);
        }
    }
}

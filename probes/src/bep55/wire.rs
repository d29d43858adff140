//! What BitTorrent peers say to each other here: the handshake (BEP 3), extended messages (BEP 10), `ut_holepunch`
//! (BEP 55) and the endpoints of `ut_pex` (BEP 11). Malformed bytes end a connection; nothing here panics.
//!
//! ```text
//! handshake      19, "BitTorrent protocol", reserved (8; bit 20 from the right: extended), info-hash (20), peer id (20)
//! extended       length (4), 20, extended id (1; 0: handshake, a bencoded dictionary), payload
//! ut_holepunch   type (1: 0 rendezvous, 1 connect, 2 error), 0 or 1 (IPv4, IPv6), address, port (2), error code (4)
//! ```

use std::collections::BTreeMap;
use std::net::{IpAddr, SocketAddr};

const PROTOCOL: &[u8; 20] = b"\x13BitTorrent protocol";
const HANDSHAKE_BYTES: usize = 68;
const RESERVED: [u8; 8] = [0, 0, 0, 0, 0, 0x10, 0, 0];
const EXTENDED: u8 = 20;
/// The longest message that is read.
const LONGEST_BYTES: usize = 4096;
/// How deep lists and dictionaries may lie in each other.
const DEEPEST: u32 = 8;
/// The most endpoints of a message.
const MOST_ENDPOINTS: usize = 50;

/// The numbers under which this end wants to be sent extended messages.
const HOLEPUNCH: u8 = 1;
const PEX: u8 = 2;
const TALK: u8 = 3;
const OWN: &[u8] = b"d1:md11:natbox_talki3e12:ut_holepunchi1e6:ut_pexi2eee";

pub(super) type InfoHash = [u8; 20];

/// What is no BitTorrent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Malformed;

/// Why a relaying peer does not help.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Refusal {
    NoSuchPeer = 1,
    NotConnected = 2,
    NoSupport = 3,
    NoSelf = 4,
}

/// A message of `ut_holepunch`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Holepunch {
    Rendezvous(SocketAddr),
    Connect(SocketAddr),
    Error(SocketAddr, u32),
}

impl Holepunch {
    pub(super) fn to_bytes(self) -> Vec<u8> {
        let (kind, endpoint, error) = match self {
            Holepunch::Rendezvous(endpoint) => (0, endpoint, 0),
            Holepunch::Connect(endpoint) => (1, endpoint, 0),
            Holepunch::Error(endpoint, error) => (2, endpoint, error),
        };
        let mut out = vec![kind, u8::from(endpoint.is_ipv6())];
        put_endpoint(&mut out, endpoint);
        out.extend(error.to_be_bytes());
        out
    }

    pub(super) fn from_bytes(bytes: &[u8]) -> Option<Holepunch> {
        let (&[kind, version], rest) = bytes.split_first_chunk()?;
        let (endpoint, rest) = rest.split_at_checked(if version == 0 { 6 } else { 18 })?;
        let endpoint = endpoints(endpoint, version != 0).next()?;
        // libtorrent leaves the error code out where there is no error to tell.
        let error = if rest.is_empty() && kind < 2 { 0 } else { u32::from_be_bytes(rest.try_into().ok()?) };
        match (kind, version) {
            (0, 0 | 1) => Some(Holepunch::Rendezvous(endpoint)),
            (1, 0 | 1) => Some(Holepunch::Connect(endpoint)),
            (2, 0 | 1) => Some(Holepunch::Error(endpoint, error)),
            _ => None,
        }
    }
}

/// What a peer has said.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Said {
    Handshake(InfoHash),
    Extended,
    Holepunch(Holepunch),
    Pex(Vec<SocketAddr>),
    Talk(Vec<u8>),
}

/// What is known of the other end of a connection.
#[derive(Debug, Default)]
pub(super) struct Peer {
    pub(super) hash: Option<InfoHash>,
    extended: bool,
    holepunch: Option<u8>,
    pex: Option<u8>,
    talk: Option<u8>,
}

impl Peer {
    pub(super) fn is_extended(&self) -> bool {
        self.extended
    }

    pub(super) fn punches(&self) -> bool {
        self.holepunch.is_some()
    }

    /// Takes whole messages off what has come.
    pub(super) fn read(&mut self, inbox: &mut Vec<u8>) -> Result<Vec<Said>, Malformed> {
        let mut said = Vec::new();
        if self.hash.is_none() {
            let Some(handshake) = inbox.first_chunk::<HANDSHAKE_BYTES>() else { return Ok(said) };
            let hash: InfoHash = handshake[28..48].try_into().map_err(|_| Malformed)?;
            if handshake[..20] != PROTOCOL[..] || handshake[25] & RESERVED[5] == 0 {
                return Err(Malformed);
            }
            inbox.drain(..HANDSHAKE_BYTES);
            self.hash = Some(hash);
            said.push(Said::Handshake(hash));
        }
        while let Some(length) = inbox.first_chunk::<4>() {
            let length = usize::try_from(u32::from_be_bytes(*length)).map_err(|_| Malformed)?;
            if length > LONGEST_BYTES {
                return Err(Malformed);
            }
            let Some(message) = inbox.get(4..4 + length).map(<[u8]>::to_vec) else { break };
            inbox.drain(..4 + length);
            if let [EXTENDED, id, payload @ ..] = &message[..] {
                said.extend(self.extended(*id, payload)?);
            }
        }
        Ok(said)
    }

    fn extended(&mut self, id: u8, payload: &[u8]) -> Result<Option<Said>, Malformed> {
        Ok(match id {
            0 => {
                let Some(Value::Dictionary(top)) = Value::parse(payload) else { return Err(Malformed) };
                if let Some(Value::Dictionary(names)) = top.get(&b"m"[..]) {
                    let number = |name: &[u8]| match names.get(name) {
                        Some(Value::Number(number)) => u8::try_from(*number).ok().filter(|number| *number != 0),
                        _ => None,
                    };
                    self.holepunch = number(b"ut_holepunch");
                    self.pex = number(b"ut_pex");
                    self.talk = number(b"natbox_talk");
                }
                self.extended = true;
                Some(Said::Extended)
            }
            HOLEPUNCH => Holepunch::from_bytes(payload).map(Said::Holepunch),
            PEX => {
                let Some(Value::Dictionary(top)) = Value::parse(payload) else { return Err(Malformed) };
                let list = |name: &[u8], ipv6| match top.get(name) {
                    Some(Value::Bytes(bytes)) => endpoints(bytes, ipv6).collect(),
                    _ => Vec::new(),
                };
                Some(Said::Pex([list(b"added", false), list(b"added6", true)].concat()))
            }
            TALK => Some(Said::Talk(payload.to_vec())),
            _ => None,
        })
    }

    /// The bytes of a message, if the other end takes it.
    pub(super) fn holepunch(&self, message: Holepunch) -> Option<Vec<u8>> {
        self.holepunch.map(|id| extended(id, &message.to_bytes()))
    }

    pub(super) fn pex(&self, added: &[SocketAddr]) -> Option<Vec<u8>> {
        let compact = |ipv6| {
            let mut out = Vec::new();
            let those = added.iter().filter(|endpoint| endpoint.is_ipv6() == ipv6);
            those.take(MOST_ENDPOINTS).for_each(|endpoint| put_endpoint(&mut out, *endpoint));
            out
        };
        let (v4, v6) = (compact(false), compact(true));
        let text = |bytes: &[u8]| [bytes.len().to_string().as_bytes(), b":", bytes].concat();
        let payload = [&b"d5:added"[..], &text(&v4), b"6:added6", &text(&v6), b"e"].concat();
        self.pex.map(|id| extended(id, &payload))
    }

    pub(super) fn talk(&self, message: &[u8]) -> Option<Vec<u8>> {
        self.talk.map(|id| extended(id, message))
    }
}

/// What an end says first.
pub(super) fn greeting(hash: &InfoHash, id: &[u8; 20]) -> Vec<u8> {
    [&PROTOCOL[..], &RESERVED, hash, id, &extended(0, OWN)].concat()
}

fn extended(id: u8, payload: &[u8]) -> Vec<u8> {
    let length = u32::try_from(payload.len() + 2).unwrap_or(u32::MAX);
    [&length.to_be_bytes()[..], &[EXTENDED, id], payload].concat()
}

fn put_endpoint(out: &mut Vec<u8>, endpoint: SocketAddr) {
    match endpoint.ip() {
        IpAddr::V4(address) => out.extend(address.octets()),
        IpAddr::V6(address) => out.extend(address.octets()),
    }
    out.extend(endpoint.port().to_be_bytes());
}

/// Compact endpoints.
fn endpoints(bytes: &[u8], ipv6: bool) -> impl Iterator<Item = SocketAddr> + '_ {
    bytes.chunks_exact(if ipv6 { 18 } else { 6 }).take(MOST_ENDPOINTS).filter_map(move |bytes| {
        let (address, port) = bytes.split_last_chunk::<2>()?;
        let address: IpAddr = match ipv6 {
            false => <[u8; 4]>::try_from(address).ok()?.into(),
            true => <[u8; 16]>::try_from(address).ok()?.into(),
        };
        Some(SocketAddr::new(address, u16::from_be_bytes(*port)))
    })
}

/// A bencoded value; of lists only that they are well-formed is of interest.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Value {
    Number(i64),
    Bytes(Vec<u8>),
    List,
    Dictionary(BTreeMap<Vec<u8>, Value>),
}

impl Value {
    fn parse(mut bytes: &[u8]) -> Option<Value> {
        let value = Value::take(&mut bytes, DEEPEST)?;
        bytes.is_empty().then_some(value)
    }

    fn take(bytes: &mut &[u8], deeper: u32) -> Option<Value> {
        let deeper = deeper.checked_sub(1)?;
        let (first, rest) = bytes.split_first()?;
        match first {
            b'i' => {
                *bytes = rest;
                Some(Value::Number(std::str::from_utf8(until(bytes, b'e')?).ok()?.parse().ok()?))
            }
            b'l' => {
                *bytes = rest;
                while *bytes.first()? != b'e' {
                    Value::take(bytes, deeper)?;
                }
                *bytes = &bytes[1..];
                Some(Value::List)
            }
            b'd' => {
                *bytes = rest;
                let mut entries = BTreeMap::new();
                while *bytes.first()? != b'e' {
                    let Value::Bytes(key) = Value::take(bytes, deeper)? else { return None };
                    entries.insert(key, Value::take(bytes, deeper)?);
                }
                *bytes = &bytes[1..];
                Some(Value::Dictionary(entries))
            }
            b'0'..=b'9' => {
                let length: usize = std::str::from_utf8(until(bytes, b':')?).ok()?.parse().ok()?;
                let (taken, rest) = bytes.split_at_checked(length)?;
                *bytes = rest;
                Some(Value::Bytes(taken.to_vec()))
            }
            _ => None,
        }
    }
}

/// What stands before `end`, which is taken too.
fn until<'a>(bytes: &mut &'a [u8], end: u8) -> Option<&'a [u8]> {
    let at = bytes.iter().position(|byte| *byte == end)?;
    let taken = &bytes[..at];
    *bytes = &bytes[at + 1..];
    Some(taken)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn messages_of_ut_holepunch_have_the_bytes_of_bep_55() {
        let at: SocketAddr = "192.0.2.1:6881".parse().unwrap();
        let cases = [
            (Holepunch::Rendezvous(at), vec![0, 0, 192, 0, 2, 1, 0x1A, 0xE1, 0, 0, 0, 0]),
            (Holepunch::Connect(at), vec![1, 0, 192, 0, 2, 1, 0x1A, 0xE1, 0, 0, 0, 0]),
            (Holepunch::Error(at, 2), vec![2, 0, 192, 0, 2, 1, 0x1A, 0xE1, 0, 0, 0, 2]),
        ];
        for (message, bytes) in cases {
            assert_eq!(message.to_bytes(), bytes);
            assert_eq!(Holepunch::from_bytes(&bytes), Some(message));
        }
        let without = |kind| Holepunch::from_bytes(&[kind, 0, 192, 0, 2, 1, 0x1A, 0xE1]);
        assert_eq!([0, 1, 2].map(without), [Some(Holepunch::Rendezvous(at)), Some(Holepunch::Connect(at)), None]);
        assert_eq!(Holepunch::Connect("[2001:db8::1]:1".parse().unwrap()).to_bytes().len(), 24);
    }

    #[test]
    fn a_greeting_and_what_follows_are_read_byte_by_byte() {
        let at: Vec<SocketAddr> = vec!["192.0.2.1:6881".parse().unwrap(), "[2001:db8::1]:7".parse().unwrap()];
        let mut writer = Peer::default();
        let mut own = greeting(&[7; 20], &[8; 20]);
        assert_eq!(writer.read(&mut own), Ok(vec![Said::Handshake([7; 20]), Said::Extended]));
        let bytes = [greeting(&[7; 20], &[8; 20]), writer.pex(&at).unwrap(), writer.talk(b"hello").unwrap()].concat();
        let (mut reader, mut inbox, mut said) = (Peer::default(), Vec::new(), Vec::new());
        for byte in bytes {
            inbox.push(byte);
            said.extend(reader.read(&mut inbox).unwrap());
        }
        assert_eq!(said[2..], [Said::Pex(at), Said::Talk(b"hello".to_vec())]);
        assert!(reader.punches() && inbox.is_empty());
    }

    #[test]
    fn what_is_nested_too_deep_is_malformed() {
        assert_eq!(Value::parse(&[&b"l"[..].repeat(9)[..], &b"e".repeat(9)].concat()), None);
        assert_eq!(Value::parse(b"llee"), Some(Value::List));
    }

    proptest! {
        #[test]
        fn nothing_that_comes_panics(mut bytes: Vec<u8>) {
            let _ = Value::parse(&bytes);
            let _ = Holepunch::from_bytes(&bytes);
            let mut shaken = Peer { hash: Some([0; 20]), ..Peer::default() };
            let _ = shaken.read(&mut bytes);
        }
    }
}

//! The messages of PCP (RFC 6887 sections 7, 11.1, 12.1, 13 and 14.1). Knows no state.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use natbox_wire::RemoteFilter;

use crate::portmap::natpmp::codec::{u16_at, u32_at};

/// The version that is spoken here.
pub const VERSION: u8 = 2;
/// No message is longer (section 7).
pub const MOST_BYTES: usize = 1100;
/// The length of a header.
pub const HEADER_BYTES: usize = 24;
/// The bit that says that a message is an answer.
const ANSWER: u8 = 0x80;

/// A mapping's nonce: who does not know it may not touch the mapping.
pub type Nonce = [u8; 12];

/// Result codes (RFC 6887 section 7.4).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Code(pub u8);

macro_rules! codes {
    ($($name:ident = $number:literal, $meaning:literal;)*) => {
        impl Code {
            $(#[doc = $meaning] pub const $name: Code = Code($number);)*

            /// What it means, one line.
            pub fn meaning(self) -> &'static str {
                match self.0 { $($number => $meaning,)* _ => "a code that RFC 6887 does not know" }
            }
        }
    };
}

codes! {
    SUCCESS = 0, "success";
    UNSUPP_VERSION = 1, "unsupported version";
    NOT_AUTHORIZED = 2, "not authorized";
    MALFORMED_REQUEST = 3, "malformed request";
    UNSUPP_OPCODE = 4, "unsupported opcode";
    UNSUPP_OPTION = 5, "unsupported option";
    MALFORMED_OPTION = 6, "malformed option";
    NETWORK_FAILURE = 7, "network failure";
    NO_RESOURCES = 8, "no resources";
    UNSUPP_PROTOCOL = 9, "unsupported protocol";
    USER_EX_QUOTA = 10, "user exceeds quota";
    CANNOT_PROVIDE_EXTERNAL = 11, "cannot provide external address or port";
    ADDRESS_MISMATCH = 12, "address mismatch: a NAT lies between";
    EXCESSIVE_REMOTE_PEERS = 13, "excessive remote peers";
}

/// What is asked for, or was done.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Operation {
    /// Are you there, and since when?
    Announce,
    /// Map an endpoint of mine for everybody.
    Map(Map),
    /// Map an endpoint of mine for one remote.
    Peer {
        /// The mapping.
        map: Map,
        /// The remote.
        remote: SocketAddr,
    },
}

/// The part that MAP and PEER have in common.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Map {
    /// Who may touch it.
    pub nonce: Nonce,
    /// The IP protocol; 0 for all.
    pub protocol: u8,
    /// The port inside; 0 for all.
    pub internal_port: u16,
    /// The endpoint outside: wished for, or given.
    pub external: SocketAddr,
}

/// An option that a message carries.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Extra {
    /// The mapping is for this host (13.1).
    ThirdParty(IpAddr),
    /// Rather no mapping than another external endpoint (13.2).
    PreferFailure,
    /// Only these remotes may send (13.3); `None` clears what was there.
    Filter(Option<RemoteFilter>),
    /// One that is not known here.
    Other(u8),
}

impl Extra {
    /// Its number.
    pub fn code(&self) -> u8 {
        match self {
            Extra::ThirdParty(_) => 1,
            Extra::PreferFailure => 2,
            Extra::Filter(_) => 3,
            Extra::Other(code) => *code,
        }
    }
}

/// A request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Request {
    /// For how long; 0 gives it up.
    pub lifetime_seconds: u32,
    /// The address that the client believes to have.
    pub client: IpAddr,
    /// What is asked for.
    pub operation: Operation,
    /// What else is asked for.
    pub options: Vec<Extra>,
}

impl Request {
    /// The bytes of the request.
    pub fn encode(&self) -> Vec<u8> {
        let mut bytes = vec![VERSION, self.operation.code(), 0, 0];
        bytes.extend(self.lifetime_seconds.to_be_bytes());
        bytes.extend(address_bytes(self.client));
        self.operation.encode(&mut bytes);
        self.options.iter().for_each(|option| option.encode(&mut bytes));
        bytes
    }

    /// Reads a request of version 2 with a whole header.
    ///
    /// # Errors
    /// The code to answer with.
    pub fn decode(bytes: &[u8]) -> Result<Request, Code> {
        let malformed = Code::MALFORMED_REQUEST;
        if bytes.len() > MOST_BYTES || !bytes.len().is_multiple_of(4) || bytes.len() < HEADER_BYTES {
            return Err(malformed);
        }
        let lifetime_seconds = u32_at(bytes, 4).ok_or(malformed)?;
        let client = address_at(bytes, 8).ok_or(malformed)?;
        let (operation, rest) = Operation::decode(bytes[1], &bytes[HEADER_BYTES..])?;
        let options = options(rest, true)?;
        Ok(Request { lifetime_seconds, client, operation, options })
    }
}

/// An answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Answer {
    /// What became of the request.
    pub code: Code,
    /// For how long: what was granted, or the error lasts.
    pub lifetime_seconds: u32,
    /// Seconds since the server lost its state last.
    pub epoch_seconds: u32,
    /// What was done.
    pub operation: Operation,
    /// The options that were taken into account.
    pub options: Vec<Extra>,
}

impl Answer {
    /// The bytes of the answer.
    pub fn encode(&self) -> Vec<u8> {
        let mut bytes = header(self.operation.code(), self.code, self.lifetime_seconds, self.epoch_seconds);
        self.operation.encode(&mut bytes);
        self.options.iter().for_each(|option| option.encode(&mut bytes));
        bytes
    }

    /// Reads an answer of version 2; `None` if it is none or is cut off.
    pub fn decode(bytes: &[u8]) -> Option<Answer> {
        let &[VERSION, opcode, _, code, ..] = bytes else { return None };
        if opcode & ANSWER == 0 || bytes.len() < HEADER_BYTES || bytes.len() > MOST_BYTES {
            return None;
        }
        let (lifetime_seconds, epoch_seconds) = (u32_at(bytes, 4)?, u32_at(bytes, 8)?);
        let (operation, rest) = Operation::decode(opcode & !ANSWER, &bytes[HEADER_BYTES..]).ok()?;
        let options = options(rest, false).ok()?;
        Some(Answer { code: Code(code), lifetime_seconds, epoch_seconds, operation, options })
    }
}

/// The answer to a request that cannot be served: the request, as far as it may go back, under an answer's header
/// (section 8.2).
pub fn refusal(request: &[u8], code: Code, lifetime_seconds: u32, epoch_seconds: u32) -> Vec<u8> {
    let opcode = request.get(1).copied().unwrap_or(0) & !ANSWER;
    let mut bytes = header(opcode, code, lifetime_seconds, epoch_seconds);
    bytes.extend(request.get(HEADER_BYTES..request.len().min(MOST_BYTES)).unwrap_or_default());
    bytes.resize(bytes.len().next_multiple_of(4).min(MOST_BYTES), 0);
    bytes
}

fn header(opcode: u8, code: Code, lifetime_seconds: u32, epoch_seconds: u32) -> Vec<u8> {
    let mut bytes = vec![VERSION, ANSWER | opcode, 0, code.0];
    bytes.extend(lifetime_seconds.to_be_bytes());
    bytes.extend(epoch_seconds.to_be_bytes());
    bytes.extend([0; 12]);
    bytes
}

impl Operation {
    /// Its opcode.
    pub fn code(&self) -> u8 {
        match self {
            Operation::Announce => 0,
            Operation::Map(_) => 1,
            Operation::Peer { .. } => 2,
        }
    }

    fn encode(&self, bytes: &mut Vec<u8>) {
        match self {
            Operation::Announce => {}
            Operation::Map(map) => map.encode(bytes),
            Operation::Peer { map, remote } => {
                map.encode(bytes);
                bytes.extend(remote.port().to_be_bytes());
                bytes.extend([0; 2]);
                bytes.extend(address_bytes(remote.ip()));
            }
        }
    }

    fn decode(opcode: u8, bytes: &[u8]) -> Result<(Operation, &[u8]), Code> {
        let malformed = Code::MALFORMED_REQUEST;
        match opcode {
            0 => Ok((Operation::Announce, bytes)),
            1 => {
                let (own, rest) = bytes.split_at_checked(36).ok_or(malformed)?;
                Ok((Operation::Map(Map::decode(own).ok_or(malformed)?), rest))
            }
            2 => {
                let (own, rest) = bytes.split_at_checked(56).ok_or(malformed)?;
                let map = Map::decode(own).ok_or(malformed)?;
                let port = u16_at(own, 36).ok_or(malformed)?;
                let remote = SocketAddr::new(address_at(own, 40).ok_or(malformed)?, port);
                Ok((Operation::Peer { map, remote }, rest))
            }
            _ => Err(Code::UNSUPP_OPCODE),
        }
    }
}

impl Map {
    fn encode(&self, bytes: &mut Vec<u8>) {
        bytes.extend(self.nonce);
        bytes.extend([self.protocol, 0, 0, 0]);
        bytes.extend(self.internal_port.to_be_bytes());
        bytes.extend(self.external.port().to_be_bytes());
        bytes.extend(address_bytes(self.external.ip()));
    }

    fn decode(bytes: &[u8]) -> Option<Map> {
        Some(Map {
            nonce: bytes.get(..12)?.try_into().ok()?,
            protocol: *bytes.get(12)?,
            internal_port: u16_at(bytes, 16)?,
            external: SocketAddr::new(address_at(bytes, 20)?, u16_at(bytes, 18)?),
        })
    }
}

impl Extra {
    fn encode(&self, bytes: &mut Vec<u8>) {
        let mut data = Vec::new();
        match self {
            Extra::ThirdParty(address) => data.extend(address_bytes(*address)),
            Extra::PreferFailure | Extra::Other(_) => {}
            Extra::Filter(filter) => {
                let unspecified = RemoteFilter { address: IpAddr::V6(Ipv6Addr::UNSPECIFIED), prefix_len: 0, port: 0 };
                let RemoteFilter { address, prefix_len, port } = filter.unwrap_or(unspecified);
                let width = if filter.is_some() && address.is_ipv4() { 96 } else { 0 };
                data.extend([0, prefix_len + width]);
                data.extend(port.to_be_bytes());
                data.extend(address_bytes(address));
            }
        }
        bytes.extend([self.code(), 0]);
        bytes.extend((data.len() as u16).to_be_bytes());
        bytes.extend(data);
    }

    fn decode(code: u8, data: &[u8]) -> Result<Extra, Code> {
        let malformed = Code::MALFORMED_OPTION;
        match code {
            1 => Ok(Extra::ThirdParty(address_at(data, 0).filter(|_| data.len() == 16).ok_or(malformed)?)),
            2 if data.is_empty() => Ok(Extra::PreferFailure),
            2 => Err(malformed),
            3 => filter(data).ok_or(malformed),
            code => Ok(Extra::Other(code)),
        }
    }
}

fn filter(data: &[u8]) -> Option<Extra> {
    let (prefix, port, address) = (*data.get(1)?, u16_at(data, 2)?, address_at(data, 4)?);
    if data.len() != 20 || prefix > 128 {
        return None;
    }
    if prefix == 0 {
        return Some(Extra::Filter(None));
    }
    let width = if address.is_ipv4() { 96 } else { 0 };
    let prefix_len = prefix.checked_sub(width)?;
    Some(Extra::Filter(Some(RemoteFilter { address, prefix_len, port })))
}

/// The options in what is left of a message. In a request, one that must be understood and is not known is an error.
fn options(mut bytes: &[u8], strictly: bool) -> Result<Vec<Extra>, Code> {
    let mut options = Vec::new();
    while let Some((&[code, _, high, low], rest)) = bytes.split_first_chunk::<4>() {
        let length = usize::from(u16::from_be_bytes([high, low]));
        let padded = length.next_multiple_of(4);
        let data = rest.get(..length).filter(|_| rest.len() >= padded).ok_or(Code::MALFORMED_OPTION)?;
        match Extra::decode(code, data)? {
            Extra::Other(code) if code < 0x80 && strictly => return Err(Code::UNSUPP_OPTION),
            Extra::Other(_) => {}
            option => options.push(option),
        }
        bytes = &rest[padded..];
    }
    Ok(options)
}

/// An address in 16 bytes; IPv4 mapped (RFC 6887 section 5).
pub fn address_bytes(address: IpAddr) -> [u8; 16] {
    match address {
        IpAddr::V4(address) => address.to_ipv6_mapped().octets(),
        IpAddr::V6(address) => address.octets(),
    }
}

fn address_at(bytes: &[u8], at: usize) -> Option<IpAddr> {
    let address = Ipv6Addr::from(<[u8; 16]>::try_from(bytes.get(at..at + 16)?).ok()?);
    Some(address.to_ipv4_mapped().map_or(IpAddr::V6(address), IpAddr::V4))
}

/// No address of a version.
pub fn no_address(ipv6: bool) -> IpAddr {
    if ipv6 { IpAddr::V6(Ipv6Addr::UNSPECIFIED) } else { IpAddr::V4(Ipv4Addr::UNSPECIFIED) }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn address() -> impl Strategy<Value = IpAddr> {
        prop_oneof![
            any::<[u8; 4]>().prop_map(IpAddr::from),
            any::<[u8; 4]>().prop_map(|low| {
                IpAddr::from(Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, u16::from(low[0]), u16::from(low[1])))
            })
        ]
    }

    fn endpoint() -> impl Strategy<Value = SocketAddr> {
        (address(), any::<u16>()).prop_map(|(address, port)| SocketAddr::new(address, port))
    }

    fn map() -> impl Strategy<Value = Map> {
        (any::<[u8; 12]>(), any::<u8>(), any::<u16>(), endpoint())
            .prop_map(|(nonce, protocol, internal_port, external)| Map { nonce, protocol, internal_port, external })
    }

    fn operation() -> impl Strategy<Value = Operation> {
        prop_oneof![
            Just(Operation::Announce),
            map().prop_map(Operation::Map),
            (map(), endpoint()).prop_map(|(map, remote)| Operation::Peer { map, remote }),
        ]
    }

    fn option() -> impl Strategy<Value = Extra> {
        prop_oneof![
            address().prop_map(Extra::ThirdParty),
            Just(Extra::PreferFailure),
            Just(Extra::Filter(None)),
            (address(), 1..33_u8, any::<u16>()).prop_map(|(address, prefix_len, port)| Extra::Filter(Some(
                RemoteFilter { address, prefix_len, port }
            ))),
        ]
    }

    proptest! {
        #[test]
        fn messages_are_read_as_they_were_written(
            operation in operation(), options in prop::collection::vec(option(), 0..4), lifetime_seconds: u32,
            client in address(), code in 0..14_u8, epoch_seconds: u32,
        ) {
            let request = Request { lifetime_seconds, client, operation, options: options.clone() };
            prop_assert_eq!(Request::decode(&request.encode()), Ok(request));
            let answer = Answer { code: Code(code), lifetime_seconds, epoch_seconds, operation, options };
            prop_assert_eq!(Answer::decode(&answer.encode()), Some(answer));
        }

        #[test]
        fn any_bytes_are_read_without_a_panic(bytes in prop::collection::vec(any::<u8>(), 0..120), version in 0..4_u8) {
            let mut bytes = bytes;
            if let Some(first) = bytes.first_mut() {
                *first = version;
            }
            let _ = (Request::decode(&bytes), Answer::decode(&bytes));
            let back = refusal(&bytes, Code::MALFORMED_REQUEST, 30, 1);
            prop_assert!(back.len() >= HEADER_BYTES && back.len().is_multiple_of(4) && back.len() <= MOST_BYTES);
        }
    }
}

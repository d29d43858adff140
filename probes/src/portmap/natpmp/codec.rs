//! The messages of NAT-PMP (RFC 6886 sections 3.2 to 3.5). Knows no state.

use std::net::Ipv4Addr;

use natbox_wire::Protocol;

/// The version that NAT-PMP is on port control's port.
pub const VERSION: u8 = 0;
/// The bit of an opcode that says that this is an answer.
const ANSWER: u8 = 0x80;

/// Result codes (RFC 6886 section 3.5).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Code(pub u16);

impl Code {
    /// It was done.
    pub const SUCCESS: Code = Code(0);
    /// Another version is spoken here.
    pub const UNSUPPORTED_VERSION: Code = Code(1);
    /// The box does not want to.
    pub const REFUSED: Code = Code(2);
    /// The box has no external address itself.
    pub const NETWORK_FAILURE: Code = Code(3);
    /// Nothing is left.
    pub const OUT_OF_RESOURCES: Code = Code(4);
    /// An opcode that the box does not know.
    pub const UNSUPPORTED_OPCODE: Code = Code(5);

    /// What it means, one line.
    pub fn meaning(self) -> &'static str {
        match self.0 {
            0 => "success",
            1 => "unsupported version",
            2 => "not authorized or refused",
            3 => "network failure",
            4 => "out of resources",
            5 => "unsupported opcode",
            _ => "a code that RFC 6886 does not know",
        }
    }
}

/// What a client asks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Request {
    /// What is the external address?
    ExternalAddress,
    /// Map a port of mine, or give a mapping up.
    Map {
        /// UDP or TCP.
        protocol: Protocol,
        /// The port inside; 0 with lifetime 0: all of the protocol.
        internal_port: u16,
        /// The port wished for outside; 0 for any.
        external_port: u16,
        /// For how long; 0 gives it up.
        lifetime_seconds: u32,
    },
}

impl Request {
    /// The bytes of the request.
    pub fn encode(&self) -> Vec<u8> {
        match *self {
            Request::ExternalAddress => vec![VERSION, 0],
            Request::Map { protocol, internal_port, external_port, lifetime_seconds } => {
                let mut bytes = vec![VERSION, opcode(protocol), 0, 0];
                bytes.extend(internal_port.to_be_bytes());
                bytes.extend(external_port.to_be_bytes());
                bytes.extend(lifetime_seconds.to_be_bytes());
                bytes
            }
        }
    }

    /// Reads a request of version 0; `None` if it is none or is cut off. More bytes than are needed are passed over.
    pub fn decode(bytes: &[u8]) -> Option<Request> {
        match bytes {
            [VERSION, 0, ..] => Some(Request::ExternalAddress),
            [VERSION, code @ (1 | 2), _, _, rest @ ..] => Some(Request::Map {
                protocol: if *code == 1 { Protocol::Udp } else { Protocol::Tcp },
                internal_port: u16_at(rest, 0)?,
                external_port: u16_at(rest, 2)?,
                lifetime_seconds: u32_at(rest, 4)?,
            }),
            _ => None,
        }
    }
}

/// What a gateway answers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Answer {
    /// What became of the request.
    pub code: Code,
    /// Seconds since the gateway's table was lost last.
    pub epoch_seconds: u32,
    /// What was asked for.
    pub body: Body,
}

/// What an answer is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Body {
    /// The external address; unspecified if the code is none of success.
    ExternalAddress(Ipv4Addr),
    /// A mapping.
    Map {
        /// UDP or TCP.
        protocol: Protocol,
        /// The port inside.
        internal_port: u16,
        /// The port outside; 0 for a mapping given up.
        external_port: u16,
        /// For how long; 0 for a mapping given up.
        lifetime_seconds: u32,
    },
    /// Nothing: an error about an opcode or a version.
    Nothing {
        /// The opcode of the answer, without the bit that says that it is one.
        opcode: u8,
    },
}

impl Answer {
    /// The bytes of the answer.
    pub fn encode(&self) -> Vec<u8> {
        let opcode = match self.body {
            Body::ExternalAddress(_) => ANSWER,
            Body::Map { protocol, .. } => ANSWER | opcode(protocol),
            // Section 3.5: the answer to another version has opcode 0, without the bit.
            Body::Nothing { opcode } if self.code == Code::UNSUPPORTED_VERSION => opcode,
            Body::Nothing { opcode } => ANSWER | opcode,
        };
        let mut bytes = vec![VERSION, opcode];
        bytes.extend(self.code.0.to_be_bytes());
        bytes.extend(self.epoch_seconds.to_be_bytes());
        match self.body {
            Body::ExternalAddress(address) => bytes.extend(address.octets()),
            Body::Map { internal_port, external_port, lifetime_seconds, .. } => {
                bytes.extend(internal_port.to_be_bytes());
                bytes.extend(external_port.to_be_bytes());
                bytes.extend(lifetime_seconds.to_be_bytes());
            }
            Body::Nothing { .. } => {}
        }
        bytes
    }

    /// Reads an answer; `None` if it is none or is cut off.
    pub fn decode(bytes: &[u8]) -> Option<Answer> {
        let &[VERSION, opcode, a, b, ref rest @ ..] = bytes else { return None };
        let (code, epoch_seconds) = (Code(u16::from_be_bytes([a, b])), u32_at(rest, 0)?);
        let body = match (opcode, code) {
            (ANSWER, _) => match rest.get(4..8) {
                Some(address) => Body::ExternalAddress(Ipv4Addr::from(<[u8; 4]>::try_from(address).ok()?)),
                None if code != Code::SUCCESS => Body::ExternalAddress(Ipv4Addr::UNSPECIFIED),
                None => return None,
            },
            (0x81 | 0x82, _) if rest.len() >= 12 => Body::Map {
                protocol: if opcode == 0x81 { Protocol::Udp } else { Protocol::Tcp },
                internal_port: u16_at(rest, 4)?,
                external_port: u16_at(rest, 6)?,
                lifetime_seconds: u32_at(rest, 8)?,
            },
            (_, Code::SUCCESS) => return None,
            (opcode, _) => Body::Nothing { opcode: opcode & !ANSWER },
        };
        Some(Answer { code, epoch_seconds, body })
    }
}

fn opcode(protocol: Protocol) -> u8 {
    if protocol == Protocol::Tcp { 2 } else { 1 }
}

pub(crate) fn u16_at(bytes: &[u8], at: usize) -> Option<u16> {
    Some(u16::from_be_bytes(bytes.get(at..at + 2)?.try_into().ok()?))
}

pub(crate) fn u32_at(bytes: &[u8], at: usize) -> Option<u32> {
    Some(u32::from_be_bytes(bytes.get(at..at + 4)?.try_into().ok()?))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn protocol() -> impl Strategy<Value = Protocol> {
        prop_oneof![Just(Protocol::Udp), Just(Protocol::Tcp)]
    }

    proptest! {
        #[test]
        fn requests_and_answers_are_read_as_they_were_written(
            protocol in protocol(), internal_port: u16, external_port: u16, lifetime_seconds: u32,
            code in 0..6_u16, epoch_seconds: u32, address: [u8; 4],
        ) {
            let request = Request::Map { protocol, internal_port, external_port, lifetime_seconds };
            prop_assert_eq!(Request::decode(&request.encode()), Some(request));
            let code = Code(code);
            for body in [
                Body::ExternalAddress(address.into()),
                Body::Map { protocol, internal_port, external_port, lifetime_seconds },
            ] {
                let answer = Answer { code, epoch_seconds, body };
                prop_assert_eq!(Answer::decode(&answer.encode()), Some(answer));
            }
        }

        #[test]
        fn any_bytes_are_read_without_a_panic(bytes in prop::collection::vec(any::<u8>(), 0..24)) {
            let _ = (Request::decode(&bytes), Answer::decode(&bytes));
        }
    }

    #[test]
    fn the_messages_have_the_bytes_of_rfc_6886() {
        assert_eq!(Request::ExternalAddress.encode(), [0, 0]);
        let map =
            Request::Map { protocol: Protocol::Tcp, internal_port: 80, external_port: 8080, lifetime_seconds: 7200 };
        assert_eq!(map.encode(), [0, 2, 0, 0, 0, 80, 0x1f, 0x90, 0, 0, 0x1c, 0x20]);
        let body = Body::ExternalAddress([198, 18, 0, 2].into());
        let answer = Answer { code: Code::SUCCESS, epoch_seconds: 258, body };
        assert_eq!(answer.encode(), [0, 128, 0, 0, 0, 0, 1, 2, 198, 18, 0, 2]);
    }
}

//! Messages and their bytes. The format stands in the [module above](super).

use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use super::{Candidate, CandidateKind, Peer, Token};
use crate::path::Paths;

const MAGIC: [u8; 2] = [0xD1, 0x52];
const VERSION: u8 = 1;
const LONGEST_NAME_BYTES: usize = 64;
const MOST_CANDIDATES: usize = 16;
/// The longest payload of a signal.
pub const MOST_SIGNAL_BYTES: usize = 1200;
/// The longest message: a signal. Two names, 17 IPv6 endpoints and a token are shorter.
pub(crate) const LONGEST_MESSAGE_BYTES: usize = 1280;

/// The number of a request; its answer carries the same.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct RequestId(pub u64);

/// One message.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Message {
    /// Its number.
    pub id: RequestId,
    /// What it says.
    pub body: Body,
}

/// What a message says.
#[derive(Clone, Debug, PartialEq, Eq)]
#[allow(missing_docs, reason = "the module's table documents every field")]
pub enum Body {
    /// A host announces itself.
    Register { name: String, lifetime: Duration, candidates: Vec<Candidate> },
    /// The directory has it.
    Registered { seen: SocketAddr, lifetime: Duration },
    /// Where is this name?
    Lookup { name: String },
    /// There.
    Found { peer: Peer },
    /// Introduce me to this name.
    Introduce { own: String, wanted: String, paths: Paths, candidates: Vec<Candidate> },
    /// Done; this is the other.
    Introduced { token: Token, seen: SocketAddr, peer: Peer },
    /// Somebody wants to talk to you.
    Invitation { token: Token, paths: Paths, peer: Peer },
    /// The invitation has arrived.
    Accepted,
    /// Tell the other side of this session. `callee`: whether the callee says it.
    Signal { token: Token, callee: bool, sequence: u32, payload: Vec<u8> },
    /// Every signal before this sequence number has come. `callee`: whether the callee says it.
    Heard { token: Token, callee: bool, next: u32 },
    /// The request cannot be fulfilled.
    Error { code: ErrorKind },
}

/// Why a request cannot be fulfilled.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ErrorKind {
    /// Nobody is registered under that name.
    UnknownName,
    /// The directory's tables are full.
    Full,
    /// No two hosts signal to each other with this token.
    UnknownSession,
}

impl Message {
    /// The bytes. A name is cut at 64 bytes, a list at 16 candidates, a signal at 1,200 bytes.
    pub fn encode(&self) -> Vec<u8> {
        let mut out = Vec::with_capacity(96);
        out.extend(MAGIC);
        out.push(VERSION);
        out.push(self.body.kind());
        out.extend(self.id.0.to_be_bytes());
        self.body.encode(&mut out);
        out
    }

    /// Reads a datagram; `None` if it is not exactly one well-formed message.
    pub fn decode(datagram: &[u8]) -> Option<Message> {
        let mut input = Input(datagram);
        if input.array()? != MAGIC || input.byte()? != VERSION {
            return None;
        }
        let kind = input.byte()?;
        let id = RequestId(u64::from_be_bytes(input.array()?));
        let body = Body::decode(kind, &mut input)?;
        input.0.is_empty().then_some(Message { id, body })
    }
}

impl Body {
    fn kind(&self) -> u8 {
        match self {
            Body::Register { .. } => 1,
            Body::Registered { .. } => 2,
            Body::Lookup { .. } => 3,
            Body::Found { .. } => 4,
            Body::Introduce { .. } => 5,
            Body::Introduced { .. } => 6,
            Body::Invitation { .. } => 7,
            Body::Accepted => 8,
            Body::Error { .. } => 9,
            Body::Signal { .. } => 10,
            Body::Heard { .. } => 11,
        }
    }

    fn encode(&self, out: &mut Vec<u8>) {
        match self {
            Body::Register { name, lifetime, candidates } => {
                put_name(out, name);
                put_lifetime(out, *lifetime);
                put_candidates(out, candidates);
            }
            Body::Registered { seen, lifetime } => {
                put_endpoint(out, *seen);
                put_lifetime(out, *lifetime);
            }
            Body::Lookup { name } => put_name(out, name),
            Body::Found { peer } => put_peer(out, peer),
            Body::Introduce { own, wanted, paths, candidates } => {
                put_name(out, own);
                put_name(out, wanted);
                out.push(paths.to_bits());
                put_candidates(out, candidates);
            }
            Body::Introduced { token, seen, peer } => {
                out.extend(token.0);
                put_endpoint(out, *seen);
                put_peer(out, peer);
            }
            Body::Invitation { token, paths, peer } => {
                out.extend(token.0);
                out.push(paths.to_bits());
                put_peer(out, peer);
            }
            Body::Accepted => {}
            Body::Error { code } => out.push(*code as u8 + 1),
            Body::Signal { token, callee, sequence, payload } => {
                put_turn(out, token, *callee, *sequence);
                let payload = &payload[..payload.len().min(MOST_SIGNAL_BYTES)];
                out.extend((payload.len() as u16).to_be_bytes());
                out.extend(payload);
            }
            Body::Heard { token, callee, next } => put_turn(out, token, *callee, *next),
        }
    }

    fn decode(kind: u8, input: &mut Input<'_>) -> Option<Body> {
        Some(match kind {
            1 => Body::Register { name: input.name()?, lifetime: input.lifetime()?, candidates: input.candidates()? },
            2 => Body::Registered { seen: input.endpoint()?, lifetime: input.lifetime()? },
            3 => Body::Lookup { name: input.name()? },
            4 => Body::Found { peer: input.peer()? },
            5 => Body::Introduce {
                own: input.name()?,
                wanted: input.name()?,
                paths: Paths::from_bits(input.byte()?),
                candidates: input.candidates()?,
            },
            6 => Body::Introduced { token: Token(input.array()?), seen: input.endpoint()?, peer: input.peer()? },
            7 => Body::Invitation {
                token: Token(input.array()?),
                paths: Paths::from_bits(input.byte()?),
                peer: input.peer()?,
            },
            8 => Body::Accepted,
            9 => Body::Error { code: input.error()? },
            10 => {
                let (token, callee, sequence) = input.turn()?;
                Body::Signal { token, callee, sequence, payload: input.payload()? }
            }
            11 => {
                let (token, callee, next) = input.turn()?;
                Body::Heard { token, callee, next }
            }
            _ => return None,
        })
    }
}

fn put_name(out: &mut Vec<u8>, name: &str) {
    let end = name.floor_char_boundary(LONGEST_NAME_BYTES);
    out.push(end as u8);
    out.extend(&name.as_bytes()[..end]);
}

fn put_lifetime(out: &mut Vec<u8>, lifetime: Duration) {
    out.extend(u32::try_from(lifetime.as_secs()).unwrap_or(u32::MAX).to_be_bytes());
}

fn put_endpoint(out: &mut Vec<u8>, endpoint: SocketAddr) {
    out.push(if endpoint.is_ipv4() { 4 } else { 6 });
    out.extend(endpoint.port().to_be_bytes());
    match endpoint.ip() {
        IpAddr::V4(address) => out.extend(address.octets()),
        IpAddr::V6(address) => out.extend(address.octets()),
    }
}

/// Who speaks in which session, and where in it.
fn put_turn(out: &mut Vec<u8>, token: &Token, callee: bool, sequence: u32) {
    out.extend(token.0);
    out.push(u8::from(callee));
    out.extend(sequence.to_be_bytes());
}

fn put_candidates(out: &mut Vec<u8>, candidates: &[Candidate]) {
    let candidates = &candidates[..candidates.len().min(MOST_CANDIDATES)];
    out.push(candidates.len() as u8);
    for candidate in candidates {
        out.push(candidate.kind as u8 + 1);
        put_endpoint(out, candidate.endpoint);
    }
}

fn put_peer(out: &mut Vec<u8>, peer: &Peer) {
    put_name(out, &peer.name);
    put_endpoint(out, peer.reflexive);
    put_candidates(out, &peer.candidates);
}

/// What is left to read.
struct Input<'a>(&'a [u8]);

impl Input<'_> {
    fn array<const N: usize>(&mut self) -> Option<[u8; N]> {
        let (taken, rest) = self.0.split_first_chunk::<N>()?;
        self.0 = rest;
        Some(*taken)
    }

    fn byte(&mut self) -> Option<u8> {
        self.array::<1>().map(|[byte]| byte)
    }

    fn name(&mut self) -> Option<String> {
        let length = usize::from(self.byte()?);
        if length == 0 || length > LONGEST_NAME_BYTES {
            return None;
        }
        let (taken, rest) = self.0.split_at_checked(length)?;
        self.0 = rest;
        std::str::from_utf8(taken).ok().map(str::to_owned)
    }

    fn lifetime(&mut self) -> Option<Duration> {
        Some(Duration::from_secs(u64::from(u32::from_be_bytes(self.array()?))))
    }

    fn endpoint(&mut self) -> Option<SocketAddr> {
        let version = self.byte()?;
        let port = u16::from_be_bytes(self.array()?);
        let address = match version {
            4 => IpAddr::from(self.array::<4>()?),
            6 => IpAddr::from(self.array::<16>()?),
            _ => return None,
        };
        Some(SocketAddr::new(address, port))
    }

    fn candidates(&mut self) -> Option<Vec<Candidate>> {
        let count = usize::from(self.byte()?);
        if count > MOST_CANDIDATES {
            return None;
        }
        (0..count).map(|_| self.candidate()).collect()
    }

    fn candidate(&mut self) -> Option<Candidate> {
        let kind = match self.byte()? {
            1 => CandidateKind::Host,
            2 => CandidateKind::Reflexive,
            3 => CandidateKind::Relayed,
            4 => CandidateKind::Mapped,
            _ => return None,
        };
        Some(Candidate { kind, endpoint: self.endpoint()? })
    }

    fn peer(&mut self) -> Option<Peer> {
        Some(Peer { name: self.name()?, reflexive: self.endpoint()?, candidates: self.candidates()? })
    }

    fn turn(&mut self) -> Option<(Token, bool, u32)> {
        let token = Token(self.array()?);
        let callee = match self.byte()? {
            0 => false,
            1 => true,
            _ => return None,
        };
        Some((token, callee, u32::from_be_bytes(self.array()?)))
    }

    fn payload(&mut self) -> Option<Vec<u8>> {
        let length = usize::from(u16::from_be_bytes(self.array()?));
        let (taken, rest) = self.0.split_at_checked(length)?;
        self.0 = rest;
        (length <= MOST_SIGNAL_BYTES).then(|| taken.to_vec())
    }

    fn error(&mut self) -> Option<ErrorKind> {
        match self.byte()? {
            1 => Some(ErrorKind::UnknownName),
            2 => Some(ErrorKind::Full),
            3 => Some(ErrorKind::UnknownSession),
            _ => None,
        }
    }
}

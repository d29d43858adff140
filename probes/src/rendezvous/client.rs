//! Asking the directory.

use std::net::SocketAddr;
use std::time::Duration;

use natbox_host::{Host, UdpSocket};
use natbox_wire::Time;

use super::message::{Body, ErrorKind, LONGEST_MESSAGE_BYTES, Message, RequestId};
use super::{Candidate, Peer, Token};
use crate::ProbeError;
use crate::path::Paths;
use crate::stun::client::Retransmission;
use crate::wait::receive;

/// What every request expects.
pub(crate) const EXPECTED: &str = "an answer of the directory";

/// What the directory answered to a registration.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Registered {
    /// Where the directory saw the socket.
    pub seen: SocketAddr,
    /// How long the registration holds.
    pub lifetime: Duration,
}

/// What a caller asks for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Introduction {
    /// The caller's name.
    pub own: String,
    /// The callee's name.
    pub wanted: String,
    /// The paths that may be tried.
    pub paths: Paths,
    /// Where the caller may be reached.
    pub candidates: Vec<Candidate>,
}

/// What a caller gets.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Introduced {
    /// Authenticates checks.
    pub token: Token,
    /// Where the directory saw the caller's socket.
    pub seen: SocketAddr,
    /// The callee.
    pub peer: Peer,
}

/// Registers `socket` under `name`.
///
/// # Errors
/// Silence; a full directory ([`ProbeError::Refused`]).
pub async fn register<H: Host>(
    host: &H,
    socket: &H::Udp,
    directory: SocketAddr,
    registration: (&str, Duration, &[Candidate]),
    retransmission: &Retransmission,
) -> Result<Registered, ProbeError> {
    let (name, lifetime, candidates) = registration;
    let body = Body::Register { name: name.to_owned(), lifetime, candidates: candidates.to_vec() };
    match ask(host, socket, directory, body, retransmission).await? {
        Body::Registered { seen, lifetime } => Ok(Registered { seen, lifetime }),
        other => Err(unexpected("a registered message", directory, other)),
    }
}

/// The datagram that renews a registration. Its answer says nothing new and may be passed over.
pub fn keep_registered(name: &str, lifetime: Duration, candidates: &[Candidate], id: RequestId) -> Vec<u8> {
    let body = Body::Register { name: name.to_owned(), lifetime, candidates: candidates.to_vec() };
    Message { id, body }.encode()
}

/// Looks `name` up.
///
/// # Errors
/// Silence; an unknown name ([`ProbeError::Refused`]).
pub async fn lookup<H: Host>(
    host: &H,
    socket: &H::Udp,
    directory: SocketAddr,
    name: &str,
    retransmission: &Retransmission,
) -> Result<Peer, ProbeError> {
    let body = Body::Lookup { name: name.to_owned() };
    match ask(host, socket, directory, body, retransmission).await? {
        Body::Found { peer } => Ok(peer),
        other => Err(unexpected("a found message", directory, other)),
    }
}

/// Has the directory introduce `socket` to a registered host.
///
/// # Errors
/// Silence; an unknown name ([`ProbeError::Refused`]).
pub async fn introduce<H: Host>(
    host: &H,
    socket: &H::Udp,
    directory: SocketAddr,
    introduction: Introduction,
    retransmission: &Retransmission,
) -> Result<Introduced, ProbeError> {
    let Introduction { own, wanted, paths, candidates } = introduction;
    let body = Body::Introduce { own, wanted, paths, candidates };
    match ask(host, socket, directory, body, retransmission).await? {
        Body::Introduced { token, seen, peer } => Ok(Introduced { token, seen, peer }),
        other => Err(unexpected("an introduced message", directory, other)),
    }
}

/// Sends a request until its answer comes.
async fn ask<H: Host>(
    host: &H,
    socket: &H::Udp,
    directory: SocketAddr,
    body: Body,
    plan: &Retransmission,
) -> Result<Body, ProbeError> {
    use rand_core::Rng;
    let id = RequestId(host.random().next_u64());
    let request = Message { id, body }.encode();
    let began = host.now();
    for sent in 1..=plan.sends {
        socket.send_to(&request, directory).await.map_err(ProbeError::io("send to the directory"))?;
        let deadline = host.now() + plan.wait_after(sent);
        match answer(host, socket, directory, id, deadline).await? {
            Some(Body::Error { code }) => return Err(refused(code, directory)),
            Some(body) => return Ok(body),
            None => {}
        }
    }
    let waited = host.now().since(began);
    Err(ProbeError::Silence { expected: EXPECTED, from: directory, waited, sent: plan.sends })
}

/// What an error of the directory means.
pub(crate) fn refused(code: ErrorKind, directory: SocketAddr) -> ProbeError {
    let reason = match code {
        ErrorKind::UnknownName => "nobody is registered under that name",
        ErrorKind::Full => "the directory is full",
        ErrorKind::UnknownSession => "the directory does not know the session",
    };
    let (code, reason) = (code as u16 + 1, reason.to_owned());
    ProbeError::Refused { expected: EXPECTED, from: directory, code, reason }
}

async fn answer<H: Host>(
    host: &H,
    socket: &H::Udp,
    directory: SocketAddr,
    id: RequestId,
    deadline: Time,
) -> Result<Option<Body>, ProbeError> {
    let mut buffer = [0; LONGEST_MESSAGE_BYTES];
    loop {
        let received = receive(host, socket, &mut buffer, deadline).await;
        let Some(received) = received.map_err(ProbeError::io("receive from the directory"))? else { return Ok(None) };
        let datagram = &buffer[..received.length.min(LONGEST_MESSAGE_BYTES)];
        match Message::decode(datagram) {
            Some(message) if message.id == id && received.source == directory => return Ok(Some(message.body)),
            _ => {}
        }
    }
}

pub(crate) fn unexpected(expected: &'static str, from: SocketAddr, came: Body) -> ProbeError {
    ProbeError::Unexpected { expected, from, came: format!("{came:?}") }
}

//! PCP (RFC 6887), a host's side: requests sent again after 3 s, 6 s, ... 1,024 s, each a tenth more or less.

pub mod codec;

use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use natbox_host::{Host, UdpSocket};
use natbox_wire::{Protocol, Time};
use rand_core::Rng;

use self::codec::{Answer, Code, Extra, Map, Nonce, Operation, Request, no_address};
use super::natpmp::codec as natpmp;
use super::{Failure, Granted, Method, PORT, Wish};
use crate::{ProbeError, wait};

/// How long the first answer is waited for (IRT, section 8.1.1).
pub const FIRST_WAIT: Duration = Duration::from_secs(3);
/// How long an answer is waited for at most (MRT).
pub const LONGEST_WAIT: Duration = Duration::from_secs(1024);

/// Asks for a mapping.
///
/// # Errors
/// No answer within `patience`, or a refusal; code 1 also where the gateway answers as NAT-PMP does.
pub async fn map<H: Host>(
    host: &H,
    gateway: IpAddr,
    wish: &Wish,
    nonce: Nonce,
    patience: Duration,
) -> Result<Granted, Failure> {
    map_with(host, gateway, wish, nonce, Vec::new(), patience).await
}

/// As [`map`], with options.
///
/// # Errors
/// As of [`map`].
pub async fn map_with<H: Host>(
    host: &H,
    gateway: IpAddr,
    wish: &Wish,
    nonce: Nonce,
    options: Vec<Extra>,
    patience: Duration,
) -> Result<Granted, Failure> {
    let request = request(wish, Operation::Map(part(wish, nonce)), options);
    granted(gateway, ask(host, gateway, request, patience).await?)
}

/// Asks for a mapping for one remote, or for a longer life of the session with it (PEER).
///
/// # Errors
/// As of [`map`].
pub async fn peer<H: Host>(
    host: &H,
    gateway: IpAddr,
    wish: &Wish,
    remote: SocketAddr,
    nonce: Nonce,
    patience: Duration,
) -> Result<Granted, Failure> {
    let request = request(wish, Operation::Peer { map: part(wish, nonce), remote }, Vec::new());
    granted(gateway, ask(host, gateway, request, patience).await?)
}

/// Gives a mapping up.
///
/// # Errors
/// As of [`map`].
pub async fn unmap<H: Host>(
    host: &H,
    gateway: IpAddr,
    wish: &Wish,
    nonce: Nonce,
    patience: Duration,
) -> Result<(), Failure> {
    let wish = Wish { lifetime: Duration::ZERO, external_port: 0, ..*wish };
    let request = request(&wish, Operation::Map(part(&wish, nonce)), Vec::new());
    ask(host, gateway, request, patience).await.map(drop)
}

/// A nonce of this host's own chance.
pub fn nonce<H: Host>(host: &H) -> Nonce {
    let mut nonce = [0; 12];
    host.random().fill_bytes(&mut nonce);
    nonce
}

fn request(wish: &Wish, operation: Operation, options: Vec<Extra>) -> Request {
    let lifetime_seconds = wish.lifetime.as_secs().min(u32::MAX.into()) as u32;
    Request { lifetime_seconds, client: wish.internal.ip(), operation, options }
}

fn part(wish: &Wish, nonce: Nonce) -> Map {
    let protocol = match wish.protocol {
        Protocol::Tcp => 6,
        Protocol::Udp => 17,
        Protocol::Icmp => 1,
    };
    let external = SocketAddr::new(no_address(wish.internal.is_ipv6()), wish.external_port);
    Map { nonce, protocol, internal_port: wish.internal.port(), external }
}

fn granted(gateway: IpAddr, answer: Answer) -> Result<Granted, Failure> {
    match answer.operation {
        Operation::Map(map) | Operation::Peer { map, .. } => Ok(Granted {
            gateway: SocketAddr::new(gateway, PORT),
            external: map.external,
            lifetime: Some(Duration::from_secs(answer.lifetime_seconds.into())),
            epoch_seconds: Some(answer.epoch_seconds),
        }),
        Operation::Announce => Err(ProbeError::Unexpected {
            expected: "a mapping",
            from: SocketAddr::new(gateway, PORT),
            came: "an announcement".to_owned(),
        }
        .into()),
    }
}

/// Sends a request until it is answered or refused by an ICMP error.
///
/// # Errors
/// As of [`map`].
pub async fn ask<H: Host>(host: &H, gateway: IpAddr, request: Request, patience: Duration) -> Result<Answer, Failure> {
    let gateway = SocketAddr::new(gateway, PORT);
    let local = SocketAddr::new(request.client, 0);
    let socket = host.udp_bind(local).await.map_err(ProbeError::io("open a socket"))?;
    socket.connect(gateway).map_err(ProbeError::io("reach the gateway"))?;
    let (began, bytes, mut dice) = (host.now(), request.encode(), host.random());
    let end = began + patience;
    let (mut wait, mut sent) = (FIRST_WAIT, 0);
    while host.now() < end {
        socket.send_to(&bytes, gateway).await.map_err(ProbeError::io("ask the gateway"))?;
        sent += 1;
        let deadline = end.min(host.now() + jittered(wait, &mut dice));
        if let Some(answer) = listen(host, &socket, &request, deadline).await? {
            return Ok(answer);
        }
        wait = (wait * 2).min(LONGEST_WAIT);
    }
    let waited = host.now().since(began);
    Err(ProbeError::Silence { expected: "an answer of PCP", from: gateway, waited, sent }.into())
}

/// A tenth more or less.
fn jittered(wait: Duration, dice: &mut impl Rng) -> Duration {
    let share = f64::from(dice.next_u32()) / f64::from(u32::MAX);
    wait.mul_f64(0.9 + 0.2 * share)
}

async fn listen<H: Host>(
    host: &H,
    socket: &H::Udp,
    request: &Request,
    deadline: Time,
) -> Result<Option<Answer>, Failure> {
    let mut buffer = [0; codec::MOST_BYTES];
    while let Some(received) =
        wait::receive(host, socket, &mut buffer, deadline).await.map_err(ProbeError::io("ask the gateway"))?
    {
        let bytes = &buffer[..received.length];
        // A gateway that speaks NAT-PMP alone says so in its own version.
        if let Some(answer) = natpmp::Answer::decode(bytes).filter(|answer| answer.code != natpmp::Code::SUCCESS) {
            let code = answer.code;
            let meaning = format!("{} (the gateway speaks NAT-PMP)", code.meaning());
            return Err(Failure::Refused { method: Method::Pcp, code: code.0, meaning, lasts: None });
        }
        let Some(answer) = Answer::decode(bytes).filter(|answer| is_about(answer, request)) else { continue };
        return match answer.code {
            Code::SUCCESS => Ok(Some(answer)),
            code => Err(Failure::Refused {
                method: Method::Pcp,
                code: code.0.into(),
                meaning: code.meaning().to_owned(),
                lasts: Some(Duration::from_secs(answer.lifetime_seconds.into())),
            }),
        };
    }
    Ok(None)
}

/// Whether an answer is one to this request: of the same mapping, with its nonce (sections 11.4 and 12.4).
fn is_about(answer: &Answer, request: &Request) -> bool {
    let same = |one: &Map, other: &Map| {
        (one.nonce, one.protocol, one.internal_port) == (other.nonce, other.protocol, other.internal_port)
    };
    match (&answer.operation, &request.operation) {
        (Operation::Announce, Operation::Announce) => true,
        (Operation::Map(one), Operation::Map(other)) => same(one, other),
        (Operation::Peer { map: one, remote }, Operation::Peer { map: other, remote: asked }) => {
            same(one, other) && remote == asked
        }
        _ => false,
    }
}

/// Whether a server has lost its state between two answers (section 8.5): its epoch has gone back by more than a second, or
/// the two clocks disagree by more than a sixteenth and two seconds.
pub fn has_lost_state(older: (u32, Time), newer: (u32, Time)) -> bool {
    if u64::from(newer.0) + 1 < u64::from(older.0) {
        return true;
    }
    let server = u64::from(newer.0.saturating_sub(older.0));
    let client = newer.1.since(older.1).as_secs();
    client + 2 < server - server / 16 || server + 2 < client - client / 16
}

/// When a mapping is renewed for the `attempt`th time (section 11.2.1): at a moment between 1/2 and 5/8 of its lifetime, then
/// 3/4 and 3/4 + 1/16, then 7/8 and 7/8 + 1/32, and never within four seconds of the last.
pub fn renewal(lifetime: Duration, attempt: u32, dice: &mut impl Rng) -> Duration {
    let share = f64::from(dice.next_u32()) / f64::from(u32::MAX);
    let left = 0.5_f64.powi(attempt.min(30) as i32 + 1);
    let at = lifetime.mul_f64(1.0 - left + share * left / 4.0);
    at.max(Duration::from_secs(4) * (attempt + 1))
}

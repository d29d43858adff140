//! NAT-PMP (RFC 6886), a host's side: one request at a time, sent again after 250 ms, 500 ms, ... nine times in all.

pub mod codec;

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::time::Duration;

use natbox_host::{Host, UdpSocket};
use natbox_wire::Time;

use self::codec::{Answer, Body, Code, Request};
use super::{Failure, Granted, Method, PORT, Wish};
use crate::{ProbeError, wait};

/// How often a request is sent (section 3.1).
pub const SENDS: u32 = 9;
/// How long the first answer is waited for; twice as long each time.
pub const FIRST_WAIT: Duration = Duration::from_millis(250);

/// Asks the gateway for its external address.
///
/// # Errors
/// No answer within `patience`, or a refusal.
pub async fn external_address<H: Host>(
    host: &H,
    gateway: IpAddr,
    patience: Duration,
) -> Result<(Ipv4Addr, u32), Failure> {
    let answer = ask(host, gateway, Request::ExternalAddress, patience).await?;
    match answer.body {
        Body::ExternalAddress(address) => Ok((address, answer.epoch_seconds)),
        _ => Err(unexpected(gateway, answer)),
    }
}

/// Asks for a mapping and for the address that it is on.
///
/// # Errors
/// No answer within `patience`, or a refusal.
pub async fn map<H: Host>(host: &H, gateway: IpAddr, wish: &Wish, patience: Duration) -> Result<Granted, Failure> {
    let (address, _) = external_address(host, gateway, patience).await?;
    let request = Request::Map {
        protocol: wish.protocol,
        internal_port: wish.internal.port(),
        external_port: wish.external_port,
        lifetime_seconds: wish.lifetime.as_secs().min(u32::MAX.into()) as u32,
    };
    let answer = ask(host, gateway, request, patience).await?;
    match answer.body {
        Body::Map { internal_port, external_port, lifetime_seconds, .. } if internal_port == wish.internal.port() => {
            Ok(Granted {
                gateway: SocketAddr::new(gateway, PORT),
                external: SocketAddr::new(address.into(), external_port),
                lifetime: Some(Duration::from_secs(lifetime_seconds.into())),
                epoch_seconds: Some(answer.epoch_seconds),
            })
        }
        _ => Err(unexpected(gateway, answer)),
    }
}

/// Gives a mapping up.
///
/// # Errors
/// No answer within `patience`, or a refusal.
pub async fn unmap<H: Host>(host: &H, gateway: IpAddr, wish: &Wish, patience: Duration) -> Result<(), Failure> {
    let (protocol, internal_port) = (wish.protocol, wish.internal.port());
    let request = Request::Map { protocol, internal_port, external_port: 0, lifetime_seconds: 0 };
    ask(host, gateway, request, patience).await.map(drop)
}

/// Sends a request until it is answered, refused by an ICMP error, or has been sent nine times.
///
/// # Errors
/// No answer within `patience`, or a refusal.
pub async fn ask<H: Host>(host: &H, gateway: IpAddr, request: Request, patience: Duration) -> Result<Answer, Failure> {
    let gateway = SocketAddr::new(gateway, PORT);
    let local = host.source_for(gateway.ip()).map_err(ProbeError::io("reach the gateway"))?;
    let socket = host.udp_bind(SocketAddr::new(local, 0)).await.map_err(ProbeError::io("open a socket"))?;
    // Nobody else's answer counts (section 3.1), and an ICMP error tells that nobody is there.
    socket.connect(gateway).map_err(ProbeError::io("reach the gateway"))?;
    let (began, bytes) = (host.now(), request.encode());
    let end = began + patience;
    let (mut wait, mut sent) = (FIRST_WAIT, 0);
    while sent < SENDS && host.now() < end {
        socket.send_to(&bytes, gateway).await.map_err(ProbeError::io("ask the gateway"))?;
        sent += 1;
        if let Some(answer) = listen(host, &socket, &request, end.min(host.now() + wait)).await? {
            return accepted(answer);
        }
        wait *= 2;
    }
    let waited = host.now().since(began);
    Err(ProbeError::Silence { expected: "an answer of NAT-PMP", from: gateway, waited, sent }.into())
}

async fn listen<H: Host>(
    host: &H,
    socket: &H::Udp,
    request: &Request,
    deadline: Time,
) -> Result<Option<Answer>, ProbeError> {
    let mut buffer = [0; 64];
    while let Some(received) =
        wait::receive(host, socket, &mut buffer, deadline).await.map_err(ProbeError::io("ask the gateway"))?
    {
        let answer = Answer::decode(&buffer[..received.length]).filter(|answer| is_about(answer, request));
        if answer.is_some() {
            return Ok(answer);
        }
    }
    Ok(None)
}

/// Whether an answer is one to this request.
fn is_about(answer: &Answer, request: &Request) -> bool {
    match (answer.body, request) {
        (Body::Nothing { .. }, _) | (Body::ExternalAddress(_), Request::ExternalAddress) => true,
        (Body::Map { protocol, internal_port, .. }, Request::Map { protocol: asked, internal_port: port, .. }) => {
            protocol == *asked && internal_port == *port
        }
        _ => false,
    }
}

fn accepted(answer: Answer) -> Result<Answer, Failure> {
    match answer.code {
        Code::SUCCESS => Ok(answer),
        code => Err(Failure::Refused {
            method: Method::NatPmp,
            code: code.0,
            meaning: code.meaning().to_owned(),
            lasts: None,
        }),
    }
}

fn unexpected(gateway: IpAddr, answer: Answer) -> Failure {
    let from = SocketAddr::new(gateway, PORT);
    ProbeError::Unexpected { expected: "an answer to what was asked", from, came: format!("{answer:?}") }.into()
}

/// Whether a gateway has lost its table between two answers (section 3.6): its epoch is lower than the older one and 7/8 of
/// the time in between lead to expect, by more than two seconds.
pub fn has_lost_state(older: (u32, Time), newer: (u32, Time)) -> bool {
    let elapsed = newer.1.since(older.1).as_secs();
    let expected = u64::from(older.0) + elapsed * 7 / 8;
    u64::from(newer.0) + 2 < expected
}

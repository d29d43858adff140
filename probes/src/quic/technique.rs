//! QUIC between two NATs: the handshake is the check, and what opens NATs is meaningless.
//!
//! ```text
//! caller (client)               directory               callee (server)
//!   | --- offer: endpoints --------> | -----------------------> |
//!   | <-- answer: endpoints, certificate ---------------------- |
//!   | <................................ datagrams of noise ..... |    every 50 ms for three seconds: open the callee's NAT
//!   | --- QUIC Initial to each endpoint ----------------------> |
//!   | <-- handshake ------------------------------------------- |    the callee is known by its certificate
//!   | --- chosen (token, path) -------------------------------> |    the caller by the token
//!   | <-- accepted -------------------------------------------- |
//!   |  nothing heard for a keep-alive and three seconds:        |
//!   | --- moved: endpoints, as STUN sees them now ------------> |    noise again, and the connection migrates
//! ```
//!
//! The pattern of libp2p's DCUtR over QUIC (noise from the side that is dialled) and of QUIC's own NAT traversal
//! (draft-seemann-quic-nat-traversal: a round of punching when a path has died). Noise from an endpoint that nobody has
//! spoken of is dialled too: that is where a NAT with endpoint-dependent mapping sends from. When the callee's own NAT
//! forgets, no QUIC packet can say so (version 1 lets clients alone migrate): the caller dials the new endpoint, which
//! is another connection.

use std::time::Duration;

use natbox_host::Host;

use super::chance::Secrets;
use super::end::End;
use super::machine::Machine;
use super::told::{Endpoints, Told};
use super::{Config, Identity};
use crate::ProbeError;
use crate::contact::{Contact, Failure, Setting};
use crate::punch::{local_endpoints, open};
use crate::signal::Signal;
use crate::stun::client::{BindingRequest, Client, Retransmission};

pub(crate) async fn call<H: Host>(host: &H, setting: &Setting, peer: &str) -> Result<Contact<H>, Failure> {
    let (began, deadline) = (host.now(), setting.options.deadline(host.now()));
    let early = |error| Failure::early(error, host.now().since(began));
    let (socket, own) = prepare(host, setting).await.map_err(early)?;
    let mut signal = Signal::call(host, setting.directory, &setting.me, peer, deadline).await.map_err(early)?;
    signal.send(&Told::Offer(own.clone()).encode()).await.map_err(early)?;
    let (theirs, certificate) = loop {
        match signal.recv(deadline).await.map_err(early)?.map(|message| Told::decode(&message)) {
            Some(Some(Told::Answer(theirs, certificate))) => break (theirs, certificate),
            Some(_) => {}
            None => return Err(Failure::vain("the callee answered nothing", host.now().since(began))),
        }
    };
    let secrets = Secrets::draw(&mut host.random());
    let machine = Machine::client(&certificate, config(setting), &secrets);
    let mut machine = machine.map_err(|error| Failure::vain(error.to_string(), host.now().since(began)))?;
    for endpoint in theirs.all() {
        // What cannot be dialled (port 0) is passed over, as what does not answer is.
        let _ = machine.dial(endpoint, host.now());
    }
    let end = End::new(host, socket, machine, signal, setting, own, theirs);
    end.settle(began, deadline).await
}

pub(crate) async fn answer<H: Host>(host: &H, setting: &Setting) -> Result<Contact<H>, Failure> {
    let (began, deadline) = (host.now(), setting.options.deadline(host.now()));
    let early = |error| Failure::early(error, host.now().since(began));
    let (socket, own) = prepare(host, setting).await.map_err(early)?;
    let mut signal = Signal::answer(host, setting.directory, &setting.me, deadline).await.map_err(early)?;
    let (began, deadline) = (host.now(), setting.options.deadline(host.now()));
    let vain = |why: String| Failure::vain(why, host.now().since(began));
    let theirs = loop {
        match signal.recv(deadline).await.map_err(early)?.map(|message| Told::decode(&message)) {
            Some(Some(Told::Offer(theirs))) => break theirs,
            Some(_) => {}
            None => return Err(vain("the caller offered nothing".to_owned())),
        }
    };
    let identity = Identity::generate().map_err(|error| vain(error.to_string()))?;
    let told = Told::Answer(own.clone(), identity.certificate());
    signal.send(&told.encode()).await.map_err(early)?;
    let secrets = Secrets::draw(&mut host.random());
    let mut machine = Machine::server(&identity, config(setting), &secrets).map_err(|error| vain(error.to_string()))?;
    machine.opening.towards(&theirs.all(), host.now());
    End::new(host, socket, machine, signal, setting, own, theirs).settle(began, deadline).await
}

fn config(setting: &Setting) -> Config {
    let keep_alive = setting.options.keep_alive;
    Config { keep_alive: Some(keep_alive), idle_timeout: keep_alive.saturating_mul(2).max(Duration::from_secs(30)) }
}

/// The socket, and where it can be reached.
async fn prepare<H: Host>(host: &H, setting: &Setting) -> Result<(H::Udp, Endpoints), ProbeError> {
    let socket = open(host, setting.directory, 0).await?;
    let mut own = Endpoints { host: local_endpoints(host, &socket), reflexive: None };
    if let Some(server) = setting.stun.first() {
        let mut client = Client::new(host, Retransmission::PROBE);
        own.reflexive = Some(client.binding(&socket, *server, BindingRequest::default()).await?.mapped);
    }
    Ok((socket, own))
}

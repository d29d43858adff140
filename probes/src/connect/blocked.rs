//! Where a side's UDP is blocked: the directory over TCP, and relays over TCP, or TLS where that does not pass.
//!
//! ```text
//! caller blocked, callee not              callee blocked
//!   | TCP, TLS; Allocate -> relay E         | registers over TCP, and tells no endpoints
//!   | introduce(E), over TCP                | whoever calls sees from that that both are to bring a relay, and goes on
//!   | <- checks to E ------ callee          | as in `relayed::streams`, over the channel that the introduction began
//! ```
//!
//! A side takes its UDP for blocked when neither STUN server nor directory answers over it, 5.5 seconds after the
//! beginning. Nobody looks whether UDP passes again, unless the path dies.

use std::time::Duration;

use natbox_host::Host;
use natbox_wire::Time;

use super::{Config, Failure, keeping, settle};
use crate::ProbeError;
use crate::contact::{self, Contact, Setting};
use crate::path::{Path, Transport};
use crate::punch::session::{Introduced, Session};
use crate::punch::{CheckPlan, Link, Role, local_endpoints, neighbours, open, random_u128, relay};
use crate::relayed::streams::{self, Meeting};
use crate::rendezvous::{self, Body, Candidate, CandidateKind};
use crate::signal::{self, Signal};
use crate::turn::{self, Carrier};

/// What is tried in place of UDP, in this order.
pub(super) const CARRIERS: [Carrier; 2] = [Carrier::Tcp, Carrier::Tls];

/// What the beginning of a connection came to.
#[allow(clippy::large_enum_variant, reason = "one at a time, and at once taken apart")]
pub(super) enum Begun<H: Host> {
    /// A path is in use.
    Link(Link<H>),
    /// The callee's UDP is blocked: a channel to it, and what this side has of a relay.
    Signal(Signal<H>, Option<turn::Client<H>>),
}

impl<H: Host> Begun<H> {
    pub(super) fn link(self, elapsed: Duration) -> Result<Link<H>, Failure> {
        match self {
            Begun::Link(link) => Ok(link),
            Begun::Signal(signal, _) => {
                let from = signal.directory();
                let came = "none: the peer's UDP is blocked".to_owned();
                let error = ProbeError::Unexpected { expected: "the peer's endpoints", from, came };
                Err(Failure::early(error, elapsed))
            }
        }
    }
}

/// Whether this is what a side meets with whose UDP is blocked.
pub(super) fn is_blocked(error: Option<&ProbeError>) -> bool {
    matches!(error, Some(ProbeError::Silence { .. } | ProbeError::Io { .. }))
}

/// A caller begins over TCP. The failure is that of UDP if there is no relay to be had this way.
pub(super) async fn begin<H: Host>(
    host: &H,
    config: &Config,
    peer: &str,
    mut failure: Failure,
    began: Time,
) -> Result<Begun<H>, Failure> {
    if !config.allow.contains(Path::Relayed) || config.relay.is_none() {
        return Err(failure);
    }
    let relay = streams::allocate(host, config.relay.as_ref(), &CARRIERS, Transport::Udp, &mut failure.remarks).await;
    let Some(relay) = relay else {
        failure.elapsed = host.now().since(began);
        return Err(failure);
    };
    let early = |error| Failure::early(error, host.now().since(began));
    let candidates = vec![Candidate { kind: CandidateKind::Relayed, endpoint: relay.relayed_address() }];
    let body = Body::Introduce { own: config.me.clone(), wanted: peer.to_owned(), paths: config.allow, candidates };
    let (wire, answer) = signal::over_tcp(host, config.directory, body).await.map_err(early)?;
    let introduced = match answer {
        Body::Introduced { token, seen, peer } => rendezvous::Introduced { token, seen, peer },
        other => return Err(early(signal::unfit("an introduced message", config.directory, other))),
    };
    if introduced.peer.candidates.is_empty() {
        return Ok(Begun::Signal(Signal::go_on(host, wire, introduced), Some(relay)));
    }
    let socket = open(host, config.directory, config.port).await.map_err(early)?;
    relay::permit(host, &relay, &introduced.peer);
    let rendezvous::Introduced { token, seen, peer } = introduced;
    let (role, neighbours, paths) = (Role::Caller, neighbours(host, &peer), config.allow);
    let (local, mapped) = (local_endpoints(host, &socket), None);
    let introduced = Introduced { role, token, local, neighbours, reflexive: seen, mapped, peer, paths, tries: paths };
    // The callee's check to the relay is all that can be: it is not waited for what else there might be.
    let checks = CheckPlan { relay_first: true, ..keeping(config, true) };
    let session = Session::new(introduced, checks, random_u128(host), host.now());
    let link = Link::new(host, socket, Some(relay), session, config.keep_alive);
    settle(host, link, began, failure.remarks).await.map(Begun::Link)
}

/// A caller goes on with a callee whose UDP is blocked.
pub(super) async fn call<H: Host>(
    host: &H,
    setting: &Setting,
    (signal, relay): (Signal<H>, Option<turn::Client<H>>),
    began: Time,
) -> Result<Contact<H>, contact::Failure> {
    Meeting { host, setting, carriers: &CARRIERS, began }.run(signal, relay, Vec::new()).await
}

/// A callee answers over TCP. The failure is that of UDP where it has no relay.
pub(super) async fn answer<H: Host>(
    host: &H,
    setting: &Setting,
    failure: contact::Failure,
) -> Result<Contact<H>, contact::Failure> {
    if setting.relay.is_none() || !is_blocked(failure.error.as_deref()) {
        return Err(failure);
    }
    streams::answer(host, &CARRIERS, setting).await
}

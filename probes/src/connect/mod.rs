//! Two hosts come to talk, one way or another: everything that is allowed is tried, and the best path wins.
//!
//! ```text
//! caller                       directory      callee (runs `answer`)
//!   | TURN Allocate -> relay       |             | register, again and again
//!   | introduce(candidates) -----> | ----------> | invitation: both sides check, as in `punch`
//!   | checks over every candidate <------------> |
//!   | nomination of the best path -------------> |
//! ```
//!
//! | path | what makes it |
//! | --- | --- |
//! | `local`, `direct` | the caller checks the callee's own addresses |
//! | `reversed` | the callee checks the caller's own addresses |
//! | `mapped` | each checks what the other has asked its gateway for, where it asks ([`Config::asks`]) |
//! | `hairpinned`, `punched` | both check each other's reflexive endpoints |
//! | `relayed` | the callee checks the caller's relayed address (RFC 8656); where UDP is blocked, see `blocked` |
//!
//! One relay is enough, the caller's: its permissions know no ports, so that it serves any NAT on the callee's side. It
//! is used when everything else has failed, or with `relay_first` before all else, and left as soon as a better path works:
//! both sides switch, and the relay is given back, or kept (technique `relay-first`). When a path dies later, the caller goes back to
//! the relay if it has kept it, or begins anew: see `connection`.

mod answer;
mod blocked;
mod callee;
mod connection;
pub(crate) mod technique;

use std::net::SocketAddr;
use std::time::Duration;

use natbox_host::Host;
use natbox_wire::Time;

pub use answer::{Echo, Replies, Service, SessionId, answer};
pub use connection::Connection;

pub use crate::contact::Relay;
pub use crate::path::{Path, Paths};
pub use crate::punch::{Attempt, CheckPlan, Failure, Outcome, PairKind, Via};

use blocked::Begun;

use crate::ProbeError;
use crate::portmap::{Method, candidate};
use crate::punch::session::consent::HEARTBEAT;
use crate::punch::session::{Introduced, Session, Status};
use crate::punch::{Link, Role, host_candidates, local_endpoints, mapped_of, neighbours, open, random_u128, relay};
use crate::rendezvous::{self, Candidate, CandidateKind, Introduction};
use crate::signal::{self, Signal};
use crate::stun::client::{BindingRequest, Client, Retransmission};
use crate::turn;

/// How to meet peers, and which ways to them to try.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Config {
    /// The directory.
    pub directory: SocketAddr,
    /// This host's name there.
    pub me: String,
    /// The local port; 0 takes a free one.
    pub port: u16,
    /// A STUN server whose view of the socket becomes one more candidate.
    pub stun: Option<SocketAddr>,
    /// How this host asks its gateway for a mapping of its port, in order; not at all if empty.
    pub asks: Vec<Method>,
    /// The relay to fall back to. The answering side needs none.
    pub relay: Option<Relay>,
    /// How long to wait for the relay before going on without it.
    pub relay_timeout: Duration,
    /// The paths that a caller tries.
    pub allow: Paths,
    /// How pairs are checked.
    pub checks: CheckPlan,
    /// When requests to servers are sent again.
    pub retransmission: Retransmission,
    /// The time between two keep-alives, of connections and of the registration (RFC 8445 section 11: 15 s at least).
    pub keep_alive: Duration,
}

impl Config {
    /// Everything allowed, no relay, as `me`, through `directory`.
    pub fn new(directory: SocketAddr, me: impl Into<String>) -> Config {
        Config {
            directory,
            me: me.into(),
            port: 0,
            stun: None,
            asks: Vec::new(),
            relay: None,
            relay_timeout: Duration::from_secs(3),
            allow: Paths::ALL,
            checks: CheckPlan::default(),
            retransmission: Retransmission::PROBE,
            keep_alive: Duration::from_secs(15),
        }
    }
}

/// Connects to `peer`, who is registered and runs [`answer`].
///
/// # Errors
/// [`Failure`] with the step that failed, or with what became of every pair that was tried.
pub async fn connect<H: Host>(host: &H, config: &Config, peer: &str) -> Result<Connection<H>, Failure> {
    let began = host.now();
    let link = establish(host, config, peer).await?;
    Ok(Connection::new(link, config.clone(), host.now().since(began)))
}

/// A link on which a path is in use.
async fn establish<H: Host>(host: &H, config: &Config, peer: &str) -> Result<Link<H>, Failure> {
    let began = host.now();
    begin(host, config, peer).await?.link(host.now().since(began))
}

/// The same, or a channel to a callee that has no UDP.
async fn begin<H: Host>(host: &H, config: &Config, peer: &str) -> Result<Begun<H>, Failure> {
    let began = host.now();
    match over_udp(host, config, peer).await {
        Err(failure) if blocked::is_blocked(failure.error.as_deref()) => {
            blocked::begin(host, config, peer, failure, began).await
        }
        begun => begun,
    }
}

async fn over_udp<H: Host>(host: &H, config: &Config, peer: &str) -> Result<Begun<H>, Failure> {
    let began = host.now();
    let early = |error| Failure::early(error, host.now().since(began));
    let socket = open(host, config.directory, config.port).await.map_err(early)?;
    let (mut candidates, mut remarks) = (host_candidates(host, &socket), Vec::new());
    candidates.extend(candidate::mapped(host, &socket, &config.asks, &mut remarks).await);
    if let Some(server) = config.stun {
        candidates.push(reflexive(host, config, &socket, server).await.map_err(early)?);
    }
    let relay = allocate(host, config, &mut remarks).await;
    if let Some(relay) = &relay {
        candidates.push(Candidate { kind: CandidateKind::Relayed, endpoint: relay.relayed_address() });
    }
    let (local, mapped) = (local_endpoints(host, &socket), mapped_of(&candidates));
    let introduction =
        Introduction { own: config.me.clone(), wanted: peer.to_owned(), paths: config.allow, candidates };
    let introduced = rendezvous::introduce(host, &socket, config.directory, introduction, &config.retransmission);
    let rendezvous::Introduced { token, seen, peer } = introduced.await.map_err(early)?;
    if peer.candidates.is_empty() {
        let introduced = rendezvous::Introduced { token, seen, peer };
        return Ok(Begun::Signal(Signal::go_on(host, signal::over_udp(socket, config.directory), introduced), relay));
    }
    if let Some(relay) = &relay {
        relay::permit(host, relay, &peer);
    }
    let (role, neighbours, paths) = (Role::Caller, neighbours(host, &peer), config.allow);
    let introduced = Introduced { role, token, local, neighbours, reflexive: seen, mapped, peer, paths, tries: paths };
    let session = Session::new(introduced, keeping(config, relay.is_some()), random_u128(host), host.now());
    let link = Link::new(host, socket, relay, session, config.keep_alive);
    settle(host, link, began, remarks).await.map(Begun::Link)
}

/// How pairs are checked, and the one in use is watched.
fn keeping(config: &Config, has_relay: bool) -> CheckPlan {
    let relay_first = config.checks.relay_first && has_relay;
    let keep_relay = config.checks.keep_relay && has_relay;
    let consent = if keep_relay { config.keep_alive.min(HEARTBEAT) } else { config.keep_alive };
    CheckPlan { relay_first, keep_relay, consent: Some(consent), ..config.checks }
}

/// Runs the checks until a pair is in use, or none can be.
async fn settle<H: Host>(host: &H, mut link: Link<H>, began: Time, remarks: Vec<String>) -> Result<Link<H>, Failure> {
    let mut error = None;
    while error.is_none() {
        match link.session.status() {
            Status::Selected(_) | Status::Lost(_) => return Ok(link),
            Status::Failed => break,
            Status::Checking => {
                error = link.step(Time::MAX).await.map_err(ProbeError::io("receive a check")).err().map(Box::new);
            }
        }
    }
    Err(Failure { error, elapsed: host.now().since(began), attempts: link.session.attempts(), remarks })
}

async fn reflexive<H: Host>(
    host: &H,
    config: &Config,
    socket: &H::Udp,
    server: SocketAddr,
) -> Result<Candidate, ProbeError> {
    let mut client = Client::new(host, config.retransmission);
    let binding = client.binding(socket, server, BindingRequest::default()).await?;
    Ok(Candidate { kind: CandidateKind::Reflexive, endpoint: binding.mapped })
}

/// A relay, if one is wanted and can be had in time. Why not, else, becomes a remark.
async fn allocate<H: Host>(host: &H, config: &Config, remarks: &mut Vec<String>) -> Option<turn::Client<H>> {
    if !config.allow.contains(Path::Relayed) {
        return None;
    }
    relay::allocate(host, config.relay.as_ref(), config.relay_timeout, remarks).await
}

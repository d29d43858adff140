//! UDP hole punching (Ford, Srisuresh and Kegel 2005; RFC 5128 section 3.3).
//!
//! ```text
//! caller                    directory                    callee
//!   |                           | <----- register --------- |     from the socket that will be punched
//!   | ------ introduce -------> |                           |     likewise
//!   | <----- introduced ------- | ------ invitation ------> |     to each the other's endpoints, and one token
//!   | check --------------------X                           |     opens the caller's NAT
//!   |                           | <------------------ check |     opens the callee's NAT, and gets in
//!   | <----------- authenticated answers and data --------> |
//! ```
//!
//! A check is a STUN Binding request with short-term credentials from the token, as in ICE: a stranger at the same
//! private address can neither answer it nor be mistaken for the peer. Both sides check every endpoint that they know
//! of the other, again and again, answer what comes, and check back at once. An answer counts only if it comes from
//! where the check was sent. The caller nominates the best pair that works; both keep it alive from then on.
//!
//! The caller runs [`punch`], the callee [`answer`]. For "whatever works, relays included", see
//! [`connect`](crate::connect). Leaves out [`predict`](crate::predict)ion of ports, and [many sockets](crate::birthday) at once.

mod link;
pub(crate) mod relay;
pub(crate) mod session;
pub(crate) mod technique;

use std::fmt;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use natbox_host::{Host, UdpSocket};
use natbox_wire::Time;
use rand_core::Rng;

pub(crate) use link::{DATA, Link, READ_BYTES, Step, accepted};
pub use session::{Attempt, CheckPlan, LOW_TTL_CHECKS, Outcome, PairKind, Role, Via};

use crate::contact::Relay;
use crate::path::{Path, Paths};
use crate::portmap::{Method, candidate};
use crate::rendezvous::{self, Body, Candidate, CandidateKind, Introduction, Message, Peer, RequestId};
use crate::stun::client::{BindingRequest, Client, Retransmission};
use crate::wait::receive;
use crate::{ProbeError, turn};
use session::{Introduced, Session, Status};

/// How long to wait for the relay before going on without it.
pub(crate) const RELAY_TIMEOUT: Duration = Duration::from_secs(3);

/// How to meet a peer, and how to check the ways to it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PunchConfig {
    /// The directory.
    pub directory: SocketAddr,
    /// This host's name there.
    pub me: String,
    /// The local port; 0 takes a free one.
    pub port: u16,
    /// A STUN server whose view of the socket becomes one more candidate.
    pub stun: Option<SocketAddr>,
    /// Whether the peer is told this host's own addresses, and tries them.
    pub host_candidates: bool,
    /// How this side asks its gateway for a mapping of its port, in order; not at all if empty.
    pub asks: Vec<Method>,
    /// A relay for the peer to be reached through, if this side is to have one.
    pub relay: Option<Relay>,
    /// The paths that may come about. The caller's word holds for both.
    pub allow: Paths,
    /// The paths that this side tries of itself; any that is allowed may come about by what the peer tries.
    pub tries: Paths,
    /// How pairs are checked.
    pub checks: CheckPlan,
    /// When requests to servers are sent again.
    pub retransmission: Retransmission,
    /// The time between two keep-alives (RFC 8445 section 11: 15 s at least).
    pub keep_alive: Duration,
}

impl PunchConfig {
    /// The usual checks, as `me`, through `directory`.
    pub fn new(directory: SocketAddr, me: impl Into<String>) -> PunchConfig {
        PunchConfig {
            directory,
            me: me.into(),
            port: 0,
            stun: None,
            host_candidates: true,
            asks: Vec::new(),
            relay: None,
            allow: Paths::ALL,
            tries: Paths::ALL,
            checks: CheckPlan::default(),
            retransmission: Retransmission::PROBE,
            keep_alive: Duration::from_secs(15),
        }
    }
}

/// Why two hosts did not come together, and what was tried.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Failure {
    /// The step that failed; `None` if every pair of endpoints was checked in vain.
    pub error: Option<Box<ProbeError>>,
    /// How long it took.
    pub elapsed: Duration,
    /// The pairs that were tried.
    pub attempts: Vec<Attempt>,
    /// What else went wrong on the way, without ending it.
    pub remarks: Vec<String>,
}

impl Failure {
    pub(crate) fn early(error: ProbeError, elapsed: Duration) -> Failure {
        Failure { error: Some(Box::new(error)), elapsed, attempts: Vec::new(), remarks: Vec::new() }
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.error {
            Some(error) => write!(f, "{error}")?,
            None => write!(f, "no path after {:?}", self.elapsed)?,
        }
        self.attempts.iter().try_for_each(|attempt| write!(f, "; {attempt}"))?;
        self.remarks.iter().try_for_each(|remark| write!(f, "; {remark}"))
    }
}

impl std::error::Error for Failure {}

/// Two hosts that talk through punched holes.
pub struct Punched<H: Host> {
    link: Link<H>,
    elapsed: Duration,
}

impl<H: Host> Punched<H> {
    /// The peer's endpoint.
    pub fn remote(&self) -> SocketAddr {
        self.link.selected().map_or(self.link.session.introduced().peer.reflexive, |(_, remote)| remote)
    }

    /// The path that it is: punching also finds the shorter ones.
    pub fn path(&self) -> Path {
        self.link.history.last().map_or(Path::None, |(_, path)| *path)
    }

    /// The peer's name.
    pub fn peer(&self) -> &str {
        &self.link.session.introduced().peer.name
    }

    /// From the beginning of [`punch`], or the coming of the invitation, to the selected pair.
    pub fn elapsed(&self) -> Duration {
        self.elapsed
    }

    /// What was tried.
    pub fn attempts(&self) -> Vec<Attempt> {
        self.link.session.attempts()
    }

    /// Sends a datagram to the peer.
    ///
    /// # Errors
    /// What the machine's socket says.
    pub async fn send(&mut self, payload: &[u8]) -> io::Result<()> {
        self.link.send(payload).await
    }

    /// The next datagram from the peer, or `None` at `deadline`. Answers checks and keeps the holes open meanwhile.
    ///
    /// # Errors
    /// What the machine's socket says.
    pub async fn recv(&mut self, deadline: Time) -> io::Result<Option<&[u8]>> {
        loop {
            match self.link.step(deadline).await? {
                Step::Data { length, .. } => return Ok(Some(self.link.data(length))),
                Step::Progress => {}
                Step::Deadline => return Ok(None),
            }
        }
    }

    /// The socket and the peer's endpoint, for a protocol of one's own.
    pub fn into_parts(self) -> (H::Udp, SocketAddr) {
        let remote = self.remote();
        (self.link.socket, remote)
    }
}

/// Punches through to `peer`, who is registered and runs [`answer`].
///
/// # Errors
/// [`Failure`] with the step that failed, or with what became of every pair that was checked.
pub async fn punch<H: Host>(host: &H, config: &PunchConfig, peer: &str) -> Result<Punched<H>, Failure> {
    let began = host.now();
    let early = |error| Failure::early(error, host.now().since(began));
    let Own { socket, relay, candidates, remarks } = prepare(host, config).await.map_err(early)?;
    let (local, mapped) = (local_endpoints(host, &socket), mapped_of(&candidates));
    let (own, wanted, paths) = (config.me.clone(), peer.to_owned(), config.allow);
    let introduction = Introduction { own, wanted, paths, candidates };
    let introduced = rendezvous::introduce(host, &socket, config.directory, introduction, &config.retransmission).await;
    let rendezvous::Introduced { token, seen, peer } = introduced.map_err(early)?;
    let (role, neighbours, tries) = (Role::Caller, neighbours(host, &peer), config.tries);
    let introduced = Introduced { role, token, local, neighbours, reflexive: seen, mapped, peer, paths, tries };
    run(host, (socket, relay), config, introduced, began, remarks).await
}

/// Registers, and answers the first call that comes before `deadline`. The registration is left to end with it.
///
/// # Errors
/// [`Failure`] if registration fails, nobody calls, or the caller cannot be reached.
pub async fn answer<H: Host>(host: &H, config: &PunchConfig, deadline: Time) -> Result<Punched<H>, Failure> {
    let began = host.now();
    let early = |error| Failure::early(error, host.now().since(began));
    let Own { socket, relay, candidates, remarks } = prepare(host, config).await.map_err(early)?;
    let lifetime = deadline.since(began).max(Duration::from_secs(1));
    let registration = (config.me.as_str(), lifetime, &candidates[..]);
    let registered = rendezvous::register(host, &socket, config.directory, registration, &config.retransmission).await;
    let seen = registered.map_err(early)?.seen;
    let renewal = rendezvous::keep_registered(&config.me, lifetime, &candidates, RequestId(host.random().next_u64()));
    let waited = invitation(host, &socket, config, &renewal, deadline).await;
    let (id, introduced) = waited.map_err(early)?;
    let called = host.now();
    let accept = socket.send_to(&accepted(id), config.directory).await;
    accept.map_err(ProbeError::io("accept an invitation")).map_err(early)?;
    let local = local_endpoints(host, &socket);
    let introduced = Introduced { local, reflexive: seen, mapped: mapped_of(&candidates), ..introduced };
    run(host, (socket, relay), config, introduced, called, remarks).await
}

/// Waits for an invitation, and keeps the mapping to the directory alive.
async fn invitation<H: Host>(
    host: &H,
    socket: &H::Udp,
    config: &PunchConfig,
    renewal: &[u8],
    deadline: Time,
) -> Result<(RequestId, Introduced), ProbeError> {
    let began = host.now();
    let mut buffer = [0; 1024];
    let mut next_renewal = began + config.keep_alive;
    loop {
        let received = receive(host, socket, &mut buffer, deadline.min(next_renewal)).await;
        let received = received.map_err(ProbeError::io("wait for an invitation"))?;
        let now = host.now();
        if let Some(received) = received.filter(|received| received.source == config.directory) {
            let message = Message::decode(&buffer[..received.length.min(buffer.len())]);
            if let Some(Message { id, body: Body::Invitation { token, paths, peer } }) = message {
                let (role, local, neighbours, reflexive) =
                    (Role::Callee, Vec::new(), neighbours(host, &peer), peer.reflexive);
                let tries = Paths::from_bits(paths.to_bits() & config.tries.to_bits());
                let mapped = None;
                return Ok((id, Introduced { role, token, local, neighbours, reflexive, mapped, peer, paths, tries }));
            }
        }
        if now >= deadline {
            let (expected, from, waited) = ("an invitation", config.directory, now.since(began));
            return Err(ProbeError::Silence { expected, from, waited, sent: 1 });
        }
        if now >= next_renewal {
            socket.send_to(renewal, config.directory).await.map_err(ProbeError::io("renew the registration"))?;
            next_renewal = now + config.keep_alive;
        }
    }
}

/// Runs the checks to their end.
pub(crate) async fn run<H: Host>(
    host: &H,
    (socket, relay): (H::Udp, Option<turn::Client<H>>),
    config: &PunchConfig,
    introduced: Introduced,
    began: Time,
    remarks: Vec<String>,
) -> Result<Punched<H>, Failure> {
    let now = host.now();
    if let Some(relay) = &relay {
        relay::permit(host, relay, &introduced.peer);
    }
    let session = Session::new(introduced, config.checks, random_u128(host), now);
    let mut link = Link::new(host, socket, relay, session, config.keep_alive);
    loop {
        match link.session.status() {
            Status::Selected(_) | Status::Lost(_) => return Ok(Punched { link, elapsed: host.now().since(began) }),
            Status::Failed => {
                let (elapsed, attempts) = (host.now().since(began), link.session.attempts());
                return Err(Failure { error: None, elapsed, attempts, remarks });
            }
            Status::Checking => {}
        }
        if let Err(error) = link.step(Time::MAX).await {
            let error = ProbeError::io("receive a check")(error);
            let (elapsed, attempts) = (host.now().since(began), link.session.attempts());
            return Err(Failure { error: Some(Box::new(error)), elapsed, attempts, remarks });
        }
    }
}

/// What a side has before it meets the other.
struct Own<H: Host> {
    socket: H::Udp,
    relay: Option<turn::Client<H>>,
    candidates: Vec<Candidate>,
    remarks: Vec<String>,
}

/// A socket, a relay if there is to be one, and the candidates that they make.
async fn prepare<H: Host>(host: &H, config: &PunchConfig) -> Result<Own<H>, ProbeError> {
    let socket = open(host, config.directory, config.port).await?;
    let (mut candidates, mut remarks) = (Vec::new(), Vec::new());
    if config.host_candidates {
        candidates.extend(host_candidates(host, &socket));
    }
    candidates.extend(candidate::mapped(host, &socket, &config.asks, &mut remarks).await);
    if let Some(server) = config.stun {
        let mut client = Client::new(host, config.retransmission);
        let binding = client.binding(&socket, server, BindingRequest::default()).await?;
        candidates.push(Candidate { kind: CandidateKind::Reflexive, endpoint: binding.mapped });
    }
    let relay = match &config.relay {
        Some(_) => relay::allocate(host, config.relay.as_ref(), RELAY_TIMEOUT, &mut remarks).await,
        None => None,
    };
    let relayed = relay.iter().map(turn::Client::relayed_address);
    candidates.extend(relayed.map(|endpoint| Candidate { kind: CandidateKind::Relayed, endpoint }));
    Ok(Own { socket, relay, candidates, remarks })
}

/// What this side's gateway has mapped for it, of these.
pub(crate) fn mapped_of(candidates: &[Candidate]) -> Option<SocketAddr> {
    candidates.iter().find(|own| own.kind == CandidateKind::Mapped).map(|own| own.endpoint)
}

/// A socket on `port` that takes packets on every address of the IP version that leads to `server`.
pub(crate) async fn open<H: Host>(host: &H, server: SocketAddr, port: u16) -> Result<H::Udp, ProbeError> {
    let several = host.addresses().iter().filter(|address| address.is_ipv4() == server.is_ipv4()).count() > 1;
    let address = match (several, server.is_ipv4()) {
        (false, _) => host.source_for(server.ip()).map_err(ProbeError::io("find a way to the directory"))?,
        (true, true) => std::net::Ipv4Addr::UNSPECIFIED.into(),
        (true, false) => std::net::Ipv6Addr::UNSPECIFIED.into(),
    };
    host.udp_bind(SocketAddr::new(address, port)).await.map_err(ProbeError::io("bind a UDP socket"))
}

/// The endpoints of a socket on this host's own networks.
pub(crate) fn local_endpoints<H: Host>(host: &H, socket: &H::Udp) -> Vec<SocketAddr> {
    let bound = socket.local_addr();
    if !bound.ip().is_unspecified() {
        return vec![bound];
    }
    let addresses = host.addresses().into_iter().filter(|address| address.is_ipv4() == bound.is_ipv4());
    addresses.map(|address| SocketAddr::new(address, bound.port())).collect()
}

/// The same, as candidates.
pub(crate) fn host_candidates<H: Host>(host: &H, socket: &H::Udp) -> Vec<Candidate> {
    let endpoints = local_endpoints(host, socket).into_iter();
    endpoints.map(|endpoint| Candidate { kind: CandidateKind::Host, endpoint }).collect()
}

/// The peer's addresses that are on a network of this host's.
pub(crate) fn neighbours<H: Host>(host: &H, peer: &Peer) -> Vec<IpAddr> {
    let addresses = peer.candidates.iter().map(|candidate| candidate.endpoint.ip());
    addresses.filter(|address| host.is_neighbour(*address)).collect()
}

pub(crate) fn random_u128<H: Host>(host: &H) -> u128 {
    let mut random = host.random();
    u128::from(random.next_u64()) << 64 | u128::from(random.next_u64())
}

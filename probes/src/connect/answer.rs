//! The answering side: one socket, registered and kept so, on which any number of callers are served.

use std::convert::Infallible;
use std::net::SocketAddr;
use std::time::Duration;

use natbox_host::{Host, UdpSocket};
use natbox_wire::Time;
use rand_core::Rng;

use super::{Config, reflexive};
use crate::ProbeError;
use crate::path::Path;
use crate::portmap::candidate;
use crate::punch::session::{Introduced, Role, Session, Status, unauthorized};
use crate::punch::{
    CheckPlan, DATA, READ_BYTES, Via, accepted, host_candidates, local_endpoints, mapped_of, neighbours, open,
};
use crate::rendezvous::{self, Body, Candidate, Message, Peer, RequestId, Token};
use crate::stun::codec::{self, BINDING, MessageClass};
use crate::wait::receive;

/// The most callers at a time. A further one is not accepted, and its directory asks again until one has gone.
const MOST_SESSIONS: usize = 256;
/// A caller that has been silent for so many keep-alive intervals has gone.
const SILENT_INTERVALS: u32 = 4;
/// A registration outlives so many keep-alive intervals.
const REGISTERED_INTERVALS: u32 = 4;

/// The number of a connection on the answering side.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SessionId(pub u64);

/// What is done with callers' datagrams.
pub trait Service: 'static {
    /// A datagram came, at time `at`.
    fn received(&mut self, session: SessionId, payload: &[u8], at: Time, replies: &mut Replies);

    /// When [`tick`](Service::tick) has something to do.
    fn next_deadline(&self) -> Option<Time> {
        None
    }

    /// Sends what is due.
    fn tick(&mut self, _replies: &mut Replies, _now: Time) {}

    /// A caller has gone.
    fn ended(&mut self, _session: SessionId) {}
}

/// Datagrams to callers.
#[derive(Debug, Default)]
pub struct Replies(Vec<(SessionId, Vec<u8>)>);

impl Replies {
    /// Sends `payload` to the caller of this session.
    pub fn send(&mut self, session: SessionId, payload: &[u8]) {
        let mut datagram = Vec::with_capacity(payload.len() + 1);
        datagram.push(DATA);
        datagram.extend_from_slice(payload);
        self.0.push((session, datagram));
    }

    /// What was sent, to whomever, taken out.
    pub(crate) fn drain(&mut self) -> impl Iterator<Item = Vec<u8>> {
        self.0.drain(..).map(|(_, mut datagram)| datagram.split_off(1))
    }
}

/// Sends every datagram back.
#[derive(Clone, Copy, Debug, Default)]
pub struct Echo;

impl Service for Echo {
    fn received(&mut self, session: SessionId, payload: &[u8], _at: Time, replies: &mut Replies) {
        replies.send(session, payload);
    }
}

/// Registers as `config.me`, keeps the registration alive, and serves callers until the world ends.
///
/// # Errors
/// When the socket cannot be bound, or the directory does not answer the first registration.
pub async fn answer<H: Host, S: Service>(host: H, config: Config, service: S) -> Result<Infallible, ProbeError> {
    let mut answerer = Answerer::register(host, config, service).await?;
    loop {
        answerer.step(Time::MAX).await;
    }
}

/// A caller.
struct Call {
    id: SessionId,
    session: Session,
    last_heard: Time,
    /// Whether its path has died.
    lost: bool,
}

impl Call {
    fn remote(&self) -> Option<SocketAddr> {
        match self.session.status() {
            Status::Selected(index) | Status::Lost(index) => Some(self.session.pair(index).remote),
            _ => None,
        }
    }
}

pub(super) struct Answerer<H: Host, S> {
    pub(super) host: H,
    config: Config,
    pub(super) service: S,
    socket: H::Udp,
    buffer: Vec<u8>,
    random: H::Random,
    candidates: Vec<Candidate>,
    local: Vec<SocketAddr>,
    /// Where the directory saw this host last.
    seen: SocketAddr,
    renew_at: Time,
    calls: Vec<Call>,
    next_id: u64,
    /// Who has called without an endpoint, to meet from relay to relay: the token, and the name.
    pub(super) asked: Option<(Token, String)>,
    pub(super) replies: Replies,
}

impl<H: Host, S: Service> Answerer<H, S> {
    pub(super) async fn register(host: H, config: Config, service: S) -> Result<Answerer<H, S>, ProbeError> {
        let socket = open(&host, config.directory, config.port).await?;
        let (mut candidates, local) = (host_candidates(&host, &socket), local_endpoints(&host, &socket));
        candidates.extend(candidate::mapped(&host, &socket, &config.asks, &mut Vec::new()).await);
        if let Some(server) = config.stun {
            candidates.push(reflexive(&host, &config, &socket, server).await?);
        }
        let registration = (config.me.as_str(), config.keep_alive * REGISTERED_INTERVALS, &candidates[..]);
        let registered =
            rendezvous::register(&host, &socket, config.directory, registration, &config.retransmission).await?;
        let (random, renew_at, seen) = (host.random(), host.now() + config.keep_alive, registered.seen);
        let (calls, replies) = (Vec::new(), Replies::default());
        Ok(Answerer {
            host,
            config,
            service,
            socket,
            buffer: vec![0; READ_BYTES],
            random,
            candidates,
            local,
            seen,
            renew_at,
            calls,
            next_id: 0,
            asked: None,
            replies,
        })
    }

    /// Waits for one thing to happen, until `deadline` at most, and does what it asks for.
    pub(super) async fn step(&mut self, deadline: Time) {
        // What the owner has to say goes out first.
        self.flush().await;
        let deadline = deadline.min(self.next_deadline());
        match receive(&self.host, &self.socket, &mut self.buffer, deadline).await {
            Ok(Some(received)) => {
                let mut buffer = std::mem::take(&mut self.buffer);
                let datagram = &buffer[..received.length.min(READ_BYTES)];
                self.take(datagram, received.source, received.at).await;
                buffer.resize(READ_BYTES, 0);
                self.buffer = buffer;
            }
            Ok(None) => self.tick().await,
            // It concerns one caller, not the service; the rest keeps an error that stays from spinning.
            Err(_) => self.host.sleep(Duration::from_millis(10)).await,
        }
        self.flush().await;
    }

    /// The socket, and where the directory saw it.
    pub(super) fn into_socket(self) -> (H::Udp, SocketAddr) {
        (self.socket, self.seen)
    }

    /// The first caller whose path is in use.
    pub(super) fn first(&self) -> Option<SessionId> {
        let mut calls = self.calls.iter();
        calls.find(|call| matches!(call.session.status(), Status::Selected(_))).map(|call| call.id)
    }

    /// How this caller is reached now: the path, its endpoint, its name.
    pub(super) fn reached(&self, id: SessionId) -> Option<(Path, SocketAddr, &str)> {
        let sessions = self.calls.iter().rev().filter(|call| call.id == id).map(|call| &call.session);
        let mut ways = sessions.filter_map(|session| match session.status() {
            Status::Selected(index) => Some((session.path_of(session.pair(index)), session, index)),
            Status::Lost(index) => Some((Path::None, session, index)),
            Status::Checking | Status::Failed => None,
        });
        let (path, session, index) = ways.next()?;
        Some((path, session.pair(index).remote, &session.introduced().peer.name))
    }

    fn next_deadline(&self) -> Time {
        let checks = self.calls.iter().filter_map(|call| call.session.next_deadline());
        let silence = self.config.keep_alive * SILENT_INTERVALS;
        let ends = self.calls.iter().map(|call| call.last_heard + silence);
        let service = self.service.next_deadline().into_iter();
        checks.chain(ends).chain(service).chain([self.renew_at]).min().unwrap_or(self.renew_at)
    }

    async fn take(&mut self, datagram: &[u8], source: SocketAddr, at: Time) {
        match datagram.first() {
            Some(&DATA) => self.data(&datagram[1..], source, at),
            Some(0..=3) => self.check(datagram, source).await,
            Some(0xD1) if source == self.config.directory => self.directory(datagram).await,
            _ => {}
        }
    }

    fn data(&mut self, payload: &[u8], source: SocketAddr, at: Time) {
        let trusted = |call: &&mut Call| call.session.trusts(Via::Socket, source);
        // Of several callers from one endpoint, the last one is meant: its predecessors have gone.
        if let Some(call) = self.calls.iter_mut().rev().find(trusted) {
            call.last_heard = at;
            self.service.received(call.id, payload, at, &mut self.replies);
        }
    }

    async fn check(&mut self, datagram: &[u8], source: SocketAddr) {
        let Some(message) = codec::parse(datagram) else { return };
        let now = self.host.now();
        for call in self.calls.iter_mut().rev() {
            if call.session.handle(Via::Socket, source, &message, now) {
                call.last_heard = now;
                return;
            }
        }
        if message.has_class(MessageClass::Request) && message.has_method(BINDING) {
            // Whoever it is may be gone.
            let _ = self.socket.send_to(&unauthorized(&message), source).await;
        }
    }

    async fn directory(&mut self, datagram: &[u8]) {
        match Message::decode(datagram) {
            Some(Message { id, body: Body::Invitation { token, paths, peer } })
                if self.invited(token, paths, &peer) =>
            {
                // If it is lost, the directory invites again.
                let _ = self.socket.send_to(&accepted(id), self.config.directory).await;
            }
            Some(Message { body: Body::Registered { seen, .. }, .. }) => self.seen = seen,
            _ => {}
        }
    }

    /// Begins a session, or knows it already. Whether the invitation is accepted.
    fn invited(&mut self, token: Token, paths: crate::Paths, peer: &Peer) -> bool {
        if self.calls.iter().any(|call| call.session.introduced().token == token) {
            return true;
        }
        if peer.candidates.is_empty() && self.config.relay.is_some() {
            self.asked.get_or_insert_with(|| (token, peer.name.clone()));
            return true;
        }
        if self.calls.len() >= MOST_SESSIONS {
            return false;
        }
        let now = self.host.now();
        let local = self.local.clone();
        let peer = peer.clone();
        let (role, neighbours) = (Role::Callee, neighbours(&self.host, &peer));
        let (reflexive, mapped) = (self.seen, mapped_of(&self.candidates));
        let introduced = Introduced { role, token, local, neighbours, reflexive, mapped, peer, paths, tries: paths };
        let first_id = u128::from(self.random.next_u64()) << 64 | u128::from(self.random.next_u64());
        let checks = CheckPlan { consent: Some(self.config.keep_alive), ..self.config.checks };
        let session = Session::new(introduced, checks, first_id, now);
        let id = self.continued(&session.introduced().peer.name);
        self.calls.push(Call { id, session, last_heard: now, lost: false });
        true
    }

    /// The number of the session that a caller of this name goes on with, or a new one.
    fn continued(&mut self, peer: &str) -> SessionId {
        let before = self.calls.iter().rev().find(|call| call.session.introduced().peer.name == peer);
        before.map(|call| call.id).unwrap_or_else(|| {
            self.next_id += 1;
            SessionId(self.next_id)
        })
    }

    async fn tick(&mut self) {
        let now = self.host.now();
        self.service.tick(&mut self.replies, now);
        let silence = self.config.keep_alive * SILENT_INTERVALS;
        for call in &mut self.calls {
            call.session.tick(now);
            let lost = matches!(call.session.status(), Status::Lost(_));
            if lost && !call.lost {
                // Perhaps this side's own NAT has forgotten it: callers are to find it where it is now.
                self.renew_at = now;
            }
            call.lost = lost;
        }
        self.bury(silence, now);
        if now >= self.renew_at {
            self.renew(now).await;
        }
    }

    /// Forgets the sessions that came to nothing, or whose caller has gone.
    fn bury(&mut self, silence: Duration, now: Time) {
        let mut gone = Vec::new();
        self.calls.retain(|call| {
            let stays = call.session.status() != Status::Failed && now < call.last_heard + silence;
            if !stays {
                gone.push(call.id);
            }
            stays
        });
        for id in gone {
            if !self.calls.iter().any(|call| call.id == id) {
                self.service.ended(id);
            }
        }
    }

    /// A machine that has gone to another network needs a socket there: the old one cannot send any more.
    async fn follow(&mut self) {
        let bound = self.socket.local_addr().ip();
        if bound.is_unspecified() || self.host.addresses().contains(&bound) {
            return;
        }
        // Without a way to the directory there is nobody to answer; the next renewal tries again.
        let Ok(socket) = open(&self.host, self.config.directory, self.config.port).await else { return };
        self.socket = socket;
        (self.candidates, self.local) =
            (host_candidates(&self.host, &self.socket), local_endpoints(&self.host, &self.socket));
    }

    async fn renew(&mut self, now: Time) {
        self.follow().await;
        self.renew_at = now + self.config.keep_alive;
        let lifetime = self.config.keep_alive * REGISTERED_INTERVALS;
        let id = RequestId(self.random.next_u64());
        let renewal = rendezvous::keep_registered(&self.config.me, lifetime, &self.candidates, id);
        // A lost renewal is made up for by the next one: the registration outlives several.
        let _ = self.socket.send_to(&renewal, self.config.directory).await;
    }

    /// Sends what the sessions and the service have to say. What cannot be sent counts as lost.
    pub(super) async fn flush(&mut self) {
        for call in &mut self.calls {
            for transmit in call.session.drain() {
                let _ = self.socket.send_to(&transmit.datagram, transmit.to).await;
            }
        }
        for (id, datagram) in std::mem::take(&mut self.replies.0) {
            // A caller that has begun anew is where it was heard last.
            let remotes = self.calls.iter().rev().filter(|call| call.id == id);
            if let Some(remote) = remotes.filter_map(Call::remote).next() {
                let _ = self.socket.send_to(&datagram, remote).await;
            }
        }
    }
}

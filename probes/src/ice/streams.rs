//! ICE over TCP (RFC 6544): connections in place of pairs of endpoints, messages framed by RFC 4571.
//!
//! | candidate | what it does |
//! | --- | --- |
//! | active | connects to passive ones, from any port; port 9 stands for that |
//! | passive | a listener; the directory has seen its port |
//! | so | connects from one port to the peer's so candidate, while that does the same; the directory has seen the port |
//! | relayed, passive | a TCP allocation (RFC 6062): it is connected to, and connects to passive ones itself |
//!
//! A way is `local` candidate and remote endpoint. The first check over one opens its connection; where that fails, the
//! next check tries again.

use std::cell::{Cell, RefCell};
use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::pin::pin;
use std::rc::Rc;
use std::time::Duration;

use futures::channel::mpsc;
use futures::future::{Either, join, select};
use futures::{FutureExt, SinkExt, StreamExt, select_biased};
use is::Candidate;
use natbox_host::{Host, TcpListener, TcpOptions, TcpStream};

use super::agent::Way;
use super::description::{Description, direction};
use super::ground::{Came, Gathered};
use crate::contact::Setting;
use crate::path::Transport;
use crate::relayed::streams::allocate;
use crate::stream::{Framed, before};
use crate::talk::LONGEST_BYTES;
use crate::tcp_punch::Own;
use crate::turn::{self, Carrier};

/// The port that stands for any in an active candidate: discard (RFC 6544 section 4.5).
const ANY_PORT: u16 = 9;
/// How long the directory may take to say where a port is seen.
const SEEN: Duration = Duration::from_millis(2500);
/// How long a connection may take to come about: SYNs go out at 0, 1, 3 and 7 s.
const CONNECTS: Duration = Duration::from_secs(8);
/// How long a peer that takes nothing may hold a message.
const SENDS: Duration = Duration::from_secs(10);
/// Messages that wait to be written to a connection; what comes beyond is lost.
const QUEUE: usize = 64;
/// Messages that wait to be taken.
const INCOMING: usize = 64;
/// The most connections.
const MOST_CONNECTIONS: usize = 64;
/// The most endpoints of which is told what became of them.
const MOST_TALLIES: usize = 64;

/// What a connection program and the session share.
struct Shared {
    open: RefCell<BTreeMap<Way, mpsc::Sender<Vec<u8>>>>,
    incoming: mpsc::Sender<Came>,
    /// What connections came to: how many were tried, and the last error.
    tallies: RefCell<BTreeMap<Way, (u32, &'static str)>>,
    closed: Cell<bool>,
    changed: turn::notify::Notify,
}

impl Shared {
    fn close(&self) {
        self.closed.set(true);
        self.open.borrow_mut().clear();
        self.changed.notify();
    }

    /// A place for one more connection over `way`, which has none.
    fn enter(&self, way: Way) -> Option<mpsc::Receiver<Vec<u8>>> {
        let mut open = self.open.borrow_mut();
        if self.closed.get() || open.len() >= MOST_CONNECTIONS || open.contains_key(&way) {
            return None;
        }
        let (sender, outgoing) = mpsc::channel(QUEUE);
        open.insert(way, sender);
        Some(outgoing)
    }

    fn tally(&self, way: Way, outcome: &'static str) {
        let mut tallies = self.tallies.borrow_mut();
        if tallies.len() < MOST_TALLIES || tallies.contains_key(&way) {
            let tally = tallies.entry(way).or_insert((0, outcome));
            *tally = (tally.0 + 1, outcome);
        }
    }
}

/// Where connections come from.
#[derive(Clone, Copy)]
struct Bases {
    active: SocketAddr,
    simultaneous: SocketAddr,
}

pub(super) struct Streams<H: Host> {
    host: H,
    shared: Rc<Shared>,
    received: mpsc::Receiver<Came>,
    bases: Option<Bases>,
    /// Connections to the directory, which keep the mappings.
    seen: Vec<Own<H>>,
    relay: Option<turn::Client<H>>,
    /// What the peer may be connected to, and how.
    remotes: BTreeMap<SocketAddr, &'static str>,
    permitted: BTreeSet<IpAddr>,
}

impl<H: Host> Drop for Streams<H> {
    fn drop(&mut self) {
        self.shared.close();
    }
}

fn shared() -> (Rc<Shared>, mpsc::Receiver<Came>) {
    let (incoming, received) = mpsc::channel(INCOMING);
    let (open, tallies, closed, changed) = Default::default();
    (Rc::new(Shared { open, incoming, tallies, closed, changed }), received)
}

impl<H: Host> Streams<H> {
    pub(super) fn new(host: &H) -> Streams<H> {
        let (shared, received) = shared();
        let (bases, seen, relay, remotes, permitted) = Default::default();
        Streams { host: host.clone(), shared, received, bases, seen, relay, remotes, permitted }
    }

    pub(super) async fn gather(&mut self, setting: &Setting) -> Gathered {
        self.shared.close();
        *self = Streams::new(&self.host);
        let mut remarks = Vec::new();
        let mut own = Vec::new();
        let relayed = async {
            let mut remarks = Vec::new();
            let carriers = [Carrier::Tcp, Carrier::Tls];
            let relay = match &setting.relay {
                Some(_) => allocate(&self.host, setting.relay.as_ref(), &carriers, Transport::Tcp, &mut remarks).await,
                None => None,
            };
            (relay, remarks)
        };
        let until = self.host.now() + SEEN;
        let seen =
            join(Own::open(&self.host, setting.directory, until), Own::open(&self.host, setting.directory, until));
        let (seen, (relay, relay_remarks)) = join(seen, relayed).await;
        remarks.extend(relay_remarks);
        match seen {
            (Ok(passive), Ok(simultaneous)) => match passive.listen(&self.host).await {
                Ok(listener) => own = self.begin(listener, passive, simultaneous),
                Err(error) => remarks.push(format!("no TCP candidate: {error}")),
            },
            (Err(error), _) | (_, Err(error)) => remarks.push(format!("no TCP candidate: {error}")),
        }
        if let Some(relay) = relay {
            own.extend(candidate(6, ("relay", 0), "passive", relay.relayed_address(), Some(relay.mapped_address())));
            self.host.spawn(accept_relayed(self.host.clone(), self.shared.clone(), relay.clone()));
            self.relay = Some(relay);
        }
        let checked_from = own.iter().filter(|candidate| candidate.kind() != is::CandidateKind::ServerReflexive);
        Gathered { checked_from: checked_from.cloned().collect(), told: own, remarks }
    }

    /// Has these ports; the candidates that they are.
    fn begin(&mut self, listener: H::Listener, passive: Own<H>, simultaneous: Own<H>) -> Vec<Candidate> {
        let active = SocketAddr::new(passive.local.ip(), ANY_PORT);
        self.bases = Some(Bases { active, simultaneous: simultaneous.local });
        let reflexive = |own: &Own<H>| Some(own.mapped).filter(|mapped| *mapped != own.local);
        let candidates = [
            candidate(1, ("host", 126), "active", active, None),
            candidate(2, ("host", 126), "passive", passive.local, None),
            candidate(3, ("host", 126), "so", simultaneous.local, None),
            reflexive(&passive).and_then(|mapped| candidate(4, ("srflx", 100), "passive", mapped, Some(passive.local))),
            reflexive(&simultaneous)
                .and_then(|mapped| candidate(5, ("srflx", 100), "so", mapped, Some(simultaneous.local))),
        ];
        self.host.spawn(accept(self.host.clone(), self.shared.clone(), listener, passive.local));
        self.seen = vec![passive, simultaneous];
        candidates.into_iter().flatten().collect()
    }

    pub(super) fn expect(&mut self, peer: &Description) {
        for candidate in &peer.candidates {
            self.remotes.insert(candidate.addr(), direction(candidate));
        }
        let Some(relay) = &self.relay else { return };
        let fits = |address: &IpAddr| address.is_ipv4() == relay.relayed_address().is_ipv4();
        // Where the directory has seen the peer is where an active candidate comes from.
        let told = peer.candidates.iter().map(|candidate| candidate.addr().ip());
        for address in told.chain([peer.seen.ip()]).filter(fits) {
            if self.permitted.insert(address) {
                let relay = relay.clone();
                self.host.spawn(async move { drop(relay.create_permission(address).await) });
            }
        }
    }

    pub(super) fn transmit(&self, message: &[u8], way: Way) {
        if let Some(sender) = self.shared.open.borrow_mut().get_mut(&way) {
            let _ = sender.try_send(message.to_vec());
            return;
        }
        self.dial(way);
        if let Some(sender) = self.shared.open.borrow_mut().get_mut(&way) {
            let _ = sender.try_send(message.to_vec());
        }
    }

    /// Opens the connection of a pair that RFC 6544 section 6.2 forms and this side opens; of others there is none.
    fn dial(&self, way: Way) {
        let Some(bases) = self.bases else { return };
        let remote = self.remotes.get(&way.remote).copied().unwrap_or_default();
        let relay = self.relay.as_ref().filter(|relay| relay.relayed_address() == way.local);
        let local = match remote {
            "passive" if way.local == bases.active => None,
            "so" if way.local == bases.simultaneous => Some(bases.simultaneous),
            "passive" if relay.is_some() => None,
            _ => return,
        };
        let Some(outgoing) = self.shared.enter(way) else { return };
        let (host, shared) = (self.host.clone(), self.shared.clone());
        let relay = relay.cloned();
        self.host.spawn(async move {
            let until = host.now() + CONNECTS;
            let ended = match relay {
                Some(relay) => {
                    let connected = async { relay.connect(way.remote).await.map_err(io::Error::other) };
                    opened(&host, &shared, way, before(&host, until, connected).await, outgoing).await
                }
                None => {
                    let reuse_port = local.is_some();
                    let options = TcpOptions { local, reuse_port, connect_timeout: Some(CONNECTS), ttl: None };
                    let connected = before(&host, until, host.tcp_connect(way.remote, options)).await;
                    opened(&host, &shared, way, connected, outgoing).await
                }
            };
            shared.tally(way, ended);
            shared.open.borrow_mut().remove(&way);
        });
    }

    pub(super) async fn next(&mut self) -> Option<Came> {
        match self.received.next().await {
            Some(came) => Some(came),
            None => std::future::pending().await,
        }
    }

    pub(super) fn attempts(&self) -> Vec<String> {
        let line = |(way, (times, last)): (&Way, &(u32, &str))| {
            format!("tcp {} to {}: {times} connections, the last {last}", way.local, way.remote)
        };
        self.shared.tallies.borrow().iter().map(line).collect()
    }
}

/// A candidate in the words of RFC 6544 section 4.5, with its priority by section 4.2: which way connections are made
/// counts for more than anything else of one type.
fn candidate(
    foundation: u8,
    (kind, type_preference): (&str, u32),
    direction: &str,
    endpoint: SocketAddr,
    related: Option<SocketAddr>,
) -> Option<Candidate> {
    let direction_preference = match (kind, direction) {
        ("srflx", "so") | ("host" | "relay", "active") => 6,
        (_, "passive") if kind != "srflx" => 4,
        _ => 2,
    };
    let local_preference: u32 = direction_preference << 13 | 0x1FFF;
    let priority = type_preference << 24 | local_preference << 8 | 255;
    let related = related.map_or_else(String::new, |at| format!(" raddr {} rport {}", at.ip(), at.port()));
    let (address, port) = (endpoint.ip(), endpoint.port());
    Candidate::from_sdp_string(&format!(
        "candidate:{foundation} 1 tcp {priority} {address} {port} typ {kind}{related} tcptype {direction}"
    ))
    .ok()
}

/// Carries a connection that has come about, to its end; how it ended.
async fn opened<H: Host, S: TcpStream>(
    host: &H,
    shared: &Rc<Shared>,
    way: Way,
    connected: io::Result<S>,
    outgoing: mpsc::Receiver<Vec<u8>>,
) -> &'static str {
    match connected {
        Ok(stream) => carry(host, shared, stream, way, outgoing).await,
        Err(error) => match error.kind() {
            io::ErrorKind::ConnectionRefused | io::ErrorKind::ConnectionReset => "refused",
            io::ErrorKind::TimedOut => "without an answer",
            _ => "impossible",
        },
    }
}

/// Carries messages both ways until the connection or the session ends.
async fn carry<H: Host, S: TcpStream>(
    host: &H,
    shared: &Rc<Shared>,
    stream: S,
    way: Way,
    mut outgoing: mpsc::Receiver<Vec<u8>>,
) -> &'static str {
    let mut framed = Framed::new(stream, LONGEST_BYTES);
    let mut incoming = shared.incoming.clone();
    loop {
        let message = {
            let mut received = pin!(framed.recv().fuse());
            select_biased! {
                received = received => Err(received),
                message = outgoing.next() => Ok(message),
            }
        };
        let ended = match message {
            Ok(Some(message)) => before(host, host.now() + SENDS, framed.send(&message)).await.is_err(),
            Err(Ok(message)) => incoming.send(Came { message, way, at: host.now() }).await.is_err(),
            Ok(None) | Err(Err(_)) => true,
        };
        if ended {
            return "closed";
        }
    }
}

/// Takes connections to a passive candidate, until the session ends.
async fn accept<H: Host>(host: H, shared: Rc<Shared>, listener: H::Listener, base: SocketAddr) {
    while let Some(accepted) = until_closed(&shared, listener.accept()).await {
        match accepted {
            Ok(stream) => take(&host, &shared, stream, base),
            Err(_) => host.sleep(Duration::from_millis(10)).await,
        }
    }
}

async fn accept_relayed<H: Host>(host: H, shared: Rc<Shared>, relay: turn::Client<H>) {
    while let Some(accepted) = until_closed(&shared, relay.accept()).await {
        match accepted {
            Ok(stream) => take(&host, &shared, stream, relay.relayed_address()),
            Err(turn::Error::Gone { .. }) => return,
            Err(_) => {}
        }
    }
}

async fn until_closed<T>(shared: &Rc<Shared>, accepting: impl Future<Output = T>) -> Option<T> {
    let changed = shared.changed.changed();
    if shared.closed.get() {
        return None;
    }
    match select(pin!(accepting), pin!(changed)).await {
        Either::Left((accepted, _)) => Some(accepted),
        Either::Right(_) => None,
    }
}

fn take<H: Host, S: TcpStream>(host: &H, shared: &Rc<Shared>, stream: S, base: SocketAddr) {
    let way = Way { local: base, remote: stream.peer_addr() };
    let Some(outgoing) = shared.enter(way) else { return };
    let (machine, shared) = (host.clone(), shared.clone());
    host.spawn(async move {
        carry(&machine, &shared, stream, way, outgoing).await;
        shared.open.borrow_mut().remove(&way);
    });
}

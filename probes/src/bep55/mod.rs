//! BitTorrent's holepunch extension (BEP 55), over uTP (BEP 29) from one UDP socket.
//!
//! ```text
//! initiator                relaying peer               target
//!   | ---- uTP, handshake ----> | <---- uTP, handshake --- |     both are in one swarm with the relaying peer
//!   | <--- ut_pex: target ----- | ----- ut_pex ----------> |     BEP 11: where it sees the others
//!   | ---- rendezvous --------> |                          |
//!   | <--- connect(target) ---- | ---- connect(initiator) > |
//!   | ST_SYN --------------->        <------------- ST_SYN |     from the sockets that the relaying peer knows
//!   | <-------------------- handshake ------------------> |
//! ```
//!
//! The relaying peer ([`serve`]) runs beside the directory, which here is the tracker: whom it introduces are in a swarm
//! of their own, whose info-hash is the hash of their token. It answers what it cannot do with an error: 1 no such peer,
//! 2 not connected, 3 no support, 4 no self. Works where punching works, if everything goes through one socket.
//!
//! The initiator takes the connection that is up first, its own or the other's. Then the two prove who they are, and
//! talk, in extended messages `natbox_talk` (`talk`). Leaves out pieces and the rest of BitTorrent; peers
//! over TCP, whose relaying peer would know the port that they listen on and not the one that their NAT gives them.

mod relay;
mod utp;
mod wire;

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::io;
use std::net::SocketAddr;
use std::time::Duration;

use natbox_host::Host;
use natbox_wire::Time;

use crate::ProbeError;
use crate::contact::{Contact, Facts, Failure, Setting};
use crate::path::Transport;
use crate::punch::Role;
use crate::rendezvous::Token;
use crate::signal::Signal;
use crate::talk::proof::Proof;
use crate::talk::{Ends, Goal, Pipe, Talk, prove};
pub use relay::serve;
use utp::{Event, Key, Socket};
use wire::{Holepunch, InfoHash, Peer, Said, greeting};

/// The port of a peer (BEP 3: the first of the usual ones).
pub const PORT: u16 = 6881;
/// How long it is tried at most.
const PATIENCE: Duration = Duration::from_secs(20);
/// How long the two have to prove who they are.
const PROOF: Duration = Duration::from_secs(5);
/// What is left of the time to say what went wrong.
const LAST_WORDS: Duration = Duration::from_millis(100);
/// The most messages that wait to be read.
const MOST_UNREAD: usize = 64;

/// Comes to talk to `peer`, who waits in [`answer`].
///
/// # Errors
/// [`Failure`] with the step that failed, or with what became of it.
pub async fn call<H: Host>(host: &H, setting: &Setting, peer: &str) -> Result<Contact<H>, Failure> {
    let began = host.now();
    let signal = Signal::call(host, setting.directory, &setting.me, peer, setting.options.deadline(began)).await;
    meet(host, setting, signal.map_err(|error| Failure::early(error, host.now().since(began)))?, began).await
}

/// Registers, and waits for one caller.
///
/// # Errors
/// [`Failure`]: nobody called, or the caller could not be reached.
pub async fn answer<H: Host>(host: &H, setting: &Setting) -> Result<Contact<H>, Failure> {
    let waits = host.now();
    let signal = Signal::answer(host, setting.directory, &setting.me, setting.options.deadline(waits)).await;
    let signal = signal.map_err(|error| Failure::early(error, host.now().since(waits)))?;
    meet(host, setting, signal, host.now()).await
}

async fn meet<H: Host>(host: &H, setting: &Setting, mut signal: Signal<H>, began: Time) -> Result<Contact<H>, Failure> {
    let early = |error| Failure::early(error, host.now().since(began));
    let deadline = (began + setting.options.timeout.saturating_sub(LAST_WORDS)).min(host.now() + PATIENCE);
    let (mut swarm, peer_local) = open(host, setting, &mut signal, deadline).await.map_err(early)?;
    let met = swarm.meet(host, signal.token(), deadline).await;
    let facts = swarm.facts();
    let elapsed = host.now().since(began);
    let Some((key, proof)) = met else {
        let vain = Failure::vain("no uTP connection came about", elapsed);
        return Err(Failure { attempts: swarm.lines, ..vain }.with_facts(facts));
    };
    let local = swarm.socket.local_addr();
    let remote = swarm.socket.remote(key).unwrap_or(peer_local);
    let mapped = proof.seen().unwrap_or(local);
    let (local, peer_local) = (vec![local], vec![peer_local]);
    let ends = Ends { role: swarm.role, local, mapped, peer_local, peer_mapped: remote };
    let path = ends.path(host, remote, mapped);
    let pipe = UtpPipe { swarm: Lent::Own(Box::new(swarm)), key, remote };
    let talk = Talk::new(host, pipe, proof, signal.peer(), path, setting.options.keep_alive);
    Ok(Contact::new(host.clone(), talk, elapsed).with_facts(facts))
}

/// The one socket, with its connection to the relaying peer; and the peer's own endpoint, which names the path.
async fn open<H: Host>(
    host: &H,
    setting: &Setting,
    signal: &mut Signal<H>,
    deadline: Time,
) -> Result<(Swarm<H>, SocketAddr), ProbeError> {
    let relay = SocketAddr::new(setting.directory.ip(), PORT);
    let local = host.source_for(relay.ip()).map_err(ProbeError::io("find a way to the relaying peer"))?;
    let socket = host.udp_bind(SocketAddr::new(local, 0)).await.map_err(ProbeError::io("bind a UDP socket"))?;
    let mut socket = Socket::new(host, socket);
    signal.send(socket.local_addr().to_string().as_bytes()).await?;
    let (expected, from) = ("the peer's own endpoint", signal.directory());
    let Some(theirs) = signal.recv(deadline).await? else {
        return Err(ProbeError::Silence { expected, from, waited: PATIENCE, sent: 0 });
    };
    let theirs = std::str::from_utf8(&theirs).ok().and_then(|text| text.parse().ok());
    let theirs = theirs.ok_or(ProbeError::Unexpected { expected, from, came: "something else".into() })?;
    let relay = socket.connect(relay).await;
    let token = signal.token().0;
    let digest = ring::digest::digest(&ring::digest::SHA1_FOR_LEGACY_USE_ONLY, &token);
    let mut hash: InfoHash = [0; 20];
    hash.iter_mut().zip(digest.as_ref()).for_each(|(to, from)| *to = *from);
    let mut id = *b"-NB0100-            ";
    id[8..].iter_mut().zip(crate::punch::random_u128(host).to_be_bytes()).for_each(|(to, from)| *to = from);
    let (peers, asked, told, ready, lines, inbox) = Default::default();
    Ok((Swarm { role: signal.role(), socket, relay, hash, id, peers, asked, told, ready, lines, inbox }, theirs))
}

/// This end's connections.
struct Swarm<H: Host> {
    role: Role,
    socket: Socket<H>,
    relay: Key,
    hash: InfoHash,
    id: [u8; 20],
    peers: BTreeMap<Key, Peer>,
    /// Whom a rendezvous was asked with.
    asked: BTreeSet<SocketAddr>,
    /// Whom the relaying peer has told to connect to.
    told: BTreeSet<SocketAddr>,
    /// Connections over which one can talk, oldest first.
    ready: VecDeque<Key>,
    /// What went wrong.
    lines: Vec<String>,
    /// What peers have said, oldest first.
    inbox: VecDeque<(Key, Vec<u8>)>,
}

impl<H: Host> Swarm<H> {
    fn facts(&self) -> Facts {
        let texts = |list: &BTreeSet<SocketAddr>| list.iter().map(SocketAddr::to_string).collect::<Vec<_>>();
        let rendezvous = ("rendezvous", texts(&self.asked).into());
        Facts::from([rendezvous, ("told_to_connect", texts(&self.told).into())])
    }

    /// The connection to the peer, proven and chosen.
    async fn meet(&mut self, host: &H, token: Token, deadline: Time) -> Option<(Key, Proof)> {
        loop {
            let key = self.candidate(deadline).await?;
            let mut proof = Proof::new(self.role, token, &mut host.random());
            let until = deadline.min(host.now() + PROOF);
            let remote = self.socket.remote(key)?;
            let mut pipe = UtpPipe { swarm: Lent::Loan(self), key, remote };
            let mut met = prove(host, &mut pipe, &mut proof, Goal::Proven, until).await;
            if met.is_ok() {
                proof.choose();
                met = prove(host, &mut pipe, &mut proof, Goal::Chosen, until).await;
            }
            match met {
                Ok(()) => return Some((key, proof)),
                Err(error) => self.lines.push(format!("utp {remote}: {error}")),
            }
        }
    }

    /// A connection to try: for the initiator one that is up, for the target one on which the initiator has spoken.
    async fn candidate(&mut self, deadline: Time) -> Option<Key> {
        loop {
            let found = match self.role {
                Role::Caller => self.ready.pop_front(),
                Role::Callee => self.inbox.front().map(|(key, _)| *key),
            };
            if found.is_some() {
                return found;
            }
            if !self.step(deadline).await {
                return None;
            }
        }
    }

    /// Takes part in what happens next; whether anything did before `deadline`.
    async fn step(&mut self, deadline: Time) -> bool {
        match self.socket.next(deadline).await {
            Event::Deadline => return false,
            Event::Open(key) => {
                self.peers.insert(key, Peer::default());
                self.say(key, Some(greeting(&self.hash, &self.id))).await;
            }
            Event::Bytes(key) => self.read(key).await,
            Event::Closed(key) => {
                self.peers.remove(&key);
                self.ready.retain(|ready| *ready != key);
                if key == self.relay {
                    self.lines.push("the relaying peer does not answer".into());
                }
            }
        }
        true
    }

    async fn say(&mut self, key: Key, message: Option<Vec<u8>>) {
        let Some(message) = message else { return };
        // A connection that is broken is found out by its silence.
        let _ = self.socket.write(key, &message).await;
    }

    async fn read(&mut self, key: Key) {
        let (Some(peer), Some(inbox)) = (self.peers.get_mut(&key), self.socket.inbox(key)) else { return };
        let said = match peer.read(inbox) {
            Ok(said) if peer.hash.is_none_or(|hash| hash == self.hash) => said,
            _ => {
                self.peers.remove(&key);
                return self.socket.forget(key);
            }
        };
        for said in said {
            match said {
                Said::Extended if key != self.relay => self.ready.push_back(key),
                Said::Talk(message) if key != self.relay && self.inbox.len() < MOST_UNREAD => {
                    self.inbox.push_back((key, message));
                }
                Said::Pex(endpoints) if key == self.relay => self.found(endpoints).await,
                Said::Holepunch(message) if key == self.relay => self.directed(message).await,
                _ => {}
            }
        }
    }

    /// The initiator asks for every peer of the swarm.
    async fn found(&mut self, endpoints: Vec<SocketAddr>) {
        for endpoint in endpoints {
            if self.role == Role::Caller && self.asked.len() < MOST_UNREAD && self.asked.insert(endpoint) {
                let relay = self.peers.get(&self.relay);
                let message = relay.and_then(|relay| relay.holepunch(Holepunch::Rendezvous(endpoint)));
                self.say(self.relay, message).await;
            }
        }
    }

    async fn directed(&mut self, message: Holepunch) {
        match message {
            Holepunch::Connect(endpoint) if self.told.len() < MOST_UNREAD => {
                if self.told.insert(endpoint) {
                    self.socket.connect(endpoint).await;
                    self.lines.push(format!("utp {endpoint}: told to connect"));
                }
            }
            Holepunch::Error(endpoint, code) => self.lines.push(format!("rendezvous with {endpoint}: error {code}")),
            Holepunch::Connect(_) | Holepunch::Rendezvous(_) => {}
        }
    }

    async fn talk(&mut self, key: Key, message: &[u8]) -> io::Result<()> {
        let bytes = self.peers.get(&key).and_then(|peer| peer.talk(message)).ok_or(io::ErrorKind::NotConnected)?;
        self.socket.write(key, &bytes).await
    }

    async fn hear(&mut self, key: Key) -> io::Result<Vec<u8>> {
        loop {
            if let Some(at) = self.inbox.iter().position(|(from, _)| *from == key) {
                return self.inbox.remove(at).map(|(_, message)| message).ok_or(io::ErrorKind::NotConnected.into());
            }
            // What strangers have said meanwhile.
            self.inbox.clear();
            if self.socket.remote(key).is_none() {
                return Err(io::ErrorKind::ConnectionReset.into());
            }
            self.step(Time::MAX).await;
        }
    }
}

/// A connection of a swarm.
struct UtpPipe<'a, H: Host> {
    swarm: Lent<'a, H>,
    key: Key,
    remote: SocketAddr,
}

/// A swarm, or the loan of one.
enum Lent<'a, H: Host> {
    Own(Box<Swarm<H>>),
    Loan(&'a mut Swarm<H>),
}

impl<H: Host> Lent<'_, H> {
    fn get(&mut self) -> &mut Swarm<H> {
        match self {
            Lent::Own(swarm) => swarm,
            Lent::Loan(swarm) => swarm,
        }
    }
}

impl<H: Host> Pipe for UtpPipe<'_, H> {
    const TRANSPORT: Transport = Transport::Udp;

    fn again(&self) -> Option<Duration> {
        None
    }

    fn remote(&self) -> SocketAddr {
        self.remote
    }

    async fn send(&mut self, message: &[u8]) -> io::Result<()> {
        self.swarm.get().talk(self.key, message).await
    }

    async fn recv(&mut self) -> io::Result<Vec<u8>> {
        self.swarm.get().hear(self.key).await
    }
}

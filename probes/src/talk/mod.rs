//! Talk over one way between two ends that were introduced to each other: a TCP connection, a pair of UDP endpoints, or
//! whatever else carries messages. The two prove who they are ([`proof`]), then data travels with one byte `80` in
//! front, as in [`punch`](crate::punch), so that it is never mistaken for STUN (first byte 0-3).
//!
//! Knows no technique: how the way came about does not concern it.

pub(crate) mod proof;

use std::io;
use std::net::SocketAddr;
use std::rc::Rc;
use std::time::Duration;

use futures::FutureExt;
use futures::future::LocalBoxFuture;
use natbox_host::{Host, TcpStream, UdpSocket};
use natbox_wire::Time;

use crate::contact::{Channel, Datagram};
use crate::path::{Path, Transport};
use crate::punch::{DATA, READ_BYTES, Role};
use crate::stream::{Framed, before};
use crate::stun::codec::{self, BINDING, Writer};
use proof::{Proof, Taken};

/// The longest message: data of 1,200 bytes, and room.
pub(crate) const LONGEST_BYTES: usize = 2048;

/// What carries messages between two ends.
pub(crate) trait Pipe {
    /// Over what it goes.
    const TRANSPORT: Transport;

    /// The same, where it is known only later.
    fn transport(&self) -> Transport {
        Self::TRANSPORT
    }

    /// How often a request is sent again where messages may be lost and strangers may send some; else `None`.
    fn again(&self) -> Option<Duration>;

    /// The other end.
    fn remote(&self) -> SocketAddr;

    async fn send(&mut self, message: &[u8]) -> io::Result<()>;

    /// The next message. May be dropped and called again without a loss.
    async fn recv(&mut self) -> io::Result<Vec<u8>>;
}

/// A TCP connection.
pub(crate) struct TcpPipe<S> {
    remote: SocketAddr,
    framed: Framed<S>,
}

impl<S: TcpStream> TcpPipe<S> {
    pub(crate) fn new(stream: S) -> TcpPipe<S> {
        TcpPipe { remote: stream.peer_addr(), framed: Framed::new(stream, LONGEST_BYTES) }
    }
}

impl<S: TcpStream> Pipe for TcpPipe<S> {
    const TRANSPORT: Transport = Transport::Tcp;

    fn again(&self) -> Option<Duration> {
        None
    }

    fn remote(&self) -> SocketAddr {
        self.remote
    }

    async fn send(&mut self, message: &[u8]) -> io::Result<()> {
        self.framed.send(message).await
    }

    async fn recv(&mut self) -> io::Result<Vec<u8>> {
        self.framed.recv().await
    }
}

/// A UDP socket that talks to one remote.
pub(crate) struct UdpPipe<U> {
    pub(crate) socket: Rc<U>,
    pub(crate) remote: SocketAddr,
    /// How often a request is sent again.
    pub(crate) again: Duration,
}

impl<U: UdpSocket> Pipe for UdpPipe<U> {
    const TRANSPORT: Transport = Transport::Udp;

    fn again(&self) -> Option<Duration> {
        Some(self.again)
    }

    fn remote(&self) -> SocketAddr {
        self.remote
    }

    async fn send(&mut self, message: &[u8]) -> io::Result<()> {
        self.socket.send_to(message, self.remote).await.map(drop)
    }

    async fn recv(&mut self) -> io::Result<Vec<u8>> {
        let mut buffer = [0; READ_BYTES];
        loop {
            let received = self.socket.recv_from(&mut buffer).await?;
            if received.source == self.remote {
                return Ok(buffer[..received.length.min(READ_BYTES)].to_vec());
            }
        }
    }
}

/// How far a proof is to go.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Goal {
    Proven,
    Chosen,
}

/// Brings a proof as far as `goal`. `PermissionDenied` if the other end is not the peer, `TimedOut` at `deadline`.
pub(crate) async fn prove<H: Host, P: Pipe>(
    host: &H,
    pipe: &mut P,
    proof: &mut Proof,
    goal: Goal,
    deadline: Time,
) -> io::Result<()> {
    let mut due = host.now();
    loop {
        let reached = match goal {
            Goal::Proven => proof.is_proven(),
            Goal::Chosen => proof.is_chosen(),
        };
        if reached {
            return Ok(());
        }
        if host.now() >= due {
            pipe.send(&proof.request()).await?;
            due = pipe.again().map_or(Time::MAX, |again| host.now() + again);
        }
        match before(host, due.min(deadline), pipe.recv()).await {
            Ok(message) => match proof.take(&message, pipe.remote()) {
                Taken::Answer(answer) => pipe.send(&answer).await?,
                Taken::Foreign if pipe.again().is_none() => return Err(io::ErrorKind::PermissionDenied.into()),
                Taken::Noted | Taken::Foreign => {}
            },
            Err(error) if host.now() >= deadline => return Err(error),
            Err(_) if host.now() >= due => {}
            Err(error) => return Err(error),
        }
    }
}

/// As far as this end's role can go by itself: a callee is done when it was chosen.
pub(crate) fn goal_of(role: Role) -> Goal {
    match role {
        Role::Caller => Goal::Proven,
        Role::Callee => Goal::Chosen,
    }
}

/// What both ends know of each other's endpoints.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Ends {
    pub(crate) role: Role,
    /// This end's own endpoints, and where a server has seen it.
    pub(crate) local: Vec<SocketAddr>,
    pub(crate) mapped: SocketAddr,
    /// The same of the peer.
    pub(crate) peer_local: Vec<SocketAddr>,
    pub(crate) peer_mapped: SocketAddr,
}

impl Ends {
    /// What a way to `remote` is called on which the peer sees this end at `seen`; by the rules of
    /// [`punch`](crate::punch).
    pub(crate) fn path<H: Host>(&self, host: &H, remote: SocketAddr, seen: SocketAddr) -> Path {
        let (here, there) = (!self.local.contains(&seen), !self.peer_local.contains(&remote));
        let (caller, callee) = if self.role == Role::Caller { (here, there) } else { (there, here) };
        match (caller, callee) {
            (false, false) if host.is_neighbour(remote.ip()) => Path::Local,
            (_, false) => Path::Direct,
            (false, true) => Path::Reversed,
            (true, true) => {
                let shared = self.mapped.ip() == self.peer_mapped.ip() && remote.ip() == self.mapped.ip();
                if shared { Path::Hairpinned } else { Path::Punched }
            }
        }
    }
}

/// Two ends that talk.
pub(crate) struct Talk<H, P> {
    host: H,
    pipe: P,
    proof: Proof,
    peer: String,
    path: Path,
    since: Time,
    keep_alive: Duration,
    last_sent: Time,
    read: Vec<u8>,
}

impl<H: Host, P: Pipe> Talk<H, P> {
    /// Over a way that was chosen.
    pub(crate) fn new(host: &H, pipe: P, proof: Proof, peer: &str, path: Path, keep_alive: Duration) -> Talk<H, P> {
        let (host, since, peer) = (host.clone(), host.now(), peer.to_owned());
        Talk { host, pipe, proof, peer, path, since, keep_alive, last_sent: since, read: Vec::new() }
    }

    async fn say(&mut self, message: &[u8]) -> io::Result<()> {
        self.last_sent = self.host.now();
        self.pipe.send(message).await
    }

    async fn next(&mut self, deadline: Time) -> io::Result<Option<Datagram<'_>>> {
        loop {
            let due = deadline.min(self.last_sent + self.keep_alive);
            match before(&self.host, due, self.pipe.recv()).await {
                Ok(message) if message.first() == Some(&DATA) => {
                    self.read = message;
                    return Ok(Some(Datagram { payload: &self.read[1..], at: self.host.now() }));
                }
                Ok(message) => {
                    if let Taken::Answer(answer) = self.proof.take(&message, self.pipe.remote()) {
                        self.say(&answer).await?;
                    }
                }
                Err(_) if self.host.now() >= deadline => return Ok(None),
                Err(_) if self.host.now() >= due => {
                    // A Binding indication (RFC 8445 section 11). On an idle stream it is written at once and whole.
                    let id = codec::transaction_id(&mut self.host.random());
                    self.say(&Writer::indication(BINDING, id).finish()).await?;
                }
                Err(error) => return Err(error),
            }
        }
    }
}

impl<H: Host, P: Pipe> Channel for Talk<H, P> {
    fn path(&self) -> Path {
        self.path
    }

    fn transport(&self) -> Transport {
        self.pipe.transport()
    }

    fn remote(&self) -> SocketAddr {
        self.pipe.remote()
    }

    fn peer(&self) -> &str {
        &self.peer
    }

    fn history(&self) -> Vec<(Time, Path)> {
        vec![(self.since, self.path)]
    }

    fn send<'a>(&'a mut self, payload: &'a [u8]) -> LocalBoxFuture<'a, io::Result<()>> {
        async move {
            let mut message = Vec::with_capacity(payload.len() + 1);
            message.push(DATA);
            message.extend_from_slice(payload);
            self.say(&message).await
        }
        .boxed_local()
    }

    fn recv<'a>(&'a mut self, deadline: Time) -> LocalBoxFuture<'a, io::Result<Option<Datagram<'a>>>> {
        self.next(deadline).boxed_local()
    }
}

//! A session with its socket and its relay: waits for datagrams, keeps the checks going, hands on the data.
//!
//! Data travels with one byte `80` in front, so that a payload is never mistaken for STUN (first byte 0-3), ChannelData
//! (64-79) or a message of the directory (`D1`); RFC 7983 keeps these ranges apart.

use std::future::pending;
use std::io;
use std::net::SocketAddr;
use std::pin::pin;
use std::time::Duration;

use futures::{FutureExt, select_biased};
use natbox_host::{Host, Received, UdpSocket};
use natbox_wire::Time;

use super::session::{Session, Status, Transmit, Via, unauthorized};
use crate::path::Path;
use crate::rendezvous::{Body, Message, RequestId};
use crate::stun::codec::{self, BINDING, MessageClass, Writer};
use crate::turn;

/// What stands in front of data.
pub(crate) const DATA: u8 = 0x80;
/// What a link reads at once, in bytes: checks, and data up to more than an Ethernet frame. Longer data loses its end.
pub(crate) const READ_BYTES: usize = 2048;
/// The TTL of everything that is to arrive.
const USUAL_TTL: u8 = 64;
/// How long a relay is kept after a better path is in use, for what is still under way through it.
const RELAY_LINGERS: Duration = Duration::from_secs(3);

/// A session under way.
pub(crate) struct Link<H: Host> {
    pub(crate) host: H,
    pub(crate) socket: H::Udp,
    pub(crate) relay: Option<turn::Client<H>>,
    pub(crate) session: Session,
    keep_alive: Duration,
    last_sent: Time,
    buffer: Vec<u8>,
    relay_buffer: Vec<u8>,
    /// When the path changed, and to what: the last one is in use.
    pub(crate) history: Vec<(Time, Path)>,
}

/// What ended a step.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Step {
    /// Data of so many bytes came, at this time; [`Link::data`] has it.
    Data { length: usize, at: Time },
    /// A datagram came or a check was due. The session may have changed.
    Progress,
    /// The deadline passed.
    Deadline,
}

/// A datagram, by where it came in.
enum Arrival {
    Socket(io::Result<Received>),
    Relay(Result<(usize, SocketAddr), turn::Error>),
    Nothing,
}

impl<H: Host> Link<H> {
    pub(crate) fn new(
        host: &H,
        socket: H::Udp,
        relay: Option<turn::Client<H>>,
        session: Session,
        keep_alive: Duration,
    ) -> Link<H> {
        let relay_buffer = if relay.is_some() { vec![0; READ_BYTES] } else { Vec::new() };
        let (last_sent, buffer) = (host.now(), vec![0; READ_BYTES]);
        let host = host.clone();
        Link { host, socket, relay, session, keep_alive, last_sent, buffer, relay_buffer, history: Vec::new() }
    }

    /// The data of the last [`Step::Data`].
    pub(crate) fn data(&self, length: usize) -> &[u8] {
        &self.buffer[1..=length]
    }

    /// The pair in use.
    pub(crate) fn selected(&self) -> Option<(Via, SocketAddr)> {
        match self.session.status() {
            Status::Selected(index) | Status::Lost(index) => {
                Some((self.session.pair(index).via, self.session.pair(index).remote))
            }
            _ => None,
        }
    }

    /// Sends data over the pair in use.
    pub(crate) async fn send(&mut self, payload: &[u8]) -> io::Result<()> {
        let (via, to) = self.selected().ok_or(io::ErrorKind::NotConnected)?;
        let mut datagram = Vec::with_capacity(payload.len() + 1);
        datagram.push(DATA);
        datagram.extend_from_slice(payload);
        self.transmit(&Transmit { via, to, datagram, ttl: None }).await
    }

    /// Waits for one thing to happen, until `deadline` at most.
    pub(crate) async fn step(&mut self, deadline: Time) -> io::Result<Step> {
        self.flush().await;
        let keep_alive = self.keep_alive_due();
        let check = self.session.next_deadline().unwrap_or(Time::MAX);
        let relay_ends = self.relay_ends();
        let arrival = self.arrival(deadline.min(check).min(keep_alive).min(relay_ends)).await;
        let now = self.host.now();
        let step = match arrival {
            Arrival::Socket(Ok(received)) => {
                let length = received.length.min(self.buffer.len());
                self.take(Via::Socket, received.source, length, received.at).await
            }
            Arrival::Relay(Ok((length, source))) => {
                std::mem::swap(&mut self.buffer, &mut self.relay_buffer);
                self.take(Via::Relay, source, length.min(self.buffer.len()), now).await
            }
            Arrival::Socket(Err(error)) => {
                self.host.sleep(Duration::from_millis(10)).await;
                return if error.kind() == io::ErrorKind::ConnectionRefused { Ok(Step::Progress) } else { Err(error) };
            }
            Arrival::Relay(Err(_)) => {
                // The allocation is lost: what is left has to do without.
                self.relay = None;
                Step::Progress
            }
            Arrival::Nothing => self.timeout(deadline).await,
        };
        self.note_path();
        self.flush().await;
        Ok(step)
    }

    /// Waits for a datagram from either side.
    async fn arrival(&mut self, until: Time) -> Arrival {
        if self.relay.is_none() && until == Time::MAX {
            return Arrival::Socket(self.socket.recv_from(&mut self.buffer).await);
        }
        let relay = self.relay.as_ref();
        let relay_buffer = &mut self.relay_buffer[..];
        let mut from_socket = pin!(self.socket.recv_from(&mut self.buffer).fuse());
        let mut from_relay = pin!(
            async {
                match relay {
                    Some(relay) => relay.recv_from(relay_buffer).await,
                    None => pending().await,
                }
            }
            .fuse()
        );
        let mut end = pin!(self.host.sleep_until(until).fuse());
        select_biased! {
            received = from_socket => Arrival::Socket(received),
            received = from_relay => Arrival::Relay(received),
            () = end => Arrival::Nothing,
        }
    }

    /// Takes the datagram in the buffer.
    async fn take(&mut self, via: Via, source: SocketAddr, length: usize, at: Time) -> Step {
        let now = self.host.now();
        match self.buffer[..length].first() {
            Some(&DATA) if self.session.trusts(via, source) => return Step::Data { length: length - 1, at },
            Some(0..=3) => {
                let Some(message) = codec::parse(&self.buffer[..length]) else { return Step::Progress };
                let taken = self.session.handle(via, source, &message, now);
                let stranger = message.has_class(MessageClass::Request) && message.has_method(BINDING);
                if !taken && stranger {
                    let datagram = unauthorized(&message);
                    // Whoever it is may be gone.
                    let _ = self.transmit(&Transmit { via, to: source, datagram, ttl: None }).await;
                }
            }
            Some(0xD1) => self.accept_again(source, length).await,
            _ => {}
        }
        Step::Progress
    }

    /// Accepts this session's own invitation once more: the directory has not heard the first time.
    async fn accept_again(&mut self, source: SocketAddr, length: usize) {
        let Some(Message { id, body: Body::Invitation { token, .. } }) = Message::decode(&self.buffer[..length]) else {
            return;
        };
        if token == self.session.introduced().token {
            let _ = self.socket.send_to(&accepted(id), source).await;
        }
    }

    async fn timeout(&mut self, deadline: Time) -> Step {
        let now = self.host.now();
        self.session.tick(now);
        if now >= self.keep_alive_due() {
            if let Some((via, to)) = self.selected() {
                // A Binding indication (RFC 8445 section 11): any outbound packet keeps the mappings.
                let datagram = Writer::indication(BINDING, self.session.new_id()).fingerprint().finish();
                let _ = self.transmit(&Transmit { via, to, datagram, ttl: None }).await;
            }
            self.last_sent = now;
        }
        if now >= self.relay_ends() {
            self.relay = None;
        }
        if now >= deadline { Step::Deadline } else { Step::Progress }
    }

    /// When the relay is given back, because the path in use does without it.
    fn relay_ends(&self) -> Time {
        match self.history.last() {
            _ if self.session.keeps_relay() => Time::MAX,
            Some((since, path)) if self.relay.is_some() && *path != Path::Relayed => *since + RELAY_LINGERS,
            _ => Time::MAX,
        }
    }

    fn keep_alive_due(&self) -> Time {
        match self.session.status() {
            // The checks of a path that is watched keep it alive.
            Status::Selected(_) if !self.session.is_watched() => self.last_sent + self.keep_alive,
            _ => Time::MAX,
        }
    }

    /// Remembers a change of path.
    fn note_path(&mut self) {
        let path = match self.session.status() {
            Status::Selected(index) => Some(self.session.path_of(self.session.pair(index))),
            Status::Lost(_) => Some(Path::None),
            Status::Checking | Status::Failed => None,
        };
        if let Some(path) = path.filter(|path| self.history.last().is_none_or(|(_, last)| last != path)) {
            self.history.push((self.host.now(), path));
        }
    }

    /// Sends what the session has to say. What cannot be sent counts as lost: the checks go on.
    pub(crate) async fn flush(&mut self) {
        let transmits: Vec<Transmit> = self.session.drain().collect();
        for transmit in transmits {
            let _ = self.transmit(&transmit).await;
        }
    }

    async fn transmit(&mut self, transmit: &Transmit) -> io::Result<()> {
        self.last_sent = self.host.now();
        match (transmit.via, &self.relay) {
            (Via::Socket, _) => match transmit.ttl {
                None => self.socket.send_to(&transmit.datagram, transmit.to).await.map(drop),
                Some(ttl) => {
                    self.socket.set_ttl(ttl)?;
                    let sent = self.socket.send_to(&transmit.datagram, transmit.to).await.map(drop);
                    self.socket.set_ttl(USUAL_TTL)?;
                    sent
                }
            },
            (Via::Relay, Some(relay)) => relay
                .send_to(&transmit.datagram, transmit.to)
                .await
                .map_err(|error| io::Error::other(error.to_string())),
            (Via::Relay, None) => Err(io::ErrorKind::NotConnected.into()),
        }
    }
}

/// The answer to an invitation.
pub(crate) fn accepted(id: RequestId) -> Vec<u8> {
    Message { id, body: Body::Accepted }.encode()
}

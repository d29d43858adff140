//! The sockets of one side while one of them is sought that the other side meets.

use std::io;
use std::net::SocketAddr;
use std::rc::Rc;
use std::time::Duration;

use futures::future::LocalBoxFuture;
use futures::stream::FuturesUnordered;
use futures::{FutureExt, StreamExt, select_biased};
use natbox_host::{Host, Received, UdpSocket};
use natbox_wire::Time;

use super::ports::Ports;
use crate::ProbeError;
use crate::contact::Setting;
use crate::observe::Meeting;
use crate::punch::session::Credentials;
use crate::signal::Signal;
use crate::stun::codec::{self, BINDING, MessageClass, TransactionId};

/// The time between two probes: 100 a second.
const PACE: Duration = Duration::from_millis(10);
/// How long a mapping is left alone before its socket sends again.
const REFRESH: Duration = Duration::from_secs(10);
/// How long after the last probe something may still come.
const PATIENCE: Duration = Duration::from_secs(1);
/// The longest check that is read, in bytes.
const CHECK_BYTES: usize = 256;

/// A socket that was met, and by whom.
pub(super) struct Found<S> {
    pub(super) socket: S,
    pub(super) remote: SocketAddr,
    /// Which probe it was, the first being 1; whichever side sent it.
    pub(super) number: Option<u64>,
}

type Arrival = (usize, Vec<u8>, io::Result<Received>);

/// The sockets, and what is listened for on them.
pub(super) struct Field<H: Host> {
    host: H,
    sockets: Vec<Rc<H::Udp>>,
    listening: FuturesUnordered<LocalBoxFuture<'static, Arrival>>,
    credentials: Credentials,
    remote: SocketAddr,
    /// The numbers of this side's probes, and of the peer's, count up from here.
    first_ids: [u64; 2],
    /// How many sockets were opened.
    pub(super) opened: usize,
    /// How many probes were sent.
    pub(super) sent: u64,
    deadline: Time,
}

impl<H: Host> Field<H> {
    pub(super) fn new(host: &H, meeting: &Meeting<H>, deadline: Time) -> Field<H> {
        Field {
            host: host.clone(),
            sockets: Vec::new(),
            listening: FuturesUnordered::new(),
            credentials: Credentials::new(meeting.signal.role(), &meeting.signal.token()),
            remote: meeting.peer.next,
            first_ids: [meeting.first_id, meeting.peer.first_id],
            opened: 0,
            sent: 0,
            deadline,
        }
    }

    pub(super) fn add(&mut self, socket: H::Udp) {
        self.sockets.push(Rc::new(socket));
        self.opened += 1;
        self.listen(self.sockets.len() - 1);
    }

    fn listen(&mut self, index: usize) {
        let socket = self.sockets[index].clone();
        let arrival = async move {
            let mut buffer = vec![0; CHECK_BYTES];
            let received = socket.recv_from(&mut buffer).await;
            (index, buffer, received)
        };
        self.listening.push(arrival.boxed_local());
    }

    /// Opens the sockets, each towards the peer; where that has no one endpoint (`blind`), they wait for their probes.
    pub(super) async fn open(&mut self, setting: &Setting, blind: bool) -> Result<(), ProbeError> {
        for index in 0..usize::from(setting.options.sockets) {
            self.add(crate::punch::open(&self.host, setting.directory, 0).await?);
            if !blind {
                self.send(index, self.remote).await;
                self.host.sleep(PACE).await;
            }
        }
        Ok(())
    }

    /// Sends the next probe; one that cannot be sent counts as lost.
    async fn send(&mut self, index: usize, to: SocketAddr) {
        let id = TransactionId::from(u128::from(self.first_ids[0] + self.sent));
        self.sent += 1;
        let _ = self.sockets[index].send_to(&self.credentials.check(id), to).await;
    }

    /// Probes random ports of the peer's address, from all sockets in turn, as often as the setting allows at most.
    pub(super) async fn probe(&mut self, setting: &Setting) -> Result<Option<Found<H::Udp>>, ProbeError> {
        let mut ports = Ports::new(setting.options.ports.clone(), self.host.random());
        let mut next = self.host.now();
        for count in 0..setting.options.probes as usize {
            if next >= self.deadline {
                return Ok(None);
            }
            let to = SocketAddr::new(self.remote.ip(), ports.next());
            self.send(count % self.sockets.len().max(1), to).await;
            next = next + PACE;
            if let Some(found) = self.listen_until(next.min(self.deadline)).await {
                return Ok(Some(found));
            }
        }
        Ok(self.listen_until(self.deadline.min(self.host.now() + PATIENCE)).await)
    }

    /// Waits to be met, and keeps the mappings alive, until the other side says that it is over.
    pub(super) async fn wait(&mut self, signal: &mut Signal<H>) -> Result<Option<Found<H::Udp>>, ProbeError> {
        let (mut turn, mut refresh) = (0, self.host.now() + REFRESH);
        loop {
            let until = refresh.min(self.deadline);
            let heard = {
                let mut over = std::pin::pin!(signal.recv(self.deadline).fuse());
                let mut found = std::pin::pin!(self.listen_until(until).fuse());
                select_biased! {
                    found = found => found,
                    over = over => { over?; return Ok(None) },
                }
            };
            if heard.is_some() || self.host.now() >= self.deadline {
                return Ok(heard);
            }
            self.send(turn, self.remote).await;
            turn = (turn + 1) % self.sockets.len();
            refresh = self.host.now() + if turn == 0 { REFRESH } else { PACE };
        }
    }

    /// Takes what comes until something is the peer's.
    async fn listen_until(&mut self, until: Time) -> Option<Found<H::Udp>> {
        loop {
            let arrival = {
                let mut end = std::pin::pin!(self.host.sleep_until(until).fuse());
                select_biased! {
                    arrival = self.listening.next() => arrival,
                    () = end => None,
                }
            };
            let (index, buffer, received) = arrival?;
            if let Ok(received) = received
                && let Some(number) =
                    self.take(index, &buffer[..received.length.min(CHECK_BYTES)], received.source).await
            {
                // Whoever else is met is left alone: the sockets are closed, but for this one.
                self.listening.clear();
                let socket = Rc::try_unwrap(self.sockets.remove(index)).ok()?;
                return Some(Found { socket, remote: received.source, number });
            }
            self.listen(index);
        }
    }

    /// Answers a check of the peer's. Its number, if it is one, or the answer to one.
    async fn take(&self, index: usize, datagram: &[u8], source: SocketAddr) -> Option<Option<u64>> {
        let message = codec::parse(datagram).filter(|message| message.has_method(BINDING))?;
        let first = match message.class() {
            MessageClass::Request if self.credentials.is_peers(&message) => {
                let _ = self.sockets[index].send_to(&self.credentials.answer(&message, source), source).await;
                self.first_ids[1]
            }
            MessageClass::Success if self.credentials.is_signed(&message) => self.first_ids[0],
            _ => return None,
        };
        let id = u64::try_from(u128::from(message.transaction_id())).ok();
        Some(id.and_then(|id| id.checked_sub(first)).map(|count| count + 1))
    }
}

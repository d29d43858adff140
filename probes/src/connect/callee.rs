//! One caller of the answering side, as a contact: the side that was called follows whatever the caller begins anew.

use std::collections::VecDeque;
use std::io;
use std::net::SocketAddr;

use futures::FutureExt;
use futures::future::LocalBoxFuture;
use natbox_host::Host;
use natbox_wire::Time;

use super::answer::{Answerer, Replies, Service, SessionId};
use super::{Config, Failure};
use crate::ProbeError;
use crate::contact::{Channel, Contact, Datagram};
use crate::path::Path;
use crate::signal::{self, Signal};

/// How many datagrams wait for their reader; what comes beyond is lost.
const MOST_WAITING: usize = 256;
/// How many changes of path are remembered.
const MOST_HISTORY: usize = 1024;

/// Keeps what callers send.
#[derive(Debug, Default)]
struct Inbox(VecDeque<(SessionId, Vec<u8>, Time)>);

impl Service for Inbox {
    fn received(&mut self, session: SessionId, payload: &[u8], at: Time, _replies: &mut Replies) {
        if self.0.len() < MOST_WAITING {
            self.0.push_back((session, payload.to_vec(), at));
        }
    }
}

struct Callee<H: Host> {
    answerer: Answerer<H, Inbox>,
    id: SessionId,
    peer: String,
    remote: SocketAddr,
    history: Vec<(Time, Path)>,
    /// The datagram that was read last.
    payload: Vec<u8>,
}

/// What came of waiting for a caller.
pub(super) enum Answered<H: Host> {
    /// A path is in use.
    Contact(Contact<H>),
    /// The caller wants to meet from relay to relay.
    Signal(Signal<H>),
}

/// Registers, and waits for the first caller with whom a path comes about.
pub(super) async fn answer<H: Host>(host: &H, config: &Config, deadline: Time) -> Result<Answered<H>, Failure> {
    let began = host.now();
    let early = |error| Failure::early(error, host.now().since(began));
    let registered = Answerer::register(host.clone(), config.clone(), Inbox::default()).await;
    let mut answerer = registered.map_err(early)?;
    while host.now() < deadline {
        answerer.step(deadline).await;
        let first = answerer.first().and_then(|id| Some((id, answerer.reached(id)?)));
        if let Some((id, (path, remote, peer))) = first {
            let (peer, history) = (peer.to_owned(), vec![(host.now(), path)]);
            let callee = Callee { answerer, id, peer, remote, history, payload: Vec::new() };
            return Ok(Answered::Contact(Contact::new(host.clone(), callee, host.now().since(began))));
        }
        if let Some((token, peer)) = answerer.asked.take() {
            let (socket, seen) = answerer.into_socket();
            let wire = signal::over_udp(socket, config.directory);
            return Ok(Answered::Signal(Signal::invited(host, wire, token, seen, peer)));
        }
    }
    let (expected, from, waited) = ("a caller", config.directory, host.now().since(began));
    Err(early(ProbeError::Silence { expected, from, waited, sent: 1 }))
}

impl<H: Host> Callee<H> {
    fn remember(&mut self) {
        let Some((path, remote, _)) = self.answerer.reached(self.id) else { return };
        self.remote = remote;
        if self.path() != path && self.history.len() < MOST_HISTORY {
            self.history.push((self.answerer.host.now(), path));
        }
    }
}

impl<H: Host> Channel for Callee<H> {
    fn path(&self) -> Path {
        self.history.last().map_or(Path::None, |(_, path)| *path)
    }

    fn remote(&self) -> SocketAddr {
        self.remote
    }

    fn peer(&self) -> &str {
        &self.peer
    }

    fn history(&self) -> Vec<(Time, Path)> {
        self.history.clone()
    }

    fn send<'a>(&'a mut self, payload: &'a [u8]) -> LocalBoxFuture<'a, io::Result<()>> {
        self.answerer.replies.send(self.id, payload);
        async move {
            self.answerer.flush().await;
            Ok(())
        }
        .boxed_local()
    }

    fn recv<'a>(&'a mut self, deadline: Time) -> LocalBoxFuture<'a, io::Result<Option<Datagram<'a>>>> {
        async move {
            loop {
                while let Some((session, payload, at)) = self.answerer.service.0.pop_front() {
                    if session == self.id {
                        self.payload = payload;
                        return Ok(Some(Datagram { payload: &self.payload, at }));
                    }
                }
                if self.answerer.host.now() >= deadline {
                    return Ok(None);
                }
                self.answerer.step(deadline).await;
                self.remember();
            }
        }
        .boxed_local()
    }
}

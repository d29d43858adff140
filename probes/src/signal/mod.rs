//! Signalling: a channel of opaque messages between two hosts through the directory, before they can talk otherwise.
//!
//! ```text
//! caller                        directory                        callee
//!   |                               | <------- register ----------- |   again every keep-alive interval
//!   | -------- introduce ---------> | -------- invitation --------> |   one token for both
//!   | -------- signal 0 ----------> | -------- signal 0 ----------> |
//!   | <------- heard 1 ------------ | <------- heard 1 ------------ |   everything before 1 has come
//!   | <------- signal 0 ----------- | <------- signal 0 ----------- |   either side may speak at any time
//! ```
//!
//! Messages arrive once and in order: a signal is sent again until the other end has heard it, and the directory only
//! forwards. At most 32 of 1,200 bytes each are under way, either way. All is UDP; where the directory does not answer
//! over that, TCP to the same port (a length of two bytes in front of every message). The bytes of the messages stand in
//! [`rendezvous`].
//!
//! A program of its own keeps the channel going until [`Signal`] is dropped, and for a few seconds after that, so that
//! what was sent last still arrives. The directory forwards to where each side was heard last: a NAT that reboots does
//! not end a channel over UDP. It ends with silence: 8 repetitions, 31.5 seconds.
//!
//! Leaves out encryption: the directory reads everything, and whoever has the token speaks as either side.

mod driver;
mod order;
mod wire;

use std::cell::RefCell;
use std::net::SocketAddr;
use std::rc::Rc;
use std::time::Duration;

use futures::channel::{mpsc, oneshot};
use futures::{FutureExt, SinkExt, StreamExt, select_biased};
use natbox_host::Host;
use natbox_wire::Time;
use rand_core::Rng;

use crate::ProbeError;
use crate::path::{Paths, Transport};
use crate::punch::Role;
use crate::rendezvous::{self, Body, ErrorKind, Message, RequestId, Token};
use driver::{Command, Driver};
pub(crate) use wire::Wire;
pub(crate) use wire::over_tcp;

pub use crate::rendezvous::MOST_SIGNAL_BYTES;

/// How often a host that waits to be called renews its registration, and both sides show that they are there.
const KEEP_ALIVE: Duration = Duration::from_secs(15);
/// A registration outlives so many renewals.
const REGISTERED_INTERVALS: u32 = 4;
/// A caller asks for a name that is not registered so often.
const LOOK_UP_INTERVAL: Duration = Duration::from_millis(100);

/// One end of a channel.
pub struct Signal<H: Host> {
    host: H,
    directory: SocketAddr,
    role: Role,
    token: Token,
    seen: SocketAddr,
    peer: String,
    transport: Transport,
    commands: mpsc::Sender<Command>,
    inbox: mpsc::Receiver<Vec<u8>>,
    /// Why the channel has ended.
    error: Rc<RefCell<Option<ProbeError>>>,
}

impl<H: Host> Signal<H> {
    /// Calls `peer`, who is registered and waits in [`answer`](Signal::answer), as `me`.
    ///
    /// # Errors
    /// A directory that answers neither over UDP nor over TCP before `deadline`; an unknown name.
    pub async fn call(
        host: &H,
        directory: SocketAddr,
        me: &str,
        peer: &str,
        deadline: Time,
    ) -> Result<Signal<H>, ProbeError> {
        let (own, wanted) = (me.to_owned(), peer.to_owned());
        let body = Body::Introduce { own, wanted, paths: Paths::ALL, candidates: Vec::new() };
        let (wire, answer) = wire::open(host, directory, body, deadline).await?;
        let Body::Introduced { token, seen, peer } = answer else {
            return Err(unfit("an introduced message", directory, answer));
        };
        Ok(Signal::start(host, wire, Role::Caller, token, seen, peer.name))
    }

    /// Registers as `me` and waits for the first that calls.
    ///
    /// # Errors
    /// A directory that answers neither over UDP nor over TCP before `deadline`; nobody who calls before it.
    pub async fn answer(host: &H, directory: SocketAddr, me: &str, deadline: Time) -> Result<Signal<H>, ProbeError> {
        let began = host.now();
        let register =
            || Body::Register { name: me.to_owned(), lifetime: KEEP_ALIVE * REGISTERED_INTERVALS, candidates: vec![] };
        let (mut wire, answer) = wire::open(host, directory, register(), deadline).await?;
        let Body::Registered { mut seen, .. } = answer else {
            return Err(unfit("a registered message", directory, answer));
        };
        let mut renew_at = host.now() + KEEP_ALIVE;
        loop {
            match wire.recv(host, deadline.min(renew_at)).await? {
                Some(Message { id, body: Body::Invitation { token, peer, .. } }) => {
                    wire.send(host, &Message { id, body: Body::Accepted }).await?;
                    return Ok(Signal::start(host, wire, Role::Callee, token, seen, peer.name));
                }
                Some(Message { body: Body::Registered { seen: now_seen, .. }, .. }) => seen = now_seen,
                Some(_) => {}
                None if host.now() >= deadline => {
                    let (from, waited) = (directory, host.now().since(began));
                    return Err(ProbeError::Silence { expected: "an invitation", from, waited, sent: 1 });
                }
                None => {
                    renew_at = host.now() + KEEP_ALIVE;
                    let id = RequestId(host.random().next_u64());
                    wire.send(host, &Message { id, body: register() }).await?;
                }
            }
        }
    }

    /// Goes on as the caller with an introduction that this host has asked for over `wire`.
    pub(crate) fn go_on(host: &H, wire: Wire<H>, introduced: rendezvous::Introduced) -> Signal<H> {
        let rendezvous::Introduced { token, seen, peer } = introduced;
        Signal::start(host, wire, Role::Caller, token, seen, peer.name)
    }

    /// Goes on as the callee with an invitation that has come over `wire`.
    pub(crate) fn invited(host: &H, wire: Wire<H>, token: Token, seen: SocketAddr, peer: String) -> Signal<H> {
        Signal::start(host, wire, Role::Callee, token, seen, peer)
    }

    fn start(host: &H, wire: Wire<H>, role: Role, token: Token, seen: SocketAddr, peer: String) -> Signal<H> {
        let (commands, receiver) = mpsc::channel(0);
        let (sender, inbox) = mpsc::channel(order::WINDOW);
        let error = Rc::new(RefCell::new(None));
        let (directory, transport) = (wire.directory(), wire.transport());
        let driver = Driver::new(host.clone(), wire, role, token, sender);
        let (ended, spawner) = (error.clone(), host.clone());
        spawner.spawn(async move {
            *ended.borrow_mut() = driver.run(receiver).await.err();
        });
        let host = host.clone();
        Signal { host, directory, role, token, seen, peer, transport, commands, inbox, error }
    }

    /// The secret that both ends have and nobody else but the directory.
    pub fn token(&self) -> Token {
        self.token
    }

    /// Who has called whom.
    pub fn role(&self) -> Role {
        self.role
    }

    /// Where the directory saw this end's signalling socket.
    pub fn seen(&self) -> SocketAddr {
        self.seen
    }

    /// The other end's name.
    pub fn peer(&self) -> &str {
        &self.peer
    }

    /// The directory between the two ends.
    pub fn directory(&self) -> SocketAddr {
        self.directory
    }

    /// Over what this end reaches the directory.
    pub fn transport(&self) -> Transport {
        self.transport
    }

    /// Hands a message over. It is on its way at once, or as soon as there is room for it: 32 are under way at most.
    ///
    /// # Errors
    /// A message that is too long; a channel that has ended, and why.
    pub async fn send(&mut self, message: &[u8]) -> Result<(), ProbeError> {
        if message.len() > MOST_SIGNAL_BYTES {
            return Err(ProbeError::io("signal")(std::io::ErrorKind::InvalidInput.into()));
        }
        self.commands.send(Command::Send(message.to_vec())).await.map_err(|_| self.ended())
    }

    /// Waits until the other end has heard everything.
    ///
    /// # Errors
    /// A channel that has ended, and why.
    pub async fn flush(&mut self) -> Result<(), ProbeError> {
        let (heard, all_heard) = oneshot::channel();
        self.commands.send(Command::Flush(heard)).await.map_err(|_| self.ended())?;
        all_heard.await.map_err(|_| self.ended())
    }

    /// The next message from the other end; `None` at `deadline`.
    ///
    /// # Errors
    /// A channel that has ended, and why.
    pub async fn recv(&mut self, deadline: Time) -> Result<Option<Vec<u8>>, ProbeError> {
        let message = {
            let mut end = std::pin::pin!(self.host.sleep_until(deadline).fuse());
            select_biased! {
                message = self.inbox.next() => message,
                () = end => return Ok(None),
            }
        };
        message.map(Some).ok_or_else(|| self.ended())
    }

    fn ended(&self) -> ProbeError {
        let error = self.error.borrow().clone();
        error.unwrap_or_else(|| rendezvous::refused(ErrorKind::UnknownSession, self.directory))
    }
}

/// Asks for `name` until it is registered, but not again after `deadline`.
///
/// # Errors
/// A directory that answers neither over UDP nor over TCP, or that does not know the name before `deadline`.
pub async fn look_up<H: Host>(
    host: &H,
    directory: SocketAddr,
    name: &str,
    deadline: Time,
) -> Result<rendezvous::Peer, ProbeError> {
    let body = || Body::Lookup { name: name.to_owned() };
    let (mut wire, mut answer) = wire::open(host, directory, body(), deadline).await?;
    loop {
        match answer {
            Body::Found { peer } => return Ok(peer),
            Body::Error { code: ErrorKind::UnknownName } if host.now() < deadline => {
                host.sleep(LOOK_UP_INTERVAL).await;
                answer = wire.ask(host, body(), Time::MAX).await?;
            }
            other => return Err(unfit("a found message", directory, other)),
        }
    }
}

/// The way to the directory from a socket that has asked it already.
pub(crate) fn over_udp<H: Host>(socket: H::Udp, directory: SocketAddr) -> Wire<H> {
    Wire::Udp { socket, directory }
}

/// The error that an answer is which does not fit the request.
pub(crate) fn unfit(expected: &'static str, directory: SocketAddr, came: Body) -> ProbeError {
    match came {
        Body::Error { code } => rendezvous::refused(code, directory),
        other => rendezvous::unexpected(expected, directory, other),
    }
}

#[cfg(test)]
mod tests;

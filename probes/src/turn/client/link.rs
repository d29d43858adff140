//! A client's talk with its server: the socket, transactions with retransmission (RFC 8489 section 6.2.1), the
//! long-term credentials (section 9.2), and what comes in for the client to read.
//!
//! A success that is not authentic is ignored, as if it had been lost. An error is taken without MESSAGE-INTEGRITY,
//! since a server cannot always make one (400, 401, 438); one that carries a wrong MESSAGE-INTEGRITY is ignored.

use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::future::Future;
use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::pin::pin;
use std::rc::Rc;
use std::time::Duration;

use futures::channel::{mpsc, oneshot};
use futures::future::{Either, select};
use futures::{FutureExt, SinkExt, StreamExt, select_biased};
use natbox_host::{Host, UdpSocket};
use natbox_wire::Time;
use rand_core::Rng;
use stun_types::attribute::{AttributeStaticType, ErrorCode, MessageIntegrity, Nonce, Realm, Username};
use stun_types::message::{IntegrityKey, Message, MessageClass, Method, TransactionId};
use turn_types::message::DATA;

use super::inbox::Inbox;
use super::lease::Lease;
use super::{Credentials, Options, PeerError};
use crate::turn::message::{Kind, Writer, is_intact, kind, long_term_key, parse, parse_channel_data};
use crate::turn::notify::Notify;
use crate::turn::stream::{self, Messages};
use crate::turn::{Carrier, Error};

/// RFC 8489 section 6.2.1: RTO 500 ms, doubled each time; Rc = 7 sends; the last waits Rm = 16 RTOs.
const RTO: Duration = Duration::from_millis(500);
pub(in crate::turn) const SENDS: u32 = 7;
const LAST_WAIT: Duration = Duration::from_secs(8);
/// A nonce that goes stale again and again is the server's fault.
const MAX_STALE: u32 = 3;
/// RFC 8489 section 6.2.2: Ti, as long as over UDP.
const STREAM_WAIT: Duration = Duration::from_millis(39_500);
/// How long a connection and its TLS handshake may take.
const CONNECTS: Duration = Duration::from_secs(20);
/// How many messages wait to be written to a connection.
const QUEUE: usize = 16;
const BUFFER_BYTES: usize = 65_535;
/// Errors in a row after which the socket counts as broken.
const MAX_ERRORS: u32 = 16;

pub(super) struct Link<H: Host> {
    host: H,
    server: SocketAddr,
    road: Road<H>,
    random: RefCell<H::Random>,
    credentials: Credentials,
    lifetime: Option<Duration>,
    forbids_fragments: bool,
    session: RefCell<Option<Session>>,
    waiting: RefCell<BTreeMap<u128, Waiting>>,
    lease: RefCell<Option<Lease>>,
    lost: RefCell<Option<String>>,
    inbox: Inbox,
    let_go: Cell<bool>,
    stopped: Cell<bool>,
    changed: Notify,
}

/// How messages come to the server.
enum Road<H: Host> {
    Udp(Rc<H::Udp>),
    /// A program of its own has the connection.
    Stream {
        carrier: Carrier,
        local: SocketAddr,
        outgoing: mpsc::Sender<Vec<u8>>,
    },
}

/// A connection for the program that is to have it.
type Connection = (Messages, mpsc::Receiver<Vec<u8>>);

/// What a connection carried.
enum Carried {
    In(io::Result<Vec<u8>>),
    Out(Option<Vec<u8>>),
}

impl<H: Host> Road<H> {
    async fn open(host: &H, server: SocketAddr, options: &Options) -> Result<(Road<H>, Option<Connection>), Error> {
        if options.carrier == Carrier::Udp {
            let local = options.local.unwrap_or_else(|| any_address(server));
            let socket = host.udp_bind(local).await.map_err(|error| Error::io("bind a UDP socket", &error))?;
            // ICMP errors end a transaction early where the host tells of them.
            let _ = socket.set_receive_errors(true);
            return Ok((Road::Udp(Rc::new(socket)), None));
        }
        let certificate = match (options.carrier, &options.certificate) {
            (Carrier::Tls, None) => {
                let missing = io::Error::new(io::ErrorKind::InvalidInput, "its certificate is not known");
                return Err(Error::io("trust the TURN server", &missing));
            }
            (Carrier::Tls, certificate) => certificate.as_ref(),
            _ => None,
        };
        let deadline = host.now() + CONNECTS;
        let connected = stream::connect(host, server, certificate, deadline).await;
        let (stream, local) = connected.map_err(|error| Error::io("connect to the TURN server", &error))?;
        let (outgoing, receiver) = mpsc::channel(QUEUE);
        Ok((Road::Stream { carrier: options.carrier, local, outgoing }, Some((Messages::new(stream), receiver))))
    }

    /// How long to wait after each send; a stream loses nothing, so that there is one (RFC 8489 section 6.2.2).
    fn waits(&self) -> impl Iterator<Item = Duration> + use<H> {
        let once = match self {
            Road::Udp(_) => None,
            Road::Stream { .. } => Some(STREAM_WAIT),
        };
        retransmissions().filter(move |_| once.is_none()).chain(once)
    }
}

/// What the server's challenge told.
#[derive(Clone)]
struct Session {
    realm: String,
    nonce: String,
    key: IntegrityKey,
}

/// A transaction without an answer yet.
struct Waiting {
    key: Option<IntegrityKey>,
    answer: oneshot::Sender<Result<Vec<u8>, Error>>,
}

impl<H: Host> Link<H> {
    pub(super) async fn open(
        host: &H,
        server: SocketAddr,
        credentials: &Credentials,
        options: &Options,
    ) -> Result<Rc<Link<H>>, Error> {
        if let Err(error) = Username::new(&credentials.username) {
            let error = io::Error::new(io::ErrorKind::InvalidInput, error);
            return Err(Error::io("use this username (at most 508 bytes)", &error));
        }
        let (road, connection) = Road::open(host, server, options).await?;
        let link = Rc::new(Link {
            host: host.clone(),
            server,
            road,
            random: RefCell::new(host.random()),
            credentials: credentials.clone(),
            lifetime: options.lifetime,
            forbids_fragments: options.dont_fragment,
            session: RefCell::default(),
            waiting: RefCell::default(),
            lease: RefCell::default(),
            lost: RefCell::default(),
            inbox: Inbox::default(),
            let_go: Cell::new(false),
            stopped: Cell::new(false),
            changed: Notify::default(),
        });
        match (&link.road, connection) {
            (Road::Stream { .. }, Some((messages, outgoing))) => {
                host.spawn(Link::carry(link.clone(), messages, outgoing));
            }
            (Road::Udp(socket), _) => host.spawn(Link::read(link.clone(), socket.clone())),
            (Road::Stream { .. }, None) => link.lose("there is no connection".to_owned()),
        }
        Ok(link)
    }

    pub(super) fn host(&self) -> &H {
        &self.host
    }

    pub(super) fn server(&self) -> SocketAddr {
        self.server
    }

    pub(super) fn local_addr(&self) -> SocketAddr {
        match &self.road {
            Road::Udp(socket) => socket.local_addr(),
            Road::Stream { local, .. } => *local,
        }
    }

    pub(super) fn carrier(&self) -> Carrier {
        match &self.road {
            Road::Udp(_) => Carrier::Udp,
            Road::Stream { carrier, .. } => *carrier,
        }
    }

    pub(super) fn forbids_fragments(&self) -> bool {
        self.forbids_fragments
    }

    pub(super) fn asked_lifetime(&self) -> Option<Duration> {
        self.lifetime
    }

    pub(super) fn transaction(&self) -> TransactionId {
        let mut random = self.random.borrow_mut();
        TransactionId::from(u128::from(random.next_u64()) << 64 | u128::from(random.next_u64()))
    }

    pub(super) fn grant(&self, lease: Lease) {
        *self.lease.borrow_mut() = Some(lease);
    }

    pub(super) fn with_lease<T>(&self, read: impl FnOnce(&mut Lease) -> T) -> Option<T> {
        self.lease.borrow_mut().as_mut().map(read)
    }

    pub(super) fn lease_changed(&self) {
        self.changed.notify();
    }

    /// Resolves when the lease changes or the client lets go, after this call.
    pub(super) fn change(&self) -> impl Future<Output = ()> {
        self.changed.changed()
    }

    pub(super) fn is_let_go(&self) -> bool {
        self.let_go.get()
    }

    /// Resolves when the client lets go.
    pub(super) async fn released(&self) {
        loop {
            let changed = self.changed.changed();
            if self.let_go.get() {
                return;
            }
            changed.await;
        }
    }

    /// The last holder is gone: give back what was granted, and stop.
    pub(super) fn let_go(&self) {
        self.let_go.set(true);
        if self.lease.borrow().is_none() {
            self.stop();
        }
        self.changed.notify();
    }

    /// The allocation is lost: whoever sends or receives is told why.
    pub(super) fn lose(&self, why: String) {
        self.lost.borrow_mut().get_or_insert(why);
        self.inbox.wake();
    }

    /// Ends the reading program.
    pub(super) fn stop(&self) {
        self.stopped.set(true);
        self.changed.notify();
    }

    pub(super) fn expect_held(&self) -> Result<(), Error> {
        match &*self.lost.borrow() {
            Some(why) => Err(Error::Gone { why: why.clone() }),
            None => Ok(()),
        }
    }

    pub(super) async fn send(&self, datagram: &[u8]) -> Result<(), Error> {
        let sent = match &self.road {
            Road::Udp(socket) => match socket.send_to(datagram, self.server).await {
                Ok(_) => Ok(()),
                // A send may report the ICMP error of an earlier one instead.
                Err(_) => socket.send_to(datagram, self.server).await.map(drop),
            },
            Road::Stream { outgoing, .. } => {
                let mut outgoing = outgoing.clone();
                outgoing.send(datagram.to_vec()).await.map_err(|_| io::ErrorKind::BrokenPipe.into())
            }
        };
        sent.map_err(|error| Error::io("send to the TURN server", &error))
    }

    pub(super) async fn next_datagram(&self) -> Result<(Vec<u8>, SocketAddr), Error> {
        loop {
            let filled = self.inbox.filled();
            if let Some(datagram) = self.inbox.pop() {
                return Ok(datagram);
            }
            self.expect_held()?;
            filled.await;
        }
    }

    pub(super) fn take_peer_error(&self) -> Option<PeerError> {
        self.inbox.pop_error()
    }

    /// Reads the socket until the link is stopped.
    async fn read(link: Rc<Link<H>>, socket: Rc<H::Udp>) {
        let mut buffer = vec![0; BUFFER_BYTES];
        let mut errors = 0;
        while !link.stopped.get() && errors < MAX_ERRORS {
            let changed = link.changed.changed();
            let received = match select(pin!(socket.recv_from(&mut buffer)), pin!(changed)).await {
                Either::Left((received, _)) => received,
                Either::Right(_) => continue,
            };
            match received {
                Ok(received) => {
                    errors = 0;
                    if received.source == link.server {
                        link.take(buffer.get(..received.length).unwrap_or_default());
                    }
                }
                Err(error) => {
                    errors += 1;
                    while socket.take_icmp_report().is_some() {}
                    link.fail_waiting(&error);
                }
            }
        }
        if !link.stopped.get() {
            link.lose("the socket to the TURN server broke".to_owned());
        }
    }

    /// Carries messages over a connection until the link is stopped or the connection ends.
    async fn carry(link: Rc<Link<H>>, mut messages: Messages, mut outgoing: mpsc::Receiver<Vec<u8>>) {
        while !link.stopped.get() {
            let carried = {
                let mut came = pin!(messages.recv().fuse());
                let mut changed = pin!(link.changed.changed().fuse());
                select_biased! {
                    came = came => Carried::In(came),
                    going = outgoing.next() => Carried::Out(going),
                    () = changed => continue,
                }
            };
            let done = match carried {
                Carried::In(Ok(message)) => {
                    link.take(&message);
                    Ok(())
                }
                Carried::Out(Some(message)) => messages.send(&message).await,
                Carried::In(Err(error)) => Err(error),
                Carried::Out(None) => return,
            };
            if let Err(error) = done {
                return link.disconnected(&error);
            }
        }
    }

    /// The connection has ended, and the allocation with it (RFC 8656 section 3.1).
    fn disconnected(&self, error: &io::Error) {
        for (_, waiting) in self.waiting.take() {
            let _ = waiting.answer.send(Err(Error::io("talk to the TURN server", error)));
        }
        if !self.stopped.get() {
            self.lose(format!("the connection to the TURN server has ended: {error}"));
        }
    }

    /// A port, host or network unreachable ends the transactions under way; anything milder is waited out.
    fn fail_waiting(&self, error: &io::Error) {
        use io::ErrorKind::{ConnectionRefused, HostUnreachable, NetworkUnreachable};
        if matches!(error.kind(), ConnectionRefused | HostUnreachable | NetworkUnreachable) {
            for (_, waiting) in self.waiting.take() {
                let _ = waiting.answer.send(Err(Error::io("reach the TURN server", error)));
            }
        }
    }

    fn take(&self, datagram: &[u8]) {
        match kind(datagram) {
            Kind::Channel => {
                let Some((number, payload)) = parse_channel_data(datagram) else { return };
                if let Some(peer) = self.with_lease(|lease| lease.peer_of(number)).flatten() {
                    self.inbox.push(payload, peer);
                }
            }
            Kind::Stun => {
                let Some(message) = parse(datagram) else { return };
                match message.class() {
                    MessageClass::Success | MessageClass::Error => self.take_answer(&message),
                    MessageClass::Indication if message.method() == DATA => self.inbox.push_indication(&message),
                    MessageClass::Indication | MessageClass::Request => {}
                }
            }
            Kind::Other => {}
        }
    }

    fn take_answer(&self, message: &Message<'_>) {
        let mut all = self.waiting.borrow_mut();
        let id = u128::from(message.transaction_id());
        let Some(waiting) = all.get(&id) else { return };
        let must_be_intact = message.has_class(MessageClass::Success) || message.has_attribute(MessageIntegrity::TYPE);
        let is_trusted = match &waiting.key {
            Some(key) if must_be_intact => is_intact(message, key),
            _ => true,
        };
        if is_trusted && let Some(waiting) = all.remove(&id) {
            let _ = waiting.answer.send(Ok(message.as_bytes().to_vec()));
        }
    }

    /// Sends a request whose attributes `write` adds, proves who asks, and answers the success message.
    pub(super) async fn ask(
        &self,
        name: &'static str,
        method: Method,
        write: &dyn Fn(Writer, TransactionId) -> Writer,
    ) -> Result<Vec<u8>, Error> {
        let mut stale = 0;
        loop {
            let session = self.session.borrow().clone();
            let id = self.transaction();
            let request = self.request(method, id, session.as_ref(), write);
            let key = session.as_ref().map(|session| session.key.clone());
            let answer = self.transact(name, id, &request, key).await?;
            let message = parse(&answer).ok_or(Error::BadAnswer { method: name, expected: "a STUN message" })?;
            if message.has_class(MessageClass::Success) {
                return Ok(answer);
            }
            let error = message.attribute::<ErrorCode>();
            let error = error.map_err(|_| Error::BadAnswer { method: name, expected: "ERROR-CODE" })?;
            match (error.code(), session) {
                (401, None) => self.accept_challenge(name, &message)?,
                (401, Some(session)) => return Err(Error::BadCredentials { realm: session.realm }),
                (438, Some(_)) if stale < MAX_STALE => self.accept_challenge(name, &message)?,
                (code, _) => return Err(Error::Refused { method: name, code, reason: error.reason().to_owned() }),
            }
            stale += 1;
        }
    }

    /// One transaction: sends, and sends again until an answer comes.
    async fn transact(
        &self,
        name: &'static str,
        id: TransactionId,
        request: &[u8],
        key: Option<IntegrityKey>,
    ) -> Result<Vec<u8>, Error> {
        let (sender, mut answer) = oneshot::channel();
        self.waiting.borrow_mut().insert(id.into(), Waiting { key, answer: sender });
        let _entry = Entry { waiting: &self.waiting, id: id.into() };
        let began = self.host.now();
        for wait in self.road.waits() {
            self.send(request).await?;
            let due: Time = self.host.now() + wait;
            if let Either::Left((answered, _)) = select(&mut answer, pin!(self.host.sleep_until(due))).await {
                return answered.unwrap_or_else(|_| Err(Error::Gone { why: "the client stopped".to_owned() }));
            }
        }
        Err(Error::TimedOut { method: name, server: self.server, after: self.host.now() - began })
    }

    fn request(
        &self,
        method: Method,
        id: TransactionId,
        session: Option<&Session>,
        write: &dyn Fn(Writer, TransactionId) -> Writer,
    ) -> Vec<u8> {
        let mut writer = write(Writer::new(MessageClass::Request, method, id), id);
        if let Some(session) = session
            && let (Ok(username), Ok(realm), Ok(nonce)) =
                (Username::new(&self.credentials.username), Realm::new(&session.realm), Nonce::new(&session.nonce))
        {
            writer = writer.with(&username).with(&realm).with(&nonce);
        }
        writer.with_software().finish(session.map(|session| &session.key), true)
    }

    /// Remembers the realm and nonce of a 401 or 438.
    fn accept_challenge(&self, name: &'static str, message: &Message<'_>) -> Result<(), Error> {
        let bad = |expected| Error::BadAnswer { method: name, expected };
        let realm = message.attribute::<Realm>().map_err(|_| bad("REALM"))?.realm().to_owned();
        let nonce = message.attribute::<Nonce>().map_err(|_| bad("NONCE"))?.nonce().to_owned();
        let key = long_term_key(&self.credentials.username, &realm, &self.credentials.password);
        *self.session.borrow_mut() = Some(Session { realm, nonce, key });
        Ok(())
    }
}

/// Takes a transaction off the list however its program ends.
struct Entry<'a> {
    waiting: &'a RefCell<BTreeMap<u128, Waiting>>,
    id: u128,
}

impl Drop for Entry<'_> {
    fn drop(&mut self) {
        self.waiting.borrow_mut().remove(&self.id);
    }
}

/// Over UDP, how long to wait after each send: 0.5, 1, 2, 4, 8, 16 and 8 s, 39.5 s in all.
fn retransmissions() -> impl Iterator<Item = Duration> {
    (0..SENDS - 1).map(|send| RTO * 2u32.pow(send)).chain(std::iter::once(LAST_WAIT))
}

fn any_address(server: SocketAddr) -> SocketAddr {
    let address = match server {
        SocketAddr::V4(_) => IpAddr::V4(Ipv4Addr::UNSPECIFIED),
        SocketAddr::V6(_) => IpAddr::V6(Ipv6Addr::UNSPECIFIED),
    };
    SocketAddr::new(address, 0)
}

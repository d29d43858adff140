//! A client's talk with its server: the way to it, what was granted, and what comes in for the client to read.
//! `transact` asks and takes answers, `carry` has the socket or the connection.

mod carry;
mod transact;

use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::future::Future;
use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::rc::Rc;
use std::time::Duration;

use futures::SinkExt;
use futures::channel::mpsc;
use natbox_host::{Host, UdpSocket};
use rand_core::Rng;
use stun_types::attribute::Username;
use stun_types::message::TransactionId;

use super::inbox::Inbox;
use super::lease::Lease;
use super::{Credentials, Options, PeerError};
use crate::turn::notify::Notify;
use crate::turn::stream::{self, Bytes, Messages};
use crate::turn::{Carrier, Error};
pub(in crate::turn) use transact::SENDS;
pub(super) use transact::Session;
use transact::{Waiting, retransmissions};

/// RFC 8489 section 6.2.2: Ti, as long as over UDP.
const STREAM_WAIT: Duration = Duration::from_millis(39_500);
/// How long a connection and its TLS handshake may take.
const CONNECTS: Duration = Duration::from_secs(20);
/// How many messages wait to be written to a connection.
const QUEUE: usize = 16;

pub(super) struct Link<H: Host> {
    host: H,
    server: SocketAddr,
    road: Road<H>,
    random: RefCell<H::Random>,
    credentials: Credentials,
    options: Options,
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

impl<H: Host> Road<H> {
    async fn open(host: &H, server: SocketAddr, options: &Options) -> Result<(Road<H>, Option<Connection>), Error> {
        if options.carrier == Carrier::Udp {
            let local = options.local.unwrap_or_else(|| any_address(server));
            let socket = host.udp_bind(local).await.map_err(|error| Error::io("bind a UDP socket", &error))?;
            // ICMP errors end a transaction early where the host tells of them.
            let _ = socket.set_receive_errors(true);
            return Ok((Road::Udp(Rc::new(socket)), None));
        }
        let (stream, local) = connect(host, server, options).await?;
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
            options: options.clone(),
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
        self.options.dont_fragment
    }

    pub(super) fn asked_lifetime(&self) -> Option<Duration> {
        self.options.lifetime
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

    /// The next connection that a peer has opened to the relayed address: what the server calls it, and the peer.
    pub(super) async fn next_attempt(&self) -> Result<(u32, SocketAddr), Error> {
        loop {
            let filled = self.inbox.filled();
            if let Some(attempt) = self.inbox.pop_attempt() {
                return Ok(attempt);
            }
            self.expect_held()?;
            filled.await;
        }
    }

    /// One more connection to the server, like the one that the client has.
    pub(super) async fn another(&self) -> Result<Box<dyn Bytes>, Error> {
        connect(&self.host, self.server, &self.options).await.map(|(stream, _)| stream)
    }

    /// What the server told last of how to prove who asks.
    pub(super) fn session(&self) -> Option<Session> {
        self.session.borrow().clone()
    }

    pub(super) fn credentials(&self) -> &Credentials {
        &self.credentials
    }

    pub(super) fn take_peer_error(&self) -> Option<PeerError> {
        self.inbox.pop_error()
    }
}

/// A connection to the server, over TCP or TLS.
async fn connect<H: Host>(
    host: &H,
    server: SocketAddr,
    options: &Options,
) -> Result<(Box<dyn Bytes>, SocketAddr), Error> {
    let certificate = match (options.carrier, &options.certificate) {
        (Carrier::Tls, None) => {
            let missing = io::Error::new(io::ErrorKind::InvalidInput, "its certificate is not known");
            return Err(Error::io("trust the TURN server", &missing));
        }
        (Carrier::Tls, certificate) => certificate.as_ref(),
        _ => None,
    };
    let connected = stream::connect(host, server, certificate, host.now() + CONNECTS).await;
    connected.map_err(|error| Error::io("connect to the TURN server", &error))
}

fn any_address(server: SocketAddr) -> SocketAddr {
    let address = match server {
        SocketAddr::V4(_) => IpAddr::V4(Ipv4Addr::UNSPECIFIED),
        SocketAddr::V6(_) => IpAddr::V6(Ipv6Addr::UNSPECIFIED),
    };
    SocketAddr::new(address, 0)
}

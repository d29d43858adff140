//! What the state machine needs of a host: sockets for the relayed addresses, and timers. Knows nothing of who reads
//! the listening socket.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::io;
use std::net::SocketAddr;
use std::pin::pin;
use std::rc::Rc;

use futures::channel::{mpsc, oneshot};
use futures::future::{Either, select};
use natbox_host::{Host, Received, UdpSocket};
use natbox_wire::Time;

use super::splice::Peers;
use super::{Discard, FiveTuple, Output, Server, ServerConfig};
use crate::ProbeError;
use crate::turn::Carrier;
use crate::turn::notify::Notify;

/// The longest datagram that a socket can hand over, in bytes.
pub(super) const BUFFER_BYTES: usize = 65_535;
/// Errors in a row, without an ICMP report to explain them, after which a socket counts as broken.
const MAX_ERRORS: u32 = 16;

/// A TURN server on a listening socket that its owner reads: for a port that is shared with other protocols.
///
/// The owner hands over what [`handles`](super::handles) accepts. Relayed addresses and timers are served by programs
/// of the service's own, for as long as the host runs.
pub struct Service<H: Host> {
    pub(super) shared: Rc<Shared<H>>,
}

impl<H: Host> Clone for Service<H> {
    fn clone(&self) -> Service<H> {
        Service { shared: self.shared.clone() }
    }
}

pub(super) struct Shared<H: Host> {
    pub(super) host: H,
    listening: Rc<H::Udp>,
    pub(super) server: RefCell<Server>,
    /// What waits to be written to the clients that have come over streams.
    pub(super) streams: RefCell<BTreeMap<FiveTuple, mpsc::Sender<Vec<u8>>>>,
    sockets: RefCell<BTreeMap<SocketAddr, RelaySocket<H::Udp>>>,
    pub(super) peers: Peers<H>,
    pub(super) deadline_moved: Notify,
}

struct RelaySocket<U> {
    socket: Rc<U>,
    /// Dropped with the entry: then the program that reads the socket ends.
    _closing: oneshot::Sender<()>,
}

impl<H: Host> Service<H> {
    /// A server that answers from `listening`; `config.listen` is not bound again.
    ///
    /// # Errors
    /// [`ProbeError::Io`] with `InvalidInput` if the configuration makes no sense.
    pub fn new(host: H, listening: Rc<H::Udp>, mut config: ServerConfig) -> Result<Service<H>, ProbeError> {
        config.dont_fragment &= listening.set_dont_fragment(false).is_ok();
        let server = Server::new(config, host.random())
            .map_err(|invalid| io::Error::new(io::ErrorKind::InvalidInput, invalid))
            .map_err(ProbeError::io("start a TURN server"))?;
        let shared = Rc::new(Shared {
            host: host.clone(),
            listening,
            server: RefCell::new(server),
            streams: RefCell::default(),
            sockets: RefCell::new(BTreeMap::new()),
            peers: Peers::default(),
            deadline_moved: Notify::default(),
        });
        host.spawn(Shared::run_timers(shared.clone()));
        Ok(Service { shared })
    }

    /// Takes a datagram that came to the listening socket; says why if it had no consequence.
    pub async fn receive(&self, datagram: &[u8], received: &Received) -> Result<(), Discard> {
        let (client, server) = (received.source, received.destination);
        Shared::take(&self.shared, datagram, FiveTuple { client, server, carrier: Carrier::Udp }).await
    }

    /// How many allocations there are.
    pub fn allocation_count(&self) -> usize {
        self.shared.server.borrow().allocation_count()
    }
}

impl<H: Host> Shared<H> {
    /// Takes a message of a client.
    pub(super) async fn take(shared: &Rc<Shared<H>>, message: &[u8], five_tuple: FiveTuple) -> Result<(), Discard> {
        Shared::tell(shared, |server, now| server.receive(message, five_tuple, now)).await
    }

    /// Tells the server something, and does what it wants done for it.
    pub(super) async fn tell<T>(shared: &Rc<Shared<H>>, tell: impl FnOnce(&mut Server, Time) -> T) -> T {
        let before = shared.next_deadline();
        let outcome = tell(&mut shared.server.borrow_mut(), shared.host.now());
        Shared::flush(shared).await;
        if shared.next_deadline() != before {
            shared.deadline_moved.notify();
        }
        outcome
    }

    fn next_deadline(&self) -> Option<Time> {
        self.server.borrow().next_deadline()
    }

    async fn run_timers(shared: Rc<Shared<H>>) {
        loop {
            let moved = shared.deadline_moved.changed();
            match shared.next_deadline() {
                None => moved.await,
                Some(deadline) => {
                    let due = shared.host.sleep_until(deadline);
                    if let Either::Left(_) = select(pin!(due), pin!(moved)).await {
                        shared.server.borrow_mut().handle_timeout(shared.host.now());
                        Shared::flush(&shared).await;
                    }
                }
            }
        }
    }

    /// Does what the server wants done.
    pub(super) async fn flush(shared: &Rc<Shared<H>>) {
        loop {
            let Some(output) = shared.server.borrow_mut().poll_output() else { return };
            match output {
                Output::Reply { five_tuple, payload } if five_tuple.carrier != Carrier::Udp => {
                    // What a slow client has no room for is lost, as a datagram is.
                    let mut streams = shared.streams.borrow_mut();
                    let _ = streams.get_mut(&five_tuple).map(|stream| stream.try_send(payload));
                }
                Output::Reply { five_tuple, payload } => {
                    // A datagram that cannot be sent is a datagram lost: the client retransmits.
                    let _ = shared.listening.send_to(&payload, five_tuple.client).await;
                }
                Output::Relay { relay, peer, payload, dont_fragment } => {
                    shared.relay(relay, peer, &payload, dont_fragment).await;
                }
                Output::Open { relay } => Shared::open(shared, relay).await,
                Output::Close { relay } => {
                    shared.sockets.borrow_mut().remove(&relay);
                    shared.peers.unlisten(relay);
                }
                Output::Listen { relay } => Peers::listen(shared, relay).await,
                Output::Connect { connection, relay, peer } => Peers::connect(shared, connection, relay, peer),
                Output::Splice { connection, five_tuple } => shared.peers.splice(connection, five_tuple),
                Output::HangUp { connection } => shared.peers.hang_up(connection),
            }
        }
    }

    async fn relay(&self, relay: SocketAddr, peer: SocketAddr, payload: &[u8], dont_fragment: bool) {
        let socket = self.sockets.borrow().get(&relay).map(|open| open.socket.clone());
        let Some(socket) = socket else { return };
        if dont_fragment && socket.set_dont_fragment(true).is_err() {
            return;
        }
        // A send may report the ICMP error of an earlier one instead; what fails twice is lost like any datagram.
        if socket.send_to(payload, peer).await.is_err() && self.pass_on_errors(relay, &socket) {
            let _ = socket.send_to(payload, peer).await;
        }
        if dont_fragment {
            let _ = socket.set_dont_fragment(false);
        }
    }

    async fn open(shared: &Rc<Shared<H>>, relay: SocketAddr) {
        let socket = shared.host.udp_bind(relay).await.ok().map(Rc::new);
        let is_open = socket.is_some();
        if let Some(socket) = socket {
            // Fragments when too long, unless a Send indication forbids it; ICMP errors where the host gives them.
            let _ = socket.set_dont_fragment(false);
            let _ = socket.set_receive_errors(true);
            let (closing, closed) = oneshot::channel();
            let entry = RelaySocket { socket: socket.clone(), _closing: closing };
            shared.sockets.borrow_mut().insert(relay, entry);
            shared.host.spawn(Shared::read_relay(shared.clone(), relay, socket, closed));
        }
        shared.server.borrow_mut().opened(relay, is_open, shared.host.now());
    }

    /// Hands over what peers send to a relayed address, until it is closed.
    async fn read_relay(
        shared: Rc<Shared<H>>,
        relay: SocketAddr,
        socket: Rc<H::Udp>,
        mut closed: oneshot::Receiver<()>,
    ) {
        let mut buffer = vec![0; BUFFER_BYTES];
        let mut errors = 0;
        while errors < MAX_ERRORS {
            let received = {
                let receiving = pin!(socket.recv_from(&mut buffer));
                match select(receiving, &mut closed).await {
                    Either::Left((received, _)) => received,
                    Either::Right(_) => return,
                }
            };
            let explained = shared.pass_on_errors(relay, &socket);
            if let Ok(received) = received {
                let payload = buffer.get(..received.length).unwrap_or_default();
                let now = shared.host.now();
                let _ = shared.server.borrow_mut().receive_relayed(payload, received.source, relay, now);
                errors = 0;
            } else if explained {
                errors = 0;
            } else {
                errors += 1;
            }
            Shared::flush(&shared).await;
        }
    }

    /// Hands over the ICMP errors that wait at a relayed address; whether there were any.
    fn pass_on_errors(&self, relay: SocketAddr, socket: &H::Udp) -> bool {
        let mut any = false;
        while let Some(report) = socket.take_icmp_report() {
            any = true;
            let now = self.host.now();
            let _ = self.server.borrow_mut().receive_icmp(report.error, report.destination, relay, now);
        }
        any
    }
}

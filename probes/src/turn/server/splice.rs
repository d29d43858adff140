//! Connections with the peers of TCP allocations (RFC 6062): listeners at relayed addresses, connections from there, and
//! the bytes between a peer's connection and the client's. What a peer sends before the client has bound its connection
//! waits in the host's own buffer, and with it the peer.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::pin::pin;
use std::rc::Rc;
use std::time::Duration;

use futures::channel::oneshot;
use futures::future::{Either, select};
use natbox_host::{Host, TcpListener, TcpOptions, TcpStream};

use super::driver::Shared;
use super::tcp::PATIENCE;
use super::{ConnectionId, FiveTuple};
use crate::stream::write_all;
use crate::turn::stream::{Bytes, Messages};

/// Errors of a listener in a row, after which it counts as broken.
const MAX_ERRORS: u32 = 16;
/// How long after an error the listener is asked again.
const AGAIN: Duration = Duration::from_millis(10);

/// A connection with a peer that nobody has bound yet.
struct Waiting<H: Host> {
    stream: H::Tcp,
    closed: oneshot::Receiver<()>,
}

/// All that TCP allocations have open.
pub(super) struct Peers<H: Host> {
    listeners: RefCell<BTreeMap<SocketAddr, oneshot::Sender<()>>>,
    waiting: RefCell<BTreeMap<ConnectionId, Waiting<H>>>,
    spliced: RefCell<BTreeMap<FiveTuple, Spliced<H>>>,
    /// Dropped when the server hangs up.
    open: RefCell<BTreeMap<ConnectionId, oneshot::Sender<()>>>,
}

impl<H: Host> Default for Peers<H> {
    fn default() -> Peers<H> {
        Peers {
            listeners: RefCell::default(),
            waiting: RefCell::default(),
            spliced: RefCell::default(),
            open: RefCell::default(),
        }
    }
}

impl<H: Host> Peers<H> {
    /// Listens at a relayed address.
    pub(super) async fn listen(shared: &Rc<Shared<H>>, relay: SocketAddr) {
        let options = TcpOptions { reuse_port: true, ..TcpOptions::default() };
        let listener = shared.host.tcp_listen(relay, options).await.ok();
        let is_open = listener.is_some();
        if let Some(listener) = listener {
            let (closing, closed) = oneshot::channel();
            shared.peers.listeners.borrow_mut().insert(relay, closing);
            shared.host.spawn(accept(shared.clone(), relay, listener, closed));
        }
        shared.server.borrow_mut().opened(relay, is_open, shared.host.now());
    }

    pub(super) fn unlisten(&self, relay: SocketAddr) {
        self.listeners.borrow_mut().remove(&relay);
    }

    /// Begins to connect; the server is told how it went.
    pub(super) fn connect(shared: &Rc<Shared<H>>, connection: ConnectionId, relay: SocketAddr, peer: SocketAddr) {
        let closed = shared.peers.open(connection);
        let shared = shared.clone();
        let host = shared.host.clone();
        host.spawn(async move {
            let options =
                TcpOptions { local: Some(relay), reuse_port: true, connect_timeout: Some(PATIENCE), ttl: None };
            let connected = match select(pin!(shared.host.tcp_connect(peer, options)), closed).await {
                Either::Left((connected, closed)) => connected.map(|stream| (stream, closed)),
                // The server has given up.
                Either::Right(_) => return,
            };
            let is_open = connected.is_ok();
            match connected {
                Ok((stream, closed)) => shared.peers.wait(connection, stream, closed),
                Err(_) => shared.peers.hang_up(connection),
            }
            Shared::tell(&shared, |server, now| server.connected(connection, is_open, now)).await;
        });
    }

    /// The client's connection is bound: what talks with it takes both.
    pub(super) fn splice(&self, connection: ConnectionId, five_tuple: FiveTuple) {
        let Some(waiting) = self.waiting.borrow_mut().remove(&connection) else { return };
        let Waiting { stream, closed } = waiting;
        self.spliced.borrow_mut().insert(five_tuple, Spliced { connection, stream, closed });
    }

    /// What this connection of a client was bound to just now.
    pub(super) fn spliced(&self, five_tuple: FiveTuple) -> Option<Spliced<H>> {
        self.spliced.borrow_mut().remove(&five_tuple)
    }

    pub(super) fn hang_up(&self, connection: ConnectionId) {
        self.open.borrow_mut().remove(&connection);
        self.waiting.borrow_mut().remove(&connection);
    }

    fn open(&self, connection: ConnectionId) -> oneshot::Receiver<()> {
        let (closing, closed) = oneshot::channel();
        self.open.borrow_mut().insert(connection, closing);
        closed
    }

    fn wait(&self, connection: ConnectionId, stream: H::Tcp, closed: oneshot::Receiver<()>) {
        self.waiting.borrow_mut().insert(connection, Waiting { stream, closed });
    }
}

/// Takes what peers open to a relayed address, until it is closed.
async fn accept<H: Host>(
    shared: Rc<Shared<H>>,
    relay: SocketAddr,
    listener: H::Listener,
    mut closed: oneshot::Receiver<()>,
) {
    let mut errors = 0;
    while errors < MAX_ERRORS {
        let accepted = match select(pin!(listener.accept()), &mut closed).await {
            Either::Left((accepted, _)) => accepted,
            Either::Right(_) => return,
        };
        let Ok(stream) = accepted else {
            errors += 1;
            shared.host.sleep(AGAIN).await;
            continue;
        };
        errors = 0;
        let peer = stream.peer_addr();
        // Whom nobody has permitted finds the connection closed at once.
        Shared::tell(&shared, |server, now| {
            if let Ok(connection) = server.accepted(peer, relay, now) {
                let closed = shared.peers.open(connection);
                shared.peers.wait(connection, stream, closed);
            }
        })
        .await;
    }
}

/// A connection with a peer, for the program that has the client's.
pub(super) struct Spliced<H: Host> {
    connection: ConnectionId,
    stream: H::Tcp,
    closed: oneshot::Receiver<()>,
}

impl<H: Host> Spliced<H> {
    /// Carries bytes both ways until both ends have ended, either breaks, or the server hangs up.
    pub(super) async fn run<S: Bytes>(self, shared: &Rc<Shared<H>>, messages: Messages<S>) {
        let (mut client, read) = messages.into_parts();
        let mut peer = self.stream;
        let carried = async {
            write_all(&mut peer, &read).await?;
            tokio::io::copy_bidirectional(&mut client, &mut peer).await
        };
        // Whatever ends it ends both.
        let _ = select(pin!(carried), self.closed).await;
        shared.peers.hang_up(self.connection);
        Shared::tell(shared, |server, _| server.hung_up(self.connection)).await;
    }
}

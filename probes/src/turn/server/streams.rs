//! Clients that come over TCP, or TLS on it (RFC 8656 section 3.1): each connection is a 5-tuple of its own, and its
//! allocation ends with it.

use std::cell::{Cell, OnceCell};
use std::io;
use std::net::SocketAddr;
use std::pin::pin;
use std::rc::Rc;
use std::time::Duration;

use futures::channel::mpsc;
use futures::{FutureExt, StreamExt, select_biased};
use natbox_host::{Host, TcpListener, TcpOptions, TcpStream};
use tokio_rustls::TlsAcceptor;

use super::driver::{Service, Shared};
use super::splice::Spliced;
use super::{FiveTuple, ServerConfig};
use crate::ProbeError;
use crate::stream::before;
use crate::tls::Identity;
use crate::turn::Carrier;
use crate::turn::stream::{Bytes, Messages, acceptor};

/// A connection without an allocation is closed when nothing has come for so long.
const IDLE: Duration = Duration::from_secs(60);
/// How long a TLS handshake, and a client that takes nothing, may hold a connection.
const PATIENCE: Duration = Duration::from_secs(30);
/// How many messages wait for a connection; what comes beyond is lost, as a datagram is.
const QUEUE: usize = 64;

impl<H: Host> Service<H> {
    /// Serves clients over TCP on `config.listen`, and over TLS where the configuration says. A host without TCP serves
    /// none.
    ///
    /// # Errors
    /// [`ProbeError::Io`] when an endpoint cannot be bound.
    pub async fn listen(&self, config: &ServerConfig) -> Result<(), ProbeError> {
        let mut listens = vec![(config.listen, None)];
        if let Some(tls) = &config.tls {
            let speaks = Rc::new(Tls { seed: tls.seed, acceptor: OnceCell::new() });
            listens.extend(tls.listen.iter().map(|at| (*at, Some(speaks.clone()))));
        }
        for (at, tls) in listens {
            self.listen_at(at, tls).await.map_err(ProbeError::io("listen for TURN over TCP"))?;
        }
        Ok(())
    }

    async fn listen_at(&self, at: SocketAddr, tls: Option<Rc<Tls>>) -> io::Result<()> {
        let host = &self.shared.host;
        match host.tcp_listen(at, TcpOptions::default()).await {
            Ok(listener) => host.spawn(accept(self.shared.clone(), listener, tls)),
            Err(error) if error.kind() == io::ErrorKind::Unsupported => {}
            Err(error) => return Err(error),
        }
        Ok(())
    }
}

/// How the server speaks TLS. Its certificate is made when the first client comes: that takes as long as many a whole
/// scenario in which nobody does.
struct Tls {
    seed: [u8; 32],
    acceptor: OnceCell<TlsAcceptor>,
}

impl Tls {
    async fn accept<H: Host>(&self, host: &H, stream: H::Tcp) -> io::Result<Box<dyn Bytes>> {
        let acceptor = match self.acceptor.get() {
            Some(acceptor) => acceptor,
            None => {
                let identity = Identity::from_seed(self.seed).map_err(io::Error::other)?;
                let made = acceptor(&identity)?;
                self.acceptor.get_or_init(|| made)
            }
        };
        Ok(Box::new(before(host, host.now() + PATIENCE, acceptor.accept(stream)).await?))
    }
}

/// Accepts connections, each served by a program of its own.
async fn accept<H: Host>(shared: Rc<Shared<H>>, listener: H::Listener, tls: Option<Rc<Tls>>) {
    let open = Rc::new(Cell::new(0));
    let most = shared.server.borrow().config.quotas.client_connections;
    loop {
        let Ok(stream) = listener.accept().await else {
            shared.host.sleep(Duration::from_millis(10)).await;
            continue;
        };
        if open.get() >= most {
            continue;
        }
        open.set(open.get() + 1);
        let (shared, tls, open) = (shared.clone(), tls.clone(), open.clone());
        let host = shared.host.clone();
        host.spawn(async move {
            connection(shared, stream, tls).await;
            open.set(open.get() - 1);
        });
    }
}

async fn connection<H: Host>(shared: Rc<Shared<H>>, stream: H::Tcp, tls: Option<Rc<Tls>>) {
    let carrier = if tls.is_some() { Carrier::Tls } else { Carrier::Tcp };
    let five_tuple = FiveTuple { client: stream.peer_addr(), server: stream.local_addr(), carrier };
    let stream: Box<dyn Bytes> = match tls {
        None => Box::new(stream),
        Some(tls) => match tls.accept(&shared.host, stream).await {
            Ok(stream) => stream,
            // It does not speak TLS, or does not want this server.
            Err(_) => return,
        },
    };
    let (sender, outgoing) = mpsc::channel(QUEUE);
    shared.streams.borrow_mut().insert(five_tuple, sender);
    let bound = converse(&shared, Messages::new(stream), outgoing, five_tuple).await;
    shared.streams.borrow_mut().remove(&five_tuple);
    match bound {
        Some((spliced, messages)) => spliced.run(&shared, messages).await,
        None => Shared::tell(&shared, |server, _| server.disconnected(five_tuple)).await,
    }
}

enum Event {
    Came(io::Result<Vec<u8>>),
    Going(Option<Vec<u8>>),
    Idle,
}

/// Carries messages both ways until the client has gone, or holds nothing and says nothing; or until the connection is
/// bound to a peer's: then both are answered.
async fn converse<H: Host, S: Bytes>(
    shared: &Rc<Shared<H>>,
    mut messages: Messages<S>,
    mut outgoing: mpsc::Receiver<Vec<u8>>,
    five_tuple: FiveTuple,
) -> Option<(Spliced<H>, Messages<S>)> {
    let host = &shared.host;
    loop {
        let event = {
            let mut came = pin!(messages.recv().fuse());
            let mut idle = pin!(host.sleep(IDLE).fuse());
            select_biased! {
                message = came => Event::Came(message),
                message = outgoing.next() => Event::Going(message),
                () = idle => Event::Idle,
            }
        };
        match event {
            // What is discarded is discarded silently, as the RFC wants it.
            Event::Came(Ok(message)) => {
                let _ = Shared::take(shared, &message, five_tuple).await;
                if let Some(spliced) = shared.peers.spliced(five_tuple) {
                    while let Ok(message) = outgoing.try_recv() {
                        before(host, host.now() + PATIENCE, messages.send(&message)).await.ok()?;
                    }
                    return Some((spliced, messages));
                }
            }
            Event::Going(Some(message)) => {
                before(host, host.now() + PATIENCE, messages.send(&message)).await.ok()?;
            }
            Event::Idle if shared.server.borrow().holds(five_tuple) => {}
            Event::Came(Err(_)) | Event::Going(None) | Event::Idle => return None,
        }
    }
}

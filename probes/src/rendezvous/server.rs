//! The directory as a program: on one port of UDP, and of TCP where the machine has it.

use std::collections::BTreeMap;
use std::convert::Infallible;
use std::future::pending;
use std::io;
use std::net::SocketAddr;
use std::pin::pin;
use std::time::Duration;

use futures::channel::mpsc;
use futures::{FutureExt, StreamExt, select_biased};
use natbox_host::{Host, Received, TcpListener, TcpOptions, TcpStream, UdpSocket};
use natbox_wire::Time;

use super::directory::{Directory, Limits};
use super::{LONGEST_MESSAGE_BYTES, Way};
use crate::path::Transport;
use crate::stream::{Framed, before};
use crate::{ProbeError, wait};

/// The port of a directory: any free one would do, this one is in no registry.
pub const PORT: u16 = 3490;

/// The most connections at a time; further ones are closed at once.
const MOST_CONNECTIONS: usize = 1024;
/// A connection that is silent for so long is closed.
const IDLE: Duration = Duration::from_secs(120);
/// How long a client may take to accept a message.
const WRITE: Duration = Duration::from_secs(10);
/// How many messages wait for a connection; what comes beyond is lost, as a datagram is.
const QUEUE: usize = 64;

/// Where a directory listens, and how much it remembers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ServerConfig {
    /// The endpoint.
    pub listen: SocketAddr,
    /// The bounds of its tables.
    pub limits: Limits,
}

/// What happens on the directory's TCP connections.
enum Event {
    Opened(SocketAddr, mpsc::Sender<Vec<u8>>),
    Message(SocketAddr, Vec<u8>),
    Closed(SocketAddr),
}

/// Serves until the world ends.
///
/// # Errors
/// [`ProbeError::Io`] when the endpoint cannot be bound.
pub async fn serve<H: Host>(host: H, config: ServerConfig) -> Result<Infallible, ProbeError> {
    let socket = host.udp_bind(config.listen).await.map_err(ProbeError::io("bind the directory's endpoint"))?;
    let (sender, mut events) = mpsc::channel(QUEUE);
    match host.tcp_listen(config.listen, TcpOptions::default()).await {
        Ok(listener) => host.spawn(accept(host.clone(), listener, sender)),
        Err(error) if error.kind() == io::ErrorKind::Unsupported => {}
        Err(error) => return Err(ProbeError::io("listen on the directory's endpoint")(error)),
    }
    let mut directory = Directory::new(config.limits);
    let mut random = host.random();
    let mut connections: BTreeMap<SocketAddr, mpsc::Sender<Vec<u8>>> = BTreeMap::new();
    let mut buffer = vec![0; LONGEST_MESSAGE_BYTES];
    loop {
        match next(&host, &socket, &mut buffer, &mut events, directory.next_deadline()).await {
            Arrival::Datagram(received) => {
                let datagram = &buffer[..received.length.min(LONGEST_MESSAGE_BYTES)];
                directory.handle(datagram, Way::udp(received.source), &mut random, host.now());
            }
            Arrival::Tcp(Event::Message(from, message)) => {
                directory.handle(&message, Way::tcp(from), &mut random, host.now());
            }
            Arrival::Tcp(Event::Opened(from, sender)) => drop(connections.insert(from, sender)),
            Arrival::Tcp(Event::Closed(from)) => drop(connections.remove(&from)),
            Arrival::Nothing => {}
        }
        directory.tick(host.now());
        for transmit in directory.drain() {
            // Whoever cannot be reached asks again, or has gone.
            match transmit.to.transport {
                Transport::Udp => drop(socket.send_to(&transmit.datagram, transmit.to.endpoint).await),
                Transport::Tcp => {
                    let connection = connections.get_mut(&transmit.to.endpoint);
                    let _ = connection.map(|connection| connection.try_send(transmit.datagram));
                }
            }
        }
    }
}

enum Arrival {
    Datagram(Received),
    Tcp(Event),
    Nothing,
}

/// Whatever comes first: a datagram, something on a connection, the deadline.
async fn next<H: Host>(
    host: &H,
    socket: &H::Udp,
    buffer: &mut [u8],
    events: &mut mpsc::Receiver<Event>,
    deadline: Option<Time>,
) -> Arrival {
    let mut datagram = pin!(wait::serve_next(host, socket, buffer).fuse());
    let mut event = pin!(
        async {
            match events.next().await {
                Some(event) => event,
                // Nobody listens: this machine has no TCP.
                None => pending().await,
            }
        }
        .fuse()
    );
    let mut end = pin!(
        async {
            match deadline {
                Some(deadline) => host.sleep_until(deadline).await,
                None => pending().await,
            }
        }
        .fuse()
    );
    select_biased! {
        received = datagram => Arrival::Datagram(received),
        event = event => Arrival::Tcp(event),
        () = end => Arrival::Nothing,
    }
}

/// Accepts connections, each served by a program of its own.
async fn accept<H: Host>(host: H, listener: H::Listener, events: mpsc::Sender<Event>) {
    let open = std::rc::Rc::new(std::cell::Cell::new(0));
    loop {
        let Ok(stream) = listener.accept().await else {
            host.sleep(Duration::from_millis(10)).await;
            continue;
        };
        if open.get() >= MOST_CONNECTIONS {
            continue;
        }
        open.set(open.get() + 1);
        let (clock, events, open) = (host.clone(), events.clone(), open.clone());
        host.spawn(async move {
            connection(&clock, stream, events).await;
            open.set(open.get() - 1);
        });
    }
}

/// Serves one connection until it breaks, ends or is silent for too long.
async fn connection<H: Host>(host: &H, stream: H::Tcp, mut events: mpsc::Sender<Event>) {
    use futures::SinkExt;
    let from = stream.peer_addr();
    let (sender, mut outgoing) = mpsc::channel(QUEUE);
    let mut framed = Framed::new(stream, LONGEST_MESSAGE_BYTES);
    if events.send(Event::Opened(from, sender)).await.is_err() {
        return;
    }
    loop {
        let message = {
            let mut incoming = pin!(before(host, host.now() + IDLE, framed.recv()).fuse());
            select_biased! {
                message = incoming => Ok(message),
                message = outgoing.next() => Err(message),
            }
        };
        let going = match message {
            Ok(Ok(message)) => events.send(Event::Message(from, message)).await.is_ok(),
            Err(Some(message)) => before(host, host.now() + WRITE, framed.send(&message)).await.is_ok(),
            Ok(Err(_)) | Err(None) => false,
        };
        if !going {
            break;
        }
    }
    // If nobody hears it, the directory itself has ended.
    let _ = events.send(Event::Closed(from)).await;
}

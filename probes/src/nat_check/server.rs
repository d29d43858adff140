//! The servers: two that say where clients come from, and one that clients never sent to.
//!
//! Server 3 sends and connects where server 2 says, and only where server 2 says.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::convert::Infallible;
use std::io;
use std::net::SocketAddr;
use std::pin::pin;
use std::rc::Rc;
use std::time::Duration;

use futures::{FutureExt, select_biased};
use natbox_host::{Host, TcpListener, TcpOptions, TcpStream, UdpSocket};

use super::message::{LONGEST_BYTES, Message};
use super::{Fate, Role, Servers};
use crate::ProbeError;
use crate::stream::{Framed, before};
use crate::wait::serve_next;

/// How long a SYN that nobody asked for may take before the client goes on.
const PATIENCE: Duration = Duration::from_secs(5);
/// How long server 3 tries altogether.
const TRYING: Duration = Duration::from_secs(20);
/// How often server 2 asks server 3, and how long it waits each time. It looks for the answer more often: NATs that hold
/// a SYN for six seconds (RFC 5382 REQ-4) let the client's in only while they hold it.
const ASKS: (u32, Duration) = (10, Duration::from_secs(1));
/// How often it looks.
const LOOK: Duration = Duration::from_millis(20);
/// How long a connection may be idle.
const IDLE: Duration = Duration::from_secs(10);
/// The most checks that a server knows of at a time.
const MOST: usize = 1024;

/// What came of checks, by their numbers. The oldest numbers go first.
type Known = Rc<RefCell<BTreeMap<u64, Option<Fate>>>>;

/// Serves until the world ends.
///
/// # Errors
/// When its endpoint cannot be bound.
pub async fn serve<H: Host>(host: H, role: Role, servers: Servers) -> Result<Infallible, ProbeError> {
    let own = match role {
        Role::One => servers.one,
        Role::Two => servers.two,
        Role::Three => servers.three,
    };
    let socket = Rc::new(host.udp_bind(own).await.map_err(ProbeError::io("bind a server of NAT Check"))?);
    let known = Known::default();
    if role != Role::Three {
        let listener = host.tcp_listen(own, TcpOptions::default()).await;
        let listener = listener.map_err(ProbeError::io("listen as a server of NAT Check"))?;
        let tcp = Answering { host: host.clone(), role, servers, socket: socket.clone(), known: known.clone() };
        host.spawn(async move { tcp.accept(listener).await });
    }
    let mut buffer = [0; LONGEST_BYTES];
    loop {
        let received = serve_next(&host, &*socket, &mut buffer).await;
        let (from, message) = (received.source, Message::decode(&buffer[..received.length]));
        match (role, message) {
            (Role::One | Role::Two, Some(Message::Hello(id))) => {
                send(&*socket, Message::Seen(id, from, None), from).await;
                if role == Role::Two {
                    send(&*socket, Message::Udp(id, from), servers.three).await;
                }
            }
            (Role::Two, Some(Message::Go(id, fate))) if from == servers.three => {
                if let Some(known) = known.borrow_mut().get_mut(&id) {
                    *known = Some(fate);
                }
            }
            (Role::Three, Some(Message::Udp(id, client))) if from == servers.two => {
                send(&*socket, Message::Unsolicited(id), client).await;
            }
            (Role::Three, Some(Message::Try(id, client))) if from == servers.two => {
                let fate = known.borrow().get(&id).copied();
                match fate {
                    Some(Some(fate)) => send(&*socket, Message::Go(id, fate), servers.two).await,
                    Some(None) => {}
                    None => {
                        note(&known, id);
                        let (own, trying) = ((host.clone(), servers), (socket.clone(), known.clone()));
                        host.spawn(async move { connect(own, trying, id, client).await });
                    }
                }
            }
            _ => {}
        }
    }
}

fn note(known: &Known, id: u64) {
    let mut known = known.borrow_mut();
    if known.len() >= MOST {
        known.pop_first();
    }
    known.insert(id, None);
}

/// Whoever cannot be reached has gone.
async fn send(socket: &impl UdpSocket, message: Message, to: SocketAddr) {
    let _ = socket.send_to(&message.encode(), to).await;
}

/// Server 3 tries to reach a client, and tells server 2 what it came to.
async fn connect<H: Host>(
    (host, servers): (H, Servers),
    (socket, known): (Rc<H::Udp>, Known),
    id: u64,
    client: SocketAddr,
) {
    let options = TcpOptions { local: Some(servers.three), reuse_port: true, connect_timeout: Some(TRYING), ttl: None };
    let until = host.now() + TRYING;
    let mut connecting = pin!(before(&host, until, host.tcp_connect(client, options)).fuse());
    let mut patience = pin!(host.sleep(PATIENCE).fuse());
    let early = select_biased! {
        connected = connecting => Some(connected),
        () = patience => None,
    };
    let fate = match &early {
        None => Fate::Waiting,
        Some(Ok(_)) => Fate::Accepted,
        Some(Err(error)) if error.kind() == io::ErrorKind::ConnectionRefused => Fate::Refused,
        Some(Err(error)) if error.kind() == io::ErrorKind::TimedOut => Fate::Waiting,
        Some(Err(_)) => Fate::Failed,
    };
    known.borrow_mut().insert(id, Some(fate));
    send(&*socket, Message::Go(id, fate), servers.two).await;
    let connected = match early {
        Some(connected) => connected,
        None => connecting.await,
    };
    if let Ok(stream) = connected {
        let mut framed = Framed::new(stream, LONGEST_BYTES);
        let _ = before(&host, host.now() + IDLE, framed.send(&Message::Hello(id).encode())).await;
        // The client closes.
        let _ = before(&host, host.now() + IDLE, framed.recv()).await;
    }
}

/// What servers 1 and 2 need to answer connections.
struct Answering<H: Host> {
    host: H,
    role: Role,
    servers: Servers,
    socket: Rc<H::Udp>,
    known: Known,
}

impl<H: Host> Answering<H> {
    async fn accept(self, listener: H::Listener) {
        let this = Rc::new(self);
        let open = Rc::new(std::cell::Cell::new(0));
        loop {
            let Ok(stream) = listener.accept().await else {
                this.host.sleep(Duration::from_millis(10)).await;
                continue;
            };
            if open.get() >= MOST {
                continue;
            }
            open.set(open.get() + 1);
            let (own, open) = (this.clone(), open.clone());
            this.host.spawn(async move {
                // A connection that breaks concerns nobody else.
                let _ = own.answer(stream).await;
                open.set(open.get() - 1);
            });
        }
    }

    async fn answer(&self, stream: H::Tcp) -> io::Result<()> {
        let from = stream.peer_addr();
        let mut framed = Framed::new(stream, LONGEST_BYTES);
        let asked = before(&self.host, self.host.now() + IDLE, framed.recv()).await?;
        let Some(Message::Hello(id)) = Message::decode(&asked) else { return Ok(()) };
        let fate = if self.role == Role::Two { self.ask_three(id, from).await } else { None };
        framed.send(&Message::Seen(id, from, fate).encode()).await?;
        // Until the client closes: its mapping lives as long as the check.
        before(&self.host, self.host.now() + 2 * TRYING, framed.recv()).await.map(drop)
    }

    /// Server 3's go-ahead.
    async fn ask_three(&self, id: u64, client: SocketAddr) -> Option<Fate> {
        note(&self.known, id);
        for _ in 0..ASKS.0 {
            send(&*self.socket, Message::Try(id, client), self.servers.three).await;
            let until = self.host.now() + ASKS.1;
            while self.host.now() < until {
                self.host.sleep(LOOK).await;
                if let Some(Some(fate)) = self.known.borrow().get(&id) {
                    return Some(*fate);
                }
            }
        }
        None
    }
}

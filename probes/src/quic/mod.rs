//! QUIC between two programs, and what becomes of it when a NAT forgets them (RFC 9000 section 9).
//!
//! ```text
//! client            NAT                       server
//!   | -- packets --> A' ---------------------> |    a connection is known by its ids, not by its endpoints
//!   |                |  (reboot, new address, mapping timed out)
//!   | -- packet ---> A'' --------------------> |    known id, new endpoint:
//!   | <------------------- PATH_CHALLENGE ---- |    is that really the client?
//!   | -- PATH_RESPONSE ----------------------> |    it is: the connection goes on, over A''
//! ```
//!
//! The protocol is `quinn-proto`, driven as any other [`SansIo`](crate::sans_io::SansIo) protocol. Programs send and
//! receive datagrams (RFC 9221). Each side knows the other by its certificate, which is told beforehand, as WebRTC
//! does with fingerprints; no authority is asked.
//!
//! Connection ids, packet numbers to skip and keys of tokens come from the host's stream of chance. The TLS keys, and
//! one reserved transport parameter of a random length, come from the operating system and cannot be seeded: two runs
//! of one seed are alike in what happens and when, not in the bytes of the packets. Leaves out streams, 0-RTT,
//! preferred addresses, and active migration by the server.

mod chance;
mod crypto;
mod end;
mod machine;
mod opening;
pub(crate) mod technique;
mod told;

use std::io;
use std::net::SocketAddr;
use std::time::Duration;

use natbox_host::{Host, UdpSocket};
use natbox_wire::Time;

pub use crypto::{Certificate, Identity, Unusable};

use crate::sans_io::Driver;
use chance::Secrets;
use machine::{Event, Machine};

/// How a connection behaves.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Config {
    /// The time between two keep-alives; `None` for none.
    pub keep_alive: Option<Duration>,
    /// After how long a silence a side gives the connection up.
    pub idle_timeout: Duration,
}

impl Default for Config {
    fn default() -> Config {
        Config { keep_alive: Some(Duration::from_secs(15)), idle_timeout: Duration::from_secs(30) }
    }
}

/// One end of a QUIC connection.
///
/// Everything happens while [`recv`](Connection::recv) waits.
pub struct Connection<H: Host> {
    driver: Driver<H, Machine>,
    local: SocketAddr,
    remotes: Vec<(Time, SocketAddr)>,
}

/// Why a connection is no more.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Lost {
    /// Whether it ended because nothing came for too long.
    pub timed_out: bool,
    /// Why, in words.
    pub reason: String,
}

impl std::fmt::Display for Lost {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "the QUIC connection is lost: {}", self.reason)
    }
}

/// Why there is no connection.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Error {
    /// The connection was refused, timed out, or was closed by the peer.
    Lost(Lost),
    /// Nothing came of it before the deadline.
    Deadline,
    /// A certificate or key cannot be used.
    Unusable(Unusable),
    /// The machine could not do it.
    Io(io::ErrorKind, String),
}

impl std::fmt::Display for Error {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Error::Lost(lost) => lost.fmt(f),
            Error::Deadline => f.write_str("no connection came about before the deadline"),
            Error::Unusable(unusable) => unusable.fmt(f),
            Error::Io(_, message) => f.write_str(message),
        }
    }
}

impl std::error::Error for Error {}

impl From<io::Error> for Error {
    fn from(error: io::Error) -> Error {
        Error::Io(error.kind(), error.to_string())
    }
}

impl From<Unusable> for Error {
    fn from(unusable: Unusable) -> Error {
        Error::Unusable(unusable)
    }
}

/// Connects from `socket` to whoever has `certificate` at `remote`.
///
/// # Errors
/// [`Error`], at `deadline` at the latest.
pub async fn connect<H: Host>(
    host: &H,
    socket: H::Udp,
    remote: SocketAddr,
    certificate: &Certificate,
    config: Config,
    deadline: Time,
) -> Result<Connection<H>, Error> {
    let secrets = Secrets::draw(&mut host.random());
    let mut machine = Machine::client(certificate, config, &secrets)?;
    machine.dial(remote, host.now())?;
    Connection::open(host, socket, machine, deadline).await
}

/// Takes the first connection that comes to `socket`.
///
/// # Errors
/// [`Error`], at `deadline` at the latest.
pub async fn accept<H: Host>(
    host: &H,
    socket: H::Udp,
    identity: &Identity,
    config: Config,
    deadline: Time,
) -> Result<Connection<H>, Error> {
    let secrets = Secrets::draw(&mut host.random());
    let machine = Machine::server(identity, config, &secrets)?;
    Connection::open(host, socket, machine, deadline).await
}

impl<H: Host> Connection<H> {
    async fn open(host: &H, socket: H::Udp, machine: Machine, deadline: Time) -> Result<Connection<H>, Error> {
        let local = socket.local_addr();
        let mut driver = Driver::new(host, vec![socket], machine);
        loop {
            match driver.next(deadline).await? {
                Some(Event::Connected { leg, remote }) => {
                    driver.protocol().choose(leg, host.now());
                    return Ok(Connection { remotes: vec![(host.now(), remote)], driver, local });
                }
                Some(Event::Lost(lost)) => return Err(Error::Lost(lost)),
                Some(_) => {}
                None => return Err(Error::Deadline),
            }
        }
    }

    /// The local endpoint.
    pub fn local(&self) -> SocketAddr {
        self.local
    }

    /// The peer's endpoint now.
    pub fn remote(&self) -> SocketAddr {
        self.driver_remote().1
    }

    /// Every endpoint that the peer was validated at, and since when. More than one if it, or its NAT, moved.
    pub fn remotes(&self) -> &[(Time, SocketAddr)] {
        &self.remotes
    }

    fn driver_remote(&self) -> (Time, SocketAddr) {
        self.remotes[self.remotes.len() - 1]
    }

    /// Sends a datagram, as soon as the congestion window allows it.
    ///
    /// # Errors
    /// `InvalidInput` if it is larger than a datagram of this connection may be; else what the socket says.
    pub async fn send(&mut self, payload: &[u8]) -> io::Result<()> {
        self.driver.protocol().send(payload)?;
        self.driver.flush().await
    }

    /// Tells the protocol that this side has moved: it validates the path anew at once, instead of when the peer notices.
    pub fn moved(&mut self) {
        self.driver.protocol().local_address_changed();
    }

    /// The next datagram, or `None` at `deadline`.
    ///
    /// # Errors
    /// [`Error::Lost`] when the connection is no more.
    pub async fn recv(&mut self, deadline: Time) -> Result<Option<Vec<u8>>, Error> {
        loop {
            match self.driver.next(deadline).await? {
                Some(Event::Datagram { payload, .. }) => return Ok(Some(payload)),
                Some(Event::Moved { remote }) => self.remotes.push((self.driver.host().now(), remote)),
                Some(Event::Lost(lost)) => return Err(Error::Lost(lost)),
                Some(_) => {}
                None => return Ok(None),
            }
        }
    }

    /// Closes the connection, and tells the peer once.
    ///
    /// # Errors
    /// What the socket says.
    pub async fn close(mut self) -> io::Result<()> {
        let now = self.driver.host().now();
        self.driver.protocol().close(now);
        self.driver.flush().await
    }
}

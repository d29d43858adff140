//! Protocols that do no input and output of their own, run on a machine of the lab.
//!
//! Many of today's protocol libraries (QUIC, ICE, TURN, WebRTC) are written *sans-IO*: datagrams and the time are
//! handed in, datagrams and events are drained, and the next deadline is announced. What is written so implements
//! [`SansIo`], and [`Driver`] runs it over a [`Host`]'s UDP sockets: in virtual time on a simulated machine, unchanged
//! on a real one.
//!
//! Libraries that measure time with [`std::time::Instant`] are served by [`Clock`], which counts from one origin, so
//! that only differences matter and all of them are the machine's own.
//!
//! ```
//! use std::net::SocketAddr;
//! use std::time::Duration;
//!
//! use natbox_host::{Host, Received};
//! use natbox_probes::sans_io::{Driver, SansIo, Transmit};
//! use natbox_wire::Time;
//!
//! /// Knocks every second until somebody answers.
//! struct Knock {
//!     door: SocketAddr,
//!     next: Time,
//!     answer: Option<Vec<u8>>,
//! }
//!
//! impl SansIo for Knock {
//!     type Event = Vec<u8>;
//!
//!     fn handle_datagram(&mut self, _: &Received, payload: &[u8], _: Time) {
//!         self.answer = Some(payload.to_vec());
//!     }
//!
//!     fn poll_transmit(&mut self, now: Time) -> Option<Transmit> {
//!         let due = self.next <= now;
//!         due.then(|| self.next = now + Duration::from_secs(1));
//!         due.then(|| Transmit { source: None, destination: self.door, payload: b"knock".to_vec() })
//!     }
//!
//!     fn poll_event(&mut self, _: Time) -> Option<Vec<u8>> {
//!         self.answer.take()
//!     }
//!
//!     fn poll_timeout(&mut self) -> Option<Time> {
//!         Some(self.next)
//!     }
//!
//!     fn handle_timeout(&mut self, _: Time) {}
//! }
//!
//! /// Any host: a simulated one, or a real one.
//! async fn knock(host: impl Host, door: SocketAddr) -> std::io::Result<Option<Vec<u8>>> {
//!     let socket = host.udp_bind("0.0.0.0:0".parse().unwrap()).await?;
//!     let knock = Knock { door, next: host.now(), answer: None };
//!     let deadline = host.now() + Duration::from_secs(30);
//!     Driver::new(&host, vec![socket], knock).next(deadline).await
//! }
//! # use natbox_world::{Attachment, InterfaceAddress, LinkConfig, World};
//! # let mut world = World::new(7);
//! # let internet = world.internet("internet", &["198.18.0.1".parse()?]);
//! # let mut host = |name: &str, address: &str| {
//! #     let address = InterfaceAddress { address: address.parse().expect("an address"), prefix_len: 15 };
//! #     let link = LinkConfig::default();
//! #     world.host(name, vec![Attachment { network: internet, name: name.into(), addresses: vec![address], link }])
//! # };
//! # let (alice, server) = (host("alice", "198.18.0.2"), host("server", "198.18.0.9"));
//! # let door: SocketAddr = "198.18.0.9:7".parse()?;
//! # let echo = server.clone();
//! # server.spawn(async move { natbox_probes::echo::serve_udp(echo, door).await.map(drop).expect("it serves"); });
//! # let answer = world.run_until(knock(alice, door))??;
//! # assert_eq!(answer.as_deref(), Some(&b"knock"[..]));
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! Leaves out TCP, and datagrams' ECN bits.

use std::future::Future;
use std::io;
use std::net::SocketAddr;
use std::pin::{Pin, pin};
use std::time::Instant;

use futures::future::select_all;
use futures::{FutureExt, select_biased};
use natbox_host::{Host, Received, UdpSocket};
use natbox_wire::Time;

/// The longest datagram that is read.
const READ_BYTES: usize = 65_536;
/// How many datagrams a protocol may send in a row before those that arrived get their turn.
const MOST_SENT_IN_A_ROW: usize = 1_024;

/// A protocol that does no I/O of its own.
pub trait SansIo {
    /// What it tells its user.
    type Event;

    /// A datagram came.
    fn handle_datagram(&mut self, received: &Received, payload: &[u8], now: Time);

    /// The next datagram to send; drained after everything else was called.
    fn poll_transmit(&mut self, now: Time) -> Option<Transmit>;

    /// The next event; drained after everything else was called.
    fn poll_event(&mut self, now: Time) -> Option<Self::Event>;

    /// When [`handle_timeout`](SansIo::handle_timeout) is due, if ever.
    fn poll_timeout(&mut self) -> Option<Time>;

    /// A deadline has come.
    fn handle_timeout(&mut self, now: Time);
}

/// A datagram that a protocol wants to send.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Transmit {
    /// The local endpoint to send it from; the driver's first socket if absent.
    pub source: Option<SocketAddr>,
    /// Where it goes.
    pub destination: SocketAddr,
    /// What it carries.
    pub payload: Vec<u8>,
}

/// Runs a protocol over a machine's sockets.
///
/// Nothing happens but while [`next`](Driver::next) waits.
pub struct Driver<H: Host, P> {
    host: H,
    sockets: Vec<H::Udp>,
    buffers: Vec<Vec<u8>>,
    protocol: P,
}

impl<H: Host, P: SansIo> Driver<H, P> {
    /// Runs `protocol` over these sockets.
    pub fn new(host: &H, sockets: Vec<H::Udp>, protocol: P) -> Driver<H, P> {
        let buffers = sockets.iter().map(|_| vec![0; READ_BYTES]).collect();
        Driver { host: host.clone(), sockets, buffers, protocol }
    }

    /// The protocol, for its own methods. What it then has to send goes out with the next [`next`](Driver::next), or
    /// at once with [`flush`](Driver::flush).
    pub fn protocol(&mut self) -> &mut P {
        &mut self.protocol
    }

    /// The machine.
    pub fn host(&self) -> &H {
        &self.host
    }

    /// The next event, or `None` at `deadline`.
    ///
    /// # Errors
    /// What a socket says, but for the ICMP errors that a datagram met (`ConnectionRefused` and its like): those are
    /// the protocol's to find out by its own timers.
    pub async fn next(&mut self, deadline: Time) -> io::Result<Option<P::Event>> {
        loop {
            self.flush().await?;
            let now = self.host.now();
            if let Some(event) = self.protocol.poll_event(now) {
                return Ok(Some(event));
            }
            match self.protocol.poll_timeout() {
                Some(due) if due <= now => {
                    self.protocol.handle_timeout(now);
                    continue;
                }
                due => {
                    if now >= deadline {
                        return Ok(None);
                    }
                    self.wait(due.map_or(deadline, |due| due.min(deadline))).await?;
                }
            }
        }
    }

    /// Sends what the protocol has to send.
    ///
    /// # Errors
    /// As [`next`](Driver::next).
    pub async fn flush(&mut self) -> io::Result<()> {
        for _ in 0..MOST_SENT_IN_A_ROW {
            let Some(transmit) = self.protocol.poll_transmit(self.host.now()) else { break };
            let matches = |socket: &&H::Udp| transmit.source.is_some_and(|source| socket.local_addr() == source);
            let Some(socket) = self.sockets.iter().find(matches).or(self.sockets.first()) else { break };
            passable(socket.send_to(&transmit.payload, transmit.destination).await.map(drop))?;
        }
        Ok(())
    }

    /// Waits for a datagram or for `until`.
    async fn wait(&mut self, until: Time) -> io::Result<()> {
        let (index, received) = {
            let mut end = pin!(self.host.sleep_until(until).fuse());
            let reads: Vec<Pin<Box<dyn Future<Output = io::Result<Received>> + '_>>> = self
                .sockets
                .iter()
                .zip(&mut self.buffers)
                .map(|(socket, buffer)| Box::pin(socket.recv_from(buffer)) as Pin<Box<dyn Future<Output = _>>>)
                .collect();
            if reads.is_empty() {
                end.await;
                return Ok(());
            }
            let mut reads = select_all(reads).fuse();
            select_biased! {
                (received, index, _) = reads => (index, received),
                () = end => return Ok(()),
            }
        };
        match received {
            Ok(received) => {
                let (now, payload) = (self.host.now(), &self.buffers[index][..received.length]);
                self.protocol.handle_datagram(&received, payload, now);
                Ok(())
            }
            Err(error) => passable(Err(error)),
        }
    }
}

/// Errors that tell of one datagram's fate end nothing.
fn passable(sent: io::Result<()>) -> io::Result<()> {
    use io::ErrorKind as Kind;
    let told = |kind| matches!(kind, Kind::ConnectionRefused | Kind::HostUnreachable | Kind::NetworkUnreachable);
    match sent {
        Err(error) if told(error.kind()) => Ok(()),
        other => other,
    }
}

/// A machine's time as [`Instant`]s, for libraries that measure with those.
#[derive(Clone, Copy, Debug)]
pub struct Clock {
    origin: Instant,
}

impl Clock {
    /// A clock whose origin stands for the beginning of the machine's time.
    #[allow(clippy::disallowed_methods, reason = "an Instant has no other origin; only differences are ever used")]
    pub fn new() -> Clock {
        Clock { origin: Instant::now() }
    }

    /// The instant that stands for `time`.
    pub fn instant(self, time: Time) -> Instant {
        self.origin + time.since(Time::ZERO)
    }

    /// The time that `instant` stands for; the beginning, if it is earlier.
    pub fn time(self, instant: Instant) -> Time {
        Time::ZERO + instant.saturating_duration_since(self.origin)
    }
}

impl Default for Clock {
    fn default() -> Clock {
        Clock::new()
    }
}

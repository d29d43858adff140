//! What every technique needs, and what comes of it: [`Setting`] and [`Options`] go in, a [`Contact`] or a [`Failure`]
//! comes out. Knows no technique.

mod facts;
mod failure;
mod setting;

use std::io;
use std::net::SocketAddr;
use std::time::Duration;

use futures::future::LocalBoxFuture;
use natbox_wire::Time;

pub use facts::{Fact, Facts};
pub use failure::Failure;
pub use setting::{OPTIONS, Options, Relay, RelayTls, Setting};

use crate::path::{Path, Transport};

/// The longest message of a contact, in bytes: what fits into a QUIC packet of 1,200 bytes, the least that every path carries
/// (RFC 9000 section 14), as a datagram.
pub const MOST_BYTES: usize = 1_150;

/// A message that came over a contact.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Datagram<'a> {
    /// What the peer sent.
    pub payload: &'a [u8],
    /// When it arrived.
    pub at: Time,
}

/// What a technique offers when it has succeeded: two hosts that talk.
///
/// Whatever keeps the path alive, and whatever replaces it, happens while [`recv`](Channel::recv) waits.
pub trait Channel {
    /// The path in use.
    fn path(&self) -> Path;

    /// Over which protocol the messages leave this machine.
    fn transport(&self) -> Transport {
        Transport::Udp
    }

    /// The peer's endpoint on the path in use.
    fn remote(&self) -> SocketAddr;

    /// The peer's name.
    fn peer(&self) -> &str;

    /// Every path that was in use, and since when.
    fn history(&self) -> Vec<(Time, Path)>;

    /// What the technique has found out or spent.
    fn facts(&self) -> Facts {
        Facts::new()
    }

    /// Sends a message of [`MOST_BYTES`] at most to the peer.
    fn send<'a>(&'a mut self, payload: &'a [u8]) -> LocalBoxFuture<'a, io::Result<()>>;

    /// The next message from the peer, or `None` at `deadline`. May be dropped and called again without a loss.
    fn recv<'a>(&'a mut self, deadline: Time) -> LocalBoxFuture<'a, io::Result<Option<Datagram<'a>>>>;
}

/// Two hosts that talk, by whichever technique.
pub struct Contact<H> {
    host: H,
    channel: Box<dyn Channel>,
    elapsed: Duration,
    /// What is known besides what the channel tells.
    facts: Facts,
}

impl<H> Contact<H> {
    /// What a technique came to within `elapsed`.
    pub fn new(host: H, channel: impl Channel + 'static, elapsed: Duration) -> Contact<H> {
        Contact { host, channel: Box::new(channel), elapsed, facts: Facts::new() }
    }

    /// With these facts besides those of the channel.
    pub fn with_facts(mut self, facts: Facts) -> Contact<H> {
        self.facts.extend(facts);
        self
    }

    /// The machine that this end is on.
    pub fn host(&self) -> &H {
        &self.host
    }

    /// The path in use.
    pub fn path(&self) -> Path {
        self.channel.path()
    }

    /// Over which protocol the messages leave this machine.
    pub fn transport(&self) -> Transport {
        self.channel.transport()
    }

    /// The peer's endpoint on the path in use.
    pub fn remote(&self) -> SocketAddr {
        self.channel.remote()
    }

    /// The peer's name.
    pub fn peer(&self) -> &str {
        self.channel.peer()
    }

    /// From the beginning, or from the coming of the call, to the first usable path.
    pub fn elapsed(&self) -> Duration {
        self.elapsed
    }

    /// Every path that was in use, and since when.
    pub fn history(&self) -> Vec<(Time, Path)> {
        self.channel.history()
    }

    /// What the technique has found out or spent.
    pub fn facts(&self) -> Facts {
        let mut facts = self.facts.clone();
        facts.extend(self.channel.facts());
        facts
    }

    /// Sends a message of [`MOST_BYTES`] at most to the peer.
    ///
    /// # Errors
    /// What the machine's socket or the relay says.
    pub async fn send(&mut self, payload: &[u8]) -> io::Result<()> {
        self.channel.send(payload).await
    }

    /// The next message from the peer, or `None` at `deadline`.
    ///
    /// # Errors
    /// What the machine's socket says.
    pub async fn recv(&mut self, deadline: Time) -> io::Result<Option<Datagram<'_>>> {
        self.channel.recv(deadline).await
    }
}

//! The caller's end of a connection.

use std::io;
use std::net::SocketAddr;
use std::time::Duration;

use natbox_host::Host;
use natbox_wire::Time;

use crate::contact::{Contact, Datagram};
use crate::path::Path;
use crate::punch::{Attempt, Link, Step};

/// Two hosts that talk, by whichever path is best so far.
///
/// Checks, keep-alives and the change to a better path happen while [`recv`](Connection::recv) waits.
pub struct Connection<H: Host> {
    link: Link<H>,
    elapsed: Duration,
}

impl<H: Host> Connection<H> {
    pub(super) fn new(link: Link<H>, elapsed: Duration) -> Connection<H> {
        Connection { link, elapsed }
    }

    /// The path in use.
    pub fn path(&self) -> Path {
        self.link.history.last().map_or(Path::None, |(_, path)| *path)
    }

    /// Every path that was in use, and since when.
    pub fn history(&self) -> &[(Time, Path)] {
        &self.link.history
    }

    /// The peer's endpoint on the path in use.
    pub fn remote(&self) -> SocketAddr {
        self.link.selected().map_or(self.link.session.introduced().peer.reflexive, |(_, remote)| remote)
    }

    /// The peer's name.
    pub fn peer(&self) -> &str {
        &self.link.session.introduced().peer.name
    }

    /// How long it took to the first usable path.
    pub fn elapsed(&self) -> Duration {
        self.elapsed
    }

    /// What was tried.
    pub fn attempts(&self) -> Vec<Attempt> {
        self.link.session.attempts()
    }

    /// The machine that this end is on.
    pub fn host(&self) -> &H {
        &self.link.host
    }

    /// Sends a datagram to the peer.
    ///
    /// # Errors
    /// What the machine's socket or the relay says.
    pub async fn send(&mut self, payload: &[u8]) -> io::Result<()> {
        self.link.send(payload).await
    }

    /// The next datagram from the peer, or `None` at `deadline`.
    ///
    /// # Errors
    /// What the machine's socket says.
    pub async fn recv(&mut self, deadline: Time) -> io::Result<Option<Datagram<'_>>> {
        loop {
            match self.link.step(deadline).await? {
                Step::Data { length, at } => return Ok(Some(Datagram { payload: self.link.data(length), at })),
                Step::Progress => {}
                Step::Deadline => return Ok(None),
            }
        }
    }
}

impl<H: Host> From<Connection<H>> for Contact<H> {
    fn from(connection: Connection<H>) -> Contact<H> {
        Contact::new(connection.link.host.clone(), connection.link, connection.elapsed)
    }
}

//! The caller's end of a connection, which begins anew when its path dies.
//!
//! ```text
//! caller                       directory      callee
//!   | check of the path ---X         |             |    no answer for the keep-alive interval and 3.5 s: the path is lost
//!   | introduce, from a new socket > | ----------> |    invitation, a new token: as if nothing had been before
//!   | checks, nomination <----------------------> |    the callee goes on with the same session
//! ```
//!
//! A caller that finds itself with another way out, in another network, does not wait for the old path to die. It tries
//! again 1, 2, 4, 8, then every 15 seconds later, as long as the connection is there. The old path is given up
//! when the new one is there, or lives again by itself. A connection that has gone back to its relay tries every minute
//! whether there is something better.

use std::future::Future;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::pin::{Pin, pin};
use std::time::Duration;

use futures::channel::oneshot;
use futures::future::LocalBoxFuture;
use futures::{FutureExt, select_biased};
use natbox_host::Host;
use natbox_wire::Time;

use super::{Config, Failure, establish};
use crate::contact::{Channel, Contact, Datagram, Fact, Facts};
use crate::path::{Path, Transport};
use crate::punch::session::Status;
use crate::punch::{Attempt, Link, Step};

/// The first wait after an attempt in vain; the next are twice as long each, up to [`LONGEST_WAIT`].
const FIRST_WAIT: Duration = Duration::from_secs(1);
const LONGEST_WAIT: Duration = Duration::from_secs(15);
/// How often a connection that is back on its relay looks for something better (magicsock's `upgradeUDPDirectInterval`).
const UPGRADE_INTERVAL: Duration = Duration::from_secs(60);
/// How many changes of path are remembered.
const MOST_HISTORY: usize = 1024;

/// Two hosts that talk, by whichever path is best so far.
///
/// Checks, keep-alives, the change to a better path and the search for a new one when that dies happen while
/// [`recv`](Connection::recv) waits.
pub struct Connection<H: Host> {
    link: Link<H>,
    elapsed: Duration,
    config: Config,
    history: Vec<(Time, Path)>,
    /// How much of the link's history is in `history`.
    seen: usize,
    /// The address from which this machine reached the directory when the link was made.
    source: Option<IpAddr>,
    again: Again<H>,
}

/// The search for a new path.
struct Again<H: Host> {
    /// What is under way.
    attempt: Option<oneshot::Receiver<Outcome<H>>>,
    /// Not before: the last attempt was in vain.
    rests_until: Time,
    /// When the last attempt ended.
    ended: Time,
    /// How many were in vain since the last one that was not.
    vain: u32,
    /// How many were made in all.
    attempts: u32,
    /// Why the last one was in vain.
    failure: Option<String>,
}

/// What an attempt came to.
type Outcome<H> = Box<Result<Link<H>, Failure>>;

enum Event<H: Host> {
    Step(io::Result<Step>),
    Attempt(Outcome<H>),
}

impl<H: Host> Connection<H> {
    pub(super) fn new(link: Link<H>, config: Config, elapsed: Duration) -> Connection<H> {
        let (rests_until, ended) = (Time::ZERO, Time::ZERO);
        let again = Again { attempt: None, rests_until, ended, vain: 0, attempts: 0, failure: None };
        let (history, source) = (Vec::new(), link.host.source_for(config.directory.ip()).ok());
        let mut connection = Connection { link, elapsed, config, history, seen: 0, source, again };
        connection.remember();
        connection
    }

    /// The path in use; [`Path::None`] while none works.
    pub fn path(&self) -> Path {
        self.history.last().map_or(Path::None, |(_, path)| *path)
    }

    /// Every path that was in use, and since when; [`Path::None`] where one has died.
    pub fn history(&self) -> &[(Time, Path)] {
        &self.history
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

    /// How often a new path was looked for.
    pub fn restarts(&self) -> u32 {
        self.again.attempts
    }

    /// Why the last search for a new path came to nothing; `None` after one that did not.
    pub fn trouble(&self) -> Option<&str> {
        self.again.failure.as_deref()
    }

    /// The machine that this end is on.
    pub fn host(&self) -> &H {
        &self.link.host
    }

    /// Sends a datagram to the peer; on a path that has died it is lost.
    ///
    /// # Errors
    /// What the machine's socket or the relay says.
    pub async fn send(&mut self, payload: &[u8]) -> io::Result<()> {
        let sent = self.link.send(payload).await;
        // A dead path is no error: a new one is being looked for.
        if self.is_lost() { Ok(()) } else { sent }
    }

    /// The next datagram from the peer, or `None` at `deadline`.
    ///
    /// # Errors
    /// What the machine's socket says.
    pub async fn recv(&mut self, deadline: Time) -> io::Result<Option<Datagram<'_>>> {
        loop {
            self.look_for_more();
            match self.next(deadline).await {
                Event::Step(Ok(Step::Data { length, at })) => {
                    self.remember();
                    return Ok(Some(Datagram { payload: self.link.data(length), at }));
                }
                Event::Step(Ok(Step::Deadline)) if self.link.host.now() >= deadline => {
                    self.remember();
                    return Ok(None);
                }
                Event::Step(Ok(_)) => {}
                // The socket may be of an address that the machine does not have any more.
                Event::Step(Err(_)) if self.is_lost() => {}
                Event::Step(Err(error)) => return Err(error),
                Event::Attempt(outcome) => match *outcome {
                    Ok(link) => self.replace(link),
                    Err(failure) => self.in_vain(&failure),
                },
            }
            self.remember();
        }
    }

    /// Waits for the link or for the attempt, whichever comes first.
    async fn next(&mut self, deadline: Time) -> Event<H> {
        let until = deadline.min(self.attempt_due());
        let mut step = pin!(self.link.step(until).fuse());
        let Some(mut attempt) = self.again.attempt.take() else { return Event::Step(step.await) };
        let outcome = select_biased! {
            step = step => Err(step),
            outcome = attempt => Ok(outcome),
        };
        match outcome {
            Ok(outcome) => Event::Attempt(outcome.unwrap_or_else(|_| Box::new(Err(Failure::default())))),
            Err(step) => {
                self.again.attempt = Some(attempt);
                Event::Step(step)
            }
        }
    }

    fn is_lost(&self) -> bool {
        matches!(self.link.session.status(), Status::Lost(_))
    }

    /// When a new path is looked for: the old one is dead, or it is the relay that was to be the second choice.
    fn attempt_due(&self) -> Time {
        match self.fell_back() {
            _ if self.again.attempt.is_some() => Time::MAX,
            _ if self.is_lost() || self.has_moved() => self.again.rests_until,
            Some(since) => since.max(self.again.ended) + UPGRADE_INTERVAL,
            None => Time::MAX,
        }
    }

    /// Whether this machine has another way out than when the link was made: the old path dies, or will.
    fn has_moved(&self) -> bool {
        self.link.host.source_for(self.config.directory.ip()).ok() != self.source
    }

    /// Since when the connection is back on its relay.
    fn fell_back(&self) -> Option<Time> {
        match &self.history[..] {
            [.., _, (since, Path::Relayed)] if self.link.session.keeps_relay() => Some(*since),
            _ => None,
        }
    }

    /// Begins to look for a new path, if that is due.
    fn look_for_more(&mut self) {
        if self.link.host.now() < self.attempt_due() {
            return;
        }
        let (sender, receiver) = oneshot::channel();
        let (host, config, peer) = (self.link.host.clone(), self.config.clone(), self.peer().to_owned());
        self.link.host.spawn(attempt(host, config, peer, sender));
        self.again.attempts += 1;
        self.again.attempt = Some(receiver);
    }

    /// A new path is there. One that is a relay again finds better ones by itself.
    fn replace(&mut self, link: Link<H>) {
        self.again.failure = None;
        self.again.vain = 0;
        self.again.ended = self.link.host.now();
        self.link = link;
        self.seen = 0;
        self.source = self.link.host.source_for(self.config.directory.ip()).ok();
    }

    fn in_vain(&mut self, failure: &Failure) {
        let wait = FIRST_WAIT.saturating_mul(1 << self.again.vain.min(8)).min(LONGEST_WAIT);
        self.again.ended = self.link.host.now();
        self.again.rests_until = self.again.ended + wait;
        self.again.vain += 1;
        self.again.failure = Some(failure.to_string());
    }

    /// Takes over what the link has seen.
    fn remember(&mut self) {
        for (at, path) in &self.link.history[self.seen..] {
            if self.history.last().is_none_or(|(_, last)| last != path) && self.history.len() < MOST_HISTORY {
                self.history.push((*at, *path));
            }
        }
        self.seen = self.link.history.len();
    }
}

/// Looks for a new path once, unless the connection goes meanwhile.
async fn attempt<H: Host>(host: H, config: Config, peer: String, mut sender: oneshot::Sender<Outcome<H>>) {
    type Search<'a, H> = Pin<Box<dyn Future<Output = Result<Link<H>, Failure>> + 'a>>;
    let search: Search<'_, H> = Box::pin(establish(&host, &config, &peer));
    let mut search = search.fuse();
    let outcome = select_biased! {
        outcome = search => outcome,
        () = sender.cancellation().fuse() => return,
    };
    // If the connection has gone, so has its interest.
    let _ = sender.send(Box::new(outcome));
}

impl<H: Host> Channel for Connection<H> {
    fn path(&self) -> Path {
        Connection::path(self)
    }

    fn transport(&self) -> Transport {
        self.link.transport()
    }

    fn remote(&self) -> SocketAddr {
        Connection::remote(self)
    }

    fn peer(&self) -> &str {
        Connection::peer(self)
    }

    fn history(&self) -> Vec<(Time, Path)> {
        self.history.clone()
    }

    fn facts(&self) -> Facts {
        let mut facts = Facts::new();
        if self.again.attempts > 0 {
            facts.insert("restarts", Fact::from(self.again.attempts));
        }
        facts.extend(self.trouble().map(|trouble| ("trouble", Fact::from(trouble))));
        facts
    }

    fn send<'a>(&'a mut self, payload: &'a [u8]) -> LocalBoxFuture<'a, io::Result<()>> {
        Connection::send(self, payload).boxed_local()
    }

    fn recv<'a>(&'a mut self, deadline: Time) -> LocalBoxFuture<'a, io::Result<Option<Datagram<'a>>>> {
        Connection::recv(self, deadline).boxed_local()
    }
}

impl<H: Host> From<Connection<H>> for Contact<H> {
    fn from(connection: Connection<H>) -> Contact<H> {
        let (host, elapsed) = (connection.link.host.clone(), connection.elapsed);
        Contact::new(host, connection, elapsed)
    }
}

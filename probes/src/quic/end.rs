//! One end of a QUIC session between two NATs: which connection the two use, and how a path that has died is opened anew.

use std::collections::BTreeSet;
use std::io;
use std::net::SocketAddr;
use std::time::Duration;

use futures::future::LocalBoxFuture;
use futures::{FutureExt, select_biased};
use natbox_host::Host;
use natbox_wire::{Time, Word};

use super::machine::{Event, Machine};
use super::told::{Endpoints, Told};
use crate::contact::{Channel, Contact, Datagram, Facts, Failure, Setting};
use crate::path::Path;
use crate::punch::Role;
use crate::sans_io::Driver;
use crate::signal::Signal;
use crate::stun::codec::transaction_id;

/// Silence beyond a keep-alive after which a path is opened anew, and from one such attempt to the next.
const PATIENCE: Duration = Duration::from_secs(3);
/// How often the caller says which connection it has chosen, until the callee agrees.
const CHOICE_INTERVAL: Duration = Duration::from_millis(500);
/// The first byte of what goes over a connection.
const CHOSEN: u8 = 0;
const ACCEPTED: u8 = 1;
const DATA: u8 = 2;

/// One end of a session.
pub(super) struct End<H: Host> {
    host: H,
    driver: Driver<H, Machine>,
    signal: Signal<H>,
    /// Whether the directory's channel still works.
    signalling: bool,
    stun: Option<SocketAddr>,
    keep_alive: Duration,
    own: Endpoints,
    theirs: Endpoints,
    /// What was dialled, for the report.
    tried: BTreeSet<SocketAddr>,
    /// The connection in use, and whether the callee agrees.
    chosen: Option<usize>,
    accepted: bool,
    say_at: Time,
    look_at: Time,
    path: Path,
    history: Vec<(Time, Path)>,
    remotes: Vec<SocketAddr>,
    openings: u32,
    received: Vec<u8>,
}

/// What came of a step.
enum Step {
    Data(Time),
    Progress,
    Deadline,
}

impl<H: Host> End<H> {
    pub(super) fn new(
        host: &H,
        socket: H::Udp,
        machine: Machine,
        signal: Signal<H>,
        setting: &Setting,
        own: Endpoints,
        theirs: Endpoints,
    ) -> End<H> {
        let tried = theirs.all().into_iter().collect();
        End {
            host: host.clone(),
            driver: Driver::new(host, vec![socket], machine),
            signal,
            signalling: true,
            stun: setting.stun.first().copied(),
            keep_alive: setting.options.keep_alive,
            own,
            theirs,
            tried,
            chosen: None,
            accepted: false,
            say_at: Time::MAX,
            look_at: Time::MAX,
            path: Path::None,
            history: Vec::new(),
            remotes: Vec::new(),
            openings: 0,
            received: Vec::new(),
        }
    }

    /// Goes on until both sides agree on a connection.
    pub(super) async fn settle(mut self, began: Time, deadline: Time) -> Result<Contact<H>, Failure> {
        loop {
            let lost = match self.step(deadline).await {
                Ok(Step::Progress | Step::Data(_)) if self.accepted => break,
                Ok(Step::Progress | Step::Data(_)) => continue,
                Ok(Step::Deadline) => "no handshake came to its end in time".to_owned(),
                Err(error) => error.to_string(),
            };
            let mut failure = Failure::vain(lost, self.host.now().since(began)).with_facts(self.facts());
            let line = |endpoint: &SocketAddr| format!("{endpoint}: no QUIC connection");
            failure.attempts = self.tried.iter().map(line).collect();
            return Err(failure);
        }
        let elapsed = self.host.now().since(began);
        Ok(Contact::new(self.host.clone(), self, elapsed))
    }

    fn is_caller(&self) -> bool {
        matches!(self.signal.role(), Role::Caller)
    }

    /// Waits for the next thing that happens.
    async fn step(&mut self, deadline: Time) -> io::Result<Step> {
        let now = self.host.now();
        self.say_chosen(now)?;
        self.look(now);
        let until = deadline.min(self.say_at).min(self.look_at);
        let (event, told) = {
            let mut driven = std::pin::pin!(self.driver.next(until).fuse());
            let mut signalled = std::pin::pin!(
                async {
                    if self.signalling { self.signal.recv(Time::MAX).await } else { std::future::pending().await }
                }
                .fuse()
            );
            select_biased! {
                event = driven => (Some(event?), None),
                told = signalled => (None, Some(told)),
            }
        };
        match (event, told) {
            (Some(Some(event)), _) => self.take_event(event),
            (Some(None), _) if self.host.now() >= deadline => Ok(Step::Deadline),
            (_, Some(Ok(Some(message)))) => {
                self.take_told(&message);
                Ok(Step::Progress)
            }
            (_, Some(_)) => {
                self.signalling = false;
                Ok(Step::Progress)
            }
            _ => Ok(Step::Progress),
        }
    }

    /// The caller says which connection it has chosen until the callee agrees.
    fn say_chosen(&mut self, now: Time) -> io::Result<()> {
        let Some(chosen) = self.chosen.filter(|_| self.is_caller() && !self.accepted && self.say_at <= now) else {
            return Ok(());
        };
        self.say_at = now + CHOICE_INTERVAL;
        let message = [&[CHOSEN][..], &self.signal.token().0, self.path.as_str().as_bytes()].concat();
        self.driver.protocol().send_over(chosen, &message)
    }

    /// Opens the path anew if nothing has come over it for too long.
    fn look(&mut self, now: Time) {
        if self.chosen.is_none() || self.look_at > now {
            return;
        }
        let silent_at = self.driver.protocol().heard_at() + self.keep_alive + PATIENCE;
        if silent_at > now {
            self.look_at = silent_at;
            return;
        }
        self.look_at = now + PATIENCE;
        self.find_out(now);
    }

    /// Asks where this side is seen now; what comes of that is told to the peer.
    fn find_out(&mut self, now: Time) {
        let id = transaction_id(&mut self.host.random());
        if let (Some(server), true) = (self.stun, self.signalling) {
            self.openings += 1;
            self.driver.protocol().opening.ask(server, id, now);
        }
    }

    fn take_event(&mut self, event: Event) -> io::Result<Step> {
        let now = self.host.now();
        match event {
            Event::Connected { leg, remote } if self.is_caller() => {
                if self.chosen.is_none() || self.accepted {
                    self.driver.protocol().choose(leg, now);
                    (self.chosen, self.accepted, self.say_at, self.path) =
                        (Some(leg), false, now, self.classify(remote));
                }
            }
            Event::Datagram { leg, payload } => return Ok(self.take_datagram(leg, payload, now)),
            Event::Moved { remote } => self.remotes.push(remote),
            Event::Lost(lost) => return Err(io::Error::new(io::ErrorKind::ConnectionAborted, lost.to_string())),
            Event::Seen { endpoint } => return self.seen(endpoint, now),
            Event::Stranger { endpoint } if self.is_caller() => {
                self.tried.insert(endpoint);
                let _ = self.driver.protocol().dial(endpoint, now);
            }
            Event::Connected { .. } | Event::Stranger { .. } => {}
        }
        Ok(Step::Progress)
    }

    fn seen(&mut self, endpoint: SocketAddr, now: Time) -> io::Result<Step> {
        self.own.reflexive = Some(endpoint);
        let message = Told::Moved(self.own.clone()).encode();
        // A signal that finds no room now is sent at the next look.
        let _ = self.signal.send(&message).now_or_never();
        let targets = self.theirs.all();
        self.driver.protocol().opening.towards(&targets, now);
        self.driver.protocol().local_address_changed();
        Ok(Step::Progress)
    }

    fn take_told(&mut self, message: &[u8]) {
        let Some(Told::Moved(theirs)) = Told::decode(message) else { return };
        let now = self.host.now();
        let changed = theirs != self.theirs;
        self.theirs = theirs;
        let targets = self.theirs.all();
        self.driver.protocol().opening.towards(&targets, now);
        if changed && self.is_caller() {
            for endpoint in targets {
                self.tried.insert(endpoint);
                let _ = self.driver.protocol().dial(endpoint, now);
            }
        }
        // This side may have been forgotten as well, and cannot know it.
        if self.look_at > now && self.openings == 0 {
            self.find_out(now);
        }
    }

    fn take_datagram(&mut self, leg: usize, payload: Vec<u8>, now: Time) -> Step {
        match payload.split_first() {
            Some((&CHOSEN, rest)) if !self.is_caller() => {
                let Some(path) = rest.strip_prefix(&self.signal.token().0[..]) else { return Step::Progress };
                let path = std::str::from_utf8(path).ok().and_then(<Path as Word>::from_word);
                if self.chosen != Some(leg) {
                    self.driver.protocol().choose(leg, now);
                    (self.chosen, self.path) = (Some(leg), path.unwrap_or(Path::None));
                    self.agree(now);
                }
                let _ = self.driver.protocol().send_over(leg, &[ACCEPTED]);
                Step::Progress
            }
            Some((&ACCEPTED, _)) if self.chosen == Some(leg) && !self.accepted => {
                self.agree(now);
                Step::Progress
            }
            Some((&DATA, rest)) if self.chosen == Some(leg) => {
                self.received = rest.to_vec();
                Step::Data(now)
            }
            _ => Step::Progress,
        }
    }

    /// Both sides use the chosen connection from now on.
    fn agree(&mut self, now: Time) {
        (self.accepted, self.say_at, self.look_at) = (true, Time::MAX, now + self.keep_alive + PATIENCE);
        self.driver.protocol().opening.stop();
        self.history.push((now, self.path));
        let remote = self.driver.protocol().remote();
        self.remotes.extend(remote);
        self.openings = 0;
    }

    /// What kind of path leads to this endpoint of the peer's.
    fn classify(&self, remote: SocketAddr) -> Path {
        let public = self.own.reflexive.is_some_and(|reflexive| self.own.host.contains(&reflexive));
        if self.theirs.host.contains(&remote) {
            if self.host.is_neighbour(remote.ip()) { Path::Local } else { Path::Direct }
        } else if public {
            Path::Reversed
        } else if self.own.reflexive.is_some_and(|reflexive| reflexive.ip() == remote.ip()) {
            Path::Hairpinned
        } else {
            Path::Punched
        }
    }

    fn facts(&self) -> Facts {
        let migrations = self.remotes.len().saturating_sub(self.history.len());
        Facts::from([
            ("dialled", self.tried.len().into()),
            ("migrations", migrations.into()),
            ("connections", self.history.len().into()),
        ])
    }
}

impl<H: Host> Channel for End<H> {
    fn path(&self) -> Path {
        self.path
    }

    fn remote(&self) -> SocketAddr {
        self.remotes.last().copied().unwrap_or(self.signal.seen())
    }

    fn peer(&self) -> &str {
        self.signal.peer()
    }

    fn history(&self) -> Vec<(Time, Path)> {
        self.history.clone()
    }

    fn facts(&self) -> Facts {
        End::facts(self)
    }

    fn send<'a>(&'a mut self, payload: &'a [u8]) -> LocalBoxFuture<'a, io::Result<()>> {
        async move {
            let message = [&[DATA], payload].concat();
            self.driver.protocol().send(&message)?;
            self.driver.flush().await
        }
        .boxed_local()
    }

    fn recv<'a>(&'a mut self, deadline: Time) -> LocalBoxFuture<'a, io::Result<Option<Datagram<'a>>>> {
        async move {
            loop {
                match self.step(deadline).await? {
                    Step::Data(at) => return Ok(Some(Datagram { payload: &self.received, at })),
                    Step::Progress => {}
                    Step::Deadline => return Ok(None),
                }
            }
        }
        .boxed_local()
    }
}

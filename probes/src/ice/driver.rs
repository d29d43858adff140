//! The program that keeps one end of an ICE session going: gathers, checks, consents, restarts, and carries the data.

use std::cell::RefCell;
use std::net::SocketAddr;
use std::pin::pin;
use std::rc::Rc;

use futures::channel::mpsc;
use futures::{FutureExt, StreamExt, select_biased};
use is::{Candidate, CandidateKind};
use natbox_host::Host;
use natbox_wire::Time;
use rand_core::Rng;

use super::agent::{Agent, Event, Way, word};
use super::description::{Description, direction};
use super::ground::{Came, Ground};
use super::{Config, Named, Status};
use crate::ProbeError;
use crate::contact::Setting;
use crate::path::{Path, Transport};
use crate::punch::{DATA, Role};
use crate::signal::Signal;
use crate::turn::notify::Notify;

/// A connection that was there is looked for so many times in a row; then it is given up.
const MOST_RESTARTS: u32 = 8;

/// What the program and the owner of a session share.
#[derive(Default)]
pub(super) struct Shared {
    pub(super) status: RefCell<Status>,
    pub(super) changed: Notify,
}

pub(super) struct Driver<H: Host> {
    host: H,
    setting: Setting,
    signal: Signal<H>,
    ground: Ground<H>,
    transport: Transport,
    agent: Agent,
    generation: u32,
    /// Restarts since a pair last worked, and when that was.
    vain: u32,
    lost_at: Time,
    /// What the peer told in this generation.
    peer: Option<Description>,
    /// What this side has told.
    own: Vec<Candidate>,
    selected: Option<Way>,
    shared: Rc<Shared>,
    inbox: mpsc::Sender<(Vec<u8>, Time)>,
}

/// What a driver waits for.
enum Happened {
    Came(Came),
    /// Something went wrong with one message.
    Nothing,
    Told(Vec<u8>),
    Send(Vec<u8>),
    Due,
}

/// Why a session is over.
pub(super) enum Ended {
    /// Its owner has gone.
    Left,
    Broken(ProbeError),
}

impl From<ProbeError> for Ended {
    fn from(error: ProbeError) -> Ended {
        Ended::Broken(error)
    }
}

impl<H: Host> Driver<H> {
    pub(super) async fn open(
        host: &H,
        setting: &Setting,
        signal: Signal<H>,
        config: Config,
        shared: Rc<Shared>,
        inbox: mpsc::Sender<(Vec<u8>, Time)>,
    ) -> Result<Driver<H>, ProbeError> {
        let ground = Ground::open(host, setting, config.transport).await?;
        let controlling = config.controlling.unwrap_or(signal.role() == Role::Caller);
        Ok(Driver {
            host: host.clone(),
            setting: setting.clone(),
            signal,
            ground,
            transport: config.transport,
            agent: Agent::new(host.random().next_u64(), controlling, config.transport),
            generation: 0,
            vain: 0,
            lost_at: host.now(),
            peer: None,
            own: Vec::new(),
            selected: None,
            shared,
            inbox,
        })
    }

    /// Runs until the owner has gone, or nothing can be done any more.
    pub(super) async fn run(mut self, mut outbox: mpsc::Receiver<Vec<u8>>) {
        if let Err(Ended::Broken(error)) = self.serve(&mut outbox).await {
            self.shared.status.borrow_mut().error = Some(error);
        }
        self.select(None);
    }

    async fn serve(&mut self, outbox: &mut mpsc::Receiver<Vec<u8>>) -> Result<(), Ended> {
        self.describe().await?;
        self.agent.handle_timeout(self.host.now());
        loop {
            self.flush().await?;
            match self.next(outbox).await? {
                Happened::Came(came) => self.take(&came.message, came.way, came.at),
                Happened::Told(message) => self.learn(&message).await?,
                Happened::Send(payload) => self.send(payload).await,
                Happened::Due => self.agent.handle_timeout(self.host.now()),
                Happened::Nothing => {}
            }
        }
    }

    /// Gathers, and tells the peer.
    async fn describe(&mut self) -> Result<(), ProbeError> {
        let gathered = self.ground.gather(&self.setting).await;
        gathered.checked_from.into_iter().for_each(|candidate| self.agent.add_local(candidate));
        self.own = gathered.told.clone();
        let description = Description {
            generation: self.generation,
            seen: self.signal.seen(),
            credentials: self.agent.credentials().clone(),
            candidates: gathered.told,
        };
        {
            let mut status = self.shared.status.borrow_mut();
            status.local = description.candidates.iter().map(named).collect();
            status.remarks = gathered.remarks;
        }
        self.signal.send(description.to_string().as_bytes()).await
    }

    /// Begins anew (RFC 8445 section 9): new credentials, new candidates.
    async fn restart(&mut self, generation: u32) -> Result<(), ProbeError> {
        self.generation = generation;
        self.peer = None;
        self.agent.restart();
        self.shared.status.borrow_mut().restarts += 1;
        self.describe().await
    }

    /// Takes the peer's description. A later generation than this side's says that the peer has begun anew.
    async fn learn(&mut self, message: &[u8]) -> Result<(), ProbeError> {
        let Some(description) = Description::parse(message, self.transport) else { return Ok(()) };
        if description.generation > self.generation {
            self.restart(description.generation).await?;
        }
        if description.generation == self.generation && self.peer.is_none() {
            self.agent.set_remote(&description);
            self.shared.status.borrow_mut().remote = description.candidates.iter().map(named).collect();
            self.ground.expect(&description);
            self.peer = Some(description);
        }
        Ok(())
    }

    fn take(&mut self, datagram: &[u8], way: Way, at: Time) {
        match datagram.split_first() {
            // RFC 7983: what STUN messages begin with.
            Some((0..=3, _)) => self.agent.receive(datagram, way, at),
            Some((&DATA, payload)) if self.agent.trusts(way) => {
                // What does not fit is lost, as in a socket's buffer.
                let _ = self.inbox.try_send((payload.to_vec(), at));
            }
            _ => {}
        }
    }

    /// Sends what the agent has to send, and follows what it tells.
    async fn flush(&mut self) -> Result<(), ProbeError> {
        loop {
            while let Some(transmit) = self.agent.poll_transmit() {
                let Some(local) = transmit.source else { continue };
                self.ground.transmit(&transmit.payload, Way { local, remote: transmit.destination }).await;
            }
            match self.agent.poll_event(self.host.now()) {
                Some(Event::Selected(way)) => {
                    self.vain = 0;
                    self.select(Some(way));
                }
                Some(Event::Dead) => self.dead().await?,
                None => break,
            }
        }
        let mut status = self.shared.status.borrow_mut();
        status.checks_sent = self.agent.checks_sent();
        status.controlling = self.agent.is_controlling();
        Ok(())
    }

    /// Nothing works. A connection that has never been there has failed; one that was is looked for anew.
    async fn dead(&mut self) -> Result<(), ProbeError> {
        if self.selected.is_some() {
            self.lost_at = self.host.now();
        }
        self.select(None);
        if self.shared.status.borrow().history.is_empty() {
            let mut status = self.shared.status.borrow_mut();
            status.remarks.extend(self.ground.attempts());
            status.failed = true;
            drop(status);
            self.shared.changed.notify();
            return Ok(());
        }
        if self.vain >= MOST_RESTARTS {
            let (from, waited) = (self.setting.directory, self.host.now().since(self.lost_at));
            let expected = "a candidate pair that works";
            return Err(ProbeError::Silence { expected, from, waited, sent: self.vain });
        }
        self.vain += 1;
        self.restart(self.generation.saturating_add(1)).await
    }

    /// Remembers which way data goes.
    fn select(&mut self, way: Option<Way>) {
        self.selected = way;
        let path = way.map_or(Path::None, |way| self.path_of(way));
        let mut status = self.shared.status.borrow_mut();
        if let Some(way) = way {
            status.pair = Some((self.local_kind(way), self.remote_kind(way)));
            status.peer = Some(way.remote);
        }
        let first = status.history.is_empty();
        let same = status.history.last().is_some_and(|(_, last)| *last == path);
        if !same && (!first || path != Path::None) {
            status.history.push((self.host.now(), path));
        }
        drop(status);
        self.shared.changed.notify();
    }

    async fn send(&self, payload: Vec<u8>) {
        let Some(way) = self.selected else { return };
        let mut datagram = Vec::with_capacity(1 + payload.len());
        datagram.push(DATA);
        datagram.extend(payload);
        self.ground.transmit(&datagram, way).await;
    }

    async fn next(&mut self, outbox: &mut mpsc::Receiver<Vec<u8>>) -> Result<Happened, Ended> {
        let due = self.agent.poll_timeout().unwrap_or(Time::MAX);
        if due <= self.host.now() {
            return Ok(Happened::Due);
        }
        let mut end = pin!(self.host.sleep_until(due).fuse());
        let mut came = pin!(self.ground.next().fuse());
        let mut told = pin!(self.signal.recv(Time::MAX).fuse());
        select_biased! {
            came = came => Ok(came.map_or(Happened::Nothing, Happened::Came)),
            told = told => Ok(Happened::Told(told?.unwrap_or_default())),
            payload = outbox.next() => payload.map(Happened::Send).ok_or(Ended::Left),
            () = end => Ok(Happened::Due),
        }
    }

    /// What a way is called: see [`crate::punch`] for the words, which are the same.
    fn path_of(&self, way: Way) -> Path {
        let Some(peer) = &self.peer else { return Path::None };
        let reflexive = |candidates: &[Candidate], seen: SocketAddr| {
            let found = candidates.iter().find(|candidate| candidate.kind() == CandidateKind::ServerReflexive);
            found.map_or(seen, Candidate::addr)
        };
        // Over TCP, connections come from any port of an active candidate.
        let same = |here: SocketAddr, there: SocketAddr| match self.transport {
            Transport::Udp => here == there,
            Transport::Tcp => here.ip() == there.ip(),
        };
        let has = |candidates: &[Candidate], kind, endpoint: SocketAddr| {
            candidates.iter().any(|candidate| candidate.kind() == kind && same(candidate.addr(), endpoint))
        };
        let own = &self.own;
        if has(own, CandidateKind::Relayed, way.local) || has(&peer.candidates, CandidateKind::Relayed, way.remote) {
            return Path::Relayed;
        }
        let seen = self.agent.seen_over(way).unwrap_or(way.local);
        let here = !has(own, CandidateKind::Host, seen);
        let there = !has(&peer.candidates, CandidateKind::Host, way.remote);
        let caller = self.signal.role() == Role::Caller;
        let (caller, callee) = if caller { (here, there) } else { (there, here) };
        match (caller, callee) {
            (false, false) if self.host.is_neighbour(way.remote.ip()) => Path::Local,
            (false, false) | (true, false) => Path::Direct,
            (false, true) => Path::Reversed,
            (true, true) => {
                let mine = reflexive(own, self.signal.seen()).ip();
                let theirs = reflexive(&peer.candidates, peer.seen).ip();
                if mine == theirs && way.remote.ip() == theirs { Path::Hairpinned } else { Path::Punched }
            }
        }
    }

    /// What the peer sees this side's end of a way as.
    fn local_kind(&self, way: Way) -> &'static str {
        let seen = self.agent.seen_over(way).unwrap_or(way.local);
        let known = || self.own.iter().cloned().chain(self.agent.locals());
        let found = known().find(|candidate| candidate.addr() == seen || candidate.addr() == way.local);
        let exact = known().find(|candidate| candidate.addr() == seen);
        exact.or(found).map_or("peer-reflexive", |candidate| word(candidate.kind()))
    }

    fn remote_kind(&self, way: Way) -> &'static str {
        let found = self.agent.remotes().filter(|candidate| candidate.addr() == way.remote);
        found.max_by_key(Candidate::prio).map_or("peer-reflexive", |candidate| word(candidate.kind()))
    }
}

fn named(candidate: &Candidate) -> Named {
    Named { kind: word(candidate.kind()), direction: direction(candidate), endpoint: candidate.addr() }
}

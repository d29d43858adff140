//! ICE (RFC 8445), full, over UDP or TCP (RFC 6544, see `streams`): every candidate of one side is checked against every one of the other's.
//!
//! ```text
//! caller (controlling)      servers      directory                  callee (controlled)
//!   | Binding, Allocate -----> |             | <------- register ------- |
//!   | -- introduce --------------------------> | ----- invitation -----> |
//!   | gathers                  |             |                    gathers |   host, server-reflexive, relayed
//!   | -- credentials, candidates ------------> | ----------------------> |   over `signal`, both ways
//!   | <================ checks, one every 50 ms a side ================= |   USERNAME, PRIORITY, MESSAGE-INTEGRITY
//!   |    from an unknown source: peer-reflexive candidate, and a check   |
//!   | -- check with USE-CANDIDATE over the best pair that works -------> |   nomination
//!   | <======================= consent, every 5 s ====================== |   RFC 7675
//!   |    nothing for 30 s: new credentials, new candidates, over `signal`|   restart (RFC 8445 section 9)
//! ```
//!
//! The protocol is the crate `is`, the ICE of str0m: kept, without I/O, small, and the one whose chance can be seeded.
//! (`rice-proto` has more of the RFC, frozen pairs and TCP; it draws from the thread's own randomness.) `is` draws
//! from `fastrand`'s stream of the thread, which is everybody's: a session swaps in a stream of its own around every
//! call, so that **two runs of one seed are alike to the byte**, whatever else the thread does.
//!
//! What `is` does otherwise than the RFC, and what is left out here:
//!
//! * No pair is frozen (there is one stream with one component). The controlling side nominates the best pair that
//!   works at once, and another when a better one works later; all pairs that work are checked on.
//! * When the nominated pair dies and another still works, over a relay perhaps, that is used, and nothing is begun anew.
//! * Checks are answered and sent again after 0.5, 1, 2, 4 and 5 s, 7 times; the RTO does not grow with their number.
//! * Consent checks come every 5 s, not at random between 4 and 6.
//! * Candidates are told all at once, not as they are found (RFC 8838); a server that is silent for 2.5 s is done without.
//! * Candidates are of one IP version, the directory's. ICE-lite, and several components, are not here; nor are UDP and TCP in one session.
//! * Channels are not bound on the relay: data goes as Send indications.
//!
//! Over TCP besides:
//!
//! * `is` pairs candidates of one protocol whatever side of a connection they are: of the pairs that RFC 6544 section 6.2
//!   does not form, checks count as sent, and are not. A check is repeated although a connection loses nothing.
//! * Where a port is seen from outside is what the directory says, not a STUN server. One address of a host has
//!   candidates. PRIORITY of a check is that of its candidate.
//! * There is no active candidate of a server-reflexive type: no NAT's port for it could be told before it connects.

mod agent;
mod datagrams;
mod description;
mod driver;
mod gather;
mod ground;
mod streams;

use std::io;
use std::net::SocketAddr;
use std::pin::pin;
use std::rc::Rc;
use std::time::Duration;

use futures::channel::mpsc;
use futures::future::LocalBoxFuture;
use futures::{FutureExt, SinkExt, StreamExt, select_biased};
use natbox_host::Host;
use natbox_wire::Time;

use crate::ProbeError;
use crate::contact::{Channel, Contact, Datagram, Facts, Failure, Setting};
use crate::path::{Path, Transport};
use crate::signal::Signal;
use driver::{Driver, Shared};

/// How long a better pair is waited for when the first that works is relayed.
const SETTLES: Duration = Duration::from_secs(1);
/// Messages that wait for their reader; what comes beyond is lost.
const INBOX_MESSAGES: usize = 1024;
/// Messages that wait to be sent.
const OUTBOX_MESSAGES: usize = 32;

/// What a side may do otherwise than usual.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Config {
    /// Over which protocol its candidates are: UDP, or TCP (RFC 6544).
    pub transport: Transport,
    /// Whether this side decides which pair is used; the caller does, if this says nothing. If both say that they do,
    /// or neither does, that is a role conflict, and it is resolved (RFC 8445 section 7.3.1.1).
    pub controlling: Option<bool>,
}

impl Default for Config {
    fn default() -> Config {
        Config { transport: Transport::Udp, controlling: None }
    }
}

impl Config {
    /// Candidates over TCP.
    pub fn tcp() -> Config {
        Config { transport: Transport::Tcp, ..Config::default() }
    }
}

/// A candidate, for those who read of it.
struct Named {
    kind: &'static str,
    /// Over TCP: `active`, `passive` or `so`.
    direction: &'static str,
    endpoint: SocketAddr,
}

impl std::fmt::Display for Named {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let space = if self.direction.is_empty() { "" } else { " " };
        write!(f, "{}{space}{} {}", self.direction, self.kind, self.endpoint)
    }
}

impl Named {
    /// Whether checks go from here to there (RFC 6544 section 6.2). A reflexive candidate is checked from its base, which
    /// stands in the list itself.
    fn is_checked_to(&self, there: &Named) -> bool {
        self.kind != "server-reflexive"
            && match (self.direction, there.direction) {
                ("passive", "passive") => self.kind == "relayed",
                ("", "") | ("active", "passive") | ("so", "so") => true,
                _ => false,
            }
    }
}

/// What a session knows of itself.
#[derive(Default)]
struct Status {
    local: Vec<Named>,
    remote: Vec<Named>,
    /// The types of the pair in use, local and remote.
    pair: Option<(&'static str, &'static str)>,
    peer: Option<SocketAddr>,
    history: Vec<(Time, Path)>,
    controlling: bool,
    checks_sent: u64,
    restarts: u32,
    remarks: Vec<String>,
    /// No pair works, and none is looked for any more.
    failed: bool,
    error: Option<ProbeError>,
}

/// Comes to talk to `peer`, who waits in [`answer`].
///
/// # Errors
/// [`Failure`] with the step that failed, or with the pairs that were checked in vain.
pub async fn call<H: Host>(host: &H, setting: &Setting, peer: &str) -> Result<Contact<H>, Failure> {
    call_with(host, setting, peer, Config::default()).await
}

/// The same, as `config` says.
///
/// # Errors
/// As [`call`].
pub async fn call_with<H: Host>(
    host: &H,
    setting: &Setting,
    peer: &str,
    config: Config,
) -> Result<Contact<H>, Failure> {
    let began = host.now();
    let deadline = setting.options.deadline(began);
    let signal = Signal::call(host, setting.directory, &setting.me, peer, deadline).await;
    let signal = signal.map_err(|error| Failure::early(error, host.now().since(began)))?;
    meet(host, setting, signal, config, began).await
}

/// Registers, and waits for one caller.
///
/// # Errors
/// [`Failure`]: nobody called, or no pair worked.
pub async fn answer<H: Host>(host: &H, setting: &Setting) -> Result<Contact<H>, Failure> {
    answer_with(host, setting, Config::default()).await
}

/// The same, as `config` says.
///
/// # Errors
/// As [`answer`].
pub async fn answer_with<H: Host>(host: &H, setting: &Setting, config: Config) -> Result<Contact<H>, Failure> {
    let began = host.now();
    let signal = Signal::answer(host, setting.directory, &setting.me, setting.options.deadline(began)).await;
    let signal = signal.map_err(|error| Failure::early(error, host.now().since(began)))?;
    let began = host.now();
    meet(host, setting, signal, config, began).await
}

/// Runs a session until a pair works.
async fn meet<H: Host>(
    host: &H,
    setting: &Setting,
    signal: Signal<H>,
    config: Config,
    began: Time,
) -> Result<Contact<H>, Failure> {
    let peer = signal.peer().to_owned();
    let shared = Rc::new(Shared::default());
    let (sender, inbox) = mpsc::channel(INBOX_MESSAGES);
    let (outbox, receiver) = mpsc::channel(OUTBOX_MESSAGES);
    let driver = Driver::open(host, setting, signal, config, shared.clone(), sender).await;
    let driver = driver.map_err(|error| Failure::early(error, host.now().since(began)))?;
    host.spawn(driver.run(receiver));
    let transport = config.transport;
    let session = Session { transport, host: host.clone(), shared, inbox, outbox, began, peer, read: Vec::new() };
    session.settle(setting.options.deadline(began)).await;
    let status = session.shared.status.borrow();
    match status.history.last() {
        Some((_, path)) if *path != Path::None => {
            let elapsed = status.history[0].0.since(began);
            drop(status);
            Ok(Contact::new(host.clone(), session, elapsed))
        }
        _ => Err(failure(&status, host.now().since(began)).with_facts(facts(&status, began))),
    }
}

fn failure(status: &Status, elapsed: Duration) -> Failure {
    let pairs = status.local.iter().flat_map(|local| status.remote.iter().map(move |remote| (local, remote)));
    let checked = pairs.filter(|(here, there)| here.is_checked_to(there));
    let line = |(here, there): (&Named, &Named)| format!("{here} to {there}: no answer came back");
    Failure {
        error: status.error.clone().map(Box::new),
        elapsed,
        attempts: checked.map(line).collect(),
        remarks: status.remarks.clone(),
        ..Failure::default()
    }
}

fn facts(status: &Status, began: Time) -> Facts {
    let mut facts = Facts::new();
    facts.insert("role", if status.controlling { "controlling" } else { "controlled" }.into());
    facts.insert("checks_sent", i64::try_from(status.checks_sent).unwrap_or(i64::MAX).into());
    facts.insert("restarts", status.restarts.into());
    if let Some((local, remote)) = status.pair {
        facts.insert("local_candidate", local.into());
        facts.insert("remote_candidate", remote.into());
    }
    if let Some((at, _)) = status.history.first() {
        facts.insert("nominated_after_ns", at.since(began).into());
    }
    facts
}

/// An ICE session, as its owner sees it: a program of its own keeps it going until this is dropped.
struct Session<H: Host> {
    transport: Transport,
    host: H,
    shared: Rc<Shared>,
    inbox: mpsc::Receiver<(Vec<u8>, Time)>,
    outbox: mpsc::Sender<Vec<u8>>,
    began: Time,
    peer: String,
    read: Vec<u8>,
}

impl<H: Host> Session<H> {
    /// Waits for a pair that works, a little longer for a better one than a relayed, or for the end.
    async fn settle(&self, deadline: Time) {
        loop {
            let changed = self.shared.changed.changed();
            let until = {
                let status = self.shared.status.borrow();
                match status.history.last() {
                    _ if status.failed || status.error.is_some() => return,
                    Some((since, Path::Relayed)) => deadline.min(*since + SETTLES),
                    Some((_, path)) if *path != Path::None => return,
                    _ => deadline,
                }
            };
            if until <= self.host.now() {
                return;
            }
            let (mut changed, mut end) = (pin!(changed.fuse()), pin!(self.host.sleep_until(until).fuse()));
            select_biased! { () = changed => {}, () = end => {} }
        }
    }

    fn ended(&self) -> io::Error {
        let status = self.shared.status.borrow();
        let why = status.error.as_ref().map_or_else(|| "every candidate pair is dead".to_owned(), ToString::to_string);
        io::Error::new(io::ErrorKind::ConnectionReset, why)
    }
}

impl<H: Host> Channel for Session<H> {
    fn path(&self) -> Path {
        self.shared.status.borrow().history.last().map_or(Path::None, |(_, path)| *path)
    }

    fn transport(&self) -> Transport {
        self.transport
    }

    fn remote(&self) -> SocketAddr {
        let unknown = SocketAddr::new(std::net::Ipv4Addr::UNSPECIFIED.into(), 0);
        self.shared.status.borrow().peer.unwrap_or(unknown)
    }

    fn peer(&self) -> &str {
        &self.peer
    }

    fn history(&self) -> Vec<(Time, Path)> {
        self.shared.status.borrow().history.clone()
    }

    fn facts(&self) -> Facts {
        facts(&self.shared.status.borrow(), self.began)
    }

    fn send<'a>(&'a mut self, payload: &'a [u8]) -> LocalBoxFuture<'a, io::Result<()>> {
        async move {
            // Between two pairs it is lost, as any datagram may be.
            self.outbox.send(payload.to_vec()).await.map_err(|_| self.ended())
        }
        .boxed_local()
    }

    fn recv<'a>(&'a mut self, deadline: Time) -> LocalBoxFuture<'a, io::Result<Option<Datagram<'a>>>> {
        async move {
            let received = {
                let mut end = pin!(self.host.sleep_until(deadline).fuse());
                select_biased! {
                    received = self.inbox.next() => received,
                    () = end => return Ok(None),
                }
            };
            let Some((payload, at)) = received else { return Err(self.ended()) };
            self.read = payload;
            Ok(Some(Datagram { payload: &self.read, at }))
        }
        .boxed_local()
    }
}

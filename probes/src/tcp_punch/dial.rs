//! Connections to everywhere the peer may be, all at once, each again and again; the first that proves to be the
//! peer's, and that the caller chooses, is taken.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::future::pending;
use std::io;
use std::net::SocketAddr;
use std::pin::pin;
use std::rc::Rc;
use std::time::Duration;

use futures::future::LocalBoxFuture;
use futures::lock::Mutex;
use futures::stream::FuturesUnordered;
use futures::{FutureExt, StreamExt, select_biased};
use natbox_host::{Host, TcpListener, TcpOptions, TcpStream};
use natbox_wire::Time;

use super::endpoint::shared;
use crate::rendezvous::Token;
use crate::talk::proof::Proof;
use crate::talk::{Ends, Goal, Pipe, TcpPipe, goal_of, prove};

/// From a failed connection to the next: "a short delay (e.g. one second)" (Ford 2005 section 4.2).
const AGAIN: Duration = Duration::from_secs(1);
/// How long a SYN has to die, or to be answered in spite of its TTL.
const DIES: Duration = Duration::from_millis(400);
/// How long the other end of a connection has to prove who it is.
const PROOF: Duration = Duration::from_secs(3);
/// The most connections that are accepted and not yet proven.
const MOST_ACCEPTED: usize = 16;

/// What a refused connection is called.
const REFUSED: &str = "refused";

/// What talk goes over.
pub(crate) type Stream<H> = TcpPipe<<H as Host>::Tcp>;

/// A connection to the peer.
pub(crate) struct Met<H: Host> {
    pub(crate) pipe: Stream<H>,
    pub(crate) proof: Proof,
    /// `connect` or `accept`.
    pub(crate) opened_by: &'static str,
}

impl<H: Host> Met<H> {
    pub(crate) fn pipe_remote(&self) -> SocketAddr {
        self.pipe.remote()
    }

    /// Where the peer sees this end.
    pub(crate) fn seen(&self) -> Option<SocketAddr> {
        self.proof.seen()
    }
}

/// What became of an endpoint.
#[derive(Debug, Default)]
struct Tally {
    dials: u32,
    ends: BTreeMap<String, u32>,
}

/// How long connections are tried, and how often.
pub(crate) struct Plan {
    /// Until when.
    pub(crate) until: Time,
    /// How long after one has failed the next is tried; `None` if none is.
    pub(crate) again: Option<Duration>,
    /// Held while the caller chooses a connection: several ways that are tried side by side share it.
    pub(crate) choosing: Rc<Mutex<()>>,
}

impl Plan {
    /// Again and again, until then.
    pub(crate) fn until(until: Time) -> Plan {
        Plan { until, again: Some(AGAIN), choosing: Rc::default() }
    }
}

pub(crate) struct Dialing<'a, H: Host> {
    host: &'a H,
    ends: Ends,
    local: SocketAddr,
    token: Token,
    plan: Plan,
    tallies: RefCell<BTreeMap<SocketAddr, Tally>>,
}

type Running<'a, H> = FuturesUnordered<LocalBoxFuture<'a, Option<Met<H>>>>;

impl<'a, H: Host> Dialing<'a, H> {
    pub(crate) fn new(host: &'a H, ends: &Ends, local: SocketAddr, token: Token, plan: Plan) -> Dialing<'a, H> {
        Dialing { host, ends: ends.clone(), local, token, plan, tallies: RefCell::default() }
    }

    /// How often a connection was tried.
    pub(crate) fn dials(&self) -> u32 {
        self.tallies.borrow().values().map(|tally| tally.dials).sum()
    }

    /// How many of them were refused.
    pub(crate) fn refused(&self) -> u32 {
        self.tallies.borrow().values().filter_map(|tally| tally.ends.get(REFUSED)).sum()
    }

    /// The connection that was chosen, or what became of every endpoint.
    pub(crate) async fn run(&self, listener: Option<H::Listener>) -> Result<Met<H>, Vec<String>> {
        let mut running = Running::new();
        self.remotes().into_iter().for_each(|remote| running.push(self.dial(remote).boxed_local()));
        let mut end = pin!(self.host.sleep_until(self.plan.until).fuse());
        loop {
            let accepting = listener.as_ref().filter(|_| running.len() < MOST_ACCEPTED);
            let mut accepted = pin!(accept::<H>(accepting).fuse());
            select_biased! {
                met = running.select_next_some() => {
                    if let Some(met) = met
                        && let Some(met) = self.choose(met).await
                    {
                        return Ok(met);
                    }
                }
                stream = accepted => running.push(self.accepted(stream).boxed_local()),
                () = end => return Err(self.lines()),
            }
        }
    }

    /// Where the peer may be; never this machine itself.
    fn remotes(&self) -> Vec<SocketAddr> {
        let own = self.host.addresses();
        let told = std::iter::once(&self.ends.peer_mapped).chain(&self.ends.peer_local);
        let mut remotes: Vec<SocketAddr> = Vec::new();
        for remote in told.filter(|remote| !own.contains(&remote.ip()) && remote.port() != 0) {
            if !remotes.contains(remote) {
                remotes.push(*remote);
            }
        }
        remotes
    }

    /// Connects again and again; `None` when it is too late for another time.
    async fn dial(&self, remote: SocketAddr) -> Option<Met<H>> {
        loop {
            self.tally(remote, |tally| tally.dials += 1);
            let left = self.plan.until.since(self.host.now());
            let options = TcpOptions { connect_timeout: Some(left), ..shared(self.local) };
            let met = match before_deadline(self, self.host.tcp_connect(remote, options)).await {
                Ok(stream) => self.proven(stream, "connect").await,
                Err(error) => Err(error),
            };
            match met {
                Ok(met) => return Some(met),
                Err(error) => self.tally(remote, |tally| *tally.ends.entry(told(&error)).or_default() += 1),
            }
            let again = self.plan.again?;
            if self.host.now() + again >= self.plan.until {
                return None;
            }
            self.host.sleep(again).await;
        }
    }

    async fn accepted(&self, stream: H::Tcp) -> Option<Met<H>> {
        let remote = stream.peer_addr();
        let met = self.proven(stream, "accept").await;
        let error = match met {
            Ok(met) => return Some(met),
            Err(error) => error,
        };
        self.tally(remote, |tally| *tally.ends.entry(format!("accepted, {}", told(&error))).or_default() += 1);
        None
    }

    async fn proven(&self, stream: H::Tcp, opened_by: &'static str) -> io::Result<Met<H>> {
        let proof = Proof::new(self.ends.role, self.token, &mut self.host.random());
        let mut met = Met { pipe: TcpPipe::new(stream), proof, opened_by };
        let deadline = self.plan.until.min(self.host.now() + PROOF);
        prove(self.host, &mut met.pipe, &mut met.proof, goal_of(self.ends.role), deadline).await?;
        Ok(met)
    }

    /// The caller says which it is.
    async fn choose(&self, mut met: Met<H>) -> Option<Met<H>> {
        let _turn = self.plan.choosing.lock().await;
        met.proof.choose();
        let deadline = self.host.now() + PROOF;
        let chosen = prove(self.host, &mut met.pipe, &mut met.proof, Goal::Chosen, deadline).await;
        chosen.is_ok().then_some(met)
    }

    fn tally(&self, remote: SocketAddr, note: impl FnOnce(&mut Tally)) {
        let mut tallies = self.tallies.borrow_mut();
        // Whoever connects from endless ports is not told of endlessly.
        if tallies.len() < 4 * MOST_ACCEPTED || tallies.contains_key(&remote) {
            note(tallies.entry(remote).or_default());
        }
    }

    /// What became of every endpoint: one line each.
    pub(crate) fn lines(&self) -> Vec<String> {
        let line = |(remote, tally): (&SocketAddr, &Tally)| {
            let ends: Vec<String> = tally.ends.iter().map(|(end, times)| format!("{end} x{times}")).collect();
            let ends = if ends.is_empty() { "no answer".to_owned() } else { ends.join(", ") };
            format!("tcp {remote}: {} attempts, {ends}", tally.dials)
        };
        self.tallies.borrow().iter().map(line).collect()
    }
}

async fn before_deadline<H: Host, T>(
    dialing: &Dialing<'_, H>,
    future: impl Future<Output = io::Result<T>>,
) -> io::Result<T> {
    crate::stream::before(dialing.host, dialing.plan.until, future).await
}

/// The next connection of a listener that works; never of none.
async fn accept<H: Host>(listener: Option<&H::Listener>) -> H::Tcp {
    match listener {
        Some(listener) => match listener.accept().await {
            Ok(stream) => stream,
            Err(_) => pending().await,
        },
        None => pending().await,
    }
}

/// Sends a SYN that crosses this end's NATs and dies before the peer's; what becomes of it does not matter.
pub(crate) async fn open_hole<H: Host>(host: &H, local: SocketAddr, remote: SocketAddr, ttl: u8) {
    let options = TcpOptions { ttl: Some(ttl), connect_timeout: Some(DIES), ..shared(local) };
    let until = host.now() + DIES;
    let stream = crate::stream::before(host, until, host.tcp_connect(remote, options)).await;
    drop(stream);
    // Both ends take equally long, whether routers tell or not.
    host.sleep_until(until).await;
}

/// An error in few words.
fn told(error: &io::Error) -> String {
    match error.kind() {
        io::ErrorKind::ConnectionRefused => REFUSED.to_owned(),
        io::ErrorKind::TimedOut => "no answer".to_owned(),
        io::ErrorKind::PermissionDenied => "not the peer".to_owned(),
        io::ErrorKind::UnexpectedEof => "closed by the other end".to_owned(),
        _ => error.to_string(),
    }
}

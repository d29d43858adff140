//! Direct connection upgrade through relay (libp2p/specs, relay/DCUtR.md).
//!
//! ```text
//! A (has called over the relay)     relay     B (was called)
//!   | <--------------- CONNECT, B's addresses ---- |     B starts its clock
//!   | ---- CONNECT, A's addresses ---------------> |     B knows the round trip
//!   | <--------------------------------- SYNC ---- |     and waits for half of it
//!   | SYN --------------->   <---------------- SYN |     TCP: both connect at once
//!   | Initial ----------->   <------- random bytes |     QUIC: A dials; B opens its hole, every 10 to 200 ms
//! ```
//!
//! TCP and QUIC are tried side by side, from the ports whose mappings the directory (TCP) and the STUN server (UDP) have
//! seen. What is not up after five seconds has failed, and all begins anew from CONNECT, three times at most.
//!
//! Half of the round trip is right where both ways are equally long and nothing waits: over TCP to the relay, Nagle's
//! algorithm holds SYNC back for the acknowledgement of what went before.
//!
//! The relay is the signalling channel, which forwards as a circuit does ([`signal`](crate::signal)). The addresses are
//! the observed one of each transport, then the host's own. Leaves out AutoNAT, reservations and limits of circuits, the
//! attempt of B to dial A's public addresses first (that is [`reversal`](crate::reversal)), and the handshakes of TLS,
//! Noise and QUIC: what proves who the other is stands in `talk`, sent as often as QUIC's Initial.

mod attempt;
mod wire;

use std::future::pending;
use std::net::SocketAddr;
use std::pin::pin;
use std::rc::Rc;
use std::time::Duration;

use futures::{FutureExt, select_biased};
use natbox_host::{Host, UdpSocket};
use natbox_wire::Time;

use crate::ProbeError;
use crate::contact::{Contact, Fact, Facts, Failure, Setting};
use crate::path::Transport;
use crate::punch::{self, Role};
use crate::signal::Signal;
use crate::stun::client::{BindingRequest, Client, Retransmission};
use crate::tcp_punch::Own;
use attempt::{Attempt, Way};
use wire::{Address, HolePunch, Kind};

/// "... retry twice (thus a total of 3 attempts)".
const ATTEMPTS: u32 = 3;
/// How long an attempt may take.
const ATTEMPT: Duration = Duration::from_secs(5);
/// What is left of the time to say what went wrong.
const LAST_WORDS: Duration = Duration::from_millis(100);

/// Comes to talk to `peer`, who waits in [`answer`].
///
/// # Errors
/// [`Failure`] with the step that failed, or with what became of every attempt.
pub async fn call<H: Host>(host: &H, setting: &Setting, peer: &str) -> Result<Contact<H>, Failure> {
    let began = host.now();
    let deadline = setting.options.deadline(began);
    let signal = Signal::call(host, setting.directory, &setting.me, peer, deadline).await;
    let signal = signal.map_err(|error| Failure::early(error, host.now().since(began)))?;
    upgrade(host, setting, signal, began).await
}

/// Registers, and waits for one caller.
///
/// # Errors
/// [`Failure`]: nobody called, or the caller could not be reached.
pub async fn answer<H: Host>(host: &H, setting: &Setting) -> Result<Contact<H>, Failure> {
    let waits = host.now();
    let deadline = setting.options.deadline(waits);
    let signal = Signal::answer(host, setting.directory, &setting.me, deadline).await;
    let signal = signal.map_err(|error| Failure::early(error, host.now().since(waits)))?;
    upgrade(host, setting, signal, host.now()).await
}

async fn upgrade<H: Host>(host: &H, setting: &Setting, signal: Signal<H>, began: Time) -> Result<Contact<H>, Failure> {
    let mut upgrade = Upgrade { host, setting, signal, facts: Facts::new(), lines: Vec::new() };
    let deadline = began + setting.options.timeout.saturating_sub(LAST_WORDS);
    let met = upgrade.run(deadline).await;
    let (facts, attempts, elapsed) = (upgrade.facts, upgrade.lines, host.now().since(began));
    match met {
        Ok(Some(contact)) => Ok(contact.into_contact(host, upgrade.signal.peer(), setting, elapsed).with_facts(facts)),
        Ok(None) => {
            let vain = Failure::vain("no direct connection came about", elapsed);
            Err(Failure { attempts, ..vain }.with_facts(facts))
        }
        Err(error) => Err(Failure { attempts, ..Failure::early(error, elapsed) }.with_facts(facts)),
    }
}

/// What this host has to be reached by.
pub(crate) struct Ports<H: Host> {
    tcp: Option<Own<H>>,
    udp: Option<(Rc<H::Udp>, SocketAddr)>,
}

impl<H: Host> Ports<H> {
    /// A port of each transport that gets out.
    async fn open(host: &H, setting: &Setting, deadline: Time) -> Result<Ports<H>, ProbeError> {
        let tcp = Own::open(host, setting.directory, deadline).await;
        let udp = udp(host, setting).await;
        match (tcp, udp) {
            (Err(error), Ok(None) | Err(_)) => Err(error),
            (tcp, udp) => Ok(Ports { tcp: tcp.ok(), udp: udp.ok().flatten() }),
        }
    }

    /// The observed address of each, then its own.
    fn addresses(&self) -> Vec<Address> {
        let tcp = self.tcp.iter().flat_map(|own| [own.mapped, own.local].map(|at| (Transport::Tcp, at)));
        let udp = self.udp.iter();
        let udp = udp.flat_map(|(socket, mapped)| [*mapped, socket.local_addr()].map(|at| (Transport::Udp, at)));
        tcp.chain(udp).collect()
    }
}

async fn udp<H: Host>(host: &H, setting: &Setting) -> Result<Option<(Rc<H::Udp>, SocketAddr)>, ProbeError> {
    let Some(server) = setting.stun.first() else { return Ok(None) };
    let local = host.source_for(server.ip()).map_err(ProbeError::io("find a way to the STUN server"))?;
    let socket = host.udp_bind(SocketAddr::new(local, 0)).await.map_err(ProbeError::io("bind a UDP socket"))?;
    let mut client = Client::new(host, Retransmission::PROBE);
    let binding = client.binding(&socket, *server, BindingRequest::default()).await?;
    Ok(Some((Rc::new(socket), binding.mapped)))
}

struct Upgrade<'a, H: Host> {
    host: &'a H,
    setting: &'a Setting,
    signal: Signal<H>,
    facts: Facts,
    lines: Vec<String>,
}

impl<H: Host> Upgrade<'_, H> {
    async fn run(&mut self, deadline: Time) -> Result<Option<Way<H>>, ProbeError> {
        let ports = Ports::open(self.host, self.setting, deadline).await?;
        let addresses = ports.addresses();
        let told = addresses.iter().map(|(transport, at)| format!("{transport} {at}"));
        self.facts.insert("addresses", Fact::from(told.collect::<Vec<_>>()));
        let mut connect = None;
        for attempt in 1..=ATTEMPTS {
            self.facts.insert("tries", attempt.into());
            let begun = match self.signal.role() {
                Role::Caller => self.follow(&addresses, connect.take(), deadline).await?,
                Role::Callee => Some(self.lead(&addresses, deadline).await?),
            };
            let Some(theirs) = begun else { break };
            let until = deadline.min(self.host.now() + ATTEMPT);
            let attempt = Attempt::new(self.host, &ports, self.signal.role(), self.signal.token(), &theirs, until);
            let (way, next) = attempted(&attempt, &mut self.signal, until).await?;
            self.lines.extend(attempt.lines());
            if way.is_some() || self.host.now() >= deadline {
                return Ok(way);
            }
            connect = next;
        }
        Ok(None)
    }

    /// B: tells, hears, measures, says when, and waits.
    async fn lead(&mut self, addresses: &[Address], deadline: Time) -> Result<Vec<Address>, ProbeError> {
        let asked_at = self.host.now();
        self.say(Kind::Connect, addresses).await?;
        let theirs = self.expect(Kind::Connect, deadline).await?;
        let round_trip = self.host.now().since(asked_at);
        self.facts.insert("round_trip_ns", round_trip.into());
        self.say(Kind::Sync, &[]).await?;
        self.host.sleep(round_trip / 2).await;
        Ok(theirs)
    }

    /// A: hears, tells, and begins when told; `None` if there is no further attempt.
    async fn follow(
        &mut self,
        addresses: &[Address],
        heard: Option<Vec<Address>>,
        deadline: Time,
    ) -> Result<Option<Vec<Address>>, ProbeError> {
        let theirs = match heard {
            Some(theirs) => theirs,
            None => match self.expect(Kind::Connect, deadline).await {
                Ok(theirs) => theirs,
                Err(ProbeError::Silence { .. }) if !self.lines.is_empty() => return Ok(None),
                Err(error) => return Err(error),
            },
        };
        self.say(Kind::Connect, addresses).await?;
        self.expect(Kind::Sync, deadline).await?;
        Ok(Some(theirs))
    }

    async fn say(&mut self, kind: Kind, addresses: &[Address]) -> Result<(), ProbeError> {
        self.signal.send(&HolePunch { kind, addresses: addresses.to_vec() }.to_bytes()).await
    }

    async fn expect(&mut self, kind: Kind, deadline: Time) -> Result<Vec<Address>, ProbeError> {
        let (from, began) = (self.signal.directory(), self.host.now());
        let expected = if kind == Kind::Connect { "a CONNECT of the peer" } else { "a SYNC of the peer" };
        let Some(message) = self.signal.recv(deadline).await? else {
            return Err(ProbeError::Silence { expected, from, waited: self.host.now().since(began), sent: 0 });
        };
        match HolePunch::from_bytes(&message) {
            Some(message) if message.kind == kind => Ok(message.addresses),
            other => Err(ProbeError::Unexpected { expected, from, came: format!("{other:?}") }),
        }
    }
}

/// What comes of an attempt; the addresses of the CONNECT that begins the next, if it came in the meantime.
async fn attempted<H: Host>(
    attempt: &Attempt<'_, H>,
    signal: &mut Signal<H>,
    until: Time,
) -> Result<(Option<Way<H>>, Option<Vec<Address>>), ProbeError> {
    if signal.role() == Role::Callee {
        return Ok((attempt.run().await, None));
    }
    // B says when an attempt has failed: by the CONNECT of the next.
    let mut running = pin!(
        async {
            match attempt.run().await {
                Some(way) => way,
                None => pending().await,
            }
        }
        .fuse()
    );
    let mut next = pin!(signal.recv(until + ATTEMPT).fuse());
    select_biased! {
        way = running => Ok((Some(way), None)),
        message = next => {
            let message = message?.and_then(|message| HolePunch::from_bytes(&message));
            let connect = message.filter(|message| message.kind == Kind::Connect);
            Ok((None, connect.map(|message| message.addresses)))
        }
    }
}

/// What is random about B's packets (go-libp2p: 64 bytes).
pub(crate) const NOISE_BYTES: usize = 64;
/// How long B waits between two of them.
pub(crate) const NOISE: [Duration; 2] = [Duration::from_millis(10), Duration::from_millis(200)];

pub(crate) use punch::READ_BYTES;

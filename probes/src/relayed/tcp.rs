//! Through a TCP allocation of one side's relay (RFC 6062): the other side, or its own relay, connects to the relayed
//! address by TCP.
//!
//! ```text
//! caller               relay                directory             callee
//!   | -- signalling, over TCP where UDP is blocked -- | ------------ |
//!   | TCP, TLS; Allocate (TCP) -> E                   |              |    the callee asks for one of its own, F
//!   | where its TCP is seen --------------------------| ------------ |    both; each tells the other that, E and F
//!   | CreatePermission: the callee's addresses, F     |              |
//!   | -- ready ----------------------------------->   | -----------> |
//!   |                    | E <--------------------------------- SYN  |    TCP, from wherever the callee's NAT puts it
//!   | <- ConnectionAttempt                            |              |
//!   | another connection: ConnectionBind -> |         |              |
//!   | <= proof, data ====| E ==================================== => |    bytes, as they are
//!   |                    | E <----- F <------ Connect(E) -- callee   |    where the callee's TCP reaches its relay alone
//! ```
//!
//! The side that is connected to is the caller, if its relay has granted an address, else the callee. The other connects
//! directly, and if that comes to nothing within 4 seconds, through its own relay. No UDP is needed anywhere. Relays are
//! reached over TCP, and where that does not pass over TLS.
//!
//! Works with every NAT that lets TCP out to the relay's addresses. Fails where neither side is granted a TCP
//! allocation; where one side's firewall lets no TCP out to relayed ports and it has no relay of its own; and where a NAT
//! with several addresses takes another one towards the relay than towards the directory: permissions are for addresses.

use std::io;
use std::net::SocketAddr;
use std::pin::pin;
use std::time::Duration;

use futures::future::{Either, join, select};
use natbox_host::{Host, TcpOptions};
use natbox_wire::Time;

use super::streams::{LAST_WORDS, Problem, allocate};
use crate::ProbeError;
use crate::contact::{Contact, Facts, Failure, Setting};
use crate::path::{Path, Transport};
use crate::punch::Role;
use crate::signal::Signal;
use crate::stream::before;
use crate::talk::proof::Proof;
use crate::talk::{Goal, Talk, TcpPipe, goal_of, prove};
use crate::tcp_punch::Own;
use crate::turn::{self, Carrier, PeerStream};

/// Over what relays are reached, in this order.
const CARRIERS: [Carrier; 2] = [Carrier::Tcp, Carrier::Tls];
/// How long a direct connection to the relayed address may take.
const DIRECT: Duration = Duration::from_secs(4);
/// How long the other end of a connection has to prove who it is.
const PROOF: Duration = Duration::from_secs(3);
/// Says that permissions are there.
const READY: &[u8] = b"ready";

/// Comes to talk to `peer`, who waits in [`answer`], through a TCP allocation of either.
///
/// # Errors
/// [`Failure`] with the step that failed.
pub async fn call<H: Host>(host: &H, setting: &Setting, peer: &str) -> Result<Contact<H>, Failure> {
    let began = host.now();
    let signal = Signal::call(host, setting.directory, &setting.me, peer, deadline(setting, began)).await;
    let signal = signal.map_err(|error| Failure::early(error, host.now().since(began)))?;
    Meeting { host, setting, began }.run(signal).await
}

/// Registers, and waits for one caller.
///
/// # Errors
/// [`Failure`]: nobody called, or a relay is missing.
pub async fn answer<H: Host>(host: &H, setting: &Setting) -> Result<Contact<H>, Failure> {
    let waits = host.now();
    let signal = Signal::answer(host, setting.directory, &setting.me, deadline(setting, waits)).await;
    let signal = signal.map_err(|error| Failure::early(error, host.now().since(waits)))?;
    Meeting { host, setting, began: host.now() }.run(signal).await
}

fn deadline(setting: &Setting, began: Time) -> Time {
    began + setting.options.timeout.saturating_sub(LAST_WORDS)
}

/// What one side tells the other: its relayed address, and where its TCP is seen.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Offer {
    relayed: Option<SocketAddr>,
    seen: SocketAddr,
}

impl Offer {
    fn to_bytes(self) -> Vec<u8> {
        let relayed = self.relayed.map_or_else(|| "none".to_owned(), |endpoint| endpoint.to_string());
        format!("tcp-relayed {relayed} {}", self.seen).into_bytes()
    }

    fn from_bytes(bytes: &[u8]) -> Option<Offer> {
        let (relayed, seen) = std::str::from_utf8(bytes).ok()?.strip_prefix("tcp-relayed ")?.split_once(' ')?;
        let relayed = if relayed == "none" { None } else { Some(relayed.parse().ok()?) };
        Some(Offer { relayed, seen: seen.parse().ok()? })
    }
}

/// Both ends' relays, as far as this end knows.
struct Ends<H: Host> {
    relay: Option<turn::Client<H>>,
    own: Offer,
    peer: Offer,
}

struct Meeting<'a, H: Host> {
    host: &'a H,
    setting: &'a Setting,
    began: Time,
}

impl<H: Host> Meeting<'_, H> {
    async fn run(self, mut signal: Signal<H>) -> Result<Contact<H>, Failure> {
        let mut remarks = Vec::new();
        let met = self.meet(&mut signal, &mut remarks).await;
        let elapsed = self.host.now().since(self.began);
        match met {
            Ok(contact) => Ok(contact),
            Err(Problem::Early(error)) => Err(Failure { remarks, ..Failure::early(error, elapsed) }),
            Err(Problem::Vain(why)) => Err(Failure { elapsed, remarks, ..Failure::default() }.remark(why)),
        }
    }

    async fn meet(&self, signal: &mut Signal<H>, remarks: &mut Vec<String>) -> Result<Contact<H>, Problem> {
        let until = deadline(self.setting, self.began);
        let allocated = allocate(self.host, self.setting.relay.as_ref(), &CARRIERS, Transport::Tcp, remarks);
        let (relay, seen) = join(allocated, Own::open(self.host, self.setting.directory, until)).await;
        let own = Offer { relayed: relay.as_ref().map(turn::Client::relayed_address), seen: seen?.mapped };
        signal.send(&own.to_bytes()).await?;
        let peer = hear(signal, "the peer's relayed address", until, Offer::from_bytes).await?;
        let ends = Ends { relay, own, peer };
        let accepts = match signal.role() {
            Role::Caller => own.relayed.is_some(),
            Role::Callee => peer.relayed.is_none(),
        };
        let met =
            if accepts { self.accept(signal, &ends, until).await } else { self.reach(signal, &ends, until).await };
        met.map(|contact| contact.with_facts(facts(&ends, accepts)))
    }

    /// Has the peer come to this end's relayed address.
    async fn accept(&self, signal: &mut Signal<H>, ends: &Ends<H>, until: Time) -> Result<Contact<H>, Problem> {
        let vain = |why: String| Problem::Vain(format!("relayed: {why}"));
        let relay = ends.relay.as_ref().ok_or_else(|| vain("neither side was granted a TCP allocation".to_owned()))?;
        for address in [Some(ends.peer.seen), ends.peer.relayed].into_iter().flatten() {
            relay.create_permission(address.ip()).await.map_err(|error| vain(error.to_string()))?;
        }
        signal.send(READY).await?;
        loop {
            let accepted = match select(pin!(relay.accept()), pin!(self.host.sleep_until(until))).await {
                Either::Left((accepted, _)) => accepted,
                Either::Right(_) => {
                    return Err(vain(format!("nobody connected to {} by TCP", relay.relayed_address())));
                }
            };
            let stream = match accepted {
                Ok(stream) => stream,
                // It has ended already: another may come.
                Err(turn::Error::Refused { .. }) => continue,
                Err(error) => return Err(vain(error.to_string())),
            };
            if let Ok(met) = self.proven(stream, signal, "accept", until).await {
                return Ok(met);
            }
        }
    }

    /// Comes to the peer's relayed address.
    async fn reach(&self, signal: &mut Signal<H>, ends: &Ends<H>, until: Time) -> Result<Contact<H>, Problem> {
        let vain = |why: String| Problem::Vain(format!("relayed: {why}"));
        let remote = ends.peer.relayed.ok_or_else(|| vain("neither side was granted a TCP allocation".to_owned()))?;
        hear(signal, "that the peer is ready", until, |message| (message == READY).then_some(())).await?;
        let direct = match self.direct(remote, until).await {
            Ok(stream) => self.proven(stream, signal, "direct", until).await,
            Err(error) => Err(error),
        };
        let error = match direct {
            Ok(met) => return Ok(met),
            Err(error) => error,
        };
        let refused = format!("TCP to {remote}: {error}");
        let relay = ends.relay.as_ref().ok_or_else(|| vain(refused.clone()))?;
        let through: Result<PeerStream<H>, _> = before(self.host, until, async { Ok(relay.connect(remote).await) })
            .await
            .map_err(|_| vain(refused.clone()))?;
        let stream = through.map_err(|error| vain(format!("{refused}; through this side's relay: {error}")))?;
        let met = self.proven(stream, signal, "relay-to-relay", until).await;
        met.map_err(|error| vain(format!("{refused}; {remote} did not prove to be the peer: {error}")))
    }

    async fn direct(&self, remote: SocketAddr, until: Time) -> io::Result<H::Tcp> {
        let until = until.min(self.host.now() + DIRECT);
        before(self.host, until, self.host.tcp_connect(remote, TcpOptions::default())).await
    }

    /// The caller says that it is this one.
    async fn proven<S: natbox_host::TcpStream>(
        &self,
        stream: S,
        signal: &Signal<H>,
        way: &'static str,
        until: Time,
    ) -> io::Result<Contact<H>> {
        let mut proof = Proof::new(signal.role(), signal.token(), &mut self.host.random());
        let mut pipe = TcpPipe::new(stream);
        let until = until.min(self.host.now() + PROOF);
        prove(self.host, &mut pipe, &mut proof, goal_of(signal.role()), until).await?;
        if signal.role() == Role::Caller {
            proof.choose();
            prove(self.host, &mut pipe, &mut proof, Goal::Chosen, until).await?;
        }
        let talk = Talk::new(self.host, pipe, proof, signal.peer(), Path::Relayed, self.setting.options.keep_alive);
        let elapsed = self.host.now().since(self.began);
        Ok(Contact::new(self.host.clone(), talk, elapsed).with_facts(Facts::from([("way", way.into())])))
    }
}

fn facts<H: Host>(ends: &Ends<H>, accepts: bool) -> Facts {
    let mut facts = Facts::new();
    let relayed = if accepts { ends.own.relayed } else { ends.peer.relayed };
    relayed.map(|relayed| facts.insert("relayed", relayed.into()));
    facts.insert("peer_seen", ends.peer.seen.into());
    if let Some(relay) = &ends.relay {
        facts.insert("relay", relay.server().into());
        facts.insert("relay_carrier", relay.carrier().to_string().into());
    }
    facts
}

/// The next message that `read` understands.
async fn hear<H: Host, T>(
    signal: &mut Signal<H>,
    expected: &'static str,
    until: Time,
    read: impl Fn(&[u8]) -> Option<T>,
) -> Result<T, ProbeError> {
    let from = signal.directory();
    let Some(message) = signal.recv(until).await? else {
        return Err(ProbeError::Silence { expected, from, waited: DIRECT, sent: 1 });
    };
    let came = || ProbeError::Unexpected { expected, from, came: format!("{} bytes", message.len()) };
    read(&message).ok_or_else(came)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_offer_is_understood_and_nothing_else_is() {
        let seen = "192.0.2.7:1024".parse().unwrap();
        for relayed in [None, Some("198.51.100.1:50000".parse().unwrap()), Some("[2001:db8::1]:5".parse().unwrap())] {
            let offer = Offer { relayed, seen };
            assert_eq!(Offer::from_bytes(&offer.to_bytes()), Some(offer));
        }
        for noise in
            [&b""[..], b"tcp-relayed", b"tcp-relayed none", b"tcp-relayed x 192.0.2.7:1024", b"\xff\xfe", b"ready"]
        {
            assert_eq!(Offer::from_bytes(noise), None, "{noise:?}");
        }
    }
}

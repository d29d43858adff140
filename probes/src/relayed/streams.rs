//! Through relays that each side reaches over TCP, or over TLS: what is left where UDP is blocked.
//!
//! ```text
//! caller               relay(s)             directory             callee
//!   | -- signalling, over TCP where UDP is blocked -- | ------------ |
//!   | TCP, TLS; Allocate |                            |              |
//!   |                    | <--------------- TCP, TLS; Allocate ----- |
//!   | -- "relayed E" -------------------------------> | -----------> |   each tells the other its relayed address
//!   | <------------------------------ "relayed F" --- | ------------ |
//!   | CreatePermission F |                            |              |
//!   |                    | <--------------- CreatePermission E ----- |
//!   | Send F ----------> | E -- UDP -> F -----------> proof, data -> |
//! ```
//!
//! Both sides bring a relay, as either may be one whose UDP is blocked: between the two relayed addresses there is UDP.
//! TCP goes to the relay's own port, TLS to those of [`RelayTls`](crate::contact::RelayTls), in their order.
//!
//! TCP between relay and peer is [`tcp`](super::tcp)'s.

use std::io;
use std::net::SocketAddr;
use std::time::Duration;

use natbox_host::Host;
use natbox_wire::Time;

use crate::ProbeError;
use crate::contact::{Contact, Facts, Failure, Relay, Setting};
use crate::path::{Path, Transport};
use crate::punch::relay::within;
use crate::punch::{READ_BYTES, Role};
use crate::signal::Signal;
use crate::talk::proof::Proof;
use crate::talk::{Goal, Pipe, Talk, prove};
use crate::turn::{self, Carrier};

/// How long one endpoint of a relay may take to grant an address.
const GRANTS: Duration = Duration::from_secs(5);
/// How often a request between the relayed addresses is sent again.
const AGAIN: Duration = Duration::from_millis(500);
/// Time to hand over a failure before the technique's own end.
pub(super) const LAST_WORDS: Duration = Duration::from_millis(100);
/// What stands in front of a relayed address when it is told to the other side.
const RELAYED: &str = "relayed ";

/// Comes to talk to `peer`, who waits in [`answer`], through relays that are reached over the first of `carriers` that
/// works.
///
/// # Errors
/// [`Failure`] with the step that failed.
pub async fn call<H: Host>(
    host: &H,
    carriers: &[Carrier],
    setting: &Setting,
    peer: &str,
) -> Result<Contact<H>, Failure> {
    let began = host.now();
    let signal = Signal::call(host, setting.directory, &setting.me, peer, deadline(setting, began)).await;
    let signal = signal.map_err(|error| Failure::early(error, host.now().since(began)))?;
    Meeting { host, setting, carriers, began }.run(signal, None, Vec::new()).await
}

/// Registers, and waits for one caller.
///
/// # Errors
/// [`Failure`]: nobody called, or a relay is missing.
pub async fn answer<H: Host>(host: &H, carriers: &[Carrier], setting: &Setting) -> Result<Contact<H>, Failure> {
    let waits = host.now();
    let signal = Signal::answer(host, setting.directory, &setting.me, deadline(setting, waits)).await;
    let signal = signal.map_err(|error| Failure::early(error, host.now().since(waits)))?;
    Meeting { host, setting, carriers, began: host.now() }.run(signal, None, Vec::new()).await
}

fn deadline(setting: &Setting, began: Time) -> Time {
    began + setting.options.timeout.saturating_sub(LAST_WORDS)
}

/// A relay, for peers over this transport, over the first of `carriers` that grants an address in time. Why none did, else, becomes remarks.
pub(crate) async fn allocate<H: Host>(
    host: &H,
    relay: Option<&Relay>,
    carriers: &[Carrier],
    peers: Transport,
    remarks: &mut Vec<String>,
) -> Option<turn::Client<H>> {
    let Some(relay) = relay else {
        remarks.push("relayed: this host has no relay".to_owned());
        return None;
    };
    for (carrier, server) in carriers.iter().flat_map(|carrier| endpoints(relay, *carrier)) {
        let tls = relay.tls.as_ref().filter(|_| carrier == Carrier::Tls);
        // A certificate that cannot be made is one that the server has not either.
        let certificate = tls.and_then(|tls| tls.known_by.certificate().ok());
        let options = turn::Options { carrier, certificate, peers, ..turn::Options::default() };
        match within(host, GRANTS, turn::Client::allocate_with(host, server, &relay.credentials, &options)).await {
            Some(Ok(client)) => return Some(client),
            Some(Err(error)) => remarks.push(format!("relayed over {carrier}: {server}: {error}")),
            None => remarks.push(format!("relayed over {carrier}: {server} granted nothing within {GRANTS:?}")),
        }
    }
    if remarks.is_empty() {
        remarks.push("relayed: this host's relay is not reached over TLS".to_owned());
    }
    None
}

/// Where the relay is reached over `carrier`.
fn endpoints(relay: &Relay, carrier: Carrier) -> Vec<(Carrier, SocketAddr)> {
    let endpoints = match (carrier, &relay.tls) {
        (Carrier::Udp | Carrier::Tcp, _) => vec![relay.server],
        (Carrier::Tls, tls) => tls.as_ref().map(|tls| tls.endpoints.clone()).unwrap_or_default(),
    };
    endpoints.into_iter().map(|endpoint| (carrier, endpoint)).collect()
}

/// One attempt to meet.
pub(crate) struct Meeting<'a, H: Host> {
    pub(crate) host: &'a H,
    pub(crate) setting: &'a Setting,
    pub(crate) carriers: &'a [Carrier],
    pub(crate) began: Time,
}

impl<H: Host> Meeting<'_, H> {
    /// Talks to the other end of `signal`, through `relay` if there is one already.
    pub(crate) async fn run(
        self,
        mut signal: Signal<H>,
        relay: Option<turn::Client<H>>,
        mut remarks: Vec<String>,
    ) -> Result<Contact<H>, Failure> {
        let relay = match relay {
            Some(relay) => Some(relay),
            None => allocate(self.host, self.setting.relay.as_ref(), self.carriers, Transport::Udp, &mut remarks).await,
        };
        let met = self.meet(&mut signal, relay).await;
        let elapsed = self.host.now().since(self.began);
        match met {
            Ok((talk, facts)) => Ok(Contact::new(self.host.clone(), talk, elapsed).with_facts(facts)),
            Err(Problem::Early(error)) => Err(Failure { remarks, ..Failure::early(error, elapsed) }),
            Err(Problem::Vain(why)) => Err(Failure { elapsed, remarks, ..Failure::default() }.remark(why)),
        }
    }

    async fn meet(
        &self,
        signal: &mut Signal<H>,
        relay: Option<turn::Client<H>>,
    ) -> Result<(Talk<H, RelayPipe<H>>, Facts), Problem> {
        let until = deadline(self.setting, self.began);
        let own = relay.as_ref().map(turn::Client::relayed_address);
        signal.send(offer(own).as_bytes()).await?;
        let theirs = hear(signal, until).await?;
        let relay = relay.ok_or_else(|| Problem::Vain("relayed: this side has no relay".to_owned()))?;
        let remote = theirs.ok_or_else(|| Problem::Vain("relayed: the other side has no relay".to_owned()))?;
        let permitted = relay.create_permission(remote.ip()).await;
        permitted.map_err(|error| Problem::Vain(format!("relayed: {error}")))?;
        let mut proof = Proof::new(signal.role(), signal.token(), &mut self.host.random());
        let facts = facts(&relay, remote);
        let mut pipe = RelayPipe { relay, remote };
        let proven = self.prove(&mut pipe, &mut proof, signal.role(), until).await;
        proven.map_err(|error| Problem::Vain(format!("relayed: {remote} did not prove to be the peer: {error}")))?;
        let keep_alive = self.setting.options.keep_alive;
        Ok((Talk::new(self.host, pipe, proof, signal.peer(), Path::Relayed, keep_alive), facts))
    }

    async fn prove(&self, pipe: &mut RelayPipe<H>, proof: &mut Proof, role: Role, until: Time) -> io::Result<()> {
        if role == Role::Caller {
            prove(self.host, pipe, proof, Goal::Proven, until).await?;
            proof.choose();
        }
        prove(self.host, pipe, proof, Goal::Chosen, until).await
    }
}

/// Why nothing came of it.
pub(super) enum Problem {
    /// A step failed.
    Early(ProbeError),
    /// Everything was tried in vain.
    Vain(String),
}

impl From<ProbeError> for Problem {
    fn from(error: ProbeError) -> Problem {
        Problem::Early(error)
    }
}

fn facts<H: Host>(relay: &turn::Client<H>, peer: SocketAddr) -> Facts {
    Facts::from([
        ("relay", relay.server().into()),
        ("relay_carrier", relay.carrier().to_string().into()),
        ("relayed", relay.relayed_address().into()),
        ("peer_relayed", peer.into()),
    ])
}

fn offer(relayed: Option<SocketAddr>) -> String {
    let relayed = relayed.map_or_else(|| "none".to_owned(), |endpoint| endpoint.to_string());
    format!("{RELAYED}{relayed}")
}

/// The other end's relayed address, if it has one.
fn taken(message: &[u8]) -> Option<Option<SocketAddr>> {
    let told = std::str::from_utf8(message).ok()?.strip_prefix(RELAYED)?;
    if told == "none" { Some(None) } else { told.parse().ok().map(Some) }
}

async fn hear<H: Host>(signal: &mut Signal<H>, until: Time) -> Result<Option<SocketAddr>, ProbeError> {
    let (expected, from) = ("the peer's relayed address", signal.directory());
    let Some(message) = signal.recv(until).await? else {
        return Err(ProbeError::Silence { expected, from, waited: GRANTS, sent: 1 });
    };
    let came = || ProbeError::Unexpected { expected, from, came: format!("{} bytes", message.len()) };
    taken(&message).ok_or_else(came)
}

/// From one's own relayed address to the peer's.
struct RelayPipe<H: Host> {
    relay: turn::Client<H>,
    remote: SocketAddr,
}

impl<H: Host> Pipe for RelayPipe<H> {
    const TRANSPORT: Transport = Transport::Tcp;

    fn transport(&self) -> Transport {
        match self.relay.carrier() {
            Carrier::Udp => Transport::Udp,
            Carrier::Tcp | Carrier::Tls => Transport::Tcp,
        }
    }

    fn again(&self) -> Option<Duration> {
        Some(AGAIN)
    }

    fn remote(&self) -> SocketAddr {
        self.remote
    }

    async fn send(&mut self, message: &[u8]) -> io::Result<()> {
        self.relay.send_to(message, self.remote).await.map_err(|error| io::Error::other(error.to_string()))
    }

    async fn recv(&mut self) -> io::Result<Vec<u8>> {
        let mut buffer = [0; READ_BYTES];
        loop {
            let received = self.relay.recv_from(&mut buffer).await;
            let (length, source) = received.map_err(|error| io::Error::other(error.to_string()))?;
            if source == self.remote {
                return Ok(buffer[..length].to_vec());
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_offer_is_understood_and_nothing_else_is() {
        for relayed in [None, Some("198.51.100.1:50000".parse().unwrap()), Some("[2001:db8::1]:5".parse().unwrap())] {
            assert_eq!(taken(offer(relayed).as_bytes()), Some(relayed));
        }
        for noise in [&b""[..], b"relayed", b"relayed x", b"\xff\xfe", b"198.51.100.1:5"] {
            assert_eq!(taken(noise), None, "{noise:?}");
        }
    }
}

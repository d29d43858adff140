//! What the NAT in front of this host does, found from inside (RFC 5780 section 4).
//!
//! ```text
//! mapping     socket 1 -> A1:P1 (I), A2:P1 (II), A2:P2 (III): how many different mapped addresses?
//! filtering   socket 2 -> A1:P1, "answer from A2:P2" (II), "answer from A1:P2" (III): which answers arrive?
//! hairpin     sockets 3 and 4 send to each other's mapped addresses: does anything arrive, and from whom?
//! lifetime    sockets 5 and 6: X asks, waits, Y has the server answer to X's mapping: is it still there?
//! ```
//!
//! The filtering tests have a socket of their own: the mapping tests have sent to A2 already, and would let a NAT
//! with address-dependent filtering pass for one without a filter. A server with one address cannot tell
//! address-dependent behaviour from endpoint-independent behaviour, so without OTHER-ADDRESS both are `unknown`.

mod classic;
mod hairpin;
mod lifetime;

use std::net::SocketAddr;
use std::time::Duration;

use natbox_host::{Host, UdpSocket};
use natbox_wire::{Time, words};

pub use classic::{Classic, classic};
pub use lifetime::{Lifetime, LifetimeSearch};

use crate::ProbeError;
use crate::stun::client::{Binding, BindingRequest, Client, Retransmission};
use crate::stun::codec::ChangeRequest;

words! {
    /// What was found of the mapping behaviour (RFC 4787 section 4.1).
    pub enum Mapping: "mapping finding" {
        None = "none", "the server sees the local endpoint: nothing is translated";
        EndpointIndependent = "endpoint-independent", "one external endpoint towards every remote";
        AddressDependent = "address-dependent", "one external endpoint per remote address";
        AddressAndPortDependent = "address-and-port-dependent", "one external endpoint per remote address and port";
        Unknown = "unknown", "the server has no second address, or nothing came back";
    }
}

words! {
    /// What was found of the filtering behaviour (RFC 4787 section 5).
    pub enum Filtering: "filtering finding" {
        EndpointIndependent = "endpoint-independent", "anybody may send, once something was sent";
        AddressDependent = "address-dependent", "remotes whose address has been sent to";
        AddressAndPortDependent = "address-and-port-dependent", "remotes whose address and port have been sent to";
        Off = "off", "no filter: packets arrive on ports that never sent anything";
        Unknown = "unknown", "the server has no second address, or nothing came back";
    }
}

words! {
    /// What was found of hairpinning (RFC 4787 section 6).
    pub enum Hairpin: "hairpinning finding" {
        ExternalSource = "external-source", "delivered inside, with the sender's external endpoint as source (REQ-9a)";
        InternalSource = "internal-source", "delivered inside, with the sender's internal endpoint left as source";
        RouterSource = "router-source", "delivered inside, with an address of the gateway as source";
        Off = "off", "nothing came back inside";
        Unknown = "unknown", "not tested, or nothing is translated";
    }
}

/// What to find out, and how.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Options {
    /// When requests are sent again. Silence is the answer to several tests: this says how long it takes.
    pub retransmission: Retransmission,
    /// Ta: the least time between the beginnings of two tests (RFC 5780 section 4: at most ten a second).
    pub pacing: Duration,
    /// Test filtering.
    pub filtering: bool,
    /// Test hairpinning.
    pub hairpin: bool,
    /// Search for the mapping lifetime, between these bounds.
    pub lifetime: Option<LifetimeSearch>,
}

impl Default for Options {
    /// Everything but the lifetime, which takes minutes.
    fn default() -> Options {
        Options {
            retransmission: Retransmission::PROBE,
            pacing: Duration::from_millis(100),
            filtering: true,
            hairpin: true,
            lifetime: None,
        }
    }
}

/// What was found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Finding {
    /// The server that was asked.
    pub server: SocketAddr,
    /// The local endpoint of the mapping tests.
    pub local: SocketAddr,
    /// Where the server saw it; `None` if nothing came back.
    pub mapped: Option<SocketAddr>,
    /// The mapping behaviour.
    pub mapping: Mapping,
    /// The filtering behaviour.
    pub filtering: Filtering,
    /// Hairpinning.
    pub hairpin: Hairpin,
    /// Whether the external port is the internal one; `None` if nothing came back.
    pub port_preserved: Option<bool>,
    /// Whether something on the way rewrote an address inside the payload (RFC 5780 section 4.9: a generic ALG).
    pub payload_rewritten: bool,
    /// How long an idle mapping lives, if it was searched for and found.
    pub lifetime: Option<Lifetime>,
    /// The name that the algorithm of RFC 3489 would give.
    pub classic: Classic,
}

/// Finds out what the NAT between `host` and `server` does.
///
/// A server that never answers is a finding too: nothing mapped, everything unknown, [`Classic::Blocked`].
///
/// # Errors
/// [`ProbeError::Io`] when the machine cannot send; an error response or nonsense to the very first request.
pub async fn discover<H: Host>(host: &H, server: SocketAddr, options: &Options) -> Result<Finding, ProbeError> {
    let mut probe = Probe::new(host, server, options).await?;
    let socket = probe.socket().await?;
    let local = socket.local_addr();
    let first = match probe.ask(&socket, server, BindingRequest::default()).await {
        Ok(first) => first,
        Err(ProbeError::Silence { .. }) => return Ok(blocked(server, local)),
        Err(error) => return Err(error),
    };
    let other = first.other.filter(|other| other.ip() != server.ip() && other.port() != server.port());
    let mapping = probe.mapping(&socket, first.mapped, other).await?;
    let translated = mapping != Mapping::None;
    let filtering = if options.filtering { probe.filtering(other, translated).await? } else { Filtering::Unknown };
    let hairpin = if options.hairpin && translated { probe.hairpin().await? } else { Hairpin::Unknown };
    let lifetime = match options.lifetime {
        Some(search) => probe.lifetime(search).await?,
        None => None,
    };
    Ok(Finding {
        server,
        local,
        mapped: Some(first.mapped),
        mapping,
        filtering,
        hairpin,
        port_preserved: Some(first.mapped.port() == local.port()),
        payload_rewritten: first.mapped_plain.is_some_and(|plain| plain != first.mapped),
        lifetime,
        classic: classic(mapping, filtering),
    })
}

/// The finding when nothing comes back.
fn blocked(server: SocketAddr, local: SocketAddr) -> Finding {
    Finding {
        server,
        local,
        mapped: None,
        mapping: Mapping::Unknown,
        filtering: Filtering::Unknown,
        hairpin: Hairpin::Unknown,
        port_preserved: None,
        payload_rewritten: false,
        lifetime: None,
        classic: Classic::Blocked,
    }
}

/// A discovery under way.
pub(crate) struct Probe<'a, H: Host> {
    pub(crate) host: &'a H,
    pub(crate) client: Client<H>,
    pub(crate) server: SocketAddr,
    /// The local end of every socket: the address that leads to the server, any port.
    pub(crate) any_port: SocketAddr,
    pacing: Duration,
    /// When the next test may begin.
    next: Time,
}

impl<'a, H: Host> Probe<'a, H> {
    pub(crate) async fn new(host: &'a H, server: SocketAddr, options: &Options) -> Result<Probe<'a, H>, ProbeError> {
        let address = host.source_for(server.ip()).map_err(ProbeError::io("find a way to the STUN server"))?;
        Ok(Probe {
            host,
            client: Client::new(host, options.retransmission),
            server,
            any_port: SocketAddr::new(address, 0),
            pacing: options.pacing,
            next: host.now(),
        })
    }

    /// A fresh socket: no test inherits the mappings and permissions of another.
    pub(crate) async fn socket(&self) -> Result<H::Udp, ProbeError> {
        self.host.udp_bind(self.any_port).await.map_err(ProbeError::io("bind a UDP socket"))
    }

    /// Waits until the next test may begin.
    pub(crate) async fn pace(&mut self) {
        self.host.sleep_until(self.next).await;
        self.next = self.host.now() + self.pacing;
    }

    pub(crate) async fn ask(
        &mut self,
        socket: &H::Udp,
        server: SocketAddr,
        request: BindingRequest,
    ) -> Result<Binding, ProbeError> {
        self.pace().await;
        self.client.binding(socket, server, request).await
    }

    /// RFC 5780 section 4.3. `first` is the result of test I.
    pub(crate) async fn mapping(
        &mut self,
        socket: &H::Udp,
        first: SocketAddr,
        other: Option<SocketAddr>,
    ) -> Result<Mapping, ProbeError> {
        if first == socket.local_addr() {
            return Ok(Mapping::None);
        }
        let Some(other) = other else { return Ok(Mapping::Unknown) };
        let plain = BindingRequest::default();
        let second_endpoint = SocketAddr::new(other.ip(), self.server.port());
        let second = answered(self.ask(socket, second_endpoint, plain).await)?;
        let Some(second) = second else { return Ok(Mapping::Unknown) };
        if second.mapped == first {
            return Ok(Mapping::EndpointIndependent);
        }
        Ok(match answered(self.ask(socket, other, plain).await)? {
            Some(third) if third.mapped == second.mapped => Mapping::AddressDependent,
            Some(_) => Mapping::AddressAndPortDependent,
            None => Mapping::Unknown,
        })
    }

    /// RFC 5780 section 4.4, on a socket that has sent to nobody yet.
    pub(crate) async fn filtering(
        &mut self,
        other: Option<SocketAddr>,
        translated: bool,
    ) -> Result<Filtering, ProbeError> {
        if other.is_none() {
            return Ok(Filtering::Unknown);
        }
        let socket = self.socket().await?;
        for (address, found) in [(true, Filtering::EndpointIndependent), (false, Filtering::AddressDependent)] {
            let change = ChangeRequest { address, port: true };
            match self.ask(&socket, self.server, BindingRequest { change, ..Default::default() }).await {
                Ok(_) if address && !translated => return self.unfiltered().await,
                Ok(_) => return Ok(found),
                Err(ProbeError::Silence { .. }) => {}
                Err(ProbeError::Refused { .. }) => return Ok(Filtering::Unknown),
                Err(error) => return Err(error),
            }
        }
        // Two silences mean a filter only if this socket gets answers at all: its NAT may have no port for it.
        let heard = answered(self.ask(&socket, self.server, BindingRequest::default()).await)?;
        Ok(heard.map_or(Filtering::Unknown, |_| Filtering::AddressAndPortDependent))
    }

    /// Whether even a port that never sent anything is reached: then there is no filter at all. Only sensible where
    /// nothing is translated, for a NAT has no external port for such a port.
    async fn unfiltered(&mut self) -> Result<Filtering, ProbeError> {
        let (asking, silent) = (self.socket().await?, self.socket().await?);
        let arrived = self.answer_elsewhere(&asking, &silent, silent.local_addr().port()).await?;
        Ok(if arrived.is_some() { Filtering::Off } else { Filtering::EndpointIndependent })
    }
}

/// Silence is an answer too.
pub(crate) fn answered(result: Result<Binding, ProbeError>) -> Result<Option<Binding>, ProbeError> {
    match result {
        Ok(binding) => Ok(Some(binding)),
        Err(ProbeError::Silence { .. } | ProbeError::Refused { .. }) => Ok(None),
        Err(error) => Err(error),
    }
}

//! Every axis of a NAT that a host behind it can see, measured with STUN servers (RFC 5780, and beyond).
//!
//! ```text
//! mapping      as `discovery`; over TCP the same, by connections from one local port that are open side by side
//! filtering    as `discovery`
//! scope        one socket sends to A2:P2, then has A2:P2 answer to the mapping that it has towards A1:P1
//! affinity     A2:P2 answers to the mapping towards A1:P1; from where is the next packet to A2:P2 seen?
//! hairpin      as `discovery`; and once from a socket that has not been sent to: is the filter asked?
//! allocation   sockets on random ports, one after the other: which external ports do they get?
//! early        the server sends to an external port before the host uses it: does it get that port all the same?
//! timers       `timers`
//! ```
//!
//! A NAT that refuses whoever came too early (blacklists) answers the filtering tests with silence to everything: unknown.
//! With preserved ports, a mapping for each remote looks endpoint-independent: every remote sees one external endpoint.
//!
//! What cannot be known is [`Unknown`], with the reason: nothing is guessed. With servers that know nothing of RFC 5780,
//! mapping and allocation alone are found, from two addresses on.
//!
//! Leaves out what needs a second host inside (conflicts of ports, whose counter it is), raw packets (ICMP, fragments,
//! TTL), or TCP from outside.

mod filter;
mod ports;
mod tcp;
mod timers;

use std::fmt;
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use natbox_host::{Host, UdpSocket};
use natbox_wire::words;

use crate::ProbeError;
use crate::discovery::{self, Filtering, Hairpin, LifetimeSearch, Mapping, Probe, answered};
use crate::stun::client::{Binding, BindingRequest, Retransmission};

pub use crate::discovery::Lifetime;
pub use ports::{Allocation, PortsSeen};
pub use timers::Timers;

/// Why something is not known: one line.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Unknown(pub &'static str);

impl fmt::Display for Unknown {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.0)
    }
}

/// What was found, or why it is not known.
pub type Measured<T> = Result<T, Unknown>;

words! {
    /// What permissions are tied to.
    pub enum FilterScope: "filter scope finding" {
        Mapping = "mapping", "permissions are kept per external mapping";
        Endpoint = "endpoint", "permissions are kept per internal endpoint, whichever mapping the packet left through";
    }
}

words! {
    /// Whether a reply uses the mapping that let the packet in.
    pub enum SessionAffinity: "session affinity finding" {
        On = "on", "a reply uses the mapping that let the packet in";
        Off = "off", "every outbound packet is keyed afresh by the mapping rule";
    }
}

words! {
    /// Whether the filter also judges hairpinned packets.
    pub enum HairpinFilter: "hairpin filter finding" {
        Apply = "apply", "a hairpinned packet is filtered as if it came from outside";
        Bypass = "bypass", "a hairpinned packet is always admitted";
    }
}

words! {
    /// What a packet from outside does to a port that is about to be used.
    pub enum EarlyInbound: "early inbound finding" {
        Ignore = "ignore", "it is dropped and forgotten";
        Remap = "remap", "the outbound packet that follows gets another port";
    }
}

words! {
    /// Which packets make an idle mapping live longer (RFC 4787 REQ-6).
    pub enum Refresh: "mapping refresh finding" {
        Outbound = "outbound", "packets from inside only";
        Both = "both", "packets in either direction";
        Inbound = "inbound", "packets from outside only";
        None = "none", "no packet: the lifetime is absolute";
    }
}

words! {
    /// Which external ports an internal port gets (RFC 4787 REQ-3a).
    pub enum PortClass: "port class finding" {
        Same = "same", "system ports (0-1023) for system ports";
        Netfilter = "netfilter", "1-511 for ports below 512 (Linux)";
        All = "all", "any port for any port";
    }
}

words! {
    /// Whether the lowest bit of the port is kept (RFC 4787 REQ-4).
    pub enum PortParity: "port parity finding" {
        Preserve = "preserve", "even ports for even ones, odd for odd";
        Ignore = "ignore", "any";
    }
}

words! {
    /// Whether the port after an even one is kept for the same host.
    pub enum PortContiguity: "port contiguity finding" {
        None = "none", "no";
        ReserveNext = "reserve-next", "the next internal port gets the next external port";
    }
}

words! {
    /// How external addresses are given to one host's mappings.
    pub enum Pooling: "address pooling finding" {
        Arbitrary = "arbitrary", "every mapping gets any address of the pool";
        ArbitraryRoundRobin = "arbitrary-round-robin", "every mapping gets the next address of the pool";
        HashSourceDestination = "hash-source-destination", "another address for another remote";
    }
}

/// What to measure, and how.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Options {
    /// When requests are sent again. Silence is the answer to several tests: this says how long it takes.
    pub retransmission: Retransmission,
    /// The least time between the beginnings of two tests (RFC 5780 section 4: at most ten a second).
    pub pacing: Duration,
    /// Search for timers, between these bounds.
    pub timers: Option<LifetimeSearch>,
    /// Connect over TCP too.
    pub tcp: bool,
}

impl Default for Options {
    /// Everything but the timers, which take minutes.
    fn default() -> Options {
        Options { retransmission: Retransmission::PROBE, pacing: Duration::from_millis(100), timers: None, tcp: true }
    }
}

/// What was found. `Err` says why something is not known.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Measurement {
    /// The server that most tests used.
    pub server: SocketAddr,
    /// Its other address and port, if it has them.
    pub other: Option<SocketAddr>,
    /// The local endpoint of the first test.
    pub local: SocketAddr,
    /// Where the server saw it.
    pub mapped: SocketAddr,
    /// UDP mapping.
    pub mapping: Measured<Mapping>,
    /// TCP mapping.
    pub tcp_mapping: Measured<Mapping>,
    /// UDP filtering.
    pub filtering: Measured<Filtering>,
    /// What permissions are tied to.
    pub filter_scope: Measured<FilterScope>,
    /// Whether a reply uses the mapping that let the packet in.
    pub session_affinity: Measured<SessionAffinity>,
    /// UDP hairpinning.
    pub hairpin: Measured<Hairpin>,
    /// Whether the filter judges hairpinned packets.
    pub hairpin_filter: Measured<HairpinFilter>,
    /// What an early packet from outside does.
    pub early_inbound: Measured<EarlyInbound>,
    /// How external ports and addresses are given out.
    pub ports: PortsSeen,
    /// Whether something on the way rewrote an address inside the payload.
    pub payload_rewritten: bool,
    /// How long idle mappings live.
    pub timers: Timers,
}

impl Measurement {
    /// Whether anything is translated.
    pub fn translated(&self) -> bool {
        self.mapping != Ok(Mapping::None)
    }

    /// The external addresses that were seen.
    pub fn addresses(&self) -> &[IpAddr] {
        &self.ports.addresses
    }
}

const NO_OTHER: Unknown = Unknown("the server has no second address (OTHER-ADDRESS, RFC 5780)");
const SILENT: Unknown = Unknown("an answer that was due did not come");
const NOT_TRANSLATED: Unknown = Unknown("nothing is translated");

/// Measures what lies between `host` and `servers`: the first that knows RFC 5780 if one does, else all of them.
///
/// # Errors
/// [`ProbeError::Silence`] when no server answers, [`ProbeError::Io`] when the machine cannot send, an error response or
/// nonsense to the very first request.
pub async fn measure<H: Host>(host: &H, servers: &[SocketAddr], options: &Options) -> Result<Measurement, ProbeError> {
    let Met { server, first, local, mapping: plain } = meet(host, servers, options).await?;
    let other = first.other.filter(|other| other.ip() != server.ip() && other.port() != server.port());
    let mut probe = probe(host, server, options).await?;
    let mapping = match other {
        Some(_) => mapping(&mut probe, other).await?,
        None if first.mapped == local => Ok(Mapping::None),
        None => plain,
    };
    let translated = mapping != Ok(Mapping::None);
    let filtering = match probe.filtering(other, translated).await? {
        Filtering::Unknown if other.is_none() => Err(NO_OTHER),
        Filtering::Unknown => Err(SILENT),
        found => Ok(found),
    };
    let known = Known { server, other, translated, mapping, filtering };
    let filter_scope = filter::scope(&mut probe, &known).await?;
    let session_affinity = filter::affinity(&mut probe, &known).await?;
    let hairpin = filter::hairpin(&mut probe, &known).await?;
    let hairpin_filter = filter::hairpin_filter(&mut probe, &known, hairpin).await?;
    let ports = ports::look(&mut probe, &known).await?;
    let early_inbound = ports::early(&mut probe, &known, &ports).await?;
    let tcp_mapping = match options.tcp {
        true => tcp::mapping(&mut probe, &known).await?,
        false => Err(Unknown("TCP was not asked for")),
    };
    let timers = match options.timers {
        Some(search) => timers::search(host, server, options, search, ports.allocation).await?,
        None => Timers::unasked(),
    };
    Ok(Measurement {
        server,
        other,
        local,
        mapped: first.mapped,
        mapping,
        tcp_mapping,
        filtering,
        filter_scope,
        session_affinity,
        hairpin,
        hairpin_filter,
        early_inbound,
        ports,
        payload_rewritten: first.mapped_plain.is_some_and(|plain| plain != first.mapped),
        timers,
    })
}

/// What later tests need to know of earlier ones.
struct Known {
    server: SocketAddr,
    other: Option<SocketAddr>,
    translated: bool,
    mapping: Measured<Mapping>,
    filtering: Measured<Filtering>,
}

impl Known {
    /// The server's other address with its first port.
    fn second_address(&self) -> Option<SocketAddr> {
        self.other.map(|other| SocketAddr::new(other.ip(), self.server.port()))
    }
}

async fn probe<'a, H: Host>(host: &'a H, server: SocketAddr, options: &Options) -> Result<Probe<'a, H>, ProbeError> {
    let discovery = discovery::Options {
        retransmission: options.retransmission,
        pacing: options.pacing,
        ..discovery::Options::default()
    };
    Probe::new(host, server, &discovery).await
}

/// The server to measure with, and what it and the others say of one socket.
struct Met {
    server: SocketAddr,
    first: Binding,
    local: SocketAddr,
    /// What follows for mapping from the servers as they are.
    mapping: Measured<Mapping>,
}

/// Asks every server from one socket, until one of them knows RFC 5780.
async fn meet<H: Host>(host: &H, servers: &[SocketAddr], options: &Options) -> Result<Met, ProbeError> {
    let Some(first) = servers.first() else {
        let nobody = std::io::Error::new(std::io::ErrorKind::InvalidInput, "no server is named");
        return Err(ProbeError::io("measure")(nobody));
    };
    let mut probe = probe(host, *first, options).await?;
    let socket = probe.socket().await?;
    let (mut seen, mut failure) = (Vec::new(), None);
    for server in servers {
        match probe.ask(&socket, *server, BindingRequest::default()).await {
            Ok(binding) => seen.push((*server, binding)),
            Err(error) => failure = failure.or(Some(error)),
        }
        if seen.last().is_some_and(|(_, binding)| binding.other.is_some()) {
            break;
        }
    }
    let best = seen.iter().find(|(_, binding)| binding.other.is_some()).or(seen.first());
    let silence = || ProbeError::Silence {
        expected: "a STUN response",
        from: *first,
        waited: Duration::ZERO,
        sent: options.retransmission.sends,
    };
    let Some((server, binding)) = best.copied() else { return Err(failure.unwrap_or_else(silence)) };
    Ok(Met { server, first: binding, local: socket.local_addr(), mapping: plain_mapping(&seen) })
}

/// What servers without a second address say of the mapping of one socket, all together.
fn plain_mapping(seen: &[(SocketAddr, Binding)]) -> Measured<Mapping> {
    let pairs = || seen.iter().flat_map(|one| seen.iter().map(move |other| (one, other)));
    let same = |(one, other): &(&(SocketAddr, Binding), &(SocketAddr, Binding))| one.1.mapped == other.1.mapped;
    let near = |(one, other): &(&(SocketAddr, Binding), &(SocketAddr, Binding))| one.0.ip() == other.0.ip();
    if pairs().any(|pair| near(&pair) && !same(&pair)) {
        return Ok(Mapping::AddressAndPortDependent);
    }
    if pairs().all(|pair| near(&pair)) {
        return Err(Unknown("one address of one server: name another server, or one that knows RFC 5780"));
    }
    match (pairs().all(|pair| same(&pair)), pairs().any(|(one, other)| one.0 != other.0 && near(&(one, other)))) {
        (true, _) => Ok(Mapping::EndpointIndependent),
        (false, true) => Ok(Mapping::AddressDependent),
        (false, false) => {
            Err(Unknown("depends on the remote: two ports of one server would tell whether on its port too"))
        }
    }
}

/// RFC 5780 section 4.3, on a socket of its own.
async fn mapping<H: Host>(
    probe: &mut Probe<'_, H>,
    other: Option<SocketAddr>,
) -> Result<Measured<Mapping>, ProbeError> {
    let socket = probe.socket().await?;
    let Some(first) = answered(probe.ask(&socket, probe.server, BindingRequest::default()).await)? else {
        return Ok(Err(SILENT));
    };
    Ok(match probe.mapping(&socket, first.mapped, other).await? {
        Mapping::Unknown => Err(Unknown("the server's second address (OTHER-ADDRESS) does not answer")),
        found => Ok(found),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn plain_servers_tell_what_they_can_and_no_more() {
        let seen = |list: &[(&str, u16)]| {
            let binding = |port| Binding {
                mapped: SocketAddr::from(([203, 0, 113, 1], port)),
                mapped_plain: None,
                other: None,
                source: SocketAddr::from(([192, 0, 2, 1], 1)),
                elapsed: Duration::ZERO,
            };
            let list: Vec<_> = list.iter().map(|(server, port)| (server.parse().unwrap(), binding(*port))).collect();
            plain_mapping(&list)
        };
        assert!(seen(&[("192.0.2.1:1", 5000)]).is_err(), "one server tells nothing");
        assert_eq!(seen(&[("192.0.2.1:1", 5000), ("192.0.2.2:1", 5000)]), Ok(Mapping::EndpointIndependent));
        assert!(seen(&[("192.0.2.1:1", 5000), ("192.0.2.1:2", 5000)]).is_err(), "one address tells nothing");
        assert!(seen(&[("192.0.2.1:1", 5000), ("192.0.2.2:1", 5001)]).is_err(), "on the address, or on the port too");
        let three = [("192.0.2.1:1", 5000), ("192.0.2.1:2", 5000), ("192.0.2.2:1", 5001)];
        assert_eq!(seen(&three), Ok(Mapping::AddressDependent));
        let two = [("192.0.2.1:1", 5000), ("192.0.2.1:2", 5001)];
        assert_eq!(seen(&two), Ok(Mapping::AddressAndPortDependent));
    }
}

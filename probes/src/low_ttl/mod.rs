//! UDP hole punching whose first packets die between the two NATs.
//!
//! ```text
//! caller     its NATs          network          its NATs     callee
//!   | check, TTL 2 -->|----------> X                            |    the hole is open; the other side sees nothing
//!   |                            X <---------|<-- check, TTL 2  |
//!   | check --------->|------------------------->|------------> |    400 ms later, with a TTL to arrive: the holes are there
//! ```
//!
//! As [`punch`], but for the first two checks of the endpoints at which the directory saw the peer. A NAT
//! that answers unsolicited packets, or that keeps their endpoints for itself (Linux where the INPUT chain accepts),
//! never meets one. The TTL has to cross all NATs of one's own side and no more: unless `low_ttl` says it, every host
//! finds out by sending to the directory's address with TTLs from 1 on, and takes the first whose packet dies at a public
//! router (hyperdht sends with 5 instead, whatever the network is like).
//!
//! Works where punching works, and where it fails because a packet comes too early. Needs a router between the NATs that
//! counts down, and NATs that keep a mapping whose packet has died. Changes nothing where a NAT maps by remote endpoint.

use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use natbox_host::{Host, UdpSocket};
use natbox_wire::IcmpError;

use crate::ProbeError;
use crate::contact::{Contact, Fact, Facts, Failure, Setting};
use crate::punch::{self, CheckPlan, PunchConfig};
use crate::wait::receive;

/// The longest way out of one's own network that is looked for.
const MOST_HOPS: u8 = 8;
/// How long routers have to answer.
const PATIENCE: Duration = Duration::from_secs(1);
/// The port that traceroute begins at; each TTL has a port of its own, so that errors tell them apart.
const FIRST_PORT: u16 = 33_434;
/// What is taken where no router tells anything: hyperdht's TTL.
const BLIND: u8 = 5;

/// Comes to talk to `peer`, who waits in [`answer`].
///
/// # Errors
/// [`Failure`] with the step that failed, or with what became of every endpoint that was tried.
pub async fn call<H: Host>(host: &H, setting: &Setting, peer: &str) -> Result<Contact<H>, Failure> {
    let began = host.now();
    let (config, facts) =
        config(host, setting).await.map_err(|error| Failure::early(error, host.now().since(began)))?;
    match punch::technique::call_as(host, &config, peer).await {
        Ok(contact) => Ok(contact.with_facts(facts)),
        Err(failure) => Err(failure.with_facts(facts)),
    }
}

/// Registers, and waits for one caller.
///
/// # Errors
/// [`Failure`]: nobody called, or the caller could not be reached.
pub async fn answer<H: Host>(host: &H, setting: &Setting) -> Result<Contact<H>, Failure> {
    let began = host.now();
    let (config, facts) =
        config(host, setting).await.map_err(|error| Failure::early(error, host.now().since(began)))?;
    match punch::technique::answer_as(host, &config, setting).await {
        Ok(contact) => Ok(contact.with_facts(facts)),
        Err(failure) => Err(failure.with_facts(facts)),
    }
}

async fn config<H: Host>(host: &H, setting: &Setting) -> Result<(PunchConfig, Facts), ProbeError> {
    let mut facts = Facts::new();
    let ttl = choose(host, setting, &mut facts).await?;
    let config = PunchConfig::from(setting);
    Ok((PunchConfig { checks: CheckPlan { low_ttl: Some(ttl), ..config.checks }, ..config }, facts))
}

/// The TTL that was asked for, or that is found out; with the facts `low_ttl` and `hops`.
///
/// # Errors
/// What the machine's socket says.
pub(crate) async fn choose<H: Host>(host: &H, setting: &Setting, facts: &mut Facts) -> Result<u8, ProbeError> {
    let ttl = match setting.options.low_ttl {
        Some(ttl) => ttl,
        None => {
            let hops = hops(host, setting.directory.ip()).await?;
            let told = |hop: &Option<IpAddr>| hop.map_or_else(|| "*".to_owned(), |address| address.to_string());
            facts.insert("hops", hops.iter().map(told).collect::<Vec<_>>().into());
            own_hops(host, &hops).unwrap_or(BLIND)
        }
    };
    facts.insert("low_ttl", Fact::from(ttl));
    Ok(ttl)
}

/// The routers on the way to `destination`, as far as they tell: the one at which a packet of TTL 1 dies first.
///
/// # Errors
/// What the machine's socket says.
pub async fn hops<H: Host>(host: &H, destination: IpAddr) -> Result<Vec<Option<IpAddr>>, ProbeError> {
    let local = host.source_for(destination).map_err(ProbeError::io("find a way to the directory"))?;
    let socket = host.udp_bind(SocketAddr::new(local, 0)).await.map_err(ProbeError::io("bind a UDP socket"))?;
    socket.set_receive_errors(true).map_err(ProbeError::io("receive ICMP errors"))?;
    for ttl in 1..=MOST_HOPS {
        socket.set_ttl(ttl).map_err(ProbeError::io("set a TTL"))?;
        let port = FIRST_PORT + u16::from(ttl);
        // An error that is pending comes out here, too; it is read below.
        let _ = socket.send_to(b"natbox", SocketAddr::new(destination, port)).await;
    }
    let mut hops = vec![None; usize::from(MOST_HOPS)];
    let deadline = host.now() + PATIENCE;
    let mut buffer = [0; 64];
    while own_hops(host, &hops).is_none() {
        let over = matches!(receive(host, &socket, &mut buffer, deadline).await, Ok(None));
        while let Some(report) = socket.take_icmp_report() {
            let hop = report.destination.port().checked_sub(FIRST_PORT + 1).map(usize::from);
            if let Some(hop) = hop.and_then(|hop| hops.get_mut(hop)).filter(|_| report.error == IcmpError::TtlExceeded)
            {
                *hop = Some(report.reporter);
            }
        }
        if over {
            break;
        }
    }
    while hops.last() == Some(&None) {
        hops.pop();
    }
    Ok(hops)
}

/// How many hops it is to the first public router: there a packet has left the last NAT of its own side. Only where all
/// before it are known.
fn own_hops<H: Host>(host: &H, hops: &[Option<IpAddr>]) -> Option<u8> {
    let own =
        hops.iter().take_while(|hop| hop.is_some_and(|address| host.is_neighbour(address) || is_private(address)));
    let own = own.count();
    hops.get(own).copied().flatten()?;
    u8::try_from(own + 1).ok()
}

/// Whether an address is of a private network or a carrier's (RFC 1918, RFC 6598, RFC 4193), or of a link.
fn is_private(address: IpAddr) -> bool {
    match address {
        IpAddr::V4(v4) => {
            let [first, second, ..] = v4.octets();
            v4.is_private() || v4.is_link_local() || first == 100 && second & 0xC0 == 64
        }
        IpAddr::V6(v6) => v6.is_unique_local() || v6.is_unicast_link_local(),
    }
}

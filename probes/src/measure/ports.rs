//! How a NAT gives out external ports and addresses, as one host sees it.
//!
//! Sockets on random local ports ask one server, one after the other. The rule is read off from the ports that they get:
//!
//! * most of them the local ones: `preserve`;
//! * one step from each to the next, or more where others had mappings in between: `sequential`;
//! * all of them within a small window: blocks or deterministic ranges, which look alike;
//! * anything else: `random`. RFC 6056's algorithms 1 and 2 and a hash look like that too.

use std::collections::BTreeSet;
use std::net::{IpAddr, SocketAddr};

use natbox_host::{Host, UdpSocket};
use natbox_wire::words;
use rand_core::Rng;

use super::{
    EarlyInbound, Known, Measured, NOT_TRANSLATED, Pooling, PortClass, PortContiguity, PortParity, SILENT, Unknown,
};
use crate::ProbeError;
use crate::discovery::{Filtering, Probe, answered};
use crate::observe::{LARGEST_STEP, step};
use crate::stun::client::BindingRequest;

/// Sockets that are looked at.
const SOCKETS: usize = 16;
/// Fewer than so many answers tell no rule.
const LEAST: usize = 8;
/// Ports that are all within so many were not drawn from all of them: for 16 the odds are one in 10^12.
const WINDOW: u16 = 4096;
/// Steps above this are no increments of RFC 6056's algorithm 5 with its usual N.
const LARGEST_INCREMENT: i32 = 1000;
/// Local ports are drawn from here: above what servers use, below what systems give out by themselves.
const LOCAL: (u16, u16) = (20_000, 32_000);
/// How often a local port that is taken is replaced by another.
const TRIES: usize = 8;
/// Pairs of ports that are looked at for contiguity at most.
const PAIRS: usize = 6;

words! {
    /// How new mappings get their external ports.
    pub enum Allocation: "port allocation finding" {
        Preserve = "preserve", "the internal port if it is free";
        Sequential = "sequential", "a fixed step after the last one given out";
        Random = "random", "no rule that shows";
    }
}

/// Ports and addresses that a host's sockets were given.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PortsSeen {
    /// The rule.
    pub allocation: Measured<Allocation>,
    /// The step of `sequential`, in ports; 0 for other rules.
    pub delta: u16,
    /// The lowest and the highest external port; those that may be given out are at least these.
    pub range: Option<(u16, u16)>,
    /// Sockets that an answer came for, and how many of them kept their port.
    pub sockets: usize,
    /// How many of them kept their port.
    pub preserved: usize,
    /// Which ports system ports get.
    pub class: Measured<PortClass>,
    /// Whether the lowest bit is kept.
    pub parity: Measured<PortParity>,
    /// Whether the next port gets the next port.
    pub contiguity: Measured<PortContiguity>,
    /// The external addresses, each once, in ascending order.
    pub addresses: Vec<IpAddr>,
    /// How they are given out.
    pub pooling: Measured<Pooling>,
}

/// A local port and where a server saw it.
type Sample = (u16, SocketAddr);

/// Looks at sockets on random ports.
pub(super) async fn look<H: Host>(probe: &mut Probe<'_, H>, known: &Known) -> Result<PortsSeen, ProbeError> {
    let mut samples: Vec<Sample> = Vec::new();
    let mut kept = Vec::new();
    for _ in 0..SOCKETS {
        let socket = random_port(probe).await?;
        let seen = answered(probe.ask(&socket, probe.server, BindingRequest::default()).await)?;
        samples.extend(seen.map(|seen| (socket.local_addr().port(), seen.mapped)));
        // Open until the end: a port that is given back might be given out again.
        kept.push(socket);
    }
    let allocation = if known.translated { rule(&samples) } else { Err(NOT_TRANSLATED) };
    let (delta, allocation) = match allocation {
        Ok((allocation, delta)) => (delta, Ok(allocation)),
        Err(unknown) => (0, Err(unknown)),
    };
    let ports = || samples.iter().map(|(_, mapped)| mapped.port());
    let addresses: BTreeSet<IpAddr> = samples.iter().map(|(_, mapped)| mapped.ip()).collect();
    let pooling = pooling(probe, known, &samples, addresses.len()).await?;
    Ok(PortsSeen {
        allocation,
        delta,
        range: ports().min().zip(ports().max()),
        sockets: samples.len(),
        preserved: samples.iter().filter(|(local, mapped)| *local == mapped.port()).count(),
        class: class(probe, allocation).await?,
        parity: parity(&samples, allocation),
        contiguity: contiguity(probe, allocation).await?,
        addresses: addresses.into_iter().collect(),
        pooling,
    })
}

/// A socket on a random port that is free.
async fn random_port<H: Host>(probe: &mut Probe<'_, H>) -> Result<H::Udp, ProbeError> {
    for _ in 0..TRIES {
        let port = draw(probe);
        if let Ok(socket) = bind(probe, port).await {
            return Ok(socket);
        }
    }
    probe.socket().await
}

fn draw<H: Host>(probe: &Probe<'_, H>) -> u16 {
    let span = u32::from(LOCAL.1 - LOCAL.0);
    LOCAL.0 + u16::try_from(probe.host.random().next_u32() % span).unwrap_or(0)
}

async fn bind<H: Host>(probe: &Probe<'_, H>, port: u16) -> std::io::Result<H::Udp> {
    probe.host.udp_bind(SocketAddr::new(probe.any_port.ip(), port)).await
}

/// The rule that the samples follow, and its step.
fn rule(samples: &[Sample]) -> Measured<(Allocation, u16)> {
    if samples.len() < LEAST {
        return Err(SILENT);
    }
    let preserved = samples.iter().filter(|(local, mapped)| *local == mapped.port()).count();
    if preserved * 2 >= samples.len() {
        return Ok((Allocation::Preserve, 0));
    }
    let steps: Vec<i32> = samples.windows(2).map(|pair| step(pair[0].1.port(), pair[1].1.port())).collect();
    let upward = |largest: i32| steps.iter().filter(|step| (1..=largest).contains(*step)).count();
    // One step may wrap around at the end of a range.
    let nearly_all = steps.len() - 1;
    if upward(LARGEST_STEP) >= nearly_all {
        let smallest = steps.iter().copied().filter(|step| *step > 0).min().unwrap_or(1);
        let exact = steps.iter().filter(|step| **step == smallest).count();
        if exact * 4 >= steps.len() * 3 {
            return Ok((Allocation::Sequential, u16::try_from(smallest).unwrap_or(1)));
        }
    }
    if upward(LARGEST_INCREMENT) >= nearly_all {
        return Err(Unknown("steps upward of no fixed width: random increments, or a counter shared with others"));
    }
    let ports = || samples.iter().map(|(_, mapped)| mapped.port());
    let window = ports().max().zip(ports().min()).map_or(0, |(most, least)| most - least);
    if window < WINDOW {
        return Err(Unknown("ports without order in a small window: blocks, or a range for each host"));
    }
    Ok((Allocation::Random, 0))
}

fn parity(samples: &[Sample], allocation: Measured<Allocation>) -> Measured<PortParity> {
    let differs = samples.iter().any(|(local, mapped)| local % 2 != mapped.port() % 2);
    match allocation {
        Err(unknown) if unknown == NOT_TRANSLATED || samples.len() < LEAST => Err(unknown),
        Ok(Allocation::Preserve) => Err(Unknown("ports are preserved: it shows where one is taken, by another host")),
        _ if differs => Ok(PortParity::Ignore),
        _ => Ok(PortParity::Preserve),
    }
}

/// Which ports system ports get.
async fn class<H: Host>(
    probe: &mut Probe<'_, H>,
    allocation: Measured<Allocation>,
) -> Result<Measured<PortClass>, ProbeError> {
    match allocation {
        Ok(Allocation::Random) => {}
        Ok(_) => return Ok(Err(Unknown("it shows where ports are drawn at random"))),
        Err(unknown) => return Ok(Err(unknown)),
    }
    let mut seen = Vec::new();
    for port in (400..508).step_by(9).take(TRIES) {
        let Ok(socket) = bind(probe, port).await else { continue };
        let answer = answered(probe.ask(&socket, probe.server, BindingRequest::default()).await)?;
        seen.extend(answer.map(|answer| answer.mapped.port()));
    }
    Ok(match seen[..] {
        [] => Err(Unknown("needs the right to use a port below 1024")),
        _ if seen.len() < TRIES => Err(SILENT),
        _ if seen.iter().all(|port| *port < 512) => Ok(PortClass::Netfilter),
        _ if seen.iter().all(|port| *port < 1024) => Ok(PortClass::Same),
        _ if seen.iter().all(|port| *port >= 1024) => {
            Err(Unknown("system ports got others: any port for any port, or there are no system ports in the range"))
        }
        _ => Ok(PortClass::All),
    })
}

/// A socket on an even port, another one, and one on the port after the first: does it get the port after the first's?
async fn contiguity<H: Host>(
    probe: &mut Probe<'_, H>,
    allocation: Measured<Allocation>,
) -> Result<Measured<PortContiguity>, ProbeError> {
    match allocation {
        Ok(Allocation::Preserve) => {
            return Ok(Err(Unknown("ports are preserved: it shows where one is taken, by another host")));
        }
        Ok(_) => {}
        Err(unknown) => return Ok(Err(unknown)),
    }
    for _ in 0..PAIRS {
        let port = draw(probe) & !1;
        let Ok(even) = bind(probe, port).await else { continue };
        let Ok(next) = bind(probe, port + 1).await else { continue };
        let between = random_port(probe).await?;
        let mut seen = Vec::new();
        for socket in [&even, &between, &next] {
            seen.extend(answered(probe.ask(socket, probe.server, BindingRequest::default()).await)?);
        }
        let [even, _, next] = seen[..] else { return Ok(Err(SILENT)) };
        // An odd external port has no next one to reserve.
        if even.mapped.port() % 2 == 0 {
            let follows = Some(next.mapped.port()) == even.mapped.port().checked_add(1);
            return Ok(Ok(if follows { PortContiguity::ReserveNext } else { PortContiguity::None }));
        }
    }
    Ok(Err(Unknown("no even port was given out for an even one")))
}

async fn pooling<H: Host>(
    probe: &mut Probe<'_, H>,
    known: &Known,
    samples: &[Sample],
    addresses: usize,
) -> Result<Measured<Pooling>, ProbeError> {
    if !known.translated {
        return Ok(Err(NOT_TRANSLATED));
    }
    if addresses > 1 {
        let next = |address: IpAddr| {
            let after = samples.windows(2).filter(|pair| pair[0].1.ip() == address).map(|pair| pair[1].1.ip());
            after.collect::<BTreeSet<_>>().len() <= 1
        };
        let round = samples.iter().all(|(_, mapped)| next(mapped.ip()));
        return Ok(Ok(if round { Pooling::ArbitraryRoundRobin } else { Pooling::Arbitrary }));
    }
    let (Some(second), Some((_, first))) = (known.second_address(), samples.first()) else {
        return Ok(Err(Unknown("one address was seen: all mappings share one, or there is no other")));
    };
    let socket = probe.socket().await?;
    let seen = answered(probe.ask(&socket, second, BindingRequest::default()).await)?;
    Ok(match seen {
        Some(seen) if seen.mapped.ip() != first.ip() => Ok(Pooling::HashSourceDestination),
        _ => Err(Unknown("one address was seen: all mappings share one, or there is no other")),
    })
}

/// The server sends to an external port that a socket of this host is about to have.
pub(super) async fn early<H: Host>(
    probe: &mut Probe<'_, H>,
    known: &Known,
    seen: &PortsSeen,
) -> Result<Measured<EarlyInbound>, ProbeError> {
    if !known.translated {
        return Ok(Err(NOT_TRANSLATED));
    }
    if seen.allocation != Ok(Allocation::Preserve) {
        return Ok(Err(Unknown("ports are not preserved: nobody knows the next one")));
    }
    if matches!(known.filtering, Ok(Filtering::Off) | Err(_)) {
        return Ok(Err(Unknown("filtering is not known")));
    }
    // What is sent ahead must come to where the next socket is seen, and not come in.
    let (asking, about, control) = (probe.socket().await?, random_port(probe).await?, random_port(probe).await?);
    let port = about.local_addr().port();
    if answered(probe.ask(&asking, probe.server, BindingRequest::default()).await)?.is_none() {
        return Ok(Err(SILENT));
    }
    if !answers_elsewhere(probe, &asking, &control).await? {
        return Ok(Err(Unknown("the server does not answer to another port (RESPONSE-PORT, RFC 5780)")));
    }
    match probe.answer_elsewhere(&asking, &about, port).await {
        Ok(None) => {}
        Ok(Some(_)) | Err(ProbeError::Refused { .. }) => return Ok(Err(SILENT)),
        Err(error) => return Err(error),
    }
    Ok(Ok(match answered(probe.ask(&about, probe.server, BindingRequest::default()).await)? {
        None => return Ok(Err(SILENT)),
        Some(answer) if answer.mapped.port() == port => EarlyInbound::Ignore,
        Some(_) => EarlyInbound::Remap,
    }))
}

/// Whether the server answers to a port that was not the one that asked, where a mapping waits for it.
pub(super) async fn answers_elsewhere<H: Host>(
    probe: &mut Probe<'_, H>,
    asking: &H::Udp,
    listening: &H::Udp,
) -> Result<bool, ProbeError> {
    let Some(seen) = answered(probe.ask(listening, probe.server, BindingRequest::default()).await)? else {
        return Ok(false);
    };
    match probe.answer_elsewhere(asking, listening, seen.mapped.port()).await {
        Ok(arrived) => Ok(arrived.is_some()),
        Err(ProbeError::Refused { .. }) => Ok(false),
        Err(error) => Err(error),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(ports: impl IntoIterator<Item = (u16, u16)>) -> Measured<(Allocation, u16)> {
        let seen = |port| SocketAddr::from(([203, 0, 113, 1], port));
        rule(&ports.into_iter().map(|(local, external)| (local, seen(external))).collect::<Vec<_>>())
    }

    #[test]
    fn the_rule_is_read_off_from_the_ports() {
        let locals = [29_001, 21_440, 30_003, 25_002, 20_807, 31_111, 22_220, 27_654];
        let with = |external: [u16; 8]| of(locals.into_iter().zip(external));
        assert_eq!(with(locals), Ok((Allocation::Preserve, 0)));
        assert_eq!(
            with([40_000, 40_001, 40_002, 40_003, 40_004, 40_005, 40_006, 40_007]),
            Ok((Allocation::Sequential, 1))
        );
        let crossed = [40_000, 40_002, 40_004, 40_010, 40_012, 40_014, 40_016, 40_018];
        assert_eq!(with(crossed), Ok((Allocation::Sequential, 2)), "another host's mapping in between");
        let wrapped = [65_530, 65_532, 65_534, 1024, 1026, 1028, 1030, 1032];
        assert_eq!(with(wrapped), Ok((Allocation::Sequential, 2)));
        assert_eq!(with([9000, 60_000, 31_000, 2000, 45_000, 50_321, 12_345, 33_333]), Ok((Allocation::Random, 0)));
        assert!(with([40_000, 40_033, 40_200, 40_222, 40_602, 40_650, 40_651, 41_022]).is_err(), "random increments");
        assert!(with([40_010, 40_003, 40_060, 40_022, 40_002, 40_050, 40_051, 40_005]).is_err(), "a block");
        assert!(of([(1, 1)]).is_err(), "too few");
    }
}

//! Which external addresses and ports flows get.

use std::collections::BTreeSet;
use std::net::IpAddr;
use std::sync::Arc;

use natbox_nat::Behavior;
use natbox_nat::behavior::{PoolExhausted, Quota};
use natbox_wire::Protocol;

use super::bench::{Bench, is_one_to_one};
use super::exhaustion::{fill, narrow};
use super::packets::{SYN, X1, X2, Y1, Y2, endpoint, host, opener, ping, tcp, udp};
use super::{Outcome, Shortfall, not_applicable, require, violated, with};

pub(super) fn pooling(behavior: &Arc<Behavior>) -> Outcome {
    let mut bench = Bench::pool(behavior);
    let first = bench.send(udp(host(1, 5000), Y1))?.ip();
    for (turn, port) in (5001..5020).enumerate() {
        let remote = endpoint([192, 0, 2, 1 + turn as u8], 443);
        let other = bench.send(udp(host(1, port), remote))?.ip();
        require(other == first, || format!("one host had the external addresses {first} and {other}"))?;
    }
    Ok(())
}

pub(super) fn class(behavior: &Arc<Behavior>) -> Outcome {
    let mut bench = Bench::new(behavior);
    for number in 2..22 {
        for port in [500, 5000] {
            // One-to-one translation has no more addresses.
            let Ok(external) = bench.send(udp(host(number, port), Y1)) else { continue };
            let kept = (port < 1024) == (external.port() < 1024);
            require(kept, || format!("internal port {port} had external port {}", external.port()))?;
        }
    }
    Ok(())
}

pub(super) fn parity(behavior: &Arc<Behavior>) -> Outcome {
    let mut bench = Bench::new(behavior);
    for port in 5000..5040 {
        let external = bench.send(udp(host(1, port), Y1))?.port();
        require(port % 2 == external % 2, || format!("internal port {port} had external port {external}"))?;
    }
    Ok(())
}

pub(super) fn parity_ignored(behavior: &Arc<Behavior>) -> Outcome {
    let mut bench = Bench::new(behavior);
    let mut same = true;
    for port in 5000..5040 {
        same &= bench.send(udp(host(1, port), Y1))?.port() % 2 == port % 2;
    }
    require(!same, || "forty ports kept their parity".to_owned())
}

/// Hosts with one port between them, towards different remotes.
pub(super) fn overlap(behavior: &Arc<Behavior>) -> Outcome {
    let mut bench = Bench::new(behavior);
    let (first, second) = (bench.send(udp(X1, Y1))?, bench.send(udp(X2, Y2))?);
    require(first == second, || format!("two hosts on one port were {first} and {second} towards different remotes"))
}

/// The external addresses that a host gets which wants more ports than one has, while others have some.
fn addresses_of_hungry(behavior: &Arc<Behavior>, protocol: Protocol) -> Result<BTreeSet<IpAddr>, Shortfall> {
    const PORTS: u16 = 16;
    let skip = |why: &str| Err(Shortfall::NotApplicable(why.to_owned()));
    if is_one_to_one(behavior) {
        return skip("an external address is one host's, with all its ports");
    }
    if pooling(behavior).is_err() {
        return skip("it does not pair addresses");
    }
    let (_, some) = narrow(behavior);
    let Some(first) = some.first().copied().filter(|first| *first <= u16::MAX - PORTS) else {
        return skip("it has no ports from 1024 on");
    };
    let few = with(behavior, |it| it.ports.range = (first..=first + PORTS - 1).into());
    let mut bench = Bench::pool(&few);
    let mut seen = BTreeSet::new();
    for port in 0..PORTS * 2 {
        let Ok(external) = bench.send(opener(protocol, host(1, first + port), Y1)) else { break };
        seen.insert(external.ip());
    }
    Ok(seen)
}

pub(super) fn full_pair(behavior: &Arc<Behavior>, protocol: Protocol) -> Outcome {
    let seen = addresses_of_hungry(behavior, protocol)?;
    require(seen.len() <= 1, || format!("a host whose external address was full got {} of them", seen.len()))
}

/// With the rule that gives a full host another address.
pub(super) fn spilled(behavior: &Arc<Behavior>) -> Outcome {
    let spilling = with(behavior, |it| {
        (it.pool_exhausted, it.quota) = (PoolExhausted::OtherAddress, Quota::default());
    });
    let seen = addresses_of_hungry(&spilling, Protocol::Udp)?;
    require(seen.len() > 1, || "a host whose external address was full got no other".to_owned())
}

/// The ports that fifty endpoints of as many hosts get, and those that they had.
fn sample(behavior: &Arc<Behavior>) -> Vec<(u16, u16)> {
    let mut bench = Bench::new(behavior);
    let internals = (5000..5100).step_by(2).map(|port| host(port, 40_000 - port * 3));
    let given = internals.map_while(|internal| Some((internal.port(), bench.send(udp(internal, Y1)).ok()?.port())));
    given.collect()
}

/// Whether most ports are so much above the last one; how many, and how much.
fn step(given: &[u16]) -> Outcome {
    let mut steps: Vec<i32> = given.windows(2).map(|pair| i32::from(pair[1]) - i32::from(pair[0])).collect();
    steps.sort_unstable();
    let most = steps.chunk_by(|a, b| a == b).map(|equal| (equal.len(), equal[0])).max();
    match most {
        Some((count, step)) if count * 4 > steps.len() && steps.len() > 8 => {
            violated(format!("{count} of {} external ports were the last one plus {step}", steps.len()))
        }
        _ => Ok(()),
    }
}

pub(super) fn random(behavior: &Arc<Behavior>) -> Outcome {
    let changed = sample(behavior).into_iter().filter(|(internal, external)| internal != external);
    step(&changed.map(|(_, external)| external).collect::<Vec<_>>())
}

/// RFC 6888 REQ-15: preserved ports can be guessed, and so can those of a small block.
pub(super) fn unguessable(behavior: &Arc<Behavior>) -> Outcome {
    const FEW: u16 = 1024;
    let sample = sample(behavior);
    let kept = sample.iter().filter(|(internal, external)| internal == external).count();
    require(kept * 4 <= sample.len(), || format!("{kept} of {} external ports were the internal ones", sample.len()))?;
    step(&sample.into_iter().map(|(_, external)| external).collect::<Vec<_>>())?;
    let mut bench = Bench::new(behavior);
    let own: BTreeSet<u16> =
        (5000..5050).filter_map(|port| Some(bench.send(udp(host(1, port), Y1)).ok()?.port())).collect();
    let spread = own.last().zip(own.first()).map_or(0, |(last, first)| last - first);
    let hidden = own.len() < 8 || spread >= FEW;
    require(hidden, || {
        format!("all {} external ports of one subscriber were within {spread} of one another", own.len())
    })
}

/// RFC 6888 REQ-13: when the first flow is refused, most ports are in use.
pub(super) fn utilization(behavior: &Arc<Behavior>) -> Outcome {
    if is_one_to_one(behavior) {
        return not_applicable("an external address is one host's, with all its ports");
    }
    let full = fill(behavior)?;
    let (used, all) = (full.opened, full.ports);
    require(full.refusal.is_none() || used * 10 >= all * 9, || {
        format!("a flow was refused when {used} of {all} ports were in use")
    })
}

/// RFC 6888 REQ-14: a thousand flows, of ten subscribers with ten endpoints each to ten remotes, and the mappings that the
/// log would hold of them.
pub(super) fn log_lines(behavior: &Arc<Behavior>) -> Outcome {
    let mut bench = Bench::new(behavior);
    let mut lines = BTreeSet::new();
    let mut flows = 0;
    for subscriber in 1..=10 {
        for flow in 0..100 {
            let to = endpoint([192, 0, 2, 1 + (flow % 10) as u8], 443);
            flows += u32::from(bench.send(udp(host(subscriber, 5000 + flow / 10), to)).is_ok());
        }
    }
    lines.extend(bench.mappings().into_iter().map(|mapping| mapping.id));
    let lines = lines.len();
    require(lines <= 100, || format!("the log of {flows} flows of 100 endpoints would have {lines} lines"))
}

/// RFC 6888 REQ-3: four addresses in two ranges that do not touch.
pub(super) fn whole_pool(behavior: &Arc<Behavior>) -> Outcome {
    let pool = [[198, 51, 100, 4], [198, 51, 100, 5], [203, 0, 113, 9], [198, 51, 100, 200]].map(IpAddr::from);
    let mut bench = Bench::with_external(behavior, &pool);
    let mut seen = BTreeSet::new();
    for number in 0..200 {
        // One-to-one translation has no more addresses.
        let Ok(external) = bench.send(udp(host(number, 5000), Y1)) else { break };
        seen.insert(external.ip());
    }
    require(seen.len() == pool.len(), || format!("of {} external addresses {} were used", pool.len(), seen.len()))
}

/// RFC 6888 REQ-2: one external address for all of a subscriber's transports.
pub(super) fn paired(behavior: &Arc<Behavior>) -> Outcome {
    for number in 1..3 {
        let mut bench = Bench::pool(behavior);
        let first = bench.send(udp(host(number, 5000), Y1))?.ip();
        for port in 5001..5010 {
            let from = host(number, port);
            for packet in [udp(from, Y2), tcp(from, Y1, SYN), ping(from, Y2)] {
                // What policy does not let out has no address.
                let Ok(external) = bench.send(packet) else { continue };
                let other = external.ip();
                require(other == first, || format!("one subscriber had the external addresses {first} and {other}"))?;
            }
        }
    }
    Ok(())
}

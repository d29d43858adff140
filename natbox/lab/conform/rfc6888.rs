//! RFC 6888 (carrier-grade NATs). REQ-1, that the other RFCs are met, is theirs.

use std::sync::Arc;

use natbox_nat::{Answer, Behavior};
use natbox_wire::{IcmpError, Protocol};

use super::bench::{Bench, SYN, X1, Y1, Y2, fill, host, lifetime_seconds, ping, tcp, udp};
use super::rfc5508::stolen;
use super::{Level, Outcome, Requirement, not_applicable, require, row, violated};

const UDP: Protocol = Protocol::Udp;

pub(super) const REQUIREMENTS: &[Requirement] = &[
    row("RFC6888 REQ-2", Level::Must, "a subscriber has one external address for all protocols", UDP, paired),
    row("RFC6888 REQ-4", Level::Must, "a subscriber's ports have a limit, which hurts nobody else", UDP, limit),
    row("RFC6888 REQ-6", Level::Must, "destinations can be left untranslated", UDP, bypass),
    row("RFC6888 REQ-7", Level::Should, "endpoint-independent filtering", UDP, filtering),
    row("RFC6888 REQ-8", Level::Should, "ports rest for 120 s before they are used again", UDP, quarantine),
    row("RFC6888 REQ-9", Level::Must, "subscribers can ask for mappings (PCP)", UDP, |_| {
        not_applicable("port control is a protocol of its own, and not judged by this command")
    }),
    row("RFC6888 REQ-11a", Level::Must, "a flow too many is dropped", UDP, dropped),
    row("RFC6888 REQ-11b", Level::Should, "and its sender is told: ICMP host unreachable", UDP, unreachable),
    row("RFC6888 REQ-11d", Level::Must, "existing flows are not ended for new ones", UDP, stolen),
];

fn paired(behavior: &Arc<Behavior>) -> Outcome {
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

/// Flows of one host, at a pace that no sane rate limit forbids, for as long as the first lives.
fn limit(behavior: &Arc<Behavior>) -> Outcome {
    const FLOWS: u16 = 10_000;
    /// Those of the last twenty seconds: no timer ends them.
    const YOUNG: u16 = 2000;
    let (mut bench, mut young) = (Bench::new(behavior), Vec::new());
    for flow in 0..FLOWS {
        if flow % 100 == 99 {
            bench.wait_seconds(1);
        }
        let from = host(1, 2000 + flow);
        if let Ok(external) = bench.send(udp(from, Y1)) {
            if flow >= FLOWS - YOUNG {
                young.push((from, external));
            }
            continue;
        }
        let other = bench.send(udp(host(2, 5000), Y1));
        let suffers = |observed| violated(format!("when one subscriber had no port left, {observed}"));
        return other.map(|_| ()).or_else(suffers);
    }
    // A limit that new flows keep at the cost of old ones is one as well.
    let lost = young.iter().any(|(from, external)| bench.reaches(udp(Y1, *external), *from).is_err());
    require(lost, || format!("one subscriber opened {FLOWS} flows, each on its port, and met no limit"))
}

fn bypass(behavior: &Arc<Behavior>) -> Outcome {
    let Some(prefix) = behavior.bypass.first() else { return not_applicable("no destination is configured so") };
    let to = (prefix.addr(), 443).into();
    let mut bench = Bench::new(behavior);
    if prefix.addr().is_ipv6() {
        return not_applicable("the configured destination is of IPv6");
    }
    let from = bench.send(udp(X1, to))?;
    require(from == X1, || format!("a packet to the bypassed destination {to} left from {from}"))?;
    Ok(bench.reaches(udp(to, X1), X1)?)
}

fn filtering(behavior: &Arc<Behavior>) -> Outcome {
    let mut bench = Bench::new(behavior);
    let external = bench.send(udp(X1, Y1))?;
    Ok(bench.reaches(udp(Y2, external), X1)?)
}

/// After a port's mapping has ended, all other ports are given out: it must not be among them.
fn quarantine(behavior: &Arc<Behavior>) -> Outcome {
    let lived = lifetime_seconds(behavior, UDP, 7200);
    let mut bench = Bench::new(behavior);
    let first = bench.send(udp(X1, Y1))?;
    if bench.reaches(udp(Y2, first), X1).is_err() {
        return not_applicable("ports that the filter protects need no rest");
    }
    bench.wait_seconds(lived + 2);
    for number in 1..=700 {
        for port in 5000..5100 {
            match bench.send(udp(host(number, port), Y1)) {
                Ok(external) if external == first => {
                    return violated(format!("{first} had a new owner within 2 s of its mapping's end"));
                }
                Ok(_) => {}
                Err(_) => return Ok(()),
            }
        }
    }
    Ok(())
}

fn dropped(behavior: &Arc<Behavior>) -> Outcome {
    require(fill(behavior)?.refusal.is_some(), || {
        "70000 flows were let out, each as the only one of its port".to_owned()
    })
}

fn unreachable(behavior: &Arc<Behavior>) -> Outcome {
    let Some(refusal) = fill(behavior)?.refusal else { return not_applicable("no new flow was refused") };
    let right = refusal.answer == Some(Answer::Icmp(IcmpError::HostUnreachable));
    require(right, || "a flow that got no port was not answered by ICMP type 3 code 1".to_owned())
}

//! RFC 6888 (carrier-grade NATs).
//!
//! REQ-13 to REQ-15 compete: what wastes no port and needs no log, a range of ports for each subscriber, is what makes
//! ports easy to guess. Each is judged for itself.

use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use natbox_nat::behavior::{Exhausted, Quota};
use natbox_nat::{Answer, Behavior};
use natbox_wire::{IcmpError, Protocol};

use super::Level::{May, Must, Recommended, Should};
use super::bench::Bench;
use super::exhaustion::{fill, flows, narrow};
use super::lifetimes::lifetime_seconds;
use super::packets::{X1, Y1, Y2, host, opener, udp};
use super::{
    Finding, Outcome, Requirement, Rfc, configured, control, judge, not_applicable, ports, require, row, violated, with,
};

const TCP: Protocol = Protocol::Tcp;
const UDP: Protocol = Protocol::Udp;

pub(super) const REQUIREMENTS: &[Requirement] = &[
    row("RFC6888 REQ-1", Must, "RFC 4787, RFC 5382 and RFC 5508 are met, but for SHOULDs", UDP, others),
    row("RFC6888 REQ-2", Must, "a subscriber has one external address for all protocols", UDP, ports::paired),
    row("RFC6888 REQ-3", Must, "external addresses need not be one range, and all are used", UDP, ports::whole_pool)
        .inherent("an external address is like any other to a NAT of natbox"),
    row("RFC6888 REQ-4", Must, "a subscriber's ports have a limit, which hurts nobody else", UDP, limit),
    row("RFC6888 REQ-4a", Must, "that limit can be configured", UDP, configurable_limit).inherent(configured::OPTION),
    row("RFC6888 REQ-4b", May, "and for each transport apart", UDP, |_| {
        not_applicable("a choice that it does not make: a quota of natbox counts all transports together")
    }),
    row("RFC6888 REQ-4c", Recommended, "the rate of new mappings can be limited", UDP, rate_limit)
        .inherent(configured::OPTION),
    row("RFC6888 REQ-5", Should, "the sessions of a subscriber can be limited", UDP, session_limit)
        .inherent(configured::OPTION),
    row("RFC6888 REQ-5a", Should, "that limit can be configured", UDP, session_limit).inherent(configured::OPTION),
    row("RFC6888 REQ-5b", Should, "and so can the rate at which state is made", UDP, rate_limit)
        .inherent(configured::OPTION),
    row("RFC6888 REQ-6", Must, "destinations can be left untranslated", UDP, bypass).inherent(configured::OPTION),
    row("RFC6888 REQ-7", Recommended, "endpoint-independent filtering", UDP, filtering),
    row("RFC6888 REQ-8", Should, "ports rest for 120 s before they are used again", UDP, quarantine),
    row("RFC6888 REQ-8a", May, "but those of TCP, whose connections it follows", TCP, rests_no_tcp),
    row("RFC6888 REQ-8b", May, "and those that are a subscriber's own by arithmetic", UDP, rests_no_static),
    row("RFC6888 REQ-8c", May, "and those that a filter protects", UDP, rests_no_protected),
    row("RFC6888 REQ-8 (options)", Must, "for how long, and how many, can be configured", UDP, configurable_rest)
        .inherent(configured::OPTION),
    row("RFC6888 REQ-9", Must, "subscribers can ask for mappings (PCP)", UDP, control::mapping)
        .inherent(control::SPOKEN),
    row("RFC6888 REQ-10", Should, "it can be managed: its mappings can be listed", UDP, listed)
        .inherent("every NAT of natbox shows its mappings"),
    row("RFC6888 REQ-11a", Must, "a flow too many is dropped", UDP, dropped),
    row("RFC6888 REQ-11b", Should, "and its sender is told: ICMP host unreachable", UDP, unreachable),
    row("RFC6888 REQ-11c", Should, "and its operator: a note that says why", UDP, |it| match fill(it)?.refusal {
        Some(refusal) => require(!refusal.reason.to_string().is_empty(), || "it has no reason".to_owned()),
        None => not_applicable("no new flow was refused"),
    })
    .inherent("every refusal is a note of natbox's records, with its reason"),
    row("RFC6888 REQ-11d", Must, "existing flows are not ended for new ones", UDP, stolen),
    row("RFC6888 REQ-12", Should, "the log of a mapping names no destination", UDP, destinations),
    row("RFC6888 REQ-13", Should, "nearly all ports can be used", UDP, ports::utilization),
    row("RFC6888 REQ-14", Should, "the log has a line for an endpoint, not for a flow", UDP, ports::log_lines),
    row("RFC6888 REQ-15", Should, "external ports are hard to guess", UDP, ports::unguessable),
];

/// Of what RFC 7857 updates, the updated form.
fn others(behavior: &Arc<Behavior>) -> Outcome {
    let judged = judge(behavior, &[Rfc::Rfc4787, Rfc::Rfc5382, Rfc::Rfc5508]);
    let failed: Vec<&str> = judged.iter().filter(|one| one.fails()).map(|one| one.id).collect();
    debug_assert!(judged.iter().any(|one| one.finding == Finding::Met), "a NAT that translates meets something");
    require(failed.is_empty(), || format!("it violates {}", failed.join(", ")))
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

/// How many flows one host has at once before one is refused, with such a quota, of a NAT that refuses; and that another
/// host has one still.
fn admitted(behavior: &Arc<Behavior>, quota: Quota, one_endpoint: bool) -> Result<usize, String> {
    let mut bench = Bench::new(&with(behavior, |it| (it.quota, it.exhausted) = (quota, Exhausted::DropSilent)));
    for flow in 0..200_u16 {
        let port = if one_endpoint { 5000 } else { 5000 + flow };
        let to = if one_endpoint { super::packets::endpoint([192, 0, 2, flow as u8], 443) } else { Y1 };
        if bench.send(udp(host(1, port), to)).is_err() {
            bench.send(udp(host(2, 5000), Y1))?;
            return Ok(flow.into());
        }
    }
    Ok(200)
}

const QUOTA: usize = 30;

fn quota_holds(behavior: &Arc<Behavior>, quota: Quota, one_endpoint: bool) -> Outcome {
    if super::bench::is_one_to_one(behavior) {
        return not_applicable("an external address is one host's, with all its ports");
    }
    let admitted = admitted(behavior, quota, one_endpoint)?;
    require(admitted == QUOTA, || format!("with a quota of {QUOTA}, {admitted} were admitted"))
}

fn configurable_limit(behavior: &Arc<Behavior>) -> Outcome {
    quota_holds(behavior, Quota { ports: Some(QUOTA as u32), ..Quota::default() }, false)
}

fn rate_limit(behavior: &Arc<Behavior>) -> Outcome {
    quota_holds(behavior, Quota { new_per_second: Some(QUOTA as u32), ..Quota::default() }, false)
}

fn session_limit(behavior: &Arc<Behavior>) -> Outcome {
    quota_holds(behavior, Quota { sessions: Some(QUOTA as u32), ..Quota::default() }, true)
}

fn bypass(behavior: &Arc<Behavior>) -> Outcome {
    let prefix = "192.0.2.1/32".parse().map_err(|_| "no prefix".to_owned())?;
    let behavior = with(behavior, |it| it.bypass = vec![prefix]);
    let mut bench = Bench::new(&behavior);
    let from = bench.send(udp(X1, Y1))?;
    require(from == X1, || format!("a packet to the bypassed destination {Y1} left from {from}"))?;
    bench.reaches(udp(Y1, X1), X1)?;
    let other = bench.send(udp(X1, Y2))?;
    require(other != X1, || format!("a packet to {Y2}, which is not bypassed, left untranslated"))
}

fn filtering(behavior: &Arc<Behavior>) -> Outcome {
    let mut bench = Bench::new(behavior);
    let external = bench.send(udp(X1, Y1))?;
    Ok(bench.reaches(udp(Y2, external), X1)?)
}

/// After a port's mapping has ended, all other ports are given out: which is among them within so many seconds.
fn reused(behavior: &Arc<Behavior>, protocol: Protocol) -> Result<bool, String> {
    let lived = lifetime_seconds(behavior, protocol, 7200);
    let (behavior, ports) = narrow(behavior);
    let mut bench = Bench::new(&behavior);
    let first = bench.send(opener(protocol, X1, Y1))?;
    bench.wait_seconds(lived + 2);
    for from in flows(&ports) {
        match bench.send(opener(protocol, from, Y1)) {
            Ok(external) if external == first => return Ok(true),
            Ok(_) => {}
            Err(_) => return Ok(false),
        }
    }
    Ok(false)
}

/// RFC 6888 REQ-8c.
fn needs_rest(behavior: &Arc<Behavior>) -> Outcome {
    if super::bench::is_one_to_one(behavior) {
        return not_applicable("an external address is one host's, with all its ports");
    }
    let mut bench = Bench::new(behavior);
    let first = bench.send(udp(X1, Y1))?;
    match bench.reaches(udp(Y2, first), X1) {
        Ok(()) => Ok(()),
        Err(_) => not_applicable("ports that the filter protects need no rest (REQ-8c)"),
    }
}

fn quarantine(behavior: &Arc<Behavior>) -> Outcome {
    needs_rest(behavior)?;
    require(!reused(behavior, UDP)?, || "a port had a new owner within 2 s of its mapping's end".to_owned())
}

fn rests_no_tcp(behavior: &Arc<Behavior>) -> Outcome {
    needs_rest(behavior)?;
    require(reused(behavior, TCP)?, || "they rest like any other, or nobody got them again".to_owned())
}

/// A subscriber takes what ports it can get, twice: the second time some of the first.
fn rests_no_static(behavior: &Arc<Behavior>) -> Outcome {
    needs_rest(behavior)?;
    let lived = lifetime_seconds(behavior, UDP, 7200);
    let mut bench = Bench::new(behavior);
    if !bench.is_planned() {
        return not_applicable("a choice that it does not make: no port is one subscriber's by arithmetic");
    }
    let take = |bench: &mut Bench| -> BTreeSet<SocketAddr> {
        let from = (0..20_000).map(|index| SocketAddr::new(X1.ip(), 1024 + index));
        from.map_while(|from| bench.send(udp(from, Y1)).ok()).collect()
    };
    let first = take(&mut bench);
    bench.wait_seconds(lived + 2);
    let again = take(&mut bench);
    require(!first.is_disjoint(&again), || "they rest like any other, or nobody got them again".to_owned())
}

fn rests_no_protected(behavior: &Arc<Behavior>) -> Outcome {
    if needs_rest(behavior).is_ok() {
        return not_applicable("its filter protects no port");
    }
    require(reused(behavior, UDP)?, || "they rest like any other, or nobody got them again".to_owned())
}

/// Set to a minute ports rest, and set to none, or for none, they do not.
fn configurable_rest(behavior: &Arc<Behavior>) -> Outcome {
    needs_rest(behavior)?;
    let rests = |time, most| {
        let configured = with(behavior, |it| (it.ports.quarantine, it.ports.quarantine_max) = (time, most));
        Ok::<bool, String>(!reused(&configured, UDP)?)
    };
    let minute = Duration::from_secs(60);
    require(rests(minute, None)?, || "set to rest for 60 s, a port was used again within 2 s".to_owned())?;
    // Where ports are kept, the one that is free again may be wanted by nobody.
    if rests(Duration::ZERO, None)? {
        return Ok(());
    }
    require(!rests(minute, Some(0))?, || "set to let no port rest, one did".to_owned())
}

fn listed(behavior: &Arc<Behavior>) -> Outcome {
    let mut bench = Bench::new(behavior);
    let external = bench.send(udp(X1, Y1))?;
    let list = bench.mappings();
    let found = list.iter().any(|mapping| mapping.internal.ip() == X1.ip() && mapping.external.ip() == external.ip());
    require(found, || format!("the mapping of {X1} to {external} was not in the list"))
}

fn dropped(behavior: &Arc<Behavior>) -> Outcome {
    let full = fill(behavior)?;
    require(full.refusal.is_some(), || format!("{} flows were let out by {} ports", full.opened, full.ports))
}

fn unreachable(behavior: &Arc<Behavior>) -> Outcome {
    let Some(refusal) = fill(behavior)?.refusal else { return not_applicable("no new flow was refused") };
    let right = refusal.answer == Some(Answer::Icmp(IcmpError::HostUnreachable));
    require(right, || "a flow that got no port was not answered by ICMP type 3 code 1".to_owned())
}

fn stolen(behavior: &Arc<Behavior>) -> Outcome {
    let full = fill(behavior)?;
    require(full.lost == 0, || {
        format!("{} of {} live sessions lost their external endpoint to others", full.lost, full.opened)
    })
}

/// The list of mappings stands for the log: what it holds of a mapping is what a line would.
fn destinations(behavior: &Arc<Behavior>) -> Outcome {
    let mut bench = Bench::new(behavior);
    bench.send(udp(X1, Y1))?;
    let named = bench.mappings().into_iter().find_map(|mapping| mapping.towards);
    require(named.is_none(), || {
        "a mapping cannot be told from others without its destination, which stands with it".to_owned()
    })
}

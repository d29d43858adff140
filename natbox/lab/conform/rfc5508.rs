//! RFC 5508 (ICMP).

use std::sync::Arc;
use std::time::Duration;

use natbox_nat::{Answer, Behavior};
use natbox_wire::{IcmpError, Protocol};

use super::Level::{May, Must, Recommended, Should};
use super::bench::Bench;
use super::exhaustion::fill;
use super::lifetimes::lifetime_seconds;
use super::packets::{X1, Y1, error, icmp, ping, pong};
use super::rfc4787::mapping;
use super::{
    Outcome, Requirement, configured, errors, hairpin, not_applicable, originated, require, row, violated, with,
};

const ICMP: Protocol = Protocol::Icmp;
const UDP: Protocol = Protocol::Udp;

pub(super) const REQUIREMENTS: &[Requirement] = &[
    row("RFC5508 REQ-1", Must, "echo queries pass, and their replies", UDP, echo),
    row("RFC5508 REQ-1a", Should, "endpoint-independent mapping of queries", ICMP, |it| mapping(it, ICMP)),
    row("RFC5508 REQ-2", Must, "query sessions live for 60 seconds", ICMP, lifetime),
    row("RFC5508 REQ-2a", Recommended, "their timer can be configured", ICMP, configurable_timer)
        .inherent(configured::OPTION),
    row("RFC5508 REQ-3", Should, "errors with a wrong checksum are dropped", UDP, errors::wrong_checksum),
    row("RFC5508 REQ-3a", Should, "so are errors that quote a packet with a wrong IP checksum", UDP, |it| {
        errors::wrong_quoted_checksum(it)
    }),
    row("RFC5508 REQ-3b", Must, "IP options in quoted packets are passed over", UDP, errors::options),
    row("RFC5508 REQ-3c", Should, "no quoted transport checksum is verified", UDP, errors::quoted_transport_checksum)
        .inherent("no option makes a NAT of natbox look at it"),
    row("RFC5508 REQ-3d", Must, "ICMP extensions are no part of the quoted packet", UDP, errors::extensions),
    row("RFC5508 REQ-4", Should, "inbound errors about no session are dropped", UDP, errors::inbound_strays)
        .inherent("an error of natbox's is translated by its session, or not at all"),
    row("RFC5508 REQ-4a", Must, "in inbound errors the quoted packet is translated back", UDP, errors::inbound),
    row("RFC5508 REQ-4b", Must, "their type and code are kept", UDP, errors::inbound_meaning),
    row("RFC5508 REQ-4c", Must, "they go to the sender of the quoted packet", UDP, errors::inbound_receiver),
    row("RFC5508 REQ-5", Should, "outbound errors about no session are dropped", UDP, errors::outbound_strays)
        .inherent("an error of natbox's is translated by its session, or not at all"),
    row("RFC5508 REQ-5a", Must, "in outbound errors the quoted packet is translated back", UDP, errors::outbound),
    row("RFC5508 REQ-5b", Must, "their type and code are kept", UDP, errors::outbound_meaning),
    row("RFC5508 REQ-5c", Must, "they show an external address as their source", UDP, errors::outbound_sender),
    row("RFC5508 REQ-6", Must, "errors neither refresh nor end query sessions", ICMP, refresh),
    row("RFC5508 REQ-7 (queries)", Must, "Basic NAT turns hairpinned queries round", ICMP, hairpin::queries),
    row("RFC5508 REQ-7 (errors)", Must, "hairpinned errors pass", UDP, hairpin::errors),
    row("RFC5508 REQ-7a", Must, "they go to the sender of the quoted packet", UDP, hairpin::errors_arrive),
    row("RFC5508 REQ-8", Should, "flows too many are prohibited by ICMP", UDP, exhausted),
    row("RFC5508 REQ-9", May, "ICMP errors of its own can be switched off", UDP, originated::silenced)
        .inherent(configured::OPTION),
    row("RFC5508 REQ-10a (1)", Must, "destination unreachable tells the next link's MTU", UDP, originated::next_mtu),
    row("RFC5508 REQ-10a (2)", Must, "time exceeded is sent, either way", UDP, originated::time_exceeded),
    row("RFC5508 REQ-10a (3)", Must, "echo passes as REQ-1 asks", UDP, echo),
    row("RFC5508 REQ-10b", May, "timestamp queries pass", ICMP, |it| other_query(it, 13, 12)),
    row("RFC5508 REQ-10c (1)", Should, "source quench does not pass", UDP, errors::source_quench)
        .inherent("no option lets it through"),
    row("RFC5508 REQ-10c (2)", Should, "information requests do not pass", ICMP, |it| {
        let passed = other_query(it, 15, 0).is_ok();
        require(!passed, || "an information request was forwarded".to_owned())
    }),
    row("RFC5508 REQ-10d", Recommended, "errors of its own have the DS field of what they are about", UDP, |it| {
        originated::ds_field(it)
    })
    .inherent("every ICMP error of natbox takes it from the offender"),
    row("RFC5508 REQ-10e", Recommended, "no errors about errors and later fragments", UDP, originated::unreported)
        .inherent("no packet of natbox's is made that must not be sent"),
    row("RFC5508 REQ-10f", Recommended, "the rate of its errors is limited", UDP, originated::limited)
        .inherent("every gateway has the limit of Linux"),
    row("RFC5508 REQ-11", May, "ICMP that is neither query nor error may be dropped", UDP, |it| {
        let passed = other_query(it, 40, 4).is_ok();
        require(!passed, || "it was forwarded".to_owned())
    }),
    row("RFC5508 7.3", Should, "no ICMP that asks for source routing passes, nor quotes it", UDP, |it| {
        errors::quoted_source_route(it)?;
        originated::source_route(it)
    })
    .inherent("nothing in natbox grants source routing"),
];

fn echo(behavior: &Arc<Behavior>) -> Outcome {
    let mut bench = Bench::new(behavior);
    let external = bench.send(ping(X1, Y1))?;
    Ok(bench.reaches(pong(Y1, external), X1)?)
}

fn lifetime(behavior: &Arc<Behavior>) -> Outcome {
    let lived = lifetime_seconds(behavior, ICMP, 600);
    require(lived >= 59, || format!("the reply to a query was let in for {lived} s and not for longer"))
}

fn configurable_timer(behavior: &Arc<Behavior>) -> Outcome {
    for seconds in [61, 200] {
        let lived = lifetime_seconds(
            &with(behavior, |it| (it.timeouts.icmp, it.timeouts.absolute) = (Duration::from_secs(seconds), None)),
            ICMP,
            600,
        );
        require(lived.abs_diff(seconds) <= 1, || format!("set to {seconds} s, the timer ran for {lived} s"))?;
    }
    Ok(())
}

/// A message of this type goes out.
fn other_query(behavior: &Arc<Behavior>, kind: u8, length: usize) -> Outcome {
    let rest = [&[0x12, 0x34, 0, 1], &vec![0; length][..]].concat();
    Bench::new(behavior).out(icmp(X1.ip(), Y1.ip(), kind, 0, &rest))?;
    Ok(())
}

/// An error at two thirds of a query session's life, which ends when it would have ended without.
fn refresh(behavior: &Arc<Behavior>) -> Outcome {
    let lived = lifetime_seconds(behavior, ICMP, 7200);
    for (silence, alive) in [(lived, true), (lived + 2, false)] {
        let mut bench = Bench::new(behavior);
        let sent = bench.out(ping(X1, Y1))?;
        bench.wait_seconds(lived * 2 / 3);
        bench.verdict_in(&mut error(Y1.ip(), &sent));
        bench.wait_seconds(silence - lived * 2 / 3);
        let there = bench.reaches(pong(Y1, sent.source_endpoint()), X1).is_ok();
        require(there == alive, || match alive {
            true => "an ICMP error ended a query session".to_owned(),
            false => "an ICMP error prolonged a query session".to_owned(),
        })?;
    }
    Ok(())
}

fn exhausted(behavior: &Arc<Behavior>) -> Outcome {
    let Some(refusal) = fill(behavior)?.refusal else { return not_applicable("no new flow was refused") };
    match refusal.answer {
        Some(Answer::Icmp(IcmpError::AdminProhibited)) => Ok(()),
        Some(_) => violated("a flow that got no port was answered otherwise than by ICMP type 3 code 13"),
        None => violated("a flow that got no port was dropped in silence"),
    }
}

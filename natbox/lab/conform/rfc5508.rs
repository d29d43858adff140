//! RFC 5508 (ICMP).

use std::sync::Arc;

use natbox_nat::{Answer, Behavior};
use natbox_wire::build::{self, IpFields};
use natbox_wire::{IcmpError, Packet, Protocol, checksum};

use super::bench::{Bench, ROUTER, X1, X2, Y1, Y2, error, fill, lifetime_seconds, ping, pong, udp};
use super::rfc4787::{gateway, mapping};
use super::{Level, Outcome, Requirement, not_applicable, require, row, violated};

const ICMP: Protocol = Protocol::Icmp;
const UDP: Protocol = Protocol::Udp;

pub(super) const REQUIREMENTS: &[Requirement] = &[
    row("RFC5508 REQ-1", Level::Must, "echo queries pass, and their replies", UDP, echo),
    row("RFC5508 REQ-1a", Level::Should, "endpoint-independent mapping of queries", ICMP, |it| mapping(it, ICMP)),
    row("RFC5508 REQ-2", Level::Must, "query sessions live for 60 seconds", ICMP, lifetime),
    row("RFC5508 REQ-3", Level::Should, "errors with wrong checksums are dropped", UDP, checksums),
    row("RFC5508 REQ-3b", Level::Must, "IP options in quoted packets are passed over", UDP, options),
    row("RFC5508 REQ-4", Level::Should, "inbound errors about no session are dropped", UDP, strays),
    row("RFC5508 REQ-4a", Level::Must, "inbound errors are translated, inside and out", UDP, inbound),
    row("RFC5508 REQ-5", Level::Must, "outbound errors are translated, inside and out", UDP, outbound),
    row("RFC5508 REQ-6", Level::Must, "errors neither refresh nor end query sessions", ICMP, refresh),
    row("RFC5508 REQ-7", Level::Must, "hairpinned errors pass", UDP, hairpinned),
    row("RFC5508 REQ-8", Level::Should, "flows too many are prohibited by ICMP", UDP, exhausted),
    row("RFC5508 REQ-8 (live)", Level::Must, "no live session is stolen", UDP, stolen),
    row("RFC5508 REQ-10a", Level::Must, "unreachable and time exceeded are originated", UDP, gateway),
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

/// A translated error shows its receiver what it sent.
fn shows(came: &Packet, sent: &Packet) -> Outcome {
    let quote = came.quoted().map(|quote| (quote.source, quote.destination));
    let right = Some((sent.source_endpoint(), sent.destination_endpoint()));
    require(quote == right, || match quote {
        Some((from, to)) => format!("an error quoted a packet from {from} to {to}, which its receiver had not sent"),
        None => "an error arrived without a quote".to_owned(),
    })?;
    let sound = came.transport_checksum_ok() && came.quoted_ip_checksum_ok();
    require(sound, || "a translated error had a wrong checksum".to_owned())
}

fn inbound(behavior: &Arc<Behavior>) -> Outcome {
    let mut bench = Bench::new(behavior);
    let sent = udp(X1, Y1);
    let outside = bench.out(sent.clone())?;
    let came = bench.deliver(error(Y1.ip(), &outside))?;
    shows(&came, &sent)?;
    let to = came.destination();
    require(to == X1.ip(), || format!("an error about a packet of {X1} went to {to}"))
}

fn outbound(behavior: &Arc<Behavior>) -> Outcome {
    let mut bench = Bench::new(behavior);
    let external = bench.send(udp(X1, Y1))?;
    let answer = udp(Y1, external);
    let inside = bench.deliver(answer.clone())?;
    let left = bench.out(error(X1.ip(), &inside))?;
    shows(&left, &answer)?;
    let from = left.source();
    require(from == external.ip(), || format!("an outbound error showed the source {from}, not {}", external.ip()))
}

/// An error that quotes these bytes.
fn quoting(to: &Packet, quote: &[u8]) -> Packet {
    let mut message = [&[3, 3, 0, 0, 0, 0, 0, 0], quote].concat();
    let sum = checksum::checksum(&message);
    message[2..4].copy_from_slice(&sum.to_be_bytes());
    build::ip(Y1.ip(), to.source(), 1, IpFields::default(), &message).expect("one version")
}

fn checksums(behavior: &Arc<Behavior>) -> Outcome {
    let mut bench = Bench::new(behavior);
    let sent = bench.out(udp(X1, Y1))?;
    let mut inner = sent.bytes().to_vec();
    inner[10] ^= 0xFF;
    let mut outer = error(Y1.ip(), &sent).into_bytes();
    *outer.last_mut().expect("bytes") ^= 1;
    let outer = Packet::parse(outer).map_err(|_| "no packet".to_owned())?;
    for (whose, spoilt) in [("ICMP", outer), ("quoted IP", quoting(&sent, &inner))] {
        let passed = bench.deliver(spoilt).is_ok();
        require(!passed, || format!("an error with a wrong {whose} checksum was forwarded"))?;
    }
    Ok(())
}

fn options(behavior: &Arc<Behavior>) -> Outcome {
    let mut bench = Bench::new(behavior);
    let sent = bench.out(udp(X1, Y1))?;
    let mut quote = sent.bytes().to_vec();
    quote.splice(20..20, [1; 4]);
    (quote[0], quote[3]) = (0x46, quote[3] + 4);
    quote[10..12].fill(0);
    let sum = checksum::checksum(&quote[..24]);
    quote[10..12].copy_from_slice(&sum.to_be_bytes());
    let came = bench.deliver(quoting(&sent, &quote))?;
    let source = came.quoted().map(|quote| quote.source);
    require(source == Some(X1), || "the ports behind IP options of a quoted packet were not translated".to_owned())
}

fn strays(behavior: &Arc<Behavior>) -> Outcome {
    let mut bench = Bench::new(behavior);
    let external = bench.send(udp(X1, Y1))?;
    let passed = bench.deliver(error(ROUTER, &udp(external, Y2))).is_ok();
    require(!passed, || "an error about a packet that nobody had sent was forwarded".to_owned())
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

fn hairpinned(behavior: &Arc<Behavior>) -> Outcome {
    let mut bench = Bench::new(behavior);
    let (first, second) = (bench.send(udp(X1, Y1))?, bench.send(udp(X2, Y1))?);
    // Both have sent to the other: no filter is in the way of the second packet.
    bench.turn(udp(X2, first)).ok();
    let sent = udp(X1, second);
    let Ok(came) = bench.turn(sent.clone()) else { return not_applicable("datagrams do not hairpin") };
    if came.source() == X1.ip() {
        return not_applicable("hairpinned packets show their internal source: errors about them go there directly");
    }
    let back = bench.turn(error(X2.ip(), &came))?;
    require(back.destination() == X1.ip(), || format!("a hairpinned error went to {}", back.destination()))?;
    shows(&back, &sent)
}

fn exhausted(behavior: &Arc<Behavior>) -> Outcome {
    let Some(refusal) = fill(behavior)?.refusal else { return not_applicable("no new flow was refused") };
    match refusal.answer {
        Some(Answer::Icmp(IcmpError::AdminProhibited)) => Ok(()),
        Some(_) => violated("a flow that got no port was answered otherwise than by ICMP type 3 code 13"),
        None => violated("a flow that got no port was dropped in silence"),
    }
}

pub(super) fn stolen(behavior: &Arc<Behavior>) -> Outcome {
    let lost = fill(behavior)?.lost;
    require(lost == 0, || format!("{lost} of 1000 live sessions lost their external endpoint to others"))
}

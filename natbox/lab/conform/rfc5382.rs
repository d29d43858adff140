//! RFC 5382 (TCP).

use std::sync::Arc;
use std::time::Duration;

use natbox_nat::Behavior;
use natbox_nat::behavior::Switch;
use natbox_wire::{IcmpError, Protocol, Transport, build};

use super::Level::{May, Must, Recommended, Should};
use super::bench::Bench;
use super::packets::{ACK, FIN, SYN, SYN_ACK, X1, Y1, endpoint, tcp};
use super::rfc4787::{filtering, mapping, overloading};
use super::rig::Rig;
use super::{Outcome, Requirement, configured, errors, hairpin, require, row, violated, with};

const TCP: Protocol = Protocol::Tcp;

pub(super) const REQUIREMENTS: &[Requirement] = &[
    row("RFC5382 REQ-1", Must, "endpoint-independent mapping", TCP, |it| mapping(it, TCP)),
    row("RFC5382 REQ-2", Must, "every valid sequence of segments passes", TCP, super::tcp::sequences),
    row("RFC5382 REQ-2a", Must, "a simultaneous open passes", TCP, super::tcp::simultaneous_open),
    row("RFC5382 REQ-3", Recommended, "endpoint-independent or address-dependent filtering", TCP, |it| {
        filtering(it, TCP)
    }),
    row("RFC5382 REQ-3a", May, "filtering can be configured", TCP, |it| configured::filtering(it, TCP))
        .inherent(configured::OPTION),
    row("RFC5382 REQ-3b", May, "and for TCP apart from UDP", TCP, configured::filtering_apart)
        .inherent(configured::OPTION),
    row("RFC5382 REQ-4", Must, "nobody is told of an unsolicited SYN for six seconds", TCP, super::tcp::unsolicited),
    row("RFC5382 REQ-4 (crossed)", Must, "nor at all, where a SYN from inside crosses it", TCP, |it| {
        super::tcp::silenced_by_crossing(it)
    }),
    row("RFC5382 REQ-4 (told)", Should, "after that its sender is told: ICMP port unreachable", TCP, told),
    row("RFC5382 REQ-4a", Must, "nobody is told where policy forbids it", TCP, silent),
    row("RFC5382 REQ-5", Must, "established connections live for 2 h 4 min", TCP, established),
    row("RFC5382 REQ-5 (transitory)", Must, "those being opened or closed live for 4 min", TCP, transitory),
    row("RFC5382 REQ-5a", May, "the timers can be configured", TCP, configured::idle_timeouts)
        .inherent(configured::OPTION),
    row("RFC5382 REQ-6", Recommended, "ALGs are off, but for FTP's", TCP, payload),
    row("RFC5382 REQ-7", Must, "no port overloading", TCP, |it| overloading(it, TCP)),
    row("RFC5382 REQ-8", Must, "hairpinning", TCP, |it| hairpin::packets(it, TCP, false)),
    row("RFC5382 REQ-8a", Must, "hairpinned segments show their external source", TCP, |it| {
        hairpin::packets(it, TCP, true)
    }),
    row("RFC5382 REQ-9", Should, "ICMP destination unreachable is translated", TCP, |it| {
        errors::unreachable_of(it, TCP)
    }),
    row("RFC5382 REQ-10", Must, "ICMP errors end no mapping or connection", TCP, |it| errors::survived(it, TCP)),
];

/// A SYN from outside to a port that nobody has, and a minute's wait: what its sender was told, and when.
fn unsolicited(behavior: &Arc<Behavior>) -> Result<Option<(Duration, Transport)>, String> {
    let external = Bench::new(behavior).send(tcp(X1, Y1, SYN))?;
    let mut rig = Rig::new(behavior, 1500);
    let id = rig.inject(Y1, tcp(Y1, external, SYN).into_bytes());
    rig.wait(Duration::from_secs(60));
    Ok(rig.answer(id).map(|(after, packet)| (after, packet.transport())))
}

fn told(behavior: &Arc<Behavior>) -> Outcome {
    match unsolicited(behavior)? {
        None => violated("the sender of an unsolicited SYN was never told"),
        Some((_, Transport::IcmpError(IcmpError::PortUnreachable))) => Ok(()),
        Some((after, Transport::Tcp { .. })) => violated(format!("its sender got a RST instead, after {after:?}")),
        Some((after, other)) => violated(format!("its sender was told otherwise after {after:?}: {other:?}")),
    }
}

/// With a policy that says nothing to anybody.
fn silent(behavior: &Arc<Behavior>) -> Outcome {
    let told = unsolicited(&with(behavior, |it| it.icmp_originate = Switch::Off))?;
    require(told.is_none(), || "a box that is to send no errors answered an unsolicited SYN all the same".to_owned())
}

fn established(behavior: &Arc<Behavior>) -> Outcome {
    let mut bench = Bench::new(behavior);
    let external = bench.open(TCP, X1, Y1)?;
    bench.wait_seconds(7439);
    bench
        .reaches(tcp(Y1, external, ACK), X1)
        .or_else(|observed| violated(format!("7439 s after an established connection's last segment, {observed}")))
}

/// A connection that is being opened, and one that is being closed, each silent for just less than the RFC gives it.
fn transitory(behavior: &Arc<Behavior>) -> Outcome {
    let mut bench = Bench::new(behavior);
    let external = bench.send(tcp(X1, Y1, SYN))?;
    bench.wait_seconds(239);
    bench
        .reaches(tcp(Y1, external, SYN_ACK), X1)
        .or_else(|observed| violated(format!("239 s after a connection's first SYN, {observed}")))?;
    let mut bench = Bench::new(behavior);
    let external = bench.open(TCP, X1, Y1)?;
    bench.send(tcp(X1, Y1, FIN))?;
    bench.reaches(tcp(Y1, external, FIN), X1)?;
    bench.wait_seconds(239);
    bench
        .reaches(tcp(Y1, external, FIN), X1)
        .or_else(|observed| violated(format!("239 s after FINs both ways, {observed}")))
}

/// A segment to a port of no well-known application, with the sender's address in it.
fn payload(behavior: &Arc<Behavior>) -> Outcome {
    let text = b"c=IN IP4 10.0.0.2\r\n\x0a\x00\x00\x02\x13\x88";
    for remote in [443, 5060] {
        let to = endpoint([192, 0, 2, 1], remote);
        let mut bench = Bench::new(behavior);
        if bench.open(TCP, X1, to).is_err() {
            continue;
        }
        let segment = build::tcp(X1, to, Default::default(), ACK, 8, 8, 1000, text).ok_or("no segment".to_owned())?;
        let sent = bench.out(segment)?;
        require(sent.payload() == text, || format!("the payload of a segment to port {remote} was rewritten"))?;
    }
    Ok(())
}

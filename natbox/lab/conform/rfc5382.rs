//! RFC 5382 (TCP).

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use natbox_nat::{Answer, Behavior, Output, Refusal, Verdict};
use natbox_wire::{IcmpError, Packet, Protocol, Time, build};

use super::bench::{ACK, Bench, FIN, ROUTER, SYN, SYN_ACK, X1, Y1, Y2, endpoint, tcp};
use super::rfc4787::{hairpin, mapping, overloading, survives_errors};
use super::{Level, Outcome, Requirement, not_applicable, require, row, violated};

const TCP: Protocol = Protocol::Tcp;

pub(super) const REQUIREMENTS: &[Requirement] = &[
    row("RFC5382 REQ-1", Level::Must, "endpoint-independent mapping", TCP, |it| mapping(it, TCP)),
    row("RFC5382 REQ-2", Level::Must, "every valid sequence of segments passes", TCP, sequences),
    row("RFC5382 REQ-2a", Level::Must, "a simultaneous open passes", TCP, simultaneous_open),
    row("RFC5382 REQ-4", Level::Must, "nobody is told of an unsolicited SYN for six seconds", TCP, unsolicited),
    row("RFC5382 REQ-5", Level::Must, "established connections live for 2 h 4 min, others for 4 min", TCP, timeouts),
    row("RFC5382 REQ-6", Level::Should, "ALGs are off", TCP, payload),
    row("RFC5382 REQ-7", Level::Must, "no port overloading", TCP, |it| overloading(it, TCP)),
    row("RFC5382 REQ-8", Level::Must, "hairpinning", TCP, |it| hairpin(it, TCP, false)),
    row("RFC5382 REQ-8a", Level::Must, "hairpinned segments show their external source", TCP, |it| {
        hairpin(it, TCP, true)
    }),
    row("RFC5382 REQ-9", Level::Should, "ICMP destination unreachable is translated", TCP, errors),
    row("RFC5382 REQ-10", Level::Must, "ICMP errors end no mapping or connection", TCP, |it| survives_errors(it, TCP)),
];

/// Opening, both kinds of half-close, and the last ACK; and a connection whose SYN is repeated.
fn sequences(behavior: &Arc<Behavior>) -> Outcome {
    for inside_first in [true, false] {
        let mut bench = Bench::new(behavior);
        let external = bench.open(TCP, X1, Y1)?;
        let mut step = |out: bool, flags| match out {
            true => bench.out(tcp(X1, Y1, flags)).map(|_| ()),
            false => bench.reaches(tcp(Y1, external, flags), X1),
        };
        let closing = [(inside_first, FIN), (!inside_first, ACK), (!inside_first, ACK), (inside_first, ACK)];
        for (out, flags) in [(true, ACK), (false, ACK)].into_iter().chain(closing) {
            step(out, flags)?;
        }
        step(!inside_first, FIN)?;
        step(inside_first, ACK)?;
    }
    Ok(())
}

fn simultaneous_open(behavior: &Arc<Behavior>) -> Outcome {
    let mut bench = Bench::new(behavior);
    let external = bench.send(tcp(X1, Y1, SYN))?;
    bench.reaches(tcp(Y1, external, SYN), X1)?;
    let answered = bench.send(tcp(X1, Y1, SYN_ACK))?;
    require(answered == external, || format!("the SYN left from {external}, and the SYN/ACK from {answered}"))?;
    Ok(bench.reaches(tcp(Y1, external, SYN_ACK), X1)?)
}

/// When the sender of an unsolicited SYN is told, where it is; in a second run a SYN crosses it.
fn told(bench: &mut Bench, to: SocketAddr) -> Option<Time> {
    if let Verdict::Drop(Refusal { answer: Some(_), .. }) = bench.verdict_in(&mut tcp(Y2, to, SYN)) {
        return Some(Time::ZERO);
    }
    None
}

fn unsolicited(behavior: &Arc<Behavior>) -> Outcome {
    // A port that nobody has.
    let external = Bench::new(behavior).send(tcp(X1, Y1, SYN))?;
    let mut bench = Bench::new(behavior);
    if told(&mut bench, external).is_some() {
        return violated("the sender of an unsolicited SYN was answered at once");
    }
    bench.wait(Duration::from_secs(60));
    let early = bench.later().into_iter().find(|later| {
        let is_answer = matches!(&later.output, Output::Discard { refusal, .. } if refusal.answer.is_some());
        is_answer && later.at < Time::ZERO + Duration::from_secs(6)
    });
    if let Some(early) = early {
        return violated(format!("the sender of an unsolicited SYN was answered after {:?}", early.at));
    }
    crossed(behavior)
}

/// A SYN that leaves in time silences the answer.
fn crossed(behavior: &Arc<Behavior>) -> Outcome {
    let mut bench = Bench::new(behavior);
    let external = bench.send(tcp(X1, Y1, SYN))?;
    let mut early = tcp(Y2, external, SYN);
    if matches!(bench.verdict_in(&mut early), Verdict::Forward(_)) {
        return Ok(());
    }
    bench.wait(Duration::from_secs(3));
    bench.send(tcp(X1, Y2, SYN))?;
    bench.wait(Duration::from_secs(60));
    let answered = |output: &Output| {
        matches!(output, Output::Discard { refusal: Refusal { answer: Some(Answer::Icmp(_) | Answer::Reset), .. }, .. })
    };
    let silent = bench.later().iter().all(|later| !answered(&later.output));
    require(silent, || "the sender of a SYN was answered though a SYN had crossed it".to_owned())
}

/// Three connections, each silent for just less than the RFC gives it.
fn timeouts(behavior: &Arc<Behavior>) -> Outcome {
    let mut bench = Bench::new(behavior);
    let external = bench.open(TCP, X1, Y1)?;
    bench.wait_seconds(7439);
    bench
        .reaches(tcp(Y1, external, ACK), X1)
        .or_else(|observed| violated(format!("7439 s after an established connection's last segment, {observed}")))?;
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
        let segment = build::tcp(X1, to, Default::default(), ACK, 8, 8, 1000, text).expect("one version");
        let sent = bench.out(segment)?;
        require(sent.payload() == text, || format!("the payload of a segment to port {remote} was rewritten"))?;
    }
    Ok(())
}

/// Fragmentation needed, about a SYN.
fn errors(behavior: &Arc<Behavior>) -> Outcome {
    let mut bench = Bench::new(behavior);
    let sent: Packet = bench.out(tcp(X1, Y1, SYN))?;
    let about = IcmpError::PacketTooBig { mtu: 1280 };
    let Some(error) = build::icmp_error(about, ROUTER, &sent) else { return not_applicable("nobody may answer it") };
    let came = match bench.deliver(error.clone()) {
        Ok(came) => came,
        // One from the peer itself may be let in where a router's is not (RFC 4787 REQ-12a).
        Err(_) => bench.deliver(build::icmp_error(about, Y1.ip(), &sent).expect("as above"))?,
    };
    let quote = came.quoted().map(|quote| quote.source);
    require(quote == Some(X1), || format!("an ICMP error reached its receiver quoting the source {quote:?}, not {X1}"))
}

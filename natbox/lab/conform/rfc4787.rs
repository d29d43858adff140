//! RFC 4787 (UDP).

use std::sync::Arc;
use std::time::Duration;

use natbox_nat::{Behavior, Output, Verdict};
use natbox_wire::build::{self, IpFields};
use natbox_wire::{Packet, Protocol};

use super::bench::{
    Bench, ROUTER, X1, X2, Y1, Y1_OTHER_PORT, Y2, endpoint, error, host, lifetime_seconds, opener, udp,
};
use super::{Level, Outcome, Requirement, not_applicable, require, row, violated};

const UDP: Protocol = Protocol::Udp;

pub(super) const REQUIREMENTS: &[Requirement] = &[
    row("RFC4787 REQ-1", Level::Must, "endpoint-independent mapping", UDP, |it| mapping(it, UDP)),
    row("RFC4787 REQ-2", Level::Should, "paired address pooling", UDP, pooling),
    row("RFC4787 REQ-3", Level::Must, "no port overloading", UDP, |it| overloading(it, UDP)),
    row("RFC4787 REQ-3a", Level::Should, "system ports for system ports, others for others", UDP, class),
    row("RFC4787 REQ-4", Level::May, "port parity is preserved (optional since RFC 7857 section 8)", UDP, parity),
    row("RFC4787 REQ-5", Level::Must, "mappings outlive two minutes of silence", UDP, |it| silence(it, 119_900)),
    row("RFC4787 REQ-5c", Level::Should, "mappings live for five minutes by default", UDP, |it| silence(it, 299_900)),
    row("RFC4787 REQ-6", Level::Must, "outbound packets refresh mappings", UDP, refresh),
    row("RFC4787 REQ-7", Level::Must, "overlapping realms", UDP, gateway),
    row("RFC4787 REQ-8", Level::Should, "who has been sent to may answer", UDP, |it| filtering(it, UDP)),
    row("RFC4787 REQ-9", Level::Must, "hairpinning", UDP, |it| hairpin(it, UDP, false)),
    row("RFC4787 REQ-9a", Level::Must, "hairpinned packets show their external source", UDP, |it| {
        hairpin(it, UDP, true)
    }),
    row("RFC4787 REQ-10", Level::Should, "ALGs are off", UDP, payload),
    row("RFC4787 REQ-11", Level::Must, "deterministic behaviour", UDP, deterministic),
    row("RFC4787 REQ-12", Level::Must, "ICMP errors end no mapping", UDP, |it| survives_errors(it, UDP)),
    row("RFC4787 REQ-12a", Level::Should, "ICMP errors of any source pass", UDP, errors_pass),
    row("RFC4787 REQ-13", Level::Must, "packets too big are reported", UDP, gateway),
    row("RFC4787 REQ-14", Level::Must, "fragments pass in any order", UDP, fragments),
    row("RFC4787 REQ-14a", Level::Must, "a flood of fragments hurts no other traffic", UDP, flood),
];

pub(super) fn gateway(_: &Arc<Behavior>) -> Outcome {
    not_applicable("it is the gateway's and its links', and not judged by this command")
}

/// One external endpoint towards three remotes.
pub(super) fn mapping(behavior: &Arc<Behavior>, protocol: Protocol) -> Outcome {
    let mut bench = Bench::new(behavior);
    let first = bench.send(opener(protocol, X1, Y1))?;
    for remote in [Y1_OTHER_PORT, Y2] {
        let other = match bench.send(opener(protocol, X1, remote)) {
            Ok(other) => other,
            // A port that policy lets nobody speak to says nothing of mapping.
            Err(_) if remote == Y1_OTHER_PORT => continue,
            Err(observed) => return violated(observed),
        };
        require(other == first, || format!("{X1} was {first} towards {Y1} and {other} towards {remote}"))?;
    }
    Ok(())
}

fn pooling(behavior: &Arc<Behavior>) -> Outcome {
    let mut bench = Bench::pool(behavior);
    let first = bench.send(udp(host(1, 5000), Y1))?.ip();
    for (turn, port) in (5001..5020).enumerate() {
        let remote = endpoint([192, 0, 2, 1 + turn as u8], 443);
        let other = bench.send(udp(host(1, port), remote))?.ip();
        require(other == first, || format!("one host had the external addresses {first} and {other}"))?;
    }
    Ok(())
}

/// Two hosts on one port towards one remote have two endpoints, and each gets its own answers.
pub(super) fn overloading(behavior: &Arc<Behavior>, protocol: Protocol) -> Outcome {
    let mut bench = Bench::new(behavior);
    let first = bench.send(opener(protocol, X1, Y1))?;
    // Whom it refuses has no port to share.
    let Ok(second) = bench.send(opener(protocol, X2, Y1)) else { return Ok(()) };
    require(first != second, || format!("{X1} and {X2} both were {first} towards {Y1}"))?;
    bench.reaches(super::bench::answer(protocol, Y1, first), X1)?;
    bench.reaches(super::bench::answer(protocol, Y1, second), X2)?;
    Ok(())
}

fn class(behavior: &Arc<Behavior>) -> Outcome {
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

fn parity(behavior: &Arc<Behavior>) -> Outcome {
    let mut bench = Bench::new(behavior);
    for port in 5000..5040 {
        let external = bench.send(udp(host(1, port), Y1))?.port();
        require(port % 2 == external % 2, || format!("internal port {port} had external port {external}"))?;
    }
    Ok(())
}

/// A permitted packet comes in after this silence.
fn silence(behavior: &Arc<Behavior>, milliseconds: u64) -> Outcome {
    let mut bench = Bench::new(behavior);
    let external = bench.send(udp(X1, Y1))?;
    bench.wait(Duration::from_millis(milliseconds));
    bench.reaches(udp(Y1, external), X1).or_else(|_| {
        let lived = lifetime_seconds(behavior, UDP, milliseconds / 1000 + 1);
        violated(format!("a mapping whose host was silent had gone after about {} s", lived + 1))
    })
}

/// A packet every half lifetime, for five lifetimes; after each of them, in a run of its own, three quarters of a lifetime
/// of silence. A packet from outside comes last only: it might refresh the mapping itself.
fn refresh(behavior: &Arc<Behavior>) -> Outcome {
    let lifetime = lifetime_seconds(behavior, UDP, 7200).max(4);
    for packets in 1..=10 {
        let mut bench = Bench::new(behavior);
        let first = bench.send(udp(X1, Y1))?;
        let mut same = true;
        for _ in 0..packets {
            bench.wait_seconds(lifetime / 2);
            same &= bench.send(udp(X1, Y1))? == first;
        }
        bench.wait_seconds(lifetime * 3 / 4);
        let alive = same && bench.reaches(udp(Y1, first), X1).is_ok();
        let after = packets * (lifetime / 2) + lifetime * 3 / 4;
        require(alive, || {
            format!("a mapping had gone after {after} s, though its host had sent every {} s", lifetime / 2)
        })?;
    }
    Ok(())
}

/// RFC 4787 recommends endpoint-independent or address-dependent filtering; address and port-dependent filtering complies.
pub(super) fn filtering(behavior: &Arc<Behavior>, protocol: Protocol) -> Outcome {
    let mut bench = Bench::new(behavior);
    let external = bench.send(opener(protocol, X1, Y1))?;
    Ok(bench.reaches(super::bench::answer(protocol, Y1, external), X1)?)
}

/// A packet from inside to an external endpoint comes back in; and as `source` asks, from its sender's external endpoint.
pub(super) fn hairpin(behavior: &Arc<Behavior>, protocol: Protocol, source: bool) -> Outcome {
    let mut bench = Bench::new(behavior);
    let (first, second) = (bench.send(opener(protocol, X1, Y1))?, bench.send(opener(protocol, X2, Y1))?);
    // The first packet one way may be filtered, as from outside, and opens the way back; each NAT has a second chance.
    let mut tried = [(X1, first, X2, second), (X2, second, X1, first)].into_iter().map(|(from, own, to, external)| {
        bench.turn(opener(protocol, from, external)).map(|came| (from, own, to, came))
    });
    let came = tried.by_ref().find_map(Result::ok);
    let Some((from, own, to, packet)) = came else {
        let last = bench.turn(opener(protocol, X1, second)).err().unwrap_or_default();
        return if source { not_applicable("nothing hairpins") } else { violated(last) };
    };
    let (showed, got) = (packet.source_endpoint(), packet.destination_endpoint());
    require(got == to, || format!("a packet to {to} by its external endpoint reached {got}"))?;
    // Endpoint-independent mapping or not: the external address at least is what the outside sees.
    let hidden = showed == own || (showed.ip() == own.ip() && showed != from);
    require(!source || hidden, || format!("a hairpinned packet of {from} showed the source {showed}, not {own}"))
}

/// Payloads that hold the sender's address in text and in network order.
fn payload(behavior: &Arc<Behavior>) -> Outcome {
    let sip =
        b"REGISTER sip:192.0.2.1 SIP/2.0\r\nVia: SIP/2.0/UDP 10.0.0.2:5060;branch=z9hG4bK1\r\nMax-Forwards: 70\r\n\
                From: <sip:a@192.0.2.1>;tag=1\r\nTo: <sip:a@192.0.2.1>\r\nCall-ID: 1@10.0.0.2\r\nCSeq: 1 REGISTER\r\n\
                Contact: <sip:a@10.0.0.2:5060>\r\nContent-Length: 0\r\n\r\n";
    let binary = b"c=IN IP4 10.0.0.2\r\n\x0a\x00\x00\x02\x13\x88";
    for (port, remote, text) in [(5060, 5060, &sip[..]), (5000, 443, &binary[..]), (5000, 3478, &binary[..])] {
        let (from, to) = (endpoint([10, 0, 0, 2], port), endpoint([192, 0, 2, 1], remote));
        let packet = build::udp(from, to, IpFields::default(), text).expect("one version");
        // What policy does not let out is not rewritten.
        let Ok(sent) = Bench::new(behavior).out(packet) else { continue };
        require(sent.payload() == text, || format!("the payload of a datagram to port {remote} was rewritten"))?;
    }
    Ok(())
}

/// Mapping and filtering of one host as it sees them: whether its endpoint is the same towards another remote, and whether
/// that and a stranger's port get in.
fn class_of(bench: &mut Bench, from: std::net::SocketAddr) -> Result<[bool; 3], String> {
    let external = bench.send(udp(from, Y1))?;
    let strangers = [Y2, endpoint([192, 0, 2, 1], 81)].map(|remote| bench.reaches(udp(remote, external), from).is_ok());
    let other = bench.send(udp(from, endpoint([192, 0, 2, 3], 443)))?;
    Ok([external == other, strangers[0], strangers[1]])
}

fn deterministic(behavior: &Arc<Behavior>) -> Outcome {
    let mut bench = Bench::new(behavior);
    let first = class_of(&mut bench, host(1, 5000))?;
    for number in [2, 3] {
        let other = match class_of(&mut bench, host(number, 5000)) {
            Ok(other) => other,
            Err(observed) => {
                return violated(format!("the first host on a port got through, and the next did not: {observed}"));
            }
        };
        require(other == first, || {
            format!("host {number} on one port had another mapping or filtering behaviour than the first")
        })?;
    }
    Ok(())
}

/// An ICMP error about a flow, and then the flow goes on.
pub(super) fn survives_errors(behavior: &Arc<Behavior>, protocol: Protocol) -> Outcome {
    let mut bench = Bench::new(behavior);
    let sent = bench.out(opener(protocol, X1, Y1))?;
    let external = sent.source_endpoint();
    for from in [Y1.ip(), ROUTER] {
        bench.verdict_in(&mut error(from, &sent));
    }
    let went = bench.reaches(super::bench::answer(protocol, Y1, external), X1);
    went.or_else(|observed| violated(format!("after an ICMP error about the flow, {observed}")))
}

fn errors_pass(behavior: &Arc<Behavior>) -> Outcome {
    let mut bench = Bench::new(behavior);
    let sent = bench.out(udp(X1, Y1))?;
    if bench.deliver(error(Y1.ip(), &sent)).is_err() {
        return not_applicable("no ICMP error passes at all");
    }
    bench.deliver(error(ROUTER, &sent))?;
    Ok(())
}

/// A datagram of this many bytes, in three fragments for 3,000.
fn pieces(to: std::net::SocketAddr, from: std::net::SocketAddr, identification: u16, length: usize) -> Vec<Packet> {
    let fields = IpFields { identification, ..IpFields::default() };
    let whole = build::udp(from, to, fields, &vec![7; length]).expect("one version");
    build::fragments(whole, 1500.min(length / 2 + 300), u32::from(identification)).expect("it may be cut")
}

/// How many bytes behind the IP header came in, of these fragments.
fn arrived(bench: &mut Bench, pieces: impl IntoIterator<Item = Packet>) -> usize {
    let length = |packet: &Packet| packet.ip_payload().len();
    let mut bytes = 0;
    for mut piece in pieces {
        if matches!(bench.verdict_in(&mut piece), Verdict::Forward(_)) {
            bytes += length(&piece);
        }
        for later in bench.later() {
            if let Output::Release { packet, .. } = &later.output {
                bytes += length(packet);
            }
        }
    }
    bytes
}

fn fragments(behavior: &Arc<Behavior>) -> Outcome {
    for order in [[0, 1, 2], [0, 2, 1], [1, 0, 2], [1, 2, 0], [2, 0, 1], [2, 1, 0]] {
        let mut bench = Bench::new(behavior);
        let external = bench.send(udp(X1, Y1))?;
        let pieces = pieces(external, Y1, 7, 3000);
        let bytes = arrived(&mut bench, order.map(|index| pieces[index].clone()));
        require(bytes >= 3008, || {
            format!("of a datagram whose fragments came in the order {order:?}, {bytes} of 3008 bytes passed")
        })?;
    }
    Ok(())
}

/// Later fragments of 5,000 datagrams, none with a first.
fn flood(behavior: &Arc<Behavior>) -> Outcome {
    let mut bench = Bench::new(behavior);
    let external = bench.send(udp(X1, Y1))?;
    bench.send(udp(X1, Y2))?;
    for identification in 0..5000 {
        let last = pieces(external, Y2, identification, 1400).pop().expect("a fragment");
        arrived(&mut bench, [last]);
    }
    bench.reaches(udp(Y1, external), X1).map_err(|observed| format!("under a flood of fragments, {observed}"))?;
    if arrived(&mut bench, pieces(external, Y1, 9000, 3000)) >= 3008 {
        return Ok(());
    }
    let mut calm = Bench::new(behavior);
    let external = calm.send(udp(X1, Y1))?;
    match arrived(&mut calm, pieces(external, Y1, 1, 3000)) {
        3008.. => violated("under a flood of fragments, fragments in order did not pass"),
        _ => not_applicable("no fragments pass, flood or none"),
    }
}

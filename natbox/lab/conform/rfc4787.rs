//! RFC 4787 (UDP).

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use natbox_nat::Behavior;
use natbox_nat::behavior::{Filtering, Timeouts};
use natbox_wire::Protocol;
use natbox_wire::build::{self, IpFields};

use super::Level::{May, Must, Recommended, Should};
use super::bench::Bench;
use super::lifetimes::{lifetime_seconds, lifetime_towards, prolongs};
use super::packets::{X1, X2, Y1, Y1_OTHER_PORT, Y2, answer, endpoint, host, opener, udp};
use super::{
    Outcome, Requirement, configured, errors, fragments, hairpin, not_applicable, originated, ports, require, row,
    violated, with,
};

const UDP: Protocol = Protocol::Udp;

pub(super) const REQUIREMENTS: &[Requirement] = &[
    row("RFC4787 REQ-1", Must, "endpoint-independent mapping", UDP, |it| mapping(it, UDP)),
    row("RFC4787 REQ-2", Recommended, "paired address pooling", UDP, ports::pooling),
    row("RFC4787 REQ-3", Must, "no port overloading", UDP, |it| overloading(it, UDP)),
    row("RFC4787 REQ-3a", Recommended, "system ports for system ports, others for others", UDP, ports::class),
    // RFC 7857 section 8 turns the recommendation into a choice.
    row("RFC4787 REQ-4", May, "port parity is preserved (a choice since RFC 7857 section 8)", UDP, ports::parity),
    row("RFC4787 REQ-5", Must, "mappings outlive two minutes of silence", UDP, |it| silence(it, 119_900)),
    row("RFC4787 REQ-5a", May, "shorter timers for destination ports 0-1023", UDP, shorter_for_known_ports),
    row("RFC4787 REQ-5b", May, "the timer can be configured", UDP, configurable_timer).inherent(configured::OPTION),
    row("RFC4787 REQ-5c", Recommended, "mappings live for five minutes by default", UDP, |it| silence(it, 299_900)),
    row("RFC4787 REQ-6", Must, "outbound packets refresh mappings", UDP, refresh),
    row("RFC4787 REQ-6a", May, "inbound packets refresh mappings, too", UDP, inbound_refresh),
    row("RFC4787 REQ-7", Must, "an inside and an outside of one prefix both work", UDP, originated::overlapping_realms),
    row("RFC4787 REQ-8", Recommended, "endpoint-independent or address-dependent filtering", UDP, |it| {
        filtering(it, UDP)
    }),
    row("RFC4787 REQ-8a", May, "filtering can be configured", UDP, |it| configured::filtering(it, UDP))
        .inherent(configured::OPTION),
    row("RFC4787 REQ-9", Must, "hairpinning", UDP, |it| hairpin::packets(it, UDP, false)),
    row("RFC4787 REQ-9a", Must, "hairpinned packets show their external source", UDP, |it| {
        hairpin::packets(it, UDP, true)
    }),
    row("RFC4787 REQ-10", Should, "ALGs are off", UDP, payload),
    row("RFC4787 REQ-10a", Recommended, "each ALG can be switched alone", UDP, configured::algs)
        .inherent(configured::OPTION),
    row("RFC4787 REQ-11", Must, "deterministic behaviour", UDP, deterministic),
    row("RFC4787 REQ-12", Must, "ICMP errors end no mapping", UDP, |it| errors::survived(it, UDP)),
    row("RFC4787 REQ-12a", Should, "ICMP errors of any source pass", UDP, errors::of_any_source),
    row("RFC4787 REQ-12b", Recommended, "ICMP destination unreachable passes", UDP, errors::unreachable),
    row("RFC4787 REQ-13", Must, "packets too big, DF set, are dropped and reported", UDP, originated::too_big),
    row("RFC4787 REQ-13a", Must, "packets too big, DF not set, are fragmented", UDP, |it| fragments::cut(it, false))
        .inherent("every gateway of natbox cuts what may be cut"),
    row("RFC4787 REQ-13a (order)", Should, "and their fragments are sent in order", UDP, |it| fragments::cut(it, true))
        .inherent("every gateway of natbox sends them in order"),
    row("RFC4787 REQ-14", Must, "fragments pass in any order", UDP, fragments::any_order),
    row("RFC4787 REQ-14a", Must, "a flood of fragments hurts no other traffic", UDP, fragments::flood)
        .inherent("fragments without a first displace one another alone, whatever the limits"),
];

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

/// Two hosts on one port towards one remote have two endpoints, and each gets its own answers.
pub(super) fn overloading(behavior: &Arc<Behavior>, protocol: Protocol) -> Outcome {
    let mut bench = Bench::new(behavior);
    let first = bench.send(opener(protocol, X1, Y1))?;
    // Whom it refuses has no port to share.
    let Ok(second) = bench.send(opener(protocol, X2, Y1)) else { return Ok(()) };
    require(first != second, || format!("{X1} and {X2} both were {first} towards {Y1}"))?;
    bench.reaches(answer(protocol, Y1, first), X1)?;
    bench.reaches(answer(protocol, Y1, second), X2)?;
    Ok(())
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

/// A request that names its sender in text.
pub(super) const SIP: &[u8] =
    b"REGISTER sip:192.0.2.1 SIP/2.0\r\nVia: SIP/2.0/UDP 10.0.0.2:5060;branch=z9hG4bK1\r\nMax-Forwards: 70\r\n\
      From: <sip:a@192.0.2.1>;tag=1\r\nTo: <sip:a@192.0.2.1>\r\nCall-ID: 1@10.0.0.2\r\nCSeq: 1 REGISTER\r\n\
      Contact: <sip:a@10.0.0.2:5060>\r\nContent-Length: 0\r\n\r\n";

/// Payloads that hold the sender's address in text and in network order.
fn payload(behavior: &Arc<Behavior>) -> Outcome {
    let binary = b"c=IN IP4 10.0.0.2\r\n\x0a\x00\x00\x02\x13\x88";
    for (port, remote, text) in [(5060, 5060, SIP), (5000, 443, &binary[..]), (5000, 3478, &binary[..])] {
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
fn class_of(bench: &mut Bench, from: SocketAddr) -> Result<[bool; 3], String> {
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

/// Where a flow's timer is asked for: towards ports of no known application, or where policy lets none out, a known one.
fn remotes(behavior: &Arc<Behavior>) -> Vec<SocketAddr> {
    let unknown = [40_000, 1024, 3478, 5060].map(|port| SocketAddr::new(Y1.ip(), port));
    let out = unknown.into_iter().filter(|to| Bench::new(behavior).send(udp(X1, *to)).is_ok()).collect::<Vec<_>>();
    if out.is_empty() { vec![Y1] } else { out }
}

/// A permitted packet comes in after this silence.
fn silence(behavior: &Arc<Behavior>, milliseconds: u64) -> Outcome {
    for to in remotes(behavior) {
        let mut bench = Bench::new(behavior);
        let external = bench.send(udp(X1, to))?;
        bench.wait(Duration::from_millis(milliseconds));
        if bench.reaches(udp(to, external), X1).is_err() {
            let lived = lifetime_towards(behavior, UDP, to, milliseconds / 1000 + 1);
            let port = to.port();
            return violated(format!("a mapping towards port {port} had gone after about {} s of silence", lived + 1));
        }
    }
    Ok(())
}

fn shorter_for_known_ports(behavior: &Arc<Behavior>) -> Outcome {
    const LIMIT: u64 = 600;
    let Some(to) = remotes(behavior).into_iter().find(|to| to.port() >= 1024) else {
        return not_applicable("its policy lets no datagrams out but to known ports");
    };
    let general = lifetime_towards(behavior, UDP, to, LIMIT);
    let known = [7, 53, 67, 69, 80, 123, 161, 443, 500, 514].map(|port| SocketAddr::new(Y1.ip(), port));
    let shorter = known.into_iter().any(|to| {
        let out = Bench::new(behavior).send(udp(X1, to)).is_ok();
        out && lifetime_towards(behavior, UDP, to, LIMIT) < general
    });
    require(shorter, || "ten known ports have the timer of the others".to_owned())
}

fn configurable_timer(behavior: &Arc<Behavior>) -> Outcome {
    for seconds in [130, 400] {
        let timeouts = Timeouts { udp: Duration::from_secs(seconds), ..Timeouts::default() };
        let lived = lifetime_seconds(&with(behavior, |it| it.timeouts = timeouts), UDP, 1000);
        require(lived.abs_diff(seconds) <= 1, || format!("set to {seconds} s, the timer ran for {lived} s"))?;
    }
    Ok(())
}

fn inbound_refresh(behavior: &Arc<Behavior>) -> Outcome {
    let (prolonged, gone) = prolongs(behavior, &mut |bench, _, external| {
        bench.deliver(udp(Y1, external)).ok();
    })?;
    require(prolonged, || format!("a mapping that only inbound packets used had gone after {gone} s"))
}

/// Whose packets get in, once Y1 has been sent to: of that endpoint, of its address, of anybody.
pub(super) fn filtering_of(behavior: &Arc<Behavior>, protocol: Protocol) -> Result<Filtering, String> {
    let enters = |from| -> Result<bool, String> {
        let mut bench = Bench::new(behavior);
        let external = bench.send(opener(protocol, X1, Y1))?;
        // The SYN of a stranger is one, and so is the reply of one that was not asked.
        let packet =
            if protocol == Protocol::Tcp { opener(protocol, from, external) } else { answer(protocol, from, external) };
        Ok(bench.reaches(packet, X1).is_ok())
    };
    Ok(match (enters(Y2)?, enters(Y1_OTHER_PORT)?) {
        (true, _) => Filtering::EndpointIndependent,
        (false, true) => Filtering::AddressDependent,
        (false, false) => Filtering::AddressAndPortDependent,
    })
}

/// What is not recommended is what tells ports apart.
pub(super) fn filtering(behavior: &Arc<Behavior>, protocol: Protocol) -> Outcome {
    let found = filtering_of(behavior, protocol)?;
    let recommended = found != Filtering::AddressAndPortDependent;
    require(recommended, || format!("from another port of an address that was sent to, nothing got in: {found}"))
}

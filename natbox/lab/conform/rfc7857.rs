//! RFC 7857, the update of RFC 4787, 5382 and 5508. It numbers no requirements: the ids are its sections.

use std::sync::Arc;

use natbox_nat::Behavior;
use natbox_wire::build::{self, IpFields};
use natbox_wire::{Packet, Protocol};

use super::bench::{ACK, Bench, RST, SYN, SYN_ACK, X1, X2, Y1, endpoint, error, host, lifetime_seconds, tcp, udp};
use super::rfc4787::overloading;
use super::{Level, Outcome, Requirement, not_applicable, require, row, violated};

const TCP: Protocol = Protocol::Tcp;
const UDP: Protocol = Protocol::Udp;

pub(super) const REQUIREMENTS: &[Requirement] = &[
    row("RFC7857 2", Level::Should, "a connection is established by the SYNs of both sides", TCP, established),
    row("RFC7857 2.2", Level::Must, "matching RSTs are translated, either way", TCP, resets),
    row("RFC7857 2.2 (wait)", Level::Should, "a connection lives for 4 min after a RST", TCP, after_reset),
    row("RFC7857 3", Level::Must, "two hosts never share an endpoint towards one remote", UDP, |it| {
        overloading(it, UDP)
    }),
    row("RFC7857 5", Level::Must, "UDP and TCP share no mapping by default", UDP, shared_mapping),
    row("RFC7857 6", Level::Must, "UDP and TCP share no permission by default", UDP, shared_permission),
    row("RFC7857 7", Level::Should, "packets that the filter refuses refresh nothing", UDP, refused),
    row("RFC7857 7.1", Level::Should, "outbound ICMP errors refresh nothing", UDP, errors),
    row("RFC7857 9", Level::Should, "external ports are preserved or cannot be guessed", UDP, random),
    row("RFC7857 10", Level::Should, "identifications of two hosts never clash", UDP, identification),
];

fn established(behavior: &Arc<Behavior>) -> Outcome {
    let mut bench = Bench::new(behavior);
    let external = bench.send(tcp(X1, Y1, SYN))?;
    bench.reaches(tcp(Y1, external, SYN_ACK), X1)?;
    bench.wait_seconds(300);
    bench
        .reaches(tcp(Y1, external, SYN_ACK), X1)
        .or_else(|observed| violated(format!("300 s after the SYNs of both sides, {observed}")))
}

fn resets(behavior: &Arc<Behavior>) -> Outcome {
    let mut bench = Bench::new(behavior);
    let external = bench.open(TCP, X1, Y1)?;
    bench.reaches(tcp(Y1, external, RST), X1)?;
    let mut bench = Bench::new(behavior);
    let external = bench.open(TCP, X1, Y1)?;
    let from = bench.send(tcp(X1, Y1, RST))?;
    require(from == external, || format!("a RST of a connection of {external} left from {from}"))
}

fn after_reset(behavior: &Arc<Behavior>) -> Outcome {
    let mut bench = Bench::new(behavior);
    let external = bench.open(TCP, X1, Y1)?;
    bench.reaches(tcp(Y1, external, RST), X1)?;
    bench.wait_seconds(239);
    bench.reaches(tcp(Y1, external, ACK), X1).or_else(|observed| violated(format!("239 s after a RST, {observed}")))
}

/// Twenty endpoints of both transports: that all have one external port for both, and not their own, is no chance.
fn shared_mapping(behavior: &Arc<Behavior>) -> Outcome {
    let mut bench = Bench::new(behavior);
    // Counters that both begin at the same port are not shared: move one on.
    for port in 4000..4007 {
        bench.send(udp(host(1, port), Y1))?;
    }
    let (mut same, mut preserved) = (0, 0);
    for port in 5000..5020 {
        let from = host(1, port);
        let Ok(of_tcp) = bench.send(tcp(from, Y1, SYN)) else { return not_applicable("no TCP gets out") };
        let of_udp = bench.send(udp(from, Y1))?;
        same += u32::from(of_tcp == of_udp);
        preserved += u32::from(of_tcp == of_udp && of_udp.port() == port);
    }
    if preserved == 20 {
        // Ports that are kept are the same without being shared; nobody outside can tell.
        return Ok(());
    }
    require(same < 20, || "twenty endpoints had the same external port for UDP as for TCP".to_owned())
}

/// A connection's external endpoint takes no datagrams of its remote.
fn shared_permission(behavior: &Arc<Behavior>) -> Outcome {
    let mut bench = Bench::new(behavior);
    let Ok(external) = bench.send(tcp(X1, Y1, SYN)) else { return not_applicable("no TCP gets out") };
    let passed = bench.reaches(udp(Y1, external), X1).is_ok();
    require(!passed, || "a remote that only TCP had been sent to was let in by UDP".to_owned())
}

/// Something every third of a mapping's life, which ends when it would have ended without.
fn prolonged(
    behavior: &Arc<Behavior>,
    what: &str,
    mut poke: impl FnMut(&mut Bench, &Packet, std::net::SocketAddr),
) -> Outcome {
    // The reply that errors are about counts in some timers: measure with it.
    let ends =
        |poke: &mut dyn FnMut(&mut Bench, &Packet, std::net::SocketAddr), seconds: u64| -> Result<bool, String> {
            let mut bench = Bench::new(behavior);
            let external = bench.send(udp(X1, Y1))?;
            let came = bench.deliver(udp(Y1, external))?;
            for _ in 0..3 {
                bench.wait_seconds(seconds / 3);
                poke(&mut bench, &came, external);
            }
            bench.wait_seconds(seconds - seconds / 3 * 3);
            Ok(bench.reaches(udp(Y1, external), X1).is_err())
        };
    let limit = lifetime_seconds(behavior, UDP, 7200).max(3) * 4 + 12;
    let mut idle = |_: &mut Bench, _: &Packet, _: std::net::SocketAddr| {};
    let (mut alive, mut gone) = (0, limit);
    while gone - alive > 1 {
        let middle = alive + (gone - alive) / 2;
        if ends(&mut idle, middle)? { gone = middle } else { alive = middle }
    }
    require(ends(&mut poke, gone + 1)?, || format!("{what} kept a mapping for longer than its {gone} s"))
}

fn refused(behavior: &Arc<Behavior>) -> Outcome {
    let stranger = endpoint([192, 0, 2, 99], 443);
    let mut bench = Bench::new(behavior);
    let external = bench.send(udp(X1, Y1))?;
    if bench.reaches(udp(stranger, external), X1).is_ok() {
        return not_applicable("its filter refuses nobody");
    }
    prolonged(behavior, "packets that the filter refused", |bench, _, external| {
        bench.deliver(udp(stranger, external)).ok();
    })
}

fn errors(behavior: &Arc<Behavior>) -> Outcome {
    prolonged(behavior, "outbound ICMP errors", |bench, came, _| {
        bench.out(error(X1.ip(), came)).ok();
    })
}

fn random(behavior: &Arc<Behavior>) -> Outcome {
    let mut bench = Bench::new(behavior);
    let mut given = Vec::new();
    for port in (5000..5100).step_by(2) {
        let internal = host(port, 40_000 - port * 3);
        let Ok(external) = bench.send(udp(internal, Y1)) else { break };
        if external.port() != internal.port() {
            given.push(external.port());
        }
    }
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

fn identification(behavior: &Arc<Behavior>) -> Outcome {
    let mut bench = Bench::new(behavior);
    let datagram = |from| {
        let fields = IpFields { identification: 7, ..IpFields::default() };
        build::udp(from, Y1, fields, b"natbox").expect("one version")
    };
    let (first, second) = (bench.out(datagram(X1))?, bench.out(datagram(X2))?);
    let clash = first.source() == second.source() && first.identification() == second.identification();
    require(!clash, || "datagrams of two hosts left from one address with one identification".to_owned())
}

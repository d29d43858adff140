//! RFC 7857, the update of RFC 4787, 5382 and 5508. It numbers no requirements: the ids are its sections, and in brackets
//! which part of one. Those of section 2 are ten probes of its state machine.

use std::sync::Arc;

use natbox_nat::Behavior;
use natbox_wire::Protocol;
use natbox_wire::build::{self, IpFields};

use super::Level::{May, Must, Recommended, Should};
use super::bench::{Bench, is_one_to_one};
use super::lifetimes::{lifetime_seconds, prolongs};
use super::packets::{RST, SYN, SYN_ACK, X1, X2, Y1, Y2, endpoint, error, host, ping, pong, tcp, udp};
use super::rfc4787::overloading;
use super::{
    Outcome, Requirement, Shortfall, configured, control, fragments, hairpin, not_applicable, ports, require, row,
};

const TCP: Protocol = Protocol::Tcp;
const UDP: Protocol = Protocol::Udp;
const ICMP: Protocol = Protocol::Icmp;

pub(super) const REQUIREMENTS: &[Requirement] = &[
    row("RFC7857 2 (1)", Should, "a simultaneous open passes, in both orders", TCP, super::tcp::both_orders),
    row("RFC7857 2 (2)", Should, "so it does 1 s, 5.9 s and 6.1 s after a SYN from outside", TCP, super::tcp::crossed),
    row("RFC7857 2 (3)", Should, "data after a RST keeps a connection, which else ends", TCP, |it| {
        super::tcp::data_after_reset(it)
    }),
    row("RFC7857 2 (4)", Should, "a FIN of one side does not shorten a connection", TCP, super::tcp::half_closed),
    row("RFC7857 2 (5)", Should, "a last ACK may come 4 min after FINs of both", TCP, super::tcp::closed),
    row(
        "RFC7857 2 (6)",
        Should,
        "a SYN without an answer is kept for 4 min, and not for 2 h",
        TCP,
        super::tcp::opening,
    ),
    row("RFC7857 2 (7)", Should, "a connection is established by the SYNs of both sides", TCP, |it| {
        super::tcp::established(it)
    }),
    row("RFC7857 2 (8)", May, "a RST outside the window does not count", TCP, super::tcp::reset_outside_window),
    row("RFC7857 2 (9)", Should, "a segment of no connection does not pass", TCP, super::tcp::without_state),
    row("RFC7857 2 (10)", May, "a connection can be opened again at its end", TCP, super::tcp::reopened),
    row("RFC7857 2.1", Should, "the timers of opening and closing can be configured apart", TCP, |it| {
        configured::opening_and_closing(it)
    })
    .inherent(configured::OPTION),
    row("RFC7857 2.1 (less)", May, "to less than 4 min, too", TCP, configured::opening_and_closing)
        .inherent(configured::OPTION),
    row("RFC7857 2.1 (default)", Recommended, "both are at least 4 min by default", TCP, |it| {
        super::tcp::opening(it)?;
        super::tcp::closed(it)
    }),
    row("RFC7857 2.2", Must, "matching RSTs are translated, either way", TCP, super::tcp::resets)
        .inherent("a RST that belongs to a connection is translated by every machine of natbox"),
    row("RFC7857 2.2 (wait)", Should, "a connection lives for 4 min after a RST", TCP, super::tcp::after_reset),
    row("RFC7857 3", Must, "two hosts never share an endpoint towards one remote", UDP, |it| overloading(it, UDP)),
    row("RFC7857 3 (overlap)", May, "they may share one towards different remotes", UDP, ports::overlap),
    row("RFC7857 4", Should, "where a pair's address is full, flows are dropped", UDP, |it| ports::full_pair(it, UDP)),
    row("RFC7857 4 (TCP)", Should, "for TCP as well", TCP, |it| ports::full_pair(it, TCP)),
    row("RFC7857 4 (spill)", May, "they can be given another address instead", UDP, ports::spilled)
        .inherent(configured::OPTION),
    row("RFC7857 5", Must, "UDP and TCP share no mapping by default", UDP, shared_mapping),
    row("RFC7857 6", Must, "UDP and TCP share no permission by default", UDP, shared_permission),
    row("RFC7857 7", Should, "packets that the filter refuses refresh nothing", UDP, refused),
    row("RFC7857 7 (TCP)", Should, "nor do segments that it refuses", TCP, refused_segments),
    row("RFC7857 7.1", Should, "outbound ICMP errors refresh nothing", UDP, errors),
    row("RFC7857 7.1 (RST)", Should, "RSTs that answer strangers refresh nothing", TCP, answered_by_resets)
        .inherent("a RST of the inside answers nobody, and opens nothing, in every machine of natbox"),
    row("RFC7857 8", May, "port parity can be left alone", UDP, ports::parity_ignored),
    row("RFC7857 8 (request)", Should, "whoever needs parity can ask for it (PCP)", UDP, control::parity),
    row("RFC7857 9", Should, "external ports are preserved or cannot be guessed", UDP, ports::random),
    row("RFC7857 10", Should, "identifications of two hosts never clash", UDP, identification),
    row("RFC7857 10 (fragments)", Must, "the fragments of one datagram have one identification", UDP, |it| {
        fragments::one_identification(it)
    })
    .inherent("a NAT of natbox numbers datagrams, and not packets"),
    row("RFC7857 11", May, "a query's mapping ends with its last session", ICMP, query_mapping),
    row("RFC7857 12 (queries)", Must, "Basic NAT turns hairpinned queries round", ICMP, hairpin::queries),
    row("RFC7857 12 (errors)", Must, "hairpinned errors pass", UDP, hairpin::errors),
];

/// Twenty endpoints of both transports: that all have one external port for both, and not their own, is no chance.
fn shared_mapping(behavior: &Arc<Behavior>) -> Outcome {
    if is_one_to_one(behavior) {
        return not_applicable("it maps addresses, whatever the transport");
    }
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
    if is_one_to_one(behavior) {
        return not_applicable("it maps addresses, whatever the transport");
    }
    let mut bench = Bench::new(behavior);
    let Ok(external) = bench.send(tcp(X1, Y1, SYN)) else { return not_applicable("no TCP gets out") };
    let passed = bench.reaches(udp(Y1, external), X1).is_ok();
    require(!passed, || "a remote that only TCP had been sent to was let in by UDP".to_owned())
}

fn refused(behavior: &Arc<Behavior>) -> Outcome {
    let stranger = endpoint([192, 0, 2, 99], 443);
    let mut bench = Bench::new(behavior);
    let external = bench.send(udp(X1, Y1))?;
    if bench.reaches(udp(stranger, external), X1).is_ok() {
        return not_applicable("its filter refuses nobody");
    }
    let (prolonged, lived) = prolongs(behavior, &mut |bench, _, external| {
        bench.deliver(udp(stranger, external)).ok();
    })?;
    require(!prolonged, || format!("packets that the filter refused kept a mapping for longer than its {lived} s"))
}

/// SYNs of a stranger, while a connection that is being opened waits for its end.
fn refused_segments(behavior: &Arc<Behavior>) -> Outcome {
    let mut bench = Bench::new(behavior);
    let external = bench.send(tcp(X1, Y1, SYN))?;
    if bench.reaches(tcp(Y2, external, SYN), X1).is_ok() {
        return not_applicable("its filter refuses nobody");
    }
    let lived = lifetime_seconds(behavior, TCP, 7200);
    let mut bench = Bench::new(behavior);
    let external = bench.send(tcp(X1, Y1, SYN))?;
    for _ in 0..3 {
        bench.wait_seconds(lived / 3);
        bench.deliver(tcp(Y2, external, SYN)).ok();
    }
    bench.wait_seconds(lived - lived / 3 * 3 + 2);
    let gone = bench.reaches(tcp(Y1, external, SYN_ACK), X1).is_err();
    require(gone, || format!("segments that the filter refused kept a mapping for longer than its {lived} s"))
}

/// A stranger's SYNs that get in, and that the host answers by RSTs, while a connection that is being opened waits for
/// its end.
fn answered_by_resets(behavior: &Arc<Behavior>) -> Outcome {
    let lived = lifetime_seconds(behavior, TCP, 20_000);
    let outlives = |resets: bool| -> Result<bool, Shortfall> {
        let mut bench = Bench::new(behavior);
        let external = bench.send(tcp(X1, Y1, SYN))?;
        for _ in 0..3 {
            bench.wait_seconds(lived / 3);
            if bench.reaches(tcp(Y2, external, SYN), X1).is_err() {
                return Err(Shortfall::NotApplicable("its filter lets no stranger in".to_owned()));
            }
            if resets {
                bench.send(tcp(X1, Y2, RST))?;
            }
        }
        bench.wait_seconds(lived - lived / 3 * 3 + 2);
        Ok(bench.reaches(tcp(Y1, external, SYN_ACK), X1).is_ok())
    };
    if outlives(false)? {
        return not_applicable("what comes from outside refreshes by itself");
    }
    require(!outlives(true)?, || format!("RSTs of the inside kept a mapping for longer than its {lived} s"))
}

fn errors(behavior: &Arc<Behavior>) -> Outcome {
    let (prolonged, lived) = prolongs(behavior, &mut |bench, came, _| {
        bench.out(error(X1.ip(), came)).ok();
    })?;
    require(!prolonged, || format!("outbound ICMP errors kept a mapping for longer than its {lived} s"))
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

/// When the last session has ended, the operator is shown no mapping any more.
fn query_mapping(behavior: &Arc<Behavior>) -> Outcome {
    let lived = lifetime_seconds(behavior, ICMP, 7200);
    let mut bench = Bench::new(behavior);
    let external = bench.send(ping(X1, Y1))?;
    bench.wait_seconds(lived + 2);
    let gone = bench.mappings().is_empty() && bench.reaches(pong(Y1, external), X1).is_err();
    require(gone, || "the mapping of a query outlived its session".to_owned())
}

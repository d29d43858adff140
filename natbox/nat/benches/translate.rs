//! Translation of established UDP flows, beside the bare loop. Both visit the flows in the same random order; only the
//! NAT parses the packets.

#![allow(missing_docs, reason = "criterion_group makes a public item")]

mod bare;

use std::hint::black_box;
use std::mem::take;
use std::net::SocketAddr;

use bare::{ROUND, Tables, at, bare, bare_tables, filled, traffic};
use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use natbox_nat::verdict::Side;
use natbox_nat::{Nat, Verdict};
use natbox_wire::{Packet, Time};
use rand_core::SeedableRng;
use rand_pcg::Pcg64Mcg;

fn translate(nat: &mut Nat, packet: &mut Packet, outbound: bool) {
    let verdict = if outbound { nat.outbound(packet, Time::ZERO) } else { nat.inbound(packet, Time::ZERO) };
    assert!(matches!(verdict, Verdict::Forward(_)));
}

fn parse_and_translate(nat: &mut Nat, bytes: &mut Vec<u8>, outbound: bool) {
    let mut packet = Packet::parse(take(bytes)).expect("a packet");
    translate(nat, &mut packet, outbound);
    *bytes = packet.into_bytes();
}

/// How packets follow each other.
#[derive(Clone, Copy)]
enum Pace {
    /// The next is known when the last has been translated, as in a lab, where every packet is an event: what is
    /// measured is how long one packet takes.
    OneByOne,
    /// All are known beforehand, and the processor works on as many at once as it can look ahead.
    Together,
}

/// Runs rounds of traffic; only the handling is timed, not the making of the packets.
fn run<P>(
    criterion: &mut Criterion,
    (name, pace): (&str, Pace),
    externals: &[SocketAddr],
    make: impl Fn(Vec<u8>) -> P,
    mut handle: impl FnMut(&mut P, bool) -> u8,
) {
    let mut group = criterion.benchmark_group("translate");
    group.throughput(Throughput::Elements(ROUND as u64));
    let mut random = Pcg64Mcg::seed_from_u64(7);
    // A zero that nobody knows to be one: who adds it to an index waits for what it was masked with.
    let zero = black_box(0);
    group.bench_function(BenchmarkId::new(name, externals.len()), |bencher| {
        let round = || traffic(externals, &mut random).into_iter().map(|(bytes, out)| (make(bytes), out)).collect();
        let all = |packets: &mut Vec<(P, bool)>| {
            let mut last = 0;
            for turn in 0..packets.len() {
                let (packet, outbound) = &mut packets[turn + last];
                let result = handle(packet, *outbound);
                if let Pace::OneByOne = pace {
                    last = usize::from(result) & zero;
                }
            }
        };
        bencher.iter_batched_ref(round, all, criterion::BatchSize::PerIteration);
    });
    group.finish();
}

/// The two do the same to the same packets.
fn agree(nat: &mut Nat, tables: &Tables, externals: &[SocketAddr]) {
    for (mut bytes, outbound) in traffic(externals, &mut Pcg64Mcg::seed_from_u64(7)) {
        let mut translated = bytes.clone();
        parse_and_translate(nat, &mut translated, outbound);
        bare(tables, &mut bytes, outbound);
        assert_eq!(bytes, translated);
    }
}

fn established(criterion: &mut Criterion) {
    let packet = |bytes| Packet::parse(bytes).expect("a packet");
    for flows in [1_000, 100_000, 1_000_000] {
        let (mut nat, externals) = filled(flows);
        let tables = bare_tables(&externals);
        agree(&mut nat, &tables, &externals);
        for (pace, [first, second, third]) in [
            (Pace::OneByOne, ["bare", "nat", "parse and nat"]),
            (Pace::Together, ["together/bare", "together/nat", "together/parse and nat"]),
        ] {
            run(
                criterion,
                (first, pace),
                &externals,
                |bytes| bytes,
                |bytes, outbound| {
                    bare(&tables, bytes, outbound);
                    bytes[at::UDP_CHECKSUM]
                },
            );
            run(criterion, (second, pace), &externals, packet, |packet, outbound| {
                translate(&mut nat, packet, outbound);
                packet.bytes()[at::UDP_CHECKSUM]
            });
            run(
                criterion,
                (third, pace),
                &externals,
                |bytes| bytes,
                |bytes, outbound| {
                    parse_and_translate(&mut nat, bytes, outbound);
                    bytes[at::UDP_CHECKSUM]
                },
            );
        }
    }
}

/// The same packets in batches of 32, parsed.
fn batches(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("translate");
    group.throughput(Throughput::Elements(ROUND as u64));
    let mut random = Pcg64Mcg::seed_from_u64(7);
    for flows in [1_000, 100_000, 1_000_000] {
        let (mut nat, externals) = filled(flows);
        let mut verdicts = Vec::with_capacity(32);
        group.bench_function(BenchmarkId::new("batches/nat", flows), |bencher| {
            let arrival = |(bytes, out): (Vec<u8>, bool)| {
                (if out { Side::Inside } else { Side::Outside }, Packet::parse(bytes).expect("a packet"))
            };
            let round = || traffic(&externals, &mut random).into_iter().map(arrival).collect();
            let all = |packets: &mut Vec<(Side, Packet)>| {
                for batch in packets.chunks_mut(32) {
                    verdicts.clear();
                    nat.batch(batch, Time::ZERO, &mut verdicts);
                    assert!(verdicts.iter().all(|verdict| matches!(verdict, Verdict::Forward(_))));
                }
            };
            bencher.iter_batched_ref(round, all, criterion::BatchSize::PerIteration);
        });
    }
    group.finish();
}

criterion_group!(benches, established, batches);
criterion_main!(benches);

//! Translation of established UDP flows, beside a bare loop: one hash look-up in a table of that size, a header
//! rewrite, an RFC 1624 update. Both parse each packet once, and visit the flows in the same random order.

#![allow(missing_docs, reason = "criterion_group makes a public item")]

use std::hint::black_box;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;

use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use foldhash::fast::FixedState;
use hashbrown::HashMap;
use natbox_nat::{Behavior, Nat, Verdict};
use natbox_wire::build::{self, IpFields};
use natbox_wire::{Packet, Time, Transport};
use rand_core::{Rng, SeedableRng};
use rand_pcg::Pcg64Mcg;

const REMOTE: ([u8; 4], u16) = ([192, 0, 2, 1], 3478);
/// Packets a round: enough to visit the table at random, few enough to stay in the cache themselves.
const ROUND: usize = 1024;

fn internal(flow: usize) -> SocketAddr {
    let [_, high, low, port] = (flow as u32).to_be_bytes();
    SocketAddr::from(([10, 0, high, low], 5000 + u16::from(port)))
}

fn datagram(source: SocketAddr, destination: SocketAddr) -> Packet {
    build::udp(source, destination, IpFields::default(), &[7; 64]).expect("a datagram")
}

/// A NAT with so many mappings, and each one's external endpoint.
fn filled(flows: usize) -> (Nat, Vec<SocketAddr>) {
    let external: Vec<std::net::IpAddr> = (1..=4).map(|host| [198, 51, 100, host].into()).collect();
    let mut nat = Nat::new(Arc::new(Behavior::default()), &external, 1);
    let externals = (0..flows).map(|flow| {
        let mut packet = datagram(internal(flow), REMOTE.into());
        assert!(matches!(nat.outbound(&mut packet, Time::ZERO), Verdict::Forward(_)));
        packet.source_endpoint()
    });
    let externals = externals.collect();
    (nat, externals)
}

/// Packets of random flows: the bytes, and whether they go out.
fn traffic(externals: &[SocketAddr], random: &mut Pcg64Mcg) -> Vec<(Vec<u8>, bool)> {
    let packets = (0..ROUND).map(|turn| {
        let flow = ((u64::from(random.next_u32()) * externals.len() as u64) >> 32) as usize;
        let outbound = turn % 2 == 0;
        let packet = match outbound {
            true => datagram(internal(flow), REMOTE.into()),
            false => datagram(REMOTE.into(), externals[flow]),
        };
        (packet.into_bytes(), outbound)
    });
    packets.collect()
}

/// The bare loop's table: an endpoint and its remote, packed, to the endpoint to write.
type Bare = HashMap<u128, SocketAddr, FixedState>;

fn pack(source: SocketAddr, destination: SocketAddr) -> u128 {
    let one = |endpoint: SocketAddr| match endpoint {
        SocketAddr::V4(v4) => u64::from(Ipv4Addr::to_bits(*v4.ip())) << 16 | u64::from(v4.port()),
        SocketAddr::V6(_) => 0,
    };
    u128::from(one(source)) << 64 | u128::from(one(destination))
}

fn bare_tables(externals: &[SocketAddr]) -> [Bare; 2] {
    let mut tables = [Bare::with_hasher(FixedState::with_seed(1)), Bare::with_hasher(FixedState::with_seed(1))];
    for (flow, external) in externals.iter().enumerate() {
        tables[0].insert(pack(internal(flow), REMOTE.into()), *external);
        tables[1].insert(pack(*external, REMOTE.into()), internal(flow));
    }
    tables
}

/// Reads a packet, looks its flow up once, and writes the other endpoint.
fn bare(tables: &[Bare; 2], bytes: Vec<u8>, outbound: bool) -> Vec<u8> {
    let mut packet = Packet::parse(bytes).expect("a packet");
    let Transport::Udp { .. } = packet.transport() else { return packet.into_bytes() };
    let (source, destination) = (packet.source_endpoint(), packet.destination_endpoint());
    if outbound {
        packet.rewrite_source(tables[0][&pack(source, destination)]);
    } else {
        packet.rewrite_destination(tables[1][&pack(destination, source)]);
    }
    packet.into_bytes()
}

fn translate(nat: &mut Nat, bytes: Vec<u8>, outbound: bool) -> Vec<u8> {
    let mut packet = Packet::parse(bytes).expect("a packet");
    let verdict = if outbound { nat.outbound(&mut packet, Time::ZERO) } else { nat.inbound(&mut packet, Time::ZERO) };
    debug_assert!(matches!(verdict, Verdict::Forward(_)));
    black_box(verdict);
    packet.into_bytes()
}

/// Runs rounds of traffic; only the handling is timed, not the making of the packets.
fn run(
    criterion: &mut Criterion,
    name: &str,
    flows: usize,
    externals: &[SocketAddr],
    mut handle: impl FnMut(Vec<u8>, bool) -> Vec<u8>,
) {
    let mut group = criterion.benchmark_group("translate");
    group.throughput(Throughput::Elements(ROUND as u64));
    let mut random = Pcg64Mcg::seed_from_u64(7);
    group.bench_function(BenchmarkId::new(name, flows), |bencher| {
        let round = || traffic(externals, &mut random);
        let all = |packets: Vec<(Vec<u8>, bool)>| {
            packets.into_iter().map(|(bytes, out)| handle(bytes, out)).collect::<Vec<_>>()
        };
        bencher.iter_batched(round, all, criterion::BatchSize::LargeInput);
    });
    group.finish();
}

fn established(criterion: &mut Criterion) {
    for flows in [1_000, 100_000] {
        let (mut nat, externals) = filled(flows);
        let tables = bare_tables(&externals);
        run(criterion, "bare", flows, &externals, |bytes, outbound| bare(&tables, bytes, outbound));
        run(criterion, "nat", flows, &externals, |bytes, outbound| translate(&mut nat, bytes, outbound));
    }
}

criterion_group!(benches, established);
criterion_main!(benches);

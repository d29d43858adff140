//! Translation of established UDP flows, beside a bare loop: one hash look-up in a table of that size, a header
//! rewrite, an RFC 1624 update. Both visit the flows in the same random order; only the NAT parses the packets.

#![allow(missing_docs, reason = "criterion_group makes a public item")]

use std::hint::black_box;
use std::mem::take;
use std::net::SocketAddr;
use std::sync::Arc;

use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use foldhash::fast::FixedState;
use hashbrown::HashMap;
use natbox_nat::{Behavior, Nat, Verdict};
use natbox_wire::build::{self, IpFields};
use natbox_wire::{Packet, Time};
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

/// The bare loop's table: both endpoints of a packet as they stand in it, to the endpoint to write.
type Bare = HashMap<(u64, u32), (u32, u16), FixedState>;

/// Where things lie in the packets of this benchmark: IPv4 without options, then UDP.
mod at {
    pub(crate) const IP_CHECKSUM: usize = 10;
    pub(crate) const SOURCE: usize = 12;
    pub(crate) const DESTINATION: usize = 16;
    pub(crate) const SOURCE_PORT: usize = 20;
    pub(crate) const DESTINATION_PORT: usize = 22;
    pub(crate) const UDP_CHECKSUM: usize = 26;
}

fn field<const N: usize>(bytes: &[u8], at: usize) -> [u8; N] {
    *bytes[at..].first_chunk().expect("a field")
}

fn key(bytes: &[u8]) -> (u64, u32) {
    (u64::from_ne_bytes(field(bytes, at::SOURCE)), u32::from_ne_bytes(field(bytes, at::SOURCE_PORT)))
}

fn bare_tables(externals: &[SocketAddr]) -> [Bare; 2] {
    let table = || Bare::with_capacity_and_hasher(externals.len(), FixedState::with_seed(1));
    let value = |endpoint: SocketAddr| match endpoint {
        SocketAddr::V4(v4) => (v4.ip().to_bits(), v4.port()),
        SocketAddr::V6(_) => unreachable!("the benchmark is of IPv4"),
    };
    let (mut outbound, mut inbound) = (table(), table());
    for (flow, external) in externals.iter().enumerate() {
        outbound.insert(key(datagram(internal(flow), REMOTE.into()).bytes()), value(*external));
        inbound.insert(key(datagram(REMOTE.into(), *external).bytes()), value(internal(flow)));
    }
    [outbound, inbound]
}

/// Looks a packet's flow up, writes the other endpoint, and mends both checksums: no more than any NAT must do.
fn bare(tables: &[Bare; 2], bytes: &mut [u8], outbound: bool) {
    let (table, address_at, port_at) = match outbound {
        true => (&tables[0], at::SOURCE, at::SOURCE_PORT),
        false => (&tables[1], at::DESTINATION, at::DESTINATION_PORT),
    };
    let (address, port) = table[&key(bytes)];
    let old = u32::from_be_bytes(field(bytes, address_at));
    let of_address = u64::from(!old) + u64::from(address);
    let of_port = u64::from(!u16::from_be_bytes(field(bytes, port_at))) + u64::from(port);
    bytes[address_at..address_at + 4].copy_from_slice(&address.to_be_bytes());
    bytes[port_at..port_at + 2].copy_from_slice(&port.to_be_bytes());
    mend(bytes, at::IP_CHECKSUM, of_address);
    mend(bytes, at::UDP_CHECKSUM, of_address + of_port);
}

/// RFC 1624 equation 3: HC' = ~(~HC + ~m + m').
fn mend(bytes: &mut [u8], at: usize, change: u64) {
    let mut sum = u64::from(!u16::from_be_bytes(field(bytes, at))) + change;
    while sum > 0xFFFF {
        sum = (sum & 0xFFFF) + (sum >> 16);
    }
    bytes[at..at + 2].copy_from_slice(&(!sum as u16).to_be_bytes());
}

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
fn agree(nat: &mut Nat, tables: &[Bare; 2], externals: &[SocketAddr]) {
    for (mut bytes, outbound) in traffic(externals, &mut Pcg64Mcg::seed_from_u64(7)) {
        let mut translated = bytes.clone();
        parse_and_translate(nat, &mut translated, outbound);
        bare(tables, &mut bytes, outbound);
        assert_eq!(bytes, translated);
    }
}

fn established(criterion: &mut Criterion) {
    let packet = |bytes| Packet::parse(bytes).expect("a packet");
    for flows in [1_000, 100_000] {
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

criterion_group!(benches, established);
criterion_main!(benches);

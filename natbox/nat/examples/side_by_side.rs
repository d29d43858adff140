//! Prints natbox beside a bare loop (one hash look-up, a header rewrite) in one run: an established UDP flow, in and
//! out mixed, flows in random order, at three sizes of the table; what opening and expiring cost, and memory.
//!
//! `cargo run --release -p natbox-nat --example side_by_side`; with sizes of a table,
//! `-- 10000 1000000`, opening and expiring alone.

#[allow(dead_code, reason = "shared with the benchmark")]
#[path = "../benches/bare/mod.rs"]
mod bare;
#[path = "../benches/counting/mod.rs"]
mod counting;

use std::hint::black_box;
use std::sync::Arc;

use bare::{ROUND, Tables, at, bare_tables, filled, traffic};
use natbox_nat::verdict::Side;
use natbox_nat::{Nat, Verdict};
use natbox_wire::{Packet, Time};
use rand_core::SeedableRng;
use rand_pcg::Pcg64Mcg;

/// Rounds measured for each figure, which is their median.
const ROUNDS: usize = 200;

fn main() {
    let sizes: Vec<usize> = std::env::args().skip(1).map(|size| size.parse().expect("a number of mappings")).collect();
    if sizes.is_empty() {
        println!("established UDP flow, ns a packet (median of {ROUNDS} rounds of {ROUND} packets)\n");
        println!("{:>9}  {:<28}{:>8}{:>8}", "mappings", "", "ns", "/ bare");
        for flows in [1_000, 100_000, 1_000_000] {
            established(flows);
        }
        println!();
    }
    println!("opening and expiring, ns a mapping; bytes a mapping with one session\n");
    println!("{:>9}{:>12}{:>12}{:>10}{:>10}{:>8}", "mappings", "one by one", "batches", "expire", "bytes", "bare");
    for flows in if sizes.is_empty() { vec![10_000, 100_000, 1_000_000] } else { sizes } {
        live_and_die(flows);
    }
}

const NAMES: [&str; 10] = [
    "bare, one by one",
    "natbox, one by one",
    "parse and natbox, one by one",
    "bare, together",
    "natbox, together",
    "parse and natbox, together",
    "natbox, batches of 8",
    "natbox, batches of 16",
    "natbox, batches of 32",
    "natbox, batches of 64",
];

struct Measured {
    name: &'static str,
    nanos: Vec<f64>,
}

fn established(flows: usize) {
    let (mut nat, externals) = filled(flows);
    let tables = bare_tables(&externals);
    let mut random = Pcg64Mcg::seed_from_u64(7);
    let mut measured = NAMES.map(|name| Measured { name, nanos: Vec::new() });
    for _ in 0..ROUNDS {
        // Flows of its own for each, or the first would warm the caches for the others.
        let mut round = || traffic(&externals, &mut random);
        let parsed = |round: Vec<(Vec<u8>, bool)>| -> Vec<(Packet, bool)> {
            round.into_iter().map(|(bytes, out)| (Packet::parse(bytes).expect("a packet"), out)).collect()
        };
        for (chained, [bare, natbox, parse]) in [(true, [0, 1, 2]), (false, [3, 4, 5])] {
            measured[bare].nanos.push(bare_loop(&tables, &mut round(), chained));
            measured[natbox].nanos.push(nat_loop(&mut nat, &mut parsed(round()), chained));
            measured[parse].nanos.push(parse_loop(&mut nat, &mut round(), chained));
        }
        for (place, size) in [8, 16, 32, 64].into_iter().enumerate() {
            measured[6 + place].nanos.push(batch_loop(&mut nat, parsed(round()), size));
        }
    }
    let bare = [measured[0].median(), measured[3].median()];
    for (place, one) in measured.iter().enumerate() {
        let ratio = one.median() / bare[usize::from((3..6).contains(&place))];
        println!("{flows:>9}  {:<28}{:>8.1}{ratio:>8.2}", one.name, one.median());
    }
}

impl Measured {
    fn median(&self) -> f64 {
        let mut sorted = self.nanos.clone();
        sorted.sort_by(f64::total_cmp);
        sorted[sorted.len() / 2]
    }
}

/// Times a loop over packets. `chained`: which packet is next depends on what the last one became.
fn timed<P>(packets: &mut [P], chained: bool, mut handle: impl FnMut(&mut P) -> u8) -> f64 {
    // A zero that nobody knows to be one: who adds it to an index waits for what it was masked with.
    let mask = black_box(0_usize);
    let start = processor_nanos();
    let mut last = 0;
    for turn in 0..packets.len() {
        let result = handle(&mut packets[turn + last]);
        if chained {
            last = usize::from(result) & mask;
        }
    }
    (processor_nanos() - start) / packets.len() as f64
}

fn bare_loop(tables: &Tables, round: &mut [(Vec<u8>, bool)], chained: bool) -> f64 {
    timed(round, chained, |(bytes, outbound)| {
        bare::bare(tables, bytes, *outbound);
        bytes[at::UDP_CHECKSUM]
    })
}

fn nat_loop(nat: &mut Nat, packets: &mut [(Packet, bool)], chained: bool) -> f64 {
    timed(packets, chained, |(packet, outbound)| {
        translate(nat, packet, *outbound);
        packet.bytes()[at::UDP_CHECKSUM]
    })
}

fn parse_loop(nat: &mut Nat, round: &mut [(Vec<u8>, bool)], chained: bool) -> f64 {
    timed(round, chained, |(bytes, outbound)| {
        let mut packet = Packet::parse(std::mem::take(bytes)).expect("a packet");
        translate(nat, &mut packet, *outbound);
        *bytes = packet.into_bytes();
        bytes[at::UDP_CHECKSUM]
    })
}

/// Batches one after the other; which packet is next in a batch depends on nothing.
fn batch_loop(nat: &mut Nat, packets: Vec<(Packet, bool)>, size: usize) -> f64 {
    let side = |out| if out { Side::Inside } else { Side::Outside };
    let mut packets: Vec<(Side, Packet)> = packets.into_iter().map(|(packet, out)| (side(out), packet)).collect();
    let mut verdicts = Vec::with_capacity(size);
    let start = processor_nanos();
    for batch in packets.chunks_mut(size) {
        verdicts.clear();
        nat.batch(batch, Time::ZERO, &mut verdicts);
        assert!(verdicts.iter().all(|verdict| matches!(verdict, Verdict::Forward(_))));
    }
    (processor_nanos() - start) / packets.len() as f64
}

fn translate(nat: &mut Nat, packet: &mut Packet, outbound: bool) {
    let verdict = if outbound { nat.outbound(packet, Time::ZERO) } else { nat.inbound(packet, Time::ZERO) };
    assert!(matches!(verdict, Verdict::Forward(_)));
}

/// What this thread has used of a processor, in nanoseconds: whoever else runs on the machine does not count.
fn processor_nanos() -> f64 {
    let time = rustix::time::clock_gettime(rustix::time::ClockId::ThreadCPUTime);
    time.tv_sec as f64 * 1e9 + time.tv_nsec as f64
}

/// Opens mappings a microsecond apart, one by one and in batches, and lets each expire at its own deadline; as many NATs
/// one after the other as make 2,000,000 mappings.
fn live_and_die(flows: usize) {
    let external: Vec<std::net::IpAddr> = (1..=32).map(|host| [198, 51, 100, host].into()).collect();
    let rounds = 2_000_000 / flows;
    let (mut opening, mut batched, mut expiring, mut bytes, mut bare) = (0.0, 0.0, 0.0, 0, 0.0);
    for _ in 0..rounds {
        bare += enter_bare(flows);
        let mut nat = Nat::new(Arc::default(), &external, 1);
        opening += open(flows, |packets, now| {
            for (side, packet) in packets {
                assert_eq!(*side, Side::Inside);
                let verdict = nat.outbound(packet, now);
                assert!(matches!(verdict, Verdict::Forward(translation) if translation.new_mapping));
            }
        });
        let start = processor_nanos();
        let mut ended = 0;
        while let Some(due) = nat.poll_timeout() {
            nat.handle_timeout(due, &mut |_| ended += 1);
        }
        assert_eq!(ended, flows);
        expiring += processor_nanos() - start;
        let before = counting::live_bytes();
        let mut nat = Nat::new(Arc::default(), &external, 1);
        let mut verdicts = Vec::with_capacity(BATCH);
        batched += open(flows, |packets, now| {
            verdicts.clear();
            nat.batch(packets, now, &mut verdicts);
        });
        drop(verdicts);
        bytes = counting::live_bytes() - before;
        assert_eq!(nat.mappings().len(), flows);
    }
    let each = |nanos: f64| nanos / (rounds * flows) as f64;
    let bytes = bytes as f64 / flows as f64;
    let figures = [each(opening), each(batched), each(expiring)];
    println!("{flows:>9}{:>12.0}{:>12.0}{:>10.0}{bytes:>10.1}{:>8.0}", figures[0], figures[1], figures[2], each(bare));
}

/// What no table of two hash maps goes below: one look-up in vain, and an entry into each, growth included.
fn enter_bare(flows: usize) -> f64 {
    let mut tables = Tables::default();
    let nanos = open(flows, |packets, _| {
        for (_, packet) in packets {
            let key = bare::key(packet.bytes());
            if !tables[0].contains_key(&key) {
                let internal = (key.0 as u32, key.1 as u16);
                tables[0].insert(key, (!internal.0, internal.1));
                tables[1].insert((!key.0, key.1), internal);
            }
        }
    });
    black_box(&tables);
    nanos
}

/// Packets that come at the same microsecond.
const BATCH: usize = 32;

/// Opens so many mappings; the processor time of the opening alone.
fn open(flows: usize, mut take: impl FnMut(&mut [(Side, Packet)], Time)) -> f64 {
    let mut nanos = 0.0;
    for first in (0..flows).step_by(ROUND) {
        let packet = |flow| (Side::Inside, bare::datagram(bare::internal(flow), bare::REMOTE.into()));
        let mut packets: Vec<(Side, Packet)> = (first..flows.min(first + ROUND)).map(packet).collect();
        let start = processor_nanos();
        for (batch, packets) in packets.chunks_mut(BATCH).enumerate() {
            take(packets, Time::from_nanos((first + batch * BATCH) as u64 * 1_000));
        }
        nanos += processor_nanos() - start;
    }
    nanos
}

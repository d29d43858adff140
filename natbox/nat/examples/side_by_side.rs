//! Prints natbox beside a bare loop (one hash look-up, a header rewrite) in one run: an established UDP flow, in and
//! out mixed, flows in random order, at three sizes of the table; what opening and expiring cost, and memory.
//!
//! `cargo run --release -p natbox-nat --example side_by_side`

#![allow(clippy::disallowed_methods, reason = "it measures real time")]

#[allow(dead_code, reason = "shared with the benchmark")]
#[path = "../benches/bare/mod.rs"]
mod bare;

use std::hint::black_box;
use std::time::Instant;

use bare::{ROUND, Tables, at, bare_tables, filled, traffic};
use natbox_nat::verdict::Side;
use natbox_nat::{Nat, Verdict};
use natbox_wire::{Packet, Time};
use rand_core::SeedableRng;
use rand_pcg::Pcg64Mcg;

/// Rounds measured for each figure, which is their median.
const ROUNDS: usize = 200;

fn main() {
    println!("established UDP flow, ns a packet (median of {ROUNDS} rounds of {ROUND} packets)\n");
    println!("{:>9}  {:<28}{:>8}{:>8}", "mappings", "", "ns", "/ bare");
    for flows in [1_000, 100_000, 1_000_000] {
        established(flows);
    }
    println!("\nopening and expiring, ns a mapping\n");
    println!("{:>9}{:>8}{:>8}", "mappings", "open", "expire");
    for flows in [1_000, 10_000, 100_000, 1_000_000] {
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
    let start = Instant::now();
    let mut last = 0;
    for turn in 0..packets.len() {
        let result = handle(&mut packets[turn + last]);
        if chained {
            last = usize::from(result) & mask;
        }
    }
    start.elapsed().as_nanos() as f64 / packets.len() as f64
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
    let start = Instant::now();
    for batch in packets.chunks_mut(size) {
        verdicts.clear();
        nat.batch(batch, Time::ZERO, &mut verdicts);
        assert!(verdicts.iter().all(|verdict| matches!(verdict, Verdict::Forward(_))));
    }
    start.elapsed().as_nanos() as f64 / packets.len() as f64
}

fn translate(nat: &mut Nat, packet: &mut Packet, outbound: bool) {
    let verdict = if outbound { nat.outbound(packet, Time::ZERO) } else { nat.inbound(packet, Time::ZERO) };
    assert!(matches!(verdict, Verdict::Forward(_)));
}

/// Opens mappings a microsecond apart, and lets each expire at its deadline, and no earlier or later.
fn live_and_die(flows: usize) {
    let external: Vec<std::net::IpAddr> = (1..=32).map(|host| [198, 51, 100, host].into()).collect();
    let times = (0..3).map(|_| {
        let mut nat = Nat::new(std::sync::Arc::default(), &external, 1);
        let mut opening = 0.0;
        let mut packets = Vec::new();
        for flow in 0..flows {
            packets.push(bare::datagram(bare::internal(flow), bare::REMOTE.into()));
            if packets.len() == ROUND || flow + 1 == flows {
                let first = flow + 1 - packets.len();
                let start = Instant::now();
                for (turn, packet) in packets.iter_mut().enumerate() {
                    let now = Time::from_nanos((first + turn) as u64 * 1_000);
                    let verdict = nat.outbound(packet, now);
                    assert!(matches!(verdict, Verdict::Forward(translation) if translation.new_mapping));
                }
                opening += start.elapsed().as_nanos() as f64;
                packets.clear();
            }
        }
        let start = Instant::now();
        let mut ended = 0;
        while let Some(due) = nat.poll_timeout() {
            nat.handle_timeout(due, &mut |_| ended += 1);
        }
        assert_eq!(ended, flows);
        [opening, start.elapsed().as_nanos() as f64].map(|all| all / flows as f64)
    });
    let times: Vec<[f64; 2]> = times.collect();
    let median = |which: usize| {
        let mut sorted: Vec<f64> = times.iter().map(|one| one[which]).collect();
        sorted.sort_by(f64::total_cmp);
        sorted[1]
    };
    println!("{flows:>9}{:>8.0}{:>8.0}", median(0), median(1));
}

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
use foldhash::fast::FixedState;
use hashbrown::HashMap;
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
    let sizes = if sizes.is_empty() { vec![10_000, 100_000, 1_000_000] } else { sizes };
    println!("opening and expiring, ns a mapping; bytes a mapping with one session; page faults of 1,000 openings");
    for (memory, name) in [(Memory::New, "new"), (Memory::Used, "used")] {
        println!("\nin {name} memory");
        println!(
            "{:>9}{:>8}{:>12}{:>9}{:>8}{:>8}{:>8}",
            "mappings", "bare", "one by one", "batches", "expire", "bytes", "faults"
        );
        sizes.iter().for_each(|flows| live_and_die(*flows, memory));
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

/// Where the tables that are opened into lie.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Memory {
    /// In memory that the process has not touched before: every table is kept to the end.
    New,
    /// In what the tables before have left, as far as the allocator has not given it back to the system; the first round
    /// is not counted.
    Used,
}

/// Opens mappings a microsecond apart, one by one and in batches, and lets each expire at its own deadline; as many NATs
/// one after the other as make 2,000,000 mappings, each with tables that start empty.
fn live_and_die(flows: usize, memory: Memory) {
    let rounds = 2_000_000_usize.div_ceil(flows);
    let mut sum = Lives::default();
    let mut kept = Vec::new();
    for round in 0..rounds + usize::from(memory == Memory::Used) {
        if round == 1 && memory == Memory::Used {
            sum = Lives::default();
        }
        let lives = sum.add_round(flows);
        if memory == Memory::New {
            kept.push(lives);
        }
    }
    let each = |nanos: f64| nanos / (rounds * flows) as f64;
    let bytes = sum.bytes as f64 / flows as f64;
    let [bare, opened, batched, expired] = sum.nanos.map(each);
    let faults = each(sum.faults as f64 * 1000.0);
    println!("{flows:>9}{bare:>8.0}{opened:>12.0}{batched:>9.0}{expired:>8.0}{bytes:>8.1}{faults:>8.1}");
}

/// What was measured.
#[derive(Default)]
struct Lives {
    /// Bare, one by one, in batches, expired.
    nanos: [f64; 4],
    bytes: usize,
    /// Of openings one by one.
    faults: u64,
}

impl Lives {
    /// Opens and expires so many mappings once; the tables.
    fn add_round(&mut self, flows: usize) -> (BareTable, [Nat; 2]) {
        let external: Vec<std::net::IpAddr> = (1..=32).map(|host| [198, 51, 100, host].into()).collect();
        let mut bare = BareTable::default();
        self.nanos[0] += open(flows, |packets, _| packets.iter().for_each(|(_, packet)| bare.open(packet.bytes())));
        let mut nat = Nat::new(Arc::default(), &external, 1);
        let before = page_faults();
        self.nanos[1] += open(flows, |packets, now| {
            for (side, packet) in packets {
                assert_eq!(*side, Side::Inside);
                let verdict = nat.outbound(packet, now);
                assert!(matches!(verdict, Verdict::Forward(translation) if translation.new_mapping));
            }
        });
        self.faults += page_faults() - before;
        let start = processor_nanos();
        let mut ended = 0;
        while let Some(due) = nat.poll_timeout() {
            nat.handle_timeout(due, &mut |_| ended += 1);
        }
        assert_eq!(ended, flows);
        self.nanos[3] += processor_nanos() - start;
        let before = counting::live_bytes();
        let mut second = Nat::new(Arc::default(), &external, 1);
        let mut verdicts = Vec::with_capacity(BATCH);
        self.nanos[2] += open(flows, |packets, now| {
            verdicts.clear();
            second.batch(packets, now, &mut verdicts);
        });
        drop(verdicts);
        self.bytes = counting::live_bytes() - before;
        assert_eq!(second.mappings().len(), flows);
        (bare, [nat, second])
    }
}

/// The least that opening must do: a record of 64 bytes, and both keys in a hash table that grows. No port is chosen, no
/// timer armed, nothing written into the packet.
#[derive(Default)]
struct BareTable {
    keys: [HashMap<(u64, u32), u32, FixedState>; 2],
    records: Vec<[u64; 8]>,
}

impl BareTable {
    fn open(&mut self, packet: &[u8]) {
        let key = bare::key(packet);
        if !self.keys[0].contains_key(&key) {
            let index = self.records.len() as u32;
            self.records.push([key.0; 8]);
            self.keys[0].insert(key, index);
            self.keys[1].insert((u64::from(index), key.1), index);
        }
    }
}

/// Page faults of this process so far that needed no disk (`minflt` of proc(5)).
fn page_faults() -> u64 {
    let stat = std::fs::read_to_string("/proc/self/stat").unwrap_or_default();
    let after_name = stat.rsplit(") ").next().unwrap_or_default();
    after_name.split(' ').nth(7).and_then(|faults| faults.parse().ok()).unwrap_or(0)
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

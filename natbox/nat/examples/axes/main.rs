//! What the axes cost where none is used: the NAT beside a road without any test of an axis, on the same table, pool and
//! packets, in one run; both must write the same bytes. An established UDP flow, in and out mixed, one by one; then, in
//! `slow`, what goes the long way: openings, segments of connections, ICMP errors.
//!
//! `cargo run --release -p natbox-nat --example axes`
//!
//! The plain road is what a NAT comes to that knows endpoint-independent mapping, filtering by the session, one timer and
//! nothing else. It needs the inside of the crate, so the crate's modules are compiled into this program: a module that `lib.rs`
//! gets must be named here too.

#![allow(
    dead_code,
    unused_imports,
    unreachable_pub,
    missing_docs,
    reason = "the crate's modules, of which this uses few"
)]

// To the shared part of the benchmarks, which names the crate, this program is the crate.
extern crate self as natbox_nat;

#[path = "../../benches/bare/mod.rs"]
mod bare;
mod slow;
#[path = "../../src"]
mod inside {
    pub(crate) mod alg;
    pub(crate) mod around;
    pub(crate) mod behavior;
    pub(crate) mod change;
    pub(crate) mod classify;
    pub(crate) mod early;
    pub(crate) mod engine;
    pub(crate) mod expiry;
    pub(crate) mod explicit;
    pub(crate) mod filter;
    pub(crate) mod fragments;
    pub(crate) mod hairpin;
    pub(crate) mod icmp;
    pub(crate) mod identification;
    pub(crate) mod key;
    pub(crate) mod lifetime;
    pub(crate) mod near;
    pub(crate) mod policy;
    pub(crate) mod ports;
    pub(crate) mod preset;
    pub(crate) mod realm;
    pub(crate) mod record;
    pub(crate) mod short;
    pub(crate) mod table;
    pub(crate) mod tcp;
    pub(crate) mod timers;
    pub(crate) mod udp;
    pub(crate) mod uses;
    pub(crate) mod verdict;
}

use std::hint::black_box;
use std::net::Ipv4Addr;

use inside::*;
use natbox_wire::{Packet, Protocol, Time};
use rand_core::SeedableRng;
use rand_pcg::Pcg64Mcg;

pub use behavior::Behavior;
pub use engine::Nat;
pub use ports::deterministic::PortPlan;
pub use verdict::{
    Answer, Ended, HoldId, MappingEnd, MappingId, MappingView, Output, Refusal, SessionView, Side, Translation, Verdict,
};

/// Rounds measured for each figure, which is their median.
const ROUNDS: usize = 400;

fn main() {
    println!("established UDP flow, one by one, ns a packet (median of {ROUNDS} rounds of {} packets)\n", bare::ROUND);
    println!("{:>9}{:>12}{:>12}{:>8}", "mappings", "plain road", "natbox", "ratio");
    for flows in [1_000, 100_000, 1_000_000] {
        let (mut nat, externals) = bare::filled(flows);
        let mut random = Pcg64Mcg::seed_from_u64(7);
        let mut measured = [Vec::new(), Vec::new()];
        for _ in 0..ROUNDS {
            agree(&mut nat, round(&externals, &mut random));
            // Flows of its own for each, or the first would warm the caches for the other.
            measured[0].push(timed(&mut nat, round(&externals, &mut random), plain));
            measured[1].push(timed(&mut nat, round(&externals, &mut random), Nat::take));
        }
        let [plain, natbox] = measured.map(median);
        println!("{flows:>9}{plain:>12.1}{natbox:>12.1}{:>8.2}", natbox / plain);
    }
    slow::measure();
}

impl Nat {
    #[inline(always)]
    fn take(&mut self, from: Side, packet: &mut Packet, now: Time) -> Verdict {
        match from {
            Side::Inside => self.outbound(packet, now),
            Side::Outside => self.inbound(packet, now),
        }
    }
}

/// A packet of an established flow, by the plain road. Whatever else it may be is none of this program's business.
#[inline(always)]
fn plain(nat: &mut Nat, from: Side, packet: &mut Packet, now: Time) -> Verdict {
    try_plain(nat, from, packet, now).expect("a packet of an established flow")
}

#[inline(always)]
fn try_plain(nat: &mut Nat, from: Side, packet: &mut Packet, now: Time) -> Option<Verdict> {
    let realm = nat.v4.as_mut()?;
    let (source, destination) = <Ipv4Addr as key::Address>::plain_udp(packet)?;
    if realm.table.is_due(now) || from == Side::Inside && realm.pool.owns(destination.address) {
        return None;
    }
    let table = &mut realm.table;
    let index = match from {
        Side::Inside => {
            let hash = table.outbound_hash(Protocol::Udp, source, destination);
            table.find_plain_outbound(hash, source, destination)
        }
        Side::Outside => {
            let hash = table.inbound_hash(Protocol::Udp, destination);
            table.find_plain_inbound(hash, destination, source)
        }
    }?;
    let session = table.session_mut(index);
    session.prolong(Time::from_nanos(now.as_nanos().saturating_add(LIFETIME)))?;
    match from {
        Side::Inside => session.external.write_plain(natbox_wire::Side::Source, packet),
        Side::Outside => session.internal.write_plain(natbox_wire::Side::Destination, packet),
    }
    let mapping = session.id;
    table.remember(index);
    Some(Verdict::Forward(Translation { mapping, new_mapping: false, quoted: false }))
}

/// The default of `timeouts.udp`.
const LIFETIME: u64 = 300_000_000_000;

fn round(externals: &[std::net::SocketAddr], random: &mut Pcg64Mcg) -> Vec<(Side, Packet)> {
    let side = |outbound| if outbound { Side::Inside } else { Side::Outside };
    let parsed = |bytes| Packet::parse(bytes).expect("a packet");
    bare::traffic(externals, random).into_iter().map(|(bytes, outbound)| (side(outbound), parsed(bytes))).collect()
}

/// The two do the same to the same packets.
fn agree(nat: &mut Nat, round: Vec<(Side, Packet)>) {
    for (from, mut packet) in round {
        let mut other = packet.clone();
        let verdicts = [plain(nat, from, &mut packet, Time::ZERO), nat.take(from, &mut other, Time::ZERO)];
        assert_eq!(verdicts[0], verdicts[1]);
        assert_eq!(packet, other);
    }
}

/// Nanoseconds of processor time a packet; which packet is next depends on what the last one became.
fn timed(
    nat: &mut Nat,
    mut packets: Vec<(Side, Packet)>,
    mut take: impl FnMut(&mut Nat, Side, &mut Packet, Time) -> Verdict,
) -> f64 {
    // A zero that nobody knows to be one: who adds it to an index waits for what it was masked with.
    let mask = black_box(0_usize);
    let start = processor_nanos();
    let mut last = 0;
    for turn in 0..packets.len() {
        let (from, packet) = &mut packets[turn + last];
        assert!(matches!(take(nat, *from, packet, Time::ZERO), Verdict::Forward(_)));
        last = usize::from(packet.bytes()[bare::at::UDP_CHECKSUM]) & mask;
    }
    (processor_nanos() - start) / packets.len() as f64
}

fn median(mut nanos: Vec<f64>) -> f64 {
    nanos.sort_by(f64::total_cmp);
    nanos[nanos.len() / 2]
}

/// What this thread has used of a processor, in nanoseconds: whoever else runs on the machine does not count.
fn processor_nanos() -> f64 {
    let time = rustix::time::clock_gettime(rustix::time::ClockId::ThreadCPUTime);
    time.tv_sec as f64 * 1e9 + time.tv_nsec as f64
}

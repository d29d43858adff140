use std::collections::BTreeSet;
use std::net::Ipv4Addr;

use natbox_wire::Word;
use rand_core::SeedableRng;
use rand_pcg::Pcg64Mcg;

use super::*;
use crate::behavior::PortRanges;
use crate::ports::set::Parity;

/// Rules that look at no internal port.
fn rules() -> impl Iterator<Item = PortAllocation> {
    PortAllocation::ALL.iter().copied()
}

struct Bench {
    ports: behavior::Ports,
    candidates: Candidates,
    taken: PortSet,
    last: Last,
    counters: Counters,
    random: Pcg64Mcg,
    hash: Hash,
}

impl Bench {
    fn new(ranges: &PortRanges) -> Bench {
        Bench {
            ports: behavior::Ports::default(),
            candidates: Candidates::new(ranges, Parity::Any),
            taken: PortSet::default(),
            last: Last::default(),
            counters: Counters::default(),
            random: Pcg64Mcg::seed_from_u64(1),
            hash: Hash::with_seed(1),
        }
    }

    /// The port that the rule gives a flow; takes it.
    fn take(&mut self, rule: PortAllocation, host: u8, remote: u16) -> Option<u16> {
        let endpoint = |address: [u8; 4], port| Endpoint { address: Ipv4Addr::from(address), port };
        let keys = Keys {
            hash: &self.hash,
            protocol: Protocol::Udp,
            internal: endpoint([10, 0, 0, host], 5000),
            remote: endpoint([192, 0, 2, 1], remote),
        };
        let port = Choice {
            ports: &self.ports,
            candidates: &self.candidates,
            class: Class::of(Protocol::Udp, behavior::PortClass::All, 5000),
            free: Free { taken: &self.taken, towards: None, rounds: false },
            random: &mut self.random,
        }
        .by_rule(rule, &keys, &mut self.last, &mut self.counters)?;
        self.taken.insert(port);
        Some(port)
    }
}

#[test]
fn every_port_of_a_set_is_given_out_once_and_then_none() {
    let sets = [vec![1024..=65_535], vec![1..=1], vec![63..=64, 4000..=4131], vec![0..=9, 65_530..=65_535]];
    for rule in rules() {
        for set in &sets {
            let ranges = PortRanges::new(set.clone());
            let mut bench = Bench::new(&ranges);
            let given: Vec<u16> = (0..ranges.count()).filter_map(|turn| bench.take(rule, 2, turn as u16)).collect();
            assert_eq!(bench.take(rule, 2, 1), None, "{rule} {set:?}");
            let distinct: BTreeSet<u16> = given.iter().copied().collect();
            assert_eq!((given.len(), distinct.len()), (ranges.count() as usize, ranges.count() as usize), "{rule}");
            assert!(distinct.iter().all(|port| ranges.contains(*port)));
            let last = *set[0].end();
            bench.taken.remove(last);
            assert_eq!(bench.take(rule, 2, 1), Some(last), "{rule} finds the one that was given back");
        }
    }
}

#[test]
fn an_empty_set_gives_nothing() {
    for rule in rules() {
        assert_eq!(Bench::new(&PortRanges::new([])).take(rule, 2, 1), None, "{rule}");
    }
}

/// How many of 6,400 ports, taken and given back at once, fall into each of 16 equal parts.
fn spread(rule: PortAllocation) -> [u32; 16] {
    let mut bench = Bench::new(&(1024..=65_535).into());
    let mut parts = [0; 16];
    for turn in 0..6400 {
        let port = bench.take(rule, (turn % 200) as u8, turn).expect("a free port");
        bench.taken.remove(port);
        parts[usize::from((port - 1024) / 4032)] += 1;
    }
    parts
}

#[test]
fn rules_that_promise_chance_spread_over_the_whole_range() {
    use PortAllocation::*;
    for rule in [Random, Rfc6056Simple1, Rfc6056Simple2, Rfc6056Hash, Rfc6056DoubleHash, Rfc6056RandomIncrement] {
        let parts = spread(rule);
        assert!(parts.iter().all(|part| (250..=550).contains(part)), "{rule}: {parts:?} around 400");
    }
}

/// RFC 7857 section 9, RFC 6888 REQ-15.
#[test]
fn random_ports_do_not_follow_one_another() {
    let mut bench = Bench::new(&(1024..=65_535).into());
    let given: Vec<u16> = (0..200).filter_map(|turn| bench.take(PortAllocation::Random, 2, turn)).collect();
    let steps: BTreeSet<i32> = given.windows(2).map(|pair| i32::from(pair[1]) - i32::from(pair[0])).collect();
    assert!(steps.len() > 190, "{} different steps", steps.len());
}

#[test]
fn sequential_steps_by_delta_and_wraps_inside_the_range() {
    let mut bench = Bench::new(&(100..=109).into());
    bench.ports.delta = 4;
    let given: Vec<u16> = (0..10).filter_map(|_| bench.take(PortAllocation::Sequential, 2, 1)).collect();
    assert_eq!(given[..5], [100, 104, 108, 102, 106], "a step over the end goes on at the start");
    assert_eq!(given.iter().collect::<BTreeSet<_>>().len(), 10);
}

#[test]
fn bsd_counts_up_whatever_delta_is() {
    let mut bench = Bench::new(&(1024..=65_535).into());
    bench.ports.delta = 7;
    let given: Vec<u16> = (0..3).filter_map(|turn| bench.take(PortAllocation::Bsd, turn, 1)).collect();
    assert_eq!(given, [1024, 1025, 1026]);
}

/// RFC 6056 section 3.3.3: towards one remote ports go up by one; towards another they start elsewhere.
#[test]
fn rfc6056_3_counts_up_towards_one_remote_and_elsewhere_towards_another() {
    let mut bench = Bench::new(&(1024..=65_535).into());
    let first: Vec<u16> = (0..3).filter_map(|_| bench.take(PortAllocation::Rfc6056Hash, 2, 80)).collect();
    assert_eq!([first[1] - first[0], first[2] - first[1]], [1, 1]);
    let other = bench.take(PortAllocation::Rfc6056Hash, 2, 443).expect("a port");
    assert!(other.abs_diff(first[2]) > 1);
    let again = bench.take(PortAllocation::Rfc6056Hash, 2, 80).expect("a port");
    assert_eq!(again - first[2], 2, "the one counter has moved on for all");
}

/// RFC 6056 section 3.3.4: with a row of its own, a remote's ports go up by one whatever the others do.
#[test]
fn rfc6056_4_counts_for_each_row_of_its_table() {
    let mut bench = Bench::new(&(1024..=65_535).into());
    bench.ports.table_length = 1000;
    let first = bench.take(PortAllocation::Rfc6056DoubleHash, 2, 80).expect("a port");
    bench.take(PortAllocation::Rfc6056DoubleHash, 2, 443).expect("a port");
    assert_eq!(bench.take(PortAllocation::Rfc6056DoubleHash, 2, 80), Some(first + 1));
    let mut one_row = Bench::new(&(1024..=65_535).into());
    one_row.ports.table_length = 1;
    let first = one_row.take(PortAllocation::Rfc6056DoubleHash, 2, 80).expect("a port");
    one_row.take(PortAllocation::Rfc6056DoubleHash, 2, 443).expect("a port");
    assert_eq!(one_row.take(PortAllocation::Rfc6056DoubleHash, 2, 80), Some(first + 2), "one row is algorithm 3");
}

/// RFC 6056 section 3.3.5.
#[test]
fn rfc6056_5_steps_by_at_most_the_increment() {
    let mut bench = Bench::new(&(1..=65_535).into());
    bench.ports.increment = 20;
    let given: Vec<u16> = (0..300).filter_map(|_| bench.take(PortAllocation::Rfc6056RandomIncrement, 2, 1)).collect();
    let steps: BTreeSet<u16> = given.windows(2).map(|pair| pair[1].wrapping_sub(pair[0])).collect();
    assert!(steps.iter().filter(|step| (1..=20).contains(*step)).count() == 20, "{steps:?}");
    assert!(steps.len() <= 21, "one step at most goes over the end: {steps:?}");
}

#[test]
fn hash_gives_the_same_port_again_after_a_pause() {
    let mut bench = Bench::new(&(1024..=65_535).into());
    let first = bench.take(PortAllocation::Hash, 2, 80).expect("a port");
    bench.taken.remove(first);
    bench.take(PortAllocation::Hash, 3, 80).expect("a port of another");
    assert_eq!(bench.take(PortAllocation::Hash, 2, 443), Some(first));
}

#[test]
fn the_rounds_of_linux_search_248_ports_and_give_up() {
    let ranges = PortRanges::from(1024..=65_535);
    let mut bench = Bench::new(&ranges);
    let candidates = Candidates::new(&ranges, Parity::Any);
    (1024..=u16::MAX).for_each(|port| _ = bench.taken.insert(port));
    let asked = std::cell::Cell::new(0);
    let towards = |_, _| {
        asked.set(asked.get() + 1);
        false
    };
    let mut choice = Choice {
        ports: &bench.ports,
        candidates: &candidates,
        class: Class::of(Protocol::Udp, behavior::PortClass::Netfilter, 5000),
        free: Free { taken: &bench.taken, towards: Some(&towards), rounds: true },
        random: &mut bench.random,
    };
    assert_eq!((choice.any(), asked.get()), (None, 128 + 64 + 32 + 16 + 8));
}

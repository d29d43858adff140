//! Links: delay, rate, queue, loss, duplication, reordering.
//!
//! Sans-IO: a length and a time go in, a fate comes out. Knows no packet, no node and no queue of events. The MTU is
//! the sending node's business, because only that node can fragment or answer; the cable (cut or whole) is the
//! interface's.
//!
//! One direction, in order: the packet waits its turn (`queue-full` if too many wait), is sent bit by bit, and then
//! may be lost, delayed, duplicated. A packet lost under way has used its share of the rate, as on a real line.

use std::collections::VecDeque;
use std::time::Duration;

use natbox_wire::{DropReason, Time};
use rand_core::Rng;
use rand_pcg::Pcg64Mcg;

use crate::note::LinkFate;
use crate::state::bring;
use crate::stream::dice;

/// One direction of a link. Both directions of an attachment have the same configuration and dice of their own.
#[derive(Clone, Debug, PartialEq)]
pub struct LinkConfig {
    /// Propagation delay, one way.
    pub latency: Duration,
    /// Each packet is delayed by up to this much more, evenly distributed; packets are not reordered by it.
    pub jitter: Duration,
    /// Share of packets lost, 0 to 1.
    pub loss: f64,
    /// Share of packets delivered twice, 0 to 1.
    pub duplicate: f64,
    /// Share of packets that may overtake the ones before them: they skip the jitter, 0 to 1.
    pub reorder: f64,
    /// Bits per second; `None` is without limit; at 0 nothing gets through.
    pub rate_bits_per_second: Option<u64>,
    /// Packets that may wait for their turn where there is a rate.
    pub queue_packets: usize,
    /// Largest packet, in bytes.
    pub mtu_bytes: usize,
}

impl Default for LinkConfig {
    /// A perfect link: no delay, no limit, MTU 1500.
    fn default() -> LinkConfig {
        LinkConfig {
            latency: Duration::ZERO,
            jitter: Duration::ZERO,
            loss: 0.0,
            duplicate: 0.0,
            reorder: 0.0,
            rate_bits_per_second: None,
            queue_packets: 1000,
            mtu_bytes: 1500,
        }
    }
}

impl LinkConfig {
    /// Whether every packet arrives at once, so that no link need be kept.
    pub(crate) fn is_perfect(&self) -> bool {
        self.latency.is_zero() && self.rate_bits_per_second.is_none() && !self.has_chance()
    }

    fn has_chance(&self) -> bool {
        !self.jitter.is_zero() || self.loss > 0.0 || self.duplicate > 0.0 || self.reorder > 0.0
    }
}

/// Which way through a link.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Direction {
    /// From the node to the network.
    Up,
    /// From the network to the node.
    Down,
}

/// A link with both directions.
pub(crate) struct Link {
    config: LinkConfig,
    up: Lane,
    down: Lane,
}

impl Link {
    /// A link; `up` and `down` seed the two directions' dice.
    pub(crate) fn new(config: LinkConfig, up: u64, down: u64) -> Link {
        let chance = config.has_chance();
        Link { up: Lane::new(chance, up), down: Lane::new(chance, down), config }
    }

    /// How it is configured.
    pub(crate) fn config(&self) -> &LinkConfig {
        &self.config
    }

    /// Another configuration, for packets that come from now on; those that are under way or wait keep their times, and
    /// nobody overtakes them who might not overtake otherwise. `up` and `down` seed dice where there are none yet.
    pub(crate) fn reconfigure(&mut self, config: LinkConfig, up: u64, down: u64) {
        if config.has_chance() {
            self.up.dice.get_or_insert_with(|| Box::new(dice(up)));
            self.down.dice.get_or_insert_with(|| Box::new(dice(down)));
        }
        self.config = config;
    }

    /// Whether all that a packet meets is delay: no dice are thrown for it, and it takes no time to send.
    pub(crate) fn carries_whole(&self) -> bool {
        self.config.rate_bits_per_second.is_none() && !self.config.has_chance()
    }

    /// Brings it near.
    pub(crate) fn bring(&self) {
        bring(&self.config);
        bring(&self.up.last_arrival);
        bring(&self.down.last_arrival);
    }

    /// What becomes of a packet of this length.
    pub(crate) fn carry(&mut self, direction: Direction, length_bytes: usize, now: Time) -> LinkFate {
        let lane = match direction {
            Direction::Up => &mut self.up,
            Direction::Down => &mut self.down,
        };
        lane.carry(&self.config, length_bytes, now)
    }
}

/// The state of one direction.
struct Lane {
    dice: Option<Box<Pcg64Mcg>>,
    /// When the line is free again: whole nanoseconds, and the rest in units of 1/rate nanoseconds.
    free_at: u64,
    free_at_fraction: u64,
    /// When the packets that wait will have their turn.
    turns: VecDeque<Time>,
    /// No packet arrives before this one, unless it overtakes.
    last_arrival: Time,
}

/// What chance decides about one packet. All is drawn for every packet, so that changing one share leaves the other
/// draws where they were.
struct Draw {
    lost: bool,
    duplicated: bool,
    overtakes: bool,
    jitter: [Duration; 2],
}

impl Lane {
    fn new(chance: bool, seed: u64) -> Lane {
        let dice = chance.then(|| Box::new(dice(seed)));
        Lane { dice, free_at: 0, free_at_fraction: 0, turns: VecDeque::new(), last_arrival: Time::ZERO }
    }

    fn carry(&mut self, config: &LinkConfig, length_bytes: usize, now: Time) -> LinkFate {
        let draw = self.draw(config);
        let Some(sent) = self.serialise(config, length_bytes, now) else {
            return LinkFate::Dropped(DropReason::QueueFull);
        };
        if draw.lost {
            return LinkFate::Dropped(DropReason::Loss);
        }
        let earliest = sent + config.latency;
        let arrives = if draw.overtakes { earliest } else { self.in_order(earliest + draw.jitter[0]) };
        if draw.duplicated {
            let again = self.in_order(earliest + draw.jitter[1]);
            return LinkFate::Duplicated { arrives: arrives.min(again), again };
        }
        LinkFate::Carried { arrives }
    }

    /// When the last bit has been sent; `None` if the queue is full.
    fn serialise(&mut self, config: &LinkConfig, length_bytes: usize, now: Time) -> Option<Time> {
        let Some(rate) = config.rate_bits_per_second else {
            return Some(now);
        };
        while self.turns.front().is_some_and(|turn| *turn <= now) {
            self.turns.pop_front();
        }
        if self.line_free() <= now {
            (self.free_at, self.free_at_fraction) = (now.as_nanos(), 0);
        } else if self.turns.len() >= config.queue_packets {
            return None;
        } else {
            self.turns.push_back(self.line_free());
        }
        self.occupy(rate, length_bytes)?;
        Some(self.line_free())
    }

    /// Keeps the line busy for one packet more, exactly: fractions of a nanosecond are carried over.
    fn occupy(&mut self, rate: u64, length_bytes: usize) -> Option<()> {
        let work = length_bytes as u128 * 8 * 1_000_000_000 + u128::from(self.free_at_fraction);
        let nanos = work.checked_div(u128::from(rate))?;
        self.free_at_fraction = (work % u128::from(rate)) as u64;
        self.free_at = self.free_at.saturating_add(u64::try_from(nanos).unwrap_or(u64::MAX));
        Some(())
    }

    /// The first whole nanosecond at which the line is free.
    fn line_free(&self) -> Time {
        Time::from_nanos(self.free_at.saturating_add(u64::from(self.free_at_fraction > 0)))
    }

    /// Jitter alone reorders nothing: a packet arrives with the one before it at the earliest.
    fn in_order(&mut self, arrives: Time) -> Time {
        self.last_arrival = self.last_arrival.max(arrives);
        self.last_arrival
    }

    fn draw(&mut self, config: &LinkConfig) -> Draw {
        let Some(dice) = &mut self.dice else {
            return Draw { lost: false, duplicated: false, overtakes: false, jitter: [Duration::ZERO; 2] };
        };
        Draw {
            lost: happens(dice, config.loss),
            duplicated: happens(dice, config.duplicate),
            overtakes: happens(dice, config.reorder),
            jitter: [up_to(dice, config.jitter), up_to(dice, config.jitter)],
        }
    }
}

/// True with this probability.
fn happens(dice: &mut Pcg64Mcg, share: f64) -> bool {
    // 53 bits: what an f64 holds exactly.
    ((dice.next_u64() >> 11) as f64) < share * (1u64 << 53) as f64
}

/// Evenly distributed from zero to `most`, both included.
fn up_to(dice: &mut Pcg64Mcg, most: Duration) -> Duration {
    let values = u128::from(u64::try_from(most.as_nanos()).unwrap_or(u64::MAX)) + 1;
    Duration::from_nanos(((u128::from(dice.next_u64()) * values) >> 64) as u64)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const MS: Duration = Duration::from_millis(1);

    fn at(nanos: u64) -> Time {
        Time::from_nanos(nanos)
    }

    fn link(config: LinkConfig) -> Link {
        Link::new(config, 1, 2)
    }

    fn up(link: &mut Link, length_bytes: usize, nanos: u64) -> LinkFate {
        link.carry(Direction::Up, length_bytes, at(nanos))
    }

    /// The times at which 10,000 packets, one a microsecond, arrive; none for those that are lost.
    fn arrivals(config: LinkConfig) -> Vec<Option<(Time, Option<Time>)>> {
        let mut link = link(config);
        (0..10_000)
            .map(|packet| match up(&mut link, 100, packet * 1000) {
                LinkFate::Carried { arrives } => Some((arrives, None)),
                LinkFate::Duplicated { arrives, again } => Some((arrives, Some(again))),
                LinkFate::Dropped(_) => None,
            })
            .collect()
    }

    #[test]
    fn latency_is_exact() {
        let mut link = link(LinkConfig { latency: 7 * MS, ..LinkConfig::default() });
        assert_eq!(up(&mut link, 1500, 3), LinkFate::Carried { arrives: at(7_000_003) });
    }

    #[test]
    fn packets_at_a_rate_follow_one_another_without_drift() {
        // 1,000 bytes at 3 Mbit/s take 2,666,666 2/3 ns: three take 8 ms, three thousand take 8 s.
        let mut link =
            link(LinkConfig { rate_bits_per_second: Some(3_000_000), queue_packets: 5000, ..LinkConfig::default() });
        let fates: Vec<LinkFate> = (0..3000).map(|_| up(&mut link, 1000, 0)).collect();
        assert_eq!(fates[0], LinkFate::Carried { arrives: at(2_666_667) });
        assert_eq!(fates[1], LinkFate::Carried { arrives: at(5_333_334) });
        assert_eq!(fates[2], LinkFate::Carried { arrives: at(8_000_000) });
        assert_eq!(fates[2999], LinkFate::Carried { arrives: at(8_000_000_000) });
    }

    #[test]
    fn an_idle_line_starts_afresh() {
        let mut link = link(LinkConfig { rate_bits_per_second: Some(8_000_000), ..LinkConfig::default() });
        assert_eq!(up(&mut link, 1000, 0), LinkFate::Carried { arrives: at(1_000_000) });
        assert_eq!(up(&mut link, 1000, 5_000_000), LinkFate::Carried { arrives: at(6_000_000) });
    }

    #[test]
    fn the_queue_drops_its_tail_and_takes_more_when_one_has_had_its_turn() {
        let config = LinkConfig { rate_bits_per_second: Some(8_000_000), queue_packets: 2, ..LinkConfig::default() };
        let mut link = link(config);
        let fates: Vec<LinkFate> = (0..4).map(|_| up(&mut link, 1000, 0)).collect();
        assert_eq!(fates[2], LinkFate::Carried { arrives: at(3_000_000) }, "one is on the line, two wait");
        assert_eq!(fates[3], LinkFate::Dropped(DropReason::QueueFull));
        assert_eq!(up(&mut link, 1000, 999_999), LinkFate::Dropped(DropReason::QueueFull));
        assert_eq!(up(&mut link, 1000, 1_000_000), LinkFate::Carried { arrives: at(4_000_000) });
    }

    #[test]
    fn what_is_under_way_keeps_its_time_and_what_comes_meets_the_other_link() {
        let mut link = link(LinkConfig { latency: 50 * MS, ..LinkConfig::default() });
        assert_eq!(up(&mut link, 1000, 0), LinkFate::Carried { arrives: at(50_000_000) });
        let slow =
            LinkConfig { latency: MS, rate_bits_per_second: Some(800_000), queue_packets: 2, ..LinkConfig::default() };
        link.reconfigure(slow.clone(), 1, 2);
        assert_eq!(*link.config(), slow);
        let fates: Vec<LinkFate> = (0..4).map(|_| up(&mut link, 1000, 10_000_000)).collect();
        assert_eq!(fates[0], LinkFate::Carried { arrives: at(50_000_000) }, "behind the one before it");
        assert_eq!(fates[2], LinkFate::Carried { arrives: at(50_000_000) });
        assert_eq!(fates[3], LinkFate::Dropped(DropReason::QueueFull));
        link.reconfigure(LinkConfig { loss: 1.0, ..slow }, 1, 2);
        assert_eq!(up(&mut link, 1000, 60_000_000), LinkFate::Dropped(DropReason::Loss));
    }

    #[test]
    fn a_rate_of_zero_lets_nothing_through() {
        let mut link = link(LinkConfig { rate_bits_per_second: Some(0), ..LinkConfig::default() });
        assert_eq!(up(&mut link, 1, 0), LinkFate::Dropped(DropReason::QueueFull));
    }

    #[test]
    fn one_in_ten_is_lost_at_a_loss_of_a_tenth() {
        let lost = arrivals(LinkConfig { loss: 0.1, ..LinkConfig::default() }).iter().filter(|a| a.is_none()).count();
        assert!((900..1100).contains(&lost), "{lost} of 10,000 lost");
    }

    #[test]
    fn all_is_lost_at_one_and_nothing_at_zero() {
        assert!(arrivals(LinkConfig { loss: 1.0, ..LinkConfig::default() }).iter().all(Option::is_none));
        assert!(arrivals(LinkConfig { jitter: MS, ..LinkConfig::default() }).iter().all(Option::is_some));
    }

    #[test]
    fn one_in_four_comes_twice_at_a_quarter() {
        let config = LinkConfig { duplicate: 0.25, latency: MS, ..LinkConfig::default() };
        let twice = arrivals(config).iter().flatten().filter(|(_, again)| again.is_some()).count();
        assert!((2300..2700).contains(&twice), "{twice} of 10,000 twice");
    }

    #[test]
    fn jitter_delays_by_up_to_its_value_and_keeps_the_order() {
        // Packets come one a microsecond and are delayed by up to ten: without care they would overtake.
        let jitter = Duration::from_micros(10);
        let times: Vec<Time> =
            arrivals(LinkConfig { jitter, ..LinkConfig::default() }).into_iter().flatten().map(|(at, _)| at).collect();
        assert!(times.is_sorted());
        let delays: Vec<Duration> = (0..).zip(&times).map(|(sent, arrived)| *arrived - at(sent * 1000)).collect();
        assert!(delays.iter().all(|delay| *delay <= jitter));
        assert!(delays.iter().any(|delay| *delay > jitter * 9 / 10));
        assert!(delays.iter().any(|delay| *delay < jitter / 2));
    }

    #[test]
    fn reordered_packets_skip_the_jitter_and_overtake() {
        let config = LinkConfig { latency: MS, jitter: MS, reorder: 0.1, ..LinkConfig::default() };
        let times: Vec<Time> = arrivals(config).into_iter().flatten().map(|(at, _)| at).collect();
        let exact = (0..).zip(&times).filter(|(sent, arrived)| **arrived - at(sent * 1000) == MS).count();
        assert!((900..1100).contains(&exact), "{exact} of 10,000 skipped the jitter");
        assert!(!times.is_sorted());
    }

    #[test]
    fn the_two_directions_have_dice_of_their_own() {
        let mut link = link(LinkConfig { loss: 0.5, ..LinkConfig::default() });
        let mut fates = |direction| (0..64).map(|_| link.carry(direction, 1, Time::ZERO)).collect::<Vec<_>>();
        assert_ne!(fates(Direction::Up), fates(Direction::Down));
    }

    #[test]
    fn more_loss_loses_the_same_packets_and_more() {
        let lost = |loss| -> Vec<bool> {
            arrivals(LinkConfig { loss, jitter: MS, ..LinkConfig::default() }).iter().map(Option::is_none).collect()
        };
        let (few, many) = (lost(0.1), lost(0.2));
        assert!(few.iter().zip(&many).all(|(few, many)| *many || !*few));
        assert!(few != many);
    }

    proptest! {
        #[test]
        fn nothing_arrives_before_it_can(
            latency in 0u64..1_000_000, jitter in 0u64..1_000_000, rate in proptest::option::of(1u64..1_000_000_000),
            packets in proptest::collection::vec((0usize..70_000, 0u64..1_000_000), 1..50), seed: u64,
        ) {
            let config = LinkConfig {
                latency: Duration::from_nanos(latency), jitter: Duration::from_nanos(jitter),
                duplicate: 0.3, rate_bits_per_second: rate, ..LinkConfig::default()
            };
            let mut link = Link::new(config, seed, seed);
            let (mut now, mut last) = (0, Time::ZERO);
            for (length, gap) in packets {
                now += gap;
                let line = rate.map_or(0, |rate| (length as u128 * 8_000_000_000).div_ceil(rate.into()) as u64);
                match up(&mut link, length, now) {
                    LinkFate::Carried { arrives } | LinkFate::Duplicated { arrives, .. } => {
                        prop_assert!(arrives >= at(now + latency + line.saturating_sub(1)));
                        prop_assert!(arrives >= last);
                        last = arrives;
                    }
                    LinkFate::Dropped(reason) => prop_assert_eq!(reason, DropReason::QueueFull),
                }
            }
        }
    }
}

//! Initial sequence numbers of connections between endpoints that have been connected before.
//!
//! A number drawn at random may lie before the one of the last connection, and whoever still remembers that one (a peer
//! in TIME-WAIT, a firewall that tracks sequence numbers) takes the new SYN for an old one. RFC 9293 section 3.4.1 has
//! the numbers of a pair of endpoints grow with time. Here they are drawn again until they do; the first of a pair is
//! anybody's.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::time::Duration;

use natbox_wire::Time;

/// Two maximum segment lifetimes (RFC 9293 section 3.4.2).
const REMEMBERED: Duration = Duration::from_secs(240);
/// The most pairs that are remembered.
const MOST: usize = 1024;
/// Every second number will do.
const MOST_DRAWS: u32 = 64;

/// The last numbers by pair.
#[derive(Debug, Default)]
pub(super) struct Initial {
    last: BTreeMap<(SocketAddr, SocketAddr), (u32, Time)>,
}

impl Initial {
    /// What `draw` gives, as often as it must be asked: it is told the number that comes of its seed.
    pub(super) fn seed(
        &self,
        pair: (SocketAddr, SocketAddr),
        now: Time,
        mut draw: impl FnMut() -> u64,
        number_of: impl Fn(u64) -> Option<u32>,
    ) -> u64 {
        let mut seed = draw();
        let Some((last, _)) = self.last.get(&pair).filter(|(_, at)| now.since(*at) < REMEMBERED) else { return seed };
        for _ in 0..MOST_DRAWS {
            let grows = number_of(seed).is_none_or(|number| number.wrapping_sub(*last).cast_signed() > 0);
            if grows {
                break;
            }
            seed = draw();
        }
        seed
    }

    /// A connection begins with this number.
    pub(super) fn note(&mut self, pair: (SocketAddr, SocketAddr), number: u32, now: Time) {
        if self.last.len() >= MOST {
            self.last.retain(|_, (_, at)| now.since(*at) < REMEMBERED);
        }
        if self.last.len() >= MOST {
            self.last.pop_first();
        }
        self.last.insert(pair, (number, now));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pair(remote: u16) -> (SocketAddr, SocketAddr) {
        (([10, 0, 0, 2], 1000).into(), ([198, 18, 0, 9], remote).into())
    }

    fn at(seconds: u64) -> Time {
        Time::ZERO + Duration::from_secs(seconds)
    }

    /// The number that comes of these draws, each of which is its own number.
    fn number(initial: &Initial, remote: u16, now: Time, draws: &[u32]) -> u32 {
        let mut draws = draws.iter();
        let draw = || u64::from(*draws.next().expect("no more draws than these"));
        initial.seed(pair(remote), now, draw, |seed| u32::try_from(seed).ok()) as u32
    }

    #[test]
    fn the_first_connection_of_a_pair_takes_any_number() {
        assert_eq!(number(&Initial::default(), 80, at(0), &[7]), 7);
    }

    #[test]
    fn the_next_takes_the_first_that_lies_beyond() {
        let mut initial = Initial::default();
        initial.note(pair(80), 1000, at(0));
        assert_eq!(number(&initial, 80, at(1), &[1000, 999, 0x9000_0000, 1001]), 1001);
        assert_eq!(number(&initial, 81, at(1), &[3]), 3, "another pair's");
    }

    #[test]
    fn beyond_is_meant_in_sequence_space() {
        let mut initial = Initial::default();
        initial.note(pair(80), u32::MAX - 1, at(0));
        assert_eq!(number(&initial, 80, at(1), &[u32::MAX - 2, 5]), 5, "past the end comes the beginning");
    }

    #[test]
    fn a_number_is_forgotten_after_two_segment_lifetimes() {
        let mut initial = Initial::default();
        initial.note(pair(80), 1000, at(0));
        assert_eq!(number(&initial, 80, at(239), &[1, 2000]), 2000);
        assert_eq!(number(&initial, 80, at(240), &[1]), 1);
    }

    #[test]
    fn dice_that_never_get_there_end() {
        let mut initial = Initial::default();
        initial.note(pair(80), 1000, at(0));
        assert_eq!(number(&initial, 80, at(1), &[1; 65]), 1, "{MOST_DRAWS} draws, and the one before");
    }

    #[test]
    fn a_seed_that_has_no_number_is_taken() {
        let mut initial = Initial::default();
        initial.note(pair(80), 1000, at(0));
        assert_eq!(initial.seed(pair(80), at(1), || 1, |_| None), 1);
    }

    #[test]
    fn memory_is_bounded() {
        let mut initial = Initial::default();
        for remote in 0..2000 {
            initial.note(pair(remote), 1000, at(0));
        }
        assert_eq!(initial.last.len(), MOST);
        initial.note(pair(2000), 1000, at(240));
        assert_eq!(initial.last.len(), 1, "what is forgotten makes room first");
    }
}

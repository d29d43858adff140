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

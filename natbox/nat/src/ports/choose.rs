//! Which free port: the rules of RFC 4787 section 4.2, RFC 6056 section 3.3, and Linux.
//!
//! Every rule is arithmetic on the indices of the candidates and ends with a search of the set of taken ports, so that it
//! is exact where it can be and bounded always. All chance comes from one seeded stream.

use natbox_wire::Protocol;
use rand_core::Rng;

use crate::behavior::{self, PortAllocation};
use crate::key::{Address, Endpoint, Hash};
use crate::ports::candidates::{CLASSES, Candidates, Class};
use crate::ports::set::PortSet;

/// Random tries before the set is searched: with half of the ports free, one allocation in 256 searches.
const TRIES: u32 = 8;
/// Random tries of RFC 6056's algorithm 2, which has nothing else.
const TRIES_OF_SIMPLE_2: u32 = 256;
/// Steps that are tried one by one before the set is searched for the next port above.
const STEPS: u32 = 64;
/// Taken ports that are asked about one by one where they may be free towards a remote.
const STEPS_TOWARDS: u32 = 1024;
/// Linux searches so many ports from a random start, then half as many from another, and so on
/// (`nf_nat_l4proto_unique_tuple`): 128, 64, 32, 16 and 8.
const ROUND: u32 = 128;

/// The last port given out, by class.
#[derive(Clone, Copy, Default)]
pub(crate) struct Last([Option<u16>; CLASSES]);

/// The counters of the hash-based rules (RFC 6056 algorithms 3 and 4).
#[derive(Default)]
pub(crate) struct Counters {
    one: u32,
    /// Made, of random values, when first needed.
    table: Vec<u32>,
}

/// What the keyed rules look at.
pub(crate) struct Keys<'a, A> {
    pub(crate) hash: &'a Hash,
    pub(crate) protocol: Protocol,
    pub(crate) internal: Endpoint<A>,
    pub(crate) remote: Endpoint<A>,
}

impl<A: Address> Keys<'_, A> {
    fn host(&self) -> Endpoint<A> {
        Endpoint { port: 0, ..self.internal }
    }

    /// F of RFC 6056: of the internal address and the remote.
    fn offset(&self) -> u32 {
        mixed(self.hash.two(self.protocol, self.host(), self.remote))
    }

    /// G of RFC 6056: another hash of the same.
    fn row(&self) -> u32 {
        mixed(self.hash.two(self.protocol, self.remote, self.host()))
    }

    fn internal(&self) -> u32 {
        mixed(self.hash.one(self.protocol, self.internal))
    }
}

/// Which ports are free.
pub(crate) struct Free<'a> {
    pub(crate) taken: &'a PortSet,
    /// Whether a port is free towards the remote, told whether it is taken; where that makes a difference.
    pub(crate) towards: Option<&'a dyn Fn(u16, bool) -> bool>,
    /// Whether the search is that of Linux.
    pub(crate) rounds: bool,
}

impl Free<'_> {
    pub(crate) fn has(&self, port: u16) -> bool {
        let taken = self.taken.contains(port);
        self.towards.map_or(!taken, |is_free| is_free(port, taken))
    }

    /// The first free candidate at or after an index. Ports that are only free towards the remote are found within
    /// [`STEPS_TOWARDS`] of it.
    fn from(&self, candidates: &Candidates, index: u32) -> Option<u16> {
        if self.towards.is_none() {
            return candidates.free_from(self.taken, index);
        }
        let mut near = (0..candidates.count().min(STEPS_TOWARDS)).filter_map(|step| candidates.at(index + step));
        let near = near.find(|port| self.has(*port));
        near.or_else(|| candidates.free_from(self.taken, index).filter(|port| self.has(*port)))
    }
}

/// One choice of a port.
pub(crate) struct Choice<'a, R> {
    pub(crate) ports: &'a behavior::Ports,
    pub(crate) candidates: &'a Candidates,
    pub(crate) class: Class,
    pub(crate) free: Free<'a>,
    pub(crate) random: &'a mut R,
}

impl<R: Rng> Choice<'_, R> {
    /// A free port by a rule that does not look at the internal port itself.
    pub(crate) fn by_rule<A: Address>(
        &mut self,
        rule: PortAllocation,
        keys: &Keys<'_, A>,
        last: &mut Last,
        counters: &mut Counters,
    ) -> Option<u16> {
        match rule {
            PortAllocation::Sequential => self.next(last, u32::from(self.ports.delta.max(1))),
            PortAllocation::Bsd => self.next(last, 1),
            PortAllocation::Rfc6056Simple1 => self.random_start(),
            PortAllocation::Rfc6056Simple2 => self.random_tries(),
            PortAllocation::Rfc6056Hash => self.hashed(keys.offset(), &mut counters.one),
            PortAllocation::Rfc6056DoubleHash => self.double_hashed(keys, counters),
            PortAllocation::Rfc6056RandomIncrement => self.random_increment(last),
            PortAllocation::Hash => self.free.from(self.candidates, scaled(keys.internal(), self.candidates.count())),
            PortAllocation::Preserve
            | PortAllocation::Random
            | PortAllocation::Block
            | PortAllocation::Deterministic => self.any(),
        }
    }

    /// A random free port. When most are taken, the next free one above the last try.
    pub(crate) fn any(&mut self) -> Option<u16> {
        if self.free.rounds {
            return self.rounds();
        }
        let mut index = 0;
        for _ in 0..TRIES {
            index = self.draw();
            let port = self.candidates.at(index)?;
            if self.free.has(port) {
                return Some(port);
            }
        }
        self.free.from(self.candidates, index)
    }

    /// The next free port above this one.
    pub(crate) fn above(&self, port: u16) -> Option<u16> {
        self.free.from(self.candidates, self.candidates.index_from(port.wrapping_add(1)))
    }

    /// The search of Linux: exact only in ranges that one round covers.
    fn rounds(&mut self) -> Option<u16> {
        let count = self.candidates.count();
        let mut attempts = count.min(ROUND);
        loop {
            let start = self.draw();
            let round = (0..attempts).filter_map(|step| self.candidates.at(start + step));
            if let Some(port) = round.into_iter().find(|port| self.free.has(*port)) {
                return Some(port);
            }
            if attempts >= count || attempts < 16 {
                return None;
            }
            attempts /= 2;
        }
    }

    /// `delta` after the last one, taken ports skipped.
    fn next(&mut self, last: &mut Last, delta: u32) -> Option<u16> {
        let last = &mut last.0[self.class.number()];
        let start = last.map_or(0, |last| match self.candidates.index_of(last) {
            Some(index) => index + delta,
            None => self.candidates.index_from(last) + delta - 1,
        });
        let stride = (1..STEPS).filter(|_| delta > 1).map(|step| start + step * delta);
        let mut stepped = std::iter::once(start).chain(stride).filter_map(|index| self.candidates.at(index));
        let port = stepped.find(|port| self.free.has(*port)).or_else(|| self.free.from(self.candidates, start))?;
        *last = Some(port);
        Some(port)
    }

    /// RFC 6056 algorithm 1.
    fn random_start(&mut self) -> Option<u16> {
        let start = self.draw();
        self.free.from(self.candidates, start)
    }

    /// RFC 6056 algorithm 2. Where hundreds of tries find nothing, the next free port ends the search.
    fn random_tries(&mut self) -> Option<u16> {
        let found = self.any()?;
        for _ in 0..TRIES_OF_SIMPLE_2 {
            let index = self.draw();
            if let Some(port) = self.candidates.at(index).filter(|port| self.free.has(*port)) {
                return Some(port);
            }
        }
        Some(found)
    }

    /// RFC 6056 algorithm 3: every port that is tried moves the counter on by one.
    fn hashed(&mut self, offset: u32, counter: &mut u32) -> Option<u16> {
        let count = self.candidates.count();
        let start = (scaled(offset, count) + counter.checked_rem(count)?) % count;
        let port = self.free.from(self.candidates, start)?;
        let tried = (self.candidates.index_of(port)? + count - start) % count;
        *counter = (*counter % count + tried + 1) % count;
        Some(port)
    }

    /// RFC 6056 algorithm 4.
    fn double_hashed<A: Address>(&mut self, keys: &Keys<'_, A>, counters: &mut Counters) -> Option<u16> {
        let rows = usize::from(self.ports.table_length.max(1));
        if counters.table.len() != rows {
            counters.table = (0..rows).map(|_| self.random.next_u32() >> 16).collect();
        }
        let row = scaled(keys.row(), rows as u32) as usize;
        self.hashed(keys.offset(), &mut counters.table[row])
    }

    /// RFC 6056 algorithm 5.
    fn random_increment(&mut self, last: &mut Last) -> Option<u16> {
        let largest = u32::from(self.ports.increment.max(1));
        let known = last.0[self.class.number()].map(|last| self.candidates.index_from(last));
        let mut index = known.unwrap_or_else(|| self.draw());
        let mut port = None;
        for _ in 0..STEPS {
            index += scaled(self.random.next_u32(), largest) + 1;
            port = self.candidates.at(index).filter(|port| self.free.has(*port));
            if port.is_some() {
                break;
            }
        }
        let port = port.or_else(|| self.free.from(self.candidates, index))?;
        last.0[self.class.number()] = Some(port);
        Some(port)
    }

    /// An even draw of an index, from one random word (the bias, below 2^-16, is the price of one draw).
    fn draw(&mut self) -> u32 {
        scaled(self.random.next_u32(), self.candidates.count())
    }
}

/// The 32 bits of a hash that stand for it where a number below a bound is made of it. The hash is made for tables, and
/// its bits are not all alike; the mixing is that of SplitMix64.
pub(crate) fn mixed(hash: u64) -> u32 {
    let hash = (hash ^ hash >> 30).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    let hash = (hash ^ hash >> 27).wrapping_mul(0x94D0_49BB_1331_11EB);
    (hash ^ hash >> 31) as u32
}

/// A number of 32 bits scaled to one below `count`.
pub(crate) fn scaled(number: u32, count: u32) -> u32 {
    ((u64::from(number) * u64::from(count)) >> 32) as u32
}

#[cfg(test)]
#[path = "choose_tests.rs"]
mod tests;

//! Blocks of ports that a host holds (RFC 6888 section 4: one line in the log for each block).
//!
//! The range is cut into blocks of consecutive ports; what is left over at its end is nobody's. A block serves all
//! protocols of its host, and goes back when none of its ports is in use. Classes do not count: a host's ports are what
//! they are.

use rand_core::Rng;

use crate::behavior;
use crate::ports::candidates::{Candidates, Choices};
use crate::ports::choose::{Free, scaled};
use crate::ports::set::{Parity, PortSet};

/// Random tries before a block is searched port by port.
const TRIES: u32 = 8;

/// A block that a host holds.
struct Block {
    /// The index of its external address.
    external: u32,
    number: u16,
    /// Its ports in use, by protocol.
    used: [u32; 3],
}

/// The blocks of a host, in the order in which it got them.
#[derive(Default)]
pub(crate) struct Blocks(Vec<Block>);

/// How a range is cut.
#[derive(Clone, Copy)]
pub(crate) struct Cut {
    size: u32,
    blocks: u32,
}

impl Cut {
    pub(crate) fn of(ports: &behavior::Ports, all: &Candidates) -> Cut {
        let size = u32::from(ports.block_size.max(1));
        Cut { size, blocks: all.count() / size }
    }

    /// The block that a port is in; `None` if it is left over, or not in the range.
    pub(crate) fn number(self, all: &Candidates, port: u16) -> Option<u16> {
        all.index_of(port)
            .map(|index| index / self.size)
            .filter(|number| *number < self.blocks)
            .map(|number| number as u16)
    }

    /// A random port of a block, by the rules of [`crate::ports::choose`].
    fn pick(self, block: u16, choices: &Choices, free: &Free<'_>, internal: u16, random: &mut impl Rng) -> Option<u16> {
        let first = u32::from(block) * self.size;
        let is_free = |port: &u16| choices.suits(internal, *port) && free.has(*port);
        let mut place = 0;
        for _ in 0..TRIES {
            place = scaled(random.next_u32(), self.size);
            if let Some(port) = choices.all.at(first + place).filter(is_free) {
                return Some(port);
            }
        }
        (0..self.size).find_map(|step| choices.all.at(first + (place + step) % self.size).filter(is_free))
    }
}

/// What a host asks for.
pub(crate) struct Wanted<'a> {
    pub(crate) external: u32,
    /// The protocol's place.
    pub(crate) protocol: usize,
    pub(crate) internal: u16,
    pub(crate) free: Free<'a>,
    /// Blocks that it may hold.
    pub(crate) most: u16,
}

impl Blocks {
    /// A port of the blocks held on an external address, or of a new one from those that are not `given`. It is the
    /// host's when [`Blocks::hold`] says so.
    pub(crate) fn take(
        &self,
        wanted: &Wanted<'_>,
        cut: Cut,
        choices: &Choices,
        given: &PortSet,
        random: &mut impl Rng,
    ) -> Option<u16> {
        let Wanted { external, protocol, internal, free, most } = wanted;
        for block in self.0.iter().filter(|block| block.external == *external) {
            let may_have_one = block.used[*protocol] < cut.size || free.towards.is_some();
            if may_have_one && let Some(port) = cut.pick(block.number, choices, free, *internal, random) {
                return Some(port);
            }
        }
        if self.0.len() >= usize::from(*most) {
            return None;
        }
        let last = u16::try_from(cut.blocks.checked_sub(1)?).ok()?;
        let start = scaled(random.next_u32(), cut.blocks) as u16;
        let first = given.free_in(start, last, Parity::Any).or_else(|| given.free_in(0, last, Parity::Any))?;
        cut.pick(first, choices, free, *internal, random).or_else(|| {
            // All ports of that one rest; another may have one that does not.
            let mut others = (0..=last).filter(|number| !given.contains(*number));
            others.find_map(|number| cut.pick(number, choices, free, *internal, random))
        })
    }

    /// One use of a port more.
    pub(crate) fn hold(&mut self, external: u32, protocol: usize, number: u16) {
        let at = self.0.iter().position(|block| (block.external, block.number) == (external, number));
        let at = at.unwrap_or_else(|| {
            self.0.push(Block { external, number, used: [0; 3] });
            self.0.len() - 1
        });
        self.0[at].used[protocol] += 1;
    }

    /// One use of a port less; tells the number of its block if that goes back.
    pub(crate) fn release(
        &mut self,
        external: u32,
        protocol: usize,
        cut: Cut,
        all: &Candidates,
        port: u16,
    ) -> Option<u16> {
        let number = cut.number(all, port)?;
        let at = self.0.iter().position(|block| (block.external, block.number) == (external, number))?;
        let block = &mut self.0[at];
        block.used[protocol] = block.used[protocol].saturating_sub(1);
        (block.used == [0; 3]).then(|| self.0.remove(at).number)
    }
}

//! A TUN device as a world's driver uses it: how much is read from it at a time, and datagrams gathered on their way to it.
//!
//! Of a device that mostly has one packet, one is read: asking whether there is another costs as much as reading it. Of one
//! that has more, twice as many each time. What is gathered waits no longer than for the end of what happens now.
//!
//! Guesses that may cost more than they save are made by [`Guess`], which makes them rarer the more often they are wrong.

use std::io;

use natbox_wire::Packet;
use natbox_world::{Arrived, InterfaceId};

use crate::tun::{HEADER_BYTES, Tun};

/// So many packets are taken from a device before the world has its turn.
const BATCH: usize = 64;
/// Or packets of so many bytes: they are handed on while they are still in the processor's cache.
const BATCH_BYTES: usize = 256 << 10;
/// Largest packet that a device can hand out.
const LARGEST_BYTES: usize = 65_535 + HEADER_BYTES;
/// Packets that are not larger than this get memory of their own size.
const SMALL_BYTES: usize = 2_048;
/// A large packet is expected where there was one among so many.
const LATELY: u32 = 16;
/// Memory for so many large packets is kept.
const POOL: usize = 2 * BATCH_BYTES / LARGEST_BYTES;

/// A device, and what is under way to it.
pub(crate) struct Device {
    interface: InterfaceId,
    tun: Tun,
    /// How many packets are read before the world has its turn.
    batch: usize,
    /// Whether there will be more.
    more: Guess,
    /// How many small packets have come since the last large one.
    small: u32,
    /// Datagrams that are handed over together.
    gathered: Option<Packet>,
    /// Whether the driver knows that it has to flush this.
    due: bool,
    /// Whether the kernel has last refused what was gathered: then nothing is, so that each packet's fate is known.
    refuses: bool,
}

impl Device {
    pub(crate) fn new(interface: InterfaceId, tun: Tun) -> Device {
        Device {
            interface,
            tun,
            batch: 1,
            more: Guess::default(),
            small: LATELY,
            gathered: None,
            due: false,
            refuses: false,
        }
    }

    pub(crate) fn tun(&self) -> &Tun {
        &self.tun
    }

    /// Takes what the device has, or a batch of it.
    ///
    /// # Errors
    /// The device is gone.
    pub(crate) fn read(&mut self, pool: &mut Pool, arrived: &mut Vec<Arrived>) -> io::Result<()> {
        let sure = self.batch;
        if self.more.is_worth_it() {
            self.batch = (self.batch * 2).min(BATCH);
        }
        let mut total_bytes = 0;
        for count in 0..self.batch {
            let Some(came) = self.read_one(pool)? else {
                if self.batch > sure {
                    self.more.was(count > sure);
                }
                self.batch = count.max(1);
                return Ok(());
            };
            total_bytes += came.bytes.len();
            arrived.push(came);
            if total_bytes >= BATCH_BYTES {
                return Ok(());
            }
        }
        if self.batch > sure {
            self.more.was(true);
        }
        Ok(())
    }

    /// Takes one packet. A small one is copied into memory of its size; a large one, where one was expected, stays where the
    /// kernel has put it.
    fn read_one(&mut self, pool: &mut Pool) -> io::Result<Option<Arrived>> {
        let mut memory = pool.take();
        let apart = self.small < LATELY;
        let read = if apart { self.tun.read(&mut memory)? } else { self.tun.read_whole(&mut memory)? };
        let Some(offload) = read else {
            pool.put(memory);
            return Ok(None);
        };
        let start = if apart { 0 } else { HEADER_BYTES.min(memory.len()) };
        let bytes = if memory.len() > SMALL_BYTES {
            self.small = 0;
            memory.drain(..start);
            memory
        } else {
            self.small = self.small.saturating_add(1);
            let bytes = memory[start..].to_vec();
            pool.put(memory);
            bytes
        };
        Ok(Some(Arrived { interface: self.interface, bytes, offload }))
    }

    /// Hands a packet to the kernel: now, or together with those that follow it if it is not `alone`. True if
    /// [`Device::flush`] is due from now on.
    ///
    /// # Errors
    /// The kernel did not take it.
    pub(crate) fn write(&mut self, packet: &Packet, pool: &mut Pool, alone: bool) -> io::Result<bool> {
        if self.gathered.as_mut().is_some_and(|gathered| gathered.gather(packet)) {
            return Ok(false);
        }
        self.hand_over(pool);
        if !alone && packet.may_gather() && self.tun.takes_datagrams_apart() && !self.refuses {
            self.gathered = Some(packet.copy_in(pool.take()));
            return Ok(!std::mem::replace(&mut self.due, true));
        }
        let written = self.put(packet, pool);
        self.refuses = written.is_err();
        written.map(|()| false)
    }

    /// Hands over what has been gathered.
    pub(crate) fn flush(&mut self, pool: &mut Pool) {
        self.due = false;
        self.hand_over(pool);
    }

    fn hand_over(&mut self, pool: &mut Pool) {
        if let Some(mut packet) = self.gathered.take() {
            packet.restate_partial_checksum();
            self.refuses = self.put(&packet, pool).is_err();
            pool.put(packet.into_bytes());
        }
    }

    fn put(&self, packet: &Packet, pool: &mut Pool) -> io::Result<()> {
        match packet.bytes().len() > SMALL_BYTES {
            true => self.tun.write(packet),
            false => self.tun.write_whole(packet, &mut pool.whole),
        }
    }
}

/// A guess that is made less often the more often it was wrong.
#[derive(Debug, Default)]
pub(crate) struct Guess {
    /// So many times it is not made.
    pause: u32,
    /// And so many if it is wrong again.
    next: u32,
}

impl Guess {
    /// Longest pause between two guesses.
    const LONGEST: u32 = 256;

    /// Whether to try.
    pub(crate) fn is_worth_it(&mut self) -> bool {
        let now = self.pause == 0;
        self.pause = self.pause.saturating_sub(1);
        now
    }

    /// How it went.
    pub(crate) fn was(&mut self, right: bool) {
        (self.pause, self.next) = match right {
            true => (0, 1),
            false => (self.next, (self.next * 2).clamp(1, Guess::LONGEST)),
        };
    }
}

/// Memory for large packets.
#[derive(Default)]
pub(crate) struct Pool {
    spare: Vec<Vec<u8>>,
    /// Where small packets are put together.
    whole: Vec<u8>,
}

impl Pool {
    /// Memory for the largest packet.
    fn take(&mut self) -> Vec<u8> {
        self.spare.pop().unwrap_or_else(|| Vec::with_capacity(LARGEST_BYTES))
    }

    /// Takes memory back, if it is worth it.
    pub(crate) fn put(&mut self, memory: Vec<u8>) {
        if memory.capacity() >= LARGEST_BYTES && self.spare.len() < POOL {
            self.spare.push(memory);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_guess_is_made_less_often_the_more_often_it_was_wrong() {
        let mut guess = Guess::default();
        let mut made = |right: bool, times: usize| {
            let try_once = |_: &usize| {
                let made = guess.is_worth_it();
                if made {
                    guess.was(right);
                }
                made
            };
            (0..times).filter(try_once).count()
        };
        assert_eq!(made(true, 100), 100);
        assert!((6..12).contains(&made(false, 500)));
        assert!((3..5).contains(&made(false, 1000)));
        assert!(made(true, 500) > 240);
    }

    #[test]
    fn memory_is_kept_for_large_packets_and_no_more_than_is_worth_it() {
        let mut pool = Pool::default();
        let memory = pool.take();
        let kept = memory.as_ptr();
        pool.put(memory);
        pool.put(Vec::with_capacity(SMALL_BYTES));
        assert_eq!(pool.spare.len(), 1);
        let again = pool.take();
        assert_eq!(again.as_ptr(), kept);
        (0..100).for_each(|_| pool.put(Vec::with_capacity(LARGEST_BYTES)));
        assert_eq!(pool.spare.len(), POOL);
    }
}

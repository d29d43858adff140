//! The clock on the wall and the machines behind it: a world's [`Outside`] made of TUN devices.
//!
//! One thread: it waits for its devices, for the next event's time (to the microsecond, not to a scheduler's tick) and
//! for the alarm, all in one `epoll`. A device that fails is closed and its packets dropped from then on; the rest goes
//! on. Knows no namespace and no program.

use std::collections::BTreeMap;
use std::io;
use std::num::NonZeroU64;
use std::os::fd::OwnedFd;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Wake, Waker};
use std::time::{Duration, Instant};

use natbox_wire::{DropReason, Packet, Time};
use natbox_world::{Arrived, InterfaceId, Outside};
use rustix::event::{EventfdFlags, PollFd, PollFlags, Timespec, epoll, eventfd, poll};

use crate::device::{Device, Guess, Pool};
use crate::nap::Nap;
use crate::scheduling;
use crate::sockets::Clock;
use crate::tun::Tun;

/// So many devices are seen to in one turn.
const TURN: usize = 64;
/// So many packets in a row may have been guessed to be there, before all devices are asked.
const GUESSES: u32 = 16;
/// How many threads close devices at the end.
const CLOSERS: usize = 32;
/// What the alarm has for a number among the devices.
const ALARM: u64 = u64::MAX;

/// Devices, a clock and an alarm.
pub struct Driver {
    epoll: OwnedFd,
    alarm: Arc<Alarm>,
    devices: Vec<Option<Device>>,
    /// The place of an interface's device.
    places: BTreeMap<InterfaceId, usize>,
    ready: Vec<epoll::Event>,
    /// The places of devices that something has been gathered for.
    gathering: Vec<usize>,
    pool: Pool,
    /// The device that was written to last: whoever got that may have answered at once.
    answering: Option<usize>,
    answers: Guess,
    /// How many answers have been read since devices were waited for.
    answered: u32,
    /// Whether one packet has come and nothing else: then there is nothing to gather what comes of it with.
    alone: bool,
    nap: Nap,
    origin: Instant,
}

impl Driver {
    /// A driver without devices, whose time begins now. The calling thread is the one that will wait: it is woken on the
    /// microsecond from now on, and not when it suits the kernel (which may come 50 us late, to wake others with it).
    ///
    /// # Errors
    /// The system has no more file descriptors.
    pub fn new() -> io::Result<Driver> {
        let _ = rustix::thread::set_current_timer_slack(Some(NonZeroU64::MIN));
        scheduling::after_those_who_wake();
        let epoll = epoll::create(epoll::CreateFlags::CLOEXEC)?;
        let event = eventfd(0, EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK)?;
        epoll::add(&epoll, &event, epoll::EventData::new_u64(ALARM), epoll::EventFlags::IN)?;
        let alarm = Arc::new(Alarm { event, rung: AtomicBool::new(false), waiting: AtomicBool::new(false) });
        Ok(Driver {
            epoll,
            alarm,
            devices: Vec::new(),
            places: BTreeMap::new(),
            ready: Vec::with_capacity(TURN),
            gathering: Vec::new(),
            pool: Pool::default(),
            answering: None,
            answers: Guess::default(),
            answered: 0,
            alone: false,
            nap: Nap::default(),
            origin: now(),
        })
    }

    /// Attaches the device behind an outlet's interface.
    ///
    /// # Errors
    /// The system cannot watch it.
    pub fn attach(&mut self, interface: InterfaceId, tun: Tun) -> io::Result<()> {
        let place = self.devices.len();
        epoll::add(&self.epoll, &tun, epoll::EventData::new_u64(place as u64), epoll::EventFlags::IN)?;
        self.devices.push(Some(Device::new(interface, tun)));
        self.places.insert(interface, place);
        Ok(())
    }

    /// The clock of the world that this drives.
    pub fn clock(&self) -> Clock {
        Clock::since(self.origin)
    }

    fn time(&self) -> Time {
        Time::ZERO + now().duration_since(self.origin)
    }

    fn read(&mut self, place: usize, arrived: &mut Vec<Arrived>) {
        let device = self.devices.get_mut(place).and_then(Option::as_mut);
        if device.is_some_and(|device| device.read(&mut self.pool, arrived).is_err()) {
            self.close(place);
        }
    }

    /// Whether the device that was written to last has something already: where programs share a processor with this
    /// thread, whoever got that has mostly had its turn before the write returned. It saves waiting, which costs more
    /// than reading.
    fn has_answered(&mut self, arrived: &mut Vec<Arrived>) -> bool {
        let Some(place) = self.answering.take() else { return false };
        if self.answered == GUESSES || !self.answers.is_worth_it() {
            self.answered = 0;
            return false;
        }
        self.read(place, arrived);
        let right = !arrived.is_empty();
        self.answers.was(right);
        self.answered = if right { self.answered + 1 } else { 0 };
        right
    }

    fn close(&mut self, place: usize) {
        if let Some(device) = self.devices.get_mut(place).and_then(Option::take) {
            let _ = epoll::delete(&self.epoll, device.tun());
        }
    }

    /// Waits for devices, the alarm or the time, and says which devices are ready.
    fn poll(&mut self, deadline: Time) {
        if deadline == Time::MAX {
            return self.watch(None);
        }
        let start = self.time();
        let asked = self.nap.sleep(deadline.since(start));
        self.watch(Some(asked));
        let woke = self.time();
        if !self.ready.is_empty() || self.alarm.rung.load(Ordering::SeqCst) {
            return;
        }
        self.nap.woke(asked, woke.since(start));
        while self.ready.is_empty() && self.time() < deadline && !self.alarm.rung.load(Ordering::SeqCst) {
            self.watch(Some(Duration::ZERO));
        }
        self.nap.watched(self.time().since(woke));
    }

    /// Waits for devices or the alarm, so long at most.
    fn watch(&mut self, timeout: Option<Duration>) {
        self.ready.clear();
        self.alarm.waiting.store(true, Ordering::SeqCst);
        let timeout = if self.alarm.rung.load(Ordering::SeqCst) { Some(Duration::ZERO) } else { timeout };
        // Interrupted or not: the world is told the time, and waits again. epoll counts milliseconds (but for a call that
        // Linux has since 5.11 alone and containers may forbid), ppoll nanoseconds.
        let timeout = timeout.map(|timeout| {
            let mut any = [PollFd::new(&self.epoll, PollFlags::IN)];
            let _ = if timeout.is_zero() { Ok(0) } else { poll(&mut any, Some(&timespec(timeout))) };
            timespec(Duration::ZERO)
        });
        let _ = epoll::wait(&self.epoll, rustix::buffer::spare_capacity(&mut self.ready), timeout.as_ref());
        self.alarm.waiting.store(false, Ordering::SeqCst);
    }
}

/// The kernel takes its time (some 20 ms) to close a device, but closes many at once.
impl Drop for Driver {
    fn drop(&mut self) {
        let mut devices: Vec<Device> = self.devices.drain(..).flatten().collect();
        let share = devices.len().div_ceil(CLOSERS).max(1);
        let mut closers = Vec::new();
        while devices.len() > share {
            let some = devices.split_off(devices.len() - share);
            closers.extend(std::thread::Builder::new().stack_size(64 << 10).spawn(move || drop(some)));
        }
        drop(devices);
        closers.into_iter().for_each(|closer| drop(closer.join()));
    }
}

impl Outside for Driver {
    fn deliver(&mut self, interface: InterfaceId, packet: &Packet) -> Result<(), DropReason> {
        let place = self.places.get(&interface).copied().ok_or(DropReason::NoNeighbour)?;
        let device = self.devices[place].as_mut().ok_or(DropReason::NoNeighbour)?;
        self.answering = Some(place);
        if device.write(packet, &mut self.pool, self.alone).map_err(|_| DropReason::QueueFull)? {
            self.gathering.push(place);
        }
        Ok(())
    }

    fn flush(&mut self) {
        for place in self.gathering.drain(..) {
            if let Some(device) = self.devices[place].as_mut() {
                device.flush(&mut self.pool);
            }
        }
    }

    fn reuse(&mut self, bytes: Vec<u8>) {
        self.pool.put(bytes);
    }

    fn wait(&mut self, deadline: Time, arrived: &mut Vec<Arrived>) -> Time {
        if self.alarm.rung.swap(false, Ordering::SeqCst) {
            return self.time();
        }
        if !self.has_answered(arrived) {
            self.poll(deadline);
            for at in 0..self.ready.len() {
                match self.ready[at].data.u64() {
                    ALARM => self.alarm.quiet(),
                    place => self.read(place as usize, arrived),
                }
            }
        }
        self.alone = arrived.len() == 1;
        // Whoever has rung is heard when there is nothing else to do, or next time.
        if arrived.is_empty() {
            self.alarm.rung.store(false, Ordering::SeqCst);
        }
        self.time()
    }

    fn alarm(&self) -> Waker {
        Waker::from(self.alarm.clone())
    }
}

fn timespec(duration: Duration) -> Timespec {
    Timespec { tv_sec: duration.as_secs() as i64, tv_nsec: duration.subsec_nanos().into() }
}

#[allow(clippy::disallowed_methods, reason = "this is where wall-clock time comes from")]
fn now() -> Instant {
    Instant::now()
}

/// Ends a wait, from any thread.
struct Alarm {
    event: OwnedFd,
    rung: AtomicBool,
    waiting: AtomicBool,
}

impl Alarm {
    fn quiet(&self) {
        let _ = rustix::io::read(&self.event, &mut [0; 8]);
    }
}

impl Wake for Alarm {
    fn wake(self: Arc<Self>) {
        self.wake_by_ref();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        self.rung.store(true, Ordering::SeqCst);
        // Whoever is not waiting will look before it waits.
        if self.waiting.load(Ordering::SeqCst) {
            let _ = rustix::io::write(&self.event, &1_u64.to_ne_bytes());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn whoever_rings_ends_one_wait_and_no_other() {
        let mut driver = Driver::new().expect("a driver");
        let mut arrived = Vec::new();
        driver.alarm().wake();
        driver.wait(Time::MAX, &mut arrived);
        let ring = driver.alarm();
        let ringing = std::thread::spawn(move || ring.wake());
        driver.wait(Time::MAX, &mut arrived);
        ringing.join().expect("somebody who rang");
        // What the second one left in the alarm's descriptor may end a wait too early, once.
        let deadline = driver.time() + Duration::from_millis(2);
        let woke = (0..2).map(|_| driver.wait(deadline, &mut arrived)).last();
        assert!(woke >= Some(deadline) && arrived.is_empty());
    }
}

//! What lies outside of a world that runs at wall-clock speed: machines that are not simulated, and the passing of time.
//!
//! A world jumps from event to event. Given an [`Outside`], it lets that wait for the next event instead, and takes what
//! comes meanwhile. Nothing else about it changes: the same nodes, links and NATs, the same notes. Knows no device and
//! no clock; whoever implements the trait does.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, Wake, Waker};

use natbox_wire::{DropReason, Offload, Packet, Time};

use crate::note::InterfaceId;

/// The machines behind a world's outlets, and the clock on the wall.
pub trait Outside {
    /// Hands a packet to the machine behind an outlet's interface. A packet that is unfinished ([`Packet::offload`]) has
    /// the sum of its pseudo-header for a checksum.
    ///
    /// # Errors
    /// Why the machine did not get it.
    fn deliver(&mut self, interface: InterfaceId, packet: &Packet) -> Result<(), DropReason>;

    /// Hands over what [`Outside::deliver`] has kept back, to hand it over together with what follows. Comes before each time
    /// that the world is left, for whatever reason.
    fn flush(&mut self) {}

    /// Takes back the memory of a packet that is no longer needed.
    fn reuse(&mut self, _bytes: Vec<u8>) {}

    /// Waits until `deadline`, until something comes from a machine (which is added to `arrived`), or until the
    /// [alarm](Outside::alarm) is raised; not at all if the time has come. Says what time it is. Programs have their turn at
    /// the latest after some tens of waits in which something came, and at once after one in which nothing did.
    fn wait(&mut self, deadline: Time, arrived: &mut Vec<Arrived>) -> Time;

    /// Ends the wait under way, or the next one, from whatever thread: programs that wait for something that is not in the
    /// world are woken through it.
    fn alarm(&self) -> Waker;
}

/// Bytes that a machine sent through its outlet.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Arrived {
    /// The outlet's interface.
    pub interface: InterfaceId,
    /// They need not be a packet.
    pub bytes: Vec<u8>,
    /// What the machine left to be done, if they are one.
    pub offload: Offload,
}

/// A program whose wakers raise the alarm too.
pub(crate) struct Alarmed<F> {
    program: Pin<Box<F>>,
    alarm: Waker,
    /// The waker that the program was last polled with, and the one made of it.
    known: Option<(Waker, Waker)>,
}

impl<F> Alarmed<F> {
    pub(crate) fn new(program: F, alarm: Waker) -> Alarmed<F> {
        Alarmed { program: Box::pin(program), alarm, known: None }
    }
}

impl<F: Future> Future for Alarmed<F> {
    type Output = F::Output;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<F::Output> {
        let this = &mut *self;
        if !this.known.as_ref().is_some_and(|(task, _)| task.will_wake(context.waker())) {
            let task = context.waker().clone();
            let both = Waker::from(Arc::new(Both { task: task.clone(), alarm: this.alarm.clone() }));
            this.known = Some((task, both));
        }
        match &this.known {
            Some((_, both)) => this.program.as_mut().poll(&mut Context::from_waker(both)),
            None => Poll::Pending,
        }
    }
}

/// Wakes a task, then raises the alarm.
struct Both {
    task: Waker,
    alarm: Waker,
}

impl Wake for Both {
    fn wake(self: Arc<Self>) {
        self.task.wake_by_ref();
        self.alarm.wake_by_ref();
    }
}

//! Ports that were given back and are given to nobody for a while (RFC 6888 REQ-8).
//!
//! All wait equally long, so a queue is in order of release. Nothing is announced: a port comes free when somebody asks
//! for one. Exempt are ports that `mapping` says RFC 6888 exempts: see [`Quarantine::keeps`].

use std::collections::VecDeque;
use std::time::Duration;

use natbox_wire::{Protocol, Time};

use crate::Behavior;
use crate::behavior::{Filtering, PortAllocation};
use crate::key::Endpoint;

/// A port that waits.
pub(crate) struct Waiting<A> {
    /// `None` until the first packet after a reboot tells the time.
    pub(crate) until: Option<Time>,
    pub(crate) protocol: Protocol,
    pub(crate) external: Endpoint<A>,
}

/// The ports that wait, the next to come free first.
pub(crate) struct Quarantine<A> {
    time: Duration,
    most: usize,
    waiting: VecDeque<Waiting<A>>,
    /// Whether some wait for the time to be told.
    resumed: bool,
}

impl<A: Copy + PartialEq> Quarantine<A> {
    pub(crate) fn new(behavior: &Behavior) -> Quarantine<A> {
        let most = behavior.ports.quarantine_max.map_or(usize::MAX, |most| most as usize);
        Quarantine { time: behavior.ports.quarantine, most, waiting: VecDeque::new(), resumed: false }
    }

    /// Other rules: what waits does so no longer than their time from now on, and no more than they allow.
    pub(crate) fn reconfigure(&mut self, behavior: &Behavior, now: Time) {
        let Quarantine { time, most, .. } = Quarantine::<A>::new(behavior);
        (self.time, self.most) = (time, most);
        self.waiting.iter_mut().for_each(|one| one.until = one.until.map(|until| until.min(now + time)));
        self.waiting.drain(..self.waiting.len().saturating_sub(most));
    }

    /// Whether ports of this protocol wait at all. RFC 6888 REQ-8 exempts TCP, whose connections are followed to their
    /// end; ports that never change hands; and ports behind address-dependent filters, through which nobody's old
    /// traffic comes.
    pub(crate) fn keeps(&self, behavior: &Behavior, protocol: Protocol) -> bool {
        !self.time.is_zero()
            && self.most > 0
            && protocol != Protocol::Tcp
            && behavior.ports.allocation != PortAllocation::Deterministic
            && *behavior.filtering.of(protocol) == Filtering::EndpointIndependent
    }

    /// Lets a port wait. Where too many do, gives back the one that has waited for longest.
    pub(crate) fn add(
        &mut self,
        protocol: Protocol,
        external: Endpoint<A>,
        now: Time,
    ) -> Option<(Protocol, Endpoint<A>)> {
        self.waiting.push_back(Waiting { until: Some(now + self.time), protocol, external });
        let over = (self.waiting.len() > self.most).then(|| self.waiting.pop_front()).flatten();
        over.map(|one| (one.protocol, one.external))
    }

    /// The next port that has waited long enough.
    pub(crate) fn pop(&mut self, now: Time) -> Option<(Protocol, Endpoint<A>)> {
        if std::mem::take(&mut self.resumed) {
            self.waiting.iter_mut().filter(|one| one.until.is_none()).for_each(|one| one.until = Some(now + self.time));
        }
        let due = self.waiting.front().is_some_and(|one| one.until.is_some_and(|until| until <= now));
        let one = due.then(|| self.waiting.pop_front()).flatten()?;
        Some((one.protocol, one.external))
    }

    /// The ports that wait.
    pub(crate) fn into_waiting(self) -> VecDeque<Waiting<A>> {
        self.waiting
    }

    /// Lets ports wait for as long as they had to; the most recent, where they are too many.
    pub(crate) fn resume(&mut self, ports: impl IntoIterator<Item = Waiting<A>>) {
        self.waiting.extend(ports);
        self.resumed = true;
        let over = self.waiting.len().saturating_sub(self.most);
        self.waiting.drain(..over);
    }

    /// Every port that waits.
    pub(crate) fn iter(&self) -> impl Iterator<Item = &Waiting<A>> {
        self.waiting.iter()
    }

    /// Forgets the ports of addresses that are gone.
    pub(crate) fn retain(&mut self, stays: impl Fn(A) -> bool) {
        self.waiting.retain(|one| stays(one.external.address));
    }
}

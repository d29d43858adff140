//! Which pair is used: the caller nominates the best valid one as soon as there is nothing to wait for.

use natbox_wire::Time;

use super::pair::{Pair, PairKind, Via};
use super::{Nomination, Role, Session, Transmit};
use crate::path::{Path, Paths};

impl Session {
    /// Whether a pair has to wait for the relay.
    pub(super) fn holds(&self, pair: &Pair) -> bool {
        self.held_until.is_some() && pair.via == Via::Socket
    }

    /// Stops what a selected pair makes needless: everything, unless it is a relay and a better path may yet come.
    pub(super) fn stop_checking(&mut self) {
        let Some(selected) = self.selected else { return };
        let upgrade = self.path_of(&self.pairs[selected]) == Path::Relayed;
        for (index, pair) in self.pairs.iter_mut().enumerate() {
            if !upgrade || index == selected {
                pair.stop();
            }
        }
    }

    /// The caller nominates the best valid pair as soon as there is nothing to wait for.
    pub(super) fn decide(&mut self, now: Time) {
        if self.introduced.role == Role::Callee || self.nomination.is_some() {
            if self.introduced.role == Role::Callee && self.selected.is_none() {
                self.failed = now >= self.callee_gives_up();
            }
            return;
        }
        let current = self.selected.map(|index| self.path_of(&self.pairs[index]));
        match self.best_valid() {
            Some((path, index)) if current.is_none_or(|current| path < current) => {
                if !self.worth_waiting(path, index, now) {
                    self.nominate(index, now);
                }
            }
            Some(_) => {}
            None => self.failed = self.selected.is_none() && now >= self.give_up,
        }
    }

    /// The callee waits for the caller's nomination for as long as the caller may still send one.
    pub(super) fn callee_gives_up(&self) -> Time {
        self.give_up + self.plan.duration() + self.plan.interval
    }

    /// The allowed valid pair with the best path.
    pub(super) fn best_valid(&self) -> Option<(Path, usize)> {
        let valid = self.pairs.iter().enumerate().filter(|(_, pair)| pair.mapped().is_some() && !pair.unusable);
        let paths = valid.map(|(index, pair)| (self.path_of(pair), index));
        paths.filter(|(path, _)| self.introduced.paths.contains(*path)).min()
    }

    /// Whether something better than a valid pair may still come.
    pub(super) fn worth_waiting(&self, path: Path, index: usize, now: Time) -> bool {
        if path == Path::Relayed {
            return !self.plan.relay_first && now < self.give_up && self.introduced.paths != Paths::of(&[path]);
        }
        let behind_one_nat = self.introduced.reflexive.ip() == self.introduced.peer.reflexive.ip();
        let since = self.pairs[index].valid_since().unwrap_or(now);
        let may_be_local = |pair: &Pair| pair.kind == PairKind::Host && pair.due().is_some();
        path > Path::Direct && behind_one_nat && now < since + self.plan.grace && self.pairs.iter().any(may_be_local)
    }

    /// When a decision may change without anything coming.
    pub(super) fn decision_at(&self) -> Option<Time> {
        if self.introduced.role == Role::Callee {
            return Some(self.callee_gives_up());
        }
        let valid = self.best_valid();
        let grace = valid.and_then(|(path, index)| {
            let since = self.pairs[index].valid_since()?;
            (path != Path::Relayed).then(|| since + self.plan.grace)
        });
        Some(grace.map_or(self.give_up, |grace| grace.min(self.give_up)))
    }

    pub(super) fn nominate(&mut self, pair: usize, now: Time) {
        let id = self.new_id();
        let request = self.request(id, true);
        self.nomination = Some(Nomination { pair, id, request, sent: 0, next: now });
        self.renominate(now);
    }

    /// Sends the nomination if it is due; a pair that does not answer it is unusable.
    pub(super) fn renominate(&mut self, now: Time) {
        let Some(nomination) = self.nomination.as_mut().filter(|nomination| nomination.next <= now) else { return };
        let pair = &mut self.pairs[nomination.pair];
        if nomination.sent >= self.plan.attempts {
            pair.unusable = true;
            self.nomination = None;
            return;
        }
        nomination.sent += 1;
        nomination.next = now + self.plan.interval;
        self.out.push(Transmit { via: pair.via, to: pair.remote, datagram: nomination.request.clone(), ttl: None });
    }
}

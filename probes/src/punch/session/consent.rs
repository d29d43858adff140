//! Whether the path in use still works: authenticated checks at intervals (RFC 7675 in purpose, Tailscale's timers by
//! default where the relay comes first).
//!
//! A check that is not answered is repeated every half second. When nothing was answered for the interval and 3.5
//! seconds more, the path is lost. Where the caller keeps its relay, both sides keep checking that, too, and go back to it;
//! otherwise the session is [lost](super::Status::Lost) until an answer comes after all, or somebody begins a new one.

use std::collections::VecDeque;
use std::time::Duration;

use natbox_wire::Time;

use super::{Role, Session, Transmit};
use crate::path::Path;
use crate::stun::codec::TransactionId;

/// How long after the first unanswered check of a path it is lost.
const TRUST: Duration = Duration::from_millis(3500);
/// The time between two checks while none is answered.
const RETRY: Duration = Duration::from_millis(500);
/// How often paths are checked where a relay stands behind (magicsock's `heartbeatInterval`).
pub(crate) const HEARTBEAT: Duration = Duration::from_secs(3);
/// What comes over the relay so long after a better path was chosen is no leftover.
const LONG_AFTER: Duration = Duration::from_secs(1);
/// How many checks may be answered late.
const REMEMBERED: usize = 16;

/// The checks of one pair in use.
#[derive(Debug)]
pub(super) struct Beat {
    pub(super) pair: usize,
    ids: VecDeque<TransactionId>,
    next: Time,
    answered: Time,
    lost: bool,
}

impl Beat {
    fn new(pair: usize, interval: Duration, now: Time) -> Beat {
        Beat { pair, ids: VecDeque::new(), next: now + interval, answered: now, lost: false }
    }
}

impl Session {
    /// The path in use has changed: from now on it is the one that is checked.
    pub(super) fn watch(&mut self, now: Time) {
        let Some(selected) = self.selected.filter(|_| self.plan.consent.is_some()) else { return };
        self.lost = false;
        self.selected_at = now;
        let relayed = |session: &Session, pair: usize| session.path_of(&session.pairs[pair]) == Path::Relayed;
        let before = self.beat.take().filter(|beat| !beat.lost && relayed(self, beat.pair));
        if relayed(self, selected) {
            self.standby = None;
        } else if let Some(before) = before.filter(|_| self.plan.keep_relay && self.introduced.role == Role::Caller) {
            self.standby = Some(Beat { next: before.next.min(now + HEARTBEAT / 2), ..before });
        }
        let Some(interval) = self.interval() else { return };
        self.beat = Some(Beat::new(selected, interval, now));
    }

    /// A check has come over this pair. One that still comes over the relay, long after a better path was chosen, says that
    /// the caller keeps it: the callee does too.
    pub(super) fn heard_over(&mut self, pair: usize, now: Time) {
        let Some(selected) = self.selected.filter(|selected| *selected != pair && self.plan.consent.is_some()) else {
            return;
        };
        let relayed = |session: &Session, pair: usize| session.path_of(&session.pairs[pair]) == Path::Relayed;
        let kept = relayed(self, pair) && !relayed(self, selected) && now >= self.selected_at + LONG_AFTER;
        if self.introduced.role == Role::Callee && kept && self.standby.is_none() {
            self.standby = Some(Beat::new(pair, HEARTBEAT, now));
        }
    }

    /// The time between two checks.
    fn interval(&self) -> Option<Duration> {
        let interval = self.plan.consent?;
        Some(if self.standby.is_some() { interval.min(HEARTBEAT) } else { interval })
    }

    /// Sends the checks that are due, and finds out what is lost.
    pub(super) fn beat(&mut self, now: Time) {
        let Some(interval) = self.interval() else { return };
        for standby in [false, true] {
            let beat = if standby { self.standby.take() } else { self.beat.take() };
            let Some(mut beat) = beat else { continue };
            if beat.next <= now {
                self.send_beat(&mut beat, interval, now);
            }
            let newly = !beat.lost && now >= beat.answered + interval + TRUST;
            beat.lost |= newly;
            match standby {
                true => self.standby = Some(beat).filter(|beat| !beat.lost),
                false => self.beat = Some(beat),
            }
            if newly && !standby {
                self.lose(now);
            }
        }
    }

    fn send_beat(&mut self, beat: &mut Beat, interval: Duration, now: Time) {
        let id = self.new_id();
        let pair = &self.pairs[beat.pair];
        let (via, to, datagram) = (pair.via, pair.remote, self.request(id, false));
        self.out.push(Transmit { via, to, datagram, ttl: None });
        if beat.ids.len() == REMEMBERED {
            beat.ids.pop_front();
        }
        beat.ids.push_back(id);
        beat.next = now + if beat.lost { interval } else { RETRY };
    }

    /// The path in use has died.
    fn lose(&mut self, now: Time) {
        let Some(pair) = self.standby.take().and_then(|_| self.newest_relayed()) else {
            self.lost = true;
            return;
        };
        if let Some(dead) = self.selected.replace(pair) {
            self.pairs[dead].unusable = true;
        }
        self.watch(now);
        if self.introduced.role == Role::Caller {
            // Data goes over the relay at once; the nomination tells a callee that has not noticed yet.
            self.nominate(pair, now);
        }
    }

    /// The relayed pair that has proven itself last: a peer whose NAT has forgotten it comes to the relay from elsewhere.
    fn newest_relayed(&self) -> Option<usize> {
        let usable = |pair: &super::Pair| !pair.unusable && self.path_of(pair) == Path::Relayed;
        let pairs = self.pairs.iter().enumerate().filter(|(_, pair)| usable(pair));
        pairs.filter_map(|(index, pair)| Some((pair.valid_since()?, index))).max().map(|(_, index)| index)
    }

    /// Takes note of an answer to a check of a path in use, from the peer itself. Whether it was one.
    pub(super) fn answered_beat(&mut self, id: TransactionId, now: Time) -> bool {
        let Some(interval) = self.interval() else { return false };
        for beat in [&mut self.beat, &mut self.standby].into_iter().flatten() {
            if beat.ids.contains(&id) {
                beat.ids.clear();
                (beat.answered, beat.next, beat.lost) = (now, now + interval, false);
                if self.selected == Some(beat.pair) {
                    self.lost = false;
                }
                return true;
            }
        }
        false
    }

    /// The pair whose check has this number.
    pub(super) fn beats(&self, id: TransactionId) -> Option<usize> {
        let beats = [&self.beat, &self.standby];
        beats.into_iter().flatten().find(|beat| beat.ids.contains(&id)).map(|beat| beat.pair)
    }

    /// When the next check of a path in use is due, or its end.
    pub(super) fn beat_due(&self) -> Option<Time> {
        let interval = self.interval()?;
        let due = |beat: &Beat| if beat.lost { beat.next } else { beat.next.min(beat.answered + interval + TRUST) };
        [&self.beat, &self.standby].into_iter().flatten().map(due).min()
    }
}

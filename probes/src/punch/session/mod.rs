//! Connectivity checks between two hosts that a directory has introduced: datagrams and times go in, datagrams come
//! out, and in the end there is a selected pair or a failure. Knows no socket and no clock.
//!
//! A check is a STUN Binding request with short-term credentials from the session's token, as in ICE (RFC 8445
//! section 7), so that a stranger at the same private address can neither answer nor be mistaken for the peer:
//!
//! ```text
//! caller                                           callee
//!   | check ---X  (no hole yet)                      |    both check every candidate, again and again
//!   |                   <-------------------- check  |    this one gets in: the caller has sent to the callee
//!   | answer, and a triggered check ---------------> |    (RFC 8445 section 7.3.1.4)
//!   |                   <------------------- answer  |    the caller's pair is valid
//!   | check with USE-CANDIDATE --------------------> |    nomination: the callee uses this pair from now on
//!   |                   <------------------- answer  |    the caller does too
//! ```
//!
//! An answer counts only if it comes from where the check was sent (section 7.2.5.2.1). A check from an unknown source
//! makes a peer-reflexive candidate if learning is on, and is ignored if it is off; through a relay it is always
//! learned, because a relay's permissions know no ports. The caller nominates.
//!
//! Leaves out of ICE: priorities and frozen pairs (all pairs are checked at once, and the best path wins), roles that
//! conflict (the directory says who calls), FINGERPRINT (the integrity tells checks from data).

pub(crate) mod consent;
mod credentials;
mod decide;
mod incoming;
mod pair;
mod path;

use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use natbox_wire::Time;

pub(crate) use credentials::Credentials;
pub use pair::{Attempt, Outcome, PairKind, Via};
pub(crate) use pair::{Pair, PairState};

use crate::path::{Path, Paths};
use crate::rendezvous::{CandidateKind, Peer, Token};
use crate::stun::codec::{BINDING, IntegrityKey, Message, TransactionId, Writer, attribute};

/// The most pairs that a session keeps: peer-reflexive candidates are learned up to here (RFC 8445 section 6.1.2.5).
const MOST_PAIRS: usize = 100;
/// How many checks of a pair have a low TTL, where that is asked for: enough for both sides to have sent one, though they
/// do not begin at the same moment.
pub const LOW_TTL_CHECKS: u32 = 2;
/// How many nominations a callee remembers, so that a duplicate changes nothing.
const NOMINATIONS_REMEMBERED: usize = 8;

/// Who has called whom.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Role {
    /// This side called, and nominates.
    Caller,
    /// This side was called.
    Callee,
}

/// How pairs are checked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CheckPlan {
    /// How often a pair is checked.
    pub attempts: u32,
    /// The time between two checks of a pair.
    pub interval: Duration,
    /// Whether a check from an unknown source makes a candidate.
    pub peer_reflexive: bool,
    /// How long a valid pair waits for a better one that is still being checked behind the same NAT.
    pub grace: Duration,
    /// The TTL of the first [two](LOW_TTL_CHECKS) checks of the endpoints at which a server saw the peer.
    pub low_ttl: Option<u8>,
    /// The time between two checks of the path in use, which find out when it dies; without it nobody does.
    pub consent: Option<Duration>,
    /// Whether the caller keeps its relay beside a better path, to go back to it when that dies.
    pub keep_relay: bool,
    /// Whether the caller begins with its relay, and looks for anything better once that is in use; else the relay
    /// comes last.
    pub relay_first: bool,
}

impl Default for CheckPlan {
    /// Ten checks, 200 ms apart: two seconds.
    fn default() -> CheckPlan {
        CheckPlan {
            attempts: 10,
            interval: Duration::from_millis(200),
            peer_reflexive: true,
            grace: Duration::from_millis(100),
            low_ttl: None,
            consent: None,
            keep_relay: false,
            relay_first: false,
        }
    }
}

impl CheckPlan {
    /// How long all checks of a pair take.
    pub fn duration(&self) -> Duration {
        self.interval.saturating_mul(self.attempts)
    }
}

/// What both sides know about each other when they begin.
#[derive(Clone, Debug)]
pub(crate) struct Introduced {
    pub(crate) role: Role,
    pub(crate) token: Token,
    /// This side's own endpoints on its own networks.
    pub(crate) local: Vec<SocketAddr>,
    /// The peer's addresses that are on a network of this side's.
    pub(crate) neighbours: Vec<IpAddr>,
    /// Where the directory saw this side.
    pub(crate) reflexive: SocketAddr,
    /// What this side's gateway has mapped for it.
    pub(crate) mapped: Option<SocketAddr>,
    pub(crate) peer: Peer,
    /// The paths that may come about.
    pub(crate) paths: Paths,
    /// The paths that this side tries of itself, without a check of the peer's.
    pub(crate) tries: Paths,
}

/// A datagram to send.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Transmit {
    pub(crate) via: Via,
    pub(crate) to: SocketAddr,
    pub(crate) datagram: Vec<u8>,
    /// Where it is to die on its way.
    pub(crate) ttl: Option<u8>,
}

/// Where a session stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Status {
    Checking,
    /// The pair of this index is in use.
    Selected(usize),
    /// The pair of this index was in use, and has died.
    Lost(usize),
    Failed,
}

/// The checks of one session.
///
/// Give it what comes with [`handle`](Session::handle), call [`tick`](Session::tick) at
/// [`next_deadline`](Session::next_deadline), and send what [`drain`](Session::drain) yields after either.
#[derive(Debug)]
pub(crate) struct Session {
    introduced: Introduced,
    plan: CheckPlan,
    key: IntegrityKey,
    username_out: String,
    username_in: String,
    /// The next transaction id: a random beginning, and a count.
    next_id: u128,
    pairs: Vec<Pair>,
    nomination: Option<Nomination>,
    nominations_seen: Vec<TransactionId>,
    selected: Option<usize>,
    /// Whether the selected pair has died, and nothing is left in its place.
    lost: bool,
    /// Since when it is in use.
    selected_at: Time,
    /// The checks of the pair in use.
    beat: Option<consent::Beat>,
    /// The checks of the relay that is kept beside a better pair.
    standby: Option<consent::Beat>,
    failed: bool,
    /// When the caller stops waiting for anything better than a relay.
    give_up: Time,
    /// Until when a caller that begins with its relay leaves the other pairs alone, at most.
    held_until: Option<Time>,
    out: Vec<Transmit>,
}

/// A pair that the caller wants to use, until the callee has answered.
#[derive(Debug)]
struct Nomination {
    pair: usize,
    id: TransactionId,
    request: Vec<u8>,
    sent: u32,
    next: Time,
}

impl Session {
    /// A session that begins to check at once. `first_id` is random.
    pub(crate) fn new(introduced: Introduced, plan: CheckPlan, first_id: u128, now: Time) -> Session {
        let Credentials { key, username_out, username_in } = Credentials::new(introduced.role, &introduced.token);
        let pairs = pair::form(&introduced, now);
        let held_until = (introduced.role == Role::Caller && plan.relay_first).then(|| now + plan.duration() / 2);
        let mut session = Session {
            key,
            username_out,
            username_in,
            next_id: first_id,
            pairs,
            nomination: None,
            nominations_seen: Vec::new(),
            selected: None,
            lost: false,
            selected_at: now,
            beat: None,
            standby: None,
            failed: false,
            give_up: held_until.unwrap_or(now) + plan.duration(),
            held_until,
            out: Vec::new(),
            introduced,
            plan,
        };
        session.tick(now);
        session
    }

    /// What both sides knew when they began.
    pub(crate) fn introduced(&self) -> &Introduced {
        &self.introduced
    }

    /// Where it stands.
    pub(crate) fn status(&self) -> Status {
        match self.selected {
            Some(pair) if self.lost => Status::Lost(pair),
            Some(pair) => Status::Selected(pair),
            None if self.failed => Status::Failed,
            None => Status::Checking,
        }
    }

    /// Whether somebody finds out when the path in use dies.
    pub(crate) fn is_watched(&self) -> bool {
        self.plan.consent.is_some()
    }

    /// Whether the relay is kept beside a better path.
    pub(crate) fn keeps_relay(&self) -> bool {
        self.plan.keep_relay && self.is_watched()
    }

    /// The pair of an index that [`Status::Selected`] gave.
    pub(crate) fn pair(&self, index: usize) -> &Pair {
        &self.pairs[index]
    }

    /// Whether `source` has proven, by a check or an answer, that it is the peer.
    pub(crate) fn trusts(&self, via: Via, source: SocketAddr) -> bool {
        self.pairs.iter().any(|pair| pair.is(via, source) && pair.trusted)
    }

    /// What was tried, and what became of it.
    pub(crate) fn attempts(&self) -> Vec<Attempt> {
        self.pairs.iter().map(|pair| pair.attempt(self.path_of(pair), self.introduced.paths)).collect()
    }

    /// What is to be sent, oldest first.
    pub(crate) fn drain(&mut self) -> impl Iterator<Item = Transmit> + '_ {
        self.out.drain(..)
    }

    /// When [`tick`](Session::tick) has something to do.
    pub(crate) fn next_deadline(&self) -> Option<Time> {
        let checks = self.pairs.iter().filter(|pair| !self.holds(pair)).filter_map(Pair::due);
        let nomination = self.nomination.iter().map(|nomination| nomination.next);
        let undecided = self.selected.is_none() && !self.failed && self.nomination.is_none();
        let decision = undecided.then(|| self.decision_at()).flatten();
        checks.chain(nomination).chain(decision).chain(self.held_until).chain(self.beat_due()).min()
    }

    /// Sends the checks that are due, and decides.
    pub(crate) fn tick(&mut self, now: Time) {
        if self.held_until.is_some_and(|until| until <= now || self.selected.is_some()) {
            self.held_until = None;
        }
        for index in 0..self.pairs.len() {
            if !self.holds(&self.pairs[index]) && self.pairs[index].due().is_some_and(|due| due <= now) {
                self.check(index, now);
            }
        }
        self.renominate(now);
        self.decide(now);
        self.beat(now);
    }

    /// Sends a check of a pair, or gives the pair up.
    fn check(&mut self, index: usize, now: Time) {
        let PairState::Checking { sent, .. } = self.pairs[index].state else { return };
        if sent >= self.plan.attempts {
            self.pairs[index].state = PairState::Silent;
            return;
        }
        if self.pairs[index].request.is_empty() {
            let id = self.new_id();
            let request = self.request(id, false);
            (self.pairs[index].id, self.pairs[index].request) = (Some(id), request);
        }
        let pair = &mut self.pairs[index];
        pair.state = PairState::Checking { sent: sent + 1, next: now + self.plan.interval };
        pair.sent += 1;
        let low = pair.kind == PairKind::Reflexive && !pair.triggered && pair.sent <= LOW_TTL_CHECKS;
        let ttl = self.plan.low_ttl.filter(|_| low);
        self.out.push(Transmit { via: pair.via, to: pair.remote, datagram: pair.request.clone(), ttl });
    }

    pub(crate) fn new_id(&mut self) -> TransactionId {
        self.next_id = self.next_id.wrapping_add(1);
        TransactionId::from(self.next_id)
    }

    fn request(&self, id: TransactionId, nominate: bool) -> Vec<u8> {
        let request = Writer::request(BINDING, id).text(attribute::USERNAME, &self.username_out);
        let request = if nominate { request.raw(attribute::USE_CANDIDATE, &[]) } else { request };
        request.integrity(&self.key).finish()
    }
}

/// The refusal of a check whose credentials nobody here knows (RFC 8489 section 9.1.3).
pub(crate) fn unauthorized(request: &Message<'_>) -> Vec<u8> {
    Writer::error(request, 401, "Unauthorized").finish()
}

/// Whether a candidate of the peer is of use to a side that tries `paths`.
fn wanted(role: Role, kind: CandidateKind, paths: Paths) -> bool {
    match (role, kind) {
        (Role::Caller, CandidateKind::Host) => paths.any_of(&[Path::Local, Path::Direct]),
        (Role::Callee, CandidateKind::Host) => paths.any_of(&[Path::Local, Path::Reversed]),
        (_, CandidateKind::Mapped) => paths.contains(Path::Mapped),
        (_, CandidateKind::Reflexive) => paths.any_of(&[Path::Punched, Path::Hairpinned]),
        (_, CandidateKind::Relayed) => paths.contains(Path::Relayed),
    }
}

fn hex(token: &Token) -> String {
    const DIGITS: &[u8; 16] = b"0123456789abcdef";
    let nibbles = token.0.iter().flat_map(|byte| [byte >> 4, byte & 15]);
    nibbles.map(|nibble| char::from(DIGITS[usize::from(nibble)])).collect()
}

#[cfg(test)]
mod tests;

//! Candidate pairs: where checks go, and what became of them.

use std::fmt;
use std::net::SocketAddr;

use natbox_wire::Time;

use super::{Introduced, wanted};
use crate::path::{Path, Paths};
use crate::rendezvous::CandidateKind;
use crate::stun::codec::TransactionId;

/// Through what a datagram leaves and comes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Via {
    /// This host's own socket.
    Socket,
    /// This host's relay.
    Relay,
}

/// Where a remote endpoint is known from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PairKind {
    /// It is one of the peer's own addresses.
    Host,
    /// The peer's gateway has mapped it for the peer.
    Mapped,
    /// A server saw the peer there.
    Reflexive,
    /// It is the peer's relay.
    Relayed,
    /// An authenticated check came from there.
    PeerReflexive,
}

/// What is known of a pair.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum PairState {
    /// Known, but not to be checked unless the peer checks first.
    Idle,
    /// Being checked: how often so far, and when again.
    Checking { sent: u32, next: Time },
    /// An answer came back from where the check was sent; it said where the peer saw this side.
    Valid { mapped: Option<SocketAddr>, since: Time },
    /// No answer to any check.
    Silent,
}

/// A way to a remote endpoint.
#[derive(Clone, Debug)]
pub(crate) struct Pair {
    pub(crate) via: Via,
    pub(crate) remote: SocketAddr,
    pub(crate) kind: PairKind,
    pub(crate) state: PairState,
    /// The check: one transaction, sent again with the same id.
    pub(crate) id: Option<TransactionId>,
    pub(crate) request: Vec<u8>,
    /// How often it was sent in all.
    pub(crate) sent: u32,
    /// The peer has checked from there, and was checked back at once.
    pub(crate) triggered: bool,
    /// The remote endpoint has proven that it is the peer.
    pub(crate) trusted: bool,
    /// It was valid, but does not answer nominations.
    pub(crate) unusable: bool,
    /// An answer came, but from another endpoint.
    pub(crate) elsewhere: Option<SocketAddr>,
    /// Somebody there refused the credentials, with this code.
    pub(crate) refused: Option<u16>,
}

impl Pair {
    fn new(via: Via, remote: SocketAddr, kind: PairKind, state: PairState) -> Pair {
        Pair {
            via,
            remote,
            kind,
            state,
            id: None,
            request: Vec::new(),
            sent: 0,
            triggered: false,
            trusted: false,
            unusable: false,
            elsewhere: None,
            refused: None,
        }
    }

    /// A pair for a source that was not known.
    pub(crate) fn learned(via: Via, remote: SocketAddr, now: Time) -> Pair {
        Pair::new(via, remote, PairKind::PeerReflexive, PairState::Checking { sent: 0, next: now })
    }

    pub(crate) fn is(&self, via: Via, remote: SocketAddr) -> bool {
        self.via == via && self.remote == remote
    }

    /// When the next check is due.
    pub(crate) fn due(&self) -> Option<Time> {
        match self.state {
            PairState::Checking { next, .. } => Some(next),
            _ => None,
        }
    }

    /// Where the peer saw this side, if the pair is valid and the peer said so.
    pub(crate) fn mapped(&self) -> Option<SocketAddr> {
        match self.state {
            PairState::Valid { mapped, .. } => mapped,
            _ => None,
        }
    }

    pub(crate) fn valid_since(&self) -> Option<Time> {
        match self.state {
            PairState::Valid { since, .. } => Some(since),
            _ => None,
        }
    }

    /// No more checks.
    pub(crate) fn stop(&mut self) {
        if self.due().is_some() {
            self.state = PairState::Idle;
        }
    }

    pub(crate) fn attempt(&self, path: Path, allowed: Paths) -> Attempt {
        let outcome = match self.state {
            PairState::Valid { .. } if self.unusable => Outcome::NominationLost,
            PairState::Valid { .. } if !allowed.contains(path) => Outcome::NotAllowed(path),
            PairState::Valid { .. } => Outcome::Valid(path),
            _ if self.elsewhere.is_some() => Outcome::AnsweredFromElsewhere(self.elsewhere.unwrap_or(self.remote)),
            _ if self.refused.is_some() => Outcome::Refused(self.refused.unwrap_or_default()),
            _ if self.sent == 0 => Outcome::NotChecked,
            _ => Outcome::NoAnswer,
        };
        Attempt { via: self.via, remote: self.remote, kind: self.kind, checks_sent: self.sent, outcome }
    }
}

/// The pairs that a session begins with: one a remote endpoint, in the order host, mapped, reflexive,
/// relayed.
pub(super) fn form(introduced: &Introduced, now: Time) -> Vec<Pair> {
    let peer = &introduced.peer;
    let kinds = [
        (CandidateKind::Host, PairKind::Host),
        (CandidateKind::Mapped, PairKind::Mapped),
        (CandidateKind::Reflexive, PairKind::Reflexive),
        (CandidateKind::Relayed, PairKind::Relayed),
    ];
    let mut pairs: Vec<Pair> = Vec::with_capacity(peer.candidates.len() + 2);
    for (wire_kind, kind) in kinds {
        let told = peer.candidates.iter().filter(|candidate| candidate.kind == wire_kind);
        let seen = (kind == PairKind::Reflexive).then_some(peer.reflexive);
        for remote in told.map(|candidate| candidate.endpoint).chain(seen) {
            // An endpoint that is this side's own cannot be the peer's here; both homes number alike.
            let usable = remote.is_ipv4() == introduced.reflexive.is_ipv4() && !introduced.local.contains(&remote);
            if !usable || remote.port() == 0 || pairs.iter().any(|pair| pair.remote == remote) {
                continue;
            }
            let check = wanted(introduced.role, wire_kind, introduced.tries);
            let state = if check { PairState::Checking { sent: 0, next: now } } else { PairState::Idle };
            pairs.push(Pair::new(Via::Socket, remote, kind, state));
        }
    }
    pairs
}

/// What became of one pair.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Attempt {
    /// Through what it was tried.
    pub via: Via,
    /// Where the checks went.
    pub remote: SocketAddr,
    /// Where the endpoint was known from.
    pub kind: PairKind,
    /// How many checks were sent.
    pub checks_sent: u32,
    /// How it ended.
    pub outcome: Outcome,
}

/// How the checks of a pair ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// It works, as this path.
    Valid(Path),
    /// It works, but this path was not asked for.
    NotAllowed(Path),
    /// It worked, but the nomination was never answered.
    NominationLost,
    /// Nothing came back.
    NoAnswer,
    /// The answer came from another endpoint, so that the pair is no pair.
    AnsweredFromElsewhere(SocketAddr),
    /// Whoever is there does not know the session (STUN error code).
    Refused(u16),
    /// No check was sent: this path was not asked for, or it was over before.
    NotChecked,
}

impl fmt::Display for Attempt {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let kind = match self.kind {
            PairKind::Host => "host",
            PairKind::Mapped => "mapped",
            PairKind::Reflexive => "reflexive",
            PairKind::Relayed => "relayed",
            PairKind::PeerReflexive => "peer-reflexive",
        };
        let via = if self.via == Via::Relay { " through the relay" } else { "" };
        write!(f, "{} ({kind}{via}): ", self.remote)?;
        let checks = self.checks_sent;
        match self.outcome {
            Outcome::Valid(path) => write!(f, "works ({path})"),
            Outcome::NotAllowed(path) => write!(f, "works ({path}), but that was not asked for"),
            Outcome::NominationLost => write!(f, "worked, but did not answer the nomination"),
            Outcome::NoAnswer => write!(f, "no answer to {checks} checks"),
            Outcome::AnsweredFromElsewhere(source) => write!(f, "answered from {source} instead, so it does not count"),
            Outcome::Refused(code) => write!(f, "refused with {code}: somebody else is there"),
            Outcome::NotChecked => write!(f, "not checked"),
        }
    }
}

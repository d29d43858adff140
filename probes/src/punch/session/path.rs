//! What a valid pair is called.
//!
//! The answer to a check says where the peer saw this side. If that is one of this side's own endpoints, nothing
//! translated it on the way; and nothing translated the peer if its endpoint is one that it has itself:
//!
//! | this side translated | peer translated | path, seen from the caller |
//! | --- | --- | --- |
//! | no | no | `local` if the peer's address is on a network of this host's, else `direct` |
//! | yes | no | `direct`: the callee is reached where it is |
//! | no | yes | `reversed`: the callee reached the caller where it is |
//! | yes | yes | `mapped` if either has asked its gateway for the endpoint that is used; `hairpinned` if both have one external address and used it, else `punched` |

use std::net::SocketAddr;

use super::pair::{Pair, PairKind, Via};
use super::{Role, Session};
use crate::path::Path;
use crate::rendezvous::CandidateKind;

impl Session {
    /// The path that a pair is, as the caller would say.
    pub(crate) fn path_of(&self, pair: &Pair) -> Path {
        let own = &self.introduced;
        if pair.via == Via::Relay || pair.kind == PairKind::Relayed {
            return Path::Relayed;
        }
        // A pair that only the peer has proven says nothing of this side: then the directory's view has to do.
        let seen = pair.mapped().unwrap_or(own.reflexive);
        let here = !own.local.contains(&seen);
        let there = !self.is_peers(pair.remote, CandidateKind::Host);
        let (caller, callee) = if own.role == Role::Caller { (here, there) } else { (there, here) };
        let mapped = own.mapped == Some(seen) || self.is_peers(pair.remote, CandidateKind::Mapped);
        if mapped && callee && (caller || !own.paths.contains(Path::Reversed)) {
            return Path::Mapped;
        }
        match (caller, callee) {
            (false, false) if own.neighbours.contains(&pair.remote.ip()) => Path::Local,
            (false, false) => Path::Direct,
            (true, false) => Path::Direct,
            (false, true) => Path::Reversed,
            (true, true) => {
                let shared = own.reflexive.ip() == own.peer.reflexive.ip();
                let used = pair.remote.ip() == own.peer.reflexive.ip();
                if shared && used { Path::Hairpinned } else { Path::Punched }
            }
        }
    }

    fn is_peers(&self, endpoint: SocketAddr, kind: CandidateKind) -> bool {
        let mut candidates = self.introduced.peer.candidates.iter();
        candidates.any(|candidate| candidate.kind == kind && candidate.endpoint == endpoint)
    }
}

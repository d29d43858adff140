//! What a client was granted, and until when. Knows no messages and no sockets.
//!
//! All terms are counted from when the client asked, so a client never thinks that it has what the server took away.

use std::collections::BTreeMap;
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use natbox_wire::Time;

use crate::turn::CHANNEL_QUARANTINE;
use crate::turn::message::CHANNEL_NUMBERS;

/// Renewal comes this long before the end (RFC 8656 section 8 advises a minute) ...
const MARGIN: Duration = Duration::from_secs(60);
/// ... and what falls due within this time of it is renewed in the same go.
const TOGETHER: Duration = Duration::from_secs(10);

/// A time span that was granted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Term {
    pub(super) since: Time,
    pub(super) lifetime: Duration,
}

impl Term {
    pub(super) fn end(&self) -> Time {
        self.since + self.lifetime
    }

    pub(super) fn is_over(&self, now: Time) -> bool {
        now >= self.end()
    }

    /// When to renew: a minute before the end, or halfway if the term is short.
    pub(super) fn renewal(&self) -> Time {
        self.since + self.lifetime.saturating_sub(MARGIN).max(self.lifetime / 2)
    }
}

/// An allocation as the client remembers it.
pub(super) struct Lease {
    pub(super) relayed: SocketAddr,
    pub(super) mapped: SocketAddr,
    pub(super) term: Term,
    permissions: BTreeMap<IpAddr, Term>,
    channels: BTreeMap<u16, (SocketAddr, Term)>,
    numbers: BTreeMap<SocketAddr, u16>,
}

/// What is to be renewed next.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Renewal {
    Allocation,
    Permissions(Vec<IpAddr>),
    Channel(u16, SocketAddr),
}

impl Lease {
    pub(super) fn new(relayed: SocketAddr, mapped: SocketAddr, term: Term) -> Lease {
        let (permissions, channels, numbers) = Default::default();
        Lease { relayed, mapped, term, permissions, channels, numbers }
    }

    pub(super) fn permits(&self, peer: IpAddr, now: Time) -> bool {
        self.permissions.get(&peer).is_some_and(|term| !term.is_over(now))
    }

    pub(super) fn permitted(&mut self, peers: &[IpAddr], term: Term) {
        self.permissions.extend(peers.iter().map(|peer| (*peer, term)));
    }

    /// Gives up renewing these permissions.
    pub(super) fn forget_permissions(&mut self, peers: &[IpAddr]) {
        self.permissions.retain(|peer, _| !peers.contains(peer));
    }

    pub(super) fn bound(&mut self, number: u16, peer: SocketAddr, term: Term) {
        self.channels.insert(number, (peer, term));
        self.numbers.insert(peer, number);
    }

    /// Sends to this peer without the channel from now on; the number rests.
    pub(super) fn stop_channel(&mut self, peer: SocketAddr) {
        self.numbers.remove(&peer);
    }

    pub(super) fn channel_to(&self, peer: SocketAddr, now: Time) -> Option<u16> {
        let number = self.numbers.get(&peer)?;
        self.channels.get(number).filter(|(_, term)| !term.is_over(now)).map(|_| *number)
    }

    /// The peer behind a channel that data came on.
    pub(super) fn peer_of(&self, number: u16) -> Option<SocketAddr> {
        self.channels.get(&number).map(|(peer, _)| *peer)
    }

    /// The number that this peer's channel has, or one taken for it before the server has agreed: so no second bind
    /// takes it meanwhile.
    pub(super) fn reserve(&mut self, peer: SocketAddr, now: Time) -> Option<u16> {
        self.channels.retain(|_, (_, term)| now < term.end() + CHANNEL_QUARANTINE);
        let channels = &mut self.channels;
        self.numbers.retain(|_, number| channels.contains_key(number));
        if let Some((number, _)) = channels.iter().find(|(_, (bound, _))| *bound == peer) {
            return Some(*number);
        }
        let number = CHANNEL_NUMBERS.into_iter().find(|number| !channels.contains_key(number))?;
        channels.insert(number, (peer, Term { since: now, lifetime: Duration::ZERO }));
        Some(number)
    }

    /// When the next renewal is due.
    pub(super) fn next_renewal(&self) -> Time {
        let permissions = self.permissions.values().map(Term::renewal);
        let channels = self.live_channels().map(|(_, _, term)| term.renewal());
        permissions.chain(channels).fold(self.term.renewal(), Time::min)
    }

    /// What is due.
    pub(super) fn due(&self, now: Time) -> Option<Renewal> {
        if self.term.renewal() <= now {
            return Some(Renewal::Allocation);
        }
        if let Some((number, peer, _)) = self.live_channels().find(|(_, _, term)| term.renewal() <= now) {
            return Some(Renewal::Channel(number, peer));
        }
        self.permissions.values().any(|term| term.renewal() <= now).then(|| {
            let soon = self.permissions.iter().filter(|(_, term)| term.renewal() <= now + TOGETHER);
            Renewal::Permissions(soon.map(|(peer, _)| *peer).collect())
        })
    }

    fn live_channels(&self) -> impl Iterator<Item = (u16, SocketAddr, Term)> {
        self.numbers.iter().filter_map(|(peer, number)| {
            let (_, term) = self.channels.get(number)?;
            Some((*number, *peer, *term))
        })
    }
}

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

#[cfg(test)]
mod tests {
    use super::*;

    fn addr(text: &str) -> SocketAddr {
        text.parse().unwrap()
    }

    fn at(seconds: u64) -> Time {
        Time::ZERO + Duration::from_secs(seconds)
    }

    fn term(since: u64, seconds: u64) -> Term {
        Term { since: at(since), lifetime: Duration::from_secs(seconds) }
    }

    fn lease() -> Lease {
        Lease::new(addr("198.51.100.1:50000"), addr("192.0.2.1:5000"), term(0, 600))
    }

    #[test]
    fn a_term_is_renewed_a_minute_before_its_end_or_halfway_if_it_is_short() {
        assert_eq!(term(10, 600).renewal(), at(550));
        assert_eq!(term(10, 60).renewal(), at(40));
        assert!(!term(10, 60).is_over(Time::from_nanos(at(70).as_nanos() - 1)));
        assert!(term(10, 60).is_over(at(70)));
    }

    #[test]
    fn what_is_due_comes_in_the_order_of_its_renewal() {
        let (first, second) = (addr("203.0.113.1:1"), addr("203.0.113.2:1"));
        let mut lease = lease();
        lease.permitted(&[first.ip()], term(0, 300));
        lease.permitted(&[second.ip()], term(5, 300));
        lease.bound(0x4000, first, term(100, 600));
        assert_eq!(lease.next_renewal(), at(240));
        assert_eq!(lease.due(at(239)), None);
        assert_eq!(lease.due(at(240)), Some(Renewal::Permissions(vec![first.ip(), second.ip()])));
        lease.permitted(&[first.ip(), second.ip()], term(240, 900));
        assert_eq!((lease.next_renewal(), lease.due(at(540))), (at(540), Some(Renewal::Allocation)));
        lease.term = term(540, 600);
        assert_eq!(lease.due(at(640)), Some(Renewal::Channel(0x4000, first)));
        lease.stop_channel(first);
        assert_eq!((lease.due(at(640)), lease.channel_to(first, at(640))), (None, None));
    }

    #[test]
    fn two_binds_at_once_take_two_numbers_and_one_peer_keeps_its_own() {
        let (first, second) = (addr("203.0.113.1:1"), addr("203.0.113.1:2"));
        let mut lease = lease();
        assert_eq!(lease.reserve(first, at(0)), Some(0x4000));
        assert_eq!(lease.reserve(second, at(0)), Some(0x4001));
        assert_eq!(lease.reserve(first, at(0)), Some(0x4000));
        assert_eq!(lease.channel_to(first, at(0)), None, "the server has not agreed yet");
        lease.bound(0x4000, first, term(0, 600));
        assert_eq!(lease.channel_to(first, at(1)), Some(0x4000));
        assert_eq!(lease.peer_of(0x4000), Some(first));
        assert_eq!(lease.channel_to(first, at(600)), None);
    }

    #[test]
    fn there_are_4096_channel_numbers_and_they_rest_before_they_are_given_anew() {
        let mut lease = lease();
        for port in 1..=4096 {
            assert!(lease.reserve(SocketAddr::new([203, 0, 113, 1].into(), port), at(0)).is_some());
        }
        assert_eq!(lease.reserve(addr("203.0.113.2:1"), at(299)), None);
        assert_eq!(lease.reserve(addr("203.0.113.2:1"), at(300)), Some(0x4000));
    }
}

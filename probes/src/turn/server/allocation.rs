//! One allocation: its relayed addresses, lifetime, permissions and channels. Knows no messages and no sockets.

use std::collections::BTreeMap;
use std::net::{IpAddr, SocketAddr};

use natbox_wire::Time;
use stun_types::message::TransactionId;

use super::Quotas;
use crate::path::Transport;
use crate::turn::{CHANNEL_LIFETIME, CHANNEL_QUARANTINE, PERMISSION_LIFETIME};

/// An error code of RFC 8656 section 19.
pub(super) type Code = u16;

pub(super) struct Allocation {
    pub(super) username: String,
    /// The Allocate request that made it, and the answer: a retransmission gets the same bytes.
    pub(super) transaction: TransactionId,
    pub(super) stage: Stage,
    /// Over what peers are reached.
    pub(super) transport: Transport,
    /// One or two, of different families.
    pub(super) relays: Vec<Relay>,
    pub(super) expires: Time,
    permissions: BTreeMap<IpAddr, Time>,
    channels: BTreeMap<u16, Channel>,
    numbers: BTreeMap<SocketAddr, u16>,
}

pub(super) enum Stage {
    /// The sockets are being opened; the answer waits for them.
    Opening(Opening),
    /// The answer that was given.
    Answered(Vec<u8>),
}

/// What the answer to an Allocate request needs once the sockets are open.
pub(super) struct Opening {
    pub(super) fingerprint: bool,
    pub(super) placement: Placement,
    /// The additional family that could not be had, and why (ADDRESS-ERROR-CODE).
    pub(super) refused_family: Option<(stun_types::AddressFamily, Code)>,
    pub(super) reservation: Option<u64>,
    pub(super) attempts_left: u8,
}

/// What the client asked of the relayed port.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Placement {
    Any,
    Even,
    /// Even, and the next port is held for a later Allocate.
    EvenAndNext,
    /// The port was held by RESERVATION-TOKEN: no other will do.
    Reserved,
}

pub(super) struct Relay {
    pub(super) address: SocketAddr,
    pub(super) is_open: bool,
}

#[derive(Clone, Copy)]
struct Channel {
    peer: SocketAddr,
    expires: Time,
}

impl Channel {
    fn is_bound(&self, now: Time) -> bool {
        now < self.expires
    }

    fn is_forgotten(&self, now: Time) -> bool {
        now >= self.expires + CHANNEL_QUARANTINE
    }
}

impl Allocation {
    pub(super) fn new(
        username: String,
        transaction: TransactionId,
        transport: Transport,
        opening: Opening,
        expires: Time,
    ) -> Allocation {
        Allocation {
            username,
            transaction,
            stage: Stage::Opening(opening),
            transport,
            relays: Vec::new(),
            expires,
            permissions: BTreeMap::new(),
            channels: BTreeMap::new(),
            numbers: BTreeMap::new(),
        }
    }

    /// The relayed address from which a peer of this family is reached.
    pub(super) fn relay_for(&self, peer: IpAddr) -> Option<SocketAddr> {
        self.relays.iter().map(|relay| relay.address).find(|address| address.is_ipv4() == peer.is_ipv4())
    }

    /// Permits all of `peers` or none of them.
    pub(super) fn permit(&mut self, peers: &[IpAddr], quotas: &Quotas, now: Time) -> Result<(), Code> {
        self.permissions.retain(|_, expires| now < *expires);
        let mut fresh: Vec<IpAddr> = peers.iter().copied().filter(|p| !self.permissions.contains_key(p)).collect();
        fresh.sort_unstable();
        fresh.dedup();
        if self.permissions.len() + fresh.len() > quotas.permissions {
            return Err(508);
        }
        self.permissions.extend(peers.iter().map(|peer| (*peer, now + PERMISSION_LIFETIME)));
        Ok(())
    }

    pub(super) fn permits(&self, peer: IpAddr, now: Time) -> bool {
        self.permissions.get(&peer).is_some_and(|expires| now < *expires)
    }

    /// Binds `number` to `peer`, or refreshes that binding, and permits the peer's address.
    pub(super) fn bind_channel(
        &mut self,
        number: u16,
        peer: SocketAddr,
        quotas: &Quotas,
        now: Time,
    ) -> Result<(), Code> {
        self.forget_channels(now);
        let number_is_others = self.channels.get(&number).is_some_and(|channel| channel.peer != peer);
        let peer_is_others = self.numbers.get(&peer).is_some_and(|bound| *bound != number);
        if number_is_others || peer_is_others {
            return Err(400);
        }
        if !self.channels.contains_key(&number) && self.channels.len() >= quotas.channels {
            return Err(508);
        }
        self.permit(&[peer.ip()], quotas, now)?;
        self.channels.insert(number, Channel { peer, expires: now + CHANNEL_LIFETIME });
        self.numbers.insert(peer, number);
        Ok(())
    }

    /// The peer that a bound channel leads to.
    pub(super) fn peer_of(&self, number: u16, now: Time) -> Option<SocketAddr> {
        self.channels.get(&number).filter(|channel| channel.is_bound(now)).map(|channel| channel.peer)
    }

    /// The channel that is bound to a peer.
    pub(super) fn channel_to(&self, peer: SocketAddr, now: Time) -> Option<u16> {
        let number = self.numbers.get(&peer)?;
        self.channels.get(number).filter(|channel| channel.is_bound(now)).map(|_| *number)
    }

    fn forget_channels(&mut self, now: Time) {
        self.channels.retain(|_, channel| !channel.is_forgotten(now));
        let channels = &self.channels;
        self.numbers.retain(|_, number| channels.contains_key(number));
    }
}

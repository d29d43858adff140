//! The relaying peer: tells the peers of a swarm of each other, and brings together those that ask for it.

use std::collections::BTreeMap;
use std::convert::Infallible;
use std::net::SocketAddr;

use natbox_host::Host;
use natbox_wire::Time;

use super::utp::{Event, Key, Socket};
use super::wire::{Holepunch, Peer, Refusal, Said, greeting};
use crate::ProbeError;

/// Serves until the world ends: every swarm that a peer asks for.
///
/// # Errors
/// [`ProbeError::Io`] when the endpoint cannot be bound.
pub async fn serve<H: Host>(host: H, listen: SocketAddr) -> Result<Infallible, ProbeError> {
    let socket = host.udp_bind(listen).await.map_err(ProbeError::io("bind the relaying peer's endpoint"))?;
    let mut relay = Relay { socket: Socket::new(&host, socket), listen, peers: BTreeMap::new() };
    loop {
        match relay.socket.next(Time::MAX).await {
            Event::Open(key) => drop(relay.peers.insert(key, Peer::default())),
            Event::Bytes(key) => relay.read(key).await,
            Event::Closed(key) => drop(relay.peers.remove(&key)),
            Event::Deadline => {}
        }
    }
}

struct Relay<H: Host> {
    socket: Socket<H>,
    listen: SocketAddr,
    peers: BTreeMap<Key, Peer>,
}

impl<H: Host> Relay<H> {
    async fn read(&mut self, key: Key) {
        let (Some(peer), Some(inbox)) = (self.peers.get_mut(&key), self.socket.inbox(key)) else { return };
        let Ok(said) = peer.read(inbox) else { return self.drop(key) };
        for said in said {
            match said {
                Said::Handshake(hash) => self.say(key, Some(greeting(&hash, b"-NB0100-relayingpeer"))).await,
                Said::Extended => self.introduce(key).await,
                Said::Holepunch(Holepunch::Rendezvous(target)) => self.rendezvous(key, target).await,
                Said::Holepunch(_) | Said::Pex(_) | Said::Talk(_) => {}
            }
        }
    }

    fn drop(&mut self, key: Key) {
        self.socket.forget(key);
        self.peers.remove(&key);
    }

    async fn say(&mut self, key: Key, message: Option<Vec<u8>>) {
        let Some(message) = message else { return };
        if self.socket.write(key, &message).await.is_err() {
            self.drop(key);
        }
    }

    /// The others of a peer's swarm.
    fn others(&self, key: Key) -> Vec<(Key, SocketAddr)> {
        let hash = self.peers.get(&key).and_then(|peer| peer.hash);
        let fits = |(other, peer): &(&Key, &Peer)| **other != key && peer.hash == hash && peer.is_extended();
        let there = |(other, _): (&Key, &Peer)| Some((*other, self.socket.remote(*other)?));
        self.peers.iter().filter(fits).filter_map(there).collect()
    }

    /// A peer has come: it hears of the others, and they of it.
    async fn introduce(&mut self, key: Key) {
        let (others, Some(own)) = (self.others(key), self.socket.remote(key)) else { return };
        let endpoints: Vec<SocketAddr> = others.iter().map(|(_, endpoint)| *endpoint).collect();
        let message = self.peers.get(&key).and_then(|peer| peer.pex(&endpoints));
        self.say(key, message).await;
        for (other, _) in others {
            let message = self.peers.get(&other).and_then(|peer| peer.pex(&[own]));
            self.say(other, message).await;
        }
    }

    async fn rendezvous(&mut self, key: Key, target: SocketAddr) {
        let Some(own) = self.socket.remote(key) else { return };
        let found = self.others(key).into_iter().find(|(_, endpoint)| *endpoint == target);
        let other = match found {
            _ if target == self.listen => Err(Refusal::NoSelf),
            _ if target.port() == 0 || target.ip().is_unspecified() || target == own => Err(Refusal::NoSuchPeer),
            None => Err(Refusal::NotConnected),
            Some((other, _)) if !self.peers.get(&other).is_some_and(Peer::punches) => Err(Refusal::NoSupport),
            Some((other, _)) => Ok(other),
        };
        let answer = match other {
            Ok(_) => Holepunch::Connect(target),
            Err(refusal) => Holepunch::Error(target, refusal as u32),
        };
        let message =
            |relay: &Self, key, message| relay.peers.get(&key).and_then(|peer: &Peer| peer.holepunch(message));
        self.say(key, message(self, key, answer)).await;
        if let Ok(other) = other {
            self.say(other, message(self, other, Holepunch::Connect(own))).await;
        }
    }
}

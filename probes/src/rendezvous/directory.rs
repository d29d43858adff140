//! The directory's tables: datagrams and times go in, datagrams come out. Knows no socket and no clock.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::time::Duration;

use natbox_wire::Time;
use rand_core::Rng;

use super::message::{Body, ErrorKind, Message, RequestId};
use super::{Candidate, Peer, Token};
use crate::path::Paths;

/// How long the directory remembers an introduction: as long as a request can be repeated (RFC 8489 section 6.3.1).
const INTRODUCTION_LIFETIME: Duration = Duration::from_secs(40);
/// The first wait for an accepted invitation; the next are twice as long each.
const FIRST_WAIT: Duration = Duration::from_millis(500);
/// How often an invitation is sent.
const INVITATIONS: u32 = 5;

/// How much a directory remembers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Registered names.
    pub names: usize,
    /// Introductions of the last 40 seconds.
    pub introductions: usize,
    /// The longest lifetime of a registration.
    pub lifetime: Duration,
}

impl Default for Limits {
    fn default() -> Limits {
        Limits { names: 65_536, introductions: 16_384, lifetime: Duration::from_secs(3600) }
    }
}

/// A datagram to send.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Transmit {
    /// Where to.
    pub to: SocketAddr,
    /// What.
    pub datagram: Vec<u8>,
}

/// Who is registered, and who is being introduced to whom.
///
/// Give it what comes with [`handle`](Directory::handle), send what [`drain`](Directory::drain) yields, and call
/// [`tick`](Directory::tick) at [`next_deadline`](Directory::next_deadline).
#[derive(Debug)]
pub struct Directory {
    limits: Limits,
    names: BTreeMap<String, Registration>,
    introductions: BTreeMap<(SocketAddr, RequestId), Introduction>,
    /// Invitations that have not been accepted, by when they are due again.
    pending: BTreeMap<(Time, RequestId), Invitation>,
    out: Vec<Transmit>,
}

#[derive(Debug)]
struct Registration {
    endpoint: SocketAddr,
    candidates: Vec<Candidate>,
    expires: Time,
}

#[derive(Debug)]
struct Introduction {
    answer: Vec<u8>,
    expires: Time,
}

#[derive(Debug)]
struct Invitation {
    transmit: Transmit,
    sent: u32,
}

impl Directory {
    /// An empty directory.
    pub fn new(limits: Limits) -> Directory {
        let (names, introductions, pending) = Default::default();
        Directory { limits, names, introductions, pending, out: Vec::new() }
    }

    /// Takes a datagram that came from `source`. What is malformed, or no request, is ignored.
    pub fn handle(&mut self, datagram: &[u8], source: SocketAddr, random: &mut impl Rng, now: Time) {
        let Some(Message { id, body }) = Message::decode(datagram) else { return };
        let answer = match body {
            Body::Register { name, lifetime, candidates } => self.register(name, lifetime, candidates, source, now),
            Body::Lookup { name } => match self.find(&name, now) {
                Some(peer) => Body::Found { peer },
                None => Body::Error { code: ErrorKind::UnknownName },
            },
            Body::Introduce { own, wanted, paths, candidates } => {
                let caller = Peer { name: own, reflexive: source, candidates };
                return self.introduce(id, caller, &wanted, paths, random, now);
            }
            Body::Accepted => return self.accepted(id, source),
            _ => return,
        };
        self.send(source, Message { id, body: answer }.encode());
    }

    /// Sends again what is due.
    pub fn tick(&mut self, now: Time) {
        while let Some(entry) = self.pending.first_entry()
            && entry.key().0 <= now
        {
            let ((_, id), mut invitation) = entry.remove_entry();
            self.out.push(invitation.transmit.clone());
            invitation.sent += 1;
            if invitation.sent < INVITATIONS {
                self.pending.insert((now + FIRST_WAIT * (1 << (invitation.sent - 1)), id), invitation);
            }
        }
    }

    /// When [`tick`](Directory::tick) has something to do.
    pub fn next_deadline(&self) -> Option<Time> {
        self.pending.first_key_value().map(|((due, _), _)| *due)
    }

    /// What is to be sent, oldest first.
    pub fn drain(&mut self) -> impl Iterator<Item = Transmit> + '_ {
        self.out.drain(..)
    }

    fn send(&mut self, to: SocketAddr, datagram: Vec<u8>) {
        self.out.push(Transmit { to, datagram });
    }

    fn register(
        &mut self,
        name: String,
        lifetime: Duration,
        candidates: Vec<Candidate>,
        source: SocketAddr,
        now: Time,
    ) -> Body {
        let lifetime = lifetime.min(self.limits.lifetime);
        if lifetime.is_zero() {
            self.names.remove(&name);
            return Body::Registered { seen: source, lifetime };
        }
        if !self.names.contains_key(&name) && self.names.len() >= self.limits.names {
            self.names.retain(|_, registration| registration.expires > now);
            if self.names.len() >= self.limits.names {
                return Body::Error { code: ErrorKind::Full };
            }
        }
        self.names.insert(name, Registration { endpoint: source, candidates, expires: now + lifetime });
        Body::Registered { seen: source, lifetime }
    }

    fn find(&self, name: &str, now: Time) -> Option<Peer> {
        let registration = self.names.get(name).filter(|registration| registration.expires > now)?;
        Some(Peer {
            name: name.to_owned(),
            reflexive: registration.endpoint,
            candidates: registration.candidates.clone(),
        })
    }

    fn introduce(&mut self, id: RequestId, caller: Peer, wanted: &str, paths: Paths, random: &mut impl Rng, now: Time) {
        let source = caller.reflexive;
        if let Some(known) = self.introductions.get(&(source, id)).filter(|known| known.expires > now) {
            let answer = known.answer.clone();
            return self.send(source, answer);
        }
        if self.introductions.len() >= self.limits.introductions {
            self.introductions.retain(|_, introduction| introduction.expires > now);
        }
        let full = self.introductions.len() >= self.limits.introductions;
        let callee = if full { Err(ErrorKind::Full) } else { self.find(wanted, now).ok_or(ErrorKind::UnknownName) };
        let callee = match callee {
            Ok(callee) => callee,
            Err(code) => return self.send(source, Message { id, body: Body::Error { code } }.encode()),
        };
        let mut token = Token([0; 16]);
        random.fill_bytes(&mut token.0);
        self.invite(
            RequestId(random.next_u64()),
            callee.reflexive,
            Body::Invitation { token, paths, peer: caller },
            now,
        );
        let answer = Message { id, body: Body::Introduced { token, seen: source, peer: callee } }.encode();
        let expires = now + INTRODUCTION_LIFETIME;
        self.introductions.insert((source, id), Introduction { answer: answer.clone(), expires });
        self.send(source, answer);
    }

    fn invite(&mut self, id: RequestId, to: SocketAddr, body: Body, now: Time) {
        let transmit = Transmit { to, datagram: Message { id, body }.encode() };
        self.out.push(transmit.clone());
        self.pending.insert((now + FIRST_WAIT, id), Invitation { transmit, sent: 1 });
    }

    fn accepted(&mut self, id: RequestId, source: SocketAddr) {
        self.pending.retain(|(_, pending), invitation| *pending != id || invitation.transmit.to != source);
    }
}

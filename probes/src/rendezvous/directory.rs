//! The directory's tables: datagrams and times go in, datagrams come out. Knows no socket and no clock.

use std::collections::BTreeMap;
use std::time::Duration;

use natbox_wire::Time;
use rand_core::Rng;

use super::message::{Body, ErrorKind, Message, RequestId};
use super::{Candidate, Peer, Token, Way};
use crate::path::Paths;

/// How long the directory remembers an introduction: as long as a request can be repeated (RFC 8489 section 6.3.1).
const INTRODUCTION_LIFETIME: Duration = Duration::from_secs(40);
/// How long signals are forwarded between two hosts after the last that came from either.
const SIGNALLING_LIFETIME: Duration = Duration::from_secs(120);
/// The first wait for an accepted invitation; the next are twice as long each.
const FIRST_WAIT: Duration = Duration::from_millis(500);
/// How often an invitation is sent.
const INVITATIONS: u32 = 5;

/// How much a directory remembers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Registered names.
    pub names: usize,
    /// Introductions of the last 40 seconds; and pairs of hosts that signal to each other.
    pub introductions: usize,
    /// The longest lifetime of a registration.
    pub lifetime: Duration,
}

impl Default for Limits {
    fn default() -> Limits {
        Limits { names: 65_536, introductions: 16_384, lifetime: Duration::from_secs(3600) }
    }
}

/// A message to send.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Transmit {
    /// Where to.
    pub to: Way,
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
    /// By the caller's name and the number of its request, which may come by another way when it is repeated.
    introductions: BTreeMap<(String, RequestId), Introduction>,
    signalling: BTreeMap<Token, Signalling>,
    /// Invitations that have not been accepted, by when they are due again.
    pending: BTreeMap<(Time, RequestId), Invitation>,
    out: Vec<Transmit>,
}

#[derive(Debug)]
struct Registration {
    way: Way,
    candidates: Vec<Candidate>,
    expires: Time,
}

#[derive(Debug)]
struct Introduction {
    wanted: String,
    token: Token,
    callee: Peer,
    expires: Time,
}

/// Two hosts that signal to each other: the caller, and the callee.
#[derive(Debug)]
struct Signalling {
    ways: [Way; 2],
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
        let (names, introductions, signalling, pending) = Default::default();
        Directory { limits, names, introductions, signalling, pending, out: Vec::new() }
    }

    /// Takes a message that came from `source`. What is malformed, or nothing for a directory, is ignored.
    pub fn handle(&mut self, datagram: &[u8], source: Way, random: &mut impl Rng, now: Time) {
        let Some(Message { id, body }) = Message::decode(datagram) else { return };
        let answer = match body {
            Body::Register { name, lifetime, candidates } => self.register(name, lifetime, candidates, source, now),
            Body::Lookup { name } => match self.find(&name, now) {
                Some(peer) => Body::Found { peer },
                None => Body::Error { code: ErrorKind::UnknownName },
            },
            Body::Introduce { own, wanted, paths, candidates } => {
                let caller = Peer { name: own, reflexive: source.endpoint, candidates };
                return self.introduce((source, id), caller, &wanted, paths, random, now);
            }
            Body::Accepted => return self.accepted(id, source),
            Body::Signal { token, callee, .. } | Body::Heard { token, callee, .. } => {
                match self.forward(token, callee, source, now) {
                    Some(to) => return self.send(to, datagram.to_vec()),
                    None => Body::Error { code: ErrorKind::UnknownSession },
                }
            }
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

    fn send(&mut self, to: Way, datagram: Vec<u8>) {
        self.out.push(Transmit { to, datagram });
    }

    fn register(
        &mut self,
        name: String,
        lifetime: Duration,
        candidates: Vec<Candidate>,
        source: Way,
        now: Time,
    ) -> Body {
        let seen = source.endpoint;
        let lifetime = lifetime.min(self.limits.lifetime);
        if lifetime.is_zero() {
            self.names.remove(&name);
            return Body::Registered { seen, lifetime };
        }
        if !self.names.contains_key(&name) && self.names.len() >= self.limits.names {
            self.names.retain(|_, registration| registration.expires > now);
            if self.names.len() >= self.limits.names {
                return Body::Error { code: ErrorKind::Full };
            }
        }
        self.names.insert(name, Registration { way: source, candidates, expires: now + lifetime });
        Body::Registered { seen, lifetime }
    }

    fn registered(&self, name: &str, now: Time) -> Option<&Registration> {
        self.names.get(name).filter(|registration| registration.expires > now)
    }

    fn find(&self, name: &str, now: Time) -> Option<Peer> {
        self.registered(name, now).map(|registration| registration.peer(name))
    }

    fn introduce(
        &mut self,
        (source, id): (Way, RequestId),
        caller: Peer,
        wanted: &str,
        paths: Paths,
        random: &mut impl Rng,
        now: Time,
    ) {
        let asked = (caller.name.clone(), id);
        let known = self.introductions.get(&asked).filter(|known| known.expires > now && known.wanted == wanted);
        if let Some(Introduction { token, callee, .. }) = known {
            let (token, peer) = (*token, callee.clone());
            // The caller may have given up the way on which it asked first.
            self.forward(token, false, source, now);
            let body = Body::Introduced { token, seen: source.endpoint, peer };
            return self.send(source, Message { id, body }.encode());
        }
        let callee = match self.registered(wanted, now) {
            Some(callee) => Ok((callee.way, callee.peer(wanted))),
            None => Err(ErrorKind::UnknownName),
        };
        let found = if self.has_room(now) { callee } else { Err(ErrorKind::Full) };
        let (way, callee) = match found {
            Ok(callee) => callee,
            Err(code) => return self.send(source, Message { id, body: Body::Error { code } }.encode()),
        };
        let mut token = Token([0; 16]);
        random.fill_bytes(&mut token.0);
        self.invite(RequestId(random.next_u64()), way, Body::Invitation { token, paths, peer: caller }, now);
        let introduction = Introduction {
            wanted: wanted.to_owned(),
            token,
            callee: callee.clone(),
            expires: now + INTRODUCTION_LIFETIME,
        };
        self.introductions.insert(asked, introduction);
        self.signalling.insert(token, Signalling { ways: [source, way], expires: now + SIGNALLING_LIFETIME });
        let body = Body::Introduced { token, seen: source.endpoint, peer: callee };
        self.send(source, Message { id, body }.encode());
    }

    /// Whether one more introduction can be remembered.
    fn has_room(&mut self, now: Time) -> bool {
        let most = self.limits.introductions;
        if self.introductions.len() >= most {
            self.introductions.retain(|_, introduction| introduction.expires > now);
        }
        if self.signalling.len() >= most {
            self.signalling.retain(|_, signalling| signalling.expires > now);
        }
        self.introductions.len() < most && self.signalling.len() < most
    }

    /// The way to the other side of whoever signals from `source`, which may have moved.
    fn forward(&mut self, token: Token, callee: bool, source: Way, now: Time) -> Option<Way> {
        let signalling = self.signalling.get_mut(&token).filter(|signalling| signalling.expires > now)?;
        signalling.expires = now + SIGNALLING_LIFETIME;
        signalling.ways[usize::from(callee)] = source;
        Some(signalling.ways[usize::from(!callee)])
    }

    fn invite(&mut self, id: RequestId, to: Way, body: Body, now: Time) {
        let transmit = Transmit { to, datagram: Message { id, body }.encode() };
        self.out.push(transmit.clone());
        self.pending.insert((now + FIRST_WAIT, id), Invitation { transmit, sent: 1 });
    }

    fn accepted(&mut self, id: RequestId, source: Way) {
        self.pending.retain(|(_, pending), invitation| *pending != id || invitation.transmit.to != source);
    }
}

impl Registration {
    fn peer(&self, name: &str) -> Peer {
        Peer { name: name.to_owned(), reflexive: self.way.endpoint, candidates: self.candidates.clone() }
    }
}

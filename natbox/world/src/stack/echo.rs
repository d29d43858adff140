//! ICMP echo sockets of one host, as Linux's ping sockets (RFC 792, RFC 4443 section 4).
//!
//! Each has an identifier of its own, by which replies and errors find it. Knows no routes and builds no packets.

use std::collections::{BTreeMap, VecDeque};
use std::net::IpAddr;
use std::task::Waker;

use natbox_host::{EchoAnswer, EchoReply};
use slab::Slab;

/// Answers kept for a socket that is not read; later ones are lost.
const ANSWER_LIMIT: usize = 256;

/// One echo socket.
#[derive(Debug)]
pub(crate) struct EchoSocket {
    pub(crate) local: IpAddr,
    pub(crate) identifier: u16,
    pub(crate) ttl: u8,
    answers: VecDeque<EchoAnswer>,
    readers: Vec<Waker>,
}

impl EchoSocket {
    pub(crate) fn take_answer(&mut self) -> Option<EchoAnswer> {
        self.answers.pop_front()
    }

    pub(crate) fn register(&mut self, waker: &Waker) {
        super::register(&mut self.readers, waker);
    }

    fn push(&mut self, answer: EchoAnswer, wakes: &mut Vec<Waker>) -> bool {
        if self.answers.len() >= ANSWER_LIMIT {
            return false;
        }
        self.answers.push_back(answer);
        wakes.append(&mut self.readers);
        true
    }
}

/// Whether an answer found its socket.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Answered {
    Delivered,
    BufferFull,
    NoSocket,
}

/// The echo sockets of a host.
#[derive(Debug, Default)]
pub(crate) struct EchoSockets {
    sockets: Slab<EchoSocket>,
    by_identifier: BTreeMap<(bool, u16), u32>,
}

impl EchoSockets {
    pub(crate) fn get(&mut self, key: u32) -> Option<&mut EchoSocket> {
        self.sockets.get_mut(key as usize)
    }

    /// Opens a socket under the first free identifier from `wanted` on; `None` if all 65,536 are taken.
    pub(crate) fn insert(&mut self, local: IpAddr, wanted: u16) -> Option<u32> {
        let is_free = |identifier: &u16| !self.by_identifier.contains_key(&(local.is_ipv6(), *identifier));
        let identifier = (0..=u16::MAX).map(|step| wanted.wrapping_add(step)).find(is_free)?;
        let socket = EchoSocket { local, identifier, ttl: 64, answers: VecDeque::new(), readers: Vec::new() };
        let key = self.sockets.insert(socket) as u32;
        self.by_identifier.insert((local.is_ipv6(), identifier), key);
        Some(key)
    }

    pub(crate) fn remove(&mut self, key: u32) {
        if let Some(socket) = self.sockets.try_remove(key as usize) {
            self.by_identifier.remove(&(socket.local.is_ipv6(), socket.identifier));
        }
    }

    /// Gives an answer to the socket with `identifier`, if it may receive on `local`.
    pub(crate) fn answer(
        &mut self,
        identifier: u16,
        local: IpAddr,
        answer: EchoAnswer,
        wakes: &mut Vec<Waker>,
    ) -> Answered {
        let key = self.by_identifier.get(&(local.is_ipv6(), identifier));
        let socket = key.and_then(|key| self.sockets.get_mut(*key as usize));
        let socket = socket.filter(|socket| socket.local.is_unspecified() || socket.local == local);
        match socket.map(|socket| socket.push(answer, wakes)) {
            None => Answered::NoSocket,
            Some(true) => Answered::Delivered,
            Some(false) => Answered::BufferFull,
        }
    }
}

/// The reply's part of an [`EchoAnswer`].
pub(crate) fn reply(packet: &natbox_wire::Packet, sequence: u16, at: natbox_wire::Time) -> EchoAnswer {
    let (source, ttl, length) = (packet.source(), packet.ttl(), packet.payload().len());
    EchoAnswer::Reply(EchoReply { source, sequence, at, ttl, length })
}

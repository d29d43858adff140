//! What came for a client to read: peers' datagrams, ICMP errors, and news of peers' connections. Bounded; what comes beyond is lost, as in a
//! socket's buffer.

use std::cell::RefCell;
use std::collections::VecDeque;
use std::future::Future;
use std::net::SocketAddr;

use stun_types::message::Message;
use turn_types::attribute::{ConnectionId, Data, Icmp, XorPeerAddress};

use super::PeerError;
use crate::turn::message::icmp_error;
use crate::turn::notify::Notify;

const MAX_DATAGRAMS: usize = 1024;
const MAX_ERRORS: usize = 64;
/// The server hangs up by itself what is not bound in time.
const MAX_ATTEMPTS: usize = 256;

#[derive(Default)]
pub(super) struct Inbox {
    datagrams: RefCell<VecDeque<(Vec<u8>, SocketAddr)>>,
    errors: RefCell<VecDeque<PeerError>>,
    attempts: RefCell<VecDeque<(u32, SocketAddr)>>,
    filled: Notify,
}

impl Inbox {
    pub(super) fn pop(&self) -> Option<(Vec<u8>, SocketAddr)> {
        self.datagrams.borrow_mut().pop_front()
    }

    pub(super) fn pop_error(&self) -> Option<PeerError> {
        self.errors.borrow_mut().pop_front()
    }

    pub(super) fn pop_attempt(&self) -> Option<(u32, SocketAddr)> {
        self.attempts.borrow_mut().pop_front()
    }

    /// Takes a ConnectionAttempt indication (RFC 6062 section 4.4).
    pub(super) fn push_attempt(&self, message: &Message<'_>) {
        let (Ok(peer), Ok(connection)) = (message.attribute::<XorPeerAddress>(), message.attribute::<ConnectionId>())
        else {
            return;
        };
        let mut attempts = self.attempts.borrow_mut();
        if attempts.len() < MAX_ATTEMPTS {
            attempts.push_back((connection.id(), peer.addr(message.transaction_id())));
        }
        drop(attempts);
        self.filled.notify();
    }

    /// Resolves when something came, or somebody called [`wake`](Inbox::wake), after this call.
    pub(super) fn filled(&self) -> impl Future<Output = ()> {
        self.filled.changed()
    }

    /// Wakes the readers: there is news that is not a datagram.
    pub(super) fn wake(&self) {
        self.filled.notify();
    }

    pub(super) fn push(&self, payload: &[u8], peer: SocketAddr) {
        let mut datagrams = self.datagrams.borrow_mut();
        if datagrams.len() < MAX_DATAGRAMS {
            datagrams.push_back((payload.to_vec(), peer));
        }
        drop(datagrams);
        self.filled.notify();
    }

    /// Takes a Data indication: a peer's datagram, or an ICMP error if it has the ICMP attribute.
    pub(super) fn push_indication(&self, message: &Message<'_>) {
        let Ok(peer) = message.attribute::<XorPeerAddress>() else { return };
        let peer = peer.addr(message.transaction_id());
        if let Ok(icmp) = message.attribute::<Icmp>() {
            let mut errors = self.errors.borrow_mut();
            if errors.len() < MAX_ERRORS {
                errors.push_back(PeerError { peer, error: icmp_error(&icmp, peer.is_ipv6()) });
            }
        } else if let Ok(data) = message.attribute::<Data<'_>>() {
            self.push(data.data(), peer);
        }
    }
}

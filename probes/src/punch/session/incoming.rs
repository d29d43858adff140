//! What comes in: checks are answered and checked back, answers make pairs valid.

use std::net::SocketAddr;

use natbox_wire::Time;

use super::pair::{Pair, PairState, Via};
use super::{MOST_PAIRS, NOMINATIONS_REMEMBERED, Role, Session, Transmit, unauthorized};
use crate::path::Path;
use crate::stun::codec::{self, BINDING, Message, MessageClass, TransactionId, Writer, attribute};

impl Session {
    /// Takes a check or an answer that came from `source`. Whether it was this session's.
    pub(crate) fn handle(&mut self, via: Via, source: SocketAddr, message: &Message<'_>, now: Time) -> bool {
        if !message.has_method(BINDING) {
            return false;
        }
        match message.class() {
            MessageClass::Request => self.checked(via, source, message, now),
            MessageClass::Success => self.answered(via, source, message, now),
            MessageClass::Error => self.refused(source, message),
            MessageClass::Indication => self.trusts(via, source),
        }
    }

    /// A check came: answer it, and check back.
    fn checked(&mut self, via: Via, source: SocketAddr, request: &Message<'_>, now: Time) -> bool {
        let mine = codec::username(request).is_some_and(|username| username == self.username_in);
        if !mine {
            return false;
        }
        if request.validate_integrity_with_key(&self.key).is_err() {
            let datagram = unauthorized(request);
            self.out.push(Transmit { via, to: source, datagram, ttl: None });
            return true;
        }
        let Some(index) = self.pair_of(via, source, now) else { return true };
        self.pairs[index].trusted = true;
        let answer = Writer::success(request).xor_address(attribute::XOR_MAPPED_ADDRESS, source);
        let datagram = answer.integrity(&self.key).finish();
        self.out.push(Transmit { via, to: source, datagram, ttl: None });
        if self.introduced.role == Role::Callee && request.has_attribute(attribute::USE_CANDIDATE) {
            self.nominated(index, request.transaction_id(), now);
        }
        self.heard_over(index, now);
        self.trigger(index, now);
        true
    }

    /// The pair of a source; an unknown source makes a new one, if it may.
    fn pair_of(&mut self, via: Via, source: SocketAddr, now: Time) -> Option<usize> {
        let known = self.pairs.iter().position(|pair| pair.is(via, source));
        let learns = self.plan.peer_reflexive || via == Via::Relay;
        if known.is_some() || !learns || self.pairs.len() >= MOST_PAIRS {
            return known;
        }
        self.pairs.push(Pair::learned(via, source, now));
        Some(self.pairs.len() - 1)
    }

    /// Checks back at once (RFC 8445 section 7.3.1.4), where that can still change something.
    fn trigger(&mut self, index: usize, now: Time) {
        let settled = self
            .selected
            .is_some_and(|selected| selected == index || self.path_of(&self.pairs[selected]) != Path::Relayed);
        let valid = matches!(self.pairs[index].state, PairState::Valid { .. });
        if settled
            || valid
            || self.holds(&self.pairs[index])
            || self.pairs[index].triggered && self.pairs[index].due().is_some()
        {
            return;
        }
        self.pairs[index].triggered = true;
        self.pairs[index].state = PairState::Checking { sent: 0, next: now };
        self.check(index, now);
    }

    /// The callee's side of a nomination.
    fn nominated(&mut self, index: usize, id: TransactionId, now: Time) {
        if self.nominations_seen.contains(&id) {
            return;
        }
        if self.nominations_seen.len() == NOMINATIONS_REMEMBERED {
            self.nominations_seen.remove(0);
        }
        self.nominations_seen.push(id);
        self.selected = Some(index);
        self.stop_checking();
        self.watch(now);
    }

    /// An answer came.
    fn answered(&mut self, via: Via, source: SocketAddr, answer: &Message<'_>, now: Time) -> bool {
        let id = Some(answer.transaction_id());
        let nominating = self.nomination.as_ref().is_some_and(|nomination| Some(nomination.id) == id);
        let index = match &self.nomination {
            Some(nomination) if nominating => Some(nomination.pair),
            _ => self.pairs.iter().position(|pair| pair.id == id).or_else(|| self.beats(answer.transaction_id())),
        };
        let Some(index) = index else { return false };
        if answer.validate_integrity_with_key(&self.key).is_err() {
            return true;
        }
        let mapped = codec::mapped_address(answer);
        let pair = &mut self.pairs[index];
        if !pair.is(via, source) {
            // The path is not symmetric: an answer from elsewhere does not count (RFC 8445 section 7.2.5.2.1).
            pair.elsewhere = Some(source);
            return true;
        }
        pair.trusted = true;
        if self.answered_beat(answer.transaction_id(), now) {
            return true;
        }
        let pair = &mut self.pairs[index];
        if nominating {
            self.nomination = None;
            self.selected = Some(index);
            self.stop_checking();
            self.watch(now);
            // A caller that has begun with its relay looks for something better from here on.
            self.tick(now);
        } else if !matches!(pair.state, PairState::Valid { .. }) {
            pair.state = PairState::Valid { mapped, since: now };
            self.decide(now);
        }
        true
    }

    fn refused(&mut self, source: SocketAddr, answer: &Message<'_>) -> bool {
        let id = Some(answer.transaction_id());
        let Some(pair) = self.pairs.iter_mut().find(|pair| pair.id == id) else { return false };
        if pair.remote == source {
            // An error response is not authenticated: it explains a failure, and ends nothing.
            pair.refused = codec::error_code(answer).map(|(code, _)| code);
        }
        true
    }
}

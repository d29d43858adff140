//! What goes over a QUIC socket that is not QUIC: STUN, and datagrams that mean nothing but open NATs.
//!
//! The first byte tells them apart (RFC 9443): 0-3 is STUN, QUIC's has bit 0x40 set. The meaningless datagrams begin
//! with [`MARK`]; how many rounds are left follows.

use std::collections::VecDeque;
use std::net::SocketAddr;
use std::time::Duration;

use natbox_wire::Time;

use super::machine::Event;
use crate::sans_io::Transmit;
use crate::stun::codec::{self, BINDING, MessageClass, TransactionId, Writer};

/// What datagrams begin with that only open NATs: a byte that RFC 7983 section 7 and RFC 9443 leave to nobody (4-15).
pub(super) const MARK: u8 = 0x08;
/// Longer than the shortest QUIC packet with its connection id (RFC 9000 section 10.3): dissectors that have seen QUIC
/// between two endpoints take everything between them for that, and stumble over what is shorter.
const NOISE_BYTES: usize = 32;
/// From one round of them to the next (DCUtR: 10 to 200 ms).
const INTERVAL: Duration = Duration::from_millis(50);
/// How many rounds there are.
const ROUNDS: u32 = 60;
/// When a STUN request is sent again, and how often.
const STUN_INTERVAL: Duration = Duration::from_millis(500);
const STUN_SENDS: u32 = 6;
/// How many endpoints are opened towards at once.
const MOST_TARGETS: usize = 8;

/// What goes on beside QUIC.
#[derive(Default)]
pub(super) struct Opening {
    targets: Vec<SocketAddr>,
    rounds: u32,
    round_at: Time,
    asked: Option<Asked>,
    outbox: VecDeque<Transmit>,
}

/// A STUN request under way.
struct Asked {
    server: SocketAddr,
    id: TransactionId,
    request: Vec<u8>,
    sends: u32,
    send_at: Time,
}

/// What came that was not QUIC.
pub(super) enum Other {
    Seen(SocketAddr),
    Stranger(SocketAddr),
    Nothing,
}

impl Other {
    pub(super) fn into_event(self) -> Option<Event> {
        match self {
            Other::Seen(endpoint) => Some(Event::Seen { endpoint }),
            Other::Stranger(endpoint) => Some(Event::Stranger { endpoint }),
            Other::Nothing => None,
        }
    }
}

impl Opening {
    /// Opens this side's NATs for these endpoints, again and again for three seconds.
    pub(super) fn towards(&mut self, targets: &[SocketAddr], now: Time) {
        self.targets = targets.iter().copied().take(MOST_TARGETS).collect();
        (self.rounds, self.round_at) = (ROUNDS, now);
    }

    /// Nothing more is to be opened.
    pub(super) fn stop(&mut self) {
        self.rounds = 0;
    }

    /// Asks a STUN server where it sees this socket.
    pub(super) fn ask(&mut self, server: SocketAddr, id: TransactionId, now: Time) {
        let request = Writer::new(MessageClass::Request, BINDING, id).finish();
        self.asked = Some(Asked { server, id, request, sends: STUN_SENDS, send_at: now });
    }

    /// What a datagram means, if it is not QUIC's.
    pub(super) fn handle(&mut self, source: SocketAddr, payload: &[u8]) -> Option<Other> {
        match payload.first() {
            Some(&MARK) => Some(if self.targets.contains(&source) { Other::Nothing } else { Other::Stranger(source) }),
            Some(0..=3) => Some(self.answered(payload).map_or(Other::Nothing, Other::Seen)),
            Some(_) => None,
            None => Some(Other::Nothing),
        }
    }

    fn answered(&mut self, payload: &[u8]) -> Option<SocketAddr> {
        let message = codec::parse(payload)?;
        let asked = self.asked.as_ref().filter(|asked| asked.id == message.transaction_id())?;
        let endpoint = codec::mapped_address(&message)?;
        let _ = asked;
        self.asked = None;
        Some(endpoint)
    }

    pub(super) fn poll_transmit(&mut self) -> Option<Transmit> {
        self.outbox.pop_front()
    }

    pub(super) fn poll_timeout(&self) -> Option<Time> {
        let round = (self.rounds > 0 && !self.targets.is_empty()).then_some(self.round_at);
        let ask = self.asked.as_ref().map(|asked| asked.send_at);
        round.into_iter().chain(ask).min()
    }

    pub(super) fn handle_timeout(&mut self, now: Time) {
        if self.rounds > 0 && self.round_at <= now {
            (self.rounds, self.round_at) = (self.rounds - 1, now + INTERVAL);
            let mut payload = vec![MARK; NOISE_BYTES];
            payload[1..5].copy_from_slice(&self.rounds.to_be_bytes());
            for target in &self.targets {
                let payload = payload.clone();
                self.outbox.push_back(Transmit { source: None, destination: *target, payload });
            }
        }
        if let Some(asked) = self.asked.as_mut().filter(|asked| asked.send_at <= now) {
            if asked.sends == 0 {
                self.asked = None;
                return;
            }
            (asked.sends, asked.send_at) = (asked.sends - 1, now + STUN_INTERVAL);
            let (destination, payload) = (asked.server, asked.request.clone());
            self.outbox.push_back(Transmit { source: None, destination, payload });
        }
    }
}

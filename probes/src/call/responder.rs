//! The answering side of calls; whatever is no frame of a call is echoed.

use std::time::Duration;

use natbox_wire::Time;

use super::frame::{Frame, Terms};
use super::meter::Meter;
use super::{LEAST_BYTES, MOST_BYTES};
use crate::connect::{Replies, Service, SessionId};

/// The most calls at a time.
const MOST_CALLS: usize = 256;
/// The fastest rate at which this side sends, whatever a caller asks for.
const LEAST_INTERVAL: Duration = Duration::from_micros(100);

/// Answers calls, and echoes everything else.
#[derive(Debug, Default)]
pub struct Responder {
    calls: Vec<Half>,
}

/// This side's half of a call.
#[derive(Debug)]
struct Half {
    session: SessionId,
    id: u64,
    terms: Terms,
    began: Time,
    sent: u32,
    meter: Meter,
}

impl Half {
    /// When the next datagram is due.
    fn due(&self) -> Option<Time> {
        (self.sent < self.terms.count).then(|| self.began + self.terms.interval.saturating_mul(self.sent))
    }
}

impl Responder {
    fn start(&mut self, session: SessionId, id: u64, mut terms: Terms, at: Time, replies: &mut Replies) {
        if !self.calls.iter().any(|call| call.session == session && call.id == id) {
            // One call a connection: the next one ends the last.
            self.calls.retain(|call| call.session != session);
            if self.calls.len() >= MOST_CALLS {
                return;
            }
            terms.interval = terms.interval.max(LEAST_INTERVAL);
            terms.size_bytes = terms.size_bytes.clamp(LEAST_BYTES, MOST_BYTES);
            self.calls.push(Half { session, id, terms, began: at, sent: 0, meter: Meter::default() });
        }
        replies.send(session, &Frame::Started { id }.encode(0));
    }
}

impl Service for Responder {
    fn received(&mut self, session: SessionId, payload: &[u8], at: Time, replies: &mut Replies) {
        let Some(frame) = Frame::decode(payload) else { return replies.send(session, payload) };
        let id = frame.id();
        let half = self.calls.iter_mut().find(|call| call.session == session && call.id == id);
        match (frame, half) {
            (Frame::Start { terms, .. }, _) => self.start(session, id, terms, at, replies),
            (Frame::Voice { sequence, at: sent_at, .. }, Some(half)) => half.meter.take(sequence, at.since(sent_at)),
            (Frame::Finish { .. }, Some(half)) => {
                half.terms.count = half.sent;
                let report = Frame::Report { id, sent: half.sent, heard: half.meter.stream() };
                replies.send(session, &report.encode(0));
            }
            _ => {}
        }
    }

    fn next_deadline(&self) -> Option<Time> {
        self.calls.iter().filter_map(Half::due).min()
    }

    fn tick(&mut self, replies: &mut Replies, now: Time) {
        for half in &mut self.calls {
            while half.due().is_some_and(|due| due <= now) {
                let voice = Frame::Voice { id: half.id, sequence: half.sent, at: now };
                replies.send(half.session, &voice.encode(usize::from(half.terms.size_bytes)));
                half.sent += 1;
            }
        }
    }

    fn ended(&mut self, session: SessionId) {
        self.calls.retain(|call| call.session != session);
    }
}

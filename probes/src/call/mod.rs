//! A call: datagrams at a constant rate both ways for a while, and what became of them.
//!
//! ```text
//! caller                                  answering side ([`Responder`])
//!   | start (interval, size, count) ------> |    again until it is answered
//!   | <---------------------------- started |
//!   | voice 0, 1, 2 ... ------------------> |    each with the time of its sending
//!   | <------------------ voice 0, 1, 2 ... |
//!   | finish -----------------------------> |    again until it is answered
//!   | <----------------------------- report |    what the answering side has sent and received
//! ```
//!
//! Delays are one-way: both clocks must agree, as they do in one lab. On machines whose clocks differ, the delays are
//! off by the difference; loss and jitter are not. Jitter is RFC 3550's (section 6.4.1).

mod frame;
mod meter;
mod responder;

use std::io;
use std::time::Duration;

use natbox_host::Host;
use natbox_wire::Time;
use rand_core::Rng;

pub use meter::Stream;
pub use responder::Responder;

use crate::ProbeError;
use crate::connect::{Replies, Service, SessionId};
use crate::contact::Contact;
use crate::path::Path;
use frame::{Frame, Terms};
use meter::Meter;

/// How a request of the call is repeated: so often, so far apart.
const ATTEMPTS: u32 = 10;
const ATTEMPT: Duration = Duration::from_millis(250);
/// How long an answering side rests when its contact cannot be used.
const REST: Duration = Duration::from_secs(1);
/// How long the caller waits for the last datagrams.
const TAIL: Duration = Duration::from_secs(1);
/// The smallest datagram: the header of a voice frame.
const LEAST_BYTES: u16 = frame::VOICE_HEADER_BYTES as u16;
/// The largest: what fits into one read of a connection.
const MOST_BYTES: u16 = 2000;

/// What to send.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CallConfig {
    /// The time between two datagrams.
    pub interval: Duration,
    /// The size of a datagram's payload, 25 to 2000 bytes.
    pub size_bytes: u16,
    /// How long.
    pub duration: Duration,
}

impl Default for CallConfig {
    /// Ten seconds of G.711: 160 bytes every 20 ms, 64 kbit/s.
    fn default() -> CallConfig {
        CallConfig { interval: Duration::from_millis(20), size_bytes: 160, duration: Duration::from_secs(10) }
    }
}

impl CallConfig {
    fn terms(&self) -> Terms {
        let interval = self.interval.max(Duration::from_micros(1));
        let count = self.duration.as_nanos().div_ceil(interval.as_nanos());
        Terms {
            interval,
            size_bytes: self.size_bytes.clamp(LEAST_BYTES, MOST_BYTES),
            count: u32::try_from(count).unwrap_or(u32::MAX),
        }
    }
}

/// What became of a call.
#[derive(Clone, Debug, PartialEq)]
pub struct CallReport {
    /// From the caller to the answering side.
    pub outbound: Stream,
    /// From the answering side to the caller.
    pub inbound: Stream,
    /// The path at the beginning, and every change of it.
    pub paths: Vec<(Time, Path)>,
    /// When the first datagram was sent.
    pub began: Time,
    /// When the last one was.
    pub ended: Time,
}

/// Calls over a contact whose other end runs [`respond`], or [`Responder`] where it answers many.
///
/// # Errors
/// The socket's errors; silence if the other end does not answer the start or the finish.
pub async fn call<H: Host>(contact: &mut Contact<H>, config: &CallConfig) -> Result<CallReport, ProbeError> {
    let host = contact.host().clone();
    let terms = config.terms();
    let id = host.random().next_u64();
    let mut call = Call { id, terms, meter: Meter::default(), sent: 0 };
    let started = |frame| matches!(frame, Frame::Started { .. }).then_some(());
    call.request(&host, contact, Frame::Start { id, terms }, started).await?;
    let path_before = contact.history().len().saturating_sub(1);
    let began = host.now();
    call.talk(&host, contact, began).await?;
    let ended = host.now();
    call.listen(&host, contact, ended + TAIL).await?;
    let reported = |frame| match frame {
        Frame::Report { sent, heard, .. } => Some((sent, heard)),
        _ => None,
    };
    let (sent, heard) = call.request(&host, contact, Frame::Finish { id }, reported).await?;
    let paths = contact.history()[path_before..].iter().map(|(at, path)| ((*at).max(began), *path)).collect();
    Ok(CallReport { outbound: heard.of(call.sent), inbound: call.meter.stream().of(sent), paths, began, ended })
}

/// Answers calls over one contact until then; whatever is no frame of a call is echoed.
pub async fn respond<H: Host>(contact: &mut Contact<H>, until: Time) {
    let (host, session) = (contact.host().clone(), SessionId(0));
    let (mut responder, mut replies) = (Responder::default(), Replies::default());
    while host.now() < until {
        let due = responder.next_deadline().map_or(until, |due| due.min(until));
        match contact.recv(due).await {
            Ok(Some(message)) => responder.received(session, message.payload, message.at, &mut replies),
            Ok(None) => responder.tick(&mut replies, host.now()),
            // It may come back.
            Err(_) => host.sleep(REST).await,
        }
        for payload in replies.drain() {
            // What cannot be sent now is lost.
            let _ = contact.send(&payload).await;
        }
    }
}

struct Call {
    id: u64,
    terms: Terms,
    meter: Meter,
    sent: u32,
}

impl Call {
    /// Sends the datagrams, each at its time, and listens in between.
    async fn talk<H: Host>(&mut self, host: &H, contact: &mut Contact<H>, began: Time) -> Result<(), ProbeError> {
        for sequence in 0..self.terms.count {
            self.listen(host, contact, began + self.terms.interval * sequence).await?;
            let voice = Frame::Voice { id: self.id, sequence, at: host.now() };
            let datagram = voice.encode(usize::from(self.terms.size_bytes));
            contact.send(&datagram).await.map_err(ProbeError::io("send a datagram of the call"))?;
            self.sent += 1;
        }
        Ok(())
    }

    /// Listens until `deadline`, or until everything has come.
    async fn listen<H: Host>(&mut self, host: &H, contact: &mut Contact<H>, until: Time) -> Result<(), ProbeError> {
        let talking = self.sent < self.terms.count;
        while host.now() < until && (talking || self.meter.received() < self.terms.count) {
            match self.next(contact, until).await {
                Ok(Some(_)) => {}
                Ok(None) => break,
                Err(error) => return Err(ProbeError::io("receive a datagram of the call")(error)),
            }
        }
        Ok(())
    }

    /// The next frame of this call; voice is metered on the way.
    async fn next<H: Host>(&mut self, contact: &mut Contact<H>, until: Time) -> io::Result<Option<Option<Frame>>> {
        let Some(datagram) = contact.recv(until).await? else { return Ok(None) };
        let frame = Frame::decode(datagram.payload).filter(|frame| frame.id() == self.id);
        if let Some(Frame::Voice { sequence, at, .. }) = frame {
            self.meter.take(sequence, datagram.at.since(at));
        }
        Ok(Some(frame))
    }

    /// Sends a frame until an answer that fits comes.
    async fn request<H: Host, T>(
        &mut self,
        host: &H,
        contact: &mut Contact<H>,
        request: Frame,
        fits: impl Fn(Frame) -> Option<T>,
    ) -> Result<T, ProbeError> {
        let began = host.now();
        for _ in 0..ATTEMPTS {
            let datagram = request.encode(0);
            contact.send(&datagram).await.map_err(ProbeError::io("send a request of the call"))?;
            let until = host.now() + ATTEMPT;
            while let Some(frame) =
                self.next(contact, until).await.map_err(ProbeError::io("receive an answer of the call"))?
            {
                if let Some(answer) = frame.and_then(&fits) {
                    return Ok(answer);
                }
            }
        }
        let (from, waited) = (contact.remote(), host.now().since(began));
        Err(ProbeError::Silence { expected: "an answer to a request of the call", from, waited, sent: ATTEMPTS })
    }
}

#[cfg(test)]
mod tests;

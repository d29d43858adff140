//! How long an idle mapping lives (RFC 5780 section 4.6), by binary search.
//!
//! ```text
//! X --- Binding request ---------------------> server      X's mapping is fresh
//!       ... T ...
//! Y --- Binding request, RESPONSE-PORT = X' -> server
//! X <-- response ----------------------------- server      arrives: alive after T. Silence: expired
//! ```
//!
//! X is primed anew before every T, from a fresh port. T runs from the sending of X's request to the arrival of the
//! response, so that the way to the server and back is part of it.

use std::net::SocketAddr;
use std::time::Duration;

use natbox_host::{Host, UdpSocket};
use natbox_wire::Time;

use super::{Probe, answered};
use crate::ProbeError;
use crate::stun::client::BindingRequest;
use crate::stun::codec;
use crate::wait::receive;

/// Between which bounds to search.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LifetimeSearch {
    /// The shortest idle time that is tried.
    pub shortest: Duration,
    /// The longest idle time that is tried.
    pub longest: Duration,
    /// The search ends when the lifetime is known within this.
    pub precision: Duration,
}

impl Default for LifetimeSearch {
    /// From 5 seconds to 10 minutes, to the second.
    fn default() -> LifetimeSearch {
        LifetimeSearch {
            shortest: Duration::from_secs(5),
            longest: Duration::from_secs(600),
            precision: Duration::from_secs(1),
        }
    }
}

/// Where the search ended. The lifetime lies between the two.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Lifetime {
    /// The longest idle time that a mapping survived; zero if it survived none.
    pub alive_after: Duration,
    /// The shortest idle time that a mapping did not survive; `None` if it survived the longest that was tried.
    pub expired_after: Option<Duration>,
}

/// The search ends after so many halvings in any case: from a century to a microsecond.
const MOST_HALVINGS: usize = 52;

impl<H: Host> Probe<'_, H> {
    /// `None` if the server does not support RESPONSE-PORT.
    pub(super) async fn lifetime(&mut self, search: LifetimeSearch) -> Result<Option<Lifetime>, ProbeError> {
        let Some(alive) = self.survives(search.shortest).await? else { return Ok(None) };
        if !alive {
            return Ok(Some(Lifetime { alive_after: Duration::ZERO, expired_after: Some(search.shortest) }));
        }
        let Some(alive) = self.survives(search.longest).await? else { return Ok(None) };
        if alive {
            return Ok(Some(Lifetime { alive_after: search.longest, expired_after: None }));
        }
        let (mut alive_after, mut expired_after) = (search.shortest, search.longest);
        for _ in 0..MOST_HALVINGS {
            let gap = expired_after.saturating_sub(alive_after);
            if gap <= search.precision {
                break;
            }
            let middle = alive_after + gap / 2;
            match self.survives(middle).await? {
                Some(true) => alive_after = middle,
                Some(false) => expired_after = middle,
                None => return Ok(None),
            }
        }
        Ok(Some(Lifetime { alive_after, expired_after: Some(expired_after) }))
    }

    /// Whether a mapping that has been idle for `idle` still lets an answer through; `None` if that cannot be tested.
    async fn survives(&mut self, idle: Duration) -> Result<Option<bool>, ProbeError> {
        let (x, y) = (self.socket().await?, self.socket().await?);
        self.pace().await;
        let primed_at = self.host.now();
        let plain = BindingRequest::default();
        let Some(primed) = answered(self.client.binding(&x, self.server, plain).await)? else { return Ok(None) };
        // Of a retransmitted priming nobody knows when it passed the NAT: then T runs from its answer.
        let prompt = primed.elapsed < self.client.retransmission.first_wait;
        let until = if prompt { primed_at + idle.saturating_sub(primed.elapsed) } else { self.host.now() + idle };
        self.host.sleep_until(until).await;
        match self.answer_elsewhere(&y, &x, primed.mapped.port()).await {
            Ok(arrived) => Ok(Some(arrived.is_some())),
            Err(ProbeError::Refused { .. }) => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Has the server answer a request from `asking` to `port` of the same external address, where `listening` should
    /// receive it. Who sent the answer, if it arrives.
    pub(crate) async fn answer_elsewhere(
        &mut self,
        asking: &H::Udp,
        listening: &H::Udp,
        port: u16,
    ) -> Result<Option<SocketAddr>, ProbeError> {
        let request = self.client.prepare(BindingRequest { response_port: Some(port), ..Default::default() });
        let plan = self.client.retransmission;
        for sent in 1..=plan.sends {
            asking.send_to(&request, self.server).await.map_err(ProbeError::io("send a STUN request"))?;
            let deadline = self.host.now() + plan.wait_after(sent);
            if let Some(source) = self.arrival_of_answer(listening, &request, deadline).await? {
                return Ok(Some(source));
            }
        }
        self.refusal(asking, &request).await
    }

    /// The error response that came to `asking` instead, if one did.
    async fn refusal<T>(&self, asking: &H::Udp, request: &[u8]) -> Result<Option<T>, ProbeError> {
        let mut buffer = [0; 1024];
        while let Ok(Some(received)) = receive(self.host, asking, &mut buffer, self.host.now()).await {
            let response = buffer.get(..received.length).and_then(codec::parse);
            let error = response.filter(|response| response.as_bytes().get(8..20) == request.get(8..20));
            if let Some((code, reason)) = error.as_ref().and_then(codec::error_code) {
                let expected = "a Binding response to another port";
                return Err(ProbeError::Refused { expected, from: received.source, code, reason });
            }
        }
        Ok(None)
    }

    async fn arrival_of_answer(
        &self,
        listening: &H::Udp,
        request: &[u8],
        deadline: Time,
    ) -> Result<Option<SocketAddr>, ProbeError> {
        let mut buffer = [0; 1024];
        loop {
            let received = receive(self.host, listening, &mut buffer, deadline).await;
            match received.map_err(ProbeError::io("receive a STUN response"))? {
                Some(received) if buffer.get(8..20) == request.get(8..20) => return Ok(Some(received.source)),
                Some(_) => {}
                None => return Ok(None),
            }
        }
    }
}

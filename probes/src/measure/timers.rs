//! How long idle UDP mappings live, by stage, and which packets make them live longer.
//!
//! ```text
//! unreplied   X --- "answer to Y" ---> server ---> Y        X has sent, and nothing has come back to it
//! replied     X --- request ---> server ---> X              packets both ways, and again at once
//! stream      the same, three seconds apart                 as Linux counts a stream
//!             ... idle for T ...
//! check       Y --- "answer to X" ---> server ---> X?       arrives: alive after T. Silence: expired
//! refresh     a stream, half of whose life has passed, gets one packet: from X alone ("answer to Y"), or to X alone
//!             ("answer to X", asked for by Y); half a life later it is checked
//! ```
//!
//! The second packet from X matters where inbound packets do not refresh: the first one began the timer of an unreplied
//! session, and the answer does not begin it anew.
//!
//! A search asks several times at once, each from a socket of its own, and goes on between the longest that was survived
//! and the shortest that was not. Neither end is rounded: what was survived is reckoned from the last answer to the asking
//! of the check, and what was not from the first request to when the check's answer was due, so that the lifetime lies in
//! between however long the ways are, unless a packet is lost.
//!
//! Needs a server that answers to another port (RESPONSE-PORT, RFC 5780 section 7.5). With others, a mapping is checked by
//! X asking again: seen elsewhere, the mapping had expired. That tells nothing of unreplied sessions and of what refreshes,
//! and nothing at all where ports are preserved: a new mapping looks like the old one.

use std::net::SocketAddr;
use std::time::Duration;

use futures::join;
use natbox_host::{Host, UdpSocket};
use natbox_wire::Time;

use super::ports::{Allocation, answers_elsewhere};
use super::{Measured, Options, Refresh, SILENT, Unknown};
use crate::ProbeError;
use crate::discovery::{Lifetime, LifetimeSearch, Probe, answered};
use crate::stun::client::{Answer, BindingRequest, read_binding};
use crate::wait::receive;

/// Idle times that are tried at once.
const AT_ONCE: u32 = 8;
/// The search ends after so many rounds in any case.
const MOST_ROUNDS: usize = 8;
/// How long a session is kept in use until it counts as a stream: Linux asks for two seconds.
const STREAM_AGE: Duration = Duration::from_secs(3);
/// How often a mapping is tried to be made.
const TRIES: usize = 3;

const NO_RESPONSE_PORT: Unknown = Unknown("the server does not answer to another port (RESPONSE-PORT, RFC 5780)");
const NO_CHECK: Unknown = Unknown(
    "the server does not answer to another port (RESPONSE-PORT, RFC 5780), and a new mapping would look like the old one",
);
const NOT_ASKED: Unknown = Unknown("timers were not asked for");

/// How long idle mappings live, each between what was survived and what was not.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Timers {
    /// Sessions that have seen packets from inside alone.
    pub unreplied: Measured<Lifetime>,
    /// Sessions that have seen packets both ways.
    pub replied: Measured<Lifetime>,
    /// Sessions that have been in use both ways for three seconds.
    pub stream: Measured<Lifetime>,
    /// Which packets make a stream live longer.
    pub refresh: Measured<Refresh>,
}

impl Timers {
    pub(super) fn unasked() -> Timers {
        Timers::unknown(NOT_ASKED)
    }

    fn unknown(why: Unknown) -> Timers {
        Timers { unreplied: Err(why), replied: Err(why), stream: Err(why), refresh: Err(why) }
    }
}

/// What a mapping has seen when its idle time begins.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stage {
    Unreplied,
    Replied,
    Stream,
}

/// Searches for the three lifetimes side by side, then for what refreshes.
pub(super) async fn search<H: Host>(
    host: &H,
    server: SocketAddr,
    options: &Options,
    search: LifetimeSearch,
    allocation: Measured<Allocation>,
) -> Result<Timers, ProbeError> {
    let Some(mut unreplied) = Bench::new(host, server, options).await? else {
        return match allocation {
            Ok(Allocation::Random | Allocation::Sequential) => by_mapping(host, server, options, search).await,
            _ => Ok(Timers::unknown(NO_CHECK)),
        };
    };
    let (Some(mut replied), Some(mut stream)) =
        (Bench::new(host, server, options).await?, Bench::new(host, server, options).await?)
    else {
        return Ok(Timers::unknown(SILENT));
    };
    let (unreplied, replied, streamed) = join!(
        unreplied.lifetime(Stage::Unreplied, search),
        replied.lifetime(Stage::Replied, search),
        stream.lifetime(Stage::Stream, search),
    );
    let streamed = streamed?;
    let refresh = stream.refresh(streamed).await?;
    Ok(Timers { unreplied: unreplied?, replied: replied?, stream: streamed, refresh })
}

/// As [`search`], with a server that answers to nobody else.
async fn by_mapping<H: Host>(
    host: &H,
    server: SocketAddr,
    options: &Options,
    search: LifetimeSearch,
) -> Result<Timers, ProbeError> {
    let mut benches = Vec::new();
    for _ in 0..2 {
        let mut probe = super::probe(host, server, options).await?;
        let asking = probe.socket().await?;
        let Some(seen) = answered(probe.ask(&asking, server, BindingRequest::default()).await)? else {
            return Ok(Timers::unknown(SILENT));
        };
        let asking_port = seen.mapped.port();
        benches.push(Bench { probe, asking, asking_port, round_trip: seen.elapsed, elsewhere: false });
    }
    let [replied, stream] = &mut benches[..] else { return Ok(Timers::unknown(SILENT)) };
    let (replied, stream) = join!(replied.lifetime(Stage::Replied, search), stream.lifetime(Stage::Stream, search));
    Ok(Timers { replied: replied?, stream: stream?, ..Timers::unknown(NO_RESPONSE_PORT) })
}

/// A mapping whose idle time has begun.
struct Primed<H: Host> {
    socket: H::Udp,
    mapped: SocketAddr,
    /// The last packet passed the NAT between the two.
    from: Time,
    until: Time,
}

/// What one search needs: a probe, and a socket that asks.
struct Bench<'a, H: Host> {
    probe: Probe<'a, H>,
    asking: H::Udp,
    asking_port: u16,
    round_trip: Duration,
    /// Whether the server answers to other ports than the one that asks.
    elsewhere: bool,
}

impl<'a, H: Host> Bench<'a, H> {
    /// `None` where the server does not answer elsewhere.
    async fn new(host: &'a H, server: SocketAddr, options: &Options) -> Result<Option<Bench<'a, H>>, ProbeError> {
        let mut probe = super::probe(host, server, options).await?;
        let (asking, listening) = (probe.socket().await?, probe.socket().await?);
        let Some(seen) = answered(probe.ask(&asking, server, BindingRequest::default()).await)? else {
            return Ok(None);
        };
        let able = answers_elsewhere(&mut probe, &asking, &listening).await?;
        let asking_port = seen.mapped.port();
        let bench = Bench { probe, asking, asking_port, round_trip: seen.elapsed, elsewhere: true };
        Ok(able.then_some(bench))
    }

    async fn lifetime(&mut self, stage: Stage, search: LifetimeSearch) -> Result<Measured<Lifetime>, ProbeError> {
        let mut found = Lifetime { alive_after: Duration::ZERO, expired_after: None };
        let mut idle = spread_out(search.shortest, search.longest);
        for _ in 0..MOST_ROUNDS {
            let mut primed = self.prime_all(stage, &idle).await?;
            if primed.is_empty() {
                return Ok(Err(SILENT));
            }
            while !primed.is_empty() {
                let (idle, mapping) = primed.remove(0);
                let (alive, lasted) = self.check(mapping, idle).await?;
                match alive {
                    true => found.alive_after = found.alive_after.max(lasted),
                    false => found.expired_after = Some(found.expired_after.map_or(lasted, |was| was.min(lasted))),
                }
                if !alive {
                    break;
                }
            }
            let Some(expired) = found.expired_after else { return Ok(Ok(found)) };
            let gap = expired.saturating_sub(found.alive_after);
            if gap <= search.precision.max(self.round_trip * 4) {
                break;
            }
            idle = between(found.alive_after, expired);
        }
        Ok(Ok(found))
    }

    /// A mapping for each idle time; none for those that no answer came for.
    async fn prime_all(&mut self, stage: Stage, idle: &[Duration]) -> Result<Vec<(Duration, Primed<H>)>, ProbeError> {
        let mut primed = Vec::new();
        for idle in idle {
            if let Some(mapping) = self.prime(stage).await? {
                primed.push((*idle, mapping));
            }
        }
        if stage == Stage::Stream {
            let mut streams = Vec::new();
            for (idle, mapping) in primed {
                self.probe.host.sleep_until(mapping.until + STREAM_AGE).await;
                streams.extend(self.exchange(mapping.socket).await?.map(|mapping| (idle, mapping)));
            }
            return Ok(streams);
        }
        Ok(primed)
    }

    /// A fresh mapping.
    async fn prime(&mut self, stage: Stage) -> Result<Option<Primed<H>>, ProbeError> {
        for _ in 0..TRIES {
            let socket = self.probe.socket().await?;
            let primed = match stage {
                Stage::Unreplied => self.send_only(socket).await?,
                Stage::Replied => match self.exchange(socket).await? {
                    Some(replied) => self.exchange(replied.socket).await?,
                    None => None,
                },
                Stage::Stream => self.exchange(socket).await?,
            };
            if primed.is_some() {
                return Ok(primed);
            }
        }
        Ok(None)
    }

    /// A request and its answer, the first time it is sent: of a second one nobody knows which passed the NAT when.
    async fn exchange(&mut self, socket: H::Udp) -> Result<Option<Primed<H>>, ProbeError> {
        self.probe.pace().await;
        let from = self.probe.host.now();
        let seen = answered(self.probe.client.binding(&socket, self.probe.server, BindingRequest::default()).await)?;
        let prompt = seen.filter(|seen| seen.elapsed < self.probe.client.retransmission.first_wait);
        Ok(prompt.map(|seen| Primed { socket, mapped: seen.mapped, from, until: self.probe.host.now() }))
    }

    /// A request whose answer goes to the socket that asks otherwise. That one asks first: its own mapping may be gone.
    async fn send_only(&mut self, socket: H::Udp) -> Result<Option<Primed<H>>, ProbeError> {
        let seen = self.probe.ask(&self.asking, self.probe.server, BindingRequest::default()).await;
        let Some(seen) = answered(seen)? else { return Ok(None) };
        self.asking_port = seen.mapped.port();
        self.probe.pace().await;
        let (host, from) = (self.probe.host, self.probe.host.now());
        let elsewhere = BindingRequest { response_port: Some(self.asking_port), ..BindingRequest::default() };
        let request = self.probe.client.prepare(elsewhere);
        socket.send_to(&request, self.probe.server).await.map_err(ProbeError::io("send a STUN request"))?;
        let deadline = from + self.probe.client.retransmission.first_wait;
        let mut buffer = [0; 1024];
        loop {
            let received = receive(host, &self.asking, &mut buffer, deadline).await;
            let Some(received) = received.map_err(ProbeError::io("receive a STUN response"))? else {
                return Ok(None);
            };
            if buffer.get(8..20) == request.get(8..20) {
                let datagram = buffer.get(..received.length).unwrap_or_default().to_vec();
                let answer = Answer { datagram, received, sent: 1, elapsed: received.at.since(from) };
                let seen = read_binding(&answer).ok();
                return Ok(seen.map(|seen| Primed { socket, mapped: seen.mapped, from, until: host.now() }));
            }
        }
    }

    /// Whether a mapping lives when it has been idle for `idle`, and how long it was for certain, or at most.
    async fn check(&mut self, mapping: Primed<H>, idle: Duration) -> Result<(bool, Duration), ProbeError> {
        let host = self.probe.host;
        host.sleep_until(mapping.until + idle).await;
        let asked = host.now();
        let alive = self.arrives(&mapping).await?;
        let lasted = match alive {
            true => asked.since(mapping.until),
            false => (asked + self.round_trip).since(mapping.from),
        };
        Ok((alive, lasted))
    }

    /// Whether what the server sends to a mapping comes in; or whether a packet from inside still has this mapping.
    async fn arrives(&mut self, mapping: &Primed<H>) -> Result<bool, ProbeError> {
        if !self.elsewhere {
            let seen = self.probe.client.binding(&mapping.socket, self.probe.server, BindingRequest::default()).await;
            return Ok(answered(seen)?.is_some_and(|seen| seen.mapped == mapping.mapped));
        }
        match self.probe.answer_elsewhere(&self.asking, &mapping.socket, mapping.mapped.port()).await {
            Ok(arrived) => Ok(arrived.is_some()),
            Err(ProbeError::Refused { .. }) => Ok(false),
            Err(error) => Err(error),
        }
    }

    /// Which packets refresh a stream of this lifetime.
    async fn refresh(&mut self, lifetime: Measured<Lifetime>) -> Result<Measured<Refresh>, ProbeError> {
        let lifetime = match lifetime {
            Ok(lifetime) => lifetime,
            Err(unknown) => return Ok(Err(unknown)),
        };
        let Some(expired) = lifetime.expired_after else {
            return Ok(Err(Unknown("streams live longer than was searched")));
        };
        let part = lifetime.alive_after * 3 / 4;
        if part * 2 <= expired + self.round_trip * 2 {
            return Ok(Err(Unknown("the lifetime is not known precisely enough")));
        }
        let mut primed = self.prime_all(Stage::Stream, &[part, part]).await?.into_iter();
        let (Some((_, outbound)), Some((_, inbound))) = (primed.next(), primed.next()) else {
            return Ok(Err(SILENT));
        };
        self.probe.host.sleep_until(outbound.until + part).await;
        let Some(outbound) = self.send_only(outbound.socket).await? else { return Ok(Err(SILENT)) };
        self.probe.host.sleep_until(inbound.until + part).await;
        if !self.arrives(&inbound).await? {
            return Ok(Err(SILENT));
        }
        let inbound = Primed { until: self.probe.host.now(), ..inbound };
        let outbound = self.check(outbound, part).await?.0;
        let inbound = self.check(inbound, part).await?.0;
        Ok(Ok(match (outbound, inbound) {
            (true, true) => Refresh::Both,
            (true, false) => Refresh::Outbound,
            (false, true) => Refresh::Inbound,
            (false, false) => Refresh::None,
        }))
    }
}

/// Idle times between two bounds, each the same multiple of the one before it; both bounds are among them.
fn spread_out(shortest: Duration, longest: Duration) -> Vec<Duration> {
    if shortest.is_zero() || longest <= shortest {
        return vec![longest];
    }
    let factor = (longest.as_secs_f64() / shortest.as_secs_f64()).powf(1.0 / f64::from(AT_ONCE - 1));
    let power = |index: u32| shortest.mul_f64(factor.powf(f64::from(index)));
    (0..AT_ONCE - 1).map(power).chain([longest]).collect()
}

/// Idle times inside of these bounds, evenly.
fn between(alive: Duration, expired: Duration) -> Vec<Duration> {
    let step = expired.saturating_sub(alive) / (AT_ONCE + 1);
    (1..=AT_ONCE).map(|index| alive + step * index).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn idle_times_begin_and_end_at_the_bounds() {
        let (shortest, longest) = (Duration::from_secs(5), Duration::from_secs(600));
        let idle = spread_out(shortest, longest);
        assert_eq!((idle.first(), idle.last(), idle.len()), (Some(&shortest), Some(&longest), AT_ONCE as usize));
        assert!(idle.is_sorted());
        assert_eq!(spread_out(longest, shortest), [shortest]);
    }
}

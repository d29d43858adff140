//! ICMP echo: is a host there, and how far away (RFC 792, RFC 4443)?
//!
//! ```text
//! host -- echo request 0, 1, 2 ... --> destination     one every interval, whether the last was answered or not
//! host <-- echo reply, or an ICMP error with a reason --
//! ```

use std::net::IpAddr;
use std::pin::pin;
use std::time::Duration;

use futures::{FutureExt, select_biased};
use natbox_host::{EchoAnswer, EchoSocket, Host, IcmpReport};
use natbox_wire::Time;

use crate::ProbeError;

/// The most requests of one ping: sequence numbers have 16 bits.
const MOST_REQUESTS: u32 = 65_536;
/// The most errors that a report keeps.
const MOST_ERRORS: usize = 64;

/// What to send.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PingConfig {
    /// How many requests, 65,536 at most.
    pub count: u32,
    /// The time between two of them.
    pub interval: Duration,
    /// How long to wait for an answer to the last one.
    pub timeout: Duration,
    /// Bytes of payload.
    pub payload_bytes: usize,
}

impl Default for PingConfig {
    /// Four requests of 56 bytes, a second apart, and two seconds for the last.
    fn default() -> PingConfig {
        PingConfig { count: 4, interval: Duration::from_secs(1), timeout: Duration::from_secs(2), payload_bytes: 56 }
    }
}

/// What came back.
#[derive(Clone, Debug, PartialEq)]
pub struct PingReport {
    /// Who was asked.
    pub destination: IpAddr,
    /// How many requests were sent.
    pub sent: u32,
    /// How many were answered.
    pub received: u32,
    /// Round-trip times, if anything was answered.
    pub rtt: Option<Rtt>,
    /// The errors that came instead, the first 64.
    pub errors: Vec<IcmpReport>,
}

/// Round-trip times.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rtt {
    /// The least.
    pub least: Duration,
    /// The mean.
    pub mean: Duration,
    /// The most.
    pub most: Duration,
}

impl PingReport {
    /// The share that was not answered, 0 to 1.
    pub fn lost_share(&self) -> f64 {
        if self.sent == 0 { 0.0 } else { f64::from(self.sent - self.received) / f64::from(self.sent) }
    }
}

/// Pings `destination`.
///
/// # Errors
/// When the machine has no echo sockets, or no way to the destination.
pub async fn ping<H: Host>(host: &H, destination: IpAddr, config: &PingConfig) -> Result<PingReport, ProbeError> {
    let local = host.source_for(destination).map_err(ProbeError::io("find a way to the destination"))?;
    let socket = host.echo_socket(local).await.map_err(ProbeError::io("open an echo socket"))?;
    let payload = vec![0; config.payload_bytes];
    let mut ping = Ping { sent: Vec::new(), rtts: Vec::new(), errors: Vec::new() };
    let began = host.now();
    for number in 0..config.count.min(MOST_REQUESTS) {
        let turn = began + config.interval.saturating_mul(number);
        ping.listen(host, &socket, turn).await?;
        host.sleep_until(turn).await;
        ping.sent.push(Some(host.now()));
        let sequence = number as u16;
        socket.send(destination, sequence, &payload).await.map_err(ProbeError::io("send an echo request"))?;
    }
    let last = host.now() + config.timeout;
    ping.listen(host, &socket, last).await?;
    Ok(ping.report(destination))
}

struct Ping {
    /// When each request was sent; `None` once it is answered.
    sent: Vec<Option<Time>>,
    rtts: Vec<Duration>,
    errors: Vec<IcmpReport>,
}

impl Ping {
    /// Whether any request waits for an answer.
    fn open(&self) -> bool {
        self.sent.iter().any(Option::is_some)
    }

    /// Takes answers until `until`, or until every request has its own.
    async fn listen<H: Host>(&mut self, host: &H, socket: &H::Echo, until: Time) -> Result<(), ProbeError> {
        while self.open() {
            let Some(answer) = next(host, socket, until).await? else { break };
            match answer {
                EchoAnswer::Reply(reply) => {
                    if let Some(sent) = self.take(reply.sequence) {
                        self.rtts.push(reply.at.since(sent));
                    }
                }
                EchoAnswer::Error { report, sequence } => {
                    if self.take(sequence).is_some() && self.errors.len() < MOST_ERRORS {
                        self.errors.push(report);
                    }
                }
            }
        }
        Ok(())
    }

    /// The request of this number is answered. When it was sent, unless it was answered before.
    fn take(&mut self, sequence: u16) -> Option<Time> {
        self.sent.get_mut(usize::from(sequence)).and_then(Option::take)
    }

    fn report(self, destination: IpAddr) -> PingReport {
        let (sent, received) = (self.sent.len() as u32, self.rtts.len() as u32);
        let sum: Duration = self.rtts.iter().sum();
        let least = self.rtts.iter().min().copied();
        let most = self.rtts.iter().max().copied();
        let rtt = least.zip(most).map(|(least, most)| Rtt { least, mean: sum / received, most });
        PingReport { destination, sent, received, rtt, errors: self.errors }
    }
}

async fn next<H: Host>(host: &H, socket: &H::Echo, until: Time) -> Result<Option<EchoAnswer>, ProbeError> {
    let mut answer = pin!(socket.recv().fuse());
    let mut end = pin!(host.sleep_until(until).fuse());
    select_biased! {
        answer = answer => answer.map(Some).map_err(ProbeError::io("receive an echo reply")),
        () = end => Ok(None),
    }
}

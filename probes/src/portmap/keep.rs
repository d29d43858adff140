//! A host that wants to stay reachable: it asks for a mapping by whichever protocol, renews it, notices when the gateway has
//! lost it, and asks again.
//!
//! ```text
//!   ask -> wait for half of the lifetime -> ask again -> ...
//!            |        the epoch of an answer, or of an announcement to everybody, does not fit the one before
//!            '------> wait up to 5 s, so that not all ask at once -> ask again
//! ```
//!
//! UPnP has no epoch: a loss is noticed at the next renewal.

use std::cell::{Cell, RefCell};
use std::net::{IpAddr, SocketAddr};
use std::pin::pin;
use std::rc::Rc;
use std::time::Duration;

use futures::future::{Either, select};
use natbox_host::{Host, UdpSocket};
use natbox_wire::Time;
use rand_core::Rng;

use super::pcp::codec::Nonce;
use super::server::everybody;
use super::upnp::client as upnp;
use super::{Failure, Granted, Method, Wish, natpmp, pcp};
use crate::wait;

/// After a loss, everybody waits up to so long before asking again (RFC 6886 section 3.6, RFC 6887 section 14.1).
const SCATTER: Duration = Duration::from_secs(5);
/// After a refusal or silence, how long until the next attempt.
const PAUSE: Duration = Duration::from_secs(30);
/// How many events are remembered.
const EVENTS: usize = 256;

/// Asks once, by one protocol.
///
/// # Errors
/// No answer within `patience`, a refusal, or no gateway at all.
pub async fn ask<H: Host>(host: &H, method: Method, wish: &Wish, patience: Duration) -> Result<Granted, Failure> {
    ask_as(host, method, wish, pcp::nonce(host), patience).await
}

/// As [`ask`], with a nonce: whoever asked PCP for a mapping may touch it with the same nonce alone.
///
/// # Errors
/// As of [`ask`].
pub async fn ask_as<H: Host>(
    host: &H,
    method: Method,
    wish: &Wish,
    nonce: Nonce,
    patience: Duration,
) -> Result<Granted, Failure> {
    let router = || host.default_gateway(wish.internal.is_ipv6()).ok_or(Failure::NoGateway);
    match method {
        Method::NatPmp => natpmp::map(host, router()?, wish, patience).await,
        Method::Pcp => pcp::map(host, router()?, wish, nonce, patience).await,
        Method::Upnp => {
            let end = host.now() + patience;
            let gateway = upnp::find(host, wish.internal.ip(), patience).await?;
            upnp::map(host, &gateway, wish, end.since(host.now())).await
        }
    }
}

/// The internal endpoint for a port of a host: at the address that faces its gateway.
pub fn internal<H: Host>(host: &H, port: u16, ipv6: bool) -> Option<SocketAddr> {
    let gateway = host.default_gateway(ipv6)?;
    Some(SocketAddr::new(host.source_for(gateway).ok()?, port))
}

/// Something that happened to a mapping that is kept.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Event {
    /// It was granted, for the first time or at another endpoint.
    Granted(SocketAddr),
    /// It was given a new lifetime at the same endpoint.
    Renewed,
    /// The gateway has lost its memory.
    Lost,
    /// It could not be had or renewed; it is tried again.
    Failed(Failure),
}

/// A mapping that is kept.
#[derive(Clone)]
pub struct Kept {
    shared: Rc<Shared>,
}

struct Shared {
    granted: Cell<Option<Granted>>,
    events: RefCell<Vec<(Time, Event)>>,
    stopped: Cell<bool>,
}

impl Kept {
    /// What the host has at the moment.
    pub fn granted(&self) -> Option<Granted> {
        self.shared.granted.get()
    }

    /// What happened, oldest first; the first 256 things.
    pub fn events(&self) -> Vec<(Time, Event)> {
        self.shared.events.borrow().clone()
    }

    /// Renews no more. The mapping lives on until its lifetime is over.
    pub fn stop(&self) {
        self.shared.stopped.set(true);
    }

    fn tell(&self, at: Time, event: Event) {
        let mut events = self.shared.events.borrow_mut();
        if events.len() < EVENTS {
            events.push((at, event));
        }
    }
}

/// Asks for a mapping and keeps it from then on.
///
/// # Errors
/// The first request's.
pub async fn keep<H: Host>(
    host: &H,
    method: Method,
    wish: Wish,
    nonce: Nonce,
    patience: Duration,
) -> Result<Kept, Failure> {
    let granted = ask_as(host, method, &wish, nonce, patience).await?;
    let shared = Shared { granted: Cell::new(Some(granted)), events: RefCell::default(), stopped: Cell::new(false) };
    let kept = Kept { shared: Rc::new(shared) };
    kept.tell(host.now(), Event::Granted(granted.external));
    let keeper = Keeper { host: host.clone(), method, wish, nonce, patience, kept: kept.clone() };
    host.spawn(keeper.run(granted));
    Ok(kept)
}

struct Keeper<H> {
    host: H,
    method: Method,
    wish: Wish,
    nonce: Nonce,
    patience: Duration,
    kept: Kept,
}

impl<H: Host> Keeper<H> {
    async fn run(self, first: Granted) {
        let ear = self.listen().await;
        let mut dice = self.host.random();
        let mut epoch = first.epoch_seconds.map(|epoch| (epoch, self.host.now()));
        let mut next = self.host.now() + half(&first, &mut dice);
        while !self.kept.shared.stopped.get() {
            if let Some(heard) = self.until(next, ear.as_ref(), first.gateway.ip()).await {
                let newer = (heard, self.host.now());
                if !epoch.replace(newer).is_some_and(|older| self.has_lost_state(older, newer)) {
                    continue;
                }
                self.kept.tell(self.host.now(), Event::Lost);
                self.host.sleep(scatter(&mut dice)).await;
            }
            if self.kept.shared.stopped.get() {
                return;
            }
            next = self.renew(&mut epoch, &mut dice).await;
        }
    }

    /// Asks again; tells when the next time is.
    async fn renew(&self, epoch: &mut Option<(u32, Time)>, dice: &mut impl Rng) -> Time {
        let before = self.kept.granted();
        let wished = before.map_or(self.wish.external_port, |granted| granted.external.port());
        let wish = Wish { external_port: wished, ..self.wish };
        let answer = ask_as(&self.host, self.method, &wish, self.nonce, self.patience).await;
        let now = self.host.now();
        match answer {
            Ok(granted) => {
                let newer = granted.epoch_seconds.map(|epoch| (epoch, now));
                if let (Some(older), Some(newer)) = (*epoch, newer)
                    && self.has_lost_state(older, newer)
                {
                    self.kept.tell(now, Event::Lost);
                }
                *epoch = newer;
                self.kept.shared.granted.set(Some(granted));
                let same = before.is_some_and(|before| before.external == granted.external);
                self.kept.tell(now, if same { Event::Renewed } else { Event::Granted(granted.external) });
                now + half(&granted, dice)
            }
            Err(failure) => {
                let pause = match failure {
                    Failure::Refused { lasts: Some(lasts), .. } => lasts.max(PAUSE),
                    _ => PAUSE,
                };
                self.kept.tell(now, Event::Failed(failure));
                now + pause
            }
        }
    }

    fn has_lost_state(&self, older: (u32, Time), newer: (u32, Time)) -> bool {
        match self.method {
            Method::NatPmp => natpmp::has_lost_state(older, newer),
            Method::Pcp => pcp::has_lost_state(older, newer),
            Method::Upnp => false,
        }
    }

    /// A socket for announcements. Without one, losses are noticed at renewals.
    async fn listen(&self) -> Option<H::Udp> {
        if self.method == Method::Upnp {
            return None;
        }
        let everybody = everybody(self.wish.internal.is_ipv6());
        let any = if everybody.is_ipv6() { "[::]:0" } else { "0.0.0.0:0" }.parse::<SocketAddr>().ok()?;
        let socket = self.host.udp_bind(SocketAddr::new(any.ip(), everybody.port())).await.ok()?;
        socket.join_multicast(everybody.ip(), self.wish.internal.ip()).ok()?;
        Some(socket)
    }

    /// Waits until `next`, or until the gateway announces an epoch, and tells which.
    async fn until(&self, next: Time, ear: Option<&H::Udp>, gateway: IpAddr) -> Option<u32> {
        let Some(ear) = ear else {
            self.host.sleep_until(next).await;
            return None;
        };
        let mut buffer = [0; pcp::codec::MOST_BYTES];
        while let Some(received) = wait::receive(&self.host, ear, &mut buffer, next).await.ok().flatten() {
            let bytes = &buffer[..received.length];
            let epoch = match self.method {
                Method::Pcp => pcp::codec::Answer::decode(bytes).map(|answer| answer.epoch_seconds),
                _ => natpmp::codec::Answer::decode(bytes).map(|answer| answer.epoch_seconds),
            };
            if let Some(epoch) = epoch.filter(|_| received.source.ip() == gateway) {
                return Some(epoch);
            }
        }
        let end = pin!(self.host.sleep_until(next));
        match select(end, std::future::ready(())).await {
            Either::Left(_) => {}
            Either::Right(((), end)) => end.await,
        }
        None
    }
}

/// When the first renewal is due: after half of the lifetime, or somewhat later.
fn half(granted: &Granted, dice: &mut impl Rng) -> Duration {
    // A mapping without an end is looked after all the same: the box may have forgotten it.
    let lifetime = granted.lifetime.unwrap_or(Duration::from_secs(3600));
    pcp::renewal(lifetime, 0, dice)
}

fn scatter(dice: &mut impl Rng) -> Duration {
    SCATTER.mul_f64(f64::from(dice.next_u32()) / f64::from(u32::MAX))
}

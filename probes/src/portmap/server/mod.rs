//! The servers of a gateway: what they share.
//!
//! [`serve`] speaks what its [`Config`] names, on the gateway's own machine. NAT-PMP and PCP share a port and a `Desk`; UPnP-IGD
//! has its own room (`upnp`) and the same desk, so that all of them see one set of mappings. A box that does what it should
//! not is the same box with [`Faults`].

mod announce;
mod faults;
mod natpmp;
mod pcp;

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::convert::Infallible;
use std::net::{IpAddr, SocketAddr};
use std::ops::RangeInclusive;
use std::rc::Rc;
use std::time::Duration;

use natbox_host::{Host, PortControl, UdpSocket};
use natbox_wire::{ExplicitMapping, MapRefusal, MapRequest, Protocol, Time};

pub(crate) use self::announce::everybody;
pub use self::faults::Faults;
use crate::ProbeError;
use crate::portmap::pcp::codec::Nonce;
use crate::portmap::{Control, PORT};
use crate::wait;

/// How long a mapping lives that is asked for, by RFC 6887 section 15's advice.
const LIFETIMES: RangeInclusive<Duration> = Duration::from_secs(120)..=Duration::from_secs(86_400);
/// Answers that wait to be sent, of a box that takes its time.
const WAITING: usize = 1024;

/// What a gateway speaks, and how.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Config {
    /// The protocols.
    pub speaks: Vec<Control>,
    /// UPnP-IGD: whether hosts may map ports to themselves alone.
    pub secure_mode: bool,
    /// PCP: whether hosts may map ports to others (RFC 6887 section 13.1).
    pub third_party: bool,
    /// The least lifetime that PCP grants, and the longest that anything does.
    pub lifetimes: RangeInclusive<Duration>,
    /// What it does that it should not.
    pub faults: Faults,
}

impl Config {
    /// A box that speaks these, as it should, with secure mode on.
    pub fn new(speaks: impl IntoIterator<Item = Control>) -> Config {
        let speaks = speaks.into_iter().collect();
        Config { speaks, secure_mode: true, third_party: false, lifetimes: LIFETIMES, faults: Faults::default() }
    }

    pub(crate) fn speaks(&self, control: Control) -> bool {
        self.speaks.contains(&control)
    }
}

/// Serves on a gateway's machine until the machine fails.
///
/// # Errors
/// The machine cannot open a socket.
pub async fn serve<H: Host, C: PortControl>(host: H, control: C, config: Config) -> Result<Infallible, ProbeError> {
    let desk = Rc::new(RefCell::new(Desk::new(control, config)));
    let config = desk.borrow().config.clone();
    let igd = config.speaks.iter().any(|control| matches!(control, Control::Igd1 | Control::Igd2));
    if igd {
        crate::portmap::upnp::serve(host.clone(), desk.clone()).await?;
    }
    let translates = desk.borrow().control.external_address(false).is_some();
    // RFC 6886 section 3: a box that is no NAT does not answer at all.
    if config.speaks(Control::Pcp) || config.speaks(Control::NatPmp) && translates {
        for ipv6 in [false, true] {
            let speaks = config.speaks(Control::Pcp) || !ipv6;
            if let Some(own) = host.addresses().into_iter().find(|own| own.is_ipv6() == ipv6 && speaks) {
                serve_requests(&host, desk.clone(), own).await?;
            }
        }
    }
    std::future::pending().await
}

/// Answers requests at one address, and tells of changes from there.
async fn serve_requests<H: Host, C: PortControl>(
    host: &H,
    desk: Rc<RefCell<Desk<C>>>,
    own: IpAddr,
) -> Result<(), ProbeError> {
    let bind = async |port| {
        host.udp_bind(SocketAddr::new(own, port)).await.map_err(ProbeError::io("open a socket for port control"))
    };
    let socket = Rc::new(bind(PORT).await?);
    let answer_port = desk.borrow().config.faults.answer_port;
    let mouth = match answer_port {
        Some(port) => Rc::new(bind(port).await?),
        None => socket.clone(),
    };
    host.spawn(announce::tell_of_changes(host.clone(), desk.clone(), mouth.clone()));
    host.spawn(answer_requests(host.clone(), desk, socket, mouth));
    Ok(())
}

async fn answer_requests<H: Host, C: PortControl>(
    host: H,
    desk: Rc<RefCell<Desk<C>>>,
    ear: Rc<H::Udp>,
    mouth: Rc<H::Udp>,
) {
    let waiting = Rc::new(());
    let mut buffer = vec![0; 1500];
    loop {
        let received = wait::serve_next(&host, &*ear, &mut buffer).await;
        // What comes from elsewhere than a host inside, or to a group, is nobody's request.
        let bytes = &buffer[..received.length];
        if !host.is_neighbour(received.source.ip()) || received.destination.ip().is_multicast() {
            continue;
        }
        let Some(answer) = desk.borrow_mut().answer(received.source, bytes, host.now()) else { continue };
        let delay = desk.borrow().config.faults.delay;
        if delay.is_zero() {
            let _ = mouth.send_to(&answer, received.source).await;
        } else if Rc::strong_count(&waiting) <= WAITING {
            let (sleeper, mouth, place) = (host.clone(), mouth.clone(), waiting.clone());
            host.spawn(async move {
                sleeper.sleep(delay).await;
                let _ = mouth.send_to(&answer, received.source).await;
                drop(place);
            });
        }
    }
}

/// What PCP knows of a mapping that it made.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Known {
    mapping: u64,
    nonce: Nonce,
    client: SocketAddr,
}

/// By protocol, internal endpoint and remote.
type Key = (u8, SocketAddr, Option<SocketAddr>);

/// Where requests are decided.
pub(crate) struct Desk<C> {
    pub(crate) control: C,
    pub(crate) config: Config,
    /// PCP's mappings. What the NAT has lost is not looked at any more.
    known: BTreeMap<Key, Known>,
}

impl<C: PortControl> Desk<C> {
    pub(crate) fn new(control: C, config: Config) -> Desk<C> {
        Desk { control, config, known: BTreeMap::new() }
    }

    /// The answer to a datagram, if it gets one.
    pub(crate) fn answer(&mut self, source: SocketAddr, bytes: &[u8], now: Time) -> Option<Vec<u8>> {
        let (natpmp, pcp) = (self.config.speaks(Control::NatPmp), self.config.speaks(Control::Pcp));
        match bytes.first()? {
            0 if natpmp => self.natpmp(source, bytes, now),
            _ if pcp => self.pcp(source, bytes, now),
            _ => self.natpmp(source, bytes, now),
        }
    }

    /// The epoch: seconds since the NAT lost its memory last.
    pub(crate) fn epoch_seconds(&self, now: Time) -> u32 {
        let up = now.since(self.control.up_since());
        let shown = match self.config.faults.epoch_restarts {
            Some(every) if !every.is_zero() => Duration::from_nanos((up.as_nanos() % every.as_nanos()) as u64),
            _ => up,
        };
        u32::try_from(shown.as_secs()).unwrap_or(u32::MAX)
    }

    /// Asks the NAT, as far as this box does: the mapping as the client is to believe in it.
    pub(crate) fn grant(&mut self, request: &MapRequest, now: Time) -> Result<ExplicitMapping, MapRefusal> {
        let faults = &self.config.faults;
        if faults.ghost {
            return self.pretend(request, now);
        }
        let known = self.control.explicit_of(request.protocol, request.internal).is_some();
        if faults.refuses_renewal && known {
            return Err(MapRefusal::Taken);
        }
        let exact = request.exact || faults.refuses_other_port && request.external_port != 0 && !known;
        let lifetime = match faults.true_lifetime {
            Some(lifetime) if request.lifetime.is_none_or(|asked| asked > lifetime) => Some(lifetime),
            _ => request.lifetime,
        };
        let made = self.control.map(&MapRequest { exact, lifetime, ..request.clone() })?;
        Ok(ExplicitMapping { until: request.lifetime.map(|lifetime| now + lifetime), ..made })
    }

    /// A mapping that is none.
    fn pretend(&self, request: &MapRequest, now: Time) -> Result<ExplicitMapping, MapRefusal> {
        let address = self.control.external_address(request.internal.is_ipv6()).unwrap_or(request.internal.ip());
        let port = if request.external_port == 0 { request.internal.port() } else { request.external_port };
        Ok(ExplicitMapping {
            mapping: 0,
            by: request.by,
            protocol: request.protocol,
            internal: request.internal,
            external: SocketAddr::new(address, port),
            remote: request.remote,
            filters: request.filters.clone(),
            since: now,
            until: request.lifetime.map(|lifetime| now + lifetime),
        })
    }

    /// The address that the box believes to have outside, in the version of `of`.
    pub(crate) fn external_address(&self, of: IpAddr) -> Option<IpAddr> {
        self.control.external_address(of.is_ipv6())
    }
}

/// The number of a protocol in an IP header.
pub(crate) fn number(protocol: Protocol) -> u8 {
    match protocol {
        Protocol::Udp => 17,
        Protocol::Tcp => 6,
        Protocol::Icmp => 1,
    }
}

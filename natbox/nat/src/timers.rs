//! How long an idle session lives, and which packets make it live longer.
//!
//! The `refresh` axis (RFC 4787 REQ-6) is about UDP and echo. What moves TCP timers is in `tcp`.

use std::time::Duration;

use natbox_wire::{Protocol, Time};

use crate::Behavior;
use crate::behavior::Refresh;
use crate::tcp::{Lifetimes, Tcp};
use crate::udp::Stages;

pub(crate) use crate::verdict::Side;

/// A behaviour's timers, ready for the packet path.
#[derive(Clone, Debug)]
pub(crate) struct Timers {
    udp: Duration,
    /// Where UDP sessions do not all live equally long.
    pub(crate) stages: Option<Box<Stages>>,
    icmp: Duration,
    pub(crate) tcp: Lifetimes,
    /// How long a mapping lives at most.
    pub(crate) absolute: Option<Duration>,
    from_inside: bool,
    from_outside: bool,
}

impl Timers {
    pub(crate) fn of(behavior: &Behavior) -> Timers {
        let timeouts = &behavior.timeouts;
        Timers {
            udp: timeouts.udp,
            // Whoever asks which sessions have seen a reply asks the stages.
            stages: match behavior.spares_assured() {
                true => Some(Box::new(Stages::even_alike(timeouts))),
                false => Stages::of(timeouts).map(Box::new),
            },
            icmp: timeouts.icmp,
            tcp: Lifetimes::of(timeouts),
            absolute: timeouts.absolute,
            from_inside: matches!(behavior.refresh, Refresh::Outbound | Refresh::Both),
            from_outside: matches!(behavior.refresh, Refresh::Inbound | Refresh::Both),
        }
    }

    /// Whether a packet from this side may keep a mapping alive. One from inside always may when it opens a
    /// session; one from outside only where it would also restart the timer, or an outsider could keep a
    /// mapping open for ever by sending from ever new ports (RFC 4787 section 4.3).
    pub(crate) fn holds(&self, protocol: Protocol, side: Side) -> bool {
        side == Side::Inside || protocol == Protocol::Tcp || self.from_outside
    }

    /// When a session with this remote port ends that opens now, if nothing more comes.
    pub(crate) fn first_deadline(&self, protocol: Protocol, remote_port: u16, now: Time) -> Time {
        match protocol {
            Protocol::Udp => now + self.stages.as_ref().map_or(self.udp, |stages| stages.first(remote_port)),
            Protocol::Icmp => now + self.icmp,
            Protocol::Tcp => now + self.tcp.opening(),
        }
    }

    /// When a UDP or query session ends after this packet, if the packet moves its deadline at all.
    #[inline(always)]
    pub(crate) fn after(&self, protocol: Protocol, side: Side, now: Time) -> Option<Time> {
        let restarts = self.restarts(side);
        match protocol {
            Protocol::Udp => restarts.then(|| now + self.udp),
            Protocol::Icmp => restarts.then(|| now + self.icmp),
            Protocol::Tcp => None,
        }
    }

    /// Whether packets from this side restart the timers of UDP and echo.
    #[inline(always)]
    pub(crate) fn restarts(&self, side: Side) -> bool {
        match side {
            Side::Inside => self.from_inside,
            Side::Outside => self.from_outside,
        }
    }

    /// When a session ends that something restarts now without being a packet of it; `None` where packets from
    /// `side` restart nothing. UDP with stages is the caller's business.
    pub(crate) fn restarted(&self, tcp: Tcp, protocol: Protocol, side: Side, now: Time) -> Option<Time> {
        match protocol {
            Protocol::Udp => self.restarts(side).then(|| now + self.udp),
            Protocol::Icmp => self.restarts(side).then(|| now + self.icmp),
            Protocol::Tcp => self.tcp.at(tcp.stage()).map(|lifetime| now + lifetime),
        }
    }
}

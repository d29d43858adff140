//! Whether an external endpoint might have been given out, or refused: a property, not a prediction. Which of several
//! that fit it is, the rules' own tests say (`ports`, `allocation`, `rfc4787`).

use std::net::{IpAddr, SocketAddr};

use natbox_nat::behavior::*;
use natbox_nat::{Answer, Behavior, MappingView, Refusal};
use natbox_wire::DropReason::{NoRoute, PortTaken, PortsExhausted};
use natbox_wire::{IcmpError, Protocol::Icmp};

use crate::Flow;

/// What is known where an endpoint is asked for: who has what, and who asks.
pub(crate) struct Asked<'a> {
    pub(crate) rules: &'a Behavior,
    pub(crate) external: &'a [IpAddr],
    pub(crate) mappings: &'a [MappingView],
    pub(crate) flow: &'a Flow,
}

impl Asked<'_> {
    /// What is given out is the box's, suits the internal port, is nobody's, and is that port where it is to be kept.
    pub(crate) fn may_get(&self, given: SocketAddr) -> bool {
        let own = SocketAddr::new(given.ip(), self.flow.source.port());
        let kept = given == own || !self.preserves() || !self.is_free(own) && !self.drops();
        kept && self.homes().contains(&given.ip()) && self.fits(given.port()) && self.is_free(given)
    }

    /// Nobody is refused while an endpoint suits that nobody has; and the refusal is the one that stands in the rules.
    pub(crate) fn may_be_refused(&self, refusal: Refusal) -> bool {
        if self.external.is_empty() {
            return refusal == Refusal { reason: NoRoute, mapping: None, answer: None };
        }
        let error = match self.rules.exhausted {
            Exhausted::DropIcmp13 => Some(IcmpError::AdminProhibited),
            Exhausted::DropIcmp1 => Some(IcmpError::HostUnreachable),
            Exhausted::DropSilent | Exhausted::EvictLru | Exhausted::EvictUnassured => None,
        };
        let reason = if self.drops() { PortTaken } else { PortsExhausted };
        let own = self.flow.source.port();
        let wants = |port: &u16| if self.drops() { *port == own } else { self.fits(*port) };
        let full = |address: &IpAddr| !(0..=u16::MAX).filter(wants).any(|port| self.is_free((*address, port).into()));
        // Which address a hash has chosen, or chance where one is tried, nobody sees.
        let hashed = matches!(self.rules.pooling, Pooling::HashSource | Pooling::HashSourceDestination);
        let once = self.drops() || hashed && self.rules.pool_exhausted == PoolExhausted::Drop;
        let homes = self.homes();
        let right = if once { homes.iter().any(full) } else { homes.iter().all(full) };
        right && refusal == Refusal { reason, mapping: None, answer: error.map(Answer::Icmp) }
    }

    /// Whether the port is to stay as it is; and whether it is that or none.
    fn preserves(&self) -> bool {
        let (ports, own) = (&self.rules.ports, self.flow.source.port());
        match self.flow.protocol {
            Icmp => self.rules.icmp_identifier == IcmpIdentifier::Preserve,
            _ => ports.allocation == PortAllocation::Preserve && ports.range.contains(own),
        }
    }

    fn drops(&self) -> bool {
        self.preserves() && self.flow.protocol != Icmp && self.rules.ports.conflict == PortConflict::Drop
    }

    /// The addresses that a host may get: with paired pooling, the one that it has.
    fn homes(&self) -> Vec<IpAddr> {
        let host = self.flow.source.ip();
        let has = self.mappings.iter().find(|one| one.internal.ip() == host).map(|one| one.external.ip());
        let stays = self.rules.pooling == Pooling::Paired && self.rules.pool_exhausted == PoolExhausted::Drop;
        has.filter(|_| stays).map_or_else(|| self.external.to_vec(), |has| vec![has])
    }

    /// Whether a port is of the range, and of the class (if the range has any such) and the parity of the internal one.
    fn fits(&self, port: u16) -> bool {
        let (ports, own) = (&self.rules.ports, self.flow.source.port());
        let (least, most) = match (ports.class, own) {
            (PortClass::Same, 0..=1023) => (1, 1023),
            (PortClass::Netfilter, 0..=511) => (1, 511),
            (PortClass::Netfilter, 512..=1023) => (600, 1023),
            (PortClass::All, _) => (1, u16::MAX),
            _ => (1024, u16::MAX),
        };
        let any = !ports.range.ranges().iter().any(|part| *part.start() <= most && *part.end() >= least);
        let classed = any || (least..=most).contains(&port);
        let even = ports.parity == PortParity::Ignore || port % 2 == own % 2;
        // A port that is kept need not be of the ports that take its place: Linux keeps 512, and replaces it by 600 to 1023.
        let kept = self.preserves() && port == own;
        self.flow.protocol == Icmp || port != 0 && ports.range.contains(port) && (kept || classed && even)
    }

    fn is_free(&self, external: SocketAddr) -> bool {
        !self.mappings.iter().any(|one| (one.protocol, one.external) == (self.flow.protocol, external))
    }
}

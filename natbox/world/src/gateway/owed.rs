//! What a gateway owes to the senders of packets that it does not forward: an ICMP error, or a RST.
//!
//! ICMP errors stand under one switch (`icmp_originate`, RFC 5508 REQ-9) and one limit (RFC 5508 REQ-10f, RFC 1812 section
//! 4.3.2.8): a burst of 50, then 1,000 a second, which are Linux's `icmp_msgs_burst` and `icmp_msgs_per_sec`. What is
//! beyond the limit is made and dropped, so that there is a note of it. RSTs stand under neither.
//!
//! Who may be told at all is said in `natbox_wire::build`, but for what only a box on the network knows: its directed
//! broadcast addresses.

use std::net::IpAddr;
use std::time::Duration;

use natbox_nat::behavior::Switch;
use natbox_nat::{Answer, Refusal};
use natbox_wire::{IcmpError, Packet, Time, Transport, build};

use super::{Gateway, Trouble};
use crate::network::Fabric;
use crate::note::{InterfaceId, Outcome};
use crate::router::{self, Reply, Step};

/// ICMP errors that may follow one another at once.
const BURST: u32 = 50;
/// What one of them costs: 1,000 a second.
const INTERVAL: Duration = Duration::from_millis(1);

/// A token bucket, known by the moment when it will be full again.
#[derive(Default)]
pub(super) struct ErrorLimit {
    full_at: Time,
}

impl ErrorLimit {
    /// Takes a token, if there is one.
    fn take(&mut self, now: Time) -> bool {
        let full_at = self.full_at.max(now) + INTERVAL;
        let granted = full_at <= now + INTERVAL * BURST;
        if granted {
            self.full_at = full_at;
        }
        granted
    }
}

impl Gateway {
    /// A packet for the gateway itself.
    pub(crate) fn local(&mut self, packet: &Packet, now: Time) -> Step {
        let step = router::local(packet);
        Step { answer: step.answer.and_then(|reply| self.within_limits(reply, now)), ..step }
    }

    /// Drops a packet and tells its sender, from the address that faces it.
    pub(super) fn refuse(
        &mut self,
        fabric: &Fabric,
        through: InterfaceId,
        why: Trouble,
        packet: &Packet,
        now: Time,
    ) -> Step {
        let answer = why.1.and_then(|error| self.owed(fabric, through, Answer::Icmp(error), packet, now));
        Step { outcome: Outcome::Dropped(why.0), onward: None, answer, hold: None, part: None }
    }

    /// As [`Gateway::refuse`], for what the NAT refuses. `packet` is as it came.
    pub(super) fn refused(
        &mut self,
        fabric: &Fabric,
        through: InterfaceId,
        refusal: Refusal,
        packet: &Packet,
        now: Time,
    ) -> Step {
        let answer = refusal.answer.and_then(|answer| self.owed(fabric, through, answer, packet, now));
        Step { outcome: Outcome::Refused(refusal), onward: None, answer, hold: None, part: None }
    }

    /// What is owed for a ping of which not all fragments came: an error about the first.
    pub(crate) fn timed_out(&mut self, first: &Packet, now: Time) -> Option<Reply> {
        let error = build::icmp_error(IcmpError::ReassemblyTimeExceeded, first.destination(), first)?;
        self.within_limits(Reply::Sent(error), now)
    }

    /// What the sender of a refused packet is told, if anything. `offender` is the packet as it came `through` an
    /// interface, whose address speaks: the one that the packet was sent to, or its first.
    fn owed(
        &mut self,
        fabric: &Fabric,
        through: InterfaceId,
        answer: Answer,
        offender: &Packet,
        now: Time,
    ) -> Option<Reply> {
        if is_nobody(fabric, through, offender.source()) {
            return None;
        }
        match answer {
            Answer::Reset => self.within_limits(Reply::Sent(build::reset(offender)?), now),
            Answer::Icmp(error) => self.error(fabric, through, error, offender, now),
        }
    }

    /// The error, if the box sends any.
    fn error(
        &mut self,
        fabric: &Fabric,
        through: InterfaceId,
        error: IcmpError,
        offender: &Packet,
        now: Time,
    ) -> Option<Reply> {
        let facing = fabric.interface(through);
        // What only the addressed host itself can say comes from there, from whichever side it was addressed.
        let as_host = error == IcmpError::PortUnreachable;
        let is_own = |own: &IpAddr| facing.owns(*own) || as_host && self.nat.external().contains(own);
        let addressed = Some(offender.destination()).filter(is_own);
        let from = addressed.or_else(|| facing.address(offender.is_ipv6()))?;
        self.within_limits(Reply::Sent(build::icmp_error(error, from, offender)?), now)
    }

    /// An answer of the box's own, if policy and rate let it go, numbered as the box numbers what it sends.
    fn within_limits(&mut self, reply: Reply, now: Time) -> Option<Reply> {
        let Reply::Sent(mut packet) = reply else { return Some(reply) };
        self.nat.identify(&mut packet);
        if !matches!(packet.transport(), Transport::IcmpError(_)) {
            return Some(Reply::Sent(packet));
        }
        let silent = self.nat.behavior().icmp_originate == Switch::Off;
        (!silent).then(|| if self.limit.take(now) { Reply::Sent(packet) } else { Reply::Withheld(packet) })
    }
}

/// Whether a source is not one host (RFC 1812 section 4.3.2.7): a directed broadcast, or a host on no network.
fn is_nobody(fabric: &Fabric, through: InterfaceId, source: IpAddr) -> bool {
    let on_no_network = matches!(source, IpAddr::V4(source) if source.octets()[0] == 0);
    on_no_network || fabric.interface(through).is_group(source)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_burst_passes_and_then_one_for_each_interval() {
        let mut limit = ErrorLimit::default();
        let now = Time::ZERO + Duration::from_secs(1);
        assert_eq!((0..60).filter(|_| limit.take(now)).count(), BURST as usize);
        assert!(!limit.take(now + INTERVAL / 2) && limit.take(now + INTERVAL) && !limit.take(now + INTERVAL));
        assert_eq!((0..60).filter(|_| limit.take(now + INTERVAL * 1000)).count(), BURST as usize);
    }
}

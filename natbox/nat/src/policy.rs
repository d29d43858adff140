//! What may leave: a firewall's rules for packets from inside, apart from translation (`outbound`), and the invalid
//! packets that some boxes let go.
//!
//! A rule judges the packet that opens a session; whatever belongs to one passes, so that what was opened from outside
//! is answered. ICMP errors belong to the session that they quote. A box without state (filtering `off`) judges every
//! packet alone. Hairpinned packets do not leave, and destinations of `bypass` are not judged.

use natbox_wire::{DropReason, IcmpError, Packet, Protocol};

use crate::Behavior;
use crate::behavior::{InvalidOutbound, Switch};
use crate::classify::{Class, Flow, classify};
use crate::key::{Address, Endpoint};
use crate::realm::{Realm, Shared};
use crate::verdict::{Answer, Refusal, Verdict};

impl<A: Address> Realm<A> {
    /// Whether a packet of no session may leave.
    #[cold]
    pub(crate) fn may_leave(&self, nat: &Shared, flow: &Flow<A>, remote: Endpoint<A>) -> Result<(), Refusal> {
        let returns = self.translates && self.pool.owns(flow.destination.address);
        let answers = || self.table.find_quoted(flow.protocol, flow.source, remote).is_some();
        match returns || reaches(&nat.behavior, flow) || answers() {
            true => Ok(()),
            false => Err(BLOCKED),
        }
    }

    /// What becomes of a refused packet from inside: one that is invalid may leave all the same, untranslated
    /// (`invalid_outbound`). What is for the box itself does not.
    #[cold]
    pub(crate) fn turn_back(&self, nat: &Shared, packet: &Packet, refusal: Refusal) -> Verdict {
        use DropReason::{IcmpNoSession, InvalidSegment, NoSession, OutOfWindow};
        let leaks = nat.behavior.invalid_outbound == InvalidOutbound::Leak
            && matches!(refusal.reason, InvalidSegment | OutOfWindow | NoSession | IcmpNoSession)
            && refusal.answer.is_none()
            && !A::from_ip(packet.destination()).is_some_and(|address| self.pool.owns(address));
        if leaks { Verdict::Pass } else { Verdict::Drop(refusal) }
    }
}

/// Whether a packet may leave a box without state.
#[cold]
pub(crate) fn may_pass<A: Address>(behavior: &Behavior, packet: &Packet) -> Result<(), Refusal> {
    match classify::<A>(packet, behavior.icmp_query) {
        Ok(Class::Flow(flow)) if !reaches(behavior, &flow) => Err(BLOCKED),
        _ => Ok(()),
    }
}

fn reaches<A>(behavior: &Behavior, flow: &Flow<A>) -> bool {
    match flow.protocol {
        Protocol::Udp => behavior.outbound.udp.contains(flow.destination.port),
        Protocol::Tcp => behavior.outbound.tcp.contains(flow.destination.port),
        Protocol::Icmp => behavior.outbound.icmp == Switch::On,
    }
}

/// The refusal of a policy, and what its victim is told (RFC 5508 REQ-8, RFC 1812 section 5.2.7.1).
const BLOCKED: Refusal = Refusal {
    reason: DropReason::OutboundBlocked,
    mapping: None,
    answer: Some(Answer::Icmp(IcmpError::AdminProhibited)),
};

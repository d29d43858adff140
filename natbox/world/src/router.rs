//! What a router does with a packet: sends it on, answers it, or drops it and says so. Here the public core's; a
//! gateway's is in `gateway.rs`.
//!
//! Decides only: the packet comes and goes by argument, notes and links are the state's business.

use std::net::IpAddr;

use natbox_nat::HoldId;
use natbox_wire::build::{self, IpFields};
use natbox_wire::{DropReason, IcmpError, Packet, Transport, address};

use crate::attach::NetworkId;
use crate::network::{Fabric, Hop, Kind};
use crate::note::Outcome;
use crate::pings::{self, Part};

/// What is to be done with a packet that came.
pub(crate) struct Step {
    /// For the note.
    pub(crate) outcome: Outcome,
    /// Where the packet itself goes on to.
    pub(crate) onward: Option<Hop>,
    /// What the router sends back on the packet's account.
    pub(crate) answer: Option<Reply>,
    /// The number by which the NAT holds the packet.
    pub(crate) hold: Option<HoldId>,
    /// The packet may be of a ping in fragments to the router itself, which takes it for that; else the outcome stands.
    pub(crate) part: Option<Part>,
}

/// A router's answer to a packet.
pub(crate) enum Reply {
    /// It goes out.
    Sent(Packet),
    /// It does not: there have been too many (RFC 1812 section 4.3.2.8).
    Withheld(Packet),
}

impl Step {
    pub(crate) fn onward(outcome: Outcome, hop: Hop) -> Step {
        Step { outcome, onward: Some(hop), answer: None, hold: None, part: None }
    }

    /// Dropped without a word.
    pub(crate) fn silent(outcome: Outcome) -> Step {
        Step { outcome, onward: None, answer: None, hold: None, part: None }
    }

    /// Taken for a part of a ping, in vain if it is of none.
    pub(crate) fn of_part(otherwise: Outcome, part: Part) -> Step {
        Step { part: Some(part), ..Step::silent(otherwise) }
    }

    /// Kept by the NAT for now.
    pub(crate) fn hold(hold: HoldId) -> Step {
        Step { outcome: Outcome::Held, onward: None, answer: None, hold: Some(hold), part: None }
    }

    /// Dropped, and the sender told by `from`; without a word where that may not be (RFC 1812 section 4.3.2.7) or
    /// the router has no address to speak from.
    pub(crate) fn refuse(reason: DropReason, error: IcmpError, from: Option<IpAddr>, offender: &Packet) -> Step {
        let answer = from.and_then(|from| build::icmp_error(error, from, offender)).map(Reply::Sent);
        Step { outcome: Outcome::Dropped(reason), onward: None, answer, hold: None, part: None }
    }
}

/// A packet for the router itself: it answers echo, and speaks nothing else.
pub(crate) fn local(packet: &Packet) -> Step {
    let own = Some(packet.destination());
    if pings::part(packet).is_some() {
        return Step::of_part(Outcome::Dropped(DropReason::NotForThisHost), Part::Ping);
    }
    if !packet.transport_checksum_ok() {
        return Step::silent(Outcome::Dropped(DropReason::BadTransportChecksum));
    }
    match packet.transport() {
        Transport::Echo { request: true, identifier, sequence } => {
            let (source, destination) = (packet.destination(), packet.source());
            let fields = IpFields::default();
            let answer = build::echo(false, source, destination, fields, identifier, sequence, packet.payload());
            Step { outcome: Outcome::Delivered, onward: None, answer: answer.map(Reply::Sent), hold: None, part: None }
        }
        Transport::Tcp { .. } => {
            let answer = build::reset(packet).map(Reply::Sent);
            Step {
                outcome: Outcome::Dropped(DropReason::PortUnreachable),
                onward: None,
                answer,
                hold: None,
                part: None,
            }
        }
        Transport::Udp { .. } => Step::refuse(DropReason::PortUnreachable, IcmpError::PortUnreachable, own, packet),
        Transport::Other => Step::refuse(DropReason::ProtocolUnreachable, IcmpError::ProtocolUnreachable, own, packet),
        Transport::Echo { .. } | Transport::LaterFragment => Step::silent(Outcome::Dropped(DropReason::NotForThisHost)),
        Transport::Query { .. } | Transport::IcmpError(_) | Transport::OtherIcmp { .. } => {
            Step::silent(Outcome::Dropped(DropReason::IcmpUnconcerned))
        }
    }
}

/// What the core router of `network` does with a packet. The route is looked up before the TTL is judged, as
/// routers do: what cannot be forwarded has not used its last hop.
pub(crate) fn core(fabric: &Fabric, network: NetworkId, packet: &Packet) -> Step {
    let Kind::Core { addresses, .. } = &fabric.network(network).kind else {
        return Step::silent(Outcome::Dropped(DropReason::NoRoute));
    };
    let destination = packet.destination();
    if addresses.contains(&destination) {
        return local(packet);
    }
    let own = addresses.iter().copied().find(|own| own.is_ipv6() == packet.is_ipv6());
    let Ok(hop) = core_hop(fabric, network, destination) else {
        return unroutable(destination, own, packet);
    };
    if packet.ttl() <= 1 {
        return Step::refuse(DropReason::TtlExpired, IcmpError::TtlExceeded, own, packet);
    }
    match too_big(fabric, hop, packet) {
        Some(mtu) => Step::refuse(DropReason::TooBig, IcmpError::PacketTooBig { mtu }, own, packet),
        None => Step::onward(Outcome::Routed, hop),
    }
}

/// Where the core router sends a packet for `destination`, or why it cannot.
pub(crate) fn core_hop(fabric: &Fabric, network: NetworkId, destination: IpAddr) -> Result<Hop, DropReason> {
    match fabric.network(network).routes.find(destination) {
        Some(to) => Ok(Hop::FromCore(to)),
        None if address::is_private(destination) => Err(DropReason::PrivateDestination),
        None => Err(DropReason::NoRoute),
    }
}

/// A default-free core filters bogons without a word; other unknown destinations are answered.
fn unroutable(destination: IpAddr, own: Option<IpAddr>, packet: &Packet) -> Step {
    match address::is_private(destination) {
        true => Step::silent(Outcome::Dropped(DropReason::PrivateDestination)),
        false => Step::refuse(DropReason::NoRoute, IcmpError::NetUnreachable, own, packet),
    }
}

/// The MTU that this packet would not get through; `None` if it fits or may be fragmented.
pub(crate) fn too_big(fabric: &Fabric, hop: Hop, packet: &Packet) -> Option<u32> {
    let mtu_bytes = fabric.mtu_bytes(hop);
    (packet.largest_bytes() > mtu_bytes && packet.dont_fragment()).then_some(mtu_bytes as u32)
}

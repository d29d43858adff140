//! Notes: everything that happens to packets and boxes, as one stream. Captures, text, JSON and tests read it.
//!
//! A world without an observer builds no notes and pays nothing for them.

use std::sync::Arc;

use natbox_nat::{Behavior, Ended, MappingId, Refusal, Translation};
use natbox_wire::{ControlEvent, DropReason, ExplicitMapping, Time};

/// A node of the world: a host, a gateway, or the core router of a network.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct NodeId(pub u32);

/// An attachment of a node to a network: `alice`, `home-a:inside`, `home-a:outside`.
///
/// The core router of a public network has no interfaces of its own: its notes name the attachment at the other end
/// of the link, and their node tells the two ends apart.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct InterfaceId(pub u32);

/// A packet's number. It keeps it through NATs, fragmentation and duplication; an answer is another packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct PacketId(pub u64);

/// The packet that a note is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PacketRef<'a> {
    /// Its number.
    pub id: PacketId,
    /// The packet on whose account it was sent: the offender of an ICMP error, the request of an echo reply, the
    /// segment that a RST refuses.
    pub cause: Option<PacketId>,
    /// Its bytes, from the IP header on, as they were on that interface.
    pub bytes: &'a [u8],
}

/// One thing that happened.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Note<'a> {
    /// When.
    pub at: Time,
    /// Where.
    pub node: NodeId,
    /// What.
    pub event: Event<'a>,
}

/// What happened.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Event<'a> {
    /// A packet left a node through an interface. One note a packet and interface, with what the link did to it.
    Sent {
        /// The interface that it left through.
        interface: InterfaceId,
        /// The packet.
        packet: PacketRef<'a>,
        /// What the link did.
        fate: LinkFate,
    },
    /// A packet came to a node through an interface. Its bytes are those that came, before any rewriting. One note
    /// a packet and interface, with what the node did; a packet sent on has a `Sent` note after this one.
    Received {
        /// The interface that it came through.
        interface: InterfaceId,
        /// The packet.
        packet: PacketRef<'a>,
        /// What the node did.
        outcome: Outcome,
    },
    /// A packet that a gateway had held ([`Outcome::Held`]) goes on or dies after all. Its bytes are those that came;
    /// if it goes on, a `Sent` note follows.
    Released {
        /// The packet.
        packet: PacketRef<'a>,
        /// What became of it.
        outcome: Outcome,
    },
    /// A gateway's NAT made a packet of its own accord; what became of it is noted next. An ICMP error or a RST that
    /// answers a packet needs no such note: it has a cause.
    Made {
        /// The packet.
        packet: PacketRef<'a>,
        /// The mapping on whose account.
        mapping: MappingId,
    },
    /// A packet died at a node without coming through an interface just then: the node's own before sending (no
    /// route, too big), one it had held (reassembly timeout), or one lost on the receiver's link behind a switch,
    /// after its sender's link had delayed it.
    Dropped {
        /// The packet.
        packet: PacketRef<'a>,
        /// Why.
        reason: DropReason,
    },
    /// A mapping of this gateway's NAT ended.
    MappingEnded(Ended),
    /// Something happened to a mapping of this gateway's NAT that had been asked for.
    Control {
        /// The mapping.
        mapping: &'a ExplicitMapping,
        /// What happened to it.
        what: ControlEvent,
    },
    /// A gateway rebooted.
    Rebooted,
    /// A gateway has other external addresses.
    Readdressed,
    /// A gateway's NAT behaves otherwise from now on.
    Reconfigured {
        /// How it behaved.
        before: &'a Arc<Behavior>,
        /// How it behaves.
        after: &'a Arc<Behavior>,
    },
    /// An interface's link has other properties.
    Relinked(InterfaceId),
    /// An interface's link was cut.
    Cut(InterfaceId),
    /// An interface's link was mended.
    Mended(InterfaceId),
    /// An interface was taken to another network.
    Moved(InterfaceId),
    /// A host's default route leads through this interface from now on.
    Preferred(InterfaceId),
}

/// What a link did to a packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LinkFate {
    /// It will arrive at this time.
    Carried {
        /// When it arrives at the node at the other end, or at the switch between the two where the sender's
        /// link delays it.
        arrives: Time,
    },
    /// It will arrive twice.
    Duplicated {
        /// When the first copy arrives.
        arrives: Time,
        /// When the second copy arrives.
        again: Time,
    },
    /// It will not arrive.
    Dropped(DropReason),
}

/// What a node did with a packet that came.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// Given to a socket, or answered by the host itself (echo).
    Delivered,
    /// Kept for now: a fragment until the others come, by a NAT also a SYN that nobody asked for.
    Held,
    /// Sent on, unchanged but for its TTL.
    Routed,
    /// Sent on, translated by the mapping.
    Translated(Translation),
    /// Sent back inside by the NAT.
    Hairpinned {
        /// The sender's mapping.
        source: Translation,
        /// The receiver's mapping.
        destination: Translation,
    },
    /// Dropped by the NAT.
    Refused(Refusal),
    /// Dropped by the node, not by its NAT.
    Dropped(DropReason),
}

/// Reads the notes of a world as they happen.
pub trait Observer {
    /// One note. Its packet bytes live only for the call.
    fn note(&mut self, note: &Note<'_>);
}

//! What the NAT says about a packet. Small values: the packet path builds them for every packet.

use std::net::SocketAddr;

use natbox_wire::{DropReason, IcmpError, Packet, Protocol, Time};

/// The side of the box that a packet comes from or goes to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Side {
    /// The network behind the NAT.
    Inside,
    /// The network that the NAT is attached to.
    Outside,
}

/// A mapping's number: counted from 1 in order of creation, never used twice in the life of one NAT.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct MappingId(pub u64);

/// How one packet was translated. Which addresses changed can be read off the packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Translation {
    /// The mapping that was used.
    pub mapping: MappingId,
    /// Whether this packet made the mapping.
    pub new_mapping: bool,
    /// Whether the packet was an ICMP error, translated by the session that it quotes.
    pub quoted: bool,
}

/// Why a packet was refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Refusal {
    /// The reason.
    pub reason: DropReason,
    /// The mapping that it was addressed to, where there is one.
    pub mapping: Option<MappingId>,
    /// What its sender is told at once, from the address of the box that faces it.
    pub answer: Option<Answer>,
}

/// A refusal without a mapping.
pub(crate) fn refuse(reason: DropReason) -> Refusal {
    Refusal { reason, mapping: None, answer: None }
}

/// What the sender of a refused packet is told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Answer {
    /// This ICMP error about the packet.
    Icmp(IcmpError),
    /// A RST, from the endpoint that the segment was sent to.
    Reset,
}

/// The number of a packet that a NAT keeps: a fragment before its first, a SYN that nobody asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct HoldId(pub u64);

/// What a NAT does of its own accord, or with a packet that it held. To be asked for after each packet and each
/// [`Nat::handle_timeout`](crate::Nat::handle_timeout), by [`Nat::poll_output`](crate::Nat::poll_output).
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Output {
    /// A held packet goes on as if it came now, rewritten as the verdict says.
    Release {
        /// Its number.
        hold: HoldId,
        /// The side that it came from.
        from: Side,
        /// The packet.
        packet: Packet,
        /// `Forward` or `Hairpin`.
        verdict: Verdict,
    },
    /// A held packet dies, and its sender may be told.
    Discard {
        /// Its number.
        hold: HoldId,
        /// The side that it came from.
        from: Side,
        /// The packet, as it came.
        packet: Packet,
        /// Why.
        refusal: Refusal,
    },
    /// A held packet has become part of a whole that goes on: a fragment of a datagram that was put together.
    Joined {
        /// Its number.
        hold: HoldId,
    },
    /// A packet of the NAT's own making: a RST or a probe for a session that has been idle for too long.
    Send {
        /// The side that it goes to.
        to: Side,
        /// The packet.
        packet: Packet,
        /// The mapping on whose account it is sent.
        mapping: MappingId,
    },
}

/// What is to be done with a packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// Forward it to the other side, untouched (but for aliases) and unremembered: no translation, no filter.
    Pass,
    /// Forward it to the other side; it has been rewritten.
    Forward(Translation),
    /// Send it back inside; it has been rewritten.
    Hairpin {
        /// The sender's mapping.
        source: Translation,
        /// The receiver's mapping.
        destination: Translation,
    },
    /// Keep it for now; an [`Output`] says later what becomes of it. It is unchanged.
    Hold(HoldId),
    /// Drop it; it is unchanged.
    Drop(Refusal),
}

/// One mapping, as reports show it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct MappingView {
    /// Its number.
    pub id: MappingId,
    /// Its transport.
    pub protocol: Protocol,
    /// The endpoint inside.
    pub internal: SocketAddr,
    /// The endpoint that the outside sees.
    pub external: SocketAddr,
    /// The remote that it belongs to, where mapping is not endpoint-independent; port 0 where only its address counts.
    pub towards: Option<SocketAddr>,
    /// When it was made.
    pub created: Time,
}

/// One session, as reports show it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SessionView {
    /// The mapping that it uses.
    pub mapping: MappingId,
    /// The other end outside; of ICMP queries with port 0.
    pub remote: SocketAddr,
    /// Whether a packet from inside has gone through: it is then a permission for its remote.
    pub permits: bool,
    /// Whether it keeps its mapping alive.
    pub holds: bool,
    /// When it ends, if nothing more comes.
    pub deadline: Time,
}

/// Why a mapping ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MappingEnd {
    /// Its last session was idle for its whole lifetime.
    Expired,
    /// The NAT rebooted.
    Rebooted,
    /// The NAT lost the external address.
    Readdressed,
    /// It gave way to another when nothing was left.
    Evicted,
    /// Another internal endpoint took its external endpoint.
    Overridden,
    /// Its lifetime was over, whatever passed.
    Aged,
    /// Its last connection was closed, and forgotten at once.
    Closed,
    /// A packet from outside ended it: an ICMP error, or one that came too early.
    Killed,
    /// Who had asked for it gave it up.
    Unmapped,
}

/// A mapping that ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ended {
    /// The mapping.
    pub mapping: MappingView,
    /// Why.
    pub why: MappingEnd,
}

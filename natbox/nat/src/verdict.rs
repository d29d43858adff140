//! What the NAT says about a packet. Small values: the packet path builds them for every packet.

use std::net::SocketAddr;

use natbox_wire::{DropReason, Protocol, Time};

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
}

/// What is to be done with a packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// Forward it to the other side, untouched and unremembered (no translation, no filter).
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

/// Why a mapping ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MappingEnd {
    /// Its last session was idle for its whole lifetime.
    Expired,
    /// The NAT rebooted.
    Rebooted,
    /// The NAT lost the external address.
    Readdressed,
}

/// A mapping that ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ended {
    /// The mapping.
    pub mapping: MappingView,
    /// Why.
    pub why: MappingEnd,
}

//! The records of the table: what is kept of a mapping, and of a session. `table` says what the words mean.

use natbox_wire::{Protocol, Time};

use crate::key::{Address, Endpoint};
use crate::tcp::Tcp;
use crate::verdict::{MappingId, MappingView};

/// No index.
pub(crate) const NONE: u32 = u32::MAX;

/// Traffic between an internal endpoint and one remote, through one mapping.
#[repr(align(64))]
pub(crate) struct Session<A> {
    pub(crate) internal: Endpoint<A>,
    pub(crate) remote: Endpoint<A>,
    pub(crate) external: Endpoint<A>,
    pub(crate) protocol: Protocol,
    pub(crate) tcp: Tcp,
    /// A packet from inside has gone through.
    pub(crate) permits: bool,
    /// Outbound packets to this remote use this session.
    pub(crate) leads: bool,
    /// The mapping's index.
    pub(crate) mapping: u32,
    /// The mapping's number.
    pub(crate) id: MappingId,
    pub(crate) deadline: Time,
    /// The time of the one entry in `expiry` that counts.
    pub(crate) armed: Time,
    /// Neighbours in the mapping's list.
    pub(crate) previous: u32,
    pub(crate) next: u32,
}

/// An external endpoint lent to an internal one.
pub(crate) struct Mapping<A> {
    pub(crate) internal: Endpoint<A>,
    pub(crate) external: Endpoint<A>,
    /// What the mapping rule sees of the remotes that it is for.
    pub(crate) towards: Endpoint<A>,
    pub(crate) protocol: Protocol,
    /// Whether `towards` means anything.
    pub(crate) dependent: bool,
    /// Sessions that keep it alive.
    pub(crate) holders: u32,
    /// The first session of its list.
    pub(crate) first: u32,
    pub(crate) id: MappingId,
    pub(crate) created: Time,
}

impl<A: Address> Mapping<A> {
    pub(crate) fn new(
        protocol: Protocol,
        internal: Endpoint<A>,
        external: Endpoint<A>,
        id: MappingId,
        created: Time,
    ) -> Self {
        let towards = Endpoint::unspecified();
        Mapping { internal, external, towards, protocol, dependent: false, holders: 0, first: NONE, id, created }
    }

    pub(crate) fn view(&self) -> MappingView {
        MappingView {
            id: self.id,
            protocol: self.protocol,
            internal: self.internal.to_socket(),
            external: self.external.to_socket(),
            towards: self.dependent.then(|| self.towards.to_socket()),
            created: self.created,
        }
    }
}

/// How a session is to be opened.
pub(crate) struct Opening<A> {
    pub(crate) mapping: u32,
    pub(crate) remote: Endpoint<A>,
    pub(crate) tcp: Tcp,
    pub(crate) permits: bool,
    pub(crate) holds: bool,
    pub(crate) leads: bool,
    pub(crate) deadline: Time,
}

//! The records of the table: what is kept of a mapping, and of a session. `table` says what the words mean.

use natbox_wire::{Protocol, Time};

use crate::key::{Address, Endpoint};
use crate::tcp::Tcp;
use crate::verdict::{MappingId, MappingView};

/// No index.
pub(crate) const NONE: u32 = u32::MAX;

/// What is so of a session, a bit each.
pub(crate) mod session {
    /// There is a session in this record.
    pub(crate) const LIVE: u8 = 1;
    /// A packet from inside has gone through.
    pub(crate) const PERMITS: u8 = 2;
    /// Outbound packets to this remote use this session.
    pub(crate) const LEADS: u8 = 4;
    /// It keeps its mapping alive.
    pub(crate) const HOLDS: u8 = 8;
    /// It has an absolute end.
    pub(crate) const ENDS: u8 = 16;
    /// It is no packet's, and only keeps its mapping alive.
    pub(crate) const HOLD: u8 = 32;
}

/// What is so of a mapping, a bit each.
pub(crate) mod mapping {
    /// `towards` means anything.
    pub(crate) const DEPENDENT: u8 = 1;
    /// The rule may name it for further sessions.
    pub(crate) const FINDABLE: u8 = 2;
    /// It stands in `by_rule` itself; else behind one that does.
    pub(crate) const HEADS_RULE: u8 = 4;
    /// It stands in `by_endpoint` itself; else behind one that does.
    pub(crate) const HEADS_ENDPOINT: u8 = 8;
    /// Others stand behind it in `by_rule`.
    pub(crate) const SHARES_RULE: u8 = 16;
    /// Others stand behind it in `by_endpoint`.
    pub(crate) const SHARES_ENDPOINT: u8 = 32;
}

/// A mapping with its first session, or a further session: one cache line for IPv4.
#[repr(align(64))]
pub(crate) struct Record<A> {
    pub(crate) internal: Endpoint<A>,
    pub(crate) external: Endpoint<A>,
    /// The session's remote.
    pub(crate) remote: Endpoint<A>,
    pub(crate) protocol: Protocol,
    pub(crate) tcp: Tcp,
    /// Bits of [`session`].
    pub(super) session: u8,
    /// Bits of [`mapping`].
    pub(super) mapping: u8,
    /// Free bits of the session, for whoever needs some; zero in a new session. A session with a mark never goes the
    /// short way.
    pub(crate) marks: u8,
    pub(super) role: Role<A>,
    /// The next session of the mapping; the mapping's own record is the head of the list.
    pub(super) next: u32,
    /// The mapping's number.
    pub(crate) id: MappingId,
    pub(crate) deadline: Time,
    /// The time of the one entry in `expiry` that counts.
    pub(super) armed: Time,
}

/// What a record is.
#[derive(Clone, Copy)]
pub(super) enum Role<A> {
    /// A mapping, with or without a session in it.
    Mapping {
        /// What the mapping rule sees of the remotes that it is for.
        towards: Endpoint<A>,
        /// Sessions that keep it alive.
        holders: u32,
    },
    /// A session that is not in its mapping's record.
    Further {
        /// The mapping's index.
        mapping: u32,
        /// The session before it in the mapping's list, or the mapping itself.
        previous: u32,
    },
}

impl<A: Address> Record<A> {
    /// A mapping without a session.
    pub(super) fn of_mapping(new: &Mapping<A>) -> Record<A> {
        let dependent = if new.towards.is_some() { mapping::DEPENDENT } else { 0 };
        let findable = if new.findable { mapping::FINDABLE } else { 0 };
        Record {
            internal: new.internal,
            external: new.external,
            remote: Endpoint::unspecified(),
            protocol: new.protocol,
            tcp: Tcp::NONE,
            session: 0,
            mapping: dependent | findable,
            marks: 0,
            role: Role::Mapping { towards: new.towards.unwrap_or(Endpoint::unspecified()), holders: 0 },
            next: NONE,
            id: new.id,
            deadline: Time::MAX,
            armed: Time::MAX,
        }
    }

    /// Whether a session is in this record, with all these bits of [`session`].
    #[inline(always)]
    pub(super) fn is(&self, bits: u8) -> bool {
        self.session & bits == bits
    }

    /// Whether a mapping and an established UDP session are in this record, of which no packet needs more than to be
    /// rewritten, and both are found by their keys.
    #[inline(always)]
    pub(super) fn is_plain(&self) -> bool {
        let bits = session::LIVE | session::PERMITS | session::LEADS;
        self.session & (bits | session::ENDS) == bits
            && self.has(mapping::HEADS_RULE | mapping::HEADS_ENDPOINT)
            && self.protocol == Protocol::Udp
            && self.marks == 0
    }

    /// Moves the deadline; `None` if it cannot be moved without arming it anew.
    #[inline(always)]
    pub(crate) fn prolong(&mut self, deadline: Time) -> Option<()> {
        (deadline >= self.armed).then(|| self.deadline = deadline)
    }

    /// Whether all these bits of [`mapping`] are set.
    #[inline(always)]
    pub(super) fn has(&self, bits: u8) -> bool {
        self.mapping & bits == bits
    }

    /// A packet from inside has gone through.
    #[inline(always)]
    pub(crate) fn permits(&self) -> bool {
        self.is(session::PERMITS)
    }

    /// It is no packet's, and only keeps its mapping alive.
    pub(crate) fn is_hold(&self) -> bool {
        self.is(session::HOLD)
    }

    /// Outbound packets to this remote use this session.
    #[inline(always)]
    pub(crate) fn leads(&self) -> bool {
        self.is(session::LEADS)
    }

    /// The mapping's index, this record's being `index`.
    #[inline(always)]
    pub(crate) fn mapping_of(&self, index: u32) -> u32 {
        match self.role {
            Role::Mapping { .. } => index,
            Role::Further { mapping, .. } => mapping,
        }
    }

    pub(crate) fn is_mapping(&self) -> bool {
        matches!(self.role, Role::Mapping { .. })
    }

    /// What the mapping rule sees of the remotes that a mapping is for.
    pub(crate) fn towards(&self) -> Endpoint<A> {
        match self.role {
            Role::Mapping { towards, .. } => towards,
            Role::Further { .. } => Endpoint::unspecified(),
        }
    }
}

/// An external endpoint lent to an internal one, as it enters and leaves the table.
pub(crate) struct Mapping<A> {
    pub(crate) protocol: Protocol,
    pub(crate) internal: Endpoint<A>,
    pub(crate) external: Endpoint<A>,
    /// What the mapping rule sees of the remotes that it is for; `None` where it looks at no remote.
    pub(crate) towards: Option<Endpoint<A>>,
    /// Whether the rule may name it for further sessions.
    pub(crate) findable: bool,
    pub(crate) id: MappingId,
    pub(crate) created: Time,
}

impl<A: Address> Mapping<A> {
    pub(crate) fn view(&self) -> MappingView {
        MappingView {
            id: self.id,
            protocol: self.protocol,
            internal: self.internal.to_socket(),
            external: self.external.to_socket(),
            towards: self.towards.map(Endpoint::to_socket),
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

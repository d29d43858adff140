//! Which parts of a pool a behaviour uses.

use crate::Behavior;
use crate::behavior::{
    EarlyInbound, Exhausted, PortAllocation, PortConflict, PortContiguity, PortCounter, PortOverlap, ProtocolSharing,
};

/// What of a behaviour says which parts of this pool are used.
pub(super) struct Traits {
    pub(super) basic: bool,
    /// Hosts are kept whatever the number of addresses.
    pub(super) keeps_hosts: bool,
    pub(super) counts_conflicts: bool,
    pub(super) evicts: bool,
    /// UDP and TCP have one set of ports.
    pub(super) one_set: bool,
    pub(super) by_destination: bool,
    /// Mappings may share an external endpoint.
    pub(super) shares: bool,
    /// Some do, by rules that the box had before.
    pub(super) shared: bool,
    pub(super) contiguous: bool,
    pub(super) blocks: bool,
    /// The box itself may use endpoints.
    pub(super) early: bool,
}

impl Traits {
    pub(super) fn of(behavior: &Behavior, basic: bool) -> Traits {
        let counts_conflicts = !behavior.degraded.is_empty();
        let ports = &behavior.ports;
        let quota = &behavior.quota;
        let limited = quota.ports.is_some() || quota.sessions.is_some() || quota.new_per_second.is_some();
        let of_host = matches!(ports.allocation, PortAllocation::Block | PortAllocation::Deterministic);
        Traits {
            basic,
            keeps_hosts: basic || limited || counts_conflicts || of_host || ports.counter == PortCounter::PerHost,
            counts_conflicts,
            evicts: matches!(behavior.exhausted, Exhausted::EvictLru | Exhausted::EvictUnassured),
            one_set: matches!(behavior.protocol_sharing, ProtocolSharing::Mapping | ProtocolSharing::Both),
            by_destination: ports.overlap == PortOverlap::ByDestination,
            shares: ports.overlap == PortOverlap::ByDestination
                || ports.conflict == PortConflict::Overload
                || matches!(behavior.protocol_sharing, ProtocolSharing::Mapping | ProtocolSharing::Both),
            shared: false,
            contiguous: ports.contiguity == PortContiguity::ReserveNext,
            blocks: ports.allocation == PortAllocation::Block,
            early: behavior.early_inbound == EarlyInbound::Remap,
        }
    }

    /// Whether hosts are remembered that have nothing.
    pub(super) fn remembers(&self, behavior: &Behavior) -> bool {
        self.counts_conflicts
            || behavior.quota.new_per_second.is_some()
            || behavior.ports.counter == PortCounter::PerHost
    }
}

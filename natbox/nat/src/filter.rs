//! The filter: which remotes may send to an external endpoint (RFC 4787 section 5).
//!
//! Seen from inside: the filter judges (mapping, remote), never addresses on the wire.
//!
//! # Who is admitted when
//!
//! Let internal endpoint I have sent to S through mapping M(S), external endpoint E(S). A remote R sends to E(S).
//!
//! * *endpoint-independent*: R is admitted while M(S) lives.
//! * *address-dependent*, *address-and-port-dependent*: R is admitted if a permission for R's address, or for R's
//!   address and port, is tied to M(S) (`filter_scope: mapping`) or to I (`filter_scope: endpoint`). Every packet
//!   from I to a remote gives a permission for that remote, tied to the mapping that it left through and to I.
//!
//! So all depends on the mapping through which I sends to R:
//!
//! * With affinity, the mapping through which R's last admitted packet came, or if none came the one that I's first
//!   packet to R left through, while the session on it lives.
//! * Otherwise the mapping rule's: one for all (EIM), one per address of R (ADM), one per R (APDM).
//!
//! From this follows, for an R of which I has heard nothing yet, and to which I has sent as said:
//!
//! | mapping | filtering | scope mapping: R is admitted at E(S) if | scope endpoint: R is admitted at E(S) if |
//! | ------- | --------- | --------------------------------------- | ---------------------------------------- |
//! | EIM     | EIF       | always                                  | always                                   |
//! | EIM     | ADF       | I sent to R's address                   | the same: there is one mapping           |
//! | EIM     | APDF      | I sent to R                             | the same                                 |
//! | ADM     | EIF       | always                                  | always                                   |
//! | ADM     | ADF       | R's address is S's                      | I sent to R's address                    |
//! | ADM     | APDF      | R's address is S's, and I sent to R     | I sent to R                              |
//! | APDM    | EIF       | always                                  | always                                   |
//! | APDM    | ADF       | R's address is S's                      | I sent to R's address                    |
//! | APDM    | APDF      | R is S                                  | I sent to R                              |
//!
//! Affinity changes no entry of this table: to be admitted at E(S) for another reason R would have to be admitted
//! there first. It changes what follows: R was admitted at E(S) and I answers. With affinity the answer leaves through
//! M(S), whichever mapping I's earlier packets to R left through; R sees E(S), and M(S) holds a permission for R from
//! then on. Without affinity the answer leaves through the rule's mapping: under ADM or APDM with R not of S, R sees
//! another endpoint, and M(S) holds no permission.
//!
//! Permissions live as long as the sessions whose packets gave them. Hairpinned packets come with the external
//! source that they would have outside, whatever source the receiver is shown.

use hashbrown::HashTable;
use natbox_wire::Protocol;

use crate::Behavior;
use crate::behavior::{FilterScope, Filtering, Mapping as Rule};
use crate::classify::Flow;
use crate::key::{Address, Endpoint, Hash};
use crate::record::Record;
use crate::table::Table;
use crate::timers::Side;

/// Whether an ICMP query or reply goes against the session that has its identifier, where queries are the inside's alone.
pub(crate) fn against_the_session<A>(behavior: &Behavior, flow: &Flow<A>, from: Side) -> bool {
    let query = flow.opens;
    behavior.filtering.icmp == Filtering::ConnectionDependent && query == (from == Side::Outside)
}

/// Whether a remote may send through a mapping.
pub(crate) fn admits<A: Address>(table: &Table<A>, behavior: &Behavior, mapping: u32, remote: Endpoint<A>) -> bool {
    let filtering = *behavior.filtering.of(table.mapping(mapping).protocol);
    admits_by(table, filtering, behavior.filter_scope, mapping, remote)
}

/// Whether a remote may send through a mapping, by this filter.
pub(crate) fn admits_by<A: Address>(
    table: &Table<A>,
    filtering: Filtering,
    scope: FilterScope,
    mapping: u32,
    remote: Endpoint<A>,
) -> bool {
    let record = table.mapping(mapping);
    match (filtering, scope) {
        (Filtering::EndpointIndependent | Filtering::Off, _) => true,
        (Filtering::AddressDependent, scope) => {
            let first = match scope {
                FilterScope::Mapping => Some(mapping),
                FilterScope::Endpoint => table.find_head(record.protocol, record.internal, remote),
            };
            first.is_some_and(|first| table.is_permitted_first(first, remote))
                || table.permissions.as_ref().is_some_and(|all| all.contains(mapping, record, remote.address))
        }
        // Only connections and queries that the inside has begun: those have sessions, which need not ask.
        (Filtering::ConnectionDependent, _) if record.protocol != Protocol::Udp => false,
        (Filtering::AddressAndPortDependent | Filtering::ConnectionDependent, FilterScope::Mapping) => {
            table.find_on(mapping, remote).is_some_and(|index| table.session(index).permits())
        }
        (Filtering::AddressAndPortDependent | Filtering::ConnectionDependent, FilterScope::Endpoint) => {
            table.is_permitted_anywhere(record.protocol, record.internal, remote)
        }
    }
}

/// Permissions by remote address, counted: each session that permits gives one.
///
/// Only address-dependent filtering needs them; for the others the sessions themselves answer. They answer here too
/// where the table finds them by the remote's address alone: a session in its mapping's own record needs no entry,
/// unless the filter asks about all mappings of an endpoint and the mapping rule looks at ports.
pub(crate) struct Permissions<A> {
    scope: FilterScope,
    /// Whether sessions in their mappings' records need entries too.
    all: bool,
    table: HashTable<Permission<A>>,
    hash: Hash,
}

struct Permission<A> {
    protocol: Protocol,
    owner: Owner<A>,
    remote: A,
    sessions: u32,
}

/// What a permission is tied to: a mapping, by index, or an internal endpoint.
#[derive(Clone, Copy, PartialEq)]
enum Owner<A> {
    Mapping(u32),
    Endpoint(Endpoint<A>),
}

impl<A: Address> Permissions<A> {
    /// The permissions that a behaviour needs.
    pub(crate) fn of(behavior: &Behavior, hash: Hash) -> Option<Permissions<A>> {
        let scope = behavior.filter_scope;
        let by_port = |rule: &&Rule| matches!(rule, Rule::AddressAndPortDependent | Rule::ConnectionDependent);
        let degrades = !behavior.degraded.is_empty();
        let all = scope == FilterScope::Endpoint && (degrades || behavior.mapping.all().iter().any(by_port));
        let degraded = behavior.degraded.iter().any(|level| level.filtering == Filtering::AddressDependent);
        let needed = degraded || behavior.filtering.all().contains(&&Filtering::AddressDependent);
        needed.then(|| Permissions { scope, all, table: HashTable::new(), hash })
    }

    fn owner(&self, mapping: u32, record: &Record<A>) -> Owner<A> {
        match self.scope {
            FilterScope::Mapping => Owner::Mapping(mapping),
            FilterScope::Endpoint => Owner::Endpoint(record.internal),
        }
    }

    /// Whether a session that has an entry permits `remote` to use a mapping.
    fn contains(&self, mapping: u32, record: &Record<A>, remote: A) -> bool {
        let owner = self.owner(mapping, record);
        let hash = hash_of(&self.hash, record.protocol, owner, remote);
        self.table.find(hash, |one| one.is(record.protocol, owner, remote)).is_some()
    }

    /// The session in this record permits its remote from now on.
    pub(crate) fn add(&mut self, record: &Record<A>, index: u32) {
        if record.is_mapping() && !self.all {
            return;
        }
        let (protocol, remote) = (record.protocol, record.remote.address);
        let owner = self.owner(record.mapping_of(index), record);
        let hash = hash_of(&self.hash, protocol, owner, remote);
        let rehash = |one: &Permission<A>| hash_of(&self.hash, one.protocol, one.owner, one.remote);
        let entry = self.table.entry(hash, |one| one.is(protocol, owner, remote), rehash);
        entry.or_insert(Permission { protocol, owner, remote, sessions: 0 }).get_mut().sessions += 1;
    }

    /// The session in this record, which permitted its remote, ends.
    pub(crate) fn remove(&mut self, record: &Record<A>, index: u32) {
        if record.is_mapping() && !self.all {
            return;
        }
        let (protocol, remote) = (record.protocol, record.remote.address);
        let owner = self.owner(record.mapping_of(index), record);
        let hash = hash_of(&self.hash, protocol, owner, remote);
        let Ok(mut entry) = self.table.find_entry(hash, |one| one.is(protocol, owner, remote)) else { return };
        entry.get_mut().sessions -= 1;
        if entry.get().sessions == 0 {
            entry.remove();
        }
    }
}

impl<A: Address> Permission<A> {
    fn is(&self, protocol: Protocol, owner: Owner<A>, remote: A) -> bool {
        self.protocol == protocol && self.owner == owner && self.remote == remote
    }
}

fn hash_of<A: Address>(hash: &Hash, protocol: Protocol, owner: Owner<A>, remote: A) -> u64 {
    match owner {
        Owner::Mapping(index) => hash.number(index, remote),
        Owner::Endpoint(endpoint) => hash.two(protocol, endpoint, Endpoint { address: remote, port: 0 }),
    }
}

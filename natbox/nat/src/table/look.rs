//! How the table is searched. Changes nothing.

use natbox_wire::{Protocol, Time};

use crate::behavior::Mapping as Rule;
use crate::key::{Address, Endpoint};
use crate::record::{NONE, Record, mapping as of_mapping, session as of_session};
use crate::table::Table;
use crate::verdict::{MappingId, MappingView, SessionView};

impl<A: Address> Table<A> {
    /// What the mapping rule sees of a remote; `None` if it looks at no remote.
    #[inline(always)]
    pub(crate) fn towards(&self, protocol: Protocol, remote: Endpoint<A>) -> Option<Endpoint<A>> {
        match self.rules[protocol as usize] {
            Rule::EndpointIndependent => None,
            Rule::AddressDependent => Some(Endpoint { port: 0, ..remote }),
            Rule::AddressAndPortDependent | Rule::ConnectionDependent => Some(remote),
        }
    }

    /// Whether the rule names this mapping towards this remote.
    pub(crate) fn leads_to(&self, mapping: u32, remote: Endpoint<A>) -> bool {
        let record = self.mapping(mapping);
        self.towards(record.protocol, remote).unwrap_or(Endpoint::unspecified()) == record.towards()
    }

    /// The hash of the key by which a packet from inside finds its mapping.
    #[inline(always)]
    pub(crate) fn outbound_hash(&self, protocol: Protocol, internal: Endpoint<A>, remote: Endpoint<A>) -> u64 {
        let towards = self.towards(protocol, remote).unwrap_or(Endpoint::unspecified());
        self.hash.two(protocol, internal, towards)
    }

    /// The hash of the key by which a packet from outside finds its mapping.
    #[inline(always)]
    pub(crate) fn inbound_hash(&self, protocol: Protocol, external: Endpoint<A>) -> u64 {
        self.hash.one(protocol, external)
    }

    /// The session that outbound packets to this remote use.
    #[inline(always)]
    pub(crate) fn find_outbound(&self, protocol: Protocol, internal: Endpoint<A>, remote: Endpoint<A>) -> Option<u32> {
        let found = self.by_rule.find(self.outbound_hash(protocol, internal, remote), |index| {
            let record = self.session(index);
            record.remote == remote && record.internal == internal && record.protocol == protocol && record.leads()
        });
        if found.is_some() || self.by_internal.is_empty() {
            return found;
        }
        self.find_further_outbound(protocol, internal, remote)
    }

    #[inline(never)]
    fn find_further_outbound(&self, protocol: Protocol, internal: Endpoint<A>, remote: Endpoint<A>) -> Option<u32> {
        self.by_internal.find(self.hash.two(protocol, internal, remote), |index| {
            let record = self.session(index);
            record.remote == remote && record.internal == internal && record.protocol == protocol && record.leads()
        })
    }

    /// The session that an error from inside speaks of: the one that outbound packets use, or else any through which
    /// the quoted packet may have come in (RFC 5508 REQ-5). Without affinity none need lead.
    pub(crate) fn find_quoted(&self, protocol: Protocol, internal: Endpoint<A>, remote: Endpoint<A>) -> Option<u32> {
        self.find_outbound(protocol, internal, remote).or_else(|| self.oldest(protocol, internal, remote))
    }

    /// The session that inbound packets from this remote to this external endpoint use. Where several mappings share
    /// the endpoint, that of the remote's; where they share even the remote, the one whose session is older.
    #[inline(always)]
    pub(crate) fn find_inbound(&self, protocol: Protocol, external: Endpoint<A>, remote: Endpoint<A>) -> Option<u32> {
        let found = self.by_endpoint.find(self.inbound_hash(protocol, external), |index| {
            let record = self.session(index);
            record.remote == remote
                && record.external == external
                && record.protocol == protocol
                && record.is(of_session::LIVE)
        });
        if found.is_some() || self.by_external.is_empty() {
            return found;
        }
        self.find_further_inbound(protocol, external, remote)
    }

    #[inline(never)]
    fn find_further_inbound(&self, protocol: Protocol, external: Endpoint<A>, remote: Endpoint<A>) -> Option<u32> {
        self.by_external.find(self.hash.two(protocol, external, remote), |index| {
            let record = self.session(index);
            record.remote == remote && record.external == external && record.protocol == protocol
        })
    }

    /// The session of a mapping with a remote.
    pub(crate) fn find_on(&self, mapping: u32, remote: Endpoint<A>) -> Option<u32> {
        let record = self.mapping(mapping);
        if record.is(of_session::LIVE) && record.remote == remote {
            return Some(mapping);
        }
        self.by_external.find(self.hash.two(record.protocol, record.external, remote), |index| {
            self.session(index).remote == remote && self.mapping_of(index) == mapping
        })
    }

    /// The mappings that the rule names for this internal endpoint towards these remotes, oldest first.
    pub(crate) fn find_rules(
        &self,
        protocol: Protocol,
        internal: Endpoint<A>,
        towards: Endpoint<A>,
    ) -> impl Iterator<Item = u32> {
        let head = self.find_rule_head(protocol, internal, towards);
        let shares = head.filter(|head| self.mapping(*head).has(of_mapping::SHARES_RULE));
        let rest = shares.map_or(&[][..], |head| self.behind_rule.behind(head));
        head.into_iter().chain(rest.iter().copied()).filter(|index| self.mapping(*index).has(of_mapping::FINDABLE))
    }

    /// The oldest mapping that the rule names for this internal endpoint towards these remotes.
    pub(crate) fn find_rule(&self, protocol: Protocol, internal: Endpoint<A>, towards: Endpoint<A>) -> Option<u32> {
        self.find_rules(protocol, internal, towards).next()
    }

    /// The mapping whose own record a session with this remote would lie in, if any does.
    pub(crate) fn find_head(&self, protocol: Protocol, internal: Endpoint<A>, remote: Endpoint<A>) -> Option<u32> {
        self.find_rule_head(protocol, internal, self.towards(protocol, remote).unwrap_or(Endpoint::unspecified()))
    }

    /// The mapping that stands in `by_rule` for this key.
    pub(super) fn find_rule_head(
        &self,
        protocol: Protocol,
        internal: Endpoint<A>,
        towards: Endpoint<A>,
    ) -> Option<u32> {
        self.find_rule_hashed(self.hash.two(protocol, internal, towards), protocol, internal, towards)
    }

    /// The same, where the key's hash is known.
    #[inline]
    pub(super) fn find_rule_hashed(
        &self,
        hash: u64,
        protocol: Protocol,
        internal: Endpoint<A>,
        towards: Endpoint<A>,
    ) -> Option<u32> {
        self.by_rule.find(hash, |index| {
            let record = self.mapping(index);
            record.internal == internal && record.protocol == protocol && record.towards() == towards
        })
    }

    /// The mappings on this external endpoint, oldest first.
    pub(crate) fn find_endpoints(&self, protocol: Protocol, external: Endpoint<A>) -> impl Iterator<Item = u32> {
        let head = self.find_endpoint(protocol, external);
        let shares = head.filter(|head| self.mapping(*head).has(of_mapping::SHARES_ENDPOINT));
        let rest = shares.map_or(&[][..], |head| self.behind_endpoint.behind(head));
        head.into_iter().chain(rest.iter().copied())
    }

    /// The oldest mapping on this external endpoint.
    pub(crate) fn find_endpoint(&self, protocol: Protocol, external: Endpoint<A>) -> Option<u32> {
        self.by_endpoint.find(self.hash.one(protocol, external), |index| {
            let record = self.mapping(index);
            record.external == external && record.protocol == protocol
        })
    }

    /// Whether any session of this internal endpoint, on whichever mapping, permits this remote.
    pub(crate) fn is_permitted_anywhere(&self, protocol: Protocol, internal: Endpoint<A>, remote: Endpoint<A>) -> bool {
        self.siblings(protocol, internal, remote).any(|index| self.session(index).permits())
    }

    /// The sessions between an internal endpoint and a remote, on all mappings.
    fn siblings(&self, protocol: Protocol, internal: Endpoint<A>, remote: Endpoint<A>) -> impl Iterator<Item = u32> {
        let head = self.find_head(protocol, internal, remote);
        let first =
            head.filter(|head| self.session(*head).is(of_session::LIVE) && self.session(*head).remote == remote);
        let further = self.by_internal.all(self.hash.two(protocol, internal, remote)).filter(move |index| {
            let record = self.session(*index);
            record.remote == remote && record.internal == internal && record.protocol == protocol
        });
        first.into_iter().chain(further)
    }

    /// The session on the oldest mapping.
    pub(super) fn oldest(&self, protocol: Protocol, internal: Endpoint<A>, remote: Endpoint<A>) -> Option<u32> {
        self.siblings(protocol, internal, remote).min_by_key(|index| self.session(*index).id)
    }

    /// Whether the session in a mapping's own record permits this remote's address.
    pub(crate) fn is_permitted_first(&self, mapping: u32, remote: Endpoint<A>) -> bool {
        let record = self.mapping(mapping);
        record.permits() && record.remote.address == remote.address
    }

    /// The sessions of a mapping: the one in its own record, then the others, the newest first.
    pub(crate) fn sessions_of(&self, mapping: u32) -> impl Iterator<Item = u32> {
        let own = Some(mapping).filter(|index| self.session(*index).is(of_session::LIVE));
        let link = |index: u32| Some(self.session(index).next).filter(|next| *next != NONE);
        let all = own.into_iter().chain(std::iter::successors(link(mapping), move |index| link(*index)));
        all.filter(|index| !self.session(*index).is_hold())
    }

    /// A live mapping by its number: at once if one of the last two packets used it, else by searching.
    pub(crate) fn view(&self, id: MappingId) -> Option<MappingView> {
        let recent = self
            .recent
            .into_iter()
            .filter(|index| self.records.get(*index).is_some_and(|record| record.is_mapping() && record.id == id));
        let all = self.mappings().filter(|(_, record)| record.id == id).map(|(index, _)| index);
        recent.chain(all).next().map(|index| self.view_of(index))
    }

    fn view_of(&self, index: u32) -> MappingView {
        let record = self.mapping(index);
        MappingView {
            id: record.id,
            protocol: record.protocol,
            internal: record.internal.to_socket(),
            external: record.external.to_socket(),
            towards: record.has(of_mapping::DEPENDENT).then(|| record.towards().to_socket()),
            created: self.created(index),
        }
    }

    /// When a mapping was made.
    pub(crate) fn created(&self, mapping: u32) -> Time {
        self.created.get(mapping).copied().unwrap_or_default()
    }

    /// The live mappings with their indices, in no order that means anything.
    pub(crate) fn mappings(&self) -> impl Iterator<Item = (u32, &Record<A>)> {
        self.records.iter().filter(|(_, record)| record.is_mapping())
    }

    /// The live mappings, as reports show them, in no order that means anything.
    pub(crate) fn views(&self) -> impl Iterator<Item = MappingView> {
        self.mappings().map(|(index, _)| self.view_of(index))
    }

    /// The live sessions, as reports show them, in no order that means anything.
    pub(crate) fn session_views(&self) -> impl Iterator<Item = SessionView> {
        let sessions = self.records.iter().map(|(_, record)| record);
        sessions.filter(|record| record.is(of_session::LIVE) && !record.is_hold()).map(|record| SessionView {
            mapping: record.id,
            remote: record.remote.to_socket(),
            permits: record.permits(),
            holds: record.is(of_session::HOLDS),
            deadline: record.deadline,
        })
    }

    /// When a mapping ends, if nothing more comes.
    pub(crate) fn deadline_of(&self, id: MappingId) -> Option<Time> {
        let holders = self.records.iter().map(|(_, record)| record);
        let holders = holders.filter(|record| record.id == id && record.is(of_session::LIVE | of_session::HOLDS));
        holders.map(|record| record.deadline).max()
    }
}

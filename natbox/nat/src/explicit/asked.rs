//! The road of a request for an explicit mapping: renew what there is, lay it over the implicit mapping of the same
//! endpoint, or take an external endpoint. A request that is refused has changed nothing.

use natbox_wire::{ControlEvent, DropReason, ExplicitMapping, MapRefusal, MapRequest, Protocol, TcpFlags, Time};

use super::{Hold, MOST};
use crate::classify::Flow;
use crate::key::{Address, Endpoint};
use crate::realm::{Realm, Shared};
use crate::timers::Side;
use crate::uses::Uses;
use crate::verdict::Refusal;

/// External UDP ports that no mapping is made on, as they are port control's own (RFC 6887 section 11.3).
pub(crate) const CONTROL_PORTS: [u16; 2] = [5350, 5351];

/// What one address family reads in a request.
#[derive(Clone, Copy)]
struct Wanted<'a, A> {
    request: &'a MapRequest,
    protocol: Protocol,
    internal: Endpoint<A>,
    address: Option<A>,
}

impl<A: Address> Realm<A> {
    /// Makes or renews an explicit mapping.
    pub(crate) fn map(
        &mut self,
        nat: &mut Shared,
        request: &MapRequest,
        now: Time,
    ) -> Result<ExplicitMapping, MapRefusal> {
        self.expire(nat, now);
        let internal = Endpoint::from_socket(request.internal).filter(|internal| internal.port != 0);
        let internal = internal.ok_or(MapRefusal::Unsuitable)?;
        if request.protocol == Protocol::Icmp {
            return Err(MapRefusal::Unsuitable);
        }
        let address = request.external_address.and_then(A::from_ip).filter(|address| *address != A::unspecified());
        let wanted = Wanted { request, protocol: request.protocol, internal, address };
        match request.remote {
            None => self.map_for_all(nat, wanted, now),
            Some(remote) => {
                let remote = Endpoint::from_socket(remote).filter(|remote| remote.port != 0);
                self.map_for_one(nat, wanted, remote.ok_or(MapRefusal::Unsuitable)?, now)
            }
        }
    }

    fn map_for_all(
        &mut self,
        nat: &mut Shared,
        wanted: Wanted<'_, A>,
        now: Time,
    ) -> Result<ExplicitMapping, MapRefusal> {
        let own = self.explicit.of(wanted.protocol, wanted.internal);
        let own = own.filter(|(_, hold)| wanted.is_served_by(hold.external)).map(|(index, _)| index).next();
        if let Some(hold) = own {
            return self.renew(nat, hold, wanted.request, now).ok_or(MapRefusal::Unsuitable);
        }
        self.has_room(nat)?;
        let mapping = match self.implicit(nat, wanted) {
            Some(mapping) => mapping,
            None => {
                let external = self.external_for(nat, wanted, now)?;
                self.enter_mapping(nat, wanted.protocol, wanted.internal, external, None, now)
            }
        };
        Ok(self.hold(nat, mapping, wanted, None, now))
    }

    /// As [`Realm::map_for_all`], for one remote: what a packet to it would have opened is opened.
    fn map_for_one(
        &mut self,
        nat: &mut Shared,
        wanted: Wanted<'_, A>,
        remote: Endpoint<A>,
        now: Time,
    ) -> Result<ExplicitMapping, MapRefusal> {
        let Wanted { protocol, internal, .. } = wanted;
        if let Some(hold) = self.explicit.with_remote(protocol, internal, remote) {
            return self.renew(nat, hold, wanted.request, now).ok_or(MapRefusal::Unsuitable);
        }
        self.has_room(nat)?;
        let flow = Flow { protocol, source: internal, destination: remote, flags: TcpFlags::default(), opens: true };
        let towards = self.towards(nat, protocol, internal.address, remote);
        let session = self.table.find_outbound(protocol, internal, remote);
        let known = match session {
            Some(session) => Some(self.table.mapping_of(session)),
            None => self.find_usable(&flow, towards.unwrap_or(Endpoint::unspecified()), now),
        };
        if known.is_some_and(|known| !wanted.is_served_by(self.table.mapping(known).external)) {
            return Err(MapRefusal::Taken);
        }
        if session.is_none() {
            if nat.uses.any(Uses::POLICY) {
                self.may_leave(nat, &flow, remote).map_err(refused)?;
            }
            self.admit_session(nat, internal, Side::Inside).map_err(refused)?;
        }
        let mapping = match known {
            Some(mapping) => mapping,
            None => {
                let external = self.external_for(nat, wanted, now)?;
                self.enter_mapping(nat, protocol, internal, external, towards, now)
            }
        };
        if session.is_none() {
            self.open_session(nat, mapping, remote, Side::Inside, now);
        }
        Ok(self.hold(nat, mapping, wanted, Some(remote), now))
    }

    fn has_room(&self, nat: &Shared) -> Result<(), MapRefusal> {
        match self.table.is_full(nat.behavior.table_size) || self.explicit.len() >= MOST {
            true => Err(MapRefusal::Exhausted),
            false => Ok(()),
        }
    }

    /// The mapping that the internal endpoint has anyway for all remotes, if it will do (RFC 6887 section 11.3).
    fn implicit(&self, nat: &Shared, wanted: Wanted<'_, A>) -> Option<u32> {
        let Wanted { protocol, internal, request, .. } = wanted;
        let nowhere = Endpoint::unspecified();
        self.towards(nat, protocol, internal.address, nowhere).is_none().then_some(())?;
        let mapping = self.table.find_rule(protocol, internal, nowhere)?;
        let external = self.table.mapping(mapping).external;
        let control = protocol == Protocol::Udp && CONTROL_PORTS.contains(&external.port);
        let fits = wanted.is_served_by(external) && self.table.find_endpoints(protocol, external).count() == 1;
        let paired = !request.pair || self.is_pair_free(protocol, internal.address, external);
        (fits && paired && !control).then_some(mapping)
    }

    /// An external endpoint that nobody has, taken.
    fn external_for(&mut self, nat: &mut Shared, wanted: Wanted<'_, A>, now: Time) -> Result<Endpoint<A>, MapRefusal> {
        let Wanted { protocol, internal, request, .. } = wanted;
        if !self.translates {
            return if wanted.is_served_by(internal) { Ok(internal) } else { Err(MapRefusal::Taken) };
        }
        self.admit_mapping(nat, internal.address, now).map_err(refused)?;
        if let Some(external) = self.wished(wanted) {
            return Ok(external);
        }
        if request.exact && request.external_port != 0 && !self.pool.is_basic() {
            return Err(MapRefusal::Taken);
        }
        // Where ports are shared or come in pairs, the box's own rule would give one that is not free enough.
        if (request.pair || self.pool.shares()) && self.pool.honours_wishes() {
            return self.first_free(wanted).ok_or(MapRefusal::Exhausted);
        }
        let destination = Endpoint::unspecified();
        let flow = Flow { protocol, source: internal, destination, flags: TcpFlags::default(), opens: true };
        let shunned = if protocol == Protocol::Udp { self.pool.shun(&CONTROL_PORTS) } else { Vec::new() };
        let taken = self.take_external(nat, &flow, None, now);
        self.pool.shun_no_more(&shunned);
        let external = taken.map_err(refused)?;
        if wanted.is_served_by(external) {
            return Ok(external);
        }
        self.pool.release(&nat.behavior, protocol, internal, external, false, now);
        Err(MapRefusal::Taken)
    }

    /// The external endpoint that is wished for, taken, if it is free.
    fn wished(&mut self, wanted: Wanted<'_, A>) -> Option<Endpoint<A>> {
        let port = Some(wanted.request.external_port).filter(|port| *port != 0)?;
        let address = self.pool.address_for(wanted.internal.address, wanted.address)?;
        let external = Endpoint { address, port };
        (wanted.is_served_by(external) && self.take_wished(wanted, external)).then_some(external)
    }

    /// The first external port of the range, from the wished or the internal one on, that nobody has.
    fn first_free(&mut self, wanted: Wanted<'_, A>) -> Option<Endpoint<A>> {
        let address = self.pool.address_for(wanted.internal.address, wanted.address)?;
        let first = [wanted.request.external_port, wanted.internal.port].into_iter().find(|port| *port != 0)?;
        let mut ports = (first..=u16::MAX).chain(1..first);
        let port = ports.find(|port| {
            self.pool.gives(wanted.protocol, *port) && self.take_wished(wanted, Endpoint { address, port: *port })
        })?;
        Some(Endpoint { address, port })
    }

    /// Takes an external endpoint, if it is free, and that of the other protocol where it must be.
    fn take_wished(&mut self, wanted: Wanted<'_, A>, external: Endpoint<A>) -> bool {
        let Wanted { protocol, internal, request, .. } = wanted;
        let control = protocol == Protocol::Udp && CONTROL_PORTS.contains(&external.port);
        let host = internal.address;
        if !self.pool.honours_wishes() || control || request.pair && !self.is_pair_free(protocol, host, external) {
            return false;
        }
        let kept = match self.explicit.kept_for(protocol, external) {
            Some(other) if other != host => return false,
            kept => kept.is_some(),
        };
        if self.table.find_endpoint(protocol, external).is_some() {
            return false;
        }
        let beside = self.pool.has_one_set() && self.is_hosts(protocol, host, external);
        let takes = self.pool.take_wished(protocol, host, external, kept || beside);
        if takes && kept {
            self.explicit.keep_no_more(protocol, external);
        }
        takes
    }

    /// Whether the other protocol's mapping on an external endpoint is this host's.
    fn is_hosts(&self, protocol: Protocol, host: A, external: Endpoint<A>) -> bool {
        let mapping = self.table.find_endpoint(other(protocol), external);
        mapping.is_some_and(|mapping| self.table.mapping(mapping).internal.address == host)
    }

    /// Whether the other protocol's port is this host's, or can be kept for it.
    fn is_pair_free(&self, protocol: Protocol, host: A, external: Endpoint<A>) -> bool {
        let other = other(protocol);
        if !self.translates || self.pool.has_one_set() || self.is_hosts(protocol, host, external) {
            return true;
        }
        match self.explicit.kept_for(other, external) {
            Some(kept_for) => kept_for == host,
            None => !self.pool.is_taken(other, external),
        }
    }

    /// Puts a hold on a mapping.
    fn hold(
        &mut self,
        nat: &mut Shared,
        mapping: u32,
        wanted: Wanted<'_, A>,
        remote: Option<Endpoint<A>>,
        now: Time,
    ) -> ExplicitMapping {
        let Wanted { request, protocol, internal, .. } = wanted;
        let until = request.lifetime.map(|lifetime| now + lifetime);
        let index = self.table.open_hold(mapping, until.unwrap_or(Time::MAX));
        let record = self.table.mapping(mapping);
        let (id, external) = (record.id, record.external);
        let pair = request.pair && remote.is_none();
        let (filters, by) = (request.filters.clone(), request.by);
        let hold = Hold {
            mapping,
            id,
            protocol,
            internal,
            external,
            remote,
            filters,
            by,
            pair,
            since: now,
            until,
            kept_until: None,
        };
        let view = hold.view();
        self.explicit.add(index, hold);
        if pair {
            self.keep_pair(protocol, internal.address, external);
        }
        nat.control.push((view.clone(), ControlEvent::Made));
        view
    }

    /// Keeps the other protocol's port for the same host.
    pub(crate) fn keep_pair(&mut self, protocol: Protocol, host: A, external: Endpoint<A>) {
        let other = other(protocol);
        if self.translates && !self.is_hosts(protocol, host, external) && self.pool.keep_wished(other, external) {
            self.explicit.keep_for(other, external, host);
        }
    }

    /// Gives an explicit mapping another lifetime and other filters.
    fn renew(&mut self, nat: &mut Shared, hold: u32, request: &MapRequest, now: Time) -> Option<ExplicitMapping> {
        let known = self.explicit.get_mut(hold)?;
        known.until = request.lifetime.map(|lifetime| now + lifetime);
        known.filters.clone_from(&request.filters);
        let (view, until) = (known.view(), known.until);
        self.table.set_deadline(hold, until.unwrap_or(Time::MAX));
        nat.control.push((view.clone(), ControlEvent::Renewed));
        Some(view)
    }
}

impl<A: Address> Wanted<'_, A> {
    /// Whether an external endpoint is as good as another.
    fn is_served_by(&self, external: Endpoint<A>) -> bool {
        let port = [0, external.port].contains(&self.request.external_port);
        let address = self.address.is_none_or(|address| address == external.address);
        !self.request.exact || port && address
    }
}

/// The other protocol of the two that have ports.
pub(super) fn other(protocol: Protocol) -> Protocol {
    match protocol {
        Protocol::Udp => Protocol::Tcp,
        Protocol::Tcp | Protocol::Icmp => Protocol::Udp,
    }
}

/// Why a packet of the same kind would have died.
fn refused(refusal: Refusal) -> MapRefusal {
    match refusal.reason {
        DropReason::QuotaExceeded | DropReason::RateExceeded => MapRefusal::Quota,
        DropReason::NoRoute => MapRefusal::NoAddress,
        DropReason::PortTaken => MapRefusal::Taken,
        DropReason::PortsExhausted | DropReason::AddressesExhausted | DropReason::SessionsExhausted => {
            MapRefusal::Exhausted
        }
        _ => MapRefusal::Unsuitable,
    }
}

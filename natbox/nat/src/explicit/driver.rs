//! What the driver asks of a NAT about explicit mappings, and what of them outlives a reboot or another address.

use std::net::IpAddr;

use natbox_wire::{ControlEvent, ExplicitMapping, MapRefusal, MapRequest, MappedBy, Protocol, Time, Traffic};

use crate::key::Endpoint;
use crate::{Ended, MappingId, Nat};

impl Nat {
    /// Makes or renews an explicit mapping. One with `by: static` comes back after a reboot.
    ///
    /// # Errors
    /// Why there is none; nothing has changed then.
    pub fn map(&mut self, request: &MapRequest, now: Time) -> Result<ExplicitMapping, MapRefusal> {
        let (v4, v6, shared) = self.realms_for(request.internal.is_ipv6());
        match (v4, v6) {
            (Some(realm), _) => realm.map(shared, request, now),
            (_, Some(realm)) => realm.map(shared, request, now),
            _ => Err(MapRefusal::Unsuitable),
        }
    }

    /// Gives up the explicit mapping of this number (for `remote` where it is for one), and tells `ended` of the mappings
    /// that end with it; false if there is no such.
    pub fn unmap(
        &mut self,
        mapping: &ExplicitMapping,
        traffic: Traffic,
        now: Time,
        ended: &mut dyn FnMut(Ended),
    ) -> bool {
        let id = MappingId(mapping.mapping);
        let (v4, v6, shared) = self.realms_for(mapping.internal.is_ipv6());
        let found = match (v4, v6) {
            (Some(realm), _) => realm.unmap(shared, id, mapping.remote.and_then(Endpoint::from_socket), traffic, now),
            (_, Some(realm)) => realm.unmap(shared, id, mapping.remote.and_then(Endpoint::from_socket), traffic, now),
            _ => false,
        };
        self.tell(ended);
        found
    }

    /// The live explicit mappings, in the order of their mappings' numbers and of their remotes.
    pub fn explicit(&self) -> Vec<ExplicitMapping> {
        let v4 = self.v4.iter().flat_map(|realm| realm.explicit.views());
        let v6 = self.v6.iter().flat_map(|realm| realm.explicit.views());
        let mut all: Vec<ExplicitMapping> = v4.chain(v6).collect();
        all.sort_by_key(|one| (one.mapping, one.remote));
        all
    }

    /// The oldest explicit mapping of an internal endpoint that is not for one remote alone.
    pub fn explicit_of(&self, protocol: Protocol, internal: std::net::SocketAddr) -> Option<ExplicitMapping> {
        match internal.is_ipv6() {
            false => {
                let internal = Endpoint::from_socket(internal)?;
                self.v4.as_ref()?.explicit.of(protocol, internal).next().map(|(_, hold)| hold.view())
            }
            true => {
                let internal = Endpoint::from_socket(internal)?;
                self.v6.as_ref()?.explicit.of(protocol, internal).next().map(|(_, hold)| hold.view())
            }
        }
    }

    /// What has happened to explicit mappings since this was asked last, oldest first.
    #[inline]
    pub fn poll_control(&mut self) -> Vec<(ExplicitMapping, ControlEvent)> {
        std::mem::take(&mut self.shared.control)
    }

    /// The requests by which what a reboot loses can be had again. Only a person's is made again.
    pub(crate) fn lose_explicit(&mut self) -> Vec<MapRequest> {
        let all = self.explicit();
        let lasting = all.iter().filter(|one| one.by == MappedBy::Static).map(|one| again(one, Time::ZERO)).collect();
        let lost = all.into_iter().filter(|one| one.by != MappedBy::Static);
        self.shared.control.extend(lost.map(|one| (one, ControlEvent::Lost)));
        lasting
    }

    /// The requests by which explicit mappings are made again whose address is not among these.
    pub(crate) fn explicit_to_move(&self, external: &[IpAddr]) -> Vec<MapRequest> {
        let now = self.shared.now;
        let moving = |one: &ExplicitMapping| one.remote.is_none() && !external.contains(&one.external.ip());
        self.explicit().iter().filter(|one| moving(one)).map(|one| again(one, now)).collect()
    }

    /// Makes explicit mappings again. What cannot be had stays lost.
    pub(crate) fn map_again(&mut self, requests: Vec<MapRequest>) {
        let now = self.shared.now;
        for request in requests {
            let _ = self.map(&request, now);
        }
    }
}

/// Asks for the same on another address.
fn again(one: &ExplicitMapping, now: Time) -> MapRequest {
    MapRequest {
        protocol: one.protocol,
        internal: one.internal,
        external_address: None,
        external_port: one.external.port(),
        exact: one.by == MappedBy::Static,
        remote: None,
        filters: one.filters.clone(),
        lifetime: one.until.map(|until| until.since(now)),
        pair: one.by == MappedBy::NatPmp,
        by: one.by,
    }
}

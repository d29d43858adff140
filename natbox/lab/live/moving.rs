//! A host that goes to another network while the lab runs: in the world, and on its machine if it is real.
//!
//! Broken before made: first the machine loses its addresses and routes, then the world has the host elsewhere, then the
//! machine gets those of its new network. So nothing is sent from an address where it is not.

use std::collections::BTreeSet;
use std::net::IpAddr;

use ipnet::IpNet;
use natbox_live::LiveError;
use natbox_world::InterfaceId;

use super::change::{prefixes, unknown};
use super::world::Lively;
use super::{LiveHost, LiveLab, hosts};
use crate::build::{Built, INTERNET};
use crate::plan::step::Move;
use crate::plan::{Network, Plan, Uplink};

/// Takes a host to where a step says.
///
/// # Errors
/// What the host's system refused.
pub(crate) fn take(built: &mut Built, plan: &Plan, step: &Move, machine: Option<&LiveHost>) -> Result<(), LiveError> {
    let node = built.machine(&step.host).map(|machine| machine.node);
    let (Some(node), Some(host)) = (node, plan.host(&step.host)) else { return Ok(()) };
    if let Some(uplink) = step.uplink {
        machine.map_or(Ok(()), |machine| machine.prefer(u32::try_from(uplink).unwrap_or(u32::MAX)))?;
        built.world.prefer(node, uplink);
        return Ok(());
    }
    machine.map_or(Ok(()), |machine| machine.leave(0))?;
    built.take_to(plan, &step.host, step.network, &step.addresses);
    if let (Some(machine), Some(old)) = (machine, host.uplinks.first()) {
        let uplink = Uplink { network: step.network, addresses: step.addresses.clone(), link: old.link.clone() };
        machine.arrive(0, hosts::interface(plan, 0, &uplink))?;
    }
    Ok(())
}

impl LiveLab {
    /// Takes a host behind another NAT, or to the public network if `behind` is none. Over an uplink that it has there, its
    /// default route leads from now on; without one it takes its first uplink along, at once: sockets on its old addresses
    /// cannot send any more. Gives its addresses there.
    ///
    /// # Errors
    /// [`LiveError::Refused`] if there is no such host or NAT, or no address is left there; what the system refused.
    pub fn take_to(&self, host: &str, behind: Option<&str>) -> Result<Vec<IpAddr>, LiveError> {
        let machine = self.hosts.get(host).cloned();
        let (host, behind) = (host.to_owned(), behind.map(str::to_owned));
        let (addresses, names) = self.world.ask(move |lively| -> Result<_, LiveError> {
            let step = lively.plan_move(&host, behind.as_deref())?;
            take(&mut lively.built, &lively.plan, &step, machine.as_ref())?;
            lively.remember(&step);
            Ok((step.addresses, hosts::names(&lively.plan, &lively.built)))
        })??;
        self.rename(&names)?;
        Ok(addresses)
    }

    /// Tells all hosts who is where.
    pub(super) fn rename(&self, names: &str) -> Result<(), LiveError> {
        self.hosts.values().try_for_each(|machine| machine.rename(names.to_owned()))
    }
}

impl Lively {
    /// What a move comes to: the network, and the addresses there.
    fn plan_move(&self, name: &str, behind: Option<&str>) -> Result<Move, LiveError> {
        let known = self.plan.hosts.iter().map(|host| host.name.as_str());
        let host = self.plan.host(name).ok_or_else(|| unknown("host", name, known))?;
        let network = match behind.filter(|nat| *nat != INTERNET) {
            None => Network::Internet,
            Some(nat) => {
                let known = self.plan.nats.iter().map(|nat| nat.name.as_str());
                let index = self.plan.nats.iter().position(|known| known.name == nat);
                Network::Behind(index.ok_or_else(|| unknown("NAT", nat, known.chain([INTERNET])))?)
            }
        };
        let behind = behind.filter(|nat| *nat != INTERNET).map(str::to_owned);
        let uplink = host.uplinks.iter().position(|uplink| uplink.network == network);
        let addresses = match uplink {
            Some(uplink) => host.uplinks[uplink].addresses.clone(),
            None => self.next_free(network, host.uplinks.first().map_or(&[], |uplink| &uplink.addresses))?,
        };
        Ok(Move { host: name.to_owned(), behind, network, uplink, addresses })
    }

    /// As many free addresses of a network as these, of the same versions as far as the network has them.
    fn next_free(&self, network: Network, like: &[IpAddr]) -> Result<Vec<IpAddr>, LiveError> {
        let world = &self.built.world;
        let id = self.built.network(network);
        let there = |interface: &InterfaceId| world.network_of(*interface) == id;
        let own = world.interfaces().filter(there).flat_map(|interface| world.addresses_of(interface));
        let mut taken: BTreeSet<IpAddr> = own.map(|own| own.address).collect();
        taken.extend(&self.plan.internet.router);
        let inner: Vec<IpNet> = (0..self.plan.nats.len())
            .filter(|index| Network::Behind(*index) != network)
            .flat_map(|index| prefixes(&self.plan, Network::Behind(index)))
            .collect();
        let prefixes = prefixes(&self.plan, network);
        let mut given = Vec::new();
        for old in like {
            let Some(prefix) = prefixes.iter().find(|prefix| prefix.addr().is_ipv4() == old.is_ipv4()) else {
                continue;
            };
            let inner: Vec<&IpNet> = inner.iter().filter(|inner| prefix.contains(&inner.addr())).collect();
            // The first of an IPv6 prefix means any router (RFC 4291 section 2.6.1).
            let candidates = prefix.hosts().filter(|address| *address != prefix.network());
            let mut free = candidates
                .filter(|address| !taken.contains(address) && !inner.iter().any(|inner| inner.contains(address)));
            let Some(address) = free.next() else { continue };
            taken.insert(address);
            given.push(address);
        }
        match given.is_empty() {
            false => Ok(given),
            true => Err(LiveError::Refused(format!(
                "no address is left in {}: expected a larger prefix",
                prefixes.iter().map(ToString::to_string).collect::<Vec<_>>().join(" and ")
            ))),
        }
    }

    /// Where the host is from now on.
    fn remember(&mut self, step: &Move) {
        let host = self.plan.hosts.iter_mut().find(|host| host.name == step.host);
        if let Some(uplink) = host.filter(|_| step.uplink.is_none()).and_then(|host| host.uplinks.first_mut()) {
            (uplink.network, uplink.addresses) = (step.network, step.addresses.clone());
        }
    }
}

//! What can be changed about a live lab while it runs.

use std::net::IpAddr;

use ipnet::IpNet;

use super::world::Lively;
use super::{LiveLab, hosts};
use crate::plan::change::{Axes, LinkChange};
use crate::plan::{Network, Plan};
use crate::suggest::did_you_mean;
use natbox_live::LiveError;
use natbox_world::InterfaceId;

impl LiveLab {
    /// A NAT loses all its state, as in a power cut. Says how many mappings.
    ///
    /// # Errors
    /// [`LiveError::Refused`] if there is no such NAT.
    pub fn reboot(&self, nat: &str) -> Result<usize, LiveError> {
        let nat = nat.to_owned();
        self.world.ask(move |lively| {
            let node = lively.nat(&nat)?;
            let lost = lively.built.world.mappings(node).len();
            lively.built.world.reboot(node).map_err(|error| LiveError::Refused(error.to_string()))?;
            Ok(lost.saturating_sub(lively.built.world.mappings(node).len()))
        })?
    }

    /// A NAT gets other external addresses; mappings on the old ones end.
    ///
    /// # Errors
    /// [`LiveError::Refused`] if there is no such NAT, or an address is not on its outer network or is another's.
    pub fn readdress(&self, nat: &str, addresses: &[IpAddr]) -> Result<(), LiveError> {
        let (nat, addresses) = (nat.to_owned(), addresses.to_vec());
        let names = self.world.ask(move |lively| -> Result<String, LiveError> {
            let node = lively.nat(&nat)?;
            addresses.iter().try_for_each(|address| lively.check_free(&nat, *address))?;
            let change = lively.built.world.readdress(node, &addresses);
            change.map_err(|error| LiveError::Refused(error.to_string()))?;
            if let Some(machine) = lively.built.machine_mut(&nat) {
                machine.addresses = addresses;
            }
            Ok(hosts::names(&lively.plan, &lively.built))
        })??;
        self.rename(&names)
    }

    /// Gives axes of a NAT other values; its mappings stay. Says how many there are.
    ///
    /// # Errors
    /// [`LiveError::Refused`] if there is no such NAT, or its axes cannot have these values now.
    pub fn set(&self, nat: &str, axes: &Axes) -> Result<usize, LiveError> {
        let (nat, axes) = (nat.to_owned(), axes.clone());
        self.world.ask(move |lively| {
            let node = lively.nat(&nat)?;
            let before = lively.built.world.behavior_of(node);
            let known = lively.plan.nat(&nat).zip(before);
            let after = known.map(|(nat, before)| nat.changed(&before, &axes)).transpose();
            if let Some(after) = after.map_err(LiveError::Refused)? {
                let changed = lively.built.world.reconfigure(node, after);
                changed.map_err(|error| LiveError::Refused(error.to_string()))?;
            }
            Ok(lively.built.world.mappings(node).len())
        })?
    }

    /// Gives every link of a host, or the outer one of a NAT, other properties. What is under way arrives as it would have.
    ///
    /// # Errors
    /// [`LiveError::Refused`] if nothing is called so.
    pub fn link(&self, name: &str, change: &LinkChange) -> Result<(), LiveError> {
        let (name, change) = (name.to_owned(), change.clone());
        self.world.ask(move |lively| {
            for uplink in lively.uplinks(&name)? {
                let link = change.applied(&lively.built.world.link_of(uplink));
                lively.built.world.relink(uplink, link);
            }
            Ok(())
        })?
    }

    /// Cuts every link of a host, or the outer one of a NAT. What is under way arrives.
    ///
    /// # Errors
    /// [`LiveError::Refused`] if nothing is called so.
    pub fn cut(&self, name: &str) -> Result<(), LiveError> {
        self.switch(name, true)
    }

    /// Mends what [`LiveLab::cut`] cut.
    ///
    /// # Errors
    /// [`LiveError::Refused`] if nothing is called so.
    pub fn mend(&self, name: &str) -> Result<(), LiveError> {
        self.switch(name, false)
    }

    fn switch(&self, name: &str, cut: bool) -> Result<(), LiveError> {
        let name = name.to_owned();
        self.world.ask(move |lively| {
            for uplink in lively.uplinks(&name)? {
                match cut {
                    true => lively.built.world.cut(uplink),
                    false => lively.built.world.mend(uplink),
                }
            }
            Ok(())
        })?
    }
}

impl Lively {
    fn nat(&self, name: &str) -> Result<natbox_world::NodeId, LiveError> {
        let nats = self.plan.nats.iter().map(|nat| nat.name.as_str());
        let known = self.plan.nat(name).and_then(|nat| self.built.node(&nat.name));
        known.ok_or_else(|| unknown("NAT", name, nats))
    }

    /// The uplinks of a host, or the outer one of a NAT.
    fn uplinks(&self, name: &str) -> Result<Vec<InterfaceId>, LiveError> {
        let uplinks = self.built.machine(name).map(|machine| machine.uplinks.clone());
        uplinks.ok_or_else(|| {
            let hosts = self.plan.hosts.iter().map(|host| host.name.as_str());
            unknown("host or NAT", name, hosts.chain(self.plan.nats.iter().map(|nat| nat.name.as_str())))
        })
    }

    /// Whether an address is on the outer network of a NAT, and nobody else's.
    fn check_free(&self, nat: &str, address: IpAddr) -> Result<(), LiveError> {
        let Some(own) = self.plan.nat(nat) else { return Ok(()) };
        let prefixes = prefixes(&self.plan, own.outside.network);
        let routers = match own.outside.network {
            Network::Internet => &self.plan.internet.router,
            Network::Behind(index) => &self.plan.nats[index].inside.gateway,
        };
        if !prefixes.iter().any(|prefix| prefix.contains(&address)) {
            let prefixes: Vec<String> = prefixes.iter().map(ToString::to_string).collect();
            let expected = prefixes.join(" or ");
            return Err(LiveError::Refused(format!("{address} is not outside of `{nat}`: expected one of {expected}")));
        }
        let there =
            |name: &str, network: Network, at: Network| network == at && self.built.addresses(name).contains(&address);
        let at = own.outside.network;
        let hosts = self.plan.hosts.iter().flat_map(|host| host.uplinks.iter().map(|up| (&host.name, up.network)));
        let nats = self.plan.nats.iter().filter(|other| other.name != nat);
        let mut others = hosts.chain(nats.map(|other| (&other.name, other.outside.network)));
        match others.find(|(name, network)| there(name, *network, at)) {
            Some((name, _)) => Err(LiveError::Refused(format!("{address} is `{name}`'s: expected one that is free"))),
            None if routers.contains(&address) => {
                Err(LiveError::Refused(format!("{address} is the router's: expected one that is free")))
            }
            None => Ok(()),
        }
    }
}

pub(super) fn prefixes(plan: &Plan, network: Network) -> Vec<IpNet> {
    let (v4, v6) = match network {
        Network::Internet => (plan.internet.prefix, plan.internet.prefix6),
        Network::Behind(index) => (plan.nats[index].inside.prefix, plan.nats[index].inside.prefix6),
    };
    std::iter::once(IpNet::V4(v4)).chain(v6.map(IpNet::V6)).collect()
}

pub(super) fn unknown<'a>(kind: &str, name: &str, there: impl Iterator<Item = &'a str>) -> LiveError {
    let there: Vec<&str> = there.collect();
    let near = did_you_mean(name, there.iter().copied()).map(|near| format!(": did you mean `{near}`?"));
    let expected = near.unwrap_or_else(|| format!(": expected one of {}", there.join(", ")));
    LiveError::Refused(format!("there is no {kind} `{name}`{expected}"))
}

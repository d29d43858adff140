//! The steps that change the network, from their entries: other addresses, behaviours, networks and links; cut links.

use std::net::IpAddr;
use std::sync::Arc;

use super::Network;
use super::behavior::contradictions;
use super::change::{Axes, FIXED, LinkChange};
use super::network::{take, with_first};
use super::resolve::{Named, nat};
use super::scenario::Reader;
use super::step::{Action, Cable, Move, Relink, Set};
use crate::topology::places;
use crate::topology::tree::Node;

impl Reader<'_, '_> {
    pub(super) fn readdress(&mut self, node: &Node) -> Option<Action> {
        let index = nat(node.get("nat").unwrap_or(node), self.names, self.mistakes)?;
        let nat = &self.layout.nats[index];
        let network = nat.outside.network;
        let (name, old) = (nat.name.clone(), nat.outside.addresses.clone());
        let pool = self.layout.pools.get_mut(&network)?;
        let mut addresses = Vec::new();
        for fixed in node.get("address").map(Node::items).unwrap_or_default() {
            let Some(address) = fixed.text().and_then(|text| places::address(text).ok()) else { continue };
            let own = old.contains(&address) || self.given.contains(&(index, address));
            if own && !addresses.contains(&address) || take(address, fixed.place, Some(pool), self.mistakes) {
                addresses.push(address);
            }
        }
        if addresses.is_empty() {
            let next = |address: &IpAddr| if address.is_ipv4() { pool.next4() } else { pool.next6() };
            addresses = old.iter().map_while(next).collect();
        }
        if addresses.is_empty() {
            self.mistakes.at(node.place, format!("no address left for `{name}`")).expected("a larger prefix");
        }
        self.given.extend(addresses.iter().map(|address| (index, *address)));
        Some(Action::Readdress { nat: name, addresses })
    }

    /// A host that goes to another network: over the uplink that it has there, or with its first uplink, on which it gets as
    /// many addresses there as it has now.
    pub(super) fn moved(&mut self, node: &Node) -> Option<Move> {
        let host = self.host(node.get("host")?)?;
        let index = self.layout.hosts.iter().position(|known| known.name == host)?;
        let behind = match node.get("behind") {
            Some(named) => Some(nat(named, self.names, self.mistakes)?),
            None => None,
        };
        let network = behind.map_or(Network::Internet, Network::Behind);
        let name = behind.map(|index| self.layout.nats[index].name.clone());
        let uplinks = &self.layout.hosts[index].uplinks;
        if let Some(uplink) = uplinks.iter().position(|uplink| uplink.network == network) {
            let addresses = uplinks[uplink].addresses.clone();
            return Some(Move { host, behind: name, network, uplink: Some(uplink), addresses });
        }
        let old = uplinks.first()?.addresses.clone();
        let pool = self.layout.pools.get_mut(&network)?;
        let mut addresses: Vec<IpAddr> = Vec::new();
        for fixed in node.get("address").map(Node::items).unwrap_or_default() {
            let Some(address) = fixed.text().and_then(|text| places::address(text).ok()) else { continue };
            if take(address, fixed.place, Some(pool), self.mistakes) {
                addresses.push(address);
            }
        }
        if addresses.is_empty() {
            let next = |address: &IpAddr| if address.is_ipv4() { pool.next4() } else { pool.next6() };
            addresses = old.iter().map_while(next).collect();
        }
        if addresses.is_empty() {
            self.mistakes.at(node.place, format!("no address left for `{host}`")).expected("a larger prefix");
        }
        Some(Move { host, behind: name, network, uplink: None, addresses })
    }

    /// A NAT that behaves otherwise from then on; each change begins with what the ones before it came to.
    pub(super) fn set(&mut self, node: &Node) -> Option<Set> {
        let axes = Axes::of(node);
        let index = nat(node.get("nat")?, self.names, self.mistakes)?;
        if axes.is_empty() {
            let expected = "an axis and its new value, such as `filtering: address-dependent`";
            self.mistakes.at(node.place, "nothing is set").expected(expected);
            return None;
        }
        let nat = &self.layout.nats[index];
        let before = self.behaviors.get(&index).unwrap_or(&nat.behavior);
        let after = with_first(&Arc::new(axes.applied(before)), &nat.inside);
        for axis in before.fixed(&after) {
            let place = axes.entry().get(axis).map_or(node.place, |value| value.place);
            self.mistakes.at(place, format!("`{axis}` cannot change while a NAT runs")).expected(FIXED);
        }
        contradictions(axes.entry(), &after, self.mistakes);
        let nat = nat.name.clone();
        self.behaviors.insert(index, after);
        Some(Set { nat, axes })
    }

    pub(super) fn relink(&mut self, node: &Node) -> Option<Relink> {
        let change = LinkChange::of(node);
        let cable = self.cable_of(node.get("of")?, node.get("behind"))?;
        if change.is_empty() {
            self.mistakes
                .at(node.place, "nothing changes")
                .expected("a property and its new value, such as `loss: 5%`");
            return None;
        }
        Some(Relink { cable, change })
    }

    pub(super) fn cable(&mut self, node: &Node) -> Option<Cable> {
        self.cable_of(node.get("node").unwrap_or(node), node.get("behind"))
    }

    fn cable_of(&mut self, named: &Node, behind: Option<&Node>) -> Option<Cable> {
        let name = self.named(named, named.text()?, "host or NAT", |_| true)?;
        let networks: Vec<Network> = match *self.names.get(name.as_str())? {
            Named::Nat(index) => vec![self.layout.nats[index].outside.network],
            Named::Host(index) => self.layout.hosts[index].uplinks.iter().map(|uplink| uplink.network).collect(),
        };
        let mut uplinks: Vec<usize> = (0..networks.len()).collect();
        let mut text = name.clone();
        if let Some(behind) = behind {
            let parent = nat(behind, self.names, self.mistakes)?;
            uplinks.retain(|index| networks[*index] == Network::Behind(parent));
            text = format!("{name} behind {}", behind.text()?);
            if uplinks.is_empty() {
                self.mistakes
                    .at(behind.place, format!("`{name}` is not behind `{}`", behind.text()?))
                    .expected("a NAT that it is behind");
            }
        }
        Some(Cable { node: name, uplinks, text })
    }
}

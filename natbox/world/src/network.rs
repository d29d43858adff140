//! Networks and what is attached to them: who is where, and who comes next on the way to a destination.
//!
//! Two kinds: a public core, whose router every attachment is joined to; and a local network, a switch that joins its
//! attachments to one another. Knows addresses and interfaces; moves no packet, keeps no time.

use std::net::IpAddr;

use ipnet::IpNet;
use natbox_wire::{DropReason, Time};
use prefetch_index::prefetch_index;

use crate::attach::{Attachment, InterfaceAddress, NetworkId};
use crate::link::{Direction, Link, LinkConfig};
use crate::note::{InterfaceId, LinkFate, NodeId};
use crate::route::Routes;
use crate::stream::stream;

/// All networks and interfaces of a world.
pub(crate) struct Fabric {
    pub(crate) interfaces: Vec<Interface>,
    pub(crate) networks: Vec<Network>,
}

/// One attachment.
pub(crate) struct Interface {
    pub(crate) name: Box<str>,
    pub(crate) node: NodeId,
    pub(crate) network: NetworkId,
    pub(crate) addresses: Box<[InterfaceAddress]>,
    pub(crate) mtu_bytes: usize,
    /// Packets are dropped while it is set; those already under way arrive, as in a cable.
    pub(crate) cut: bool,
    /// Nothing for a perfect link.
    link: Option<Box<Link>>,
}

/// One network.
pub(crate) struct Network {
    pub(crate) name: Box<str>,
    pub(crate) kind: Kind,
    pub(crate) routes: Routes,
}

/// What joins a network's attachments.
pub(crate) enum Kind {
    /// A router, with addresses of its own.
    Core {
        /// The router.
        node: NodeId,
        /// What it answers to, and sends ICMP errors from.
        addresses: Box<[IpAddr]>,
    },
    /// A switch.
    Lan {
        /// Who takes what is for nobody here.
        gateway: Option<InterfaceId>,
        /// Everybody, in the order of attaching.
        attached: Vec<InterfaceId>,
        /// Whether nobody reaches anybody but the gateway.
        isolated: bool,
    },
}

/// Where a packet goes next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Hop {
    /// Up an attachment's link, to the core router.
    ToCore(InterfaceId),
    /// Down an attachment's link, from the core router.
    FromCore(InterfaceId),
    /// Through the switch.
    Across {
        /// From here ...
        from: InterfaceId,
        /// ... to here; to everybody else if there is none.
        to: Option<InterfaceId>,
    },
}

impl Hop {
    /// The attachment whose link comes first, and the way through it.
    pub(crate) fn link(self) -> (InterfaceId, Direction) {
        match self {
            Hop::ToCore(interface) | Hop::Across { from: interface, .. } => (interface, Direction::Up),
            Hop::FromCore(interface) => (interface, Direction::Down),
        }
    }
}

impl Fabric {
    /// No networks yet; room for those of a few homes.
    pub(crate) fn new() -> Fabric {
        Fabric { interfaces: Vec::with_capacity(8), networks: Vec::with_capacity(4) }
    }

    pub(crate) fn interface(&self, id: InterfaceId) -> &Interface {
        &self.interfaces[id.0 as usize]
    }

    pub(crate) fn interface_mut(&mut self, id: InterfaceId) -> &mut Interface {
        &mut self.interfaces[id.0 as usize]
    }

    pub(crate) fn network(&self, id: NetworkId) -> &Network {
        &self.networks[id.0 as usize]
    }

    pub(crate) fn network_mut(&mut self, id: NetworkId) -> &mut Network {
        &mut self.networks[id.0 as usize]
    }

    pub(crate) fn add_network(&mut self, name: &str, kind: Kind) -> NetworkId {
        let id = NetworkId(self.networks.len() as u32);
        self.networks.push(Network { name: name.into(), kind, routes: Routes::default() });
        id
    }

    /// Joins a node to a network. `seed` is the world's.
    pub(crate) fn attach(&mut self, node: NodeId, attachment: Attachment, seed: u64) -> InterfaceId {
        let id = InterfaceId(self.interfaces.len() as u32);
        let Attachment { network, name, addresses, link } = attachment;
        let mtu_bytes = link.mtu_bytes;
        let link = (!link.is_perfect()).then(|| {
            let (up, down) = (stream(seed, &["link/", &name, "/up"]), stream(seed, &["link/", &name, "/down"]));
            Box::new(Link::new(link, up, down))
        });
        let name = name.into_boxed_str();
        let addresses = addresses.into_boxed_slice();
        let known = self.network_mut(network);
        addresses.iter().for_each(|own| known.routes.add_host(own.address, id));
        if let Kind::Lan { attached, .. } = &mut known.kind {
            attached.push(id);
        }
        self.interfaces.push(Interface { name, node, network, addresses, mtu_bytes, cut: false, link });
        id
    }

    /// How an attachment's link is configured.
    pub(crate) fn link_of(&self, interface: InterfaceId) -> LinkConfig {
        let known = self.interface(interface);
        let config = known.link.as_ref().map_or_else(LinkConfig::default, |link| link.config().clone());
        LinkConfig { mtu_bytes: known.mtu_bytes, ..config }
    }

    /// Gives an attachment's link another configuration; its MTU stays. `seed` is the world's.
    pub(crate) fn relink(&mut self, interface: InterfaceId, config: LinkConfig, seed: u64) {
        let known = self.interface_mut(interface);
        let config = LinkConfig { mtu_bytes: known.mtu_bytes, ..config };
        let [up, down] = ["/up", "/down"].map(|way| stream(seed, &["link/", &known.name, way]));
        match &mut known.link {
            Some(link) => link.reconfigure(config, up, down),
            None => known.link = Some(Box::new(Link::new(config, up, down))),
        }
    }

    /// Makes an interface its local network's way out, if it has none yet.
    pub(crate) fn make_gateway(&mut self, interface: InterfaceId) {
        let network = self.interface(interface).network;
        if let Kind::Lan { gateway, .. } = &mut self.network_mut(network).kind {
            gateway.get_or_insert(interface);
        }
    }

    /// Lets nobody on a local network reach anybody but the gateway.
    pub(crate) fn isolate(&mut self, network: NetworkId) {
        if let Kind::Lan { isolated, .. } = &mut self.network_mut(network).kind {
            *isolated = true;
        }
    }

    /// Whether the switch carries a packet for everybody from one attachment to another.
    pub(crate) fn joins(&self, from: InterfaceId, to: InterfaceId) -> bool {
        match self.network(self.interface(from).network).kind {
            Kind::Lan { gateway, isolated, .. } => !isolated || [Some(from), Some(to)].contains(&gateway),
            Kind::Core { .. } => true,
        }
    }

    /// Leads a prefix to an interface of this network.
    pub(crate) fn add_route(&mut self, network: NetworkId, prefix: IpNet, via: InterfaceId) {
        self.network_mut(network).routes.add(prefix, via);
    }

    /// Gives an interface other addresses, and leads its network to them.
    pub(crate) fn readdress(&mut self, interface: InterfaceId, addresses: Box<[InterfaceAddress]>) {
        let old = std::mem::take(&mut self.interface_mut(interface).addresses);
        let network = self.interface(interface).network;
        let routes = &mut self.network_mut(network).routes;
        old.iter().for_each(|own| routes.remove_host(own.address, interface));
        addresses.iter().for_each(|own| routes.add_host(own.address, interface));
        self.interface_mut(interface).addresses = addresses;
    }

    /// Takes an interface out of its network and puts it into another, with other addresses.
    pub(crate) fn reattach(&mut self, id: InterfaceId, network: NetworkId, addresses: Box<[InterfaceAddress]>) {
        self.readdress(id, Box::default());
        let before = self.interface(id).network;
        if let Kind::Lan { attached, .. } = &mut self.network_mut(before).kind {
            attached.retain(|other| *other != id);
        }
        self.interface_mut(id).network = network;
        if let Kind::Lan { attached, .. } = &mut self.network_mut(network).kind {
            attached.push(id);
        }
        self.readdress(id, addresses);
    }

    /// Where a packet to `destination` goes that a node sends through `from`.
    pub(crate) fn next_hop(&self, from: InterfaceId, destination: IpAddr) -> Result<Hop, DropReason> {
        let interface = self.interface(from);
        let network = self.network(interface.network);
        let Kind::Lan { gateway, isolated, .. } = network.kind else {
            return Ok(Hop::ToCore(from));
        };
        if interface.is_group(destination) {
            return Ok(Hop::Across { from, to: None });
        }
        let to = match network.routes.find(destination) {
            Some(to) => Some(to),
            None if interface.is_on_link(destination) => None,
            None => gateway,
        };
        match to {
            Some(to) if to != from && isolated && ![Some(from), Some(to)].contains(&gateway) => {
                Err(DropReason::ClientIsolation)
            }
            Some(to) if to != from => Ok(Hop::Across { from, to: Some(to) }),
            _ => Err(DropReason::NoNeighbour),
        }
    }

    /// The largest packet that may go this way. Neighbours on a switch agree on the smaller of their MTUs.
    pub(crate) fn mtu_bytes(&self, hop: Hop) -> usize {
        let first = self.interface(hop.link().0).mtu_bytes;
        match hop {
            Hop::Across { to: Some(to), .. } => first.min(self.interface(to).mtu_bytes),
            _ => first,
        }
    }

    /// Whether nothing on this hop depends on how many packets a segment is that stands for many.
    pub(crate) fn carries_whole(&self, hop: Hop) -> bool {
        let whole = |id| self.interface(id).link.as_ref().is_none_or(|link| link.carries_whole());
        match hop {
            Hop::Across { from, to: Some(to) } => whole(from) && whole(to),
            other => whole(other.link().0),
        }
    }

    /// What an attachment's link does to a packet.
    pub(crate) fn carry(&mut self, link: (InterfaceId, Direction), length_bytes: usize, now: Time) -> LinkFate {
        let interface = self.interface_mut(link.0);
        if interface.cut {
            return LinkFate::Dropped(DropReason::LinkCut);
        }
        match &mut interface.link {
            Some(lanes) => lanes.carry(link.1, length_bytes, now),
            None => LinkFate::Carried { arrives: now },
        }
    }

    /// The core router of a network that has one.
    pub(crate) fn core(&self, network: NetworkId) -> Option<NodeId> {
        match self.network(network).kind {
            Kind::Core { node, .. } => Some(node),
            Kind::Lan { .. } => None,
        }
    }

    /// Where bytes go that need not be a packet: where their destination says, as far as it can be read; else to the
    /// local network's gateway, or from there to everybody.
    pub(crate) fn raw_hop(&self, from: InterfaceId, bytes: &[u8]) -> Result<Hop, DropReason> {
        if let Some(destination) = raw_destination(bytes) {
            return self.next_hop(from, destination);
        }
        Ok(match self.network(self.interface(from).network).kind {
            Kind::Core { .. } => Hop::ToCore(from),
            Kind::Lan { gateway, .. } => Hop::Across { from, to: gateway.filter(|gateway| *gateway != from) },
        })
    }

    /// What a host on this network takes for its default gateway.
    pub(crate) fn default_gateway(&self, network: NetworkId, ipv6: bool) -> Option<IpAddr> {
        match &self.network(network).kind {
            Kind::Core { addresses, .. } => addresses.iter().copied().find(|own| own.is_ipv6() == ipv6),
            Kind::Lan { gateway, .. } => self.interface((*gateway)?).address(ipv6),
        }
    }
}

impl Network {
    /// The attachment to a switch that is the last in the order of attaching.
    pub(crate) fn last_attached(&self) -> Option<InterfaceId> {
        match &self.kind {
            Kind::Lan { attached, .. } => attached.last().copied(),
            Kind::Core { .. } => None,
        }
    }

    /// The attachment that leads out of a local network.
    pub(crate) fn way_out(&self) -> Option<InterfaceId> {
        match self.kind {
            Kind::Lan { gateway, .. } => gateway,
            Kind::Core { .. } => None,
        }
    }

    /// Brings near what a packet on it needs.
    pub(crate) fn bring(&self) {
        self.routes.bring();
        if let Kind::Lan { attached, .. } = &self.kind {
            prefetch_index(attached, 0);
        }
    }

    /// The attachment to a switch with this number, in the order of attaching.
    pub(crate) fn attached(&self, number: usize) -> Option<InterfaceId> {
        match &self.kind {
            Kind::Lan { attached, .. } => attached.get(number).copied(),
            Kind::Core { .. } => None,
        }
    }
}

impl Interface {
    /// Brings the link near, for a packet to come.
    pub(crate) fn bring_link(&self) {
        self.link.iter().for_each(|link| link.bring());
    }

    /// The first address of this version.
    pub(crate) fn address(&self, ipv6: bool) -> Option<IpAddr> {
        self.addresses.iter().map(|own| own.address).find(|own| own.is_ipv6() == ipv6)
    }

    /// Whether this address is one of the interface's own.
    pub(crate) fn owns(&self, address: IpAddr) -> bool {
        self.addresses.iter().any(|own| own.address == address)
    }

    /// Whether this address means many: multicast, limited broadcast, or the prefix's directed broadcast.
    pub(crate) fn is_group(&self, destination: IpAddr) -> bool {
        destination.is_multicast()
            || destination == IpAddr::V4(std::net::Ipv4Addr::BROADCAST)
            || self.addresses.iter().any(|own| own.broadcast() == Some(destination))
    }

    pub(crate) fn is_on_link(&self, destination: IpAddr) -> bool {
        self.addresses.iter().any(|own| own.is_on_link(destination))
    }
}

/// The destination that these bytes would have if they were a packet.
pub(crate) fn raw_destination(bytes: &[u8]) -> Option<IpAddr> {
    match bytes.first()? >> 4 {
        4 => Some(IpAddr::from(<[u8; 4]>::try_from(bytes.get(16..20)?).ok()?)),
        6 => Some(IpAddr::from(<[u8; 16]>::try_from(bytes.get(24..40)?).ok()?)),
        _ => None,
    }
}

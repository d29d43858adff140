//! What people call the nodes and interfaces that notes know by number.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::sync::Arc;

use natbox_nat::Behavior;
use natbox_world::note::{InterfaceId, NodeId};

/// What a node is.
#[derive(Clone, Debug, PartialEq)]
pub enum NodeKind {
    /// A host.
    Host,
    /// A gateway with this NAT.
    Nat(Arc<Behavior>),
    /// The router of a network.
    Network,
}

/// A node's name and kind.
#[derive(Clone, Debug, PartialEq)]
pub struct NodeName {
    /// Its name in the topology.
    pub name: String,
    /// What it is.
    pub kind: NodeKind,
    /// Its addresses; of a gateway, the external ones.
    pub addresses: Vec<IpAddr>,
}

/// An interface's name and owner.
#[derive(Clone, Debug, PartialEq)]
pub struct InterfaceName {
    /// Its name: `alice`, `home-a:inside`.
    pub name: String,
    /// The node that it belongs to.
    pub node: NodeId,
}

/// The names of a lab. Whatever has none is called by its number.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Names {
    nodes: BTreeMap<NodeId, NodeName>,
    interfaces: BTreeMap<InterfaceId, InterfaceName>,
}

impl Names {
    /// No names.
    pub fn new() -> Names {
        Names::default()
    }

    /// Names a node.
    pub fn add_node(&mut self, id: NodeId, name: &str, kind: NodeKind, addresses: &[IpAddr]) {
        self.nodes.insert(id, NodeName { name: name.to_owned(), kind, addresses: addresses.to_vec() });
    }

    /// Names an interface.
    pub fn add_interface(&mut self, id: InterfaceId, name: &str, node: NodeId) {
        self.interfaces.insert(id, InterfaceName { name: name.to_owned(), node });
    }

    /// A gateway's NAT behaves otherwise from now on.
    pub(crate) fn behaves(&mut self, id: NodeId, behavior: Arc<Behavior>) {
        if let Some(node) = self.nodes.get_mut(&id) {
            node.kind = NodeKind::Nat(behavior);
        }
    }

    /// A node has other addresses from now on.
    pub(crate) fn is_at(&mut self, id: NodeId, addresses: &[IpAddr]) {
        if let Some(node) = self.nodes.get_mut(&id) {
            node.addresses = addresses.to_vec();
        }
    }

    /// The nodes, by number.
    pub fn nodes(&self) -> impl Iterator<Item = (NodeId, &NodeName)> {
        self.nodes.iter().map(|(&id, node)| (id, node))
    }

    /// The interfaces, by number.
    pub fn interfaces(&self) -> impl Iterator<Item = (InterfaceId, &InterfaceName)> {
        self.interfaces.iter().map(|(&id, interface)| (id, interface))
    }

    /// The node of this name.
    pub fn find(&self, name: &str) -> Option<NodeId> {
        self.nodes().find(|(_, node)| node.name == name).map(|(id, _)| id)
    }

    /// A node's name.
    pub fn node(&self, id: NodeId) -> String {
        self.nodes.get(&id).map_or_else(|| format!("node-{}", id.0), |node| node.name.clone())
    }

    /// An interface's name.
    pub fn interface(&self, id: InterfaceId) -> String {
        self.interfaces.get(&id).map_or_else(|| format!("interface-{}", id.0), |interface| interface.name.clone())
    }

    /// The node that an interface belongs to.
    pub fn owner(&self, id: InterfaceId) -> Option<NodeId> {
        self.interfaces.get(&id).map(|interface| interface.node)
    }

    /// What a node is.
    pub fn kind(&self, id: NodeId) -> Option<&NodeKind> {
        self.nodes.get(&id).map(|node| &node.kind)
    }

    /// Whether a node is the router of a network.
    pub fn is_network(&self, id: NodeId) -> bool {
        self.kind(id) == Some(&NodeKind::Network)
    }

    /// The behaviour of a gateway's NAT.
    pub fn behavior(&self, id: NodeId) -> Option<&Behavior> {
        match self.kind(id)? {
            NodeKind::Nat(behavior) => Some(behavior),
            NodeKind::Host | NodeKind::Network => None,
        }
    }

    /// Who has which address. Hosts in different homes may share one: then it has several names.
    pub fn addresses(&self) -> BTreeMap<IpAddr, Vec<&str>> {
        let mut addresses = BTreeMap::<IpAddr, Vec<&str>>::new();
        for node in self.nodes.values() {
            for &address in &node.addresses {
                addresses.entry(address).or_default().push(&node.name);
            }
        }
        addresses
    }
}

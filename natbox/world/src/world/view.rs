//! What can be seen of a world without changing it.

use std::cell::Ref;
use std::sync::Arc;

use natbox_nat::{Behavior, MappingId, MappingView, SessionView};
use natbox_wire::Time;

use super::World;
use crate::attach::{InterfaceAddress, NetworkId};
use crate::link::LinkConfig;
use crate::note::{InterfaceId, NodeId};
use crate::state::Statistics;

impl World {
    /// The live mappings of a gateway's NAT, by number; none for other nodes.
    pub fn mappings(&self, node: NodeId) -> Vec<MappingView> {
        self.state.borrow_mut().mappings(node)
    }

    /// The live sessions of a gateway's NAT, by the number of their mapping, then by remote; none for other nodes.
    pub fn sessions(&self, node: NodeId) -> Vec<SessionView> {
        self.state.borrow_mut().sessions(node)
    }

    /// When a mapping of a gateway's NAT ends, if nothing more comes: [`Nat::deadline`](natbox_nat::Nat::deadline).
    pub fn deadline(&self, node: NodeId, mapping: MappingId) -> Option<Time> {
        self.state.borrow_mut().deadline(node, mapping)
    }

    /// How a gateway's NAT behaves; `None` for other nodes.
    pub fn behavior_of(&self, node: NodeId) -> Option<Arc<Behavior>> {
        self.state.borrow().behavior(node)
    }

    /// The properties of an interface's link.
    pub fn link_of(&self, interface: InterfaceId) -> LinkConfig {
        self.state.borrow().fabric.link_of(interface)
    }

    /// All nodes, in the order of building.
    pub fn nodes(&self) -> impl Iterator<Item = NodeId> + use<> {
        (0..self.state.borrow().nodes.len() as u32).map(NodeId)
    }

    /// All interfaces, in the order of building.
    pub fn interfaces(&self) -> impl Iterator<Item = InterfaceId> + use<> {
        (0..self.state.borrow().fabric.interfaces.len() as u32).map(InterfaceId)
    }

    /// A node's interfaces: a gateway's outside then inside, a host's uplinks in order.
    pub fn interfaces_of(&self, node: NodeId) -> impl Iterator<Item = InterfaceId> + use<> {
        let state = self.state.borrow();
        let node = state.node(node);
        (node.first_interface..node.first_interface + node.interfaces).map(InterfaceId)
    }

    /// A node's name.
    pub fn node_name(&self, node: NodeId) -> Ref<'_, str> {
        Ref::map(self.state.borrow(), |state| &*state.node(node).name)
    }

    /// An interface's name.
    pub fn interface_name(&self, interface: InterfaceId) -> Ref<'_, str> {
        Ref::map(self.state.borrow(), |state| &*state.fabric.interface(interface).name)
    }

    /// A network's name.
    pub fn network_name(&self, network: NetworkId) -> Ref<'_, str> {
        Ref::map(self.state.borrow(), |state| &*state.fabric.network(network).name)
    }

    /// The node that an interface belongs to.
    pub fn node_of(&self, interface: InterfaceId) -> NodeId {
        self.state.borrow().fabric.interface(interface).node
    }

    /// The network that an interface is attached to.
    pub fn network_of(&self, interface: InterfaceId) -> NetworkId {
        self.state.borrow().fabric.interface(interface).network
    }

    /// An interface's addresses.
    pub fn addresses_of(&self, interface: InterfaceId) -> Vec<InterfaceAddress> {
        self.state.borrow().fabric.interface(interface).addresses.to_vec()
    }

    /// The router of a public network; `None` for a local one.
    pub fn router_of(&self, network: NetworkId) -> Option<NodeId> {
        self.state.borrow().fabric.core(network)
    }

    /// What the world has done so far.
    pub fn statistics(&self) -> Statistics {
        self.state.borrow().statistics
    }
}

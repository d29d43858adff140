//! What is done to a world from outside: nodes added, gateways rebooted, readdressed and told to behave otherwise, links
//! changed, cut and mended.

use std::future::Future;
use std::net::IpAddr;
use std::sync::Arc;

use futures::task::LocalSpawnExt;
use natbox_nat::{Behavior, Ended, MappingId, MappingView, SessionView};
use natbox_wire::Time;

use super::{Body, Node, State};
use crate::attach::{InterfaceAddress, NetworkId};
use crate::gateway::Gateway;
use crate::link::LinkConfig;
use crate::note::{Event, InterfaceId, NodeId, Note, Observer};
use crate::outside::Alarmed;
use crate::refusal::{NotAGateway, NotReconfigured};

impl State {
    /// The number that the next node will have.
    pub(crate) fn next_node(&self) -> NodeId {
        NodeId(self.nodes.len() as u32)
    }

    /// Adds a node, whose interfaces have consecutive numbers.
    pub(crate) fn add_node(&mut self, name: &str, interfaces: &[InterfaceId], body: Body) -> NodeId {
        let id = self.next_node();
        self.nodes.push(Node {
            name: name.into(),
            first_interface: interfaces.first().map_or(0, |first| first.0),
            interfaces: interfaces.len() as u32,
            timer: Time::MAX,
            wake: Time::MAX,
            body,
            pings: None,
        });
        id
    }

    /// Tells `observer` everything from now on. NATs' timers, which run for observers only, are set.
    pub(crate) fn observe(&mut self, observer: Box<dyn Observer>) {
        self.observer = Some(observer);
        (0..self.nodes.len() as u32).for_each(|node| self.set_timer(NodeId(node)));
    }

    /// Starts a program.
    pub(crate) fn spawn(&self, program: impl Future<Output = ()> + 'static) {
        // The only error is that the world is gone, and its programs with it.
        let _ = match &self.door {
            None => self.spawner.spawn_local(program),
            Some(door) => self.spawner.spawn_local(Alarmed::new(program, door.outside.alarm())),
        };
    }

    pub(crate) fn reboot(&mut self, node: NodeId) -> Result<(), NotAGateway> {
        self.expire(node, self.now);
        self.change(node, |gateway, ended| gateway.nat.reboot(ended))?;
        self.lose_held(node);
        self.lose_pings(node);
        self.note(node, Event::Rebooted);
        self.tell_machine(node, true);
        Ok(())
    }

    pub(crate) fn readdress(&mut self, node: NodeId, external: &[IpAddr]) -> Result<(), NotAGateway> {
        self.expire(node, self.now);
        let first = InterfaceId(self.node(node).first_interface);
        let addresses = match self.node(node).body {
            Body::Gateway(_) => replaced(&self.fabric.interface(first).addresses, external),
            Body::Core | Body::Host(_) | Body::Outlet => Box::default(),
        };
        let external: Vec<IpAddr> = addresses.iter().map(|own| own.address).collect();
        self.change(node, |gateway, ended| gateway.nat.readdress(&external, ended))?;
        self.fabric.readdress(first, addresses);
        self.note(node, Event::Readdressed);
        self.tell_machine(node, false);
        Ok(())
    }

    /// Changes a gateway, telling the observer of the mappings that end by it.
    pub(super) fn change(
        &mut self,
        node: NodeId,
        change: impl FnOnce(&mut Gateway, &mut dyn FnMut(Ended)),
    ) -> Result<(), NotAGateway> {
        let (now, known) = (self.now, &mut self.nodes[node.0 as usize]);
        let Body::Gateway(gateway) = &mut known.body else {
            return Err(NotAGateway { name: known.name.to_string() });
        };
        change(gateway, &mut tell(&mut self.observer, node, now));
        self.tell_control(node);
        self.set_timer(node);
        Ok(())
    }

    /// Ends what is due in a gateway's NAT, and lets go what goes of itself by then.
    pub(super) fn expire(&mut self, node: NodeId, now: Time) {
        let Body::Gateway(gateway) = &mut self.nodes[node.0 as usize].body else { return };
        if gateway.nat.poll_timeout().is_some_and(|due| due <= now) {
            gateway.nat.handle_timeout(now, &mut tell(&mut self.observer, node, now));
            self.depart(node);
        }
        self.tell_control(node);
    }

    pub(crate) fn mappings(&mut self, node: NodeId) -> Vec<MappingView> {
        self.expire(node, self.now);
        match &self.node(node).body {
            Body::Gateway(gateway) => gateway.nat.mappings(),
            Body::Core | Body::Host(_) | Body::Outlet => Vec::new(),
        }
    }

    pub(crate) fn sessions(&mut self, node: NodeId) -> Vec<SessionView> {
        self.expire(node, self.now);
        match &self.node(node).body {
            Body::Gateway(gateway) => gateway.nat.sessions(),
            Body::Core | Body::Host(_) | Body::Outlet => Vec::new(),
        }
    }

    pub(crate) fn deadline(&mut self, node: NodeId, mapping: MappingId) -> Option<Time> {
        self.expire(node, self.now);
        match &self.node(node).body {
            Body::Gateway(gateway) => gateway.nat.deadline(mapping),
            Body::Core | Body::Host(_) | Body::Outlet => None,
        }
    }

    pub(crate) fn reattach(
        &mut self,
        node: NodeId,
        uplink: usize,
        network: NetworkId,
        addresses: Vec<InterfaceAddress>,
    ) {
        let Some(index) = u32::try_from(uplink).ok().filter(|index| *index < self.node(node).interfaces) else {
            return;
        };
        let interface = InterfaceId(self.node(node).first_interface + index);
        let gateways = [false, true].map(|ipv6| self.fabric.default_gateway(network, ipv6));
        match &mut self.nodes[node.0 as usize].body {
            Body::Host(host) => host.stack.readdress(uplink, addresses.clone(), gateways),
            Body::Outlet => {}
            Body::Core | Body::Gateway(_) => return,
        }
        self.fabric.reattach(interface, network, addresses.into_boxed_slice());
        self.note(node, Event::Moved(interface));
    }

    pub(crate) fn prefer(&mut self, node: NodeId, uplink: usize) {
        let Some(index) = u32::try_from(uplink).ok().filter(|index| *index < self.node(node).interfaces) else {
            return;
        };
        let interface = InterfaceId(self.node(node).first_interface + index);
        match &mut self.nodes[node.0 as usize].body {
            Body::Host(host) => host.stack.prefer(uplink),
            Body::Outlet => {}
            Body::Core | Body::Gateway(_) => return,
        }
        self.note(node, Event::Preferred(interface));
    }

    /// A gateway's NAT behaves otherwise from now on.
    pub(crate) fn reconfigure(&mut self, node: NodeId, behavior: Arc<Behavior>) -> Result<(), NotReconfigured> {
        self.expire(node, self.now);
        let (now, after, before) = (self.now, behavior.clone(), self.behavior(node));
        let mut fixed = Ok(());
        self.change(node, |gateway, _| fixed = gateway.nat.reconfigure(behavior, now))?;
        fixed.map_err(NotReconfigured::Fixed)?;
        if let Some(before) = &before {
            self.note(node, Event::Reconfigured { before, after: &after });
        }
        Ok(())
    }

    pub(crate) fn behavior(&self, node: NodeId) -> Option<Arc<Behavior>> {
        match &self.node(node).body {
            Body::Gateway(gateway) => Some(gateway.nat.behavior().clone()),
            Body::Core | Body::Host(_) | Body::Outlet => None,
        }
    }

    pub(crate) fn relink(&mut self, interface: InterfaceId, config: LinkConfig) {
        self.fabric.relink(interface, config, self.seed);
        let node = self.fabric.interface(interface).node;
        self.note(node, Event::Relinked(interface));
    }

    pub(crate) fn set_cut(&mut self, interface: InterfaceId, cut: bool) {
        let known = self.fabric.interface_mut(interface);
        known.cut = cut;
        let node = known.node;
        self.note(node, if cut { Event::Cut(interface) } else { Event::Mended(interface) });
    }
}

/// Passes ended mappings on to the observer.
fn tell(observer: &mut Option<Box<dyn Observer>>, node: NodeId, at: Time) -> impl FnMut(Ended) {
    move |ended| {
        if let Some(observer) = observer {
            observer.note(&Note { at, node, event: Event::MappingEnded(ended) });
        }
    }
}

/// The new addresses, and the old ones of a version that the new ones do not speak of.
fn replaced(old: &[InterfaceAddress], new: &[IpAddr]) -> Box<[InterfaceAddress]> {
    let spoken_of = |ipv6| new.iter().any(|address| address.is_ipv6() == ipv6);
    let kept = old.iter().copied().filter(|own| !spoken_of(own.address.is_ipv6()));
    new.iter().map(|address| like(*address, old)).chain(kept).collect()
}

/// An address with the prefix length of the first old one of its version; alone on its link if there is none.
fn like(address: IpAddr, old: &[InterfaceAddress]) -> InterfaceAddress {
    let known = old.iter().find(|own| own.address.is_ipv6() == address.is_ipv6());
    let alone = if address.is_ipv6() { 128 } else { 32 };
    InterfaceAddress { address, prefix_len: known.map_or(alone, |own| own.prefix_len) }
}

//! Gateways' own machines: their making, their timers, and what they ask of the NAT.

use std::task::Waker;

use natbox_wire::{ExplicitMapping, MapRefusal, MapRequest, Packet, Protocol, Time, Traffic};

use super::{Body, Host, Pending, State};
use crate::gateway::machine::Machine;
use crate::note::{Event, InterfaceId, NodeId};
use crate::refusal::NotAGateway;
use crate::stack::{Stack, UplinkConfig};
use crate::stream::stream;

impl State {
    /// Gives a gateway its machine, if it has none yet.
    pub(crate) fn make_machine(&mut self, node: NodeId) -> Result<(), NotAGateway> {
        let (name, seed) = (self.node(node).name.clone(), self.seed);
        let Body::Gateway(gateway) = &mut self.nodes[node.0 as usize].body else {
            return Err(NotAGateway { name: name.to_string() });
        };
        if gateway.machine.is_none() {
            let inside = self.fabric.interface(gateway.inside);
            let (addresses, mtu_bytes) = (inside.addresses.to_vec(), inside.mtu_bytes);
            let uplink = UplinkConfig { addresses, gateway_v4: None, gateway_v6: None, mtu_bytes };
            let stack = Stack::new(vec![uplink], stream(seed, &["host/", &name]));
            gateway.machine = Some(Box::new(Machine::new(Host { stack, streams: 0, calls: Default::default() })));
        }
        Ok(())
    }

    /// Whether a packet is for the sockets of a gateway's own machine.
    #[inline]
    pub(super) fn is_for_machine(&self, node: NodeId, through: InterfaceId, packet: &Packet) -> bool {
        match &self.nodes[node.0 as usize].body {
            Body::Gateway(gateway) => gateway.is_for_machine(&self.fabric, through, packet),
            Body::Core | Body::Host(_) | Body::Outlet => false,
        }
    }

    /// The interface that an uplink of a host, or of a gateway's own machine, is.
    pub(super) fn uplink_of(&self, node: NodeId, uplink: u32) -> InterfaceId {
        let known = self.node(node);
        match &known.body {
            Body::Gateway(gateway) => gateway.inside,
            _ => InterfaceId(known.first_interface + uplink.min(known.interfaces.saturating_sub(1))),
        }
    }

    /// Sets the timer of a gateway's own machine, if that wants it earlier than it is set for.
    pub(super) fn set_machine_timer(&mut self, node: NodeId) {
        let now = self.now;
        let Body::Gateway(gateway) = &mut self.nodes[node.0 as usize].body else { return };
        let Some(machine) = &mut gateway.machine else { return };
        let due = machine.host.stack.poll_timeout().map(|due| due.max(now));
        let Some(due) = due.filter(|due| *due < machine.timer) else { return };
        machine.timer = due;
        self.queue.push(due, Pending::Machine(node));
    }

    /// The timer of a gateway's own machine. It may have been moved, earlier or later.
    pub(super) fn machine_timer(&mut self, at: Time, node: NodeId) -> bool {
        let Some(machine) = self.gateway(node).and_then(|gateway| gateway.machine.as_deref_mut()) else { return false };
        if machine.timer != at {
            return false;
        }
        machine.timer = Time::MAX;
        let due = machine.host.stack.poll_timeout().is_some_and(|due| due <= at);
        if due {
            machine.host.stack.handle_timeout(at);
            self.now = self.now.max(at);
            self.flush(node);
        }
        self.set_machine_timer(node);
        due
    }

    /// A gateway has rebooted, or has other addresses.
    pub(super) fn tell_machine(&mut self, node: NodeId, rebooted: bool) {
        let now = self.now;
        let Some(machine) = self.gateway(node).and_then(|gateway| gateway.machine.as_deref_mut()) else { return };
        machine.changes += 1;
        if rebooted {
            machine.up_since = now;
        }
        for waker in std::mem::take(&mut machine.waiting) {
            self.woken = true;
            waker.wake();
        }
    }

    /// Tells the observer what has happened to explicit mappings.
    pub(super) fn tell_control(&mut self, node: NodeId) {
        let Some(gateway) = self.gateway(node) else { return };
        for (mapping, what) in gateway.nat.poll_control() {
            self.note(node, Event::Control { mapping: &mapping, what });
        }
    }

    /// How often a gateway has changed.
    pub(crate) fn changes(&mut self, node: NodeId) -> u64 {
        self.machine(node).map_or(0, |machine| machine.changes)
    }

    /// Wakes a program when a gateway changes next.
    pub(crate) fn wait_for_change(&mut self, node: NodeId, waker: &Waker) {
        if let Some(machine) = self.machine(node)
            && !machine.waiting.iter().any(|known| known.will_wake(waker))
        {
            machine.waiting.push(waker.clone());
        }
    }

    pub(crate) fn machine(&mut self, node: NodeId) -> Option<&mut Machine> {
        self.gateway(node)?.machine.as_deref_mut()
    }

    /// Makes or renews an explicit mapping.
    pub(crate) fn map(&mut self, node: NodeId, request: &MapRequest) -> Result<ExplicitMapping, MapRefusal> {
        let now = self.now;
        self.expire(node, now);
        let gateway = self.gateway(node).ok_or(MapRefusal::Unsuitable)?;
        let made = gateway.nat.map(request, now);
        self.tell_control(node);
        self.set_timer(node);
        made
    }

    /// Gives up an explicit mapping.
    pub(crate) fn unmap(&mut self, node: NodeId, mapping: &ExplicitMapping, traffic: Traffic) -> bool {
        let now = self.now;
        self.expire(node, now);
        let mut found = false;
        let done = self.change(node, |gateway, ended| found = gateway.nat.unmap(mapping, traffic, now, ended));
        self.depart(node);
        done.is_ok() && found
    }

    pub(crate) fn explicit(&mut self, node: NodeId) -> Vec<ExplicitMapping> {
        self.expire(node, self.now);
        self.gateway(node).map(|gateway| gateway.nat.explicit()).unwrap_or_default()
    }

    pub(crate) fn explicit_of(
        &mut self,
        node: NodeId,
        protocol: Protocol,
        internal: std::net::SocketAddr,
    ) -> Option<ExplicitMapping> {
        self.expire(node, self.now);
        self.gateway(node)?.nat.explicit_of(protocol, internal)
    }
}

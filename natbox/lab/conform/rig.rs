//! A gateway with the NAT in it, hosts inside, remotes outside, and a note of every packet on the way. For what is the
//! gateway's and not the NAT's: links and their MTU, the time to live, ICMP errors of its own, and overlapping realms.

use std::cell::RefCell;
use std::net::{IpAddr, SocketAddr};
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use natbox_host::Host;
use natbox_nat::Behavior;
use natbox_nat::behavior::{PortAllocation, Ports};
use natbox_wire::{Packet, Protocol, Time};
use natbox_world::note::{Event, Outcome};
use natbox_world::{
    Attachment, InterfaceAddress, InterfaceId, LinkConfig, NetworkId, NodeId, Note, Observer, PacketId, VirtualUdp,
    World,
};

use super::packets::{ROUTER, X1, X2, Y1, Y2};

/// A packet as it came to a node, or as a gateway sent it on another's account.
struct Seen {
    at: Time,
    node: NodeId,
    id: PacketId,
    cause: Option<PacketId>,
    bytes: Vec<u8>,
    came: Option<Outcome>,
}

#[derive(Clone, Default)]
struct Notes(Rc<RefCell<Vec<Seen>>>);

impl Observer for Notes {
    fn note(&mut self, note: &Note<'_>) {
        let (packet, came) = match note.event {
            Event::Sent { packet, .. } => (packet, None),
            Event::Received { packet, outcome, .. } => (packet, Some(outcome)),
            _ => return,
        };
        let (at, node, id, cause) = (note.at, note.node, packet.id, packet.cause);
        self.0.borrow_mut().push(Seen { at, node, id, cause, bytes: packet.bytes.to_vec(), came });
    }
}

/// A world about one gateway.
pub(super) struct Rig {
    world: World,
    notes: Notes,
    gateway: NodeId,
    hosts: Vec<(SocketAddr, NodeId, InterfaceId)>,
    /// Open for as long as the rig is, so that no host answers what is sent to it.
    sockets: Vec<VirtualUdp>,
}

impl Rig {
    /// Hosts at X1 and X2, remotes at Y1 and Y2, and a link to the outside of this MTU.
    pub(super) fn new(behavior: &Arc<Behavior>, mtu_bytes: usize) -> Rig {
        let (mut world, notes) = observed();
        let internet = world.internet("internet", &[ROUTER]);
        let lan = world.lan("lan");
        let external: Vec<IpAddr> = (1..=4).map(|last| IpAddr::from([198, 51, 100, last])).collect();
        let external = if super::bench::is_one_to_one(behavior) { &external[..] } else { &external[..1] };
        let narrow = LinkConfig { mtu_bytes, ..LinkConfig::default() };
        let outside = Attachment { link: narrow, ..attachment(internet, "gateway:outside", external, 32) };
        let inside = attachment(lan, "gateway:inside", &[IpAddr::from([10, 0, 0, 1])], 24);
        let gateway = world.gateway("gateway", outside, inside, behavior.clone());
        let mut rig = Rig { world, notes, gateway, hosts: Vec::new(), sockets: Vec::new() };
        for (network, endpoint, prefix) in [(lan, X1, 24), (lan, X2, 24), (internet, Y1, 32), (internet, Y2, 32)] {
            rig.host(network, endpoint, prefix);
        }
        rig
    }

    /// A home behind a provider's NAT, both with 10.0.0.0/24: X1 is at home; a host with its address, and a port of its
    /// own, is at the provider; Y1 is outside. The provider's NAT conforms, and keeps ports.
    pub(super) fn overlapping(behavior: &Arc<Behavior>) -> (Rig, SocketAddr) {
        let (mut world, notes) = observed();
        let internet = world.internet("internet", &[ROUTER]);
        let (outer, inner) = (world.lan("provider"), world.lan("home"));
        let at = |last| [IpAddr::from([10, 0, 0, last])];
        let outside = attachment(internet, "provider:outside", &[IpAddr::from([198, 51, 100, 1])], 32);
        let ports = Ports { allocation: PortAllocation::Preserve, ..Ports::default() };
        let provider = Arc::new(Behavior { ports, ..Behavior::default() });
        world.gateway("provider", outside, attachment(outer, "provider:inside", &at(1), 24), provider);
        let outside = attachment(outer, "home:outside", &at(3), 24);
        let gateway = world.gateway("home", outside, attachment(inner, "home:inside", &at(1), 24), behavior.clone());
        let twin = SocketAddr::new(X1.ip(), 443);
        let mut rig = Rig { world, notes, gateway, hosts: Vec::new(), sockets: Vec::new() };
        for (network, endpoint, prefix) in [(inner, X1, 24), (outer, twin, 24), (internet, Y1, 32)] {
            rig.host(network, endpoint, prefix);
        }
        (rig, twin)
    }

    fn host(&mut self, network: NetworkId, endpoint: SocketAddr, prefix: u8) {
        let uplink = attachment(network, &format!("host-{}", self.hosts.len()), &[endpoint.ip()], prefix);
        let host = self.world.host(&uplink.name.clone(), vec![uplink]);
        host.claim_raw(Protocol::Tcp, endpoint.port());
        let socket = self.world.run_until(host.udp_bind(endpoint));
        self.sockets.extend(socket.into_iter().flatten());
        if let Some(interface) = self.world.interfaces_of(host.node()).next() {
            self.hosts.push((endpoint, host.node(), interface));
        }
    }

    /// The host of this endpoint; where two have one address, its port tells.
    fn find(&self, endpoint: SocketAddr) -> (NodeId, InterfaceId) {
        let exact = self.hosts.iter().find(|(of, ..)| *of == endpoint);
        let (_, node, interface) =
            exact.or_else(|| self.hosts.iter().find(|(of, ..)| of.ip() == endpoint.ip())).expect("a host of the rig");
        (*node, *interface)
    }

    /// A host sends bytes, which need not be a packet; nothing happens yet.
    pub(super) fn inject(&mut self, from: SocketAddr, bytes: Vec<u8>) -> PacketId {
        let (_, interface) = self.find(from);
        self.world.inject(interface, bytes)
    }

    /// A host sends bytes, and a second passes.
    pub(super) fn send(&mut self, from: SocketAddr, bytes: Vec<u8>) -> PacketId {
        let id = self.inject(from, bytes);
        self.wait(Duration::from_secs(1));
        id
    }

    /// Lets time pass.
    pub(super) fn wait(&mut self, duration: Duration) {
        // Its limit on events is far beyond what a judge does.
        self.world.run_for(duration).ok();
    }

    /// A packet as it came to a host, in pieces if it was cut.
    pub(super) fn arrived(&self, id: PacketId, at: SocketAddr) -> Vec<Packet> {
        let (node, _) = self.find(at);
        let notes = self.notes.0.borrow();
        let came = notes.iter().filter(|seen| seen.node == node && seen.id == id && seen.came.is_some());
        came.filter_map(|seen| Packet::parse(seen.bytes.clone()).ok()).collect()
    }

    /// A datagram from a host, which must reach another; as it came there.
    pub(super) fn reaches(&mut self, packet: Packet, from: SocketAddr, at: SocketAddr) -> Result<Packet, String> {
        let (source, to) = (packet.source_endpoint(), packet.destination_endpoint());
        let id = self.send(from, packet.into_bytes());
        let came = self.arrived(id, at).into_iter().next();
        came.ok_or_else(|| format!("a datagram from {source} to {to}{}", self.fate(id)))
    }

    /// What became of a packet at the gateway, in words.
    fn fate(&self, id: PacketId) -> String {
        let notes = self.notes.0.borrow();
        let outcome = notes.iter().find(|seen| seen.node == self.gateway && seen.id == id).and_then(|seen| seen.came);
        match outcome {
            Some(Outcome::Refused(refusal)) => format!(" was dropped ({})", refusal.reason),
            Some(Outcome::Dropped(reason)) => format!(" was dropped ({reason})"),
            _ => " did not arrive".to_owned(),
        }
    }

    /// Whether the gateway sent a packet on, whole or cut.
    pub(super) fn sent_on(&self, id: PacketId) -> bool {
        self.notes.0.borrow().iter().any(|seen| seen.node == self.gateway && seen.id == id && seen.came.is_none())
    }

    /// What the gateway itself told a packet's sender on its account, and how long after it came.
    pub(super) fn answer(&self, id: PacketId) -> Option<(Duration, Packet)> {
        let notes = self.notes.0.borrow();
        let here = || notes.iter().filter(|seen| seen.node == self.gateway);
        let came = here().find(|seen| seen.id == id && seen.came.is_some())?.at;
        let answer = here().find(|seen| seen.cause == Some(id))?;
        // One that came is another's, and was only sent on.
        let packet = answer.came.is_none().then(|| Packet::parse(answer.bytes.clone()).ok())??;
        Some((answer.at - came, packet))
    }
}

fn observed() -> (World, Notes) {
    let (mut world, notes) = (World::new(1), Notes::default());
    world.observe(Box::new(notes.clone()));
    (world, notes)
}

fn attachment(network: NetworkId, name: &str, addresses: &[IpAddr], prefix_len: u8) -> Attachment {
    let addresses = addresses.iter().map(|address| InterfaceAddress { address: *address, prefix_len }).collect();
    Attachment { network, name: name.to_owned(), addresses, link: LinkConfig::default() }
}

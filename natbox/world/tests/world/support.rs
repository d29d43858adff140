//! Parts for the tests: a recorder of notes, addresses, packets, and the usual topologies.

use std::cell::RefCell;
use std::net::{IpAddr, SocketAddr};
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use natbox_host::Host;
use natbox_nat::Behavior;
use natbox_nat::behavior::Filtering;
use natbox_wire::build::{self, IpFields};
use natbox_wire::{ControlEvent, DropReason, ExplicitMapping, Packet, Time};
use natbox_world::note::{Event, LinkFate, Outcome};
use natbox_world::{
    Attachment, InterfaceAddress, InterfaceId, LinkConfig, NetworkId, NodeId, Note, Observer, PacketId, VirtualHost,
    World,
};

pub(crate) const MS: Duration = Duration::from_millis(1);

/// A note that outlives its packet.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Seen {
    Sent {
        at: Time,
        node: NodeId,
        interface: InterfaceId,
        id: PacketId,
        cause: Option<PacketId>,
        bytes: Vec<u8>,
        fate: LinkFate,
    },
    Received {
        at: Time,
        node: NodeId,
        interface: InterfaceId,
        id: PacketId,
        bytes: Vec<u8>,
        outcome: Outcome,
    },
    Dropped {
        at: Time,
        node: NodeId,
        id: PacketId,
        reason: DropReason,
    },
    Released {
        at: Time,
        node: NodeId,
        id: PacketId,
        bytes: Vec<u8>,
        outcome: Outcome,
    },
    Control(ExplicitMapping, ControlEvent),
    Other(Time, NodeId, String),
}

/// What has been noted so far.
#[derive(Clone, Default)]
pub(crate) struct Notes(Rc<RefCell<Vec<Seen>>>);

impl Observer for Notes {
    fn note(&mut self, note: &Note<'_>) {
        let (at, node) = (note.at, note.node);
        self.0.borrow_mut().push(match note.event {
            Event::Sent { interface, packet, fate } => {
                let (id, cause, bytes) = (packet.id, packet.cause, packet.bytes.to_vec());
                Seen::Sent { at, node, interface, id, cause, bytes, fate }
            }
            Event::Received { interface, packet, outcome } => {
                Seen::Received { at, node, interface, id: packet.id, bytes: packet.bytes.to_vec(), outcome }
            }
            Event::Released { packet, outcome } => {
                Seen::Released { at, node, id: packet.id, bytes: packet.bytes.to_vec(), outcome }
            }
            Event::Dropped { packet, reason } => Seen::Dropped { at, node, id: packet.id, reason },
            Event::Control { mapping, what } => Seen::Control(mapping.clone(), what),
            other => Seen::Other(at, node, format!("{other:?}")),
        });
    }
}

impl Notes {
    pub(crate) fn all(&self) -> Vec<Seen> {
        self.0.borrow().clone()
    }

    /// One packet's way: when, at which node, what became of it there.
    pub(crate) fn way(&self, wanted: PacketId) -> Vec<(Time, NodeId, Outcome)> {
        let of = |seen| match seen {
            Seen::Received { at, node, id, outcome, .. } if id == wanted => Some((at, node, outcome)),
            _ => None,
        };
        self.all().into_iter().filter_map(of).collect()
    }

    /// The nodes and outcomes of one packet's way.
    pub(crate) fn outcomes(&self, wanted: PacketId) -> Vec<(NodeId, Outcome)> {
        self.way(wanted).into_iter().map(|(_, node, outcome)| (node, outcome)).collect()
    }

    /// The packets as they came to a node, with their numbers.
    pub(crate) fn received_by(&self, wanted: NodeId) -> Vec<(PacketId, Packet)> {
        let of = |seen| match seen {
            Seen::Received { node, id, bytes, .. } if node == wanted => {
                Some((id, Packet::parse(bytes).expect("a packet")))
            }
            _ => None,
        };
        self.all().into_iter().filter_map(of).collect()
    }

    /// The first packet sent on another's account, with its number and who sent it.
    pub(crate) fn answer_to(&self, wanted: PacketId) -> Option<(PacketId, NodeId, Packet)> {
        self.all().into_iter().find_map(|seen| match seen {
            Seen::Sent { node, id, cause, bytes, .. } if cause == Some(wanted) => {
                Some((id, node, Packet::parse(bytes).expect("a packet")))
            }
            _ => None,
        })
    }

    /// Why a packet died other than on arrival.
    pub(crate) fn drops_of(&self, wanted: PacketId) -> Vec<(NodeId, DropReason)> {
        let of = |seen| match seen {
            Seen::Dropped { node, id, reason, .. } if id == wanted => Some((node, reason)),
            _ => None,
        };
        self.all().into_iter().filter_map(of).collect()
    }

    /// What became of a packet that a gateway had held: when, where, with which bytes it had come.
    pub(crate) fn releases_of(&self, wanted: PacketId) -> Vec<(Time, NodeId, Vec<u8>, Outcome)> {
        let of = |seen| match seen {
            Seen::Released { at, node, id, bytes, outcome } if id == wanted => Some((at, node, bytes, outcome)),
            _ => None,
        };
        self.all().into_iter().filter_map(of).collect()
    }

    /// What happened to mappings that were asked for, in order.
    pub(crate) fn control(&self) -> Vec<(ExplicitMapping, ControlEvent)> {
        let of = |seen| match seen {
            Seen::Control(mapping, what) => Some((mapping, what)),
            _ => None,
        };
        self.all().into_iter().filter_map(of).collect()
    }

    /// What links did to a packet, in order.
    pub(crate) fn fates(&self, wanted: PacketId) -> Vec<LinkFate> {
        let of = |seen| match seen {
            Seen::Sent { id, fate, .. } if id == wanted => Some(fate),
            _ => None,
        };
        self.all().into_iter().filter_map(of).collect()
    }
}

pub(crate) fn ip(address: &str) -> IpAddr {
    address.parse().expect("an address")
}

pub(crate) fn endpoint(endpoint: &str) -> SocketAddr {
    endpoint.parse().expect("an endpoint")
}

pub(crate) fn ms(millis: u64) -> Time {
    Time::ZERO + MS * millis as u32
}

pub(crate) fn link(latency_ms: u32) -> LinkConfig {
    LinkConfig { latency: MS * latency_ms, ..LinkConfig::default() }
}

/// An attachment with addresses like `10.0.0.2/24`.
pub(crate) fn attachment(network: NetworkId, name: &str, addresses: &[&str], link: LinkConfig) -> Attachment {
    let addresses = addresses.iter().map(|address| {
        let (address, prefix_len) = address.split_once('/').expect("a prefix length");
        InterfaceAddress { address: ip(address), prefix_len: prefix_len.parse().expect("a prefix length") }
    });
    Attachment { network, name: name.to_owned(), addresses: addresses.collect(), link }
}

/// A UDP datagram of `length` payload bytes.
pub(crate) fn udp(source: &str, destination: &str, fields: IpFields, length: usize) -> Vec<u8> {
    let packet = build::udp(endpoint(source), endpoint(destination), fields, &vec![0x55; length]);
    packet.expect("endpoints of one version").into_bytes()
}

/// An echo request.
pub(crate) fn ping(source: &str, destination: &str, ttl: u8) -> Vec<u8> {
    let fields = IpFields { ttl, ..IpFields::default() };
    build::echo(true, ip(source), ip(destination), fields, 7, 1, b"natbox").expect("one version").into_bytes()
}

pub(crate) fn open_behavior() -> Arc<Behavior> {
    Arc::new(Behavior::default())
}

pub(crate) fn strict_behavior() -> Arc<Behavior> {
    Arc::new(Behavior { filtering: Filtering::AddressAndPortDependent.into(), ..Behavior::default() })
}

/// A server on the Internet and a host behind a gateway: alice 10.0.0.2, home 10.0.0.1 and 198.18.0.2, server
/// 198.18.0.9, core 198.18.0.1; likewise in IPv6 (2001:db8:1::/64 behind the gateway).
pub(crate) struct Home {
    pub(crate) world: World,
    pub(crate) notes: Notes,
    pub(crate) internet: NetworkId,
    pub(crate) core: NodeId,
    pub(crate) home: NodeId,
    pub(crate) alice: NodeId,
    pub(crate) server: NodeId,
    hosts: [VirtualHost; 2],
    pub(crate) alice_interface: InterfaceId,
    pub(crate) server_interface: InterfaceId,
    pub(crate) home_outside: InterfaceId,
}

/// The links of [`Home`].
#[derive(Clone, Default)]
pub(crate) struct Links {
    pub(crate) alice: LinkConfig,
    pub(crate) home: LinkConfig,
    pub(crate) server: LinkConfig,
}

pub(crate) fn home(seed: u64, links: Links, behavior: Arc<Behavior>) -> Home {
    let mut world = World::new(seed);
    let notes = Notes::default();
    world.observe(Box::new(notes.clone()));
    let internet = world.internet("internet", &[ip("198.18.0.1"), ip("2001:db8::1")]);
    let lan = world.lan("home");
    let outside = attachment(internet, "home:outside", &["198.18.0.2/15", "2001:db8::2/64"], links.home);
    let inside = attachment(lan, "home:inside", &["10.0.0.1/24", "2001:db8:1::1/64"], LinkConfig::default());
    let home = world.gateway("home", outside, inside, behavior);
    let alice = attachment(lan, "alice", &["10.0.0.2/24", "2001:db8:1::2/64"], links.alice);
    let alice_host = world.host("alice", vec![alice]);
    let server = attachment(internet, "server", &["198.18.0.9/15", "2001:db8::9/64"], links.server);
    let server_host = world.host("server", vec![server]);
    let (alice, server) = (alice_host.node(), server_host.node());
    let interface = |node| world.interfaces_of(node).next().expect("an interface");
    let (home_outside, alice_interface, server_interface) = (interface(home), interface(alice), interface(server));
    world.route(internet, "2001:db8:1::/64".parse().expect("a prefix"), home_outside);
    let core = world.router_of(internet).expect("a router");
    Home {
        world,
        notes,
        internet,
        core,
        home,
        alice,
        server,
        hosts: [alice_host, server_host],
        alice_interface,
        server_interface,
        home_outside,
    }
}

impl Home {
    /// `alice` or `server`.
    pub(crate) fn host(&self, name: &str) -> VirtualHost {
        self.hosts.iter().find(|host| host.name() == name).expect("alice or server").clone()
    }

    /// Injects a packet and lets everything happen that follows within a second.
    pub(crate) fn send(&mut self, interface: InterfaceId, bytes: Vec<u8>) -> PacketId {
        let id = self.world.inject(interface, bytes);
        self.world.run_for(Duration::from_secs(1)).expect("no storm");
        id
    }
}

/// The mapping number in a translation's outcome.
pub(crate) fn is_translated(outcome: Outcome) -> bool {
    matches!(outcome, Outcome::Translated(_))
}

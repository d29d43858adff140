//! The world that a plan describes, and who is who in it.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::net::IpAddr;
use std::rc::Rc;

use natbox_host::Host as _;
use natbox_world::note::{InterfaceId, NodeId};
use natbox_world::{Attachment, InterfaceAddress, LinkConfig, NetworkId, VirtualHost, World};

use crate::anyhost::{Any, AnyHost};
use crate::plan::{Host, Nat, Network, Plan, Uplink};
use crate::record::{Limits, Names, NodeKind, Recorder};
use crate::words::Switch;

/// The name of the public network and of its router.
pub const INTERNET: &str = "internet";

/// A built lab: the world, and the names of what is in it. [`Lab::start`](crate::Lab::start) gives one whose servers run;
/// in that of [`Plan::build`] no program runs yet.
///
/// A program of one's own on the network of a topology, and a capture of what it did:
///
/// ```
/// use std::io;
/// use std::net::SocketAddr;
///
/// use natbox::host::{Host, Received, UdpSocket};
/// use natbox::record::Limits;
/// use natbox::{Lab, capture};
///
/// async fn say(host: impl Host, to: SocketAddr) -> io::Result<()> {
///     let socket = host.udp_bind(SocketAddr::from(([0, 0, 0, 0], 0))).await?;
///     socket.send_to(b"hello", to).await.map(drop)
/// }
///
/// async fn hear(host: impl Host, at: SocketAddr) -> io::Result<Received> {
///     host.udp_bind(at).await?.recv_from(&mut [0; 1500]).await
/// }
///
/// let lab = Lab::from_yaml("
/// nats: { home: symmetric }
/// hosts: { alice: { behind: home }, server: { address: 198.18.0.9 } }
/// ")?;
/// let mut built = lab.start()?;
/// let recorder = built.record(Limits::CAPTURE);
///
/// let (alice, server) = (built.host("alice").ok_or("no alice")?, built.host("server").ok_or("no server")?);
/// let meet = SocketAddr::from(([198, 18, 0, 9], 9));
/// built.world.spawn(async move { say(alice, meet).await.expect("alice can send") });
/// let heard = built.world.run_until(hear(server, meet))??;
/// assert_eq!(heard.source.ip(), built.addresses("home")[0], "the NAT's address, not alice's");
/// assert_eq!(heard.at.to_string(), "0.020s");
///
/// let written = capture::write(&mut Vec::new(), &recorder.take(), &built.names)?;
/// assert_eq!(written.packets, 4, "once for every interface that saw it");
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub struct Built {
    /// The world.
    pub world: World,
    /// The names of its nodes and interfaces.
    pub names: Names,
    machines: BTreeMap<String, Machine>,
    internet: NetworkId,
    /// The network behind each NAT.
    lans: Vec<NetworkId>,
    pub(crate) trouble: Trouble,
}

/// What went wrong with programs that nobody waits for.
#[derive(Clone, Default)]
pub(crate) struct Trouble(Rc<RefCell<Vec<String>>>);

impl Trouble {
    pub(crate) fn add(&self, trouble: String) {
        self.0.borrow_mut().push(trouble);
    }
}

/// A host or gateway of a built lab.
pub(crate) struct Machine {
    pub(crate) node: NodeId,
    /// Its uplinks, in order; of a gateway, its outside.
    pub(crate) uplinks: Vec<InterfaceId>,
    /// Its addresses, in order; of a gateway, the external ones.
    pub(crate) addresses: Vec<IpAddr>,
    /// The host, if it is one whose programs the world runs.
    pub(crate) host: Option<AnyHost>,
}

impl Built {
    /// The host of this name.
    pub fn host(&self, name: &str) -> Option<VirtualHost> {
        match self.any_host(name)? {
            Any::Virtual(host) => Some(host),
            Any::Real(_) => None,
        }
    }

    /// The host of this name, if the world runs its programs.
    pub(crate) fn any_host(&self, name: &str) -> Option<AnyHost> {
        self.machines.get(name)?.host.clone()
    }

    /// The addresses of this host, or the external ones of this NAT; none if nothing is called so.
    pub fn addresses(&self, name: &str) -> &[IpAddr] {
        self.machines.get(name).map_or(&[], |machine| &machine.addresses)
    }

    /// Gives a host that is an outlet the programs' side of its machine.
    #[cfg(target_os = "linux")]
    pub(crate) fn settle(&mut self, name: &str, real: impl FnOnce(&World, NodeId) -> crate::anyhost::RealHost) {
        if let Some(machine) = self.machines.get_mut(name) {
            machine.host = Some(Any::Real(real(&self.world, machine.node)));
        }
    }

    /// Records everything that happens from now on: see [`crate::capture::save`] and [`Recorder::log`].
    pub fn record(&mut self, limits: Limits) -> Recorder {
        let recorder = Recorder::new(limits);
        self.world.observe(Box::new(recorder.clone()));
        recorder
    }

    /// Why servers of the lab have stopped that should be running, since this was last asked.
    pub fn trouble(&self) -> Vec<String> {
        self.trouble.0.take()
    }

    /// The node of this host, NAT or router.
    pub fn node(&self, name: &str) -> Option<NodeId> {
        self.machines.get(name).map(|machine| machine.node).or_else(|| self.names.find(name))
    }

    /// The world's number of a network of the plan.
    #[cfg(target_os = "linux")]
    pub(crate) fn network(&self, network: Network) -> NetworkId {
        match network {
            Network::Internet => self.internet,
            Network::Behind(index) => self.lans[index],
        }
    }

    /// Takes the first uplink of a host to another network of the plan, where it has these addresses.
    pub(crate) fn take_to(&mut self, plan: &Plan, host: &str, network: Network, addresses: &[IpAddr]) {
        let networks = Networks { plan, internet: self.internet, lans: self.lans.clone() };
        let Some(machine) = self.machines.get_mut(host) else { return };
        let own = addresses.iter().map(|address| networks.on_link(network, *address)).collect();
        self.world.reattach(machine.node, 0, networks.id(network), own);
        machine.addresses = match &machine.host {
            Some(Any::Virtual(known)) => known.addresses(),
            _ => machine
                .uplinks
                .iter()
                .flat_map(|uplink| self.world.addresses_of(*uplink))
                .map(|own| own.address)
                .collect(),
        };
    }

    pub(crate) fn machine(&self, name: &str) -> Option<&Machine> {
        self.machines.get(name)
    }

    pub(crate) fn machine_mut(&mut self, name: &str) -> Option<&mut Machine> {
        self.machines.get_mut(name)
    }
}

impl Plan {
    /// Builds the world of this plan. All its chance comes from `seed`.
    pub fn build(&self, seed: u64) -> Built {
        self.build_with(seed, &|_| false)
    }

    /// As [`Plan::build`], but hosts that are not simulated are outlets.
    pub(crate) fn build_with(&self, seed: u64, is_real: &dyn Fn(&Host) -> bool) -> Built {
        let mut world = World::new(seed);
        let internet = world.internet(INTERNET, &self.internet.router);
        let lans: Vec<NetworkId> = self.nats.iter().map(|nat| world.lan(&format!("{}:inside", nat.name))).collect();
        for (nat, lan) in self.nats.iter().zip(&lans) {
            if nat.inside.client_isolation == Switch::On {
                world.isolate(*lan);
            }
        }
        let mut built = Built {
            world,
            names: Names::new(),
            machines: BTreeMap::new(),
            internet,
            lans: lans.clone(),
            trouble: Trouble::default(),
        };
        if let Some(router) = built.world.router_of(internet) {
            built.names.add_node(router, INTERNET, NodeKind::Network, &self.internet.router);
        }
        let networks = Networks { plan: self, internet, lans };
        for index in self.outermost_first() {
            networks.add_nat(&mut built, index, &self.nats[index]);
        }
        for host in &self.hosts {
            networks.add_host(&mut built, host, is_real(host));
        }
        networks.add_routes(&mut built);
        built
    }

    /// The NATs, each after the one that it is behind: a network's hosts take the gateway that is there already.
    fn outermost_first(&self) -> Vec<usize> {
        let parent = |index: &usize| match self.nats[*index].outside.network {
            Network::Internet => None,
            Network::Behind(parent) => Some(parent),
        };
        let mut order: Vec<usize> = (0..self.nats.len()).collect();
        order.sort_by_cached_key(|index| std::iter::successors(parent(index), parent).count());
        order
    }
}

/// The networks of the world under construction.
struct Networks<'a> {
    plan: &'a Plan,
    internet: NetworkId,
    lans: Vec<NetworkId>,
}

impl Networks<'_> {
    fn id(&self, network: Network) -> NetworkId {
        match network {
            Network::Internet => self.internet,
            Network::Behind(index) => self.lans[index],
        }
    }

    /// How long the prefix of an address on a network is.
    fn on_link(&self, network: Network, address: IpAddr) -> InterfaceAddress {
        let (v4, v6) = match network {
            // A link of the public network reaches its router and nobody else.
            Network::Internet => (32, 128),
            Network::Behind(index) => {
                let lan = &self.plan.nats[index].inside;
                (lan.prefix.prefix_len(), lan.prefix6.map_or(64, |prefix| prefix.prefix_len()))
            }
        };
        InterfaceAddress { address, prefix_len: if address.is_ipv4() { v4 } else { v6 } }
    }

    fn attachment(&self, name: String, network: Network, addresses: &[IpAddr], link: LinkConfig) -> Attachment {
        let addresses = addresses.iter().map(|address| self.on_link(network, *address)).collect();
        Attachment { network: self.id(network), name, addresses, link }
    }

    fn add_nat(&self, built: &mut Built, index: usize, nat: &Nat) {
        let (outside, inside) = (format!("{}:outside", nat.name), format!("{}:inside", nat.name));
        let up = self.attachment(outside, nat.outside.network, &nat.outside.addresses, nat.outside.link.clone());
        let down = self.attachment(inside, Network::Behind(index), &nat.inside.gateway, LinkConfig::default());
        let node = built.world.gateway(&nat.name, up, down, nat.behavior.clone());
        let kind = NodeKind::Nat(nat.behavior.clone());
        let addresses = nat.outside.addresses.clone();
        self.add(built, &nat.name, node, kind, Machine { node, uplinks: Vec::new(), addresses, host: None });
    }

    fn add_host(&self, built: &mut Built, host: &Host, is_real: bool) {
        let uplinks = host.uplinks.iter().map(|uplink| self.uplink(host, uplink)).collect();
        let (node, virtual_host) = if is_real {
            (built.world.outlet(&host.name, uplinks), None)
        } else {
            let virtual_host = built.world.host(&host.name, uplinks);
            (virtual_host.node(), Some(Any::Virtual(virtual_host)))
        };
        let addresses = host.addresses().collect();
        let machine = Machine { node, uplinks: Vec::new(), addresses, host: virtual_host };
        self.add(built, &host.name, node, NodeKind::Host, machine);
    }

    /// A host's only uplink bears its name; of several, each bears that of its network too.
    fn uplink(&self, host: &Host, uplink: &Uplink) -> Attachment {
        let name = match (host.uplinks.len(), uplink.network) {
            (1, _) | (_, Network::Internet) => host.name.clone(),
            (_, Network::Behind(index)) => format!("{}:{}", host.name, self.plan.nats[index].name),
        };
        self.attachment(name, uplink.network, &uplink.addresses, uplink.link.clone())
    }

    fn add(&self, built: &mut Built, name: &str, node: NodeId, kind: NodeKind, mut machine: Machine) {
        let interfaces: Vec<InterfaceId> = built.world.interfaces_of(node).collect();
        for interface in &interfaces {
            built.names.add_interface(*interface, &built.world.interface_name(*interface), node);
        }
        let uplinks = if kind == NodeKind::Host { interfaces.len() } else { 1 };
        machine.uplinks = interfaces.into_iter().take(uplinks).collect();
        built.names.add_node(node, name, kind, &machine.addresses);
        built.machines.insert(name.to_owned(), machine);
    }

    fn add_routes(&self, built: &mut Built) {
        let mut doors = BTreeMap::new();
        for nat in &self.plan.nats {
            let door = built.machine(&nat.name).and_then(|machine| machine.uplinks.first().copied());
            doors.extend(nat.outside.addresses.iter().map(|address| ((nat.outside.network, *address), door)));
        }
        for route in &self.plan.routes {
            if let Some(Some(door)) = doors.get(&(route.network, route.via)) {
                built.world.route(self.id(route.network), route.prefix, *door);
            }
        }
    }
}

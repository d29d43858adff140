//! The world as its users see it: built part by part, observed, changed, run.
//!
//! Parts are attached in the order of the wires: a network first, then the gateway that leads out of it, then its
//! hosts, which take that gateway for their default. Nothing is checked here that a topology file's loader checks:
//! of two interfaces with one address the first keeps it.

mod view;

use std::cell::RefCell;
use std::future::Future;
use std::net::IpAddr;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use futures::executor::LocalPool;
use ipnet::IpNet;
use natbox_nat::{Behavior, Nat};
use natbox_wire::{ExplicitMapping, MapRefusal, MapRequest, Time};

use crate::attach::{Attachment, InterfaceAddress, NetworkId};
use crate::executor::{self, Stalled};
use crate::gateway::Gateway;
use crate::host::VirtualHost;
use crate::host::control::VirtualGateway;
use crate::link::LinkConfig;
use crate::network::Kind;
use crate::note::{InterfaceId, NodeId, Observer, PacketId};
use crate::outside::Outside;
use crate::programs::Programs;
use crate::refusal::{NotAGateway, NotReconfigured};
use crate::stack::{Stack, UplinkConfig};
use crate::state::{Body, Calls, Door, Host, State};
use crate::stream::stream;

/// Events that one call may let happen, unless [`World::limit_events`] says otherwise.
const EVENT_LIMIT: u64 = 50_000_000;

/// A simulated network and the programs on its hosts.
///
/// ```
/// use natbox_host::{Host, UdpSocket};
/// use natbox_world::{Attachment, InterfaceAddress, LinkConfig, World};
///
/// let mut world = World::new(7);
/// let internet = world.internet("internet", &["198.18.0.1".parse()?]);
/// let mut host = |name: &str, address: &str| {
///     let address = InterfaceAddress { address: address.parse().expect("an address"), prefix_len: 15 };
///     let link = LinkConfig { latency: std::time::Duration::from_millis(10), ..LinkConfig::default() };
///     world.host(name, vec![Attachment { network: internet, name: name.into(), addresses: vec![address], link }])
/// };
/// let (alice, server) = (host("alice", "198.18.0.2"), host("server", "198.18.0.9"));
/// let received = world.run_until(async {
///     let listener = server.udp_bind("198.18.0.9:53".parse().unwrap()).await?;
///     let socket = alice.udp_bind("0.0.0.0:0".parse().unwrap()).await?;
///     socket.send_to(b"hello", "198.18.0.9:53".parse().unwrap()).await?;
///     listener.recv_from(&mut [0; 16]).await
/// })??;
/// assert_eq!((received.length, received.ttl), (5, 63));
/// assert_eq!(world.now().to_string(), "0.020s");
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
///
/// Single-threaded; many worlds run beside one another on many threads, each built where it runs.
pub struct World {
    // Dropped first: programs hold sockets, and closing those needs the state.
    pool: LocalPool,
    state: Rc<RefCell<State>>,
    event_limit: u64,
}

impl World {
    /// An empty world. All its chance comes from `seed`.
    pub fn new(seed: u64) -> World {
        let pool = LocalPool::new();
        let state = Rc::new(RefCell::new(State::new(seed, pool.spawner())));
        World { pool, state, event_limit: EVENT_LIMIT }
    }

    /// Tells `observer` everything that happens from now on. Nothing else about the world changes by it.
    pub fn observe(&mut self, observer: Box<dyn Observer>) {
        self.state.borrow_mut().observe(observer);
    }

    /// How many events one call of [`run_until`](World::run_until) or [`run_for`](World::run_for) may let happen.
    pub fn limit_events(&mut self, events: u64) {
        self.event_limit = events;
    }

    /// How many calls the programs of one host may make while nothing else happens: programs on one host that feed each
    /// other take no time.
    pub fn limit_calls(&mut self, calls: u64) {
        self.state.borrow_mut().pace.limit = calls;
    }

    /// How many packets and timers may be pending at once.
    pub fn limit_pending(&mut self, events: usize) {
        self.state.borrow_mut().pending_limit = events;
    }

    /// A public network: a router, and a link to it for everyone attached. The router answers to `addresses` and sends
    /// its ICMP errors from them.
    pub fn internet(&mut self, name: &str, addresses: &[IpAddr]) -> NetworkId {
        let state = &mut *self.state.borrow_mut();
        let node = state.add_node(name, &[], Body::Core);
        state.fabric.add_network(name, Kind::Core { node, addresses: addresses.into() })
    }

    /// A local network: a switch. It has no address, takes nothing from the TTL, and stands in no note.
    pub fn lan(&mut self, name: &str) -> NetworkId {
        self.state
            .borrow_mut()
            .fabric
            .add_network(name, Kind::Lan { gateway: None, attached: Vec::new(), isolated: false })
    }

    /// Isolates the clients of a local network, as access points do: nobody reaches anybody there but the gateway.
    pub fn isolate(&mut self, network: NetworkId) {
        self.state.borrow_mut().fabric.isolate(network);
    }

    /// A gateway with a NAT. All addresses of `outside` are external addresses; the first gateway attached to a
    /// local network leads out of it.
    pub fn gateway(&mut self, name: &str, outside: Attachment, inside: Attachment, behavior: Arc<Behavior>) -> NodeId {
        let state = &mut *self.state.borrow_mut();
        let external: Vec<IpAddr> = outside.addresses.iter().map(|own| own.address).collect();
        let mut nat = Nat::new(behavior, &external, stream(state.seed, &["nat/", name, "/ports"]));
        nat.set_inside(&inside.addresses.iter().map(|own| own.address).collect::<Vec<IpAddr>>());
        let node = state.next_node();
        let outside = state.fabric.attach(node, outside, state.seed);
        let inside = state.fabric.attach(node, inside, state.seed);
        state.fabric.make_gateway(inside);
        state.add_node(name, &[outside, inside], Body::Gateway(Box::new(Gateway::new(nat, inside, outside))))
    }

    /// A host with an uplink for each attachment, the first being its default.
    pub fn host(&mut self, name: &str, uplinks: Vec<Attachment>) -> VirtualHost {
        let state = &mut *self.state.borrow_mut();
        let node = state.next_node();
        let configs = uplinks.iter().map(|uplink| state.uplink(uplink)).collect();
        let interfaces: Vec<InterfaceId> =
            uplinks.into_iter().map(|uplink| state.fabric.attach(node, uplink, state.seed)).collect();
        let stack = Stack::new(configs, stream(state.seed, &["host/", name]));
        let node = state.add_node(
            name,
            &interfaces,
            Body::Host(Box::new(Host { stack, streams: 0, calls: Calls::default() })),
        );
        VirtualHost::new(self.state.clone(), node)
    }

    /// A way to a machine that is not simulated, with an uplink for each attachment: what the world brings to it goes to
    /// the world's [`Outside`], and what comes from there is sent as if this node had. In a world that has none it is a
    /// host that is switched off.
    pub fn outlet(&mut self, name: &str, uplinks: Vec<Attachment>) -> NodeId {
        let state = &mut *self.state.borrow_mut();
        let node = state.next_node();
        let attach = |uplink| state.fabric.attach(node, uplink, state.seed);
        let interfaces: Vec<InterfaceId> = uplinks.into_iter().map(attach).collect();
        state.add_node(name, &interfaces, Body::Outlet)
    }

    /// What programs of this node that bring sockets of their own share with the world.
    pub fn programs(&self, node: NodeId) -> Programs {
        Programs::new(self.state.clone(), node)
    }

    /// From now on the world waits where it jumped before: see [`Outside`]. Runs are limited by nothing but the clock, and
    /// packets that would be too many on the way are dropped. Programs are to be started after this call.
    pub fn open(&mut self, outside: Box<dyn Outside>) {
        self.state.borrow_mut().door = Some(Door::new(outside));
    }

    /// The machine that a gateway is itself, at its inside addresses: programs on it are reached from inside alone, and may
    /// ask the NAT for mappings. A gateway whose machine nobody asks for has none, and costs nothing for it.
    ///
    /// # Errors
    /// If the node is no gateway.
    pub fn gateway_machine(&self, node: NodeId) -> Result<VirtualGateway, NotAGateway> {
        self.state.borrow_mut().make_machine(node)?;
        Ok(VirtualGateway::new(VirtualHost::new(self.state.clone(), node)))
    }

    /// The live mappings of a gateway's NAT that were asked for, in the order of their numbers; none for other nodes.
    pub fn explicit(&self, node: NodeId) -> Vec<ExplicitMapping> {
        self.state.borrow_mut().explicit(node)
    }

    /// Asks a gateway's NAT for a mapping, as its owner does.
    ///
    /// # Errors
    /// Why there is none.
    pub fn map(&self, node: NodeId, request: &MapRequest) -> Result<ExplicitMapping, MapRefusal> {
        self.state.borrow_mut().map(node, request)
    }

    /// Takes an uplink of a host or an outlet to another network, where it has these addresses. What is under way to the old ones arrives
    /// and is for nobody; sockets on them stay, and cannot send any more. The link is the same.
    ///
    /// Nothing happens to the uplinks of other nodes.
    pub fn reattach(
        &mut self,
        host: impl Into<NodeId>,
        uplink: usize,
        network: NetworkId,
        addresses: Vec<InterfaceAddress>,
    ) {
        self.state.borrow_mut().reattach(host.into(), uplink, network, addresses);
    }

    /// Has the default route of a host lead through this one of its uplinks. What is behind an outlet sees to its own.
    pub fn prefer(&mut self, host: impl Into<NodeId>, uplink: usize) {
        self.state.borrow_mut().prefer(host.into(), uplink);
    }

    /// Leads `prefix` to an interface of this network: what lies behind a gateway that does not translate.
    pub fn route(&mut self, network: NetworkId, prefix: IpNet, via: InterfaceId) {
        self.state.borrow_mut().fabric.add_route(network, prefix, via);
    }
}

/// Running.
impl World {
    /// The time.
    pub fn now(&self) -> Time {
        self.state.borrow().now()
    }

    /// Runs a program beside the others, on no host.
    pub fn spawn(&mut self, program: impl Future<Output = ()> + 'static) {
        self.state.borrow().spawn(program);
    }

    /// Runs programs and lets events happen until `future` is done. It need not outlive the call, and goes first
    /// whenever it can go on.
    ///
    /// # Panics
    ///
    /// On a thread that is inside another of the `futures` crate's executors (`block_on` among them).
    pub fn run_until<F: Future>(&mut self, future: F) -> Result<F::Output, Stalled> {
        executor::run_until(&mut self.pool, &self.state, self.event_limit, future)
    }

    /// Runs programs and lets events happen for this long, then leaves the clock there.
    pub fn run_for(&mut self, duration: Duration) -> Result<(), Stalled> {
        executor::run_for(&mut self.pool, &self.state, self.event_limit, duration)
    }

    /// Sends bytes from an interface as if its node had; they need not be a packet.
    pub fn inject(&mut self, interface: InterfaceId, bytes: Vec<u8>) -> PacketId {
        self.state.borrow_mut().inject(interface, bytes)
    }

    /// A gateway loses all state, as in a power cut.
    pub fn reboot(&mut self, node: NodeId) -> Result<(), NotAGateway> {
        self.state.borrow_mut().reboot(node)
    }

    /// A gateway gets other external addresses; mappings on the old ones end. They keep the prefix length of the
    /// first old one of their version; a version that is not spoken of keeps its addresses.
    pub fn readdress(&mut self, node: NodeId, external: &[IpAddr]) -> Result<(), NotAGateway> {
        self.state.borrow_mut().readdress(node, external)
    }

    /// A gateway's NAT behaves otherwise from now on; what it has goes on, as [`Nat::reconfigure`] says.
    ///
    /// # Errors
    /// It is no gateway, or the behaviours differ in what cannot change. Nothing has changed then.
    pub fn reconfigure(&mut self, node: NodeId, behavior: Arc<Behavior>) -> Result<(), NotReconfigured> {
        self.state.borrow_mut().reconfigure(node, behavior)
    }

    /// Gives an interface's link other properties, but for its MTU, which stays. What is under way or waits arrives as if
    /// nothing had happened; what comes later does not overtake it by that alone.
    pub fn relink(&mut self, interface: InterfaceId, link: LinkConfig) {
        self.state.borrow_mut().relink(interface, link);
    }

    /// Cuts an interface's link: nothing enters it any more, from either end. What is under way arrives.
    pub fn cut(&mut self, interface: InterfaceId) {
        self.state.borrow_mut().set_cut(interface, true);
    }

    /// Mends an interface's link.
    pub fn mend(&mut self, interface: InterfaceId) {
        self.state.borrow_mut().set_cut(interface, false);
    }
}

impl State {
    /// What a host will know of this uplink.
    fn uplink(&self, uplink: &Attachment) -> UplinkConfig {
        UplinkConfig {
            addresses: uplink.addresses.clone(),
            gateway_v4: self.fabric.default_gateway(uplink.network, false),
            gateway_v6: self.fabric.default_gateway(uplink.network, true),
            mtu_bytes: uplink.link.mtu_bytes,
        }
    }
}

//! A home with two hosts behind a gateway that speaks port control, and a server outside.

use std::future::Future;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use futures::future::{Either, select};
use natbox_host::{Host, PortControl, UdpSocket};
use natbox_nat::Behavior;
use natbox_nat::behavior::{Filtering, Mapping, PortAllocation};
use natbox_probes::portmap::server::{self, Config};
use natbox_probes::portmap::{Control, Wish};
use natbox_wire::{ExplicitMapping, MapRequest, MappedBy, Protocol};
use natbox_world::{Attachment, InterfaceAddress, LinkConfig, NodeId, VirtualGateway, VirtualHost, World};

pub(crate) fn at(endpoint: &str) -> SocketAddr {
    endpoint.parse().expect("an endpoint")
}

pub(crate) fn ip(address: &str) -> IpAddr {
    address.parse().expect("an address")
}

pub(crate) fn seconds(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

pub(crate) const PATIENCE: Duration = Duration::from_secs(60);

pub(crate) struct Home {
    pub(crate) world: World,
    pub(crate) node: NodeId,
    pub(crate) gateway: VirtualGateway,
    pub(crate) alice: VirtualHost,
    pub(crate) bob: VirtualHost,
    pub(crate) server: VirtualHost,
}

/// The strictest of NATs.
pub(crate) fn symmetric() -> Behavior {
    let mut behavior = Behavior {
        mapping: Mapping::AddressAndPortDependent.into(),
        filtering: Filtering::AddressAndPortDependent.into(),
        ..Behavior::default()
    };
    behavior.ports.allocation = PortAllocation::Random;
    behavior
}

pub(crate) fn attachment(world: natbox_world::NetworkId, name: &str, address: &str, prefix_len: u8) -> Attachment {
    let addresses = vec![InterfaceAddress { address: ip(address), prefix_len }];
    Attachment { network: world, name: name.into(), addresses, link: LinkConfig::default() }
}

/// A home whose gateway speaks these.
pub(crate) fn home(speaks: &[Control]) -> Home {
    home_with(symmetric(), Config::new(speaks.iter().copied()))
}

pub(crate) fn home_with(behavior: Behavior, config: Config) -> Home {
    let mut world = World::new(7);
    let internet = world.internet("internet", &[ip("198.18.0.1")]);
    let lan = world.lan("home");
    let outside = attachment(internet, "home:outside", "198.18.0.2", 15);
    let node = world.gateway("home", outside, attachment(lan, "home:inside", "10.0.0.1", 24), Arc::new(behavior));
    let alice = world.host("alice", vec![attachment(lan, "alice", "10.0.0.2", 24)]);
    let bob = world.host("bob", vec![attachment(lan, "bob", "10.0.0.3", 24)]);
    let server = world.host("server", vec![attachment(internet, "server", "198.18.0.9", 15)]);
    let gateway = world.gateway_machine(node).expect("a gateway");
    let (machine, control) = (gateway.host(), gateway.clone());
    world.spawn(async move {
        let Err(error) = server::serve(machine, control, config).await;
        panic!("{error}");
    });
    Home { world, node, gateway, alice, bob, server }
}

impl Home {
    pub(crate) fn run<F: Future>(&mut self, future: F) -> F::Output {
        self.world.run_until(future).expect("no stall")
    }

    pub(crate) fn wait(&mut self, duration: Duration) {
        self.world.run_for(duration).expect("no stall");
    }

    /// Sends a datagram to an endpoint; the answer that comes within a second, and from where.
    pub(crate) fn ask_at(&mut self, host: &VirtualHost, to: &str, bytes: &[u8]) -> Option<(SocketAddr, Vec<u8>)> {
        let (host, to) = (host.clone(), at(to));
        self.run(async move {
            let socket = host.udp_bind(at("0.0.0.0:0")).await.expect("free");
            socket.send_to(bytes, to).await.expect("sent");
            let mut buffer = [0; 1500];
            let received = {
                let answer = std::pin::pin!(socket.recv_from(&mut buffer));
                let end = std::pin::pin!(host.sleep(seconds(1)));
                let Either::Left((received, _)) = select(answer, end).await else { return None };
                received.expect("no error")
            };
            Some((received.source, buffer[..received.length].to_vec()))
        })
    }

    /// As [`Home::ask_at`], of port control at the gateway.
    pub(crate) fn ask(&mut self, host: &VirtualHost, bytes: &[u8]) -> Option<Vec<u8>> {
        self.ask_at(host, "10.0.0.1:5351", bytes).map(|(_, bytes)| bytes)
    }

    pub(crate) fn mappings(&self) -> Vec<ExplicitMapping> {
        self.gateway.explicit()
    }

    /// Whether a datagram from the server to an external endpoint comes to this port of a host.
    pub(crate) fn reaches(&mut self, external: SocketAddr, host: &VirtualHost, port: u16) -> bool {
        let (server, host) = (self.server.clone(), host.clone());
        self.run(async move {
            let ear = host.udp_bind(SocketAddr::new(ip("0.0.0.0"), port)).await.expect("free");
            let mouth = server.udp_bind(at("0.0.0.0:0")).await.expect("free");
            mouth.send_to(b"hello", external).await.expect("sent");
            let mut buffer = [0; 16];
            let heard = std::pin::pin!(ear.recv_from(&mut buffer));
            let end = std::pin::pin!(host.sleep(seconds(1)));
            matches!(select(heard, end).await, Either::Left((Ok(_), _)))
        })
    }

    /// A person forwards a port.
    pub(crate) fn forward(&mut self, internal: &str, external_port: u16) {
        let request = MapRequest {
            protocol: Protocol::Udp,
            internal: at(internal),
            external_address: None,
            external_port,
            exact: true,
            remote: None,
            filters: Vec::new(),
            lifetime: None,
            pair: false,
            by: MappedBy::Static,
        };
        self.gateway.map(&request).expect("free");
    }
}

/// Alice wants a UDP port.
pub(crate) fn wish(port: u16) -> Wish {
    let internal = SocketAddr::new(ip("10.0.0.2"), port);
    Wish { protocol: Protocol::Udp, internal, external_port: 0, lifetime: seconds(7200) }
}

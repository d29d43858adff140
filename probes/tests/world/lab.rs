//! A small lab: public servers, homes behind NATs, homes behind homes.

use std::future::Future;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use natbox_host::Host;
use natbox_nat::Behavior;
use natbox_nat::behavior::{Filtering, Hairpin, Mapping};
use natbox_probes::connect::{self, Service};
use natbox_probes::rendezvous::{self, Limits};
use natbox_probes::{stun, turn};
use natbox_world::{Attachment, InterfaceAddress, LinkConfig, NetworkId, NodeId, VirtualHost, World};

pub(crate) const STUN: &str = "198.18.0.10:3478";
pub(crate) const DIRECTORY: &str = "198.18.0.12:3490";
pub(crate) const RELAY: &str = "198.18.0.13:3478";

pub(crate) struct Lab {
    pub(crate) world: World,
    pub(crate) internet: NetworkId,
}

/// A network behind a gateway.
#[derive(Clone, Copy)]
pub(crate) struct Home {
    pub(crate) gateway: NodeId,
    pub(crate) network: NetworkId,
}

pub(crate) fn endpoint(text: &str) -> SocketAddr {
    text.parse().expect("an endpoint")
}

pub(crate) fn link(latency_ms: u64) -> LinkConfig {
    LinkConfig { latency: Duration::from_millis(latency_ms), ..LinkConfig::default() }
}

/// An attachment; IPv6 addresses have prefixes of 64 bits, or of 128 beside IPv4 prefixes of 32.
fn attachment(network: NetworkId, name: &str, addresses: &[&str], prefix_len: u8, link: LinkConfig) -> Attachment {
    let prefix6_len = if prefix_len == 32 { 128 } else { 64 };
    let own = |address: &&str| {
        let address = address.parse::<IpAddr>().expect("an address");
        InterfaceAddress { address, prefix_len: if address.is_ipv4() { prefix_len } else { prefix6_len } }
    };
    Attachment { network, name: name.to_owned(), addresses: addresses.iter().map(own).collect(), link }
}

pub(crate) fn behavior(mapping: Mapping, filtering: Filtering) -> Behavior {
    Behavior {
        mapping: mapping.into(),
        filtering: filtering.into(),
        hairpin: Hairpin::Off.into(),
        ..Behavior::default()
    }
}

pub(crate) fn preset(name: &str) -> Behavior {
    natbox_nat::preset::find(name).expect("a preset").behavior
}

impl Lab {
    pub(crate) fn new(seed: u64) -> Lab {
        let mut world = World::new(seed);
        let addresses = ["198.18.0.1", "2001:db8::1"].map(|address| address.parse().expect("an address"));
        let internet = world.internet("internet", &addresses);
        Lab { world, internet }
    }

    /// A host on the Internet, 10 ms away from its middle.
    pub(crate) fn public(&mut self, name: &str, addresses: &[&str]) -> VirtualHost {
        self.public_on(name, addresses, link(10))
    }

    pub(crate) fn public_on(&mut self, name: &str, addresses: &[&str], link: LinkConfig) -> VirtualHost {
        self.world.host(name, vec![attachment(self.internet, name, addresses, 32, link)])
    }

    /// A gateway on the Internet; inside, 10.0.0.0/24 with the gateway at .1.
    pub(crate) fn home(&mut self, name: &str, external: &str, behavior: Behavior) -> Home {
        self.home_on(self.internet, name, (external, 15), "10.0.0.1", behavior, link(10))
    }

    pub(crate) fn home_on(
        &mut self,
        outside: NetworkId,
        name: &str,
        external: (&str, u8),
        internal: &str,
        behavior: Behavior,
        link_config: LinkConfig,
    ) -> Home {
        let network = self.world.lan(name);
        let outside = attachment(outside, name, &[external.0], external.1, link_config);
        let inside = attachment(network, &format!("{name}:inside"), &[internal], 24, link(0));
        let gateway = self.world.gateway(name, outside, inside, Arc::new(behavior));
        Home { gateway, network }
    }

    /// A home with 2001:db8:N::/64 inside and the gateway at 2001:db8::N outside.
    pub(crate) fn home_ipv6(&mut self, name: &str, number: u8, behavior: Behavior) -> Home {
        let (external, internal) = (format!("2001:db8::{number}"), format!("2001:db8:{number}::1"));
        let home = self.home_on(self.internet, name, (&external, 64), &internal, behavior, link(10));
        self.route(&format!("2001:db8:{number}::/64"), home);
        home
    }

    /// A host with an uplink in each of these homes.
    pub(crate) fn inside_of(&mut self, name: &str, uplinks: &[(Home, &str)]) -> VirtualHost {
        let attach = |(number, (home, address)): (usize, &(Home, &str))| {
            attachment(home.network, &format!("{name}:{number}"), &[*address], 24, link(1))
        };
        self.world.host(name, uplinks.iter().enumerate().map(attach).collect())
    }

    /// Leads a prefix of the Internet to a gateway that does not translate.
    pub(crate) fn route(&mut self, prefix: &str, home: Home) {
        let outside = self.world.interfaces_of(home.gateway).next().expect("an outside");
        self.world.route(self.internet, prefix.parse().expect("a prefix"), outside);
    }

    pub(crate) fn inside(&mut self, home: Home, name: &str, address: &str) -> VirtualHost {
        self.world.host(name, vec![attachment(home.network, name, &[address], 24, link(1))])
    }

    /// A STUN server with two addresses.
    pub(crate) fn stun(&mut self) -> SocketAddr {
        self.stun_with(Some("198.18.0.11"))
    }

    pub(crate) fn stun_with(&mut self, alternate: Option<&str>) -> SocketAddr {
        let addresses: Vec<&str> = ["198.18.0.10"].into_iter().chain(alternate).collect();
        let host = self.public("stun", &addresses);
        let alternate = alternate.map(|address| address.parse().expect("an address"));
        let config = stun::server::ServerConfig::new(endpoint(STUN).ip(), alternate);
        host.spawn(serving(stun::server::serve(host.clone(), config)));
        endpoint(STUN)
    }

    pub(crate) fn directory(&mut self) -> SocketAddr {
        self.directory_on(link(10))
    }

    pub(crate) fn directory_on(&mut self, link: LinkConfig) -> SocketAddr {
        let host = self.public_on("directory", &["198.18.0.12"], link);
        let config = rendezvous::ServerConfig { listen: endpoint(DIRECTORY), limits: Limits::default() };
        host.spawn(serving(rendezvous::serve(host.clone(), config)));
        endpoint(DIRECTORY)
    }

    /// A TURN server; the relay is its second value.
    pub(crate) fn relay(&mut self) -> connect::Relay {
        let host = self.public("relay", &["198.18.0.13"]);
        let credentials = turn::Credentials::new("user", "pass");
        let users = vec![(credentials.username.clone(), credentials.password.clone())];
        let config = turn::server::ServerConfig::new(endpoint(RELAY), endpoint(RELAY).ip(), users);
        host.spawn(serving(turn::server::serve(host.clone(), config)));
        connect::Relay::new(endpoint(RELAY), credentials)
    }

    /// A STUN server with two IPv6 addresses, and a directory beside it.
    pub(crate) fn servers_ipv6(&mut self) -> (SocketAddr, SocketAddr) {
        let host = self.public("servers", &["2001:db8::10", "2001:db8::11"]);
        let [primary, alternate] = ["2001:db8::10", "2001:db8::11"].map(|text| text.parse().expect("an address"));
        let config = stun::server::ServerConfig::new(primary, Some(alternate));
        host.spawn(serving(stun::server::serve(host.clone(), config)));
        let listen = SocketAddr::new(primary, rendezvous::PORT);
        let config = rendezvous::ServerConfig { listen, limits: Limits::default() };
        host.spawn(serving(rendezvous::serve(host.clone(), config)));
        (SocketAddr::new(primary, stun::PORT), listen)
    }

    /// Runs `program` on a host until it is done.
    pub(crate) fn run<T>(&mut self, program: impl Future<Output = T>) -> T {
        self.world.run_until(program).expect("the lab does not stall")
    }
}

/// A server's program; the test ends with its message if it cannot begin.
pub(crate) async fn serving<T, E: std::fmt::Display>(server: impl Future<Output = Result<T, E>>) {
    if let Err(error) = server.await {
        panic!("a server could not begin: {error}");
    }
}

/// Has `host` answer callers.
pub(crate) fn answer(host: &VirtualHost, config: connect::Config, service: impl Service) {
    host.spawn(serving(connect::answer(host.clone(), config, service)));
}

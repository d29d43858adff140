//! Two hosts on the public network, and what programs need.

use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use natbox_host::TcpOptions;
use natbox_world::{Attachment, InterfaceAddress, LinkConfig, NetworkId, VirtualHost, World};

pub(crate) const A: &str = "198.18.0.10";
pub(crate) const B: &str = "198.18.0.20";
pub(crate) const A6: &str = "2001:db8::10";
pub(crate) const B6: &str = "2001:db8::20";
pub(crate) const MS: Duration = Duration::from_millis(1);

pub(crate) fn ip(text: &str) -> IpAddr {
    text.parse().expect("an address")
}

pub(crate) fn end(address: &str, port: u16) -> SocketAddr {
    SocketAddr::new(ip(address), port)
}

pub(crate) fn link(latency_ms: u32) -> LinkConfig {
    LinkConfig { latency: MS * latency_ms, ..LinkConfig::default() }
}

pub(crate) fn attachment(network: NetworkId, name: &str, addresses: &[&str], link: LinkConfig) -> Attachment {
    let own = |text: &&str| {
        let (address, prefix_len) = text.split_once('/').expect("a prefix length");
        InterfaceAddress { address: ip(address), prefix_len: prefix_len.parse().expect("a prefix length") }
    };
    Attachment { network, name: name.to_owned(), addresses: addresses.iter().map(own).collect(), link }
}

pub(crate) struct Two {
    pub(crate) world: World,
    pub(crate) a: VirtualHost,
    pub(crate) b: VirtualHost,
}

/// Two hosts with this link each.
pub(crate) fn two(seed: u64, link: LinkConfig) -> Two {
    let mut world = World::new(seed);
    let internet = world.internet("internet", &[ip("198.18.0.1"), ip("2001:db8::1")]);
    let mut host = |name: &str, v4: &str, v6: &str| {
        let (v4, v6) = (format!("{v4}/15"), format!("{v6}/64"));
        world.host(name, vec![attachment(internet, name, &[&v4, &v6], link.clone())])
    };
    let (a, b) = (host("a", A, A6), host("b", B, B6));
    Two { world, a, b }
}

pub(crate) fn from(local: SocketAddr) -> TcpOptions {
    TcpOptions { local: Some(local), reuse_port: true, ..TcpOptions::default() }
}

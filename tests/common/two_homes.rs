//! Two hosts behind a NAT each, and a public server: the smallest world in which punching means something.
//!
//! ```text
//!   alice 10.0.0.2 -- home-a 198.18.0.2 --+-- internet --+-- home-b 198.18.0.3 -- bob 10.0.1.2
//!                                         |
//!                              server 198.18.0.4, STUN and directory
//! ```

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use natbox::nat::Behavior;
use natbox::probes::{rendezvous, stun};
use natbox::world::{Attachment, InterfaceAddress, LinkConfig, NetworkId, VirtualHost, World};

/// The world, and the hosts in it.
pub(crate) struct TwoHomes {
    pub(crate) world: World,
    pub(crate) alice: VirtualHost,
    pub(crate) bob: VirtualHost,
    #[allow(dead_code, reason = "not everyone who builds the world asks the STUN server")]
    pub(crate) stun: SocketAddr,
    pub(crate) directory: SocketAddr,
    #[allow(dead_code, reason = "not everyone has more servers than these")]
    pub(crate) server: VirtualHost,
}

fn attachment(network: NetworkId, name: &str, address: [u8; 4], prefix_len: u8, latency: Duration) -> Attachment {
    Attachment {
        network,
        name: name.to_owned(),
        addresses: vec![InterfaceAddress { address: IpAddr::from(address), prefix_len }],
        link: LinkConfig { latency, ..LinkConfig::default() },
    }
}

impl TwoHomes {
    /// Builds it, with the server's programs running.
    pub(crate) fn new(a: &Arc<Behavior>, b: &Arc<Behavior>, seed: u64) -> TwoHomes {
        let far = Duration::from_millis(10);
        let mut world = World::new(seed);
        let internet = world.internet("internet", &[IpAddr::from([198, 18, 0, 1])]);
        let mut home = |name: &str, host: &str, index: u8, behavior: &Arc<Behavior>| {
            let lan = world.lan(name);
            let outside = attachment(internet, name, [198, 18, 0, 2 + index], 15, far);
            let inside = attachment(lan, name, [10, 0, index, 1], 24, Duration::ZERO);
            world.gateway(name, outside, inside, behavior.clone());
            world.host(host, vec![attachment(lan, host, [10, 0, index, 2], 24, Duration::ZERO)])
        };
        let alice = home("home-a", "alice", 0, a);
        let bob = home("home-b", "bob", 1, b);
        let server = world.host("server", vec![attachment(internet, "server", [198, 18, 0, 4], 15, far)]);
        let address = IpAddr::from([198, 18, 0, 4]);
        let (stun, directory) = ((address, stun::PORT).into(), (address, rendezvous::PORT).into());
        world.spawn({
            let (server, config) = (server.clone(), stun::server::ServerConfig::new(address, None));
            async move {
                let _ = stun::server::serve(server, config).await;
            }
        });
        let directing = server.clone();
        world.spawn(async move {
            let config = rendezvous::ServerConfig { listen: directory, limits: rendezvous::Limits::default() };
            let _ = rendezvous::serve(directing, config).await;
        });
        TwoHomes { world, alice, bob, stun, directory, server }
    }
}

//! A whole scenario over sockets: two hosts behind gateways learn their external endpoints from a server, learn each
//! other's from it, punch, and exchange a message and its acknowledgement. The benchmark runs it too.

use std::io;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use natbox_host::{Host, UdpSocket};
use natbox_nat::Behavior;
use natbox_world::{Attachment, InterfaceAddress, LinkConfig, NetworkId, VirtualHost, World};

/// How a scenario ended: the endpoint from which the message came to bob, as bob saw it.
pub(crate) type Met = SocketAddr;

const SERVER: SocketAddr = SocketAddr::new(IpAddr::V4(Ipv4Addr::new(198, 18, 0, 9)), 3478);

/// Two homes and a server.
pub(crate) struct Homes {
    pub(crate) world: World,
    alice: VirtualHost,
    bob: VirtualHost,
    server: VirtualHost,
}

pub(crate) fn build(seed: u64, behavior: &Arc<Behavior>) -> Homes {
    let mut world = World::new(seed);
    let internet = world.internet("internet", &[IpAddr::V4(Ipv4Addr::new(198, 18, 0, 1))]);
    let server = world.host("server", vec![attachment(internet, "server", SERVER.ip(), 15, 10)]);
    let mut home = |host: &str, gateway: &str, inside_name: &str, external: u8| {
        let lan = world.lan(gateway);
        let outside = attachment(internet, gateway, Ipv4Addr::new(198, 18, 0, external).into(), 15, 10);
        let inside = attachment(lan, inside_name, Ipv4Addr::new(10, 0, 0, 1).into(), 24, 0);
        world.gateway(gateway, outside, inside, behavior.clone());
        world.host(host, vec![attachment(lan, host, Ipv4Addr::new(10, 0, 0, 2).into(), 24, 0)])
    };
    let alice = home("alice", "home-a", "home-a:inside", 21);
    let bob = home("bob", "home-b", "home-b:inside", 22);
    Homes { world, alice, bob, server }
}

fn attachment(network: NetworkId, name: &str, address: IpAddr, prefix_len: u8, latency_ms: u64) -> Attachment {
    let link = LinkConfig { latency: Duration::from_millis(latency_ms), ..LinkConfig::default() };
    Attachment { network, name: name.to_owned(), addresses: vec![InterfaceAddress { address, prefix_len }], link }
}

/// Runs the scenario to its end.
pub(crate) fn run(homes: &mut Homes) -> Met {
    let (alice, bob, server) = (homes.alice.clone(), homes.bob.clone(), homes.server.clone());
    homes.server.spawn(async move { drop(serve(server).await) });
    let both = futures::future::join(talk(alice, true), talk(bob, false));
    let (alice, bob) = homes.world.run_until(both).expect("nobody waits for ever");
    alice.expect("alice's sockets work");
    bob.expect("bob's sockets work")
}

/// Tells each caller its endpoint, and once there are two, each the other's.
async fn serve(host: VirtualHost) -> io::Result<()> {
    let socket = host.udp_bind(SERVER).await?;
    let (mut buffer, mut known) = ([0; 64], Vec::new());
    loop {
        let received = socket.recv_from(&mut buffer).await?;
        match buffer[0] {
            b'?' => drop(socket.send_to(&encode(b'=', received.source), received.source).await?),
            _ => known.push(received.source),
        }
        if let [one, other] = known[..] {
            socket.send_to(&encode(b'@', other), one).await?;
            socket.send_to(&encode(b'@', one), other).await?;
        }
    }
}

async fn talk(host: VirtualHost, begins: bool) -> io::Result<Met> {
    let socket = host.udp_bind(SocketAddr::from(([0, 0, 0, 0], 5000))).await?;
    socket.send_to(b"?", SERVER).await?;
    let mut buffer = [0; 64];
    loop {
        let received = socket.recv_from(&mut buffer).await?;
        match buffer[0] {
            b'=' => drop(socket.send_to(b"+", SERVER).await?),
            b'@' => drop(socket.send_to(b"punch", decode(&buffer)).await?),
            b'p' if begins => drop(socket.send_to(b"message", received.source).await?),
            b'm' => {
                socket.send_to(b"acknowledged", received.source).await?;
                return Ok(received.source);
            }
            b'a' => return Ok(received.source),
            _ => {}
        }
    }
}

fn encode(kind: u8, endpoint: SocketAddr) -> [u8; 7] {
    let IpAddr::V4(address) = endpoint.ip() else { return [0; 7] };
    let ([a, b, c, d], [high, low]) = (address.octets(), endpoint.port().to_be_bytes());
    [kind, a, b, c, d, high, low]
}

fn decode(message: &[u8]) -> SocketAddr {
    let [a, b, c, d] = [1, 2, 3, 4].map(|place| message[place]);
    SocketAddr::from(([a, b, c, d], u16::from_be_bytes([message[5], message[6]])))
}

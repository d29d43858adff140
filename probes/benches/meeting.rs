//! Complete scenarios a second on one core: a fresh world each time, in which two NATed hosts learn their addresses from
//! a STUN server, meet at the directory, punch, and exchange a message and its acknowledgement.

use std::hint::black_box;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use natbox_host::Host;
use natbox_nat::Behavior;
use natbox_probes::punch::{self, PunchConfig, Punched};
use natbox_probes::rendezvous::{self, Limits};
use natbox_probes::stun::server::{self as stun, ServerConfig};
use natbox_wire::Time;
use natbox_world::{Attachment, InterfaceAddress, LinkConfig, NetworkId, VirtualHost, World};

fn attachment(network: NetworkId, name: &str, address: [u8; 4], prefix_len: u8, latency_ms: u64) -> Attachment {
    let addresses = vec![InterfaceAddress { address: IpAddr::from(address), prefix_len }];
    let link = LinkConfig { latency: Duration::from_millis(latency_ms), ..LinkConfig::default() };
    Attachment { network, name: name.to_owned(), addresses, link }
}

fn home(world: &mut World, internet: NetworkId, behavior: &Arc<Behavior>, name: &str, number: u8) -> VirtualHost {
    let lan = world.lan(name);
    let outside = attachment(internet, name, [198, 18, 0, number], 15, 10);
    let inside = attachment(lan, name, [10, 0, number, 1], 24, 0);
    world.gateway(name, outside, inside, behavior.clone());
    world.host(name, vec![attachment(lan, name, [10, 0, number, 2], 24, 0)])
}

async fn say(punched: &mut Punched<VirtualHost>, deadline: Time) -> usize {
    punched.send(b"message").await.expect("a path");
    punched.recv(deadline).await.expect("a path").expect("an acknowledgement").len()
}

async fn hear(punched: &mut Punched<VirtualHost>, deadline: Time) {
    punched.recv(deadline).await.expect("a path").expect("a message");
    punched.send(b"acknowledged").await.expect("a path");
}

/// The whole scenario; how many packets it took.
fn meeting(seed: u64, behavior: &Arc<Behavior>) -> u64 {
    let mut world = World::new(seed);
    let internet = world.internet("internet", &[IpAddr::from([198, 18, 0, 1])]);
    let server = world.host("server", vec![attachment(internet, "server", [198, 18, 0, 9], 15, 10)]);
    let address = IpAddr::from([198, 18, 0, 9]);
    let directory = SocketAddr::new(address, rendezvous::PORT);
    let config = rendezvous::ServerConfig { listen: directory, limits: Limits::default() };
    let host = server.clone();
    server.spawn(async move { drop(rendezvous::serve(host, config).await) });
    let host = server.clone();
    server.spawn(async move { drop(stun::serve(host, ServerConfig::new(address, None)).await) });
    let alice = home(&mut world, internet, behavior, "alice", 2);
    let bob = home(&mut world, internet, behavior, "bob", 3);
    let with = |me: &str| PunchConfig { stun: Some(SocketAddr::new(address, 3478)), ..PunchConfig::new(directory, me) };
    let (as_alice, as_bob) = (with("alice"), with("bob"));
    let deadline = Time::ZERO + Duration::from_secs(60);
    let answer = async {
        let mut punched = punch::answer(&bob, &as_bob, deadline).await.unwrap_or_else(|failure| panic!("{failure}"));
        hear(&mut punched, deadline).await;
    };
    let call = async {
        alice.sleep(Duration::from_millis(100)).await;
        let punched = punch::punch(&alice, &as_alice, "bob").await;
        say(&mut punched.unwrap_or_else(|failure| panic!("{failure}")), deadline).await
    };
    world.run_until(futures::future::join(call, answer)).expect("nobody waits for ever");
    world.statistics().packets
}

fn bench(criterion: &mut Criterion) {
    let preset = natbox_nat::preset::find("port-restricted-cone").expect("a preset");
    let behavior = Arc::new(preset.behavior);
    eprintln!("packets in a meeting: {}", meeting(1, &behavior));
    let mut group = criterion.benchmark_group("scenarios");
    group.throughput(Throughput::Elements(1));
    let mut seed = 0;
    group.bench_function("two homes meet and talk", |bencher| {
        bencher.iter(|| {
            seed += 1;
            black_box(meeting(seed, &behavior))
        });
    });
    group.finish();
}

criterion_group!(benches, bench);
criterion_main!(benches);

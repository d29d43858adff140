//! Events a second in one world of 40,000 nodes: 20,000 homes of a host behind a NAT each, whose programs punch to a far
//! peer's and then talk with it, a datagram each way every 20 ms as in a call. One core.
//!
//! `cargo bench -p natbox-world --bench crowd`
//!
//! An event is a packet at the end of a link, or a program's timer: a datagram has five (its sender's timer, home gateway,
//! core, far gateway, far host). Neighbouring events concern nodes that have nothing to do with one another, so that next
//! to nothing of a node is in a near cache when its turn comes.

#![allow(missing_docs, reason = "a program, not a library")]
#![allow(clippy::disallowed_methods, reason = "a benchmark reads the clock")]

use std::cell::Cell;
use std::net::{IpAddr, SocketAddr};
use std::rc::Rc;
use std::sync::Arc;
use std::time::{Duration, Instant};

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use natbox_host::{Host, UdpSocket};
use natbox_nat::Behavior;
use natbox_nat::behavior::{Filtering, PortAllocation};
use natbox_world::{Attachment, InterfaceAddress, LinkConfig, NetworkId, VirtualHost, World};

/// Homes: each a host and a gateway.
const HOMES: u32 = 20_000;
/// How often a program says something.
const INTERVAL: Duration = Duration::from_millis(20);
/// What one round of the measurement runs: a quarter of an interval.
const SLICE: Duration = Duration::from_millis(5);
const PORT: u16 = 5000;
/// As long as a frame of speech with its RTP header.
const MESSAGE: [u8; 172] = [0x80; 172];

fn external(home: u32) -> IpAddr {
    IpAddr::V4((0xc612_0100 + home).into())
}

/// Everybody's peer is half the world away.
fn peer_of(home: u32) -> u32 {
    (home + HOMES / 2) % HOMES
}

fn attachment(network: NetworkId, name: String, address: IpAddr, prefix_len: u8, latency_us: u32) -> Attachment {
    let link = LinkConfig { latency: Duration::from_micros(latency_us.into()), ..LinkConfig::default() };
    Attachment { network, name, addresses: vec![InterfaceAddress { address, prefix_len }], link }
}

fn home(world: &mut World, internet: NetworkId, home: u32, behavior: &Arc<Behavior>) -> VirtualHost {
    let name = format!("home-{home}");
    let lan = world.lan(&name);
    // Between 5 and 45 ms, no two neighbours alike.
    let latency_us = 5_000 + home.wrapping_mul(2_654_435_761) % 40_000;
    let outside = attachment(internet, format!("{name}:outside"), external(home), 15, latency_us);
    let inside = attachment(lan, format!("{name}:inside"), IpAddr::from([192, 168, 1, 1]), 24, 0);
    world.gateway(&name, outside, inside, behavior.clone());
    let host = format!("host-{home}");
    world.host(&host, vec![attachment(lan, host.clone(), IpAddr::from([192, 168, 1, 2]), 24, 0)])
}

/// Says something every interval, and counts what it hears.
async fn talk(host: VirtualHost, peer: SocketAddr, begins: Duration, heard: Rc<Cell<u64>>) {
    let socket = host.udp_bind(SocketAddr::from(([0, 0, 0, 0], PORT))).await.expect("a free port");
    let saying = async {
        host.sleep(begins).await;
        loop {
            socket.send_to(&MESSAGE, peer).await.expect("a way out");
            host.sleep(INTERVAL).await;
        }
    };
    let hearing = async {
        let mut buffer = [0; MESSAGE.len()];
        loop {
            socket.recv_from(&mut buffer).await.expect("no error is asked for");
            heard.set(heard.get() + 1);
        }
    };
    futures::future::join(saying, hearing).await;
}

/// The world, and how many datagrams each home has heard.
fn crowd() -> (World, Vec<Rc<Cell<u64>>>) {
    let mut behavior = Behavior::default();
    behavior.filtering.udp = Filtering::AddressAndPortDependent;
    // So that peers know where they meet without a server.
    behavior.ports.allocation = PortAllocation::Preserve;
    let behavior = Arc::new(behavior);
    let mut world = World::new(1);
    let internet = world.internet("internet", &[IpAddr::from([198, 18, 0, 1])]);
    let heard: Vec<Rc<Cell<u64>>> = (0..HOMES).map(|_| Rc::default()).collect();
    for index in 0..HOMES {
        let host = home(&mut world, internet, index, &behavior);
        // A generator of Z/HOMES: who speaks next lives elsewhere.
        let begins = INTERVAL * (index.wrapping_mul(7_919) % HOMES) / HOMES;
        let peer = SocketAddr::new(external(peer_of(index)), PORT);
        world.spawn(talk(host, peer, begins, heard[index as usize].clone()));
    }
    (world, heard)
}

fn run(world: &mut World, duration: Duration) -> u64 {
    let before = world.statistics().events;
    world.run_for(duration).expect("no storm");
    world.statistics().events - before
}

fn events(criterion: &mut Criterion) {
    let (mut world, heard) = crowd();
    run(&mut world, Duration::from_millis(500));
    assert!(heard.iter().all(|heard| heard.get() > 10), "every pair is punched");
    let events = run(&mut world, SLICE * 8) / 8;
    println!("{} nodes, {events} events every {SLICE:?}", world.nodes().count());
    let mut group = criterion.benchmark_group("one world of 40,000 nodes");
    group.throughput(Throughput::Elements(events));
    group.sample_size(20);
    group.bench_function("events", |bencher| {
        bencher.iter_custom(|rounds| {
            let start = Instant::now();
            for _ in 0..rounds {
                run(&mut world, SLICE);
            }
            start.elapsed()
        });
    });
    group.finish();
}

criterion_group!(benches, events);
criterion_main!(benches);

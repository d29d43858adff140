//! TURN in the simulated world: client and server as programs on virtual hosts, NATs between them.
//!
//! ```text
//! alice 10.0.0.2 --1ms-- home-a 192.0.2.1 --10ms--+                 +--10ms-- relay 198.51.100.1
//!                                                 +---- Internet ----+
//! bob   10.0.0.2 --1ms-- home-b 192.0.2.2 --10ms--+                 +--10ms-- carol 203.0.113.9, dave 203.0.113.10
//! ```

use std::cell::RefCell;
use std::future::Future;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::net::{IpAddr, SocketAddr};
use std::pin::pin;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use futures::future::{Either, join, select};
use natbox_host::{Host, UdpSocket};
use natbox_nat::preset;
use natbox_probes::turn::server::{ServerConfig, serve, serve_with_stun};
use natbox_probes::turn::{Client, Credentials, Error, Options, PeerError};
use natbox_wire::{IcmpError, Time};
use natbox_world::note::{Event, Note};
use natbox_world::{Attachment, InterfaceAddress, LinkConfig, NodeId, Observer, VirtualHost, World};

const RELAY: &str = "198.51.100.1:3478";
const SECOND: Duration = Duration::from_secs(1);

struct Lab {
    world: World,
    alice: VirtualHost,
    bob: VirtualHost,
    carol: VirtualHost,
    dave: VirtualHost,
    relay: VirtualHost,
    home_a: NodeId,
}

fn addr(text: &str) -> SocketAddr {
    text.parse().unwrap()
}

fn ip(text: &str) -> IpAddr {
    text.parse().unwrap()
}

fn millis(millis: u64) -> Duration {
    Duration::from_millis(millis)
}

fn attach(network: natbox_world::NetworkId, name: &str, address: &str, prefix_len: u8, latency: u64) -> Attachment {
    let addresses = vec![InterfaceAddress { address: ip(address), prefix_len }];
    let link = LinkConfig { latency: millis(latency), ..LinkConfig::default() };
    Attachment { network, name: name.to_owned(), addresses, link }
}

impl Lab {
    /// Two homes behind symmetric NATs, and public hosts.
    fn new(seed: u64) -> Lab {
        Lab::over(seed, LinkConfig { latency: millis(1), ..LinkConfig::default() })
    }

    /// The same, with this link between a home's host and its NAT.
    fn over(seed: u64, link: LinkConfig) -> Lab {
        let behavior = Arc::new(preset::find("symmetric").unwrap().behavior);
        let mut world = World::new(seed);
        // A client renews for ever: whoever waits for what never comes is stopped by this.
        world.limit_events(200_000);
        let internet = world.internet("internet", &[ip("192.0.2.254")]);
        let mut home = |name: &str, external: &str, host: &str| {
            let lan = world.lan(name);
            let outside = attach(internet, &format!("{name}:outside"), external, 32, 10);
            let inside = attach(lan, &format!("{name}:inside"), "10.0.0.1", 24, 0);
            let gateway = world.gateway(name, outside, inside, behavior.clone());
            let uplink = Attachment { link: link.clone(), ..attach(lan, host, "10.0.0.2", 24, 1) };
            (gateway, world.host(host, vec![uplink]))
        };
        let (home_a, alice) = home("home-a", "192.0.2.1", "alice");
        let (_, bob) = home("home-b", "192.0.2.2", "bob");
        let mut public = |name: &str, address| world.host(name, vec![attach(internet, name, address, 32, 10)]);
        let relay = public("relay", "198.51.100.1");
        let carol = public("carol", "203.0.113.9");
        let dave = public("dave", "203.0.113.10");
        Lab { world, alice, bob, carol, dave, relay, home_a }
    }

    fn serving(self) -> Lab {
        let users = vec![("alice".to_owned(), "secret".to_owned()), ("bob".to_owned(), "hidden".to_owned())];
        let config = ServerConfig::new(addr(RELAY), addr(RELAY).ip(), users);
        let relay = self.relay.clone();
        self.relay.spawn(async move {
            let ended = serve(relay, config).await;
            panic!("the server ended: {ended:?}");
        });
        self
    }

    fn run<F: Future>(&mut self, program: F) -> F::Output {
        self.world.run_until(program).unwrap()
    }
}

async fn allocate(host: &VirtualHost) -> Client<VirtualHost> {
    allocate_with(host, &Options::default()).await
}

async fn allocate_with(host: &VirtualHost, options: &Options) -> Client<VirtualHost> {
    let credentials = match host.name().as_str() {
        "alice" => Credentials::new("alice", "secret"),
        _ => Credentials::new("bob", "hidden"),
    };
    Client::allocate_with(host, addr(RELAY), &credentials, options).await.unwrap()
}

/// What comes within `wait`.
async fn within<T>(host: &VirtualHost, wait: Duration, program: impl Future<Output = T>) -> Option<T> {
    match select(pin!(program), pin!(host.sleep(wait))).await {
        Either::Left((result, _)) => Some(result),
        Either::Right(_) => None,
    }
}

async fn receive(client: &Client<VirtualHost>) -> (Vec<u8>, SocketAddr) {
    let mut buffer = [0; 8192];
    let (length, peer) = client.recv_from(&mut buffer).await.unwrap();
    (buffer[..length].to_vec(), peer)
}

async fn receive_within(
    host: &VirtualHost,
    client: &Client<VirtualHost>,
    wait: Duration,
) -> Option<(Vec<u8>, SocketAddr)> {
    within(host, wait, receive(client)).await
}

#[test]
fn two_hosts_behind_symmetric_nats_talk_through_one_relay() {
    let mut lab = Lab::new(1).serving();
    let (alice, bob) = (lab.alice.clone(), lab.bob.clone());
    lab.run(async move {
        let (a, b) = join(allocate(&alice), allocate(&bob)).await;
        assert_eq!((a.mapped_address().ip(), b.mapped_address().ip()), (ip("192.0.2.1"), ip("192.0.2.2")));
        assert_ne!(a.relayed_address(), b.relayed_address());
        let permitted =
            join(a.create_permission(b.relayed_address().ip()), b.create_permission(a.relayed_address().ip())).await;
        assert_eq!(permitted, (Ok(()), Ok(())));
        a.send_to(b"hello bob", b.relayed_address()).await.unwrap();
        assert_eq!(receive(&b).await, (b"hello bob".to_vec(), a.relayed_address()));
        b.channel_bind(a.relayed_address()).await.unwrap();
        b.send_to(b"hello alice", a.relayed_address()).await.unwrap();
        assert_eq!(receive(&a).await, (b"hello alice".to_vec(), b.relayed_address()));
    });
}

#[test]
fn one_relayed_address_reaches_a_symmetric_host_that_speaks_no_turn() {
    let mut lab = Lab::new(1).serving();
    let (alice, bob) = (lab.alice.clone(), lab.bob.clone());
    lab.run(async move {
        let a = allocate(&alice).await;
        a.create_permission(ip("192.0.2.2")).await.unwrap();
        let socket = bob.udp_bind(addr("0.0.0.0:0")).await.unwrap();
        socket.send_to(b"from behind my NAT", a.relayed_address()).await.unwrap();
        let (payload, peer) = receive(&a).await;
        assert_eq!((payload.as_slice(), peer.ip()), (b"from behind my NAT".as_slice(), ip("192.0.2.2")));
        a.send_to(b"heard", peer).await.unwrap();
        let mut buffer = [0; 100];
        let received = socket.recv_from(&mut buffer).await.unwrap();
        assert_eq!((&buffer[..received.length], received.source), (b"heard".as_slice(), a.relayed_address()));
    });
}

#[test]
fn a_permission_lapses_at_exactly_300_seconds() {
    // The request takes 21 ms to the server, carol's datagrams take 20: the one that arrives a nanosecond before the
    // end passes, the one that arrives at the end does not.
    for (offset, passes) in [(Duration::from_nanos(999_999), true), (millis(1), false)] {
        let mut lab = Lab::new(1).serving();
        let (alice, carol) = (lab.alice.clone(), lab.carol.clone());
        lab.run(async move {
            let a = allocate_with(&alice, &Options { renew: false, ..Options::default() }).await;
            let asked = alice.now();
            a.create_permission(ip("203.0.113.9")).await.unwrap();
            let socket = carol.udp_bind(addr("203.0.113.9:7000")).await.unwrap();
            carol.sleep_until(asked + 150 * SECOND).await;
            socket.send_to(b"no refresh", a.relayed_address()).await.unwrap();
            assert!(receive_within(&alice, &a, SECOND).await.is_some());
            a.send_to(b"nor this", addr("203.0.113.9:7000")).await.unwrap();
            carol.sleep_until(asked + 300 * SECOND + offset).await;
            socket.send_to(b"last", a.relayed_address()).await.unwrap();
            assert_eq!(receive_within(&alice, &a, SECOND).await.is_some(), passes);
        });
    }
}

#[test]
fn the_relay_behaves_as_endpoint_independent_mapping_with_address_dependent_filtering() {
    let mut lab = Lab::new(1).serving();
    let (alice, carol, dave) = (lab.alice.clone(), lab.carol.clone(), lab.dave.clone());
    lab.run(async move {
        let a = allocate(&alice).await;
        let here = carol.udp_bind(addr("203.0.113.9:7000")).await.unwrap();
        let also_here = carol.udp_bind(addr("203.0.113.9:7001")).await.unwrap();
        let there = dave.udp_bind(addr("203.0.113.10:7000")).await.unwrap();
        let mut buffer = [0; 100];

        there.send_to(b"uninvited", a.relayed_address()).await.unwrap();
        assert_eq!(receive_within(&alice, &a, SECOND).await, None);
        a.create_permission(ip("203.0.113.9")).await.unwrap();
        also_here.send_to(b"any port", a.relayed_address()).await.unwrap();
        assert_eq!(receive(&a).await, (b"any port".to_vec(), addr("203.0.113.9:7001")));
        there.send_to(b"another address", a.relayed_address()).await.unwrap();
        assert_eq!(receive_within(&alice, &a, SECOND).await, None);

        a.create_permission(ip("203.0.113.10")).await.unwrap();
        for socket in [&here, &also_here, &there] {
            a.send_to(b"who am I?", socket.local_addr()).await.unwrap();
            assert_eq!(socket.recv_from(&mut buffer).await.unwrap().source, a.relayed_address());
        }
    });
}

#[test]
fn what_is_held_is_renewed_as_long_as_the_client_lives() {
    let mut lab = Lab::new(1).serving();
    let (alice, carol) = (lab.alice.clone(), lab.carol.clone());
    lab.run(async move {
        let a = allocate(&alice).await;
        let socket = carol.udp_bind(addr("203.0.113.9:7000")).await.unwrap();
        let number = a.channel_bind(addr("203.0.113.9:7000")).await.unwrap();
        assert_eq!(number, 0x4000);
        assert_eq!(a.channel_bind(addr("203.0.113.9:7000")).await, Ok(0x4000));
        // Longer than a nonce, an allocation, a channel and a permission last.
        alice.sleep(9000 * SECOND).await;
        a.send_to(b"still", addr("203.0.113.9:7000")).await.unwrap();
        let mut buffer = [0; 100];
        assert_eq!(socket.recv_from(&mut buffer).await.unwrap().length, 5);
        socket.send_to(b"here", a.relayed_address()).await.unwrap();
        assert_eq!(receive(&a).await.0, b"here");
    });
}

#[test]
fn a_dropped_client_gives_its_address_back() {
    let mut lab = Lab::new(1).serving();
    let (alice, carol) = (lab.alice.clone(), lab.carol.clone());
    lab.run(async move {
        let a = allocate(&alice).await;
        let relayed = a.relayed_address();
        let socket = carol.udp_bind(addr("203.0.113.9:7000")).await.unwrap();
        socket.connect(relayed).unwrap();
        let mut buffer = [0; 100];
        let clone = a.clone();
        drop(a);
        alice.sleep(SECOND).await;
        socket.send_to(b"?", relayed).await.unwrap();
        assert!(within(&carol, SECOND, socket.recv_from(&mut buffer)).await.is_none(), "a clone holds it: silence");
        let local = clone.local_address();
        drop(clone);
        alice.sleep(SECOND).await;
        socket.send_to(b"?", relayed).await.unwrap();
        let refused = socket.recv_from(&mut buffer).await.unwrap_err();
        assert_eq!(refused.kind(), std::io::ErrorKind::ConnectionRefused);
        alice.udp_bind(local).await.expect("the client's own port is free too");
    });
}

#[test]
fn data_without_a_permission_is_an_error_that_says_what_to_do() {
    let mut lab = Lab::new(1).serving();
    let alice = lab.alice.clone();
    lab.run(async move {
        let a = allocate(&alice).await;
        let error = a.send_to(b"x", addr("203.0.113.9:1")).await.unwrap_err();
        assert_eq!(error, Error::NoPermission { peer: ip("203.0.113.9") });
        assert!(error.to_string().contains("create_permission"));
        let error = a.create_permission(ip("2001:db8::1")).await.unwrap_err();
        assert_eq!(error.code(), Some(443));
    });
}

#[test]
fn a_wrong_password_is_named_as_such() {
    let mut lab = Lab::new(1).serving();
    let alice = lab.alice.clone();
    let error = lab.run(async move {
        Client::allocate(&alice, addr(RELAY), &Credentials::new("alice", "guess")).await.err().unwrap()
    });
    assert_eq!(error, Error::BadCredentials { realm: "natbox".to_owned() });
}

#[test]
fn a_server_that_is_not_there_is_refused_at_once_and_a_silent_one_after_39_and_a_half_seconds() {
    let mut lab = Lab::new(1);
    let (alice, carol) = (lab.alice.clone(), lab.carol.clone());
    lab.run(async move {
        let credentials = Credentials::new("alice", "secret");
        let began = alice.now();
        let error = Client::allocate(&alice, addr(RELAY), &credentials).await.err().unwrap();
        assert!(matches!(error, Error::Io { kind: std::io::ErrorKind::ConnectionRefused, .. }), "{error:?}");
        assert_eq!(alice.now() - began, millis(42), "one round trip");

        let silent = addr("203.0.113.9:3478");
        let _socket = carol.udp_bind(silent).await.unwrap();
        let error = Client::allocate(&alice, silent, &credentials).await.err().unwrap();
        let after = millis(39_500);
        assert_eq!(error, Error::TimedOut { method: "Allocate", server: silent, after });
    });
}

#[test]
fn an_icmp_error_from_a_peer_reaches_the_client_and_does_not_harm_what_follows() {
    let mut lab = Lab::new(1).serving();
    let (alice, carol) = (lab.alice.clone(), lab.carol.clone());
    lab.run(async move {
        let a = allocate(&alice).await;
        a.create_permission(ip("203.0.113.9")).await.unwrap();
        let socket = carol.udp_bind(addr("203.0.113.9:7000")).await.unwrap();
        a.send_to(b"nobody", addr("203.0.113.9:9")).await.unwrap();
        alice.sleep(SECOND).await;
        let expected = PeerError { peer: addr("203.0.113.9:9"), error: IcmpError::PortUnreachable };
        assert_eq!((a.take_peer_error(), a.take_peer_error()), (Some(expected), None));
        a.send_to(b"somebody", addr("203.0.113.9:7000")).await.unwrap();
        let mut buffer = [0; 100];
        assert_eq!(socket.recv_from(&mut buffer).await.unwrap().length, 8);
    });
}

#[test]
fn a_long_datagram_is_fragmented_unless_the_client_forbids_it() {
    for (dont_fragment, arrives) in [(false, true), (true, false)] {
        let mut lab = Lab::new(1).serving();
        let (dave, carol) = (lab.dave.clone(), lab.carol.clone());
        lab.run(async move {
            let d = allocate_with(&dave, &Options { dont_fragment, ..Options::default() }).await;
            d.create_permission(ip("203.0.113.9")).await.unwrap();
            let socket = carol.udp_bind(addr("203.0.113.9:7000")).await.unwrap();
            let mut buffer = [0; 8192];
            // 1,480 bytes and 28 of headers are 8 more than the relay's link takes.
            d.send_to(&[7; 1480], addr("203.0.113.9:7000")).await.unwrap();
            let received = within(&carol, 2 * SECOND, socket.recv_from(&mut buffer)).await;
            assert_eq!(received.map(|received| received.unwrap().length), arrives.then_some(1480));
            d.send_to(&[7; 100], addr("203.0.113.9:7000")).await.unwrap();
            assert_eq!(socket.recv_from(&mut buffer).await.unwrap().length, 100);
        });
    }
}

#[test]
fn a_nat_that_forgets_costs_the_allocation_and_the_client_says_so() {
    let mut lab = Lab::new(1).serving();
    let alice = lab.alice.clone();
    let client = lab.run(async move { allocate(&alice).await });
    lab.world.reboot(lab.home_a).unwrap();
    let (alice, reader) = (lab.alice.clone(), client.clone());
    lab.run(async move {
        let error = reader.recv_from(&mut [0; 10]).await.unwrap_err();
        assert!(matches!(&error, Error::Gone { why } if why.contains("437")), "{error}");
        assert!(alice.now() < Time::ZERO + 541 * SECOND);
        assert_eq!(reader.send_to(b"x", addr("203.0.113.9:1")).await, Err(error));
    });
}

#[test]
fn a_server_that_is_cut_off_for_a_minute_is_waited_for() {
    let mut lab = Lab::new(1).serving();
    let alice = lab.alice.clone();
    let client = lab.run(async move {
        let client = allocate(&alice).await;
        client.create_permission(ip("203.0.113.9")).await.unwrap();
        client
    });
    let uplink = lab.world.interfaces_of(lab.relay.node()).next().unwrap();
    // The permission is renewed at 240 s, when nobody answers.
    lab.world.run_for(200 * SECOND).unwrap();
    lab.world.cut(uplink);
    lab.world.run_for(70 * SECOND).unwrap();
    lab.world.mend(uplink);
    lab.world.run_for(60 * SECOND).unwrap();
    let carol = lab.carol.clone();
    let alice = lab.alice.clone();
    lab.run(async move {
        let socket = carol.udp_bind(addr("203.0.113.9:7000")).await.unwrap();
        socket.send_to(b"back", client.relayed_address()).await.unwrap();
        assert_eq!(receive_within(&alice, &client, SECOND).await.unwrap().0, b"back");
    });
}

#[test]
fn lost_and_doubled_packets_cost_time_and_nothing_else() {
    for link in [
        LinkConfig { loss: 0.2, latency: millis(1), ..LinkConfig::default() },
        LinkConfig { duplicate: 1.0, latency: millis(1), jitter: millis(3), ..LinkConfig::default() },
    ] {
        let mut lab = Lab::over(5, link).serving();
        let (alice, carol) = (lab.alice.clone(), lab.carol.clone());
        lab.run(async move {
            let socket = carol.udp_bind(addr("203.0.113.9:7000")).await.unwrap();
            let a = allocate(&alice).await;
            a.channel_bind(addr("203.0.113.9:7000")).await.unwrap();
            alice.sleep(2000 * SECOND).await;
            let mut buffer = [0; 100];
            let heard = loop {
                a.send_to(b"knock", addr("203.0.113.9:7000")).await.unwrap();
                if let Some(received) = within(&carol, SECOND, socket.recv_from(&mut buffer)).await {
                    break received.unwrap().source;
                }
            };
            assert_eq!(heard, a.relayed_address(), "the allocation is the one that was told to the client");
        });
    }
}

#[test]
fn turn_works_over_ipv6_and_from_ipv6_to_ipv4() {
    let mut world = World::new(1);
    world.limit_events(200_000);
    let internet = world.internet("internet", &[ip("2001:db8:ffff::1"), ip("192.0.2.254")]);
    let mut public = |name: &str, ipv6: &str, ipv4: Option<&str>| {
        let mut uplink = attach(internet, name, ipv6, 128, 10);
        uplink.addresses.extend(ipv4.map(|ipv4| InterfaceAddress { address: ip(ipv4), prefix_len: 32 }));
        world.host(name, vec![uplink])
    };
    let relay = public("relay", "2001:db8::1", Some("198.51.100.1"));
    let alice = public("alice", "2001:db8::a", None);
    let carol = public("carol", "2001:db8::c", Some("203.0.113.9"));
    let server = addr("[2001:db8::1]:3478");
    let users = vec![("alice".to_owned(), "secret".to_owned())];
    let config = ServerConfig {
        additional_relay_address: Some(ip("198.51.100.1")),
        ..ServerConfig::new(server, server.ip(), users)
    };
    let host = relay.clone();
    relay.spawn(async move {
        let ended = serve(host, config).await;
        panic!("the server ended: {ended:?}");
    });
    let program = async move {
        for (ipv6, peer) in [(None, addr("[2001:db8::c]:7000")), (Some(false), addr("203.0.113.9:7000"))] {
            let credentials = Credentials::new("alice", "secret");
            let options = Options { ipv6, ..Options::default() };
            let a = Client::allocate_with(&alice, server, &credentials, &options).await.unwrap();
            assert_eq!(a.relayed_address().is_ipv6(), peer.is_ipv6());
            let socket = carol.udp_bind(peer).await.unwrap();
            a.create_permission(peer.ip()).await.unwrap();
            a.send_to(b"six", peer).await.unwrap();
            let mut buffer = [0; 100];
            assert_eq!(socket.recv_from(&mut buffer).await.unwrap().source, a.relayed_address());
            socket.send_to(b"back", a.relayed_address()).await.unwrap();
            assert_eq!(receive(&a).await, (b"back".to_vec(), peer));
        }
    };
    world.run_until(program).unwrap();
}

/// Hashes everything that happens.
struct Digest(Rc<RefCell<DefaultHasher>>);

impl Observer for Digest {
    fn note(&mut self, note: &Note<'_>) {
        let mut hasher = self.0.borrow_mut();
        (note.at, note.node).hash(&mut *hasher);
        if let Event::Sent { packet, .. } | Event::Received { packet, .. } = note.event {
            packet.bytes.hash(&mut *hasher);
        }
    }
}

#[test]
fn two_runs_of_one_seed_send_the_same_bytes_and_other_seeds_others() {
    let digest = |seed| {
        let mut lab = Lab::new(seed).serving();
        let hasher = Rc::new(RefCell::new(DefaultHasher::new()));
        lab.world.observe(Box::new(Digest(hasher.clone())));
        let (alice, bob) = (lab.alice.clone(), lab.bob.clone());
        lab.run(async move {
            let (a, b) = join(allocate(&alice), allocate(&bob)).await;
            a.create_permission(b.relayed_address().ip()).await.unwrap();
            b.channel_bind(a.relayed_address()).await.unwrap();
            b.send_to(b"x", a.relayed_address()).await.unwrap();
            receive(&a).await;
            alice.sleep(4000 * SECOND).await;
        });
        hasher.borrow().finish()
    };
    assert_eq!(digest(7), digest(7));
    assert_ne!(digest(7), digest(8));
}

#[test]
fn turn_and_stun_share_a_port_and_each_answers_its_own() {
    let mut lab = Lab::new(1);
    let users = vec![("alice".to_owned(), "secret".to_owned())];
    let config = ServerConfig::new(addr(RELAY), addr(RELAY).ip(), users);
    let stun = natbox_probes::stun::server::ServerConfig::new(addr(RELAY).ip(), None);
    let relay = lab.relay.clone();
    lab.relay.spawn(async move {
        let ended = serve_with_stun(relay, config, stun).await;
        panic!("the server ended: {ended:?}");
    });
    let (alice, carol) = (lab.alice.clone(), lab.carol.clone());
    lab.run(async move {
        let a = allocate(&alice).await;
        let socket = carol.udp_bind(addr("203.0.113.9:7000")).await.unwrap();
        let mut request = vec![0, 1, 0, 0, 0x21, 0x12, 0xA4, 0x42];
        request.extend([9; 12]);
        socket.send_to(&request, addr(RELAY)).await.unwrap();
        let mut buffer = [0; 200];
        let received = socket.recv_from(&mut buffer).await.unwrap();
        assert_eq!((&buffer[..2], &buffer[8..20]), ([1, 1].as_slice(), [9; 12].as_slice()));
        a.channel_bind(addr("203.0.113.9:7000")).await.unwrap();
        a.send_to(b"relayed", addr("203.0.113.9:7000")).await.unwrap();
        let relayed = socket.recv_from(&mut buffer).await.unwrap();
        assert_eq!((received.source, relayed.source), (addr(RELAY), a.relayed_address()));
    });
}

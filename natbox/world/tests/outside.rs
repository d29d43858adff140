//! Worlds that wait: outlets, unfinished packets, the alarm. The clock on the wall here is a number.

use std::cell::RefCell;
use std::collections::VecDeque;
use std::net::SocketAddr;
use std::num::NonZeroU16;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::{Wake, Waker};
use std::time::Duration;

use natbox_host::{Host, UdpSocket};
use natbox_wire::build::{self, IpFields};
use natbox_wire::{DropReason, Offload, Packet, Time};
use natbox_world::{Arrived, Attachment, InterfaceAddress, InterfaceId, LinkConfig, NodeId, Outside, World};

const MS: Duration = Duration::from_millis(1);

#[derive(Default)]
struct Rung(AtomicUsize);

impl Wake for Rung {
    fn wake(self: Arc<Self>) {
        self.0.fetch_add(1, Ordering::Relaxed);
    }
}

/// What machines send and when, and what they got.
#[derive(Default)]
struct Script {
    sends: VecDeque<(Time, Arrived)>,
    got: Vec<(Time, InterfaceId, Packet)>,
    waits: Vec<Time>,
}

/// A wall with a clock that stands still but while somebody waits.
struct Wall {
    now: Time,
    script: Rc<RefCell<Script>>,
    rung: Arc<Rung>,
}

impl Outside for Wall {
    fn deliver(&mut self, interface: InterfaceId, packet: &Packet) -> Result<(), DropReason> {
        self.script.borrow_mut().got.push((self.now, interface, packet.clone()));
        Ok(())
    }

    fn wait(&mut self, deadline: Time, arrived: &mut Vec<Arrived>) -> Time {
        let script = &mut *self.script.borrow_mut();
        script.waits.push(deadline);
        let next = script.sends.front().map_or(Time::MAX, |(at, _)| *at);
        self.now = self.now.max(deadline.min(next));
        while script.sends.front().is_some_and(|(at, _)| *at <= self.now) {
            arrived.extend(script.sends.pop_front().map(|(_, sent)| sent));
        }
        self.now
    }

    fn alarm(&self) -> Waker {
        Waker::from(self.rung.clone())
    }
}

struct Scene {
    world: World,
    script: Rc<RefCell<Script>>,
    rung: Arc<Rung>,
    alice: InterfaceId,
    server: InterfaceId,
}

fn attachment(network: natbox_world::NetworkId, name: &str, address: &str, link: LinkConfig) -> Attachment {
    let address = InterfaceAddress { address: address.parse().expect("an address"), prefix_len: 24 };
    Attachment { network, name: name.into(), addresses: vec![address], link }
}

/// Alice behind a home router, a server on the public network; both are machines outside.
fn scene(link: LinkConfig) -> Scene {
    let mut world = World::new(1);
    let (script, rung) = (Rc::new(RefCell::new(Script::default())), Arc::new(Rung::default()));
    world.open(Box::new(Wall { now: Time::ZERO, script: script.clone(), rung: rung.clone() }));
    let internet = world.internet("internet", &["203.0.113.1".parse().expect("an address")]);
    let lan = world.lan("home");
    let behavior = Arc::new(natbox_nat::preset::find("linux-masquerade").expect("a preset").behavior);
    let perfect = LinkConfig::default;
    world.gateway(
        "home",
        attachment(internet, "home:outside", "203.0.113.7", perfect()),
        attachment(lan, "home:inside", "192.168.1.1", perfect()),
        behavior,
    );
    let alice = world.outlet("alice", vec![attachment(lan, "alice", "192.168.1.2", link)]);
    let server = world.outlet("server", vec![attachment(internet, "server", "203.0.113.80", perfect())]);
    let first = |world: &World, node: NodeId| world.interfaces_of(node).next().expect("an interface");
    let (alice, server) = (first(&world, alice), first(&world, server));
    Scene { world, script, rung, alice, server }
}

fn endpoint(text: &str) -> SocketAddr {
    text.parse().expect("an endpoint")
}

/// Datagrams of 1,000 bytes in one packet, as a kernel hands them out.
fn many(payload: usize) -> (Vec<u8>, Offload) {
    let (from, to) = (endpoint("192.168.1.2:4000"), endpoint("203.0.113.80:53"));
    let offload = Offload { segment_bytes: NonZeroU16::new(1000), partial_checksum: true };
    let packet = build::udp(from, to, IpFields::default(), &vec![7; payload]).expect("a datagram");
    let mut packet = packet.with_offload(offload);
    packet.restate_partial_checksum();
    (packet.into_bytes(), offload)
}

impl Scene {
    fn sends(&mut self, at: Time, interface: InterfaceId, bytes: Vec<u8>, offload: Offload) {
        self.script.borrow_mut().sends.push_back((at, Arrived { interface, bytes, offload }));
    }

    fn got(&self) -> Vec<(Time, InterfaceId, Packet)> {
        self.script.borrow_mut().got.drain(..).collect()
    }
}

#[test]
fn what_a_machine_sends_goes_through_the_nat_to_another_and_back() {
    let mut scene = scene(LinkConfig { latency: 3 * MS, ..LinkConfig::default() });
    let (alice, server) = (scene.alice, scene.server);
    let out = build::udp(endpoint("192.168.1.2:4000"), endpoint("203.0.113.80:53"), IpFields::default(), b"out");
    scene.sends(Time::ZERO + MS, alice, out.expect("a datagram").into_bytes(), Offload::NONE);
    scene.world.run_for(10 * MS).expect("it goes on");
    let [(at, at_server, packet)] = scene.got().try_into().expect("one packet");
    assert_eq!((at, at_server), (Time::ZERO + 4 * MS, server));
    assert_eq!(packet.source_endpoint(), endpoint("203.0.113.7:4000"));
    assert!(packet.transport_checksum_ok());

    let back = build::udp(endpoint("203.0.113.80:53"), packet.source_endpoint(), IpFields::default(), b"back");
    scene.sends(Time::ZERO + 20 * MS, server, back.expect("a datagram").into_bytes(), Offload::NONE);
    scene.world.run_for(20 * MS).expect("it goes on");
    let [(at, at_alice, packet)] = scene.got().try_into().expect("one packet");
    assert_eq!((at, at_alice), (Time::ZERO + 23 * MS, alice));
    assert_eq!(packet.destination_endpoint(), endpoint("192.168.1.2:4000"));
    assert_eq!(scene.world.now(), Time::ZERO + 30 * MS);
}

#[test]
fn datagrams_in_one_cross_whole_where_nothing_counts_them() {
    let mut scene = scene(LinkConfig { latency: MS, ..LinkConfig::default() });
    let (bytes, offload) = many(4500);
    scene.sends(Time::ZERO, scene.alice, bytes, offload);
    scene.world.run_for(10 * MS).expect("it goes on");
    let [(_, _, packet)] = scene.got().try_into().expect("one packet");
    assert_eq!(packet.source_endpoint(), endpoint("203.0.113.7:4000"));
    assert_eq!(packet.offload(), offload);
    let mut as_it_should_be = packet.clone();
    as_it_should_be.restate_partial_checksum();
    assert_eq!(packet, as_it_should_be, "its checksum is its new pseudo-header's sum");
    assert!(packet.into_wire().iter().all(Packet::transport_checksum_ok));
}

#[test]
fn datagrams_in_one_are_counted_one_by_one_where_links_do() {
    for link in [
        LinkConfig { loss: f64::MIN_POSITIVE, ..LinkConfig::default() },
        LinkConfig { rate_bits_per_second: Some(1_000_000_000), ..LinkConfig::default() },
        LinkConfig { mtu_bytes: 1020, ..LinkConfig::default() },
    ] {
        let mut scene = scene(link);
        let (bytes, offload) = many(4500);
        scene.sends(Time::ZERO, scene.alice, bytes, offload);
        scene.world.run_for(10 * MS).expect("it goes on");
        let got = scene.got();
        assert!(got.len() >= 5, "{} packets", got.len());
        assert!(got.iter().all(|(_, _, packet)| packet.offload() == Offload::NONE && packet.transport_checksum_ok()));
    }
}

#[test]
fn a_virtual_host_gets_datagrams_one_by_one() {
    let mut scene = scene(LinkConfig::default());
    let internet = scene.world.network_of(scene.server);
    let echo = scene.world.host("echo", vec![attachment(internet, "echo", "203.0.113.90", LinkConfig::default())]);
    let (from, to) = (endpoint("192.168.1.2:4000"), endpoint("203.0.113.90:53"));
    let offload = Offload { segment_bytes: NonZeroU16::new(1000), partial_checksum: true };
    let packet = build::udp(from, to, IpFields::default(), &[7; 2500]).expect("a datagram");
    let mut packet = packet.with_offload(offload);
    packet.restate_partial_checksum();
    scene.sends(Time::ZERO + MS, scene.alice, packet.into_bytes(), offload);
    let lengths = scene.world.run_until(async {
        let socket = echo.udp_bind(endpoint("203.0.113.90:53")).await.expect("a free port");
        let mut lengths = Vec::new();
        for _ in 0..3 {
            lengths.push(socket.recv_from(&mut [0; 2000]).await.expect("a datagram").length);
        }
        lengths
    });
    assert_eq!(lengths, Ok(vec![1000, 1000, 500]));
}

#[test]
fn a_waiting_world_waits_for_its_next_event_and_no_longer() {
    let mut scene = scene(LinkConfig { latency: 3 * MS, ..LinkConfig::default() });
    let (bytes, offload) = many(900);
    scene.sends(Time::ZERO + 2 * MS, scene.alice, bytes, offload);
    scene.world.run_for(10 * MS).expect("it goes on");
    let ms = |millis: u32| Time::ZERO + MS * millis;
    assert_eq!(scene.script.borrow().waits, [ms(10), ms(5), ms(10)]);
}

#[test]
fn whoever_wakes_a_program_from_outside_raises_the_alarm() {
    let mut scene = scene(LinkConfig::default());
    let (sender, receiver) = futures::channel::oneshot::channel::<u8>();
    let (told, heard) = futures::channel::oneshot::channel::<u8>();
    scene.world.spawn(async move {
        let _ = told.send(receiver.await.unwrap_or(0));
    });
    scene.world.run_for(MS).expect("it goes on");
    let before = scene.rung.0.load(Ordering::Relaxed);
    std::thread::spawn(move || sender.send(7)).join().expect("a thread").expect("somebody listens");
    assert!(scene.rung.0.load(Ordering::Relaxed) > before);
    assert_eq!(scene.world.run_until(heard), Ok(Ok(7)));
}

#[test]
fn a_flood_is_dropped_with_a_reason_and_a_bound() {
    let mut scene = scene(LinkConfig { latency: Duration::from_secs(3600), ..LinkConfig::default() });
    scene.world.limit_pending(100);
    let out = build::udp(endpoint("192.168.1.2:4000"), endpoint("203.0.113.80:53"), IpFields::default(), b"out");
    let bytes = out.expect("a datagram").into_bytes();
    for _ in 0..500 {
        scene.sends(Time::ZERO, scene.alice, bytes.clone(), Offload::NONE);
    }
    let drops = Rc::new(RefCell::new(0));
    struct Count(Rc<RefCell<u32>>);
    impl natbox_world::Observer for Count {
        fn note(&mut self, note: &natbox_world::Note<'_>) {
            use natbox_world::note::{Event, LinkFate};
            let full = LinkFate::Dropped(DropReason::QueueFull);
            *self.0.borrow_mut() += u32::from(matches!(note.event, Event::Sent { fate, .. } if fate == full));
        }
    }
    scene.world.observe(Box::new(Count(drops.clone())));
    scene.world.run_for(10 * MS).expect("it goes on");
    assert!((390..=410).contains(&*drops.borrow()), "{} of 500 dropped", drops.borrow());
}

#[test]
fn bytes_that_are_no_packet_die_with_a_reason_and_hurt_nobody() {
    let mut scene = scene(LinkConfig::default());
    for bytes in [vec![], vec![0x45], vec![0xFF; 40]] {
        scene.sends(Time::ZERO, scene.alice, bytes, Offload::NONE);
    }
    let (bytes, offload) = many(10);
    scene.sends(Time::ZERO, scene.alice, bytes, offload);
    scene.world.run_for(MS).expect("it goes on");
    assert_eq!(scene.got().len(), 1);
}

//! Two machines and a NAT between them, for real: kernels' own sockets in namespaces, the world in between.
//! Needs the right to make namespaces.

#![allow(missing_docs, clippy::disallowed_methods, reason = "tests of real machines take real time")]

use std::io::{Read as _, Write as _};
use std::net::{IpAddr, SocketAddr, TcpListener, TcpStream, UdpSocket};
use std::sync::Arc;
use std::time::Duration;

use natbox_live::{Driver, Files, Household, Interface, Machine, Namespace, Tun, set_up};
use natbox_world::{Attachment, InterfaceAddress, LinkConfig, NetworkId, World};

const SERVER: &str = "203.0.113.80";

fn attachment(network: NetworkId, name: &str, address: &str) -> Attachment {
    let address = InterfaceAddress { address: address.parse().expect("an address"), prefix_len: 24 };
    Attachment { network, name: name.into(), addresses: vec![address], link: LinkConfig::default() }
}

struct Machines {
    alice: Namespace,
    server: Namespace,
    _household: Household,
}

/// A machine with one interface, and the device behind it.
fn machine(name: &str, address: &str, gateway: &str, household: &Household) -> (Namespace, Tun) {
    let files = Files { hosts: format!("127.0.0.1 localhost\n{SERVER} server\n"), resolv: String::new() };
    let namespace = Namespace::new(name, &files, household).expect("namespaces");
    let address: IpAddr = address.parse().expect("an address");
    let interface = Interface {
        name: "eth0".into(),
        addresses: vec![(address, 24)],
        mtu_bytes: 1500,
        gateways: vec![gateway.parse().expect("an address")],
    };
    let tun = namespace.enter(move || {
        let tun = Tun::open("eth0").expect("a device");
        set_up(&[interface]).expect("an interface");
        tun
    });
    (namespace, tun.expect("the machine's thread"))
}

/// Runs the world for as long as `story` takes.
fn run(story: impl FnOnce(&Machines) + Send + 'static) {
    let household = Household::new().expect("a PID namespace");
    let (alice, alice_tun) = machine("alice", "192.168.1.2", "192.168.1.1", &household);
    let (server, server_tun) = machine("server", SERVER, "203.0.113.1", &household);
    let machines = Machines { alice, server, _household: household };

    let mut driver = Driver::new().expect("a driver");
    let mut world = World::new(1);
    let internet = world.internet("internet", &["203.0.113.1".parse().expect("an address")]);
    let lan = world.lan("home");
    let behavior = Arc::new(natbox_nat::preset::find("linux-masquerade").expect("a preset").behavior);
    let outside = attachment(internet, "home:outside", "203.0.113.7");
    world.gateway("home", outside, attachment(lan, "home:inside", "192.168.1.1"), behavior);
    for (name, network, address, tun) in
        [("alice", lan, "192.168.1.2", alice_tun), ("server", internet, SERVER, server_tun)]
    {
        let node = world.outlet(name, vec![attachment(network, name, address)]);
        let interface = world.interfaces_of(node).next().expect("an interface");
        driver.attach(interface, tun).expect("a device to watch");
    }
    world.open(Box::new(driver));

    let (sender, done) = futures::channel::oneshot::channel();
    let story = std::thread::spawn(move || {
        story(&machines);
        let _ = sender.send(());
    });
    let _ = world.run_until(done).expect("the world goes on");
    story.join().expect("the story ends well");
}

fn endpoint(text: &str) -> SocketAddr {
    text.parse().expect("an endpoint")
}

#[test]
fn a_datagram_reaches_a_server_from_the_nats_address_and_its_answer_comes_home() {
    run(|machines| {
        let (ready, go) = std::sync::mpsc::channel();
        let served = std::thread::scope(|scope| {
            let server = scope.spawn(move || {
                machines.server.enter(move || {
                    let socket = UdpSocket::bind(endpoint("203.0.113.80:7000")).expect("a socket");
                    ready.send(()).expect("somebody waits");
                    let mut buffer = [0; 100];
                    let (length, source) = socket.recv_from(&mut buffer).expect("a datagram");
                    socket.send_to(&buffer[..length], source).expect("an answer");
                    source
                })
            });
            go.recv().expect("a server");
            let answer = machines.alice.enter(|| {
                let socket = UdpSocket::bind(endpoint("192.168.1.2:4000")).expect("a socket");
                socket.set_read_timeout(Some(Duration::from_secs(5))).expect("a timeout");
                socket.send_to(b"hello", endpoint("203.0.113.80:7000")).expect("a way out");
                let mut buffer = [0; 100];
                let length = socket.recv(&mut buffer).expect("an answer");
                buffer[..length].to_vec()
            });
            assert_eq!(answer.expect("alice"), b"hello");
            server.join().expect("the server").expect("the server")
        });
        assert_eq!(served, endpoint("203.0.113.7:4000"));
    });
}

#[test]
fn a_stream_of_many_megabytes_crosses_whole() {
    const BYTES: usize = 64 << 20;
    run(|machines| {
        let (ready, go) = std::sync::mpsc::channel();
        std::thread::scope(|scope| {
            let server = scope.spawn(move || {
                machines.server.enter(move || {
                    let listener = TcpListener::bind(endpoint("203.0.113.80:80")).expect("a listener");
                    ready.send(()).expect("somebody waits");
                    let (mut stream, _) = listener.accept().expect("a connection");
                    let mut buffer = vec![0; 1 << 18];
                    let (mut total, mut right) = (0, true);
                    loop {
                        let length = stream.read(&mut buffer).expect("data");
                        if length == 0 {
                            return (total, right);
                        }
                        let expected = |(at, byte): (usize, &u8)| *byte == ((total + at) % 251) as u8;
                        right &= buffer[..length].iter().enumerate().all(expected);
                        total += length;
                    }
                })
            });
            go.recv().expect("a server");
            let took = machines.alice.enter(|| {
                let data: Vec<u8> = (0..BYTES).map(|at| (at % 251) as u8).collect();
                let mut stream = TcpStream::connect(endpoint("203.0.113.80:80")).expect("a connection");
                let began = std::time::Instant::now();
                stream.write_all(&data).expect("a way out");
                began.elapsed()
            });
            println!("{BYTES} bytes in {:?}", took.expect("alice"));
            assert_eq!(server.join().expect("the server").expect("the server"), (BYTES, true));
        });
    });
}

#[test]
fn an_mtu_that_cannot_be_set_is_an_error_that_says_so() {
    let household = Household::new().expect("a PID namespace");
    let mtu_bytes = 100_000;
    let interface = Interface { name: "eth0".into(), addresses: Vec::new(), mtu_bytes, gateways: Vec::new() };
    let made = Machine::new("alice", &Files::default(), vec![interface], &household);
    let Err(error) = made else { panic!("no TUN device has such an MTU") };
    let expected = "cannot set up the network of `alice`: cannot bring eth0 up with an MTU of 100000: ";
    assert!(error.to_string().starts_with(expected), "{error}");
}

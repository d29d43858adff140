//! UDP, ICMP echo, multicast, addresses, time and chance.

use std::io::ErrorKind;
use std::time::Duration;

use futures::future::{join, select};
use natbox_host::{EchoAnswer, EchoSocket, Host, UdpSocket};
use natbox_wire::{IcmpError, Time};
use natbox_world::{LinkConfig, World};
use rand_core::Rng;

use crate::support::*;

#[test]
fn a_question_is_answered_after_the_round_trip() {
    let Two { mut world, a, b } = two(1, link(5));
    let server = b.clone();
    b.spawn(async move {
        let socket = server.udp_bind(end("0.0.0.0", 7)).await.expect("a free port");
        let mut buffer = [0; 100];
        let received = socket.recv_from(&mut buffer).await.expect("a question");
        assert_eq!((received.destination, received.ttl), (end(B, 7), 63));
        socket.send_to(&buffer[..received.length], received.source).await.expect("sent");
    });
    world
        .run_until(async {
            let socket = a.udp_bind(end(A, 0)).await.expect("a free port");
            socket.set_ttl(64).expect("a TTL");
            assert_eq!(socket.set_ttl(0).map_err(|error| error.kind()), Err(ErrorKind::InvalidInput));
            socket.send_to(b"hello", end(B, 7)).await.expect("sent");
            let mut buffer = [0; 100];
            let received = socket.recv_from(&mut buffer).await.expect("an answer");
            assert_eq!(&buffer[..received.length], b"hello");
            assert_eq!((received.at, a.now()), (Time::ZERO + MS * 20, Time::ZERO + MS * 20));
        })
        .expect("it ends");
}

#[test]
fn a_host_knows_itself() {
    let Two { mut world, a, b } = two(1, link(1));
    assert_eq!((a.name().as_str(), a.addresses()), ("a", vec![ip(A), ip(A6)]));
    assert_eq!(a.source_for(ip(B6)).expect("a route"), ip(A6));
    assert_eq!(a.default_gateway(false), Some(ip("198.18.0.1")));
    assert_eq!(a.default_gateway(true), Some(ip("2001:db8::1")));
    let numbers = [a.random().next_u64(), a.random().next_u64(), b.random().next_u64()];
    assert!(numbers[0] != numbers[1] && numbers[0] != numbers[2]);
    let again = two(1, link(1));
    assert_eq!(again.a.random().next_u64(), numbers[0], "one seed, one stream");
    world.run_until(a.sleep(Duration::from_nanos(12_345))).expect("it ends");
    assert_eq!(a.now(), Time::from_nanos(12_345), "exact to the nanosecond");
}

#[test]
fn icmp_errors_become_the_connected_sockets_errors() {
    let Two { mut world, a, .. } = two(1, link(5));
    world
        .run_until(async {
            let socket = a.udp_bind(end("0.0.0.0", 0)).await.expect("a free port");
            socket.connect(end(B, 9)).expect("a route");
            assert_eq!(socket.local_addr().ip(), ip(A));
            socket.send_to(b"anybody?", end(B, 9)).await.expect("sent");
            let error = socket.recv_from(&mut [0; 10]).await.expect_err("nobody");
            assert_eq!(error.kind(), ErrorKind::ConnectionRefused);
            let probe = a.udp_bind(end("::", 0)).await.expect("a free port");
            probe.set_receive_errors(true).expect("an option");
            probe.set_ttl(1).expect("a TTL");
            probe.send_to(b"how far?", end(B6, 9)).await.expect("sent");
            let error = probe.recv_from(&mut [0; 10]).await.expect_err("too far");
            assert_eq!(error.kind(), ErrorKind::HostUnreachable);
            let report = probe.take_icmp_report().expect("a report");
            assert_eq!((report.error, report.reporter), (IcmpError::TtlExceeded, ip("2001:db8::1")));
            assert_eq!(report.destination, end(B6, 9));
        })
        .expect("it ends");
}

#[test]
fn the_path_mtu_is_learnt_from_the_router_that_says_so() {
    let mut world = World::new(1);
    let internet = world.internet("internet", &[ip("198.18.0.1")]);
    let a = world.host("a", vec![attachment(internet, "a", &["198.18.0.10/15"], link(1))]);
    let narrow = LinkConfig { mtu_bytes: 1000, ..link(1) };
    let b = world.host("b", vec![attachment(internet, "b", &["198.18.0.20/15"], narrow)]);
    world
        .run_until(async {
            let server = b.udp_bind(end(B, 9)).await.expect("a free port");
            let socket = a.udp_bind(end(A, 0)).await.expect("a free port");
            socket.connect(end(B, 9)).expect("a route");
            socket.set_dont_fragment(true).expect("an option");
            socket.send_to(&[1; 1400], end(B, 9)).await.expect("not yet known");
            let mut buffer = [0; 2000];
            let error = socket.recv_from(&mut buffer).await.expect_err("too big");
            assert_eq!(error.raw_os_error(), Some(90));
            let error = socket.send_to(&[1; 1400], end(B, 9)).await.expect_err("known now");
            assert_eq!(error.raw_os_error(), Some(90));
            assert_eq!(socket.send_to(&[1; 972], end(B, 9)).await.expect("fits"), 972);
            socket.set_dont_fragment(false).expect("an option");
            socket.send_to(&[2; 1400], end(B, 9)).await.expect("in fragments");
            assert_eq!(server.recv_from(&mut buffer).await.expect("whole").length, 972);
            assert_eq!(server.recv_from(&mut buffer).await.expect("whole").length, 1400);
        })
        .expect("it ends");
}

#[test]
fn a_dropped_socket_frees_its_port_and_stops_waiting() {
    let Two { mut world, a, .. } = two(1, link(1));
    world
        .run_until(async {
            let socket = a.udp_bind(end(A, 9)).await.expect("free");
            let taken = a.udp_bind(end(A, 9)).await.expect_err("taken");
            assert_eq!(taken.kind(), ErrorKind::AddrInUse);
            let foreign = a.udp_bind(end(B, 9)).await.expect_err("not ours");
            assert_eq!(foreign.kind(), ErrorKind::AddrNotAvailable);
            let mut buffer = [0; 1];
            let patience = select(Box::pin(socket.recv_from(&mut buffer)), Box::pin(a.sleep(MS))).await;
            assert!(matches!(patience, futures::future::Either::Right(_)));
            drop(patience);
            drop(socket);
            a.udp_bind(end(A, 9)).await.expect("free again");
        })
        .expect("it ends");
}

#[test]
fn two_readers_of_one_socket_each_get_a_datagram() {
    let Two { mut world, a, b } = two(1, link(1));
    world
        .run_until(async {
            let socket = b.udp_bind(end(B, 9)).await.expect("free");
            let client = a.udp_bind(end(A, 9)).await.expect("free");
            client.send_to(b"1", end(B, 9)).await.expect("sent");
            client.send_to(b"22", end(B, 9)).await.expect("sent");
            let (mut one, mut two) = ([0; 9], [0; 9]);
            let (one, two) = join(socket.recv_from(&mut one), socket.recv_from(&mut two)).await;
            let mut lengths = [one.expect("one").length, two.expect("two").length];
            lengths.sort_unstable();
            assert_eq!(lengths, [1, 2]);
        })
        .expect("it ends");
}

#[test]
fn ping_measures_the_round_trip_and_hears_of_errors() {
    for (local, remote, router) in [(A, B, "198.18.0.1"), (A6, B6, "2001:db8::1")] {
        let Two { mut world, a, .. } = two(1, link(5));
        world
            .run_until(async {
                let socket = a.echo_socket(ip(local)).await.expect("an identifier");
                socket.send(ip(remote), 1, b"natbox").await.expect("sent");
                let Ok(EchoAnswer::Reply(reply)) = socket.recv().await else { panic!("no reply") };
                assert_eq!((reply.source, reply.sequence, reply.length, reply.ttl), (ip(remote), 1, 6, 63));
                assert_eq!(reply.at, Time::ZERO + MS * 20);
                socket.set_ttl(1).expect("a TTL");
                socket.send(ip(remote), 2, b"natbox").await.expect("sent");
                let Ok(EchoAnswer::Error { report, sequence }) = socket.recv().await else { panic!("no error") };
                assert_eq!((report.error, report.reporter), (IcmpError::TtlExceeded, ip(router)));
                assert_eq!((report.destination.ip(), sequence), (ip(remote), 2));
                let other = a.echo_socket(ip(local)).await.expect("an identifier");
                assert_ne!(other.identifier(), socket.identifier());
            })
            .expect("it ends");
    }
}

#[test]
fn multicast_reaches_the_members_on_that_uplink_alone() {
    let mut world = World::new(1);
    let (one, two) = (world.lan("one"), world.lan("two"));
    let sender = world.host("sender", vec![attachment(one, "sender", &["10.0.1.1/24"], link(1))]);
    let both = vec![
        attachment(one, "both:one", &["10.0.1.2/24"], link(1)),
        attachment(two, "both:two", &["10.0.2.2/24"], link(1)),
    ];
    let both = world.host("both", both);
    let group = end("239.255.255.250", 1900);
    world
        .run_until(async {
            let member = both.udp_bind(end("0.0.0.0", 1900)).await.expect("free");
            let socket = sender.udp_bind(end("10.0.1.1", 0)).await.expect("free");
            let mut buffer = [0; 9];
            for (interface, heard) in [("10.0.2.2", false), ("10.0.1.2", true)] {
                member.join_multicast(group.ip(), ip(interface)).expect("a group");
                socket.send_to(b"search", group).await.expect("sent");
                let outcome = select(Box::pin(member.recv_from(&mut buffer)), Box::pin(both.sleep(MS * 10))).await;
                assert_eq!(matches!(outcome, futures::future::Either::Left(_)), heard, "{interface}");
            }
        })
        .expect("it ends");
}

#[test]
fn a_host_with_two_uplinks_sends_from_the_one_it_is_bound_to() {
    let mut world = World::new(1);
    let internet = world.internet("internet", &[ip("198.18.0.1")]);
    let uplinks = vec![
        attachment(internet, "h:slow", &["198.18.1.1/24"], link(50)),
        attachment(internet, "h:fast", &["198.18.2.1/24"], link(1)),
    ];
    let h = world.host("h", uplinks);
    let b = world.host("b", vec![attachment(internet, "b", &["198.18.0.20/24"], link(1))]);
    world
        .run_until(async {
            let server = b.udp_bind(end(B, 9)).await.expect("free");
            for (local, source, millis) in
                [("0.0.0.0", "198.18.1.1", 51), ("198.18.1.1", "198.18.1.1", 51), ("198.18.2.1", "198.18.2.1", 2)]
            {
                let socket = h.udp_bind(end(local, 0)).await.expect("free");
                let start = h.now();
                socket.send_to(b"x", end(B, 9)).await.expect("sent");
                let received = server.recv_from(&mut [0; 9]).await.expect("it came");
                assert_eq!((received.source.ip(), received.at), (ip(source), start + MS * millis));
            }
        })
        .expect("it ends");
}

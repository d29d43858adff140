use std::net::SocketAddr;
use std::task::Waker;
use std::time::Duration;

use natbox_host::{EchoAnswer, IcmpReport};
use natbox_wire::{DropReason, IcmpError, Packet, Time, Transport, build};
use proptest::prelude::*;

use super::support::*;
use crate::note::{Outcome, PacketId};
use crate::stack::errno::{self, Errno};
use crate::stack::{Stack, UplinkConfig};

/// What a router on the way would say about the packet that A has just sent.
fn router_says(a: &mut Stack, error: IcmpError, now: Time) -> Outcome {
    let offender = a.outbox().expect("something was sent").packet;
    let reporter = if offender.is_ipv6() { "fd00:9::1" } else { "198.18.0.1" };
    let packet = build::icmp_error(error, ip(reporter), &offender).expect("an error may be sent");
    a.receive(0, packet, PacketId(9), now)
}

#[test]
fn a_datagram_arrives_with_its_time_ttl_source_and_destination_for_both_versions() {
    for (a, b, any) in [(A, B, "0.0.0.0"), (A6, B6, "::")] {
        let mut pair = Pair::new();
        let server = pair.b.udp_bind(end(any, 3478)).unwrap();
        let client = pair.a.udp_bind(end(any, 0)).unwrap();
        pair.a.udp_socket(client).unwrap().ttl = 7;
        assert_eq!(pair.a.udp_send(client, b"hello", end(b, 3478), pair.now), Ok(5));
        pair.run();
        let (received, bytes) = recv(&mut pair.b, server).unwrap().unwrap();
        assert_eq!(bytes, b"hello");
        assert_eq!(received.source.ip(), ip(a));
        assert!((32_768..=60_999).contains(&received.source.port()));
        assert_eq!(received.destination, end(b, 3478));
        assert_eq!((received.ttl, received.at), (7, Time::ZERO + DELAY));
        pair.b.udp_send(server, b"back", received.source, pair.now).unwrap();
        pair.run();
        assert_eq!(payload(&mut pair.a, client).unwrap(), b"back");
        assert!(recv(&mut pair.a, client).is_none());
    }
}

#[test]
fn a_short_buffer_cuts_the_datagram_as_recvfrom_does() {
    let mut pair = Pair::new();
    let server = pair.b.udp_bind(end(B, 9)).unwrap();
    let client = pair.a.udp_bind(end(A, 9)).unwrap();
    pair.a.udp_send(client, b"hello", end(B, 9), pair.now).unwrap();
    pair.run();
    let mut buffer = [0; 2];
    let received = pair.b.udp_receive(server, &mut buffer, Waker::noop()).unwrap().unwrap();
    assert_eq!((received.length, &buffer), (2, b"he"));
    assert!(recv(&mut pair.b, server).is_none());
}

#[test]
fn bind_refuses_taken_ports_and_foreign_addresses() {
    let mut a = host(&[A, "10.0.0.9", A6], 1);
    a.udp_bind(end("0.0.0.0", 5000)).unwrap();
    assert_eq!(a.udp_bind(end("0.0.0.0", 5000)), Err(Errno::ADDRINUSE));
    assert_eq!(a.udp_bind(end(A, 5000)), Err(Errno::ADDRINUSE));
    assert!(a.udp_bind(end("::", 5000)).is_ok(), "another IP version is another port");
    a.udp_bind(end(A, 6000)).unwrap();
    assert!(a.udp_bind(end("10.0.0.9", 6000)).is_ok());
    assert_eq!(a.udp_bind(end("0.0.0.0", 6000)), Err(Errno::ADDRINUSE));
    assert_eq!(a.udp_bind(end(B, 7000)), Err(Errno::ADDRNOTAVAIL));
    let closing = a.udp_bind(end(A, 8000)).unwrap();
    a.udp_close(closing);
    assert!(a.udp_bind(end(A, 8000)).is_ok());
}

#[test]
fn ephemeral_ports_are_the_hosts_own_chance_and_run_out_with_addr_in_use() {
    let ports = |seed| {
        let mut a = host(&[A], seed);
        let mut bind = || a.udp_bind(end(A, 0)).map(|key| a.udp_socket(key).unwrap().local.port()).unwrap();
        [bind(), bind(), bind()]
    };
    assert_eq!(ports(1), ports(1));
    assert_ne!(ports(1), ports(2));
    let mut a = host(&[A], 1);
    for _ in 32_768..=60_999 {
        a.udp_bind(end(A, 0)).unwrap();
    }
    assert_eq!(a.udp_bind(end(A, 0)), Err(Errno::ADDRINUSE));
    assert!(a.udp_bind(end(A, 1024)).is_ok());
}

#[test]
fn a_closed_port_answers_port_unreachable_and_the_connected_sender_is_refused_once() {
    for (a, b) in [(A, B), (A6, B6)] {
        let mut pair = Pair::new();
        let client = pair.a.udp_bind(end(a, 5000)).unwrap();
        pair.a.udp_connect(client, end(b, 9)).unwrap();
        pair.a.udp_send(client, b"x", end(b, 9), pair.now).unwrap();
        pair.run();
        assert_eq!(pair.outcome_at_b(), Some(Outcome::Dropped(DropReason::PortUnreachable)));
        assert_eq!(recv(&mut pair.a, client), Some(Err(Errno::CONNREFUSED)));
        assert!(recv(&mut pair.a, client).is_none());
        pair.a.udp_send(client, b"x", end(b, 9), pair.now).unwrap();
        pair.run();
        assert_eq!(pair.a.udp_send(client, b"x", end(b, 9), pair.now), Err(Errno::CONNREFUSED));
        assert_eq!(pair.a.udp_send(client, b"x", end(b, 9), pair.now), Ok(1));
    }
}

#[test]
fn an_unconnected_socket_hears_of_icmp_only_with_receive_errors() {
    let mut pair = Pair::new();
    let client = pair.a.udp_bind(end(A, 5000)).unwrap();
    pair.a.udp_send(client, b"x", end(B, 9), pair.now).unwrap();
    pair.run();
    assert!(recv(&mut pair.a, client).is_none());
    assert_eq!(pair.a.udp_take_report(client), None);
    pair.a.udp_socket(client).unwrap().receive_errors = true;
    pair.a.udp_send(client, b"x", end(B, 9), pair.now).unwrap();
    let sent = pair.now;
    pair.run();
    assert_eq!(recv(&mut pair.a, client), Some(Err(Errno::CONNREFUSED)));
    let report =
        IcmpReport { error: IcmpError::PortUnreachable, reporter: ip(B), destination: end(B, 9), at: sent + DELAY * 2 };
    assert_eq!(pair.a.udp_take_report(client), Some(report));
    assert_eq!(pair.a.udp_take_report(client), None);
}

#[test]
fn every_icmp_error_reaches_the_sockets_that_linux_would_tell() {
    let errors = [
        IcmpError::NetUnreachable,
        IcmpError::HostUnreachable,
        IcmpError::ProtocolUnreachable,
        IcmpError::PortUnreachable,
        IcmpError::AdminProhibited,
        IcmpError::TtlExceeded,
        IcmpError::Other { kind: 3, code: 6 },
    ];
    for error in errors {
        for (local, remote) in [(A, "198.18.0.9"), (A6, "fd00:9::9")] {
            let ipv6 = ip(local).is_ipv6();
            if ipv6 && matches!(error, IcmpError::Other { .. }) {
                continue;
            }
            let expected = errno::from_icmp(error, ipv6).unwrap();
            for (connected, receive_errors) in [(false, false), (true, false), (false, true), (true, true)] {
                let mut a = host(&[A, A6], 1);
                let key = a.udp_bind(end(local, 5000)).unwrap();
                if connected {
                    a.udp_connect(key, end(remote, 9)).unwrap();
                }
                a.udp_socket(key).unwrap().receive_errors = receive_errors;
                a.udp_send(key, b"x", end(remote, 9), Time::ZERO).unwrap();
                assert_eq!(router_says(&mut a, error, Time::ZERO), Outcome::Delivered);
                let told = receive_errors || (connected && expected.hard);
                assert_eq!(recv(&mut a, key), told.then_some(Err(expected.errno)), "{error:?} {connected}");
                assert_eq!(a.udp_take_report(key).map(|report| report.error), receive_errors.then_some(error));
            }
        }
    }
}

#[test]
fn an_icmp_error_about_nobodys_datagram_concerns_nobody() {
    let mut a = host(&[A], 1);
    let key = a.udp_bind(end(A, 5000)).unwrap();
    a.udp_send(key, b"x", end("198.18.0.9", 9), Time::ZERO).unwrap();
    a.udp_close(key);
    let outcome = router_says(&mut a, IcmpError::PortUnreachable, Time::ZERO);
    assert_eq!(outcome, Outcome::Dropped(DropReason::IcmpUnconcerned));
}

#[test]
fn a_connected_socket_refuses_others_as_if_it_were_not_there() {
    let mut pair = Pair::new();
    let server = pair.b.udp_bind(end(B, 9)).unwrap();
    pair.b.udp_connect(server, end(A, 5000)).unwrap();
    let other = pair.a.udp_bind(end(A, 5001)).unwrap();
    pair.a.udp_send(other, b"x", end(B, 9), pair.now).unwrap();
    pair.run();
    assert_eq!(pair.outcome_at_b(), Some(Outcome::Dropped(DropReason::PortUnreachable)));
    let right = pair.a.udp_bind(end(A, 5000)).unwrap();
    pair.a.udp_send(right, b"y", end(B, 9), pair.now).unwrap();
    pair.run();
    assert_eq!(payload(&mut pair.b, server).unwrap(), b"y");
}

#[test]
fn connecting_a_socket_on_all_addresses_gives_it_the_address_it_sends_from() {
    let mut pair = Pair::new();
    let client = pair.a.udp_bind(end("0.0.0.0", 5000)).unwrap();
    pair.a.udp_connect(client, end(B, 9)).unwrap();
    assert_eq!(pair.a.udp_socket(client).unwrap().local, end(A, 5000));
    let server = pair.b.udp_bind(end(B, 9)).unwrap();
    pair.b.udp_send(server, b"x", end(A, 5000), pair.now).unwrap();
    pair.run();
    assert_eq!(payload(&mut pair.a, client).unwrap(), b"x");
}

#[test]
fn too_big_teaches_the_path_mtu_and_only_dont_fragment_sockets_are_told() {
    for (local, remote, learned) in [(A, "198.18.0.9", 1000), (A6, "fd00:9::9", 1280)] {
        let mut a = host(&[A, A6], 1);
        let key = a.udp_bind(end(local, 5000)).unwrap();
        a.udp_socket(key).unwrap().dont_fragment = true;
        a.udp_connect(key, end(remote, 9)).unwrap();
        let send = |a: &mut Stack, length: usize| a.udp_send(key, &vec![1; length], end(remote, 9), Time::ZERO);
        send(&mut a, 1400).unwrap();
        assert_eq!(router_says(&mut a, IcmpError::PacketTooBig { mtu: 1000 }, Time::ZERO), Outcome::Delivered);
        assert_eq!(send(&mut a, 1400), Err(Errno::MSGSIZE), "the pending error");
        assert_eq!(send(&mut a, 1400), Err(Errno::MSGSIZE), "larger than the path");
        assert_eq!(all_drops(&mut a), [DropReason::TooBig]);
        let header = if local == A { 28 } else { 48 };
        assert_eq!(send(&mut a, learned - header), Ok(learned - header));
        assert_eq!(a.outbox().unwrap().packet.bytes().len(), learned);
        a.udp_socket(key).unwrap().dont_fragment = false;
        assert_eq!(send(&mut a, 1400), Ok(1400));
        let pieces: Vec<usize> = std::iter::from_fn(|| a.outbox()).map(|out| out.packet.bytes().len()).collect();
        assert!(pieces.len() == 2 && pieces.iter().all(|length| *length <= learned), "{pieces:?}");
        let later = Time::ZERO + Duration::from_secs(601);
        a.udp_send(key, &[1; 1400], end(remote, 9), later).unwrap();
        assert_eq!(a.outbox().unwrap().packet.bytes().len(), 1400 + header, "the path MTU is forgotten");
    }
}

#[test]
fn a_datagram_beyond_the_protocol_or_without_a_route_is_refused_and_shown() {
    let mut a = host(&[A], 1);
    let key = a.udp_bind(end("0.0.0.0", 5000)).unwrap();
    assert_eq!(a.udp_send(key, &vec![0; 65_508], end(B, 9), Time::ZERO), Err(Errno::MSGSIZE));
    assert_eq!(a.udp_send(key, b"x", end(B6, 9), Time::ZERO), Err(Errno::AFNOSUPPORT));
    assert_eq!(a.udp_send(key, b"x", end(B, 0), Time::ZERO), Err(Errno::INVAL));
    assert_eq!(a.udp_send(key, b"x", end("127.0.0.1", 9), Time::ZERO), Err(Errno::NETUNREACH), "no loopback here");
    assert_eq!(all_drops(&mut a), [DropReason::NoRoute]);
    let mut island = Stack::new(vec![UplinkConfig { gateway_v4: None, ..uplink(&[A], 1500) }], 1);
    let key = island.udp_bind(end("0.0.0.0", 5000)).unwrap();
    assert_eq!(island.udp_send(key, b"x", end("198.18.0.9", 9), Time::ZERO), Err(Errno::NETUNREACH));
    assert_eq!(all_drops(&mut island), [DropReason::NoRoute]);
}

#[test]
fn a_bad_checksum_a_foreign_address_and_an_unknown_protocol_have_their_reasons() {
    let mut a = host(&[A], 1);
    a.udp_bind(end(A, 9)).unwrap();
    let fields = build::IpFields::default();
    let good = build::udp(end(B, 5000), end(A, 9), fields, b"hello").unwrap();
    let mut bytes = good.clone().into_bytes();
    *bytes.last_mut().unwrap() ^= 1;
    let bad = Packet::parse(bytes).unwrap();
    let mut receive = |packet| a.receive(0, packet, PacketId(1), Time::ZERO);
    assert_eq!(receive(bad), Outcome::Dropped(DropReason::BadTransportChecksum));
    assert_eq!(receive(good), Outcome::Delivered);
    let foreign = build::udp(end(B, 5000), end("10.0.0.77", 9), fields, b"x").unwrap();
    assert_eq!(receive(foreign), Outcome::Dropped(DropReason::NotForThisHost));
    let sctp = build::ip(ip(B), ip(A), 132, fields, &[0; 12]).unwrap();
    assert_eq!(receive(sctp), Outcome::Dropped(DropReason::ProtocolUnreachable));
    let answer = a.outbox().unwrap();
    assert_eq!(answer.packet.transport(), Transport::IcmpError(IcmpError::ProtocolUnreachable));
    assert_eq!(answer.cause, Some(PacketId(1)));
    assert!(a.outbox().is_none());
}

#[test]
fn multicast_is_taken_by_members_alone_and_never_answered() {
    let group = end("239.255.255.250", 1900);
    let datagram = || build::udp(end(A, 5000), group, build::IpFields::default(), b"search").unwrap();
    let mut b = host(&[B], 1);
    let receive = |b: &mut Stack| b.receive(0, datagram(), PacketId(1), Time::ZERO);
    assert_eq!(receive(&mut b), Outcome::Dropped(DropReason::NotForThisHost));
    let key = b.udp_bind(end("0.0.0.0", 1900)).unwrap();
    assert_eq!(b.udp_join(key, ip(A), ip(B)), Err(Errno::INVAL));
    assert_eq!(b.udp_join(key, group.ip(), ip(A)), Err(Errno::NODEV));
    b.udp_join(key, group.ip(), ip(B)).unwrap();
    assert_eq!(b.udp_join(key, group.ip(), ip(B)), Err(Errno::ADDRINUSE));
    assert_eq!(receive(&mut b), Outcome::Delivered);
    assert_eq!(recv(&mut b, key).unwrap().unwrap().0.destination, group);
    let elsewhere = build::udp(end(A, 5000), end("239.255.255.250", 1901), build::IpFields::default(), b"x").unwrap();
    let outcome = b.receive(0, elsewhere, PacketId(1), Time::ZERO);
    assert_eq!(outcome, Outcome::Dropped(DropReason::PortUnreachable));
    assert!(b.outbox().is_none(), "no ICMP error about multicast");
    b.udp_close(key);
    assert_eq!(receive(&mut b), Outcome::Dropped(DropReason::NotForThisHost), "closing leaves the group");
}

#[test]
fn a_member_hears_its_own_host_and_so_does_the_network() {
    for (own, group) in [(A, "239.1.2.3"), (A6, "ff02::fb")] {
        let mut a = host(&[A, A6], 1);
        let any = if own == A { "0.0.0.0" } else { "::" };
        let member = a.udp_bind(end(any, 5353)).unwrap();
        let sender = a.udp_bind(end(own, 0)).unwrap();
        a.udp_send(sender, b"1", end(group, 5353), Time::ZERO).unwrap();
        assert!(recv(&mut a, member).is_none() && a.outbox().is_some());
        a.udp_join(member, ip(group), ip(own)).unwrap();
        a.udp_send(sender, b"2", end(group, 5353), Time::ZERO).unwrap();
        assert_eq!(payload(&mut a, member), Some(b"2".to_vec()));
        assert_eq!(a.outbox().unwrap().packet.payload(), b"2");
        a.udp_send(sender, b"3", end(group, 1), Time::ZERO).unwrap();
        assert!(a.outbox().is_some() && a.outbox().is_none(), "no ICMP error about the copy");
    }
}

#[test]
fn a_host_reaches_itself_without_its_uplink() {
    let mut a = host(&[A], 1);
    let server = a.udp_bind(end("0.0.0.0", 9)).unwrap();
    let client = a.udp_bind(end("0.0.0.0", 0)).unwrap();
    a.udp_send(client, b"me", end(A, 9), Time::ZERO).unwrap();
    let (received, bytes) = recv(&mut a, server).unwrap().unwrap();
    assert_eq!((received.source.ip(), bytes.as_slice()), (ip(A), b"me".as_slice()));
    a.udp_connect(client, end(A, 10)).unwrap();
    a.udp_send(client, b"me", end(A, 10), Time::ZERO).unwrap();
    assert_eq!(recv(&mut a, client), Some(Err(Errno::CONNREFUSED)));
    assert!(a.outbox().is_none());
}

#[test]
fn echo_is_answered_and_replies_and_errors_find_their_socket() {
    for (a, b) in [(A, B), (A6, B6)] {
        let mut pair = Pair::new();
        let (one, identifier) = pair.a.echo_open(ip(a)).unwrap();
        let (two, other) = pair.a.echo_open(ip(a)).unwrap();
        assert_ne!(identifier, other);
        pair.a.echo_set_ttl(one, 9).unwrap();
        pair.a.echo_send(one, ip(b), 7, b"ping", pair.now).unwrap();
        pair.run();
        assert_eq!(pair.outcome_at_b(), Some(Outcome::Delivered));
        let Some(Ok(EchoAnswer::Reply(reply))) = pair.a.echo_receive(one, Waker::noop()) else { panic!("no reply") };
        assert_eq!((reply.source, reply.sequence, reply.length, reply.ttl), (ip(b), 7, 4, 64));
        assert_eq!(reply.at, Time::ZERO + DELAY * 2);
        assert!(pair.a.echo_receive(two, Waker::noop()).is_none());
        let far = if a == A { "198.18.0.9" } else { "fd00:9::9" };
        pair.a.echo_send(two, ip(far), 258, b"ping", pair.now).unwrap();
        assert_eq!(router_says(&mut pair.a, IcmpError::TtlExceeded, pair.now), Outcome::Delivered);
        let Some(Ok(EchoAnswer::Error { report, sequence })) = pair.a.echo_receive(two, Waker::noop()) else {
            panic!("no error")
        };
        assert_eq!((sequence, report.error, report.destination.ip()), (258, IcmpError::TtlExceeded, ip(far)));
        pair.a.echo_close(one);
        pair.a.echo_send(two, ip(b), 1, &[0; 4000], pair.now).unwrap();
        pair.run();
        let Some(Ok(EchoAnswer::Reply(reply))) = pair.a.echo_receive(two, Waker::noop()) else { panic!("no reply") };
        assert_eq!(reply.length, 4000, "in fragments both ways");
    }
}

#[test]
fn a_datagram_wakes_its_reader_once() {
    let mut pair = Pair::new();
    let server = pair.b.udp_bind(end(B, 9)).unwrap();
    let waker = named_waker();
    for _ in 0..3 {
        assert!(pair.b.udp_receive(server, &mut [], &waker).is_none());
    }
    let client = pair.a.udp_bind(end(A, 9)).unwrap();
    pair.a.udp_send(client, b"1", end(B, 9), pair.now).unwrap();
    pair.a.udp_send(client, b"2", end(B, 9), pair.now).unwrap();
    pair.run();
    assert_eq!(pair.wakes, 1);
}

#[test]
fn an_idle_host_with_a_udp_socket_is_small() {
    let mut pair = Pair::new();
    let server = pair.b.udp_bind(end(B, 9)).unwrap();
    let held = |stack: &Stack| size_of::<Stack>() + stack.heap_bytes_estimate();
    assert!(held(&pair.b) < 768, "{} bytes", held(&pair.b));
    let client = pair.a.udp_bind(end(A, 9)).unwrap();
    pair.a.udp_send(client, b"x", end(B, 9), pair.now).unwrap();
    pair.run();
    let (received, _) = recv(&mut pair.b, server).unwrap().unwrap();
    pair.b.udp_send(server, b"x", received.source, pair.now).unwrap();
    pair.run();
    assert!(held(&pair.b) < 896, "{} bytes after an exchange", held(&pair.b));
}

fn any_bytes() -> impl Strategy<Value = Vec<u8>> {
    let tail = proptest::collection::vec(any::<u8>(), 0..80);
    (
        any::<bool>(),
        any::<[u8; 40]>(),
        tail,
        any::<u16>(),
        prop_oneof![Just(1u8), Just(6), Just(17), Just(44), Just(58), any::<u8>()],
    )
        .prop_map(|(ipv6, head, tail, fragment, protocol)| {
            let mut bytes = Vec::new();
            if ipv6 {
                bytes.extend([0x60, 0, 0, 0, 0, tail.len() as u8, protocol, 64]);
                for address in [B6, A6] {
                    let std::net::IpAddr::V6(address) = ip(address) else { unreachable!() };
                    bytes.extend(address.octets());
                }
            } else {
                let length = (20 + tail.len()) as u16;
                bytes.extend([0x45, 0]);
                bytes.extend(length.to_be_bytes());
                bytes.extend([head[0], head[1]]);
                bytes.extend(fragment.to_be_bytes());
                bytes.extend([64, protocol, 0, 0, 10, 0, 0, 2, 10, 0, 0, 1]);
                let sum = natbox_wire::checksum::checksum(&bytes);
                bytes[10..12].copy_from_slice(&sum.to_be_bytes());
            }
            bytes.extend(tail);
            bytes
        })
}

proptest! {
    #[test]
    fn no_parsed_packet_makes_a_host_panic(all in proptest::collection::vec(any_bytes(), 1..20)) {
        let mut a = host(&[A, A6], 1);
        a.udp_bind(end("0.0.0.0", 9)).unwrap();
        for (n, bytes) in all.into_iter().enumerate() {
            if let Ok(packet) = Packet::parse(bytes) {
                a.receive(0, packet, PacketId(n as u64), Time::from_nanos(n as u64));
            }
        }
        a.handle_timeout(Time::ZERO + Duration::from_secs(100));
    }

    #[test]
    fn a_datagram_of_any_size_arrives_over_any_mtu(length in 0usize..20_000, mtu in 68usize..3000, ipv6: bool) {
        let (a, b) = if ipv6 { (A6, B6) } else { (A, B) };
        let mut pair = Pair::with_mtus(mtu, mtu);
        let server = pair.b.udp_bind(end(b, 9)).unwrap();
        let client = pair.a.udp_bind(end(a, 9)).unwrap();
        let bytes: Vec<u8> = (0..length).map(|n| (n % 251) as u8).collect();
        let destination: SocketAddr = end(b, 9);
        prop_assert_eq!(pair.a.udp_send(client, &bytes, destination, pair.now), Ok(length));
        pair.run();
        prop_assert_eq!(payload(&mut pair.b, server), Some(bytes));
    }
}

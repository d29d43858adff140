use std::net::SocketAddr;
use std::task::Waker;
use std::time::Duration;

use natbox_host::TcpOptions;
use natbox_wire::{DropReason, IcmpError, Packet, TcpFlags, Time, Transport, build};
use proptest::prelude::*;

use super::support::*;
use crate::note::{Outcome, PacketId};
use crate::stack::Stack;
use crate::stack::errno::{self, Errno};

fn plain() -> TcpOptions {
    TcpOptions::default()
}

fn from(local: SocketAddr) -> TcpOptions {
    TcpOptions { local: Some(local), ..plain() }
}

fn sharing(local: SocketAddr) -> TcpOptions {
    TcpOptions { reuse_port: true, ..from(local) }
}

fn connected(stack: &mut Stack, key: u32) -> Option<Result<(), Errno>> {
    stack.tcp_poll_connect(key, Waker::noop())
}

fn accept(stack: &mut Stack, listener: u32) -> Option<(u32, SocketAddr, SocketAddr)> {
    stack.tcp_accept(listener, Waker::noop()).map(|accepted| accepted.unwrap())
}

fn read(stack: &mut Stack, key: u32, now: Time) -> Option<Result<Vec<u8>, Errno>> {
    let mut buffer = vec![0; 1 << 20];
    let read = stack.tcp_read(key, &mut buffer, Waker::noop(), now)?;
    Some(read.map(|length| buffer[..length].to_vec()))
}

fn write(stack: &mut Stack, key: u32, bytes: &[u8], now: Time) -> Option<Result<usize, Errno>> {
    stack.tcp_write(key, bytes, Waker::noop(), now)
}

/// A pair with an established connection: A's key, B's key.
fn established(a: &str, b: &str) -> (Pair, u32, u32) {
    let mut pair = Pair::new();
    let (listener, _) = pair.b.tcp_listen(end(b, 80), plain()).unwrap();
    let (client, local) = pair.a.tcp_connect(end(b, 80), plain(), pair.now).unwrap();
    assert_eq!(local.ip(), ip(a));
    pair.run();
    assert_eq!(connected(&mut pair.a, client), Some(Ok(())));
    let (server, at, peer) = accept(&mut pair.b, listener).unwrap();
    assert_eq!((at, peer), (end(b, 80), local));
    (pair, client, server)
}

#[test]
fn a_connection_carries_bytes_both_ways_and_ends_half_by_half() {
    for (a, b) in [(A, B), (A6, B6)] {
        let (mut pair, client, server) = established(a, b);
        assert_eq!(write(&mut pair.a, client, b"hello", pair.now), Some(Ok(5)));
        pair.run();
        assert_eq!(read(&mut pair.b, server, pair.now), Some(Ok(b"hello".to_vec())));
        assert_eq!(read(&mut pair.b, server, pair.now), None);
        pair.a.tcp_shutdown(client, pair.now).unwrap();
        assert_eq!(write(&mut pair.a, client, b"x", pair.now), Some(Err(Errno::PIPE)));
        pair.run();
        assert_eq!(read(&mut pair.b, server, pair.now), Some(Ok(vec![])), "end of file");
        assert_eq!(write(&mut pair.b, server, b"still here", pair.now), Some(Ok(10)));
        pair.run();
        assert_eq!(read(&mut pair.a, client, pair.now), Some(Ok(b"still here".to_vec())));
        pair.b.tcp_close(server, pair.now);
        pair.run();
        assert_eq!(read(&mut pair.a, client, pair.now), Some(Ok(vec![])));
        pair.a.tcp_close(client, pair.now);
        pair.run_for(Duration::from_secs(20));
        assert!(pair.a.poll_timeout().is_none() && pair.b.poll_timeout().is_none());
    }
}

/// Sends `total` bytes each way at once; gives what arrived at A and at B.
fn exchange(pair: &mut Pair, client: u32, server: u32, total: usize) -> (Vec<u8>, Vec<u8>) {
    let bytes: Vec<u8> = (0..total).map(|n| (n % 253) as u8).collect();
    let (mut sent, mut got) = ([0, 0], [Vec::new(), Vec::new()]);
    let until = pair.now + Duration::from_secs(600);
    let mut steps = 0;
    while got.iter().any(|got| got.len() < total) {
        for (side, key) in [(0, client), (1, server)] {
            let now = pair.now;
            let stack = if side == 0 { &mut pair.a } else { &mut pair.b };
            if let Some(Ok(length)) = write(stack, key, &bytes[sent[side]..], now) {
                sent[side] += length;
            }
            while let Some(Ok(read)) = read(stack, key, now).filter(|read| *read != Ok(vec![])) {
                got[side].extend(read);
            }
        }
        steps += 1;
        assert!(pair.step(until) && steps < 200_000, "stuck at {:?} of {total}", got.each_ref().map(Vec::len));
    }
    assert!(got.iter().all(|got| *got == bytes));
    let [a, b] = got;
    (a, b)
}

#[test]
fn a_mebibyte_goes_each_way_without_loss_and_with() {
    for lose in [(|_, _| false) as fn(u64, &Packet) -> bool, |number, _| number % 31 == 7] {
        let (mut pair, client, server) = established(A, B);
        pair.lose = lose;
        exchange(&mut pair, client, server, 1 << 20);
    }
}

#[test]
fn two_runs_of_one_seed_send_the_same_bytes() {
    let run = || {
        let (mut pair, client, server) = established(A6, B6);
        pair.lose = |number, _| number % 17 == 3;
        exchange(&mut pair, client, server, 100_000);
        (pair.now, pair.sent)
    };
    assert_eq!(run(), run());
}

#[test]
fn a_closed_port_refuses_even_where_tcp_was_never_used() {
    for (a, b) in [(A, B), (A6, B6)] {
        let mut pair = Pair::new();
        let (client, _) = pair.a.tcp_connect(end(b, 80), from(end(a, 4000)), pair.now).unwrap();
        assert_eq!(connected(&mut pair.a, client), None);
        pair.run();
        assert_eq!(pair.outcome_at_b(), Some(Outcome::Dropped(DropReason::PortUnreachable)));
        assert_eq!(connected(&mut pair.a, client), Some(Err(Errno::CONNREFUSED)));
        assert!(pair.b.tcp.is_none());
        pair.a.tcp_close(client, pair.now);
        assert_eq!(pair.a.poll_timeout(), None);
    }
}

#[test]
fn a_reset_is_connection_reset_once_then_end_of_file_and_broken_pipe() {
    let (mut pair, client, server) = established(A, B);
    write(&mut pair.a, client, b"never read", pair.now);
    pair.run();
    pair.b.tcp_close(server, pair.now);
    pair.run();
    assert_eq!(read(&mut pair.a, client, pair.now), Some(Err(Errno::CONNRESET)), "closed with unread data");
    assert_eq!(read(&mut pair.a, client, pair.now), Some(Ok(vec![])));
    assert_eq!(write(&mut pair.a, client, b"x", pair.now), Some(Err(Errno::PIPE)));
    assert_eq!(pair.a.tcp_shutdown(client, pair.now), Err(Errno::NOTCONN));
}

#[test]
fn data_for_a_dropped_stream_is_reset() {
    let (mut pair, client, server) = established(A, B);
    pair.b.tcp_close(server, pair.now);
    pair.run();
    assert_eq!(read(&mut pair.a, client, pair.now), Some(Ok(vec![])));
    assert_eq!(write(&mut pair.a, client, b"anybody?", pair.now), Some(Ok(8)));
    pair.run();
    assert_eq!(write(&mut pair.a, client, b"x", pair.now), Some(Err(Errno::PIPE)), "reset in CLOSE-WAIT");
    assert_eq!(pair.b.poll_timeout(), None, "the orphan is gone");
}

#[test]
fn simultaneous_open_connects_both_sides_for_both_versions_and_in_both_orders() {
    for (a, b) in [(A, B), (A6, B6)] {
        for a_first in [true, false] {
            let mut pair = Pair::new();
            let (mut one, mut two) = (None, None);
            for turn in [a_first, !a_first] {
                if turn {
                    one = pair.a.tcp_connect(end(b, 2), from(end(a, 1)), pair.now).ok();
                } else {
                    two = pair.b.tcp_connect(end(a, 1), from(end(b, 2)), pair.now).ok();
                }
            }
            let ((one, _), (two, _)) = (one.unwrap(), two.unwrap());
            pair.run();
            assert_eq!(connected(&mut pair.a, one), Some(Ok(())));
            assert_eq!(connected(&mut pair.b, two), Some(Ok(())));
            assert!(pair.outcomes.iter().all(|(_, outcome)| *outcome == Outcome::Delivered));
            exchange(&mut pair, one, two, 10_000);
        }
    }
}

#[test]
fn hole_punching_shares_one_port_between_a_listener_and_several_connections() {
    let mut pair = Pair::new();
    let local = end(A, 4000);
    let (listener, _) = pair.a.tcp_listen(end("0.0.0.0", 4000), TcpOptions { reuse_port: true, ..plain() }).unwrap();
    let (first, at) = pair.a.tcp_connect(end(B, 81), sharing(local), pair.now).unwrap();
    assert_eq!(at, local);
    let (second, _) = pair.a.tcp_connect(end(B, 82), sharing(end("0.0.0.0", 4000)), pair.now).unwrap();
    assert_eq!(pair.a.tcp_connect(end(B, 82), sharing(local), pair.now), Err(Errno::ADDRNOTAVAIL), "same four");
    assert_eq!(pair.a.tcp_connect(end(B, 83), from(local), pair.now), Err(Errno::ADDRINUSE), "does not share");
    // B opens the first from its side at once, the second comes to nothing, a third comes to the listener.
    let (simultaneous, _) = pair.b.tcp_connect(local, from(end(B, 81)), pair.now).unwrap();
    let (incoming, _) = pair.b.tcp_connect(local, from(end(B, 99)), pair.now).unwrap();
    pair.run();
    assert_eq!(connected(&mut pair.a, first), Some(Ok(())));
    assert_eq!(connected(&mut pair.b, simultaneous), Some(Ok(())));
    assert_eq!(connected(&mut pair.a, second), Some(Err(Errno::CONNREFUSED)));
    assert_eq!(connected(&mut pair.b, incoming), Some(Ok(())));
    let (_, at, peer) = accept(&mut pair.a, listener).unwrap();
    assert_eq!((at, peer), (local, end(B, 99)));
    assert!(accept(&mut pair.a, listener).is_none());
}

#[test]
fn ports_are_refused_as_bind_refuses_them() {
    let mut a = host(&[A, "10.0.0.9"], 1);
    let (listener, at) = a.tcp_listen(end("0.0.0.0", 80), plain()).unwrap();
    assert_eq!(at, end("0.0.0.0", 80));
    assert_eq!(a.tcp_listen(end(A, 80), plain()), Err(Errno::ADDRINUSE));
    assert_eq!(a.tcp_listen(end(B, 80), plain()), Err(Errno::ADDRNOTAVAIL));
    a.tcp_unlisten(listener, Time::ZERO);
    a.tcp_listen(end(A, 80), plain()).unwrap();
    assert!(a.tcp_listen(end("10.0.0.9", 80), plain()).is_ok(), "another address is another port");
    let (_, chosen) = a.tcp_listen(end(A, 0), plain()).unwrap();
    assert!((32_768..=60_999).contains(&chosen.port()));
    let shared = TcpOptions { reuse_port: true, ..plain() };
    a.tcp_listen(end(A, 90), shared).unwrap();
    assert_eq!(a.tcp_listen(end(A, 90), shared), Err(Errno::ADDRINUSE), "no balancing between listeners");
    let far = end("198.18.0.9", 80);
    assert_eq!(a.tcp_connect(far, TcpOptions { ttl: Some(0), ..plain() }, Time::ZERO), Err(Errno::INVAL));
    assert_eq!(a.tcp_connect(end("224.0.0.9", 80), plain(), Time::ZERO), Err(Errno::NETUNREACH));
    assert_eq!(a.tcp_connect(end("198.18.0.9", 0), plain(), Time::ZERO), Err(Errno::CONNREFUSED));
}

#[test]
fn connecting_gives_up_when_told_or_after_linuxs_127_seconds_without_a_rst() {
    for (timeout, seconds) in [(Some(Duration::from_secs(5)), 5), (None, 127)] {
        let mut pair = Pair::new();
        pair.lose = |_, _| true;
        let options = TcpOptions { connect_timeout: timeout, ..plain() };
        let (client, _) = pair.a.tcp_connect(end(B, 80), options, pair.now).unwrap();
        pair.run_for(Duration::from_millis(seconds * 1000 - 1));
        assert_eq!(connected(&mut pair.a, client), None);
        let syns = pair.sent;
        assert_eq!(syns, if seconds == 5 { 3 } else { 8 }, "at 0, 1, 3, 7, 15, 31, 63 and 123 seconds");
        pair.run_for(Duration::from_millis(1));
        assert_eq!(connected(&mut pair.a, client), Some(Err(Errno::TIMEDOUT)));
        pair.run_for(Duration::from_secs(300));
        assert_eq!(pair.sent, syns);
    }
}

#[test]
fn an_icmp_error_ends_connecting_and_is_only_remembered_later() {
    let errors =
        [IcmpError::NetUnreachable, IcmpError::HostUnreachable, IcmpError::PortUnreachable, IcmpError::TtlExceeded];
    for error in errors {
        for (own, far) in [(A, "198.18.0.9"), (A6, "fd00:9::9")] {
            let mut a = host(&[A, A6], 1);
            let (client, _) = a.tcp_connect(end(far, 80), plain(), Time::ZERO).unwrap();
            let syn = a.outbox().unwrap().packet;
            let router = if own == A { "198.18.0.1" } else { "fd00:9::1" };
            let packet = build::icmp_error(error, ip(router), &syn).unwrap();
            assert_eq!(a.receive(0, packet, PacketId(1), Time::ZERO), Outcome::Delivered);
            let expected = errno::from_icmp(error, own == A6).unwrap().errno;
            assert_eq!(connected(&mut a, client), Some(Err(expected)));
            assert!(a.outbox().is_none());
        }
    }
    let (mut pair, client, _) = established(A, B);
    pair.lose = |_, _| true;
    write(&mut pair.a, client, b"x", pair.now);
    let segment = pair.a.outbox().unwrap().packet;
    let packet = build::icmp_error(IcmpError::HostUnreachable, ip("10.0.0.254"), &segment).unwrap();
    pair.a.receive(0, packet, PacketId(1), pair.now);
    assert_eq!(read(&mut pair.a, client, pair.now), None, "an established connection ignores it");
    pair.run_for(Duration::from_secs(1000));
    assert_eq!(read(&mut pair.a, client, pair.now), Some(Err(Errno::HOSTUNREACH)), "and blames it for the timeout");
}

#[test]
fn segments_fit_the_link_and_a_packet_too_big_makes_them_smaller() {
    for (a, b, lowered) in [(A, B, 1000), (A6, B6, 1300)] {
        let mut pair = Pair::with_mtus(1400, 1500);
        let (listener, _) = pair.b.tcp_listen(end(b, 80), plain()).unwrap();
        let (client, _) = pair.a.tcp_connect(end(b, 80), plain(), pair.now).unwrap();
        pair.run();
        let (server, ..) = accept(&mut pair.b, listener).unwrap();
        write(&mut pair.a, client, &[7; 5000], pair.now).unwrap().unwrap();
        let large = pair.a.outbox().unwrap().packet;
        assert_eq!(large.bytes().len(), 1400);
        while pair.a.outbox().is_some() {}
        let router = if a == A { "10.0.0.254" } else { "fd00::fe" };
        let error = build::icmp_error(IcmpError::PacketTooBig { mtu: lowered }, ip(router), &large).unwrap();
        assert_eq!(pair.a.receive(0, error, PacketId(1), pair.now), Outcome::Delivered);
        pair.lose = |_, packet| packet.bytes().len() > 1300;
        pair.run_for(Duration::from_secs(10));
        assert_eq!(read(&mut pair.b, server, pair.now).unwrap().unwrap(), [7; 5000]);
    }
}

#[test]
fn a_dropped_listener_resets_who_waits_and_forgets_who_is_half_open() {
    let mut pair = Pair::new();
    let (listener, _) = pair.b.tcp_listen(end(B, 80), plain()).unwrap();
    let (waiting, _) = pair.a.tcp_connect(end(B, 80), plain(), pair.now).unwrap();
    pair.run();
    assert_eq!(connected(&mut pair.a, waiting), Some(Ok(())));
    pair.b.tcp_unlisten(listener, pair.now);
    pair.run();
    assert_eq!(read(&mut pair.a, waiting, pair.now), Some(Err(Errno::CONNRESET)));
    assert_eq!(pair.b.poll_timeout(), None);
    assert!(pair.b.tcp_listen(end(B, 80), plain()).is_ok(), "the port is free again");
}

#[test]
fn a_full_backlog_drops_syns_and_half_open_connections_expire() {
    let mut b = host(&[B], 1);
    let (listener, _) = b.tcp_listen(end(B, 80), plain()).unwrap();
    let syn = |port| {
        let flags = TcpFlags { syn: true, ..TcpFlags::default() };
        build::tcp(end(A, port), end(B, 80), build::IpFields::default(), flags, 1, 0, 1000, &[]).unwrap()
    };
    let mut outcomes = (1..=200).map(|port| b.receive(0, syn(port), PacketId(port.into()), Time::ZERO));
    assert!(outcomes.by_ref().take(128).all(|outcome| outcome == Outcome::Delivered));
    assert!(outcomes.all(|outcome| outcome == Outcome::Dropped(DropReason::BufferFull)));
    let mut now = Time::ZERO;
    while let Some(due) = b.poll_timeout() {
        assert!(due > now, "a timer that is due again at once");
        now = due;
        b.handle_timeout(now);
    }
    assert_eq!(now, Time::ZERO + Duration::from_secs(63));
    assert!(accept(&mut b, listener).is_none());
    assert_eq!(b.receive(0, syn(1), PacketId(1), now), Outcome::Delivered);
}

#[test]
fn an_idle_connection_lives_for_days_and_sets_no_timer() {
    let (mut pair, client, server) = established(A, B);
    pair.run_for(Duration::from_secs(3 * 86_400));
    assert_eq!((pair.a.poll_timeout(), pair.b.poll_timeout()), (None, None));
    exchange(&mut pair, client, server, 1000);
}

#[test]
fn a_lingering_connection_gives_way_to_a_new_syn() {
    let (mut pair, client, server) = established(A, B);
    let local = pair.a.tcp.as_ref().unwrap().poll_timeout();
    assert_eq!(local, None);
    pair.b.tcp_close(server, pair.now);
    pair.run();
    pair.a.tcp_close(client, pair.now);
    pair.run();
    // B closed first and lingers; A's port is free, and a SYN from the same endpoint opens again.
    let peer = pair.outcomes.len();
    let mut again = 0;
    for port in 32_768..=60_999u16 {
        if pair.b.tcp.as_ref().unwrap().find(end(B, 80), end(A, port)).is_some() {
            again = port;
        }
    }
    assert!(again != 0 && peer > 0);
    let (client, _) = pair.a.tcp_connect(end(B, 80), from(end(A, again)), pair.now).unwrap();
    pair.run();
    assert_eq!(connected(&mut pair.a, client), Some(Ok(())));
}

#[test]
fn a_host_connects_to_itself() {
    let mut a = host(&[A], 1);
    let (listener, _) = a.tcp_listen(end(A, 80), plain()).unwrap();
    let (client, _) = a.tcp_connect(end(A, 80), plain(), Time::ZERO).unwrap();
    assert_eq!(connected(&mut a, client), Some(Ok(())));
    let (server, ..) = accept(&mut a, listener).unwrap();
    write(&mut a, client, b"me", Time::ZERO);
    assert_eq!(read(&mut a, server, Time::ZERO), Some(Ok(b"me".to_vec())));
    assert!(a.outbox().is_none());
}

#[test]
fn rst_for_nobody_follows_rfc_9293() {
    let mut b = host(&[B], 1);
    let mut answer = |flags: TcpFlags, payload: &[u8]| {
        let packet =
            build::tcp(end(A, 1), end(B, 80), build::IpFields::default(), flags, 1000, 77, 0, payload).unwrap();
        b.receive(0, packet, PacketId(5), Time::ZERO);
        b.outbox().map(|out| {
            let Transport::Tcp { flags, .. } = out.packet.transport() else { panic!("no segment") };
            (flags.ack, out.packet.tcp_sequence().unwrap(), out.packet.tcp_acknowledgement().unwrap(), out.cause)
        })
    };
    let flags = TcpFlags::default();
    assert_eq!(answer(TcpFlags { syn: true, ..flags }, b""), Some((true, 0, 1001, Some(PacketId(5)))));
    assert_eq!(answer(TcpFlags { ack: true, ..flags }, b"abc"), Some((false, 77, 0, Some(PacketId(5)))));
    assert_eq!(answer(TcpFlags { fin: true, ..flags }, b"abc"), Some((true, 0, 1004, Some(PacketId(5)))));
    assert_eq!(answer(TcpFlags { rst: true, ..flags }, b""), None);
}

fn any_segment() -> impl Strategy<Value = (TcpFlags, i8, i8, u16, Vec<u8>)> {
    let flags = any::<[bool; 5]>().prop_map(|[syn, ack, fin, rst, psh]| TcpFlags { syn, ack, fin, rst, psh });
    (flags, any::<i8>(), any::<i8>(), any::<u16>(), proptest::collection::vec(any::<u8>(), 0..50))
}

proptest! {
    #[test]
    fn no_segment_makes_a_connection_panic(
        segments in proptest::collection::vec(any_segment(), 1..40),
        opening: bool,
    ) {
        let mut a = host(&[A], 1);
        let mut b = host(&[B], 2);
        b.tcp_listen(end(B, 80), plain()).unwrap();
        let (client, local) = a.tcp_connect(end(B, 80), plain(), Time::ZERO).unwrap();
        let (mut sequence, mut acknowledgement) = (0, 0);
        let mut now = Time::ZERO;
        if !opening {
            b.receive(0, a.outbox().unwrap().packet, PacketId(1), now);
            a.receive(0, b.outbox().unwrap().packet, PacketId(2), now);
        }
        write(&mut a, client, &[1; 3000], now);
        for (flags, ahead, acknowledged, window, payload) in segments {
            while let Some(out) = a.outbox() {
                sequence = out.packet.tcp_acknowledgement().unwrap_or(sequence);
                acknowledgement = out.packet.tcp_sequence().unwrap_or(acknowledgement);
            }
            let sequence = sequence.wrapping_add_signed(ahead.into());
            let acknowledgement = acknowledgement.wrapping_add_signed(i32::from(acknowledged) * 20);
            let fields = build::IpFields::default();
            let segment =
                build::tcp(end(B, 80), local, fields, flags, sequence, acknowledgement, window, &payload).unwrap();
            a.receive(0, segment, PacketId(3), now);
            now = now + Duration::from_millis(300);
            a.handle_timeout(now);
            read(&mut a, client, now);
        }
        a.tcp_close(client, now);
        a.handle_timeout(now + Duration::from_secs(2000));
    }
}

proptest! {
    #[test]
    fn no_segment_makes_a_listening_host_panic(segments in proptest::collection::vec(any_segment(), 1..40)) {
        let mut b = host(&[B6], 2);
        let (listener, _) = b.tcp_listen(end("::", 80), plain()).unwrap();
        let (mut sequence, mut acknowledgement, mut now) = (1000u32, 0u32, Time::ZERO);
        let mut accepted = Vec::new();
        for (number, (flags, ahead, acknowledged, window, payload)) in segments.into_iter().enumerate() {
            // The first opens, so that what follows meets a connection.
            let flags = if number == 0 { TcpFlags { syn: true, ..TcpFlags::default() } } else { flags };
            let at = sequence.wrapping_add_signed(ahead.into());
            let acks = acknowledgement.wrapping_add_signed(i32::from(acknowledged) / 32);
            let (from, to) = (end(A6, 5), end(B6, 80));
            let segment = build::tcp(from, to, build::IpFields::default(), flags, at, acks, window, &payload).unwrap();
            b.receive(0, segment, PacketId(3), now);
            while let Some(out) = b.outbox() {
                sequence = out.packet.tcp_acknowledgement().unwrap_or(sequence);
                let consumed = u32::try_from(out.packet.payload().len()).unwrap_or(0);
                acknowledgement = out.packet.tcp_sequence().unwrap_or(acknowledgement).wrapping_add(consumed.max(1));
            }
            if let Some((child, ..)) = accept(&mut b, listener) {
                write(&mut b, child, &[1; 3000], now);
                accepted.push(child);
            }
            now = now + Duration::from_millis(100);
            b.handle_timeout(now);
            for child in &accepted {
                read(&mut b, *child, now);
            }
        }
        b.tcp_unlisten(listener, now);
        accepted.into_iter().for_each(|child| b.tcp_close(child, now));
        b.handle_timeout(now + Duration::from_secs(2000));
    }
}

//! TCP through the world: links with loss, refusals, resets, timeouts, sharing of ports.

use std::io::ErrorKind;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use futures::future::{Either, join, join_all, select};
use natbox_host::{Host, TcpListener, TcpOptions, TcpStream};
use natbox_nat::Behavior;
use natbox_nat::behavior::Filtering;
use natbox_wire::Time;
use natbox_world::{LinkConfig, NetworkId, VirtualHost, VirtualStream, World};
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use crate::support::*;

fn plain() -> TcpOptions {
    TcpOptions::default()
}

/// Writes `total` bytes and reads as many.
async fn exchange(stream: VirtualStream, total: usize) {
    let bytes: Vec<u8> = (0..total).map(|n| (n % 251) as u8).collect();
    let (mut reader, mut writer) = tokio::io::split(stream);
    let sending = async {
        writer.write_all(&bytes).await.expect("written");
        writer.flush().await.expect("flushed");
        writer.shutdown().await.expect("shut");
    };
    let mut got = Vec::new();
    let (_, read) = join(sending, reader.read_to_end(&mut got)).await;
    assert_eq!(read.expect("read to the end"), total);
    assert!(got == bytes);
}

/// A mebibyte both ways; when it was done.
fn bulk(seed: u64, link: LinkConfig, remote: &'static str) -> (Time, u64) {
    let Two { mut world, a, b } = two(seed, link);
    let done = world
        .run_until(async {
            let listener = b.tcp_listen(end(remote, 80), plain()).await.expect("a free port");
            let (client, server) = join(a.tcp_connect(end(remote, 80), plain()), listener.accept()).await;
            let (client, server) = (client.expect("connected"), server.expect("accepted"));
            assert_eq!((client.peer_addr(), server.local_addr()), (end(remote, 80), end(remote, 80)));
            assert_eq!(client.local_addr(), server.peer_addr());
            join(exchange(client, 1 << 20), exchange(server, 1 << 20)).await;
            a.now()
        })
        .expect("it ends");
    (done, world.statistics().packets)
}

#[test]
fn a_mebibyte_each_way_survives_loss_reordering_and_duplication_and_repeats_exactly() {
    for remote in [B, B6] {
        let lossy = LinkConfig {
            loss: 0.02,
            duplicate: 0.01,
            reorder: 0.05,
            jitter: MS * 3,
            rate_bits_per_second: Some(50_000_000),
            ..link(5)
        };
        let first = bulk(7, lossy.clone(), remote);
        assert_eq!(first, bulk(7, lossy.clone(), remote));
        assert_ne!(first, bulk(8, lossy, remote));
        let (clean, _) = bulk(7, LinkConfig { rate_bits_per_second: Some(50_000_000), ..link(5) }, remote);
        assert!(clean < first.0, "{clean} without loss, {} with", first.0);
    }
}

#[test]
fn refused_unreachable_and_unanswered_connections_fail_as_on_linux() {
    let Two { mut world, a, b } = two(1, link(5));
    world
        .run_until(async {
            let refused = a.tcp_connect(end(B, 80), plain()).await.expect_err("nobody listens");
            assert_eq!((refused.kind(), a.now()), (ErrorKind::ConnectionRefused, Time::ZERO + MS * 20));
            let options = TcpOptions { ttl: Some(1), ..plain() };
            let expired = a.tcp_connect(end(B, 80), options).await.expect_err("too far");
            assert_eq!(expired.kind(), ErrorKind::HostUnreachable);
            let nowhere = a.tcp_connect(end("203.0.113.9", 80), plain()).await.expect_err("no route");
            assert_eq!(nowhere.kind(), ErrorKind::NetworkUnreachable);
        })
        .expect("it ends");
    let interface = world.interfaces_of(b.node()).next().expect("an interface");
    world.cut(interface);
    world
        .run_until(async {
            let (start, limit) = (a.now(), Duration::from_secs(2));
            let options = TcpOptions { connect_timeout: Some(limit), ..plain() };
            let silent = a.tcp_connect(end(B, 80), options).await.expect_err("no answer");
            assert_eq!((silent.kind(), a.now()), (ErrorKind::TimedOut, start + limit));
        })
        .expect("it ends");
}

#[test]
fn both_may_open_at_once_and_a_listener_may_share_the_port() {
    for (a_address, b_address) in [(A, B), (A6, B6)] {
        let Two { mut world, a, b } = two(1, link(5));
        world
            .run_until(async {
                let (at_a, at_b) = (end(a_address, 4000), end(b_address, 5000));
                let share = TcpOptions { reuse_port: true, ..plain() };
                let _listener = a.tcp_listen(at_a, share).await.expect("free");
                let (one, two) = join(a.tcp_connect(at_b, from(at_a)), b.tcp_connect(at_a, from(at_b))).await;
                let (one, two) = (one.expect("connected"), two.expect("connected"));
                join(exchange(one, 10_000), exchange(two, 10_000)).await;
            })
            .expect("it ends");
    }
}

#[test]
fn giving_up_on_connecting_frees_the_port_and_sends_nothing_more() {
    let Two { mut world, a, .. } = two(1, LinkConfig { loss: 1.0, ..link(5) });
    world
        .run_until(async {
            let local = TcpOptions { local: Some(end(A, 4000)), ..plain() };
            let patience = select(Box::pin(a.tcp_connect(end(B, 80), local)), Box::pin(a.sleep(MS * 100))).await;
            assert!(matches!(patience, Either::Right(_)));
            drop(patience);
            a.tcp_listen(end(A, 4000), plain()).await.expect("free again");
        })
        .expect("it ends");
    let packets = world.statistics().packets;
    world.run_for(Duration::from_secs(200)).expect("no storm");
    assert_eq!(world.statistics().packets, packets);
}

#[test]
fn a_reset_wakes_the_reader_and_a_closed_stream_breaks_the_pipe() {
    let Two { mut world, a, b } = two(1, link(5));
    world
        .run_until(async {
            let listener = b.tcp_listen(end("0.0.0.0", 80), plain()).await.expect("free");
            let (client, server) = join(a.tcp_connect(end(B, 80), plain()), listener.accept()).await;
            let (mut client, server) = (client.expect("connected"), server.expect("accepted"));
            client.write_all(b"unread").await.expect("written");
            b.sleep(MS * 50).await;
            drop(server);
            let error = client.read(&mut [0; 10]).await.expect_err("reset");
            assert_eq!(error.kind(), ErrorKind::ConnectionReset);
            let error = client.write(b"x").await.expect_err("closed");
            assert_eq!(error.kind(), ErrorKind::BrokenPipe);
        })
        .expect("it ends");
}

#[test]
fn many_connections_to_one_listener_are_each_their_own() {
    let Two { mut world, a, b } = two(1, link(5));
    let server = b.clone();
    b.spawn(async move {
        let listener = server.tcp_listen(end(B, 80), plain()).await.expect("free");
        loop {
            let mut stream = listener.accept().await.expect("accepted");
            server.spawn(async move {
                let mut got = Vec::new();
                stream.read_to_end(&mut got).await.expect("read");
                stream.write_all(&got).await.expect("written");
            });
        }
    });
    world
        .run_until(join_all((0..100u32).map(|number| {
            let a = a.clone();
            async move {
                let mut stream = a.tcp_connect(end(B, 80), plain()).await.expect("connected");
                stream.write_all(&number.to_be_bytes()).await.expect("written");
                stream.shutdown().await.expect("shut");
                let mut got = Vec::new();
                stream.read_to_end(&mut got).await.expect("read");
                assert_eq!(got, number.to_be_bytes());
            }
        })))
        .expect("it ends");
}

/// A host behind a gateway of its own that forgets nobody but lets in only whom the host has called.
fn behind_a_gateway(world: &mut World, internet: NetworkId, name: &str, external: &str) -> VirtualHost {
    let behavior = Behavior { filtering: Filtering::AddressAndPortDependent.into(), ..Behavior::default() };
    let lan = world.lan(name);
    let outside = attachment(internet, "outside", &[external], link(5));
    world.gateway(name, outside, attachment(lan, "inside", &["192.168.0.1/24"], link(1)), Arc::new(behavior));
    world.host(name, vec![attachment(lan, name, &["192.168.0.2/24"], link(1))])
}

/// Asks the server at B which endpoint it sees, from a port that stays shared.
async fn external_endpoint(host: &VirtualHost, local: SocketAddr) -> (SocketAddr, VirtualStream) {
    let mut stream = host.tcp_connect(end(B, 80), from(local)).await.expect("connected");
    let mut seen = vec![0; 64];
    let length = stream.read(&mut seen).await.expect("read");
    (String::from_utf8_lossy(&seen[..length]).parse().expect("an endpoint"), stream)
}

#[test]
fn tcp_holes_are_punched_through_two_gateways_from_the_port_of_another_connection() {
    let mut world = World::new(1);
    let internet = world.internet("internet", &[ip("198.18.0.1")]);
    let server = world.host("server", vec![attachment(internet, "server", &["198.18.0.20/15"], link(5))]);
    let a = behind_a_gateway(&mut world, internet, "a", "198.18.1.1/15");
    let b = behind_a_gateway(&mut world, internet, "b", "198.18.1.2/15");
    let program = server.clone();
    server.spawn(async move {
        let listener = program.tcp_listen(end(B, 80), plain()).await.expect("free");
        let mut open = Vec::new();
        loop {
            let mut stream = listener.accept().await.expect("accepted");
            stream.write_all(stream.peer_addr().to_string().as_bytes()).await.expect("written");
            open.push(stream);
        }
    });
    world
        .run_until(async {
            let local = end("192.168.0.2", 4000);
            let ((at_a, _keep_a), (at_b, _keep_b)) =
                join(external_endpoint(&a, local), external_endpoint(&b, local)).await;
            assert_eq!((at_a.ip(), at_b.ip()), (ip("198.18.1.1"), ip("198.18.1.2")));
            // B is late: A's first SYN finds B's gateway closed, its next one is let in.
            let late = async {
                b.sleep(MS * 100).await;
                b.tcp_connect(at_a, from(local)).await
            };
            let (one, two) = join(a.tcp_connect(at_b, from(local)), late).await;
            let (one, two) = (one.expect("punched"), two.expect("punched"));
            assert_eq!((one.peer_addr(), two.peer_addr()), (at_b, at_a));
            join(exchange(one, 50_000), exchange(two, 50_000)).await;
        })
        .expect("it ends");
}

//! The system's sockets as a host, on loopback alone.

use std::io;
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use natbox_host::{EchoAnswer, EchoSocket, Host, TcpListener, TcpOptions, TcpStream, UdpSocket};
use natbox_live::sockets::{OsHost, run};
use natbox_probes::discovery::{self, Filtering, Hairpin, Mapping, Options};
use natbox_probes::stun::client::Retransmission;
use natbox_probes::stun::server::{ServerConfig, serve};
use natbox_wire::IcmpError;
use tokio::io::{AsyncReadExt, AsyncWriteExt};

fn here() -> SocketAddr {
    "127.0.0.1:0".parse().expect("an endpoint")
}

fn on(program: impl AsyncFnOnce(OsHost) -> io::Result<()>) {
    run("here", program).expect("a reactor").expect("what the program wants of the system");
}

#[test]
fn a_datagram_comes_with_its_endpoints_and_its_ttl() {
    on(async |host| {
        let (a, b) = (host.udp_bind(here()).await?, host.udp_bind("0.0.0.0:0".parse().expect("an endpoint")).await?);
        a.set_ttl(7)?;
        let goal = SocketAddr::new(IpAddr::from([127, 0, 0, 9]), b.local_addr().port());
        a.send_to(b"hello", goal).await?;
        let mut buffer = [0; 3];
        let received = b.recv_from(&mut buffer).await?;
        assert_eq!((received.source, received.destination, received.ttl), (a.local_addr(), goal, 7));
        assert_eq!((received.length, &buffer), (3, b"hel"), "the rest is lost");
        assert!(received.at <= host.now());
        Ok(())
    });
}

#[test]
fn a_refused_datagram_is_an_error_of_a_connected_socket_and_a_report_of_one_that_asks_for_reports() {
    on(async |host| {
        let gone = host.udp_bind(here()).await?.local_addr();
        let connected = host.udp_bind(here()).await?;
        connected.connect(gone)?;
        connected.send_to(b"?", gone).await?;
        let error = connected.recv_from(&mut [0; 8]).await.expect_err("nobody listens there");
        assert_eq!(error.kind(), io::ErrorKind::ConnectionRefused);

        let asking = host.udp_bind(here()).await?;
        asking.set_receive_errors(true)?;
        asking.send_to(b"?", gone).await?;
        let error = asking.recv_from(&mut [0; 8]).await.expect_err("nobody listens there");
        assert_eq!(error.kind(), io::ErrorKind::ConnectionRefused);
        let report = asking.take_icmp_report().expect("a report");
        assert_eq!((report.error, report.destination, report.reporter), (IcmpError::PortUnreachable, gone, gone.ip()));
        assert_eq!(asking.take_icmp_report(), None);
        Ok(())
    });
}

#[test]
fn dont_fragment_refuses_what_is_larger_than_the_mtu() {
    on(async |host| {
        let socket = host.udp_bind(here()).await?;
        // Loopback has an MTU of 65,536: less than the largest datagram with its headers cannot be refused there.
        socket.set_dont_fragment(true)?;
        socket.send_to(&[0; 1000], socket.local_addr()).await?;
        assert!(socket.send_to(&vec![0; 65_600], socket.local_addr()).await.is_err());
        socket.set_dont_fragment(false)?;
        assert!(socket.set_ttl(0).is_err(), "a TTL of 0 goes nowhere");
        Ok(())
    });
}

#[test]
fn an_endpoint_that_is_taken_or_not_ours_cannot_be_bound() {
    on(async |host| {
        let taken = host.udp_bind(here()).await?;
        let again = host.udp_bind(taken.local_addr()).await.expect_err("taken");
        assert_eq!(again.kind(), io::ErrorKind::AddrInUse);
        let foreign = host.udp_bind("203.0.113.1:0".parse().expect("an endpoint")).await.expect_err("not ours");
        assert_eq!(foreign.kind(), io::ErrorKind::AddrNotAvailable);
        Ok(())
    });
}

#[test]
fn one_local_port_listens_and_connects_twice_where_it_is_shared() {
    on(async |host| {
        let shared = TcpOptions { reuse_port: true, ttl: Some(33), ..TcpOptions::default() };
        let mut listeners = Vec::new();
        for _ in 0..2 {
            listeners.push(host.tcp_listen(here(), TcpOptions::default()).await?);
        }
        let own = host.tcp_listen(here(), shared).await?;
        let from = TcpOptions { local: Some(own.local_addr()), ..shared };
        let mut first = host.tcp_connect(listeners[0].local_addr(), from).await?;
        let second = host.tcp_connect(listeners[1].local_addr(), from).await?;
        assert_eq!((first.local_addr(), second.local_addr()), (own.local_addr(), own.local_addr()));
        let mut accepted = listeners[0].accept().await?;
        assert_eq!((accepted.peer_addr(), first.peer_addr()), (own.local_addr(), listeners[0].local_addr()));
        first.write_all(b"over TCP").await?;
        drop(first);
        let mut text = String::new();
        accepted.read_to_string(&mut text).await?;
        assert_eq!(text, "over TCP");
        Ok(())
    });
}

#[test]
fn a_connection_to_nobody_is_refused() {
    on(async |host| {
        let gone = host.tcp_listen(here(), TcpOptions::default()).await?.local_addr();
        let limit = TcpOptions { connect_timeout: Some(Duration::from_secs(5)), ..TcpOptions::default() };
        let refused = host.tcp_connect(gone, limit).await.expect_err("nobody listens there");
        assert_eq!(refused.kind(), io::ErrorKind::ConnectionRefused);
        Ok(())
    });
}

#[test]
fn programs_run_beside_one_another_until_the_first_one_ends() {
    on(async |host| {
        let (listening, other) = (host.udp_bind(here()).await?, host.clone());
        let goal = listening.local_addr();
        host.spawn(async move {
            let Ok(socket) = other.udp_bind(here()).await else { return };
            socket.send_to(b"from beside", goal).await.ok();
            // Nobody waits for this one.
            other.sleep_until(natbox_wire::Time::MAX).await;
        });
        let began = host.now();
        assert_eq!(listening.recv_from(&mut [0; 16]).await?.length, 11);
        host.sleep(Duration::from_millis(2)).await;
        assert!(host.now().since(began) >= Duration::from_millis(2));
        Ok(())
    });
}

#[test]
fn loopback_is_no_uplink() {
    on(async |host| {
        assert!(host.addresses().iter().all(|address| !address.is_loopback()), "{:?}", host.addresses());
        let loopback = IpAddr::from([127, 0, 0, 1]);
        assert_eq!(host.source_for(loopback)?, loopback);
        assert!(!host.is_neighbour(loopback));
        Ok(())
    });
}

#[test]
fn echo_is_answered_where_the_system_permits_it() {
    on(async |host| {
        let socket = match host.echo_socket([127, 0, 0, 1].into()).await {
            Ok(socket) => socket,
            Err(error) => {
                assert!(error.to_string().contains("ping_group_range"), "{error}");
                return Ok(());
            }
        };
        socket.send([127, 0, 0, 1].into(), 5, b"payload").await?;
        let EchoAnswer::Reply(reply) = socket.recv().await? else { panic!("no reply") };
        assert_eq!((reply.sequence, reply.length), (5, 7));
        Ok(())
    });
}

#[test]
fn discovery_runs_unchanged_and_finds_that_loopback_translates_nothing() {
    on(async |host| {
        let config = ServerConfig {
            port: 34_780,
            alternate_port: 34_790,
            ..ServerConfig::new([127, 0, 0, 2].into(), Some([127, 0, 0, 3].into()))
        };
        let (machine, server) = (host.clone(), config.endpoints()[0]);
        host.spawn(async move {
            let Err(why) = serve(machine, config).await;
            panic!("{why}");
        });
        let retransmission = Retransmission { first_wait: Duration::from_millis(200), sends: 2, last_wait_multiple: 1 };
        let options = Options { retransmission, pacing: Duration::from_millis(1), ..Options::default() };
        let finding = discovery::discover(&host, server, &options).await.map_err(io::Error::other)?;
        assert_eq!((finding.mapping, finding.filtering), (Mapping::None, Filtering::Off));
        assert_eq!(finding.hairpin, Hairpin::Unknown);
        Ok(())
    });
}

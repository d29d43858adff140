//! Gateways' own machines: reached from inside alone, by UDP, TCP and multicast, and able to ask the NAT for mappings.

use std::time::Duration;

use natbox_host::{Host, PortControl, TcpListener, TcpOptions, TcpStream, UdpSocket};
use natbox_wire::{ControlEvent, DropReason, ExplicitMapping, MapRequest, MappedBy, Protocol, Traffic};
use natbox_world::note::Outcome;
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use crate::support::*;

fn request(internal: &str, port: u16) -> MapRequest {
    MapRequest {
        protocol: Protocol::Udp,
        internal: endpoint(internal),
        external_address: None,
        external_port: port,
        exact: false,
        remote: None,
        filters: Vec::new(),
        lifetime: Some(Duration::from_secs(100)),
        pair: false,
        by: MappedBy::Pcp,
    }
}

#[test]
fn datagrams_and_connections_from_inside_reach_a_gateways_programs() {
    let mut home = home(1, Links::default(), strict_behavior());
    let machine = home.world.gateway_machine(home.home).expect("a gateway").host();
    let alice = home.host("alice");
    assert_eq!(machine.addresses(), [ip("10.0.0.1"), ip("2001:db8:1::1")]);
    let gateway = alice.default_gateway(false).expect("a gateway");
    let heard = home.world.run_until(async {
        let service = machine.udp_bind(endpoint("0.0.0.0:5351")).await.expect("free");
        let socket = alice.udp_bind(endpoint("0.0.0.0:0")).await.expect("free");
        socket.send_to(b"two", std::net::SocketAddr::new(gateway, 5351)).await.expect("sent");
        let mut buffer = [0; 9];
        let came = service.recv_from(&mut buffer).await.expect("received");
        service.send_to(b"three", came.source).await.expect("sent");
        let back = socket.recv_from(&mut buffer).await.expect("received");
        let listener = machine.tcp_listen(endpoint("10.0.0.1:80"), TcpOptions::default()).await.expect("free");
        let (stream, accepted) =
            futures::join!(alice.tcp_connect(endpoint("10.0.0.1:80"), TcpOptions::default()), async {
                listener.accept().await
            });
        let (mut stream, mut accepted) = (stream.expect("open"), accepted.expect("open"));
        stream.write_all(b"GET").await.expect("written");
        accepted.read_exact(&mut buffer[..3]).await.expect("read");
        (came.source, back.source, accepted.peer_addr().ip(), buffer[..3].to_vec())
    });
    let (source, back, peer, read) = heard.expect("no stall");
    assert_eq!((source.ip(), back), (ip("10.0.0.2"), endpoint("10.0.0.1:5351")));
    assert_eq!((peer, &read[..]), (ip("10.0.0.2"), &b"GET"[..]));
}

#[test]
fn multicast_reaches_them_and_theirs_the_hosts_inside() {
    let mut home = home(1, Links::default(), strict_behavior());
    let machine = home.world.gateway_machine(home.home).expect("a gateway").host();
    let alice = home.host("alice");
    let sources = home.world.run_until(async {
        let (group, other) = (endpoint("239.255.255.250:1900"), endpoint("224.0.0.1:5350"));
        let service = machine.udp_bind(endpoint("0.0.0.0:1900")).await.expect("free");
        service.join_multicast(group.ip(), ip("10.0.0.1")).expect("joined");
        let socket = alice.udp_bind(endpoint("0.0.0.0:5350")).await.expect("free");
        socket.join_multicast(other.ip(), ip("10.0.0.2")).expect("joined");
        socket.send_to(b"M-SEARCH", group).await.expect("sent");
        let came = service.recv_from(&mut [0; 9]).await.expect("received");
        service.send_to(b"news", other).await.expect("sent");
        (came.source.ip(), socket.recv_from(&mut [0; 9]).await.expect("received").source)
    });
    assert_eq!(sources.expect("no stall"), (ip("10.0.0.2"), endpoint("10.0.0.1:1900")));
}

#[test]
fn from_outside_nobody_reaches_them_and_pings_are_answered_as_ever() {
    let mut home = home(1, Links::default(), strict_behavior());
    let machine = home.world.gateway_machine(home.home).expect("a gateway").host();
    let socket = home.world.run_until(machine.udp_bind(endpoint("0.0.0.0:5351"))).expect("no stall").expect("free");
    let fields = natbox_wire::build::IpFields::default();
    for destination in ["198.18.0.2:5351", "10.0.0.1:5351"] {
        let id = home.send(home.server_interface, udp("198.18.0.9:1", destination, fields, 4));
        let outcomes = home.notes.outcomes(id);
        assert!(outcomes.iter().all(|(_, outcome)| *outcome != Outcome::Delivered), "{outcomes:?}");
    }
    let id = home.send(home.alice_interface, udp("10.0.0.2:1", "198.18.0.2:5351", fields, 4));
    assert!(home.notes.outcomes(id).iter().all(|(_, outcome)| *outcome != Outcome::Delivered));
    let id = home.send(home.alice_interface, ping("10.0.0.2", "10.0.0.1", 64));
    assert!(home.notes.answer_to(id).is_some());
    let id = home.send(home.alice_interface, udp("10.0.0.2:1", "10.0.0.1:9", fields, 4));
    assert_eq!(home.notes.outcomes(id).pop(), Some((home.home, Outcome::Dropped(DropReason::PortUnreachable))));
    drop(socket);
}

#[test]
fn a_gateway_without_a_machine_answers_by_itself_that_there_is_nobody() {
    let mut home = home(1, Links::default(), strict_behavior());
    let fields = natbox_wire::build::IpFields::default();
    let id = home.send(home.alice_interface, udp("10.0.0.2:1", "10.0.0.1:5351", fields, 4));
    assert_eq!(home.notes.outcomes(id).pop(), Some((home.home, Outcome::Dropped(DropReason::PortUnreachable))));
    assert!(home.notes.answer_to(id).is_some());
    let error = home.world.gateway_machine(home.server).map(drop).expect_err("a host is no gateway");
    assert!(error.to_string().contains("server"));
}

#[test]
fn what_is_asked_for_is_noted_when_it_is_made_renewed_and_over() {
    let mut home = home(1, Links::default(), strict_behavior());
    let control = home.world.gateway_machine(home.home).expect("a gateway");
    assert_eq!(control.external_address(false), Some(ip("198.18.0.2")));
    let made = control.map(&request("10.0.0.2:5000", 40_000)).expect("made");
    assert_eq!(made.external, endpoint("198.18.0.2:40000"));
    home.world.run_for(Duration::from_secs(50)).expect("no stall");
    control.map(&request("10.0.0.2:5000", 0)).expect("renewed");
    home.world.run_for(Duration::from_secs(99)).expect("no stall");
    assert!(control.is_mapped(Protocol::Udp, endpoint("10.0.0.2:5000")));
    assert_eq!(
        control.explicit_of(Protocol::Udp, endpoint("10.0.0.2:5000")).map(|one| one.mapping),
        Some(made.mapping)
    );
    home.world.run_for(Duration::from_secs(1)).expect("no stall");
    assert_eq!(control.explicit(), []);
    let other = control.map(&request("10.0.0.2:5000", 40_001)).expect("made");
    assert!(control.unmap(&other, Traffic::Ends) && !control.unmap(&other, Traffic::Ends));
    let told: Vec<(ControlEvent, u64)> =
        home.notes.control().into_iter().map(|(one, what)| (what, one.mapping)).collect();
    let (first, second) = (made.mapping, other.mapping);
    use ControlEvent::*;
    assert_eq!(told, [(Made, first), (Renewed, first), (Expired, first), (Made, second), (Deleted, second)]);
}

#[test]
fn who_waits_hears_of_reboots_and_of_other_addresses() {
    let mut home = home(1, Links::default(), strict_behavior());
    let control = home.world.gateway_machine(home.home).expect("a gateway");
    control.map(&request("10.0.0.2:5000", 40_000)).expect("made");
    home.world.run_for(Duration::from_secs(5)).expect("no stall");
    let waiting = control.changed();
    home.world.reboot(home.home).expect("a gateway");
    home.world.run_until(waiting).expect("no stall");
    assert_eq!(control.up_since(), home.world.now());
    assert_eq!(control.explicit(), []);
    let lost: Vec<ExplicitMapping> =
        home.notes.control().into_iter().filter(|(_, what)| *what == ControlEvent::Lost).map(|(one, _)| one).collect();
    assert_eq!(lost.len(), 1);
    control.map(&request("10.0.0.2:5000", 40_000)).expect("made");
    let waiting = control.changed();
    home.world.readdress(home.home, &[ip("198.18.0.77")]).expect("a gateway");
    home.world.run_until(waiting).expect("no stall");
    let moved: Vec<_> = control.explicit().into_iter().map(|one| one.external).collect();
    assert_eq!(moved, [endpoint("198.18.0.77:40000")]);
    assert_ne!(control.up_since(), home.world.now() + Duration::from_secs(1));
}

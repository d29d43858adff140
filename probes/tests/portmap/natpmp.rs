//! NAT-PMP (RFC 6886): the rows of B.10.

use std::net::SocketAddr;
use std::time::Duration;

use natbox_host::{Host, PortControl, TcpListener, TcpOptions, UdpSocket};
use natbox_nat::Behavior;
use natbox_nat::behavior::{ExpiryNotify, TranslationKind};
use natbox_probes::portmap::natpmp::codec::{Answer, Body, Code, Request};
use natbox_probes::portmap::natpmp::{self, has_lost_state};
use natbox_probes::portmap::server::{Config, Faults};
use natbox_probes::portmap::{Control, Failure};
use natbox_wire::{MappedBy, Protocol, Time};
use natbox_world::VirtualHost;
use tokio::io::AsyncReadExt;

use crate::support::*;

fn map(protocol: Protocol, internal_port: u16, external_port: u16, lifetime_seconds: u32) -> Request {
    Request::Map { protocol, internal_port, external_port, lifetime_seconds }
}

fn udp(internal_port: u16, external_port: u16, lifetime_seconds: u32) -> Request {
    map(Protocol::Udp, internal_port, external_port, lifetime_seconds)
}

/// The code of an answer, the external port and the lifetime.
fn ask(home: &mut Home, host: &VirtualHost, request: Request) -> (Code, u16, u32) {
    let bytes = home.ask(host, &request.encode()).expect("an answer");
    let answer = Answer::decode(&bytes).expect("an answer of NAT-PMP");
    match answer.body {
        Body::Map { external_port, lifetime_seconds, .. } => (answer.code, external_port, lifetime_seconds),
        other => panic!("{other:?}"),
    }
}

#[test]
fn op_0_two_bytes_ask_for_the_external_address_and_the_epoch() {
    let mut home = home(&[Control::NatPmp]);
    let alice = home.alice.clone();
    home.wait(seconds(258));
    assert_eq!(home.ask(&alice, &[0, 0]).expect("an answer"), [0, 128, 0, 0, 0, 0, 1, 2, 198, 18, 0, 2]);
}

#[test]
fn op_1_and_2_map_a_port_of_the_sender() {
    let mut home = home(&[Control::NatPmp]);
    let (alice, bob) = (home.alice.clone(), home.bob.clone());
    assert_eq!(ask(&mut home, &alice, udp(5000, 40_000, 7200)), (Code::SUCCESS, 40_000, 7200));
    assert!(home.reaches(at("198.18.0.2:40000"), &alice, 5000));
    let (code, any, _) = ask(&mut home, &bob, map(Protocol::Tcp, 80, 0, 3600));
    assert_eq!(code, Code::SUCCESS);
    let known = home.gateway.explicit_of(Protocol::Tcp, at("10.0.0.3:80")).expect("mapped");
    assert_eq!((known.external.port(), known.by), (any, MappedBy::NatPmp));
}

#[test]
fn life_is_as_asked_or_less_and_the_mapping_ends_with_it() {
    let mut home = home(&[Control::NatPmp]);
    let alice = home.alice.clone();
    assert_eq!(ask(&mut home, &alice, udp(5000, 40_000, 600)).2, 600);
    assert_eq!(ask(&mut home, &alice, udp(5001, 40_001, u32::MAX)).2, 86_400);
    home.wait(seconds(590));
    assert_eq!(home.mappings().len(), 2);
    assert_eq!(ask(&mut home, &alice, udp(5000, 40_000, 600)).2, 600, "renewed");
    home.wait(seconds(590));
    assert_eq!(home.mappings().len(), 2);
    home.wait(seconds(10));
    assert_eq!(home.mappings().len(), 1);
    assert!(!home.reaches(at("198.18.0.2:40000"), &alice, 5000));
}

#[test]
fn del_lifetime_0_gives_up_one_mapping_or_all_of_a_protocol_and_succeeds_where_there_is_none() {
    let mut home = home(&[Control::NatPmp]);
    let (alice, bob) = (home.alice.clone(), home.bob.clone());
    assert_eq!(ask(&mut home, &alice, udp(5000, 0, 0)), (Code::SUCCESS, 0, 0), "there is none");
    for port in [5000, 5001, 5002] {
        ask(&mut home, &alice, udp(port, 0, 7200));
    }
    ask(&mut home, &alice, map(Protocol::Tcp, 5000, 0, 7200));
    ask(&mut home, &bob, udp(5000, 0, 7200));
    assert_eq!(ask(&mut home, &alice, udp(5000, 0, 0)), (Code::SUCCESS, 0, 0));
    assert_eq!(home.mappings().len(), 4);
    assert_eq!(ask(&mut home, &alice, udp(0, 0, 0)), (Code::SUCCESS, 0, 0));
    let left: Vec<(Protocol, SocketAddr)> = home.mappings().iter().map(|one| (one.protocol, one.internal)).collect();
    assert_eq!(left, [(Protocol::Tcp, at("10.0.0.2:5000")), (Protocol::Udp, at("10.0.0.3:5000"))]);
}

#[test]
fn del_of_what_a_person_made_is_refused() {
    let mut home = home(&[Control::NatPmp]);
    home.forward("10.0.0.2:5000", 40_000);
    let alice = home.alice.clone();
    assert_eq!(ask(&mut home, &alice, udp(5000, 0, 0)).0, Code::REFUSED);
    assert_eq!(ask(&mut home, &alice, udp(5000, 0, 7200)), (Code::SUCCESS, 40_000, 7200), "it is what it asks for");
    assert_eq!(home.mappings()[0].by, MappedBy::Static);
}

#[test]
fn del_resets_open_connections_where_the_box_follows_their_numbers() {
    let behavior = Behavior { expiry_notify: ExpiryNotify::RstBoth, ..symmetric() };
    let mut home = home_with(behavior, Config::new([Control::NatPmp]));
    let (alice, server) = (home.alice.clone(), home.server.clone());
    let (_, port, _) = ask(&mut home, &alice, map(Protocol::Tcp, 5000, 40_000, 7200));
    let external = SocketAddr::new(ip("198.18.0.2"), port);
    let (mut far, mut near) = home.run(async {
        let listener = alice.tcp_listen(at("10.0.0.2:5000"), TcpOptions::default()).await.expect("free");
        let (far, near) = futures::join!(server.tcp_connect(external, TcpOptions::default()), listener.accept());
        (far.expect("connected"), near.expect("accepted"))
    });
    ask(&mut home, &alice, map(Protocol::Tcp, 5000, 0, 0));
    let kinds = home.run(async {
        let (mut far_byte, mut near_byte) = ([0], [0]);
        let (far, near) = futures::join!(far.read(&mut far_byte), near.read(&mut near_byte));
        [far.map_err(|error| error.kind()), near.map_err(|error| error.kind())]
    });
    assert_eq!(kinds, [Err(std::io::ErrorKind::ConnectionReset); 2]);
}

#[test]
fn dup_another_external_port_for_the_same_internal_one_is_the_one_that_there_is() {
    let mut home = home(&[Control::NatPmp]);
    let alice = home.alice.clone();
    assert_eq!(ask(&mut home, &alice, udp(5000, 40_000, 7200)).1, 40_000);
    assert_eq!(ask(&mut home, &alice, udp(5000, 41_000, 7200)).1, 40_000);
    assert_eq!(home.mappings().len(), 1);
}

#[test]
fn pair_the_other_protocols_port_is_kept_for_the_same_host_and_not_mapped() {
    let mut home = home(&[Control::NatPmp]);
    let (alice, bob) = (home.alice.clone(), home.bob.clone());
    assert_eq!(ask(&mut home, &alice, map(Protocol::Tcp, 5000, 40_000, 7200)).1, 40_000);
    assert!(!home.reaches(at("198.18.0.2:40000"), &alice, 5000));
    assert_ne!(ask(&mut home, &bob, udp(5000, 40_000, 7200)).1, 40_000);
    assert_eq!(ask(&mut home, &alice, udp(6000, 40_000, 7200)).1, 40_000);
}

#[test]
fn src_requests_count_for_their_source_and_from_or_to_the_outside_for_nothing() {
    let mut home = home(&[Control::NatPmp]);
    let (alice, server) = (home.alice.clone(), home.server.clone());
    for (host, to) in [(&server, "198.18.0.2:5351"), (&server, "10.0.0.1:5351")] {
        assert_eq!(home.ask_at(host, to, &[0, 0]), None);
    }
    let socket = home.run(alice.udp_bind(at("0.0.0.0:0"))).expect("free");
    home.run(socket.send_to(&[0, 0], at("198.18.0.2:5351"))).expect("sent");
    home.wait(seconds(1));
    assert!(home.run(async { futures::poll!(std::pin::pin!(socket.recv_from(&mut [0; 64]))) }).is_pending());
    assert_eq!(home.mappings(), []);
}

#[test]
fn err_versions_and_opcodes_that_are_not_known_are_told_so_and_answers_are_not_answered() {
    let mut home = home(&[Control::NatPmp]);
    let alice = home.alice.clone();
    home.wait(seconds(3));
    assert_eq!(home.ask(&alice, &[7, 0]).expect("an answer"), [0, 0, 0, 1, 0, 0, 0, 3]);
    assert_eq!(home.ask(&alice, &[2, 1, 0, 0]).expect("an answer")[..4], [0, 0, 0, 1], "PCP is another version");
    let unknown = [0, 9, 1, 2, 3, 4, 5, 6, 7, 8];
    let answer = home.ask(&alice, &unknown).expect("an answer");
    assert_eq!((&answer[..4], &answer[8..]), (&[0, 137, 0, 5][..], &unknown[8..]), "echoed, with the code in it");
    assert_eq!(home.ask(&alice, &[0, 128, 0, 0, 0, 0, 0, 0, 1, 2, 3, 4]), None);
    assert_eq!(home.ask(&alice, &[0, 1, 0, 0, 0]), None, "cut off");
    assert_eq!(home.ask(&alice, &[0]), None);
}

#[test]
fn err_without_an_external_address_and_without_ports() {
    let mut behavior = symmetric();
    behavior.quota.ports = Some(1);
    let mut home = home_with(behavior, Config::new([Control::NatPmp]));
    let alice = home.alice.clone();
    ask(&mut home, &alice, udp(5000, 0, 7200));
    assert_eq!(ask(&mut home, &alice, udp(5001, 0, 7200)).0, Code::OUT_OF_RESOURCES);
    let node = home.node;
    home.world.readdress(node, &[ip("198.18.0.2")]).expect("a gateway");
    assert_eq!(home.mappings().len(), 1);
}

#[test]
fn retry_a_request_is_sent_nine_times_at_doubling_intervals_and_an_icmp_error_ends_it() {
    let mut home = home(&[]);
    let alice = home.alice.clone();
    // A host that takes everything and says nothing.
    let bob = home.bob.clone();
    let silent = home.run(bob.udp_bind(at("10.0.0.3:5351"))).expect("free");
    let result = home.run(natpmp::external_address(&alice, ip("10.0.0.3"), seconds(1000)));
    let Err(Failure::Probe(error)) = result else { panic!("{result:?}") };
    let natbox_probes::ProbeError::Silence { waited, sent, .. } = error else { panic!("{error}") };
    assert_eq!((waited, sent), (Duration::from_millis(250 * 511), 9));
    let times: Vec<u128> = (0..9)
        .map(|_| home.run(silent.recv_from(&mut [0; 64])).expect("a request").at.as_nanos() as u128 / 1_000_000)
        .collect();
    assert_eq!(times, [0, 250, 750, 1750, 3750, 7750, 15_750, 31_750, 63_750]);
    drop(silent);
    let began = home.world.now();
    let refused = home.run(natpmp::external_address(&alice, ip("10.0.0.3"), seconds(1000)));
    assert!(matches!(refused, Err(Failure::Probe(natbox_probes::ProbeError::Io { .. }))), "{refused:?}");
    assert_eq!(home.world.now(), began);
}

#[test]
fn epoch_a_value_lower_than_seven_eighths_of_the_time_lead_to_expect_is_a_loss() {
    let at = |seconds: u64| Time::ZERO + Duration::from_secs(seconds);
    assert!(!has_lost_state((1000, at(0)), (1700, at(800))), "exactly 7/8");
    assert!(!has_lost_state((1000, at(0)), (1698, at(800))), "two seconds below");
    assert!(has_lost_state((1000, at(0)), (1697, at(800))));
    assert!(!has_lost_state((1000, at(0)), (999, at(0))));
    assert!(has_lost_state((1000, at(0)), (0, at(10))));
    assert!(!has_lost_state((1000, at(0)), (5000, at(10))), "a fast clock is none");
}

#[test]
fn announce_a_reboot_and_another_address_are_told_ten_times_ever_more_rarely() {
    let mut home = home(&[Control::NatPmp]);
    let alice = home.alice.clone();
    let ear = home.run(alice.udp_bind(at("0.0.0.0:5350"))).expect("free");
    ear.join_multicast(ip("224.0.0.1"), ip("10.0.0.2")).expect("joined");
    home.wait(seconds(100));
    let node = home.node;
    home.world.reboot(node).expect("a gateway");
    home.wait(seconds(200));
    let mut times = Vec::new();
    for _ in 0..10 {
        let mut buffer = [0; 64];
        let received = home.run(ear.recv_from(&mut buffer)).expect("an announcement");
        assert_eq!(received.source, at("10.0.0.1:5351"));
        assert_eq!((&buffer[..4], &buffer[8..12]), (&[0, 128, 0, 0][..], &[198, 18, 0, 2][..]));
        let since = received.at.since(Time::ZERO + seconds(100)).as_millis();
        assert_eq!(u128::from(buffer[7]), since / 1000, "the epoch began anew");
        times.push(since);
    }
    assert_eq!(times, [0, 250, 750, 1750, 3750, 7750, 15_750, 31_750, 63_750, 127_750]);
    home.world.readdress(node, &[ip("198.18.0.77")]).expect("a gateway");
    let mut buffer = [0; 64];
    home.run(ear.recv_from(&mut buffer)).expect("an announcement");
    assert_eq!((buffer[7], &buffer[8..12]), (200, &[198, 18, 0, 77][..]), "the epoch goes on");
}

#[test]
fn off_a_box_that_is_no_nat_does_not_answer() {
    let behavior = Behavior { translation: TranslationKind::None, ..symmetric() };
    let mut home = home_with(behavior, Config::new([Control::NatPmp]));
    let alice = home.alice.clone();
    let refused = home.run(natpmp::external_address(&alice, ip("10.0.0.1"), seconds(10)));
    let Err(Failure::Probe(natbox_probes::ProbeError::Io { kind, .. })) = refused else { panic!("{refused:?}") };
    assert_eq!(kind, std::io::ErrorKind::ConnectionRefused, "an ICMP port unreachable says so");
}

#[test]
fn bidi_what_the_mapped_port_sends_leaves_through_the_mapping() {
    let mut home = home(&[Control::NatPmp]);
    let (alice, server) = (home.alice.clone(), home.server.clone());
    ask(&mut home, &alice, udp(5000, 40_000, 7200));
    let source = home.run(async {
        let ear = server.udp_bind(at("198.18.0.9:9")).await.expect("free");
        let mouth = alice.udp_bind(at("10.0.0.2:5000")).await.expect("free");
        mouth.send_to(b"first", at("198.18.0.9:9")).await.expect("sent");
        ear.recv_from(&mut [0; 16]).await.expect("received").source
    });
    assert_eq!(source, at("198.18.0.2:40000"));
}

#[test]
fn a_ghost_answers_success_and_maps_nothing() {
    let faults = Faults { ghost: true, ..Faults::default() };
    let mut home = home_with(symmetric(), Config { faults, ..Config::new([Control::NatPmp]) });
    let alice = home.alice.clone();
    assert_eq!(ask(&mut home, &alice, udp(5000, 40_000, 7200)), (Code::SUCCESS, 40_000, 7200));
    assert_eq!(home.mappings(), []);
    assert!(!home.reaches(at("198.18.0.2:40000"), &alice, 5000));
}

#[test]
fn other_faults_are_seen_as_they_are_named() {
    let with = |faults| home_with(symmetric(), Config { faults, ..Config::new([Control::NatPmp]) });
    let mut home = with(Faults { true_lifetime: Some(seconds(60)), ..Faults::default() });
    let alice = home.alice.clone();
    assert_eq!(ask(&mut home, &alice, udp(5000, 40_000, 7200)).2, 7200);
    home.wait(seconds(60));
    assert_eq!(home.mappings(), []);

    let mut home = with(Faults { epoch_restarts: Some(seconds(100)), ..Faults::default() });
    home.wait(seconds(250));
    let own = home.alice.clone();
    assert_eq!(home.ask(&own, &[0, 0]).expect("an answer")[4..8], [0, 0, 0, 50]);

    let mut home = with(Faults { refuses_other_port: true, ..Faults::default() });
    let (own, other) = (home.alice.clone(), home.bob.clone());
    ask(&mut home, &own, udp(5000, 40_000, 7200));
    assert_eq!(ask(&mut home, &other, udp(5000, 40_000, 7200)).0, Code::OUT_OF_RESOURCES);

    let mut home = with(Faults { refuses_renewal: true, ..Faults::default() });
    let own = home.alice.clone();
    ask(&mut home, &own, udp(5000, 40_000, 7200));
    assert_eq!(ask(&mut home, &own, udp(5000, 40_000, 7200)).0, Code::OUT_OF_RESOURCES);

    let mut home = with(Faults { answer_port: Some(6666), ..Faults::default() });
    let own = home.alice.clone();
    assert_eq!(home.ask_at(&own, "10.0.0.1:5351", &[0, 0]).expect("an answer").0, at("10.0.0.1:6666"));
    let result = home.run(natpmp::external_address(&own, ip("10.0.0.1"), seconds(2)));
    assert!(matches!(result, Err(Failure::Probe(natbox_probes::ProbeError::Silence { .. }))), "{result:?}");

    let mut home = with(Faults { delay: seconds(5), ..Faults::default() });
    let own = home.alice.clone();
    let began = home.world.now();
    home.run(natpmp::external_address(&own, ip("10.0.0.1"), seconds(60))).expect("late, but answered");
    assert_eq!(home.world.now().since(began), seconds(5));
}

//! PCP (RFC 6887): the rows of B.11.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use natbox_host::{Host, PortControl, UdpSocket};
use natbox_nat::behavior::{Filtering, Mapping};
use natbox_probes::portmap::pcp::codec::{Answer, Code, Extra, Map, Operation, Request};
use natbox_probes::portmap::pcp::{self, has_lost_state, renewal};
use natbox_probes::portmap::server::{self, Config};
use natbox_probes::portmap::{Control, Failure, Wish, natpmp};
use natbox_wire::{MappedBy, Protocol, RemoteFilter, Time};
use natbox_world::{VirtualHost, World};

use crate::support::*;

const NONCE: [u8; 12] = *b"twelve bytes";
const OTHER: [u8; 12] = *b"other twelve";

fn part(internal_port: u16, external: &str) -> Map {
    Map { nonce: NONCE, protocol: 17, internal_port, external: at(external) }
}

fn request(lifetime_seconds: u32, operation: Operation) -> Request {
    Request { lifetime_seconds, client: ip("10.0.0.2"), operation, options: Vec::new() }
}

fn map(internal_port: u16, external: &str, lifetime_seconds: u32) -> Request {
    request(lifetime_seconds, Operation::Map(part(internal_port, external)))
}

fn peer(internal_port: u16, external: &str, remote: &str, lifetime_seconds: u32) -> Request {
    request(lifetime_seconds, Operation::Peer { map: part(internal_port, external), remote: at(remote) })
}

fn with(request: Request, options: &[Extra]) -> Request {
    Request { options: options.to_vec(), ..request }
}

fn nonce(request: Request, nonce: [u8; 12]) -> Request {
    let operation = match request.operation {
        Operation::Map(map) => Operation::Map(Map { nonce, ..map }),
        Operation::Peer { map, remote } => Operation::Peer { map: Map { nonce, ..map }, remote },
        Operation::Announce => Operation::Announce,
    };
    Request { operation, ..request }
}

/// The answer to alice's request.
fn ask(home: &mut Home, request: &Request) -> Answer {
    let alice = home.alice.clone();
    let bytes = home.ask(&alice, &request.encode()).expect("an answer");
    assert!(bytes.len() >= 24 && bytes.len().is_multiple_of(4));
    Answer::decode(&bytes).expect("an answer of PCP")
}

/// Its code and lifetime.
fn code(home: &mut Home, request: &Request) -> (Code, u32) {
    let answer = ask(home, request);
    (answer.code, answer.lifetime_seconds)
}

fn external(answer: &Answer) -> SocketAddr {
    match answer.operation {
        Operation::Map(map) | Operation::Peer { map, .. } => map.external,
        Operation::Announce => panic!("an announcement"),
    }
}

fn raw(home: &mut Home, bytes: &[u8]) -> Option<Vec<u8>> {
    let alice = home.alice.clone();
    home.ask(&alice, bytes)
}

const ANY: &str = "0.0.0.0:0";
const WANTED: &str = "0.0.0.0:40000";

#[test]
fn size_what_is_too_short_is_not_answered_and_what_has_a_wrong_length_is_malformed() {
    let mut home = home(&[Control::Pcp]);
    let whole = map(5000, WANTED, 7200).encode();
    assert_eq!(raw(&mut home, &[2]), None);
    assert_eq!(raw(&mut home, &whole[..20]), None, "a known version and no whole header");
    let mut answer = whole.clone();
    answer[1] |= 0x80;
    assert_eq!(raw(&mut home, &answer), None, "an answer");
    let mut odd = whole.clone();
    odd.push(0);
    let mut long = whole.clone();
    long.resize(1104, 0);
    for bytes in [&odd[..], &whole[..40], &long] {
        let answer = raw(&mut home, bytes).expect("an answer");
        assert_eq!((answer[0], answer[1], answer[3]), (2, 0x81, Code::MALFORMED_REQUEST.0), "{}", bytes.len());
        assert!(answer.len().is_multiple_of(4) && answer.len() <= 1100);
    }
    assert_eq!(home.mappings(), []);
}

#[test]
fn ver_another_version_is_told_the_one_that_is_spoken() {
    let mut home = home(&[Control::Pcp]);
    for version in [1, 3, 0] {
        let mut bytes = map(5000, WANTED, 7200).encode();
        bytes[0] = version;
        let answer = raw(&mut home, &bytes).expect("an answer");
        assert_eq!((answer[0], answer[3]), (2, Code::UNSUPP_VERSION.0));
    }
}

#[test]
fn ver_a_v0_answer_means_nat_pmp() {
    let mut home = home(&[Control::NatPmp]);
    let alice = home.alice.clone();
    let result = home.run(pcp::map(&alice, ip("10.0.0.1"), &wish(5000), NONCE, PATIENCE));
    let Err(Failure::Refused { code: 1, meaning, .. }) = result else { panic!("{result:?}") };
    assert!(meaning.contains("NAT-PMP"));
}

#[test]
fn addr_a_client_address_that_is_not_the_source_finds_a_nat_in_between() {
    let mut home = home(&[Control::Pcp]);
    let elsewhere = Request { client: ip("192.168.1.2"), ..map(5000, WANTED, 7200) };
    assert_eq!(code(&mut home, &elsewhere), (Code::ADDRESS_MISMATCH, 1800));
    assert_eq!(home.mappings(), []);
}

#[test]
fn if_requests_from_outside_are_ignored() {
    let mut home = home(&[Control::Pcp]);
    let server = home.server.clone();
    let own = Request { client: ip("198.18.0.9"), ..map(5000, WANTED, 7200) };
    assert_eq!(home.ask_at(&server, "198.18.0.2:5351", &own.encode()), None);
    assert_eq!(home.ask_at(&server, "10.0.0.1:5351", &own.encode()), None);
}

#[test]
fn codes_short_errors_last_30_seconds_and_long_ones_30_minutes() {
    let mut behavior = symmetric();
    behavior.quota.ports = Some(1);
    let mut home = home_with(behavior, Config::new([Control::Pcp]));
    let unknown = {
        let mut bytes = map(5000, WANTED, 7200).encode();
        bytes[1] = 77;
        bytes
    };
    assert_eq!(raw(&mut home, &unknown).expect("an answer")[3..8], [Code::UNSUPP_OPCODE.0, 0, 0, 7, 8]);
    assert_eq!(code(&mut home, &map(5000, WANTED, 7200)).0, Code::SUCCESS);
    assert_eq!(code(&mut home, &map(5001, WANTED, 7200)), (Code::USER_EX_QUOTA, 30));
}

#[test]
fn map_a_suggestion_is_a_hint_that_never_makes_it_fail() {
    let mut home = home(&[Control::Pcp]);
    let answer = ask(&mut home, &map(5000, WANTED, 7200));
    assert_eq!((answer.code, answer.lifetime_seconds), (Code::SUCCESS, 7200));
    assert_eq!(external(&answer), at("198.18.0.2:40000"));
    let alice = home.alice.clone();
    assert!(home.reaches(at("198.18.0.2:40000"), &alice, 5000));
    for suggestion in [WANTED, "203.0.113.7:40000", "198.18.0.2:40000"] {
        home.wait(seconds(1));
        let port = 5001 + home.mappings().len() as u16;
        let answer = ask(&mut home, &map(port, suggestion, 7200));
        assert_eq!(answer.code, Code::SUCCESS, "{suggestion}");
        assert_ne!(external(&answer).port(), 40_000);
    }
}

#[test]
fn map_protocol_0_needs_port_0_and_is_not_supported_then() {
    let mut home = home(&[Control::Pcp]);
    let all = |port| request(7200, Operation::Map(Map { protocol: 0, ..part(port, ANY) }));
    assert_eq!(code(&mut home, &all(5000)), (Code::MALFORMED_REQUEST, 1800));
    assert_eq!(code(&mut home, &all(0)), (Code::UNSUPP_PROTOCOL, 1800));
    assert_eq!(code(&mut home, &map(0, ANY, 7200)), (Code::UNSUPP_PROTOCOL, 1800));
    let sctp = request(7200, Operation::Map(Map { protocol: 132, ..part(5000, ANY) }));
    assert_eq!(code(&mut home, &sctp), (Code::UNSUPP_PROTOCOL, 1800));
}

#[test]
fn map_again_is_the_same_endpoint_with_another_lifetime_and_another_nonce_is_not_authorized() {
    let mut home = home(&[Control::Pcp]);
    ask(&mut home, &map(5000, WANTED, 600));
    let again = ask(&mut home, &map(5000, "0.0.0.0:41000", 7200));
    assert_eq!((external(&again), again.lifetime_seconds), (at("198.18.0.2:40000"), 7200));
    home.wait(seconds(100));
    let stranger = nonce(map(5000, ANY, 7200), OTHER);
    assert_eq!(code(&mut home, &stranger), (Code::NOT_AUTHORIZED, 7100));
    assert_eq!(home.mappings().len(), 1);
}

#[test]
fn map_again_of_what_a_person_made_has_its_endpoint_for_ever() {
    let mut home = home(&[Control::Pcp]);
    home.forward("10.0.0.2:5000", 45_000);
    let answer = ask(&mut home, &map(5000, WANTED, 600));
    assert_eq!((answer.code, external(&answer).port(), answer.lifetime_seconds), (Code::SUCCESS, 45_000, u32::MAX));
    assert_eq!(code(&mut home, &map(5000, ANY, 0)).0, Code::NOT_AUTHORIZED);
}

#[test]
fn map_over_an_implicit_mapping_has_its_external_port() {
    let mut behavior = symmetric();
    behavior.mapping = Mapping::EndpointIndependent.into();
    let mut home = home_with(behavior, Config::new([Control::Pcp]));
    let (alice, server) = (home.alice.clone(), home.server.clone());
    let seen = home.run(seen_from(&alice, &server, 5000));
    let answer = ask(&mut home, &map(5000, WANTED, 600));
    assert_eq!(external(&answer), seen);
    assert_eq!(home.world.mappings(home.node).len(), 1);
}

/// From where the server sees a datagram of this port.
async fn seen_from(alice: &VirtualHost, server: &VirtualHost, port: u16) -> SocketAddr {
    let ear = server.udp_bind(at("198.18.0.9:9")).await.expect("free");
    let mouth = alice.udp_bind(SocketAddr::new(ip("10.0.0.2"), port)).await.expect("free");
    mouth.send_to(b"hello", at("198.18.0.9:9")).await.expect("sent");
    ear.recv_from(&mut [0; 16]).await.expect("received").source
}

#[test]
fn ext_5350_and_5351_are_never_mapped() {
    let mut home = home(&[Control::Pcp]);
    for port in [5350, 5351] {
        let answer = ask(&mut home, &map(port, &format!("0.0.0.0:{port}"), 7200));
        assert_eq!(answer.code, Code::SUCCESS);
        assert!(![5350, 5351].contains(&external(&answer).port()));
    }
}

#[test]
fn del_removes_what_map_made_and_nothing_else() {
    let mut home = home(&[Control::Pcp]);
    let (alice, server) = (home.alice.clone(), home.server.clone());
    ask(&mut home, &map(5000, WANTED, 7200));
    assert_eq!(code(&mut home, &nonce(map(5000, ANY, 0), OTHER)).0, Code::NOT_AUTHORIZED);
    assert_eq!(code(&mut home, &map(5000, ANY, 0)), (Code::SUCCESS, 0));
    assert_eq!(home.mappings(), []);
    assert_eq!(code(&mut home, &map(5000, ANY, 0)), (Code::SUCCESS, 0), "there is none any more");
    home.run(seen_from(&alice, &server, 6000));
    assert_eq!(code(&mut home, &map(6000, ANY, 0)).0, Code::NOT_AUTHORIZED, "its traffic made that");
    for port in [7000, 7001] {
        ask(&mut home, &map(port, ANY, 7200));
    }
    ask(&mut home, &nonce(map(7002, ANY, 7200), OTHER));
    let all = request(0, Operation::Map(Map { protocol: 0, ..part(0, ANY) }));
    assert_eq!(code(&mut home, &all), (Code::SUCCESS, 0));
    assert_eq!(home.mappings().iter().map(|one| one.internal.port()).collect::<Vec<u16>>(), [7002], "of this nonce");
}

#[test]
fn del_does_not_end_what_live_traffic_keeps() {
    let mut home = home(&[Control::Pcp]);
    let (alice, server) = (home.alice.clone(), home.server.clone());
    ask(&mut home, &map(5000, WANTED, 7200));
    let seen = home.run(seen_from(&alice, &server, 5000));
    assert_eq!(seen, at("198.18.0.2:40000"));
    ask(&mut home, &map(5000, ANY, 0));
    assert_eq!(home.mappings(), []);
    assert_eq!(home.run(seen_from(&alice, &server, 5000)), seen);
}

#[test]
fn life_is_two_minutes_at_least_and_a_day_at_most() {
    let mut home = home(&[Control::Pcp]);
    assert_eq!(code(&mut home, &map(5000, ANY, 1)), (Code::SUCCESS, 120));
    assert_eq!(code(&mut home, &map(5001, ANY, u32::MAX)), (Code::SUCCESS, 86_400));
    home.wait(seconds(119));
    assert_eq!(home.mappings().len(), 2);
    home.wait(seconds(1));
    assert_eq!(home.mappings().len(), 1);
}

#[test]
fn peer_extends_the_session_with_one_remote_and_cannot_provide_another_port() {
    let mut home = home(&[Control::Pcp]);
    let (alice, server) = (home.alice.clone(), home.server.clone());
    let seen = home.run(seen_from(&alice, &server, 5000));
    let taken = format!("0.0.0.0:{}", seen.port() ^ 1);
    assert_eq!(code(&mut home, &peer(5000, &taken, "198.18.0.9:9", 3600)).0, Code::CANNOT_PROVIDE_EXTERNAL);
    let answer = ask(&mut home, &peer(5000, ANY, "198.18.0.9:9", 3600));
    assert_eq!((answer.code, external(&answer), answer.lifetime_seconds), (Code::SUCCESS, seen, 3600));
    home.wait(seconds(3500));
    assert_eq!(home.run(seen_from(&alice, &server, 5000)), seen, "far longer than its timer");
    assert!(!home.reaches(seen, &alice, 5000), "and closed for every other port, as the filter is");
    // One that no packet has opened.
    let answer = ask(&mut home, &peer(6000, "0.0.0.0:42000", "198.18.0.9:9", 3600));
    assert_eq!((answer.code, external(&answer)), (Code::SUCCESS, at("198.18.0.2:42000")));
    assert_eq!(home.run(seen_from(&alice, &server, 6000)), at("198.18.0.2:42000"));
    let stranger = nonce(peer(6000, ANY, "198.18.0.9:9", 3600), OTHER);
    assert_eq!(code(&mut home, &stranger).0, Code::NOT_AUTHORIZED);
}

#[test]
fn opts_prefer_failure_refuses_another_endpoint() {
    let mut home = home(&[Control::Pcp]);
    let rather = [Extra::PreferFailure];
    assert_eq!(code(&mut home, &with(map(5000, ANY, 7200), &rather)).0, Code::MALFORMED_OPTION);
    let answer = ask(&mut home, &with(map(5000, WANTED, 7200), &rather));
    assert_eq!((answer.code, &answer.options[..]), (Code::SUCCESS, &rather[..]));
    assert_eq!(code(&mut home, &with(map(5001, WANTED, 7200), &rather)).0, Code::CANNOT_PROVIDE_EXTERNAL);
    let elsewhere = with(map(5001, "203.0.113.7:41000", 7200), &rather);
    assert_eq!(code(&mut home, &elsewhere).0, Code::CANNOT_PROVIDE_EXTERNAL);
    let peer = with(peer(5002, ANY, "198.18.0.9:9", 7200), &rather);
    assert_eq!(code(&mut home, &peer).0, Code::MALFORMED_OPTION, "MAP only");
}

#[test]
fn opts_third_party_maps_for_others_where_that_is_on() {
    let mut home = home(&[Control::Pcp]);
    let bobs = with(map(5000, WANTED, 7200), &[Extra::ThirdParty(ip("10.0.0.3"))]);
    assert_eq!(code(&mut home, &bobs), (Code::UNSUPP_OPTION, 1800));
    let mut home = home_with(symmetric(), Config { third_party: true, ..Config::new([Control::Pcp]) });
    assert_eq!(code(&mut home, &bobs).0, Code::SUCCESS);
    assert_eq!(home.mappings()[0].internal, at("10.0.0.3:5000"));
    let own = with(map(5001, WANTED, 7200), &[Extra::ThirdParty(ip("10.0.0.2"))]);
    assert_eq!(code(&mut home, &own).0, Code::MALFORMED_REQUEST);
}

#[test]
fn opts_filter_admits_its_prefix_and_prefix_0_everybody() {
    let mut home = home(&[Control::Pcp]);
    let alice = home.alice.clone();
    let filter =
        |address: &str, prefix_len, port| Extra::Filter(Some(RemoteFilter { address: ip(address), prefix_len, port }));
    let closed = with(map(5000, WANTED, 7200), &[filter("203.0.113.0", 24, 0)]);
    assert_eq!(code(&mut home, &closed).0, Code::SUCCESS);
    assert!(!home.reaches(at("198.18.0.2:40000"), &alice, 5000));
    let open = with(map(5000, WANTED, 7200), &[filter("203.0.113.0", 24, 0), filter("198.18.0.0", 15, 0)]);
    ask(&mut home, &open);
    assert!(home.reaches(at("198.18.0.2:40000"), &alice, 5000));
    ask(&mut home, &closed);
    assert!(!home.reaches(at("198.18.0.2:40000"), &alice, 5000));
    ask(&mut home, &with(map(5000, WANTED, 7200), &[filter("203.0.113.0", 24, 0), Extra::Filter(None)]));
    assert!(home.reaches(at("198.18.0.2:40000"), &alice, 5000));
    // An IPv4 prefix is 96 bits or longer.
    let mut bytes = closed.encode();
    let prefix = bytes.len() - 19;
    bytes[prefix] = 95;
    assert_eq!(raw(&mut home, &bytes).expect("an answer")[3], Code::MALFORMED_OPTION.0);
    let many = vec![filter("203.0.113.0", 24, 0); 17];
    assert_eq!(code(&mut home, &with(map(5001, ANY, 7200), &many)).0, Code::EXCESSIVE_REMOTE_PEERS);
}

#[test]
fn opts_one_that_must_be_known_and_is_not_is_refused_and_others_are_passed_over() {
    let mut home = home(&[Control::Pcp]);
    assert_eq!(code(&mut home, &with(map(5000, WANTED, 7200), &[Extra::Other(99)])).0, Code::UNSUPP_OPTION);
    let answer = ask(&mut home, &with(map(5000, WANTED, 7200), &[Extra::Other(0x99)]));
    assert_eq!((answer.code, answer.options), (Code::SUCCESS, Vec::new()));
}

#[test]
fn epoch_clocks_that_go_back_or_disagree_by_more_than_a_sixteenth_are_a_loss() {
    let at = |seconds: u64| Time::ZERO + Duration::from_secs(seconds);
    assert!(!has_lost_state((1000, at(0)), (999, at(0))), "by one second");
    assert!(has_lost_state((1000, at(0)), (998, at(0))));
    assert!(!has_lost_state((1000, at(0)), (1000 + 160, at(152))), "152 + 2 is more than 160 - 10");
    assert!(has_lost_state((1000, at(0)), (1000 + 160, at(147))));
    assert!(has_lost_state((1000, at(0)), (1000 + 147, at(160))));
    assert!(!has_lost_state((1000, at(0)), (1000 + 148, at(160))));
}

#[test]
fn retry_three_seconds_doubling_a_tenth_more_or_less_and_renewals_between_the_half_and_five_eighths() {
    let mut home = home(&[]);
    let (alice, bob) = (home.alice.clone(), home.bob.clone());
    let silent = home.run(bob.udp_bind(at("10.0.0.3:5351"))).expect("free");
    let result = home.run(pcp::map(&alice, ip("10.0.0.3"), &wish(5000), NONCE, seconds(50)));
    assert!(matches!(result, Err(Failure::Probe(_))), "{result:?}");
    let times: Vec<f64> = (0..5)
        .map(|_| home.run(silent.recv_from(&mut [0; 64])).expect("a request").at.as_nanos() as f64 / 1e9)
        .collect();
    for (pair, wait) in times.windows(2).zip([3.0, 6.0, 12.0, 24.0]) {
        let gap = pair[1] - pair[0];
        assert!((wait * 0.9..=wait * 1.1).contains(&gap), "{gap} is not about {wait}");
    }
    let mut dice = alice.random();
    for (attempt, from, to) in [(0, 0.5, 0.625), (1, 0.75, 0.8125), (2, 0.875, 0.90625)] {
        for _ in 0..100 {
            let at = renewal(seconds(7200), attempt, &mut dice).as_secs_f64() / 7200.0;
            assert!((from..=to + 1e-9).contains(&at), "{attempt}: {at}");
        }
    }
    assert_eq!(renewal(seconds(4), 2, &mut dice), seconds(12), "four seconds apart");
}

#[test]
fn announce_is_answered_and_told_to_everybody_after_a_reboot() {
    let mut home = home(&[Control::Pcp]);
    let alice = home.alice.clone();
    home.wait(seconds(40));
    let answer = ask(&mut home, &request(0, Operation::Announce));
    assert_eq!((answer.code, answer.epoch_seconds, answer.operation), (Code::SUCCESS, 40, Operation::Announce));
    let ear = home.run(alice.udp_bind(at("0.0.0.0:5350"))).expect("free");
    ear.join_multicast(ip("224.0.0.1"), ip("10.0.0.2")).expect("joined");
    let node = home.node;
    home.world.reboot(node).expect("a gateway");
    home.wait(seconds(300));
    for _ in 0..10 {
        let mut buffer = [0; 64];
        let received = home.run(ear.recv_from(&mut buffer)).expect("an announcement");
        let told = Answer::decode(&buffer[..received.length]).expect("an answer of PCP");
        assert_eq!((received.source, told.operation), (at("10.0.0.1:5351"), Operation::Announce));
    }
}

#[test]
fn update_clients_are_told_three_times_where_their_mappings_have_gone() {
    let mut home = home(&[Control::Pcp]);
    let (alice, node) = (home.alice.clone(), home.node);
    let socket = home.run(alice.udp_bind(at("10.0.0.2:0"))).expect("free");
    home.run(socket.send_to(&map(5000, WANTED, 7200).encode(), at("10.0.0.1:5351"))).expect("sent");
    let mut buffer = [0; 100];
    home.run(socket.recv_from(&mut buffer)).expect("granted");
    home.wait(seconds(100));
    home.world.readdress(node, &[ip("198.18.0.77")]).expect("a gateway");
    home.wait(seconds(10));
    let began = Time::ZERO + seconds(100);
    for millis in [0, 250, 750] {
        let received = home.run(socket.recv_from(&mut buffer)).expect("an update");
        assert_eq!(received.at.since(began).as_millis(), millis);
        let told = Answer::decode(&buffer[..received.length]).expect("an answer of PCP");
        assert_eq!((external(&told), told.code), (at("198.18.0.77:40000"), Code::SUCCESS));
    }
    assert_eq!(code(&mut home, &map(5000, ANY, 7200)).0, Code::SUCCESS, "the nonce still counts");
}

#[test]
fn atomic_an_error_changes_nothing() {
    let mut home = home(&[Control::Pcp]);
    ask(&mut home, &map(5000, WANTED, 7200));
    home.wait(seconds(10));
    let before = home.mappings();
    for request in [
        nonce(map(5000, ANY, 600), OTHER),
        with(map(5000, WANTED, 600), &[Extra::Other(9)]),
        Request { client: ip("10.0.0.9"), ..map(5000, ANY, 0) },
        request(600, Operation::Map(Map { protocol: 1, ..part(5000, ANY) })),
    ] {
        assert_ne!(ask(&mut home, &request).code, Code::SUCCESS);
    }
    assert_eq!(home.mappings(), before);
}

#[test]
fn what_other_protocols_made_is_seen_and_kept() {
    let mut home = home(&[Control::Pcp, Control::NatPmp]);
    let alice = home.alice.clone();
    home.run(natpmp::map(&alice, ip("10.0.0.1"), &wish(5000), PATIENCE)).expect("granted");
    assert_eq!(home.mappings()[0].by, MappedBy::NatPmp);
    assert_eq!(code(&mut home, &map(5000, ANY, 600)).0, Code::NOT_AUTHORIZED);
}

#[test]
fn a_client_gets_a_mapping_of_tcp_and_gives_it_up() {
    let mut home = home_with(
        natbox_nat::Behavior { filtering: Filtering::AddressDependent.into(), ..symmetric() },
        Config::new([Control::Pcp]),
    );
    let alice = home.alice.clone();
    let wish = Wish { protocol: Protocol::Tcp, external_port: 8080, ..wish(80) };
    let granted = home.run(pcp::map(&alice, ip("10.0.0.1"), &wish, NONCE, PATIENCE)).expect("granted");
    assert_eq!((granted.external, granted.lifetime), (at("198.18.0.2:8080"), Some(seconds(7200))));
    home.run(pcp::unmap(&alice, ip("10.0.0.1"), &wish, NONCE, PATIENCE)).expect("given up");
    assert_eq!(home.mappings(), []);
    let remote = at("198.18.0.9:9");
    home.run(pcp::peer(&alice, ip("10.0.0.1"), &wish, remote, NONCE, PATIENCE)).expect("granted");
    assert_eq!(home.mappings()[0].remote, Some(remote));
    assert!(home.gateway.is_mapped(Protocol::Tcp, at("10.0.0.2:80")));
}

#[test]
fn over_ipv6_a_mapping_is_a_hole_in_the_firewall_and_announcements_go_to_all_nodes() {
    let mut world = World::new(7);
    let internet = world.internet("internet", &[ip("2001:db8::1")]);
    let lan = world.lan("home");
    let outside = attachment(internet, "home:outside", "2001:db8::2", 64);
    let inside = attachment(lan, "home:inside", "2001:db8:1::1", 64);
    let node = world.gateway("home", outside, inside, Arc::new(symmetric()));
    let alice = world.host("alice", vec![attachment(lan, "alice", "2001:db8:1::2", 64)]);
    let server = world.host("server", vec![attachment(internet, "server", "2001:db8::9", 64)]);
    let door = world.interfaces_of(node).next().expect("an outside");
    world.route(internet, "2001:db8:1::/64".parse().expect("a prefix"), door);
    let gateway = world.gateway_machine(node).expect("a gateway");
    let (machine, control) = (gateway.host(), gateway.clone());
    world.spawn(
        async move { drop(server::serve(machine, control, Config::new([Control::Pcp, Control::NatPmp])).await) },
    );
    let internal = at("[2001:db8:1::2]:5000");
    let heard = world.run_until(async {
        let ear = alice.udp_bind(internal).await.expect("free");
        let mouth = server.udp_bind(at("[::]:0")).await.expect("free");
        let wish = Wish { internal, ..wish(5000) };
        mouth.send_to(b"before", internal).await.expect("sent");
        alice.sleep(seconds(1)).await;
        let granted = pcp::map(&alice, ip("2001:db8:1::1"), &wish, NONCE, PATIENCE).await.expect("granted");
        mouth.send_to(b"after", internal).await.expect("sent");
        let mut buffer = [0; 16];
        let received = ear.recv_from(&mut buffer).await.expect("received");
        (granted.external, buffer[..received.length].to_vec())
    });
    assert_eq!(heard.expect("no stall"), (internal, b"after".to_vec()));
    let ear = world.run_until(alice.udp_bind(at("[::]:5350"))).expect("no stall").expect("free");
    ear.join_multicast(ip("ff02::1"), ip("2001:db8:1::2")).expect("joined");
    world.reboot(node).expect("a gateway");
    let received = world.run_until(ear.recv_from(&mut [0; 64])).expect("no stall").expect("an announcement");
    assert_eq!(received.source, at("[2001:db8:1::1]:5351"));
}

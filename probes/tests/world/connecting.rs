//! Whatever is allowed is tried, and the best path wins.

use std::cell::RefCell;
use std::net::IpAddr;
use std::rc::Rc;
use std::time::Duration;

use natbox_host::Host;
use natbox_nat::Behavior;
use natbox_nat::behavior::{Hairpin, Timeouts};
use natbox_probes::connect::{Config, Connection, Echo, Outcome, Path, Paths, connect};
use natbox_probes::punch::Failure;
use natbox_probes::{ProbeError, turn};
use natbox_wire::Time;
use natbox_world::note::{Event, Note};
use natbox_world::{Observer, VirtualHost};

use crate::lab::{Lab, answer, link, preset};

const SECOND: Duration = Duration::from_secs(1);

/// Bob answers; alice calls after a second.
fn call(
    lab: &mut Lab,
    alice: &VirtualHost,
    bob: &VirtualHost,
    config: Config,
) -> Result<Connection<VirtualHost>, Failure> {
    answer(bob, Config { me: "bob".into(), relay: None, ..config.clone() }, Echo);
    lab.run(async {
        alice.sleep(SECOND).await;
        connect(alice, &config, "bob").await
    })
}

/// What alice's message comes back as.
fn echo(lab: &mut Lab, connection: &mut Connection<VirtualHost>, message: &[u8]) -> Option<Vec<u8>> {
    let deadline = lab.world.now() + SECOND;
    lab.run(async {
        connection.send(message).await.expect("a path");
        connection.recv(deadline).await.expect("a path").map(|datagram| datagram.payload.to_vec())
    })
}

fn connected(result: Result<Connection<VirtualHost>, Failure>) -> Connection<VirtualHost> {
    result.unwrap_or_else(|failure| panic!("{failure}"))
}

fn ip(text: &str) -> IpAddr {
    text.parse().expect("an address")
}

/// Alice and bob, each behind a NAT of their own unless it is `""`; with a directory and a relay.
fn two(a: &str, b: &str) -> (Lab, VirtualHost, VirtualHost, Config) {
    let mut lab = Lab::new(1);
    let directory = lab.directory();
    let relay = lab.relay();
    let mut place = |name: &str, home: &str, behavior: &str, external: &str, internal: &str| match behavior {
        "" => lab.public(name, &[external]),
        behavior => {
            let home = lab.home(home, external, preset(behavior));
            lab.inside(home, name, internal)
        }
    };
    let alice = place("alice", "home-a", a, "198.18.0.2", "10.0.0.2");
    let bob = place("bob", "home-b", b, "198.18.0.3", "10.0.0.3");
    (lab, alice, bob, Config { relay: Some(relay), ..Config::new(directory, "alice") })
}

#[test]
fn each_pair_of_places_gets_its_best_path() {
    for (a, b, expected) in [
        ("", "", Path::Direct),
        ("symmetric", "", Path::Direct),
        ("", "port-restricted-cone", Path::Reversed),
        ("", "symmetric", Path::Reversed),
        ("port-restricted-cone", "port-restricted-cone", Path::Punched),
        ("full-cone", "symmetric", Path::Punched),
        ("symmetric", "port-restricted-cone", Path::Relayed),
        ("symmetric", "symmetric", Path::Relayed),
    ] {
        let (mut lab, alice, bob, config) = two(a, b);
        let mut connection = connected(call(&mut lab, &alice, &bob, config));
        assert_eq!(connection.path(), expected, "from {a:?} to {b:?}");
        assert_eq!(connection.remote().ip(), ip("198.18.0.3"), "from {a:?} to {b:?}");
        assert_eq!(echo(&mut lab, &mut connection, b"hello").as_deref(), Some(&b"hello"[..]), "from {a:?} to {b:?}");
    }
}

#[test]
fn hosts_on_one_network_talk_there() {
    let mut lab = Lab::new(1);
    let directory = lab.directory();
    let home =
        lab.home("home", "198.18.0.2", Behavior { hairpin: Hairpin::ExternalSource.into(), ..preset("symmetric") });
    let (alice, bob) = (lab.inside(home, "alice", "10.0.0.2"), lab.inside(home, "bob", "10.0.0.3"));
    let mut connection = connected(call(&mut lab, &alice, &bob, Config::new(directory, "alice")));
    assert_eq!((connection.path(), connection.remote().ip()), (Path::Local, ip("10.0.0.3")));
    assert_eq!(echo(&mut lab, &mut connection, b"hello").as_deref(), Some(&b"hello"[..]));
}

/// Two homes behind one carrier: their own networks are apart, and their external address is the carrier's.
fn behind_a_carrier(hairpin: Hairpin) -> (Lab, VirtualHost, VirtualHost, Config) {
    let mut lab = Lab::new(1);
    let directory = lab.directory();
    let carrier = Behavior { hairpin: hairpin.into(), ..Behavior::default() };
    let carrier = lab.home_on(lab.internet, "carrier", ("198.18.0.2", 15), "100.64.0.1", carrier, link(10));
    let mut home = |name: &str, host: &str, external: &str, internal: &str| {
        let home = preset("port-restricted-cone");
        let home = lab.home_on(carrier.network, name, (external, 24), "10.0.0.1", home, link(5));
        lab.inside(home, host, internal)
    };
    let alice = home("home-a", "alice", "100.64.0.2", "10.0.0.2");
    let bob = home("home-b", "bob", "100.64.0.3", "10.0.0.3");
    (lab, alice, bob, Config::new(directory, "alice"))
}

#[test]
fn two_homes_behind_one_carrier_need_its_hairpin() {
    let (mut lab, alice, bob, config) = behind_a_carrier(Hairpin::ExternalSource);
    let mut connection = connected(call(&mut lab, &alice, &bob, config));
    assert_eq!((connection.path(), connection.remote().ip()), (Path::Hairpinned, ip("198.18.0.2")));
    assert_eq!(echo(&mut lab, &mut connection, b"hello").as_deref(), Some(&b"hello"[..]));

    let (mut lab, alice, bob, config) = behind_a_carrier(Hairpin::Off);
    let failure = call(&mut lab, &alice, &bob, config).err().expect("no hairpin, no relay");
    assert!(failure.attempts.iter().all(|attempt| attempt.outcome == Outcome::NoAnswer), "{failure}");
    assert!(failure.to_string().contains("this host has no relay"), "{failure}");
}

#[test]
fn a_neighbour_is_reached_by_hairpin_only_if_that_is_all_that_is_allowed() {
    let mut lab = Lab::new(1);
    let directory = lab.directory();
    let home =
        lab.home("home", "198.18.0.2", Behavior { hairpin: Hairpin::ExternalSource.into(), ..Behavior::default() });
    let (alice, bob) = (lab.inside(home, "alice", "10.0.0.2"), lab.inside(home, "bob", "10.0.0.3"));
    let config = Config { allow: Paths::of(&[Path::Hairpinned]), ..Config::new(directory, "alice") };
    let connection = connected(call(&mut lab, &alice, &bob, config));
    assert_eq!((connection.path(), connection.remote().ip()), (Path::Hairpinned, ip("198.18.0.2")));
}

#[test]
fn one_way_of_talking_alone_can_be_asked_for() {
    for (a, b, allowed, works) in [
        ("symmetric", "", Path::Direct, true),
        ("", "symmetric", Path::Direct, false),
        ("", "symmetric", Path::Reversed, true),
        ("symmetric", "", Path::Reversed, false),
        ("port-restricted-cone", "port-restricted-cone", Path::Punched, true),
        ("symmetric", "symmetric", Path::Punched, false),
        ("full-cone", "full-cone", Path::Direct, false),
        ("", "", Path::Relayed, true),
        ("full-cone", "full-cone", Path::Relayed, true),
        ("symmetric", "symmetric", Path::Relayed, true),
        ("", "", Path::Local, false),
    ] {
        let (mut lab, alice, bob, config) = two(a, b);
        let config = Config { allow: Paths::of(&[allowed]), ..config };
        match call(&mut lab, &alice, &bob, config) {
            Ok(connection) => assert!(works && connection.path() == allowed, "{allowed} from {a:?} to {b:?}"),
            Err(failure) => assert!(!works, "{allowed} from {a:?} to {b:?}: {failure}"),
        }
    }
}

#[test]
fn ipv6_hosts_behind_firewalls_are_reached_where_they_are() {
    let mut lab = Lab::new(1);
    let (_, directory) = lab.servers_ipv6();
    let (a, b) = (preset("port-restricted-cone"), preset("port-restricted-cone"));
    let (home_a, home_b) = (lab.home_ipv6("home-a", 2, a), lab.home_ipv6("home-b", 3, b));
    let (alice, bob) = (lab.inside(home_a, "alice", "2001:db8:2::2"), lab.inside(home_b, "bob", "2001:db8:3::2"));
    let mut connection = connected(call(&mut lab, &alice, &bob, Config::new(directory, "alice")));
    assert_eq!((connection.path(), connection.remote().ip()), (Path::Direct, ip("2001:db8:3::2")));
    assert_eq!(echo(&mut lab, &mut connection, b"hello").as_deref(), Some(&b"hello"[..]));
}

#[test]
fn a_callee_with_two_uplinks_is_found_on_the_one_that_both_share() {
    let mut lab = Lab::new(1);
    let directory = lab.directory();
    let home_a = lab.home("home-a", "198.18.0.2", preset("symmetric"));
    let home_b = lab.home_on(lab.internet, "home-b", ("198.18.0.3", 15), "10.0.1.1", preset("symmetric"), link(10));
    let alice = lab.inside(home_b, "alice", "10.0.1.2");
    let bob = lab.inside_of("bob", &[(home_a, "10.0.0.2"), (home_b, "10.0.1.3")]);
    let mut connection = connected(call(&mut lab, &alice, &bob, Config::new(directory, "alice")));
    assert_eq!((connection.path(), connection.remote().ip()), (Path::Local, ip("10.0.1.3")));
    assert_eq!(echo(&mut lab, &mut connection, b"hello").as_deref(), Some(&b"hello"[..]));
}

#[test]
fn a_path_that_was_not_asked_for_is_named_in_the_failure() {
    let (mut lab, alice, bob, config) = two("", "");
    let config = Config { allow: Paths::of(&[Path::Local]), ..config };
    let failure = call(&mut lab, &alice, &bob, config).err().expect("not local");
    assert_eq!(failure.attempts[0].outcome, Outcome::NotAllowed(Path::Direct), "{failure}");
}

#[test]
fn a_relay_that_refuses_is_remarked_on() {
    let (mut lab, alice, bob, mut config) = two("symmetric", "symmetric");
    let relay = config.relay.as_mut().expect("a relay");
    relay.credentials = turn::Credentials::new("user", "wrong");
    let failure = call(&mut lab, &alice, &bob, config).err().expect("no relay");
    assert!(failure.remarks[0].contains("does not know this username"), "{failure}");
}

#[test]
fn a_relay_that_is_not_there_costs_no_more_than_its_timeout() {
    let (mut lab, alice, bob, mut config) = two("full-cone", "full-cone");
    config.relay.as_mut().expect("a relay").server = "198.18.0.99:3478".parse().expect("an endpoint");
    let connection = connected(call(&mut lab, &alice, &bob, config));
    assert_eq!(connection.path(), Path::Punched);
    assert!(connection.elapsed() < 4 * SECOND, "{:?}", connection.elapsed());
}

#[test]
fn an_unknown_callee_is_refused_by_the_directory() {
    let (mut lab, alice, bob, config) = two("", "");
    answer(&bob, Config { me: "robert".into(), ..config.clone() }, Echo);
    let failure = lab.run(connect(&alice, &config, "bob")).err().expect("nobody is called bob");
    assert!(matches!(failure.error.as_deref(), Some(ProbeError::Refused { .. })), "{failure}");
}

/// Counts what enters the links of a host.
#[derive(Clone, Default)]
struct Bytes(Rc<RefCell<Vec<(Time, usize)>>>);

struct Counter {
    interface: natbox_world::InterfaceId,
    bytes: Bytes,
}

impl Observer for Counter {
    fn note(&mut self, note: &Note<'_>) {
        if let Event::Sent { interface, packet, .. } = &note.event
            && *interface == self.interface
        {
            self.bytes.0.borrow_mut().push((note.at, packet.bytes.len()));
        }
    }
}

#[test]
fn relay_first_talks_at_once_and_leaves_the_relay_when_the_holes_are_punched() {
    let (mut lab, alice, bob, mut config) = two("full-cone", "port-restricted-cone");
    config.checks.relay_first = true;
    let relay = lab.world.nodes().find(|node| &*lab.world.node_name(*node) == "relay").expect("a relay");
    let interface = lab.world.interfaces_of(relay).next().expect("an uplink");
    let bytes = Bytes::default();
    lab.world.observe(Box::new(Counter { interface, bytes: bytes.clone() }));
    let mut connection = connected(call(&mut lab, &alice, &bob, config));
    assert_eq!(connection.path(), Path::Relayed);
    let until = lab.world.now() + 60 * SECOND;
    lab.run(async {
        let mut back = 0;
        while alice.now() < until {
            connection.send(b"voice").await.expect("a path");
            let next = alice.now() + SECOND / 10;
            while connection.recv(next).await.expect("a path").is_some() {
                back += 1;
            }
        }
        assert!(back > 590, "{back} of 600 came back");
    });
    assert_eq!(connection.path(), Path::Punched);
    let history: Vec<Path> = connection.history().iter().map(|(_, path)| *path).collect();
    assert_eq!(history, [Path::Relayed, Path::Punched]);
    let switched = connection.history().last().expect("a path").0;
    let after = bytes.0.borrow().iter().filter(|(at, _)| *at > switched + 4 * SECOND).count();
    assert_eq!(after, 0, "packets through the relay after the change to the punched path");
}

#[test]
fn relay_first_between_symmetric_nats_stays_relayed() {
    let (mut lab, alice, bob, mut config) = two("symmetric", "symmetric");
    config.checks.relay_first = true;
    let mut connection = connected(call(&mut lab, &alice, &bob, config));
    assert_eq!(connection.path(), Path::Relayed);
    assert!(connection.elapsed() < SECOND, "{:?}", connection.elapsed());
    for _ in 0..20 {
        assert_eq!(echo(&mut lab, &mut connection, b"hello").as_deref(), Some(&b"hello"[..]));
    }
    assert_eq!(connection.history().len(), 1);
}

#[test]
fn one_answering_host_serves_several_callers() {
    let mut lab = Lab::new(1);
    let directory = lab.directory();
    let home = lab.home("home", "198.18.0.2", preset("port-restricted-cone"));
    let bob = lab.inside(home, "bob", "10.0.0.2");
    answer(&bob, Config::new(directory, "bob"), Echo);
    lab.world.run_for(SECOND).expect("no storm");
    let mut connections = vec![];
    for number in 3..8 {
        let home = lab.home(&format!("home-{number}"), &format!("198.18.0.{number}"), preset("full-cone"));
        let caller = lab.inside(home, &format!("caller-{number}"), "10.0.0.9");
        let config = Config::new(directory, format!("caller-{number}"));
        connections.push(connected(lab.run(connect(&caller, &config, "bob"))));
    }
    for (number, connection) in connections.iter_mut().enumerate() {
        let message = [number as u8];
        assert_eq!(echo(&mut lab, connection, &message).as_deref(), Some(&message[..]));
    }
}

#[test]
fn a_callee_stays_reachable_behind_short_timers() {
    let short = Behavior {
        timeouts: Timeouts { udp: 20 * SECOND, ..Behavior::default().timeouts },
        ..preset("port-restricted-cone")
    };
    let mut lab = Lab::new(1);
    let directory = lab.directory();
    let home_a = lab.home("home-a", "198.18.0.2", preset("full-cone"));
    let home_b = lab.home("home-b", "198.18.0.3", short);
    let (alice, bob) = (lab.inside(home_a, "alice", "10.0.0.2"), lab.inside(home_b, "bob", "10.0.0.3"));
    answer(&bob, Config::new(directory, "bob"), Echo);
    lab.world.run_for(3600 * SECOND).expect("no storm");
    let mut connection = connected(lab.run(connect(&alice, &Config::new(directory, "alice"), "bob")));
    assert_eq!(echo(&mut lab, &mut connection, b"hello").as_deref(), Some(&b"hello"[..]));
}

#[test]
fn two_runs_of_one_seed_take_the_same_time_and_packets() {
    let run = || {
        let (mut lab, alice, bob, config) = two("symmetric", "symmetric");
        let connection = connected(call(&mut lab, &alice, &bob, config));
        (connection.elapsed(), connection.remote(), lab.world.statistics().packets)
    };
    assert_eq!(run(), run());
}

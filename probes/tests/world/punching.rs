//! Hole punching: which pairs of NATs it joins, what it costs, and who is not mistaken for the peer.

use std::time::Duration;

use natbox_host::Host;
use natbox_nat::Behavior;
use natbox_nat::behavior::{Hairpin, Timeouts};
use natbox_probes::punch::{self, Attempt, Failure, Outcome, PairKind, PunchConfig, Punched};
use natbox_probes::{Path, ProbeError, connect};
use natbox_wire::Time;
use natbox_world::{LinkConfig, VirtualHost};

use crate::lab::{Lab, answer, endpoint, link, preset};

const MINUTE: Duration = Duration::from_secs(60);

type Met = Result<Punched<VirtualHost>, Failure>;

/// Alice calls bob half a second after he begins to wait.
async fn meet(alice: VirtualHost, bob: VirtualHost, config: PunchConfig) -> (Met, Met) {
    let waiting = PunchConfig { me: "bob".into(), ..config.clone() };
    let answer = punch::answer(&bob, &waiting, Time::ZERO + MINUTE);
    let call = async {
        alice.sleep(Duration::from_millis(500)).await;
        punch::punch(&alice, &config, "bob").await
    };
    futures::future::join(call, answer).await
}

fn two_homes(a: Behavior, b: Behavior) -> (Lab, VirtualHost, VirtualHost, PunchConfig) {
    let mut lab = Lab::new(1);
    let directory = lab.directory();
    let (home_a, home_b) = (lab.home("home-a", "198.18.0.2", a), lab.home("home-b", "198.18.0.3", b));
    let alice = lab.inside(home_a, "alice", "10.0.0.2");
    let bob = lab.inside(home_b, "bob", "10.0.0.3");
    (lab, alice, bob, PunchConfig::new(directory, "alice"))
}

/// A message and its acknowledgement.
async fn talk(alice: &mut Punched<VirtualHost>, bob: &mut Punched<VirtualHost>, deadline: Time) {
    let say = async {
        alice.send(b"message").await.expect("alice's socket works");
        alice.recv(deadline).await.expect("alice's socket works").map(<[u8]>::to_vec)
    };
    let hear = async {
        let heard = bob.recv(deadline).await.expect("bob's socket works").map(<[u8]>::to_vec);
        bob.send(b"acknowledged").await.expect("bob's socket works");
        heard
    };
    let (said, heard) = futures::future::join(say, hear).await;
    assert_eq!((said.as_deref(), heard.as_deref()), (Some(&b"acknowledged"[..]), Some(&b"message"[..])));
}

/// Every combination is held against a prediction in the repository's own tests; these are the ones that people know.
#[test]
fn the_pairs_that_people_know_are_joined_or_not_as_they_know() {
    for (a, b, joined) in [
        ("full-cone", "full-cone", true),
        ("port-restricted-cone", "port-restricted-cone", true),
        ("full-cone", "symmetric", true),
        ("restricted-cone", "symmetric", true),
        ("port-restricted-cone", "symmetric", false),
        ("symmetric", "port-restricted-cone", false),
        ("symmetric", "symmetric", false),
    ] {
        let (mut lab, alice, bob, config) = two_homes(preset(a), preset(b));
        let (alice, bob) = lab.run(meet(alice, bob, config));
        assert_eq!((alice.is_ok(), bob.is_ok()), (joined, joined), "{a} and {b}");
        if let (Ok(mut alice), Ok(mut bob)) = (alice, bob) {
            assert_eq!((alice.path(), alice.remote().ip()), (Path::Punched, "198.18.0.3".parse().unwrap()));
            let deadline = lab.world.now() + MINUTE;
            lab.run(talk(&mut alice, &mut bob, deadline));
        }
    }
}

#[test]
fn without_peer_reflexive_learning_a_symmetric_nat_is_not_heard() {
    for learning in [true, false] {
        let (mut lab, alice, bob, mut config) = two_homes(preset("symmetric"), preset("full-cone"));
        config.checks.peer_reflexive = learning;
        let (alice, bob) = lab.run(meet(alice, bob, config));
        assert_eq!((alice.is_ok(), bob.is_ok()), (learning, learning));
    }
}

#[test]
fn a_failure_says_what_became_of_every_pair() {
    let (mut lab, alice, bob, config) = two_homes(preset("symmetric"), preset("symmetric"));
    let (alice, bob) = lab.run(meet(alice, bob, config));
    let failure = alice.err().expect("two symmetric NATs");
    assert_eq!(failure.error, None);
    let kinds: Vec<_> = failure.attempts.iter().map(|attempt| (attempt.kind, attempt.outcome)).collect();
    assert_eq!(kinds, [(PairKind::Host, Outcome::NoAnswer), (PairKind::Reflexive, Outcome::NoAnswer)]);
    assert!(failure.to_string().contains("198.18.0.3"), "{failure}");
    assert!(failure.elapsed < Duration::from_secs(3));
    assert!(bob.is_err());
}

#[test]
fn a_whole_meeting_takes_few_packets() {
    let (mut lab, alice, bob, mut config) = two_homes(preset("port-restricted-cone"), preset("port-restricted-cone"));
    config.stun = Some(lab.stun());
    let (alice, bob) = lab.run(meet(alice, bob, config));
    let (mut alice, mut bob) = (alice.expect("punched"), bob.expect("punched"));
    let deadline = lab.world.now() + MINUTE;
    lab.run(talk(&mut alice, &mut bob, deadline));
    // STUN 4, registration 2, introduction 4, checks to the private addresses 2, to the reflexive ones 4 and their
    // answers, nomination 2, message and acknowledgement 2.
    assert!(lab.world.statistics().packets <= 25, "{:?}", lab.world.statistics());
}

#[test]
fn somebody_else_at_the_same_private_address_is_refused() {
    let mut lab = Lab::new(1);
    let directory = lab.directory();
    let home_a = lab.home("home-a", "198.18.0.2", preset("port-restricted-cone"));
    let home_b = lab.home("home-b", "198.18.0.3", preset("port-restricted-cone"));
    let alice = lab.inside(home_a, "alice", "10.0.0.2");
    let carol = lab.inside(home_a, "carol", "10.0.0.3");
    let bob = lab.inside(home_b, "bob", "10.0.0.3");
    let config = |me: &str| connect::Config { port: 5000, ..connect::Config::new(directory, me) };
    answer(&carol, config("carol"), connect::Echo);
    answer(&bob, config("bob"), connect::Echo);
    let met = lab.run(async {
        alice.sleep(Duration::from_secs(1)).await;
        connect::connect(&alice, &connect::Config::new(directory, "alice"), "bob").await
    });
    let met = met.unwrap_or_else(|failure| panic!("{failure}"));
    assert_eq!((met.path(), met.remote().ip()), (Path::Punched, "198.18.0.3".parse().unwrap()));
    let at_home = |attempt: &Attempt| attempt.remote == endpoint("10.0.0.3:5000");
    let impostor = met.attempts().into_iter().find(at_home).expect("bob's own address was tried");
    assert_eq!(impostor.outcome, Outcome::Refused(401));
}

#[test]
fn an_echo_at_the_same_private_address_is_not_mistaken_for_the_peer() {
    let mut lab = Lab::new(1);
    let directory = lab.directory();
    let home_a = lab.home("home-a", "198.18.0.2", preset("symmetric"));
    let home_b = lab.home("home-b", "198.18.0.3", preset("symmetric"));
    let alice = lab.inside(home_a, "alice", "10.0.0.2");
    let carol = lab.inside(home_a, "carol", "10.0.0.3");
    let bob = lab.inside(home_b, "bob", "10.0.0.3");
    carol.spawn(crate::lab::serving(natbox_probes::echo::serve_udp(carol.clone(), endpoint("10.0.0.3:5000"))));
    let config = PunchConfig { port: 5000, ..PunchConfig::new(directory, "alice") };
    let (alice, _) = lab.run(meet(alice, bob, config));
    assert!(alice.is_err());
}

#[test]
fn a_directory_that_loses_messages_still_brings_two_together() {
    for seed in 0..50 {
        let mut lab = Lab::new(seed);
        let directory = lab.directory_on(LinkConfig { loss: 0.15, ..link(10) });
        let home_a = lab.home("home-a", "198.18.0.2", preset("port-restricted-cone"));
        let home_b = lab.home("home-b", "198.18.0.3", preset("full-cone"));
        let alice = lab.inside(home_a, "alice", "10.0.0.2");
        let bob = lab.inside(home_b, "bob", "10.0.0.3");
        let mut config = PunchConfig::new(directory, "alice");
        config.retransmission = natbox_probes::stun::client::Retransmission::default();
        config.checks.attempts = 60;
        let call = config.clone();
        let met = lab.run(async {
            let waiting = PunchConfig { me: "bob".into(), ..config };
            let answer = punch::answer(&bob, &waiting, Time::ZERO + 2 * MINUTE);
            let call = async {
                alice.sleep(MINUTE).await;
                punch::punch(&alice, &call, "bob").await
            };
            futures::future::join(call, answer).await
        });
        assert!(
            met.0.is_ok() && met.1.is_ok(),
            "seed {seed}: {:?}",
            [met.0, met.1].map(|met| met.err().map(|failure| failure.to_string()))
        );
    }
}

#[test]
fn keep_alives_hold_the_holes_open_while_both_wait() {
    let short = |name| Behavior {
        timeouts: Timeouts { udp: Duration::from_secs(30), ..Behavior::default().timeouts },
        ..preset(name)
    };
    let (mut lab, alice, bob, config) = two_homes(short("port-restricted-cone"), short("port-restricted-cone"));
    let (alice, bob) = lab.run(meet(alice, bob, config));
    let (mut alice, mut bob) = (alice.expect("punched"), bob.expect("punched"));
    let quiet = lab.world.now() + 10 * MINUTE;
    let (a, b) = lab.run(async { futures::future::join(alice.recv(quiet), bob.recv(quiet)).await });
    assert_eq!((a.unwrap(), b.unwrap()), (None, None));
    lab.run(talk(&mut alice, &mut bob, quiet + MINUTE));
}

#[test]
fn behind_one_nat_the_private_addresses_win() {
    let mut lab = Lab::new(1);
    let directory = lab.directory();
    let home =
        lab.home("home", "198.18.0.2", Behavior { hairpin: Hairpin::ExternalSource.into(), ..Behavior::default() });
    let (alice, bob) = (lab.inside(home, "alice", "10.0.0.2"), lab.inside(home, "bob", "10.0.0.3"));
    let (alice, _bob) = lab.run(meet(alice, bob, PunchConfig::new(directory, "alice")));
    let alice = alice.expect("they share a network");
    assert_eq!((alice.path(), alice.remote().ip()), (Path::Local, "10.0.0.3".parse().unwrap()));
}

#[test]
fn an_unknown_name_is_refused_by_the_directory() {
    let (mut lab, alice, _bob, config) = two_homes(preset("full-cone"), preset("full-cone"));
    let failure = lab.run(punch::punch(&alice, &config, "nobody")).err().expect("nobody is there");
    assert!(matches!(failure.error.as_deref(), Some(ProbeError::Refused { .. })), "{failure}");
}

#[test]
fn a_directory_that_is_not_there_is_a_silence_with_a_deadline() {
    let (mut lab, alice, _bob, config) = two_homes(preset("full-cone"), preset("full-cone"));
    let config = PunchConfig { directory: endpoint("198.18.0.77:3490"), ..config };
    let failure = lab.run(punch::punch(&alice, &config, "bob")).err().expect("no directory");
    assert!(matches!(failure.error.as_deref(), Some(ProbeError::Silence { sent: 4, .. })), "{failure}");
    assert_eq!(failure.elapsed, Duration::from_millis(5500));
}

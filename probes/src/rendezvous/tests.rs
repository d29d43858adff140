use std::net::IpAddr;
use std::time::Duration;

use natbox_wire::Time;
use proptest::prelude::*;
use rand_core::SeedableRng;
use rand_pcg::Pcg64Mcg;

use super::*;
use crate::path::{Path, Paths};

const ALICE: &str = "198.18.0.3:40001";
const BOB: &str = "198.18.0.4:40002";

fn at(millis: u64) -> Time {
    Time::ZERO + Duration::from_millis(millis)
}

struct Bench {
    directory: Directory,
    random: Pcg64Mcg,
}

impl Bench {
    fn new(limits: Limits) -> Bench {
        Bench { directory: Directory::new(limits), random: Pcg64Mcg::seed_from_u64(1) }
    }

    fn say(&mut self, from: &str, id: u64, body: Body, millis: u64) -> Vec<(SocketAddr, Message)> {
        let datagram = Message { id: RequestId(id), body }.encode();
        self.directory.handle(&datagram, Way::udp(from.parse().unwrap()), &mut self.random, at(millis));
        self.sent()
    }

    fn tick(&mut self, millis: u64) -> Vec<(SocketAddr, Message)> {
        self.directory.tick(at(millis));
        self.sent()
    }

    fn sent(&mut self) -> Vec<(SocketAddr, Message)> {
        self.directory.drain().map(|sent| (sent.to.endpoint, Message::decode(&sent.datagram).unwrap())).collect()
    }
}

fn register(name: &str, seconds: u64) -> Body {
    let endpoint = "10.0.0.2:5000".parse().unwrap();
    let candidates = vec![Candidate { kind: CandidateKind::Host, endpoint }];
    Body::Register { name: name.into(), lifetime: Duration::from_secs(seconds), candidates }
}

fn introduce() -> Body {
    Body::Introduce { own: "alice".into(), wanted: "bob".into(), paths: Paths::ALL, candidates: vec![] }
}

#[test]
fn an_introduction_tells_both_sides_the_same_token_and_where_the_other_is() {
    let mut bench = Bench::new(Limits::default());
    bench.say(BOB, 1, register("bob", 60), 0);
    let sent = bench.say(ALICE, 2, introduce(), 10);
    let [(to_bob, invitation), (to_alice, introduced)] = &sent[..] else { panic!("{sent:?}") };
    assert_eq!((to_bob.to_string().as_str(), to_alice.to_string().as_str()), (BOB, ALICE));
    let (Body::Invitation { token, peer: alice, .. }, Body::Introduced { token: same, seen, peer: bob }) =
        (&invitation.body, &introduced.body)
    else {
        panic!("{sent:?}")
    };
    assert_eq!(token, same);
    assert_eq!((seen.to_string().as_str(), alice.reflexive), (ALICE, *seen));
    assert_eq!((bob.name.as_str(), bob.reflexive.to_string().as_str()), ("bob", BOB));
    assert_eq!(bob.candidates[0].endpoint, "10.0.0.2:5000".parse().unwrap());
}

#[test]
fn a_repeated_request_gets_the_same_answer_and_no_second_invitation() {
    let mut bench = Bench::new(Limits::default());
    bench.say(BOB, 1, register("bob", 60), 0);
    let first = bench.say(ALICE, 2, introduce(), 10);
    let again = bench.say(ALICE, 2, introduce(), 400);
    assert_eq!(again, first[1..]);
}

#[test]
fn an_invitation_is_sent_five_times_unless_it_is_accepted() {
    let mut bench = Bench::new(Limits::default());
    bench.say(BOB, 1, register("bob", 60), 0);
    let first = bench.say(ALICE, 2, introduce(), 0);
    let mut times = vec![];
    while let Some(due) = bench.directory.next_deadline() {
        let millis = due.as_nanos() / 1_000_000;
        assert_eq!(bench.tick(millis), first[..1]);
        times.push(millis);
    }
    assert_eq!(times, [500, 1500, 3500, 7500]);

    let accepted = bench.say(ALICE, 3, introduce(), 10_000);
    bench.say(BOB, accepted[0].1.id.0, Body::Accepted, 10_050);
    assert_eq!(bench.directory.next_deadline(), None);
}

#[test]
fn a_stranger_cannot_accept_an_invitation() {
    let mut bench = Bench::new(Limits::default());
    bench.say(BOB, 1, register("bob", 60), 0);
    let sent = bench.say(ALICE, 2, introduce(), 0);
    bench.say(ALICE, sent[0].1.id.0, Body::Accepted, 50);
    assert_eq!(bench.directory.next_deadline(), Some(at(500)));
}

#[test]
fn a_registration_ends_with_its_lifetime_or_by_a_lifetime_of_zero() {
    let mut bench = Bench::new(Limits::default());
    let unknown = Body::Error { code: ErrorKind::UnknownName };
    let lookup = || Body::Lookup { name: "bob".into() };
    bench.say(BOB, 1, register("bob", 60), 0);
    assert!(matches!(bench.say(ALICE, 2, lookup(), 59_999)[0].1.body, Body::Found { .. }));
    assert_eq!(bench.say(ALICE, 3, lookup(), 60_000)[0].1.body, unknown);
    bench.say(BOB, 4, register("bob", 60), 60_000);
    bench.say(BOB, 5, register("bob", 0), 61_000);
    assert_eq!(bench.say(ALICE, 6, introduce(), 61_000)[0].1.body, unknown);
}

#[test]
fn a_full_directory_refuses_new_names_until_old_ones_expire() {
    let mut bench = Bench::new(Limits { names: 1, introductions: 1, ..Limits::default() });
    bench.say(BOB, 1, register("bob", 60), 0);
    let full = Body::Error { code: ErrorKind::Full };
    assert_eq!(bench.say(ALICE, 2, register("alice", 60), 0)[0].1.body, full);
    assert!(matches!(bench.say(BOB, 3, register("bob", 60), 0)[0].1.body, Body::Registered { .. }));
    bench.say(ALICE, 4, introduce(), 0);
    assert_eq!(bench.say(ALICE, 5, introduce(), 0)[0].1.body, full);
    assert!(matches!(bench.say(ALICE, 6, register("alice", 60), 60_000)[0].1.body, Body::Registered { .. }));
}

#[test]
fn a_set_of_paths_is_ordered_best_first() {
    let set = Paths::of(&[Path::Relayed, Path::Local, Path::None]);
    assert_eq!(set.iter().collect::<Vec<_>>(), [Path::Local, Path::Relayed]);
    assert_eq!(Paths::from_bits(set.to_bits()), set);
}

fn candidates() -> impl Strategy<Value = Vec<Candidate>> {
    let kind = prop_oneof![
        Just(CandidateKind::Host),
        Just(CandidateKind::Reflexive),
        Just(CandidateKind::Relayed),
        Just(CandidateKind::Mapped)
    ];
    let candidate = (kind, any::<IpAddr>(), any::<u16>())
        .prop_map(|(kind, ip, port)| Candidate { kind, endpoint: SocketAddr::new(ip, port) });
    proptest::collection::vec(candidate, 0..=16)
}

fn body() -> impl Strategy<Value = Body> {
    let name = || "[a-zé]{1,32}";
    let paths = any::<u8>().prop_map(Paths::from_bits);
    let endpoint = || (any::<IpAddr>(), any::<u16>()).prop_map(SocketAddr::from);
    let peer = || {
        (name(), endpoint(), candidates()).prop_map(|(name, reflexive, candidates)| Peer {
            name,
            reflexive,
            candidates,
        })
    };
    let seconds = || any::<u32>().prop_map(|seconds| Duration::from_secs(u64::from(seconds)));
    let token = || any::<[u8; 16]>().prop_map(Token);
    prop_oneof![
        (name(), seconds(), candidates()).prop_map(|(name, lifetime, candidates)| Body::Register {
            name,
            lifetime,
            candidates
        }),
        (endpoint(), seconds()).prop_map(|(seen, lifetime)| Body::Registered { seen, lifetime }),
        name().prop_map(|name| Body::Lookup { name }),
        peer().prop_map(|peer| Body::Found { peer }),
        (name(), name(), paths.clone(), candidates()).prop_map(|(own, wanted, paths, candidates)| Body::Introduce {
            own,
            wanted,
            paths,
            candidates
        }),
        (token(), endpoint(), peer()).prop_map(|(token, seen, peer)| Body::Introduced { token, seen, peer }),
        (token(), paths, peer()).prop_map(|(token, paths, peer)| Body::Invitation { token, paths, peer }),
        Just(Body::Accepted),
        Just(Body::Error { code: ErrorKind::UnknownName }),
        Just(Body::Error { code: ErrorKind::Full }),
    ]
}

proptest! {
    #[test]
    fn what_is_encoded_is_decoded_and_no_truncation_is(id: u64, body in body()) {
        let message = Message { id: RequestId(id), body };
        let bytes = message.encode();
        prop_assert_eq!(Message::decode(&bytes), Some(message));
        for length in 0..bytes.len() {
            prop_assert_eq!(Message::decode(&bytes[..length]), None);
        }
    }

    #[test]
    fn no_datagram_makes_the_directory_panic(kind: u8, tail in proptest::collection::vec(any::<u8>(), 0..80)) {
        let mut bench = Bench::new(Limits::default());
        let mut datagram = vec![0xD1, 0x52, 1, kind % 11];
        datagram.extend(&tail);
        for datagram in [&datagram, &tail] {
            bench.directory.handle(datagram, Way::udp(ALICE.parse().unwrap()), &mut bench.random, at(0));
        }
    }
}

use proptest::prelude::*;

use super::*;
use crate::rendezvous::Candidate;
use crate::stun::codec::{self, MessageClass};

const MS: Duration = Duration::from_millis(1);

fn endpoint(text: &str) -> SocketAddr {
    text.parse().unwrap()
}

fn peer(host: &str, reflexive: &str) -> Peer {
    let candidates = vec![Candidate { kind: CandidateKind::Host, endpoint: endpoint(host) }];
    Peer { name: "peer".into(), reflexive: endpoint(reflexive), candidates }
}

/// Alice at 10.0.0.2, seen at 198.18.0.2, and bob at 10.0.1.3, seen at 198.18.0.3; all on port 5000.
fn session(role: Role, token: u8, plan: CheckPlan) -> Session {
    let (alice, bob) = (("10.0.0.2:5000", "198.18.0.2:5000"), ("10.0.1.3:5000", "198.18.0.3:5000"));
    let (own, other) = if role == Role::Caller { (alice, bob) } else { (bob, alice) };
    let introduced = Introduced {
        mapped: None,
        role,
        token: Token([token; 16]),
        local: vec![endpoint(own.0)],
        neighbours: vec![],
        reflexive: endpoint(own.1),
        peer: peer(other.0, other.1),
        paths: Paths::ALL,
        tries: Paths::ALL,
    };
    Session::new(introduced, plan, 1, Time::ZERO)
}

fn drain(session: &mut Session) -> Vec<Transmit> {
    session.drain().collect()
}

/// Hands `transmit` to `session` as coming from `source`, and gives what it says to that.
fn hand(session: &mut Session, transmit: &Transmit, source: &str, now: Time) -> Vec<Transmit> {
    let message = codec::parse(&transmit.datagram).unwrap();
    session.handle(Via::Socket, endpoint(source), &message, now);
    drain(session)
}

#[test]
fn a_session_checks_every_candidate_at_once_and_again() {
    let mut alice = session(Role::Caller, 1, CheckPlan::default());
    let targets = |sent: Vec<Transmit>| sent.into_iter().map(|transmit| transmit.to.to_string()).collect::<Vec<_>>();
    assert_eq!(targets(drain(&mut alice)), ["10.0.1.3:5000", "198.18.0.3:5000"]);
    let mut times = vec![];
    while alice.status() == Status::Checking {
        let due = alice.next_deadline().expect("something to do until it has failed");
        alice.tick(due);
        times.push((due.since(Time::ZERO).as_millis(), drain(&mut alice).len()));
    }
    assert_eq!(
        times,
        [200, 400, 600, 800, 1000, 1200, 1400, 1600, 1800, 2000].map(|at| (at, 2 * usize::from(at < 2000)))
    );
    assert_eq!(alice.next_deadline(), None);
    assert_eq!(alice.status(), Status::Failed);
}

#[test]
fn a_check_is_answered_and_checked_back_and_the_caller_nominates() {
    let (mut alice, mut bob) =
        (session(Role::Caller, 1, CheckPlan::default()), session(Role::Callee, 1, CheckPlan::default()));
    let now = Time::ZERO + MS;
    let check = drain(&mut bob).pop().unwrap();
    drain(&mut alice);
    let from_alice = hand(&mut alice, &check, "198.18.0.3:5000", now);
    let [answer, triggered] = &from_alice[..] else { panic!("{from_alice:?}") };
    assert!(hand(&mut bob, answer, "198.18.0.2:5000", now).is_empty());
    let back = hand(&mut bob, triggered, "198.18.0.2:5000", now);
    let [answer] = &back[..] else { panic!("{back:?}") };
    let nomination = hand(&mut alice, answer, "198.18.0.3:5000", now).pop().expect("a nomination");
    assert_eq!((alice.status(), bob.status()), (Status::Checking, Status::Checking));
    let last = hand(&mut bob, &nomination, "198.18.0.2:5000", now).pop().expect("an answer");
    hand(&mut alice, &last, "198.18.0.3:5000", now);
    let (Status::Selected(a), Status::Selected(b)) = (alice.status(), bob.status()) else { panic!("not selected") };
    assert_eq!((alice.path_of(alice.pair(a)), bob.path_of(bob.pair(b))), (Path::Punched, Path::Punched));
    assert_eq!((alice.next_deadline(), bob.next_deadline()), (None, None));
}

#[test]
fn a_check_with_another_sessions_token_is_not_answered_as_this_ones() {
    let (mut alice, mut other) =
        (session(Role::Caller, 1, CheckPlan::default()), session(Role::Callee, 2, CheckPlan::default()));
    drain(&mut alice);
    let check = drain(&mut other).pop().unwrap();
    let message = codec::parse(&check.datagram).unwrap();
    assert!(!alice.handle(Via::Socket, endpoint("198.18.0.3:5000"), &message, Time::ZERO));
    assert!(drain(&mut alice).is_empty());
}

#[test]
fn a_check_with_the_right_name_and_a_wrong_password_is_refused() {
    let mut alice = session(Role::Caller, 1, CheckPlan::default());
    drain(&mut alice);
    let forged = Writer::request(BINDING, 5.into()).text(attribute::USERNAME, "01010101a:01010101b");
    let datagram = forged.integrity(&codec::short_term_key("guess")).finish();
    let forged = Transmit { via: Via::Socket, to: endpoint("198.18.0.2:5000"), datagram, ttl: None };
    let sent = hand(&mut alice, &forged, "198.18.0.3:5000", Time::ZERO);
    let [refusal] = &sent[..] else { panic!("{sent:?}") };
    assert_eq!(codec::error_code(&codec::parse(&refusal.datagram).unwrap()).map(|(code, _)| code), Some(401));
    assert!(!alice.trusts(Via::Socket, endpoint("198.18.0.3:5000")));
}

#[test]
fn an_unknown_source_is_learned_or_ignored() {
    for learning in [true, false] {
        let plan = CheckPlan { peer_reflexive: learning, ..CheckPlan::default() };
        let (mut alice, mut bob) = (session(Role::Caller, 1, plan), session(Role::Callee, 1, plan));
        drain(&mut alice);
        let check = drain(&mut bob).pop().unwrap();
        let sent = hand(&mut alice, &check, "198.18.0.3:40000", Time::ZERO);
        let targets: Vec<_> = sent.iter().map(|transmit| transmit.to).collect();
        let expected = if learning { vec![endpoint("198.18.0.3:40000"); 2] } else { vec![] };
        assert_eq!(targets, expected, "learning: {learning}");
    }
}

#[test]
fn an_answer_from_elsewhere_does_not_count() {
    let (mut alice, mut bob) =
        (session(Role::Caller, 1, CheckPlan::default()), session(Role::Callee, 1, CheckPlan::default()));
    drain(&mut bob);
    let check = drain(&mut alice).pop().unwrap();
    let answer = hand(&mut bob, &check, "198.18.0.2:5000", Time::ZERO).remove(0);
    assert!(hand(&mut alice, &answer, "198.18.0.3:40000", Time::ZERO).is_empty());
    let outcomes: Vec<_> = alice.attempts().iter().map(|attempt| attempt.outcome).collect();
    assert_eq!(outcomes[1], Outcome::AnsweredFromElsewhere(endpoint("198.18.0.3:40000")));
}

#[test]
fn a_duplicated_old_nomination_does_not_change_the_pair() {
    let mut bob = session(Role::Callee, 1, CheckPlan::default());
    let mut alice = session(Role::Caller, 1, CheckPlan::default());
    drain(&mut bob);
    let (first, second) = (alice.request(1.into(), true), alice.request(2.into(), true));
    drain(&mut alice);
    let from = |datagram: &Vec<u8>| Transmit {
        via: Via::Socket,
        to: endpoint("10.0.1.3:5000"),
        datagram: datagram.clone(),
        ttl: None,
    };
    for (nomination, source, expected) in [
        (&first, "198.18.0.9:5000", "198.18.0.9:5000"),
        (&second, "198.18.0.2:5000", "198.18.0.2:5000"),
        (&first, "198.18.0.9:5000", "198.18.0.2:5000"),
    ] {
        hand(&mut bob, &from(nomination), source, Time::ZERO);
        let Status::Selected(index) = bob.status() else { panic!("not selected") };
        assert_eq!(bob.pair(index).remote, endpoint(expected));
    }
}

#[test]
fn an_own_address_is_no_candidate_of_the_peers() {
    let mut introduced = session(Role::Caller, 1, CheckPlan::default()).introduced;
    introduced.peer = peer("10.0.0.2:5000", "198.18.0.3:5000");
    let mut alice = Session::new(introduced, CheckPlan::default(), 1, Time::ZERO);
    assert_eq!(drain(&mut alice).len(), 1);
}

#[test]
fn learned_pairs_are_bounded() {
    let mut alice = session(Role::Caller, 1, CheckPlan::default());
    let check = drain(&mut session(Role::Callee, 1, CheckPlan::default())).pop().unwrap();
    for port in 1..1000 {
        hand(&mut alice, &check, &format!("198.18.0.3:{port}"), Time::ZERO);
    }
    assert_eq!(alice.attempts().len(), MOST_PAIRS);
}

proptest! {
    #[test]
    fn no_message_makes_a_session_panic_and_it_always_ends(
        class in 0usize..4, id in 0u128..8, known: bool, mapped: bool, port: u16, callee: bool, nominates: bool,
    ) {
        let role = if callee { Role::Callee } else { Role::Caller };
        let mut subject = session(role, 1, CheckPlan::default());
        let class = [MessageClass::Request, MessageClass::Indication, MessageClass::Success, MessageClass::Error][class];
        let mut message = Writer::new(class, BINDING, id.into());
        if known {
            message = message.text(attribute::USERNAME, &subject.username_in);
        }
        if mapped {
            message = message.xor_address(attribute::XOR_MAPPED_ADDRESS, endpoint("198.18.0.2:5000"));
        }
        if nominates {
            message = message.raw(attribute::USE_CANDIDATE, &[]);
        }
        let datagram = message.integrity(&subject.key.clone()).finish();
        let message = codec::parse(&datagram).unwrap();
        for source in ["198.18.0.3:5000".to_owned(), format!("198.18.0.3:{}", port.max(1))] {
            subject.handle(Via::Socket, endpoint(&source), &message, Time::ZERO);
        }
        let mut steps = 0;
        while let Some(due) = subject.next_deadline() {
            subject.tick(due);
            steps += 1;
            prop_assert!(steps < 200, "still at {due}");
        }
        prop_assert!(subject.status() != Status::Checking);
    }
}

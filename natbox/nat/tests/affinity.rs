//! Which of several mappings of one internal endpoint a packet to one remote takes, and which answer is whose.

mod common;

use std::net::SocketAddr;
use std::time::Duration;

use common::*;
use natbox_nat::behavior::*;
use natbox_nat::{Behavior, Output, Refusal, Verdict};
use natbox_wire::DropReason;

/// A remote that the inside has not sent to.
const PEER: &str = "192.0.2.77:6000";

/// A mapping for each remote, and anybody may send to each.
fn symmetric_but_open(session_affinity: SessionAffinity) -> Behavior {
    Behavior { mapping: Mapping::AddressAndPortDependent.into(), session_affinity, ..Behavior::default() }
}

/// Three mappings of one endpoint, in the order in which they were made; the peer has sent to each, to the newest last.
fn reached_thrice(rig: &mut Rig) -> [SocketAddr; 3] {
    let all = [Y1, Y1_OTHER_PORT, Y2].map(|remote| rig.send(udp(X1, remote)));
    all.iter().for_each(|external| assert_eq!(rig.receive(udp(PEER, external)), Ok(at(X1))));
    all
}

#[test]
fn an_answer_takes_the_mapping_that_the_remote_sent_to_last_and_without_it_the_oldest() {
    let kills = Behavior { icmp_kills_mapping: Switch::On, ..symmetric_but_open(SessionAffinity::On) };
    let mut rig = Rig::new(kills);
    let [oldest, _, newest] = reached_thrice(&mut rig);
    assert_eq!(rig.send(udp(X1, PEER)), newest);
    // The newest mapping is ended by an error about what left through it.
    let about = udp(newest, Y2);
    assert!(matches!(rig.inbound(&mut error("192.0.2.2", &about)), Verdict::Forward(_)));
    assert_eq!(rig.send(udp(X1, PEER)), oldest, "the oldest of those that are left, by no other rule");
}

#[test]
fn without_affinity_every_packet_takes_the_mapping_that_the_rule_names() {
    let mut rig = Rig::new(symmetric_but_open(SessionAffinity::Off));
    let all = reached_thrice(&mut rig);
    let own = rig.send(udp(X1, PEER));
    assert!(!all.contains(&own), "none of those that it was reached by");
    assert_eq!(rig.send(udp(X1, PEER)), own);
}

/// `early_inbound: remap` gives one endpoint several mappings under one rule.
#[test]
fn without_affinity_a_session_keeps_its_mapping_also_where_the_rule_names_several() {
    let mut rig = Rig::new(Behavior {
        session_affinity: SessionAffinity::Off,
        early_inbound: EarlyInbound::Remap,
        filtering: Filtering::AddressAndPortDependent.into(),
        unsolicited_udp: UnsolicitedUdp::Drop,
        ..Behavior::default()
    });
    let first = rig.send(udp(X1, Y1));
    assert_eq!(rig.receive(udp(PEER, first)), Err(DropReason::Filtered));
    let second = rig.send(udp(X1, PEER));
    assert_ne!(second, first, "the peer has taken the first one's tuple");
    assert_eq!((rig.send(udp(X1, Y1)), rig.send(udp(X1, PEER))), (first, second), "each session stays where it is");
    assert_eq!(rig.send(udp(X1, Y2)), second, "a new one takes the newest that the rule names");
    assert_eq!(rig.receive(udp(Y2, second)), Ok(at(X1)));
    assert_eq!(rig.receive(udp(PEER, second)), Ok(at(X1)));
}

/// RFC 4787 REQ-3 forbids such a box: nothing tells whose an answer is.
#[test]
fn of_two_overloaded_mappings_towards_one_remote_the_one_that_opened_its_session_first_gets_the_answers() {
    let mut ports = Ports { allocation: PortAllocation::Preserve, ..Ports::default() };
    ports.conflict = PortConflict::Overload;
    for mapping in [Mapping::EndpointIndependent, Mapping::AddressDependent, Mapping::AddressAndPortDependent] {
        let mut rig = Rig::new(Behavior { ports: ports.clone(), mapping: mapping.into(), ..Behavior::default() });
        let [first, second] = [X1, X2].map(|internal| rig.send(udp(internal, Y1)));
        assert_eq!(first, second, "one external endpoint");
        assert_eq!(rig.receive(udp(Y1, first)), Ok(at(X1)), "{mapping}");
        rig.send(udp(X2, Y1));
        assert_eq!(rig.receive(udp(Y1, first)), Ok(at(X1)), "{mapping}: whoever sent last");
        rig.wait_seconds(299);
        rig.send(udp(X2, Y1));
        rig.wait_seconds(1);
        assert_eq!(rig.receive(udp(Y1, first)), Ok(at(X2)), "{mapping}: the first one is gone");
    }
}

/// RFC 5382 section 4.3: a SYN that crosses is not answered, also where the connection was known before.
#[test]
fn a_syn_that_is_held_is_forgotten_when_one_leaves_through_a_session_that_was_there() {
    let mut rig = Rig::new(Behavior { filtering: Filtering::AddressDependent.into(), ..Behavior::default() });
    let external = rig.send(tcp(X1, Y1_OTHER_PORT, SYN));
    assert_eq!(rig.receive(tcp(Y1, external, SYN)), Ok(at(X1)), "its address has been sent to");
    rig.wait(Duration::from_secs(200));
    assert_eq!(rig.receive(tcp(Y1, external, SYN)), Ok(at(X1)));
    rig.wait(Duration::from_secs(50));
    let hold = rig.refused(tcp(Y1, external, SYN)).expect("the permission has gone with its session: held");
    assert_eq!(rig.send(tcp(X1, Y1, SYN)), external, "through the session that the peer began");
    let outputs = rig.outputs();
    let [Output::Discard { hold: forgotten, refusal: Refusal { reason, answer, .. }, .. }] = &outputs[..] else {
        panic!("{outputs:?}")
    };
    assert_eq!((*forgotten, *reason, *answer), (hold, DropReason::SynCrossed, None));
}

//! Protocols that somebody else wrote without I/O, driven on hosts of a lab.

use super::{ice, quic};
use natbox::Lab;

fn call(home: &str, office: &str) -> Option<ice::Call> {
    ice::call_in(&ice::two_homes(home, office).expect("a lab")).expect("it runs")
}

#[test]
fn str0ms_ice_agent_finds_the_peer_behind_its_nat() {
    for (home, office) in [("full-cone", "symmetric"), ("port-restricted-cone", "linux-masquerade"), ("cgn", "cgn")] {
        let call = call(home, office).unwrap_or_else(|| panic!("{home} - {office}: no pair works"));
        assert_eq!(call.answer, "to question");
        assert_eq!(call.remote.ip().to_string(), "198.18.0.3", "{home} - {office}: the callee's NAT");
        assert!(call.took.as_millis() > 100, "{home} - {office}: {:?} are not two round trips", call.took);
    }
}

#[test]
fn str0ms_ice_agent_finds_no_pair_where_both_nats_are_symmetric() {
    assert_eq!(call("symmetric", "symmetric"), None);
}

#[test]
fn str0ms_ice_agent_prefers_the_way_that_crosses_no_nat() {
    let lab = Lab::from_yaml(
        "
nats: { home: symmetric }
hosts: { alice: { behind: home }, bob: { behind: home }, server: { services: [stun, rendezvous] } }
",
    )
    .expect("a lab");
    let call = ice::call_in(&lab).expect("it runs").expect("a pair that works");
    assert_eq!(call.remote.ip().to_string(), "10.0.0.3", "bob's own address");
}

#[test]
fn quinns_connection_crosses_two_nats_and_outlives_the_memory_of_one() {
    let [first, second] = quic::ask_twice("symmetric", "full-cone").expect("both questions are answered");
    let (first, second) =
        (first.strip_prefix("here from 198.18.0.2:"), second.strip_prefix("and here from 198.18.0.2:"));
    assert!(
        first.is_some() && second.is_some() && first != second,
        "{first:?}, then {second:?}: another external port"
    );
}

#[test]
fn quinns_connection_is_lost_where_the_peers_nat_admits_nobody_new() {
    // Both punch, so that there is a connection; but from the caller's new port nobody was asked to come. A NAT that
    // preserves ports takes the old one again, and is not noticed.
    let home = "{ type: port-restricted-cone, ports: { allocation: random } }";
    quic::ask_twice("port-restricted-cone", "port-restricted-cone").expect("the same port again");
    let lost = quic::ask_twice(home, "port-restricted-cone");
    let lost = lost.expect_err("the second question is not answered").to_string();
    assert_eq!(lost, "no answer");
}

//! RFC 6888 (carrier-grade NAT), requirement by requirement.

mod common;

use common::*;
use natbox_nat::behavior::*;
use natbox_nat::{Behavior, Verdict};
use natbox_wire::DropReason;

fn bypassing() -> Rig {
    let bypass = vec!["192.0.2.0/24".parse().expect("a prefix")];
    let filtering = Filtering::AddressAndPortDependent.into();
    Rig::new(Behavior { bypass, filtering, ..Behavior::default() })
}

#[test]
fn req_06_packets_to_a_bypassed_destination_leave_as_they_are_and_are_answered() {
    let mut nat = bypassing();
    for (mut request, mut answer) in [
        (udp(X1, Y1), udp(Y1, X1)),
        (tcp(X1, Y1, SYN), tcp(Y1, X1, SYN_ACK)),
        (ping(X1, "192.0.2.1"), pong("192.0.2.1", at(X1))),
    ] {
        // `check` insists that a packet that passes is as it came.
        assert_eq!(nat.outbound(&mut request), Verdict::Pass);
        assert_eq!(nat.inbound(&mut answer), Verdict::Pass);
    }
    assert_eq!(nat.inbound(&mut udp(Y1_OTHER_PORT, X2)), Verdict::Pass, "without state: uninvited too");
    assert_eq!(nat.nat.mappings(), []);
}

#[test]
fn req_06_errors_about_packets_that_bypassed_pass_whoever_sends_them() {
    let mut nat = bypassing();
    let sent = udp(X1, Y1);
    assert_eq!(nat.inbound(&mut error("203.0.113.1", &sent)), Verdict::Pass);
    assert_eq!(nat.outbound(&mut error("10.0.0.2", &udp(Y1, X1))), Verdict::Pass);
}

#[test]
fn req_06_other_destinations_are_translated() {
    let mut nat = bypassing();
    assert_eq!(nat.send(udp(X1, "203.0.113.1:9")).ip(), ip(EXTERNAL));
    assert_eq!(nat.receive(udp(Y1, "198.51.100.1:9")), Err(DropReason::NoMapping), "to an external address of its own");
    assert_eq!(nat.receive(udp("203.0.113.1:9", X1)), Err(DropReason::NoMapping));
}

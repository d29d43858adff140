//! RFC 5382 and RFC 7857 (TCP), requirement by requirement, as far as this NAT claims them.

mod common;

use common::*;
use natbox_nat::Behavior;
use natbox_nat::behavior::*;
use natbox_wire::DropReason;

fn strict() -> Rig {
    Rig::new(Behavior { filtering: Filtering::AddressAndPortDependent.into(), ..Behavior::default() })
}

/// A connection from X1 to Y1, and its external endpoint.
fn connected(nat: &mut Rig) -> std::net::SocketAddr {
    let external = nat.send(tcp(X1, Y1, SYN));
    assert_eq!(nat.receive(tcp(Y1, external, SYN_ACK)), Ok(at(X1)));
    assert_eq!(nat.send(tcp(X1, Y1, ACK)), external);
    external
}

#[test]
fn req_01_connections_to_several_remotes_share_one_mapping() {
    let mut nat = strict();
    assert_eq!(nat.send(tcp(X1, Y1, SYN)), nat.send(tcp(X1, Y2, SYN)));
}

#[test]
fn req_02a_a_simultaneous_open_passes_in_both_orders() {
    let mut nat = strict();
    let external = nat.send(tcp(X1, Y1, SYN));
    for flags in [SYN, SYN_ACK] {
        assert_eq!(nat.receive(tcp(Y1, external, flags)), Ok(at(X1)));
        assert_eq!(nat.send(tcp(X1, Y1, SYN_ACK)), external);
    }
    nat.wait_seconds(7439);
    assert_eq!(nat.receive(tcp(Y1, external, ACK)), Ok(at(X1)), "established");
}

#[test]
fn req_03_an_inbound_syn_is_filtered_like_any_packet() {
    let after = |filtering: Filtering, remote| {
        let unsolicited_syn = UnsolicitedSyn::Drop;
        let mut nat = Rig::new(Behavior { filtering: filtering.into(), unsolicited_syn, ..Behavior::default() });
        let external = connected(&mut nat);
        nat.receive(tcp(remote, external, SYN))
    };
    assert_eq!(after(Filtering::EndpointIndependent, Y2), Ok(at(X1)));
    assert_eq!(after(Filtering::AddressDependent, Y1_OTHER_PORT), Ok(at(X1)));
    assert_eq!(after(Filtering::AddressDependent, Y2), Err(DropReason::Filtered));
    assert_eq!(after(Filtering::AddressAndPortDependent, Y1_OTHER_PORT), Err(DropReason::Filtered));
}

#[test]
fn req_04a_an_unsolicited_syn_is_dropped() {
    let mut nat = Rig::new(Behavior { unsolicited_syn: UnsolicitedSyn::Drop, ..Behavior::default() });
    let refusal = nat.refused(tcp(Y1, "198.51.100.1:5000", SYN)).expect_err("it is not held");
    assert_eq!((refusal.reason, refusal.answer), (DropReason::NoMapping, None));
    assert_eq!(nat.nat.poll_timeout(), None, "nothing is to come");
}

#[test]
fn req_05_an_established_connection_lives_through_two_hours_of_silence() {
    let mut nat = strict();
    let external = connected(&mut nat);
    assert!(nat.wait_seconds(7439).is_empty());
    assert_eq!(nat.receive(tcp(Y1, external, ACK)), Ok(at(X1)));
    assert_eq!(nat.wait_seconds(7440).len(), 1);
    assert_eq!(nat.receive(tcp(Y1, external, ACK)), Err(DropReason::NoMapping));
}

#[test]
fn req_05_an_opening_connection_lives_four_minutes() {
    let mut nat = strict();
    let external = nat.send(tcp(X1, Y1, SYN));
    nat.wait_seconds(239);
    assert_eq!(nat.receive(tcp(Y1, external, SYN_ACK)), Ok(at(X1)));
    let mut nat = strict();
    let external = nat.send(tcp(X1, Y1, SYN));
    nat.wait_seconds(240);
    assert_eq!(nat.receive(tcp(Y1, external, SYN_ACK)), Err(DropReason::NoMapping));
}

#[test]
fn req_05_a_closing_connection_lives_four_minutes_and_no_segment_prolongs_it() {
    let mut nat = strict();
    let external = connected(&mut nat);
    nat.send(tcp(X1, Y1, FIN));
    assert_eq!(nat.receive(tcp(Y1, external, FIN)), Ok(at(X1)));
    nat.wait_seconds(239);
    assert_eq!(nat.send(tcp(X1, Y1, ACK)), external);
    assert_eq!(nat.wait_seconds(1).len(), 1);
}

#[test]
fn req_05_a_connection_that_closes_after_an_hour_ends_four_minutes_later() {
    for reset in [false, true] {
        let mut nat = strict();
        let external = connected(&mut nat);
        nat.wait_seconds(3600);
        let flags = if reset { RST } else { FIN };
        nat.send(tcp(X1, Y1, flags));
        assert_eq!(nat.receive(tcp(Y1, external, flags)), Ok(at(X1)));
        assert!(nat.wait_seconds(239).is_empty());
        assert_eq!(nat.wait_seconds(1).len(), 1);
    }
}

#[test]
fn req_02_a_half_closed_connection_keeps_the_long_timer() {
    let mut nat = strict();
    let external = connected(&mut nat);
    nat.send(tcp(X1, Y1, FIN));
    for _ in 0..4 {
        nat.wait_seconds(1800);
        assert_eq!(nat.receive(tcp(Y1, external, ACK)), Ok(at(X1)));
    }
}

#[test]
fn req_08_hairpinned_connections_come_from_the_external_endpoint() {
    let mut nat = Rig::new(Behavior::default());
    let (first, second) = (nat.send(tcp(X1, Y1, SYN)), nat.send(tcp(X2, Y1, SYN)));
    assert_eq!(nat.hairpin(tcp(X1, second, SYN)), Ok((first, at(X2))));
    assert_eq!(nat.hairpin(tcp(X2, first, SYN_ACK)), Ok((second, at(X1))));
}

#[test]
fn req_10_an_icmp_error_ends_no_connection() {
    let mut nat = strict();
    let mut syn = tcp(X1, Y1, SYN);
    nat.outbound(&mut syn);
    let external = syn.source_endpoint();
    assert_eq!(nat.receive(error("192.0.2.1", &syn)).map(|to| to.ip()), Ok(ip("10.0.0.2")));
    assert_eq!(nat.receive(tcp(Y1, external, SYN_ACK)), Ok(at(X1)));
}

#[test]
fn rfc7857_req_02_2_a_reset_is_translated_and_data_in_time_establishes_again() {
    for (silence, alive) in [(239, true), (240, false)] {
        let mut nat = strict();
        let external = connected(&mut nat);
        assert_eq!(nat.receive(tcp(Y1, external, RST)), Ok(at(X1)));
        nat.wait_seconds(silence);
        assert_eq!(nat.receive(tcp(Y1, external, ACK)).is_ok(), alive);
        if alive {
            nat.wait_seconds(7439);
            assert_eq!(nat.receive(tcp(Y1, external, ACK)), Ok(at(X1)), "established again");
        }
    }
}

#[test]
fn rfc7857_req_02_2_no_number_of_resets_prolongs_a_session() {
    let mut nat = strict();
    let external = connected(&mut nat);
    for _ in 0..3 {
        assert_eq!(nat.receive(tcp(Y1, external, RST)), Ok(at(X1)));
        nat.wait_seconds(80);
    }
    assert_eq!(nat.receive(tcp(Y1, external, RST)), Err(DropReason::NoMapping));
}

#[test]
fn rfc7857_req_02_1_opening_and_closing_have_timers_of_their_own() {
    let mut behavior = Behavior::default();
    behavior.timeouts.tcp_opening = std::time::Duration::from_secs(60);
    let mut nat = Rig::new(behavior);
    nat.send(tcp(X1, Y1, SYN));
    assert!(nat.wait_seconds(59).is_empty());
    assert_eq!(nat.wait_seconds(1).len(), 1);
    let external = connected(&mut nat);
    nat.send(tcp(X1, Y1, FIN));
    nat.receive(tcp(Y1, external, FIN)).expect("a FIN passes");
    assert!(nat.wait_seconds(239).is_empty());
    assert_eq!(nat.wait_seconds(1).len(), 1);
}

#[test]
fn rfc7857_req_05_tcp_and_udp_have_separate_mappings() {
    let mut nat = Rig::new(Behavior::default());
    nat.send(tcp(X1, Y1, SYN));
    nat.send(udp(X1, Y1));
    assert_eq!(nat.nat.mappings().len(), 2);
}

#[test]
fn rfc7857_req_06_a_tcp_mapping_admits_no_udp() {
    let mut nat = Rig::new(Behavior::default());
    let external = nat.send(tcp(X1, Y1, SYN));
    assert_eq!(nat.receive(udp(Y1, external)), Err(DropReason::NoMapping));
}

#[test]
fn a_segment_of_no_session_opens_nothing_unless_it_is_a_syn() {
    let mut nat = Rig::new(Behavior::default());
    for flags in [ACK, SYN_ACK, FIN, RST] {
        assert_eq!(nat.refusal(tcp(X1, Y1, flags)), DropReason::NoSession);
    }
    let external = connected(&mut nat);
    assert_eq!(nat.receive(tcp(Y2, external, ACK)), Err(DropReason::NoSession));
    assert_eq!(nat.receive(tcp(Y2, external, SYN)), Ok(at(X1)));
    assert_eq!(nat.send(tcp(X1, Y2, SYN_ACK)), external, "the answer to an admitted SYN");
}

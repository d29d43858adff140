//! RFC 5382 (TCP), requirement by requirement.

mod common;

use common::*;
use std::time::Duration;

use natbox_nat::behavior::*;
use natbox_nat::{Answer, Behavior, MappingEnd, Output, Side, Verdict};
use natbox_wire::build::{self, IpFields};
use natbox_wire::{DropReason, IcmpError, Packet, TcpFlags};

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
fn req_01_a_connection_dependent_mapping_is_never_found_again() {
    let behavior = Behavior { mapping: Mapping::ConnectionDependent.into(), ..Behavior::default() };
    for session_affinity in [SessionAffinity::On, SessionAffinity::Off] {
        let mut nat = Rig::new(Behavior { session_affinity, ..behavior.clone() });
        let first = connected(&mut nat);
        assert_eq!(nat.send(tcp(X1, Y1, SYN)), first, "a SYN of a living connection is a copy");
        assert_ne!(nat.send(tcp(X1, Y2, SYN)), first);
        nat.send(tcp(X1, Y1, FIN));
        nat.receive(tcp(Y1, first, FIN)).expect("a FIN passes");
        assert_eq!(nat.send(tcp(X1, Y1, ACK)), first);
        let second = nat.send(tcp(X1, Y1, SYN));
        assert_ne!(second, first);
        assert_eq!(nat.receive(tcp(Y1, first, FIN)), Ok(at(X1)), "a late copy of the old connection");
        assert_eq!(nat.receive(tcp(Y1, second, SYN_ACK)), Ok(at(X1)));
        assert_eq!(nat.send(tcp(X1, Y1, ACK)), second, "the new connection has its own");
        assert_eq!(nat.nat.mappings().len(), 3);
        assert_eq!(nat.send(udp(X1, Y1)), nat.send(udp(X1, Y1)), "UDP has no connections");
        assert_ne!(nat.send(udp(X1, Y1)), nat.send(udp(X1, Y2)));
        let ended = nat.wait_seconds(10_000);
        assert_eq!(ended.len(), 5);
        assert!(ended.iter().all(|one| one.why == MappingEnd::Expired));
    }
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
fn req_03_connection_dependent_filtering_lets_no_connection_begin_outside() {
    for filter_scope in [FilterScope::Mapping, FilterScope::Endpoint] {
        let filtering = Filtering::ConnectionDependent.into();
        let unsolicited_syn = UnsolicitedSyn::Drop;
        let mut nat = Rig::new(Behavior { filtering, filter_scope, unsolicited_syn, ..Behavior::default() });
        let external = connected(&mut nat);
        assert_eq!(nat.receive(tcp(Y1_OTHER_PORT, external, SYN)), Err(DropReason::Filtered));
        nat.send(tcp(X1, Y1, FIN));
        nat.receive(tcp(Y1, external, FIN)).expect("a FIN passes");
        nat.send(tcp(X1, Y1, ACK));
        assert_eq!(nat.receive(tcp(Y1, external, SYN)), Err(DropReason::Filtered), "not even in TIME-WAIT");
        assert_eq!(connected(&mut nat), external);
        let external = nat.send(udp(X1, Y1));
        assert_eq!(nat.receive(udp(Y1, external)), Ok(at(X1)), "UDP has no connections");
        assert_eq!(nat.receive(udp(Y1_OTHER_PORT, external)), Err(DropReason::Filtered));
    }
}

#[test]
fn req_03_connection_dependent_filtering_does_not_stop_a_simultaneous_open() {
    let mut nat = Rig::new(Behavior { filtering: Filtering::ConnectionDependent.into(), ..Behavior::default() });
    let external = nat.send(tcp(X1, Y1, SYN));
    assert_eq!(nat.receive(tcp(Y1, external, SYN)), Ok(at(X1)));
}

/// What a NAT does with a SYN to an endpoint that nobody has.
fn unsolicited(unsolicited_syn: UnsolicitedSyn) -> Rig {
    Rig::new(Behavior { unsolicited_syn, ..Behavior::default() })
}

const NOBODY: &str = "198.51.100.1:5000";

#[test]
fn req_04_an_unsolicited_syn_is_answered_after_six_seconds_and_not_before() {
    let after = [
        (UnsolicitedSyn::IcmpAfter6s, Answer::Icmp(IcmpError::PortUnreachable)),
        (UnsolicitedSyn::RstAfter, Answer::Reset),
    ];
    for (unsolicited_syn, answer) in after {
        let mut nat = unsolicited(unsolicited_syn);
        let syn = tcp(Y1, NOBODY, SYN);
        let held = nat.refused(syn.clone()).expect("it is held");
        assert_eq!(nat.nat.poll_timeout(), Some(seconds(6)));
        nat.wait(Duration::from_nanos(5_999_999_999));
        assert_eq!(nat.outputs(), []);
        nat.wait(Duration::from_nanos(1));
        let outputs = nat.outputs();
        let [Output::Discard { hold, from: Side::Outside, packet, refusal }] = &outputs[..] else {
            panic!("{outputs:?}")
        };
        assert_eq!((*hold, packet), (held, &syn));
        assert_eq!((refusal.reason, refusal.answer), (DropReason::NoMapping, Some(answer)));
        assert_eq!(nat.nat.poll_timeout(), None);
    }
}

#[test]
fn req_04_copies_of_a_held_syn_move_no_deadline_and_get_no_answer() {
    let mut nat = unsolicited(UnsolicitedSyn::IcmpAfter6s);
    nat.refused(tcp(Y1, NOBODY, SYN)).expect("it is held");
    for wait in [1, 2] {
        nat.wait_seconds(wait);
        let copy = nat.refused(tcp(Y1, NOBODY, SYN)).expect_err("a copy");
        assert_eq!((copy.reason, copy.answer), (DropReason::SynHeld, None));
    }
    nat.wait_seconds(3);
    assert_eq!(nat.outputs().len(), 1);
    nat.refused(tcp(Y1, NOBODY, SYN)).expect("the next copy is a SYN of its own");
}

#[test]
fn req_04_a_driver_that_comes_late_gets_the_error_with_the_next_packet() {
    let mut nat = unsolicited(UnsolicitedSyn::IcmpAfter6s);
    nat.refused(tcp(Y1, NOBODY, SYN)).expect("it is held");
    nat.now = seconds(7);
    nat.send(udp(X1, Y2));
    assert!(matches!(nat.outputs()[..], [Output::Discard { .. }]));
}

#[test]
fn req_04_held_syns_are_bounded() {
    let mut nat = unsolicited(UnsolicitedSyn::IcmpAfter6s);
    let held = (1..=3000).filter(|port| nat.refused(tcp(format!("192.0.2.1:{port}"), NOBODY, SYN)).is_ok()).count();
    assert_eq!(held, 1024);
    let refusal = nat.refused(tcp("192.0.2.1:5000", NOBODY, SYN)).expect_err("no room");
    assert_eq!((refusal.reason, refusal.answer), (DropReason::NoMapping, None));
    nat.wait_seconds(6);
    assert_eq!(nat.outputs().len(), 1024);
    nat.refused(tcp("192.0.2.1:5000", NOBODY, SYN)).expect("there is room again");
    let large = |port| {
        let fields = IpFields::default();
        build::tcp(at(&format!("192.0.2.1:{port}")), at(NOBODY), fields, SYN, 7, 9, 1000, &[0; 60_000])
            .expect("a packet")
    };
    assert_eq!((1..=50).filter(|port| nat.refused(large(*port)).is_ok()).count(), 4, "bytes are bounded too");
}

#[test]
fn req_04_a_reboot_forgets_held_syns_in_silence() {
    let mut nat = unsolicited(UnsolicitedSyn::IcmpAfter6s);
    nat.refused(tcp(Y1, NOBODY, SYN)).expect("it is held");
    nat.nat.reboot(&mut |one| panic!("{one:?}"));
    assert_eq!(nat.outputs(), []);
    assert_eq!(nat.nat.poll_timeout(), None);
}

#[test]
fn req_04_a_syn_that_the_filter_refuses_is_held_too_and_its_mapping_is_named() {
    let mut nat = strict();
    let mut out = tcp(X1, Y1, SYN);
    let mapping = mapping_of(nat.outbound(&mut out));
    nat.refused(tcp(Y2, out.source_endpoint(), SYN)).expect("it is held");
    nat.wait_seconds(6);
    let outputs = nat.outputs();
    let [Output::Discard { refusal, .. }] = &outputs[..] else { panic!("{outputs:?}") };
    assert_eq!((refusal.reason, refusal.mapping), (DropReason::Filtered, Some(mapping)));
}

#[test]
fn req_04_a_syn_for_another_connection_does_not_silence_the_error() {
    let mut nat = strict();
    let external = nat.send(tcp(X1, Y1, SYN));
    nat.refused(tcp(Y2, external, SYN)).expect("it is held");
    nat.send(tcp(X2, Y2, SYN));
    nat.send(udp(X1, Y2));
    nat.wait_seconds(6);
    assert_eq!(nat.outputs().len(), 1);
}

#[test]
fn req_04_a_held_syn_of_a_hairpin_is_answered_inside_and_silenced_by_a_crossing_one() {
    for crossed in [false, true] {
        let mut nat = strict();
        let (first, second) = (nat.send(tcp(X1, Y1, SYN)), nat.send(tcp(X2, Y1, SYN)));
        let mut syn = tcp(X1, second, SYN);
        let Verdict::Hold(held) = nat.outbound(&mut syn) else { panic!("X2 has not sent to X1") };
        if crossed {
            assert_eq!(nat.hairpin(tcp(X2, first, SYN)), Ok((second, at(X1))), "X1 has sent to X2");
        }
        nat.wait_seconds(6);
        let outputs = nat.outputs();
        let [Output::Discard { hold, from: Side::Inside, packet, refusal }] = &outputs[..] else {
            panic!("{outputs:?}")
        };
        assert_eq!((*hold, packet), (held, &syn));
        assert_eq!(refusal.reason == DropReason::SynCrossed, crossed);
        assert_eq!(refusal.answer.is_none(), crossed);
    }
}

#[test]
fn req_04_some_answer_at_once() {
    let now =
        [(UnsolicitedSyn::IcmpNow, Answer::Icmp(IcmpError::PortUnreachable)), (UnsolicitedSyn::RstNow, Answer::Reset)];
    for (unsolicited_syn, answer) in now {
        let refusal = unsolicited(unsolicited_syn).refused(tcp(Y1, NOBODY, SYN)).expect_err("it is not held");
        assert_eq!((refusal.reason, refusal.answer), (DropReason::NoMapping, Some(answer)));
    }
}

#[test]
fn req_04_a_box_that_originates_no_icmp_answers_with_resets_alone() {
    let of = |unsolicited_syn| {
        let icmp_originate = Switch::Off;
        let mut nat = Rig::new(Behavior { unsolicited_syn, icmp_originate, ..Behavior::default() });
        nat.refused(tcp(Y1, NOBODY, SYN)).expect_err("it is not held").answer
    };
    assert_eq!(of(UnsolicitedSyn::IcmpNow), None);
    assert_eq!(of(UnsolicitedSyn::RstNow), Some(Answer::Reset));
}

#[test]
fn req_04_an_ipv6_firewall_says_that_it_prohibits_rfc_6092() {
    let mut nat = strict();
    nat.refused(tcp("[2001:db8:1::9]:80", "[2001:db8::2]:5000", SYN)).expect("it is held");
    nat.wait_seconds(6);
    let outputs = nat.outputs();
    let [Output::Discard { refusal, .. }] = &outputs[..] else { panic!("{outputs:?}") };
    assert_eq!(refusal.answer, Some(Answer::Icmp(IcmpError::AdminProhibited)));
}

#[test]
fn a_box_that_lets_packets_reach_it_answers_those_from_inside_that_it_does_not_turn_round() {
    let answers = |unsolicited_syn, unsolicited_udp| {
        let hairpin = Hairpin::Off.into();
        let mut nat = Rig::new(Behavior { hairpin, unsolicited_syn, unsolicited_udp, ..Behavior::default() });
        [tcp(X1, NOBODY, SYN), tcp(X1, NOBODY, ACK), udp(X1, NOBODY)].map(|mut packet| {
            match nat.outbound(&mut packet) {
                Verdict::Drop(refusal) => {
                    assert_eq!(refusal.reason, DropReason::HairpinOff);
                    refusal.answer
                }
                other => panic!("{other:?}"),
            }
        })
    };
    let unreachable = Some(Answer::Icmp(IcmpError::PortUnreachable));
    let reset = Some(Answer::Reset);
    assert_eq!(answers(UnsolicitedSyn::RstNow, UnsolicitedUdp::Icmp), [reset, reset, unreachable]);
    assert_eq!(answers(UnsolicitedSyn::IcmpNow, UnsolicitedUdp::Drop), [unreachable, None, None]);
    assert_eq!(answers(UnsolicitedSyn::IcmpAfter6s, UnsolicitedUdp::Drop), [None; 3]);
}

#[test]
fn an_unsolicited_datagram_is_dropped_in_silence_or_with_an_error() {
    for (unsolicited_udp, answer) in
        [(UnsolicitedUdp::Drop, None), (UnsolicitedUdp::Icmp, Some(Answer::Icmp(IcmpError::PortUnreachable)))]
    {
        let mut nat = Rig::new(Behavior {
            unsolicited_udp,
            filtering: Filtering::AddressDependent.into(),
            ..Behavior::default()
        });
        let stranger = nat.refused(udp(Y1, NOBODY)).expect_err("no mapping");
        assert_eq!((stranger.reason, stranger.answer), (DropReason::NoMapping, answer));
        let external = nat.send(udp(X1, Y1));
        let filtered = nat.refused(udp(Y2, external)).expect_err("not sent to");
        assert_eq!((filtered.reason, filtered.answer), (DropReason::Filtered, answer));
    }
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

/// A segment with these numbers.
fn segment(from: impl ToString, to: impl ToString, flags: TcpFlags, sequence: u32, acknowledgement: u32) -> Packet {
    let (from, to) = (at(&from.to_string()), at(&to.to_string()));
    build::tcp(from, to, IpFields::default(), flags, sequence, acknowledgement, 1000, b"").expect("one version")
}

/// A connection in which X1 has sent up to 101, and Y1 up to 501; and its external endpoint.
fn numbered(nat: &mut Rig) -> std::net::SocketAddr {
    let external = nat.send(segment(X1, Y1, SYN, 100, 0));
    nat.receive(segment(Y1, external, SYN_ACK, 500, 101)).expect("the answer");
    nat.send(segment(X1, Y1, ACK, 101, 501));
    external
}

#[test]
fn section_5_an_expired_connection_may_end_in_silence_or_in_resets_that_both_ends_accept() {
    let mut silent = strict();
    numbered(&mut silent);
    assert_eq!(silent.wait_seconds(7440).len(), 1);
    assert_eq!(silent.outputs(), []);

    let mut nat = Rig::new(Behavior { expiry_notify: ExpiryNotify::RstBoth, ..Behavior::default() });
    let external = numbered(&mut nat);
    assert_eq!(nat.wait_seconds(7440).len(), 1);
    let outputs = nat.outputs();
    let [
        Output::Send { to: Side::Inside, packet: inwards, .. },
        Output::Send { to: Side::Outside, packet: outwards, .. },
    ] = &outputs[..]
    else {
        panic!("{outputs:?}")
    };
    // RFC 5961 section 3: the number that the end expects next, and no other.
    assert_eq!(*inwards, reset(Y1, X1, 501, 101));
    assert_eq!(*outwards, reset(external, Y1, 101, 501));
}

fn reset(from: impl ToString, to: impl ToString, sequence: u32, acknowledgement: u32) -> Packet {
    let (from, to) = (at(&from.to_string()), at(&to.to_string()));
    build::tcp(from, to, IpFields::default(), RST, sequence, acknowledgement, 0, b"").expect("one version")
}

#[test]
fn section_5_a_connection_that_was_never_established_or_is_closing_ends_in_silence() {
    let mut nat = Rig::new(Behavior { expiry_notify: ExpiryNotify::RstBoth, ..Behavior::default() });
    nat.send(segment(X2, Y1, SYN, 100, 0));
    let external = numbered(&mut nat);
    nat.send(segment(X1, Y1, FIN, 101, 501));
    nat.receive(segment(Y1, external, FIN, 501, 102)).expect("a FIN passes");
    assert_eq!(nat.wait_seconds(240).len(), 2);
    assert_eq!(nat.outputs(), []);
}

#[test]
fn section_5_a_hairpinned_connection_is_reset_once_at_each_end() {
    let mut nat = Rig::new(Behavior { expiry_notify: ExpiryNotify::RstBoth, ..Behavior::default() });
    let (first, second) = (nat.send(tcp(X1, Y1, SYN)), nat.send(tcp(X2, Y1, SYN)));
    nat.wait_seconds(200);
    nat.hairpin(segment(X1, second, SYN, 100, 0)).expect("a SYN");
    nat.hairpin(segment(X2, first, SYN_ACK, 500, 101)).expect("a SYN|ACK");
    nat.hairpin(segment(X1, second, ACK, 101, 501)).expect("an ACK");
    nat.wait_seconds(7440);
    let mut sent: Vec<Packet> = nat
        .outputs()
        .into_iter()
        .map(|output| match output {
            Output::Send { to: Side::Inside, packet, .. } => packet,
            other => panic!("{other:?}"),
        })
        .collect();
    sent.sort_by_key(|packet| packet.destination());
    assert_eq!(sent, [reset(second, X1, 501, 101), reset(first, X2, 101, 501)]);
}

#[test]
fn section_5_a_probe_asks_the_inside_whether_the_connection_lives_rfc_6146() {
    for answered in [false, true] {
        let mut nat = Rig::new(Behavior { expiry_notify: ExpiryNotify::KeepaliveProbe, ..Behavior::default() });
        let external = numbered(&mut nat);
        assert!(nat.wait_seconds(7440).is_empty());
        let outputs = nat.outputs();
        let [Output::Send { to: Side::Inside, packet, .. }] = &outputs[..] else { panic!("{outputs:?}") };
        let probe = build::tcp(at(Y1), at(X1), IpFields::default(), ACK, 0, 0, 0, b"").expect("one version");
        assert_eq!(*packet, probe);
        if answered {
            assert_eq!(nat.send(segment(X1, Y1, ACK, 101, 501)), external);
            assert!(nat.wait_seconds(7439).is_empty(), "established again");
            assert!(nat.wait_seconds(1).is_empty());
            assert_eq!(nat.outputs().len(), 1, "and asked again");
        }
        assert!(nat.wait_seconds(239).is_empty());
        assert_eq!(nat.wait_seconds(1).len(), 1);
        assert_eq!(nat.outputs(), []);
    }
}

#[test]
fn req_07_no_two_connections_to_one_remote_share_an_external_endpoint() {
    for overlap in [PortOverlap::None, PortOverlap::ByDestination] {
        let mut behavior = Behavior::default();
        (behavior.ports.allocation, behavior.ports.overlap) = (PortAllocation::Preserve, overlap);
        let mut nat = Rig::new(behavior);
        let [first, second] = [X1, X2].map(|internal| nat.send(tcp(internal, Y1, SYN)));
        assert_ne!(first, second, "{overlap}");
    }
}

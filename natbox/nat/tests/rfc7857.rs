//! RFC 7857 (the update of RFC 4787, 5382 and 5508), requirement by requirement, and the ten probes that tell TCP
//! machines apart.

mod common;

use std::net::SocketAddr;
use std::time::Duration;

use common::*;
use natbox_nat::behavior::*;
use natbox_nat::{Answer, Behavior, MappingEnd, Output, Refusal};
use natbox_wire::build::{self, IpFields};
use natbox_wire::{DropReason, IcmpError, Packet, TcpFlags};

fn seconds_of(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

fn strict() -> Rig {
    Rig::new(strict_behavior())
}

fn strict_behavior() -> Behavior {
    Behavior { filtering: Filtering::AddressAndPortDependent.into(), ..Behavior::default() }
}

/// What Linux does of TCP, on an otherwise plain NAT.
fn linux() -> Behavior {
    let seconds = |seconds| Some(seconds_of(seconds));
    Behavior {
        tcp_machine: TcpMachine::Netfilter,
        tcp_no_state: TcpNoState::Pickup,
        unsolicited_syn: UnsolicitedSyn::Drop,
        timeouts: Timeouts {
            tcp_opening: seconds_of(120),
            tcp_partial_open: seconds(60),
            tcp_established: seconds_of(432_000),
            tcp_unacknowledged: seconds(300),
            tcp_half_closed: seconds(120),
            tcp_close_wait: seconds(60),
            tcp_closing: seconds_of(30),
            tcp_time_wait: seconds(120),
            tcp_reset: seconds(10),
            ..Timeouts::default()
        },
        ..strict_behavior()
    }
}

/// A connection from X1 to Y1, and its external endpoint.
fn connected(nat: &mut Rig) -> SocketAddr {
    let external = nat.send(tcp(X1, Y1, SYN));
    assert_eq!(nat.receive(tcp(Y1, external, SYN_ACK)), Ok(at(X1)));
    assert_eq!(nat.send(tcp(X1, Y1, ACK)), external);
    external
}

/// A segment with these numbers and `length` bytes of data.
fn segment(
    from: impl ToString,
    to: impl ToString,
    flags: TcpFlags,
    sequence: u32,
    acknowledgement: u32,
    length: usize,
) -> Packet {
    let (from, to) = (at(&from.to_string()), at(&to.to_string()));
    build::tcp(from, to, IpFields::default(), flags, sequence, acknowledgement, 1000, &vec![0; length])
        .expect("one version")
}

/// A connection whose sequence numbers are known: X1 has sent up to 101, Y1 up to 501.
fn numbered(nat: &mut Rig) -> SocketAddr {
    let external = nat.send(segment(X1, Y1, SYN, 100, 0, 0));
    assert_eq!(nat.receive(segment(Y1, external, SYN_ACK, 500, 101, 0)), Ok(at(X1)));
    assert_eq!(nat.send(segment(X1, Y1, ACK, 101, 501, 0)), external);
    external
}

#[test]
fn req_02_probe_01_a_simultaneous_open_passes_in_both_orders_or_breaks_as_configured() {
    use TcpSimultaneousOpen::{BlockInSyn, BlockOutSynack, MistranslateOutSynack, Ok as Passes};
    for machine in [TcpMachine::Rfc7857, TcpMachine::Netfilter] {
        let nat = |tcp_simopen| Rig::new(Behavior { tcp_simopen, tcp_machine: machine, ..strict_behavior() });
        let mut whole = nat(Passes);
        let external = whole.send(tcp(X1, Y1, SYN));
        assert_eq!(whole.receive(tcp(Y1, external, SYN)), Ok(at(X1)));
        assert_eq!(whole.send(tcp(X1, Y1, SYN_ACK)), external);
        assert_eq!(whole.receive(tcp(Y1, external, SYN_ACK)), Ok(at(X1)));
        assert_eq!(whole.send(tcp(X1, Y1, ACK)), external);
        whole.wait_seconds(7000);
        assert_eq!(whole.receive(tcp(Y1, external, ACK)), Ok(at(X1)), "established");

        let mut deaf = nat(BlockInSyn);
        let external = deaf.send(tcp(X1, Y1, SYN));
        assert_eq!(deaf.receive(tcp(Y1, external, SYN)), Err(DropReason::SimultaneousOpen));
        assert_eq!(deaf.receive(tcp(Y1, external, SYN_ACK)), Ok(at(X1)), "an ordinary open goes on");

        let mut dumb = nat(BlockOutSynack);
        let external = dumb.send(tcp(X1, Y1, SYN));
        assert_eq!(dumb.receive(tcp(Y1, external, SYN)), Ok(at(X1)));
        assert_eq!(dumb.refusal(tcp(X1, Y1, SYN_ACK)), DropReason::SimultaneousOpen);

        let mut crooked = nat(MistranslateOutSynack);
        let external = crooked.send(tcp(X1, Y1, SYN));
        assert_eq!(crooked.receive(tcp(Y1, external, SYN)), Ok(at(X1)));
        assert_ne!(crooked.send(tcp(X1, Y1, SYN_ACK)), external);
        assert_eq!(crooked.send(tcp(X1, Y1, SYN)), external, "the SYN alone keeps its endpoint");
    }
}

#[test]
fn req_02_probe_01_the_other_order_needs_a_filter_that_lets_the_syn_in() {
    let mut nat = Rig::new(Behavior::default());
    let external = nat.send(tcp(X1, Y2, SYN));
    assert_eq!(nat.receive(tcp(Y1, external, SYN)), Ok(at(X1)));
    for flags in [SYN, SYN_ACK] {
        assert_eq!(nat.send(tcp(X1, Y1, flags)), external);
    }
    assert_eq!(nat.receive(tcp(Y1, external, SYN_ACK)), Ok(at(X1)));
    nat.wait_seconds(7439);
    assert_eq!(nat.send(tcp(X1, Y1, ACK)), external, "established");
}

#[test]
fn req_02_probe_02_a_syn_that_leaves_within_six_seconds_silences_the_error() {
    for (before_ms, told) in [(1000, false), (5900, false), (6100, true)] {
        let mut nat = strict();
        let external = nat.send(tcp(X1, Y2, SYN));
        let early = tcp(Y1, external, SYN);
        let hold = nat.refused(early.clone()).expect("it is held");
        nat.wait(Duration::from_millis(before_ms));
        assert_eq!(nat.send(tcp(X1, Y1, SYN)), external);
        let outputs = nat.outputs();
        let [Output::Discard { hold: discarded, packet, refusal, .. }] = &outputs[..] else { panic!("{outputs:?}") };
        assert_eq!((*discarded, packet), (hold, &early));
        let error = Some(Answer::Icmp(IcmpError::PortUnreachable));
        let expected = if told { (DropReason::Filtered, error) } else { (DropReason::SynCrossed, None) };
        assert_eq!((refusal.reason, refusal.answer), expected, "{before_ms} ms");
        assert_eq!(nat.receive(tcp(Y1, external, SYN)), Ok(at(X1)), "the copy passes");
        nat.wait_seconds(60);
        assert_eq!(nat.outputs(), []);
    }
}

#[test]
fn req_02_probe_03_data_239_seconds_after_a_reset_shows_that_the_connection_lives() {
    for (silence, alive) in [(239, true), (241, false)] {
        for from_outside in [false, true] {
            let mut nat = strict();
            let external = connected(&mut nat);
            match from_outside {
                true => assert_eq!(nat.receive(tcp(Y1, external, RST)), Ok(at(X1))),
                false => assert_eq!(nat.send(tcp(X1, Y1, RST)), external),
            }
            nat.wait_seconds(silence);
            assert_eq!(nat.receive(tcp(Y1, external, ACK)).is_ok(), alive);
            nat.wait_seconds(7439);
            assert_eq!(nat.receive(tcp(Y1, external, ACK)).is_ok(), alive, "established again");
        }
    }
}

#[test]
fn probe_03_linux_ends_a_connection_ten_seconds_after_a_reset_whatever_follows() {
    let mut nat = Rig::new(linux());
    let external = connected(&mut nat);
    assert_eq!(nat.receive(tcp(Y1, external, RST)), Ok(at(X1)));
    nat.wait_seconds(9);
    assert_eq!(nat.send(tcp(X1, Y1, ACK)), external);
    assert!(nat.wait_seconds(9).is_empty(), "every segment restarts its timer");
    assert_eq!(nat.wait_seconds(1).len(), 1);
}

#[test]
fn probe_03_linux_forgets_a_connection_at_once_whose_first_answer_is_a_reset() {
    let mut nat = Rig::new(linux());
    let external = nat.send(tcp(X1, Y1, SYN));
    assert_eq!(nat.receive(tcp(Y1, external, RST)), Ok(at(X1)));
    assert_eq!(nat.wait_seconds(0).len(), 1);
    assert_eq!(nat.receive(tcp(Y1, external, RST)), Err(DropReason::NoMapping));
}

#[test]
fn req_02_probe_04_a_half_closed_connection_carries_two_hours_of_data() {
    let mut nat = strict();
    let external = connected(&mut nat);
    nat.send(tcp(X1, Y1, FIN));
    assert_eq!(nat.receive(tcp(Y1, external, ACK)), Ok(at(X1)));
    nat.wait_seconds(7200);
    assert_eq!(nat.receive(tcp(Y1, external, ACK)), Ok(at(X1)));
    nat.wait_seconds(7439);
    assert_eq!(nat.send(tcp(X1, Y1, ACK)), external);
}

#[test]
fn probe_04_half_closed_and_close_wait_have_timers_of_their_own() {
    for (acknowledged, lifetime) in [(false, 120), (true, 60)] {
        for behavior in [linux(), Behavior { tcp_machine: TcpMachine::Rfc7857, ..linux() }] {
            let mut nat = Rig::new(behavior);
            let external = connected(&mut nat);
            nat.send(tcp(X1, Y1, FIN));
            if acknowledged {
                nat.receive(tcp(Y1, external, ACK)).expect("the ACK of the FIN");
            }
            assert!(nat.wait_seconds(lifetime - 1).is_empty());
            assert_eq!(nat.wait_seconds(1).len(), 1);
        }
    }
}

#[test]
fn req_02_probe_05_the_last_ack_passes_again_239_seconds_after_both_fins() {
    let mut nat = strict();
    let external = connected(&mut nat);
    nat.receive(tcp(Y1, external, FIN)).expect("a FIN passes");
    nat.send(tcp(X1, Y1, FIN));
    nat.receive(tcp(Y1, external, ACK)).expect("the last ACK");
    nat.wait_seconds(239);
    assert_eq!(nat.receive(tcp(Y1, external, ACK)), Ok(at(X1)));
    assert_eq!(nat.wait_seconds(1).len(), 1, "no segment prolongs it");
}

#[test]
fn probe_05_time_wait_may_have_a_timer_of_its_own() {
    for behavior in [linux(), Behavior { tcp_machine: TcpMachine::Rfc7857, ..linux() }] {
        let mut nat = Rig::new(behavior);
        let external = connected(&mut nat);
        nat.receive(tcp(Y1, external, FIN)).expect("a FIN passes");
        nat.send(tcp(X1, Y1, FIN));
        nat.wait_seconds(29);
        nat.receive(tcp(Y1, external, ACK)).expect("the last ACK");
        assert!(nat.wait_seconds(119).is_empty());
        assert_eq!(nat.wait_seconds(1).len(), 1);
    }
}

#[test]
fn req_02_probe_06_a_lone_syn_is_remembered_for_four_minutes() {
    for (silence, alive) in [(239, true), (241, false)] {
        let mut nat = strict();
        let external = nat.send(tcp(X1, Y1, SYN));
        nat.wait_seconds(silence);
        assert_eq!(nat.receive(tcp(Y1, external, SYN_ACK)).is_ok(), alive);
    }
}

#[test]
fn probe_06_a_repeated_syn_is_remembered_anew_and_nothing_else_is() {
    let mut nat = strict();
    let external = nat.send(tcp(X1, Y1, SYN));
    nat.wait_seconds(200);
    nat.send(tcp(X1, Y1, SYN));
    nat.wait_seconds(200);
    for flags in [ACK, RST, FIN] {
        assert_eq!(nat.receive(tcp(Y1, external, flags)), Ok(at(X1)), "it may be anybody's, and passes");
    }
    assert!(nat.wait_seconds(39).is_empty());
    assert_eq!(nat.wait_seconds(1).len(), 1);
}

#[test]
fn req_02_probe_07_five_minutes_without_the_last_ack_tell_when_a_connection_is_established() {
    use TcpEstablishedOn::{AckBothWays, ServerSyn};
    for (tcp_established_on, alive) in [(ServerSyn, true), (AckBothWays, false)] {
        let mut nat = Rig::new(Behavior { tcp_established_on, ..strict_behavior() });
        let external = nat.send(tcp(X1, Y1, SYN));
        nat.receive(tcp(Y1, external, SYN_ACK)).expect("the answer passes");
        nat.wait_seconds(300);
        assert_eq!(nat.receive(tcp(Y1, external, SYN_ACK)).is_ok(), alive);
        let external = connected(&mut nat);
        nat.wait_seconds(7439);
        assert_eq!(nat.send(tcp(X1, Y1, ACK)), external, "established by the last ACK");
    }
}

#[test]
fn probe_07_linux_waits_sixty_seconds_for_the_last_ack_and_five_days_after_it() {
    let mut nat = Rig::new(linux());
    let external = nat.send(tcp(X1, Y1, SYN));
    assert!(nat.wait_seconds(119).is_empty(), "two minutes for the SYN|ACK");
    nat.receive(tcp(Y1, external, SYN_ACK)).expect("the answer passes");
    assert!(nat.wait_seconds(59).is_empty());
    nat.send(tcp(X1, Y1, ACK));
    assert!(nat.wait_seconds(431_999).is_empty());
    assert_eq!(nat.wait_seconds(1).len(), 1);
}

#[test]
fn probe_07_in_a_simultaneous_open_both_acks_establish() {
    let mut nat = Rig::new(Behavior { tcp_established_on: TcpEstablishedOn::AckBothWays, ..strict_behavior() });
    let external = nat.send(tcp(X1, Y1, SYN));
    nat.receive(tcp(Y1, external, SYN)).expect("the other SYN");
    nat.send(tcp(X1, Y1, SYN_ACK));
    assert!(nat.wait_seconds(239).is_empty());
    nat.receive(tcp(Y1, external, SYN_ACK)).expect("the other ACK");
    assert!(nat.wait_seconds(7439).is_empty());
}

#[test]
fn req_02_2_probe_08_a_reset_outside_the_window_is_dropped_where_the_window_is_looked_at() {
    for (tcp_window, passes) in [(TcpWindow::Off, true), (TcpWindow::Liberal, false), (TcpWindow::Strict, false)] {
        let mut nat = Rig::new(Behavior { tcp_window, ..strict_behavior() });
        let external = numbered(&mut nat);
        let refusal = if passes { Ok(at(X1)) } else { Err(DropReason::OutOfWindow) };
        for sequence in [100_000, 400] {
            assert_eq!(nat.receive(segment(Y1, external, RST, sequence, 101, 0)), refusal);
        }
        nat.wait_seconds(300);
        assert_eq!(nat.receive(segment(Y1, external, ACK, 501, 101, 0)).is_ok(), !passes, "the connection lives on");
        if !passes {
            assert_eq!(nat.receive(segment(Y1, external, RST, 501, 101, 0)), Ok(at(X1)));
            assert_eq!(nat.wait_seconds(240).len(), 1);
        }
    }
}

#[test]
fn probe_08_only_strict_tracking_judges_data() {
    for (tcp_window, passes) in [(TcpWindow::Off, true), (TcpWindow::Liberal, true), (TcpWindow::Strict, false)] {
        let mut nat = Rig::new(Behavior { tcp_window, ..strict_behavior() });
        let external = numbered(&mut nat);
        let refusal = if passes { Ok(at(X1)) } else { Err(DropReason::OutOfWindow) };
        assert_eq!(nat.receive(segment(Y1, external, ACK, 9000, 101, 10)), refusal, "beyond the window");
        assert_eq!(nat.receive(segment(Y1, external, ACK, 501, 70_000, 10)), refusal, "acknowledges what was not sent");
        if !passes {
            assert_eq!(nat.refusal(segment(X1, Y1, ACK, 101, 90_000, 0)), DropReason::OutOfWindow);
            assert_eq!(nat.receive(segment(Y1, external, ACK, 501, 101, 1000)), Ok(at(X1)), "the whole window");
            assert_eq!(nat.send(segment(X1, Y1, ACK, 101, 1501, 0)), external);
            assert_eq!(nat.receive(segment(Y1, external, ACK, 1501, 101, 10)), Ok(at(X1)), "it has moved on");
        }
    }
}

#[test]
fn probe_08_a_segment_that_only_begins_in_the_window_passes_and_so_do_copies_of_what_was_sent_before() {
    let mut nat = Rig::new(Behavior { tcp_window: TcpWindow::Strict, ..strict_behavior() });
    let external = numbered(&mut nat);
    for (sequence, length) in [(501, 1), (502, 1499), (501, 1)] {
        assert_eq!(nat.receive(segment(Y1, external, ACK, sequence, 101, length)), Ok(at(X1)), "{sequence}");
    }
}

#[test]
fn probe_08_nothing_is_judged_of_a_connection_whose_opening_was_not_seen() {
    for tcp_window in [TcpWindow::Liberal, TcpWindow::Strict] {
        let tcp_no_state = TcpNoState::Pickup;
        let mut nat = Rig::new(Behavior { tcp_window, tcp_no_state, ..strict_behavior() });
        let external = nat.send(segment(X1, Y1, ACK, 101, 501, 10));
        assert_eq!(nat.receive(segment(Y1, external, ACK, 90_000, 101, 10)), Ok(at(X1)));
        assert_eq!(nat.receive(segment(Y1, external, RST, 1_000_000, 101, 0)), Ok(at(X1)));
    }
}

#[test]
fn probe_09_a_segment_without_state_is_dropped_reset_or_picked_up() {
    let answer_of = |tcp_no_state, flags| {
        let mut nat = Rig::new(Behavior { tcp_no_state, ..strict_behavior() });
        match nat.outbound(&mut tcp(X1, Y1, flags)) {
            natbox_nat::Verdict::Drop(Refusal { reason: DropReason::NoSession, answer, .. }) => answer,
            other => panic!("{other:?}"),
        }
    };
    assert_eq!(answer_of(TcpNoState::Drop, ACK), None);
    assert_eq!(answer_of(TcpNoState::Rst, ACK), Some(Answer::Reset));
    assert_eq!(answer_of(TcpNoState::Rst, RST), None, "nobody resets a RST");
    for flags in [SYN_ACK, FIN, RST] {
        assert_eq!(answer_of(TcpNoState::Pickup, flags), None, "only a plain ACK is picked up");
    }
    let mut nat = Rig::new(Behavior { tcp_no_state: TcpNoState::Pickup, ..strict_behavior() });
    let external = nat.send(tcp(X1, Y1, ACK));
    nat.wait_seconds(7439);
    assert_eq!(nat.receive(tcp(Y1, external, ACK)), Ok(at(X1)));
}

#[test]
fn probe_09_a_segment_from_outside_without_state_may_be_reset_whatever_refuses_it() {
    let mut nat = Rig::new(Behavior { tcp_no_state: TcpNoState::Rst, ..strict_behavior() });
    let unknown = nat.refused(tcp(Y1, "198.51.100.1:5000", ACK)).expect_err("no mapping");
    assert_eq!((unknown.reason, unknown.answer), (DropReason::NoMapping, Some(Answer::Reset)));
    let external = connected(&mut nat);
    let filtered = nat.refused(tcp(Y2, external, FIN)).expect_err("never sent to");
    assert_eq!((filtered.reason, filtered.answer), (DropReason::Filtered, Some(Answer::Reset)));
    let mut open = Rig::new(Behavior { tcp_no_state: TcpNoState::Rst, ..Behavior::default() });
    let external = connected(&mut open);
    let stray = open.refused(tcp(Y2, external, ACK)).expect_err("no SYN");
    assert_eq!((stray.reason, stray.answer), (DropReason::NoSession, Some(Answer::Reset)));
}

#[test]
fn probe_09_a_connection_that_was_picked_up_has_a_short_life_until_it_is_answered() {
    let mut nat = Rig::new(linux());
    nat.send(tcp(X1, Y1, ACK));
    assert_eq!(nat.wait_seconds(300).len(), 1);
    let external = nat.send(tcp(X1, Y1, ACK));
    nat.receive(tcp(Y1, external, ACK)).expect("the answer");
    nat.send(tcp(X1, Y1, ACK));
    assert!(nat.wait_seconds(431_999).is_empty());
}

#[test]
fn probe_10_the_same_endpoints_may_be_used_again_at_once() {
    for (tcp_reopen, lives) in [(TcpReopen::On, true), (TcpReopen::Off, false)] {
        for from_outside in [false, true] {
            let mut nat = Rig::new(Behavior { tcp_reopen, ..strict_behavior() });
            let external = connected(&mut nat);
            nat.send(tcp(X1, Y1, FIN));
            nat.receive(tcp(Y1, external, FIN)).expect("a FIN passes");
            nat.send(tcp(X1, Y1, ACK));
            nat.wait_seconds(1);
            match from_outside {
                true => {
                    assert_eq!(
                        nat.receive(tcp(Y1, external, SYN)),
                        Ok(at(X1)),
                        "REQ-3: it may, as long as the filter knows it"
                    );
                    assert_eq!(nat.send(tcp(X1, Y1, SYN_ACK)), external);
                    assert_eq!(nat.receive(tcp(Y1, external, ACK)), Ok(at(X1)));
                }
                false => assert_eq!(connected(&mut nat), external),
            }
            nat.wait_seconds(7000);
            assert_eq!(nat.receive(tcp(Y1, external, ACK)).is_ok(), lives, "{tcp_reopen}");
        }
    }
}

#[test]
fn probe_10_a_connection_that_was_reset_may_be_opened_again() {
    let mut nat = strict();
    let external = connected(&mut nat);
    nat.send(tcp(X1, Y1, RST));
    assert_eq!(nat.send(tcp(X1, Y1, SYN)), external);
    assert_eq!(nat.wait_seconds(240).len(), 1, "it is opening, not established");
}

#[test]
fn linux_drops_what_the_state_of_a_connection_does_not_allow() {
    let mut nat = Rig::new(linux());
    let external = nat.send(tcp(X1, Y1, SYN));
    for flags in [SYN_ACK, FIN, ACK, NONE, TcpFlags { syn: true, ..FIN }, TcpFlags { syn: true, ..RST }] {
        assert_eq!(nat.refusal(tcp(X1, Y1, flags)), DropReason::InvalidSegment, "{flags}");
    }
    assert_eq!(nat.receive(tcp(Y1, external, FIN)), Err(DropReason::InvalidSegment));
    assert_eq!(nat.receive(tcp(Y1, external, ACK)), Ok(at(X1)), "it may be half of an older connection");
    nat.receive(tcp(Y1, external, SYN_ACK)).expect("the answer");
    assert_eq!(nat.receive(tcp(Y1, external, SYN)), Err(DropReason::InvalidSegment));
    assert_eq!(nat.send(tcp(X1, Y1, SYN)), external, "the inside may be out of step: it passes");
    nat.send(tcp(X1, Y1, ACK));
    assert!(nat.wait_seconds(431_999).is_empty(), "and counted for nothing");
}

#[test]
fn what_linux_takes_for_invalid_reaches_the_box_which_may_reset_it() {
    let unsolicited_syn = UnsolicitedSyn::RstNow;
    let mut nat = Rig::new(Behavior { unsolicited_syn, tcp_window: TcpWindow::Strict, ..linux() });
    let external = numbered(&mut nat);
    let refusal = nat.refused(segment(Y1, external, ACK, 90_000, 101, 0)).expect_err("out of the window");
    assert_eq!((refusal.reason, refusal.answer), (DropReason::OutOfWindow, Some(Answer::Reset)));
    let refusal = nat.refused(segment(Y1, external, SYN, 501, 0, 0)).expect_err("established");
    assert_eq!((refusal.reason, refusal.answer), (DropReason::InvalidSegment, Some(Answer::Reset)));
}

#[test]
fn linux_forgets_and_begins_anew_what_the_inside_has_reset_or_a_fin_has_closed_and_nothing_else() {
    let ended_after = |flags: &[TcpFlags], by_inside: bool| {
        let mut nat = Rig::new(linux());
        let external = connected(&mut nat);
        for flags in flags {
            match by_inside {
                true => assert_eq!(nat.send(tcp(X1, Y1, *flags)), external),
                false => assert_eq!(nat.receive(tcp(Y1, external, *flags)), Ok(at(X1))),
            }
        }
        nat.send(tcp(X1, Y1, SYN));
        nat.wait_seconds(11).into_iter().map(|one| one.why).collect::<Vec<MappingEnd>>()
    };
    assert_eq!(ended_after(&[RST], true), [MappingEnd::Closed]);
    assert_eq!(ended_after(&[RST], false), [MappingEnd::Expired], "the SYN counts for nothing");
    assert_eq!(ended_after(&[FIN, RST], false), [MappingEnd::Closed]);
}

#[test]
fn linux_refuses_a_connection_from_outside_in_time_wait_and_forgets_the_old_one() {
    let mut nat = Rig::new(linux());
    let external = connected(&mut nat);
    nat.send(tcp(X1, Y1, FIN));
    nat.receive(tcp(Y1, external, FIN)).expect("a FIN passes");
    nat.send(tcp(X1, Y1, ACK));
    assert_eq!(nat.receive(tcp(Y1, external, SYN)), Err(DropReason::Filtered));
    assert_eq!(nat.receive(tcp(Y1, external, ACK)), Err(DropReason::NoMapping));
}

#[test]
fn req_02_2_a_reset_is_translated_and_data_in_time_establishes_again() {
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
fn req_02_2_no_number_of_resets_prolongs_a_session() {
    let mut nat = strict();
    let external = connected(&mut nat);
    for _ in 0..3 {
        assert_eq!(nat.receive(tcp(Y1, external, RST)), Ok(at(X1)));
        nat.wait_seconds(80);
    }
    assert_eq!(nat.receive(tcp(Y1, external, RST)), Err(DropReason::NoMapping));
}

#[test]
fn req_02_1_opening_and_closing_have_timers_of_their_own() {
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
fn req_05_tcp_and_udp_have_separate_mappings() {
    let mut nat = Rig::new(Behavior::default());
    nat.send(tcp(X1, Y1, SYN));
    nat.send(udp(X1, Y1));
    assert_eq!(nat.nat.mappings().len(), 2);
}

#[test]
fn req_06_a_tcp_mapping_admits_no_udp() {
    let mut nat = Rig::new(Behavior::default());
    let external = nat.send(tcp(X1, Y1, SYN));
    assert_eq!(nat.receive(udp(Y1, external)), Err(DropReason::NoMapping));
}

#[test]
fn req_07_packets_that_the_filter_refuses_do_not_keep_a_mapping_alive() {
    let behavior = Behavior {
        filtering: Filtering::AddressAndPortDependent.into(),
        refresh: Refresh::Both,
        unsolicited_syn: UnsolicitedSyn::Drop,
        ..Behavior::default()
    };
    let mut nat = Rig::new(behavior);
    let (of_udp, of_tcp) = (nat.send(udp(X1, Y1)), nat.send(tcp(X1, Y1, SYN)));
    for _ in 0..3 {
        nat.wait_seconds(60);
        assert_eq!(nat.receive(udp(Y2, of_udp)), Err(DropReason::Filtered));
        assert_eq!(nat.receive(tcp(Y2, of_tcp, SYN)), Err(DropReason::Filtered));
    }
    nat.wait_seconds(60);
    assert_eq!(nat.nat.mappings().len(), 1, "four minutes for TCP that is being opened");
    nat.wait_seconds(60);
    assert_eq!(nat.nat.mappings(), [], "five for UDP");
}

#[test]
fn req_03_a_port_may_be_shared_between_remotes_and_never_towards_one() {
    let mut behavior = Behavior::default();
    (behavior.ports.allocation, behavior.ports.overlap) = (PortAllocation::Preserve, PortOverlap::ByDestination);
    let mut nat = Rig::new(behavior);
    assert_eq!(nat.send(udp(X1, Y1)), nat.send(udp(X2, Y2)));
    assert_ne!(nat.send(udp(X1, "192.0.2.9:1")), nat.send(udp(X2, "192.0.2.9:1")));
}

#[test]
fn req_04_a_pair_whose_address_is_full_gets_nothing_unless_it_may_spill_over() {
    for (rule, spills) in [(PoolExhausted::Drop, false), (PoolExhausted::OtherAddress, true)] {
        let mut behavior = Behavior { pool_exhausted: rule, ..Behavior::default() };
        behavior.ports.range = (4000..=4000).into();
        let mut nat = Rig::with_addresses(behavior, &["198.51.100.1", "198.51.100.2"]);
        for protocol in [natbox_wire::Protocol::Udp, natbox_wire::Protocol::Tcp] {
            nat.send(packet(protocol, at(X1), at(Y1), SYN));
            let mut second = packet(protocol, at("10.0.0.2:5001"), at(Y1), SYN);
            let verdict = nat.outbound(&mut second);
            assert_eq!(matches!(verdict, natbox_nat::Verdict::Forward(_)), spills, "{rule} {protocol:?}");
        }
    }
}

#[test]
fn req_08_parity_may_be_kept_or_let_go() {
    let ports = |parity| {
        let mut behavior = Behavior::default();
        behavior.ports.parity = parity;
        let mut nat = Rig::new(behavior);
        (0..40).filter(|port| nat.send(udp(format!("10.0.0.2:{}", 5000 + port), Y1)).port() % 2 == port % 2).count()
    };
    assert_eq!(ports(PortParity::Preserve), 40);
    assert!(ports(PortParity::Ignore) < 35);
}

#[test]
fn req_09_ports_are_unpredictable_also_where_they_were_to_be_preserved() {
    let ports = |allocation, parity| {
        let mut behavior = Behavior::default();
        behavior.ports = Ports { allocation, parity, ..behavior.ports };
        let mut nat = Rig::new(behavior);
        (2..102).map(|host| nat.send(udp(format!("10.0.0.{host}:5000"), Y1)).port()).collect::<Vec<u16>>()
    };
    for allocation in [PortAllocation::Random, PortAllocation::Preserve] {
        for parity in [PortParity::Ignore, PortParity::Preserve] {
            let given = ports(allocation, parity);
            let steps = given.windows(2).map(|pair| pair[1].wrapping_sub(pair[0]));
            assert!(steps.collect::<std::collections::BTreeSet<u16>>().len() > 95, "{allocation} {parity}");
            assert_eq!(given[0] == 5000, allocation == PortAllocation::Preserve, "preserved where it is free");
        }
    }
}

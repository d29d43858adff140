//! Lifetimes that are not the same for all: stages of UDP, remote ports, absolute lifetimes, and packets that restart
//! timers though nothing passes.

mod common;

use std::net::SocketAddr;
use std::time::Duration;

use common::*;
use natbox_nat::behavior::*;
use natbox_nat::{Behavior, MappingEnd, Verdict};
use natbox_wire::DropReason;

/// The lifetimes of Linux (nf_conntrack): 30 s, 30 s, and 120 s for streams; every packet restarts them.
fn linux() -> Rig {
    let timeouts =
        Timeouts { udp: Duration::from_secs(30), udp_stream: Some(Duration::from_secs(120)), ..Timeouts::default() };
    Rig::new(Behavior { timeouts, refresh: Refresh::Both, ..Behavior::default() })
}

/// The second at which the only mapping ends.
fn end_of(nat: &mut Rig) -> u64 {
    let mut last = None;
    while let Some(due) = nat.nat.poll_timeout() {
        nat.nat.handle_timeout(due, &mut |_| last = Some(due));
    }
    last.expect("a mapping ended").as_nanos() / 1_000_000_000
}

#[test]
fn a_session_that_nobody_answers_lives_for_its_own_time() {
    let timeouts = Timeouts { udp_unreplied: Some(Duration::from_secs(60)), ..Timeouts::default() };
    let mut nat = Rig::new(Behavior { timeouts, refresh: Refresh::Both, ..Behavior::default() });
    let external = nat.send(udp(X1, Y1));
    nat.wait_seconds(50);
    nat.send(udp(X1, Y1));
    nat.wait_seconds(50);
    assert_eq!(nat.receive(udp(Y1, external)), Ok(at(X1)), "sent to again at 50 s");
    assert_eq!(end_of(&mut nat), 100 + 300);
    let mut nat = linux();
    nat.send(udp(X1, Y1));
    assert_eq!(end_of(&mut nat), 30);
}

#[test]
fn a_reply_within_two_seconds_makes_no_stream_on_linux() {
    let mut nat = linux();
    let external = nat.send(udp(X1, Y1));
    nat.wait_seconds(1);
    assert_eq!(nat.receive(udp(Y1, external)), Ok(at(X1)));
    assert_eq!(end_of(&mut nat), 31);
}

#[test]
fn a_late_first_reply_makes_no_stream_and_the_packet_after_it_does() {
    for inside in [true, false] {
        let mut nat = linux();
        let external = nat.send(udp(X1, Y1));
        nat.wait_seconds(20);
        assert_eq!(nat.receive(udp(Y1, external)), Ok(at(X1)));
        assert_eq!(nat.nat.mappings().len(), 1);
        match inside {
            true => assert_eq!(nat.send(udp(X1, Y1)), external),
            false => assert_eq!(nat.receive(udp(Y1, external)), Ok(at(X1))),
        }
        assert_eq!(end_of(&mut nat), 140, "inside {inside}");
    }
}

#[test]
fn a_stream_begins_two_seconds_after_the_opening_and_not_a_nanosecond_earlier() {
    for (early, lives) in [(1, 31), (0, 122)] {
        let mut nat = linux();
        let external = nat.send(udp(X1, Y1));
        assert_eq!(nat.receive(udp(Y1, external)), Ok(at(X1)));
        nat.wait(Duration::from_secs(2) - Duration::from_nanos(early));
        nat.send(udp(X1, Y1));
        assert_eq!(end_of(&mut nat), lives);
    }
}

#[test]
fn stages_are_kept_for_each_remote() {
    let mut nat = linux();
    let external = nat.send(udp(X1, Y1));
    nat.receive(udp(Y1, external)).expect("a reply");
    nat.send(udp(X1, Y2));
    nat.wait_seconds(3);
    nat.send(udp(X1, Y1));
    nat.send(udp(X1, Y2));
    nat.wait_seconds(31);
    assert_eq!(nat.receive(udp(Y2, external)), Ok(at(X1)), "endpoint-independent filtering: a session of its own");
    assert_eq!(end_of(&mut nat), 123);
}

#[test]
fn a_reply_that_may_not_restart_the_timer_moves_the_stage_all_the_same() {
    let timeouts = Timeouts { udp_unreplied: Some(Duration::from_secs(30)), ..Timeouts::default() };
    let mut nat = Rig::new(Behavior { timeouts, refresh: Refresh::Outbound, ..Behavior::default() });
    let external = nat.send(udp(X1, Y1));
    nat.wait_seconds(20);
    nat.receive(udp(Y1, external)).expect("a reply");
    nat.wait_seconds(5);
    nat.send(udp(X1, Y1));
    assert_eq!(end_of(&mut nat), 325);
}

#[test]
fn an_absolute_lifetime_ends_mapping_and_sessions_whatever_passes() {
    for protocol in 0..3 {
        let timeouts = Timeouts { absolute: Some(Duration::from_secs(100)), ..Timeouts::default() };
        let mut nat = Rig::new(Behavior { timeouts, refresh: Refresh::Both, ..Behavior::default() });
        let send = |nat: &mut Rig, remote: &str| match protocol {
            0 => nat.send(udp(X1, remote)),
            1 => nat.send(tcp(X1, remote, SYN)),
            _ => nat.send(ping(X1, &remote[..9])),
        };
        let first = send(&mut nat, Y1);
        for _ in 0..9 {
            assert_eq!(nat.wait_seconds(10), []);
            send(&mut nat, Y1);
        }
        send(&mut nat, Y2);
        let ended = nat.wait_seconds(10);
        assert_eq!(ended.len(), 1);
        assert_eq!((ended[0].why, ended[0].mapping.external), (MappingEnd::Aged, first));
        assert_eq!(nat.nat.mappings(), []);
        assert_eq!(nat.wait_seconds(10_000), []);
    }
}

#[test]
fn a_mapping_that_is_idle_before_its_age_expires() {
    let timeouts = Timeouts { absolute: Some(Duration::from_secs(301)), ..Timeouts::default() };
    let mut nat = Rig::new(Behavior { timeouts, ..Behavior::default() });
    nat.send(udp(X1, Y1));
    let mut ended = Vec::new();
    nat.nat.handle_timeout(seconds(9999), &mut |one| ended.push(one.why));
    assert_eq!(ended, [MappingEnd::Expired], "however late it is told");
}

/// Sends refused packets every 60 seconds and tells how long the mapping lived.
fn under_refused_packets(behavior: Behavior, tcp_too: bool) -> u64 {
    let mut nat = Rig::new(Behavior { filtering: Filtering::AddressAndPortDependent.into(), ..behavior });
    let packet = |from: &str, to: SocketAddr| if tcp_too { tcp(from, to, SYN) } else { udp(from, to) };
    let first = if tcp_too { tcp(X1, Y1, SYN) } else { udp(X1, Y1) };
    let external = nat.send(first);
    for _ in 0..20 {
        nat.wait_seconds(60);
        if nat.nat.mappings().is_empty() {
            break;
        }
        assert_eq!(nat.receive(packet(Y2, external)), Err(DropReason::Filtered));
    }
    end_of_or_now(&mut nat)
}

fn end_of_or_now(nat: &mut Rig) -> u64 {
    if nat.nat.mappings().is_empty() { nat.now.as_nanos() / 1_000_000_000 } else { end_of(nat) }
}

#[test]
fn refused_packets_restart_timers_only_where_they_are_told_to_and_where_admitted_ones_would() {
    let behavior = |refresh, refresh_on_filtered| Behavior {
        refresh,
        refresh_on_filtered,
        unsolicited_syn: UnsolicitedSyn::Drop,
        ..Behavior::default()
    };
    assert_eq!(under_refused_packets(behavior(Refresh::Both, Switch::Off), false), 300);
    assert_eq!(under_refused_packets(behavior(Refresh::Both, Switch::On), false), 20 * 60 + 300);
    assert_eq!(under_refused_packets(behavior(Refresh::Outbound, Switch::On), false), 300);
    assert_eq!(under_refused_packets(behavior(Refresh::Outbound, Switch::Off), true), 240);
    assert_eq!(under_refused_packets(behavior(Refresh::Outbound, Switch::On), true), 20 * 60 + 240);
}

#[test]
fn a_refused_packet_gives_no_permission() {
    let mut nat = Rig::new(Behavior {
        filtering: Filtering::AddressAndPortDependent.into(),
        refresh: Refresh::Both,
        refresh_on_filtered: Switch::On,
        ..Behavior::default()
    });
    let external = nat.send(udp(X1, Y1));
    for _ in 0..2 {
        assert_eq!(nat.receive(udp(Y2, external)), Err(DropReason::Filtered));
    }
    assert!(matches!(nat.inbound(&mut udp(Y1, external)), Verdict::Forward(_)));
}

#[test]
fn the_deadlines_of_sessions_and_mappings_can_be_read_without_waiting() {
    let mut behavior = Behavior::default();
    behavior.timeouts.udp_ports = vec![(53, Duration::from_secs(10))];
    let mut rig = Rig::new(behavior);
    let external = rig.send(udp(X1, Y1));
    rig.wait_seconds(5);
    rig.send(udp(X1, "192.0.2.1:53"));
    rig.receive(udp("192.0.2.9:9", external)).expect("anybody may");
    let id = rig.nat.mappings()[0].id;
    let told: Vec<_> =
        rig.nat.sessions().iter().map(|one| (one.remote, one.permits, one.holds, one.deadline)).collect();
    assert_eq!(
        told,
        [
            (at("192.0.2.1:53"), true, true, seconds(15)),
            (at(Y1), true, true, seconds(300)),
            (at("192.0.2.9:9"), false, false, seconds(305)),
        ]
    );
    assert_eq!(rig.nat.deadline(id), Some(seconds(300)), "a guest keeps nothing alive");
    rig.wait_seconds(294);
    assert_eq!(rig.nat.deadline(id), Some(seconds(300)));
    let ended = rig.wait_seconds(1);
    assert_eq!((ended.len(), rig.nat.deadline(id)), (1, None));
}

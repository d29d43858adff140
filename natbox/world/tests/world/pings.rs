//! Pings in fragments to routers and gateways.

use std::sync::Arc;
use std::time::Duration;

use natbox_nat::Behavior;
use natbox_nat::behavior::{FragmentMode, FragmentRules, Switch};
use natbox_wire::build::{self, IpFields};
use natbox_wire::{DropReason, IcmpError, Packet, Transport};
use natbox_world::note::Outcome;
use natbox_world::{InterfaceId, LinkConfig, PacketId};

use crate::support::*;

const MODES: [FragmentMode; 5] = [
    FragmentMode::InOrder,
    FragmentMode::OutOfOrder,
    FragmentMode::Reassemble,
    FragmentMode::Collect,
    FragmentMode::None,
];

fn behavior(mode: FragmentMode, answer_ping: Switch) -> Arc<Behavior> {
    let fragments = FragmentRules { inbound: mode, outbound: mode, ..FragmentRules::default() };
    Arc::new(Behavior { fragments, answer_ping, ..Behavior::default() })
}

fn payload(length: usize) -> Vec<u8> {
    (0..length).map(|at| (at * 7 + at / 251) as u8).collect()
}

/// An echo message in fragments.
fn pieces(request: bool, source: &str, destination: &str, length: usize, mtu_bytes: usize) -> Vec<Vec<u8>> {
    let fields = IpFields { identification: 7, ..IpFields::default() };
    let whole = build::echo(request, ip(source), ip(destination), fields, 7, 1, &payload(length)).expect("one version");
    let pieces = build::fragments(whole, mtu_bytes, 7).expect("it may be cut");
    pieces.into_iter().map(Packet::into_bytes).collect()
}

/// Sends these pieces in this order.
fn send(home: &mut Home, from: InterfaceId, pieces: &[Vec<u8>], order: &[usize]) -> Vec<PacketId> {
    order.iter().map(|piece| home.send(from, pieces[*piece].clone())).collect()
}

/// The payload of the echo reply that came on a packet's account, put together, and how many packets it was.
fn answered(home: &Home, cause: PacketId) -> Option<(Vec<u8>, usize)> {
    let of = |seen| match seen {
        Seen::Sent { node, cause: Some(by), bytes, .. } if by == cause && [home.core, home.home].contains(&node) => {
            Some(Packet::parse(bytes).expect("a packet"))
        }
        _ => None,
    };
    let mut came: Vec<Packet> = home.notes.all().into_iter().filter_map(of).collect();
    came.dedup_by(|one, other| one.fragment() == other.fragment());
    let first = came.first()?.clone();
    if came.len() == 1 {
        assert_eq!(first.transport(), Transport::Echo { request: false, identifier: 7, sequence: 1 });
        return Some((first.payload().to_vec(), 1));
    }
    let data: Vec<u8> = came.iter().flat_map(|piece| piece.fragment_data().to_vec()).collect();
    let whole = build::join(&first, &data).expect("a packet");
    assert!(whole.transport_checksum_ok());
    assert_eq!(whole.transport(), Transport::Echo { request: false, identifier: 7, sequence: 1 });
    Some((whole.payload().to_vec(), came.len()))
}

#[test]
fn a_gateway_answers_pings_in_fragments_to_its_external_address_in_every_mode_and_order() {
    for mode in MODES {
        for order in [[0, 1, 2], [2, 1, 0], [1, 0, 2], [2, 0, 1]] {
            let mut home = home(1, Links::default(), behavior(mode, Switch::On));
            let pieces = pieces(true, "198.18.0.9", "198.18.0.2", 1400, 576);
            let from = home.server_interface;
            let ids = send(&mut home, from, &pieces, &order);
            let last = *ids.last().expect("three");
            // In the order of offsets the NAT lets its fragments go, and the last of these completes the ping.
            let whole = ids.iter().find_map(|id| answered(&home, *id));
            assert_eq!(whole, Some((payload(1400), 1)), "{mode} {order:?}");
            if matches!(mode, FragmentMode::InOrder | FragmentMode::None) {
                assert_eq!(
                    home.notes.outcomes(last).last(),
                    Some(&(home.home, Outcome::Delivered)),
                    "{mode} {order:?}"
                );
            }
        }
    }
}

#[test]
fn a_gateway_answers_pings_in_fragments_from_inside_to_either_of_its_addresses() {
    for mode in MODES {
        for own in ["10.0.0.1", "198.18.0.2"] {
            for order in [[0, 1, 2], [2, 1, 0]] {
                let mut home = home(1, Links::default(), behavior(mode, Switch::Off));
                let pieces = pieces(true, "10.0.0.2", own, 1400, 576);
                let from = home.alice_interface;
                let ids = send(&mut home, from, &pieces, &order);
                let whole = ids.iter().find_map(|id| answered(&home, *id));
                assert_eq!(whole, Some((payload(1400), 1)), "{mode} {own} {order:?}");
            }
        }
    }
}

#[test]
fn what_is_not_answered_whole_is_not_answered_in_fragments() {
    for mode in MODES {
        let mut home = home(1, Links::default(), behavior(mode, Switch::Off));
        let pieces = pieces(true, "198.18.0.9", "198.18.0.2", 1400, 576);
        let from = home.server_interface;
        let ids = send(&mut home, from, &pieces, &[0, 1, 2]);
        assert!(ids.iter().all(|id| answered(&home, *id).is_none()), "{mode}");
        assert_eq!(home.notes.received_by(home.server).len(), 0, "{mode}");
    }
}

#[test]
fn the_core_answers_pings_in_fragments_and_cuts_the_answers_to_the_mtu() {
    for (from, own) in [("198.18.0.9", "198.18.0.1"), ("2001:db8::9", "2001:db8::1")] {
        let narrow = LinkConfig { mtu_bytes: 1300, ..LinkConfig::default() };
        let mut home = home(1, Links { server: narrow, ..Links::default() }, open_behavior());
        let pieces = pieces(true, from, own, 2000, 1280);
        let interface = home.server_interface;
        let [held, whole] = send(&mut home, interface, &pieces, &[1, 0])[..] else { panic!("two pieces") };
        assert_eq!(home.notes.outcomes(held), [(home.core, Outcome::Held)]);
        assert_eq!(home.notes.outcomes(whole), [(home.core, Outcome::Delivered)]);
        assert_eq!(answered(&home, whole), Some((payload(2000), 2)), "{own}");
    }
}

#[test]
fn answers_of_the_core_have_numbers_of_their_own() {
    let narrow = LinkConfig { mtu_bytes: 600, ..LinkConfig::default() };
    let mut home = home(1, Links { server: narrow, ..Links::default() }, open_behavior());
    let pieces = pieces(true, "198.18.0.9", "198.18.0.1", 1000, 600);
    let from = home.server_interface;
    let numbers: Vec<_> = (0..2)
        .filter_map(|_| {
            let ids = send(&mut home, from, &pieces, &[0, 1]);
            home.notes.answer_to(ids[1]).map(|(_, _, packet)| packet.identification())
        })
        .collect();
    assert!(numbers.len() == 2 && numbers[0] != numbers[1], "{numbers:?}");
}

#[test]
fn a_large_ping_of_a_program_is_answered_by_gateway_and_core() {
    use natbox_host::{EchoAnswer, EchoSocket, Host};
    let mut home = home(1, Links::default(), open_behavior());
    let alice = home.host("alice");
    let came = home.world.run_until(async {
        let mut lengths = Vec::new();
        for own in ["10.0.0.1", "198.18.0.2", "198.18.0.1"] {
            let socket = alice.echo_socket(ip("0.0.0.0")).await.expect("a socket");
            socket.send(ip(own), 1, &payload(2000)).await.expect("room");
            if let EchoAnswer::Reply(reply) = socket.recv().await.expect("an answer") {
                lengths.push((reply.source, reply.length));
            }
        }
        lengths
    });
    let expected = ["10.0.0.1", "198.18.0.2", "198.18.0.1"].map(|own| (ip(own), 2000));
    assert_eq!(came.expect("no stall"), expected);
}

#[test]
fn fragments_of_what_is_no_ping_keep_the_refusal_whichever_comes_first() {
    let refused = |home: &Home, id| match home.notes.outcomes(id).last() {
        Some((_, Outcome::Refused(refusal))) => Some(refusal.reason),
        _ => match home.notes.releases_of(id).last() {
            Some((_, _, _, Outcome::Refused(refusal))) => Some(refusal.reason),
            _ => None,
        },
    };
    for mode in [FragmentMode::InOrder, FragmentMode::None, FragmentMode::OutOfOrder, FragmentMode::Collect] {
        for order in [[0, 1, 2], [2, 1, 0], [1, 0, 2]] {
            let pieces = pieces(false, "198.18.0.9", "198.18.0.2", 1400, 576);
            let reasons = [Switch::On, Switch::Off].map(|switch| {
                let mut home = home(1, Links::default(), behavior(mode, switch));
                let from = home.server_interface;
                let ids = send(&mut home, from, &pieces, &order);
                assert!(ids.iter().all(|id| answered(&home, *id).is_none()));
                ids.into_iter().map(|id| refused(&home, id)).collect::<Vec<_>>()
            });
            assert_eq!(reasons[0], reasons[1], "{mode} {order:?}");
            assert!(reasons[0].iter().all(Option::is_some), "{mode} {order:?}: {reasons:?}");
        }
    }
}

#[test]
fn datagrams_in_fragments_keep_the_refusal() {
    let mut home = home(1, Links::default(), behavior(FragmentMode::None, Switch::On));
    let whole = Packet::parse(udp("198.18.0.9:9", "198.18.0.2:9", IpFields::default(), 1400)).expect("a packet");
    let pieces: Vec<_> = build::fragments(whole, 576, 7).expect("pieces").into_iter().map(Packet::into_bytes).collect();
    let from = home.server_interface;
    for id in send(&mut home, from, &pieces, &[1, 0]) {
        let outcomes = home.notes.outcomes(id);
        let Some((_, Outcome::Refused(refusal))) = outcomes.last() else { panic!("{outcomes:?}") };
        assert_eq!(refusal.reason, DropReason::FragmentUntranslatable);
    }
}

#[test]
fn pings_whose_fragments_do_not_all_come_time_out_and_the_sender_is_told_if_the_first_came() {
    for (from, own, seconds) in [
        ("198.18.0.9", "198.18.0.1", 30),
        ("198.18.0.9", "198.18.0.2", 30),
        ("2001:db8::9", "2001:db8::1", 60),
        ("2001:db8::9", "2001:db8::2", 60),
    ] {
        let mut home = home(1, Links::default(), behavior(FragmentMode::None, Switch::On));
        let pieces = pieces(true, from, own, 2000, 1280);
        let interface = home.server_interface;
        let id = home.send(interface, pieces[0].clone());
        assert_eq!(home.notes.outcomes(id).last().map(|(_, outcome)| *outcome), Some(Outcome::Held), "{own}");
        home.world.run_for(Duration::from_secs(70)).expect("no storm");
        let released = home.notes.releases_of(id);
        let [(at, _, _, Outcome::Dropped(DropReason::ReassemblyTimeout))] = released[..] else {
            panic!("{released:?}")
        };
        assert_eq!(at, ms(seconds * 1000));
        let (_, _, error) = home.notes.answer_to(id).expect("an error");
        assert_eq!(error.transport(), Transport::IcmpError(IcmpError::ReassemblyTimeExceeded), "{own}");

        let id = home.send(interface, pieces[1].clone());
        home.world.run_for(Duration::from_secs(70)).expect("no storm");
        assert_eq!(home.notes.releases_of(id).len(), 1);
        assert_eq!(home.notes.answer_to(id), None, "only the first is told of");
    }
}

#[test]
fn pings_whose_fragments_overlap_are_not_answered() {
    let mut home = home(1, Links::default(), behavior(FragmentMode::None, Switch::On));
    let one = pieces(true, "198.18.0.9", "198.18.0.2", 1400, 576);
    let other = pieces(true, "198.18.0.9", "198.18.0.2", 1400, 600);
    let from = home.server_interface;
    let ids = [one[0].clone(), other[1].clone(), one[1].clone(), one[2].clone()].map(|piece| home.send(from, piece));
    assert!(ids.iter().all(|id| answered(&home, *id).is_none()));
    let last = home.notes.outcomes(ids[3]);
    assert!(last.last().is_some_and(|(_, outcome)| *outcome != Outcome::Held), "{last:?}");
}

#[test]
fn a_reboot_loses_fragments_of_pings() {
    let mut home = home(1, Links::default(), behavior(FragmentMode::None, Switch::On));
    let pieces = pieces(true, "198.18.0.9", "198.18.0.2", 1400, 576);
    let from = home.server_interface;
    let ids = send(&mut home, from, &pieces, &[0, 1]);
    home.world.reboot(home.home).expect("a gateway");
    for id in ids {
        let released = home.notes.releases_of(id);
        let [(_, _, _, Outcome::Dropped(DropReason::Rebooted))] = released[..] else { panic!("{released:?}") };
    }
    let last = home.send(from, pieces[2].clone());
    assert_eq!(answered(&home, last), None);
}

#[test]
fn a_flood_of_fragments_without_an_end_leaves_room_for_a_ping() {
    let mut home = home(1, Links::default(), behavior(FragmentMode::None, Switch::On));
    let from = home.server_interface;
    for number in 0..9000_u32 {
        let fields = IpFields { identification: number as u16, ..IpFields::default() };
        let whole = build::echo(true, ip("198.18.0.9"), ip("198.18.0.2"), fields, 7, 1, &payload(1200));
        let first = build::fragments(whole.expect("one version"), 576, number).expect("pieces").remove(1);
        home.world.inject(from, first.into_bytes());
    }
    home.world.run_for(Duration::from_secs(1)).expect("no storm");
    let lost =
        |seen: &Seen| matches!(seen, Seen::Released { outcome: Outcome::Dropped(DropReason::ReassemblyLimit), .. });
    assert!(home.notes.all().iter().any(lost), "what is held is bounded");
    let mut fresh = Vec::new();
    let fields = IpFields { identification: 40_000, ..IpFields::default() };
    let whole = build::echo(true, ip("198.18.0.9"), ip("198.18.0.2"), fields, 7, 1, &payload(1400));
    for piece in build::fragments(whole.expect("one version"), 576, 7).expect("pieces") {
        fresh.push(home.send(from, piece.into_bytes()));
    }
    assert_eq!(answered(&home, fresh[2]), Some((payload(1400), 1)));
}

//! Datagrams in pieces on their way through a gateway.

use std::sync::Arc;
use std::time::Duration;

use natbox_host::{Host, UdpSocket};
use natbox_nat::Behavior;
use natbox_nat::behavior::{FragmentMode, FragmentRules};
use natbox_wire::build::{self, IpFields};
use natbox_wire::{DropReason, Packet};
use natbox_world::note::Outcome;
use natbox_world::{InterfaceId, LinkConfig, World};

use crate::support::*;

fn behavior(mode: FragmentMode) -> Arc<Behavior> {
    let fragments = FragmentRules { inbound: mode, outbound: mode, ..FragmentRules::default() };
    Arc::new(Behavior { fragments, ..Behavior::default() })
}

fn narrow(mtu_bytes: usize) -> LinkConfig {
    LinkConfig { mtu_bytes, ..LinkConfig::default() }
}

const FIELDS: IpFields = IpFields { ttl: 64, dont_fragment: false, identification: 7 };

/// A datagram's fragments.
fn pieces(source: &str, destination: &str, length: usize, mtu_bytes: usize) -> Vec<Vec<u8>> {
    let whole = Packet::parse(udp(source, destination, FIELDS, length)).expect("a packet");
    let pieces = build::fragments(whole, mtu_bytes, 7).expect("it may be cut");
    pieces.into_iter().map(Packet::into_bytes).collect()
}

#[test]
fn large_datagrams_get_through_a_small_mtu_in_every_mode_that_takes_fragments() {
    for mode in [FragmentMode::OutOfOrder, FragmentMode::Reassemble, FragmentMode::Collect, FragmentMode::InOrder] {
        let links = Links { alice: narrow(900), home: narrow(700), server: narrow(600) };
        let mut home = home(1, links, behavior(mode));
        let (alice, server) = (home.host("alice"), home.host("server"));
        let sent: Vec<u8> = (0..4000).map(|at| (at * 7) as u8).collect();
        let back = home.world.run_until(async {
            let here = alice.udp_bind(endpoint("10.0.0.2:5000")).await.expect("a socket");
            let there = server.udp_bind(endpoint("198.18.0.9:9")).await.expect("a socket");
            let mut buffer = [0; 5000];
            here.send_to(&sent, endpoint("198.18.0.9:9")).await.expect("room");
            let came = there.recv_from(&mut buffer).await.expect("a datagram");
            there.send_to(&buffer[..came.length], came.source).await.expect("room");
            let came = here.recv_from(&mut buffer).await.expect("a datagram");
            buffer[..came.length].to_vec()
        });
        assert_eq!(back.expect("no stall"), sent, "{mode}");
    }
}

#[test]
fn held_fragments_keep_their_numbers_and_go_on_behind_the_first() {
    let mut home = home(1, Links::default(), behavior(FragmentMode::OutOfOrder));
    let pieces = pieces("10.0.0.2:5000", "198.18.0.9:9", 1400, 576);
    let late = home.send(home.alice_interface, pieces[2].clone());
    let early = home.send(home.alice_interface, pieces[1].clone());
    assert_eq!(home.notes.outcomes(late), [(home.home, Outcome::Held)]);
    assert_eq!(home.notes.received_by(home.core).len(), 0);
    let first = home.send(home.alice_interface, pieces[0].clone());
    let order: Vec<_> = home.notes.received_by(home.server).into_iter().map(|(id, _)| id).collect();
    assert_eq!(order, [first, early, late]);
    for (id, bytes) in [(late, &pieces[2]), (early, &pieces[1])] {
        let released = home.notes.releases_of(id);
        let [(at, node, came, Outcome::Translated(translation))] = released.as_slice() else { panic!("{released:?}") };
        assert_eq!((*at, *node, came), (ms(2000), home.home, bytes), "as it came, when the first came");
        assert!(!translation.new_mapping);
    }
    let (_, packet) = &home.notes.received_by(home.server)[1];
    assert_eq!((packet.source(), packet.ttl()), (ip("198.18.0.2"), 62));
}

#[test]
fn held_fragments_from_outside_pay_for_their_hop_once_and_go_to_the_host() {
    let mut home = home(1, Links::default(), behavior(FragmentMode::OutOfOrder));
    home.send(home.alice_interface, udp("10.0.0.2:5000", "198.18.0.9:9", FIELDS, 4));
    let external = home.world.mappings(home.home)[0].external.to_string();
    let pieces = pieces("198.18.0.9:9", &external, 1400, 576);
    for index in [2, 1, 0] {
        home.send(home.server_interface, pieces[index].clone());
    }
    let mut came = home.notes.received_by(home.alice);
    came.retain(|(_, packet)| packet.is_fragment());
    assert_eq!(came.len(), 3);
    assert!(came.iter().all(|(_, packet)| packet.destination() == ip("10.0.0.2") && packet.ttl() == 62));
}

#[test]
fn a_datagram_that_was_put_together_is_cut_anew_for_the_next_link() {
    let mut home = home(1, Links { home: narrow(600), ..Links::default() }, behavior(FragmentMode::Reassemble));
    let pieces = pieces("10.0.0.2:5000", "198.18.0.9:9", 1400, 576);
    home.send(home.alice_interface, pieces[0].clone());
    home.send(home.alice_interface, pieces[2].clone());
    assert_eq!(home.notes.received_by(home.core).len(), 0);
    let last = home.send(home.alice_interface, pieces[1].clone());
    let came = home.notes.received_by(home.server);
    assert_eq!(came.len(), 3);
    assert!(came.iter().all(|(id, packet)| *id == last && packet.bytes().len() <= 600));
    assert!(came[0].1.bytes().len() > 576, "not as they were cut before");
}

#[test]
fn held_fragments_die_in_time_and_keep_the_world_going_until_then_observed_or_not() {
    let run = |observed: bool| {
        let mut world = World::new(1);
        let notes = Notes::default();
        if observed {
            world.observe(Box::new(notes.clone()));
        }
        let internet = world.internet("internet", &[ip("198.18.0.1")]);
        let lan = world.lan("home");
        let outside = attachment(internet, "home:outside", &["198.18.0.2/15"], LinkConfig::default());
        let inside = attachment(lan, "home:inside", &["10.0.0.1/24"], LinkConfig::default());
        world.gateway("home", outside, inside, behavior(FragmentMode::OutOfOrder));
        let alice = world.host("alice", vec![attachment(lan, "alice", &["10.0.0.2/24"], LinkConfig::default())]);
        let interface: InterfaceId = world.interfaces_of(alice.node()).next().expect("an interface");
        let pieces = pieces("10.0.0.2:5000", "198.18.0.9:9", 1400, 576);
        let id = world.inject(interface, pieces[1].clone());
        let stalled = world.run_until(std::future::pending::<()>());
        (stalled, world.statistics(), notes.releases_of(id))
    };
    let (stalled, statistics, released) = run(true);
    assert_eq!(stalled, Err(natbox_world::Stalled::Idle { at: ms(30_000) }));
    let [(at, _, _, Outcome::Refused(refusal))] = released.as_slice() else { panic!("{released:?}") };
    assert_eq!((*at, refusal.reason), (ms(30_000), DropReason::ReassemblyTimeout));
    let (again, others, _) = run(false);
    assert_eq!((again, others), (stalled, statistics));
}

#[test]
fn a_reboot_loses_held_fragments_and_says_so() {
    let mut home = home(1, Links::default(), behavior(FragmentMode::OutOfOrder));
    let pieces = pieces("10.0.0.2:5000", "198.18.0.9:9", 1400, 576);
    let id = home.send(home.alice_interface, pieces[1].clone());
    home.world.reboot(home.home).expect("a gateway");
    let [(_, node, _, outcome)] = home.notes.releases_of(id)[..] else { panic!("{:?}", home.notes.releases_of(id)) };
    assert_eq!((node, outcome), (home.home, Outcome::Dropped(DropReason::Rebooted)));
    home.world.run_for(Duration::from_secs(40)).expect("no storm");
    assert_eq!(home.notes.releases_of(id).len(), 1);
}

#[test]
fn held_fragments_whose_host_is_gone_are_told_of_once_the_first_is_there() {
    let mut home = home(1, Links::default(), behavior(FragmentMode::OutOfOrder));
    home.send(home.alice_interface, udp("10.0.0.77:5000", "198.18.0.9:9", FIELDS, 4));
    let external = home.world.mappings(home.home)[0].external.to_string();
    let pieces = pieces("198.18.0.9:9", &external, 1400, 576);
    let later = home.send(home.server_interface, pieces[1].clone());
    let first = home.send(home.server_interface, pieces[0].clone());
    let released = home.notes.releases_of(later);
    assert!(matches!(released.as_slice(), [(_, _, _, Outcome::Dropped(DropReason::NoNeighbour))]), "{released:?}");
    assert!(home.notes.answer_to(first).is_some() && home.notes.answer_to(later).is_none());
}

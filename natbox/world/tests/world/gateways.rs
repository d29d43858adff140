//! Gateways: translation on the way, NAT behind NAT, and the errors that a gateway owes.

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use natbox_nat::Behavior;
use natbox_nat::behavior::{Filtering, TranslationKind};
use natbox_wire::{DropReason, IcmpError, Transport};
use natbox_world::note::Outcome;
use natbox_world::{LinkConfig, World};

use crate::support::*;

#[test]
fn a_packet_leaves_with_the_external_address_and_its_reply_comes_home() {
    let mut home = home(1, Links::default(), strict_behavior());
    let id = home.send(home.alice_interface, ping("10.0.0.2", "198.18.0.9", 64));
    let outcomes = home.notes.outcomes(id);
    assert!(matches!(outcomes[0], (node, Outcome::Translated(t)) if node == home.home && t.new_mapping));
    assert_eq!(outcomes[1..], [(home.core, Outcome::Routed), (home.server, Outcome::Delivered)]);
    let received = home.notes.received_by(home.server);
    assert_eq!((received[0].1.source(), received[0].1.ttl()), (ip("198.18.0.2"), 62));
    assert!(received[0].1.transport_checksum_ok());
    let (reply, ..) = home.notes.answer_to(id).expect("a reply");
    let last = home.notes.received_by(home.alice).pop().expect("the reply");
    assert_eq!((last.0, last.1.source(), last.1.destination()), (reply, ip("198.18.0.9"), ip("10.0.0.2")));
    assert_eq!(last.1.ttl(), 62);
    assert_eq!(home.world.mappings(home.home).len(), 1);
}

#[test]
fn the_note_shows_the_packet_as_it_came_and_the_next_as_it_left() {
    let mut home = home(1, Links::default(), strict_behavior());
    let bytes = ping("10.0.0.2", "198.18.0.9", 64);
    let id = home.send(home.alice_interface, bytes.clone());
    let mut steps = home.notes.all().into_iter().filter(|seen| match seen {
        Seen::Sent { node, id: of, .. } | Seen::Received { node, id: of, .. } => *node == home.home && *of == id,
        _ => false,
    });
    let Some(Seen::Received { bytes: came, .. }) = steps.next() else { panic!("expected it to be received first") };
    assert_eq!(came, bytes);
    let Some(Seen::Sent { bytes: left, interface, .. }) = steps.next() else { panic!("expected it to be sent then") };
    assert_eq!(interface, home.home_outside);
    assert_eq!(left[12..16], [198, 18, 0, 2]);
}

#[test]
fn unsolicited_packets_are_refused_whatever_their_ttl() {
    let mut home = home(1, Links::default(), strict_behavior());
    for ttl in [2, 64] {
        let fields = natbox_wire::build::IpFields { ttl, ..Default::default() };
        let id = home.send(home.server_interface, udp("198.18.0.9:1", "198.18.0.2:2", fields, 4));
        let (node, outcome) = home.notes.outcomes(id)[1];
        assert!(matches!(outcome, Outcome::Refused(refusal) if refusal.reason == DropReason::NoMapping));
        assert_eq!(node, home.home);
        assert_eq!(home.notes.answer_to(id), None);
    }
}

#[test]
fn a_ttl_that_runs_out_on_the_way_out_is_told_from_inside_and_makes_no_mapping() {
    let mut home = home(1, Links::default(), strict_behavior());
    let id = home.send(home.alice_interface, ping("10.0.0.2", "198.18.0.9", 1));
    assert_eq!(home.notes.outcomes(id), [(home.home, Outcome::Dropped(DropReason::TtlExpired))]);
    let (error, _, packet) = home.notes.answer_to(id).expect("an error");
    assert_eq!((packet.source(), packet.destination()), (ip("10.0.0.1"), ip("10.0.0.2")));
    assert_eq!(packet.quoted().expect("a quote").source.ip(), ip("10.0.0.2"));
    assert_eq!(home.notes.outcomes(error).len(), 1);
    assert_eq!(home.world.mappings(home.home), []);
}

#[test]
fn a_ttl_that_runs_out_on_the_way_in_is_told_from_outside_about_the_external_endpoint() {
    let mut home = home(1, Links::default(), open_behavior());
    home.send(home.alice_interface, udp("10.0.0.2:5000", "198.18.0.9:9", Default::default(), 4));
    let external = home.world.mappings(home.home)[0].external;
    let fields = natbox_wire::build::IpFields { ttl: 2, ..Default::default() };
    let id = home.send(home.server_interface, udp("198.18.0.9:9", &external.to_string(), fields, 4));
    assert_eq!(home.notes.outcomes(id)[1], (home.home, Outcome::Dropped(DropReason::TtlExpired)));
    let (_, sender, packet) = home.notes.answer_to(id).expect("an error");
    assert_eq!((sender, packet.source()), (home.home, ip("198.18.0.2")));
    let quoted = packet.quoted().expect("a quote");
    assert_eq!((quoted.source, quoted.destination), (endpoint("198.18.0.9:9"), external));
}

#[test]
fn a_host_that_is_gone_is_told_as_unreachable_about_the_external_endpoint() {
    let mut home = home(1, Links::default(), open_behavior());
    home.send(home.alice_interface, udp("10.0.0.77:5000", "198.18.0.9:9", Default::default(), 4));
    let external = home.world.mappings(home.home)[0].external;
    let id = home.send(home.server_interface, udp("198.18.0.9:9", &external.to_string(), Default::default(), 4));
    assert_eq!(home.notes.outcomes(id)[1], (home.home, Outcome::Dropped(DropReason::NoNeighbour)));
    let (_, _, packet) = home.notes.answer_to(id).expect("an error");
    assert_eq!(packet.transport(), Transport::IcmpError(IcmpError::HostUnreachable));
    assert_eq!(packet.quoted().expect("a quote").destination, external);
}

#[test]
fn errors_from_the_core_come_home_translated() {
    let mut home = home(1, Links::default(), strict_behavior());
    let id = home.send(home.alice_interface, udp("10.0.0.2:5000", "203.0.113.1:9", Default::default(), 4));
    let (error, sender, _) = home.notes.answer_to(id).expect("an error");
    assert_eq!(sender, home.core);
    assert!(home.notes.outcomes(error).iter().any(|(node, outcome)| *node == home.home && is_translated(*outcome)));
    let (_, packet) = home.notes.received_by(home.alice).pop().expect("the error");
    assert_eq!(packet.quoted().expect("a quote").source, endpoint("10.0.0.2:5000"));
}

#[test]
fn a_firewall_filters_what_it_does_not_translate() {
    let mut home = home(1, Links::default(), strict_behavior());
    let id = home.send(home.server_interface, udp("[2001:db8::9]:9", "[2001:db8:1::2]:5000", Default::default(), 4));
    assert!(matches!(home.notes.outcomes(id)[1], (node, Outcome::Refused(_)) if node == home.home));
    home.send(home.alice_interface, udp("[2001:db8:1::2]:5000", "[2001:db8::9]:9", Default::default(), 4));
    let id = home.send(home.server_interface, udp("[2001:db8::9]:9", "[2001:db8:1::2]:5000", Default::default(), 4));
    assert_eq!(home.notes.outcomes(id).last().expect("a way").0, home.alice);
}

#[test]
fn a_gateway_that_neither_translates_nor_filters_is_a_router() {
    let behavior =
        Behavior { translation: TranslationKind::None, filtering: Filtering::Off.into(), ..Behavior::default() };
    let mut home = home(1, Links::default(), Arc::new(behavior));
    let prefix = "10.0.0.0/24".parse().expect("a prefix");
    home.world.route(home.internet, prefix, home.home_outside);
    let id = home.send(home.server_interface, ping("198.18.0.9", "10.0.0.2", 64));
    let routed = Outcome::Routed;
    let expected = [(home.core, routed), (home.home, routed), (home.alice, Outcome::Delivered)];
    assert_eq!(home.notes.outcomes(id), expected);
    let id = home.send(home.server_interface, ping("198.18.0.9", "198.18.0.2", 64));
    assert_eq!(home.notes.outcomes(id)[1], (home.home, Outcome::Delivered), "it answers for itself");
    let id = home.send(home.alice_interface, ping("10.0.0.2", "198.18.0.2", 1));
    assert_eq!(home.notes.outcomes(id), [(home.home, Outcome::Delivered)], "to the inside too");
}

#[test]
fn hairpinned_packets_turn_round_at_the_gateway() {
    let mut home = home(1, Links::default(), open_behavior());
    home.send(home.alice_interface, udp("10.0.0.2:5000", "198.18.0.9:9", Default::default(), 4));
    let external = home.world.mappings(home.home)[0].external.to_string();
    let id = home.send(home.alice_interface, udp("10.0.0.2:6000", &external, Default::default(), 4));
    let outcomes = home.notes.outcomes(id);
    assert!(matches!(outcomes[0], (node, Outcome::Hairpinned { .. }) if node == home.home));
    assert_eq!(outcomes[1].0, home.alice);
    let (_, packet) = home.notes.received_by(home.alice).into_iter().find(|(of, _)| *of == id).expect("the packet");
    assert_eq!((packet.destination_endpoint(), packet.source()), (endpoint("10.0.0.2:5000"), ip("198.18.0.2")));
}

/// Gateways behind gateways, `depth` of them, a host behind the innermost and a server on the Internet.
fn nested(depth: u8) -> (World, Notes) {
    let mut world = World::new(1);
    let notes = Notes::default();
    world.observe(Box::new(notes.clone()));
    let internet = world.internet("internet", &[ip("198.18.0.1")]);
    world.host("server", vec![attachment(internet, "server", &["198.18.0.9/15"], link(1))]);
    let mut network = internet;
    let mut outer = "198.18.0.2/15".to_owned();
    for level in 0..depth {
        let lan = world.lan("lan");
        let name = format!("nat-{level}");
        let outside = attachment(network, &format!("{name}:outside"), &[&outer], link(1));
        let inside = format!("10.{level}.0.1/24");
        let inside = attachment(lan, &format!("{name}:inside"), &[&inside], LinkConfig::default());
        world.gateway(&name, outside, inside, strict_behavior());
        (network, outer) = (lan, format!("10.{level}.0.2/24"));
    }
    world.host("alice", vec![attachment(network, "alice", &[&outer], link(1))]);
    (world, notes)
}

#[test]
fn gateways_behind_gateways_translate_in_turn() {
    for depth in [1, 2, 3, 30] {
        let (mut world, notes) = nested(depth);
        let alice = world.interfaces().last().expect("an interface");
        let own = world.addresses_of(alice)[0].address.to_string();
        let id = world.inject(alice, ping(&own, "198.18.0.9", 64));
        world.run_for(Duration::from_secs(1)).expect("no storm");
        let translated = notes.outcomes(id).into_iter().filter(|(_, outcome)| is_translated(*outcome)).count();
        assert_eq!(translated, usize::from(depth));
        let (reply, ..) = notes.answer_to(id).expect("a reply");
        let (_, packet) = notes.received_by(world.node_of(alice)).pop().expect("the reply");
        assert_eq!(packet.destination(), own.parse::<IpAddr>().expect("an address"));
        assert_eq!(notes.outcomes(reply).len(), usize::from(depth) + 2);
    }
}

#[test]
fn private_ranges_may_repeat_from_gateway_to_gateway() {
    let mut world = World::new(1);
    let notes = Notes::default();
    world.observe(Box::new(notes.clone()));
    let internet = world.internet("internet", &[ip("198.18.0.1")]);
    world.host("server", vec![attachment(internet, "server", &["198.18.0.9/15"], link(1))]);
    let (outer, inner) = (world.lan("outer"), world.lan("inner"));
    let outside = attachment(internet, "outer:outside", &["198.18.0.2/15"], link(1));
    world.gateway("outer", outside, attachment(outer, "outer:inside", &["10.0.0.1/24"], link(0)), strict_behavior());
    let outside = attachment(outer, "inner:outside", &["10.0.0.2/24"], link(0));
    world.gateway("inner", outside, attachment(inner, "inner:inside", &["10.0.0.1/24"], link(0)), strict_behavior());
    let alice = world.host("alice", vec![attachment(inner, "alice", &["10.0.0.2/24"], link(0))]).node();
    let from = world.interfaces_of(alice).next().expect("an interface");
    let id = world.inject(from, ping("10.0.0.2", "198.18.0.9", 64));
    world.run_for(Duration::from_secs(1)).expect("no storm");
    let (reply, ..) = notes.answer_to(id).expect("a reply");
    assert_eq!(notes.outcomes(reply).last().expect("a way").0, alice);
}

#[test]
fn a_ttl_reaches_exactly_as_many_hops_as_it_counts() {
    let depth = 5;
    for ttl in 1..=depth + 1 {
        let (mut world, notes) = nested(depth);
        let alice = world.interfaces().last().expect("an interface");
        let own = world.addresses_of(alice)[0].address.to_string();
        let id = world.inject(alice, ping(&own, "198.18.0.9", ttl));
        world.run_for(Duration::from_secs(1)).expect("no storm");
        let outcomes = notes.outcomes(id);
        assert_eq!(outcomes.len(), usize::from(ttl));
        assert_eq!(outcomes.last().expect("a way").1, Outcome::Dropped(DropReason::TtlExpired));
        let (_, packet) = notes.received_by(world.node_of(alice)).pop().expect("the error");
        assert_eq!(packet.transport(), Transport::IcmpError(IcmpError::TtlExceeded));
        assert_eq!(packet.quoted().expect("a quote").source.ip().to_string(), own, "translated back at every hop");
    }
}

//! Routing, TTL, and the ICMP errors that routers owe.

use natbox_wire::{DropReason, IcmpError, Packet, Transport};
use natbox_world::note::Outcome;
use natbox_world::{LinkConfig, World};

use crate::support::*;

fn error_of(packet: &Packet) -> IcmpError {
    match packet.transport() {
        Transport::IcmpError(error) => error,
        other => panic!("expected an ICMP error, got {other:?}"),
    }
}

#[test]
fn the_core_takes_one_from_the_ttl_and_answers_when_it_runs_out() {
    let mut home = home(1, Links::default(), open_behavior());
    let id = home.send(home.server_interface, ping("198.18.0.9", "198.18.0.2", 1));
    assert_eq!(home.notes.outcomes(id), [(home.core, Outcome::Dropped(DropReason::TtlExpired))]);
    let (error, sender, packet) = home.notes.answer_to(id).expect("an ICMP error");
    assert_eq!((sender, packet.source(), error_of(&packet)), (home.core, ip("198.18.0.1"), IcmpError::TtlExceeded));
    assert_eq!(home.notes.outcomes(error).len(), 1, "it comes to the server");

    let id = home.send(home.server_interface, ping("198.18.0.9", "198.18.0.2", 2));
    let ttls: Vec<u8> =
        home.notes.received_by(home.home).iter().filter(|(of, _)| *of == id).map(|p| p.1.ttl()).collect();
    assert_eq!(ttls, [1]);
}

#[test]
fn the_same_in_ipv6() {
    let mut home = home(1, Links::default(), open_behavior());
    let id = home.send(home.server_interface, ping("2001:db8::9", "2001:db8::2", 1));
    let (_, _, packet) = home.notes.answer_to(id).expect("an ICMPv6 error");
    assert_eq!((packet.source(), error_of(&packet)), (ip("2001:db8::1"), IcmpError::TtlExceeded));
}

#[test]
fn private_destinations_are_dropped_in_the_core_without_a_word() {
    let mut home = home(1, Links::default(), open_behavior());
    for destination in ["10.0.0.2", "192.168.1.1", "172.16.0.1", "100.64.0.1"] {
        let id = home.send(home.server_interface, ping("198.18.0.9", destination, 64));
        assert_eq!(home.notes.outcomes(id), [(home.core, Outcome::Dropped(DropReason::PrivateDestination))]);
        assert_eq!(home.notes.answer_to(id), None, "{destination}");
    }
    let id = home.send(home.server_interface, ping("2001:db8::9", "fd00::1", 64));
    assert_eq!(home.notes.outcomes(id), [(home.core, Outcome::Dropped(DropReason::PrivateDestination))]);
}

#[test]
fn a_private_prefix_that_is_routed_is_reached() {
    let mut world = World::new(1);
    let notes = Notes::default();
    world.observe(Box::new(notes.clone()));
    let internet = world.internet("internet", &[ip("198.18.0.1")]);
    let far = world.host("far", vec![attachment(internet, "far", &["10.9.9.9/24"], LinkConfig::default())]).node();
    let near = attachment(internet, "near", &["198.18.0.2/24"], LinkConfig::default());
    let near = world.host("near", vec![near]).node();
    let from = world.interfaces_of(near).next().expect("an interface");
    let id = world.inject(from, ping("198.18.0.2", "10.9.9.9", 64));
    world.run_for(MS).expect("no storm");
    assert_eq!(notes.outcomes(id).last(), Some(&(far, Outcome::Delivered)));
}

#[test]
fn unknown_destinations_are_answered_as_net_unreachable() {
    let mut home = home(1, Links::default(), open_behavior());
    let id = home.send(home.server_interface, ping("198.18.0.9", "203.0.113.1", 64));
    assert_eq!(home.notes.outcomes(id), [(home.core, Outcome::Dropped(DropReason::NoRoute))]);
    let (_, sender, packet) = home.notes.answer_to(id).expect("an ICMP error");
    assert_eq!((sender, error_of(&packet)), (home.core, IcmpError::NetUnreachable));
    assert_eq!(packet.quoted().expect("a quote").destination.ip(), ip("203.0.113.1"));
}

#[test]
fn no_error_answers_an_error() {
    let mut home = home(1, Links::default(), open_behavior());
    let id = home.send(home.server_interface, ping("198.18.0.9", "203.0.113.1", 64));
    let (_, _, error) = home.notes.answer_to(id).expect("an ICMP error");
    let mut bounced = error;
    bounced.rewrite_source(endpoint("198.18.0.9:0"));
    bounced.rewrite_destination(endpoint("203.0.113.1:0"));
    let id = home.send(home.server_interface, bounced.into_bytes());
    assert_eq!(home.notes.outcomes(id), [(home.core, Outcome::Dropped(DropReason::NoRoute))]);
    assert_eq!(home.notes.answer_to(id), None);
}

#[test]
fn an_error_that_cannot_reach_its_sender_is_dropped_with_a_reason() {
    let mut home = home(1, Links::default(), open_behavior());
    let id = home.send(home.server_interface, ping("203.0.113.7", "203.0.113.1", 64));
    let lost: Vec<_> = home.notes.all().into_iter().filter(|seen| matches!(seen, Seen::Dropped { .. })).collect();
    let [Seen::Dropped { node, reason, .. }] = &lost[..] else { panic!("expected one drop, got {lost:?}") };
    assert_eq!((*node, *reason), (home.core, DropReason::NoRoute));
    assert_eq!(home.notes.outcomes(id).len(), 1);
}

#[test]
fn routers_answer_echo_and_refuse_the_rest() {
    let mut home = home(1, Links::default(), open_behavior());
    let id = home.send(home.server_interface, ping("198.18.0.9", "198.18.0.1", 1));
    assert_eq!(home.notes.outcomes(id), [(home.core, Outcome::Delivered)]);
    let (_, _, reply) = home.notes.answer_to(id).expect("a reply");
    assert_eq!(reply.transport(), Transport::Echo { request: false, identifier: 7, sequence: 1 });
    assert_eq!(reply.payload(), b"natbox");

    let id = home.send(home.server_interface, udp("198.18.0.9:1", "198.18.0.1:2", Default::default(), 4));
    assert_eq!(home.notes.outcomes(id), [(home.core, Outcome::Dropped(DropReason::PortUnreachable))]);
    let (_, _, error) = home.notes.answer_to(id).expect("an error");
    assert_eq!(error_of(&error), IcmpError::PortUnreachable);

    let id = home.send(home.alice_interface, ping("10.0.0.2", "10.0.0.1", 1));
    assert_eq!(home.notes.outcomes(id), [(home.home, Outcome::Delivered)]);
    let (reply, ..) = home.notes.answer_to(id).expect("a reply");
    assert_eq!(home.notes.way(reply).len(), 1, "it comes to alice");
}

#[test]
fn nobody_at_home_is_no_neighbour() {
    let mut home = home(1, Links::default(), open_behavior());
    let id = home.send(home.alice_interface, ping("10.0.0.2", "10.0.0.77", 64));
    assert_eq!(home.notes.drops_of(id), [(home.alice, DropReason::NoNeighbour)]);
}

#[test]
fn forty_thousand_hosts_on_one_core_reach_one_another() {
    let mut world = World::new(1);
    let internet = world.internet("internet", &[ip("198.18.0.1")]);
    let address = |host: u32| format!("198.19.{}.{}/15", host / 250, host % 250 + 1);
    for host in 0..40_000 {
        let name = format!("host-{host}");
        world.host(&name, vec![attachment(internet, &name, &[&address(host)], LinkConfig::default())]);
    }
    let notes = Notes::default();
    world.observe(Box::new(notes.clone()));
    let first = world.interfaces().next().expect("an interface");
    let id = world.inject(first, ping("198.19.0.1", "198.19.159.250", 64));
    world.run_for(MS).expect("no storm");
    assert_eq!(notes.outcomes(id).last().map(|(_, outcome)| *outcome), Some(Outcome::Delivered));
}

//! Sides that share addresses, clients that may not meet, and the ways of hairpinned answers.

use std::sync::Arc;
use std::time::Duration;

use natbox_nat::Behavior;
use natbox_nat::behavior::*;
use natbox_wire::build::{self, IpFields};
use natbox_wire::{DropReason, IcmpError, Packet, TcpFlags, Transport};
use natbox_world::note::Outcome;
use natbox_world::{InterfaceId, LinkConfig, NodeId, PacketId, World};

use crate::support::*;

/// Two hosts behind one gateway: alice 10.0.0.2, bob 10.0.0.3; a server, 198.18.0.9.
struct Flat {
    world: World,
    notes: Notes,
    gateway: NodeId,
    alice: NodeId,
    bob: NodeId,
    server: NodeId,
}

fn flat(behavior: Behavior, isolated: bool) -> Flat {
    let mut world = World::new(1);
    let notes = Notes::default();
    world.observe(Box::new(notes.clone()));
    let internet = world.internet("internet", &[ip("198.18.0.1")]);
    let lan = world.lan("home");
    if isolated {
        world.isolate(lan);
    }
    let outside = attachment(internet, "home:outside", &["198.18.0.2/32"], LinkConfig::default());
    let inside = attachment(lan, "home:inside", &["10.0.0.1/24"], LinkConfig::default());
    let gateway = world.gateway("home", outside, inside, Arc::new(behavior));
    let mut host = |name: &str, address: &str| {
        let network = if address.starts_with("10") { lan } else { internet };
        world.host(name, vec![attachment(network, name, &[address], LinkConfig::default())]).node()
    };
    let (alice, bob) = (host("alice", "10.0.0.2/24"), host("bob", "10.0.0.3/24"));
    let server = host("server", "198.18.0.9/32");
    Flat { world, notes, gateway, alice, bob, server }
}

impl Flat {
    fn interface(&self, node: NodeId) -> InterfaceId {
        self.world.interfaces_of(node).next().expect("an interface")
    }

    fn send(&mut self, from: NodeId, bytes: Vec<u8>) -> PacketId {
        let id = self.world.inject(self.interface(from), bytes);
        self.world.run_for(Duration::from_secs(1)).expect("no storm");
        id
    }

    /// Sends to the server, and tells the external endpoint.
    fn map(&mut self, from: NodeId, endpoint: &str) -> String {
        let id = self.send(from, udp(endpoint, "198.18.0.9:9", IpFields::default(), 4));
        self.as_it_came(self.server, id).expect("the server heard it").source_endpoint().to_string()
    }

    /// A packet as it came to a node.
    fn as_it_came(&self, node: NodeId, id: PacketId) -> Option<Packet> {
        self.notes.received_by(node).into_iter().find(|(of, _)| *of == id).map(|(_, packet)| packet)
    }
}

fn datagram(source: &str, destination: &str) -> Vec<u8> {
    udp(source, destination, IpFields::default(), 4)
}

fn hairpin(hairpin: Hairpin) -> Behavior {
    Behavior { hairpin: hairpin.into(), ..Behavior::default() }
}

#[test]
fn an_answer_to_an_internal_source_goes_directly_and_arrives_from_nowhere_known() {
    let mut home = flat(hairpin(Hairpin::InternalSource), false);
    let of_bob = home.map(home.bob, "10.0.0.3:5000");
    let id = home.send(home.alice, datagram("10.0.0.2:5000", &of_bob));
    let arrived = home.as_it_came(home.bob, id).expect("turned round");
    assert_eq!(arrived.source_endpoint(), endpoint("10.0.0.2:5000"));
    let answer = home.send(home.bob, datagram("10.0.0.3:5000", "10.0.0.2:5000"));
    let ways: Vec<NodeId> = home.notes.way(answer).into_iter().map(|(_, node, _)| node).collect();
    assert_eq!(ways, [home.alice], "the gateway never sees it");
    let answer = home.as_it_came(home.alice, answer).expect("arrived");
    assert_eq!(answer.source_endpoint(), endpoint("10.0.0.3:5000"), "not the endpoint that alice has sent to");
}

#[test]
fn an_answer_to_the_router_comes_back_through_it_and_arrives_from_where_it_was_asked_for() {
    let mut home = flat(hairpin(Hairpin::RouterSource), false);
    let of_bob = home.map(home.bob, "10.0.0.3:5000");
    let id = home.send(home.alice, datagram("10.0.0.2:5000", &of_bob));
    let arrived = home.as_it_came(home.bob, id).expect("turned round");
    assert_eq!(arrived.source(), ip("10.0.0.1"));
    let answer = home.send(home.bob, datagram("10.0.0.3:5000", &arrived.source_endpoint().to_string()));
    let outcomes = home.notes.outcomes(answer);
    assert!(matches!(outcomes[0], (node, Outcome::Hairpinned { .. }) if node == home.gateway), "{outcomes:?}");
    let answer = home.as_it_came(home.alice, answer).expect("arrived");
    assert_eq!(answer.source_endpoint(), endpoint(&of_bob));
    // What answers nobody is the gateway's own, as before.
    let ping = home.send(home.bob, ping("10.0.0.3", "10.0.0.1", 64));
    assert_eq!(home.notes.outcomes(ping), [(home.gateway, Outcome::Delivered)]);
    let stray = home.send(home.bob, datagram("10.0.0.3:5000", "10.0.0.1:1"));
    assert_eq!(home.notes.outcomes(stray), [(home.gateway, Outcome::Dropped(DropReason::PortUnreachable))]);
}

#[test]
fn an_error_about_a_packet_from_the_router_comes_back_through_it() {
    let mut home = flat(hairpin(Hairpin::RouterSource), false);
    let of_bob = home.map(home.bob, "10.0.0.3:5000");
    let sent = home.send(home.alice, datagram("10.0.0.2:5000", &of_bob));
    // Nobody listens: bob's host says so to the router.
    let (error, sender, _) = home.notes.answer_to(sent).expect("port unreachable");
    assert_eq!(sender, home.bob);
    let told = home.as_it_came(home.alice, error).expect("translated on the way");
    assert_eq!(told.transport(), Transport::IcmpError(IcmpError::PortUnreachable));
    let quoted = told.quoted().expect("a quote");
    assert_eq!((quoted.source, quoted.destination), (endpoint("10.0.0.2:5000"), endpoint(&of_bob)));
}

#[test]
fn a_tcp_handshake_turns_round_behind_the_router_in_both_directions() {
    let mut home = flat(hairpin(Hairpin::RouterSource), false);
    let segment = |from: &str, to: &str, syn, ack| {
        let flags = TcpFlags { syn, ack, ..TcpFlags::default() };
        build::tcp(endpoint(from), endpoint(to), IpFields::default(), flags, 1, 1, 1000, b"")
            .expect("IPv4")
            .into_bytes()
    };
    let first = home.send(home.bob, segment("10.0.0.3:5000", "198.18.0.9:9", true, false));
    let of_bob = home.as_it_came(home.server, first).expect("the server heard it").source_endpoint().to_string();
    let syn = home.send(home.alice, segment("10.0.0.2:5000", &of_bob, true, false));
    let seen = home.as_it_came(home.bob, syn).expect("the SYN").source_endpoint().to_string();
    let answer = home.send(home.bob, segment("10.0.0.3:5000", &seen, true, true));
    assert_eq!(home.as_it_came(home.alice, answer).expect("the SYN/ACK").source_endpoint(), endpoint(&of_bob));
    let last = home.send(home.alice, segment("10.0.0.2:5000", &of_bob, false, true));
    assert_eq!(home.as_it_came(home.bob, last).expect("the ACK").source_endpoint(), endpoint(&seen));
}

#[test]
fn isolated_clients_meet_at_the_gateway_alone() {
    let mut home = flat(Behavior::default(), true);
    let id = home.send(home.alice, datagram("10.0.0.2:5000", "10.0.0.3:5000"));
    assert_eq!(home.notes.drops_of(id), [(home.alice, DropReason::ClientIsolation)]);
    let everybody = home.send(home.alice, datagram("10.0.0.2:5000", "10.0.0.255:5000"));
    let heard: Vec<NodeId> = home.notes.way(everybody).into_iter().map(|(_, node, _)| node).collect();
    assert_eq!(heard, [home.gateway], "a broadcast too");
    let of_bob = home.map(home.bob, "10.0.0.3:5000");
    let id = home.send(home.alice, datagram("10.0.0.2:5000", &of_bob));
    assert!(home.as_it_came(home.bob, id).is_some(), "through the hairpin");
    let ping = home.send(home.alice, ping("10.0.0.2", "10.0.0.1", 64));
    assert_eq!(home.notes.outcomes(ping), [(home.gateway, Outcome::Delivered)]);
    assert!(home.notes.answer_to(ping).is_some());
}

#[test]
fn isolated_clients_do_not_meet_where_the_nat_does_not_hairpin_or_shows_internal_sources() {
    let mut home = flat(hairpin(Hairpin::Off), true);
    let of_bob = home.map(home.bob, "10.0.0.3:5000");
    let id = home.send(home.alice, datagram("10.0.0.2:5000", &of_bob));
    assert!(
        matches!(home.notes.outcomes(id)[..], [(_, Outcome::Refused(why))] if why.reason == DropReason::HairpinOff)
    );
    let mut home = flat(hairpin(Hairpin::InternalSource), true);
    let of_bob = home.map(home.bob, "10.0.0.3:5000");
    let id = home.send(home.alice, datagram("10.0.0.2:5000", &of_bob));
    assert!(home.as_it_came(home.bob, id).is_some(), "one way");
    let answer = home.send(home.bob, datagram("10.0.0.3:5000", "10.0.0.2:5000"));
    assert_eq!(home.notes.drops_of(answer), [(home.bob, DropReason::ClientIsolation)]);
}

/// Two homes behind a provider whose network is 10.0.0.0/24; one home's network, alice's, is 10.0.0.0/24 too. Bob is
/// with the provider, under alice's own address.
struct Overlap {
    flat: Flat,
    provider: NodeId,
}

fn overlap(rule: OverlappingRealms) -> Overlap {
    let mut world = World::new(1);
    let notes = Notes::default();
    world.observe(Box::new(notes.clone()));
    let internet = world.internet("internet", &[ip("198.18.0.1")]);
    let (outer, inner) = (world.lan("provider"), world.lan("home"));
    let perfect = LinkConfig::default;
    let outside = attachment(internet, "provider:outside", &["198.18.0.2/32"], perfect());
    let inside = attachment(outer, "provider:inside", &["10.0.0.1/24"], perfect());
    let provider = world.gateway("provider", outside, inside, open_behavior());
    let outside = attachment(outer, "home:outside", &["10.0.0.3/24"], perfect());
    let inside = attachment(inner, "home:inside", &["10.0.0.1/24"], perfect());
    let behavior = Behavior { overlapping_realms: rule, ..Behavior::default() };
    let gateway = world.gateway("home", outside, inside, Arc::new(behavior));
    let mut host = |name: &str, network, address: &str| {
        world.host(name, vec![attachment(network, name, &[address], perfect())]).node()
    };
    let alice = host("alice", inner, "10.0.0.2/24");
    let bob = host("bob", outer, "10.0.0.2/24");
    let server = host("server", internet, "198.18.0.9/32");
    Overlap { flat: Flat { world, notes, gateway, alice, bob, server }, provider }
}

#[test]
fn req_07_hosts_with_one_address_on_both_sides_reach_third_endpoints_and_each_other_through_them() {
    let Overlap { flat: mut home, provider } = overlap(OverlappingRealms::Translate);
    let (of_alice, of_bob) = (home.map(home.alice, "10.0.0.2:5000"), home.map(home.bob, "10.0.0.2:5000"));
    assert_ne!(of_alice, of_bob);
    for (from, to, external, node) in [
        (home.alice, "10.0.0.2:5000", &of_bob, home.bob),
        (home.bob, "10.0.0.2:5000", &of_alice, home.alice),
        (home.server, "198.18.0.9:9", &of_alice, home.alice),
        (home.server, "198.18.0.9:9", &of_bob, home.bob),
    ] {
        let id = home.send(from, datagram(to, external));
        assert!(home.as_it_came(node, id).is_some(), "to {external}");
    }
    assert_eq!(home.world.mappings(provider).len(), 2);
}

#[test]
fn req_07_a_box_that_refuses_overlapping_realms_passes_nothing_until_it_is_renumbered() {
    let Overlap { flat: mut home, .. } = overlap(OverlappingRealms::Refuse);
    let dropped = [(home.gateway, Outcome::Dropped(DropReason::OverlappingRealms))];
    let id = home.send(home.alice, datagram("10.0.0.2:5000", "198.18.0.9:9"));
    assert_eq!(home.notes.outcomes(id), dropped);
    let id = home.send(home.bob, datagram("10.0.0.2:5000", "10.0.0.3:9"));
    assert_eq!(home.notes.outcomes(id), dropped);
    let id = home.send(home.alice, ping("10.0.0.2", "10.0.0.1", 64));
    assert_eq!(home.notes.outcomes(id), [(home.gateway, Outcome::Delivered)], "its own inside is in order");
}

#[test]
fn a_box_that_refuses_overlapping_realms_works_where_they_do_not_overlap() {
    let refuse = Behavior { overlapping_realms: OverlappingRealms::Refuse, ..Behavior::default() };
    let mut home = flat(refuse, false);
    home.map(home.alice, "10.0.0.2:5000");
    home.world.readdress(home.gateway, &[ip("10.0.0.77")]).expect("a gateway");
    let id = home.send(home.alice, datagram("10.0.0.2:5000", "198.18.0.9:9"));
    assert_eq!(home.notes.outcomes(id), [(home.gateway, Outcome::Dropped(DropReason::OverlappingRealms))]);
    home.world.readdress(home.gateway, &[ip("198.18.0.3")]).expect("a gateway");
    home.map(home.alice, "10.0.0.2:5000");
}

#[test]
fn req_07_a_broken_box_looks_for_its_next_hop_inside() {
    let Overlap { flat: mut home, .. } = overlap(OverlappingRealms::Broken);
    let id = home.send(home.alice, datagram("10.0.0.2:5000", "198.18.0.9:9"));
    assert_eq!(home.notes.outcomes(id), [(home.gateway, Outcome::Dropped(DropReason::OverlappingRealms))]);
    let (error, ..) = home.notes.answer_to(id).expect("host unreachable");
    assert!(home.as_it_came(home.alice, error).is_some());
    let mut home = flat(Behavior { overlapping_realms: OverlappingRealms::Broken, ..Behavior::default() }, false);
    home.map(home.alice, "10.0.0.2:5000");
}

#[test]
fn an_aliased_host_is_reached_under_an_address_of_the_inside() {
    let aliases = vec![Alias { inside: ip("172.16.1.100"), outside: ip("198.18.0.9") }];
    let mut home = flat(Behavior { aliases, ..Behavior::default() }, false);
    let id = home.send(home.alice, ping("10.0.0.2", "172.16.1.100", 64));
    assert_eq!(home.notes.outcomes(id).last(), Some(&(home.server, Outcome::Delivered)), "not routed by the alias");
    let (reply, ..) = home.notes.answer_to(id).expect("a reply");
    assert_eq!(home.as_it_came(home.alice, reply).expect("the reply").source(), ip("172.16.1.100"));
}

#[test]
fn a_bypassed_destination_sees_the_internal_address() {
    let bypass = vec!["198.18.0.9/32".parse().expect("a prefix")];
    let mut home = flat(Behavior { bypass, ..Behavior::default() }, false);
    let network = home.world.network_of(home.interface(home.server));
    let outside = home.interface(home.gateway);
    home.world.route(network, "10.0.0.0/24".parse().expect("a prefix"), outside);
    let id = home.send(home.alice, ping("10.0.0.2", "198.18.0.9", 64));
    assert_eq!(home.as_it_came(home.server, id).expect("arrived").source(), ip("10.0.0.2"));
    let (reply, ..) = home.notes.answer_to(id).expect("a reply");
    assert!(home.as_it_came(home.alice, reply).is_some());
    assert_eq!(home.world.mappings(home.gateway), []);
}

#[test]
fn what_may_not_leave_is_answered_as_prohibited_where_the_box_answers_at_all() {
    for (icmp_originate, answered) in [(Switch::On, true), (Switch::Off, false)] {
        let outbound = Outbound { udp: Reach::Nothing, ..Behavior::default().outbound };
        let mut home = flat(Behavior { outbound, icmp_originate, ..Behavior::default() }, false);
        let id = home.send(home.alice, datagram("10.0.0.2:5000", "198.18.0.9:9"));
        let [(_, Outcome::Refused(refusal))] = home.notes.outcomes(id)[..] else { panic!("it was to be refused") };
        assert_eq!(refusal.reason, DropReason::OutboundBlocked);
        let answer = home.notes.answer_to(id).filter(|(error, ..)| home.as_it_came(home.alice, *error).is_some());
        assert_eq!(answer.is_some(), answered);
        if let Some((.., packet)) = answer {
            assert_eq!(packet.transport(), Transport::IcmpError(IcmpError::AdminProhibited));
            assert_eq!(packet.source(), ip("10.0.0.1"));
        }
    }
}

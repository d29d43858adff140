//! What is done to a world while it runs.

use std::time::Duration;

use natbox_host::{Host as _, UdpSocket as _};
use natbox_wire::{DropReason, Time};
use natbox_world::note::{LinkFate, Outcome};
use natbox_world::{InterfaceAddress, LinkConfig, World};

use crate::support::*;

#[test]
fn a_cut_link_takes_nothing_and_what_is_under_way_arrives() {
    let mut home = home(1, Links { server: link(10), ..Links::default() }, open_behavior());
    let under_way = home.world.inject(home.server_interface, ping("198.18.0.9", "198.18.0.1", 64));
    home.world.cut(home.server_interface);
    let refused = home.send(home.server_interface, ping("198.18.0.9", "198.18.0.1", 64));
    assert_eq!(home.notes.way(under_way), [(ms(10), home.core, Outcome::Delivered)]);
    assert_eq!(home.notes.fates(refused), [LinkFate::Dropped(DropReason::LinkCut)]);
    let (reply, ..) = home.notes.answer_to(under_way).expect("a reply");
    assert_eq!(home.notes.fates(reply), [LinkFate::Dropped(DropReason::LinkCut)], "from the other end too");

    home.world.mend(home.server_interface);
    let id = home.send(home.server_interface, ping("198.18.0.9", "198.18.0.1", 64));
    assert_eq!(home.notes.outcomes(id), [(home.core, Outcome::Delivered)]);
    let told: Vec<_> = home.notes.all().into_iter().filter(|seen| matches!(seen, Seen::Other(..))).collect();
    assert_eq!(told.len(), 2, "cut and mended: {told:?}");
}

#[test]
fn a_reboot_forgets_the_mappings_and_says_so() {
    let mut home = home(1, Links::default(), open_behavior());
    home.send(home.alice_interface, udp("10.0.0.2:5000", "198.18.0.9:9", Default::default(), 4));
    let external = home.world.mappings(home.home)[0].external.to_string();
    home.world.reboot(home.home).expect("a gateway");
    assert_eq!(home.world.mappings(home.home), []);
    let id = home.send(home.server_interface, udp("198.18.0.9:9", &external, Default::default(), 4));
    assert!(
        matches!(home.notes.outcomes(id)[1].1, Outcome::Refused(refusal) if refusal.reason == DropReason::NoMapping)
    );
    let told: Vec<String> = home
        .notes
        .all()
        .into_iter()
        .filter_map(|seen| match seen {
            Seen::Other(_, _, told) => Some(told),
            _ => None,
        })
        .collect();
    assert!(told[0].starts_with("MappingEnded") && told[0].contains("Rebooted"), "{told:?}");
    assert_eq!(told[1], "Rebooted");
}

#[test]
fn only_a_gateway_reboots_or_is_readdressed() {
    let mut home = home(1, Links::default(), open_behavior());
    let error = home.world.reboot(home.alice).expect_err("alice is a host");
    assert_eq!(error.to_string(), "expected a gateway, but \"alice\" is not one: name a NAT");
    assert!(home.world.readdress(home.core, &[ip("198.18.0.5")]).is_err());
}

#[test]
fn a_readdressed_gateway_is_reached_at_the_new_address_only() {
    let mut home = home(1, Links::default(), open_behavior());
    home.send(home.alice_interface, udp("10.0.0.2:5000", "198.18.0.9:9", Default::default(), 4));
    let old = home.world.mappings(home.home)[0].external.to_string();
    home.world.readdress(home.home, &[ip("198.18.0.5")]).expect("a gateway");
    assert_eq!(home.world.mappings(home.home), []);
    let id = home.send(home.server_interface, udp("198.18.0.9:9", &old, Default::default(), 4));
    assert_eq!(home.notes.outcomes(id), [(home.core, Outcome::Dropped(DropReason::NoRoute))]);
    home.send(home.alice_interface, udp("10.0.0.2:5000", "198.18.0.9:9", Default::default(), 4));
    let new = home.world.mappings(home.home)[0].external;
    assert_eq!(new.ip(), ip("198.18.0.5"));
    let id = home.send(home.server_interface, udp("198.18.0.9:9", &new.to_string(), Default::default(), 4));
    assert_eq!(home.notes.outcomes(id).last().expect("a way").0, home.alice);
}

#[test]
fn the_version_that_is_not_readdressed_stays_as_it_is() {
    let mut home = home(1, Links::default(), open_behavior());
    home.world.readdress(home.home, &[ip("198.18.0.5")]).expect("a gateway");
    let addresses = home.world.addresses_of(home.home_outside);
    let addresses: Vec<_> = addresses.into_iter().map(|own| (own.address, own.prefix_len)).collect();
    assert_eq!(addresses, [(ip("198.18.0.5"), 15), (ip("2001:db8::2"), 64)]);
}

#[test]
fn a_mapping_ends_in_its_own_moment_and_is_told_then() {
    let mut home = home(1, Links::default(), open_behavior());
    home.send(home.alice_interface, udp("10.0.0.2:5000", "198.18.0.9:9", Default::default(), 4));
    home.world.run_for(Duration::from_secs(600)).expect("no storm");
    let ended: Vec<Time> = home
        .notes
        .all()
        .into_iter()
        .filter_map(|seen| match seen {
            Seen::Other(at, _, told) if told.starts_with("MappingEnded") => Some(at),
            _ => None,
        })
        .collect();
    assert_eq!(ended, [Time::ZERO + Duration::from_secs(300)]);
}

#[test]
fn a_host_that_goes_to_another_network_is_there_and_no_longer_here() {
    let mut home = home(1, Links::default(), open_behavior());
    let alice = home.host("alice");
    let (old, server) = (endpoint("10.0.0.2:5000"), endpoint("198.18.0.9:9"));
    let socket = home.world.run_until(alice.udp_bind(old)).expect("goes on").expect("bound");
    let there = InterfaceAddress { address: ip("198.18.0.7"), prefix_len: 32 };
    let internet = home.internet;
    home.world.reattach(&alice, 0, internet, vec![there]);
    assert_eq!(alice.addresses(), [ip("198.18.0.7")]);
    assert_eq!(alice.source_for(server.ip()).expect("a way"), ip("198.18.0.7"));
    let sent = home.world.run_until(socket.send_to(b"hello", server)).expect("goes on");
    assert_eq!(sent.expect_err("the address is elsewhere").kind(), std::io::ErrorKind::InvalidInput);

    let echo = home.send(home.server_interface, ping("198.18.0.9", "198.18.0.7", 64));
    assert!(home.notes.outcomes(echo).contains(&(home.alice, Outcome::Delivered)), "{:?}", home.notes.outcomes(echo));
    let before = home.send(home.server_interface, ping("198.18.0.9", "10.0.0.2", 64));
    assert!(!home.notes.outcomes(before).iter().any(|(node, _)| *node == home.alice));
    // An uplink that there is not, a node that is no host: nothing happens.
    home.world.reattach(&alice, 7, internet, vec![there]);
    home.world.prefer(&alice, 7);
    assert_eq!(alice.addresses(), [ip("198.18.0.7")]);
}

#[test]
fn a_host_with_two_uplinks_leaves_by_the_preferred_one() {
    let mut world = World::new(1);
    let internet = world.internet("internet", &[ip("198.18.0.1")]);
    let uplinks = ["198.18.0.7/32", "198.18.0.8/32"];
    let uplinks = uplinks.map(|address| attachment(internet, address, &[address], LinkConfig::default()));
    let host = world.host("alice", uplinks.into());
    let source = || host.source_for(ip("198.18.0.9")).expect("a way").to_string();
    assert_eq!(source(), "198.18.0.7");
    world.prefer(&host, 1);
    assert_eq!(source(), "198.18.0.8");
    world.prefer(&host, 9);
    assert_eq!(source(), "198.18.0.8", "there is no such uplink");
}

#[test]
fn a_link_that_becomes_another_lets_what_is_under_way_arrive_as_it_would_have() {
    let mut home = home(1, Links { server: link(10), ..Links::default() }, open_behavior());
    let under_way = home.world.inject(home.server_interface, ping("198.18.0.9", "198.18.0.1", 64));
    let before = home.world.link_of(home.server_interface);
    assert_eq!(before.latency, Duration::from_millis(10));
    let after = LinkConfig { latency: Duration::from_millis(30), mtu_bytes: 900, ..before };
    home.world.relink(home.server_interface, after);
    let kept = home.world.link_of(home.server_interface);
    assert_eq!((kept.latency, kept.mtu_bytes), (Duration::from_millis(30), 1500), "an MTU stays");
    let later = home.send(home.server_interface, ping("198.18.0.9", "198.18.0.1", 64));
    assert_eq!(home.notes.way(under_way), [(ms(10), home.core, Outcome::Delivered)]);
    assert_eq!(home.notes.way(later), [(ms(30), home.core, Outcome::Delivered)]);
    // A link that did nothing until now has dice when it needs some.
    home.world.relink(home.alice_interface, LinkConfig { loss: 1.0, ..LinkConfig::default() });
    let lost = home.send(home.alice_interface, ping("10.0.0.2", "10.0.0.1", 64));
    assert_eq!(home.notes.fates(lost), [LinkFate::Dropped(DropReason::Loss)]);
}

#[test]
fn a_nat_that_behaves_otherwise_keeps_its_mappings_and_wakes_when_they_end() {
    let mut home = home(1, Links::default(), open_behavior());
    home.send(home.alice_interface, udp("10.0.0.2:5000", "198.18.0.9:9", Default::default(), 4));
    let mapping = home.world.mappings(home.home)[0];
    let mut behavior = natbox_nat::Behavior::clone(&open_behavior());
    behavior.timeouts.absolute = Some(Duration::from_secs(7));
    home.world.reconfigure(home.home, behavior.clone().into()).expect("it can be changed");
    assert_eq!(*home.world.behavior_of(home.home).expect("a NAT"), behavior);
    assert_eq!(home.world.mappings(home.home), [mapping]);
    home.world.run_for(Duration::from_secs(8)).expect("it runs");
    let told: Vec<(Time, String)> = home
        .notes
        .all()
        .into_iter()
        .filter_map(|seen| match seen {
            Seen::Other(at, _, told) => Some((at, told)),
            _ => None,
        })
        .collect();
    assert!(told[0].1.starts_with("Reconfigured"), "{told:?}");
    assert!(told[1].1.starts_with("MappingEnded") && told[1].0 == mapping.created + Duration::from_secs(7), "{told:?}");

    behavior.ipv6 = natbox_nat::behavior::Ipv6::Napt;
    let refused = home.world.reconfigure(home.home, behavior.into()).expect_err("what is translated stays");
    assert_eq!(refused.to_string(), "ipv6 cannot change while a NAT runs: that is what its mappings are");
    assert!(home.world.reconfigure(home.alice, open_behavior()).is_err());
    assert_eq!(home.world.behavior_of(home.alice), None);
}

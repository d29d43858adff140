//! Packets that do not fit.

use natbox_wire::build::IpFields;
use natbox_wire::{DropReason, IcmpError, Transport};
use natbox_world::LinkConfig;
use natbox_world::note::Outcome;

use crate::support::*;

fn narrow(mtu_bytes: usize) -> LinkConfig {
    LinkConfig { mtu_bytes, ..LinkConfig::default() }
}

const WHOLE: IpFields = IpFields { ttl: 64, dont_fragment: true, identification: 1 };
const FRAGMENTABLE: IpFields = IpFields { ttl: 64, dont_fragment: false, identification: 1 };

#[test]
fn the_core_tells_the_mtu_of_the_next_link() {
    let mut home = home(1, Links { server: narrow(600), ..Links::default() }, open_behavior());
    let id = home.send(home.home_outside, udp("198.18.0.2:1", "198.18.0.9:9", WHOLE, 573));
    assert_eq!(home.notes.outcomes(id), [(home.core, Outcome::Dropped(DropReason::TooBig))]);
    let (_, _, packet) = home.notes.answer_to(id).expect("an error");
    assert_eq!(packet.transport(), Transport::IcmpError(IcmpError::PacketTooBig { mtu: 600 }));
    let id = home.send(home.home_outside, udp("198.18.0.2:1", "198.18.0.9:9", WHOLE, 572));
    assert_eq!(home.notes.outcomes(id)[1].0, home.server, "600 bytes fit");
}

#[test]
fn the_core_fragments_ipv4_that_may_be_and_the_host_puts_it_together() {
    let mut home = home(1, Links { server: narrow(600), ..Links::default() }, open_behavior());
    let id = home.send(home.home_outside, udp("198.18.0.2:1", "198.18.0.9:9", FRAGMENTABLE, 1400));
    let outcomes: Vec<Outcome> = home.notes.outcomes(id).into_iter().map(|(_, outcome)| outcome).collect();
    let closed = Outcome::Dropped(DropReason::PortUnreachable);
    assert_eq!(outcomes, [Outcome::Routed, Outcome::Held, Outcome::Held, closed], "three fragments, one number");
    let (_, _, packet) = home.notes.answer_to(id).expect("an error about the whole");
    assert_eq!(packet.transport(), Transport::IcmpError(IcmpError::PortUnreachable));
}

#[test]
fn ipv6_is_never_fragmented_on_the_way() {
    let mut home = home(1, Links { server: narrow(1280), ..Links::default() }, open_behavior());
    let id = home.send(home.home_outside, udp("[2001:db8::2]:1", "[2001:db8::9]:9", FRAGMENTABLE, 1300));
    assert_eq!(home.notes.outcomes(id), [(home.core, Outcome::Dropped(DropReason::TooBig))]);
    let (_, _, packet) = home.notes.answer_to(id).expect("an error");
    assert_eq!(packet.transport(), Transport::IcmpError(IcmpError::PacketTooBig { mtu: 1280 }));
}

#[test]
fn a_gateway_tells_the_mtu_of_its_outside_link_from_inside_and_makes_no_mapping() {
    let mut home = home(1, Links { home: narrow(1400), ..Links::default() }, open_behavior());
    let id = home.send(home.alice_interface, udp("10.0.0.2:1", "198.18.0.9:9", WHOLE, 1400));
    assert_eq!(home.notes.outcomes(id), [(home.home, Outcome::Dropped(DropReason::TooBig))]);
    let (_, _, packet) = home.notes.answer_to(id).expect("an error");
    assert_eq!(packet.source(), ip("10.0.0.1"));
    assert_eq!(packet.transport(), Transport::IcmpError(IcmpError::PacketTooBig { mtu: 1400 }));
    assert_eq!(home.world.mappings(home.home), []);
}

#[test]
fn a_gateway_tells_the_mtu_of_its_host_from_outside_about_the_external_endpoint() {
    let mut home = home(1, Links { alice: narrow(800), ..Links::default() }, open_behavior());
    home.send(home.alice_interface, udp("10.0.0.2:5000", "198.18.0.9:9", WHOLE, 4));
    let external = home.world.mappings(home.home)[0].external;
    let id = home.send(home.server_interface, udp("198.18.0.9:9", &external.to_string(), WHOLE, 1000));
    assert_eq!(home.notes.outcomes(id)[1], (home.home, Outcome::Dropped(DropReason::TooBig)));
    let (_, _, packet) = home.notes.answer_to(id).expect("an error");
    assert_eq!(packet.transport(), Transport::IcmpError(IcmpError::PacketTooBig { mtu: 800 }));
    assert_eq!(packet.quoted().expect("a quote").destination, external);
}

#[test]
fn a_node_does_not_send_what_its_own_link_cannot_carry() {
    let mut home = home(1, Links { server: narrow(600), ..Links::default() }, open_behavior());
    let id = home.send(home.server_interface, udp("198.18.0.9:9", "198.18.0.2:1", WHOLE, 600));
    assert_eq!(home.notes.drops_of(id), [(home.server, DropReason::TooBig)]);
    assert_eq!(home.notes.fates(id), []);
}

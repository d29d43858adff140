//! What links do to packets, seen in the notes.

use natbox_wire::DropReason;
use natbox_world::note::{LinkFate, Outcome};
use natbox_world::{LinkConfig, World};

use crate::support::*;

#[test]
fn latencies_add_up_along_the_way() {
    let links = Links { alice: link(1), home: link(10), server: link(5) };
    let mut home = home(1, links, open_behavior());
    let id = home.send(home.alice_interface, ping("10.0.0.2", "198.18.0.9", 64));
    let way: Vec<_> = home.notes.way(id).into_iter().map(|(at, node, _)| (at, node)).collect();
    assert_eq!(way, [(ms(1), home.home), (ms(11), home.core), (ms(16), home.server)]);
    let (reply, sender, _) = home.notes.answer_to(id).expect("an echo reply");
    assert_eq!(sender, home.server);
    let way: Vec<_> = home.notes.way(reply).into_iter().map(|(at, node, _)| (at, node)).collect();
    assert_eq!(way, [(ms(21), home.core), (ms(31), home.home), (ms(32), home.alice)]);
}

#[test]
fn both_links_of_two_neighbours_delay() {
    let mut world = World::new(1);
    let notes = Notes::default();
    world.observe(Box::new(notes.clone()));
    let lan = world.lan("lan");
    let a = world.host("a", vec![attachment(lan, "a", &["10.0.0.2/24"], link(3))]).node();
    let b = world.host("b", vec![attachment(lan, "b", &["10.0.0.3/24"], link(4))]).node();
    let from = world.interfaces_of(a).next().expect("an interface");
    let id = world.inject(from, ping("10.0.0.2", "10.0.0.3", 1));
    world.run_for(MS * 100).expect("no storm");
    assert_eq!(notes.way(id), [(ms(7), b, Outcome::Delivered)], "a switch takes nothing from the TTL");
    assert_eq!(notes.fates(id), [LinkFate::Carried { arrives: ms(3) }], "its sender's link ends at the switch");
}

#[test]
fn a_loss_behind_the_switch_is_told_at_the_receiver() {
    let mut world = World::new(1);
    let notes = Notes::default();
    world.observe(Box::new(notes.clone()));
    let lan = world.lan("lan");
    let a = world.host("a", vec![attachment(lan, "a", &["10.0.0.2/24"], link(3))]).node();
    let lossy = LinkConfig { loss: 1.0, ..LinkConfig::default() };
    let b = world.host("b", vec![attachment(lan, "b", &["10.0.0.3/24"], lossy)]).node();
    let from = world.interfaces_of(a).next().expect("an interface");
    let id = world.inject(from, ping("10.0.0.2", "10.0.0.3", 1));
    world.run_for(MS * 100).expect("no storm");
    assert_eq!(notes.drops_of(id), [(b, DropReason::Loss)]);
    assert_eq!(notes.way(id), []);
}

#[test]
fn a_duplicated_packet_comes_twice_under_one_number() {
    let server = LinkConfig { duplicate: 1.0, ..link(5) };
    let mut home = home(1, Links { server, ..Links::default() }, open_behavior());
    let id = home.send(home.server_interface, ping("198.18.0.9", "198.18.0.1", 64));
    assert_eq!(home.notes.outcomes(id), [(home.core, Outcome::Delivered), (home.core, Outcome::Delivered)]);
    assert_eq!(home.notes.fates(id), [LinkFate::Duplicated { arrives: ms(5), again: ms(5) }]);
}

#[test]
fn a_full_queue_and_a_lossy_link_say_so_in_the_fate() {
    let narrow = LinkConfig { rate_bits_per_second: Some(8_000), queue_packets: 1, ..LinkConfig::default() };
    let mut home = home(1, Links { server: narrow, ..Links::default() }, open_behavior());
    let ids: Vec<_> = (0..3)
        .map(|_| home.world.inject(home.server_interface, udp("198.18.0.9:1", "198.18.0.1:2", Default::default(), 72)))
        .collect();
    assert_eq!(home.notes.fates(ids[0]), [LinkFate::Carried { arrives: ms(100) }]);
    assert_eq!(home.notes.fates(ids[1]), [LinkFate::Carried { arrives: ms(200) }]);
    assert_eq!(home.notes.fates(ids[2]), [LinkFate::Dropped(DropReason::QueueFull)]);
}

#[test]
fn multicast_and_broadcast_reach_all_the_others_on_the_local_network_and_no_further() {
    let mut home = home(1, Links::default(), open_behavior());
    for group in ["224.0.0.251:5353", "255.255.255.255:9", "10.0.0.255:9"] {
        let id = home.send(home.alice_interface, udp("10.0.0.2:5353", group, Default::default(), 4));
        let refused = Outcome::Dropped(DropReason::NotForThisHost);
        assert_eq!(home.notes.outcomes(id), [(home.home, refused)], "{group}");
    }
}

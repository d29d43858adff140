//! One seed, one course of events.

use std::time::Duration;

use natbox_world::{LinkConfig, Stalled, World};

use crate::support::*;

fn rough() -> Links {
    let rough = LinkConfig {
        jitter: MS * 5,
        loss: 0.2,
        duplicate: 0.2,
        reorder: 0.1,
        rate_bits_per_second: Some(1_000_000),
        ..link(10)
    };
    Links { alice: LinkConfig::default(), home: rough.clone(), server: rough }
}

/// All notes of twenty pings over rough links.
fn course(seed: u64) -> String {
    let mut home = home(seed, rough(), open_behavior());
    for _ in 0..20 {
        home.send(home.alice_interface, ping("10.0.0.2", "198.18.0.9", 64));
    }
    format!("{:?}", home.notes.all())
}

#[test]
fn two_worlds_of_one_seed_do_the_same_and_another_seed_does_not() {
    let first = course(7);
    assert_eq!(first, course(7));
    assert_ne!(first, course(8));
}

#[test]
fn adding_a_part_does_not_shift_another_parts_dice() {
    let fates = |extra: bool| {
        let mut home = home(7, rough(), open_behavior());
        if extra {
            let rough = LinkConfig { loss: 0.5, ..link(1) };
            let carol = home.world.host("carol", vec![attachment(home.internet, "carol", &["198.18.0.7/15"], rough)]);
            let carol = home.world.interfaces_of(carol.node()).next().expect("an interface");
            for _ in 0..10 {
                home.send(carol, ping("198.18.0.7", "198.18.0.1", 64));
            }
        }
        let start = home.world.now();
        for _ in 0..20 {
            home.send(home.server_interface, ping("198.18.0.9", "198.18.0.1", 64));
        }
        let sent = home.notes.all().into_iter().filter_map(|seen| match seen {
            Seen::Received { at, node, interface, .. } if interface == home.server_interface => {
                Some((at - start, node))
            }
            _ => None,
        });
        sent.collect::<Vec<_>>()
    };
    assert_eq!(fates(false), fates(true));
}

#[test]
fn an_observer_changes_nothing() {
    let run = |observed: bool| {
        let mut world = World::new(3);
        if observed {
            world.observe(Box::new(Notes::default()));
        }
        let internet = world.internet("internet", &[ip("198.18.0.1")]);
        let lan = world.lan("home");
        let outside = attachment(internet, "home:outside", &["198.18.0.2/15"], rough().home);
        let inside = attachment(lan, "home:inside", &["10.0.0.1/24"], LinkConfig::default());
        let home = world.gateway("home", outside, inside, open_behavior());
        world.host("server", vec![attachment(internet, "server", &["198.18.0.9/15"], rough().server)]);
        let alice = world.host("alice", vec![attachment(lan, "alice", &["10.0.0.2/24"], link(1))]).node();
        let alice = world.interfaces_of(alice).next().expect("an interface");
        for _ in 0..20 {
            world.inject(alice, ping("10.0.0.2", "198.18.0.9", 64));
            world.inject(alice, udp("10.0.0.2:1", "198.18.0.9:9", Default::default(), 4));
            world.run_for(Duration::from_secs(31)).expect("no storm");
        }
        let stalled = world.run_until(std::future::pending::<()>());
        (world.statistics(), world.mappings(home), stalled, world.now())
    };
    assert_eq!(run(true), run(false));
}

#[test]
fn a_wait_for_nothing_is_an_error_at_the_last_event() {
    let mut home = home(1, Links { server: link(5), ..Links::default() }, open_behavior());
    home.world.inject(home.server_interface, ping("198.18.0.9", "198.18.0.1", 64));
    let stalled = home.world.run_until(std::future::pending::<()>());
    assert_eq!(stalled, Err(Stalled::Idle { at: ms(10) }));
}

#[test]
fn a_storm_ends_with_an_error() {
    let mut home = home(1, Links::default(), open_behavior());
    home.world.limit_events(3);
    home.world.inject(home.alice_interface, ping("10.0.0.2", "198.18.0.9", 64));
    let stalled = home.world.run_until(std::future::pending::<()>());
    assert_eq!(stalled, Err(Stalled::TooManyEvents { at: ms(0), limit: 3 }));
    assert!(home.world.run_for(MS).is_err_and(|stalled| stalled.to_string().contains("after 3 events")));
}

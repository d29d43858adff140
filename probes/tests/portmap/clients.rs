//! Hosts that keep their mappings: renewals, reboots, boxes that do not do what they say, and a NAT behind another.

use std::sync::Arc;

use natbox_nat::behavior::Filtering;
use natbox_probes::portmap::keep::{self, Event, Kept};
use natbox_probes::portmap::server::{self, Config, Faults};
use natbox_probes::portmap::{Control, Failure, Method};
use natbox_world::World;

use crate::support::*;

const ALL: [(Control, Method); 4] = [
    (Control::NatPmp, Method::NatPmp),
    (Control::Pcp, Method::Pcp),
    (Control::Igd1, Method::Upnp),
    (Control::Igd2, Method::Upnp),
];

fn kept(home: &mut Home, method: Method) -> Kept {
    let alice = home.alice.clone();
    home.run(keep::keep(&alice, method, wish(5000), *b"twelve bytes", PATIENCE)).expect("granted")
}

#[test]
fn a_host_is_reachable_for_as_long_as_it_wants_by_every_protocol() {
    for (control, method) in ALL {
        let mut home = home(&[control]);
        let alice = home.alice.clone();
        let kept = kept(&mut home, method);
        let external = kept.granted().expect("granted").external;
        assert_eq!(external.ip(), ip("198.18.0.2"));
        for hour in 1..=6 {
            home.wait(seconds(3600));
            assert!(home.reaches(external, &alice, 5000), "{method}, hour {hour}");
        }
        let renewed = kept.events().iter().filter(|(_, event)| *event == Event::Renewed).count();
        assert!((4..=6).contains(&renewed), "{method}: {:?}", kept.events());
        kept.stop();
        home.wait(seconds(3 * 7200));
        assert_eq!(home.mappings(), [], "{method}");
    }
}

#[test]
fn a_reboot_is_noticed_by_the_announcement_and_the_port_is_mapped_again_within_seconds() {
    for (control, method) in &ALL[..2] {
        let mut home = home(&[*control]);
        let (alice, node) = (home.alice.clone(), home.node);
        let kept = kept(&mut home, *method);
        let external = kept.granted().expect("granted").external;
        home.wait(seconds(100));
        home.world.reboot(node).expect("a gateway");
        assert_eq!(home.mappings(), []);
        home.wait(seconds(6));
        assert!(kept.events().iter().any(|(_, event)| *event == Event::Lost), "{method}: {:?}", kept.events());
        assert!(home.reaches(external, &alice, 5000), "{method}");
    }
}

#[test]
fn without_an_announcement_a_loss_lasts_until_the_next_renewal() {
    let mut home = home(&[Control::Igd1]);
    let node = home.node;
    let kept = kept(&mut home, Method::Upnp);
    home.wait(seconds(100));
    home.world.reboot(node).expect("a gateway");
    home.wait(seconds(3000));
    assert_eq!(home.mappings(), []);
    home.wait(seconds(1500));
    assert_eq!(home.mappings().len(), 1);
    assert_eq!(kept.events().len(), 2);
}

#[test]
fn another_external_address_is_learned_at_the_next_renewal() {
    let mut home = home(&[Control::NatPmp]);
    let (alice, node) = (home.alice.clone(), home.node);
    let kept = kept(&mut home, Method::NatPmp);
    home.world.readdress(node, &[ip("198.18.0.77")]).expect("a gateway");
    home.wait(seconds(4600));
    let external = kept.granted().expect("granted").external;
    assert_eq!(external.ip(), ip("198.18.0.77"));
    assert!(home.reaches(external, &alice, 5000));
}

#[test]
fn a_box_that_forgets_early_leaves_a_gap_and_one_whose_epoch_restarts_is_asked_again_and_again() {
    let faults = Faults { true_lifetime: Some(seconds(600)), ..Faults::default() };
    let mut home = home_with(symmetric(), Config { faults, ..Config::new([Control::Pcp]) });
    let alice = home.alice.clone();
    let mapped = kept(&mut home, Method::Pcp);
    let external = mapped.granted().expect("granted").external;
    home.wait(seconds(1000));
    assert!(!home.reaches(external, &alice, 5000));
    home.wait(seconds(3600));
    assert!(mapped.events().len() > 1);

    let faults = Faults { epoch_restarts: Some(seconds(1000)), ..Faults::default() };
    let mut home = home_with(symmetric(), Config { faults, ..Config::new([Control::NatPmp]) });
    let mapped = kept(&mut home, Method::NatPmp);
    home.wait(seconds(20_000));
    let lost = mapped.events().iter().filter(|(_, event)| *event == Event::Lost).count();
    assert!(lost >= 3, "{:?}", mapped.events());
}

#[test]
fn a_conflict_at_a_renewal_is_told_and_tried_again() {
    for (control, method) in ALL {
        let faults = Faults { refuses_renewal: true, ..Faults::default() };
        let mut home = home_with(symmetric(), Config { faults, ..Config::new([control]) });
        let mapped = kept(&mut home, method);
        home.wait(seconds(5000));
        let refused = |event: &Event| matches!(event, Event::Failed(Failure::Refused { .. }));
        assert!(mapped.events().iter().any(|(_, event)| refused(event)), "{method}: {:?}", mapped.events());
    }
}

#[test]
fn behind_two_nats_the_inner_ones_mapping_is_on_a_private_address_and_nobody_outside_reaches_it() {
    let mut world = World::new(7);
    let internet = world.internet("internet", &[ip("198.18.0.1")]);
    let (carrier_lan, home_lan) = (world.lan("carrier"), world.lan("home"));
    let strict = Arc::new(symmetric());
    let carrier_outside = attachment(internet, "carrier:outside", "198.18.0.2", 15);
    world.gateway(
        "carrier",
        carrier_outside,
        attachment(carrier_lan, "carrier:inside", "100.64.0.1", 24),
        strict.clone(),
    );
    let outside = attachment(carrier_lan, "home:outside", "100.64.0.2", 24);
    let node = world.gateway("home", outside, attachment(home_lan, "home:inside", "10.0.0.1", 24), strict);
    let alice = world.host("alice", vec![attachment(home_lan, "alice", "10.0.0.2", 24)]);
    let bob = world.host("bob", vec![attachment(home_lan, "bob", "10.0.0.3", 24)]);
    let server = world.host("server", vec![attachment(internet, "server", "198.18.0.9", 15)]);
    let gateway = world.gateway_machine(node).expect("a gateway");
    let (machine, control) = (gateway.host(), gateway.clone());
    let config = Config::new([Control::NatPmp, Control::Pcp, Control::Igd2]);
    world.spawn(async move { drop(server::serve(machine, control, config).await) });
    let mut home = Home { world, node, gateway, alice, bob, server };
    for method in [Method::NatPmp, Method::Pcp, Method::Upnp] {
        let (alice, port) = (home.alice.clone(), 5000 + method as u16);
        let granted = home.run(keep::ask(&alice, method, &wish(port), PATIENCE)).expect("granted");
        assert_eq!(granted.external.ip(), ip("100.64.0.2"), "{method}");
        assert!(!home.reaches(granted.external, &alice, port), "{method}");
    }
    assert_eq!(home.mappings().len(), 3);
}

#[test]
fn a_host_without_port_control_is_told_so_at_once_by_udp_and_after_a_search_by_upnp() {
    let mut home = home_with(
        natbox_nat::Behavior { filtering: Filtering::AddressDependent.into(), ..symmetric() },
        Config::new([]),
    );
    let alice = home.alice.clone();
    for method in [Method::NatPmp, Method::Pcp] {
        let began = home.world.now();
        let failure = home.run(keep::ask(&alice, method, &wish(5000), PATIENCE)).expect_err("nobody is there");
        assert!(failure.to_string().contains("refused"), "{failure}");
        assert_eq!(home.world.now(), began);
    }
    let failure = home.run(keep::ask(&alice, Method::Upnp, &wish(5000), seconds(6))).expect_err("nobody is there");
    assert!(matches!(failure, Failure::Probe(natbox_probes::ProbeError::Silence { .. })), "{failure}");
    let server = home.server.clone();
    let internal = keep::internal(&server, 5000, false).expect("a router");
    assert_eq!(internal, at("198.18.0.9:5000"));
}

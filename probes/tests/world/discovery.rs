//! Discovery on fresh sockets reports exactly what was configured.

use std::net::SocketAddr;
use std::time::Duration;

use natbox_host::Host;
use natbox_nat::Behavior;
use natbox_nat::behavior::{
    Filtering, GenericAlg, Hairpin, Ipv6, Mapping, PortAllocation, Ports, Refresh, Timeouts, TranslationKind,
};
use natbox_probes::discovery::{self, Classic, Finding, LifetimeSearch, Options, discover};
use natbox_probes::stun::client::{Binding, BindingRequest, Client, Retransmission};
use natbox_wire::Word;

use crate::lab::{Lab, behavior, endpoint, link, preset};

fn find(behavior: Behavior, options: &Options) -> Finding {
    let mut lab = Lab::new(1);
    let server = lab.stun();
    let translated = behavior.translation == TranslationKind::Napt;
    let home = lab.home("home", "198.18.0.2", behavior);
    if !translated {
        lab.route("10.0.0.0/24", home);
    }
    let alice = lab.inside(home, "alice", "10.0.0.2");
    lab.run(discover(&alice, server, options)).expect("a finding")
}

#[test]
fn all_nine_combinations_are_reported_exactly() {
    for mapping in &Mapping::ALL[..3] {
        for filtering in &Filtering::ALL[..3] {
            let found = find(behavior(*mapping, *filtering), &Options::default());
            assert_eq!(
                (found.mapping.as_str(), found.filtering.as_str()),
                (mapping.as_str(), filtering.as_str()),
                "found {found:?}"
            );
            assert_eq!(found.mapped.map(|mapped| mapped.ip()), Some("198.18.0.2".parse().unwrap()));
            assert!(!found.payload_rewritten);
        }
    }
}

#[test]
fn the_presets_of_rfc_3489_are_called_by_their_names() {
    for (name, expected) in [
        ("full-cone", Classic::FullCone),
        ("restricted-cone", Classic::RestrictedCone),
        ("port-restricted-cone", Classic::PortRestrictedCone),
        ("symmetric", Classic::Symmetric),
        ("symmetric-udp-firewall", Classic::SymmetricUdpFirewall),
        ("none", Classic::Open),
    ] {
        assert_eq!(find(preset(name), &Options::default()).classic, expected, "{name}");
    }
}

#[test]
fn without_translation_the_filter_is_told_from_none_at_all() {
    let found = find(preset("none"), &Options::default());
    assert_eq!((found.mapping, found.filtering), (discovery::Mapping::None, discovery::Filtering::Off));
    assert_eq!(found.mapped, Some(found.local));
    let open_firewall =
        Behavior { filtering: Filtering::EndpointIndependent.into(), ..preset("symmetric-udp-firewall") };
    let found = find(open_firewall, &Options::default());
    assert_eq!((found.mapping, found.filtering), (discovery::Mapping::None, discovery::Filtering::EndpointIndependent));
    let found = find(preset("symmetric-udp-firewall"), &Options::default());
    assert_eq!(found.filtering, discovery::Filtering::AddressAndPortDependent);
}

/// What a STUN server's answer says through a box with this rewriter of payloads.
fn binding_through(generic: GenericAlg) -> (Binding, SocketAddr) {
    let mut lab = Lab::new(1);
    let server = lab.stun();
    let mut rewriting = behavior(Mapping::EndpointIndependent, Filtering::EndpointIndependent);
    rewriting.alg.generic = generic;
    let home = lab.home("home", "198.18.0.2", rewriting);
    let alice = lab.inside(home, "alice", "10.0.0.2");
    let binding = lab.run(async {
        let socket = alice.udp_bind(endpoint("10.0.0.2:5000")).await.expect("a socket");
        let mut client = Client::new(&alice, Retransmission::default());
        client.binding(&socket, server, BindingRequest::default()).await.expect("an answer")
    });
    (binding, lab.world.mappings(home.gateway)[0].external)
}

#[test]
fn rfc8489_a_box_that_rewrites_payloads_breaks_mapped_address_and_not_xor_mapped_address() {
    let (binding, external) = binding_through(GenericAlg::RewriteBinary);
    assert_eq!(binding.mapped, external);
    // The box put the internal address back, as it does with whatever looks like the external one; not the port.
    assert_eq!(binding.mapped_plain, Some(SocketAddr::new("10.0.0.2".parse().unwrap(), external.port())));
    for harmless in [GenericAlg::Off, GenericAlg::RewriteText] {
        let (binding, external) = binding_through(harmless);
        assert_eq!((binding.mapped, binding.mapped_plain), (external, Some(external)), "{harmless}");
    }
}

#[test]
fn discovery_notices_that_payloads_are_rewritten() {
    let mut rewriting = behavior(Mapping::EndpointIndependent, Filtering::AddressDependent);
    rewriting.alg.generic = GenericAlg::RewriteBinary;
    let found = find(rewriting, &Options::default());
    assert!(found.payload_rewritten);
    assert_eq!(found.mapped.map(|mapped| mapped.ip()), Some("198.18.0.2".parse().unwrap()));
}

#[test]
fn a_server_that_never_answers_is_reported_as_blocked() {
    let mut lab = Lab::new(1);
    let alice = lab.public("alice", &["198.18.0.5"]);
    lab.public("silent", &["198.18.0.9"]);
    let found = lab.run(discover(&alice, endpoint("198.18.0.99:3478"), &Options::default())).expect("a finding");
    assert_eq!((found.classic, found.mapped, found.mapping), (Classic::Blocked, None, discovery::Mapping::Unknown));
}

#[test]
fn a_server_with_one_address_leaves_the_classes_unknown() {
    let mut lab = Lab::new(1);
    let server = lab.stun_with(None);
    let home = lab.home("home", "198.18.0.2", behavior(Mapping::EndpointIndependent, Filtering::AddressDependent));
    let alice = lab.inside(home, "alice", "10.0.0.2");
    let found = lab.run(discover(&alice, server, &Options::default())).expect("a finding");
    assert_eq!((found.mapping, found.filtering), (discovery::Mapping::Unknown, discovery::Filtering::Unknown));
    assert_eq!(found.classic, Classic::Unknown);
    assert!(found.mapped.is_some());
}

#[test]
fn silence_from_a_nat_without_a_free_port_is_not_taken_for_a_filter() {
    let one_port = Ports { allocation: PortAllocation::Random, range: (5000..=5000).into(), ..Ports::default() };
    let found = find(Behavior { ports: one_port, ..preset("full-cone") }, &Options::default());
    assert_eq!(found.mapping, discovery::Mapping::EndpointIndependent);
    assert_eq!((found.filtering, found.classic), (discovery::Filtering::Unknown, Classic::Unknown));
}

#[test]
fn hairpinning_is_reported_with_its_source() {
    for (hairpin, expected) in [
        (Hairpin::ExternalSource, discovery::Hairpin::ExternalSource),
        (Hairpin::InternalSource, discovery::Hairpin::InternalSource),
        (Hairpin::Off, discovery::Hairpin::Off),
    ] {
        for filtering in &Filtering::ALL[..3] {
            let behavior = Behavior { hairpin: hairpin.into(), ..behavior(Mapping::EndpointIndependent, *filtering) };
            let found = find(behavior, &Options::default());
            assert_eq!(found.hairpin, expected, "{hairpin} with {filtering} filtering");
        }
    }
}

#[test]
fn a_preserved_port_is_reported() {
    for (allocation, expected) in [(PortAllocation::Preserve, true), (PortAllocation::Random, false)] {
        let behavior = Behavior {
            ports: Ports { allocation, range: (1024..=65535).into(), ..Ports::default() },
            ..Behavior::default()
        };
        assert_eq!(find(behavior, &Options::default()).port_preserved, Some(expected));
    }
}

#[test]
fn the_mapping_lifetime_is_found_by_binary_search() {
    for (refresh, filtering) in [
        (Refresh::Outbound, Filtering::AddressAndPortDependent),
        (Refresh::Outbound, Filtering::EndpointIndependent),
        (Refresh::Both, Filtering::AddressDependent),
    ] {
        let timeouts = Timeouts { udp: Duration::from_secs(37), ..Behavior::default().timeouts };
        let behavior = Behavior { refresh, timeouts, ..behavior(Mapping::EndpointIndependent, filtering) };
        let precision = Duration::from_millis(100);
        let search = LifetimeSearch { shortest: Duration::from_secs(5), longest: Duration::from_secs(300), precision };
        let found = find(behavior, &Options { lifetime: Some(search), ..Options::default() });
        let lifetime = found.lifetime.expect("a lifetime");
        let expired_after = lifetime.expired_after.expect("an end");
        // Half the way to the server, 22 ms, lies between what the host sees and what the NAT counts.
        let slack = Duration::from_millis(50);
        assert!(lifetime.alive_after <= Duration::from_secs(37) + slack, "{lifetime:?}");
        assert!(expired_after + slack >= Duration::from_secs(37), "{lifetime:?}");
        assert!(expired_after - lifetime.alive_after <= precision, "{lifetime:?}");
    }
}

#[test]
fn a_lifetime_beyond_the_bounds_is_reported_as_such() {
    let second = Duration::from_secs(1);
    let search = LifetimeSearch { shortest: 60 * second, longest: 120 * second, precision: second };
    let options = Options { lifetime: Some(search), ..Options::default() };
    let with = |udp| Behavior { timeouts: Timeouts { udp, ..Behavior::default().timeouts }, ..Behavior::default() };
    let short = find(with(30 * second), &options).lifetime.expect("a lifetime");
    assert_eq!((short.alive_after, short.expired_after), (Duration::ZERO, Some(60 * second)));
    let long = find(with(300 * second), &options).lifetime.expect("a lifetime");
    assert_eq!((long.alive_after, long.expired_after), (120 * second, None));
}

#[test]
fn an_ipv6_firewall_is_told_from_a_translator() {
    for ipv6 in Ipv6::ALL {
        for filtering in &Filtering::ALL[..3] {
            let mut lab = Lab::new(1);
            let (server, _) = lab.servers_ipv6();
            let mapping = Mapping::AddressDependent;
            let home = lab.home_ipv6("home", 2, Behavior { ipv6: *ipv6, ..behavior(mapping, *filtering) });
            let alice = lab.inside(home, "alice", "2001:db8:2::2");
            let found = lab.run(discover(&alice, server, &Options::default())).expect("a finding");
            let expected = match ipv6 {
                Ipv6::Firewall => discovery::Mapping::None,
                Ipv6::Napt => discovery::Mapping::AddressDependent,
            };
            assert_eq!((found.mapping, found.filtering.as_str()), (expected, filtering.as_str()), "{ipv6}: {found:?}");
        }
    }
}

#[test]
fn two_discoveries_of_one_seed_find_the_same_and_take_the_same_time() {
    let run = || {
        let mut lab = Lab::new(7);
        let server = lab.stun();
        let home = lab.home_on(lab.internet, "home", ("198.18.0.2", 15), "10.0.0.1", Behavior::default(), link(17));
        let alice = lab.inside(home, "alice", "10.0.0.2");
        let found = lab.run(discover(&alice, server, &Options::default())).expect("a finding");
        (found, lab.world.now())
    };
    assert_eq!(run(), run());
}

//! What a topology comes to.

use std::net::IpAddr;
use std::time::Duration;

use natbox::nat::behavior::{Filtering, Mapping, PortAllocation};
use natbox::plan::{Action, Network, Plan, Uplink};

/// The example of the design.
pub(crate) const DESIGN: &str = r#"
name: two homes
seed: 7
internet: { prefix: 198.18.0.0/15, latency: 10ms }
nats:
  home-a: port-restricted-cone
  home-b:
    type: symmetric
    ports: { allocation: random, range: 32768-65535 }
    timeouts: { udp: 30s }
    link: { latency: 8ms, jitter: 2ms, loss: 0.5%, rate: 20mbit, mtu: 1492, queue: 100 }
  carrier: { type: cgn, addresses: 4 }
  flat:    { type: full-cone, behind: carrier }
hosts:
  alice: { behind: home-a }
  bob:   { behind: home-b }
  carol: { behind: [home-b, flat] }
  relay: { services: [stun, turn, rendezvous] }
scenario:
  - connect: { from: alice, to: bob, via: relay }
    expect: relayed
  - wait: 30s
  - reboot: home-a
"#;

/// Packet scripts, IPv6, and every other step.
pub(crate) const EVERYTHING: &str = r#"
internet: { prefix6: "2001:db8::/32" }
nats:
  home: { type: symmetric, inside: 192.168.1.0/24 }
  fire: { type: symmetric-udp-firewall }
  deep: { behind: home, ipv6: napt }
hosts:
  alice: { behind: home }
  dora:  { behind: deep, address: 10.0.2.77 }
  fred:  { behind: fire }
  server: { services: [stun, turn, rendezvous, echo], address: 198.18.0.99 }
  both: { behind: [home, fire] }
scenario:
  - send: { from: "alice:1234", to: "server:5678", as: p1, payload: "hé: \"quoted\"", ttl: 9 }
    expect: { delivered: server, from: "home:*" }
    name: the first packet
  - send: { from: "server:7777", to: p1.mapped }
    expect: { dropped: filtered, at: home, expires: 10s.. }
  - send: { from: "server:1", to: "[2001:db8::9]:9" }
    expect: { dropped: no-neighbour, at: internet, rejected: host-unreachable }
  - send: { from: "alice:1234", to: "server:5678", as: p2 }
    expect: { mapped: { different-from: p1, port: 5678, address: home } }
  - ping: { from: alice, to: server, count: 10, interval: 100ms, size: 100 }
    expect: { rtt: 40ms..45ms, loss: ..5% }
  - ping: { from: alice, to: 198.18.0.99 }
  - discover: { from: alice, lifetime: on }
    expect: { mapping: address-and-port-dependent, filtering: address-dependent, hairpin: off, classic: symmetric, lifetime: 299s..301s }
  - discover: fred
  - discover: { from: fred, family: ipv6 }
  - punch: { from: alice, to: fred, family: ipv6, peer_reflexive: off }
    expect: { path: punched, within: 2s }
  - connect: { from: alice, to: fred, allow: [local, direct, relayed], relay_first: on, family: ipv6 }
    expect: none
  - call: { from: alice, to: fred, for: 5s, rate: 64kbit, size: 160 }
    expect: { path: relayed, loss: 0%, delay: 20ms.. }
  - send: { from: "alice:80", to: "server:81", tcp: [syn, psh], seq: 7, ack: 8, window: 9, as: t1, checksum: wrong }
    expect: { after: 1s.., dropped: bad-transport-checksum, mapped: { class: same, parity: even } }
  - send: { from: "server:81", to: t1.mapped, tcp: syn, payload: data, size: 9, mss: 1400, window_scale: 7, dont_fragment: on }
    expect: { held: home }
  - send: { from: alice, to: server, icmp: echo, id: 77, as: e1 }
  - send: { from: "198.18.0.99", to: e1.mapped, icmp: echo-reply }
    expect: { delivered: alice, expires: { home: 60s, deep: ..60s } }
  - send: { from: server, icmp: { error: packet-too-big, about: e1, mtu: 1280 }, ttl: 3 }
    expect: { from: "server:*" }
  - send: { from: "alice:1", to: "[2001:db8::2]:2", size: 300, fragments: { mtu: 68, order: [2, 1] } }
    expect: { rejected: port-unreachable }
  - count: home
    expect: { mappings: 3, sessions: 4, dropped: 1, drops: { filtered: 1, no-mapping: 0 } }
  - count: deep
  - expire: t1
    expect: { after: 30s..31s }
  - expire: p1
  - readdress: home
  - readdress: { nat: home, address: [198.18.7.7] }
  - cut: { node: both, behind: fire }
  - mend: both
"#;

fn plan(text: &str) -> Plan {
    Plan::from_yaml("lab.yaml", text).unwrap_or_else(|mistakes| panic!("{mistakes}"))
}

fn ip(text: &str) -> IpAddr {
    text.parse().unwrap()
}

#[test]
fn the_design_example_gets_its_addresses_in_order_of_appearance() {
    let plan = plan(DESIGN);
    assert_eq!((plan.name.as_str(), plan.seed), ("two homes", 7));
    assert_eq!(plan.internet.router, [ip("198.18.0.1")]);
    assert_eq!(plan.nat("home-a").unwrap().outside.addresses, [ip("198.18.0.2")]);
    assert_eq!(plan.nat("home-b").unwrap().outside.addresses, [ip("198.18.0.3")]);
    let carrier: Vec<IpAddr> = (4..8).map(|last| ip(&format!("198.18.0.{last}"))).collect();
    assert_eq!(plan.nat("carrier").unwrap().outside.addresses, carrier);
    let flat = plan.nat("flat").unwrap();
    assert_eq!((flat.outside.network, flat.outside.addresses[0]), (Network::Behind(2), ip("10.0.2.2")));
    assert_eq!(plan.host("alice").unwrap().uplinks[0].addresses, [ip("10.0.0.2")]);
    let carol: Vec<IpAddr> = plan.host("carol").unwrap().addresses().collect();
    assert_eq!(carol, [ip("10.0.1.3"), ip("10.0.3.2")]);
    let relay = plan.host("relay").unwrap();
    assert_eq!(relay.uplinks[0].addresses, [ip("198.18.0.8"), ip("198.18.0.9")]);
    assert_eq!(plan.routes, []);
}

#[test]
fn presets_links_and_steps_are_resolved() {
    let plan = plan(DESIGN);
    let home = plan.nat("home-b").unwrap();
    assert_eq!(home.behavior.mapping, Mapping::AddressAndPortDependent.into());
    assert_eq!(home.behavior.filtering, Filtering::AddressAndPortDependent.into());
    assert_eq!(home.behavior.ports.allocation, PortAllocation::Random);
    assert_eq!(home.behavior.ports.range, (32768..=65535).into());
    assert_eq!(home.behavior.timeouts.udp, Duration::from_secs(30));
    let link = &home.outside.link;
    assert_eq!((link.latency, link.jitter), (Duration::from_millis(8), Duration::from_millis(2)));
    assert_eq!((link.loss, link.rate_bits_per_second), (0.005, Some(20_000_000)));
    assert_eq!((link.mtu_bytes, link.queue_packets), (1492, 100));
    assert_eq!(plan.nat("home-a").unwrap().outside.link.latency, Duration::from_millis(10));
    assert_eq!(plan.host("alice").unwrap().uplinks[0].link.latency, Duration::ZERO);
    let Action::Connect(connect) = &plan.steps[0].action else { panic!("{:?}", plan.steps[0]) };
    assert_eq!((connect.via.stun.as_str(), connect.via.turn.as_deref()), ("relay", Some("relay")));
    assert_eq!(plan.steps[0].line, 20);
    assert_eq!(plan.steps[1].action, Action::Wait(Duration::from_secs(30)));
}

#[test]
fn a_dual_stack_lab_delegates_prefixes_and_routes_them() {
    let plan = plan(EVERYTHING);
    assert_eq!(plan.internet.router, [ip("198.18.0.1"), ip("2001:db8::1")]);
    let home = plan.nat("home").unwrap();
    assert_eq!(home.outside.addresses, [ip("198.18.0.2"), ip("2001:db8::2")]);
    assert_eq!(home.inside.prefix6.unwrap().to_string(), "2001:db8:0:1::/64");
    assert_eq!(plan.nat("deep").unwrap().inside.prefix6.unwrap().to_string(), "fd00:0:0:3::/64");
    let routes: Vec<String> =
        plan.routes.iter().map(|route| format!("{:?} {} {}", route.network, route.prefix, route.via)).collect();
    assert_eq!(
        routes,
        [
            "Internet 2001:db8:0:1::/64 2001:db8::2",
            "Internet 198.19.0.0/24 198.18.0.3",
            "Internet 2001:db8:0:2::/64 2001:db8::3",
        ]
    );
    let server: Vec<IpAddr> = plan.host("server").unwrap().addresses().collect();
    assert_eq!(server.iter().filter(|address| address.is_ipv4()).count(), 2);
    assert_eq!(server.iter().filter(|address| address.is_ipv6()).count(), 2);
    assert_eq!(server[0], ip("198.18.0.99"));
    assert_eq!(plan.host("dora").unwrap().uplinks[0].addresses[0], ip("10.0.2.77"));
    let has_ipv6 = |uplink: &Uplink| uplink.addresses.iter().any(IpAddr::is_ipv6);
    assert!(plan.hosts.iter().flat_map(|host| &host.uplinks).all(has_ipv6), "{:?}", plan.hosts);
}

#[test]
fn the_printed_plan_reads_back_as_the_same_plan() {
    for text in [DESIGN, EVERYTHING] {
        let first = plan(text);
        let printed = first.to_yaml();
        let second = Plan::from_yaml("lab.yaml", &printed).unwrap_or_else(|mistakes| panic!("{mistakes}\n{printed}"));
        assert_eq!(second.to_yaml(), printed);
        // A lifetime that follows another is printed resolved.
        let axes = |plan: &Plan| plan.nats.iter().map(|nat| nat.behavior.axes()).collect::<Vec<_>>();
        let places = |plan: &Plan| {
            plan.nats.iter().map(|nat| (nat.name.clone(), nat.outside.clone(), nat.inside.clone())).collect::<Vec<_>>()
        };
        let shown = |plan: &Plan| format!("{:?}{:?}{:?}{:?}", axes(plan), places(plan), plan.hosts, plan.routes);
        assert_eq!(shown(&second), shown(&first));
        let json = serde_json::to_value(&first).unwrap();
        assert_eq!(json["natbox"], 1);
        assert_eq!(json["seed"], first.seed);
        assert_eq!(serde_json::to_value(&second).unwrap(), json);
    }
}

#[test]
fn a_file_without_a_name_is_called_after_itself() {
    let plan = Plan::from_yaml("some/where/two-homes.yaml", "hosts: { a: }").unwrap();
    assert_eq!(plan.name, "two-homes");
}

#[test]
fn a_hundred_thousand_machines_are_planned_and_one_more_is_refused() {
    let lab = |count: usize| {
        let mut text = String::from("hosts:\n");
        (0..count).for_each(|index| text.push_str(&format!(" h{index}:\n")));
        Plan::from_yaml("big.yaml", &text)
    };
    assert_eq!(lab(100_000).unwrap().hosts.len(), 100_000);
    assert!(lab(100_001).unwrap_err().to_string().contains("at most 100000"));
}

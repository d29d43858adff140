//! Labs at random: whatever the checker accepts runs to its end, twice alike.

use natbox::{Lab, LabError};
use proptest::prelude::*;

const PRESETS: [&str; 7] =
    ["full-cone", "restricted-cone", "port-restricted-cone", "symmetric", "symmetric-udp-firewall", "none", "cgn"];

/// What is taken out of a step in a lab without IPv6.
const OVER_IPV6: &str = ", family: ipv6";

/// A NAT: a preset, some axes, a link, and perhaps an earlier NAT that it is behind.
fn nat(index: usize) -> impl Strategy<Value = String> {
    let axes = prop::sample::subsequence(
        vec![
            "filter_scope: endpoint",
            "session_affinity: off",
            "pooling: arbitrary",
            "hairpin: external-source",
            "hairpin_filter: bypass",
            "refresh: both",
            "ipv6: napt",
            "ports: { allocation: sequential, range: 5000-5003 }",
            "timeouts: { udp: 3s }",
            "link: { latency: 7ms, jitter: 9ms, loss: 10%, duplicate: 10%, reorder: 10%, rate: 1mbit, queue: 5, mtu: 600 }",
        ],
        0..5,
    );
    (0..PRESETS.len(), axes, prop::option::of(0..index.max(1))).prop_map(move |(preset, axes, behind)| {
        let mut entries = vec![format!("type: {}", PRESETS[preset])];
        entries.extend(axes.into_iter().map(str::to_owned));
        entries.extend(behind.filter(|_| index > 0).map(|parent| format!("behind: n{parent}")));
        format!("  n{index}: {{ {} }}\n", entries.join(", "))
    })
}

fn host() -> impl Strategy<Value = &'static str> {
    prop::sample::select(vec!["h0", "h1", "h2", "h3", "server"])
}

fn step() -> impl Strategy<Value = String> {
    let pair = || (host(), host()).prop_filter("two hosts", |(one, other)| one != other);
    prop_oneof![
        pair().prop_map(|(from, to)| format!("connect: {{ from: {from}, to: {to} }}")),
        pair().prop_map(|(from, to)| format!("connect: {{ from: {from}, to: {to}{OVER_IPV6} }}")),
        pair().prop_map(|(from, to)| format!("punch: {{ from: {from}, to: {to}, peer_reflexive: off }}")),
        pair().prop_map(|(from, to)| format!("call: {{ from: {from}, to: {to}, for: 1s, relay_first: on }}")),
        pair().prop_map(|(from, to)| format!("punch: {{ from: {from}, to: {to}{OVER_IPV6} }}")),
        pair().prop_map(|(from, to)| format!("ping: {{ from: {from}, to: {to}, count: 2, size: 1400 }}")),
        (pair(), 1u16..6).prop_map(|(pair, port)| from_to(pair, port)),
        host().prop_map(|host| format!("discover: {host}")),
        host().prop_map(|host| format!("discover: {{ from: {host}{OVER_IPV6} }}")),
        (0..4usize).prop_map(|nat| format!("reboot: n{nat}")),
        (0..4usize).prop_map(|nat| format!("readdress: n{nat}")),
        (0..4usize).prop_map(|nat| format!("cut: n{nat}")),
        (0..4usize).prop_map(|nat| format!("mend: n{nat}")),
        (0..4usize, set()).prop_map(|(nat, axes)| format!("set: {{ nat: n{nat}, {axes} }}")),
        (0..4usize, link()).prop_map(|(nat, link)| format!("link: {{ of: n{nat}, {link} }}")),
        (host(), link()).prop_map(|(host, link)| format!("link: {{ of: {host}, {link} }}")),
        (0..4usize).prop_map(|nat| format!("move: {{ host: h3, behind: n{nat} }}")),
        (1..9u32).prop_map(|seconds| format!("wait: {seconds}s")),
    ]
}

/// What a NAT is told to do otherwise.
fn set() -> impl Strategy<Value = &'static str> {
    prop::sample::select(vec![
        "mapping: address-and-port-dependent",
        "mapping: endpoint-independent, session_affinity: off",
        "filtering: address-dependent, filter_scope: endpoint",
        "ports: { allocation: block, range: 6000-6999 }",
        "ports: { overlap: by-destination, conflict: overload, allocation: preserve }",
        "timeouts: { udp: 2s, udp_stream: 9s, absolute: 5s }",
        "pooling: arbitrary, exhausted: evict-lru, quota: { ports: 3, sessions: 4 }",
        "tcp_machine: netfilter, tcp_window: strict",
        "protocol_sharing: both, early_inbound: destroy, refresh: inbound",
    ])
}

/// How a link becomes another.
fn link() -> impl Strategy<Value = &'static str> {
    prop::sample::select(vec![
        "latency: 90ms, jitter: 5ms",
        "latency: 0ms, loss: 20%, duplicate: 20%, reorder: 20%",
        "rate: 200kbit, queue: 3",
        "rate: none",
    ])
}

fn from_to((from, to): (&str, &str), port: u16) -> String {
    format!("send: {{ from: '{from}:{port}', to: '{to}:{port}', ttl: {} }}", port * 2)
}

fn lab() -> impl Strategy<Value = String> {
    let nats = (nat(0), nat(1), nat(2), nat(3)).prop_map(|(a, b, c, d)| [a, b, c, d].concat());
    let steps = prop::collection::vec(step(), 1..6);
    (nats, steps, any::<bool>()).prop_map(|(nats, steps, ipv6)| {
        let internet = if ipv6 { "internet: { prefix6: '2001:db8::/32' }\n" } else { "" };
        let hosts = "hosts:\n  h0: { behind: n0 }\n  h1: { behind: n1 }\n  h2: { behind: [n2, n3] }\n  h3: {}\n  \
                     server: { services: [stun, turn, rendezvous, echo] }\n";
        let steps: String = steps.iter().map(|step| format!("  - {step}\n")).collect();
        let text = format!("{internet}nats:\n{nats}{hosts}scenario:\n{steps}");
        // IPv6 needs links of 1280 bytes.
        if ipv6 { text.replace("mtu: 600", "mtu: 1280") } else { text.replace(OVER_IPV6, "") }
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(100))]

    #[test]
    fn whatever_the_checker_accepts_runs_to_its_end_twice_alike(text in lab(), seed in 0u64..1000) {
        let run = || match Lab::from_yaml(&text) {
            Ok(lab) => Some(lab.seed(seed).run().unwrap_or_else(|error| panic!("{error}\n{text}"))),
            Err(LabError::Topology(mistakes)) => {
                // The only mistake that these labs can have: a filter that is off beside a translation of IPv6.
                assert!(mistakes.list.iter().all(|mistake| mistake.message.contains("filtering")), "{mistakes}\n{text}");
                None
            }
            Err(other) => panic!("{other}\n{text}"),
        };
        let (first, second) = (run(), run());
        prop_assert_eq!(&first, &second);
        if let Some(outcome) = first {
            prop_assert_eq!(outcome.steps.len(), text.matches("  - ").count());
            prop_assert!(outcome.ok, "{:#?}", outcome.failures().collect::<Vec<_>>());
        }
    }
}

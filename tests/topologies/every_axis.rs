//! Every value of every axis changes something that can be seen.
//!
//! A fixed battery of packet sequences runs against a behaviour with one axis at each of its values, all else equal. Any two
//! values must give different traces (bytes, times, verdicts, endings) in one sequence at least. The axes and their words
//! come from the published schema: a new axis or word fails here until a sequence, or the base in which it shows, is added.

use std::cell::OnceCell;
use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write;

use natbox::Lab;
use natbox::record::{Limits, Record};
use natbox::topology::json_schema;
use serde_json::{Map, Value, json};

/// Keys of a NAT that say where it is, not how it behaves.
const WIRING: [&str; 9] = ["type", "behind", "address", "addresses", "inside", "inside6", "link", "control", "forward"];

/// Words that mean the same by their own definition: the second for the first, on this axis.
const SAME: &[(&str, &str, &str)] = &[
    // "for other protocols as address-and-port-dependent"
    ("mapping.udp", "connection-dependent", "address-and-port-dependent"),
    ("mapping.icmp", "connection-dependent", "address-and-port-dependent"),
    ("filtering.udp", "connection-dependent", "address-and-port-dependent"),
    // Queries have no remote port.
    ("mapping.icmp", "address-and-port-dependent", "address-dependent"),
    ("mapping.icmp", "connection-dependent", "address-dependent"),
    ("filtering.icmp", "address-and-port-dependent", "address-dependent"),
];

/// Words that the loader refuses on these axes: "for all protocols or for none".
const REFUSED: &[(&str, &str)] = &[("filtering.udp", "off"), ("filtering.tcp", "off"), ("filtering.icmp", "off")];

/// Settings of a NAT, by path.
type Base = &'static [(&'static str, &'static str)];

/// What holds in every base: nothing is left to chance.
const CALM: &[(&str, &str)] = &[
    ("ports.allocation", "preserve"),
    ("ports.conflict", "next-free"),
    ("icmp_identifier", "preserve"),
    ("inside", "10.0.0.0/24"),
];
const SEQUENTIAL: &[(&str, &str)] = &[("ports.allocation", "sequential"), ("ports.delta", "3")];
const STRICT: &[(&str, &str)] = &[("filtering", "address-and-port-dependent")];
const DEPENDENT: &[(&str, &str)] =
    &[("mapping", "address-and-port-dependent"), ("filtering", "address-and-port-dependent")];
const NETFILTER: &[(&str, &str)] = &[("tcp_machine", "netfilter")];
const SHORT: &[(&str, &str)] = &[("timeouts.udp", "10s"), ("refresh", "both")];
const SHORT_STRICT: &[(&str, &str)] =
    &[("timeouts.udp", "10s"), ("refresh", "both"), ("filtering", "address-and-port-dependent")];
const FULL: &[(&str, &str)] = &[("ports.range", "40000-40001"), ("ports.class", "all")];
const POOL: &[(&str, &str)] = &[("addresses", "3")];
const FIXED: &[(&str, &str)] =
    &[("ports.allocation", "deterministic"), ("addresses", "2"), ("mapping", "address-and-port-dependent")];
const FIREWALL: &[(&str, &str)] = &[("translation", "none"), ("inside", "198.19.0.0/24")];
const SCOPED: &[(&str, &str)] = &[("mapping", "address-and-port-dependent"), ("filter_scope", "endpoint")];
const CROWDED: &[(&str, &str)] =
    &[("ports.range", "40000-40015"), ("ports.class", "all"), ("mapping", "address-and-port-dependent")];

/// Bases in which axes show that do not in the first one, beside it.
const BASES: &[(&str, &[Base])] = &[
    ("mapping", &[SEQUENTIAL]),
    ("filtering", &[FIREWALL, DEPENDENT, SCOPED]),
    ("filter_scope", &[DEPENDENT]),
    ("session_affinity", &[&[("mapping", "address-and-port-dependent")]]),
    (
        "protocol_sharing",
        &[
            &[("filtering", "address-dependent")],
            &[("ports.allocation", "sequential"), ("filtering", "address-dependent")],
        ],
    ),
    (
        "ports.conflict",
        &[POOL, &[("addresses", "7"), ("pooling", "arbitrary"), ("mapping", "address-and-port-dependent")]],
    ),
    ("ports.class", &[SEQUENTIAL, &[("ports.allocation", "random")]]),
    ("ports.parity", &[SEQUENTIAL]),
    ("ports.contiguity", &[SEQUENTIAL]),
    ("ports.delta", &[SEQUENTIAL]),
    ("ports.increment", &[&[("ports.allocation", "rfc6056-5")]]),
    ("ports.table_length", &[&[("ports.allocation", "rfc6056-4"), ("mapping", "address-dependent")]]),
    ("ports.counter", &[&[("ports.allocation", "sequential"), ("timeouts.udp", "10s")]]),
    ("ports.allocation", &[&[("ports.delta", "3"), ("ports.block_size", "4")], CROWDED]),
    ("ports.block_size", &[&[("ports.allocation", "block"), ("mapping", "address-and-port-dependent")]]),
    (
        "ports.blocks_per_host",
        &[&[("ports.allocation", "block"), ("ports.block_size", "2"), ("mapping", "address-and-port-dependent")]],
    ),
    (
        "ports.deterministic",
        &[
            FIXED,
            &[
                ("ports.allocation", "deterministic"),
                ("addresses", "2"),
                ("ports.range", "40000-40063"),
                ("mapping", "address-and-port-dependent"),
                ("ports.class", "all"),
            ],
        ],
    ),
    ("ports.quarantine", &[&[("timeouts.udp", "5s"), ("ports.quarantine", "1000s")], &[("timeouts.udp", "5s")]]),
    ("ports.quarantine_max", &[&[("timeouts.udp", "5s"), ("ports.quarantine", "1000s")]]),
    ("pooling", &[POOL, &[("addresses", "7")]]),
    ("pool_exhausted", &[&[("addresses", "2"), ("ports.range", "40000-40000"), ("ports.class", "all")]]),
    ("exhausted", &[FULL]),
    ("table_full", &[&[("table_size", "2")]]),
    ("hairpin", &[POOL, &[("addresses", "3"), ("translation", "basic")]]),
    ("hairpin_filter", &[STRICT]),
    ("early_inbound", &[STRICT]),
    ("overlapping_realms", &[&[("behind", "carrier"), ("inside", "10.9.0.0/24")]]),
    ("refresh", &[&[("timeouts.udp", "10s")]]),
    ("refresh_on_error", &[SHORT]),
    ("refresh_on_filtered", &[SHORT_STRICT]),
    ("unsolicited_syn", &[STRICT]),
    ("tcp_no_state", &[STRICT]),
    ("tcp_machine", &[STRICT]),
    ("tcp_established_on", &[&[("timeouts.tcp_partial_open", "7s")]]),
    ("tcp_simopen", &[STRICT]),
    ("tcp_window", &[STRICT]),
    ("tcp_reopen", &[STRICT]),
    ("expiry_notify", &[&[("timeouts.tcp_established", "20s")]]),
    ("too_big", &[&[("link.mtu", "1280")]]),
    ("alg.tftp", &[STRICT]),
    ("timeouts", &[NETFILTER, STRICT, &[("early_inbound", "blacklist"), ("filtering", "address-and-port-dependent")]]),
    ("timeouts.udp_stream_after", &[&[("timeouts.udp_stream", "90s")]]),
    (
        "timeouts.tcp_partial_open",
        &[&[("tcp_established_on", "ack-both-ways"), ("mapping", "address-and-port-dependent")]],
    ),
    ("fragments", &[STRICT]),
    ("icmp_source_filter", &[STRICT]),
];

/// Two values of each axis that has no words, or of all below it.
const VALUES: &[(&str, [&str; 2])] = &[
    ("degraded", ["address-dependent/address-dependent", "address-and-port-dependent/address-and-port-dependent"]),
    ("ports.range", ["40000-40099", "50000-50099"]),
    ("ports.delta", ["1", "4"]),
    ("ports.increment", ["2", "900"]),
    ("ports.table_length", ["1", "64"]),
    ("ports.block_size", ["4", "512"]),
    ("ports.blocks_per_host", ["1", "8"]),
    ("ports.deterministic.first", ["10.0.0.2", "10.0.0.3"]),
    ("ports.deterministic.compression", ["4", "60"]),
    ("ports.deterministic.dynamic_factor", ["0", "40"]),
    ("ports.deterministic.max_ports", ["1", "100"]),
    ("ports.quarantine", ["0s", "1000s"]),
    ("ports.quarantine_max", ["1", "none"]),
    ("table_size", ["2", "none"]),
    ("quota", ["1", "none"]),
    ("aliases", ["172.16.1.100=198.18.9.9", "172.16.1.100=198.18.9.8"]),
    ("bypass", ["198.18.9.0/28", "203.0.113.0/24"]),
    ("timeouts.udp_ports", ["1=20s", "1=40s"]),
    ("timeouts.udp_stream_after", ["0s", "60s"]),
    ("timeouts", ["3s", "8s"]),
    ("fragments.max_bytes", ["900", "100000"]),
    ("fragments.max_datagrams", ["1", "1000"]),
    ("fragments.per_source", ["1", "1000"]),
    ("fragments.timeout", ["3s", "8s"]),
    ("outbound", ["on", "1"]),
];

/// The battery. `home` is the NAT in question; what goes to a label goes to the external endpoint that it was given.
const SEQUENCES: &[&str] = &[
    // Datagrams of two hosts to several remotes, answers, strangers, hairpins; several ports; neighbours.
    "
- send: { from: 'alice:5000', to: 'server:1', as: a }
- send: { from: 'server:1', to: a.mapped }
- send: { from: 'anna:5000', to: 'server:1', as: b }
- send: { from: 'alice:5000', to: 'server:2' }
- send: { from: 'alice:5000', to: 'other:1' }
- send: { from: 'other:1', to: a.mapped }
- send: { from: 'server:9', to: a.mapped }
- send: { from: 'other:9', to: a.mapped }
- send: { from: 'alice:5000', to: 'other:9' }
- send: { from: 'other:9', to: a.mapped }
- send: { from: 'other:9', to: b.mapped }
- send: { from: 'anna:7000', to: a.mapped }
- send: { from: 'anna:5000', to: 'other:1' }
- send: { from: 'anna:5000', to: 'server:2' }
- send: { from: 'alice:5001', to: 'server:1' }
- send: { from: 'anna:5001', to: 'other:1' }
- send: { from: 'alice:500', to: 'server:1' }
- send: { from: 'alice:601', to: 'server:1' }
- send: { from: 'alice:5002', to: 'server:1' }
- send: { from: 'anna:600', to: 'server:1' }
- send: { from: 'alice:1', to: 'anna:1' }
- send: { from: 'alice:5000', to: '172.16.1.100:1' }
- send: { from: 'alice:5000', to: 'neighbour:1' }
- send: { from: 'server:1', to: 'home:4999' }
- send: { from: 'alice:4999', to: 'server:1' }
- wait: 400s
",
    // Timers: what restarts them, streams, endings, endpoints used again.
    "
- send: { from: 'alice:5000', to: 'server:1', as: a }
- send: { from: 'alice:5001', to: 'server:1', as: b }
- send: { from: 'alice:5002', to: 'server:1', as: c }
- send: { from: 'alice:5003', to: 'server:1', as: d }
- send: { from: 'server:1', to: d.mapped }
- wait: 6s
- send: { from: 'server:1', to: a.mapped }
- send: { from: 'alice:5001', to: 'server:1' }
- send: { from: server, icmp: { error: port-unreachable, about: c } }
- send: { from: 'other:7', to: d.mapped }
- wait: 6s
- send: { from: 'server:1', to: a.mapped }
- send: { from: 'server:1', to: b.mapped }
- send: { from: 'server:1', to: c.mapped }
- send: { from: 'server:1', to: d.mapped }
- send: { from: 'alice:5003', to: 'server:1' }
- send: { from: 'server:1', to: d.mapped }
- wait: 20s
- send: { from: 'anna:5000', to: 'server:1' }
- send: { from: 'anna:5001', to: 'server:1' }
- send: { from: 'anna:5002', to: 'server:1' }
- send: { from: alice, to: server, icmp: echo, id: 7, as: e }
- wait: 400s
",
    // Connections: handshakes, half of one, data, FINs, RSTs, strangers, reuse, windows.
    "
- send: { from: 'alice:1000', to: 'server:80', tcp: syn, seq: 100, as: t }
- send: { from: 'server:80', to: t.mapped, tcp: syn-ack, seq: 300, ack: 101, window: 1000 }
- send: { from: 'alice:1000', to: 'server:80', tcp: ack, seq: 101, ack: 301, window: 1000 }
- send: { from: 'server:80', to: t.mapped, tcp: ack, seq: 301, ack: 101, window: 1000 }
- send: { from: 'alice:1000', to: 'server:81', tcp: syn, seq: 100, as: u }
- send: { from: 'server:81', to: u.mapped, tcp: syn-ack, seq: 300, ack: 101 }
- send: { from: 'alice:1000', to: 'other:80', tcp: syn, seq: 100, as: v }
- send: { from: 'other:80', to: v.mapped, tcp: syn-ack, seq: 300, ack: 101 }
- send: { from: 'other:80', to: t.mapped, tcp: syn, seq: 300 }
- send: { from: 'server:7000', to: t.mapped, tcp: syn, seq: 300 }
- send: { from: 'other:7000', to: t.mapped, tcp: syn, seq: 300 }
- send: { from: 'other:7001', to: t.mapped, tcp: ack, seq: 300 }
- send: { from: 'server:7002', to: 'home:999', tcp: syn }
- send: { from: 'alice:5000', to: 'server:85', tcp: ack, seq: 9, ack: 9 }
- send: { from: 'anna:7000', to: t.mapped, tcp: syn, seq: 5 }
- send: { from: 'server:80', to: t.mapped, tcp: rst, seq: 99999999 }
- send: { from: 'server:80', to: t.mapped, tcp: ack, seq: 88888888, ack: 101, size: 9 }
- send: { from: 'alice:1000', to: 'server:80', tcp: ack, seq: 101, ack: 301, size: 10 }
- wait: 30s
- send: { from: 'server:80', to: t.mapped, tcp: ack, seq: 301, ack: 111, window: 1000 }
- wait: 30s
- send: { from: 'alice:1000', to: 'server:80', tcp: [fin, ack], seq: 111, ack: 301 }
- wait: 4s
- send: { from: 'server:80', to: t.mapped, tcp: ack, seq: 301, ack: 112 }
- wait: 4s
- send: { from: 'server:80', to: t.mapped, tcp: [fin, ack], seq: 301, ack: 112 }
- wait: 2s
- send: { from: 'alice:1000', to: 'server:80', tcp: ack, seq: 112, ack: 302 }
- wait: 4s
- send: { from: 'alice:1000', to: 'server:80', tcp: syn, seq: 900000 }
- wait: 3h
",
    // Connections: simultaneous open, a RST and what follows, half closed for ever, closed and left alone.
    "
- send: { from: 'alice:1000', to: 'server:80', tcp: syn, seq: 100, as: t }
- send: { from: 'server:80', to: t.mapped, tcp: syn, seq: 300 }
- send: { from: 'alice:1000', to: 'server:80', tcp: syn-ack, seq: 100, ack: 301 }
- send: { from: 'server:80', to: t.mapped, tcp: syn-ack, seq: 300, ack: 101 }
- send: { from: 'alice:1000', to: 'server:80', tcp: ack, seq: 101, ack: 301 }
- send: { from: 'server:80', to: t.mapped, tcp: [rst, ack], seq: 301, ack: 101 }
- wait: 1s
- send: { from: 'alice:1000', to: 'server:80', tcp: syn, seq: 900000 }
- wait: 3h
- send: { from: 'alice:1001', to: 'server:80', tcp: syn, seq: 100, as: u }
- send: { from: 'server:80', to: u.mapped, tcp: syn-ack, seq: 300, ack: 101 }
- send: { from: 'alice:1001', to: 'server:80', tcp: ack, seq: 101, ack: 301 }
- send: { from: 'alice:1001', to: 'server:80', tcp: [fin, ack], seq: 101, ack: 301 }
- wait: 3h
- send: { from: 'alice:1002', to: 'server:80', tcp: syn, seq: 100, as: v }
- send: { from: 'server:80', to: v.mapped, tcp: syn-ack, seq: 300, ack: 101 }
- send: { from: 'alice:1002', to: 'server:80', tcp: ack, seq: 101, ack: 301 }
- send: { from: 'alice:1002', to: 'server:80', tcp: [fin, ack], seq: 101, ack: 301 }
- send: { from: 'server:80', to: v.mapped, tcp: [fin, ack], seq: 301, ack: 101 }
- wait: 3h
- send: { from: 'alice:1003', to: 'server:80', tcp: syn, seq: 100, as: w }
- send: { from: 'server:80', to: w.mapped, tcp: syn-ack, seq: 300, ack: 101 }
- send: { from: 'alice:1003', to: 'server:80', tcp: ack, seq: 101, ack: 301 }
- send: { from: 'alice:1003', to: 'server:80', tcp: rst, seq: 101 }
- wait: 3h
- send: { from: 'alice:1004', to: 'server:80', tcp: syn, seq: 100, as: x }
- send: { from: 'server:80', to: x.mapped, tcp: syn-ack, seq: 300, ack: 101 }
- send: { from: 'alice:1004', to: 'server:80', tcp: ack, seq: 101, ack: 301 }
- send: { from: 'alice:1004', to: 'server:80', tcp: [fin, ack], seq: 101, ack: 301 }
- send: { from: 'server:80', to: x.mapped, tcp: ack, seq: 301, ack: 102 }
- wait: 3h
- send: { from: 'alice:1005', to: 'server:80', tcp: syn, seq: 100, as: y }
- send: { from: 'server:80', to: y.mapped, tcp: syn-ack, seq: 300, ack: 101 }
- send: { from: 'alice:1005', to: 'server:80', tcp: ack, seq: 101, ack: 301 }
- send: { from: 'alice:1005', to: 'server:80', tcp: [fin, ack], seq: 101, ack: 301 }
- send: { from: 'server:80', to: y.mapped, tcp: [fin, ack], seq: 301, ack: 102 }
- send: { from: 'alice:1005', to: 'server:80', tcp: ack, seq: 102, ack: 302 }
- wait: 3h
",
    // Queries and errors, TTL, sizes, identifications.
    "
- send: { from: alice, to: server, icmp: echo, id: 7, as: e }
- send: { from: server, to: e.mapped, icmp: echo-reply }
- send: { from: other, to: e.mapped, icmp: echo-reply }
- send: { from: alice, to: other, icmp: echo, id: 7 }
- send: { from: other, to: e.mapped, icmp: echo }
- send: { from: alice, to: server, icmp: timestamp, id: 11 }
- send: { from: alice, to: server, icmp: information, id: 12 }
- send: { from: anna, to: server, icmp: echo, id: 7 }
- send: { from: 'anna:1', to: 'other:1', as: f }
- send: { from: alice, to: f.mapped, icmp: echo, id: 9 }
- send: { from: server, to: home, icmp: echo }
- send: { from: 'alice:5000', to: 'server:1', as: a }
- send: { from: other, icmp: { error: host-unreachable, about: a } }
- send: { from: server, icmp: { error: port-unreachable, about: a } }
- send: { from: server, icmp: { error: port-unreachable, about: a }, checksum: wrong }
- send: { from: 'server:1', to: a.mapped, as: back }
- send: { from: alice, icmp: { error: port-unreachable, about: back } }
- send: { from: 'alice:5000', to: 'server:1', ttl: 1 }
- send: { from: 'alice:5000', to: 'server:1', ttl: 2 }
- send: { from: 'alice:5000', to: 'server:1', size: 1400, dont_fragment: on }
- send: { from: 'alice:5000', to: 'server:1', size: 1400, tcp: syn }
- send: { from: 'alice:5000', to: 'narrow:1', size: 1270, dont_fragment: on }
- send: { from: 'alice:5000', to: '[2001:db8::9]:1', as: six }
- send: { from: 'server6:1', to: six.mapped }
",
    // Fragments, both ways, in order and out of it, some of several datagrams.
    "
- send: { from: 'alice:5000', to: 'server:1', size: 1500, as: a, fragments: { mtu: 600 } }
- send: { from: 'alice:5000', to: 'server:1', size: 1500, fragments: { mtu: 600, order: [3, 1, 2] } }
- send: { from: 'server:1', to: a.mapped, size: 1500, fragments: { mtu: 600 } }
- send: { from: 'server:1', to: a.mapped, size: 1500, fragments: { mtu: 600, order: [3, 1, 2] } }
- send: { from: 'alice:5000', to: 'server:1', size: 1500, fragments: { mtu: 600, order: [3, 2] } }
  expect: { held: home }
- send: { from: 'alice:5000', to: 'server:1', size: 1500, fragments: { mtu: 600, order: [3, 2] } }
  expect: { held: home }
- send: { from: 'server:1', to: a.mapped, size: 1500, fragments: { mtu: 600, order: [3, 2] } }
  expect: { held: home }
- wait: 100s
",
    // One transport opens the way for the other.
    "
- send: { from: 'anna:6000', to: 'server:1', tcp: syn }
- send: { from: 'alice:5000', to: 'server:1', as: a }
- send: { from: 'alice:5000', to: 'other:1', tcp: syn, as: t }
- send: { from: 'server:1', to: t.mapped, tcp: syn }
- send: { from: 'other:1', to: a.mapped }
",
    // Payloads that gateways of applications look at.
    "
- send: { from: 'alice:5000', to: 'server:21', tcp: syn, seq: 100, as: t }
- send: { from: 'server:21', to: t.mapped, tcp: syn-ack, seq: 300, ack: 101 }
- send: { from: 'alice:5000', to: 'server:21', tcp: [ack, psh], seq: 101, ack: 301, payload: \"PORT 10,0,0,2,19,136\\r\\n\" }
- send: { from: 'alice:5060', to: 'server:5060', payload: \"INVITE sip:bob@198.18.9.9 SIP/2.0\\r\\nVia: SIP/2.0/UDP 10.0.0.2:5060\\r\\nContact: <sip:alice@10.0.0.2:5060>\\r\\nContent-Length: 0\\r\\n\\r\\n\" }
- send: { from: 'alice:6000', to: 'server:69', payload: \"\\0\\x01file\\0octet\\0\", as: f }
- send: { from: 'server:3000', to: f.mapped }
- send: { from: 'alice:7000', to: 'server:1', payload: \"address \\n\\0\\0\\x02 there\" }
- send: { from: 'alice:7000', to: 'server:1', payload: 'address 10.0.0.2 there' }
",
];

/// The axes of the schema, with their words; an axis with both forms stands there once as a whole, and once for each key.
fn axes() -> BTreeMap<String, BTreeSet<String>> {
    let schema = json_schema();
    let forms = schema.pointer("/properties/nats/additionalProperties/anyOf").and_then(Value::as_array);
    let keys = forms.into_iter().flatten().filter_map(|form| form.get("properties")?.as_object()).flatten();
    let mut axes = BTreeMap::new();
    for (key, schema) in keys.filter(|(key, _)| !WIRING.contains(&key.as_str())) {
        walk(key, schema, &mut axes);
    }
    assert!(axes.len() > 80, "{axes:?}");
    axes
}

fn walk(path: &str, schema: &Value, axes: &mut BTreeMap<String, BTreeSet<String>>) {
    if let Some(properties) = schema.get("properties").and_then(Value::as_object) {
        return properties.iter().for_each(|(key, schema)| walk(&format!("{path}.{key}"), schema, axes));
    }
    let words = schema.get("oneOf").and_then(Value::as_array).into_iter().flatten();
    let words = words.filter_map(|word| word.get("const")?.as_str().map(str::to_owned));
    axes.entry(path.to_owned()).or_default().extend(words);
    let forms = schema.get("anyOf").and_then(Value::as_array).into_iter().flatten();
    forms.for_each(|form| walk(path, form, axes));
    // Keys alone, without words of its own.
    if axes[path].is_empty() && axes.keys().any(|key| key.starts_with(&format!("{path}."))) {
        axes.remove(path);
    }
}

/// Whether an axis is this one or below it.
fn is_within(axis: &str, whole: &str) -> bool {
    axis.strip_prefix(whole).is_some_and(|rest| rest.is_empty() || rest.starts_with('.'))
}

fn values(axis: &str, words: &BTreeSet<String>) -> Vec<String> {
    let given = VALUES.iter().filter(|(whole, _)| words.is_empty() && is_within(axis, whole));
    let given = given.max_by_key(|(whole, _)| whole.len()).map(|(_, values)| values.map(str::to_owned));
    words.iter().cloned().chain(given.into_iter().flatten()).collect()
}

/// A NAT's entry.
fn entry(settings: &[(&str, &str)]) -> Value {
    let mut entry = Map::new();
    for (path, text) in settings {
        let value = text.parse::<u64>().map_or_else(|_| json!(text), |number| json!(number));
        let mut below = &mut entry;
        let mut keys: Vec<&str> = path.split('.').collect();
        let last = keys.pop().expect("a path");
        for key in keys {
            let inner = below.entry(key).or_insert_with(|| json!({}));
            if !inner.is_object() {
                *inner = json!({});
            }
            below = inner.as_object_mut().expect("an object");
        }
        below.insert(last.to_owned(), value);
    }
    Value::Object(entry)
}

/// What can be seen of a sequence.
#[derive(PartialEq)]
struct Trace {
    steps: Vec<(String, Map<String, Value>)>,
    records: Vec<Record>,
}

/// Runs a sequence; `None` where the loader finds the behaviour contradictory.
fn trace(home: &Value, steps: &str) -> Option<Trace> {
    let head = json!({
        "internet": { "prefix6": "2001:db8::/32" },
        "nats": { "carrier": { "inside": "10.9.0.0/24" }, "home": home },
        "hosts": {
            "alice": { "behind": "home" }, "anna": { "behind": "home" },
            "neighbour": { "behind": "carrier" },
            "server": { "address": ["198.18.9.9", "2001:db8::9"] }, "other": { "address": "198.18.99.99" },
            "narrow": { "link": { "mtu": 1280 } },
        },
    });
    let mut text = String::new();
    for (key, value) in head.as_object()? {
        writeln!(text, "{key}: {value}").ok()?;
    }
    let steps = steps.replace("'server6:1'", "'[2001:db8::9]:1'");
    let steps: String = steps.trim().lines().map(|line| format!("  {line}\n")).collect();
    let lab = Lab::from_yaml(&format!("{text}scenario:\n{steps}"));
    let recording = lab.ok()?.limits(Limits::CAPTURE).run_recorded().expect("it runs to its end");
    let steps = recording.outcome.steps.into_iter().map(|step| (step.got, step.facts)).collect();
    Some(Trace { steps, records: recording.log.records().to_vec() })
}

/// The traces of one value, each run when it is first asked for: for each base, for each sequence.
struct Traces {
    entries: Vec<Value>,
    known: Vec<OnceCell<Option<Trace>>>,
}

impl Traces {
    fn of(axis: &str, value: &str) -> Traces {
        let own = BASES.iter().filter(|(whole, _)| is_within(axis, whole)).flat_map(|(_, bases)| bases.iter().copied());
        let bases = own.chain(std::iter::once(&[][..]));
        let entries: Vec<Value> = bases.map(|base| entry(&[CALM, base, &[(axis, value)]].concat())).collect();
        let known = (0..entries.len() * SEQUENCES.len()).map(|_| OnceCell::new()).collect();
        Traces { entries, known }
    }

    fn get(&self, at: usize) -> Option<&Trace> {
        let (base, sequence) = (at / SEQUENCES.len(), at % SEQUENCES.len());
        self.known[at].get_or_init(|| trace(&self.entries[base], SEQUENCES[sequence])).as_ref()
    }

    fn differ(&self, other: &Traces) -> bool {
        (0..self.known.len()).any(|at| match (self.get(at), other.get(at)) {
            (Some(one), Some(other)) => one != other,
            _ => false,
        })
    }

    /// Whether no base has it.
    fn is_refused(&self) -> bool {
        (0..self.entries.len()).all(|base| self.get(base * SEQUENCES.len()).is_none())
    }
}

#[test]
fn every_sequence_is_right_in_itself() {
    for steps in SEQUENCES {
        assert!(trace(&entry(CALM), steps).is_some(), "{steps}");
    }
}

#[test]
fn every_value_of_every_axis_changes_something_against_every_other() {
    let mut alike = Vec::new();
    for (axis, words) in axes() {
        let values = values(&axis, &words);
        if values.len() < 2 {
            alike.push(format!("{axis}: no values are known"));
            continue;
        }
        let traces: Vec<_> = values.iter().map(|value| Traces::of(&axis, value)).collect();
        for (value, traces) in values.iter().zip(&traces) {
            let refused = REFUSED.contains(&(&axis, value));
            if traces.is_refused() != refused {
                alike.push(format!("{axis}: {value} {}", if refused { "is not refused" } else { "is refused" }));
            }
        }
        for (first, one) in values.iter().enumerate() {
            for (second, other) in values.iter().enumerate().skip(first + 1) {
                let same = SAME.contains(&(&axis, one, other)) || SAME.contains(&(&axis, other, one));
                let refused = [one, other].iter().any(|value| REFUSED.contains(&(&axis, value)));
                if !refused && traces[first].differ(&traces[second]) == same {
                    alike.push(format!("{axis}: {one} and {other}{}", if same { " are not the same" } else { "" }));
                }
            }
        }
    }
    assert!(alike.is_empty(), "values that nothing tells apart:\n{}", alike.join("\n"));
}

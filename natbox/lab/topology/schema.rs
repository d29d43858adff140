//! The topology file, key by key: the one table that the checker, the readers and `natbox schema` share.

use natbox_wire::Word;

use super::actions::ACTIONS;
use super::axes::AXES;
use super::control::{CONTROL, FORWARDS};
use super::shape::{Choice, Field, Shape, words};
use super::{places, units};
use crate::words::{Family, Service, Switch};

/// The smallest MTU that IPv4 can have (RFC 791).
pub(crate) const MTU_BYTES_LEAST: usize = 68;

pub(super) const fn optional(key: &'static str, shape: &'static Shape, doc: &'static str) -> Field {
    Field { key, doc, shape, required: false }
}

pub(super) const fn required(key: &'static str, shape: &'static Shape, doc: &'static str) -> Field {
    Field { key, doc, shape, required: true }
}

pub(super) const fn word<W: Word>() -> Shape {
    Shape::Word { kind: W::KIND, choices: words::<W> }
}

fn presets() -> Vec<Choice> {
    natbox_nat::preset::all().iter().map(|preset| Choice { word: preset.name, meaning: preset.summary }).collect()
}

pub(super) static NAME: Shape = Shape::Leaf(&units::NAME);
pub(super) static TEXT: Shape = Shape::Leaf(&units::TEXT);
pub(super) static PAYLOAD: Shape = Shape::Leaf(&units::PAYLOAD);
pub(super) static DURATION: Shape = Shape::Leaf(&units::DURATION);
pub(super) static POSITIVE: Shape = Shape::Leaf(&units::POSITIVE);
pub(super) static DURATIONS: Shape = Shape::Leaf(&units::DURATIONS);
pub(super) static RATE: Shape = Shape::Leaf(&units::RATE);
pub(super) static PERCENT: Shape = Shape::Leaf(&units::PERCENT);
pub(super) static PERCENTS: Shape = Shape::Leaf(&units::PERCENTS);
static PREFIX4: Shape = Shape::Leaf(&places::PREFIX4);
static PREFIX6: Shape = Shape::Leaf(&places::PREFIX6);
static ADDRESS: Shape = Shape::Leaf(&places::ADDRESS);
pub(super) static PLACE: Shape = Shape::Leaf(&places::PLACE);
pub(super) static NAMES: Shape = Shape::OneOrMany(&NAME);
pub(super) static ADDRESSES: Shape = Shape::OneOrMany(&ADDRESS);
pub(super) static SWITCH: Shape = word::<Switch>();
pub(super) static FAMILY: Shape = word::<Family>();
pub(super) static PORT: Shape = Shape::Count { what: "a port", min: 1, max: 65_535 };
pub(super) static SEED: Shape = Shape::Count { what: "a whole number", min: 0, max: u64::MAX };
pub(super) static ADDRESS_COUNT: Shape = Shape::Count { what: "a whole number of addresses", min: 1, max: 256 };
pub(super) static MTU: Shape =
    Shape::Count { what: "a whole number of bytes", min: MTU_BYTES_LEAST as u64, max: 65_535 };
pub(super) static QUEUE: Shape = Shape::Count { what: "a whole number of packets", min: 1, max: 1_000_000 };

/// The whole file.
pub(crate) static TOPOLOGY: Shape = Shape::Object(&[
    optional("name", &TEXT, "What the lab is called. The file's name if absent."),
    optional("seed", &SEED, "Where all chance begins: two runs of one seed are alike to the byte. 0 if absent."),
    optional("internet", &INTERNET, "The public network in the middle."),
    optional("nats", &NATS, "The NATs, by name."),
    optional("hosts", &HOSTS, "The hosts, by name."),
    optional("scenario", &SCENARIO, "What happens, step by step, in order."),
]);

static SCENARIO: Shape = Shape::Steps(ACTIONS);

static INTERNET: Shape = Shape::Object(&[
    optional(
        "prefix",
        &PREFIX4,
        "IPv4 addresses of the public network; 198.18.0.0/15 if absent. The router in its middle takes the first.",
    ),
    optional("prefix6", &PREFIX6, "IPv6 addresses of the public network, at most a /56. Makes the lab dual-stack."),
    optional(
        "latency",
        &DURATION,
        "One-way delay of every attachment to the public network whose own link says nothing else; 10ms if absent.",
    ),
]);

static NATS: Shape = Shape::Named(&NAT);
static PRESET: Shape = Shape::Word { kind: "preset", choices: presets };
static NAT: Shape = Shape::Either(&PRESET, &Shape::Object(&joined::<{ WIRING.len() + AXES.len() }>(WIRING, AXES)));

/// Where a NAT is, and what it begins with.
const WIRING: &[Field] = &[
    optional("type", &PRESET, "The preset to begin with. What RFC 4787, 5382 and 5508 ask for, if absent."),
    optional("behind", &NAME, "The NAT that this one is behind. The public network if absent."),
    optional("address", &ADDRESSES, "Its external addresses, as far as they are fixed. The next free ones if absent."),
    optional("addresses", &ADDRESS_COUNT, "How many external IPv4 addresses it has; 1 if absent."),
    optional(
        "inside",
        &PREFIX4,
        "IPv4 addresses of the network behind it; 10.0.0.0/24 for the first NAT, and so on. The NAT takes the first.",
    ),
    optional(
        "inside6",
        &PREFIX6,
        "IPv6 addresses (a /64) of the network behind it. From the public prefix if absent, or fd00::/64 where IPv6 is translated.",
    ),
    optional(
        "client_isolation",
        &SWITCH,
        "Whether the network behind it lets hosts reach nobody but the NAT, as access points do; off if absent.",
    ),
    optional("link", &LINK, "Its link to the network that it is attached to."),
    optional("control", &CONTROL, "How hosts behind it may ask it for port mappings; `none` if absent."),
    optional(
        "forward",
        &FORWARDS,
        "External ports that a person has forwarded to hosts behind it: they outlive reboots.",
    ),
];

/// Two tables in one.
pub(super) const fn joined<const N: usize>(first: &[Field], second: &[Field]) -> [Field; N] {
    let mut all = [first[0]; N];
    let mut index = 0;
    while index < N {
        all[index] = if index < first.len() { first[index] } else { second[index - first.len()] };
        index += 1;
    }
    all
}

pub(super) static LINK: Shape = Shape::Object(&[
    optional("latency", &DURATION, "One-way delay. On the public network its latency if absent, elsewhere none."),
    optional("jitter", &DURATION, "Each packet is delayed by up to this much more; none if absent."),
    optional("loss", &PERCENT, "Share of packets lost; none if absent."),
    optional("duplicate", &PERCENT, "Share of packets delivered twice; none if absent."),
    optional("reorder", &PERCENT, "Share of packets that may overtake others; none if absent."),
    optional("rate", &RATE, "Bits a second. Without limit if absent."),
    optional("queue", &QUEUE, "Packets that may wait where there is a rate; 1000 if absent."),
    optional(
        "mtu",
        &MTU,
        "Largest packet, in bytes; 1500 if absent. At least 1280 in a lab with IPv6 (RFC 8200 section 5).",
    ),
]);

static HOSTS: Shape = Shape::Named(&Shape::Object(&[
    optional(
        "behind",
        &NAMES,
        "The NAT that the host is behind, or several: one uplink each. The public network if absent.",
    ),
    optional("address", &ADDRESSES, "Its addresses, as far as they are fixed. The next free ones if absent."),
    optional(
        "addresses",
        &ADDRESS_COUNT,
        "How many IPv4 addresses each of its uplinks has; 1 if absent, 2 for a host that runs `stun`. With IPv6 it has as many of that as it needs: 1, or 2.",
    ),
    optional("link", &LINK, "Its link; where it has several, each of them."),
    optional("services", &Shape::OneOrMany(&word::<Service>()), "Servers that run on it from the beginning."),
]));

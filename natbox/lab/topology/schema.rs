//! The topology file, key by key: the one table that the checker, the readers and `natbox schema` share.

use natbox_wire::{DropReason, Word};

use super::axes::AXES;
use super::control::{CONTROL, EXPECT_MAP, FORWARDS, MAP};
use super::packets::{EXPECT_SEND, SEND};
use super::shape::{Action, Choice, Field, Shape, words};
use super::{places, units};
use crate::words::{Family, Service, Switch};
use natbox_probes::technique::Technique;
use natbox_probes::{Path, discovery};

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

/// Every way in which hosts of a lab can come to talk.
pub(crate) fn ways() -> impl Iterator<Item = Path> {
    Path::ALL.iter().copied().filter(|path| *path != Path::None)
}

fn choice(path: Path) -> Choice {
    Choice { word: path.as_str(), meaning: path.meaning() }
}

static WAY: Shape = Shape::Word { kind: "path", choices: || ways().map(choice).collect() };
static PATH: Shape = Shape::Word { kind: "path", choices: || ways().chain([Path::None]).map(choice).collect() };
pub(super) static NAME: Shape = Shape::Leaf(&units::NAME);
pub(super) static TEXT: Shape = Shape::Leaf(&units::TEXT);
pub(super) static PAYLOAD: Shape = Shape::Leaf(&units::PAYLOAD);
static DURATION: Shape = Shape::Leaf(&units::DURATION);
pub(super) static POSITIVE: Shape = Shape::Leaf(&units::POSITIVE);
pub(super) static DURATIONS: Shape = Shape::Leaf(&units::DURATIONS);
static RATE: Shape = Shape::Leaf(&units::RATE);
pub(super) static PERCENT: Shape = Shape::Leaf(&units::PERCENT);
static PERCENTS: Shape = Shape::Leaf(&units::PERCENTS);
static PREFIX4: Shape = Shape::Leaf(&places::PREFIX4);
static PREFIX6: Shape = Shape::Leaf(&places::PREFIX6);
static ADDRESS: Shape = Shape::Leaf(&places::ADDRESS);
pub(super) static PLACE: Shape = Shape::Leaf(&places::PLACE);
static NAMES: Shape = Shape::OneOrMany(&NAME);
static ADDRESSES: Shape = Shape::OneOrMany(&ADDRESS);
pub(super) static SWITCH: Shape = word::<Switch>();
static FAMILY: Shape = word::<Family>();
pub(super) static PORT: Shape = Shape::Count { what: "a port", min: 1, max: 65_535 };
pub(super) static SEED: Shape = Shape::Count { what: "a whole number", min: 0, max: u64::MAX };
pub(super) static ADDRESS_COUNT: Shape = Shape::Count { what: "a whole number of addresses", min: 1, max: 256 };
pub(super) static MTU: Shape =
    Shape::Count { what: "a whole number of bytes", min: MTU_BYTES_LEAST as u64, max: 65_535 };
static QUEUE: Shape = Shape::Count { what: "a whole number of packets", min: 1, max: 1_000_000 };

/// The whole file.
pub(crate) static TOPOLOGY: Shape = Shape::Object(&[
    optional("name", &TEXT, "What the lab is called. The file's name if absent."),
    optional("seed", &SEED, "Where all chance begins: two runs of one seed are alike to the byte. 0 if absent."),
    optional("internet", &INTERNET, "The public network in the middle."),
    optional("nats", &NATS, "The NATs, by name."),
    optional("hosts", &HOSTS, "The hosts, by name."),
    optional("scenario", &SCENARIO, "What happens, step by step, in order."),
]);

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

/// The actions of a scenario.
pub(crate) static ACTIONS: &[Action] = &[
    Action {
        key: "send",
        doc: "Sends one packet, a UDP datagram unless it says otherwise, and follows it until it is delivered or dropped.",
        shape: &SEND,
        expect: Some(&EXPECT_SEND),
    },
    Action { key: "ping", doc: "Sends ICMP echo requests.", shape: &PING, expect: Some(&EXPECT_PING) },
    Action {
        key: "discover",
        doc: "Finds out the behaviour of the NATs in front of a host (RFC 5780).",
        shape: &DISCOVER,
        expect: Some(&EXPECT_DISCOVER),
    },
    Action { key: "punch", doc: "Punches a UDP hole between two hosts.", shape: &PUNCH, expect: Some(&EXPECT_PATH) },
    Action {
        key: "connect",
        doc: "Has two hosts come to talk, by everything that is allowed or by one technique.",
        shape: &CONNECT,
        expect: Some(&EXPECT_PATH),
    },
    Action {
        key: "call",
        doc: "Connects two hosts and sends datagrams both ways at a constant rate.",
        shape: &CALL,
        expect: Some(&EXPECT_CALL),
    },
    Action {
        key: "map",
        doc: "Has a host ask its gateway for a port mapping.",
        shape: &MAP,
        expect: Some(&EXPECT_MAP),
    },
    Action {
        key: "talk",
        doc: "Sends messages over a connection that was kept, and waits for their echoes.",
        shape: &TALK,
        expect: Some(&EXPECT_TALK),
    },
    Action { key: "wait", doc: "Lets time pass.", shape: &DURATION, expect: None },
    Action { key: "reboot", doc: "Makes a NAT lose all its state.", shape: &NAME, expect: None },
    Action {
        key: "readdress",
        doc: "Gives a NAT other external addresses, the next free ones if none are named.",
        shape: &READDRESS,
        expect: None,
    },
    Action {
        key: "move",
        doc: "Takes a host to another network. Over an uplink that it has there, its default route leads from now on, and the others stay; without one, it takes its first uplink along, at once, and sockets on its old addresses cannot send any more.",
        shape: &MOVE,
        expect: None,
    },
    Action {
        key: "expire",
        doc: "Lets time pass, in whole seconds and a day at most, until the mapping that the packet with this label was given ends.",
        shape: &NAME,
        expect: Some(&EXPECT_EXPIRE),
    },
    Action {
        key: "count",
        doc: "Counts the mappings and sessions that a NAT has, and the packets that it has dropped since the scenario began.",
        shape: &NAME,
        expect: Some(&EXPECT_COUNT),
    },
    Action { key: "cut", doc: "Cuts the link of a host or NAT.", shape: &CABLE, expect: None },
    Action { key: "mend", doc: "Mends a link that was cut.", shape: &CABLE, expect: None },
];
static SCENARIO: Shape = Shape::Steps(ACTIONS);

static PING: Shape = Shape::Object(&[
    required("from", &NAME, "The host that asks."),
    required("to", &PLACE, "The host, NAT or address that is asked."),
    optional(
        "count",
        &Shape::Count { what: "a whole number of requests", min: 1, max: 65_535 },
        "How many requests; 4 if absent.",
    ),
    optional("interval", &POSITIVE, "Time from one request to the next; 1s if absent."),
    optional(
        "size",
        &Shape::Count { what: "a whole number of bytes", min: 0, max: 65_000 },
        "Payload of a request; 56 if absent.",
    ),
]);

static EXPECT_PING: Shape = Shape::Object(&[
    optional("rtt", &DURATIONS, "Round-trip times, every one of them."),
    optional("loss", &PERCENTS, "Share of requests without a reply."),
]);

static DISCOVER: Shape = Shape::Either(
    &NAME,
    &Shape::Object(&[
        required("from", &NAME, "The host that wants to know."),
        optional("via", &NAME, "The STUN server. The only one there is, if absent."),
        optional("family", &FAMILY, "Over which IP version; `ipv4` if absent."),
        optional("lifetime", &SWITCH, "Whether the lifetime of a mapping is searched for too; `off` if absent."),
    ]),
);

static EXPECT_DISCOVER: Shape = Shape::Object(&[
    optional("mapping", &word::<discovery::Mapping>(), "What is found of the mapping behaviour."),
    optional("filtering", &word::<discovery::Filtering>(), "What is found of the filtering behaviour."),
    optional("hairpin", &word::<discovery::Hairpin>(), "What is found of hairpinning."),
    optional("classic", &word::<discovery::Classic>(), "The name that RFC 3489 has for it."),
    optional(
        "payload_rewritten",
        &SWITCH,
        "Whether MAPPED-ADDRESS differs from XOR-MAPPED-ADDRESS: something on the way rewrites payloads.",
    ),
    optional("lifetime", &DURATIONS, "Lifetime of an idle UDP mapping."),
]);

static PUNCH: Shape = Shape::Object(&[
    required("from", &NAME, "The host that begins."),
    required("to", &NAME, "The host that it wants to talk to."),
    optional("via", &NAMES, "The hosts whose `stun` and `rendezvous` are used. The only ones there are, if absent."),
    optional("family", &FAMILY, "Over which IP version; `ipv4` if absent."),
    optional(
        "peer_reflexive",
        &SWITCH,
        "Whether a host also answers to endpoints that it first hears of by a packet from there; `on` if absent.",
    ),
]);

static CONNECT: Shape = Shape::Object(&[
    required("from", &NAME, "The host that begins."),
    required("to", &NAME, "The host that it wants to talk to."),
    optional(
        "via",
        &NAMES,
        "The hosts whose `stun`, `rendezvous` and `turn` are used. The only ones there are, if absent.",
    ),
    optional("family", &FAMILY, "Over which IP version, the relay's lent address included; `ipv4` if absent."),
    optional("technique", &word::<Technique>(), "How they come to talk; `connect` if absent."),
    optional(
        "as",
        &NAME,
        "The name under which the connection is kept for later `talk` steps. It ends with the step if absent.",
    ),
    optional("timeout", &POSITIVE, "How long all of it may take; 30s if absent."),
    optional("keep_alive", &POSITIVE, "Time from one keep-alive to the next; 15s if absent."),
    optional("allow", &Shape::OneOrMany(&WAY), "The paths that may be tried; every one if absent."),
    optional(
        "relay_first",
        &SWITCH,
        "Whether talk begins over the relay and moves when a better path is found; `off` if absent.",
    ),
    optional(
        "peer_reflexive",
        &SWITCH,
        "Whether a host also answers to endpoints that it first hears of by a packet from there; `on` if absent.",
    ),
    optional(
        "low_ttl",
        &Shape::Count { what: "a TTL", min: 1, max: 255 },
        "TTL of the first packets, which are to cross a host's own NATs and to die before the other's; found out if absent.",
    ),
    optional(
        "sockets",
        &Shape::Count { what: "a whole number of sockets", min: 1, max: 4096 },
        "How many sockets a host behind an unpredictable NAT opens; 256 if absent.",
    ),
    optional(
        "probes",
        &Shape::Count { what: "a whole number of probes", min: 1, max: 1_000_000 },
        "How many probes a host sends at most; 2048 if absent.",
    ),
    optional(
        "window",
        &Shape::Count { what: "a whole number of ports", min: 0, max: 1024 },
        "How many ports on either side of a predicted one are tried; 5 if absent.",
    ),
]);

static EXPECT_PATH: Shape = Shape::Either(
    &PATH,
    &Shape::Object(&[
        optional("path", &PATH, "How the hosts come to talk."),
        optional("within", &POSITIVE, "How soon, at most."),
    ]),
);

static TALK: Shape = Shape::Either(
    &NAME,
    &Shape::Object(&[
        required("on", &NAME, "The connection, by the name that its `connect` gave it."),
        optional("for", &POSITIVE, "How long messages are sent; 1s if absent."),
        optional("interval", &POSITIVE, "Time from one message to the next; 100ms if absent."),
    ]),
);

static EXPECT_TALK: Shape = Shape::Object(&[
    optional("path", &PATH, "The path in the end."),
    optional("loss", &PERCENTS, "Share of messages without an echo."),
    optional("outage", &DURATIONS, "The longest time without an echo, while messages are sent."),
]);

static CALL: Shape = Shape::Object(&[
    required("from", &NAME, "The host that calls."),
    required("to", &NAME, "The host that is called."),
    optional("via", &NAMES, "The hosts whose services are used. The only ones there are, if absent."),
    optional("family", &FAMILY, "Over which IP version, the relay's lent address included; `ipv4` if absent."),
    optional("allow", &Shape::OneOrMany(&WAY), "The paths that may be tried; every one if absent."),
    optional("for", &POSITIVE, "How long the datagrams flow; 10s if absent."),
    optional("interval", &POSITIVE, "Time from one datagram to the next, each way; 20ms if absent."),
    optional("rate", &RATE, "Payload bits a second, each way, instead of `interval`."),
    optional(
        "size",
        &Shape::Count { what: "a whole number of bytes", min: 25, max: 1_400 },
        "Payload of a datagram; 160 if absent.",
    ),
    optional(
        "relay_first",
        &SWITCH,
        "Whether talk begins over the relay and moves when a better path is found; `off` if absent.",
    ),
]);

static EXPECT_CALL: Shape = Shape::Object(&[
    optional("path", &PATH, "The path at the end of the call."),
    optional("loss", &PERCENTS, "Share of datagrams that do not arrive, both ways together."),
    optional("delay", &DURATIONS, "One-way delays, every one of them, both ways."),
]);

static READDRESS: Shape = Shape::Either(
    &NAME,
    &Shape::Object(&[
        required("nat", &NAME, "The NAT."),
        optional("address", &ADDRESSES, "Its new external addresses. The next free ones if absent."),
    ]),
);

static MOVE: Shape = Shape::Object(&[
    required("host", &NAME, "The host."),
    optional("behind", &NAME, "The NAT that it is behind from now on. The public network if absent."),
    optional("address", &ADDRESSES, "Its addresses there. The next free ones if absent."),
]);

static EXPECT_EXPIRE: Shape =
    Shape::Object(&[optional("after", &DURATIONS, "How long it lives, from the beginning of this step.")]);

static HOW_MANY: Shape = Shape::Count { what: "a whole number", min: 0, max: 1_000_000_000 };
static DROPS: Shape =
    Shape::ByWord { kind: <DropReason as Word>::KIND, choices: words::<DropReason>, value: &HOW_MANY };
static EXPECT_COUNT: Shape = Shape::Object(&[
    optional("mappings", &HOW_MANY, "How many mappings live."),
    optional("explicit", &HOW_MANY, "How many mappings live that somebody asked for: by port control, or forwarded."),
    optional("sessions", &HOW_MANY, "How many sessions live: the traffic of one mapping with one remote each."),
    optional("dropped", &HOW_MANY, "How many packets have died at the NAT, for whatever reason."),
    optional(
        "drops",
        &DROPS,
        "How many of them for each of these reasons; of the reasons that are not named nothing is said.",
    ),
]);

static CABLE: Shape = Shape::Either(
    &NAME,
    &Shape::Object(&[
        required("node", &NAME, "The host or NAT."),
        optional("behind", &NAME, "Which of its uplinks: the NAT behind which it lies. All of them if absent."),
    ]),
);

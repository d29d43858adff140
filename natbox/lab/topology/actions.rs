//! The steps of a scenario, key by key.

use natbox_probes::technique::Technique;
use natbox_probes::{Path, discovery};
use natbox_wire::{DropReason, Word};

use super::axes::AXES;
use super::control::{EXPECT_MAP, MAP};
use super::measure::{EXPECT_MEASURE, MEASURE};
use super::packets::{EXPECT_SEND, SEND};
use super::program::{AWAIT, EXPECT_PROGRAM, RUN};
use super::schema::{
    ADDRESSES, DURATION, DURATIONS, FAMILY, NAME, NAMES, PERCENT, PERCENTS, PLACE, POSITIVE, QUEUE, RATE, SWITCH,
    joined, optional, required, word,
};
use super::shape::{Action, Choice, Field, Shape, words};
use super::{places, units};

/// Every way in which hosts of a lab can come to talk.
pub(crate) fn ways() -> impl Iterator<Item = Path> {
    Path::ALL.iter().copied().filter(|path| *path != Path::None)
}

fn choice(path: Path) -> Choice {
    Choice { word: path.as_str(), meaning: path.meaning() }
}

static WAY: Shape = Shape::Word { kind: "path", choices: || ways().map(choice).collect() };
static ALLOWED: Shape = Shape::OneOrMany(&WAY);
static PATH: Shape = Shape::Word { kind: "path", choices: || ways().chain([Path::None]).map(choice).collect() };
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
    Action {
        key: "measure",
        doc: "Measures the NATs in front of a host as `natbox probe nat` does: every axis that can be seen from there.",
        shape: &MEASURE,
        expect: Some(&EXPECT_MEASURE),
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
    Action {
        key: "run",
        doc: "Starts a real program on a host. The file then needs a live run (`natbox run --live`).",
        shape: &RUN,
        expect: Some(&EXPECT_PROGRAM),
    },
    Action {
        key: "await",
        doc: "Waits for a program that goes on beside the steps.",
        shape: &AWAIT,
        expect: Some(&EXPECT_PROGRAM),
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
    Action {
        key: "set",
        doc: "Gives axes of a NAT that runs other values. Its mappings and sessions stay, with their external endpoints; filters and other judges count from the next packet, timers from the next packet that restarts them, rules for mappings from the next mapping.",
        shape: &SET,
        expect: None,
    },
    Action {
        key: "link",
        doc: "Gives the links of a host, or the outer one of a NAT, other properties. What is under way or waits arrives as if nothing had happened, and is overtaken by nothing that comes later.",
        shape: &RELINK,
        expect: None,
    },
    Action { key: "cut", doc: "Cuts the link of a host or NAT.", shape: &CABLE, expect: None },
    Action { key: "mend", doc: "Mends a link that was cut.", shape: &CABLE, expect: None },
];

static PORT_RANGE: Shape = Shape::Leaf(&places::PORTS);
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

static CONNECT: Shape = Shape::Object(&joined::<{ MEETING.len() + WAYS.len() }>(MEETING, WAYS));

const MEETING: &[Field] = &[
    required("from", &NAME, "The host that begins."),
    required("to", &NAME, "The host that it wants to talk to."),
    optional(
        "via",
        &NAMES,
        "The hosts whose `stun`, `rendezvous` and `turn` are used. The only ones there are, if absent.",
    ),
    optional("family", &FAMILY, "Over which IP version, the relay's lent address included; `ipv4` if absent."),
    optional(
        "as",
        &NAME,
        "The name under which the connection is kept for later `talk` steps. It ends with the step if absent.",
    ),
];

/// How two hosts come to talk: by which technique, and its options.
const WAYS: &[Field] = &[
    optional("technique", &word::<Technique>(), "How they come to talk; `connect` if absent."),
    optional("timeout", &POSITIVE, "How long all of it may take; 30s if absent."),
    optional("keep_alive", &POSITIVE, "Time from one keep-alive to the next; 15s if absent."),
    optional("allow", &ALLOWED, "The paths that may be tried; every one if absent."),
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
    optional("ports", &PORT_RANGE, "Ports among which a host guesses; `1025-65535` if absent."),
];

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

static CALL: Shape = Shape::Object(&joined::<{ CALLING.len() + WAYS.len() }>(CALLING, WAYS));

const CALLING: &[Field] = &[
    required("from", &NAME, "The host that calls."),
    required("to", &NAME, "The host that is called."),
    optional("via", &NAMES, "The hosts whose services are used. The only ones there are, if absent."),
    optional("family", &FAMILY, "Over which IP version, the relay's lent address included; `ipv4` if absent."),
    optional("for", &POSITIVE, "How long the datagrams flow; 10s if absent."),
    optional("interval", &POSITIVE, "Time from one datagram to the next, each way; 20ms if absent."),
    optional("rate", &RATE, "Payload bits a second, each way, instead of `interval`."),
    optional(
        "size",
        &Shape::Count { what: "a whole number of bytes", min: 25, max: 1_400 },
        "Payload of a datagram; 160 if absent.",
    ),
];

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

static SET: Shape = Shape::Object(&joined::<{ 1 + AXES.len() }>(&[required("nat", &NAME, "The NAT.")], AXES));

/// The axes that `set` changes, beside the name of the NAT.
pub(crate) static CHANGED_AXES: Shape = Shape::Object(AXES);

static RELINK: Shape = Shape::Object(&joined::<{ 2 + LINK_KEYS.len() }>(
    &[
        required("of", &NAME, "The host or NAT."),
        optional("behind", &NAME, "Which of its uplinks: the NAT behind which it lies. All of them if absent."),
    ],
    LINK_KEYS,
));

/// The properties that `link` changes, beside the name of whose link it is.
pub(crate) static CHANGED_LINK: Shape = Shape::Object(LINK_KEYS);

static RATE_OR_NONE: Shape = Shape::Leaf(&units::RATE_OR_NONE);

const LINK_KEYS: &[Field] = &[
    optional("latency", &DURATION, "One-way delay. As it was if absent; so with all of these."),
    optional("jitter", &DURATION, "Each packet is delayed by up to this much more."),
    optional("loss", &PERCENT, "Share of packets lost."),
    optional("duplicate", &PERCENT, "Share of packets delivered twice."),
    optional("reorder", &PERCENT, "Share of packets that may overtake others."),
    optional("rate", &RATE_OR_NONE, "Bits a second; `none` is without limit."),
    optional("queue", &QUEUE, "Packets that may wait where there is a rate."),
];

static CABLE: Shape = Shape::Either(
    &NAME,
    &Shape::Object(&[
        required("node", &NAME, "The host or NAT."),
        optional("behind", &NAME, "Which of its uplinks: the NAT behind which it lies. All of them if absent."),
    ]),
);

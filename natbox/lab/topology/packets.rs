//! The shapes of packet scripts: what `send` sends, and what may be expected of it.

use natbox_wire::{DropReason, Word};

use super::places;
use super::schema::{DURATIONS, MTU, NAME, PAYLOAD, PLACE, PORT, SWITCH, optional, required, word};
use super::shape::{Shape, words};
use crate::words::{Checksum, EchoKind, Flag, Parity, PortClass, Rejection};

pub(super) static SEND: Shape = Shape::Object(&[
    required(
        "from",
        &Shape::Leaf(&places::SOURCE),
        "The host's endpoint, `HOST:PORT` or `ADDRESS:PORT`; for ICMP `HOST` or `ADDRESS`.",
    ),
    optional(
        "to",
        &Shape::Leaf(&places::TARGET),
        "`NAME:PORT`, `ADDRESS:PORT`, or `LABEL.mapped` for the external endpoint that an earlier packet was given; for ICMP without a port, and absent for an ICMP error.",
    ),
    optional(
        "tcp",
        &Shape::OneOrMany(&word::<Flag>()),
        "Makes it a TCP segment with these flags. The host's own TCP knows nothing of it, and does not answer what comes to endpoints that a script names, unless a server has them; where nothing but `dropped: port-unreachable` or a rejection with `rst` is expected of them, it does.",
    ),
    optional("seq", &NUMBER, "Sequence number of a TCP segment; 0 if absent."),
    optional("ack", &NUMBER, "Acknowledgement number of a TCP segment; 0 if absent."),
    optional(
        "window",
        &Shape::Count { what: "a whole number of bytes", min: 0, max: 65_535 },
        "Window of a TCP segment; 65535 if absent.",
    ),
    optional(
        "mss",
        &Shape::Count { what: "a whole number of bytes", min: 0, max: 65_535 },
        "Maximum segment size, an option of SYNs (RFC 9293 section 3.7.1); no such option if absent.",
    ),
    optional(
        "window_scale",
        &Shape::Count { what: "a shift", min: 0, max: 255 },
        "Window scale, an option of SYNs (RFC 7323 section 2); no such option if absent. More than 14 counts as 14.",
    ),
    optional("icmp", &ICMP, "Makes it an ICMP message (ICMPv6 over IPv6). Hosts answer echo requests themselves."),
    optional(
        "id",
        &Shape::Count { what: "an identifier", min: 0, max: 65_535 },
        "Identifier of an echo message; 1 if absent, or that of `LABEL.mapped`.",
    ),
    optional("as", &NAME, "A label by which later steps mean this packet."),
    optional("payload", &PAYLOAD, "What it carries; if absent `natbox`, and nothing in a TCP segment."),
    optional(
        "size",
        &Shape::Count { what: "a whole number of bytes", min: 0, max: 65_507 },
        "How many bytes it carries: the payload (`natbox` if absent) again and again. The payload once, if absent.",
    ),
    optional(
        "ttl",
        &Shape::Count { what: "a whole number of hops", min: 1, max: 255 },
        "Its time to live, or hop limit; 64 if absent.",
    ),
    optional("dont_fragment", &SWITCH, "Whether nobody may fragment it (IPv4); `off` if absent."),
    optional("checksum", &word::<Checksum>(), "Its UDP, TCP or ICMP checksum; `right` if absent."),
    optional("fragments", &FRAGMENTS, "Its sender cuts it."),
]);

static NUMBER: Shape = Shape::Count { what: "a 32-bit number", min: 0, max: u32::MAX as u64 };

static ICMP: Shape = Shape::Either(
    &word::<EchoKind>(),
    &Shape::Object(&[
        required("error", &ERROR, "The error. It goes to whom the packet that it is about seemed to come from."),
        required("about", &NAME, "The label of an earlier packet; quoted as it was seen last."),
        optional(
            "mtu",
            &Shape::Count { what: "a whole number of bytes", min: 1, max: 65_535 },
            "The MTU that `packet-too-big` reports.",
        ),
    ]),
);
static ERROR: Shape = Shape::Word {
    kind: "ICMP error",
    choices: || words::<Rejection>().into_iter().filter(|choice| choice.word != Rejection::Rst.as_str()).collect(),
};

static FRAGMENTS: Shape = Shape::Object(&[
    required("mtu", &MTU, "The largest fragment, IP header included."),
    optional(
        "order",
        &Shape::OneOrMany(&Shape::Count { what: "the number of a fragment, from 1 on", min: 1, max: 100 }),
        "Which fragments are sent, in this order: some may be left out or come twice. All in their order if absent.",
    ),
]);

pub(super) static EXPECT_SEND: Shape = Shape::Object(&[
    optional(
        "delivered",
        &NAME,
        "The host that receives it; a NAT or `internet` where it is for them and they answer (a ping).",
    ),
    optional(
        "from",
        &Shape::Leaf(&places::SEEN),
        "The source that the receiver sees, `NAME:PORT` or `ADDRESS:PORT`; the port may be `*`.",
    ),
    optional("dropped", &word::<DropReason>(), "Why it dies."),
    optional(
        "at",
        &NAME,
        "Where it dies: a host, a NAT, or `internet`; on a link, the one that sent it into the link.",
    ),
    optional("rejected", &word::<Rejection>(), "The ICMP error or RST that comes back to the sender."),
    optional(
        "held",
        &NAME,
        "The host or NAT that holds it (a SYN that nobody asked for, an early fragment). The step ends then.",
    ),
    optional("after", &DURATIONS, "How long it is under way until its end."),
    optional(
        "expires",
        &Shape::Either(&DURATIONS, &Shape::Named(&DURATIONS)),
        "How long the mapping that it used lives from when it came to the NAT, if nothing more comes than what came back within this step: its own where it left or turned round, its receiver's where it came in, refused or not; at the last NAT that knew one, or at each NAT that is named.",
    ),
    optional(
        "mapped",
        &EXPECT_MAPPED,
        "The external endpoint that it is given: its source, as the farthest node sees it that it comes to. None where a NAT drops it on its way out.",
    ),
]);

static EXPECT_MAPPED: Shape = Shape::Object(&[
    optional("same-as", &NAME, "As that of the packet with this label."),
    optional("different-from", &NAME, "Another than that of the packet with this label."),
    optional("port", &PORT, "Its port."),
    optional("address", &PLACE, "Its address, or the NAT or host that has it."),
    optional("class", &word::<PortClass>(), "The class that its port is in (RFC 4787 section 4.2.3)."),
    optional("parity", &word::<Parity>(), "Whether its port is even (RFC 4787 section 4.2.2)."),
]);

//! The step `measure`, key by key.

use natbox_probes::{discovery, measure};

use super::schema::{DURATIONS, FAMILY, NAME, POSITIVE, optional, required, word};
use super::shape::Shape;

pub(super) static MEASURE: Shape = Shape::Either(
    &NAME,
    &Shape::Object(&[
        required("from", &NAME, "The host that measures."),
        optional("via", &NAME, "The STUN server. The only one there is, if absent."),
        optional("family", &FAMILY, "Over which IP version; `ipv4` if absent."),
        optional(
            "timers",
            &POSITIVE,
            "Search for the lifetimes of idle mappings too, up to this long; what lives longer stays unknown.",
        ),
    ]),
);

pub(super) static EXPECT_MEASURE: Shape = Shape::Object(&[
    optional("mapping", &word::<discovery::Mapping>(), "UDP mapping."),
    optional("tcp_mapping", &word::<discovery::Mapping>(), "TCP mapping."),
    optional("filtering", &word::<discovery::Filtering>(), "UDP filtering."),
    optional("filter_scope", &word::<measure::FilterScope>(), "What permissions are tied to."),
    optional(
        "session_affinity",
        &word::<measure::SessionAffinity>(),
        "Whether a reply uses the mapping that let the packet in.",
    ),
    optional("hairpin", &word::<discovery::Hairpin>(), "UDP hairpinning."),
    optional("hairpin_filter", &word::<measure::HairpinFilter>(), "Whether the filter judges hairpinned packets."),
    optional(
        "early_inbound",
        &word::<measure::EarlyInbound>(),
        "What a packet from outside does to a port that is about to be used.",
    ),
    optional("allocation", &word::<measure::Allocation>(), "How new mappings get their external ports."),
    optional("class", &word::<measure::PortClass>(), "Which external ports system ports get."),
    optional("parity", &word::<measure::PortParity>(), "Whether the lowest bit of the port is kept."),
    optional("contiguity", &word::<measure::PortContiguity>(), "Whether the next port gets the next port."),
    optional("pooling", &word::<measure::Pooling>(), "How several external addresses are given out."),
    optional("refresh", &word::<measure::Refresh>(), "Which packets make an idle mapping live longer."),
    optional("udp", &DURATIONS, "Lifetime of an idle mapping that has seen packets both ways."),
    optional("udp_unreplied", &DURATIONS, "Lifetime of an idle mapping that has seen packets from inside alone."),
    optional("udp_stream", &DURATIONS, "Lifetime of an idle mapping that was in use for three seconds."),
]);

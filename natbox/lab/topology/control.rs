//! Port control in topology files: what a NAT speaks, what it does wrong, which ports a person has forwarded; and the step
//! by which a host asks.

use natbox_probes::portmap::{Control, Method};
use natbox_wire::Word;

use super::schema::{DURATIONS, NAME, PORT, POSITIVE, SWITCH, optional, required, word};
use super::shape::{Choice, Shape, words};
use super::{places, units};
use crate::words::{Carrier, MapOutcome};

/// A NAT that speaks nothing.
pub(crate) const NONE: &str = "none";

fn speaks() -> Vec<Choice> {
    let mut choices = vec![Choice { word: NONE, meaning: "no port control" }];
    choices.extend(words::<Control>());
    choices
}

static SPEAKS: Shape = Shape::Word { kind: Control::KIND, choices: speaks };
static SOME: Shape = Shape::OneOrMany(&SPEAKS);

/// `control` of a NAT.
pub(super) static CONTROL: Shape = Shape::Either(
    &SOME,
    &Shape::Object(&[
        required("speaks", &SOME, "The protocols by which hosts behind it may ask for mappings."),
        optional(
            "secure_mode",
            &SWITCH,
            "UPnP-IGD: whether hosts may map ports to themselves alone (errors 718 and 606); on if absent.",
        ),
        optional(
            "third_party",
            &SWITCH,
            "PCP: whether hosts may map ports to others (RFC 6887 section 13.1); off if absent.",
        ),
        optional("min_lifetime", &POSITIVE, "The least lifetime that PCP grants; 2m if absent."),
        optional("max_lifetime", &POSITIVE, "The longest lifetime that NAT-PMP and PCP grant; 1d if absent."),
        optional("faults", &FAULTS, "What it does that it should not; nothing if absent."),
    ]),
);

static FAULTS: Shape = Shape::Object(&[
    optional("ghost", &SWITCH, "Answers success and maps nothing."),
    optional("true_lifetime", &POSITIVE, "Mappings live so long at most, whatever is answered."),
    optional("epoch_restarts", &POSITIVE, "The epoch begins anew each so long, though nothing was lost."),
    optional("refuses_other_port", &SWITCH, "Refuses where the port asked for is taken, instead of giving another."),
    optional("refuses_renewal", &SWITCH, "Answers that the port is taken when a host renews its own mapping."),
    optional("only_permanent", &SWITCH, "UPnP-IGD: grants no leases (error 725), only mappings without an end."),
    optional("answer_port", &PORT, "NAT-PMP and PCP: answers come from this port."),
    optional("delay", &POSITIVE, "Answers come so late."),
]);

/// `forward` of a NAT.
pub(super) static FORWARDS: Shape = Shape::OneOrMany(&Shape::Object(&[
    required("port", &PORT, "The external port."),
    required("to", &NAME, "The host behind it that gets what comes there."),
    optional("to_port", &PORT, "That host's port; the external one if absent."),
    optional("protocol", &word::<Carrier>(), "Of which protocol; both if absent."),
]));

/// The step `map`.
pub(super) static MAP: Shape = Shape::Object(&[
    required("from", &NAME, "The host that asks its gateway."),
    required("port", &PORT, "Its port."),
    optional("protocol", &word::<Carrier>(), "Of which protocol; `udp` if absent."),
    required("by", &word::<Method>(), "How it asks."),
    optional("external_port", &PORT, "The external port that it wishes for; whichever there is, if absent."),
    optional("lifetime", &Shape::Leaf(&units::POSITIVE), "For how long it asks; 2h if absent."),
    optional(
        "keep",
        &SWITCH,
        "Whether it renews the mapping for the rest of the scenario, and asks again when the NAT has lost it; off if absent.",
    ),
    optional("timeout", &POSITIVE, "How long it waits for answers; 30s if absent."),
]);

static OUTCOME: Shape = word::<MapOutcome>();

/// What may be expected of a `map`.
pub(super) static EXPECT_MAP: Shape = Shape::Either(
    &OUTCOME,
    &Shape::Object(&[
        optional("outcome", &OUTCOME, "Whether it is granted."),
        optional("external", &Shape::Leaf(&places::SEEN), "The endpoint that it is granted, as the gateway says."),
        optional("lifetime", &DURATIONS, "The lifetime that it is granted."),
        optional(
            "code",
            &Shape::Count { what: "an error code of the protocol", min: 1, max: 999 },
            "The code of the refusal.",
        ),
    ]),
);

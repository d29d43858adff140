//! The words of RFC 3489, for two of RFC 4787's axes.
//!
//! On everything else RFC 3489 is silent, so those axes stand at the defaults of [`Behavior`], and each preset lists
//! them as unknown. Two choices are ours, for what the names are used for: ports are preserved where a definition does not
//! speak of ports, as people who draw these NATs do, and `symmetric` gives out random ports, so that nobody can guess
//! them. Hairpinning is off for all: RFC 3489 does not know it, and a NAT that is not known to hairpin must not be
//! relied on for it.

use super::Preset;
use crate::Behavior;
use crate::behavior::{Filtering, Hairpin, Mapping, PortAllocation, Ports, TranslationKind};

pub(super) fn presets() -> Vec<Preset> {
    vec![
        full_cone(),
        restricted_cone(),
        port_restricted_cone(),
        symmetric(),
        symmetric_sequential(),
        symmetric_udp_firewall(),
        none(),
    ]
}

/// What the names say. Nothing else is.
const NAMED: &[&str] = &["mapping", "filtering"];
const DEFINED: &str = "defined, not observed";

/// One of RFC 3489's four.
fn rfc3489(mapping: Mapping, filtering: Filtering, allocation: PortAllocation) -> Behavior {
    let defaults = Behavior::default();
    let ports = Ports { allocation, ..defaults.ports.clone() };
    Behavior { mapping: mapping.into(), filtering: filtering.into(), ports, hairpin: Hairpin::Off.into(), ..defaults }
}

fn full_cone() -> Preset {
    Preset {
        name: "full-cone",
        summary: "one external endpoint towards everybody, and anybody may send to it",
        observed: DEFINED,
        known: NAMED,
        source: "RFC 3489 section 5 (Full Cone), in RFC 4787's words. Chosen: ports preserved, hairpinning off.",
        behavior: rfc3489(Mapping::EndpointIndependent, Filtering::EndpointIndependent, PortAllocation::Preserve),
    }
}

fn restricted_cone() -> Preset {
    Preset {
        name: "restricted-cone",
        summary: "one external endpoint towards everybody; addresses that were sent to may send to it",
        observed: DEFINED,
        known: NAMED,
        source: "RFC 3489 section 5 (Restricted Cone), in RFC 4787's words. Chosen: ports preserved, hairpinning off.",
        behavior: rfc3489(Mapping::EndpointIndependent, Filtering::AddressDependent, PortAllocation::Preserve),
    }
}

fn port_restricted_cone() -> Preset {
    Preset {
        name: "port-restricted-cone",
        summary: "one external endpoint towards everybody; endpoints that were sent to may send to it",
        observed: DEFINED,
        known: NAMED,
        source: "RFC 3489 section 5 (Port Restricted Cone), in RFC 4787's words. Chosen: ports preserved, hairpinning off.",
        behavior: rfc3489(Mapping::EndpointIndependent, Filtering::AddressAndPortDependent, PortAllocation::Preserve),
    }
}

fn symmetric() -> Preset {
    Preset {
        name: "symmetric",
        summary: "another external endpoint towards every remote endpoint, which alone may send to it",
        observed: DEFINED,
        known: NAMED,
        source: "RFC 3489 section 5 (Symmetric), in RFC 4787's words. Chosen: random ports, hairpinning off. RFC 3489 lets any port of a remote \
                 address answer; here only the port that was sent to may, as in RFC 4787's words for such NATs.",
        behavior: rfc3489(Mapping::AddressAndPortDependent, Filtering::AddressAndPortDependent, PortAllocation::Random),
    }
}

fn symmetric_sequential() -> Preset {
    Preset {
        name: "symmetric-sequential",
        summary: "as `symmetric`, with the next port for each new remote: a guesser's NAT",
        source: "RFC 3489 section 5 (Symmetric), in RFC 4787's words. Chosen: sequential ports, hairpinning off.",
        behavior: rfc3489(
            Mapping::AddressAndPortDependent,
            Filtering::AddressAndPortDependent,
            PortAllocation::Sequential,
        ),
        ..symmetric()
    }
}

fn symmetric_udp_firewall() -> Preset {
    Preset {
        name: "symmetric-udp-firewall",
        summary: "no translation; endpoints that were sent to may send back",
        observed: DEFINED,
        known: NAMED,
        source: "RFC 3489 section 10.1 (Symmetric UDP Firewall).",
        behavior: Behavior {
            translation: TranslationKind::None,
            filtering: Filtering::AddressAndPortDependent.into(),
            ..Behavior::default()
        },
    }
}

fn none() -> Preset {
    Preset {
        name: "none",
        summary: "a plain router: nothing is translated, filtered or remembered",
        observed: DEFINED,
        known: NAMED,
        source: "RFC 3489 section 10.1 (Open Internet); RFC 1812 for what a router does.",
        behavior: Behavior {
            translation: TranslationKind::None,
            filtering: Filtering::Off.into(),
            ..Behavior::default()
        },
    }
}

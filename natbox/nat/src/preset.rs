//! Names for behaviours. A preset is resolved to a [`Behavior`] once; nothing below sees its name.
//!
//! The cone presets are RFC 3489's words for two of RFC 4787's axes. On everything else RFC 3489 is silent, so
//! those axes stand at the defaults of [`Behavior`], and each preset's `source` lists them as unknown. Two choices
//! are ours, for what the names are used for: ports are preserved where a definition does not speak of ports, as
//! people who draw these NATs do, and `symmetric` gives out random ports, so that nobody can guess them. Hairpinning is off for
//! all four: RFC 3489 does not know it, and a NAT that is not known to hairpin must not be relied on for it.

use crate::Behavior;
use crate::behavior::{Filtering, Hairpin, Mapping, PortAllocation, Ports, TranslationKind};

/// A named behaviour.
#[derive(Clone, Debug)]
pub struct Preset {
    /// Its name in topology files, kebab-case.
    pub name: &'static str,
    /// What it is, one line.
    pub summary: &'static str,
    /// Where its behaviour was observed, and by whom it is stated.
    pub source: &'static str,
    /// What it stands for.
    pub behavior: Behavior,
}

/// Every preset, in the order in which lists show them.
pub fn all() -> Vec<Preset> {
    vec![
        full_cone(),
        restricted_cone(),
        port_restricted_cone(),
        symmetric(),
        symmetric_udp_firewall(),
        none(),
        rfc4787(),
        cgn(),
    ]
}

/// The preset of this name.
pub fn find(name: &str) -> Option<Preset> {
    all().into_iter().find(|preset| preset.name == name)
}

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
        source: "RFC 3489 section 5 (Full Cone), in RFC 4787's words. Unknown, left at defaults: timeouts, refresh, \
                 pooling, TCP, ICMP. Chosen: ports preserved, hairpinning off.",
        behavior: rfc3489(Mapping::EndpointIndependent, Filtering::EndpointIndependent, PortAllocation::Preserve),
    }
}

fn restricted_cone() -> Preset {
    Preset {
        name: "restricted-cone",
        summary: "one external endpoint towards everybody; addresses that were sent to may send to it",
        source: "RFC 3489 section 5 (Restricted Cone), in RFC 4787's words. Unknown, left at defaults: timeouts, \
                 refresh, pooling, TCP, ICMP. Chosen: ports preserved, hairpinning off.",
        behavior: rfc3489(Mapping::EndpointIndependent, Filtering::AddressDependent, PortAllocation::Preserve),
    }
}

fn port_restricted_cone() -> Preset {
    Preset {
        name: "port-restricted-cone",
        summary: "one external endpoint towards everybody; endpoints that were sent to may send to it",
        source: "RFC 3489 section 5 (Port Restricted Cone), in RFC 4787's words. Unknown, left at defaults: timeouts, \
                 refresh, pooling, TCP, ICMP. Chosen: ports preserved, hairpinning off.",
        behavior: rfc3489(Mapping::EndpointIndependent, Filtering::AddressAndPortDependent, PortAllocation::Preserve),
    }
}

fn symmetric() -> Preset {
    Preset {
        name: "symmetric",
        summary: "another external endpoint towards every remote endpoint, which alone may send to it",
        source: "RFC 3489 section 5 (Symmetric), in RFC 4787's words. Unknown, left at defaults: timeouts, refresh, \
                 pooling, TCP, ICMP. Chosen: random ports, hairpinning off. RFC 3489 lets any port of a remote \
                 address answer; here only the port that was sent to may, as in RFC 4787's words for such NATs.",
        behavior: rfc3489(Mapping::AddressAndPortDependent, Filtering::AddressAndPortDependent, PortAllocation::Random),
    }
}

fn symmetric_udp_firewall() -> Preset {
    Preset {
        name: "symmetric-udp-firewall",
        summary: "no translation; endpoints that were sent to may send back",
        source: "RFC 3489 section 10.1 (Symmetric UDP Firewall). Unknown, left at defaults: timeouts, refresh, TCP, ICMP.",
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
        source: "RFC 3489 section 10.1 (Open Internet); RFC 1812 for what a router does.",
        behavior: Behavior {
            translation: TranslationKind::None,
            filtering: Filtering::Off.into(),
            ..Behavior::default()
        },
    }
}

fn rfc4787() -> Preset {
    Preset {
        name: "rfc4787",
        summary: "what the RFCs require of a NAT, and recommend where they leave a choice",
        source: "RFC 4787 section 12 (REQ-1 to REQ-12), RFC 5382 section 8 (REQ-1 to REQ-10), RFC 5508 (REQ-1 to REQ-7), \
                 RFC 7857 section 9 (random ports). Not modelled: system ports for system ports (REQ-3a), port parity (REQ-4).",
        behavior: Behavior::default(),
    }
}

fn cgn() -> Preset {
    Preset {
        name: "cgn",
        summary: "a carrier-grade NAT by the book: full cone for all, paired addresses, hairpinning, random ports",
        source: "RFC 6888 section 3: REQ-1 (RFC 4787, 5382, 5508), REQ-2 (paired), REQ-7 (endpoint-independent \
                 filtering), REQ-15 (unpredictable ports). Not modelled: limits per subscriber (REQ-4, REQ-5), \
                 quarantine of ports (REQ-8), port control (REQ-9), logging (REQ-12).",
        behavior: Behavior::default(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_preset_is_found_by_its_name_and_contradicts_nothing() {
        for preset in all() {
            let found = find(preset.name).expect("a preset is found by its own name");
            assert_eq!(found.behavior, preset.behavior);
            assert_eq!(preset.behavior.contradictions(), Vec::<String>::new(), "{}", preset.name);
            assert!(preset.source.contains("RFC"), "{} names no source", preset.name);
        }
        assert!(find("full_cone").is_none());
    }

    #[test]
    fn no_two_presets_share_a_name() {
        let names: std::collections::BTreeSet<&str> = all().iter().map(|preset| preset.name).collect();
        assert_eq!(names.len(), all().len());
    }
}

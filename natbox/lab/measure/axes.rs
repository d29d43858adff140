//! A measurement, axis by axis.

use std::time::Duration;

use natbox_nat::Behavior;
use natbox_probes::discovery::{Lifetime, Mapping};
use natbox_probes::measure::{Allocation, Measured, Measurement};
use natbox_wire::Word;

use crate::topology::units::show_duration;

/// What was found of an axis.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Found {
    /// Its value, as topology files write it.
    Word(String),
    /// A lifetime: survived, and not survived.
    Between {
        /// An idle mapping lives so long.
        alive_after: Duration,
        /// An idle mapping does not live so long.
        expired_after: Duration,
    },
    /// Nothing, and why.
    Unknown(String),
}

/// An axis of a behaviour.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Axis {
    /// Its path in the entry of a NAT: `ports.allocation`.
    pub name: &'static str,
    /// What was found of it.
    pub found: Found,
}

/// Axes that are given for each protocol.
const BY_PROTOCOL: &[(&str, [&str; 3])] = &[
    ("mapping", ["mapping.udp", "mapping.tcp", "mapping.icmp"]),
    ("filtering", ["filtering.udp", "filtering.tcp", "filtering.icmp"]),
    ("hairpin", ["hairpin.udp", "hairpin.tcp", "hairpin.icmp"]),
];

/// Every axis of a behaviour, in the order in which reports show them.
pub fn axes(measurement: &Measurement) -> Vec<Axis> {
    let names = Behavior::default().axes().into_iter().flat_map(|(name, _)| {
        let protocols = BY_PROTOCOL.iter().find(|(whole, _)| *whole == name);
        protocols.map_or_else(|| vec![name], |(_, parts)| parts.to_vec())
    });
    names.map(|name| Axis { name, found: found(measurement, name) }).collect()
}

fn found(m: &Measurement, name: &str) -> Found {
    match name {
        "translation" => translation(m),
        "mapping.udp" => mapping(m, m.mapping),
        "mapping.tcp" => mapping(m, m.tcp_mapping),
        "filtering.udp" => word(m.filtering),
        "filter_scope" => word(m.filter_scope),
        "session_affinity" => word(m.session_affinity),
        "hairpin.udp" => word(m.hairpin),
        "hairpin_filter" => word(m.hairpin_filter),
        "early_inbound" => word(m.early_inbound),
        "ports.allocation" => word(m.ports.allocation),
        "ports.delta" if m.ports.allocation == Ok(Allocation::Sequential) => Found::Word(m.ports.delta.to_string()),
        "ports.range" => range(m),
        "ports.class" => word(m.ports.class),
        "ports.parity" => word(m.ports.parity),
        "ports.contiguity" => word(m.ports.contiguity),
        "pooling" => word(m.ports.pooling),
        "refresh" => word(m.timers.refresh),
        "timeouts.udp" => lifetime(m.timers.replied),
        "timeouts.udp_unreplied" => lifetime(m.timers.unreplied),
        "timeouts.udp_stream" => lifetime(m.timers.stream),
        "alg.generic" if m.payload_rewritten => Found::Word("rewrite-binary".to_owned()),
        other => Found::Unknown(out_of_sight(other).to_owned()),
    }
}

fn word<W: Word>(measured: Measured<W>) -> Found {
    match measured {
        Ok(word) => Found::Word(word.as_str().to_owned()),
        Err(why) => Found::Unknown(why.to_string()),
    }
}

fn translation(m: &Measurement) -> Found {
    match m.mapping {
        Ok(Mapping::None) => Found::Word("none".to_owned()),
        _ if m.ports.preserved < m.ports.sockets => Found::Word("napt".to_owned()),
        _ => {
            Found::Unknown("addresses are translated, and no port was: napt that preserves ports, or basic".to_owned())
        }
    }
}

/// Where nothing is translated, mapping has no meaning.
fn mapping(m: &Measurement, found: Measured<Mapping>) -> Found {
    match found {
        Ok(Mapping::None) => Found::Unknown("nothing is translated".to_owned()),
        _ if !m.translated() => Found::Unknown("nothing is translated".to_owned()),
        found => word(found),
    }
}

fn range(m: &Measurement) -> Found {
    Found::Unknown(match m.ports.range {
        Some((least, most)) if m.translated() => {
            format!("ports from {least} to {most} were seen: the range is at least that")
        }
        _ => "nothing is translated".to_owned(),
    })
}

fn lifetime(measured: Measured<Lifetime>) -> Found {
    match measured {
        Ok(Lifetime { alive_after, expired_after: Some(expired_after) }) => {
            Found::Between { alive_after, expired_after }
        }
        Ok(Lifetime { alive_after, .. }) => Found::Unknown(format!("longer than {}", show_duration(&alive_after))),
        Err(why) => Found::Unknown(why.to_string()),
    }
}

/// Why a host behind a NAT cannot see an axis with STUN servers.
fn out_of_sight(axis: &str) -> &'static str {
    const OTHERS: &str = "shows with other hosts behind the NAT, or when it is full";
    const RAW: &str = "shows with packets that sockets do not send";
    let begins = |words: &[&str]| words.iter().any(|word| axis.starts_with(word));
    match axis {
        "ports.delta" => "ports are not sequential",
        "ipv6" => "measure over IPv6 as well",
        "mapping.icmp" | "hairpin.icmp" | "filtering.icmp" => {
            "shows with ICMP queries to hosts that tell what they see"
        }
        "filtering.tcp" => "shows with a server that connects from elsewhere",
        "hairpin.tcp" => "UDP alone was turned round",
        "protocol_sharing" => "shows with a server that answers to UDP what came over TCP",
        "timeouts.udp_stream_after" => "sessions were streams after three seconds; earlier was not tried",
        "alg.generic" => "no address in binary was rewritten; text was not tried",
        "refresh_on_error" | "refresh_on_filtered" => RAW,
        "aliases" | "bypass" | "overlapping_realms" => "shows with hosts at the addresses that it is about",
        "timeouts.icmp" | "timeouts.absolute" | "timeouts.udp_ports" | "timeouts.early_inbound" => {
            "was not searched for"
        }
        _ if begins(&["timeouts.tcp"]) => "shows in hours, with a server that talks when it is told to",
        _ if begins(&["outbound", "alg"]) => "shows with servers of other protocols and ports",
        _ if begins(&["ports", "quota", "degraded", "pool_exhausted", "exhausted", "table"]) => OTHERS,
        _ => RAW,
    }
}

/// What is not known, by its reason: the axes of one reason together, in the order of the first of them.
pub(crate) fn unknown(axes: &[Axis]) -> Vec<(&str, Vec<&'static str>)> {
    let mut reasons: Vec<(&str, Vec<&'static str>)> = Vec::new();
    for axis in axes {
        let Found::Unknown(why) = &axis.found else { continue };
        match reasons.iter_mut().find(|(other, _)| other == why) {
            Some((_, names)) => names.push(axis.name),
            None => reasons.push((why, vec![axis.name])),
        }
    }
    reasons
}

/// Words in lines of at most `width` characters.
pub(crate) fn lines(words: &[&str], width: usize) -> Vec<String> {
    let mut lines: Vec<String> = Vec::new();
    for word in words {
        match lines.last_mut() {
            Some(line) if line.len() + 1 + word.len() <= width => {
                line.push(' ');
                line.push_str(word);
            }
            _ => lines.push((*word).to_owned()),
        }
    }
    lines
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_axis_has_a_reason_to_be_unknown() {
        for (axis, _) in Behavior::default().axes() {
            assert!(!out_of_sight(axis).is_empty(), "{axis}");
        }
    }
}

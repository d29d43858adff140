//! How a NAT behaves: closed lists of choices, one value per axis.
//!
//! The words are those of RFC 4787 and its kin; the same word stands in Rust, YAML, JSON and captures.

use std::ops::RangeInclusive;
use std::time::Duration;

use natbox_wire::{Word, words};

words! {
    /// Whether addresses are rewritten at all (RFC 2663).
    pub enum TranslationKind: "translation" {
        Napt = "napt", "address and port are rewritten (RFC 2663: NAPT)";
        None = "none", "nothing is rewritten: a router, or with filtering a stateful firewall";
    }
}

words! {
    /// When an internal endpoint keeps its external endpoint (RFC 4787 section 4.1).
    pub enum Mapping: "mapping behaviour" {
        EndpointIndependent = "endpoint-independent", "one external endpoint towards every remote";
        AddressDependent = "address-dependent", "one external endpoint per remote address";
        AddressAndPortDependent = "address-and-port-dependent", "one external endpoint per remote address and port";
    }
}

words! {
    /// Which remotes may send to an external endpoint (RFC 4787 section 5).
    pub enum Filtering: "filtering behaviour" {
        EndpointIndependent = "endpoint-independent", "anybody, while the mapping lives";
        AddressDependent = "address-dependent", "remotes whose address has been sent to";
        AddressAndPortDependent = "address-and-port-dependent", "remotes whose address and port have been sent to";
        Off = "off", "no filter and no state: everything passes (only where nothing is translated)";
    }
}

words! {
    /// By what a remote must have been sent to before it is admitted: RFC 4787 section 5 can be read both ways.
    pub enum FilterScope: "filter scope" {
        Mapping = "mapping", "permissions are kept per external mapping";
        Endpoint = "endpoint", "permissions are kept per internal endpoint, whichever mapping the packet left through";
    }
}

words! {
    /// Whether a reply uses the mapping that let the packet in (RFC 6146's session table, RFC 6886 section 3.9).
    pub enum SessionAffinity: "session affinity" {
        On = "on", "a reply uses the mapping that let the packet in";
        Off = "off", "every outbound packet is keyed afresh by the mapping rule";
    }
}

words! {
    /// How a new mapping gets its external port (RFC 4787 section 4.2).
    pub enum PortAllocation: "port allocation" {
        Preserve = "preserve", "the internal port if it is free, else a random one";
        Sequential = "sequential", "the port after the last one given out, wrapping inside the range";
        Random = "random", "a random free port of the range";
    }
}

words! {
    /// Whether one internal address keeps one external address (RFC 4787 section 4.1, REQ-2).
    pub enum Pooling: "address pooling" {
        Paired = "paired", "all mappings of one internal address share one external address";
        Arbitrary = "arbitrary", "every mapping gets any external address of the pool, at random";
    }
}

words! {
    /// What happens to a packet from inside to the NAT's own external address (RFC 4787 section 6).
    pub enum Hairpin: "hairpinning" {
        ExternalSource = "external-source", "delivered inside, with the sender's external endpoint as source (REQ-9a)";
        InternalSource = "internal-source", "delivered inside, with the sender's internal endpoint left as source";
        Off = "off", "dropped";
    }
}

words! {
    /// Whether the filter also judges hairpinned packets (nothing in RFC 4787 says).
    pub enum HairpinFilter: "hairpin filter" {
        Apply = "apply", "a hairpinned packet is filtered as if it came from outside";
        Bypass = "bypass", "a hairpinned packet is always admitted";
    }
}

words! {
    /// Which packets restart the idle timer of a UDP or echo session (RFC 4787 section 4.3, REQ-6). TCP timers run
    /// from the last segment of either side (RFC 5382 section 5). Opening a session starts its timer in any case;
    /// one opened from outside keeps its mapping alive only where inbound packets refresh, or once it is answered.
    pub enum Refresh: "mapping refresh" {
        Outbound = "outbound", "packets from inside only";
        Both = "both", "packets in either direction";
        Inbound = "inbound", "packets from outside only";
        None = "none", "no packet: the lifetime is absolute";
    }
}

words! {
    /// What the box does with IPv6.
    pub enum Ipv6: "IPv6 mode" {
        Firewall = "firewall", "addresses are left alone; the filter alone applies (RFC 6092)";
        Napt = "napt", "addresses and ports are rewritten as for IPv4 (NAT66)";
    }
}

/// How external ports are chosen.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ports {
    /// The rule.
    pub allocation: PortAllocation,
    /// The external ports (UDP, TCP) that may be given out. Echo identifiers use all of 0-65535.
    pub range: RangeInclusive<u16>,
}

/// How long idle sessions live.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Timeouts {
    /// UDP sessions (RFC 4787 REQ-5: at least 2 minutes, 5 recommended).
    pub udp: Duration,
    /// ICMP echo sessions (RFC 5508 REQ-2: 60 seconds).
    pub icmp: Duration,
    /// TCP before a packet of the handshake came back (RFC 5382 REQ-5: 4 minutes).
    pub tcp_opening: Duration,
    /// Established TCP (RFC 5382 REQ-5: 2 hours 4 minutes).
    pub tcp_established: Duration,
    /// TCP after FINs both ways, or a RST (RFC 5382 REQ-5: 4 minutes).
    pub tcp_closing: Duration,
}

/// Everything that makes one NAT differ from another.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Behavior {
    /// Whether IPv4 addresses are rewritten. Where nothing is translated, mapping, ports, pooling and hairpinning
    /// have no meaning: every endpoint is its own external endpoint.
    pub translation: TranslationKind,
    /// What happens to IPv6.
    pub ipv6: Ipv6,
    /// When an internal endpoint keeps its external endpoint.
    pub mapping: Mapping,
    /// Which remotes may send to an external endpoint.
    pub filtering: Filtering,
    /// What permissions are tied to.
    pub filter_scope: FilterScope,
    /// Whether replies use the mapping that let the packet in.
    pub session_affinity: SessionAffinity,
    /// How external ports are chosen.
    pub ports: Ports,
    /// How external addresses are chosen.
    pub pooling: Pooling,
    /// Packets from inside to an external address of this NAT.
    pub hairpin: Hairpin,
    /// Whether hairpinned packets are filtered.
    pub hairpin_filter: HairpinFilter,
    /// Which packets restart idle timers.
    pub refresh: Refresh,
    /// How long idle sessions live.
    pub timeouts: Timeouts,
}

impl Default for Behavior {
    /// What RFC 4787, 5382 and 5508 require, and recommend where they leave a choice.
    fn default() -> Behavior {
        Behavior {
            translation: TranslationKind::Napt,
            ipv6: Ipv6::Firewall,
            mapping: Mapping::EndpointIndependent,
            filtering: Filtering::EndpointIndependent,
            filter_scope: FilterScope::Mapping,
            session_affinity: SessionAffinity::On,
            ports: Ports { allocation: PortAllocation::Random, range: 1024..=65535 },
            pooling: Pooling::Paired,
            hairpin: Hairpin::ExternalSource,
            hairpin_filter: HairpinFilter::Apply,
            refresh: Refresh::Outbound,
            timeouts: Timeouts {
                udp: Duration::from_secs(300),
                icmp: Duration::from_secs(60),
                tcp_opening: Duration::from_secs(240),
                tcp_established: Duration::from_secs(7440),
                tcp_closing: Duration::from_secs(240),
            },
        }
    }
}

impl Behavior {
    /// Every axis with its word, in the order in which reports show them.
    pub fn axes(&self) -> Vec<(&'static str, String)> {
        let word = |word: &str| word.to_owned();
        vec![
            ("translation", word(self.translation.as_str())),
            ("ipv6", word(self.ipv6.as_str())),
            ("mapping", word(self.mapping.as_str())),
            ("filtering", word(self.filtering.as_str())),
            ("filter_scope", word(self.filter_scope.as_str())),
            ("session_affinity", word(self.session_affinity.as_str())),
            ("ports.allocation", word(self.ports.allocation.as_str())),
            ("ports.range", format!("{}-{}", self.ports.range.start(), self.ports.range.end())),
            ("pooling", word(self.pooling.as_str())),
            ("hairpin", word(self.hairpin.as_str())),
            ("hairpin_filter", word(self.hairpin_filter.as_str())),
            ("refresh", word(self.refresh.as_str())),
            ("timeouts.udp", in_words(self.timeouts.udp)),
            ("timeouts.icmp", in_words(self.timeouts.icmp)),
            ("timeouts.tcp_opening", in_words(self.timeouts.tcp_opening)),
            ("timeouts.tcp_established", in_words(self.timeouts.tcp_established)),
            ("timeouts.tcp_closing", in_words(self.timeouts.tcp_closing)),
        ]
    }

    /// What in this behaviour contradicts itself, one sentence each; empty if nothing does. A NAT takes contradictory
    /// behaviours all the same: `off` filters nothing, an empty range has no port, a timer of zero ends at once.
    pub fn contradictions(&self) -> Vec<String> {
        let mut found = Vec::new();
        let translates = self.translation == TranslationKind::Napt || self.ipv6 == Ipv6::Napt;
        if translates && self.filtering == Filtering::Off {
            found.push(
                "filtering `off` needs a box that translates nothing: set `endpoint-independent` to admit all".into(),
            );
        }
        let (first, last) = (self.ports.range.start(), self.ports.range.end());
        if self.ports.range.is_empty() {
            found.push(format!("port range {first}-{last} is empty: its end is before its start"));
        } else if *first == 0 {
            found.push(format!(
                "port range {first}-{last} begins with port 0, which no packet may come from: begin at 1"
            ));
        }
        let timeouts = self.axes().into_iter().filter(|(axis, _)| axis.starts_with("timeouts."));
        found.extend(
            timeouts.filter(|(_, time)| time == "0s").map(|(axis, _)| format!("{axis} is 0s: no session would live")),
        );
        found
    }
}

/// A duration in the largest unit that shows it exactly: `300s`, `1500ms`.
fn in_words(duration: Duration) -> String {
    let nanos = duration.as_nanos();
    let units = [(1_000_000_000, "s"), (1_000_000, "ms"), (1_000, "us")];
    let unit = units.into_iter().find(|(size, _)| nanos.is_multiple_of(*size));
    unit.map_or_else(|| format!("{nanos}ns"), |(size, unit)| format!("{}{unit}", nanos / size))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn axes_show_the_words_of_the_files() {
        let axes = Behavior::default().axes();
        let of = |name: &str| axes.iter().find(|(axis, _)| *axis == name).map(|(_, word)| word.as_str());
        assert_eq!(of("mapping"), Some("endpoint-independent"));
        assert_eq!(of("ports.range"), Some("1024-65535"));
        assert_eq!(of("timeouts.tcp_established"), Some("7440s"));
        assert_eq!(axes.len(), 17);
    }

    #[test]
    fn durations_are_shown_exactly_in_the_largest_unit() {
        let shown = [0, 1, 1_500, 2_000_000, 1_500_000_000, 60_000_000_000].map(|n| in_words(Duration::from_nanos(n)));
        assert_eq!(shown, ["0s", "1ns", "1500ns", "2ms", "1500ms", "60s"]);
    }

    #[test]
    fn contradictions_are_named() {
        let mut behavior = Behavior { filtering: Filtering::Off, ..Behavior::default() };
        behavior.ports.range = std::ops::RangeInclusive::new(9, 8);
        behavior.timeouts.udp = Duration::ZERO;
        let found = behavior.contradictions();
        assert_eq!(found.len(), 3, "{found:?}");
        assert!(found[0].contains("filtering `off`") && found[1].contains("9-8") && found[2].contains("timeouts.udp"));
        behavior.translation = TranslationKind::None;
        assert_eq!(behavior.contradictions().len(), 2);
        behavior.ports.range = 0..=9;
        assert!(behavior.contradictions()[0].contains("port 0"));
    }
}

//! What a behaviour says and cannot mean.

use std::collections::BTreeSet;

use super::{Behavior, EarlyInbound, Filtering, Ipv6, PortAllocation, TranslationKind};

impl Behavior {
    /// What in this behaviour contradicts itself, one sentence each; empty if nothing does. A NAT takes contradictory
    /// behaviours all the same: `off` filters nothing, an empty range has no port, a timer of zero ends at once.
    pub fn contradictions(&self) -> Vec<String> {
        let mut found = Vec::new();
        let translates = self.translation != TranslationKind::None || self.ipv6 == Ipv6::Napt;
        let off = self.filtering.all().into_iter().filter(|one| **one == Filtering::Off).count();
        if translates && off > 0 {
            found.push(
                "filtering `off` needs a box that translates nothing: set `endpoint-independent` to admit all".into(),
            );
        } else if off == 1 || off == 2 {
            found.push("filtering `off` is for all protocols or for none".into());
        }
        if self.ports.range.count() == 0 {
            found.push("the port range is empty: its end is before its start".into());
        } else if self.ports.range.contains(0) {
            found.push("the port range begins with port 0, which no packet may come from: begin at 1".into());
        }
        self.contradictory_ports(&mut found);
        let timeouts = self.axes().into_iter().filter(|(axis, _)| axis.starts_with("timeouts."));
        let zero = timeouts.filter(|(axis, time)| time == "0s" && *axis != "timeouts.udp_stream_after");
        found.extend(zero.map(|(axis, _)| format!("{axis} is 0s: no session would live")));
        self.contradictory_lifetimes(&mut found);
        self.contradictory_aliases(&mut found);
        if self.early_inbound == EarlyInbound::Remap && !translates {
            found.push("early_inbound `remap` needs a box that translates: others have no port to change".into());
        }
        found
    }

    fn contradictory_lifetimes(&self, found: &mut Vec<String>) {
        let mut known = BTreeSet::new();
        for (port, lifetime) in &self.timeouts.udp_ports {
            if lifetime.is_zero() {
                found.push(format!("timeouts.udp_ports is 0s for port {port}: no session would live"));
            }
            if !known.insert(port) {
                found.push(format!("timeouts.udp_ports names port {port} twice"));
            }
        }
    }

    fn contradictory_aliases(&self, found: &mut Vec<String>) {
        let (mut inside, mut outside) = (BTreeSet::new(), BTreeSet::new());
        for alias in &self.aliases {
            if alias.inside.is_ipv4() != alias.outside.is_ipv4() {
                found.push(format!("the alias {} is of another IP version than {}", alias.inside, alias.outside));
            }
            if !inside.insert(alias.inside) || !outside.insert(alias.outside) {
                found.push(format!("the alias {} of {}: one of the two is there already", alias.inside, alias.outside));
            }
        }
    }

    /// Rules by which nobody would ever get a port.
    fn contradictory_ports(&self, found: &mut Vec<String>) {
        let (ports, count) = (&self.ports, self.ports.range.count());
        let shares = u64::from(ports.deterministic.compression) + u64::from(ports.deterministic.dynamic_factor);
        match ports.allocation {
            PortAllocation::Block if count > 0 && u32::from(ports.block_size) > count => {
                found.push(format!("no block of {} ports fits into the port range", ports.block_size));
            }
            PortAllocation::Deterministic if count > 0 && shares > u64::from(count) => {
                found.push(format!("the port range has no port for each of {shares} shares"));
            }
            _ => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::behavior::Alias;

    #[test]
    fn rules_that_give_nobody_a_port_are_named() {
        let mut behavior = Behavior::default();
        (behavior.ports.allocation, behavior.ports.range) = (PortAllocation::Block, (5000..=5062).into());
        assert!(behavior.contradictions()[0].contains("no block of 64 ports"));
        (behavior.ports.allocation, behavior.ports.range) = (PortAllocation::Deterministic, (5000..=5014).into());
        assert!(behavior.contradictions()[0].contains("16 shares"));
        behavior.ports.range = (5000..=5015).into();
        assert!(behavior.contradictions().is_empty());
    }

    #[test]
    fn contradictions_are_named() {
        let mut behavior = Behavior { filtering: Filtering::Off.into(), ..Behavior::default() };
        behavior.ports.range = std::ops::RangeInclusive::new(9, 8).into();
        behavior.timeouts.icmp = Duration::ZERO;
        let found = behavior.contradictions();
        assert_eq!(found.len(), 3, "{found:?}");
        assert!(
            found[0].contains("filtering `off`") && found[1].contains("empty") && found[2].contains("timeouts.icmp")
        );
        behavior.translation = TranslationKind::None;
        assert_eq!(behavior.contradictions().len(), 2);
        behavior.ports.range = (0..=9).into();
        assert!(behavior.contradictions()[0].contains("port 0"));
    }

    #[test]
    fn contradictory_lists_are_named() {
        let address = |text: &str| text.parse().expect("an address");
        let alias = |inside, outside| Alias { inside: address(inside), outside: address(outside) };
        let mut behavior = Behavior { early_inbound: EarlyInbound::Remap, ..Behavior::default() };
        assert_eq!(behavior.contradictions(), Vec::<String>::new());
        behavior.translation = TranslationKind::None;
        behavior.timeouts.udp_ports = vec![(53, Duration::ZERO), (53, Duration::from_secs(1))];
        behavior.aliases = vec![
            alias("172.16.0.1", "192.0.2.1"),
            alias("172.16.0.2", "2001:db8::1"),
            alias("172.16.0.1", "192.0.2.2"),
        ];
        let found = behavior.contradictions();
        let parts = ["port 53: no session", "port 53 twice", "another IP version", "there already", "`remap`"];
        assert_eq!(found.len(), parts.len(), "{found:?}");
        assert!(found.iter().zip(parts).all(|(found, part)| found.contains(part)), "{found:?}");
    }
}

//! What a behaviour says and cannot mean.

use super::{Behavior, Filtering, Ipv6, TranslationKind};

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
        let timeouts = self.axes().into_iter().filter(|(axis, _)| axis.starts_with("timeouts."));
        let zero = timeouts.filter(|(axis, time)| time == "0s" && *axis != "timeouts.udp_stream_after");
        found.extend(zero.map(|(axis, _)| format!("{axis} is 0s: no session would live")));
        found
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

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
}

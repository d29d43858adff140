//! A measurement as a topology file: a NAT that does what was seen, a host behind it, and the same measurement again.
//!
//! No address of the real network is in it. What is not known is a comment with its reason, and no key: those axes stand
//! where `type: rfc4787` has them, which the file says.

use std::collections::BTreeMap;
use std::fmt::Write;
use std::time::Duration;

use natbox_probes::measure::{Measurement, Options};

use super::{Axis, EXPECTED, Found, axes, fits, lines, unknown};
use crate::topology::units::show_duration;

/// Documentation addresses (RFC 5737, RFC 3849) for what was seen.
const INTERNAL: [&str; 2] = ["192.0.2.2", "[2001:db8::2]"];
const EXTERNAL: [&str; 2] = ["203.0.113.1", "[2001:db8:1::1]"];

/// The file.
pub fn fragment(measurement: &Measurement, options: &Options) -> String {
    let axes = axes(measurement);
    let mut text = head(measurement);
    let fits = fits(measurement);
    if !fits.is_empty() {
        text.push_str("# Presets that do what was seen:\n");
        lines(&fits, 110).iter().for_each(|line| writeln!(text, "#   {line}").unwrap_or_default());
    }
    text.push_str("name: a measured NAT\n\nnats:\n  measured:\n    type: rfc4787\n");
    nat(&mut text, measurement, &axes);
    text.push_str("    # Not known, and as rfc4787 has it:\n");
    for (why, names) in unknown(&axes) {
        lines(&names, 100).iter().for_each(|line| writeln!(text, "    #   {line}").unwrap_or_default());
        writeln!(text, "    #     {why}").ok();
    }
    text.push_str("\nhosts:\n  host: { behind: measured }\n  server: { services: stun }\n\nscenario:\n");
    let timers = options.timers.map(|search| format!(", timers: {}", show_duration(&search.longest)));
    writeln!(text, "  - measure: {{ from: host{} }}", timers.unwrap_or_default()).ok();
    let expect = expected(&axes);
    if !expect.is_empty() {
        text.push_str("    expect:\n");
        expect.iter().for_each(|line| writeln!(text, "      {line}").unwrap_or_default());
    }
    text
}

fn head(m: &Measurement) -> String {
    let version = usize::from(m.mapped.is_ipv6());
    let mapped = match m.translated() {
        true => format!("as {}:{}", EXTERNAL[version], m.mapped.port()),
        false => "as it is".to_owned(),
    };
    format!(
        "# A NAT as `natbox probe nat` measured it. Expect: in the lab, the same measurement finds the same.\n\
         # Addresses are left out: {}:{} was seen {mapped}.\n\
         # What is not known stands as the RFCs ask for it (rfc4787), and is listed below: this file claims nothing of it.\n",
        INTERNAL[version],
        m.local.port(),
    )
}

/// The keys that are known, as the entry of a NAT has them: nested where the axis has a dot.
fn nat(text: &mut String, m: &Measurement, axes: &[Axis]) {
    let mut groups: Vec<(&str, Vec<String>)> = Vec::new();
    let mut plain = Vec::new();
    let timeouts = lifetimes(axes);
    for axis in axes {
        let (value, comment) = match &axis.found {
            Found::Word(word) => (word.clone(), String::new()),
            Found::Between { alive_after, expired_after } => match timeouts.get(axis.name) {
                Some(chosen) => (
                    show_duration(chosen),
                    format!(
                        "  # {}: more than {}, less than {}",
                        axis.name,
                        seconds(alive_after),
                        seconds(expired_after)
                    ),
                ),
                None => continue,
            },
            Found::Unknown(_) => continue,
        };
        match axis.name.split_once('.') {
            None => plain.push(format!("    {}: {value}{comment}", axis.name)),
            Some((group, key)) => {
                // A box without a filter has none for any protocol.
                if (axis.name, value.as_str()) == ("filtering.udp", "off") {
                    plain.push("    filtering: off  # found over UDP".to_owned());
                    continue;
                }
                let line = format!("      {key}: {value}{comment}");
                match groups.iter_mut().find(|(name, _)| *name == group) {
                    Some((_, lines)) => lines.push(line),
                    None => groups.push((group, vec![line])),
                }
            }
        }
    }
    if m.addresses().len() > 1 {
        plain.push(format!("    addresses: {}  # seen; there may be more", m.addresses().len()));
    }
    plain.iter().for_each(|line| writeln!(text, "{line}").unwrap_or_default());
    for (group, lines) in groups {
        writeln!(text, "    {group}:").ok();
        lines.iter().for_each(|line| writeln!(text, "{line}").unwrap_or_default());
    }
}

/// A lifetime for each that is known: the roundest one in between, as people set them.
fn lifetimes(axes: &[Axis]) -> BTreeMap<&'static str, Duration> {
    let between = axes.iter().filter_map(|axis| match axis.found {
        Found::Between { alive_after, expired_after } => Some((axis.name, roundest(alive_after, expired_after))),
        _ => None,
    });
    between.collect()
}

/// The multiple of the largest unit that lies in between; the middle where there is none.
fn roundest(alive: Duration, expired: Duration) -> Duration {
    const STEPS_MS: [u128; 9] = [60_000, 30_000, 10_000, 5_000, 1_000, 500, 100, 10, 1];
    let (alive_ms, expired_ms) = (alive.as_millis(), expired.as_millis());
    let multiple = STEPS_MS.iter().map(|step| (expired_ms / step) * step).find(|multiple| *multiple > alive_ms);
    match multiple.and_then(|multiple| u64::try_from(multiple).ok()) {
        Some(milliseconds) => Duration::from_millis(milliseconds),
        None => alive + expired.saturating_sub(alive) / 2,
    }
}

/// With one decimal: `29.8s`.
fn seconds(duration: &Duration) -> String {
    format!("{:.1}s", duration.as_secs_f64())
}

/// What the same measurement in the lab finds.
fn expected(axes: &[Axis]) -> Vec<String> {
    let of = |axis: &str| axes.iter().find(|one| one.name == axis).map(|one| &one.found);
    let lifetimes = lifetimes(axes);
    let line = |key: &str, axis: &str| match of(axis)? {
        Found::Word(word) => Some(format!("{key}: {word}")),
        Found::Between { .. } => Some(format!("{key}: {}", show_duration(lifetimes.get(axis)?))),
        Found::Unknown(_) => None,
    };
    EXPECTED.iter().filter_map(|(key, axis)| line(key, axis)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_roundest_lifetime_in_between_is_taken() {
        let of = |alive: u64, expired: u64| roundest(Duration::from_millis(alive), Duration::from_millis(expired));
        assert_eq!(of(29_300, 30_200), Duration::from_secs(30));
        assert_eq!(of(119_100, 120_900), Duration::from_secs(120));
        assert_eq!(of(64_200, 65_100), Duration::from_secs(65));
        assert_eq!(of(12_310, 12_389), Duration::from_millis(12_380));
        assert_eq!(of(12_310, 12_390), Duration::from_millis(12_390));
        assert_eq!(roundest(Duration::from_micros(10), Duration::from_micros(20)), Duration::from_micros(15));
    }
}

//! What was measured of a NAT, for people and for programs.

use std::fmt::Write;

use serde_json::{Map, Value, json};

use crate::measure::{Found, Measurement, axes, fits, lines, unknown};
use crate::paint::Paint;

/// A line for each axis that is known, then those that are not; `known` alone: no more than the first.
pub fn text(measurement: &Measurement, known: bool, paint: Paint) -> String {
    let mut text = String::new();
    let (seen, server) = (measurement.mapped, measurement.server);
    let heading = match measurement.translated() {
        true => format!("{} is seen as {seen} by {server}", measurement.local),
        false => format!("{} is seen as it is by {server}: nothing is translated", measurement.local),
    };
    writeln!(text, "{}", paint.strong(heading)).ok();
    let axes = axes(measurement);
    let known_axes = axes.iter().filter(|axis| !matches!(axis.found, Found::Unknown(_)));
    let width = known_axes.map(|axis| axis.name.len()).max().unwrap_or(0);
    for axis in &axes {
        let value = match &axis.found {
            Found::Word(word) => word.clone(),
            Found::Between { alive_after, expired_after } => {
                format!("alive after {:.3}s, gone after {:.3}s", alive_after.as_secs_f64(), expired_after.as_secs_f64())
            }
            Found::Unknown(_) => continue,
        };
        writeln!(text, "  {:<width$}  {}", axis.name, paint.good(value)).ok();
    }
    writeln!(text, "{}", paint.strong("presets that do all of this")).ok();
    let fits = fits(measurement);
    let fits = if fits.is_empty() { vec!["none"] } else { fits };
    lines(&fits, 100).iter().for_each(|line| writeln!(text, "  {line}").unwrap_or_default());
    if known {
        return text;
    }
    writeln!(text, "{}", paint.strong("unknown")).ok();
    for (why, names) in unknown(&axes) {
        lines(&names, 100).iter().for_each(|line| writeln!(text, "  {line}").unwrap_or_default());
        writeln!(text, "    {}", paint.faint(why)).ok();
    }
    text
}

/// The facts: `axes` by name, a lifetime as `alive_after_ns` and `expired_after_ns`; `unknown` by name, with the reason;
/// `fits`, the presets that contradict nothing of it.
pub fn facts(measurement: &Measurement) -> Map<String, Value> {
    let (mut known, mut unknown) = (Map::new(), Map::new());
    for axis in axes(measurement) {
        match axis.found {
            Found::Word(word) => known.insert(axis.name.to_owned(), word.into()),
            Found::Between { alive_after, expired_after } => {
                let nanos = |duration: std::time::Duration| u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX);
                let value = json!({ "alive_after_ns": nanos(alive_after), "expired_after_ns": nanos(expired_after) });
                known.insert(axis.name.to_owned(), value)
            }
            Found::Unknown(why) => unknown.insert(axis.name.to_owned(), why.into()),
        };
    }
    let ports = &measurement.ports;
    let seen = json!({
        "sockets": ports.sockets, "preserved": ports.preserved,
        "lowest": ports.range.map(|range| range.0), "highest": ports.range.map(|range| range.1),
    });
    Map::from_iter([
        ("axes".to_owned(), known.into()),
        ("unknown".to_owned(), unknown.into()),
        ("fits".to_owned(), fits(measurement).into()),
        ("ports_seen".to_owned(), seen),
        ("addresses_seen".to_owned(), measurement.addresses().len().into()),
        ("payload_rewritten".to_owned(), measurement.payload_rewritten.into()),
    ])
}

/// The same as a document of its own, with the endpoints that were seen.
pub fn json(measurement: &Measurement) -> String {
    let mut report = Map::from_iter([
        ("natbox".to_owned(), 1.into()),
        ("server".to_owned(), measurement.server.to_string().into()),
        ("other".to_owned(), measurement.other.map(|other| other.to_string()).into()),
        ("local".to_owned(), measurement.local.to_string().into()),
        ("mapped".to_owned(), measurement.mapped.to_string().into()),
    ]);
    report.extend(facts(measurement));
    let text = serde_json::to_string_pretty(&Value::Object(report)).unwrap_or_default();
    text + "\n"
}

//! Durations as people and programs read them.

use std::time::Duration;

/// A duration for people: as much of it as they read. Programs find it whole in the facts.
pub(super) fn shown(duration: Duration) -> String {
    match duration.as_micros() {
        0 => "0ms".to_owned(),
        1..1_000 => decimal(duration, 1_000, 0, "us"),
        1_000..100_000 => decimal(duration, 1_000_000, 1, "ms"),
        100_000..10_000_000 => decimal(duration, 1_000_000, 0, "ms"),
        _ => decimal(duration, 1_000_000_000, 3, "s"),
    }
}

/// A span of durations, as [`shown`] or [`exact`] tells them.
pub(super) fn span(least: Duration, most: Duration, told: fn(Duration) -> String) -> String {
    if least == most { told(least) } else { format!("{} to {}", told(least), told(most)) }
}

/// A duration in milliseconds, whole: for what is held against a limit.
pub(super) fn exact(duration: Duration) -> String {
    decimal(duration, 1_000_000, 6, "ms")
}

/// Rounded to so many places, without noughts at its end.
fn decimal(duration: Duration, unit_ns: u128, places: u32, unit: &str) -> String {
    let scale = 10u128.pow(places);
    let rounded = (duration.as_nanos() * scale + unit_ns / 2) / unit_ns;
    let (whole, rest) = (rounded / scale, rounded % scale);
    let rest = format!("{rest:0width$}", width = places as usize);
    match rest.trim_end_matches('0') {
        "" => format!("{whole}{unit}"),
        rest => format!("{whole}.{rest}{unit}"),
    }
}

pub(super) fn nanos(duration: Duration) -> u64 {
    u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn people_read_durations_without_the_places_that_programs_need() {
        let told = [0, 999_400, 1_000_000, 18_084_321, 20_000_000, 237_935_000, 2_238_979_111, 59_619_141_000]
            .map(|nanos| shown(Duration::from_nanos(nanos)));
        assert_eq!(told, ["0ms", "999us", "1ms", "18.1ms", "20ms", "238ms", "2239ms", "59.619s"]);
    }

    #[test]
    fn what_is_held_against_a_limit_keeps_all_its_places() {
        assert_eq!(exact(Duration::from_nanos(40_000_001)), "40.000001ms");
        assert_eq!(exact(Duration::from_secs(2)), "2000ms");
    }
}

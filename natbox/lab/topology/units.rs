//! Names, and numbers with units: one parser a kind, and what it expects.
//!
//! Knows text and values; knows no file and no topology. Addresses and endpoints are next door, in `places`.

use std::fmt;
use std::time::Duration;

/// A kind of text: what it is called, what it looks like, and whether a text is one.
#[derive(Debug)]
pub(crate) struct Leaf {
    /// What it is called, in a word or three.
    pub(crate) kind: &'static str,
    /// What is expected, for messages: `a duration such as ...`.
    pub(crate) expected: &'static str,
    /// A regular expression (ECMA 262) that every such text matches, for editors.
    pub(crate) pattern: &'static str,
    /// Whether a text is one; what is wrong with it beyond its form, if that can be said.
    pub(crate) check: fn(&str) -> Result<(), String>,
}

/// Declares a [`Leaf`].
macro_rules! leaf {
    ($name:ident, $kind:literal, $parse:path, $expected:literal, $pattern:literal) => {
        pub(crate) static $name: $crate::topology::units::Leaf = $crate::topology::units::Leaf {
            kind: $kind,
            expected: $expected,
            pattern: $pattern,
            check: |text| $parse(text).map(drop),
        };
    };
}

pub(crate) use leaf;

leaf!(
    NAME,
    "name",
    name,
    "a name: lower-case letters, digits and hyphens, beginning with a letter, at most 63",
    "^[a-z][a-z0-9-]{0,62}$"
);
leaf!(
    TEXT,
    "text",
    text,
    "a text of at most 200 characters, none of them a control character",
    r"^[^\u0000-\u001f\u007f-\u009f]{0,200}$"
);
leaf!(PAYLOAD, "payload", payload, "a text of at most 200 characters", r"^[\s\S]{0,200}$");
leaf!(
    DURATION,
    "duration",
    duration,
    "a duration with its unit, such as `30s`, `10ms`, `2min` (ns, us, ms, s, m, min, h)",
    r"^[0-9]+(\.[0-9]+)?(ns|us|ms|s|m|min|h)$"
);
leaf!(
    POSITIVE,
    "duration above zero",
    positive_duration,
    "a duration above zero with its unit, such as `30s`, `10ms`, `2min` (ns, us, ms, s, m, min, h)",
    r"^[0-9]+(\.[0-9]+)?(ns|us|ms|s|m|min|h)$"
);
leaf!(
    LIFETIME,
    "duration or none",
    lifetime,
    "a duration above zero such as `2min`, or `none`",
    r"^([0-9]+(\.[0-9]+)?(ns|us|ms|s|m|min|h)|none)$"
);
leaf!(LIMIT, "number or none", limit, "a whole number above zero, or `none`", "^([1-9][0-9]*|none)$");
leaf!(
    DURATIONS,
    "duration or range",
    durations,
    "a duration such as `40ms`, or a range such as `40ms..45ms`, `..45ms`, `40ms..`",
    r"^([0-9]+(\.[0-9]+)?(ns|us|ms|s|m|min|h))?(\.\.)?([0-9]+(\.[0-9]+)?(ns|us|ms|s|m|min|h))?$"
);
leaf!(
    RATE,
    "rate",
    rate,
    "a rate with its unit, such as `20mbit` (bit, kbit, mbit, gbit a second)",
    r"^[0-9]+(\.[0-9]+)?(bit|kbit|mbit|gbit)$"
);
leaf!(
    RATE_OR_NONE,
    "rate or none",
    rate_or_none,
    "a rate with its unit, such as `20mbit` (bit, kbit, mbit, gbit a second), or `none`",
    r"^([0-9]+(\.[0-9]+)?(bit|kbit|mbit|gbit)|none)$"
);
leaf!(PERCENT, "percentage", percent, "a percentage from `0%` to `100%`, such as `0.5%`", r"^[0-9]+(\.[0-9]+)?%$");
leaf!(
    PERCENTS,
    "percentage or range",
    percents,
    "a percentage such as `0%`, or a range such as `1%..3%`, `..5%`",
    r"^([0-9]+(\.[0-9]+)?%)?(\.\.)?([0-9]+(\.[0-9]+)?%)?$"
);

/// A name: `[a-z][a-z0-9-]*`, at most 63 characters.
pub(crate) fn name(text: &str) -> Result<String, String> {
    let good = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-';
    let begins = text.starts_with(|c: char| c.is_ascii_lowercase());
    if begins && text.len() <= 63 && text.chars().all(good) { Ok(text.to_owned()) } else { Err(String::new()) }
}

/// What reports print: control characters would reach the reader's terminal.
fn text(text: &str) -> Result<String, String> {
    if text.chars().any(char::is_control) {
        return Err("a control character in it".into());
    }
    payload(text)
}

fn payload(text: &str) -> Result<String, String> {
    if text.chars().count() <= 200 { Ok(text.to_owned()) } else { Err(String::new()) }
}

/// A duration: decimal number and unit, exact to the nanosecond, a century at most.
pub(crate) fn duration(text: &str) -> Result<Duration, String> {
    const UNITS: &[(&str, u64)] = &[
        ("ns", 1),
        ("us", 1_000),
        ("ms", 1_000_000),
        ("min", 60_000_000_000),
        ("m", 60_000_000_000),
        ("h", 3_600_000_000_000),
        ("s", 1_000_000_000),
    ];
    let nanos = quantity(text, UNITS)?;
    let century = 876_600 * 3_600_000_000_000;
    if nanos > century {
        return Err("longer than a century".to_owned());
    }
    Ok(Duration::from_nanos(nanos))
}

/// A duration above zero.
pub(crate) fn positive_duration(text: &str) -> Result<Duration, String> {
    duration(text).and_then(|duration| if duration.is_zero() { Err(String::new()) } else { Ok(duration) })
}

/// A duration above zero, or none.
pub(crate) fn lifetime(text: &str) -> Result<Option<Duration>, String> {
    if text == "none" { Ok(None) } else { positive_duration(text).map(Some) }
}

/// A number above zero, or none.
pub(crate) fn limit(text: &str) -> Result<Option<u32>, String> {
    if text == "none" {
        return Ok(None);
    }
    let number = super::shape::count(text).ok_or_else(String::new)?;
    u32::try_from(number).ok().filter(|number| *number > 0).map(Some).ok_or_else(|| "out of range".to_owned())
}

/// A rate in bits a second, a terabit at most.
pub(crate) fn rate(text: &str) -> Result<u64, String> {
    const UNITS: &[(&str, u64)] = &[("gbit", 1_000_000_000), ("mbit", 1_000_000), ("kbit", 1_000), ("bit", 1)];
    match quantity(text, UNITS)? {
        0 => Err("a rate of zero: cut the link instead".to_owned()),
        rate if rate > 1_000_000_000_000 => Err("more than 1000gbit".to_owned()),
        rate => Ok(rate),
    }
}

/// A rate, or none.
pub(crate) fn rate_or_none(text: &str) -> Result<Option<u64>, String> {
    if text == "none" { Ok(None) } else { rate(text).map(Some) }
}

/// A share from 0 to 1, written as a percentage.
pub(crate) fn percent(text: &str) -> Result<f64, String> {
    let millionths = quantity(text, &[("%", 1_000_000)])?;
    if millionths > 100_000_000 {
        return Err("more than `100%`".to_owned());
    }
    Ok(millionths as f64 / 1e8)
}

/// A decimal number and a unit, in the smallest unit; digits that it cannot hold are an error.
fn quantity(text: &str, units: &[(&str, u64)]) -> Result<u64, String> {
    let unit = units.iter().find_map(|(unit, size)| text.strip_suffix(unit).map(|number| (number, *size)));
    let Some((number, size)) = unit else {
        let bare = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit() || byte == b'.');
        return Err(if bare { "a number without a unit".to_owned() } else { String::new() });
    };
    let (whole, fraction) = number.split_once('.').unwrap_or((number, "0"));
    let digits = |text: &str| !text.is_empty() && text.len() <= 18 && text.bytes().all(|byte| byte.is_ascii_digit());
    if !digits(whole) || !digits(fraction) {
        return Err(String::new());
    }
    let parse = |text: &str| text.parse::<u128>().map_err(|_| String::new());
    let scale = 10u128.pow(u32::try_from(fraction.len()).unwrap_or(18));
    let parts = parse(fraction)? * u128::from(size);
    if !parts.is_multiple_of(scale) {
        return Err("finer than its unit can be counted".to_owned());
    }
    u64::try_from(parse(whole)? * u128::from(size) + parts / scale).map_err(|_| "too large".to_owned())
}

/// What an expectation allows: from `low` to `high`, both included; open where absent.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Allowed<T> {
    /// The least that is allowed.
    pub low: Option<T>,
    /// The most that is allowed.
    pub high: Option<T>,
}

impl<T: PartialOrd> Allowed<T> {
    /// Whether `value` is allowed.
    pub fn contains(&self, value: &T) -> bool {
        self.low.as_ref().is_none_or(|low| value >= low) && self.high.as_ref().is_none_or(|high| value <= high)
    }
}

impl<T> Allowed<T> {
    /// As topology files write it, each bound shown by `show`.
    pub(crate) fn show(&self, show: impl Fn(&T) -> String) -> String
    where
        T: PartialEq,
    {
        let bound = |bound: &Option<T>| bound.as_ref().map(&show).unwrap_or_default();
        if self.low == self.high { bound(&self.low) } else { format!("{}..{}", bound(&self.low), bound(&self.high)) }
    }
}

/// A duration, or a range of durations.
pub(crate) fn durations(text: &str) -> Result<Allowed<Duration>, String> {
    allowed(text, duration)
}

/// A share, or a range of shares, written as percentages.
pub(crate) fn percents(text: &str) -> Result<Allowed<f64>, String> {
    allowed(text, percent)
}

fn allowed<T: PartialOrd + Copy>(text: &str, parse: fn(&str) -> Result<T, String>) -> Result<Allowed<T>, String> {
    let bound = |text: &str| if text.is_empty() { Ok(None) } else { parse(text).map(Some) };
    let Some((low, high)) = text.split_once("..") else {
        let only = parse(text)?;
        return Ok(Allowed { low: Some(only), high: Some(only) });
    };
    match (bound(low)?, bound(high)?) {
        (None, None) => Err(String::new()),
        (Some(low), Some(high)) if low > high => Err("the range ends before it begins".to_owned()),
        (low, high) => Ok(Allowed { low, high }),
    }
}

/// A duration as topology files write it: whole, in the largest unit that fits.
pub(crate) fn show_duration(duration: &Duration) -> String {
    struct Shown(u128);
    impl fmt::Display for Shown {
        fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            let units = [
                ("h", 3_600_000_000_000u128),
                ("min", 60_000_000_000),
                ("s", 1_000_000_000),
                ("ms", 1_000_000),
                ("us", 1_000),
            ];
            let fitting = units.iter().find(|(_, size)| self.0 >= *size && self.0.is_multiple_of(*size));
            match fitting {
                Some((unit, size)) => write!(f, "{}{unit}", self.0 / size),
                None if self.0 == 0 => f.write_str("0s"),
                None => write!(f, "{}ns", self.0),
            }
        }
    }
    Shown(duration.as_nanos()).to_string()
}

/// A share as topology files write it.
pub(crate) fn show_percent(share: &f64) -> String {
    format!("{}%", (share * 1e8).round() / 1e6)
}

/// A rate as topology files write it.
pub(crate) fn show_rate(bits_per_second: u64) -> String {
    let units = [("gbit", 1_000_000_000), ("mbit", 1_000_000), ("kbit", 1_000)];
    match units.iter().find(|(_, size)| bits_per_second.is_multiple_of(*size)) {
        Some((unit, size)) => format!("{}{unit}", bits_per_second / size),
        None => format!("{bits_per_second}bit"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn durations_are_exact_and_need_a_unit() {
        assert_eq!(duration("30s"), Ok(Duration::from_secs(30)));
        assert_eq!(duration("1.5ms"), Ok(Duration::from_micros(1500)));
        assert_eq!(duration("2min"), duration("2m"));
        assert_eq!(duration("30"), Err("a number without a unit".to_owned()));
        for bad in ["", "s", "-1s", "1 s", "1.s", "0.5ns", "1e3s", "99999999h", ".5s"] {
            assert!(duration(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn shares_rates_and_ranges_have_their_limits() {
        assert_eq!(percent("0.5%"), Ok(0.005));
        assert!(percent("100.1%").is_err() && percent("5").is_err());
        assert_eq!(rate("20mbit"), Ok(20_000_000));
        assert!(rate("0kbit").is_err() && rate("20").is_err());
        assert!(durations("40ms..45ms").unwrap().contains(&Duration::from_millis(45)));
        assert!(!durations("..45ms").unwrap().contains(&Duration::from_millis(46)));
        assert!(durations("..").is_err() && durations("2s..1s").is_err());
    }

    #[test]
    fn control_characters_stand_in_payloads_alone() {
        assert!((TEXT.check)("A calls S's \u{fc}ber-phone").is_ok() && (PAYLOAD.check)("a\u{1b}[31m\n").is_ok());
        assert!((TEXT.check)("a\u{1b}[31m").is_err() && (TEXT.check)("two\nlines").is_err());
    }

    proptest! {
        #[test]
        fn what_is_shown_reads_back(nanos in 0u64..u64::MAX / 1000, rate_shown in 1u64..=1_000_000_000_000, share in 0u32..=100_000_000) {
            let shown = Duration::from_nanos(nanos / 1000);
            prop_assert_eq!(duration(&show_duration(&shown)), Ok(shown));
            prop_assert_eq!(rate(&show_rate(rate_shown)), Ok(rate_shown));
            let share = f64::from(share) / 1e8;
            prop_assert_eq!(percent(&show_percent(&share)), Ok(share));
        }

        #[test]
        fn no_text_panics(text in ".{0,40}") {
            for leaf in [&NAME, &TEXT, &PAYLOAD, &DURATION, &DURATIONS, &RATE, &PERCENT, &PERCENTS] {
                let _ = (leaf.check)(&text);
            }
        }
    }
}

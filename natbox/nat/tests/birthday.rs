//! Birthday punching against its closed form: packets through a NAT, one trial a seed.

#[path = "common/birthday.rs"]
mod trials;

use trials::{PROBES, RANGES, closed_form, first_hit, standard_error};

/// As many as a debug build has time for; `--example birthday` has 2,000 and more.
const TRIALS: u32 = 250;

#[test]
fn the_share_of_hits_is_within_three_standard_errors_of_the_closed_form() {
    for (name, range) in &RANGES {
        let hits: Vec<u32> = (0..TRIALS).filter_map(|seed| first_hit(range, seed.into())).collect();
        for probes in PROBES {
            let expected = closed_form(range, probes);
            let within = hits.iter().filter(|hit| **hit <= probes).count();
            let share = within as f64 / f64::from(TRIALS);
            // Where all but a few must hit, half a trial is more than three standard errors.
            let margin = (3.0 * standard_error(expected, TRIALS)).max(1.5 / f64::from(TRIALS));
            assert!((share - expected).abs() <= margin, "{name}, {probes} probes: {share} is not {expected}");
        }
    }
}

#[test]
fn the_closed_form_gives_the_published_percentages() {
    for (range, probes, percent) in [
        (0, 174, 49.98),
        (0, 256, 63.94),
        (0, 1024, 98.35),
        (0, 2048, 99.975),
        (1, 174, 74.5),
        (1, 256, 86.7),
        (1, 1024, 99.97),
        (2, 174, 94.5),
        (2, 256, 98.6),
    ] {
        let found = 100.0 * closed_form(&RANGES[range].1, probes);
        assert!((found - percent).abs() < 0.06, "{range} {probes}: {found}");
    }
}

#[test]
fn one_seed_gives_one_hit() {
    let range = &RANGES[0].1;
    let hits: Vec<_> = (0..20).map(|seed| first_hit(range, seed)).collect();
    assert_eq!(hits, (0..20).map(|seed| first_hit(range, seed)).collect::<Vec<_>>());
    assert!(hits.iter().collect::<std::collections::BTreeSet<_>>().len() > 10, "{hits:?}");
}

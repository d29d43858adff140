//! The tables of birthday punching, measured with packets through a NAT and beside them the closed form.
//!
//! `cargo run --release -p natbox-nat --example birthday [TRIALS]`, 4,000 trials a range if absent. Ends with 1 if a share is
//! further than two standard errors from the closed form. Trial number i has seed i: every run prints the same.

#[path = "../tests/common/birthday.rs"]
mod trials;

use std::process::ExitCode;

use trials::{PROBES, RANGES, closed_form, first_hit, standard_error};

fn main() -> ExitCode {
    let count = std::env::args().nth(1).map_or(Some(4000), |text| text.parse().ok().filter(|count| *count > 0));
    let Some(count) = count else {
        eprintln!("expected a number of trials");
        return ExitCode::from(2);
    };
    println!("| ports | probes | closed form | measured | standard errors |\n| --- | ---: | ---: | ---: | ---: |");
    let mut all_near = true;
    for (name, range) in &RANGES {
        let hits: Vec<u32> = (0..count).filter_map(|seed| first_hit(range, seed.into())).collect();
        for probes in PROBES {
            let expected = closed_form(range, probes);
            let share = hits.iter().filter(|hit| **hit <= probes).count() as f64 / f64::from(count);
            let error = standard_error(expected, count);
            let away = (share - expected) / error.max(f64::MIN_POSITIVE);
            // One trial is the least that can differ.
            let near = (share - expected).abs() <= (2.0 * error).max(1.0 / f64::from(count));
            all_near &= near;
            let (expected, share) = (100.0 * expected, 100.0 * share);
            println!("| {name} | {probes} | {expected:.2} % | {share:.2} % | {away:+.2} |");
        }
    }
    if all_near { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

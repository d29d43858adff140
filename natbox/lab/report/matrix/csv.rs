//! A matrix for spreadsheets: a row for each pair and technique, over all seeds.

use natbox_probes::Path;

use crate::matrix::Sweep;

/// The columns. Times are medians over the runs that came to a path, in nanoseconds; `low` and `high` bound the share of
/// connected runs with 95 % confidence.
const COLUMNS: [&str; 13] = [
    "a",
    "b",
    "technique",
    "first_seed",
    "runs",
    "connected",
    "share",
    "low",
    "high",
    "path",
    "elapsed_ns",
    "packets",
    "ok",
];

/// The rows with a head.
pub fn csv(sweep: &Sweep) -> String {
    let mut writer = csv::Writer::from_writer(Vec::new());
    // Writing to memory does not fail; a text of our own is UTF-8.
    writer.write_record(COLUMNS).ok();
    for group in sweep.groups() {
        let (first, share) = (group.first(), group.share());
        let (low, high) = share.interval();
        writer
            .write_record([
                sweep.name(first.a),
                sweep.name(first.b),
                sweep.technique(first.technique),
                &first.seed.to_string(),
                &share.runs.to_string(),
                &share.connected.to_string(),
                &format!("{:.4}", share.value()),
                &format!("{low:.4}"),
                &format!("{high:.4}"),
                &group
                    .paths()
                    .into_iter()
                    .map(|(path, count)| counted(path, count, share.runs))
                    .collect::<Vec<_>>()
                    .join(" "),
                &group.elapsed_ns().map(|nanos| nanos.to_string()).unwrap_or_default(),
                &group.packets().unwrap_or(0).to_string(),
                if group.ok() { "true" } else { "false" },
            ])
            .ok();
    }
    String::from_utf8(writer.into_inner().unwrap_or_default()).unwrap_or_default()
}

/// A path, with how many runs came to it where that is not all.
fn counted(path: Path, count: usize, runs: usize) -> String {
    if count == runs { path.to_string() } else { format!("{path}:{count}") }
}

//! The presets, for people and for programs.

use std::fmt::Write;

use comfy_table::{ContentArrangement, Table};
use natbox_nat::Behavior;
use natbox_nat::behavior::PerProtocol;
use natbox_nat::preset::{Preset, all};
use serde_json::{Value, json};

use crate::paint::Paint;

/// A table of all presets.
pub fn list(paint: Paint) -> String {
    let mut table = Table::new();
    table.load_style(comfy_table::presets::NOTHING).set_content_arrangement(ContentArrangement::Dynamic);
    table.set_header(["NAME", "MAPPING", "FILTERING", "WHAT IT IS"]);
    for preset in all() {
        let behavior = &preset.behavior;
        let mapping = if translates(behavior) { of_udp(behavior.mapping) } else { "none".to_owned() };
        table.add_row([preset.name, &mapping, &of_udp(behavior.filtering), preset.summary]);
    }
    let text = trimmed(&table.to_string());
    let (head, rest) = text.split_once('\n').unwrap_or((&text, ""));
    format!("{}\n{rest}", paint.strong(head))
}

/// UDP's word, marked where other protocols have another.
fn of_udp<W: Copy + Eq + std::fmt::Display>(axis: PerProtocol<W>) -> String {
    let same = axis == PerProtocol::from(axis.udp);
    format!("{}{}", axis.udp, if same { "" } else { " (udp)" })
}

/// One preset with its source and every axis.
pub fn show(preset: &Preset, paint: Paint) -> String {
    let (axes, unknown) = (preset.behavior.axes(), preset.unknown());
    let width = axes.iter().map(|(axis, _)| axis.len()).max().unwrap_or(0);
    let mut text = format!("{}: {}\n\n", paint.strong(preset.name), preset.summary);
    for (axis, word) in axes {
        let mark = if unknown.contains(&axis) { " (not known; the default)" } else { "" };
        writeln!(text, "  {axis:<width$}  {word}{}", paint.faint(mark)).ok();
    }
    writeln!(text, "\n{}", paint.faint(format!("Observed on: {}", preset.observed))).ok();
    writeln!(text, "{}", paint.faint(format!("Source: {}", preset.source))).ok();
    text
}

/// All presets as JSON.
pub fn list_json() -> String {
    let presets = all().iter().map(preset_json).collect::<Vec<_>>();
    pretty(&json!({ "natbox": 1, "presets": presets }))
}

/// One preset as JSON.
pub fn show_json(preset: &Preset) -> String {
    pretty(&json!({ "natbox": 1, "preset": preset_json(preset) }))
}

fn preset_json(preset: &Preset) -> Value {
    json!({
        "name": preset.name,
        "summary": preset.summary,
        "observed": preset.observed,
        "unknown": preset.unknown(),
        "source": preset.source,
        "behavior": behavior_json(&preset.behavior),
    })
}

/// Every axis, under the keys of topology files.
pub fn behavior_json(behavior: &Behavior) -> Value {
    // Words, numbers and lists under text keys always have a JSON form.
    serde_json::to_value(crate::plan::axes(behavior)).unwrap_or_default()
}

fn translates(behavior: &Behavior) -> bool {
    behavior.translation != natbox_nat::behavior::TranslationKind::None
}

fn pretty(value: &Value) -> String {
    // A value without maps of other keys than text always has a text.
    format!("{value:#}\n")
}

/// A table pads its last column and its left border; neither is wanted.
fn trimmed(table: &str) -> String {
    table.lines().map(|line| format!("{}\n", line.strip_prefix(' ').unwrap_or(line).trim_end())).collect()
}

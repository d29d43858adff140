//! What `measure` finds of a NAT is what was configured; on this machine's own network too.

#[path = "../common/golden.rs"]
mod golden;
#[cfg(target_os = "linux")]
mod live;
mod presets;
mod servers;
#[cfg(target_os = "linux")]
#[path = "../common/skipped.rs"]
mod skipped;
mod words;

//! What people read: presets, labs, timelines and verdicts, as text and as JSON.

pub mod conform;
pub mod lab;
pub mod matrix;
pub mod measure;
pub mod population;
pub mod presets;
pub mod run;
#[cfg(target_os = "linux")]
pub mod traffic;

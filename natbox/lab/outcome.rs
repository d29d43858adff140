//! What came of a run: the JSON of `natbox run --format json`, and what Rust tests assert on.
//!
//! Field names are stable; `natbox` counts up when one must change. Times are nanoseconds since the lab began: of
//! virtual time, or of the wall's where the run was live.

use std::collections::BTreeMap;
use std::time::Duration;

use serde::Serialize;
use serde_json::{Map, Value};

/// What came of a run.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Outcome {
    /// The version of this shape: 1.
    pub natbox: u32,
    /// What the lab is called.
    pub name: String,
    /// The topology file, as it was named.
    pub file: String,
    /// The seed that the run began with.
    pub seed: u64,
    /// Whether every expectation holds.
    pub ok: bool,
    /// What was real, in a run at wall-clock speed; absent in virtual time.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub live: Option<Live>,
    /// Time from the beginning to the end of the last step.
    pub elapsed_ns: u64,
    /// The steps, in order.
    pub steps: Vec<StepResult>,
    /// Packets that were made: sent by programs, hosts and routers.
    pub packets: u64,
    /// How many packets died, by drop reason.
    pub drops: BTreeMap<&'static str, u64>,
    /// The mappings that are alive at the end, by NAT and number.
    pub mappings: Vec<Mapping>,
    /// Under which of the choices that RFC 4787 leaves open each NAT ran.
    pub nats: BTreeMap<String, BTreeMap<&'static str, String>>,
}

/// What was real about a run at wall-clock speed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Live {
    /// The hosts that were: namespaces with sockets of the operating system, in alphabetical order. All else was simulated.
    pub real_hosts: Vec<String>,
}

/// What came of one step.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct StepResult {
    /// Its number, from 1.
    pub index: usize,
    /// Its line in the topology file.
    pub line: u32,
    /// Its action: `send`, `connect`, ...
    pub action: &'static str,
    /// What it is called in the topology file, if it is.
    pub name: Option<String>,
    /// What it does, in a line.
    pub description: String,
    /// When it began.
    pub started_ns: u64,
    /// Where it begins in the run's record, for reports; not in JSON.
    #[serde(skip)]
    pub first_record: usize,
    /// When it ended.
    pub ended_ns: u64,
    /// What was expected, in a line; absent where nothing was.
    pub expected: Option<String>,
    /// Whether the expectation holds. True where nothing was expected.
    pub ok: bool,
    /// What came of it, in a line.
    pub got: String,
    /// The same for programs. Which fields there are depends on the action:
    ///
    /// * `send`: `packet`, `source`, `destination`; `mapped` (its external endpoint); `delivered` and `from`, or
    ///   `dropped` and `at`; `rejected` if an ICMP error came back; `expires_ns` (of its mapping) if that was expected.
    /// * `map`: `outcome`, `by`, `elapsed_ns`; `external`, `lifetime_ns` and `gateway` of what was granted, `code` and
    ///   `lasts_ns` of a refusal.
    /// * `count`: `mappings`, `explicit`, `sessions`, `dropped`, `drops` (by reason). `expire`: `after_ns`.
    /// * `ping`: `sent`, `received`, `loss` (0 to 1), `rtt_min_ns`, `rtt_max_ns`, `rtt_mean_ns`.
    /// * `discover`: `mapping`, `filtering`, `hairpin`, `classic`, `mapped`, `port_preserved`, `lifetime_ns`.
    /// * `measure`: `axes` (by name: a word, or `alive_after_ns` and `expired_after_ns`), `unknown` (by name: why),
    ///   `fits` (presets), `ports_seen`, `addresses_seen`, `payload_rewritten`.
    /// * `punch`, `connect`: `path`; `elapsed_ns` and `endpoint` (the peer's) if there is one, and of `connect` `paths`
    ///   (every path that was in use, each with `at_ns`); else `attempts` and `remarks`, in words.
    /// * `call`: `path` (at its end), `paths`, `sent`, `received`, `loss`, `delay_min_ns`, `delay_max_ns`.
    /// * `run`, `await`: `exit` (null while it runs), `stdout`, `stderr`, `truncated` (beyond 1 MiB each), `elapsed_ns`.
    /// * any that could not be done: `error`.
    pub facts: Map<String, Value>,
    /// Where a packet died or hosts could not talk: which packets died, where, when and why, each once.
    pub reasons: Vec<String>,
}

/// A live mapping.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Mapping {
    /// The NAT.
    pub nat: String,
    /// Its number there.
    pub id: u64,
    /// Its transport: `udp`, `tcp` or `icmp`.
    pub protocol: &'static str,
    /// The endpoint inside.
    pub internal: String,
    /// The endpoint that the outside sees.
    pub external: String,
    /// The remote that it belongs to, where mapping is not endpoint-independent.
    pub towards: Option<String>,
    /// Who asked for it, where somebody did: `static`, `nat-pmp`, `pcp` or `upnp`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub by: Option<&'static str>,
}

impl Outcome {
    /// The step of this name.
    pub fn step(&self, name: &str) -> Option<&StepResult> {
        self.steps.iter().find(|step| step.name.as_deref() == Some(name))
    }

    /// The steps whose expectation does not hold.
    pub fn failures(&self) -> impl Iterator<Item = &StepResult> {
        self.steps.iter().filter(|step| !step.ok)
    }

    /// Virtual time from the beginning to the end.
    pub fn elapsed(&self) -> Duration {
        Duration::from_nanos(self.elapsed_ns)
    }

    /// As JSON, indented, with a newline at the end.
    pub fn to_json(&self) -> String {
        // A value of these types always has a JSON form.
        let mut text = serde_json::to_string_pretty(self).unwrap_or_default();
        text.push('\n');
        text
    }
}

impl StepResult {
    /// A fact that is a text, such as `path`.
    pub fn fact(&self, key: &str) -> Option<&str> {
        self.facts.get(key).and_then(Value::as_str)
    }
}

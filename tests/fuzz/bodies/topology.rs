//! A text as a topology file: refused with mistakes that have a place, or resolved, printed, read again, built and run.

use natbox::outcome::Outcome;
use natbox::plan::{Action, Plan};
use natbox::record::{Limits, Recorder};
use natbox::scenario;

/// Events that may happen in one step: enough to reach every part, few enough for many inputs a second.
const EVENTS: u64 = 4_000;
/// Steps that are run of an accepted scenario, and machines that are built for it.
const STEPS: usize = 12;
const MACHINES: usize = 32;

/// Runs one input; what is no UTF-8 is read as the loader reads files.
pub fn run(data: &[u8]) {
    let text = String::from_utf8_lossy(data);
    match Plan::from_yaml("lab.yaml", &text) {
        Err(mistakes) => {
            assert!(!mistakes.list.is_empty());
            let lines = text.lines().flat_map(|line| line.split('\r')).count() + 2;
            for mistake in &mistakes.list {
                assert!((1..=lines).contains(&(mistake.line as usize)), "{mistake:?}");
                assert!(mistake.column >= 1 && mistake.length >= 1 && !mistake.message.is_empty(), "{mistake:?}");
            }
            assert!(mistakes.to_string().contains("error: "));
        }
        Ok(plan) => {
            let printed = plan.to_yaml();
            match Plan::from_yaml("lab.yaml", &printed) {
                Ok(again) => assert_eq!(again.to_yaml(), printed),
                Err(mistakes) => panic!("what is printed is not read again: {mistakes}\n{printed}"),
            }
            play(plan);
        }
    }
}

/// Runs the beginning of a scenario, twice: both runs are alike to the byte.
fn play(mut plan: Plan) {
    if plan.hosts.len() + plan.nats.len() > MACHINES {
        return;
    }
    plan.steps.truncate(STEPS);
    plan.steps.retain(|step| !is_long(&step.action));
    let first = played(&plan);
    assert_eq!(first, played(&plan), "two runs of one seed");
    if let Some(outcome) = first {
        let json: Result<serde_json::Value, _> = serde_json::from_str(&outcome.to_json());
        assert!(json.is_ok_and(|json| json["ok"] == outcome.ok));
    }
}

/// Searching for a lifetime takes hours of virtual time, and most of a second of ours.
fn is_long(action: &Action) -> bool {
    matches!(action, Action::Discover(discover) if discover.lifetime)
}

fn played(plan: &Plan) -> Option<Outcome> {
    let recorder = Recorder::new(Limits { records: 20_000, ..Limits::PACKETS });
    scenario::run_within(plan, plan.seed, &recorder, EVENTS).ok().map(|finished| finished.outcome)
}

//! The techniques that guess ports: where the next port follows from the last ones.

use natbox::Lab;
use natbox::outcome::StepResult;

/// One `connect` step between two homes, from this seed. The STUN server has two addresses and two ports each.
fn connect(a: &str, b: &str, step: &str, seed: u64) -> StepResult {
    let text = format!(
        "seed: {seed}\nnats: {{ home-a: {a}, home-b: {b} }}\n\
         hosts:\n  alice: {{ behind: home-a }}\n  bob: {{ behind: home-b }}\n\
         \x20 server: {{ address: [198.18.0.10, 198.18.0.11], services: [stun, rendezvous] }}\n\
         scenario:\n  - connect: {{ from: alice, to: bob, {step} }}\n"
    );
    let lab = Lab::from_yaml(&text).unwrap_or_else(|error| panic!("{error}\n{text}"));
    lab.run().unwrap_or_else(|error| panic!("{error}\n{text}")).steps.remove(0)
}

fn path(step: &StepResult) -> &str {
    assert!(step.ok, "{step:#?}");
    step.fact("path").expect("a path")
}

const EASY: &str = "port-restricted-cone";
const STEPPING: &str = "symmetric-sequential";

#[test]
fn prediction_meets_a_nat_with_sequential_ports() {
    for (a, b) in [(STEPPING, EASY), (EASY, STEPPING), (STEPPING, STEPPING), (EASY, EASY), ("full-cone", "symmetric")] {
        let step = connect(a, b, "technique: predict", 1);
        assert_eq!(path(&step), "punched", "{a} {b}: {step:#?}");
        assert_eq!(path(&connect(a, b, "technique: predict, window: 0", 1)), "punched", "{a} {b}");
    }
    // Without prediction it is hopeless.
    assert_eq!(path(&connect(STEPPING, EASY, "technique: punch", 1)), "none");
}

#[test]
fn prediction_measures_the_step_and_says_it() {
    for delta in [1_i64, 2, 7] {
        let nat = format!("{{ type: symmetric-sequential, ports: {{ delta: {delta} }} }}");
        let step = connect(&nat, EASY, "technique: predict, window: 0", 1);
        assert_eq!(path(&step), "punched", "{delta}: {step:#?}");
        assert_eq!(step.facts["delta"], delta, "{step:#?}");
        assert_eq!((&step.facts["rule"], &step.facts["peer_rule"]), (&"stepping".into(), &"stable".into()));
        assert_eq!((step.facts["hits"].as_u64(), step.facts["ports"].as_array().map(Vec::len)), (Some(1), Some(4)));
    }
}

#[test]
fn prediction_fails_where_ports_are_random() {
    for (a, b) in [("symmetric", EASY), (EASY, "symmetric"), ("symmetric", "symmetric"), ("symmetric", STEPPING)] {
        let step = connect(a, b, "technique: predict, window: 100", 1);
        assert_eq!(path(&step), "none", "{a} {b}: {step:#?}");
        assert!(step.facts["probes"].as_u64() > Some(0), "{step:#?}");
    }
}

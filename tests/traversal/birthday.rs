//! Birthday punching in a lab: who is hard, who probes, and how it ends.

use natbox::Lab;
use natbox::outcome::StepResult;

fn connect(a: &str, b: &str, step: &str, seed: u64) -> StepResult {
    let text = format!(
        "seed: {seed}\nnats: {{ home-a: {a}, home-b: {b} }}\n\
         hosts:\n  alice: {{ behind: home-a }}\n  bob: {{ behind: home-b }}\n\
         \x20 server: {{ address: [198.18.0.10, 198.18.0.11], services: [stun, rendezvous] }}\n\
         scenario:\n  - connect: {{ from: alice, to: bob, technique: birthday{step} }}\n"
    );
    let lab = Lab::from_yaml(&text).unwrap_or_else(|error| panic!("{error}\n{text}"));
    lab.run().unwrap_or_else(|error| panic!("{error}\n{text}")).steps.remove(0)
}

fn path(step: &StepResult) -> &str {
    assert!(step.ok, "{step:#?}");
    step.fact("path").expect("a path")
}

const EASY: &str = "port-restricted-cone";

#[test]
fn many_sockets_behind_a_random_nat_are_met_from_a_nat_with_one_mapping() {
    for (a, b) in [("symmetric", EASY), (EASY, "symmetric"), ("symmetric", "full-cone")] {
        let step = connect(a, b, "", 1);
        assert_eq!(path(&step), "punched", "{a} {b}: {step:#?}");
        let sockets = if a == "symmetric" { 256 } else { 1 };
        assert_eq!(step.facts["sockets"], sockets, "{step:#?}");
        let hit = step.facts["hit"].as_u64().expect("the number of the probe that hit");
        assert!((1..=2048).contains(&hit), "{step:#?}");
        if a == EASY {
            // A probe is answered a round trip after it, and those in between are sent, too.
            let probes = step.facts["probes"].as_u64().expect("how many were sent");
            assert!((hit..hit + 10).contains(&probes), "{step:#?}");
        }
    }
}

#[test]
fn two_sides_with_one_mapping_each_need_no_birthday() {
    let step = connect(EASY, EASY, "", 1);
    assert_eq!(path(&step), "punched");
    assert!(!step.facts.contains_key("sockets"), "{step:#?}");
}

#[test]
fn two_hard_sides_end_with_the_budget() {
    let step = connect("symmetric", "symmetric", ", sockets: 64, probes: 300", 1);
    assert_eq!(path(&step), "none", "{step:#?}");
    assert_eq!((&step.facts["sockets"], &step.facts["probes"]), (&64.into(), &300.into()), "{step:#?}");
    assert!(step.ended_ns - step.started_ns < 10_000_000_000, "{step:#?}");
}

#[test]
fn a_budget_that_is_too_small_ends_on_both_sides() {
    for (a, b) in [("symmetric", EASY), (EASY, "symmetric")] {
        let step = connect(a, b, ", sockets: 1, probes: 50", 1);
        assert_eq!(path(&step), "none", "{a} {b}: {step:#?}");
        assert!(step.ended_ns - step.started_ns < 5_000_000_000, "{a} {b}: {step:#?}");
    }
}

//! The techniques that guess ports: where the next port follows from the last ones.

use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use natbox::Lab;
use natbox::host::{Host, UdpSocket};
use natbox::outcome::StepResult;
use natbox::probes::contact::{Fact, Setting};
use natbox::probes::stun::server::ServerConfig;
use natbox::probes::technique::{Technique, answer, call};
use rand_core::Rng;

use crate::two_homes::TwoHomes;

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

/// The mean number of mappings that others make at alice's NAT between the ports that were seen and the one that is
/// wanted, and whether prediction has met it all the same.
fn among_others(per_second: f64, window: u16, seed: u64) -> (f64, bool) {
    let nat = |name: &str| Arc::new(natbox::nat::preset::find(name).expect("a preset").behavior);
    let TwoHomes { mut world, alice, bob, directory, server, stun } = TwoHomes::new(&nat(STEPPING), &nat(EASY), seed);
    let ports = [3478, 4001, 4002, 4003];
    for port in &ports[1..] {
        let config = ServerConfig { port: *port, ..ServerConfig::new(stun.ip(), None) };
        let server = server.clone();
        world.spawn(async move { drop(natbox::probes::stun::server::serve(server, config).await) });
    }
    let setting = |me: &str| {
        let mut setting = Setting::new(directory, me);
        setting.stun = ports.map(|port| SocketAddr::new(stun.ip(), port)).to_vec();
        setting.options.window = window;
        setting
    };
    let (caller, callee) = (setting("alice"), setting("bob"));
    let others = alice.clone();
    world.spawn(async move {
        let socket = others.udp_bind((Ipv4Addr::UNSPECIFIED, 0).into()).await.expect("a socket");
        let mut random = others.random();
        for port in 10_000..60_000 {
            // A Poisson process: exponential times in between.
            let uniform = (random.next_u64() >> 11) as f64 / (1_u64 << 53) as f64;
            others.sleep(Duration::from_secs_f64(-(1.0 - uniform).ln() / per_second)).await;
            let _ = socket.send_to(b"other", SocketAddr::new(stun.ip(), port)).await;
        }
    });
    let answering = async { answer(&bob, Technique::Predict, &callee).await.is_ok() };
    let calling = async {
        alice.sleep(Duration::from_millis(500)).await;
        match call(&alice, Technique::Predict, &caller, "bob").await {
            Ok(contact) => (contact.facts(), true),
            Err(failure) => (failure.facts, false),
        }
    };
    let ((facts, met), _) = world.run_until(futures::future::join(calling, answering)).expect("the world goes on");
    let Some(Fact::Duration(age)) = facts.get("age") else { panic!("no age among {facts:?}") };
    (per_second * age.as_secs_f64(), met)
}

/// How likely a Poisson variable of this mean is at most `most`.
fn at_most(most: u16, mean: f64) -> f64 {
    let terms = (1..=most).scan(1.0, |term, k| {
        *term *= mean / f64::from(k);
        Some(*term)
    });
    (-mean).exp() * (1.0 + terms.sum::<f64>())
}

#[test]
fn other_hosts_lower_the_share_of_hits_as_a_poisson_process_says() {
    const SEEDS: u64 = 120;
    let mut before = 1.0;
    for (per_second, window) in [(5.0, 5), (60.0, 5), (60.0, 3), (60.0, 1)] {
        let trials: Vec<(f64, bool)> = (0..SEEDS).map(|seed| among_others(per_second, window, seed)).collect();
        let expected = trials.iter().map(|(mean, _)| at_most(window, *mean)).sum::<f64>() / SEEDS as f64;
        let share = trials.iter().filter(|(_, met)| *met).count() as f64 / SEEDS as f64;
        let error = (expected * (1.0 - expected) / SEEDS as f64).sqrt();
        assert!((share - expected).abs() <= 3.0 * error + 0.005, "{per_second}/s, {window}: {share}, not {expected}");
        assert!(share <= before, "{per_second}/s, {window}: {share} after {before}");
        before = share;
    }
    assert!(before < 0.6, "{before}");
}

//! Which NATs can be punched: the simulator against the prediction, for every pair of behaviours.

#[path = "../common/two_homes.rs"]
mod two_homes;

mod bep55;
mod birthday;
mod change;
mod dcutr;
mod ice;
mod ice_tcp;
mod options;
mod predict;
mod predict_ports;
mod quic;
mod relay;
mod tcp;
mod techniques;

use std::sync::Arc;
use std::time::Duration;

use natbox::host::Host;
use natbox::nat::Behavior;
use natbox::nat::behavior::{FilterScope, Filtering, Mapping, SessionAffinity};
use natbox::probes::path::Path;
use natbox::probes::punch::{PunchConfig, answer, punch};
use natbox::wire::Word;
use predict::{Class, Semantics, can_punch};
use two_homes::TwoHomes;

/// The nine classes of RFC 4787: every mapping with every filtering.
fn classes() -> Vec<Class> {
    // The three that UDP can have.
    let filterings = || Filtering::ALL[..3].iter();
    Mapping::ALL[..3].iter().flat_map(|mapping| filterings().map(|filtering| (*mapping, *filtering))).collect()
}

fn behavior((mapping, filtering): Class, semantics: Semantics) -> Arc<Behavior> {
    let Semantics { filter_scope, session_affinity, .. } = semantics;
    Arc::new(Behavior {
        mapping: mapping.into(),
        filtering: filtering.into(),
        filter_scope,
        session_affinity,
        ..Behavior::default()
    })
}

/// Whether alice and bob, behind these NATs, exchange a message and its acknowledgement through punched holes.
fn simulate(a: Class, b: Class, semantics: Semantics) -> bool {
    let TwoHomes { mut world, alice, bob, directory, .. } =
        TwoHomes::new(&behavior(a, semantics), &behavior(b, semantics), 7);
    let config = |name: &str| {
        let mut config = PunchConfig::new(directory, name);
        config.host_candidates = false;
        config.checks.peer_reflexive = semantics.peer_reflexive;
        config
    };
    let (caller, callee) = (config("alice"), config("bob"));
    let answering = async {
        let mut talk = answer(&bob, &callee, bob.now() + Duration::from_secs(10)).await.ok()?;
        let asked = talk.recv(bob.now() + Duration::from_secs(5)).await.ok()??.to_vec();
        talk.send(&asked).await.ok()?;
        Some(talk.path())
    };
    let calling = async {
        alice.sleep(Duration::from_millis(500)).await;
        let mut talk = punch(&alice, &caller, "bob").await.ok()?;
        talk.send(b"hello").await.ok()?;
        let answered = talk.recv(alice.now() + Duration::from_secs(5)).await.ok()??.to_vec();
        assert_eq!(answered, b"hello");
        Some(talk.path())
    };
    let (called, answered) = world.run_until(futures::future::join(calling, answering)).expect("the world goes on");
    if let Some(path) = called {
        assert_eq!(path, Path::Punched, "{a:?} {b:?} {semantics:?}");
        assert_eq!(answered, Some(Path::Punched), "{a:?} {b:?} {semantics:?}");
    }
    called.is_some()
}

fn hold_against_the_prediction(semantics: Semantics, punched: usize) {
    let classes = classes();
    let pairs: Vec<(Class, Class)> = classes.iter().flat_map(|a| classes.iter().map(|b| (*a, *b))).collect();
    assert_eq!(pairs.len(), 81);
    let differing: Vec<String> = pairs
        .iter()
        .map(|(a, b)| (a, b, can_punch(*a, *b, semantics), simulate(*a, *b, semantics)))
        .filter(|(_, _, predicted, simulated)| predicted != simulated)
        .map(|(a, b, predicted, simulated)| format!("{a:?} {b:?}: predicted {predicted}, simulated {simulated}"))
        .collect();
    assert!(differing.is_empty(), "{semantics:?}, {} cells differ:\n{}", differing.len(), differing.join("\n"));
    assert_eq!(pairs.iter().filter(|(a, b)| can_punch(*a, *b, semantics)).count(), punched);
}

fn semantics(filter_scope: FilterScope, session_affinity: SessionAffinity, peer_reflexive: bool) -> Semantics {
    Semantics { filter_scope, session_affinity, peer_reflexive }
}

#[test]
fn with_permissions_per_mapping_and_affinity_57_pairs_are_punched_and_21_without_learning() {
    hold_against_the_prediction(semantics(FilterScope::Mapping, SessionAffinity::On, true), 57);
    hold_against_the_prediction(semantics(FilterScope::Mapping, SessionAffinity::On, false), 21);
}

#[test]
fn with_permissions_per_mapping_and_no_affinity_42_pairs_are_punched_and_9_without_learning() {
    hold_against_the_prediction(semantics(FilterScope::Mapping, SessionAffinity::Off, true), 42);
    hold_against_the_prediction(semantics(FilterScope::Mapping, SessionAffinity::Off, false), 9);
}

#[test]
fn with_permissions_per_endpoint_and_affinity_77_pairs_are_punched_and_45_without_learning() {
    hold_against_the_prediction(semantics(FilterScope::Endpoint, SessionAffinity::On, true), 77);
    hold_against_the_prediction(semantics(FilterScope::Endpoint, SessionAffinity::On, false), 45);
}

#[test]
fn with_permissions_per_endpoint_and_no_affinity_45_pairs_are_punched_and_9_without_learning() {
    hold_against_the_prediction(semantics(FilterScope::Endpoint, SessionAffinity::Off, true), 45);
    hold_against_the_prediction(semantics(FilterScope::Endpoint, SessionAffinity::Off, false), 9);
}

//! The tests that the README shows, word for word.

use natbox::Lab;

#[test]
fn two_symmetric_nats_leave_the_relay() {
    let lab = "
nats: { home: symmetric, office: symmetric }
hosts: { alice: { behind: home }, bob: { behind: office }, relay: { services: [stun, turn, rendezvous] } }
scenario: [{ connect: { from: alice, to: bob }, expect: relayed }]
";
    let outcome = Lab::from_yaml(lab).unwrap().seed(7).run().unwrap();
    assert!(outcome.ok, "{}", outcome.to_json());
}

use natbox::matrix::Matrix;
use natbox::probes::Path;

#[test]
fn a_symmetric_nat_is_punched_through_if_the_other_does_not_filter_by_port() {
    let nats = ["symmetric", "restricted-cone", "port-restricted-cone"];
    let sweep = Matrix::of(&nats, &["punch"]).unwrap().sweep().unwrap();
    let path = |a, b| sweep.between(a, b, "punch").unwrap().path();
    assert_eq!(path("symmetric", "restricted-cone"), Path::Punched);
    assert_eq!(path("symmetric", "port-restricted-cone"), Path::None);
    assert_eq!(path("symmetric", "symmetric"), Path::None);
}

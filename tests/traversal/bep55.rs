//! BitTorrent's holepunch extension: where two peers behind NATs come together through a third that both know.

use super::techniques::{apart, connect, path, together};

const SWARM: &str = "technique: bep55";

#[test]
fn bep55_joins_peers_where_punching_works_over_one_socket() {
    for nat in ["full-cone", "restricted-cone", "port-restricted-cone", "linux-masquerade"] {
        let step = apart(nat, nat, SWARM);
        assert_eq!(path(&step), "punched", "{nat} {step:#?}");
        assert_eq!(step.facts["transport"], "udp");
        assert_eq!(step.facts["rendezvous"], step.facts["told_to_connect"], "{nat}");
    }
}

#[test]
fn the_syn_that_gets_in_makes_the_connection_whoever_sent_it() {
    for (a, b) in [("full-cone", "symmetric"), ("symmetric", "full-cone"), ("restricted-cone", "symmetric")] {
        assert_eq!(path(&apart(a, b, SWARM)), "punched", "{a} {b}");
    }
}

#[test]
fn where_the_relaying_peer_sees_another_port_than_the_target_will_there_is_no_path() {
    for (a, b) in [("symmetric", "port-restricted-cone"), ("symmetric", "symmetric")] {
        let step = apart(a, b, SWARM);
        assert_eq!(path(&step), "none", "{a} {b}");
        assert!(step.facts["attempts"].to_string().contains("told to connect"), "{step:#?}");
    }
}

#[test]
fn without_udp_there_is_no_utp() {
    let blocked = "{ type: full-cone, outbound: { udp: off } }";
    let step = apart(blocked, "full-cone", "technique: bep55");
    assert_eq!(path(&step), "none");
    assert_eq!(step.facts["rendezvous"], serde_json::json!([]), "nobody was there to be asked");
}

#[test]
fn peers_behind_one_nat_meet_if_it_hairpins_and_peers_without_nats_directly() {
    assert_eq!(path(&together("full-cone", SWARM)), "none", "the relaying peer knows external endpoints alone");
    assert_eq!(path(&together("{ type: full-cone, hairpin: external-source }", SWARM)), "hairpinned");
    assert_eq!(path(&apart("public", "public", SWARM)), "direct");
    assert_eq!(path(&apart("full-cone", "public", SWARM)), "direct");
    assert_eq!(path(&apart("public", "full-cone", SWARM)), "reversed");
}

#[test]
fn packets_that_are_lost_are_sent_again() {
    let nats = "home-a: port-restricted-cone, home-b: port-restricted-cone";
    let hosts = "alice: { behind: home-a, link: { loss: 10% } }\n  bob: { behind: home-b, link: { loss: 10% } }";
    assert_eq!(path(&connect(nats, hosts, SWARM)), "punched");
}

#[test]
fn two_runs_are_alike() {
    let run = || apart("port-restricted-cone", "linux-masquerade", SWARM);
    assert_eq!(format!("{:?}", run()), format!("{:?}", run()));
}

//! Replays: nothing fares differently in the same lab, and what does in another is told.

use std::net::SocketAddr;

use natbox::Lab;
use natbox::capture::Reader;
use natbox::paint::Paint;
use natbox::plan::Action;
use natbox::replay::{End, Kind, Replayed};

fn lab(yaml: &str) -> Lab {
    Lab::from_yaml(yaml).unwrap_or_else(|error| panic!("{error}"))
}

/// The capture of a lab's scenario.
fn captured(lab: &Lab) -> Vec<u8> {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("lab.pcapng");
    lab.clone().capture(&path).run().expect("it runs");
    std::fs::read(path).expect("a capture")
}

fn replay(capture: &[u8], lab: &Lab) -> Replayed {
    lab.replay(capture).unwrap_or_else(|error| panic!("{error}"))
}

/// Steps that change the network: a capture does not tell of them.
fn changes(lab: &Lab) -> bool {
    lab.plan().steps.iter().any(|step| {
        !matches!(
            step.action,
            Action::Send(_)
                | Action::Ping(_)
                | Action::Discover(_)
                | Action::Measure(_)
                | Action::Punch(_)
                | Action::Connect(_)
                | Action::Call(_)
                | Action::Map(_)
                | Action::Talk(_)
                | Action::Wait(_)
                | Action::Expire(_)
                | Action::Count(_)
        )
    })
}

#[test]
fn every_topology_that_is_replayed_as_it_was_fares_as_it_did() {
    let (mut replayed, mut packets) = (0, 0);
    for folder in ["topologies", "topologies/techniques"] {
        for entry in std::fs::read_dir(folder).expect("topologies").flatten() {
            let Ok(lab) = Lab::from_file(entry.path()) else { continue };
            let capture = captured(&lab);
            let frames = Reader::new(capture.as_slice()).expect("a capture").count();
            if changes(&lab) || frames == 0 {
                continue;
            }
            let result = replay(&capture, &lab);
            assert!(
                result.differences.is_empty(),
                "{}: {}",
                entry.path().display(),
                result.to_text(false, Paint::PLAIN)
            );
            assert_eq!(result.redirected, 0);
            replayed += 1;
            packets += result.same;
        }
    }
    assert!(replayed > 15 && packets > 500, "{replayed} topologies, {packets} packets");
}

const HOLE: &str = "
hosts: { alice: { behind: home }, server: {}, stranger: {} }
scenario:
  - send: { from: 'alice:1234', to: 'server:5678', as: p1 }
  - send: { from: 'stranger:7777', to: p1.mapped }
  - send: { from: 'server:5678', to: p1.mapped }
";

#[test]
fn a_stricter_filter_drops_what_came_in() {
    let capture = captured(&lab(&format!("nats: {{ home: full-cone }}{HOLE}")));
    let result = replay(&capture, &lab(&format!("nats: {{ home: port-restricted-cone }}{HOLE}")));
    assert_eq!((result.packets, result.same, result.unknown), (3, 2, 0));
    let [difference] = result.differences.as_slice() else { panic!("{result:?}") };
    assert_eq!((difference.host.as_str(), difference.kind), ("stranger", Kind::NowDropped));
    assert_eq!(difference.then.end, End::Arrived { at: "alice".into() });
    assert_eq!(difference.now.reason(), Some("filtered"));
    assert!(difference.now.why.as_deref().is_some_and(|why| why.contains("has not been contacted")));
}

#[test]
fn an_answer_goes_to_the_endpoint_that_its_flow_has_now() {
    let random = "nats: { home: { type: full-cone, ports: { allocation: random } } }";
    let capture = captured(&lab(&format!("nats: {{ home: full-cone }}{HOLE}")));
    let result = replay(&capture, &lab(&format!("{random}{HOLE}")));
    let sources: Vec<Kind> = result.differences.iter().map(|difference| difference.kind).collect();
    assert_eq!(sources, [Kind::OtherSource], "{result:?}");
    assert_eq!(result.redirected, 2, "both who answer");
    let now: SocketAddr = result.differences[0].now.source.expect("it was translated");
    assert_ne!(now.port(), 1234);
}

#[test]
fn so_does_the_reply_to_a_ping() {
    let home = |conflict: &str| {
        lab(&format!(
            "
nats: {{ home: {{ type: linux-masquerade, icmp_identifier: {conflict} }} }}
hosts: {{ alice: {{ behind: home }}, server: {{}} }}
scenario: [{{ ping: {{ from: alice, to: server, count: 2 }} }}]
"
        ))
    };
    let result = replay(&captured(&home("preserve")), &home("random"));
    let kinds: Vec<(&str, Kind)> = result.differences.iter().map(|one| (one.host.as_str(), one.kind)).collect();
    assert_eq!(kinds, [("alice", Kind::OtherSource), ("alice", Kind::OtherSource)], "the replies arrive");
    assert_eq!(result.redirected, 2);
}

#[test]
fn what_was_dropped_may_arrive() {
    let capture = captured(&lab(&format!("nats: {{ home: port-restricted-cone }}{HOLE}")));
    let result = replay(&capture, &lab(&format!("nats: {{ home: full-cone }}{HOLE}")));
    let kinds: Vec<Kind> = result.differences.iter().map(|difference| difference.kind).collect();
    assert_eq!(kinds, [Kind::NowArrives]);
    let text = result.to_text(false, Paint::PLAIN);
    assert!(text.contains("now:  arrives at alice from "), "{text}");
    assert!(text.ends_with("3 packets replayed, 1 fares differently: 1 now arriving\n"), "{text}");
}

#[test]
fn a_host_that_is_not_there_is_an_error_that_says_who_is() {
    let capture = captured(&lab(&format!("nats: {{ home: full-cone }}{HOLE}")));
    let other = lab("nats: { home: full-cone }\nhosts: { alicia: { behind: home }, server: {}, stranger: {} }");
    let error = other.replay(capture.as_slice()).expect_err("there is no alice").to_string();
    assert_eq!(error, "`alice` sends packets in the capture, and is no host of the topology; did you mean `alicia`?");
    let error = other.replay(&b"no capture"[..]).expect_err("it is none").to_string();
    assert!(error.starts_with("not a pcapng capture"), "{error}");
}

#[test]
fn two_replays_of_one_seed_are_the_same() {
    let random = "nats: { home: { type: symmetric, ports: { allocation: random } } }";
    let capture = captured(&lab(&format!("nats: {{ home: full-cone }}{HOLE}")));
    let other = lab(&format!("{random}{HOLE}"));
    assert_eq!(replay(&capture, &other).to_json(), replay(&capture, &other).to_json());
    let seeded = replay(&capture, &other.clone().seed(99));
    assert_ne!(replay(&capture, &other).to_json(), seeded.to_json());
}

//! Calls measure what the links do.

use std::time::Duration;

use natbox_host::Host;
use natbox_nat::Behavior;
use natbox_probes::call::{CallConfig, CallReport, Responder, call};
use natbox_probes::connect::{Config, Path, connect};
use natbox_world::LinkConfig;

use crate::lab::{Lab, answer, link, preset};

const MS: Duration = Duration::from_millis(1);
const SECOND: Duration = Duration::from_secs(1);

/// Alice calls bob, who is behind a home with this link.
fn run(a: Behavior, b: Behavior, link: LinkConfig, relay_first: bool, what: CallConfig) -> CallReport {
    let mut lab = Lab::new(3);
    let directory = lab.directory();
    let relay = lab.relay();
    let home_a = lab.home("home-a", "198.18.0.2", a);
    let home_b = lab.home_on(lab.internet, "home-b", ("198.18.0.3", 15), "10.0.0.1", b, link);
    let (alice, bob) = (lab.inside(home_a, "alice", "10.0.0.2"), lab.inside(home_b, "bob", "10.0.0.3"));
    answer(&bob, Config::new(directory, "bob"), Responder::default());
    let mut config = Config { relay: Some(relay), ..Config::new(directory, "alice") };
    config.checks.relay_first = relay_first;
    lab.run(async {
        alice.sleep(SECOND).await;
        let connection = connect(&alice, &config, "bob").await.unwrap_or_else(|failure| panic!("{failure}"));
        call(&mut connection.into(), &what).await.expect("a report")
    })
}

#[test]
fn on_perfect_links_nothing_is_lost_and_the_delay_is_that_of_the_way() {
    let cone = || preset("port-restricted-cone");
    let report = run(cone(), cone(), link(15), false, CallConfig::default());
    assert_eq!(report.paths.iter().map(|(_, path)| *path).collect::<Vec<_>>(), [Path::Punched]);
    for stream in [report.outbound, report.inbound] {
        assert_eq!((stream.sent, stream.received, stream.lost_share()), (500, 500, 0.0));
        let delay = stream.delay.expect("a delay");
        // 1 ms in either home, 10 ms and 15 ms outside.
        assert_eq!((delay.least, delay.mean, delay.most), (27 * MS, 27 * MS, 27 * MS));
        assert_eq!(stream.jitter, Duration::ZERO);
    }
    assert_eq!(report.ended.since(report.began), 9980 * MS);
}

#[test]
fn loss_and_jitter_of_a_link_show_in_both_directions() {
    let bad = LinkConfig { loss: 0.1, jitter: 8 * MS, ..link(15) };
    let cone = || preset("full-cone");
    let report = run(cone(), cone(), bad, false, CallConfig { duration: 60 * SECOND, ..CallConfig::default() });
    for stream in [report.outbound, report.inbound] {
        assert_eq!(stream.sent, 3000);
        assert!((0.08..0.12).contains(&stream.lost_share()), "{stream:?}");
        let delay = stream.delay.expect("a delay");
        assert!(delay.least >= 27 * MS && delay.most <= 35 * MS && delay.mean > 29 * MS, "{delay:?}");
        assert!(stream.jitter > MS / 2 && stream.jitter < 8 * MS, "{stream:?}");
    }
}

#[test]
fn a_relayed_call_that_finds_holes_changes_its_path_and_gets_faster() {
    let report = run(preset("full-cone"), preset("port-restricted-cone"), link(10), true, CallConfig::default());
    assert_eq!(report.paths.iter().map(|(_, path)| *path).collect::<Vec<_>>(), [Path::Relayed, Path::Punched]);
    assert!(report.paths[0].0 >= report.began && report.paths[1].0 < report.ended);
    let delay = report.outbound.delay.expect("a delay");
    // The detour to the relay is 20 ms more.
    assert_eq!((delay.least, delay.most), (22 * MS, 42 * MS));
    assert_eq!((report.outbound.received, report.inbound.received), (500, 500));
}

#[test]
fn a_call_between_symmetric_nats_stays_on_the_relay() {
    let report = run(preset("symmetric"), preset("symmetric"), link(10), true, CallConfig::default());
    assert_eq!(report.paths.iter().map(|(_, path)| *path).collect::<Vec<_>>(), [Path::Relayed]);
    assert_eq!(report.inbound.delay.expect("a delay").mean, 42 * MS);
}

#[test]
fn a_call_without_a_single_datagram_is_a_call() {
    let none = CallConfig { duration: Duration::ZERO, ..CallConfig::default() };
    let report = run(preset("full-cone"), preset("full-cone"), link(10), false, none);
    assert_eq!((report.outbound.sent, report.inbound.sent, report.outbound.delay), (0, 0, None));
}

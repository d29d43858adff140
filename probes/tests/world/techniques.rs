//! Techniques from Rust: a contact, either side; strangers; budgets.

use std::time::Duration;

use natbox_host::Host;
use natbox_probes::technique::{self, Contact, Failure, Options, Setting, Technique};
use natbox_probes::{Path, Transport, connect, signal};
use natbox_wire::{Time, Word};
use natbox_world::VirtualHost;

use crate::lab::{Lab, answer, endpoint, preset};

type Met = Result<Contact<VirtualHost>, Failure>;

const SECOND: Duration = Duration::from_secs(1);

async fn meet(alice: &VirtualHost, bob: &VirtualHost, technique: Technique, setting: &Setting) -> (Met, Met) {
    let waiting = Setting { me: "bob".into(), ..setting.clone() };
    let call = async {
        let deadline = alice.now() + 5 * SECOND;
        signal::look_up(alice, setting.directory, "bob", deadline).await.expect("bob registers");
        technique::call(alice, technique, setting, "bob").await
    };
    futures::future::join(call, technique::answer(bob, technique, &waiting)).await
}

/// A public caller, and a callee behind a NAT, or the other way round.
fn lab(technique: Technique) -> (Lab, VirtualHost, VirtualHost, Setting) {
    let mut lab = Lab::new(1);
    let (directory, relay) = (lab.directory(), lab.relay());
    let home = lab.home("home", "198.18.0.2", preset("linux-masquerade"));
    let other = match technique {
        Technique::Local | Technique::Hairpin => home,
        _ => lab.home("other", "198.18.0.3", preset("linux-masquerade")),
    };
    let alice = match technique {
        Technique::Reversal => lab.public("alice", &["198.18.0.20"]),
        _ => lab.inside(home, "alice", "10.0.0.2"),
    };
    let bob = match technique {
        Technique::Direct => lab.public("bob", &["198.18.0.21"]),
        _ => lab.inside(other, "bob", "10.0.0.3"),
    };
    let setting = Setting { relay: Some(relay), ..Setting::new(directory, "alice") };
    (lab, alice, bob, setting)
}

#[test]
fn both_sides_of_a_contact_talk_and_call_each_other_by_name() {
    for (technique, path) in [
        (Technique::Direct, Path::Direct),
        (Technique::Reversal, Path::Reversed),
        (Technique::Local, Path::Local),
        (Technique::Punch, Path::Punched),
        (Technique::PunchLowTtl, Path::Punched),
        (Technique::Turn, Path::Relayed),
        (Technique::RelayFirst, Path::Relayed),
        (Technique::Connect, Path::Punched),
    ] {
        let (mut lab, alice, bob, setting) = lab(technique);
        let (called, answered) = lab.run(meet(&alice, &bob, technique, &setting));
        let (mut called, mut answered) = (called.expect("called"), answered.expect("answered"));
        assert_eq!((called.path(), called.transport()), (path, Transport::Udp), "{technique}");
        assert_eq!((called.peer(), answered.peer()), ("bob", "alice"), "{technique}");
        assert!(called.elapsed() < 3 * SECOND, "{technique}: {:?}", called.elapsed());
        let deadline = alice.now() + 5 * SECOND;
        let (heard, echoed) = lab.run(async {
            let say = async {
                called.send(b"message").await.expect("sent");
                called.recv(deadline).await.expect("works").map(|message| message.payload.to_vec())
            };
            let hear = async {
                let heard = answered.recv(deadline).await.expect("works").map(|message| message.payload.to_vec());
                answered.send(b"acknowledged").await.expect("sent");
                // Keeps the path alive for the other side's last answers.
                let _ = answered.recv(deadline).await;
                heard
            };
            let (echoed, heard) = futures::future::join(say, hear).await;
            (heard, echoed)
        });
        assert_eq!(heard.as_deref(), Some(&b"message"[..]), "{technique}");
        assert_eq!(echoed.as_deref(), Some(&b"acknowledged"[..]), "{technique}");
        assert_eq!(called.history().first().map(|(_, path)| *path), Some(path), "{technique}");
    }
}

#[test]
fn a_stranger_who_answers_at_the_callees_private_address_and_port_is_refused() {
    for technique in [Technique::Local, Technique::Direct] {
        let mut lab = Lab::new(1);
        let directory = lab.directory();
        let home = lab.home("home", "198.18.0.2", preset("full-cone"));
        let other = lab.home("other", "198.18.0.3", preset("full-cone"));
        let alice = lab.inside(home, "alice", "10.0.0.2");
        let mallory = lab.inside(home, "mallory", "10.0.0.3");
        let bob = lab.inside(other, "bob", "10.0.0.3");
        // Hosts number their first socket by their own dice: mallory listens where bob happens to be.
        let setting = Setting::new(directory, "alice");
        let waiting = Setting { me: "bob".into(), ..setting.clone() };
        let met = lab.run(async {
            let call = async {
                let found = signal::look_up(&alice, directory, "bob", alice.now() + 5 * SECOND).await.expect("found");
                let port = found.candidates[0].endpoint.port();
                let config = connect::Config { port, ..connect::Config::new(directory, "mallory") };
                answer(&mallory, config, connect::Echo);
                alice.sleep(SECOND).await;
                technique::call(&alice, technique, &setting, "bob").await
            };
            futures::future::join(call, technique::answer(&bob, technique, &waiting)).await.0
        });
        let failure = met.err().expect("nobody is there");
        assert!(failure.attempts[0].contains("refused with 401: somebody else is there"), "{technique}: {failure}");
    }
}

#[test]
fn every_technique_keeps_to_its_timeout_on_both_sides_where_nobody_answers() {
    for technique in Technique::ALL.iter().copied() {
        let mut lab = Lab::new(1);
        let home = lab.home("home", "198.18.0.2", preset("symmetric"));
        let alice = lab.inside(home, "alice", "10.0.0.2");
        let options = Options { timeout: 4 * SECOND, ..Options::default() };
        let credentials = natbox_probes::turn::Credentials::new("user", "pass");
        let relay = technique::Relay::new(endpoint(crate::lab::RELAY), credentials);
        let setting = Setting {
            options,
            relay: Some(relay),
            stun: vec![endpoint(crate::lab::STUN)],
            ..Setting::new(endpoint(crate::lab::DIRECTORY), "alice")
        };
        let called = lab.run(technique::call(&alice, technique, &setting, "bob"));
        assert!(called.is_err(), "{technique}");
        assert!(lab.world.now() <= Time::ZERO + 4 * SECOND, "{technique}: {}", lab.world.now());
        let began = lab.world.now();
        let answered = lab.run(technique::answer(&alice, technique, &setting));
        assert!(answered.is_err(), "{technique}");
        assert!(lab.world.now().since(began) <= 8 * SECOND, "{technique}: {}", lab.world.now());
    }
}

//! Signalling through the directory: over UDP and TCP, over lossy links, across a NAT that reboots.

use std::time::Duration;

use natbox_host::Host;
use natbox_nat::Behavior;
use natbox_nat::behavior::{Outbound, Reach};
use natbox_probes::signal::{self, MOST_SIGNAL_BYTES, Signal};
use natbox_probes::{ProbeError, Transport};
use natbox_world::{LinkConfig, VirtualHost};

use crate::lab::{Home, Lab, endpoint, link, preset};

const MINUTE: Duration = Duration::from_secs(60);

fn pair(a: Behavior, b: Behavior) -> (Lab, VirtualHost, VirtualHost, Home) {
    let mut lab = Lab::new(1);
    let (home_a, home_b) = (lab.home("home-a", "198.18.0.2", a), lab.home("home-b", "198.18.0.3", b));
    let alice = lab.inside(home_a, "alice", "10.0.0.2");
    let bob = lab.inside(home_b, "bob", "10.0.0.3");
    (lab, alice, bob, home_a)
}

type Ends = (Signal<VirtualHost>, Signal<VirtualHost>);

/// Both ends of a channel between alice, who calls, and bob.
async fn meet(alice: &VirtualHost, bob: &VirtualHost) -> Result<Ends, ProbeError> {
    let directory = endpoint(crate::lab::DIRECTORY);
    let deadline = alice.now() + MINUTE;
    let answer = Signal::answer(bob, directory, "bob", deadline);
    let call = async {
        signal::look_up(alice, directory, "bob", deadline).await?;
        Signal::call(alice, directory, "alice", "bob", deadline).await
    };
    let (caller, callee) = futures::future::join(call, answer).await;
    Ok((caller?, callee?))
}

/// Every message both ways at once; what came, each way.
async fn exchange((alice, bob): &mut Ends, host: &VirtualHost, messages: &[Vec<u8>]) -> [Vec<Vec<u8>>; 2] {
    async fn all(end: &mut Signal<VirtualHost>, host: &VirtualHost, messages: &[Vec<u8>]) -> Vec<Vec<u8>> {
        for message in messages {
            end.send(message).await.expect("the channel works");
        }
        let (mut came, deadline) = (Vec::new(), host.now() + MINUTE);
        while came.len() < messages.len() {
            let Some(message) = end.recv(deadline).await.expect("the channel works") else { break };
            came.push(message);
        }
        came
    }
    let (to_alice, to_bob) = futures::future::join(all(alice, host, messages), all(bob, host, messages)).await;
    [to_alice, to_bob]
}

fn messages(count: u8) -> Vec<Vec<u8>> {
    (0..count).map(|number| vec![number; usize::from(number) * 20]).collect()
}

#[test]
fn both_ends_have_one_token_know_each_other_and_hear_everything_once_and_in_order() {
    let (mut lab, alice, bob, _) = pair(preset("symmetric"), preset("port-restricted-cone"));
    lab.directory();
    let messages = messages(60);
    let (mut ends, came) = lab.run(async {
        let mut ends = meet(&alice, &bob).await.expect("they meet");
        let came = exchange(&mut ends, &alice, &messages).await;
        (ends, came)
    });
    assert_eq!(came, [messages.clone(), messages]);
    assert_eq!(ends.0.token(), ends.1.token());
    assert_eq!((ends.0.peer(), ends.1.peer()), ("bob", "alice"));
    assert_eq!(
        (ends.0.seen().ip(), ends.1.seen().ip()),
        ("198.18.0.2".parse().unwrap(), "198.18.0.3".parse().unwrap())
    );
    assert_eq!((ends.0.transport(), ends.1.transport()), (Transport::Udp, Transport::Udp));
    let long = lab.run(ends.0.send(&vec![0; MOST_SIGNAL_BYTES + 1]));
    assert!(matches!(long, Err(ProbeError::Io { .. })), "{long:?}");
}

#[test]
fn nothing_is_lost_where_a_third_of_the_packets_is() {
    let (mut lab, alice, bob, _) = pair(preset("full-cone"), preset("full-cone"));
    lab.directory_on(LinkConfig {
        loss: 0.18,
        reorder: 0.2,
        duplicate: 0.1,
        jitter: Duration::from_millis(30),
        ..link(10)
    });
    let messages = messages(20);
    let came = lab.run(async {
        let mut ends = meet(&alice, &bob).await.expect("they meet");
        exchange(&mut ends, &alice, &messages).await
    });
    assert_eq!(came, [messages.clone(), messages]);
}

/// A NAT that lets no UDP out.
fn without_udp() -> Behavior {
    let behavior = preset("port-restricted-cone");
    Behavior { outbound: Outbound { udp: Reach::Nothing, ..behavior.outbound.clone() }, ..behavior }
}

#[test]
fn where_udp_is_blocked_the_directory_is_reached_over_tcp() {
    for (a, b, transports) in [
        (without_udp(), preset("full-cone"), (Transport::Tcp, Transport::Udp)),
        (preset("full-cone"), without_udp(), (Transport::Udp, Transport::Tcp)),
        (without_udp(), without_udp(), (Transport::Tcp, Transport::Tcp)),
    ] {
        let (mut lab, alice, bob, _) = pair(a, b);
        lab.directory();
        let messages = messages(40);
        let (ends, came) = lab.run(async {
            let mut ends = meet(&alice, &bob).await.expect("they meet");
            let came = exchange(&mut ends, &alice, &messages).await;
            (ends, came)
        });
        assert_eq!((ends.0.transport(), ends.1.transport()), transports);
        assert_eq!(came, [messages.clone(), messages]);
    }
}

#[test]
fn a_nat_that_reboots_does_not_end_a_channel() {
    let (mut lab, alice, bob, home) = pair(preset("symmetric"), preset("symmetric"));
    lab.directory();
    let mut ends = lab.run(meet(&alice, &bob)).expect("they meet");
    lab.world.reboot(home.gateway).expect("a gateway");
    let messages = messages(3);
    let came = lab.run(exchange(&mut ends, &alice, &messages));
    assert_eq!(came, [messages.clone(), messages]);
}

#[test]
fn a_channel_that_rests_for_ten_minutes_still_works() {
    let (mut lab, alice, bob, _) = pair(preset("port-restricted-cone"), preset("port-restricted-cone"));
    lab.directory();
    let mut ends = lab.run(meet(&alice, &bob)).expect("they meet");
    lab.world.run_for(10 * MINUTE).expect("the lab goes on");
    let messages = messages(3);
    let came = lab.run(exchange(&mut ends, &alice, &messages));
    assert_eq!(came, [messages.clone(), messages]);
}

#[test]
fn an_end_whose_peer_has_vanished_says_that_nobody_hears() {
    let (mut lab, alice, bob, _) = pair(preset("full-cone"), preset("full-cone"));
    lab.directory();
    let mut ends = lab.run(meet(&alice, &bob)).expect("they meet");
    let uplink = lab.world.interfaces_of(bob.node()).next().expect("an uplink");
    lab.world.cut(uplink);
    let ended = lab.run(async {
        ends.0.send(b"hello").await.expect("handed over");
        ends.0.flush().await
    });
    assert!(matches!(ended, Err(ProbeError::Silence { sent: 8, .. })), "{ended:?}");
    let after = lab.run(async { ends.0.send(b"hello").await });
    assert_eq!(after, ended);
}

#[test]
fn what_was_sent_last_arrives_although_its_sender_has_gone() {
    let (mut lab, alice, bob, _) = pair(preset("full-cone"), preset("full-cone"));
    lab.directory_on(LinkConfig { loss: 0.2, ..link(10) });
    let came = lab.run(async {
        let (mut caller, mut callee) = meet(&alice, &bob).await.expect("they meet");
        caller.send(b"farewell").await.expect("handed over");
        drop(caller);
        callee.recv(bob.now() + MINUTE).await
    });
    assert_eq!(came.unwrap().as_deref(), Some(&b"farewell"[..]));
}

#[test]
fn without_a_directory_both_say_so_in_bounded_time() {
    let (mut lab, alice, bob, _) = pair(preset("full-cone"), preset("full-cone"));
    let met = lab.run(meet(&alice, &bob));
    let Err(error) = met else { panic!("they met") };
    assert!(matches!(error, ProbeError::Silence { sent: 4, .. }), "{error}");
    assert!(lab.world.now().since(natbox_wire::Time::ZERO) <= MINUTE);
}

#[test]
fn a_name_that_nobody_has_is_refused() {
    let (mut lab, alice, _bob, _) = pair(preset("full-cone"), preset("full-cone"));
    let directory = lab.directory();
    let deadline = alice.now() + Duration::from_secs(2);
    let found = lab.run(signal::look_up(&alice, directory, "bob", deadline));
    assert!(matches!(found, Err(ProbeError::Refused { code: 1, .. })), "{found:?}");
    let met = lab.run(Signal::call(&alice, directory, "alice", "bob", alice.now() + MINUTE));
    assert!(matches!(met, Err(ProbeError::Refused { code: 1, .. })));
}

//! What goes wrong on one host is no trouble of the others'.

use std::net::UdpSocket;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use natbox::live::LiveLab;

use crate::common::{has, live, text};

const THREE: &str = "
nats: { home: linux-masquerade }
hosts: { alice: { behind: home }, bob: { behind: home }, server: { address: 198.18.0.9 } }
";

/// Whether bob gets an answer from a server through the NAT.
fn bob_is_served(lab: &LiveLab) -> bool {
    let bind = || UdpSocket::bind("198.18.0.9:7000").expect("a socket");
    let server = lab.host("server").expect("a server").enter(bind);
    let served = std::thread::spawn(move || {
        server.set_read_timeout(Some(Duration::from_secs(20))).expect("a timeout");
        let (_, source) = server.recv_from(&mut [0; 100]).expect("a datagram");
        server.send_to(b"you are welcome", source).expect("a way back");
    });
    let answered = lab.host("bob").expect("bob").enter(|| {
        let socket = UdpSocket::bind("0.0.0.0:0").expect("a socket");
        socket.set_read_timeout(Some(Duration::from_secs(20))).expect("a timeout");
        socket.send_to(b"please", "198.18.0.9:7000").expect("a way out");
        socket.recv(&mut [0; 100]).is_ok()
    });
    served.join().expect("the server");
    answered
}

#[test]
fn a_host_that_floods_leaves_room_for_others() {
    let Some(lab) = live(THREE) else { return };
    let enough = Arc::new(AtomicBool::new(false));
    let heard = enough.clone();
    let alice = lab.host("alice").expect("alice").clone();
    let flood = std::thread::spawn(move || {
        alice.enter(move || {
            let socket = UdpSocket::bind("0.0.0.0:0").expect("a socket");
            let mut sent = 0_u64;
            while !heard.load(Ordering::Relaxed) {
                sent += u64::from(socket.send_to(&[0; 1000], "198.18.0.9:9").is_ok());
            }
            sent
        })
    });
    assert!(bob_is_served(&lab));
    let deadline = std::time::Instant::now() + Duration::from_secs(60);
    while lab.overrun().is_empty() && std::time::Instant::now() < deadline {
        std::thread::sleep(Duration::from_millis(20));
    }
    enough.store(true, Ordering::Relaxed);
    let sent = flood.join().expect("the flood");
    let overrun = lab.overrun();
    assert_eq!(overrun.keys().collect::<Vec<_>>(), ["alice"], "what her kernel dropped is told, and nobody else's did");
    assert!(overrun["alice"] <= sent, "{overrun:?} of {sent}");
}

#[test]
fn a_program_that_is_stopped_stops_nobody_else() {
    let Some(lab) = live(THREE) else { return };
    let mut sleeper = lab.host("alice").expect("alice").command("sleep").arg("1000").spawn().expect("sleep");
    let signal = |what: &str| std::process::Command::new("kill").args([what, &sleeper.id().to_string()]).status();
    assert!(signal("-STOP").expect("kill").success());
    assert!(bob_is_served(&lab));
    drop(lab);
    assert!(!sleeper.wait().expect("it was ours").success(), "a stopped program dies with the lab, too");
}

#[test]
fn a_device_that_vanishes_takes_its_host_off_the_network_and_no_other() {
    if !has("ip") {
        return;
    }
    let Some(lab) = live(THREE) else { return };
    let gone = lab.host("alice").expect("alice").command("ip").args(["link", "delete", "eth0"]).output().expect("ip");
    assert!(gone.status.success(), "{}", text(&gone));
    assert!(bob_is_served(&lab));
}

#[test]
fn what_is_bound_to_an_uplink_leaves_by_it() {
    let lab = live(
        "
nats: { home: linux-masquerade, office: linux-masquerade }
hosts: { alice: { behind: [home, office] }, server: { address: 198.18.0.9 } }
",
    );
    let Some(lab) = lab else { return };
    let server = lab.host("server").expect("a server").enter(|| UdpSocket::bind("198.18.0.9:7000")).expect("a socket");
    server.set_read_timeout(Some(Duration::from_secs(20))).expect("a timeout");
    for (own, nat) in [("10.0.0.2:0", "home"), ("10.0.1.2:0", "office"), ("0.0.0.0:0", "home")] {
        let say = move || UdpSocket::bind(own)?.send_to(b"hello", "198.18.0.9:7000");
        lab.host("alice").expect("alice").enter(say).expect("a way out");
        let (_, source) = server.recv_from(&mut [0; 100]).expect("a datagram");
        assert_eq!(source.ip(), lab.addresses(nat).expect("the world")[0], "{own}");
    }
}

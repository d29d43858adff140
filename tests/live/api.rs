//! `Lab::live`, as a Rust test uses it.

use std::net::UdpSocket;
use std::time::Duration;

use natbox::live::LiveError;

use crate::common::{begin, live, text};

const TWO: &str = "
nats: { home: linux-masquerade }
hosts: { alice: { behind: home }, server: { address: 198.18.0.9 }, relay: { services: [stun] } }
";

#[test]
fn a_server_sees_the_nats_address_and_its_answer_comes_home() {
    let Some(lab) = live(TWO) else { return };
    let (alice, server) = (lab.host("alice").expect("alice").clone(), lab.host("server").expect("a server").clone());
    let listener = server.enter(|| UdpSocket::bind("198.18.0.9:7000")).expect("a socket");
    let asked = alice.enter(|| {
        let socket = UdpSocket::bind("0.0.0.0:4000")?;
        socket.set_read_timeout(Some(Duration::from_secs(10)))?;
        socket.send_to(b"hello", "198.18.0.9:7000")?;
        std::io::Result::Ok(socket)
    });
    let asked = asked.expect("a way out");
    let mut buffer = [0; 100];
    let (length, source) = listener.recv_from(&mut buffer).expect("a datagram");
    assert_eq!(source.ip(), lab.addresses("home").expect("the world")[0]);
    listener.send_to(&buffer[..length], source).expect("a way back");
    assert_eq!(asked.recv(&mut buffer).expect("an answer"), 5);
}

#[test]
fn futures_run_on_a_tokio_runtime_of_the_host() {
    let Some(lab) = live(TWO) else { return };
    let server = lab.host("server").expect("a server").spawn(async {
        let socket = tokio::net::UdpSocket::bind("198.18.0.9:7000").await?;
        let mut buffer = [0; 100];
        let (length, source) = socket.recv_from(&mut buffer).await?;
        socket.send_to(&buffer[..length], source).await?;
        std::io::Result::Ok(source.ip())
    });
    let asked = lab.host("alice").expect("alice").spawn(async {
        let socket = tokio::net::UdpSocket::bind("0.0.0.0:0").await?;
        let mut buffer = [0; 100];
        loop {
            socket.send_to(b"hello", "198.18.0.9:7000").await?;
            let answer = tokio::time::timeout(Duration::from_millis(200), socket.recv(&mut buffer)).await;
            match answer {
                Ok(Ok(length)) => return std::io::Result::Ok(length),
                _ => tokio::time::sleep(Duration::from_millis(20)).await,
            }
        }
    });
    assert_eq!(asked.join().expect("an answer"), 5);
    assert_eq!(server.join().expect("a datagram"), lab.addresses("home").expect("the world")[0]);
}

#[test]
fn labs_beside_each_other_do_not_meet() {
    let (Some(one), Some(other)) = (live(TWO), live(TWO)) else { return };
    let bind = || UdpSocket::bind("198.18.0.9:7000");
    let here = one.host("server").expect("a server").enter(bind).expect("a socket");
    let there = other.host("server").expect("a server").enter(bind).expect("the same endpoint in another lab");
    for (lab, word) in [(&one, "one"), (&other, "other")] {
        let say = move || UdpSocket::bind("0.0.0.0:0")?.send_to(word.as_bytes(), "198.18.0.9:7000");
        lab.host("alice").expect("alice").enter(say).expect("a way out");
    }
    for (socket, word) in [(here, "one"), (there, "other")] {
        let mut buffer = [0; 100];
        socket.set_read_timeout(Some(Duration::from_secs(10))).expect("a timeout");
        let length = socket.recv(&mut buffer).expect("a datagram");
        assert_eq!(&buffer[..length], word.as_bytes());
    }
}

#[test]
fn programs_can_run_on_hosts_without_services_alone_and_errors_say_so() {
    let Some(lab) = live(TWO) else { return };
    for name in ["relay", "nobody"] {
        let Err(error) = lab.host(name) else { panic!("{name} is not real") };
        assert_eq!(error.to_string(), format!("no program can run on `{name}`: expected one of alice, server"));
    }
    let error = lab.host("alice").expect("alice").command("no-such-program").status().expect_err("no such program");
    assert!(matches!(error, LiveError::Program { .. }), "{error}");
    assert!(error.to_string().starts_with("cannot start `no-such-program` on `alice`: No such file"), "{error}");
}

#[test]
fn programs_die_with_the_lab_and_so_they_do_when_a_test_panics() {
    for panics in [false, true] {
        let Some(lab) = live(TWO) else { return };
        let mut sleeper = lab.host("alice").expect("alice").command("sleep").arg("1000").spawn().expect("sleep");
        let ending = std::thread::spawn(move || {
            let _lab = lab;
            assert!(!panics, "as a test may");
        });
        assert_eq!(ending.join().is_err(), panics);
        let status = sleeper.wait().expect("it was ours");
        assert!(!status.success(), "killed, not ended");
    }
}

#[test]
fn a_host_has_a_name_and_knows_the_others() {
    let Some(lab) = live(TWO) else { return };
    let alice = lab.host("alice").expect("alice");
    let name = alice.command("uname").arg("-n").output().expect("uname");
    assert_eq!(text(&name), "alice\n");
    for (name, address) in [("server", "198.18.0.9"), ("alice", "10.0.0.2")] {
        let found = alice.command("getent").args(["ahostsv4", name]).output().expect("getent");
        assert!(text(&found).starts_with(address), "{name}: {}", text(&found));
    }
}

#[test]
fn a_live_lab_is_captured_as_others_are() {
    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join("lab.pcapng");
    let lab = natbox::Lab::from_yaml(TWO).unwrap_or_else(|error| panic!("{error}")).capture(&file);
    let Some(lab) = begin(&lab) else { return };
    let listener =
        lab.host("server").expect("a server").enter(|| UdpSocket::bind("198.18.0.9:7000")).expect("a socket");
    let say = || UdpSocket::bind("0.0.0.0:0")?.send_to(b"hello", "198.18.0.9:7000");
    lab.host("alice").expect("alice").enter(say).expect("a way out");
    listener.set_read_timeout(Some(Duration::from_secs(20))).expect("a timeout");
    listener.recv_from(&mut [0; 100]).expect("a datagram");
    lab.stop().expect("a capture");
    let told = std::process::Command::new(env!("CARGO_BIN_EXE_natbox")).arg("inspect").arg(&file).output();
    let told = text(&told.expect("natbox"));
    for word in ["new mapping #1", "delivered to server", "sent by alice"] {
        assert!(told.contains(word), "{told}");
    }
}

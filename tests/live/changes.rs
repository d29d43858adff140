//! A lab that becomes another while programs run in it.

use std::net::{SocketAddr, UdpSocket};
use std::process::Output;
use std::time::{Duration, Instant};

use natbox::live::{Change, LiveError, LiveLab};

use crate::commands::{Up, say};
use crate::common::{live, text};

const LAB: &str = "
nats: { home: port-restricted-cone, other: symmetric }
hosts:
  alice: { behind: home }
  server: { address: 198.18.0.9 }
  stranger: { address: 198.18.0.10 }
";

const SERVER: &str = "198.18.0.9:7000";
const STRANGER: &str = "198.18.0.10:7000";

fn bound(lab: &LiveLab, host: &str, at: &'static str) -> UdpSocket {
    let socket = lab.host(host).expect("a host").enter(move || UdpSocket::bind(at)).expect("a socket");
    socket.set_read_timeout(Some(Duration::from_secs(20))).expect("a timeout");
    socket
}

/// What comes next, and from where.
fn next(socket: &UdpSocket) -> (String, SocketAddr) {
    let mut bytes = [0; 100];
    let (length, source) = socket.recv_from(&mut bytes).expect("a datagram");
    (String::from_utf8_lossy(&bytes[..length]).into_owned(), source)
}

fn changed(lab: &LiveLab, change: fn(String, Vec<String>) -> Change, name: &str, words: &[&str]) -> String {
    let words = words.iter().map(|word| (*word).to_owned()).collect();
    lab.change(&change(name.to_owned(), words)).unwrap_or_else(|error| panic!("{error}"))
}

#[test]
fn a_stranger_comes_in_when_the_filter_lets_it_and_the_mapping_is_the_same() {
    let Some(lab) = live(LAB) else { return };
    let [alice, server, stranger] =
        [("alice", "0.0.0.0:5000"), ("server", SERVER), ("stranger", STRANGER)].map(|(host, at)| bound(&lab, host, at));
    alice.send_to(b"hello", SERVER).expect("sent");
    let (_, external) = next(&server);
    let both = |word: &str| {
        stranger.send_to(b"stranger", external).expect("sent");
        // The stranger's link is no longer than the server's: what it sent has come to the NAT first.
        stranger.send_to(word.as_bytes(), SERVER).expect("sent");
        assert_eq!(next(&server).0, word);
        server.send_to(word.as_bytes(), external).expect("sent");
        next(&alice).0
    };
    assert_eq!(both("refused"), "refused");
    let told = changed(&lab, Change::Set, "home", &["filtering=endpoint-independent", "timeouts.udp=90s"]);
    assert_eq!(told, "home has filtering endpoint-independent, timeouts.udp 90s now, 1 mapping kept");
    assert_eq!(both("let in"), "stranger");
    assert_eq!(next(&alice).0, "let in");
    changed(&lab, Change::Set, "home", &["mapping=address-and-port-dependent"]);
    alice.send_to(b"again", SERVER).expect("sent");
    assert_eq!(next(&server), ("again".to_owned(), external));
}

#[test]
fn a_program_sees_the_latency_that_its_link_gets() {
    let Some(lab) = live(LAB) else { return };
    let [alice, server] = [("alice", "0.0.0.0:5000"), ("server", SERVER)].map(|(host, at)| bound(&lab, host, at));
    let there_and_back = || {
        let began = Instant::now();
        alice.send_to(b"ping", SERVER).expect("sent");
        let (_, external) = next(&server);
        server.send_to(b"pong", external).expect("sent");
        assert_eq!(next(&alice).0, "pong");
        began.elapsed()
    };
    assert!(there_and_back() >= Duration::from_millis(40));
    assert_eq!(
        changed(&lab, Change::Link, "alice", &["latency=300ms", "queue=9"]),
        "the link of alice has latency 300ms, queue 9 now"
    );
    assert!(there_and_back() >= Duration::from_millis(640));
}

#[test]
fn commands_change_a_lab_and_refuse_what_cannot_be_with_exit_code_2() {
    let Some(lab) = Up::of("values", LAB) else { return };
    let command = |words: &[&str]| say(&[&words[..1], &["--lab", &lab.name], &words[1..]].concat());
    let done = |words: &[&str]| {
        let said = command(words);
        assert_eq!(said.status.code(), Some(0), "{words:?}: {}", text(&said));
        text(&said)
    };
    assert_eq!(
        done(&["set", "home", "filtering.udp=address-dependent", "ports.range=5000-5999"]),
        "home has filtering.udp address-dependent, ports.range 5000-5999 now, 0 mappings kept\n"
    );
    assert_eq!(done(&["link", "home", "rate=1mbit"]), "the link of home has rate 1mbit now\n");
    let refused = |words: &[&str]| -> String {
        let said: Output = command(words);
        assert_eq!((said.status.code(), said.stdout.len()), (Some(2), 0), "{words:?}: {}", text(&said));
        text(&said)
    };
    let told = refused(&["set", "home", "filterng=address-dependent"]);
    assert!(told.starts_with("error: unknown key `filterng`\n --> command line:1:17\n"), "{told}");
    assert!(told.contains("hint: did you mean `filtering`?"), "{told}");
    assert!(refused(&["set", "home", "filtering=sometimes"]).contains("unknown filtering"));
    assert!(refused(&["set", "home", "ports.range=0-5"]).contains("port 0"));
    assert_eq!(
        refused(&["set", "hom", "filtering=address-dependent"]),
        "error: there is no NAT `hom`: did you mean `home`?\n"
    );
    assert!(refused(&["set", "home", "translation=none"]).starts_with("error: `translation` cannot change while"));
    assert!(refused(&["link", "nobody", "loss=5%"]).contains("no host or NAT `nobody`"));
    assert!(refused(&["link", "alice", "mtu=1280"]).contains("unknown key `mtu`"));
    assert!(refused(&["set", "home"]).contains("KEY=VALUE"));
}

#[test]
fn what_cannot_be_changed_is_an_error_of_the_library_too() {
    let Some(lab) = live(LAB) else { return };
    let change = Change::Set("server".to_owned(), vec!["filtering=address-dependent".to_owned()]);
    assert!(matches!(lab.change(&change), Err(LiveError::Refused(why)) if why.contains("no NAT `server`")));
}

//! A lab that becomes another while programs run in it.

use std::net::{SocketAddr, UdpSocket};
use std::process::Output;
use std::time::{Duration, Instant};

use natbox::live::{Change, LiveError, LiveLab};

use crate::commands::{Up, say};
use crate::common::{has, live, text};

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

const NETWORKS: &str = "
nats: { home: port-restricted-cone, cafe: symmetric }
hosts:
  alice: { behind: home }
  laptop: { behind: [home, cafe] }
  server: { address: 198.18.0.9 }
  relay: { services: [stun] }
";

/// The addresses and default routes of a host, as its kernel tells them.
fn told_by_kernel(lab: &Up, host: &str) -> (String, String) {
    let ip = |words: &[&str]| text(&lab.exec(&[&[host, "--", "ip"], words].concat()));
    (ip(&["-o", "-4", "address", "show", "scope", "global"]), ip(&["-4", "route", "show", "table", "all", "default"]))
}

#[test]
fn a_host_that_moves_has_another_address_and_other_routes_and_none_of_the_old_ones() {
    let Some(lab) = Up::of("move", NETWORKS) else { return };
    let command = |words: &[&str]| say(&[&words[..1], &["--lab", &lab.name], &words[1..]].concat());
    assert_eq!(text(&command(&["move", "alice", "--to", "cafe"])), "alice is now at 10.0.1.3\n");
    if has("ip") {
        let (addresses, routes) = told_by_kernel(&lab, "alice");
        assert!(addresses.contains("10.0.1.3/24") && addresses.lines().count() == 1, "{addresses}");
        assert!(routes.lines().count() == 1 && routes.contains("via 10.0.1.1"), "{routes}");
    }
    let hosts = text(&lab.exec(&["server", "--", "cat", "/etc/hosts"]));
    assert!(hosts.contains("10.0.1.3 alice\n") && !hosts.contains("10.0.0.2 alice"), "{hosts}");
    assert_eq!(text(&command(&["move", "alice", "--to", "internet"])), "alice is now at 198.18.0.6\n");
    assert_eq!(text(&command(&["move", "relay", "--to", "home"])), "relay is now at 10.0.0.2, 10.0.0.4\n");
    if has("ping") {
        for (from, to) in [("alice", "server"), ("server", "alice"), ("server", "198.18.0.6")] {
            let pinged = lab.exec(&[from, "--", "ping", "-n", "-c", "1", "-W", "20", to]);
            assert!(pinged.status.success(), "{from} {to}: {}", text(&pinged));
        }
    }
    // Over an uplink that there is, and back.
    for (to, first) in [("cafe", "10.0.1.2"), ("home", "10.0.0.3")] {
        assert_eq!(text(&command(&["move", "laptop", "--to", to])), format!("laptop is now at {first}\n"));
        if has("ip") {
            let route = text(&lab.exec(&["laptop", "--", "ip", "route", "get", "198.18.0.9"]));
            assert!(route.contains(&format!("src {first}")), "{to}: {route}");
            assert_eq!(told_by_kernel(&lab, "laptop").0.lines().count(), 2);
        }
    }
    for (words, why) in [
        (&["move", "alic", "--to", "home"][..], "error: there is no host `alic`: did you mean `alice`?\n"),
        (&["move", "alice", "--to", "hme"], "error: there is no NAT `hme`: did you mean `home`?\n"),
        (&["move", "home", "--to", "cafe"], "error: there is no host `home`"),
        (&["move", "alice"], "error: the following required arguments were not provided"),
    ] {
        let said = command(words);
        assert_eq!(said.status.code(), Some(2), "{words:?}");
        assert!(text(&said).starts_with(why), "{words:?}: {}", text(&said));
    }
}

#[test]
fn a_program_whose_host_moves_goes_on_from_the_new_address() {
    let Some(lab) = live(NETWORKS) else { return };
    let [alice, server] = [("alice", "0.0.0.0:5000"), ("server", SERVER)].map(|(host, at)| bound(&lab, host, at));
    let tied = bound(&lab, "alice", "10.0.0.2:5001");
    alice.send_to(b"from home", SERVER).expect("sent");
    let (_, home) = next(&server);
    assert_eq!(home.ip(), lab.addresses("home").expect("a NAT")[0]);
    assert_eq!(lab.take_to("alice", Some("cafe")).expect("a move"), lab.addresses("alice").expect("a host"));
    alice.send_to(b"from the cafe", SERVER).expect("sent");
    let (said, cafe) = next(&server);
    assert_eq!((said.as_str(), cafe.ip()), ("from the cafe", lab.addresses("cafe").expect("a NAT")[0]));
    server.send_to(b"hello again", cafe).expect("sent");
    assert_eq!(next(&alice).0, "hello again");
    assert!(tied.send_to(b"from nowhere", SERVER).is_err(), "its address is gone");
}

#[test]
fn a_live_scenario_moves_its_real_hosts() {
    let scenario = "scenario:
  - connect: { from: alice, to: bob, as: link }
    expect: punched
  - move: { host: alice, behind: cafe }
  - talk: { on: link, for: 8s }
    expect: { path: punched }
  - set: { nat: cafe, filtering: endpoint-independent }
  - link: { of: alice, latency: 50ms }
  - ping: { from: alice, to: relay, count: 2 }
    expect: { rtt: 140ms.. }
";
    let lab = "nats: { home: full-cone, cafe: full-cone, far: full-cone }\nhosts: { alice: { behind: home }, bob: { behind: far }, \
               relay: { services: [stun, turn, rendezvous] } }\n";
    let lab = natbox::Lab::from_yaml(&format!("{lab}{scenario}")).expect("a lab");
    let Some(recording) = crate::scenario::run(&lab) else { return };
    let outcome = recording.outcome;
    assert!(outcome.ok, "{:#?}", outcome.failures().collect::<Vec<_>>());
}

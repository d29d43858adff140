//! coturn's `turnutils_uclient` and `turnutils_natdiscovery` behind NATs: relays for a symmetric NAT, hairpinning, lifetimes.

use std::process::{Child, Stdio};

use natbox::live::LiveLab;

use crate::common::{has, live, text};
use crate::programs::listens;

/// coturn's server on the host `server`, with the user that the built-in relay has.
fn coturn(lab: &LiveLab) -> Child {
    let server = lab.host("server").expect("a server");
    let mut turn = server.command("turnserver");
    turn.args(["-n", "--lt-cred-mech", "-u", "natbox:natbox", "-r", "natbox", "--no-tls", "--no-dtls", "--no-cli"]);
    turn.args(["--log-file", "stdout", "--pidfile", "", "-L", "198.18.0.3"]);
    let turn = turn.stdout(Stdio::null()).stderr(Stdio::null()).spawn().expect("coturn's server");
    listens(server, 3478);
    turn
}

/// Two clients behind one symmetric NAT talk through the relays of each, and lose nothing.
fn relays(lab: &LiveLab, options: &[&str]) {
    let mut client = lab.host("alice").expect("alice").command("turnutils_uclient");
    client.args(["-u", "natbox", "-w", "natbox", "-c", "-n", "10", "-m", "2"]).args(options).arg("198.18.0.3");
    let said = text(&client.output().expect("coturn's client"));
    for told in ["tot_send_msgs=20, tot_recv_msgs=20", "Total lost packets 0 (0.000000%)"] {
        assert!(said.contains(told), "{options:?}: expected {told:?} in\n{said}");
    }
}

fn symmetric(server: &str) -> Option<LiveLab> {
    live(&format!(
        "
nats: {{ home: symmetric }}
hosts: {{ alice: {{ behind: home }}, server: {{ {server} }} }}
"
    ))
}

#[test]
fn coturns_client_is_relayed_by_the_built_in_server() {
    if !has("turnutils_uclient") {
        return;
    }
    let Some(lab) = symmetric("services: [turn]") else { return };
    std::thread::scope(|scope| {
        // Channels, indications; over TCP and TLS; connections instead of datagrams (RFC 6062).
        for options in [&["-y"][..], &["-y", "-s"], &["-y", "-t"], &["-y", "-t", "-S"], &["-T"]] {
            let lab = &lab;
            scope.spawn(move || relays(lab, options));
        }
    });
}

#[test]
fn coturns_client_is_relayed_by_coturns_server() {
    if !has("turnutils_uclient") || !has("turnserver") {
        return;
    }
    let Some(lab) = symmetric("") else { return };
    let mut turn = coturn(&lab);
    std::thread::scope(|scope| {
        for options in [&["-y"][..], &["-y", "-s"], &["-y", "-t"]] {
            let lab = &lab;
            scope.spawn(move || relays(lab, options));
        }
    });
    turn.kill().and_then(|()| turn.wait()).expect("it was ours");
}

/// What `turnutils_natdiscovery` says behind a NAT of this behaviour.
fn discovered(behaviour: &str, options: &[&str]) -> Option<String> {
    let lab = live(&format!(
        "
nats: {{ home: {{ type: rfc4787, {behaviour} }} }}
hosts: {{ alice: {{ behind: home }}, server: {{ services: [stun] }} }}
"
    ));
    let lab = lab?;
    let mut client = lab.host("alice").expect("alice").command("turnutils_natdiscovery");
    Some(text(&client.args(options).arg("198.18.0.3").output().expect("coturn's client")))
}

const HAIRPINNED: &str = "Received a request (maybe a successful hairpinning)";
const SILENCE: &str = "STUN receive timeout..";

#[test]
fn coturns_client_finds_hairpinning_and_its_absence() {
    if !has("turnutils_natdiscovery") {
        return;
    }
    for (hairpin, told, absent) in [("external-source", HAIRPINNED, SILENCE), ("off", SILENCE, HAIRPINNED)] {
        let Some(said) = discovered(&format!("hairpin: {hairpin}"), &["-H"]) else { return };
        assert!(said.contains(told) && !said.contains(absent), "{hairpin}:\n{said}");
    }
}

/// The second answer goes to the first socket's mapping, after so many seconds.
#[test]
fn coturns_client_finds_how_long_a_mapping_lives() {
    if !has("turnutils_natdiscovery") {
        return;
    }
    for (lifetime, lives) in [("3s", false), ("1h", true)] {
        let behaviour = format!("filtering: endpoint-independent, timeouts: {{ udp: {lifetime} }}");
        let Some(said) = discovered(&behaviour, &["-t", "-T", "5"]) else { return };
        assert!(said.contains("RFC 5780 response 1"), "{said}");
        assert_eq!(said.contains("RFC 5780 response 2"), lives, "{lifetime}:\n{said}");
        assert_eq!(said.contains(SILENCE), !lives, "{lifetime}:\n{said}");
    }
}

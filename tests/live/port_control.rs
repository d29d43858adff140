//! miniupnpc's `upnpc` and libnatpmp's `natpmpc` as judges of the gateways' port control, and of what they map.
//!
//! `upnpc` is told to go on (`-i`) with a gateway that it holds for disconnected: to it 198.18.0.0/15 is reserved, so that no
//! external address in there is one.

use std::net::UdpSocket;
use std::time::Duration;

use natbox::live::LiveLab;

use crate::common::{has, live, text};

/// What `upnpc` prints on a host.
fn upnpc(lab: &LiveLab, host: &str, arguments: &[&str]) -> String {
    let mut command = lab.host(host).expect("a host").command("upnpc");
    text(&command.arg("-i").args(arguments).output().expect("upnpc"))
}

fn natpmpc(lab: &LiveLab, host: &str, arguments: &[&str]) -> String {
    text(&lab.host(host).expect("a host").command("natpmpc").args(arguments).output().expect("natpmpc"))
}

#[track_caller]
fn expect(said: &str, told: &[&str]) {
    for line in told {
        assert!(said.contains(line), "expected {line:?} in\n{said}");
    }
}

/// Whether one of so many datagrams of a stranger to this endpoint comes to who listens on this port of a host.
fn comes_in(lab: &LiveLab, host: &str, port: u16, external: &str, tries: usize) -> bool {
    let inside = lab.host(host).expect("a host").enter(move || UdpSocket::bind(("0.0.0.0", port))).expect("a socket");
    inside.set_read_timeout(Some(Duration::from_millis(500))).expect("a timeout");
    (0..tries).any(|_| {
        let external = external.to_owned();
        let say = move || UdpSocket::bind("0.0.0.0:0").and_then(|socket| socket.send_to(b"hello", &*external));
        lab.host("stranger").expect("a stranger").enter(say).expect("a way out");
        inside.recv(&mut [0; 100]).is_ok()
    })
}

fn stranger_comes_in(lab: &LiveLab, host: &str, port: u16, external: &str) -> bool {
    comes_in(lab, host, port, external, 20)
}

fn stranger_is_kept_out(lab: &LiveLab, host: &str, port: u16, external: &str) -> bool {
    !comes_in(lab, host, port, external, 1)
}

#[test]
fn natpmpc_maps_renews_and_deletes_and_a_stranger_comes_in() {
    if !has("natpmpc") {
        return;
    }
    let lab = live(
        "
nats: { home: { type: symmetric, control: nat-pmp }, deaf: symmetric }
hosts: { alice: { behind: home }, bob: { behind: deaf }, stranger: {} }
",
    );
    let Some(lab) = lab else { return };
    expect(&natpmpc(&lab, "alice", &[]), &["using gateway : 10.0.0.1", "Public IP address : 198.18.0.2"]);
    assert!(stranger_is_kept_out(&lab, "alice", 5000, "198.18.0.2:40000"));
    let mapped = natpmpc(&lab, "alice", &["-a", "40000", "5000", "udp", "100"]);
    expect(&mapped, &["Mapped public port 40000 protocol UDP to local port 5000 liftime 100"]);
    assert!(stranger_comes_in(&lab, "alice", 5000, "198.18.0.2:40000"));
    let taken = natpmpc(&lab, "alice", &["-a", "40000", "5001", "udp", "100"]);
    assert!(taken.contains("to local port 5001") && !taken.contains("public port 40000"), "{taken}");
    // RFC 6886 section 3.4: the lifetime and the external port of a deletion are 0.
    let deleted = natpmpc(&lab, "alice", &["-a", "40000", "5000", "udp", "0"]);
    expect(&deleted, &["Mapped public port 0 protocol UDP to local port 5000 liftime 0"]);
    assert!(stranger_is_kept_out(&lab, "alice", 5000, "198.18.0.2:40000"));
    expect(&natpmpc(&lab, "bob", &[]), &["the gateway does not support nat-pmp"]);
}

#[test]
fn natpmpc_says_what_a_gateway_refuses_and_where_it_lies() {
    if !has("natpmpc") {
        return;
    }
    let lab = live(
        "
nats:
  strict: { type: port-restricted-cone, control: { speaks: nat-pmp, faults: { refuses_other_port: on } } }
  liar: { type: port-restricted-cone, control: { speaks: nat-pmp, faults: { ghost: on } } }
hosts: { alice: { behind: strict }, ann: { behind: strict }, bob: { behind: liar }, stranger: {} }
",
    );
    let Some(lab) = lab else { return };
    expect(&natpmpc(&lab, "alice", &["-a", "40000", "5000", "udp", "100"]), &["Mapped public port 40000"]);
    expect(&natpmpc(&lab, "ann", &["-a", "40000", "5000", "udp", "100"]), &["nat-pmp server out of resources"]);
    expect(&natpmpc(&lab, "bob", &["-a", "40000", "5000", "udp", "100"]), &["Mapped public port 40000"]);
    assert!(stranger_is_kept_out(&lab, "bob", 5000, "198.18.0.3:40000"), "there is no such mapping");
}

#[test]
fn upnpc_maps_lists_and_deletes_and_a_stranger_comes_in() {
    if !has("upnpc") {
        return;
    }
    for version in ["igd1", "igd2"] {
        let lab = live(&format!(
            "
nats: {{ home: {{ type: symmetric, control: {version} }} }}
hosts: {{ alice: {{ behind: home }}, stranger: {{}} }}
"
        ));
        let Some(lab) = lab else { return };
        let status = upnpc(&lab, "alice", &["-s"]);
        expect(&status, &["Connection Type : IP_Routed", "Status : Connected", "ExternalIPAddress = 198.18.0.2"]);
        let mapped = upnpc(&lab, "alice", &["-e", "game", "-a", "@", "5000", "40000", "udp", "600"]);
        expect(&mapped, &["external 198.18.0.2:40000 UDP is redirected to internal 10.0.0.2:5000 (duration="]);
        assert!(stranger_comes_in(&lab, "alice", 5000, "198.18.0.2:40000"), "{version}");
        expect(&upnpc(&lab, "alice", &["-l"]), &["0 UDP 40000->10.0.0.2:5000  'game' '' 5"]);
        expect(&upnpc(&lab, "alice", &["-d", "40000", "udp"]), &["UPNP_DeletePortMapping() returned : 0"]);
        assert!(stranger_is_kept_out(&lab, "alice", 5000, "198.18.0.2:40000"), "{version}");
        expect(&upnpc(&lab, "alice", &["-d", "40000", "udp"]), &["failed with code : 714"]);
    }
}

#[test]
fn upnpc_uses_what_version_2_brought() {
    if !has("upnpc") {
        return;
    }
    let lab = live(
        "
nats: { home: { type: symmetric, control: igd2 }, old: { type: symmetric, control: igd1 } }
hosts: { alice: { behind: home }, ann: { behind: home }, bob: { behind: old }, stranger: {} }
",
    );
    let Some(lab) = lab else { return };
    expect(&upnpc(&lab, "alice", &["-a", "@", "5000", "40000", "tcp"]), &["(duration=6047"]);
    expect(
        &upnpc(&lab, "ann", &["-a", "@", "5000", "40000", "tcp"]),
        &["failed with code 718 (ConflictInMappingEntry)"],
    );
    let given = upnpc(&lab, "ann", &["-n", "@", "5000", "40000", "tcp"]);
    assert!(given.contains("TCP is redirected to internal 10.0.0.3:5000") && !given.contains(":40000 TCP"), "{given}");
    expect(&upnpc(&lab, "ann", &["-a", "@", "6000", "41000", "udp"]), &["198.18.0.2:41000 UDP"]);
    let list = upnpc(&lab, "alice", &["-L"]);
    expect(&list, &[" TCP 40000->10.0.0.2:5000", "->10.0.0.3:5000", " 2 UDP 41000->10.0.0.3:6000"]);
    expect(&upnpc(&lab, "ann", &["-N", "1", "65535", "udp"]), &["UPNP_DeletePortMappingRange() returned : 0"]);
    expect(&upnpc(&lab, "alice", &["-L"]), &["GetListOfPortMappings() returned 730"]);
    for version_2 in [&["-L"][..], &["-n", "@", "5000", "40000", "tcp"]] {
        expect(&upnpc(&lab, "bob", version_2), &["401 (Invalid Action)"]);
    }
    expect(&upnpc(&lab, "bob", &["-a", "@", "5000", "40000", "tcp"]), &["(duration=0)"]);
}

#[test]
fn upnpc_says_what_a_gateway_with_faults_does() {
    if !has("upnpc") {
        return;
    }
    let lab = live(
        "
nats:
  permanent: { type: symmetric, control: { speaks: igd1, faults: { only_permanent: on } } }
  carrier: cgn
  inner: { type: symmetric, behind: carrier, control: igd2 }
hosts: { alice: { behind: permanent }, ann: { behind: permanent }, bob: { behind: inner }, stranger: {} }
",
    );
    let Some(lab) = lab else { return };
    let leased = upnpc(&lab, "alice", &["-a", "@", "5000", "40000", "udp", "600"]);
    expect(&leased, &["failed with code 725 (OnlyPermanentLeasesSupported)"]);
    expect(&upnpc(&lab, "alice", &["-a", "@", "5000", "40000", "udp"]), &["(duration=0)"]);
    assert!(stranger_comes_in(&lab, "alice", 5000, "198.18.0.2:40000"));
    for another in [["@", "5000", "40000", "udp"], ["10.0.0.2", "5000", "40001", "udp"]] {
        let refused = upnpc(&lab, "ann", &[&["-a"], &another[..]].concat());
        expect(&refused, &["failed with code 718 (ConflictInMappingEntry)"]);
    }
    let inner = lab.addresses("inner").expect("the world")[0].to_string();
    expect(&upnpc(&lab, "bob", &["-s"]), &["(not connected?) IGD", &format!("ExternalIPAddress = {inner}")]);
}

//! WireGuard in user space: `wireguard-go`, which `wg` and `ip` set up. A tunnel roams with its NAT.

use std::process::{Child, Stdio};

use natbox::live::{LiveHost, LiveLab};

use crate::common::{has, live, text};

/// Runs a script on a host, which must succeed; says what it printed.
#[track_caller]
fn run(host: &LiveHost, script: &str) -> String {
    let done = host.command("sh").args(["-c", script]).output().expect("a shell");
    assert!(done.status.success(), "{script}: {}", text(&done));
    text(&done).trim().to_owned()
}

/// An end of a tunnel, and its public key. Its control socket is in a `/run` of the host's own.
fn end(host: &LiveHost, key: &str) -> (Child, String) {
    run(host, "mount -t tmpfs tmpfs /run && mkdir -p /run/wireguard");
    let mut program = host.command("wireguard-go");
    let program = program.args(["--foreground", "wg0"]).stdout(Stdio::null()).stderr(Stdio::null()).spawn();
    let public = format!(
        "for try in $(seq 200); do test -S /run/wireguard/wg0.sock && break; sleep 0.05; done
         umask 077; echo {key} > /run/key; wg pubkey < /run/key"
    );
    (program.expect("wireguard-go"), run(host, &public))
}

/// What each end must know: keys that are no secret.
const KEYS: [&str; 2] =
    ["AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8=", "ICEiIyQlJicoKSorLC0uLzAxMjM0NTY3ODk6Ozw9Pj8="];

/// Whether the server's pings come back through the tunnel soon: its end goes where it last heard from.
fn server_reaches_alice(lab: &LiveLab) -> bool {
    let server = lab.host("server").expect("a server");
    (0..30).any(|_| {
        server.command("ping").args(["-c", "1", "-W", "1", "10.99.0.1"]).output().expect("ping").status.success()
    })
}

#[test]
fn a_wireguard_tunnel_goes_on_when_its_nat_reboots_and_when_its_address_changes() {
    if !["wireguard-go", "wg", "ip", "ping"].into_iter().all(has) {
        return;
    }
    let lab = live(
        "
nats: { home: symmetric }
hosts: { alice: { behind: home }, server: { address: 198.18.0.9 } }
",
    );
    let Some(lab) = lab else { return };
    let (alice, server) = (lab.host("alice").expect("alice"), lab.host("server").expect("a server"));
    let ((mut one, alices), (mut other, servers)) = (end(alice, KEYS[0]), end(server, KEYS[1]));
    let up = |peer: &str, options: &str, own: &str| {
        format!(
            "wg set wg0 private-key /run/key {options} && wg set wg0 peer {peer} allowed-ips 10.99.0.0/24 &&
             ip address add {own}/24 dev wg0 && ip link set wg0 up"
        )
    };
    run(server, &up(&alices, "listen-port 51820", "10.99.0.2"));
    run(alice, &up(&servers, "", "10.99.0.1"));
    run(alice, &format!("wg set wg0 peer {servers} endpoint 198.18.0.9:51820 persistent-keepalive 1"));
    assert!(server_reaches_alice(&lab), "alice keeps the tunnel alive");
    let endpoint = || run(server, "wg show wg0 endpoints");
    let before = endpoint();
    assert!(before.contains("198.18.0.2:"), "{before}");

    assert!(lab.reboot("home").expect("a reboot") >= 1, "the tunnel had a mapping");
    assert!(server_reaches_alice(&lab), "a keepalive makes another mapping");

    lab.readdress("home", &["198.18.0.77".parse().expect("an address")]).expect("another address");
    assert!(server_reaches_alice(&lab), "a keepalive tells the server where alice is now");
    let after = endpoint();
    assert!(after.contains("198.18.0.77:"), "{after}");
    for program in [&mut one, &mut other] {
        program.kill().and_then(|()| program.wait()).expect("it was ours");
    }
}

//! Peers that punch in their own ways, and rely on what the built-in servers say: aioice (ICE in Python), n2n (a VPN).

use std::process::{Child, Command, Stdio};

use natbox::live::LiveLab;

use crate::common::{has, live, skip, text};

/// Debian's own, for which `python3-aioice` is.
const PYTHON: &str = "/usr/bin/python3";
const AGENT: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/live/agent.py");

fn pair(home: &str, office: &str, server: &str) -> Option<LiveLab> {
    live(&format!(
        "
nats: {{ home: {home}, office: {office} }}
hosts: {{ alice: {{ behind: home }}, bob: {{ behind: office }}, server: {{ {server} }} }}
"
    ))
}

/// What both agents nominated: the types of their own candidate and of the other's.
fn nominated(home: &str, office: &str, transport: &str) -> Option<[String; 2]> {
    let lab = pair(home, office, "services: [stun, turn]")?;
    let folder = tempfile::tempdir().expect("a folder");
    let agent = |host: &str, own: &str, peer: &str, role: &str, transport: &str| {
        let mut agent = lab.host(host).expect("a host").command(PYTHON);
        agent.arg(AGENT).args([own, peer].map(|name| folder.path().join(name))).args([role, transport]);
        agent.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().expect("python")
    };
    let other = if transport == "none" { "none" } else { "udp" };
    let agents = [agent("alice", "a", "b", "controlling", transport), agent("bob", "b", "a", "controlled", other)];
    Some(agents.map(|agent| {
        let said = text(&agent.wait_with_output().expect("an agent"));
        said.strip_prefix("hello ").unwrap_or_else(|| panic!("{home} to {office}: {said}")).trim().to_owned()
    }))
}

#[test]
fn aioice_punches_where_holes_can_be_punched_and_relays_where_none_can() {
    if !Command::new(PYTHON).args(["-c", "import aioice"]).output().is_ok_and(|there| there.status.success()) {
        return skip("there is no `python3-aioice`");
    }
    let relayed = |types: &str| types.contains("relay");
    let judge = |home: &'static str, office: &'static str, transport: &'static str, relay: bool| {
        let Some(both) = nominated(home, office, transport) else { return };
        assert!(both.iter().all(|types| relayed(types) == relay), "{home} to {office}: {both:?}");
    };
    std::thread::scope(|scope| {
        for (home, office, transport, relay) in [
            ("linux-masquerade", "port-restricted-cone", "none", false),
            ("symmetric", "restricted-cone", "none", false),
            ("symmetric", "port-restricted-cone", "udp", true),
            ("symmetric", "symmetric", "udp", true),
            ("{ type: rfc4787, outbound: { udp: off } }", "symmetric", "tcp", true),
        ] {
            scope.spawn(move || judge(home, office, transport, relay));
        }
    });
}

/// Whether two edges of n2n, who have found each other, go on without their supernode.
fn edges_go_on_alone(home: &str, office: &str) -> Option<bool> {
    let lab = pair(home, office, "address: 198.18.0.9")?;
    let start = |host: &str, program: &str, arguments: &[&str]| {
        let mut command = lab.host(host).expect("a host").command(program);
        command.args(arguments).stdout(Stdio::null()).stderr(Stdio::null()).spawn().expect("n2n")
    };
    let edge = |host: &str, address: &str| {
        let net = ["-c", "net", "-k", "key", "-l", "server:7654", "-f", "-u", "0", "-g", "0", "-a", address];
        start(host, "edge", &net)
    };
    let end = |mut program: Child| program.kill().and_then(|()| program.wait()).expect("it was ours");
    let ping = |arguments: &[&str]| {
        let ping = lab.host("alice").expect("alice").command("ping").args(arguments).arg("192.168.77.2").output();
        text(&ping.expect("ping"))
    };
    let supernode = start("server", "supernode", &["-l", "7654"]);
    let edges = [edge("alice", "192.168.77.1"), edge("bob", "192.168.77.2")];
    let found = (0..60).any(|_| ping(&["-c", "1", "-W", "1"]).contains("time="));
    // They are relayed until both know each other.
    let relayed = ping(&["-c", "10", "-i", "0.5"]);
    end(supernode);
    let alone = ping(&["-c", "5", "-i", "0.5", "-W", "2"]).contains("time=");
    for edge in edges {
        end(edge);
    }
    assert!(found && relayed.contains("time="), "{home} to {office}: {relayed}");
    Some(alone)
}

#[test]
fn n2n_needs_its_supernode_no_more_where_a_hole_can_be_punched() {
    if !has("edge") || !has("supernode") {
        return;
    }
    let judge = |home: &'static str, office: &'static str, expected: bool| {
        assert!(edges_go_on_alone(home, office).is_none_or(|alone| alone == expected), "{home} to {office}");
    };
    std::thread::scope(|scope| {
        scope.spawn(move || judge("linux-masquerade", "port-restricted-cone", true));
        scope.spawn(move || judge("symmetric", "symmetric", false));
    });
}

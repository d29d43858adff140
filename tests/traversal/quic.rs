//! QUIC outlives its NAT's memory (RFC 9000 section 9), judged with quinn's own protocol core.

use std::net::SocketAddr;
use std::time::Duration;

use futures::future::join;
use natbox::Lab;
use natbox::build::Built;
use natbox::host::Host;
use natbox::outcome::StepResult;
use natbox::probes::quic::{Certificate, Config, Connection, Error, Identity, accept, connect};
use natbox::world::VirtualHost;

const SERVER: SocketAddr = SocketAddr::new(std::net::IpAddr::V4(std::net::Ipv4Addr::new(198, 18, 0, 9)), 4433);
const SECOND: Duration = Duration::from_secs(1);

struct Pair {
    built: Built,
    client: Connection<VirtualHost>,
    server: Connection<VirtualHost>,
}

fn lab(nat: &str) -> Built {
    let text =
        format!("nats: {{ home: {nat} }}\nhosts: {{ alice: {{ behind: home }}, server: {{ address: 198.18.0.9 }} }}\n");
    Lab::from_yaml(&text).expect("a lab").plan().build(7)
}

/// A client behind this NAT, connected to a server.
fn connected(nat: &str, config: Config) -> Pair {
    let mut built = lab(nat);
    let (client, server) = open(&mut built, config, None);
    Pair { client: client.expect("the client connects"), server: server.expect("the server accepts"), built }
}

type Opened = Result<Connection<VirtualHost>, Error>;

/// Both ends; the client looks for the server's certificate, or for `other`.
fn open(built: &mut Built, config: Config, other: Option<Certificate>) -> (Opened, Opened) {
    let (alice, server) = (built.host("alice").expect("alice"), built.host("server").expect("a server"));
    let identity = Identity::generate().expect("an identity");
    let known = other.unwrap_or_else(|| identity.certificate());
    let deadline = built.world.now() + 5 * SECOND;
    let calling = async {
        let socket = alice.udp_bind(([10, 0, 0, 2], 0).into()).await.expect("a socket");
        connect(&alice, socket, SERVER, &known, config, deadline).await
    };
    let answering = async {
        let socket = server.udp_bind(SERVER).await.expect("a socket");
        accept(&server, socket, &identity, config, deadline).await
    };
    built.world.run_until(join(calling, answering)).expect("the world goes on")
}

impl Pair {
    /// Whether a question gets through, and its answer back, within this time.
    fn talks(&mut self, patience: Duration) -> Result<bool, Error> {
        let end = self.built.world.now() + patience;
        let (client, server) = (&mut self.client, &mut self.server);
        let asking = async {
            client.send(b"question").await?;
            client.recv(end).await
        };
        let answering = async {
            if server.recv(end).await?.is_some() {
                server.send(b"answer").await?;
            }
            // Challenges and acknowledgements go on.
            server.recv(end).await
        };
        let (asked, answered) = self.built.world.run_until(join(asking, answering)).expect("the world goes on");
        answered?;
        Ok(asked?.is_some_and(|answer| answer == b"answer"))
    }

    /// Where the server saw the client, one after the other.
    fn seen(&self) -> Vec<String> {
        self.server.remotes().iter().map(|(_, remote)| remote.to_string()).collect()
    }

    /// Both ends listen for this long.
    fn listen(&mut self, duration: Duration) {
        let end = self.built.world.now() + duration;
        let (client, server) = (self.client.recv(end), self.server.recv(end));
        let (client, server) = self.built.world.run_until(join(client, server)).expect("the world goes on");
        assert_eq!((client, server), (Ok(None), Ok(None)));
    }

    /// Nobody does anything for this long.
    fn wait(&mut self, duration: Duration) {
        let alice = self.built.host("alice").expect("alice");
        self.built.world.run_until(alice.sleep(duration)).expect("the world goes on");
    }
}

const PATIENT: Config = Config { keep_alive: None, idle_timeout: Duration::from_secs(600) };

#[test]
fn a_connection_goes_on_when_the_nat_forgets_it_and_gives_another_port() {
    let mut pair = connected("{ type: port-restricted-cone, ports: { allocation: random } }", PATIENT);
    assert!(pair.talks(SECOND).expect("connected"));
    assert_eq!(pair.seen().len(), 1);
    let home = pair.built.node("home").expect("home");
    pair.built.world.reboot(home).expect("a NAT");
    assert!(pair.talks(SECOND).expect("still connected"), "the server answers at the new endpoint");
    let seen = pair.seen();
    assert_eq!(seen.len(), 2, "the server has validated the new endpoint: {seen:?}");
    assert_ne!(seen[0], seen[1]);
}

#[test]
fn a_connection_goes_on_when_the_mapping_has_timed_out() {
    let nat = "{ type: symmetric, ports: { allocation: random }, timeouts: { udp: 30s } }";
    let mut pair = connected(nat, PATIENT);
    assert!(pair.talks(SECOND).expect("connected"));
    pair.wait(40 * SECOND);
    assert!(pair.talks(SECOND).expect("still connected"));
    assert_eq!(pair.seen().len(), 2);
}

#[test]
fn a_connection_goes_on_when_the_nat_gets_another_address() {
    let mut pair = connected("port-restricted-cone", PATIENT);
    let home = pair.built.node("home").expect("home");
    pair.built.world.readdress(home, &[[198, 18, 0, 77].into()]).expect("a NAT");
    assert!(pair.talks(SECOND).expect("still connected"));
    let seen = pair.seen();
    assert!(seen[0].starts_with("198.18.0.2:") && seen[1].starts_with("198.18.0.77:"), "{seen:?}");
}

#[test]
fn keep_alives_keep_the_mapping_and_the_server_sees_one_endpoint() {
    let config = Config { keep_alive: Some(15 * SECOND), idle_timeout: 60 * SECOND };
    let nat = "{ type: symmetric, ports: { allocation: random }, timeouts: { udp: 30s } }";
    let mut pair = connected(nat, config);
    pair.listen(300 * SECOND);
    assert!(pair.talks(SECOND).expect("still connected"));
    assert_eq!(pair.seen().len(), 1);
}

#[test]
fn what_the_server_has_to_say_first_is_lost_behind_a_nat_that_forgot_and_the_connection_with_it() {
    let nat = "{ type: port-restricted-cone, timeouts: { udp: 30s } }";
    let mut pair = connected(nat, Config { keep_alive: None, idle_timeout: 60 * SECOND });
    assert!(pair.talks(SECOND).expect("connected"));
    pair.listen(SECOND);
    pair.wait(40 * SECOND);
    let end = pair.built.world.now() + 100 * SECOND;
    let (client, server) = (&mut pair.client, &mut pair.server);
    let waiting = client.recv(end);
    let speaking = async {
        server.send(b"are you there?").await?;
        server.recv(end).await
    };
    let (heard, spoke) = pair.built.world.run_until(join(waiting, speaking)).expect("the world goes on");
    assert!(matches!(heard, Err(Error::Lost(ref lost)) if lost.timed_out), "{heard:?}");
    assert!(matches!(spoke, Err(Error::Lost(ref lost)) if lost.timed_out), "{spoke:?}");
}

#[test]
fn a_server_with_another_certificate_is_refused() {
    let mut built = lab("port-restricted-cone");
    let stranger = Identity::generate().expect("an identity").certificate();
    let (client, server) = open(&mut built, PATIENT, Some(stranger));
    assert!(matches!(client, Err(Error::Lost(_))), "{:?}", client.err());
    assert!(server.is_err());
}

#[test]
fn two_runs_are_alike_in_what_happens_and_when() {
    let run = || {
        let mut pair = connected("{ type: symmetric, ports: { allocation: random } }", PATIENT);
        assert!(pair.talks(SECOND).expect("connected"));
        let home = pair.built.node("home").expect("home");
        pair.built.world.reboot(home).expect("a NAT");
        assert!(pair.talks(SECOND).expect("still connected"));
        (pair.server.remotes().to_vec(), pair.built.world.now())
    };
    assert_eq!(run(), run());
}

/// One scenario, to its end.
fn steps(nats: &str, hosts: &str, scenario: &str) -> Vec<StepResult> {
    let text = format!(
        "nats: {{ {nats} }}\nhosts:\n  {hosts}\n  server: {{ services: [stun, rendezvous] }}\nscenario:\n{scenario}"
    );
    let lab = Lab::from_yaml(&text).unwrap_or_else(|error| panic!("{error}\n{text}"));
    lab.run().unwrap_or_else(|error| panic!("{error}\n{text}")).steps
}

fn path_between(a: &str, b: &str) -> String {
    let place = |host: &str, nat: &str, name: &str| match nat {
        "public" => (String::new(), format!("{host}: {{}}")),
        nat => (format!("{name}: {nat}, "), format!("{host}: {{ behind: {name} }}")),
    };
    let ((nat_a, alice), (nat_b, bob)) = (place("alice", a, "home-a"), place("bob", b, "home-b"));
    let connect = "  - connect: { from: alice, to: bob, technique: quic, timeout: 8s }\n";
    let steps = steps(&format!("{nat_a}{nat_b}"), &format!("{alice}\n  {bob}"), connect);
    steps[0].fact("path").unwrap_or_else(|| panic!("{:#?}", steps[0])).to_owned()
}

#[test]
fn the_handshake_punches_where_the_definitions_say_and_nowhere_else() {
    for (a, b, path) in [
        ("port-restricted-cone", "port-restricted-cone", "punched"),
        ("symmetric", "full-cone", "punched"),
        ("full-cone", "symmetric", "punched"),
        ("symmetric", "restricted-cone", "punched"),
        ("restricted-cone", "symmetric", "punched"),
        ("symmetric", "port-restricted-cone", "none"),
        ("port-restricted-cone", "symmetric", "none"),
        ("symmetric", "symmetric", "none"),
        ("symmetric", "public", "direct"),
        ("public", "symmetric", "reversed"),
        ("public", "public", "direct"),
    ] {
        assert_eq!(path_between(a, b), path, "{a} {b}");
    }
}

#[test]
fn on_one_network_the_handshake_takes_the_short_way_and_behind_one_carrier_it_turns_round() {
    let connect = "  - connect: { from: alice, to: bob, technique: quic, timeout: 8s }\n";
    let local = steps("home: symmetric", "alice: { behind: home }\n  bob: { behind: home }", connect);
    assert_eq!(local[0].fact("path"), Some("local"));
    let nats =
        "carrier: cgn, flat-a: { type: full-cone, behind: carrier }, flat-b: { type: full-cone, behind: carrier }";
    let turned = steps(nats, "alice: { behind: flat-a }\n  bob: { behind: flat-b }", connect);
    assert_eq!(turned[0].fact("path"), Some("hairpinned"));
}

#[test]
fn when_either_nat_forgets_the_connection_it_is_punched_anew() {
    let cone = "{ type: port-restricted-cone, ports: { allocation: random } }";
    // A client migrates; a server cannot, and is dialled anew.
    for (nat, connections) in [("home-a", 1), ("home-b", 2)] {
        let steps = steps(
            &format!("home-a: {cone}, home-b: {cone}"),
            "alice: { behind: home-a }\n  bob: { behind: home-b }",
            &format!(
                "  - connect: {{ from: alice, to: bob, technique: quic, as: link, keep_alive: 5s }}\n    expect: punched\n  \
                 - reboot: {nat}\n  - talk: {{ on: link, for: 60s }}\n    expect: {{ path: punched, outage: 0s..20s }}\n"
            ),
        );
        assert!(steps[2].ok, "{nat}: {:#?}", steps[2]);
        assert_eq!(steps[2].facts["connections"], connections, "{nat}: {:#?}", steps[2]);
    }
}

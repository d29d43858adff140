//! coturn as the judge of TURN: its client against the built-in relay, and the client of the probes against its server,
//! over UDP, TCP and TLS, with peers over UDP and TCP (RFC 6062).

use std::net::SocketAddr;
use std::process::{Child, Stdio};
use std::sync::mpsc;
use std::thread::JoinHandle;
use std::time::Duration;

use futures::future::{Either, select};
use natbox::live::LiveLab;
use natbox::probes::Transport;
use natbox::probes::tls::Identity;
use natbox::probes::turn::{Carrier, Client, Credentials, Options};
use natbox_host::{Host, TcpListener, TcpOptions, UdpSocket};
use natbox_live::sockets::{self, OsHost};
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use crate::common::{has, live, text};

/// The built-in relay behind whose address the peers are, and coturn's client behind a NAT.
fn served() -> Option<LiveLab> {
    live(
        "
nats: { home: symmetric }
hosts: { alice: { behind: home }, relay: { address: 198.18.0.9, services: [turn] } }
",
    )
}

/// What coturn's client says of the built-in relay, over which all its messages come back.
fn judged(flags: &[&str]) {
    if !has("turnutils_uclient") {
        return;
    }
    let Some(lab) = served() else { return };
    let mut client = lab.host("alice").expect("alice").command("timeout");
    client
        .args(["60", "turnutils_uclient", "-u", "natbox", "-w", "natbox", "-n", "20", "-m", "2"])
        .args(flags)
        .arg("198.18.0.9");
    let said = text(&client.output().expect("coturn's client"));
    let sent = said.lines().rev().find_map(|line| line.split_once("tot_send_msgs=")?.1.split_once(", tot_recv_msgs="));
    assert!(sent.is_some_and(|(sent, received)| sent == received && sent != "0"), "{flags:?}\n{said}");
    assert!(said.contains("Total lost packets 0 "), "{flags:?}\n{said}");
    assert!(!said.contains("ERROR"), "{flags:?}\n{said}");
}

/// By Send indications: this client draws channel numbers from RFC 5766's range, most of which RFC 8656 refuses.
#[test]
fn coturns_client_relays_datagrams_through_the_built_in_relay_over_udp_tcp_and_tls() {
    for carrier in [&["-y", "-s"][..], &["-y", "-s", "-t"], &["-y", "-s", "-t", "-S"]] {
        judged(carrier);
    }
}

/// Its two clients connect to each other: what one relayed address makes, the other takes.
#[test]
fn coturns_client_makes_and_takes_tcp_connections_through_the_built_in_relay() {
    for way in [&["-T"][..], &["-T", "-S"]] {
        judged(way);
    }
}

/// coturn's server, ended with the test.
struct Coturn(Child);

impl Drop for Coturn {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// How long a program may take on a machine that is busy.
const PATIENCE: Duration = Duration::from_secs(60);
/// How many bytes cross a connection each way: where much comes from a peer at once, coturn loses some.
const BYTES: usize = 8_000;
const COTURN: &str = "198.18.0.9:3478";
const OVER_TLS: &str = "198.18.0.9:5349";
const SEED: [u8; 32] = [9; 32];

fn at(text: &str) -> SocketAddr {
    text.parse().expect("an endpoint")
}

fn pem(kind: &str, der: &[u8]) -> String {
    const DIGITS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let quad = |three: &[u8]| {
        let bits = three.iter().chain(&[0; 3]).take(3).fold(0_u32, |bits, byte| bits << 8 | u32::from(*byte));
        let digit = |place: usize| DIGITS[(bits >> (18 - 6 * place) & 63) as usize] as char;
        (0..4).map(|place| if place <= three.len() { digit(place) } else { '=' }).collect::<String>()
    };
    let body: Vec<String> = der.chunks(48).map(|line| line.chunks(3).map(quad).collect()).collect();
    format!("-----BEGIN {kind}-----\n{}\n-----END {kind}-----\n", body.join("\n"))
}

/// The identity of the seed in the files that coturn reads: PKCS #8 is 16 bytes before the seed (RFC 8410).
fn identity() -> tempfile::TempDir {
    let folder = tempfile::tempdir().expect("a folder");
    let certificate = Identity::from_seed(SEED).expect("an identity").certificate();
    let head = [0x30, 0x2e, 2, 1, 0, 0x30, 5, 6, 3, 0x2b, 0x65, 0x70, 4, 0x22, 4, 0x20];
    let key = [&head[..], &SEED].concat();
    std::fs::write(folder.path().join("certificate.pem"), pem("CERTIFICATE", &certificate.0)).expect("written");
    std::fs::write(folder.path().join("key.pem"), pem("PRIVATE KEY", &key)).expect("written");
    folder
}

/// A lab with coturn's server on its own host.
fn serving() -> Option<(LiveLab, Coturn, tempfile::TempDir)> {
    if !has("turnserver") {
        return None;
    }
    let lab = live(
        "
nats: { home: symmetric }
hosts: { alice: { behind: home }, peer: { address: 198.18.0.20 }, server: { address: 198.18.0.9 } }
",
    )?;
    let files = identity();
    let mut turn = lab.host("server").expect("a server").command("turnserver");
    turn.args(["-n", "--lt-cred-mech", "--realm", "coturn", "--user", "natbox:natbox", "--no-dtls", "--no-cli"]);
    turn.args(["--log-file", "stdout", "--pidfile", "", "-L", "198.18.0.9", "--allow-loopback-peers"]);
    turn.arg("--cert").arg(files.path().join("certificate.pem")).arg("--pkey").arg(files.path().join("key.pem"));
    let server = Coturn(turn.stdout(Stdio::null()).stderr(Stdio::null()).spawn().expect("coturn's server"));
    Some((lab, server, files))
}

/// Runs a program on a host of the lab, beside this one.
fn on<R: Send + 'static>(
    lab: &LiveLab,
    name: &'static str,
    program: impl AsyncFnOnce(OsHost) -> R + Send + 'static,
) -> JoinHandle<R> {
    let host = lab.host(name).unwrap_or_else(|error| panic!("{error}")).clone();
    let bounded = async move |machine: OsHost| {
        let limit = std::pin::pin!(machine.sleep(PATIENCE));
        match select(std::pin::pin!(program(machine.clone())), limit).await {
            Either::Left((output, _)) => output,
            Either::Right(_) => panic!("{name} is not done after {PATIENCE:?}"),
        }
    };
    std::thread::spawn(move || host.enter(move || sockets::run(name, bounded)).expect("a reactor"))
}

/// An address of coturn's; its server may still be starting.
async fn allocated(host: &OsHost, carrier: Carrier, peers: Transport) -> Client<OsHost> {
    let certificate = Identity::from_seed(SEED).expect("an identity").certificate();
    let options = Options { carrier, peers, certificate: Some(certificate), ..Options::default() };
    let server = at(if carrier == Carrier::Tls { OVER_TLS } else { COTURN });
    let credentials = Credentials::new("natbox", "natbox");
    for _ in 0..400 {
        match Client::allocate_with(host, server, &credentials, &options).await {
            Ok(client) => return client,
            Err(error @ natbox::probes::turn::Error::Io { .. }) => drop(error),
            Err(error) => panic!("{carrier}: {error}"),
        }
        host.sleep(Duration::from_millis(25)).await;
    }
    panic!("{carrier}: coturn does not listen");
}

#[test]
fn the_client_of_the_probes_relays_datagrams_through_coturns_server_over_udp_tcp_and_tls() {
    let Some((lab, _server, _files)) = serving() else { return };
    for carrier in [Carrier::Udp, Carrier::Tcp, Carrier::Tls] {
        let (told, relayed) = mpsc::channel::<SocketAddr>();
        let peer = at("198.18.0.20:7000");
        let answerer = on(&lab, "peer", async move |host| {
            let socket = host.udp_bind(peer).await.expect("a socket");
            let relayed = relayed.recv().expect("a relayed address");
            let mut buffer = [0; 100];
            for _ in 0..2 {
                let received = socket.recv_from(&mut buffer).await.expect("a datagram");
                assert_eq!(received.source, relayed);
                socket.send_to(&buffer[..received.length], relayed).await.expect("sent");
            }
        });
        let caller = on(&lab, "alice", async move |host| {
            let client = allocated(&host, carrier, Transport::Udp).await;
            client.create_permission(peer.ip()).await.expect("a permission");
            told.send(client.relayed_address()).expect("a peer");
            let mut buffer = [0; 100];
            for message in [&b"as an indication"[..], b"by a channel"] {
                if message == b"by a channel" {
                    client.channel_bind(peer).await.expect("a channel");
                }
                client.send_to(message, peer).await.expect("sent");
                let (length, source) = client.recv_from(&mut buffer).await.expect("an echo");
                assert_eq!((&buffer[..length], source), (message, peer), "{carrier}");
            }
        });
        caller.join().expect("the caller");
        answerer.join().expect("the peer");
    }
}

#[test]
fn the_client_of_the_probes_makes_and_takes_tcp_connections_through_coturns_server() {
    let Some((lab, _server, _files)) = serving() else { return };
    for (carrier, peer) in [(Carrier::Tcp, "198.18.0.20:7001"), (Carrier::Tls, "198.18.0.20:7002")] {
        let (told, relayed) = mpsc::channel::<SocketAddr>();
        let peer = at(peer);
        let answerer = on(&lab, "peer", async move |host| {
            let listener = host.tcp_listen(peer, TcpOptions::default()).await.expect("a listener");
            let relayed = relayed.recv().expect("a relayed address");
            let mut heard = vec![0; BYTES];
            let mut taken = listener.accept().await.expect("a connection");
            taken.read_exact(&mut heard).await.expect("bytes");
            let mut made = host.tcp_connect(relayed, TcpOptions::default()).await.expect("connected");
            // coturn keeps little of what comes before the client has bound its own connection.
            let mut bound = [0];
            made.read_exact(&mut bound).await.expect("a word");
            made.write_all(&heard).await.expect("sent");
            // Until the other end has all of it: coturn ends both directions when one ends.
            let _ = made.read(&mut [0]).await;
        });
        let caller = on(&lab, "alice", async move |host| {
            let sent: Vec<u8> = (0..BYTES).map(|number| number as u8).collect();
            let client = allocated(&host, carrier, Transport::Tcp).await;
            client.create_permission(peer.ip()).await.expect("a permission");
            told.send(client.relayed_address()).expect("a peer");
            let mut made = client.connect(peer).await.expect("connected");
            made.write_all(&sent).await.expect("sent");
            let mut taken = client.accept().await.expect("a connection of the peer's");
            taken.write_all(b"!").await.expect("sent");
            let mut heard = vec![0; BYTES];
            taken.read_exact(&mut heard).await.expect("bytes");
            assert!(heard == sent, "{carrier}: {} bytes", heard.len());
        });
        caller.join().expect("the caller");
        answerer.join().expect("the peer");
    }
}

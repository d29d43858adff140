//! A program of your own on the hosts of a lab: a lobby that tells two players of each other, and players who punch.
//!
//! `cargo run --example own_program` tries it between all pairs of six NATs, and prints what came of each.
//!
//! The program knows nothing of natbox but the traits of `natbox::host`. It is run here exactly as it would run on a
//! machine whose sockets implement them.

use std::error::Error;
use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::time::Duration;

use natbox::Lab;
use natbox::host::{Host, UdpSocket};
use natbox::probes::wait::receive;

const LOBBY_PORT: u16 = 7000;
const GIVES_UP: Duration = Duration::from_secs(3);
const RETRY: Duration = Duration::from_millis(100);

fn any(port: u16) -> SocketAddr {
    (Ipv4Addr::UNSPECIFIED, port).into()
}

/// Tells two players where it sees the other one.
async fn lobby(host: impl Host) -> io::Result<()> {
    let socket = host.udp_bind(any(LOBBY_PORT)).await?;
    let (mut buffer, mut players) = ([0; 64], Vec::new());
    loop {
        let player = socket.recv_from(&mut buffer).await?.source;
        if !players.contains(&player) && players.len() < 2 {
            players.push(player);
        }
        if let [one, other] = players[..] {
            socket.send_to(other.to_string().as_bytes(), one).await?;
            socket.send_to(one.to_string().as_bytes(), other).await?;
        }
    }
}

/// Asks the lobby for the other player, and sends to it until it answers. Where the other one was heard, if it was.
async fn play(host: impl Host, lobby: SocketAddr) -> io::Result<Option<SocketAddr>> {
    let socket = host.udp_bind(any(0)).await?;
    let (mut buffer, mut peer, mut heard) = ([0; 64], lobby, None);
    let end = host.now() + GIVES_UP;
    while host.now() < end {
        let word: &[u8] = if heard.is_some() { b"welcome" } else { b"hello" };
        socket.send_to(word, peer).await?;
        let next = host.now() + RETRY;
        while let Some(received) = receive(&host, &socket, &mut buffer, next).await? {
            let message = &buffer[..received.length];
            if received.source == lobby {
                peer = std::str::from_utf8(message).ok().and_then(|text| text.parse().ok()).unwrap_or(peer);
            } else {
                // A NAT may show the other player from somewhere else than the lobby saw.
                (peer, heard) = (received.source, Some(received.source));
                if message == b"welcome" {
                    socket.send_to(b"welcome", peer).await?;
                    return Ok(heard);
                }
            }
        }
    }
    Ok(None)
}

/// Whether two players behind these NATs come to play, and how soon.
pub(crate) fn play_between(home: &str, office: &str) -> Result<Option<Duration>, Box<dyn Error>> {
    let lab = Lab::from_yaml(&format!(
        "
nats: {{ home: {home}, office: {office} }}
hosts: {{ alice: {{ behind: home }}, bob: {{ behind: office }}, server: {{}} }}
"
    ))?;
    let mut built = lab.start()?;
    let host = |name: &str| built.host(name).ok_or(format!("no host {name}"));
    let (alice, bob, server) = (host("alice")?, host("bob")?, host("server")?);
    let at = SocketAddr::new(built.addresses("server")[0], LOBBY_PORT);
    server.clone().spawn(async move {
        lobby(server).await.expect("the lobby goes on");
    });
    let began = built.world.now();
    let (one, other) = built.world.run_until(async { futures::join!(play(alice, at), play(bob, at)) })?;
    Ok((one?.is_some() && other?.is_some()).then(|| built.world.now().since(began)))
}

/// The NATs that are tried.
pub(crate) const NATS: [&str; 6] =
    ["full-cone", "restricted-cone", "port-restricted-cone", "symmetric", "linux-masquerade", "cgn"];

#[allow(dead_code, reason = "tests call the function above")]
fn main() -> Result<(), Box<dyn Error>> {
    for home in NATS {
        for office in NATS {
            match play_between(home, office)? {
                Some(took) => println!("{home:>20} - {office:<20} play after {} ms", took.as_millis()),
                None => println!("{home:>20} - {office:<20} do not find each other"),
            }
        }
    }
    Ok(())
}

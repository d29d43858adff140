//! A protocol written sans-IO by somebody else, on the hosts of a lab: QUIC through two NATs, by `quinn-proto`.
//!
//! `cargo run --example quic` has two peers meet through a directory, dial through both NATs, ask over a stream, and ask
//! again after the caller's NAT has lost its memory: the connection goes on from another endpoint.
//!
//! The adapter is the `impl SansIo`. TLS takes its keys from the operating system, so that two runs are alike in what
//! happens and when, not in bytes.

use std::collections::VecDeque;
use std::error::Error;
use std::net::SocketAddr;
use std::str::FromStr;
use std::sync::Arc;
use std::time::Duration;

use natbox::Lab;
use natbox::host::{Host, Received, UdpSocket};
use natbox::probes::sans_io::{Clock, Driver, SansIo, Transmit};
use natbox::probes::signal::{Signal, look_up};
use natbox::probes::stun::client::{BindingRequest, Client, Retransmission};
use natbox::probes::{rendezvous, stun};
use natbox::wire::Time;
use quinn_proto as quinn;
use rustls::RootCertStore;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};

/// The name in the callee's certificate.
const NAME: &str = "bob.example";
const PATIENCE: Duration = Duration::from_secs(5);
const MOST_BYTES: usize = 4096;

/// What the endpoint tells the program that runs it.
enum Told {
    Connected,
    /// A stream that the peer has written to its end.
    Message(quinn::StreamId, Vec<u8>),
    Lost(quinn::ConnectionError),
}

/// An endpoint with its one connection.
struct Quic {
    clock: Clock,
    endpoint: quinn::Endpoint,
    connection: Option<(quinn::ConnectionHandle, quinn::Connection)>,
    outbox: VecDeque<Transmit>,
    readable: VecDeque<quinn::StreamId>,
}

impl Quic {
    fn new(server: Option<quinn::ServerConfig>) -> Quic {
        let endpoint = quinn::Endpoint::new(Arc::default(), server.map(Arc::new), false, None);
        let (outbox, readable) = Default::default();
        Quic { clock: Clock::new(), endpoint, connection: None, outbox, readable }
    }

    fn transmit(&mut self, transmit: &quinn::Transmit, mut payload: Vec<u8>) {
        payload.truncate(transmit.size);
        self.outbox.push_back(Transmit { source: None, destination: transmit.destination, payload });
    }

    /// Carries messages between the connection and its endpoint.
    fn settle(&mut self) {
        let Some((handle, connection)) = &mut self.connection else { return };
        while let Some(event) = connection.poll_endpoint_events() {
            if let Some(answer) = self.endpoint.handle_event(*handle, event) {
                connection.handle_event(answer);
            }
        }
    }

    /// Writes a message, on a new stream of this side's or on one that the peer has opened.
    fn say(&mut self, stream: Option<quinn::StreamId>, message: &[u8]) -> Result<(), Box<dyn Error>> {
        let (_, connection) = self.connection.as_mut().ok_or("no connection")?;
        let opened = || connection.streams().open(quinn::Dir::Bi).ok_or("no stream");
        let stream = stream.map_or_else(opened, Ok)?;
        connection.send_stream(stream).write(message)?;
        Ok(connection.send_stream(stream).finish()?)
    }

    /// All of a stream, if its end has come.
    fn read(&mut self, stream: quinn::StreamId) -> Option<Vec<u8>> {
        let (_, connection) = self.connection.as_mut()?;
        let mut streams = connection.recv_stream(stream);
        let (mut chunks, mut message) = (streams.read(true).ok()?, Vec::new());
        while let Ok(Some(chunk)) = chunks.next(MOST_BYTES) {
            message.extend_from_slice(&chunk.bytes);
        }
        let _ = chunks.finalize();
        Some(message)
    }

    /// Where the peer is.
    fn remote(&self) -> Option<SocketAddr> {
        self.connection.as_ref().map(|(_, connection)| connection.remote_address())
    }
}

impl SansIo for Quic {
    type Event = Told;

    fn handle_datagram(&mut self, received: &Received, payload: &[u8], now: Time) {
        let (instant, local, mut bytes) = (self.clock.instant(now), Some(received.destination.ip()), Vec::new());
        match self.endpoint.handle(instant, received.source, local, None, payload.into(), &mut bytes) {
            Some(quinn::DatagramEvent::ConnectionEvent(_, event)) => {
                if let Some((_, connection)) = &mut self.connection {
                    connection.handle_event(event);
                }
            }
            Some(quinn::DatagramEvent::NewConnection(incoming)) => {
                if let Ok(accepted) = self.endpoint.accept(incoming, instant, &mut bytes, None) {
                    self.connection = Some(accepted);
                }
            }
            Some(quinn::DatagramEvent::Response(transmit)) => self.transmit(&transmit, bytes),
            None => {}
        }
        self.settle();
    }

    fn poll_transmit(&mut self, now: Time) -> Option<Transmit> {
        if self.outbox.is_empty() {
            let (_, connection) = self.connection.as_mut()?;
            let mut payload = Vec::new();
            let transmit = connection.poll_transmit(self.clock.instant(now), 1, &mut payload)?;
            self.transmit(&transmit, payload);
        }
        self.outbox.pop_front()
    }

    fn poll_event(&mut self, _now: Time) -> Option<Told> {
        self.settle();
        while let Some(event) = self.connection.as_mut().and_then(|(_, connection)| connection.poll()) {
            match event {
                quinn::Event::Connected => return Some(Told::Connected),
                quinn::Event::ConnectionLost { reason } => return Some(Told::Lost(reason)),
                quinn::Event::Stream(quinn::StreamEvent::Readable { id }) => self.readable.push_back(id),
                quinn::Event::Stream(quinn::StreamEvent::Opened { dir }) => {
                    let connection = &mut self.connection.as_mut()?.1;
                    self.readable.extend(std::iter::from_fn(|| connection.streams().accept(dir)));
                }
                _ => {}
            }
        }
        let stream = self.readable.pop_front()?;
        self.read(stream).map(|message| Told::Message(stream, message))
    }

    fn poll_timeout(&mut self) -> Option<Time> {
        let due = self.connection.as_mut().and_then(|(_, connection)| connection.poll_timeout());
        due.map(|due| self.clock.time(due))
    }

    fn handle_timeout(&mut self, now: Time) {
        let instant = self.clock.instant(now);
        if let Some((_, connection)) = &mut self.connection {
            connection.handle_timeout(instant);
        }
    }
}

/// Where the servers are.
#[derive(Clone, Copy)]
struct Servers {
    stun: SocketAddr,
    directory: SocketAddr,
}

/// A socket, and where others see it.
async fn socket<H: Host>(host: &H, servers: Servers) -> Result<(H::Udp, SocketAddr), Box<dyn Error>> {
    let socket = host.udp_bind(SocketAddr::new(host.addresses()[0], 0)).await?;
    let mut client = Client::new(host, Retransmission::PROBE);
    let seen = client.binding(&socket, servers.stun, BindingRequest::default()).await?.mapped;
    Ok((socket, seen))
}

/// Answers one call, and every question.
async fn answer<H: Host>(host: H, servers: Servers) -> Result<(), Box<dyn Error>> {
    let generated = rcgen::generate_simple_self_signed([NAME.to_owned()])?;
    let (certificate, key) = (generated.cert.der().clone(), generated.signing_key.serialize_der());
    let server = quinn::ServerConfig::with_single_cert(vec![certificate.clone()], PrivateKeyDer::Pkcs8(key.into()))?;

    let mut signal = Signal::answer(&host, servers.directory, "bob", Time::MAX).await?;
    let (socket, seen) = socket(&host, servers).await?;
    let caller = signal.recv(host.now() + PATIENCE).await?.ok_or("the caller said nothing")?;
    let caller = SocketAddr::from_str(std::str::from_utf8(&caller)?)?;
    // Opens this side's NAT: what comes of the datagram itself does not matter.
    socket.send_to(b"open", caller).await?;
    signal.send(&[seen.to_string().as_bytes(), b"\n", &certificate].concat()).await?;

    let mut driver = Driver::new(&host, vec![socket], Quic::new(Some(server)));
    while let Some(told) = driver.next(Time::MAX).await? {
        if let Told::Message(stream, question) = told {
            let seen = driver.protocol().remote().ok_or("nobody asked")?;
            let answer = format!("{} from {seen}", String::from_utf8(question)?);
            driver.protocol().say(Some(stream), answer.as_bytes())?;
        }
    }
    Ok(())
}

/// Dials.
async fn call<H: Host>(host: H, servers: Servers) -> Result<Driver<H, Quic>, Box<dyn Error>> {
    look_up(&host, servers.directory, "bob", host.now() + PATIENCE).await?;
    let mut signal = Signal::call(&host, servers.directory, "alice", "bob", host.now() + PATIENCE).await?;
    let (socket, seen) = socket(&host, servers).await?;
    signal.send(seen.to_string().as_bytes()).await?;
    let answer = signal.recv(host.now() + PATIENCE).await?.ok_or("the callee said nothing")?;
    let line = answer.iter().position(|byte| *byte == b'\n').ok_or("no certificate")?;
    let callee = SocketAddr::from_str(std::str::from_utf8(&answer[..line])?)?;
    let mut roots = RootCertStore::empty();
    roots.add(CertificateDer::from(answer[line + 1..].to_vec()))?;

    let (client, mut quic) = (quinn::ClientConfig::with_root_certificates(Arc::new(roots))?, Quic::new(None));
    quic.connection = Some(quic.endpoint.connect(quic.clock.instant(host.now()), client, callee, NAME)?);
    let mut driver = Driver::new(&host, vec![socket], quic);
    match driver.next(host.now() + PATIENCE).await? {
        Some(Told::Connected) => Ok(driver),
        Some(Told::Lost(why)) => Err(why.into()),
        _ => Err("no handshake".into()),
    }
}

/// Asks over a stream of its own.
async fn ask<H: Host>(driver: &mut Driver<H, Quic>, question: &str) -> Result<String, Box<dyn Error>> {
    driver.protocol().say(None, question.as_bytes())?;
    let deadline = driver.host().now() + PATIENCE;
    while let Some(told) = driver.next(deadline).await? {
        match told {
            Told::Message(_, answer) => return Ok(String::from_utf8(answer)?),
            Told::Lost(why) => return Err(why.into()),
            Told::Connected => {}
        }
    }
    Err("no answer".into())
}

/// Two questions over one connection between these NATs, and their answers: the caller's NAT reboots in between.
pub(crate) fn ask_twice(home: &str, office: &str) -> Result<[String; 2], Box<dyn Error>> {
    let lab = Lab::from_yaml(&format!(
        "
nats: {{ home: {home}, office: {office} }}
hosts: {{ alice: {{ behind: home }}, bob: {{ behind: office }}, server: {{ services: [stun, rendezvous] }} }}
"
    ))?;
    let mut built = lab.start()?;
    let host = |name: &str| built.host(name).ok_or(format!("no host {name}"));
    let (alice, bob, server) = (host("alice")?, host("bob")?, built.addresses("server")[0]);
    let servers = Servers { stun: (server, stun::PORT).into(), directory: (server, rendezvous::PORT).into() };
    bob.clone().spawn(async move {
        answer(bob, servers).await.expect("bob answers");
    });
    let mut driver = built.world.run_until(call(alice, servers))??;
    let first = built.world.run_until(ask(&mut driver, "here"))??;
    built.world.reboot(built.node("home").ok_or("no NAT home")?)?;
    let second = built.world.run_until(ask(&mut driver, "and here"))??;
    Ok([first, second])
}

#[allow(dead_code, reason = "tests call the function above")]
fn main() -> Result<(), Box<dyn Error>> {
    for answer in ask_twice("symmetric", "full-cone")? {
        println!("{answer}");
    }
    Ok(())
}

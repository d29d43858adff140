//! A protocol written sans-IO by somebody else, on the hosts of a lab: the ICE agent of str0m, the crate `is`.
//!
//! `cargo run --example ice` has two peers exchange candidates through a directory, check all pairs, and talk over the
//! best one, in virtual time. What it takes is the adapter in the middle: an `impl SansIo` that hands datagrams and the
//! time to the library, and drains what it wants to send.
//!
//! str0m itself runs by the same adapter. It is not here because every test run would have to build what comes with it: the
//! one cryptographic backend that was tried (`rust-crypto`, with str0m 0.24) brought some sixty crates and the C of aws-lc.

use std::collections::VecDeque;
use std::error::Error;
use std::fmt::Write;
use std::net::SocketAddr;
use std::time::Duration;

use is::stun::{StunMessage, StunPacket};
use is::{Candidate, IceAgent, IceAgentEvent, IceCreds, Protocol};
use natbox::Lab;
use natbox::host::{Host, Received, UdpSocket};
use natbox::probes::sans_io::{Clock, Driver, SansIo, Transmit};
use natbox::probes::signal::{Signal, look_up};
use natbox::probes::stun::client::{BindingRequest, Client, Retransmission};
use natbox::probes::{rendezvous, stun};
use natbox::wire::Time;

/// What the session tells the program that runs it.
enum Told {
    /// Data goes to the peer at this endpoint from now on.
    Connected(SocketAddr),
    Data(Vec<u8>),
}

/// The agent, the clock that it is shown, and what goes over the pair that it nominated.
struct Session {
    agent: IceAgent,
    clock: Clock,
    way: Option<(SocketAddr, SocketAddr)>,
    outbox: VecDeque<Vec<u8>>,
    told: VecDeque<Told>,
}

impl SansIo for Session {
    type Event = Told;

    fn handle_datagram(&mut self, received: &Received, payload: &[u8], now: Time) {
        match StunMessage::parse(payload) {
            Ok(message) => {
                let (source, destination) = (received.source, received.destination);
                let packet = StunPacket { proto: Protocol::Udp, source, destination, message };
                self.agent.handle_packet(self.clock.instant(now), packet);
            }
            Err(_) => self.told.push_back(Told::Data(payload.to_vec())),
        }
    }

    fn poll_transmit(&mut self, _now: Time) -> Option<Transmit> {
        if let Some(check) = self.agent.poll_transmit() {
            let (source, destination) = (Some(check.source), check.destination);
            return Some(Transmit { source, destination, payload: check.contents.into() });
        }
        let (source, destination) = self.way?;
        Some(Transmit { source: Some(source), destination, payload: self.outbox.pop_front()? })
    }

    fn poll_event(&mut self, _now: Time) -> Option<Told> {
        while let Some(event) = self.agent.poll_event() {
            if let IceAgentEvent::NominatedSend { source, destination, .. } = event {
                self.way = Some((source, destination));
                return Some(Told::Connected(destination));
            }
        }
        self.told.pop_front()
    }

    fn poll_timeout(&mut self) -> Option<Time> {
        self.agent.poll_timeout().map(|due| self.clock.time(due))
    }

    fn handle_timeout(&mut self, now: Time) {
        self.agent.handle_timeout(self.clock.instant(now));
    }
}

/// Where the servers are.
#[derive(Clone, Copy)]
struct Servers {
    stun: SocketAddr,
    directory: SocketAddr,
}

/// Gathers, tells the peer over `signal`, hears what it has gathered.
async fn prepare<H: Host>(
    host: &H,
    servers: Servers,
    mut signal: Signal<H>,
    controlling: bool,
) -> Result<Driver<H, Session>, Box<dyn Error>> {
    let socket = host.udp_bind(SocketAddr::new(host.addresses()[0], 0)).await?;
    let (mut agent, local) = (IceAgent::new(IceCreds::new()), socket.local_addr());
    agent.set_controlling(controlling);
    let seen =
        Client::new(host, Retransmission::PROBE).binding(&socket, servers.stun, BindingRequest::default()).await?;
    let own = [Candidate::host(local, "udp")?, Candidate::server_reflexive(seen.mapped, local, "udp")?];
    let creds = agent.local_credentials();
    let mut offer = format!("{} {}\n", creds.ufrag, creds.pass);
    for candidate in own {
        writeln!(offer, "{}", candidate.to_sdp_string())?;
        agent.add_local_candidate(candidate);
    }
    signal.send(offer.as_bytes()).await?;
    let deadline = host.now() + Duration::from_secs(5);
    let offer = String::from_utf8(signal.recv(deadline).await?.ok_or("the peer offered nothing")?)?;
    let mut lines = offer.lines();
    let (ufrag, pass) = lines.next().and_then(|line| line.split_once(' ')).ok_or("no credentials")?;
    agent.set_remote_credentials(IceCreds { ufrag: ufrag.to_owned(), pass: pass.to_owned() });
    for candidate in lines {
        agent.add_remote_candidate(Candidate::from_sdp_string(candidate)?);
    }
    let clock = Clock::new();
    agent.handle_timeout(clock.instant(host.now()));
    let session = Session { agent, clock, way: None, outbox: VecDeque::new(), told: VecDeque::new() };
    Ok(Driver::new(host, vec![socket], session))
}

/// Answers one call, and every message.
async fn answer<H: Host>(host: H, servers: Servers) -> Result<(), Box<dyn Error>> {
    let signal = Signal::answer(&host, servers.directory, "bob", Time::MAX).await?;
    let mut driver = prepare(&host, servers, signal, false).await?;
    while let Some(told) = driver.next(Time::MAX).await? {
        if let Told::Data(question) = told {
            driver.protocol().outbox.push_back([&b"to "[..], &question].concat());
        }
    }
    Ok(())
}

/// What came of a call.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Call {
    /// Where the caller found the callee.
    pub(crate) remote: SocketAddr,
    pub(crate) answer: String,
    pub(crate) took: Duration,
}

/// Calls, and asks one question. `None` if no pair works.
async fn call<H: Host>(host: H, servers: Servers) -> Result<Option<Call>, Box<dyn Error>> {
    look_up(&host, servers.directory, "bob", host.now() + Duration::from_secs(5)).await?;
    let began = host.now();
    let signal = Signal::call(&host, servers.directory, "alice", "bob", began + Duration::from_secs(5)).await?;
    let mut driver = prepare(&host, servers, signal, true).await?;
    let mut remote = None;
    while let Some(told) = driver.next(began + Duration::from_secs(10)).await? {
        match (told, remote) {
            (Told::Connected(endpoint), _) => {
                remote = Some(endpoint);
                driver.protocol().outbox.push_back(b"question".to_vec());
            }
            (Told::Data(answer), Some(remote)) => {
                let took = host.now().since(began);
                return Ok(Some(Call { remote, answer: String::from_utf8(answer)?, took }));
            }
            (Told::Data(_), None) => {}
        }
    }
    Ok(None)
}

/// A call from `alice` to `bob` in this lab, whose `server` runs `stun` and `rendezvous`.
pub(crate) fn call_in(lab: &Lab) -> Result<Option<Call>, Box<dyn Error>> {
    let mut built = lab.start()?;
    let host = |name: &str| built.host(name).ok_or(format!("no host {name}"));
    let (alice, bob, server) = (host("alice")?, host("bob")?, built.addresses("server")[0]);
    let servers = Servers { stun: (server, stun::PORT).into(), directory: (server, rendezvous::PORT).into() };
    bob.clone().spawn(async move {
        answer(bob, servers).await.expect("bob answers");
    });
    built.world.run_until(call(alice, servers))?
}

/// Two homes.
pub(crate) fn two_homes(home: &str, office: &str) -> Result<Lab, natbox::LabError> {
    Lab::from_yaml(&format!(
        "
nats: {{ home: {home}, office: {office} }}
hosts: {{ alice: {{ behind: home }}, bob: {{ behind: office }}, server: {{ services: [stun, rendezvous] }} }}
"
    ))
}

#[allow(dead_code, reason = "tests call the functions above")]
fn main() -> Result<(), Box<dyn Error>> {
    for (home, office) in [("full-cone", "symmetric"), ("linux-masquerade", "cgn"), ("symmetric", "symmetric")] {
        match call_in(&two_homes(home, office)?)? {
            Some(call) => {
                println!(
                    "{home} - {office}: {:?} from {} after {} ms",
                    call.answer,
                    call.remote,
                    call.took.as_millis()
                );
            }
            None => println!("{home} - {office}: no pair works"),
        }
    }
    Ok(())
}

//! Where STUN servers see one socket, and which port its next mapping will have.
//!
//! ```text
//! socket -> A1:P1, A1:P2, A2:P1, A2:P2   all at once, so that other hosts have no time for mappings in between
//!        <- :5000, :5001, :5002, :5003   a step of 1: towards the next remote endpoint it will be 5004
//! ```
//!
//! The step is the smallest difference between mappings made one after the other: others' mappings in between only make
//! it larger. Prediction as in Ford, Srisuresh and Kegel 2005, section 5.1.
//!
//! A request that was lost has its mapping made later than its place in the order says. Leaves out predictors that learn
//! how a NAT's port depends on the time or on the remote endpoint.

use std::net::SocketAddr;

use natbox_host::{Host, UdpSocket};
use natbox_wire::{Time, Word, words};

use crate::ProbeError;
use crate::contact::{Contact, Facts, Failure, Setting};
use crate::path::Paths;
use crate::punch::session::Introduced;
use crate::punch::{PunchConfig, run};
use crate::rendezvous::{Candidate, CandidateKind, Peer};
use crate::signal::Signal;
use crate::stun::client::{Answer, BindingRequest, Client, Retransmission, read_binding};
use crate::stun::codec;
use crate::wait::receive;

/// The largest step that is taken for one: random ports are further apart.
pub(crate) const LARGEST_STEP: i32 = 256;
/// Where ports begin that NATs usually give out.
const FIRST_PORT: i32 = 1024;
/// How many there are from there on.
const PORTS: i32 = 65_536 - FIRST_PORT;

words! {
    /// What is known of the external port of a socket's next mapping.
    pub enum Rule: "port rule" {
        Stable = "stable", "it is the same towards every server that was asked";
        Stepping = "stepping", "it is a small step after the one before";
        Erratic = "erratic", "it follows no rule";
        Unknown = "unknown", "fewer than two servers answered";
    }
}

/// Where servers saw one socket.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Observation {
    /// What each server saw, in the order of asking; those that did not answer are left out.
    pub seen: Vec<SocketAddr>,
    /// What follows from it.
    pub rule: Rule,
    /// From one new mapping to the next, in ports; 0 unless stepping.
    pub delta: i32,
    /// When the servers were asked first.
    pub at: Time,
}

impl Observation {
    /// What these ports say.
    fn new(seen: Vec<SocketAddr>, at: Time) -> Observation {
        let steps = seen.windows(2).map(|pair| step(pair[0].port(), pair[1].port()));
        let steps: Vec<i32> = steps.filter(|step| *step != 0).collect();
        let one_address = seen.windows(2).all(|pair| pair[0].ip() == pair[1].ip());
        let smallest = steps.iter().copied().min_by_key(|step| step.abs()).unwrap_or(0);
        let small = |step: &i32| step.abs() <= LARGEST_STEP && step.signum() == smallest.signum();
        let rule = match steps.is_empty() {
            _ if seen.len() < 2 => Rule::Unknown,
            true if one_address => Rule::Stable,
            false if one_address && steps.iter().all(small) => Rule::Stepping,
            _ => Rule::Erratic,
        };
        Observation { seen, rule, delta: if rule == Rule::Stepping { smallest } else { 0 }, at }
    }

    /// The external endpoint towards the next remote endpoint, as far as it can be told; else the last one.
    pub fn next(&self) -> Option<SocketAddr> {
        let last = *self.seen.last()?;
        let port = (i32::from(last.port()) + self.delta - FIRST_PORT).rem_euclid(PORTS) + FIRST_PORT;
        let port = if self.delta == 0 { last.port() } else { u16::try_from(port).unwrap_or(last.port()) };
        Some(SocketAddr::new(last.ip(), port))
    }
}

/// From one port to another, the short way round.
pub(crate) fn step(from: u16, to: u16) -> i32 {
    let step = (i32::from(to) - i32::from(from)).rem_euclid(PORTS);
    if step > PORTS / 2 { step - PORTS } else { step }
}

/// Asks every server of `servers` from one socket.
///
/// # Errors
/// What the machine's socket says; silence of all servers.
pub async fn observe<H: Host>(
    host: &H,
    socket: &H::Udp,
    servers: &[SocketAddr],
    retransmission: Retransmission,
) -> Result<Observation, ProbeError> {
    let began = host.now();
    let mut client = Client::new(host, retransmission);
    let requests: Vec<Vec<u8>> = servers.iter().map(|_| client.prepare(BindingRequest::default())).collect();
    let mut seen = vec![None; servers.len()];
    let mut buffer = [0; 1024];
    for sent in 1..=retransmission.sends {
        for ((request, server), _) in requests.iter().zip(servers).zip(&seen).filter(|(_, seen)| seen.is_none()) {
            socket.send_to(request, *server).await.map_err(ProbeError::io("send a STUN request"))?;
        }
        let deadline = host.now() + retransmission.wait_after(sent);
        while seen.iter().any(Option::is_none) {
            let received = receive(host, socket, &mut buffer, deadline).await;
            let Some(received) = received.map_err(ProbeError::io("receive a STUN response"))? else { break };
            let datagram = buffer[..received.length.min(buffer.len())].to_vec();
            let id = codec::parse(&datagram).map(|message| message.transaction_id());
            let asked = |request: &Vec<u8>| codec::parse(request).map(|message| message.transaction_id()) == id;
            let Some(index) = requests.iter().position(asked).filter(|_| id.is_some()) else { continue };
            let answer = Answer { datagram, received, sent, elapsed: received.at.since(began) };
            seen[index] = read_binding(&answer).ok().map(|binding| binding.mapped).or(seen[index]);
        }
        if seen.iter().all(Option::is_some) {
            break;
        }
    }
    let seen: Vec<SocketAddr> = seen.into_iter().flatten().collect();
    if seen.is_empty() {
        let from = servers.first().copied().unwrap_or(socket.local_addr());
        let (waited, sent) = (host.now().since(began), retransmission.sends);
        return Err(ProbeError::Silence { expected: "a STUN response", from, waited, sent });
    }
    Ok(Observation::new(seen, began))
}

/// What the sides tell each other: where the next mapping is expected, by which rule, and the number from which the
/// checks are counted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Told {
    pub(crate) rule: Rule,
    pub(crate) next: SocketAddr,
    pub(crate) first_id: u64,
}

impl Told {
    fn to_bytes(self) -> Vec<u8> {
        format!("{} {} {}", self.rule, self.next, self.first_id).into_bytes()
    }

    fn read(bytes: &[u8]) -> Option<Told> {
        let mut parts = std::str::from_utf8(bytes).ok()?.split(' ');
        let rule = Rule::from_word(parts.next()?)?;
        let next = parts.next()?.parse().ok().filter(|next: &SocketAddr| next.port() > 0)?;
        Some(Told { rule, next, first_id: parts.next()?.parse().ok()? })
    }
}

/// Two sides that know what servers see of each other.
pub(crate) struct Meeting<H: Host> {
    pub(crate) signal: Signal<H>,
    pub(crate) own: Observation,
    pub(crate) first_id: u64,
    pub(crate) peer: Told,
    /// When the call began, or came.
    pub(crate) began: Time,
}

/// Looks at one socket, which is the second value, and exchanges what was seen with the peer.
pub(crate) async fn meet<H: Host>(
    host: &H,
    setting: &Setting,
    signal: Result<Signal<H>, ProbeError>,
    began: Time,
) -> Result<(Meeting<H>, H::Udp), Failure> {
    use rand_core::Rng;
    let early = |error| Failure::early(error, host.now().since(began));
    let mut signal = signal.map_err(early)?;
    let socket = crate::punch::open(host, setting.directory, 0).await.map_err(early)?;
    if setting.stun.is_empty() {
        return Err(Failure::vain("there is no STUN server to see the ports", host.now().since(began)));
    }
    let own = observe(host, &socket, &setting.stun, Retransmission::PROBE).await.map_err(early)?;
    let first_id = host.random().next_u64() >> 1;
    let next = own.next().unwrap_or(socket.local_addr());
    signal.send(&Told { rule: own.rule, next, first_id }.to_bytes()).await.map_err(early)?;
    let deadline = setting.options.deadline(began);
    let told = signal.recv(deadline).await.map_err(early)?;
    let Some(peer) = told.as_deref().and_then(Told::read) else {
        return Err(Failure::vain("the peer did not tell its ports", host.now().since(began)).with_facts(own.facts()));
    };
    Ok((Meeting { signal, own, first_id, peer, began }, socket))
}

impl Observation {
    pub(crate) fn facts(&self) -> Facts {
        let ports: Vec<u16> = self.seen.iter().map(SocketAddr::port).collect();
        let mut facts = Facts::from([("ports", ports.into()), ("rule", self.rule.as_str().into())]);
        if self.rule == Rule::Stepping {
            facts.insert("delta", i64::from(self.delta).into());
        }
        facts
    }
}

impl<H: Host> Meeting<H> {
    /// Punches from `socket` to these endpoints of the peer, the first of them first.
    pub(crate) async fn punch(
        &self,
        host: &H,
        setting: &Setting,
        socket: H::Udp,
        endpoints: &[SocketAddr],
    ) -> Result<crate::punch::Punched<H>, crate::punch::Failure> {
        let candidate = |endpoint: &SocketAddr| Candidate { kind: CandidateKind::Reflexive, endpoint: *endpoint };
        let peer = Peer {
            name: self.signal.peer().to_owned(),
            reflexive: endpoints.first().copied().unwrap_or(self.peer.next),
            candidates: endpoints.iter().map(candidate).collect(),
        };
        let introduced = Introduced {
            role: self.signal.role(),
            token: self.signal.token(),
            local: crate::punch::local_endpoints(host, &socket),
            neighbours: crate::punch::neighbours(host, &peer),
            reflexive: self.own.seen.last().copied().unwrap_or(socket.local_addr()),
            mapped: None,
            peer,
            paths: Paths::ALL,
            tries: Paths::ALL,
        };
        run(host, (socket, None), &PunchConfig::from(setting), introduced, self.began, Vec::new()).await
    }
}

/// Calls `peer`.
pub(crate) async fn call<H: Host>(host: &H, setting: &Setting, peer: &str) -> Result<(Meeting<H>, H::Udp), Failure> {
    let (began, deadline) = (host.now(), setting.options.deadline(host.now()));
    let signal = Signal::call(host, setting.directory, &setting.me, peer, deadline).await;
    meet(host, setting, signal, began).await
}

/// Waits for a caller.
pub(crate) async fn answer<H: Host>(host: &H, setting: &Setting) -> Result<(Meeting<H>, H::Udp), Failure> {
    let deadline = setting.options.deadline(host.now());
    let signal = Signal::answer(host, setting.directory, &setting.me, deadline).await;
    meet(host, setting, signal, host.now()).await
}

/// What came of punching, with these facts.
pub(crate) fn outcome<H: Host>(
    came: Result<crate::punch::Punched<H>, crate::punch::Failure>,
    facts: Facts,
) -> Result<Contact<H>, Failure> {
    match came {
        Ok(punched) => Ok(Contact::from(punched).with_facts(facts)),
        Err(failure) => Err(Failure::from(failure).with_facts(facts)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(ports: &[u16]) -> Observation {
        let seen = ports.iter().map(|port| SocketAddr::from(([198, 18, 0, 2], *port))).collect();
        Observation::new(seen, Time::ZERO)
    }

    #[test]
    fn the_next_port_is_a_step_after_the_last() {
        for (ports, rule, delta, next) in [
            (&[5000, 5000, 5000, 5000][..], Rule::Stable, 0, 5000),
            (&[5000, 5001, 5002, 5003], Rule::Stepping, 1, 5004),
            (&[5000, 5000, 5002, 5002], Rule::Stepping, 2, 5004),
            (&[5000, 4999, 4998, 4997], Rule::Stepping, -1, 4996),
            (&[5000, 5007, 5009, 5011], Rule::Stepping, 2, 5013),
            (&[65_534, 65_535, 1024, 1025], Rule::Stepping, 1, 1026),
            (&[5000, 40_000, 3, 9999], Rule::Erratic, 0, 9999),
            (&[5000, 5001, 5000, 5001], Rule::Erratic, 0, 5001),
            (&[5000], Rule::Unknown, 0, 5000),
        ] {
            let observation = of(ports);
            let port = observation.next().map(|next| next.port());
            assert_eq!((observation.rule, observation.delta, port), (rule, delta, Some(next)), "{ports:?}");
        }
    }

    #[test]
    fn what_is_told_is_read() {
        let told = Told { rule: Rule::Stepping, next: "198.18.0.2:5004".parse().unwrap(), first_id: 7 };
        assert_eq!(Told::read(&told.to_bytes()), Some(told));
        for wrong in ["", "stable", "stable 198.18.0.2:0 1", "wild 198.18.0.2:1 1", "stable 198.18.0.2:1 x"] {
            assert_eq!(Told::read(wrong.as_bytes()), None, "{wrong}");
        }
    }
}

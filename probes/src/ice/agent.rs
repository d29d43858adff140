//! The ICE agent of the crate `is` with seeded chance, the machine's clock, and what it does not tell: where the peer
//! saw each check come from, and whether the peer still consents. Knows no sockets and no signalling.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::time::Duration;

use is::stun::{StunMessage, StunPacket};
use is::{Candidate, CandidateKind, IceAgent, IceAgentEvent, IceCreds, Protocol};
use natbox_wire::Time;

use super::description::{Description, direction};
use crate::path::Transport;
use crate::sans_io::{Clock, Transmit};

/// RFC 8445 section 14.3: the least retransmission timeout of checks ...
const RTO: Duration = Duration::from_millis(500);
/// ... and RFC 7675 section 5.1: how often a pair that works is checked.
const CONSENT_INTERVAL: Duration = Duration::from_secs(5);
/// How often a check is sent (RFC 8489 section 6.2.1: Rc).
const SENDS: usize = 7;
/// RFC 7675 section 5.1: consent ends so long after the last answer.
pub(super) const CONSENT: Duration = Duration::from_secs(30);
/// PRIORITY is 1 to 2^31 - 1 (RFC 8445 section 5.1.2).
const MOST_PRIORITY: u32 = 0x7FFF_FFFF;
/// The most ways to the peer that are remembered, as many as there may be pairs (RFC 8445 section 6.1.2.5).
const MOST_WAYS: usize = 100;

/// From a local endpoint (a socket's or the relay's) to a remote one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Way {
    pub(super) local: SocketAddr,
    pub(super) remote: SocketAddr,
}

/// What the agent tells.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Event {
    /// Data goes this way from now on.
    Selected(Way),
    /// No pair works any more.
    Dead,
}

/// What is known of a way over which authenticated messages came.
#[derive(Clone, Copy, Default)]
struct Known {
    /// Where the peer saw this side, and when it last answered.
    answered: Option<(SocketAddr, Time)>,
}

pub(super) struct Agent {
    ice: IceAgent,
    proto: Protocol,
    clock: Clock,
    /// The state of this agent's stream of chance.
    chance: u64,
    ways: BTreeMap<Way, Known>,
    selected: Option<Way>,
}

/// Runs `act` with `fastrand`'s stream of this thread at `chance`, and puts the stream back: whoever else draws from
/// it neither disturbs the agent nor notices it.
fn seeded<T>(chance: &mut u64, act: impl FnOnce() -> T) -> T {
    let others = fastrand::get_seed();
    fastrand::seed(*chance);
    let result = act();
    *chance = fastrand::get_seed();
    fastrand::seed(others);
    result
}

impl Agent {
    /// An agent whose credentials, transaction ids and tie-breaker come from `seed`.
    pub(super) fn new(seed: u64, controlling: bool, transport: Transport) -> Agent {
        let mut chance = seed;
        let mut ice = seeded(&mut chance, || IceAgent::new(IceCreds::new()));
        ice.set_controlling(controlling);
        ice.set_initial_stun_rto(RTO);
        ice.set_max_stun_rto(CONSENT_INTERVAL);
        ice.set_max_stun_retransmits(SENDS);
        let proto = match transport {
            Transport::Udp => Protocol::Udp,
            Transport::Tcp => Protocol::Tcp,
        };
        Agent { ice, proto, clock: Clock::new(), chance, ways: BTreeMap::new(), selected: None }
    }

    fn act<T>(&mut self, act: impl FnOnce(&mut IceAgent) -> T) -> T {
        seeded(&mut self.chance, || act(&mut self.ice))
    }

    /// Forgets all pairs and candidates, and takes new credentials (RFC 8445 section 9). Data may go on the old way.
    pub(super) fn restart(&mut self) {
        self.act(|ice| ice.ice_restart(IceCreds::new(), false));
    }

    pub(super) fn add_local(&mut self, candidate: Candidate) {
        self.ice.add_local_candidate(candidate);
    }

    /// What the peer is told.
    pub(super) fn credentials(&self) -> &IceCreds {
        self.ice.local_credentials()
    }

    pub(super) fn locals(&self) -> impl Iterator<Item = Candidate> + '_ {
        self.ice.local_candidates()
    }

    pub(super) fn remotes(&self) -> impl Iterator<Item = Candidate> + '_ {
        self.ice.remote_candidates()
    }

    /// Takes what the peer told.
    pub(super) fn set_remote(&mut self, description: &Description) {
        self.ice.set_remote_credentials(description.credentials.clone());
        // Nothing is sent to active candidates: their checks come by themselves (RFC 6544 section 6.2).
        let fits = |candidate: &&Candidate| {
            (1..=MOST_PRIORITY).contains(&candidate.prio()) && direction(candidate) != "active"
        };
        for candidate in description.candidates.iter().filter(fits) {
            self.ice.add_remote_candidate(candidate.clone());
        }
    }

    /// Whether this side decides which pair is used.
    pub(super) fn is_controlling(&self) -> bool {
        self.ice.controlling()
    }

    /// How many checks were sent, repetitions and consent checks included.
    pub(super) fn checks_sent(&self) -> u64 {
        self.ice.stats().bind_request_sent
    }

    /// Takes a STUN message that came over `way`. One that is not authentic is passed over.
    pub(super) fn receive(&mut self, datagram: &[u8], way: Way, now: Time) {
        let Ok(message) = StunMessage::parse(datagram) else { return };
        if message.prio().is_some_and(|priority| !(1..=MOST_PRIORITY).contains(&priority)) {
            return;
        }
        let answer = message.is_successful_binding_response().then(|| message.mapped_address()).flatten();
        let proto = self.proto;
        let packet = StunPacket { proto, source: way.remote, destination: way.local, message };
        let instant = self.clock.instant(now);
        if !self.act(|ice| ice.handle_packet(instant, packet)) {
            return;
        }
        if self.ways.contains_key(&way) || self.ways.len() < MOST_WAYS {
            let known = self.ways.entry(way).or_default();
            known.answered = answer.map(|seen| (seen, now)).or(known.answered);
        }
    }

    /// Whether an authenticated message has come over `way`.
    pub(super) fn trusts(&self, way: Way) -> bool {
        self.ways.contains_key(&way)
    }

    /// Where the peer sees this side over `way`.
    pub(super) fn seen_over(&self, way: Way) -> Option<SocketAddr> {
        self.ways.get(&way)?.answered.map(|(seen, _)| seen)
    }

    /// When the peer's consent to the way in use ends (RFC 7675 section 5.1).
    pub(super) fn consent_ends(&self) -> Option<Time> {
        let (_, answered) = self.ways.get(&self.selected?)?.answered?;
        Some(answered + CONSENT)
    }

    /// The next thing to send. `source` is a socket's endpoint, or the relay's.
    pub(super) fn poll_transmit(&mut self) -> Option<Transmit> {
        let transmit = self.ice.poll_transmit()?;
        let (source, destination) = (Some(transmit.source), transmit.destination);
        Some(Transmit { source, destination, payload: transmit.contents.into() })
    }

    /// When [`handle_timeout`](Agent::handle_timeout) is due.
    pub(super) fn poll_timeout(&mut self) -> Option<Time> {
        let due = self.ice.poll_timeout().map(|instant| self.clock.time(instant));
        due.into_iter().chain(self.consent_ends()).min()
    }

    pub(super) fn handle_timeout(&mut self, now: Time) {
        let instant = self.clock.instant(now);
        self.act(|ice| ice.handle_timeout(instant));
    }

    pub(super) fn poll_event(&mut self, now: Time) -> Option<Event> {
        while let Some(event) = self.ice.poll_event() {
            match event {
                IceAgentEvent::NominatedSend { source, destination, .. } => {
                    let way = Way { local: source, remote: destination };
                    self.selected = Some(way);
                    return Some(Event::Selected(way));
                }
                IceAgentEvent::IceConnectionStateChange(state) if state.is_disconnected() => {
                    self.lose();
                    return Some(Event::Dead);
                }
                _ => {}
            }
        }
        self.consent_ends().filter(|end| *end <= now).map(|_| {
            self.lose();
            Event::Dead
        })
    }

    fn lose(&mut self) {
        self.selected = None;
        self.ways.clear();
    }
}

/// What RFC 8445 section 5.1.1 calls a type.
pub(super) fn word(kind: CandidateKind) -> &'static str {
    match kind {
        CandidateKind::Host => "host",
        CandidateKind::PeerReflexive => "peer-reflexive",
        CandidateKind::ServerReflexive => "server-reflexive",
        CandidateKind::Relayed => "relayed",
    }
}

//! `quinn-proto` as a protocol that the driver runs: one endpoint, and one connection that is chosen among several.

use std::collections::VecDeque;
use std::io;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, PoisonError};

use natbox_host::Received;
use natbox_wire::Time;
use quinn_proto as quinn;

use super::chance::{Secrets, Stamp};
use super::crypto::{self, Certificate, Identity, Unusable};
use super::opening::Opening;
use super::{Config, Lost};
use crate::sans_io::{Clock, SansIo, Transmit};

/// Datagrams that wait to be sent or read, in bytes.
const BUFFER_BYTES: usize = 256 * 1024;
/// Connections that are tried at once, or that a server lets come about.
const MOST_LEGS: usize = 8;

/// What an endpoint tells its user.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Event {
    /// The handshake of connection `leg` is done.
    Connected { leg: usize, remote: SocketAddr },
    /// A datagram came over connection `leg`.
    Datagram { leg: usize, payload: Vec<u8> },
    /// The peer of the chosen connection speaks from another endpoint now, and has answered a challenge there.
    Moved { remote: SocketAddr },
    /// The chosen connection is no more; or every one that was tried.
    Lost(Lost),
    /// A STUN server has seen this socket at this endpoint.
    Seen { endpoint: SocketAddr },
    /// Something that is not QUIC came from an endpoint that nobody has spoken of.
    Stranger { endpoint: SocketAddr },
}

/// One of the connections.
struct Leg {
    handle: quinn::ConnectionHandle,
    connection: quinn::Connection,
    lost: bool,
}

/// One endpoint.
pub(super) struct Machine {
    clock: Clock,
    stamp: Arc<Stamp>,
    endpoint: quinn::Endpoint,
    client: Option<quinn::ClientConfig>,
    legs: Vec<Leg>,
    chosen: Option<usize>,
    /// What the endpoint itself answers.
    answers: VecDeque<Transmit>,
    events: VecDeque<Event>,
    /// Where the chosen connection's peer was last known to be.
    remote: Option<SocketAddr>,
    /// Where it seems to be until it has answered a challenge there, and how many answers had come before.
    candidate: Option<(SocketAddr, u64)>,
    /// When a datagram of the chosen connection came last.
    heard_at: Time,
    pub(super) opening: Opening,
}

impl Machine {
    /// An endpoint that dials whoever has `certificate`.
    pub(super) fn client(certificate: &Certificate, config: Config, secrets: &Secrets) -> Result<Machine, Unusable> {
        let mut client = quinn::ClientConfig::new(Arc::new(crypto::client(certificate)?));
        client.transport_config(transport(config)).initial_dst_cid_provider(secrets.first_ids());
        let mut machine = Machine::new(secrets);
        machine.client = Some(client);
        Ok(machine)
    }

    /// An endpoint that is dialled.
    pub(super) fn server(identity: &Identity, config: Config, secrets: &Secrets) -> Result<Machine, Unusable> {
        let mut server = quinn::ServerConfig::new(Arc::new(crypto::server(identity)?), secrets.tokens());
        server.transport_config(transport(config));
        let mut machine = Machine::new(secrets);
        server.time_source(machine.stamp.clone());
        machine.endpoint.set_server_config(Some(Arc::new(server)));
        Ok(machine)
    }

    fn new(secrets: &Secrets) -> Machine {
        Machine {
            clock: Clock::new(),
            stamp: Arc::default(),
            endpoint: quinn::Endpoint::new(Arc::new(secrets.endpoint_config()), None, false, None),
            client: None,
            legs: Vec::new(),
            chosen: None,
            answers: VecDeque::new(),
            events: VecDeque::new(),
            remote: None,
            candidate: None,
            heard_at: Time::ZERO,
            opening: Opening::default(),
        }
    }

    /// Dials an endpoint, unless it is being dialled already or there are too many.
    pub(super) fn dial(&mut self, remote: SocketAddr, now: Time) -> Result<(), Unusable> {
        let dialled = |leg: &Leg| !leg.lost && leg.connection.remote_address() == remote;
        let Some(client) = self.client.clone().filter(|_| !self.legs.iter().any(dialled)) else { return Ok(()) };
        if self.legs.iter().filter(|leg| !leg.lost).count() >= MOST_LEGS {
            return Ok(());
        }
        let opened = self.endpoint.connect(self.clock.instant(now), client, remote, crypto::NAME);
        let (handle, connection) = opened.map_err(crypto::unusable)?;
        self.legs.push(Leg { handle, connection, lost: false });
        Ok(())
    }

    /// Goes on with one connection, and closes the others.
    pub(super) fn choose(&mut self, chosen: usize, now: Time) {
        let instant = self.clock.instant(now);
        for (index, leg) in self.legs.iter_mut().enumerate() {
            if index != chosen && !leg.lost {
                leg.connection.close(instant, 0_u32.into(), Vec::new().into());
                leg.lost = true;
            }
        }
        (self.chosen, self.candidate, self.heard_at) = (Some(chosen), None, now);
        self.remote = self.legs.get(chosen).map(|leg| leg.connection.remote_address());
    }

    /// Where the chosen connection's peer is.
    pub(super) fn remote(&self) -> Option<SocketAddr> {
        self.remote
    }

    /// When something of the chosen connection came last.
    pub(super) fn heard_at(&self) -> Time {
        self.heard_at
    }

    /// Queues a datagram for the peer of connection `leg`.
    pub(super) fn send_over(&mut self, leg: usize, payload: &[u8]) -> io::Result<()> {
        let Some(leg) = self.legs.get_mut(leg) else { return Err(io::ErrorKind::NotConnected.into()) };
        let sent = leg.connection.datagrams().send(payload.to_vec().into(), true);
        sent.map_err(|error| io::Error::new(io::ErrorKind::InvalidInput, error.to_string()))
    }

    /// Queues a datagram for the peer.
    pub(super) fn send(&mut self, payload: &[u8]) -> io::Result<()> {
        self.send_over(self.chosen.unwrap_or(usize::MAX), payload)
    }

    /// Asks for a sign of life over the chosen connection, by a fresh connection id: this side may have moved.
    pub(super) fn local_address_changed(&mut self) {
        if let Some(leg) = self.chosen.and_then(|chosen| self.legs.get_mut(chosen)) {
            leg.connection.local_address_changed();
        }
    }

    pub(super) fn close(&mut self, now: Time) {
        let instant = self.clock.instant(now);
        for leg in &mut self.legs {
            leg.connection.close(instant, 0_u32.into(), Vec::new().into());
        }
    }

    fn leg(&self, handle: quinn::ConnectionHandle) -> Option<usize> {
        self.legs.iter().position(|leg| leg.handle == handle)
    }

    /// Carries messages between the connections and their endpoint.
    fn settle(&mut self) {
        for leg in &mut self.legs {
            while let Some(event) = leg.connection.poll_endpoint_events() {
                if let Some(answer) = self.endpoint.handle_event(leg.handle, event) {
                    leg.connection.handle_event(answer);
                }
            }
        }
    }

    fn answer(&mut self, transmit: &quinn::Transmit, bytes: &[u8]) {
        let payload = bytes.get(..transmit.size).unwrap_or(bytes).to_vec();
        self.answers.push_back(Transmit { source: None, destination: transmit.destination, payload });
    }

    fn incoming(&mut self, incoming: quinn::Incoming, now: Time) {
        let mut bytes = Vec::new();
        if self.legs.len() >= MOST_LEGS {
            let refusal = self.endpoint.refuse(incoming, &mut bytes);
            return self.answer(&refusal, &bytes);
        }
        match self.endpoint.accept(incoming, self.clock.instant(now), &mut bytes, None) {
            Ok((handle, connection)) => self.legs.push(Leg { handle, connection, lost: false }),
            Err(error) => {
                if let Some(transmit) = error.response {
                    self.answer(&transmit, &bytes);
                }
            }
        }
    }

    /// Follows the chosen connection's peer: a new endpoint counts once it has answered a challenge from there.
    fn follow(&mut self) {
        let chosen = self.chosen.and_then(|chosen| self.legs.get(chosen));
        let (Some(leg), Some(known)) = (chosen, self.remote) else { return };
        let (remote, answers) = (leg.connection.remote_address(), leg.connection.stats().frame_rx.path_response);
        match self.candidate {
            _ if remote == known => self.candidate = None,
            Some((candidate, before)) if candidate == remote && answers > before => {
                (self.candidate, self.remote) = (None, Some(remote));
                self.events.push_back(Event::Moved { remote });
            }
            Some((candidate, _)) if candidate == remote => {}
            _ => self.candidate = Some((remote, answers)),
        }
    }

    /// What connection `index` has to tell.
    fn poll_leg(&mut self, index: usize) -> Option<Event> {
        loop {
            let leg = self.legs.get_mut(index).filter(|leg| !leg.lost)?;
            if let Some(datagram) = leg.connection.datagrams().recv() {
                return Some(Event::Datagram { leg: index, payload: datagram.to_vec() });
            }
            match leg.connection.poll()? {
                quinn::Event::Connected => {
                    return Some(Event::Connected { leg: index, remote: leg.connection.remote_address() });
                }
                quinn::Event::ConnectionLost { reason } => {
                    leg.lost = true;
                    let tried = self.client.is_some() && self.legs.iter().all(|leg| leg.lost);
                    if self.chosen == Some(index) || (self.chosen.is_none() && tried) {
                        let timed_out = matches!(reason, quinn::ConnectionError::TimedOut);
                        return Some(Event::Lost(Lost { timed_out, reason: reason.to_string() }));
                    }
                }
                _ => {}
            }
        }
    }
}

fn transport(config: Config) -> Arc<quinn::TransportConfig> {
    let mut transport = quinn::TransportConfig::default();
    transport
        .max_idle_timeout(quinn::IdleTimeout::try_from(config.idle_timeout).ok())
        .keep_alive_interval(config.keep_alive)
        .datagram_receive_buffer_size(Some(BUFFER_BYTES))
        .datagram_send_buffer_size(BUFFER_BYTES)
        .mtu_discovery_config(None);
    Arc::new(transport)
}

impl SansIo for Machine {
    type Event = Event;

    fn handle_datagram(&mut self, received: &Received, payload: &[u8], now: Time) {
        *self.stamp.0.lock().unwrap_or_else(PoisonError::into_inner) = now.since(Time::ZERO);
        if let Some(event) = self.opening.handle(received.source, payload) {
            self.events.extend(event.into_event());
            return;
        }
        let (instant, mut bytes) = (self.clock.instant(now), Vec::new());
        let local = Some(received.destination.ip());
        match self.endpoint.handle(instant, received.source, local, None, payload.into(), &mut bytes) {
            Some(quinn::DatagramEvent::ConnectionEvent(handle, event)) => {
                if let Some(index) = self.leg(handle) {
                    if self.chosen == Some(index) {
                        self.heard_at = now;
                    }
                    self.legs[index].connection.handle_event(event);
                }
            }
            Some(quinn::DatagramEvent::NewConnection(incoming)) => self.incoming(incoming, now),
            Some(quinn::DatagramEvent::Response(transmit)) => self.answer(&transmit, &bytes),
            None => {}
        }
        self.settle();
        self.follow();
    }

    fn poll_transmit(&mut self, now: Time) -> Option<Transmit> {
        if let Some(transmit) = self.answers.pop_front().or_else(|| self.opening.poll_transmit()) {
            return Some(transmit);
        }
        for leg in &mut self.legs {
            let mut payload = Vec::new();
            if let Some(transmit) = leg.connection.poll_transmit(self.clock.instant(now), 1, &mut payload) {
                payload.truncate(transmit.size);
                return Some(Transmit { source: None, destination: transmit.destination, payload });
            }
        }
        None
    }

    fn poll_event(&mut self, _now: Time) -> Option<Event> {
        self.settle();
        if let Some(event) = self.events.pop_front() {
            return Some(event);
        }
        (0..self.legs.len()).find_map(|index| self.poll_leg(index))
    }

    fn poll_timeout(&mut self) -> Option<Time> {
        let clock = self.clock;
        let legs = self.legs.iter_mut().filter_map(|leg| leg.connection.poll_timeout()).map(|due| clock.time(due));
        legs.chain(self.opening.poll_timeout()).min()
    }

    fn handle_timeout(&mut self, now: Time) {
        let instant = self.clock.instant(now);
        for leg in &mut self.legs {
            if leg.connection.poll_timeout().is_some_and(|due| due <= instant) {
                leg.connection.handle_timeout(instant);
            }
        }
        self.opening.handle_timeout(now);
        self.settle();
    }
}

/// A lock that a panic elsewhere cannot poison for good.
pub(super) fn locked<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

//! `quinn-proto` as a protocol that the driver runs: one endpoint with one connection.

use std::collections::VecDeque;
use std::fmt;
use std::io;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, SystemTime};

use natbox_host::Received;
use natbox_wire::Time;
use quinn_proto as quinn;
use rand_core::Rng;
use rand_pcg::Pcg64Mcg;
use ring::{hkdf, hmac};

use super::Config;
use super::crypto::{self, Certificate, Identity, Unusable};
use crate::sans_io::{Clock, SansIo, Transmit};

/// Datagrams that wait to be sent or read, in bytes.
const BUFFER_BYTES: usize = 256 * 1024;
/// The length of connection ids.
const ID_BYTES: usize = 8;

/// What a connection tells its user.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Event {
    /// The handshake is done.
    Connected {
        /// The peer's endpoint.
        remote: SocketAddr,
    },
    /// A datagram came.
    Datagram(Vec<u8>),
    /// The peer speaks from another endpoint now, and has answered a challenge there.
    Moved {
        /// The peer's new endpoint.
        remote: SocketAddr,
    },
    /// The connection is no more.
    Lost(Lost),
}

/// Why a connection is no more.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Lost {
    /// Whether it ended because nothing came for too long.
    pub timed_out: bool,
    /// Why, in words.
    pub reason: String,
}

impl fmt::Display for Lost {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "the QUIC connection is lost: {}", self.reason)
    }
}

/// All of an endpoint's chance that can be seeded.
pub(super) struct Secrets {
    endpoint: [u8; 32],
    reset: [u8; 32],
    tokens: [u8; 32],
    ids: [u8; 16],
    first_id: [u8; ID_BYTES],
}

impl Secrets {
    pub(super) fn draw(random: &mut impl Rng) -> Secrets {
        fn fill<const N: usize>(random: &mut impl Rng) -> [u8; N] {
            let mut bytes = [0; N];
            random.fill_bytes(&mut bytes);
            bytes
        }
        Secrets {
            endpoint: fill(random),
            reset: fill(random),
            tokens: fill(random),
            ids: fill(random),
            first_id: fill(random),
        }
    }
}

/// Connection ids from a seeded stream.
struct Ids(Pcg64Mcg);

impl quinn::ConnectionIdGenerator for Ids {
    fn generate_cid(&mut self) -> quinn::ConnectionId {
        let mut bytes = [0; ID_BYTES];
        self.0.fill_bytes(&mut bytes);
        quinn::ConnectionId::new(&bytes)
    }

    fn cid_len(&self) -> usize {
        ID_BYTES
    }

    fn cid_lifetime(&self) -> Option<Duration> {
        None
    }
}

/// The time of day that tokens are stamped with: the machine's own time, as if it began in 1970.
#[derive(Default)]
struct Stamp(Mutex<Duration>);

impl quinn::TimeSource for Stamp {
    fn now(&self) -> SystemTime {
        SystemTime::UNIX_EPOCH + *self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// One endpoint with one connection.
pub(super) struct Machine {
    clock: Clock,
    stamp: Arc<Stamp>,
    endpoint: quinn::Endpoint,
    connection: Option<(quinn::ConnectionHandle, quinn::Connection)>,
    /// What the endpoint itself answers.
    answers: VecDeque<Transmit>,
    events: VecDeque<Event>,
    /// Where the peer was last known to be.
    remote: Option<SocketAddr>,
    /// Where it seems to be until it has answered a challenge there, and how many answers had come before.
    candidate: Option<(SocketAddr, u64)>,
}

impl Machine {
    pub(super) fn client(
        remote: SocketAddr,
        certificate: &Certificate,
        config: Config,
        secrets: Secrets,
        now: Time,
    ) -> Result<Machine, Unusable> {
        let mut client = quinn::ClientConfig::new(Arc::new(crypto::client(certificate)?));
        let first = secrets.first_id;
        client
            .transport_config(transport(config))
            .initial_dst_cid_provider(Arc::new(move || quinn::ConnectionId::new(&first)));
        let mut machine = Machine::new(None, &secrets);
        let opened = machine.endpoint.connect(machine.clock.instant(now), client, remote, crypto::NAME);
        machine.connection = Some(opened.map_err(crypto::unusable)?);
        Ok(machine)
    }

    pub(super) fn server(identity: &Identity, config: Config, secrets: Secrets) -> Result<Machine, Unusable> {
        let tokens = hkdf::Salt::new(hkdf::HKDF_SHA256, &[]).extract(&secrets.tokens);
        let mut server = quinn::ServerConfig::new(Arc::new(crypto::server(identity)?), Arc::new(tokens));
        server.transport_config(transport(config));
        let mut machine = Machine::new(None, &secrets);
        server.time_source(machine.stamp.clone());
        machine.endpoint.set_server_config(Some(Arc::new(server)));
        Ok(machine)
    }

    fn new(server: Option<Arc<quinn::ServerConfig>>, secrets: &Secrets) -> Machine {
        let mut config = quinn::EndpointConfig::new(Arc::new(hmac::Key::new(hmac::HMAC_SHA256, &secrets.reset)));
        let ids = secrets.ids;
        config
            .rng_seed(Some(secrets.endpoint))
            .cid_generator(move || Box::new(Ids(Pcg64Mcg::new(u128::from_le_bytes(ids)))));
        Machine {
            clock: Clock::new(),
            stamp: Arc::default(),
            endpoint: quinn::Endpoint::new(Arc::new(config), server, false, None),
            connection: None,
            answers: VecDeque::new(),
            events: VecDeque::new(),
            remote: None,
            candidate: None,
        }
    }

    /// Queues a datagram for the peer.
    pub(super) fn send(&mut self, payload: &[u8]) -> io::Result<()> {
        let Some((_, connection)) = &mut self.connection else { return Err(io::ErrorKind::NotConnected.into()) };
        let sent = connection.datagrams().send(payload.to_vec().into(), true);
        sent.map_err(|error| io::Error::new(io::ErrorKind::InvalidInput, error.to_string()))
    }

    pub(super) fn local_address_changed(&mut self) {
        if let Some((_, connection)) = &mut self.connection {
            connection.local_address_changed();
        }
    }

    pub(super) fn close(&mut self, now: Time) {
        let now = self.clock.instant(now);
        if let Some((_, connection)) = &mut self.connection {
            connection.close(now, 0_u32.into(), Vec::new().into());
        }
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

    fn answer(&mut self, transmit: &quinn::Transmit, bytes: &[u8]) {
        let payload = bytes.get(..transmit.size).unwrap_or(bytes).to_vec();
        self.answers.push_back(Transmit { source: None, destination: transmit.destination, payload });
    }

    /// Takes the first connection that comes, and refuses all others.
    fn incoming(&mut self, incoming: quinn::Incoming, now: Time) {
        let mut bytes = Vec::new();
        if self.connection.is_some() {
            let refusal = self.endpoint.refuse(incoming, &mut bytes);
            return self.answer(&refusal, &bytes);
        }
        match self.endpoint.accept(incoming, self.clock.instant(now), &mut bytes, None) {
            Ok(accepted) => self.connection = Some(accepted),
            Err(error) => {
                if let Some(transmit) = error.response {
                    self.answer(&transmit, &bytes);
                }
            }
        }
    }

    /// Follows the peer: a new endpoint counts once it has answered a challenge from there.
    fn follow(&mut self) {
        let (Some((_, connection)), Some(known)) = (&self.connection, self.remote) else { return };
        let (remote, answers) = (connection.remote_address(), connection.stats().frame_rx.path_response);
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
}

fn transport(config: Config) -> Arc<quinn::TransportConfig> {
    let mut transport = quinn::TransportConfig::default();
    let idle = quinn::IdleTimeout::try_from(config.idle_timeout).ok();
    transport
        .max_idle_timeout(idle)
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
        let (instant, mut bytes) = (self.clock.instant(now), Vec::new());
        let local = Some(received.destination.ip());
        match self.endpoint.handle(instant, received.source, local, None, payload.into(), &mut bytes) {
            Some(quinn::DatagramEvent::ConnectionEvent(_, event)) => {
                if let Some((_, connection)) = &mut self.connection {
                    connection.handle_event(event);
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
        if let Some(answer) = self.answers.pop_front() {
            return Some(answer);
        }
        let mut payload = Vec::new();
        let (_, connection) = self.connection.as_mut()?;
        let transmit = connection.poll_transmit(self.clock.instant(now), 1, &mut payload)?;
        payload.truncate(transmit.size);
        Some(Transmit { source: None, destination: transmit.destination, payload })
    }

    fn poll_event(&mut self, _now: Time) -> Option<Event> {
        self.settle();
        if let Some(event) = self.events.pop_front() {
            return Some(event);
        }
        let (_, connection) = self.connection.as_mut()?;
        if let Some(datagram) = connection.datagrams().recv() {
            return Some(Event::Datagram(datagram.to_vec()));
        }
        loop {
            return Some(match connection.poll()? {
                quinn::Event::Connected => {
                    let remote = connection.remote_address();
                    self.remote = Some(remote);
                    Event::Connected { remote }
                }
                quinn::Event::ConnectionLost { reason } => Event::Lost(Lost {
                    timed_out: matches!(reason, quinn::ConnectionError::TimedOut),
                    reason: reason.to_string(),
                }),
                quinn::Event::DatagramReceived => match connection.datagrams().recv() {
                    Some(datagram) => Event::Datagram(datagram.to_vec()),
                    None => continue,
                },
                _ => continue,
            });
        }
    }

    fn poll_timeout(&mut self) -> Option<Time> {
        let (_, connection) = self.connection.as_mut()?;
        connection.poll_timeout().map(|due| self.clock.time(due))
    }

    fn handle_timeout(&mut self, now: Time) {
        let instant = self.clock.instant(now);
        if let Some((_, connection)) = &mut self.connection {
            connection.handle_timeout(instant);
        }
        self.settle();
    }
}

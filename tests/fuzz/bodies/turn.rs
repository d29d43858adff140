//! A TURN server without sockets, and a sequence of requests, indications, ChannelData, peers' datagrams and connections,
//! ICMP errors, sockets that open or do not, connections that end, and waits.

use std::collections::BTreeSet;
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use natbox::probes::stun::codec::{self, AttributeType, MessageClass, Method, TransactionId, Writer, attribute};
use natbox::probes::turn::Carrier;
use natbox::probes::turn::server::{ConnectionId, FiveTuple, Output, Quotas, Server, ServerConfig, handles};
use natbox::wire::{IcmpError, Time};
use rand_pcg::Pcg64Mcg;
use rand_pcg::rand_core::SeedableRng;

use super::input::Input;

const ALLOCATE: u16 = 0x003;
/// Among them Connect (0x00A) and ConnectionBind (0x00B) of RFC 6062.
const METHODS: [u16; 10] = [ALLOCATE, ALLOCATE, 0x004, 0x008, 0x009, 0x009, 0x001, 0x00C, 0x00A, 0x00B];
const SEND: u16 = 0x006;
const CHANNEL_NUMBER: AttributeType = AttributeType::new(0x000C);
const LIFETIME: AttributeType = AttributeType::new(0x000D);
const XOR_PEER_ADDRESS: AttributeType = AttributeType::new(0x0012);
const DATA: AttributeType = AttributeType::new(0x0013);
const REQUESTED_ADDRESS_FAMILY: AttributeType = AttributeType::new(0x0017);
const EVEN_PORT: AttributeType = AttributeType::new(0x0018);
const REQUESTED_TRANSPORT: AttributeType = AttributeType::new(0x0019);
const DONT_FRAGMENT: AttributeType = AttributeType::new(0x001A);
const CONNECTION_ID: AttributeType = AttributeType::new(0x002A);
const RESERVATION_TOKEN: AttributeType = AttributeType::new(0x0022);
const ADDITIONAL_ADDRESS_FAMILY: AttributeType = AttributeType::new(0x8000);

const QUOTAS: Quotas = Quotas {
    allocations: 3,
    allocations_per_user: 2,
    permissions: 3,
    channels: 3,
    peer_connections: 2,
    client_connections: 4,
};
const USERS: [(&str, &str); 2] = [("alice", "secret"), ("bob", "hidden")];
const LONGEST_DATAGRAM_BYTES: usize = 65_507;

/// Runs one input.
pub fn run(data: &[u8]) {
    let mut input = Input::new(data);
    let mut table = Table::new(&mut input);
    while !input.is_empty() {
        table.step(&mut input);
        table.drain(&mut input);
        table.look();
    }
    table.silence();
}

fn server_endpoint() -> SocketAddr {
    ([198, 51, 100, 1], 3478).into()
}

fn peer(which: u8) -> SocketAddr {
    let address: IpAddr = match which & 7 {
        0..=3 => [203, 0, 113, which & 3].into(),
        4 => [127, 0, 0, 1].into(),
        5 => [255, 255, 255, 255].into(),
        _ => [0x2001, 0xdb8, 0, 0, 0, 0, 0, u16::from(which & 1) + 1].into(),
    };
    SocketAddr::new(address, 7000 + u16::from(which >> 6))
}

struct Table {
    server: Server,
    now: Time,
    next_id: u128,
    nonce: String,
    /// The last token that was given out.
    token: Vec<u8>,
    last: Vec<u8>,
    /// Sockets that the server had opened, and those that it waits for.
    open: BTreeSet<SocketAddr>,
    opening: Vec<SocketAddr>,
    /// Connections with peers that are being made, and those that are there.
    connecting: BTreeSet<ConnectionId>,
    connected: BTreeSet<ConnectionId>,
}

impl Table {
    fn new(input: &mut Input<'_>) -> Table {
        let users = USERS.map(|(name, password)| (name.to_owned(), password.to_owned())).into();
        let mut config = ServerConfig::new(server_endpoint(), server_endpoint().ip(), users);
        let options = input.byte();
        config.relay_ports = 50_000..=50_000 + u16::from(options & 7);
        config.dont_fragment = options & 8 != 0;
        config.additional_relay_address = (options & 16 != 0).then(|| [0x2001, 0xdb8, 0, 0, 0, 0, 0, 99].into());
        config.max_lifetime = Duration::from_secs(if options & 32 != 0 { 700 } else { 3600 });
        config.quotas = QUOTAS;
        let server = match Server::new(config, Pcg64Mcg::seed_from_u64(options.into())) {
            Ok(server) => server,
            Err(error) => panic!("{error}"),
        };
        let (nonce, token, last, open, opening) = Default::default();
        let (connecting, connected) = Default::default();
        Table { server, now: Time::ZERO, next_id: 1, nonce, token, last, open, opening, connecting, connected }
    }

    fn step(&mut self, input: &mut Input<'_>) {
        let kind = input.byte();
        let client = SocketAddr::new([192, 0, 2, kind >> 6].into(), 5000 + u16::from(kind >> 5 & 1));
        let carrier = if kind & 16 == 0 { Carrier::Udp } else { Carrier::Tcp };
        let five_tuple = FiveTuple { client, server: server_endpoint(), carrier };
        match kind & 15 {
            0..=6 => self.last = self.request(input),
            7 => self.last = input.bytes().to_vec(),
            8 => self.last = self.indication(input),
            9 => {
                let payload = [&[0x40, input.byte() & 3], &input.short().to_be_bytes()[..], input.bytes()].concat();
                self.last = payload;
            }
            10 => {
                let (relay, which) = (self.relay(input), input.byte());
                let payload = if which & 8 != 0 { &[0; 65_500] } else { input.bytes() };
                let _ = self.server.receive_relayed(payload, peer(which), relay, self.now);
                return;
            }
            11 => {
                let (relay, which, kind) = (self.relay(input), input.byte(), input.byte());
                let error = IcmpError::from_type_and_code(peer(which).is_ipv6(), kind, input.byte(), 1280);
                let error = error.unwrap_or(IcmpError::PortUnreachable);
                let _ = self.server.receive_icmp(error, peer(which), relay, self.now);
                return;
            }
            12 => return self.wait(input),
            14 => return self.connection(input, five_tuple),
            13 => {
                let at = usize::from(input.byte()) % self.last.len().max(1);
                let change = input.byte();
                self.last.get_mut(at).into_iter().for_each(|byte| *byte ^= change);
            }
            _ => {}
        }
        let handled = handles(&self.last);
        let taken = self.server.receive(&self.last, five_tuple, self.now);
        assert!(handled || taken.is_err() || codec::parse(&self.last).is_some(), "what is not TURN is not taken");
    }

    /// What becomes of connections, of peers and of clients.
    fn connection(&mut self, input: &mut Input<'_>, five_tuple: FiveTuple) {
        let what = input.byte();
        match what & 3 {
            0 => {
                let relay = self.relay(input);
                if let Ok(connection) = self.server.accepted(peer(input.byte()), relay, self.now) {
                    assert!(self.open.contains(&relay), "nobody listens on {relay}");
                    assert!(self.connected.insert(connection), "{connection:?} is another's name");
                }
            }
            1 => {
                let Some(connection) = self.connecting.pop_first() else { return };
                if what & 4 != 0 {
                    self.connected.insert(connection);
                }
                self.server.connected(connection, what & 4 != 0, self.now);
            }
            2 => {
                if let Some(connection) = self.connected.pop_first() {
                    self.server.hung_up(connection);
                }
            }
            _ => {
                self.server.disconnected(five_tuple);
                assert!(!self.server.holds(five_tuple), "an allocation ends with its connection");
            }
        }
    }

    fn id(&mut self) -> TransactionId {
        self.next_id += 1;
        TransactionId::from(self.next_id)
    }

    /// A request of any method, mostly with good credentials.
    fn request(&mut self, input: &mut Input<'_>) -> Vec<u8> {
        let (method, options, id) = (input.pick(&METHODS), input.byte(), self.id());
        let mut writer = Writer::request(Method::new(method), id);
        if method == ALLOCATE && options & 1 == 0 {
            writer = writer.raw(REQUESTED_TRANSPORT, &[if options & 0x80 == 0 { 17 } else { 6 }, 0, 0, 0]);
        }
        for _ in 0..options >> 1 & 3 {
            writer = self.attribute(writer, input);
        }
        let (name, password) = USERS[usize::from(options >> 3 & 1)];
        let nonce = if options & 0x70 == 0x10 { "stale" } else { &self.nonce };
        writer = writer.text(attribute::USERNAME, name).text(attribute::REALM, "natbox").text(attribute::NONCE, nonce);
        if options & 0x70 != 0x20 {
            writer = writer.integrity(&codec::long_term_key(name, "natbox", password));
        }
        if options & 0x80 != 0 { writer.fingerprint().finish() } else { writer.finish() }
    }

    fn attribute(&self, writer: Writer, input: &mut Input<'_>) -> Writer {
        let (kind, value) = (input.byte(), input.byte());
        match kind & 15 {
            0 | 1 => writer.raw(CHANNEL_NUMBER, &[0x3F + (value >> 6), value & 3, 0, 0]),
            2 => writer.raw(LIFETIME, &(u32::from(value) * 20).to_be_bytes()),
            3..=6 => writer.xor_address(XOR_PEER_ADDRESS, peer(value)),
            7 => writer.raw(REQUESTED_ADDRESS_FAMILY, &[value & 3, 0, 0, 0]),
            8 => writer.raw(EVEN_PORT, &[value & 0x80]),
            9 => writer.raw(REQUESTED_TRANSPORT, &[value, 0, 0, 0]),
            10 => writer.raw(DONT_FRAGMENT, &[]),
            11 => writer.raw(RESERVATION_TOKEN, &self.token),
            12 => writer.raw(ADDITIONAL_ADDRESS_FAMILY, &[value & 3, 0, 0, 0]),
            13 => writer.raw(DATA, input.bytes()),
            14 => {
                let known = self.connected.iter().nth(usize::from(value & 1));
                writer.raw(CONNECTION_ID, &known.map_or(u32::from(value), |connection| connection.0).to_be_bytes())
            }
            _ => {
                let (kind, value) = (AttributeType::new(input.short()), input.bytes());
                let closing = [attribute::MESSAGE_INTEGRITY, attribute::FINGERPRINT].contains(&kind);
                writer.raw(if closing { DATA } else { kind }, &value[..value.len().min(800)])
            }
        }
    }

    fn indication(&mut self, input: &mut Input<'_>) -> Vec<u8> {
        let (id, which) = (self.id(), input.byte());
        let mut writer = Writer::new(MessageClass::Indication, Method::new(SEND), id);
        writer = writer.xor_address(XOR_PEER_ADDRESS, peer(which));
        if which & 8 == 0 {
            writer = writer.raw(DATA, input.bytes());
        }
        if which & 16 != 0 { self.attribute(writer, input).finish() } else { writer.finish() }
    }

    /// A relayed address that is lent, or one that is not.
    fn relay(&self, input: &mut Input<'_>) -> SocketAddr {
        let open = self.open.iter().nth(usize::from(input.byte() & 3));
        open.copied().unwrap_or(SocketAddr::new(server_endpoint().ip(), 50_000))
    }

    /// Does what the server wants done; sockets open at once, later, or not at all.
    fn drain(&mut self, input: &mut Input<'_>) {
        while let Some(output) = self.server.poll_output() {
            match output {
                Output::Open { relay } | Output::Listen { relay } => {
                    assert!(!self.open.contains(&relay), "{relay} is open already");
                    self.opening.push(relay);
                }
                Output::Close { relay } => assert!(self.open.remove(&relay), "{relay} is not open"),
                Output::Relay { relay, payload, .. } => {
                    assert!(self.open.contains(&relay) && payload.len() <= LONGEST_DATAGRAM_BYTES);
                }
                Output::Connect { connection, relay, .. } => {
                    assert!(self.open.contains(&relay) && self.connecting.insert(connection));
                }
                Output::Splice { connection, .. } => {
                    assert!(self.connected.contains(&connection), "{connection:?} is not there");
                }
                Output::HangUp { connection } => {
                    let known = self.connecting.remove(&connection) | self.connected.remove(&connection);
                    assert!(known, "{connection:?} has ended already");
                }
                Output::Reply { five_tuple, payload } => {
                    assert_eq!(five_tuple.server, server_endpoint());
                    assert!(payload.len() <= LONGEST_DATAGRAM_BYTES);
                    self.learn(&payload);
                }
            }
            if self.opening.len() > 1 || (!self.opening.is_empty() && input.byte() & 3 != 3) {
                let relay = self.opening.remove(0);
                self.open_one(relay, input.byte() & 7 != 7);
            }
        }
    }

    /// As a host does it: a port that is taken cannot be bound again.
    fn open_one(&mut self, relay: SocketAddr, may_open: bool) {
        let is_open = may_open && self.open.insert(relay);
        self.server.opened(relay, is_open, self.now);
    }

    /// Takes from a reply what a client takes.
    fn learn(&mut self, payload: &[u8]) {
        if payload.first().is_none_or(|first| *first >= 64) {
            return assert!(payload.len() >= 4 && (64..80).contains(&payload[0]), "ChannelData: {payload:02x?}");
        }
        let Some(message) = codec::parse(payload) else { panic!("{payload:02x?} is no message") };
        if let Some(nonce) = codec::nonce(&message) {
            self.nonce = nonce;
        }
        if let Some(token) = message.raw_attribute(RESERVATION_TOKEN) {
            self.token = token.value.to_vec();
        }
    }

    fn wait(&mut self, input: &mut Input<'_>) {
        let (kind, next) = (input.byte(), self.server.next_deadline());
        self.now = match kind & 3 {
            0 => next.unwrap_or(self.now).max(self.now),
            1 => next.map_or(self.now, |next| Time::from_nanos(next.as_nanos().saturating_sub(1))).max(self.now),
            _ => self.now + Duration::from_secs(u64::from(input.byte()) * 10),
        };
        let counts = self.counts();
        self.server.handle_timeout(self.now);
        let after = self.counts();
        if next.is_none_or(|next| next > self.now) {
            assert_eq!((after, self.server.next_deadline()), (counts, next), "silence before the deadline");
        } else {
            assert_ne!(after, counts, "something ends at a deadline");
        }
    }

    /// Allocations, reservations, connections with peers.
    fn counts(&self) -> (usize, usize, usize) {
        let server = &self.server;
        (server.allocation_count(), server.reservation_count(), server.connection_count())
    }

    fn look(&self) {
        let counts = self.counts();
        assert!(counts.0 <= QUOTAS.allocations && counts.1 <= 256, "{counts:?}");
        assert!(
            counts.2 <= QUOTAS.peer_connections * counts.0,
            "every connection belongs to an allocation: {counts:?}"
        );
        assert_eq!(counts.2, self.connecting.len() + self.connected.len());
        assert_eq!(self.server.next_deadline().is_none(), (counts.0, counts.1) == (0, 0));
        assert!(self.open.len() <= 2 * QUOTAS.allocations, "every socket belongs to an allocation: {:?}", self.open);
    }

    /// In the end nothing is lent, and every socket has been closed.
    fn silence(mut self) {
        self.now = self.now + Duration::from_secs(100_000);
        self.server.handle_timeout(self.now);
        self.drain(&mut Input::new(&[]));
        for relay in std::mem::take(&mut self.opening) {
            self.open_one(relay, true);
        }
        self.drain(&mut Input::new(&[]));
        assert_eq!(self.counts(), (0, 0, 0));
        assert!(self.open.is_empty(), "sockets that nobody closes: {:?}", self.open);
    }
}

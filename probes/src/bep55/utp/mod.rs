//! uTP (BEP 29), as far as hole punching and small messages need it: bytes in order over one UDP socket, which all
//! connections share.
//!
//! ```text
//! type, version (4 bits each), extension (1 byte), connection id (2), timestamp in us (4), its difference (4),
//! window in bytes (4), sequence number (2), acknowledgement number (2), payload
//! ```
//!
//! Sends again what is not acknowledged after one second, then two, four and eight. What comes out of order is dropped, and
//! so comes again. Leaves out selective acknowledgements and LEDBAT, uTP's congestion control: these connections carry a
//! few messages. (The crates that there are bring an async runtime's sockets and clock with them.)

mod packet;

use std::collections::{BTreeMap, VecDeque};
use std::io;
use std::net::SocketAddr;
use std::time::Duration;

use natbox_host::{Host, UdpSocket};
use natbox_wire::Time;
use rand_core::Rng;

use crate::wait::receive;
use packet::packet;
pub(super) use packet::{Kind, Packet};

/// The longest datagram.
const DATAGRAM_BYTES: usize = 1400;
/// The longest payload of a packet.
const PAYLOAD_BYTES: usize = 1200;
/// What the other end may have under way.
const WINDOW_BYTES: u32 = 65_536;
/// The most packets that wait for their acknowledgement.
const MOST_UNACKNOWLEDGED: usize = 64;
/// The most bytes that wait to be read.
const MOST_UNREAD_BYTES: usize = 65_536;
/// The most connections of a socket.
const MOST_CONNECTIONS: usize = 1024;
/// When a packet is sent again first; every further wait is twice the one before.
const FIRST_WAIT: Duration = Duration::from_secs(1);
/// How often a packet is sent.
const SENDINGS: u32 = 5;

/// Which connection of a socket.
pub(super) type Key = u32;

#[derive(Debug)]
struct Connection {
    remote: SocketAddr,
    receive_id: u16,
    send_id: u16,
    /// Of the next packet that is sent.
    sequence: u16,
    /// Of the last that came.
    acknowledgement: u16,
    open: bool,
    difference_us: u32,
    unacknowledged: VecDeque<Packet>,
    sent: u32,
    again_at: Time,
    inbox: Vec<u8>,
}

/// What has happened.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Event {
    /// A connection is up.
    Open(Key),
    /// Bytes have come.
    Bytes(Key),
    /// A connection has ended, or never came about.
    Closed(Key),
    /// Nothing until then.
    Deadline,
}

/// A UDP socket with its connections.
pub(super) struct Socket<H: Host> {
    host: H,
    socket: H::Udp,
    random: H::Random,
    connections: BTreeMap<Key, Connection>,
    next: Key,
    events: VecDeque<Event>,
}

impl<H: Host> Socket<H> {
    pub(super) fn new(host: &H, socket: H::Udp) -> Socket<H> {
        let (connections, events) = Default::default();
        Socket { host: host.clone(), socket, random: host.random(), connections, next: 0, events }
    }

    pub(super) fn local_addr(&self) -> SocketAddr {
        self.socket.local_addr()
    }

    pub(super) fn remote(&self, key: Key) -> Option<SocketAddr> {
        self.connections.get(&key).map(|connection| connection.remote)
    }

    /// Begins a connection: its SYN goes at once.
    pub(super) async fn connect(&mut self, remote: SocketAddr) -> Key {
        let receive_id = self.random.next_u32() as u16;
        let key = self.insert(remote, receive_id, receive_id.wrapping_add(1), 1, 0);
        self.push(key, Kind::Syn, Vec::new()).await;
        key
    }

    fn insert(
        &mut self,
        remote: SocketAddr,
        receive_id: u16,
        send_id: u16,
        sequence: u16,
        acknowledgement: u16,
    ) -> Key {
        let key = self.next;
        self.next = self.next.wrapping_add(1);
        let connection = Connection {
            remote,
            receive_id,
            send_id,
            sequence,
            acknowledgement,
            open: false,
            difference_us: 0,
            unacknowledged: VecDeque::new(),
            sent: 0,
            again_at: Time::MAX,
            inbox: Vec::new(),
        };
        self.connections.insert(key, connection);
        key
    }

    /// Sends bytes. `NotConnected` if the connection has ended, `WouldBlock` if too much waits already.
    pub(super) async fn write(&mut self, key: Key, bytes: &[u8]) -> io::Result<()> {
        let connection = self.connections.get(&key).ok_or(io::ErrorKind::NotConnected)?;
        let packets = bytes.len().div_ceil(PAYLOAD_BYTES);
        if connection.unacknowledged.len() + packets > MOST_UNACKNOWLEDGED {
            return Err(io::ErrorKind::WouldBlock.into());
        }
        for payload in bytes.chunks(PAYLOAD_BYTES) {
            self.push(key, Kind::Data, payload.to_vec()).await;
        }
        Ok(())
    }

    /// What has come and was not read.
    pub(super) fn inbox(&mut self, key: Key) -> Option<&mut Vec<u8>> {
        self.connections.get_mut(&key).map(|connection| &mut connection.inbox)
    }

    /// Ends a connection without a word.
    pub(super) fn forget(&mut self, key: Key) {
        self.connections.remove(&key);
    }

    /// Waits for something to happen, until `deadline` at most. May be dropped and called again without a loss.
    pub(super) async fn next(&mut self, deadline: Time) -> Event {
        loop {
            if let Some(event) = self.events.pop_front() {
                return event;
            }
            self.again().await;
            if !self.events.is_empty() {
                continue;
            }
            let due = self.connections.values().map(|connection| connection.again_at).min().unwrap_or(Time::MAX);
            let mut buffer = [0; DATAGRAM_BYTES];
            match receive(&self.host, &self.socket, &mut buffer, due.min(deadline)).await {
                Ok(Some(received)) => {
                    let packet = Packet::from_bytes(&buffer[..received.length.min(DATAGRAM_BYTES)]);
                    if let Some(packet) = packet {
                        self.take(packet, received.source).await;
                    }
                }
                // An error is about one remote, which will be silent.
                Err(_) => self.host.sleep(Duration::from_millis(10)).await,
                Ok(None) if self.host.now() >= deadline => return Event::Deadline,
                Ok(None) => {}
            }
        }
    }

    /// Sends again what is due; what was sent too often ends its connection.
    async fn again(&mut self) {
        let now = self.host.now();
        let due = |(key, connection): (&Key, &Connection)| (connection.again_at <= now).then_some(*key);
        let keys: Vec<Key> = self.connections.iter().filter_map(due).collect();
        for key in keys {
            let Some(connection) = self.connections.get_mut(&key) else { continue };
            if connection.sent >= SENDINGS {
                self.connections.remove(&key);
                self.events.push_back(Event::Closed(key));
                continue;
            }
            connection.again_at = now + FIRST_WAIT * (1 << connection.sent);
            connection.sent += 1;
            let packets: Vec<Packet> = connection.unacknowledged.iter().cloned().collect();
            for packet in packets {
                self.send(key, packet).await;
            }
        }
    }

    /// Sends a packet that will be acknowledged.
    async fn push(&mut self, key: Key, kind: Kind, payload: Vec<u8>) {
        let now = self.host.now();
        let Some(connection) = self.connections.get_mut(&key) else { return };
        let id = if kind == Kind::Syn { connection.receive_id } else { connection.send_id };
        let packet = packet(kind, id, connection.sequence, payload);
        connection.sequence = connection.sequence.wrapping_add(1);
        if connection.unacknowledged.is_empty() {
            (connection.sent, connection.again_at) = (1, now + FIRST_WAIT);
        }
        connection.unacknowledged.push_back(packet.clone());
        self.send(key, packet).await;
    }

    async fn send(&mut self, key: Key, packet: Packet) {
        let Some(connection) = self.connections.get(&key) else { return };
        let filled = Packet {
            timestamp_us: micros(self.host.now()),
            difference_us: connection.difference_us,
            acknowledgement: connection.acknowledgement,
            ..packet
        };
        // What cannot be sent now is sent again.
        let _ = self.socket.send_to(&filled.to_bytes(), connection.remote).await;
    }

    async fn acknowledge(&mut self, key: Key) {
        if let Some(connection) = self.connections.get(&key) {
            let state = packet(Kind::State, connection.send_id, connection.sequence, Vec::new());
            self.send(key, state).await;
        }
    }

    async fn take(&mut self, packet: Packet, source: SocketAddr) {
        if packet.kind == Kind::Syn {
            return self.accept(packet, source).await;
        }
        let is_it = |connection: &Connection| connection.remote == source && connection.receive_id == packet.connection;
        let found = self.connections.iter().find(|(_, connection)| is_it(connection)).map(|(key, _)| *key);
        let Some(key) = found else { return };
        let now = self.host.now();
        let Some(connection) = self.connections.get_mut(&key) else { return };
        if matches!(packet.kind, Kind::Reset | Kind::Fin) {
            self.connections.remove(&key);
            return self.events.push_back(Event::Closed(key));
        }
        connection.difference_us = micros(now).wrapping_sub(packet.timestamp_us);
        let before = connection.unacknowledged.len();
        let heard = |sent: &Packet| packet.acknowledgement.wrapping_sub(sent.sequence) < 0x8000;
        while connection.unacknowledged.front().is_some_and(heard) {
            connection.unacknowledged.pop_front();
        }
        if connection.unacknowledged.len() < before {
            let all = connection.unacknowledged.is_empty();
            (connection.sent, connection.again_at) = (1, if all { Time::MAX } else { now + FIRST_WAIT });
        }
        if !connection.open && connection.unacknowledged.len() < before {
            connection.open = true;
            // A STATE that answers a SYN has the number before that of the first data.
            connection.acknowledgement = packet.sequence.wrapping_sub(u16::from(packet.kind == Kind::Data));
            self.events.push_back(Event::Open(key));
        }
        if packet.kind == Kind::Data {
            self.deliver(key, packet).await;
        }
    }

    async fn deliver(&mut self, key: Key, packet: Packet) {
        let Some(connection) = self.connections.get_mut(&key) else { return };
        let next = packet.sequence == connection.acknowledgement.wrapping_add(1);
        if next && connection.inbox.len() + packet.payload.len() <= MOST_UNREAD_BYTES {
            connection.acknowledgement = packet.sequence;
            connection.inbox.extend(packet.payload);
            self.events.push_back(Event::Bytes(key));
        }
        self.acknowledge(key).await;
    }

    async fn accept(&mut self, syn: Packet, source: SocketAddr) {
        let receive_id = syn.connection.wrapping_add(1);
        let is_it = |connection: &Connection| connection.remote == source && connection.receive_id == receive_id;
        let known = self.connections.iter().find(|(_, connection)| is_it(connection)).map(|(key, _)| *key);
        let key = match known {
            // The STATE was lost, unless talk has begun.
            Some(key) => {
                if let Some(connection) = self.connections.get_mut(&key)
                    && connection.acknowledgement != syn.sequence
                {
                    return;
                }
                key
            }
            None if self.connections.len() >= MOST_CONNECTIONS => return,
            None => {
                let sequence = self.random.next_u32() as u16;
                let key = self.insert(source, receive_id, syn.connection, sequence, syn.sequence);
                if let Some(connection) = self.connections.get_mut(&key) {
                    connection.open = true;
                    connection.difference_us = micros(self.host.now()).wrapping_sub(syn.timestamp_us);
                    connection.sequence = sequence.wrapping_add(1);
                }
                self.events.push_back(Event::Open(key));
                key
            }
        };
        if let Some(connection) = self.connections.get(&key) {
            let sequence = match connection.unacknowledged.front() {
                Some(first) => first.sequence.wrapping_sub(1),
                None => connection.sequence.wrapping_sub(1),
            };
            let state = packet(Kind::State, connection.send_id, sequence, Vec::new());
            self.send(key, state).await;
        }
    }
}

/// A timestamp: the lower 32 bits of the microseconds.
fn micros(time: Time) -> u32 {
    (time.as_nanos() / 1000) as u32
}

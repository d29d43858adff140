//! TCP of one host: connections found by hash, listeners with their queues, timers.
//!
//! The state machine is smoltcp's, one socket a connection ([`connection`]); which segment is whose, who may use
//! which port, what ends a connection and which error that is stand here, as Linux has them. Sends nothing itself:
//! segments are collected for the stack.
//!
//! Left out: two listeners on one endpoint (`SO_REUSEPORT` balancing), urgent data, keep-alives, SYN cookies,
//! out-of-window ICMP errors (every quoted segment of a connection counts). TIME-WAIT lasts smoltcp's ten seconds.

mod calls;
mod connection;
mod ports;
mod sequence;

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::hash::BuildHasher;
use std::net::{IpAddr, SocketAddr};
use std::task::Waker;
use std::time::Duration;

use foldhash::fast::FixedState;
use hashbrown::HashTable;
use natbox_wire::{Packet, TcpFlags, Time};
use slab::Slab;

use super::errno::Errno;
use connection::{Connection, Path, Phase};
use ports::{Claim, Ports};
use sequence::Initial;

/// Connections that may wait at a listener, half-open ones included: what Rust's standard library asks of Linux.
const BACKLOG: usize = 128;
/// How long a SYN is answered by nothing: Linux's six `tcp_syn_retries`.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(127);
/// How long a SYN|ACK is: Linux's five `tcp_synack_retries`.
const ACCEPT_TIMEOUT: Duration = Duration::from_secs(63);
/// How long data is: Linux's fifteen `tcp_retries2`.
const DATA_TIMEOUT: Duration = Duration::from_millis(924_600);
/// How long nobody's connection waits for the other side's FIN: Linux's `tcp_fin_timeout`.
const ORPHAN_TIMEOUT: Duration = Duration::from_secs(60);

/// What a call leads to: segments to send through an uplink, tasks to wake.
#[derive(Debug)]
pub(super) struct Effects {
    pub(super) now: Time,
    pub(super) segments: Vec<(usize, Packet)>,
    pub(super) wakes: Vec<Waker>,
}

/// The TCP of a host.
#[derive(Debug, Default)]
pub(crate) struct Tcp {
    connections: Slab<Entry>,
    by_tuple: HashTable<u32>,
    listeners: Slab<Listener>,
    by_endpoint: BTreeMap<(IpAddr, u16), u32>,
    ports: Ports,
    initial: Initial,
    deadlines: BTreeSet<(Time, u32)>,
}

/// A connection in its tables.
#[derive(Debug)]
struct Entry {
    connection: Box<Connection>,
    /// The port that it holds; none once it is over.
    claim: Option<Claim>,
    /// When its handshake must be done.
    opening_until: Time,
}

#[derive(Debug)]
struct Listener {
    claim: Claim,
    ttl: u8,
    /// Connections whose handshake is under way.
    opening: usize,
    /// Connections to be accepted, oldest first.
    queue: VecDeque<u32>,
    acceptors: Vec<Waker>,
}

/// What came of a SYN at a listener.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Opening {
    Opened,
    QueueFull,
}

impl Tcp {
    /// When [`Tcp::handle_timeout`] is due.
    pub(crate) fn poll_timeout(&self) -> Option<Time> {
        self.deadlines.first().map(|(deadline, _)| *deadline)
    }

    pub(super) fn handle_timeout(&mut self, effects: &mut Effects) {
        while let Some(&(deadline, key)) = self.deadlines.first() {
            if deadline > effects.now {
                return;
            }
            let due = self.connection(key).and_then(|connection| connection.give_up_at);
            if due.is_some_and(|due| due <= effects.now) {
                self.give_up(key, effects);
            } else {
                self.run(key, None, effects);
            }
        }
    }

    /// Nothing was heard for too long. Linux sends no RST then.
    fn give_up(&mut self, key: u32, effects: &mut Effects) {
        let blame = self.connection(key).and_then(|connection| connection.soft_error);
        self.fail(key, blame.unwrap_or(Errno::TIMEDOUT), effects);
    }

    /// Ends a connection for its host, without a word to the other side.
    fn fail(&mut self, key: u32, error: Errno, effects: &mut Effects) {
        let Some(connection) = self.connection(key) else { return };
        connection.abort();
        // The RST that this would send is not sent.
        let _unsent = connection.run(None, effects.now);
        connection.error = Some(error);
        self.after(key, effects);
    }

    fn connection(&mut self, key: u32) -> Option<&mut Connection> {
        self.connections.get_mut(key as usize).map(|entry| entry.connection.as_mut())
    }

    /// The connection between two endpoints.
    pub(super) fn find(&self, local: SocketAddr, remote: SocketAddr) -> Option<u32> {
        let is_it = |&key: &u32| {
            let path = self.connections.get(key as usize).map(|entry| &entry.connection.path);
            path.is_some_and(|path| path.local == local && path.remote == remote)
        };
        self.by_tuple.find(hash(local, remote), is_it).copied()
    }

    /// The listener for a SYN to `local`.
    fn listener_for(&self, local: SocketAddr) -> Option<u32> {
        let at = |address| self.by_endpoint.get(&(address, local.port())).copied();
        at(local.ip()).or_else(|| at(ports::unspecified(local)))
    }

    /// The connection that a segment is for. One that only lingers gives way to a SYN for a listener (RFC 9293
    /// section 3.6.1).
    pub(super) fn find_for(&mut self, local: SocketAddr, remote: SocketAddr, flags: TcpFlags) -> Option<u32> {
        let key = self.find(local, remote)?;
        let opens = flags.syn && !flags.ack && !flags.rst && self.listener_for(local).is_some();
        let lingers = self.connection(key).is_some_and(|connection| connection.phase() == Phase::Lingering);
        if opens && lingers {
            self.retire(key);
            return None;
        }
        Some(key)
    }

    /// Gives a connection a segment, or the time.
    pub(super) fn run(&mut self, key: u32, inbound: Option<Packet>, effects: &mut Effects) {
        let Some(connection) = self.connection(key) else { return };
        let (before, reset_error) = (connection.phase(), connection.reset_error());
        let heard = inbound.is_some();
        let reset = inbound.as_ref().is_some_and(is_reset);
        let segments = connection.run(inbound, effects.now);
        let uplink = connection.path.uplink;
        effects.segments.extend(segments.into_iter().map(|packet| (uplink, packet)));
        if heard {
            connection.give_up_at = None;
            connection.soft_error = None;
        }
        if reset && before != Phase::Over && connection.phase() == Phase::Over && !connection.orphaned {
            connection.error = Some(reset_error);
        }
        self.after(key, effects);
    }

    /// Draws the consequences of what a connection has become.
    fn after(&mut self, key: u32, effects: &mut Effects) {
        let Some(connection) = self.connection(key) else { return };
        // Data for nobody is refused (RFC 9293 section 3.10.4, as Linux does).
        if connection.orphaned && connection.has_unread() && connection.phase() != Phase::Over {
            connection.abort();
            let uplink = connection.path.uplink;
            let segments = connection.run(None, effects.now);
            effects.segments.extend(segments.into_iter().map(|packet| (uplink, packet)));
        }
        let phase = connection.phase();
        if !connection.connected && !matches!(phase, Phase::Opening | Phase::Over) {
            connection.connected = true;
            connection.give_up_at = None;
            self.hand_to_listener(key, effects);
        }
        if phase == Phase::Over {
            return self.ended(key, effects);
        }
        self.schedule(key, effects.now);
        if let Some(connection) = self.connection(key) {
            connection.take_ready(&mut effects.wakes);
        }
    }

    /// A child's handshake is done: it can be accepted.
    fn hand_to_listener(&mut self, key: u32, effects: &mut Effects) {
        let parent = self.connection(key).and_then(|connection| connection.parent);
        let Some(listener) = parent.and_then(|parent| self.listeners.get_mut(parent as usize)) else { return };
        listener.opening = listener.opening.saturating_sub(1);
        listener.queue.push_back(key);
        effects.wakes.append(&mut listener.acceptors);
    }

    /// A connection is over: its tuple and port are free. It stays until its stream is dropped or, never accepted,
    /// goes at once.
    fn ended(&mut self, key: u32, effects: &mut Effects) {
        self.release(key);
        let Some(connection) = self.connection(key) else { return };
        connection.take_ready(&mut effects.wakes);
        let stillborn = connection.parent.filter(|_| !connection.connected);
        if let Some(listener) = stillborn.and_then(|parent| self.listeners.get_mut(parent as usize)) {
            listener.opening = listener.opening.saturating_sub(1);
        }
        let orphaned = self.connection(key).is_some_and(|connection| connection.orphaned);
        if orphaned || stillborn.is_some() {
            self.connections.try_remove(key as usize);
        }
    }

    /// Takes a connection out of all tables but the one by key.
    fn release(&mut self, key: u32) {
        let Some(entry) = self.connections.get_mut(key as usize) else { return };
        if let Some(deadline) = entry.connection.deadline.take() {
            self.deadlines.remove(&(deadline, key));
        }
        let Some(claim) = entry.claim.take() else { return };
        let path = entry.connection.path;
        self.ports.release(claim);
        if let Ok(found) = self.by_tuple.find_entry(hash(path.local, path.remote), |&other| other == key) {
            found.remove();
        }
    }

    /// Removes a connection wholly.
    fn retire(&mut self, key: u32) {
        self.release(key);
        self.connections.try_remove(key as usize);
    }

    /// Sets a connection's next deadline.
    fn schedule(&mut self, key: u32, now: Time) {
        let Some(entry) = self.connections.get_mut(key as usize) else { return };
        let connection = entry.connection.as_mut();
        let due = match connection.phase() {
            Phase::Opening => Some(entry.opening_until),
            Phase::Open if connection.awaits_acknowledgement() => Some(now + DATA_TIMEOUT),
            Phase::HalfClosed if connection.orphaned => Some(now + ORPHAN_TIMEOUT),
            _ => None,
        };
        // Counted from the last sign of life: `run` forgets it whenever something is heard.
        connection.give_up_at = due.map(|due| connection.give_up_at.unwrap_or(due));
        let deadline = connection.poll_timeout(now).into_iter().chain(connection.give_up_at).min();
        if connection.deadline != deadline {
            if let Some(old) = connection.deadline {
                self.deadlines.remove(&(old, key));
            }
            self.deadlines.extend(deadline.map(|deadline| (deadline, key)));
            connection.deadline = deadline;
        }
    }

    fn insert(&mut self, connection: Connection, claim: Claim, opening_until: Time) -> u32 {
        let path = connection.path;
        let entry = Entry { connection: Box::new(connection), claim: Some(claim), opening_until };
        self.ports.take(claim);
        let key = self.connections.insert(entry) as u32;
        let connections = &self.connections;
        let rehash = |&key: &u32| {
            let path = connections.get(key as usize).map(|entry| entry.connection.path);
            path.map_or(0, |path| hash(path.local, path.remote))
        };
        self.by_tuple.insert_unique(hash(path.local, path.remote), key, rehash);
        key
    }

    /// A SYN came for a listener.
    fn open(&mut self, listener: u32, path: Path, syn: Packet, seed: u64, effects: &mut Effects) -> Opening {
        let Some(parent) = self.listeners.get_mut(listener as usize) else { return Opening::QueueFull };
        if parent.opening + parent.queue.len() >= BACKLOG {
            return Opening::QueueFull;
        }
        let path = Path { ttl: parent.ttl, ..path };
        let Some(mut child) = Connection::accept(path, seed, effects.now) else { return Opening::QueueFull };
        parent.opening += 1;
        child.parent = Some(listener);
        let claim = Claim { local: path.local, share: parent.claim.share };
        let key = self.insert(child, claim, effects.now + ACCEPT_TIMEOUT);
        self.run(key, Some(syn), effects);
        Opening::Opened
    }

    /// An ICMP error about a segment of this connection. Before it is established every error ends it, as in Linux's
    /// `tcp_v4_err` and `tcp_v6_err`; afterwards errors only say what a timeout was due to.
    pub(super) fn report(&mut self, key: u32, error: Errno, effects: &mut Effects) {
        let Some(connection) = self.connection(key) else { return };
        if connection.phase() != Phase::Opening {
            connection.soft_error = Some(error);
        } else if connection.parent.is_none() {
            self.fail(key, error, effects);
        }
    }

    /// The path to `destination` takes no more than this.
    pub(super) fn lower_mtu(&mut self, destination: IpAddr, mtu_bytes: usize, now: Time) {
        for (key, entry) in &mut self.connections {
            if entry.connection.path.remote.ip() == destination && entry.connection.path.mtu_bytes > mtu_bytes {
                entry.connection.set_mtu(mtu_bytes, key as u64, now);
            }
        }
    }
}

fn is_reset(packet: &Packet) -> bool {
    matches!(packet.transport(), natbox_wire::Transport::Tcp { flags, .. } if flags.rst)
}

/// A fixed seed: the same tables in every run.
fn hash(local: SocketAddr, remote: SocketAddr) -> u64 {
    FixedState::with_seed(0).hash_one((bits(local), bits(remote)))
}

fn bits(endpoint: SocketAddr) -> (u128, u16) {
    match endpoint.ip() {
        IpAddr::V4(address) => (u128::from(address.to_bits()), endpoint.port()),
        IpAddr::V6(address) => (address.to_bits(), endpoint.port()),
    }
}

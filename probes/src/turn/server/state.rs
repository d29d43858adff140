//! The server's state machine: datagrams, ICMP errors, opened sockets and the time go in; datagrams and orders for
//! sockets come out.
//!
//! Eight things may be told to it ([`receive`](Server::receive), [`receive_relayed`](Server::receive_relayed),
//! [`receive_icmp`](Server::receive_icmp), [`opened`](Server::opened), [`handle_timeout`](Server::handle_timeout), and of
//! connections with peers [`connected`](Server::connected), [`accepted`](Server::accepted),
//! [`hung_up`](Server::hung_up)), and that a client's connection has ended ([`disconnected`](Server::disconnected));
//! after each, drain [`poll_output`](Server::poll_output) and ask [`next_deadline`](Server::next_deadline) anew.
//! Knows no sockets, no clock and no chance but the stream it was given.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::fmt;
use std::net::SocketAddr;

use natbox_wire::Time;
use rand_core::Rng;
use stun_types::message::TransactionId;

use super::allocation::Allocation;
use super::auth::Gate;
use super::tcp::{ConnectionId, PeerConnections};
use super::{InvalidConfig, ServerConfig};
use crate::turn::Carrier;

/// What tells one client's allocation from another's.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct FiveTuple {
    /// The client's transport address, as the server sees it.
    pub client: SocketAddr,
    /// The server's transport address that the client talks to.
    pub server: SocketAddr,
    /// What carries the messages between the two.
    pub carrier: Carrier,
}

/// What the server wants done.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Output {
    /// Send `payload` to the client: from the listening socket, or over its connection.
    Reply {
        /// From where to where.
        five_tuple: FiveTuple,
        /// The datagram.
        payload: Vec<u8>,
    },
    /// Send `payload` from the relayed address to the peer.
    Relay {
        /// The relayed transport address.
        relay: SocketAddr,
        /// The peer.
        peer: SocketAddr,
        /// The datagram.
        payload: Vec<u8>,
        /// Whether to forbid fragmentation.
        dont_fragment: bool,
    },
    /// Open a UDP socket on the relayed address and tell [`Server::opened`] how it went.
    Open {
        /// The relayed transport address.
        relay: SocketAddr,
    },
    /// Listen over TCP on the relayed address and tell [`Server::opened`] how it went; then tell
    /// [`Server::accepted`] of every peer that connects.
    Listen {
        /// The relayed transport address.
        relay: SocketAddr,
    },
    /// Close the socket on the relayed address.
    Close {
        /// The relayed transport address.
        relay: SocketAddr,
    },
    /// Connect to the peer from the relayed address and tell [`Server::connected`] how it went.
    Connect {
        /// What the connection is called.
        connection: ConnectionId,
        /// The relayed transport address.
        relay: SocketAddr,
        /// The peer.
        peer: SocketAddr,
    },
    /// Carry bytes both ways between the client's connection, after what it has been sent, and the peer's; tell
    /// [`Server::hung_up`] when either has ended.
    Splice {
        /// What the peer's connection is called.
        connection: ConnectionId,
        /// The client's connection.
        five_tuple: FiveTuple,
    },
    /// Close the connection with a peer, and the client's that is bound to it; or give up making it.
    HangUp {
        /// What it is called.
        connection: ConnectionId,
    },
}

/// Why something that came to the server had no consequence.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Discard {
    /// Neither STUN nor ChannelData by its first byte.
    NotTurn,
    /// A STUN message or ChannelData that does not parse.
    Malformed,
    /// A STUN method or class that a server does not answer.
    UnknownMethod,
    /// An indication with an attribute that must be understood and is not.
    UnknownAttribute,
    /// An indication without XOR-PEER-ADDRESS or DATA.
    MissingAttribute,
    /// The 5-tuple, or the relayed address, has no allocation.
    NoAllocation,
    /// No permission is installed for the peer's address.
    NoPermission,
    /// The channel number is not bound.
    NoChannel,
    /// The allocation has no relayed address of the peer's family.
    WrongFamily,
    /// Wrapped for the client, the payload is longer than a datagram may be.
    TooLong,
    /// Peers of a TCP allocation get no datagrams.
    TcpAllocation,
    /// The allocation has all the connections with peers that it may have.
    TooMany,
    /// The ICMP error is not of a type that is passed on to clients.
    IcmpType,
    /// An Allocate request is repeated, or data is to be relayed, while the sockets are being opened; the answer is
    /// under way.
    InProgress,
}

impl fmt::Display for Discard {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Discard::NotTurn => "neither STUN nor ChannelData",
            Discard::Malformed => "malformed",
            Discard::UnknownMethod => "not a request or indication that a TURN server knows",
            Discard::UnknownAttribute => "an indication with an unknown comprehension-required attribute",
            Discard::MissingAttribute => "an indication without XOR-PEER-ADDRESS or DATA",
            Discard::NoAllocation => "no allocation",
            Discard::NoPermission => "no permission for the peer",
            Discard::NoChannel => "the channel is not bound",
            Discard::WrongFamily => "no relayed address of the peer's family",
            Discard::TooLong => "too long for one datagram",
            Discard::TcpAllocation => "a datagram for a peer of a TCP allocation",
            Discard::TooMany => "too many connections with peers",
            Discard::IcmpType => "not an ICMP error that is passed on",
            Discard::InProgress => "repeated, or data, while the allocation is being made",
        })
    }
}

/// A port held by RESERVATION-TOKEN.
pub(super) struct Reservation {
    pub(super) relay: SocketAddr,
    pub(super) username: String,
    pub(super) expires: Time,
}

/// What ends at a deadline.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Ending {
    Allocation(FiveTuple),
    Reservation(u64),
    Connection(ConnectionId),
}

/// A TURN server without sockets.
///
/// Memory is bounded by [`Quotas`](super::Quotas); nonces take none.
pub struct Server {
    pub(super) config: ServerConfig,
    pub(super) gate: Gate,
    pub(super) random: Box<dyn Rng>,
    pub(super) allocations: BTreeMap<FiveTuple, Allocation>,
    /// Every relayed address in use, and whose it is.
    pub(super) relays: BTreeMap<SocketAddr, FiveTuple>,
    pub(super) reservations: BTreeMap<u64, Reservation>,
    pub(super) connections: PeerConnections,
    pub(super) endings: BTreeSet<(Time, Ending)>,
    outputs: VecDeque<Output>,
}

impl Server {
    /// A server that draws its ports, nonces and transaction ids from `random`.
    pub fn new(config: ServerConfig, mut random: impl Rng + 'static) -> Result<Server, InvalidConfig> {
        config.check()?;
        let gate = Gate::new(&config, &mut random);
        Ok(Server {
            config,
            gate,
            random: Box::new(random),
            allocations: BTreeMap::new(),
            relays: BTreeMap::new(),
            reservations: BTreeMap::new(),
            connections: PeerConnections::new(),
            endings: BTreeSet::new(),
            outputs: VecDeque::new(),
        })
    }

    /// The next thing to do, in the order of the causes.
    pub fn poll_output(&mut self) -> Option<Output> {
        self.outputs.pop_front()
    }

    /// When [`handle_timeout`](Server::handle_timeout) is due: before it, nothing ends.
    pub fn next_deadline(&self) -> Option<Time> {
        self.endings.first().map(|(at, _)| *at)
    }

    /// Ends the allocations and reservations whose time has come.
    pub fn handle_timeout(&mut self, now: Time) {
        while let Some((at, ending)) = self.endings.first().copied().filter(|(at, _)| *at <= now) {
            self.endings.remove(&(at, ending));
            match ending {
                Ending::Allocation(five_tuple) => self.end_allocation(five_tuple),
                Ending::Reservation(token) => {
                    self.reservations.remove(&token);
                }
                Ending::Connection(connection) => self.end_connection(connection),
            }
        }
    }

    /// Whether this client has an allocation.
    pub fn holds(&self, five_tuple: FiveTuple) -> bool {
        self.allocations.contains_key(&five_tuple)
    }

    /// Takes the news that a client's connection has ended: its allocation ends with it.
    pub fn disconnected(&mut self, five_tuple: FiveTuple) {
        self.end_allocation(five_tuple);
    }

    /// How many allocations there are, those being made included.
    pub fn allocation_count(&self) -> usize {
        self.allocations.len()
    }

    /// How many ports are held by RESERVATION-TOKEN.
    pub fn reservation_count(&self) -> usize {
        self.reservations.len()
    }

    /// The relayed addresses lent to this client.
    pub fn relayed_addresses(&self, five_tuple: FiveTuple) -> Vec<SocketAddr> {
        let relays = self.allocations.get(&five_tuple).map(|allocation| &allocation.relays);
        relays.into_iter().flatten().map(|relay| relay.address).collect()
    }

    pub(super) fn push(&mut self, output: Output) {
        self.outputs.push_back(output);
    }

    pub(super) fn transaction(&mut self) -> TransactionId {
        TransactionId::from(u128::from(self.random.next_u64()) << 64 | u128::from(self.random.next_u64()))
    }

    /// Sets the end of an allocation.
    pub(super) fn set_expiry(&mut self, five_tuple: FiveTuple, expires: Time) {
        if let Some(allocation) = self.allocations.get_mut(&five_tuple) {
            self.endings.remove(&(allocation.expires, Ending::Allocation(five_tuple)));
            allocation.expires = expires;
            self.endings.insert((expires, Ending::Allocation(five_tuple)));
        }
    }

    /// Ends an allocation: its sockets close, its ports are free.
    pub(super) fn end_allocation(&mut self, five_tuple: FiveTuple) {
        let Some(allocation) = self.allocations.remove(&five_tuple) else { return };
        self.endings.remove(&(allocation.expires, Ending::Allocation(five_tuple)));
        for relay in allocation.relays {
            self.close_relay(relay.address, relay.is_open);
        }
        self.end_connections_of(five_tuple);
    }

    /// Gives a relayed address back; a socket still being opened is closed when it reports.
    pub(super) fn close_relay(&mut self, relay: SocketAddr, is_open: bool) {
        self.relays.remove(&relay);
        if is_open {
            self.push(Output::Close { relay });
        }
    }

    pub(super) fn hold(&mut self, reservation: Reservation) -> u64 {
        let token = self.random.next_u64();
        self.endings.insert((reservation.expires, Ending::Reservation(token)));
        self.reservations.insert(token, reservation);
        token
    }

    pub(super) fn release(&mut self, token: u64) -> Option<Reservation> {
        let reservation = self.reservations.remove(&token)?;
        self.endings.remove(&(reservation.expires, Ending::Reservation(token)));
        Some(reservation)
    }
}

//! TCP allocations (RFC 6062): Connect, ConnectionBind, and the connections that peers make to a relayed address.
//!
//! ```text
//!  client --- Connect ---> Server::receive -----------> Output::Connect --> SYN to the peer
//!  client <-- CONNECTION-ID -- Server::connected <----------------------- established
//!  client <-- ConnectionAttempt -- Server::accepted <-------------------- the peer's SYN
//!  another connection of the client --- ConnectionBind ---> Output::Splice: bytes, both ways
//! ```
//!
//! A Connect request needs no permission, as the RFC wants it; what peers open does. On a TCP allocation, ChannelBind is
//! forbidden (403) and Send indications are discarded; on any other, Connect is forbidden, as coturn has it.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::time::Duration;

use natbox_wire::Time;
use stun_types::attribute::AttributeStaticType;
use stun_types::message::{MessageClass, TransactionId};
use turn_types::attribute::{
    ConnectionId as ConnectionIdAttribute, DontFragment, EvenPort, ReservationToken, XorPeerAddress,
};
use turn_types::message::{CONNECT, CONNECTION_ATTEMPT};

use super::allocation::{Code, Stage};
use super::auth::User;
use super::requests::{Refusal, Request, expect_known, expect_peer, success};
use super::state::{Discard, Ending, FiveTuple, Output, Server};
use crate::path::Transport;
use crate::turn::Carrier;
use crate::turn::message::Writer;

/// How long a peer may take to accept a connection (RFC 6062 section 5.2: at least 30 seconds), and a client to bind one
/// that is there (sections 5.2 and 5.3).
pub(super) const PATIENCE: Duration = Duration::from_secs(30);

/// What a connection with a peer is called between server and client (CONNECTION-ID).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ConnectionId(pub u32);

/// A connection with a peer, or the attempt at one.
pub(super) struct PeerConnection {
    owner: FiveTuple,
    peer: SocketAddr,
    stage: Progress,
}

/// How far it has come.
enum Progress {
    /// The server connects; the request waits for its answer.
    Connecting { transaction: TransactionId, fingerprint: bool, until: Time },
    /// It is there, and nobody has bound it.
    Pending { until: Time },
    /// A connection of the client is bound to it.
    Bound,
}

/// All connections with peers, by their numbers.
pub(super) type PeerConnections = BTreeMap<ConnectionId, PeerConnection>;

/// The checks of RFC 6062 section 5.1 for an Allocate request that asks for TCP.
pub(super) fn expect_tcp_allowed(request: &Request<'_>) -> Result<(), Code> {
    let excluded = [DontFragment::TYPE, EvenPort::TYPE, ReservationToken::TYPE];
    let over_udp = request.five_tuple.carrier == Carrier::Udp;
    if over_udp || excluded.iter().any(|kind| request.message.has_attribute(*kind)) { Err(400) } else { Ok(()) }
}

impl Server {
    /// Connect (RFC 6062 section 5.2): the answer follows when the peer has accepted, or has not.
    pub(super) fn connect(&mut self, request: &Request<'_>, user: &User) -> Result<(), Refusal> {
        expect_known(request, &[XorPeerAddress::TYPE])?;
        let (five_tuple, most) = (request.five_tuple, self.config.quotas.peer_connections);
        let allocation = self.owned(five_tuple, user)?;
        if allocation.transport != Transport::Tcp {
            return Err(403.into());
        }
        if matches!(allocation.stage, Stage::Opening(_)) {
            return Err(437.into());
        }
        let peer = request.message.attribute::<XorPeerAddress>().map_err(|_| 400u16)?;
        let peer = peer.addr(request.message.transaction_id());
        expect_peer(allocation, peer.ip())?;
        if peer.port() == 0 {
            return Err(400.into());
        }
        let relay = allocation.relay_for(peer.ip()).ok_or(443u16)?;
        let mut owned = self.connections.values().filter(|connection| connection.owner == five_tuple);
        if owned.clone().any(|connection| connection.peer == peer) {
            return Err(446.into());
        }
        if owned.by_ref().count() >= most {
            return Err(508.into());
        }
        let (transaction, fingerprint) = (request.message.transaction_id(), request.has_fingerprint());
        let stage = Progress::Connecting { transaction, fingerprint, until: request.now + PATIENCE };
        let connection = self.add_connection(five_tuple, peer, stage, request.now + PATIENCE);
        self.push(Output::Connect { connection, relay, peer });
        Ok(())
    }

    /// Takes the news that a peer has accepted the connection that [`Output::Connect`] asked for, or has not.
    pub fn connected(&mut self, connection: ConnectionId, is_open: bool, now: Time) {
        self.handle_timeout(now);
        let Some(known) = self.connections.get_mut(&connection) else { return };
        let Progress::Connecting { transaction, fingerprint, until } = known.stage else { return };
        let five_tuple = known.owner;
        self.endings.remove(&(until, Ending::Connection(connection)));
        let writer = if is_open {
            known.stage = Progress::Pending { until: now + PATIENCE };
            self.endings.insert((now + PATIENCE, Ending::Connection(connection)));
            let writer = Writer::new(MessageClass::Success, CONNECT, transaction);
            writer.with(&ConnectionIdAttribute::new(connection.0))
        } else {
            self.connections.remove(&connection);
            Writer::new(MessageClass::Error, CONNECT, transaction).with_error(447)
        };
        self.answer_connect(five_tuple, writer, fingerprint);
    }

    fn answer_connect(&mut self, five_tuple: FiveTuple, writer: Writer, fingerprint: bool) {
        let Some(allocation) = self.allocations.get(&five_tuple) else { return };
        let payload = writer.with_software().finish(self.gate.key(&allocation.username), fingerprint);
        self.push(Output::Reply { five_tuple, payload });
    }

    /// Takes the news that a peer has connected to a relayed address (RFC 6062 section 5.3).
    ///
    /// # Errors
    /// Why the connection is to be closed at once.
    pub fn accepted(&mut self, peer: SocketAddr, relay: SocketAddr, now: Time) -> Result<ConnectionId, Discard> {
        self.handle_timeout(now);
        let five_tuple = *self.relays.get(&relay).ok_or(Discard::NoAllocation)?;
        let allocation = self.allocations.get(&five_tuple).ok_or(Discard::NoAllocation)?;
        if !allocation.permits(peer.ip(), now) {
            return Err(Discard::NoPermission);
        }
        let owned = self.connections.values().filter(|connection| connection.owner == five_tuple);
        if owned.count() >= self.config.quotas.peer_connections {
            return Err(Discard::TooMany);
        }
        let until = now + PATIENCE;
        let connection = self.add_connection(five_tuple, peer, Progress::Pending { until }, until);
        let transaction = self.transaction();
        let writer = Writer::new(MessageClass::Indication, CONNECTION_ATTEMPT, transaction);
        let writer = writer.with(&XorPeerAddress::new(peer, transaction));
        let payload = writer.with(&ConnectionIdAttribute::new(connection.0)).finish(None, false);
        self.push(Output::Reply { five_tuple, payload });
        Ok(connection)
    }

    /// ConnectionBind (RFC 6062 section 5.4), over a connection that has no allocation. Answers what is bound to it.
    pub(super) fn bind_connection(
        &mut self,
        request: &Request<'_>,
        user: &User,
    ) -> Result<(Writer, ConnectionId), Refusal> {
        expect_known(request, &[ConnectionIdAttribute::TYPE])?;
        if request.five_tuple.carrier == Carrier::Udp || self.holds(request.five_tuple) {
            return Err(400.into());
        }
        let named = request.message.attribute::<ConnectionIdAttribute>().map_err(|_| 400u16)?;
        let connection = ConnectionId(named.id());
        let known = self.connections.get_mut(&connection).ok_or(400u16)?;
        let Progress::Pending { until } = known.stage else { return Err(400.into()) };
        let owner = self.allocations.get(&known.owner).ok_or(400u16)?;
        if owner.username != user.name {
            return Err(441.into());
        }
        known.stage = Progress::Bound;
        self.endings.remove(&(until, Ending::Connection(connection)));
        Ok((success(request), connection))
    }

    /// Takes the news that a connection with a peer, or the client's that was bound to it, has ended.
    pub fn hung_up(&mut self, connection: ConnectionId) {
        if let Some(known) = self.connections.remove(&connection)
            && let Some(until) = known.stage.ends()
        {
            self.endings.remove(&(until, Ending::Connection(connection)));
        }
    }

    /// How many connections with peers there are, those being made included.
    pub fn connection_count(&self) -> usize {
        self.connections.len()
    }

    /// Nobody has bound it, or the peer has not accepted it, in time.
    pub(super) fn end_connection(&mut self, connection: ConnectionId) {
        let Some(known) = self.connections.remove(&connection) else { return };
        if let Progress::Connecting { transaction, fingerprint, .. } = known.stage {
            let writer = Writer::new(MessageClass::Error, CONNECT, transaction).with_error(447);
            self.answer_connect(known.owner, writer, fingerprint);
        }
        self.push(Output::HangUp { connection });
    }

    /// Ends the connections of an allocation that has ended.
    pub(super) fn end_connections_of(&mut self, owner: FiveTuple) {
        let ended: Vec<ConnectionId> =
            self.connections.iter().filter(|(_, known)| known.owner == owner).map(|(id, _)| *id).collect();
        for connection in ended {
            self.hung_up(connection);
            self.push(Output::HangUp { connection });
        }
    }

    fn add_connection(&mut self, owner: FiveTuple, peer: SocketAddr, stage: Progress, until: Time) -> ConnectionId {
        let mut connection = ConnectionId(self.random.next_u32());
        while self.connections.contains_key(&connection) {
            connection = ConnectionId(connection.0.wrapping_add(1));
        }
        self.connections.insert(connection, PeerConnection { owner, peer, stage });
        self.endings.insert((until, Ending::Connection(connection)));
        connection
    }
}

impl Progress {
    /// When it ends by itself.
    fn ends(&self) -> Option<Time> {
        match self {
            Progress::Connecting { until, .. } | Progress::Pending { until } => Some(*until),
            Progress::Bound => None,
        }
    }
}

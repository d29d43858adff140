//! TCP allocations, one test per row of RFC 6062 section 5; and what a client's connection means for its allocation.

use turn_types::attribute::{ConnectionId as ConnectionIdAttribute, DontFragment, EvenPort};
use turn_types::message::{CONNECT, CONNECTION_ATTEMPT, CONNECTION_BIND};

use super::*;
use crate::turn::Carrier;
use crate::turn::server::{ConnectionId, Quotas};

const DATA: &str = "192.0.2.1:5001";

/// A client over TCP.
fn over_tcp() -> Table {
    with(config())
}

fn with(config: ServerConfig) -> Table {
    Table { carrier: Carrier::Tcp, ..Table::with(config) }
}

impl Table {
    #[track_caller]
    fn allocate_tcp(&mut self, attributes: &[&dyn AttributeWrite]) -> Answer {
        let tcp = RequestedTransport::new(RequestedTransport::TCP);
        let mut all: Vec<&dyn AttributeWrite> = vec![&tcp];
        all.extend(attributes);
        self.ask(ALLOCATE, &all)
    }

    /// Sends a Connect request; what the server wants done.
    fn connect(&mut self, peer: &str) -> Vec<Output> {
        let id = self.id();
        let request = self.request_as(id, CONNECT, &[&XorPeerAddress::new(addr(peer), id)]);
        self.send(&request).unwrap();
        std::mem::take(&mut self.outputs)
    }

    /// Tells the server how a connection went; its answer to the client.
    #[track_caller]
    fn connected(&mut self, connection: ConnectionId, is_open: bool) -> Answer {
        self.outputs.clear();
        self.server.connected(connection, is_open, self.now);
        self.drain();
        match self.outputs.as_slice() {
            [Output::Reply { five_tuple, payload }] if *five_tuple == self.five_tuple() => Answer(payload.clone()),
            other => panic!("expected one answer, got {other:?}"),
        }
    }

    /// A connection to a peer that has accepted it.
    #[track_caller]
    fn established(&mut self, peer: &str) -> ConnectionId {
        let connection = begun(&self.connect(peer));
        assert_eq!(number(&self.connected(connection, true).expect_success()), connection);
        connection
    }

    /// A peer connects to the relayed address; what the client is told stands in `outputs`.
    fn accepted(&mut self, peer: &str, relay: SocketAddr) -> Result<ConnectionId, Discard> {
        self.outputs.clear();
        let accepted = self.server.accepted(addr(peer), relay, self.now);
        self.drain();
        accepted
    }

    /// Sends a ConnectionBind request over a connection of its own, from `client`; the answer, and what follows it.
    #[track_caller]
    fn bind_over(&mut self, client: &str, connection: ConnectionId) -> (Answer, Vec<Output>) {
        let control = std::mem::replace(&mut self.client, addr(client));
        let request = self.request(CONNECTION_BIND, &[&ConnectionIdAttribute::new(connection.0)]);
        let answer = self.exchange(&request);
        self.client = control;
        let rest = self.outputs.iter().filter(|output| !matches!(output, Output::Reply { .. })).cloned().collect();
        (answer, rest)
    }
}

#[track_caller]
fn begun(outputs: &[Output]) -> ConnectionId {
    match outputs {
        [Output::Connect { connection, .. }] => *connection,
        other => panic!("expected a connection to be made, got {other:?}"),
    }
}

fn number(answer: &Answer) -> ConnectionId {
    ConnectionId(answer.message().attribute::<ConnectionIdAttribute>().unwrap().id())
}

#[test]
fn rfc6062_5_1_a_tcp_allocation_is_listened_for_and_wants_a_stream_and_none_of_three_attributes() {
    let mut table = over_tcp();
    for attribute in [&EvenPort::new(false) as &dyn AttributeWrite, &DontFragment::new(), &ReservationToken::new(1)] {
        assert_eq!(table.allocate_tcp(&[attribute]).code(), Some(400));
    }
    let answer = table.allocate_tcp(&[]).expect_success();
    assert!(table.outputs.contains(&Output::Listen { relay: answer.relayed() }), "{:?}", table.outputs);
    assert_eq!((answer.token(), answer.lifetime()), (None, 600));
    let mut over_udp = Table::new();
    assert_eq!(over_udp.allocate_tcp(&[]).code(), Some(400));
}

#[test]
fn rfc6062_5_2_connect_is_answered_with_a_number_when_the_peer_has_accepted() {
    let mut table = over_tcp();
    let relay = table.allocate_tcp(&[]).expect_success().relayed();
    let outputs = table.connect(PEER);
    let connection = begun(&outputs);
    assert_eq!(outputs, [Output::Connect { connection, relay, peer: addr(PEER) }], "no permission is needed");
    assert_eq!(number(&table.connected(connection, true).expect_success()), connection);
    assert_eq!(table.server.connection_count(), 1);
}

#[test]
fn rfc6062_5_2_connect_fails_by_the_tables_codes() {
    let mut table = over_tcp();
    let refused = |table: &mut Table, peer: &str| {
        let outputs = table.connect(peer);
        let [Output::Reply { payload, .. }] = outputs.as_slice() else { panic!("{outputs:?}") };
        Answer(payload.clone()).code()
    };
    assert_eq!(refused(&mut table, PEER), Some(437), "no allocation");
    table.allocate_tcp(&[]).expect_success();
    let bare = table.request(CONNECT, &[]);
    assert_eq!(table.exchange(&bare).code(), Some(400));
    assert_eq!(refused(&mut table, "127.0.0.1:80"), Some(403));
    assert_eq!(refused(&mut table, "203.0.113.9:0"), Some(400));
    assert_eq!(refused(&mut table, "[2001:db8::1]:80"), Some(443));
    let connection = begun(&table.connect(PEER));
    assert_eq!(refused(&mut table, PEER), Some(446), "being made");
    assert_eq!(table.connected(connection, false).code(), Some(447));
    let connection = table.established(PEER);
    assert_eq!(refused(&mut table, PEER), Some(446), "pending");
    table.bind_over(DATA, connection).0.expect_success();
    assert_eq!(refused(&mut table, PEER), Some(446), "bound");
    table.server.hung_up(connection);
    table.established(PEER);

    let mut udp = over_tcp();
    udp.allocated();
    assert_eq!(refused(&mut udp, PEER), Some(403), "an allocation for UDP");
}

#[test]
fn rfc6062_5_2_a_peer_that_has_not_accepted_after_30_seconds_is_given_up() {
    let mut table = over_tcp();
    table.allocate_tcp(&[]).expect_success();
    let connection = begun(&table.connect(PEER));
    table.outputs.clear();
    table.wait(seconds(30) - Duration::from_nanos(1));
    assert_eq!(table.outputs, []);
    assert_eq!(table.server.next_deadline(), Some(table.now + Duration::from_nanos(1)));
    table.wait(Duration::from_nanos(1));
    let [Output::Reply { payload, .. }, Output::HangUp { connection: ended }] = table.outputs.as_slice() else {
        panic!("{:?}", table.outputs)
    };
    assert_eq!((Answer(payload.clone()).code(), *ended), (Some(447), connection));
    table.outputs.clear();
    table.server.connected(connection, true, table.now);
    table.drain();
    assert_eq!(table.outputs, [], "too late");
}

#[test]
fn rfc6062_5_3_a_peer_with_a_permission_is_announced_and_another_is_not() {
    let mut table = over_tcp();
    let relay = table.allocate_tcp(&[]).expect_success().relayed();
    assert_eq!(table.accepted(PEER, relay), Err(Discard::NoPermission));
    table.permit(&[addr(PEER)]).expect_success();
    let connection = table.accepted(PEER, relay).unwrap();
    let [Output::Reply { payload, .. }] = table.outputs.as_slice() else { panic!("{:?}", table.outputs) };
    let told = Answer(payload.clone());
    let message = told.message();
    assert!(message.has_class(MessageClass::Indication) && message.has_method(CONNECTION_ATTEMPT));
    assert_eq!(number(&told), connection);
    let peer = message.attribute::<XorPeerAddress>().unwrap().addr(message.transaction_id());
    assert_eq!(peer, addr(PEER));
    assert_eq!(table.accepted(PEER, addr("198.51.100.1:1")), Err(Discard::NoAllocation));
    table.wait(seconds(300));
    assert_eq!(table.accepted(PEER, relay), Err(Discard::NoPermission), "it has lapsed");
}

#[test]
fn rfc6062_5_2_and_5_3_what_nobody_binds_within_30_seconds_is_closed() {
    let mut table = over_tcp();
    let relay = table.allocate_tcp(&[]).expect_success().relayed();
    table.permit(&[addr(PEER)]).expect_success();
    let opened = table.established("203.0.113.9:1");
    let accepted = table.accepted(PEER, relay).unwrap();
    let bound = table.established("203.0.113.9:2");
    table.bind_over(DATA, bound).0.expect_success();
    table.outputs.clear();
    table.wait(seconds(30));
    let mut ended = table.outputs.clone();
    ended.sort_by_key(|output| format!("{output:?}"));
    let mut expected = [opened, accepted].map(|connection| Output::HangUp { connection });
    expected.sort_by_key(|output| format!("{output:?}"));
    assert_eq!(ended, expected);
    assert_eq!(table.bind_over("192.0.2.1:5002", opened).0.code(), Some(400));
    assert_eq!(table.server.connection_count(), 1);
}

#[test]
fn rfc6062_5_4_connection_bind_wants_a_pending_connection_its_user_and_a_stream_of_its_own() {
    let mut table = over_tcp();
    table.allocate_tcp(&[]).expect_success();
    let connection = table.established(PEER);
    assert_eq!(table.bind_over(DATA, ConnectionId(connection.0 ^ 1)).0.code(), Some(400), "no such connection");
    let bare = table.request(CONNECTION_BIND, &[]);
    table.client = addr(DATA);
    assert_eq!(table.exchange(&bare).code(), Some(400), "no CONNECTION-ID");
    table.client = addr(CLIENT);
    assert_eq!(table.bind_over(CLIENT, connection).0.code(), Some(400), "over the control connection");
    table.user = ("bob", "hidden");
    assert_eq!(table.bind_over(DATA, connection).0.code(), Some(441));
    table.user = ("alice", "secret");
    table.carrier = Carrier::Udp;
    assert_eq!(table.bind_over(DATA, connection).0.code(), Some(400), "over UDP");
    table.carrier = Carrier::Tcp;
    let (answer, rest) = table.bind_over(DATA, connection);
    answer.expect_success();
    let five_tuple = FiveTuple { client: addr(DATA), ..table.five_tuple() };
    assert_eq!(rest, [Output::Splice { connection, five_tuple }]);
    assert_eq!(table.bind_over("192.0.2.1:5002", connection).0.code(), Some(400), "bound already");
}

#[test]
fn datagrams_and_channels_are_not_for_tcp_allocations() {
    let mut table = over_tcp();
    table.allocate_tcp(&[]).expect_success();
    table.permit(&[addr(PEER)]).expect_success();
    assert_eq!(table.indicate(b"data", addr(PEER)), Err(Discard::TcpAllocation));
    assert_eq!(table.bind(0x4000, addr(PEER)).code(), Some(403));
}

#[test]
fn connections_with_peers_are_bounded() {
    let quotas = Quotas { peer_connections: 2, ..Quotas::default() };
    let mut table = with(ServerConfig { quotas, ..config() });
    let relay = table.allocate_tcp(&[]).expect_success().relayed();
    table.permit(&[addr(PEER)]).expect_success();
    table.established(PEER);
    table.accepted("203.0.113.9:1", relay).unwrap();
    assert_eq!(table.accepted("203.0.113.9:2", relay), Err(Discard::TooMany));
    let outputs = table.connect("203.0.113.9:3");
    let [Output::Reply { payload, .. }] = outputs.as_slice() else { panic!("{outputs:?}") };
    assert_eq!(Answer(payload.clone()).code(), Some(508));
}

#[test]
fn connections_end_with_their_allocation_however_that_ends() {
    let end: [fn(&mut Table); 3] = [
        |table| drop(table.refresh(0).expect_success()),
        |table| table.wait(seconds(600)),
        |table| {
            table.server.disconnected(table.five_tuple());
            table.drain();
        },
    ];
    for end in end {
        let mut table = over_tcp();
        let relay = table.allocate_tcp(&[]).expect_success().relayed();
        let connection = table.established(PEER);
        table.bind_over(DATA, connection).0.expect_success();
        table.outputs.clear();
        end(&mut table);
        for output in [Output::Close { relay }, Output::HangUp { connection }] {
            assert!(table.outputs.contains(&output), "{:?}", table.outputs);
        }
        assert_eq!((table.server.connection_count(), table.server.next_deadline()), (0, None));
    }
}

#[test]
fn rfc8656_3_1_an_allocation_ends_with_its_clients_connection_and_no_other() {
    let mut table = over_tcp();
    let relay = table.allocated();
    table.outputs.clear();
    let stranger = FiveTuple { client: addr(OTHER_CLIENT), ..table.five_tuple() };
    table.server.disconnected(stranger);
    table.drain();
    assert_eq!((table.server.allocation_count(), table.outputs.len()), (1, 0));
    table.server.disconnected(table.five_tuple());
    table.drain();
    assert_eq!((table.server.allocation_count(), table.outputs.clone()), (0, vec![Output::Close { relay }]));
    assert_eq!(table.server.next_deadline(), None);
    table.server.disconnected(table.five_tuple());
    table.drain();
    assert_eq!(table.outputs.len(), 1, "once");
    table.allocated();
}

//! TCP allocations (RFC 6062) on the simulated network, and what the connections of clients are worth.

use std::io::ErrorKind;
use std::rc::Rc;
use std::time::Duration;

use futures::future::join;
use natbox_host::{Host, TcpListener, TcpOptions, TcpStream};
use natbox_probes::Transport;
use natbox_probes::turn::server::{Quotas, ServerConfig, Service};
use natbox_probes::turn::{Carrier, Client, Credentials, Error, Options};
use natbox_world::VirtualHost;
use stun_types::attribute::{Nonce, Realm, Username};
use stun_types::message::{
    IntegrityAlgorithm, LongTermKeyCredentials, Message, MessageClass, MessageType, MessageWrite, MessageWriteExt,
    MessageWriteVec, TransactionId,
};
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use turn_types::attribute::RequestedTransport;
use turn_types::message::ALLOCATE;

use crate::lab::{Lab, RELAY, endpoint, preset, serving};

const SECOND: Duration = Duration::from_secs(1);
const PEER: &str = "198.18.0.20:7000";

fn credentials() -> Credentials {
    Credentials::new("user", "pass")
}

fn options() -> Options {
    Options { carrier: Carrier::Tcp, peers: Transport::Tcp, ..Options::default() }
}

/// A relay with these limits; what it keeps can be asked of the service.
fn relay(lab: &mut Lab, quotas: Quotas) -> Rc<Service<VirtualHost>> {
    let host = lab.public("relay", &["198.18.0.13"]);
    let user = ("user".to_owned(), "pass".to_owned());
    let config = ServerConfig { quotas, ..ServerConfig::new(endpoint(RELAY), endpoint(RELAY).ip(), vec![user]) };
    let service = lab.run(async {
        let socket = Rc::new(host.udp_bind(endpoint(RELAY)).await.unwrap());
        Service::new(host.clone(), socket, config.clone()).unwrap()
    });
    let served = service.clone();
    host.spawn(async move { serving(served.listen(&config)).await });
    Rc::new(service)
}

/// A client behind a NAT, a peer on the Internet, and the relay between them.
fn lab() -> (Lab, VirtualHost, VirtualHost, Rc<Service<VirtualHost>>) {
    let mut lab = Lab::new(5);
    let service = relay(&mut lab, Quotas::default());
    let home = lab.home("home", "198.18.0.2", preset("symmetric"));
    let alice = lab.inside(home, "alice", "10.0.0.2");
    let peer = lab.public("peer", &["198.18.0.20"]);
    (lab, alice, peer, service)
}

async fn allocate(host: &VirtualHost) -> Client<VirtualHost> {
    Client::allocate_with(host, endpoint(RELAY), &credentials(), &options()).await.expect("an allocation")
}

#[test]
fn bytes_cross_a_connection_to_a_peer_both_ways_and_its_ends_are_passed_on() {
    let (mut lab, alice, peer, service) = lab();
    let much = vec![7_u8; 300_000];
    lab.run(async {
        let listener = peer.tcp_listen(endpoint(PEER), TcpOptions::default()).await.unwrap();
        let client = allocate(&alice).await;
        let relayed = client.relayed_address();
        let call = async {
            let mut stream = client.connect(endpoint(PEER)).await.expect("connected");
            assert_eq!((stream.local_addr(), stream.peer_addr()), (relayed, endpoint(PEER)));
            assert_eq!(client.connect(endpoint(PEER)).await.err().and_then(|error| error.code()), Some(446));
            stream.write_all(&much).await.unwrap();
            stream.shutdown().await.unwrap();
            let mut heard = Vec::new();
            stream.read_to_end(&mut heard).await.unwrap();
            assert!(heard[..6] == *b"thanks" && heard[6..] == much, "{} bytes", heard.len());
        };
        let answer = async {
            let mut stream = listener.accept().await.unwrap();
            assert_eq!(stream.peer_addr(), relayed, "it comes from the relayed address");
            // What comes before the client has bound its own connection is not lost.
            stream.write_all(b"thanks").await.unwrap();
            let mut heard = Vec::new();
            stream.read_to_end(&mut heard).await.unwrap();
            assert!(heard == much, "{} bytes", heard.len());
            stream.write_all(&much).await.unwrap();
            stream.shutdown().await.unwrap();
        };
        join(call, answer).await;
        // The connection has ended: there may be another to the same peer, when TIME-WAIT is over.
        alice.sleep(15 * SECOND).await;
        client.connect(endpoint(PEER)).await.expect("connected again");
    });
    assert_eq!(service.allocation_count(), 1);
}

#[test]
fn a_peer_with_a_permission_comes_in_and_one_without_finds_the_connection_closed() {
    let (mut lab, alice, peer, _service) = lab();
    lab.run(async {
        let client = allocate(&alice).await;
        let relayed = client.relayed_address();
        let mut refused = peer.tcp_connect(relayed, TcpOptions::default()).await.expect("accepted, then closed");
        assert!(matches!(refused.read(&mut [0; 9]).await, Ok(0) | Err(_)));
        client.create_permission(endpoint(PEER).ip()).await.unwrap();
        let come = async {
            let mut stream = peer.tcp_connect(relayed, TcpOptions::default()).await.unwrap();
            stream.write_all(b"early").await.unwrap();
            let mut heard = [0; 4];
            stream.read_exact(&mut heard).await.unwrap();
            (heard, stream.local_addr())
        };
        let accept = async {
            let mut stream = client.accept().await.expect("a peer");
            let mut heard = [0; 5];
            stream.read_exact(&mut heard).await.unwrap();
            stream.write_all(b"late").await.unwrap();
            (heard, stream)
        };
        let ((late, from), (early, stream)) = join(come, accept).await;
        assert_eq!((&late, &early, from), (b"late", b"early", stream.peer_addr()));
    });
}

#[test]
fn a_peer_that_refuses_and_one_that_is_silent_are_447() {
    let (mut lab, alice, _peer, _service) = lab();
    lab.run(async {
        let client = allocate(&alice).await;
        let began = alice.now();
        assert_eq!(client.connect(endpoint(PEER)).await.err().and_then(|error| error.code()), Some(447));
        assert!(alice.now().since(began) < SECOND, "refused");
        let began = alice.now();
        let silent = client.connect(endpoint("198.18.0.99:1")).await;
        assert_eq!(silent.err().and_then(|error| error.code()), Some(447));
        assert!(alice.now().since(began) <= 31 * SECOND, "{:?}", alice.now().since(began));
    });
}

#[test]
fn connections_end_when_the_client_lets_go() {
    let (mut lab, alice, peer, service) = lab();
    lab.run(async {
        let listener = peer.tcp_listen(endpoint(PEER), TcpOptions::default()).await.unwrap();
        let client = allocate(&alice).await;
        let (stream, met) = join(client.connect(endpoint(PEER)), listener.accept()).await;
        let (stream, mut met) = (stream.unwrap(), met.unwrap());
        drop(client);
        alice.sleep(SECOND).await;
        assert_eq!(service.allocation_count(), 1, "the connection keeps it");
        drop(stream);
        assert!(matches!(met.read(&mut [0; 9]).await, Ok(0) | Err(_)));
        alice.sleep(5 * SECOND).await;
    });
    assert_eq!(service.allocation_count(), 0);
}

#[test]
fn an_allocation_over_udp_has_no_peers_over_tcp() {
    let (mut lab, alice, _peer, _service) = lab();
    lab.run(async {
        let udp = Options { peers: Transport::Udp, ..options() };
        let client = Client::allocate_with(&alice, endpoint(RELAY), &credentials(), &udp).await.unwrap();
        assert_eq!(client.connect(endpoint(PEER)).await.err().and_then(|error| error.code()), Some(403));
    });
}

/// An Allocate request, with these credentials if there is a challenge to answer.
fn request(challenge: Option<&Message<'_>>) -> Vec<u8> {
    let kind = MessageType::from_class_method(MessageClass::Request, ALLOCATE);
    let mut writer = Message::builder(kind, TransactionId::from(9), MessageWriteVec::new());
    writer.add_attribute(&RequestedTransport::new(RequestedTransport::UDP)).unwrap();
    if let Some(challenge) = challenge {
        let (realm, nonce) = (challenge.attribute::<Realm>().unwrap(), challenge.attribute::<Nonce>().unwrap());
        let key = LongTermKeyCredentials::new("user".into(), "pass".into(), realm.realm().into());
        writer.add_attribute(&Username::new("user").unwrap()).unwrap();
        writer.add_attribute(&realm).unwrap();
        writer.add_attribute(&nonce).unwrap();
        let key = key.make_key(IntegrityAlgorithm::Sha1);
        writer.add_message_integrity_with_key(&key, IntegrityAlgorithm::Sha1).unwrap();
    }
    writer.finish()
}

#[test]
fn rfc8656_3_1_a_client_whose_connection_ends_loses_its_allocation_at_once_and_nobody_else_does() {
    let (mut lab, alice, _peer, service) = lab();
    lab.run(async {
        let _kept = allocate(&alice).await;
        let mut bare = alice.tcp_connect(endpoint(RELAY), TcpOptions::default()).await.unwrap();
        let mut answer = [0; 1500];
        bare.write_all(&request(None)).await.unwrap();
        let length = bare.read(&mut answer).await.unwrap();
        let request = request(Some(&Message::from_bytes(&answer[..length]).unwrap()));
        bare.write_all(&request).await.unwrap();
        let length = bare.read(&mut answer).await.unwrap();
        assert!(Message::from_bytes(&answer[..length]).unwrap().has_class(MessageClass::Success));
        assert_eq!(service.allocation_count(), 2);
        drop(bare);
        alice.sleep(SECOND).await;
        assert_eq!(service.allocation_count(), 1);
    });
}

#[test]
fn what_is_no_turn_ends_its_own_connection_and_no_other() {
    let (mut lab, alice, _peer, service) = lab();
    lab.run(async {
        let kept = allocate(&alice).await;
        let mut bare = alice.tcp_connect(endpoint(RELAY), TcpOptions::default()).await.unwrap();
        bare.write_all(b"GET / HTTP/1.1").await.unwrap();
        assert!(matches!(bare.read(&mut [0; 9]).await, Ok(0) | Err(_)));
        assert!(kept.create_permission(endpoint(PEER).ip()).await.is_ok());
        assert_eq!(service.allocation_count(), 1);
    });
}

#[test]
fn clients_beyond_the_limit_of_connections_are_closed_and_room_is_made_by_those_who_go() {
    let mut lab = Lab::new(5);
    let service = relay(&mut lab, Quotas { client_connections: 2, ..Quotas::default() });
    let alice = lab.public("alice", &["198.18.0.20"]);
    lab.run(async {
        let (first, _second) = (allocate(&alice).await, allocate(&alice).await);
        let third = Client::allocate_with(&alice, endpoint(RELAY), &credentials(), &options()).await;
        let kind = match third.err() {
            Some(Error::Io { kind, .. }) => kind,
            other => panic!("{other:?}"),
        };
        let ends =
            [ErrorKind::UnexpectedEof, ErrorKind::ConnectionReset, ErrorKind::BrokenPipe, ErrorKind::ConnectionRefused];
        assert!(ends.contains(&kind), "{kind:?}");
        assert_eq!(service.allocation_count(), 2);
        drop(first);
        alice.sleep(5 * SECOND).await;
        assert_eq!(service.allocation_count(), 1);
        allocate(&alice).await;
    });
}

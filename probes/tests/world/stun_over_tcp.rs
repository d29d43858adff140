//! STUN over TCP: messages one after the other, and what is none.

use std::io;
use std::net::SocketAddr;
use std::time::Duration;

use natbox_host::{Host, TcpOptions, TcpStream};
use natbox_probes::stun::client::BindingRequest;
use natbox_probes::stun::codec::{self, ChangeRequest};
use natbox_probes::stun::{server, tcp};
use natbox_world::VirtualHost;
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use crate::lab::{Lab, endpoint};

const SERVER: &str = "198.18.0.10:3478";

/// A host, and a server with two addresses that runs.
fn lab() -> (Lab, VirtualHost, SocketAddr) {
    let mut lab = Lab::new(1);
    let host = lab.public("server", &["198.18.0.10", "198.18.0.11"]);
    let alternate = "198.18.0.11".parse().expect("an address");
    let config = server::ServerConfig::new(endpoint(SERVER).ip(), Some(alternate));
    let machine = host.clone();
    host.spawn(async move {
        let Err(why) = tcp::serve(machine, config).await;
        panic!("{why}");
    });
    let alice = lab.public("alice", &["198.18.0.20"]);
    (lab, alice, endpoint(SERVER))
}

fn request(id: u128, change: ChangeRequest) -> Vec<u8> {
    BindingRequest { change, ..BindingRequest::default() }.to_bytes(id.into())
}

#[test]
fn several_requests_go_over_one_connection_to_each_of_four_endpoints() {
    let (mut lab, alice, server) = lab();
    lab.run(async {
        for target in [server, endpoint("198.18.0.11:3479")] {
            let mut stream = alice.tcp_connect(target, TcpOptions::default()).await.expect("a connection");
            for id in [7, 8] {
                let (request, deadline) = (request(id, ChangeRequest::default()), alice.now() + Duration::from_secs(5));
                let answer = tcp::transact(&alice, &mut stream, &request, deadline).await.expect("an answer");
                let message = codec::parse(&answer).expect("a message");
                assert_eq!(message.transaction_id(), id.into());
                assert_eq!(codec::mapped_address(&message), Some(stream.local_addr()));
            }
        }
    });
}

#[test]
fn a_message_in_pieces_is_one_and_two_in_one_piece_are_two() {
    let (mut lab, alice, server) = lab();
    lab.run(async {
        let mut stream = alice.tcp_connect(server, TcpOptions::default()).await.expect("a connection");
        let both = [request(1, ChangeRequest::default()), request(2, ChangeRequest::default())].concat();
        stream.write_all(&both[..7]).await.expect("written");
        alice.sleep(Duration::from_secs(1)).await;
        stream.write_all(&both[7..]).await.expect("written");
        for id in [1, 2_u128] {
            let mut head = [0; 20];
            stream.read_exact(&mut head).await.expect("a header");
            assert_eq!(head[8..20], id.to_be_bytes()[4..], "the answers come in the order of the requests");
            let mut rest = vec![0; usize::from(u16::from_be_bytes([head[2], head[3]]))];
            stream.read_exact(&mut rest).await.expect("the rest");
        }
    });
}

#[test]
fn what_asks_for_an_answer_from_elsewhere_gets_none_over_tcp() {
    let (mut lab, alice, server) = lab();
    lab.run(async {
        let mut stream = alice.tcp_connect(server, TcpOptions::default()).await.expect("a connection");
        let request = request(3, ChangeRequest { address: true, port: true });
        let came = tcp::transact(&alice, &mut stream, &request, alice.now() + Duration::from_secs(5)).await;
        assert_eq!(came.expect_err("silence").kind(), io::ErrorKind::TimedOut);
    });
}

#[test]
fn what_is_no_message_ends_the_connection() {
    let (mut lab, alice, server) = lab();
    lab.run(async {
        let mut stream = alice.tcp_connect(server, TcpOptions::default()).await.expect("a connection");
        stream.write_all(&[0xff; 64]).await.expect("written");
        let mut came = Vec::new();
        let ended = stream.read_to_end(&mut came).await;
        // What was not read makes of the end a reset.
        let error = ended.err().map(|error| error.kind());
        assert!(came.is_empty() && matches!(error, None | Some(io::ErrorKind::ConnectionReset)), "{error:?}");
    });
}

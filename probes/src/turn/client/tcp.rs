//! Connections with peers through a TCP allocation (RFC 6062): each is a connection of its own to the server, bound there
//! to the one with the peer.

use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use natbox_host::{Host, TcpStream};
use stun_types::attribute::ErrorCode;
use stun_types::message::MessageClass;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use turn_types::attribute::{ConnectionId, XorPeerAddress};
use turn_types::message::{CONNECT, CONNECTION_BIND};

use super::Client;
use super::link::Session;
use crate::stream::before;
use crate::turn::Error;
use crate::turn::message::{Writer, is_intact, parse};
use crate::turn::stream::{Bytes, Messages};

/// How long the server may take to answer a ConnectionBind request.
const BINDS: Duration = Duration::from_secs(10);
/// How often a challenge is answered: a server may know its nonces by connection.
const MOST_CHALLENGES: u32 = 3;

/// A TCP connection between a relayed address and a peer. Keeps the allocation while it lives.
pub struct PeerStream<H: Host> {
    stream: Box<dyn Bytes>,
    /// What was read beyond the server's answer.
    read: Vec<u8>,
    peer: SocketAddr,
    client: Client<H>,
}

pub(super) async fn connect<H: Host>(client: &Client<H>, peer: SocketAddr) -> Result<PeerStream<H>, Error> {
    let link = client.link();
    let answer = link
        .ask("Connect", CONNECT, &|writer: Writer, transaction| writer.with(&XorPeerAddress::new(peer, transaction)))
        .await?;
    let connection = parse(&answer).and_then(|message| message.attribute::<ConnectionId>().ok().map(|id| id.id()));
    let connection = connection.ok_or(Error::BadAnswer { method: "Connect", expected: "CONNECTION-ID" })?;
    bind(client, connection, peer).await
}

pub(super) async fn accept<H: Host>(client: &Client<H>) -> Result<PeerStream<H>, Error> {
    let (connection, peer) = client.link().next_attempt().await?;
    bind(client, connection, peer).await
}

/// Opens a connection to the server and has it bound to the one with the peer (RFC 6062 section 4.3).
async fn bind<H: Host>(client: &Client<H>, connection: u32, peer: SocketAddr) -> Result<PeerStream<H>, Error> {
    let link = client.link();
    let mut messages = Messages::new(link.another().await?);
    let deadline = link.host().now() + BINDS;
    let bound = before(link.host(), deadline, async { Ok(ask(client, &mut messages, connection).await) }).await;
    bound.map_err(|_| Error::TimedOut { method: NAME, server: link.server(), after: BINDS })??;
    let (stream, read) = messages.into_parts();
    Ok(PeerStream { stream, read, peer, client: client.clone() })
}

const NAME: &str = "ConnectionBind";

async fn ask<H: Host>(client: &Client<H>, messages: &mut Messages, connection: u32) -> Result<(), Error> {
    let link = client.link();
    let failed = |error: io::Error| Error::io("bind a connection at the TURN server", &error);
    let mut session = link.session();
    for _ in 0..=MOST_CHALLENGES {
        let id = link.transaction();
        let request = link.request(CONNECTION_BIND, id, session.as_ref(), &|writer: Writer, _| {
            writer.with(&ConnectionId::new(connection))
        });
        messages.send(&request).await.map_err(failed)?;
        let answer = messages.recv().await.map_err(failed)?;
        let message = parse(&answer).filter(|message| message.transaction_id() == id);
        let message = message.ok_or(Error::BadAnswer { method: NAME, expected: "an answer to the request" })?;
        if message.has_class(MessageClass::Success) {
            let intact = session.as_ref().is_none_or(|session| is_intact(&message, &session.key));
            return if intact { Ok(()) } else { Err(Error::BadAnswer { method: NAME, expected: "MESSAGE-INTEGRITY" }) };
        }
        let error = message.attribute::<ErrorCode>();
        let error = error.map_err(|_| Error::BadAnswer { method: NAME, expected: "ERROR-CODE" })?;
        match error.code() {
            401 | 438 => session = Some(Session::challenged(NAME, link.credentials(), &message)?),
            code => return Err(Error::Refused { method: NAME, code, reason: error.reason().to_owned() }),
        }
    }
    Err(Error::Refused { method: NAME, code: 438, reason: "its nonces go stale again and again".to_owned() })
}

impl<H: Host> TcpStream for PeerStream<H> {
    /// The relayed address.
    fn local_addr(&self) -> SocketAddr {
        self.client.relayed_address()
    }

    fn peer_addr(&self) -> SocketAddr {
        self.peer
    }
}

impl<H: Host> AsyncRead for PeerStream<H> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        if self.read.is_empty() {
            return Pin::new(&mut self.stream).poll_read(context, buffer);
        }
        let length = self.read.len().min(buffer.remaining());
        buffer.put_slice(&self.read[..length]);
        self.read.drain(..length);
        Poll::Ready(Ok(()))
    }
}

impl<H: Host> AsyncWrite for PeerStream<H> {
    fn poll_write(mut self: Pin<&mut Self>, context: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(context, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(context)
    }
}

//! STUN over TCP (RFC 8489 section 6.2.2): messages one after the other, each as long as its header says.
//!
//! Both ends of it. The server answers from where it was asked: over TCP nobody can be answered from elsewhere, so that
//! what asks for that (RFC 5780) is not answered at all.

use std::cell::Cell;
use std::convert::Infallible;
use std::io;
use std::rc::Rc;
use std::time::Duration;

use futures::future::join_all;
use natbox_host::{Host, TcpListener, TcpOptions, TcpStream};
use natbox_wire::Time;

use super::server::{ServerConfig, respond};
use crate::ProbeError;
use crate::stream::{before, read, write_all};

/// Bytes of a message before its attributes.
const HEADER_BYTES: usize = 20;
/// The longest message that is read, in bytes.
const LONGEST_BYTES: usize = 2048;
/// The most connections that an endpoint of a server holds at a time; further ones are closed at once.
const MOST_CONNECTIONS: usize = 256;
/// A connection that is silent for so long is closed.
const IDLE: Duration = Duration::from_secs(60);

/// Sends a request and reads what comes back: one message.
///
/// # Errors
/// `TimedOut` at `deadline`, `InvalidData` for what is no message, and what the connection says.
pub async fn transact<H: Host>(host: &H, stream: &mut H::Tcp, request: &[u8], deadline: Time) -> io::Result<Vec<u8>> {
    before(host, deadline, write_all(stream, request)).await?;
    let answer = next(host, stream, deadline).await?;
    answer.ok_or_else(|| io::ErrorKind::UnexpectedEof.into())
}

/// The next message; `None` at the end of the stream.
async fn next<H: Host>(host: &H, stream: &mut H::Tcp, deadline: Time) -> io::Result<Option<Vec<u8>>> {
    let mut message = vec![0; HEADER_BYTES];
    if !filled(host, stream, &mut message, deadline).await? {
        return Ok(None);
    }
    let length = HEADER_BYTES + usize::from(u16::from_be_bytes([message[2], message[3]]));
    if length > LONGEST_BYTES {
        return Err(io::Error::new(io::ErrorKind::InvalidData, "no STUN message of a sensible length"));
    }
    message.resize(length, 0);
    let whole = filled(host, stream, &mut message[HEADER_BYTES..], deadline).await?;
    Ok(whole.then_some(message))
}

/// Fills `buffer`; false if the stream ends before.
async fn filled<H: Host>(host: &H, stream: &mut H::Tcp, buffer: &mut [u8], deadline: Time) -> io::Result<bool> {
    let mut length = 0;
    while length < buffer.len() {
        match before(host, deadline, read(stream, &mut buffer[length..])).await? {
            0 => return Ok(false),
            more => length += more,
        }
    }
    Ok(true)
}

/// Serves on every endpoint of `config` until the world ends.
///
/// # Errors
/// [`ProbeError::Io`] when an endpoint cannot be listened on.
pub async fn serve<H: Host>(host: H, config: ServerConfig) -> Result<Infallible, ProbeError> {
    let mut listeners = Vec::new();
    for endpoint in config.endpoints() {
        let listener = host.tcp_listen(endpoint, TcpOptions::default()).await;
        listeners.push(listener.map_err(ProbeError::io("listen at an endpoint of the STUN server"))?);
    }
    join_all(listeners.into_iter().map(|listener| accept(&host, &config, listener))).await;
    Ok(std::future::pending().await)
}

async fn accept<H: Host>(host: &H, config: &ServerConfig, listener: H::Listener) -> Infallible {
    let connections = Rc::new(Cell::new(0));
    loop {
        let Ok(mut stream) = listener.accept().await else {
            host.sleep(Duration::from_millis(10)).await;
            continue;
        };
        if connections.get() >= MOST_CONNECTIONS {
            continue;
        }
        connections.set(connections.get() + 1);
        let (machine, config, connections) = (host.clone(), config.clone(), connections.clone());
        host.spawn(async move {
            // A connection that breaks concerns nobody else.
            let _ = answer(&machine, &config, &mut stream).await;
            connections.set(connections.get() - 1);
        });
    }
}

/// Answers what comes over one connection.
async fn answer<H: Host>(host: &H, config: &ServerConfig, stream: &mut H::Tcp) -> io::Result<()> {
    let (source, local) = (stream.peer_addr(), stream.local_addr());
    while let Some(message) = next(host, stream, host.now() + IDLE).await? {
        let reply = respond(config, &message, source, local);
        if let Some(reply) = reply.filter(|reply| (reply.from, reply.to) == (local, source)) {
            before(host, host.now() + IDLE, write_all(stream, &reply.datagram)).await?;
        }
    }
    Ok(())
}

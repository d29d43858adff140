//! Echo over UDP and TCP (RFC 862): what is sent comes back.
//!
//! The client sends a payload and checks that the same bytes come back; over UDP it sends again when they do not, as a
//! STUN client does.

use std::cell::Cell;
use std::convert::Infallible;
use std::io;
use std::net::SocketAddr;
use std::rc::Rc;
use std::time::Duration;

use natbox_host::{Host, TcpListener, TcpOptions, UdpSocket};

use crate::ProbeError;
use crate::stream::{before, read, shut_down, write_all};
use crate::stun::client::Retransmission;
use crate::wait::{receive, serve_next};

/// The largest UDP payload.
const LONGEST_DATAGRAM_BYTES: usize = 65_535;
/// The most TCP connections that a server holds at a time; further ones are closed at once.
const MOST_CONNECTIONS: usize = 1024;
/// What a TCP server reads at once.
const CHUNK_BYTES: usize = 4096;

/// A payload that came back.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Echoed {
    /// This end.
    pub local: SocketAddr,
    /// Who answered.
    pub source: SocketAddr,
    /// From the (first) sending to the answer.
    pub elapsed: Duration,
    /// How often it was sent.
    pub sent: u32,
}

/// Echoes UDP datagrams until the world ends.
///
/// # Errors
/// When the endpoint cannot be bound.
pub async fn serve_udp<H: Host>(host: H, local: SocketAddr) -> Result<Infallible, ProbeError> {
    let socket = host.udp_bind(local).await.map_err(ProbeError::io("bind the UDP echo server"))?;
    let mut buffer = vec![0; LONGEST_DATAGRAM_BYTES];
    loop {
        let received = serve_next(&host, &socket, &mut buffer).await;
        // A datagram that claims to come from here would be echoed to itself for ever (CERT CA-1996-01).
        if received.source == received.destination {
            continue;
        }
        // Whoever cannot be reached has gone.
        let _ = socket.send_to(&buffer[..received.length], received.source).await;
    }
}

/// Sends `payload` to `server` by UDP until it comes back.
///
/// # Errors
/// Silence, or what the machine says: `ConnectionRefused` where an ICMP error says that nobody listens.
pub async fn udp<H: Host>(
    host: &H,
    server: SocketAddr,
    payload: &[u8],
    retransmission: &Retransmission,
) -> Result<Echoed, ProbeError> {
    let source = host.source_for(server.ip()).map_err(ProbeError::io("find a way to the echo server"))?;
    let socket = host.udp_bind(SocketAddr::new(source, 0)).await.map_err(ProbeError::io("bind a UDP socket"))?;
    socket.connect(server).map_err(ProbeError::io("connect a UDP socket"))?;
    let began = host.now();
    let mut buffer = vec![0; payload.len().max(1)];
    for sent in 1..=retransmission.sends {
        socket.send_to(payload, server).await.map_err(ProbeError::io("send a datagram"))?;
        let deadline = host.now() + retransmission.wait_after(sent);
        while let Some(received) =
            receive(host, &socket, &mut buffer, deadline).await.map_err(ProbeError::io("receive a datagram"))?
        {
            if buffer.get(..received.length) == Some(payload) {
                let (local, source) = (socket.local_addr(), received.source);
                return Ok(Echoed { local, source, elapsed: received.at.since(began), sent });
            }
        }
    }
    let (waited, sent) = (host.now().since(began), retransmission.sends);
    Err(ProbeError::Silence { expected: "the same bytes", from: server, waited, sent })
}

/// Echoes TCP connections until the world ends. A connection that is idle for `idle` is closed.
///
/// # Errors
/// When the endpoint cannot be listened on.
pub async fn serve_tcp<H: Host>(host: H, local: SocketAddr, idle: Duration) -> Result<Infallible, ProbeError> {
    let listener = host.tcp_listen(local, TcpOptions::default()).await;
    let listener = listener.map_err(ProbeError::io("listen as a TCP echo server"))?;
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
        let (clock, connections) = (host.clone(), connections.clone());
        host.spawn(async move {
            // A connection that breaks concerns nobody else.
            let _ = echo_stream(&clock, &mut stream, idle).await;
            connections.set(connections.get() - 1);
        });
    }
}

async fn echo_stream<H: Host>(host: &H, stream: &mut H::Tcp, idle: Duration) -> io::Result<()> {
    let mut buffer = vec![0; CHUNK_BYTES];
    loop {
        let length = before(host, host.now() + idle, read(stream, &mut buffer)).await?;
        if length == 0 {
            return before(host, host.now() + idle, shut_down(stream)).await;
        }
        before(host, host.now() + idle, write_all(stream, &buffer[..length])).await?;
    }
}

/// Connects to `server` by TCP, sends `payload`, and reads it back.
///
/// # Errors
/// What the machine says (`ConnectionRefused`, `TimedOut`); other bytes, or fewer, than were sent.
pub async fn tcp<H: Host>(
    host: &H,
    server: SocketAddr,
    payload: &[u8],
    timeout: Duration,
) -> Result<Echoed, ProbeError> {
    use natbox_host::TcpStream;
    let began = host.now();
    let deadline = began + timeout;
    let options = TcpOptions { connect_timeout: Some(timeout), ..TcpOptions::default() };
    let connect = before(host, deadline, host.tcp_connect(server, options)).await;
    let mut stream = connect.map_err(ProbeError::io("connect by TCP"))?;
    let written = before(host, deadline, write_all(&mut stream, payload)).await;
    written.map_err(ProbeError::io("send over TCP"))?;
    let mut came = vec![0; payload.len()];
    let mut length = 0;
    while length < came.len() {
        let read = before(host, deadline, read(&mut stream, &mut came[length..])).await;
        match read.map_err(ProbeError::io("receive over TCP"))? {
            0 => break,
            more => length += more,
        }
    }
    if came[..length] != *payload {
        let came = format!("{length} of {} bytes, or others", payload.len());
        return Err(ProbeError::Unexpected { expected: "the same bytes", from: server, came });
    }
    Ok(Echoed { local: stream.local_addr(), source: stream.peer_addr(), elapsed: host.now().since(began), sent: 1 })
}

//! The way to the directory: UDP, and where it does not answer over that, TCP to the same port.

use std::net::SocketAddr;
use std::time::Duration;

use natbox_host::{Host, TcpOptions, UdpSocket};
use natbox_wire::Time;
use rand_core::Rng;

use crate::ProbeError;
use crate::path::Transport;
use crate::rendezvous::{self, Body, LONGEST_MESSAGE_BYTES, Message, RequestId};
use crate::stream::{Framed, before};
use crate::stun::client::Retransmission;
use crate::wait::receive;

/// How a directory is asked first: over UDP at 0, 0.25, 0.75 and 1.75 s. At 2.75 s it is tried over TCP.
const UDP: Retransmission = Retransmission { first_wait: Duration::from_millis(250), sends: 4, last_wait_multiple: 4 };
/// Over TCP nothing is lost: one request, and time for TCP's own repetitions.
const TCP: Retransmission = Retransmission { first_wait: Duration::from_secs(20), sends: 1, last_wait_multiple: 1 };
/// How long a connection to the directory may take to be opened, and a message to be written.
const TCP_PATIENCE: Duration = Duration::from_secs(5);

pub(crate) enum Wire<H: Host> {
    Udp { socket: H::Udp, directory: SocketAddr },
    Tcp { stream: Framed<H::Tcp>, directory: SocketAddr },
}

/// A way to the directory, and its answer to the first request: over UDP, else over TCP.
pub(super) async fn open<H: Host>(
    host: &H,
    directory: SocketAddr,
    body: Body,
    deadline: Time,
) -> Result<(Wire<H>, Body), ProbeError> {
    let mut wire = Wire::udp(host, directory).await?;
    // One number for both: a request that has come over UDP and whose answer was lost is not made twice.
    let request = Message { id: RequestId(host.random().next_u64()), body };
    let silence = match wire.ask_as(host, &request, &UDP, deadline).await {
        Ok(answer) => return Ok((wire, answer)),
        Err(silence) if host.now() >= deadline => return Err(silence),
        Err(silence) => silence,
    };
    // What UDP met with explains more than that there is no TCP either.
    let mut wire = Wire::tcp(host, directory, deadline).await.map_err(|_| silence)?;
    let answer = wire.ask_as(host, &request, &TCP, deadline).await?;
    Ok((wire, answer))
}

/// A way to the directory over TCP, and its answer to the first request.
pub(crate) async fn over_tcp<H: Host>(
    host: &H,
    directory: SocketAddr,
    body: Body,
) -> Result<(Wire<H>, Body), ProbeError> {
    let mut wire = Wire::tcp(host, directory, Time::MAX).await?;
    let answer = wire.ask(host, body, Time::MAX).await?;
    Ok((wire, answer))
}

impl<H: Host> Wire<H> {
    async fn udp(host: &H, directory: SocketAddr) -> Result<Wire<H>, ProbeError> {
        let local = host.source_for(directory.ip()).map_err(ProbeError::io("find a way to the directory"))?;
        let socket = host.udp_bind(SocketAddr::new(local, 0)).await.map_err(ProbeError::io("bind a UDP socket"))?;
        Ok(Wire::Udp { socket, directory })
    }

    async fn tcp(host: &H, directory: SocketAddr, deadline: Time) -> Result<Wire<H>, ProbeError> {
        let deadline = deadline.min(host.now() + TCP_PATIENCE);
        let stream = before(host, deadline, host.tcp_connect(directory, TcpOptions::default())).await;
        let stream = stream.map_err(ProbeError::io("connect to the directory by TCP"))?;
        Ok(Wire::Tcp { stream: Framed::new(stream, LONGEST_MESSAGE_BYTES), directory })
    }

    pub(super) fn directory(&self) -> SocketAddr {
        match self {
            Wire::Udp { directory, .. } | Wire::Tcp { directory, .. } => *directory,
        }
    }

    pub(super) fn transport(&self) -> Transport {
        match self {
            Wire::Udp { .. } => Transport::Udp,
            Wire::Tcp { .. } => Transport::Tcp,
        }
    }

    pub(super) async fn send(&mut self, host: &H, message: &Message) -> Result<(), ProbeError> {
        let bytes = message.encode();
        let sent = match self {
            Wire::Udp { socket, directory } => socket.send_to(&bytes, *directory).await.map(drop),
            Wire::Tcp { stream, .. } => before(host, host.now() + TCP_PATIENCE, stream.send(&bytes)).await,
        };
        sent.map_err(ProbeError::io("send to the directory"))
    }

    /// The next message from the directory; `None` at `deadline`.
    pub(super) async fn recv(&mut self, host: &H, deadline: Time) -> Result<Option<Message>, ProbeError> {
        loop {
            let message = match self {
                Wire::Udp { socket, directory } => {
                    let mut buffer = [0; LONGEST_MESSAGE_BYTES];
                    let received = receive(host, socket, &mut buffer, deadline).await;
                    let received = received.map_err(ProbeError::io("receive from the directory"))?;
                    let Some(received) = received else { return Ok(None) };
                    let datagram = &buffer[..received.length.min(LONGEST_MESSAGE_BYTES)];
                    Message::decode(datagram).filter(|_| received.source == *directory)
                }
                Wire::Tcp { stream, .. } => match before(host, deadline, stream.recv()).await {
                    Ok(bytes) => Message::decode(&bytes),
                    Err(_) if host.now() >= deadline => return Ok(None),
                    Err(error) => return Err(ProbeError::io("receive from the directory")(error)),
                },
            };
            if message.is_some() {
                return Ok(message);
            }
        }
    }

    /// Sends a request until its answer comes, which may be an error of the directory.
    pub(super) async fn ask(&mut self, host: &H, body: Body, deadline: Time) -> Result<Body, ProbeError> {
        let plan = match self {
            Wire::Udp { .. } => Retransmission::PROBE,
            Wire::Tcp { .. } => TCP,
        };
        let request = Message { id: RequestId(host.random().next_u64()), body };
        self.ask_as(host, &request, &plan, deadline).await
    }

    async fn ask_as(
        &mut self,
        host: &H,
        request: &Message,
        plan: &Retransmission,
        deadline: Time,
    ) -> Result<Body, ProbeError> {
        let (began, mut times) = (host.now(), 0);
        while times < plan.sends && (times == 0 || host.now() < deadline) {
            self.send(host, request).await?;
            times += 1;
            let until = deadline.min(host.now() + plan.wait_after(times));
            while let Some(message) = self.recv(host, until).await? {
                if message.id == request.id {
                    return Ok(message.body);
                }
            }
        }
        let (from, waited) = (self.directory(), host.now().since(began));
        Err(ProbeError::Silence { expected: rendezvous::EXPECTED, from, waited, sent: times })
    }
}

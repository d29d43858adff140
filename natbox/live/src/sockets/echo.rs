//! ICMP echo by the system's ping sockets, which whoever is in `net.ipv4.ping_group_range` may open.

use std::io;
use std::net::{IpAddr, SocketAddr};

use natbox_host::{EchoAnswer, EchoReply, EchoSocket};
use nix::sys::socket::setsockopt;
use nix::sys::socket::sockopt::{Ipv4RecvErr, Ipv4RecvTtl, Ipv6RecvErr, Ipv6RecvHopLimit};
use socket2::{Domain, Protocol, Socket, Type};
use tokio::net::UdpSocket;

use super::udp::{read, set_ttl, watched, when_readable};
use super::{Clock, os_error, report};

/// Bytes of an echo message before its payload.
const HEADER_BYTES: usize = 8;
/// The longest answer that is read, in bytes.
const ANSWER_BYTES: usize = 65_536;

/// A ping socket of the system.
#[derive(Debug)]
pub struct OsEcho {
    socket: UdpSocket,
    identifier: u16,
    ipv6: bool,
    clock: Clock,
}

impl OsEcho {
    pub(super) fn open(local: IpAddr, clock: Clock) -> io::Result<OsEcho> {
        let ipv6 = local.is_ipv6();
        let (domain, protocol) = if ipv6 { (Domain::IPV6, Protocol::ICMPV6) } else { (Domain::IPV4, Protocol::ICMPV4) };
        let socket = Socket::new(domain, Type::DGRAM.nonblocking().cloexec(), Some(protocol)).map_err(explain)?;
        match ipv6 {
            true => setsockopt(&socket, Ipv6RecvErr, &true).and(setsockopt(&socket, Ipv6RecvHopLimit, &true)),
            false => setsockopt(&socket, Ipv4RecvErr, &true).and(setsockopt(&socket, Ipv4RecvTtl, &true)),
        }
        .map_err(os_error)?;
        socket.bind(&SocketAddr::new(local, 0).into())?;
        let identifier = socket.local_addr()?.as_socket().map_or(0, |bound| bound.port());
        Ok(OsEcho { socket: watched(socket)?, identifier, ipv6, clock })
    }

    /// The reply in a message, if it is one.
    fn reply(&self, message: &[u8], source: IpAddr, ttl: u8) -> Option<EchoReply> {
        let kind = if self.ipv6 { 129 } else { 0 };
        let sequence = message.get(6..HEADER_BYTES)?.first_chunk().map(|bytes| u16::from_be_bytes(*bytes))?;
        let length = message.len() - HEADER_BYTES;
        (message.first() == Some(&kind)).then(|| EchoReply { source, sequence, at: self.clock.now(), ttl, length })
    }

    /// The oldest ICMP error about a request, with the request's sequence number.
    fn error(&self) -> Option<EchoAnswer> {
        let (report, quote) = report::take(&self.socket, self.ipv6, self.clock.now())?;
        let sequence = quote.get(6..HEADER_BYTES)?.first_chunk().map(|bytes| u16::from_be_bytes(*bytes))?;
        Some(EchoAnswer::Error { report, sequence })
    }
}

/// The system's refusal of a ping socket, and what to do about it.
fn explain(error: io::Error) -> io::Error {
    match error.kind() {
        io::ErrorKind::PermissionDenied => io::Error::new(
            io::ErrorKind::PermissionDenied,
            format!("{error}: ICMP echo needs this group in the sysctl net.ipv4.ping_group_range"),
        ),
        _ => error,
    }
}

impl EchoSocket for OsEcho {
    fn identifier(&self) -> u16 {
        self.identifier
    }

    fn set_ttl(&self, ttl: u8) -> io::Result<()> {
        set_ttl(&self.socket, self.ipv6, ttl)
    }

    /// The system puts in the identifier and the checksum.
    async fn send(&self, destination: IpAddr, sequence: u16, payload: &[u8]) -> io::Result<()> {
        let mut message = vec![if self.ipv6 { 128 } else { 8 }, 0, 0, 0, 0, 0];
        message.extend(sequence.to_be_bytes());
        message.extend(payload);
        self.socket.send_to(&message, SocketAddr::new(destination, 0)).await.map(|_| ())
    }

    async fn recv(&self) -> io::Result<EchoAnswer> {
        let mut buffer = vec![0; ANSWER_BYTES];
        loop {
            match when_readable(&self.socket, |socket| read(socket, &mut buffer)).await {
                Ok((length, Some(source), beside)) => {
                    let message = buffer.get(..length).unwrap_or_default();
                    if let Some(reply) = self.reply(message, source.ip(), beside.ttl.unwrap_or(0)) {
                        return Ok(EchoAnswer::Reply(reply));
                    }
                }
                Ok(_) => {}
                Err(error) => return self.error().ok_or(error),
            }
        }
    }
}

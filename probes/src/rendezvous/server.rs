//! The directory as a program.

use std::convert::Infallible;
use std::net::SocketAddr;

use natbox_host::{Host, UdpSocket};

use super::directory::{Directory, Limits};
use crate::ProbeError;
use crate::wait::{receive, serve_next};

/// The port of a directory: any free one would do, this one is in no registry.
pub const PORT: u16 = 3490;

/// The longest message: two names, 17 IPv6 endpoints, a token.
const LONGEST_MESSAGE_BYTES: usize = 1024;

/// Where a directory listens, and how much it remembers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ServerConfig {
    /// The endpoint.
    pub listen: SocketAddr,
    /// The bounds of its tables.
    pub limits: Limits,
}

/// Serves until the world ends.
///
/// # Errors
/// [`ProbeError::Io`] when the endpoint cannot be bound.
pub async fn serve<H: Host>(host: H, config: ServerConfig) -> Result<Infallible, ProbeError> {
    let socket = host.udp_bind(config.listen).await.map_err(ProbeError::io("bind the directory's endpoint"))?;
    let mut directory = Directory::new(config.limits);
    let mut random = host.random();
    let mut buffer = vec![0; LONGEST_MESSAGE_BYTES];
    loop {
        let received = match directory.next_deadline() {
            None => Some(serve_next(&host, &socket, &mut buffer).await),
            Some(deadline) => receive(&host, &socket, &mut buffer, deadline).await.ok().flatten(),
        };
        if let Some(received) = received {
            let datagram = &buffer[..received.length.min(LONGEST_MESSAGE_BYTES)];
            directory.handle(datagram, received.source, &mut random, host.now());
        }
        directory.tick(host.now());
        for transmit in directory.drain() {
            // Whoever cannot be reached asks again, or has gone.
            let _ = socket.send_to(&transmit.datagram, transmit.to).await;
        }
    }
}

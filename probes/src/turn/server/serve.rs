//! TURN servers as programs on a host, over UDP, TCP and TLS: alone, or with a STUN server on the same ports.

use std::collections::BTreeMap;
use std::convert::Infallible;
use std::io;
use std::net::SocketAddr;
use std::rc::Rc;

use futures::future::join_all;
use natbox_host::{Host, UdpSocket};

use super::driver::BUFFER_BYTES;
use super::{ServerConfig, Service, handles};
use crate::wait::serve_next;
use crate::{ProbeError, stun};

/// Serves until the world ends.
///
/// # Errors
/// [`ProbeError::Io`] when the listening socket cannot be bound or the configuration makes no sense.
pub async fn serve<H: Host>(host: H, config: ServerConfig) -> Result<Infallible, ProbeError> {
    let listening = host.udp_bind(config.listen).await.map_err(ProbeError::io("bind the TURN server's socket"))?;
    let listening = Rc::new(listening);
    let service = Service::new(host.clone(), listening.clone(), config.clone())?;
    service.listen(&config).await?;
    let mut buffer = vec![0; BUFFER_BYTES];
    loop {
        let received = serve_next(&host, &listening, &mut buffer).await;
        // What is discarded is discarded silently, as the RFC wants it.
        let _ = service.receive(buffer.get(..received.length).unwrap_or_default(), &received).await;
    }
}

/// Serves TURN and STUN on one host and the same ports, until the world ends: TURN on `turn.listen`, whether or not
/// it is one of the STUN server's endpoints, and STUN on all of its own.
///
/// # Errors
/// [`ProbeError::Io`] when an endpoint cannot be bound or the configuration makes no sense.
pub async fn serve_with_stun<H: Host>(
    host: H,
    turn: ServerConfig,
    stun: stun::server::ServerConfig,
) -> Result<Infallible, ProbeError> {
    let mut endpoints = stun.endpoints();
    if !endpoints.contains(&turn.listen) {
        endpoints.push(turn.listen);
    }
    let mut sockets = BTreeMap::new();
    for endpoint in endpoints {
        let socket = host.udp_bind(endpoint).await.map_err(ProbeError::io("bind an endpoint of STUN and TURN"))?;
        sockets.insert(endpoint, Rc::new(socket));
    }
    let listening = sockets.get(&turn.listen).cloned();
    let listening =
        listening.ok_or_else(|| ProbeError::io("find the TURN endpoint")(io::ErrorKind::NotFound.into()))?;
    let at = turn.listen;
    let service = Service::new(host.clone(), listening, turn.clone())?;
    service.listen(&turn).await?;
    let both = Both { host, service, at, stun, sockets };
    join_all(both.sockets.keys().map(|local| both.listen(*local))).await;
    Ok(std::future::pending().await)
}

/// A STUN and a TURN server that share sockets.
struct Both<H: Host> {
    host: H,
    service: Service<H>,
    /// Where TURN is served.
    at: SocketAddr,
    stun: stun::server::ServerConfig,
    sockets: BTreeMap<SocketAddr, Rc<H::Udp>>,
}

impl<H: Host> Both<H> {
    /// Answers what comes to one endpoint.
    async fn listen(&self, local: SocketAddr) {
        let Some(socket) = self.sockets.get(&local) else { return };
        let has_stun = self.stun.endpoints().contains(&local);
        let mut buffer = vec![0; BUFFER_BYTES];
        loop {
            let received = serve_next(&self.host, socket, &mut buffer).await;
            let datagram = buffer.get(..received.length).unwrap_or_default();
            if local == self.at && (handles(datagram) || !has_stun) {
                let _ = self.service.receive(datagram, &received).await;
            } else if let Some(reply) = stun::server::respond(&self.stun, datagram, received.source, local)
                && let Some(socket) = self.sockets.get(&reply.from)
            {
                // A client that cannot be reached asks again, or has gone.
                let _ = socket.send_to(&reply.datagram, reply.to).await;
            }
        }
    }
}

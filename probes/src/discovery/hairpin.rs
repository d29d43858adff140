//! Whether a packet to the own external address comes back inside, and with which source (RFC 5780 section 4.5).
//!
//! Two sockets send to each other's mapped address. Both send, because a NAT may filter hairpinned packets like any
//! other (Ford 2005, section 6.3): each opens the filter for the other. A NAT with endpoint-dependent mapping *and* a
//! filter on hairpinned packets lets nothing through even so, and counts as off.

use std::net::SocketAddr;
use std::pin::pin;
use std::time::Duration;

use futures::{FutureExt, select_biased};
use natbox_host::{Host, UdpSocket};
use natbox_wire::Time;

use super::{Hairpin, Probe, answered};
use crate::ProbeError;
use crate::stun::client::BindingRequest;

/// How often both sockets send.
const ROUNDS: usize = 3;
/// How long a round waits: twice through the access network is far less.
const ROUND: Duration = Duration::from_millis(500);

impl<H: Host> Probe<'_, H> {
    pub(crate) async fn hairpin(&mut self) -> Result<Hairpin, ProbeError> {
        let sockets = [self.socket().await?, self.socket().await?];
        let plain = BindingRequest::default();
        let first = answered(self.ask(&sockets[0], self.server, plain).await)?;
        let second = answered(self.ask(&sockets[1], self.server, plain).await)?;
        let Some((first, second)) = first.zip(second) else { return Ok(Hairpin::Unknown) };
        self.pace().await;
        let request = self.client.prepare(plain);
        for _ in 0..ROUNDS {
            // A refusal by the machine or by a router is the same as silence here.
            let _ = sockets[0].send_to(&request, second.mapped).await;
            let _ = sockets[1].send_to(&request, first.mapped).await;
            let deadline = self.host.now() + ROUND;
            if let Some(source) = self.arrival(&sockets, &request, deadline).await {
                let internal = sockets.iter().any(|socket| socket.local_addr() == source);
                let external = [first, second].iter().any(|binding| binding.mapped.ip() == source.ip());
                return Ok(match (internal, external) {
                    (true, _) => Hairpin::InternalSource,
                    (false, true) => Hairpin::ExternalSource,
                    (false, false) => Hairpin::RouterSource,
                });
            }
        }
        Ok(Hairpin::Off)
    }

    /// The source of the first copy of `request` that either socket receives.
    async fn arrival(&self, sockets: &[H::Udp; 2], request: &[u8], deadline: Time) -> Option<SocketAddr> {
        let mut buffers = [[0; 64]; 2];
        let [left, right] = &mut buffers;
        let mut left = pin!(arrival_at(&sockets[0], request, left).fuse());
        let mut right = pin!(arrival_at(&sockets[1], request, right).fuse());
        let mut end = pin!(self.host.sleep_until(deadline).fuse());
        select_biased! {
            source = left => source,
            source = right => source,
            () = end => None,
        }
    }
}

/// The source of the first copy of `request` that `socket` receives; `None` if the socket fails.
async fn arrival_at(socket: &impl UdpSocket, request: &[u8], buffer: &mut [u8]) -> Option<SocketAddr> {
    loop {
        let received = socket.recv_from(buffer).await.ok()?;
        if buffer.get(..received.length) == Some(request) {
            return Some(received.source);
        }
    }
}

//! A mapping of a socket's own port, asked for before the socket is used: one more endpoint at which its host can be reached.
//!
//! It is asked for once, for two hours; what a connection needs of it afterwards, its keep-alives keep.

use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use natbox_host::{Host, UdpSocket};
use natbox_wire::Protocol;

use super::{LIFETIME, Method, Wish, keep};
use crate::rendezvous::{Candidate, CandidateKind};

/// How long one protocol is waited for: a gateway is near.
const PATIENCE: Duration = Duration::from_secs(2);

/// The endpoint that the gateway grants a UDP socket by the first of these methods that it speaks. Why it does not, else,
/// becomes a remark.
pub(crate) async fn mapped<H: Host>(
    host: &H,
    socket: &H::Udp,
    methods: &[Method],
    remarks: &mut Vec<String>,
) -> Option<Candidate> {
    let bound = socket.local_addr();
    for method in methods {
        let Some(facing) = keep::internal(host, bound.port(), bound.is_ipv6()) else {
            remarks.push("this host has no gateway to ask".to_owned());
            return None;
        };
        let own: IpAddr = if bound.ip().is_unspecified() { facing.ip() } else { bound.ip() };
        let internal = SocketAddr::new(own, bound.port());
        let wish = Wish { protocol: Protocol::Udp, internal, external_port: 0, lifetime: LIFETIME };
        match keep::ask(host, *method, &wish, PATIENCE).await {
            Ok(granted) => return Some(Candidate { kind: CandidateKind::Mapped, endpoint: granted.external }),
            Err(failure) => remarks.push(format!("no mapping by {method}: {failure}")),
        }
    }
    None
}

//! Gathering (RFC 8445 section 5.1.1): a socket on each address, what the STUN server sees of each, and a relay.

use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use futures::future::{join, join_all};
use is::{Candidate, IceError};
use natbox_host::{Host, UdpSocket};

use super::description::MOST_CANDIDATES;
use crate::ProbeError;
use crate::contact::Setting;
use crate::punch::relay;
use crate::stun::client::{BindingRequest, Client, Retransmission};
use crate::turn;

/// Servers that have not answered after this long are done without.
const SERVERS: Duration = Duration::from_millis(2500);
/// A STUN request is sent at 0, 0.5 and 1.5 s, and given up at 2.5 s.
const STUN: Retransmission = Retransmission { first_wait: Duration::from_millis(500), sends: 3, last_wait_multiple: 2 };
/// A socket for each of so many addresses: every one may make two candidates, and the relay makes one.
const MOST_SOCKETS: usize = (MOST_CANDIDATES - 1) / 2;

/// What gathering has found.
pub(super) struct Gathered<H: Host> {
    pub(super) candidates: Vec<Candidate>,
    pub(super) relay: Option<turn::Client<H>>,
    /// What could not be had, and why.
    pub(super) remarks: Vec<String>,
}

/// A socket on each of this host's addresses of the directory's IP version.
pub(super) async fn open<H: Host>(host: &H, directory: SocketAddr) -> Result<Vec<H::Udp>, ProbeError> {
    let fits = |address: &IpAddr| address.is_ipv4() == directory.is_ipv4() && !address.is_loopback();
    let mut sockets = Vec::new();
    for address in host.addresses().into_iter().filter(fits).take(MOST_SOCKETS) {
        let bound = host.udp_bind(SocketAddr::new(address, 0)).await;
        sockets.push(bound.map_err(ProbeError::io("bind a UDP socket"))?);
    }
    Ok(sockets)
}

/// The candidates of these sockets, and of a relay.
pub(super) async fn gather<H: Host>(host: &H, sockets: &[H::Udp], setting: &Setting) -> Gathered<H> {
    let mut remarks = Vec::new();
    let reflexive = join_all(sockets.iter().map(|socket| reflexive(host, socket, setting)));
    let relayed = async {
        match &setting.relay {
            Some(_) => relay::allocate(host, setting.relay.as_ref(), SERVERS, &mut remarks).await,
            None => None,
        }
    };
    let (reflexive, relay) = join(reflexive, relayed).await;
    let mut candidates = Vec::new();
    for (socket, found) in sockets.iter().zip(reflexive) {
        candidates.extend(Candidate::host(socket.local_addr(), "udp"));
        match found {
            Ok(Some(mapped)) => candidates.extend(server_reflexive(mapped, socket.local_addr())),
            Ok(None) => {}
            Err(error) => remarks.push(format!("no server-reflexive candidate: {error}")),
        }
    }
    if let Some(relay) = &relay {
        candidates.extend(Candidate::relayed(relay.relayed_address(), relay.mapped_address(), "udp"));
    }
    Gathered { candidates, relay, remarks }
}

async fn reflexive<H: Host>(host: &H, socket: &H::Udp, setting: &Setting) -> Result<Option<SocketAddr>, ProbeError> {
    let Some(server) = setting.stun.first() else { return Ok(None) };
    let binding = Client::new(host, STUN).binding(socket, *server, BindingRequest::default()).await?;
    Ok(Some(binding.mapped))
}

/// A candidate that is its own base is the host candidate over again (RFC 8445 section 5.1.3).
fn server_reflexive(mapped: SocketAddr, base: SocketAddr) -> Option<Candidate> {
    let candidate: Result<Candidate, IceError> = Candidate::server_reflexive(mapped, base, "udp");
    candidate.ok().filter(|_| mapped != base)
}

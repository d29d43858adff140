//! The NAT in front of this machine, on the real network.

use std::fmt;
use std::io;
use std::net::{SocketAddr, ToSocketAddrs};

use natbox_live::sockets;
use natbox_probes::ProbeError;
use natbox_probes::measure::{Measurement, Options, measure};
use natbox_probes::stun;

use crate::words::Family;

/// Why nothing was measured.
#[derive(Debug)]
pub enum Failure {
    /// A server's name means no address.
    Name {
        /// The server, as it was named.
        server: String,
        /// Why.
        why: String,
    },
    /// The system has no room for a program.
    System(io::Error),
    /// The measurement came to nothing.
    Probe(ProbeError),
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Failure::Name { server, why } => {
                write!(f, "no address for the server `{server}`: {why}; expected HOST, HOST:PORT or ADDRESS:PORT")
            }
            Failure::System(error) => write!(f, "cannot run on this machine: {error}"),
            Failure::Probe(error) => write!(f, "{error}; is it a STUN server, and does UDP get there?"),
        }
    }
}

impl std::error::Error for Failure {}

/// Measures from this machine. Servers are `HOST`, `HOST:PORT`, `ADDRESS` or `ADDRESS:PORT`, by DNS if need be.
///
/// # Errors
/// A name without an address, silence of all servers, what the system says.
pub fn real(servers: &[String], family: Option<Family>, options: &Options) -> Result<Measurement, Failure> {
    let mut endpoints: Vec<SocketAddr> = Vec::new();
    for server in servers {
        // All over the IP version of the first: one mapping is looked at.
        let family = family.or(endpoints.first().map(|first| version(*first)));
        endpoints.push(resolve(server, family)?);
    }
    let measured = sockets::run("here", async |host| measure(&host, &endpoints, options).await);
    measured.map_err(Failure::System)?.map_err(Failure::Probe)
}

fn version(endpoint: SocketAddr) -> Family {
    if endpoint.is_ipv6() { Family::Ipv6 } else { Family::Ipv4 }
}

/// The first address of a server, of this IP version if one is asked for.
fn resolve(server: &str, family: Option<Family>) -> Result<SocketAddr, Failure> {
    let failure = |why: String| Failure::Name { server: server.to_owned(), why };
    let bare = server.parse().map(|address| SocketAddr::new(address, stun::PORT));
    let candidates: Vec<SocketAddr> = match bare {
        Ok(endpoint) => vec![endpoint],
        Err(_) if server.contains(':') => {
            server.to_socket_addrs().map_err(|error| failure(error.to_string()))?.collect()
        }
        Err(_) => (server, stun::PORT).to_socket_addrs().map_err(|error| failure(error.to_string()))?.collect(),
    };
    let fitting = candidates.into_iter().find(|one| family.is_none_or(|family| version(*one) == family));
    let none = || failure(format!("it has none of {}", family.map_or("any kind", Family::name)));
    fitting.filter(|endpoint| endpoint.port() != 0).ok_or_else(none)
}

//! Mapping over TCP: connections from one local port to several endpoints of a server, open side by side.

use std::net::SocketAddr;
use std::time::Duration;

use natbox_host::{Host, TcpOptions, TcpStream};

use super::{Known, Measured, NO_OTHER, NOT_TRANSLATED, Unknown};
use crate::ProbeError;
use crate::discovery::{Mapping, Probe};
use crate::stun::client::BindingRequest;
use crate::stun::{codec, tcp};

/// How long connecting and asking may take.
const PATIENCE: Duration = Duration::from_secs(5);

/// What a server says of a connection, which stays open with it; `None` where there is no answer.
async fn ask<H: Host>(probe: &mut Probe<'_, H>, local: SocketAddr, server: SocketAddr) -> Option<(H::Tcp, SocketAddr)> {
    probe.pace().await;
    let deadline = probe.host.now() + PATIENCE;
    let options =
        TcpOptions { local: Some(local), reuse_port: true, connect_timeout: Some(PATIENCE), ..TcpOptions::default() };
    let mut stream = probe.host.tcp_connect(server, options).await.ok()?;
    let request = probe.client.prepare(BindingRequest::default());
    let answer = tcp::transact(probe.host, &mut stream, &request, deadline).await.ok()?;
    let message = codec::parse(&answer)?;
    Some((stream, codec::mapped_address(&message)?))
}

/// As RFC 5780 section 4.3 has it for UDP.
pub(super) async fn mapping<H: Host>(probe: &mut Probe<'_, H>, known: &Known) -> Result<Measured<Mapping>, ProbeError> {
    if !known.translated {
        return Ok(Err(NOT_TRANSLATED));
    }
    let (Some(second), Some(other)) = (known.second_address(), known.other) else { return Ok(Err(NO_OTHER)) };
    let silent = Unknown("the server does not answer over TCP");
    let any = probe.any_port;
    let Some((stream, first)) = ask(probe, any, known.server).await else { return Ok(Err(silent)) };
    let local = stream.local_addr();
    let Some((_near, near)) = ask(probe, local, second).await else { return Ok(Err(silent)) };
    if near == first {
        return Ok(Ok(Mapping::EndpointIndependent));
    }
    let Some((_far, far)) = ask(probe, local, other).await else { return Ok(Err(silent)) };
    Ok(Ok(if far == near { Mapping::AddressDependent } else { Mapping::AddressAndPortDependent }))
}

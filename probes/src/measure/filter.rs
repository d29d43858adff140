//! Filters, beyond what RFC 5780 asks: what permissions are tied to, replies, and packets that turn round.

use std::net::SocketAddr;
use std::time::Duration;

use natbox_host::{Host, UdpSocket};

use super::{FilterScope, HairpinFilter, Known, Measured, NO_OTHER, NOT_TRANSLATED, SILENT, SessionAffinity, Unknown};
use crate::ProbeError;
use crate::discovery::{Filtering, Hairpin, Mapping, Probe, answered};
use crate::stun::client::BindingRequest;
use crate::stun::codec::ChangeRequest;
use crate::wait::receive;

/// "Answer from your other address and port."
const ELSEWHERE: BindingRequest =
    BindingRequest { change: ChangeRequest { address: true, port: true }, response_port: None, padding_bytes: None };

/// How long a hairpinned packet may take: twice through the access network is far less.
const ROUND: Duration = Duration::from_millis(500);

fn depends(mapping: Measured<Mapping>) -> Option<bool> {
    match mapping {
        Ok(Mapping::EndpointIndependent | Mapping::None) => Some(false),
        Ok(Mapping::AddressDependent | Mapping::AddressAndPortDependent) => Some(true),
        _ => None,
    }
}

/// A socket that has sent to the server's other endpoint, and so has a permission for it and a mapping of its own
/// towards it, has that endpoint answer to its mapping towards the first one.
pub(super) async fn scope<H: Host>(
    probe: &mut Probe<'_, H>,
    known: &Known,
) -> Result<Measured<FilterScope>, ProbeError> {
    let Some(other) = known.other else { return Ok(Err(NO_OTHER)) };
    match (depends(known.mapping), known.filtering) {
        (None, _) | (_, Err(_)) => return Ok(Err(Unknown("mapping or filtering is not known"))),
        (Some(false), _) => return Ok(Err(Unknown("an internal endpoint has one mapping: both come to the same"))),
        (_, Ok(Filtering::EndpointIndependent | Filtering::Off)) => {
            return Ok(Err(Unknown("there is no filter by remotes")));
        }
        _ => {}
    }
    let socket = probe.socket().await?;
    if answered(probe.ask(&socket, other, BindingRequest::default()).await)?.is_none() {
        return Ok(Err(SILENT));
    }
    let heard = answered(probe.ask(&socket, probe.server, ELSEWHERE).await)?;
    Ok(Ok(if heard.is_some() { FilterScope::Endpoint } else { FilterScope::Mapping }))
}

/// A remote that the filter lets in, and that was not sent to, answers to a mapping; then it is sent to.
pub(super) async fn affinity<H: Host>(
    probe: &mut Probe<'_, H>,
    known: &Known,
) -> Result<Measured<SessionAffinity>, ProbeError> {
    let Some(other) = known.other else { return Ok(Err(NO_OTHER)) };
    let (change, remote) = match (known.mapping, known.filtering) {
        (Ok(Mapping::EndpointIndependent | Mapping::None), _) => {
            return Ok(Err(Unknown("an internal endpoint has one mapping: both come to the same")));
        }
        (Ok(Mapping::AddressDependent | Mapping::AddressAndPortDependent), Ok(Filtering::EndpointIndependent)) => {
            (ELSEWHERE.change, other)
        }
        (Ok(Mapping::AddressAndPortDependent), Ok(Filtering::AddressDependent)) => {
            let port = ChangeRequest { address: false, port: true };
            (port, SocketAddr::new(known.server.ip(), other.port()))
        }
        (Err(_), _) | (_, Err(_)) => return Ok(Err(Unknown("mapping or filtering is not known"))),
        _ => return Ok(Err(Unknown("the filter lets in nobody who would be sent to by another mapping"))),
    };
    let socket = probe.socket().await?;
    let Some(first) = answered(probe.ask(&socket, probe.server, BindingRequest::default()).await)? else {
        return Ok(Err(SILENT));
    };
    let request = BindingRequest { change, ..BindingRequest::default() };
    if answered(probe.ask(&socket, probe.server, request).await)?.is_none() {
        return Ok(Err(SILENT));
    }
    let Some(reply) = answered(probe.ask(&socket, remote, BindingRequest::default()).await)? else {
        return Ok(Err(SILENT));
    };
    Ok(Ok(if reply.mapped == first.mapped { SessionAffinity::On } else { SessionAffinity::Off }))
}

/// As discovery finds it. Silence says nothing where both sockets would be refused by the filter in any case.
pub(super) async fn hairpin<H: Host>(probe: &mut Probe<'_, H>, known: &Known) -> Result<Measured<Hairpin>, ProbeError> {
    if !known.translated {
        return Ok(Err(NOT_TRANSLATED));
    }
    let open = known.filtering == Ok(Filtering::EndpointIndependent);
    Ok(match probe.hairpin().await? {
        Hairpin::Unknown => Err(SILENT),
        Hairpin::Off if depends(known.mapping) != Some(false) && !open => {
            Err(Unknown("each packet would meet the filter with an endpoint that was never sent to"))
        }
        found => Ok(found),
    })
}

/// Whether a socket hears another one of this host that it has not sent to, where the filter would refuse a remote.
pub(super) async fn hairpin_filter<H: Host>(
    probe: &mut Probe<'_, H>,
    known: &Known,
    hairpin: Measured<Hairpin>,
) -> Result<Measured<HairpinFilter>, ProbeError> {
    match (hairpin, known.filtering) {
        (Ok(Hairpin::Off) | Err(_), _) => return Ok(Err(Unknown("nothing turns round"))),
        (_, Ok(Filtering::EndpointIndependent | Filtering::Off) | Err(_)) => {
            return Ok(Err(Unknown("there is no filter by remotes")));
        }
        _ => {}
    }
    let (listening, sending) = (probe.socket().await?, probe.socket().await?);
    let Some(goal) = answered(probe.ask(&listening, probe.server, BindingRequest::default()).await)? else {
        return Ok(Err(SILENT));
    };
    let request = probe.client.prepare(BindingRequest::default());
    for _ in 0..2 {
        // A refusal by the machine or by a router is the same as silence here.
        let _ = sending.send_to(&request, goal.mapped).await;
        let deadline = probe.host.now() + ROUND;
        let mut buffer = [0; 1024];
        while let Ok(Some(received)) = receive(probe.host, &listening, &mut buffer, deadline).await {
            if buffer.get(..received.length) == Some(&request) {
                return Ok(Ok(HairpinFilter::Bypass));
            }
        }
    }
    Ok(Ok(HairpinFilter::Apply))
}

//! A relay beside the socket: to have one in time, and to let the peer through.

use std::future::Future;
use std::net::IpAddr;
use std::pin::pin;
use std::time::Duration;

use futures::{FutureExt, select_biased};
use natbox_host::Host;

use crate::contact::Relay;
use crate::rendezvous::{CandidateKind, Peer};
use crate::turn;

/// A relay, if one can be had in time. Why not, else, becomes a remark.
pub(crate) async fn allocate<H: Host>(
    host: &H,
    relay: Option<&Relay>,
    timeout: Duration,
    remarks: &mut Vec<String>,
) -> Option<turn::Client<H>> {
    let Some(Relay { server, credentials, .. }) = relay else {
        remarks.push("relayed: this host has no relay".to_owned());
        return None;
    };
    match within(host, timeout, turn::Client::allocate(host, *server, credentials)).await {
        Some(Ok(relay)) => Some(relay),
        Some(Err(error)) => {
            remarks.push(format!("relayed: {error}"));
            None
        }
        None => {
            remarks.push(format!("relayed: {server} granted nothing within {timeout:?}"));
            None
        }
    }
}

/// Permits the peer to send to the relay, beside everything else: its checks are repeated until that is done.
pub(crate) fn permit<H: Host>(host: &H, relay: &turn::Client<H>, peer: &Peer) {
    let told = peer.candidates.iter().filter(|candidate| candidate.kind == CandidateKind::Reflexive);
    let mut addresses: Vec<IpAddr> = told.map(|candidate| candidate.endpoint.ip()).collect();
    addresses.push(peer.reflexive.ip());
    addresses.sort_unstable();
    addresses.dedup();
    let relay = relay.clone();
    host.spawn(async move {
        for address in addresses {
            // Without it the checks through the relay stay unanswered, and the report says so.
            let _ = relay.create_permission(address).await;
        }
    });
}

/// What `future` gives, unless it takes longer than this.
pub(crate) async fn within<H: Host, T>(host: &H, limit: Duration, future: impl Future<Output = T>) -> Option<T> {
    let mut future = pin!(future.fuse());
    let mut end = pin!(host.sleep(limit).fuse());
    select_biased! {
        output = future => Some(output),
        () = end => None,
    }
}

//! What a subscriber can ask for in so many words. NAT-PMP, PCP and UPnP-IGD are the gateway's (`port_control`), and all of
//! them end at the request that is made here.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use natbox_nat::Behavior;
use natbox_wire::{MapRequest, MappedBy, Protocol};

use super::bench::Bench;
use super::packets::{X1, Y1, Y2, host, udp};
use super::{Outcome, require};

/// Why such a row is never violated.
pub(super) const SPOKEN: &str = "port control is an option of every gateway of natbox, and ends at the same request";

/// What PCP asks for by MAP, with this external port or none other (PREFER_FAILURE) where it names one.
fn map(internal: SocketAddr, external_port: u16) -> MapRequest {
    MapRequest {
        protocol: Protocol::Udp,
        internal,
        external_address: None,
        external_port,
        exact: external_port != 0,
        remote: None,
        filters: Vec::new(),
        lifetime: Some(Duration::from_secs(7200)),
        pair: false,
        by: MappedBy::Pcp,
    }
}

/// A mapping that is asked for is made, anybody reaches the subscriber by it, and it leaves by it.
pub(super) fn mapping(behavior: &Arc<Behavior>) -> Outcome {
    let mut bench = Bench::new(behavior);
    let external = bench.map(&map(X1, 0))?;
    bench.reaches(udp(Y2, external), X1)?;
    let left = bench.send(udp(X1, Y1))?;
    require(left == external, || format!("{X1} was given {external}, and left by {left}"))
}

/// Somebody who needs an even port or an odd one asks for such ports until one is given: that one, and no other.
pub(super) fn parity(behavior: &Arc<Behavior>) -> Outcome {
    let mut bench = Bench::new(behavior);
    for (parity, word) in [(0, "even"), (1, "odd")] {
        let internal = host(1, 10_000 + parity);
        let wished = std::iter::once(internal.port()).chain((1024..=u16::MAX).filter(|port| port % 2 == parity));
        let given = wished.into_iter().find_map(|port| bench.map(&map(internal, port)).ok());
        require(given.is_some_and(|given| given.port() % 2 == parity), || format!("it gave no {word} port"))?;
    }
    Ok(())
}

//! Which TCP ports are taken, and whether they may be shared.
//!
//! As Linux's bind table without its refinements: an endpoint may be shared if all who use it asked for that
//! (`SO_REUSEADDR` and `SO_REUSEPORT`). Knows no sockets.

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

/// A socket's use of a local endpoint.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Claim {
    pub(super) local: SocketAddr,
    pub(super) share: bool,
}

#[derive(Clone, Copy, Debug, Default)]
struct Uses {
    exclusive: u32,
    shared: u32,
}

/// The endpoints in use.
#[derive(Debug, Default)]
pub(super) struct Ports {
    uses: BTreeMap<(u16, IpAddr), Uses>,
}

impl Ports {
    /// Whether a socket may be bound so, beside those that are.
    pub(super) fn is_free(&self, claim: Claim) -> bool {
        let any = unspecified(claim.local);
        let meets = |address: IpAddr| {
            address.is_ipv6() == any.is_ipv6()
                && (claim.local.ip() == any || address == any || address == claim.local.ip())
        };
        let port = claim.local.port();
        let lowest: IpAddr = Ipv4Addr::UNSPECIFIED.into();
        let highest: IpAddr = Ipv6Addr::from_bits(u128::MAX).into();
        self.uses
            .range((port, lowest)..=(port, highest))
            .filter(|((_, address), _)| meets(*address))
            .all(|(_, uses)| uses.exclusive == 0 && (claim.share || uses.shared == 0))
    }

    pub(super) fn take(&mut self, claim: Claim) {
        let uses = self.uses.entry((claim.local.port(), claim.local.ip())).or_default();
        *uses.of(claim) += 1;
    }

    pub(super) fn release(&mut self, claim: Claim) {
        let key = (claim.local.port(), claim.local.ip());
        let Some(uses) = self.uses.get_mut(&key) else { return };
        let count = uses.of(claim);
        *count = count.saturating_sub(1);
        if uses.exclusive == 0 && uses.shared == 0 {
            self.uses.remove(&key);
        }
    }
}

impl Uses {
    fn of(&mut self, claim: Claim) -> &mut u32 {
        if claim.share { &mut self.shared } else { &mut self.exclusive }
    }
}

/// The unspecified address of an endpoint's version.
pub(super) fn unspecified(endpoint: SocketAddr) -> IpAddr {
    if endpoint.is_ipv6() { Ipv6Addr::UNSPECIFIED.into() } else { Ipv4Addr::UNSPECIFIED.into() }
}

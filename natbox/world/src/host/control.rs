//! The machine that a gateway is itself, as its programs see it: a host, and [`PortControl`] over its NAT.

use std::cell::RefMut;
use std::future::{Future, poll_fn};
use std::net::{IpAddr, SocketAddr};
use std::task::Poll;

use natbox_host::PortControl;
use natbox_nat::behavior::{Ipv6, TranslationKind};
use natbox_wire::{ExplicitMapping, MapRefusal, MapRequest, Protocol, Time, Traffic};

use super::VirtualHost;
use crate::state::State;

/// A gateway's own machine.
#[derive(Clone, Debug)]
pub struct VirtualGateway {
    host: VirtualHost,
}

impl VirtualGateway {
    pub(crate) fn new(host: VirtualHost) -> VirtualGateway {
        VirtualGateway { host }
    }

    /// The machine as a host: its sockets are at the gateway's inside addresses.
    pub fn host(&self) -> VirtualHost {
        self.host.clone()
    }

    fn state(&self) -> RefMut<'_, State> {
        self.host.state.borrow_mut()
    }
}

impl PortControl for VirtualGateway {
    fn map(&self, request: &MapRequest) -> Result<ExplicitMapping, MapRefusal> {
        self.state().map(self.host.node, request)
    }

    fn unmap(&self, mapping: &ExplicitMapping, traffic: Traffic) -> bool {
        self.state().unmap(self.host.node, mapping, traffic)
    }

    fn explicit(&self) -> Vec<ExplicitMapping> {
        self.state().explicit(self.host.node)
    }

    fn explicit_of(&self, protocol: Protocol, internal: SocketAddr) -> Option<ExplicitMapping> {
        self.state().explicit_of(self.host.node, protocol, internal)
    }

    fn is_mapped(&self, protocol: Protocol, internal: SocketAddr) -> bool {
        let all = self.state().mappings(self.host.node);
        all.iter().any(|mapping| mapping.protocol == protocol && mapping.internal == internal)
    }

    fn external_address(&self, ipv6: bool) -> Option<IpAddr> {
        let mut state = self.state();
        let nat = &state.gateway_of(self.host.node)?.nat;
        let translates = match ipv6 {
            false => nat.behavior().translation != TranslationKind::None,
            true => nat.behavior().ipv6 == Ipv6::Napt,
        };
        nat.external().iter().copied().find(|address| translates && address.is_ipv6() == ipv6)
    }

    fn up_since(&self) -> Time {
        self.state().machine(self.host.node).map_or(Time::ZERO, |machine| machine.up_since)
    }

    fn changed(&self) -> impl Future<Output = ()> {
        let before = self.state().changes(self.host.node);
        poll_fn(move |context| {
            let mut state = self.state();
            if state.changes(self.host.node) != before {
                return Poll::Ready(());
            }
            state.wait_for_change(self.host.node, context.waker());
            Poll::Pending
        })
    }
}

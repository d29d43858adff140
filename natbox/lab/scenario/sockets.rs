//! What packet scripts have open on the endpoints that they name, from the beginning: UDP sockets, and a raw program's
//! claim to TCP ports and echo identifiers. A host that moves has its UDP sockets at its new addresses too.
//!
//! A port that is forwarded, or that a host asks its gateway for, is open as well. An endpoint that only steps expecting `port-unreachable` or `rst` name stays closed: that is what they are about.

use std::collections::BTreeMap;
use std::collections::btree_map::Entry;
use std::net::{IpAddr, SocketAddr};
use std::rc::Rc;

use natbox_host::{Host as _, UdpSocket as _};
use natbox_wire::Protocol;
use natbox_world::Stalled;

use crate::anyhost::{Any, AnyHost};
use crate::build::Built;
use crate::plan::control::transport;
use crate::plan::message::Message;
use crate::plan::step::{Goal, Place};
use crate::plan::{Action, Plan, expects_closed};

/// Errors in a row after which nobody reads a socket any more.
const MAX_ERRORS: u32 = 16;

type Socket = <AnyHost as natbox_host::Host>::Udp;

/// The sockets, by host and endpoint.
#[derive(Default)]
pub(super) struct Sockets {
    /// Host and port of every UDP endpoint that is to be open.
    wanted: Vec<(String, u16)>,
    open: BTreeMap<(String, SocketAddr), Rc<Socket>>,
}

impl Sockets {
    /// Opens them. An endpoint that a server of the host has is open already.
    pub(super) fn open(plan: &Plan, built: &mut Built) -> Result<Sockets, Stalled> {
        let mut sockets = Sockets::default();
        for (name, protocol, port) in wanted(plan) {
            match (protocol, built.any_host(&name)) {
                (Protocol::Udp, _) => sockets.wanted.push((name, port)),
                (_, Some(Any::Virtual(host))) => host.claim_raw(protocol, port),
                // The kernel of a real host answers.
                (_, Some(Any::Real(_)) | None) => {}
            }
        }
        sockets.catch_up(built)?;
        Ok(sockets)
    }

    /// Opens what is not open yet: at first all, then what hosts that moved have at their new addresses.
    pub(super) fn catch_up(&mut self, built: &mut Built) -> Result<(), Stalled> {
        for (name, port) in &self.wanted {
            let Some(host) = built.any_host(name) else { continue };
            for address in host.addresses() {
                let (at, endpoint) = (name.clone(), SocketAddr::new(address, *port));
                let Entry::Vacant(place) = self.open.entry((at, endpoint)) else { continue };
                if let Ok(socket) = built.world.run_until(host.udp_bind(endpoint))? {
                    // Linux sets don't-fragment unless told not to, a simulated host where it is told to.
                    let _ = socket.set_dont_fragment(false);
                    let socket = Rc::new(socket);
                    host.spawn(drain(socket.clone()));
                    place.insert(socket);
                }
            }
        }
        Ok(())
    }

    /// The socket of this endpoint.
    pub(super) fn get(&self, host: &str, endpoint: SocketAddr) -> Option<Rc<Socket>> {
        self.open.get(&(host.to_owned(), endpoint)).cloned()
    }
}

/// Takes what comes, so that no buffer fills up: what a packet came to is read off the notes.
async fn drain(socket: Rc<Socket>) {
    let mut errors = 0;
    let mut buffer = [0; 16];
    while errors < MAX_ERRORS {
        match socket.recv_from(&mut buffer).await {
            Ok(_) => errors = 0,
            Err(_) => errors += 1,
        }
    }
}

/// Host, protocol and port of every endpoint that is to be open.
fn wanted(plan: &Plan) -> Vec<(String, Protocol, u16)> {
    let owners: BTreeMap<IpAddr, &str> =
        plan.hosts.iter().flat_map(|host| host.addresses().map(|address| (address, host.name.as_str()))).collect();
    let forwards = plan.nats.iter().flat_map(|nat| &nat.forward);
    let mut wanted: Vec<(String, Protocol, u16)> =
        forwards.map(|forward| (forward.to.clone(), forward.protocol, forward.internal.port())).collect();
    for step in &plan.steps {
        if let Action::Map(map) = &step.action {
            wanted.push((map.from.clone(), transport(map.protocol), map.port));
        }
        let Action::Send(send) = &step.action else { continue };
        let (protocol, own) = match &send.message {
            Message::Udp => (Protocol::Udp, Some(send.port)),
            Message::Tcp(_) => (Protocol::Tcp, Some(send.port)),
            Message::Echo { identifier, .. } => (Protocol::Icmp, *identifier),
            Message::Error { .. } => continue,
        };
        wanted.extend(own.map(|port| (send.host.clone(), protocol, port)));
        if protocol == Protocol::Icmp {
            continue;
        }
        let receiver = match &send.to {
            Goal::Endpoint(Place::Name(name), port) => plan.host(name).map(|host| (host.name.clone(), *port)),
            Goal::Endpoint(Place::Address(address), port) => {
                owners.get(address).map(|name| ((*name).to_owned(), *port))
            }
            Goal::Mapped(_) | Goal::Offender(_) => None,
        };
        wanted.extend(receiver.filter(|_| !expects_closed(send)).map(|(name, port)| (name, protocol, port)));
    }
    wanted.sort_by(|one, other| (&one.0, one.1.as_str(), one.2).cmp(&(&other.0, other.1.as_str(), other.2)));
    wanted.dedup();
    wanted
}

//! What packet scripts have open on the endpoints that they name, from the beginning: UDP sockets, and a raw program's
//! claim to TCP ports and echo identifiers.
//!
//! A port that is forwarded, or that a host asks its gateway for, is open as well. An endpoint that only steps expecting `port-unreachable` or `rst` name stays closed: that is what they are about.

use std::collections::BTreeMap;
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
pub(super) struct Sockets(BTreeMap<(String, SocketAddr), Rc<Socket>>);

impl Sockets {
    /// Opens them. An endpoint that a server of the host has is open already.
    pub(super) fn open(plan: &Plan, built: &mut Built) -> Result<Sockets, Stalled> {
        let mut sockets = Sockets::default();
        for (name, protocol, port) in wanted(plan) {
            let Some(host) = built.any_host(&name) else { continue };
            match (protocol, &host) {
                (Protocol::Udp, _) => {}
                (_, Any::Virtual(host)) => {
                    host.claim_raw(protocol, port);
                    continue;
                }
                // Its kernel answers.
                (_, Any::Real(_)) => continue,
            }
            for address in host.addresses() {
                let endpoint = SocketAddr::new(address, port);
                if let Ok(socket) = built.world.run_until(host.udp_bind(endpoint))? {
                    // Linux sets don't-fragment unless told not to, a simulated host where it is told to.
                    let _ = socket.set_dont_fragment(false);
                    let socket = Rc::new(socket);
                    host.spawn(drain(socket.clone()));
                    sockets.0.insert((name.clone(), endpoint), socket);
                }
            }
        }
        Ok(sockets)
    }

    /// The socket of this endpoint.
    pub(super) fn get(&self, host: &str, endpoint: SocketAddr) -> Option<Rc<Socket>> {
        self.0.get(&(host.to_owned(), endpoint)).cloned()
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

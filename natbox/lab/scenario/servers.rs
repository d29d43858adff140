//! The servers that hosts run from the beginning.

use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use natbox_host::Host as _;
use natbox_probes::technique::{Relay, RelayTls};
use natbox_probes::tls::KnownBy;
use natbox_probes::{bep55, echo, rendezvous, stun, turn};

use crate::anyhost::AnyHost;
use crate::build::{Built, Trouble};
use crate::plan::{Action, Host, Plan};
use crate::words::{ECHO_PORT, Service};

/// An echo connection that is silent for so long is closed.
const ECHO_IDLE: Duration = Duration::from_secs(300);
/// HTTPS, which passes where nothing else does.
const HTTPS_PORT: u16 = 443;
/// The name and password of everybody at every relay: who may use it is no question of this lab.
const RELAY_USER: (&str, &str) = ("natbox", "natbox");

/// Starts every server of the plan: those of its hosts, and of its gateways.
pub(crate) fn start(plan: &Plan, built: &Built) {
    let trouble = &built.trouble;
    super::control::start(plan, built, trouble);
    for host in plan.hosts.iter().filter(|host| measures_over_tcp(plan, host)) {
        let Some(machine) = built.any_host(&host.name) else { continue };
        for ipv6 in [false, true] {
            serve_tcp(&machine, host, ipv6, trouble);
        }
    }
    for host in &plan.hosts {
        let Some(machine) = built.any_host(&host.name) else { continue };
        for service in &host.services {
            for ipv6 in [false, true] {
                if let Some(address) = addresses(host, ipv6).next() {
                    serve(&machine, host, *service, address, trouble);
                }
            }
        }
    }
}

fn addresses(host: &Host, ipv6: bool) -> impl Iterator<Item = IpAddr> + '_ {
    host.addresses().filter(move |address| address.is_ipv6() == ipv6)
}

/// Whether a STUN server is asked over TCP: by the step `measure` alone. Where there is a relay too, TCP is the relay's.
fn measures_over_tcp(plan: &Plan, host: &Host) -> bool {
    let asked = |action: &Action| matches!(action, Action::Measure(step) if step.via == host.name);
    !host.services.contains(&Service::Turn) && plan.steps.iter().any(|step| asked(&step.action))
}

fn serve_tcp(machine: &AnyHost, host: &Host, ipv6: bool, trouble: &Trouble) {
    let Some(address) = addresses(host, ipv6).next() else { return };
    let config = stun::server::ServerConfig::new(address, addresses(host, ipv6).nth(1));
    let (server, trouble, name) = (machine.clone(), trouble.clone(), host.name.clone());
    machine.spawn(async move {
        let Err(why) = stun::tcp::serve(server, config).await;
        trouble.add(format!("`stun` over TCP on `{name}` stopped: {why}"));
    });
}

fn serve(machine: &AnyHost, host: &Host, service: Service, address: IpAddr, trouble: &Trouble) {
    let (machine, trouble, name) = (machine.clone(), trouble.clone(), host.name.clone());
    let spawner = machine.clone();
    let failed = move |why: String| trouble.add(format!("`{service}` on `{name}` stopped: {why}"));
    match service {
        Service::Stun => {
            let alternate = addresses(host, address.is_ipv6()).nth(1);
            let config = stun::server::ServerConfig {
                quiet_alternate: true,
                ..stun::server::ServerConfig::new(address, alternate)
            };
            let beside = host.services.contains(&Service::Turn).then(|| relaying(host, address));
            spawner.spawn(async move {
                let Err(why) = match beside {
                    Some(turn) => turn::server::serve_with_stun(machine, turn, config).await,
                    None => stun::server::serve(machine, config).await,
                };
                failed(why.to_string());
            });
        }
        // STUN on the same host serves TURN too: both are on one port.
        Service::Turn if host.services.contains(&Service::Stun) => {}
        Service::Turn => {
            let config = relaying(host, address);
            spawner.spawn(async move {
                let Err(why) = turn::server::serve(machine, config).await;
                failed(why.to_string());
            });
        }
        Service::Rendezvous => {
            let config = rendezvous::ServerConfig { listen: directory(address), limits: Default::default() };
            // The tracker of a swarm is beside a peer of it.
            let (peer, listen, again) = (machine.clone(), SocketAddr::new(address, bep55::PORT), failed.clone());
            spawner.spawn(async move {
                let Err(why) = rendezvous::serve(machine, config).await;
                failed(why.to_string());
            });
            spawner.spawn(async move {
                let Err(why) = bep55::serve(peer, listen).await;
                again(why.to_string());
            });
        }
        Service::Echo => {
            let endpoint = SocketAddr::new(address, ECHO_PORT);
            let (other, again) = (machine.clone(), failed.clone());
            spawner.spawn(async move {
                let Err(why) = echo::serve_udp(machine, endpoint).await;
                failed(why.to_string());
            });
            spawner.spawn(async move {
                let Err(why) = echo::serve_tcp(other, endpoint, ECHO_IDLE).await;
                again(why.to_string());
            });
        }
    }
}

/// A relay at this address of a host. To clients that ask for the other IP version, it lends an address of that.
fn relaying(host: &Host, address: IpAddr) -> turn::server::ServerConfig {
    let user = (RELAY_USER.0.to_owned(), RELAY_USER.1.to_owned());
    turn::server::ServerConfig {
        tls: Some(turn::server::TlsConfig { listen: over_tls(address), seed: identity(address) }),
        additional_relay_address: addresses(host, !address.is_ipv6()).next(),
        // Real programs know RFC 5766's.
        channel_numbers: 0x4000..=0x7FFF,
        ..turn::server::ServerConfig::new(relay(address), address, vec![user])
    }
}

/// Where the STUN server of a host listens.
pub(super) fn stun(address: IpAddr) -> SocketAddr {
    SocketAddr::new(address, stun::PORT)
}

/// Where the directory of a host listens.
pub(super) fn directory(address: IpAddr) -> SocketAddr {
    SocketAddr::new(address, rendezvous::PORT)
}

/// Where the relay of a host listens: on STUN's port, beside STUN where there is both.
pub(super) fn relay(address: IpAddr) -> SocketAddr {
    SocketAddr::new(address, stun::PORT)
}

/// How anybody uses the relay that listens there.
pub(super) fn access(server: SocketAddr) -> Relay {
    let credentials = turn::Credentials::new(RELAY_USER.0, RELAY_USER.1);
    let tls = RelayTls { endpoints: over_tls(server.ip()), known_by: KnownBy::Seed(identity(server.ip())) };
    Relay { tls: Some(tls), ..Relay::new(server, credentials) }
}

/// Where the relay of a host listens for TLS: the protocol's own port, and that of HTTPS.
fn over_tls(address: IpAddr) -> Vec<SocketAddr> {
    [turn::TLS_PORT, HTTPS_PORT].map(|port| SocketAddr::new(address, port)).to_vec()
}

/// The seed of a relay's identity, another one at each address: it keeps no secret in a laboratory.
fn identity(address: IpAddr) -> [u8; 32] {
    let mut seed = *b"relay of natbox \0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0";
    let address = match address {
        IpAddr::V4(address) => address.to_ipv6_mapped(),
        IpAddr::V6(address) => address,
    };
    seed[16..].copy_from_slice(&address.octets());
    seed
}

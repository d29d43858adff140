//! What a plan says about hosts that are real: their interfaces, and the names they know.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::net::IpAddr;

use natbox_live::{Files, Household, Interface, LiveError, Machine, Tun};

use crate::build::Built;
use crate::plan::{Host, Network, Plan, Uplink};

/// Whether programs can run on a host: it is real unless it has services, which need no process.
pub fn is_real(host: &Host) -> bool {
    host.services.is_empty()
}

/// Hosts by name, and the devices of each.
type Made = (BTreeMap<String, Machine>, Vec<(String, Vec<Tun>)>);

/// Makes the real hosts of a plan.
pub(super) fn make(plan: &Plan, is_real: &dyn Fn(&Host) -> bool, household: &Household) -> Result<Made, LiveError> {
    let files = files(plan);
    let (mut machines, mut devices) = (BTreeMap::new(), Vec::new());
    for host in plan.hosts.iter().filter(|host| is_real(host)) {
        let (machine, tuns) = Machine::new(&host.name, &files, interfaces(plan, host), household)?;
        machines.insert(host.name.clone(), machine);
        devices.push((host.name.clone(), tuns));
    }
    Ok((machines, devices))
}

/// A host's interfaces: `eth0` for its first uplink, and so on.
fn interfaces(plan: &Plan, host: &Host) -> Vec<Interface> {
    host.uplinks.iter().enumerate().map(|(number, uplink)| interface(plan, number, uplink)).collect()
}

pub(super) fn interface(plan: &Plan, number: usize, uplink: &Uplink) -> Interface {
    let (v4, v6, routers) = match uplink.network {
        // A link of the public network reaches its router and nobody else.
        Network::Internet => (32, 128, &plan.internet.router),
        Network::Behind(index) => {
            let lan = &plan.nats[index].inside;
            (lan.prefix.prefix_len(), lan.prefix6.map_or(64, |prefix| prefix.prefix_len()), &lan.gateway)
        }
    };
    let length = |address: &IpAddr| if address.is_ipv4() { v4 } else { v6 };
    let speaks = |router: &&IpAddr| uplink.addresses.iter().any(|own| own.is_ipv4() == router.is_ipv4());
    Interface {
        name: format!("eth{number}"),
        addresses: uplink.addresses.iter().map(|address| (*address, length(address))).collect(),
        mtu_bytes: u32::try_from(uplink.link.mtu_bytes).unwrap_or(u32::MAX),
        gateways: routers.iter().filter(speaks).copied().collect(),
    }
}

/// What hosts find in their `/etc`. A name stands for its machine's own addresses, a NAT's for its external ones; whether
/// they can be reached is the network's affair.
fn files(plan: &Plan) -> Files {
    let machines = plan.hosts.iter().map(|host| (host.name.as_str(), host.addresses().collect::<Vec<_>>()));
    let gateways = plan.nats.iter().map(|nat| (nat.name.as_str(), nat.outside.addresses.clone()));
    let hosts = told(machines.chain(gateways));
    Files { hosts, resolv: "# This lab has no name server: names are in /etc/hosts.\n".to_owned() }
}

/// `/etc/hosts` as machines are addressed now.
pub(crate) fn names(plan: &Plan, built: &Built) -> String {
    let machines = plan.hosts.iter().map(|host| host.name.as_str());
    let all = machines.chain(plan.nats.iter().map(|nat| nat.name.as_str()));
    told(all.map(|name| (name, built.addresses(name).to_vec())))
}

fn told<'a>(machines: impl Iterator<Item = (&'a str, Vec<IpAddr>)>) -> String {
    let mut hosts = "127.0.0.1 localhost\n::1 localhost ip6-localhost ip6-loopback\n".to_owned();
    for (name, addresses) in machines {
        for address in addresses {
            let _ = writeln!(hosts, "{address} {name}");
        }
    }
    hosts
}
